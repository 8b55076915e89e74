/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of volumes, and how one comes to be and goes.
 *
 * Making:   directory made under a name of its own, synced, renamed into place, synced -> record committed -> acknowledged.
 * Removing: record deleted and a note "volume_trash" put, in one transaction -> acknowledged -> directory renamed to the side and
 *           removed -> note deleted.
 * Filling:  copied beside, synced, renamed over the empty directory (fill.c).
 *
 * A crash in between leaves: an empty directory without a record, which is removed at the next start by rmdir(2), which takes nothing
 * with it; a note, whose directory was meant to go; a copy beside, which was never seen. A directory with content that no record
 * knows is nobody's to delete: it is told in the log and kept. Tentative volumes (of a container whose own record did not follow) go.
 */
#include "volume/volume_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"

struct volume *volume_find(const struct volumes *vs, const char *name)
{
	return map_get(vs->by_name, name);
}

char *volume_path(const struct volumes *vs, const char *name, const char *below)
{
	return mem_printf("%s/%s%s%s", vs->root, name, below ? "/" : "", below ? below : "");
}

void volume_event(struct volumes *vs, const char *action, const struct volume *v)
{
	if (vs->on_event)
		vs->on_event(vs->event_user, action, v->name, json_str(v->doc, "Driver", "local"));
}

bool volume_has_mount(const struct volume *v)
{
	return json_object_size(json_obj(v->doc, "Options")) > 0;
}

void volume_turn_take(struct volumes *vs, struct volume *v, struct volume_turn *t)
{
	struct volume_turn **at = &v->turns;

	(void)vs;
	if (!v->busy) {
		v->busy = true;
		t->go(t);
		return;
	}
	t->next = NULL;
	while (*at)
		at = &(*at)->next;
	*at = t;
}

void volume_turn_end(struct volumes *vs, struct volume *v)
{
	struct volume_turn *t = v->turns;

	(void)vs;
	if (!t) {
		v->busy = false;
		return;
	}
	v->turns = t->next;
	t->go(t);
}

static struct volume *volume_add(struct volumes *vs, json_t *doc_take)
{
	struct volume *v = mem_zalloc(sizeof(*v));

	v->doc = doc_take;
	v->name = mem_strdup(json_str(doc_take, "Name", ""));
	map_put(vs->by_name, v->name, v);
	return v;
}

static void volume_free(struct volume *v)
{
	json_decref(v->doc);
	free(v->name);
	free(v);
}

/* Whoever waits for a turn gets it now and does not find the volume any more. */
static void volume_drop(struct volumes *vs, struct volume *v)
{
	struct volume_turn *t = TAKE(v->turns), *next;

	map_del(vs->by_name, v->name);
	volume_free(v);
	for (; t; t = next) {
		next = t->next;
		t->go(t);
	}
}

json_t *volume_users(const struct volumes *vs, const char *name)
{
	return vs->users ? vs->users(vs->users_user, name) : json_array();
}

void volumes_on_event(struct volumes *vs, void (*cb)(void *user, const char *action, const char *name, const char *driver), void *user)
{
	vs->on_event = cb;
	vs->event_user = user;
}

void volumes_set_users(struct volumes *vs, json_t *(*cb)(void *user, const char *name), void *user)
{
	vs->users = cb;
	vs->users_user = user;
}

void volumes_set_owner(struct volumes *vs, unsigned uid, unsigned gid)
{
	vs->uid = uid;
	vs->gid = gid;
}

size_t volumes_count(const struct volumes *vs)
{
	return map_len(vs->by_name);
}

/* Start */

static int load_one(const char *name, json_t *doc, void *user)
{
	struct volumes *vs = user;
	struct volume_spec s = { .name = name };

	if (volume_check(&s, NULL) < 0 || !str_eq(json_str(doc, "Name", ""), name)) {
		log_warn("volume", "the store holds a volume with the impossible name '%s': left alone", name);
		return 0;
	}
	volume_add(vs, json_incref(doc))->ready = true;
	return 0;
}

