/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net_priv.h"

/*
 * Network objects. The stored document is the API's shape plus "Kedge" with what we need to find our own things again (bridge name, its MAC);
 * it is taken out before anybody sees it.
 */
static const char *const driver_name[] = { "bridge", "host", "null" };
_Static_assert(N(driver_name) == DRIVER_COUNT, "a name for every driver");

void net_alias(const struct net *n, const char *id, char *out, size_t size)
{
	(void)snprintf(out, size, "kedge:%s:%.64s", n->instance, id);
}

void network_free(struct network *nw)
{
	if (!nw)
		return;
	ipam_free(nw->ipam);
	json_decref(nw->doc);
	free(nw->name);
	free(nw);
}

struct network *network_by_id(const struct net *n, const char *id)
{
	return map_get(n->networks, id);
}

struct network *network_find(const struct net *n, const char *ref, struct err *e)
{
	struct network *nw, *found = NULL;
	size_t it = 0, hits = 0;

	if (str_eq(ref, "default"))
		ref = "bridge";
	while ((nw = map_next(n->networks, &it, NULL)))
		if (str_eq(nw->name, ref) || str_eq(nw->id, ref))
			return nw;
	it = 0;
	while (id_is_prefix(ref) && (nw = map_next(n->networks, &it, NULL)))
		if (str_starts(nw->id, ref)) {
			found = nw;
			hits++;
		}
	if (hits > 1)
		err_set(e, ERR_INVALID, "network %s is ambiguous (%zu matches found on ID prefix)", ref, hits);
	else if (!hits)
		err_set(e, ERR_NOT_FOUND, "network %s not found", ref);
	return hits == 1 ? found : NULL;
}

static json_t *shape(const char *name, const char *id, enum network_driver d)
{
	char created[40];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:{s:s, s:n, s:[]}, s:b, s:b, s:b, s:{s:s}, s:b, s:{}, s:{}, s:{}}", "Name", name, "Id", id,
			 "Created", str_time_ns(clock_wall(), created, sizeof(created)), "Scope", "local", "Driver", driver_name[d], "EnableIPv4", 1,
			 "EnableIPv6", 0, "IPAM", "Driver", "default", "Options", "Config", "Internal", 0, "Attachable", 0, "Ingress", 0, "ConfigFrom",
			 "Network", "", "ConfigOnly", 0, "Containers", "Options", "Labels");
}

static void store_network(struct net *n, const struct network *nw)
{
	struct store_tx *tx = store_tx_new(n->store);
	char mac[18];
	json_t *doc = json_deep_copy(nw->doc);

	if (nw->driver == DRIVER_BRIDGE)
		json_object_set_new(doc, "Kedge", json_pack("{s:s, s:s}", "Bridge", nw->bridge, "Mac", mac_text(nw->mac, mac)));
	store_tx_put(tx, "network", nw->id, doc);
	json_decref(doc);
	store_tx_commit_take(tx, NULL, NULL);
}

struct taken {
	struct net *n;
	struct net_cidr *c;
	size_t len;
	uint32_t not_ifindex;		/* our own bridge's routes do not count against it */
};

static void taken_add(struct taken *t, const struct net_cidr *c)
{
	t->c = mem_realloc(t->c, (t->len + 1) * sizeof(*t->c));
	t->c[t->len++] = *c;
}

static void on_route(void *user, const struct net_cidr *dst, uint32_t ifindex)
{
	struct taken *t = user;

	if (ifindex != t->not_ifindex)
		taken_add(t, dst);
}

static void on_addr(void *user, const struct rtnl_addr *a)
{
	struct taken *t = user;

	if (a->ifindex != t->not_ifindex)
		taken_add(t, &a->addr);
}

/* What the host and other networks use. */
static int taken_fill(struct taken *t, const struct network *self, struct err *e)
{
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(t->n->networks, &it, NULL)))
		if (nw != self && nw->ipam)
			taken_add(t, ipam_subnet(nw->ipam));
	return rtnl_route_each(t->n->rtnl, on_route, t, e) < 0 || rtnl_addr_each(t->n->rtnl, on_addr, t, e) < 0 ? -1 : 0;
}

