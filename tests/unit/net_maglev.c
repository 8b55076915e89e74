/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/maglev.h"

enum { SLOTS = 1021 };

static void candidates(struct maglev *m, size_t n, uint32_t weight)
{
	for (size_t i = 0; i < n; i++)
		m[i] = (struct maglev){ .key = maglev_key(&i, sizeof(i)), .weight = weight };
}

static void shares(const uint16_t *slot, unsigned *share, size_t n)
{
	memset(share, 0, n * sizeof(*share));
	for (size_t i = 0; i < SLOTS; i++) {
		assert_true(slot[i] < n);
		share[slot[i]]++;
	}
}

static void test_even(void **state)
{
	struct maglev m[50];
	unsigned share[50];
	uint16_t slot[SLOTS];

	(void)state;
	for (size_t n = 1; n <= 50; n++) {
		candidates(m, n, 7);
		maglev_fill(m, n, slot, SLOTS);
		shares(slot, share, n);
		for (size_t i = 0; i < n; i++)
			assert_in_range(share[i], SLOTS / n, SLOTS / n + 1);
	}
}

static void test_weights(void **state)
{
	struct maglev m[4];
	unsigned share[4];
	uint16_t slot[SLOTS];

	(void)state;
	candidates(m, 4, 0);
	m[0].weight = 1;
	m[1].weight = 2;
	m[2].weight = 7;
	maglev_fill(m, 4, slot, SLOTS);
	shares(slot, share, 4);
	assert_in_range(share[0], 100, 104);
	assert_in_range(share[1], 202, 207);
	assert_in_range(share[2], 712, 717);
	assert_int_equal(share[3], 0);
}

static void test_nobody(void **state)
{
	struct maglev m[3];
	uint16_t slot[SLOTS];

	(void)state;
	candidates(m, 3, 0);
	maglev_fill(m, 3, slot, SLOTS);
	for (size_t i = 0; i < SLOTS; i++)
		assert_int_equal(slot[i], MAGLEV_NONE);
	maglev_fill(NULL, 0, slot, SLOTS);
	assert_int_equal(slot[0], MAGLEV_NONE);
}

/* What a removal moves beyond the removed one's own share is little. */
static void test_disruption(void **state)
{
	uint16_t before[SLOTS], after[SLOTS];
	struct maglev m[20];

	(void)state;
	candidates(m, 20, 1);
	maglev_fill(m, 20, before, SLOTS);
	for (size_t gone = 0; gone < 20; gone++) {
		unsigned moved = 0;

		m[gone].weight = 0;
		maglev_fill(m, 20, after, SLOTS);
		m[gone].weight = 1;
		for (size_t i = 0; i < SLOTS; i++) {
			assert_int_not_equal(after[i], gone);
			moved += before[i] != gone && before[i] != after[i];
		}
		assert_true(moved < SLOTS / 10);
	}
}

static void test_order(void **state)
{
	struct maglev m[9], r[9];
	uint16_t a[SLOTS], b[SLOTS];

	(void)state;
	candidates(m, 9, 3);
	m[4].weight = 1;
	for (size_t i = 0; i < 9; i++)
		r[i] = m[8 - i];
	maglev_fill(m, 9, a, SLOTS);
	maglev_fill(r, 9, b, SLOTS);
	for (size_t i = 0; i < SLOTS; i++)
		assert_int_equal(a[i], 8 - b[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_even), cmocka_unit_test(test_weights), cmocka_unit_test(test_nobody), cmocka_unit_test(test_disruption),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
