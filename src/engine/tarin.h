/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_TARIN_H
#define KEDGE_ENGINE_TARIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "image/unpack.h"

struct tarin_args {
	bool no_overwrite;	/* docker's noOverwriteDirNonDir: a folder does not replace a file, nor a file a folder */
	bool chown;		/* to uid, gid instead of the archive's owners */
	uid_t uid;
	gid_t gid;
	unsigned map_uid, map_gid, map_size;	/* id 0 of the archive is this in the tree, and so on; size 0: as they are */
};

/*
 * A tar archive (plain or compressed) into the folder `path` of the tree at root, which may be alive and hostile: all is resolved by the
 * kernel inside root, for each entry anew, and nothing of the archive is ever followed out of it. An absolute link of an archive
 * or of the container means the container's own path. Blocking: on a pool thread.
 *
 * ERR_NOT_FOUND: path is not there; ERR_FORBIDDEN: read-only; ERR_INVALID: no folder, or the archive is bad. What was written before a
 * failure stays.
 */
int tarin_extract(int root, const char *path, const struct unpack_source *src, const struct tarin_args *a, struct err *e);

#endif
