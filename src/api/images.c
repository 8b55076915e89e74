/* SPDX-License-Identifier: Apache-2.0 */
/* /images */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static void api_image_list(struct api_call *c)
{
	json_t *filters = NULL, *list = NULL;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) == 0)
		list = image_list(c->api->images, http_req_query_flag(c->r, "all", false), filters, &e);
	json_decref(filters);
	if (list)
		api_reply_json(c, 200, list);
	else
		api_reply_err(c, &e);
}

/*
 * Until API 1.44 with what the image was made from. docker-compose 1 speaks whatever version the engine has and still looks there, for the
 * volumes of the image of a container it makes again; without them it fails and leaves the container renamed.
 */
static json_t *api_image_document(struct api_call *c, const struct image *i)
{
	const char *agent = http_req_header(c->r, "User-Agent");
	json_t *doc = image_inspect(c->api->images, i);

	if (c->minor < 45 || (agent && str_starts(agent, "docker-compose/1."))) {
		json_object_set_new(doc, "Container", json_string(""));
		json_object_set_new(doc, "ContainerConfig", json_deep_copy(json_obj(doc, "Config")));
	}
	return doc;
}

static void api_image_inspect(struct api_call *c)
{
	struct err e = { 0 };
	struct image *i = image_find(c->api->images, c->arg, &e);

	if (i)
		api_reply_json(c, 200, api_image_document(c, i));
	else
		api_reply_err(c, &e);
}

static void api_image_history(struct api_call *c)
{
	struct err e = { 0 };
	struct image *i = image_find(c->api->images, c->arg, &e);

	if (i)
		api_reply_json(c, 200, image_history(c->api->images, i));
	else
		api_reply_err(c, &e);
}

static void api_image_tagged(void *user, const struct err *e)
{
	struct api_call *c = user;

	if (e)
		api_reply_err(c, e);
	else
		api_reply_empty(c, 201);
	api_call_unref(c);
}

static char *api_image_target(struct api_call *c)
{
	const char *repo = http_req_query(c->r, "repo"), *tag = http_req_query(c->r, "tag");

	if (str_empty(repo))
		return NULL;
	return str_empty(tag) ? mem_strdup(repo) : mem_printf("%s:%s", repo, tag);
}

static void api_image_tag(struct api_call *c)
{
	CLEANUP(mem_freep) char *target = api_image_target(c);
	struct err e = { 0 };

	if (!target) {
		err_set(&e, ERR_INVALID, "repo: a name for the image is missing");
		api_reply_err(c, &e);
		return;
	}
	image_tag(c->api->images, c->arg, target, api_image_tagged, api_call_ref(c));
}

static void api_image_remove(struct api_call *c)
{
	image_remove(c->api->images, c->arg, http_req_query_flag(c->r, "force", false), http_req_query_flag(c->r, "noprune", false),
		     api_done_json, api_call_ref(c));
}

/* An archive on its way from the request's body into the image module. */
struct api_load {
	struct api_call *call;
	struct image_load *load;
};

static void api_load_message(void *user, const json_t *msg)
{
	struct api_load *ld = user;

	api_stream_message(ld->call, msg);
}

static void api_load_resume(void *user)
{
	struct api_load *ld = user;

	if (ld->call->r)
		http_req_read_pause(ld->call->r, false);
}

static void api_load_end(void *user, const struct err *e)
{
	struct api_load *ld = user;

	ld->call->op_cancel = NULL;
	api_stream_end(ld->call, e);
	free(ld);
}

static void api_load_cancel(void *op)
{
	struct api_load *ld = op;

	image_load_abort(ld->load);
	free(ld);
}

static void api_load_data(struct http_req *r, const void *p, size_t n, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_load *ld = c->op;

	/* Ended early, by a bad archive: the rest is read and dropped. */
	if (!c->op_cancel)
		return;
	if (!image_load_feed(ld->load, p, n))
		http_req_read_pause(r, true);
}

static void api_load_body_end(struct http_req *r, bool ok, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_load *ld = c->op;

	/* Not ok: the close that follows aborts. */
	if (c->op_cancel && ok)
		image_load_finish(ld->load);
}

static const struct image_load_ops api_load_ops = { api_load_message, api_load_resume, api_load_end };

