/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/adding.h"
#include "image/split.h"
#include "loop/flow.h"

/*
 * Theory of operation
 *
 *   loop: what the names stand for now, as copies whose layers are claimed ──► worker: archive into the flow ──► loop: data, end
 *
 *   blobs/sha256/<hex>   layers (uncompressed, as their diff IDs say), configs, an OCI manifest for each image; each once
 *   index.json oci-layout    the OCI image layout; manifest.json repositories    docker's own, which names the same blobs
 *
 * Sizes stand in front of contents in a tar: a layer's is in its record. All records are opened before the first byte goes out, so that a
 * layer that cannot be written is an error and not half an archive; a digest that turns out wrong on the way breaks the stream off.
 */
enum { FLOW_MAX = 1024 * 1024, IO_SIZE = 128 * 1024 };

struct saved {
	struct image *image;		/* a copy of our own */
	char **names;			/* canonical; may be NULL */
	char manifest[DIGEST_SIZE];	/* digest */
	size_t manifest_size;
};

struct image_save {
	struct work work;
	struct images *im;
	struct image_save_ops ops;
	void *user;
	struct adding claims;
	struct saved *list;
	size_t n;
	struct flow *flow;
	struct map *written;		/* digests */
	struct err err;
	struct image_save *next;
	/* loop */
	bool paused, cancelled, ran;
	unsigned busy;			/* inside a callback */
};

static void save_free(struct image_save *s)
{
	struct image_save **at = &s->im->saves;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	flow_free(s->flow);
	adding_done(&s->claims);
	for (size_t k = 0; k < s->n; k++) {
		image_free(s->list[k].image);
		strv_free(s->list[k].names);
	}
	free(s->list);
	map_free(s->written);
	free(s);
}

/* What waits goes to the client; at the end, the end. */
static void save_pump(void *user)
{
	struct image_save *s = user;
	const void *p;
	size_t n;

	if (s->busy)
		return;
	s->busy++;
	while (!s->cancelled && !s->paused && (p = flow_peek(s->flow, &n))) {
		s->ops.data(s->user, p, n);
		flow_drop(s->flow);
	}
	s->busy--;
	if (!s->ran || (!s->cancelled && (s->paused || flow_peek(s->flow, &n))))
		return;
	if (!s->cancelled) {
		s->cancelled = true;	/* the end is told once, whatever the client does in it */
		s->ops.end(s->user, s->err.kind ? &s->err : NULL);
	}
	save_free(s);
}

void image_save_pause(struct image_save *s, bool paused)
{
	s->paused = paused;
	if (!paused)
		flow_wake(s->flow);
}

void image_save_cancel(struct image_save *s)
{
	if (!s || s->cancelled)
		return;
	s->cancelled = true;
	flow_cancel(s->flow);
	if (s->ran && !s->busy)
		flow_wake(s->flow);
}

/* Worker. */

struct out {
	struct image_save *s;
	struct archive *a;
};

static la_ssize_t out_write(struct archive *a, void *user, const void *p, size_t n)
{
	struct image_save *s = user;

	if (flow_write(s->flow, p, n) < 0) {
		archive_set_error(a, ECANCELED, "the client has gone");
		return -1;
	}
	return (la_ssize_t)n;
}

static int out_failed(struct out *o, struct err *e)
{
	return err_set(e, ERR_INTERNAL, "write the archive: %s", archive_error_string(o->a) ? archive_error_string(o->a) : "out of memory");
}

static int out_header(struct out *o, const char *path, mode_t mode, uint64_t size, struct err *e)
{
	struct archive_entry *entry = archive_entry_new();
	int rc;

	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry, mode);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_mtime(entry, 0, 0);
	rc = archive_write_header(o->a, entry);
	archive_entry_free(entry);
	return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? 0 : out_failed(o, e);
}

static int out_file(struct out *o, const char *path, const char *text, struct err *e)
{
	size_t n = strlen(text);

	if (out_header(o, path, AE_IFREG | 0644, n, e) < 0)
		return -1;
	return archive_write_data(o->a, text, n) < 0 ? out_failed(o, e) : 0;
}

