/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet's way.
 *
 *   outside -> uplink (tc ingress) -> published? DNAT -> straight to the container's side of its veth
 *   container -> its veth (tc ingress, our side) -> un-NAT or masquerade -> straight out of the uplink the routes name
 *   container -> the same -> published port of another container: DNAT -> straight to that one, and back
 *   container -> the same -> the host: into the bridge's device as if it had come over the bridge
 *   host -> bridge (tc egress) -> the container's veth, without the bridge's own search
 *
 * No direction sees the host's forwarding path, so neither ip_forward nor the host's firewall is needed for it or can leak
 * around it: what is for a container and is not a known flow or a published port is dropped at the uplink, what leaves a container
 * and is neither for its own network nor for the host is masqueraded or dropped at its veth. The decisions are made once for a flow and
 * then followed by the quick way (lib/quick.h).
 *
 * IPv4 and IPv6 are one code: addresses are 16 bytes wide, only lib/packet.h and lib/rewrite.h know two headers. There is no translation between
 * the families: an IPv6 client of a container without IPv6 is served by the engine's proxy.
 */
#include "lib/guard.h"
#include "lib/icmp.h"
#include "lib/publish.h"
#include "lib/quick.h"

char _license[] SEC("license") = "Dual BSD/GPL";

enum { AF_INET = 2, AF_INET6 = 10, PACKET_HOST = 0 };

INLINE bool is_ip(const struct __sk_buff *skb)
{
	return (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6)) && !skb->vlan_present;
}

/* out: towards an uplink. */
INLINE void count_packet(const struct packet *p, bool out)
{
	count(out ? KEDGE_COUNT_OUT_PACKETS : KEDGE_COUNT_IN_PACKETS, 1);
	count(out ? KEDGE_COUNT_OUT_BYTES : KEDGE_COUNT_IN_BYTES, p->len);
}

/* A verdict, or NOT_QUICK, and p is zero again. */
INLINE int known_flow(struct __sk_buff *skb, __u32 from, struct packet *p)
{
	__u8 kind = 0;
	int act = quick(skb, from, p, &kind);

	if (act == NOT_QUICK) {
		__builtin_memset(p, 0, sizeof(*p));
		return act;
	}
	if (act == TC_ACT_SHOT)
		return drop(skb, p, from ? KEDGE_HOOK_CONTAINER : KEDGE_HOOK_UPLINK, KEDGE_DROP_REWRITE);
	if (kind == KEDGE_WAY_HOST)
		return act;
	if (from && kind == KEDGE_WAY_PEER)
		count(KEDGE_COUNT_HAIRPIN_PACKETS, 1);
	count_packet(p, kind == KEDGE_WAY_OUT);
	return act;
}

INLINE int to_container(struct __sk_buff *skb, const struct packet *p, const struct kedge_endpoint *ep, bool ether)
{
	count_packet(p, false);
	if (ether) {
		bpf_skb_store_bytes(skb, 0, ep->mac, 6, 0);
		bpf_skb_store_bytes(skb, 6, ep->gw_mac, 6, 0);
		return bpf_redirect_peer(ep->host_ifindex, 0);
	}
	/* No Ethernet header to hand on: let the bridge's neighbour entry make one. */
	return bpf_redirect_neigh(ep->bridge_ifindex, NULL, 0, 0);
}

INLINE struct kedge_endpoint *endpoint_of(const struct kedge_addr *a, __u32 generation)
{
	struct kedge_endpoint *ep = bpf_map_lookup_elem(&endpoints, a);

	return ep && ep->generation == generation ? ep : NULL;
}

