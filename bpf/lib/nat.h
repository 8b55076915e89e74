/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_NAT_H
#define KEDGE_BPF_NAT_H

/*
 * Connection tracking. A flow has two entries, each found by a packet's own tuple:
 *
 *   published port   client:c -> host:h     XLATE_DST  container:p
 *                    container:p -> client:c  XLATE_SRC  host:h
 *   masquerade       container:p -> peer:q  XLATE_SRC  host:n
 *                    peer:q -> host:n       XLATE_DST  container:p
 */
#include "lib/maps.h"

/* The tuple of the flow's other direction. */
INLINE void ct_peer(const struct kedge_tuple *t, const struct kedge_addr *addr, __u16 port, __u8 xlate, struct kedge_tuple *o)
{
	__builtin_memset(o, 0, sizeof(*o));
	o->proto = t->proto;
	if (xlate == KEDGE_XLATE_DST) {
		o->saddr = *addr;
		o->daddr = t->saddr;
		o->sport = port;
		o->dport = t->proto == IPPROTO_ICMP ? port : t->sport;
	} else {
		o->saddr = t->daddr;
		o->daddr = *addr;
		o->sport = t->proto == IPPROTO_ICMP ? port : t->dport;
		o->dport = port;
	}
}

INLINE void ct_touch(struct kedge_ct *ct, const struct packet *p)
{
	ct->seen = bpf_ktime_get_boot_ns();
	if (p->t.proto == IPPROTO_TCP && !p->later_fragment && (p->tcp_flags & 5))
		ct->flags |= (p->tcp_flags & 4 ? KEDGE_CT_RST : 0) | (p->tcp_flags & 1 ? KEDGE_CT_FIN : 0);
}

/* Both entries; the first must be free unless replace. 0 or negative. */
INLINE int ct_create(const struct kedge_tuple *t, const struct kedge_addr *addr, __u16 port, __u8 xlate,
		     const struct kedge_addr *back_addr, __u16 back_port, __u32 generation)
{
	struct kedge_ct v = { .addr = *addr, .seen = bpf_ktime_get_boot_ns(), .generation = generation, .port = port, .xlate = xlate };
	struct kedge_tuple peer;

	ct_peer(t, addr, port, xlate, &peer);
	/* The peer is the one that can collide: its port was chosen (masquerade), or two clients' tuples meet at a container. */
	struct kedge_ct b = { .addr = *back_addr, .seen = v.seen, .generation = generation, .port = back_port,
			      .xlate = xlate == KEDGE_XLATE_DST ? KEDGE_XLATE_SRC : KEDGE_XLATE_DST };

	if (bpf_map_update_elem(&ct, &peer, &b, xlate == KEDGE_XLATE_DST ? BPF_ANY : BPF_NOEXIST) < 0)
		return -1;
	if (bpf_map_update_elem(&ct, t, &v, BPF_ANY) < 0)
		return -1;
	wake_sweeper();
	return 0;
}

/* Ports of a fragment that carries none; remembers those of one that does. */
INLINE int frag_ports(struct packet *p)
{
	struct kedge_frag_key k = { .saddr = p->t.saddr, .daddr = p->t.daddr, .id = p->ip.id, .proto = p->t.proto };
	struct kedge_frag *f;

	if (p->first_fragment) {
		struct kedge_frag v = { .sport = p->t.sport, .dport = p->t.dport };

		bpf_map_update_elem(&frags, &k, &v, BPF_ANY);
		return 0;
	}
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f)
		return -1;
	p->t.sport = f->sport;
	p->t.dport = f->dport;
	return 0;
}

/*
 * The packet an ICMP error is about, as the tuple its answer would have: what the conntrack is asked with. inner_l3 is where it
 * begins. 0 or negative.
 */
INLINE int icmp_inner(struct __sk_buff *skb, const struct packet *p, struct iphdr *ip, struct kedge_tuple *t, __u32 *inner_l4)
{
	__u32 l3 = p->l4 + sizeof(struct icmphdr), hl;
	__u16 ports[2];
	struct icmphdr ih;

	if (bpf_skb_load_bytes(skb, l3, ip, sizeof(*ip)) < 0)
		return -1;
	hl = ip->ihl * 4;
	if (ip->version != 4 || hl < sizeof(*ip) || (bpf_ntohs(ip->frag_off) & 0x1fff))
		return -1;
	*inner_l4 = l3 + hl;
	__builtin_memset(t, 0, sizeof(*t));
	addr_v4(&t->saddr, ip->daddr);
	addr_v4(&t->daddr, ip->saddr);
	t->proto = ip->protocol;
	if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
		if (bpf_skb_load_bytes(skb, *inner_l4, ports, 4) < 0)
			return -1;
		t->sport = ports[1];
		t->dport = ports[0];
	} else if (ip->protocol == IPPROTO_ICMP) {
		if (bpf_skb_load_bytes(skb, *inner_l4, &ih, sizeof(ih)) < 0)
			return -1;
		t->sport = t->dport = ih.un.echo.id;
	} else {
		return -1;
	}
	return 0;
}

/*
 * An ICMP error about a flow of ours: in the quoted packet the other end's view of us becomes ours (its source when the error
 * travels to the container, its destination when it comes from there), outside the address the error goes to or comes from.
 */
INLINE int icmp_error_rewrite(struct __sk_buff *skb, const struct packet *p, const struct iphdr *inner, __u32 inner_l4,
			      const struct kedge_ct *c, bool to_container)
{
	__u32 icsum = p->l4 + offsetof(struct icmphdr, checksum), l3 = p->l4 + sizeof(struct icmphdr);
	__u32 old = to_container ? inner->saddr : inner->daddr, new = c->addr.w[3];
	__u32 addr_off = l3 + (to_container ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr));
	__u16 old_sum = inner->check, new_sum, port;
	__u32 port_off;
	int r = 0;

	if (inner->protocol == IPPROTO_ICMP)
		port_off = inner_l4 + offsetof(struct icmphdr, un.echo.id);
	else
		port_off = inner_l4 + (to_container ? 0 : 2);
	if (bpf_skb_load_bytes(skb, port_off, &port, 2) < 0)
		return -1;
	/* The quoted header's checksum, then the ICMP checksum over all that changed. The quoted TCP or UDP checksum is left: nobody verifies it. */
	r |= bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), old, new, 4);
	r |= bpf_skb_load_bytes(skb, l3 + offsetof(struct iphdr, check), &new_sum, 2);
	r |= bpf_skb_store_bytes(skb, addr_off, &new, 4, 0);
	r |= bpf_l4_csum_replace(skb, icsum, old_sum, new_sum, 2);
	r |= bpf_l4_csum_replace(skb, icsum, old, new, 4);
	if (port != c->port) {
		r |= bpf_skb_store_bytes(skb, port_off, &c->port, 2, 0);
		r |= bpf_l4_csum_replace(skb, icsum, port, c->port, 2);
	}
	/* outer header */
	old = to_container ? p->ip.daddr : p->ip.saddr;
	r |= bpf_l3_csum_replace(skb, p->l3 + offsetof(struct iphdr, check), old, new, 4);
	r |= bpf_skb_store_bytes(skb, p->l3 + (to_container ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr)), &new, 4, 0);
	return r;
}

#endif
