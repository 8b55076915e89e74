/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/*
 * Theory of operation
 *
 *   <root>/layers/<chain>/fs   a layer's tree, complete and on disk from the moment the name exists
 *   <root>/layers/<chain>/tar  with it, the layer's archive byte for byte (see split.c)
 *   <root>/l/<20 digits>       symbolic link to ../layers/<chain>/fs: overlay's option string is one page
 *   <root>/tmp/                everything unfinished and everything dropped; what lies there at start is removed
 *
 * A layer comes by: unpack below tmp, syncfs, rename, fsync of the folder; only then the store learns of an image that needs it. It goes
 * by: commit of the image's removal, rename into tmp, removal by a worker. A kill between any two steps leaves a layer without an image
 * at most, which layers_sweep() finds.
 *
 * Loads run on worker threads and may want a layer that the loop is about to drop. So the table of layers is under a lock, a load claims
 * a layer before it relies on it, and a layer without references and claims is renamed away under the same lock.
 */
struct trash {
	struct work work;
	int dir;
	char **names;
};

static const char *hex_of(const char *chain)
{
	return chain + strlen("sha256:");
}

void layer_link_name(const char *chain, char *out)
{
	snprintf(out, 24, "%.20s", hex_of(chain));
}

static void trash_run(struct work *w)
{
	struct trash *t = CONTAINER_OF(w, struct trash, work);

	for (char **n = t->names; *n; n++) {
		int rc = file_rm_rf_at(t->dir, *n);

		if (rc < 0)
			log_warn("image", "removing what is left in tmp/%s: %s, it is tried again at the next start", *n, strerror(-rc));
	}
}

static void trash_done(struct work *w)
{
	struct trash *t = CONTAINER_OF(w, struct trash, work);

	(void)close(t->dir);
	strv_free(t->names);
	free(t);
}

/* Removes names in tmp on a worker; at shutdown they wait for the next start. Loop thread. */
static void trash_take(struct images *im, char **names)
{
	struct trash *t;
	int dir = -1;

	if (!names)
		return;
	if (!im->closing)
		dir = fcntl(im->tmp_fd, F_DUPFD_CLOEXEC, 3);
	if (dir < 0) {
		strv_free(names);
		return;
	}
	t = mem_zalloc(sizeof(*t));
	t->work.run = trash_run;
	t->work.done = trash_done;
	t->dir = dir;
	t->names = names;
	work_start(im->pool, &t->work);
}

