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
 *
 * The client may be another container. A routed network's flows are the same with nothing to change: their entries are what lets answers in.
 */
#include "lib/maps.h"
#include "lib/rewrite.h"

/* The tuple of the flow's other direction. */
INLINE void ct_peer(const struct kedge_tuple *t, const struct kedge_addr *addr, __u16 port, __u8 xlate, struct kedge_tuple *o)
{
	__builtin_memset(o, 0, sizeof(*o));
	o->proto = t->proto;
	if (xlate == KEDGE_XLATE_DST) {
		o->saddr = *addr;
		o->daddr = t->saddr;
		o->sport = port;
		o->dport = is_icmp(t->proto) ? port : t->sport;
	} else {
		o->saddr = t->daddr;
		o->daddr = *addr;
		o->sport = is_icmp(t->proto) ? port : t->dport;
		o->dport = port;
	}
}

/* As timeout_of() of src/net/ebpf/sweep.c for what has not been answered or is over: such an entry may make room at once. */
INLINE bool ct_spent(const struct kedge_ct *c, __u8 proto, __u64 now)
{
	__u64 age = now - c->seen;
	const __u64 second = 1000000000ull;

	if (proto == IPPROTO_TCP || proto == IPPROTO_SCTP)
		return c->flags & KEDGE_CT_RST ? age > 10 * second : c->flags & KEDGE_CT_FIN && age > 60 * second;
	return age > (c->flags & KEDGE_CT_REPLIED ? 180 * second : 30 * second);
}

INLINE void ct_touch(struct kedge_ct *c, const struct packet *p)
{
	c->seen = bpf_ktime_get_boot_ns();
	c->packets++;
	c->bytes += p->len;
	if (!(c->flags & (KEDGE_CT_REPLIED | KEDGE_CT_ORIGIN)))
		c->flags |= KEDGE_CT_REPLIED;
	if (p->t.proto != IPPROTO_TCP || p->later_fragment) {
		if (p->t.proto == IPPROTO_SCTP)
			c->flags = (__u8)((c->flags & ~(p->sctp >> 8)) | p->sctp);
		return;
	}
	if (!(p->tcp_flags & TCP_SYN) && !(c->flags & KEDGE_CT_CONFIRMED))
		c->flags |= KEDGE_CT_CONFIRMED;
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		c->flags |= (p->tcp_flags & TCP_RST ? KEDGE_CT_RST : 0) | (p->tcp_flags & TCP_FIN ? KEDGE_CT_FIN : 0);
}

/*
 * Both entries, the reverse one first: it is the one that can collide (its port was chosen). fresh: it must be free, or spent. 0 or negative.
 */
INLINE int ct_create(const struct packet *p, const struct kedge_addr *addr, __u16 port, __u8 xlate, const struct kedge_addr *back_addr,
		     __u16 back_port, __u32 generation, bool fresh)
{
	struct kedge_ct v = { .addr = *back_addr, .seen = bpf_ktime_get_boot_ns(), .generation = generation, .port = back_port,
			      .xlate = xlate == KEDGE_XLATE_DST ? KEDGE_XLATE_SRC : KEDGE_XLATE_DST };
	struct kedge_tuple peer;

	v.created = v.seen;
	ct_peer(&p->t, addr, port, xlate, &peer);
	if (fresh) {
		struct kedge_ct *there = bpf_map_lookup_elem(&ct, &peer);

		if (there && ct_spent(there, peer.proto, v.seen))
			bpf_map_delete_elem(&ct, &peer);
		if (map_put(&ct, &peer, &v, BPF_NOEXIST) < 0)
			return -1;
	} else if (map_put(&ct, &peer, &v, BPF_ANY) < 0) {
		return -1;
	}
	v.addr = *addr;
	v.port = port;
	v.xlate = xlate;
	v.flags = KEDGE_CT_ORIGIN;
	v.packets = 1;
	v.bytes = p->len;
	if (map_put(&ct, &p->t, &v, BPF_ANY) < 0) {
		bpf_map_delete_elem(&ct, &peer);
		return -1;
	}
	wake_sweeper();
	return 0;
}

/* Ports of a fragment that carries none; remembers those of one that does. */
INLINE int frag_ports(struct packet *p)
{
	struct kedge_frag_key k = { .saddr = p->t.saddr, .daddr = p->t.daddr, .id = p->id, .proto = p->t.proto };
	struct kedge_frag *f;

	if (p->first_fragment) {
		struct kedge_frag v = { .sport = p->t.sport, .dport = p->t.dport };

		map_put(&frags, &k, &v, BPF_ANY);
		return 0;
	}
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f)
		return -1;
	p->t.sport = f->sport;
	p->t.dport = f->dport;
	return 0;
}

#endif
