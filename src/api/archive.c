/* SPDX-License-Identifier: Apache-2.0 */
/* /containers/{id}/archive and /export: files of a container as tar streams, both ways. */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/archive.h"
#include "engine/changes.h"
#include "engine/commit.h"

/* RFC 4648 section 4. The caller frees. */
static char *base64(const char *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = mem_alloc((n + 2) / 3 * 4 + 1), *o = out;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned char)p[i] << 16 | (i + 1 < n ? (unsigned char)p[i + 1] << 8 : 0) | (i + 2 < n ? (unsigned char)p[i + 2] : 0);

		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*o = '\0';
	return out;
}

struct api_archive {
	struct api_call *call;
	struct engine_archive *ar;
	struct api_out out;
	bool head;		/* of a HEAD request */
};

static void api_archive_pause(void *source, bool paused)
{
	engine_archive_pause(source, paused);
}

static void api_archive_stat(void *user, const json_t *stat)
{
	struct api_archive *a = user;
	char *text CLEANUP(mem_freep) = json_text(stat), *coded CLEANUP(mem_freep) = base64(text, strlen(text));

	if (!a->call->r)
		return;
	http_reply_header(a->call->r, "X-Docker-Container-Path-Stat", coded);
	if (!a->head)
		http_reply_start(a->call->r, 200, "application/x-tar");
}

static void api_archive_data(void *user, const void *p, size_t n)
{
	struct api_archive *a = user;

	api_out_data(&a->out, p, n);
}

static void api_archive_end(void *user, const struct err *e)
{
	struct api_archive *a = user;

	a->call->op_cancel = NULL;
	api_out_end(&a->out, e);
	free(a);
}

static void api_archive_cancel(void *op)
{
	struct api_archive *a = op;

	engine_archive_cancel(a->ar);
	free(a);
}

static const struct engine_archive_ops api_archive_out = { .stat = api_archive_stat, .data = api_archive_data, .end = api_archive_end };

static bool api_archive_path(struct api_call *c, const char **path)
{
	struct err e = { 0 };

	*path = http_req_query(c->r, "path");
	if (!str_empty(*path))
		return true;
	err_set(&e, ERR_INVALID, "bad parameter: 'path' cannot be empty");
	api_reply_err(c, &e);
	return false;
}

static void api_archive_begin(struct api_call *c, struct api_archive *a, const struct err *e)
{
	if (!a->ar) {
		free(a);
		api_reply_err(c, e);
		return;
	}
	/* The type is that of an export: a path's stat has started the reply by then. */
	api_out_begin(&a->out, c, "application/octet-stream", api_archive_pause, a->ar);
	c->op = a;
	c->op_cancel = api_archive_cancel;
}

static struct api_archive *api_archive_new(struct api_call *c, bool head)
{
	struct api_archive *a = mem_zalloc(sizeof(*a));

	a->call = c;
	a->head = head;
	return a;
}

static void api_archive_head(struct api_call *c)
{
	struct api_archive *a;
	struct err e = { 0 };
	const char *path;

	if (!api_archive_path(c, &path))
		return;
	a = api_archive_new(c, true);
	a->ar = engine_archive_stat(c->api->engine, c->arg, path, &api_archive_out, a, &e);
	api_archive_begin(c, a, &e);
}

static void api_archive_get(struct api_call *c)
{
	struct api_archive *a;
	struct err e = { 0 };
	const char *path;

	if (!api_archive_path(c, &path))
		return;
	a = api_archive_new(c, false);
	a->ar = engine_archive_get(c->api->engine, c->arg, path, &api_archive_out, a, &e);
	api_archive_begin(c, a, &e);
}

static void api_export(struct api_call *c)
{
	struct api_archive *a = api_archive_new(c, false);
	struct err e = { 0 };

	a->ar = engine_export(c->api->engine, c->arg, &api_archive_out, a, &e);
	api_archive_begin(c, a, &e);
}

