/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/sandbox.h"

/*
 * The blocking half of a sandbox. Ports first: they fail most often and cost least. Then the namespace, one datagram to the host's side (veth,
 * alias, up, neighbour), one to the container's (address, up, route). Other workers do the same at the same time; nothing here is shared but
 * the port table, which has its lock.
 */
static int host_side(struct sandbox *s, struct rtnl *r, int ns, struct err *e)
{
	char alias[128];
	struct rtnl_link l;
	int rc;

	net_alias(s->n, s->id, alias, sizeof(alias));
	rtnl_veth(r, s->veth, "eth0", ns, s->mac, s->nw->mtu, s->nw->ifindex);
	rtnl_port_up(r, s->veth, alias);
	/* The host and the data path need not ask for what they can be told. */
	rtnl_neigh_set(r, s->nw->ifindex, &s->addr, s->mac);
	if (rtnl_run(r, e) < 0)
		return -1;
	if (FAULT("net.veth"))
		return err_set(e, ERR_INTERNAL, "the veth pair %s fails on purpose", s->veth);
	rc = rtnl_link_get(r, s->veth, &l, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_INTERNAL, "the link %s was made and is not there", s->veth);
	s->ifindex = l.ifindex;
	return 0;
}

static int container_side(struct sandbox *s, struct rtnl *inner, struct err *e)
{
	struct net_cidr a = { .addr = s->addr, .prefix = ipam_subnet(s->nw->ipam)->prefix };
	struct rtnl_link l;
	int rc = rtnl_link_get(inner, "eth0", &l, e);

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_INTERNAL, "eth0 was made and is not there");
	rtnl_addr_add(inner, l.ifindex, &a);
	rtnl_link_up(inner, "eth0");
	rtnl_neigh_set(inner, l.ifindex, ipam_gateway(s->nw->ipam), s->nw->mac);
	if (!s->nw->internal)
		rtnl_route_default(inner, l.ifindex, ipam_gateway(s->nw->ipam));
	return rtnl_run(inner, e);
}

static int wire_up(struct sandbox *s, struct rtnl *inner, int ns, struct err *e)
{
	struct rtnl *r;
	int rc;

	if (rtnl_open(&r, e) < 0)
		return -1;
	rc = host_side(s, r, ns, e);
	if (rc == 0)
		rc = container_side(s, inner, e);
	rtnl_close(r);
	return rc < 0 ? err_wrap(e, "connect container %s to network %s", s->name, s->nw->name) : 0;
}

static void close_ports(struct sandbox *s)
{
	port_release(s->n->ports, s->ports, s->n_ports);
	free(TAKE(s->ports));
	s->n_ports = 0;
}

/* After a failure; one that was used goes by the reaper. */
static void veth_remove(const struct sandbox *s)
{
	struct err e = { 0 };
	struct rtnl *r;

	if (!s->veth[0])
		return;
	if (rtnl_open(&r, &e) < 0) {
		log_warn("net", "container %s: %s, leaving %s to the next start", s->name, e.msg, s->veth);
		return;
	}
	rtnl_link_del(r, s->veth);
	if (rtnl_run(r, &e) < 0)
		log_warn("net", "container %s: %s", s->name, e.msg);
	rtnl_close(r);
}

int sandbox_kernel_open(struct sandbox *s, const struct net_port *wanted, size_t n_wanted, struct err *e)
{
	struct rtnl *inner = NULL;
	int ns = -1, rc = 0;

	if (n_wanted) {
		if (port_reserve(s->n->ports, s->id, wanted, n_wanted, &s->addr, &s->ports, e) < 0)
			return err_wrap(e, "driver failed programming external connectivity on endpoint %s (%s)", s->name, s->eid);
		s->n_ports = n_wanted;
	}
	if (netns_new(s->path, &inner, &ns, e) < 0) {
		close_ports(s);
		return err_wrap(e, "container %s", s->name);
	}
	if (s->veth[0])
		rc = wire_up(s, inner, ns, e);
	rtnl_close(inner);
	(void)close(ns);
	if (rc < 0) {
		sandbox_kernel_close(s);
		veth_remove(s);
		close_ports(s);
	}
	return rc;
}

void sandbox_kernel_close(struct sandbox *s)
{
	if (s->path)
		netns_remove(s->path);
}
