/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "dns/wire.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

/* ---- names ---- */

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->w, b->w, a->len) == 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int dns_name_parse(const char *text, struct dns_name *ret)
{
	struct dns_name n = { .len = 0 };
	size_t label = 0, len = 1;	/* where the label's length goes; end of what is written */

	if (text[0] == '.' && !text[1])
		text++;
	while (*text) {
		uint8_t c = (uint8_t)*text++;

		if (c == '.') {
			if (len == label + 1)
				return -EINVAL;
			n.w[label] = (uint8_t)(len - label - 1);
			label = len++;
			continue;
		}
		if (c == '\\') {
			if (is_digit(text[0]) && is_digit(text[1]) && is_digit(text[2])) {
				unsigned v = (unsigned)(text[0] - '0') * 100 + (unsigned)(text[1] - '0') * 10 + (unsigned)(text[2] - '0');

				if (v > 255)
					return -EINVAL;
				c = (uint8_t)v;
				text += 3;
			} else if (*text) {
				c = (uint8_t)*text++;
			} else {
				return -EINVAL;
			}
		}
		if (len - label > DNS_LABEL_MAX || len >= DNS_NAME_MAX - 1)
			return -EINVAL;
		n.w[len++] = lower(c);
	}
	if (len > label + 1) {
		n.w[label] = (uint8_t)(len - label - 1);
		label = len++;
	}
	n.w[label] = 0;
	n.len = (uint8_t)len;
	*ret = n;
	return 0;
}

char *dns_name_text(const struct dns_name *n, char *out)
{
	char *o = out;

	if (n->len <= 1)
		return strcpy(out, ".");
	for (size_t i = 0; n->w[i]; i += n->w[i] + 1u) {
		if (i)
			*o++ = '.';
		for (size_t k = i + 1; k <= i + n->w[i]; k++) {
			uint8_t c = n->w[k];

			if (c == '.' || c == '\\') {
				*o++ = '\\';
				*o++ = (char)c;
			} else if (c <= ' ' || c >= 127) {
				*o++ = '\\';
				*o++ = (char)('0' + c / 100);
				*o++ = (char)('0' + c / 10 % 10);
				*o++ = (char)('0' + c % 10);
			} else {
				*o++ = (char)c;
			}
		}
	}
	*o = '\0';
	return out;
}

int dns_name_read(const uint8_t *p, size_t n, size_t off, struct dns_name *ret, size_t *next)
{
	size_t at = off, bound = off, len = 0, after = 0;

	for (;;) {
		unsigned c;

		if (at >= n)
			return -EBADMSG;
		c = p[at];
		if ((c & 0xc0) == 0xc0) {
			if (at + 1 >= n)
				return -EBADMSG;
			if (!after)
				after = at + 2;
			/* Each jump goes before the start of what was read last, so that it ends. */
			at = (c & 0x3f) << 8 | p[at + 1];
			if (at >= bound || at < DNS_HEADER)
				return -EBADMSG;
			bound = at;
			continue;
		}
		if (c & 0xc0 || at + 1 + c > n || len + 1 + c > DNS_NAME_MAX)
			return -EBADMSG;
		ret->w[len++] = (uint8_t)c;
		at++;
		if (!c)
			break;
		for (unsigned i = 0; i < c; i++)
			ret->w[len++] = lower(p[at + i]);
		at += c;
		/* Room for the root label at least. */
		if (len >= DNS_NAME_MAX)
			return -EBADMSG;
	}
	ret->len = (uint8_t)len;
	*next = after ? after : at;
	return 0;
}

bool dns_name_below(const struct dns_name *n, const struct dns_name *suffix, struct dns_name *head)
{
	size_t cut, at = 0;

	if (n->len <= suffix->len)
		return false;
	cut = (size_t)n->len - suffix->len;
	if (memcmp(n->w + cut, suffix->w, suffix->len) != 0)
		return false;
	/* The cut is between two labels. */
	while (at < cut)
		at += n->w[at] + 1u;
	if (at != cut)
		return false;
	memcpy(head->w, n->w, cut);
	head->w[cut] = 0;
	head->len = (uint8_t)(cut + 1);
	return true;
}

