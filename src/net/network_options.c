/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network_priv.h"

/* A network's options. They are docker's; one of its names that is not in the driver's tables is refused, others are the user's own business. */

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

static int in_range(const char *key, const char *text, int min, int max, int *ret, struct err *e)
{
	uint64_t n;

	if (str_to_u64(text, (uint64_t)min, (uint64_t)max, &n) < 0)
		return err_set(e, ERR_INVALID, "%s must be in the range %d to %d: '%.64s'", key, min, max, text);
	*ret = (int)n;
	return 0;
}

static int advert_count(struct network *nw, const char *key, const char *text, struct err *e)
{
	return in_range(key, text, 0, NET_ADVERTS, &nw->adverts, e);
}

static int advert_pause(struct network *nw, const char *key, const char *text, struct err *e)
{
	return in_range(key, text, 100, 2000, &nw->advert_ms, e);
}

static int host_binding(struct network *nw, const char *key, const char *text, struct err *e)
{
	struct in6_addr a;

	if (addr_parse(text, &a) < 0)
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not an address", key, text);
	/* 0.0.0.0 stands for both families; an IPv6 address, :: too, for that one. */
	nw->host_ip[0] = '\0';
	if (!addr_is4(&a) || !addr_is_any(&a))
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

/* What asks for packets to be carried between containers and other machines. what: the option's value, or NULL. */
static int needs_routes(const struct network *nw, const char *key, const char *what, struct err *e)
{
	if (nw->n->ops->routes)
		return 0;
	return err_set(e, ERR_NOT_IMPLEMENTED, "option %s%s%s needs a data path that carries packets (ebpf or nft), and the one here is %s", key, what ? "=" : "",
		       what ? what : "", nw->n->ops->name);
}

static int gateway_mode(struct network *nw, const char *key, const char *text, struct err *e)
{
	struct network_family *f = &nw->family[str_ends(key, "6")];

	if (str_eq(text, "nat") || str_eq(text, ""))
		return 0;
	if (str_eq(text, "isolated")) {
		if (!nw->internal)
			return err_set(e, ERR_INVALID, "gateway mode 'isolated' can only be used for an internal network");
		f->isolated = true;
		return 0;
	}
	f->routed = str_eq(text, "routed");
	f->open = str_eq(text, "nat-unprotected");
	return f->routed || f->open ? needs_routes(nw, key, text, e) : err_set(e, ERR_INVALID, "unknown gateway mode %.64s", text);
}

static int inhibit(struct network *nw, const char *key, const char *text, struct err *e)
{
	return flag_of(key, text, &nw->family[0].inhibited, e);
}

/* "eth1:eth2". They need not be there yet. */
static int trusted(struct network *nw, const char *key, const char *text, struct err *e)
{
	CLEANUP(strv_freep) char **names = str_split(text, ':');

	for (size_t i = 0; names[i]; i++) {
		if (!*names[i])
			continue;
		if (!ifname_valid(names[i]))
			return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not the name of an interface", key, names[i]);
		nw->trusted = strv_add(nw->trusted, names[i]);
	}
	return nw->trusted ? needs_routes(nw, key, NULL, e) : 0;
}

static int host_source(struct network *nw, const char *key, const char *text, struct err *e)
{
	bool v6 = str_ends(key, "6");
	struct in6_addr a;

	if (addr_parse(text, &a) < 0 || addr_is4(&a) == v6 || addr_is_any(&a))
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not an %s address", key, text, v6 ? "IPv6" : "IPv4");
	nw->family[v6].source = a;
	return needs_routes(nw, key, NULL, e);
}

/* Which families a network has is read where it is made (network_make.c); here it is the value alone. */
static int family_flag(struct network *nw, const char *key, const char *text, struct err *e)
{
	bool on;

	(void)nw;
	return flag_of(key, text, &on, e);
}

/* docker's names for macvlan's options have no prefix. */
static int parent(struct network *nw, const char *key, const char *text, struct err *e)
{
	if (!ifname_valid(text))
		return err_set(e, ERR_INVALID, "invalid value for option %s: '%.64s' is not the name of an interface", key, text);
	(void)snprintf(nw->parent, sizeof(nw->parent), "%s", text);
	return 0;
}

struct mode {
	const char *name;
	uint32_t mode;
};

/* The value of one that is called text; false: there is none. The first has an empty name: the driver's default. */
static bool mode_of(const struct mode *modes, size_t n, const char *text, uint32_t *ret)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(modes[i].name, text)) {
			*ret = modes[i].mode;
			return true;
		}
	return false;
}

