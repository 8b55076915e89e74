/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor_box.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

const char *box_program, *box_runtime, *box_base;
char *box_lowers[3];
int box_uid;

#define LIMIT (60 * 1000000000ll)

static void on_created(void *user, pid_t pid, const struct err *e)
{
	struct box *b = user;

	assert_false(b->created);
	b->created = true;
	b->pid = pid;
	if (e)
		b->create_err = *e;
}

static void on_started(void *user, const struct err *e)
{
	struct box *b = user;

	assert_false(b->started);
	b->started = true;
	if (e)
		b->start_err = *e;
}

static void on_exited(void *user, const struct rt_exit *x)
{
	struct box *b = user;

	assert_false(b->exited);
	b->exited = true;
	b->exit = *x;
}

const struct rt_ops box_adopt_ops = { .created = on_created, .started = on_started, .exited = on_exited };

static void on_output(void *user, int stream, const void *p, size_t n)
{
	struct box *b = user;

	if (b->on_output)
		b->on_output(b, p, n);
	b->n_out += n;
	if (!b->discard)
		buf_add(stream == 2 ? &b->errs : &b->out, p, n);
}

static void on_end(void *user)
{
	struct box *b = user;

	assert_false(b->ended);
	b->ended = true;
}

static const struct rt_attach_ops box_attach_ops = { .output = on_output, .end = on_end };

static json_t *spec(const struct box *b, const char *const *args, bool tty)
{
	json_t *o, *argv = json_array();
	json_error_t e;

	for (; *args; args++)
		json_array_append_new(argv, json_string(*args));
	o = json_pack_ex(&e, 0,
		"{s:s, s:s, s:{s:s}, s:{s:b, s:o, s:s, s:[s,s], s:b, s:{s:i,s:i}},"
		" s:[{s:s,s:s,s:s},{s:s,s:s,s:s,s:[s,s]},{s:s,s:s,s:s,s:[s,s,s]}],"
		" s:{s:s, s:[{s:s},{s:s},{s:s},{s:s},{s:s}], s:{s:{s:I}}}}",
		"ociVersion", "1.0.2", "hostname", "box", "root", "path", "rootfs",
		"process", "terminal", (int)tty, "args", argv, "cwd", "/", "env", "PATH=/bin", "TERM=xterm", "noNewPrivileges", 1,
			"user", "uid", box_uid, "gid", box_uid,
		"mounts", "destination", "/proc", "type", "proc", "source", "proc",
			"destination", "/dev", "type", "tmpfs", "source", "tmpfs", "options", "nosuid", "mode=755",
			"destination", "/dev/pts", "type", "devpts", "source", "devpts", "options", "newinstance", "ptmxmode=0666", "mode=0620",
		"linux", "cgroupsPath", b->cgroup,
			"namespaces", "type", "pid", "type", "mount", "type", "ipc", "type", "uts", "type", "network",
			"resources", "memory", "limit", (json_int_t)64 << 20);
	assert_non_null(o);
	return o;
}

