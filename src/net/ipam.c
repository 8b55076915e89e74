/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ipam.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

/*
 * Theory of operation. A subnet is a bitmap with one bit an address, so that taking a wanted address, adopting one after a restart and
 * giving one back are the same bit. Large subnets are cut: a container host has no use for more than 2^16 addresses of one network,
 * and 2^16 bits are 8 KiB. Past that only the first 2^16 of the range can be handed out by the engine, wanted addresses beyond are
 * refused by name.
 */
enum { IPAM_BITS_MAX = 16 };

struct ipam {
	struct net_cidr subnet;
	struct in6_addr gateway;
	uint64_t first, last;		/* offsets the engine hands out by itself, inclusive */
	uint64_t size;			/* bits */
	uint64_t cursor;		/* looked at next */
	size_t used;
	uint64_t *taken, *reserved;
};

static bool bit(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *map, uint64_t i, bool v)
{
	if (v)
		map[i / 64] |= UINT64_C(1) << (i % 64);
	else
		map[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* Offset of a in the subnet; addresses past 2^64 of the base count as far away. */
static uint64_t offset(const struct ipam *m, const struct in6_addr *a)
{
	uint64_t r = 0;
	unsigned borrow = 0;

	for (int i = 15; i >= 0; i--) {
		int d = a->s6_addr[i] - m->subnet.addr.s6_addr[i] - (int)borrow;

		borrow = d < 0;
		if (i >= 8)
			r |= (uint64_t)(uint8_t)d << (8 * (15 - i));
		else if ((uint8_t)d)
			return UINT64_MAX;
	}
	return r;
}

static int reserve(struct ipam *m, const struct in6_addr *a, const char *what, struct err *e)
{
	char at[ADDR_TEXT], st[CIDR_TEXT];
	uint64_t o;

	if (!cidr_has(&m->subnet, a))
		return err_set(e, ERR_INVALID, "no matching subnet for %s %s: it is not in %s", what, addr_text(a, at), cidr_text(&m->subnet, st));
	o = offset(m, a);
	if (o < m->size)
		bit_set(m->reserved, o, true);
	return 0;
}

struct ipam *ipam_new(const struct ipam_spec *spec, struct err *e)
{
	struct ipam *m = mem_zalloc(sizeof(*m));
	unsigned host_bits = 128u - spec->subnet.prefix;
	bool v4 = addr_is4(&spec->subnet.addr);
	char st[CIDR_TEXT], rt[CIDR_TEXT];
	uint64_t words;

	m->subnet = cidr_base(&spec->subnet);
	if (v4 && host_bits < 1) {
		err_set(e, ERR_INVALID, "subnet %s has no room for a gateway and a container", cidr_text(&m->subnet, st));
		goto fail;
	}
	m->size = UINT64_C(1) << (host_bits > IPAM_BITS_MAX ? IPAM_BITS_MAX : host_bits);
	words = (m->size + 63) / 64;
	m->taken = mem_zalloc(words * 8);
	m->reserved = mem_zalloc(words * 8);
	/* The network's own and the broadcast address; a /31 has neither (RFC 3021). */
	if (host_bits > 1) {
		bit_set(m->reserved, 0, true);
		if (v4 && host_bits <= IPAM_BITS_MAX)
			bit_set(m->reserved, m->size - 1, true);
	}
	m->last = m->size - 1;
	if (spec->range) {
		struct net_cidr r = cidr_base(spec->range);
		struct in6_addr end = cidr_last(&r);

		if (r.prefix < m->subnet.prefix || !cidr_has(&m->subnet, &r.addr)) {
			err_set(e, ERR_INVALID, "ip-range %s is not in the subnet %s", cidr_text(&r, rt), cidr_text(&m->subnet, st));
			goto fail;
		}
		m->first = offset(m, &r.addr);
		m->last = offset(m, &end);
		if (m->first >= m->size) {
			err_set(e, ERR_INVALID, "ip-range %s lies past the first 65536 addresses of %s", cidr_text(&r, rt), cidr_text(&m->subnet, st));
			goto fail;
		}
		if (m->last >= m->size)
			m->last = m->size - 1;
	}
	m->cursor = m->first;
	for (size_t i = 0; i < spec->n_aux; i++)
		if (reserve(m, &spec->aux[i], "auxiliary address", e) < 0)
			goto fail;
	if (spec->gateway) {
		m->gateway = *spec->gateway;
	} else {
		uint64_t o = m->first;

		while (o <= m->last && bit(m->reserved, o))
			o++;
		m->gateway = addr_add(&m->subnet.addr, o);
	}
	if (reserve(m, &m->gateway, "gateway", e) < 0)
		goto fail;
	return m;
fail:
	ipam_free(m);
	return NULL;
}

void ipam_free(struct ipam *m)
{
	if (!m)
		return;
	free(m->taken);
	free(m->reserved);
	free(m);
}

const struct net_cidr *ipam_subnet(const struct ipam *m)
{
	return &m->subnet;
}

const struct in6_addr *ipam_gateway(const struct ipam *m)
{
	return &m->gateway;
}

int ipam_take(struct ipam *m, struct in6_addr *ret, struct err *e)
{
	uint64_t n = m->last - m->first + 1;
	char st[CIDR_TEXT];

	for (uint64_t i = 0; i < n; i++) {
		uint64_t o = m->cursor;

		m->cursor = o == m->last ? m->first : o + 1;
		if (bit(m->taken, o) || bit(m->reserved, o))
			continue;
		bit_set(m->taken, o, true);
		m->used++;
		*ret = addr_add(&m->subnet.addr, o);
		return 0;
	}
	return err_set(e, ERR_UNAVAILABLE, "no available IPv4 addresses on this network's address pools: all of %s are in use",
		       cidr_text(&m->subnet, st));
}

int ipam_take_addr(struct ipam *m, const struct in6_addr *a, struct err *e)
{
	char at[ADDR_TEXT], st[CIDR_TEXT];
	uint64_t o;

	if (!cidr_has(&m->subnet, a))
		return err_set(e, ERR_INVALID, "Invalid address %s: It does not belong to any of this network's subnets (%s)", addr_text(a, at),
			       cidr_text(&m->subnet, st));
	o = offset(m, a);
	if (o >= m->size)
		return err_set(e, ERR_INVALID, "address %s lies past the first 65536 of %s", addr_text(a, at), cidr_text(&m->subnet, st));
	if (bit(m->reserved, o))
		return err_set(e, ERR_FORBIDDEN, "address %s is reserved on %s (gateway, network or auxiliary address)", addr_text(a, at),
			       cidr_text(&m->subnet, st));
	if (bit(m->taken, o))
		return err_set(e, ERR_FORBIDDEN, "Address already in use: %s", addr_text(a, at));
	bit_set(m->taken, o, true);
	m->used++;
	return 0;
}

void ipam_give(struct ipam *m, const struct in6_addr *a)
{
	uint64_t o;

	if (!cidr_has(&m->subnet, a))
		return;
	o = offset(m, a);
	if (o >= m->size || !bit(m->taken, o))
		return;
	bit_set(m->taken, o, false);
	m->used--;
}

size_t ipam_used(const struct ipam *m)
{
	return m->used;
}

static bool is_free(const struct net_cidr *c, const struct net_cidr *taken, size_t n)
{
	for (size_t i = 0; i < n; i++)
		/* A default route covers everything and says nothing. */
		if (cidr_len(&taken[i]) && cidr_overlap(c, &taken[i]))
			return false;
	return true;
}

int ipam_pool_pick(const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e)
{
	for (uint32_t i = 17; i < 32; i++) {
		struct net_cidr c = { .addr = addr_of4(UINT32_C(172) << 24 | i << 16), .prefix = 96 + 16 };

		if (is_free(&c, taken, n)) {
			*ret = c;
			return 0;
		}
	}
	for (uint32_t i = 0; i < 16; i++) {
		struct net_cidr c = { .addr = addr_of4(UINT32_C(192) << 24 | UINT32_C(168) << 16 | i << 12), .prefix = 96 + 20 };

		if (is_free(&c, taken, n)) {
			*ret = c;
			return 0;
		}
	}
	return err_set(e, ERR_UNAVAILABLE,
		       "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network: "
		       "all of 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16 overlap routes of the host or other networks");
}
