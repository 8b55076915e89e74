/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing over an insertion-ordered array of entries: the table holds entry numbers, a
 * deleted entry leaves a hole (key NULL) until the next growth packs the array. The hash is
 * seeded, because names come from API clients.
 */
#include "base/map.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct entry {
	char *key;
	void *value;
	uint64_t hash;
};

struct map {
	struct entry *e;
	size_t used, cap;	/* of e, holes counted in used */
	size_t live;
	uint32_t *table;	/* entry number + 1; 0: free */
	size_t mask;
	uint64_t seed;
};

static uint64_t hash_key(const struct map *m, const char *key)
{
	uint64_t h = m->seed ^ 0x9e3779b97f4a7c15ull;

	for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
		h = (h ^ *p) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	h ^= m->seed >> 17;
	h *= 0xc4ceb9fe1a85ec53ull;
	return h ^ (h >> 29);
}

struct map *map_new(void)
{
	struct map *m = mem_zalloc(sizeof(*m));

	rand_bytes(&m->seed, sizeof(m->seed));
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->used; i++)
		free(m->e[i].key);
	free(m->e);
	free(m->table);
	free(m);
}

static struct entry *find(const struct map *m, const char *key, uint64_t h)
{
	if (!m->table)
		return NULL;
	for (size_t i = h & m->mask; m->table[i]; i = (i + 1) & m->mask) {
		struct entry *e = &m->e[m->table[i] - 1];

		if (e->key && e->hash == h && !strcmp(e->key, key))
			return e;
	}
	return NULL;
}

static void rebuild(struct map *m)
{
	size_t size = 16, n = 0;

	for (size_t i = 0; i < m->used; i++) {
		if (m->e[i].key)
			m->e[n++] = m->e[i];
	}
	m->used = n;
	m->cap = n < 8 ? 8 : 2 * n;
	m->e = mem_realloc(m->e, m->cap * sizeof(*m->e));
	while (size < 2 * m->cap)
		size *= 2;
	free(m->table);
	m->table = mem_zalloc(size * sizeof(*m->table));
	m->mask = size - 1;
	for (size_t k = 0; k < n; k++) {
		size_t i = m->e[k].hash & m->mask;

		while (m->table[i])
			i = (i + 1) & m->mask;
		m->table[i] = (uint32_t)k + 1;
	}
}

void *map_get(const struct map *m, const char *key)
{
	struct entry *e = m && key ? find(m, key, hash_key(m, key)) : NULL;

	return e ? e->value : NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
	uint64_t h = hash_key(m, key);
	struct entry *e = find(m, key, h);
	size_t i;

	if (e) {
		void *old = e->value;

		e->value = value;
		return old;
	}
	if (m->used == m->cap)
		rebuild(m);
	m->e[m->used] = (struct entry){ .key = mem_strdup(key), .value = value, .hash = h };
	for (i = h & m->mask; m->table[i]; i = (i + 1) & m->mask)
		;
	m->table[i] = (uint32_t)++m->used;
	m->live++;
	return NULL;
}

void *map_del(struct map *m, const char *key)
{
	struct entry *e = m && key ? find(m, key, hash_key(m, key)) : NULL;
	void *old;

	if (!e)
		return NULL;
	old = e->value;
	free(e->key);
	e->key = NULL;
	e->value = NULL;
	m->live--;
	return old;
}

size_t map_len(const struct map *m)
{
	return m ? m->live : 0;
}

void *map_next(const struct map *m, size_t *it, const char **key)
{
	while (m && *it < m->used) {
		const struct entry *e = &m->e[(*it)++];

		if (e->key) {
			if (key)
				*key = e->key;
			return e->value;
		}
	}
	return NULL;
}
