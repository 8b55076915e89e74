/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clients on the host itself: a connect() or sendto() to a published port is pointed at the container when it is made, so that no
 * packet needs rewriting. Attached to the root of cgroup v2, hence seen by every process of the machine: those of another network
 * namespace are let through first thing.
 *
 * An IPv6 socket that names an IPv4 address (::ffff:a.b.c.d) is an IPv4 client. One that names an IPv6 address gets to containers that have IPv6;
 * for the others nothing is published on IPv6 here, and the proxy's listener answers.
 */
#include "lib/publish.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 netns_cookie = 0;

/* Who serves what is called for at *a and port; 0 or negative. */
INLINE int local_backend(struct bpf_sock_addr *ctx, const struct kedge_addr *a, struct kedge_backend *to)
{
	__u16 port = (__u16)ctx->user_port;
	struct kedge_publish *p;

	p = publish_find(a, port, (__u8)ctx->protocol, addr_loopback(a) || bpf_map_lookup_elem(&locals, a));
	/* A list of sources is about others; guarded ports are the proxy's. */
	if (!p || p->flags & KEDGE_PUBLISH_GUARDED || addr_link_local(a))
		return -1;
	/* The client's port is not known yet; any number spreads as well. */
	return backend_pick(p, a, (__u16)bpf_get_prandom_u32(), port, to);
}

/* 0: *to is where to go. */
INLINE int towards(struct bpf_sock_addr *ctx, const struct kedge_addr *a, struct kedge_backend *to)
{
	struct kedge_local_key k = {};
	struct kedge_local v = {};

	if (local_backend(ctx, a, to) < 0)
		return -1;
	v.addr = *a;
	v.port = (__u16)ctx->user_port;
	k.cookie = bpf_get_socket_cookie(ctx);
	k.addr = to->addr;
	k.port = to->port;
	return map_put(&local_peers, &k, &v, BPF_ANY);
}

INLINE struct kedge_local *back(struct bpf_sock_addr *ctx, const struct kedge_addr *a)
{
	struct kedge_local_key k = { .cookie = bpf_get_socket_cookie(ctx), .addr = *a, .port = (__u16)ctx->user_port };

	return bpf_map_lookup_elem(&local_peers, &k);
}

INLINE bool ours(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) == netns_cookie;
}

/* Bound to a loopback address: such a source does not get to a container. The proxy serves it. */
INLINE bool bound_to_loopback4(struct bpf_sock_addr *ctx)
{
	return ctx->sk && (bpf_ntohl(ctx->sk->src_ip4) >> 24) == 127;
}

INLINE int towards4(struct bpf_sock_addr *ctx)
{
	struct kedge_backend to = {};
	struct kedge_addr a;

	if (!ours(ctx) || bound_to_loopback4(ctx))
		return 1;
	addr_v4(&a, ctx->user_ip4);
	if (towards(ctx, &a, &to) < 0)
		return 1;
	ctx->user_ip4 = to.addr.w[3];
	ctx->user_port = to.port;
	return 1;
}

INLINE int back4(struct bpf_sock_addr *ctx)
{
	struct kedge_local *v;
	struct kedge_addr a;

	if (!ours(ctx))
		return 1;
	addr_v4(&a, ctx->user_ip4);
	v = back(ctx, &a);
	if (v) {
		ctx->user_ip4 = v->addr.w[3];
		ctx->user_port = v->port;
	}
	return 1;
}

INLINE void get6(struct bpf_sock_addr *ctx, struct kedge_addr *a)
{
	a->w[0] = ctx->user_ip6[0];
	a->w[1] = ctx->user_ip6[1];
	a->w[2] = ctx->user_ip6[2];
	a->w[3] = ctx->user_ip6[3];
}

INLINE void set6(struct bpf_sock_addr *ctx, const struct kedge_addr *a, __u16 port)
{
	ctx->user_ip6[0] = a->w[0];
	ctx->user_ip6[1] = a->w[1];
	ctx->user_ip6[2] = a->w[2];
	ctx->user_ip6[3] = a->w[3];
	ctx->user_port = port;
}

INLINE bool bound_to_loopback6(struct bpf_sock_addr *ctx)
{
	struct kedge_addr a;

	if (!ctx->sk)
		return false;
	a.w[0] = ctx->sk->src_ip6[0];
	a.w[1] = ctx->sk->src_ip6[1];
	a.w[2] = ctx->sk->src_ip6[2];
	a.w[3] = ctx->sk->src_ip6[3];
	return addr_loopback(&a);
}

INLINE int towards6(struct bpf_sock_addr *ctx)
{
	struct kedge_backend to = {};
	struct kedge_addr a;

	if (!ours(ctx) || bound_to_loopback6(ctx))
		return 1;
	get6(ctx, &a);
	/* connect(2) to :: is to ::1. */
	if (!a.w[0] && !a.w[1] && !a.w[2] && !a.w[3])
		a.w[3] = bpf_htonl(1);
	if (towards(ctx, &a, &to) < 0)
		return 1;
	set6(ctx, &to.addr, to.port);
	return 1;
}

INLINE int back6(struct bpf_sock_addr *ctx)
{
	struct kedge_local *v;
	struct kedge_addr a;

	if (!ours(ctx))
		return 1;
	get6(ctx, &a);
	v = back(ctx, &a);
	if (v)
		set6(ctx, &v->addr, v->port);
	return 1;
}

SEC("cgroup/connect4")
int kedge_connect4(struct bpf_sock_addr *ctx)
{
	return towards4(ctx);
}

SEC("cgroup/sendmsg4")
int kedge_sendmsg4(struct bpf_sock_addr *ctx)
{
	return towards4(ctx);
}

SEC("cgroup/recvmsg4")
int kedge_recvmsg4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

SEC("cgroup/getpeername4")
int kedge_getpeername4(struct bpf_sock_addr *ctx)
{
	return back4(ctx);
}

SEC("cgroup/connect6")
int kedge_connect6(struct bpf_sock_addr *ctx)
{
	return towards6(ctx);
}

SEC("cgroup/sendmsg6")
int kedge_sendmsg6(struct bpf_sock_addr *ctx)
{
	return towards6(ctx);
}

SEC("cgroup/recvmsg6")
int kedge_recvmsg6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}

SEC("cgroup/getpeername6")
int kedge_getpeername6(struct bpf_sock_addr *ctx)
{
	return back6(ctx);
}
