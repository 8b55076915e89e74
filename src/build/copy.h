/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_COPY_H
#define KEDGE_BUILD_COPY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ignore.h"
#include "image/digest.h"

/*
 * COPY and ADD, as two blocking steps of a worker: build_copy_find() looks the sources up and gives their checksum, which is all that a cache
 * wants to know; build_copy_run() puts them into an image's root. All names are resolved inside the source's and the image's root by
 * handles: no link leads out of either.
 */
struct build_doc {
	char *name, *text;
};

struct build_item {
	char *path;		/* in the source's root, clean; of a heredoc: NULL */
	char *name;		/* what it is called in a destination that is a directory */
	const struct build_doc *doc;
	mode_t type;		/* S_IFMT part, links followed */
};

struct build_copy {
	/* in; the caller's */
	bool add, no_unpack;
	int source;		/* the root of the sources: a directory; -1 when there are heredocs alone */
	bool context;		/* it is the build's context (for the words of errors) */
	char **patterns;	/* NULL-terminated */
	struct build_doc *docs;
	size_t ndocs;
	char *dest;		/* absolute, clean */
	bool dest_slash;	/* it was written with a slash at its end */
	const char *chown, *chmod;	/* or NULL */
	const struct ignore *exclude;
	const atomic_bool *stop;
	/* out of find() */
	struct build_item *items;
	size_t nitems;
	char sum[DIGEST_SIZE + 8];	/* "file:<hex>", "dir:<hex>", "multi:<hex>" */
};

int build_copy_find(struct build_copy *c, struct err *e);
/* root: the image's, writable. */
int build_copy_run(struct build_copy *c, int root, struct err *e);
void build_copy_done(struct build_copy *c);	/* only what find() made */

/* The user and group that "name[:group]" means by the image's own files. */
int build_owner(int root, const char *chown, uid_t *uid, gid_t *gid, struct err *e);

/* For both halves. */
const char *build_copy_word(const struct build_copy *c);	/* "COPY" or "ADD" */
/* Names in a directory, in order; NULL-terminated. -errno. */
int build_names(int dirfd, char ***ret);
enum { BUILD_DEPTH_MAX = 512 };
bool build_excluded(const struct build_copy *c, const char *below);

#endif
