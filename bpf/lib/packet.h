/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_PACKET_H
#define KEDGE_BPF_PACKET_H

/* Reading packets in an skb, IPv4 and IPv6 into one form. Everything is read by bpf_skb_load_bytes: the data may not be linear. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kedge/bpf/abi.h"

/* linux/icmp.h of the user space headers draws in the C library's. ICMPv6 has the same form. */
struct icmphdr {
	__u8 type, code;
	__u16 checksum;
	union {
		struct { __u16 id, sequence; } echo;
		struct { __u16 unused, mtu; } frag;
		__u32 word;
	} un;
};

enum { ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12 };
enum {
	ICMP6_DEST_UNREACH = 1, ICMP6_PACKET_TOO_BIG = 2, ICMP6_TIME_EXCEEDED = 3, ICMP6_PARAM_PROB = 4, ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
};
enum { IP6_HOPOPTS = 0, IP6_ROUTING = 43, IP6_FRAGMENT = 44, IP6_ICMP = 58, IP6_DSTOPTS = 60, IP6_EXTENSIONS_MAX = 6 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

#define INLINE static __attribute__((always_inline)) inline

#include "lib/sctp.h"

struct packet {
	__u32 l3, l4;			/* offsets */
	__u32 id;			/* of a fragment */
	__u16 len;			/* from the IP header on, as that says */
	__u16 sctp;			/* what it does to the flags of its flow: lib/sctp.h */
	struct kedge_tuple t;
	__u8 ttl;
	__u8 tos_proto;			/* IPv4: the protocol byte, for the checksum */
	__u8 tcp_flags;			/* SCTP: the first chunk's type */
	__u8 icmp_type;
	bool v6;
	bool dont_fragment;
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

INLINE void addr_v6(struct kedge_addr *a, const void *v6)
{
	__builtin_memcpy(a, v6, sizeof(*a));
}

/* What both families' headers say alike; nothing is judged. */
INLINE void head_v4(struct packet *p, const struct iphdr *ip)
{
	p->len = bpf_ntohs(ip->tot_len);
	p->t.proto = ip->protocol;
	addr_v4(&p->t.saddr, ip->saddr);
	addr_v4(&p->t.daddr, ip->daddr);
}

INLINE void head_v6(struct packet *p, const struct ipv6hdr *ip)
{
	p->v6 = true;
	p->len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	p->t.proto = ip->nexthdr;
	addr_v6(&p->t.saddr, &ip->saddr);
	addr_v6(&p->t.daddr, &ip->daddr);
}

INLINE bool addr_same(const struct kedge_addr *a, const struct kedge_addr *b)
{
	return a->w[3] == b->w[3] && a->w[2] == b->w[2] && a->w[1] == b->w[1] && a->w[0] == b->w[0];
}

INLINE bool addr_mapped(const struct kedge_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8, ::1 */
INLINE bool addr_loopback(const struct kedge_addr *a)
{
	if (addr_mapped(a))
		return (bpf_ntohl(a->w[3]) >> 24) == 127;
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == bpf_htonl(1);
}

/* fe80::/10 */
INLINE bool addr_link_local(const struct kedge_addr *a)
{
	return (bpf_ntohl(a->w[0]) >> 22) == 0x3fa;
}

/* 169.254.0.0/16 (RFC 3927) */
INLINE bool addr_link_local4(const struct kedge_addr *a)
{
	return addr_mapped(a) && bpf_ntohl(a->w[3]) >> 16 == 0xa9fe;
}

/* Broadcast counts. */
INLINE bool addr_multicast(const struct kedge_addr *a)
{
	if (addr_mapped(a))
		return a->w[3] == 0xffffffff || (bpf_ntohl(a->w[3]) >> 28) == 14;
	return (bpf_ntohl(a->w[0]) >> 24) == 0xff;
}

INLINE bool is_icmp(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IP6_ICMP;
}

/* The protocols that have two ports at their beginning. */
INLINE bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

INLINE enum parse parse_sctp(struct __sk_buff *skb, struct packet *p)
{
	int chunks = kedge_sctp_chunks(skb, p->l4);

	if (chunks < 0)
		return PARSE_BAD;
	p->sctp = (__u16)chunks;
	p->tcp_flags = (__u8)(chunks >> 16);
	return PARSE_OK;
}

INLINE enum parse parse_l4(struct __sk_buff *skb, struct packet *p)
{
	/* Ports and the TCP flags, or type and code, checksum, identifier. */
	struct { __u16 half[4]; __u32 ack; __u8 off, flags; } h = {};

	if (p->t.proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, p->l4, &h, 14) < 0)
			return PARSE_BAD;
		p->tcp_flags = h.flags;
	} else if (has_ports(p->t.proto) || is_icmp(p->t.proto)) {
		if (bpf_skb_load_bytes(skb, p->l4, &h, 8) < 0)
			return PARSE_BAD;
	} else {
		return PARSE_OTHER;
	}
	if (has_ports(p->t.proto)) {
		p->t.sport = h.half[0];
		p->t.dport = h.half[1];
		return p->t.proto == IPPROTO_SCTP ? parse_sctp(skb, p) : PARSE_OK;
	}
	p->icmp_type = bpf_ntohs(h.half[0]) >> 8;
	if (p->v6 ? p->icmp_type == ICMP6_ECHO_REQUEST || p->icmp_type == ICMP6_ECHO_REPLY
		  : p->icmp_type == ICMP_ECHO || p->icmp_type == ICMP_ECHOREPLY) {
		p->t.sport = p->t.dport = h.half[2];
		return PARSE_OK;
	}
	p->icmp_error = p->v6 ? p->icmp_type >= ICMP6_DEST_UNREACH && p->icmp_type <= ICMP6_PARAM_PROB
			      : p->icmp_type == ICMP_DEST_UNREACH || p->icmp_type == ICMP_TIME_EXCEEDED || p->icmp_type == ICMP_PARAMETERPROB;
	return p->icmp_error ? PARSE_OK : PARSE_OTHER;
}

INLINE enum parse parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;
	__u16 frag;
	__u32 hl;

