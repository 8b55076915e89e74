/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor and its client with real containers: a static busybox on an overlay, in namespaces of its own. This program is also the
 * monitor it starts ("monitor" as first word), so no installed binary is needed. KEDGE_TEST_RUNTIME: an OCI runtime instead of the own one.
 */
#include "monitor_box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor.h"
#include "runtime/proto.h"

#define SH(script) (const char *const[]){ "/bin/sh", "-c", script, NULL }

static struct loop *loop;

/* Text of all records of one stream, and how many there are. */
static char *log_text(const struct box *b, const char *stream, size_t *n)
{
	FILE *f = fopen(b->log, "re");
	struct buf all = { .limit = 1u << 30 };
	char *line = NULL;
	size_t size = 0;

	*n = 0;
	assert_non_null(f);
	while (getline(&line, &size, f) > 0) {
		json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);

		assert_non_null(o);
		if (str_eq(json_str(o, "stream", ""), stream)) {
			json_t *log = json_object_get(o, "log");

			buf_add(&all, json_string_value(log), json_string_length(log));
			(*n)++;
		}
		json_decref(o);
	}
	free(line);
	fclose(f);
	return buf_take(&all);
}

static void simple(struct box *b, const char *const *args)
{
	struct rt_launch a;

	box_init(b, loop, "box", args, false);
	a = box_launch(b, box_lowers);
	box_create(b, &a);
	box_start(b);
}

static void test_run(void **state)
{
	struct box b;
	size_t n;
	char *text, path[256];

	(void)state;
	simple(&b, SH("echo out; echo err >&2; printf tail; echo $HOSTNAME >/written; exit 7"));
	assert_int_equal(b.start_err.kind, ERR_NONE);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 7);
	assert_false(b.exit.oom);
	assert_true(llabs(b.exit.finished_ns - clock_wall()) < 60 * 1000000000ll);
	text = log_text(&b, "stdout", &n);
	assert_string_equal(text, "out\ntail");
	assert_int_equal(n, 2);
	free(text);
	text = log_text(&b, "stderr", &n);
	assert_string_equal(text, "err\n");
	free(text);
	snprintf(path, sizeof(path), "%s/exit", b.run_dir);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/upper/written", b.dir);
	assert_int_equal(access(path, F_OK), 0);
	box_done(&b);
}

static void failing(const char *program, const char *words)
{
	struct box b;
	struct rt_launch a;
	const struct err *e;

	box_init(&b, loop, "bad", (const char *const[]){ program, NULL }, false);
	a = box_launch(&b, box_lowers);
	box_create(&b, &a);
	if (b.create_err.kind == ERR_NONE) {
		box_start(&b);
		e = &b.start_err;
		assert_int_not_equal(e->kind, ERR_NONE);
		box_wait(&b, &b.exited);
	} else {
		e = &b.create_err;
	}
	if (!strstr(e->msg, words))
		fail_msg("'%s' is not in '%s'", words, e->msg);
	box_done(&b);
}

static void test_no_such_program(void **state)
{
	(void)state;
	failing("nonsense", "executable file");
	failing("/etc/not-executable", "ermission denied");
}

static void test_no_bundle(void **state)
{
	struct box b;
	struct rt_launch a;

	(void)state;
	box_init(&b, loop, "nobundle", SH("true"), false);
	a = box_launch(&b, box_lowers);
	a.bundle = "/nonexistent/bundle";
	box_create(&b, &a);
	assert_int_not_equal(b.create_err.kind, ERR_NONE);
	assert_non_null(strstr(b.create_err.msg, "/nonexistent/bundle"));
	box_done(&b);
	box_init(&b, loop, "nolayer", SH("true"), false);
	a = box_launch(&b, (char *const[]){ (char *)"/nonexistent/layer", NULL });
	box_create(&b, &a);
	assert_non_null(strstr(b.create_err.msg, "/nonexistent/layer"));
	box_done(&b);
	box_init(&b, loop, "noprogram", SH("true"), false);
	a = box_launch(&b, box_lowers);
	b.rt = rt_launch(loop, "/nonexistent/kedge-runtime", &a, &(struct rt_ops){ 0 }, &b, &b.create_err);
	assert_null(b.rt);
	assert_non_null(strstr(b.create_err.msg, "/nonexistent/kedge-runtime"));
	box_done(&b);
}

