/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_PUBLISH_H
#define KEDGE_BPF_PUBLISH_H

/* Where a packet from outside may go: networks, and published ports: who answers on an address and a port of the host. */
#include "lib/maps.h"

INLINE struct kedge_net *net_of(const struct kedge_addr *a)
{
	struct kedge_net_key k = { .prefix = 128, .addr = *a };

	return bpf_map_lookup_elem(&nets, &k);
}

INLINE bool is_local(const struct kedge_addr *a)
{
	return bpf_map_lookup_elem(&locals, a) != NULL;
}

/* Does the network take packets of that uplink for its trusted ports? */
INLINE bool trusts(const struct kedge_net *n, __u32 ifindex)
{
	struct kedge_trust k = { .ifindex = ifindex };

	if (!n)
		return false;
	k.bridge_ifindex = n->bridge_ifindex;
	return bpf_map_lookup_elem(&trusted, &k);
}

/* To a container by its own address, to what is not published. */
INLINE bool open_to(const struct kedge_net *n, const struct packet *p)
{
	return n && !p->later_fragment && (n->flags & KEDGE_NET_OPEN || (n->flags & KEDGE_NET_PING && is_icmp(p->t.proto)));
}

/* ::ffff:0.0.0.0 or :: */
INLINE void addr_any(struct kedge_addr *a, bool v6)
{
	addr_v4(a, 0);
	if (v6)
		a->w[2] = 0;
}

INLINE struct kedge_publish *range_at(const struct kedge_addr *a, __u16 port, __u8 proto)
{
	struct kedge_range_key r = { .prefix = 160, .addr = *a, .proto = proto, .port = port };
	struct kedge_control *c = control_get();

	return c && c->ranges ? bpf_map_lookup_elem(&ranges, &r) : NULL;
}

INLINE struct kedge_publish *publish_at(const struct kedge_addr *a, __u16 port, __u8 proto)
{
	struct kedge_publish_key k = { .addr = *a, .port = port, .proto = proto };
	struct kedge_publish *p = bpf_map_lookup_elem(&published, &k);

	return p ? p : range_at(a, port, proto);
}

/* local: the address is one of the host's, so that ports on every address are meant too. */
INLINE struct kedge_publish *publish_find(const struct kedge_addr *a, __u16 port, __u8 proto, bool local)
{
	struct kedge_publish *p = publish_at(a, port, proto);
	struct kedge_addr any;

	if (p || !local)
		return p;
	addr_any(&any, !addr_mapped(a));
	return publish_at(&any, port, proto);
}

INLINE bool source_allowed(const struct kedge_publish *p, const struct kedge_addr *client)
{
	struct kedge_source_key k = { .prefix = 160, .list = p->sources, .addr = *client };

	return !p->sources || bpf_map_lookup_elem(&source_lists, &k);
}

INLINE __u32 mix(__u32 h, __u32 v)
{
	h ^= v * 0xcc9e2d51;
	h = (h << 13 | h >> 19) * 5 + 0xe6546b64;
	return h;
}

/*
 * Who serves a new flow of saddr:sport to a published port. 0, or negative: nobody there. A backend that is gone is passed over for another
 * slot of the table, until the engine has made a table without it.
 */
INLINE int backend_pick(const struct kedge_publish *p, const struct kedge_addr *saddr, __u16 sport, __u16 dport, struct kedge_backend *ret)
{
	struct kedge_endpoint *ep;
	__u32 h;

	if (!p->lb) {
		ret->addr = p->addr;
		ret->generation = p->generation;
		ret->port = bpf_htons((__u16)(bpf_ntohs(p->port) + bpf_ntohs(dport) - bpf_ntohs(p->first)));
		ep = bpf_map_lookup_elem(&endpoints, &ret->addr);
		return ep && ep->generation == ret->generation ? 0 : -1;
	}
	h = mix(mix(mix(mix(0x6b656467, saddr->w[0]), saddr->w[1]), saddr->w[2]), saddr->w[3]);
	if (!(p->flags & KEDGE_PUBLISH_AFFINITY))
		h = mix(h, (__u32)sport << 16 | dport);
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	for (int i = 0; i < 8; i++) {
		struct kedge_lb_key k = { .lb = p->lb, .slot = (h + i * 131) % KEDGE_LB_SLOTS };
		struct kedge_backend *b = bpf_map_lookup_elem(&lb_slots, &k);

		if (!b)
			return -1;
		ep = bpf_map_lookup_elem(&endpoints, &b->addr);
		if (ep && ep->generation == b->generation) {
			*ret = *b;
			return 0;
		}
	}
	return -1;
}

#endif
