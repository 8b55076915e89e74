/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/publish.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

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
 * Runs of RUN_MIN and more consecutive ports have one socket, on their first port, where the data path keeps the others (bpf/ports.bpf.c). Whether
 * a process has one of those is asked of the kernel once for all; of a kernel that cannot tell, by binding each for a moment.
 *
 * The table is an open hash over (proto, port) with chains; the lock is held for lookups only, never over a system call but bind, which
 * does not block.
 */
enum {
	BUCKETS = 4096, BACKLOG = 4096,
	RUN_MIN = 32,			/* fewer are not worth the data path's while: a socket is exact */
};

struct claim {
	struct claim *next;
	struct in6_addr addr;		/* :: every address of the families */
	uint8_t proto;
	bool v4, v6;
	uint16_t port;
};

struct port_table {
	pthread_mutex_t lock;
	struct claim *bucket[BUCKETS];
	size_t n;
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
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct claim *c = t->bucket[i], *next; c; c = next) {
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

static struct claim **bucket(struct port_table *t, uint8_t proto, uint16_t port)
{
	return &t->bucket[(port ^ (unsigned)proto << 11) % BUCKETS];
}

static bool overlap(const struct claim *c, const struct port_bound *b)
{
	return c->proto == b->proto && c->port == b->host_port && ((c->v4 && b->v4) || (c->v6 && b->v6)) &&
	       (addr_is_any(&c->addr) || addr_is_any(&b->host_addr) || addr_eq(&c->addr, &b->host_addr));
}

static bool claim(struct port_table *t, const struct port_bound *pb)
{
	struct claim **b = bucket(t, pb->proto, pb->host_port), *c;

	pthread_mutex_lock(&t->lock);
	for (c = *b; c; c = c->next)
		if (overlap(c, pb))
			break;
	if (!c) {
		struct claim *mine = mem_zalloc(sizeof(*mine));

		*mine = (struct claim){ .next = *b, .addr = pb->host_addr, .proto = pb->proto, .v4 = pb->v4, .v6 = pb->v6, .port = pb->host_port };
		*b = mine;
		t->n++;
	}
	pthread_mutex_unlock(&t->lock);
	return !c;
}

static void unclaim(struct port_table *t, const struct port_bound *pb)
{
	struct claim **at = bucket(t, pb->proto, pb->host_port);

	pthread_mutex_lock(&t->lock);
	for (; *at; at = &(*at)->next)
		if ((*at)->proto == pb->proto && (*at)->port == pb->host_port && (*at)->v4 == pb->v4 && (*at)->v6 == pb->v6 &&
		    addr_eq(&(*at)->addr, &pb->host_addr)) {
			struct claim *c = *at;

			*at = c->next;
			free(c);
			t->n--;
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
	int type = proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, one = 1, off = only, rc;
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
	if (proto == IPPROTO_TCP) {
		/* Connections of an earlier run in TIME_WAIT must not keep the port from us; a listener still does. */
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	} else if (keep) {
		/* Replies leave with the address the client wrote to. */
		(void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		if (v6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	}
	if (bind(fd, &sa.sa, len) < 0)
		return -errno;
	if (proto == IPPROTO_TCP && keep && listen(fd, BACKLOG) < 0)
		return -errno;
	if (!*port) {
		if (getsockname(fd, &sa.sa, &len) < 0)
			return -errno;
		*port = ntohs(v6 ? sa.v6.sin6_port : sa.v4.sin_port);
	}
	rc = TAKE_FD(fd);
	return rc;
}

static int port_bind(struct port_bound *b)
{
	uint16_t port = b->host_port;
	bool keep = b->count != 0;
	int fd;

	if (b->v4 && b->v6) {
		fd = sock_bind(b->proto, &b->host_addr, true, false, keep, &port);
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			fd = sock_bind(b->proto, &b->host_addr, false, true, keep, &port);
	} else {
		fd = sock_bind(b->proto, &b->host_addr, b->v6, true, keep, &port);
	}
	if (fd < 0)
		return fd;
	if (keep)
		b->fd = fd;
	else
		(void)close(fd);
	b->host_port = port;
	return 0;
}

/* Keeps the count. host_ip as net_port has it: "" every address, "0.0.0.0" every IPv4, "::" every IPv6 address. */
static int bound_init(struct port_bound *b, const struct net_port *p, struct err *e)
{
	*b = (struct port_bound){ .proto = p->proto, .port = p->port, .host_port = p->host_port, .fd = -1, .v4 = true, .v6 = true, .count = b->count };
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
	const char *proto = b->proto == IPPROTO_TCP ? "tcp" : "udp";
	bool v6 = strchr(host_text(b, ht), ':');
	const char *why = errnum == EADDRINUSE ? "address already in use" : errnum == EADDRNOTAVAIL ? "cannot assign requested address" : strerrordesc_np(errnum);

	err_set(e, ERR_INTERNAL, "failed to bind host port for %s%s%s:%u:%s:%u/%s: %s", v6 ? "[" : "", host_text(b, ht), v6 ? "]" : "",
		b->host_port, addr_text(addr, ct), b->port, proto, why ? why : "unknown error");
	if (e)
		e->sys = errnum;
	return -1;
}

static int reserve_one(struct port_table *t, const struct net_port *p, const struct in6_addr *addr, struct port_bound *b, struct err *e)
{
	char ht[ADDR_TEXT];
	unsigned end = p->host_port_end > p->host_port ? p->host_port_end : p->host_port;
	int rc = 0, foreign_rc = 0;

	if (bound_init(b, p, e) < 0)
		return -1;
	if (!p->host_port) {
		/* The kernel does not hand a bound port out twice; one that is ours without a socket (adoption) can come up: again, then. */
		for (int i = 0; i < 16; i++) {
			b->host_port = 0;
			rc = port_bind(b);
			if (rc < 0)
				return foreign(b, addr, -rc, e);
			if (claim(t, b))
				return 0;
			(void)close(b->fd);
			b->fd = -1;
		}
		return err_set(e, ERR_UNAVAILABLE, "no free host port was found for port %u", p->port);
	}
	for (unsigned port = p->host_port; port <= end; port++) {
		b->host_port = (uint16_t)port;
		if (!claim(t, b))
			continue;
		rc = b->count ? port_bind(b) : 0;
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
	return err_set(e, ERR_INTERNAL, "Bind for %s:%u failed: port is already allocated", host_text(b, ht), p->host_port);
}

void port_table_ranges(struct port_table *t)
{
	t->ranges = true;
}

static bool follows(const struct net_port *a, const struct net_port *b)
{
	return a->proto == b->proto && a->host_port && a->host_port_end <= a->host_port && b->host_port_end <= b->host_port &&
	       b->host_port == a->host_port + 1 && b->port == a->port + 1 && str_eq(a->host_ip, b->host_ip);
}

void port_runs(const struct port_table *t, const struct net_port *p, size_t n, struct port_bound *b)
{
	for (size_t i = 0, len; i < n; i += len) {
		for (len = 1; t->ranges && i + len < n && follows(&p[i + len - 1], &p[i + len]); len++)
			;
		for (size_t k = 0; k < len; k++)
			b[i + k].count = len < RUN_MIN ? 1 : k ? 0 : (uint16_t)len;
	}
}

struct check {
	const struct port_bound *b, *hit;
	size_t n;
	uint8_t proto;
};

/* The port of a run that a socket of the host has: one without a socket of ours. */
static void on_inuse(void *user, const struct inuse_sock *s)
{
	struct check *c = user;

	for (size_t i = 0; i < c->n && !c->hit; i += c->b[i].count) {
		const struct port_bound *head = &c->b[i], *b = head + (s->port - head->host_port);

		if (head->proto == c->proto && s->port > head->host_port && s->port < head->host_port + head->count &&
		    ((s->v4 && b->v4) || (s->v6 && b->v6)) &&
		    (addr_is_any(&s->addr) || addr_is_any(&b->host_addr) || addr_eq(&s->addr, &b->host_addr)))
			c->hit = b;
	}
}

static int run_check(struct check *c, const struct in6_addr *addr, struct err *e)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	int rc = 0;

	for (size_t i = 0; i < N(protos) && rc == 0 && !c->hit; i++) {
		c->proto = protos[i];
		rc = inuse_each(c->proto, on_inuse, c);
	}
	for (size_t i = 0; i < c->n && rc < 0 && !c->hit; i++) {
		struct port_bound probe = c->b[i];

		if (!probe.count && port_bind(&probe) < 0)
			c->hit = &c->b[i];
	}
	return c->hit ? foreign(c->hit, addr, EADDRINUSE, e) : 0;
}

int port_reserve(struct port_table *t, const char *owner, const struct net_port *p, size_t n, const struct in6_addr *addr, struct port_bound **ret,
		 struct err *e)
{
	struct port_bound *b = mem_try((n ? n : 1) * sizeof(*b), SIZE_MAX / 2);
	bool runs = false;

	if (!b)
		return err_set(e, ERR_UNAVAILABLE, "no memory for %zu published ports", n);
	port_runs(t, p, n, b);
	for (size_t i = 0; i < n; i++) {
		runs |= !b[i].count;
		if (reserve_one(t, &p[i], addr, &b[i], e) < 0) {
			port_release(t, b, i);
			free(b);
			return -1;
		}
	}
	if (runs && run_check(&(struct check){ .b = b, .n = n }, addr, e) < 0) {
		port_release(t, b, n);
		free(b);
		return -1;
	}
	*ret = b;
	return 0;
}

int port_adopt(struct port_table *t, const char *owner, const struct net_port *p, struct port_bound *ret, struct err *e)
{
	char ht[ADDR_TEXT];
	int rc;

	if (bound_init(ret, p, e) < 0)
		return -1;
	if (!claim(t, ret))
		return err_set(e, ERR_INTERNAL, "Bind for %s:%u failed: port is already allocated", host_text(ret, ht), ret->host_port);
	if (!ret->count)
		return 0;
	rc = port_bind(ret);
	return rc < 0 ? -rc : 0;
}

void port_release(struct port_table *t, struct port_bound *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unclaim(t, &b[i]);
		if (b[i].fd >= 0)
			(void)close(TAKE_FD(b[i].fd));
	}
}
