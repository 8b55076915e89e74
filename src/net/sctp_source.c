/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/log.h"
#include "net/network_priv.h"

/*
 * Theory of operation. SCTP of the kernel answers from whatever address the route back names, not from the one that was written to, and tells the client all
 * of its addresses. A client takes an answer from each of these, except that one who has called a public address does not hear of private ones (IPv4's
 * address scoping). The route to a container names its bridge's own address, which is mostly private: a container that called the host by a public
 * address would never know the answer for its own. The other way round there is no such trouble.
 *
 * So while the engine relays SCTP, what the host says over it to a container's IPv4 subnet comes from a public address, if the host has one: a rule for the
 * protocol, which the host's own packets alone meet, sends the search for a route to a table with one for each subnet; what is not there is searched for in the
 * next tables as always. Routes of an address or a bridge that goes are removed by the kernel itself.
 *
 * The rule stands before those of isolate.c and guard.c; the table's number is the instance's.
 */
enum { PRIORITY = 96, TABLES = 0x6c000000 };

static uint32_t table_of(const struct net *n)
{
	return TABLES | instance_hash(n) >> 8;
}

static void routes(struct net *n, bool on, const struct in6_addr *source)
{
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(n->networks, &it, NULL))) {
		if (nw->driver != DRIVER_BRIDGE || !nw->ifindex || nw->making || nw->going)
			continue;
		for (size_t i = 0; i < nw->n_pools; i++) {
			const struct net_cidr *subnet = ipam_subnet(nw->pool[i]);

			if (addr_is4(&subnet->addr))
				rtnl_route_source(n->rtnl, on, subnet, nw->ifindex, source, table_of(n));
		}
	}
}

static int rule(struct net *n, bool on, struct err *e)
{
	rtnl_rule(n->rtnl, on, &(struct rtnl_rule){ .priority = PRIORITY, .iif = "lo", .proto = IPPROTO_SCTP, .table = table_of(n) });
	return rtnl_run(n->rtnl, e);
}

void sctp_source_refresh(struct net *n)
{
	struct in6_addr source;
	struct err e = { 0 };

	if (!n->sctp_relays || !n->watch || !watch_public4(n->watch, &source))
		return;
	routes(n, true, &source);
	if (rtnl_run(n->rtnl, &e) < 0)
		log_debug("net", "%s: the next look at addresses tries again", e.msg);
}

void sctp_source_get(struct net *n)
{
	struct err e = { 0 };

	if (n->sctp_relays++)
		return;
	if (rule(n, true, &e) < 0)
		log_warn("net", "%s: containers that call a public address of this host over SCTP may not be answered", e.msg);
	sctp_source_refresh(n);
}

static void off(struct net *n)
{
	(void)rule(n, false, NULL);
	routes(n, false, NULL);
	(void)rtnl_run(n->rtnl, NULL);
}

void sctp_source_put(struct net *n)
{
	if (--n->sctp_relays == 0)
		off(n);
}

void sctp_source_gc(struct net *n)
{
	if (!n->sctp_relays)
		off(n);
}
