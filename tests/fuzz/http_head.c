/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/http_priv.h"

/*
 * A request as it comes off the wire: what the head's end is must not depend on how the bytes were cut into reads, and neither must the
 * payload of a chunked body.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static uint64_t hash(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 1099511628211ull;
	return h;
}

/* -1 malformed, 0 unfinished, 1 whole; pieces of at most `step` bytes are offered. *used: where the body ended. */
static int dechunk(const char *p, size_t n, size_t step, uint64_t *sum, size_t *used_ret)
{
	struct http_chunked k = { 0 };
	size_t at = 0;
	int r = 0;

	*sum = 14695981039346656037ull;
	while (at < n && r == 0) {
		size_t take = step < n - at ? step : n - at, used = 0, len = 0;
		const char *data = NULL;

		r = http_chunked_next(&k, p + at, take, &used, &data, &len);
		if (used > take || (len && (data < p + at || data + len > p + at + take)))
			abort();
		*sum = hash(*sum, data, len);
		at += used;
		if (r == 0 && used == 0)
			abort();	/* it would never end */
	}
	*used_ret = at;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data, *why = NULL;
	size_t scanned = 0, in_steps = 0, used_a, used_b;
	int whole = http_head_find(p, n, &scanned), cut = 0;
	uint64_t a, b;

	for (size_t have = 1; have <= n && cut == 0; have += 1 + have / 3)
		cut = http_head_find(p, have, &in_steps);
	if (cut > 0 && cut != whole)
		abort();
	if (whole > 0) {
		struct http_head h = { 0 };

		if (http_head_parse(&h, mem_strndup(p, (size_t)whole), (size_t)whole, &why) == 0) {
			if (!h.path || !h.target || strlen(h.path) > strlen(h.target))
				abort();
			for (size_t i = 0; i < h.n_fields; i++) {
				if (strpbrk(h.fields[i].name, " \t\r\n:") || strpbrk(h.fields[i].value, "\r\n"))
					abort();
			}
			(void)http_field_get(h.fields, h.n_fields, "content-length");
		}
		http_head_done(&h);
		p += whole;
		n -= (size_t)whole;
	}
	whole = dechunk(p, n, n ? n : 1, &a, &used_a);
	cut = dechunk(p, n, 3, &b, &used_b);
	if (whole != cut || (whole >= 0 && (a != b || used_a != used_b)))
		abort();
	return 0;
}
