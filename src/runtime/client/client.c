/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One struct rt per container: a SOCK_SEQPACKET connection to its monitor, and what was last heard over it. Nothing here waits:
 * requests are packets, answers come from the loop, and every request has a deadline, because a monitor may hang on a dead disk.
 *
 *   LAUNCHING --CREATED--> CREATED --rt_start--> STARTING --STARTED--> RUNNING --EXITED--> EXITED
 *
 * End of file without EXITED means that the monitor dropped us or is dead. <run_dir>/exit decides first; then a reconnect is tried; then the monitor is
 * taken for dead (killed, out of memory): "kedge-runtime monitor --cleanup" kills and removes what is left of the container, and
 * the exit is reported with what it records (137). While cleanup finds the run directory's lock taken, it is tried again.
 *
 * Signals go through the pidfd of the container's init, which the monitor, its parent, has opened: a pid that was reused cannot be hit.
 */
#include "runtime/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/client/client_priv.h"

#define SECOND 1000000000ll
enum {
	CREATE_LIMIT = 120,	/* seconds: layers on a slow disk, a volume's first mount */
	START_LIMIT = 60,
	HELLO_LIMIT = 10,
	PAUSE_LIMIT = 20,
	GONE_LIMIT = 60,
	CLEANUP_RETRY_MS = 500,	/* helpers of a dead monitor may hold the lock for some time */
	CLEANUP_TRIES = 120,
	QUEUE_MAX = 256,	/* control messages a monitor has not taken: it hangs */
};

static void lost(struct rt *r);

static void disconnect(struct rt *r)
{
	struct queued *q;

	loop_io_free(TAKE(r->io));
	fd_closep(&r->sock);
	r->sock = -1;
	while ((q = r->queue)) {
		r->queue = q->next;
		fd_closep(&q->fd);
		free(q);
	}
	r->queue_end = &r->queue;
	r->queue_len = 0;
}

static void enter(struct rt *r)
{
	r->busy++;
}

static void free_now(struct rt *r)
{
	disconnect(r);
	while (r->pending) {
		struct pending *p = r->pending;

		r->pending = p->next;
		free(p);
	}
	for (struct rt_exec *x = r->execs; x; x = x->next)
		x->r = NULL;
	loop_timer_free(r->timer);
	fd_closep(&r->pidfd);
	if (r->self)
		*r->self = NULL;
	free(r->program);
	free(r->run_dir);
	free(r);
}

/* After a callback: the user may have freed us in it. True then. */
static bool leave(struct rt *r)
{
	if (--r->busy || !r->freed)
		return r->freed;
	free_now(r);
	return true;
}

static void flush(struct rt *r)
{
	struct queued *q;

	while ((q = r->queue) && r->sock >= 0) {
		int e = pm_send(r->sock, &q->m, q->bytes, q->n, q->fd);

		if (e == -EAGAIN || e == -ENOBUFS)
			break;
		r->queue = q->next;
		if (!r->queue)
			r->queue_end = &r->queue;
		r->queue_len--;
		fd_closep(&q->fd);
		free(q);
	}
	if (r->io)
		loop_io_set(r->io, LOOP_READ | (r->queue ? LOOP_WRITE : 0));
}

void rt_send(struct rt *r, const struct pm *m, const void *p, size_t n, int fd)
{
	struct queued *q;

	if (r->sock < 0 || r->queue_len >= QUEUE_MAX) {
		fd_closep(&fd);
		return;
	}
	q = mem_alloc(sizeof(*q) + n);
	*q = (struct queued){ .m = *m, .fd = fd, .n = n };
	if (n)
		memcpy(q->bytes, p, n);
	*r->queue_end = q;
	r->queue_end = &q->next;
	r->queue_len++;
	flush(r);
}

bool rt_connected(const struct rt *r)
{
	return r->sock >= 0;
}

struct loop *rt_loop(struct rt *r)
{
	return r->loop;
}

