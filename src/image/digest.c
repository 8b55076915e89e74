/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

struct digest {
	EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
	struct digest *d = mem_zalloc(sizeof(*d));

	d->ctx = EVP_MD_CTX_new();
	/* Fails only without memory or without SHA-256: no image can be trusted then. */
	if (!d->ctx || EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1)
		abort();
	return d;
}

void digest_update(struct digest *d, const void *p, size_t n)
{
	if (EVP_DigestUpdate(d->ctx, p, n) != 1)
		abort();
}

void digest_end_take(struct digest *d, char *out)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!d)
		return;
	if (out) {
		if (EVP_DigestFinal_ex(d->ctx, md, &n) != 1 || n != 32)
			abort();
		memcpy(out, "sha256:", 7);
		id_hex(md, 32, out + 7);
	}
	EVP_MD_CTX_free(d->ctx);
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
