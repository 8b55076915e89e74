/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_IMAGE_PRIV_H
#define KEDGE_IMAGE_IMAGE_PRIV_H

#include <pthread.h>

#include "base/map.h"
#include "image/bundle.h"
#include "image/digest.h"
#include "image/image.h"
#include "image/ref.h"

/* A layer's stored form as a registry has it: for pushes that need not send it. */
struct image_blob {
	size_t layer;			/* number in its image */
	char digest[DIGEST_SIZE];
	uint64_t size;
	char *type;			/* media type */
	char *repo;			/* "docker.io/library/nginx" */
};

struct image {
	char id[DIGEST_SIZE];
	char *text;		/* the config document byte for byte */
	json_t *config;
	char (*chains)[DIGEST_SIZE];	/* bottom first */
	uint64_t *bytes;	/* per layer */
	size_t nlayers;
	int64_t tagged;		/* ns since 1970; 0: never */
	char parent[DIGEST_SIZE];	/* the image it was made from by a build or a commit, or "" */
	struct image_blob *blobs;
	size_t nblobs;
	bool step;		/* a build's, on the way to its end: listed with all=1 only while it has no name */
	unsigned holds;		/* image_hold(): its removal is a conflict */
	bool leaving;		/* its removal is being committed: nobody may start using it */
};

/* An extracted layer; all fields under images.lock. */
struct layer {
	char chain[DIGEST_SIZE];
	uint64_t bytes;
	unsigned refs;		/* images in the index that stand on it */
	unsigned claims;	/* loads under way that will */
};

/*
 * One change of the index after the other: an operation decides on what is there, commits, and makes the result visible once it is on
 * disk; the next one starts then. So no operation ever sees or builds on something that might not last.
 */
struct image_op {
	struct images *im;
	/* The first member of what malloc gave. Decides and commits by image_op_commit_take(), or calls image_op_end() when there is nothing to do. */
	void (*run)(struct image_op *op);
	/* After the commit: e NULL, apply and call back; else report. Then image_op_end(). */
	void (*committed)(struct image_op *op, const struct err *e);
	struct image_op *next;
};

struct images {
	struct loop *loop;
	struct work_pool *pool;		/* the engine's: removes what was dropped */
	struct work_pool *load_pool;	/* ours: a load waits for its client and must hold up nobody else */
	struct store *store;
	char *root;
	int root_fd, layers_fd, links_fd, tmp_fd;
	struct map *by_id;		/* "sha256:.." -> struct image */
	struct map *refs;		/* canonical reference -> struct image (borrowed) */
	pthread_mutex_t lock;
	struct map *layers;		/* chain -> struct layer */
	struct image_op *op_first, **op_last;
	bool op_busy, closing;
	unsigned holds;
	struct image_load *loads;
	struct image_save *saves;
	struct registry *registry;	/* made when it is needed */
	int wake_fd;			/* eventfd: some load has news for the loop */
	struct loop_io *wake_io;
	void (*on_event)(void *user, const char *action, const char *id, const char *name);
	void *event_user;
	const char *(*in_use)(void *user, const char *image_id, bool *running);
	void *in_use_user;
};

/* image.c: one image in memory */
struct image *image_new_take(char *text, json_t *config, const char *id);
void image_free(struct image *i);
json_t *image_doc(const struct image *i);			/* for the store */
struct image *image_from_doc(const char *id, const json_t *doc, struct err *e);
/* What from knows beyond i: parent, blobs. */
void image_merge(struct image *i, const struct image *from);
void image_blob_add(struct image *i, size_t layer, const char *digest, uint64_t size, const char *type, const char *repo);
const char *image_diff(const struct image *i, size_t layer);	/* its diff ID */

/* layers.c: layers on disk; any thread unless said otherwise */
int layers_open(struct images *im, struct err *e);		/* at start */
void layers_close(struct images *im);
int layers_adopt(struct images *im, const struct image *i, struct err *e);	/* at start: are they there? counts references */
void layers_sweep(struct images *im);				/* at start, after all adopted: the rest goes */
bool layer_claim(struct images *im, const char *chain, uint64_t *bytes);
/* tmp/<name> (holding fs/) becomes the layer, and is claimed. Made durable by layers_sync() first. */
int layer_publish(struct images *im, const char *chain, uint64_t bytes, const char *name, struct err *e);
void layer_unclaim(struct images *im, const char *chain);
void layers_ref(struct images *im, const struct image *i);
/* Drops the image's references; *dropped (may be NULL) gets the chains that went, NULL-terminated. Loop thread. */
void layers_unref(struct images *im, const struct image *i, char ***dropped);
/* The layer's own folder, for split_open(); -1 with e. */
int layer_open(struct images *im, const char *chain, struct err *e);
int layers_sync_tmp(struct images *im, struct err *e);
int layers_sync_names(struct images *im, struct err *e);
void layer_link_name(const char *chain, char *out);		/* 24 bytes at least */

/* images.c: the index; loop thread */
void image_op_start(struct images *im, struct image_op *op);
void image_op_commit_take(struct image_op *op, struct store_tx *tx);
void image_op_end(struct image_op *op);				/* frees op */
void images_event(struct images *im, const char *action, const char *id, const char *name);
struct image *images_find_id(struct images *im, const char *id);
/* Looks a string up; *by_ref: it was a name, whose canonical form is in full (800 bytes). */
struct image *images_lookup(struct images *im, const char *ref, bool *by_ref, char *full, struct err *e);
/* Canonical references of an image; the caller frees. */
char **images_refs_of(struct images *im, const struct image *i);
char *images_familiar(const char *canonical, char *out, size_t size);
/* Transaction parts; the index follows by images_apply_*() once committed. */
void images_tx_ref(struct store_tx *tx, const char *full, const char *id);
void images_apply_ref(struct images *im, const char *full, struct image *i);

/* Any thread: the loop is to look at loads and operations. */
void images_wake(struct images *im);

/* load.c; loop thread */
void image_loads_deliver(struct images *im);
void image_loads_stop(struct images *im);

/* save.c: all that run are cancelled; then, without threads, freed */
void image_saves_stop(struct images *im);
void image_saves_free(struct images *im);

/* show.c: those that filters of a prune let through, NULL-terminated, the caller frees; *dangling changes if they say so. NULL with e. */
struct image **image_matches(struct images *im, const json_t *filters, bool *dangling, struct err *e);

#endif
