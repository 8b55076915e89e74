/* SPDX-License-Identifier: Apache-2.0 */
/* The codec, on packets captured from unbound 1.17 and on made ones. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dns/wire.h"

static const char q_a_plain[] =
	"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x00\x03\x57\x77\x57\x07\x65\x58\x61\x6d\x70\x6c\x65\x00\x00\x01\x00\x01";
static const char q_aaaa[] =
	"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x03\x77\x77\x77\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x1c\x00\x01\x00\x00\x29"
	"\x04\xd0\x00\x00\x80\x00\x00\x00";
static const char r_a[] =
	"\x12\x34\x85\x80\x00\x01\x00\x02\x00\x00\x00\x01\x03\x77\x77\x77\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x01\x00\x01\xc0\x0c\x00"
	"\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x50\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x51\x00\x00\x29"
	"\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_aaaa[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x03\x77\x77\x77\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x1c\x00\x01\xc0\x0c\x00"
	"\x1c\x00\x01\x00\x00\x01\x2c\x00\x10\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x29\x04\xd0\x00\x00"
	"\x80\x00\x00\x00";
static const char r_mx[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x0f\x00\x01\xc0\x0c\x00\x0f\x00\x01\x00"
	"\x00\x01\x2c\x00\x09\x00\x0a\x04\x6d\x61\x69\x6c\xc0\x0c\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_txt[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x03\x74\x78\x74\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x10\x00\x01\xc0\x0c\x00"
	"\x10\x00\x01\x00\x00\x01\x2c\x00\x16\x0b\x76\x3d\x73\x70\x66\x31\x20\x2d\x61\x6c\x6c\x09\x74\x77\x6f\x3b\x77\x6f\x72\x64\x73\x00"
	"\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_srv[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x05\x5f\x68\x74\x74\x70\x04\x5f\x74\x63\x70\x07\x65\x78\x61\x6d\x70\x6c\x65\x00"
	"\x00\x21\x00\x01\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c\x00\x13\x00\x0a\x00\x05\x00\x50\x03\x77\x77\x77\x07\x65\x78\x61\x6d\x70"
	"\x6c\x65\x00\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_nxdomain[] =
	"\x12\x34\x85\x83\x00\x01\x00\x00\x00\x01\x00\x01\x02\x6e\x6f\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x01\x00\x01\xc0\x0f\x00\x06"
	"\x00\x01\x00\x00\x01\x2c\x00\x21\x02\x6e\x73\xc0\x0f\x05\x61\x64\x6d\x69\x6e\xc0\x0f\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x02"
	"\x58\x00\x01\x51\x80\x00\x00\x01\x2c\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_nodata[] =
	"\x12\x34\x85\x80\x00\x01\x00\x00\x00\x01\x00\x01\x03\x74\x78\x74\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x01\x00\x01\xc0\x10\x00"
	"\x06\x00\x01\x00\x00\x01\x2c\x00\x21\x02\x6e\x73\xc0\x10\x05\x61\x64\x6d\x69\x6e\xc0\x10\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00"
	"\x02\x58\x00\x01\x51\x80\x00\x00\x01\x2c\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_https[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x03\x73\x76\x63\x07\x65\x78\x61\x6d\x70\x6c\x65\x00\x00\x41\x00\x01\xc0\x0c\x00"
	"\x41\x00\x01\x00\x00\x00\x3c\x00\x0a\x00\x01\x00\x00\x01\x00\x03\x02\x68\x32\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
static const char r_ptr[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01\x02\x38\x30\x01\x32\x01\x30\x03\x31\x39\x32\x07\x69\x6e\x2d\x61\x64\x64\x72\x04"
	"\x61\x72\x70\x61\x00\x00\x0c\x00\x01\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c\x00\x0d\x03\x77\x77\x77\x07\x65\x78\x61\x6d\x70\x6c"
	"\x65\x00\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

#define BYTES(a) (const uint8_t *)(a), sizeof(a) - 1

static void test_names(void **state)
{
	struct dns_name a, b, head;
	char text[DNS_TEXT_MAX], big[300];

	(void)state;
	assert_int_equal(dns_name_parse("Web.Example.", &a), 0);
	assert_int_equal(dns_name_parse("web.example", &b), 0);
	assert_true(dns_name_eq(&a, &b));
	assert_string_equal(dns_name_text(&a, text), "web.example");
	assert_int_equal(a.len, 13);
	assert_int_equal(dns_name_parse(".", &a), 0);
	assert_int_equal(a.len, 1);
	assert_string_equal(dns_name_text(&a, text), ".");
	assert_int_equal(dns_name_parse("", &a), 0);
	assert_int_equal(dns_name_parse("a..b", &a), -EINVAL);
	assert_int_equal(dns_name_parse(".a", &a), -EINVAL);
	assert_int_equal(dns_name_parse("a\\", &a), -EINVAL);
	assert_int_equal(dns_name_parse("a\\999", &a), -EINVAL);
	assert_int_equal(dns_name_parse("a\\.b\\009\\\\.c_d", &a), 0);
	assert_string_equal(dns_name_text(&a, text), "a\\.b\\009\\\\.c_d");
	memset(big, 'x', sizeof(big));
	big[63] = '\0';
	assert_int_equal(dns_name_parse(big, &a), 0);
	big[63] = 'x';
	big[64] = '\0';
	assert_int_equal(dns_name_parse(big, &a), -EINVAL);
	/* 255 bytes: 63 + 63 + 63 + 61 and their lengths and the root */
	memset(big, 'x', sizeof(big));
	big[63] = big[127] = big[191] = '.';
	big[253] = '\0';
	assert_int_equal(dns_name_parse(big, &a), 0);
	assert_int_equal(a.len, 255);
	big[253] = 'x';
	big[254] = '\0';
	assert_int_equal(dns_name_parse(big, &a), -EINVAL);

	dns_name_parse("web.app.example", &a);
	dns_name_parse("example", &b);
	assert_true(dns_name_below(&a, &b, &head));
	assert_string_equal(dns_name_text(&head, text), "web.app");
	dns_name_parse("xample", &b);
	assert_false(dns_name_below(&a, &b, &head));
	assert_false(dns_name_below(&b, &b, &head));
}

