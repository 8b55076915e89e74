/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One small process per container: it holds the container's stdio, writes its log, reaps it and records how it ended, whether or not an engine
 * is there to hear it. One thread, one poll(2) over what is open; everything that may block runs in helper processes (helper.c).
 *
 *   IDLE --LAUNCH--> CREATING --ok--> CREATED --START--> STARTING --> RUNNING --init ended--> DELETING --> GONE
 *                        |               |                   |                                    ^
 *                        +--failed-------+--engine gone, DESTROY, init ended----------------------+
 *
 * Who owns the container: until START the engine; its end (of file on the socket the monitor was started with) destroys the
 * container, so a killed engine leaves nothing half-made. From START on the monitor; an engine comes and goes by <run_dir>/monitor.sock.
 *
 * Files in run_dir: "launch" (the LAUNCH message: there is something to clean up), "state" (JSON, after each change), "pid", "monitor.sock",
 * "lock" (held while this process lives), and at the end "exit" (JSON) before the others go. The container's cgroup is gone and its log complete
 * before "exit" is written and EXITED is sent; its root file system is unmounted after that, and the end of this process says so.
 *
 * If this process itself is killed, the container's init goes on without stdio until the engine notices (end of file, no "exit") and
 * runs "monitor --cleanup", which kills and removes it.
 */
#include "runtime/monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor_priv.h"

#define SECOND 1000000000ll
enum {
	CREATE_LIMIT = 110,	/* seconds; the engine itself gives up after 120 */
	START_LIMIT = 50,	/* ... after 60 */
	DELETE_LIMIT = 60,
	PAUSE_LIMIT = 15,
	EXEC_GRACE = 5,		/* for execs to be reaped after the container's end */
};

struct monitor mon;
const int mon_ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ, SIGQUIT, 0 };

/* Children that were reaped while a helper had not yet said which process it has made; else they are somebody's orphans. */
static struct { pid_t pid; int status; } strangers[64];
static unsigned n_strangers;
static struct err create_failed;
static bool deleted, tidied;
static int64_t gone_since;

static void destroy(void);

static void control_close(int i)
{
	int fd = mon.control[i];

	if (fd < 0)
		return;
	mon.control[i] = -1;
	(void)close(fd);
	if (i == 0 && mon.control_first) {
		mon.control_first = false;
		destroy();
	}
}

void mon_send(const struct pm *m, const void *p, size_t n, int fd)
{
	/* A few small messages fill no socket buffer unless the engine hangs: then it reads its news from the files when it comes back. */
	for (int i = 0; i < MAX_CONTROL; i++) {
		if (mon.control[i] >= 0 && pm_send(mon.control[i], m, p, n, fd) < 0)
			control_close(i);
	}
}

void mon_send_err(struct pm *m, const struct err *e, int fd)
{
	if (!e || e->kind == ERR_NONE) {
		mon_send(m, NULL, 0, fd);
		return;
	}
	m->flags |= PM_F_ERR;
	m->v[0] = e->kind;
	m->v[1] = e->sys;
	mon_send(m, e->msg, strlen(e->msg), fd);
}

/*
 * Whole or not at all for whoever reads it, but not fsynced: after a power cut the container is gone too, and each of these would cost
 * milliseconds in a container's start. "exit" is the one that must last.
 */
int mon_put_file(const char *name, const char *p, size_t n)
{
	char tmp[64];
	int fd, r;

	snprintf(tmp, sizeof(tmp), ".%s.new", name);
	fd = openat(mon.run_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, p, n);
	if (r == 0 && renameat(mon.run_fd, tmp, mon.run_fd, name) < 0)
		r = -errno;
	(void)close(fd);
	if (r < 0)
		(void)unlinkat(mon.run_fd, tmp, 0);
	return r;
}

static void write_state(void)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "{\"pid\":%d,\"running\":%s,\"paused\":%s,\"startedNs\":%lld,\"monitor\":%d}\n", (int)mon.main.pid,
			 mon.state == ST_RUNNING || mon.state == ST_STARTING ? "true" : "false", mon.paused ? "true" : "false",
			 (long long)mon.started_ns, (int)getpid());

	n = mon_put_file("state", text, (size_t)n);
	if (n < 0)
		log_warn("monitor", "%s: write state: %s, going on", mon.a.id, strerror(-n));
}

