/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/{id}/exec and /exec/{id} */
#include "api/api_priv.h"
#include "base/json.h"

static void api_exec_create_body(struct api_call *c, json_t *body)
{
	struct err e = { 0 };
	json_t *doc;

	if (engine_exec_create(c->api->engine, c->arg, body, &doc, &e) < 0)
		api_reply_err(c, &e);
	else
		api_reply_json(c, 201, doc);
}

static void api_exec_create(struct api_call *c)
{
	api_read_json(c, false, api_exec_create_body);
}

static void api_exec_started(void *user, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_empty(c, 200);
	api_call_unref(c);
}

static int api_exec_size(const json_t *body, struct engine_exec_args *a, struct err *e)
{
	const json_t *size = json_object_get(body, "ConsoleSize"), *h = json_array_get(size, 0), *w = json_array_get(size, 1);

	if (!size || json_is_null(size) || (json_is_array(size) && !json_array_size(size)))
		return 0;
	if (json_array_size(size) != 2 || !json_is_integer(h) || !json_is_integer(w) || json_integer_value(h) < 0 || json_integer_value(h) > 65535 ||
	    json_integer_value(w) < 0 || json_integer_value(w) > 65535)
		return err_set(e, ERR_INVALID, "ConsoleSize: not two numbers, height and width");
	a->rows = (unsigned)json_integer_value(h);
	a->cols = (unsigned)json_integer_value(w);
	return 0;
}

static void api_exec_start_body(struct api_call *c, json_t *body)
{
	struct engine_exec_args args = { 0 };
	bool tty = json_flag(body, "Tty", false);
	struct api_attach *a;
	struct err e = { 0 };

	if (api_exec_size(body, &args, &e) < 0 || engine_exec_check(c->api->engine, c->arg, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	if (json_flag(body, "Detach", false)) {
		engine_exec_start(c->api->engine, c->arg, &args, api_exec_started, api_call_ref(c));
		return;
	}
	a = api_attach_new(tty, true);
	a->at = engine_exec_attach(c->api->engine, c->arg, &args, &api_attach_ops, a, &e);
	if (!a->at) {
		free(a);
		api_reply_err(c, &e);
		return;
	}
	api_attach_hijack(c, a, api_stream_type(c, tty));
}

static void api_exec_start(struct api_call *c)
{
	api_read_json(c, true, api_exec_start_body);
}

static void api_exec_inspect(struct api_call *c)
{
	struct err e = { 0 };
	json_t *doc = engine_exec_inspect(c->api->engine, c->arg, &e);

	if (doc)
		api_reply_json(c, 200, doc);
	else
		api_reply_err(c, &e);
}

static void api_exec_resize(struct api_call *c)
{
	struct err e = { 0 };
	int64_t h, w;

	if (api_query_int(c, "h", 0, 65535, 0, &h, &e) < 0 || api_query_int(c, "w", 0, 65535, 0, &w, &e) < 0 ||
	    engine_exec_resize(c->api->engine, c->arg, (unsigned)h, (unsigned)w, &e) < 0)
		api_reply_err(c, &e);
	else
		api_reply_empty(c, 200);
}

const struct api_route api_routes_exec[] = {
	{ "POST", "/containers/*/exec", api_exec_create },
	{ "POST", "/exec/*/start", api_exec_start },
	{ "GET", "/exec/*/json", api_exec_inspect },
	{ "POST", "/exec/*/resize", api_exec_resize },
	{ 0 },
};
