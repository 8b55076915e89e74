/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/sandbox.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/names.h"
#include "net/network_priv.h"

/*
 * Theory of operation. A sandbox is opened, changed and closed in steps that alternate between the loop (decisions, IPAM, data path) and a worker
 * (namespace, netlink, binding ports):
 *
 *   open        loop: networks, addresses -> worker: ports, namespace, veths -> loop: data path, proxy listeners, in the table of sandboxes
 *   connect     loop: network, address -> worker: veth, routes -> loop: data path, ports        (sandbox_connect.c)
 *   disconnect  loop: ports elsewhere, out of the data path -> worker: routes, veth -> loop: address given back
 *   close       loop: out of the data path -> proxy thread: listeners closed -> worker: namespace -> loop: ports given back, caller told
 *               -> reaper: veths -> loop: addresses given back
 *
 * Ports and addresses are given back when the kernel serves them for the old owner no longer. A failed step is undone in
 * the worker, or by the same close. Connect, disconnect and close of one sandbox wait for each other (struct change). A kill at any point leaves:
 * ports (gone with the process), a namespace file and veths whose alias names us (removed by net_gc() at the next start), data path
 * entries (dropped by its gc).
 */

/* ---- one sandbox ---- */

struct sandbox *sandbox_new(struct net *n, const char *id)
{
	struct sandbox *s = mem_zalloc(sizeof(*s));

	s->n = n;
	s->dns_udp = s->dns_tcp = -1;
	(void)snprintf(s->id, sizeof(s->id), "%s", id);
	return s;
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	names_sandbox_close(s);
	sandbox_relays_end(s);
	for (size_t i = 0; i < s->n_ep; i++)
		endpoint_free(s->ep[i]);
	free(s->ep);
	strv_free(s->nameservers);
	port_release(s->n->ports, s->ports, s->n_ports);
	free(s->ports);
	net_policy_done(&s->policy);
	free(s->policy_text);
	free(s->sources_text);
	free(s->proxies);
	free(s->proxied);
	free(s->routed);
	free(s->name);
	for (size_t i = 0; i < s->n_past_names; i++)
		free(s->past_names[i]);
	free(s->past_names);
	free(s->path);
	free(s);
}

struct endpoint *sandbox_by_addr(const struct sandbox *s, const struct in6_addr *addr)
{
	for (size_t i = 0; i < s->n_ep; i++) {
		struct endpoint *ep = s->ep[i];

		if ((ep->has4 && addr_eq(&ep->addr4, addr)) || (ep->has6 && addr_eq(&ep->addr6, addr)))
			return ep;
	}
	return NULL;
}

const struct endpoint *sandbox_main(const struct sandbox *s)
{
	return s->gw4 ? s->gw4 : s->gw6 ? s->gw6 : s->n_ep ? s->ep[0] : NULL;
}

struct endpoint *sandbox_endpoint(const struct sandbox *s, const struct network *nw)
{
	for (size_t i = 0; i < s->n_ep; i++)
		if (s->ep[i]->nw == nw)
			return s->ep[i];
	return NULL;
}

void sandbox_ep_add(struct sandbox *s, struct endpoint *ep)
{
	s->ep = mem_realloc(s->ep, (s->n_ep + 1) * sizeof(*s->ep));
	s->ep[s->n_ep++] = ep;
}

void sandbox_ep_remove(struct sandbox *s, const struct endpoint *ep)
{
	for (size_t i = 0; i < s->n_ep; i++)
		if (s->ep[i] == ep) {
			memmove(&s->ep[i], &s->ep[i + 1], (s->n_ep - i - 1) * sizeof(*s->ep));
			s->n_ep--;
			return;
		}
}

/* docker's order: the higher priority, then the name that sorts first. */
static bool before(const struct endpoint *a, const struct endpoint *b)
{
	if (!b)
		return true;
	if (a->gw_priority != b->gw_priority)
		return a->gw_priority > b->gw_priority;
	return strcmp(a->nw->name, b->nw->name) < 0;
}

