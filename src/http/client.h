/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_HTTP_CLIENT_H
#define KEDGE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "http/server.h"
#include "loop/loop.h"

/* HTTP/1.1 client on the loop, for the CLI: one connection a request. */
struct http_client;
struct http_call;

/* url: "unix:///path", "tcp://host:port" (tls NULL: plain). Resolves at once (blocking: the CLI only). */
struct http_client *http_client_new(struct loop *l, const char *url, const struct http_tls *tls, struct err *e);
void http_client_free(struct http_client *c);

struct http_call_ops {
	/* Headers are in. For a hijacked reply `upgraded` is true and data/eof then carry the raw stream. */
	void (*head)(struct http_call *c, int status, bool upgraded, void *user);
	void (*data)(struct http_call *c, const void *p, size_t n, void *user);
	/* Exactly once; ok false with e when the connection failed or ended early. The call is gone after it. */
	void (*end)(struct http_call *c, bool ok, const struct err *e, void *user);
	void (*drain)(struct http_call *c, void *user);	/* may be NULL: request body / raw output queue is empty */
};
/* body NULL: none. stream: the body follows by http_call_write/http_call_finish (chunked). upgrade: ask for a raw stream ("Upgrade: tcp"). */
struct http_call_args {
	const char *method, *target;	/* target: "/v1.50/containers/json?all=1", already encoded */
	const char *type;		/* Content-Type of the body; NULL: application/json */
	const void *body;
	size_t len;
	bool stream, upgrade;
	const char *const *headers;	/* "Name: value", NULL-terminated, or NULL */
};
struct http_call *http_call_start(struct http_client *c, const struct http_call_args *a, const struct http_call_ops *ops, void *user);
size_t http_call_write(struct http_call *c, const void *p, size_t n);	/* bytes queued */
void http_call_finish(struct http_call *c);		/* end of body; on a raw stream: half-close */
const char *http_call_header(const struct http_call *c, const char *name);
void http_call_cancel(struct http_call *c);		/* no callback after it */
/* Percent-encodes s into out (appends), for query values. */
void http_encode(struct buf *out, const char *s);

/* Blocking convenience: whole reply. Returns the status, or -1 with e (connection). out is appended to. */
int http_client_do(struct http_client *c, const struct http_call_args *a, struct buf *out, struct err *e);

#endif