static int macvlan_mode(struct network *nw, const char *key, const char *text, struct err *e)
{
	static const struct mode modes[] = {
		{ "", MACVLAN_MODE_BRIDGE }, { "bridge", MACVLAN_MODE_BRIDGE }, { "private", MACVLAN_MODE_PRIVATE }, { "vepa", MACVLAN_MODE_VEPA },
		{ "passthru", MACVLAN_MODE_PASSTHRU },
	};

	(void)key;
	return mode_of(modes, N(modes), text, &nw->link_mode) ? 0 :
	       err_set(e, ERR_INVALID, "requested macvlan mode '%.64s' is not valid, 'bridge' mode is the macvlan driver default", text);
}

static int ipvlan_mode(struct network *nw, const char *key, const char *text, struct err *e)
{
	static const struct mode modes[] = { { "", IPVLAN_MODE_L2 }, { "l2", IPVLAN_MODE_L2 }, { "l3", IPVLAN_MODE_L3 }, { "l3s", IPVLAN_MODE_L3S } };

	(void)key;
	return mode_of(modes, N(modes), text, &nw->link_mode) ? 0 :
	       err_set(e, ERR_INVALID, "requested ipvlan mode '%.64s' is not valid, 'l2' mode is the ipvlan driver default", text);
}

static int ipvlan_flag(struct network *nw, const char *key, const char *text, struct err *e)
{
	static const struct mode flags[] = { { "", 0 }, { "bridge", 0 }, { "private", IPVLAN_F_PRIVATE }, { "vepa", IPVLAN_F_VEPA } };
	uint32_t flag;

	(void)key;
	if (!mode_of(flags, N(flags), text, &flag))
		return err_set(e, ERR_INVALID, "requested ipvlan flag '%.64s' is not valid, 'bridge' is the ipvlan driver default", text);
	nw->link_flags = (uint16_t)flag;
	return 0;
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
	{ "com.docker.network.bridge.inhibit_ipv4", inhibit },
	{ "com.docker.network.bridge.trusted_host_interfaces", trusted },
	{ "com.docker.network.host_ipv4", host_source },
	{ "com.docker.network.host_ipv6", host_source },
	{ NULL, NULL },
};

/* Of every driver. */
static const struct option common_options[] = {
	{ "com.docker.network.advertise_addr_ms", advert_pause },
	{ "com.docker.network.advertise_addr_nmsgs", advert_count },
	{ "com.docker.network.container_iface_prefix", if_prefix },
	{ "com.docker.network.driver.mtu", mtu },
	{ "com.docker.network.enable_ipv4", family_flag },
	{ "com.docker.network.enable_ipv6", family_flag },
	{ NULL, NULL },
};

static const struct option macvlan_options[] = {
	{ "parent", parent },
	{ "macvlan_mode", macvlan_mode },
	{ NULL, NULL },
};

static const struct option ipvlan_options[] = {
	{ "parent", parent },
	{ "ipvlan_mode", ipvlan_mode },
	{ "ipvlan_flag", ipvlan_flag },
	{ NULL, NULL },
};

static const struct option *find(const struct option *table, const char *key)
{
	while (table->name && !str_eq(table->name, key))
		table++;
	return table->name ? table : NULL;
}

int network_options(struct network *nw, struct err *e)
{
	static const struct option *const tables[DRIVER_COUNT] = { [DRIVER_BRIDGE] = bridge_options, [DRIVER_MACVLAN] = macvlan_options, [DRIVER_IPVLAN] = ipvlan_options };
	const char *key;
	json_t *v;

	json_object_foreach(json_obj(nw->doc, "Options"), key, v) {
		const struct option *o = find(common_options, key);
		bool known = str_starts(key, "com.docker.network.");

		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "the value of option %.64s is not a string", key);
		if (!o)
			o = find(tables[nw->driver], key);
		for (int d = 0; !known && d < DRIVER_COUNT; d++)
			known = tables[d] && find(tables[d], key);
		if (o && o->set(nw, key, json_string_value(v), e) < 0)
			return -1;
		if (!o && known)
			return err_set(e, ERR_INVALID, "option %.128s is not supported by the driver %s", key, network_driver_names[nw->driver]);
	}
	return 0;
}
