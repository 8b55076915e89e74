/* SPDX-License-Identifier: Apache-2.0 */
/* /volumes */
#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"

static void api_volume_list(struct api_call *c)
{
	json_t *filters = NULL, *list = NULL;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) == 0)
		list = volume_list(c->api->volumes, filters, &e);
	json_decref(filters);
	if (list)
		api_reply_json(c, 200, list);
	else
		api_reply_err(c, &e);
}

static void api_volume_inspect(struct api_call *c)
{
	struct err e = { 0 };
	json_t *doc = volume_inspect(c->api->volumes, c->arg, &e);

	if (doc)
		api_reply_json(c, 200, doc);
	else
		api_reply_err(c, &e);
}

static void api_volume_created(void *user, const json_t *v, bool created, const struct err *e)
{
	struct api_call *c = user;

	(void)created;
	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 201, json_incref((json_t *)v));
	api_call_unref(c);
}

static int api_volume_spec(const json_t *body, struct volume_spec *s, struct err *e)
{
	static const struct { const char *key; json_type type; const char *what; } fields[] = {
		{ "Name", JSON_STRING, "a string" }, { "Driver", JSON_STRING, "a string" }, { "DriverOpts", JSON_OBJECT, "an object" },
		{ "Labels", JSON_OBJECT, "an object" },
	};
	const json_t *v;

	for (size_t i = 0; i < N(fields); i++) {
		v = json_object_get(body, fields[i].key);
		if (v && !json_is_null(v) && json_typeof(v) != fields[i].type)
			return err_set(e, ERR_INVALID, "%s is not %s", fields[i].key, fields[i].what);
	}
	v = json_object_get(body, "ClusterVolumeSpec");
	if (v && !json_is_null(v))
		return err_set(e, ERR_INVALID, "ClusterVolumeSpec: cluster volumes are not supported");
	*s = (struct volume_spec){ .name = json_str(body, "Name", ""), .driver = json_str(body, "Driver", ""),
				   .options = json_obj(body, "DriverOpts"), .labels = json_obj(body, "Labels") };
	return 0;
}

static void api_volume_create_body(struct api_call *c, json_t *body)
{
	struct volume_spec s;
	struct err e = { 0 };

	if (api_volume_spec(body, &s, &e) < 0)
		api_reply_err(c, &e);
	else
		volume_create(c->api->volumes, &s, api_volume_created, api_call_ref(c));
}

static void api_volume_create(struct api_call *c)
{
	api_read_json(c, true, api_volume_create_body);
}

static void api_volume_remove(struct api_call *c)
{
	volume_remove(c->api->volumes, c->arg, http_req_query_flag(c->r, "force", false), api_done_empty, api_call_ref(c));
}

static void api_volume_pruned(void *user, const json_t *result, const struct err *e)
{
	struct api_call *c = user;

	if (e) {
		api_reply_err(c, e);
	} else {
		engine_event_post(c->api->engine, "volume", "prune", "",
				  json_pack("{s:o}", "reclaimed", json_sprintf("%lld", (long long)json_i64(result, "SpaceReclaimed", 0))));
		api_reply_json(c, 200, json_incref((json_t *)result));
	}
	api_call_unref(c);
}

/* Before API 1.42 every unused volume went. */
static void api_volume_prune(struct api_call *c)
{
	json_t *filters = NULL;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0)
		api_reply_err(c, &e);
	else
		volumes_prune(c->api->volumes, filters, c->minor < 42, api_volume_pruned, api_call_ref(c));
	json_decref(filters);
}

static void api_volume_update(struct api_call *c)
{
	struct err e = { 0 };

	err_set(&e, ERR_UNAVAILABLE, "volume %s cannot be updated: only cluster volumes can, and these are not supported", c->arg);
	api_reply_err(c, &e);
}

const struct api_route api_routes_volumes[] = {
	{ "GET", "/volumes", api_volume_list },
	{ "POST", "/volumes/create", api_volume_create },
	{ "POST", "/volumes/prune", api_volume_prune },
	{ "GET", "/volumes/*", api_volume_inspect },
	{ "DELETE", "/volumes/*", api_volume_remove },
	{ "PUT", "/volumes/*", api_volume_update },
	{ 0 },
};
