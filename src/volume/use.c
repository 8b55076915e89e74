/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes in use: mounted for the first container that starts, unmounted after the last one, filled with what the image has there.
 * One volume's jobs take turns (volume_turn_take): a container must not start on a directory that is being replaced.
 */
#include "volume/volume_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

struct use {
	struct work work;
	struct volume_turn turn;
	struct volumes *vs;
	char *name, *data;
	json_t *options;		/* NULL: a plain volume */
	int from;			/* fill */
	char *container;
	bool beside, mounted;
	void (*done)(void *user, const struct err *e);
	void *user;
	struct err e;
};

static struct use *use_new(struct volumes *vs, const char *name, void (*done)(void *user, const struct err *e), void *user)
{
	struct use *u = mem_zalloc(sizeof(*u));
	struct volume *v = volume_find(vs, name);

	*u = (struct use){ .vs = vs, .name = mem_strdup(name), .data = volume_path(vs, name, "_data"), .from = -1, .done = done, .user = user };
	if (v && volume_has_mount(v))
		u->options = json_deep_copy(json_obj(v->doc, "Options"));	/* a worker reads it */
	return u;
}

static void use_end(void *user)
{
	struct use *u = user;

	if (u->done)
		u->done(u->user, u->e.kind == ERR_NONE ? NULL : &u->e);
	if (u->from >= 0)
		(void)close(u->from);
	json_decref(u->options);
	free(u->container);
	free(u->name);
	free(u->data);
	free(u);
}

static void use_missing(struct use *u)
{
	err_set(&u->e, ERR_NOT_FOUND, "get %s: no such volume", u->name);
	loop_defer(u->vs->l, use_end, u);
}

/* The turn that use_* had is over. */
static void use_finish(struct use *u)
{
	struct volume *v = volume_find(u->vs, u->name);

	if (v)
		volume_turn_end(u->vs, v);
	use_end(u);
}

/* Mounting */

static void acquire_run(struct work *w)
{
	struct use *u = CONTAINER_OF(w, struct use, work);

	(void)local_mount(u->options, u->data, &u->e);
}

static void acquire_done(struct work *w)
{
	struct use *u = CONTAINER_OF(w, struct use, work);
	struct volume *v = volume_find(u->vs, u->name);

	if (v && u->e.kind == ERR_NONE) {
		v->mounted = true;
		v->users++;
	}
	if (u->e.kind != ERR_NONE)
		err_wrap(&u->e, "error while mounting volume '%s'", u->data);
	use_finish(u);
}

static void acquire_turn(struct volume_turn *t)
{
	struct use *u = CONTAINER_OF(t, struct use, turn);
	struct volume *v = volume_find(u->vs, u->name);

	if (!v) {
		use_missing(u);
		return;
	}
	if (!u->options || v->mounted) {
		v->users++;
		volume_turn_end(u->vs, v);
		loop_defer(u->vs->l, use_end, u);
		return;
	}
	u->work.run = acquire_run;
	u->work.done = acquire_done;
	work_start(u->vs->pool, &u->work);
}

void volume_acquire(struct volumes *vs, const char *name, void (*done)(void *user, const struct err *e), void *user)
{
	struct use *u = use_new(vs, name, done, user);
	struct volume *v = volume_find(vs, name);

	if (!v || v->removing) {
		use_missing(u);
		return;
	}
	u->turn.go = acquire_turn;
	volume_turn_take(vs, v, &u->turn);
}

static void umount_run(struct work *w)
{
	struct use *u = CONTAINER_OF(w, struct use, work);

	(void)local_umount(u->data, &u->e);
}

static void umount_done(struct work *w)
{
	struct use *u = CONTAINER_OF(w, struct use, work);
	struct volume *v = volume_find(u->vs, u->name);

	if (u->e.kind != ERR_NONE)
		log_warn("volume", "volume %s stays mounted: %s", u->name, u->e.msg);
	else if (v)
		v->mounted = false;
	use_finish(u);
}

static void umount_turn(struct volume_turn *t)
{
	struct use *u = CONTAINER_OF(t, struct use, turn);
	struct volume *v = volume_find(u->vs, u->name);

	if (!v) {
		loop_defer(u->vs->l, use_end, u);
		return;
	}
	if (v->users || !v->mounted) {		/* somebody came in between */
		volume_turn_end(u->vs, v);
		loop_defer(u->vs->l, use_end, u);
		return;
	}
	u->work.run = umount_run;
	u->work.done = umount_done;
	work_start(u->vs->pool, &u->work);
}

