/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_ABI_H
#define KEDGE_BPF_ABI_H

#include <linux/types.h>

/*
 * What the programs in bpf/ and the engine share. KEDGE_ABI is part of the pins' names: changing anything here changes it, and the
 * next engine starts with fresh maps. Addresses are 16 bytes in network byte order, IPv4 mapped (::ffff:a.b.c.d); ports are in
 * network byte order.
 */
#define KEDGE_ABI 1

struct kedge_addr {
	__u32 w[4];
};

struct kedge_tuple {			/* a packet as it arrives at the hook */
	struct kedge_addr saddr, daddr;
	__u16 sport, dport;		/* ICMP echo: the identifier in both */
	__u8 proto;
	__u8 pad[3];
};

enum kedge_xlate {
	KEDGE_XLATE_DST,		/* towards a container: published port, or reply to a masqueraded packet */
	KEDGE_XLATE_SRC,		/* from a container: reply of a published port, or masqueraded packet */
};

enum kedge_ct_flags {
	KEDGE_CT_REPLIED = 1,		/* the other direction has been seen */
	KEDGE_CT_FIN = 2,		/* FIN seen in this direction */
	KEDGE_CT_RST = 4,
};

struct kedge_ct {			/* each flow has two entries, one a direction */
	struct kedge_addr addr;		/* the new destination or source */
	__u64 seen;			/* bpf_ktime_get_boot_ns() of the last packet */
	__u32 generation;		/* of the container's endpoint */
	__u16 port;
	__u8 xlate;
	__u8 flags;
};

struct kedge_endpoint {			/* by container address */
	__u32 host_ifindex, bridge_ifindex, generation;
	__u8 mac[6], gw_mac[6];
};

struct kedge_publish_key {
	struct kedge_addr addr;		/* :: any address of the host */
	__u16 port;
	__u8 proto, pad;
};

struct kedge_publish {
	struct kedge_addr addr;
	__u32 generation;
	__u16 port, pad;
};

struct kedge_net_key {			/* LPM */
	__u32 prefix;
	struct kedge_addr addr;
};

struct kedge_net {
	struct kedge_addr gateway;
	__u32 bridge_ifindex, masquerade;
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
	X(REWRITE, "rewrite")

enum kedge_drop {
#define X(name, text) KEDGE_DROP_##name,
	KEDGE_DROP_REASONS(X)
#undef X
	KEDGE_DROP_COUNT
};

/* Index 0 of the control array. */
struct kedge_control {
	__u32 armed;			/* the engine sweeps; a first flow need not wake it */
	__u32 pad;
};

enum { KEDGE_CT_MAX = 65536, KEDGE_LOCAL_MAX = 8192, KEDGE_FRAG_MAX = 4096 };

#endif
