/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <string.h>

#include "base/mem.h"
#include "net/sandbox.h"

/*
 * Published ports of a sandbox. They lead to the endpoint that gives the default route of the binding's family, so that answers go back the way
 * requests came; an IPv6 binding falls back to the IPv4 endpoint by the proxy. When that endpoint changes, the entries are written anew
 * and the proxy's listeners are pointed elsewhere: the sockets that hold the ports stay.
 */
static const struct endpoint *target(const struct sandbox *s, const struct port_bound *b, struct in6_addr *addr)
{
	const struct endpoint *ep = b->v4 || !s->gw6 ? s->gw4 : s->gw6;

	if (!ep && s->gw6)
		ep = s->gw6;
	/* What hangs on a link of the host by itself is published by itself. */
	if (!ep || ep->nw->driver != DRIVER_BRIDGE)
		return NULL;
	*addr = ep == s->gw4 && ep->has4 && (b->v4 || !ep->has6) ? ep->addr4 : ep->has6 ? ep->addr6 : ep->addr4;
	return ep;
}

static int listener(const struct sandbox *s, const struct port_bound *b)
{
	for (size_t i = 0; b->count > 1 && i < s->n_proxies; i++)
		if (&s->ports[s->proxied[i].port] == b)
			return s->proxied[i].fd;
	return b->fd;
}

/* A binding's side of one family; what has no endpoint of that family goes by the proxy. */
static bool publish_of(const struct sandbox *s, const struct port_bound *b, bool v6, struct dp_publish *ret)
{
	const struct endpoint *ep = v6 ? s->gw6 : s->gw4;

	if (!ep || ep->nw->driver != DRIVER_BRIDGE || !(v6 ? b->v6 && ep->has6 : b->v4 && ep->has4))
		return false;
	*ret = (struct dp_publish){ .proto = b->proto, .host_addr = b->host_addr, .host_port = b->host_port, .addr = v6 ? ep->addr6 : ep->addr4,
				    .port = b->port, .generation = ep->generation, .count = b->count, .listener = listener(s, b), .guarded = s->policy.guarded,
				    .relayed = b->relayed, .sources = s->policy.sources, .n_sources = s->policy.n_sources };
	return true;
}

/* The same port at the endpoint's own address, for who comes by an interface its network trusts. */
static bool direct_of(const struct sandbox *s, const struct port_bound *b, bool v6, struct dp_publish *ret)
{
	const struct network *nw = v6 ? (s->gw6 ? s->gw6->nw : NULL) : (s->gw4 ? s->gw4->nw : NULL);

	if (!nw || !nw->trusted || nw->family[v6].open || s->policy.guarded || !publish_of(s, b, v6, ret))
		return false;
	ret->host_addr = ret->addr;
	ret->host_port = ret->port;
	ret->listener = -1;
	ret->trusted = true;
	return true;
}

static int direct_set(const struct sandbox *s, struct err *e)
{
	struct dp_publish p;

	for (size_t i = 0; i < 2 * s->n_ports; i++)
		if (direct_of(s, &s->ports[i / 2], i % 2, &p) && s->n->ops->publish_set(s->n->dp, &p, e) < 0)
			return -1;
	return 0;
}

static void direct_del(const struct sandbox *s)
{
	struct dp_publish p;

	for (size_t i = 0; i < 2 * s->n_ports; i++)
		if (direct_of(s, &s->ports[i / 2], i % 2, &p))
			(void)s->n->ops->publish_del(s->n->dp, &p);
}

/* What the host's routes have for the sake of its ports. */
static void relays_begin(struct sandbox *s)
{
	if (s->policy.guarded && s->n_ports && !s->guarding) {
		guard_get(s->n);
		s->guarding = true;
	}
	for (size_t i = 0; i < s->n_ports && !s->relaying_sctp; i++)
		if (s->ports[i].proto == IPPROTO_SCTP && s->ports[i].relayed) {
			sctp_source_get(s->n);
			s->relaying_sctp = true;
		}
}

void sandbox_relays_end(struct sandbox *s)
{
	if (s->guarding)
		guard_put(s->n);
	if (s->relaying_sctp)
		sctp_source_put(s->n);
	s->guarding = s->relaying_sctp = false;
}

void sandbox_ports_del(struct sandbox *s)
{
	struct dp_publish p;

	for (size_t i = 0; i < 2 * s->n_ports; i++)
		if (publish_of(s, &s->ports[i / 2], i % 2, &p))
			(void)s->n->ops->publish_del(s->n->dp, &p);
	direct_del(s);
	sandbox_routed_del(s);
	sandbox_relays_end(s);
}