static void write_exit(void)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "{\"status\":%d,\"oom\":%s,\"finishedNs\":%lld,\"startedNs\":%lld}\n", mon.main.status,
			 mon.oom ? "true" : "false", (long long)mon.finished_ns, (long long)mon.started_ns), r;

	/* Not synced: it is for the next engine of this boot. After a power cut the container is gone with its run directory's meaning. */
	r = mon_put_file("exit", text, (size_t)n);
	if (r < 0)
		log_error("monitor", "%s: exit status %d could not be recorded: %s", mon.a.id, mon.main.status, strerror(-r));
}

/* From here on another monitor may use the run directory. */
static void remove_files(void)
{
	static const char *const names[] = { "monitor.sock", "state", "pid", "launch" };

	if (mon.listener >= 0)
		(void)close(TAKE_FD(mon.listener));
	for (size_t i = 0; mon.run_fd >= 0 && i < N(names); i++)
		(void)unlinkat(mon.run_fd, names[i], 0);
	if (mon.lock >= 0)
		(void)close(TAKE_FD(mon.lock));
}

static void send_exited(int only)
{
	struct pm m = { .type = PM_EXITED, .v = { mon.main.status, mon.oom, mon.finished_ns } };

	if (only < 0)
		mon_send(&m, NULL, 0, -1);
	else
		(void)pm_send(only, &m, NULL, 0, -1);
}

static void tidy(void)
{
	static struct report r;

	if (tidied)
		return;
	tidied = true;
	helper_umount(&r);
	if (r.err.kind != ERR_NONE)
		log_warn("monitor", "%s: %s, going on", mon.a.id, r.err.msg);
	remove_files();
}

/* Attachments of programs that have ended and whose last byte is delivered see the end of file now. */
static bool all_delivered(void)
{
	bool execs = false;

	exec_sweep(&execs);
	if (!proc_delivered(&mon.main))
		return false;
	for (int i = 0; i < MAX_ATTACH; i++) {
		if (mon.attach[i].fd >= 0 && mon.attach[i].p == &mon.main)
			attach_free(&mon.attach[i]);
	}
	return !execs || clock_now() > gone_since + EXEC_GRACE * SECOND;
}

/* Cgroup and init are gone. */
static void finish(void)
{
	struct pm m = { .type = PM_CREATED };

	proc_drain(&mon.main);
	logfile_done(&mon.log);
	ship_done();
	if (mon.log.lost_total)
		log_warn("monitor", "%s: %llu lines of output were lost: %s", mon.a.id, (unsigned long long)mon.log.lost_total,
			 strerror(mon.log.lost_err));
	mon.state = ST_GONE;
	mon.main.exited = true;
	gone_since = clock_now();
	if (create_failed.kind != ERR_NONE || mon.doomed) {
		tidy();
		if (create_failed.kind != ERR_NONE)
			mon_send_err(&m, &create_failed, -1);
	} else {
		write_exit();
		send_exited(-1);
		/* Nobody waits for this any more. But somebody may still be reading the last bytes, and they must not wait for a disk. */
		if (!all_delivered())
			(void)helper_run(HELPER_UMOUNT, 0, DELETE_LIMIT * SECOND, helper_umount, NULL);
	}
}

static void check_finished(void)
{
	if (mon.state == ST_DELETING && deleted && (mon.init_seen || !mon.main.pid))
		finish();
}

static void delete_begin(void)
{
	struct err e = { 0 };
	struct helper *h;

	if (mon.state == ST_DELETING || mon.state == ST_GONE)
		return;
	mon.oom = mon_cgroup_oom();
	mon.state = ST_DELETING;
	h = helper_find(HELPER_START);
	if (h && h->waiting)
		helper_free(h);
	if (mon.init_seen && launch_delete_quick()) {
		deleted = true;
	} else if (!helper_run(HELPER_DELETE, 0, DELETE_LIMIT * SECOND, helper_delete, &e)) {
		log_warn("monitor", "%s: %s, killing by cgroup instead", mon.a.id, e.msg);
		mon_cgroup_kill_all();
		deleted = true;
	}
	check_finished();
}

/* The namespace is there (a handle, borrowed), or there will be none. */
static void on_net(int fd)
{
	struct helper *h = helper_find(HELPER_CREATE);

	if (h && mon.a.late_net)
		helper_tell(h, fd);
	mon.a.late_net = false;
}

