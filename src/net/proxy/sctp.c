/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sctp.h>		/* wants what the C library's define before it */

#include "base/log.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/proxy/proxy_priv.h"

/*
 * Theory of operation. SCTP (RFC 9260) by the kernel's one-to-one sockets (RFC 6458). A client's association has a second one, to the container, with as
 * many streams each way as the first has. What arrives is messages, and each goes on as one: with its stream, its payload protocol identifier and its
 * being unordered or not. A direction is in one of these states:
 *
 *   passing   recvmsg() into the thread's buffer and sendmsg() from it.
 *   filling   the kernel hands over a message in parts (it is larger than a read or the receive window): they are kept until the last one is there,
 *             for a message can be sent only whole.
 *   waiting   a whole message that the other side has no room for. Nothing more is read meanwhile, so the sender's window closes.
 *   mute      the other side takes no more (it is ending): what comes is read and dropped, until that side's end is passed on.
 *   over      the sender has said SHUTDOWN and all before it went on: SHUTDOWN for the other side. SCTP knows no half-closed associations.
 *
 * An ABORT, or a container that refuses, becomes an ABORT. A client that restarts its association (RFC 9260, section 5.2.4.1) gets a new one with the
 * container, which would otherwise take the new one's messages for the old one's; a container that does ends both.
 *
 * A message is at most MESSAGE_MAX long; what is kept is at most two of them for an association and HELD_MAX for all: who needs more is aborted. STREAMS
 * is what we offer a client: kernels offer 65,535 outwards at most and take 2,048 by default, and each costs memory for the asking. A message on a
 * stream that the container has not agreed to has no way to go on: the association ends. Lifetimes of messages (RFC 3758) are known to their sender alone
 * and not passed on; streams are neither reset nor added later (RFC 6525), which kernels do not offer unless told to.
 *
 * Towards the container the source is one address, the route's, where the kernel would offer every address of the host as a further path.
 */
enum {
	STREAMS = 1024,
	MESSAGE_MAX = 1 << 20,
	HELD_MAX = 32 << 20,
	ROUNDS = 32,			/* messages a turn and direction: others want a turn too */
	ATTEMPTS = 5, ATTEMPT_MS = 2000,	/* INITs to the container: 10 s and some, where the kernel's own eight would take minutes */
	LOCALS_MAX = 32 << 10,		/* bytes of a list of our addresses: those of 1,000 networks */
};

struct dir {
	char *msg;			/* filling, or waiting when whole */
	size_t len, size;
	struct sctp_sndinfo how;
	bool whole, mute, eof, over;
	bool large;			/* the other side's socket has room for such messages */
};

struct sctp_conn {
	struct proxy_conn c;		/* first */
	struct proxy_visit visit;	/* whose it is, to dial again; its descriptor is the side's */
	struct dir dir[2];		/* from side[i] to side[!i] */
};

static void msg_free(struct proxy_thread *t, struct dir *d)
{
	t->held -= d->size;
	free(TAKE(d->msg));
	d->len = d->size = 0;
	d->whole = false;
}

static void conn_free(struct sctp_conn *c, bool reset)
{
	struct proxy_thread *t = c->c.port->t;

	proxy_conn_close(&c->c, reset);
	for (int i = 0; i < 2; i++)
		msg_free(t, &c->dir[i]);
	t->stat->sctp_now--;
	free(c);
}

/* Why an association ends that its peers have not ended. */
static int give_up(const struct sctp_conn *c, const char *why)
{
	static struct log_limit limit;

	if (log_limit_ok(&limit, 1, 60))
		log_warn("net", "proxy: an association with port %u/sctp of a container is aborted: %s", c->c.port->to.port, why);
	return -EMSGSIZE;
}

/* Keeps a part: 0 or negative. */
static int keep(struct sctp_conn *c, struct dir *d, const char *data, size_t n)
{
	struct proxy_thread *t = c->c.port->t;
	size_t size = d->size;
	char *more;

	if (d->len + n > MESSAGE_MAX)
		return give_up(c, "a message is longer than 1 MiB");
	while (size < d->len + n)
		size = size ? size * 2 : d->whole ? n : PROXY_BUF * 2;
	if (size != d->size) {
		if (t->held + size - d->size > HELD_MAX)
			return give_up(c, "the messages that wait for more of them or for room take 32 MiB");
		more = realloc(d->msg, size);
		if (!more)
			return give_up(c, "no memory");
		t->held += size - d->size;
		d->msg = more;
		d->size = size;
	}
	memcpy(d->msg + d->len, data, n);
	d->len += n;
	return 0;
}

