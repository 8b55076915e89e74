/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/sandbox.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/*
 * Theory of operation. A sandbox is opened and closed in steps that alternate between the loop (decisions, IPAM, data path) and a worker
 * (namespace, netlink, binding ports):
 *
 *   open    loop: network, address -> worker: ports, namespace, veth -> loop: data path, proxy listeners, in the table of sandboxes
 *   close   loop: out of the data path -> proxy thread: listeners closed -> worker: namespace -> loop: ports given back, caller told
 *           -> reaper: veth -> loop: address given back
 *
 * Ports and address are given back when the kernel serves them for the old owner no longer. A failed open is undone in
 * the worker, or by the same close. A kill at any point leaves: ports (gone with the process), a namespace file and a veth whose alias names
 * us (removed by net_gc() at the next start), data path entries (dropped by its gc).
 */

/* ---- one sandbox ---- */

static struct sandbox *sandbox_new(struct net *n, const char *id)
{
	struct sandbox *s = mem_zalloc(sizeof(*s));

	s->n = n;
	(void)snprintf(s->id, sizeof(s->id), "%s", id);
	return s;
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	if (s->has_addr && s->nw && s->nw->ipam)
		ipam_give(s->nw->ipam, &s->addr);
	if (s->counted)
		s->nw->busy--;
	port_release(s->n->ports, s->ports, s->n_ports);
	free(s->ports);
	free(s->proxies);
	free(s->name);
	free(s->path);
	free(s);
}

bool sandbox_has(const struct sandbox *s, const struct in6_addr *addr)
{
	return s->has_addr && addr_eq(&s->addr, addr);
}

static struct dp_endpoint dp_of(const struct sandbox *s)
{
	struct dp_endpoint ep = { .host_ifindex = s->ifindex, .bridge_ifindex = s->nw ? s->nw->ifindex : 0, .addr = s->addr, .generation = s->generation };

	memcpy(ep.mac, s->mac, 6);
	if (s->nw)
		memcpy(ep.gw_mac, s->nw->mac, 6);
	return ep;
}

/* The data path knows IPv4 so far; what is bound to IPv6 addresses only goes by the proxy. */
static bool publish_of(const struct sandbox *s, const struct port_bound *b, struct dp_publish *ret)
{
	*ret = (struct dp_publish){ .proto = b->proto, .host_addr = b->host_addr, .host_port = b->host_port, .addr = s->addr, .port = b->port,
				    .generation = s->generation, .count = b->count, .listener = b->fd };
	return b->v4 && b->count;
}

static void datapath_del(struct sandbox *s)
{
	struct dp_endpoint ep = dp_of(s);
	struct dp_publish p;

	if (!s->veth[0] || !s->has_addr)
		return;
	for (size_t i = 0; i < s->n_ports; i++)
		if (publish_of(s, &s->ports[i], &p))
			(void)s->n->ops->publish_del(s->n->dp, &p);
	(void)s->n->ops->endpoint_del(s->n->dp, &ep);
}

static int datapath_set(struct sandbox *s, struct err *e)
{
	struct dp_endpoint ep = dp_of(s);
	struct dp_publish p;

	if (!s->veth[0])
		return 0;
	if (s->n->ops->endpoint_set(s->n->dp, &ep, e) < 0)
		return -1;
	for (size_t i = 0; i < s->n_ports; i++)
		if (publish_of(s, &s->ports[i], &p) && s->n->ops->publish_set(s->n->dp, &p, e) < 0)
			return -1;
	return 0;
}

static void proxies_open(struct sandbox *s)
{
	s->proxies = mem_zalloc((s->n_ports ? s->n_ports : 1) * sizeof(*s->proxies));
	for (size_t i = 0; i < s->n_ports; i++) {
		struct port_bound *b = &s->ports[i];
		struct proxy_target to = { .proto = b->proto, .addr = s->addr, .port = b->port,
					   .first = b->count > 1 ? b->host_port : 0 };

		if (b->fd >= 0)
			s->proxies[s->n_proxies++] = proxy_port_open_take(s->n->proxy, TAKE_FD(b->fd), &to);
	}
}

/* ---- close ---- */

struct closing {
	struct work w;
	struct sandbox *s;
	void (*done)(void *user);
	void *user;
	/* After a failed open: its error goes to its caller. */
	void (*open_done)(void *user, json_t *record, const struct err *e);
	struct err err;
};

static void close_run(struct work *w)
{
	sandbox_kernel_close(CONTAINER_OF(w, struct closing, w)->s);
}