/* Nobody wants the container any more, and it was never started. */
static void destroy(void)
{
	switch (mon.state) {
	case ST_IDLE:
		mon.doomed = true;
		mon.state = ST_GONE;
		mon.main.exited = true;
		break;
	case ST_CREATING:
		mon.doomed = true;	/* once it is made */
		on_net(-1);
		break;
	case ST_CREATED:
		mon.doomed = true;
		delete_begin();
		break;
	case ST_STARTING:
	case ST_RUNNING:
	case ST_DELETING:
	case ST_GONE:
		break;
	}
}

static void init_ended(int status)
{
	mon.init_seen = true;
	mon.main.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	mon.finished_ns = clock_wall();
	if (mon.state == ST_CREATED || mon.state == ST_RUNNING)
		delete_begin();
	else
		check_finished();
}

/* The PTY master that the builder has put into the socket. */
int mon_take_fd(int sock)
{
	char room[256];
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } u;
	struct iovec iov = { room, sizeof(room) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	int fd = -1;

	if (recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(int));
	}
	return fd;
}

static void created(struct report *r)
{
	struct pm m = { .type = PM_CREATED, .v = { r->pid } };
	int master;

	snprintf(mon.rootfs, sizeof(mon.rootfs), "%s", r->text);
	proc_child_ends_close(&mon.main);
	if (mon.console_child >= 0)
		(void)close(TAKE_FD(mon.console_child));
	if (r->err.kind == ERR_NONE && mon.a.tty) {
		master = mon_take_fd(mon.console);
		if (master >= 0)
			proc_set_master(&mon.main, master);
		else
			err_set(&r->err, ERR_INTERNAL, "container %.12s: the runtime sent no terminal", mon.a.id);
	}
	if (mon.console >= 0)
		(void)close(TAKE_FD(mon.console));
	mon.main.pid = r->pid;
	if (r->err.kind != ERR_NONE) {
		create_failed = r->err;
		delete_begin();
		return;
	}
	mon.pidfd = (int)syscall(SYS_pidfd_open, mon.main.pid, 0);
	mon_cgroup_find(mon.main.pid);
	mon.state = ST_CREATED;
	if (mon.doomed) {
		delete_begin();
		return;
	}
	write_state();
	mon_send(&m, NULL, 0, mon.pidfd);
	for (unsigned i = 0; i < N(strangers); i++) {
		if (strangers[i].pid == mon.main.pid)
			init_ended(strangers[i].status);
	}
}

static void started(const struct report *r)
{
	struct pm m = { .type = PM_STARTED };

	mon.state = ST_RUNNING;
	if (r->err.kind != ERR_NONE) {
		if (!mon.init_seen)
			(void)kill(mon.main.pid, SIGKILL);
	} else {
		mon.started_ns = m.v[0] = clock_wall();
		write_state();
	}
	mon_send_err(&m, &r->err, -1);
	if (mon.init_seen)
		delete_begin();
}

static void helper_done(struct helper *h)
{
	struct pm m = { .type = PM_DONE, .tag = h->tag };
	struct helper done = *h;

	if (h->kind == HELPER_CREATE && h->report.err.kind == ERR_NONE)
		helper_keep(h, HELPER_START);
	else
		helper_free(h);
	switch (done.kind) {
	case HELPER_CREATE:
		created(&done.report);
		break;
	case HELPER_START:
		if (!done.waiting)	/* else it was killed while it waited: another is made when it is wanted */
			started(&done.report);
		break;
	case HELPER_DELETE:
		if (done.report.err.kind != ERR_NONE)
			log_warn("monitor", "%s: %s, going on", mon.a.id, done.report.err.msg);
		if (!mon.init_seen && mon.main.pid)
			(void)kill(mon.main.pid, SIGKILL);
		deleted = true;
		check_finished();
		break;
	case HELPER_PAUSE:
		if (done.report.err.kind == ERR_NONE) {
			mon.paused = done.report.pid;
			write_state();
		}
		mon_send_err(&m, &done.report.err, -1);
		break;
	case HELPER_EXEC:
		exec_built(&done);
		break;
	case HELPER_UPDATE:
		mon_send_err(&m, &done.report.err, -1);
		break;
	case HELPER_UMOUNT:
		mon.rootfs[0] = 0;
		tidy();
		break;
	}
}

static void helper_pause(struct report *r)
{
	r->pid = 1;
	(void)mon_cgroup_freeze(true, &r->err);
}

