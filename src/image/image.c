/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/*
 * One image in memory, and its form in the store: {"Config": text, "Bytes": [per layer], "Tagged": ns, "Parent": id, "Step": true,
 * "Blobs": [[layer, digest, size, media type, repository]]}; the last three only where there are any.
 */
enum { BLOBS_PER_LAYER = 4 };	/* registries that are remembered to have it */

struct image *image_new_take(char *text, json_t *config, const char *id)
{
	const json_t *diffs = json_path(config, "rootfs.diff_ids");
	struct image *i = mem_zalloc(sizeof(*i));

	snprintf(i->id, sizeof(i->id), "%s", id);
	i->text = text;
	i->config = config;
	i->nlayers = json_array_size(diffs);
	i->chains = mem_zalloc((i->nlayers + 1) * sizeof(*i->chains));
	i->bytes = mem_zalloc((i->nlayers + 1) * sizeof(*i->bytes));
	for (size_t k = 0; k < i->nlayers; k++)
		digest_chain(k ? i->chains[k - 1] : NULL, json_at(diffs, k), i->chains[k]);
	return i;
}

void image_free(struct image *i)
{
	if (!i)
		return;
	free(i->text);
	json_decref(i->config);
	free(i->chains);
	free(i->bytes);
	for (size_t k = 0; k < i->nblobs; k++) {
		free(i->blobs[k].type);
		free(i->blobs[k].repo);
	}
	free(i->blobs);
	free(i);
}

const char *image_parent(const struct image *i)
{
	return i->parent;
}

const char *image_diff(const struct image *i, size_t layer)
{
	return json_at(json_path(i->config, "rootfs.diff_ids"), layer);
}

void image_blob_add(struct image *i, size_t layer, const char *digest, uint64_t size, const char *type, const char *repo)
{
	struct image_blob *b;
	size_t same = 0;

	for (size_t k = 0; k < i->nblobs; k++) {
		if (i->blobs[k].layer != layer)
			continue;
		if (str_eq(i->blobs[k].digest, digest) && str_eq(i->blobs[k].repo, repo))
			return;
		same++;
	}
	if (same >= BLOBS_PER_LAYER)
		return;
	i->blobs = mem_realloc(i->blobs, (i->nblobs + 1) * sizeof(*i->blobs));
	b = &i->blobs[i->nblobs++];
	*b = (struct image_blob){ .layer = layer, .size = size, .type = mem_strdup(type), .repo = mem_strdup(repo) };
	snprintf(b->digest, sizeof(b->digest), "%s", digest);
}

void image_merge(struct image *i, const struct image *from)
{
	for (size_t k = 0; k < from->nblobs; k++) {
		const struct image_blob *b = &from->blobs[k];

		image_blob_add(i, b->layer, b->digest, b->size, b->type, b->repo);
	}
	if (!*i->parent)
		memcpy(i->parent, from->parent, sizeof(i->parent));
	/* An end for one build is an end, whatever it is for another. */
	i->step &= from->step;
}

const char *image_id(const struct image *i)
{
	return i->id;
}

const json_t *image_config(const struct image *i)
{
	return i->config;
}

uint64_t image_bytes(const struct image *i)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < i->nlayers; k++)
		sum += i->bytes[k];
	return sum;
}

json_t *image_doc(const struct image *i)
{
	json_t *bytes = json_array(), *blobs = NULL, *doc;

	for (size_t k = 0; k < i->nlayers; k++)
		json_array_append_new(bytes, json_integer((json_int_t)i->bytes[k]));
	doc = json_pack("{s:s, s:o, s:I}", "Config", i->text, "Bytes", bytes, "Tagged", (json_int_t)i->tagged);
	if (*i->parent)
		json_object_set_new(doc, "Parent", json_string(i->parent));
	if (i->step)
		json_object_set_new(doc, "Step", json_true());
	for (size_t k = 0; k < i->nblobs; k++) {
		const struct image_blob *b = &i->blobs[k];

		if (!blobs)
			json_object_set_new(doc, "Blobs", blobs = json_array());
		json_array_append_new(blobs, json_pack("[I, s, I, s, s]", (json_int_t)b->layer, b->digest, (json_int_t)b->size, b->type, b->repo));
	}
	return doc;
}

struct image *image_from_doc(const char *id, const json_t *doc, struct err *e)
{
	const char *text = json_str(doc, "Config", "");
	const json_t *bytes = json_arr(doc, "Bytes");
	char have[DIGEST_SIZE];
	struct image *i;
	json_t *config, *b;
	size_t at;

	digest_of(text, strlen(text), have);
	if (!str_eq(have, id)) {
		err_set(e, ERR_INTERNAL, "its config has the digest %s", have);
		return NULL;
	}
	config = json_parse(text, strlen(text), "its config", e);
	if (!config)
		return NULL;
	if (bundle_config_check(config, "its config", e) < 0) {
		json_decref(config);
		return NULL;
	}
	i = image_new_take(mem_strdup(text), config, id);
	for (size_t k = 0; k < i->nlayers; k++)
		i->bytes[k] = (uint64_t)json_integer_value(json_array_get(bytes, k));
	i->tagged = json_i64(doc, "Tagged", 0);
	snprintf(i->parent, sizeof(i->parent), "%s", json_str(doc, "Parent", ""));
	i->step = json_flag(doc, "Step", false);
	json_array_foreach(json_arr(doc, "Blobs"), at, b) {
		size_t layer = (size_t)json_integer_value(json_array_get(b, 0));

		if (layer < i->nlayers && digest_valid(json_at(b, 1)) && json_at(b, 3) && json_at(b, 4))
			image_blob_add(i, layer, json_at(b, 1), (uint64_t)json_integer_value(json_array_get(b, 2)), json_at(b, 3), json_at(b, 4));
	}
	return i;
}

char **image_layers(const struct images *im, const struct image *i)
{
	char **v = NULL, name[24];

	for (size_t k = 0; k < i->nlayers; k++) {
		CLEANUP(mem_freep) char *path = NULL;

		layer_link_name(i->chains[k], name);
		path = mem_printf("%s/l/%s", im->root, name);
		v = strv_add(v, path);
	}
	return v ? v : mem_zalloc(sizeof(*v));
}
