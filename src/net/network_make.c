/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network_priv.h"

/*
 * Theory of operation. Networks are made and removed in steps that alternate between the loop and a worker:
 *
 *   make     loop: request checked, name and subnets taken (nw->making) -> worker: bridge -> loop: data path -> commit -> caller told
 *   remove   loop: nobody finds it any more (nw->going) -> commit -> loop: out of the data path, caller told -> worker: bridge
 *
 * A kill before the first commit leaves a bridge whose alias names a network nobody knows, one after the second the same: net_gc() of the next start
 * removes both. A bridge takes the kernel some 20 ms to remove, so nobody waits for it; who wants to use its name at once does (bridge_going).
 */
struct making {
	struct work w;
	struct net *n;
	struct network *nw;
	struct network shadow;		/* what the worker writes: the loop may look at nw */
	char warning[256];
	int rc;
	struct err err;
	struct making *next;		/* waiting for a bridge's name */
	void (*done)(void *user, const char *id, const char *warning, const struct err *e);
	void *user;
};

/* The pool is gone when the module ends; what is under way is brought to its end all the same. */
static void work_run(struct net *n, struct work *w)
{
	if (n->stopping) {
		w->run(w);
		w->done(w);
		return;
	}
	work_start(n->pool, w);
}

/* ---- the request ---- */

static int check_name(struct net *n, const char *name, struct err *e)
{
	static const char *const builtin[] = { "bridge", "host", "none", "default" };
	struct network *nw;
	size_t it = 0;

	if (str_empty(name) || !name[strspn(name, " \t")])
		return err_set(e, ERR_INVALID, "invalid network name: name is empty");
	for (size_t i = 0; i < N(builtin); i++)
		if (str_eq(name, builtin[i]))
			return err_set(e, ERR_FORBIDDEN, "operation is not permitted on predefined %s network", name);
	if (str_starts(name, "container:"))
		return err_set(e, ERR_INVALID, "invalid network name: '%.200s' would mean the network of a container", name);
	/* docker takes one character too, containers' names do not. */
	if (strlen(name) > 255 || (name[1] ? !id_name_valid(name) : !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *name)))
		return err_set(e, ERR_INVALID, "invalid network name (%.200s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
	while ((nw = map_next(n->networks, &it, NULL)))
		if (str_eq(nw->name, name) && !nw->going)
			return err_set(e, ERR_CONFLICT, "network with name %s already exists", name);
	return 0;
}

