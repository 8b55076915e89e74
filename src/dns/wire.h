/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_WIRE_H
#define KEDGE_DNS_WIRE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The DNS message format (RFC 1035, EDNS0 of RFC 6891). Pure: bytes in, values out; no descriptor, no clock, no allocation. */

enum { DNS_HEADER = 12, DNS_NAME_MAX = 255, DNS_LABEL_MAX = 63, DNS_PLAIN_MAX = 512, DNS_MSG_MAX = 65535, DNS_TEXT_MAX = 1025 };
enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_HINFO = 13, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33, DNS_OPT = 41, DNS_IXFR = 251,
       DNS_AXFR = 252, DNS_ANY = 255 };
enum { DNS_IN = 1 };
enum { DNS_NOERROR, DNS_FORMERR, DNS_SERVFAIL, DNS_NXDOMAIN, DNS_NOTIMP, DNS_REFUSED, DNS_BADVERS = 16 };
/* Bits of the header's second 16-bit word. */
enum { DNS_QR = 0x8000, DNS_OPCODE = 0x7800, DNS_AA = 0x0400, DNS_TC = 0x0200, DNS_RD = 0x0100, DNS_RA = 0x0080, DNS_AD = 0x0020, DNS_CD = 0x0010,
       DNS_RCODE = 0x000f };
enum { DNS_DO = 0x8000 };		/* in the OPT record's flags (RFC 3225) */

/* A name as on the wire, lower-cased, uncompressed, the root label included: equal names are equal bytes. */
struct dns_name {
	uint8_t len;			/* 1 to 255 */
	uint8_t w[DNS_NAME_MAX];
};

static inline uint16_t dns_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t dns_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void dns_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void dns_put32(uint8_t *p, uint32_t v)
{
	dns_put16(p, v >> 16);
	dns_put16(p + 2, v & 0xffff);
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
/*
 * "web.example." or "web"; every byte but '.' stands for itself, "\." and "\ddd" as in zone files (RFC 1035 5.1). -EINVAL: an empty label, one
 * past 63 bytes, a name past 255. "." and "" are the root.
 */
int dns_name_parse(const char *text, struct dns_name *ret);
/* The other way, without the last dot (the root is "."); out has DNS_TEXT_MAX bytes. Returns out. */
char *dns_name_text(const struct dns_name *n, char *out);
/* Reads the name at off, following compression pointers (RFC 1035 4.1.4: backwards only). *next is behind it. -EBADMSG. */
int dns_name_read(const uint8_t *p, size_t n, size_t off, struct dns_name *ret, size_t *next);
/* True when n is below suffix ("web.app" below "app"); *head is what stands before it, as a name of its own. */
bool dns_name_below(const struct dns_name *n, const struct dns_name *suffix, struct dns_name *head);
/* The name of a's PTR record; an IPv4 address comes mapped. */
void dns_name_reverse(const struct in6_addr *a, struct dns_name *ret);
/* True for complete in-addr.arpa and ip6.arpa names. */
bool dns_name_address(const struct dns_name *n, struct in6_addr *ret);

/* A question as it came. */
struct dns_query {
	uint16_t id, flags, type, cls;
	struct dns_name name;
	uint16_t end;			/* of the question section: bytes DNS_HEADER to end are what an answer repeats, case kept */
	bool edns, dnssec_ok;
	uint16_t udp_size;		/* what the asker takes over UDP: 512 at least */
};
/*
 * 0; an RCODE above 0 to answer with, of which id, flags, end (and edns for BADVERS) are set; -EBADMSG: not even that, drop it. end is
 * DNS_HEADER when the question itself is broken.
 */
int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *q);