static void blob_path(const char *digest, char *out, size_t size)
{
	snprintf(out, size, "blobs/sha256/%s", digest + strlen("sha256:"));
}

static int out_blob(struct out *o, const char *digest, const char *text, struct err *e)
{
	char path[128];

	if (map_put(o->s->written, digest, o))
		return 0;
	blob_path(digest, path, sizeof(path));
	return out_file(o, path, text, e);
}

static struct split_reader *layer_reader(struct image_save *s, const struct image *i, size_t k, int *dir, struct err *e)
{
	char what[64];

	*dir = layer_open(s->im, i->chains[k], e);
	snprintf(what, sizeof(what), "the layer %.19s", image_diff(i, k));
	return *dir < 0 ? NULL : split_open(*dir, what, e);
}

static int out_layer(struct out *o, const struct image *i, size_t k, struct err *e)
{
	CLEANUP(fd_closep) int dir = -1;
	CLEANUP(mem_freep) char *io = NULL;
	struct split_reader *r;
	struct digest *d;
	char path[128], digest[DIGEST_SIZE];
	ssize_t n = 0;
	int rc;

	if (map_put(o->s->written, image_diff(i, k), o))
		return 0;
	r = layer_reader(o->s, i, k, &dir, e);
	if (!r)
		return -1;
	io = mem_alloc(IO_SIZE);
	d = digest_new();
	blob_path(image_diff(i, k), path, sizeof(path));
	rc = out_header(o, path, AE_IFREG | 0644, split_size(r), e);
	while (rc == 0 && (n = split_read(r, io, IO_SIZE)) > 0) {
		digest_update(d, io, (size_t)n);
		if (archive_write_data(o->a, io, (size_t)n) < 0)
			rc = out_failed(o, e);
	}
	if (n < 0) {
		*e = *split_error(r);
		rc = -1;
	}
	digest_end_take(d, digest);
	if (rc == 0 && !str_eq(digest, image_diff(i, k)))
		rc = err_set(e, ERR_INTERNAL, "the layer %s has changed on this machine's disk: its digest is %s", image_diff(i, k), digest);
	split_reader_free(r);
	return rc;
}

/* Are all records there? *sizes: of each layer of the image; the caller frees. */
static int layer_sizes(struct image_save *s, const struct image *i, uint64_t **sizes, struct err *e)
{
	*sizes = mem_zalloc((i->nlayers + 1) * sizeof(**sizes));
	for (size_t k = 0; k < i->nlayers; k++) {
		CLEANUP(fd_closep) int dir = -1;
		struct split_reader *r = layer_reader(s, i, k, &dir, e);

		if (!r)
			return -1;
		(*sizes)[k] = split_size(r);
		split_reader_free(r);
	}
	return 0;
}

#define TYPE_LAYER "application/vnd.oci.image.layer.v1.tar"
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"

static json_t *descriptor(const char *type, const char *digest, uint64_t size)
{
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)size);
}

/* The image's OCI manifest and its entry of manifest.json. */
static char *save_manifest(struct saved *sv, const uint64_t *sizes, json_t *docker)
{
	const struct image *i = sv->image;
	json_t *layers = json_array(), *files = json_array(), *sources = json_object(), *tags = json_array(), *m;
	char path[128], familiar[800], *text;

	for (size_t k = 0; k < i->nlayers; k++) {
		json_t *d = descriptor(TYPE_LAYER, image_diff(i, k), sizes[k]);

		json_array_append_new(layers, d);
		json_object_set(sources, image_diff(i, k), d);
		blob_path(image_diff(i, k), path, sizeof(path));
		json_array_append_new(files, json_string(path));
	}
	for (char **n = sv->names; n && *n; n++)
		json_array_append_new(tags, json_string(images_familiar(*n, familiar, sizeof(familiar))));
	m = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST, "config", descriptor(TYPE_CONFIG, i->id, strlen(i->text)), "layers",
		      layers);
	text = json_text(m);
	json_decref(m);
	sv->manifest_size = strlen(text);
	digest_of(text, sv->manifest_size, sv->manifest);
	blob_path(i->id, path, sizeof(path));
	json_array_append_new(docker, json_pack("{s:s, s:o, s:o, s:o}", "Config", path, "RepoTags", json_array_size(tags) ? tags : json_null(), "Layers", files,
						"LayerSources", sources));
	if (!json_array_size(tags))
		json_decref(tags);
	return text;
}

