/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_DATAPATH_H
#define KEDGE_NET_DATAPATH_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "net/addr.h"

/*
 * What a data path offers to net. IPv4 addresses come mapped (::ffff:a.b.c.d). Ports are in host byte order. All calls come from
 * the loop's thread and do not block for longer than a few system calls. Everything in the kernel outlives the process (pins);
 * each *_set is idempotent, so adoption after a restart is the same call again.
 */
struct dp_net {			/* a subnet of a bridge network: one call for each, hence for each family */
	uint32_t bridge_ifindex;
	struct in6_addr gateway;	/* the bridge's own address */
	struct in6_addr subnet;
	uint8_t prefix;			/* in the mapped form: 96 + v4 length */
	bool masquerade;
	bool routed;			/* out with their own addresses; in, without translation, to what is published at an endpoint's own address */
	bool icc;			/* may endpoints talk to each other? Bridge ports keep them apart on layer 2 when not: what is left
					 * is traffic handed to the bridge's own MAC for the host to route back to a neighbour */
	bool internal;			/* no way out or in: neighbours and the gateway's own address are all that is reachable, and a port
					 * published on the host's addresses is not (neither from the network nor into it) */
	bool open;			/* whoever routes to an endpoint's own address reaches all of it; besides, as without */
	bool ping;			/* the same for ICMP's echoes alone */
	bool gateway_elsewhere;		/* the way out is another machine on the bridge: what is for its MAC is the bridge's to deliver */
	struct in6_addr source;		/* of the family: what masquerade gives instead of the uplink's own address; ::: that */
};

struct dp_endpoint {
	uint32_t host_ifindex;		/* veth on our side */
	uint32_t bridge_ifindex;
	struct in6_addr addr;
	uint8_t mac[6];			/* of the container's side */
	uint8_t gw_mac[6];		/* of the bridge */
	uint32_t generation;		/* differs from every earlier owner of the address */
	bool link_local;		/* it has link-local IPv4 addresses besides, for its neighbours on the bridge */
};

struct dp_publish {
	uint8_t proto;			/* IPPROTO_TCP, _UDP, _SCTP */
	struct in6_addr host_addr;	/* :: or 0.0.0.0 = every address of the host, of the endpoint's family; one of the other family is left to the proxy */
	uint16_t host_port;
	struct in6_addr addr;		/* the endpoint */
	uint16_t port;
	uint32_t generation;		/* of the endpoint */
	bool guarded;			/* to the engine's listener, through the host's firewall */
	bool trusted;			/* host_addr is the endpoint's own address, and only what comes by a trusted interface is let in */
	bool relayed;			/* the engine has a listener; SCTP may have none */
	const struct net_cidr *sources;	/* who may use it; mapped form */
	size_t n_sources;		/* 0: everybody */
	uint16_t count;			/* 0 and 1: one port; more: as many host ports from host_port on, to as many from port on */
	int listener;			/* count > 1: the one socket (borrowed) that takes the connections to any of them which the data path leaves over, or -1 */
};

struct dp_lb {			/* an address and port with several backends */
	uint8_t proto;
	struct in6_addr addr;		/* :: or ::ffff:0.0.0.0: every address of the host of the family */
	uint16_t port;
	bool affinity;			/* by the client's address alone */
};

struct dp_backend {
	struct in6_addr addr;		/* an endpoint of the same family */
	uint16_t port;
	uint32_t generation;		/* of the endpoint */
	uint32_t weight;		/* 0: no new flows */
};

struct dp_flow {
	uint8_t proto;
	bool published;			/* begun from outside; else by the container */
	bool replied, confirmed, closing;
	struct in6_addr peer, host, container;
	uint16_t peer_port, host_port, container_port;	/* ICMP: the identifier */
	uint64_t in_packets, in_bytes, out_packets, out_bytes;	/* to and from the container */
	int64_t age_ns, idle_ns;
};

struct dp_drop {
	int64_t ago_ns;
	const char *hook, *reason;
	uint32_t ifindex, len;
	uint8_t proto, tcp_flags, icmp_type;
	struct in6_addr src, dst;
	uint16_t sport, dport;
	uint32_t suppressed;		/* dropped packets that were not told, between the last one and this: too many in a second */
};

struct dp_trace {			/* a packet to be followed: a SYN, a datagram, an INIT */
	uint8_t proto;
	bool from_container;		/* src is one's address; else it comes in at ifindex */
	uint32_t ifindex;
	struct in6_addr src, dst;
	uint16_t sport, dport;
};

struct dp_hook {			/* a user's own program; see hook.h */
	const char *interface;
	bool ingress;
	const char *program;		/* NULL: the first of the object */
	const void *object;		/* NULL: detach */
	size_t len;
};

struct dp_uplink {
	uint32_t ifindex;
	bool ethernet;
	uint8_t mac[6];			/* zero where it has none */
	const char *kind;		/* "" a device of its driver's own, else what kind of virtual one: "veth", "vlan", "bond", ... */
};

enum dp_xdp {				/* refusing early, in an uplink's driver */
	DP_XDP_AUTO,			/* at devices that gain by it, while there is something to refuse */
	DP_XDP_OFF,
	DP_XDP_NATIVE,			/* at every device whose driver can, from the start */
};

struct datapath;			/* the implementation's */

