/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network_priv.h"

/*
 * A network's document read into what the rest of the module works with. The same for a new network and for one from the store, so that
 * nothing is in force that the document does not say.
 */
const char *const network_driver_names[] = { "bridge", "host", "null", "macvlan", "ipvlan" };
_Static_assert(N(network_driver_names) == DRIVER_COUNT, "a name for every driver");

int network_apply(struct network *nw, struct err *e)
{
	nw->internal = json_flag(nw->doc, "Internal", false);
	nw->attachable = json_flag(nw->doc, "Attachable", false);
	nw->config_only = json_flag(nw->doc, "ConfigOnly", false);
	nw->mtu = NET_MTU;
	nw->masquerade = nw->icc = true;
	nw->adverts = -1;
	nw->advert_ms = NET_ADVERT_MS;
	(void)snprintf(nw->if_prefix, sizeof(nw->if_prefix), "eth");
	if (nw->config_only)
		return 0;
	switch (nw->driver) {
	case DRIVER_BRIDGE:
		(void)snprintf(nw->bridge, sizeof(nw->bridge), "br-%.12s", nw->id);
		if (network_options(nw, e) < 0)
			return -1;
		nw->masquerade = nw->masquerade && !nw->internal;
		return 0;
	case DRIVER_MACVLAN:
	case DRIVER_IPVLAN:
		nw->link_mode = nw->driver == DRIVER_MACVLAN ? (uint32_t)MACVLAN_MODE_BRIDGE : IPVLAN_MODE_L2;
		nw->mtu = 0;		/* the parent's */
		if (network_options(nw, e) < 0)
			return -1;
		nw->nowhere = !nw->parent[0];
		if (nw->nowhere)
			(void)snprintf(nw->parent, sizeof(nw->parent), "%s-%.12s", nw->driver == DRIVER_MACVLAN ? "dm" : "di", nw->id);
		return 0;
	case DRIVER_HOST:
	case DRIVER_NULL:
	case DRIVER_COUNT:
		break;
	}
	return 0;
}

/* ---- subnets ---- */

bool network_has(const struct network *nw, bool v6)
{
	for (size_t i = 0; i < nw->n_pools; i++)
		if (addr_is4(&ipam_subnet(nw->pool[i])->addr) != v6)
			return true;
	return false;
}

void network_pools_free(struct network *nw)
{
	for (size_t i = 0; i < nw->n_pools; i++)
		ipam_free(nw->pool[i]);
	free(TAKE(nw->pool));
	nw->n_pools = 0;
}

/* As docker's validation of an IPAM configuration words it. */
static int address_in(const char *text, const struct net_cidr *subnet, struct in6_addr *ret, struct err *e)
{
	char st[CIDR_TEXT];

	if (addr_parse(text, ret) < 0)
		return err_set(e, ERR_INVALID, "invalid address");
	if (addr_is4(ret) != addr_is4(&subnet->addr))
		return err_set(e, ERR_INVALID, "parent subnet is an %s block", addr_is4(&subnet->addr) ? "IPv4" : "IPv6");
	if (!cidr_has(subnet, ret))
		return err_set(e, ERR_INVALID, "parent subnet %s doesn't contain this address", cidr_text(subnet, st));
	return 0;
}

static int range_in(const char *text, const struct net_cidr *subnet, struct net_cidr *ret, struct err *e)
{
	char st[CIDR_TEXT], rt[CIDR_TEXT];
	struct net_cidr base;

	if (cidr_parse(text, ret) < 0)
		return err_set(e, ERR_INVALID, "invalid ip-range %.64s: invalid CIDR block notation", text);
	base = cidr_base(ret);
	if (addr_is4(&ret->addr) != addr_is4(&subnet->addr))
		return err_set(e, ERR_INVALID, "invalid ip-range %s: parent subnet is an %s block", text, addr_is4(&subnet->addr) ? "IPv4" : "IPv6");
	if (!addr_eq(&base.addr, &ret->addr))
		return err_set(e, ERR_INVALID, "invalid ip-range %s: it should be %s", text, cidr_text(&base, rt));
	if (ret->prefix < subnet->prefix)
		return err_set(e, ERR_INVALID, "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", text, cidr_text(subnet, st));
	if (!cidr_has(subnet, &ret->addr))
		return err_set(e, ERR_INVALID, "invalid ip-range %s: parent subnet %s doesn't contain ip-range", text, cidr_text(subnet, st));
	return 0;
}

/* This network and loopback (RFC 1122 3.2.1.3), multicast and what is reserved (RFC 5771, RFC 1112 4); unspecified, loopback, link-local, multicast. */
static const char *const impossible[] = { "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/127", "fe80::/10", "ff00::/8" };

