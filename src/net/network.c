/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/names.h"
#include "net/network_priv.h"

/*
 * Network objects: how they are found, and what the start makes of the store. The stored document is the API's shape plus "Kedge" with what we need
 * to find our own things again; it is taken out before anybody sees it.
 */
void net_alias(const struct net *n, const char *id, char *out, size_t size)
{
	(void)snprintf(out, size, "kedge:%s:%.64s", n->instance, id);
}

void network_free(struct network *nw)
{
	if (!nw)
		return;
	names_network_free(nw);
	network_pools_free(nw);
	json_decref(nw->doc);
	strv_free(nw->trusted);
	free(nw->name);
	free(nw);
}

struct network *network_by_id(const struct net *n, const char *id)
{
	struct network *nw = map_get(n->networks, id);

	return nw && !nw->making && !nw->going ? nw : NULL;
}

struct network *network_find(const struct net *n, const char *ref, struct err *e)
{
	struct network *nw, *found = NULL;
	size_t it = 0, hits = 0;

	if (str_eq(ref, "default"))
		ref = "bridge";
	nw = network_by_id(n, ref);
	if (nw)
		return nw;
	while ((nw = map_next(n->networks, &it, NULL)))
		if (str_eq(nw->name, ref) && !nw->making && !nw->going)
			return nw;
	it = 0;
	while (id_is_prefix(ref) && (nw = map_next(n->networks, &it, NULL)))
		if (str_starts(nw->id, ref) && !nw->making && !nw->going) {
			found = nw;
			hits++;
		}
	if (hits > 1)
		err_set(e, ERR_INVALID, "network %s is ambiguous (%zu matches found on ID prefix)", ref, hits);
	else if (!hits)
		err_set(e, ERR_NOT_FOUND, "network %s not found", ref);
	return hits == 1 ? found : NULL;
}

json_t *network_shape(const char *name, const char *id, const char *driver)
{
	char created[40];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:{s:s, s:n, s:[]}, s:b, s:b, s:b, s:{s:s}, s:b, s:{}, s:{}, s:{}}", "Name", name, "Id", id,
			 "Created", str_time_ns(clock_wall(), created, sizeof(created)), "Scope", "local", "Driver", driver, "EnableIPv4", 1,
			 "EnableIPv6", 0, "IPAM", "Driver", "default", "Options", "Config", "Internal", 0, "Attachable", 0, "Ingress", 0, "ConfigFrom",
			 "Network", "", "ConfigOnly", 0, "Containers", "Options", "Labels");
}

void network_store(const struct network *nw, struct store_tx *tx)
{
	json_t *doc = json_deep_copy(nw->doc), *own;
	char mac[18], ula[CIDR_TEXT];

	if (nw->driver == DRIVER_BRIDGE || network_on_parent(nw)) {
		own = json_pack("{s:s, s:s, s:b, s:b, s:b}", "Bridge", nw->bridge, "Mac", mac_text(nw->mac, mac), "Foreign", nw->foreign, "User4", nw->user4,
				"User6", nw->user6);
		if (nw->predefined)
			json_object_set_new(own, "Ula", json_string(cidr_text(&nw->n->ula, ula)));
		json_object_set_new(doc, "Kedge", own);
	}
	store_tx_put(tx, "network", nw->id, doc);
	json_decref(doc);
}

/* ---- start ---- */

/* The subnet and gateway of the default bridge: --bip, what it had before while that is still free, or the first free pool. */
static int default_pool(struct network *nw, struct net_cidr *subnet, struct in6_addr *gateway, bool *given, struct err *e)
{
	struct net *n = nw->n;
	struct taken t = { .n = n, .self = nw };
	json_t *cfg = json_array_get(json_path(nw->doc, "IPAM.Config"), 0);
	const char *had = json_str(cfg, "Subnet", NULL);
	char text[CIDR_TEXT], other[CIDR_TEXT];
	const struct net_cidr *hit;
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
	if (taken_fill(&t, e) < 0) {
		free(t.c);
		return -1;
	}
	if (n->bip) {
		hit = taken_hit(&t, subnet);
		if (hit)
			rc = err_set(e, ERR_CONFLICT, "bip %s overlaps %s, which the host or another network uses", cidr_text(subnet, text), cidr_text(hit, other));
	} else if (had && cidr_parse(had, &c) == 0) {
		hit = taken_hit(&t, &c);
		*subnet = c;
		if (hit && nw->ifindex) {
			log_warn("net", "the subnet %s of network bridge overlaps a route of the host that came later", had);
		} else if (hit) {
			log_warn("net", "the subnet %s of network bridge overlaps a route of the host, looking for another", had);
			rc = taken_pick(&t, false, subnet, e);
		}
	} else {
		rc = taken_pick(&t, false, subnet, e);
	}
	free(t.c);
	return rc;
}