struct datapath_ops {
	const char *name;
	/*
	 * What the bridges need of the kernel's per-interface forwarding, kept by net: on where routes are asked for through them; off where nothing
	 * else keeps neighbours from routing to a bridge's subnet; there isolate.c's routing rules do.
	 */
	bool forwarding;
	bool routes;			/* carries packets between endpoints and other machines; the proxy does not */
	bool sctp;			/* carries it by itself, without sockets of the kernel's */
	bool marks_early;		/* guard_set(): before the host's rules, which may take the mark away (marks.h) */
	bool past_input;		/* packets to published ports do not see the host's INPUT chain */
	bool uplink_forwarding;		/* the same of uplinks: packets are routed from and to them */
	/* pin_dir: "/sys/fs/bpf/kedge/<instance>"; created when missing. Adopts pins found there when their version fits, else replaces them. */
	int (*open)(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e);
	void (*close)(struct datapath *d);			/* kernel side stays */
	/* Another data path serves from now on: what an earlier run of this one has left in the kernel goes. May be NULL. */
	void (*purge)(const char *pin_dir);
	int (*net_set)(struct datapath *d, const struct dp_net *nw, struct err *e);
	int (*net_del)(struct datapath *d, uint32_t bridge_ifindex, struct err *e);
	/* After net_del(), of a bridge that is another's and stays: what else was put at it goes. On a worker, as the kernel may take its time. Or NULL. */
	void (*bridge_left)(uint32_t bridge_ifindex);
	/* The network takes packets for trusted ports (dp_publish) from this uplink from now on, or no longer. NULL where nothing is routed. */
	int (*trust_set)(struct datapath *d, uint32_t bridge_ifindex, uint32_t ifindex, bool on, struct err *e);
	/* What comes in by this uplink in the family and is for no endpoint is not forwarded from now on, or is again. Where uplink_forwarding is. */
	int (*lent_set)(struct datapath *d, uint32_t ifindex, bool v6, bool on, struct err *e);
	/* Once, before the first uplink. NULL: it has none. */
	void (*xdp)(struct datapath *d, enum dp_xdp mode);
	/* Uplinks: every interface of our namespace that is neither ours nor lo. net watches links and addresses and calls these. */
	int (*uplink_set)(struct datapath *d, const struct dp_uplink *u, struct err *e);
	int (*uplink_del)(struct datapath *d, uint32_t ifindex);
	/* An address of the host (any interface, lo too); prefix in mapped form; the source address for masquerade on that interface is its first. */
	int (*addr_set)(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex, struct err *e);
	int (*addr_del)(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex);
	/* The host's side of an endpoint's link is there and the container's is not up yet. On a worker, several at a time: it waits for the kernel. Or NULL. */
	int (*veth_made)(struct datapath *d, uint32_t host_ifindex, struct err *e);
	int (*endpoint_set)(struct datapath *d, const struct dp_endpoint *ep, struct err *e);
	/* Also forgets its flows. */
	int (*endpoint_del)(struct datapath *d, const struct dp_endpoint *ep);
	int (*publish_set)(struct datapath *d, const struct dp_publish *p, struct err *e);
	int (*publish_del)(struct datapath *d, const struct dp_publish *p);
	/*
	 * From now on (or no longer) packets of containers to sockets of the engine that bear a client's address get KEDGE_GUARD_MARK and pass. NULL: this
	 * data path cannot tell them.
	 */
	int (*guard_set)(struct datapath *d, bool on, struct err *e);
	/* Makes or replaces: packets meet the old set or the new one. */
	int (*lb_set)(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e);
	int (*lb_del)(struct datapath *d, const struct dp_lb *lb);
	/* After all adoption: drops entries no call of this run has named. */
	void (*gc)(struct datapath *d);
	/* True: a port published as part of a range (count > 1) is out of reach for other processes of the host without a socket of its own. */
	bool (*holds_ranges)(const struct datapath *d);
	/* From here to info: for people who look (lab.h); each may be NULL where a data path has nothing to show. */
	void (*flows)(struct datapath *d, void (*fn)(void *user, const struct dp_flow *f), void *user);
	/* fn from the loop for each dropped packet, until it is NULL. */
	int (*drops_listen)(struct datapath *d, void (*fn)(void *user, const struct dp_drop *x), void *user, struct err *e);
	/* {"Result": "delivered" | "sent" | "dropped" | ..., "Reason", "Steps": [{"Hook", "Interface", "Packet", "Text"}]}; new reference, NULL with e */
	json_t *(*trace)(struct datapath *d, const struct dp_trace *t, struct err *e);
	/* Blocking, on a pool thread inside the container's namespace. *log (the verifier's words, to be freed) may be set on failure too. */
	int (*hook_set)(const struct dp_hook *h, json_t **ret, char **log, struct err *e);
	json_t *(*maps)(struct datapath *d);			/* every table, decoded; new reference, NULL: there are none */
	json_t *(*info)(struct datapath *d);			/* {"Flows": n, "Drops": {"reason": n}} new reference */
};

/* What the BPF library has to say goes to the log, at debug level. Once, before anything else of it is used, on any data path. */
void dp_ebpf_quiet(void);

extern const struct datapath_ops dp_ebpf, dp_nft, dp_none;		/* dp_none: nothing in the kernel, the proxy carries everything */

#endif
