/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_CACHE_H
#define KEDGE_DNS_CACHE_H

#include "dns/wire.h"

/*
 * Answers of others, positive and negative (RFC 2308), kept past their time for when nobody answers (RFC 8767). Bounded in bytes; the one
 * unused longest goes first. Pure: the caller brings the time (monotonic nanoseconds).
 */
struct dns_cache;

/* What makes two questions the same. flags: DNS_RD and DNS_CD of the header; scope: whose answers these are. */
struct dns_key {
	uint32_t scope;
	uint16_t type, cls, flags;
	bool dnssec_ok;
	struct dns_name name;
};

enum {
	DNS_CACHE_MAX_TTL = 86400,	/* RFC 8767 4 advises a limit of a day or so at this end of it */
	DNS_CACHE_MAX_NEGATIVE = 900,	/* RFC 2308 5 allows 3 hours; a name that appears should not take so long */
	DNS_CACHE_FAILURE = 1,		/* a failure is a failure for this long (RFC 9520 3.2: 1 s at least) */
	DNS_CACHE_STALE = 86400,	/* how long past its time an answer is still better than none */
	DNS_CACHE_STALE_TTL = 30	/* what is said of it then (RFC 8767 4) */
};

struct dns_cache *dns_cache_new(size_t max_bytes);
void dns_cache_free(struct dns_cache *c);

struct dns_cached {
	const uint8_t *records;		/* of the entry: until the next call that puts */
	size_t n;
	uint16_t counts[3];
	uint16_t flags;			/* of its header, with the low RCODE bits */
	uint16_t rcode;
	const uint8_t *options;		/* of its OPT */
	size_t n_options;
	const uint16_t *ttl_offsets;	/* into records */
	size_t n_ttls;
	uint32_t age;			/* seconds since it came; stale ones: see below */
	bool stale;			/* each TTL is DNS_CACHE_STALE_TTL then */
	bool failure;
};
/* stale_too: one past its time will do. False: nothing (that may be used). */
bool dns_cache_get(struct dns_cache *c, const struct dns_key *k, int64_t now, bool stale_too, struct dns_cached *ret);
/* Keeps the answer as long as it may; one that may not be kept changes nothing. msg is the message a was parsed from. */
void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const uint8_t *msg, const struct dns_answer *a, int64_t now);
/* Nobody answered: for a moment, do not try again; what there was stays for stale answers. */
void dns_cache_put_failure(struct dns_cache *c, const struct dns_key *k, int64_t now);
void dns_cache_flush(struct dns_cache *c);
/* The records of a cached answer with their TTLs as they are now. */
void dns_cached_write(const struct dns_cached *a, struct dns_writer *w);

size_t dns_cache_len(const struct dns_cache *c);
size_t dns_cache_bytes(const struct dns_cache *c);

uint64_t dns_key_hash(const struct dns_key *k);
bool dns_key_eq(const struct dns_key *a, const struct dns_key *b);

#endif