static int open_dir(struct images *im, const char *name, int *fd, struct err *e)
{
	if (mkdirat(im->root_fd, name, 0700) < 0 && errno != EEXIST)
		return err_errno(e, errno, "create %s/%s", im->root, name);
	*fd = openat(im->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? err_errno(e, errno, "open %s/%s", im->root, name) : 0;
}

int layers_open(struct images *im, struct err *e)
{
	int rc = file_mkdir_p(im->root, 0700);

	if (rc < 0)
		return err_errno(e, -rc, "create %s", im->root);
	im->root_fd = open(im->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->root_fd < 0)
		return err_errno(e, errno, "open %s", im->root);
	/* Setuid programs of images are nothing for the users of this machine. */
	if (fchmod(im->root_fd, 0700) < 0)
		return err_errno(e, errno, "chmod %s", im->root);
	if (open_dir(im, "layers", &im->layers_fd, e) < 0 || open_dir(im, "l", &im->links_fd, e) < 0)
		return -1;
	return open_dir(im, "tmp", &im->tmp_fd, e);
}

void layers_close(struct images *im)
{
	struct layer *l;
	const char *key;
	size_t it = 0;

	while (im->layers && (l = map_next(im->layers, &it, &key)))
		free(l);
	map_free(im->layers);
	im->layers = NULL;
	fd_closep(&im->tmp_fd);
	fd_closep(&im->links_fd);
	fd_closep(&im->layers_fd);
	fd_closep(&im->root_fd);
}

static struct layer *layer_add(struct images *im, const char *chain, uint64_t bytes)
{
	struct layer *l = mem_zalloc(sizeof(*l));

	snprintf(l->chain, sizeof(l->chain), "%s", chain);
	l->bytes = bytes;
	map_put(im->layers, chain, l);
	return l;
}

/* The short link; one that stands for another layer (80 equal bits: someone's work) is refused. */
static int layer_link(struct images *im, const char *chain, struct err *e)
{
	char name[24], target[128], now[128];
	ssize_t n;

	layer_link_name(chain, name);
	snprintf(target, sizeof(target), "../layers/%s/fs", hex_of(chain));
	if (symlinkat(target, im->links_fd, name) == 0)
		return 0;
	if (errno != EEXIST)
		return err_errno(e, errno, "create %s/l/%s", im->root, name);
	n = readlinkat(im->links_fd, name, now, sizeof(now) - 1);
	now[n > 0 ? n : 0] = '\0';
	if (!str_eq(now, target))
		return err_set(e, ERR_CONFLICT, "the layer %s begins like another one that is there", chain);
	return 0;
}

static bool layer_on_disk(struct images *im, const char *chain)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/fs", hex_of(chain));
	return fstatat(im->layers_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int layers_adopt(struct images *im, const struct image *i, struct err *e)
{
	for (size_t k = 0; k < i->nlayers; k++) {
		if (!layer_on_disk(im, i->chains[k]))
			return err_set(e, ERR_INTERNAL, "its layer %s is missing below %s/layers", i->chains[k], im->root);
		if (layer_link(im, i->chains[k], e) < 0)
			return -1;
	}
	for (size_t k = 0; k < i->nlayers; k++) {
		struct layer *l = map_get(im->layers, i->chains[k]);

		if (!l)
			l = layer_add(im, i->chains[k], i->bytes[k]);
		l->refs++;
	}
	return 0;
}

/* Renames a layer's folder into tmp; the name there, or NULL. */
static char *layer_away(struct images *im, const char *hex)
{
	char *name = mem_printf("gone-%.16s-%08x", hex, rand_u32());

	if (renameat(im->layers_fd, hex, im->tmp_fd, name) < 0) {
		log_warn("image", "dropping the layer %s: %s, it is tried again at the next start", hex, strerror(errno));
		free(name);
		return NULL;
	}
	return name;
}

static void each_name(int dirfd, void (*fn)(struct images *im, const char *name, char ***list), struct images *im, char ***list)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		fd_closep(&fd);
		return;
	}
	while ((de = readdir(d)))
		if (!str_eq(de->d_name, ".") && !str_eq(de->d_name, ".."))
			fn(im, de->d_name, list);
	closedir(d);
}

static void list_name(struct images *im, const char *name, char ***list)
{
	(void)im;
	*list = strv_add(*list, name);
}

void layers_sweep(struct images *im)
{
	char **names = NULL, **links = NULL, **gone = NULL;
	struct layer *l;
	const char *key;
	size_t it = 0;

	each_name(im->layers_fd, list_name, im, &names);
	each_name(im->links_fd, list_name, im, &links);
	for (char **n = names; n && *n; n++) {
		CLEANUP(mem_freep) char *chain = mem_printf("sha256:%s", *n), *name = NULL;

		if (map_get(im->layers, chain))
			continue;
		log_info("image", "layer %.12s belongs to no image: removing it", *n);
		name = layer_away(im, *n);
	}
	for (char **n = links; n && *n; n++) {
		bool known = false;

		it = 0;
		while (!known && (l = map_next(im->layers, &it, &key)))
			known = strlen(*n) == 20 && str_starts(hex_of(l->chain), *n);
		if (!known)
			(void)unlinkat(im->links_fd, *n, 0);
	}
	strv_free(names);
	strv_free(links);
	each_name(im->tmp_fd, list_name, im, &gone);
	trash_take(im, gone);
}

bool layer_claim(struct images *im, const char *chain, uint64_t *bytes)
{
	struct layer *l;

	pthread_mutex_lock(&im->lock);
	l = map_get(im->layers, chain);
	if (l) {
		l->claims++;
		*bytes = l->bytes;
	}
	pthread_mutex_unlock(&im->lock);
	return l;
}

