/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_HTTP_PRIV_H
#define KEDGE_HTTP_PRIV_H

/* Shared by the files of src/http; nobody else includes this. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <http_parser.h>
#include <openssl/ssl.h>

#include "http/server.h"

enum {
	HTTP_HEAD_MAX = 64 << 10,
	HTTP_LINE_MAX = 8 << 10,
	HTTP_WRITE_MAX = 256 * 1024,	/* in one turn of the loop: a socket's buffer takes about as much */
	HTTP_INPUT_MAX = 4 * HTTP_HEAD_MAX,
	HTTP_CONNS_MAX = 1024,
	HTTP_DISCARD_MAX = 1 << 20,	/* of a body nobody wants, before the connection is dropped */
};

struct http_field {
	const char *name, *value;
};

/* A request's head, cut out of the connection's input and checked. All strings point into text. */
struct http_head {
	char *text;
	char *target;			/* as sent */
	char *path;			/* decoded */
	struct http_field *fields;	/* headers, in order */
	size_t n_fields;
	struct http_field *query;	/* decoded */
	size_t n_query;
};

/* Length of the head at the front of p (blank line included), 0 when more is needed, or the status to refuse with, negated.
 * *scanned carries over between calls with more of the same. */
int http_head_find(const char *p, size_t n, size_t *scanned);
/* text (NUL behind its n bytes) is taken. 0, or the status to refuse with; *why is a static sentence then. */
int http_head_parse(struct http_head *h, char *text_take, size_t n, const char **why);
void http_head_done(struct http_head *h);
const char *http_field_get(const struct http_field *f, size_t n, const char *name);

struct http_chunked {
	int state;			/* zeroed at the start of a body */
	unsigned count;			/* of digits, or of bytes skipped */
	uint64_t left;			/* of the chunk */
};
/* The next piece of payload at the front of p, *len 0 if there is none in it. 1: that was all, 0: more to come, -1: malformed. */
int http_chunked_next(struct http_chunked *k, const char *p, size_t n, size_t *used, const char **data, size_t *len);

/* One listening or connecting TLS context; NULL with e. */
SSL_CTX *http_tls_server(const struct http_tls *t, struct err *e);
SSL_CTX *http_tls_client(const struct http_tls *t, struct err *e);

struct http_listener;
struct http_conn;

struct http_server {
	struct loop *l;
	http_handler *handler;
	void *user;
	struct http_listener *listeners;
	struct http_conn *conns;
	unsigned n_conns;
	bool freeing;
	int64_t head_ns, body_ns, idle_ns;
};

enum body_state { BODY_WAIT, BODY_READ, BODY_DONE };

struct http_req {
	struct http_conn *c;
	struct http_head head;
	const char *method;
	void *user;
	void (*on_close)(struct http_req *r, void *user);
	void *on_close_user;
	/* body */
	enum body_state body;
	bool is_chunked;
	uint64_t left;			/* of a body that is not chunked */
	struct http_chunked chunks;
	bool paused, expect, is_head, keep_alive, upgrade, http10;
	void (*data)(struct http_req *r, const void *p, size_t n, void *user);
	void (*end)(struct http_req *r, bool ok, void *user);
	void *body_user;
	struct buf all;
	void (*all_cb)(struct http_req *r, const char *body, size_t len, void *user);
	size_t discarded;
	/* reply */
	struct evbuffer *extra;		/* header lines */
	bool started, streamed, chunked, ended;
	void (*drain)(struct http_req *r, void *user);
	void *drain_user;
};

struct http_stream {
	struct http_conn *c;
	const struct http_stream_ops *ops;
	void *user;
	struct http_ws *ws;		/* NULL: bytes as they are */
	bool paused, eof, closing, shut;
};

struct http_conn {
	struct http_server *s;
	struct http_conn *next, **link;
	struct bufferevent *bev;
	struct loop_timer *timer;
	size_t scanned;
	struct http_req *r;
	struct http_stream *stream;
	size_t unsent;			/* of a whole reply, when its timer was set */
	bool dead, closing, in_input, reading, eof, gone, tls;
};

/* conn.c */
struct http_conn *http_conn_new(struct http_server *s, int fd_take, SSL_CTX *tls);
struct http_conn *http_conn_idle(struct http_server *s);
void http_conn_close(struct http_conn *c);		/* at once; c's memory goes in the next turn */
void http_conn_input(struct http_conn *c);		/* what is in the input buffer, as far as wanted */
void http_stream_take_over(struct http_conn *c);	/* the request is over, the stream stays */
void http_conn_reply_done(struct http_conn *c);		/* the reply is in the output queue as a whole */
/* reply.c */
void http_refuse(struct http_req *r, int status, const char *why);
void http_stream_input(struct http_conn *c);
void http_stream_gone(struct http_conn *c);
/* Takes the connection over; head and value are the reply's first lines, without the last line's end. */
struct http_stream *http_hijack_as(struct http_req *r, const char *head, const char *value, const struct http_stream_ops *ops, void *user);
/* websocket.c */
void http_ws_input(struct http_stream *s, const void *data, size_t n);
void http_ws_write(struct http_ws *w, struct evbuffer *out, const void *p, size_t n);
void http_ws_close(struct http_ws *w, struct evbuffer *out, unsigned code);	/* only the first one is sent */
void http_ws_free(struct http_ws *w);

/* server.c: a connection ended, a place is free */
void http_server_freed_place(struct http_server *s);

#endif
