/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * UDP goes over sockets of our own, TCP over c-ares. c-ares 1.18 would carry UDP too, but: it opens one socket per server and channel, so that
 * thousands of questions leave by one port and an off-path liar needs to guess 16 bits only (RFC 5452); a query cannot be taken back alone, so a
 * race leaves its loser behind until it times out; and ares_timeout() walks every query on each turn of the loop. What it does well is the
 * state of TCP: connecting, pipelining, framing, half-written requests, a server that hangs up. It passes the message through untouched
 * (ares_send() with ARES_FLAG_NOCHECKRESP).
 *
 * Each server has up to POOL sockets, connected (the kernel drops what comes from elsewhere, and tells of ICMP errors) to ports the kernel chose
 * at random. A question takes a random one of them. A socket serves for 10 s or 8,192 questions, then another takes its place and it stays until
 * its answers are in or late. Without questions all are closed after 5 s; the timer that does it runs only while there are any.
 */
#include <config.h>

#include "dns/transport.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { POOL = 16, OLD_MAX = 64, SOCKET_QUESTIONS = 8192, BATCH = 16, TCP_TIMEOUT_MS = 3000 };
#define SOCKET_AGE 10000000000ll
#define SOCKET_IDLE 5000000000ll
#define TCP_TICK 500000000ll

struct udp {
	struct dns_slot slot;
	struct udp *next;		/* among those of its server */
	struct upstream *up;
	int fd;
	struct loop_io *io;
	int64_t opened, used;
	unsigned questions;
	bool old;			/* out of the pool */
};

struct tcp_io {
	struct tcp_io *next;
	struct upstream *up;
	int fd;
	struct loop_io *io;
};

struct upstream {
	struct dns_transport *t;
	struct dns_upstream *u;
	struct upstream *next;
	struct udp *pool[POOL];
	struct udp *all;
	unsigned n_old;
	ares_channel channel;
	struct tcp_io *ios;
	unsigned calls;
};

struct tcp_call {
	struct tcp_call *next;
	struct upstream *up;		/* not looked into after the answer */
	struct dns_transport *t;
	uint64_t token;
	uint8_t *msg;
	size_t n;
};

struct dns_transport {
	struct loop *l;
	struct dns_forward *f;
	struct loop_timer *wake, *reap, *tick;
	bool reaping;
	struct upstream *ups;
	uint32_t next_slot;
	unsigned calls;
	struct tcp_call *done, **done_end;
	uint8_t (*rx)[DNS_MSG_MAX / BATCH + 1];
};

/* ---- UDP ---- */

static void udp_close(struct udp *s)
{
	dns_forward_slot_gone(s->up->t->f, &s->slot);
	loop_io_free(TAKE(s->io));
	(void)close(s->fd);
	s->fd = -1;
}

/* From the next turn: a batch of answers may be in work on it. */
static void udp_free(void *user)
{
	free(user);
}

static void udp_end(struct udp *s)
{
	struct udp **at = &s->up->all;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	for (unsigned i = 0; i < POOL; i++)
		if (s->up->pool[i] == s)
			s->up->pool[i] = NULL;
	if (s->old)
		s->up->n_old--;
	udp_close(s);
	loop_defer(s->up->t->l, udp_free, s);
}

static void on_udp(void *user, unsigned events)
{
	struct udp *s = user;
	struct dns_transport *t = s->up->t;
	struct mmsghdr m[BATCH];
	struct iovec v[BATCH];
	int n;

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		v[i] = (struct iovec){ t->rx[i], sizeof(t->rx[i]) };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &v[i], .msg_iovlen = 1 } };
	}
	n = recvmmsg(s->fd, m, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0) {
		/* An ICMP error: nobody listens there, or no way to it. */
		if (errno != EAGAIN && errno != EINTR)
			dns_forward_refused(t->f, &s->slot);
		return;
	}
	/* An answer may end the set, and the socket with it. */
	for (int i = 0; i < n && s->fd >= 0; i++)
		dns_forward_receive(t->f, &s->slot, t->rx[i], m[i].msg_len);
}

static void reap_later(struct dns_transport *t)
{
	if (t->reaping)
		return;
	t->reaping = true;
	loop_timer_set(t->reap, SOCKET_IDLE);
}