static void test_reverse(void **state)
{
	static const struct {
		const char *addr, *name;
	} cases[] = {
		{ "::ffff:172.18.0.3", "3.0.18.172.in-addr.arpa" },
		{ "::ffff:255.100.9.0", "0.9.100.255.in-addr.arpa" },
		{ "2001:db8::80", "0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" },
	};
	static const char *const no[] = { "1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "256.1.1.1.in-addr.arpa", "01.1.1.1.in-addr.arpa", "a.1.1.1.in-addr.arpa",
					  "in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa", "3.0.18.172.in-addr.arpa.x" };
	struct in6_addr want, got;
	struct dns_name n, m;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		inet_pton(AF_INET6, cases[i].addr, &want);
		dns_name_parse(cases[i].name, &n);
		assert_true(dns_name_address(&n, &got));
		assert_memory_equal(&want, &got, 16);
		dns_name_reverse(&want, &m);
		assert_true(dns_name_eq(&n, &m));
	}
	for (size_t i = 0; i < N(no); i++) {
		dns_name_parse(no[i], &n);
		assert_false(dns_name_address(&n, &got));
	}
}

static void test_queries(void **state)
{
	uint8_t m[512];
	struct dns_query q;
	char text[DNS_TEXT_MAX];
	size_t n;

	(void)state;
	assert_int_equal(dns_query_parse(BYTES(q_a_plain), &q), 0);
	assert_string_equal(dns_name_text(&q.name, text), "www.example");
	assert_int_equal(q.type, DNS_A);
	assert_int_equal(q.id, 0x1234);
	assert_false(q.edns);
	assert_int_equal(q.udp_size, 512);
	assert_int_equal(dns_query_parse(BYTES(q_aaaa), &q), 0);
	assert_true(q.edns && q.dnssec_ok);
	assert_int_equal(q.udp_size, 1232);

	/* Cut anywhere: an answer to give, or nothing to do; never a question. */
	for (n = 0; n < sizeof(q_aaaa) - 1; n++)
		assert_int_not_equal(dns_query_parse((const uint8_t *)q_aaaa, n, &q), 0);
	n = sizeof(q_aaaa) - 1;
	memcpy(m, q_aaaa, n);
	m[2] |= 0x80;
	assert_int_equal(dns_query_parse(m, n, &q), -EBADMSG);
	m[2] = 0x28;
	assert_int_equal(dns_query_parse(m, n, &q), DNS_NOTIMP);
	m[2] = 1;
	m[5] = 2;
	assert_int_equal(dns_query_parse(m, n, &q), DNS_FORMERR);
	assert_int_equal(q.end, DNS_HEADER);
	m[5] = 1;
	m[n - 5] = 1;		/* EDNS version 1: 11 bytes of OPT, TTL at 5, its second byte */
	m[n - 5] = 0;
	m[n - 11 + 6] = 1;
	assert_int_equal(dns_query_parse(m, n, &q), DNS_BADVERS);
	m[n - 11 + 6] = 0;
	m[n - 11] = 1;		/* OPT owned by something */
	assert_int_equal(dns_query_parse(m, n, &q), DNS_FORMERR);
	m[n - 11] = 0;
	memcpy(m + n, m + n - 11, 11);
	m[11] = 2;
	assert_int_equal(dns_query_parse(m, n + 11, &q), DNS_FORMERR);	/* two of them */
	m[11] = 1;
	m[DNS_HEADER] = 0xc0;	/* a question that points */
	assert_int_equal(dns_query_parse(m, n, &q), DNS_FORMERR);
}

