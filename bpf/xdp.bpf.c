/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Before the kernel has made anything of a packet: an uplink's own receive path (native XDP). It does one thing, refuse early. What the tables refuse is
 * dropped here for half of what it costs behind the making of an skb; everything else, and every doubt, passes and meets the tc program
 * at the same uplink, which would have given the same answer. So nothing depends on this program being there.
 *
 * Refused are: addresses of loopback from a wire, senders that a published port's list of sources leaves out, and what is for a container's own address
 * without being a flow or published there. Nothing is translated here: handing a translated packet to a veth from here costs what tc's way does and
 * loses the device's checksum and the merging of segments.
 *
 * A packet that passes has paid in vain, so it is to pay little: most are let go after one bit (does any list speak of this port?) and one look for a
 * network. Fragments, extension headers and all that is neither TCP nor UDP are left to tc at once.
 *
 * A VLAN's tag that the device has taken off is not to be seen from here. The tables are the host's, not an interface's, and say of a packet the same
 * on the VLAN's interface, where it would arrive; but for ports that are for other interfaces alone, which are left to tc.
 */
#include "lib/publish.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct {				/* a bit for each port that a list of sources speaks of, of any protocol: from bit 0 of word 0 on */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KEDGE_XDP_WORDS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} xdp_ports SEC(".maps");

struct {				/* by ifindex: where the program is attached */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct kedge_xdp_device);
} xdp_devices SEC(".maps");

struct {				/* of those in `drops` */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KEDGE_DROP_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} xdp_drops SEC(".maps");

/* Negative: not for us, as is all that tc would find fault with. Headers are in the first buffer, however many a packet has. */
INLINE int read_packet(const struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u16 *ports;
	__u32 hl;

	if ((void *)(eth + 1) > end)
		return -1;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return -1;
		head_v4(p, ip);
		hl = ip->ihl * 4;
		if (p->len < hl || ip->frag_off & bpf_htons(0x3fff))
			return -1;
		ports = (void *)ip + hl;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->version != 6)
			return -1;
		head_v6(p, ip);
		ports = (void *)(ip + 1);
	} else {
		return -1;
	}
	if ((void *)(ports + 4) > end)
		return -1;
	if (p->t.proto == IPPROTO_TCP) {
		if ((void *)ports + 14 > end)
			return -1;
		p->tcp_flags = ((__u8 *)ports)[13];
	} else if (p->t.proto != IPPROTO_UDP) {
		return -1;
	}
	p->t.sport = ports[0];
	p->t.dport = ports[1];
	return 0;
}

/* Drops, if it is for the device itself: not what somebody captures there or a bridge floods, nor what is for another interface on top of it. */
INLINE int refuse(const struct xdp_md *ctx, const struct packet *p, enum kedge_drop why)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 ifindex = ctx->ingress_ifindex, i = why;
	struct kedge_xdp_device *dev = bpf_map_lookup_elem(&xdp_devices, &ifindex);
	const __u16 *to = data, *own;
	__u64 *n;

	if (!dev || data + ETH_ALEN > end)
		return XDP_PASS;
	own = (const __u16 *)dev->mac;
	if (to[0] != own[0] || to[1] != own[1] || to[2] != own[2])
		return XDP_PASS;
	n = bpf_map_lookup_elem(&xdp_drops, &i);
	if (n)
		(*n)++;
	drop_note(ifindex, p->len + ETH_HLEN, p, KEDGE_HOOK_XDP, why);
	return XDP_DROP;
}

INLINE bool listed(__u16 port)
{
	__u32 i = port / 64;
	const __u64 *w = bpf_map_lookup_elem(&xdp_ports, &i);

	return w && *w >> port % 64 & 1;
}

/* The port of a range may be a connection's of the host itself (host_asked() of dp.bpf.c), unless this begins one. */
INLINE bool maybe_asked(const struct kedge_publish *pub, const struct packet *p)
{
	if (!(pub->flags & KEDGE_PUBLISH_RANGE) || p->t.dport == pub->first)
		return false;
	return p->t.proto == IPPROTO_UDP || (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN);
}

SEC("xdp")
int kedge_xdp(struct xdp_md *ctx)
{
	const struct kedge_net *inside;
	const struct kedge_publish *pub;
	struct packet p = {};
	bool by_list, local;

	if (read_packet(ctx, &p) < 0)
		return XDP_PASS;
	if (addr_loopback(&p.t.daddr) || addr_loopback(&p.t.saddr))
		return refuse(ctx, &p, KEDGE_DROP_MARTIAN);
	by_list = listed(bpf_ntohs(p.t.dport));
	inside = net_of(&p.t.daddr);
	if (!by_list && !inside)
		return XDP_PASS;
	/* As at tc: what has begun goes on. */
	if (bpf_map_lookup_elem(&ct, &p.t))
		return XDP_PASS;
	local = is_local(&p.t.daddr);
	if (local ? !by_list : !inside)
		return XDP_PASS;
	if (local)
		inside = NULL;
	pub = publish_find(&p.t.daddr, p.t.dport, p.t.proto, local);
	/* Of one interface, which may be a VLAN's whose tag is not to be seen here. */
	if (pub && pub->flags & KEDGE_PUBLISH_TRUSTED && !trusts(inside, ctx->ingress_ifindex))
		return XDP_PASS;
	if (pub ? source_allowed(pub, &p.t.saddr) || maybe_asked(pub, &p) : local || open_to(inside, &p))
		return XDP_PASS;
	if (addr_link_local(&p.t.saddr) || bpf_map_lookup_elem(&young, &p.t))
		return XDP_PASS;
	return refuse(ctx, &p, pub ? KEDGE_DROP_SOURCE : KEDGE_DROP_UNPUBLISHED);
}
