/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One table, one writer thread. Transactions wait in a queue; the writer takes all that wait and commits them
 * together, so that a burst costs one fsync. Should such a group fail, its transactions are tried one by one: one
 * that cannot be written must not take its neighbours along.
 *
 * A document is serialised when it is put, on the loop: what happens to the object afterwards is another transaction's matter, and
 * the writer never sees a json_t. Commits come back in the order of their calls, all of a group in one post.
 *
 * Durability: WAL with synchronous=FULL syncs the log at every commit, before done() runs. After a kill or a power cut
 * SQLite replays the log up to the last whole commit. The log is folded back every 256 pages, about 1 MiB: a larger one
 * would only make the start after a crash slower.
 *
 * What can fail: a full disk, an I/O error. done() hears of it with nothing of that transaction written. At a group of
 * 256 the writer commits even if more waits, so that the first is not kept waiting by the last.
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

enum { SCHEMA = 1, GROUP_MAX = 256 };

struct op {
	char *kind, *id;
	char *text;		/* NULL: delete */
	struct op *next;
};

struct store_tx {
	struct store *s;
	struct op *first, **end;
	void (*done)(void *user, const struct err *e);
	void *user;
	struct err err;
	bool failed;
	struct store_tx *next;
};

struct store {
	struct loop *l;
	sqlite3 *db;		/* the writer's once it runs; store_each() takes the lock */
	sqlite3_stmt *put, *del;
	pthread_mutex_t lock;	/* the queues */
	pthread_mutex_t db_lock;
	pthread_cond_t more;
	pthread_t thread;
	bool started, closing;
	struct store_tx *first, **end;
	struct store_tx *finished, **finished_end;
	bool posted;
};

static int db_err(struct store *s, struct err *e, const char *what)
{
	int code = sqlite3_errcode(s->db) & 0xff;

	if (code == SQLITE_FULL)
		return err_set(e, ERR_INTERNAL, "%s: no space left on device", what);
	return err_set(e, ERR_INTERNAL, "%s: %s", what, sqlite3_errmsg(s->db));
}

static int exec(struct store *s, const char *sql, struct err *e)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_err(s, e, "state database");
}

static int write_op(struct store *s, const struct op *op, struct err *e)
{
	sqlite3_stmt *st = op->text ? s->put : s->del;
	int r;

	sqlite3_bind_text(st, 1, op->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, op->id, -1, SQLITE_STATIC);
	if (op->text)
		sqlite3_bind_text(st, 3, op->text, -1, SQLITE_STATIC);
	r = sqlite3_step(st);
	if (r != SQLITE_DONE)
		db_err(s, e, "state database");
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return r == SQLITE_DONE ? 0 : -1;
}

