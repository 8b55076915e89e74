/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inside a container's namespace, on its loopback: 127.0.0.11:53 is where its name server is to be found, but the server listens on another port, so
 * that a container may bind 0.0.0.0:53 itself. Ports are exchanged on the way, both ways, without state. An ICMP error quotes the other port: it
 * is put right too, so that a resolver hears at once that nobody listens while the engine is away.
 *
 * Checksums: on loopback those of TCP and UDP are partial (the ports are not in them yet), which the helper knows; ICMP's is whole.
 */
#include "lib/packet.h"

#include "kedge/bpf/dns.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct ports {
	__be16 source, dest;
};

/* The port at off of packet becomes to. */
INLINE int set_port(struct __sk_buff *skb, __u32 off, __u32 csum, __be16 from, __be16 to, __u64 flags)
{
	if (bpf_l4_csum_replace(skb, csum, from, to, 2 | flags) < 0)
		return -1;
	return (int)bpf_skb_store_bytes(skb, off, &to, sizeof(to), 0);
}

INLINE bool is_server(__be32 addr)
{
	return addr == bpf_htonl(KEDGE_DNS_ADDR);
}

/* What an ICMP error is about: a datagram to the server's port, quoted behind its header. */
INLINE void icmp_error(struct __sk_buff *skb, __u32 l4)
{
	__u32 inner = l4 + sizeof(struct icmphdr), at;
	struct icmphdr icmp;
	struct iphdr ip;
	struct ports p;

	if (bpf_skb_load_bytes(skb, l4, &icmp, sizeof(icmp)) < 0 || icmp.type != ICMP_DEST_UNREACH)
		return;
	if (bpf_skb_load_bytes(skb, inner, &ip, sizeof(ip)) < 0 || ip.protocol != IPPROTO_UDP || !is_server(ip.daddr))
		return;
	at = inner + ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, at, &p, sizeof(p)) < 0 || p.dest != bpf_htons(KEDGE_DNS_PORT))
		return;
	(void)set_port(skb, at + offsetof(struct ports, dest), l4 + offsetof(struct icmphdr, checksum), p.dest, bpf_htons(53), 0);
}

SEC("tc")
int kedge_dns(struct __sk_buff *skb)
{
	__u32 l3 = ETH_HLEN, l4, csum;
	__u64 flags = 0;
	struct iphdr ip;
	struct ports p;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, l3, &ip, sizeof(ip)) < 0)
		return TC_ACT_OK;
	if (!is_server(ip.daddr) && !is_server(ip.saddr))
		return TC_ACT_OK;
	l4 = l3 + ip.ihl * 4;
	if (ip.protocol == IPPROTO_ICMP) {
		icmp_error(skb, l4);
		return TC_ACT_OK;
	}
	if (ip.protocol == IPPROTO_UDP) {
		csum = l4 + offsetof(struct udphdr, check);
		flags = BPF_F_MARK_MANGLED_0;		/* zero means: no checksum */
	} else if (ip.protocol == IPPROTO_TCP) {
		csum = l4 + offsetof(struct tcphdr, check);
	} else {
		return TC_ACT_OK;
	}
	if (ip.frag_off & bpf_htons(0x1fff) || bpf_skb_load_bytes(skb, l4, &p, sizeof(p)) < 0)
		return TC_ACT_OK;
	if (is_server(ip.daddr) && p.dest == bpf_htons(53))
		(void)set_port(skb, l4 + offsetof(struct ports, dest), csum, p.dest, bpf_htons(KEDGE_DNS_PORT), flags);
	else if (is_server(ip.saddr) && p.source == bpf_htons(KEDGE_DNS_PORT))
		(void)set_port(skb, l4 + offsetof(struct ports, source), csum, p.source, bpf_htons(53), flags);
	return TC_ACT_OK;
}
