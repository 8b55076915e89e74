/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The volumes of a container: made and filled when it is created, mounted while it runs, let go with it. Creation goes through
 * the mount points three times: volumes made (one after the other; each is durable) -> a worker looks what the image has at their
 * places and whether binds can be made -> volumes filled. They are tentative until the container's own record is committed.
 */
#include "engine/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "image/view.h"

struct provide {
	struct work work;
	struct container *c;
	size_t at;
	char **layers;
	json_t *points;			/* the worker's own copy */
	int *dirs;			/* a directory of the image per point, -1 */
	size_t n;
	json_t *made;			/* names of volumes that were not there before */
	engine_done *done;
	void *user;
	struct err e;
};

static bool is_volume(const json_t *p)
{
	return str_eq(json_str(p, "Type", ""), "volume");
}

static void provide_free(struct provide *pr)
{
	for (size_t i = 0; i < pr->n; i++)
		fd_closep(&pr->dirs[i]);
	free(pr->dirs);
	strv_free(pr->layers);
	json_decref(pr->points);
	json_decref(pr->made);
	free(pr);
}

static void provide_end(void *user)
{
	struct provide *pr = user;

	pr->done(pr->user, pr->e.kind == ERR_NONE ? NULL : &pr->e);
	provide_free(pr);
}

static void provide_undone(void *user, const struct err *e)
{
	(void)e;	/* gone or not: they are tentative */
	provide_end(user);
}

static void provide_fail(struct provide *pr, const struct err *e)
{
	json_t *v;
	size_t i;

	if (e)
		pr->e = *e;
	/* mounts_drop() asks who uses them: this container does not any more. */
	json_array_foreach(doc_mounts(pr->c), i, v)
		doc_set(v, "Name", json_string(""));
	mounts_drop(pr->c->en, pr->made, provide_undone, pr);
}

static void fill_next(struct provide *pr);

static void filled(void *user, const struct err *e)
{
	struct provide *pr = user;

	if (e) {
		provide_fail(pr, e);
		return;
	}
	pr->at++;
	fill_next(pr);
}

static void fill_next(struct provide *pr)
{
	for (; pr->at < pr->n; pr->at++) {
		if (pr->dirs[pr->at] >= 0) {
			volume_fill(pr->c->en->volumes, json_str(json_array_get(doc_mounts(pr->c), pr->at), "Name", ""), pr->c->id, pr->dirs[pr->at], filled, pr);
			return;
		}
	}
	provide_end(pr);
}

static bool wants_fill(const json_t *p)
{
	return is_volume(p) && !json_flag(p, "NoCopy", false) && !*json_str(p, "Subpath", "");
}

