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
 *
 * A flow is young until it has gone both ways and on: until its first sender has spoken again after an answer, or has been answered several times. Young
 * flows are in a table of their own, so that a flood of SYNs or datagrams from made-up senders, each a new flow, drives out others of its kind and no
 * established one. Whoever has got an answer and goes on moves to the table of the others, with which established packets are content.
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

INLINE struct kedge_ct *ct_find(const struct kedge_tuple *t)
{
	struct kedge_ct *c = bpf_map_lookup_elem(&ct, t);

	return c ? c : bpf_map_lookup_elem(&young, t);
}

INLINE void ct_forget(const struct kedge_tuple *t)
{
	bpf_map_delete_elem(&ct, t);
	bpf_map_delete_elem(&young, t);
}

/* What is too large for the stack: new entries, and the way its packets go. */
struct scratch {
	struct kedge_ct v, peer;
	struct kedge_way way;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* With no way known. */
INLINE struct scratch *scratch_get(void)
{
	__u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);

	if (s)
		s->way.until = 0;
	return s;
}

enum { ANSWERS = 3 };

/*
 * p has come in the direction of c, which is in the table of young flows. Both entries are there before they are gone here. The other direction's packet
 * may do the same on another processor, and what it has removed may be another flow's in the next moment: what is put there is a copy that was
 * still this flow's when it had been made.
 */
static __attribute__((noinline)) int ct_grow(const struct packet *p)
{
	struct kedge_ct *c = bpf_map_lookup_elem(&young, &p->t), *o;
	struct scratch *s;
	struct kedge_tuple peer;
	__u32 zero = 0;

	if (!c)
		return 0;
	ct_peer(&p->t, &c->addr, c->port, c->xlate, &peer);
	o = bpf_map_lookup_elem(&young, &peer);
	if (!o)
		return 0;
	if (c->flags & KEDGE_CT_ORIGIN ? !(o->flags & KEDGE_CT_REPLIED) || ((p->t.proto == IPPROTO_TCP || p->t.proto == IPPROTO_SCTP) && !(c->flags & KEDGE_CT_CONFIRMED))
				       : c->packets <= ANSWERS)
		return 0;
	s = bpf_map_lookup_elem(&scratch, &zero);
	if (!s)
		return 0;
	s->v = *c;
	s->peer = *o;
	barrier();
	if (bpf_map_lookup_elem(&young, &p->t) != c || bpf_map_lookup_elem(&young, &peer) != o)
		return 0;
	s->v.flags &= ~KEDGE_CT_YOUNG;
	s->peer.flags &= ~KEDGE_CT_YOUNG;
	if (map_put(&ct, &peer, &s->peer, BPF_ANY) < 0)
		return 0;
	if (map_put(&ct, &p->t, &s->v, BPF_ANY) < 0) {
		bpf_map_delete_elem(&ct, &peer);
		return 0;
	}
	bpf_map_delete_elem(&young, &peer);
	bpf_map_delete_elem(&young, &p->t);
	return 1;
}

INLINE void ct_seen(struct kedge_ct *c, bool tcp, __u8 tcp_flags, __u16 len, __u64 now)
{
	c->seen = now;
	c->packets++;
	c->bytes += len;
	if (!(c->flags & (KEDGE_CT_REPLIED | KEDGE_CT_ORIGIN)))
		c->flags |= KEDGE_CT_REPLIED;
	if (!tcp)
		return;
	if (!(tcp_flags & TCP_SYN) && !(c->flags & KEDGE_CT_CONFIRMED))
		c->flags |= KEDGE_CT_CONFIRMED;
	if (tcp_flags & (TCP_FIN | TCP_RST))
		c->flags |= (tcp_flags & TCP_RST ? KEDGE_CT_RST : 0) | (tcp_flags & TCP_FIN ? KEDGE_CT_FIN : 0);
}

/* The last that is done with c, which may be another flow's afterwards. */
INLINE void ct_touch(struct kedge_ct *c, const struct packet *p)
{
	bool grow = c->flags & KEDGE_CT_YOUNG;

	ct_seen(c, p->t.proto == IPPROTO_TCP && !p->later_fragment, p->tcp_flags, p->len, bpf_ktime_get_boot_ns());
	if (p->t.proto == IPPROTO_SCTP)
		c->flags = (__u8)((c->flags & ~(p->sctp >> 8)) | p->sctp);
	if (grow)
		ct_grow(p);
}

/*
 * Both entries, the reverse one first: it is the one that can collide (its port was chosen). fresh: it must be free, or spent. There is none of the
 * packet's own tuple. s->way is the way of this direction. 0 or negative.
 */
INLINE int ct_create(const struct packet *p, const struct kedge_addr *addr, __u16 port, __u8 xlate, const struct kedge_addr *back_addr,
		     __u16 back_port, __u32 generation, bool fresh, struct scratch *s)
{
	struct kedge_ct *there, *v = &s->v;
	struct kedge_tuple peer;

	__builtin_memset(v, 0, sizeof(*v));
	v->addr = *back_addr;
	v->seen = v->created = bpf_ktime_get_boot_ns();
	v->generation = generation;
	v->port = back_port;
	v->xlate = xlate == KEDGE_XLATE_DST ? KEDGE_XLATE_SRC : KEDGE_XLATE_DST;
	v->flags = KEDGE_CT_YOUNG;
	ct_peer(&p->t, addr, port, xlate, &peer);
	/* Looked at first: an insertion that fails for what is there may have driven out another. */
	there = ct_find(&peer);
	if (there && fresh && !ct_spent(there, peer.proto, v->seen))
		return -1;
	if (there)
		ct_forget(&peer);
	if (map_put(&young, &peer, v, fresh ? BPF_NOEXIST : BPF_ANY) < 0)
		return -1;
	v->addr = *addr;
	v->port = port;
	v->xlate = xlate;
	v->flags = KEDGE_CT_ORIGIN | KEDGE_CT_YOUNG;
	v->packets = 1;
	v->bytes = p->len;
	v->way = s->way;
	if (map_put(&young, &p->t, v, BPF_ANY) < 0) {
		bpf_map_delete_elem(&young, &peer);
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