static int load_trash(const char *name, json_t *doc, void *user)
{
	(void)doc;
	*(char ***)user = strv_add(*(char ***)user, name);
	return 0;
}

static void forget_trash(struct volumes *vs, const char *name)
{
	struct store_tx *tx = store_tx_new(vs->store);

	store_tx_del(tx, "volume_trash", name);
	store_tx_commit_take(tx, NULL, NULL);
}

/* The directory to the side, so that its name is free; then away with it. Blocking. */
static int trash_dir(const struct volumes *vs, const char *name, char **side)
{
	char tail[ID_LEN + 1], *data CLEANUP(mem_freep) = volume_path(vs, name, "_data");
	int root CLEANUP(fd_closep) = open(vs->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*side = NULL;
	if (root < 0)
		return -errno;
	if (local_is_mounted(data) && local_umount(data, NULL) < 0)
		return -EBUSY;
	id_new(tail);
	*side = mem_printf(".trash-%.16s", tail);
	if (renameat(root, name, root, *side) < 0) {
		free(TAKE(*side));
		return errno == ENOENT ? 0 : -errno;
	}
	return fsync(root) < 0 ? -errno : 0;
}

static void clean_directory(struct volumes *vs)
{
	DIR *d = opendir(vs->root);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		char *data CLEANUP(mem_freep) = mem_printf("%s/_data", de->d_name), *copy CLEANUP(mem_freep) = mem_printf("%s/_fill", de->d_name);
		int r;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (de->d_name[0] == '.') {	/* ours: .trash-*, .new-* */
			r = file_rm_rf_at(dirfd(d), de->d_name);
			if (r < 0)
				log_warn("volume", "cannot remove %s/%s: %s", vs->root, de->d_name, strerror(-r));
			continue;
		}
		r = file_rm_rf_at(dirfd(d), copy);	/* never seen by anybody */
		if (r < 0)
			log_warn("volume", "cannot remove %s/%s: %s", vs->root, copy, strerror(-r));
		if (volume_find(vs, de->d_name))
			continue;
		(void)unlinkat(dirfd(d), data, AT_REMOVEDIR);
		if (unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR) < 0)
			log_warn("volume", "%s/%s belongs to no volume: left alone", vs->root, de->d_name);
	}
	if (d)
		closedir(d);
}

static void drop_tentative(struct volumes *vs)
{
	struct store_tx *tx = NULL;
	struct volume *v;
	size_t it = 0;

	while ((v = map_next(vs->by_name, &it, NULL))) {
		char *side CLEANUP(mem_freep) = NULL, *whole CLEANUP(mem_freep) = NULL;

		if (!json_object_get(v->doc, "Owner"))
			continue;
		if (trash_dir(vs, v->name, &side) < 0)
			continue;	/* next time */
		whole = side ? volume_path(vs, side, NULL) : NULL;
		if (whole)
			(void)file_rm_rf_at(AT_FDCWD, whole);	/* what stays goes with clean_directory() */
		if (!tx)
			tx = store_tx_new(vs->store);
		store_tx_del(tx, "volume", v->name);
		volume_drop(vs, v);
	}
	if (tx)
		store_tx_commit_take(tx, NULL, NULL);
}

struct volumes *volumes_new(struct loop *l, struct work_pool *p, struct store *st, const char *root, struct err *e)
{
	struct volumes *vs = mem_zalloc(sizeof(*vs));
	char **trash CLEANUP(strv_freep) = NULL;
	int r;

