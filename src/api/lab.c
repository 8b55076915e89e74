/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /kedge/net: what docker's API has no words for. Documents as net/lab.h has them. GET flows[?container=], maps, counters, trace?to=[&from=&proto=&ipv6=], drops[?container=] (a line
 * each, until the client goes), capture?container=[&snaplen=&count=] (pcapng, until the client goes). POST
 * attach?container=&direction=[&program=] with an object file; DELETE takes it away again.
 */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/lab.h"
#include "net/capture.h"

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

static void api_trace(struct api_call *c)
{
	const char *proto = http_req_query(c->r, "proto");
	struct err e = { 0 };
	json_t *doc = NULL;

	if (!str_empty(proto) && !str_eq(proto, "tcp") && !str_eq(proto, "udp") && !str_eq(proto, "sctp"))
		err_set(&e, ERR_INVALID, "proto '%s' is neither tcp nor udp nor sctp", proto);
	else
		doc = engine_net_trace(c->api->engine, http_req_query(c->r, "from"), http_req_query(c->r, "to"), proto,
				       http_req_query_flag(c->r, "ipv6", false), &e);
	reply(c, doc, &e);
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

static size_t api_capture_data(void *user, const void *p, size_t n)
{
	struct api_call *c = user;

	if (!c->r)
		return 0;
	if (!http_reply_started(c->r))
		http_reply_start(c->r, 200, "application/x-pcapng");
	return http_reply_write(c->r, p, n);
}

static void api_capture_end(void *user, const struct err *e)
{
	struct api_call *c = user;

	c->op_cancel = NULL;
	if (!c->r)
		return;
	if (!http_reply_started(c->r))
		api_reply_err(c, e);
	else if (e)
		http_reply_abort(c->r);
	else
		http_reply_end(c->r);
}

static void api_capture_cancel(void *op)
{
	net_capture_cancel(op);
}

static void api_capture(struct api_call *c)
{
	static const struct net_capture_ops ops = { .data = api_capture_data, .end = api_capture_end };
	const char *ref = http_req_query(c->r, "container");
	int64_t snaplen, count;
	struct err e = { 0 };

	if (!ref)
		err_set(&e, ERR_INVALID, "capture needs ?container=");
	else if (api_query_int(c, "snaplen", 0, 65536, 0, &snaplen, &e) == 0 && api_query_int(c, "count", 0, INT64_MAX, 0, &count, &e) == 0)
		c->op = engine_net_capture(c->api->engine, ref, (uint32_t)snaplen, (uint64_t)count, &ops, c, &e);
	if (!c->op) {
		api_reply_err(c, &e);
		return;
	}
	c->op_cancel = api_capture_cancel;
}

/* A refusal of the verifier's: its words beside the message. */
static void api_hook_done(void *user, const json_t *result, const char *log, const struct err *e)
{
	struct api_call *c = user;

	if (!e)
		api_reply_json(c, 200, result ? json_copy((json_t *)result) : json_object());
	else if (*log)
		api_reply_json(c, err_http_status(e->kind), json_pack("{s:s, s:o}", "message", e->msg, "VerifierLog", json_bytes(log, strlen(log))));
	else
		api_reply_err(c, e);
	api_call_unref(c);
}

static void hook(struct api_call *c, const void *object, size_t len)
{
	const char *ref = http_req_query(c->r, "container"), *direction = http_req_query(c->r, "direction");
	struct err e = { 0 };

	if (str_empty(ref)) {
		err_set(&e, ERR_INVALID, "attach needs ?container=");
	} else if (!str_eq(direction, "ingress") && !str_eq(direction, "egress")) {
		err_set(&e, ERR_INVALID, "direction '%s' is neither ingress nor egress", direction ? direction : "");
	} else {
		engine_net_hook(c->api->engine, ref, str_eq(direction, "ingress"), http_req_query(c->r, "program"), object, len, api_hook_done, api_call_ref(c));
		return;
	}
	api_reply_err(c, &e);
}

static void on_object(struct http_req *r, const char *body, size_t len, void *user)
{
	(void)r;
	hook(user, body, len);
}

static void api_attach(struct api_call *c)
{
	http_req_read_all(c->r, API_BODY_MAX, on_object, c);
}

static void api_detach(struct api_call *c)
{
	hook(c, NULL, 0);
}

const struct api_route api_routes_lab[] = {
	{ "GET", "/kedge/net/flows", api_flows },
	{ "GET", "/kedge/net/maps", api_maps },
	{ "GET", "/kedge/net/counters", api_counters },
	{ "GET", "/kedge/net/trace", api_trace },
	{ "GET", "/kedge/net/drops", api_drops },
	{ "GET", "/kedge/net/capture", api_capture },
	{ "POST", "/kedge/net/attach", api_attach },
	{ "DELETE", "/kedge/net/attach", api_detach },
	{ 0 },
};
