/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that do not run are removed one after the other: the store commits each before the next is looked at. */
#include <stdio.h>
#include <string.h>

#include "engine/engine_priv.h"
#include "engine/filter.h"
#include "engine/prune.h"

struct prune {
	struct engine *en;
	json_t *ids, *deleted;		/* ids: still to do */
	int64_t bytes, current_bytes;
	char current[ID_LEN + 1];
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
	json_t *filters;
	int64_t until;
	struct err err;
};

static void finish(struct prune *p)
{
	json_t *result = json_pack("{s:o, s:I}", "ContainersDeleted", json_array_size(p->deleted) ? json_incref(p->deleted) : json_null(),
				   "SpaceReclaimed", (json_int_t)p->bytes);

	if (p->err.kind == ERR_NONE)
		engine_event_post(p->en, "container", "prune", "", json_pack("{s:o}", "reclaimed", json_sprintf("%lld", (long long)p->bytes)));
	p->en->pruning = false;
	p->done(p->user, result, p->err.kind == ERR_NONE ? NULL : &p->err);
	json_decref(result);
	json_decref(p->ids);
	json_decref(p->deleted);
	json_decref(p->filters);
	free(p);
}

static void next(struct prune *p);

static void removed(void *user, const struct err *e)
{
	struct prune *p = user;

	if (e) {
		log_warn("engine", "container %.12s is not pruned: %s", p->current, e->msg);
	} else {
		json_array_append_new(p->deleted, json_string(p->current));
		p->bytes += p->current_bytes;
	}
	next(p);
}

static void next(struct prune *p)
{
	while (json_array_size(p->ids)) {
		struct container *c = map_get(p->en->by_id, json_at(p->ids, 0));

		json_array_remove(p->ids, 0);
		if (!c || c->phase != PHASE_IDLE)
			continue;	/* started or removed meanwhile */
		memcpy(p->current, c->id, sizeof(p->current));
		p->current_bytes = c->size_rw;
		engine_remove(p->en, c->id, false, false, removed, p);
		return;
	}
	finish(p);
}

static bool has_label_not(const json_t *filters, const struct container *c)
{
	const char *want;

	/* "label!": none of them may be there */
	for (size_t i = 0; (want = filter_value(filters, "label!", i)); i++) {
		json_t *one = json_pack("{s:[s]}", "label", want);
		bool hit = filter_labels(one, "label", json_obj(doc_config(c), "Labels"));

		json_decref(one);
		if (hit)
			return true;
	}
	return false;
}

static void measured(void *user, const struct err *e)
{
	struct prune *p = user;
	struct container *c;
	size_t it = 0;

	(void)e;
	while ((c = map_next(p->en->by_id, &it, NULL))) {
		if (c->phase == PHASE_IDLE && (!p->until || doc_time(c->doc, "Created") < p->until) &&
		    filter_labels(p->filters, "label", json_obj(doc_config(c), "Labels")) && !has_label_not(p->filters, c))
			json_array_append_new(p->ids, json_string(c->id));
	}
	next(p);
}

static void refused(void *user, const struct err *e)
{
	struct prune *p = user;

	p->done(p->user, NULL, e);
	json_decref(p->ids);
	json_decref(p->deleted);
	json_decref(p->filters);
	free(p);
}

void engine_prune(struct engine *en, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	static const char *const known[] = { "label", "label!", "until", NULL };
	struct prune *p = mem_zalloc(sizeof(*p));

	p->en = en;
	p->done = done;
	p->user = user;
	p->ids = json_array();
	p->deleted = json_array();
	p->filters = filters ? json_deep_copy(filters) : json_object();
	if (filter_check(filters, known, &p->err) == 0 && filter_until(filters, clock_wall(), &p->until, &p->err) == 0 && en->pruning)
		err_set(&p->err, ERR_CONFLICT, "a prune operation is already running");
	if (p->err.kind != ERR_NONE) {
		struct err e = p->err;

		waiter_later(en, refused, p, &e);
		return;
	}
	en->pruning = true;
	engine_measure(en, NULL, measured, p);
}
