/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"

struct fixture {
	struct loop *l;
	char trace[256];
};

static struct fixture *fx;

static void mark(void *user)
{
	strncat(fx->trace, user, sizeof(fx->trace) - strlen(fx->trace) - 1);
}

static int setup(void **state)
{
	struct err e = { 0 };

	fx = mem_zalloc(sizeof(*fx));
	fx->l = loop_new(&e);
	*state = fx;
	return fx->l ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(fx->l);
	free(fx);
	return 0;
}

static void defer_again(void *user)
{
	mark(user);
	loop_defer(fx->l, mark, "c");
}

static void test_defer_keeps_order(void **state)
{
	(void)state;
	loop_defer(fx->l, mark, "a");
	loop_defer(fx->l, defer_again, "b");
	loop_defer(fx->l, mark, "d");
	assert_string_equal(fx->trace, "");	/* never from inside the call */
	loop_turn(fx->l, 1000);
	assert_string_equal(fx->trace, "abd");
	loop_turn(fx->l, 1000);
	assert_string_equal(fx->trace, "abdc");
}

static void test_forget(void **state)
{
	static char b[] = "b";

	(void)state;
	loop_defer(fx->l, mark, "a");
	loop_defer(fx->l, mark, b);
	loop_post(fx->l, mark, b);
	loop_defer(fx->l, mark, "c");
	loop_forget(fx->l, mark, b);
	for (int i = 0; i < 3; i++)
		loop_turn(fx->l, 0);
	assert_string_equal(fx->trace, "ac");
}

static char word_b[] = "b";

static void forget_word(void *user)
{
	mark(user);
	loop_forget(fx->l, mark, word_b);
}

/* The call to take back may stand right behind the one that is running. */
static void test_forget_while_running(void **state)
{
	(void)state;
	loop_defer(fx->l, forget_word, "a");
	loop_defer(fx->l, mark, word_b);
	loop_defer(fx->l, mark, "c");
	loop_turn(fx->l, 1000);
	assert_string_equal(fx->trace, "ac");
}

static void test_free_runs_what_was_deferred(void **state)
{
	struct err e;
	struct loop *l = loop_new(&e);

	(void)state;
	loop_defer(l, mark, "x");
	loop_post(l, mark, "y");
	loop_free(l);
	assert_int_equal(strlen(fx->trace), 2);
}

enum { POSTERS = 4, POSTS = 2000 };

static unsigned posted;

static void count(void *user)
{
	(void)user;
	posted++;
}

static void *poster(void *user)
{
	for (int i = 0; i < POSTS; i++)
		loop_post(user, count, NULL);
	return NULL;
}

static void test_post_from_threads(void **state)
{
	pthread_t t[POSTERS];

	(void)state;
	posted = 0;
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poster, fx->l), 0);
	while (posted < POSTERS * POSTS)
		loop_turn(fx->l, -1);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(posted, POSTERS * POSTS);
}

struct reader {
	struct loop_io *io;
	unsigned got, calls;
	bool once;
};

static void on_io(void *user, unsigned events)
{
	struct reader *r = user;

	r->got |= events;
	r->calls++;
	if (r->once)
		loop_io_free(TAKE(r->io));
}

