/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another OCI runtime (crun, runc) through its command line, in helper processes. Its standard error is the container's, so its words
 * are taken from the log it writes (--log, JSON lines); the last error there is the sentence the API's client gets.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor_priv.h"

enum { MAX_ARGS = 24 };

/* A name of our own per helper: several execs may fail at the same time. */
static void log_name(char *out, size_t size)
{
	snprintf(out, size, "runtime-%d.log", (int)getpid());
}

static void last_words(const char *verb, int status, struct err *e)
{
	struct buf b = BUF_INIT;
	char name[64], *save = NULL;
	bool found = false;

	log_name(name, sizeof(name));
	if (file_read_at(mon.run_fd, name, 1 << 20, &b) == 0 && b.len) {
		for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
			json_t *o = json_parse(l, strlen(l), "log of the OCI runtime", NULL);
			const char *msg = json_str(o, "msg", NULL), *level = json_str(o, "level", "error");

			const char *what = msg ? strstr(msg, "executable file `") : NULL, *end = what ? strchr(what + 17, '`') : NULL;

			if (end && strstr(end, "not found in $PATH")) {	/* crun's words for what clients know by runc's */
				err_set(e, ERR_INVALID, "exec: \"%.*s\": executable file not found in $PATH", (int)(end - what - 17), what + 17);
				found = true;
			} else if (msg && (str_eq(level, "error") || str_eq(level, "fatal"))) {
				err_set(e, strstr(msg, "does not exist") ? ERR_NOT_FOUND : ERR_INVALID, "%s", msg);
				found = true;
			}
			json_decref(o);
		}
	}
	buf_done(&b);
	if (!found)
		err_set(e, ERR_INTERNAL, "'%s %s' of container %.12s ended with status %d and said nothing", mon.a.runtime, verb, mon.a.id, status);
}

/* Runs argv with three descriptors (-1: /dev/null). 0, or -1 with the runtime's words. */
static int run(const char *verb, char *const *argv, const int stdio[3], struct err *e)
{
	char name[64];
	pid_t pid;
	int status;

	log_name(name, sizeof(name));
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork for '%s'", argv[0]);
	if (!pid) {
		int fds[3], null = open("/dev/null", O_RDWR | O_CLOEXEC);

		/* Above 2 first: one of the three may sit where another one has to go. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 3; i++) {
			fds[i] = fcntl(stdio[i] < 0 ? null : stdio[i], F_DUPFD_CLOEXEC, 3);
			if (fds[i] < 0)
				_exit(126);
		}
		for (int i = 0; i < 3; i++) {
			if (dup2(fds[i], i) < 0)
				_exit(126);
		}
		file_close_from(3, NULL, 0);
		execv(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_errno(e, errno, "wait for '%s'", argv[0]);
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		(void)unlinkat(mon.run_fd, name, 0);
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && access(argv[0], X_OK) < 0)
		err_errno(e, errno, "OCI runtime '%s'", argv[0]);
	else
		last_words(verb, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), e);
	(void)unlinkat(mon.run_fd, name, 0);
	return -1;
}

static size_t common_args(const char **argv, char *log, size_t size)
{
	size_t n = 0;

	snprintf(log, size, "%s/runtime-%d.log", mon.a.run_dir, (int)getpid());	/* absolute: runtimes change into the bundle */
	argv[n++] = mon.a.runtime;
	argv[n++] = "--root";
	argv[n++] = mon.root;
	argv[n++] = "--log";
	argv[n++] = log;
	argv[n++] = "--log-format";
	argv[n++] = "json";
	return n;
}

/*
 * A socket that gets the PTY master. The runtime needs a path that fits into a socket address, and must not inherit a handle of a host's
 * directory to make it short; run_dir may be too long, so it lives in a directory of its own, removed when the runtime is done.
 */
static int console_listen(char *name, size_t size, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char dir[] = "/run/kedge-console-XXXXXX";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!mkdtemp(dir))
		err_errno(e, errno, "make a directory for the terminal's socket");
	snprintf(name, size, "%s/s", dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", name);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0) {
		err_errno(e, errno, "make a socket for the terminal");
		fd_closep(&fd);
		return -1;
	}
	return fd;
}

static void console_remove(char *name)
{
	(void)unlink(name);
	*strrchr(name, '/') = 0;
	(void)rmdir(name);
}