static void close_done(struct work *w)
{
	struct closing *c = CONTAINER_OF(w, struct closing, w);
	struct net *n = c->s->n;

	struct sandbox *s = c->s;

	if (map_get(n->sandboxes, s->id) == s)
		(void)map_del(n->sandboxes, s->id);
	port_release(n->ports, s->ports, s->n_ports);
	s->n_ports = 0;
	if (s->veth[0])
		sandbox_reap_take(s);
	else
		sandbox_free(s);
	n->pending--;
	if (!n->stopping) {
		if (c->open_done)
			c->open_done(c->user, NULL, &c->err);
		else
			c->done(c->user);
	}
	free(c);
}

static void close_kernel(void *user)
{
	struct closing *c = user;
	struct net *n = c->s->n;

	c->w = (struct work){ .run = close_run, .done = close_done };
	if (n->stopping) {
		/* The pool and our callers are gone; the kernel's side is still to be tidied. */
		close_run(&c->w);
		close_done(&c->w);
		return;
	}
	work_start(n->pool, &c->w);
}

static void close_start(struct closing *c)
{
	struct sandbox *s = c->s;

	s->closing = true;
	s->n->pending++;
	datapath_del(s);
	if (s->n_proxies)
		proxy_ports_close(s->n->proxy, s->proxies, s->n_proxies, close_kernel, c);
	else
		close_kernel(c);
}

struct late {
	void (*done)(void *user);
	void *user;
	struct net *n;
};

static void late_done(void *user)
{
	struct late *l = user;

	if (!l->n->stopping)
		l->done(l->user);
	free(l);
}

void net_sandbox_close(struct net *n, const char *id, const json_t *record, void (*done)(void *user), void *user)
{
	struct sandbox *s = map_get(n->sandboxes, id);
	struct err e = { 0 };
	struct closing *c;

	if (!s) {
		s = sandbox_new(n, id);
		if (json_is_object(record) && record_read(record, s, &e) < 0)
			log_warn("net", "%s, removing what can be found", e.msg);
		/* Not ours to give back: nobody adopted it. */
		s->has_addr = false;
		s->nw = NULL;
	}
	if (s->closing) {
		struct late *l = mem_alloc(sizeof(*l));

		/* The first call does the work. */
		*l = (struct late){ .done = done, .user = user, .n = n };
		loop_defer(n->loop, late_done, l);
		return;
	}
	c = mem_zalloc(sizeof(*c));
	c->s = s;
	c->done = done;
	c->user = user;
	close_start(c);
}

/* ---- open ---- */

struct opening {
	struct work w;
	struct sandbox *s;
	struct net *n;
	struct opening *next;		/* in n->waiting */
	char *network, *ip, *mac;	/* as wanted */
	struct net_port *wanted;
	size_t n_wanted;
	int rc;
	struct err err;
	void (*done)(void *user, json_t *record, const struct err *e);
	void *user;
};

static void opening_free(struct opening *o)
{
	free(o->network);
	free(o->ip);
	free(o->mac);
	free(o->wanted);
	free(o);
}

/* Tells a failure from the loop's next turn. */
static void on_refused(void *user)
{
	struct opening *o = user;

	sandbox_free(o->s);
	if (!o->n->stopping)
		o->done(o->user, NULL, &o->err);
	opening_free(o);
}

static void on_opened_without_kernel(void *user)
{
	struct opening *o = user;
	json_t *record = record_of(o->s);

	(void)map_put(o->n->sandboxes, o->s->id, o->s);
	if (!o->n->stopping)
		o->done(o->user, record, NULL);
	json_decref(record);
	opening_free(o);
}

static void open_run(struct work *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, w);

	o->rc = sandbox_kernel_open(o->s, o->wanted, o->n_wanted, &o->err);
}

static void open_done(struct work *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, w);
	struct sandbox *s = o->s;
	json_t *record;

	if (o->rc < 0) {
		on_refused(o);
		return;
	}
	if (datapath_set(s, &o->err) < 0) {
		struct closing *c = mem_zalloc(sizeof(*c));

		(void)err_wrap(&o->err, "driver failed programming external connectivity on endpoint %s (%s)", s->name, s->eid);
		c->s = s;
		c->open_done = o->done;
		c->user = o->user;
		c->err = o->err;
		close_start(c);
		opening_free(o);
		return;
	}
	proxies_open(s);
	(void)map_put(o->n->sandboxes, s->id, s);
	record = record_of(s);
	o->done(o->user, record, NULL);
	json_decref(record);
	opening_free(o);
}

/* 0, -1, or 1: the address rests, somebody will call again. */
static int address(struct opening *o, struct err *e)
{
	struct sandbox *s = o->s;
	int rc;

	if (!str_empty(o->ip)) {
		if (addr_parse(o->ip, &s->addr) < 0 || !addr_is4(&s->addr))
			return err_set(e, ERR_INVALID, "invalid IPv4 address: '%s'", o->ip);
		rc = ipam_take_addr(s->nw->ipam, &s->addr, e);
	} else {
		rc = ipam_take(s->nw->ipam, &s->addr, e);
	}
	if (rc < 0)
		return s->nw->resting && (e->kind == ERR_UNAVAILABLE || e->kind == ERR_FORBIDDEN) ? 1 : -1;
	s->has_addr = true;
	addr_mac(&s->addr, s->mac);
	if (!str_empty(o->mac) && mac_parse(o->mac, s->mac) < 0)
		return err_set(e, ERR_INVALID, "invalid MAC address: '%s' is not a unicast address like 02:42:ac:11:00:02", o->mac);
	return 0;
}

