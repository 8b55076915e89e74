/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "net/network_priv.h"

/*
 * A macvlan or ipvlan network needs a link of the host. One that is there is used and left alone. "eth0.50" that is not there is made, VLAN 50 of eth0;
 * without any parent a dummy is made, which leads nowhere: its containers have each other only. What was made carries our alias, with the id of the
 * network it was made for, and goes with the last of the networks on it: one that goes before hands it on.
 */
bool network_is_l3(const struct network *nw)
{
	return nw->driver == DRIVER_IPVLAN && nw->link_mode != IPVLAN_MODE_L2;
}

static int vlan_up(struct network *nw, struct rtnl *r, struct err *e)
{
	const char *dot = strrchr(nw->parent, '.');
	struct rtnl_link l;
	char base[16];
	uint64_t id;
	int rc;

	if (!dot || dot == nw->parent || str_to_u64(dot + 1, 1, 4094, &id) < 0)
		return err_set(e, ERR_NOT_FOUND, "invalid subinterface vlan name %s, example formatting is eth0.10", nw->parent);
	(void)snprintf(base, sizeof(base), "%.*s", (int)(dot - nw->parent), nw->parent);
	rc = rtnl_link_get(r, base, &l, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "failed to create the VLAN interface %s: the parent interface %s was not found", nw->parent, base);
	rtnl_vlan(r, nw->parent, l.ifindex, (uint16_t)id);
	return 0;
}

int network_parent_up(struct network *nw, struct rtnl *r, struct err *e)
{
	char alias[128];
	struct rtnl_link l;
	int rc;

	if (nw->driver == DRIVER_IPVLAN && !rtnl_has_ipvlan(r))
		return err_set(e, ERR_NOT_IMPLEMENTED, "the driver ipvlan cannot be had: this kernel has no ipvlan interfaces (CONFIG_IPVLAN)");
	rc = rtnl_link_get(r, nw->parent, &l, e);
	if (rc < 0)
		return -1;
	net_alias(nw->n, nw->id, alias, sizeof(alias));
	if (rc > 0) {
		if (l.flags & IFF_LOOPBACK)
			return err_set(e, ERR_INVALID, "loopback interface is not a valid %s parent link", network_driver_names[nw->driver]);
		nw->own_parent = str_eq(l.alias, alias);
		nw->ifindex = l.ifindex;
		return 0;
	}
	nw->own_parent = true;
	if (nw->nowhere)
		rtnl_dummy(r, nw->parent);
	else if (vlan_up(nw, r, e) < 0)
		return -1;
	rtnl_link_alias(r, nw->parent, alias);
	rtnl_link_up(r, nw->parent);
	if (rtnl_run(r, e) < 0)
		return -1;
	if (rtnl_link_get(r, nw->parent, &l, e) <= 0)
		return err_set(e, ERR_INTERNAL, "the interface %s was made and is not there", nw->parent);
	nw->ifindex = l.ifindex;
	return 0;
}

int network_parent_down(const struct network *nw, struct rtnl *r, struct err *e)
{
	char alias[128];

	if (!nw->own_parent)
		return 0;
	if (nw->heir[0]) {
		net_alias(nw->n, nw->heir, alias, sizeof(alias));
		rtnl_link_alias(r, nw->parent, alias);
	} else {
		rtnl_link_del(r, nw->parent);
	}
	return rtnl_run(r, e);
}

void network_parent_claim(const struct network *nw, struct rtnl *r)
{
	char mine[96], alias[128];
	struct rtnl_link l;

	(void)snprintf(mine, sizeof(mine), "kedge:%s:", nw->n->instance);
	if (rtnl_link_get(r, nw->parent, &l, NULL) <= 0 || !str_starts(l.alias, mine) || network_by_id(nw->n, l.alias + strlen(mine)))
		return;
	net_alias(nw->n, nw->id, alias, sizeof(alias));
	rtnl_link_alias(r, nw->parent, alias);
	(void)rtnl_run(r, NULL);
}
