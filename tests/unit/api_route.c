/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"

static void test_match(void **state)
{
	static const struct {
		const char *pattern, *path, *arg;
		bool ok;
	} t[] = {
		{ "/_ping", "/_ping", NULL, true },
		{ "/_ping", "/_pingx", NULL, false },
		{ "/containers/*/json", "/containers/web/json", "web", true },
		{ "/containers/*/json", "/containers/json", NULL, false },
		{ "/containers/*/json", "/containers//json", NULL, false },
		{ "/containers/*/json", "/containers/a/b/json", NULL, false },
		{ "/containers/*", "/containers/web", "web", true },
		{ "/containers/*", "/containers/", NULL, false },
		{ "/images/**/json", "/images/a/b/c:1/json", "a/b/c:1", true },
		{ "/images/**/json", "/images/json", NULL, false },
		{ "/images/**", "/images/host:5000/x", "host:5000/x", true },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *arg;

		assert_int_equal(api_route_match(t[i].pattern, t[i].path, &arg), t[i].ok);
		if (t[i].arg)
			assert_string_equal(arg, t[i].arg);
		else
			assert_null(arg);
		free(arg);
	}
}

static void test_version(void **state)
{
	static const struct {
		const char *path, *rest;
		int minor;
		const char *error;
	} t[] = {
		{ "/_ping", "/_ping", 50, NULL },
		{ "/v1.24/info", "/info", 24, NULL },
		{ "/v1.50/containers/json", "/containers/json", 50, NULL },
		{ "/v1.50", "/", 50, NULL },
		{ "/v1.51/info", NULL, 0, "client version 1.51 is too new. Maximum supported API version is 1.50" },
		{ "/v2.0/info", NULL, 0, "client version 2.0 is too new. Maximum supported API version is 1.50" },
		{ "/v1.23/info", NULL, 0,
		  "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version" },
		{ "/v1/info", NULL, 0, "'1' is not an API version" },
		{ "/v1.x/info", NULL, 0, "'1.x' is not an API version" },
		{ "/v1.99999999999/info", NULL, 0, "'1.99999999999' is not an API version" },
		{ "/volumes", "/volumes", 50, NULL },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct err e = { 0 };
		const char *rest;
		int minor, rc = api_version_cut(t[i].path, &rest, &minor, &e);

		if (t[i].error) {
			assert_int_equal(rc, -1);
			assert_string_equal(e.msg, t[i].error);
			assert_int_equal(e.kind, ERR_INVALID);
		} else {
			assert_int_equal(rc, 0);
			assert_string_equal(rest, t[i].rest);
			assert_int_equal(minor, t[i].minor);
		}
	}
}

static void test_frame(void **state)
{
	unsigned char head[8];

	api_frame_head(head, 2, 0x01020304);
	assert_memory_equal(head, "\2\0\0\0\1\2\3\4", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
