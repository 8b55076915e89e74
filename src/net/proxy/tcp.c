/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/proxy/proxy_priv.h"

/*
 * Theory of operation. A connection has two sides (the client, the container) and two directions, each of which is in one of three moods:
 *
 *   small   recv() into the thread's buffer and send() from it: two system calls and a copy that stays in the cache. What the other side
 *           does not take is kept in memory of its own, and the direction stops reading.
 *   bulk    after a read that filled the buffer: splice() through a pipe borrowed from the thread, no copy at all. The pipe goes back as soon
 *           as it is empty, so that only directions that are full hold one. A few small splices in a row end the mood.
 *   ended   the source has sent its FIN and everything was passed on: shutdown(SHUT_WR) on the other side. Both directions ended: closed.
 *
 * Most of what a short connection costs is the kernel's work for its packets and for waking who waits for them, so there are to be few:
 *
 *   - the container is on this machine and has mostly answered when connect() returns: asking once more is cheaper than a turn of the loop;
 *   - when the client has spoken first, the last packet of the handshake waits for its words and carries them; when it has not, the handshake is
 *     completed at once, as the server may be the one to speak;
 *   - where the source's FIN is known to be behind what was read, both leave as one packet.
 *
 * A FIN travels alone, so half-closed connections (ssh, "nc -N", HTTP/1.0 uploads) work; a reset, or a container that refuses, becomes a reset
 * of the other side and not an orderly end that looks like success. Dead peers are found by TCP keepalive on both sides: 15 s, as docker-proxy
 * has it.
 */
enum {
	ACCEPTS = 64,			/* a turn */
	ROUNDS = 8,			/* reads a turn and direction: others want a turn too */
	PIPE_SIZE = 256 << 10,
	SMALL = 16 << 10, SMALL_RUN = 4,
	FIRST = 4 << 10,		/* of a client's first words, which may have to be kept until the container has answered */
	KEEPALIVE_S = 15,
};

struct tcp_conn;

struct side {
	struct tcp_conn *c;
	int fd;
	struct loop_io *io;
	bool fin;			/* its FIN has come, behind what is there to read */
};

struct dir {
	char *left;			/* not yet taken by the other side */
	size_t off, len;
	struct proxy_pipe pipe;		/* -1 unless borrowed */
	size_t in_pipe;
	unsigned small_run;
	bool bulk, eof, ended;
};

struct tcp_conn {
	struct proxy_port *port;
	struct tcp_conn *next, **at;
	struct side side[2];		/* 0: the client, 1: the container */
	struct dir dir[2];		/* from side[i] to side[!i] */
	bool connecting;
};

static int pipe_get(struct proxy_thread *t, struct proxy_pipe *ret)
{
	int fd[2];

	if (t->n_pipes) {
		*ret = t->pipes[--t->n_pipes];
		return 0;
	}
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* More than the default of 64 KiB saves turns; without the right to it the default does. */
	(void)fcntl(fd[0], F_SETPIPE_SZ, PIPE_SIZE);
	*ret = (struct proxy_pipe){ fd[0], fd[1] };
	return 0;
}

static void pipe_put(struct proxy_thread *t, struct proxy_pipe *p, bool empty)
{
	if (p->r < 0)
		return;
	if (empty && t->n_pipes < PROXY_PIPES_KEPT) {
		t->pipes[t->n_pipes++] = *p;
	} else {
		(void)close(p->r);
		(void)close(p->w);
	}
	*p = (struct proxy_pipe){ -1, -1 };
}

