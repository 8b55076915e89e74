/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a reply from a source that is held up while the client is slow. */
#include "api/api_priv.h"

static void out_drain(struct http_req *r, void *user)
{
	struct api_out *o = user;

	(void)r;
	if (!o->paused)
		return;
	o->paused = false;
	o->pause(o->source, false);
}

void api_out_begin(struct api_out *o, struct api_call *c, const char *type, void (*pause)(void *source, bool paused), void *source)
{
	*o = (struct api_out){ .call = c, .type = type, .pause = pause, .source = source };
	http_reply_on_drain(c->r, out_drain, o);
}

void api_out_data(struct api_out *o, const void *p, size_t n)
{
	struct http_req *r = o->call->r;

	if (!r)
		return;
	if (!http_reply_started(r))
		http_reply_start(r, 200, o->type);
	if (http_reply_write(r, p, n) > API_QUEUE_HIGH && !o->paused) {
		o->paused = true;
		o->pause(o->source, true);
	}
}

void api_out_end(struct api_out *o, const struct err *e)
{
	struct http_req *r = o->call->r;

	if (!r)
		return;
	http_reply_on_drain(r, NULL, NULL);
	if (e && http_reply_started(r))
		http_reply_abort(r);		/* too late for a status: the client must not take it for whole */
	else if (e)
		api_reply_err(o->call, e);
	else if (!http_reply_started(r))
		api_reply_empty(o->call, 200);
	else
		http_reply_end(r);
}
