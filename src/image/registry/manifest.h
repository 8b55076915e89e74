/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REGISTRY_MANIFEST_H
#define KEDGE_IMAGE_REGISTRY_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/digest.h"

/* Pure: image manifests and lists of them, docker's (schema 2) and OCI's. */

#define MANIFEST_DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define MANIFEST_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MANIFEST_OCI "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define CONFIG_DOCKER "application/vnd.docker.container.image.v1+json"
#define CONFIG_OCI "application/vnd.oci.image.config.v1+json"
#define LAYER_DOCKER "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define LAYER_OCI "application/vnd.oci.image.layer.v1.tar"
#define MANIFEST_ACCEPT MANIFEST_DOCKER ", " MANIFEST_DOCKER_LIST ", " MANIFEST_OCI ", " MANIFEST_OCI_INDEX

enum {
	MANIFEST_MAX = 4 * 1024 * 1024,		/* what registries take at most */
	MANIFEST_LIST_MAX = 1024,
};
#define MANIFEST_BLOB_MAX ((int64_t)1 << 40)	/* 1 TiB */

struct descriptor {
	char digest[DIGEST_SIZE];
	uint64_t size;
	char type[128];		/* media type */
};

/* "linux/arm64/v8"; empty parts are not asked for. */
struct platform {
	char os[32], arch[32], variant[32];
	bool given;		/* by the user, who does not want another one */
};
/* text NULL or "": this machine's. "arm64" alone is an architecture, "linux" an operating system. */
int platform_parse(const char *text, struct platform *ret, struct err *e);
/* "linux/arm64/v8"; out of 128 bytes at least. */
char *platform_text(const struct platform *p, char *out, size_t size);
/* How well a platform object (OCI descriptor or image config) fits: 0 not, higher is better. */
int platform_fits(const struct platform *want, const json_t *have);

struct manifest {
	char type[128];
	bool list;
	struct descriptor config, *layers;	/* of one image */
	size_t nlayers;
	json_t *doc;				/* as parsed */
};

/* type: the reply's Content-Type, or NULL. What is neither an image nor a list of images is refused by its name. */
int manifest_parse(const char *p, size_t n, const char *type, struct manifest *ret, struct err *e);
void manifest_done(struct manifest *m);
/* The best entry of a list. 0, or -1 with e (NOT_FOUND): none fits. */
int manifest_choose(const struct manifest *list, const struct platform *want, struct descriptor *ret, struct err *e);

#endif
