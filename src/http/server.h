/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_HTTP_SERVER_H
#define KEDGE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"

/*
 * HTTP/1.1 server (RFC 9110, 9112) on the loop. http_parser frames; bodies stream in and out; a
 * connection can be hijacked. Limits: 64 KiB of headers (431), 8 KiB request line (414), 1,024
 * connections (an idle one makes room for a new one), 30 s for the headers, 60 s without progress of a request body or of a
 * whole reply. Streamed replies and raw streams may be held up without limit.
 */
struct http_server;
struct http_req;	/* one request and its reply; valid until `on_close` of it has run */

/* Called when the headers are in. Must answer, now or later; the body waits until asked for. */
typedef void http_handler(struct http_req *r, void *user);

struct http_tls {	/* paths; all three are needed: clients are verified (mTLS) */
	const char *ca, *cert, *key;
};

struct http_server *http_server_new(struct loop *l, http_handler *handler, void *user);
void http_server_free(struct http_server *s);	/* closes listeners and connections */
/* Nanoseconds for a whole head, between two pieces of a body or reply, between two requests. For tests. */
void http_server_set_timeouts(struct http_server *s, int64_t head_ns, int64_t body_ns, int64_t idle_ns);
/* mode e.g. 0660, gid -1: unchanged. A stale socket file is replaced, a live one is an error. */
int http_server_listen_unix(struct http_server *s, const char *path, mode_t mode, gid_t gid, struct err *e);
/* tls NULL: plain; the caller has decided that this may be. */
int http_server_listen_tcp(struct http_server *s, const char *host, uint16_t port, const struct http_tls *tls, struct err *e);
int http_server_listen_fd(struct http_server *s, int fd_take, struct err *e);	/* socket activation */
void http_server_stop_accepting(struct http_server *s);

/* Request. Strings are borrowed, valid as long as the request. */
const char *http_req_method(const struct http_req *r);
const char *http_req_path(const struct http_req *r);			/* percent-decoded, without query; no NUL inside */
const char *http_req_query(const struct http_req *r, const char *key);	/* decoded value of the first; NULL: absent */
/* i-th value of a repeated key; NULL past the last. */
const char *http_req_query_n(const struct http_req *r, const char *key, size_t i);
/* docker's booleans: absent, "", "0", "no", "false", "none" are false (case-insensitive). */
bool http_req_query_flag(const struct http_req *r, const char *key, bool def);
const char *http_req_header(const struct http_req *r, const char *name);
/* Who connected, as the kernel saw it then; false on TCP. */
struct http_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
bool http_req_peer(const struct http_req *r, struct http_peer *ret);
void http_req_set_user(struct http_req *r, void *user);
void *http_req_user(const struct http_req *r);
/* Runs once when the request is over for any reason (answered and sent, client gone, server freed). r is gone after it. */
void http_req_on_close(struct http_req *r, void (*cb)(struct http_req *r, void *user), void *user);

/* Whole body, at most limit bytes (413 is sent by itself past it; 400 when the client stops mid-way: cb is not called then).
 * body is borrowed for the call, NUL-terminated. */
void http_req_read_all(struct http_req *r, size_t limit, void (*cb)(struct http_req *r, const char *body, size_t len, void *user), void *user);
/* Streaming: data (borrowed) as it comes; then end(ok): ok is false when the client went away mid-way. */
void http_req_read_stream(struct http_req *r, void (*data)(struct http_req *r, const void *p, size_t n, void *user),
			  void (*end)(struct http_req *r, bool ok, void *user), void *user);
void http_req_read_pause(struct http_req *r, bool paused);

/* Reply, whole. HEAD sends no body but its length. A reply header is added before the reply starts. */
void http_reply_header(struct http_req *r, const char *name, const char *value);
void http_reply(struct http_req *r, int status, const char *type, const void *body, size_t len);
/* The same with a body from malloc, which is not copied but freed when it is out. */
void http_reply_take(struct http_req *r, int status, const char *type, char *body_take, size_t len);
void http_reply_err(struct http_req *r, const struct err *e);		/* {"message": ...} */
/* Reply, streamed (chunked). write returns the bytes still queued; on_drain runs when the queue is empty again. */
void http_reply_start(struct http_req *r, int status, const char *type);
size_t http_reply_write(struct http_req *r, const void *p, size_t n);
void http_reply_on_drain(struct http_req *r, void (*cb)(struct http_req *r, void *user), void *user);
void http_reply_end(struct http_req *r);
/* A streamed reply that cannot be completed: what is queued is sent, then the connection ends where the client expects more. */
void http_reply_abort(struct http_req *r);
bool http_reply_started(const struct http_req *r);

/*
 * Hijack: with "Upgrade: tcp" the reply is 101 UPGRADED, else 200, Content-Type as given, and from then the
 * connection is a raw byte stream. r is over (its on_close runs). Bytes the client already sent come as data.
 */
struct http_stream;
struct http_stream_ops {
	void (*data)(struct http_stream *s, const void *p, size_t n, void *user);
	void (*eof)(struct http_stream *s, void *user);		/* the client half-closed */
	void (*drain)(struct http_stream *s, void *user);	/* may be NULL: output queue is empty */
	void (*close)(struct http_stream *s, void *user);	/* once; s is gone after it */
};
struct http_stream *http_hijack(struct http_req *r, const char *type, const struct http_stream_ops *ops, void *user);
/* A websocket handshake (RFC 6455), then the same; each write is a binary frame, shutdown is close. NULL with e: it is no handshake, r is not over. */
struct http_stream *http_hijack_websocket(struct http_req *r, const struct http_stream_ops *ops, void *user, struct err *e);
size_t http_stream_write(struct http_stream *s, const void *p, size_t n);	/* bytes queued */
void http_stream_pause(struct http_stream *s, bool paused);			/* reading */
void http_stream_shutdown(struct http_stream *s);	/* half-close after the queue is sent */
void http_stream_close(struct http_stream *s);		/* close after the queue is sent; close() op runs later */

#endif
