/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"
#include "image/registry/manifest.h"

/* The Engine API's documents about images. */

static void refs_split(struct images *im, const struct image *i, json_t **tags, json_t **digests)
{
	CLEANUP(strv_freep) char **refs = images_refs_of(im, i);
	char familiar[800];

	*tags = json_array();
	*digests = json_array();
	for (char **r = refs; *r; r++)
		json_array_append_new(strchr(*r, '@') ? *digests : *tags, json_string(images_familiar(*r, familiar, sizeof(familiar))));
}

static int64_t created_ns(const struct image *i)
{
	const char *text = json_str(i->config, "created", NULL);
	int64_t ns;

	/* "now" only matters for spans ("10m"), which no config holds rightly. */
	return text && strchr(text, 'T') && str_to_time_ns(text, 0, &ns) == 0 ? ns : 0;
}

static int64_t created_seconds(const struct image *i)
{
	return created_ns(i) / 1000000000;
}

static json_t *graph_driver(struct images *im, const struct image *i)
{
	json_t *data = json_object();
	CLEANUP(buf_done) struct buf lower = BUF_INIT;

	for (size_t k = i->nlayers; k-- > 0;) {
		const char *hex = i->chains[k] + strlen("sha256:");

		if (k + 1 == i->nlayers)
			json_object_set_new(data, "UpperDir", json_sprintf("%s/layers/%s/fs", im->root, hex));
		else
			buf_printf(&lower, "%s%s/layers/%s/fs", lower.len ? ":" : "", im->root, hex);
	}
	if (lower.len)
		json_object_set_new(data, "LowerDir", json_string(lower.data));
	return json_pack("{s:s, s:o}", "Name", "overlay2", "Data", data);
}

json_t *image_inspect(struct images *im, const struct image *i)
{
	const json_t *c = i->config;
	json_t *o = json_object(), *tags, *digests, *config = json_obj(c, "config"), *meta = json_object(), *diffs = json_path(c, "rootfs.diff_ids");
	const char *variant = json_str(c, "variant", NULL), *osver = json_str(c, "os.version", NULL), *created = json_str(c, "created", NULL);
	char stamp[48];

	refs_split(im, i, &tags, &digests);
	json_object_set_new(o, "Id", json_string(i->id));
	json_object_set_new(o, "RepoTags", tags);
	json_object_set_new(o, "RepoDigests", digests);
	json_object_set_new(o, "Parent", json_string(i->parent));
	json_object_set_new(o, "Comment", json_string(json_str(c, "comment", "")));
	if (created)
		json_object_set_new(o, "Created", json_string(created));
	json_object_set_new(o, "DockerVersion", json_string(json_str(c, "docker_version", "")));
	json_object_set_new(o, "Author", json_string(json_str(c, "author", "")));
	json_object_set_new(o, "Config", config ? json_deep_copy(config) : json_object());
	json_object_set_new(o, "Architecture", json_string(json_str(c, "architecture", "")));
	if (variant)
		json_object_set_new(o, "Variant", json_string(variant));
	json_object_set_new(o, "Os", json_string(json_str(c, "os", "linux")));
	if (osver)
		json_object_set_new(o, "OsVersion", json_string(osver));
	json_object_set_new(o, "Size", json_integer((json_int_t)image_bytes(i)));
	json_object_set_new(o, "GraphDriver", graph_driver(im, i));
	json_object_set_new(o, "RootFS", json_pack("{s:s, s:o}", "Type", "layers", "Layers", json_deep_copy(diffs)));
	json_object_set_new(meta, "LastTagTime", json_string(i->tagged ? str_time_ns(i->tagged, stamp, sizeof(stamp)) : "0001-01-01T00:00:00Z"));
	json_object_set_new(o, "Metadata", meta);
	return o;
}

int image_check_platform(const struct image *i, const char *ref, const char *platform, struct err *e)
{
	const char *variant = json_str(i->config, "variant", "");
	struct platform want;
	char text[128];

	if (platform_parse(platform, &want, e) < 0)
		return -1;
	if (!want.given || platform_fits(&want, i->config))
		return 0;
	return err_set(e, ERR_NOT_FOUND, "image with reference %.300s was found but its platform (%s/%s%s%s) does not match the specified platform (%s)", ref,
		       json_str(i->config, "os", "linux"), json_str(i->config, "architecture", ""), *variant ? "/" : "", variant,
		       platform_text(&want, text, sizeof(text)));
}

