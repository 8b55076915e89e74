/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: for states (the API's wait) and, inside the engine, for a container to be up, at rest or gone. */
#include "engine/engine_priv.h"

#include <string.h>

struct engine_wait {
	struct engine *en;
	char id[ID_LEN + 1];
	bool removed, cancelled, due;
	void (*done)(void *user, int status, const char *error);
	void *user;
	int status;
	char *error;
	struct engine_wait *next, **link;
};

static void unlink_wait(struct engine_wait *w)
{
	if (!w->link)
		return;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
}

static void fire(void *user)
{
	struct engine_wait *w = user;

	if (!w->cancelled)
		w->done(w->user, w->status, w->error);
	free(w->error);
	free(w);
}

static void finish(struct engine_wait *w, int status, const char *error)
{
	unlink_wait(w);
	w->status = status;
	w->error = mem_strdup(error);
	w->due = true;
	loop_defer(w->en->l, fire, w);
}

struct engine_wait *engine_wait(struct engine *en, const char *ref, const char *condition, void (*done)(void *user, int status, const char *error),
				void *user, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct engine_wait *w;
	bool next_exit;

	if (!c)
		return NULL;
	if (str_empty(condition))
		condition = "not-running";
	next_exit = str_eq(condition, "next-exit");
	if (!next_exit && !str_eq(condition, "removed") && !str_eq(condition, "not-running")) {
		err_set(e, ERR_INVALID, "invalid condition: \"%s\"", condition);
		return NULL;
	}
	w = mem_zalloc(sizeof(*w));
	w->en = en;
	memcpy(w->id, c->id, sizeof(w->id));
	w->done = done;
	w->user = user;
	w->removed = str_eq(condition, "removed");
	w->next = en->waits;
	w->link = &en->waits;
	if (w->next)
		w->next->link = &w->next;
	en->waits = w;
	if (!next_exit && !w->removed && c->phase == PHASE_IDLE)
		finish(w, (int)json_i64(doc_state(c), "ExitCode", 0), NULL);
	return w;
}

void engine_wait_cancel(struct engine_wait *w)
{
	w->cancelled = true;
	if (w->due)
		return;		/* fire() frees it */
	unlink_wait(w);
	free(w->error);
	free(w);
}

void wait_notify(struct container *c, bool removed, const char *error)
{
	int status = (int)json_i64(doc_state(c), "ExitCode", 0);
	struct engine_wait *w, *next;

	for (w = c->en->waits; w; w = next) {
		next = w->next;
		if (!strcmp(w->id, c->id) && (removed || !w->removed))
			finish(w, status, error);
	}
}

struct waiter *waiter_add(struct waiter **list, struct container *c, engine_done *done, void *user)
{
	struct waiter *w = mem_zalloc(sizeof(*w));

	w->c = c;
	w->done = done;
	w->user = user;
	while (*list)
		list = &(*list)->next;
	*list = w;
	return w;
}

void waiters_call(struct waiter **list, const struct err *e)
{
	struct waiter *w = TAKE(*list), *next;

	for (; w; w = next) {
		next = w->next;
		loop_timer_free(w->timer);
		if (w->done)
			w->done(w->user, e);
		free(w);
	}
}

void waiters_drop(struct waiter **list)
{
	struct waiter *w;

	while ((w = *list)) {
		*list = w->next;
		loop_timer_free(w->timer);
		free(w);
	}
}

struct later {
	engine_done *done;
	void *user;
	struct err e;
	bool failed;
};

static void run_later(void *user)
{
	struct later *t = user;

	t->done(t->user, t->failed ? &t->e : NULL);
	free(t);
}

void waiter_later(struct engine *en, engine_done *done, void *user, const struct err *e)
{
	struct later *t = mem_zalloc(sizeof(*t));

	t->done = done;
	t->user = user;
	t->failed = e != NULL;
	if (e)
		t->e = *e;
	loop_defer(en->l, run_later, t);
}
