/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REGISTRY_AUTH_H
#define KEDGE_IMAGE_REGISTRY_AUTH_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Pure: what is said about who one is. Strings are owned, NULL when absent. */

struct registry_creds {
	char *user, *password;
	char *identity_token;	/* an OAuth2 refresh token, instead of a password */
	char *registry_token;	/* a bearer token, to be used as it is */
};

/* X-Registry-Auth: base64 (RFC 4648 section 5, or section 4 as old clients write) of a JSON object. NULL or empty: nobody. */
int registry_creds_parse(const char *header, struct registry_creds *ret, struct err *e);
/* The same from the object itself. */
void registry_creds_of(const json_t *o, struct registry_creds *ret);
void registry_creds_done(struct registry_creds *c);

enum registry_scheme { REGISTRY_OPEN, REGISTRY_BASIC, REGISTRY_BEARER };

struct registry_challenge {
	enum registry_scheme scheme;
	char *realm, *service, *scope;
};

/* One WWW-Authenticate value (RFC 9110, section 11.6.1; RFC 6750). 0, or -1 for one that names neither Basic nor Bearer with a realm. */
int registry_challenge_parse(const char *value, struct registry_challenge *ret);
void registry_challenge_done(struct registry_challenge *c);

/* The token out of a token server's reply. NULL with e; the caller frees. refresh (may be NULL): a refresh token that came with it, or NULL. */
char *registry_token_parse(const char *p, size_t n, char **refresh, struct err *e);

void registry_base64(const void *p, size_t n, struct buf *out);
/* Both alphabets, padded or not; -1 for anything else. */
int registry_unbase64(const char *s, struct buf *out);

#endif