static const uint8_t arpa4[] = "\7in-addr\4arpa", arpa6[] = "\3ip6\4arpa";	/* the terminating zero is the root label */

void dns_name_reverse(const struct in6_addr *a, struct dns_name *ret)
{
	size_t len = 0;

	if (IN6_IS_ADDR_V4MAPPED(a)) {
		for (int i = 15; i >= 12; i--) {
			unsigned v = a->s6_addr[i], digits = v >= 100 ? 3 : v >= 10 ? 2 : 1;

			ret->w[len++] = (uint8_t)digits;
			if (digits == 3)
				ret->w[len++] = (uint8_t)('0' + v / 100);
			if (digits >= 2)
				ret->w[len++] = (uint8_t)('0' + v / 10 % 10);
			ret->w[len++] = (uint8_t)('0' + v % 10);
		}
		memcpy(ret->w + len, arpa4, sizeof(arpa4));
		len += sizeof(arpa4);
	} else {
		for (int i = 31; i >= 0; i--) {
			unsigned nibble = i & 1 ? a->s6_addr[i / 2] & 15 : a->s6_addr[i / 2] >> 4;

			ret->w[len++] = 1;
			ret->w[len++] = (uint8_t)"0123456789abcdef"[nibble];
		}
		memcpy(ret->w + len, arpa6, sizeof(arpa6));
		len += sizeof(arpa6);
	}
	ret->len = (uint8_t)len;
}

static bool address4(const struct dns_name *head, struct in6_addr *ret)
{
	size_t at = 0;

	memset(ret, 0, sizeof(*ret));
	ret->s6_addr[10] = ret->s6_addr[11] = 0xff;
	for (int i = 15; i >= 12; i--) {
		unsigned len = head->w[at], v = 0;

		if (len < 1 || len > 3 || (len > 1 && head->w[at + 1] == '0'))
			return false;
		for (unsigned k = 1; k <= len; k++) {
			if (!is_digit((char)head->w[at + k]))
				return false;
			v = v * 10 + head->w[at + k] - '0';
		}
		if (v > 255)
			return false;
		ret->s6_addr[i] = (uint8_t)v;
		at += len + 1;
	}
	return head->w[at] == 0;
}

