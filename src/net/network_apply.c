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
 * nothing is in force that the document does not say. Options are docker's; one of its names that is not in the tables is refused, others are the
 * user's own business.
 */
const char *const network_driver_names[] = { "bridge", "host", "null", "macvlan" };
_Static_assert(N(network_driver_names) == DRIVER_COUNT, "a name for every driver");

static int flag_of(const char *key, const char *text, bool *ret, struct err *e)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" }, *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < N(yes); i++) {
		if (str_eq(text, yes[i]) || str_eq(text, no[i])) {
			*ret = str_eq(text, yes[i]);
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is neither true nor false", key, text);
}

static int masquerade(struct network *nw, const char *key, const char *text, struct err *e)
{
	return flag_of(key, text, &nw->masquerade, e);
}

static int icc(struct network *nw, const char *key, const char *text, struct err *e)
{
	return flag_of(key, text, &nw->icc, e);
}

static int mtu(struct network *nw, const char *key, const char *text, struct err *e)
{
	uint64_t n;

	if (str_to_u64(text, 68, 65535, &n) < 0)
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not a number from 68 to 65535", key, text);
	nw->mtu = (uint32_t)n;
	return 0;
}

static bool ifname_valid(const char *s)
{
	return *s && strlen(s) <= 15 && !strpbrk(s, "/ \t\n:%") && !str_eq(s, ".") && !str_eq(s, "..");
}

static int bridge_name(struct network *nw, const char *key, const char *text, struct err *e)
{
	if (!ifname_valid(text) || str_eq(text, "lo") || net_veth_name(text))
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not a name for an interface (at most 15 characters)", key, text);
	(void)snprintf(nw->bridge, sizeof(nw->bridge), "%s", text);
	return 0;
}

static int if_prefix(struct network *nw, const char *key, const char *text, struct err *e)
{
	if (!ifname_valid(text) || strlen(text) > 10)
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not the beginning of a name for an interface (at most 10 characters)", key, text);
	(void)snprintf(nw->if_prefix, sizeof(nw->if_prefix), "%s", text);
	return 0;
}

static int host_binding(struct network *nw, const char *key, const char *text, struct err *e)
{
	struct in6_addr a;

	if (addr_parse(text, &a) < 0 || !addr_is4(&a))
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not an IPv4 address", key, text);
	nw->host_ip[0] = '\0';
	if (!addr_is_any(&a))
		(void)addr_text(&a, nw->host_ip);
	return 0;
}

static int default_bridge(struct network *nw, const char *key, const char *text, struct err *e)
{
	bool on;

	if (flag_of(key, text, &on, e) < 0)
		return -1;
	if (on && !nw->predefined)
		return err_set(e, ERR_FORBIDDEN, "cannot create network %s: the default bridge is there already (option %s)", nw->name, key);
	return 0;
}

static int gateway_mode(struct network *nw, const char *key, const char *text, struct err *e)
{
	if (str_eq(text, "nat") || str_eq(text, ""))
		return 0;
	if (str_eq(text, "isolated")) {
		if (!nw->internal)
			return err_set(e, ERR_INVALID, "gateway mode 'isolated' can only be used for an internal network");
		nw->no_gateway = true;
		return 0;
	}
	if (str_eq(text, "routed")) {
		if (nw->n->ops != &dp_ebpf)
			return err_set(e, ERR_NOT_IMPLEMENTED, "option %s: the mode 'routed' needs the eBPF data path, and the one here is %s", key, nw->n->ops->name);
		*(str_ends(key, "6") ? &nw->routed6 : &nw->routed4) = true;
		return 0;
	}
	if (str_eq(text, "nat-unprotected"))
		return err_set(e, ERR_NOT_IMPLEMENTED, "option %s: the mode '%s' is not supported, only nat, routed and (for internal networks) isolated", key, text);
	return err_set(e, ERR_INVALID, "unknown gateway mode %.64s", text);
}

/* docker's names for macvlan's options have no prefix. */
static int parent(struct network *nw, const char *key, const char *text, struct err *e)
{
	if (!ifname_valid(text))
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not the name of an interface", key, text);
	(void)snprintf(nw->parent, sizeof(nw->parent), "%s", text);
	return 0;
}