static void look_run(struct work *w)
{
	struct provide *pr = CONTAINER_OF(w, struct provide, work);
	int root CLEANUP(fd_closep) = -1;
	json_t *p;
	size_t i;

	if (mounts_check_binds(pr->points, false, 0, 0, &pr->e) < 0)
		return;
	json_array_foreach(pr->points, i, p) {
		const char *dst = json_str(p, "Destination", "");
		struct stat st;
		int fd;

		if (!is_volume(p) || *json_str(p, "Subpath", ""))
			continue;
		if (root < 0 && image_view_open(pr->layers, &root, &pr->e) < 0)
			return;
		fd = file_open_in_root(root, dst, O_PATH | O_CLOEXEC, 0);
		if (fd == -ENOENT)
			continue;
		if (fd < 0 || fstat(fd, &st) < 0) {
			err_errno(&pr->e, fd < 0 ? -fd : errno, "look at %s in the image", dst);
			fd_closep(&fd);
			return;
		}
		(void)close(fd);
		if (!S_ISDIR(st.st_mode)) {
			err_set(&pr->e, ERR_INVALID, "cannot mount volume over existing file, file exists %s", dst);
			return;
		}
		fd = wants_fill(p) ? file_open_in_root(root, dst, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -1;
		if (fd < 0 && wants_fill(p)) {
			err_errno(&pr->e, -fd, "open %s in the image", dst);
			return;
		}
		pr->dirs[i] = fd;
	}
}

static void look_done(struct work *w)
{
	struct provide *pr = CONTAINER_OF(w, struct provide, work);

	if (pr->e.kind != ERR_NONE) {
		provide_fail(pr, NULL);
		return;
	}
	pr->at = 0;
	fill_next(pr);
}

static void look(struct provide *pr)
{
	struct image *im = image_find(pr->c->en->images, json_str(pr->c->doc, "Image", ""), &pr->e);

	if (!im) {
		provide_fail(pr, NULL);
		return;
	}
	pr->layers = image_layers(pr->c->en->images, im);
	pr->points = json_deep_copy(doc_mounts(pr->c));
	pr->work.run = look_run;
	pr->work.done = look_done;
	work_start(pr->c->en->pool, &pr->work);
}

static void make_next(struct provide *pr);

static void made(void *user, const json_t *v, bool created, const struct err *e)
{
	struct provide *pr = user;
	json_t *p = json_array_get(doc_mounts(pr->c), pr->at);

	if (e) {
		provide_fail(pr, e);
		return;
	}
	doc_set(p, "Name", json_string(json_str(v, "Name", "")));
	doc_set(p, "Source", json_string(json_str(v, "Mountpoint", "")));
	doc_set(p, "Driver", json_string(json_str(v, "Driver", "local")));
	if (created)
		json_array_append_new(pr->made, json_string(json_str(v, "Name", "")));
	pr->at++;
	make_next(pr);
}

static void make_next(struct provide *pr)
{
	for (; pr->at < pr->n; pr->at++) {
		json_t *p = json_array_get(doc_mounts(pr->c), pr->at);

		if (is_volume(p)) {
			struct volume_spec s = { .name = json_str(p, "Name", ""), .driver = json_str(p, "Driver", ""), .options = json_obj(p, "DriverOpts"),
						 .labels = json_obj(p, "Labels"), .owner = pr->c->id };

			volume_create(pr->c->en->volumes, &s, made, pr);
			return;
		}
	}
	look(pr);
}

void mounts_provide(struct container *c, engine_done *done, void *user)
{
	struct provide *pr = mem_zalloc(sizeof(*pr));
	json_t *p;
	size_t i, work = 0;

	*pr = (struct provide){ .c = c, .n = json_array_size(doc_mounts(c)), .made = json_array(), .done = done, .user = user };
	pr->dirs = mem_zalloc((pr->n + 1) * sizeof(*pr->dirs));
	json_array_foreach(doc_mounts(c), i, p) {
		pr->dirs[i] = -1;
		work += strcmp(json_str(p, "Type", ""), "tmpfs") != 0;
	}
	if (work)
		make_next(pr);
	else
		loop_defer(c->en->l, provide_end, pr);
}

int mounts_check_binds(const json_t *points, bool make, unsigned uid, unsigned gid, struct err *e)
{
	const json_t *p;
	size_t i;

	json_array_foreach(points, i, p) {
		const char *src = json_str(p, "Source", "");
		struct stat st;
		int r;

		if (!str_eq(json_str(p, "Type", ""), "bind") || stat(src, &st) == 0)
			continue;
		if (!json_flag(p, "CreateSource", false))
			return err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": bind source path does not exist: %s", src);
		if (!make)
			continue;
		r = file_mkdir_p(src, 0755);
		if (r == 0 && (uid || gid) && chown(src, uid, gid) < 0)
			r = -errno;
		if (r < 0)
			return err_errno(e, -r, "error while creating mount source path '%s'", src);
	}
	return 0;
}

/* Who uses what */

json_t *mounts_users(void *user, const char *volume)
{
	struct engine *en = user;
	json_t *list = json_array(), *p;
	struct container *c;
	size_t it = 0, i;

	while ((c = map_next(en->by_id, &it, NULL))) {
		json_array_foreach(doc_mounts(c), i, p) {
			if (is_volume(p) && str_eq(json_str(p, "Name", ""), volume)) {
				json_array_append_new(list, json_string(c->id));
				break;
			}
		}
	}
	return list;
}

json_t *mounts_anonymous(const struct container *c)
{
	json_t *names = json_array(), *p;
	size_t i;

	json_array_foreach(doc_mounts(c), i, p) {
		if (is_volume(p) && json_flag(p, "Anonymous", false) && *json_str(p, "Name", ""))
			json_array_append(names, json_object_get(p, "Name"));
	}
	return names;
}

