/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REGISTRY_TRANSPORT_H
#define KEDGE_IMAGE_REGISTRY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "loop/loop.h"

/*
 * HTTP for registries: libcurl's multi interface on the loop, used from worker threads by calls that wait. A worker that waits sleeps;
 * the loop moves bytes, and stops to where a worker does not keep up. Nobody else includes libcurl.
 */
struct transport;
struct fetch;

struct transport *transport_new(struct loop *l);
/* Loop thread; no worker is inside any more. */
void transport_free(struct transport *t);

struct fetch_args {
	const char *method;
	const char *url;
	char *const *headers;	/* "Name: value", NULL-terminated, or NULL */
	const void *body;	/* copied; NULL: none */
	size_t len;
	bool stream;		/* the body comes by fetch_write() */
	bool insecure;		/* certificates are not verified */
	char *const *certs;	/* folders with *.crt, *.cert + *.key for this registry; NULL-terminated or NULL */
	const bool *stop;	/* set by transport_stop(): every wait ends with ERR_UNAVAILABLE */
};

/* Starts the request. Worker threads, as everything below. Never NULL. */
struct fetch *fetch_start(struct transport *t, const struct fetch_args *a);
/* Waits for the reply's head: its status, or -1 with e. GET and HEAD follow redirects (10 at most, never from https to http). */
int fetch_head(struct fetch *f, struct err *e);
/* Waits for body bytes: n > 0, 0 at the reply's end, -1 with e. */
ssize_t fetch_read(struct fetch *f, void *p, size_t n, struct err *e);
/* Body of a streamed request; waits for room. -1 with e when the other side no longer listens: then fetch_head() tells its answer. */
int fetch_write(struct fetch *f, const void *p, size_t n, struct err *e);
void fetch_finish(struct fetch *f);
/* A header of the reply, or NULL; nth: of several. Borrowed. */
const char *fetch_header(const struct fetch *f, const char *name, size_t nth);
/* After a failure: may another attempt help? Connections that cannot be made, that break, that stall. */
bool fetch_transient(const struct fetch *f);
/* Gives it up, wherever it is. NULL is fine. */
void fetch_free(struct fetch *f);

/* Sets *flag and wakes everybody who waits under it. Any thread. */
void transport_stop(struct transport *t, bool *flag);
/* Takes *flag back, unless *unless is set. */
void transport_restart(struct transport *t, bool *flag, const bool *unless);
bool transport_stopped(struct transport *t, const bool *flag);
/* Sleeps; false: stopped. */
bool transport_sleep(struct transport *t, const bool *stop, int64_t ns);

#endif