static int udp_open(struct upstream *up, struct udp **ret)
{
	const struct dns_upstream *u = up->u;
	int fd = socket(u->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = 1 << 20, rc;
	struct udp *s;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (connect(fd, (const struct sockaddr *)&u->addr, u->addr_len) < 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	s = mem_zalloc(sizeof(*s));
	s->slot.number = ++up->t->next_slot;
	s->up = up;
	s->fd = fd;
	s->opened = clock_now();
	s->io = loop_io_new(up->t->l, fd, LOOP_READ, on_udp, s);
	s->next = up->all;
	up->all = s;
	reap_later(up->t);
	*ret = s;
	return 0;
}

static struct udp *any_socket(const struct upstream *up)
{
	for (unsigned i = 0; i < POOL; i++)
		if (up->pool[i])
			return up->pool[i];
	return NULL;
}

static int udp_pick(struct upstream *up, struct udp **ret)
{
	unsigned i = (unsigned)rand_below(POOL);
	struct udp *s = up->pool[i];
	int rc;

	if (s && (up->n_old >= OLD_MAX || (s->questions < SOCKET_QUESTIONS && clock_now() - s->opened < SOCKET_AGE))) {
		*ret = s;
		return 0;
	}
	if (s) {
		up->pool[i] = NULL;
		s->old = true;
		up->n_old++;
		if (!s->slot.n)
			udp_end(s);
	}
	rc = udp_open(up, &up->pool[i]);
	/* Out of descriptors: better a known port than no question. */
	*ret = rc < 0 ? any_socket(up) : up->pool[i];
	return *ret ? 0 : rc;
}

static struct upstream *upstream_of(struct dns_transport *t, struct dns_upstream *u)
{
	struct upstream *up = u->transport;

	if (up)
		return up;
	up = mem_zalloc(sizeof(*up));
	up->t = t;
	up->u = u;
	up->next = t->ups;
	t->ups = up;
	u->transport = up;
	return up;
}

static int op_send(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, struct dns_slot **slot)
{
	struct udp *s = NULL;
	int rc = udp_pick(upstream_of(user, u), &s);

	if (rc < 0)
		return rc;
	s->questions++;
	s->used = clock_now();
	/* A pending ICMP error is told here too: it concerns an earlier question, this one goes at the second try. */
	if (send(s->fd, msg, n, MSG_NOSIGNAL) < 0 && (errno != ECONNREFUSED || send(s->fd, msg, n, MSG_NOSIGNAL) < 0))
		return -errno;
	*slot = &s->slot;
	return 0;
}

/* ---- TCP ---- */

static void tcp_deliver(void *user)
{
	struct dns_transport *t = user;
	struct tcp_call *c = TAKE(t->done), *next;

	t->done_end = &t->done;
	for (; c; c = next) {
		next = c->next;
		dns_forward_tcp_done(t->f, c->token, c->msg, c->n);
		free(c->msg);
		free(c);
	}
}

static void on_answer(void *user, int status, int timeouts, unsigned char *msg, int n)
{
	struct tcp_call *c = user;
	struct dns_transport *t = c->t;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION) {
		free(c);
		return;
	}
	c->up->calls--;
	if (!--t->calls)
		loop_timer_stop(t->tick);
	if (status == ARES_SUCCESS && msg && n > 0) {
		c->msg = mem_alloc((size_t)n);
		memcpy(c->msg, msg, (size_t)n);
		c->n = (size_t)n;
	}
	/* From the next turn: c-ares is at work on the stack below, and what follows may end its channel. */
	if (!t->done)
		loop_defer(t->l, tcp_deliver, t);
	*t->done_end = c;
	t->done_end = &c->next;
}

static void on_tcp(void *user, unsigned events)
{
	const struct tcp_io *io = user;
	int fd = io->fd;

	ares_process_fd(io->up->channel, events & LOOP_READ ? fd : ARES_SOCKET_BAD, events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
}

static void on_socket_state(void *user, ares_socket_t fd, int readable, int writable)
{
	struct upstream *up = user;
	struct tcp_io **at = &up->ios, *io;
	unsigned events = (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0);

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	io = *at;
	if (!events) {
		if (io) {
			*at = io->next;
			loop_io_free(io->io);
			free(io);
		}
		return;
	}
	if (!io) {
		io = mem_zalloc(sizeof(*io));
		io->up = up;
		io->fd = fd;
		io->io = loop_io_new(up->t->l, fd, events, on_tcp, io);
		io->next = up->ios;
		up->ios = io;
	}
	loop_io_set(io->io, events);
}

/* Everything c-ares would look up in files or the environment is given. */
static int channel_open(struct upstream *up)
{
	char *no_domain[] = { NULL }, lookups[] = "b";
	struct ares_options o = { .flags = ARES_FLAG_USEVC | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP, .timeout = TCP_TIMEOUT_MS,
				  .tries = 1, .ndots = 1, .sock_state_cb = on_socket_state, .sock_state_cb_data = up, .domains = no_domain, .ndomains = 0,
				  .lookups = lookups };
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS;
	struct ares_addr_port_node node = { .family = up->u->addr.ss_family };

	if (node.family == AF_INET) {
		const struct sockaddr_in *a = (const struct sockaddr_in *)&up->u->addr;

		node.addr.addr4 = a->sin_addr;
		node.tcp_port = node.udp_port = ntohs(a->sin_port);
	} else {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&up->u->addr;

		if (a->sin6_scope_id)
			return -EAFNOSUPPORT;		/* c-ares has no place for it */
		memcpy(&node.addr.addr6, &a->sin6_addr, sizeof(a->sin6_addr));
		node.tcp_port = node.udp_port = ntohs(a->sin6_port);
	}
	if (ares_init_options(&up->channel, &o, mask) != ARES_SUCCESS)
		return -ENOMEM;
	if (ares_set_servers_ports(up->channel, &node) == ARES_SUCCESS)
		return 0;
	ares_destroy(TAKE(up->channel));
	return -EINVAL;
}

static void on_tick(void *user)
{
	struct dns_transport *t = user;

	for (struct upstream *up = t->ups; up; up = up->next)
		if (up->channel && up->calls)
			ares_process_fd(up->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	if (t->calls)
		loop_timer_set(t->tick, TCP_TICK);
}

static int op_tcp(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, uint64_t token)
{
	struct dns_transport *t = user;
	struct upstream *up = upstream_of(t, u);
	struct tcp_call *c;
	int rc;

	if (!up->channel) {
		rc = channel_open(up);
		if (rc < 0)
			return rc;
	}
	c = mem_zalloc(sizeof(*c));
	c->up = up;
	c->t = t;
	c->token = token;
	up->calls++;
	if (!t->calls++)
		loop_timer_set(t->tick, TCP_TICK);
	ares_send(up->channel, msg, (int)n, on_answer, c);
	return 0;
}

/* ---- the rest ---- */

static void op_wake(void *user, int64_t at)
{
	struct dns_transport *t = user;

	if (at == INT64_MAX)
		loop_timer_stop(t->wake);
	else
		loop_timer_set(t->wake, at - clock_now());
}

static void on_wake(void *user)
{
	struct dns_transport *t = user;

	dns_forward_run(t->f);
}

static void on_reap(void *user)
{
	struct dns_transport *t = user;
	int64_t now = clock_now();
	bool left = false;

	t->reaping = false;
	for (struct upstream *up = t->ups; up; up = up->next)
		for (struct udp *s = up->all, *next; s; s = next) {
			next = s->next;
			if (now - s->used >= SOCKET_IDLE)
				udp_end(s);
			else
				left = true;
		}
	if (left)
		reap_later(t);
}

static void op_gone(void *user, struct dns_upstream *u)
{
	struct dns_transport *t = user;
	struct upstream *up = TAKE(u->transport), **at = &t->ups;

	if (!up)
		return;
	while (up->all)
		udp_end(up->all);
	if (up->channel) {
		t->calls -= up->calls;
		if (!t->calls)
			loop_timer_stop(t->tick);
		ares_destroy(up->channel);
	}
	while (up->ios) {
		struct tcp_io *io = up->ios;

		up->ios = io->next;
		loop_io_free(io->io);
		free(io);
	}
	while (*at != up)
		at = &(*at)->next;
	*at = up->next;
	free(up);
}

struct dns_transport *dns_transport_new(struct loop *l, struct dns_cache *cache, struct err *e)
{
	struct dns_transport *t = mem_zalloc(sizeof(*t));
	const struct dns_forward_ops ops = { .send = op_send, .tcp = op_tcp, .wake = op_wake, .gone = op_gone, .user = t };
	int rc = ares_library_init(ARES_LIB_INIT_ALL);

	if (rc != ARES_SUCCESS) {
		err_set(e, ERR_INTERNAL, "cannot start c-ares: %s", ares_strerror(rc));
		free(t);
		return NULL;
	}
	t->l = l;
	t->done_end = &t->done;
	t->rx = mem_alloc(BATCH * sizeof(*t->rx));
	t->wake = loop_timer_new(l, on_wake, t);
	t->reap = loop_timer_new(l, on_reap, t);
	t->tick = loop_timer_new(l, on_tick, t);
	t->f = dns_forward_new(&ops, cache);
	return t;
}

void dns_transport_free(struct dns_transport *t)
{
	if (!t)
		return;
	dns_forward_free(t->f);
	loop_forget(t->l, tcp_deliver, t);
	for (struct tcp_call *c = t->done, *next; c; c = next) {
		next = c->next;
		free(c->msg);
		free(c);
	}
	loop_timer_free(t->wake);
	loop_timer_free(t->reap);
	loop_timer_free(t->tick);
	free(t->rx);
	free(t);
	ares_library_cleanup();
}

struct dns_forward *dns_transport_forward(struct dns_transport *t)
{
	return t->f;
}
