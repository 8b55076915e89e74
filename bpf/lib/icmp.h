/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_ICMP_H
#define KEDGE_BPF_ICMP_H

/* ICMP errors: those of others translated, and our own as a router (RFC 792, RFC 4443). */
#include "lib/nat.h"

struct inner {
	struct kedge_tuple t;		/* the packet an error is about, as the tuple its answer would have: what the conntrack is asked with */
	__u32 l3, l4;
};

INLINE int icmp_inner(struct __sk_buff *skb, const struct packet *p, struct inner *in)
{
	__u16 half[4];

	in->l3 = p->l4 + sizeof(struct icmphdr);
	if (p->v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, in->l3, &ip, sizeof(ip)) < 0 || ip.version != 6)
			return -1;
		in->l4 = in->l3 + sizeof(ip);
		addr_v6(&in->t.saddr, &ip.daddr);
		addr_v6(&in->t.daddr, &ip.saddr);
		in->t.proto = ip.nexthdr;
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, in->l3, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5 || (bpf_ntohs(ip.frag_off) & 0x1fff))
			return -1;
		in->l4 = in->l3 + ip.ihl * 4;
		addr_v4(&in->t.saddr, ip.daddr);
		addr_v4(&in->t.daddr, ip.saddr);
		in->t.proto = ip.protocol;
	}
	if (bpf_skb_load_bytes(skb, in->l4, half, 8) < 0)
		return -1;
	if (has_ports(in->t.proto)) {
		in->t.sport = half[1];
		in->t.dport = half[0];
	} else if (is_icmp(in->t.proto)) {
		in->t.sport = in->t.dport = half[2];
	} else {
		return -1;
	}
	return 0;
}

/*
 * An ICMP error about a flow of ours: in the quoted packet the other end's view of us becomes ours (its source when the error
 * travels to the container, its destination when it comes from there); outside, the address the error goes to or comes from.
 */
INLINE int icmp_error_rewrite(struct __sk_buff *skb, const struct packet *p, const struct inner *in, const struct kedge_backend *c, bool to_container)
{
	__u32 icsum = p->l4 + offsetof(struct icmphdr, checksum);
	__u32 diff = addr_diff(to_container ? &in->t.daddr : &in->t.saddr, &c->addr);
	__u16 port = to_container ? in->t.dport : in->t.sport;
	__u32 port_off = in->l4 + (is_icmp(in->t.proto) ? offsetof(struct icmphdr, un.echo.id) : to_container ? 0 : 2);
	int r;

	/* IPv4: the quoted header's own checksum cancels the address out. The quoted TCP or UDP checksum is left: nobody verifies it. */
	r = set_addr(skb, in->l3, p->v6, !to_container, &c->addr, diff, 0);
	if (p->v6)
		r |= bpf_l4_csum_replace(skb, icsum, 0, diff, 0);
	if (port != c->port) {
		r |= bpf_skb_store_bytes(skb, port_off, &c->port, 2, 0);
		r |= bpf_l4_csum_replace(skb, icsum, port, c->port, 2);
	}
	return r | rewrite(skb, p, to_container, &c->addr, 0);
}

union answer {
	struct { struct iphdr ip; struct icmphdr icmp; __u8 quote[40]; } v4;
	struct { struct ipv6hdr ip; struct icmphdr icmp; __u8 quote[60]; } v6;
};

struct {				/* too large for the stack */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union answer);
} answers SEC(".maps");

enum reply { REPLY_TTL, REPLY_TOO_BIG };

/*
 * Turns the packet into the error about it, from the address by, and sends it back where it came from. Nothing (a drop is due) about errors,
 * fragments, and headers with options: the quotation is of fixed size. A verdict, or TC_ACT_UNSPEC for nothing.
 */
