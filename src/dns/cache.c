/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An entry is one allocation: the key, where the TTL fields are, the options of OPT, the records as they came. Pointers in the records hold in every
 * answer to the same question, because a name takes the same room however it is spelled. TTLs are counted down when an answer is written.
 *
 *   stored --- fresh ---> expires --- stale (only for those who take it, or until retry_at after a failure) ---> expires + DNS_CACHE_STALE
 *
 * Kept are: NOERROR with an answer, NOERROR and NXDOMAIN without one but with an SOA to say for how long (RFC 2308 5), never what was truncated.
 * Other codes are left to the failure entry, which lives one second.
 */
#include <config.h>

#include "dns/cache.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dns/hash.h"

#define SECOND 1000000000ll

struct entry {
	struct entry *next;			/* in the bucket */
	struct entry *newer, *older;		/* by last use */
	uint64_t hash;
	int64_t stored, expires, retry_at;
	size_t size;				/* of the allocation */
	uint32_t scope, n_records;
	uint16_t type, cls, key_flags;
	uint16_t flags, rcode, n_options, n_ttls, counts[3];
	uint8_t name_len;
	bool dnssec_ok, failure;
	uint16_t ttls[];			/* then name, options, records */
};

struct dns_cache {
	struct entry **buckets;
	size_t n_buckets, len, bytes, max_bytes;
	struct entry *newest, *oldest;
};

static struct dns_hash_key seed;

uint64_t dns_key_hash(const struct dns_key *k)
{
	uint8_t b[16 + DNS_NAME_MAX];

	if (!seed.k0)
		rand_bytes(&seed, sizeof(seed));
	memset(b, 0, 16);
	memcpy(b, &k->scope, 4);
	memcpy(b + 4, &k->type, 2);
	memcpy(b + 6, &k->cls, 2);
	memcpy(b + 8, &k->flags, 2);
	b[10] = k->dnssec_ok;
	memcpy(b + 16, k->name.w, k->name.len);
	return dns_hash(&seed, b, 16u + k->name.len);
}

bool dns_key_eq(const struct dns_key *a, const struct dns_key *b)
{
	return a->scope == b->scope && a->type == b->type && a->cls == b->cls && a->flags == b->flags && a->dnssec_ok == b->dnssec_ok &&
	       dns_name_eq(&a->name, &b->name);
}

struct dns_cache *dns_cache_new(size_t max_bytes)
{
	struct dns_cache *c = mem_zalloc(sizeof(*c));

	c->max_bytes = max_bytes;
	c->n_buckets = 64;
	c->buckets = mem_zalloc(c->n_buckets * sizeof(*c->buckets));
	return c;
}

void dns_cache_flush(struct dns_cache *c)
{
	for (struct entry *e = c->newest, *older; e; e = older) {
		older = e->older;
		free(e);
	}
	memset(c->buckets, 0, c->n_buckets * sizeof(*c->buckets));
	c->newest = c->oldest = NULL;
	c->len = c->bytes = 0;
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	dns_cache_flush(c);
	free(c->buckets);
	free(c);
}

size_t dns_cache_len(const struct dns_cache *c)
{
	return c->len;
}

size_t dns_cache_bytes(const struct dns_cache *c)
{
	return c->bytes;
}

static uint8_t *name_of(struct entry *e)
{
	return (uint8_t *)(e->ttls + e->n_ttls);
}

static bool is(struct entry *e, uint64_t hash, const struct dns_key *k)
{
	return e->hash == hash && e->scope == k->scope && e->type == k->type && e->cls == k->cls && e->key_flags == k->flags &&
	       e->dnssec_ok == k->dnssec_ok && e->name_len == k->name.len && memcmp(name_of(e), k->name.w, k->name.len) == 0;
}

static struct entry **slot(const struct dns_cache *c, uint64_t hash, const struct dns_key *k)
{
	struct entry **at = &c->buckets[hash & (c->n_buckets - 1)];

	while (*at && !is(*at, hash, k))
		at = &(*at)->next;
	return at;
}

