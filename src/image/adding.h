/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_ADDING_H
#define KEDGE_IMAGE_ADDING_H

#include <pthread.h>

#include "image/image_priv.h"

/*
 * What a load, an import, a pull or a step of a build brings: layers unpacked below tmp, images that stand on them. Nothing of it is
 * visible before one commit of the index; whatever fails before that leaves nothing behind.
 *
 * The order: adding_begin(), layers and adding_keep() on worker threads, adding_end() there too, then adding_tx() and, with the commit
 * done, adding_apply() on the loop.
 */
struct fresh {
	char chain[DIGEST_SIZE], sub[64];	/* sub: below tmp */
	uint64_t bytes;
};

struct built {
	struct image *image;	/* NULL once it is the index's */
	char **names;		/* canonical references; NULL-terminated or NULL */
};

struct adding {
	struct images *im;
	char dir[32];			/* below tmp; "" before adding_begin() */
	pthread_mutex_t lock;		/* of all below, while workers are at it */
	struct fresh *fresh;
	size_t nfresh, nlayers;
	char **claims;
	struct built *built;
	size_t nbuilt;
};

void adding_init(struct adding *a, struct images *im);
void adding_done(struct adding *a);	/* loop thread: gives claims back, frees */

/* Worker threads. */
int adding_begin(struct adding *a, struct err *e);
void adding_end(struct adding *a);
/* A folder for a layer to be: sub gets its path below tmp, *keep the folder, *fs the tree's root in it; two descriptors. */
int adding_layer_dir(struct adding *a, char *sub, size_t size, int *keep, int *fs, struct err *e);
/* Is the layer there, of this adding or as one of the store's (claimed then)? */
bool adding_has_layer(struct adding *a, const char *chain, uint64_t *bytes);
void adding_fresh(struct adding *a, const char *chain, uint64_t bytes, const char *sub);
/* All layers on disk, then visible as layers and claimed, then the names on disk. stop: asked between two layers, may be NULL. */
int adding_keep(struct adding *a, bool (*stop)(void *user), void *user, struct err *e);
/* Takes both. */
void adding_image_take(struct adding *a, struct image *i, char **names);

/* Loop thread, as the operation whose turn it is. */
void adding_tx(struct adding *a, struct store_tx *tx);
/* Puts image k into the index and returns it there. named (may be NULL) hears of each name; old: the image that had it, or NULL. */
struct image *adding_apply(struct adding *a, size_t k, void (*named)(void *user, const char *full, const struct image *old, const struct image *now),
			   void *user);

#endif