/* A string that is its whole length. */
static bool is_text(const json_t *v)
{
	return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

static int check_type(const json_t *o, const char *key, bool ok, struct err *e)
{
	json_t *v = json_object_get(o, key);

	return !v || json_is_null(v) || ok ? 0 : err_set(e, ERR_INVALID, "invalid network: %s has the wrong type", key);
}

static int check_strings(const json_t *o, const char *key, struct err *e)
{
	json_t *v = json_object_get(o, key), *s;
	const char *k;

	if (check_type(o, key, json_is_object(v), e) < 0)
		return -1;
	json_object_foreach(v, k, s)
		if (!is_text(s))
			return err_set(e, ERR_INVALID, "invalid network: the value of \"%.64s\" in %s is not a string", k, key);
	return 0;
}

static int check_types(const json_t *b, struct err *e)
{
	static const char *const texts[] = { "Name", "Driver", "Scope" };
	static const char *const flags[] = { "Internal", "Attachable", "Ingress", "ConfigOnly", "EnableIPv4", "EnableIPv6", "CheckDuplicate" };
	json_t *ipam = json_object_get(b, "IPAM"), *list = json_object_get(ipam, "Config"), *v;
	size_t i;

	for (i = 0; i < N(texts); i++)
		if (check_type(b, texts[i], is_text(json_object_get(b, texts[i])), e) < 0)
			return -1;
	for (i = 0; i < N(flags); i++)
		if (check_type(b, flags[i], json_is_boolean(json_object_get(b, flags[i])), e) < 0)
			return -1;
	if (check_strings(b, "Options", e) < 0 || check_strings(b, "Labels", e) < 0 || check_type(b, "IPAM", json_is_object(ipam), e) < 0 ||
	    check_type(ipam, "Config", json_is_array(list), e) < 0 || check_strings(ipam, "Options", e) < 0 ||
	    check_type(b, "ConfigFrom", json_is_object(json_object_get(b, "ConfigFrom")), e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		static const char *const keys[] = { "Subnet", "IPRange", "Gateway" };

		if (!json_is_object(v))
			return err_set(e, ERR_INVALID, "invalid network: IPAM.Config is not a list of objects");
		for (size_t k = 0; k < N(keys); k++)
			if (check_type(v, keys[k], is_text(json_object_get(v, keys[k])), e) < 0)
				return -1;
		if (check_strings(v, "AuxiliaryAddresses", e) < 0)
			return -1;
	}
	return 0;
}

static int find_driver(const char *name, enum network_driver *ret, struct err *e)
{
	if (str_empty(name) || str_eq(name, "default"))
		name = "bridge";
	for (int d = 0; d < DRIVER_COUNT; d++)
		if (str_eq(name, network_driver_names[d])) {
			if (d == DRIVER_HOST || d == DRIVER_NULL)
				return err_set(e, ERR_FORBIDDEN, "only one instance of \"%s\" network is allowed", name);
			*ret = (enum network_driver)d;
			return 0;
		}
	if (str_eq(name, "overlay"))
		return err_set(e, ERR_UNAVAILABLE, "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to "
			       "swarm and try again.");
	return err_set(e, ERR_NOT_FOUND, "could not find plugin %.64s in v1 plugin registry: plugin not found", name);
}

/* The parts of IPAM.Config that count: subnets of a family the network has not are left out, as docker does. */
static json_t *config_of(const json_t *ipam, bool v4, bool v6)
{
	json_t *out = json_array(), *v, *copy;
	size_t i;

	json_array_foreach(json_arr(ipam, "Config"), i, v) {
		static const char *const keys[] = { "Subnet", "IPRange", "Gateway" };
		const char *subnet = json_str(v, "Subnet", "");
		struct net_cidr c;

		if (cidr_parse(subnet, &c) == 0 && (addr_is4(&c.addr) ? !v4 : !v6))
			continue;
		copy = json_object();
		for (size_t k = 0; k < N(keys); k++)
			if (*json_str(v, keys[k], ""))
				json_object_set(copy, keys[k], json_object_get(v, keys[k]));
		if (json_object_size(json_obj(v, "AuxiliaryAddresses")))
			json_object_set_new(copy, "AuxiliaryAddresses", json_deep_copy(json_obj(v, "AuxiliaryAddresses")));
		json_array_append_new(out, copy);
	}
	return out;
}

static bool config_has(const json_t *config, bool v6)
{
	json_t *v;
	size_t i;

	json_array_foreach(config, i, v)
		if ((strchr(json_str(v, "Subnet", ""), ':') != NULL) == v6)
			return true;
	return false;
}

/* A family without a subnet gets one of the defaults; what was asked for must not overlap another network. */
static int subnets(struct network *nw, json_t *config, bool v4, bool v6, char *warning, size_t size, struct err *e)
{
	struct net *n = nw->n;
	struct taken t = { .n = n, .self = nw };
	char text[CIDR_TEXT], other[CIDR_TEXT];
	const struct net_cidr *hit;
	struct network *o;
	struct net_cidr c;
	size_t it = 0;
	int rc = 0;

	nw->user4 = config_has(config, false);
	nw->user6 = config_has(config, true);
	if (taken_fill(&t, e) < 0) {
		free(t.c);
		return -1;
	}
	if (v4 && !nw->user4) {
		rc = taken_pick(&t, false, &c, e);
		if (rc == 0)
			json_array_insert_new(config, 0, json_pack("{s:s}", "Subnet", cidr_text(&c, text)));
	}
	if (rc == 0 && v6 && !nw->user6) {
		rc = taken_pick(&t, true, &c, e);
		if (rc == 0)
			json_array_append_new(config, json_pack("{s:s}", "Subnet", cidr_text(&c, text)));
	}
	if (rc == 0)
		rc = network_pools(nw, e);
	while (rc == 0 && (o = map_next(n->networks, &it, NULL)))
		for (size_t i = 0; o != nw && i < o->n_pools && rc == 0; i++)
			for (size_t k = 0; k < nw->n_pools && rc == 0; k++)
				/* Macvlan networks may share a subnet with what is outside, not with a bridge of ours. */
				if (cidr_overlap(ipam_subnet(o->pool[i]), ipam_subnet(nw->pool[k])))
					rc = err_set(e, ERR_FORBIDDEN, "invalid pool request: Pool overlaps with other one on this address space");
	for (size_t k = 0; rc == 0 && k < nw->n_pools && nw->driver == DRIVER_BRIDGE; k++) {
		hit = taken_hit(&t, ipam_subnet(nw->pool[k]));
		if (hit)
			(void)snprintf(warning, size, "the subnet %s overlaps %s, which the host has a route to: from here on it is the network's",
				       cidr_text(ipam_subnet(nw->pool[k]), text), cidr_text(hit, other));
	}
	free(t.c);
	return rc;
}

static int bridge_name_free(const struct network *nw, struct err *e)
{
	struct network *o;
	size_t it = 0;

	while ((o = map_next(nw->n->networks, &it, NULL)))
		if (o != nw && !o->going && str_eq(o->bridge, nw->bridge))
			return err_set(e, ERR_FORBIDDEN, "cannot create network %s: the bridge %s is in use by network %s", nw->name, nw->bridge, o->name);
	return 0;
}

/* Who passes a link through has it alone. Of ipvlan networks each has its own, as with docker. */
static int parent_free(const struct network *nw, struct err *e)
{
	struct network *o;
	size_t it = 0;

	while ((o = map_next(nw->n->networks, &it, NULL)))
		if (o != nw && !o->going && o->driver == nw->driver && str_eq(o->parent, nw->parent) &&
		    (nw->driver == DRIVER_IPVLAN || o->link_mode == MACVLAN_MODE_PASSTHRU || nw->link_mode == MACVLAN_MODE_PASSTHRU))
			return err_set(e, ERR_FORBIDDEN, "network %s is already using parent interface %s", o->name, nw->parent);
	return 0;
}

static json_t *copy_or_empty(const json_t *o, const char *key)
{
	json_t *v = json_obj(o, key);

	return v ? json_deep_copy(v) : json_object();
}

/* Where options, subnets and families come from: the request, or the network it names as its configuration. */
static const json_t *config_source(struct net *n, const json_t *b, struct err *e)
{
	const char *from = json_str(json_obj(b, "ConfigFrom"), "Network", "");
	struct network *nw;

	if (!*from)
		return b;
	nw = network_find(n, from, NULL);
	if (!nw || !nw->config_only) {
		err_set(e, nw ? ERR_INVALID : ERR_NOT_FOUND, nw ? "configuration network \"%.200s\" is not a configuration network" :
			"could not find configuration network \"%.200s\"", from);
		return NULL;
	}
	if (json_object_size(json_obj(b, "Options")) || json_array_size(json_arr(json_obj(b, "IPAM"), "Config")) || json_flag(b, "EnableIPv6", false)) {
		err_set(e, ERR_INVALID, "user-specified configurations are not supported if the network depends on a configuration network");
		return NULL;
	}
	return nw->doc;
}

/* By the request's own field or, where that is left out, by an option; that option's value is checked with the others. */
static bool family_enabled(const json_t *src, const char *field, const char *option, bool unsaid)
{
	const char *text = json_str(json_obj(src, "Options"), option, "");

	if (json_is_boolean(json_object_get(src, field)))
		return json_flag(src, field, unsaid);
	return *text ? strchr("1tT", *text) != NULL : unsaid;
}

/* Which the request's own field has overridden: nobody shall read what does not hold. */
static void forget_option(json_t *options, const json_t *src, const char *field, const char *option)
{
	if (json_is_boolean(json_object_get(src, field)))
		(void)json_object_del(options, option);
}

static int network_read(struct network *nw, const json_t *b, char *warning, size_t size, struct err *e)
{
	const json_t *ipam, *src;
	bool config_only = json_flag(b, "ConfigOnly", false), v4, v6;
	const char *ipam_driver;
	json_t *config, *options;

	if (json_flag(b, "Ingress", false) || str_eq(json_str(b, "Scope", ""), "swarm") || str_eq(json_str(b, "Scope", ""), "global")) {
		(void)find_driver("overlay", &nw->driver, e);
		return err_wrap(e, json_flag(b, "Ingress", false) ? "an ingress network" : "a network of the scope %.64s", json_str(b, "Scope", ""));
	}
	if (*json_str(b, "Scope", "") && !str_eq(json_str(b, "Scope", ""), "local"))
		return err_set(e, ERR_INVALID, "invalid network scope '%.64s'", json_str(b, "Scope", ""));
	if (config_only && *json_str(json_obj(b, "ConfigFrom"), "Network", ""))
		return err_set(e, ERR_INVALID, "a configuration network cannot depend on another configuration network");
	src = config_source(nw->n, b, e);
	if (!src)
		return -1;
	if (config_only)
		nw->driver = DRIVER_NULL;
	else if (find_driver(json_str(b, "Driver", ""), &nw->driver, e) < 0)
		return -1;
	ipam = json_obj(src, "IPAM");
	ipam_driver = json_str(ipam, "Driver", "default");
	if (*ipam_driver && !str_eq(ipam_driver, "default"))
		return err_set(e, ERR_NOT_FOUND, "could not find an ipam driver \"%.64s\": plugin not found", ipam_driver);
	v4 = family_enabled(src, "EnableIPv4", "com.docker.network.enable_ipv4", true);
	v6 = family_enabled(src, "EnableIPv6", "com.docker.network.enable_ipv6", false);
	if (!v4 && !v6 && !config_only)
		return err_set(e, ERR_INVALID, "IPv4 or IPv6 must be enabled");
	nw->doc = network_shape(nw->name, nw->id, network_driver_names[nw->driver]);
	json_object_set_new(nw->doc, "EnableIPv4", json_boolean(v4));
	json_object_set_new(nw->doc, "EnableIPv6", json_boolean(v6));
	json_object_set_new(nw->doc, "Internal", json_boolean(json_flag(b, "Internal", false)));
	json_object_set_new(nw->doc, "Attachable", json_boolean(json_flag(b, "Attachable", false)));
	json_object_set_new(nw->doc, "ConfigOnly", json_boolean(config_only));
	json_object_set_new(nw->doc, "ConfigFrom", json_pack("{s:s}", "Network", json_str(json_obj(b, "ConfigFrom"), "Network", "")));
	options = copy_or_empty(src, "Options");
	forget_option(options, src, "EnableIPv4", "com.docker.network.enable_ipv4");
	forget_option(options, src, "EnableIPv6", "com.docker.network.enable_ipv6");
	json_object_set_new(nw->doc, "Options", options);
	json_object_set_new(nw->doc, "Labels", copy_or_empty(b, "Labels"));
	config = config_of(ipam, v4 || config_only, v6 || config_only);
	json_object_set_new(nw->doc, "IPAM", json_pack("{s:s, s:o, s:o}", "Driver", "default", "Options", copy_or_empty(ipam, "Options"), "Config", config));
	if (network_apply(nw, e) < 0)
		return -1;
	if (config_only)
		return 0;
	if (nw->driver == DRIVER_BRIDGE ? bridge_name_free(nw, e) < 0 : parent_free(nw, e) < 0)
		return -1;
	return subnets(nw, config, v4, v6, warning, size, e);
}

/* ---- making ---- */

static void finish(void *user)
{
	struct making *m = user;

	if (m->rc < 0) {
		(void)map_del(m->n->networks, m->nw->id);
		if (!m->n->stopping)
			m->done(m->user, NULL, NULL, &m->err);
		network_free(m->nw);
	} else if (!m->n->stopping) {
		m->done(m->user, m->nw->id, m->warning[0] ? m->warning : NULL, NULL);
	}
	free(m);
}

static void undo_run(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, w);
	struct err e = { 0 };
	struct rtnl *r;

	if (rtnl_open(&r, &e) < 0) {
		log_warn("net", "network %s: %s, leaving its bridge to the next start", m->nw->name, e.msg);
		return;
	}
	if (network_kernel_down(m->nw, r, &e) < 0)
		log_warn("net", "network %s: %s", m->nw->name, e.msg);
	rtnl_close(r);
}

static void undo_done(struct work *w)
{
	finish(CONTAINER_OF(w, struct making, w));
}

static void undo(struct making *m)
{
	m->rc = -1;
	if (!m->nw->ifindex) {
		finish(m);
		return;
	}
	if (m->nw->driver == DRIVER_BRIDGE)
		network_datapath_end(m->nw);
	m->w = (struct work){ .run = undo_run, .done = undo_done };
	work_run(m->n, &m->w);
}

static void on_stored(void *user, const struct err *e)
{
	struct making *m = user;

	(void)FAULT("net.network.made");
	m->n->pending--;
	if (e) {
		m->err = *e;
		undo(m);
		return;
	}
	m->nw->making = false;
	sctp_source_refresh(m->n);
	finish(m);
}

static void commit(void *user)
{
	struct making *m = user;
	struct store_tx *tx = store_tx_new(m->n->store);

	(void)FAULT("net.network.make");
	network_store(m->nw, tx);
	m->n->pending++;
	store_tx_commit_take(tx, on_stored, m);
}

static void make_run(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, w);
	struct rtnl *r;

	m->rc = rtnl_open(&r, &m->err);
	if (m->rc < 0)
		return;
	m->rc = network_kernel_up(&m->shadow, r, &m->err);
	rtnl_close(r);
}

