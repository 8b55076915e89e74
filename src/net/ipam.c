/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ipam.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/*
 * Theory of operation. What the engine hands out by itself is a window: the range, or the subnet, cut to its first 2^16 addresses (a container host
 * has no use for more of one network). The window is a bitmap with one bit an address, 8 KiB at most, so that taking a wanted address, adopting
 * one after a restart and giving one back are the same bit. Wanted and reserved addresses outside of it, which people write by hand, are kept in a list.
 */
enum { IPAM_BITS_MAX = 16 };

struct ipam {
	struct net_cidr subnet;
	struct in6_addr gateway;
	struct in6_addr base;		/* of the window */
	uint64_t size;			/* of the window */
	uint64_t cursor;		/* looked at next */
	size_t used;
	uint64_t *taken, *reserved;
	struct far {
		struct in6_addr addr;
		bool reserved;
	} *far;
	size_t n_far;
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

/* Place of a in the window; at least m->size when it lies outside. */
static uint64_t offset(const struct ipam *m, const struct in6_addr *a)
{
	uint64_t r = 0;
	unsigned borrow = 0;

	for (int i = 15; i >= 0; i--) {
		int d = a->s6_addr[i] - m->base.s6_addr[i] - (int)borrow;

		borrow = d < 0;
		if (i >= 8)
			r |= (uint64_t)(uint8_t)d << (8 * (15 - i));
		else if ((uint8_t)d)
			return UINT64_MAX;
	}
	return borrow ? UINT64_MAX : r;
}

static struct far *far_find(const struct ipam *m, const struct in6_addr *a)
{
	for (size_t i = 0; i < m->n_far; i++)
		if (addr_eq(&m->far[i].addr, a))
			return &m->far[i];
	return NULL;
}

static void far_add(struct ipam *m, const struct in6_addr *a, bool reserved)
{
	m->far = mem_realloc(m->far, (m->n_far + 1) * sizeof(*m->far));
	m->far[m->n_far++] = (struct far){ .addr = *a, .reserved = reserved };
}

static bool is_reserved(const struct ipam *m, const struct in6_addr *a)
{
	uint64_t o = offset(m, a);
	const struct far *f;

	if (o < m->size)
		return bit(m->reserved, o);
	f = far_find(m, a);
	return f && f->reserved;
}

static void reserve(struct ipam *m, const struct in6_addr *a)
{
	uint64_t o = offset(m, a);

	if (o < m->size)
		bit_set(m->reserved, o, true);
	else if (!far_find(m, a))
		far_add(m, a, true);
}

static int reserve_named(struct ipam *m, const struct in6_addr *a, const char *what, struct err *e)
{
	char at[ADDR_TEXT], st[CIDR_TEXT];

	if (!cidr_has(&m->subnet, a))
		return err_set(e, ERR_INVALID, "no matching subnet for %s %s: it is not in %s", what, addr_text(a, at), cidr_text(&m->subnet, st));
	reserve(m, a);
	return 0;
}

static int window(struct ipam *m, const struct net_cidr *range, struct err *e)
{
	struct net_cidr w = range ? cidr_base(range) : m->subnet;
	unsigned host_bits = 128u - w.prefix;
	char st[CIDR_TEXT], rt[CIDR_TEXT];

	if (w.prefix < m->subnet.prefix || !cidr_has(&m->subnet, &w.addr))
		return err_set(e, ERR_INVALID, "ip-range %s is not in the subnet %s", cidr_text(&w, rt), cidr_text(&m->subnet, st));
	m->base = w.addr;
	m->size = UINT64_C(1) << (host_bits > IPAM_BITS_MAX ? IPAM_BITS_MAX : host_bits);
	m->taken = mem_zalloc((m->size + 63) / 64 * 8);
	m->reserved = mem_zalloc((m->size + 63) / 64 * 8);
	return 0;
}

struct ipam *ipam_new(const struct ipam_spec *spec, struct err *e)
{
	struct ipam *m = mem_zalloc(sizeof(*m));
	unsigned host_bits = 128u - spec->subnet.prefix;
	bool v4 = addr_is4(&spec->subnet.addr);
	char st[CIDR_TEXT];

	m->subnet = cidr_base(&spec->subnet);
	if (host_bits < 1) {
		err_set(e, ERR_INVALID, "subnet %s has no room for a gateway and a container", cidr_text(&m->subnet, st));
		goto fail;
	}
	if (window(m, spec->range, e) < 0)
		goto fail;
	/* The network's own (IPv6: the routers' anycast, RFC 4291 2.6.1) and the broadcast address; a /31 and a /127 have neither (RFC 3021, RFC 6164). */
	if (host_bits > 1) {
		struct in6_addr last = cidr_last(&m->subnet);

		reserve(m, &m->subnet.addr);
		if (v4)
			reserve(m, &last);
	}
	for (size_t i = 0; i < spec->n_aux; i++)
		if (reserve_named(m, &spec->aux[i], "auxiliary address", e) < 0)
			goto fail;
	if (spec->gateway) {
		m->gateway = *spec->gateway;
	} else {
		uint64_t o = 0;

		while (o < m->size && bit(m->reserved, o))
			o++;
		m->gateway = addr_add(&m->base, o);
	}
	if (reserve_named(m, &m->gateway, "gateway", e) < 0)
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
	free(m->far);
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
	char st[CIDR_TEXT];

