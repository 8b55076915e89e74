/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"
#include "image/ref.h"
#include "image/registry/auth.h"

/* Images that a Dockerfile names and that are not here come from their registry, as docker does it; its progress is part of the build's output. */

/* The client's credentials for the image's registry as an X-Registry-Auth header; NULL: none. */
static char *auth_of(const struct build *b, const struct image_ref *r)
{
	/* Docker Hub's credentials are kept under the name of its first API. */
	const char *server = str_eq(r->domain, "docker.io") ? "https://index.docker.io/v1/" : r->domain;
	CLEANUP(mem_freep) char *text = json_obj(b->registries, server) ? json_text(json_obj(b->registries, server)) : NULL;
	struct buf out = BUF_INIT;

	if (!text)
		return NULL;
	registry_base64(text, strlen(text), &out);
	return buf_take(&out);
}

static void on_message(void *user, const json_t *msg)
{
	stage_say_json(user, json_incref((json_t *)msg));
}

static void on_end(void *user, const struct err *e)
{
	struct stage *s = user;
	struct build *b = s->b;

	s->pull = NULL;
	if (e)
		build_fail(b, e, 0);
	else if (!b->failed && !b->gone && !b->bs->closing)
		s->after_pull(s);
	build_drop(b);
}

int pull_start(struct stage *s, const char *ref, void (*after)(struct stage *s), struct err *e)
{
	static const struct image_transfer_ops ops = { .message = on_message, .end = on_end };
	CLEANUP(mem_freep) char *auth = NULL;
	struct build *b = s->b;
	struct image_ref r;

	if (image_ref_parse(ref, &r, e) < 0)
		return -1;
	auth = auth_of(b, &r);
	s->after_pull = after;
	build_hold(b);
	s->pull = image_pull_start(b->bs->images, ref, *r.tag || *r.digest ? NULL : "latest", b->platform, auth, &ops, s, e);
	if (!s->pull) {
		build_drop(b);
		return -1;
	}
	return 0;
}

void pull_stop(struct stage *s)
{
	if (!s->pull)
		return;
	image_transfer_cancel(s->pull);
	s->pull = NULL;
	build_drop(s->b);	/* the callback that does not come */
}
