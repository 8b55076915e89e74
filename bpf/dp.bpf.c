/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet's way.
 *
 *   outside -> uplink (tc ingress) -> published? DNAT -> straight to the container's side of its veth
 *   container -> its veth (tc ingress, our side) -> un-NAT or masquerade -> straight out of the uplink the routes name
 *
 * Neither direction sees the host's forwarding path, so neither ip_forward nor the host's firewall is needed for it or can leak
 * around it: what is for a container and is not a known flow or a published port is dropped at the uplink, what leaves a container
 * and is neither for its own network nor for the host is masqueraded or dropped at its veth.
 */
#include "lib/nat.h"

char _license[] SEC("license") = "Dual BSD/GPL";

INLINE int to_container(struct __sk_buff *skb, const struct kedge_endpoint *ep, bool ether)
{
	if (ether) {
		bpf_skb_store_bytes(skb, 0, ep->mac, 6, 0);
		bpf_skb_store_bytes(skb, 6, ep->gw_mac, 6, 0);
		return bpf_redirect_peer(ep->host_ifindex, 0);
	}
	/* No Ethernet header to hand on: let the bridge's neighbour entry make one. */
	return bpf_redirect_neigh(ep->bridge_ifindex, NULL, 0, 0);
}

INLINE struct kedge_net *net_of(const struct kedge_addr *a)
{
	struct kedge_net_key k = { .prefix = 128, .addr = *a };

	return bpf_map_lookup_elem(&nets, &k);
}

INLINE struct kedge_publish *publish_of(const struct kedge_tuple *t)
{
	struct kedge_publish_key k = { .addr = t->daddr, .port = t->dport, .proto = t->proto };
	struct kedge_publish *p = bpf_map_lookup_elem(&published, &k);

	if (p)
		return p;
	if (!bpf_map_lookup_elem(&locals, &t->daddr))
		return NULL;
	__builtin_memset(&k.addr, 0, sizeof(k.addr));
	return bpf_map_lookup_elem(&published, &k);
}

INLINE int icmp_error_in(struct __sk_buff *skb, struct packet *p, bool ether)
{
	struct kedge_endpoint *ep;
	struct kedge_tuple t;
	struct kedge_ct *c;
	struct iphdr inner;
	__u32 inner_l4;

	if (icmp_inner(skb, p, &inner, &t, &inner_l4) < 0)
		return TC_ACT_UNSPEC;
	c = bpf_map_lookup_elem(&ct, &t);
	if (!c || c->xlate != KEDGE_XLATE_DST)
		return TC_ACT_UNSPEC;		/* about the host's own traffic */
	ep = bpf_map_lookup_elem(&endpoints, &c->addr);
	if (!ep || ep->generation != c->generation)
		return drop(KEDGE_DROP_NO_ENDPOINT);
	struct kedge_ct copy = *c;

	if (decrement_ttl(skb, p) < 0)
		return drop(KEDGE_DROP_TTL);
	/* decrement_ttl() has changed nothing the rewrite looks at */
	if (icmp_error_rewrite(skb, p, &inner, inner_l4, &copy, true) < 0)
		return drop(KEDGE_DROP_REWRITE);
	return to_container(skb, ep, ether);
}