/* The subnet and gateway of the default bridge: --bip, what it had before while that is still free, or the first free pool. */
static int default_pool(struct net *n, struct network *nw, const char *had, uint32_t ifindex, struct net_cidr *subnet, struct in6_addr *gateway,
			bool *given, struct err *e)
{
	struct taken t = { .n = n, .not_ifindex = ifindex };
	char text[CIDR_TEXT], other[CIDR_TEXT];
	struct net_cidr c;
	int rc = 0;

	*given = false;
	if (n->bip) {
		if (cidr_parse(n->bip, &c) < 0 || !addr_is4(&c.addr) || c.prefix > 96 + 30)
			return err_set(e, ERR_INVALID, "bip '%s' is not an IPv4 address with a prefix length up to 30 (172.17.0.1/16)", n->bip);
		*subnet = cidr_base(&c);
		/* A bare subnet is taken for its first address, as people mean it. */
		if (!addr_eq(&subnet->addr, &c.addr)) {
			*gateway = c.addr;
			*given = true;
		}
	}
	if (taken_fill(&t, nw, e) < 0) {
		free(t.c);
		return -1;
	}
	if (n->bip) {
		for (size_t i = 0; i < t.len && rc == 0; i++)
			if (cidr_len(&t.c[i]) && cidr_overlap(&t.c[i], subnet))
				rc = err_set(e, ERR_CONFLICT, "bip %s overlaps %s, which the host or another network uses", cidr_text(subnet, text),
					     cidr_text(&t.c[i], other));
	} else if (had && cidr_parse(had, &c) == 0) {
		bool clash = false;

		for (size_t i = 0; i < t.len; i++)
			clash |= cidr_len(&t.c[i]) && cidr_overlap(&t.c[i], &c);
		*subnet = c;
		if (clash && ifindex) {
			log_warn("net", "the subnet %s of network bridge overlaps a route of the host that came later", had);
		} else if (clash) {
			log_warn("net", "the subnet %s of network bridge overlaps a route of the host, looking for another", had);
			rc = ipam_pool_pick(t.c, t.len, subnet, e);
		}
	} else {
		rc = ipam_pool_pick(t.c, t.len, subnet, e);
	}
	free(t.c);
	return rc;
}

/* The bridge in the kernel: made when missing, taken over when it is ours, refused when it is another engine's. */
static int bridge_ensure(struct net *n, struct network *nw, const struct rtnl_link *have, struct err *e)
{
	struct rtnl_link l = *have;
	struct net_cidr a = { .addr = *ipam_gateway(nw->ipam), .prefix = ipam_subnet(nw->ipam)->prefix };
	char alias[128], mine[96];
	struct dp_net d;

	net_alias(n, nw->id, alias, sizeof(alias));
	(void)snprintf(mine, sizeof(mine), "kedge:%s:", n->instance);
	if (l.ifindex) {
		if (!str_eq(l.kind, "bridge"))
			return err_set(e, ERR_CONFLICT, "the interface %s exists and is not a bridge", nw->bridge);
		if (str_starts(l.alias, "kedge:") && !str_starts(l.alias, mine))
			return err_set(e, ERR_CONFLICT, "the bridge %s belongs to another engine (%s)", nw->bridge, l.alias);
		memcpy(nw->mac, l.mac, 6);
	} else {
		rtnl_bridge(n->rtnl, nw->bridge, nw->mac, nw->mtu);
	}
	rtnl_link_alias(n->rtnl, nw->bridge, alias);
	rtnl_link_up(n->rtnl, nw->bridge);
	if (rtnl_run(n->rtnl, e) < 0)
		return -1;
	if (rtnl_link_get(n->rtnl, nw->bridge, &l, e) <= 0)
		return err_set(e, ERR_INTERNAL, "the bridge %s was made and is not there", nw->bridge);
	nw->ifindex = l.ifindex;
	rtnl_addr_add(n->rtnl, nw->ifindex, &a);
	if (rtnl_run(n->rtnl, e) < 0)
		return -1;
	forwarding_ensure(n, nw->bridge);
	d = (struct dp_net){ .bridge_ifindex = nw->ifindex, .gateway = *ipam_gateway(nw->ipam), .subnet = ipam_subnet(nw->ipam)->addr,
			     .prefix = ipam_subnet(nw->ipam)->prefix, .masquerade = nw->masquerade,
			      .icc = true, .internal = nw->internal };
	return n->ops->net_set(n->dp, &d, e);
}

static void mac_new(uint8_t mac[6])
{
	rand_bytes(mac, 6);
	mac[0] = 0x02;
	mac[1] = 0x42;
}

/* Addresses a bridge of ours has from an earlier configuration. */
struct stale {
	struct net *n;
	struct network *nw;
	struct net_cidr c[8];
	size_t len;
};

static void on_stale(void *user, const struct rtnl_addr *a)
{
	struct stale *s = user;

	if (a->ifindex == s->nw->ifindex && addr_is4(&a->addr.addr) && !addr_eq(&a->addr.addr, ipam_gateway(s->nw->ipam)) && s->len < N(s->c))
		s->c[s->len++] = a->addr;
}

