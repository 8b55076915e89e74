/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"

/*
 * docker's classic rule: a step is the same when its parent, its words (with build arguments, with the sum of what COPY brings) and the
 * configuration it leaves are the same. In the store: kind "build_cache", key -> {"Image", "Step", "Created", "Used", "Uses"}.
 * An entry whose image is gone is no entry: it is dropped where it is met. When the last use is written does not matter to anybody who waits.
 */
static void entry_free(struct build_entry *en)
{
	free(en->step);
	free(en);
}

static json_t *entry_doc(const struct build_entry *en)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "Image", en->image, "Step", en->step, "Created", (json_int_t)en->created, "Used",
			 (json_int_t)en->used_at, "Uses", (json_int_t)en->uses);
}

static int load_entry(const char *key, json_t *doc, void *user)
{
	struct builds *bs = user;
	struct build_entry *en;

	if (!digest_valid(key) || !digest_valid(json_str(doc, "Image", NULL)))
		return 0;
	en = mem_zalloc(sizeof(*en));
	snprintf(en->key, sizeof(en->key), "%s", key);
	snprintf(en->image, sizeof(en->image), "%s", json_str(doc, "Image", ""));
	en->step = mem_strdup(json_str(doc, "Step", ""));
	en->created = json_i64(doc, "Created", 0);
	en->used_at = json_i64(doc, "Used", 0);
	en->uses = json_i64(doc, "Uses", 0);
	map_put(bs->cache, key, en);
	return 0;
}

static void drop(struct builds *bs, struct build_entry *en, struct store_tx *tx)
{
	store_tx_del(tx, "build_cache", en->key);
	map_del(bs->cache, en->key);
	entry_free(en);
}

int cache_open(struct builds *bs, struct err *e)
{
	struct build_entry *en;
	struct store_tx *tx;
	size_t it = 0, gone = 0;

	bs->cache = map_new();
	if (store_each(bs->store, "build_cache", load_entry, bs, e) < 0)
		return -1;
	tx = store_tx_new(bs->store);
	while ((en = map_next(bs->cache, &it, NULL))) {
		if (image_find(bs->images, en->image, NULL))
			continue;
		drop(bs, en, tx);
		gone++;
	}
	if (gone)
		store_tx_commit_take(tx, NULL, NULL);
	else
		store_tx_free(tx);
	return 0;
}

void cache_close(struct builds *bs)
{
	struct build_entry *en;
	size_t it = 0;

	while (bs->cache && (en = map_next(bs->cache, &it, NULL)))
		entry_free(en);
	map_free(bs->cache);
	bs->cache = NULL;
}

void cache_key(const char *parent, const char *made_by, const char *author, const json_t *config, char *key)
{
	struct digest *d = digest_new();
	CLEANUP(mem_freep) char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);

	digest_update(d, parent, strlen(parent) + 1);
	digest_update(d, made_by, strlen(made_by) + 1);
	digest_update(d, author ? author : "", strlen(author ? author : "") + 1);
	digest_update(d, text ? text : "", strlen(text ? text : ""));
	digest_end_take(d, key);
}

const char *cache_get(struct builds *bs, const char *key)
{
	struct build_entry *en = map_get(bs->cache, key);
	struct store_tx *tx;

	if (!en)
		return NULL;
	if (!image_find(bs->images, en->image, NULL)) {
		tx = store_tx_new(bs->store);
		drop(bs, en, tx);
		store_tx_commit_take(tx, NULL, NULL);
		return NULL;
	}
	en->used_at = clock_wall();
	en->uses++;
	en->dirty = true;
	return en->image;
}

void cache_put(struct builds *bs, const char *key, const char *image, const char *step)
{
	struct build_entry *en = mem_zalloc(sizeof(*en)), *old;
	struct store_tx *tx = store_tx_new(bs->store);
	json_t *doc;

	snprintf(en->key, sizeof(en->key), "%s", key);
	snprintf(en->image, sizeof(en->image), "%s", image);
	en->step = mem_strdup(step);
	en->created = en->used_at = clock_wall();
	old = map_put(bs->cache, key, en);
	if (old)
		entry_free(old);
	doc = entry_doc(en);
	store_tx_put(tx, "build_cache", key, doc);
	json_decref(doc);
	store_tx_commit_take(tx, NULL, NULL);
}

/* Does `more` begin with all of `less`? Entries of histories are the same when their words and their having a layer are. */
static bool begins_with(const json_t *more, const json_t *less, bool history)
{
	json_t *v;
	size_t i;

	json_array_foreach(less, i, v) {
		const json_t *w = json_array_get(more, i);

		if (!history ? !json_equal(v, w) : !str_eq(json_str(v, "created_by", ""), json_str(w, "created_by", "")) || !w ||
						   json_flag(v, "empty_layer", false) != json_flag(w, "empty_layer", false))
			return false;
	}
	return true;
}

bool cache_lent(struct stage *s, int *diff)
{
	struct images *im = s->b->bs->images;
	const struct image *parent = *s->image ? image_find(im, s->image, NULL) : NULL;
	const json_t *history = parent ? json_arr(image_config(parent), "history") : NULL;
	const json_t *diffs = parent ? json_path(image_config(parent), "rootfs.diff_ids") : NULL;

	for (char **ref = s->b->cache_from; ref && *ref; ref++) {
		const struct image *i = image_find(im, *ref, NULL);
		const json_t *c = i ? image_config(i) : NULL, *step = json_array_get(json_arr(c, "history"), json_array_size(history));
		CLEANUP(strv_freep) char **layers = NULL;

		if (!step || !str_eq(json_str(step, "created_by", ""), s->made_by) || !begins_with(json_arr(c, "history"), history, true) ||
		    !begins_with(json_path(c, "rootfs.diff_ids"), diffs, false))
			continue;
		*diff = -1;
		if (json_flag(step, "empty_layer", false))
			return true;
		layers = image_layers(im, i);
		if (strv_len(layers) <= json_array_size(diffs))
			continue;
		*diff = open(layers[json_array_size(diffs)], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*diff >= 0)
			return true;
	}
	return false;
}