static void save_names(const struct saved *sv, json_t *index, json_t *repositories)
{
	struct image_ref r;
	char name[800];

	for (char **n = sv->names; n && *n; n++) {
		json_t *d = descriptor(TYPE_MANIFEST, sv->manifest, sv->manifest_size), *repo;

		if (image_ref_parse(*n, &r, NULL) < 0) {
			json_decref(d);
			continue;
		}
		json_object_set_new(d, "annotations", json_pack("{s:s, s:s}", "io.containerd.image.name", *n, "org.opencontainers.image.ref.name", r.tag));
		json_array_append_new(index, d);
		snprintf(name, sizeof(name), "%s", r.tag);
		*r.tag = '\0';
		{
			char familiar[800];

			image_ref_familiar(&r, familiar, sizeof(familiar));
			repo = json_object_get(repositories, familiar);
			if (!repo) {
				repo = json_object();
				json_object_set_new(repositories, familiar, repo);
			}
			json_object_set_new(repo, name, json_string(sv->image->nlayers ? image_diff(sv->image, sv->image->nlayers - 1) + 7 : ""));
		}
	}
	if (!sv->names || !*sv->names)
		json_array_append_new(index, descriptor(TYPE_MANIFEST, sv->manifest, sv->manifest_size));
}

static int save_ends(struct out *o, json_t *docker, json_t *index, json_t *repositories, struct err *e)
{
	CLEANUP(json_freep) json_t *whole = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", "application/vnd.oci.image.index.v1+json", "manifests",
						      index);
	CLEANUP(mem_freep) char *text = json_text(whole), *m = json_text(docker), *r = json_text(repositories);

	if (out_file(o, "index.json", text, e) < 0 || out_file(o, "manifest.json", m, e) < 0 ||
	    out_file(o, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", e) < 0)
		return -1;
	return json_object_size(repositories) ? out_file(o, "repositories", r, e) : 0;
}

static int save_image(struct out *o, struct saved *sv, const uint64_t *sizes, json_t *docker, struct err *e)
{
	CLEANUP(mem_freep) char *manifest = save_manifest(sv, sizes, docker);

	for (size_t k = 0; k < sv->image->nlayers; k++)
		if (out_layer(o, sv->image, k, e) < 0)
			return -1;
	return out_blob(o, sv->image->id, sv->image->text, e) < 0 ? -1 : out_blob(o, sv->manifest, manifest, e);
}

static int save_all(struct out *o, uint64_t **sizes, struct err *e)
{
	CLEANUP(json_freep) json_t *docker = json_array(), *index = json_array(), *repositories = json_object();
	struct image_save *s = o->s;

	if (out_header(o, "blobs/", AE_IFDIR | 0755, 0, e) < 0 || out_header(o, "blobs/sha256/", AE_IFDIR | 0755, 0, e) < 0)
		return -1;
	for (size_t k = 0; k < s->n; k++) {
		if (save_image(o, &s->list[k], sizes[k], docker, e) < 0)
			return -1;
		save_names(&s->list[k], index, repositories);
	}
	return save_ends(o, docker, index, repositories, e);
}

static void save_run(struct work *w)
{
	struct image_save *s = CONTAINER_OF(w, struct image_save, work);
	struct out o = { .s = s, .a = NULL };
	uint64_t **sizes = mem_zalloc((s->n + 1) * sizeof(*sizes));
	struct err *e = &s->err;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < s->n; k++)
		rc = layer_sizes(s, s->list[k].image, &sizes[k], e);
	if (rc == 0) {
		o.a = archive_write_new();
		if (!o.a || archive_write_set_format_pax_restricted(o.a) != ARCHIVE_OK || archive_write_set_bytes_per_block(o.a, IO_SIZE) != ARCHIVE_OK ||
		    archive_write_set_bytes_in_last_block(o.a, 1) != ARCHIVE_OK || archive_write_open(o.a, s, NULL, out_write, NULL) != ARCHIVE_OK)
			rc = err_errno(e, ENOMEM, "write an archive");
		else
			rc = save_all(&o, sizes, e);
	}
	if (rc == 0 && archive_write_close(o.a) != ARCHIVE_OK)
		(void)out_failed(&o, e);
	if (o.a && rc < 0)
		archive_write_fail(o.a);
	if (o.a)
		archive_write_free(o.a);
	for (size_t k = 0; k < s->n; k++)
		free(sizes[k]);
	free(sizes);
}

