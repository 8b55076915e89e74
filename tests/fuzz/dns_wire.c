/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "dns/hostconf.h"
#include "base/str.h"
#include "dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void require(int ok)
{
	if (!ok)
		abort();
}

/* A name as read goes to text and comes back. */
static void name_round_trip(const struct dns_name *name)
{
	char text[DNS_TEXT_MAX];
	struct dns_name again;

	require(dns_name_parse(dns_name_text(name, text), &again) == 0);
	require(dns_name_eq(name, &again));
}

static void as_query(const uint8_t *p, size_t n)
{
	uint8_t out[DNS_PLAIN_MAX];
	struct dns_writer w;
	struct dns_query q, again;

	if (dns_query_parse(p, n, &q) < 0)
		return;
	require(q.end <= n && q.udp_size >= DNS_PLAIN_MAX);
	dns_write_reply(&w, out, sizeof(out), p, &q, DNS_RA);
	dns_write_settle(&w, q.end, false, sizeof(out));
	dns_write_opt(&w, 1232, DNS_BADVERS, q.dnssec_ok, NULL, 0);
	require(dns_write_end(&w) <= sizeof(out));
	/* An answer is no question. */
	require(dns_query_parse(out, w.len, &again) < 0);
	if (q.end > DNS_HEADER)
		name_round_trip(&q.name);
}

static void as_answer(const uint8_t *p, size_t n)
{
	uint16_t offsets[64];
	struct dns_answer a;
	struct dns_record r;
	char text[4096];
	size_t off, count;

	if (dns_answer_parse(p, n, &a) < 0)
		return;
	require(a.body <= a.end && a.end <= n && a.opt + a.opt_len <= n);
	count = dns_ttl_offsets(p, &a, offsets, 64);
	require(count == (size_t)a.counts[0] + a.counts[1] + a.counts[2]);
	for (size_t i = 0; i < count && i < 64; i++)
		require(offsets[i] >= a.body && offsets[i] + 4u <= a.end);
	for (off = a.body; off < a.end && dns_record_read(p, a.end, &off, &r) == 0;) {
		name_round_trip(&r.owner);
		dns_rdata_text(p, n, &r, text, sizeof(text));
		require(strlen(text) < sizeof(text));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct dns_name name;
	struct in6_addr a;
	char *text;

	as_query(p, n);
	as_answer(p, n);
	text = malloc(n + 1);
	memcpy(text, p, n);
	text[n] = '\0';
	if (dns_name_parse(text, &name) == 0)
		name_round_trip(&name);
	strv_free(hostconf_parse(text));
	free(text);
	/* A reverse name means its address, and nothing that is not one means any. */
	if (n >= DNS_HEADER) {
		size_t next;

		if (dns_name_read(p, n, DNS_HEADER, &name, &next) == 0 && dns_name_address(&name, &a)) {
			struct dns_name again;

			dns_name_reverse(&a, &again);
			require(dns_name_eq(&name, &again));
		}
	}
	return 0;
}