static int decide(struct opening *o, struct err *e)
{
	struct sandbox *s = o->s;
	struct network *nw;

	if (map_get(o->n->sandboxes, s->id))
		return err_set(e, ERR_CONFLICT, "container %s has its network already", s->name);
	if (!s->nw) {
		nw = network_find(o->n, str_empty(o->network) ? "bridge" : o->network, e);
		if (!nw)
			return -1;
		s->nw = nw;
		nw->busy++;
		s->counted = true;
	}
	if (s->nw->driver != DRIVER_BRIDGE && !str_empty(o->ip))
		return err_set(e, ERR_INVALID, "the network %s gives no addresses: '%s' cannot be asked for", s->nw->name, o->ip);
	/* On "host" and "none" docker leaves published ports out with a warning; so do we. */
	if (s->nw->driver != DRIVER_BRIDGE)
		o->n_wanted = 0;
	if (s->nw->driver == DRIVER_HOST)
		return 0;
	if (!s->path)
		s->path = mem_printf("%s/%s", o->n->netns_dir, s->id);
	if (s->nw->driver == DRIVER_NULL)
		return 0;
	(void)snprintf(s->veth, sizeof(s->veth), "kv%.10s", s->eid);
	return address(o, e);
}

static void open_go(struct opening *o)
{
	int rc = decide(o, &o->err);

	if (rc > 0) {
		o->next = o->n->waiting;
		o->n->waiting = o;
	} else if (rc < 0) {
		loop_defer(o->n->loop, on_refused, o);
	} else if (!o->s->path) {
		loop_defer(o->n->loop, on_opened_without_kernel, o);
	} else {
		o->w = (struct work){ .run = open_run, .done = open_done };
		work_start(o->n->pool, &o->w);
	}
}

void openings_retry(struct net *n)
{
	struct opening *o = TAKE(n->waiting), *in_order = NULL, *next;

	if (n->stopping) {
		n->waiting = o;
		return;
	}
	for (; o; o = next) {
		next = o->next;
		o->next = in_order;
		in_order = o;
	}
	for (o = in_order; o; o = next) {
		next = o->next;
		err_clear(&o->err);
		open_go(o);
	}
}

void openings_drop(struct net *n)
{
	struct opening *o;

	while ((o = n->waiting)) {
		n->waiting = o->next;
		sandbox_free(o->s);
		opening_free(o);
	}
}

void net_sandbox_open(struct net *n, const struct net_sandbox_spec *spec, void (*done)(void *user, json_t *record, const struct err *e), void *user)
{
	struct opening *o = mem_zalloc(sizeof(*o));

	o->n = n;
	o->done = done;
	o->user = user;
	o->network = mem_strdup(spec->network);
	o->ip = mem_strdup(spec->ip);
	o->mac = mem_strdup(spec->mac);
	o->n_wanted = spec->n_ports;
	if (spec->n_ports) {
		o->wanted = mem_alloc(spec->n_ports * sizeof(*o->wanted));
		memcpy(o->wanted, spec->ports, spec->n_ports * sizeof(*o->wanted));
	}
	o->s = sandbox_new(n, spec->id);
	o->s->name = mem_strdup(str_empty(spec->name) ? spec->id : spec->name);
	id_new(o->s->eid);
	/* Zero is "no generation" to whoever reads the maps. */
	do
		o->s->generation = rand_u32();
	while (!o->s->generation);
	open_go(o);
}

/* ---- adopt, gc ---- */

static int adopt_ports(struct sandbox *s, const json_t *record, struct err *e)
{
	CLEANUP(mem_freep) struct net_port *p = NULL;
	size_t n;

	if (record_ports(record, &p, &n, e) < 0)
		return -1;
	s->ports = mem_zalloc((n ? n : 1) * sizeof(*s->ports));
	port_runs(s->n->ports, p, n, s->ports);
	for (size_t i = 0; i < n; i++) {
		int rc = port_adopt(s->n->ports, s->id, &p[i], &s->ports[s->n_ports], e);

		if (rc < 0)
			return -1;
		if (rc > 0)
			log_warn("net", "container %s: host port %u/%s cannot be reserved again (%s): the data path goes on serving it, local clients may miss it",
				 s->name, p[i].host_port, p[i].proto == IPPROTO_TCP ? "tcp" : "udp", strerrordesc_np(rc));
		s->n_ports++;
	}
	return 0;
}

