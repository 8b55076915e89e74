/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_UNPACK_H
#define KEDGE_IMAGE_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "image/digest.h"

/* Where bytes come from: n > 0, 0 at the end, -errno. */
struct unpack_source {
	ssize_t (*read)(void *user, void *p, size_t n);
	void *user;
};

struct unpack_result {
	char diff[DIGEST_SIZE];		/* of the uncompressed tar, to its very end */
	uint64_t bytes;			/* sum of file sizes */
	uint64_t entries;
};

/*
 * A layer's tar (plain, gzip, zstd, xz, bzip2) into the directory dirfd, whiteouts in overlayfs's form. Blocking. On failure the
 * directory holds a part of it: the caller throws it away. what names the layer in sentences. keep: folder that gets the record by which
 * the tar can be written out again (see split.h), or -1.
 */
int unpack_layer(int dirfd, int keep, const struct unpack_source *src, const char *what, struct unpack_result *ret, struct err *e);

enum {
	UNPACK_IN_ROOT = 1,	/* links that are in dirfd are followed, inside it: ADD into an image's root */
	UNPACK_NO_DEVICES = 2,	/* a build's context */
};
/*
 * An archive as it is, ".wh." names being names like others, below the folder `below` ("": dirfd itself). What is there gives way, except
 * a folder to a folder. Blocking; on failure a part of it is there.
 */
int unpack_tree(int dirfd, const char *below, unsigned flags, const struct unpack_source *src, const char *what, struct unpack_result *ret,
		struct err *e);
/* Does it begin as a tar with at least one entry, compressed or not? Blocking; moves the descriptor's offset. */
bool unpack_is_archive(int fd);

#endif
