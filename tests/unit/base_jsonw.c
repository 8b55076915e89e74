/* SPDX-License-Identifier: Apache-2.0 */
/* The direct JSON writer: the same text as jansson's, for any bytes, at every length around the scanner's step. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"

/* p in memory of exactly n bytes: a sanitizer sees one read too many. */
static char *exact(const char *p, size_t n)
{
	char *s = malloc(n ? n : 1);

	memcpy(s, p, n);
	return s;
}

static void check_bytes(const char *p, size_t n)
{
	char *in = exact(p, n), *want;
	json_t *v = json_bytes(p, n);		/* U+FFFD for each byte that is not UTF-8 */
	struct buf b = BUF_INIT;

	want = json_dumps(v, JSON_ENCODE_ANY);
	jsonw_bytes(&b, in, n);
	assert_string_equal(b.data, want);
	assert_int_equal(b.len, strlen(want));
	free(want);
	free(in);
	json_decref(v);
	buf_done(&b);
}

static void test_plain(void **state)
{
	static const struct { unsigned char c; bool plain; } edges[] = {
		{ 0, false }, { 0x1f, false }, { 0x20, true }, { '!', true }, { '"', false }, { '#', true }, { '[', true }, { '\\', false },
		{ ']', true }, { 0x7f, true }, { 0x80, false }, { 0xa0, false }, { 0xff, false },
	};
	char text[70];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t n = 0; n <= sizeof(text); n++) {
		char *in = exact(text, n);

		assert_int_equal(jsonw_plain(in, n), n);
		for (size_t at = 0; at < n; at++) {
			for (size_t k = 0; k < sizeof(edges) / sizeof(*edges); k++) {
				in[at] = (char)edges[k].c;
				assert_int_equal(jsonw_plain(in, n), edges[k].plain ? n : at);
			}
			in[at] = 'x';
		}
		free(in);
	}
}

static void test_bytes(void **state)
{
	static const char *const texts[] = {
		"", "plain", "\"", "\\", "a\"b\\c", "\b\f\n\r\t", "\x01\x1f\x7f", "/", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x90\xb3",
		"\xff\xfe", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "abc\xe2\x82", "\x80", "x\xc3", "\xe2\x80\xa8", "0123456789abcde\"", "0123456789abcdef\"",
	};
	char text[80];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		check_bytes(texts[i], strlen(texts[i]));
		for (size_t before = 0; before < 36; before++) {	/* at each place of a step, and across its border */
			memset(text, 'y', sizeof(text));
			memcpy(text + before, texts[i], strlen(texts[i]));
			check_bytes(text, before + strlen(texts[i]));
			check_bytes(text, before + strlen(texts[i]) + 17);
		}
	}
	check_bytes("a\0b", 3);
	for (int round = 0; round < 20000; round++) {
		size_t n = rand_below(sizeof(text));

		rand_bytes(text, n);
		for (size_t i = 0; i < n && round % 3; i++)
			text[i] = "abcdefghijklmnopqrstuvwxyz\"\\\n\xe2\x82\xac\xf0\x9f\x90\xb3\xc3\xbc\xff"[(unsigned char)text[i] % 39];
		check_bytes(text, n);
	}
}

static void test_values(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "[[],{},[{}]]", "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "1.5", "-0.25", "1e100", "\"x\"",
		"{\"a\":1,\"b\":[1,2,{\"c\":null}],\"\":\"\",\"k\\\"\\n\":{\"x\":\"\\u0001\"}}", "[\"a\\u0000b\",\"\\u00fc\"]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		json_t *v = json_parse(texts[i], strlen(texts[i]), "text", NULL);
		char *want = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY), *got = json_text(v);

		assert_non_null(v);
		assert_string_equal(got, want);
		free(got);
		free(want);
		json_decref(v);
	}
}

static void test_document(void **state)
{
	json_t *v = json_pack("{s:[i]}", "deep", 1);
	struct buf b = BUF_INIT, small;

	(void)state;
	(void)buf_addc(&b, '{');
	jsonw_key_str(&b, "a{", "[");
	jsonw_key_i64(&b, "low", INT64_MIN);
	jsonw_key_value(&b, "none", NULL);
	jsonw_key_value(&b, "v", v);
	jsonw_key(&b, "list");
	(void)buf_addc(&b, '[');
	for (int i = 0; i < 3; i++) {
		jsonw_item(&b);
		jsonw_str(&b, "{");
	}
	(void)buf_adds(&b, "]}");
	assert_string_equal(b.data, "{\"a{\":\"[\",\"low\":-9223372036854775808,\"none\":null,\"v\":{\"deep\":[1]},\"list\":[\"{\",\"{\",\"{\"]}");
	buf_done(&b);
	/* A buffer that is full says so, and nothing else happens. */
	buf_init(&small, 10);
	jsonw_value(&small, v);
	jsonw_str(&small, "\x01\x02");
	assert_true(small.failed && small.len <= 10);
	buf_done(&small);
	json_decref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
