/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_QUICK_H
#define KEDGE_BPF_QUICK_H

/*
 * The quick way of a packet of a known flow. What the tables and the host's routes said about a flow's last packet is kept in its entry (struct
 * kedge_way): the interface, the Ethernet header, the veth it has to come from. While no table has changed since, one look at the flow is all
 * that is needed; young flows are not looked for. What the routes said is asked again after a tenth of a second: they change without us, and the
 * kernel's table of neighbours has to see that an entry is in use. That a container's packets are for the host itself is remembered in a table of
 * its own.
 *
 * Only what nearly all packets are is taken here, by direct access: TCP and UDP, no options of the IP header, no fragments, not the SYN. Everything
 * else, and every doubt, is left to the long way, which answers the same.
 */
#include "lib/nat.h"

#define ROUTE_HOLDS_NS (100 * 1000000ull)

enum { NOT_QUICK = -2, L4_NEEDED = 8 };

INLINE void way_peer(struct kedge_way *w, const struct kedge_endpoint *ep, __u32 from, __u32 epoch)
{
	w->kind = KEDGE_WAY_PEER;
	w->ifindex = ep->host_ifindex;
	w->from = from;
	w->epoch = epoch;
	__builtin_memcpy(w->dst, ep->mac, 6);
	__builtin_memcpy(w->src, ep->gw_mac, 6);
	w->until = ~0ull;
}

/* Negative: not for us. */
INLINE int quick_parse(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u16 *ports;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + L4_NEEDED > end)
			return -1;
		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff) || ip->ttl <= 1)
			return -1;
		head_v4(p, ip);
		p->l4 = ETH_HLEN + sizeof(*ip);
		ports = (__u16 *)(ip + 1);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + L4_NEEDED > end)
			return -1;
		if (*(__u8 *)ip >> 4 != 6 || ip->hop_limit <= 1)
			return -1;
		head_v6(p, ip);
		p->l4 = ETH_HLEN + sizeof(*ip);
		ports = (__u16 *)(ip + 1);
	}
	p->t.sport = ports[0];
	p->t.dport = ports[1];
	if (p->t.proto == IPPROTO_UDP)
		return 0;
	if (p->t.proto != IPPROTO_TCP || (void *)ports + 14 > end)
		return -1;
	p->tcp_flags = ((__u8 *)ports)[13];
	return p->tcp_flags & TCP_SYN ? -1 : 0;
}

INLINE __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

INLINE __u32 quick_diff(const struct kedge_addr *old, const struct kedge_addr *new, bool v6)
{
	__u64 sum = (__u64)(__u32)~old->w[3] + new->w[3];

	if (v6)
		for (int i = 0; i < 3; i++)
			sum += (__u64)(__u32)~old->w[i] + new->w[i];
	return fold(sum);
}

/* Addresses, port, TTL and Ethernet header; the rules of lib/rewrite.h hold here too. Negative: the packet is half changed, to be dropped. */
INLINE int quick_rewrite(struct __sk_buff *skb, const struct packet *p, const struct kedge_ct *c, bool dst)
{
	const struct kedge_addr *old = dst ? &p->t.daddr : &p->t.saddr;
	__u16 old_port = dst ? p->t.dport : p->t.sport, port = c->port, *word;
	__u64 mark = p->t.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 at = p->l4 + (p->t.proto == IPPROTO_UDP ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check)), sum;
	__u32 diff = quick_diff(old, &c->addr, p->v6);
	void *data, *end;

	if (!addr_same(old, &c->addr) && bpf_l4_csum_replace(skb, at, 0, diff, BPF_F_PSEUDO_HDR | mark) < 0)
		return -1;
	if (port != old_port && bpf_l4_csum_replace(skb, at, old_port, port, mark | 2) < 0)
		return -1;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (!p->v6) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + L4_NEEDED > end)
			return -1;
		word = (__u16 *)&ip->ttl;
		sum = (__u16)~ip->check + (diff & 0xffff) + (diff >> 16) + (__u16)~*word;
		ip->ttl--;
		sum += *word;
		sum = (sum & 0xffff) + (sum >> 16);
		ip->check = (__u16)~(sum + (sum >> 16));
		*(dst ? &ip->daddr : &ip->saddr) = c->addr.w[3];
		((__u16 *)(ip + 1))[dst] = port;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + L4_NEEDED > end)
			return -1;
		word = (__u16 *)&ip->nexthdr;
		sum = (__u16)~*word;
		ip->hop_limit--;
		sum += *word;
		__builtin_memcpy(dst ? &ip->daddr : &ip->saddr, &c->addr, 16);
		((__u16 *)(ip + 1))[dst] = port;
	}
	__builtin_memcpy(data, c->way.dst, 6);
	__builtin_memcpy(data + 6, c->way.src, 6);
	if (p->v6)
		(void)bpf_csum_update(skb, fold((__u64)diff + sum));	/* what a device summed, if one did */
	return 0;
}

/* A verdict, or NOT_QUICK. from: the veth, or 0 for an uplink. *p is zero before, and holds what was read afterwards. */
INLINE int quick(struct __sk_buff *skb, __u32 from, struct packet *p, __u8 *kind)
{
	struct kedge_ct *c;
	__u64 now;

	if (quick_parse(skb, p) < 0)
		return NOT_QUICK;
	c = bpf_map_lookup_elem(&ct, &p->t);
	if (!c && from) {
		struct kedge_to_host *h = bpf_map_lookup_elem(&to_host, &p->t);

		*kind = KEDGE_WAY_HOST;
		return h && h->from == from && h->epoch == epoch_now() ? (int)bpf_redirect(h->bridge_ifindex, BPF_F_INGRESS) : NOT_QUICK;
	}
	if (!c || c->way.from != from || c->way.epoch != epoch_now())
		return NOT_QUICK;
	now = bpf_ktime_get_boot_ns();
	if (now >= c->way.until)
		return NOT_QUICK;
	/* A packet of several segments is as long as its largest one will be. */
	if (c->way.kind == KEDGE_WAY_OUT && (skb->gso_segs > 1 ? skb->gso_size + (p->l4 - ETH_HLEN) + 20 : p->len) > c->way.mtu)
		return NOT_QUICK;
	*kind = c->way.kind;
	ct_seen(c, p->t.proto == IPPROTO_TCP, p->tcp_flags, p->len, now);
	if (quick_rewrite(skb, p, c, c->xlate == KEDGE_XLATE_DST) < 0)
		return TC_ACT_SHOT;
	if (*kind == KEDGE_WAY_OUT)
		return (int)bpf_redirect(c->way.ifindex, 0);
	if (from)
		bpf_skb_change_type(skb, 0);	/* PACKET_HOST: it was for the bridge's address, not the veth's */
	return (int)bpf_redirect_peer(c->way.ifindex, 0);
}

#endif
