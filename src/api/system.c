/* SPDX-License-Identifier: Apache-2.0 */
/* /_ping, /version, /info, /events */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static void api_ping(struct api_call *c)
{
	http_reply_header(c->r, "Builder-Version", "1");
	http_reply_header(c->r, "Swarm", "inactive");
	http_reply_header(c->r, "Cache-Control", "no-cache, no-store, must-revalidate");
	http_reply_header(c->r, "Pragma", "no-cache");
	http_reply(c->r, 200, "text/plain; charset=utf-8", "OK", 2);
}

static void api_version(struct api_call *c)
{
	api_reply_json(c, 200, engine_version(c->api->engine));
}

static void api_info(struct api_call *c)
{
	api_reply_json(c, 200, engine_info(c->api->engine));
}

static void api_event(void *user, const json_t *ev, const char *text, size_t n)
{
	struct api_call *c = user;

	(void)ev;
	if (!c->r)
		return;
	/* A subscriber that does not read is cut off: events are bounded, and it can ask again with since=. */
	if (http_reply_write(c->r, text, n) > API_QUEUE_HIGH)
		http_reply_end(c->r);
}

static void api_events_end(void *user)
{
	struct api_call *c = user;

	c->op_cancel = NULL;
	if (c->r)
		http_reply_end(c->r);
}

static void api_events_cancel(void *op)
{
	engine_events_cancel(op);
}

static void api_events(struct api_call *c)
{
	int64_t since, until;
	json_t *filters = NULL;
	struct err e = { 0 };

	if (api_query_time(c, "since", &since, &e) < 0 || api_query_time(c, "until", &until, &e) < 0 || api_filters(c, &filters, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	c->op = engine_events(c->api->engine, since, until, filters, api_event, api_events_end, c, &e);
	json_decref(filters);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_events_cancel;
	http_reply_start(c->r, 200, "application/json");
}

const struct api_route api_routes_system[] = {
	{ "GET", "/_ping", api_ping },
	{ "HEAD", "/_ping", api_ping },
	{ "GET", "/version", api_version },
	{ "GET", "/info", api_info },
	{ "GET", "/events", api_events },
	{ 0 },
};
