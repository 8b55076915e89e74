/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to registries: pull, /images/{name}/push, /auth, /distribution/{name}/json, /images/search */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* A transfer and the request that asked for it. */
struct api_transfer {
	struct api_call *call;
	struct image_transfer *transfer;
	json_t *answer;		/* of a question: its one message */
};

static void api_transfer_free(struct api_transfer *t)
{
	json_decref(t->answer);
	free(t);
}

static void api_transfer_cancel(void *op)
{
	struct api_transfer *t = op;

	image_transfer_cancel(t->transfer);
	api_transfer_free(t);
}

static void api_transfer_message(void *user, const json_t *msg)
{
	struct api_transfer *t = user;

	api_stream_message(t->call, msg);
}

static void api_transfer_end(void *user, const struct err *e)
{
	struct api_transfer *t = user;
	struct api_call *c = t->call;

	c->op_cancel = NULL;
	api_stream_end(c, e);
	api_transfer_free(t);
}

static void api_answer_message(void *user, const json_t *msg)
{
	struct api_transfer *t = user;

	json_decref(t->answer);
	t->answer = json_incref((json_t *)msg);
}

static void api_answer_end(void *user, const struct err *e)
{
	struct api_transfer *t = user;
	struct api_call *c = t->call;

	c->op_cancel = NULL;
	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 200, json_incref(t->answer));
	api_transfer_free(t);
}

static const struct image_transfer_ops api_transfer_ops = { api_transfer_message, api_transfer_end };
static const struct image_transfer_ops api_answer_ops = { api_answer_message, api_answer_end };

static struct api_transfer *api_transfer_new(struct api_call *c)
{
	struct api_transfer *t = mem_zalloc(sizeof(*t));

	t->call = c;
	return t;
}

static void api_transfer_run(struct api_call *c, struct api_transfer *t, const struct err *e)
{
	if (!t->transfer) {
		api_transfer_free(t);
		api_reply_err(c, e);
		return;
	}
	c->op = t;
	c->op_cancel = api_transfer_cancel;
}

void api_image_pull(struct api_call *c)
{
	struct api_transfer *t = api_transfer_new(c);
	struct err e = { 0 };

	t->transfer = image_pull_start(c->api->images, http_req_query(c->r, "fromImage"), http_req_query(c->r, "tag"), http_req_query(c->r, "platform"),
				       http_req_header(c->r, "X-Registry-Auth"), &api_transfer_ops, t, &e);
	api_transfer_run(c, t, &e);
}

static void api_image_push(struct api_call *c)
{
	struct api_transfer *t;
	struct err e = { 0 };

	if (!str_empty(http_req_query(c->r, "platform"))) {
		err_set(&e, ERR_INVALID, "platform: images here are of one platform each, push needs none");
		api_reply_err(c, &e);
		return;
	}
	t = api_transfer_new(c);
	t->transfer = image_push_start(c->api->images, c->arg, http_req_query(c->r, "tag"), http_req_header(c->r, "X-Registry-Auth"), &api_transfer_ops, t, &e);
	api_transfer_run(c, t, &e);
}

static void api_auth_body(struct api_call *c, json_t *body)
{
	struct api_transfer *t = api_transfer_new(c);
	struct err e = { 0 };

	t->transfer = image_login_start(c->api->images, body, &api_answer_ops, t, &e);
	api_transfer_run(c, t, &e);
}

static void api_auth(struct api_call *c)
{
	api_read_json(c, false, api_auth_body);
}

static void api_distribution(struct api_call *c)
{
	struct api_transfer *t = api_transfer_new(c);
	struct err e = { 0 };

	t->transfer = image_distribution_start(c->api->images, c->arg, http_req_header(c->r, "X-Registry-Auth"), &api_answer_ops, t, &e);
	api_transfer_run(c, t, &e);
}

/* Only docker's hub ever had a search, under an API of its own; registries list what one has the name of. */
static void api_search(struct api_call *c)
{
	const char *term = http_req_query(c->r, "term");
	struct err e = { 0 };

	err_set(&e, ERR_NOT_IMPLEMENTED, "cannot search for '%.100s': the registry protocol has no search, name the image and pull it", term ? term : "");
	api_reply_err(c, &e);
}

const struct api_route api_routes_registry[] = {
	{ "POST", "/auth", api_auth },
	{ "GET", "/images/search", api_search },
	{ "POST", "/images/**/push", api_image_push },
	{ "GET", "/distribution/**/json", api_distribution },
	{ 0 },
};
