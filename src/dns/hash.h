/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_HASH_H
#define KEDGE_DNS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * SipHash-1-3 (Aumasson, Bernstein 2012; the reduced rounds that language runtimes use for their tables). Names come from whoever may ask, so
 * collisions must not be theirs to choose.
 */
struct dns_hash_key {
	uint64_t k0, k1;
};

static inline uint64_t dns_rotl(uint64_t x, unsigned b)
{
	return x << b | x >> (64 - b);
}

#define DNS_SIP_ROUND(v0, v1, v2, v3) do { \
	v0 += v1; v1 = dns_rotl(v1, 13); v1 ^= v0; v0 = dns_rotl(v0, 32); \
	v2 += v3; v3 = dns_rotl(v3, 16); v3 ^= v2; \
	v0 += v3; v3 = dns_rotl(v3, 21); v3 ^= v0; \
	v2 += v1; v1 = dns_rotl(v1, 17); v1 ^= v2; v2 = dns_rotl(v2, 32); \
} while (0)

static inline uint64_t dns_hash(const struct dns_hash_key *k, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t v0 = k->k0 ^ 0x736f6d6570736575ull, v1 = k->k1 ^ 0x646f72616e646f6dull, v2 = k->k0 ^ 0x6c7967656e657261ull,
		 v3 = k->k1 ^ 0x7465646279746573ull, m;
	size_t left = n;

	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		v3 ^= m;
		DNS_SIP_ROUND(v0, v1, v2, v3);
		v0 ^= m;
	}
	m = 0;
	memcpy(&m, p, left);
	m |= (uint64_t)n << 56;
	v3 ^= m;
	DNS_SIP_ROUND(v0, v1, v2, v3);
	v0 ^= m;
	v2 ^= 0xff;
	DNS_SIP_ROUND(v0, v1, v2, v3);
	DNS_SIP_ROUND(v0, v1, v2, v3);
	DNS_SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

#endif
