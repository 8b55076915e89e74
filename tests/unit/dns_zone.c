/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dns/zone.h"

static struct in6_addr addr(const char *text)
{
	struct in6_addr a;
	char mapped[64];

	if (strchr(text, ':'))
		(void)snprintf(mapped, sizeof(mapped), "%s", text);
	else
		(void)snprintf(mapped, sizeof(mapped), "::ffff:%s", text);
	assert_int_equal(inet_pton(AF_INET6, mapped, &a), 1);
	return a;
}

static struct dns_host *host(struct dns_view *v, const char *name, const char *a, const char *b)
{
	struct in6_addr addrs[2];
	size_t n = 0;
	struct dns_host *h;

	addrs[n++] = addr(a);
	if (b)
		addrs[n++] = addr(b);
	h = dns_host_new(v, addrs, n);
	assert_int_equal(dns_host_name(h, name), 0);
	return h;
}

/* "NOT", "NODATA", "NONE", or the answers' data in order. */
static const char *ask(struct dns_view *const *views, size_t n, const char *name, uint16_t type)
{
	static char out[2048];
	uint8_t q_msg[300], msg[4096];
	struct dns_writer w;
	struct dns_query q;
	struct dns_record r;
	struct dns_name k;
	size_t off, len = 0;
	char rd[1100];

	assert_int_equal(dns_name_parse(name, &k), 0);
	dns_write_query(&w, q_msg, sizeof(q_msg), 1, DNS_RD, &k, type, DNS_IN);
	dns_query_parse(q_msg, dns_write_end(&w), &q);
	dns_write_reply(&w, msg, sizeof(msg), q_msg, &q, 0);
	switch (dns_zone_answer(views, n, &q.name, type, &w)) {
	case DNS_FOUND_NOT:
		return "NOT";
	case DNS_FOUND_NODATA:
		return "NODATA";
	case DNS_FOUND_NONE:
		return "NONE";
	case DNS_FOUND:
		break;
	}
	dns_write_end(&w);
	*out = '\0';
	for (off = q.end; off < w.len;) {
		assert_int_equal(dns_record_read(msg, w.len, &off, &r), 0);
		assert_int_equal(r.ttl, DNS_LOCAL_TTL);
		dns_rdata_text(msg, w.len, &r, rd, sizeof(rd));
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s", len ? " " : "", rd);
	}
	return out;
}
#define ASK1(name, type) ask(&v, 1, name, type)