/* Newest first, with the ids of those that the image was made from step by step on this engine. */
json_t *image_history(struct images *im, const struct image *i)
{
	const json_t *history = json_arr(i->config, "history");
	size_t n = json_array_size(history), layer = 0;
	json_t *out = json_array(), *tags, *digests;

	refs_split(im, i, &tags, &digests);
	json_decref(digests);
	for (size_t k = 0; k < n; k++) {
		const json_t *h = json_array_get(history, k);
		const char *created = json_str(h, "created", NULL);
		uint64_t size = 0;
		int64_t ns = 0;

		if (!json_flag(h, "empty_layer", false) && layer < i->nlayers)
			size = i->bytes[layer++];
		if (created && strchr(created, 'T'))
			(void)str_to_time_ns(created, 0, &ns);
		json_array_insert_new(out, 0,
				      json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created", (json_int_t)(ns / 1000000000), "CreatedBy",
						json_str(h, "created_by", ""), "Tags", "Size", (json_int_t)size, "Comment", json_str(h, "comment", "")));
	}
	/* Layers that the history does not tell of. */
	for (; layer < i->nlayers; layer++)
		json_array_insert_new(out, 0, json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created", (json_int_t)created_seconds(i),
							"CreatedBy", "", "Tags", "Size", (json_int_t)i->bytes[layer], "Comment", ""));
	if (json_array_size(tags))
		json_object_set(json_array_get(out, 0), "Tags", tags);
	json_decref(tags);
	for (size_t k = 0; i && k < json_array_size(out); k++) {
		json_t *o = json_array_get(out, k);

		json_object_set_new(o, "Id", json_string(i->id));
		if (k) {
			refs_split(im, i, &tags, &digests);
			if (json_array_size(tags))
				json_object_set(o, "Tags", tags);
			json_decref(tags);
			json_decref(digests);
		}
		i = *i->parent ? images_find_id(im, i->parent) : NULL;
	}
	return out;
}

static json_t *summary(struct images *im, const struct image *i)
{
	json_t *o = json_object(), *tags, *digests, *labels = json_path(i->config, "config.Labels");

	refs_split(im, i, &tags, &digests);
	json_object_set_new(o, "Containers", json_integer(-1));
	json_object_set_new(o, "Created", json_integer(created_seconds(i)));
	json_object_set_new(o, "Id", json_string(i->id));
	json_object_set_new(o, "Labels", json_is_object(labels) ? json_deep_copy(labels) : json_null());
	json_object_set_new(o, "ParentId", json_string(i->parent));
	json_object_set_new(o, "RepoDigests", digests);
	json_object_set_new(o, "RepoTags", tags);
	json_object_set_new(o, "SharedSize", json_integer(-1));
	json_object_set_new(o, "Size", json_integer((json_int_t)image_bytes(i)));
	return o;
}

/* {"key": {"value": true}} or {"key": ["value"]}: the values of one key, NULL-terminated. */
static char **filter_values(const json_t *filters, const char *key)
{
	json_t *o = json_object_get(filters, key), *v;
	char **out = mem_zalloc(sizeof(*out));
	const char *name;
	size_t k;

	if (json_is_object(o))
		json_object_foreach(o, name, v)
			out = json_is_false(v) ? out : strv_add(out, name);
	json_array_foreach(o, k, v)
		out = json_is_string(v) ? strv_add(out, json_string_value(v)) : out;
	return out;
}

struct filter {
	char **labels, **not_labels, **references;
	int dangling;			/* -1: not asked */
	int64_t before, since, until;	/* ns; before, until exclusive, since exclusive */
};

static void filter_done(struct filter *f)
{
	strv_free(f->labels);
	strv_free(f->not_labels);
	strv_free(f->references);
}

static int filter_parse(struct images *im, const json_t *filters, bool prune, struct filter *f, struct err *e)
{
	/* The first four are those of a prune. */
	static const char *const known[] = { "dangling", "label", "label!", "until", "reference", "before", "since" };
	const char *key;
	json_t *v;

	*f = (struct filter){ .dangling = -1, .before = INT64_MAX, .since = INT64_MIN, .until = INT64_MAX };
	json_object_foreach((json_t *)filters, key, v) {
		CLEANUP(strv_freep) char **values = filter_values(filters, key);
		size_t k = 0;

		while (k < N(known) && !str_eq(key, known[k]))
			k++;
		if (k >= (prune ? 4 : N(known)))
			return err_set(e, ERR_INVALID, "invalid filter '%.100s'", key);
		for (char **p = values; *p; p++) {
			const struct image *i;
			int64_t ns;

			switch (k) {
			case 0:
				if (!str_eq(*p, "true") && !str_eq(*p, "1") && !str_eq(*p, "false") && !str_eq(*p, "0"))
					return err_set(e, ERR_INVALID, "invalid filter 'dangling=%.100s'", *p);
				f->dangling = str_eq(*p, "true") || str_eq(*p, "1");
				break;
			case 1:
				f->labels = strv_add(f->labels, *p);
				break;
			case 2:
				f->not_labels = strv_add(f->not_labels, *p);
				break;
			case 3:
				if (str_to_time_ns(*p, clock_wall(), &ns) < 0)
					return err_set(e, ERR_INVALID, "invalid filter 'until=%.100s'", *p);
				f->until = ns;
				break;
			case 4:
				f->references = strv_add(f->references, *p);
				break;
			default:
				i = image_find(im, *p, e);
				if (!i)
					return -1;
				ns = created_ns(i);
				if (k == 5 && ns < f->before)
					f->before = ns;
				if (k == 6 && ns > f->since)
					f->since = ns;
			}
		}
	}
	return 0;
}