static bool address6(const struct dns_name *head, struct in6_addr *ret)
{
	if (head->len != 65)
		return false;
	memset(ret, 0, sizeof(*ret));
	for (int i = 31, at = 0; i >= 0; i--, at += 2) {
		uint8_t c = head->w[at + 1], v;

		if (head->w[at] != 1)
			return false;
		if (is_digit((char)c))
			v = (uint8_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = (uint8_t)(c - 'a' + 10);
		else
			return false;
		ret->s6_addr[i / 2] |= (uint8_t)(i & 1 ? v : v << 4);
	}
	return true;
}

bool dns_name_address(const struct dns_name *n, struct in6_addr *ret)
{
	struct dns_name suffix, head;

	if (n->len < 10)
		return false;
	memcpy(suffix.w, arpa4, sizeof(arpa4));
	suffix.len = sizeof(arpa4);
	if (dns_name_below(n, &suffix, &head))
		return address4(&head, ret);
	memcpy(suffix.w, arpa6, sizeof(arpa6));
	suffix.len = sizeof(arpa6);
	return dns_name_below(n, &suffix, &head) && address6(&head, ret);
}

/* ---- reading ---- */

struct record {
	uint16_t type, cls;
	uint32_t ttl;
	size_t ttl_off, data;
	uint16_t len;
};

/* Behind a name that is not needed. */
static int name_skip(const uint8_t *p, size_t n, size_t *off)
{
	size_t at = *off;

	while (at < n && p[at] && (p[at] & 0xc0) == 0) {
		at += p[at] + 1u;
		if (at - *off >= DNS_NAME_MAX)
			return -EBADMSG;
	}
	if (at >= n || (p[at] && (p[at] & 0xc0) != 0xc0))
		return -EBADMSG;
	at += p[at] ? 2 : 1;
	if (at > n)
		return -EBADMSG;
	*off = at;
	return 0;
}

static int record_read(const uint8_t *p, size_t n, size_t *off, struct record *r)
{
	size_t at = *off;

	if (name_skip(p, n, &at) < 0 || at + 10 > n)
		return -EBADMSG;
	r->type = dns_get16(p + at);
	r->cls = dns_get16(p + at + 2);
	r->ttl_off = at + 4;
	r->ttl = dns_get32(p + at + 4);
	r->len = dns_get16(p + at + 8);
	r->data = at + 10;
	if (r->data + r->len > n)
		return -EBADMSG;
	*off = r->data + r->len;
	return 0;
}

int dns_record_read(const uint8_t *p, size_t n, size_t *off, struct dns_record *r)
{
	size_t next, start = *off;
	struct record raw;

	if (dns_name_read(p, n, start, &r->owner, &next) < 0 || record_read(p, n, off, &raw) < 0)
		return -EBADMSG;
	r->type = raw.type;
	r->cls = raw.cls;
	r->ttl = raw.ttl;
	r->data = raw.data;
	r->len = raw.len;
	return 0;
}

/* The records behind the question: only an OPT in the additional section means something to us. */
static int query_edns(const uint8_t *p, size_t n, struct dns_query *q)
{
	unsigned before = (unsigned)dns_get16(p + 6) + dns_get16(p + 8), count = before + dns_get16(p + 10);
	size_t off = q->end;
	struct record r;

	for (unsigned i = 0; i < count; i++) {
		size_t start = off;

		if (record_read(p, n, &off, &r) < 0)
			return DNS_FORMERR;
		if (r.type != DNS_OPT)
			continue;
		/* RFC 6891 6.1.1: one, in the additional section, owned by the root. */
		if (i < before || q->edns || p[start] != 0)
			return DNS_FORMERR;
		q->edns = true;
		q->udp_size = r.cls < DNS_PLAIN_MAX ? DNS_PLAIN_MAX : r.cls;
		q->dnssec_ok = (r.ttl & DNS_DO) != 0;
		if ((r.ttl >> 16 & 0xff) != 0)
			return DNS_BADVERS;
	}
	return 0;
}

int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *q)
{
	size_t next;

	if (n < DNS_HEADER)
		return -EBADMSG;
	q->id = dns_get16(p);
	q->flags = dns_get16(p + 2);
	q->end = DNS_HEADER;
	q->edns = q->dnssec_ok = false;
	q->udp_size = DNS_PLAIN_MAX;
	if (q->flags & DNS_QR)
		return -EBADMSG;
	if (q->flags & DNS_OPCODE)
		return DNS_NOTIMP;
	if (dns_get16(p + 4) != 1)
		return DNS_FORMERR;
	/* A pointer in the first name could only point into the header, which dns_name_read() refuses. */
	if (dns_name_read(p, n, DNS_HEADER, &q->name, &next) < 0 || next + 4 > n)
		return DNS_FORMERR;
	q->type = dns_get16(p + next);
	q->cls = dns_get16(p + next + 2);
	q->end = (uint16_t)(next + 4);
	if (!dns_get16(p + 6) && !dns_get32(p + 8))
		return 0;
	return query_edns(p, n, q);
}

/* The least of an SOA's TTL and its MINIMUM field, which is its last (RFC 2308 4). */
static int soa_read(const uint8_t *p, size_t n, const struct record *r, uint32_t *ret)
{
	size_t at = r->data, end = r->data + r->len;
	uint32_t minimum;

	if (name_skip(p, end, &at) < 0 || name_skip(p, end, &at) < 0 || at + 20 != end)
		return -EBADMSG;
	(void)n;
	minimum = dns_get32(p + at + 16);
	*ret = r->ttl < minimum ? r->ttl : minimum;
	return 0;
}

/* RFC 2181 8: the highest bit set counts as zero. */
static uint32_t ttl_of(uint32_t raw)
{
	return raw & 0x80000000u ? 0 : raw;
}

