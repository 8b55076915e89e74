/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Drops IPv4 TCP segments to port 80 of a container:
 *
 *   clang -target bpf -O2 -g -isystem /usr/include/$(gcc -dumpmachine) -c drop_port.bpf.c -o drop_port.o
 *   kedge net attach web ingress drop_port.o
 *   kedge net detach web ingress
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int drop_port(struct __sk_buff *skb)
{
	__u16 port;
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0 || ip.protocol != IPPROTO_TCP)
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4 + 2, &port, sizeof(port)) < 0)
		return TC_ACT_OK;
	return port == bpf_htons(80) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int pass(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}
