/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_IGNORE_H
#define KEDGE_BASE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Pure: the patterns of a .dockerignore file. Each is Go's filepath.Match over a path's components, "**" stands for any number of them;
 * "!" takes back what earlier patterns left out; the last one that matches decides. A pattern for a folder goes for all below it.
 */
struct ignore;

/* text: the file's content. Comments, empty lines, blanks at the ends, leading "/" are dealt with. NULL with e: "syntax error in pattern". */
struct ignore *ignore_parse(const char *text, size_t n, struct err *e);
/* Patterns one by one; NULL-terminated. */
struct ignore *ignore_of(char *const *patterns, struct err *e);
void ignore_free(struct ignore *ig);
/* path: relative, clean ("a/b/c"). */
bool ignore_match(const struct ignore *ig, const char *path);
/* May something below the folder be wanted although the folder itself is ignored? Then it has to be walked. */
bool ignore_may_want_below(const struct ignore *ig, const char *folder);

#endif
