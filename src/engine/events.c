/* SPDX-License-Identifier: Apache-2.0 */
/* The event bus: the last events kept for since/until, live ones to whoever listens. */
#include "engine/engine_priv.h"

#include <string.h>

enum { HISTORY_MAX = 1024 };

struct engine_events {
	struct engine *en;
	json_t *filters;
	int64_t until_ns;
	struct loop_timer *timer;
	void (*event)(void *user, const json_t *ev);
	void (*end)(void *user);
	void *user;
	json_t *backlog;
	bool cancelled, ended, primed;
	unsigned busy;
	struct engine_events *next, **link;
};

/* filters: {"type": {"container": true}} or {"type": ["container"]}. */
static bool listed(const json_t *want, const char *value)
{
	const char *key;
	const json_t *v;
	size_t i;

	if (!want || !value)
		return !want;
	if (json_is_object(want))
		return json_object_size(want) == 0 || json_object_get(want, value);
	json_array_foreach(want, i, v) {
		key = json_string_value(v);
		if (key && !strcmp(key, value))
			return true;
	}
	return json_array_size(want) == 0;
}

static bool label_is(const json_t *attrs, const char *want)
{
	const char *eq = strchr(want, '='), *have;
	char *name CLEANUP(mem_freep) = eq ? mem_strndup(want, (size_t)(eq - want)) : mem_strdup(want);

	have = json_str(attrs, name, NULL);
	return have && (!eq || !strcmp(have, eq + 1));
}

/* Both forms of filters into an array of words; new reference. */
static json_t *words_of(const json_t *want)
{
	json_t *list = json_array(), *v;
	const char *key;
	size_t i;

	json_object_foreach((json_t *)want, key, v)
		json_array_append_new(list, json_string(key));
	json_array_foreach(want, i, v) {
		if (json_is_string(v))
			json_array_append(list, v);
	}
	return list;
}

static bool label_ok(const json_t *want, const json_t *attrs)
{
	json_t *list = words_of(want), *v;
	bool ok = true;
	size_t i;

	json_array_foreach(list, i, v)
		ok = ok && label_is(attrs, json_string_value(v));
	json_decref(list);
	return ok;
}

static bool matches(const json_t *filters, const json_t *ev)
{
	const json_t *actor = json_object_get(ev, "Actor"), *attrs = json_object_get(actor, "Attributes");
	const char *type = json_str(ev, "Type", ""), *id = json_str(actor, "ID", ""), *name = json_str(attrs, "name", "");
	const char *action = json_str(ev, "Action", "");
	static const char *const kinds[] = { "container", "image", "network", "volume" };
	char verb[64];

	if (!filters)
		return true;
	snprintf(verb, sizeof(verb), "%.*s", (int)strcspn(action, ":"), action);
	if (!listed(json_object_get(filters, "type"), type) ||
	    !(listed(json_object_get(filters, "event"), action) || listed(json_object_get(filters, "event"), verb)) ||
	    !label_ok(json_object_get(filters, "label"), attrs))
		return false;
	for (size_t i = 0; i < N(kinds); i++) {
		json_t *want = words_of(json_object_get(filters, kinds[i])), *v;
		bool hit = json_array_size(want) == 0;
		size_t k;

		json_array_foreach(want, k, v) {
			const char *key = json_string_value(v);

			hit = hit || (!strcmp(type, kinds[i]) && (!strcmp(key, name) || (*key && !strncmp(key, id, strlen(key))) ||
								  !strcmp(key, json_str(attrs, "image", ""))));
		}
		json_decref(want);
		if (!hit)
			return false;
	}
	return true;
}

static void unlink_sub(struct engine_events *s)
{
	if (!s->link)
		return;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	s->link = NULL;
}

static void free_sub(struct engine_events *s)
{
	loop_timer_free(s->timer);
	json_decref(s->filters);
	json_decref(s->backlog);
	free(s);
}

static void end_sub(void *user)
{
	struct engine_events *s = user;

	unlink_sub(s);
	s->ended = true;
	s->end(s->user);
	free_sub(s);
}

