/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "image/digest.h"
#include "image/ref.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void accepts(void **state)
{
	static const struct {
		const char *in, *canonical, *familiar;
	} t[] = {
		{ "nginx", "docker.io/library/nginx", "nginx" },
		{ "nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25" },
		{ "docker.io/nginx", "docker.io/library/nginx", "nginx" },
		{ "index.docker.io/library/nginx:a", "docker.io/library/nginx:a", "nginx:a" },
		{ "bitnami/redis:7", "docker.io/bitnami/redis:7", "bitnami/redis:7" },
		{ "library/a/b", "docker.io/library/a/b", "library/a/b" },
		{ "localhost/x", "localhost/x", "localhost/x" },
		{ "localhost:5000/x/y:t", "localhost:5000/x/y:t", "localhost:5000/x/y:t" },
		{ "ghcr.io/a/b__c-d--e.f:V1_.-x", "ghcr.io/a/b__c-d--e.f:V1_.-x", "ghcr.io/a/b__c-d--e.f:V1_.-x" },
		{ "[fd00::1]:5000/x", "[fd00::1]:5000/x", "[fd00::1]:5000/x" },
		{ "HOST/x", "HOST/x", "HOST/x" },
		{ "x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64, "x@sha256:" HEX64 },
		{ "x:t@sha256:" HEX64, "docker.io/library/x:t@sha256:" HEX64, "x:t@sha256:" HEX64 },
	};
	char out[800];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct image_ref r;
		struct err e = { 0 };

		if (image_ref_parse(t[i].in, &r, &e) < 0)
			fail_msg("%s: %s", t[i].in, e.msg);
		assert_string_equal(image_ref_canonical(&r, out, sizeof(out)), t[i].canonical);
		assert_string_equal(image_ref_familiar(&r, out, sizeof(out)), t[i].familiar);
	}
}

static void refuses(void **state)
{
	static const char *const t[] = {
		"", ":", ":tag", "@", "/", "//", "a//b", "/a", "a/", "Nginx", "a/B", "a b", "-a", "a-", "a..b", "a___b", "a_-b", "a:", "a:-x", "a:.x", "a:b:c", "a:b/c:",
		"a@sha256:12", "a@md5:" HEX64, "a@sha256:" HEX64 "0", "a@@", HEX64, "[::1/x", "a.b:port/x", "-x.y/z", "x-.y/z", "a\n", "a\xc3\xa9",
		"a:tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt",
	};
	char longname[600];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct image_ref r;
		struct err e = { 0 };

		if (image_ref_parse(t[i], &r, &e) == 0)
			fail_msg("'%s' was taken", t[i]);
		assert_int_equal(e.kind, ERR_INVALID);
		assert_true(*e.msg);
	}
	for (size_t n = 240; n < sizeof(longname) - 1; n++) {
		struct image_ref r;
		struct err e = { 0 };

		memset(longname, 'a', n);
		longname[n] = '\0';
		assert_int_equal(image_ref_parse(longname, &r, &e), -1);
		memcpy(longname, "a.b/", 4);
		assert_int_equal(image_ref_parse(longname, &r, &e), n <= 255 ? 0 : -1);
	}
}

static void digests(void **state)
{
	char a[DIGEST_SIZE], c[DIGEST_SIZE];

	(void)state;
	digest_of("", 0, a);
	assert_string_equal(a, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_true(digest_valid(a));
	assert_false(digest_valid("sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
	assert_false(digest_valid("sha256:"));
	assert_false(digest_valid(NULL));
	digest_chain(NULL, a, c);
	assert_string_equal(c, a);
	/* printf 'sha256:e3b0... sha256:e3b0...' | sha256sum */
	digest_chain(a, a, c);
	assert_string_equal(c, "sha256:de9d9016b852e46e9f3973e20d3a6d17e120f7144931d50cd6e2a8ad53e81960");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(digests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
