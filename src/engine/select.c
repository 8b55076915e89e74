/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/select.h"

#include <stdio.h>
#include <string.h>

#include "engine/filter.h"
#include "engine/mounts.h"

static bool one_of(const char *word, const char *const *words)
{
	while (*words && !str_eq(*words, word))
		words++;
	return *words;
}

static int check_words(const json_t *filters, const char *key, const char *const *words, struct err *e)
{
	const char *w;

	for (size_t i = 0; (w = filter_value(filters, key, i)); i++) {
		if (!one_of(w, words))
			return err_set(e, ERR_INVALID, "invalid filter '%s=%s'", key, w);
	}
	return 0;
}

/* "80", "80/udp", "8000-8010/tcp". */
static bool port_range(const char *text, uint64_t *from, uint64_t *to, const char **proto)
{
	char *copy CLEANUP(mem_freep) = mem_strdup(text), *slash = strchr(copy, '/'), *dash;

	*proto = slash ? text + (slash - copy) + 1 : "tcp";
	if (slash)
		*slash = '\0';
	dash = strchr(copy, '-');
	if (dash)
		*dash++ = '\0';
	if (str_to_u64(copy, 1, 65535, from) < 0)
		return false;
	*to = *from;
	return (!dash || (str_to_u64(dash, 1, 65535, to) == 0 && *to >= *from)) && (str_eq(*proto, "tcp") || str_eq(*proto, "udp") || str_eq(*proto, "sctp"));
}

static int check_ports(const json_t *filters, const char *key, struct err *e)
{
	const char *w, *proto;
	uint64_t from, to;

	for (size_t i = 0; (w = filter_value(filters, key, i)); i++) {
		if (!port_range(w, &from, &to, &proto))
			return err_set(e, ERR_INVALID, "invalid filter '%s=%s'", key, w);
	}
	return 0;
}

static int check_numbers(const json_t *filters, const char *key, struct err *e)
{
	const char *w;
	int64_t n;

	for (size_t i = 0; (w = filter_value(filters, key, i)); i++) {
		if (str_to_i64(w, INT32_MIN, INT32_MAX, &n) < 0)
			return err_set(e, ERR_INVALID, "invalid filter '%s=%s'", key, w);
	}
	return 0;
}

/* before, since: the container named last counts. */
static int bound(struct engine *en, const json_t *filters, const char *key, int64_t *ret, struct err *e)
{
	const char *w;

	for (size_t i = 0; (w = filter_value(filters, key, i)); i++) {
		struct container *c = engine_find(en, w, e);

		if (!c)
			return -1;
		*ret = doc_time(c->doc, "Created");
	}
	return 0;
}

int select_init(struct select *s, struct engine *en, const json_t *filters, bool all, struct err *e)
{
	static const char *const known[] = { "ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label", "name",
					     "network", "publish", "since", "status", "volume", NULL };
	static const char *const states[] = { "created", "running", "paused", "restarting", "removing", "exited", "dead", NULL };
	static const char *const healths[] = { "none", "starting", "healthy", "unhealthy", NULL };
	static const char *const bools[] = { "true", "false", "1", "0", NULL };

	*s = (struct select){ .filters = filters, .all = all || filter_count(filters, "status") || filter_count(filters, "exited") };
	if (filter_check(filters, known, e) < 0 || check_words(filters, "status", states, e) < 0 || check_words(filters, "health", healths, e) < 0 ||
	    check_words(filters, "is-task", bools, e) < 0 || check_numbers(filters, "exited", e) < 0 || check_ports(filters, "publish", e) < 0 ||
	    check_ports(filters, "expose", e) < 0)
		return -1;
	if (filter_count(filters, "isolation"))
		return err_set(e, ERR_INVALID, "invalid filter 'isolation': containers on Linux have no isolation technology to choose");
	if (bound(en, filters, "before", &s->before, e) < 0 || bound(en, filters, "since", &s->since, e) < 0)
		return -1;
	return 0;
}

/* The image it was made of, or one that this was built on. */
static bool ancestor(const json_t *filters, const struct container *c)
{
	const char *w, *id = json_str(c->doc, "Image", "");
	size_t i;

	for (i = 0; (w = filter_value(filters, "ancestor", i)); i++) {
		struct image *want = image_find(c->en->images, w, NULL), *im;
		const char *at = id;

		for (int hops = 0; want && hops < 128; hops++) {
			if (str_eq(image_id(want), at))
				return true;
			im = *at ? image_find(c->en->images, at, NULL) : NULL;
			if (!im)
				break;
			at = image_parent(im);
		}
	}
	return i == 0;
}

static bool name_ok(const json_t *filters, const struct container *c)
{
	char *slash CLEANUP(mem_freep) = mem_printf("/%s", container_name(c));

	return filter_regex(filters, "name", container_name(c)) || filter_regex(filters, "name", slash);
}

static bool exited_ok(const json_t *filters, const struct container *c)
{
	char code[24];

	if (!filter_count(filters, "exited"))
		return true;
	snprintf(code, sizeof(code), "%lld", (long long)json_i64(doc_state(c), "ExitCode", 0));
	return doc_time(doc_state(c), "StartedAt") && !json_flag(doc_state(c), "Running", false) && filter_exact(filters, "exited", code);
}

static bool volume_ok(const json_t *filters, const json_t *mounts)
{
	json_t *m;
	size_t i;

	if (!filter_count(filters, "volume"))
		return true;
	json_array_foreach(mounts, i, m) {
		const char *name = json_str(m, "Name", "");

		if ((*name && filter_exact(filters, "volume", name)) || filter_exact(filters, "volume", json_str(m, "Source", "")) ||
		    filter_exact(filters, "volume", json_str(m, "Destination", "")))
			return true;
	}
	return false;
}

static bool network_ok(const json_t *filters, const json_t *networks)
{
	const char *name;
	json_t *n;

	if (!filter_count(filters, "network"))
		return true;
	json_object_foreach((json_t *)networks, name, n) {
		const char *id = json_str(n, "NetworkID", "");

		if (filter_exact(filters, "network", name) || (*id && filter_prefix(filters, "network", id)))
			return true;
	}
	return false;
}

bool select_container(const struct select *s, const struct container *c)
{
	const json_t *f = s->filters, *state = doc_state(c);
	int64_t at;

	if (!s->all && !json_flag(state, "Running", false))
		return false;
	if (s->before || s->since) {
		at = doc_time(c->doc, "Created");
		if ((s->before && at >= s->before) || (s->since && at <= s->since))
			return false;
	}
	if (!f)
		return true;
	return filter_prefix(f, "id", c->id) && name_ok(f, c) && filter_labels(f, "label", json_obj(doc_config(c), "Labels")) &&
	       filter_exact(f, "status", json_str(state, "Status", "")) && exited_ok(f, c) &&
	       filter_exact(f, "health", json_str(json_obj(state, "Health"), "Status", "none")) &&
	       (!filter_count(f, "is-task") || filter_exact(f, "is-task", "false") || filter_exact(f, "is-task", "0")) &&
	       volume_ok(f, doc_mounts(c)) && network_ok(f, json_obj(c->doc, "Networks")) && ancestor(f, c);
}

bool select_has(const struct select *s, const char *key)
{
	return filter_count(s->filters, key);
}

bool select_port(const struct select *s, const char *key, unsigned port, const char *proto)
{
	const char *w, *want;
	uint64_t from, to;

	for (size_t i = 0; (w = filter_value(s->filters, key, i)); i++) {
		if (port_range(w, &from, &to, &want) && port >= from && port <= to && str_eq(proto, want))
			return true;
	}
	return false;
}
