/* SPDX-License-Identifier: Apache-2.0 */
/* Flags by pflag's rules, and the small languages inside of docker's flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/flags.h"
#include "cli/spec.h"

static const struct flag_def defs[] = {
	{ "detach", 'd', FLAG_BOOL, "" }, { "interactive", 'i', FLAG_BOOL, "" }, { "tty", 't', FLAG_BOOL, "" }, { "name", 0, FLAG_STRING, "" },
	{ "env", 'e', FLAG_LIST, "" }, { "tail", 'n', FLAG_INT, "", .def = "-1" }, { "memory", 'm', FLAG_BYTES, "" },
	{ "timeout", 0, FLAG_DURATION, "" }, { "cpus", 0, FLAG_DECIMAL, "" }, { 0 },
};

static int parse(struct flags *f, const char *words, bool mixed, struct err *e)
{
	static char **v;	/* the flags point into it */

	strv_free(v);
	v = str_split(words, ' ');
	memset(e, 0, sizeof(*e));
	return flags_parse(f, defs, v, mixed, e);
}

static void test_forms(void **state)
{
	struct flags f;
	struct err e;

	assert_int_equal(parse(&f, "-it --name=web -e A=1 -eB=2 -e=C=3 --tail 5 -m 64m --timeout=1m30s --cpus 1.5 image cmd -d", false, &e), 0);
	assert_true(flag_bool(&f, "interactive") && flag_bool(&f, "tty"));
	assert_false(flag_bool(&f, "detach"));
	assert_string_equal(flag_str(&f, "name"), "web");
	assert_int_equal(strv_len(flag_list(&f, "env")), 3);
	assert_string_equal(flag_list(&f, "env")[1], "B=2");
	assert_string_equal(flag_list(&f, "env")[2], "C=3");
	assert_int_equal(flag_int(&f, "tail"), 5);
	assert_int_equal(flag_int(&f, "memory"), 64 << 20);
	assert_int_equal(flag_int(&f, "timeout"), 90000000000ll);
	assert_true(flag_decimal(&f, "cpus") == 1.5);
	assert_int_equal(f.argc, 3);	/* the program's own -d stays */
	assert_string_equal(f.args[2], "-d");
	flags_done(&f);

	assert_int_equal(parse(&f, "a -d b -- -t", true, &e), 0);
	assert_true(flag_bool(&f, "detach"));
	assert_int_equal(f.argc, 3);
	assert_string_equal(f.args[2], "-t");
	assert_int_equal(flag_int(&f, "tail"), -1);
	flags_done(&f);

	assert_int_equal(parse(&f, "--detach=false -t=false x", true, &e), 0);
	assert_false(flag_bool(&f, "detach") || flag_bool(&f, "tty"));
	flags_done(&f);
}

static void test_refused(void **state)
{
	static const char *const t[][2] = {
		{ "--nosuch", "unknown flag: --nosuch" },
		{ "-x", "unknown shorthand flag: 'x' in -x" },
		{ "-dx", "unknown shorthand flag: 'x' in -x" },
		{ "--name", "flag needs an argument: --name" },
		{ "-e", "flag needs an argument: 'e' in -e" },
		{ "--tail=x", "invalid argument \"x\" for \"-n, --tail\" flag" },
		{ "-m 12q", "invalid argument \"12q\" for \"-m, --memory\" flag" },
		{ "--timeout 5", "invalid argument \"5\" for \"--timeout\" flag" },
		{ "--detach=maybe", "invalid argument \"maybe\" for \"-d, --detach\" flag" },
	};

	for (size_t i = 0; i < N(t); i++) {
		struct flags f;
		struct err e;

		if (parse(&f, t[i][0], true, &e) == 0)
			fail_msg("\"%s\" was taken", t[i][0]);
		if (!str_starts(e.msg, t[i][1]))
			fail_msg("%s: \"%s\" is not \"%s\"", t[i][0], e.msg, t[i][1]);
		flags_done(&f);
	}
}

static void test_publish(void **state)
{
	static const struct {
		const char *text, *bindings;	/* NULL: refused */
	} t[] = {
		{ "80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}" },
		{ "8080:80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}" },
		{ "8080:80/udp", "{\"80/udp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}" },
		{ "127.0.0.1:8080:80", "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"}]}" },
		{ "127.0.0.1::80", "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"\"}]}" },
		{ "[::1]:8080:80", "{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"8080\"}]}" },
		{ "8000-8001:80-81", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000\"}],\"81/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8001\"}]}" },
		{ "8000-8010:80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000-8010\"}]}" },
		{ "published=8080,target=80,protocol=tcp", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}" },
		{ "65536", NULL }, { "8000-8002:80-81", NULL }, { "8080:80/foo", NULL }, { "x:80", NULL }, { ":", NULL }, { "", NULL },
		{ "300.0.0.1:80:80", NULL }, { "82-80:1-3", NULL },
	};

	for (size_t i = 0; i < N(t); i++) {
		json_t *exposed = json_object(), *bindings = json_object(), *want = t[i].bindings ? json_loads(t[i].bindings, 0, NULL) : NULL;
		struct err e = { 0 };
		int r = spec_publish(t[i].text, exposed, bindings, &e);

		if ((r == 0) != (want != NULL))
			fail_msg("\"%s\": %s", t[i].text, r == 0 ? "was taken" : e.msg);
		if (r < 0)
			assert_true(*e.msg);
		else if (!json_equal(bindings, want))
			fail_msg("\"%s\": %s", t[i].text, json_dumps(bindings, 0));
		json_decref(exposed);
		json_decref(bindings);
		json_decref(want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms), cmocka_unit_test(test_refused), cmocka_unit_test(test_publish) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
