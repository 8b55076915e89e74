/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_ABI_H
#define KEDGE_BPF_ABI_H

#include <linux/types.h>

/*
 * What the programs in bpf/ and the engine share. KEDGE_ABI is part of the pins' names: changing anything here changes it, and the
 * next engine starts with fresh maps. Addresses are 16 bytes in network byte order, IPv4 mapped (::ffff:a.b.c.d); ports are in
 * network byte order.
 */
#define KEDGE_ABI 6

struct kedge_addr {
	__u32 w[4];
};

struct kedge_tuple {			/* a packet as it arrives at the hook */
	struct kedge_addr saddr, daddr;
	__u16 sport, dport;		/* ICMP echo: the identifier in both */
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct kedge_tuple) == 40, "a map's key: no hidden padding");

enum kedge_xlate {
	KEDGE_XLATE_DST,		/* towards a container: published port, or reply to a masqueraded packet */
	KEDGE_XLATE_SRC,		/* from a container: reply of a published port, or masqueraded packet */
};

enum kedge_ct_flags {
	KEDGE_CT_REPLIED = 1,		/* the other direction has been seen */
	KEDGE_CT_FIN = 2,		/* FIN seen in this direction */
	KEDGE_CT_RST = 4,
	KEDGE_CT_ORIGIN = 8,		/* the direction of the flow's first packet */
	KEDGE_CT_CONFIRMED = 16,	/* TCP: this direction went on after its SYN, so its sender is real */
	KEDGE_CT_YOUNG = 32,		/* in the table of young flows */
};

enum kedge_way_kind {
	KEDGE_WAY_PEER = 1,		/* into the container behind the veth ifindex */
	KEDGE_WAY_OUT,			/* out of the Ethernet device ifindex */
	KEDGE_WAY_HOST,			/* struct kedge_to_host */
};

/*
 * Where a direction's packets go once the tables have been asked, so that the next one need not ask: see bpf/lib/quick.h. It holds while epoch is
 * that of struct kedge_control and the time has not come.
 */
struct kedge_way {
	__u64 until;			/* bpf_ktime_get_boot_ns(); 0: not known */
	__u32 ifindex;
	__u32 from;			/* the veth the packets come from; 0: any uplink */
	__u32 epoch;
	__u16 mtu;			/* OUT */
	__u8 kind;
	__u8 pad[5];
	__u8 dst[6], src[6];		/* the Ethernet header */
};
_Static_assert(sizeof(struct kedge_way) == 40, "no hidden padding");

struct kedge_to_host {			/* by tuple: a container's packets that are for the host itself; as long as epoch is the present one */
	__u32 bridge_ifindex, from, epoch;
};

struct kedge_ct {			/* each flow has two entries, one a direction */
	struct kedge_addr addr;		/* the new destination or source */
	__u64 seen;			/* bpf_ktime_get_boot_ns() of the last packet */
	__u64 created;
	__u64 packets, bytes;		/* of this direction, from the IP header on; a flow's packets come on one CPU, races may lose some */
	__u32 generation;		/* of the container's endpoint */
	__u16 port;
	__u8 xlate;
	__u8 flags;
	struct kedge_way way;
};
_Static_assert(sizeof(struct kedge_ct) == 96, "shared");

struct kedge_endpoint {			/* by container address */
	__u32 host_ifindex, bridge_ifindex, generation;
	__u8 mac[6], gw_mac[6];
};

struct kedge_publish_key {
	struct kedge_addr addr;		/* ::ffff:0.0.0.0 any IPv4, :: any IPv6 address of the host */
	__u16 port;
	__u8 proto, pad;
};

struct kedge_range_key {		/* LPM: a range of ports is cut into aligned blocks, as a range of addresses is into prefixes */
	__u32 prefix;			/* 128 + 16 + leading bits of the port */
	struct kedge_addr addr;
	__u8 proto, pad;
	__u16 port;
};

enum kedge_publish_flags {
	KEDGE_PUBLISH_GUARDED = 1,	/* through the host's own firewall to the engine's listener */
	KEDGE_PUBLISH_AFFINITY = 2,	/* lb: a client stays with its backend */
	KEDGE_PUBLISH_TRUSTED = 8,	/* at the container's own address: for who comes by an interface of the table trusted */
	KEDGE_PUBLISH_RANGE = 4,	/* one of many ports that no socket of their own keeps for us */
};

struct kedge_publish {
	struct kedge_addr addr;		/* the container, unless lb */
	__u32 generation;
	__u32 lb;			/* not 0: the backends of this table of lb_slots */
	__u32 sources;			/* not 0: only clients in this list of source_lists */
	__u16 first;			/* a packet to host port h goes to port + (h - first) */
	__u16 port;
	__u16 flags;
	__u16 listener;			/* RANGE: where in the table of listeners the proxy's socket for it is; 0 none */
};
_Static_assert(sizeof(struct kedge_publish) == 36, "shared");

struct kedge_lb_key {
	__u32 lb, slot;
};

struct kedge_backend {
	struct kedge_addr addr;
	__u32 generation;
	__u16 port, pad;
};

struct kedge_source_key {		/* LPM */
	__u32 prefix;			/* 32 + bits of the address */
	__u32 list;
	struct kedge_addr addr;
};

struct kedge_net_key {			/* LPM */
	__u32 prefix;
	struct kedge_addr addr;
};

