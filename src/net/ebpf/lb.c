/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several backends behind one port. A set is a numbered table of slots; the published port names the number. A new set is written under a new number
 * first, then the port is pointed at it, then the old table goes: whoever looks meanwhile finds one of the two, whole.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/ebpf/ebpf_priv.h"
#include "net/maglev.h"

static struct kedge_publish_key key_of(const struct dp_lb *lb)
{
	return (struct kedge_publish_key){ .addr = to_addr(&lb->addr), .port = htons(lb->port), .proto = lb->proto };
}

static void table_del_all(struct datapath *d, uint32_t lb)
{
	for (uint32_t i = 0; lb && i < KEDGE_LB_SLOTS; i++) {
		struct kedge_lb_key k = { .lb = lb, .slot = i };

		(void)table_del(d, d->dp->maps.lb_slots, &k);
	}
}

/* A number no table has: they outlive the engine. */
static uint32_t number_new(struct datapath *d)
{
	struct kedge_backend b;
	struct kedge_lb_key k;

	do {
		k = (struct kedge_lb_key){ .lb = ++d->lb_last };
	} while (!k.lb || bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.lb_slots), &k, &b) == 0);
	return k.lb;
}

static int table_write(struct datapath *d, uint32_t lb, const struct dp_backend *b, size_t n, struct err *e)
{
	CLEANUP(mem_freep) struct maglev *m = mem_zalloc((n ? n : 1) * sizeof(*m));
	uint16_t slot[KEDGE_LB_SLOTS];

	for (size_t i = 0; i < n; i++) {
		struct { struct in6_addr addr; uint16_t port; } name = { b[i].addr, b[i].port };

		m[i] = (struct maglev){ .key = maglev_key(&name, sizeof(name)), .weight = b[i].weight };
	}
	maglev_fill(m, n, slot, KEDGE_LB_SLOTS);
	for (uint32_t i = 0; i < KEDGE_LB_SLOTS; i++) {
		struct kedge_lb_key k = { .lb = lb, .slot = i };
		struct kedge_backend v = { 0 };

		/* An empty slot names no endpoint; it has to be there all the same, for number_new(). */
		if (slot[i] != MAGLEV_NONE)
			v = (struct kedge_backend){ .addr = to_addr(&b[slot[i]].addr), .generation = b[slot[i]].generation, .port = htons(b[slot[i]].port) };
		if (table_put(d, d->dp->maps.lb_slots, &k, &v, e) < 0)
			return -1;
	}
	return 0;
}

int ebpf_lb_set(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e)
{
	struct kedge_publish_key k = key_of(lb);
	struct kedge_publish v = { .lb = number_new(d), .first = k.port, .flags = lb->affinity ? KEDGE_PUBLISH_AFFINITY : 0 }, old = { 0 };

	(void)bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.published), &k, &old);
	if (table_write(d, v.lb, b, n, e) < 0 || table_put(d, d->dp->maps.published, &k, &v, e) < 0) {
		table_del_all(d, v.lb);
		return -1;
	}
	table_del_all(d, old.lb);
	return 0;
}

int ebpf_lb_del(struct datapath *d, const struct dp_lb *lb)
{
	struct kedge_publish_key k = key_of(lb);
	struct kedge_publish old = { 0 };
	int r;

	(void)bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.published), &k, &old);
	r = table_del(d, d->dp->maps.published, &k);
	table_del_all(d, old.lb);
	return r;
}
