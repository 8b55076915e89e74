/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper directory of an overlay holds what has changed: a whiteout is a removal, what a layer below shows too is a change, the rest is
 * new. A folder that only holds changed things is in upper as well; it counts as changed when something was added to it or
 * removed from it, or when itself differs.
 */
#include "engine/changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/engine_priv.h"

enum { DEPTH_MAX = 1000 };
enum change { CHANGED, ADDED, DELETED };

const char *const changes_engine_made[] = { "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv", NULL };

struct level {
	DIR *d;
	size_t path_len;
	bool fresh;		/* no layer below shows through: opaque, or below something new */
	bool told;		/* this folder is in the list */
};

struct walk {
	int *layers;		/* handles, bottom first */
	size_t n_layers;
	struct level levels[DEPTH_MAX];
	size_t depth;
	char path[PATH_MAX];	/* relative, as in upper */
	json_t *list;
};

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static bool is_opaque(int fd)
{
	char self[64], v[4];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return getxattr(self, "trusted.overlay.opaque", v, sizeof(v)) == 1 && v[0] == 'y';
}

/* A folder above path within one layer hides what lower layers have there. */
static bool hidden_by(int layer, const char *path)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		int fd CLEANUP(fd_closep) = -1;
		struct stat st;

		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		fd = file_open_beneath(layer, part, O_PATH | O_NOFOLLOW, 0);
		if (fd < 0)
			return fd == -ENOTDIR;
		if (fstat(fd, &st) == 0 && (!S_ISDIR(st.st_mode) || is_opaque(fd)))
			return true;
	}
	return false;
}

static bool in_layers(const struct walk *w, const char *path, struct stat *st)
{
	for (size_t i = w->n_layers; i-- > 0;) {
		int fd CLEANUP(fd_closep) = file_open_beneath(w->layers[i], path, O_PATH | O_NOFOLLOW, 0);

		if (fd >= 0)
			return fstat(fd, st) == 0 && !is_whiteout(st);
		if (fd != -ENOENT || hidden_by(w->layers[i], path))
			return false;
	}
	return false;
}

static void tell(struct walk *w, size_t path_len, enum change kind)
{
	char *path CLEANUP(mem_freep) = mem_printf("/%.*s", (int)path_len, w->path);

	json_array_append_new(w->list, json_pack("{s:o, s:i}", "Path", json_bytes(path, strlen(path)), "Kind", kind));
}

static void tell_parent(struct walk *w)
{
	struct level *l = &w->levels[w->depth - 1];

	if (l->told || !l->path_len)
		return;
	l->told = true;
	tell(w, l->path_len, CHANGED);
}

/* The times of /etc are the engine's doing, which puts files into it. */
static bool same_folder(const char *path, const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
	       (str_eq(path, "etc") || (a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec));
}

static int push(struct walk *w, int fd_take, size_t path_len, bool fresh, bool told, struct err *e)
{
	char self[64];
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd_take);
	fd = open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(fd_take);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "read the folder '/%.300s'", w->path);
	if (w->depth == DEPTH_MAX) {
		close(fd);
		return err_set(e, ERR_INVALID, "'/%.200s...' lies more than %d folders deep", w->path, DEPTH_MAX);
	}
	w->levels[w->depth] = (struct level){ .d = fdopendir(fd), .path_len = path_len, .fresh = fresh, .told = told };
	if (!w->levels[w->depth].d) {
		close(fd);
		return err_errno(e, errno, "read the folder '/%.300s'", w->path);
	}
	w->depth++;
	return 0;
}

