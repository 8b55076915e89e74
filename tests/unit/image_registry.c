/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/session.h"

/* The registry client's pure parts: challenges, credentials, platforms, manifests, endpoints. */

static void challenges(void **state)
{
	struct registry_challenge c;

	(void)state;
	assert_int_equal(registry_challenge_parse("Bearer realm=\"https://a/t\",service=\"reg, istry\",scope=\"repository:x:pull\",error=insufficient_scope", &c), 0);
	assert_int_equal(c.scheme, REGISTRY_BEARER);
	assert_string_equal(c.realm, "https://a/t");
	assert_string_equal(c.service, "reg, istry");
	assert_string_equal(c.scope, "repository:x:pull");
	registry_challenge_done(&c);
	assert_int_equal(registry_challenge_parse("basic realm=\"a \\\"b\\\"\"", &c), 0);
	assert_int_equal(c.scheme, REGISTRY_BASIC);
	assert_string_equal(c.realm, "a \"b\"");
	registry_challenge_done(&c);
	assert_int_equal(registry_challenge_parse("Bearer service=x", &c), -1);
	assert_int_equal(registry_challenge_parse("Bearer realm=\"file:///etc/passwd\"", &c), -1);
	assert_int_equal(registry_challenge_parse("Digest realm=\"x\"", &c), -1);
	assert_int_equal(registry_challenge_parse("", &c), -1);
}

static void credentials(void **state)
{
	struct registry_creds c;
	struct err e = { 0 };

	(void)state;
	/* {"username":"u","password":"p?>","serveraddress":"x"} in the alphabet of section 5 */
	assert_int_equal(registry_creds_parse("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA_PiIsInNlcnZlcmFkZHJlc3MiOiJ4In0=", &c, &e), 0);
	assert_string_equal(c.user, "u");
	assert_string_equal(c.password, "p?>");
	registry_creds_done(&c);
	/* {"auth":"dTpw"} */
	assert_int_equal(registry_creds_parse("eyJhdXRoIjoiZFRwdyJ9", &c, &e), 0);
	assert_string_equal(c.user, "u");
	assert_string_equal(c.password, "p");
	registry_creds_done(&c);
	assert_int_equal(registry_creds_parse(NULL, &c, &e), 0);
	assert_null(c.user);
	assert_int_equal(registry_creds_parse("!!", &c, &e), -1);
	assert_int_equal(registry_creds_parse("YWJj", &c, &e), -1);
}

static int fits(const char *want, const char *have)
{
	json_t *o = json_loads(have, 0, NULL);
	struct platform p;
	struct err e = { 0 };
	int rc;

	if (platform_parse(want, &p, &e) < 0)
		fail_msg("%s", e.msg);
	rc = platform_fits(&p, o);
	json_decref(o);
	return rc;
}

static void platforms(void **state)
{
	struct platform p;
	struct err e = { 0 };

	(void)state;
	assert_true(fits("linux/amd64", "{\"os\":\"linux\",\"architecture\":\"amd64\"}"));
	assert_true(fits("linux/x86_64", "{\"os\":\"linux\",\"architecture\":\"amd64\"}"));
	assert_true(fits("arm64", "{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}"));
	assert_true(fits("linux/arm/v7", "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}") >
		    fits("linux/arm/v7", "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\"}"));
	assert_true(fits("linux/arm/v7", "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\"}") >
		    fits("linux/arm/v7", "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v5\"}"));
	assert_false(fits("linux/arm/v6", "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}"));
	assert_false(fits("linux/amd64", "{\"os\":\"windows\",\"architecture\":\"amd64\"}"));
	assert_false(fits("linux/amd64", "{\"os\":\"unknown\",\"architecture\":\"unknown\"}"));
	assert_int_equal(platform_parse("linux/a b", &p, &e), -1);
	assert_int_equal(platform_parse("a/b/c/d", &p, &e), -1);
}

static char *endpoint_list(const struct registry_config *cfg, const char *domain)
{
	struct buf b = BUF_INIT;
	size_t n;
	struct endpoint *ep = endpoints_of(cfg, domain, &n);

	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s%s%s", i ? " " : "", ep[i].base, ep[i].insecure ? "!" : "", ep[i].mirror ? "*" : "");
	endpoints_free(ep, n);
	return buf_take(&b);
}

static void endpoints(void **state)
{
	char *insecure[] = { "10.0.0.0/8", "fd00::/8", "old.example:5000", NULL };
	char *mirrors[] = { "http://mirror.example:5000/", "https://127.0.0.2", NULL };
	struct registry_config cfg = { .insecure = insecure, .mirrors = mirrors };
	static const struct {
		const char *domain, *list;
	} cases[] = {
		{ "docker.io", "http://mirror.example:5000!* https://127.0.0.2!* https://registry-1.docker.io" },
		{ "127.0.0.1:5000", "https://127.0.0.1:5000! http://127.0.0.1:5000!" },
		{ "localhost:5000", "https://localhost:5000! http://localhost:5000!" },
		{ "[::1]:5000", "https://[::1]:5000! http://[::1]:5000!" },
		{ "10.1.2.3", "https://10.1.2.3! http://10.1.2.3!" },
		{ "[fd12::1]:5000", "https://[fd12::1]:5000! http://[fd12::1]:5000!" },
		{ "11.1.2.3", "https://11.1.2.3" },
		{ "old.example:5000", "https://old.example:5000! http://old.example:5000!" },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		char *list = endpoint_list(&cfg, cases[i].domain);

		assert_string_equal(list, cases[i].list);
		free(list);
	}
}

static void pauses(void **state)
{
	(void)state;
	assert_int_equal(session_pause(NULL, 1), 1000000000);
	assert_int_equal(session_pause(NULL, 3), 4000000000);
	assert_int_equal(session_pause(NULL, 64), 60000000000);
	assert_true(session_may_retry(429) && session_may_retry(500) && session_may_retry(503));
	assert_false(session_may_retry(404) || session_may_retry(401) || session_may_retry(501) || session_may_retry(200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges), cmocka_unit_test(credentials), cmocka_unit_test(platforms), cmocka_unit_test(endpoints), cmocka_unit_test(pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
