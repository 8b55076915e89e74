/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_MAPS_H
#define KEDGE_BPF_MAPS_H

#include "lib/packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEDGE_CT_MAX);
	__type(key, struct kedge_tuple);
	__type(value, struct kedge_ct);
} ct SEC(".maps");

struct {				/* flows that nobody has confirmed: see nat.h */
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEDGE_YOUNG_MAX);
	__type(key, struct kedge_tuple);
	__type(value, struct kedge_ct);
} young SEC(".maps");

struct {				/* no state: what the tables have said before */
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEDGE_TO_HOST_MAX);
	__type(key, struct kedge_tuple);
	__type(value, struct kedge_to_host);
} to_host SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_addr);
	__type(value, struct kedge_endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_publish_key);
	__type(value, struct kedge_publish);
} published SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_range_key);
	__type(value, struct kedge_publish);
} ranges SEC(".maps");

struct {				/* the proxy's listening sockets for ranges; they go with the engine */
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, KEDGE_LISTENERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256 * KEDGE_LB_SLOTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_lb_key);
	__type(value, struct kedge_backend);
} lb_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_source_key);
	__type(value, __u32);
} source_lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_net_key);
	__type(value, struct kedge_net);
} nets SEC(".maps");

struct {				/* veths whose containers have link-local IPv4 addresses: these are no keys, another network may have the same */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct kedge_endpoint);
} link_locals SEC(".maps");

struct {				/* uplinks that networks trust */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_trust);
	__type(value, __u32);
} trusted SEC(".maps");

struct {				/* the host's addresses -> interface */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_addr);
	__type(value, __u32);
} locals SEC(".maps");

struct {				/* interface -> source address of what leaves there */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct kedge_source_addr_key);
	__type(value, struct kedge_addr);
} sources SEC(".maps");

struct {				/* Ethernet devices the host's routes may name */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} ethers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEDGE_FRAG_MAX);
	__type(key, struct kedge_frag_key);
	__type(value, struct kedge_frag);
} frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KEDGE_LOCAL_MAX);
	__type(key, struct kedge_local_key);
	__type(value, struct kedge_local);
} local_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KEDGE_DROP_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KEDGE_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct kedge_control);
} control SEC(".maps");

struct {				/* wakes the engine: flows exist, sweep */
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} wakeups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kedge_budget);
} budget SEC(".maps");

struct {				/* struct kedge_event; full: the event is lost, the counter is not */
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/*
 * 0 or a negative error. Before Linux 6.4 the verifier calls a map's own function, which returns an int, where the helper promises a long: the
 * upper half is anything, and compared as a long no error is ever below 0.
 */
INLINE int map_put(void *map, const void *key, const void *value, __u64 flags)
{
	return (int)bpf_map_update_elem(map, key, value, flags);
}

INLINE void count(enum kedge_counter what, __u64 by)
{
	__u32 i = what;
	__u64 *n = bpf_map_lookup_elem(&counters, &i);

	if (n)
		*n += by;
}

INLINE struct kedge_control *control_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

/* To be read before the tables whose answer is to be remembered. */
INLINE __u32 epoch_now(void)
{
	struct kedge_control *c = control_get();

	return c ? *(volatile __u32 *)&c->epoch : 0;
}

/* May another event be told? If not it counts, and the next one says so. Races between processors blur the limit, no more. */
INLINE bool event_due(struct kedge_budget *b, __u64 now)
{
	if (now - b->second > 1000000000ull) {
		b->second = now;
		b->events = 0;
	}
	if (b->events >= KEDGE_EVENTS_MAX) {
		__sync_fetch_and_add(&b->suppressed, 1);
		return false;
	}
	__sync_fetch_and_add(&b->events, 1);
	return true;
}

/*
 * at: the interface in the upper half, the length in the lower one; what: the hook times 256 and the reason. More arguments would be kept on the stack, of
 * which the callers have left little: 512 bytes together.
 */
static __attribute__((noinline)) void event_tell(__u64 at, const struct packet *p, __u32 what)
{
	struct kedge_budget *b;
	struct kedge_event *ev;
	__u32 zero = 0;

	b = bpf_map_lookup_elem(&budget, &zero);
	if (!b || !event_due(b, bpf_ktime_get_boot_ns()))
		return;
	ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);
	if (!ev) {
		__sync_fetch_and_add(&b->suppressed, 1);
		return;
	}
	ev->at = bpf_ktime_get_boot_ns();
	ev->ifindex = (__u32)(at >> 32);
	ev->len = (__u32)at;
	barrier_var(ev);		/* else much of the tuple is held on the stack on its way */
	ev->t = p->t;
	barrier_var(ev);
	ev->hook = (__u8)(what >> 8);
	ev->reason = (__u8)what;
	ev->tcp_flags = p->tcp_flags;
	ev->icmp_type = p->icmp_type;
	ev->suppressed = b->suppressed;
	b->suppressed = 0;
	bpf_ringbuf_submit(ev, 0);
}

/* p may be half filled. len: of the whole packet. */
INLINE void drop_note(__u32 ifindex, __u32 len, const struct packet *p, enum kedge_hook hook, enum kedge_drop why)
{
	struct kedge_control *c = control_get();
	__u32 i = why;
	__u64 *n = bpf_map_lookup_elem(&drops, &i);

	if (n)
		(*n)++;
	if (c && c->listeners)
		event_tell((__u64)ifindex << 32 | len, p, (__u32)hook << 8 | why);
}

INLINE int drop(struct __sk_buff *skb, const struct packet *p, enum kedge_hook hook, enum kedge_drop why)
{
	drop_note(skb->ifindex, skb->len, p, hook, why);
	return TC_ACT_SHOT;
}

INLINE void wake_sweeper(void)
{
	struct kedge_control *c = control_get();
	__u32 one = 1;

	if (c && !c->armed) {
		c->armed = 1;
		bpf_ringbuf_output(&wakeups, &one, sizeof(one), 0);
	}
}

#endif
