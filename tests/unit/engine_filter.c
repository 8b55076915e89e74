/* SPDX-License-Identifier: Apache-2.0 */
/* The API's filters, and the options of log drivers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/filter.h"
#include "engine/logopt.h"

static json_t *parse(const char *text)
{
	json_t *o = json_parse(text, strlen(text), "test", NULL);

	assert_non_null(o);
	return o;
}

static void filters(void **state)
{
	json_t *f = parse("{\"name\":[\"^we.$\",\"x(\"],\"id\":[\"ab\"],\"label\":[\"a\",\"b=c\"],\"none\":[]}"), *l = parse("{\"a\":\"1\",\"b\":\"c\"}");

	(void)state;
	assert_true(filter_regex(f, "name", "web"));
	assert_true(filter_regex(f, "name", "x("));		/* no regular expression: itself */
	assert_false(filter_regex(f, "name", "webs"));
	assert_true(filter_prefix(f, "id", "abc"));
	assert_false(filter_prefix(f, "id", "ba"));
	assert_false(filter_exact(f, "id", "abc"));
	assert_true(filter_exact(f, "absent", "abc"));
	assert_true(filter_exact(f, "none", "abc"));
	assert_true(filter_labels(f, "label", l));
	json_object_set_new(l, "b", json_string("d"));
	assert_false(filter_labels(f, "label", l));
	assert_true(filter_exact(NULL, "id", "x"));
	json_decref(f);
	json_decref(l);
}

static void bombs(void **state)
{
	json_t *f = parse("{\"name\":[\"((a{1,200}){1,200}){1,200}\"]}");

	(void)state;
	assert_false(filter_regex(f, "name", "aaa"));	/* at once, and without the memory it would take */
	json_decref(f);
}

static void checks(void **state)
{
	static const char *const known[] = { "until", NULL };
	json_t *f = parse("{\"until\":[\"1h\"]}"), *g = parse("{\"until\":[\"1h\",\"2h\"]}"), *h = parse("{\"foo\":[\"1\"]}"), *i = parse("{\"until\":[\"x\"]}");
	struct err e = { 0 };
	int64_t at;

	(void)state;
	assert_int_equal(filter_check(f, known, &e), 0);
	assert_int_equal(filter_check(h, known, &e), -1);
	assert_string_equal(e.msg, "invalid filter 'foo'");
	assert_int_equal(filter_until(f, 7200ll * 1000000000, &at, &e), 0);
	assert_int_equal(at, 3600ll * 1000000000);
	assert_int_equal(filter_until(g, 0, &at, &e), -1);
	assert_int_equal(filter_until(i, 0, &at, &e), -1);
	assert_int_equal(filter_until(h, 0, &at, &e), 0);
	assert_int_equal(at, 0);
	json_decref(f);
	json_decref(g);
	json_decref(h);
	json_decref(i);
}

static void refused(const char *lc, const char *why)
{
	json_t *o = parse(lc);
	struct err e = { 0 };

	assert_int_equal(logopt_check(o, &e), -1);
	if (!strstr(e.msg, why))
		fail_msg("%s: \"%s\" does not say \"%s\"", lc, e.msg, why);
	json_decref(o);
}

static void log_checks(void **state)
{
	(void)state;
	refused("{\"Type\":\"gelf\"}", "no log driver named 'gelf' is registered");
	refused("{\"Type\":\"none\",\"Config\":{\"max-size\":\"1m\"}}", "unknown log opt 'max-size' for none log driver");
	refused("{\"Config\":{\"max-size\":1}}", "not a string");
	refused("{\"Config\":{\"max-size\":\"0\"}}", "invalid size");
	refused("{\"Config\":{\"max-file\":\"1001\"}}", "max-file");
	refused("{\"Config\":{\"max-buffer-size\":\"1m\"}}", "mode=non-blocking");
	refused("{\"Config\":{\"labels-regex\":\"(\"}}", "regular expression");
	refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"udp://\"}}", "names no host");
	refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"udp://a:0\"}}", "port");
}