/* Towards a container: rewrite and hand over. hook for drops. */
INLINE int forward_in(struct __sk_buff *skb, const struct packet *p, const struct kedge_endpoint *ep, const struct kedge_addr *addr, __u16 port,
		      bool ether, enum kedge_hook hook)
{
	int act;

	if (decrement_ttl(skb, p) < 0) {
		act = ether ? icmp_reply(skb, p, &p->t.daddr, REPLY_TTL, 0) : TC_ACT_UNSPEC;
		return act == TC_ACT_UNSPEC ? drop(skb, p, hook, KEDGE_DROP_TTL) : act;
	}
	if (rewrite(skb, p, true, addr, port) < 0)
		return drop(skb, p, hook, KEDGE_DROP_REWRITE);
	return to_container(skb, p, ep, ether);
}

/* ---- outside -> container ---- */

INLINE int icmp_error_in(struct __sk_buff *skb, struct packet *p, bool ether, bool inside)
{
	struct kedge_endpoint *ep;
	struct inner in = {};
	struct kedge_ct *c;

	c = icmp_inner(skb, p, &in) < 0 ? NULL : ct_find(&in.t);
	if (!c || c->xlate != KEDGE_XLATE_DST)		/* about the host's own traffic */
		return inside ? drop(skb, p, KEDGE_HOOK_UPLINK, KEDGE_DROP_NO_FLOW) : TC_ACT_UNSPEC;
	struct kedge_backend to = { .addr = c->addr, .generation = c->generation, .port = c->port };

	ep = endpoint_of(&to.addr, to.generation);
	if (!ep)
		return drop(skb, p, KEDGE_HOOK_UPLINK, KEDGE_DROP_NO_ENDPOINT);
	if (decrement_ttl(skb, p) < 0)
		return drop(skb, p, KEDGE_HOOK_UPLINK, KEDGE_DROP_TTL);
	if (icmp_error_rewrite(skb, p, &in, &to, true) < 0)
		return drop(skb, p, KEDGE_HOOK_UPLINK, KEDGE_DROP_REWRITE);
	count(KEDGE_COUNT_ICMP_TRANSLATED, 1);
	return to_container(skb, p, ep, ether);
}

enum { STATE_LISTEN = 10 };

/*
 * The kernel gives the ports of a range to the host's own connections, for no socket keeps them. An answer to one of those is the host's. A
 * connection begins with a SYN that is none.
 */
INLINE bool host_asked(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 size = p->v6 ? sizeof(t.ipv6) : sizeof(t.ipv4);
	bool found;

	if (p->t.proto != IPPROTO_UDP && (p->t.proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN))
		return false;
	if (p->v6) {
		__builtin_memcpy(t.ipv6.saddr, &p->t.saddr, 16);
		__builtin_memcpy(t.ipv6.daddr, &p->t.daddr, 16);
		t.ipv6.sport = p->t.sport;
		t.ipv6.dport = p->t.dport;
	} else {
		t.ipv4.saddr = p->t.saddr.w[3];
		t.ipv4.daddr = p->t.daddr.w[3];
		t.ipv4.sport = p->t.sport;
		t.ipv4.dport = p->t.dport;
	}
	if (p->t.proto == IPPROTO_UDP) {
		sk = bpf_sk_lookup_udp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return false;
		/* One bound to another port is the range's own, which the search was steered to (ports.bpf.c). */
		found = sk->src_port == bpf_ntohs(p->t.dport);
		bpf_sk_release(sk);
		return found;
	}
	sk = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	found = sk->state != STATE_LISTEN;
	bpf_sk_release(sk);
	return found;
}

