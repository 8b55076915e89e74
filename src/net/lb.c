/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/lb.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/maglev.h"
#include "net/sandbox.h"

/* Backends as others name them, by address, into what the data path needs: their endpoints' generations. */

static const struct endpoint *owner_of(const struct net *n, const struct in6_addr *a)
{
	struct sandbox *s;
	size_t it = 0;

	while ((s = map_next(n->sandboxes, &it, NULL))) {
		const struct endpoint *ep = sandbox_by_addr(s, a);

		if (ep)
			return ep;
	}
	return NULL;
}

static struct dp_lb dp_of(const struct net_lb *lb)
{
	return (struct dp_lb){ .proto = lb->proto, .addr = lb->addr, .port = lb->port, .affinity = lb->affinity };
}

/* ---- what is relayed by the engine ---- */

struct lb_relay {
	struct net *n;
	struct lb_relay *next;
	struct net_lb lb;
	struct net_lb_backend *b;
	size_t len;
	struct port_bound *bound;	/* NULL: not an address of ours */
	size_t n_bound;
	struct proxy_port *port;
};

static struct lb_relay **find(struct net *n, const struct net_lb *lb)
{
	struct lb_relay **at = &n->lbs;

	while (*at && !((*at)->lb.proto == lb->proto && (*at)->lb.port == lb->port && addr_eq(&(*at)->lb.addr, &lb->addr)))
		at = &(*at)->next;
	return at;
}

static struct proxy_balance *balance_of(const struct net_lb *lb, const struct net_lb_backend *b, size_t len)
{
	struct proxy_balance *p = mem_zalloc(sizeof(*p) + len * sizeof(p->to[0]));
	CLEANUP(mem_freep) struct maglev *m = mem_zalloc((len ? len : 1) * sizeof(*m));

	_Static_assert((int)PROXY_NOBODY == (int)MAGLEV_NONE, "one table for both");
	p->affinity = lb->affinity;
	p->n = len;
	for (size_t i = 0; i < len; i++) {
		struct { struct in6_addr addr; uint16_t port; } name = { b[i].addr, b[i].port };

		m[i] = (struct maglev){ .key = maglev_key(&name, sizeof(name)), .weight = b[i].weight };
		p->to[i] = (struct proxy_backend){ b[i].addr, b[i].port };
	}
	maglev_fill(m, len, p->slot, PROXY_SLOTS);
	return p;
}

static struct proxy_target target_of(const struct lb_relay *r)
{
	return (struct proxy_target){ .proto = r->lb.proto, .balance = balance_of(&r->lb, r->b, r->len) };
}

static void relay_set(struct lb_relay *r, const struct net_lb_backend *b, size_t len)
{
	struct proxy_target to;

	if (b != r->b) {
		free(r->b);
		r->b = mem_alloc((len ? len : 1) * sizeof(*b));
		if (len)
			memcpy(r->b, b, len * sizeof(*b));
	}
	r->len = len;
	if (!r->port)
		return;
	to = target_of(r);
	proxy_port_retarget(r->n->proxy, r->port, &to);
}

static void relay_free(struct lb_relay *r)
{
	port_release(r->n->ports, r->bound, r->n_bound);
	free(r->bound);
	free(r->b);
	free(r);
}

static int relay_new(struct net *n, const struct net_lb *lb, struct lb_relay **ret, struct err *e)
{
	struct lb_relay *r = mem_zalloc(sizeof(*r));
	struct net_port p = { .proto = lb->proto, .port = lb->port, .host_port = lb->port, .host_port_end = lb->port };
	struct proxy_target to;

	r->n = n;
	r->lb = *lb;
	(void)snprintf(p.host_ip, sizeof(p.host_ip), "%s", addr_is4(&lb->addr) && addr_is_any(&lb->addr) ? "0.0.0.0" : addr_text(&lb->addr, p.host_ip));
	if (port_reserve(n->ports, &p, 1, &lb->addr, &r->bound, &r->n_bound, e) < 0) {
		if (e->sys != EADDRNOTAVAIL || n->ops == &dp_none) {
			free(r);
			return -1;
		}
		err_clear(e);
	} else if (!r->bound[0].relayed && !n->ops->sctp) {
		relay_free(r);
		return err_set(e, ERR_NOT_IMPLEMENTED, "port %u/sctp cannot be published: --datapath=%s relays it by the kernel's SCTP sockets, and this kernel has none (its module sctp)",
			       lb->port, n->ops->name);
	} else if (r->bound[0].relayed) {
		to = target_of(r);
		r->port = proxy_port_open_take(n->proxy, TAKE_FD(r->bound[0].fd), &to);
	}
	*ret = r;
	return 0;
}

