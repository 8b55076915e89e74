/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts what a container receives, per CPU: `bpftool map dump name packets` shows it. Attached like drop_port.bpf.c. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp")
int xdp_count(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&packets, &zero);

	if (n)
		(*n)++;
	return XDP_PASS;
}
