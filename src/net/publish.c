/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/publish.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/inuse.h"

/*
 * Theory of operation. A published port is two claims. The table says which container has it, so that a second container is refused with
 * the words docker uses; the socket says the same to the rest of the host, so that no process gets a port whose packets the data path takes
 * away from it, and it is the proxy's listener for whatever the data path leaves over. The table is looked at first: a socket of ours
 * would refuse the second container too, but could not say who has the port.
 *
 * A port on every address is one IPv6 socket that takes IPv4 too: half the descriptors, and one kernel decision for both families. Without
 * IPv6 in the kernel it is an IPv4 socket. Two containers may have the same port on different addresses; every address overlaps each.
 *
 * A kernel without SCTP sockets has nobody who could ask for one's port: there the table is all there is, and SCTP is for the data path alone. What programs
 * with an SCTP of their own on raw sockets use is not known to any kernel.
 *
 * Runs of PORT_RUN_MIN and more consecutive ports are one claim and have one socket, on their first port, where the data path keeps the others
 * (bpf/ports.bpf.c), which it cannot for SCTP's sockets. Whether a process has one of those is asked of the kernel once for all; of a kernel that cannot tell, by binding each for a moment.
 *
 * The table is an open hash over (proto, port) with chains, and a list of the runs, which are few; the lock is held for lookups only.
 */
enum { BUCKETS = 4096, BACKLOG = 4096 };

struct claim {
	struct claim *next;
	struct in6_addr addr;		/* :: every address of the families */
	uint8_t proto;
	bool v4, v6;
	uint16_t port, count;
};

struct port_table {
	pthread_mutex_t lock;
	struct claim *bucket[BUCKETS], *runs;
	size_t n;			/* ports */
	bool ranges;
};

struct port_table *port_table_new(void)
{
	struct port_table *t = mem_zalloc(sizeof(*t));

	pthread_mutex_init(&t->lock, NULL);
	return t;
}

void port_table_free(struct port_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i <= BUCKETS; i++)
		for (struct claim *c = i < BUCKETS ? t->bucket[i] : t->runs, *next; c; c = next) {
			next = c->next;
			free(c);
		}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

size_t port_table_len(struct port_table *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}

static struct claim **bucket(struct port_table *t, uint8_t proto, unsigned port)
{
	return &t->bucket[(port ^ (unsigned)proto << 11) % BUCKETS];
}

/* The first port of b that c has too; 0: none. */
static unsigned overlap(const struct claim *c, const struct port_bound *b)
{
	unsigned from = c->port > b->host_port ? c->port : b->host_port;

	return c->proto == b->proto && from < (unsigned)c->port + c->count && from < (unsigned)b->host_port + b->count &&
	       ((c->v4 && b->v4) || (c->v6 && b->v6)) &&
	       (addr_is_any(&c->addr) || addr_is_any(&b->host_addr) || addr_eq(&c->addr, &b->host_addr)) ? from : 0;
}

static unsigned taken(struct port_table *t, const struct port_bound *b)
{
	unsigned hit = 0;

	for (struct claim *c = t->runs; c && !hit; c = c->next)
		hit = overlap(c, b);
	for (unsigned i = 0; i < b->count && !hit; i++)
		for (struct claim *c = *bucket(t, b->proto, b->host_port + i); c && !hit; c = c->next)
			hit = overlap(c, b);
	return hit;
}

/* 0, or the port that somebody has. */
static unsigned claim(struct port_table *t, const struct port_bound *b)
{
	struct claim **at = b->count > 1 ? &t->runs : bucket(t, b->proto, b->host_port);
	unsigned hit;

	pthread_mutex_lock(&t->lock);
	hit = taken(t, b);
	if (!hit) {
		struct claim *mine = mem_zalloc(sizeof(*mine));

		*mine = (struct claim){ .next = *at, .addr = b->host_addr, .proto = b->proto, .v4 = b->v4, .v6 = b->v6, .port = b->host_port,
					.count = b->count };
		*at = mine;
		t->n += b->count;
	}
	pthread_mutex_unlock(&t->lock);
	return hit;
}

