/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ranges of published ports without a socket for each. What a socket per port would do is done here: bind() of a port of a range fails as it would
 * fail on a taken port, and what reaches the host's own stack for one (the data path leaves it: a client of the other family, a guarded port) is
 * given to the one socket of the range. A range's first port has a real socket, that very listener.
 */
#include "lib/publish.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 netns_cookie = 0;

enum { AF_INET = 2, EADDRINUSE = 98 };

INLINE bool taken_at(const struct kedge_addr *a, __u16 port, __u8 proto)
{
	struct kedge_publish *p = range_at(a, port, proto);

	return p && p->first != port;
}

INLINE bool taken(const struct kedge_addr *a, __u16 port, __u8 proto)
{
	struct kedge_addr any;

	addr_any(&any, !addr_mapped(a));
	return port && (taken_at(a, port, proto) || taken_at(&any, port, proto));
}

INLINE int refuse(void)
{
	bpf_set_retval(-EADDRINUSE);
	return 0;
}

/* The proxy itself, which answers from such a port. */
INLINE bool engine(struct bpf_sock_addr *ctx)
{
	return ctx->sk && ctx->sk->mark == KEDGE_GUARD_MARK;
}

SEC("cgroup/bind4")
int kedge_bind4(struct bpf_sock_addr *ctx)
{
	struct kedge_addr a;

	if (bpf_get_netns_cookie(ctx) != netns_cookie || engine(ctx))
		return 1;
	addr_v4(&a, ctx->user_ip4);
	return taken(&a, (__u16)ctx->user_port, (__u8)ctx->protocol) ? refuse() : 1;
}

SEC("cgroup/bind6")
int kedge_bind6(struct bpf_sock_addr *ctx)
{
	__u16 port = (__u16)ctx->user_port;
	__u8 proto = (__u8)ctx->protocol;
	struct kedge_addr a;

	if (bpf_get_netns_cookie(ctx) != netns_cookie || engine(ctx))
		return 1;
	a.w[0] = ctx->user_ip6[0];
	a.w[1] = ctx->user_ip6[1];
	a.w[2] = ctx->user_ip6[2];
	a.w[3] = ctx->user_ip6[3];
	if (taken(&a, port, proto))
		return refuse();
	/* On :: it may take IPv4 too. */
	if (a.w[0] | a.w[1] | a.w[2] | a.w[3])
		return 1;
	addr_v4(&a, 0);
	return taken_at(&a, port, proto) ? refuse() : 1;
}

SEC("sk_lookup")
int kedge_steer(struct bpf_sk_lookup *ctx)
{
	__u16 port = bpf_htons((__u16)ctx->local_port);
	__u8 proto = (__u8)ctx->protocol;
	struct kedge_publish *p;
	struct kedge_addr a;
	struct bpf_sock *sk;
	__u32 i, v4;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return SK_PASS;
	/* Read before the branch: the verifier takes no offset that was chosen in one. */
	v4 = ctx->local_ip4;
	barrier_var(v4);
	a.w[0] = ctx->local_ip6[0];
	a.w[1] = ctx->local_ip6[1];
	a.w[2] = ctx->local_ip6[2];
	a.w[3] = ctx->local_ip6[3];
	if (ctx->family == AF_INET)
		addr_v4(&a, v4);
	p = range_at(&a, port, proto);
	if (!p) {
		addr_any(&a, !addr_mapped(&a));
		p = range_at(&a, port, proto);
	}
	/* IPv6 to a container without it: the range is known by its IPv4 side only. */
	if (!p && !addr_mapped(&a)) {
		addr_v4(&a, 0);
		p = range_at(&a, port, proto);
	}
	if (!p || p->first == port || !p->listener)
		return SK_PASS;
	i = p->listener;
	sk = bpf_map_lookup_elem(&listeners, &i);
	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}