void sandbox_gateways(const struct sandbox *s, const struct endpoint *without, struct endpoint **gw4, struct endpoint **gw6)
{
	*gw4 = *gw6 = NULL;
	for (size_t i = 0; i < s->n_ep; i++) {
		struct endpoint *ep = s->ep[i];

		if (ep == without || !ep->nw)
			continue;
		if (endpoint_leads_out(ep, false) && before(ep, *gw4))
			*gw4 = ep;
		if (endpoint_leads_out(ep, true) && before(ep, *gw6))
			*gw6 = ep;
	}
}

char *endpoints_text(const struct network *nw)
{
	struct buf b = BUF_INIT;
	struct sandbox *s;
	size_t it = 0;

	while ((s = map_next(nw->n->sandboxes, &it, NULL))) {
		const struct endpoint *ep = sandbox_endpoint(s, nw);

		if (ep)
			buf_printf(&b, "%sname:\"%s\" id:\"%.12s\"", b.len ? ", " : " (", s->name, ep->id);
	}
	if (b.len)
		buf_addc(&b, ')');
	return b.data ? b.data : mem_strdup("");
}

static bool ifname_used(const struct sandbox *s, const char *name)
{
	for (size_t i = 0; i < s->n_ep; i++)
		if (str_eq(s->ep[i]->ifname, name))
			return true;
	return false;
}

int sandbox_ifname(const struct sandbox *s, struct endpoint *ep, struct err *e)
{
	const char *wanted = ep->want_ifname;

	if (ep->nw->driver == DRIVER_HOST || ep->nw->driver == DRIVER_NULL || ep->ifname[0])
		return 0;
	if (wanted) {
		if (strlen(wanted) >= IFNAMSIZ || strpbrk(wanted, "/ \t\n:%") || str_eq(wanted, ".") || str_eq(wanted, "..") || str_eq(wanted, "lo"))
			return err_set(e, ERR_INVALID, "'%.64s' is not a name for an interface: at most 15 characters without slash, colon or blank", wanted);
		if (ifname_used(s, wanted))
			return err_set(e, ERR_INVALID, "the container has an interface '%s' already", wanted);
		(void)snprintf(ep->ifname, sizeof(ep->ifname), "%s", wanted);
		return 0;
	}
	for (unsigned i = 0; i <= s->n_ep; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "%.10s%u", ep->nw->if_prefix, i);
		if (!ifname_used(s, name)) {
			memcpy(ep->ifname, name, sizeof(name));
			return 0;
		}
	}
	return err_set(e, ERR_INTERNAL, "no name is left for an interface");
}

void sandbox_change(struct sandbox *s, struct change *c)
{
	struct change **at = &s->later;

	c->next = NULL;
	if (!s->now) {
		s->now = c;
		c->go(c);
		return;
	}
	while (*at)
		at = &(*at)->next;
	*at = c;
}

void sandbox_change_done(struct sandbox *s)
{
	struct change *c = s->later;

	s->now = c;
	if (!c)
		return;
	s->later = c->next;
	c->go(c);
}

/* ---- close ---- */

struct closing {
	struct work w;
	struct change change;
	struct sandbox *s;
	void (*done)(void *user);
	void *user;
	/* After a failed open: its error goes to its caller. */
	net_record_done *open_done;
	struct err err;
};

static void close_run(struct work *w)
{
	sandbox_kernel_close(CONTAINER_OF(w, struct closing, w)->s);
}