static void unclaim(struct port_table *t, const struct port_bound *b)
{
	struct claim **at = b->count > 1 ? &t->runs : bucket(t, b->proto, b->host_port);

	pthread_mutex_lock(&t->lock);
	for (; *at; at = &(*at)->next)
		if ((*at)->proto == b->proto && (*at)->port == b->host_port && (*at)->count == b->count && (*at)->v4 == b->v4 && (*at)->v6 == b->v6 &&
		    addr_eq(&(*at)->addr, &b->host_addr)) {
			struct claim *c = *at;

			*at = c->next;
			t->n -= c->count;
			free(c);
			break;
		}
	pthread_mutex_unlock(&t->lock);
}

/* A socket of one family on addr:port, listening where it is to be kept; its port in *port when that was 0. fd or -errno. */
static int sock_bind(uint8_t proto, const struct in6_addr *addr, bool v6, bool only, bool keep, uint16_t *port)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} sa = { 0 };
	socklen_t len = v6 ? sizeof(sa.v6) : sizeof(sa.v4);
	int type = proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, one = 1, off = only, rc;
	static const char loopback[] = "lo";
	CLEANUP(fd_closep) int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, proto);

	if (fd < 0)
		return -errno;
	if (v6) {
		sa.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(*port), .sin6_addr = *addr };
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
			return -errno;
	} else {
		sa.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(*port) };
		if (addr_is4(addr))
			sa.v4.sin_addr.s_addr = htonl(addr_to4(addr));
	}
	/* A host that routes 127.0.0.0/8 (route_localnet, which kube-proxy and others switch on) would let neighbours in. The host itself comes by lo, always. */
	if (addr_is_loopback(addr) && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, loopback, sizeof(loopback)) < 0)
		return -errno;
	if (proto != IPPROTO_UDP) {
		/* Connections of an earlier run that are still ending must not keep the port from us; a listener still does. */
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	} else if (keep) {
		/* Replies leave with the address the client wrote to. */
		(void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		if (v6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	}
	if (bind(fd, &sa.sa, len) < 0)
		return -errno;
	if (proto != IPPROTO_UDP && keep && listen(fd, BACKLOG) < 0)
		return -errno;
	if (!*port) {
		if (getsockname(fd, &sa.sa, &len) < 0)
			return -errno;
		*port = ntohs(v6 ? sa.v6.sin6_port : sa.v4.sin_port);
	}
	rc = TAKE_FD(fd);
	return rc;
}

/* What the kernel would have done, of the range it gives to sockets. The table says whether a container has it. 0 or -errno. */
static int random_port(struct port_bound *b)
{
	char line[64] = "";
	unsigned from, to;

	if (file_read_line("/proc/sys/net/ipv4/ip_local_port_range", line, sizeof(line)) < 0 || sscanf(line, "%u %u", &from, &to) != 2 || !from || to > 65535 ||
	    from > to) {
		from = 32768;
		to = 60999;
	}
	b->host_port = (uint16_t)(from + rand_u32() % (to - from + 1));
	return 0;
}

static int port_bind(struct port_bound *b, bool keep)
{
	uint16_t port = b->host_port;
	int fd;

	if (b->v4 && b->v6) {
		fd = sock_bind(b->proto, &b->host_addr, true, false, keep, &port);
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			fd = sock_bind(b->proto, &b->host_addr, false, true, keep, &port);
	} else {
		fd = sock_bind(b->proto, &b->host_addr, b->v6, true, keep, &port);
	}
	if (b->proto == IPPROTO_SCTP && (fd == -EPROTONOSUPPORT || fd == -ESOCKTNOSUPPORT))
		return b->host_port ? 0 : random_port(b);
	if (fd < 0)
		return fd;
	b->relayed = true;
	if (keep)
		b->fd = fd;
	else
		(void)close(fd);
	b->host_port = port;
	return 0;
}

/* host_ip as net_port has it: "" every address, "0.0.0.0" every IPv4, "::" every IPv6 address. */
static int bound_init(struct port_bound *b, const struct net_port *p, struct err *e)
{
	*b = (struct port_bound){ .proto = p->proto, .port = p->port, .host_port = p->host_port, .fd = -1, .v4 = true, .v6 = true,
				  .count = (uint16_t)net_port_count(p), .relayed = p->proto != IPPROTO_SCTP };
	if (!*p->host_ip)
		return 0;
	if (addr_parse(p->host_ip, &b->host_addr) < 0)
		return err_set(e, ERR_INVALID, "invalid host address '%s' for port %u", p->host_ip, p->port);
	b->v4 = addr_is4(&b->host_addr);
	b->v6 = !b->v4;
	if (addr_is_any(&b->host_addr))
		b->host_addr = in6addr_any;
	return 0;
}

static const char *host_text(const struct port_bound *b, char *out)
{
	return !addr_is_any(&b->host_addr) ? addr_text(&b->host_addr, out) : b->v4 ? "0.0.0.0" : "::";
}

static int foreign(const struct port_bound *b, const struct in6_addr *addr, int errnum, struct err *e)
{
	char ht[ADDR_TEXT], ct[ADDR_TEXT];
	const char *proto = proto_text(b->proto);
	bool v6 = strchr(host_text(b, ht), ':');
	const char *why = errnum == EADDRINUSE ? "address already in use" : errnum == EADDRNOTAVAIL ? "cannot assign requested address" : strerrordesc_np(errnum);

	err_set(e, ERR_INTERNAL, "failed to bind host port for %s%s%s:%u:%s:%u/%s: %s", v6 ? "[" : "", host_text(b, ht), v6 ? "]" : "",
		b->host_port, addr_text(addr, ct), b->port, proto, why ? why : "unknown error");
	if (e)
		e->sys = errnum;
	return -1;
}

static int allocated(const struct port_bound *b, unsigned port, struct err *e)
{
	char ht[ADDR_TEXT];

	return err_set(e, ERR_INTERNAL, "Bind for %s:%u failed: port is already allocated", host_text(b, ht), port);
}

static int reserve_one(struct port_table *t, const struct net_port *p, const struct in6_addr *addr, struct port_bound *b, struct err *e)
{
	char ht[ADDR_TEXT];
	unsigned end = p->host_port_end > p->host_port ? p->host_port_end : p->host_port, hit = 0;
	int rc = 0, foreign_rc = 0;

	if (bound_init(b, p, e) < 0)
		return -1;
	if (!p->host_port) {
		/* The kernel does not hand a bound port out twice; one that is ours without a socket (adoption) can come up: again, then. */
		for (int i = 0; i < 16; i++) {
			b->host_port = 0;
			rc = port_bind(b, true);
			if (rc < 0)
				return foreign(b, addr, -rc, e);
			if (!claim(t, b))
				return 0;
			if (b->fd >= 0)
				(void)close(TAKE_FD(b->fd));
		}
		return err_set(e, ERR_UNAVAILABLE, "no free host port was found for port %u", p->port);
	}
	for (unsigned port = p->host_port; port <= end; port++) {
		b->host_port = (uint16_t)port;
		hit = claim(t, b);
		if (hit)
			continue;
		rc = port_bind(b, true);
		if (rc == 0)
			return 0;
		unclaim(t, b);
		if (p->host_port == end)
			return foreign(b, addr, -rc, e);
		foreign_rc = rc;
		/* A range is there to be tried; what is not about this one port ends it. */
		if (rc != -EADDRINUSE && rc != -EACCES)
			return foreign(b, addr, -rc, e);
	}
	if (p->host_port < end)
		return err_set(e, ERR_INTERNAL, "Bind for %s:%u-%u failed: all ports are allocated%s", host_text(b, ht), p->host_port, end,
			       foreign_rc ? " or in use by other processes" : "");
	return allocated(b, hit, e);
}

void port_table_ranges(struct port_table *t)
{
	t->ranges = true;
}

/* Has the kernel sockets for SCTP? Asking loads the module. */
static bool has_sctp(const struct net_port *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].proto == IPPROTO_SCTP) {
			CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);

			return fd >= 0;
		}
	return false;
}

