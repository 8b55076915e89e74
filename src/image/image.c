/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/* One image in memory, and its form in the store: {"Config": text, "Bytes": [per layer], "Tagged": ns}. */

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
	free(i);
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
	json_t *bytes = json_array();

	for (size_t k = 0; k < i->nlayers; k++)
		json_array_append_new(bytes, json_integer((json_int_t)i->bytes[k]));
	return json_pack("{s:s, s:o, s:I}", "Config", i->text, "Bytes", bytes, "Tagged", (json_int_t)i->tagged);
}

struct image *image_from_doc(const char *id, const json_t *doc, struct err *e)
{
	const char *text = json_str(doc, "Config", "");
	const json_t *bytes = json_arr(doc, "Bytes");
	char have[DIGEST_SIZE];
	struct image *i;
	json_t *config;

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