/* docker's name for the address of a gateway that is not the bridge. */
static int via_read(struct network *nw, bool v6, const char *key, const struct in6_addr *a, struct err *e)
{
	struct network_family *f = &nw->family[v6];

	if (nw->driver != DRIVER_BRIDGE || !str_eq(key, v6 ? "DefaultGatewayIPv6" : "DefaultGatewayIPv4"))
		return 0;
	if (nw->internal)
		return err_set(e, ERR_INVALID, "no gateway can be set on an internal bridge network");
	f->has_via = true;
	f->via = *a;
	return 0;
}

static int pool_read(struct network *nw, const json_t *o, struct ipam_spec *spec, struct net_cidr *range, struct in6_addr *gateway, struct in6_addr **aux, struct err *e)
{
	const char *subnet = json_str(o, "Subnet", ""), *r = json_str(o, "IPRange", ""), *gw = json_str(o, "Gateway", ""), *key;
	json_t *list = json_obj(o, "AuxiliaryAddresses"), *v;
	struct net_cidr base;
	char st[CIDR_TEXT];

	if (cidr_parse(subnet, &spec->subnet) < 0)
		return err_set(e, ERR_INVALID, "invalid subnet %.64s: invalid CIDR block notation", subnet);
	base = cidr_base(&spec->subnet);
	for (size_t i = 0; i < N(impossible); i++) {
		struct net_cidr no;

		if (cidr_parse(impossible[i], &no) == 0 && cidr_overlap(&no, &base))
			return err_set(e, ERR_INVALID, "invalid subnet %s: addresses of %s are not for hosts on a network", subnet, impossible[i]);
	}
	if (!addr_eq(&base.addr, &spec->subnet.addr))
		return err_set(e, ERR_INVALID, "invalid subnet %s: it should be %s", subnet, cidr_text(&base, st));
	if (*r) {
		if (range_in(r, &base, range, e) < 0)
			return -1;
		spec->range = range;
	}
	if (*gw) {
		/* Older clients write it with the prefix length. */
		CLEANUP(mem_freep) char *bare = mem_strndup(gw, strcspn(gw, "/"));

		if (address_in(bare, &base, gateway, e) < 0)
			return err_wrap(e, "invalid gateway %.64s", gw);
		spec->gateway = gateway;
	}
	*aux = mem_zalloc((json_object_size(list) + 1) * sizeof(**aux));
	spec->aux = *aux;
	json_object_foreach(list, key, v) {
		if (address_in(json_is_string(v) ? json_string_value(v) : "", &base, &(*aux)[spec->n_aux], e) < 0)
			return err_wrap(e, "invalid auxiliary address %.64s", key);
		if (via_read(nw, !addr_is4(&base.addr), key, &(*aux)[spec->n_aux], e) < 0)
			return -1;
		spec->n_aux++;
	}
	return 0;
}

int network_pools(struct network *nw, struct err *e)
{
	json_t *list = json_arr(json_obj(nw->doc, "IPAM"), "Config"), *o;
	size_t i;

	if (json_array_size(list) > NETWORK_POOLS_MAX)
		return err_set(e, ERR_INVALID, "more than %d subnets for network %s", NETWORK_POOLS_MAX, nw->name);
	nw->pool = mem_zalloc((json_array_size(list) + 1) * sizeof(*nw->pool));
	json_array_foreach(list, i, o) {
		CLEANUP(mem_freep) struct in6_addr *aux = NULL;
		struct ipam_spec spec = { 0 };
		struct net_cidr range;
		struct in6_addr gw;
		char gt[ADDR_TEXT];
		struct err why = { 0 };
		struct ipam *m;

		if (pool_read(nw, o, &spec, &range, &gw, &aux, &why) < 0) {
			err_set(e, why.kind, "invalid network config:\n%s", why.msg);
			goto fail;
		}
		for (size_t k = 0; k < nw->n_pools; k++)
			if (cidr_overlap(ipam_subnet(nw->pool[k]), &spec.subnet)) {
				err_set(e, ERR_FORBIDDEN, "invalid pool request: Pool overlaps with other one on this address space");
				goto fail;
			}
		m = ipam_new(&spec, e);
		if (!m)
			goto fail;
		nw->pool[nw->n_pools++] = m;
		if (!spec.gateway && !nw->family[!addr_is4(&spec.subnet.addr)].isolated)
			json_object_set_new(o, "Gateway", json_string(addr_text(ipam_gateway(m), gt)));
	}
	return 0;
fail:
	network_pools_free(nw);
	return -1;
}