/* What is kept by one socket, or none, is one piece; the rest is a piece each. */
static size_t pieces(const struct port_table *t, const struct net_port *p, bool sctp)
{
	unsigned n = net_port_count(p);

	return t->ranges && n >= PORT_RUN_MIN && p->host_port && !(sctp && p->proto == IPPROTO_SCTP) ? 1 : n;
}

static struct net_port piece(const struct net_port *p, size_t of, size_t i)
{
	struct net_port one = *p;

	if (of == 1)
		return one;
	one.port = (uint16_t)(p->port + i);
	if (p->host_port)
		one.host_port = one.host_port_end = (uint16_t)(p->host_port + i);
	one.count = 1;
	return one;
}

static struct port_bound *bounds_new(const struct port_table *t, const struct net_port *p, size_t n, bool sctp, struct err *e)
{
	struct port_bound *b;
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += pieces(t, &p[i], sctp);
	b = mem_try((total ? total : 1) * sizeof(*b), SIZE_MAX / 2);
	if (!b)
		err_set(e, ERR_UNAVAILABLE, "no memory for %zu published ports", total);
	return b;
}

struct check {
	const struct port_bound *b;
	size_t n;
	uint8_t proto;
	bool found;
	struct port_bound hit;
};

static struct port_bound one_of(const struct port_bound *run, unsigned i)
{
	struct port_bound b = *run;

