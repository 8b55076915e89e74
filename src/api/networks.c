/* SPDX-License-Identifier: Apache-2.0 */
/* /networks */
#include "api/api_priv.h"
#include "base/json.h"
#include "base/str.h"

static void api_network_list(struct api_call *c)
{
	json_t *filters, *list;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	list = engine_network_list(c->api->engine, filters, &e);
	json_decref(filters);
	if (list)
		api_reply_json(c, 200, list);
	else
		api_reply_err(c, &e);
}

/* ?scope= narrows the search: a network of another scope is not found. */
static void api_network_inspect(struct api_call *c)
{
	const char *scope = http_req_query(c->r, "scope");
	struct err e = { 0 };
	json_t *doc = engine_network_inspect(c->api->engine, c->arg, &e);

	if (doc && !str_empty(scope) && !str_eq(scope, json_str(doc, "Scope", ""))) {
		json_decref(doc);
		doc = NULL;
		err_set(&e, ERR_NOT_FOUND, "network %s not found", c->arg);
	}
	if (doc)
		api_reply_json(c, 200, doc);
	else
		api_reply_err(c, &e);
}

static void api_network_created(void *user, const char *id, const char *warning, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 201, json_pack("{s:s, s:s}", "Id", id, "Warning", warning ? warning : ""));
	api_call_unref(c);
}

static void api_network_create_body(struct api_call *c, json_t *body)
{
	engine_network_create(c->api->engine, body, api_network_created, api_call_ref(c));
}

static void api_network_create(struct api_call *c)
{
	api_read_json(c, false, api_network_create_body);
}

static void api_network_remove(struct api_call *c)
{
	engine_network_remove(c->api->engine, c->arg, api_done_empty, api_call_ref(c));
}

static void api_network_prune(struct api_call *c)
{
	json_t *filters;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	engine_network_prune(c->api->engine, filters, api_done_json, api_call_ref(c));
	json_decref(filters);
}

/* 200 without a body, unlike most others. */
static void api_network_changed(void *user, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_empty(c, 200);
	api_call_unref(c);
}

static bool api_network_body_ok(struct api_call *c, const json_t *body)
{
	struct err e = { 0 };

	if (json_is_string(json_object_get(body, "Container")))
		return true;
	err_set(&e, ERR_INVALID, "Container: the container to connect or disconnect is not given");
	api_reply_err(c, &e);
	return false;
}

static void api_network_connect_body(struct api_call *c, json_t *body)
{
	if (api_network_body_ok(c, body))
		engine_network_connect(c->api->engine, c->arg, body, api_network_changed, api_call_ref(c));
}

static void api_network_connect(struct api_call *c)
{
	api_read_json(c, false, api_network_connect_body);
}

static void api_network_disconnect_body(struct api_call *c, json_t *body)
{
	if (api_network_body_ok(c, body))
		engine_network_disconnect(c->api->engine, c->arg, body, api_network_changed, api_call_ref(c));
}

static void api_network_disconnect(struct api_call *c)
{
	api_read_json(c, false, api_network_disconnect_body);
}

const struct api_route api_routes_networks[] = {
	{ "GET", "/networks", api_network_list },
	{ "POST", "/networks/create", api_network_create },
	{ "POST", "/networks/prune", api_network_prune },
	{ "POST", "/networks/*/connect", api_network_connect },
	{ "POST", "/networks/*/disconnect", api_network_disconnect },
	{ "GET", "/networks/*", api_network_inspect },
	{ "DELETE", "/networks/*", api_network_remove },
	{ 0 },
};