static void conn_free(struct tcp_conn *c, bool reset)
{
	struct proxy_thread *t = c->port->t;

	for (int i = 0; i < 2; i++) {
		loop_io_free(c->side[i].io);
		if (c->side[i].fd >= 0) {
			struct linger now = { .l_onoff = 1 };

			if (reset)
				(void)setsockopt(c->side[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			(void)close(c->side[i].fd);
		}
		pipe_put(t, &c->dir[i].pipe, !c->dir[i].in_pipe);
		free(c->dir[i].left);
	}
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	t->conns--;
	t->stat->tcp_now = t->conns;
	free(c);
}

/* Passes on what is kept: 1 all gone, 0 the other side is full, -errno. */
static int flush(struct tcp_conn *c, struct dir *d, int to)
{
	while (d->in_pipe) {
		ssize_t n = splice(d->pipe.r, NULL, to, NULL, d->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return -EPIPE;
		d->in_pipe -= (size_t)n;
	}
	pipe_put(c->port->t, &d->pipe, true);
	while (d->len) {
		ssize_t n = send(to, d->left + d->off, d->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		d->off += (size_t)n;
		d->len -= (size_t)n;
	}
	free(TAKE(d->left));
	d->off = 0;
	return 1;
}

/* n bytes of side i, in the thread's buffer, go to the other side; what it does not take is kept. 0, or -errno. */
static int pass(struct tcp_conn *c, int i, size_t n)
{
	struct dir *d = &c->dir[i];
	const char *buf = c->port->t->buf;
	ssize_t sent = send(c->side[!i].fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT | (c->side[i].fin ? MSG_MORE : 0));

	if (sent < 0) {
		if (errno != EAGAIN)
			return -errno;
		sent = 0;
	}
	if ((size_t)sent < n) {
		d->len = n - (size_t)sent;
		d->left = mem_alloc(d->len);
		memcpy(d->left, buf + sent, d->len);
	}
	return 0;
}

/* One read from side i: >0 bytes, 0 end of stream, -EAGAIN, -errno. What was read is passed on or kept. */
static ssize_t move(struct tcp_conn *c, int i)
{
	struct proxy_thread *t = c->port->t;
	struct dir *d = &c->dir[i];
	int from = c->side[i].fd, rc;
	ssize_t n;

	if (d->bulk && pipe_get(t, &d->pipe) == 0) {
		n = splice(from, NULL, d->pipe.w, NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n <= 0) {
			pipe_put(t, &d->pipe, true);
			return n < 0 ? -errno : 0;
		}
		d->in_pipe = (size_t)n;
		d->small_run = n < SMALL ? d->small_run + 1 : 0;
		if (d->small_run >= SMALL_RUN) {
			d->bulk = false;
			d->small_run = 0;
		}
		return n;
	}
	n = recv(from, t->buf, PROXY_BUF, MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	if (n == PROXY_BUF)
		d->bulk = true;
	rc = pass(c, i, (size_t)n);
	return rc < 0 ? rc : n;
}

/* Everything of side i is passed on, its FIN is due. Where the other direction has ended, too, close() sends it. */
static void end(struct tcp_conn *c, int i)
{
	c->dir[i].ended = true;
	if (!c->dir[!i].ended)
		(void)shutdown(c->side[!i].fd, SHUT_WR);	/* ENOTCONN: the other side went first */
}

/* Moves what can be moved from side i to the other one. 0 or -errno for "reset both". */
static int pump(struct tcp_conn *c, int i)
{
	struct dir *d = &c->dir[i];
	int to = c->side[!i].fd, rc;
	uint64_t bytes = 0;

	if (d->ended)
		return 0;
	for (int round = 0; round < ROUNDS; round++) {
		ssize_t n;

		rc = flush(c, d, to);
		if (rc <= 0)
			goto out;
		if (d->eof) {
			end(c, i);
			rc = 0;
			goto out;
		}
		n = move(c, i);
		if (n < 0) {
			rc = n == -EAGAIN || n == -EINTR ? 0 : (int)n;
			goto out;
		}
		if (n == 0) {
			d->eof = true;
			continue;
		}
		bytes += (uint64_t)n;
		/* A short read has emptied the socket: asking again would only hear so, or of the end. */
		if (!d->bulk && n < PROXY_BUF && !d->len && !c->side[i].fin)
			break;
	}
	rc = flush(c, d, to);
	if (rc > 0 && d->eof)
		end(c, i);
out:
	if (bytes)
		c->port->t->stat->tcp_bytes += bytes;
	return rc < 0 ? rc : 0;
}

static void interests(struct tcp_conn *c)
{
	for (int i = 0; i < 2; i++) {
		struct dir *in = &c->dir[i], *out = &c->dir[!i];
		unsigned ev = 0;

		if (c->connecting) {
			loop_io_set(c->side[i].io, i ? LOOP_WRITE : 0);
			continue;
		}
		if (!in->eof && !in->in_pipe && !in->len)
			ev |= LOOP_READ | LOOP_EOF;
		if (out->in_pipe || out->len)
			ev |= LOOP_WRITE;
		loop_io_set(c->side[i].io, ev);
	}
}

/* After what was done for c: 0, or -errno for "reset both". c may be gone afterwards. */
static void settle(struct tcp_conn *c, int rc)
{
	if (rc < 0)
		conn_free(c, true);
	else if (c->dir[0].ended && c->dir[1].ended)
		conn_free(c, false);
	else
		interests(c);
}

static void on_side(void *user, unsigned events)
{
	struct side *s = user;
	struct tcp_conn *c = s->c;
	int i = s == &c->side[1], rc = 0;

	if (c->connecting) {
		int err = 0;
		socklen_t len = sizeof(err);

		if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err) {
			c->port->t->stat->tcp_failed++;
			conn_free(c, true);
			return;
		}
		c->connecting = false;
		/* The request is often here already. */
		rc = pump(c, 0);
	} else {
		if (events & LOOP_EOF)
			s->fin = true;
		if (events & LOOP_WRITE)
			rc = pump(c, !i);
		if (rc == 0 && events & (LOOP_READ | LOOP_EOF))
			rc = pump(c, i);
	}
	settle(c, rc);
}

static void sock_setup(int fd)
{
	int one = 1, idle = KEEPALIVE_S;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
}

static struct in6_addr addr_from(const union proxy_addr *a)
{
	return a->sa.sa_family == AF_INET ? addr_of4(ntohl(a->v4.sin_addr.s_addr)) : a->v6.sin6_addr;
}

/* A connection as accepted. */
struct visit {
	int fd;
	struct in6_addr client, local;	/* local: zero unless somebody has to know */
	uint16_t port, client_port;
	size_t spoke;			/* bytes of it are in the thread's buffer */
};

static bool visit_read(const struct proxy_port *p, const union proxy_addr *peer, struct visit *v)
{
	const struct proxy_target *to = &p->to;
	union proxy_addr own = { 0 };
	socklen_t n = sizeof(own);

	v->client = addr_from(peer);
	v->client_port = ntohs(peer->sa.sa_family == AF_INET ? peer->v4.sin_port : peer->v6.sin6_port);
	if (!to->first && IN6_IS_ADDR_UNSPECIFIED(&to->addr6) && !p->t->n_barred && (!to->policy || !to->policy->n_sources) && !to->keep4 && !to->keep6)
		return true;
	if (getsockname(v->fd, &own.sa, &n) < 0)
		return false;
	v->local = addr_from(&own);
	v->port = ntohs(own.sa.sa_family == AF_INET ? own.v4.sin_port : own.v6.sin6_port);
	return proxy_allows(p, &v->client, &v->local);
}

static struct proxy_target target_of(const struct proxy_port *p, const struct visit *v)
{
	struct proxy_target to = p->to;

	if (to.first)
		to.port = (uint16_t)(to.port + v->port - to.first);
	if (!IN6_IS_ADDR_UNSPECIFIED(&to.addr6) && !IN6_IS_ADDR_UNSPECIFIED(&v->local) && !addr_is4(&v->local))
		to.addr = to.addr6;
	return to;
}

static void refuse(int fd)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
}

/* container: a socket that is connected or on its way; when the client has spoken, sending tells which of the two. */
static void conn_add(struct proxy_port *p, const struct visit *v, int container, bool connecting)
{
	struct proxy_thread *t = p->t;
	struct tcp_conn *c = mem_zalloc(sizeof(*c));
	int rc = 0;

	c->port = p;
	c->connecting = connecting;
	for (int i = 0; i < 2; i++) {
		c->side[i] = (struct side){ .c = c, .fd = i ? container : v->fd };
		c->dir[i].pipe = (struct proxy_pipe){ -1, -1 };
		c->side[i].io = loop_io_new(t->l, c->side[i].fd, 0, on_side, &c->side[i]);
	}
	c->at = &p->conns;
	c->next = p->conns;
	if (c->next)
		c->next->at = &c->next;
	p->conns = c;
	t->conns++;
	t->stat->tcp_opened++;
	t->stat->tcp_now = t->conns;
	if (v->spoke) {
		rc = pass(c, 0, v->spoke);
		c->connecting = c->dir[0].len > 0;
		t->stat->tcp_bytes += v->spoke;
		t->stat->tcp_failed += rc < 0;
	}
	settle(c, rc);
}

/* A socket connected to the container, or on its way there, or -errno. */
static int dial(const struct proxy_port *p, const struct visit *v, bool *connecting)
{
	struct proxy_target to = target_of(p, v);
	CLEANUP(fd_closep) int fd = -1;
	union proxy_addr sa;
	socklen_t len;
	int rc, one = 1;

	if (!proxy_pick(&to, &v->client, v->client_port))
		return -ECONNREFUSED;
	len = proxy_target_addr(&to, &sa);
	fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	sock_setup(fd);
	/* On a socket that connects: the handshake's last packet waits for data (at most 200 ms, but there is no waiting: it is here). */
	if (v->spoke)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof(one));
	rc = proxy_bear(&to, fd, &v->client, &v->local);
	if (rc < 0)
		return rc;
	rc = connect(fd, &sa.sa, len) < 0 ? -errno : 0;
	if (rc == -EINPROGRESS && !v->spoke)
		rc = connect(fd, &sa.sa, len) < 0 ? -errno : 0;
	if (rc < 0 && rc != -EINPROGRESS && rc != -EALREADY)
		return rc;
	*connecting = rc < 0;
	rc = TAKE_FD(fd);
	return rc;
}

/* Takes the accepted fd; false when there is no room for the connection. */
static bool conn_new(struct proxy_port *p, struct visit *v)
{
	ssize_t n = recv(v->fd, p->t->buf, FIRST, MSG_DONTWAIT);
	bool connecting;
	int rc;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		(void)close(v->fd);	/* it was reset meanwhile, which is told only once */
		return true;
	}
	v->spoke = n > 0 ? (size_t)n : 0;
	rc = dial(p, v, &connecting);
	if (rc >= 0) {
		conn_add(p, v, rc, connecting);
		return true;
	}
	p->t->stat->tcp_failed++;
	refuse(v->fd);
	/* No address left to connect from, no memory: as with descriptors, it passes. */
	return !(rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -EADDRNOTAVAIL);
}

static void on_accept(void *user, unsigned events)
{
	struct proxy_port *p = user;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		union proxy_addr peer = { 0 };
		socklen_t n = sizeof(peer);
		struct visit v = { 0 };

		if (p->t->conns >= p->t->conns_max) {
			proxy_starved(p->t);
			return;
		}
		v.fd = accept4(p->fd, &peer.sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (v.fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				proxy_starved(p->t);
			else if (errno != EAGAIN)
				continue;	/* the connection's own trouble (accept(2)) */
			return;
		}
		if (!visit_read(p, &peer, &v)) {
			p->t->stat->tcp_refused++;
			refuse(v.fd);
		} else if (!conn_new(p, &v)) {
			proxy_starved(p->t);
			return;
		}
	}
}

void tcp_port_open(struct proxy_port *p)
{
	/* Accepted sockets inherit these. */
	sock_setup(p->fd);
	p->io = loop_io_new(p->t->l, p->fd, LOOP_READ, on_accept, p);
}

void tcp_port_close(struct proxy_port *p)
{
	while (p->conns)
		conn_free(p->conns, true);
}