	b.port = (uint16_t)(run->port + i);
	b.host_port = (uint16_t)(run->host_port + i);
	b.count = 1;
	b.fd = -1;
	return b;
}

/* The port of a run that a socket of the host has: one without a socket of ours. */
static void on_inuse(void *user, const struct inuse_sock *s)
{
	struct check *c = user;

	for (size_t i = 0; i < c->n && !c->found; i++) {
		const struct port_bound *b = &c->b[i];

		c->found = b->proto == c->proto && s->port > b->host_port && s->port < b->host_port + b->count &&
			   ((s->v4 && b->v4) || (s->v6 && b->v6)) &&
			   (addr_is_any(&s->addr) || addr_is_any(&b->host_addr) || addr_eq(&s->addr, &b->host_addr));
		if (c->found)
			c->hit = one_of(b, (unsigned)s->port - b->host_port);
	}
}

static int run_check(struct check *c, const struct in6_addr *addr, struct err *e)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	int rc = 0;

	for (size_t i = 0; i < N(protos) && rc == 0 && !c->found; i++) {
		c->proto = protos[i];
		rc = inuse_each(c->proto, on_inuse, c);
	}
	for (size_t i = 0; i < c->n && !c->found; i++)
		for (unsigned k = rc < 0 || c->b[i].proto == IPPROTO_SCTP ? 1 : c->b[i].count; k < c->b[i].count && !c->found; k++) {
			c->hit = one_of(&c->b[i], k);
			c->found = port_bind(&c->hit, false) < 0;
		}
	return c->found ? foreign(&c->hit, addr, EADDRINUSE, e) : 0;
}

int port_reserve(struct port_table *t, const struct net_port *p, size_t n, const struct in6_addr *addr, struct port_bound **ret, size_t *n_ret,
		 struct err *e)
{
	bool sctp = has_sctp(p, n);
	struct port_bound *b = bounds_new(t, p, n, sctp, e);
	bool runs = false;
	size_t len = 0;

	if (!b)
		return -1;
	for (size_t i = 0; i < n; i++) {
		size_t of = pieces(t, &p[i], sctp);

		for (size_t k = 0; k < of; k++, len++) {
			struct net_port one = piece(&p[i], of, k);

			if (reserve_one(t, &one, addr, &b[len], e) < 0)
				goto fail;
			runs |= b[len].count > 1;
		}
	}
	if (runs && run_check(&(struct check){ .b = b, .n = len }, addr, e) < 0)
		goto fail;
	*ret = b;
	*n_ret = len;
	return 0;
fail:
	port_release(t, b, len);
	free(b);
	return -1;
}

int port_adopt(struct port_table *t, const struct net_port *p, size_t n, void (*lost)(void *user, const struct port_bound *b, int errnum), void *user,
	       struct port_bound **ret, size_t *n_ret, struct err *e)
{
	bool sctp = has_sctp(p, n);
	struct port_bound *b = bounds_new(t, p, n, sctp, e);
	size_t len = 0;

	if (!b)
		return -1;
	for (size_t i = 0; i < n; i++) {
		size_t of = pieces(t, &p[i], sctp);

		for (size_t k = 0; k < of; k++) {
			struct net_port one = piece(&p[i], of, k);
			unsigned hit;
			int rc;

			if (bound_init(&b[len], &one, e) < 0)
				goto fail;
			hit = claim(t, &b[len]);
			if (hit) {
				allocated(&b[len], hit, e);
				goto fail;
			}
			rc = port_bind(&b[len], true);
			if (rc < 0)
				lost(user, &b[len], -rc);
			len++;
		}
	}
	*ret = b;
	*n_ret = len;
	return 0;
fail:
	port_release(t, b, len);
	free(b);
	return -1;
}

void port_release(struct port_table *t, struct port_bound *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unclaim(t, &b[i]);
		if (b[i].fd >= 0)
			(void)close(TAKE_FD(b[i].fd));
	}
}