INLINE int uplink(struct __sk_buff *skb, __u32 l3, bool ether)
{
	struct packet p = {};
	struct kedge_endpoint *ep;
	struct kedge_publish *pub;
	struct kedge_addr addr;
	struct kedge_ct *c;
	enum parse r;
	__u16 port;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return TC_ACT_UNSPEC;
	r = parse_ipv4(skb, l3, &p);
	if (r == PARSE_BAD)
		return TC_ACT_UNSPEC;		/* the host's stack knows what to say */
	if (net_of(&p.t.daddr) && !bpf_map_lookup_elem(&locals, &p.t.daddr))
		return drop(KEDGE_DROP_UNPUBLISHED);
	if (r == PARSE_OTHER)
		return TC_ACT_UNSPEC;
	if (p.icmp_error)
		return icmp_error_in(skb, &p, ether);
	if ((p.later_fragment || p.first_fragment) && frag_ports(&p) < 0)
		return TC_ACT_UNSPEC;
	c = bpf_map_lookup_elem(&ct, &p.t);
	if (c && c->xlate == KEDGE_XLATE_DST) {
		ep = bpf_map_lookup_elem(&endpoints, &c->addr);
		if (ep && ep->generation == c->generation) {
			ct_touch(c, &p);
			addr = c->addr;
			port = c->port;
			goto forward;
		}
		bpf_map_delete_elem(&ct, &p.t);	/* of a container that is gone */
	}
	if (p.t.proto == IPPROTO_ICMP || p.later_fragment)
		return TC_ACT_UNSPEC;
	pub = publish_of(&p.t);
	if (!pub)
		return TC_ACT_UNSPEC;
	ep = bpf_map_lookup_elem(&endpoints, &pub->addr);
	if (!ep || ep->generation != pub->generation)
		return drop(KEDGE_DROP_NO_ENDPOINT);
	addr = pub->addr;
	port = pub->port;
	if (ct_create(&p.t, &addr, port, KEDGE_XLATE_DST, &p.t.daddr, p.t.dport, ep->generation) < 0)
		return drop(KEDGE_DROP_NO_PORT);
forward:
	if (decrement_ttl(skb, &p) < 0)
		return drop(KEDGE_DROP_TTL);
	if (rewrite(skb, &p, true, addr.w[3], port) < 0)
		return drop(KEDGE_DROP_REWRITE);
	return to_container(skb, ep, ether);
}

SEC("tc")
int kedge_uplink(struct __sk_buff *skb)
{
	return uplink(skb, ETH_HLEN, true);
}

SEC("tc")
int kedge_uplink_l3(struct __sk_buff *skb)
{
	return uplink(skb, 0, false);
}

/* Where a packet to daddr leaves, by the host's routes; 0: nowhere. */
INLINE __u32 route(struct __sk_buff *skb, const struct packet *p, __u32 bridge_ifindex)
{
	struct bpf_fib_lookup f = {
		.family = 2 /* AF_INET */, .l4_protocol = p->t.proto, .ipv4_src = p->ip.saddr, .ipv4_dst = p->ip.daddr, .ifindex = bridge_ifindex,
	};
	long r = bpf_fib_lookup(skb, &f, sizeof(f), 0);

	return r == BPF_FIB_LKUP_RET_SUCCESS || r == BPF_FIB_LKUP_RET_NO_NEIGH ? f.ifindex : 0;
}

INLINE bool port_ok(__u16 host_order)
{
	return (host_order >= 1024 && host_order < 32768) || host_order >= 61000;
}

/* A new flow out of a container: picks a port of the host and makes the entries. 0 or a drop. */
INLINE int masquerade(struct packet *p, const struct kedge_endpoint *ep, __u32 out, struct kedge_addr *addr, __u16 *port)
{
	struct kedge_addr *src = bpf_map_lookup_elem(&sources, &out);
	__u16 own = bpf_ntohs(p->t.sport);

	if (!src)
		return drop(KEDGE_DROP_NO_SOURCE);
	*addr = *src;
	for (int i = 0; i < 16; i++) {
		__u32 rnd = bpf_get_prandom_u32() % (32768 - 1024 + 65536 - 61000);
		__u16 pick = rnd < 32768 - 1024 ? 1024 + rnd : 61000 + (rnd - (32768 - 1024));

		if (i == 0 && (port_ok(own) || p->t.proto == IPPROTO_ICMP))
			pick = own;
		*port = bpf_htons(pick);
		if (ct_create(&p->t, addr, *port, KEDGE_XLATE_SRC, &p->t.saddr, p->t.sport, ep->generation) == 0)
			return 0;
	}
	return drop(KEDGE_DROP_NO_PORT);
}

