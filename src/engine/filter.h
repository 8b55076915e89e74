/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_FILTER_H
#define KEDGE_ENGINE_FILTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * The API's filters, {"key": ["value", ...]} as api_filters() gives them. Pure. A key that is not there, or has no values, matches all.
 */
size_t filter_count(const json_t *filters, const char *key);
const char *filter_value(const json_t *filters, const char *key, size_t i);	/* NULL past the last */
bool filter_exact(const json_t *filters, const char *key, const char *value);	/* one of them is value */
bool filter_prefix(const json_t *filters, const char *key, const char *value);	/* value begins with one of them */
/* One of them, a regular expression, matches somewhere in value; what is no regular expression must be value itself. */
bool filter_regex(const json_t *filters, const char *key, const char *value);
/* All of them ("name" or "name=value") are among labels, an object of strings. */
bool filter_labels(const json_t *filters, const char *key, const json_t *labels);
/* INVALID "invalid filter 'x'" for a key that is not in known, which NULL ends. */
int filter_check(const json_t *filters, const char *const *known, struct err *e);
/* The one value of "until", in nanoseconds since 1970: a time, or a span before now. 0 in *ret when it is not there. */
int filter_until(const json_t *filters, int64_t now_ns, int64_t *ret, struct err *e);

#endif
