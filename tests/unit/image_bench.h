/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_IMAGE_BENCH_H
#define KEDGE_TESTS_IMAGE_BENCH_H

#include "base/buf.h"
#include "image/image.h"
#include "image_tar.h"

/* An image module with a loop, a pool and a store of its own below a folder in /tmp; calls wait for their answers. */
struct bench {
	char dir[64];
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	struct images *im;
	struct buf said;	/* messages of the last load, one JSON text a line */
	struct buf events;	/* "action name\n" */
	struct err err;		/* of the last call */
	json_t *result;		/* of the last removal */
};

void bench_make(struct bench *b);	/* the folder */
void bench_start(struct bench *b);	/* the engine's part; again after bench_stop() */
void bench_stop(struct bench *b);
void bench_remove(struct bench *b);	/* the folder and what it holds */

/* 0 or -1 with err. step: bytes a feed; 0: all at once. */
int bench_load(struct bench *b, const struct buf *archive, size_t step);
int bench_import(struct bench *b, const struct buf *archive, const char *ref, const char *message, char *const *changes);
int bench_tag(struct bench *b, const char *ref, const char *target);
int bench_rmi(struct bench *b, const char *ref, bool force);
/* Entries of a folder below <root>, "." and ".." not counted; tmp is waited for: workers empty it. */
unsigned bench_count(struct bench *b, const char *folder);
void bench_settle(struct bench *b);

/* A docker-save archive out of layers (finished tars); names: NULL-terminated. */
struct buf bench_save(const struct buf *layers, size_t n, const char *const *names, const char *config_extra);
/* The same as an OCI layout; filter: NULL, "gzip", "zstd". */
struct buf bench_oci(const struct buf *layers, size_t n, const char *name, const char *filter);
/* One layer with one file. */
struct buf bench_layer(const char *path, const char *text);

#endif