static void close_done(struct work *w)
{
	struct closing *c = CONTAINER_OF(w, struct closing, w);
	struct sandbox *s = c->s;
	struct net *n = s->n;

	if (map_get(n->sandboxes, s->id) == s)
		(void)map_del(n->sandboxes, s->id);
	port_release(n->ports, s->ports, s->n_ports);
	s->n_ports = 0;
	for (size_t i = 0; i < s->n_ep; i++)
		if (s->ep[i]->veth[0])
			endpoint_reap_take(s->ep[i]);
		else
			endpoint_free(s->ep[i]);
	s->n_ep = 0;
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

/* It is our turn, and the last one: what was asked for after it was refused at once. */
static void close_go(struct change *change)
{
	struct closing *c = CONTAINER_OF(change, struct closing, change);
	struct sandbox *s = c->s;

	names_sandbox_close(s);		/* not before: the worker of a change before this one may have opened its sockets */
	sandbox_ports_del(s);
	for (size_t i = 0; i < s->n_ep; i++)
		endpoint_dp_del(s->ep[i]);
	if (s->n_proxies)
		proxy_ports_close(s->n->proxy, s->proxies, s->n_proxies, close_kernel, c);
	else
		close_kernel(c);
}

static void close_start(struct closing *c)
{
	c->s->closing = true;
	names_sandbox_out(c->s);
	c->s->n->pending++;
	c->change.go = close_go;
	sandbox_change(c->s, &c->change);
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
		for (size_t i = 0; i < s->n_ep; i++) {
			/* Not ours to give back: nobody adopted it. */
			s->ep[i]->pool4 = s->ep[i]->pool6 = NULL;
			s->ep[i]->nw = NULL;
		}
		s->gw4 = s->gw6 = NULL;
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
	struct waiting wait;
	struct sandbox *s;
	struct net *n;
	char **networks;		/* as asked for, one an endpoint */
	struct net_port *wanted;
	size_t n_wanted;
	int rc;
	struct err err;
	net_record_done *done;
	void *user;
};

static void opening_free(struct opening *o)
{
	strv_free(o->networks);
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

static void opened(struct opening *o)
{
	json_t *record = record_of(o->s);

	names_refresh(o->s);
	for (size_t i = 0; i < o->s->n_ep && !o->s->joined; i++)
		endpoint_advertise(o->s, o->s->ep[i]);
	(void)map_put(o->n->sandboxes, o->s->id, o->s);
	if (!o->n->stopping)
		o->done(o->user, record, NULL);
	json_decref(record);
	opening_free(o);
}

static void on_opened_without_kernel(void *user)
{
	opened(user);
}

static void open_run(struct work *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, w);

	o->rc = sandbox_kernel_open(o->s, o->wanted, o->n_wanted, &o->err);
}

static int datapath_set(struct sandbox *s, struct err *e)
{
	for (size_t i = 0; i < s->n_ep; i++)
		if (endpoint_dp_set(s->ep[i], e) < 0)
			return -1;
	return sandbox_ports_set(s, e);
}

static void open_done(struct work *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, w);
	struct sandbox *s = o->s;

	if (o->rc < 0) {
		on_refused(o);
		return;
	}
	if (datapath_set(s, &o->err) < 0) {
		struct closing *c = mem_zalloc(sizeof(*c));

		(void)err_wrap(&o->err, "driver failed programming external connectivity on endpoint %s (%s)", s->name, s->n_ep ? s->ep[0]->id : "");
		c->s = s;
		c->open_done = o->done;
		c->user = o->user;
		c->err = o->err;
		close_start(c);
		opening_free(o);
		return;
	}
	sandbox_proxies_open(s);
	opened(o);
}

/* Once for each endpoint, also when an earlier one has to wait: what it has, it keeps. */
static int decide(struct opening *o, struct err *e)
{
	struct sandbox *s = o->s;
	bool host = false;

	if (map_get(o->n->sandboxes, s->id))
		return err_set(e, ERR_CONFLICT, "container %s has its network already", s->name);
	for (size_t i = 0; i < s->n_ep; i++) {
		struct endpoint *ep = s->ep[i];
		int rc = ep->decided ? 0 : endpoint_decide(ep, o->networks[i], e);

		if (rc)
			return rc;
		if (sandbox_ifname(s, ep, e) < 0)
			return -1;
		host |= ep->nw->driver == DRIVER_HOST;
	}
	for (size_t i = 0; i < s->n_ep; i++)
		for (size_t k = 0; k < i; k++)
			if (s->ep[i]->nw == s->ep[k]->nw)
				return err_set(e, ERR_INVALID, "network %s is given more than once", s->ep[i]->nw->name);
	if (host && s->n_ep > 1)
		return err_set(e, ERR_INVALID, "a container on the host's network cannot be on another one");
	if (!host && !s->path)
		s->path = net_sandbox_path(o->n, s->id);
	sandbox_gateways(s, NULL, &s->gw4, &s->gw6);
	names_decide(s, NULL);
	/* On networks that lead nowhere docker leaves published ports out; so do we. */
	if (!(s->gw4 && s->gw4->nw->driver == DRIVER_BRIDGE) && !(s->gw6 && s->gw6->nw->driver == DRIVER_BRIDGE))
		o->n_wanted = 0;
	for (size_t i = 0; s->gw4 && s->gw4->nw->host_ip[0] && i < o->n_wanted; i++)
		if (!o->wanted[i].host_ip[0])
			(void)snprintf(o->wanted[i].host_ip, sizeof(o->wanted[i].host_ip), "%s", s->gw4->nw->host_ip);
	o->n_wanted = sandbox_routed_split(s, o->wanted, o->n_wanted);
	return 0;
}