static void helper_unpause(struct report *r)
{
	r->pid = 0;
	(void)mon_cgroup_freeze(false, &r->err);
}

static void on_launch(const char *p, size_t n)
{
	struct err e = { 0 };

	if (mon.state != ST_IDLE)
		return;
	mon.words = mem_try(n, PM_LAUNCH_MAX);
	if (!mon.words) {
		err_set(&create_failed, ERR_INVALID, "launch message of %zu bytes is larger than %d", n, PM_LAUNCH_MAX);
		finish();
		return;
	}
	memcpy(mon.words, p, n);
	mon.words_len = n;
	if (launch_parse(&mon.a, mon.words, n, &create_failed) < 0 || launch_prepare(&create_failed) < 0) {
		finish();
		return;
	}
	mon.state = ST_CREATING;
	if (!helper_run(HELPER_CREATE, 0, CREATE_LIMIT * SECOND, helper_create, &e)) {
		create_failed = e;
		finish();
	}
	(void)close(mon.host_ns);
	mon.host_ns = -1;
}

static void on_start(int sock)
{
	struct pm m = { .type = PM_STARTED };
	struct err e = { 0 };
	struct helper *h;

	if (mon.state != ST_CREATED) {
		err_set(&e, ERR_CONFLICT, "container %.12s is not waiting to be started", mon.a.id ? mon.a.id : "");
		(void)pm_send_err(sock, &m, &e, -1);
		return;
	}
	mon.control_first = false;
	mon.state = ST_STARTING;
	write_state();		/* an engine that comes after a crash right now must find it running */
	h = helper_find(HELPER_START);
	if (h && !helper_go(h, START_LIMIT * SECOND))
		helper_free(TAKE(h));
	if (!h && !helper_run(HELPER_START, 0, START_LIMIT * SECOND, helper_start, &e)) {
		struct report r = { .err = e };

		started(&r);
	}
}

static void on_hello(int sock)
{
	struct pm m = { .type = PM_STATE, .v = { mon.main.pid, mon.started_ns, PM_VERSION } };
	struct pm_exec list[MAX_EXEC];
	size_t n = exec_list(list);

	if (mon.state == ST_GONE) {
		send_exited(sock);
		return;
	}
	if (mon.state == ST_RUNNING || mon.state == ST_STARTING)
		m.flags |= PM_F_RUNNING;
	if (mon.state == ST_CREATED)
		m.flags |= PM_F_CREATED;
	if (mon.paused)
		m.flags |= PM_F_PAUSED;
	(void)pm_send(sock, &m, list, n * sizeof(*list), mon.init_seen ? -1 : mon.pidfd);
}

static struct proc *target(uint32_t tag)
{
	return tag ? exec_find(tag) : &mon.main;
}

/* fd: what came with the message; ours to close unless handed on. */
static void on_message(int sock, const struct pm *m, const char *p, size_t n, int fd)
{
	struct pm done = { .type = PM_DONE, .tag = m->tag };
	struct err e = { 0 };
	struct proc *to;

	switch (m->type) {
	case PM_LAUNCH:
		on_launch(p, n);
		break;
	case PM_START:
		on_start(sock);
		break;
	case PM_NET:
		on_net(m->flags & PM_F_ERR ? -1 : fd);
		break;
	case PM_DESTROY:
		if (mon.state == ST_CREATED || mon.state == ST_CREATING)
			destroy();
		break;
	case PM_HELLO:
		on_hello(sock);
		break;
	case PM_ATTACH:
		to = target(m->tag);
		if (fd >= 0 && to && !to->exited) {
			if (!attach_add(to, fd, m->flags & PM_F_IN, m->flags & PM_F_OUT))
				log_warn("monitor", "%s: more than %d attachments, refusing one", mon.a.id, MAX_ATTACH);
			return;
		}
		break;
	case PM_RESIZE:
		to = target(m->tag);
		if (to)
			proc_resize(to, (unsigned)m->v[0], (unsigned)m->v[1]);
		break;
	case PM_SIGNAL:
		to = target(m->tag);
		if (to && to->pid > 0 && !to->exited && (to != &mon.main || !mon.init_seen))
			(void)kill(to->pid, (int)m->v[0]);
		break;
	case PM_PAUSE:
		if (mon.state != ST_RUNNING)
			err_set(&e, ERR_CONFLICT, "container %.12s is not running", mon.a.id ? mon.a.id : "");
		else if (helper_run(HELPER_PAUSE, m->tag, PAUSE_LIMIT * SECOND, m->v[0] ? helper_pause : helper_unpause, &e))
			break;
		(void)pm_send_err(sock, &done, &e, -1);
		break;
	case PM_UPDATE:
		if (mon.state != ST_RUNNING)
			err_set(&e, ERR_CONFLICT, "container %.12s is not running", mon.a.id ? mon.a.id : "");
		else if (update_request(m->tag, p, n, &e) == 0)
			break;
		(void)pm_send_err(sock, &done, &e, -1);
		break;
	case PM_EXEC:
		exec_request(m, p, n, fd);
		return;
	default:
		break;		/* of a newer engine */
	}
	if (fd >= 0)
		(void)close(fd);
}