static void make_done(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, w);

	m->nw->ifindex = m->shadow.ifindex;
	m->nw->foreign = m->shadow.foreign;
	m->nw->own_parent = m->shadow.own_parent;
	memcpy(m->nw->mac, m->shadow.mac, 6);
	if (m->rc < 0 || (m->nw->driver == DRIVER_BRIDGE && network_datapath(m->nw, &m->err) < 0)) {
		undo(m);
		return;
	}
	watch_trust(m->n->watch, m->nw);
	commit(m);
}

static void make_start(struct making *m)
{
	for (struct bridge_going *g = m->n->going; g; g = g->next)
		if (str_eq(g->nw->bridge, m->nw->bridge) && str_eq(g->nw->parent, m->nw->parent)) {
			m->next = g->waiting;
			g->waiting = m;
			return;
		}
	m->shadow = *m->nw;
	m->w = (struct work){ .run = make_run, .done = make_done };
	work_run(m->n, &m->w);
}

void net_network_create(struct net *n, const json_t *body, void (*done)(void *user, const char *id, const char *warning, const struct err *e), void *user)
{
	struct making *m = mem_zalloc(sizeof(*m));
	struct network *nw = mem_zalloc(sizeof(*nw));

	*m = (struct making){ .n = n, .nw = nw, .done = done, .user = user };
	nw->n = n;
	nw->making = true;
	id_new(nw->id);
	network_mac_new(nw->mac);
	nw->name = mem_strdup(json_str(body, "Name", ""));
	if (check_types(body, &m->err) < 0 || check_name(n, nw->name, &m->err) < 0 ||
	    network_read(nw, body, m->warning, sizeof(m->warning), &m->err) < 0) {
		m->rc = -1;
		loop_defer(n->loop, finish, m);
		return;
	}
	(void)map_put(n->networks, nw->id, nw);
	if (nw->internal)
		networks_bar(n);
	if (nw->driver == DRIVER_BRIDGE || network_on_parent(nw))
		make_start(m);
	else
		loop_defer(n->loop, commit, m);
}

