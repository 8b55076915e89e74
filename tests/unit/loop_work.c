/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "loop/work.h"

enum { JOBS = 500 };

struct job {
	struct work work;
	pthread_t ran_on;
	unsigned more;		/* jobs to start from done() */
	atomic_int *gate;
};

static struct loop *l;
static struct work_pool *pool;
static unsigned done_count;
static pthread_t loop_thread;
static atomic_uint at_once, most_at_once;

static int setup(void **state)
{
	struct err e;

	(void)state;
	l = loop_new(&e);
	pool = work_pool_new(l, 4);
	done_count = 0;
	loop_thread = pthread_self();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	work_pool_free(pool);
	loop_free(l);
	return 0;
}

static void run(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	unsigned n = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);

	while (n > most && !atomic_compare_exchange_weak(&most_at_once, &most, n))
		;
	while (j->gate && !atomic_load(j->gate))
		;
	j->ran_on = pthread_self();
	atomic_fetch_sub(&at_once, 1);
}

static void done(struct work *w);

static struct job *job(unsigned more)
{
	struct job *j = mem_zalloc(sizeof(*j));

	j->work.run = run;
	j->work.done = done;
	j->more = more;
	return j;
}

static void done(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);

	assert_true(pthread_equal(pthread_self(), loop_thread));
	assert_false(pthread_equal(j->ran_on, loop_thread));
	done_count++;
	if (j->more)
		work_start(pool, &job(j->more - 1)->work);
	free(j);
}

static void test_every_job_once(void **state)
{
	(void)state;
	for (int i = 0; i < JOBS; i++)
		work_start(pool, &job(0)->work);
	while (done_count < JOBS)
		loop_turn(l, -1);
	loop_turn(l, 0);
	assert_int_equal(done_count, JOBS);
}

static void test_at_most_four(void **state)
{
	atomic_int gate = 0;

	(void)state;
	atomic_store(&most_at_once, 0);
	for (int i = 0; i < 20; i++) {
		struct job *j = job(0);

		j->gate = &gate;
		work_start(pool, &j->work);
	}
	while (atomic_load(&at_once) < 4)
		loop_turn(l, 1);
	assert_int_equal(done_count, 0);
	atomic_store(&gate, 1);
	while (done_count < 20)
		loop_turn(l, -1);
	assert_int_equal(atomic_load(&most_at_once), 4);
}

static void test_free_delivers_all(void **state)
{
	struct work_pool *mine = pool;

	(void)state;
	for (int i = 0; i < 50; i++)
		work_start(pool, &job(2)->work);	/* each starts two more, one after the other */
	work_pool_free(mine);
	assert_int_equal(done_count, 150);
	loop_turn(l, 0);	/* nothing of the pool is left in the loop */
	pool = work_pool_new(l, 1);
}

static void free_inside(void *user)
{
	work_pool_free(user);
	pool = NULL;
}

/* Freed from a callback, with its post waiting behind that in the same queue. */
static void test_free_inside_a_turn(void **state)
{
	(void)state;
	loop_post(l, free_inside, pool);
	for (int i = 0; i < 10; i++)
		work_start(pool, &job(0)->work);
	while (pool)
		loop_turn(l, -1);
	loop_turn(l, 0);
	assert_int_equal(done_count, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_job_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_most_four, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_delivers_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_inside_a_turn, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
