/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /containers/{id}/logs and /attach: a container's output as a stream, raw for a terminal, else in frames. The source is
 * paused while a client's queue is above API_QUEUE_HIGH, so a slow client costs no memory.
 */
#include "api/api_priv.h"
#include "base/mem.h"
#include "base/str.h"

struct api_logs {
	struct api_call *call;
	struct engine_logs *logs;
	bool raw, paused;
};

static void api_logs_line(void *user, int stream, const void *p, size_t n)
{
	struct api_logs *lg = user;
	struct http_req *r = lg->call->r;
	unsigned char head[8];

	if (!r)
		return;
	if (!lg->raw) {
		api_frame_head(head, stream, n);
		(void)http_reply_write(r, head, sizeof(head));
	}
	if (http_reply_write(r, p, n) > API_QUEUE_HIGH && !lg->paused) {
		lg->paused = true;
		engine_logs_pause(lg->logs, true);
	}
}

static void api_logs_drain(struct http_req *r, void *user)
{
	struct api_logs *lg = user;

	if (lg->paused && lg->logs) {
		lg->paused = false;
		engine_logs_pause(lg->logs, false);
	}
}

static void api_logs_end(void *user, const struct err *e)
{
	struct api_logs *lg = user;
	struct api_call *c = lg->call;

	c->op_cancel = NULL;
	if (c->r) {
		http_reply_on_drain(c->r, NULL, NULL);
		http_reply_end(c->r);
	}
	free(lg);
}

static void api_logs_cancel(void *op)
{
	struct api_logs *lg = op;

	engine_logs_cancel(lg->logs);
	free(lg);
}

static void api_logs(struct api_call *c)
{
	const char *tail = http_req_query(c->r, "tail");
	struct engine_logs_args a = { .tail = -1 };
	struct api_logs *lg;
	struct err e = { 0 };
	bool tty;

	a.follow = http_req_query_flag(c->r, "follow", false);
	a.want_stdout = http_req_query_flag(c->r, "stdout", false);
	a.want_stderr = http_req_query_flag(c->r, "stderr", false);
	a.timestamps = http_req_query_flag(c->r, "timestamps", false);
	a.details = http_req_query_flag(c->r, "details", false);
	if (!engine_container_tty(c->api->engine, c->arg, &tty, &e))
		goto fail;
	if (!a.want_stdout && !a.want_stderr) {
		err_set(&e, ERR_INVALID, "Bad parameters: you must choose at least one stream");
		goto fail;
	}
	if (api_query_time(c, "since", &a.since_ns, &e) < 0 || api_query_time(c, "until", &a.until_ns, &e) < 0)
		goto fail;
	/* docker takes any word that is no number for "all". */
	if (!str_empty(tail) && str_to_i64(tail, 0, INT64_MAX, &a.tail) < 0)
		a.tail = -1;
	lg = mem_zalloc(sizeof(*lg));
	lg->call = c;
	lg->raw = tty;
	lg->logs = engine_logs(c->api->engine, c->arg, &a, &(struct engine_logs_ops){ api_logs_line, api_logs_end }, lg, &e);
	if (!lg->logs) {
		free(lg);
		goto fail;
	}
	c->op = lg;
	c->op_cancel = api_logs_cancel;
	http_reply_start(c->r, 200, api_stream_type(c, tty));
	http_reply_on_drain(c->r, api_logs_drain, lg);
	return;
fail:
	api_reply_err(c, &e);
}

static void api_attach_output(void *user, int stream, const void *p, size_t n)
{
	struct api_attach *a = user;
	unsigned char head[8];

	if (!a->stream)
		return;
	if (!a->raw) {
		api_frame_head(head, stream, n);
		(void)http_stream_write(a->stream, head, sizeof(head));
	}
	if (http_stream_write(a->stream, p, n) > API_QUEUE_HIGH && !a->out_paused) {
		a->out_paused = true;
		engine_attach_pause(a->at, true);
	}
}

static void api_attach_end(void *user)
{
	struct api_attach *a = user;

	a->at = NULL;
	if (a->stream)
		http_stream_close(a->stream);
	else
		free(a);
}

static void api_stream_data(struct http_stream *s, const void *p, size_t n, void *user)
{
	struct api_attach *a = user;

	if (a->at && a->in && engine_attach_write(a->at, p, n) > 0)
		http_stream_pause(s, true);
}

static void api_attach_writable(void *user)
{
	struct api_attach *a = user;

	if (a->stream)
		http_stream_pause(a->stream, false);
}

static void api_stream_eof(struct http_stream *s, void *user)
{
	struct api_attach *a = user;

	if (a->at && a->in)
		engine_attach_close_stdin(a->at);
}

static void api_stream_drain(struct http_stream *s, void *user)
{
	struct api_attach *a = user;

	if (a->out_paused && a->at) {
		a->out_paused = false;
		engine_attach_pause(a->at, false);
	}
}

static void api_stream_close(struct http_stream *s, void *user)
{
	struct api_attach *a = user;
	struct engine_attach *at = a->at;

	if (at)
		engine_attach_cancel(at);
	free(a);
}

static const struct http_stream_ops api_stream_ops = { api_stream_data, api_stream_eof, api_stream_drain, api_stream_close };

const struct engine_attach_ops api_attach_ops = { api_attach_output, api_attach_end, api_attach_writable };

struct api_attach *api_attach_new(bool raw, bool in)
{
	struct api_attach *a = mem_zalloc(sizeof(*a));

	a->raw = raw;
	a->in = in;
	return a;
}

void api_attach_hijack(struct api_call *c, struct api_attach *a, const char *type)
{
	a->stream = http_hijack(c->r, type, &api_stream_ops, a);
}

static void api_attach_any(struct api_call *c, bool websocket)
{
	struct engine_attach_args args = { .in = http_req_query_flag(c->r, "stdin", false), .out = http_req_query_flag(c->r, "stdout", false),
		.err = http_req_query_flag(c->r, "stderr", false), .stream = http_req_query_flag(c->r, "stream", false),
		.logs = http_req_query_flag(c->r, "logs", false), .detach_keys = http_req_query(c->r, "detachKeys") };
	struct api_attach *a;
	struct err e = { 0 };
	bool tty;

	if (!engine_container_tty(c->api->engine, c->arg, &tty, &e)) {
		api_reply_err(c, &e);
		return;
	}
	if (websocket && !http_req_header(c->r, "Sec-WebSocket-Key")) {
		err_set(&e, ERR_INVALID, "attach by websocket needs a websocket handshake");
		api_reply_err(c, &e);
		return;
	}
	a = api_attach_new(tty || websocket, args.in);	/* a websocket has frames of its own */
	a->at = engine_attach(c->api->engine, c->arg, &args, &api_attach_ops, a, &e);
	if (!a->at) {
		free(a);
		api_reply_err(c, &e);
		return;
	}
	if (!websocket) {
		api_attach_hijack(c, a, api_stream_type(c, tty));
		return;
	}
	a->stream = http_hijack_websocket(c->r, &api_stream_ops, a, &e);
	if (!a->stream) {
		engine_attach_cancel(a->at);
		free(a);
		api_reply_err(c, &e);
	}
}

static void api_attach(struct api_call *c)
{
	api_attach_any(c, false);
}

static void api_attach_ws(struct api_call *c)
{
	api_attach_any(c, true);
}

const struct api_route api_routes_streams[] = {
	{ "GET", "/containers/*/logs", api_logs },
	{ "POST", "/containers/*/attach", api_attach },
	{ "GET", "/containers/*/attach/ws", api_attach_ws },
	{ 0 },
};
