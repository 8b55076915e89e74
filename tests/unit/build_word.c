/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/word.h"

static const char *get(void *user, const char *name)
{
	static const char *const env[][2] = {
		{ "PWD", "/home" }, { "SHELL", "bash" }, { "NULL", "" }, { "WORDS", "a b  c" }, { "FILE", "one.tar.gz" }, { "K\xc3\xb6ln", "stadt" },
	};

	(void)user;
	for (size_t i = 0; i < N(env); i++)
		if (!strcmp(env[i][0], name))
			return env[i][1];
	return NULL;
}

static const struct build_vars vars = { .get = get, .escape = '\\' };

/* want NULL: an error. */
static void expect(const struct build_vars *v, const char *word, const char *want)
{
	struct err e = { 0 };
	char *got = build_word(v, word, &e);

	if (!want) {
		if (got)
			fail_msg("'%s' gave '%s', not an error", word, got);
		assert_int_equal(e.kind, ERR_INVALID);
		assert_non_null(strstr(e.msg, "failed to process \""));
		return;
	}
	if (!got)
		fail_msg("'%s': %s", word, e.msg);
	if (strcmp(got, want))
		fail_msg("'%s' gave '%s', not '%s'", word, got, want);
	free(got);
}

static void test_one_word(void **state)
{
	static const char *const t[][2] = {
		{ "hello", "hello" }, { "he'll'o", "hello" }, { "he'llo", NULL }, { "he\\'llo", "he'llo" }, { "he\\\\'llo", NULL },
		{ "abc\\tdef", "abctdef" }, { "\"abc\\tdef\"", "abc\\tdef" }, { "\"abc\\\\tdef\"", "abc\\tdef" }, { "'abc\\tdef'", "abc\\tdef" },
		{ "hello\\", "hello" }, { "hello\\\\", "hello\\" }, { "\"hello", NULL }, { "\"hello\\\"", NULL }, { "\"hel'lo\"", "hel'lo" },
		{ "'hello\\'", "hello\\" }, { "\"''\"", "''" }, { "$.", "$." }, { "he$1x", "hex" }, { "he$.x", "he$.x" }, { "he$PWD", "he/home" },
		{ "he\\$PWD", "he$PWD" }, { "he\\\\$PWD", "he\\/home" }, { "\"he\\$PWD\"", "he$PWD" }, { "\"he\\\\$PWD\"", "he\\/home" },
		{ "\\${}", "${}" }, { "${}", NULL }, { "he${}xx", NULL }, { "he${hi}xx", "hexx" }, { "he${PWD}", "he/home" }, { "he${.}", NULL },
		{ "he${XXX:-000}xx", "he000xx" }, { "he${PWD:-000}xx", "he/homexx" }, { "he${XXX:-$PWD}xx", "he/homexx" },
		{ "he${XXX:-${YYY:-yyy}}xx", "heyyyxx" }, { "he${XXX:YYY}", NULL }, { "he${XXX?}", NULL }, { "he${XXX:?}", NULL },
		{ "he${PWD?}", "he/home" }, { "he${NULL?}", "he" }, { "he${NULL:?}", NULL }, { "he${XXX:+${PWD}}xx", "hexx" },
		{ "he${PWD:+${SHELL}}xx", "hebashxx" }, { "he${PWD:+000}xx", "he000xx" }, { "${NULL-x}", "" }, { "${NULL:-x}", "x" },
		{ "${NULL+x}", "x" }, { "${NULL:+x}", "" }, { "'he${XX}'", "he${XX}" }, { "\"he'$PWD'\"", "he'/home'" }, { "'\\$PWD'", "\\$PWD" },
		{ "he${PWD", NULL }, { "he${PWD:=000}xx", NULL }, { "he${PWD:+${PWD}:}xx", "he/home:xx" }, { "he${XXX:-\\$PWD:}xx", "he$PWD:xx" },
		{ "he${XXX:-\\${PWD}z}xx", "he${PWDz}xx" }, { "${{aaa}", NULL }, { "${aaa}}", "}" }, { "${aaa:-bbb}}", "bbb}" }, { "${aaa:-bbb", NULL },
		{ "${aaa:-bbb {foo}", "bbb {foo" }, { "${:}", NULL }, { "${:-bbb}", NULL }, { "$1", "" }, { "${1:-bbb}", "bbb" }, { "$999aaa", "aaa" },
		{ "$@@@", "@@" }, { "$$", "" }, { "${$:-bbb}", "bbb" }, { "a$K\xc3\xb6ln", "astadt" }, { "\xec\x95\x88'\xeb\x85\x95'", "\xec\x95\x88\xeb\x85\x95" },
		/* patterns */
		{ "${FILE%.*}", "one.tar" }, { "${FILE%%.*}", "one" }, { "${FILE#*.}", "tar.gz" }, { "${FILE##*.}", "gz" }, { "${FILE#x}", "one.tar.gz" },
		{ "${FILE#one?}", "tar.gz" }, { "${FILE/tar/zip}", "one.zip.gz" }, { "${FILE//./-}", "one-tar-gz" }, { "${FILE/x/y}", "one.tar.gz" },
		{ "${FILE//\\*/x}", "one.tar.gz" }, { "${XXX#a}", "" }, { "${FILE:#a}", NULL }, { "${FILE/tar", NULL }, { "${FILE/t*r/}", "one..gz" },
		{ "${FILE%\\}}", "one.tar.gz" }, { "${FILE//\\q/x}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < N(t); i++)
		expect(&vars, t[i][0], t[i][1]);
}

static void test_words(void **state)
{
	static const struct { const char *in; const char *out[4]; } t[] = {
		{ "a b", { "a", "b" } }, { "$WORDS", { "a", "b", "c" } }, { "\"$WORDS\"", { "a b  c" } }, { "x$WORDS", { "xa", "b", "c" } },
		{ "'a b' c", { "a b", "c" } }, { "a\\ b", { "a b" } }, { "", { NULL } }, { "   ", { NULL } }, { "$XXX a", { "a" } },
		{ "<<EOF x", { "<<EOF", "x" } }, { "<< EOF", { "<< EOF" } },
	};

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct err e = { 0 };
		char **got = build_words(&vars, t[i].in, &e);
		size_t n = 0;

		assert_non_null(got);
		while (n < 4 && t[i].out[n])
			n++;
		assert_int_equal(strv_len(got), n);
		for (size_t k = 0; k < n; k++)
			assert_string_equal(got[k], t[i].out[k]);
		strv_free(got);
	}
}

static void test_modes(void **state)
{
	struct build_vars v = vars;

	(void)state;
	v.keep_quotes = true;
	expect(&v, "'a' \"$PWD\"", "'a' \"/home\"");
	v = vars;
	v.keep_unset = true;
	expect(&v, "$XXX ${XXX} ${XXX:-a} $PWD ${XXX/a/b}", "$XXX ${XXX} ${XXX:-a} /home ${XXX/a/b}");
	v = vars;
	v.no_quotes = true;
	expect(&v, "it's $PWD \"x", "it's /home \"x");
	v = vars;
	v.escape = '`';
	expect(&v, "c:\\x`$PWD", "c:\\x$PWD");
}

/* What grows without end, or nests without end, is an error and takes no time. */
static void test_limits(void **state)
{
	struct buf b = BUF_INIT;
	struct err e = { 0 };

	(void)state;
	for (unsigned i = 0; i < 400; i++)
		buf_adds(&b, "${XXX:-");
	assert_null(build_word(&vars, b.data, &e));
	buf_reset(&b);
	for (unsigned i = 0; i < 300000; i++)
		buf_adds(&b, "$PWD");
	assert_null(build_word(&vars, b.data, &e));
	assert_non_null(strstr(e.msg, "longer than 1 MiB"));
	assert_null(build_words(&vars, b.data, &e));
	buf_reset(&b);
	buf_adds(&b, "${FILE#");
	for (unsigned i = 0; i < 3 * 1000 * 1000; i++)
		buf_adds(&b, "*");
	buf_adds(&b, "}");
	assert_null(build_word(&vars, b.data, &e));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_word), cmocka_unit_test(test_words), cmocka_unit_test(test_modes), cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
