/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/lb.h"
#include "net/names.h"

/* What an endpoint is, without the kernel's side: its network, its addresses, its entries in the data path. Loop thread. */

struct endpoint *endpoint_new(struct net *n, const struct net_endpoint_spec *spec)
{
	struct endpoint *ep = mem_zalloc(sizeof(*ep));

	ep->n = n;
	id_new(ep->id);
	/* Zero is "no generation" to whoever reads the maps. */
	do
		ep->generation = rand_u32();
	while (!ep->generation);
	if (!spec)
		return ep;
	ep->want_ip = str_empty(spec->ip) ? NULL : mem_strdup(spec->ip);
	ep->want_ip6 = str_empty(spec->ip6) ? NULL : mem_strdup(spec->ip6);
	ep->want_mac = str_empty(spec->mac) ? NULL : mem_strdup(spec->mac);
	ep->want_sysctls = str_empty(spec->sysctls) ? NULL : mem_strdup(spec->sysctls);
	ep->want_ifname = str_empty(spec->ifname) ? NULL : mem_strdup(spec->ifname);
	ep->gw_priority = spec->gw_priority;
	for (size_t i = 0; i < spec->n_link_local; i++)
		ep->link_local = strv_add(ep->link_local, spec->link_local[i]);
	for (size_t i = 0; i < spec->n_names; i++)
		ep->names = strv_add(ep->names, spec->names[i]);
	for (size_t i = 0; i < spec->n_links; i++)
		ep->links = strv_add(ep->links, spec->links[i]);
	return ep;
}

static void give_addresses(struct endpoint *ep)
{
	if (ep->pool4)
		ipam_give(ep->pool4, &ep->addr4);
	if (ep->pool6)
		ipam_give(ep->pool6, &ep->addr6);
	ep->pool4 = ep->pool6 = NULL;
	ep->has4 = ep->has6 = false;
}

void endpoint_free(struct endpoint *ep)
{
	if (!ep)
		return;
	names_endpoint_del(ep);
	give_addresses(ep);
	if (ep->counted && ep->nw)
		ep->nw->busy--;
	free(ep->want_ip);
	free(ep->want_ip6);
	free(ep->want_mac);
	free(ep->want_ifname);
	free(ep->want_sysctls);
	strv_free(ep->link_local);
	strv_free(ep->names);
	strv_free(ep->links);
	free(ep);
}

static bool is4(const struct ipam *m)
{
	return addr_is4(&ipam_subnet(m)->addr);
}

/* The pool of the network that holds a, or the first of the family with room. */
static int take(struct endpoint *ep, bool v6, const char *wanted, struct in6_addr *ret, struct ipam **from, struct err *e)
{
	struct network *nw = ep->nw;
	struct in6_addr a;

	if (wanted) {
		if (addr_parse(wanted, &a) < 0 || addr_is4(&a) == v6)
			return err_set(e, ERR_INVALID, "invalid %s address: '%s'", v6 ? "IPv6" : "IPv4", wanted);
		for (size_t i = 0; i < nw->n_pools; i++)
			if (is4(nw->pool[i]) != v6 && cidr_has(ipam_subnet(nw->pool[i]), &a)) {
				if (ipam_take_addr(nw->pool[i], &a, e) < 0)
					return -1;
				*ret = a;
				*from = nw->pool[i];
				return 0;
			}
		return err_set(e, ERR_INVALID, "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address %s", wanted);
	}
	for (size_t i = 0; i < nw->n_pools; i++) {
		if (is4(nw->pool[i]) == v6)
			continue;
		if (e)
			err_clear(e);
		if (ipam_take(nw->pool[i], ret, e) == 0) {
			*from = nw->pool[i];
			return 0;
		}
	}
	return -1;
}

static bool has_family(const struct network *nw, bool v6)
{
	for (size_t i = 0; i < nw->n_pools; i++)
		if (is4(nw->pool[i]) != v6)
			return true;
	return false;
}

static int addresses(struct endpoint *ep, struct err *e)
{
	struct network *nw = ep->nw;

	if (ep->want_ip && !has_family(nw, false))
		return err_set(e, ERR_INVALID, "network %s has no IPv4: the address '%s' cannot be given", nw->name, ep->want_ip);
	if (ep->want_ip6 && !has_family(nw, true))
		return err_set(e, ERR_INVALID, "network %s has no IPv6: the address '%s' cannot be given", nw->name, ep->want_ip6);
	if (has_family(nw, false)) {
		if (take(ep, false, ep->want_ip, &ep->addr4, &ep->pool4, e) < 0)
			return -1;
		ep->has4 = true;
	}
	if (has_family(nw, true)) {
		if (take(ep, true, ep->want_ip6, &ep->addr6, &ep->pool6, e) < 0)
			return -1;
		ep->has6 = true;
	}
	return 0;
}

