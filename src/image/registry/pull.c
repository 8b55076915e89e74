/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/registry.h"

/*
 * Theory of operation
 *
 *   thread of the pull: endpoint ─► manifest ─► list? platform's manifest ─► config ─► one job a layer ─► all there: disk, commit
 *   thread of a layer:  blob ─► hash ─► decompress ─► hash ─► unpack, all in one pass while it comes in
 *
 * Digests chain: the reference (or the list) names the manifest, the manifest the config and the blobs, the config what the blobs must
 * uncompress to. Nothing that does not match its digest becomes a layer, and nothing at all is visible before the one commit at the end.
 *
 * A connection that breaks costs an attempt, and the layer goes on where it was (Range), so that the hashes and the unpacking go on, too;
 * a server that knows no ranges sends it all again and we skip. Attempts count anew when bytes have come.
 */
enum { TELL_NS = 100 * 1000000, TAGS_MAX = 10 * 1000, TAGS_BODY_MAX = 4 * 1024 * 1024 };

struct pulled {
	char *full;		/* canonical reference */
	char digest[DIGEST_SIZE];
};

struct layer_job {
	struct work work;
	struct image_transfer *t;
	struct session *s;
	struct descriptor d;
	char diff[DIGEST_SIZE], chain[DIGEST_SIZE], id[16];
	uint64_t *bytes;	/* where the size goes */
	/* the blob on its way */
	struct fetch *f;
	struct digest *digest;
	uint64_t got, skip;
	unsigned attempt;
	int64_t told;
	struct err err;
};

/* A request for the rest of the blob. 0, 1: try again later, -1 for good. */
static int blob_open(struct layer_job *j)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/blobs/%s", j->s->repo, j->d.digest);
	struct call c = { .method = "GET", .path = path };
	unsigned long long from;
	const char *range;
	char want[48];
	bool transient = false;
	int status;

	if (j->got) {
		snprintf(want, sizeof(want), "bytes=%llu-", (unsigned long long)j->got);
		c.range = want;
	}
	err_clear(&j->err);
	j->f = session_call(j->s, &c, &status, &transient, &j->err);
	if (!j->f)
		return transient ? 1 : -1;
	if (status >= 400) {
		bool again = session_may_retry(status);
		CLEANUP(mem_freep) char *what = mem_printf("the layer %.19s", j->d.digest);

		session_refused(j->s, j->f, status, what, &j->err);
		return again ? 1 : -1;
	}
	j->skip = j->got;
	if (status == 206) {
		range = fetch_header(j->f, "Content-Range", 0);
		if (!range || sscanf(range, "bytes %llu-", &from) != 1 || from > j->got)
			return err_set(&j->err, ERR_INTERNAL, "the layer %.19s: the registry answers with another range than the one asked for", j->d.digest);
		j->skip = j->got - from;
	}
	return 0;
}

static void blob_close(struct layer_job *j)
{
	fetch_free(TAKE(j->f));
}

/* After a failure that may pass: waits, or gives up. */
static int blob_again(struct layer_job *j)
{
	int64_t pause = session_pause(j->f, ++j->attempt);

	blob_close(j);
	if (j->attempt >= j->s->cfg->attempts)
		return -1;
	log_debug("image", "layer %s: %s, attempt %u", j->d.digest, j->err.msg, j->attempt + 1);
	if (!transfer_retry_sleep(j->t, j->id, pause))
		return err_set(&j->err, ERR_UNAVAILABLE, "context canceled");
	return 0;
}

static void blob_tell(struct layer_job *j, bool end)
{
	int64_t now = clock_now();

	if (!end && now - j->told < TELL_NS)
		return;
	j->told = now;
	transfer_progress(j->t, j->id, "Downloading", j->got, j->d.size);
}

