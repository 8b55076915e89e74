/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/names.h"

/*
 * An open sandbox comes onto a network or leaves one. The endpoint that is added or taken away is the only one whose packets are touched; the
 * others notice when the default routes move, and then with their next packet only.
 */
struct connecting {
	struct work w;
	struct waiting wait;
	struct change change;
	struct sandbox *s;
	struct net *n;
	struct endpoint *ep;
	struct endpoint *gw4, *gw6;	/* who gives the default routes afterwards */
	bool disconnect;
	char *network;			/* as asked for */
	int rc;
	struct err err;
	net_record_done *done;
	void *user;
};

/* The last step of either, from the loop: the answer, and the next change's turn. */
static void finish(struct connecting *c)
{
	struct net *n = c->n;
	json_t *record = c->rc < 0 || !c->s ? NULL : record_of(c->s);

	if (c->s && c->rc < 0)
		names_refresh(c->s);	/* it may have been renamed meanwhile */
	if (!n->stopping)
		c->done(c->user, record, record ? NULL : &c->err);
	json_decref(record);
	if (c->s)
		sandbox_change_done(c->s);
	free(c->network);
	free(c);
}

static void finish_later(void *user)
{
	finish(user);
}

static void refuse(struct connecting *c)
{
	c->rc = -1;
	endpoint_free(TAKE(c->ep));
	loop_defer(c->n->loop, finish_later, c);
}

/* ---- connect ---- */

static void connect_run(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);

	c->rc = sandbox_kernel_connect(c->s, c->ep, c->gw4, c->gw6, &c->err);
}

static void undo_run(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);
	struct err e = { 0 };

	if (sandbox_kernel_disconnect(c->s, c->ep, c->s->gw4, c->s->gw6, &e) < 0)
		log_warn("net", "container %s: %s", c->s->name, e.msg);
}

static void undo_done(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);

	endpoint_free(TAKE(c->ep));
	finish(c);
}

static void connect_done(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);
	struct endpoint *was4 = c->s->gw4, *was6 = c->s->gw6;
	struct err e = { 0 };

	if (c->rc < 0) {
		endpoint_free(TAKE(c->ep));
		finish(c);
		return;
	}
	if (endpoint_dp_set(c->ep, &c->err) < 0 || sandbox_ports_move(c->s, c->gw4, c->gw6, &c->err) < 0) {
		c->rc = err_wrap(&c->err, "connect container %s to network %s", c->s->name, c->ep->nw->name);
		if (sandbox_ports_move(c->s, was4, was6, &e) < 0)
			log_warn("net", "container %s: %s", c->s->name, e.msg);
		endpoint_dp_del(c->ep);
		c->w = (struct work){ .run = undo_run, .done = undo_done };
		work_start(c->n->pool, &c->w);
		return;
	}
	endpoint_advertise(c->s, c->ep);
	sandbox_ep_add(c->s, TAKE(c->ep));
	names_refresh(c->s);
	finish(c);
}

static void connect_retry(struct waiting *w);
static void connect_drop(struct waiting *w);

static void connect_go(struct change *change)
{
	struct connecting *c = CONTAINER_OF(change, struct connecting, change);
	struct sandbox *s = c->s;
	int rc = endpoint_decide(c->ep, c->network, &c->err);

	if (rc > 0 && !s->closing) {
		c->wait = (struct waiting){ .retry = connect_retry, .drop = connect_drop };
		waiting_add(c->n, &c->wait);
		return;
	}
	if (rc == 0 && sandbox_endpoint(s, c->ep->nw))
		rc = err_set(&c->err, ERR_FORBIDDEN, "endpoint with name %s already exists in network %s", s->name, c->ep->nw->name);
	else if (rc == 0 && (!s->path || c->ep->nw->driver == DRIVER_HOST || c->ep->nw->driver == DRIVER_NULL))
		rc = err_set(&c->err, ERR_FORBIDDEN, "container %s cannot be connected to network %s", s->name, c->ep->nw->name);
	if (rc == 0)
		rc = sandbox_ifname(s, c->ep, &c->err);
	if (rc) {
		refuse(c);
		return;
	}
	sandbox_ep_add(s, c->ep);
	sandbox_gateways(s, NULL, &c->gw4, &c->gw6);
	sandbox_ep_remove(s, c->ep);
	names_decide(s, c->ep);
	c->w = (struct work){ .run = connect_run, .done = connect_done };
	work_start(c->n->pool, &c->w);
}

static void connect_retry(struct waiting *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, wait);

	err_clear(&c->err);
	connect_go(&c->change);
}

