/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_JSON_H
#define KEDGE_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* jansson glue. Borrowed getters never fail: a missing key, null or NULL object gives the default. */
const char *json_str(const json_t *o, const char *key, const char *def);
int64_t json_i64(const json_t *o, const char *key, int64_t def);
double json_num(const json_t *o, const char *key, double def);
bool json_flag(const json_t *o, const char *key, bool def);
json_t *json_obj(const json_t *o, const char *key);	/* borrowed; NULL unless an object */
json_t *json_arr(const json_t *o, const char *key);	/* borrowed; NULL unless an array */
const char *json_at(const json_t *arr, size_t i);	/* string element or NULL */
/* The strings of a list, for strv_free(); what is none is left out, NULL: there are none. */
char **json_words(const json_t *o, const char *key);
json_t *json_path(const json_t *o, const char *dotted);	/* borrowed "HostConfig.PortBindings" or NULL */

/* Depth is limited to 128 and duplicate keys keep the last. NULL with "what: line L column C: ..." in e (ERR_INVALID). */
json_t *json_parse(const char *p, size_t n, const char *what, struct err *e);
json_t *json_parse_file_at(int dirfd, const char *path, size_t limit, struct err *e);
/* Compact text, keys in insertion order; the caller frees. */
char *json_text(const json_t *o);
/* A JSON string literal of any bytes: invalid UTF-8 becomes U+FFFD. New reference. */
json_t *json_bytes(const char *p, size_t n);

void json_freep(json_t **o);

#endif
