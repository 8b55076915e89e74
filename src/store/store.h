/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_STORE_STORE_H
#define KEDGE_STORE_STORE_H

#include <jansson.h>

#include "base/err.h"
#include "loop/loop.h"

/*
 * Durable objects: (kind, id) -> JSON document, in SQLite (WAL, synchronous=FULL). One writer thread; transactions that wait
 * together are committed together (one fsync); a commit is an event on the loop.
 */
struct store;

/* Opens or creates dir/kedge.db, migrates it; a newer schema is refused by name. Blocking; at start only. */
struct store *store_open(struct loop *l, const char *dir, struct err *e);
/* Commits what is queued, then closes. Pending done() callbacks run inside. */
void store_close(struct store *s);

/* Reads everything of a kind, in order of id; at start only (blocking). fn gets a borrowed document. Returning <0 stops. */
int store_each(struct store *s, const char *kind, int (*fn)(const char *id, json_t *doc, void *user), void *user, struct err *e);

struct store_tx;
struct store_tx *store_tx_new(struct store *s);
void store_tx_put(struct store_tx *tx, const char *kind, const char *id, const json_t *doc);	/* serialised at once */
void store_tx_del(struct store_tx *tx, const char *kind, const char *id);
/* Takes tx. done runs from the loop once all is on disk (e NULL) or nothing is (e set, borrowed). done may be NULL. Commits keep
 * the order of calls. */
void store_tx_commit_take(struct store_tx *tx, void (*done)(void *user, const struct err *e), void *user);
void store_tx_free(struct store_tx *tx);		/* drops it uncommitted */

#endif