INLINE int uplink(struct __sk_buff *skb, __u32 l3, bool ether)
{
	struct kedge_backend to = {};
	struct kedge_endpoint *ep;
	struct kedge_publish *pub;
	struct packet p = {};
	struct kedge_ct *c;
	struct scratch *s;
	struct kedge_net *inside;
	bool local;
	enum parse r;
	__u32 epoch;
	int act;

	/* Not for us: somebody captures, or a bridge floods. */
	if (!is_ip(skb) || skb->pkt_type != PACKET_HOST)
		return TC_ACT_UNSPEC;
	if (ether) {
		act = known_flow(skb, 0, &p);
		if (act != NOT_QUICK)
			return act;
	}
	s = scratch_get();
	if (!s)
		return TC_ACT_UNSPEC;		/* there is one for every processor */
	epoch = epoch_now();
	r = parse(skb, l3, &p);
	if (r == PARSE_BAD)
		return TC_ACT_UNSPEC;		/* the host's stack knows what to say */
	/* What is bound to the loopback addresses is for the host alone, whatever route_localnet says. */
	if (addr_loopback(&p.t.daddr) || addr_loopback(&p.t.saddr))
		return drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_MARTIAN);
	/* Bound to one link: the container's link is another. */
	if (addr_link_local(&p.t.daddr) || addr_link_local(&p.t.saddr))
		return TC_ACT_UNSPEC;
	local = is_local(&p.t.daddr);
	inside = local ? NULL : net_of(&p.t.daddr);
	if (r == PARSE_OTHER)
		return inside ? drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_UNPUBLISHED) : TC_ACT_UNSPEC;
	if (p.icmp_error)
		return icmp_error_in(skb, &p, ether, inside);
	if ((p.later_fragment || p.first_fragment) && frag_ports(&p) < 0)
		return inside ? drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_FRAGMENT) : TC_ACT_UNSPEC;
	c = ct_find(&p.t);
	if (c && c->xlate == KEDGE_XLATE_DST) {
		ep = endpoint_of(&c->addr, c->generation);
		if (ep) {
			to.addr = c->addr;
			to.port = c->port;
			way_peer(&c->way, ep, 0, epoch);
			ct_touch(c, &p);
			return forward_in(skb, &p, ep, &to.addr, to.port, ether, KEDGE_HOOK_UPLINK);
		}
		ct_forget(&p.t);	/* of a container that is gone */
	}
	pub = is_icmp(p.t.proto) || p.later_fragment ? NULL : publish_find(&p.t.daddr, p.t.dport, p.t.proto, local);
	if (pub && pub->flags & KEDGE_PUBLISH_TRUSTED && !trusts(inside, skb->ifindex))
		pub = NULL;
	if (!pub && open_to(inside, &p)) {
		ep = bpf_map_lookup_elem(&endpoints, &p.t.daddr);
		if (!ep)
			return drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_NO_ENDPOINT);
		to.addr = p.t.daddr;
		to.port = p.t.dport;
		to.generation = ep->generation;
		goto found;
	}
	if (!pub)
		return inside ? drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_UNPUBLISHED) : TC_ACT_UNSPEC;
	if (pub->flags & KEDGE_PUBLISH_RANGE && p.t.dport != pub->first && host_asked(skb, &p))
		return TC_ACT_UNSPEC;
	if (!source_allowed(pub, &p.t.saddr))
		return drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_SOURCE);
	if (pub->flags & KEDGE_PUBLISH_GUARDED)
		return inside ? drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_UNPUBLISHED) : TC_ACT_UNSPEC;
	if (backend_pick(pub, &p.t.saddr, p.t.sport, p.t.dport, &to) < 0)
		return drop(skb, &p, KEDGE_HOOK_UPLINK, pub->lb ? KEDGE_DROP_NO_BACKEND : KEDGE_DROP_NO_ENDPOINT);
	ep = endpoint_of(&to.addr, to.generation);
	if (!ep)
		return drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_NO_ENDPOINT);
found:
	way_peer(&s->way, ep, 0, epoch);
	if (ct_create(&p, &to.addr, to.port, KEDGE_XLATE_DST, &p.t.daddr, p.t.dport, to.generation, false, s) < 0)
		return drop(skb, &p, KEDGE_HOOK_UPLINK, KEDGE_DROP_NO_PORT);
	count(KEDGE_COUNT_FLOWS_PUBLISHED, 1);
	return forward_in(skb, &p, ep, &to.addr, to.port, ether, KEDGE_HOOK_UPLINK);
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

