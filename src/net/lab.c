/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/lab.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/sandbox.h"

/* Flows and drops with the names net knows; whose containers they are is for the engine to say. */

static const char *proto_name(uint8_t p, char *number)
{
	switch (p) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return proto_text(p);
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmp6";
	}
	(void)snprintf(number, 8, "%u", p);
	return number;
}

static const char *sandbox_at(struct net *n, const struct in6_addr *a)
{
	struct sandbox *s;
	size_t it = 0;

	while ((s = map_next(n->sandboxes, &it, NULL)))
		if (sandbox_by_addr(s, a))
			return s->id;
	return "";
}

/* ---- flows ---- */

struct flows {
	struct net *n;
	const char *sandbox;
	struct dp_flow *f;
	size_t len, cap;
};

static void on_flow(void *user, const struct dp_flow *f)
{
	struct flows *all = user;

	if (all->sandbox) {
		struct sandbox *s = map_get(all->n->sandboxes, all->sandbox);

		if (!s || !sandbox_by_addr(s, &f->container))
			return;
	}
	if (all->len == all->cap) {
		all->cap = all->cap ? all->cap * 2 : 64;
		all->f = mem_realloc(all->f, all->cap * sizeof(*all->f));
	}
	all->f[all->len++] = *f;
}

static int by_age(const void *a, const void *b)
{
	const struct dp_flow *x = a, *y = b;

	return x->age_ns < y->age_ns ? -1 : x->age_ns > y->age_ns;
}

static const char *state_of(const struct dp_flow *f)
{
	bool opens = f->proto == IPPROTO_TCP || f->proto == IPPROTO_SCTP;

	if (f->closing)
		return "closing";
	if (!f->replied)
		return opens ? "new" : "one-way";
	return opens && !f->confirmed ? "new" : "established";
}

static json_t *flow_doc(struct net *n, const struct dp_flow *f)
{
	char number[8], p[ADDR_TEXT], h[ADDR_TEXT], c[ADDR_TEXT];

	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "Proto", proto_name(f->proto, number), "Kind",
			 f->published ? "published" : "outgoing", "State", state_of(f), "Peer", addr_text(&f->peer, p), "PeerPort", (int)f->peer_port, "Host",
			 addr_text(&f->host, h), "HostPort", (int)f->host_port, "Container", addr_text(&f->container, c), "ContainerPort",
			 (int)f->container_port, "Sandbox", sandbox_at(n, &f->container), "InPackets", (json_int_t)f->in_packets, "InBytes",
			 (json_int_t)f->in_bytes, "OutPackets", (json_int_t)f->out_packets, "OutBytes", (json_int_t)f->out_bytes, "AgeNs",
			 (json_int_t)f->age_ns, "IdleNs", (json_int_t)f->idle_ns);
}

json_t *net_flows(struct net *n, const char *sandbox)
{
	struct flows all = { .n = n, .sandbox = sandbox };
	json_t *a = json_array();

	if (n->ops->flows)
		n->ops->flows(n->dp, on_flow, &all);
	if (all.len)
		qsort(all.f, all.len, sizeof(*all.f), by_age);
	for (size_t i = 0; i < all.len; i++)
		json_array_append_new(a, flow_doc(n, &all.f[i]));
	free(all.f);
	return a;
}

/* ---- trace ---- */

/* Of the endpoint that has the default route, or the first with one. NULL: none. */
static const struct in6_addr *own_addr(const struct sandbox *s, bool v6)
{
	const struct endpoint *ep = v6 ? s->gw6 : s->gw4;

	for (size_t i = 0; !ep && i < s->n_ep; i++)
		if (v6 ? s->ep[i]->has6 : s->ep[i]->has4)
			ep = s->ep[i];
	return !ep || !(v6 ? ep->has6 : ep->has4) ? NULL : v6 ? &ep->addr6 : &ep->addr4;
}

/* How one from outside would name the container's port: by what it is published as, or, when it is not, by its own address. */
static void outside_name(struct net *n, const struct sandbox *s, const struct net_trace *t, struct dp_trace *d)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct port_bound *b = &s->ports[i];
		bool any = addr_is_any(&b->host_addr);

		if (b->port != t->port || b->proto != t->proto || !(t->v6 ? b->v6 : b->v4))
			continue;
		d->dport = b->host_port;
		if (watch_uplink(n->watch, t->v6, any ? NULL : &b->host_addr, &d->ifindex, &d->dst))
			return;
		if (!any)
			d->dst = b->host_addr;
		return;
	}
	d->dst = *own_addr(s, t->v6);
}

static int no_address(bool v6, struct err *e)
{
	return err_set(e, ERR_CONFLICT, "the container has no %s address: it does not run, or is on no network that gives one", v6 ? "IPv6" : "IPv4");
}

static int trace_inward(struct net *n, const struct net_trace *t, struct dp_trace *d, struct err *e)
{
	struct sandbox *s = t->to ? map_get(n->sandboxes, t->to) : NULL;
	struct in6_addr ignored;

	/* RFC 5737, RFC 3849: nobody's. */
	d->src = !IN6_IS_ADDR_UNSPECIFIED(&t->from_addr) ? t->from_addr : addr_of4(UINT32_C(0xcb007163));
	if (IN6_IS_ADDR_UNSPECIFIED(&t->from_addr) && t->v6)
		(void)addr_parse("2001:db8::63", &d->src);
	if (t->to && (!s || !own_addr(s, t->v6)))
		return no_address(t->v6, e);
	if (s)
		outside_name(n, s, t, d);
	else
		d->dst = t->to_addr;
	if (!d->ifindex && !watch_uplink(n->watch, t->v6, &d->dst, &d->ifindex, &ignored) && !watch_uplink(n->watch, t->v6, NULL, &d->ifindex, &ignored))
		return err_set(e, ERR_CONFLICT, "the host has no interface with an %s address a packet could come in at", t->v6 ? "IPv6" : "IPv4");
	if (addr_is4(&d->src) != addr_is4(&d->dst))
		return err_set(e, ERR_INVALID, "a packet cannot go from one address family to the other");
	return 0;
}

