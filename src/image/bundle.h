/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_BUNDLE_H
#define KEDGE_IMAGE_BUNDLE_H

#include <jansson.h>
#include <stdint.h>

#include "image/unpack.h"

enum {
	IMAGE_CONFIG_MAX = 8 * 1024 * 1024,
	IMAGE_LAYERS_MAX = 128,		/* what the monitor takes; docker takes 125, overlayfs 500 */
	BUNDLE_IMAGES_MAX = 256,
};

/*
 * An archive of images that came in: its members lie as plain files in a folder of ours, and what it says about them has been read and
 * checked: docker-save's manifest.json, or else an OCI layout's index.json.
 */
struct bundle_layer {
	char *member;			/* a name for bundle_open() */
	char blob[DIGEST_SIZE];		/* what the stored form must hash to, or "" */
	char diff[DIGEST_SIZE];		/* what the uncompressed tar must hash to */
	uint64_t size;			/* of the stored form */
};

struct bundle_image {
	char id[DIGEST_SIZE];
	char *text;			/* the config document, as it came: its digest is the id */
	json_t *config;
	char **names;			/* canonical references with tags, NULL-terminated or NULL */
	struct bundle_layer *layers;	/* bottom first */
	size_t nlayers;
};

struct bundle {
	int dir;			/* borrowed: members are put here under numbers */
	struct map *members;
	struct bundle_image *images;
	size_t nimages;
	size_t next;
	uint64_t name_bytes;
};

/* Reads everything; blocking. On failure b is still to be freed with bundle_done(). */
int bundle_read(struct bundle *b, int dir, const struct unpack_source *src, struct err *e);
void bundle_done(struct bundle *b);
/* Removes the members from disk. */
void bundle_drop(struct bundle *b);
/* O_RDONLY descriptor or -1. */
int bundle_open(const struct bundle *b, const char *member, struct err *e);

/* Checks a config document: an object, for Linux, with diff_ids. Used for imports' own, too. */
int bundle_config_check(const json_t *config, const char *what, struct err *e);

#endif