/* All that waited for an answer gets one. */
static void fail_pending(struct rt *r)
{
	struct pending *p;
	struct err e = { 0 };

	err_set(&e, ERR_UNAVAILABLE, "the container's monitor is gone");
	while (!r->freed && (p = r->pending)) {
		r->pending = p->next;
		p->done(p->user, &e);
		free(p);
	}
	rt_exec_fail(r, &e);
}

static void report_gone(struct rt *r)
{
	if (r->gone)
		return;
	r->gone = true;
	loop_timer_stop(r->timer);
	enter(r);
	if (r->ops.gone)
		r->ops.gone(r->user);
	(void)leave(r);
}

/* r may be gone afterwards. */
static void report_exit(struct rt *r)
{
	if (r->phase == RT_EXITED)
		return;
	r->phase = RT_EXITED;
	loop_timer_set(r->timer, GONE_LIMIT * SECOND);
	enter(r);
	fail_pending(r);
	if (!r->freed && r->ops.exited)
		r->ops.exited(r->user, &r->exit);
	if (!r->freed && r->sock < 0)
		report_gone(r);
	(void)leave(r);
}

static int read_json(const char *dir, const char *name, json_t **ret)
{
	CLEANUP(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret = fd < 0 ? NULL : json_parse_file_at(fd, name, 65536, NULL);
	return *ret ? 0 : -1;
}

static bool read_exit(struct rt *r)
{
	json_t *o;

	if (read_json(r->run_dir, "exit", &o) < 0)
		return false;
	r->exit = (struct rt_exit){ .status = (int)json_i64(o, "status", 255), .oom = json_flag(o, "oom", false),
				    .finished_ns = json_i64(o, "finishedNs", clock_wall()) };
	json_decref(o);
	return true;
}

/* A connected, non-blocking socket to the monitor of run_dir, or -errno. The path may be longer than a socket address. */
static int connect_to(const char *run_dir)
{
	CLEANUP(fd_closep) int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, r;

	if (dir < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/monitor.sock", dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}

/* What the monitor said last, for a monitor that died before it could say why. */
static void last_words(struct rt *r, struct err *e)
{
	CLEANUP(fd_closep) int dir = open(r->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct buf b = BUF_INIT;
	size_t n;

	if (dir >= 0 && file_read_at(dir, "monitor.log", 65536, &b) == 0 && b.len) {
		n = strcspn(b.data, "\n");
		err_set(e, ERR_INTERNAL, "the container's monitor ended at once: %.*s", (int)(n < 400 ? n : 400), b.data);
	} else {
		err_set(e, ERR_INTERNAL, "the container's monitor ended without an answer");
	}
	buf_done(&b);
}

static void fail_create(struct rt *r, const struct err *e)
{
	r->phase = RT_FAILED;
	loop_timer_stop(r->timer);
	disconnect(r);
	enter(r);
	if (r->ops.created)
		r->ops.created(r->user, 0, e);
	(void)leave(r);
}

static void cleanup_over(struct rt *r)
{
	if (r->create_err.kind != ERR_NONE) {
		fail_create(r, &r->create_err);
		return;
	}
	if (!read_exit(r))
		r->exit = (struct rt_exit){ .status = 137, .finished_ns = clock_wall() };
	report_exit(r);
}

static void on_cleanup(void *user, int status)
{
	struct rt *r = user;

	r->child = NULL;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3 && r->cleanup_tries < CLEANUP_TRIES) {
		loop_timer_set(r->timer, CLEANUP_RETRY_MS * 1000000ll);
		return;
	}
	cleanup_over(r);
}

static void start_cleanup(struct rt *r)
{
	struct err e = { 0 };

	r->cleanup_tries++;
	rt_child_let_go(TAKE(r->child));
	r->child = rt_spawn_cleanup(r->loop, r->program, r->run_dir, on_cleanup, r, &e);
	if (r->child)
		return;
	log_error("runtime", "container at '%s': its monitor is dead and cleaning up failed: %s", r->run_dir, e.msg);
	if (r->cleanup_tries < CLEANUP_TRIES) {
		loop_timer_set(r->timer, CLEANUP_RETRY_MS * 1000000ll);
		return;
	}
	cleanup_over(r);
}

static void on_io(void *user, unsigned events);

static bool reconnect(struct rt *r)
{
	int fd = connect_to(r->run_dir);
	struct pm hello = { .type = PM_HELLO };

	if (fd < 0)
		return false;
	r->io = loop_io_new(r->loop, fd, LOOP_READ, on_io, r);
	if (!r->io) {
		(void)close(fd);
		return false;
	}
	r->sock = fd;
	r->conn++;
	r->hello_sent = true;
	rt_send(r, &hello, NULL, 0, -1);
	loop_timer_set(r->timer, HELLO_LIMIT * SECOND);
	return true;
}

/* End of file. r may be gone afterwards. */
static void lost(struct rt *r)
{
	struct err e = { 0 };

	disconnect(r);
	switch (r->phase) {
	case RT_LAUNCHING:
		last_words(r, &r->create_err);
		r->phase = RT_CLEANING;
		start_cleanup(r);
		return;
	case RT_EXITED:
		report_gone(r);
		return;
	case RT_FAILED:
	case RT_CLEANING:
		return;
	case RT_CREATED:
	case RT_STARTING:
	case RT_RUNNING:
		break;
	}
	if (!r->hello_sent && r->phase == RT_RUNNING && reconnect(r))
		return;		/* only once: a monitor that drops us again is not well */
	if (r->phase == RT_STARTING) {
		err_set(&e, ERR_UNAVAILABLE, "the container's monitor ended while the container was being started");
		r->phase = RT_CLEANING;
		enter(r);
		if (r->ops.started)
			r->ops.started(r->user, &e);
		if (leave(r))
			return;
	}
	if (read_exit(r)) {
		report_exit(r);
		return;
	}
	r->phase = RT_CLEANING;
	log_warn("runtime", "container at '%s': its monitor is dead, removing what is left of it", r->run_dir);
	start_cleanup(r);
}

static void on_timer(void *user)
{
	struct rt *r = user;
	struct err e = { 0 };

	switch (r->phase) {
	case RT_LAUNCHING:
		err_set(&r->create_err, ERR_UNAVAILABLE, "the container was not made within %d seconds", CREATE_LIMIT);
		rt_child_kill(r->child);
		disconnect(r);
		r->phase = RT_CLEANING;
		start_cleanup(r);
		break;
	case RT_STARTING:
		err_set(&e, ERR_UNAVAILABLE, "the container did not start within %d seconds", START_LIMIT);
		r->phase = RT_RUNNING;
		/* Whatever it hangs in, it will not be ready any more: killed, its end leads to the cleanup and to exited(). */
		(void)rt_kill(r, SIGKILL, NULL);
		rt_child_kill(r->child);
		r->hello_sent = true;
		enter(r);
		if (r->ops.started)
			r->ops.started(r->user, &e);
		(void)leave(r);
		break;
	case RT_RUNNING:
		if (r->pending) {
			struct pending *p = r->pending;

			r->pending = p->next;
			err_set(&e, ERR_UNAVAILABLE, "the container's monitor did not answer within %d seconds", PAUSE_LIMIT);
			enter(r);
			p->done(p->user, &e);
			free(p);
			(void)leave(r);
		} else {
			log_warn("runtime", "container at '%s': its monitor did not answer within %d seconds, going on", r->run_dir, HELLO_LIMIT);
		}
		break;
	case RT_CLEANING:
		start_cleanup(r);
		break;
	case RT_EXITED:
		log_warn("runtime", "container at '%s': its root was not unmounted within %d seconds, going on", r->run_dir, GONE_LIMIT);
		report_gone(r);
		break;
	case RT_CREATED:
	case RT_FAILED:
		break;
	}
}

static void on_pending(struct rt *r, const struct pm *m, const struct err *e)
{
	for (struct pending **at = &r->pending; *at; at = &(*at)->next) {
		struct pending *p = *at;

		if (p->tag != m->tag)
			continue;
		*at = p->next;
		if (!r->pending)
			loop_timer_stop(r->timer);
		p->done(p->user, e);
		free(p);
		return;
	}
}

static void take_pidfd(struct rt *r, int *fd)
{
	if (*fd < 0)
		return;
	fd_closep(&r->pidfd);
	r->pidfd = TAKE_FD(*fd);
}

/* Called with r kept by enter(). */
static void on_message(struct rt *r, const struct pm *m, const char *p, size_t n, int *fd)
{
	struct err err = { 0 }, *e = NULL;

	if (m->flags & PM_F_ERR) {
		pm_err(m, p, n, &err);
		e = &err;
	}
	switch (m->type) {
	case PM_CREATED:
		if (r->phase != RT_LAUNCHING)
			return;
		if (e) {
			fail_create(r, e);
			return;
		}
		loop_timer_stop(r->timer);
		take_pidfd(r, fd);
		r->pid = (pid_t)m->v[0];
		r->phase = RT_CREATED;
		if (r->ops.created)
			r->ops.created(r->user, r->pid, NULL);
		return;
	case PM_STARTED:
		if (r->phase != RT_STARTING)
			return;
		loop_timer_stop(r->timer);
		r->phase = RT_RUNNING;
		if (r->ops.started)
			r->ops.started(r->user, e);
		return;
	case PM_STATE:
		if (!r->pending)
			loop_timer_stop(r->timer);
		take_pidfd(r, fd);
		rt_exec_settle(r, p, m->v[2] >= 2 ? n : 0);
		return;
	case PM_EXITED:
		r->exit = (struct rt_exit){ .status = (int)m->v[0], .oom = m->v[1] != 0, .finished_ns = m->v[2] };
		if (r->phase == RT_STARTING) {	/* cannot be: STARTED comes first */
			r->phase = RT_RUNNING;
			if (r->ops.started)
				r->ops.started(r->user, NULL);
		}
		if (!r->freed)
			report_exit(r);
		return;
	case PM_DONE:
		on_pending(r, m, e);
		return;
	case PM_EXEC_STARTED:
	case PM_EXEC_EXITED:
		rt_exec_message(r, m, e);
		return;
	default:
		return;		/* of a newer monitor */
	}
}

static void on_io(void *user, unsigned events)
{
	static char room[8192];
	struct rt *r = user;

	if (events & LOOP_WRITE)
		flush(r);
	enter(r);
	for (int i = 0; i < 32 && (events & LOOP_READ) && r->sock >= 0 && !r->freed; i++) {
		struct pm m;
		int fd;
		ssize_t n = pm_recv(r->sock, &m, room, sizeof(room), &fd);

		if (n == -EAGAIN)
			break;
		if (n == -ECONNRESET || n == -EBADMSG)
			continue;
		if (n < 0) {
			lost(r);
			break;
		}
		on_message(r, &m, room, (size_t)n, &fd);
		fd_closep(&fd);
	}
	(void)leave(r);
}

static struct rt *rt_new(struct loop *l, const char *run_dir, const struct rt_ops *ops, void *user)
{
	struct rt *r = mem_zalloc(sizeof(*r));

	*r = (struct rt){ .loop = l, .ops = *ops, .user = user, .sock = -1, .pidfd = -1, .run_dir = mem_strdup(run_dir) };
	r->queue_end = &r->queue;
	r->timer = loop_timer_new(l, on_timer, r);
	return r;
}

static void put_number(struct buf *b, const char *key, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	pm_put(b, key, text);
}

static void on_monitor_end(void *user, int status)
{
	struct rt *r = user;

	(void)status;		/* its socket tells more; the end of file comes by itself */
	r->child = NULL;
}

struct rt *rt_launch(struct loop *l, const char *runtime_path, const struct rt_launch *a, const struct rt_ops *ops, void *user, struct err *e)
{
	struct pm m = { .type = PM_LAUNCH, .v = { PM_VERSION } };
	struct buf b = BUF_INIT;
	struct rt *r = NULL;

	pm_put(&b, "id", a->id);
	pm_put(&b, "bundle", a->bundle);
	pm_put(&b, "run_dir", a->run_dir);
	for (size_t i = 0; a->lowers && a->lowers[i]; i++)
		pm_put(&b, "lower", a->lowers[i]);
	pm_put(&b, "upper", a->upper);
	pm_put(&b, "work", a->work);
	pm_put(&b, "runtime", a->runtime);
	pm_put(&b, "cgroup", a->cgroup);
	pm_put(&b, "cache", a->cache);
	pm_put(&b, "tty", a->tty ? "1" : NULL);
	pm_put(&b, "stdin_open", a->stdin_open ? "1" : NULL);
	pm_put(&b, "stdin_once", a->stdin_once ? "1" : NULL);
	pm_put(&b, "late_net", a->late_net ? "1" : NULL);
	pm_put(&b, "log.driver", a->log.driver ? a->log.driver : "none");
	pm_put(&b, "log.path", a->log.path);
	put_number(&b, "log.max_size", a->log.max_size);
	put_number(&b, "log.max_files", a->log.max_files);
	pm_put(&b, "log.compress", a->log.compress ? "1" : NULL);
	pm_put(&b, "log.attrs", a->log.attrs);
	if (a->log.ship) {
		pm_put(&b, "log.ship", a->log.ship);
		pm_put(&b, "log.address", a->log.address);
		pm_put(&b, "log.format", a->log.format);
		pm_put(&b, "log.host", a->log.host);
		pm_put(&b, "log.tag", a->log.tag);
		put_number(&b, "log.facility", (uint64_t)a->log.facility);
		for (size_t i = 0; a->log.fields && a->log.fields[i]; i++)
			pm_put(&b, "log.field", a->log.fields[i]);
	}
	if (b.failed || b.len > PM_LAUNCH_MAX) {
		err_set(e, ERR_INVALID, "container %.12s: its layers' paths take %zu bytes, more than the %d a monitor takes", a->id, b.len,
			PM_LAUNCH_MAX);
		goto out;
	}
	r = rt_new(l, a->run_dir, ops, user);
	r->program = mem_strdup(runtime_path);
	r->phase = RT_LAUNCHING;
	r->child = rt_spawn_monitor(l, runtime_path, a->run_dir, &r->sock, on_monitor_end, r, e);
	if (!r->child) {
		free_now(TAKE(r));
		goto out;
	}
	r->conn = 1;
	r->io = loop_io_new(l, r->sock, LOOP_READ, on_io, r);
	loop_timer_set(r->timer, CREATE_LIMIT * SECOND);
	rt_send(r, &m, b.data, b.len, -1);
out:
	buf_done(&b);
	return r;
}

void rt_net(struct rt *r, int fd_take)
{
	struct pm m = { .type = PM_NET, .flags = fd_take < 0 ? PM_F_ERR : 0 };

	if (r->phase == RT_LAUNCHING)
		rt_send(r, &m, NULL, 0, fd_take);
	else
		fd_closep(&fd_take);
}

void rt_start(struct rt *r)
{
	struct pm m = { .type = PM_START };

	if (r->phase != RT_CREATED)
		return;
	r->phase = RT_STARTING;
	r->was_started = true;
	loop_timer_set(r->timer, START_LIMIT * SECOND);
	rt_send(r, &m, NULL, 0, -1);
}

static void later_exit(void *user)
{
	struct rt **self = user, *r = *self;

	free(self);
	if (!r)
		return;
	r->self = NULL;
	if (r->phase == RT_CLEANING)
		start_cleanup(r);
	else
		report_exit(r);
}

static void defer_exit(struct rt *r)
{
	struct rt **self = mem_alloc(sizeof(*self));

	*self = r;
	r->self = self;
	loop_defer(r->loop, later_exit, self);
}

/* The program that wrote <run_dir>/launch; NULL when there is nothing to clean up. */
static char *launched_by(const char *run_dir)
{
	CLEANUP(fd_closep) int dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct buf b = BUF_INIT;
	char *exe = NULL;

	if (dir >= 0 && file_read_at(dir, "launch", PM_LAUNCH_MAX + 8192, &b) == 0 && b.len)
		exe = mem_strdup(pm_word(b.data, b.len, "exe"));
	buf_done(&b);
	return exe;
}

/*
 * A handle of pid if that is the child of a monitor that lives, else -1. For the time until the monitor answers, or for ever if it
 * hangs: its container must be killable all the same.
 */
static int child_pidfd(pid_t pid, pid_t parent)
{
	int fd = pid > 1 && parent > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	char path[64], line[512], *p;

	if (fd < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_line(path, line, sizeof(line)) >= 0 && (p = strrchr(line, ')')) && strlen(p) > 4 && strtol(p + 4, NULL, 10) == parent)
		return fd;
	(void)close(fd);
	return -1;
}

/*
 * A monitor that has not said that the container runs, although it was launched: the engine before us died around START. Either it is
 * destroying the container now, or it had START in its socket already; only it knows. The one place that waits, for 2 seconds at
 * most, at an engine's start, for a container that was caught there.
 */
static bool started_after_all(struct rt *r, struct rt_state *ret)
{
	CLEANUP(fd_closep) int fd = connect_to(r->run_dir);
	struct pm m = { .type = PM_HELLO };
	int64_t until = clock_now() + 2 * SECOND;
	char room[1024];	/* the list of execs fits */

	if (fd < 0 || pm_send(fd, &m, NULL, 0, -1) < 0)
		return false;
	while (clock_now() < until) {
		struct pollfd f = { .fd = fd, .events = POLLIN };
		int got;
		ssize_t n;

		(void)poll(&f, 1, (int)((until - clock_now()) / 1000000 + 1));
		n = pm_recv(fd, &m, room, sizeof(room), &got);
		fd_closep(&got);
		if (n == -EAGAIN || n == -EBADMSG)
			continue;
		if (n < 0)
			return false;
		if (m.type == PM_STATE && m.flags & PM_F_RUNNING) {
			ret->pid = r->pid = (pid_t)m.v[0];
			ret->started_ns = m.v[1];
			return true;
		}
	}
	return false;
}

struct rt *rt_adopt(struct loop *l, const char *run_dir, const struct rt_ops *ops, void *user, struct rt_state *ret, struct err *e)
{
	struct rt *r = rt_new(l, run_dir, ops, user);
	pid_t monitor = 0;
	json_t *o;

	*ret = (struct rt_state){ 0 };
	r->was_started = true;
	r->phase = RT_RUNNING;
	r->program = launched_by(run_dir);
	if (read_json(run_dir, "state", &o) == 0) {
		ret->pid = r->pid = (pid_t)json_i64(o, "pid", 0);
		ret->started_ns = json_i64(o, "startedNs", 0);
		ret->paused = json_flag(o, "paused", false);
		ret->running = json_flag(o, "running", false);
		monitor = (pid_t)json_i64(o, "monitor", 0);
		json_decref(o);
	}
	if (read_exit(r)) {
		ret->running = false;
		defer_exit(r);
		return r;
	}
	if (!ret->running && r->program)
		ret->running = started_after_all(r, ret);
	if (ret->running && reconnect(r)) {
		r->pidfd = child_pidfd(r->pid, monitor);
		return r;
	}
	if (read_exit(r)) {	/* between the two looks */
		ret->running = false;
		defer_exit(r);
		return r;
	}
	if (ret->running && r->program) {
		ret->running = false;
		r->phase = RT_CLEANING;
		defer_exit(r);
		return r;
	}
	err_set(e, ERR_NOT_FOUND, "no monitor and no exit record of a started container in '%s'", run_dir);
	/* Never started: a living monitor is destroying it now, of a dead one something may be left. */
	if (r->program) {
		ret->left = true;
		r->phase = RT_CLEANING;
		defer_exit(r);
		return r;
	}
	free_now(r);
	return NULL;
}

/* The pid is looked up first and asked for after: when the process still lives then, the handle is its own and no successor's. */
int rt_root(struct rt *r, struct err *e)
{
	char path[64];
	int fd;

	if (r->phase == RT_EXITED || r->phase == RT_FAILED || r->phase == RT_CLEANING || r->phase == RT_LAUNCHING || r->pid <= 1)
		return err_set(e, ERR_CONFLICT, "the container's process is gone");
	snprintf(path, sizeof(path), "/proc/%d/root", (int)r->pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open the container's root");
	if (r->pidfd < 0 || syscall(SYS_pidfd_send_signal, r->pidfd, 0, NULL, 0) < 0) {
		close(fd);
		return err_set(e, ERR_CONFLICT, "the container's process is gone");
	}
	return fd;
}

int rt_kill(struct rt *r, int signo, struct err *e)
{
	struct pm m = { .type = PM_SIGNAL, .v = { signo } };

	if (r->phase == RT_EXITED || r->phase == RT_FAILED || r->phase == RT_CLEANING || r->phase == RT_LAUNCHING)
		return err_set(e, ERR_NOT_FOUND, "the container's process is gone");
	if (r->pidfd < 0) {	/* between adoption and the monitor's first word */
		rt_send(r, &m, NULL, 0, -1);
		return 0;
	}
	if (syscall(SYS_pidfd_send_signal, r->pidfd, signo, NULL, 0) == 0)
		return 0;
	if (errno == ESRCH)
		return err_set(e, ERR_NOT_FOUND, "the container's process is gone");
	return err_errno(e, errno, "send signal %d to the container's process %d", signo, (int)r->pid);
}

void rt_resize(struct rt *r, unsigned rows, unsigned cols)
{
	struct pm m = { .type = PM_RESIZE, .v = { rows, cols } };

	rt_send(r, &m, NULL, 0, -1);
}

/* A request that PM_DONE answers. */
static void ask(struct rt *r, struct pm m, const char *text, void (*done)(void *user, const struct err *e), void *user)
{
	struct pending *p = mem_alloc(sizeof(*p)), **end = &r->pending;

	m.tag = ++r->last_tag;

	*p = (struct pending){ .tag = m.tag, .done = done, .user = user };
	while (*end)
		end = &(*end)->next;
	*end = p;
	loop_timer_set(r->timer, r->sock >= 0 ? PAUSE_LIMIT * SECOND : 0);
	rt_send(r, &m, text, text ? strlen(text) : 0, -1);
}

void rt_pause(struct rt *r, bool pause, void (*done)(void *user, const struct err *e), void *user)
{
	ask(r, (struct pm){ .type = PM_PAUSE, .v = { pause } }, NULL, done, user);
}

void rt_update(struct rt *r, const char *resources, void (*done)(void *user, const struct err *e), void *user)
{
	ask(r, (struct pm){ .type = PM_UPDATE }, resources, done, user);
}

struct rt_attach *rt_attach(struct rt *r, bool in, bool out, const struct rt_attach_ops *ops, void *user, struct err *e)
{
	struct pm m = { .type = PM_ATTACH, .flags = (uint16_t)((in ? PM_F_IN : 0) | (out ? PM_F_OUT : 0)) };
	struct rt_attach *a;
	int theirs;

	if (r->sock < 0 || r->phase == RT_EXITED) {
		err_set(e, ERR_CONFLICT, "the container is not running, there is nothing to attach to");
		return NULL;
	}
	a = rt_attach_pair(r, out, ops, user, &theirs, e);
	if (a)
		rt_send(r, &m, NULL, 0, theirs);
	return a;
}

void rt_free(struct rt *r)
{
	if (!r || r->freed)
		return;
	rt_child_let_go(TAKE(r->child));
	r->freed = true;
	disconnect(r);
	if (!r->busy)
		free_now(r);
}

void rt_destroy(struct rt *r)
{
	struct pm m = { .type = PM_DESTROY };

	if (!r)
		return;
	if (r->was_started)
		(void)rt_kill(r, SIGKILL, NULL);
	else
		rt_send(r, &m, NULL, 0, -1);
	rt_free(r);	/* before START the end of file alone destroys it, whether or not the message was taken */
}
