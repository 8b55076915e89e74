/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event bus: the last events kept for since/until, live ones to whoever listens. An event is written as JSON once, however many
 * listen, and kept as that text: a thousand trees of values would be a fifth of the engine's memory. Each subscriber sees events in the order they were posted: what comes before its first
 * turn waits behind the history.
 */
#include "engine/engine_priv.h"
#include "engine/filter.h"

#include <stdio.h>
#include <string.h>

enum { HISTORY_MAX = 1024 };	/* docker keeps 256 */

struct event {
	unsigned refs;
	int64_t at;
	json_t *doc;		/* text again, while somebody is told; else NULL */
	size_t len;
	char text[];		/* with the newline */
};

struct engine_events {
	struct engine *en;
	json_t *filters;
	int64_t until_ns;
	struct loop_timer *timer;
	void (*event)(void *user, const json_t *ev, const char *text, size_t n);
	void (*end)(void *user);
	void *user;
	struct event **backlog;
	size_t n_backlog;
	bool cancelled, ended, primed;
	unsigned busy;
	struct engine_events *next, **link;
};

struct event_log {
	struct event *ring[HISTORY_MAX];
	size_t first, n;
};

static struct event *event_ref(struct event *ev)
{
	ev->refs++;
	return ev;
}

static void event_unref(struct event *ev)
{
	if (--ev->refs)
		return;
	json_decref(ev->doc);
	free(ev);
}

static struct event *event_new(json_t *doc_take, int64_t at)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct event *ev;

	jsonw_value(&b, doc_take);
	(void)buf_addc(&b, '\n');
	ev = mem_alloc(sizeof(*ev) + b.len + 1);
	*ev = (struct event){ .refs = 1, .at = at, .doc = doc_take, .len = b.len };
	memcpy(ev->text, b.data, b.len + 1);
	return ev;
}

static const json_t *event_doc(struct event *ev)
{
	if (!ev->doc)
		ev->doc = json_parse(ev->text, ev->len, "event", NULL);
	return ev->doc;
}

/* All have been told for now. */
static void event_told(struct event *ev)
{
	json_decref(ev->doc);
	ev->doc = NULL;
}

struct event_log *event_log_new(void)
{
	return mem_zalloc(sizeof(struct event_log));
}

void event_log_free(struct event_log *log)
{
	if (!log)
		return;
	while (log->n--)
		event_unref(log->ring[(log->first + log->n) % HISTORY_MAX]);
	free(log);
}

static void log_add(struct event_log *log, struct event *ev)
{
	if (log->n == HISTORY_MAX) {
		event_unref(log->ring[log->first]);
		log->first = (log->first + 1) % HISTORY_MAX;
		log->n--;
	}
	log->ring[(log->first + log->n++) % HISTORY_MAX] = event_ref(ev);
}

/* Filters, as docker has them */

/* An id or a name begins with one of the words. */
static bool object_ok(const json_t *filters, const char *key, const char *id, const char *name)
{
	return !filter_count(filters, key) || (*id && filter_prefix(filters, key, id)) || (*name && filter_prefix(filters, key, name));
}

static bool image_ok(const json_t *filters, const char *type, const char *id, const json_t *attrs)
{
	const char *name = json_str(attrs, str_eq(type, "image") ? "name" : "image", ""), *slash, *colon;
	char *bare CLEANUP(mem_freep) = NULL;

	if (!filter_count(filters, "image") || filter_exact(filters, "image", id) || filter_exact(filters, "image", name))
		return true;
	slash = strrchr(name, '/');
	colon = strrchr(slash ? slash : name, ':');
	bare = colon ? mem_strndup(name, (size_t)(colon - name)) : NULL;
	return bare && filter_exact(filters, "image", bare);
}

/* "exec_start: sh -c x" is found by its beginning, and "health_status" is. */
static bool action_ok(const json_t *filters, const char *action)
{
	const char *w;
	size_t i;

	for (i = 0; (w = filter_value(filters, "event", i)); i++) {
		if (str_eq(w, action) || (*w && str_starts(action, w) && action[strlen(w)] == ':'))
			return true;
	}
	return i == 0;
}