static void control_event(int i)
{
	static char room[PM_LAUNCH_MAX];

	for (int k = 0; k < 16 && mon.control[i] >= 0; k++) {
		struct pm m;
		int fd, sock = mon.control[i];
		ssize_t n = pm_recv(sock, &m, room, sizeof(room), &fd);

		if (n == -EAGAIN)
			return;
		if (n == -EBADMSG)
			continue;	/* of a much newer engine, perhaps; what we know is still said in packets we know */
		if (n < 0) {
			control_close(i);
			return;
		}
		on_message(sock, &m, room, (size_t)n, fd);
	}
}

static void accept_event(void)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	int fd = accept4(mon.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), at = -1;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || (who.uid != 0 && who.uid != geteuid())) {
		(void)close(fd);
		return;
	}
	for (int i = 0; i < MAX_CONTROL && at < 0; i++) {
		if (mon.control[i] < 0 && (i || !mon.control_first))
			at = i;
	}
	if (at < 0) {		/* whoever comes last is the engine; the others hang */
		at = MAX_CONTROL - 1;
		control_close(at);
	}
	mon.control[at] = fd;
}

static void reap(void)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(mon.signal_fd, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == mon.main.pid && !mon.init_seen) {
			init_ended(status);
		} else if (!exec_reaped(pid, status) && (helper_find(HELPER_CREATE) || helper_find(HELPER_EXEC))) {
			strangers[n_strangers].pid = pid;
			strangers[n_strangers].status = status;
			n_strangers = (n_strangers + 1) % N(strangers);
		}
	}
}

bool mon_stranger(pid_t pid, int *status)
{
	for (unsigned i = 0; i < N(strangers); i++) {
		if (strangers[i].pid == pid) {
			*status = strangers[i].status;
			return true;
		}
	}
	return false;
}

/* What a slot of the poll set stands for. Objects may vanish while the set is walked: each handler compares the descriptor again. */
struct slot {
	enum { SLOT_SIGNAL, SLOT_LISTEN, SLOT_CONTROL, SLOT_HELPER, SLOT_STREAM, SLOT_STDIN, SLOT_ATTACH } kind;
	int index;
	struct proc *p;
	struct stream *s;
};

enum { MAX_SLOTS = 2 + MAX_CONTROL + MAX_HELPER + MAX_ATTACH + 3 * (MAX_EXEC + 1) };
static struct pollfd set[MAX_SLOTS];
static struct slot slots[MAX_SLOTS];
static unsigned n_set;

static void watch(int fd, short events, struct slot slot)
{
	if (fd < 0 || !events)
		return;
	set[n_set] = (struct pollfd){ .fd = fd, .events = events };
	slots[n_set++] = slot;
}

static void watch_proc(struct proc *p)
{
	for (int i = 0; i < 2; i++) {
		if (!p->out[i].waiting)
			watch(p->out[i].fd, POLLIN, (struct slot){ .kind = SLOT_STREAM, .p = p, .s = &p->out[i] });
	}
	watch(p->in, stdin_wanted(p), (struct slot){ .kind = SLOT_STDIN, .p = p });
}