void mounts_keep(struct container *c, struct store_tx *tx)
{
	json_t *p;
	size_t i;

	json_array_foreach(doc_mounts(c), i, p) {
		if (is_volume(p))
			volume_keep(c->en->volumes, json_str(p, "Name", ""), tx);
	}
}

void mounts_give_up(struct container *c, struct store_tx *tx)
{
	json_t *names = mounts_anonymous(c), *v;
	size_t i;

	json_array_foreach(names, i, v) {
		json_t *users = mounts_users(c->en, json_string_value(v));

		if (json_array_size(users) == 1)
			volume_give_up(c->en->volumes, json_string_value(v), c->id, tx);
		json_decref(users);
	}
	json_decref(names);
}

struct drop {
	struct engine *en;
	json_t *names;
	size_t at;
	engine_done *done;
	void *user;
};

static void drop_next(void *user);

static void dropped(void *user, const struct err *e)
{
	struct drop *d = user;

	if (e)		/* somebody else uses it: it is theirs now */
		log_debug("engine", "volume %s stays: %s", json_at(d->names, d->at - 1), e->msg);
	drop_next(d);
}

static void drop_next(void *user)
{
	struct drop *d = user;
	const char *name = json_at(d->names, d->at);

	if (!name) {
		d->done(d->user, NULL);
		json_decref(d->names);
		free(d);
		return;
	}
	d->at++;
	volume_remove(d->en->volumes, name, true, dropped, d);
}

void mounts_drop(struct engine *en, json_t *names, engine_done *done, void *user)
{
	struct drop *d = mem_zalloc(sizeof(*d));

	*d = (struct drop){ .en = en, .names = json_incref(names), .done = done, .user = user };
	loop_defer(en->l, drop_next, d);
}

/* While it runs */

struct acquire {
	struct container *c;
	size_t at;
	engine_done *done;
	void *user;
	struct err e;
};

static void tell(struct container *c, const json_t *p, bool mounted)
{
	json_t *attrs = json_pack("{s:s, s:s}", "container", c->id, "driver", json_str(p, "Driver", "local"));

	if (mounted) {
		doc_set(attrs, "destination", json_string(json_str(p, "Destination", "")));
		doc_set(attrs, "propagation", json_string(json_str(p, "Propagation", "")));
		doc_set(attrs, "read/write", json_string(json_flag(p, "RW", true) ? "true" : "false"));
	}
	engine_event_post(c->en, "volume", mounted ? "mount" : "unmount", json_str(p, "Name", ""), attrs);
}

static void acquire_end(void *user)
{
	struct acquire *a = user;

	a->done(a->user, a->e.kind == ERR_NONE ? NULL : &a->e);
	free(a);
}

static void acquire_next(struct acquire *a);

static void acquired(void *user, const struct err *e)
{
	struct acquire *a = user;

	if (e) {
		a->e = *e;
		acquire_end(a);
		return;
	}
	a->c->volumes_held = ++a->at;
	tell(a->c, json_array_get(doc_mounts(a->c), a->at - 1), true);
	acquire_next(a);
}

static void acquire_next(struct acquire *a)
{
	const json_t *p;

	for (; (p = json_array_get(doc_mounts(a->c), a->at)); a->at++) {
		if (is_volume(p)) {
			volume_acquire(a->c->en->volumes, json_str(p, "Name", ""), acquired, a);
			return;
		}
	}
	a->c->volumes_held = a->at;
	acquire_end(a);
}

void mounts_acquire(struct container *c, engine_done *done, void *user)
{
	struct acquire *a = mem_zalloc(sizeof(*a));

	*a = (struct acquire){ .c = c, .done = done, .user = user };
	acquire_next(a);
}

void mounts_release(struct container *c)
{
	const json_t *p;
	size_t i;

	json_array_foreach(doc_mounts(c), i, p) {
		if (i < c->volumes_held && is_volume(p)) {
			volume_release(c->en->volumes, json_str(p, "Name", ""));
			tell(c, p, false);
		}
	}
	c->volumes_held = 0;
}

void mounts_adopt(struct container *c)
{
	const json_t *p;
	size_t i;

	json_array_foreach(doc_mounts(c), i, p) {
		if (is_volume(p))
			volume_adopt(c->en->volumes, json_str(p, "Name", ""));
	}
	c->volumes_held = i;
}
