/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * DNS over TCP (RFC 7766): messages with two bytes of length in front, as many as the asker likes without waiting, answered in the order in which answers are known.
 * Limits, so that an asker who does not read or write costs little: CONNS_MAX connections over all (the one idle longest makes room), CONN_PENDING
 * questions under way and CONN_OUT bytes unread before reading stops, CONN_IDLE without a question. Idle times are all the same, so that the
 * connections form a queue by themselves: one timer for all, running while there are any.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "dns/dns_priv.h"

enum { CONNS_MAX = 1024, CONN_PENDING = 1000, CONN_OUT = 256 * 1024, CONN_TURN = 32, ACCEPT_TURN = 16 };
#define CONN_IDLE 10000000000ll

struct conn {
	struct dns_server *server;
	struct conn *next, **prev;		/* of its server */
	struct conn *older, *newer;		/* by last use, of all */
	struct loop_io *io;
	struct pending *pending;
	struct buf in, out;
	int64_t used;
	int fd;
	bool ended;				/* nothing more comes in; what is under way is still answered */
	bool broken;
	unsigned n_pending;
	unsigned busy;				/* in conn_go_on(): freed by it */
};

struct conns {
	struct dns *d;
	struct conn *oldest, *newest;
	unsigned n;
	struct loop_timer *timer;
	uint8_t *answer;			/* DNS_MSG_MAX; with the first connection */
};

static void queue_del(struct conns *q, struct conn *c)
{
	*(c->older ? &c->older->newer : &q->oldest) = c->newer;
	*(c->newer ? &c->newer->older : &q->newest) = c->older;
	c->older = c->newer = NULL;
}

static void queue_add(struct conns *q, struct conn *c)
{
	c->newer = NULL;
	c->older = q->newest;
	*(q->newest ? &q->newest->newer : &q->oldest) = c;
	q->newest = c;
	c->used = clock_now();
}

static void on_turn(void *user);

