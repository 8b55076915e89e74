/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_TAROUT_H
#define KEDGE_ENGINE_TAROUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * A tar archive (pax where ustar does not suffice) of a tree that is alive: what goes away meanwhile is left out, what grows is cut, what
 * shrinks is padded, links are data and never followed. Blocking: on a pool thread.
 */
struct tarout;
/* write: all n bytes; 0 or -errno, which ends the archive. */
struct tarout *tarout_new(int (*write)(void *user, const void *p, size_t n), void *user, struct err *e);
void tarout_free(struct tarout *t);

struct tarout_args {
	/* What is mounted below the root of the walk (volumes, binds, /proc) shows as the empty file or folder that it lies on. */
	bool one_mount;
	/* The tree is an overlay's upper directory: whiteouts become ".wh.x" and ".wh..wh..opq". */
	bool layer;
	unsigned map_uid, map_gid, map_size;	/* ids of the tree from here on are the archive's from 0 on; size 0: as they are */
	bool no_top;	/* the folder that the walk begins with has no entry of its own */
	/* NULL, or a NULL-terminated list of archive names that are left out, with all below them. */
	const char *const *skip;
};
/*
 * The object named last in the directory dirfd, and all below it, under the archive name `as`: "b" gives "b/", "b/x"; "." gives "./", "./x";
 * "/" gives "/", "/x"; "" gives "./", "x".
 */
int tarout_add(struct tarout *t, int dirfd, const char *last, const char *as, const struct tarout_args *a, struct err *e);
/* The end of the archive. */
int tarout_end(struct tarout *t, struct err *e);

#endif