void cache_flush(struct builds *bs)
{
	struct store_tx *tx = store_tx_new(bs->store);
	struct build_entry *en;
	size_t it = 0, n = 0;

	while ((en = map_next(bs->cache, &it, NULL))) {
		json_t *doc;

		if (!en->dirty)
			continue;
		en->dirty = false;
		doc = entry_doc(en);
		store_tx_put(tx, "build_cache", en->key, doc);
		json_decref(doc);
		n++;
	}
	if (n)
		store_tx_commit_take(tx, NULL, NULL);
	else
		store_tx_free(tx);
}

/* Ids of images that others were made from. */
static struct map *all_parents(struct builds *bs)
{
	struct map *m = map_new();
	struct image *i;
	size_t it = 0;

	while ((i = image_next(bs->images, &it)))
		if (*image_parent(i))
			map_put(m, image_parent(i), i);
	return m;
}

json_t *builds_usage(struct builds *bs)
{
	struct map *parents = all_parents(bs);
	json_t *out = json_array();
	struct build_entry *en;
	size_t it = 0;

	while ((en = map_next(bs->cache, &it, NULL))) {
		const struct image *i = image_find(bs->images, en->image, NULL);
		char created[48], used[48];
		bool step;

		if (!i)
			continue;
		step = image_is_step(bs->images, i);
		json_array_append_new(out, json_pack("{s:s, s:[], s:s, s:s, s:b, s:b, s:I, s:s, s:s, s:I}", "ID", build_short(en->key), "Parents", "Type",
						     "regular", "Description", en->step, "InUse", !step || map_get(parents, en->image), "Shared", !step, "Size",
						     (json_int_t)image_own_bytes(bs->images, i), "CreatedAt", str_time_ns(en->created, created, sizeof(created)),
						     "LastUsedAt", str_time_ns(en->used_at, used, sizeof(used)), "UsageCount", (json_int_t)en->uses));
	}
	map_free(parents);
	return out;
}

/* Pruning: the entries first, then the images that were only steps, the last ones of each chain before those they stand on. */

struct prune {
	struct builds *bs;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
	json_t *deleted;
	uint64_t bytes, next_bytes;
	struct map *tried;	/* ids of images: each is tried once */
};

static void prune_next(struct prune *p);

static void prune_end(struct prune *p)
{
	struct builds *bs = p->bs;
	json_t *result = json_pack("{s:O, s:I}", "CachesDeleted", p->deleted, "SpaceReclaimed", (json_int_t)p->bytes);

	p->done(p->user, result, NULL);
	json_decref(result);
	json_decref(p->deleted);
	map_free(p->tried);
	free(p);
	builds_unref(bs);
}

static void prune_removed(void *user, const json_t *result, const struct err *e)
{
	struct prune *p = user;

	(void)result;
	if (!e)
		p->bytes += p->next_bytes;
	prune_next(p);
}

static void prune_next(struct prune *p)
{
	struct map *parents = all_parents(p->bs);
	struct image *i = NULL;
	size_t it = 0;

	while (!p->bs->closing && (i = image_next(p->bs->images, &it)))
		if (image_is_step(p->bs->images, i) && !map_get(p->tried, image_id(i)) && !map_get(parents, image_id(i)))
			break;
	map_free(parents);
	if (p->bs->closing || !i) {
		prune_end(p);
		return;
	}
	map_put(p->tried, image_id(i), p);
	p->next_bytes = image_own_bytes(p->bs->images, i);
	image_remove(p->bs->images, image_id(i), false, true, prune_removed, p);
}

static void prune_start(void *user)
{
	prune_next(user);
}

/* Ids of what images with a name, or the last ones of builds without, stand on; and their own. */
static struct map *all_kept(struct builds *bs)
{
	struct map *m = map_new();
	struct image *i;
	size_t it = 0;

	while ((i = image_next(bs->images, &it))) {
		if (image_is_step(bs->images, i))
			continue;
		for (struct image *up = i; up && !map_get(m, image_id(up));) {
			map_put(m, image_id(up), up);
			up = *image_parent(up) ? image_find(bs->images, image_parent(up), NULL) : NULL;
		}
	}
	return m;
}

void builds_prune(struct builds *bs, bool all, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct prune *p = mem_zalloc(sizeof(*p));
	struct store_tx *tx = store_tx_new(bs->store);
	struct map *kept = all_kept(bs);
	struct build_entry *en;
	size_t it = 0;

	*p = (struct prune){ .bs = bs, .done = done, .user = user, .deleted = json_array(), .tried = map_new() };
	bs->holds++;
	while ((en = map_next(bs->cache, &it, NULL))) {
		if (!all && map_get(kept, en->image))
			continue;
		json_array_append_new(p->deleted, json_string(build_short(en->key)));
		drop(bs, en, tx);
	}
	map_free(kept);
	store_tx_commit_take(tx, NULL, NULL);
	loop_defer(bs->loop, prune_start, p);
}
