/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_ROOTVIEW_H
#define KEDGE_ENGINE_ROOTVIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * A handle on a container's root directory, for openat2(RESOLVE_IN_ROOT) and nothing else.
 *
 * Of a running container it is the root of its own mount namespace, so volumes and binds are there as it sees them. Of one at rest it
 * is an overlay mounted for this handle alone: in a mount namespace of a short-lived thread, cloned into a detached tree. No path
 * of the host leads to it, and it is gone with the last descriptor, however the engine ends.
 */
struct rootview {
	int running;			/* handle of a running container's root (rt_root()), or -1; taken */
	/* at rest */
	char *dir;			/* container_dir() */
	char **layers;			/* bottom first, NULL-terminated */
	bool write;			/* with the container's own upper and work: nobody else may have them mounted */
	bool read_only;			/* HostConfig.ReadonlyRootfs */
	json_t *mounts;			/* MountPoint[] to be there too, or NULL */
	unsigned map_uid, map_gid, map_size;	/* the container's ids as the host has them (userns-remap); size 0: they are the same */
};

/* Blocking: on a pool thread. The handle, or -1 with e. */
int rootview_open(struct rootview *v, struct err *e);
void rootview_done(struct rootview *v);

#endif
