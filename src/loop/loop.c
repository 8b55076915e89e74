/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One libevent base, one thread. libevent's own locking is off: the only door for other threads is loop_post(), a list
 * under a mutex whose eventfd wakes the base. Everything else here belongs to the loop's thread.
 *
 * Deferred calls are what keeps callbacks simple: whoever is about to free something another frame on the stack may
 * still hold defers the free to the next turn. They run off a timer of zero, so that between two rounds of them input
 * is looked at: calls that defer further calls cannot starve the sockets.
 *
 * A queue is run by taking it as a whole into `running`; calls added meanwhile wait for the next turn. It stays reachable from
 * the loop so that loop_forget() finds every call not made yet, wherever it waits.
 */
#include "loop/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

struct call {
	void (*fn)(void *user);
	void *user;
	struct call *next;
};

struct calls {
	struct call *first, **end;
};

struct loop {
	struct event_base *base;
	struct event *wake;		/* eventfd: posts from other threads */
	struct event *turn;		/* deferred calls */
	int wakefd;
	pthread_mutex_t lock;
	struct calls posted;		/* under lock */
	struct calls deferred;		/* loop thread only */
	struct call *running;		/* loop thread only: the rest of what is being run */
};

static void calls_add(struct calls *q, void (*fn)(void *user), void *user)
{
	struct call *c = mem_alloc(sizeof(*c));

	*c = (struct call){ .fn = fn, .user = user };
	if (!q->first)
		q->end = &q->first;
	*q->end = c;
	q->end = &c->next;
}

/* Runs what was queued; what these add waits for the next turn. */
static void calls_run(struct loop *l, struct call *first)
{
	/* Inside a call that turns the loop (never in kedged, possible in a test) the outer round goes on behind this one. */
	struct call **end = &first;

	while (*end)
		end = &(*end)->next;
	*end = l->running;
	l->running = first;
	while (l->running) {
		struct call *c = l->running;

		l->running = c->next;
		c->fn(c->user);
		free(c);
	}
}

static struct call *take_posted(struct loop *l)
{
	struct call *first;

	pthread_mutex_lock(&l->lock);
	first = TAKE(l->posted.first);
	pthread_mutex_unlock(&l->lock);
	return first;
}

static void on_wake(evutil_socket_t fd, short what, void *user)
{
	struct loop *l = user;
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof(n));
	calls_run(l, take_posted(l));
}

static void on_turn(evutil_socket_t fd, short what, void *user)
{
	struct loop *l = user;

	(void)fd;
	(void)what;
	calls_run(l, TAKE(l->deferred.first));
}

static void nothing(void *user)
{
	(void)user;
}

static void forget(struct call *c, void (*fn)(void *user), const void *user)
{
	for (; c; c = c->next) {
		if (c->fn == fn && c->user == user)
			c->fn = nothing;
	}
}

void loop_forget(struct loop *l, void (*fn)(void *user), void *user)
{
	pthread_mutex_lock(&l->lock);
	forget(l->posted.first, fn, user);
	pthread_mutex_unlock(&l->lock);
	forget(l->deferred.first, fn, user);
	forget(l->running, fn, user);
}

static struct loop *make(bool precise, struct err *e)
{
	struct event_config *cfg = event_config_new();
	struct loop *l = mem_zalloc(sizeof(*l));

	l->wakefd = -1;
	pthread_mutex_init(&l->lock, NULL);
	if (cfg) {
		event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
		/* By a timerfd, which is set anew each turn, whether there is a timer or not. */
		if (precise)
			event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
		l->base = event_base_new_with_config(cfg);
		event_config_free(cfg);
	}
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!l->base || l->wakefd < 0) {
		err_errno(e, errno ? errno : ENOMEM, "cannot make an event loop");
		loop_free(l);
		return NULL;
	}
	l->wake = event_new(l->base, l->wakefd, EV_READ | EV_PERSIST, on_wake, l);
	l->turn = event_new(l->base, -1, 0, on_turn, l);
	event_add(l->wake, NULL);
	return l;
}

struct loop *loop_new(struct err *e)
{
	return make(true, e);
}

