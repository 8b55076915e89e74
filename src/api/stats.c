/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/{id}/stats: one document, or one a second. A client that does not keep up misses frames, it costs no memory. */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/stats.h"

static void api_stats_frame(void *user, const json_t *doc)
{
	struct api_call *c = user;

	/* A client that does not keep up misses frames. */
	if (c->r && http_reply_write(c->r, NULL, 0) <= API_QUEUE_HIGH)
		(void)api_write_json(c, doc, "\n");
}

static void api_stats_end(void *user)
{
	struct api_call *c = user;

	c->op_cancel = NULL;
	if (c->r)
		http_reply_end(c->r);
}

static void api_stats_cancel(void *op)
{
	engine_stats_cancel(op);
}

static void api_stats(struct api_call *c)
{
	struct engine_stats_args a = { .stream = http_req_query_flag(c->r, "stream", true), .one_shot = http_req_query_flag(c->r, "one-shot", false) };
	struct err e = { 0 };

	if (a.stream && a.one_shot) {
		err_set(&e, ERR_INVALID, "cannot have stream=true and one-shot=true");
		api_reply_err(c, &e);
		return;
	}
	c->op = engine_stats(c->api->engine, c->arg, &a, api_stats_frame, api_stats_end, c, &e);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_stats_cancel;
	http_reply_start(c->r, 200, "application/json");
}

const struct api_route api_routes_stats[] = {
	{ "GET", "/containers/*/stats", api_stats },
	{ 0 },
};