/* What the data path leaves to the proxy cannot be had over SCTP where the kernel has no sockets for it. */
static int sctp_check(const struct sandbox *s, struct err *e)
{
	struct dp_publish p;
	char ht[ADDR_TEXT];

	for (size_t i = 0; i < s->n_ports; i++) {
		const struct port_bound *b = &s->ports[i];
		const struct endpoint *gw = s->gw4 ? s->gw4 : s->gw6;

		if (b->proto != IPPROTO_SCTP || b->relayed || !gw || gw->nw->driver != DRIVER_BRIDGE)
			continue;
		if (!s->n->ops->sctp)
			return err_set(e, ERR_NOT_IMPLEMENTED, "port %u/sctp cannot be published: --datapath=%s relays it by the kernel's SCTP sockets, and this kernel has none (its module sctp)",
				       b->port, s->n->ops->name);
		if (s->policy.guarded)
			return err_set(e, ERR_NOT_IMPLEMENTED, "port %u/sctp cannot be published by way of the host's firewall (guarded): this kernel has no SCTP sockets (its module sctp)",
				       b->port);
		if (addr_is_loopback(&b->host_addr))
			return err_set(e, ERR_NOT_IMPLEMENTED, "port %u/sctp cannot be published on %s: clients on the host itself need the kernel's SCTP sockets, and it has none (its module sctp)",
				       b->port, addr_text(&b->host_addr, ht));
		if (!publish_of(s, b, false, &p) && !publish_of(s, b, true, &p))
			return err_set(e, ERR_NOT_IMPLEMENTED, "port %u/sctp cannot be published on an %s address: the container has none, and to pass from one family to the other needs the kernel's SCTP sockets (its module sctp)",
				       b->port, b->v4 ? "IPv4" : "IPv6");
	}
	return 0;
}

int sandbox_ports_set(struct sandbox *s, struct err *e)
{
	struct dp_publish p;

	if ((s->n_ports || s->n_routed) && !s->policy.n_sources && net_policy_parse(s->policy_text, s->sources_text, &s->policy, e) < 0)
		return -1;
	if (s->n_routed && s->policy.guarded)
		return err_set(e, ERR_INVALID, "port %u cannot be published by way of the host's firewall (guarded) on a routed network", s->routed[0].port);
	if (sctp_check(s, e) < 0)
		return -1;
	relays_begin(s);
	for (size_t i = 0; i < 2 * s->n_ports; i++)
		if (publish_of(s, &s->ports[i / 2], i % 2, &p) && s->n->ops->publish_set(s->n->dp, &p, e) < 0)
			return -1;
	return direct_set(s, e) < 0 ? -1 : sandbox_routed_set(s, e);
}

static struct proxy_target proxy_target(const struct sandbox *s, const struct port_bound *b)
{
	struct proxy_target to = { .proto = b->proto, .port = b->port, .first = b->count > 1 ? b->host_port : 0 };

	to.policy = &s->policy;
	to.keep4 = s->policy.guarded && s->n->guard4 && b->proto != IPPROTO_SCTP;
	to.keep6 = s->policy.guarded && s->n->guard6 && b->proto != IPPROTO_SCTP;
	if (s->gw4 && endpoint_subnet(s->gw4, false))
		to.near4 = *endpoint_subnet(s->gw4, false);
	if (s->gw6 && endpoint_subnet(s->gw6, true))
		to.near6 = *endpoint_subnet(s->gw6, true);
	if (b->v6 && s->gw6 && s->gw6->has6)
		to.addr6 = s->gw6->addr6;
	(void)target(s, b, &to.addr);		/* ::, nobody, without one */
	return to;
}

void sandbox_proxies_open(struct sandbox *s)
{
	s->proxies = mem_zalloc((s->n_ports ? s->n_ports : 1) * sizeof(*s->proxies));
	s->proxied = mem_zalloc((s->n_ports ? s->n_ports : 1) * sizeof(*s->proxied));
	for (size_t i = 0; i < s->n_ports; i++) {
		struct port_bound *b = &s->ports[i];
		struct proxy_target to = proxy_target(s, b);

		if (b->fd < 0)
			continue;
		s->proxied[s->n_proxies] = (struct proxied){ .port = i, .fd = b->fd };
		s->proxies[s->n_proxies++] = proxy_port_open_take(s->n->proxy, TAKE_FD(b->fd), &to);
	}
}

int sandbox_ports_move(struct sandbox *s, struct endpoint *gw4, struct endpoint *gw6, struct err *e)
{
	struct sandbox old = *s;
	struct dp_publish p, was;
	int rc = 0;

	s->gw4 = gw4;
	s->gw6 = gw6;
	if (gw4 == old.gw4 && gw6 == old.gw6)
		return 0;
	direct_del(&old);
	sandbox_routed_del(&old);
	for (size_t i = 0; i < 2 * s->n_ports; i++) {
		if (publish_of(s, &s->ports[i / 2], i % 2, &p)) {
			if (rc == 0)
				rc = s->n->ops->publish_set(s->n->dp, &p, e);
		} else if (publish_of(&old, &s->ports[i / 2], i % 2, &was)) {
			(void)s->n->ops->publish_del(s->n->dp, &was);
		}
	}
	for (size_t i = 0; i < s->n_proxies; i++) {
		struct proxy_target to = proxy_target(s, &s->ports[s->proxied[i].port]);

		proxy_port_retarget(s->n->proxy, s->proxies[i], &to);
	}
	return rc < 0 || direct_set(s, e) < 0 ? -1 : sandbox_routed_set(s, e);
}
