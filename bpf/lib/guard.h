/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_GUARD_H
#define KEDGE_BPF_GUARD_H

/*
 * Guarded ports. Their clients come through the host's own firewall to the engine, which goes on to the container from a socket that bears the client's
 * address. The container answers that address, and its answer belongs to that socket.
 */
#include "lib/maps.h"

enum { SOCK_LISTENS = 10 };		/* TCP_LISTEN, with another name than linux/tcp.h has */

INLINE bool bears(const struct bpf_sock *sk, const struct kedge_addr *a, bool v6)
{
	/* Read before the branch: the verifier takes no offset that was chosen in one. */
	__u32 w0 = sk->src_ip6[0], w1 = sk->src_ip6[1], w2 = sk->src_ip6[2], w3 = sk->src_ip6[3], v4 = sk->src_ip4;

	barrier_var(w3);
	barrier_var(v4);
	if (sk->state == SOCK_LISTENS)
		return false;
	return v6 ? a->w[0] == w0 && a->w[1] == w1 && a->w[2] == w2 && a->w[3] == w3 : a->w[3] == v4;
}

/* A socket of the host whose own address is the packet's destination: nobody but the engine has one on an address that is not the host's. */
/* Not inlined: it is rare, and the packets that are not its business shall not carry its code. */
static __attribute__((noinline)) bool socket_bears(struct __sk_buff *skb, const struct packet *p)
{
	/* Of IPv6 the packet's own tuple is laid out as the call wants it. */
	struct { __u32 saddr, daddr; __u16 sport, dport; } v4 = { p->t.saddr.w[3], p->t.daddr.w[3], p->t.sport, p->t.dport };
	struct bpf_sock_tuple *t;
	struct bpf_sock *sk;
	__u32 size;
	__u64 found;

	_Static_assert(sizeof(v4) == sizeof(t->ipv4) && __builtin_offsetof(struct kedge_tuple, dport) + 2 == sizeof(t->ipv6), "as the call wants it");
	if (p->later_fragment || (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP))
		return false;
	/* One branch for both, which the compiler may not make two: Linux 6.1 would try the one's address with the other's size. */
	if (p->v6) {
		t = (struct bpf_sock_tuple *)&p->t;
		asm volatile("%0 = %1" : "=r"(size) : "i"(sizeof(t->ipv6)));
	} else {
		t = (struct bpf_sock_tuple *)&v4;
		asm volatile("%0 = %1" : "=r"(size) : "i"(sizeof(t->ipv4)));
	}
	/* The two calls' sockets are of two kinds to the verifier, which wants no instruction to read both: hence the marks. */
	if (p->t.proto == IPPROTO_UDP) {
		sk = bpf_sk_lookup_udp(skb, t, size, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return false;
		found = bears(sk, &p->t.daddr, p->v6);
		asm volatile("%0 &= 1" : "+r"(found));
		bpf_sk_release(sk);
	} else {
		sk = bpf_skc_lookup_tcp(skb, t, size, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return false;
		found = bears(sk, &p->t.daddr, p->v6);
		asm volatile("%0 &= 3" : "+r"(found));
		bpf_sk_release(sk);
	}
	if (found)
		skb->mark = KEDGE_GUARD_MARK;		/* it has none yet: it comes out of another namespace */
	return found;
}

INLINE bool guarded_answer(struct __sk_buff *skb, const struct packet *p)
{
	struct kedge_control *c = control_get();

	return c && c->guarded && socket_bears(skb, p);
}

#endif