static const char *rdata(const uint8_t *p, size_t n, unsigned index)
{
	static char text[1024];
	struct dns_answer a;
	struct dns_record r = { 0 };
	size_t off;

	assert_int_equal(dns_answer_parse(p, n, &a), 0);
	off = a.body;
	for (unsigned i = 0; i <= index; i++)
		assert_int_equal(dns_record_read(p, n, &off, &r), 0);
	dns_rdata_text(p, n, &r, text, sizeof(text));
	return text;
}

static void test_answers(void **state)
{
	struct dns_answer a;
	uint16_t offsets[8];

	(void)state;
	assert_int_equal(dns_answer_parse(BYTES(r_a), &a), 0);
	assert_int_equal(a.counts[0], 2);
	assert_true(a.has_answer);
	assert_int_equal(a.ttl, 300);
	assert_true(a.opt);
	assert_int_equal(dns_ttl_offsets((const uint8_t *)r_a, &a, offsets, 8), 2);
	assert_int_equal(dns_get32((const uint8_t *)r_a + offsets[1]), 300);
	assert_int_equal(dns_answer_parse(BYTES(r_nxdomain), &a), 0);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	assert_true(a.has_soa && !a.has_answer);
	assert_int_equal(a.negative_ttl, 300);
	assert_int_equal(dns_answer_parse(BYTES(r_nodata), &a), 0);
	assert_true(a.rcode == DNS_NOERROR && a.has_soa && !a.has_answer);
	assert_string_equal(rdata(BYTES(r_a), 0), "192.0.2.80");
	assert_string_equal(rdata(BYTES(r_aaaa), 0), "2001:db8::80");
	assert_string_equal(rdata(BYTES(r_mx), 0), "10 mail.example");
	assert_string_equal(rdata(BYTES(r_txt), 0), "\"v=spf1 -all\" \"two;words\"");
	assert_string_equal(rdata(BYTES(r_srv), 0), "10 5 80 www.example");
	assert_string_equal(rdata(BYTES(r_ptr), 0), "www.example");
	assert_string_equal(rdata(BYTES(r_nxdomain), 0), "ns.example admin.example 7 3600 600 86400 300");
	assert_string_equal(rdata(BYTES(r_https), 0), "\\# 10 00010000010003026832");
	for (size_t n = 0; n < sizeof(r_srv) - 1; n++)
		assert_int_equal(dns_answer_parse((const uint8_t *)r_srv, n, &a), -EBADMSG);
}