/* All of [first, end) or nothing. */
static int write_group(struct store *s, struct store_tx *first, struct store_tx *end, struct err *e)
{
	int r = FAULT("store.begin");

	if (r)
		return err_errno(e, -r, "state database");
	if (exec(s, "BEGIN IMMEDIATE", e) < 0)
		return -1;
	for (struct store_tx *tx = first; tx != end; tx = tx->next) {
		for (struct op *op = tx->first; op; op = op->next) {
			if (write_op(s, op, e) < 0)
				goto undo;
		}
	}
	r = FAULT("store.commit");
	if (r) {
		err_errno(e, -r, "state database");
		goto undo;
	}
	if (exec(s, "COMMIT", e) == 0) {
		(void)FAULT("store.committed");
		return 0;
	}
undo:
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

static void deliver(struct store *s)
{
	struct store_tx *tx, *next;

	pthread_mutex_lock(&s->lock);
	tx = s->finished;
	s->finished = NULL;
	s->finished_end = &s->finished;
	pthread_mutex_unlock(&s->lock);
	for (; tx; tx = next) {
		next = tx->next;
		if (tx->done)
			tx->done(tx->user, tx->failed ? &tx->err : NULL);
		else if (tx->failed)
			log_error("store", "a change was lost: %s", tx->err.msg);
		store_tx_free(tx);
	}
}

static void on_posted(void *user)
{
	struct store *s = user;

	pthread_mutex_lock(&s->lock);
	s->posted = false;
	pthread_mutex_unlock(&s->lock);
	deliver(s);
}

static void commit_list(struct store *s, struct store_tx *list)
{
	struct err e = { 0 };

	pthread_mutex_lock(&s->db_lock);
	if (write_group(s, list, NULL, &e) < 0) {
		for (struct store_tx *tx = list; tx; tx = tx->next)
			tx->failed = write_group(s, tx, tx->next, &tx->err) < 0;
	}
	pthread_mutex_unlock(&s->db_lock);
}

static void *writer(void *user)
{
	struct store *s = user;
	bool written = false;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct store_tx *list = s->first, *last = list;

		if (!list) {
			if (s->closing)
				break;
			if (written) {	/* the page cache is for bursts; the kernel has the same pages */
				written = false;
				pthread_mutex_unlock(&s->lock);
				(void)sqlite3_db_release_memory(s->db);
				pthread_mutex_lock(&s->lock);
				continue;
			}
			pthread_cond_wait(&s->more, &s->lock);
			continue;
		}
		for (int n = 1; n < GROUP_MAX && last->next; n++)
			last = last->next;
		s->first = last->next;
		if (!s->first)
			s->end = &s->first;
		last->next = NULL;
		pthread_mutex_unlock(&s->lock);

		commit_list(s, list);
		written = true;

		pthread_mutex_lock(&s->lock);
		*s->finished_end = list;
		s->finished_end = &last->next;
		if (!s->posted && !s->closing) {
			s->posted = true;
			loop_post(s->l, on_posted, s);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int migrate(struct store *s, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int version = -1;
	char sql[64];

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	if (version < 0)
		db_err(s, e, "state database");
	sqlite3_finalize(st);
	if (version < 0)
		return -1;
	if (version > SCHEMA)
		return err_set(e, ERR_INTERNAL, "the state database has schema %d, this program knows up to %d: use a newer kedged",
			       version, SCHEMA);
	if (version == SCHEMA)
		return 0;
	/* 0 -> 1 */
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; COMMIT", SCHEMA);
	if (exec(s, "BEGIN IMMEDIATE; CREATE TABLE object (kind TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL,"
		    " PRIMARY KEY (kind, id)) WITHOUT ROWID", e) < 0 || exec(s, sql, e) < 0) {
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		return -1;
	}
	return 0;
}

/* The mode is answered, not promised: on a file system without shared memory maps it stays another one. */
static int is_wal(void *user, int n, char **values, char **names)
{
	(void)user;
	(void)n;
	return strcmp(names[0], "journal_mode") == 0 && strcmp(values[0], "wal") != 0;
}

struct store *store_open(struct loop *l, const char *dir, struct err *e)
{
	struct store *s = mem_zalloc(sizeof(*s));
	char *path CLEANUP(mem_freep) = mem_printf("%s/kedge.db", dir);
	mode_t mask;
	int r;

	s->l = l;
	s->end = &s->first;
	s->finished_end = &s->finished;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->db_lock, NULL);
	pthread_cond_init(&s->more, NULL);
	mask = umask(077);	/* documents hold environment variables */
	r = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
	if (r == SQLITE_OK) {
		sqlite3_busy_timeout(s->db, 5000);
		r = sqlite3_exec(s->db, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256; PRAGMA cache_size = -512;"
				 "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL", is_wal, NULL, NULL);
	}
	umask(mask);
	if (r != SQLITE_OK) {
		err_set(e, ERR_INTERNAL, "cannot open %s: %s", path, !s->db ? "out of memory" : r == SQLITE_ABORT ?
			"its file system cannot hold a write-ahead log" : sqlite3_errmsg(s->db));
		goto fail;
	}
	if (migrate(s, e) < 0) {
		err_wrap(e, "%s", path);
		goto fail;
	}
	if (sqlite3_prepare_v3(s->db, "INSERT INTO object (kind, id, doc) VALUES (?1, ?2, ?3)"
			       " ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc", -1, SQLITE_PREPARE_PERSISTENT, &s->put, NULL) ||
	    sqlite3_prepare_v3(s->db, "DELETE FROM object WHERE kind = ?1 AND id = ?2", -1, SQLITE_PREPARE_PERSISTENT, &s->del, NULL)) {
		db_err(s, e, path);
		goto fail;
	}
	r = pthread_create(&s->thread, NULL, writer, s);
	if (r) {
		err_errno(e, r, "cannot start the store's thread");
		goto fail;
	}
	s->started = true;
	return s;
fail:
	store_close(s);
	return NULL;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	while (s->started) {
		pthread_mutex_lock(&s->lock);
		s->closing = true;
		pthread_cond_signal(&s->more);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
		s->started = s->closing = false;
		deliver(s);
		/* done() may have queued more: the store is closed only when nothing came back. */
		s->started = s->first && pthread_create(&s->thread, NULL, writer, s) == 0;
	}
	while (s->first) {	/* no thread to be had for the rest */
		struct store_tx *list = s->first;

		s->first = NULL;
		s->end = &s->first;
		commit_list(s, list);
		s->finished = list;
		deliver(s);
	}
	loop_forget(s->l, on_posted, s);
	sqlite3_finalize(s->put);
	sqlite3_finalize(s->del);
	sqlite3_close(s->db);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->db_lock);
	pthread_cond_destroy(&s->more);
	free(s);
}

int store_each(struct store *s, const char *kind, int (*fn)(const char *id, json_t *doc, void *user), void *user, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int r, ret = 0;

	pthread_mutex_lock(&s->db_lock);
	if (sqlite3_prepare_v2(s->db, "SELECT id, doc FROM object WHERE kind = ?1 ORDER BY id", -1, &st, NULL) != SQLITE_OK) {
		ret = db_err(s, e, "state database");
		goto out;
	}
	sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC);
	while (ret >= 0 && (r = sqlite3_step(st)) == SQLITE_ROW) {
		const char *id = (const char *)sqlite3_column_text(st, 0);
		const char *text = (const char *)sqlite3_column_text(st, 1);
		json_t *doc = json_parse(text ? text : "", (size_t)sqlite3_column_bytes(st, 1), id, e);

		if (!doc) {
			ret = err_wrap(e, "state database, %s", kind);
			break;
		}
		ret = fn(id, doc, user);
		json_decref(doc);
	}
	if (ret >= 0 && r != SQLITE_DONE)
		ret = db_err(s, e, "state database");
out:
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->db_lock);
	return ret < 0 ? ret : 0;
}

