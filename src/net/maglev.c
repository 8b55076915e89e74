/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/maglev.h"

#include <stdlib.h>

#include "base/mem.h"

/* The finaliser of MurmurHash3: every bit of the input moves every bit of the result. */
static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

uint64_t maglev_key(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = UINT64_C(0xcbf29ce484222325);	/* FNV-1a, mixed */

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * UINT64_C(0x100000001b3);
	return mix(h);
}

struct turn {
	uint64_t key;
	uint32_t at, skip;		/* its permutation of the slots: at, at + skip, at + 2 skip ... */
	uint32_t weight;
	uint64_t credit;
	uint16_t index;
};

static int by_key(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

void maglev_fill(const struct maglev *m, size_t n, uint16_t *slot, uint32_t slots)
{
	struct turn *t = mem_zalloc((n ? n : 1) * sizeof(*t));
	uint32_t most = 0, filled = 0;
	size_t len = 0;

	for (uint32_t i = 0; i < slots; i++)
		slot[i] = MAGLEV_NONE;
	for (size_t i = 0; i < n; i++) {
		if (!m[i].weight)
			continue;
		if (m[i].weight > most)
			most = m[i].weight;
		t[len++] = (struct turn){ .key = m[i].key, .at = (uint32_t)(m[i].key % slots), .skip = (uint32_t)(mix(m[i].key + 1) % (slots - 1) + 1),
					  .weight = m[i].weight, .index = (uint16_t)i };
	}
	/* Who chooses first matters a little, so it must not depend on the caller's order. */
	qsort(t, len, sizeof(*t), by_key);
	while (len && filled < slots)
		for (size_t i = 0; i < len && filled < slots; i++) {
			/* The heaviest has a turn each round, one of half its weight every other. */
			t[i].credit += t[i].weight;
			if (t[i].credit < most)
				continue;
			t[i].credit -= most;
			while (slot[t[i].at] != MAGLEV_NONE)
				t[i].at = (t[i].at + t[i].skip) % slots;
			slot[t[i].at] = t[i].index;
			filled++;
		}
	free(t);
}