INLINE int icmp_reply(struct __sk_buff *skb, const struct packet *p, const struct kedge_addr *by, enum reply what, __u16 mtu)
{
	const __u32 ip_len = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	/* TCP's and SCTP's checksums have to stay inside where a device is to fill them in. */
	const __u32 quote = ip_len + (p->t.proto == IPPROTO_TCP ? 20 : p->t.proto == IPPROTO_SCTP ? SCTP_HEADER : 8), l3 = ETH_HLEN;
	struct { __u8 dst[6], src[6]; } mac, back;
	__u32 sum, zero = 0;
	union answer *o = bpf_map_lookup_elem(&answers, &zero);

	if (!o || p->icmp_error || p->later_fragment || p->l3 != l3 || p->l4 != l3 + ip_len)
		return TC_ACT_UNSPEC;
	__builtin_memset(o, 0, sizeof(*o));
	if (bpf_skb_load_bytes(skb, 0, &mac, sizeof(mac)) < 0)
		return TC_ACT_UNSPEC;
	if (p->v6) {
		o->v6.ip.version = 6;
		o->v6.ip.payload_len = bpf_htons(sizeof(struct icmphdr) + quote);
		o->v6.ip.nexthdr = IP6_ICMP;
		o->v6.ip.hop_limit = 64;
		__builtin_memcpy(&o->v6.ip.saddr, by, 16);
		__builtin_memcpy(&o->v6.ip.daddr, &p->t.saddr, 16);
		o->v6.icmp.type = what == REPLY_TTL ? ICMP6_TIME_EXCEEDED : ICMP6_PACKET_TOO_BIG;
		if (what == REPLY_TOO_BIG)
			o->v6.icmp.un.word = bpf_htonl(mtu);
		if (p->t.proto == IPPROTO_TCP ? bpf_skb_load_bytes(skb, l3, o->v6.quote, 60) :
		    p->t.proto == IPPROTO_SCTP ? bpf_skb_load_bytes(skb, l3, o->v6.quote, 52) : bpf_skb_load_bytes(skb, l3, o->v6.quote, 48))
			return TC_ACT_UNSPEC;
		/* The pseudo header: both addresses, length, next header. */
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&o->v6.ip.saddr, 32, bpf_htonl(sizeof(struct icmphdr) + quote + IP6_ICMP));
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&o->v6.icmp, sizeof(o->v6.icmp) + sizeof(o->v6.quote), sum);
	} else {
		o->v4.ip.version = 4;
		o->v4.ip.ihl = 5;
		o->v4.ip.tot_len = bpf_htons(ip_len + sizeof(struct icmphdr) + quote);
		o->v4.ip.frag_off = bpf_htons(0x4000);
		o->v4.ip.ttl = 64;
		o->v4.ip.protocol = IPPROTO_ICMP;
		o->v4.ip.saddr = by->w[3];
		o->v4.ip.daddr = p->t.saddr.w[3];
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&o->v4.ip, sizeof(o->v4.ip), 0);
		sum = (sum & 0xffff) + (sum >> 16);
		o->v4.ip.check = (__u16)~((sum & 0xffff) + (sum >> 16));
		o->v4.icmp.type = what == REPLY_TTL ? ICMP_TIME_EXCEEDED : ICMP_DEST_UNREACH;
		o->v4.icmp.code = what == REPLY_TTL ? 0 : 4;
		if (what == REPLY_TOO_BIG)
			o->v4.icmp.un.frag.mtu = bpf_htons(mtu);
		if (p->t.proto == IPPROTO_TCP ? bpf_skb_load_bytes(skb, l3, o->v4.quote, 40) :
		    p->t.proto == IPPROTO_SCTP ? bpf_skb_load_bytes(skb, l3, o->v4.quote, 32) : bpf_skb_load_bytes(skb, l3, o->v4.quote, 28))
			return TC_ACT_UNSPEC;
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&o->v4.icmp, sizeof(o->v4.icmp) + sizeof(o->v4.quote), 0);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (__u16)~((sum & 0xffff) + (sum >> 16));
	__builtin_memcpy(back.dst, mac.src, 6);
	__builtin_memcpy(back.src, mac.dst, 6);
	/* Too large a packet of several segments is none any more. */
	if (bpf_skb_change_tail(skb, l3 + quote, 0) < 0 || bpf_skb_adjust_room(skb, (int)(ip_len + sizeof(struct icmphdr)), BPF_ADJ_ROOM_MAC, 0) < 0)
		return TC_ACT_SHOT;
	if (p->v6) {
		o->v6.icmp.checksum = (__u16)sum;
		if (bpf_skb_store_bytes(skb, l3, &o->v6, sizeof(o->v6.ip) + sizeof(o->v6.icmp), 0) < 0)
			return TC_ACT_SHOT;
	} else {
		o->v4.icmp.checksum = (__u16)sum;
		if (bpf_skb_store_bytes(skb, l3, &o->v4, sizeof(o->v4.ip) + sizeof(o->v4.icmp), 0) < 0)
			return TC_ACT_SHOT;
	}
	if (bpf_skb_store_bytes(skb, 0, &back, sizeof(back), 0) < 0)
		return TC_ACT_SHOT;
	count(KEDGE_COUNT_ICMP_SENT, 1);
	return bpf_redirect(skb->ifindex, 0);
}

#endif
