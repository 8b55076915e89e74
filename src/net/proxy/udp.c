/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kedge/bpf/abi.h"
#include "net/addr.h"
#include "net/proxy/proxy_priv.h"

/*
 * Theory of operation. UDP has no connections, so we keep flows: (client's address and port, the address it wrote to) -> a socket connected to
 * the container, whose source port tells the container's answers apart. Answers leave through the published socket with the address the client
 * wrote to as their source (IP_PKTINFO), or a client with a connected socket would not hear them.
 *
 * A flow ends after 90 s without a datagram in either direction (what docker-proxy does; RFC 4787 REQ-5 would like 120, and more memory).
 * All flows of the thread are in one list by last use: the oldest is the next to expire, and it is the one to go when there are too many or
 * no descriptor is left. That a flood of spoofed sources pushes out quiet flows is the price of a bound; one with answers every second
 * stays ahead of a list as long as the limit.
 *
 * A range of ports may have one socket (see bpf/ports.bpf.c), bound to the first of them, which gets the datagrams to all. Answers have to leave from the
 * port the client wrote to, so there a flow has a second socket, bound to that and connected to the client: what the client sends from then on
 * arrives there, past the one socket.
 *
 * Datagrams are read and written up to BATCH at a time. The receive buffers are BATCH times the largest datagram, but untouched pages cost
 * nothing.
 */
enum { BATCH = 16, ROUNDS = 4, IDLE_S = 90, BUCKETS_MIN = 64, CTRL = CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) + 2 * CMSG_SPACE(sizeof(struct sockaddr_in6)) };

struct udp_key {
	struct in6_addr addr, local;	/* mapped; local zero when not known */
	uint32_t scope;			/* of a link-local client */
	uint16_t port;			/* network order */
	uint16_t local_port;		/* the same, of a range; else 0 */
};

struct udp_flow {
	struct proxy_port *port;
	struct udp_key key;
	struct udp_flow *chain;		/* of its bucket */
	struct udp_flow *older, *newer;
	int fd;
	struct loop_io *io;
	int back;			/* of a range: to the client, from the port it wrote to; else -1 */
	struct loop_io *back_io;
	int64_t used;
};

struct udp_flows {
	struct udp_flow **bucket;
	size_t n, size;			/* size: power of two */
	uint32_t seed;
};

struct udp_batch {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	union proxy_addr name[BATCH];
	char ctrl[BATCH][CTRL] __attribute__((aligned(16)));
	char *data;			/* BATCH times PROXY_BUF */
};

static uint32_t hash(const struct udp_flows *f, const struct udp_key *k)
{
	const uint8_t *p = (const uint8_t *)k;
	uint64_t h = f->seed | UINT64_C(0x9e3779b900000000);

	for (size_t i = 0; i < sizeof(*k); i += 4) {
		uint32_t w;

		memcpy(&w, p + i, 4);
		h = (h ^ w) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	return (uint32_t)h;
}

static void lru_out(struct proxy_thread *t, struct udp_flow *f)
{
	*(f->older ? &f->older->newer : &t->oldest) = f->newer;
	*(f->newer ? &f->newer->older : &t->newest) = f->older;
}

static void lru_in(struct proxy_thread *t, struct udp_flow *f)
{
	f->older = t->newest;
	f->newer = NULL;
	*(t->newest ? &t->newest->newer : &t->oldest) = f;
	t->newest = f;
}

static void flow_free(struct udp_flow *f)
{
	struct proxy_thread *t = f->port->t;
	struct udp_flows *fs = f->port->flows;
	struct udp_flow **at = &fs->bucket[hash(fs, &f->key) & (fs->size - 1)];

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	fs->n--;
	lru_out(t, f);
	loop_io_free(f->io);
	(void)close(f->fd);
	if (f->back >= 0) {
		loop_io_free(f->back_io);
		(void)close(f->back);
	}
	t->flows--;
	t->stat->udp_now = t->flows;
	free(f);
}

static void on_expiry(void *user)
{
	struct proxy_thread *t = user;
	int64_t now = clock_now(), idle = (int64_t)IDLE_S * 1000000000;

	while (t->oldest && now - t->oldest->used >= idle)
		flow_free(t->oldest);
	if (t->oldest)
		loop_timer_set(t->expiry, t->oldest->used + idle - now);
}

static void used(struct proxy_thread *t, struct udp_flow *f)
{
	f->used = clock_now();
	if (t->newest == f)
		return;
	lru_out(t, f);
	lru_in(t, f);
}

static void grow(struct udp_flows *fs)
{
	size_t size = fs->size ? fs->size * 2 : BUCKETS_MIN;
	struct udp_flow **bucket = mem_zalloc(size * sizeof(*bucket));

	for (size_t i = 0; i < fs->size; i++)
		for (struct udp_flow *f = fs->bucket[i], *next; f; f = next) {
			size_t to = hash(fs, &f->key) & (size - 1);

			next = f->chain;
			f->chain = bucket[to];
			bucket[to] = f;
		}
	free(fs->bucket);
	fs->bucket = bucket;
	fs->size = size;
}

/* The addresses a datagram came with. */
static void key_of(struct msghdr *m, const union proxy_addr *from, struct udp_key *k)
{
	memset(k, 0, sizeof(*k));
	if (from->sa.sa_family == AF_INET) {
		k->addr = addr_of4(ntohl(from->v4.sin_addr.s_addr));
		k->port = from->v4.sin_port;
	} else {
		k->addr = from->v6.sin6_addr;
		k->port = from->v6.sin6_port;
		k->scope = from->v6.sin6_scope_id;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;

			/* ipi_spec_dst is ours even when the datagram was a broadcast. */
			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			k->local = addr_of4(ntohl(pi.ipi_spec_dst.s_addr));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			if (!addr_is4(&pi.ipi6_addr) && !IN6_IS_ADDR_MULTICAST(&pi.ipi6_addr))
				k->local = pi.ipi6_addr;
		} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) || (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)) {
			/* The port stands at the same place in both. */
			memcpy(&k->local_port, CMSG_DATA(c) + offsetof(struct sockaddr_in, sin_port), sizeof(k->local_port));
		}
	}
}