static bool matches(const json_t *filters, const json_t *ev)
{
	static const char *const named[] = { "container", "network", "volume", "plugin", "daemon", "service", "node", "secret", "config" };
	const json_t *actor = json_object_get(ev, "Actor"), *attrs = json_object_get(actor, "Attributes");
	const char *type = json_str(ev, "Type", ""), *id = json_str(actor, "ID", ""), *name = json_str(attrs, "name", "");

	if (!filters || !json_object_size(filters))
		return true;
	if (!filter_exact(filters, "type", type) || !action_ok(filters, json_str(ev, "Action", "")) ||
	    !filter_exact(filters, "scope", json_str(ev, "scope", "local")) || !filter_labels(filters, "label", attrs) ||
	    !image_ok(filters, type, id, attrs))
		return false;
	for (size_t i = 0; i < N(named); i++) {
		if (!object_ok(filters, named[i], id, name))
			return false;
	}
	return true;
}

/* Subscribers */

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
	for (size_t i = 0; i < s->n_backlog; i++)
		event_unref(s->backlog[i]);
	free(s->backlog);
	free(s);
}

static void tell(struct engine_events *s, struct event *ev)
{
	if (!s->cancelled && matches(s->filters, event_doc(ev)))
		s->event(s->user, event_doc(ev), ev->text, ev->len);
}

static void backlog_add(struct engine_events *s, struct event *ev)
{
	s->backlog = mem_realloc(s->backlog, (s->n_backlog + 1) * sizeof(*s->backlog));
	s->backlog[s->n_backlog++] = event_ref(ev);
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

	s->primed = true;
	s->busy++;
	for (size_t i = 0; i < s->n_backlog; i++) {
		tell(s, s->backlog[i]);
		event_told(s->backlog[i]);
	}
	s->busy--;
	if (s->cancelled) {
		free_sub(s);
		return;
	}
	while (s->n_backlog)
		event_unref(s->backlog[--s->n_backlog]);
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
				    void (*event)(void *user, const json_t *ev, const char *text, size_t n), void (*end)(void *user), void *user,
				    struct err *e)
{
	static const char *const known[] = { "container", "daemon", "event", "image", "label", "network", "plugin", "scope", "type",
					     "volume", "service", "node", "secret", "config", NULL };
	struct event_log *log = en->history;
	struct engine_events *s;

	if (filter_check(filters, known, e) < 0)
		return NULL;
	if (since_ns && until_ns && until_ns < since_ns) {
		err_set(e, ERR_INVALID, "`since` time (%lld) cannot be after `until` time (%lld)", (long long)(since_ns / 1000000000),
			(long long)(until_ns / 1000000000));
		return NULL;
	}
	s = mem_zalloc(sizeof(*s));
	s->en = en;
	s->filters = filters ? json_deep_copy(filters) : NULL;
	s->until_ns = until_ns;
	s->event = event;
	s->end = end;
	s->user = user;
	for (size_t i = 0; (since_ns || until_ns) && i < log->n; i++) {
		struct event *ev = log->ring[(log->first + i) % HISTORY_MAX];

		if (ev->at >= since_ns && (!until_ns || ev->at <= until_ns))
			backlog_add(s, ev);
	}
	/* At the end: who came first hears first. */
	s->link = &en->subs;
	while (*s->link)
		s->link = &(*s->link)->next;
	*s->link = s;
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

size_t engine_events_listeners(const struct engine *en)
{
	size_t n = 0;

	for (const struct engine_events *s = en->subs; s; s = s->next)
		n++;
	return n;
}

void engine_event_post(struct engine *en, const char *type, const char *action, const char *id, json_t *attributes)
{
	struct engine_events *s, *next;
	struct event *ev;
	json_t *doc;
	int64_t now = clock_wall();

	doc = json_pack("{s:s, s:s, s:{s:s, s:o}, s:s, s:I, s:I}", "Type", type, "Action", action,
			"Actor", "ID", id, "Attributes", attributes ? attributes : json_object(),
			"scope", "local", "time", (json_int_t)(now / 1000000000), "timeNano", (json_int_t)now);
	if (!doc)
		return;
	if (str_eq(type, "container")) {	/* the old names, which API clients below 1.22 and some tools still read */
		doc_set(doc, "status", json_string(action));
		doc_set(doc, "id", json_string(id));
		doc_set(doc, "from", json_string(json_str(json_obj(json_obj(doc, "Actor"), "Attributes"), "image", "")));
	}
	ev = event_new(doc, now);
	log_add(en->history, ev);
	for (s = en->subs; s; s = next) {
		if (!s->primed) {	/* keeps its order behind the backlog */
			backlog_add(s, ev);
			next = s->next;
			continue;
		}
		s->busy++;
		tell(s, ev);
		s->busy--;
		next = s->next;
		if (s->cancelled)
			free_sub(s);
	}
	event_told(ev);
	event_unref(ev);
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
