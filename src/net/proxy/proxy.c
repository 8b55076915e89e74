/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/proxy/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/proxy/proxy_priv.h"

/*
 * Theory of operation. One thread with a loop of its own carries every proxied connection and flow, so that bulk data never delays the
 * engine's loop, and a port costs a descriptor and some two hundred bytes, not a process. The main loop sends it orders (open a port, close ports,
 * end) through loop_post(), answers come back the same way; nothing else is shared but counters.
 *
 * Memory is bounded by descriptors: a TCP connection has two, and two more for each direction that is full at the moment; an association of SCTP has two. A
 * third of the limit may be these; past that, and when the kernel has no descriptors or memory left, accepting stops until some have ended (the kernel's
 * backlog holds the rest).
 */
struct proxy {
	struct loop *main;
	pthread_t thread;
	bool running;
	struct proxy_thread t;
	struct proxy_stat stat;
};

enum { RETRY_MS = 50, CONNS_MIN = 64 };

/* TCP's and SCTP's ports do, UDP's do not. */
static bool accepts(const struct proxy_port *p)
{
	return p->to.proto != IPPROTO_UDP;
}

socklen_t proxy_target_addr(const struct proxy_target *to, union proxy_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is4(&to->addr)) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(to->port);
		ret->v4.sin_addr.s_addr = htonl(addr_to4(&to->addr));
		return sizeof(ret->v4);
	}
	ret->v6.sin6_family = AF_INET6;
	ret->v6.sin6_port = htons(to->port);
	ret->v6.sin6_addr = to->addr;
	return sizeof(ret->v6);
}

static bool is_loopback(const struct in6_addr *a)
{
	return addr_is4(a) ? addr_to4(a) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(a);
}

bool proxy_allows(const struct proxy_port *p, const struct in6_addr *client, const struct in6_addr *local)
{
	const struct proxy_target *to = &p->to;

	for (size_t i = 0; i < p->t->n_barred; i++)
		if (!addr_eq(client, local) && cidr_has(&p->t->barred[i], client))
			return false;
	if (!to->policy || !to->policy->n_sources || addr_eq(client, local) || is_loopback(client))
		return true;
	return net_policy_allows(to->policy, client);
}

bool proxy_pick(struct proxy_target *to, const struct in6_addr *client, uint16_t port)
{
	const struct proxy_balance *b = to->balance;
	uint64_t h = UINT64_C(0x6b65646765);
	uint16_t i;

	if (!b)
		return !addr_is_any(&to->addr);
	for (int k = 0; k < 4; k++)
		h = (h ^ client->s6_addr32[k]) * UINT64_C(0xff51afd7ed558ccd), h ^= h >> 32;
	if (!b->affinity)
		h = (h ^ port) * UINT64_C(0xff51afd7ed558ccd), h ^= h >> 32;
	i = b->slot[h % PROXY_SLOTS];
	if (i == PROXY_NOBODY)
		return false;
	to->addr = b->to[i].addr;
	to->port = b->to[i].port;
	return true;
}

int proxy_bear(const struct proxy_target *to, int fd, const struct in6_addr *client, const struct in6_addr *local)
{
	bool v4 = addr_is4(&to->addr);
	const struct net_cidr *near = v4 ? &to->near4 : &to->near6;
	struct proxy_target own = { .addr = *client };
	union proxy_addr sa;
	int one = 1, rc;

	if (!(v4 ? to->keep4 : to->keep6) || addr_is4(client) != v4 || addr_eq(client, local) || is_loopback(client) || IN6_IS_ADDR_LINKLOCAL(client) ||
	    (near->prefix && cidr_has(near, client)))
		return 0;
	rc = v4 ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) : setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof(one));
	/* The port is chosen by connect(), which knows both ends: of each client there may be as many connections as there are ports. */
	if (rc == 0 && to->proto == IPPROTO_TCP)
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (rc < 0 || bind(fd, &sa.sa, proxy_target_addr(&own, &sa)) < 0)
		return -errno;
	return 0;
}

