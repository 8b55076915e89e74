/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers see: the request's parts, its body, the reply, the raw stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/http_priv.h"

const char *http_req_method(const struct http_req *r) { return r->method; }
const char *http_req_path(const struct http_req *r) { return r->head.path; }
void http_req_set_user(struct http_req *r, void *user) { r->user = user; }
void *http_req_user(const struct http_req *r) { return r->user; }
bool http_reply_started(const struct http_req *r) { return r->started; }

const char *http_req_query_n(const struct http_req *r, const char *key, size_t at)
{
	for (size_t i = 0; i < r->head.n_query; i++) {
		if (!strcmp(r->head.query[i].name, key) && at-- == 0)
			return r->head.query[i].value;
	}
	return NULL;
}

const char *http_req_query(const struct http_req *r, const char *key)
{
	return http_req_query_n(r, key, 0);
}

bool http_req_query_flag(const struct http_req *r, const char *key, bool def)
{
	const char *v = http_req_query(r, key);

	if (!v)
		return def;
	return *v && strcmp(v, "0") && strcasecmp(v, "no") && strcasecmp(v, "false") && strcasecmp(v, "none");
}

const char *http_req_header(const struct http_req *r, const char *name)
{
	return http_field_get(r->head.fields, r->head.n_fields, name);
}

bool http_req_peer(const struct http_req *r, struct http_peer *ret)
{
	struct ucred u;
	socklen_t n = sizeof(u);

	if (getsockopt(bufferevent_getfd(r->c->bev), SOL_SOCKET, SO_PEERCRED, &u, &n) < 0 || u.pid == 0)
		return false;
	*ret = (struct http_peer){ .pid = u.pid, .uid = u.uid, .gid = u.gid };
	return true;
}

void http_req_on_close(struct http_req *r, void (*cb)(struct http_req *r, void *user), void *user)
{
	r->on_close = cb;
	r->on_close_user = user;
}

/* Body */

static void want_body(struct http_req *r)
{
	struct http_conn *c = r->c;

	if (r->body == BODY_DONE) {	/* there is none, or it was there at once */
		if (r->end)
			r->end(r, true, r->body_user);
		return;
	}
	r->body = BODY_READ;
	if (r->expect && !r->started) {
		r->expect = false;
		bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	}
	loop_timer_set(c->timer, c->s->body_ns);
	if (!c->in_input)
		http_conn_input(c);
}

void http_req_read_stream(struct http_req *r, void (*data)(struct http_req *r, const void *p, size_t n, void *user),
			  void (*end)(struct http_req *r, bool ok, void *user), void *user)
{
	r->data = data;
	r->end = end;
	r->body_user = user;
	want_body(r);
}

static void all_data(struct http_req *r, const void *p, size_t n, void *user)
{
	(void)user;
	if (r->ended)
		return;
	if (buf_add(&r->all, p, n) < 0) {
		char why[80];

		snprintf(why, sizeof(why), "the request body is larger than %zu bytes", r->all.limit);
		http_refuse(r, 413, why);
	}
}

static void all_end(struct http_req *r, bool ok, void *user)
{
	if (ok && !r->ended)
		r->all_cb(r, r->all.data ? r->all.data : "", r->all.len, user);
}

void http_req_read_all(struct http_req *r, size_t limit, void (*cb)(struct http_req *r, const char *body, size_t len, void *user), void *user)
{
	const char *length = http_req_header(r, "Content-Length");
	uint64_t n;

	buf_init(&r->all, limit);
	r->all_cb = cb;
	if (length && (str_to_u64(length, 0, UINT64_MAX, &n) < 0 || n > limit)) {
		char why[80];

		snprintf(why, sizeof(why), "the request body is larger than %zu bytes", limit);
		http_refuse(r, 413, why);
		return;
	}
	http_req_read_stream(r, all_data, all_end, user);
}