static void conn_free(struct conn *c)
{
	struct conns *q = c->server->dns->conns;

	if (c->busy) {
		c->broken = true;
		return;
	}
	loop_forget(q->d->l, on_turn, c);
	queue_del(q, c);
	q->n--;
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	pending_drop(&c->pending);
	loop_io_free(c->io);
	(void)close(c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
	if (!q->n)
		loop_timer_stop(q->timer);
}

static void watch(struct conn *c)
{
	bool read_on = !c->ended && c->out.len < CONN_OUT && c->n_pending < CONN_PENDING;

	loop_io_set(c->io, (read_on ? LOOP_READ : 0) | (c->out.len ? LOOP_WRITE : 0));
}

/* False: the connection is over. */
static bool flush(struct conn *c)
{
	while (c->out.len) {
		ssize_t r = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN;
		buf_consume(&c->out, (size_t)r);
	}
	return true;
}

static void put(struct conn *c, const uint8_t *msg, size_t n)
{
	uint8_t head[2];

	dns_put16(head, (unsigned)n);
	(void)buf_add(&c->out, head, 2);
	(void)buf_add(&c->out, msg, n);
}

/* Answers what lies there, a turn's worth. */
static void answer_some(struct conn *c)
{
	struct conns *q = c->server->dns->conns;
	struct asker who = { .proto = PROTO_TCP, .server = c->server, .conn = c };
	const struct pending *before;
	int64_t now = clock_now();
	size_t off = 0;

	for (unsigned i = 0; i < CONN_TURN && c->in.len - off >= 2 && c->out.len < CONN_OUT && c->n_pending < CONN_PENDING; i++) {
		size_t n = dns_get16((uint8_t *)c->in.data + off), len;

		if (c->in.len - off < 2 + n)
			break;
		before = c->pending;
		c->server->dns->stats.tcp++;
		len = resolve(&who, &c->pending, (uint8_t *)c->in.data + off + 2, n, q->answer, DNS_MSG_MAX, now);
		if (len)
			put(c, q->answer, len);
		else if (c->pending != before)
			c->n_pending++;
		off += 2 + n;
	}
	if (off) {
		buf_consume(&c->in, off);
		queue_del(q, c);
		queue_add(q, c);
	}
}

static bool whole_question(const struct conn *c)
{
	return c->in.len >= 2 && c->in.len - 2 >= dns_get16((uint8_t *)c->in.data);
}

static void conn_go_on(struct conn *c)
{
	loop_forget(c->server->dns->l, on_turn, c);
	c->busy++;
	answer_some(c);
	if (!flush(c))
		c->broken = true;
	c->busy--;
	/* An end in the middle of a question, or after the last: what is under way is still owed. */
	if (c->broken || (c->ended && !whole_question(c) && !c->pending && !c->out.len)) {
		conn_free(c);
		return;
	}
	if (whole_question(c) && c->out.len < CONN_OUT && c->n_pending < CONN_PENDING)
		loop_defer(c->server->dns->l, on_turn, c);
	watch(c);
}

static void on_turn(void *user)
{
	conn_go_on(user);
}

static void on_conn(void *user, unsigned events)
{
	struct conn *c = user;
	char b[16384];
	ssize_t r;

	if (events & LOOP_READ) {
		r = recv(c->fd, b, sizeof(b), MSG_DONTWAIT);
		if (r > 0)
			(void)buf_add(&c->in, b, (size_t)r);
		else if (r == 0)
			c->ended = true;
		else if (errno != EAGAIN && errno != EINTR)
			c->broken = true;
	}
	conn_go_on(c);
}

void conn_reply(struct conn *c, const uint8_t *msg, size_t n)
{
	put(c, msg, n);
	c->n_pending--;
	if (c->busy)
		return;
	loop_forget(c->server->dns->l, on_turn, c);
	/* From the next turn: the caller goes through a list this one may be in. */
	loop_defer(c->server->dns->l, on_turn, c);
}

void conn_accept(struct dns_server *s)
{
	struct conns *q = s->dns->conns;

	for (unsigned i = 0; i < ACCEPT_TURN; i++) {
		struct conn *c;
		int fd = accept4(s->tcp_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE) && q->oldest) {
			/* Level-triggered: it would call for ever. The one idle longest makes room. */
			conn_free(q->oldest);
			continue;
		}
		if (fd < 0)
			return;
		if (q->n >= CONNS_MAX) {
			conn_free(q->oldest);
		}
		if (!q->answer)
			q->answer = mem_alloc(DNS_MSG_MAX);
		c = mem_zalloc(sizeof(*c));
		c->server = s;
		c->fd = fd;
		buf_init(&c->in, 2 * (DNS_MSG_MAX + 2) + 16384);
		buf_init(&c->out, CONN_OUT + CONN_PENDING * (DNS_MSG_MAX + 2));
		c->next = s->conns;
		c->prev = &s->conns;
		if (c->next)
			c->next->prev = &c->next;
		s->conns = c;
		queue_add(q, c);
		if (!q->n++)
			loop_timer_set(q->timer, CONN_IDLE);
		c->io = loop_io_new(s->dns->l, fd, LOOP_READ, on_conn, c);
	}
}

void conns_drop(struct dns_server *s)
{
	while (s->conns) {
		conn_free(s->conns);
	}
}

static void on_idle(void *user)
{
	struct conns *q = user;
	int64_t now = clock_now();

	while (q->oldest && now - q->oldest->used >= CONN_IDLE) {
		struct conn *c = q->oldest;

		if (c->pending) {
			queue_del(q, c);
			queue_add(q, c);
			continue;
		}
		conn_free(c);
	}
	if (q->oldest)
		loop_timer_set(q->timer, q->oldest->used + CONN_IDLE - now);
}

struct conns *conns_new(struct dns *d)
{
	struct conns *q = mem_zalloc(sizeof(*q));

	q->d = d;
	q->timer = loop_timer_new(d->l, on_idle, q);
	return q;
}

void conns_free(struct conns *q)
{
	if (!q)
		return;
	loop_timer_free(q->timer);
	free(q->answer);
	free(q);
}
