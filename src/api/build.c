/* SPDX-License-Identifier: Apache-2.0 */
/* /build: docker's classic builder as its clients speak to it. */
#include <string.h>

#include "api/api_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/auth.h"

struct api_build {
	struct api_call *call;
	struct build *build;
	bool paused;
};

static void build_message(void *user, const json_t *msg)
{
	struct api_build *ab = user;
	struct http_req *r = ab->call->r;
	char *text;

	if (!r)
		return;
	if (!http_reply_started(r))
		http_reply_start(r, 200, "application/json");
	text = json_text(msg);
	(void)http_reply_write(r, text, strlen(text));
	free(text);
	if (http_reply_write(r, "\r\n", 2) > API_QUEUE_HIGH && !ab->paused) {
		ab->paused = true;
		build_pause(ab->build, true);
	}
}

static void build_drain(struct http_req *r, void *user)
{
	struct api_build *ab = user;

	(void)r;
	if (!ab->paused)
		return;
	ab->paused = false;
	build_pause(ab->build, false);
}

static void build_resume(void *user)
{
	struct api_build *ab = user;

	if (ab->call->r)
		http_req_read_pause(ab->call->r, false);
}

static void build_end(void *user, const struct err *e, int code)
{
	struct api_build *ab = user;
	struct api_call *c = ab->call;

	c->op_cancel = NULL;
	if (c->r) {
		http_reply_on_drain(c->r, NULL, NULL);
		if (e && !http_reply_started(c->r)) {
			api_reply_err(c, e);
		} else {
			if (e) {
				json_t *text = json_bytes(e->msg, strlen(e->msg)), *detail = json_pack("{s:O}", "message", text), *msg;

				if (code)
					json_object_set_new(detail, "code", json_integer(code));
				msg = json_pack("{s:o, s:o}", "errorDetail", detail, "error", text);
				ab->paused = true;	/* nothing is left to hold up */
				build_message(ab, msg);
				json_decref(msg);
			}
			if (!http_reply_started(c->r))
				http_reply_start(c->r, 200, "application/json");
			http_reply_end(c->r);
		}
	}
	free(ab);
}

static void build_cancel(void *op)
{
	struct api_build *ab = op;

	build_abort(ab->build);
	free(ab);
}

static void build_data(struct http_req *r, const void *p, size_t n, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_build *ab = c->op;

	(void)user;
	/* Ended early: the rest is read and dropped. */
	if (c->op_cancel && !build_feed(ab->build, p, n))
		http_req_read_pause(r, true);
}

static void build_body_end(struct http_req *r, bool ok, void *user)
{
	struct api_call *c = http_req_user(r);
	struct api_build *ab = c->op;

	(void)user;
	/* Not ok: the close that follows aborts. */
	if (c->op_cancel && ok)
		build_finish(ab->build);
}

/* A query value that is JSON of one kind; NULL without one. */
static int query_json(struct api_call *c, const char *key, json_type type, json_t **ret, struct err *e)
{
	const char *text = http_req_query(c->r, key);

	*ret = NULL;
	if (str_empty(text))
		return 0;
	*ret = json_parse(text, strlen(text), key, e);
	if (!*ret)
		return -1;
	if (json_is_null(*ret)) {
		json_decref(*ret);
		*ret = NULL;
		return 0;
	}
	return json_typeof(*ret) == type ? 0 : err_set(e, ERR_INVALID, "%s: wrong type", key);
}

static int query_strings(struct api_call *c, const char *key, bool nulls, json_t **ret, struct err *e)
{
	const char *name;
	json_t *v;

	if (query_json(c, key, JSON_OBJECT, ret, e) < 0)
		return -1;
	json_object_foreach(*ret, name, v)
		if (!json_is_string(v) && !(nulls && json_is_null(v)))
			return err_set(e, ERR_INVALID, "%s: the value of \"%.100s\" is not a string", key, name);
	return 0;
}

