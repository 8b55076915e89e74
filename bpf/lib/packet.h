/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_PACKET_H
#define KEDGE_BPF_PACKET_H

/* Reading and rewriting IPv4 packets in an skb. Everything is read by bpf_skb_load_bytes: the data may not be linear. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kedge/bpf/abi.h"

/* linux/icmp.h of the user space headers draws in the C library's. */
struct icmphdr {
	__u8 type, code;
	__u16 checksum;
	union {
		struct { __u16 id, sequence; } echo;
		struct { __u16 unused, mtu; } frag;
	} un;
};

enum { ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12 };

#define INLINE static __attribute__((always_inline)) inline

struct packet {
	__u32 l3, l4;			/* offsets */
	struct iphdr ip;
	struct kedge_tuple t;
	__u8 tcp_flags;			/* FIN 1, SYN 2, RST 4, ACK 16 */
	__u8 icmp_type;
	bool later_fragment;		/* has no ports of its own */
	bool first_fragment;
	bool icmp_error;
};

enum parse { PARSE_OK, PARSE_OTHER, PARSE_BAD };

INLINE void addr_v4(struct kedge_addr *a, __u32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

/* Fills p from the packet whose IP header is at l3. */
INLINE enum parse parse_ipv4(struct __sk_buff *skb, __u32 l3, struct packet *p)
{
	__u32 hl;
	__u16 frag;

	p->l3 = l3;
	if (bpf_skb_load_bytes(skb, l3, &p->ip, sizeof(p->ip)) < 0)
		return PARSE_BAD;
	hl = p->ip.ihl * 4;
	if (p->ip.version != 4 || hl < sizeof(struct iphdr))
		return PARSE_BAD;
	p->l4 = l3 + hl;
	addr_v4(&p->t.saddr, p->ip.saddr);
	addr_v4(&p->t.daddr, p->ip.daddr);
	p->t.proto = p->ip.protocol;
	frag = bpf_ntohs(p->ip.frag_off);
	p->later_fragment = (frag & 0x1fff) != 0;
	p->first_fragment = !p->later_fragment && (frag & 0x2000);
	if (p->later_fragment)
		return PARSE_OK;
	if (p->ip.protocol == IPPROTO_TCP) {
		struct { __u16 sport, dport; __u32 seq, ack; __u8 off, flags; } th;

		if (bpf_skb_load_bytes(skb, p->l4, &th, 14) < 0)
			return PARSE_BAD;
		p->t.sport = th.sport;
		p->t.dport = th.dport;
		p->tcp_flags = th.flags;
	} else if (p->ip.protocol == IPPROTO_UDP) {
		struct udphdr uh;

		if (bpf_skb_load_bytes(skb, p->l4, &uh, sizeof(uh)) < 0)
			return PARSE_BAD;
		p->t.sport = uh.source;
		p->t.dport = uh.dest;
	} else if (p->ip.protocol == IPPROTO_ICMP) {
		struct icmphdr ih;

		if (bpf_skb_load_bytes(skb, p->l4, &ih, sizeof(ih)) < 0)
			return PARSE_BAD;
		p->icmp_type = ih.type;
		if (ih.type == ICMP_ECHO || ih.type == ICMP_ECHOREPLY) {
			p->t.sport = ih.un.echo.id;
			p->t.dport = ih.un.echo.id;
		} else if (ih.type == ICMP_DEST_UNREACH || ih.type == ICMP_TIME_EXCEEDED || ih.type == ICMP_PARAMETERPROB) {
			p->icmp_error = true;
		} else {
			return PARSE_OTHER;
		}
	} else {
		return PARSE_OTHER;
	}
	return PARSE_OK;
}

INLINE int csum_offset(__u8 proto)
{
	return proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
}

/* One address and its port (source or destination) become another; all checksums follow. 0 or negative. */
INLINE int rewrite(struct __sk_buff *skb, const struct packet *p, bool dst, __u32 addr, __u16 port)
{
	__u32 old_addr = dst ? p->ip.daddr : p->ip.saddr;
	__u16 old_port = dst ? p->t.dport : p->t.sport;
	int r = 0;

	if (!p->later_fragment) {
		if (p->t.proto == IPPROTO_ICMP) {
			if (old_port != port && !p->icmp_error) {
				r |= bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmphdr, checksum), old_port, port, 2);
				r |= bpf_skb_store_bytes(skb, p->l4 + offsetof(struct icmphdr, un.echo.id), &port, 2, 0);
			}
		} else {
			__u64 mark = p->t.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
			__u32 csum = p->l4 + csum_offset(p->t.proto);

			r |= bpf_l4_csum_replace(skb, csum, old_addr, addr, BPF_F_PSEUDO_HDR | mark | 4);
			if (old_port != port) {
				r |= bpf_l4_csum_replace(skb, csum, old_port, port, mark | 2);
				r |= bpf_skb_store_bytes(skb, p->l4 + (dst ? 2 : 0), &port, 2, 0);
			}
		}
	}
	r |= bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), old_addr, addr, 4);
	r |= bpf_skb_store_bytes(skb, p->l3 + (dst ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr)), &addr, 4, 0);
	return r;
}

/* A router's share: TTL down by one. Negative when it has run out. */
INLINE int decrement_ttl(struct __sk_buff *skb, const struct packet *p)
{
	__u16 old, new;

	if (p->ip.ttl <= 1)
		return -1;
	old = bpf_htons((__u16)(p->ip.ttl << 8 | p->ip.protocol));
	new = bpf_htons((__u16)((p->ip.ttl - 1) << 8 | p->ip.protocol));
	bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), old, new, 2);
	return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, ttl), &new, 1, 0);
}

#endif
