/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REGISTRY_SESSION_H
#define KEDGE_IMAGE_REGISTRY_SESSION_H

#include <pthread.h>

#include "image/ref.h"
#include "image/registry/auth.h"
#include "image/registry/manifest.h"
#include "image/registry/transport.h"

/* Where a registry's name leads, in the order in which it is tried. */
struct endpoint {
	char *base;		/* "https://host:port" */
	char *host;		/* for certs.d */
	bool insecure, mirror;
};

struct registry_config {
	char **insecure;	/* "host", "host:port", CIDR */
	char **mirrors;		/* URLs, for docker.io only */
	char **certs;		/* folders with a folder of certificates for each registry */
	unsigned downloads, uploads, attempts;
};

/*
 * All of them; n of them. The caller frees with endpoints_free(). Resolves a name that is not said to be insecure, to see whether it is this
 * machine's own: blocking.
 */
struct endpoint *endpoints_of(const struct registry_config *cfg, const char *domain, size_t *n);
void endpoints_free(struct endpoint *ep, size_t n);

/*
 * One repository of one registry for the time of a pull, a push or a login: endpoint, credentials, token. Worker threads, several at a
 * time.
 */
struct session {
	struct transport *t;
	const bool *stop;
	const struct registry_config *cfg;
	const struct registry_creds *creds;
	char domain[256], repo[256];
	const char *actions;		/* "pull", "pull,push"; NULL: none (login) */
	char *also;			/* one more repository to pull from (mounts), or NULL */
	struct endpoint ep;		/* the one that is used; borrowed strings */
	char **certs;
	pthread_mutex_t lock;
	struct registry_challenge challenge;
	char *token;			/* under lock */
	unsigned token_number;
	char *refresh;			/* a refresh token that a login got */
};

void session_init(struct session *s, struct transport *t, const struct registry_config *cfg, const struct registry_creds *creds, const char *domain,
		  const char *repo, const char *actions, const bool *stop);
void session_done(struct session *s);
/* Sees whether a registry answers there, and what it wants to know. e is docker's sentence (Get "https://x/v2/": ...). ep is borrowed. */
int session_open(struct session *s, const struct endpoint *ep, struct err *e);

struct call {
	const char *method;
	const char *path;	/* below /v2/, or a whole URL (upload locations) */
	const char *accept, *type, *range;	/* headers, or NULL */
	const void *body;
	size_t len;
	bool stream;
};
/* Sends with credentials; a challenge is met once. The fetch with its head in, and its status; NULL with e when there is no reply. */
struct fetch *session_call(struct session *s, const struct call *c, int *status, bool *transient, struct err *e);
/* The same until an attempt brings no 429 or 5xx and no broken connection, cfg->attempts times; waits between (Retry-After). */
struct fetch *session_call_retry(struct session *s, const struct call *c, int *status, struct err *e);
/* How long to wait before attempt n (from 1): what the reply says (f may be NULL), or 1 s, 2 s, 4 s, ... */
int64_t session_pause(const struct fetch *f, unsigned n);
/* A whole body of at most limit bytes. */
int session_body(struct fetch *f, size_t limit, struct buf *out, struct err *e);
/* The sentence for a reply with a status from 400 on: "<code>: <message>" as docker has it. what is NULL or goes in front. Reads the body. */
int session_refused(struct session *s, struct fetch *f, int status, const char *what, struct err *e);
bool session_may_retry(int status);
/* An upload's "Location", made absolute. The caller frees; NULL with e. */
char *session_location(struct session *s, struct fetch *f, struct err *e);

/*
 * The manifest that tag or digest stands for, with its digest. A digest in ref is what it must have. NULL with e: "manifest for x not
 * found: ..."; text gets its bytes.
 */
int session_manifest(struct session *s, const char *tag_or_digest, struct buf *text, struct manifest *m, char *digest, struct err *e);
/* A small blob, whole and verified. */
int session_blob(struct session *s, const struct descriptor *d, size_t limit, struct buf *out, struct err *e);

#endif
