/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of both cgroup versions into docker's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/cgstat.h"

static void flat(void **state)
{
	json_t *o = json_object();

	(void)state;
	cgstat_flat(o, "usage_usec 123\nuser_usec 100\n\nbroken\nlast 9223372036854775808");
	assert_int_equal(json_i64(o, "usage_usec", 0), 123);
	assert_int_equal(json_i64(o, "user_usec", 0), 100);
	assert_null(json_object_get(o, "broken"));
	assert_int_equal(json_i64(o, "last", 0), INT64_MAX);	/* more than a JSON integer holds */
	json_decref(o);
}

static void blkio_v1(void **state)
{
	json_t *l = json_array();

	(void)state;
	cgstat_blkio_v1(l, "8:16 Read 100\n8:16 Write 200\nTotal 300\n");
	assert_int_equal(json_array_size(l), 2);
	assert_int_equal(json_i64(json_array_get(l, 1), "value", 0), 200);
	assert_int_equal(json_i64(json_array_get(l, 1), "major", 0), 8);
	assert_int_equal(json_i64(json_array_get(l, 1), "minor", 0), 16);
	assert_string_equal(json_str(json_array_get(l, 1), "op", ""), "Write");
	json_decref(l);
}

static void io_v2(void **state)
{
	json_t *b = json_array(), *n = json_array();

	(void)state;
	cgstat_io_v2(b, n, "253:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0 wbytes=5 wios=1\n");
	assert_int_equal(json_array_size(b), 4);
	assert_int_equal(json_i64(json_array_get(b, 0), "value", 0), 4096);
	assert_int_equal(json_i64(json_array_get(b, 1), "value", 0), 8192);
	assert_int_equal(json_i64(json_array_get(b, 2), "value", 0), 0);
	assert_int_equal(json_i64(json_array_get(b, 3), "value", 0), 5);
	assert_int_equal(json_i64(json_array_get(n, 1), "value", 0), 2);
	assert_string_equal(json_str(json_array_get(n, 0), "op", ""), "read");
	json_decref(b);
	json_decref(n);
}

static void system_cpu(void **state)
{
	(void)state;
	assert_int_equal(cgstat_system_cpu("cpu  1 2 3 4 5 6 7 1000 1000 0\ncpu0 1 1 1\n", 100), 28ll * 10000000);
	assert_int_equal(cgstat_system_cpu("", 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(flat), cmocka_unit_test(blkio_v1), cmocka_unit_test(io_v2), cmocka_unit_test(system_cpu) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