static int trace_outward(struct net *n, const struct net_trace *t, struct dp_trace *d, struct err *e)
{
	struct sandbox *s = map_get(n->sandboxes, t->from), *to = t->to ? map_get(n->sandboxes, t->to) : NULL;

	if (!s || !own_addr(s, t->v6) || (t->to && (!to || !own_addr(to, t->v6))))
		return no_address(t->v6, e);
	d->from_container = true;
	d->src = *own_addr(s, t->v6);
	d->dst = to ? *own_addr(to, t->v6) : t->to_addr;
	if (addr_is4(&d->src) != addr_is4(&d->dst))
		return err_set(e, ERR_INVALID, "a packet cannot go from one address family to the other");
	return 0;
}

json_t *net_trace(struct net *n, const struct net_trace *t, struct err *e)
{
	struct dp_trace d = { .proto = t->proto, .sport = 12345, .dport = t->port };

	if (!n->ops->trace) {
		err_set(e, ERR_NOT_IMPLEMENTED, "the data path '%s' has no hooks a packet could be followed through", n->ops->name);
		return NULL;
	}
	if ((t->from ? trace_outward(n, t, &d, e) : trace_inward(n, t, &d, e)) < 0)
		return NULL;
	return n->ops->trace(n->dp, &d, e);
}

json_t *net_maps(struct net *n, struct err *e)
{
	json_t *o = n->ops->maps ? n->ops->maps(n->dp) : NULL;

	if (!o)
		err_set(e, ERR_NOT_IMPLEMENTED, "the data path '%s' has no tables to show", n->ops->name);
	return o;
}

/* ---- drops ---- */

struct net_drops {
	struct net *n;
	struct net_drops *next;
	void (*drop)(void *user, const json_t *doc);
	void *user;
};

/* RFC 9260, section 3.2 */
static const char *chunk_text(uint8_t type)
{
	static const char *const names[] = { "DATA", "INIT", "INIT_ACK", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "SHUTDOWN", "SHUTDOWN_ACK", "ERROR",
					     "COOKIE_ECHO", "COOKIE_ACK", "ECNE", "CWR", "SHUTDOWN_COMPLETE" };

	return type < N(names) ? names[type] : "other";
}

/* TCP's flags, the type of an ICMP message, an SCTP packet's first chunk. */
static const char *flags_text(const struct dp_drop *x, char *out, size_t size)
{
	static const char letters[] = "FSRPAU";
	char *at = out;

	*out = '\0';
	if (x->proto == IPPROTO_TCP)
		for (unsigned i = 0; letters[i]; i++)
			if (x->tcp_flags & 1u << i)
				*at++ = letters[i];
	*at = '\0';
	if (x->proto == IPPROTO_ICMP || x->proto == IPPROTO_ICMPV6)
		(void)snprintf(out, size, "type %u", x->icmp_type);
	if (x->proto == IPPROTO_SCTP)
		(void)snprintf(out, size, "%s", chunk_text(x->tcp_flags));
	return out;
}

static json_t *drop_doc(struct net *n, const struct dp_drop *x)
{
	char number[8], s[ADDR_TEXT], d[ADDR_TEXT], flags[24], name[IF_NAMESIZE];
	const char *owner = sandbox_at(n, &x->src);

	if (!if_indextoname(x->ifindex, name))
		(void)snprintf(name, sizeof(name), "%u", x->ifindex);
	if (!*owner)
		owner = sandbox_at(n, &x->dst);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:s, s:s, s:I}", "timeNano", (json_int_t)(clock_wall() - x->ago_ns), "Hook", x->hook, "Reason",
			 x->reason, "Interface", name, "Proto", proto_name(x->proto, number), "Source", addr_text(&x->src, s), "SourcePort", (int)x->sport,
			 "Destination", addr_text(&x->dst, d), "DestinationPort", (int)x->dport, "Length", (int)x->len, "Flags",
			 flags_text(x, flags, sizeof(flags)), "Sandbox", owner, "Suppressed", (json_int_t)x->suppressed);
}

static void on_drop(void *user, const struct dp_drop *x)
{
	struct net *n = user;
	json_t *doc = drop_doc(n, x);

	for (struct net_drops *f = n->followers, *next; f; f = next) {
		next = f->next;
		f->drop(f->user, doc);
	}
	json_decref(doc);
}

struct net_drops *net_drops_follow(struct net *n, void (*drop)(void *user, const json_t *doc), void *user, struct err *e)
{
	struct net_drops *f;

	if (!n->ops->drops_listen) {
		err_set(e, ERR_NOT_IMPLEMENTED, "the data path '%s' cannot tell dropped packets", n->ops->name);
		return NULL;
	}
	if (n->ops->drops_listen(n->dp, on_drop, n, e) < 0)
		return NULL;
	f = mem_zalloc(sizeof(*f));
	*f = (struct net_drops){ .n = n, .next = n->followers, .drop = drop, .user = user };
	n->followers = f;
	return f;
}

void net_drops_cancel(struct net_drops *f)
{
	if (!f)
		return;
	for (struct net_drops **at = &f->n->followers; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	if (!f->n->followers)
		(void)f->n->ops->drops_listen(f->n->dp, NULL, NULL, NULL);
	free(f);
}
