/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks as clients see and change them. Connect and disconnect of a running container are two things, the document and the kernel, in the order
 * that a kill in between leaves least: what joins is on disk once it works (a veth nobody knows is removed at the next start), what leaves is off the
 * disk first.
 */
#include "engine/endpoints.h"

#include <stdio.h>
#include <string.h>

#include "engine/filter.h"

void event_network(struct engine *en, const char *action, const char *id, const char *name, const char *container)
{
	json_t *nw = net_inspect(en->net, id, NULL);
	json_t *attrs = json_pack("{s:s, s:s}", "name", name, "type", json_str(nw, "Driver", "bridge"));

	if (container)
		doc_set(attrs, "container", json_string(container));
	engine_event_post(en, "network", action, id, attrs);
	json_decref(nw);
}

/* ---- create, remove, prune ---- */

struct network_op {
	struct engine *en;
	char id[ID_LEN + 1], *name, *driver;
	engine_done *done;
	void (*created)(void *user, const char *id, const char *warning, const struct err *e);
	void *user;
};

static void op_free(struct network_op *op)
{
	free(op->name);
	free(op->driver);
	free(op);
}

static void on_created(void *user, const char *id, const char *warning, const struct err *e)
{
	struct network_op *op = user;

	if (!e)
		event_network(op->en, "create", id, op->name, NULL);
	op->created(op->user, id, warning, e);
	op_free(op);
}

void engine_network_create(struct engine *en, const json_t *body, void (*done)(void *user, const char *id, const char *warning, const struct err *e),
			   void *user)
{
	struct network_op *op = mem_zalloc(sizeof(*op));

	*op = (struct network_op){ .en = en, .name = mem_strdup(json_str(body, "Name", "")), .created = done, .user = user };
	net_network_create(en->net, body, on_created, op);
}

static void on_removed(void *user, const struct err *e)
{
	struct network_op *op = user;

	if (!e)
		engine_event_post(op->en, "network", "destroy", op->id, json_pack("{s:s, s:s}", "name", op->name, "type", op->driver));
	op->done(op->user, e);
	op_free(op);
}

void engine_network_remove(struct engine *en, const char *ref, engine_done *done, void *user)
{
	struct network_op *op = mem_zalloc(sizeof(*op));
	json_t *nw = net_inspect(en->net, ref, NULL);

	*op = (struct network_op){ .en = en, .name = mem_strdup(json_str(nw, "Name", ref)), .driver = mem_strdup(json_str(nw, "Driver", "")), .done = done,
				   .user = user };
	(void)snprintf(op->id, sizeof(op->id), "%s", json_str(nw, "Id", ""));
	json_decref(nw);
	net_network_remove(en->net, ref, on_removed, op);
}

struct pruning {
	struct engine *en;
	json_t *names;			/* still to be removed, last first */
	json_t *removed;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
};

static void prune_next(struct pruning *p);

static void on_pruned(void *user, const struct err *e)
{
	struct pruning *p = user;
	size_t last = json_array_size(p->names) - 1;

	/* In use by now: it stays, as it should. */
	if (!e)
		json_array_append(p->removed, json_array_get(p->names, last));
	json_array_remove(p->names, last);
	prune_next(p);
}

static void prune_done(void *user, const struct err *e)
{
	struct pruning *p = user;
	json_t *result = json_pack("{s:O}", "NetworksDeleted", json_array_size(p->removed) ? p->removed : json_null());

	p->done(p->user, e ? NULL : result, e);
	json_decref(result);
	json_decref(p->names);
	json_decref(p->removed);
	free(p);
}

static void prune_next(struct pruning *p)
{
	if (json_array_size(p->names))
		engine_network_remove(p->en, json_at(p->names, json_array_size(p->names) - 1), on_pruned, p);
	else
		waiter_later(p->en, prune_done, p, NULL);
}

static bool in_use(struct engine *en, const char *id)
{
	struct container *c;
	const char *network;
	json_t *ep;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL)))
		json_object_foreach(json_obj(c->doc, "Networks"), network, ep)
			if (str_eq(json_str(ep, "NetworkID", ""), id))
				return true;
	return false;
}

static bool builtin(const json_t *nw)
{
	const char *name = json_str(nw, "Name", "");

	return str_eq(name, "bridge") || str_eq(name, "host") || str_eq(name, "none");
}

/* "label!": none of them. */
static bool labels_lack(const json_t *filters, const json_t *labels)
{
	const char *word;

	for (size_t i = 0; (word = filter_value(filters, "label!", i)); i++) {
		json_t *one = json_pack("{s:[s]}", "label", word);
		bool has = filter_labels(one, "label", labels);

		json_decref(one);
		if (has)
			return false;
	}
	return true;
}