static void connecting_drop(struct connecting *c)
{
	endpoint_free(c->ep);
	free(c->network);
	free(c);
}

static void connect_drop(struct waiting *w)
{
	connecting_drop(CONTAINER_OF(w, struct connecting, wait));
}

static struct connecting *connecting_new(struct net *n, const char *id, const char *network, net_record_done *done, void *user)
{
	struct connecting *c = mem_zalloc(sizeof(*c));

	*c = (struct connecting){ .n = n, .s = map_get(n->sandboxes, id), .network = mem_strdup(network), .done = done, .user = user };
	if (!c->s || c->s->closing || c->s->joined) {
		err_set(&c->err, ERR_CONFLICT, c->s && c->s->joined ? "container %.12s shares the network of another container" : "container %.12s is not running", id);
		c->s = NULL;
		refuse(c);
		return NULL;
	}
	return c;
}

void net_sandbox_connect(struct net *n, const char *id, const struct net_endpoint_spec *spec, net_record_done *done, void *user)
{
	struct connecting *c = connecting_new(n, id, spec->network, done, user);

	if (!c)
		return;
	c->ep = endpoint_new(n, spec);
	c->change.go = connect_go;
	sandbox_change(c->s, &c->change);
}

/* ---- disconnect ---- */

static void disconnect_run(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);

	c->rc = sandbox_kernel_disconnect(c->s, c->ep, c->gw4, c->gw6, &c->err);
}

static void disconnect_done(struct work *w)
{
	struct connecting *c = CONTAINER_OF(w, struct connecting, w);
	struct err e = { 0 };

	if (c->rc < 0) {
		/* The interface is there still: so is the endpoint. */
		sandbox_ep_add(c->s, c->ep);
		sandbox_gateways(c->s, NULL, &c->gw4, &c->gw6);
		if (endpoint_dp_set(c->ep, &e) < 0 || sandbox_ports_move(c->s, c->gw4, c->gw6, &e) < 0)
			log_warn("net", "container %s: %s", c->s->name, e.msg);
		c->ep = NULL;
		names_refresh(c->s);
		finish(c);
		return;
	}
	endpoint_free(TAKE(c->ep));
	waiting_retry(c->n);
	finish(c);
}

static void disconnect_go(struct change *change)
{
	struct connecting *c = CONTAINER_OF(change, struct connecting, change);
	struct network *nw = network_find(c->n, c->network, &c->err);
	struct endpoint *ep = nw ? sandbox_endpoint(c->s, nw) : NULL;
	struct err e = { 0 };

	if (nw && (!ep || !endpoint_has_link(ep)))
		err_set(&c->err, ERR_NOT_FOUND, "container %s is not connected to network %s", c->s->name, nw->name);
	if (!ep || !endpoint_has_link(ep)) {
		refuse(c);
		return;
	}
	sandbox_gateways(c->s, ep, &c->gw4, &c->gw6);
	if (sandbox_ports_move(c->s, c->gw4, c->gw6, &e) < 0)
		log_warn("net", "container %s: %s", c->s->name, e.msg);
	endpoint_dp_del(ep);
	sandbox_ep_remove(c->s, ep);
	names_endpoint_del(ep);
	names_refresh(c->s);
	c->ep = ep;
	c->w = (struct work){ .run = disconnect_run, .done = disconnect_done };
	work_start(c->n->pool, &c->w);
}

void net_sandbox_disconnect(struct net *n, const char *id, const char *network, net_record_done *done, void *user)
{
	struct connecting *c = connecting_new(n, id, network, done, user);

	if (!c)
		return;
	c->disconnect = true;
	c->change.go = disconnect_go;
	sandbox_change(c->s, &c->change);
}

/* ---- names ---- */

json_t *net_sandbox_rename(struct net *n, const char *id, const char *name, const char *network, const char *const *names, size_t n_names)
{
	struct sandbox *s = map_get(n->sandboxes, id);
	struct network *nw = network_find(n, network, NULL);
	struct endpoint *ep = s && nw ? sandbox_endpoint(s, nw) : NULL;

	if (!ep)
		return NULL;
	if (s->now) {
		s->past_names = mem_realloc(s->past_names, (s->n_past_names + 1) * sizeof(*s->past_names));
		s->past_names[s->n_past_names++] = TAKE(s->name);
	}
	free(s->name);
	s->name = mem_strdup(name);
	strv_free(TAKE(ep->names));
	for (size_t i = 0; i < n_names; i++)
		ep->names = strv_add(ep->names, names[i]);
	/* A change under way does it when it ends: its worker may be at the name server's sockets. */
	if (!s->now)
		names_refresh(s);
	return record_of(s);
}