/* As many layers as an image may have, with long names: everything a launch says still fits into one packet. */
static void test_many_layers(void **state)
{
	static char paths[127][400];
	char *lowers[128] = { NULL }, filler[201];
	struct box b;
	struct rt_launch a;
	char *text;
	size_t n;

	(void)state;
	box_init(&b, loop, "layers", SH("cat /file0 /file125 /same"), false);
	memset(filler, 'l', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = 0;
	lowers[0] = box_lowers[0];
	for (unsigned i = 0; i < 126; i++) {
		char *file;
		int fd;

		snprintf(paths[i], sizeof(paths[i]), "%s/%s-%u", b.dir, filler, i);
		assert_int_equal(mkdir(paths[i], 0755), 0);
		for (int k = 0; k < 2; k++) {
			file = k ? mem_printf("%s/same", paths[i]) : mem_printf("%s/file%u", paths[i], i);
			fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
			assert_true(dprintf(fd, "%u\n", i) > 0);
			close(fd);
			free(file);
		}
		lowers[i + 1] = paths[i];
	}
	a = box_launch(&b, lowers);
	box_create(&b, &a);
	box_start(&b);
	box_wait(&b, &b.exited);
	text = log_text(&b, "stdout", &n);
	assert_string_equal(text, "0\n125\n125\n");
	free(text);
	box_done(&b);
}

static void test_destroy(void **state)
{
	struct box b;
	struct rt_launch a;
	pid_t monitor;

	(void)state;
	box_init(&b, loop, "destroy", SH("exec sleep 1000"), false);
	a = box_launch(&b, box_lowers);
	box_create(&b, &a);
	assert_int_equal(b.create_err.kind, ERR_NONE);
	assert_true(box_cgroup_exists(&b));
	monitor = box_monitor_pid(&b);
	rt_destroy(TAKE(b.rt));
	box_wait_pid_gone(monitor);
	assert_int_not_equal(kill(b.pid, 0), 0);
	assert_false(b.exited);
	box_done(&b);
}

/* Runs fn(box) in a process of its own and kills that with SIGKILL once it has written its byte. */
static void killed_after(struct box *b, void (*fn)(struct box *))
{
	int fds[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		loop = b->loop = loop_new(NULL);
		fn(b);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			loop_turn(loop, -1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void create_only(struct box *b)
{
	struct rt_launch a = box_launch(b, box_lowers);

	box_create(b, &a);
	if (b->create_err.kind != ERR_NONE)
		_exit(1);
}

static void create_and_start(struct box *b)
{
	struct rt_launch a = box_launch(b, box_lowers);

	a.stdin_open = a.stdin_once = true;
	box_create(b, &a);
	box_start(b);
}

static void test_engine_killed_before_start(void **state)
{
	struct box b;
	pid_t monitor;
	struct rt_state st;
	struct err e = { 0 };

	(void)state;
	box_init(&b, loop, "killed", SH("exec sleep 1000"), false);
	killed_after(&b, create_only);
	monitor = box_monitor_pid(&b);
	if (monitor)
		box_wait_pid_gone(monitor);
	assert_false(box_cgroup_exists(&b));
	assert_null(rt_adopt(loop, b.run_dir, &(struct rt_ops){ 0 }, &b, &st, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	box_done(&b);
}

static void test_adopt(void **state)
{
	struct box b;
	struct rt_state st;
	size_t n;
	char *text;

	(void)state;
	box_init(&b, loop, "adopt", SH("while read x; do echo got $x; done; echo over; exit 3"), false);
	killed_after(&b, create_and_start);
	box_adopt(&b, &st);
	assert_true(st.running);
	assert_false(st.paused);
	assert_true(st.started_ns > 0);
	assert_int_equal(kill(st.pid, 0), 0);
	box_attach(&b, true);
	assert_int_equal(rt_attach_write(b.attach, "one\ntwo\n", 8), 8);
	rt_attach_close_stdin(b.attach);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 3);
	box_wait(&b, &b.ended);
	assert_string_equal(b.out.data, "got one\ngot two\nover\n");
	text = log_text(&b, "stdout", &n);
	assert_string_equal(text, "got one\ngot two\nover\n");
	free(text);
	/* Adopting what has ended tells how. */
	rt_free(b.rt);
	b.exited = false;
	box_adopt(&b, &st);
	assert_false(st.running);
	assert_false(b.exited);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 3);
	box_done(&b);
}

static void test_everything_killed(void **state)
{
	struct box b;
	struct rt_state st;
	pid_t monitor, init;

	(void)state;
	box_init(&b, loop, "allkilled", SH("exec sleep 1000"), false);
	killed_after(&b, create_and_start);
	monitor = box_monitor_pid(&b);
	assert_int_equal(kill(monitor, SIGKILL), 0);
	box_wait_pid_gone(monitor);
	box_adopt(&b, &st);
	init = st.pid;		/* "running" may still be said: a dying helper can hold the dead monitor's socket */
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 137);
	box_wait_pid_gone(init);
	box_done(&b);
}

static void test_monitor_killed(void **state)
{
	struct box b;

	(void)state;
	simple(&b, SH("exec sleep 1000"));
	assert_int_equal(kill(box_monitor_pid(&b), SIGKILL), 0);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 137);
	box_wait_pid_gone(b.pid);
	box_done(&b);
}

static void test_signals(void **state)
{
	struct box b;
	struct err e = { 0 };

	(void)state;
	box_init(&b, loop, "signal", SH("trap 'echo hup' HUP; trap 'exit 9' TERM; echo ready; while :; do sleep 1000 & wait $!; done"), false);
	create_and_start(&b);
	box_attach(&b, false);
	assert_int_equal(rt_kill(b.rt, SIGTERM, &e), 0);
	/* The trap may not be set yet: then the init of a PID namespace ignores it. */
	while (!b.exited) {
		loop_turn(loop, 50);
		(void)rt_kill(b.rt, SIGTERM, &e);
	}
	assert_int_equal(b.exit.status, 9);
	assert_int_equal(rt_kill(b.rt, SIGTERM, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	box_done(&b);
	simple(&b, SH("exec sleep 1000"));
	assert_int_equal(rt_kill(b.rt, SIGKILL, &e), 0);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 137);
	box_done(&b);
}

static void on_paused(void *user, const struct err *e)
{
	if (e)
		fail_msg("%s", e->msg);
	*(bool *)user = true;
}

static void test_pause(void **state)
{
	struct box b;
	bool done = false;
	struct rt_state st;

	(void)state;
	box_init(&b, loop, "pause", SH("exec sleep 1000"), false);
	killed_after(&b, create_and_start);
	box_adopt(&b, &st);
	rt_pause(b.rt, true, on_paused, &done);
	box_wait(&b, &done);
	rt_free(b.rt);
	box_adopt(&b, &st);
	assert_true(st.paused);
	done = false;
	rt_pause(b.rt, false, on_paused, &done);
	box_wait(&b, &done);
	assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
	box_wait(&b, &b.exited);
	box_done(&b);
}

#include "monitor_rt_io.h"
#include "monitor_rt_kill.h"

static bool writable_base(char *base)
{
	/* The overlay's upper directory must not be on an overlay: try a tmpfs of our own. */
	strcpy(base, "/tmp/kedge-mon-XXXXXX");
	if (!mkdtemp(base))
		return false;
	return mount("kedge-mon", base, "tmpfs", 0, "size=600m,mode=755") == 0;
}

static int make_layers(void)
{
	static const char *const applets[] = { "sh", "cat", "sleep", "echo", "head", "yes", "md5sum", "stty", "tr", "dd", "true", "test", "wc" };
	static char one[256], two[256];
	char path[320];
	struct buf b = { .limit = 16 << 20 };
	int fd;

	snprintf(one, sizeof(one), "%s/layer1", box_base);
	snprintf(two, sizeof(two), "%s/layer,2:odd", box_base);	/* characters that mean something to overlayfs */
	snprintf(path, sizeof(path), "%s/bin", one);
	if (file_mkdir_p(path, 0755) < 0 || file_mkdir_p(two, 0755) < 0)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", i == 2 ? two : one, (const char *[]){ "proc", "dev", "etc", "sys" }[i]);
		(void)mkdir(path, 0755);
	}
	snprintf(path, sizeof(path), "%s/etc/not-executable", two);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	close(fd);
	if (file_read_at(AT_FDCWD, "/usr/bin/busybox", 16 << 20, &b) < 0 && file_read_at(AT_FDCWD, "/bin/busybox", 16 << 20, &b) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/bin/busybox", one);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	if (fd < 0 || file_write_all(fd, b.data, b.len) < 0)
		return -1;
	close(fd);
	buf_done(&b);
	for (size_t i = 0; i < N(applets); i++) {
		snprintf(path, sizeof(path), "%s/bin/%s", one, applets[i]);
		if (symlink("busybox", path) < 0)
			return -1;
	}
	box_lowers[0] = one;
	box_lowers[1] = two;
	return 0;
}

int main(int argc, char **argv)
{
	static char base[64], self[4096];
	ssize_t n;
	int failed;

	if (argc > 1 && str_eq(argv[1], "monitor"))
		return monitor_main(argc - 1, argv + 1);
#ifdef KEDGE_TEST_OCI_MAIN
	if (argc > 1 && argv[1][0] != '-')
		return KEDGE_TEST_OCI_MAIN(argc, argv);
#endif
	if (geteuid() != 0 || unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) {
		fprintf(stderr, "SKIP: needs CAP_SYS_ADMIN for namespaces\n");
		return 77;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = 0;
	box_program = self;
	box_runtime = getenv("KEDGE_TEST_RUNTIME");
	box_base = base;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);	/* monitors of killed engines are ours */
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 || !writable_base(base) || make_layers() < 0) {
		fprintf(stderr, "SKIP: needs a tmpfs that can be mounted and a static /bin/busybox\n");
		return 77;
	}
	loop = loop_new(NULL);
	{
		const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_run),
			cmocka_unit_test(test_no_such_program),
			cmocka_unit_test(test_no_bundle),
			cmocka_unit_test(test_many_layers),
			cmocka_unit_test(test_destroy),
			cmocka_unit_test(test_engine_killed_before_start),
			cmocka_unit_test(test_adopt),
			cmocka_unit_test(test_everything_killed),
			cmocka_unit_test(test_monitor_killed),
			cmocka_unit_test(test_signals),
			cmocka_unit_test(test_pause),
			IO_TESTS
			KILL_TESTS
		};

		if (argc > 2 && str_eq(argv[1], "--only"))
			cmocka_set_test_filter(argv[2]);
		failed = cmocka_run_group_tests(tests, NULL, NULL);
	}
	loop_free(loop);
	box_cgroup_parents_remove();
	(void)umount2(base, MNT_DETACH);
	(void)rmdir(base);
	return failed;
}