void engine_network_prune(struct engine *en, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	static const char *const known[] = { "until", "label", "label!", NULL };
	struct pruning *p = mem_zalloc(sizeof(*p));
	int64_t before = 0;
	json_t *all, *nw;
	struct err e = { 0 };
	size_t i;

	*p = (struct pruning){ .en = en, .names = json_array(), .removed = json_array(), .done = done, .user = user };
	if (filter_check(filters, known, &e) < 0 || filter_until(filters, clock_wall(), &before, &e) < 0) {
		waiter_later(en, prune_done, p, &e);
		return;
	}
	all = net_list(en->net);
	json_array_foreach(all, i, nw) {
		int64_t created = 0;

		(void)str_to_time_ns(json_str(nw, "Created", ""), 0, &created);
		if (!builtin(nw) && !json_flag(nw, "ConfigOnly", false) && !in_use(en, json_str(nw, "Id", "")) && (!before || created < before) &&
		    filter_labels(filters, "label", json_obj(nw, "Labels")) && labels_lack(filters, json_obj(nw, "Labels")))
			json_array_insert(p->names, 0, json_object_get(nw, "Name"));
	}
	json_decref(all);
	prune_next(p);
}

/* ---- connect, disconnect ---- */

struct connect {
	struct engine *en;
	char container[ID_LEN + 1], network[ID_LEN + 1], *name;
	json_t *settings;		/* connect: the entry of doc "Networks" */
	struct err err;
	engine_done *done;
	void *user;
};

static void connect_try(void *user, const struct err *e);
static void disconnect_try(void *user, const struct err *e);

static void connect_end(struct connect *x, const struct err *e)
{
	x->done(x->user, e);
	json_decref(x->settings);
	free(x->name);
	free(x);
}

static void connect_refused(void *user, const struct err *e)
{
	connect_end(user, e);
}

static void refuse(struct connect *x, const struct err *e)
{
	waiter_later(x->en, connect_refused, x, e);
}

/* The container, once it neither starts nor ends: NULL when that is being waited for, or was answered. */
static struct container *settled(struct connect *x, engine_done *again)
{
	struct container *c = map_get(x->en->by_id, x->container);
	struct err e = { 0 };

	if (c && c->phase == PHASE_STARTING) {
		waiter_add(&c->up, c, again, x);
		return NULL;
	}
	if (c && c->phase == PHASE_CLEANING && c->started_ok) {
		waiter_add(&c->rest, c, again, x);
		return NULL;
	}
	if (c && c->phase != PHASE_REMOVING && c->phase != PHASE_CLEANING)
		return c;
	if (c)
		err_set(&e, ERR_CONFLICT, "container %s is being %s: try again", container_name(c), c->phase == PHASE_REMOVING ? "removed" : "made");
	else
		err_set(&e, ERR_NOT_FOUND, "No such container: %s", x->container);
	refuse(x, &e);
	return NULL;
}

