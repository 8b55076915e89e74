/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/ignore.h"
#include "base/mem.h"

/* patterns, path, ignored? */
static void test_match(void **state)
{
	static const struct { const char *patterns, *path; bool ignored; } t[] = {
		{ "a", "a", true }, { "a", "b", false }, { "a", "a/b/c", true }, { "a", "x/a", false }, { "/a/", "a", true }, { "./a", "a", true },
		{ "*.o", "x.o", true }, { "*.o", "d/x.o", false }, { "*/*.o", "d/x.o", true }, { "*", "a", true }, { "*", "a/b", true },
		{ "**", "a/b", true }, { "**/*.o", "x.o", true }, { "**/*.o", "a/b/x.o", true }, { "a/**", "a/b/c", true }, { "a/**", "a", false },
		{ "a/**/c", "a/c", true }, { "a/**/c", "a/b/b/c", true }, { "a/**/c", "ac", false }, { "?", "ab", false }, { "a?c", "abc", true },
		{ "a?c", "a/c", false }, { "[a-c]x", "bx", true }, { "[^a-c]x", "bx", false }, { "[^a-c]x", "dx", true }, { "a[b]", "ab", true },
		{ "\\*", "*", true }, { "\\*", "x", false }, { "*.md\n!README.md", "README.md", false }, { "*.md\n!README.md", "x.md", true },
		{ "*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true }, { "*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false },
		{ "a\n!a/b", "a/b", false }, { "a\n!a/b", "a/b/c", false }, { "a\n!a/b", "a/c", true }, { "# comment\n a \n", "a", true },
		{ "", "a", false }, { "a/../b", "b", true }, { ".", "a", false }, { "!a", "a", false }, { "\xef\xbb\xbf" "a", "a", true },
		{ "a.b", "axb", false }, { "a$", "a$", true }, { "**foo", "x/foo", true }, { "dir/*\n!dir/keep", "dir/keep", false },
	};

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct err e = { 0 };
		struct ignore *ig = ignore_parse(t[i].patterns, strlen(t[i].patterns), &e);

		if (!ig)
			fail_msg("'%s': %s", t[i].patterns, e.msg);
		if (ignore_match(ig, t[i].path) != t[i].ignored)
			fail_msg("'%s' for '%s'", t[i].patterns, t[i].path);
		ignore_free(ig);
	}
}

static void test_bad(void **state)
{
	static const char *const t[] = { "[", "a[", "[]a]", "[-]", "[x-]", "a\\", "!", "[a-", "[^" };

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct err e = { 0 };

		if (ignore_parse(t[i], strlen(t[i]), &e))
			fail_msg("'%s' is taken", t[i]);
		assert_int_equal(e.kind, ERR_INVALID);
	}
}

static void test_below(void **state)
{
	struct ignore *ig = ignore_parse("a\n!a/b/c", 8, NULL);

	(void)state;
	assert_true(ignore_may_want_below(ig, "a"));
	assert_true(ignore_may_want_below(ig, "a/b"));
	assert_false(ignore_may_want_below(ig, "x"));
	ignore_free(ig);
	ig = ignore_parse("a", 1, NULL);
	assert_false(ignore_may_want_below(ig, "a"));
	ignore_free(ig);
	ig = ignore_parse("*\n!**/x", 7, NULL);
	assert_true(ignore_may_want_below(ig, "deep/er"));
	ignore_free(ig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_match), cmocka_unit_test(test_bad), cmocka_unit_test(test_below) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
