/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

struct in6_addr addr_of4(uint32_t host_order)
{
	struct in6_addr a = { 0 };
	uint32_t be = htonl(host_order);

	a.s6_addr[10] = a.s6_addr[11] = 0xff;
	memcpy(&a.s6_addr[12], &be, 4);
	return a;
}

bool addr_is4(const struct in6_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(a);
}

uint32_t addr_to4(const struct in6_addr *a)
{
	uint32_t be;

	memcpy(&be, &a->s6_addr[12], 4);
	return ntohl(be);
}

bool addr_eq(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int addr_cmp(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, sizeof(*a));
}

bool addr_is_loopback(const struct in6_addr *a)
{
	return addr_is4(a) ? addr_to4(a) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(a);
}

bool addr_is_any(const struct in6_addr *a)
{
	return IN6_IS_ADDR_UNSPECIFIED(a) || (addr_is4(a) && addr_to4(a) == 0);
}

int addr_parse(const char *s, struct in6_addr *ret)
{
	struct in_addr a4;
	struct in6_addr a6;

	if (inet_pton(AF_INET, s, &a4) == 1) {
		*ret = addr_of4(ntohl(a4.s_addr));
		return 0;
	}
	if (inet_pton(AF_INET6, s, &a6) != 1)
		return -EINVAL;
	*ret = a6;
	return 0;
}

char *addr_text(const struct in6_addr *a, char *out)
{
	const char *r = addr_is4(a) ? inet_ntop(AF_INET, &a->s6_addr[12], out, ADDR_TEXT) : inet_ntop(AF_INET6, a, out, ADDR_TEXT);

	if (!r)
		out[0] = '\0';
	return out;
}

int cidr_parse(const char *s, struct net_cidr *ret)
{
	const char *slash = strchr(s, '/');
	char host[ADDR_TEXT];
	struct in6_addr a;
	uint64_t len;

	if (!slash || (size_t)(slash - s) >= sizeof(host))
		return -EINVAL;
	memcpy(host, s, (size_t)(slash - s));
	host[slash - s] = '\0';
	if (addr_parse(host, &a) < 0)
		return -EINVAL;
	/* "::ffff:10.0.0.0/104" would be an IPv4 prefix in disguise. */
	if (addr_is4(&a) && strchr(host, ':'))
		return -EINVAL;
	if (str_to_u64(slash + 1, 0, addr_is4(&a) ? 32 : 128, &len) < 0)
		return -ERANGE;
	*ret = (struct net_cidr){ .addr = a, .prefix = (uint8_t)(addr_is4(&a) ? len + 96 : len) };
	return 0;
}

unsigned cidr_len(const struct net_cidr *c)
{
	return addr_is4(&c->addr) ? c->prefix - 96u : c->prefix;
}

char *cidr_text(const struct net_cidr *c, char *out)
{
	size_t n;

	(void)addr_text(&c->addr, out);
	n = strlen(out);
	(void)snprintf(out + n, CIDR_TEXT - n, "/%u", cidr_len(c));
	return out;
}

static void masked(const struct net_cidr *c, struct in6_addr *ret, bool ones)
{
	*ret = c->addr;
	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = c->prefix >= (i + 1) * 8 ? 8 : c->prefix <= i * 8 ? 0 : c->prefix - i * 8;
		uint8_t keep = (uint8_t)(0xff00u >> bits);

		ret->s6_addr[i] = (uint8_t)(ones ? ret->s6_addr[i] | (uint8_t)~keep : ret->s6_addr[i] & keep);
	}
}

struct net_cidr cidr_base(const struct net_cidr *c)
{
	struct net_cidr r = *c;

	masked(c, &r.addr, false);
	return r;
}

struct in6_addr cidr_last(const struct net_cidr *c)
{
	struct in6_addr a;

	masked(c, &a, true);
	return a;
}

bool cidr_has(const struct net_cidr *c, const struct in6_addr *a)
{
	struct net_cidr x = { .addr = *a, .prefix = c->prefix };
	struct net_cidr p = cidr_base(c), q = cidr_base(&x);

	return addr_is4(&c->addr) == addr_is4(a) && addr_eq(&p.addr, &q.addr);
}

bool cidr_overlap(const struct net_cidr *a, const struct net_cidr *b)
{
	return a->prefix <= b->prefix ? cidr_has(a, &b->addr) : cidr_has(b, &a->addr);
}

struct in6_addr addr_add(const struct in6_addr *a, uint64_t n)
{
	struct in6_addr r = *a;

	for (int i = 15; i >= 0 && n; i--) {
		n += r.s6_addr[i];
		r.s6_addr[i] = (uint8_t)n;
		n >>= 8;
	}
	return r;
}

void addr_mac(const struct in6_addr *a, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 0x42;
	memcpy(mac + 2, &a->s6_addr[12], 4);
}

int mac_parse(const char *s, uint8_t mac[6])
{
	uint8_t m[6];
	unsigned v[6];
	int end = 0;

	if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &end) != 6 || s[end] || end != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		m[i] = (uint8_t)v[i];
	if (m[0] & 1 || !memcmp(m, "\0\0\0\0\0\0", 6))
		return -EINVAL;
	memcpy(mac, m, 6);
	return 0;
}

char *mac_text(const uint8_t mac[6], char *out)
{
	(void)snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return out;
}

static const struct {
	uint8_t number;
	const char *text;
} protos[] = { { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" }, { IPPROTO_SCTP, "sctp" } };

const char *proto_text(uint8_t proto)
{
	for (size_t i = 0; i < N(protos); i++)
		if (protos[i].number == proto)
			return protos[i].text;
	return "?";
}

int proto_parse(const char *s, uint8_t *ret)
{
	for (size_t i = 0; i < N(protos); i++)
		if (strcasecmp(protos[i].text, s) == 0) {
			*ret = protos[i].number;
			return 0;
		}
	return -EINVAL;
}
