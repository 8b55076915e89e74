/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/names.h"

/* After a restart: sandboxes that go on are taken over, what nobody knows is removed. */

static void on_lost(void *user, const struct port_bound *b, int errnum)
{
	const struct sandbox *s = user;

	log_warn("net", "container %s: host port %u/%s cannot be reserved again (%s): the data path goes on serving it, local clients may miss it",
		 s->name, b->host_port, proto_text(b->proto), strerrordesc_np(errnum));
}

static int adopt_ports(struct sandbox *s, const json_t *record, struct err *e)
{
	CLEANUP(mem_freep) struct net_port *p = NULL;
	size_t n;

	if (record_ports(record, &p, &n, e) < 0)
		return -1;
	return port_adopt(s->n->ports, p, n, on_lost, s, &s->ports, &s->n_ports, e);
}

/* The pool an address of the record is from, and the address taken in it. */
static int adopt_address(struct endpoint *ep, bool v6, struct err *e)
{
	struct in6_addr *a = v6 ? &ep->addr6 : &ep->addr4;

	for (size_t i = 0; i < ep->nw->n_pools; i++) {
		struct ipam *m = ep->nw->pool[i];

		if (!cidr_has(ipam_subnet(m), a))
			continue;
		if (ipam_take_addr(m, a, e) < 0)
			return -1;
		*(v6 ? &ep->pool6 : &ep->pool4) = m;
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "network %s has no subnet any more that its address is from", ep->nw->name);
}

static int adopt_endpoint(struct endpoint *ep, struct err *e)
{
	struct rtnl_link l;
	int rc;

	ep->nw->busy++;
	ep->counted = true;
	if ((ep->has4 && adopt_address(ep, false, e) < 0) || (ep->has6 && adopt_address(ep, true, e) < 0))
		return -1;
	if (!ep->veth[0] || ep->nw->driver != DRIVER_BRIDGE)
		return 0;
	rc = rtnl_link_get(ep->n->rtnl, ep->veth, &l, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "the interface %s is gone", ep->veth);
	ep->ifindex = l.ifindex;
	return 0;
}

/* Its processes go on whether names are answered or not. */
static void adopt_names(struct sandbox *s)
{
	CLEANUP(fd_closep) int ns = s->want_dns ? open(s->path, O_RDONLY | O_CLOEXEC) : -1;
	struct err e = { 0 };

	if (ns >= 0 && names_sockets(s, ns, &e) < 0)
		log_error("net", "%s: it finds no names until it is started again", e.msg);
	names_refresh(s);
}

static int adopt(struct sandbox *s, const json_t *record, struct err *e)
{
	if (record_read(record, s, e) < 0)
		return -1;
	s->name = mem_strdup(json_str(record, "Name", s->id));
	if (s->path && !s->joined && !netns_is_bound(s->path))
		return err_set(e, ERR_NOT_FOUND, "the network namespace %s is gone", s->path);
	for (size_t i = 0; i < s->n_ep; i++) {
		if (!s->ep[i]->nw)
			return err_set(e, ERR_NOT_FOUND, "network %s not found", json_str(json_array_get(json_arr(record, "Endpoints"), i), "Network", "?"));
		if (adopt_endpoint(s->ep[i], e) < 0)
			return -1;
	}
	sandbox_gateways(s, NULL, &s->gw4, &s->gw6);
	/* The data path first: its entries are there already, and it must not miss them for longer than this. */
	if (adopt_ports(s, record, e) < 0)
		return -1;
	for (size_t i = 0; i < s->n_ep; i++)
		if (endpoint_dp_set(s->ep[i], e) < 0)
			return -1;
	if (sandbox_ports_set(s, e) < 0)
		return -1;
	sandbox_proxies_open(s);
	adopt_names(s);
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

/* A veth says whose it is by its alias; a sandbox may have left the network it was for in the engine's last moment. */
static bool is_wanted(const struct net *n, const char *id, const char *name)
{
	const struct sandbox *s = map_get(n->sandboxes, id);

	if (!s)
		return network_by_id(n, id) != NULL;
	for (size_t i = 0; i < s->n_ep; i++)
		if (str_eq(s->ep[i]->veth, name))
			return true;
	return false;
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

	if (!str_starts(l->alias, x->mine) || is_wanted(x->n, l->alias + strlen(x->mine), l->name))
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
	guard_gc(n);
	sctp_source_gc(n);
}