/* What the containers of RUN get. */
static int build_host(struct api_call *c, json_t *host, struct err *e)
{
	static const struct { const char *query, *key; } numbers[] = {
		{ "memory", "Memory" }, { "memswap", "MemorySwap" }, { "cpushares", "CpuShares" }, { "cpuperiod", "CpuPeriod" },
		{ "cpuquota", "CpuQuota" }, { "shmsize", "ShmSize" },
	}, texts[] = {
		{ "cpusetcpus", "CpusetCpus" }, { "cpusetmems", "CpusetMems" }, { "cgroupparent", "CgroupParent" }, { "networkmode", "NetworkMode" },
		{ "isolation", "Isolation" },
	};
	const char *text;
	json_t *list = NULL;
	int64_t n;

	for (size_t i = 0; i < N(numbers); i++) {
		if (api_query_int(c, numbers[i].query, -1, INT64_MAX, 0, &n, e) < 0)
			return -1;
		if (n)
			json_object_set_new(host, numbers[i].key, json_integer(n));
	}
	for (size_t i = 0; i < N(texts); i++) {
		text = http_req_query(c->r, texts[i].query);
		if (!str_empty(text))
			json_object_set_new(host, texts[i].key, json_string(text));
	}
	if (query_json(c, "ulimits", JSON_ARRAY, &list, e) < 0) {
		json_decref(list);
		return -1;
	}
	if (list)
		json_object_set_new(host, "Ulimits", list);
	list = json_array();
	for (size_t i = 0; (text = http_req_query_n(c->r, "extrahosts", i)); i++) {
		/* One value may be a list of its own, as older clients send it. */
		if (*text == '[') {
			json_t *more = json_parse(text, strlen(text), "extrahosts", e);

			if (!json_is_array(more)) {
				json_decref(more);
				json_decref(list);
				return err_set(e, ERR_INVALID, "extrahosts: wrong type");
			}
			json_array_extend(list, more);
			json_decref(more);
		} else if (*text) {
			json_array_append_new(list, json_string(text));
		}
	}
	json_object_set_new(host, "ExtraHosts", list);
	list = json_array();
	for (size_t i = 0; (text = http_req_query_n(c->r, "securityopt", i)); i++)
		if (*text)
			json_array_append_new(list, json_string(text));
	json_object_set_new(host, "SecurityOpt", list);
	return 0;
}

/* X-Registry-Config: base64 of {server: AuthConfig}. */
static int build_registries(struct api_call *c, json_t **ret, struct err *e)
{
	const char *header = http_req_header(c->r, "X-Registry-Config");
	CLEANUP(buf_done) struct buf text = BUF_INIT;

	if (str_empty(header))
		return 0;
	if (registry_unbase64(header, &text) < 0)
		return err_set(e, ERR_INVALID, "invalid X-Registry-Config header: it is no base64");
	*ret = json_parse(text.data ? text.data : "", text.len, "X-Registry-Config", e);
	if (!*ret)
		return -1;
	return json_is_object(*ret) || json_is_null(*ret) ? 0 : err_set(e, ERR_INVALID, "X-Registry-Config: wrong type");
}

/* cachefrom: a JSON array of references. */
static int build_cache_from(struct api_call *c, char ***ret, struct err *e)
{
	CLEANUP(json_freep) json_t *list = NULL;
	json_t *v;
	size_t i;

	if (query_json(c, "cachefrom", JSON_ARRAY, &list, e) < 0)
		return -1;
	json_array_foreach(list, i, v) {
		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "cachefrom: element %zu is not a string", i);
		*ret = strv_add(*ret, json_string_value(v));
	}
	return 0;
}

static int build_refuse(struct api_call *c, struct err *e)
{
	const char *remote = http_req_query(c->r, "remote"), *version = http_req_query(c->r, "version"), *outputs = http_req_query(c->r, "outputs");

	if (str_eq(version, "2") || str_eq(remote, "client-session"))
		return err_set(e, ERR_INVALID, "BuildKit is not supported: this engine builds as docker's classic builder does, use DOCKER_BUILDKIT=0");
	if (!str_empty(remote))
		return err_set(e, ERR_NOT_IMPLEMENTED, "a remote build context ('%.300s') is not supported: fetch it first and send it as the context", remote);
	if (http_req_query_flag(c->r, "squash", false))
		return err_set(e, ERR_INVALID, "squash is not supported: layers of an image are kept as they are built; use a stage of its own with COPY --from "
					       "for an image of one layer");
	if (!str_empty(outputs) && !str_eq(outputs, "[]") && !str_eq(outputs, "null"))
		return err_set(e, ERR_INVALID, "outputs: only an image can come out of a build here");
	return 0;
}

