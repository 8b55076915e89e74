/* SPDX-License-Identifier: Apache-2.0 */
#include "image/adding.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

void adding_init(struct adding *a, struct images *im)
{
	memset(a, 0, sizeof(*a));
	a->im = im;
	pthread_mutex_init(&a->lock, NULL);
}

void adding_done(struct adding *a)
{
	for (char **p = a->claims; p && *p; p++)
		layer_unclaim(a->im, *p);
	strv_free(a->claims);
	for (size_t k = 0; k < a->nbuilt; k++) {
		image_free(a->built[k].image);
		strv_free(a->built[k].names);
	}
	free(a->built);
	free(a->fresh);
	pthread_mutex_destroy(&a->lock);
}

int adding_begin(struct adding *a, struct err *e)
{
	snprintf(a->dir, sizeof(a->dir), "load-%08x%08x", rand_u32(), rand_u32());
	if (mkdirat(a->im->tmp_fd, a->dir, 0700) < 0)
		return err_errno(e, errno, "create %s/tmp/%s", a->im->root, a->dir);
	return 0;
}

void adding_end(struct adding *a)
{
	int rc = *a->dir ? file_rm_rf_at(a->im->tmp_fd, a->dir) : 0;

	if (rc < 0)
		log_warn("image", "removing tmp/%s: %s, it is tried again at the next start", a->dir, strerror(-rc));
}

int adding_layer_dir(struct adding *a, char *sub, size_t size, int *keep, int *fs, struct err *e)
{
	CLEANUP(fd_closep) int k = -1, f = -1;
	int rc = FAULT("image.layer");
	size_t n;

	pthread_mutex_lock(&a->lock);
	n = a->nlayers++;
	pthread_mutex_unlock(&a->lock);
	snprintf(sub, size, "%s/l%zu", a->dir, n);
	if (rc == 0 && mkdirat(a->im->tmp_fd, sub, 0700) == 0)
		k = openat(a->im->tmp_fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (k >= 0 && mkdirat(k, "fs", 0755) == 0)
		f = openat(k, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* The umask must not decide. */
	if (f < 0 || fchmod(f, 0755) < 0)
		return err_errno(e, rc < 0 ? -rc : errno, "create a folder for a layer below %s", a->im->root);
	*keep = TAKE_FD(k);
	*fs = TAKE_FD(f);
	return 0;
}

static const struct fresh *fresh_find(const struct adding *a, const char *chain)
{
	for (size_t k = 0; k < a->nfresh; k++)
		if (str_eq(a->fresh[k].chain, chain))
			return &a->fresh[k];
	return NULL;
}

bool adding_has_layer(struct adding *a, const char *chain, uint64_t *bytes)
{
	const struct fresh *f;
	bool has = true;

	pthread_mutex_lock(&a->lock);
	f = fresh_find(a, chain);
	if (f)
		*bytes = f->bytes;
	else if (layer_claim(a->im, chain, bytes))
		a->claims = strv_add(a->claims, chain);
	else
		has = false;
	pthread_mutex_unlock(&a->lock);
	return has;
}

void adding_fresh(struct adding *a, const char *chain, uint64_t bytes, const char *sub)
{
	struct fresh *f;

	pthread_mutex_lock(&a->lock);
	a->fresh = mem_realloc(a->fresh, (a->nfresh + 1) * sizeof(*a->fresh));
	f = &a->fresh[a->nfresh++];
	snprintf(f->chain, sizeof(f->chain), "%s", chain);
	snprintf(f->sub, sizeof(f->sub), "%s", sub);
	f->bytes = bytes;
	pthread_mutex_unlock(&a->lock);
}

int adding_keep(struct adding *a, bool (*stop)(void *user), void *user, struct err *e)
{
	if (!a->nfresh)
		return 0;
	if (layers_sync_tmp(a->im, e) < 0)
		return -1;
	for (size_t k = 0; k < a->nfresh; k++) {
		const struct fresh *f = &a->fresh[k];

		if (stop && stop(user))
			return err_set(e, ERR_UNAVAILABLE, "it was given up");
		if (layer_publish(a->im, f->chain, f->bytes, f->sub, e) < 0)
			return -1;
		a->claims = strv_add(a->claims, f->chain);
	}
	return layers_sync_names(a->im, e);
}

void adding_image_take(struct adding *a, struct image *i, char **names)
{
	a->built = mem_realloc(a->built, (a->nbuilt + 1) * sizeof(*a->built));
	a->built[a->nbuilt++] = (struct built){ i, names };
}

void adding_tx(struct adding *a, struct store_tx *tx)
{
	for (size_t k = 0; k < a->nbuilt; k++) {
		struct image *i = a->built[k].image, *have = images_find_id(a->im, i->id);
		char **names = a->built[k].names;
		json_t *doc;

		i->tagged = names && *names ? clock_wall() : have ? have->tagged : 0;
		/* What is known about the image already stays known. */
		if (have)
			image_merge(i, have);
		doc = image_doc(i);
		store_tx_put(tx, "image", i->id, doc);
		json_decref(doc);
		for (char **n = names; n && *n; n++)
			images_tx_ref(tx, *n, i->id);
	}
}

struct image *adding_apply(struct adding *a, size_t k, void (*named)(void *user, const char *full, const struct image *old, const struct image *now),
			   void *user)
{
	struct images *im = a->im;
	struct image *i = a->built[k].image, *have = images_find_id(im, i->id);
	char **names = a->built[k].names;

	if (!have) {
		map_put(im->by_id, i->id, i);
		layers_ref(im, i);
		a->built[k].image = NULL;
		have = i;
	} else {
		image_merge(have, i);
	}
	if (names && *names)
		have->tagged = i->tagged;
	for (char **n = names; n && *n; n++) {
		struct image *old = map_get(im->refs, *n);

		images_apply_ref(im, *n, have);
		if (named)
			named(user, *n, old == have ? NULL : old, have);
	}
	return have;
}
