/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedge-runtime: the OCI runtime's command line, with runc's words. Errors go to standard error and, with --log, into a file as text or
 * JSON lines, from where a caller takes the last one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor.h"
#include "runtime/oci/exec.h"
#include "runtime/oci/oci.h"
#include "runtime/oci/self.h"

#define DEFAULT_ROOT "/run/kedge/runtime"

static const char usage[] =
"Usage: kedge-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND ...\n"
"\n"
"  create [-b BUNDLE] [--console-socket PATH] [--pid-file FILE] [--preserve-fds N] ID\n"
"  start ID\n"
"  run [-d] [-b BUNDLE] [--console-socket PATH] [--pid-file FILE] [--preserve-fds N] ID\n"
"  exec [-d] [-p FILE] [-t] [-e K=V] [-u UID[:GID]] [--cwd DIR] [--console-socket PATH] [--pid-file FILE] ID [COMMAND ARG...]\n"
"  state ID\n"
"  kill [--all] ID [SIGNAL]\n"
"  delete [--force] ID\n"
"  pause ID, resume ID\n"
"  update --resources FILE ID\n"
"  ps [--format json] ID\n"
"  list\n"
"  features\n"
"  monitor --fd N\n";

static struct {
	const char *root, *log;
	bool json, systemd;
	const char *bundle, *console, *pid_file, *process, *user, *cwd, *format, *resources;
	char **env, **caps;
	bool detach, tty, all, force, no_new_privs;
	uint64_t preserve;
} opt = { .root = DEFAULT_ROOT, .bundle = "." };

static int complain(const struct err *e)
{
	fprintf(stderr, "kedge-runtime: %s\n", e->msg);
	if (opt.log) {
		CLEANUP(fd_closep) int fd = open(opt.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		CLEANUP(mem_freep) char *line = NULL;
		char when[48];

		str_time_ns(clock_wall(), when, sizeof(when));
		if (opt.json) {
			json_t *o = json_pack("{s:s,s:o,s:s}", "level", "error", "msg", json_bytes(e->msg, strlen(e->msg)), "time", when);

			line = json_text(o);
			json_decref(o);
		} else {
			line = mem_printf("time=\"%s\" level=error msg=\"%s\"", when, e->msg);
		}
		if (fd >= 0 && line && file_write_all(fd, line, strlen(line)) == 0)
			(void)file_write_all(fd, "\n", 1);
	}
	return 1;
}

static int console_connect(struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (!opt.console)
		return -1;
	if (strlen(opt.console) >= sizeof(sa.sun_path))
		return err_set(e, ERR_INVALID, "console socket '%s': the path is longer than %zu bytes", opt.console, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, opt.console);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int saved = errno;

		fd_closep(&fd);
		return err_errno(e, saved, "connect to console socket '%s'", opt.console);
	}
	return fd;
}

static int create(const char *id, pid_t *pid, struct err *e)
{
	CLEANUP(fd_closep) int console = -1;
	CLEANUP(mem_freep) char *cache = mem_printf("%s.cache", opt.root);
	struct oci_create_opts o = { .id = id, .bundle = opt.bundle, .root = opt.root, .cache = cache, .stdio = { 0, 1, 2 },
		.preserve_fds = (int)opt.preserve, .pid_file = opt.pid_file, .systemd_cgroup = opt.systemd };

	console = console_connect(e);
	if (e->kind != ERR_NONE)
		return -1;
	o.console_socket = console;
	return oci_create(&o, pid, e);
}

/* Signals go to the container; -1 as signo ends forwarding. */
static volatile sig_atomic_t child_pid;

static void forward(int signo)
{
	if (child_pid > 0)
		(void)kill((pid_t)child_pid, signo);
}

static int wait_for(pid_t pid)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
	struct sigaction sa = { .sa_handler = forward };
	int status;

	child_pid = pid;
	for (size_t i = 0; i < N(signals); i++)
		(void)sigaction(signals[i], &sa, NULL);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return 1;
	}
	child_pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int cmd_create(int argc, char **argv, struct err *e)
{
	pid_t pid;

	(void)argc;
	return create(argv[0], &pid, e);
}

static int cmd_start(int argc, char **argv, struct err *e)
{
	(void)argc;
	return oci_start(opt.root, argv[0], e);
}