static struct log_plan plan_of(const char *lc)
{
	json_t *o = parse(lc), *config = parse("{\"Labels\":{\"app.x\":\"1\",\"other\":\"2\"},\"Env\":[\"A=b\",\"C=d=e\"]}");
	struct log_subject s = { .id = "0123456789abcdef", .name = "web", .image = "img:1", .image_id = "sha256:fedcba9876543210", .host = "h",
				 .config = config };
	struct log_plan p;
	struct err e = { 0 };

	if (logopt_check(o, &e) < 0 || logopt_plan(o, &s, &p, &e) < 0)
		fail_msg("%s: %s", lc, e.msg);
	json_decref(o);
	json_decref(config);
	return p;
}

static void log_plans(void **state)
{
	struct log_plan p = plan_of("{\"Type\":\"\",\"Config\":{}}");

	(void)state;
	assert_true(p.file);
	assert_int_equal(p.max_size, 10 << 20);
	assert_int_equal(p.max_files, 3);
	assert_false(p.compress);
	assert_null(p.attrs);
	log_plan_done(&p);
	p = plan_of("{\"Type\":\"local\"}");
	assert_int_equal(p.max_files, 5);
	assert_true(p.compress);
	log_plan_done(&p);
	p = plan_of("{\"Config\":{\"max-size\":\"-1\",\"env\":\"C\",\"labels-regex\":\"^app\",\"tag\":\"{{.ImageID}}-{{ .Name }}\"}}");
	assert_int_equal(p.max_size, 0);
	assert_string_equal(p.attrs, "\"attrs\":{\"C\":\"d=e\",\"app.x\":\"1\",\"tag\":\"fedcba987654-web\"},");
	log_plan_done(&p);
	p = plan_of("{\"Type\":\"syslog\",\"Config\":{\"cache-disabled\":\"true\",\"syslog-facility\":\"local7\",\"syslog-address\":\"udp://127.0.0.1\"}}");
	assert_false(p.file);
	assert_string_equal(p.tag, "0123456789ab");
	assert_int_equal(p.facility, 23);
	assert_int_equal(log_plan_resolve(&p, NULL), 0);
	assert_string_equal(p.address, "udp://127.0.0.1:514");
	log_plan_done(&p);
	p = plan_of("{\"Type\":\"none\"}");
	assert_false(p.file);
	assert_null(p.ship);
	log_plan_done(&p);
}

static void log_defaults(void **state)
{
	char *const opts[] = { "max-size=1m", NULL }, *const bad[] = { "x", NULL };
	json_t *def = logopt_default(NULL, opts, NULL), *body, *full;
	struct err e = { 0 };

	(void)state;
	assert_null(logopt_default(NULL, bad, &e));
	body = parse("{\"Image\":\"x\",\"HostConfig\":{\"LogConfig\":{\"Config\":{\"max-file\":\"2\"}}}}");
	full = logopt_fill(body, def);
	assert_string_equal(json_string_value(json_path(full, "HostConfig.LogConfig.Config.max-size")), "1m");
	assert_string_equal(json_string_value(json_path(full, "HostConfig.LogConfig.Config.max-file")), "2");
	assert_string_equal(json_string_value(json_path(full, "HostConfig.LogConfig.Type")), "json-file");
	assert_null(json_path(body, "HostConfig.LogConfig.Config.max-size"));	/* the request itself stays */
	json_decref(body);
	json_decref(full);
	body = parse("{\"HostConfig\":5}");
	full = logopt_fill(body, def);
	assert_true(json_equal(full, body));
	json_decref(body);
	json_decref(full);
	json_decref(def);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(filters), cmocka_unit_test(bombs), cmocka_unit_test(checks), cmocka_unit_test(log_checks),
					    cmocka_unit_test(log_plans), cmocka_unit_test(log_defaults) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
