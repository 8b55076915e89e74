/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dns/cache.h"

#define S 1000000000ll

static struct dns_key key(const char *name, uint16_t type)
{
	struct dns_key k = { .scope = 1, .type = type, .cls = DNS_IN, .flags = DNS_RD };

	assert_int_equal(dns_name_parse(name, &k.name), 0);
	return k;
}

/* An answer as a server makes it: addresses with ttl, or rcode with an SOA of soa seconds (0: none). */
static size_t make(const struct dns_key *k, unsigned rcode, unsigned n_records, uint32_t ttl, uint32_t soa, uint8_t *out, size_t cap)
{
	struct in6_addr a;
	struct dns_writer w;

	inet_pton(AF_INET6, "::ffff:192.0.2.1", &a);
	dns_write_query(&w, out, cap, 7, DNS_QR | DNS_RD | DNS_RA | rcode, &k->name, k->type, k->cls);
	for (unsigned i = 0; i < n_records; i++)
		dns_write_address(&w, 1, NULL, &a, ttl);
	if (soa) {
		uint8_t *p = out + w.len;

		memset(p, 0, 35);
		dns_put16(p + 1, DNS_SOA);
		dns_put16(p + 3, DNS_IN);
		dns_put32(p + 5, 3600);
		dns_put16(p + 9, 22);
		dns_put32(p + 11 + 18, soa);
		w.len += 33;
		w.counts[2]++;
	}
	return dns_write_end(&w);
}

static void put(struct dns_cache *c, const struct dns_key *k, unsigned rcode, unsigned n, uint32_t ttl, uint32_t soa, int64_t now)
{
	uint8_t msg[2048];
	struct dns_answer a;
	size_t len = make(k, rcode, n, ttl, soa, msg, sizeof(msg));

	assert_int_equal(dns_answer_parse(msg, len, &a), 0);
	dns_cache_put(c, k, msg, &a, now);
}

/* The TTL of the first record as an answer has it now; -1: nothing. */
static int64_t ttl_now(struct dns_cache *c, const struct dns_key *k, int64_t now, bool stale)
{
	uint8_t out[2048];
	struct dns_cached e;
	struct dns_writer w;

	if (!dns_cache_get(c, k, now, stale, &e))
		return -1;
	if (!e.n_ttls)
		return -2;
	dns_write_query(&w, out, sizeof(out), 7, DNS_QR, &k->name, k->type, k->cls);
	dns_cached_write(&e, &w);
	return dns_get32(out + DNS_HEADER + k->name.len + 4 + e.ttl_offsets[0]);
}

static void test_times(void **state)
{
	struct dns_cache *c = dns_cache_new(1 << 20);
	struct dns_key k = key("www.example", DNS_A), other = key("www.example", DNS_AAAA), scope = k, sec = k;
	int64_t t = 1000 * S;

	(void)state;
	put(c, &k, DNS_NOERROR, 2, 60, 0, t);
	assert_int_equal(ttl_now(c, &k, t, false), 60);
	assert_int_equal(ttl_now(c, &k, t + 59 * S, false), 1);
	assert_int_equal(ttl_now(c, &other, t, false), -1);
	scope.scope = 2;
	sec.dnssec_ok = true;
	assert_int_equal(ttl_now(c, &scope, t, false), -1);
	assert_int_equal(ttl_now(c, &sec, t, false), -1);
	/* Past its time: only for those who take it, with a TTL that says so, for a day. */
	assert_int_equal(ttl_now(c, &k, t + 60 * S, false), -1);
	assert_int_equal(ttl_now(c, &k, t + 60 * S, true), DNS_CACHE_STALE_TTL);
	/* After a failure it stands in at once, for half a minute. */
	dns_cache_put_failure(c, &k, t + 61 * S);
	assert_int_equal(ttl_now(c, &k, t + 62 * S, false), DNS_CACHE_STALE_TTL);
	assert_int_equal(ttl_now(c, &k, t + 91 * S, false), -1);
	assert_int_equal(ttl_now(c, &k, t + (60 + DNS_CACHE_STALE) * S, true), -1);
	assert_int_equal(dns_cache_len(c), 0);
	assert_int_equal(dns_cache_bytes(c), 0);
	/* Zero is zero, and a day is the most. */
	put(c, &k, DNS_NOERROR, 1, 0, 0, t);
	assert_int_equal(dns_cache_len(c), 0);
	put(c, &k, DNS_NOERROR, 1, 1000000, 0, t);
	assert_int_equal(ttl_now(c, &k, t + DNS_CACHE_MAX_TTL * S, false), -1);
	dns_cache_free(c);
}

static void test_negative(void **state)
{
	struct dns_cache *c = dns_cache_new(1 << 20);
	struct dns_key k = key("no.example", DNS_A);
	struct dns_cached e;
	int64_t t = 0;

	(void)state;
	put(c, &k, DNS_NXDOMAIN, 0, 0, 0, t);		/* no SOA: not kept */
	assert_int_equal(dns_cache_len(c), 0);
	put(c, &k, DNS_NXDOMAIN, 0, 0, 300, t);
	assert_true(dns_cache_get(c, &k, t + 299 * S, false, &e));
	assert_int_equal(e.rcode, DNS_NXDOMAIN);
	assert_false(dns_cache_get(c, &k, t + 300 * S, false, &e));
	put(c, &k, DNS_NOERROR, 0, 0, 86400, t);	/* NODATA, with a limit */
	assert_true(dns_cache_get(c, &k, t, false, &e));
	assert_false(dns_cache_get(c, &k, t + DNS_CACHE_MAX_NEGATIVE * S, false, &e));
	put(c, &k, DNS_SERVFAIL, 0, 0, 300, t);		/* changes nothing */
	assert_true(dns_cache_get(c, &k, t, false, &e));
	assert_int_equal(e.rcode, DNS_NOERROR);
	dns_cache_flush(c);
	dns_cache_put_failure(c, &k, t);
	assert_true(dns_cache_get(c, &k, t, false, &e));
	assert_true(e.failure);
	assert_false(dns_cache_get(c, &k, t + DNS_CACHE_FAILURE * S, true, &e));
	assert_int_equal(dns_cache_len(c), 0);
	dns_cache_free(c);
}

static void test_bound(void **state)
{
	enum { MAX = 100000 };
	struct dns_cache *c = dns_cache_new(MAX);
	char name[32];
	struct dns_key first = key("n0.example", DNS_A);

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		struct dns_key k;

		(void)snprintf(name, sizeof(name), "n%u.example", i);
		k = key(name, DNS_A);
		put(c, &k, DNS_NOERROR, 3, 300, 0, 0);
		assert_int_equal(ttl_now(c, &k, 0, false), 300);
		assert_int_equal(ttl_now(c, &first, 0, false), 300);	/* used: stays */
		assert_true(dns_cache_bytes(c) <= MAX);
	}
	assert_true(dns_cache_len(c) > 100);
	{
		struct dns_key k = key("n1.example", DNS_A);

		assert_int_equal(ttl_now(c, &k, 0, true), -1);
	}
	dns_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_times), cmocka_unit_test(test_negative), cmocka_unit_test(test_bound) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
