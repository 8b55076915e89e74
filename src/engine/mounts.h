/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_MOUNTS_H
#define KEDGE_ENGINE_MOUNTS_H

#include "engine/engine_priv.h"

/*
 * What a container has mounted, in one form whichever way it was asked for: "MountPoints" of the stored document, an array of the API's
 * MountPoint {Type, Name, Source, Destination, Driver, Mode, RW, Propagation} and beside these, where they apply:
 *   Anonymous      a volume nobody named: goes with the container when asked (rm -v, --rm)
 *   NoCopy, Subpath, DriverOpts, Labels           volume
 *   CreateSource, NonRecursive, ReadOnlyNonRecursive, ForceRecursive      bind
 *   Options        tmpfs: the mount's words
 */
struct mounts_in {
	const json_t *config, *host, *image;	/* Config, HostConfig of the request; the image's config */
	/* The mount points of another container (borrowed), for --volumes-from; NULL with e. */
	const json_t *(*from)(void *user, const char *ref, struct err *e);
	void *user;
};
/* Pure but for from(). New array, NULL with e. */
json_t *mounts_parse(const struct mounts_in *in, struct err *e);
/* A mount point as an OCI mount; bundle: where prepared sources lie (see mounts_prepared()). */
json_t *mounts_oci(const json_t *point, size_t index, const char *bundle);
/*
 * Whether the monitor has to prepare the source of this mount: a path inside a volume, found by a handle that cannot leave it, or a bind
 * that shares its mounts with the host. Then the OCI mount's source is <bundle>/source-<index>.
 */
bool mounts_prepared(const json_t *point);
void mounts_write(struct buf *b, const json_t *points);		/* the API's part of them: an array of MountPoint, as text */
json_t *doc_mounts(const struct container *c);	/* borrowed, may be NULL */

/* provide.c: makes the volumes a new container names, fills them from the image; then done. On failure what it made is gone again. */
void mounts_provide(struct container *c, engine_done *done, void *user);
/* Into the transaction that stores the new container: its volumes are there to stay. */
void mounts_keep(struct container *c, struct store_tx *tx);
/* Into the transaction that deletes it: anonymous volumes nobody else uses go with it, if need be at the next start. */
void mounts_give_up(struct container *c, struct store_tx *tx);
/* After it is gone: removes them; names is an array, borrowed. */
void mounts_drop(struct engine *en, json_t *names, engine_done *done, void *user);
json_t *mounts_anonymous(const struct container *c);	/* new array of names */
/* Before a start; balanced by mounts_release(). */
void mounts_acquire(struct container *c, engine_done *done, void *user);
void mounts_release(struct container *c);
void mounts_adopt(struct container *c);
/* Sources of binds: -v makes a missing one, --mount wants it there. Blocking. */
int mounts_check_binds(const json_t *points, bool make, unsigned uid, unsigned gid, struct err *e);
/* For volumes_set_users(). */
json_t *mounts_users(void *user, const char *volume);

#endif
