/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_LAB_H
#define KEDGE_NET_LAB_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Looking into the data path. Loop thread. Documents are new references. */
struct net;

/*
 * Flows, newest first: [{"Proto": "tcp", "Kind": "published" | "outgoing", "State": "new" | "established" | "closing" | "one-way", "Peer": "192.0.2.2",
 * "PeerPort", "Host", "HostPort", "Container", "ContainerPort", "Sandbox": container id or "", "InPackets", "InBytes", "OutPackets", "OutBytes",
 * "AgeNs", "IdleNs"}]; of one sandbox, or all with NULL. Ports of ICMP are its identifiers.
 */
json_t *net_flows(struct net *n, const char *sandbox);

/* Every table, decoded: {"published": {"Entries": [...], "Max": n}, ...}. NULL with e on a data path without tables. */
json_t *net_maps(struct net *n, struct err *e);

/*
 * One packet's way through the programs that are attached, without its being sent: {"Result": "delivered" | "sent" | "dropped" | "host" | "bridge" |
 * "answered", "Reason": of a drop, "Steps": [{"Hook", "Interface", "Packet", "Text"}]}. To a published port of a container it comes in at an uplink, and
 * the answer's way is told too.
 */
struct net_trace {
	uint8_t proto;
	const char *from, *to;		/* sandboxes, or NULL */
	struct in6_addr from_addr, to_addr;	/* where from, to are NULL; from_addr ::: somebody far away */
	uint16_t port;			/* of the container, or of to_addr */
	bool v6;
};
json_t *net_trace(struct net *n, const struct net_trace *t, struct err *e);

/*
 * Dropped packets as they are dropped: {"timeNano", "Hook", "Reason", "Interface", "Proto", "Source", "SourcePort", "Destination", "DestinationPort",
 * "Length", "Flags", "Sandbox", "Suppressed"}, borrowed in the call. No more than 1,000 a second are told, and no more than the ring holds:
 * "Suppressed" is how many were left out before this one. The counters (net_info()) leave out none.
 */
struct net_drops;
struct net_drops *net_drops_follow(struct net *n, void (*drop)(void *user, const json_t *doc), void *user, struct err *e);
void net_drops_cancel(struct net_drops *f);	/* no callback any more; NULL is fine */

#endif