int endpoint_decide(struct endpoint *ep, const char *network, struct err *e)
{
	struct network *nw = ep->nw;

	if (!nw) {
		nw = network_find(ep->n, network, e);
		if (!nw)
			return -1;
		ep->nw = nw;
		nw->busy++;
		ep->counted = true;
	}
	if (nw->driver == DRIVER_HOST || nw->driver == DRIVER_NULL) {
		const char *wanted = ep->want_ip ? ep->want_ip : ep->want_ip6 ? ep->want_ip6 : ep->link_local ? ep->link_local[0] : NULL;

		if (wanted)
			return err_set(e, ERR_INVALID, "the network %s gives no addresses: '%s' cannot be asked for", nw->name, wanted);
		ep->decided = true;
		return 0;
	}
	if (!nw->ifindex)
		return err_set(e, ERR_UNAVAILABLE, "network %s is out of service: %s could not be had, the engine's log says why", nw->name,
			       nw->driver == DRIVER_BRIDGE ? nw->bridge : nw->parent);
	if (addresses(ep, e) < 0) {
		give_addresses(ep);
		return nw->resting && (e->kind == ERR_UNAVAILABLE || e->kind == ERR_FORBIDDEN) ? 1 : -1;
	}
	if (nw->driver == DRIVER_IPVLAN) {
		if (ep->want_mac)
			return err_set(e, ERR_INVALID, "ipvlan interfaces do not support custom mac address assignment");
	} else if (ep->want_mac) {
		if (mac_parse(ep->want_mac, ep->mac) < 0)
			return err_set(e, ERR_INVALID, "invalid MAC address: '%s' is not a unicast address like 02:42:ac:11:00:02", ep->want_mac);
	} else if (ep->has4) {
		addr_mac(&ep->addr4, ep->mac);
	} else {
		network_mac_new(ep->mac);
	}
	/* A macvlan or ipvlan has no end on our side. */
	if (nw->driver == DRIVER_BRIDGE)
		(void)snprintf(ep->veth, sizeof(ep->veth), "kv%.10s", ep->id);
	ep->decided = true;
	return 0;
}

bool endpoint_has_link(const struct endpoint *ep)
{
	return ep->nw && (ep->nw->driver == DRIVER_BRIDGE || network_on_parent(ep->nw));
}

const struct net_cidr *endpoint_subnet(const struct endpoint *ep, bool v6)
{
	const struct ipam *m = v6 ? ep->pool6 : ep->pool4;

	return m ? ipam_subnet(m) : NULL;
}

const struct in6_addr *endpoint_gateway(const struct endpoint *ep, bool v6)
{
	const struct ipam *m = v6 ? ep->pool6 : ep->pool4;

	const struct network_family *f;

	if (!m || !ep->nw || ep->nw->internal || ep->nw->nowhere || network_is_l3(ep->nw))
		return NULL;
	f = &ep->nw->family[v6];
	if (f->isolated)
		return NULL;
	return f->has_via && cidr_has(ipam_subnet(m), &f->via) ? &f->via : ipam_gateway(m);
}

bool endpoint_leads_out(const struct endpoint *ep, bool v6)
{
	const struct network *nw = ep->nw;

	return endpoint_gateway(ep, v6) || ((v6 ? ep->has6 : ep->has4) && nw && network_is_l3(nw) && !nw->internal && !nw->nowhere);
}

/* RFC 3927 2.1, RFC 4291 2.5.6. */
static const char *const link_locals[] = { "169.254.0.0/16", "fe80::/10" };

int net_link_local_check(const char *text, struct err *e)
{
	struct in6_addr a;
	struct net_cidr c;

	for (size_t i = 0; i < N(link_locals); i++)
		if (addr_parse(text, &a) == 0 && cidr_parse(link_locals[i], &c) == 0 && cidr_has(&c, &a))
			return 0;
	return err_set(e, ERR_INVALID, "invalid link local IP address: %.64s", text);
}

bool endpoint_link_local(const struct endpoint *ep, bool v6)
{
	for (char **p = ep->link_local; p && *p; p++)
		if ((strchr(*p, ':') != NULL) == v6)
			return true;
	return false;
}

static struct dp_endpoint dp_of(const struct endpoint *ep, bool v6)
{
	struct dp_endpoint d = { .host_ifindex = ep->ifindex, .bridge_ifindex = ep->nw ? ep->nw->ifindex : 0, .addr = v6 ? ep->addr6 : ep->addr4,
				 .generation = ep->generation };

	d.link_local = endpoint_link_local(ep, false);
	memcpy(d.mac, ep->mac, 6);
	if (ep->nw)
		memcpy(d.gw_mac, ep->nw->mac, 6);
	return d;
}

/* macvlan and ipvlan have no data path of ours: their packets never meet the host's side. */
static bool in_datapath(const struct endpoint *ep)
{
	return ep->veth[0] && ep->nw && ep->nw->driver == DRIVER_BRIDGE;
}

void endpoint_dp_del(const struct endpoint *ep)
{
	struct dp_endpoint d;

	if (!in_datapath(ep))
		return;
	for (int v6 = 0; v6 < 2; v6++) {
		if (v6 ? !ep->has6 : !ep->has4)
			continue;
		d = dp_of(ep, v6);
		(void)ep->n->ops->endpoint_del(ep->n->dp, &d);
		lb_forget(ep->n, &d.addr);
	}
}

int endpoint_dp_set(const struct endpoint *ep, struct err *e)
{
	struct dp_endpoint d;

	if (!in_datapath(ep))
		return 0;
	for (int v6 = 0; v6 < 2; v6++) {
		if (v6 ? !ep->has6 : !ep->has4)
			continue;
		d = dp_of(ep, v6);
		if (ep->n->ops->endpoint_set(ep->n->dp, &d, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- waiting for an address ---- */

void waiting_add(struct net *n, struct waiting *w)
{
	struct waiting **at = &n->waiting;

	while (*at)
		at = &(*at)->next;
	w->next = NULL;
	*at = w;
}

void waiting_retry(struct net *n)
{
	struct waiting *w = n->stopping ? NULL : TAKE(n->waiting), *next;

	for (; w; w = next) {
		next = w->next;
		w->retry(w);
	}
}

void waiting_drop(struct net *n)
{
	struct waiting *w;

	while ((w = n->waiting)) {
		n->waiting = w->next;
		w->drop(w);
	}
}
