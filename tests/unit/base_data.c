/* SPDX-License-Identifier: Apache-2.0 */
/* err, buf, map, id, clock, json, log */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static void test_err(void **state)
{
	struct err e = { 0 };
	char big[3000];

	(void)state;
	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "no such container: %s", "web"), -1);
	assert_string_equal(e.msg, "no such container: web");
	assert_int_equal(err_http_status(e.kind), 404);
	assert_int_equal(err_wrap(&e, "start %s", "x"), -1);
	assert_string_equal(e.msg, "start x: no such container: web");
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_int_equal(err_errno(&e, ENOENT, "open %s", "/x"), -1);
	assert_string_equal(e.msg, "open /x: No such file or directory");
	assert_int_equal(e.kind, ERR_INTERNAL);
	assert_int_equal(e.sys, ENOENT);
	err_errno(&e, 99999, "x");
	memset(big, 'a', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_set(&e, ERR_INVALID, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, "%s", big);
	err_errno(&e, ENOENT, "%s", big);
	err_clear(&e);
	assert_int_equal(e.kind, ERR_NONE);
	/* nobody wants to know */
	assert_int_equal(err_set(NULL, ERR_INVALID, "x"), -1);
	assert_int_equal(err_errno(NULL, 1, "x"), -1);
	assert_int_equal(err_wrap(NULL, "x"), -1);
	for (int k = 0; k < ERR_KIND_COUNT; k++)
		assert_int_equal(err_kind_of_status(err_http_status((enum err_kind)k)), k);
	assert_int_equal(err_kind_of_status(499), ERR_INVALID);
	assert_int_equal(err_kind_of_status(599), ERR_INTERNAL);
}

static void test_buf(void **state)
{
	struct buf b = BUF_INIT;
	char *s;

	(void)state;
	assert_int_equal(buf_adds(&b, "ab"), 0);
	assert_int_equal(buf_addc(&b, 'c'), 0);
	assert_int_equal(buf_printf(&b, "%d-%s", 7, "x"), 0);
	assert_string_equal(b.data, "abc7-x");
	buf_consume(&b, 3);
	assert_string_equal(b.data, "7-x");
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_add(&b, "\0x", 2), 0);
	assert_int_equal(b.len, 2);
	s = buf_take(&b);
	assert_int_equal(s[1], 'x');
	free(s);
	s = buf_take(&b);
	assert_string_equal(s, "");
	free(s);

	buf_init(&b, 10);
	assert_int_equal(buf_add(&b, "0123456789", 10), 0);
	assert_int_equal(buf_addc(&b, 'x'), -ENOSPC);
	assert_true(b.failed);
	assert_string_equal(b.data, "0123456789");
	buf_consume(&b, 5);
	assert_int_equal(buf_addc(&b, 'x'), -ENOSPC);	/* sticky */
	buf_reset(&b);
	assert_int_equal(buf_printf(&b, "%s", "12345678901"), -ENOSPC);
	buf_reset(&b);
	assert_int_equal(buf_adds(&b, "ok"), 0);
	buf_done(&b);
	buf_done(&b);
	buf_init(&b, 0);
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, (char)('a' + i % 26));
	assert_int_equal(b.len, 100000);
	assert_int_equal(b.data[100000], '\0');
	buf_done(&b);
}

static void test_map(void **state)
{
	enum { MANY = 20000 };
	struct map *m = map_new();
	static int values[MANY];
	char key[32];
	const char *k;
	size_t it = 0, n = 0;
	int last = -1, *v;

	(void)state;
	assert_null(map_get(m, "x"));
	assert_null(map_del(m, "x"));
	assert_null(map_get(NULL, "x"));
	assert_int_equal(map_len(NULL), 0);
	for (int i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_null(map_put(m, key, &values[i]));
	}
	assert_int_equal(map_len(m), MANY);
	assert_ptr_equal(map_put(m, "key-5", &values[6]), &values[5]);
	assert_ptr_equal(map_put(m, "key-5", &values[5]), &values[6]);
	assert_int_equal(map_len(m), MANY);
	/* deleting the current one while going through */
	while ((v = map_next(m, &it, &k))) {
		assert_true(v - values > last);
		last = (int)(v - values);
		if (last % 2)
			assert_ptr_equal(map_del(m, k), v);
		n++;
	}
	assert_int_equal(n, MANY);
	assert_int_equal(map_len(m), MANY / 2);
	for (int i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_ptr_equal(map_get(m, key), i % 2 ? NULL : &values[i]);
	}
	/* deleted and put again: at the end, and memory does not grow for ever */
	for (int i = 0; i < 10 * MANY; i++) {
		assert_null(map_put(m, "again", &values[1]));
		assert_ptr_equal(map_del(m, "again"), &values[1]);
	}
	assert_int_equal(map_len(m), MANY / 2);
	assert_null(map_put(m, "", &values[0]));
	assert_ptr_equal(map_get(m, ""), &values[0]);
	map_free(m);
	map_free(NULL);
}