	*vs = (struct volumes){ .l = l, .pool = p, .store = st, .root = mem_strdup(root), .by_name = map_new() };
	r = file_mkdir_p(root, 0701);
	if (r < 0) {
		err_errno(e, -r, "create %s", root);
		goto fail;
	}
	if (store_each(st, "volume", load_one, vs, e) < 0 || store_each(st, "volume_trash", load_trash, &trash, e) < 0)
		goto fail;
	for (size_t i = 0; trash && trash[i]; i++) {
		char *side CLEANUP(mem_freep) = NULL;

		/* The name may have been given again since: its note went with that. */
		r = volume_find(vs, trash[i]) ? 0 : trash_dir(vs, trash[i], &side);
		if (r < 0)
			log_warn("volume", "cannot remove %s/%s: %s", root, trash[i], strerror(-r));
		else
			forget_trash(vs, trash[i]);
	}
	drop_tentative(vs);
	clean_directory(vs);
	return vs;
fail:
	volumes_free(vs);
	return NULL;
}

void volumes_free(struct volumes *vs)
{
	struct volume *v;
	size_t it = 0;

	if (!vs)
		return;
	while ((v = map_next(vs->by_name, &it, NULL)))
		volume_free(v);
	map_free(vs->by_name);
	free(vs->root);
	free(vs);
}

/* Making */

int volume_check(const struct volume_spec *s, struct err *e)
{
	const char *key;
	json_t *v;

	if (!str_empty(s->driver) && strcmp(s->driver, "local"))
		return err_set(e, ERR_NOT_FOUND, "error looking up volume plugin %.200s: plugin \"%.200s\" not found", s->driver, s->driver);
	if (!str_empty(s->name)) {
		if (strlen(s->name) == 1)
			return err_set(e, ERR_INVALID, "create %s: volume name is too short, names should be at least two alphanumeric characters", s->name);
		if (!id_name_valid(s->name) || strlen(s->name) > 255)
			return err_set(e, ERR_INVALID, "create %.255s: \"%.255s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are "
				       "allowed. If you intended to pass a host directory, use absolute path", s->name, s->name);
	}
	json_object_foreach((json_t *)s->labels, key, v) {
		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "create %.255s: the value of label \"%s\" is not a string", s->name ? s->name : "", key);
	}
	if (local_check(s->options, e) < 0)
		return str_empty(s->name) ? -1 : err_wrap(e, "create %.255s", s->name);
	return 0;
}

struct making {
	struct work work;
	struct volume_turn turn;
	struct volumes *vs;
	struct volume *v;
	char *name;
	bool created, removed;
	void (*done)(void *user, const json_t *v, bool created, const struct err *e);
	void *user;
	struct err e;
};

static void make_end(void *user)
{
	struct making *m = user;
	struct volume *v = volume_find(m->vs, m->name);
	json_t *shape = m->e.kind == ERR_NONE && v ? volume_shape(m->vs, v) : NULL;

	if (!shape && m->e.kind == ERR_NONE)
		err_set(&m->e, ERR_CONFLICT, "volume %s was removed while it was made", m->name);
	if (m->created && shape)
		volume_event(m->vs, "create", v);
	m->done(m->user, shape, m->created, shape ? NULL : &m->e);
	json_decref(shape);
	free(m->name);
	free(m);
}

static void make_committed(void *user, const struct err *e)
{
	struct making *m = user;

	(void)FAULT("volume.created");
	if (e) {
		m->e = *e;
		volume_drop(m->vs, m->v);	/* its directory is empty: the next start removes it */
	} else {
		m->v->ready = true;
		volume_turn_end(m->vs, m->v);
	}
	make_end(m);
}

