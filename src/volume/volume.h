/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_VOLUME_VOLUME_H
#define KEDGE_VOLUME_VOLUME_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "store/store.h"

/*
 * Volumes: directories that outlive the containers that use them, <root>/volumes/<name>/_data, and their records in the store.
 * Every asynchronous call runs its done exactly once from the loop, never from inside the call. e is NULL on success, borrowed.
 */
struct volumes;

/* Loads what there is, finishes removals a crash cut short. Blocking; at start. */
struct volumes *volumes_new(struct loop *l, struct work_pool *p, struct store *st, const char *root, struct err *e);
/* No job may be under way: free the pool first. Mounted volumes stay mounted. */
void volumes_free(struct volumes *vs);
/* News as docker words them ("create", "destroy"): called after the commit. */
void volumes_on_event(struct volumes *vs, void (*cb)(void *user, const char *action, const char *name, const char *driver), void *user);
/* Asks the engine for the ids of containers that refer to a volume: a new array of strings. */
void volumes_set_users(struct volumes *vs, json_t *(*cb)(void *user, const char *name), void *user);
/* Id 0 of the containers' user namespace: owner of new volumes, and added to the ids of what they are filled with. 0:0 at first. */
void volumes_set_owner(struct volumes *vs, unsigned uid, unsigned gid);

struct volume_spec {
	const char *name;		/* NULL or "": a new anonymous one */
	const char *driver;		/* NULL or "": "local" */
	const json_t *options;		/* object of strings or NULL: type, o, device (mount(8) words) */
	const json_t *labels;		/* object of strings or NULL */
	const char *owner;		/* id of the container it is made for; NULL: the user asked for it by itself */
};
/* Pure. docker's rules on names, drivers and options. */
int volume_check(const struct volume_spec *s, struct err *e);

/*
 * Makes a volume, or finds the one of that name (created false). v is the API's Volume, borrowed. One with an owner stays tentative until
 * volume_keep(): a restart of the engine removes it.
 */
void volume_create(struct volumes *vs, const struct volume_spec *s,
		   void (*done)(void *user, const json_t *v, bool created, const struct err *e), void *user);
/* Makes a tentative volume lasting as part of the caller's transaction (NULL: it is so on disk). Other names: nothing. */
void volume_keep(struct volumes *vs, const char *name, struct store_tx *tx);

/* Makes it tentative again, for a container that is being deleted with its volumes. */
void volume_give_up(struct volumes *vs, const char *name, const char *owner, struct store_tx *tx);

/* The API's shapes; new references. "get x: no such volume" (NOT_FOUND). filters: {"key": ["value", ...]} or NULL. */
json_t *volume_inspect(struct volumes *vs, const char *name, struct err *e);
json_t *volume_list(struct volumes *vs, const json_t *filters, struct err *e);	/* VolumeListResponse */
size_t volumes_count(const struct volumes *vs);

/* CONFLICT while a container refers to it. force: a volume that is not there is no error. Done once the record is gone for good. */
void volume_remove(struct volumes *vs, const char *name, bool force, void (*done)(void *user, const struct err *e), void *user);
/* Unused ones: anonymous ones only, unless filters has "all" (or all is set). result: {"VolumesDeleted", "SpaceReclaimed"}. */
void volumes_prune(struct volumes *vs, const json_t *filters, bool all, void (*done)(void *user, const json_t *result, const struct err *e), void *user);
/* Volume[] with UsageData filled in: walks the directories. */
void volumes_usage(struct volumes *vs, void (*done)(void *user, const json_t *list, const struct err *e), void *user);

/*
 * Copies the directory `from` (borrowed descriptor, duplicated; its content and its own mode and owner) into a volume that is empty;
 * otherwise nothing happens. Copies into one volume happen one after the other. On failure the volume is as it was, unless
 * containers other than `container` refer to it.
 */
void volume_fill(struct volumes *vs, const char *name, const char *container, int from, void (*done)(void *user, const struct err *e), void *user);

/* Mounts a volume that has options when its first container starts; a plain one is just counted. Balanced by volume_release(). */
void volume_acquire(struct volumes *vs, const char *name, void (*done)(void *user, const struct err *e), void *user);
void volume_release(struct volumes *vs, const char *name);
/* After a restart of the engine: a running container uses it. Then once: what is mounted for nobody is unmounted. */
void volume_adopt(struct volumes *vs, const char *name);
void volumes_settle(struct volumes *vs);

#endif
