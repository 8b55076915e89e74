/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REF_H
#define KEDGE_IMAGE_REF_H

#include <stddef.h>

#include "base/err.h"

/* Pure: image references (distribution reference grammar). Familiar form drops docker.io/ and library/. */
struct image_ref {
	char domain[256];	/* "docker.io" when absent */
	char path[256];		/* "library/nginx" */
	char tag[129];		/* "" when absent */
	char digest[136];	/* "sha256:..." or "" */
};
int image_ref_parse(const char *s, struct image_ref *ret, struct err *e);
/* "nginx:1.25", "nginx@sha256:..": familiar name with tag; out of 800 bytes at least. */
char *image_ref_familiar(const struct image_ref *r, char *out, size_t size);
/* "docker.io/library/nginx:1.25": one spelling per name; out of 800 bytes at least. */
char *image_ref_canonical(const struct image_ref *r, char *out, size_t size);

#endif
