/* SPDX-License-Identifier: Apache-2.0 */
/* /containers: life cycle and looks */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static void api_list_now(struct api_call *c)
{
	json_t *filters = NULL;
	struct err e = { 0 };
	struct buf b;
	int64_t limit;

	buf_init(&b, API_TEXT_MAX);
	if (api_filters(c, &filters, &e) == 0 && api_query_int(c, "limit", -1, 1 << 30, 0, &limit, &e) == 0 &&
	    engine_list(c->api->engine, http_req_query_flag(c->r, "all", false), (int)limit, http_req_query_flag(c->r, "size", false), filters, &b, &e) == 0)
		api_reply_text(c, 200, &b);
	else
		api_reply_err(c, &e);
	json_decref(filters);
}

static void api_list_measured(void *user, const struct err *e)
{
	struct api_call *c = user;

	(void)e;
	if (c->r)
		api_list_now(c);
	api_call_unref(c);
}

static void api_list(struct api_call *c)
{
	if (http_req_query_flag(c->r, "size", false))
		engine_measure(c->api->engine, NULL, api_list_measured, api_call_ref(c));
	else
		api_list_now(c);
}

static void api_inspect_now(struct api_call *c)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, API_TEXT_MAX);
	if (engine_inspect(c->api->engine, c->arg, http_req_query_flag(c->r, "size", false), &b, &e) == 0)
		api_reply_text(c, 200, &b);
	else
		api_reply_err(c, &e);
}

static void api_inspect_measured(void *user, const struct err *e)
{
	struct api_call *c = user;

	(void)e;
	if (c->r)
		api_inspect_now(c);
	api_call_unref(c);
}

static void api_inspect(struct api_call *c)
{
	if (http_req_query_flag(c->r, "size", false))
		engine_measure(c->api->engine, c->arg, api_inspect_measured, api_call_ref(c));
	else
		api_inspect_now(c);
}

static void api_top(struct api_call *c)
{
	struct err e = { 0 };
	json_t *doc = engine_top(c->api->engine, c->arg, http_req_query(c->r, "ps_args"), &e);

	if (doc)
		api_reply_json(c, 200, doc);
	else
		api_reply_err(c, &e);
}

static void api_created(void *user, const json_t *result, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 201, json_incref((json_t *)result));
	api_call_unref(c);
}

/* For who reads the log: which of the many fields the client has set. */
static void api_log_fields(const char *where, const json_t *o)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		bool unset = json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) ||
			     (json_is_string(v) && !json_string_length(v)) || (json_is_array(v) && !json_array_size(v)) ||
			     (json_is_object(v) && !json_object_size(v));

		if (!unset)
			log_debug("api", "create sets %s%s", where, key);
	}
}