static int cmd_run(int argc, char **argv, struct err *e)
{
	struct err later = { 0 };
	pid_t pid;
	int ret;

	(void)argc;
	if (create(argv[0], &pid, e) < 0)
		return -1;
	if (oci_start(opt.root, argv[0], e) < 0) {
		(void)oci_delete(opt.root, argv[0], true, &later);
		return -1;
	}
	if (opt.detach)
		return 0;
	ret = wait_for(pid);
	if (oci_delete(opt.root, argv[0], true, &later) < 0)
		(void)complain(&later);
	return ret;
}

static int cmd_state(int argc, char **argv, struct err *e)
{
	json_t *o = oci_state(opt.root, argv[0], e);

	(void)argc;
	if (!o)
		return -1;
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
	return 0;
}

static int cmd_kill(int argc, char **argv, struct err *e)
{
	const char *word = argc > 1 ? argv[1] : "SIGTERM";
	uint64_t n = 0;

	if (str_to_u64(word, 1, 64, &n) < 0) {
		const char *name = str_starts(word, "SIG") ? word + 3 : word;

		for (int i = 1; i < 32 && !n; i++) {
			if (sigabbrev_np(i) && str_eq(sigabbrev_np(i), name))
				n = (uint64_t)i;
		}
		if (str_starts(name, "RTMIN"))
			n = (uint64_t)(SIGRTMIN + atoi(name + 5));
		if (!n)
			return err_set(e, ERR_INVALID, "unknown signal '%s'", word);
	}
	return oci_kill(opt.root, argv[0], (int)n, opt.all, e);
}

static int cmd_delete(int argc, char **argv, struct err *e)
{
	int r = oci_delete(opt.root, argv[0], opt.force, e);

	(void)argc;
	return r < 0 && opt.force && e->kind == ERR_NOT_FOUND ? 0 : r;
}

static int cmd_pause(int argc, char **argv, struct err *e)
{
	(void)argc;
	return oci_pause(opt.root, argv[0], true, e);
}

static int cmd_resume(int argc, char **argv, struct err *e)
{
	(void)argc;
	return oci_pause(opt.root, argv[0], false, e);
}

static int cmd_update(int argc, char **argv, struct err *e)
{
	json_t *resources;
	struct buf b = BUF_INIT;
	int r;

	(void)argc;
	if (!opt.resources)
		return err_set(e, ERR_INVALID, "update: --resources FILE is needed ('-': standard input)");
	r = file_read_at(AT_FDCWD, str_eq(opt.resources, "-") ? "/dev/stdin" : opt.resources, 1 << 20, &b);
	resources = r < 0 ? NULL : json_parse(b.data ? b.data : "", b.len, opt.resources, e);
	buf_done(&b);
	if (r < 0)
		return err_errno(e, -r, "read '%s'", opt.resources);
	r = resources ? oci_update(opt.root, argv[0], resources, e) : -1;
	json_decref(resources);
	return r;
}

static int cmd_ps(int argc, char **argv, struct err *e)
{
	json_t *arr = oci_ps(opt.root, argv[0], e), *v;
	size_t i;

	(void)argc;
	if (!arr)
		return -1;
	if (str_eq(opt.format, "json")) {
		json_dumpf(arr, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		json_array_foreach(arr, i, v)
			printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(v));
	}
	json_decref(arr);
	return 0;
}

