/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
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
	ROUNDS = 8,			/* reads a turn and direction: others want a turn too */
	PIPE_SIZE = 256 << 10,
	SMALL = 16 << 10, SMALL_RUN = 4,
	FIRST = 4 << 10,		/* of a client's first words, which may have to be kept until the container has answered */
	KEEPALIVE_S = 15,
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
	struct proxy_conn c;		/* first */
	struct dir dir[2];		/* from side[i] to side[!i] */
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
	struct proxy_thread *t = c->c.port->t;

	proxy_conn_close(&c->c, reset);
	for (int i = 0; i < 2; i++) {
		pipe_put(t, &c->dir[i].pipe, !c->dir[i].in_pipe);
		free(c->dir[i].left);
	}
	t->stat->tcp_now--;
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
	pipe_put(c->c.port->t, &d->pipe, true);
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
	const char *buf = c->c.port->t->buf;
	ssize_t sent = send(c->c.side[!i].fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT | (c->c.side[i].fin ? MSG_MORE : 0));

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
	struct proxy_thread *t = c->c.port->t;
	struct dir *d = &c->dir[i];
	int from = c->c.side[i].fd, rc;
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
		(void)shutdown(c->c.side[!i].fd, SHUT_WR);	/* ENOTCONN: the other side went first */
}

/* Moves what can be moved from side i to the other one. 0 or -errno for "reset both". */
static int pump(struct proxy_conn *conn, int i)
{
	struct tcp_conn *c = (struct tcp_conn *)conn;
	struct dir *d = &c->dir[i];
	int to = c->c.side[!i].fd, rc;
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
		if (!d->bulk && n < PROXY_BUF && !d->len && !c->c.side[i].fin)
			break;
	}
	rc = flush(c, d, to);
	if (rc > 0 && d->eof)
		end(c, i);
out:
	if (bytes)
		c->c.port->t->stat->tcp_bytes += bytes;
	return rc < 0 ? rc : 0;
}

static void interests(struct tcp_conn *c)
{
	for (int i = 0; i < 2; i++) {
		struct dir *in = &c->dir[i], *out = &c->dir[!i];
		unsigned ev = 0;

		if (c->c.connecting) {
			loop_io_set(c->c.side[i].io, i ? LOOP_WRITE : 0);
			continue;
		}
		if (!in->eof && !in->in_pipe && !in->len)
			ev |= LOOP_READ | LOOP_EOF;
		if (out->in_pipe || out->len)
			ev |= LOOP_WRITE;
		loop_io_set(c->c.side[i].io, ev);
	}
}

static void settle(struct proxy_conn *conn, int rc)
{
	struct tcp_conn *c = (struct tcp_conn *)conn;

	if (rc < 0)
		conn_free(c, true);
	else if (c->dir[0].ended && c->dir[1].ended)
		conn_free(c, false);
	else
		interests(c);
}

static void sock_setup(int fd)
{
	int one = 1, idle = KEEPALIVE_S;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
}

/* Before the container is called: what the client has said. False: it has been reset meanwhile, which is told only once. */
static bool greet(struct proxy_port *p, struct proxy_visit *v)
{
	ssize_t n = recv(v->fd, p->t->buf, FIRST, MSG_DONTWAIT);

	v->spoke = n > 0 ? (size_t)n : 0;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* On a socket that connects: the handshake's last packet waits for data (at most 200 ms, but there is no waiting: it is here). */
static int prepare(int fd, const struct proxy_visit *v, const struct proxy_target *to)
{
	int one = 1;

	(void)to;
	if (v->spoke)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof(one));
	return 0;
}

/* When the client has spoken, sending tells whether container is connected. */
static void conn_add(struct proxy_port *p, const struct proxy_visit *v, int container, bool connecting)
{
	struct proxy_stat *stat = p->t->stat;
	struct tcp_conn *c = mem_zalloc(sizeof(*c));
	int rc = 0;

	for (int i = 0; i < 2; i++)
		c->dir[i].pipe = (struct proxy_pipe){ -1, -1 };
	proxy_conn_add(&c->c, p, v->fd, container, connecting);
	stat->tcp_opened++;
	stat->tcp_now++;
	if (v->spoke) {
		rc = pass(c, 0, v->spoke);
		c->c.connecting = c->dir[0].len > 0;
		stat->tcp_bytes += v->spoke;
		stat->tcp_failed += rc < 0;
	}
	settle(&c->c, rc);
}

static _Atomic uint64_t *failed(struct proxy_stat *s)
{
	return &s->tcp_failed;
}

static const struct proxy_service service = {
	.setup = sock_setup, .greet = greet, .prepare = prepare, .add = conn_add, .pump = pump, .settle = settle, .failed = failed,
};

void tcp_port_open(struct proxy_port *p)
{
	proxy_accept(p, &service);
}

void tcp_port_close(struct proxy_port *p)
{
	while (p->conns)
		conn_free((struct tcp_conn *)p->conns, true);
}