static void digits_only(void *user, void *p, size_t n)
{
	unsigned *calls = user;

	/* first an id that looks like a number, then one that does not */
	memset(p, (*calls)++ ? 0xab : 0x12, n);
}

static void test_id(void **state)
{
	unsigned calls = 0;
	struct clock_ops ops = { .random = digits_only, .user = &calls };
	char id[ID_LEN + 1], name[64];
	char long_name[300];

	(void)state;
	for (int i = 0; i < 100; i++) {
		id_new(id);
		assert_int_equal(strlen(id), ID_LEN);
		assert_true(id_is_prefix(id));
	}
	clock_replace(&ops);
	id_new(id);
	clock_replace(NULL);
	assert_int_equal(calls, 2);
	assert_true(str_starts(id, "abab"));
	assert_true(id_is_prefix("a") && id_is_prefix("0123456789abcdef"));
	assert_false(id_is_prefix("") || id_is_prefix("A") || id_is_prefix("g") || id_is_prefix(NULL));
	assert_false(id_is_prefix("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	assert_true(id_name_valid("web_1.x-y") && id_name_valid("0a"));
	assert_false(id_name_valid("a") || id_name_valid("") || id_name_valid("_a") || id_name_valid("-ab") || id_name_valid("a/b") ||
		     id_name_valid("a b") || id_name_valid("\xc3\xa9t\xc3\xa9") || id_name_valid("a\xc3\xa9") || id_name_valid(NULL));
	memset(long_name, 'a', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	assert_false(id_name_valid(long_name));
	for (unsigned i = 0; i < 50; i++) {
		id_random_name(name, sizeof(name), i % 2);
		assert_true(id_name_valid(name));
		assert_non_null(strchr(name, '_'));
	}
}

static int64_t fixed(void *user)
{
	return *(int64_t *)user;
}

static void test_clock(void **state)
{
	int64_t at = 12345;
	struct clock_ops ops = { .now = fixed, .user = &at };
	int64_t a = clock_now(), b = clock_now();
	bool seen[7] = { 0 };

	(void)state;
	assert_true(b >= a && a > 0);
	assert_true(clock_wall() > 1600000000ll * 1000000000);
	clock_replace(&ops);
	assert_int_equal(clock_now(), 12345);
	assert_true(clock_wall() > 1600000000ll * 1000000000);	/* what is not replaced stays real */
	clock_replace(NULL);
	assert_int_equal(rand_below(1), 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = rand_below(7);

		assert_true(v < 7);
		seen[v] = true;
	}
	for (int i = 0; i < 7; i++)
		assert_true(seen[i]);
}

static void test_faults(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(FAULT("t.a"), 0);
	fault_arm("t.a", 2, EIO);
	assert_int_equal(FAULT("t.b"), 0);
	assert_int_equal(FAULT("t.a"), 0);
	assert_int_equal(FAULT("t.a"), -EIO);
	assert_int_equal(FAULT("t.a"), 0);
	setenv("KEDGE_FAULT", "t.c:1:5,t.d:1:kill,broken", 1);
	fault_init();
	assert_int_equal(FAULT("t.c"), -5);
	pid = fork();
	if (pid == 0) {
		(void)FAULT("t.d");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	fault_arm("t.d", 0, 0);
}

static json_t *parse(const char *text, struct err *e)
{
	return json_parse(text, strlen(text), "test", e);
}

static void test_json_getters(void **state)
{
	struct err e = { 0 };
	json_t *o = parse("{\"s\":\"x\",\"i\":7,\"f\":1.5,\"b\":true,\"n\":null,\"o\":{\"p\":{\"q\":[\"a\",2]}},\"a\":[]}", &e);

	(void)state;
	assert_non_null(o);
	assert_string_equal(json_str(o, "s", "d"), "x");
	assert_string_equal(json_str(o, "i", "d"), "d");
	assert_string_equal(json_str(o, "n", "d"), "d");
	assert_string_equal(json_str(o, "none", "d"), "d");
	assert_string_equal(json_str(NULL, "s", "d"), "d");
	assert_int_equal(json_i64(o, "i", 1), 7);
	assert_int_equal(json_i64(o, "f", 1), 1);
	assert_int_equal(json_i64(o, "s", 3), 3);
	assert_true(json_num(o, "f", 0) > 1.4);
	assert_true(json_flag(o, "b", false));
	assert_true(json_flag(o, "i", true));
	assert_null(json_obj(o, "a"));
	assert_non_null(json_obj(o, "o"));
	assert_null(json_arr(o, "o"));
	assert_string_equal(json_at(json_path(o, "o.p.q"), 0), "a");
	assert_null(json_at(json_path(o, "o.p.q"), 1));
	assert_null(json_at(json_path(o, "o.p.q"), 2));
	assert_null(json_path(o, "o.x.q"));
	assert_null(json_path(o, "s.t"));
	json_freep(&o);
	assert_null(o);
	json_freep(&o);
}

static void test_json_parse(void **state)
{
	static const char *const bad[] = { "", "{", "[1,]", "{\"a\":1,}", "nul", "{'a':1}", "\"\xff\"", "[1] x", "1e999", "\"\\ud800\"", "[01]", "\"\n\"" };
	struct err e = { 0 };
	char deep[1000];
	json_t *o;
	char *s;

	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		e = (struct err){ 0 };
		assert_null(parse(bad[i], &e));
		assert_int_equal(e.kind, ERR_INVALID);
		assert_true(str_starts(e.msg, "test: line "));
		assert_true(str_utf8_valid(e.msg, strlen(e.msg)));
	}
	memset(deep, '[', sizeof(deep));
	assert_null(json_parse(deep, 129, "deep", &e));
	assert_non_null(strstr(e.msg, "128"));
	memset(deep, '[', 128);
	memset(deep + 128, ']', 128);
	o = json_parse(deep, 256, "deep", &e);
	assert_non_null(o);
	json_freep(&o);
	o = parse("\"[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", &e);
	assert_non_null(o);	/* brackets in a string are no depth */
	json_freep(&o);
	o = parse("{\"a\":1,\"b\":2,\"a\":3}", &e);
	assert_int_equal(json_i64(o, "a", 0), 3);
	s = json_text(o);
	assert_string_equal(s, "{\"a\":3,\"b\":2}");
	free(s);
	json_freep(&o);
}

static void test_json_bytes(void **state)
{
	static const struct { const char *in, *out; } t[] = {
		{ "abc", "abc" }, { "", "" }, { "a\xff" "b", "a\xef\xbf\xbd" "b" }, { "\xc3\xa9", "\xc3\xa9" }, { "\xc3", "\xef\xbf\xbd" },
		{ "\xe2\x82x", "\xef\xbf\xbd\xef\xbf\xbdx" },
	};
	json_t *v;

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		v = json_bytes(t[i].in, strlen(t[i].in));
		assert_string_equal(json_string_value(v), t[i].out);
		json_freep(&v);
	}
	v = json_bytes("a\0b", 3);
	assert_int_equal(json_string_length(v), 3);
	json_freep(&v);
}

static void test_log(void **state)
{
	struct log_limit limit = { 0 };
	enum log_level level;
	char line[4096], big[4096];
	unsigned ok = 0;
	ssize_t n;
	int p[2];

	(void)state;
	assert_int_equal(log_level_parse("warn", &level), 0);
	assert_int_equal(level, LOG_LEVEL_WARNING);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
	assert_int_equal(pipe(p), 0);
	log_init(p[1], LOG_LEVEL_INFO);
	log_debug("net", "not seen");
	log_info("net", "one %d\ntwo\x1b[31m", 1);
	n = read(p[0], line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	assert_non_null(strstr(line, " info net: one 1 two [31m\n"));
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	log_debug_only("dns,net");
	assert_true(log_enabled(LOG_LEVEL_DEBUG, "net"));
	assert_false(log_enabled(LOG_LEVEL_DEBUG, "ne"));
	assert_false(log_enabled(LOG_LEVEL_DEBUG, "engine"));
	log_debug_only(NULL);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_error("net", "%s", big);
	n = read(p[0], line, sizeof(line));
	assert_true(n > 0 && n <= 2048 && line[n - 1] == '\n');
	for (int i = 0; i < 100; i++)
		ok += log_limit_ok(&limit, 5, 3600);
	assert_true(ok >= 5 && ok <= 10);
	log_init(STDERR_FILENO, LOG_LEVEL_INFO);
	close(p[0]);
	close(p[1]);
}

static void test_mem(void **state)
{
	char *p = mem_strdup("x"), *q;
	int fd = dup(0), other;

	(void)state;
	q = TAKE(p);
	assert_null(p);
	free(q);
	other = TAKE_FD(fd);
	assert_int_equal(fd, -1);
	fd_closep(&fd);
	fd_closep(&other);
	assert_null(mem_try(100, 99));
	p = mem_try(99, 99);
	assert_non_null(p);
	free(p);
	assert_null(mem_strdup(NULL));
	p = mem_printf("%s-%d", "a", 1);
	assert_string_equal(p, "a-1");
	p = mem_realloc(p, 100);
	assert_string_equal(p, "a-1");
	mem_freep(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err), cmocka_unit_test(test_buf), cmocka_unit_test(test_map), cmocka_unit_test(test_id),
		cmocka_unit_test(test_clock), cmocka_unit_test(test_faults), cmocka_unit_test(test_json_getters),
		cmocka_unit_test(test_json_parse), cmocka_unit_test(test_json_bytes), cmocka_unit_test(test_log), cmocka_unit_test(test_mem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