void http_req_read_pause(struct http_req *r, bool paused)
{
	struct http_conn *c = r->c;

	if (r->paused == paused)
		return;
	r->paused = paused;
	if (paused) {
		loop_timer_stop(c->timer);
	} else if (r->body == BODY_READ) {
		loop_timer_set(c->timer, c->s->body_ns);
		/* Not from here: the caller may be in the middle of something. */
		bufferevent_trigger(c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
	}
}

/* Reply */

static const char *reason(int status)
{
	static const struct { int code; const char *text; } texts[] = {
		{ 101, "UPGRADED" }, { 200, "OK" }, { 201, "Created" }, { 204, "No Content" }, { 304, "Not Modified" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" }, { 409, "Conflict" },
		{ 413, "Content Too Large" }, { 414, "URI Too Long" }, { 417, "Expectation Failed" }, { 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < N(texts); i++) {
		if (texts[i].code == status)
			return texts[i].text;
	}
	return "Status";
}

void http_reply_header(struct http_req *r, const char *name, const char *value)
{
	if (!r->extra)
		r->extra = evbuffer_new();
	evbuffer_add_printf(r->extra, "%s: ", name);
	/* A line break in a value would start another header. */
	for (const char *p = value; *p; p++)
		evbuffer_add(r->extra, (unsigned char)*p < 0x20 ? " " : p, 1);
	evbuffer_add(r->extra, "\r\n", 2);
}

/* The body nobody asked for: taken when it is here already, else the connection ends with this reply. */
static void settle_body(struct http_req *r)
{
	const char *length;
	uint64_t n;

	if (r->body != BODY_WAIT)
		return;
	length = http_req_header(r, "Content-Length");
	if (length && !r->expect && str_to_u64(length, 0, HTTP_DISCARD_MAX, &n) == 0 &&
	    evbuffer_get_length(bufferevent_get_input(r->c->bev)) >= n) {
		evbuffer_drain(bufferevent_get_input(r->c->bev), n);
		r->body = BODY_DONE;
	} else {
		r->keep_alive = false;
	}
}

static void log_reply(const struct http_req *r, int status)
{
	if (!r->head.target || !r->method) {
		log_debug("http", "refused with %d", status);	/* its head could not be read */
		return;
	}
	log_debug("http", "%s %.*s %d", r->method, (int)strcspn(r->head.target, "?"), r->head.target, status);
}

static struct evbuffer *begin(struct http_req *r, int status, const char *type)
{
	struct evbuffer *out = bufferevent_get_output(r->c->bev);
	time_t now = time(NULL);
	char date[40];
	struct tm tm;

	settle_body(r);
	if (r->body == BODY_READ && !r->started && r->ended)
		r->keep_alive = false;
	r->started = true;
	log_reply(r, status);
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, reason(status), date);
	if (r->extra)
		evbuffer_add_buffer(out, r->extra);
	if (type)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	return out;
}

static void end_reply(struct http_req *r)
{
	r->ended = true;
	http_conn_reply_done(r->c);
}

/* The reply up to its body. NULL: none is to follow, for whatever reason. */
static struct evbuffer *reply_head(struct http_req *r, int status, const char *type, size_t len)
{
	bool bodiless = status == 204 || status == 304;
	struct evbuffer *out;

	if (r->body == BODY_READ)
		r->keep_alive = false;
	out = begin(r, status, type);
	if (!r->keep_alive)
		evbuffer_add_printf(out, "Connection: close\r\n");
	else if (r->http10)
		evbuffer_add_printf(out, "Connection: keep-alive\r\n");
	if (!bodiless)
		evbuffer_add_printf(out, "Content-Length: %zu\r\n", len);
	evbuffer_add(out, "\r\n", 2);
	return r->is_head || bodiless || !len ? NULL : out;
}

void http_reply(struct http_req *r, int status, const char *type, const void *body, size_t len)
{
	struct evbuffer *out;

	if (r->started)
		return;
	out = reply_head(r, status, type, len);
	if (out)
		evbuffer_add(out, body, len);
	end_reply(r);
}

static void free_text(const void *data, size_t len, void *user)
{
	(void)data;
	(void)len;
	free(user);
}

void http_reply_take(struct http_req *r, int status, const char *type, char *body_take, size_t len)
{
	struct evbuffer *out = NULL;
	bool mine = !r->started;

	if (mine)
		out = reply_head(r, status, type, len);
	if (!out || evbuffer_add_reference(out, body_take, len, free_text, body_take) < 0)
		free(body_take);
	if (mine)
		end_reply(r);
}

void http_reply_err(struct http_req *r, const struct err *e)
{
	json_t *doc = json_pack("{s:o}", "message", json_bytes(e->msg, strlen(e->msg)));
	char *text CLEANUP(mem_freep) = json_dumps(doc, JSON_COMPACT);
	char *line = mem_printf("%s\n", text ? text : "{\"message\":\"\"}");

	json_decref(doc);
	http_reply(r, err_http_status(e->kind), "application/json", line, strlen(line));
	free(line);
}

void http_refuse(struct http_req *r, int status, const char *why)
{
	json_t *doc = json_pack("{s:s}", "message", why);
	char *text CLEANUP(mem_freep) = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	r->keep_alive = false;
	http_reply(r, status, "application/json", text ? text : "{}", strlen(text ? text : "{}"));
}

void http_reply_start(struct http_req *r, int status, const char *type)
{
	struct evbuffer *out;

	if (r->started)
		return;
	out = begin(r, status, type);
	r->streamed = true;
	r->chunked = !r->http10;
	if (r->chunked)
		evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
	else
		r->keep_alive = false;
	if (!r->keep_alive)
		evbuffer_add_printf(out, "Connection: close\r\n");
	evbuffer_add(out, "\r\n", 2);
}

size_t http_reply_write(struct http_req *r, const void *p, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(r->c->bev);

	if (n && r->started && !r->ended && !r->is_head) {
		if (r->chunked)
			evbuffer_add_printf(out, "%zx\r\n", n);
		evbuffer_add(out, p, n);
		if (r->chunked)
			evbuffer_add(out, "\r\n", 2);
	}
	return evbuffer_get_length(out);
}

void http_reply_on_drain(struct http_req *r, void (*cb)(struct http_req *r, void *user), void *user)
{
	r->drain = cb;
	r->drain_user = user;
}

void http_reply_end(struct http_req *r)
{
	if (r->ended || !r->started)
		return;
	if (r->chunked && !r->is_head)
		evbuffer_add(bufferevent_get_output(r->c->bev), "0\r\n\r\n", 5);
	end_reply(r);
}

void http_reply_abort(struct http_req *r)
{
	if (r->ended || !r->started)
		return;
	r->keep_alive = false;
	end_reply(r);
}

/* Raw stream */

struct http_stream *http_hijack_as(struct http_req *r, const char *head, const char *value, const struct http_stream_ops *ops, void *user)
{
	struct http_conn *c = r->c;
	struct evbuffer *out = bufferevent_get_output(c->bev);
	struct http_stream *s = mem_zalloc(sizeof(*s));

	s->c = c;
	s->ops = ops;
	s->user = user;
	evbuffer_add_printf(out, "%s%s\r\n", head, value);
	if (r->extra)
		evbuffer_add_buffer(out, r->extra);
	evbuffer_add(out, "\r\n", 2);
	r->started = r->ended = true;
	log_reply(r, r->upgrade ? 101 : 200);
	r->body = BODY_DONE;
	c->stream = s;
	loop_timer_stop(c->timer);
	http_stream_take_over(c);
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) || c->eof)
		bufferevent_trigger(c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
	return s;
}

struct http_stream *http_hijack(struct http_req *r, const char *type, const struct http_stream_ops *ops, void *user)
{
	return http_hijack_as(r, r->upgrade ? "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: " :
			      "HTTP/1.1 200 OK\r\nContent-Type: ", type, ops, user);
}

void http_stream_input(struct http_conn *c)
{
	struct http_stream *s = c->stream;
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer_iovec v;

	while (!c->dead && !s->paused && evbuffer_peek(in, -1, NULL, &v, 1) >= 1 && v.iov_len) {
		if (s->ws)
			http_ws_input(s, v.iov_base, v.iov_len);
		else if (!s->closing)
			s->ops->data(s, v.iov_base, v.iov_len, s->user);
		if (c->dead)
			return;
		evbuffer_drain(in, v.iov_len);
	}
	if (c->eof && !s->paused && !s->eof) {
		s->eof = true;
		if (!s->closing && s->ops->eof)
			s->ops->eof(s, s->user);
		if (s->ws && !c->dead)
			http_stream_close(s);	/* it ended without a word */
	}
	if (c->gone && s->eof && !c->dead)
		http_conn_close(c);
}

static void free_stream(void *user)
{
	struct http_stream *s = user;

	http_ws_free(s->ws);
	free(s);
}

void http_stream_gone(struct http_conn *c)
{
	struct http_stream *s = TAKE(c->stream);

	if (!s)
		return;
	s->c = NULL;
	if (s->ops->close)
		s->ops->close(s, s->user);
	loop_defer(c->s->l, free_stream, s);
}

size_t http_stream_write(struct http_stream *s, const void *p, size_t n)
{
	struct evbuffer *out;

	if (!s->c)
		return 0;
	out = bufferevent_get_output(s->c->bev);
	if (s->closing || s->shut)
		;
	else if (s->ws)
		http_ws_write(s->ws, out, p, n);
	else
		evbuffer_add(out, p, n);
	return evbuffer_get_length(out);
}

void http_stream_pause(struct http_stream *s, bool paused)
{
	if (!s->c || s->paused == paused)
		return;
	s->paused = paused;
	if (!paused)
		bufferevent_trigger(s->c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
}

static void flush_then(struct http_stream *s)
{
	if (evbuffer_get_length(bufferevent_get_output(s->c->bev)) == 0)
		bufferevent_trigger(s->c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
}

void http_stream_shutdown(struct http_stream *s)
{
	if (!s->c || s->shut)
		return;
	if (s->ws) {
		http_stream_close(s);
		return;
	}
	s->shut = true;
	flush_then(s);
}

void http_stream_close(struct http_stream *s)
{
	if (!s->c || s->closing)
		return;
	if (s->ws)
		http_ws_close(s->ws, bufferevent_get_output(s->c->bev), 1000);
	s->closing = true;
	flush_then(s);
}
