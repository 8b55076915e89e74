/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_BUILDCTX_H
#define KEDGE_CLI_BUILDCTX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/ignore.h"

/*
 * A build's context as a tar, written to a pipe by a thread of its own. What .dockerignore leaves out is left out, but for the Dockerfile and
 * .dockerignore themselves, which the engine needs; owners are root's, as docker sends them.
 */
struct buildctx {
	const char *dir;		/* NULL: there is nothing but the extra file */
	const struct ignore *ignore;	/* or NULL */
	const char *dockerfile;		/* below dir; sent in any case */
	const char *extra_name;		/* a file of the caller's own in the archive, or NULL */
	const char *extra;
	size_t extra_len;
	int fd;				/* to write to; closed at the end */
	atomic_ullong bytes;		/* written so far */
	void (*progress)(void *user);	/* after each piece; or NULL */
	void *user;
	struct err err;			/* after buildctx_pack() */
};

/* Blocking. After a failure the archive ends in something that is none, so that nobody takes it for complete. */
int buildctx_pack(struct buildctx *x);
/* The patterns of dir/.dockerignore, or NULL: no such file (e->kind is ERR_NONE then) or a bad one. */
struct ignore *buildctx_ignore(const char *dir, struct err *e);

#endif
