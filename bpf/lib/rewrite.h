/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_REWRITE_H
#define KEDGE_BPF_REWRITE_H

/*
 * Changing packets. Checksums follow by difference. Two rules keep skb->csum true where a device gave it (CHECKSUM_COMPLETE): what changes
 * together with a checksum over it cancels out and is stored plainly; an IPv6 address has no header checksum that cancels it, so it is stored
 * with BPF_F_RECOMPUTE_CSUM, and the transport checksum's change is told to be one of the pseudo header.
 */
#include "lib/packet.h"

/* IPv4 is mapped: the prefix is the same on both sides and adds nothing. */
INLINE __u32 addr_diff(const struct kedge_addr *old, const struct kedge_addr *new)
{
	return (__u32)bpf_csum_diff((__be32 *)old, sizeof(*old), (__be32 *)new, sizeof(*new), 0);
}

INLINE int store_addr(struct __sk_buff *skb, __u32 off, bool v6, const struct kedge_addr *a, __u64 flags)
{
	return v6 ? (int)bpf_skb_store_bytes(skb, off, a, 16, flags) : (int)bpf_skb_store_bytes(skb, off, &a->w[3], 4, flags);
}

INLINE __u32 addr_offset(bool v6, bool dst)
{
	if (v6)
		return dst ? offsetof(struct ipv6hdr, daddr) : offsetof(struct ipv6hdr, saddr);
	return dst ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr);
}

/* The address in the IP header whose beginning is at l3, and that header's checksum. */
INLINE int set_addr(struct __sk_buff *skb, __u32 l3, bool v6, bool dst, const struct kedge_addr *a, __u32 diff, __u64 v6_flags)
{
	int r = 0;

	if (!v6)
		r |= bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), 0, diff, 0);
	return r | store_addr(skb, l3 + addr_offset(v6, dst), v6, a, v6 ? v6_flags : 0);
}

/* One address and its port (source or destination) become another; all checksums follow. 0 or negative. */
INLINE int rewrite(struct __sk_buff *skb, const struct packet *p, bool dst, const struct kedge_addr *a, __u16 port)
{
	__u16 old_port = dst ? p->t.dport : p->t.sport;
	__u32 diff = addr_diff(dst ? &p->t.daddr : &p->t.saddr, a);
	__u8 proto = p->t.proto;
	__u32 csum = p->l4;
	__u64 mark = 0;
	int r = 0;

	if (p->later_fragment)
		goto address;
	if (proto == IPPROTO_UDP) {
		csum += offsetof(struct udphdr, check);
		mark = BPF_F_MARK_MANGLED_0;
	} else if (proto == IPPROTO_TCP) {
		csum += offsetof(struct tcphdr, check);
	} else if (is_icmp(proto)) {
		csum += offsetof(struct icmphdr, checksum);
	} else {
		/* The checksum of the first of several fragments is over bytes nobody has counted. */
		if (old_port != port && (p->first_fragment || kedge_sctp_port(skb, p->l4, dst ? 2 : 0, (__u32)p->len - (p->l4 - p->l3), (__u32)old_port << 16 | port) < 0))
			return -1;
		goto address;
	}
	if (proto != IPPROTO_ICMP)
		r |= bpf_l4_csum_replace(skb, csum, 0, diff, BPF_F_PSEUDO_HDR | mark);
	if (old_port != port && !p->icmp_error) {
		r |= bpf_l4_csum_replace(skb, csum, old_port, port, mark | 2);
		r |= bpf_skb_store_bytes(skb, p->l4 + (is_icmp(proto) ? offsetof(struct icmphdr, un.echo.id) : dst ? 2 : 0), &port, 2, 0);
	}
address:
	return r | set_addr(skb, p->l3, p->v6, dst, a, diff, BPF_F_RECOMPUTE_CSUM);
}

/* A router's share: TTL down by one. Negative when it has run out. */
INLINE int decrement_ttl(struct __sk_buff *skb, const struct packet *p)
{
	__u8 new = p->ttl - 1;

	if (p->ttl <= 1)
		return -1;
	if (p->v6)
		return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct ipv6hdr, hop_limit), &new, 1, BPF_F_RECOMPUTE_CSUM);
	bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), bpf_htons((__u16)(p->ttl << 8 | p->tos_proto)),
			    bpf_htons((__u16)(new << 8 | p->tos_proto)), 2);
	return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, ttl), &new, 1, 0);
}

/* A SYN says no larger segment than fits into mtu. True when it had to be changed. The option comes first, behind no-operations at most. */
INLINE bool clamp_mss(struct __sk_buff *skb, const struct packet *p, __u16 mtu)
{
	__u32 at = p->l4 + sizeof(struct tcphdr);
	__u16 most = mtu - (p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) - sizeof(struct tcphdr);
	struct { __u8 kind, len; __u16 mss; } o;
	__u8 off;

	if (!mtu || p->t.proto != IPPROTO_TCP || !(p->tcp_flags & TCP_SYN) || p->later_fragment)
		return false;
	if (bpf_skb_load_bytes(skb, p->l4 + 12, &off, 1) < 0 || (off >> 4) < 6 || bpf_skb_load_bytes(skb, at, &o, 4) < 0)
		return false;
	if (o.kind != 2 || o.len != 4 || bpf_ntohs(o.mss) <= most)
		return false;
	most = bpf_htons(most);
	bpf_l4_csum_replace(skb, p->l4 + offsetof(struct tcphdr, check), o.mss, most, 2);
	return bpf_skb_store_bytes(skb, at + 2, &most, 2, 0) == 0;
}

#endif