static int default_bridge(struct net *n, struct network *nw, struct err *e)
{
	json_t *cfg = json_array_get(json_path(nw->doc, "IPAM.Config"), 0);
	struct ipam_spec spec = { 0 };
	char st[CIDR_TEXT], gt[ADDR_TEXT], mtu[12];
	struct stale stale = { .n = n, .nw = nw };
	struct rtnl_link l = { 0 };
	struct in6_addr gw;
	bool given;

	(void)snprintf(nw->bridge, sizeof(nw->bridge), "%s", n->bridge);
	nw->mtu = NET_MTU;
	nw->masquerade = true;
	if (rtnl_link_get(n->rtnl, nw->bridge, &l, e) < 0)
		return -1;
	if (default_pool(n, nw, json_str(cfg, "Subnet", NULL), l.ifindex, &spec.subnet, &gw, &given, e) < 0)
		return -1;
	spec.gateway = given ? &gw : NULL;
	nw->ipam = ipam_new(&spec, e);
	if (!nw->ipam)
		return -1;
	(void)snprintf(mtu, sizeof(mtu), "%u", nw->mtu);
	json_object_set_new(nw->doc, "IPAM", json_pack("{s:s, s:n, s:[{s:s, s:s}]}", "Driver", "default", "Options", "Config", "Subnet",
						       cidr_text(ipam_subnet(nw->ipam), st), "Gateway", addr_text(ipam_gateway(nw->ipam), gt)));
	json_object_set_new(nw->doc, "Options",
			    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "com.docker.network.bridge.default_bridge", "true",
				      "com.docker.network.bridge.enable_icc", "true", "com.docker.network.bridge.enable_ip_masquerade", "true",
				      "com.docker.network.bridge.host_binding_ipv4", "0.0.0.0", "com.docker.network.bridge.name", nw->bridge,
				      "com.docker.network.driver.mtu", mtu));
	if (bridge_ensure(n, nw, &l, e) < 0)
		return err_wrap(e, "network bridge");
	if (l.ifindex && str_starts(l.alias, "kedge:")) {
		if (rtnl_addr_each(n->rtnl, on_stale, &stale, e) < 0)
			return -1;
		for (size_t i = 0; i < stale.len; i++)
			rtnl_addr_del(n->rtnl, nw->ifindex, &stale.c[i]);
		if (rtnl_run(n->rtnl, e) < 0)
			return -1;
	}
	return 0;
}

static int on_stored(const char *id, json_t *doc, void *user)
{
	struct net *n = user;
	struct network *nw = mem_zalloc(sizeof(*nw));
	const char *driver = json_str(doc, "Driver", "");
	json_t *own = json_obj(doc, "Kedge");

	(void)snprintf(nw->id, sizeof(nw->id), "%s", id);
	nw->name = mem_strdup(json_str(doc, "Name", id));
	nw->driver = DRIVER_COUNT;
	for (int d = 0; d < DRIVER_COUNT; d++)
		if (str_eq(driver, driver_name[d]))
			nw->driver = (enum network_driver)d;
	if (nw->driver == DRIVER_COUNT) {
		log_warn("net", "network %s has the driver '%s', which is not known, ignoring it", nw->name, driver);
		network_free(nw);
		return 0;
	}
	if (mac_parse(json_str(own, "Mac", ""), nw->mac) < 0)
		mac_new(nw->mac);
	(void)snprintf(nw->bridge, sizeof(nw->bridge), "%s", json_str(own, "Bridge", ""));
	nw->doc = json_deep_copy(doc);
	json_object_del(nw->doc, "Kedge");
	(void)map_put(n->networks, nw->id, nw);
	return 0;
}

static struct network *network_default(struct net *n, const char *name, enum network_driver d)
{
	struct network *nw = network_find(n, name, NULL);

	if (nw && nw->driver == d)
		return nw;
	nw = mem_zalloc(sizeof(*nw));
	id_new(nw->id);
	nw->name = mem_strdup(name);
	nw->driver = d;
	mac_new(nw->mac);
	nw->doc = shape(name, nw->id, d);
	(void)map_put(n->networks, nw->id, nw);
	return nw;
}

int network_load(struct net *n, struct err *e)
{
	struct network *nw;

	if (store_each(n->store, "network", on_stored, n, e) < 0)
		return -1;
	nw = network_default(n, "bridge", DRIVER_BRIDGE);
	if (default_bridge(n, nw, e) < 0)
		return -1;
	store_network(n, nw);
	store_network(n, network_default(n, "host", DRIVER_HOST));
	store_network(n, network_default(n, "none", DRIVER_NULL));
	return 0;
}

json_t *net_list(const struct net *n)
{
	json_t *a = json_array();
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(n->networks, &it, NULL)))
		json_array_append_new(a, json_deep_copy(nw->doc));
	return a;
}

json_t *net_inspect(const struct net *n, const char *name_or_id, struct err *e)
{
	struct network *nw = network_find(n, name_or_id, e);

	return nw ? json_deep_copy(nw->doc) : NULL;
}
