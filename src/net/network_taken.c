/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/mem.h"
#include "net/network_priv.h"

/* What subnets are in use: other networks', and what the host has routes to and addresses in. */

static void taken_add(struct taken *t, const struct net_cidr *c)
{
	t->c = mem_realloc(t->c, (t->len + 1) * sizeof(*t->c));
	t->c[t->len++] = *c;
}

/* Bridges of ours say nothing new, and those of networks that are gone will be too. */
static bool is_bridge(const struct taken *t, uint32_t ifindex)
{
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(t->n->networks, &it, NULL)))
		if (nw->ifindex == ifindex && nw->driver == DRIVER_BRIDGE)
			return true;
	for (const struct bridge_going *g = t->n->going; g; g = g->next)
		if (g->ifindex == ifindex)
			return true;
	return false;
}

static void on_route(void *user, const struct net_cidr *dst, uint32_t ifindex)
{
	struct taken *t = user;

	if (!is_bridge(t, ifindex))
		taken_add(t, dst);
}

static void on_addr(void *user, const struct rtnl_addr *a)
{
	struct taken *t = user;

	if (!is_bridge(t, a->ifindex))
		taken_add(t, &a->addr);
}

int taken_fill(struct taken *t, struct err *e)
{
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(t->n->networks, &it, NULL)))
		for (size_t i = 0; nw != t->self && i < nw->n_pools; i++)
			taken_add(t, ipam_subnet(nw->pool[i]));
	return rtnl_route_each(t->n->rtnl, on_route, t, e) < 0 || rtnl_addr_each(t->n->rtnl, on_addr, t, e) < 0 ? -1 : 0;
}

const struct net_cidr *taken_hit(const struct taken *t, const struct net_cidr *c)
{
	for (size_t i = 0; i < t->len; i++)
		/* A default route covers everything and says nothing. */
		if (cidr_len(&t->c[i]) && cidr_overlap(&t->c[i], c))
			return &t->c[i];
	return NULL;
}

int taken_pick(const struct taken *t, bool v6, struct net_cidr *ret, struct err *e)
{
	int rc = ipam_default_pick(t->n->defaults, t->n->n_defaults, v6, t->c, t->len, ret, e);

	if (rc <= 0)
		return rc;
	return v6 ? ipam_pool_pick6(&t->n->ula, t->c, t->len, ret, e) : ipam_pool_pick(t->c, t->len, ret, e);
}

void networks_bar(struct net *n)
{
	struct net_cidr *c = NULL;
	struct network *nw;
	size_t it = 0, len = 0;

	while ((nw = map_next(n->networks, &it, NULL)))
		for (size_t i = 0; nw->internal && i < nw->n_pools; i++) {
			c = mem_realloc(c, (len + 1) * sizeof(*c));
			c[len++] = *ipam_subnet(nw->pool[i]);
		}
	proxy_bar(n->proxy, c, len);
	free(c);
}
