/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_JSONW_H
#define KEDGE_BASE_JSONW_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * JSON text straight into a buffer, without a tree of values in between. Commas come by themselves: a key or an element puts one unless it is
 * the first behind '{' or '['. Texts may hold any bytes: what is not UTF-8 becomes U+FFFD, one for each byte. Escapes are jansson's, so
 * that a document looks the same whichever way it was made.
 */
void jsonw_bytes(struct buf *b, const char *p, size_t n);	/* a string literal */
void jsonw_str(struct buf *b, const char *s);
void jsonw_i64(struct buf *b, int64_t n);
void jsonw_value(struct buf *b, const json_t *v);		/* NULL: null */

void jsonw_item(struct buf *b);					/* before an element of an array */
void jsonw_key(struct buf *b, const char *key);			/* before a member's value */
void jsonw_key_str(struct buf *b, const char *key, const char *s);
void jsonw_key_i64(struct buf *b, const char *key, int64_t n);
void jsonw_key_value(struct buf *b, const char *key, const json_t *v);

/* How many of the n bytes at p, from the first on, stand in a literal as they are: no '"', no '\', nothing below 0x20 or above 0x7f. */
size_t jsonw_plain(const char *p, size_t n);

#endif
