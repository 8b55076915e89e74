/* SPDX-License-Identifier: Apache-2.0 */
/* /kedge/dns: GET query?name=&type=&network=&container=, stats, log[?container=] (a line each, until the client goes). Documents as net/net.h has them. */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/names.h"

static void on_answer(void *user, json_t *result, const struct err *e)
{
	struct api_call *c = user;

	if (result)
		api_reply_json(c, 200, json_incref(result));
	else
		api_reply_err(c, e);
	api_call_unref(c);
}

static void api_dns_query(struct api_call *c)
{
	const char *name = http_req_query(c->r, "name"), *type = http_req_query(c->r, "type"), *container = http_req_query(c->r, "container"),
		   *network = http_req_query(c->r, "network");
	struct err e = { 0 };

	if (str_empty(name))
		err_set(&e, ERR_INVALID, "the name to look up is missing");
	else if (!str_empty(container) && !str_empty(network))
		err_set(&e, ERR_INVALID, "a container sees its own networks: give either a container or a network");
	if (e.kind != ERR_NONE) {
		api_reply_err(c, &e);
		return;
	}
	if (engine_dns_query(c->api->engine, container, network, name, str_empty(type) ? "A" : type, on_answer, api_call_ref(c), &e) < 0) {
		api_reply_err(c, &e);
		api_call_unref(c);
	}
}

static void api_dns_stats(struct api_call *c)
{
	api_reply_json(c, 200, engine_dns_stats(c->api->engine));
}

/* A client that does not keep up misses lines, it costs no memory. */
static void api_dns_line(void *user, const json_t *line)
{
	struct api_call *c = user;
	char *text;

	if (!c->r || http_reply_write(c->r, NULL, 0) > API_QUEUE_HIGH)
		return;
	text = json_text(line);
	(void)http_reply_write(c->r, text, strlen(text));
	(void)http_reply_write(c->r, "\n", 1);
	free(text);
}

static void api_dns_log_cancel(void *op)
{
	engine_dns_log_cancel(op);
}

static void api_dns_log(struct api_call *c)
{
	struct err e = { 0 };

	c->op = engine_dns_log(c->api->engine, http_req_query(c->r, "container"), api_dns_line, c, &e);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_dns_log_cancel;
	http_reply_start(c->r, 200, "application/json");
}

const struct api_route api_routes_names[] = {
	{ "GET", "/kedge/dns/query", api_dns_query },
	{ "GET", "/kedge/dns/stats", api_dns_stats },
	{ "GET", "/kedge/dns/log", api_dns_log },
	{ 0 },
};