/* ---- container -> elsewhere ---- */

struct way {				/* out, by the host's routes */
	__u32 ifindex;
	__u16 mtu;
	bool too_big;
	struct bpf_redir_neigh next;
};

/* What the routes have said, for the next packets of the flow. */
INLINE void way_out(struct kedge_way *k, const struct way *w, const struct bpf_fib_lookup *f, __u32 from, __u32 epoch)
{
	k->kind = KEDGE_WAY_OUT;
	k->ifindex = w->ifindex;
	k->from = from;
	k->epoch = epoch;
	k->mtu = w->mtu;
	__builtin_memcpy(k->dst, f->dmac, 6);
	__builtin_memcpy(k->src, f->smac, 6);
	k->until = bpf_ktime_get_boot_ns() + ROUTE_HOLDS_NS;
}

/* 0, or negative: nowhere. quick: what it says for the next packets; untouched where it cannot be said. */
INLINE int route(struct __sk_buff *skb, const struct packet *p, __u32 bridge_ifindex, __u32 epoch, struct way *w, struct kedge_way *quick)
{
	struct bpf_fib_lookup f = { .family = p->v6 ? AF_INET6 : AF_INET, .l4_protocol = p->t.proto, .ifindex = bridge_ifindex };
	long r;

	/* A packet of several segments is as long as its largest one will be. */
	f.tot_len = skb->gso_segs > 1 ? (__u16)(skb->gso_size + (p->l4 - p->l3) + 20) : p->len;
	if (p->v6) {
		__builtin_memcpy(f.ipv6_src, &p->t.saddr, 16);
		__builtin_memcpy(f.ipv6_dst, &p->t.daddr, 16);
	} else {
		f.ipv4_src = p->t.saddr.w[3];
		f.ipv4_dst = p->t.daddr.w[3];
	}
	r = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	w->too_big = r == BPF_FIB_LKUP_RET_FRAG_NEEDED;
	if (w->too_big) {
		w->mtu = f.mtu_result;
		return 0;
	}
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1;
	w->ifindex = f.ifindex;
	w->mtu = r == BPF_FIB_LKUP_RET_SUCCESS ? f.mtu_result : 0;	/* not told for a next hop nobody has asked for yet */
	w->next.nh_family = f.family;
	if (f.family == AF_INET6)
		__builtin_memcpy(w->next.ipv6_nh, f.ipv6_dst, 16);
	else
		w->next.ipv4_nh = f.ipv4_dst;
	if (w->mtu && bpf_map_lookup_elem(&ethers, &w->ifindex))
		way_out(quick, w, &f, skb->ifindex, epoch);
	return 0;
}

INLINE bool port_ok(__u16 host_order)
{
	return (host_order >= 1024 && host_order < 32768) || host_order >= 61000;
}

/*
 * A new flow out of a container: picks a port of the host and makes the entries. The container's own port where it is outside the range the
 * kernel gives to the host's own connections, else a random one outside that range; the more are taken, the more tries it needs, so from the last
 * one on its neighbours are tried too. 0 or a reason.
 */
enum { TRIES_RANDOM = 8, TRIES_NEXT = 24, PORTS_LOW = 32768 - 1024, PORTS = PORTS_LOW + 65536 - 61000 };