struct loop *loop_new_coarse(struct err *e)
{
	return make(false, e);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	/* What was put off still runs: its owner counts on it to free things. */
	for (int i = 0; i < 100 && (l->posted.first || l->deferred.first); i++) {
		calls_run(l, take_posted(l));
		calls_run(l, TAKE(l->deferred.first));
	}
	/* A bufferevent that was freed while its callback was due is let go in the callback's turn, which event_base_free() does not give it. */
	for (int i = 0; i < 100 && l->base && event_base_get_num_events(l->base, EVENT_BASE_COUNT_ACTIVE); i++)
		(void)event_base_loop(l->base, EVLOOP_NONBLOCK);
	if (l->wake)
		event_free(l->wake);
	if (l->turn)
		event_free(l->turn);
	if (l->base)
		event_base_free(l->base);
	if (l->wakefd >= 0)
		close(l->wakefd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_run(struct loop *l)
{
	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return 0;
}

static void on_timeout_nothing(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	(void)user;
}

int loop_turn(struct loop *l, int timeout_ms)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	struct event *limit = NULL;
	int r;

	if (timeout_ms == 0)
		return event_base_loop(l->base, EVLOOP_NONBLOCK);
	if (timeout_ms > 0) {
		limit = event_new(l->base, -1, 0, on_timeout_nothing, NULL);
		event_add(limit, &tv);
	}
	r = event_base_loop(l->base, EVLOOP_ONCE);
	if (limit)
		event_free(limit);
	return r < 0 ? -EIO : 0;
}

void loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

void loop_defer(struct loop *l, void (*fn)(void *user), void *user)
{
	calls_add(&l->deferred, fn, user);
	/* A zero timer rather than event_active(): input gets its turn between two deferred rounds. */
	if (!evtimer_pending(l->turn, NULL))
		event_add(l->turn, &(struct timeval){ 0, 0 });
}

void loop_post(struct loop *l, void (*fn)(void *user), void *user)
{
	uint64_t one = 1;

	pthread_mutex_lock(&l->lock);
	calls_add(&l->posted, fn, user);
	/* Written under the lock: after a post is seen the poster may be joined and the loop freed. */
	(void)!write(l->wakefd, &one, sizeof(one));
	pthread_mutex_unlock(&l->lock);
}

struct loop_io {
	struct event *ev;
	struct loop *l;
	int fd;
	unsigned events;
	void (*cb)(void *user, unsigned events);
	void *user;
};

static void on_io(evutil_socket_t fd, short what, void *user)
{
	struct loop_io *io = user;

	(void)fd;
	io->cb(io->user, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0) | (what & EV_CLOSED ? LOOP_EOF : 0));
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	if (events == io->events)
		return;
	io->events = events;
	event_del(io->ev);
	if (!events)
		return;
	event_assign(io->ev, io->l->base, io->fd,
		     (short)(EV_PERSIST | (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0) | (events & LOOP_EOF ? EV_CLOSED : 0)),
		     on_io, io);
	event_add(io->ev, NULL);
}

struct loop_io *loop_io_new(struct loop *l, int fd, unsigned events, void (*cb)(void *user, unsigned events), void *user)
{
	struct loop_io *io = mem_alloc(sizeof(*io));

	*io = (struct loop_io){ .l = l, .fd = fd, .cb = cb, .user = user };
	io->ev = event_new(l->base, fd, EV_PERSIST | EV_READ, on_io, io);
	loop_io_set(io, events);
	return io;
}

void loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	event_free(io->ev);
	free(io);
}

struct loop_timer {
	struct event *ev;
	void (*cb)(void *user);
	void *user;
};

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct loop_timer *t = user;

	(void)fd;
	(void)what;
	t->cb(t->user);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*cb)(void *user), void *user)
{
	struct loop_timer *t = mem_alloc(sizeof(*t));

	*t = (struct loop_timer){ .cb = cb, .user = user };
	t->ev = event_new(l->base, -1, 0, on_timer, t);
	return t;
}

void loop_timer_set(struct loop_timer *t, int64_t in_ns)
{
	struct timeval tv;

	if (in_ns < 0)
		in_ns = 0;
	tv.tv_sec = in_ns / 1000000000;
	tv.tv_usec = (in_ns % 1000000000 + 999) / 1000;
	if (tv.tv_usec >= 1000000) {
		tv.tv_sec++;
		tv.tv_usec = 0;
	}
	event_add(t->ev, &tv);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (t)
		event_del(t->ev);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	event_free(t->ev);
	free(t);
}

struct loop_signal {
	struct event *ev;
	void (*cb)(void *user);
	void *user;
};

static void on_signal(evutil_socket_t signo, short what, void *user)
{
	struct loop_signal *s = user;

	(void)signo;
	(void)what;
	s->cb(s->user);
}

struct loop_signal *loop_signal_new(struct loop *l, int signo, void (*cb)(void *user), void *user)
{
	struct loop_signal *s = mem_alloc(sizeof(*s));

	*s = (struct loop_signal){ .cb = cb, .user = user };
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	event_add(s->ev, NULL);
	return s;
}

void loop_signal_free(struct loop_signal *s)
{
	if (!s)
		return;
	event_free(s->ev);
	free(s);
}

struct loop_child {
	struct loop_io *io;
	int fd;
	void (*cb)(void *user, int status);
	void *user;
};

void loop_child_free(struct loop_child *c)
{
	if (!c)
		return;
	loop_io_free(c->io);
	close(c->fd);
	free(c);
}

static void on_child(void *user, unsigned events)
{
	struct loop_child *c = user;
	siginfo_t si = { 0 };
	int status, r;

	(void)events;
	r = waitid((idtype_t)P_PIDFD, (id_t)c->fd, &si, WEXITED | WNOHANG);
	if (r < 0 ? errno == EINTR : !si.si_pid)
		return;
	/* The form of wait(2), whatever the source. */
	status = si.si_code == CLD_EXITED ? (si.si_status & 0xff) << 8 : si.si_status & 0x7f;
	{
		void (*cb)(void *user, int status) = c->cb;
		void *u = c->user;

		loop_child_free(c);
		cb(u, status);
	}
}

struct loop_child *loop_child_new(struct loop *l, pid_t pid, void (*cb)(void *user, int status), void *user, struct err *e)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct loop_child *c;

	if (fd < 0) {
		err_errno(e, errno, "cannot watch process %d", (int)pid);
		return NULL;
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct loop_child){ .fd = fd, .cb = cb, .user = user };
	c->io = loop_io_new(l, fd, LOOP_READ, on_child, c);
	return c;
}
