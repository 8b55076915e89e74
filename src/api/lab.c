/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /kedge/net: what docker's API has no words for. Documents as net/lab.h has them. GET flows[?container=], maps, counters, drops[?container=] (a line
 * each, until the client goes).
 */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "engine/lab.h"

static void reply(struct api_call *c, json_t *doc_take, const struct err *e)
{
	if (doc_take)
		api_reply_json(c, 200, doc_take);
	else
		api_reply_err(c, e);
}

static void api_flows(struct api_call *c)
{
	struct err e = { 0 };

	reply(c, engine_net_flows(c->api->engine, http_req_query(c->r, "container"), &e), &e);
}

static void api_maps(struct api_call *c)
{
	struct err e = { 0 };

	reply(c, engine_net_maps(c->api->engine, &e), &e);
}

static void api_counters(struct api_call *c)
{
	reply(c, engine_net_info(c->api->engine), NULL);
}

/* A client that does not keep up misses drops, it costs no memory. */
static void api_drop(void *user, const json_t *doc)
{
	struct api_call *c = user;

	if (c->r && http_reply_write(c->r, NULL, 0) <= API_QUEUE_HIGH)
		(void)api_write_json(c, doc, "\n");
}

static void api_drops_cancel(void *op)
{
	engine_net_drops_cancel(op);
}

static void api_drops(struct api_call *c)
{
	struct err e = { 0 };

	c->op = engine_net_drops(c->api->engine, http_req_query(c->r, "container"), api_drop, c, &e);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_drops_cancel;
	http_reply_start(c->r, 200, "application/json");
}

const struct api_route api_routes_lab[] = {
	{ "GET", "/kedge/net/flows", api_flows },
	{ "GET", "/kedge/net/maps", api_maps },
	{ "GET", "/kedge/net/counters", api_counters },
	{ "GET", "/kedge/net/drops", api_drops },
	{ 0 },
};