/* An answer of somebody else's server. */
struct dns_answer {
	uint16_t id, flags, type, cls;
	struct dns_name name;		/* of its question */
	uint16_t rcode;			/* with the upper bits of the OPT record */
	size_t body, end;		/* the records without OPT: [body, end) of the message */
	uint16_t counts[3];		/* answer, authority, additional without OPT */
	size_t opt, opt_len;		/* options of the OPT record; opt 0: there was none */
	bool dnssec_ok;
	uint32_t ttl;			/* the least of all records; UINT32_MAX without any */
	bool has_soa;			/* in the authority section */
	uint32_t negative_ttl;		/* RFC 2308 5: the least of the SOA's TTL and its MINIMUM; with has_soa only */
	bool has_answer;		/* a record of the asked type, or any for ANY */
};
/* Checks every record to the end. -EBADMSG. No statement on whether it answers what was asked. */
int dns_answer_parse(const uint8_t *p, size_t n, struct dns_answer *a);
/* The TTL fields of the records in [body, end): at most max offsets from the start of the message. Returns how many there are. p was parsed. */
size_t dns_ttl_offsets(const uint8_t *p, const struct dns_answer *a, uint16_t *out, size_t max);

/* Writing. full is set when something did not fit, and len stays where it was. */
struct dns_writer {
	uint8_t *p;
	size_t cap, len;
	uint16_t counts[4];
	bool full;
};
/* Header and the question section copied from the query at q_msg. flags without RD, CD, opcode: those are the query's. */
void dns_write_reply(struct dns_writer *w, uint8_t *p, size_t cap, const uint8_t *q_msg, const struct dns_query *q, unsigned flags);
/* A question of ours. */
void dns_write_query(struct dns_writer *w, uint8_t *p, size_t cap, uint16_t id, unsigned flags, const struct dns_name *name, uint16_t type, uint16_t cls);
/* section 1 answer, 2 authority, 3 additional. owner NULL: the name asked for. */
void dns_write_address(struct dns_writer *w, unsigned section, const struct dns_name *owner, const struct in6_addr *a, uint32_t ttl);
void dns_write_ptr(struct dns_writer *w, unsigned section, const struct dns_name *target, uint32_t ttl);
void dns_write_srv(struct dns_writer *w, uint16_t prio, uint16_t weight, uint16_t port, const struct dns_name *target, uint32_t ttl);
/* The records of a parsed message; its question had the same length, so that its pointers hold. */
void dns_write_records(struct dns_writer *w, const uint8_t *records, size_t n, const uint16_t counts[3]);
/* OPT with our size, rcode's upper bits and raw options: dns_opt_size(n) bytes. */
void dns_write_opt(struct dns_writer *w, uint16_t size, unsigned rcode, bool dnssec_ok, const uint8_t *options, size_t n);
static inline size_t dns_opt_size(size_t n)
{
	return 11 + n;
}
/*
 * Ends the records: a full writer becomes a truncated answer (TC). keep: with the records that fitted, else with none, as RFC 2181 9 advises for
 * sets of others. cap is the new limit, for OPT.
 */
void dns_write_settle(struct dns_writer *w, uint16_t question_end, bool keep, size_t cap);
/* Puts counts into the header; returns the length. */
size_t dns_write_end(struct dns_writer *w);

/* One record of a message, for those who look at them one by one; off moves behind it. -EBADMSG. */
struct dns_record {
	struct dns_name owner;
	uint16_t type, cls, len;
	uint32_t ttl;
	size_t data;
};
int dns_record_read(const uint8_t *p, size_t n, size_t *off, struct dns_record *r);

/* ---- for people (text.c) ---- */

/* "A", "AAAA", "TYPE65535"; out of 12 bytes at least. Returns out. */
const char *dns_type_text(uint16_t type, char *out);
/* Names of types and "TYPE123", any case; -EINVAL. */
int dns_type_parse(const char *text, uint16_t *ret);
/* "NOERROR", "RCODE4095"; out of 12 bytes at least. */
const char *dns_rcode_text(unsigned rcode, char *out);
/* A record's data as people read it ("192.0.2.1", "10 5 80 web.", "\# 3 010203" for what we have no form for): for tools. p was parsed. */
void dns_rdata_text(const uint8_t *p, size_t n, const struct dns_record *r, char *out, size_t size);

#endif