static int check_modes(const struct container *c, const char *network, struct err *e)
{
	const char *mode = doc_network(c);

	if (str_eq(mode, "host") || str_starts(mode, "container:"))
		return err_set(e, ERR_INVALID, "container sharing network namespace with another container or host cannot be connected to any other network");
	if (str_eq(mode, "none"))
		return err_set(e, ERR_INVALID, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
	if (str_eq(network, "host"))
		return err_set(e, ERR_FORBIDDEN, "cannot connect container to host network - container must be created in host network mode");
	if (str_eq(network, "none"))
		return err_set(e, ERR_INVALID, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
	return 0;
}

static void on_connect_saved(void *user, const struct err *e)
{
	struct connect *x = user;

	(void)FAULT("engine.connected");
	if (!e)
		event_network(x->en, "connect", x->network, x->name, x->container);
	connect_end(x, e);
}

static void connect_save(struct connect *x, struct container *c)
{
	json_t *networks = json_obj(c->doc, "Networks");

	if (!networks) {
		networks = json_object();
		doc_set(c->doc, "Networks", networks);
	}
	json_object_set(networks, x->name, x->settings);
	(void)FAULT("engine.connect");
	container_save(c, on_connect_saved, x);
}

static void on_connected(void *user, json_t *record, const struct err *e)
{
	struct connect *x = user;
	struct container *c = map_get(x->en->by_id, x->container);

	if (e) {
		connect_end(x, e);
		return;
	}
	if (!c) {
		struct err gone = { 0 };

		err_set(&gone, ERR_NOT_FOUND, "No such container: %s", x->container);
		connect_end(x, &gone);
		return;
	}
	if (c->net_open) {
		bool had_names = *json_str(c->net, "Nameserver", "");

		json_decref(c->net);
		c->net = json_incref(record);
		if (!had_names && *json_str(c->net, "Nameserver", ""))
			resolv_renew(c);
	}
	hosts_change(c, endpoint_record(c, x->network), NULL);
	connect_save(x, c);
}

static void connect_try(void *user, const struct err *e)
{
	struct connect *x = user;
	struct container *c = settled(x, connect_try);
	struct endpoint_want w = { 0 };
	struct err err = { 0 };

	(void)e;
	if (!c)
		return;
	if (check_modes(c, x->name, &err) < 0) {
		refuse(x, &err);
		return;
	}
	if (json_object_get(json_obj(c->doc, "Networks"), x->name)) {
		err_set(&err, ERR_FORBIDDEN, "endpoint with name %s already exists in network %s", container_name(c), x->name);
		refuse(x, &err);
		return;
	}
	if (c->phase != PHASE_RUNNING) {
		connect_save(x, c);
		return;
	}
	endpoint_spec(c, x->name, x->settings, &w);
	net_sandbox_connect(x->en->net, c->id, &w.spec, on_connected, x);
	endpoint_want_done(&w);
}

static struct connect *connect_new(struct engine *en, const char *network, const char *container, engine_done *done, void *user, json_t **nw)
{
	struct connect *x = mem_zalloc(sizeof(*x));
	struct container *c = NULL;

	*x = (struct connect){ .en = en, .done = done, .user = user };
	*nw = net_inspect(en->net, network, &x->err);
	if (*nw && str_empty(container))
		err_set(&x->err, ERR_INVALID, "no container was named");
	else if (*nw)
		c = engine_find(en, container, &x->err);
	if (!c) {
		refuse(x, &x->err);
		json_decref(*nw);
		return NULL;
	}
	(void)snprintf(x->container, sizeof(x->container), "%s", c->id);
	(void)snprintf(x->network, sizeof(x->network), "%s", json_str(*nw, "Id", ""));
	x->name = mem_strdup(json_str(*nw, "Name", ""));
	return x;
}

void engine_network_connect(struct engine *en, const char *network, const json_t *body, engine_done *done, void *user)
{
	json_t *nw;
	struct connect *x = connect_new(en, network, json_str(body, "Container", ""), done, user, &nw);

	if (!x)
		return;
	if (endpoint_settings(nw, json_object_get(body, "EndpointConfig"), &x->settings, &x->err) < 0)
		refuse(x, &x->err);
	else
		connect_try(x, NULL);
	json_decref(nw);
}

static void on_disconnected(void *user, json_t *record, const struct err *e)
{
	struct connect *x = user;
	struct container *c = map_get(x->en->by_id, x->container);

	(void)FAULT("engine.disconnected");
	if (e && e->kind != ERR_CONFLICT) {	/* it has ended meanwhile: that too takes it off the network */
		log_warn("engine", "container %.12s is off network %s on disk, but: %s", x->container, x->name, e->msg);
	} else if (c && c->net_open && record) {
		json_decref(c->net);
		c->net = json_incref(record);
		container_save(c, NULL, NULL);
	}
	event_network(x->en, "disconnect", x->network, x->name, x->container);
	connect_end(x, NULL);
}

static void on_disconnect_saved(void *user, const struct err *e)
{
	struct connect *x = user;
	struct container *c = map_get(x->en->by_id, x->container);

	if (e) {
		if (c)
			json_object_set(json_obj(c->doc, "Networks"), x->name, x->settings);
		connect_end(x, e);
	} else if (c && c->net_open) {
		net_sandbox_disconnect(x->en->net, c->id, x->network, on_disconnected, x);
	} else {
		event_network(x->en, "disconnect", x->network, x->name, x->container);
		connect_end(x, NULL);
	}
}

static void endpoint_forget(struct container *c, const char *network_id)
{
	json_t *list = json_arr(c->net, "Endpoints"), *v, *net;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!str_eq(json_str(v, "NetworkID", ""), network_id))
			continue;
		hosts_change(c, NULL, v);
		net = json_deep_copy(c->net);
		json_array_remove(json_arr(net, "Endpoints"), i);
		json_decref(c->net);
		c->net = net;
		return;
	}
}

static void disconnect_try(void *user, const struct err *e)
{
	struct connect *x = user;
	struct container *c = settled(x, disconnect_try);
	json_t *networks;
	struct err err = { 0 };

	(void)e;
	if (!c)
		return;
	networks = json_obj(c->doc, "Networks");
	if (str_eq(x->name, "host") && str_eq(doc_network(c), "host"))
		err_set(&err, ERR_FORBIDDEN, "cannot disconnect container from host network - container was created in host network mode");
	else if (!json_object_get(networks, x->name))
		err_set(&err, ERR_FORBIDDEN, "container %s is not connected to network %s", c->id, x->name);
	if (err.kind != ERR_NONE) {
		refuse(x, &err);
		return;
	}
	x->settings = json_incref(json_object_get(networks, x->name));
	json_object_del(networks, x->name);
	endpoint_forget(c, x->network);
	(void)FAULT("engine.disconnect");
	container_save(c, on_disconnect_saved, x);
}

