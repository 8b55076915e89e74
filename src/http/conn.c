/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: head -> handler -> body -> reply -> next head, or a raw stream once hijacked. One request is in work at a
 * time; what a client pipelines stays in the input buffer, which stops the socket when it is full. Reading stays on while a reply
 * is pending, because that is how a client's going away shows.
 *
 * http_conn_close() may come at any depth below a callback: it detaches and marks the connection dead at once, memory goes
 * in the loop's next turn. Code that called out looks at c->dead before it goes on.
 */
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_priv.h"

#define LINGER_NS 5000000000ll

static void free_req(void *user)
{
	struct http_req *r = user;

	http_head_done(&r->head);
	buf_done(&r->all);
	if (r->extra)
		evbuffer_free(r->extra);
	free(r);
}

static void free_conn(void *user)
{
	free(user);
}

static void drop_req(struct http_conn *c)
{
	struct http_req *r = TAKE(c->r);

	if (!r)
		return;
	if (r->body == BODY_READ && r->end) {
		r->body = BODY_DONE;
		r->end(r, false, r->body_user);
	}
	if (r->on_close)
		r->on_close(r, r->on_close_user);
	loop_defer(c->s->l, free_req, r);
}

/* The longest idle connection, which may make room for a new one; NULL when all are at work. */
struct http_conn *http_conn_idle(struct http_server *s)
{
	struct http_conn *idle = NULL;

	for (struct http_conn *c = s->conns; c; c = c->next) {
		/* scanned is 0 before the first byte of a head; the list has the newest in front */
		if (!c->r && !c->stream && !c->scanned && !evbuffer_get_length(bufferevent_get_input(c->bev)))
			idle = c;
	}
	return idle;
}

void http_conn_close(struct http_conn *c)
{
	struct http_server *s = c->s;

	if (c->dead)
		return;
	c->dead = true;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	s->n_conns--;
	bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	drop_req(c);
	http_stream_gone(c);
	loop_timer_free(TAKE(c->timer));
	if (c->tls && !c->gone) {
		SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
		ERR_clear_error();	/* the handshake may not have been over */
	}
	bufferevent_free(c->bev);
	c->bev = NULL;
	loop_defer(s->l, free_conn, c);
	http_server_freed_place(s);
}

/* Our direction is over; TLS has its own word for that. */
static void shut_out(struct http_conn *c)
{
	if (c->tls)
		SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
	else
		shutdown(bufferevent_getfd(c->bev), SHUT_WR);
}

/* The last reply is out: says so to the client, and throws away what still comes, so that the kernel does not reset the
 * connection before the client has read the reply. */
static void linger(struct http_conn *c)
{
	struct evbuffer *in;

	c->closing = true;
	shut_out(c);
	if (c->eof) {
		http_conn_close(c);
		return;
	}
	loop_timer_set(c->timer, LINGER_NS);
	in = bufferevent_get_input(c->bev);
	evbuffer_drain(in, evbuffer_get_length(in));
	c->reading = true;
	bufferevent_enable(c->bev, EV_READ);
}

void http_stream_take_over(struct http_conn *c)
{
	drop_req(c);
}

static void finish_req(struct http_conn *c)
{
	bool keep = c->r->keep_alive && c->r->body == BODY_DONE && !c->closing;

	if (c->r->body != BODY_DONE) {
		c->r->body = BODY_DONE;	/* nobody is told: the reply was the end */
		keep = false;
	}
	drop_req(c);
	if (c->dead)
		return;
	if (!keep) {
		linger(c);
		return;
	}
	c->scanned = 0;
	loop_timer_set(c->timer, c->s->idle_ns);
	http_conn_input(c);
}

/* The body ends here, and with it the connection, once the reply is out: nobody can tell where a next request would begin. */
static void body_failed(struct http_req *r, int status, const char *why)
{
	r->body = BODY_DONE;
	r->keep_alive = false;
	r->c->closing = true;
	if (!r->started)
		http_refuse(r, status, why);
	if (r->end)
		r->end(r, false, r->body_user);
}

/* Feeds body bytes; true: progress was made and more may be. */
static bool feed_body(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct http_req *r = c->r;
	struct evbuffer_iovec v;
	size_t used, len;
	const char *data;
	int done;

	if (evbuffer_peek(in, -1, NULL, &v, 1) < 1 || v.iov_len == 0)
		return false;
	if (r->is_chunked) {
		done = http_chunked_next(&r->chunks, v.iov_base, v.iov_len, &used, &data, &len);
	} else {
		data = v.iov_base;
		used = len = v.iov_len < r->left ? v.iov_len : (size_t)r->left;
		r->left -= len;
		done = r->left == 0;
	}
	if (len && r->data)
		r->data(r, data, len, r->body_user);
	if (c->dead || c->r != r)
		return !c->dead;
	evbuffer_drain(in, used);
	if (done < 0) {
		body_failed(r, 400, "the request body is malformed");
		return false;
	}
	if (done) {
		r->body = BODY_DONE;
		loop_timer_stop(c->timer);
		if (r->end)
			r->end(r, true, r->body_user);
		return !c->dead;
	}
	if (!r->paused)
		loop_timer_set(c->timer, c->s->body_ns);
	return true;
}

