/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clients on the host itself: a connect() or sendto() to a published port is pointed at the container when it is made, so that no
 * packet needs rewriting. Attached to the root of cgroup v2, hence seen by every process of the machine: those of another network
 * namespace are let through first thing.
 */
#include "lib/maps.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 netns_cookie = 0;

INLINE struct kedge_publish *local_publish(struct bpf_sock_addr *ctx, struct kedge_addr *addr)
{
	struct kedge_publish_key k = { .port = (__u16)ctx->user_port, .proto = (__u8)ctx->protocol };
	struct kedge_publish *p;
	struct kedge_endpoint *ep;

	addr_v4(addr, ctx->user_ip4);
	k.addr = *addr;
	p = bpf_map_lookup_elem(&published, &k);
	if (!p) {
		if ((bpf_ntohl(ctx->user_ip4) >> 24) != 127 && !bpf_map_lookup_elem(&locals, addr))
			return NULL;
		__builtin_memset(&k.addr, 0, sizeof(k.addr));
		p = bpf_map_lookup_elem(&published, &k);
	}
	if (!p)
		return NULL;
	ep = bpf_map_lookup_elem(&endpoints, &p->addr);
	return ep && ep->generation == p->generation ? p : NULL;
}

INLINE int towards(struct bpf_sock_addr *ctx)
{
	struct kedge_publish *p;
	struct kedge_local_key k = {};
	struct kedge_local v = {};

	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	/* Bound to a loopback address: such a source does not get to a container. The proxy serves it. */
	if (ctx->sk && (bpf_ntohl(ctx->sk->src_ip4) >> 24) == 127)
		return 1;
	p = local_publish(ctx, &v.addr);
	if (!p)
		return 1;
	v.port = (__u16)ctx->user_port;
	k.cookie = bpf_get_socket_cookie(ctx);
	k.addr = p->addr;
	k.port = p->port;
	if (bpf_map_update_elem(&local_peers, &k, &v, BPF_ANY) < 0)
		return 1;
	ctx->user_ip4 = p->addr.w[3];
	ctx->user_port = p->port;
	return 1;
}

INLINE int back(struct bpf_sock_addr *ctx)
{
	struct kedge_local_key k = {};
	struct kedge_local *v;

	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	k.cookie = bpf_get_socket_cookie(ctx);
	addr_v4(&k.addr, ctx->user_ip4);
	k.port = (__u16)ctx->user_port;
	v = bpf_map_lookup_elem(&local_peers, &k);
	if (v) {
		ctx->user_ip4 = v->addr.w[3];
		ctx->user_port = v->port;
	}
	return 1;
}

SEC("cgroup/connect4")
int kedge_connect4(struct bpf_sock_addr *ctx)
{
	return towards(ctx);
}

SEC("cgroup/sendmsg4")
int kedge_sendmsg4(struct bpf_sock_addr *ctx)
{
	return towards(ctx);
}

SEC("cgroup/recvmsg4")
int kedge_recvmsg4(struct bpf_sock_addr *ctx)
{
	return back(ctx);
}

SEC("cgroup/getpeername4")
int kedge_getpeername4(struct bpf_sock_addr *ctx)
{
	return back(ctx);
}