static int make_dir(const struct volumes *vs, const char *name, struct err *e)
{
	char tail[ID_LEN + 1], *tmp CLEANUP(mem_freep) = NULL, *data CLEANUP(mem_freep) = NULL, *kept CLEANUP(mem_freep) = mem_printf("%s/_data", name);
	int root CLEANUP(fd_closep) = open(vs->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir CLEANUP(fd_closep) = -1;
	struct stat st;

	if (root < 0)
		return err_errno(e, errno, "open %s", vs->root);
	/* What a lost record left behind is found again under its name: data is never thrown away unasked. */
	if (fstatat(root, kept, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return 0;
	id_new(tail);
	tmp = mem_printf(".new-%.16s", tail);
	data = mem_printf("%s/_data", tmp);
	if (mkdirat(root, tmp, 0701) < 0 || mkdirat(root, data, 0755) < 0 || fchownat(root, data, vs->uid, vs->gid, 0) < 0 ||
	    fchownat(root, tmp, 0, vs->gid, 0) < 0)
		goto fail;
	dir = openat(root, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		goto fail;
	(void)FAULT("volume.dir");
	if (renameat2(root, tmp, root, name, RENAME_NOREPLACE) < 0 || fsync(root) < 0)
		goto fail;
	return 0;
fail:
	err_errno(e, errno, "make the directory of volume %s", name);
	(void)file_rm_rf_at(root, tmp);
	return -1;
}

static void make_run(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, work);

	(void)make_dir(m->vs, m->name, &m->e);
}

static void make_made(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, work);
	struct store_tx *tx;

	if (m->e.kind != ERR_NONE) {
		volume_drop(m->vs, m->v);
		make_end(m);
		return;
	}
	(void)FAULT("volume.create");
	tx = store_tx_new(m->vs->store);
	store_tx_put(tx, "volume", m->name, m->v->doc);
	store_tx_del(tx, "volume_trash", m->name);
	store_tx_commit_take(tx, make_committed, m);
}

/* Somebody else made it, or failed to. */
static void make_turn(struct volume_turn *t)
{
	struct making *m = CONTAINER_OF(t, struct making, turn);
	struct volume *v = volume_find(m->vs, m->name);

	if (v)
		volume_turn_end(m->vs, v);
	loop_defer(m->vs->l, make_end, m);
}

static json_t *strings_of(const json_t *o)
{
	return json_object_size(o) ? json_deep_copy(o) : json_null();
}

void volume_create(struct volumes *vs, const struct volume_spec *s,
		   void (*done)(void *user, const json_t *v, bool created, const struct err *e), void *user)
{
	struct making *m = mem_zalloc(sizeof(*m));
	bool anonymous = str_empty(s->name);
	char id[ID_LEN + 1], now[40];
	struct volume *v;
	json_t *labels;

	*m = (struct making){ .vs = vs, .done = done, .user = user };
	id_new(id);
	m->name = mem_strdup(anonymous ? id : s->name);
	if (volume_check(s, &m->e) < 0) {
		loop_defer(vs->l, make_end, m);
		return;
	}
	v = volume_find(vs, m->name);
	if (v) {
		if (!v->ready) {
			m->turn.go = make_turn;
			volume_turn_take(vs, v, &m->turn);
			return;
		}
		if (v->removing)
			err_set(&m->e, ERR_CONFLICT, "volume %s is just being removed: try again", v->name);
		loop_defer(vs->l, make_end, m);
		return;
	}
	labels = s->labels ? json_deep_copy(s->labels) : json_null();
	if (anonymous) {
		if (!json_is_object(labels))
			labels = json_object();
		json_object_set_new(labels, VOLUME_ANONYMOUS, json_string(""));
	}
	str_time_ns(clock_wall(), now, sizeof(now));
	now[19] = 'Z';		/* whole seconds, as docker writes it */
	now[20] = '\0';
	m->created = true;
	m->v = volume_add(vs, json_pack("{s:s, s:s, s:s, s:o, s:o}", "Name", m->name, "Driver", "local", "CreatedAt", now, "Labels", labels,
					"Options", strings_of(s->options)));
	if (s->owner)
		json_object_set_new(m->v->doc, "Owner", json_string(s->owner));
	m->v->busy = true;
	m->work.run = make_run;
	m->work.done = make_made;
	work_start(vs->pool, &m->work);
}

void volume_keep(struct volumes *vs, const char *name, struct store_tx *tx)
{
	struct volume *v = volume_find(vs, name);

	if (!v || !json_object_get(v->doc, "Owner"))
		return;
	json_object_del(v->doc, "Owner");
	if (tx)
		store_tx_put(tx, "volume", name, v->doc);
}

void volume_give_up(struct volumes *vs, const char *name, const char *owner, struct store_tx *tx)
{
	struct volume *v = volume_find(vs, name);

	if (!v || !v->ready || v->removing)
		return;
	json_object_set_new(v->doc, "Owner", json_string(owner));
	store_tx_put(tx, "volume", name, v->doc);
}

/* Removing */

struct removing {
	struct work work;
	struct volumes *vs;
	struct volume *v;
	char *side;
	void (*done)(void *user, const struct err *e);
	void *user;
	struct err e;
	int moved;
};

static void remove_end(void *user)
{
	struct removing *r = user;

	r->done(r->user, r->e.kind == ERR_NONE ? NULL : &r->e);
	free(r->side);
	free(r);
}

static void trash_run(struct work *w)
{
	struct removing *r = CONTAINER_OF(w, struct removing, work);
	char *whole CLEANUP(mem_freep) = NULL;
	int n;

	r->moved = trash_dir(r->vs, r->v->name, &r->side);
	if (r->moved < 0 || !r->side)
		return;
	(void)FAULT("volume.trash");
	whole = volume_path(r->vs, r->side, NULL);
	n = file_rm_rf_at(AT_FDCWD, whole);
	if (n < 0)
		log_warn("volume", "cannot remove %s: %s", whole, strerror(-n));	/* the next start tries again */
}

static void trash_done(struct work *w)
{
	struct removing *r = CONTAINER_OF(w, struct removing, work);

	if (r->moved < 0)
		log_error("volume", "the files of volume %s stay at %s: %s", r->v->name, r->vs->root, strerror(-r->moved));
	else
		forget_trash(r->vs, r->v->name);
	volume_event(r->vs, "destroy", r->v);
	volume_drop(r->vs, r->v);
	remove_end(r);
}

static void remove_committed(void *user, const struct err *e)
{
	struct removing *r = user;

	(void)FAULT("volume.removed");
	if (e) {
		r->e = *e;
		r->v->removing = false;
		remove_end(r);
		return;
	}
	r->work.run = trash_run;
	r->work.done = trash_done;
	work_start(r->vs->pool, &r->work);
}

void volume_remove(struct volumes *vs, const char *name, bool force, void (*done)(void *user, const struct err *e), void *user)
{
	struct removing *r = mem_zalloc(sizeof(*r));
	struct volume *v = volume_find(vs, name);
	struct store_tx *tx;

	*r = (struct removing){ .vs = vs, .v = v, .done = done, .user = user };
	if (!v) {
		if (!force)
			err_set(&r->e, ERR_NOT_FOUND, "get %s: no such volume", name);
	} else if (v->removing || !v->ready || v->busy) {
		err_set(&r->e, ERR_CONFLICT, "remove %s: volume is being worked on: try again", name);
	} else {
		json_t *users = volume_users(vs, name), *u;
		struct buf b = BUF_INIT;
		size_t i;

		json_array_foreach(users, i, u)
			buf_printf(&b, "%s%s", i ? ", " : "", json_string_value(u));
		if (b.len)
			err_set(&r->e, ERR_CONFLICT, "remove %s: volume is in use - [%s]", name, b.data);
		buf_done(&b);
		json_decref(users);
	}
	if (!v || r->e.kind != ERR_NONE) {
		loop_defer(vs->l, remove_end, r);
		return;
	}
	v->removing = true;
	(void)FAULT("volume.remove");
	tx = store_tx_new(vs->store);
	store_tx_del(tx, "volume", name);
	store_tx_put(tx, "volume_trash", name, v->doc);
	store_tx_commit_take(tx, remove_committed, r);
}