	for (uint64_t i = 0; i < m->size; i++) {
		uint64_t o = m->cursor;

		m->cursor = o + 1 == m->size ? 0 : o + 1;
		if (bit(m->taken, o) || bit(m->reserved, o))
			continue;
		bit_set(m->taken, o, true);
		m->used++;
		*ret = addr_add(&m->base, o);
		return 0;
	}
	return err_set(e, ERR_UNAVAILABLE, "no available %s addresses on this network's address pools: all of %s are in use",
		       addr_is4(&m->subnet.addr) ? "IPv4" : "IPv6", cidr_text(&m->subnet, st));
}

int ipam_take_addr(struct ipam *m, const struct in6_addr *a, struct err *e)
{
	char at[ADDR_TEXT], st[CIDR_TEXT];
	uint64_t o;

	if (!cidr_has(&m->subnet, a))
		return err_set(e, ERR_INVALID, "Invalid address %s: It does not belong to any of this network's subnets (%s)", addr_text(a, at),
			       cidr_text(&m->subnet, st));
	if (is_reserved(m, a))
		return err_set(e, ERR_FORBIDDEN, "address %s is reserved on %s (gateway, network or auxiliary address)", addr_text(a, at),
			       cidr_text(&m->subnet, st));
	o = offset(m, a);
	if (o < m->size ? bit(m->taken, o) : far_find(m, a) != NULL)
		return err_set(e, ERR_FORBIDDEN, "Address already in use: %s", addr_text(a, at));
	if (o < m->size)
		bit_set(m->taken, o, true);
	else
		far_add(m, a, false);
	m->used++;
	return 0;
}

void ipam_give(struct ipam *m, const struct in6_addr *a)
{
	uint64_t o = offset(m, a);
	struct far *f;

	if (o < m->size) {
		if (!bit(m->taken, o))
			return;
		bit_set(m->taken, o, false);
	} else {
		f = far_find(m, a);
		if (!f || f->reserved)
			return;
		*f = m->far[--m->n_far];
	}
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

int ipam_pool_pick6(const struct net_cidr *ula, const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e)
{
	char text[CIDR_TEXT];

	for (uint32_t i = 0; i < 65536; i++) {
		struct net_cidr c = { .addr = ula->addr, .prefix = 64 };

		c.addr.s6_addr[6] = (uint8_t)(i >> 8);
		c.addr.s6_addr[7] = (uint8_t)i;
		if (is_free(&c, taken, n)) {
			*ret = c;
			return 0;
		}
	}
	return err_set(e, ERR_UNAVAILABLE, "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network: "
		       "all of %s is taken", cidr_text(ula, text));
}

int ipam_default_parse(const char *text, struct ipam_default *ret, struct err *e)
{
	char **fields CLEANUP(strv_freep) = str_split(text, ',');
	struct ipam_default d = { 0 };
	const char *base = "", *size = "";
	struct net_cidr b;
	uint64_t len;

	for (size_t i = 0; fields[i]; i++) {
		if (str_starts(fields[i], "base="))
			base = fields[i] + strlen("base=");
		else if (str_starts(fields[i], "size="))
			size = fields[i] + strlen("size=");
		else
			return err_set(e, ERR_INVALID, "default address pool '%.100s': '%.32s' is neither base=SUBNET nor size=LENGTH", text, fields[i]);
	}
	if (cidr_parse(base, &d.base) < 0)
		return err_set(e, ERR_INVALID, "default address pool '%.100s': the base is not a subnet like 10.10.0.0/16", text);
	b = cidr_base(&d.base);
	if (!addr_eq(&b.addr, &d.base.addr))
		return err_set(e, ERR_INVALID, "default address pool '%.100s': the base has bits set past its length", text);
	if (str_to_u64(size, cidr_len(&d.base), addr_is4(&d.base.addr) ? 30 : 126, &len) < 0)
		return err_set(e, ERR_INVALID, "default address pool '%.100s': the size is not a length from %u to %d", text, cidr_len(&d.base),
			       addr_is4(&d.base.addr) ? 30 : 126);
	d.size = (uint8_t)(addr_is4(&d.base.addr) ? len + 96 : len);
	*ret = d;
	return 0;
}

/* The i-th subnet of d. */
static struct net_cidr cut(const struct ipam_default *d, uint32_t i)
{
	struct net_cidr c = { .addr = d->base.addr, .prefix = d->size };

	for (unsigned bit = 0; bit < 32; bit++)
		if (i >> bit & 1) {
			unsigned at = d->size - 1u - bit;

			c.addr.s6_addr[at / 8] |= (uint8_t)(0x80 >> at % 8);
		}
	return c;
}

/* Of one pool so many are looked at: more networks there will not be. */
enum { CUTS_MAX = 65536 };

int ipam_default_pick(const struct ipam_default *d, size_t n_d, bool v6, const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e)
{
	bool any = false;

	for (size_t k = 0; k < n_d; k++) {
		unsigned bits = (unsigned)(d[k].size - d[k].base.prefix);
		uint32_t count = bits >= 16 ? CUTS_MAX : UINT32_C(1) << bits;

		if (addr_is4(&d[k].base.addr) == v6)
			continue;
		any = true;
		for (uint32_t i = 0; i < count; i++) {
			struct net_cidr c = cut(&d[k], i);

			if (is_free(&c, taken, n)) {
				*ret = c;
				return 0;
			}
		}
	}
	return any ? err_set(e, ERR_UNAVAILABLE, "could not find an available, non-overlapping %s address pool among the defaults to assign to the network: "
			     "all of the configured default-address-pools overlap routes of the host or other networks", v6 ? "IPv6" : "IPv4") : 1;
}