/* The unpacker's source. */
static ssize_t blob_read(void *user, void *p, size_t n)
{
	struct layer_job *j = user;

	for (;;) {
		ssize_t got;
		int rc = 0;

		if (!j->f) {
			rc = blob_open(j);
			if (rc < 0)
				return -EIO;
		}
		if (rc == 0) {
			err_clear(&j->err);
			got = fetch_read(j->f, p, n, &j->err);
			if (got == 0 && j->got == j->d.size)
				return 0;
			if (got > 0 && j->skip) {
				uint64_t drop = j->skip < (uint64_t)got ? j->skip : (uint64_t)got;

				j->skip -= drop;
				got -= (ssize_t)drop;
				memmove(p, (char *)p + drop, (size_t)got);
				if (!got)
					continue;
			}
			if (got > 0 && (uint64_t)got > j->d.size - j->got) {
				err_set(&j->err, ERR_INTERNAL, "the layer %.19s: the registry sends more than the %llu bytes that the manifest names",
					j->d.digest, (unsigned long long)j->d.size);
				return -EIO;
			}
			if (got > 0) {
				digest_update(j->digest, p, (size_t)got);
				j->got += (uint64_t)got;
				j->attempt = 0;
				blob_tell(j, false);
				return got;
			}
			if (got == 0)
				err_set(&j->err, ERR_INTERNAL, "the layer %.19s: the registry sent %llu bytes of %llu", j->d.digest,
					(unsigned long long)j->got, (unsigned long long)j->d.size);
			else if (!fetch_transient(j->f))
				return -EIO;
		}
		if (blob_again(j) < 0)
			return -EIO;
	}
}

