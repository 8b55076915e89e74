/* SPDX-License-Identifier: Apache-2.0 */
#include "image_bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/digest.h"

void bench_make(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/kedge-image.XXXXXX");
	if (!mkdtemp(b->dir))
		abort();
}

static void on_event(void *user, const char *action, const char *id, const char *name)
{
	struct bench *b = user;

	(void)id;
	buf_printf(&b->events, "%s %s\n", action, name);
}

void bench_start(struct bench *b)
{
	CLEANUP(mem_freep) char *root = mem_printf("%s/image", b->dir);
	struct err e = { 0 };

	b->loop = loop_new(&e);
	b->pool = work_pool_new(b->loop, 2);
	b->store = store_open(b->loop, b->dir, &e);
	b->im = b->store ? images_new(b->loop, b->pool, b->store, root, &e) : NULL;
	if (!b->im) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	images_on_event(b->im, on_event, b);
}

void bench_stop(struct bench *b)
{
	if (!b->loop)
		return;
	work_pool_free(b->pool);
	images_free(b->im);
	store_close(b->store);
	loop_free(b->loop);
	b->loop = NULL;
	buf_done(&b->said);
	buf_done(&b->events);
	json_decref(b->result);
	b->result = NULL;
}

void bench_remove(struct bench *b)
{
	bench_stop(b);
	if (file_rm_rf_at(AT_FDCWD, b->dir) < 0)
		abort();
}

/* A load under way. */
struct ride {
	struct bench *b;
	bool ended, stuck;
};

static void ride_message(void *user, const json_t *msg)
{
	struct ride *r = user;
	char *text = json_text(msg);

	buf_printf(&r->b->said, "%s\n", text);
	free(text);
}

static void ride_resume(void *user)
{
	((struct ride *)user)->stuck = false;
}

static void ride_end(void *user, const struct err *e)
{
	struct ride *r = user;

	r->b->err = e ? *e : (struct err){ 0 };
	r->ended = true;
}

static const struct image_load_ops ride_ops = { ride_message, ride_resume, ride_end };

static int ride_go(struct bench *b, struct ride *r, struct image_load *ld, const struct buf *a, size_t step)
{
	for (size_t at = 0; at < a->len && !r->ended;) {
		size_t n = step && step < a->len - at ? step : a->len - at;

		r->stuck = !image_load_feed(ld, a->data + at, n);
		at += n;
		do
			loop_turn(b->loop, r->stuck ? -1 : 0);
		while (r->stuck && !r->ended);
	}
	if (!r->ended)
		image_load_finish(ld);
	while (!r->ended)
		loop_turn(b->loop, -1);
	return b->err.kind ? -1 : 0;
}

int bench_load(struct bench *b, const struct buf *a, size_t step)
{
	struct ride r = { .b = b };

	buf_reset(&b->said);
	return ride_go(b, &r, image_load_start(b->im, false, &ride_ops, &r), a, step);
}

int bench_import(struct bench *b, const struct buf *a, const char *ref, const char *message, char *const *changes)
{
	struct ride r = { .b = b };
	struct image_load *ld;

	buf_reset(&b->said);
	b->err = (struct err){ 0 };
	ld = image_import_start(b->im, ref, message, changes, &ride_ops, &r, &b->err);
	return ld ? ride_go(b, &r, ld, a, 0) : -1;
}

struct wait {
	struct bench *b;
	bool done;
};

static void wait_done(void *user, const struct err *e)
{
	struct wait *w = user;

	w->b->err = e ? *e : (struct err){ 0 };
	w->done = true;
}

static void wait_removed(void *user, const json_t *result, const struct err *e)
{
	struct wait *w = user;

	json_decref(w->b->result);
	w->b->result = json_incref((json_t *)result);
	wait_done(user, e);
}

int bench_tag(struct bench *b, const char *ref, const char *target)
{
	struct wait w = { .b = b };

	image_tag(b->im, ref, target, wait_done, &w);
	while (!w.done)
		loop_turn(b->loop, -1);
	return b->err.kind ? -1 : 0;
}

int bench_rmi(struct bench *b, const char *ref, bool force)
{
	struct wait w = { .b = b };

	image_remove(b->im, ref, force, false, wait_removed, &w);
	while (!w.done)
		loop_turn(b->loop, -1);
	return b->err.kind ? -1 : 0;
}

