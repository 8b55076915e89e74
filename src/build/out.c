/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"

/*
 * What a build says. Stages run side by side, but are told one after the other: the first one that is not done speaks, the others' messages wait.
 * A stage whose container says more than HELD_MAX meanwhile has to wait itself (run.c).
 */
enum { QUIET_MAX = 1024 * 1024 };	/* of a quiet build's stage, for the case that it fails */

const char *build_short(const char *id)
{
	return str_starts(id, "sha256:") ? id + strlen("sha256:") : id;
}

void build_say(struct build *b, json_t *msg)
{
	if (!b->gone && !b->quiet)
		b->ops.message(b->user, msg);
	json_decref(msg);
}

void stage_say_json(struct stage *s, json_t *msg)
{
	if (s->index == s->b->front && !s->b->quiet) {
		build_say(s->b, msg);
		return;
	}
	if (!s->held)
		s->held = json_array();
	s->held_bytes += json_string_length(json_object_get(msg, "stream"));
	json_array_append_new(s->held, msg);
	/* Kept for an error to be told after; the end is what matters then. */
	while (s->b->quiet && s->held_bytes > QUIET_MAX && json_array_size(s->held) > 1) {
		s->held_bytes -= json_string_length(json_object_get(json_array_get(s->held, 0), "stream"));
		json_array_remove(s->held, 0);
	}
}

void stage_say(struct stage *s, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		stage_say_json(s, json_pack("{s:o}", "stream", json_bytes(text, strlen(text))));
	free(text);
}

/* Bytes at the end that begin a character which is not complete. */
static size_t incomplete(const char *p, size_t n)
{
	for (size_t k = 1; k <= 3 && k <= n; k++) {
		unsigned char c = (unsigned char)p[n - k];

		if (c >= 0xc0)
			return (c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2) > k ? k : 0;
		if (c < 0x80)
			return 0;
	}
	return 0;
}

/* A container's output; n 0 ends the stream. Standard error comes in docker's red. */
void stage_say_bytes(struct stage *s, int stream, const char *p, size_t n)
{
	unsigned k = stream == 2;
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	size_t keep;

	if (stream == 2)
		buf_adds(&b, "\x1b[91m");
	buf_add(&b, s->carry[k], s->ncarry[k]);
	keep = n ? incomplete(p, n) : 0;
	if (!n && !s->ncarry[k])
		return;
	buf_add(&b, p, n - keep);
	if (n)
		memcpy(s->carry[k], p + n - keep, keep);
	s->ncarry[k] = keep;
	if (b.len == (stream == 2 ? 5u : 0u))
		return;
	if (stream == 2)
		buf_adds(&b, "\x1b[0m");
	stage_say_json(s, json_pack("{s:o}", "stream", json_bytes(b.data, b.len)));
}

void stage_show(struct stage *s)
{
	json_t *held = TAKE(s->held), *msg;
	size_t i;

	s->held_bytes = 0;
	json_array_foreach(held, i, msg)
		if (!s->b->gone)
			s->b->ops.message(s->b->user, msg);
	json_decref(held);
}