static bool label_matches(const struct image *i, const char *wanted)
{
	const json_t *labels = json_path(i->config, "config.Labels");
	const char *equal = strchr(wanted, '=');
	CLEANUP(mem_freep) char *key = equal ? mem_strndup(wanted, (size_t)(equal - wanted)) : mem_strdup(wanted);
	const char *has = json_str(labels, key, NULL);

	return has && (!equal || str_eq(has, equal + 1));
}

/* Time and labels: what can be said without names. */
static bool image_matches_filter(const struct image *i, const struct filter *f)
{
	int64_t ns = created_ns(i);

	if (ns >= f->before || ns <= f->since || ns >= f->until)
		return false;
	for (char **w = f->labels; w && *w; w++)
		if (!label_matches(i, *w))
			return false;
	for (char **w = f->not_labels; w && *w; w++)
		if (label_matches(i, *w))
			return false;
	return true;
}

static bool has_children(struct images *im, const struct image *i)
{
	const struct image *c;
	size_t it = 0;

	while ((c = image_next(im, &it)))
		if (str_eq(c->parent, i->id))
			return true;
	return false;
}

struct image **image_matches(struct images *im, const json_t *filters, bool *dangling, struct err *e)
{
	CLEANUP(filter_done) struct filter f;
	struct image **all, *i;
	size_t it = 0, n = 0;

	if (filter_parse(im, filters, true, &f, e) < 0)
		return NULL;
	if (f.dangling >= 0)
		*dangling = f.dangling;
	all = mem_zalloc((map_len(im->by_id) + 1) * sizeof(struct image *));
	while ((i = image_next(im, &it)))
		if (image_matches_filter(i, &f))
			all[n++] = i;
	return all;
}

/* An image among its names: is it to be shown? docker's rules for images without a name. */
static bool names_shown(struct images *im, const struct image *i, const json_t *o, bool all, const struct filter *f)
{
	bool tags = json_array_size(json_arr(o, "RepoTags")), digests = json_array_size(json_arr(o, "RepoDigests"));

	if (f->dangling == 1)
		return !tags && !has_children(im, i);
	if (tags || digests)
		return true;
	return f->dangling != 0 && !f->references && (all || !has_children(im, i));
}

/* docker's FamiliarMatch: the pattern against "name:tag" and "name". */
static bool reference_matches(const char *canonical, char **patterns)
{
	char whole[800], name[800];
	struct image_ref r;

	images_familiar(canonical, whole, sizeof(whole));
	if (image_ref_parse(canonical, &r, NULL) < 0)
		return false;
	*r.tag = *r.digest = '\0';
	image_ref_familiar(&r, name, sizeof(name));
	for (char **p = patterns; *p; p++)
		if (str_glob(*p, whole) || str_glob(*p, name))
			return true;
	return false;
}

/* With a reference filter only the names that match are shown; an image without one is not. */
static bool references_filter(json_t *names, char **patterns)
{
	for (size_t k = json_array_size(names); k-- > 0;)
		if (!reference_matches(json_at(names, k), patterns))
			json_array_remove(names, k);
	return json_array_size(names);
}

json_t *image_list(struct images *im, bool all, const json_t *filters, struct err *e)
{
	CLEANUP(filter_done) struct filter f;
	json_t *out = json_array();
	const struct image *i;
	size_t it = 0;

	if (filter_parse(im, filters, false, &f, e) < 0) {
		json_decref(out);
		return NULL;
	}
	while ((i = image_next(im, &it))) {
		json_t *o;
		bool shown;

		if (!image_matches_filter(i, &f))
			continue;
		if (!all && image_is_step(im, i))
			continue;
		o = summary(im, i);
		shown = names_shown(im, i, o, all, &f);
		if (shown && f.references) {
			bool tags = references_filter(json_arr(o, "RepoTags"), f.references);

			shown = references_filter(json_arr(o, "RepoDigests"), f.references) || tags;
		}
		if (shown) {
			/* Newest first, as docker's clients expect. */
			size_t at = 0;

			while (at < json_array_size(out) && json_i64(json_array_get(out, at), "Created", 0) >= json_i64(o, "Created", 0))
				at++;
			json_array_insert(out, at, o);
		}
		json_decref(o);
	}
	return out;
}