static void on_closed(void *user)
{
	struct lb_relay *r = user;

	r->n->pending--;
	relay_free(r);
}

static void relay_del(struct lb_relay **at)
{
	struct lb_relay *r = *at;

	*at = r->next;
	if (!r->port) {
		relay_free(r);
		return;
	}
	r->n->pending++;
	proxy_ports_close(r->n->proxy, &r->port, 1, on_closed, r);
}

static int set(struct net *n, const struct net_lb *lb, const struct net_lb_backend *b, size_t len, struct err *e);

void lb_forget(struct net *n, const struct in6_addr *backend)
{
	for (struct lb_relay *r = n->lbs; r; r = r->next) {
		struct err e = { 0 };
		size_t kept = 0;

		for (size_t i = 0; i < r->len; i++)
			if (!addr_eq(&r->b[i].addr, backend))
				r->b[kept++] = r->b[i];
		if (kept == r->len)
			continue;
		relay_set(r, r->b, kept);
		if (set(n, &r->lb, r->b, kept, &e) < 0)
			log_warn("net", "a set of backends keeps one that is gone: %s", e.msg);
	}
}

void lb_free_all(struct net *n)
{
	while (n->lbs) {
		struct lb_relay *next = n->lbs->next;

		relay_free(n->lbs);
		n->lbs = next;
	}
}

/* ---- both ---- */

static int set(struct net *n, const struct net_lb *lb, const struct net_lb_backend *b, size_t len, struct err *e)
{
	CLEANUP(mem_freep) struct dp_backend *to = mem_zalloc((len ? len : 1) * sizeof(*to));
	struct dp_lb d = dp_of(lb);
	char t[ADDR_TEXT];

	if (len > MAGLEV_MAX)
		return err_set(e, ERR_INVALID, "%zu backends behind %s port %u are more than %d", len, addr_text(&lb->addr, t), lb->port, MAGLEV_MAX);
	for (size_t i = 0; i < len; i++) {
		const struct endpoint *ep = owner_of(n, &b[i].addr);

		if (addr_is4(&b[i].addr) != addr_is4(&lb->addr))
			return err_set(e, ERR_INVALID, "the backend %s is of another address family than what it is to serve", addr_text(&b[i].addr, t));
		if (!ep)
			return err_set(e, ERR_NOT_FOUND, "the backend %s is no container's address", addr_text(&b[i].addr, t));
		to[i] = (struct dp_backend){ .addr = b[i].addr, .port = b[i].port, .generation = ep->generation, .weight = b[i].weight };
	}
	return n->ops->lb_set(n->dp, &d, to, len, e);
}

int net_lb_set(struct net *n, const struct net_lb *lb, const struct net_lb_backend *b, size_t len, struct err *e)
{
	struct lb_relay **at = find(n, lb), *r = *at;

	if (set(n, lb, b, len, e) < 0)
		return -1;
	if (!r && relay_new(n, lb, &r, e) < 0) {
		struct dp_lb d = dp_of(lb);

		(void)n->ops->lb_del(n->dp, &d);
		return -1;
	}
	*at = r;
	r->lb = *lb;
	relay_set(r, b, len);
	return 0;
}

int net_lb_del(struct net *n, const struct net_lb *lb)
{
	struct lb_relay **at = find(n, lb);
	struct dp_lb d = dp_of(lb);

	if (*at)
		relay_del(at);
	return n->ops->lb_del(n->dp, &d);
}
