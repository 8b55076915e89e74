/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_LB_H
#define KEDGE_NET_LB_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/datapath.h"

/*
 * Several containers behind one address and port. New flows are spread over the backends in proportion to their weights, by the client's address
 * and port, so that most flows keep their backend when the set changes; flows under way always do. A backend of weight 0 is draining: its flows
 * go on, it gets no new ones. Loop thread.
 */
struct net;

struct net_lb {
	uint8_t proto;			/* IPPROTO_TCP, _UDP, _SCTP */
	struct in6_addr addr;		/* of the host or a virtual one; ::, 0.0.0.0: every address of the host of that family */
	uint16_t port;
	bool affinity;			/* a client's address alone decides */
};

struct net_lb_backend {
	struct in6_addr addr;		/* of a container of this engine, of the same family */
	uint16_t port;
	uint32_t weight;
};

/*
 * The port is reserved on the host as published ones are (an error says who has it), and what the data path leaves over is relayed. An address that is not
 * the host's is served by the data path alone, and an error where that is the proxy.
 */
/* Makes or replaces, in one step for whoever sends: no packet meets a half-made set. Up to 1,024 backends; none: new flows are dropped. */
int net_lb_set(struct net *n, const struct net_lb *lb, const struct net_lb_backend *b, size_t len, struct err *e);
int net_lb_del(struct net *n, const struct net_lb *lb);
/* For net itself: an endpoint has gone. The end: memory and ports. */
void lb_forget(struct net *n, const struct in6_addr *backend);
void lb_free_all(struct net *n);

#endif