static const char *check_request(const struct http_req *r)
{
	const struct http_head *h = &r->head;
	size_t lengths = 0, codings = 0, hosts = 0;
	const char *te = NULL, *v;

	for (size_t i = 0; i < h->n_fields; i++) {
		lengths += !strcasecmp(h->fields[i].name, "Content-Length");
		hosts += !strcasecmp(h->fields[i].name, "Host");
		if (!strcasecmp(h->fields[i].name, "Transfer-Encoding")) {
			te = h->fields[i].value;
			codings++;
		}
	}
	if (lengths + codings > 1)
		return "the request gives its length more than once";
	if (te && (strcasecmp(te, "chunked") || r->http10))
		return "the transfer coding is not known";
	v = http_field_get(h->fields, h->n_fields, "Content-Length");
	if (v && (!*v || v[strspn(v, "0123456789")]))
		return "the content length is not a number";
	if (hosts > 1 || (!r->http10 && hosts == 0))
		return hosts ? "the request has two Host headers" : "the request has no Host header";
	return NULL;
}

/* http_parser sees the head only: its framing of bodies is not strict enough, see chunk.c. */
static int on_headers(http_parser *p)
{
	*(bool *)p->data = true;
	return 1;	/* no body in what it is given */
}

static const http_parser_settings settings = { .on_headers_complete = on_headers };

static void start_req(struct http_conn *c, size_t n)
{
	http_parser parser;
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct http_req *r = mem_zalloc(sizeof(*r));
	char *text = mem_alloc(n + 1);
	const char *why, *bad = NULL, *v;
	bool complete = false;
	int status;

	evbuffer_copyout(in, text, n);
	text[n] = '\0';
	r->c = c;
	r->body = BODY_WAIT;
	c->r = r;
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &complete;
	if (http_parser_execute(&parser, &settings, text, n) != n || !complete)
		bad = HTTP_PARSER_ERRNO(&parser) == HPE_OK ? "the request is malformed" : http_errno_description(HTTP_PARSER_ERRNO(&parser));
	evbuffer_drain(in, n);
	r->method = http_method_str((enum http_method)parser.method);
	r->is_head = parser.method == HTTP_HEAD;
	r->http10 = parser.http_minor == 0;
	r->keep_alive = http_should_keep_alive(&parser);
	r->is_chunked = parser.flags & F_CHUNKED;
	r->left = parser.content_length;
	r->body = r->is_chunked || (parser.flags & F_CONTENTLENGTH && r->left) ? BODY_WAIT : BODY_DONE;
	loop_timer_stop(c->timer);
	status = http_head_parse(&r->head, text, n, &why);
	if (status == 0 && (bad || (bad = check_request(r)))) {
		status = 400;
		why = bad;
	}
	if (status) {
		r->body = BODY_DONE;
		r->keep_alive = false;
		http_refuse(r, status, why);
		return;
	}
	v = http_field_get(r->head.fields, r->head.n_fields, "Upgrade");
	r->upgrade = parser.upgrade && v && !strcasecmp(v, "tcp");
	v = http_field_get(r->head.fields, r->head.n_fields, "Expect");
	r->expect = v && !strcasecmp(v, "100-continue") && !r->http10;
	if (v && strcasecmp(v, "100-continue")) {
		http_refuse(r, 417, "the Expect header asks for something that is not known");
		return;
	}
	c->s->handler(r, c->s->user);
}

static void refuse_head(struct http_conn *c, int status)
{
	struct http_req *r = mem_zalloc(sizeof(*r));

	r->c = c;
	r->body = BODY_DONE;
	r->method = "GET";
	c->r = r;
	http_refuse(r, status, status == 414 ? "the request line is too long" : status == 431 ? "the headers are too large" :
		    status == 408 ? "the request did not come in time" : "the request is malformed");
}

/*
 * Stops the socket while the input buffer is full. Not by bufferevent's high watermark: that one calls back in every turn for
 * as long as the buffer stays full, and a paused body would keep the loop spinning.
 */
static void set_reading(struct http_conn *c)
{
	bool want = !c->eof && evbuffer_get_length(bufferevent_get_input(c->bev)) < HTTP_INPUT_MAX;

	if (want == c->reading)
		return;
	c->reading = want;
	if (want)
		bufferevent_enable(c->bev, EV_READ);
	else
		bufferevent_disable(c->bev, EV_READ);
}