static int one(struct walk *w, const char *name, size_t path_len, struct err *e)
{
	struct level *l = &w->levels[w->depth - 1];
	int fd CLEANUP(fd_closep) = openat(dirfd(l->d), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st, below;
	bool fresh, told = false;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "look at '/%.300s'", w->path);
	for (const char *const *s = changes_engine_made; *s; s++) {
		if (str_eq(*s, w->path))
			return 0;
	}
	if (is_whiteout(&st)) {
		tell_parent(w);
		tell(w, path_len, DELETED);
		return 0;
	}
	fresh = l->fresh || !in_layers(w, w->path, &below);
	if (fresh) {
		tell_parent(w);
		tell(w, path_len, ADDED);
		told = true;
	} else if (!S_ISDIR(st.st_mode) || !S_ISDIR(below.st_mode) || !same_folder(w->path, &st, &below)) {
		tell(w, path_len, CHANGED);
		told = true;
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	return push(w, TAKE_FD(fd), path_len, fresh || is_opaque(fd) || !S_ISDIR(below.st_mode), told, e);
}

static int path_order(const void *a, const void *b)
{
	return strcmp(json_str(*(json_t *const *)a, "Path", ""), json_str(*(json_t *const *)b, "Path", ""));
}

static json_t *sorted(json_t *list_take)
{
	size_t n = json_array_size(list_take);
	json_t **v = mem_alloc((n + 1) * sizeof(*v)), *out = json_array();

	for (size_t i = 0; i < n; i++)
		v[i] = json_array_get(list_take, i);
	qsort(v, n, sizeof(*v), path_order);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, v[i]);
	free(v);
	json_decref(list_take);
	return out;
}

static int walk(struct walk *w, int upper_take, struct err *e)
{
	int r = push(w, upper_take, 0, false, true, e);

	while (r == 0 && w->depth) {
		struct level *l = &w->levels[w->depth - 1];
		struct dirent *de = readdir(l->d);
		size_t len;

		w->path[l->path_len] = '\0';
		if (!de) {
			closedir(l->d);
			w->depth--;
			continue;
		}
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, ".."))
			continue;
		len = l->path_len + (l->path_len > 0) + strlen(de->d_name);
		if (len >= sizeof(w->path))
			continue;	/* nobody can name it */
		snprintf(w->path + l->path_len, sizeof(w->path) - l->path_len, "%s%s", l->path_len ? "/" : "", de->d_name);
		r = one(w, de->d_name, len, e);
	}
	while (w->depth)
		closedir(w->levels[--w->depth].d);
	return r;
}

json_t *changes_find(const char *upper, char *const *layers, struct err *e)
{
	int fd = open(upper, O_PATH | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct walk *w;
	json_t *list;

	if (fd < 0)
		return errno == ENOENT ? json_array() : (err_errno(e, errno, "open %s", upper), NULL);
	w = mem_zalloc(sizeof(*w));
	w->list = json_array();
	w->layers = mem_alloc((strv_len(layers) + 1) * sizeof(*w->layers));
	for (size_t i = 0; layers[i] && r == 0; i++) {
		int layer = open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (layer < 0)
			r = err_errno(e, errno, "open the image layer %s", layers[i]);
		else
			w->layers[w->n_layers++] = layer;
	}
	if (r == 0)
		r = walk(w, TAKE_FD(fd), e);
	fd_closep(&fd);
	for (size_t i = 0; i < w->n_layers; i++)
		close(w->layers[i]);
	free(w->layers);
	list = w->list;
	free(w);
	if (r < 0) {
		json_decref(list);
		return NULL;
	}
	return sorted(list);
}

struct finding {
	struct work work;
	char *upper, **layers;
	json_t *list;
	struct err err;
	void (*done)(void *user, const json_t *list, const struct err *e);
	void *user;
};

static void find_run(struct work *w)
{
	struct finding *f = CONTAINER_OF(w, struct finding, work);

	f->list = changes_find(f->upper, f->layers, &f->err);
}

static void find_done(struct work *w)
{
	struct finding *f = CONTAINER_OF(w, struct finding, work);

	f->done(f->user, f->list, f->list ? NULL : &f->err);
	json_decref(f->list);
	free(f->upper);
	strv_free(f->layers);
	free(f);
}

static void find_failed(void *user)
{
	struct finding *f = user;

	find_done(&f->work);
}

void engine_changes(struct engine *en, const char *ref, void (*done)(void *user, const json_t *list, const struct err *e), void *user)
{
	struct finding *f = mem_zalloc(sizeof(*f));
	struct container *c = engine_find(en, ref, &f->err);
	struct image *im = c ? image_find(en->images, json_str(c->doc, "Image", ""), &f->err) : NULL;
	char *dir CLEANUP(mem_freep) = NULL;

	f->done = done;
	f->user = user;
	if (!im) {
		loop_defer(en->l, find_failed, f);
		return;
	}
	dir = container_dir(c);
	f->upper = mem_printf("%s/upper", dir);
	f->layers = image_layers(en->images, im);
	f->work = (struct work){ .run = find_run, .done = find_done };
	work_start(en->pool, &f->work);
}
