/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/detach.h"

static void words(void **state)
{
	static const struct { const char *spec; const char *keys; size_t n; } good[] = {
		{ NULL, "\x10\x11", 2 }, { "", "\x10\x11", 2 }, { "ctrl-a", "\x01", 1 }, { "ctrl-z,x", "\x1ax", 2 }, { "a,b,c", "abc", 3 },
		{ "ctrl-@", "\0", 1 }, { "ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", "\x1b\x1c\x1d\x1e\x1f", 5 },
	};
	static const char *const bad[] = { "ctrl-", "ctrl-A", "ctrl-ab", "ctrl-+", "ab", "a,", "ctrl", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q" };
	struct detach_keys k;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(detach_parse(&k, good[i].spec, &e), 0);
		assert_int_equal(k.n, good[i].n);
		assert_memory_equal(k.keys, good[i].keys, k.n);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err_clear(&e);
		assert_int_equal(detach_parse(&k, bad[i], &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
		assert_non_null(strstr(e.msg, "invalid detach keys"));
	}
}

/* in, fed a byte at a time and as a whole, must let out pass, and be left by the keys or not. */
static void feed(const char *spec, const char *in, const char *out, bool left)
{
	for (int piecewise = 0; piecewise < 2; piecewise++) {
		struct buf b = BUF_INIT;
		struct detach_keys k;
		bool got = false;
		size_t n = strlen(in);

		assert_int_equal(detach_parse(&k, spec, NULL), 0);
		for (size_t i = 0; i < (piecewise ? n : 1) && !got; i++)
			got = detach_feed(&k, (const unsigned char *)in + i, piecewise ? 1 : n, &b);
		assert_int_equal(got, left);
		assert_int_equal(b.len, strlen(out));
		if (b.len)
			assert_memory_equal(b.data, out, b.len);
		buf_done(&b);
	}
}

static void sequences(void **state)
{
	(void)state;
	feed("a,b", "xyz", "xyz", false);
	feed("a,b", "xab", "x", true);
	feed("a,b", "axab", "ax", true);	/* what only began to be the sequence goes in after all */
	feed("a,b", "aab", "a", true);
	feed("a,b", "a", "", false);		/* held back */
	feed("a,b", "abz", "", true);		/* nothing after it is of interest */
	feed("q", "helloq", "hello", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(words), cmocka_unit_test(sequences) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