static void umount_later(struct volumes *vs, struct volume *v)
{
	struct use *u = use_new(vs, v->name, NULL, NULL);

	u->turn.go = umount_turn;
	volume_turn_take(vs, v, &u->turn);
}

void volume_release(struct volumes *vs, const char *name)
{
	struct volume *v = volume_find(vs, name);

	if (!v || !v->users)
		return;
	if (!--v->users && v->mounted)
		umount_later(vs, v);
}

void volume_adopt(struct volumes *vs, const char *name)
{
	struct volume *v = volume_find(vs, name);

	if (v)
		v->users++;
}

void volumes_settle(struct volumes *vs)
{
	struct volume *v;
	size_t it = 0;

	while ((v = map_next(vs->by_name, &it, NULL))) {
		char *data CLEANUP(mem_freep) = volume_path(vs, v->name, "_data");

		v->mounted = volume_has_mount(v) && local_is_mounted(data);
		if (v->mounted && !v->users)
			umount_later(vs, v);
	}
}

/* Filling */

/*
 * A new volume's content is made beside it and takes the empty directory's place in one step. Where another container may have that
 * directory open already, it would keep the old one: there the files go in one by one, as they do on a mounted file system.
 */
static int fill_beside(struct use *u, int dir, struct err *e)
{
	int to CLEANUP(fd_closep) = -1, r = file_rm_rf_at(dir, "_fill");

	if (r < 0 || mkdirat(dir, "_fill", 0700) < 0 || (to = openat(dir, "_fill", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_errno(e, r < 0 ? -r : errno, "make a directory in volume %s", u->name);
	if (copy_tree(u->from, to, u->vs->uid, u->vs->gid, e) < 0)
		goto fail;
	(void)FAULT("volume.fill");
	if (renameat(dir, "_fill", dir, "_data") < 0 || fsync(dir) < 0) {
		err_errno(e, errno, "put the content of volume %s in place", u->name);
		goto fail;
	}
	return 0;
fail:
	(void)file_rm_rf_at(dir, "_fill");
	return -1;
}

static void fill_run(struct work *w)
{
	struct use *u = CONTAINER_OF(w, struct use, work);
	char *top CLEANUP(mem_freep) = volume_path(u->vs, u->name, NULL);
	int dir CLEANUP(fd_closep) = -1, to CLEANUP(fd_closep) = -1, empty;
	bool mount_here = u->options && !u->mounted;

	if (mount_here && local_mount(u->options, u->data, &u->e) < 0)
		return;
	dir = open(top, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	to = dir < 0 ? -1 : openat(dir, "_data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	empty = to < 0 ? -errno : copy_is_empty(to);
	if (empty < 0)
		err_errno(&u->e, -empty, "open volume %s", u->name);
	else if (empty)
		(void)(u->beside && !u->options ? fill_beside(u, dir, &u->e) : copy_tree(u->from, to, u->vs->uid, u->vs->gid, &u->e));
	if (u->e.kind != ERR_NONE)
		err_wrap(&u->e, "failed to populate volume");
	fd_closep(&to);
	to = -1;
	if (mount_here)
		(void)local_umount(u->data, NULL);
}

static void fill_done(struct work *w)
{
	use_finish(CONTAINER_OF(w, struct use, work));
}

static void fill_turn(struct volume_turn *t)
{
	struct use *u = CONTAINER_OF(t, struct use, turn);
	struct volume *v = volume_find(u->vs, u->name);
	json_t *users, *id;
	size_t i;

	if (!v) {
		use_missing(u);
		return;
	}
	users = volume_users(u->vs, u->name);
	u->beside = v->users == 0;
	json_array_foreach(users, i, id)
		u->beside = u->beside && str_eq(json_string_value(id), u->container);
	json_decref(users);
	u->mounted = v->mounted;
	u->work.run = fill_run;
	u->work.done = fill_done;
	work_start(u->vs->pool, &u->work);
}

void volume_fill(struct volumes *vs, const char *name, const char *container, int from, void (*done)(void *user, const struct err *e), void *user)
{
	struct use *u = use_new(vs, name, done, user);
	struct volume *v = volume_find(vs, name);

	if (!v || v->removing) {
		use_missing(u);
		return;
	}
	u->container = mem_strdup(container);
	u->from = fcntl(from, F_DUPFD_CLOEXEC, 3);
	if (u->from < 0) {
		err_errno(&u->e, errno, "keep a directory open");
		loop_defer(vs->l, use_end, u);
		return;
	}
	u->turn.go = fill_turn;
	volume_turn_take(vs, v, &u->turn);
}