/* 1 sent (or nobody wants it), 0 no room, -errno. */
static int send_msg(struct sctp_conn *c, struct dir *d, int to, const char *data, size_t n)
{
	char ctrl[CMSG_SPACE(sizeof(struct sctp_sndinfo))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (char *)data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctrl, .msg_controllen = sizeof(ctrl) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int most = MESSAGE_MAX;

	if (d->mute)
		return 1;
	h->cmsg_level = IPPROTO_SCTP;
	h->cmsg_type = SCTP_SNDINFO;
	h->cmsg_len = CMSG_LEN(sizeof(d->how));
	memcpy(CMSG_DATA(h), &d->how, sizeof(d->how));
	if (sendmsg(to, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
		c->c.port->t->stat->sctp_messages++;
		return 1;
	}
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	/* The kernel takes no message that is larger than the socket's buffer. */
	if (errno == EMSGSIZE && !d->large) {
		d->large = true;
		return setsockopt(to, SOL_SOCKET, SO_SNDBUFFORCE, &most, sizeof(most)) < 0 ? give_up(c, "no room for a large message") : send_msg(c, d, to, data, n);
	}
	if (errno == EINVAL)
		return give_up(c, "a message is on a stream that the other side has not");
	if (errno != EPIPE && errno != ESHUTDOWN)
		return -errno;
	d->mute = true;
	return 1;
}

/* What the kernel tells of the association itself. 0 or -errno. */
static int notice(struct sctp_conn *c, int i, const char *data, size_t n)
{
	struct dir *d = &c->dir[i];
	struct sctp_assoc_change a;
	uint16_t type;

	if (n < sizeof(type))
		return 0;
	memcpy(&type, data, sizeof(type));
	if (type == SCTP_PARTIAL_DELIVERY_EVENT && !d->whole)
		msg_free(c->c.port->t, d);	/* the rest will not come */
	if (type != SCTP_ASSOC_CHANGE || n < sizeof(a))
		return 0;
	memcpy(&a, data, sizeof(a));
	if (a.sac_state == SCTP_SHUTDOWN_COMP)
		d->eof = true;
	else if (a.sac_state == SCTP_RESTART)
		return i ? -ECONNRESET : -ERESTART;
	else if (a.sac_state != SCTP_COMM_UP)
		return -ECONNRESET;
	return 0;
}

static bool info_of(struct msghdr *m, struct sctp_sndinfo *ret)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		struct sctp_rcvinfo r;

		if (h->cmsg_level != IPPROTO_SCTP || h->cmsg_type != SCTP_RCVINFO)
			continue;
		memcpy(&r, CMSG_DATA(h), sizeof(r));
		*ret = (struct sctp_sndinfo){ .snd_sid = r.rcv_sid, .snd_flags = r.rcv_flags & SCTP_UNORDERED, .snd_ppid = r.rcv_ppid };
		return true;
	}
	return false;
}

/* One read: 1, 0 nothing there, -errno. What was read is passed on or kept. */
static int move(struct sctp_conn *c, int i)
{
	char ctrl[CMSG_SPACE(sizeof(struct sctp_rcvinfo))] __attribute__((aligned(8)));
	struct dir *d = &c->dir[i];
	char *buf = c->c.port->t->buf;
	struct iovec iov = { buf, PROXY_BUF };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctrl, .msg_controllen = sizeof(ctrl) };
	ssize_t n = recvmsg(c->c.side[i].fd, &m, MSG_DONTWAIT);
	int rc;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		d->eof = true;
		return 1;
	}
	if (m.msg_flags & MSG_NOTIFICATION) {
		rc = notice(c, i, buf, (size_t)n);
		return rc < 0 ? rc : 1;
	}
	if (!d->len && !info_of(&m, &d->how))
		return -EPROTO;
	if (d->mute)
		return 1;
	if (m.msg_flags & MSG_EOR && !d->len) {
		rc = send_msg(c, d, c->c.side[!i].fd, buf, (size_t)n);
		if (rc != 0)
			return rc;
	}
	d->whole = m.msg_flags & MSG_EOR;
	rc = keep(c, d, buf, (size_t)n);
	return rc < 0 ? rc : 1;
}

/* Moves what can be moved from side i to the other one. 0 or -errno for "abort both". */
static int pump(struct proxy_conn *conn, int i)
{
	struct sctp_conn *c = (struct sctp_conn *)conn;
	struct dir *d = &c->dir[i];
	int to = c->c.side[!i].fd, rc = 1;

	for (int round = 0; round < ROUNDS && rc > 0 && !d->over; round++) {
		if (d->whole) {
			rc = send_msg(c, d, to, d->msg, d->len);
			if (rc > 0)
				msg_free(c->c.port->t, d);
		} else if (d->eof) {
			d->over = true;
			(void)shutdown(to, SHUT_WR);	/* ENOTCONN: the other side went first */
		} else {
			rc = move(c, i);
		}
	}
	return rc < 0 ? rc : 0;
}

static void interests(struct sctp_conn *c)
{
	for (int i = 0; i < 2; i++) {
		struct dir *in = &c->dir[i], *out = &c->dir[!i];

		if (c->c.connecting)
			loop_io_set(c->c.side[i].io, i ? LOOP_WRITE : 0);
		else
			loop_io_set(c->c.side[i].io, (!in->eof && !in->whole ? LOOP_READ : 0u) | (out->whole ? LOOP_WRITE : 0u));
	}
}