int layer_publish(struct images *im, const char *chain, uint64_t bytes, const char *name, struct err *e)
{
	struct layer *l;
	int rc = FAULT("image.publish");

	if (rc < 0)
		return err_errno(e, -rc, "store the layer %s", chain);
	pthread_mutex_lock(&im->lock);
	l = map_get(im->layers, chain);
	if (!l) {
		/* A folder without an entry in the table: an earlier drop whose rename failed. Nobody uses it. */
		if (layer_on_disk(im, chain))
			free(layer_away(im, hex_of(chain)));
		if (renameat(im->tmp_fd, name, im->layers_fd, hex_of(chain)) < 0)
			rc = err_errno(e, errno, "store the layer %s", chain);
		else if (layer_link(im, chain, e) < 0 || (rc = FAULT("image.linked")) < 0) {
			free(layer_away(im, hex_of(chain)));
			rc = -1;
		} else {
			l = layer_add(im, chain, bytes);
		}
	}
	if (l)
		l->claims++;
	pthread_mutex_unlock(&im->lock);
	return rc;
}

/* With the lock: forgets a layer that nobody needs. Its name in tmp, or NULL. */
static char *layer_drop(struct images *im, struct layer *l)
{
	char link[24], *name;

	if (l->refs || l->claims)
		return NULL;
	(void)FAULT("image.drop");	/* cannot fail, but can be the last that we did */
	layer_link_name(l->chain, link);
	(void)unlinkat(im->links_fd, link, 0);
	name = layer_away(im, hex_of(l->chain));
	(void)FAULT("image.dropped");
	map_del(im->layers, l->chain);
	free(l);
	return name;
}

void layer_unclaim(struct images *im, const char *chain)
{
	char *name = NULL, **names = NULL;
	struct layer *l;

	pthread_mutex_lock(&im->lock);
	l = map_get(im->layers, chain);
	if (l) {
		l->claims--;
		name = layer_drop(im, l);
	}
	pthread_mutex_unlock(&im->lock);
	if (name)
		names = strv_add(NULL, name);
	free(name);
	trash_take(im, names);
}

void layers_ref(struct images *im, const struct image *i)
{
	pthread_mutex_lock(&im->lock);
	for (size_t k = 0; k < i->nlayers; k++)
		((struct layer *)map_get(im->layers, i->chains[k]))->refs++;
	pthread_mutex_unlock(&im->lock);
}

void layers_unref(struct images *im, const struct image *i, char ***dropped)
{
	char **names = NULL;

	pthread_mutex_lock(&im->lock);
	for (size_t k = i->nlayers; k-- > 0;) {
		struct layer *l = map_get(im->layers, i->chains[k]);
		bool last = l->refs == 1 && !l->claims;
		char *name;

		l->refs--;
		if (last && dropped)
			*dropped = strv_add(*dropped, i->chains[k]);
		name = layer_drop(im, l);
		if (name)
			names = strv_add(names, name);
		free(name);
	}
	pthread_mutex_unlock(&im->lock);
	trash_take(im, names);
}

int layer_open(struct images *im, const char *chain, struct err *e)
{
	int fd = openat(im->layers_fd, hex_of(chain), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_errno(e, errno, "open the layer %s", chain) : fd;
}

uint64_t image_own_bytes(struct images *im, const struct image *i)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&im->lock);
	for (size_t k = 0; k < i->nlayers; k++) {
		const struct layer *l = map_get(im->layers, i->chains[k]);

		if (l && l->refs == 1)
			sum += l->bytes;
	}
	pthread_mutex_unlock(&im->lock);
	return sum;
}

int layers_sync_tmp(struct images *im, struct err *e)
{
	int rc = FAULT("image.sync");

	/* One call for all files of all layers, instead of one fsync for each. */
	if (rc == 0 && syncfs(im->tmp_fd) < 0)
		rc = -errno;
	return rc < 0 ? err_errno(e, -rc, "write the layers below %s to disk", im->root) : 0;
}

int layers_sync_names(struct images *im, struct err *e)
{
	int rc = FAULT("image.sync_names");

	if (rc == 0 && (fsync(im->layers_fd) < 0 || fsync(im->links_fd) < 0))
		rc = -errno;
	return rc < 0 ? err_errno(e, -rc, "write the layers below %s to disk", im->root) : 0;
}
