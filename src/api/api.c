/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "api/api.h"

#include <malloc.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static const struct api_route *const api_tables[] = {
	api_routes_system,
	api_routes_containers,
	api_routes_streams,
	api_routes_exec,
	api_routes_registry,
	api_routes_images,
	api_routes_networks,
	api_routes_lab, api_routes_names,
	api_routes_stats,
	api_routes_volumes,
	api_routes_archive,
	api_routes_prune,
	api_routes_build,
};

/* After the last request that changed something or was large: what it and its like have freed goes back to the kernel. */
#define TRIM_NS 1000000000ll

static void api_trim(void *user)
{
	(void)user;
	(void)malloc_trim(0);
}

void api_had(struct api *a, size_t n)
{
	if (n >= API_LARGE)
		loop_timer_set(a->trim, TRIM_NS);
}

struct api *api_new(struct loop *l, struct engine *en, struct images *im, struct volumes *vs, struct builds *bs)
{
	struct api *a = mem_zalloc(sizeof(*a));

	*a = (struct api){ .loop = l, .engine = en, .images = im, .volumes = vs, .builds = bs };
	a->trim = loop_timer_new(l, api_trim, a);
	return a;
}

void api_free(struct api *a)
{
	if (a)
		loop_timer_free(a->trim);
	free(a);
}

static void api_closed(struct http_req *r, void *user)
{
	struct api_call *c = user;
	void (*cancel)(void *) = c->op_cancel;

	c->r = NULL;
	c->op_cancel = NULL;
	if (cancel)
		cancel(c->op);
	api_call_unref(c);
}

void api_handle(struct http_req *r, void *user)
{
	const char *method = http_req_method(r), *path;
	struct api_call *c = mem_zalloc(sizeof(*c));
	struct err e = { 0 };

	*c = (struct api_call){ .api = user, .r = r, .refs = 1 };
	http_req_set_user(r, c);
	http_req_on_close(r, api_closed, c);
	http_reply_header(r, "Api-Version", API_VERSION_MAX);
	http_reply_header(r, "Docker-Experimental", "false");
	http_reply_header(r, "Ostype", "linux");
	http_reply_header(r, "Server", "kedge/" PACKAGE_VERSION " (linux)");
	if (api_version_cut(http_req_path(r), &path, &c->minor, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	log_debug("api", "%s %s", method, path);
	for (size_t t = 0; t < N(api_tables); t++) {
		for (const struct api_route *rt = api_tables[t]; rt->method; rt++) {
			if (!api_route_match(rt->pattern, path, &c->arg))
				continue;
			if (str_eq(rt->method, method)) {
				if (!str_eq(method, "GET") && !str_eq(method, "HEAD"))
					loop_timer_set(c->api->trim, TRIM_NS);
				rt->fn(c);
				return;
			}
			free(TAKE(c->arg));
		}
	}
	/* A path that is there for another method too, as with dockerd. */
	http_reply(r, 404, "application/json", "{\"message\":\"page not found\"}", 28);
}
