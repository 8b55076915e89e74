/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports. One port is one entry of the table `published`. A range is cut into aligned blocks of ports, as a range of addresses is cut into
 * prefixes, for the table `ranges`: ten thousand ports are some twenty entries. All blocks of a range say the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "net/ebpf/ebpf_priv.h"

static bool is_any(const struct in6_addr *a)
{
	static const struct in6_addr any4 = { .s6_addr = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };

	return IN6_IS_ADDR_UNSPECIFIED(a) || IN6_ARE_ADDR_EQUAL(a, &any4);
}

/* False: the endpoint is of the other family, which the proxy bridges. */
static bool host_addr(const struct dp_publish *p, struct kedge_addr *ret)
{
	bool v6 = !IN6_IS_ADDR_V4MAPPED(&p->addr);

	*ret = to_addr(&p->host_addr);
	if (is_any(&p->host_addr))
		ret->w[2] = v6 ? 0 : htonl(0xffff);
	else if (IN6_IS_ADDR_V4MAPPED(&p->host_addr) == v6)
		return false;
	return true;
}

/* The largest aligned block that begins at from and does not go past end: its number of free bits. */
static unsigned block_bits(uint32_t from, uint32_t end)
{
	unsigned bits = 0;

	while (bits < 16 && !(from & ((2u << bits) - 1)) && from + (2u << bits) <= end)
		bits++;
	return bits;
}

/* Nobody looks into an empty table of ranges. */
void publish_ranges_known(struct datapath *d)
{
	struct kedge_range_key first;

	__atomic_store_n(&d->control->ranges, bpf_map_get_next_key(bpf_map__fd(d->dp->maps.ranges), NULL, &first) == 0, __ATOMIC_SEQ_CST);
}

int ebpf_guard_set(struct datapath *d, bool on, struct err *e)
{
	(void)e;
	__atomic_store_n(&d->control->guarded, on, __ATOMIC_SEQ_CST);
	return 0;
}

static bool same_range(const struct listener *l, const struct dp_publish *p)
{
	return l->used && l->proto == p->proto && l->port == p->host_port && IN6_ARE_ADDR_EQUAL(&l->addr, &p->host_addr);
}

/* The place of the range's socket in the table of listeners; 0: there is none. */
static uint16_t listener_set(struct datapath *d, const struct dp_publish *p)
{
	uint32_t i, at = 0;
	uint64_t fd = (uint64_t)p->listener;

	if (!d->ports || p->listener < 0)
		return 0;
	if (!d->listeners)
		d->listeners = mem_zalloc(KEDGE_LISTENERS_MAX * sizeof(*d->listeners));
	for (i = 1; i < KEDGE_LISTENERS_MAX; i++) {
		if (same_range(&d->listeners[i], p))
			break;
		if (!d->listeners[i].used && !at)
			at = i;
	}
	if (i < KEDGE_LISTENERS_MAX)
		at = i;
	if (!at || bpf_map_update_elem(bpf_map__fd(d->dp->maps.listeners), &at, &fd, BPF_ANY) < 0)
		return 0;
	d->listeners[at] = (struct listener){ .used = true, .proto = p->proto, .port = p->host_port, .addr = p->host_addr };
	return (uint16_t)at;
}

static void listener_del(struct datapath *d, const struct dp_publish *p)
{
	for (uint32_t i = 1; d->listeners && i < KEDGE_LISTENERS_MAX; i++)
		if (same_range(&d->listeners[i], p)) {
			(void)bpf_map_delete_elem(bpf_map__fd(d->dp->maps.listeners), &i);	/* gone when its socket is */
			d->listeners[i].used = false;
		}
}

static int range_set(struct datapath *d, const struct dp_publish *p, struct kedge_publish *v, const struct kedge_addr *addr, struct err *e)
{
	uint32_t end = (uint32_t)p->host_port + p->count;

	v->flags |= KEDGE_PUBLISH_RANGE;
	v->listener = listener_set(d, p);
	for (uint32_t from = p->host_port, bits; from < end; from += 1u << bits) {
		struct kedge_range_key k = { .addr = *addr, .proto = p->proto, .port = htons((uint16_t)from) };

		bits = block_bits(from, end);
		k.prefix = 160 - bits;
		if (table_put(d, d->dp->maps.ranges, &k, v, e) < 0)
			return -1;
	}
	publish_ranges_known(d);
	return 0;
}

/* A container's lists are one, named by its generation, which is nobody else's. */
static int sources_set(struct datapath *d, const struct dp_publish *p, struct kedge_publish *v, struct err *e)
{
	uint32_t one = 1;

	if (p->guarded)
		v->flags |= KEDGE_PUBLISH_GUARDED;
	if (p->trusted)
		v->flags |= KEDGE_PUBLISH_TRUSTED;
	if (!p->n_sources)
		return 0;
	v->sources = p->generation;
	for (size_t i = 0; i < p->n_sources; i++) {
		struct kedge_source_key k = { .prefix = 32u + p->sources[i].prefix, .list = p->generation, .addr = to_addr(&p->sources[i].addr) };

		if (table_put(d, d->dp->maps.source_lists, &k, &one, e) < 0)
			return -1;
	}
	return 0;
}

void publish_sources_del(struct datapath *d, uint32_t generation)
{
	int fd = bpf_map__fd(d->dp->maps.source_lists);
	struct kedge_source_key k, next, *at = NULL;
	bool any = false;

	while (bpf_map_get_next_key(fd, at, &next) == 0) {
		if (next.list == generation) {
			any = true;
			(void)table_del(d, d->dp->maps.source_lists, &next);
			at = NULL;	/* from the front: the trie has changed */
			continue;
		}
		k = next;
		at = &k;
	}
	if (any)
		xdp_relist(d->xdp);	/* its ports have gone before */
}

int ebpf_publish_set(struct datapath *d, const struct dp_publish *p, struct err *e)
{
	struct kedge_publish v = { .addr = to_addr(&p->addr), .generation = p->generation, .first = htons(p->host_port), .port = htons(p->port) };
	struct kedge_publish_key k = { .port = htons(p->host_port), .proto = p->proto };

	if (!host_addr(p, &k.addr))
		return 0;
	if (sources_set(d, p, &v, e) < 0 || (p->count > 1 ? range_set(d, p, &v, &k.addr, e) : table_put(d, d->dp->maps.published, &k, &v, e)) < 0)
		return -1;
	if (v.sources)
		xdp_listed(d->xdp, p->host_port, p->count);
	return 0;
}

int ebpf_publish_del(struct datapath *d, const struct dp_publish *p)
{
	struct kedge_publish_key k = { .port = htons(p->host_port), .proto = p->proto };
	uint32_t end = (uint32_t)p->host_port + p->count;

	if (!host_addr(p, &k.addr))
		return 0;
	if (p->count <= 1)
		return table_del(d, d->dp->maps.published, &k);
	for (uint32_t from = p->host_port, bits; from < end; from += 1u << bits) {
		struct kedge_range_key r = { .addr = k.addr, .proto = p->proto, .port = htons((uint16_t)from) };

		bits = block_bits(from, end);
		r.prefix = 160 - bits;
		(void)table_del(d, d->dp->maps.ranges, &r);
	}
	listener_del(d, p);
	publish_ranges_known(d);
	return 0;
}

bool ebpf_holds_ranges(const struct datapath *d)
{
	return d->ports != NULL;
}