	if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) < 0)
		return PARSE_BAD;
	hl = ip.ihl * 4;
	p->len = bpf_ntohs(ip.tot_len);
	if (ip.version != 4 || hl < sizeof(struct iphdr) || p->len < hl)
		return PARSE_BAD;
	p->l4 = p->l3 + hl;
	p->ttl = ip.ttl;
	p->tos_proto = ip.protocol;
	p->id = ip.id;
	addr_v4(&p->t.saddr, ip.saddr);
	addr_v4(&p->t.daddr, ip.daddr);
	p->t.proto = ip.protocol;
	frag = bpf_ntohs(ip.frag_off);
	p->dont_fragment = frag & 0x4000;
	p->later_fragment = (frag & 0x1fff) != 0;
	p->first_fragment = !p->later_fragment && (frag & 0x2000);
	return PARSE_OK;
}

INLINE enum parse parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;
	__u8 next;

	if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) < 0 || ip.version != 6)
		return PARSE_BAD;
	p->v6 = true;
	p->dont_fragment = true;
	p->len = bpf_ntohs(ip.payload_len) + sizeof(ip);
	p->ttl = ip.hop_limit;
	p->l4 = p->l3 + sizeof(ip);
	addr_v6(&p->t.saddr, &ip.saddr);
	addr_v6(&p->t.daddr, &ip.daddr);
	next = ip.nexthdr;
	for (int i = 0; i < IP6_EXTENSIONS_MAX; i++) {
		struct { __u8 next, len; __u16 off; __u32 id; } ext;

		if (next != IP6_HOPOPTS && next != IP6_ROUTING && next != IP6_DSTOPTS && next != IP6_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, p->l4, &ext, sizeof(ext)) < 0)
			return PARSE_BAD;
		if (next == IP6_FRAGMENT) {
			p->id = ext.id;
			p->later_fragment = (bpf_ntohs(ext.off) & 0xfff8) != 0;
			p->first_fragment = !p->later_fragment && (bpf_ntohs(ext.off) & 1);
			p->l4 += 8;
			next = ext.next;
			if (p->later_fragment)
				break;
			continue;
		}
		p->l4 += (ext.len + 1) * 8;
		next = ext.next;
	}
	p->t.proto = next;
	return PARSE_OK;
}

/* Fills p from the packet whose IP header is at l3. */
INLINE enum parse parse(struct __sk_buff *skb, __u32 l3, struct packet *p)
{
	enum parse r;

	p->l3 = l3;
	r = skb->protocol == bpf_htons(ETH_P_IP) ? parse_ipv4(skb, p) : parse_ipv6(skb, p);
	if (r != PARSE_OK)
		return r;
	if (p->later_fragment)
		return has_ports(p->t.proto) || is_icmp(p->t.proto) ? PARSE_OK : PARSE_OTHER;
	return parse_l4(skb, p);
}

#endif