static void batch_reset(struct udp_batch *b, bool names)
{
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->data + (size_t)i * PROXY_BUF, PROXY_BUF };
		b->msg[i].msg_hdr = (struct msghdr){
			.msg_iov = &b->iov[i], .msg_iovlen = 1,
			.msg_name = names ? &b->name[i] : NULL, .msg_namelen = names ? sizeof(b->name[i]) : 0,
			.msg_control = names ? b->ctrl[i] : NULL, .msg_controllen = names ? CTRL : 0,
		};
	}
}

static void send_all(struct proxy_thread *t, int fd, struct mmsghdr *m, unsigned n)
{
	unsigned sent = 0;

	while (sent < n) {
		int rc = sendmmsg(fd, m + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (rc > 0) {
			sent += (unsigned)rc;
			continue;
		}
		if (errno == EINTR)
			continue;
		/* ECONNREFUSED tells of an earlier datagram; EAGAIN and the rest lose this one, as a router would. */
		if (errno == ECONNREFUSED) {
			rc = sendmmsg(fd, m + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (rc > 0) {
				sent += (unsigned)rc;
				continue;
			}
		}
		t->stat->udp_dropped++;
		sent++;
	}
	t->stat->udp_packets += n;
}

/* Where an answer goes, and where it comes from. */
static void address_answer(const struct udp_flow *f, union proxy_addr *name, socklen_t *len, char *ctrl, size_t *ctrl_len)
{
	struct msghdr m = { .msg_control = ctrl, .msg_controllen = CTRL };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	memset(ctrl, 0, CTRL);
	memset(name, 0, sizeof(*name));
	*ctrl_len = 0;
	if (f->port->v6) {
		struct in6_pktinfo pi = { .ipi6_addr = f->key.local, .ipi6_ifindex = f->key.scope };

		name->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = f->key.port, .sin6_addr = f->key.addr, .sin6_scope_id = f->key.scope };
		*len = sizeof(name->v6);
		if (IN6_IS_ADDR_UNSPECIFIED(&f->key.local))
			return;
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
		*ctrl_len = CMSG_SPACE(sizeof(pi));
	} else {
		struct in_pktinfo pi = { .ipi_spec_dst.s_addr = htonl(addr_to4(&f->key.local)) };

		name->v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = f->key.port, .sin_addr.s_addr = htonl(addr_to4(&f->key.addr)) };
		*len = sizeof(name->v4);
		if (IN6_IS_ADDR_UNSPECIFIED(&f->key.local))
			return;
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
		*ctrl_len = CMSG_SPACE(sizeof(pi));
	}
}

/* What was read without names goes to a connected socket. */
static void pass_on(struct udp_flow *f, int to, int n)
{
	struct udp_batch *b = f->port->t->batch;

	for (int i = 0; i < n; i++)
		b->iov[i].iov_len = b->msg[i].msg_len;
	used(f->port->t, f);
	send_all(f->port->t, to, b->msg, (unsigned)n);
}