static void on_retry(void *user)
{
	struct proxy_thread *t = user;

	t->starved = false;
	for (struct proxy_port *p = t->ports; p; p = p->next)
		if (accepts(p))
			loop_io_set(p->io, LOOP_READ);
}

void proxy_starved(struct proxy_thread *t)
{
	static struct log_limit limit;

	if (t->starved)
		return;
	t->starved = true;
	if (log_limit_ok(&limit, 1, 60))
		log_warn("net", "proxy: %u connections, no room for more at the moment: new ones wait", t->conns);
	for (struct proxy_port *p = t->ports; p; p = p->next)
		if (accepts(p))
			loop_io_set(p->io, 0);
	loop_timer_set(t->retry, (int64_t)RETRY_MS * 1000000);
}

static void *thread_main(void *user)
{
	struct proxy *p = user;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	(void)loop_run(p->t.l);
	return NULL;
}

struct proxy *proxy_new(struct loop *main_loop, struct err *e)
{
	struct proxy *p = mem_zalloc(sizeof(*p));
	struct rlimit rl;
	unsigned long fds = 1024;

	p->main = main_loop;
	p->t.stat = &p->stat;
	p->t.l = loop_new_coarse(e);
	if (!p->t.l) {
		free(p);
		return NULL;
	}
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0)
		fds = rl.rlim_cur == RLIM_INFINITY || rl.rlim_cur > 1 << 20 ? 1 << 20 : rl.rlim_cur;
	p->t.conns_max = fds / 6 > CONNS_MIN ? (unsigned)(fds / 6) : CONNS_MIN;
	p->t.flows_max = fds / 6 > CONNS_MIN ? (unsigned)(fds / 6) : CONNS_MIN;
	p->t.buf = mem_alloc(PROXY_BUF);
	p->t.retry = loop_timer_new(p->t.l, on_retry, &p->t);
	udp_thread_init(&p->t);
	return p;
}

static int start(struct proxy *p)
{
	pthread_attr_t a;
	int rc;

	if (p->running)
		return 0;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 256 << 10);
	rc = pthread_create(&p->thread, &a, thread_main, p);
	pthread_attr_destroy(&a);
	p->running = rc == 0;
	return -rc;
}

static void port_free(struct proxy_port *p)
{
	if (p->to.proto == IPPROTO_TCP)
		tcp_port_close(p);
	else if (p->to.proto == IPPROTO_SCTP)
		sctp_port_close(p);
	else
		udp_port_close(p);
	loop_io_free(p->io);
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	(void)close(p->fd);
	free(p->to.balance);
	free(p);
}

static void on_end(void *user)
{
	struct proxy_thread *t = user;

	while (t->ports)
		port_free(t->ports);
	loop_stop(t->l);
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	loop_post(p->t.l, on_end, &p->t);
	if (p->running)
		(void)pthread_join(p->thread, NULL);
	else
		(void)loop_turn(p->t.l, 0);	/* no thread ever ran: its loop is ours */
	loop_timer_free(p->t.retry);
	udp_thread_done(&p->t);
	for (unsigned i = 0; i < p->t.n_pipes; i++) {
		(void)close(p->t.pipes[i].r);
		(void)close(p->t.pipes[i].w);
	}
	loop_free(p->t.l);
	free(p->t.buf);
	free(p->t.barred);
	free(p);
}

static void on_port_open(void *user)
{
	struct proxy_port *p = user;
	union proxy_addr sa = { 0 };
	socklen_t len = sizeof(sa);

	(void)getsockname(p->fd, &sa.sa, &len);
	p->v6 = sa.sa.sa_family == AF_INET6;
	p->at = &p->t->ports;
	p->next = p->t->ports;
	if (p->next)
		p->next->at = &p->next;
	p->t->ports = p;
	if (p->to.proto == IPPROTO_TCP)
		tcp_port_open(p);
	else if (p->to.proto == IPPROTO_SCTP)
		sctp_port_open(p);
	else
		udp_port_open(p);
	if (p->t->starved && accepts(p))
		loop_io_set(p->io, 0);
}