static void watch_all(void)
{
	n_set = 0;
	for (int i = 0; i < MAX_HELPER; i++) {
		if (mon.helper[i].pid)
			watch(mon.helper[i].fd, POLLIN, (struct slot){ .kind = SLOT_HELPER, .index = i });
	}
	watch(mon.signal_fd, POLLIN, (struct slot){ .kind = SLOT_SIGNAL });
	watch(mon.listener, POLLIN, (struct slot){ .kind = SLOT_LISTEN });
	for (int i = 0; i < MAX_CONTROL; i++)
		watch(mon.control[i], POLLIN, (struct slot){ .kind = SLOT_CONTROL, .index = i });
	watch_proc(&mon.main);
	for (int i = 0; i < MAX_EXEC; i++) {
		if (mon.exec[i])
			watch_proc(mon.exec[i]);
	}
	for (int i = 0; i < MAX_ATTACH; i++) {
		if (mon.attach[i].fd >= 0)
			watch(mon.attach[i].fd, attach_wanted(&mon.attach[i]), (struct slot){ .kind = SLOT_ATTACH, .index = i });
	}
}

static void handle(const struct pollfd *f, const struct slot *s)
{
	struct helper *h;

	switch (s->kind) {
	case SLOT_SIGNAL:
		reap();
		break;
	case SLOT_LISTEN:
		if (mon.listener == f->fd)
			accept_event();
		break;
	case SLOT_CONTROL:
		if (mon.control[s->index] == f->fd)
			control_event(s->index);
		break;
	case SLOT_HELPER:
		h = &mon.helper[s->index];
		if (h->pid && h->fd == f->fd && helper_read(h))
			helper_done(h);
		break;
	case SLOT_STREAM:
		if (s->s->fd == f->fd)
			(void)stream_read(s->p, s->s);
		break;
	case SLOT_STDIN:
		if (s->p->in == f->fd)
			stdin_event(s->p);
		break;
	case SLOT_ATTACH:
		if (mon.attach[s->index].fd == f->fd)
			attach_event(&mon.attach[s->index], f->revents);
		break;
	}
}

static void trim(void)
{
	mon.trim_at = 0;
	proc_trim(&mon.main);
	for (int i = 0; i < MAX_EXEC; i++) {
		if (mon.exec[i])
			proc_trim(mon.exec[i]);
	}
}

/* Ends helpers past their time, gives memory back after a burst; milliseconds until the next such time, -1: none. */
static int deadlines(void)
{
	static const char *const doing[] = { "creating it", "starting it", "removing it", "pausing it", "an exec", "an update of its limits",
						"unmounting its root" };
	int64_t now = clock_now(), next = INT64_MAX;

	for (int i = 0; i < MAX_HELPER; i++) {
		struct helper *h = &mon.helper[i];

		if (!h->pid)
			continue;
		if (h->deadline <= now) {
			(void)kill(-h->pid, SIGKILL);
			memset(&h->report, 0, sizeof(h->report));
			err_set(&h->report.err, ERR_UNAVAILABLE, "container %.12s: %s did not finish in time", mon.a.id, doing[h->kind]);
			h->reported = true;
			helper_done(h);
		} else if (h->deadline < next) {
			next = h->deadline;
		}
	}
	if (mon.trim_at && mon.trim_at <= now)
		trim();
	else if (mon.trim_at && mon.trim_at < next)
		next = mon.trim_at;
	if (mon.state == ST_GONE && gone_since + EXEC_GRACE * SECOND < next)
		next = gone_since + EXEC_GRACE * SECOND > now ? gone_since + EXEC_GRACE * SECOND : next;
	return next == INT64_MAX ? -1 : (int)((next - now) / 1000000 + 1);
}

static bool sweep(void)
{
	bool execs = false;

	if (mon.state == ST_GONE)
		return all_delivered() && !helper_find(HELPER_UMOUNT);
	exec_sweep(&execs);
	return false;
}

static int run(void)
{
	while (!sweep()) {
		int n, timeout = deadlines();

		watch_all();
		n = poll(set, n_set, timeout);
		if (n < 0 && errno != EINTR)
			return 1;
		for (unsigned i = 0; n > 0 && i < n_set; i++) {
			if (set[i].revents)
				handle(&set[i], &slots[i]);
		}
	}
	return 0;
}