/* Client -> container, of a range. */
static void on_back(void *user, unsigned events)
{
	struct udp_flow *f = user;
	struct udp_batch *b = f->port->t->batch;

	(void)events;
	for (int round = 0; round < ROUNDS; round++) {
		int n;

		batch_reset(b, false);
		n = recvmmsg(f->back, b->msg, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return;
		pass_on(f, f->fd, n);
		if (n < BATCH)
			return;
	}
}

/* A socket from the port the client wrote to, to the client; or -errno. */
static int back_open(const struct udp_key *k)
{
	struct proxy_target local = { .addr = k->local, .port = ntohs(k->local_port) }, peer = { .addr = k->addr, .port = ntohs(k->port) };
	CLEANUP(fd_closep) int fd = socket(addr_is4(&k->addr) ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	uint32_t mark = KEDGE_GUARD_MARK, none = 0;
	int one = 1, rc;
	union proxy_addr sa;
	socklen_t len;

	if (fd < 0)
		return -errno;
	/* The mark says that it is us who takes a port of the range (bpf/ports.bpf.c). */
	len = proxy_target_addr(&local, &sa);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
	    bind(fd, &sa.sa, len) < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &none, sizeof(none)) < 0)
		return -errno;
	len = proxy_target_addr(&peer, &sa);
	if (sa.sa.sa_family == AF_INET6)
		sa.v6.sin6_scope_id = k->scope;
	if (connect(fd, &sa.sa, len) < 0)
		return -errno;
	rc = TAKE_FD(fd);
	return rc;
}

/* Container -> client. */
static void on_answer(void *user, unsigned events)
{
	struct udp_flow *f = user;
	struct proxy_thread *t = f->port->t;
	struct udp_batch *b = t->batch;

	(void)events;
	for (int round = 0; round < ROUNDS; round++) {
		union proxy_addr *name = &b->name[0];
		size_t ctrl_len;
		socklen_t len;
		int n;

		batch_reset(b, false);
		n = recvmmsg(f->fd, b->msg, BATCH, MSG_DONTWAIT, NULL);
		/* ECONNREFUSED: nobody listens in there. The client finds out by itself, as with docker-proxy. */
		if (n <= 0)
			return;
		if (f->back >= 0) {
			pass_on(f, f->back, n);
			if (n < BATCH)
				return;
			continue;
		}
		address_answer(f, name, &len, b->ctrl[0], &ctrl_len);
		for (int i = 0; i < n; i++) {
			b->iov[i].iov_len = b->msg[i].msg_len;
			b->msg[i].msg_hdr.msg_name = name;
			b->msg[i].msg_hdr.msg_namelen = len;
			b->msg[i].msg_hdr.msg_control = ctrl_len ? b->ctrl[0] : NULL;
			b->msg[i].msg_hdr.msg_controllen = ctrl_len;
		}
		used(t, f);
		send_all(t, f->port->fd, b->msg, (unsigned)n);
		if (n < BATCH)
			return;
	}
}

/* A socket connected to the container, with the client's address where it is to be kept; or -errno. */
static int flow_dial(const struct proxy_port *p, const struct udp_key *k)
{
	struct proxy_target to = p->to;
	CLEANUP(fd_closep) int fd = -1;
	union proxy_addr sa;
	socklen_t len;
	int rc;

	if (!addr_is4(&k->addr) && !IN6_IS_ADDR_UNSPECIFIED(&to.addr6))
		to.addr = to.addr6;
	if (to.first)
		to.port = (uint16_t)(to.port + ntohs(k->local_port) - to.first);
	if (!proxy_pick(&to, &k->addr, ntohs(k->port)))
		return -ECONNREFUSED;
	len = proxy_target_addr(&to, &sa);
	fd = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	if (fd < 0)
		return -errno;
	rc = proxy_bear(&to, fd, &k->addr, &k->local);
	if (rc < 0)
		return rc;
	if (connect(fd, &sa.sa, len) < 0)
		return -errno;
	rc = TAKE_FD(fd);
	return rc;
}

static bool is_short(int rc)
{
	return rc == -EMFILE || rc == -ENFILE;
}

static struct udp_flow *flow_new(struct proxy_port *p, const struct udp_key *k)
{
	struct proxy_thread *t = p->t;
	struct udp_flows *fs = p->flows;
	bool range = k->local_port && ntohs(k->local_port) != p->to.first;
	struct udp_flow *f, **b;
	int fd, back = -1;