static void api_load_run(struct api_call *c, struct api_load *ld)
{
	c->op = ld;
	c->op_cancel = api_load_cancel;
	http_req_read_stream(c->r, api_load_data, api_load_body_end, NULL);
}

static void api_image_load(struct api_call *c)
{
	struct api_load *ld = mem_zalloc(sizeof(*ld));

	ld->call = c;
	ld->load = image_load_start(c->api->images, http_req_query_flag(c->r, "quiet", false), &api_load_ops, ld);
	api_load_run(c, ld);
}

static void api_image_create(struct api_call *c)
{
	const char *from = http_req_query(c->r, "fromImage"), *src = http_req_query(c->r, "fromSrc"), *change;
	CLEANUP(mem_freep) char *target = NULL;
	CLEANUP(strv_freep) char **changes = NULL;
	struct api_load *ld;
	struct err e = { 0 };

	if (!str_empty(from)) {
		api_image_pull(c);
		return;
	}
	if (!str_eq(src, "-")) {
		err_set(&e, ERR_INVALID, "fromSrc '%s': only '-', the request's body, can be imported", src ? src : "");
		api_reply_err(c, &e);
		return;
	}
	for (size_t i = 0; (change = http_req_query_n(c->r, "changes", i)); i++)
		changes = strv_add(changes, change);
	target = api_image_target(c);
	ld = mem_zalloc(sizeof(*ld));
	ld->call = c;
	ld->load = image_import_start(c->api->images, target, http_req_query(c->r, "message"), changes, &api_load_ops, ld, &e);
	if (!ld->load) {
		free(ld);
		api_reply_err(c, &e);
		return;
	}
	api_load_run(c, ld);
}

/* save: images on their way out. */
struct api_save {
	struct api_out out;
	struct image_save *save;
};

static void api_save_pause(void *source, bool paused)
{
	image_save_pause(source, paused);
}

static void api_save_data(void *user, const void *p, size_t n)
{
	struct api_save *s = user;

	api_out_data(&s->out, p, n);
}

static void api_save_end(void *user, const struct err *e)
{
	struct api_save *s = user;

	s->out.call->op_cancel = NULL;
	api_out_end(&s->out, e);
	free(s);
}

static void api_save_cancel(void *op)
{
	struct api_save *s = op;

	image_save_cancel(s->save);
	free(s);
}

static const struct image_save_ops api_save_ops = { api_save_data, api_save_end };

static void api_save_run(struct api_call *c, char *const *names)
{
	struct api_save *s = mem_zalloc(sizeof(*s));
	struct err e = { 0 };

	s->save = image_save_start(c->api->images, names, &api_save_ops, s, &e);
	if (!s->save) {
		free(s);
		api_reply_err(c, &e);
		return;
	}
	api_out_begin(&s->out, c, "application/x-tar", api_save_pause, s->save);
	c->op = s;
	c->op_cancel = api_save_cancel;
}

static void api_image_get(struct api_call *c)
{
	api_save_run(c, (char *[]){ c->arg, NULL });
}

static void api_images_get(struct api_call *c)
{
	CLEANUP(strv_freep) char **names = NULL;
	const char *name;

	for (size_t i = 0; (name = http_req_query_n(c->r, "names", i)); i++)
		names = strv_add(names, name);
	api_save_run(c, names);
}

static void api_image_prune(struct api_call *c)
{
	json_t *filters = NULL;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0)
		api_reply_err(c, &e);
	else
		images_prune(c->api->images, filters, api_done_json, api_call_ref(c));
	json_decref(filters);
}

const struct api_route api_routes_images[] = {
	{ "GET", "/images/json", api_image_list },
	{ "POST", "/images/prune", api_image_prune },
	{ "GET", "/images/get", api_images_get },
	{ "GET", "/images/**/get", api_image_get },
	{ "POST", "/images/load", api_image_load },
	{ "POST", "/images/create", api_image_create },
	{ "GET", "/images/**/json", api_image_inspect },
	{ "GET", "/images/**/history", api_image_history },
	{ "POST", "/images/**/tag", api_image_tag },
	{ "DELETE", "/images/**", api_image_remove },
	{ 0 },
};