static void test_io(void **state)
{
	struct reader r = { 0 };
	int p[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	r.io = loop_io_new(fx->l, p[0], LOOP_READ, on_io, &r);
	loop_turn(fx->l, 0);
	assert_int_equal(r.calls, 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	loop_turn(fx->l, -1);
	assert_int_equal(r.got, LOOP_READ);
	/* level-triggered: not read, so it comes again */
	loop_turn(fx->l, -1);
	assert_int_equal(r.calls, 2);
	loop_io_set(r.io, 0);
	loop_turn(fx->l, 0);
	assert_int_equal(r.calls, 2);
	r.got = 0;
	loop_io_set(r.io, LOOP_READ | LOOP_WRITE);
	loop_turn(fx->l, -1);
	assert_int_equal(r.got, LOOP_READ | LOOP_WRITE);
	/* The end, told while there is something to read before it. */
	r.got = 0;
	loop_io_set(r.io, LOOP_READ | LOOP_EOF);
	loop_turn(fx->l, -1);
	assert_int_equal(r.got, LOOP_READ);
	assert_int_equal(shutdown(p[1], SHUT_WR), 0);
	loop_turn(fx->l, -1);
	assert_int_equal(r.got, LOOP_READ | LOOP_EOF);
	r.once = true;	/* freed inside its own callback */
	loop_turn(fx->l, -1);
	assert_null(r.io);
	loop_io_free(NULL);
	close(p[0]);
	close(p[1]);
}

/* Without a timer descriptor: still in order, and not earlier than its grain. */
static void test_coarse(void **state)
{
	struct err e;
	struct loop *l = loop_new_coarse(&e);
	struct loop_timer *t, *u;
	int64_t start = clock_now();

	(void)state;
	assert_non_null(l);
	t = loop_timer_new(l, mark, "t");
	u = loop_timer_new(l, mark, "u");
	loop_timer_set(t, 60000000);
	loop_timer_set(u, 20000000);
	while (strlen(fx->trace) < 2)
		loop_turn(l, -1);
	assert_string_equal(fx->trace, "ut");
	assert_true(clock_now() - start > 40000000);
	loop_timer_free(t);
	loop_timer_free(u);
	loop_free(l);
}

static void test_timer(void **state)
{
	struct loop_timer *t, *u;

	(void)state;
	t = loop_timer_new(fx->l, mark, "t");
	u = loop_timer_new(fx->l, mark, "u");
	loop_timer_set(t, 20000000);
	loop_timer_set(u, 1000000);
	loop_timer_set(u, 3000000);	/* re-armed, one shot */
	while (strlen(fx->trace) < 2)
		loop_turn(fx->l, -1);
	assert_string_equal(fx->trace, "ut");
	loop_timer_set(t, 1000000);
	loop_timer_stop(t);
	loop_turn(fx->l, 10);
	assert_string_equal(fx->trace, "ut");
	loop_timer_set(u, -5);
	loop_turn(fx->l, -1);
	assert_string_equal(fx->trace, "utu");
	loop_timer_free(t);
	loop_timer_free(u);
	loop_timer_free(NULL);
}

static void test_turn_comes_back(void **state)
{
	(void)state;
	assert_int_equal(loop_turn(fx->l, 0), 0);
	assert_int_equal(loop_turn(fx->l, 1), 0);
}

static void stop(void *user)
{
	loop_stop(user);
}

static void test_run_and_stop(void **state)
{
	struct loop_timer *t;

	(void)state;
	t = loop_timer_new(fx->l, stop, fx->l);
	loop_timer_set(t, 1000000);
	assert_int_equal(loop_run(fx->l), 0);
	loop_timer_free(t);
}

static void test_signal(void **state)
{
	struct loop_signal *s;

	(void)state;
	s = loop_signal_new(fx->l, SIGUSR1, mark, "s");
	raise(SIGUSR1);
	while (!fx->trace[0])
		loop_turn(fx->l, -1);
	assert_string_equal(fx->trace, "s");
	loop_signal_free(s);
	loop_signal_free(NULL);
}

static int child_status = -1;

static void on_child(void *user, int status)
{
	mark(user);
	child_status = status;
}

static void test_child(void **state)
{
	struct err e;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(7);
	assert_non_null(loop_child_new(fx->l, pid, on_child, "c", &e));
	while (!fx->trace[0])
		loop_turn(fx->l, -1);
	assert_true(WIFEXITED(child_status));
	assert_int_equal(WEXITSTATUS(child_status), 7);

	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_non_null(loop_child_new(fx->l, pid, on_child, "k", &e));
	kill(pid, SIGKILL);
	while (strlen(fx->trace) < 2)
		loop_turn(fx->l, -1);
	assert_true(WIFSIGNALED(child_status));
	assert_int_equal(WTERMSIG(child_status), SIGKILL);

	/* It is reaped: nothing to watch any more. */
	assert_null(loop_child_new(fx->l, pid, on_child, "n", &e));
	assert_non_null(strstr(e.msg, "cannot watch process"));
}

static void test_child_free_stops_watching(void **state)
{
	struct loop_child *c;
	struct err e;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	c = loop_child_new(fx->l, pid, on_child, "c", &e);
	assert_non_null(c);
	loop_child_free(c);
	loop_child_free(NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	loop_turn(fx->l, 0);
	assert_string_equal(fx->trace, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defer_keeps_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forget_while_running, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_runs_what_was_deferred, setup, teardown),
		cmocka_unit_test_setup_teardown(test_post_from_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_io, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coarse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turn_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_and_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_child, setup, teardown),
		cmocka_unit_test_setup_teardown(test_child_free_stops_watching, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
