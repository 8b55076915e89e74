/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Never ends, so the verifier refuses it: `kedge net attach` shows its words. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int endless(struct __sk_buff *skb)
{
	for (;;)
		asm volatile("" ::: "memory");
	return 0;
}
