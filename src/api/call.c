/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/api_priv.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/str.h"

struct api_call *api_call_ref(struct api_call *c)
{
	c->refs++;
	return c;
}

void api_call_unref(struct api_call *c)
{
	if (--c->refs)
		return;
	free(c->arg);
	free(c);
}

void api_reply_json(struct api_call *c, int status, json_t *doc_take)
{
	struct buf b;

	buf_init(&b, API_TEXT_MAX);
	if (c->r)
		jsonw_value(&b, doc_take);
	json_decref(doc_take);
	api_reply_text(c, status, &b);
}

void api_reply_text(struct api_call *c, int status, struct buf *text)
{
	size_t n = text->len;

	if (c->r) {
		http_reply_take(c->r, status, "application/json", buf_take(text), n);
		api_had(c->api, n);
	}
	buf_done(text);
}

size_t api_write_json(struct api_call *c, const json_t *doc, const char *eol)
{
	char *text CLEANUP(mem_freep) = json_text(doc), *line CLEANUP(mem_freep) = mem_printf("%s%s", text, eol);

	return c->r ? http_reply_write(c->r, line, strlen(line)) : 0;
}

void api_reply_empty(struct api_call *c, int status)
{
	if (c->r)
		http_reply(c->r, status, NULL, NULL, 0);
}

void api_reply_err(struct api_call *c, const struct err *e)
{
	if (!c->r)
		return;
	if (e->kind == ERR_NOT_MODIFIED)
		http_reply(c->r, 304, NULL, NULL, 0);
	else
		http_reply_err(c->r, e);
}

void api_done_json(void *user, const json_t *result, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 200, json_incref((json_t *)result));
	api_call_unref(c);
}

void api_done_empty(void *user, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_empty(c, 204);
	api_call_unref(c);
}

void api_stream_message(struct api_call *c, const json_t *msg)
{
	if (!c->r)
		return;
	if (!http_reply_started(c->r))
		http_reply_start(c->r, 200, "application/json");
	(void)api_write_json(c, msg, "\r\n");
}

void api_stream_end(struct api_call *c, const struct err *e)
{
	json_t *msg;

	if (!c->r)
		return;
	if (e && !http_reply_started(c->r)) {
		api_reply_err(c, e);
		return;
	}
	if (e) {
		/* Too late for a status: docker's way to say it inside the stream. */
		msg = json_pack("{s:{s:s},s:s}", "errorDetail", "message", e->msg, "error", e->msg);
		if (msg)
			api_stream_message(c, msg);
		json_decref(msg);
	}
	if (!http_reply_started(c->r))
		http_reply_start(c->r, 200, "application/json");
	http_reply_end(c->r);
}

struct api_body {
	struct api_call *call;
	bool may_be_empty;
	void (*fn)(struct api_call *c, json_t *body);
};

static void api_body_read(struct http_req *r, const char *body, size_t len, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_body b = *(struct api_body *)user;
	struct api *a = c->api;
	json_t *doc = NULL;
	struct err e = { 0 };

	free(user);
	c->op = NULL;
	c->op_cancel = NULL;
	if (len || !b.may_be_empty) {
		const char *type = http_req_header(r, "Content-Type");

		if (!len) {
			err_set(&e, ERR_INVALID, "invalid JSON: the request's body is empty");
			api_reply_err(c, &e);
			return;
		}
		if (type && strncasecmp(type, "application/json", 16) != 0) {
			err_set(&e, ERR_INVALID, "unsupported Content-Type header (%s): must be 'application/json'", type);
			api_reply_err(c, &e);
			return;
		}
		doc = json_parse(body, len, "invalid JSON", &e);
		if (doc && !json_is_object(doc)) {
			json_decref(doc);
			doc = NULL;
			err_set(&e, ERR_INVALID, "invalid JSON: the request's body is not an object");
		}
		if (!doc) {
			api_reply_err(c, &e);
			return;
		}
	}
	b.fn(c, doc);
	json_decref(doc);
	api_had(a, len);
}

void api_read_json(struct api_call *c, bool may_be_empty, void (*fn)(struct api_call *c, json_t *body))
{
	struct api_body *b = mem_zalloc(sizeof(*b));

	*b = (struct api_body){ .may_be_empty = may_be_empty, .fn = fn };
	/* The read's callback does not come when the client stops mid-way: the record is freed with the request then. */
	c->op = b;
	c->op_cancel = free;
	http_req_read_all(c->r, API_BODY_MAX, api_body_read, b);
}

/* docker's clients send {"key": {"value": true}}, older ones {"key": ["value"]}. */
int api_filters(struct api_call *c, json_t **ret, struct err *e)
{
	const char *text = http_req_query(c->r, "filters"), *key, *word;
	json_t *doc, *out, *value, *item, *list;
	size_t i;

	*ret = NULL;
	if (str_empty(text))
		return 0;
	doc = json_parse(text, strlen(text), "invalid filter", e);
	if (!doc)
		return -1;
	out = json_object();
	if (!json_is_object(doc))
		goto bad;
	json_object_foreach(doc, key, value) {
		list = json_array();
		json_object_set_new(out, key, list);
		if (json_is_object(value)) {
			json_object_foreach(value, word, item)
				if (json_is_true(item))
					json_array_append_new(list, json_string(word));
		} else if (json_is_array(value)) {
			json_array_foreach(value, i, item) {
				if (!json_is_string(item))
					goto bad;
				json_array_append(list, item);
			}
		} else {
			goto bad;
		}
	}
	json_decref(doc);
	*ret = out;
	return 0;
bad:
	json_decref(doc);
	json_decref(out);
	return err_set(e, ERR_INVALID, "invalid filter '%s'", text);
}

int api_query_int(struct api_call *c, const char *key, int64_t min, int64_t max, int64_t def, int64_t *ret, struct err *e)
{
	const char *text = http_req_query(c->r, key);

	*ret = def;
	if (str_empty(text))
		return 0;
	if (str_to_i64(text, min, max, ret) < 0)
		return err_set(e, ERR_INVALID, "%s: '%s' is not a number from %lld to %lld", key, text, (long long)min, (long long)max);
	return 0;
}

int api_query_time(struct api_call *c, const char *key, int64_t *ret, struct err *e)
{
	const char *text = http_req_query(c->r, key);

	*ret = 0;
	if (str_empty(text) || str_eq(text, "0"))
		return 0;
	if (str_to_time_ns(text, clock_wall(), ret) < 0)
		return err_set(e, ERR_INVALID, "%s: '%s' is not a time", key, text);
	return 0;
}

const char *api_stream_type(const struct api_call *c, bool tty)
{
	return tty || c->minor < 42 ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
}

void api_frame_head(unsigned char head[8], int stream, size_t n)
{
	head[0] = (unsigned char)stream;
	head[1] = head[2] = head[3] = 0;
	head[4] = (unsigned char)(n >> 24);
	head[5] = (unsigned char)(n >> 16);
	head[6] = (unsigned char)(n >> 8);
	head[7] = (unsigned char)n;
}
