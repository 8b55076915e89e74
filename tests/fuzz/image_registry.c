/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/ref.h"
#include "image/registry/auth.h"
#include "image/registry/manifest.h"

/* What registries say: manifests, lists, challenges, tokens; and what clients say about themselves. One input is taken as each of them. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void as_manifest(const char *text, size_t n)
{
	struct platform here;
	struct descriptor d;
	struct manifest m;
	struct err e = { 0 };

	if (manifest_parse(text, n, "application/json", &m, &e) < 0) {
		if (!*e.msg)
			abort();
		return;
	}
	if (platform_parse(NULL, &here, &e) < 0)
		abort();
	if (m.list && manifest_choose(&m, &here, &d, &e) == 0 && !digest_valid(d.digest))
		abort();
	for (size_t i = 0; i < m.nlayers; i++)
		if (!digest_valid(m.layers[i].digest) || m.layers[i].size > (uint64_t)MANIFEST_BLOB_MAX)
			abort();
	manifest_done(&m);
}

static void as_auth(const char *text, size_t n)
{
	struct registry_challenge ch;
	struct registry_creds c;
	struct platform pl;
	struct err e = { 0 };
	char *refresh = NULL, *token;

	if (registry_challenge_parse(text, &ch) == 0) {
		if (ch.scheme == REGISTRY_BEARER && !str_starts(ch.realm, "http"))
			abort();
		registry_challenge_done(&ch);
	}
	if (registry_creds_parse(text, &c, &e) == 0)
		registry_creds_done(&c);
	token = registry_token_parse(text, n, &refresh, &e);
	/* It becomes a header's value. */
	if (token && strpbrk(token, "\r\n"))
		abort();
	free(token);
	free(refresh);
	(void)platform_parse(text, &pl, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	CLEANUP(mem_freep) char *text = mem_strndup((const char *)p, n);

	as_manifest(text, strlen(text));
	as_auth(text, strlen(text));
	return 0;
}