SEC("tc")
int kedge_container(struct __sk_buff *skb)
{
	struct packet p = {};
	struct kedge_net *own, *other;
	struct kedge_endpoint *ep;
	struct kedge_addr addr;
	struct kedge_ct *c;
	enum parse r;
	__u32 out;
	__u16 port;
	int act;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return TC_ACT_UNSPEC;
	r = parse_ipv4(skb, ETH_HLEN, &p);
	if (r == PARSE_BAD)
		return drop(KEDGE_DROP_MALFORMED);
	ep = bpf_map_lookup_elem(&endpoints, &p.t.saddr);
	own = net_of(&p.t.saddr);
	/* Not an address we gave (DHCP inside, a lab's own addresses): its own bridge and the host may hear it, nobody else. */
	other = net_of(&p.t.daddr);
	if (bpf_map_lookup_elem(&locals, &p.t.daddr))
		return TC_ACT_UNSPEC;			/* for the host; the proxy answers on published ports */
	if (p.t.daddr.w[3] == 0xffffffff || (bpf_ntohl(p.t.daddr.w[3]) >> 28) == 14)
		return TC_ACT_UNSPEC;			/* broadcast and multicast stay on the bridge */
	if (other) {
		if (own && own->bridge_ifindex == other->bridge_ifindex)
			return TC_ACT_UNSPEC;		/* a neighbour: the bridge delivers */
		return drop(KEDGE_DROP_ISOLATED);
	}
	if (!ep || !own)
		return drop(KEDGE_DROP_NO_ENDPOINT);
	if (r == PARSE_OTHER)
		return drop(KEDGE_DROP_PROTOCOL);
	if (p.icmp_error) {
		struct kedge_tuple t;
		struct iphdr inner;
		__u32 inner_l4;

		if (icmp_inner(skb, &p, &inner, &t, &inner_l4) < 0)
			return drop(KEDGE_DROP_MALFORMED);
		c = bpf_map_lookup_elem(&ct, &t);
		out = route(skb, &p, ep->bridge_ifindex);
		if (!c || c->xlate != KEDGE_XLATE_SRC || !out)
			return drop(KEDGE_DROP_NO_ROUTE);
		struct kedge_ct copy = *c;

		if (icmp_error_rewrite(skb, &p, &inner, inner_l4, &copy, false) < 0)
			return drop(KEDGE_DROP_REWRITE);
		return bpf_redirect_neigh(out, NULL, 0, 0);
	}
	if ((p.later_fragment || p.first_fragment) && frag_ports(&p) < 0)
		return drop(KEDGE_DROP_FRAGMENT);
	c = bpf_map_lookup_elem(&ct, &p.t);
	if (c && c->xlate == KEDGE_XLATE_SRC && c->generation == ep->generation) {
		ct_touch(c, &p);
		c->flags |= KEDGE_CT_REPLIED;
		addr = c->addr;
		port = c->port;
		out = route(skb, &p, ep->bridge_ifindex);
		if (!out)
			return drop(KEDGE_DROP_NO_ROUTE);
	} else {
		if (!own->masquerade)
			return drop(KEDGE_DROP_ISOLATED);
		if (p.later_fragment)
			return drop(KEDGE_DROP_FRAGMENT);
		out = route(skb, &p, ep->bridge_ifindex);
		if (!out)
			return drop(KEDGE_DROP_NO_ROUTE);
		act = masquerade(&p, ep, out, &addr, &port);
		if (act)
			return act;
	}
	if (decrement_ttl(skb, &p) < 0)
		return drop(KEDGE_DROP_TTL);
	if (rewrite(skb, &p, false, addr.w[3], port) < 0)
		return drop(KEDGE_DROP_REWRITE);
	return bpf_redirect_neigh(out, NULL, 0, 0);
}