static void test_pointers(void **state)
{
	/* Behind a header: a pointer to itself, forward, and a chain backwards that is fine. */
	uint8_t m[64] = { 0 };
	struct dns_name n;
	char text[DNS_TEXT_MAX];
	size_t next;

	(void)state;
	m[12] = 0xc0;
	m[13] = 12;
	assert_int_equal(dns_name_read(m, sizeof(m), 12, &n, &next), -EBADMSG);
	m[13] = 20;
	assert_int_equal(dns_name_read(m, sizeof(m), 12, &n, &next), -EBADMSG);
	m[13] = 2;		/* into the header */
	assert_int_equal(dns_name_read(m, sizeof(m), 12, &n, &next), -EBADMSG);
	memcpy(m + 12, "\3com\0\2ab\xc0\x0c\1x\xc0\x11", 14);
	assert_int_equal(dns_name_read(m, sizeof(m), 22, &n, &next), 0);
	assert_string_equal(dns_name_text(&n, text), "x.ab.com");
	assert_int_equal(next, 26);
	m[17] = 0x40;		/* a label type of the past */
	assert_int_equal(dns_name_read(m, sizeof(m), 17, &n, &next), -EBADMSG);
	assert_int_equal(dns_name_read(m, 25, 22, &n, &next), -EBADMSG);
}

static void test_write(void **state)
{
	struct in6_addr a4, a6;
	struct dns_writer w;
	struct dns_answer a;
	struct dns_query q;
	uint8_t out[128];
	size_t n;

	(void)state;
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &a4);
	inet_pton(AF_INET6, "2001:db8::7", &a6);
	dns_query_parse(BYTES(q_a_plain), &q);
	dns_write_reply(&w, out, sizeof(out) - 11, (const uint8_t *)q_a_plain, &q, DNS_AA | DNS_RA);
	dns_write_address(&w, 1, NULL, &a4, 5);
	dns_write_address(&w, 1, NULL, &a6, 5);
	dns_write_settle(&w, q.end, false, sizeof(out));
	dns_write_opt(&w, 1232, DNS_NOERROR, false, NULL, 0);
	n = dns_write_end(&w);
	assert_int_equal(dns_answer_parse(out, n, &a), 0);
	assert_int_equal(a.counts[0], 2);
	assert_int_equal(a.flags, DNS_QR | DNS_AA | DNS_RA | DNS_RD);
	assert_memory_equal(out + 12, q_a_plain + 12, q.end - 12);	/* case kept */
	assert_string_equal(rdata(out, n, 1), "2001:db8::7");
	/* No room: TC, with the records that fitted or none. */
	for (unsigned keep = 0; keep < 2; keep++) {
		dns_write_reply(&w, out, q.end + 16u + 5, (const uint8_t *)q_a_plain, &q, DNS_RA);
		dns_write_address(&w, 1, NULL, &a4, 5);
		dns_write_address(&w, 1, NULL, &a4, 5);
		assert_true(w.full);
		dns_write_settle(&w, q.end, keep, sizeof(out));
		n = dns_write_end(&w);
		assert_int_equal(dns_answer_parse(out, n, &a), 0);
		assert_true(a.flags & DNS_TC);
		assert_int_equal(a.counts[0], keep);
	}
}

static void test_words(void **state)
{
	uint16_t t;
	char b[12];

	(void)state;
	assert_int_equal(dns_type_parse("aaaa", &t), 0);
	assert_int_equal(t, DNS_AAAA);
	assert_int_equal(dns_type_parse("TYPE65534", &t), 0);
	assert_int_equal(t, 65534);
	assert_int_equal(dns_type_parse("TYPE65536", &t), -EINVAL);
	assert_int_equal(dns_type_parse("what", &t), -EINVAL);
	assert_string_equal(dns_type_text(65, b), "HTTPS");
	assert_string_equal(dns_type_text(65535, b), "TYPE65535");
	assert_string_equal(dns_rcode_text(3, b), "NXDOMAIN");
	assert_string_equal(dns_rcode_text(4095, b), "RCODE4095");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),   cmocka_unit_test(test_reverse), cmocka_unit_test(test_queries), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_pointers), cmocka_unit_test(test_write),   cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