INLINE int masquerade(struct packet *p, const struct kedge_net *own, const struct kedge_endpoint *ep, __u32 out, struct kedge_backend *to, struct scratch *s)
{
	struct kedge_source_addr_key k = { .ifindex = out, .v6 = p->v6 };
	const struct kedge_addr *src = own->flags & KEDGE_NET_SOURCE ? &own->source : bpf_map_lookup_elem(&sources, &k);
	__u32 pick = 0;

	if (!src)
		return KEDGE_DROP_NO_SOURCE;
	to->addr = *src;
	for (int i = 0; i <= TRIES_RANDOM + TRIES_NEXT; i++) {
		if (i == 0 && (is_icmp(p->t.proto) || port_ok(bpf_ntohs(p->t.sport)))) {
			to->port = p->t.sport;
		} else {
			pick = i <= TRIES_RANDOM ? bpf_get_prandom_u32() % PORTS : (pick + 1) % PORTS;
			to->port = bpf_htons((__u16)(pick < PORTS_LOW ? 1024 + pick : 61000 + (pick - PORTS_LOW)));
		}
		if (ct_create(p, &to->addr, to->port, KEDGE_XLATE_SRC, &p->t.saddr, p->t.sport, ep->generation, true, s) == 0) {
			count(KEDGE_COUNT_FLOWS_MASQUERADED, 1);
			return 0;
		}
	}
	return KEDGE_DROP_NO_PORT;
}

INLINE int dropped(struct __sk_buff *skb, const struct packet *p, enum kedge_drop why)
{
	return drop(skb, p, KEDGE_HOOK_CONTAINER, why);
}

/* The packet leaves with another source: to another container (the answer of a published port) or out of an uplink. */
INLINE int forward_out(struct __sk_buff *skb, struct packet *p, const struct kedge_net *own, const struct kedge_addr *addr, __u16 port, const struct way *w,
		       const struct kedge_endpoint *peer)
{
	int act;

	if (w->too_big && !peer) {
		act = p->dont_fragment ? icmp_reply(skb, p, &own->gateway, REPLY_TOO_BIG, w->mtu) : TC_ACT_UNSPEC;
		return act == TC_ACT_UNSPEC ? dropped(skb, p, KEDGE_DROP_TOO_BIG) : act;
	}
	if (decrement_ttl(skb, p) < 0) {
		act = icmp_reply(skb, p, &own->gateway, REPLY_TTL, 0);
		return act == TC_ACT_UNSPEC ? dropped(skb, p, KEDGE_DROP_TTL) : act;
	}
	if (rewrite(skb, p, false, addr, port) < 0)
		return dropped(skb, p, KEDGE_DROP_REWRITE);
	if (peer) {
		count(KEDGE_COUNT_HAIRPIN_PACKETS, 1);
		bpf_skb_change_type(skb, PACKET_HOST);	/* it was for the bridge's address, not the veth's */
		return to_container(skb, p, peer, true);
	}
	if (clamp_mss(skb, p, w->mtu))
		count(KEDGE_COUNT_MSS_CLAMPED, 1);
	count_packet(p, true);
	return bpf_redirect_neigh(w->ifindex, (struct bpf_redir_neigh *)&w->next, sizeof(w->next), 0);
}

/* An ICMP error a container sends about a flow. TC_ACT_UNSPEC: about none of ours. */
INLINE int icmp_error_out(struct __sk_buff *skb, struct packet *p, const struct kedge_endpoint *ep, struct way *w, struct scratch *s)
{
	struct kedge_endpoint *peer;
	struct inner in = {};
	struct kedge_ct *c;

	if (icmp_inner(skb, p, &in) < 0)
		return TC_ACT_UNSPEC;
	c = ct_find(&in.t);
	if (!c || c->xlate != KEDGE_XLATE_SRC || c->generation != ep->generation)
		return TC_ACT_UNSPEC;
	struct kedge_backend to = { .addr = c->addr, .generation = c->generation, .port = c->port };

	peer = bpf_map_lookup_elem(&endpoints, &p->t.daddr);
	if (!peer && (route(skb, p, ep->bridge_ifindex, 0, w, &s->way) < 0 || w->too_big))
		return dropped(skb, p, KEDGE_DROP_NO_ROUTE);
	if (icmp_error_rewrite(skb, p, &in, &to, false) < 0)
		return dropped(skb, p, KEDGE_DROP_REWRITE);
	count(KEDGE_COUNT_ICMP_TRANSLATED, 1);
	if (peer) {
		bpf_skb_change_type(skb, PACKET_HOST);
		return to_container(skb, p, peer, true);
	}
	count_packet(p, true);
	return bpf_redirect_neigh(w->ifindex, &w->next, sizeof(w->next), 0);
}

