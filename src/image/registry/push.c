/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/registry.h"
#include "image/split.h"

/*
 * Theory of operation
 *
 * Of each layer the engine knows under which digests registries have it (from pulls and pushes). So for each, in this order: does the
 * repository have one of them (HEAD)? may it be mounted from another repository of the registry? Only else it is sent: the layer's archive
 * put together again (see split.c), compressed and hashed on the way into one upload session, which its digest closes. The archive's own
 * digest is compared before that, so a layer that was tampered with is never published. Then the config, then the manifest: a registry that
 * has the manifest has all that it names.
 */
enum { IO_SIZE = 128 * 1024, GZIP_LEVEL = 6 };
#define TELL_NS ((int64_t)100 * 1000000)

struct pushed {
	struct image *image;		/* a copy of our own */
	char *full, *tag;
	struct descriptor *layers;	/* as the registry has them */
	char digest[DIGEST_SIZE];	/* of the manifest; "" until it is there */
};

struct push_job {
	struct work work;
	struct image_transfer *t;
	struct session *s;
	struct pushed *p;
	size_t k;
	char id[16];
	struct descriptor *to;
};

/* Is the blob in the repository? 1, 0, -1 with e. */
static int blob_there(struct session *s, const char *digest, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/blobs/%s", s->repo, digest);
	struct call c = { .method = "HEAD", .path = path };
	struct fetch *f;
	int status;

	f = session_call_retry(s, &c, &status, e);
	if (!f)
		return -1;
	fetch_free(f);
	return status == 200;
}

static void found(struct push_job *j, const struct image_blob *b)
{
	*j->to = (struct descriptor){ .size = b->size };
	memcpy(j->to->digest, b->digest, sizeof(j->to->digest));
	snprintf(j->to->type, sizeof(j->to->type), "%s", b->type);
}

/* An upload session; with mount and from, perhaps the blob at once: 1. 0: *location is the caller's. -1 with e. */
static int upload_begin(struct session *s, const char *mount, const char *from, char **location, struct err *e)
{
	CLEANUP(mem_freep) char *path = mount ? mem_printf("%s/blobs/uploads/?mount=%s&from=%s", s->repo, mount, from) :
						mem_printf("%s/blobs/uploads/", s->repo);
	struct call c = { .method = "POST", .path = path };
	struct image_ref r = { 0 };
	char name[800];
	struct fetch *f;
	int status, rc;

	f = session_call_retry(s, &c, &status, e);
	if (!f)
		return -1;
	if (status == 201) {
		rc = 1;
	} else if (status == 202) {
		*location = session_location(s, f, e);
		rc = *location ? 0 : -1;
	} else if (status == 401 || status == 403) {
		CLEANUP(mem_freep) char *what = NULL;

		snprintf(r.domain, sizeof(r.domain), "%s", s->domain);
		snprintf(r.path, sizeof(r.path), "%s", s->repo);
		what = mem_printf("push access denied for %s, repository does not exist or may require authorization", image_ref_familiar(&r, name, sizeof(name)));
		rc = session_refused(s, f, status, what, e);
	} else {
		rc = session_refused(s, f, status < 400 ? 500 : status, "begin an upload", e);
	}
	fetch_free(f);
	return rc;
}

static char *with_digest(const char *location, const char *digest)
{
	return mem_printf("%s%cdigest=%s", location, strchr(location, '?') ? '&' : '?', digest);
}

/* Closes an upload: body is the whole blob, or NULL when it has been sent. */
static int upload_end(struct session *s, const char *location, const char *digest, const void *body, size_t n, bool *transient, struct err *e)
{
	CLEANUP(mem_freep) char *url = with_digest(location, digest);
	struct call c = { .method = "PUT", .path = url, .type = "application/octet-stream", .body = body ? body : "", .len = n };
	struct fetch *f;
	int status, rc = 0;

	f = session_call(s, &c, &status, transient, e);
	if (!f)
		return -1;
	if (status != 201 && status != 204) {
		*transient = session_may_retry(status);
		rc = session_refused(s, f, status < 400 ? 500 : status, "finish an upload", e);
	}
	fetch_free(f);
	return rc;
}

