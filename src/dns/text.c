/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "dns/wire.h"

/* The words for types and codes, and records as people read them. */

static const struct {
	uint16_t type;
	const char *name;
} types[] = {
	{ DNS_A, "A" }, { DNS_NS, "NS" }, { DNS_CNAME, "CNAME" }, { DNS_SOA, "SOA" }, { DNS_PTR, "PTR" }, { DNS_HINFO, "HINFO" }, { 15, "MX" },
	{ DNS_TXT, "TXT" }, { DNS_AAAA, "AAAA" }, { DNS_SRV, "SRV" }, { 35, "NAPTR" }, { 39, "DNAME" }, { 43, "DS" }, { 46, "RRSIG" }, { 47, "NSEC" },
	{ 48, "DNSKEY" }, { 50, "NSEC3" }, { 52, "TLSA" }, { 64, "SVCB" }, { 65, "HTTPS" }, { DNS_ANY, "ANY" }, { 257, "CAA" },
};

static const char *const rcodes[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };

const char *dns_type_text(uint16_t type, char *out)
{
	for (size_t i = 0; i < N(types); i++)
		if (types[i].type == type)
			return strcpy(out, types[i].name);
	(void)snprintf(out, 12, "TYPE%u", type);
	return out;
}

int dns_type_parse(const char *text, uint16_t *ret)
{
	uint64_t v;

	for (size_t i = 0; i < N(types); i++)
		if (!strcasecmp(types[i].name, text)) {
			*ret = types[i].type;
			return 0;
		}
	if (strncasecmp(text, "TYPE", 4) != 0 || str_to_u64(text + 4, 1, UINT16_MAX, &v) < 0)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

const char *dns_rcode_text(unsigned rcode, char *out)
{
	if (rcode < N(rcodes))
		return strcpy(out, rcodes[rcode]);
	(void)snprintf(out, 12, "RCODE%u", rcode & 0xfff);
	return out;
}

/* Numbers, then a name: MX, SRV. 0, or -EBADMSG. */
static int numbers_and_name(const uint8_t *p, size_t n, const struct dns_record *r, unsigned numbers, char *out, size_t size)
{
	char name[DNS_TEXT_MAX];
	struct dns_name target;
	size_t next, len = 0;

	if (r->len < 2 * numbers || dns_name_read(p, n, r->data + 2 * numbers, &target, &next) < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < numbers; i++)
		len += (size_t)snprintf(out + len, size - len, "%u ", dns_get16(p + r->data + 2 * i));
	(void)snprintf(out + len, size - len, "%s", dns_name_text(&target, name));
	return 0;
}

static int soa_text(const uint8_t *p, size_t n, const struct dns_record *r, char *out, size_t size)
{
	char a[DNS_TEXT_MAX], b[DNS_TEXT_MAX];
	struct dns_name mname, rname;
	size_t at;

	if (dns_name_read(p, n, r->data, &mname, &at) < 0 || dns_name_read(p, n, at, &rname, &at) < 0 || at + 20 > n)
		return -EBADMSG;
	(void)snprintf(out, size, "%s %s %u %u %u %u %u", dns_name_text(&mname, a), dns_name_text(&rname, b), dns_get32(p + at), dns_get32(p + at + 4),
		       dns_get32(p + at + 8), dns_get32(p + at + 12), dns_get32(p + at + 16));
	return 0;
}

static int txt_text(const uint8_t *p, const struct dns_record *r, char *out, size_t size)
{
	size_t at = r->data, end = r->data + r->len, o = 0;

	while (at < end) {
		size_t len = p[at++];

		if (at + len > end)
			return -EBADMSG;
		if (o + 4 * len + 4 > size)
			break;
		o += (size_t)snprintf(out + o, size - o, "%s\"", o ? " " : "");
		for (size_t i = 0; i < len; i++) {
			uint8_t c = p[at + i];

			o += (size_t)snprintf(out + o, size - o, c == '"' || c == '\\' ? "\\%c" : c < ' ' || c >= 127 ? "\\%03u" : "%c", c);
		}
		out[o++] = '"';
		at += len;
	}
	out[o] = '\0';
	return 0;
}

/* RFC 3597 5 */
static void generic_text(const uint8_t *p, const struct dns_record *r, char *out, size_t size)
{
	size_t o = (size_t)snprintf(out, size, "\\# %u ", r->len);

	for (size_t i = 0; i < r->len && o + 3 < size; i++)
		o += (size_t)snprintf(out + o, size - o, "%02x", p[r->data + i]);
}

void dns_rdata_text(const uint8_t *p, size_t n, const struct dns_record *r, char *out, size_t size)
{
	int rc = -EBADMSG;

	out[0] = '\0';
	switch (r->type) {
	case DNS_A:
		rc = r->len == 4 && inet_ntop(AF_INET, p + r->data, out, (socklen_t)size) ? 0 : -EBADMSG;
		break;
	case DNS_AAAA:
		rc = r->len == 16 && inet_ntop(AF_INET6, p + r->data, out, (socklen_t)size) ? 0 : -EBADMSG;
		break;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		rc = numbers_and_name(p, n, r, 0, out, size);
		break;
	case 15:
		rc = numbers_and_name(p, n, r, 1, out, size);
		break;
	case DNS_SRV:
		rc = numbers_and_name(p, n, r, 3, out, size);
		break;
	case DNS_SOA:
		rc = soa_text(p, n, r, out, size);
		break;
	case DNS_TXT:
		rc = txt_text(p, r, out, size);
		break;
	}
	if (rc < 0)
		generic_text(p, r, out, size);
}
