/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expiry of flows. No timer runs while there are none: the program that makes the first flow rings a bell (a ring buffer's
 * descriptor on the loop), sweeping goes on until the table is empty, then the bell is armed again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "net/ebpf/ebpf_priv.h"

#define SECOND 1000000000ull
#define PERIOD_NS (20 * SECOND)
enum { PIECE = 1024 };

static uint64_t timeout_of(uint8_t proto, uint8_t flags)
{
	if (proto == IPPROTO_TCP || proto == IPPROTO_SCTP) {
		if (flags & KEDGE_CT_RST)
			return 10 * SECOND;
		if (flags & KEDGE_CT_FIN)
			return 60 * SECOND;
		/* Longer than RFC 5382 asks for (2 h 4 min): idle ssh sessions are to see the next day. Until its sender has gone on, it may be a flood. */
		return flags & KEDGE_CT_REPLIED && flags & KEDGE_CT_CONFIRMED ? 5 * 86400 * SECOND : 120 * SECOND;
	}
	if (proto == IPPROTO_UDP)
		return flags & KEDGE_CT_REPLIED ? 180 * SECOND : 30 * SECOND;
	return 30 * SECOND;
}

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* As ct_peer() of bpf/lib/nat.h. */
void ct_peer_of(const struct kedge_tuple *t, const struct kedge_ct *c, struct kedge_tuple *o)
{
	memset(o, 0, sizeof(*o));
	o->proto = t->proto;
	if (c->xlate == KEDGE_XLATE_DST) {
		o->saddr = c->addr;
		o->daddr = t->saddr;
		o->sport = c->port;
		o->dport = is_icmp(t->proto) ? c->port : t->sport;
	} else {
		o->saddr = t->daddr;
		o->daddr = c->addr;
		o->sport = is_icmp(t->proto) ? c->port : t->dport;
		o->dport = c->port;
	}
}

int ct_lookup(const struct datapath *d, const struct kedge_tuple *t, struct kedge_ct *ret)
{
	int r = bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.ct), t, ret);

	return r < 0 ? bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.young), t, ret) : r;
}

void ct_delete(const struct datapath *d, const struct kedge_tuple *t)
{
	(void)bpf_map_delete_elem(bpf_map__fd(d->dp->maps.ct), t);
	(void)bpf_map_delete_elem(bpf_map__fd(d->dp->maps.young), t);
}

static bool expired(struct datapath *d, const struct kedge_tuple *t, const struct kedge_ct *c, const struct kedge_tuple *peer, uint64_t now)
{
	const struct kedge_addr *container = c->xlate == KEDGE_XLATE_DST ? &c->addr : &t->saddr;
	struct kedge_endpoint ep;
	struct kedge_ct o;
	uint64_t seen = c->seen;
	uint8_t flags = c->flags;

	if (bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.endpoints), container, &ep) < 0 || ep.generation != c->generation)
		return true;
	if (ct_lookup(d, peer, &o) == 0) {
		if (o.seen > seen)
			seen = o.seen;
		/* One side's FIN leaves the other its time: a half-closed connection may go on for hours. */
		flags = (uint8_t)((flags & o.flags & KEDGE_CT_FIN) | ((flags | o.flags) & (KEDGE_CT_RST | KEDGE_CT_REPLIED)) |
				  ((flags & KEDGE_CT_ORIGIN ? flags : o.flags) & KEDGE_CT_CONFIRMED));
	}
	return now > seen && now - seen > timeout_of(t->proto, flags);
}

static void arm(struct datapath *d, uint32_t armed)
{
	__atomic_store_n(&d->control->armed, armed, __ATOMIC_SEQ_CST);
}

static bool no_flows(const struct datapath *d)
{
	struct kedge_tuple first;

	return bpf_map_get_next_key(bpf_map__fd(d->dp->maps.ct), NULL, &first) < 0 && bpf_map_get_next_key(bpf_map__fd(d->dp->maps.young), NULL, &first) < 0;
}

/* The next entry, of one table and then of the other. */
static bool next_flow(struct datapath *d, struct kedge_tuple *ret)
{
	for (; ; d->young = true, d->sweeping = false) {
		if (bpf_map_get_next_key(bpf_map__fd(d->young ? d->dp->maps.young : d->dp->maps.ct), d->sweeping ? &d->cursor : NULL, ret) == 0)
			return true;
		if (d->young)
			return false;
	}
}

static void on_timer(void *user)
{
	struct datapath *d = user;
	struct kedge_tuple next, peer;
	struct timespec ts;
	struct kedge_ct c;
	uint64_t now;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
	for (int i = 0; i < PIECE; i++) {
		if (!next_flow(d, &next)) {
			/* Through. Nothing left: back to sleep, the bell armed before the last look. */
			d->flows = d->counting;
			d->counting = 0;
			d->sweeping = d->young = false;
			if (d->flows == 0) {
				arm(d, 0);
				if (no_flows(d))
					return;
				arm(d, 1);
			}
			loop_timer_set(d->timer, PERIOD_NS);
			return;
		}
		if (ct_lookup(d, &next, &c) == 0) {
			ct_peer_of(&next, &c, &peer);
			if (expired(d, &next, &c, &peer, now)) {
				ct_delete(d, &next);
				ct_delete(d, &peer);
				/* The cursor stays where it was, or before the first: its successor is now another one. */
				continue;
			}
			d->counting++;
		}
		d->cursor = next;
		d->sweeping = true;
	}
	loop_timer_set(d->timer, 1000000);	/* a long table in pieces, others' events in between */
}

static int on_ring(void *user, void *p, size_t n)
{
	struct datapath *d = user;

	(void)p;
	(void)n;
	loop_timer_set(d->timer, PERIOD_NS);
	return 0;
}

static void on_bell(void *user, unsigned events)
{
	struct datapath *d = user;

	(void)events;
	(void)ring_buffer__consume(d->wakeups);
}

void sweep_open(struct datapath *d)
{
	d->timer = loop_timer_new(d->l, on_timer, d);
	d->wakeups = ring_buffer__new(bpf_map__fd(d->dp->maps.wakeups), on_ring, d, NULL);
	if (d->wakeups)
		d->wake_io = loop_io_new(d->l, ring_buffer__epoll_fd(d->wakeups), LOOP_READ, on_bell, d);
	else
		log_warn("ebpf", "no ring buffer: flows are swept by the clock");
	if (!d->wakeups || !no_flows(d)) {
		arm(d, 1);
		loop_timer_set(d->timer, PERIOD_NS);
	} else {
		arm(d, 0);
	}
}

void sweep_close(struct datapath *d)
{
	loop_io_free(d->wake_io);
	ring_buffer__free(d->wakeups);
	loop_timer_free(d->timer);
}