static int adopt(struct sandbox *s, const json_t *record, struct err *e)
{
	struct rtnl_link l;
	int rc;

	if (record_read(record, s, e) < 0)
		return -1;
	s->name = mem_strndup(s->id, ID_SHORT);
	if (!s->nw) {
		s->has_addr = false;
		return err_set(e, ERR_NOT_FOUND, "network %s not found", json_str(record, "Network", "?"));
	}
	s->nw->busy++;
	s->counted = true;
	if (s->path && !netns_is_bound(s->path)) {
		s->has_addr = false;
		return err_set(e, ERR_NOT_FOUND, "the network namespace %s is gone", s->path);
	}
	if (s->has_addr) {
		s->has_addr = false;
		if (!s->nw->ipam || ipam_take_addr(s->nw->ipam, &s->addr, e) < 0)
			return -1;
		s->has_addr = true;
	}
	if (s->veth[0]) {
		rc = rtnl_link_get(s->n->rtnl, s->veth, &l, e);
		if (rc <= 0)
			return rc < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "the interface %s is gone", s->veth);
		s->ifindex = l.ifindex;
	}
	/* The data path first: its entries are there already, and it must not miss them for longer than this. */
	if (adopt_ports(s, record, e) < 0 || datapath_set(s, e) < 0)
		return -1;
	proxies_open(s);
	return 0;
}

int net_sandbox_adopt(struct net *n, const char *id, const json_t *record, struct err *e)
{
	struct sandbox *s = sandbox_new(n, id);

	if (map_get(n->sandboxes, id)) {
		sandbox_free(s);
		return err_set(e, ERR_CONFLICT, "container %.12s has its network already", id);
	}
	if (adopt(s, record, e) < 0) {
		sandbox_free(s);
		return err_wrap(e, "take over the network of container %.12s", id);
	}
	(void)map_put(n->sandboxes, s->id, s);
	return 0;
}

struct leftovers {
	struct net *n;
	char mine[96];
	char (*names)[16];
	size_t len;
};

static void on_leftover(void *user, const struct rtnl_link *l)
{
	struct leftovers *x = user;
	const char *id = l->alias + strlen(x->mine);

	if (!str_starts(l->alias, x->mine) || map_get(x->n->sandboxes, id) || network_by_id(x->n, id))
		return;
	x->names = mem_realloc(x->names, (x->len + 1) * sizeof(*x->names));
	(void)snprintf(x->names[x->len++], sizeof(*x->names), "%s", l->name);
}

static void gc_links(struct net *n)
{
	struct leftovers x = { .n = n };
	struct err e = { 0 };

	(void)snprintf(x.mine, sizeof(x.mine), "kedge:%s:", n->instance);
	if (rtnl_link_each(n->rtnl, on_leftover, &x, &e) < 0)
		log_warn("net", "cannot look for leftovers: %s", e.msg);
	for (size_t i = 0; i < x.len; i++) {
		rtnl_link_del(n->rtnl, x.names[i]);
		if (rtnl_run(n->rtnl, &e) < 0)
			log_warn("net", "%s", e.msg);
		else
			log_info("net", "removed %s, which an earlier run left behind", x.names[i]);
	}
	free(x.names);
}

static void gc_namespaces(struct net *n)
{
	DIR *d = opendir(n->netns_dir);
	const struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d))) {
		CLEANUP(mem_freep) char *path = NULL;

		if (!id_is_prefix(de->d_name) || map_get(n->sandboxes, de->d_name))
			continue;
		path = mem_printf("%s/%s", n->netns_dir, de->d_name);
		netns_remove(path);
		log_info("net", "removed the namespace %s, which an earlier run left behind", path);
	}
	(void)closedir(d);
}

void net_gc(struct net *n)
{
	gc_links(n);
	gc_namespaces(n);
	n->ops->gc(n->dp);
}

json_t *net_sandbox_stats(struct net *n, const char *id)
{
	struct sandbox *s = map_get(n->sandboxes, id);
	struct rtnl_link l;

	if (!s || !s->veth[0] || rtnl_link_get(n->rtnl, s->veth, &l, NULL) <= 0)
		return NULL;
	/* Our end of the pair: what we sent, the container received. */
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "eth0", "rx_bytes", (json_int_t)l.tx_bytes, "rx_packets", (json_int_t)l.tx_packets,
			 "rx_errors", (json_int_t)l.tx_errors, "rx_dropped", (json_int_t)l.tx_dropped, "tx_bytes", (json_int_t)l.rx_bytes, "tx_packets",
			 (json_int_t)l.rx_packets, "tx_errors", (json_int_t)l.rx_errors, "tx_dropped", (json_int_t)l.rx_dropped);
}
