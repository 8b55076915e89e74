/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/names.h"

/*
 * The blocking half of a sandbox. Ports first: they fail most often and cost least. Then the namespace; for each endpoint one datagram to the host's
 * side (veth, alias, up, neighbour) and one to the container's (address, up, neighbour); the default routes last. Other workers do the same at the same
 * time; nothing here is shared but the port table, which has its lock.
 */
struct kernel {
	struct rtnl *host, *inner;
	int ns;
};

static void kernel_close(struct kernel *k)
{
	rtnl_close(k->host);
	rtnl_close(k->inner);
	if (k->ns >= 0)
		(void)close(k->ns);
	*k = (struct kernel){ .ns = -1 };
}

static int kernel_open(struct kernel *k, const struct sandbox *s, struct err *e)
{
	*k = (struct kernel){ .ns = -1 };
	if (rtnl_open(&k->host, e) < 0 || netns_open(s->path, &k->inner, &k->ns, e) < 0) {
		kernel_close(k);
		return -1;
	}
	return 0;
}

static int bridge_side(const struct sandbox *s, struct endpoint *ep, struct kernel *k, struct err *e)
{
	char alias[128];
	struct rtnl_link l;
	int rc;

	net_alias(s->n, s->id, alias, sizeof(alias));
	rtnl_veth(k->host, ep->veth, ep->ifname, k->ns, ep->mac, ep->nw->mtu, ep->nw->ifindex);
	/* Before it is up: not a frame gets to a neighbour it must not reach. */
	if (!ep->nw->icc)
		rtnl_port_isolate(k->host, ep->veth);
	rtnl_port_up(k->host, ep->veth, alias);
	/* The host and the data path need not ask for what they can be told. */
	if (ep->has4)
		rtnl_neigh_set(k->host, ep->nw->ifindex, &ep->addr4, ep->mac);
	if (ep->has6)
		rtnl_neigh_set(k->host, ep->nw->ifindex, &ep->addr6, ep->mac);
	if (rtnl_run(k->host, e) < 0)
		return -1;
	if (FAULT("net.veth"))
		return err_set(e, ERR_INTERNAL, "the veth pair %s fails on purpose", ep->veth);
	rc = rtnl_link_get(k->host, ep->veth, &l, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_INTERNAL, "the link %s was made and is not there", ep->veth);
	ep->ifindex = l.ifindex;
	return s->n->ops->veth_made ? s->n->ops->veth_made(s->n->dp, ep->ifindex, e) : 0;
}

static int parent_side(struct endpoint *ep, struct kernel *k, struct err *e)
{
	struct rtnl_link l;
	int rc = rtnl_link_get(k->host, ep->nw->parent, &l, e);

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "the parent interface %s was not found", ep->nw->parent);
	if (ep->nw->driver == DRIVER_MACVLAN)
		rtnl_macvlan(k->host, ep->ifname, l.ifindex, ep->nw->link_mode, k->ns, ep->mac, ep->nw->mtu);
	else
		rtnl_ipvlan(k->host, ep->ifname, l.ifindex, ep->nw->link_mode, ep->nw->link_flags, k->ns, ep->nw->mtu);
	return rtnl_run(k->host, e);
}

static void address(struct endpoint *ep, bool v6, uint32_t ifindex, struct rtnl *inner)
{
	struct net_cidr a = { .addr = v6 ? ep->addr6 : ep->addr4, .prefix = endpoint_subnet(ep, v6)->prefix };

	rtnl_addr_add(inner, ifindex, &a);
}

static int container_side(struct endpoint *ep, struct kernel *k, struct err *e)
{
	struct rtnl_link l;
	int rc = rtnl_link_get(k->inner, ep->ifname, &l, e);

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_INTERNAL, "%s was made and is not there", ep->ifname);
	if (ep->has4)
		address(ep, false, l.ifindex, k->inner);
	if (ep->has6)
		address(ep, true, l.ifindex, k->inner);
	for (char **p = ep->link_local; p && *p; p++) {
		struct net_cidr a = { .prefix = strchr(*p, ':') ? 64 : 96 + 16 };

		if (addr_parse(*p, &a.addr) == 0)
			rtnl_addr_add(k->inner, l.ifindex, &a);
	}
	rtnl_link_up(k->inner, ep->ifname);
	for (int v6 = 0; v6 < 2; v6++) {
		const struct in6_addr *own = (v6 ? ep->has6 : ep->has4) && ep->nw->driver == DRIVER_BRIDGE ?
					     network_bridge_addr(ep->nw, v6 ? ep->pool6 : ep->pool4) : NULL;

		if (own)
			rtnl_neigh_set(k->inner, l.ifindex, own, ep->nw->mac);
	}
	return rtnl_run(k->inner, e);
}

static int wire_up(const struct sandbox *s, struct endpoint *ep, struct kernel *k, struct err *e)
{
	if (!endpoint_has_link(ep))
		return 0;
	if (netns_set_ipv6(k->ns, ep->has6 || endpoint_link_local(ep, true), e) < 0 || (network_on_parent(ep->nw) ? parent_side(ep, k, e) : bridge_side(s, ep, k, e)) < 0 ||
	    endpoint_quiet(ep, k->ns, e) < 0 || container_side(ep, k, e) < 0 || endpoint_sysctls(ep, k->ns, e) < 0)
		return err_wrap(e, "connect container %s to network %s", s->name, ep->nw->name);
	return 0;
}