static void lru_del(struct dns_cache *c, struct entry *e)
{
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void lru_add(struct dns_cache *c, struct entry *e)
{
	e->newer = NULL;
	e->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
}

static void drop(struct dns_cache *c, struct entry *e)
{
	struct entry **at = &c->buckets[e->hash & (c->n_buckets - 1)];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	lru_del(c, e);
	c->len--;
	c->bytes -= e->size;
	free(e);
}

static void grow(struct dns_cache *c)
{
	size_t n = c->n_buckets * 2;
	struct entry **b = mem_zalloc(n * sizeof(*b));

	for (struct entry *e = c->newest; e; e = e->older) {
		e->next = b[e->hash & (n - 1)];
		b[e->hash & (n - 1)] = e;
	}
	free(c->buckets);
	c->buckets = b;
	c->n_buckets = n;
}

/* An empty entry in its place; an older one for the key is gone. extra: options and records. NULL: it would not fit at all. */
static struct entry *put(struct dns_cache *c, const struct dns_key *k, size_t n_ttls, size_t extra)
{
	uint64_t hash = dns_key_hash(k);
	size_t size = sizeof(struct entry) + n_ttls * sizeof(uint16_t) + k->name.len + extra;
	struct entry *e = *slot(c, hash, k);

	if (e)
		drop(c, e);
	if (size > c->max_bytes / 4)
		return NULL;
	while (c->oldest && c->bytes + size > c->max_bytes)
		drop(c, c->oldest);
	e = mem_zalloc(size);
	e->hash = hash;
	e->size = size;
	e->scope = k->scope;
	e->type = k->type;
	e->cls = k->cls;
	e->key_flags = k->flags;
	e->dnssec_ok = k->dnssec_ok;
	e->name_len = k->name.len;
	e->n_ttls = (uint16_t)n_ttls;
	memcpy(name_of(e), k->name.w, k->name.len);
	e->next = c->buckets[hash & (c->n_buckets - 1)];
	c->buckets[hash & (c->n_buckets - 1)] = e;
	lru_add(c, e);
	c->bytes += size;
	if (++c->len > c->n_buckets)
		grow(c);
	return e;
}

bool dns_cache_get(struct dns_cache *c, const struct dns_key *k, int64_t now, bool stale_too, struct dns_cached *ret)
{
	struct entry *e = *slot(c, dns_key_hash(k), k);

	if (!e)
		return false;
	if (now >= e->expires + (e->failure ? 0 : DNS_CACHE_STALE * SECOND)) {
		drop(c, e);
		return false;
	}
	if (now >= e->expires && !stale_too && now >= e->retry_at)
		return false;
	if (e->failure && stale_too)
		return false;
	if (c->newest != e) {
		lru_del(c, e);
		lru_add(c, e);
	}
	*ret = (struct dns_cached){
		.options = name_of(e) + e->name_len, .n_options = e->n_options,
		.records = name_of(e) + e->name_len + e->n_options, .n = e->n_records,
		.counts = { e->counts[0], e->counts[1], e->counts[2] }, .flags = e->flags, .rcode = e->rcode,
		.ttl_offsets = e->ttls, .n_ttls = e->n_ttls, .age = (uint32_t)((now - e->stored) / SECOND),
		.stale = now >= e->expires, .failure = e->failure,
	};
	return true;
}

/* Seconds; 0: may not be kept. */
static uint32_t lifetime(const struct dns_answer *a)
{
	bool negative = a->rcode == DNS_NXDOMAIN || (a->rcode == DNS_NOERROR && !a->has_answer);
	uint32_t ttl = a->ttl;

	if (a->flags & DNS_TC || (a->rcode != DNS_NOERROR && a->rcode != DNS_NXDOMAIN))
		return 0;
	if (negative) {
		/* Without an SOA this may be a referral or a lame server's shrug. */
		if (!a->has_soa)
			return 0;
		if (a->negative_ttl < ttl)
			ttl = a->negative_ttl;
		return ttl < DNS_CACHE_MAX_NEGATIVE ? ttl : DNS_CACHE_MAX_NEGATIVE;
	}
	return ttl == UINT32_MAX ? 0 : ttl < DNS_CACHE_MAX_TTL ? ttl : DNS_CACHE_MAX_TTL;
}

void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const uint8_t *msg, const struct dns_answer *a, int64_t now)
{
	uint16_t offsets[1024];
	uint32_t ttl = lifetime(a);
	size_t n_ttls, n = a->end - a->body;
	struct entry *e;
	uint8_t *p;

	if (!ttl || a->opt_len > UINT16_MAX)
		return;
	n_ttls = dns_ttl_offsets(msg, a, offsets, N(offsets));
	if (n_ttls > N(offsets))
		return;
	e = put(c, k, n_ttls, a->opt_len + n);
	if (!e)
		return;
	e->stored = now;
	e->expires = now + ttl * SECOND;
	e->flags = a->flags;
	e->rcode = a->rcode;
	memcpy(e->counts, a->counts, sizeof(e->counts));
	e->n_options = (uint16_t)a->opt_len;
	e->n_records = (uint32_t)n;
	for (size_t i = 0; i < n_ttls; i++)
		e->ttls[i] = (uint16_t)(offsets[i] - a->body);
	p = name_of(e) + e->name_len;
	if (a->opt_len)
		memcpy(p, msg + a->opt, a->opt_len);
	memcpy(p + a->opt_len, msg + a->body, n);
}

void dns_cache_put_failure(struct dns_cache *c, const struct dns_key *k, int64_t now)
{
	struct entry *e = *slot(c, dns_key_hash(k), k);

	if (e && !e->failure && now < e->expires + DNS_CACHE_STALE * SECOND) {
		/* RFC 8767 5: the stale answer stands for a while before the servers are tried again. */
		e->retry_at = now + DNS_CACHE_STALE_TTL * SECOND;
		return;
	}
	e = put(c, k, 0, 0);
	if (!e)
		return;
	e->stored = now;
	e->expires = now + DNS_CACHE_FAILURE * SECOND;
	e->rcode = DNS_SERVFAIL;
	e->failure = true;
}

void dns_cached_write(const struct dns_cached *a, struct dns_writer *w)
{
	uint8_t *start = w->p + w->len;

	dns_write_records(w, a->records, a->n, a->counts);
	if (w->full)
		return;
	for (size_t i = 0; i < a->n_ttls; i++) {
		uint8_t *p = start + a->ttl_offsets[i];
		uint32_t ttl = dns_get32(p);

		if (ttl & 0x80000000u)
			ttl = 0;
		dns_put32(p, a->stale ? DNS_CACHE_STALE_TTL : ttl > a->age ? ttl - a->age : 0);
	}
}