/* ---- removing ---- */

struct removing {
	struct net *n;
	struct network *nw;		/* NULL: refused */
	struct err err;
	void (*done)(void *user, const struct err *e);
	void *user;
};

static void going_run(struct work *w)
{
	struct bridge_going *g = CONTAINER_OF(w, struct bridge_going, w);
	struct err e = { 0 };
	struct rtnl *r;

	if (rtnl_open(&r, &e) < 0 || network_kernel_down(g->nw, r, &e) < 0)
		log_warn("net", "network %s: %s", g->nw->name, e.msg);
	rtnl_close(r);
}

static void going_done(struct work *w)
{
	struct bridge_going *g = CONTAINER_OF(w, struct bridge_going, w);
	struct net *n = g->nw->n;
	struct making *m, *next;

	for (struct bridge_going **at = &n->going; *at; at = &(*at)->next)
		if (*at == g) {
			*at = g->next;
			break;
		}
	for (m = g->waiting; m; m = next) {
		next = m->next;
		make_start(m);
	}
	network_free(g->nw);
	free(g);
}

static void bridge_go(struct network *nw)
{
	struct bridge_going *g = mem_zalloc(sizeof(*g));
	struct net *n = nw->n;

	*g = (struct bridge_going){ .nw = nw, .ifindex = nw->ifindex, .next = n->going };
	n->going = g;
	g->w = (struct work){ .run = going_run, .done = going_done };
	work_run(n, &g->w);
}