static int route(struct endpoint *gw, bool v6, struct kernel *k, struct err *e)
{
	struct rtnl_link l;
	int rc;

	if (!gw)
		return 0;
	rc = rtnl_link_get(k->inner, gw->ifname, &l, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "the container's interface %s is gone", gw->ifname);
	rtnl_route_default(k->inner, l.ifindex, v6, endpoint_gateway(gw, v6));
	return rtnl_run(k->inner, e);
}

static int routes(struct endpoint *gw4, struct endpoint *gw6, struct kernel *k, struct err *e)
{
	return route(gw4, false, k, e) < 0 || route(gw6, true, k, e) < 0 ? -1 : 0;
}

static void close_ports(struct sandbox *s)
{
	port_release(s->n->ports, s->ports, s->n_ports);
	free(TAKE(s->ports));
	s->n_ports = 0;
}

/* After a failure, and when one of several goes; those of a whole sandbox go by the reaper. */
static int link_remove(const struct endpoint *ep, struct kernel *k, struct err *e)
{
	struct rtnl *r = ep->veth[0] ? k->host : k->inner;

	if (!endpoint_has_link(ep) || !r)
		return 0;
	rtnl_link_del(r, ep->veth[0] ? ep->veth : ep->ifname);
	return rtnl_run(r, e);
}

int sandbox_kernel_open(struct sandbox *s, const struct net_port *wanted, size_t n_wanted, struct err *e)
{
	struct kernel k = { .ns = -1 };
	struct err undo = { 0 };
	int rc = 0;

	if (n_wanted) {
		const struct endpoint *gw = s->gw4 ? s->gw4 : s->gw6;

		if (port_reserve(s->n->ports, wanted, n_wanted, s->gw4 ? &gw->addr4 : &gw->addr6, &s->ports, &s->n_ports, e) < 0)
			return err_wrap(e, "driver failed programming external connectivity on endpoint %s (%s)", s->name, gw->id);
	}
	if (netns_new(s->path, &k.inner, &k.ns, e) < 0) {
		close_ports(s);
		return err_wrap(e, "container %s", s->name);
	}
	rc = names_sockets(s, k.ns, e) < 0 ? -1 : rtnl_open(&k.host, e);
	for (size_t i = 0; i < s->n_ep && rc == 0; i++)
		rc = wire_up(s, s->ep[i], &k, e);
	if (rc == 0)
		rc = routes(s->gw4, s->gw6, &k, e);
	if (rc < 0) {
		sandbox_kernel_close(s);
		for (size_t i = 0; i < s->n_ep; i++)
			if (link_remove(s->ep[i], &k, &undo) < 0)
				log_warn("net", "container %s: %s, leaving %s to the next start", s->name, undo.msg, s->ep[i]->veth);
		close_ports(s);
	}
	kernel_close(&k);
	return rc;
}

/*
 * A child of a link keeps its address there (macvlan its MAC, ipvlan its IP) until it is gone, and a namespace goes some time after its name. The next owner
 * of the address may be about to come.
 */
static void leave_parents(const struct sandbox *s)
{
	struct rtnl *inner = NULL;
	struct err e = { 0 };
	int ns = -1;

	for (size_t i = 0; i < s->n_ep; i++) {
		const struct endpoint *ep = s->ep[i];

		if (!ep->nw || !network_on_parent(ep->nw) || !ep->ifname[0])
			continue;
		if (!inner && netns_open(s->path, &inner, &ns, &e) < 0)
			break;
		rtnl_link_del(inner, ep->ifname);
		if (rtnl_run(inner, &e) < 0)
			log_warn("net", "container %s: %s", s->name, e.msg);
	}
	rtnl_close(inner);
	if (ns >= 0)
		(void)close(ns);
}

void sandbox_kernel_close(struct sandbox *s)
{
	if (!s->path || s->joined)
		return;
	leave_parents(s);
	netns_remove(s->path);
}

int sandbox_kernel_connect(struct sandbox *s, struct endpoint *ep, struct endpoint *gw4, struct endpoint *gw6, struct err *e)
{
	struct err undo = { 0 };
	struct kernel k;
	int rc;

	if (kernel_open(&k, s, e) < 0)
		return err_wrap(e, "container %s", s->name);
	rc = names_sockets(s, k.ns, e) < 0 ? -1 : wire_up(s, ep, &k, e);
	if (rc == 0)
		rc = routes(gw4 == s->gw4 ? NULL : gw4, gw6 == s->gw6 ? NULL : gw6, &k, e);
	if (rc < 0 && (link_remove(ep, &k, &undo) < 0 || routes(s->gw4, s->gw6, &k, &undo) < 0))
		log_warn("net", "container %s: %s", s->name, undo.msg);
	kernel_close(&k);
	return rc;
}

int sandbox_kernel_disconnect(struct sandbox *s, struct endpoint *ep, struct endpoint *gw4, struct endpoint *gw6, struct err *e)
{
	struct kernel k;
	int rc;

	if (kernel_open(&k, s, e) < 0)
		return err_wrap(e, "container %s", s->name);
	/* The new way out before the old one goes. */
	rc = routes(gw4, gw6, &k, e) < 0 ? -1 : link_remove(ep, &k, e);
	kernel_close(&k);
	return rc;
}