/* A container at rest may still want a network that was removed; this is how it is told to forget it. True when that was meant. */
static bool forget_removed(struct engine *en, const char *network, const json_t *body, engine_done *done, void *user)
{
	struct container *c = engine_find(en, json_str(body, "Container", ""), NULL);
	json_t *nw = net_inspect(en->net, network, NULL), *networks = c ? json_obj(c->doc, "Networks") : NULL, *ep;
	const char *name = NULL;
	void *tmp;

	if (nw || !c || c->phase != PHASE_IDLE) {
		json_decref(nw);
		return false;
	}
	json_object_foreach_safe(networks, tmp, name, ep)
		if (str_eq(name, network) || str_eq(json_str(ep, "NetworkID", ""), network)) {
			json_object_del(networks, name);
			container_save(c, done, user);
			return true;
		}
	return false;
}

void engine_network_disconnect(struct engine *en, const char *network, const json_t *body, engine_done *done, void *user)
{
	struct connect *x;
	json_t *nw;

	if (forget_removed(en, network, body, done, user))
		return;
	x = connect_new(en, network, json_str(body, "Container", ""), done, user, &nw);

	if (!x)
		return;
	json_decref(nw);
	disconnect_try(x, NULL);
}

/* ---- looks ---- */

static json_t *cidr(const json_t *ep, const char *addr, const char *len)
{
	const char *a = json_str(ep, addr, "");

	return *a ? json_sprintf("%s/%d", a, (int)json_i64(ep, len, 0)) : json_string("");
}

static void fill_network(struct engine *en, json_t *nw)
{
	json_t *list = json_object();
	struct container *c;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL))) {
		const json_t *ep = endpoint_record(c, json_str(nw, "Id", ""));

		if (ep)
			json_object_set_new(list, c->id, json_pack("{s:s, s:s, s:s, s:o, s:o}", "Name", container_name(c), "EndpointID",
								  json_str(ep, "EndpointID", ""), "MacAddress", json_str(ep, "MacAddress", ""),
								  "IPv4Address", cidr(ep, "IPAddress", "IPPrefixLen"),
								  "IPv6Address", cidr(ep, "GlobalIPv6Address", "GlobalIPv6PrefixLen")));
	}
	json_object_set_new(nw, "Containers", list);
}

json_t *engine_network_inspect(struct engine *en, const char *ref, struct err *e)
{
	json_t *nw = net_inspect(en->net, ref, e);

	if (nw)
		fill_network(en, nw);
	return nw;
}

static int check_list_filters(const json_t *filters, struct err *e)
{
	static const char *const known[] = { "driver", "id", "name", "scope", "type", "label", "dangling", NULL };
	const char *type, *dangling = filter_value(filters, "dangling", 0);

	if (filter_check(filters, known, e) < 0)
		return -1;
	for (size_t i = 0; (type = filter_value(filters, "type", i)); i++)
		if (!str_eq(type, "custom") && !str_eq(type, "builtin"))
			return err_set(e, ERR_INVALID, "invalid filter: 'type'='%.100s'", type);
	if (dangling && !str_eq(dangling, "true") && !str_eq(dangling, "1") && !str_eq(dangling, "false") && !str_eq(dangling, "0"))
		return err_set(e, ERR_INVALID, "invalid filter 'dangling=%.100s'", dangling);
	return 0;
}

json_t *engine_network_list(struct engine *en, const json_t *filters, struct err *e)
{
	const char *dangling = filter_value(filters, "dangling", 0);
	json_t *all, *out, *nw;
	size_t i;

	if (check_list_filters(filters, e) < 0)
		return NULL;
	all = net_list(en->net);
	out = json_array();
	json_array_foreach(all, i, nw) {
		const char *id = json_str(nw, "Id", "");
		bool unused = !builtin(nw) && !in_use(en, id);

		if (!filter_regex(filters, "name", json_str(nw, "Name", "")) || !filter_prefix(filters, "id", id) ||
		    !filter_exact(filters, "driver", json_str(nw, "Driver", "")) || !filter_exact(filters, "scope", json_str(nw, "Scope", "")) ||
		    !filter_exact(filters, "type", builtin(nw) ? "builtin" : "custom") || !filter_labels(filters, "label", json_obj(nw, "Labels")) ||
		    (dangling && unused != (str_eq(dangling, "true") || str_eq(dangling, "1"))))
			continue;
		/* As docker's list: who is on it comes with inspect only. */
		json_object_set_new(nw, "Containers", json_object());
		json_array_append(out, nw);
	}
	json_decref(all);
	return out;
}
