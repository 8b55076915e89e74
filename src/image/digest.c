/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digest.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

/* Nettle's, which libarchive needs anyway; OpenSSL would be three megabytes more of an engine that has images. */
struct digest {
	struct sha256_ctx ctx;
};

struct digest *digest_new(void)
{
	struct digest *d = mem_zalloc(sizeof(*d));

	sha256_init(&d->ctx);
	return d;
}

void digest_update(struct digest *d, const void *p, size_t n)
{
	sha256_update(&d->ctx, n, p);
}

void digest_end_take(struct digest *d, char *out)
{
	unsigned char md[SHA256_DIGEST_SIZE];

	if (!d)
		return;
	if (out) {
		sha256_digest(&d->ctx, sizeof(md), md);
		memcpy(out, "sha256:", 7);
		id_hex(md, sizeof(md), out + 7);
	}
	free(d);
}

void digest_of(const void *p, size_t n, char *out)
{
	struct digest *d = digest_new();

	digest_update(d, p, n);
	digest_end_take(d, out);
}

bool digest_valid(const char *s)
{
	if (!s || !str_starts(s, "sha256:") || strlen(s) != DIGEST_LEN)
		return false;
	for (s += 7; *s; s++)
		if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f')))
			return false;
	return true;
}

void digest_chain(const char *parent, const char *diff, char *out)
{
	char both[DIGEST_SIZE * 2];
	int n;

	if (!parent) {
		memcpy(out, diff, DIGEST_SIZE);
		return;
	}
	n = snprintf(both, sizeof(both), "%s %s", parent, diff);
	digest_of(both, (size_t)n, out);
}
