/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/options.h"
#include "daemon/wire.h"

static void main_stop(void *user)
{
	log_info("daemon", "stopping; containers go on");
	loop_stop(user);
}

/* sd_notify(3)'s protocol: one datagram. Nobody listening is fine. */
static void main_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, n);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	(void)close(fd);
}

/* Descriptors: one per connection, monitor and published port; the hard limit is ours to use. */
static void main_raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);	/* we go on with what we have */
	}
}

static int main_run(struct loop *l, const struct config *c, struct err *e)
{
	struct loop_signal *term, *intr;
	struct wire *w = NULL;
	char pid[32];
	int n;

	if (wire_new(l, c, &w, e) < 0)
		return -1;
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	n = file_replace_at(AT_FDCWD, c->pidfile, pid, (size_t)n, 0644);
	if (n < 0)
		log_warn("daemon", "cannot write the pid file '%s' (%s), ignoring", c->pidfile, strerror(-n));
	term = loop_signal_new(l, SIGTERM, main_stop, l);
	intr = loop_signal_new(l, SIGINT, main_stop, l);
	main_notify("READY=1");
	(void)loop_run(l);
	main_notify("STOPPING=1");
	loop_signal_free(term);
	loop_signal_free(intr);
	wire_free(w);
	(void)unlink(c->pidfile);	/* may be gone already */
	return 0;
}

int main(int argc, char **argv)
{
	struct config c = { 0 };
	enum log_level level;
	struct err e = { 0 };
	struct loop *l;
	int rc;

	/*
	 * Each arena keeps what it once had. The loop allocates, other threads are few and wait for the disk: one arena is enough. Large blocks
	 * always are mappings of their own; by default the first freed one raises that limit, and they come to lie between small ones for good.
	 */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	log_init(STDERR_FILENO, LOG_LEVEL_INFO);
	fault_init();
	rc = config_load(&c, argc, argv, &e);
	if (rc > 0) {
		config_done(&c);
		return 0;
	}
	if (rc < 0 || log_level_parse(c.log_level, &level) < 0) {
		if (rc == 0)
			err_set(&e, ERR_INVALID, "log level '%s' is none of debug, info, warn, error", c.log_level);
		fprintf(stderr, "kedged: %s\n", e.msg);
		config_done(&c);
		return 1;
	}
	if (geteuid() != 0) {
		fputs("kedged: must run as root\n", stderr);
		config_done(&c);
		return 1;
	}
	log_init(STDERR_FILENO, level);
	log_debug_only(c.debug_for);
	main_raise_nofile();
	l = loop_new(&e);
	if (!l || main_run(l, &c, &e) < 0) {
		log_error("daemon", "%s", e.msg);
		rc = 1;
	}
	loop_free(l);
	config_done(&c);
	return rc;
}
