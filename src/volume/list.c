/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, in the API's shapes; prune and sizes. */
#include "volume/volume_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

json_t *volume_shape(const struct volumes *vs, const struct volume *v)
{
	char *data CLEANUP(mem_freep) = volume_path(vs, v->name, "_data");

	return json_pack("{s:O, s:O, s:O, s:s, s:s, s:O, s:s}", "CreatedAt", json_object_get(v->doc, "CreatedAt"), "Driver",
			 json_object_get(v->doc, "Driver"), "Labels", json_object_get(v->doc, "Labels"), "Mountpoint", data, "Name", v->name,
			 "Options", json_object_get(v->doc, "Options"), "Scope", "local");
}

json_t *volume_inspect(struct volumes *vs, const char *name, struct err *e)
{
	struct volume *v = volume_find(vs, name);

	if (!v || !v->ready || v->removing) {
		err_set(e, ERR_NOT_FOUND, "get %s: no such volume", name);
		return NULL;
	}
	return volume_shape(vs, v);
}

/* "key" or "key=value". */
static bool label_is(const json_t *labels, const char *want)
{
	const char *eq = strchr(want, '='), *have;
	char *key CLEANUP(mem_freep) = eq ? mem_strndup(want, (size_t)(eq - want)) : mem_strdup(want);

	have = json_str(labels, key, NULL);
	return have && (!eq || !strcmp(have, eq + 1));
}

static bool labels_fit(const json_t *labels, const json_t *filters)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(filters, "label"), i, v) {
		if (!label_is(labels, json_string_value(v)))
			return false;
	}
	json_array_foreach(json_arr(filters, "label!"), i, v) {
		if (label_is(labels, json_string_value(v)))
			return false;
	}
	return true;
}

static int truth(const json_t *filters, const char *key, bool *ret, struct err *e)
{
	const json_t *list = json_arr(filters, key), *v;
	bool yes = false, no = false;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v);

		if (str_eq(s, "true") || str_eq(s, "1"))
			yes = true;
		else if (str_eq(s, "false") || str_eq(s, "0"))
			no = true;
		else
			return err_set(e, ERR_INVALID, "invalid filter '%s=[%s]'", key, s);
	}
	if (yes && no)
		return err_set(e, ERR_INVALID, "invalid filter '%s=[true false]'", key);
	*ret = yes;
	return 0;
}

static int check_filters(const json_t *filters, const char *const *known, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)filters, key, v) {
		size_t i;

		for (i = 0; known[i] && strcmp(known[i], key); i++)
			;
		if (!known[i])
			return err_set(e, ERR_INVALID, "invalid filter '%s'", key);
	}
	return 0;
}

static bool any_is(const json_t *list, const char *s)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (str_eq(json_string_value(v), s))
			return true;
	}
	return !json_array_size(list);
}

static bool any_part(const json_t *list, const char *s)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (strstr(s, json_string_value(v)))
			return true;
	}
	return !json_array_size(list);
}

static bool in_use(const struct volumes *vs, const struct volume *v)
{
	json_t *users = volume_users(vs, v->name);
	bool used = json_array_size(users) > 0;

	json_decref(users);
	return used;
}

json_t *volume_list(struct volumes *vs, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "dangling", "name", "driver", "label", NULL };
	json_t *list;
	bool dangling = false;
	struct volume *v;
	size_t it = 0;

	if (check_filters(filters, known, e) < 0 || truth(filters, "dangling", &dangling, e) < 0)
		return NULL;
	list = json_array();
	while ((v = map_next(vs->by_name, &it, NULL))) {
		if (!v->ready || v->removing || !any_part(json_arr(filters, "name"), v->name) ||
		    !any_is(json_arr(filters, "driver"), json_str(v->doc, "Driver", "")) || !labels_fit(json_object_get(v->doc, "Labels"), filters))
			continue;
		if (json_array_size(json_arr(filters, "dangling")) && in_use(vs, v) == dangling)
			continue;
		json_array_append_new(list, volume_shape(vs, v));
	}
	return json_pack("{s:o, s:n}", "Volumes", list, "Warnings");
}

/* Sizes, and what prune needs of them: a job over a list of names. */

struct survey {
	struct work work;
	struct volumes *vs;
	char **names;
	uint64_t *bytes;
	void (*usage_done)(void *user, const json_t *list, const struct err *e);
	void (*prune_done)(void *user, const json_t *result, const struct err *e);
	void *user;
	size_t at;			/* prune: the one being removed */
	json_t *deleted;
	uint64_t reclaimed;
	struct err e;
};

