/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network_priv.h"

/*
 * The bridge of a network in the kernel. Ours carry an alias with our instance and the network's id, by which a later run knows them; a bridge that
 * was there without one is the user's: it is used, and stays when the network goes.
 */
void network_mac_new(uint8_t mac[6])
{
	rand_bytes(mac, 6);
	mac[0] = 0x02;
	mac[1] = 0x42;
}

const struct in6_addr *network_bridge_addr(const struct network *nw, const struct ipam *pool)
{
	const struct network_family *f = &nw->family[!addr_is4(&ipam_subnet(pool)->addr)];

	return f->isolated || f->inhibited ? NULL : ipam_gateway(pool);
}

static void sysctl(const struct network *nw, const char *family, const char *name, const char *value)
{
	char path[128];
	int rc;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, nw->bridge, name);
	rc = file_put_at(-1, path, value);
	if (rc < 0 && rc != -ENOENT)
		log_warn("net", "cannot set %s to %s: %s", path, value, strerrordesc_np(-rc));
}

/* Addresses a bridge of ours has from an earlier configuration. */
struct stale {
	const struct network *nw;
	struct net_cidr c[NETWORK_POOLS_MAX];
	size_t len;
};

static void on_stale(void *user, const struct rtnl_addr *a)
{
	struct stale *s = user;
	const struct network *nw = s->nw;

	if (a->ifindex != nw->ifindex || s->len == N(s->c) || (!addr_is4(&a->addr.addr) && IN6_IS_ADDR_LINKLOCAL(&a->addr.addr)))
		return;
	for (size_t i = 0; i < nw->n_pools; i++) {
		const struct in6_addr *own = network_bridge_addr(nw, nw->pool[i]);

		if (own && addr_eq(&a->addr.addr, own) && a->addr.prefix == ipam_subnet(nw->pool[i])->prefix)
			return;
	}
	s->c[s->len++] = a->addr;
}

static int addresses(const struct network *nw, bool had, struct rtnl *r, struct err *e)
{
	struct stale stale = { .nw = nw };

	if (had && !nw->foreign && rtnl_addr_each(r, on_stale, &stale, e) < 0)
		return -1;
	for (size_t i = 0; i < stale.len; i++)
		rtnl_addr_del(r, nw->ifindex, &stale.c[i]);
	if (rtnl_run(r, e) < 0)
		return -1;
	for (size_t i = 0; i < nw->n_pools; i++) {
		const struct in6_addr *own = network_bridge_addr(nw, nw->pool[i]);

		if (own)
			rtnl_addr_add(r, nw->ifindex, &(struct net_cidr){ .addr = *own, .prefix = ipam_subnet(nw->pool[i])->prefix });
	}
	return rtnl_run(r, e);
}

int network_bridge_up(struct network *nw, struct rtnl *r, struct err *e)
{
	char alias[128], mine[96];
	struct rtnl_link l;
	bool had;

	net_alias(nw->n, nw->id, alias, sizeof(alias));
	(void)snprintf(mine, sizeof(mine), "kedge:%s:", nw->n->instance);
	if (rtnl_link_get(r, nw->bridge, &l, e) < 0)
		return -1;
	if (l.ifindex && !str_eq(l.kind, "bridge"))
		return err_set(e, ERR_CONFLICT, "the interface %s exists and is not a bridge", nw->bridge);
	if (str_starts(l.alias, "kedge:") && !str_starts(l.alias, mine))
		return err_set(e, ERR_CONFLICT, "the bridge %s belongs to another engine (%s)", nw->bridge, l.alias);
	if (str_starts(l.alias, mine) && !str_eq(l.alias, alias)) {
		/* Of a network of ours that is no more: nobody else may have the name, the loop has seen to that. */
		rtnl_link_del(r, nw->bridge);
		if (rtnl_run(r, e) < 0)
			return -1;
		l = (struct rtnl_link){ 0 };
	}
	had = l.ifindex;
	if (had) {
		memcpy(nw->mac, l.mac, 6);
		nw->foreign = nw->foreign || !l.alias[0];
	} else {
		nw->foreign = false;
		rtnl_bridge(r, nw->bridge, nw->mac, nw->mtu);
		rtnl_link_alias(r, nw->bridge, alias);
		if (rtnl_run(r, e) < 0)
			return -1;
	}
	if (!nw->foreign || network_has(nw, true))
		sysctl(nw, "ipv6", "disable_ipv6", network_has(nw, true) ? "0" : "1");
	if (!nw->foreign)
		sysctl(nw, "ipv6", "accept_ra", "0");
	/* Ports that are kept apart do not hear each other's ARP; answers to who came by a published port go by the gateway (RFC 3069). */
	if (!nw->foreign)
		sysctl(nw, "ipv4", "proxy_arp_pvlan", nw->icc ? "0" : "1");
	rtnl_link_up(r, nw->bridge);
	if (rtnl_run(r, e) < 0)
		return -1;
	if (rtnl_link_get(r, nw->bridge, &l, e) <= 0)
		return err_set(e, ERR_INTERNAL, "the bridge %s was made and is not there", nw->bridge);
	nw->ifindex = l.ifindex;
	forwarding_ensure(nw->n, nw->bridge);
	network_isolate(nw, r);
	return addresses(nw, had, r, e);
}

int network_bridge_down(const struct network *nw, struct rtnl *r, struct err *e)
{
	int rc;

	if (!nw->foreign)
		rtnl_link_del(r, nw->bridge);
	for (size_t i = 0; i < nw->n_pools && nw->foreign; i++) {
		const struct in6_addr *own = network_bridge_addr(nw, nw->pool[i]);

		if (own)
			rtnl_addr_del(r, nw->ifindex, &(struct net_cidr){ .addr = *own, .prefix = ipam_subnet(nw->pool[i])->prefix });
	}
	rc = rtnl_run(r, e);
	if (nw->foreign && nw->n->ops->bridge_left)
		nw->n->ops->bridge_left(nw->ifindex);
	network_isolate_end(nw, r);
	return rc;
}

int network_datapath(struct network *nw, struct err *e)
{
	for (size_t i = 0; i < nw->n_pools; i++) {
		const struct net_cidr *c = ipam_subnet(nw->pool[i]);
		/* Without masquerade they leave under their own addresses, as on a routed network; what comes in stays as it is. */
		const struct network_family *f = &nw->family[!addr_is4(&c->addr)];
		bool plain = !nw->internal && !nw->masquerade, routed = !nw->internal && f->routed;
		bool elsewhere = f->inhibited || (f->has_via && cidr_has(c, &f->via) && !addr_eq(&f->via, ipam_gateway(nw->pool[i])));
		struct dp_net d = { .bridge_ifindex = nw->ifindex, .gateway = *ipam_gateway(nw->pool[i]), .subnet = c->addr, .prefix = c->prefix,
				    .masquerade = nw->masquerade && !routed, .routed = routed || plain, .icc = nw->icc, .internal = nw->internal,
				    .open = !nw->internal && f->open, .ping = routed, .gateway_elsewhere = !nw->internal && elsewhere, .source = f->source };

		if (nw->n->ops->net_set(nw->n->dp, &d, e) < 0)
			return -1;
		if (!addr_is4(&c->addr) && !nw->internal)
			forwarding_ipv6(nw->n);
	}
	guard_network(nw, true);
	return 0;
}

void network_datapath_end(const struct network *nw)
{
	guard_network(nw, false);
	(void)nw->n->ops->net_del(nw->n->dp, nw->ifindex, NULL);
}
