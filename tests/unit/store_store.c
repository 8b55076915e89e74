/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

static char dir[] = "/tmp/kedge-store-XXXXXX";
static struct loop *l;
static struct store *s;
static unsigned done_count, failed_count;
static struct err last;

static int setup(void **state)
{
	struct err e;

	(void)state;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	l = loop_new(&e);
	s = store_open(l, dir, &e);
	done_count = failed_count = 0;
	return s ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	store_close(s);
	loop_free(l);
	return file_rm_rf_at(AT_FDCWD, dir);
}

static void reopen(void)
{
	struct err e = { 0 };

	store_close(s);
	s = store_open(l, dir, &e);
	assert_string_equal(e.msg, "");
	assert_non_null(s);
}

static void on_done(void *user, const struct err *e)
{
	if (user)
		assert_int_equal(*(unsigned *)user, done_count);
	done_count++;
	if (e) {
		failed_count++;
		last = *e;
	}
}

static void wait_done(unsigned n)
{
	while (done_count < n)
		loop_turn(l, -1);
}

static void put(struct store_tx *tx, const char *kind, const char *id, int n)
{
	json_t *doc = json_pack("{s:i}", "n", n);

	store_tx_put(tx, kind, id, doc);
	json_decref(doc);
}

static void put_one(const char *kind, const char *id, int n)
{
	struct store_tx *tx = store_tx_new(s);

	put(tx, kind, id, n);
	store_tx_commit_take(tx, on_done, NULL);
}

struct listing {
	char text[256];
	int fail_at;
};

static int list_one(const char *id, json_t *doc, void *user)
{
	struct listing *li = user;
	size_t n = strlen(li->text);

	snprintf(li->text + n, sizeof(li->text) - n, "%s=%d ", id, (int)json_integer_value(json_object_get(doc, "n")));
	return li->fail_at && --li->fail_at == 0 ? -1 : 0;
}

static const char *list(const char *kind)
{
	static struct listing li;
	struct err e = { 0 };

	li = (struct listing){ 0 };
	assert_int_equal(store_each(s, kind, list_one, &li, &e), 0);
	return li.text;
}

static void test_put_get_del(void **state)
{
	struct store_tx *tx = store_tx_new(s);

	(void)state;
	put(tx, "container", "b", 2);
	put(tx, "container", "a", 1);
	put(tx, "network", "a", 9);
	store_tx_commit_take(tx, on_done, NULL);
	assert_int_equal(done_count, 0);
	wait_done(1);
	assert_string_equal(list("container"), "a=1 b=2 ");
	assert_string_equal(list("network"), "a=9 ");
	assert_string_equal(list("volume"), "");

	tx = store_tx_new(s);
	put(tx, "container", "a", 3);
	store_tx_del(tx, "container", "b");
	store_tx_del(tx, "container", "never there");
	store_tx_commit_take(tx, on_done, NULL);
	wait_done(2);
	reopen();
	assert_string_equal(list("container"), "a=3 ");
	assert_string_equal(list("network"), "a=9 ");
	assert_int_equal(failed_count, 0);
}

static void test_odd_strings(void **state)
{
	struct store_tx *tx = store_tx_new(s);
	const char *id = "x'; DROP TABLE object; --\xc3\xa9";

	(void)state;
	put(tx, "k'", id, 1);
	store_tx_commit_take(tx, on_done, NULL);
	wait_done(1);
	reopen();
	assert_string_equal(list("k'"), "x'; DROP TABLE object; --\xc3\xa9=1 ");
}

static void test_free_uncommitted(void **state)
{
	struct store_tx *tx = store_tx_new(s);

	(void)state;
	put(tx, "container", "a", 1);
	store_tx_free(tx);
	store_tx_free(NULL);
	reopen();
	assert_string_equal(list("container"), "");
}

static void test_order_of_many(void **state)
{
	unsigned at[1000];

	(void)state;
	for (unsigned i = 0; i < N(at); i++) {
		struct store_tx *tx = store_tx_new(s);

		at[i] = i;
		put(tx, "container", "same", (int)i);
		store_tx_commit_take(tx, on_done, &at[i]);
	}
	wait_done(N(at));
	assert_int_equal(failed_count, 0);
	assert_string_equal(list("container"), "same=999 ");
}

static void test_close_commits_what_waits(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++)
		put_one("container", "a", i);
	reopen();
	assert_int_equal(done_count, 300);
	assert_string_equal(list("container"), "a=299 ");
}

static void chain(void *user, const struct err *e)
{
	int *left = user;

	assert_null(e);
	done_count++;
	if (--*left > 0) {
		struct store_tx *tx = store_tx_new(s);

		put(tx, "chain", "a", *left);
		store_tx_commit_take(tx, chain, left);
	}
}

/* done() inside store_close() may queue more. */
static void test_close_follows_chains(void **state)
{
	struct store_tx *tx = store_tx_new(s);
	int left = 5;

	(void)state;
	put(tx, "chain", "a", left);
	store_tx_commit_take(tx, chain, &left);
	reopen();
	assert_int_equal(done_count, 5);
	assert_string_equal(list("chain"), "a=1 ");
	loop_turn(l, 0);
}