static void api_create_body(struct api_call *c, json_t *body)
{
	const char *ref = json_str(body, "Image", ""), *platform = http_req_query(c->r, "platform");
	struct err e = { 0 };
	struct image *im = str_empty(platform) || str_empty(ref) ? NULL : image_find(c->api->images, ref, &e);

	if (im && image_check_platform(im, ref, platform, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	if (log_enabled(LOG_LEVEL_DEBUG, "api")) {
		api_log_fields("", body);
		api_log_fields("HostConfig.", json_obj(body, "HostConfig"));
	}
	engine_create(c->api->engine, http_req_query(c->r, "name"), body, api_created, api_call_ref(c));
}

static void api_create(struct api_call *c)
{
	api_read_json(c, false, api_create_body);
}

/* Up to API 1.23 a HostConfig could come with the start: who still sends one must not be told that it works. */
static void api_start(struct api_call *c)
{
	const char *length = http_req_header(c->r, "Content-Length");
	struct err e = { 0 };
	int64_t n = 0;

	if (http_req_header(c->r, "Transfer-Encoding") || (length && (str_to_i64(length, 0, INT64_MAX, &n) < 0 || n > 7))) {
		err_set(&e, ERR_INVALID, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
		api_reply_err(c, &e);
		return;
	}
	if (!str_empty(http_req_query(c->r, "checkpoint")) || !str_empty(http_req_query(c->r, "checkpoint-dir"))) {
		err_set(&e, ERR_INVALID, "checkpoint is only supported in experimental mode: this engine keeps no checkpoints");
		api_reply_err(c, &e);
		return;
	}
	engine_start(c->api->engine, c->arg, api_done_empty, api_call_ref(c));
}

/* ?t= in seconds; absent: -2, the container's own. */
static int api_stop_args(struct api_call *c, int *timeout, const char **signal)
{
	struct err e = { 0 };
	int64_t t;

	if (api_query_int(c, "t", -1, 1 << 30, -2, &t, &e) < 0) {
		api_reply_err(c, &e);
		return -1;
	}
	*timeout = (int)t;
	*signal = http_req_query(c->r, "signal");
	if (str_empty(*signal))
		*signal = NULL;
	return 0;
}

static void api_stop(struct api_call *c)
{
	const char *signal;
	int timeout;

	if (api_stop_args(c, &timeout, &signal) == 0)
		engine_stop(c->api->engine, c->arg, signal, timeout, api_done_empty, api_call_ref(c));
}

static void api_restart(struct api_call *c)
{
	const char *signal;
	int timeout;

	if (api_stop_args(c, &timeout, &signal) == 0)
		engine_restart(c->api->engine, c->arg, signal, timeout, api_done_empty, api_call_ref(c));
}

static void api_kill(struct api_call *c)
{
	const char *signal = http_req_query(c->r, "signal");

	engine_kill(c->api->engine, c->arg, str_empty(signal) ? NULL : signal, api_done_empty, api_call_ref(c));
}

static void api_pause(struct api_call *c)
{
	engine_pause(c->api->engine, c->arg, true, api_done_empty, api_call_ref(c));
}

static void api_unpause(struct api_call *c)
{
	engine_pause(c->api->engine, c->arg, false, api_done_empty, api_call_ref(c));
}

static void api_update_body(struct api_call *c, json_t *body)
{
	engine_update(c->api->engine, c->arg, body, api_done_json, api_call_ref(c));
}

static void api_update(struct api_call *c)
{
	api_read_json(c, false, api_update_body);
}

static void api_rename(struct api_call *c)
{
	const char *name = http_req_query(c->r, "name");
	struct err e = { 0 };

	if (str_empty(name)) {
		err_set(&e, ERR_INVALID, "Neither old nor new names may be empty");
		api_reply_err(c, &e);
		return;
	}
	engine_rename(c->api->engine, c->arg, name, api_done_empty, api_call_ref(c));
}

static void api_remove(struct api_call *c)
{
	struct err e = { 0 };

	if (http_req_query_flag(c->r, "link", false)) {
		err_set(&e, ERR_INVALID, "link: removing a link between containers is not supported, put both on a network instead");
		api_reply_err(c, &e);
		return;
	}
	engine_remove(c->api->engine, c->arg, http_req_query_flag(c->r, "force", false), http_req_query_flag(c->r, "v", false), api_done_empty,
		      api_call_ref(c));
}

static void api_resize(struct api_call *c)
{
	struct err e = { 0 };
	int64_t h, w;

	if (api_query_int(c, "h", 0, 65535, 0, &h, &e) < 0 || api_query_int(c, "w", 0, 65535, 0, &w, &e) < 0 ||
	    engine_resize(c->api->engine, c->arg, (unsigned)h, (unsigned)w, &e) < 0)
		api_reply_err(c, &e);
	else
		api_reply_empty(c, 200);
}

static void api_waited(void *user, int status, const char *error)
{
	struct api_call *c = user;
	json_t *doc;
	char *text;

	c->op_cancel = NULL;
	if (!c->r)
		return;
	doc = json_pack("{s:i}", "StatusCode", status);
	if (error)
		json_object_set_new(doc, "Error", json_pack("{s:s}", "Message", error));
	text = json_text(doc);
	json_decref(doc);
	(void)http_reply_write(c->r, text, strlen(text));
	free(text);
	http_reply_end(c->r);
}

static void api_wait_cancel(void *op)
{
	engine_wait_cancel(op);
}

/* The head of the reply goes out at once: clients take it as the sign that the wait is in place, and start the container then. */
static void api_wait(struct api_call *c)
{
	const char *condition = http_req_query(c->r, "condition");
	struct err e = { 0 };

	c->op = engine_wait(c->api->engine, c->arg, str_empty(condition) ? "not-running" : condition, api_waited, c, &e);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_wait_cancel;
	http_reply_start(c->r, 200, "application/json");
}

const struct api_route api_routes_containers[] = {
	{ "GET", "/containers/json", api_list },
	{ "POST", "/containers/create", api_create },
	{ "GET", "/containers/*/json", api_inspect },
	{ "GET", "/containers/*/top", api_top },
	{ "POST", "/containers/*/start", api_start },
	{ "POST", "/containers/*/stop", api_stop },
	{ "POST", "/containers/*/restart", api_restart },
	{ "POST", "/containers/*/kill", api_kill },
	{ "POST", "/containers/*/pause", api_pause },
	{ "POST", "/containers/*/unpause", api_unpause },
	{ "POST", "/containers/*/update", api_update },
	{ "POST", "/containers/*/rename", api_rename },
	{ "POST", "/containers/*/resize", api_resize },
	{ "POST", "/containers/*/wait", api_wait },
	{ "DELETE", "/containers/*", api_remove },
	{ 0 },
};