static void save_ran(struct work *w)
{
	struct image_save *s = CONTAINER_OF(w, struct image_save, work);

	s->ran = true;
	save_pump(s);
}

/* Loop. */

static struct saved *saved_of(struct image_save *s, const struct image *i, struct err *e)
{
	struct image *copy;
	uint64_t bytes;
	json_t *doc;

	for (size_t k = 0; k < s->n; k++)
		if (str_eq(s->list[k].image->id, i->id))
			return &s->list[k];
	doc = image_doc(i);
	copy = image_from_doc(i->id, doc, e);
	json_decref(doc);
	if (!copy)
		return NULL;
	for (size_t k = 0; k < i->nlayers; k++)
		(void)adding_has_layer(&s->claims, i->chains[k], &bytes);
	s->list = mem_realloc(s->list, (s->n + 1) * sizeof(*s->list));
	s->list[s->n] = (struct saved){ .image = copy };
	return &s->list[s->n++];
}

static int save_name(struct image_save *s, const char *name, struct err *e)
{
	struct images *im = s->im;
	struct saved *sv;
	struct image_ref r, at;
	const struct image *i;
	char full[800];
	const char *key;
	size_t it = 0;
	bool by_ref, any = false;

	/* A repository without a tag: all its tags. */
	if (!id_is_prefix(name) && image_ref_parse(name, &r, NULL) == 0 && !*r.tag && !*r.digest) {
		while ((i = map_next(im->refs, &it, &key))) {
			if (i->leaving || image_ref_parse(key, &at, NULL) < 0 || !*at.tag || !str_eq(at.domain, r.domain) || !str_eq(at.path, r.path))
				continue;
			any = true;
			sv = saved_of(s, i, e);
			if (!sv)
				return -1;
			if (!strv_has(sv->names, key))
				sv->names = strv_add(sv->names, key);
		}
		if (any)
			return 0;
	}
	i = images_lookup(im, name, &by_ref, full, e);
	sv = i ? saved_of(s, i, e) : NULL;
	if (!sv)
		return -1;
	if (by_ref && !strchr(full, '@') && !strv_has(sv->names, full))
		sv->names = strv_add(sv->names, full);
	return 0;
}

struct image_save *image_save_start(struct images *im, char *const *names, const struct image_save_ops *ops, void *user, struct err *e)
{
	struct image_save *s = mem_zalloc(sizeof(*s));

	s->im = im;
	s->ops = *ops;
	s->user = user;
	adding_init(&s->claims, im);
	s->written = map_new();
	for (char *const *n = names; n && *n; n++) {
		if (save_name(s, *n, e) < 0) {
			save_free(s);
			return NULL;
		}
	}
	if (!s->n) {
		err_set(e, ERR_INVALID, "no image was named to be saved");
		save_free(s);
		return NULL;
	}
	s->flow = flow_new(im->loop, FLOW_MAX, save_pump, s);
	s->work.run = save_run;
	s->work.done = save_ran;
	s->next = im->saves;
	im->saves = s;
	work_start(im->load_pool, &s->work);
	return s;
}

void image_saves_stop(struct images *im)
{
	for (struct image_save *s = im->saves; s; s = s->next)
		image_save_cancel(s);
}

void image_saves_free(struct images *im)
{
	while (im->saves)
		save_free(im->saves);
}