static void test_lookup(void **state)
{
	int rc;
	struct dns_view *v = dns_view_new("app", &rc);
	struct dns_host *h = host(v, "Web_1", "172.18.0.2", "fd00::2");

	(void)state;
	assert_int_equal(dns_host_name(h, "0123456789ab"), 0);
	assert_int_equal(dns_host_name(h, "web_1"), 0);		/* again */
	assert_int_equal(dns_host_name(h, "a..b"), -EINVAL);
	assert_string_equal(ASK1("web_1", DNS_A), "172.18.0.2");
	assert_string_equal(ASK1("WEB_1.APP", DNS_A), "172.18.0.2");
	assert_string_equal(ASK1("web_1", DNS_AAAA), "fd00::2");
	assert_string_equal(ASK1("web_1", DNS_ANY), "172.18.0.2 fd00::2");
	assert_string_equal(ASK1("web_1", DNS_TXT), "NODATA");
	assert_string_equal(ASK1("0123456789ab", DNS_A), "172.18.0.2");
	assert_string_equal(ASK1("web_2", DNS_A), "NOT");
	assert_string_equal(ASK1("web_1.other", DNS_A), "NOT");
	assert_string_equal(ASK1("app", DNS_A), "NOT");
	/* PTR of each address, in one spelling */
	assert_string_equal(ASK1("2.0.18.172.in-addr.arpa", DNS_PTR), "web_1.app");
	assert_string_equal(ASK1("2.0.18.172.in-addr.arpa", DNS_A), "NODATA");
	assert_string_equal(ASK1("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_PTR), "web_1.app");
	assert_string_equal(ASK1("3.0.18.172.in-addr.arpa", DNS_PTR), "NOT");
	{
		struct in6_addr base = addr("172.18.0.0");

		dns_view_subnet(v, &base, 96 + 12);
	}
	assert_string_equal(ASK1("3.0.18.172.in-addr.arpa", DNS_PTR), "NONE");
	assert_string_equal(ASK1("3.0.31.172.in-addr.arpa", DNS_PTR), "NONE");
	assert_string_equal(ASK1("3.0.32.172.in-addr.arpa", DNS_PTR), "NOT");
	dns_host_free(h);
	assert_string_equal(ASK1("web_1", DNS_A), "NOT");
	assert_string_equal(ASK1("2.0.18.172.in-addr.arpa", DNS_PTR), "NONE");
	dns_view_free(v);
	assert_null(dns_view_new("a..b", &rc));
	assert_int_equal(rc, -EINVAL);
}

static void test_turns(void **state)
{
	int rc;
	struct dns_view *v = dns_view_new("rrdns", &rc);
	struct dns_host *a = host(v, "a", "172.18.0.2", NULL), *b = host(v, "b", "172.18.0.3", NULL), *c = host(v, "c", "172.18.0.4", NULL);

	(void)state;
	dns_host_name(a, "search");
	dns_host_name(b, "search");
	assert_string_equal(ASK1("search", DNS_A), "172.18.0.2 172.18.0.3");
	/* Resolvers ask for AAAA in between. */
	assert_string_equal(ASK1("search", DNS_AAAA), "NODATA");
	assert_string_equal(ASK1("search", DNS_A), "172.18.0.3 172.18.0.2");
	assert_string_equal(ASK1("search", DNS_A), "172.18.0.2 172.18.0.3");
	dns_host_name(c, "search");
	/* All come first equally often, whatever the counter was. */
	{
		unsigned first[3] = { 0 };

		for (unsigned i = 0; i < 300; i++) {
			const char *s = ASK1("search", DNS_A);

			assert_int_equal(strlen(s), 32);
			first[s[9] - '2']++;
		}
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(first[i], 100);
	}
	/* Not ready: silent while another is ready, better than nothing when none is. */
	dns_host_ready(a, false);
	dns_host_ready(c, false);
	assert_string_equal(ASK1("search", DNS_A), "172.18.0.3");
	assert_string_equal(ASK1("a", DNS_A), "172.18.0.2");
	dns_host_free(b);
	assert_int_equal(strlen(ASK1("search", DNS_A)), 21);
	dns_host_ready(c, true);
	assert_string_equal(ASK1("search", DNS_A), "172.18.0.4");
	dns_view_free(v);		/* with its hosts */
}

static void test_services(void **state)
{
	int rc;
	struct dns_view *v = dns_view_new("ov", &rc);
	struct dns_host *vip = host(v, "web", "10.0.0.2", NULL), *t1 = host(v, "web.1.x", "10.0.0.3", NULL), *t2 = host(v, "web.2.y", "10.0.0.4", NULL);

	(void)state;
	dns_host_name(t1, "tasks.web");
	dns_host_name(t2, "tasks.web");
	assert_string_equal(ASK1("web", DNS_A), "10.0.0.2");
	assert_string_equal(ASK1("tasks.web", DNS_A), "10.0.0.3 10.0.0.4");
	assert_string_equal(ASK1("tasks.web.ov", DNS_A), "10.0.0.4 10.0.0.3");
	assert_int_equal(dns_host_service(t1, "_http._tcp.web", "web.1.x", 80, 10, 5), 0);
	assert_int_equal(dns_host_service(t2, "_http._tcp.web", "web.2.y", 8080, 10, 5), 0);
	assert_string_equal(ASK1("_http._tcp.web", DNS_SRV), "10 5 80 web.1.x 10 5 8080 web.2.y 10.0.0.3 10.0.0.4");
	assert_string_equal(ASK1("_http._tcp.web", DNS_A), "NODATA");
	dns_host_free(t1);
	assert_string_equal(ASK1("_http._tcp.web", DNS_SRV), "10 5 8080 web.2.y 10.0.0.4");
	dns_host_free(vip);
	assert_string_equal(ASK1("web", DNS_A), "NOT");
	dns_view_free(v);
}

static void test_views(void **state)
{
	int rc;
	struct dns_view *two[2] = { dns_view_new("front", &rc), dns_view_new("back", &rc) };
	struct dns_host *h = host(two[0], "web", "172.18.0.2", NULL);

	(void)state;
	host(two[1], "web", "172.19.0.2", "fd00::19");
	host(two[1], "db", "172.19.0.3", NULL);
	assert_string_equal(ask(two, 2, "web", DNS_A), "172.18.0.2");
	assert_string_equal(ask(two, 2, "web.back", DNS_A), "172.19.0.2");
	assert_string_equal(ask(two, 2, "web", DNS_AAAA), "fd00::19");
	assert_string_equal(ask(two, 2, "db", DNS_A), "172.19.0.3");
	assert_string_equal(ask(two, 1, "db", DNS_A), "NOT");
	assert_string_equal(ask(two, 2, "db", DNS_AAAA), "NODATA");
	dns_host_free(h);
	assert_string_equal(ask(two, 2, "web", DNS_A), "172.19.0.2");
	dns_view_free(two[0]);
	dns_view_free(two[1]);
}

static void test_many(void **state)
{
	int rc;
	struct dns_view *v = dns_view_new("big", &rc);
	struct dns_host *hosts[2000];
	char name[32], text[32];

	(void)state;
	for (unsigned i = 0; i < N(hosts); i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		(void)snprintf(text, sizeof(text), "10.1.%u.%u", i / 250, i % 250 + 1);
		hosts[i] = host(v, name, text, NULL);
	}
	for (unsigned i = 0; i < N(hosts); i += 2)
		dns_host_free(hosts[i]);
	for (unsigned i = 0; i < N(hosts); i++) {
		(void)snprintf(name, sizeof(name), "C%u", i);
		(void)snprintf(text, sizeof(text), "10.1.%u.%u", i / 250, i % 250 + 1);
		assert_string_equal(ASK1(name, DNS_A), i % 2 ? text : "NOT");
	}
	dns_view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup), cmocka_unit_test(test_turns), cmocka_unit_test(test_services), cmocka_unit_test(test_views),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
