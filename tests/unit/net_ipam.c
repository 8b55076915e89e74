/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/addr.h"
#include "net/ipam.h"

static struct net_cidr cidr(const char *s)
{
	struct net_cidr c;

	assert_int_equal(cidr_parse(s, &c), 0);
	return c;
}

static struct in6_addr addr(const char *s)
{
	struct in6_addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void test_addr(void **state)
{
	static const char *const good[] = { "0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1" };
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", "::g", "1.2.3.4/8", "localhost" };
	char t[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct in6_addr a = addr(good[i]);

		assert_string_equal(addr_text(&a, t), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct in6_addr a;

		assert_true(addr_parse(bad[i], &a) < 0);
	}
}

static void test_cidr(void **state)
{
	static const char *const bad[] = { "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "/8", "::1/129", "::ffff:10.0.0.0/104", "10.0.0.0/8x" };
	struct net_cidr a = cidr("172.17.0.0/16"), b = cidr("172.17.255.255/32"), c = cidr("172.18.0.0/16"), all = cidr("0.0.0.0/0"), odd = cidr("10.1.2.3/13");
	struct net_cidr base = cidr_base(&odd);
	struct in6_addr last = cidr_last(&odd), x = addr("10.0.0.255");
	char t[CIDR_TEXT];

	(void)state;
	assert_true(cidr_overlap(&a, &b) && cidr_overlap(&b, &a) && !cidr_overlap(&a, &c) && cidr_overlap(&all, &c));
	assert_true(cidr_has(&a, &b.addr));
	assert_string_equal(cidr_text(&base, t), "10.0.0.0/13");
	assert_string_equal(addr_text(&last, t), "10.7.255.255");
	x = addr_add(&x, 257);
	assert_string_equal(addr_text(&x, t), "10.0.2.0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(cidr_parse(bad[i], &c) < 0);
	/* An IPv6 default route covers no IPv4 address. */
	all = cidr("::/0");
	assert_false(cidr_overlap(&all, &a));
}

static void test_mac(void **state)
{
	struct in6_addr a = addr("172.17.0.2");
	uint8_t mac[6];
	char t[18];

	(void)state;
	addr_mac(&a, mac);
	assert_string_equal(mac_text(mac, t), "02:42:ac:11:00:02");
	assert_int_equal(mac_parse("02:42:AC:11:00:03", mac), 0);
	assert_true(mac_parse("01:00:5e:00:00:01", mac) < 0);
	assert_true(mac_parse("00:00:00:00:00:00", mac) < 0);
	assert_true(mac_parse("2:4:5:6:7:8", mac) < 0);
	assert_true(mac_parse("02:42:ac:11:00:02:03", mac) < 0);
	assert_true(mac_parse("", mac) < 0);
}

static void test_small(void **state)
{
	struct err e;
	struct ipam_spec s = { .subnet = cidr("10.0.0.0/29") };
	struct ipam *m = ipam_new(&s, &e);
	struct in6_addr a, first, other = addr("10.0.0.2");
	char t[ADDR_TEXT];

	(void)state;
	assert_non_null(m);
	assert_string_equal(addr_text(ipam_gateway(m), t), "10.0.0.1");
	for (int i = 2; i <= 6; i++) {
		char want[16];

		(void)snprintf(want, sizeof(want), "10.0.0.%d", i);
		assert_int_equal(ipam_take(m, &a, &e), 0);
		assert_string_equal(addr_text(&a, t), want);
		if (i == 2)
			first = a;
	}
	assert_int_equal(ipam_take(m, &a, &e), -1);
	assert_non_null(strstr(e.msg, "no available IPv4 addresses"));
	ipam_give(m, &first);
	ipam_give(m, &first);
	assert_int_equal(ipam_used(m), 4);
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_true(addr_eq(&a, &first));
	assert_int_equal(ipam_take_addr(m, &other, &e), -1);
	assert_non_null(strstr(e.msg, "Address already in use"));
	other = addr("10.0.0.1");
	assert_int_equal(ipam_take_addr(m, &other, &e), -1);
	other = addr("10.0.0.7");
	assert_int_equal(ipam_take_addr(m, &other, &e), -1);
	other = addr("10.0.0.8");
	assert_int_equal(ipam_take_addr(m, &other, &e), -1);
	assert_non_null(strstr(e.msg, "10.0.0.8"));
	ipam_free(m);
}

static void test_spec(void **state)
{
	struct net_cidr range = cidr("10.5.1.0/30"), out = cidr("10.6.0.0/24");
	struct in6_addr gw = addr("10.5.0.254"), aux = addr("10.5.1.1"), bad = addr("10.9.0.1"), a;
	struct ipam_spec s = { .subnet = cidr("10.5.0.0/16"), .range = &range, .gateway = &gw, .aux = &aux, .n_aux = 1 };
	struct err e;
	struct ipam *m = ipam_new(&s, &e);
	char t[ADDR_TEXT];

	(void)state;
	assert_non_null(m);
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_string_equal(addr_text(&a, t), "10.5.1.0");	/* the range's first, not the subnet's */
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_string_equal(addr_text(&a, t), "10.5.1.2");
	a = addr("10.5.77.1");
	assert_int_equal(ipam_take_addr(m, &a, &e), 0);		/* wanted ones may lie outside the range */
	ipam_free(m);
	s.gateway = &bad;
	assert_null(ipam_new(&s, &e));
	assert_non_null(strstr(e.msg, "10.9.0.1"));
	s.gateway = NULL;
	s.range = &out;
	assert_null(ipam_new(&s, &e));
	assert_non_null(strstr(e.msg, "ip-range 10.6.0.0/24"));
	s = (struct ipam_spec){ .subnet = cidr("10.0.0.1/32") };
	assert_null(ipam_new(&s, &e));
	s = (struct ipam_spec){ .subnet = cidr("10.0.0.0/31") };
	m = ipam_new(&s, &e);
	assert_non_null(m);
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_string_equal(addr_text(&a, t), "10.0.0.1");
	assert_int_equal(ipam_take(m, &a, &e), -1);
	ipam_free(m);
	s = (struct ipam_spec){ .subnet = cidr("10.0.0.0/8") };
	m = ipam_new(&s, &e);
	assert_non_null(m);
	a = addr("10.200.0.1");		/* past what is handed out, but somebody wants it */
	assert_int_equal(ipam_take_addr(m, &a, &e), 0);
	assert_int_equal(ipam_take_addr(m, &a, &e), -1);
	assert_non_null(strstr(e.msg, "Address already in use: 10.200.0.1"));
	ipam_give(m, &a);
	assert_int_equal(ipam_used(m), 0);
	assert_int_equal(ipam_take_addr(m, &a, &e), 0);
	a = addr("10.255.255.255");
	assert_int_equal(ipam_take_addr(m, &a, &e), -1);
	ipam_free(m);
}

static void test_v6(void **state)
{
	struct ipam_spec s = { .subnet = cidr("fd00:1:2:3::/64") };
	struct net_cidr taken[2], ula = cidr("fd00:1:2::/48"), c;
	struct err e;
	struct ipam *m = ipam_new(&s, &e);
	struct in6_addr a;
	char t[CIDR_TEXT];

	(void)state;
	assert_non_null(m);
	assert_string_equal(addr_text(ipam_gateway(m), t), "fd00:1:2:3::1");
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_string_equal(addr_text(&a, t), "fd00:1:2:3::2");
	a = addr("fd00:1:2:3:dead:beef::1");
	assert_int_equal(ipam_take_addr(m, &a, &e), 0);
	assert_int_equal(ipam_take_addr(m, &a, &e), -1);
	a = addr("fd00:1:2:4::1");
	assert_int_equal(ipam_take_addr(m, &a, &e), -1);
	ipam_give(m, &a);
	a = addr("fd00:1:2:3::");
	assert_int_equal(ipam_take_addr(m, &a, &e), -1);
	ipam_free(m);
	s.subnet = cidr("fd00::/127");
	m = ipam_new(&s, &e);
	assert_string_equal(addr_text(ipam_gateway(m), t), "fd00::");
	assert_int_equal(ipam_take(m, &a, &e), 0);
	assert_string_equal(addr_text(&a, t), "fd00::1");
	assert_int_equal(ipam_take(m, &a, &e), -1);
	assert_non_null(strstr(e.msg, "no available IPv6 addresses"));
	ipam_free(m);
	taken[0] = cidr("fd00:1:2::/64");
	taken[1] = cidr("fd00:1:2:1:8000::/65");
	assert_int_equal(ipam_pool_pick6(&ula, taken, 2, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "fd00:1:2:2::/64");
	assert_int_equal(ipam_pool_pick6(&ula, &ula, 1, &c, &e), -1);
}

/* Random takes, wanted takes and returns against a plain array of booleans. */
static void test_random(void **state)
{
	static const char *const subnets[] = { "10.0.0.0/30", "10.1.0.0/26", "10.2.0.0/24", "10.3.0.0/20" };
	struct err e;

	(void)state;
	for (size_t k = 0; k < sizeof(subnets) / sizeof(subnets[0]); k++) {
		struct ipam_spec s = { .subnet = cidr(subnets[k]) };
		struct ipam *m = ipam_new(&s, &e);
		size_t size = (size_t)1 << (128 - s.subnet.prefix), used = 0;
		char *model = calloc(size, 1);

		assert_non_null(m);
		model[0] = model[1] = model[size - 1] = 2;
		for (int step = 0; step < 20000; step++) {
			struct in6_addr a;
			size_t o = (size_t)rand_below(size);

			a = addr_add(&s.subnet.addr, o);
			switch (rand_below(3)) {
			case 0:
				if (ipam_take(m, &a, &e) < 0) {
					assert_int_equal(used, size - 3);
					break;
				}
				o = addr_to4(&a) - addr_to4(&s.subnet.addr);
				assert_true(o < size && model[o] == 0);
				model[o] = 1;
				used++;
				break;
			case 1:
				assert_int_equal(ipam_take_addr(m, &a, &e), model[o] ? -1 : 0);
				if (!model[o]) {
					model[o] = 1;
					used++;
				}
				break;
			case 2:
				ipam_give(m, &a);
				if (model[o] == 1) {
					model[o] = 0;
					used--;
				}
				break;
			}
			assert_int_equal(ipam_used(m), used);
		}
		free(model);
		ipam_free(m);
	}
}

static void test_pools(void **state)
{
	struct net_cidr taken[64], c;
	struct err e;
	size_t n = 0;
	char t[CIDR_TEXT];

	(void)state;
	taken[n++] = cidr("0.0.0.0/0");		/* a default route is no obstacle */
	assert_int_equal(ipam_pool_pick(taken, n, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "172.17.0.0/16");
	taken[n++] = cidr("172.17.3.0/24");	/* a part is enough */
	taken[n++] = cidr("172.18.0.0/15");
	assert_int_equal(ipam_pool_pick(taken, n, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "172.20.0.0/16");
	taken[n++] = cidr("172.16.0.0/12");
	taken[n++] = cidr("192.168.1.0/24");
	assert_int_equal(ipam_pool_pick(taken, n, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "192.168.16.0/20");
	while (ipam_pool_pick(taken, n, &c, &e) == 0)
		taken[n++] = c;
	assert_int_equal(n, 5 + 15);
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
}

static void test_defaults(void **state)
{
	static const char *const bad[] = { "", "base=10.0.0.0/8", "base=10.0.0.0/8,size=7", "base=10.0.0.1/8,size=24", "base=x,size=24", "base=10.0.0.0/8,size=31", "size=24,foo=1" };
	struct net_cidr taken[] = { cidr("10.10.0.0/24"), cidr("10.10.2.0/23") }, c;
	struct ipam_default d[2];
	struct err e;
	char t[CIDR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ipam_default_parse(bad[i], &d[0], &e), -1);
	assert_int_equal(ipam_default_parse("base=10.10.0.0/22,size=24", &d[0], &e), 0);
	assert_int_equal(ipam_default_parse("size=64,base=fd00:5::/62", &d[1], &e), 0);
	assert_int_equal(ipam_default_pick(d, 1, true, taken, 2, &c, &e), 1);
	assert_int_equal(ipam_default_pick(d, 2, false, taken, 2, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "10.10.1.0/24");
	taken[0] = cidr("10.10.0.0/23");
	assert_int_equal(ipam_default_pick(d, 2, false, taken, 2, &c, &e), -1);
	taken[0] = cidr("fd00:5::/63");
	assert_int_equal(ipam_default_pick(d, 2, true, taken, 2, &c, &e), 0);
	assert_string_equal(cidr_text(&c, t), "fd00:5:0:2::/64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr), cmocka_unit_test(test_cidr), cmocka_unit_test(test_mac), cmocka_unit_test(test_small),
		cmocka_unit_test(test_spec), cmocka_unit_test(test_v6), cmocka_unit_test(test_defaults), cmocka_unit_test(test_random), cmocka_unit_test(test_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
