/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_VOLUME_PRIV_H
#define KEDGE_VOLUME_PRIV_H

/* Shared by the files of src/volume; nobody else includes this. */

#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "volume/volume.h"

#define VOLUME_ANONYMOUS "com.docker.volume.anonymous"

/* Somebody whose turn has not come: mounting, unmounting and filling one volume happen one after the other. */
struct volume_turn {
	void (*go)(struct volume_turn *t);
	struct volume_turn *next;
};

struct volume {
	char *name;
	json_t *doc;			/* as stored: Name, Driver, CreatedAt, Labels, Options; Owner while tentative */
	bool ready;			/* its record is on disk */
	bool removing;
	bool busy;			/* a job works on it */
	bool mounted;
	unsigned users;			/* running containers */
	struct volume_turn *turns;
};

struct volumes {
	struct loop *l;
	struct work_pool *pool;
	struct store *store;
	char *root;			/* <data root>/volumes */
	struct map *by_name;
	unsigned uid, gid;
	void (*on_event)(void *user, const char *action, const char *name, const char *driver);
	void *event_user;
	json_t *(*users)(void *user, const char *name);
	void *users_user;
};

/* volume.c */
struct volume *volume_find(const struct volumes *vs, const char *name);
json_t *volume_shape(const struct volumes *vs, const struct volume *v);
json_t *volume_users(const struct volumes *vs, const char *name);	/* new array */
char *volume_path(const struct volumes *vs, const char *name, const char *below);
void volume_event(struct volumes *vs, const char *action, const struct volume *v);
bool volume_has_mount(const struct volume *v);
/* Calls t->go now or when the jobs before it are through; balanced by volume_turn_end(). */
void volume_turn_take(struct volumes *vs, struct volume *v, struct volume_turn *t);
void volume_turn_end(struct volumes *vs, struct volume *v);

/* local.c: the driver's options. Blocking where it mounts. */
int local_check(const json_t *options, struct err *e);
int local_mount(const json_t *options, const char *at, struct err *e);
int local_umount(const char *at, struct err *e);
bool local_is_mounted(const char *at);

/* copy.c: blocking */
/* Everything in the directory `from` into the directory `to`, and the directory's own owner, mode and attributes; links are copied, never followed. */
int copy_tree(int from, int to, unsigned uid_shift, unsigned gid_shift, struct err *e);
/* 1: nothing in it, 0, -errno. */
int copy_is_empty(int dir);
/* Bytes on disk below a directory, without other file systems; *bytes is added to. */
void copy_usage(int dir, uint64_t *bytes);

#endif