static int cmd_list(int argc, char **argv, struct err *e)
{
	json_t *arr = oci_list(opt.root, e);

	(void)argc;
	(void)argv;
	if (!arr)
		return -1;
	json_dumpf(arr, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(arr);
	return 0;
}

static int cmd_features(int argc, char **argv, struct err *e)
{
	json_t *o = oci_features();

	(void)argc;
	(void)argv;
	(void)e;
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
	return 0;
}

/* The container's own process with what the command line says instead. */
static json_t *exec_process(char **argv, struct err *e)
{
	json_t *p, *v;
	size_t i;

	if (opt.process)
		return json_parse_file_at(AT_FDCWD, opt.process, 16 << 20, e);
	p = oci_process_of(opt.root, argv[0], e);
	if (!p)
		return NULL;
	if (!argv[1]) {
		json_decref(p);
		err_set(e, ERR_INVALID, "exec: neither a command nor --process");
		return NULL;
	}
	v = json_array();
	for (char **a = argv + 1; *a; a++)
		json_array_append_new(v, json_bytes(*a, strlen(*a)));
	json_object_set_new(p, "args", v);
	json_object_set_new(p, "terminal", json_boolean(opt.tty));
	json_object_del(p, "rlimits");
	if (opt.cwd)
		json_object_set_new(p, "cwd", json_string(opt.cwd));
	if (opt.no_new_privs)
		json_object_set_new(p, "noNewPrivileges", json_true());
	for (i = 0; opt.env && opt.env[i]; i++) {
		if (!json_arr(p, "env"))
			json_object_set_new(p, "env", json_array());
		json_array_append_new(json_arr(p, "env"), json_string(opt.env[i]));
	}
	if (opt.user) {
		CLEANUP(mem_freep) char *u = mem_strdup(opt.user);
		char *g = strchr(u, ':');
		uint64_t uid, gid = 0;

		if (g)
			*g++ = 0;
		if (str_to_u64(u, 0, INT_MAX, &uid) < 0 || (g && str_to_u64(g, 0, INT_MAX, &gid) < 0)) {
			json_decref(p);
			err_set(e, ERR_INVALID, "user '%s' is not UID or UID:GID", opt.user);
			return NULL;
		}
		json_object_set_new(p, "user", json_pack("{s:I,s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
	}
	return p;
}

static int cmd_exec(int argc, char **argv, struct err *e)
{
	CLEANUP(fd_closep) int console = -1;
	CLEANUP(json_freep) json_t *process = NULL;
	struct oci_exec_opts o = { .root = opt.root, .id = argv[0], .stdio = { 0, 1, 2 }, .preserve_fds = (int)opt.preserve,
		.pid_file = opt.pid_file };
	pid_t pid;

	(void)argc;
	process = exec_process(argv, e);
	if (!process)
		return -1;
	console = console_connect(e);
	if (e->kind != ERR_NONE)
		return -1;
	o.process = process;
	o.console_socket = console;
	if (oci_exec(&o, &pid, e) < 0)
		return -1;
	return opt.detach ? 0 : wait_for(pid);
}

enum { O_ROOT = 256, O_LOG, O_LOG_FORMAT, O_DEBUG, O_SYSTEMD, O_VERSION, O_CONSOLE, O_PID_FILE, O_PRESERVE, O_CWD, O_NNP, O_IGNORED, O_IGNORED_ARG };

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, struct err *e);
	int min, max;		/* arguments; max -1: any number */
	bool protect;		/* has children in containers */
} commands[] = {
	{ "create", cmd_create, 1, 1, true }, { "start", cmd_start, 1, 1, false }, { "run", cmd_run, 1, 1, true },
	{ "exec", cmd_exec, 1, -1, true }, { "state", cmd_state, 1, 1, false }, { "kill", cmd_kill, 1, 2, false },
	{ "delete", cmd_delete, 1, 1, false }, { "update", cmd_update, 1, 1, false }, { "pause", cmd_pause, 1, 1, false }, { "resume", cmd_resume, 1, 1, false },
	{ "ps", cmd_ps, 1, -1, false }, { "list", cmd_list, 0, 0, false }, { "features", cmd_features, 0, 0, false },
};

static int global_options(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {
		{ "root", 1, NULL, O_ROOT }, { "log", 1, NULL, O_LOG }, { "log-format", 1, NULL, O_LOG_FORMAT }, { "debug", 0, NULL, O_DEBUG },
		{ "systemd-cgroup", 0, NULL, O_SYSTEMD }, { "version", 0, NULL, O_VERSION }, { "help", 0, NULL, 'h' }, { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+hv", longs, NULL)) >= 0) {
		switch (c) {
		case O_ROOT:
			opt.root = optarg;
			break;
		case O_LOG:
			opt.log = optarg;
			break;
		case O_LOG_FORMAT:
			if (!str_eq(optarg, "json") && !str_eq(optarg, "text"))
				return err_set(e, ERR_INVALID, "log format '%s' is not text or json", optarg);
			opt.json = str_eq(optarg, "json");
			break;
		case O_DEBUG:
			break;
		case O_SYSTEMD:
			opt.systemd = true;
			break;
		case O_VERSION:
		case 'v':
			printf("kedge-runtime version %s\nspec: 1.2.0\n", PACKAGE_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			exit(1);
		}
	}
	return 0;
}

static int command_options(int argc, char **argv, bool exec, struct err *e)
{
	static const struct option longs[] = {
		{ "bundle", 1, NULL, 'b' }, { "console-socket", 1, NULL, O_CONSOLE }, { "pid-file", 1, NULL, O_PID_FILE },
		{ "preserve-fds", 1, NULL, O_PRESERVE }, { "detach", 0, NULL, 'd' }, { "process", 1, NULL, 'p' }, { "tty", 0, NULL, 't' },
		{ "env", 1, NULL, 'e' }, { "user", 1, NULL, 'u' }, { "cwd", 1, NULL, O_CWD }, { "all", 0, NULL, 'a' }, { "force", 0, NULL, 'f' },
		{ "format", 1, NULL, 'F' }, { "resources", 1, NULL, 'r' }, { "no-new-privs", 0, NULL, O_NNP }, { "no-new-keyring", 0, NULL, O_IGNORED }, { 0 },
	};
	uint64_t n;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, exec ? "+dp:te:u:" : "b:dafF:r:", longs, NULL)) >= 0) {
		switch (c) {
		case 'b':
			opt.bundle = optarg;
			break;
		case O_CONSOLE:
			opt.console = optarg;
			break;
		case 'r':
			opt.resources = optarg;
			break;
		case O_PID_FILE:
			opt.pid_file = optarg;
			break;
		case O_PRESERVE:
			if (str_to_u64(optarg, 0, 1024, &n) < 0)
				return err_set(e, ERR_INVALID, "--preserve-fds '%s' is not a number from 0 to 1024", optarg);
			opt.preserve = n;
			break;
		case 'd':
			opt.detach = true;
			break;
		case 'p':
			opt.process = optarg;
			break;
		case 't':
			opt.tty = true;
			break;
		case 'e':
			opt.env = strv_add(opt.env, optarg);
			break;
		case 'u':
			opt.user = optarg;
			break;
		case O_CWD:
			opt.cwd = optarg;
			break;
		case 'a':
			opt.all = true;
			break;
		case 'f':
			opt.force = true;
			break;
		case 'F':
			opt.format = optarg;
			break;
		case O_NNP:
			opt.no_new_privs = true;
			break;
		case O_IGNORED:
			break;
		default:
			exit(1);
		}
	}
	return 0;
}