/* For the host itself. Not over the bridge, which would find only after a long search (and the host's bridge filter) that it is meant. */
INLINE int pass_host(struct __sk_buff *skb, const struct packet *p, const struct kedge_endpoint *ep, __u32 epoch)
{
	struct kedge_to_host h = { .from = skb->ifindex, .epoch = epoch };

	if (!ep)
		return TC_ACT_UNSPEC;
	h.bridge_ifindex = ep->bridge_ifindex;
	/* Remembered for what may go on. */
	if (p->t.proto == IPPROTO_UDP || (p->t.proto == IPPROTO_TCP && !(p->tcp_flags & TCP_SYN) && !p->later_fragment))
		(void)map_put(&to_host, &p->t, &h, BPF_ANY);
	return (int)bpf_redirect(h.bridge_ifindex, BPF_F_INGRESS);
}

/* To an address of the host: a published port goes straight to its container, anything else to the host. */
INLINE int call_host(struct __sk_buff *skb, struct packet *p, const struct kedge_endpoint *from, bool fresh, __u32 epoch, struct scratch *s)
{
	struct kedge_backend to = {};
	struct kedge_endpoint *ep;
	struct kedge_publish *pub;

	pub = fresh ? publish_find(&p->t.daddr, p->t.dport, p->t.proto, true) : NULL;
	if (!pub || pub->flags & KEDGE_PUBLISH_GUARDED || addr_link_local(&p->t.daddr))
		return pass_host(skb, p, from, epoch);
	if (!source_allowed(pub, &p->t.saddr))
		return dropped(skb, p, KEDGE_DROP_SOURCE);
	if (backend_pick(pub, &p->t.saddr, p->t.sport, p->t.dport, &to) < 0)
		return dropped(skb, p, pub->lb ? KEDGE_DROP_NO_BACKEND : KEDGE_DROP_NO_ENDPOINT);
	/* A container that talks to itself would see its own address as the sender's: the proxy stands between. */
	if (addr_same(&to.addr, &p->t.saddr))
		return pass_host(skb, p, from, epoch);
	ep = endpoint_of(&to.addr, to.generation);
	if (!ep)
		return dropped(skb, p, KEDGE_DROP_NO_ENDPOINT);
	way_peer(&s->way, ep, skb->ifindex, epoch);
	if (ct_create(p, &to.addr, to.port, KEDGE_XLATE_DST, &p->t.daddr, p->t.dport, to.generation, false, s) < 0)
		return dropped(skb, p, KEDGE_DROP_NO_PORT);
	count(KEDGE_COUNT_FLOWS_PUBLISHED, 1);
	bpf_skb_change_type(skb, PACKET_HOST);
	return forward_in(skb, p, ep, &to.addr, to.port, true, KEDGE_HOOK_CONTAINER);
}

/* Is the frame for the host's side of the bridge, and not for somebody else on it? */
INLINE bool for_bridge(struct __sk_buff *skb, const struct kedge_endpoint *ep)
{
	__u8 mac[6];

	if (bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) < 0)
		return true;
	for (int i = 0; i < 6; i++)
		if (mac[i] != ep->gw_mac[i])
			return false;
	return true;
}