enum kedge_net_flags {
	KEDGE_NET_MASQUERADE = 1,
	KEDGE_NET_INTERNAL = 2,		/* no way out or in but to the bridge's own address */
	KEDGE_NET_NO_ICC = 4,		/* its containers do not reach each other */
	KEDGE_NET_ROUTED = 8,		/* out with their own addresses; in to published ports only, without translation */
	KEDGE_NET_OPEN = 16,		/* in to everything of theirs, without translation */
	KEDGE_NET_PING = 32,		/* in for ICMP's echoes, without translation */
	KEDGE_NET_ELSEWHERE = 64,	/* the way out is another machine on the bridge, found by its MAC address */
	KEDGE_NET_SOURCE = 128,		/* masquerade gives the address source */
};

struct kedge_net {
	struct kedge_addr gateway, source;
	__u32 bridge_ifindex, flags;
};

struct kedge_trust {			/* packets that come by this uplink may go to trusted ports of the network's containers */
	__u32 bridge_ifindex, ifindex;
};

struct kedge_source_addr_key {		/* an interface's own address, per family */
	__u32 ifindex;
	__u32 v6;
};

struct kedge_frag_key {
	struct kedge_addr saddr, daddr;
	__u32 id;
	__u8 proto, pad[3];
};

struct kedge_frag {
	__u16 sport, dport;
};

struct kedge_local_key {		/* a host process's UDP socket and the container address it really talks to */
	__u64 cookie;
	struct kedge_addr addr;
	__u16 port, pad[3];
};

struct kedge_local {			/* what it believes to talk to */
	struct kedge_addr addr;
	__u16 port, pad;
};

/* Why a packet was dropped; the index into the counters. */
#define KEDGE_DROP_REASONS(X) \
	X(UNPUBLISHED, "unpublished") \
	X(ISOLATED, "isolated") \
	X(MALFORMED, "malformed") \
	X(FRAGMENT, "fragment") \
	X(TTL, "ttl") \
	X(NO_ENDPOINT, "no-endpoint") \
	X(NO_SOURCE, "no-source-address") \
	X(NO_PORT, "no-free-port") \
	X(NO_ROUTE, "no-route") \
	X(PROTOCOL, "protocol") \
	X(REWRITE, "rewrite") \
	X(MARTIAN, "martian") \
	X(SPOOFED, "spoofed") \
	X(SOURCE, "source-not-allowed") \
	X(NO_BACKEND, "no-backend") \
	X(TOO_BIG, "too-big") \
	X(NO_FLOW, "no-flow")

enum kedge_drop {
#define X(name, text) KEDGE_DROP_##name,
	KEDGE_DROP_REASONS(X)
#undef X
	KEDGE_DROP_COUNT
};

/* What the programs did; the index into the counters. */
#define KEDGE_COUNTERS(X) \
	X(IN_PACKETS, "in-packets") \
	X(IN_BYTES, "in-bytes") \
	X(OUT_PACKETS, "out-packets") \
	X(OUT_BYTES, "out-bytes") \
	X(HAIRPIN_PACKETS, "hairpin-packets") \
	X(FLOWS_PUBLISHED, "flows-published") \
	X(FLOWS_MASQUERADED, "flows-masqueraded") \
	X(ICMP_SENT, "icmp-errors-sent") \
	X(ICMP_TRANSLATED, "icmp-errors-translated") \
	X(MSS_CLAMPED, "mss-clamped")

enum kedge_counter {
#define X(name, text) KEDGE_COUNT_##name,
	KEDGE_COUNTERS(X)
#undef X
	KEDGE_COUNTER_COUNT
};

enum kedge_hook { KEDGE_HOOK_UPLINK, KEDGE_HOOK_CONTAINER, KEDGE_HOOK_XDP };

struct kedge_event {			/* a drop, while somebody listens */
	__u64 at;			/* bpf_ktime_get_boot_ns() */
	struct kedge_tuple t;		/* zero where the packet was not understood */
	__u32 ifindex, len;
	__u8 hook, reason, tcp_flags, icmp_type;
	__u32 suppressed;		/* events left out before this one */
};
_Static_assert(sizeof(struct kedge_event) == 64, "shared");

struct kedge_xdp_device {
	__u8 mac[6], pad[2];
};

struct kedge_budget {			/* of events, while somebody listens */
	__u64 second;			/* began; bpf_ktime_get_boot_ns() */
	__u32 events, suppressed;	/* told in it; left out since the last one told */
};

/* Index 0 of the control array, which the engine has in its memory: each field is written by itself. */
struct kedge_control {
	__u32 armed;			/* the engine sweeps; a first flow need not wake it */
	__u32 listeners;		/* drops go to the ring too */
	__u32 ranges;			/* entries of the table of ranges: none, no look */
	__u32 guarded;			/* the engine has guarded ports: some answers of containers are for its own sockets */
	__u32 epoch;			/* goes up with every change of a table */
};

/*
 * The mark of a container's packet to a socket of the engine that speaks with a client's address; the mask's bits are changed, others stay. A routing
 * rule sends what bears it to a table in which every address is the host's own.
 */
#define KEDGE_GUARD_MARK 0x4b000000u
#define KEDGE_GUARD_MASK 0xff000000u

enum {
	KEDGE_CT_MAX = 65536, KEDGE_YOUNG_MAX = 16384, KEDGE_TO_HOST_MAX = 8192, KEDGE_LOCAL_MAX = 8192, KEDGE_FRAG_MAX = 4096,
	KEDGE_LISTENERS_MAX = 1024,
	KEDGE_XDP_WORDS = 65536 / 64,	/* a bit a port */
	KEDGE_EVENTS_MAX = 1000,	/* a second: more than anybody reads, a hundredth of a core of the engine's */
	KEDGE_LB_SLOTS = 1021,		/* of a Maglev table; prime, a hundred times the backends of an edge host */
};

#endif