struct store_tx *store_tx_new(struct store *s)
{
	struct store_tx *tx = mem_zalloc(sizeof(*tx));

	tx->s = s;
	tx->end = &tx->first;
	return tx;
}

static void add_op(struct store_tx *tx, const char *kind, const char *id, char *text)
{
	struct op *op = mem_zalloc(sizeof(*op));

	op->kind = mem_strdup(kind);
	op->id = mem_strdup(id);
	op->text = text;
	*tx->end = op;
	tx->end = &op->next;
}

void store_tx_put(struct store_tx *tx, const char *kind, const char *id, const json_t *doc)
{
	add_op(tx, kind, id, json_text(doc));
}

void store_tx_del(struct store_tx *tx, const char *kind, const char *id)
{
	add_op(tx, kind, id, NULL);
}

void store_tx_commit_take(struct store_tx *tx, void (*done)(void *user, const struct err *e), void *user)
{
	struct store *s = tx->s;

	tx->done = done;
	tx->user = user;
	pthread_mutex_lock(&s->lock);
	*s->end = tx;
	s->end = &tx->next;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
}

void store_tx_free(struct store_tx *tx)
{
	if (!tx)
		return;
	while (tx->first) {
		struct op *op = tx->first;

		tx->first = op->next;
		free(op->kind);
		free(op->id);
		free(op->text);
		free(op);
	}
	free(tx);
}