SEC("tc")
int kedge_container(struct __sk_buff *skb)
{
	struct kedge_endpoint *ep, *peer = NULL;
	struct kedge_backend to = {};
	struct kedge_net *own, *other;
	struct packet p = {};
	struct kedge_ct *c;
	struct way w = {};
	struct scratch *s;
	__u32 epoch, veth = skb->ifindex;
	bool local, ports;
	enum parse r;
	int why;

	if (!is_ip(skb))
		return TC_ACT_UNSPEC;
	why = known_flow(skb, skb->ifindex, &p);
	if (why != NOT_QUICK)
		return why;
	s = scratch_get();
	if (!s)
		return TC_ACT_SHOT;		/* there is one for every processor */
	epoch = epoch_now();
	r = parse(skb, ETH_HLEN, &p);
	if (r == PARSE_BAD)
		return dropped(skb, &p, KEDGE_DROP_MALFORMED);
	if (addr_loopback(&p.t.daddr) || addr_loopback(&p.t.saddr))
		return dropped(skb, &p, KEDGE_DROP_MARTIAN);
	/* Broadcast and multicast stay on the bridge, as what is bound to a link does. */
	if (addr_multicast(&p.t.daddr) || addr_link_local(&p.t.daddr) || addr_link_local(&p.t.saddr))
		return TC_ACT_UNSPEC;
	ep = bpf_map_lookup_elem(&endpoints, &p.t.saddr);
	if (ep && ep->host_ifindex != skb->ifindex)
		return dropped(skb, &p, KEDGE_DROP_SPOOFED);
	if (!ep && addr_link_local4(&p.t.saddr) && addr_link_local4(&p.t.daddr)) {
		/* Neighbours on the bridge; not by way of the host, which would route it. */
		ep = bpf_map_lookup_elem(&link_locals, &veth);
		return ep && !for_bridge(skb, ep) ? TC_ACT_UNSPEC : dropped(skb, &p, KEDGE_DROP_NO_ROUTE);
	}
	/* Not an address we gave (a lab's own addresses): its own bridge and the host may hear it, nobody else. */
	own = net_of(&p.t.saddr);
	local = is_local(&p.t.daddr);
	ports = r == PARSE_OK && !p.icmp_error;
	if (ep && own && r == PARSE_OK && p.icmp_error) {
		why = icmp_error_out(skb, &p, ep, &w, s);
		if (why != TC_ACT_UNSPEC)
			return why;
	}
	if (ports && (p.later_fragment || p.first_fragment) && frag_ports(&p) < 0)
		ports = false;
	c = ports && ep && own ? ct_find(&p.t) : NULL;
	if (c && c->xlate == KEDGE_XLATE_SRC && c->generation == ep->generation) {
		/* The answer of a published port, or of a masqueraded flow what follows. */
		to.addr = c->addr;
		to.port = c->port;
		peer = local ? NULL : bpf_map_lookup_elem(&endpoints, &p.t.daddr);
		if (!peer && route(skb, &p, ep->bridge_ifindex, epoch, &w, &c->way) < 0)
			return dropped(skb, &p, KEDGE_DROP_NO_ROUTE);
		if (peer)
			way_peer(&c->way, peer, skb->ifindex, epoch);
		ct_touch(c, &p);
		return forward_out(skb, &p, own, &to.addr, to.port, &w, peer);
	}
	if (c && c->xlate == KEDGE_XLATE_DST) {
		/* Another container's published port, once more. */
		peer = endpoint_of(&c->addr, c->generation);
		if (peer) {
			to.addr = c->addr;
			to.port = c->port;
			way_peer(&c->way, peer, skb->ifindex, epoch);
			ct_touch(c, &p);
			bpf_skb_change_type(skb, PACKET_HOST);
			count(KEDGE_COUNT_HAIRPIN_PACKETS, 1);
			return forward_in(skb, &p, peer, &to.addr, to.port, true, KEDGE_HOOK_CONTAINER);
		}
	}
	if (c)
		ct_forget(&p.t);	/* of a container that is gone, or was here before */
	if (ep && own && own->flags & KEDGE_NET_ELSEWHERE && !for_bridge(skb, ep))
		return TC_ACT_UNSPEC;
	if (local) {
		if (own && own->flags & KEDGE_NET_INTERNAL) {
			/* The host itself by the gateway's address, but not what other networks publish there. */
			if (!addr_same(&p.t.daddr, &own->gateway) || (ports && has_ports(p.t.proto) && publish_find(&p.t.daddr, p.t.dport, p.t.proto, true)))
				return dropped(skb, &p, KEDGE_DROP_ISOLATED);
			return pass_host(skb, &p, ep, epoch);
		}
		return call_host(skb, &p, ep, ep && own && ports && has_ports(p.t.proto) && !p.later_fragment, epoch, s);
	}
	other = net_of(&p.t.daddr);
	if (other) {
		/* A neighbour: the bridge delivers. */
		if (own && own->bridge_ifindex == other->bridge_ifindex && !(own->flags & KEDGE_NET_NO_ICC))
			return TC_ACT_UNSPEC;
		if (ep && ports && guarded_answer(skb, &p))
			return TC_ACT_UNSPEC;
		return dropped(skb, &p, KEDGE_DROP_ISOLATED);
	}
	if (!ep || !own)
		return dropped(skb, &p, KEDGE_DROP_NO_ENDPOINT);
	if (ports && guarded_answer(skb, &p))
		return TC_ACT_UNSPEC;		/* to the host, by its routing rule */
	if (own->flags & KEDGE_NET_INTERNAL || !(own->flags & (KEDGE_NET_MASQUERADE | KEDGE_NET_ROUTED)))
		return dropped(skb, &p, KEDGE_DROP_ISOLATED);
	if (r == PARSE_OTHER)
		return dropped(skb, &p, KEDGE_DROP_PROTOCOL);
	if (p.icmp_error)
		return dropped(skb, &p, KEDGE_DROP_NO_FLOW);
	if (!ports || p.later_fragment)
		return dropped(skb, &p, KEDGE_DROP_FRAGMENT);
	if (route(skb, &p, ep->bridge_ifindex, epoch, &w, &s->way) < 0)
		return dropped(skb, &p, KEDGE_DROP_NO_ROUTE);
	if (w.too_big) {
		why = p.dont_fragment ? icmp_reply(skb, &p, &own->gateway, REPLY_TOO_BIG, w.mtu) : TC_ACT_UNSPEC;
		return why == TC_ACT_UNSPEC ? dropped(skb, &p, KEDGE_DROP_TOO_BIG) : why;
	}
	if (own->flags & KEDGE_NET_ROUTED) {
		to.addr = p.t.saddr;
		to.port = p.t.sport;
		why = ct_create(&p, &to.addr, to.port, KEDGE_XLATE_SRC, &p.t.saddr, p.t.sport, ep->generation, false, s) < 0 ? KEDGE_DROP_NO_PORT : 0;
		/* KEDGE_DROP_UNPUBLISHED is 0 and no answer of ours here. */
	} else {
		why = masquerade(&p, own, ep, w.ifindex, &to, s);
	}
	if (why)
		return dropped(skb, &p, (enum kedge_drop)why);
	return forward_out(skb, &p, own, &to.addr, to.port, &w, NULL);
}

/* ---- host -> container ---- */

/* At the bridge's egress: what the host sends to a container over it. The bridge would ask its table of addresses for what ours knows. */
SEC("tc")
int kedge_bridge(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct kedge_endpoint *ep;
	struct kedge_addr a;
	const __u16 *to;
	__u16 mac[3];

	if (!is_ip(skb))
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return TC_ACT_UNSPEC;
		addr_v4(&a, ip->daddr);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return TC_ACT_UNSPEC;
		addr_v6(&a, &ip->daddr);
	}
	__builtin_memcpy(mac, data, 6);
	ep = bpf_map_lookup_elem(&endpoints, &a);
	if (!ep || ep->bridge_ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	/* A neighbour entry somebody made by hand may say another. */
	to = (const __u16 *)ep->mac;
	if (mac[0] != to[0] || mac[1] != to[1] || mac[2] != to[2])
		return TC_ACT_UNSPEC;
	return (int)bpf_redirect(ep->host_ifindex, 0);
}
