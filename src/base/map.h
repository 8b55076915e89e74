/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_MAP_H
#define KEDGE_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* String-keyed hash map; keys are copied, values are the caller's. Order of iteration is of insertion. */
struct map;

struct map *map_new(void);
void map_free(struct map *m);				/* NULL is fine; values untouched */
void *map_get(const struct map *m, const char *key);	/* NULL: absent */
/* Puts or replaces; the old value or NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_del(struct map *m, const char *key);		/* the value or NULL */
size_t map_len(const struct map *m);
/* size_t it = 0; while ((v = map_next(m, &it, &key))) ...; deleting the current key while iterating is allowed. */
void *map_next(const struct map *m, size_t *it, const char **key);

#endif