static void survey_free(struct survey *s)
{
	strv_free(s->names);
	free(s->bytes);
	json_decref(s->deleted);
	free(s);
}

static void survey_run(struct work *w)
{
	struct survey *s = CONTAINER_OF(w, struct survey, work);

	for (size_t i = 0; s->names && s->names[i]; i++) {
		char *data CLEANUP(mem_freep) = volume_path(s->vs, s->names[i], "_data");
		int dir CLEANUP(fd_closep) = open(data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (dir >= 0)
			copy_usage(dir, &s->bytes[i]);
	}
}

static void survey_start(struct survey *s, void (*done)(struct work *w))
{
	s->bytes = mem_zalloc((strv_len(s->names) + 1) * sizeof(*s->bytes));
	s->work.run = survey_run;
	s->work.done = done;
	work_start(s->vs->pool, &s->work);
}

static void usage_done(struct work *w)
{
	struct survey *s = CONTAINER_OF(w, struct survey, work);
	json_t *list = json_array();

	for (size_t i = 0; s->names && s->names[i]; i++) {
		json_t *shape = volume_inspect(s->vs, s->names[i], NULL), *users;

		if (!shape)
			continue;
		users = volume_users(s->vs, s->names[i]);
		/* -1: of a file system that somebody else keeps, docker does not say either */
		json_object_set_new(shape, "UsageData", json_pack("{s:I, s:I}", "RefCount", (json_int_t)json_array_size(users), "Size",
								  json_object_size(json_obj(shape, "Options")) ? (json_int_t)-1 : (json_int_t)s->bytes[i]));
		json_decref(users);
		json_array_append_new(list, shape);
	}
	s->usage_done(s->user, list, NULL);
	json_decref(list);
	survey_free(s);
}

void volumes_usage(struct volumes *vs, void (*done)(void *user, const json_t *list, const struct err *e), void *user)
{
	struct survey *s = mem_zalloc(sizeof(*s));
	struct volume *v;
	size_t it = 0;

	*s = (struct survey){ .vs = vs, .usage_done = done, .user = user };
	while ((v = map_next(vs->by_name, &it, NULL))) {
		if (v->ready && !v->removing)
			s->names = strv_add(s->names, v->name);
	}
	survey_start(s, usage_done);
}

static void prune_end(void *user)
{
	struct survey *s = user;
	json_t *result = json_pack("{s:O, s:I}", "VolumesDeleted", s->deleted ? s->deleted : json_null(), "SpaceReclaimed", (json_int_t)s->reclaimed);

	s->prune_done(s->user, s->e.kind == ERR_NONE ? result : NULL, s->e.kind == ERR_NONE ? NULL : &s->e);
	json_decref(result);
	survey_free(s);
}

static void prune_next(struct survey *s);

static void prune_removed(void *user, const struct err *e)
{
	struct survey *s = user;

	/* One that a container took meanwhile stays, as it should. */
	if (!e) {
		if (!s->deleted)
			s->deleted = json_array();
		json_array_append_new(s->deleted, json_string(s->names[s->at]));
		s->reclaimed += s->bytes[s->at];
	}
	s->at++;
	prune_next(s);
}

static void prune_next(struct survey *s)
{
	if (s->names && s->names[s->at])
		volume_remove(s->vs, s->names[s->at], false, prune_removed, s);
	else
		prune_end(s);
}

static void prune_surveyed(struct work *w)
{
	prune_next(CONTAINER_OF(w, struct survey, work));
}

void volumes_prune(struct volumes *vs, const json_t *filters, bool all, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	static const char *const known[] = { "all", "label", "label!", NULL };
	struct survey *s = mem_zalloc(sizeof(*s));
	bool asked = false;
	struct volume *v;
	size_t it = 0;

	*s = (struct survey){ .vs = vs, .prune_done = done, .user = user };
	if (check_filters(filters, known, &s->e) < 0 || truth(filters, "all", &asked, &s->e) < 0) {
		loop_defer(vs->l, prune_end, s);
		return;
	}
	while ((v = map_next(vs->by_name, &it, NULL))) {
		if (v->ready && !v->removing && (all || asked || json_object_get(json_object_get(v->doc, "Labels"), VOLUME_ANONYMOUS)) &&
		    labels_fit(json_object_get(v->doc, "Labels"), filters) && !in_use(vs, v))
			s->names = strv_add(s->names, v->name);
	}
	survey_start(s, prune_surveyed);
}