	if (t->flows >= t->flows_max)
		flow_free(t->oldest);
	fd = flow_dial(p, k);
	if (is_short(fd) && t->oldest) {
		flow_free(t->oldest);
		fd = flow_dial(p, k);
	}
	if (fd < 0)
		return NULL;
	if (range && (back = back_open(k)) < 0) {
		(void)close(fd);
		return NULL;
	}
	if (fs->n >= fs->size)
		grow(fs);
	f = mem_zalloc(sizeof(*f));
	f->port = p;
	f->key = *k;
	f->fd = fd;
	f->back = back;
	f->used = clock_now();
	f->io = loop_io_new(t->l, fd, LOOP_READ, on_answer, f);
	if (range)
		f->back_io = loop_io_new(t->l, back, LOOP_READ, on_back, f);
	b = &fs->bucket[hash(fs, k) & (fs->size - 1)];
	f->chain = *b;
	*b = f;
	fs->n++;
	if (!t->oldest)
		loop_timer_set(t->expiry, (int64_t)IDLE_S * 1000000000);
	lru_in(t, f);
	t->flows++;
	t->stat->udp_flows++;
	t->stat->udp_now = t->flows;
	return f;
}

static struct udp_flow *flow_of(struct proxy_port *p, const struct udp_key *k)
{
	struct udp_flows *fs = p->flows;

	if (fs->size)
		for (struct udp_flow *f = fs->bucket[hash(fs, k) & (fs->size - 1)]; f; f = f->chain)
			if (memcmp(&f->key, k, sizeof(*k)) == 0)
				return f;
	return flow_new(p, k);
}

/* Client -> container. */
static void on_datagrams(void *user, unsigned events)
{
	struct proxy_port *p = user;
	struct proxy_thread *t = p->t;
	struct udp_batch *b = t->batch;

	(void)events;
	for (int round = 0; round < ROUNDS; round++) {
		int n;

		batch_reset(b, true);
		n = recvmmsg(p->fd, b->msg, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return;
		for (int i = 0; i < n;) {
			struct udp_key k, next;
			struct udp_flow *f;
			int run = i;

			key_of(&b->msg[i].msg_hdr, &b->name[i], &k);
			f = proxy_allows(p, &k.addr, &k.local) ? flow_of(p, &k) : NULL;
			/* What follows from the same client goes in the same call. */
			do {
				b->iov[run].iov_len = b->msg[run].msg_len;
				b->msg[run].msg_hdr.msg_name = NULL;
				b->msg[run].msg_hdr.msg_namelen = 0;
				b->msg[run].msg_hdr.msg_control = NULL;
				b->msg[run].msg_hdr.msg_controllen = 0;
				if (++run < n)
					key_of(&b->msg[run].msg_hdr, &b->name[run], &next);
			} while (run < n && memcmp(&next, &k, sizeof(k)) == 0);
			if (f) {
				used(t, f);
				send_all(t, f->fd, b->msg + i, (unsigned)(run - i));
			} else {
				t->stat->udp_dropped += (unsigned)(run - i);
			}
			i = run;
		}
		if (n < BATCH)
			return;
	}
}

void udp_thread_init(struct proxy_thread *t)
{
	t->expiry = loop_timer_new(t->l, on_expiry, t);
}

void udp_thread_done(struct proxy_thread *t)
{
	loop_timer_free(t->expiry);
	if (t->batch)
		free(t->batch->data);
	free(t->batch);
}

void udp_port_open(struct proxy_port *p)
{
	struct proxy_thread *t = p->t;

	if (!t->batch) {
		t->batch = mem_zalloc(sizeof(*t->batch));
		t->batch->data = mem_alloc((size_t)BATCH * PROXY_BUF);
	}
	p->flows = mem_zalloc(sizeof(*p->flows));
	p->flows->seed = rand_u32();
	if (p->to.first) {
		int one = 1;

		(void)setsockopt(p->fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &one, sizeof(one));
		if (p->v6)
			(void)setsockopt(p->fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &one, sizeof(one));
	}
	p->io = loop_io_new(t->l, p->fd, LOOP_READ, on_datagrams, p);
}

void udp_port_close(struct proxy_port *p)
{
	struct proxy_thread *t = p->t;

	for (struct udp_flow *f = t->oldest, *next; f; f = next) {
		next = f->newer;
		if (f->port == p)
			flow_free(f);
	}
	free(p->flows->bucket);
	free(p->flows);
}

static bool among(const struct proxy_balance *b, int fd)
{
	union proxy_addr sa = { 0 }, one;
	socklen_t len = sizeof(sa);

	if (getpeername(fd, &sa.sa, &len) < 0)
		return false;
	for (size_t i = 0; i < b->n; i++) {
		struct proxy_target to = { .addr = b->to[i].addr, .port = b->to[i].port };

		if (proxy_target_addr(&to, &one) == len && memcmp(&one, &sa, len) == 0)
			return true;
	}
	return false;
}

void udp_port_trim(struct proxy_port *p)
{
	for (struct udp_flow *f = p->t->oldest, *next; f; f = next) {
		next = f->newer;
		if (f->port == p && !among(p->to.balance, f->fd))
			flow_free(f);
	}
}