static void setup(void)
{
	sigset_t chld;
	char word[16];

	memset(mon.control, -1, sizeof(mon.control));
	mon.host_ns = mon.run_fd = mon.listener = mon.signal_fd = mon.console = mon.console_child = mon.pidfd = mon.log.fd = mon.lock = -1;
	mon.main.in = mon.main.in_child = mon.main.slave = mon.main.out_child[0] = mon.main.out_child[1] = -1;
	mon.main.out[0].fd = mon.main.out[1].fd = -1;
	for (int i = 0; i < MAX_ATTACH; i++)
		mon.attach[i].fd = -1;
	(void)setsid();
	(void)prctl(PR_SET_NAME, "kedge-monitor");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* A service manager that ends the engine's session or unit must not end containers; a shutdown ends them by ending their init. */
	for (size_t i = 0; mon_ignored[i]; i++)
		(void)signal(mon_ignored[i], SIG_IGN);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &chld, NULL);
	mon.signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	(void)umask(0022);
	/* Losing the monitor loses the container's output and exit status: let the kernel look for memory elsewhere. Its children do not inherit this. */
	if (file_read_line("/proc/self/oom_score_adj", word, sizeof(word)) >= 0)
		mon.oom_score_adj = atoi(word);
	(void)file_put_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999");	/* needs CAP_SYS_RESOURCE */
	if (chdir("/") < 0)
		log_warn("monitor", "change to /: %s, going on", strerror(errno));
}

/* What is left of a container whose monitor was killed. The lock tells whether that is so. */
static int cleanup(const char *dir)
{
	struct buf words = BUF_INIT, state = BUF_INIT;
	static struct report r;
	long long started = 0;
	const char *p;
	char path[1100];
	int pid = 0;

	mon.run_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mon.run_fd < 0 || file_read_at(mon.run_fd, "launch", PM_LAUNCH_MAX + 8192, &words) < 0 || !words.len)
		return 0;	/* nothing was begun, or all is removed */
	snprintf(path, sizeof(path), "%s/lock", dir);
	mon.lock = file_lock(path);
	if (mon.lock < 0) {
		log_error("monitor", "cleanup of '%s': its monitor is alive", dir);
		return 3;
	}
	mon.words = words.data;
	if (launch_parse(&mon.a, words.data, words.len, &r.err) < 0) {
		log_error("monitor", "cleanup of '%s': %s", dir, r.err.msg);
		return 1;
	}
	snprintf(mon.root, sizeof(mon.root), "%s/oci", dir);
	if (file_read_at(mon.run_fd, "state", 4096, &state) == 0 && state.len) {
		p = strstr(state.data, "\"pid\":");
		pid = p ? atoi(p + 6) : 0;
		p = strstr(state.data, "\"startedNs\":");
		started = p ? atoll(p + 12) : 0;
	}
	mon.cleaning = true;
	helper_delete(&r);
	if (r.err.kind != ERR_NONE)
		log_warn("monitor", "cleanup of '%s': %s, going on", dir, r.err.msg);
	if (pid > 0 && started) {
		mon.main.status = 128 + SIGKILL;
		mon.started_ns = started;
		mon.finished_ns = clock_wall();
		if (faccessat(mon.run_fd, "exit", F_OK, 0) < 0)
			write_exit();
	}
	remove_files();
	buf_done(&state);
	buf_done(&words);
	return 0;
}

int monitor_main(int argc, char **argv)
{
	const char *dir = NULL;
	uint64_t fd = 0;
	int ret;

	for (int i = 1; i + 1 < argc; i++) {
		if (str_eq(argv[i], "--fd") && str_to_u64(argv[i + 1], 3, 1 << 20, &fd) < 0) {
			fprintf(stderr, "kedge-runtime monitor: --fd '%s' is not the number of an open socket\n", argv[i + 1]);
			return 2;
		}
		if (str_eq(argv[i], "--cleanup"))
			dir = argv[i + 1];
		if (str_eq(argv[i], "--run-dir"))
			mon.dir_word = argv[i + 1];
	}
	if (!fd && !dir) {
		fprintf(stderr, "kedge-runtime monitor: is started by kedged with --fd N, or by hand with --cleanup RUN-DIRECTORY\n");
		return 2;
	}
	setup();
	if (dir)
		return cleanup(dir);
	/* Descriptors of the engine that were not close-on-exec end here, not in a container. */
	file_close_from(3, (int[]){ (int)fd, mon.signal_fd }, 2);
	(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl((int)fd, F_SETFL, O_NONBLOCK);
	mon.control[0] = (int)fd;
	mon.control_first = true;
	ret = run();
	if (mon.state == ST_GONE && mon.run_fd >= 0)
		tidy();
	proc_done(&mon.main);
	exec_done();
	for (int i = 0; i < MAX_CONTROL; i++) {
		if (mon.control[i] >= 0)
			(void)close(mon.control[i]);
	}
	free(mon.words);
	return ret;
}