struct proxy_port *proxy_port_open_take(struct proxy *p, int fd, const struct proxy_target *to)
{
	struct proxy_port *pp = mem_zalloc(sizeof(*pp));
	int rc = start(p);

	if (rc < 0)
		log_error("net", "proxy: cannot start its thread: %s; port %u of the container stays unserved past the data path", strerrordesc_np(-rc), to->port);
	pp->t = &p->t;
	pp->fd = fd;
	pp->to = *to;
	/* Without the thread the order waits in the queue: the socket still holds the port, and the next port tries again. */
	loop_post(p->t.l, on_port_open, pp);
	return pp;
}

struct retarget {
	struct proxy_port *port;
	struct proxy_target to;
};

static void on_retarget(void *user)
{
	struct retarget *r = user;
	struct proxy_balance *old = r->port->to.balance;

	if (!accepts(r->port) && r->to.balance) {
		r->port->to = r->to;
		udp_port_trim(r->port);
	} else if (!accepts(r->port)) {
		udp_port_close(r->port);
		loop_io_free(r->port->io);
		r->port->to = r->to;
		udp_port_open(r->port);
	} else {
		r->port->to = r->to;
	}
	free(old);
	free(r);
}

void proxy_port_retarget(struct proxy *p, struct proxy_port *port, const struct proxy_target *to)
{
	struct retarget *r = mem_alloc(sizeof(*r));

	*r = (struct retarget){ .port = port, .to = *to };
	loop_post(p->t.l, on_retarget, r);
}

struct barring {
	struct proxy_thread *t;
	struct net_cidr *c;
	size_t n;
};

static void on_bar(void *user)
{
	struct barring *b = user;

	free(b->t->barred);
	b->t->barred = b->c;
	b->t->n_barred = b->n;
	free(b);
}

void proxy_bar(struct proxy *p, const struct net_cidr *c, size_t n)
{
	struct barring *b = mem_alloc(sizeof(*b));

	*b = (struct barring){ .t = &p->t, .c = mem_zalloc((n ? n : 1) * sizeof(*c)), .n = n };
	if (n)
		memcpy(b->c, c, n * sizeof(*c));
	/* Before any port that is opened later: orders keep their order. */
	loop_post(p->t.l, on_bar, b);
}

struct closing {
	struct proxy *p;
	size_t n;
	void (*done)(void *user);
	void *user;
	struct proxy_port *ports[];
};

static void on_closed(void *user)
{
	struct closing *c = user;

	c->done(c->user);
	free(c);
}

static void on_ports_close(void *user)
{
	struct closing *c = user;

	for (size_t i = 0; i < c->n; i++)
		port_free(c->ports[i]);
	loop_post(c->p->main, on_closed, c);
}

void proxy_ports_close(struct proxy *p, struct proxy_port *const *ports, size_t n, void (*done)(void *user), void *user)
{
	struct closing *c = mem_alloc(sizeof(*c) + n * sizeof(c->ports[0]));

	*c = (struct closing){ .p = p, .n = n, .done = done, .user = user };
	memcpy(c->ports, ports, n * sizeof(c->ports[0]));
	if (p->running) {
		loop_post(p->t.l, on_ports_close, c);
		return;
	}
	/* No thread ever ran: its loop is ours. The queued openings come first. */
	loop_post(p->t.l, on_ports_close, c);
	(void)loop_turn(p->t.l, 0);
}

void proxy_counts(const struct proxy *p, struct proxy_counts *ret)
{
	const struct proxy_stat *s = &p->stat;

	*ret = (struct proxy_counts){
		.tcp_opened = s->tcp_opened, .tcp_failed = s->tcp_failed, .tcp_bytes = s->tcp_bytes, .udp_flows = s->udp_flows,
		.udp_packets = s->udp_packets, .udp_dropped = s->udp_dropped, .tcp_now = s->tcp_now, .udp_now = s->udp_now,
		.sctp_opened = s->sctp_opened, .sctp_failed = s->sctp_failed, .sctp_messages = s->sctp_messages, .sctp_now = s->sctp_now,
	};
}