/* What stands behind the compressed stream belongs to the blob and its digest. */
static int blob_drain(struct layer_job *j)
{
	char rest[16384];
	ssize_t n;

	while ((n = blob_read(j, rest, sizeof(rest))) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int layer_pull(struct layer_job *j, struct err *e)
{
	CLEANUP(fd_closep) int keep = -1, fs = -1;
	struct unpack_result res;
	char sub[64], what[64], digest[DIGEST_SIZE];
	int rc;

	if (adding_layer_dir(&j->t->add, sub, sizeof(sub), &keep, &fs, e) < 0)
		return -1;
	snprintf(what, sizeof(what), "the layer %.19s", j->d.digest);
	rc = unpack_layer(fs, keep, &(struct unpack_source){ blob_read, j }, what, &res, e);
	if (rc == 0)
		rc = blob_drain(j);
	if (rc < 0) {
		/* The blob's own error says more than the unpacker's about it. */
		if (j->err.kind)
			*e = j->err;
		return -1;
	}
	transfer_progress(j->t, j->id, "Downloading", j->got, j->d.size);
	transfer_status(j->t, j->id, "Verifying Checksum");
	digest_end_take(TAKE(j->digest), digest);
	if (!str_eq(digest, j->d.digest))
		return err_set(e, ERR_INTERNAL, "filesystem layer verification failed for digest %s: the registry sent %s", j->d.digest, digest);
	transfer_status(j->t, j->id, "Download complete");
	if (!str_eq(res.diff, j->diff))
		return err_set(e, ERR_INTERNAL, "%s is not the one that the image's config names: it uncompresses to %s, not %s", what, res.diff, j->diff);
	transfer_progress(j->t, j->id, "Extracting", j->d.size, j->d.size);
	adding_fresh(&j->t->add, j->chain, res.bytes, sub);
	*j->bytes = res.bytes;
	transfer_status(j->t, j->id, "Pull complete");
	return 0;
}

static void layer_run(struct work *w)
{
	struct layer_job *j = CONTAINER_OF(w, struct layer_job, work);
	struct err e = { 0 };
	int rc;

	if (transport_stopped(registry_of(j->t->im)->transport, &j->t->stop)) {
		rc = err_set(&e, ERR_UNAVAILABLE, "context canceled");
	} else {
		j->digest = digest_new();
		rc = layer_pull(j, &e);
		digest_end_take(TAKE(j->digest), NULL);
		blob_close(j);
	}
	/* From here on the pull may be over, and j->t gone. */
	transfer_job_end(j->t, rc < 0 ? &e : NULL);
}

static void layer_done(struct work *w)
{
	free(CONTAINER_OF(w, struct layer_job, work));
}

static void layer_start(struct image_transfer *t, struct session *s, const struct image *i, size_t k, const struct descriptor *d)
{
	struct layer_job *j = mem_zalloc(sizeof(*j));

	j->t = t;
	j->s = s;
	j->d = *d;
	snprintf(j->diff, sizeof(j->diff), "%s", image_diff(i, k));
	snprintf(j->chain, sizeof(j->chain), "%s", i->chains[k]);
	snprintf(j->id, sizeof(j->id), "%.12s", d->digest + strlen("sha256:"));
	j->bytes = &i->bytes[k];
	j->work.run = layer_run;
	j->work.done = layer_done;
	transfer_job_begin(t);
	work_start(registry_of(t->im)->down, &j->work);
}

/* All layers that are not there yet. */
static int layers_pull(struct image_transfer *t, struct session *s, struct image *i, const struct manifest *m, struct err *e)
{
	bool known = map_get(t->have, i->id);
	CLEANUP(mem_freep) bool *there = mem_zalloc(m->nlayers + 1);
	unsigned started = 0;
	size_t missing = 0;

	for (size_t k = 0; k < m->nlayers; k++) {
		there[k] = adding_has_layer(&t->add, i->chains[k], &i->bytes[k]);
		missing += !there[k];
	}
	if (known && !missing)
		return 0;
	for (size_t k = 0; k < m->nlayers; k++) {
		char id[16];

		snprintf(id, sizeof(id), "%.12s", m->layers[k].digest + strlen("sha256:"));
		transfer_status(t, id, there[k] ? "Already exists" : "Pulling fs layer");
	}
	if (missing)
		t->layers_new = true;
	for (size_t k = 0; k < m->nlayers; k++) {
		if (there[k])
			continue;
		if (started++ >= s->cfg->downloads) {
			char id[16];

			snprintf(id, sizeof(id), "%.12s", m->layers[k].digest + strlen("sha256:"));
			transfer_status(t, id, "Waiting");
		}
		layer_start(t, s, i, k, &m->layers[k]);
	}
	return transfer_jobs_wait(t, e);
}

/* The config: whose digest the manifest names, and which fits the manifest. */
static struct image *config_pull(struct image_transfer *t, struct session *s, const struct manifest *m, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	CLEANUP(json_freep) json_t *config = NULL;
	char what[96], want[128], have[128];
	struct platform p = { 0 };
	const json_t *diffs;

	if (session_blob(s, &m->config, IMAGE_CONFIG_MAX, &text, e) < 0) {
		err_wrap(e, "error pulling image configuration");
		return NULL;
	}
	snprintf(what, sizeof(what), "the image config %s", m->config.digest);
	config = json_parse(text.data, text.len, what, e);
	if (!config || bundle_config_check(config, what, e) < 0)
		return NULL;
	diffs = json_path(config, "rootfs.diff_ids");
	if (json_array_size(diffs) != m->nlayers) {
		err_set(e, ERR_INTERNAL, "the manifest names %zu layers, %s %zu", m->nlayers, what, json_array_size(diffs));
		return NULL;
	}
	if (t->platform.given && !platform_fits(&t->platform, config)) {
		snprintf(p.os, sizeof(p.os), "%s", json_str(config, "os", ""));
		snprintf(p.arch, sizeof(p.arch), "%s", json_str(config, "architecture", ""));
		snprintf(p.variant, sizeof(p.variant), "%s", json_str(config, "variant", ""));
		err_set(e, ERR_NOT_FOUND, "image with reference %s was found but does not provide the specified platform (%s): it is for %s", m->config.digest,
			platform_text(&t->platform, want, sizeof(want)), platform_text(&p, have, sizeof(have)));
		return NULL;
	}
	return image_new_take(buf_take(&text), TAKE(config), m->config.digest);
}

static void pulled_add(struct image_transfer *t, const char *full, const char *digest)
{
	t->pulled = mem_realloc(t->pulled, (t->npulled + 1) * sizeof(*t->pulled));
	t->pulled[t->npulled].full = mem_strdup(full);
	snprintf(t->pulled[t->npulled++].digest, DIGEST_SIZE, "%s", digest);
}

/* One tag or digest. */
static int reference_pull(struct image_transfer *t, struct session *s, const struct image_ref *ref, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	CLEANUP(manifest_done) struct manifest m = { 0 };
	const char *want = *ref->digest ? ref->digest : ref->tag;
	struct image_ref r = *ref;
	char digest[DIGEST_SIZE], one[DIGEST_SIZE], full[800], repo[520];
	struct descriptor d;
	char **names = NULL;
	struct image *i;

	if (session_manifest(s, want, &text, &m, digest, e) < 0)
		return -1;
	r.tag[0] = r.digest[0] = '\0';
	transfer_say_take(t, json_pack("{s:o, s:s}", "status", json_sprintf("Pulling from %s", r.path), "id", want));
	if (m.list) {
		struct manifest chosen = { 0 };

		if (manifest_choose(&m, &t->platform, &d, e) < 0)
			return -1;
		buf_done(&text);
		if (session_manifest(s, d.digest, &text, &chosen, one, e) < 0)
			return -1;
		manifest_done(&m);
		m = chosen;
		if (m.list)
			return err_set(e, ERR_INVALID, "the manifest list names another list for this platform, which is none of an image");
	}
	i = config_pull(t, s, &m, e);
	if (!i)
		return -1;
	if (layers_pull(t, s, i, &m, e) < 0) {
		image_free(i);
		return -1;
	}
	snprintf(repo, sizeof(repo), "%s/%s", r.domain, r.path);
	for (size_t k = 0; k < m.nlayers; k++)
		image_blob_add(i, k, m.layers[k].digest, m.layers[k].size, m.layers[k].type, repo);
	if (!*ref->digest) {
		snprintf(r.tag, sizeof(r.tag), "%s", ref->tag);
		names = strv_add(names, image_ref_canonical(&r, full, sizeof(full)));
		pulled_add(t, full, digest);
		r.tag[0] = '\0';
	}
	snprintf(r.digest, sizeof(r.digest), "%s", digest);
	names = strv_add(names, image_ref_canonical(&r, full, sizeof(full)));
	if (*ref->digest)
		pulled_add(t, full, digest);
	adding_image_take(&t->add, i, names);
	return 0;
}

/* The path of the next page out of 'Link: </v2/x/tags/list?last=b>; rel="next"'; NULL: none. The caller frees. */
static char *next_page(struct fetch *f)
{
	const char *link = fetch_header(f, "Link", 0), *end;

	if (!link || *link != '<' || !strstr(link, "rel=\"next\""))
		return NULL;
	end = strchr(link, '>');
	link = end ? strstr(link, "/v2/") : NULL;
	return link && link < end ? mem_strndup(link + 4, (size_t)(end - link - 4)) : NULL;
}

static int all_tags(struct session *s, char ***ret, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/tags/list", s->repo);
	size_t n = 0;

	while (path) {
		CLEANUP(buf_done) struct buf text = BUF_INIT;
		CLEANUP(json_freep) json_t *doc = NULL;
		struct call c = { .method = "GET", .path = path };
		struct fetch *f;
		const json_t *tag;
		size_t i;
		int status, rc;

		f = session_call_retry(s, &c, &status, e);
		if (!f)
			return -1;
		rc = status >= 400 ? session_refused(s, f, status, "list the tags", e) : session_body(f, TAGS_BODY_MAX, &text, e);
		free(path);
		path = rc == 0 ? next_page(f) : NULL;
		fetch_free(f);
		if (rc == 0)
			doc = json_parse(text.data, text.len, "the list of tags", e);
		if (!doc)
			return -1;
		json_array_foreach(json_arr(doc, "tags"), i, tag) {
			if (++n > TAGS_MAX)
				return err_set(e, ERR_INTERNAL, "the repository has more than %d tags", TAGS_MAX);
			if (json_is_string(tag))
				*ret = strv_add(*ret, json_string_value(tag));
		}
	}
	return *ret ? 0 : err_set(e, ERR_NOT_FOUND, "the repository %s has no tags", s->repo);
}

static int repository_pull(struct image_transfer *t, struct session *s, struct err *e)
{
	CLEANUP(strv_freep) char **tags = NULL;
	CLEANUP(mem_freep) char *name = NULL;

	if (*t->ref.tag || *t->ref.digest)
		return reference_pull(t, s, &t->ref, e);
	if (all_tags(s, &tags, e) < 0)
		return -1;
	for (char **p = tags; *p; p++) {
		struct image_ref r;

		free(TAKE(name));
		/* A tag of somebody else's making becomes part of a path: only what is one. */
		name = mem_printf("%s/%s:%s", t->ref.domain, t->ref.path, *p);
		if (image_ref_parse(name, &r, e) < 0 || reference_pull(t, s, &r, e) < 0)
			return -1;
	}
	return 0;
}

static int endpoints_pull(struct image_transfer *t, struct err *e)
{
	struct registry *r = registry_of(t->im);
	size_t n;
	struct endpoint *ep = endpoints_of(&r->cfg, t->ref.domain, &n);
	int rc = -1;

	for (size_t k = 0; k < n && rc < 0; k++) {
		struct session s;

		err_clear(e);
		session_init(&s, r->transport, &r->cfg, &t->creds, t->ref.domain, t->ref.path, "pull", &t->stop);
		rc = session_open(&s, &ep[k], e);
		if (rc == 0) {
			rc = repository_pull(t, &s, e);
			/* A registry that answered has decided; a mirror has not. */
			if (rc < 0 && !ep[k].mirror)
				k = n;
		}
		if (rc < 0 && k < n && ep[k].mirror)
			log_warn("image", "mirror %s: %s, going on without it", ep[k].base, e->msg);
		session_done(&s);
		if (transfer_cancelled(t))
			break;
	}
	endpoints_free(ep, n);
	return rc;
}

static bool pull_stop(void *user)
{
	return transfer_cancelled(user);
}

static void pull_run(struct image_transfer *t)
{
	struct err *e = &t->err;
	int rc = adding_begin(&t->add, e);

	if (rc == 0)
		rc = endpoints_pull(t, e);
	if (rc == 0)
		rc = adding_keep(&t->add, pull_stop, t, e);
	if (rc < 0 && !e->kind)
		err_set(e, ERR_INTERNAL, "the pull failed without a reason");
	/* Docker's client takes a 401 for the engine's own and asks its user for a password. */
	if (rc < 0 && e->kind == ERR_UNAUTHORIZED)
		e->kind = ERR_INTERNAL;
	adding_end(&t->add);
}

static void pull_end(struct image_transfer *t, const struct err *e)
{
	char familiar[800], line[900];

	for (size_t k = 0; !e && k < t->add.nbuilt; k++)
		(void)adding_apply(&t->add, k, NULL, NULL);
	for (size_t k = 0; !e && k < t->npulled; k++) {
		struct image_ref r;

		snprintf(line, sizeof(line), "Digest: %s", t->pulled[k].digest);
		transfer_status(t, NULL, line);
		images_familiar(t->pulled[k].full, familiar, sizeof(familiar));
		if (image_ref_parse(t->pulled[k].full, &r, NULL) == 0) {
			char name[800];

			*r.tag = *r.digest = '\0';
			images_event(t->im, "pull", familiar, image_ref_familiar(&r, name, sizeof(name)));
		}
	}
	if (!e && t->npulled) {
		struct image_ref r = t->ref;

		image_ref_familiar(&r, familiar, sizeof(familiar));
		snprintf(line, sizeof(line), "Status: %s for %s", t->layers_new ? "Downloaded newer image" : "Image is up to date", familiar);
		transfer_status(t, NULL, line);
	}
	for (size_t k = 0; k < t->npulled; k++)
		free(t->pulled[k].full);
	free(t->pulled);
}

struct image_transfer *image_pull_start(struct images *im, const char *name, const char *tag, const char *platform, const char *auth,
					const struct image_transfer_ops *ops, void *user, struct err *e)
{
	struct registry_creds creds;
	struct platform p;
	struct image_ref r;
	struct image_transfer *t;
	const struct image *i;
	const char *key;
	size_t it = 0;

	if (image_ref_parse(name, &r, e) < 0)
		return NULL;
	if (!str_empty(tag)) {
		bool digest = str_starts(tag, "sha256:") || str_starts(tag, "sha512:");
		CLEANUP(mem_freep) char *whole = mem_printf("%s/%s%c%s", r.domain, r.path, digest ? '@' : ':', tag);

		/* As docker: the parameter replaces what the name says. */
		if (image_ref_parse(whole, &r, e) < 0)
			return NULL;
	}
	if (*r.digest)
		*r.tag = '\0';
	if (*r.digest && !digest_valid(r.digest)) {
		err_set(e, ERR_INVALID, "the digest '%.150s' is not sha256, which is the only kind this engine checks", r.digest);
		return NULL;
	}
	if (platform_parse(platform, &p, e) < 0 || registry_creds_parse(auth, &creds, e) < 0)
		return NULL;
	t = transfer_new(im, ops, user);
	t->ref = r;
	t->platform = p;
	t->creds = creds;
	t->have = map_new();
	while ((i = map_next(im->by_id, &it, &key)))
		map_put(t->have, key, t);
	t->end = pull_end;
	transfer_start(t, pull_run);
	return t;
}