static void prime(void *user)
{
	struct engine_events *s = user;
	json_t *ev;
	size_t i;

	s->primed = true;
	s->busy++;
	json_array_foreach(s->backlog, i, ev) {
		if (!s->cancelled && matches(s->filters, ev))
			s->event(s->user, ev);
	}
	s->busy--;
	if (s->cancelled) {
		free_sub(s);
		return;
	}
	json_array_clear(s->backlog);
	if (s->until_ns) {
		int64_t left = s->until_ns - clock_wall();

		if (left <= 0) {
			end_sub(s);
			return;
		}
		s->timer = loop_timer_new(s->en->l, end_sub, s);
		loop_timer_set(s->timer, left);
	}
}

struct engine_events *engine_events(struct engine *en, int64_t since_ns, int64_t until_ns, const json_t *filters,
				    void (*event)(void *user, const json_t *ev), void (*end)(void *user), void *user, struct err *e)
{
	static const char *const known[] = { "container", "daemon", "event", "image", "label", "network", "plugin", "scope", "type",
					     "volume", "service", "node", "secret", "config" };
	struct engine_events *s;
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)filters, key, v) {
		for (i = 0; i < N(known) && strcmp(known[i], key); i++)
			;
		if (i == N(known)) {
			err_set(e, ERR_INVALID, "invalid filter '%s'", key);
			return NULL;
		}
	}
	s = mem_zalloc(sizeof(*s));
	s->en = en;
	s->filters = filters ? json_deep_copy(filters) : NULL;
	s->until_ns = until_ns;
	s->event = event;
	s->end = end;
	s->user = user;
	s->backlog = json_array();
	json_array_foreach(en->history, i, v) {
		int64_t at = json_i64(v, "timeNano", 0);

		if (since_ns && at >= since_ns && (!until_ns || at <= until_ns))
			json_array_append(s->backlog, v);
	}
	s->next = en->subs;
	s->link = &en->subs;
	if (s->next)
		s->next->link = &s->next;
	en->subs = s;
	loop_defer(en->l, prime, s);
	return s;
}

void engine_events_cancel(struct engine_events *s)
{
	unlink_sub(s);
	s->cancelled = true;
	if (s->primed && !s->busy && !s->ended)
		free_sub(s);	/* else prime() or the round of post() does */
}

void engine_event_post(struct engine *en, const char *type, const char *action, const char *id, json_t *attributes)
{
	int64_t now = clock_wall();
	struct engine_events *s, *next;
	json_t *ev;

	ev = json_pack("{s:s, s:s, s:{s:s, s:o}, s:s, s:I, s:I}", "Type", type, "Action", action,
		       "Actor", "ID", id, "Attributes", attributes ? attributes : json_object(),
		       "scope", "local", "time", (json_int_t)(now / 1000000000), "timeNano", (json_int_t)now);
	if (!ev)
		return;
	if (str_eq(type, "container")) {	/* the old names, which API clients below 1.22 and some tools still read */
		doc_set(ev, "status", json_string(action));
		doc_set(ev, "id", json_string(id));
		doc_set(ev, "from", json_string(json_str(json_obj(json_obj(ev, "Actor"), "Attributes"), "image", "")));
	}
	json_array_append(en->history, ev);
	if (json_array_size(en->history) > HISTORY_MAX)
		json_array_remove(en->history, 0);
	for (s = en->subs; s; s = next) {
		if (!s->primed) {	/* keeps its order behind the backlog */
			json_array_append(s->backlog, ev);
			next = s->next;
			continue;
		}
		s->busy++;
		if (matches(s->filters, ev))
			s->event(s->user, ev);
		s->busy--;
		next = s->next;
		if (s->cancelled)
			free_sub(s);
	}
	json_decref(ev);
}

void event_container(struct container *c, const char *action, json_t *extra)
{
	json_t *attrs = json_object();

	json_object_update(attrs, json_obj(doc_config(c), "Labels"));
	doc_set(attrs, "image", json_string(json_str(doc_config(c), "Image", "")));
	doc_set(attrs, "name", json_string(container_name(c)));
	if (extra) {
		json_object_update(attrs, extra);
		json_decref(extra);
	}
	engine_event_post(c->en, "container", action, c->id, attrs);
}