void box_init(struct box *b, struct loop *l, const char *name, const char *const *args, bool tty)
{
	static const char *const subs[] = { "", "/run", "/upper", "/work", "/bundle", "/bundle/rootfs" };
	static unsigned n;
	char path[256], *text;
	json_t *o;
	int fd;

	memset(b, 0, sizeof(*b));
	b->loop = l;
	snprintf(b->id, sizeof(b->id), "%s-%u-%d", name, ++n, (int)getpid());
	snprintf(b->dir, sizeof(b->dir), "%s/%s", box_base, b->id);
	snprintf(b->cgroup, sizeof(b->cgroup), "/kedge-test-%d/%s", (int)getpid(), b->id);
	snprintf(b->run_dir, sizeof(b->run_dir), "%s/run", b->dir);
	snprintf(b->log, sizeof(b->log), "%s/json.log", b->dir);
	for (size_t i = 0; i < N(subs); i++) {
		snprintf(path, sizeof(path), "%s%s", b->dir, subs[i]);
		assert_int_equal(file_mkdir_p(path, 0755), 0);
	}
	o = spec(b, args, tty);
	text = json_text(o);
	snprintf(path, sizeof(path), "%s/bundle/config.json", b->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
	free(text);
	json_decref(o);
	buf_init(&b->out, 512u << 20);
	buf_init(&b->errs, 0);
}

struct rt_launch box_launch(const struct box *b, char *const *lowers)
{
	static char bundle[256], upper[256], work[256];

	snprintf(bundle, sizeof(bundle), "%s/bundle", b->dir);
	snprintf(upper, sizeof(upper), "%s/upper", b->dir);
	snprintf(work, sizeof(work), "%s/work", b->dir);
	return (struct rt_launch){ .id = b->id, .bundle = bundle, .run_dir = b->run_dir, .lowers = lowers, .cgroup = b->cgroup, .upper = upper, .work = work,
				   .runtime = box_runtime, .log = { .driver = "json-file", .path = b->log } };
}

void box_wait(struct box *b, bool *what)
{
	int64_t until = clock_now() + LIMIT;

	while (!*what) {
		assert_true(clock_now() < until);
		loop_turn(b->loop, 1000);
	}
}

void box_create(struct box *b, struct rt_launch *a)
{
	struct err e = { 0 };

	b->rt = rt_launch(b->loop, box_program, a, &box_adopt_ops, b, &e);
	if (!b->rt)
		fail_msg("%s", e.msg);
	assert_false(b->created);
	box_wait(b, &b->created);
}

void box_start(struct box *b)
{
	if (b->create_err.kind != ERR_NONE)
		fail_msg("%s", b->create_err.msg);
	rt_start(b->rt);
	assert_false(b->started);
	box_wait(b, &b->started);
}

void box_attach(struct box *b, bool in)
{
	struct err e = { 0 };

	b->attach = rt_attach(b->rt, in, true, &box_attach_ops, b, &e);
	if (!b->attach)
		fail_msg("%s", e.msg);
}

void box_adopt(struct box *b, struct rt_state *st)
{
	struct err e = { 0 };

	b->rt = rt_adopt(b->loop, b->run_dir, &box_adopt_ops, b, st, &e);
	if (!b->rt)
		fail_msg("%s", e.msg);
}

pid_t box_monitor_pid(const struct box *b)
{
	int fd = open(b->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *o = json_parse_file_at(fd, "state", 4096, NULL);
	pid_t pid = (pid_t)json_i64(o, "monitor", 0);

	close(fd);
	json_decref(o);
	return pid;
}

void box_wait_pid_gone(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd f = { .fd = fd, .events = POLLIN };

	if (fd < 0) {
		assert_int_equal(errno, ESRCH);
		return;
	}
	assert_int_equal(poll(&f, 1, 60000), 1);
	close(fd);
}

bool box_cgroup_exists(const struct box *b)
{
	char *pattern = mem_printf("/sys/fs/cgroup{,/*}%s", b->cgroup);
	glob_t g;
	bool found = glob(pattern, GLOB_BRACE, NULL, &g) == 0;

	globfree(&g);
	free(pattern);
	return found;
}

void box_cgroup_parents_remove(void)
{
	char *pattern = mem_printf("/sys/fs/cgroup{,/*}/kedge-test-%d", (int)getpid());
	glob_t g;

	if (glob(pattern, GLOB_BRACE, NULL, &g) == 0) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			if (rmdir(g.gl_pathv[i]) < 0)
				print_error("left behind: %s: %s\n", g.gl_pathv[i], strerror(errno));
		}
	}
	globfree(&g);
	free(pattern);
}

void box_done(struct box *b)
{
	struct buf mounts = BUF_INIT;
	char path[256];

	rt_attach_free(b->attach);
	rt_free(b->rt);
	snprintf(path, sizeof(path), "%s/monitor.log", b->run_dir);
	if (file_read_at(AT_FDCWD, path, 1 << 20, &mounts) == 0 && mounts.len && (strstr(mounts.data, "Sanitizer") || strstr(mounts.data, "runtime error")))
		fail_msg("%s", mounts.data);
	if (mounts.len)
		print_message("%s", mounts.data);
	buf_done(&mounts);
	assert_false(box_cgroup_exists(b));
	assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mounts), 0);
	assert_null(strstr(mounts.data, b->dir));
	buf_done(&mounts);
	buf_done(&b->out);
	buf_done(&b->errs);
	assert_int_equal(file_rm_rf_at(AT_FDCWD, b->dir), 0);
}