/* The client has begun anew on the same association. 0 or -errno: the container cannot be had. */
static int again(struct sctp_conn *c)
{
	int fd = proxy_dial(c->c.port, &c->visit, &c->c.connecting);

	if (fd < 0)
		return fd;
	proxy_conn_swap(&c->c, fd);
	for (int i = 0; i < 2; i++) {
		msg_free(c->c.port->t, &c->dir[i]);
		c->dir[i] = (struct dir){ 0 };
	}
	return 0;
}

static void settle(struct proxy_conn *conn, int rc)
{
	struct sctp_conn *c = (struct sctp_conn *)conn;

	if (rc == -ERESTART)
		rc = again(c);
	if (rc < 0)
		conn_free(c, true);
	else if (c->dir[0].over && c->dir[1].over)
		conn_free(c, false);
	else
		interests(c);
}

static void setup(int fd)
{
	struct sctp_initmsg init = { .sinit_num_ostreams = STREAMS, .sinit_max_instreams = STREAMS };
	struct sctp_event_subscribe ev = { .sctp_association_event = 1, .sctp_partial_delivery_event = 1 };
	int one = 1;

	(void)setsockopt(fd, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof(init));
	(void)setsockopt(fd, IPPROTO_SCTP, SCTP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_SCTP, SCTP_RECVRCVINFO, &one, sizeof(one));
	/* No more of it than every kernel knows. */
	(void)setsockopt(fd, IPPROTO_SCTP, SCTP_EVENTS, &ev, offsetof(struct sctp_event_subscribe, sctp_adaptation_layer_event));
}

/* An association is with all addresses of ours, and none is the one that was written to. Is one of them the client's own? */
static void local_of(struct proxy_visit *v)
{
	struct sctp_getaddrs *a = mem_zalloc(sizeof(*a) + LOCALS_MAX);
	socklen_t len = sizeof(*a) + LOCALS_MAX;
	union proxy_addr one;
	size_t at = 0;

	v->local = in6addr_any;
	if (getsockopt(v->fd, IPPROTO_SCTP, SCTP_GET_LOCAL_ADDRS, a, &len) < 0)
		a->addr_num = 0;
	for (uint32_t i = 0; i < a->addr_num && at + sizeof(one.v4) <= LOCALS_MAX; i++) {
		struct in6_addr ours;

		memset(&one, 0, sizeof(one));
		memcpy(&one, a->addrs + at, at + sizeof(one) <= LOCALS_MAX ? sizeof(one) : sizeof(one.v4));
		ours = proxy_addr_from(&one);
		if (addr_eq(&ours, &v->client))
			v->local = ours;
		at += one.sa.sa_family == AF_INET ? sizeof(one.v4) : sizeof(one.v6);
	}
	free(a);
}

/* As many streams as the client has, from the address that the route names. */
static int prepare(int fd, const struct proxy_visit *v, const struct proxy_target *to)
{
	struct sctp_initmsg init = { .sinit_max_attempts = ATTEMPTS, .sinit_max_init_timeo = ATTEMPT_MS };
	CLEANUP(fd_closep) int probe = -1;
	struct sctp_status st = { 0 };
	socklen_t n = sizeof(st), len;
	union proxy_addr sa;

	if (getsockopt(v->fd, IPPROTO_SCTP, SCTP_STATUS, &st, &n) < 0)
		return -errno;		/* it has ended already */
	init.sinit_num_ostreams = st.sstat_instrms;
	init.sinit_max_instreams = st.sstat_outstrms;
	len = proxy_target_addr(to, &sa);
	probe = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
	if (probe < 0 || connect(probe, &sa.sa, len) < 0 || getsockname(probe, &sa.sa, &len) < 0)
		return -errno;
	*(sa.sa.sa_family == AF_INET ? &sa.v4.sin_port : &sa.v6.sin6_port) = 0;
	if (setsockopt(fd, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof(init)) < 0 || bind(fd, &sa.sa, len) < 0)
		return -errno;
	return 0;
}

static void conn_add(struct proxy_port *p, const struct proxy_visit *v, int container, bool connecting)
{
	struct sctp_conn *c = mem_zalloc(sizeof(*c));

	c->visit = *v;
	proxy_conn_add(&c->c, p, v->fd, container, connecting);
	p->t->stat->sctp_opened++;
	p->t->stat->sctp_now++;
	settle(&c->c, 0);
}

static _Atomic uint64_t *failed(struct proxy_stat *s)
{
	return &s->sctp_failed;
}

static const struct proxy_service service = {
	.setup = setup, .local = local_of, .prepare = prepare, .add = conn_add, .pump = pump, .settle = settle, .failed = failed,
};

void sctp_port_open(struct proxy_port *p)
{
	proxy_accept(p, &service);
}

void sctp_port_close(struct proxy_port *p)
{
	while (p->conns)
		conn_free((struct sctp_conn *)p->conns, true);
}