/* The link that was made for it is handed on to another network on it. */
static void parent_inherit(struct network *nw)
{
	struct network *o;
	size_t it = 0;

	while (nw->own_parent && !nw->heir[0] && (o = map_next(nw->n->networks, &it, NULL)))
		if (o != nw && !o->going && str_eq(o->parent, nw->parent)) {
			memcpy(nw->heir, o->id, sizeof(nw->heir));
			o->own_parent = true;
		}
}

static void on_removed(void *user, const struct err *e)
{
	struct removing *rm = user;
	struct network *nw = rm->nw;
	struct net *n = rm->n;

	(void)FAULT("net.network.removed");
	n->pending--;
	if (e) {
		nw->going = false;
	} else {
		(void)map_del(n->networks, nw->id);
		if (nw->internal)
			networks_bar(n);
		reaper_forget(n, nw);
		parent_inherit(nw);
		if (nw->ifindex) {
			if (nw->driver == DRIVER_BRIDGE)
				network_datapath_end(nw);
			bridge_go(nw);
		} else {
			network_free(nw);
		}
	}
	if (!n->stopping)
		rm->done(rm->user, e);
	free(rm);
}

static void on_refused(void *user)
{
	struct removing *rm = user;

	if (!rm->n->stopping)
		rm->done(rm->user, &rm->err);
	free(rm);
}

