/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

#define SEC 1000000000ll

static void test_compare(void **state)
{
	(void)state;
	assert_true(str_eq("a", "a"));
	assert_false(str_eq("a", "b"));
	assert_true(str_eq(NULL, NULL));
	assert_false(str_eq(NULL, ""));
	assert_true(str_starts("unix://x", "unix://"));
	assert_false(str_starts("un", "unix"));
	assert_false(str_starts(NULL, "a"));
	assert_true(str_ends("a.tar", ".tar"));
	assert_false(str_ends("tar", ".tar"));
	assert_false(str_ends(NULL, "a"));
	assert_true(str_empty(NULL) && str_empty(""));
	assert_false(str_empty(" "));
}

static void test_numbers(void **state)
{
	static const struct { const char *s; uint64_t min, max; int r; uint64_t v; } u[] = {
		{ "0", 0, 10, 0, 0 }, { "10", 0, 10, 0, 10 }, { "11", 0, 10, -ERANGE, 0 }, { "0", 1, 10, -ERANGE, 0 },
		{ "", 0, 10, -EINVAL, 0 }, { " 1", 0, 10, -EINVAL, 0 }, { "1 ", 0, 10, -EINVAL, 0 }, { "+1", 0, 10, -EINVAL, 0 },
		{ "-1", 0, 10, -EINVAL, 0 }, { "0x1", 0, 10, -EINVAL, 0 }, { "007", 0, 10, 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX }, { "18446744073709551616", 0, UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", 0, UINT64_MAX, -ERANGE, 0 },
	};
	static const struct { const char *s; int r; int64_t v; } i[] = {
		{ "-1", 0, -1 }, { "-0", 0, 0 }, { "-9223372036854775808", 0, INT64_MIN }, { "-9223372036854775809", -ERANGE, 0 },
		{ "9223372036854775807", 0, INT64_MAX }, { "9223372036854775808", -ERANGE, 0 }, { "-", -EINVAL, 0 }, { "--1", -EINVAL, 0 },
		{ NULL, -EINVAL, 0 },
	};

	(void)state;
	for (size_t k = 0; k < N(u); k++) {
		uint64_t v = 42;

		assert_int_equal(str_to_u64(u[k].s, u[k].min, u[k].max, &v), u[k].r);
		assert_true(v == (u[k].r ? 42 : u[k].v));
	}
	for (size_t k = 0; k < N(i); k++) {
		int64_t v = 42;

		assert_int_equal(str_to_i64(i[k].s, INT64_MIN, INT64_MAX, &v), i[k].r);
		assert_true(v == (i[k].r ? 42 : i[k].v));
	}
}

static void test_size(void **state)
{
	static const struct { const char *s; int64_t v; } t[] = {
		{ "0", 0 }, { "512", 512 }, { "64m", 64 << 20 }, { "64M", 64 << 20 }, { "64mb", 64 << 20 }, { "64MiB", 64 << 20 },
		{ "1.5g", 3ll << 29 }, { "1k", 1024 }, { "2 t", 2ll << 40 }, { "10b", 10 }, { ".5k", 512 }, { "1.k", 1024 },
		{ "", -1 }, { "m", -1 }, { "-1", -1 }, { "1x", -1 }, { "1mm", -1 }, { "1bb", -1 }, { "1 m", 1 << 20 }, { "1  m", -1 },
		{ "9223372036854775807", INT64_MAX }, { "9223372036854775808", -1 }, { "99999999p", -1 }, { ".", -1 }, { "1e3", -1 },
	};

	(void)state;
	for (size_t k = 0; k < N(t); k++) {
		uint64_t v = 0;
		int r = str_to_size(t[k].s, &v);

		if (t[k].v < 0 ? r == 0 : r != 0 || v != (uint64_t)t[k].v)
			fail_msg("'%s': %d, %llu", t[k].s, r, (unsigned long long)v);
	}
	assert_true(str_to_size(NULL, &(uint64_t){ 0 }) < 0);
}

static void test_duration(void **state)
{
	static const struct { const char *s; bool ok; int64_t v; } t[] = {
		{ "0", true, 0 }, { "10s", true, 10 * SEC }, { "1h2m3.5s", true, 3723 * SEC + SEC / 2 }, { "300ms", true, 300000000 },
		{ "1us", true, 1000 }, { "1\xc2\xb5s", true, 1000 }, { "5ns", true, 5 }, { "-1m", true, -60 * SEC }, { "+1m", true, 60 * SEC },
		{ ".5s", true, SEC / 2 }, { "1.s", true, SEC }, { "", false, 0 }, { "1", false, 0 }, { "s", false, 0 }, { "1d", false, 0 },
		{ "1 s", false, 0 }, { "-", false, 0 }, { "1h-2m", false, 0 }, { "9999999999h", false, 0 }, { "--1s", false, 0 },
		{ "2540400h10m10s", true, (2540400ll * 3600 + 610) * SEC },
	};

	(void)state;
	for (size_t k = 0; k < N(t); k++) {
		int64_t v = 0;
		int r = str_to_duration_ns(t[k].s, &v);

		if (t[k].ok ? r != 0 || v != t[k].v : r == 0)
			fail_msg("'%s': %d, %lld", t[k].s, r, (long long)v);
	}
}

static void test_time(void **state)
{
	static const struct { const char *s; bool ok; int64_t v; } t[] = {
		{ "1700000000", true, 1700000000 * SEC }, { "1700000000.25", true, 1700000000 * SEC + SEC / 4 },
		{ "1700000000.000000001", true, 1700000000 * SEC + 1 }, { "10m", true, 1000 * SEC - 600 * SEC },
		{ "2023-11-14T22:13:20Z", true, 1700000000 * SEC }, { "2023-11-14T23:13:20+01:00", true, 1700000000 * SEC },
		{ "2023-11-14T22:13:20.5Z", true, 1700000000 * SEC + SEC / 2 }, { "2023-11-14T22:13:20", true, 1700000000 * SEC },
		{ "2023-11-14T22:13", true, 1699999980 * SEC }, { "2023-11-14", true, 1699920000 * SEC },
		{ "0001-01-01T00:00:00Z", false, 0 }, { "2023-13-01", false, 0 }, { "2023-11-32", false, 0 }, { "2023-11-14T25:00:00Z", false, 0 },
		{ "2023-11-14T22:61:00Z", false, 0 }, { "2023-11-14T22:13:20Zx", false, 0 }, { "2023-11-14T", false, 0 }, { "yesterday", false, 0 },
		{ "", false, 0 }, { "99999999999999", false, 0 }, { "1700000000.x", false, 0 },
	};

	(void)state;
	for (size_t k = 0; k < N(t); k++) {
		int64_t v = 0;
		int r = str_to_time_ns(t[k].s, 1000 * SEC, &v);

		if (t[k].ok ? r != 0 || v != t[k].v : r == 0)
			fail_msg("'%s': %d, %lld", t[k].s, r, (long long)v);
	}
}

static void test_vectors(void **state)
{
	char **v = str_split("a,,b,", ','), **w = NULL;

	(void)state;
	assert_int_equal(strv_len(v), 4);
	assert_string_equal(v[0], "a");
	assert_string_equal(v[1], "");
	assert_string_equal(v[2], "b");
	assert_string_equal(v[3], "");
	assert_true(strv_has(v, "b"));
	assert_false(strv_has(v, "c"));
	strv_freep(&v);
	assert_null(v);
	strv_free(NULL);
	assert_int_equal(strv_len(NULL), 0);
	assert_false(strv_has(NULL, ""));
	for (int i = 0; i < 100; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		w = strv_add(w, text);
	}
	assert_int_equal(strv_len(w), 100);
	assert_string_equal(w[99], "99");
	strv_free(w);
}

static void test_glob(void **state)
{
	static const struct { const char *p, *s; bool hit; } t[] = {
		{ "abc", "abc", true }, { "abc", "abd", false }, { "*", "", true }, { "*", "abc", true }, { "a*c", "abbc", true },
		{ "a*c", "abbd", false }, { "*.tar", "x.tar", true }, { "*a*b*", "xxaxxbxx", true }, { "?", "a", true }, { "?", "", false },
		{ "a?c", "abc", true }, { "[a-c]x", "bx", true }, { "[a-c]x", "dx", false }, { "[^a-c]x", "dx", true }, { "[]a]", "a", false },
		{ "\\*", "*", true }, { "\\*", "a", false }, { "*", "a/b", false }, { "a/*", "a/b", true }, { "", "", true }, { "", "a", false },
		{ "[", "a", false }, { "[a", "a", false }, { "[\\]]", "]", true }, { "**", "ab", true }, { "a**b", "ab", true },
		{ "*/*", "a/b", true }, { "?", "/", false },
	};
	char pattern[2001], text[4001];

	(void)state;
	for (size_t k = 0; k < N(t); k++) {
		if (str_glob(t[k].p, t[k].s) != t[k].hit)
			fail_msg("'%s' on '%s'", t[k].p, t[k].s);
	}
	/* not exponential */
	for (int i = 0; i < 2000; i += 2)
		memcpy(pattern + i, "*a", 2);
	memset(text, 'a', 4000);
	pattern[2000] = text[4000] = '\0';
	pattern[1999] = 'b';
	assert_false(str_glob(pattern, text));
}

static void test_print(void **state)
{
	static const struct { uint64_t n; const char *s; } sizes[] = {
		{ 0, "0B" }, { 999, "999B" }, { 1000, "1kB" }, { 1500000, "1.5MB" }, { 123456789, "123.5MB" }, { 1073741824, "1.074GB" },
		{ UINT64_MAX, "18.45EB" },
	};
	static const struct { int64_t n; const char *s; } spans[] = {
		{ 0, "Less than a second" }, { 1, "1 second" }, { 59, "59 seconds" }, { 60, "About a minute" }, { 119, "About a minute" },
		{ 120, "2 minutes" }, { 3599, "59 minutes" }, { 3600, "About an hour" }, { 2 * 3600, "2 hours" }, { 47 * 3600, "47 hours" },
		{ 48 * 3600, "2 days" }, { 13 * 86400, "13 days" }, { 14 * 86400, "2 weeks" }, { 61 * 86400, "2 months" }, { 730 * 86400, "2 years" },
		{ -5, "Less than a second" },
	};
	char out[48];

	(void)state;
	for (size_t k = 0; k < N(sizes); k++)
		assert_string_equal(str_human_size(sizes[k].n, out, sizeof(out)), sizes[k].s);
	for (size_t k = 0; k < N(spans); k++)
		assert_string_equal(str_human_duration(spans[k].n, out, sizeof(out)), spans[k].s);
	assert_string_equal(str_time_ns(1700000000 * SEC + 123456789, out, sizeof(out)), "2023-11-14T22:13:20.123456789Z");
	assert_string_equal(str_time_ns(1700000000 * SEC + 500000000, out, sizeof(out)), "2023-11-14T22:13:20.5Z");
	assert_string_equal(str_time_ns(0, out, sizeof(out)), "1970-01-01T00:00:00Z");
	assert_string_equal(str_time_ns(-1, out, sizeof(out)), "1969-12-31T23:59:59.999999999Z");
}

static void test_utf8(void **state)
{
	static const struct { const char *s; bool ok; } t[] = {
		{ "", true }, { "abc", true }, { "\xc3\xa9", true }, { "\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true },
		{ "\xc3", false }, { "\xa9", false }, { "\xc0\x80", false }, { "\xe0\x80\x80", false }, { "\xed\xa0\x80", false },
		{ "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false }, { "\xff", false }, { "a\xe2\x82", false },
	};

	(void)state;
	for (size_t k = 0; k < N(t); k++)
		assert_int_equal(str_utf8_valid(t[k].s, strlen(t[k].s)), t[k].ok);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare), cmocka_unit_test(test_numbers), cmocka_unit_test(test_size), cmocka_unit_test(test_duration),
		cmocka_unit_test(test_time), cmocka_unit_test(test_vectors), cmocka_unit_test(test_glob), cmocka_unit_test(test_print),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