/* Upload */

static void api_put_resume(void *user)
{
	struct api_archive *a = user;

	if (a->call->r)
		http_req_read_pause(a->call->r, false);
}

static void api_put_end(void *user, const struct err *e)
{
	struct api_archive *a = user;
	struct api_call *c = a->call;

	c->op_cancel = NULL;
	if (c->r) {
		http_req_read_pause(c->r, false);	/* what is still to come is dropped */
		if (e)
			api_reply_err(c, e);
		else
			api_reply_empty(c, 200);
	}
	free(a);
}

static const struct engine_archive_ops api_archive_in = { .resume = api_put_resume, .end = api_put_end };

static void api_put_data(struct http_req *r, const void *p, size_t n, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_archive *a = c->op;

	(void)user;
	if (c->op_cancel && !engine_archive_feed(a->ar, p, n))
		http_req_read_pause(r, true);
}

static void api_put_eof(struct http_req *r, bool ok, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_archive *a = c->op;

	(void)user;
	if (c->op_cancel && ok)		/* not ok: the close that follows cancels */
		engine_archive_finish(a->ar);
}

static void api_archive_put(struct api_call *c)
{
	struct engine_archive_put put = { .no_overwrite = http_req_query_flag(c->r, "noOverwriteDirNonDir", false),
					  .copy_ids = http_req_query_flag(c->r, "copyUIDGID", false) };
	struct api_archive *a;
	struct err e = { 0 };
	const char *path;

	if (!api_archive_path(c, &path))
		return;
	a = api_archive_new(c, false);
	a->ar = engine_archive_put(c->api->engine, c->arg, path, &put, &api_archive_in, a, &e);
	if (!a->ar) {
		free(a);
		api_reply_err(c, &e);
		return;
	}
	c->op = a;
	c->op_cancel = api_archive_cancel;
	http_req_read_stream(c->r, api_put_data, api_put_eof, NULL);
}

/* /containers/{id}/changes, /commit */

static void api_changes(struct api_call *c)
{
	engine_changes(c->api->engine, c->arg, api_done_json, api_call_ref(c));
}

static void api_commit_done(void *user, const char *id, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_json(c, 201, json_pack("{s:s}", "Id", id));
	api_call_unref(c);
}

static void api_commit_body(struct api_call *c, json_t *body)
{
	const char *repo = http_req_query(c->r, "repo"), *tag = http_req_query(c->r, "tag"), *change;
	char *name CLEANUP(mem_freep) = str_empty(repo) ? NULL : str_empty(tag) ? mem_strdup(repo) : mem_printf("%s:%s", repo, tag);
	char **changes CLEANUP(strv_freep) = NULL;
	struct engine_commit_args a = { .name = name, .comment = http_req_query(c->r, "comment"), .author = http_req_query(c->r, "author"),
					.pause = http_req_query_flag(c->r, "pause", true), .config = body };

	for (size_t i = 0; (change = http_req_query_n(c->r, "changes", i)); i++)
		changes = strv_add(changes, change);
	a.changes = changes;
	engine_commit(c->api->engine, http_req_query(c->r, "container"), &a, api_commit_done, api_call_ref(c));
}

static void api_commit(struct api_call *c)
{
	struct err e = { 0 };

	if (!str_empty(http_req_query(c->r, "container"))) {
		api_read_json(c, true, api_commit_body);
		return;
	}
	err_set(&e, ERR_INVALID, "bad parameter: 'container' cannot be empty");
	api_reply_err(c, &e);
}

const struct api_route api_routes_archive[] = {
	{ "GET", "/containers/*/changes", api_changes },
	{ "POST", "/commit", api_commit },
	{ "HEAD", "/containers/*/archive", api_archive_head },
	{ "GET", "/containers/*/archive", api_archive_get },
	{ "PUT", "/containers/*/archive", api_archive_put },
	{ "GET", "/containers/*/export", api_export },
	{ 0 },
};