static int default_bridge(struct net *n, struct network *nw, struct err *e)
{
	char st[CIDR_TEXT], gt[ADDR_TEXT];
	struct rtnl_link l = { 0 };
	struct net_cidr subnet;
	struct in6_addr gw;
	bool given;

	if (rtnl_link_get(n->rtnl, n->bridge, &l, e) < 0)
		return -1;
	nw->ifindex = l.ifindex;
	if (default_pool(nw, &subnet, &gw, &given, e) < 0)
		return -1;
	json_object_set_new(nw->doc, "IPAM", json_pack("{s:s, s:n, s:[{s:s}]}", "Driver", "default", "Options", "Config", "Subnet", cidr_text(&subnet, st)));
	if (given)
		json_object_set_new(json_array_get(json_path(nw->doc, "IPAM.Config"), 0), "Gateway", json_string(addr_text(&gw, gt)));
	json_object_set_new(nw->doc, "Options",
			    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "com.docker.network.bridge.default_bridge", "true",
				      "com.docker.network.bridge.enable_icc", "true", "com.docker.network.bridge.enable_ip_masquerade", "true",
				      "com.docker.network.bridge.host_binding_ipv4", "0.0.0.0", "com.docker.network.bridge.name", n->bridge,
				      "com.docker.network.driver.mtu", "1500"));
	if (network_apply(nw, e) < 0 || network_pools(nw, e) < 0)
		return -1;
	if (network_bridge_up(nw, n->rtnl, e) < 0 || network_datapath(nw, e) < 0)
		return err_wrap(e, "network bridge");
	return 0;
}

/* One that cannot be brought up is kept: its containers hear why, and the next start tries again. */
static void stored_up(struct net *n, struct network *nw)
{
	struct err e = { 0 };

	if (network_on_parent(nw))
		network_parent_claim(nw, n->rtnl);
	if (network_kernel_up(nw, n->rtnl, &e) == 0 && (nw->driver != DRIVER_BRIDGE || network_datapath(nw, &e) == 0))
		return;
	nw->ifindex = 0;
	log_error("net", "network %s is out of service: %s", nw->name, e.msg);
}

static int on_stored(const char *id, json_t *doc, void *user)
{
	struct net *n = user;
	struct network *nw = mem_zalloc(sizeof(*nw));
	const char *driver = json_str(doc, "Driver", ""), *ula;
	json_t *own = json_obj(doc, "Kedge");
	struct err e = { 0 };

	nw->n = n;
	(void)snprintf(nw->id, sizeof(nw->id), "%.64s", id);
	nw->name = mem_strdup(json_str(doc, "Name", id));
	nw->predefined = str_eq(nw->name, "bridge") || str_eq(nw->name, "host") || str_eq(nw->name, "none");
	nw->driver = DRIVER_COUNT;
	for (int d = 0; d < DRIVER_COUNT; d++)
		if (str_eq(driver, network_driver_names[d]))
			nw->driver = (enum network_driver)d;
	if (nw->driver == DRIVER_COUNT) {
		log_warn("net", "network %s has the driver '%s', which is not known, ignoring it", nw->name, driver);
		network_free(nw);
		return 0;
	}
	if (mac_parse(json_str(own, "Mac", ""), nw->mac) < 0)
		network_mac_new(nw->mac);
	nw->foreign = json_flag(own, "Foreign", false);
	nw->user4 = json_flag(own, "User4", false);
	nw->user6 = json_flag(own, "User6", false);
	ula = json_str(own, "Ula", NULL);
	if (ula)
		(void)cidr_parse(ula, &n->ula);
	nw->doc = json_deep_copy(doc);
	json_object_del(nw->doc, "Kedge");
	if (!nw->predefined && (network_apply(nw, &e) < 0 || network_pools(nw, &e) < 0))
		log_error("net", "network %s is out of service: %s", nw->name, e.msg);
	(void)map_put(n->networks, nw->id, nw);
	return 0;
}

static struct network *network_default(struct net *n, const char *name, enum network_driver d)
{
	struct network *nw = network_find(n, name, NULL);

	if (nw && nw->driver == d)
		return nw;
	nw = mem_zalloc(sizeof(*nw));
	nw->n = n;
	id_new(nw->id);
	nw->name = mem_strdup(name);
	nw->driver = d;
	nw->predefined = true;
	network_mac_new(nw->mac);
	nw->doc = network_shape(name, nw->id, network_driver_names[d]);
	(void)map_put(n->networks, nw->id, nw);
	return nw;
}

/* RFC 4193: fd, then 40 random bits. */
static void ula_new(struct net_cidr *ret)
{
	*ret = (struct net_cidr){ .prefix = 48 };
	rand_bytes(&ret->addr.s6_addr[1], 5);
	ret->addr.s6_addr[0] = 0xfd;
}

int network_load(struct net *n, struct err *e)
{
	struct store_tx *tx;
	struct network *nw;
	size_t it = 0;

	if (store_each(n->store, "network", on_stored, n, e) < 0)
		return -1;
	if (!n->ula.prefix)
		ula_new(&n->ula);
	nw = network_default(n, "bridge", DRIVER_BRIDGE);
	if (default_bridge(n, nw, e) < 0)
		return -1;
	tx = store_tx_new(n->store);
	network_store(nw, tx);
	network_store(network_default(n, "host", DRIVER_HOST), tx);
	network_store(network_default(n, "none", DRIVER_NULL), tx);
	store_tx_commit_take(tx, NULL, NULL);
	while ((nw = map_next(n->networks, &it, NULL)))
		if (!nw->predefined && nw->n_pools)
			stored_up(n, nw);
	networks_bar(n);
	isolation_gc(n);
	return 0;
}

/* ---- looks ---- */

json_t *net_list(const struct net *n)
{
	json_t *a = json_array();
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(n->networks, &it, NULL)))
		if (!nw->making && !nw->going)
			json_array_append_new(a, json_deep_copy(nw->doc));
	return a;
}

json_t *net_inspect(const struct net *n, const char *name_or_id, struct err *e)
{
	struct network *nw = network_find(n, name_or_id, e);

	return nw ? json_deep_copy(nw->doc) : NULL;
}