static void open_retry(struct waiting *w);
static void open_drop(struct waiting *w);

static void open_go(struct opening *o)
{
	int rc = decide(o, &o->err);

	if (rc > 0) {
		o->wait = (struct waiting){ .retry = open_retry, .drop = open_drop };
		waiting_add(o->n, &o->wait);
	} else if (rc < 0) {
		loop_defer(o->n->loop, on_refused, o);
	} else if (!o->s->path || o->s->joined) {
		loop_defer(o->n->loop, on_opened_without_kernel, o);
	} else {
		o->w = (struct work){ .run = open_run, .done = open_done };
		work_start(o->n->pool, &o->w);
	}
}

static void open_retry(struct waiting *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, wait);

	err_clear(&o->err);
	open_go(o);
}

static void open_drop(struct waiting *w)
{
	struct opening *o = CONTAINER_OF(w, struct opening, wait);

	sandbox_free(o->s);
	opening_free(o);
}

char *net_sandbox_path(const struct net *n, const char *id)
{
	return mem_printf("%s/%s", n->netns_dir, id);
}

void net_sandbox_open(struct net *n, const struct net_sandbox_spec *spec, net_record_done *done, void *user)
{
	struct opening *o = mem_zalloc(sizeof(*o));
	struct sandbox *s = sandbox_new(n, spec->id);

	o->n = n;
	o->s = s;
	o->done = done;
	o->user = user;
	s->name = mem_strdup(str_empty(spec->name) ? spec->id : spec->name);
	if (spec->join) {
		s->joined = true;
		s->path = mem_strdup(spec->join);
		open_go(o);
		return;
	}
	s->policy_text = mem_strdup(spec->publish_policy);
	s->sources_text = mem_strdup(spec->publish_sources);
	o->n_wanted = spec->n_ports;
	if (spec->n_ports) {
		o->wanted = mem_alloc(spec->n_ports * sizeof(*o->wanted));
		memcpy(o->wanted, spec->ports, spec->n_ports * sizeof(*o->wanted));
		o->n_wanted = net_ports_join(o->wanted, spec->n_ports);
	}
	for (size_t i = 0; i < spec->n_nameservers; i++)
		s->nameservers = strv_add(s->nameservers, spec->nameservers[i]);
	for (size_t i = 0; i < spec->n_endpoints; i++) {
		const struct net_endpoint_spec *es = &spec->endpoints[i];
		struct endpoint *ep = endpoint_new(n, es);

		o->networks = strv_add(o->networks, str_empty(es->network) ? "bridge" : es->network);
		sandbox_ep_add(s, ep);
	}
	open_go(o);
}

json_t *net_sandbox_stats(struct net *n, const char *id)
{
	struct sandbox *s = map_get(n->sandboxes, id);
	json_t *out = NULL;

	for (size_t i = 0; s && i < s->n_ep; i++) {
		struct rtnl_link l;

		if (!s->ep[i]->ifindex || rtnl_link_get(n->rtnl, s->ep[i]->veth, &l, NULL) <= 0)
			continue;
		if (!out)
			out = json_object();
		/* Our end of the pair: what we sent, the container received. */
		json_object_set_new(out, s->ep[i]->ifname, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_bytes", (json_int_t)l.tx_bytes,
				    "rx_packets", (json_int_t)l.tx_packets, "rx_errors", (json_int_t)l.tx_errors, "rx_dropped", (json_int_t)l.tx_dropped,
				    "tx_bytes", (json_int_t)l.rx_bytes, "tx_packets", (json_int_t)l.rx_packets, "tx_errors", (json_int_t)l.rx_errors,
				    "tx_dropped", (json_int_t)l.rx_dropped));
	}
	return out;
}