static int check_unused(const struct network *nw, struct err *e)
{
	CLEANUP(mem_freep) char *list = NULL;

	if (nw->predefined)
		return err_set(e, ERR_FORBIDDEN, "%s is a pre-defined network and cannot be removed", nw->name);
	if (nw->busy == nw->resting)
		return 0;
	list = endpoints_text(nw);
	return err_set(e, ERR_FORBIDDEN, "error while removing network: network %s has active endpoints%s", nw->name, list);
}

static int check_no_dependents(const struct network *nw, struct err *e)
{
	struct network *o;
	size_t it = 0;

	while (nw->config_only && (o = map_next(nw->n->networks, &it, NULL)))
		if (!o->going && str_eq(json_str(json_obj(o->doc, "ConfigFrom"), "Network", ""), nw->name))
			return err_set(e, ERR_FORBIDDEN, "configuration network \"%s\" is in use by network %s", nw->name, o->name);
	return 0;
}

void net_network_remove(struct net *n, const char *ref, void (*done)(void *user, const struct err *e), void *user)
{
	struct removing *rm = mem_zalloc(sizeof(*rm));
	struct network *nw = network_find(n, ref, &rm->err);
	struct store_tx *tx;

	rm->n = n;
	rm->done = done;
	rm->user = user;
	if (!nw || check_unused(nw, &rm->err) < 0 || check_no_dependents(nw, &rm->err) < 0) {
		loop_defer(n->loop, on_refused, rm);
		return;
	}
	rm->nw = nw;
	nw->going = true;
	(void)FAULT("net.network.remove");
	tx = store_tx_new(n->store);
	store_tx_del(tx, "network", nw->id);
	n->pending++;
	store_tx_commit_take(tx, on_removed, rm);
}
