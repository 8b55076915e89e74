/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_ARCHIVE_H
#define KEDGE_ENGINE_ARCHIVE_H

#include "engine/engine.h"

/*
 * Files of a container as archives, whether it runs or not. Archives are read and written by pool threads; the loop moves bytes, and what
 * is too slow makes the other side wait. No program is run for any of it, and no path leads out of the container's root (rootview.h).
 */
struct engine_archive;
struct engine_archive_ops {
	/* Before any data: {"name", "size", "mode", "mtime", "linkTarget"}, as the API's X-Docker-Container-Path-Stat has it. May be NULL. */
	void (*stat)(void *user, const json_t *stat);
	void (*data)(void *user, const void *p, size_t n);
	void (*resume)(void *user);			/* of a put: there is room again */
	void (*end)(void *user, const struct err *e);	/* once */
};
struct engine_archive_put {
	bool no_overwrite;	/* a folder does not replace a file, nor a file a folder */
	bool copy_ids;		/* owners: the container's user instead of the archive's */
};

/* All: NULL with e when the container is not there; what happens later comes with end(). */
struct engine_archive *engine_archive_stat(struct engine *en, const char *ref, const char *path, const struct engine_archive_ops *ops, void *user,
					   struct err *e);
struct engine_archive *engine_archive_get(struct engine *en, const char *ref, const char *path, const struct engine_archive_ops *ops, void *user,
					  struct err *e);
struct engine_archive *engine_archive_put(struct engine *en, const char *ref, const char *path, const struct engine_archive_put *a,
					  const struct engine_archive_ops *ops, void *user, struct err *e);
/* The root file system without what is mounted in it. */
struct engine_archive *engine_export(struct engine *en, const char *ref, const struct engine_archive_ops *ops, void *user, struct err *e);

/* put: takes all; false: wait for resume(). */
bool engine_archive_feed(struct engine_archive *a, const void *p, size_t n);
void engine_archive_finish(struct engine_archive *a);
void engine_archive_pause(struct engine_archive *a, bool paused);	/* data() */
void engine_archive_cancel(struct engine_archive *a);			/* no callback any more */

#endif