/* Compresses what comes out of the layer into the request. */
struct gzip {
	z_stream z;
	char in[IO_SIZE], out[IO_SIZE];
	struct digest *tar, *blob;
	uint64_t read, written;
};

static int gzip_pass(struct gzip *g, struct fetch *f, int flush, struct err *e)
{
	do {
		size_t n;

		g->z.next_out = (unsigned char *)g->out;
		g->z.avail_out = IO_SIZE;
		if (deflate(&g->z, flush) == Z_STREAM_ERROR)
			return err_set(e, ERR_INTERNAL, "compress a layer: the stream is damaged");
		n = IO_SIZE - g->z.avail_out;
		digest_update(g->blob, g->out, n);
		g->written += n;
		if (n && fetch_write(f, g->out, n, e) < 0)
			return -1;
	} while (!g->z.avail_out);
	return 0;
}

static int send_all(struct push_job *j, struct gzip *g, struct split_reader *r, struct fetch *f, struct err *e)
{
	uint64_t total = j->p->image->bytes[j->k];
	int64_t told = 0, now;
	ssize_t n;

	while ((n = split_read(r, g->in, IO_SIZE)) > 0) {
		digest_update(g->tar, g->in, (size_t)n);
		g->read += (uint64_t)n;
		g->z.next_in = (unsigned char *)g->in;
		g->z.avail_in = (unsigned)n;
		if (gzip_pass(g, f, Z_NO_FLUSH, e) < 0)
			return -1;
		now = clock_now();
		if (now - told >= TELL_NS) {
			told = now;
			transfer_progress(j->t, j->id, "Pushing", g->read < total ? g->read : total, total);
		}
	}
	if (n < 0) {
		*e = *split_error(r);
		return -1;
	}
	if (gzip_pass(g, f, Z_FINISH, e) < 0)
		return -1;
	transfer_progress(j->t, j->id, "Pushing", g->read, g->read);
	return 0;
}

/* The blob's bytes into the upload session; its next location in *next. */
static int send_blob(struct push_job *j, const char *location, struct gzip *g, char **next, bool *transient, struct err *e)
{
	const char *diff = image_diff(j->p->image, j->k);
	struct call c = { .method = "PATCH", .path = location, .stream = true };
	CLEANUP(fd_closep) int layer = layer_open(j->t->im, j->p->image->chains[j->k], e);
	CLEANUP(mem_freep) char *what = mem_printf("the layer %.19s", diff);
	struct split_reader *r = layer < 0 ? NULL : split_open(layer, what, e);
	struct fetch *f;
	char tar[DIGEST_SIZE];
	bool read_failed;
	int status, rc;

	if (!r)
		return -1;
	f = session_call(j->s, &c, &status, transient, e);
	rc = send_all(j, g, r, f, e);
	read_failed = split_error(r)->kind;
	if (rc == 0)
		fetch_finish(f);
	split_reader_free(r);
	digest_end_take(TAKE(g->tar), tar);
	if (rc == 0 && !str_eq(tar, diff)) {
		fetch_free(f);
		return err_set(e, ERR_INTERNAL, "%s has changed on this machine's disk: its digest is %s", what, tar);
	}
	/* A registry that does not want it any more says why. */
	if (rc == 0 || !read_failed) {
		struct err why = { 0 };

		status = fetch_head(f, &why);
		if (status >= 400) {
			*transient = session_may_retry(status);
			rc = session_refused(j->s, f, status, "send a layer", e);
		} else if (status < 0) {
			*transient = fetch_transient(f);
			*e = why;
			rc = -1;
		} else if (rc == 0) {
			*next = session_location(j->s, f, e);
			rc = *next ? 0 : -1;
		}
	}
	fetch_free(f);
	return rc;
}

