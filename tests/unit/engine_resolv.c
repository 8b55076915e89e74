/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf of containers. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/resolv.h"

static const char host_file[] = "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch old.example\nsearch lab.example office.example\n"
				"options edns0 trust-ad\noptions timeout:2\nsortlist 10.0.0.0\n";

static const struct {
	const char *host, *nameserver;
	bool host_net;
	const char *want;
} cases[] = {
	{ "{}", "", false, "nameserver 192.0.2.53\nsearch lab.example office.example\noptions edns0 trust-ad timeout:2\n" },
	{ "{}", "", true, "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch lab.example office.example\noptions edns0 trust-ad timeout:2\n" },
	{ "{}", "127.0.0.11", false, "nameserver 127.0.0.11\nsearch lab.example office.example\noptions edns0 trust-ad timeout:2 ndots:0\n" },
	{ "{\"Dns\":[\"198.51.100.1\",\"198.51.100.2\"]}", "", false,
	  "nameserver 198.51.100.1\nnameserver 198.51.100.2\nsearch lab.example office.example\noptions edns0 trust-ad timeout:2\n" },
	{ "{\"Dns\":[\"198.51.100.1\"]}", "127.0.0.11", false,
	  "nameserver 127.0.0.11\nsearch lab.example office.example\noptions edns0 trust-ad timeout:2 ndots:0\n" },
	{ "{\"DnsSearch\":[\"a.example\",\"b.example\"],\"DnsOptions\":[\"ndots:2\",\"rotate\"]}", "127.0.0.11", false,
	  "nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:2 rotate\n" },
	{ "{\"DnsSearch\":[\".\"]}", "127.0.0.11", false, "nameserver 127.0.0.11\noptions edns0 trust-ad timeout:2 ndots:0\n" },
};

static void test_resolv(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		json_t *host = json_parse(cases[i].host, __builtin_strlen(cases[i].host), "a test", NULL);
		struct buf b = BUF_INIT;

		resolv_text(host, host_file, cases[i].nameserver, cases[i].host_net, &b);
		assert_string_equal(b.data, cases[i].want);
		buf_done(&b);
		json_decref(host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_resolv) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