static int answer_record(const uint8_t *p, size_t n, struct dns_answer *a, unsigned section, size_t start, struct record *r)
{
	if (r->type == DNS_OPT) {
		if (section != 3 || a->opt || p[start] != 0)
			return -EBADMSG;
		a->opt = r->data;
		a->opt_len = r->len;
		a->dnssec_ok = (r->ttl & DNS_DO) != 0;
		a->rcode |= (uint16_t)(r->ttl >> 24 << 4);
		return 0;
	}
	/* What follows an OPT would move when it is left out, and pointers with it. It is additional: it goes too. */
	if (a->opt)
		return 0;
	r->ttl = ttl_of(r->ttl);
	if (r->ttl < a->ttl)
		a->ttl = r->ttl;
	if (section == 1 && (r->type == a->type || a->type == DNS_ANY))
		a->has_answer = true;
	if (section == 2 && r->type == DNS_SOA && !a->has_soa) {
		if (soa_read(p, n, r, &a->negative_ttl) < 0)
			return -EBADMSG;
		a->has_soa = true;
	}
	a->counts[section - 1]++;
	a->end = r->data + r->len;
	return 0;
}

int dns_answer_parse(const uint8_t *p, size_t n, struct dns_answer *a)
{
	size_t off;

	*a = (struct dns_answer){ .ttl = UINT32_MAX };
	if (n < DNS_HEADER || n > DNS_MSG_MAX)
		return -EBADMSG;
	a->id = dns_get16(p);
	a->flags = dns_get16(p + 2);
	a->rcode = a->flags & DNS_RCODE;
	if (!(a->flags & DNS_QR) || a->flags & DNS_OPCODE || dns_get16(p + 4) != 1 || dns_name_read(p, n, DNS_HEADER, &a->name, &off) < 0 ||
	    off + 4 > n)
		return -EBADMSG;
	a->type = dns_get16(p + off);
	a->cls = dns_get16(p + off + 2);
	off += 4;
	a->body = a->end = off;
	for (unsigned section = 1; section <= 3; section++) {
		unsigned count = dns_get16(p + 4 + 2 * section);

		for (unsigned i = 0; i < count; i++) {
			size_t start = off;
			struct record r;

			if (record_read(p, n, &off, &r) < 0) {
				/* A server may cut where the space ends (RFC 2181 9). */
				if (a->flags & DNS_TC)
					return 0;
				return -EBADMSG;
			}
			if (answer_record(p, n, a, section, start, &r) < 0)
				return -EBADMSG;
		}
	}
	return 0;
}

size_t dns_ttl_offsets(const uint8_t *p, const struct dns_answer *a, uint16_t *out, size_t max)
{
	size_t off = a->body, n = 0;
	struct record r;

	while (off < a->end && record_read(p, a->end, &off, &r) == 0) {
		if (n < max)
			out[n] = (uint16_t)r.ttl_off;
		n++;
	}
	return n;
}

/* ---- writing ---- */

static uint8_t *room(struct dns_writer *w, size_t n)
{
	uint8_t *at = w->p + w->len;

	if (w->full || w->cap - w->len < n) {
		w->full = true;
		return NULL;
	}
	w->len += n;
	return at;
}

void dns_write_reply(struct dns_writer *w, uint8_t *p, size_t cap, const uint8_t *q_msg, const struct dns_query *q, unsigned flags)
{
	*w = (struct dns_writer){ .p = p, .cap = cap, .len = q->end, .counts = { q->end > DNS_HEADER } };
	dns_put16(p, q->id);
	dns_put16(p + 2, DNS_QR | (q->flags & (DNS_OPCODE | DNS_RD | DNS_CD)) | flags);
	memset(p + 4, 0, 8);
	memcpy(p + DNS_HEADER, q_msg + DNS_HEADER, q->end - DNS_HEADER);
}