/* The runtime has ended: its message waits in the socket. Passed on as it is. */
static int console_pass(int listener, int console, struct err *e)
{
	CLEANUP(fd_closep) int c = -1;
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } u;
	char name[256];
	struct iovec iov = { name, sizeof(name) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	ssize_t n;

	(void)fcntl(listener, F_SETFL, O_NONBLOCK);
	c = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (c < 0)
		return err_set(e, ERR_INTERNAL, "OCI runtime '%s' made no terminal", mon.a.runtime);
	n = recvmsg(c, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0 || h.msg_controllen < sizeof(struct cmsghdr))
		return err_set(e, ERR_INTERNAL, "OCI runtime '%s' sent no terminal", mon.a.runtime);
	iov.iov_len = (size_t)n;
	if (sendmsg(console, &h, MSG_NOSIGNAL) < 0)
		return err_errno(e, errno, "pass the terminal on");
	return 0;
}

static int read_pid(const char *path, int *pid, struct err *e)
{
	char word[32];
	int64_t n;

	if (file_read_line(path, word, sizeof(word)) < 0 || str_to_i64(word, 1, INT32_MAX, &n) < 0)
		return err_set(e, ERR_INTERNAL, "OCI runtime '%s' wrote no pid into '%s'", mon.a.runtime, path);
	*pid = (int)n;
	return 0;
}

int extern_create(struct report *r, int console)
{
	const char *argv[MAX_ARGS];
	char log[1100], sock[64], pid_file[1100];
	const int *out = mon.main.out_child;
	int stdio[3] = { mon.main.in_child, out[0], out[1] };
	CLEANUP(fd_closep) int listener = -1;
	size_t n = common_args(argv, log, sizeof(log));
	int ret;

	snprintf(pid_file, sizeof(pid_file), "%s/pid", mon.a.run_dir);
	argv[n++] = "create";
	argv[n++] = "--bundle";
	argv[n++] = mon.a.bundle;
	argv[n++] = "--pid-file";
	argv[n++] = pid_file;
	if (mon.a.tty) {
		listener = console_listen(sock, sizeof(sock), &r->err);
		if (listener < 0)
			return -1;
		argv[n++] = "--console-socket";
		argv[n++] = sock;
	}
	argv[n++] = mon.a.id;
	argv[n] = NULL;
	ret = run("create", (char *const *)argv, stdio, &r->err);
	if (ret == 0)
		ret = read_pid(pid_file, &r->pid, &r->err);
	if (mon.a.tty) {
		console_remove(sock);
		if (ret == 0)
			ret = console_pass(listener, console, &r->err);
	}
	return ret;
}

static int simple(const char *verb, const char *option, struct err *e)
{
	const char *argv[MAX_ARGS];
	static const int none[3] = { -1, -1, -1 };
	char log[1100];
	size_t n = common_args(argv, log, sizeof(log));

	argv[n++] = verb;
	if (option)
		argv[n++] = option;
	argv[n++] = mon.a.id;
	argv[n] = NULL;
	return run(verb, (char *const *)argv, none, e);
}

int extern_start(struct err *e)
{
	return simple("start", NULL, e);
}

int extern_update(const char *resources_file, struct err *e)
{
	const char *argv[MAX_ARGS];
	static const int none[3] = { -1, -1, -1 };
	char log[1100];
	size_t n = common_args(argv, log, sizeof(log));

	argv[n++] = "update";
	argv[n++] = "--resources";
	argv[n++] = resources_file;
	argv[n++] = mon.a.id;
	argv[n] = NULL;
	return run("update", (char *const *)argv, none, e);
}

int extern_delete(struct err *e)
{
	return simple("delete", "--force", e);
}

int extern_exec(struct report *r, struct proc *p, const char *process_file, int console)
{
	const char *argv[MAX_ARGS];
	char log[1100], sock[64], pid_file[1100];
	int stdio[3] = { p->in_child, p->out_child[0], p->out_child[1] };
	CLEANUP(fd_closep) int listener = -1;
	size_t n = common_args(argv, log, sizeof(log));
	int ret;

	snprintf(pid_file, sizeof(pid_file), "%s/exec-%u.pid", mon.a.run_dir, p->tag);
	argv[n++] = "exec";
	argv[n++] = "--detach";
	argv[n++] = "--process";
	argv[n++] = process_file;
	argv[n++] = "--pid-file";
	argv[n++] = pid_file;
	if (p->tty) {
		listener = console_listen(sock, sizeof(sock), &r->err);
		if (listener < 0)
			return -1;
		argv[n++] = "--console-socket";
		argv[n++] = sock;
	}
	argv[n++] = mon.a.id;
	argv[n] = NULL;
	ret = run("exec", (char *const *)argv, stdio, &r->err);
	if (ret == 0)
		ret = read_pid(pid_file, &r->pid, &r->err);
	(void)unlink(pid_file);
	if (p->tty) {
		console_remove(sock);
		if (ret == 0)
			ret = console_pass(listener, console, &r->err);
	}
	return ret;
}