void http_conn_input(struct http_conn *c)
{
	struct evbuffer *in;

	if (c->in_input || c->dead)
		return;
	c->in_input = true;
	while (!c->dead) {
		size_t n;

		in = bufferevent_get_input(c->bev);
		n = evbuffer_get_length(in);
		if (c->stream) {
			http_stream_input(c);
			break;
		}
		if (c->closing && !c->r) {
			evbuffer_drain(in, n);
			break;
		}
		if (!c->r) {
			size_t look = n < HTTP_HEAD_MAX + 2 ? n : HTTP_HEAD_MAX + 2;
			int r;

			if (!n)
				break;
			if (!c->scanned)
				loop_timer_set(c->timer, c->s->head_ns);
			r = http_head_find((const char *)evbuffer_pullup(in, (ev_ssize_t)look), look, &c->scanned);
			if (r == 0)
				break;
			if (r < 0)
				refuse_head(c, -r);
			else
				start_req(c, (size_t)r);
			continue;
		}
		if (c->r->body != BODY_READ || c->r->paused || !feed_body(c))
			break;
	}
	c->in_input = false;
	if (!c->dead)
		set_reading(c);
	if (c->dead || !c->eof || c->stream)
		return;
	if (!c->r || !c->r->ended) {
		/* Nothing more will come. A client that shuts its side down while it waits is gone, as in Go's server. */
		if (!c->r || c->r->body != BODY_READ || !c->r->paused)
			http_conn_close(c);
	}
}

static void on_read(struct bufferevent *bev, void *user)
{
	(void)bev;
	http_conn_input(user);
}

static void on_written(struct bufferevent *bev, void *user)
{
	struct http_conn *c = user;

	/* The call was put off: more may have been written since, then it comes again. */
	if (c->dead || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	if (c->stream) {
		struct http_stream *s = c->stream;

		if (s->closing) {
			http_stream_gone(c);
			if (!c->dead)
				linger(c);
		} else if (s->shut) {
			shut_out(c);
		} else if (s->ops->drain) {
			s->ops->drain(s, s->user);
		}
		return;
	}
	if (c->r && c->r->ended)
		finish_req(c);
	else if (c->r && c->r->drain)
		c->r->drain(c->r, c->r->drain_user);
}

static void on_event(struct bufferevent *bev, short what, void *user)
{
	struct http_conn *c = user;

	if (c->dead || what & BEV_EVENT_CONNECTED)
		return;
	if (!(what & BEV_EVENT_EOF) || what & BEV_EVENT_ERROR) {
		c->gone = true;
		http_conn_close(c);
		return;
	}
	c->eof = true;
	if (c->tls) {
		/* libevent stops both directions at the peer's close_notify, which ends only one. */
		bufferevent_enable(bev, EV_WRITE);
	}
	if (c->stream) {
		struct pollfd p = { .fd = bufferevent_getfd(bev) };

		/* Both directions down: not a half-close, the peer is gone. What it sent before is still delivered. */
		c->gone = poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
	}
	if (c->closing && !c->r && !c->stream) {
		http_conn_close(c);
		return;
	}
	http_conn_input(c);
}

static void on_timeout(void *user)
{
	struct http_conn *c = user;
	size_t unsent = evbuffer_get_length(bufferevent_get_output(c->bev));

	if (c->r && c->r->ended && unsent < c->unsent) {
		c->unsent = unsent;	/* slow, but it comes on */
		loop_timer_set(c->timer, c->s->body_ns);
	} else if (c->r && c->r->body == BODY_READ && !c->r->ended) {
		bool started = c->r->started;

		body_failed(c->r, 408, "the request body did not come in time");
		if (started && !c->dead)
			http_conn_close(c);
	} else if (!c->r && !c->stream && !c->closing && c->scanned) {
		refuse_head(c, 408);
	} else {
		http_conn_close(c);
	}
}

void http_conn_reply_done(struct http_conn *c)
{
	c->unsent = evbuffer_get_length(bufferevent_get_output(c->bev));
	/*
	 * A client that asked and does not read must not hold its place for ever. A stream may be held up, though: there is a
	 * person with a pager at its end. Keep-alive probes find the dead ones among those.
	 */
	if (c->r->streamed)
		loop_timer_stop(c->timer);
	else
		loop_timer_set(c->timer, c->s->body_ns);
	if (c->unsent == 0)
		bufferevent_trigger(c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
}

struct http_conn *http_conn_new(struct http_server *s, int fd, SSL_CTX *tls)
{
	struct http_conn *c = mem_zalloc(sizeof(*c));
	int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
	SSL *ssl = NULL;

	if (tls) {
		ssl = SSL_new(tls);
		if (ssl)
			c->bev = bufferevent_openssl_socket_new(loop_base(s->l), fd, ssl, BUFFEREVENT_SSL_ACCEPTING, options);
		if (c->bev)
			bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
		else
			SSL_free(ssl);
	} else {
		c->bev = bufferevent_socket_new(loop_base(s->l), fd, options);
	}
	if (!c->bev) {
		close(fd);
		free(c);
		return NULL;
	}
	c->s = s;
	c->tls = tls != NULL;
	c->next = s->conns;
	c->link = &s->conns;
	if (c->next)
		c->next->link = &c->next;
	s->conns = c;
	s->n_conns++;
	c->timer = loop_timer_new(s->l, on_timeout, c);
	loop_timer_set(c->timer, s->head_ns);
	/* libevent's own 16 KiB a turn make twenty turns of a list of containers, and as many switches to its reader. */
	(void)bufferevent_set_max_single_write(c->bev, HTTP_WRITE_MAX);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	c->reading = true;
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return c;
}
