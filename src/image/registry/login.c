/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to registries: are these credentials good, what does a reference stand for. */
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/registry.h"

static void nothing_left(struct image_transfer *t, const struct err *e)
{
	(void)t;
	(void)e;
}

/* Asks the first endpoint that is a registry. */
static int ask(struct image_transfer *t, const char *actions, int (*question)(struct image_transfer *t, struct session *s, struct err *e), struct err *e)
{
	struct registry *r = registry_of(t->im);
	size_t n;
	struct endpoint *ep = endpoints_of(&r->cfg, t->ref.domain, &n);
	int rc = -1;

	for (size_t k = 0; k < n && rc < 0 && !transfer_cancelled(t); k++) {
		struct session s;

		/* A mirror knows no credentials of the hub's. */
		if (ep[k].mirror && !actions)
			continue;
		err_clear(e);
		session_init(&s, r->transport, &r->cfg, &t->creds, t->ref.domain, t->ref.path, actions, &t->stop);
		rc = session_open(&s, &ep[k], e);
		if (rc == 0) {
			rc = question(t, &s, e);
			if (!ep[k].mirror)
				k = n;
		}
		session_done(&s);
	}
	endpoints_free(ep, n);
	if (rc < 0 && !e->kind)
		err_set(e, ERR_UNAVAILABLE, "context canceled");
	return rc;
}

static int ask_login(struct image_transfer *t, struct session *s, struct err *e)
{
	struct call c = { .method = "GET", .path = "" };
	CLEANUP(mem_freep) char *what = mem_printf("Get \"%s/v2/\"", s->ep.base);
	struct fetch *f;
	int status, rc = 0;

	f = session_call_retry(s, &c, &status, e);
	if (!f)
		return e->kind == ERR_UNAUTHORIZED ? err_wrap(e, "%s", what) : -1;
	if (status == 401)
		rc = err_set(e, ERR_UNAUTHORIZED, "%s: unauthorized: incorrect username or password", what);
	else if (status >= 400 && status != 404)
		rc = session_refused(s, f, status, what, e);
	fetch_free(f);
	if (rc == 0)
		transfer_say_take(t, json_pack("{s:s, s:s}", "Status", "Login Succeeded", "IdentityToken", s->refresh ? s->refresh : ""));
	return rc;
}

static void login_run(struct image_transfer *t)
{
	(void)ask(t, NULL, ask_login, &t->err);
}

/* "https://index.docker.io/v1/", "localhost:5000", "": the registry's name. The caller frees. */
static char *server_name(const char *address)
{
	const char *host = strstr(address, "://");
	char *name;

	host = host ? host + 3 : address;
	name = mem_strndup(host, strcspn(host, "/"));
	if (!*name || str_eq(name, "index.docker.io") || str_eq(name, "registry-1.docker.io") || str_eq(name, "docker.io")) {
		free(name);
		name = mem_strdup("docker.io");
	}
	return name;
}

struct image_transfer *image_login_start(struct images *im, const json_t *body, const struct image_transfer_ops *ops, void *user, struct err *e)
{
	CLEANUP(mem_freep) char *name = server_name(json_str(body, "serveraddress", "")), *whole = mem_printf("%s/x", name);
	struct image_transfer *t;
	struct image_ref r;

	if (image_ref_parse(whole, &r, NULL) < 0 || strcasecmp(r.domain, name)) {
		/* "localhost" alone and "host" without a dot are no registries in a reference; here they are. */
		if (!name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")] && strlen(name) < sizeof(r.domain)) {
			r = (struct image_ref){ 0 };
			strcpy(r.domain, name);
		} else {
			err_set(e, ERR_INVALID, "'%.300s' is not the name of a registry", json_str(body, "serveraddress", ""));
			return NULL;
		}
	}
	t = transfer_new(im, ops, user);
	t->ref = r;
	registry_creds_of(body, &t->creds);
	t->end = nothing_left;
	transfer_start(t, login_run);
	return t;
}

static json_t *platform_of(const json_t *o)
{
	static const char *const keys[] = { "architecture", "os", "os.version", "os.features", "variant" };
	json_t *p = json_object();

	for (size_t i = 0; i < N(keys); i++)
		if (json_object_get(o, keys[i]))
			json_object_set_new(p, keys[i], json_deep_copy(json_object_get(o, keys[i])));
	return p;
}

static int ask_distribution(struct image_transfer *t, struct session *s, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT, config = BUF_INIT;
	CLEANUP(manifest_done) struct manifest m = { 0 };
	json_t *platforms = json_array(), *d;
	char digest[DIGEST_SIZE];
	size_t i;

	if (session_manifest(s, *t->ref.digest ? t->ref.digest : t->ref.tag, &text, &m, digest, e) < 0) {
		json_decref(platforms);
		return -1;
	}
	if (m.list) {
		json_array_foreach(json_arr(m.doc, "manifests"), i, d)
			json_array_append_new(platforms, platform_of(json_obj(d, "platform")));
	} else {
		CLEANUP(json_freep) json_t *doc = NULL;

		if (session_blob(s, &m.config, IMAGE_CONFIG_MAX, &config, e) == 0)
			doc = json_parse(config.data, config.len, "the image config", e);
		if (!doc) {
			json_decref(platforms);
			return -1;
		}
		json_array_append_new(platforms, platform_of(doc));
	}
	transfer_say_take(t, json_pack("{s:{s:s, s:s, s:I}, s:o}", "Descriptor", "mediaType", m.type, "digest", digest, "size", (json_int_t)text.len,
				       "Platforms", platforms));
	return 0;
}

static void distribution_run(struct image_transfer *t)
{
	(void)ask(t, "pull", ask_distribution, &t->err);
}

struct image_transfer *image_distribution_start(struct images *im, const char *ref, const char *auth, const struct image_transfer_ops *ops, void *user,
						struct err *e)
{
	struct registry_creds creds;
	struct image_transfer *t;
	struct image_ref r;

	if (image_ref_parse(ref, &r, e) < 0 || registry_creds_parse(auth, &creds, e) < 0)
		return NULL;
	if (*r.digest)
		*r.tag = '\0';
	else if (!*r.tag)
		strcpy(r.tag, "latest");
	t = transfer_new(im, ops, user);
	t->ref = r;
	t->creds = creds;
	t->end = nothing_left;
	transfer_start(t, distribution_run);
	return t;
}