static void api_build_image(struct api_call *c)
{
	static const struct build_ops ops = { .message = build_message, .resume = build_resume, .end = build_end };
	CLEANUP(json_freep) json_t *args = NULL, *labels = NULL, *registries = NULL, *host = json_object();
	CLEANUP(strv_freep) char **tags = mem_zalloc(sizeof(*tags)), **cache_from = NULL;
	struct build_args a = { 0 };
	struct api_build *ab;
	struct err e = { 0 };
	const char *text;

	for (size_t i = 0; (text = http_req_query_n(c->r, "t", i)); i++)
		tags = strv_add(tags, text);
	if (build_refuse(c, &e) < 0 || query_strings(c, "buildargs", true, &args, &e) < 0 || query_strings(c, "labels", false, &labels, &e) < 0 ||
	    build_cache_from(c, &cache_from, &e) < 0 || build_registries(c, &registries, &e) < 0 || build_host(c, host, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	a = (struct build_args){ .tags = tags, .cache_from = cache_from, .dockerfile = http_req_query(c->r, "dockerfile"), .build_args = args, .labels = labels, .host = host,
				 .target = http_req_query(c->r, "target"), .platform = http_req_query(c->r, "platform"), .registries = registries,
				 .no_cache = http_req_query_flag(c->r, "nocache", false), .quiet = http_req_query_flag(c->r, "q", false),
				 .pull = http_req_query_flag(c->r, "pull", false), .rm = http_req_query_flag(c->r, "rm", true),
				 .force_rm = http_req_query_flag(c->r, "forcerm", false) };
	ab = mem_zalloc(sizeof(*ab));
	ab->call = c;
	ab->build = build_start(c->api->builds, &a, &ops, ab, &e);
	if (!ab->build) {
		free(ab);
		api_reply_err(c, &e);
		return;
	}
	c->op = ab;
	c->op_cancel = build_cancel;
	http_reply_on_drain(c->r, build_drain, ab);
	http_req_read_stream(c->r, build_data, build_body_end, NULL);
}

static void api_build_prune(struct api_call *c)
{
	static const char *const sizes[] = { "keep-storage", "reserved-space", "max-used-space", "min-free-space" };
	json_t *filters = NULL;
	struct err e = { 0 };
	int64_t n;

	for (size_t i = 0; i < N(sizes) && !e.kind; i++) {
		(void)api_query_int(c, sizes[i], 0, INT64_MAX, 0, &n, &e);
		if (!e.kind && n)
			err_set(&e, ERR_INVALID, "%s: the cache cannot be pruned to a size, only as a whole", sizes[i]);
	}
	if (!e.kind && api_filters(c, &filters, &e) == 0 && json_object_size(filters))
		err_set(&e, ERR_INVALID, "filters: the cache has nothing to filter by, only as a whole can it be pruned");
	json_decref(filters);
	if (e.kind)
		api_reply_err(c, &e);
	else
		builds_prune(c->api->builds, http_req_query_flag(c->r, "all", false), api_done_json, api_call_ref(c));
}

/* Where BuildKit's client offers its files and secrets. */
static void api_session(struct api_call *c)
{
	struct err e = { 0 };

	err_set(&e, ERR_NOT_IMPLEMENTED, "there is no BuildKit session: this engine builds as docker's classic builder does, use DOCKER_BUILDKIT=0");
	api_reply_err(c, &e);
}

const struct api_route api_routes_build[] = {
	{ "POST", "/session", api_session },
	{ "POST", "/build", api_build_image },
	{ "POST", "/build/prune", api_build_prune },
	{ 0 },
};