static int layer_send(struct push_job *j, char *location, bool *transient, struct err *e)
{
	struct gzip *g = mem_zalloc(sizeof(*g));
	CLEANUP(mem_freep) char *next = NULL;
	char digest[DIGEST_SIZE];
	int rc;

	if (deflateInit2(&g->z, GZIP_LEVEL, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(g);
		return err_errno(e, ENOMEM, "compress a layer");
	}
	g->tar = digest_new();
	g->blob = digest_new();
	rc = send_blob(j, location, g, &next, transient, e);
	deflateEnd(&g->z);
	digest_end_take(TAKE(g->tar), NULL);
	digest_end_take(TAKE(g->blob), digest);
	if (rc == 0)
		rc = upload_end(j->s, next, digest, NULL, 0, transient, e);
	if (rc == 0) {
		*j->to = (struct descriptor){ .size = g->written, .type = LAYER_DOCKER };
		memcpy(j->to->digest, digest, sizeof(j->to->digest));
	}
	free(g);
	return rc;
}

/* One layer; what is said about it at the end goes to *said. */
static int layer_push(struct push_job *j, char **said, struct err *e)
{
	const struct image *i = j->p->image;
	size_t domain = strlen(j->s->domain);
	CLEANUP(mem_freep) char *location = NULL;

	for (size_t b = 0; b < i->nblobs; b++) {
		int rc;

		if (i->blobs[b].layer != j->k)
			continue;
		rc = blob_there(j->s, i->blobs[b].digest, e);
		if (rc < 0)
			return -1;
		if (rc) {
			found(j, &i->blobs[b]);
			*said = mem_strdup("Layer already exists");
			return 0;
		}
	}
	for (size_t b = 0; b < i->nblobs && !location; b++) {
		const char *repo = i->blobs[b].repo;
		int rc;

		if (i->blobs[b].layer != j->k || strncmp(repo, j->s->domain, domain) || repo[domain] != '/' || str_eq(repo + domain + 1, j->s->repo))
			continue;
		rc = upload_begin(j->s, i->blobs[b].digest, repo + domain + 1, &location, e);
		if (rc < 0)
			return -1;
		if (rc) {
			found(j, &i->blobs[b]);
			*said = mem_printf("Mounted from %s", repo + domain + 1);
			return 0;
		}
	}
	for (unsigned n = 1;; n++) {
		bool transient = false;

		if (!location && upload_begin(j->s, NULL, NULL, &location, e) < 0)
			return -1;
		if (layer_send(j, location, &transient, e) == 0)
			break;
		free(TAKE(location));
		if (!transient || n >= j->s->cfg->attempts)
			return -1;
		if (!transfer_retry_sleep(j->t, j->id, session_pause(NULL, n)))
			return err_set(e, ERR_UNAVAILABLE, "context canceled");
	}
	*said = mem_strdup("Pushed");
	return 0;
}

static void job_run(struct work *w)
{
	struct push_job *j = CONTAINER_OF(w, struct push_job, work);
	CLEANUP(mem_freep) char *said = NULL;
	struct err e = { 0 };
	int rc;

	rc = transport_stopped(registry_of(j->t->im)->transport, &j->t->stop) ? err_set(&e, ERR_UNAVAILABLE, "context canceled") : layer_push(j, &said, &e);
	if (rc == 0)
		transfer_status(j->t, j->id, said);
	transfer_job_end(j->t, rc < 0 ? &e : NULL);
}

static void job_done(struct work *w)
{
	free(CONTAINER_OF(w, struct push_job, work));
}

static int layers_push(struct image_transfer *t, struct session *s, struct pushed *p, struct err *e)
{
	const struct image *i = p->image;

	for (size_t k = i->nlayers; k-- > 0;) {
		char id[16];

		snprintf(id, sizeof(id), "%.12s", image_diff(i, k) + strlen("sha256:"));
		transfer_status(t, id, "Preparing");
	}
	for (size_t k = i->nlayers; k-- > 0;) {
		struct push_job *j;
		size_t same = 0;

		/* One that another layer of the image is, too (twice the same step), is sent once. */
		while (same < k && !str_eq(image_diff(i, same), image_diff(i, k)))
			same++;
		if (same < k)
			continue;
		j = mem_zalloc(sizeof(*j));
		j->t = t;
		j->s = s;
		j->p = p;
		j->k = k;
		snprintf(j->id, sizeof(j->id), "%.12s", image_diff(i, k) + strlen("sha256:"));
		j->to = &p->layers[k];
		j->work.run = job_run;
		j->work.done = job_done;
		transfer_job_begin(t);
		work_start(registry_of(t->im)->up, &j->work);
	}
	if (transfer_jobs_wait(t, e) < 0)
		return -1;
	for (size_t k = 0; k < i->nlayers; k++)
		for (size_t same = 0; !*p->layers[k].digest && same < k; same++)
			if (str_eq(image_diff(i, same), image_diff(i, k)))
				p->layers[k] = p->layers[same];
	return 0;
}

static int config_push(struct session *s, const struct image *i, struct err *e)
{
	int rc = blob_there(s, i->id, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	for (unsigned n = 1;; n++) {
		CLEANUP(mem_freep) char *location = NULL;
		bool transient = false;

		if (upload_begin(s, NULL, NULL, &location, e) < 0)
			return -1;
		rc = upload_end(s, location, i->id, i->text, strlen(i->text), &transient, e);
		if (rc == 0 || !transient || n >= s->cfg->attempts)
			return rc;
		if (!transport_sleep(s->t, s->stop, session_pause(NULL, n)))
			return err_set(e, ERR_UNAVAILABLE, "context canceled");
	}
}

static json_t *descriptor_json(const char *type, uint64_t size, const char *digest)
{
	return json_pack("{s:s, s:I, s:s}", "mediaType", type, "size", (json_int_t)size, "digest", digest);
}

/* docker's kind; OCI's when a layer is compressed in a way that docker's has no word for. As docker writes it, to the byte. */
static char *manifest_text(const struct pushed *p, const char **type)
{
	const struct image *i = p->image;
	json_t *layers = json_array(), *m;
	bool oci = false;
	char *text;

	for (size_t k = 0; k < i->nlayers; k++)
		oci |= str_ends(p->layers[k].type, "+zstd") || str_ends(p->layers[k].type, ".zstd");
	for (size_t k = 0; k < i->nlayers; k++) {
		const struct descriptor *d = &p->layers[k];
		bool plain = str_ends(d->type, ".tar"), zstd = str_ends(d->type, "zstd");
		const char *t = oci ? (plain ? LAYER_OCI : zstd ? LAYER_OCI "+zstd" : LAYER_OCI "+gzip") :
				      (plain ? "application/vnd.docker.image.rootfs.diff.tar" : LAYER_DOCKER);

		json_array_append_new(layers, descriptor_json(t, d->size, d->digest));
	}
	*type = oci ? MANIFEST_OCI : MANIFEST_DOCKER;
	m = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", *type, "config",
		      descriptor_json(oci ? CONFIG_OCI : CONFIG_DOCKER, strlen(i->text), i->id), "layers", layers);
	text = json_dumps(m, JSON_INDENT(3) | JSON_PRESERVE_ORDER);
	json_decref(m);
	return text;
}

static int manifest_push(struct session *s, struct pushed *p, size_t *size, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/manifests/%s", s->repo, p->tag), *text;
	const char *type;
	struct call c = { .method = "PUT", .path = path };
	struct fetch *f;
	int status, rc = 0;

	text = manifest_text(p, &type);
	*size = strlen(text);
	digest_of(text, *size, p->digest);
	c.body = text;
	c.len = *size;
	c.type = type;
	f = session_call_retry(s, &c, &status, e);
	if (f && status != 201 && status != 200 && status != 202)
		rc = session_refused(s, f, status < 400 ? 500 : status, "put the manifest", e);
	if (!f || rc < 0)
		*p->digest = '\0';
	else if (fetch_header(f, "Docker-Content-Digest", 0) && !str_eq(fetch_header(f, "Docker-Content-Digest", 0), p->digest)) {
		rc = err_set(e, ERR_INTERNAL, "the registry stored the manifest as %.100s, not as %s", fetch_header(f, "Docker-Content-Digest", 0), p->digest);
		*p->digest = '\0';
	}
	fetch_free(f);
	return f ? rc : -1;
}

static int image_push(struct image_transfer *t, struct session *s, struct pushed *p, struct err *e)
{
	char line[256];
	size_t size;

	if (layers_push(t, s, p, e) < 0 || config_push(s, p->image, e) < 0 || manifest_push(s, p, &size, e) < 0)
		return -1;
	snprintf(line, sizeof(line), "%.128s: digest: %s size: %zu", p->tag, p->digest, size);
	transfer_status(t, NULL, line);
	transfer_say_take(t, json_pack("{s:{}, s:{s:s, s:s, s:I}}", "progressDetail", "aux", "Tag", p->tag, "Digest", p->digest, "Size", (json_int_t)size));
	return 0;
}

static void push_run(struct image_transfer *t)
{
	struct registry *r = registry_of(t->im);
	struct err *e = &t->err;
	struct image_ref ref = t->ref;
	char line[900];
	size_t n;
	struct endpoint *ep = endpoints_of(&r->cfg, t->ref.domain, &n);
	int rc = -1;

	*ref.tag = *ref.digest = '\0';
	snprintf(line, sizeof(line), "The push refers to repository [%s/%s]", ref.domain, ref.path);
	transfer_status(t, NULL, line);
	for (size_t k = 0; k < n && rc < 0 && !transfer_cancelled(t); k++) {
		struct session s;

		if (ep[k].mirror)
			continue;
		err_clear(e);
		session_init(&s, r->transport, &r->cfg, &t->creds, ref.domain, ref.path, "pull,push", &t->stop);
		rc = session_open(&s, &ep[k], e);
		if (rc == 0) {
			for (size_t i = 0; rc == 0 && i < t->npushed; i++)
				rc = image_push(t, &s, &t->pushed[i], e);
			k = n;
		}
		session_done(&s);
	}
	if (rc < 0 && !e->kind)
		err_set(e, ERR_UNAVAILABLE, "context canceled");
	endpoints_free(ep, n);
}

/* The reference by digest that the image has from now on; false: the image or the manifest is not there. */
static struct image *pushed_ref(struct image_transfer *t, const struct pushed *p, char *full, size_t size)
{
	struct image *i = images_find_id(t->im, p->image->id);
	struct image_ref r = t->ref;

	if (!i || !*p->digest)
		return NULL;
	*r.tag = '\0';
	snprintf(r.digest, sizeof(r.digest), "%s", p->digest);
	(void)image_ref_canonical(&r, full, size);
	return i;
}

static void push_tx(struct image_transfer *t, struct store_tx *tx)
{
	char full[800], repo[520];

	snprintf(repo, sizeof(repo), "%s/%s", t->ref.domain, t->ref.path);
	for (size_t k = 0; k < t->npushed; k++) {
		struct pushed *p = &t->pushed[k];
		struct image *i = pushed_ref(t, p, full, sizeof(full));
		json_t *doc;

		if (!i)
			continue;
		images_tx_ref(tx, full, i->id);
		for (size_t l = 0; l < i->nlayers; l++)
			image_blob_add(i, l, p->layers[l].digest, p->layers[l].size, p->layers[l].type, repo);
		doc = image_doc(i);
		store_tx_put(tx, "image", i->id, doc);
		json_decref(doc);
	}
}

static void push_end(struct image_transfer *t, const struct err *e)
{
	char full[800], familiar[800], name[800];
	struct image_ref r = t->ref;

	*r.tag = *r.digest = '\0';
	image_ref_familiar(&r, name, sizeof(name));
	for (size_t k = 0; k < t->npushed; k++) {
		struct pushed *p = &t->pushed[k];
		struct image *i = e ? NULL : pushed_ref(t, p, full, sizeof(full));

		if (i) {
			images_apply_ref(t->im, full, i);
			images_event(t->im, "push", images_familiar(p->full, familiar, sizeof(familiar)), name);
		}
		image_free(p->image);
		free(p->full);
		free(p->tag);
		free(p->layers);
	}
	free(t->pushed);
}

/* A copy of the image that outlives it; its layers are claimed. */
static int pushed_add(struct image_transfer *t, const struct image *i, const char *full, const char *tag, struct err *e)
{
	json_t *doc = image_doc(i);
	struct image *copy = image_from_doc(i->id, doc, e);
	struct pushed *p;
	uint64_t bytes;

	json_decref(doc);
	if (!copy)
		return -1;
	t->pushed = mem_realloc(t->pushed, (t->npushed + 1) * sizeof(*t->pushed));
	p = &t->pushed[t->npushed++];
	*p = (struct pushed){ .image = copy, .full = mem_strdup(full), .tag = mem_strdup(tag), .layers = mem_zalloc((i->nlayers + 1) * sizeof(*p->layers)) };
	for (size_t k = 0; k < i->nlayers; k++)
		(void)adding_has_layer(&t->add, i->chains[k], &bytes);
	return 0;
}

static int push_collect(struct image_transfer *t, struct err *e)
{
	struct images *im = t->im;
	struct image_ref r = t->ref, at;
	char full[800], familiar[800];
	const struct image *i;
	const char *key;
	size_t it = 0;

	if (*r.tag) {
		i = map_get(im->refs, image_ref_canonical(&r, full, sizeof(full)));
		if (!i)
			return err_set(e, ERR_NOT_FOUND, "An image does not exist locally with the tag: %s",
				       (*r.tag = '\0', image_ref_familiar(&r, familiar, sizeof(familiar))));
		return pushed_add(t, i, full, t->ref.tag, e);
	}
	while ((i = map_next(im->refs, &it, &key)))
		if (image_ref_parse(key, &at, NULL) == 0 && *at.tag && str_eq(at.domain, r.domain) && str_eq(at.path, r.path) &&
		    pushed_add(t, i, key, at.tag, e) < 0)
			return -1;
	if (!t->npushed)
		return err_set(e, ERR_NOT_FOUND, "An image does not exist locally with the tag: %s", image_ref_familiar(&r, familiar, sizeof(familiar)));
	return 0;
}

struct image_transfer *image_push_start(struct images *im, const char *name, const char *tag, const char *auth, const struct image_transfer_ops *ops,
					void *user, struct err *e)
{
	struct registry_creds creds;
	struct image_transfer *t;
	struct image_ref r;

	if (image_ref_parse(name, &r, e) < 0)
		return NULL;
	if (*r.digest) {
		err_set(e, ERR_INVALID, "cannot push a digest reference");
		return NULL;
	}
	if (!str_empty(tag)) {
		CLEANUP(mem_freep) char *whole = mem_printf("%s/%s:%s", r.domain, r.path, tag);

		if (image_ref_parse(whole, &r, e) < 0)
			return NULL;
	}
	if (registry_creds_parse(auth, &creds, e) < 0)
		return NULL;
	t = transfer_new(im, ops, user);
	t->ref = r;
	t->creds = creds;
	if (push_collect(t, e) < 0) {
		push_end(t, e);
		transfer_free(t);
		free(t);
		return NULL;
	}
	t->tx = push_tx;
	t->end = push_end;
	transfer_start(t, push_run);
	return t;
}