/* systemd's way of handing on sockets: they follow 0, 1 and 2. */
static void listen_fds(void)
{
	const char *word = getenv("LISTEN_FDS");
	uint64_t n;

	if (word && str_to_u64(word, 0, 1024, &n) == 0)
		opt.preserve += n;
}

int main(int argc, char **argv)
{
	const struct command *c = NULL;
	struct err e = { 0 };
	char **whole = argv;
	int r;

	reaper_keep_words(argc, argv);
	if (global_options(argc, argv, &e) < 0)
		return complain(&e);
	argc -= optind;
	argv += optind;
	if (!argc) {
		fputs(usage, stderr);
		return 1;
	}
	if (str_eq(argv[0], "monitor")) {
		if (self_protect(whole, &e) < 0)
			return complain(&e);
		return monitor_main(argc, argv);
	}
	for (size_t i = 0; i < N(commands) && !c; i++) {
		if (str_eq(argv[0], commands[i].name))
			c = &commands[i];
	}
	if (!c) {
		err_set(&e, ERR_INVALID, "unknown command '%s'", argv[0]);
		return complain(&e);
	}
	if (c->protect && self_protect(whole, &e) < 0)
		return complain(&e);
	if (command_options(argc, argv, str_eq(c->name, "exec"), &e) < 0)
		return complain(&e);
	argc -= optind;
	argv += optind;
	if (argc < c->min || (c->max >= 0 && argc > c->max)) {
		err_set(&e, ERR_INVALID, "'%s' takes %s%d argument%s, not %d", c->name, c->max < 0 ? "at least " : "", c->min, c->min == 1 ? "" : "s", argc);
		return complain(&e);
	}
	listen_fds();
	r = c->run(argc, argv, &e);
	return r < 0 ? complain(&e) : r;
}
