/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_TREE_H
#define KEDGE_IMAGE_TREE_H

#include <stddef.h>

#include "base/err.h"

enum {
	/* The directory is an overlay's upper one: its whiteouts and opaque folders become ".wh.x" and ".wh..wh..opq" (OCI image-spec,
	 * layer.md), its own attributes are left out. */
	TREE_OVERLAY = 1,
};

/*
 * A directory's content as a tar (pax where ustar does not do), in order of names: owners by number, hard links, devices, holes,
 * capabilities and user.* attributes. The directory itself is no entry; sockets are left out, as docker does. Blocking. Links are never
 * followed and mounts below it are not entered. write: 0 or -errno, which ends it. dirfd is borrowed and may be O_PATH.
 */
int image_tree_tar(int dirfd, unsigned flags, int (*write)(void *user, const void *p, size_t n), void *user, struct err *e);

#endif