void dns_write_query(struct dns_writer *w, uint8_t *p, size_t cap, uint16_t id, unsigned flags, const struct dns_name *name, uint16_t type, uint16_t cls)
{
	*w = (struct dns_writer){ .p = p, .cap = cap, .len = DNS_HEADER, .counts = { 1 } };
	dns_put16(p, id);
	dns_put16(p + 2, flags);
	memset(p + 4, 0, 8);
	memcpy(p + DNS_HEADER, name->w, name->len);
	dns_put16(p + DNS_HEADER + name->len, type);
	dns_put16(p + DNS_HEADER + name->len + 2, cls);
	w->len += name->len + 4u;
}

/* The start of a record: owner, type, class IN, TTL, length. Returns where its data go, or NULL. */
static uint8_t *record_head(struct dns_writer *w, unsigned section, const struct dns_name *owner, uint16_t type, uint32_t ttl, size_t len)
{
	size_t name = owner ? owner->len : 2;
	uint8_t *at = room(w, name + 10 + len);

	if (!at)
		return NULL;
	if (owner)
		memcpy(at, owner->w, name);
	else
		dns_put16(at, 0xc000 | DNS_HEADER);
	dns_put16(at + name, type);
	dns_put16(at + name + 2, DNS_IN);
	dns_put32(at + name + 4, ttl);
	dns_put16(at + name + 8, (unsigned)len);
	w->counts[section]++;
	return at + name + 10;
}

void dns_write_address(struct dns_writer *w, unsigned section, const struct dns_name *owner, const struct in6_addr *a, uint32_t ttl)
{
	bool v4 = IN6_IS_ADDR_V4MAPPED(a);
	uint8_t *d = record_head(w, section, owner, v4 ? DNS_A : DNS_AAAA, ttl, v4 ? 4 : 16);

	if (d)
		memcpy(d, a->s6_addr + (v4 ? 12 : 0), v4 ? 4 : 16);
}

void dns_write_ptr(struct dns_writer *w, unsigned section, const struct dns_name *target, uint32_t ttl)
{
	uint8_t *d = record_head(w, section, NULL, DNS_PTR, ttl, target->len);

	if (d)
		memcpy(d, target->w, target->len);
}

void dns_write_srv(struct dns_writer *w, uint16_t prio, uint16_t weight, uint16_t port, const struct dns_name *target, uint32_t ttl)
{
	uint8_t *d = record_head(w, 1, NULL, DNS_SRV, ttl, 6u + target->len);

	if (!d)
		return;
	dns_put16(d, prio);
	dns_put16(d + 2, weight);
	dns_put16(d + 4, port);
	memcpy(d + 6, target->w, target->len);
}

void dns_write_records(struct dns_writer *w, const uint8_t *records, size_t n, const uint16_t counts[3])
{
	uint8_t *d = room(w, n);

	if (!d)
		return;
	memcpy(d, records, n);
	for (int i = 0; i < 3; i++)
		w->counts[i + 1] = (uint16_t)(w->counts[i + 1] + counts[i]);
}

void dns_write_opt(struct dns_writer *w, uint16_t size, unsigned rcode, bool dnssec_ok, const uint8_t *options, size_t n)
{
	uint8_t *d = room(w, dns_opt_size(n));

	if (!d)
		return;
	d[0] = 0;
	dns_put16(d + 1, DNS_OPT);
	dns_put16(d + 3, size);
	dns_put32(d + 5, (uint32_t)(rcode >> 4) << 24 | (dnssec_ok ? DNS_DO : 0));
	dns_put16(d + 9, (unsigned)n);
	if (n)
		memcpy(d + 11, options, n);
	w->counts[3]++;
}

void dns_write_settle(struct dns_writer *w, uint16_t question_end, bool keep, size_t cap)
{
	w->cap = cap;
	if (!w->full)
		return;
	w->p[2] |= DNS_TC >> 8;
	w->full = false;
	if (keep)
		return;
	w->len = question_end;
	w->counts[1] = w->counts[2] = w->counts[3] = 0;
}

size_t dns_write_end(struct dns_writer *w)
{
	for (int i = 0; i < 4; i++)
		dns_put16(w->p + 4 + 2 * i, w->counts[i]);
	return w->len;
}