static int macvlan_mode(struct network *nw, const char *key, const char *text, struct err *e)
{
	static const struct { const char *name; uint32_t mode; } modes[] = {
		{ "", MACVLAN_MODE_BRIDGE }, { "bridge", MACVLAN_MODE_BRIDGE }, { "private", MACVLAN_MODE_PRIVATE }, { "vepa", MACVLAN_MODE_VEPA },
		{ "passthru", MACVLAN_MODE_PASSTHRU },
	};

	(void)key;
	for (size_t i = 0; i < N(modes); i++)
		if (str_eq(modes[i].name, text)) {
			nw->macvlan_mode = modes[i].mode;
			return 0;
		}
	return err_set(e, ERR_INVALID, "requested macvlan mode '%.64s' is not valid, 'bridge' mode is the macvlan driver default", text);
}

struct option {
	const char *name;
	int (*set)(struct network *nw, const char *key, const char *text, struct err *e);
};

static const struct option bridge_options[] = {
	{ "com.docker.network.bridge.name", bridge_name },
	{ "com.docker.network.bridge.default_bridge", default_bridge },
	{ "com.docker.network.bridge.enable_icc", icc },
	{ "com.docker.network.bridge.enable_ip_masquerade", masquerade },
	{ "com.docker.network.bridge.gateway_mode_ipv4", gateway_mode },
	{ "com.docker.network.bridge.gateway_mode_ipv6", gateway_mode },
	{ "com.docker.network.bridge.host_binding_ipv4", host_binding },
	{ "com.docker.network.container_iface_prefix", if_prefix },
	{ "com.docker.network.driver.mtu", mtu },
	{ NULL, NULL },
};

static const struct option macvlan_options[] = {
	{ "parent", parent },
	{ "macvlan_mode", macvlan_mode },
	{ "com.docker.network.container_iface_prefix", if_prefix },
	{ "com.docker.network.driver.mtu", mtu },
	{ NULL, NULL },
};

static int apply_options(struct network *nw, const struct option *table, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(json_obj(nw->doc, "Options"), key, v) {
		const struct option *o = table;

		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "the value of option %.64s is not a string", key);
		while (o->name && !str_eq(o->name, key))
			o++;
		if (o->name) {
			if (o->set(nw, key, json_string_value(v), e) < 0)
				return -1;
		} else if (str_starts(key, "com.docker.network.")) {
			return err_set(e, ERR_INVALID, "option %.128s is not supported by the driver %s", key, network_driver_names[nw->driver]);
		}
	}
	return 0;
}

int network_apply(struct network *nw, struct err *e)
{
	nw->internal = json_flag(nw->doc, "Internal", false);
	nw->attachable = json_flag(nw->doc, "Attachable", false);
	nw->config_only = json_flag(nw->doc, "ConfigOnly", false);
	nw->mtu = NET_MTU;
	nw->masquerade = nw->icc = true;
	(void)snprintf(nw->if_prefix, sizeof(nw->if_prefix), "eth");
	if (nw->config_only)
		return 0;
	switch (nw->driver) {
	case DRIVER_BRIDGE:
		(void)snprintf(nw->bridge, sizeof(nw->bridge), "br-%.12s", nw->id);
		if (apply_options(nw, bridge_options, e) < 0)
			return -1;
		nw->masquerade = nw->masquerade && !nw->internal;
		return 0;
	case DRIVER_MACVLAN:
		nw->macvlan_mode = MACVLAN_MODE_BRIDGE;
		nw->mtu = 0;		/* the parent's */
		if (apply_options(nw, macvlan_options, e) < 0)
			return -1;
		if (nw->internal && nw->parent[0] && !str_starts(nw->parent, "dm-"))
			return err_set(e, ERR_INVALID, "an internal macvlan network has no parent interface: '%s' leads out", nw->parent);
		if (!nw->parent[0])
			(void)snprintf(nw->parent, sizeof(nw->parent), "dm-%.12s", nw->id);
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

static int pool_read(const json_t *o, struct ipam_spec *spec, struct net_cidr *range, struct in6_addr *gateway, struct in6_addr **aux, struct err *e)
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

		if (pool_read(o, &spec, &range, &gw, &aux, &why) < 0) {
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
		if (!spec.gateway && !nw->no_gateway)
			json_object_set_new(o, "Gateway", json_string(addr_text(ipam_gateway(m), gt)));
	}
	return 0;
fail:
	network_pools_free(nw);
	return -1;
}
