/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes between a pool thread and the loop: order, bounds, ends, cancelling. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "loop/flow.h"
#include "loop/work.h"

enum { LIMIT = 64 * 1024, TOTAL = 3 << 20 };

struct job {
	struct work work;
	struct loop *l;
	struct flow *f;
	size_t got, fed;
	unsigned sum;
	int result;
	bool done, full, slow;
};

static unsigned sum_of(const unsigned char *p, size_t n, unsigned sum)
{
	while (n--)
		sum = sum * 31 + *p++;
	return sum;
}

static unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 7 + at / 251);
}

static unsigned expected(void)
{
	unsigned sum = 0;

	for (size_t i = 0; i < TOTAL; i++) {
		unsigned char c = pattern(i);

		sum = sum_of(&c, 1, sum);
	}
	return sum;
}

static void done(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);

	j->done = true;
}

static void write_run(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	unsigned char piece[1000];

	for (size_t at = 0; at < TOTAL && j->result == 0;) {
		size_t n = TOTAL - at < sizeof(piece) ? TOTAL - at : sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(at + i);
		j->result = flow_write(j->f, piece, n);
		at += n;
	}
}

static void take(void *user)
{
	struct job *j = user;
	const void *p;
	size_t n;

	while (!j->slow && (p = flow_peek(j->f, &n))) {
		j->sum = sum_of(p, n, j->sum);
		j->got += n;
		flow_drop(j->f);
	}
}

static void from_thread(void **state)
{
	struct job j = { .l = loop_new(NULL) };
	struct work_pool *p = work_pool_new(j.l, 1);

	(void)state;
	j.f = flow_new(j.l, LIMIT, take, &j);
	j.work = (struct work){ .run = write_run, .done = done };
	work_start(p, &j.work);
	while (!j.done)
		loop_turn(j.l, -1);
	take(&j);
	assert_int_equal(j.got, TOTAL);
	assert_int_equal(j.sum, expected());
	flow_free(j.f);
	work_pool_free(p);
	loop_free(j.l);
}

static void read_run(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	unsigned char piece[777];
	ssize_t n;

	while ((n = flow_read(j->f, piece, sizeof(piece))) > 0) {
		j->sum = sum_of(piece, (size_t)n, j->sum);
		j->got += (size_t)n;
	}
	j->result = (int)n;
}

static void feed(void *user)
{
	struct job *j = user;
	unsigned char piece[5000];

	j->full = false;
	while (!j->full && j->fed < TOTAL) {
		size_t n = TOTAL - j->fed < sizeof(piece) ? TOTAL - j->fed : sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(j->fed + i);
		j->fed += n;
		j->full = !flow_feed(j->f, piece, n);
		if (j->fed == TOTAL)
			flow_finish(j->f);
	}
}

static void to_thread(void **state)
{
	struct job j = { .l = loop_new(NULL) };
	struct work_pool *p = work_pool_new(j.l, 1);

	(void)state;
	j.f = flow_new(j.l, LIMIT, feed, &j);
	j.work = (struct work){ .run = read_run, .done = done };
	work_start(p, &j.work);
	feed(&j);
	assert_true(j.fed < 2 * LIMIT);		/* bounded */
	while (!j.done)
		loop_turn(j.l, -1);
	assert_int_equal(j.result, 0);
	assert_int_equal(j.got, TOTAL);
	assert_int_equal(j.sum, expected());
	flow_free(j.f);
	work_pool_free(p);
	loop_free(j.l);
}

static void cancelled(void **state)
{
	struct job j = { .l = loop_new(NULL), .slow = true };
	struct work_pool *p = work_pool_new(j.l, 1);
	size_t n;

	(void)state;
	j.f = flow_new(j.l, LIMIT, take, &j);
	j.work = (struct work){ .run = write_run, .done = done };
	work_start(p, &j.work);
	while (!flow_peek(j.f, &n))
		loop_turn(j.l, -1);
	flow_cancel(j.f);	/* the writer may well be blocked */
	while (!j.done)
		loop_turn(j.l, -1);
	assert_int_equal(j.result, -ECANCELED);
	assert_null(flow_peek(j.f, &n));
	assert_true(flow_cancelled(j.f));
	flow_free(j.f);
	work_pool_free(p);
	loop_free(j.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(from_thread), cmocka_unit_test(to_thread), cmocka_unit_test(cancelled) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
