/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_NETWORK_PRIV_H
#define KEDGE_NET_NETWORK_PRIV_H

#include "net/net_priv.h"

/* Seen by network*.c only. */

enum { NETWORK_POOLS_MAX = 8 };		/* subnets of one network: a batch of rtnetlink requests has room for their addresses */

extern const char *const network_driver_names[DRIVER_COUNT];

/* network_options.c: those of nw->doc, each checked. */
int network_options(struct network *nw, struct err *e);

/* network_apply.c: from nw->doc to nw's fields. */
int network_apply(struct network *nw, struct err *e);	/* driver, flags, options; each checked */
/* One IPAM for each element of IPAM.Config; each has a Subnet. Gateways that were not given are written into the document. */
int network_pools(struct network *nw, struct err *e);
void network_pools_free(struct network *nw);
bool network_has(const struct network *nw, bool v6);	/* subnets of the family */

/* network_bridge.c */
/* Blocking: makes the bridge, or takes over what is there. Writes ifindex, mac, foreign. */
int network_bridge_up(struct network *nw, struct rtnl *r, struct err *e);
/* Blocking: away with it; a foreign one loses our addresses only. */
int network_bridge_down(const struct network *nw, struct rtnl *r, struct err *e);
/* isolate.c: rules that keep packets from being routed to and from a bridge, where the data path does not. Blocking; failures go to the log. */
void network_isolate(const struct network *nw, struct rtnl *r);
void network_isolate_end(const struct network *nw, struct rtnl *r);
int network_datapath(struct network *nw, struct err *e);	/* tells it of the bridge's subnets */
void network_datapath_end(const struct network *nw);

/* network_parent.c: the link of the host that a macvlan or ipvlan network hangs on. Blocking; as network_bridge_up() and _down(). */
int network_parent_up(struct network *nw, struct rtnl *r, struct err *e);
int network_parent_down(const struct network *nw, struct rtnl *r, struct err *e);
/* At start, the networks known: a link of ours whose network is gone is that of the one that is on it, too. */
void network_parent_claim(const struct network *nw, struct rtnl *r);

/* What the kernel has of a network, whatever its driver. Blocking. */
static inline int network_kernel_up(struct network *nw, struct rtnl *r, struct err *e)
{
	return network_on_parent(nw) ? network_parent_up(nw, r, e) : network_bridge_up(nw, r, e);
}

static inline int network_kernel_down(const struct network *nw, struct rtnl *r, struct err *e)
{
	return network_on_parent(nw) ? network_parent_down(nw, r, e) : network_bridge_down(nw, r, e);
}

/* network.c */
json_t *network_shape(const char *name, const char *id, const char *driver);
void network_store(const struct network *nw, struct store_tx *tx);

/* sandbox.c */
char *endpoints_text(const struct network *nw);		/* " (name:"web" id:"0123456789ab", ...)"; the caller frees */

/* network_make.c: a bridge on its way out. */
struct bridge_going {
	struct work w;
	struct network *nw;		/* of nobody else any more */
	uint32_t ifindex;
	struct making *waiting;		/* for its name */
	struct bridge_going *next;
};
struct making;

/* network_taken.c: tells the proxy which clients it serves nothing: who is on an internal network. */
void networks_bar(struct net *n);
/* What new subnets must keep off. */
struct taken {
	const struct net *n;
	struct net_cidr *c;		/* the caller frees */
	size_t len;
	const struct network *self;	/* does not count */
};
int taken_fill(struct taken *t, struct err *e);
/* A default subnet that is free. */
int taken_pick(const struct taken *t, bool v6, struct net_cidr *ret, struct err *e);
const struct net_cidr *taken_hit(const struct taken *t, const struct net_cidr *c);	/* the first that overlaps, or NULL */

#endif
