/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/prune, /system/df */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/prune.h"

static void api_prune(struct api_call *c)
{
	json_t *filters;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	engine_prune(c->api->engine, filters, api_done_json, api_call_ref(c));
	json_decref(filters);
}

/* df: containers are measured, then volumes, then all is put together */

static bool wanted(struct api_call *c, const char *type)
{
	const char *t;
	size_t i;

	for (i = 0; (t = http_req_query_n(c->r, "type", i)); i++) {
		if (str_eq(t, type))
			return true;
	}
	return i == 0;
}

static json_t *df_images(struct api_call *c)
{
	json_t *list = image_list(c->api->images, false, NULL, NULL), *o;
	size_t i;

	json_array_foreach(list, i, o) {
		json_object_set_new(o, "Containers", json_integer(engine_image_users(c->api->engine, json_str(o, "Id", ""))));
		json_object_set_new(o, "SharedSize", json_integer((json_int_t)image_shared_bytes(c->api->images, json_str(o, "Id", ""))));
	}
	return list ? list : json_array();
}

static void api_df_volumes(void *user, const json_t *volumes, const struct err *e)
{
	struct api_call *c = user;
	struct buf b;

	if (e) {
		api_reply_err(c, e);
	} else if (c->r) {
		json_t *images CLEANUP(json_freep) = wanted(c, "image") ? df_images(c) : NULL;
		json_t *cache CLEANUP(json_freep) = wanted(c, "build-cache") ? builds_usage(c->api->builds) : NULL;

		buf_init(&b, API_TEXT_MAX);
		(void)buf_addc(&b, '{');
		jsonw_key_i64(&b, "LayersSize", images ? (int64_t)images_layers_bytes(c->api->images) : 0);
		jsonw_key_value(&b, "Images", images);
		jsonw_key(&b, "Containers");
		if (!wanted(c, "container") || engine_list(c->api->engine, true, 0, true, NULL, &b, NULL) < 0)
			jsonw_value(&b, NULL);
		jsonw_key_value(&b, "Volumes", wanted(c, "volume") ? volumes : NULL);
		jsonw_key_value(&b, "BuildCache", cache);
		(void)buf_addc(&b, '}');
		api_reply_text(c, 200, &b);
	}
	api_call_unref(c);
}

static void api_df_measured(void *user, const struct err *e)
{
	struct api_call *c = user;

	(void)e;
	if (c->r && wanted(c, "volume"))
		volumes_usage(c->api->volumes, api_df_volumes, c);
	else
		api_df_volumes(c, NULL, NULL);
}

static void api_df(struct api_call *c)
{
	static const char *const types[] = { "container", "image", "volume", "build-cache" };
	struct err e = { 0 };
	const char *t;
	size_t k;

	for (size_t i = 0; (t = http_req_query_n(c->r, "type", i)); i++) {
		for (k = 0; k < N(types) && !str_eq(types[k], t); k++)
			;
		if (k == N(types)) {
			err_set(&e, ERR_INVALID, "unknown object type: %s", t);
			api_reply_err(c, &e);
			return;
		}
	}
	engine_measure(c->api->engine, NULL, api_df_measured, api_call_ref(c));
}

const struct api_route api_routes_prune[] = {
	{ "POST", "/containers/prune", api_prune },
	{ "GET", "/system/df", api_df },
	{ 0 },
};
