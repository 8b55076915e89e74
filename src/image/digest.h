/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_DIGEST_H
#define KEDGE_IMAGE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

/* SHA-256 in the OCI spelling "sha256:<64 hex>". */
enum { DIGEST_LEN = 7 + 64, DIGEST_SIZE = DIGEST_LEN + 1 };

struct digest;
struct digest *digest_new(void);
void digest_update(struct digest *d, const void *p, size_t n);
/* Frees d; out NULL: only that. */
void digest_end_take(struct digest *d, char *out);
void digest_of(const void *p, size_t n, char *out);
bool digest_valid(const char *s);
/* OCI chain ID: the first layer's is its diff ID; parent NULL for it. */
void digest_chain(const char *parent, const char *diff, char *out);

#endif