unsigned bench_count(struct bench *b, const char *folder)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/image/%s", b->dir, folder);
	DIR *d = opendir(path);
	struct dirent *de;
	unsigned n = 0;

	while (d && (de = readdir(d)))
		n += !str_eq(de->d_name, ".") && !str_eq(de->d_name, "..");
	if (d)
		closedir(d);
	return n;
}

/* Removals run on the pool: a new one after its end has nothing left to do. */
void bench_settle(struct bench *b)
{
	while (bench_count(b, "tmp"))
		loop_turn(b->loop, 10);
}

struct buf bench_layer(const char *path, const char *text)
{
	struct buf t = BUF_INIT;

	tar_file(&t, path, text);
	tar_end(&t);
	return t;
}

static char *config_text(const struct buf *layers, size_t n, const char *extra)
{
	json_t *diffs = json_array();
	char digest[DIGEST_SIZE], *list, *out;

	for (size_t i = 0; i < n; i++) {
		digest_of(layers[i].data, layers[i].len, digest);
		json_array_append_new(diffs, json_string(digest));
	}
	list = json_text(diffs);
	out = mem_printf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-01-02T03:04:05Z\",%s\"rootfs\":{\"type\":\"layers\",\"diff_ids\":%s}}",
			 extra ? extra : "", list);
	free(list);
	json_decref(diffs);
	return out;
}

struct buf bench_save(const struct buf *layers, size_t n, const char *const *names, const char *extra)
{
	struct buf a = BUF_INIT;
	CLEANUP(mem_freep) char *config = config_text(layers, n, extra), *text = NULL;
	char digest[DIGEST_SIZE], name[128];
	json_t *files = json_array(), *tags = json_array(), *all;

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%zu/layer.tar", i);
		tar_put(&a, &(struct tar_entry){ .name = name, .type = '0', .data = layers[i].data, .n = layers[i].len });
		json_array_append_new(files, json_string(name));
	}
	digest_of(config, strlen(config), digest);
	snprintf(name, sizeof(name), "%s.json", digest + 7);
	tar_file(&a, name, config);
	for (; names && *names; names++)
		json_array_append_new(tags, json_string(*names));
	all = json_pack("[{s:s, s:o, s:o}]", "Config", name, "RepoTags", tags, "Layers", files);
	text = json_text(all);
	json_decref(all);
	tar_file(&a, "manifest.json", text);
	tar_end(&a);
	return a;
}

static json_t *blob(struct buf *a, const char *p, size_t n, const char *type)
{
	char digest[DIGEST_SIZE], name[128];

	digest_of(p, n, digest);
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest + 7);
	tar_put(a, &(struct tar_entry){ .name = name, .type = '0', .data = p, .n = n });
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)n);
}

struct buf bench_oci(const struct buf *layers, size_t n, const char *name, const char *filter)
{
	struct buf a = BUF_INIT;
	CLEANUP(mem_freep) char *config = config_text(layers, n, NULL), *manifest = NULL, *index = NULL;
	json_t *list = json_array(), *m, *d;

	tar_file(&a, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	for (size_t i = 0; i < n; i++) {
		struct buf z = BUF_INIT;

		if (filter)
			tar_compress(&layers[i], filter, &z);
		json_array_append_new(list, blob(&a, filter ? z.data : layers[i].data, filter ? z.len : layers[i].len,
						 "application/vnd.oci.image.layer.v1.tar"));
		buf_done(&z);
	}
	m = json_pack("{s:i, s:o, s:o}", "schemaVersion", 2, "config",
		      blob(&a, config, strlen(config), "application/vnd.oci.image.config.v1+json"), "layers", list);
	manifest = json_text(m);
	json_decref(m);
	d = blob(&a, manifest, strlen(manifest), "application/vnd.oci.image.manifest.v1+json");
	if (name)
		json_object_set_new(d, "annotations", json_pack("{s:s}", "org.opencontainers.image.ref.name", name));
	m = json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", d);
	index = json_text(m);
	json_decref(m);
	tar_file(&a, "index.json", index);
	tar_end(&a);
	return a;
}