static void test_each_stops(void **state)
{
	struct listing li = { .fail_at = 2 };
	struct err e;

	(void)state;
	put_one("c", "a", 1);
	put_one("c", "b", 2);
	put_one("c", "c", 3);
	wait_done(3);
	assert_true(store_each(s, "c", list_one, &li, &e) < 0);
	assert_string_equal(li.text, "a=1 b=2 ");
}

static void test_failed_commit(void **state)
{
	(void)state;
	put_one("c", "a", 1);
	wait_done(1);
	fault_arm("store.commit", 1, EIO);
	put_one("c", "a", 2);
	wait_done(2);
	/* The group failed, its only member was tried again alone. */
	assert_int_equal(failed_count, 0);
	assert_string_equal(list("c"), "a=2 ");
	fault_arm("store.commit", 1, ENOSPC);
	fault_arm("store.begin", 2, ENOSPC);
	put_one("c", "a", 3);
	wait_done(3);
	assert_int_equal(failed_count, 1);
	assert_int_equal(last.kind, ERR_INTERNAL);
	assert_non_null(strstr(last.msg, "No space left"));
	assert_string_equal(list("c"), "a=2 ");
	put_one("c", "a", 4);
	wait_done(4);
	assert_int_equal(failed_count, 1);
	assert_string_equal(list("c"), "a=4 ");
}

static void test_permissions(void **state)
{
	char path[128];
	struct stat st;

	(void)state;
	put_one("c", "a", 1);
	wait_done(1);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "kedge.db", "kedge.db-wal", "kedge.db-shm" };

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void change_db(const char *sql)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/kedge.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_newer_schema_is_refused(void **state)
{
	struct err e = { 0 };

	(void)state;
	store_close(s);
	change_db("PRAGMA user_version = 99");
	s = store_open(l, dir, &e);
	assert_null(s);
	assert_non_null(strstr(e.msg, "schema 99"));
	assert_non_null(strstr(e.msg, "kedge.db"));
}

static void test_bad_document_is_named(void **state)
{
	struct listing li = { 0 };
	struct err e = { 0 };

	(void)state;
	store_close(s);
	change_db("INSERT INTO object VALUES ('c', 'broken-one', '{')");
	s = store_open(l, dir, &e);
	assert_non_null(s);
	assert_true(store_each(s, "c", list_one, &li, &e) < 0);
	assert_non_null(strstr(e.msg, "broken-one"));
}

static void test_not_a_database(void **state)
{
	struct err e = { 0 };
	char path[128];

	(void)state;
	store_close(s);
	snprintf(path, sizeof(path), "%s/kedge.db", dir);
	assert_int_equal(file_replace_at(AT_FDCWD, path, "this is not a database, it is a sentence", 40, 0600), 0);
	s = store_open(l, dir, &e);
	assert_null(s);
	assert_non_null(strstr(e.msg, "kedge.db"));
	assert_null(store_open(l, "/nonexistent/dir", &e));
	assert_non_null(strstr(e.msg, "/nonexistent/dir"));
}

/* The child writes to a pipe what was acknowledged, and dies by SIGKILL somewhere in a commit. */
static void crash_child(int out, const char *point, unsigned nth)
{
	struct err e;
	int acked = 0;

	l = loop_new(&e);
	s = store_open(l, dir, &e);
	if (!s)
		_exit(2);
	fault_arm(point, nth, FAULT_KILL);
	for (int i = 1; i < 100; i++) {
		unsigned before = done_count;
		struct store_tx *tx = store_tx_new(s);

		put(tx, "crash", "a", i);
		put(tx, "crash", "b", i);
		store_tx_commit_take(tx, on_done, NULL);
		while (done_count == before)
			loop_turn(l, -1);
		acked = i;
		if (write(out, &acked, sizeof(acked)) != sizeof(acked))
			_exit(3);
	}
	_exit(0);
}

static void test_killed_at_each_commit_point(void **state)
{
	static const char *const points[] = { "store.begin", "store.commit", "store.committed" };

	(void)state;
	for (unsigned i = 0; i < N(points); i++) {
		for (unsigned nth = 1; nth < 6; nth++) {
			int p[2], acked = 0, a = 0, b = 0, status;
			char text[64];
			pid_t pid;

			store_close(s);
			s = NULL;
			assert_int_equal(pipe(p), 0);
			pid = fork();
			if (pid == 0) {
				close(p[0]);
				crash_child(p[1], points[i], nth);
			}
			close(p[1]);
			while (read(p[0], &acked, sizeof(acked)) == sizeof(acked))
				;
			close(p[0]);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			{
				struct err e = { 0 };

				s = store_open(l, dir, &e);
				assert_string_equal(e.msg, "");
				assert_non_null(s);
			}
			snprintf(text, sizeof(text), "%s", list("crash"));
			if (*text)
				assert_int_equal(sscanf(text, "a=%d b=%d", &a, &b), 2);
			/* All or nothing; never less than what was acknowledged, at most the one on its way more. */
			assert_int_equal(a, b);
			assert_int_equal(acked, nth - 1);
			assert_true(a == acked || a == acked + 1);
			if (!strcmp(points[i], "store.committed"))
				assert_int_equal(a, acked + 1);
			store_close(s);
			change_db("DELETE FROM object");
			{
				struct err e = { 0 };

				s = store_open(l, dir, &e);
				assert_non_null(s);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get_del, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_strings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_uncommitted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_of_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_commits_what_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_follows_chains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permissions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_schema_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_document_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_database, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_at_each_commit_point, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
