/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/digest.h"
#include "image_bench.h"

static struct bench b;

static int setup(void **state)
{
	(void)state;
	bench_make(&b);
	bench_start(&b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_remove(&b);
	return 0;
}

static void loads(const struct buf *a, size_t step)
{
	if (bench_load(&b, a, step) < 0)
		fail_msg("%s", b.err.msg);
}

static void load_fails(const struct buf *a, const char *part)
{
	if (bench_load(&b, a, 0) == 0)
		fail_msg("loaded, should say: %s", part);
	if (!strstr(b.err.msg, part))
		fail_msg("no '%s' in: %s", part, b.err.msg);
	assert_int_equal(bench_count(&b, "tmp"), 0);
	assert_int_equal(images_count(b.im), 0);
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 0);
	assert_int_equal(bench_count(&b, "l"), 0);
}

static void said(const char *part)
{
	if (!b.said.len || !strstr(b.said.data, part))
		fail_msg("no '%s' in: %s", part, b.said.len ? b.said.data : "");
}

static const char *id_of(const char *ref)
{
	struct err e = { 0 };
	struct image *i = image_find(b.im, ref, &e);

	if (!i)
		fail_msg("%s", e.msg);
	return image_id(i);
}

static bool gone(const char *ref)
{
	struct err e = { 0 };

	return !image_find(b.im, ref, &e) && e.kind == ERR_NOT_FOUND;
}

/* The file in the topmost layer of an image. */
static void top_holds(const char *ref, const char *path, const char *text)
{
	struct image *i = image_find(b.im, ref, NULL);
	char **layers = image_layers(b.im, i), *full, got[100] = { 0 };
	FILE *f;

	full = mem_printf("%s/%s", layers[strv_len(layers) - 1], path);
	f = fopen(full, "r");
	assert_non_null(f);
	(void)!fread(got, 1, sizeof(got) - 1, f);
	fclose(f);
	assert_string_equal(got, text);
	free(full);
	strv_free(layers);
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void docker_save(void **state)
{
	struct buf layers[2] = { bench_layer("a", "one"), bench_layer("b", "two") };
	struct buf a = bench_save(layers, 2, NAMES("web:1", "ghcr.io/x/web"), "\"config\":{\"Cmd\":[\"x\"]},");
	json_t *doc;

	(void)state;
	for (size_t step = 0; step < 20000; step = step * 7 + 100) {
		loads(&a, step);
		said("{\"stream\":\"Loaded image: web:1\\n\"}");
		said("{\"stream\":\"Loaded image: ghcr.io/x/web:latest\\n\"}");
		assert_int_equal(images_count(b.im), 1);
		assert_int_equal(bench_count(&b, "layers"), 2);
		assert_int_equal(bench_count(&b, "l"), 2);
		assert_int_equal(bench_count(&b, "tmp"), 0);
	}
	top_holds("web:1", "b", "two");
	assert_string_equal(id_of("web:1"), id_of("ghcr.io/x/web"));
	assert_string_equal(id_of("web:1"), id_of(id_of("web:1")));
	doc = image_inspect(b.im, image_find(b.im, "web:1", NULL));
	assert_int_equal(json_i64(doc, "Size", 0), 6);
	assert_int_equal(json_array_size(json_arr(doc, "RepoTags")), 2);
	assert_string_equal(json_str(doc, "Created", ""), "2024-01-02T03:04:05Z");
	assert_string_equal(json_at(json_path(doc, "Config.Cmd"), 0), "x");
	json_decref(doc);
	doc = image_history(b.im, image_find(b.im, "web:1", NULL));
	assert_int_equal(json_array_size(doc), 2);
	assert_string_equal(json_str(json_array_get(doc, 0), "Id", ""), id_of("web:1"));
	json_decref(doc);
	/* Another start finds all of it. */
	bench_stop(&b);
	bench_start(&b);
	top_holds("web:1", "b", "two");
	assert_int_equal(bench_count(&b, "layers"), 2);
	buf_done(&a);
	buf_done(&layers[0]);
	buf_done(&layers[1]);
}

static void oci(void **state)
{
	static const char *const filters[] = { NULL, "gzip", "zstd" };
	struct buf layers[2] = { bench_layer("a", "one"), bench_layer("b", "two") };

	(void)state;
	for (size_t i = 0; i < N(filters); i++) {
		struct buf a = bench_oci(layers, 2, "example.com/app:v1", filters[i]), z = BUF_INIT;

		loads(&a, 0);
		said("Loaded image: example.com/app:v1");
		top_holds("example.com/app:v1", "b", "two");
		assert_int_equal(bench_rmi(&b, "example.com/app:v1", false), 0);
		bench_settle(&b);
		assert_int_equal(bench_count(&b, "layers"), 0);
		/* And the whole archive compressed. */
		tar_compress(&a, "gzip", &z);
		loads(&z, 0);
		assert_int_equal(bench_rmi(&b, id_of("example.com/app:v1"), false), 0);
		buf_done(&z);
		buf_done(&a);
	}
	struct buf a = bench_oci(layers, 2, "v1", NULL);

	loads(&a, 0);
	said("Loaded image ID: sha256:");
	buf_done(&a);
	buf_done(&layers[0]);
	buf_done(&layers[1]);
}

static void name_moves(void **state)
{
	struct buf l1 = bench_layer("a", "one"), l2 = bench_layer("a", "two");
	struct buf a1 = bench_save(&l1, 1, NAMES("x"), NULL), a2 = bench_save(&l2, 1, NAMES("x"), NULL);
	char first[DIGEST_SIZE];
	json_t *list;

	(void)state;
	loads(&a1, 0);
	strcpy(first, id_of("x"));
	loads(&a2, 0);
	said("The image x:latest already exists, renaming the old one with ID sha256:");
	assert_string_not_equal(first, id_of("x"));
	assert_int_equal(images_count(b.im), 2);
	json_t *dangling = json_pack("{s:{s:b}}", "dangling", "true", 1);

	list = image_list(b.im, false, dangling, NULL);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_str(json_array_get(list, 0), "Id", ""), first);
	json_decref(list);
	json_decref(dangling);
	assert_int_equal(bench_rmi(&b, first, false), 0);
	assert_int_equal(images_count(b.im), 1);
	buf_done(&a1);
	buf_done(&a2);
	buf_done(&l1);
	buf_done(&l2);
}

/* Cut anywhere: refused with a sentence, nothing left; or whole, when only the padding at the end is missing. */
static void truncated(void **state)
{
	struct buf layers[2] = { bench_layer("a", "one"), bench_layer("b", "two") };
	struct buf a = bench_save(layers, 2, NAMES("x"), NULL);
	unsigned failed = 0, tried = 0;

	(void)state;
	for (size_t cut = 0; cut < a.len; cut += 97) {
		struct buf part = { .data = a.data, .len = cut };

		tried++;
		if (bench_load(&b, &part, 0) < 0) {
			failed++;
			assert_true(*b.err.msg);
			assert_int_equal(b.err.kind, ERR_INVALID);
			assert_int_equal(images_count(b.im), 0);
			assert_int_equal(bench_count(&b, "tmp"), 0);
			assert_int_equal(bench_count(&b, "layers"), 0);
		} else {
			assert_int_equal(bench_rmi(&b, "x", false), 0);
			bench_settle(&b);
		}
	}
	assert_true(failed > tried * 8 / 10);
	buf_done(&a);
	buf_done(&layers[0]);
	buf_done(&layers[1]);
}

/* One bit wrong in a layer or the config never passes. */
static void damaged(void **state)
{
	struct buf l = bench_layer("a", "one"), a = bench_save(&l, 1, NAMES("x"), NULL);

	(void)state;
	a.data[512 + 512] ^= 1;		/* the layer's file */
	load_fails(&a, "is damaged");
	a.data[512 + 512] ^= 1;
	a.data[512 + l.len + 512 + 5] ^= 1;	/* the config */
	load_fails(&a, "is damaged");
	buf_done(&a);
	buf_done(&l);
}

static void oci_damaged(void **state)
{
	struct buf l = bench_layer("a", "one"), a = bench_oci(&l, 1, "a/x:1", NULL);

	(void)state;
	for (size_t at = 1024; at < a.len - 2048; at += 512) {
		/* A byte in the middle of data blocks; headers have a checksum of their own. */
		a.data[at + 20] ^= 4;
		if (bench_load(&b, &a, 0) == 0)
			fail_msg("a changed byte at %zu passed", at + 20);
		a.data[at + 20] ^= 4;
	}
	buf_done(&a);
	buf_done(&l);
}

static struct buf archive_of(const char *manifest, const char *config)
{
	struct buf a = BUF_INIT;

	tar_file(&a, "c.json", config);
	tar_file(&a, "l.tar", "");
	tar_file(&a, "manifest.json", manifest);
	tar_end(&a);
	return a;
}

static void broken_manifests(void **state)
{
	static const struct {
		const char *manifest, *config, *part;
	} t[] = {
		{ "", "{}", "is empty" },
		{ "[", "{}", "manifest.json" },
		{ "{}", "{}", "no list of 1 to 256 images" },
		{ "[]", "{}", "no list of 1 to 256 images" },
		{ "[{}]", "{}", "names no Config" },
		{ "[{\"Config\":\"none\",\"Layers\":[]}]", "{}", "holds no 'none'" },
		{ "[{\"Config\":\"../../etc/passwd\",\"Layers\":[]}]", "{}", "holds no '../../etc/passwd'" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[]}]", "{}", "no list rootfs.diff_ids" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[]}]", "[]", "no JSON object" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[]}]", "{\"rootfs\":{\"diff_ids\":[\"sha256:x\"]}}", "'sha256:x'" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[]}]", "{\"rootfs\":{\"diff_ids\":[7]}}", "layer digest ''" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[]}]", "{\"os\":\"windows\",\"rootfs\":{\"diff_ids\":[]}}", "cannot load windows image on linux" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[\"l.tar\"]}]", "{\"rootfs\":{\"diff_ids\":[]}}", "expected 0, got 1" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[3]}]",
		  "{\"rootfs\":{\"diff_ids\":[\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]}}", "no string" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[\"gone\"]}]",
		  "{\"rootfs\":{\"diff_ids\":[\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]}}", "holds no 'gone'" },
		{ "[{\"Config\":\"c.json\",\"Layers\":[\"l.tar\"]}]",
		  "{\"rootfs\":{\"diff_ids\":[\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856\"]}}", "is damaged" },
		{ "[{\"Config\":\"c.json\",\"RepoTags\":[\"BAD\"],\"Layers\":[]}]", "{\"rootfs\":{\"diff_ids\":[]}}", "must be lowercase" },
	};
	struct buf a = BUF_INIT;
	char map[1024] = "1\n10737418000\n1\n";

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct buf x = archive_of(t[i].manifest, t[i].config);

		load_fails(&x, t[i].part);
		buf_done(&x);
	}
	tar_file(&a, "something", "else");
	tar_end(&a);
	load_fails(&a, "neither manifest.json");
	/* A kilobyte that says it is ten gigabytes of zeros. */
	buf_reset(&a);
	tar_put(&a, &(struct tar_entry){ .name = "GNUSparseFile.0/s", .type = '0', .data = map, .n = 513,
					 .pax = "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=s\nGNU.sparse.realsize=10737418240" });
	tar_end(&a);
	load_fails(&a, "is a sparse file");
	/* Links in a circle. */
	buf_reset(&a);
	tar_link_to(&a, '2', "manifest.json", "m2");
	tar_link_to(&a, '2', "m2", "manifest.json");
	tar_end(&a);
	load_fails(&a, "neither manifest.json");
	buf_done(&a);
	/* Deeper than JSON may be. */
	buf_init(&a, 0);
	for (int i = 0; i < 5000; i++)
		buf_addc(&a, '[');
	struct buf deep = archive_of(a.data, "{}");

	load_fails(&deep, "manifest.json");
	buf_done(&deep);
	buf_done(&a);
}

static void hostile_layer(void **state)
{
	struct buf l = bench_layer("../../../../escape", "x"), a = bench_save(&l, 1, NAMES("x"), NULL);

	(void)state;
	load_fails(&a, "holds '..'");
	buf_done(&a);
	buf_done(&l);
}

/* One layer for two images, the second time as a link, as older docker wrote it. */
static void shared_layers(void **state)
{
	struct buf l = bench_layer("a", "one"), l2[2] = { bench_layer("a", "one"), bench_layer("b", "two") };
	struct buf a1 = bench_save(&l, 1, NAMES("x"), NULL), a2 = bench_save(l2, 2, NAMES("y"), NULL);

	(void)state;
	loads(&a1, 0);
	loads(&a2, 0);
	assert_int_equal(bench_count(&b, "layers"), 2);
	assert_int_equal(bench_rmi(&b, "x", false), 0);
	assert_int_equal(json_array_size(b.result), 2);		/* untagged, deleted; the layer stays */
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 2);
	assert_int_equal(bench_rmi(&b, "y", false), 0);
	assert_int_equal(json_array_size(b.result), 4);
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 0);
	assert_int_equal(bench_count(&b, "l"), 0);
	buf_done(&a1);
	buf_done(&a2);
	buf_done(&l);
	buf_done(&l2[0]);
	buf_done(&l2[1]);
}

static void import(void **state)
{
	char *changes[] = { (char *)"CMD [\"/bin/x\", \"y\"]", (char *)"ENV A=1 B=\"two words\"", (char *)"EXPOSE 80 53/udp", (char *)"WORKDIR /srv",
			    (char *)"ENTRYPOINT exec foo", (char *)"LABEL k=v", (char *)"VOLUME /data", (char *)"HEALTHCHECK --interval=5s CMD true", NULL };
	char *bad[] = { (char *)"FROM scratch", NULL };
	struct buf l = bench_layer("a", "one"), z = BUF_INIT;
	const json_t *c;

	(void)state;
	tar_compress(&l, "zstd", &z);
	assert_int_equal(bench_import(&b, &z, "my/root:1", "note", changes), 0);
	said("{\"status\":\"sha256:");
	top_holds("my/root:1", "a", "one");
	c = image_config(image_find(b.im, "my/root:1", NULL));
	assert_string_equal(json_str(c, "comment", ""), "note");
	assert_string_equal(json_at(json_path(c, "config.Cmd"), 1), "y");
	assert_string_equal(json_at(json_path(c, "config.Env"), 1), "B=two words");
	assert_string_equal(json_at(json_path(c, "config.Entrypoint"), 2), "exec foo");
	assert_non_null(json_object_get(json_path(c, "config.ExposedPorts"), "53/udp"));
	assert_int_equal(json_i64(json_path(c, "config.Healthcheck"), "Interval", 0), 5000000000);
	assert_int_equal(bench_import(&b, &l, NULL, NULL, NULL), 0);
	assert_int_equal(images_count(b.im), 2);
	assert_int_equal(bench_count(&b, "layers"), 1);
	assert_int_equal(bench_import(&b, &l, NULL, NULL, bad), -1);
	assert_non_null(strstr(b.err.msg, "FROM scratch is not a valid change command"));
	assert_int_equal(bench_import(&b, &l, "BAD", NULL, NULL), -1);
	buf_done(&z);
	assert_int_equal(bench_import(&b, &z, NULL, NULL, NULL), -1);
	assert_non_null(strstr(b.err.msg, "nothing to import"));
	buf_done(&l);
}

static const char *user_id;
static bool user_running;

static const char *in_use(void *user, const char *id, bool *running)
{
	(void)user;
	(void)id;
	*running = user_running;
	return user_id;
}

static void fails_with(int rc, const char *part)
{
	assert_int_equal(rc, -1);
	if (!strstr(b.err.msg, part))
		fail_msg("no '%s' in: %s", part, b.err.msg);
}

static void tag_and_remove(void **state)
{
	struct buf l = bench_layer("a", "one"), a = bench_save(&l, 1, NAMES("x"), NULL);
	char id[DIGEST_SIZE];
	struct err e = { 0 };

	(void)state;
	loads(&a, 0);
	strcpy(id, id_of("x"));
	assert_int_equal(bench_tag(&b, "x", "y:2"), 0);
	assert_int_equal(bench_tag(&b, id + 7, "reg.io:5000/z"), 0);
	fails_with(bench_tag(&b, "none", "y"), "No such image: none:latest");
	assert_int_equal(b.err.kind, ERR_NOT_FOUND);
	fails_with(bench_tag(&b, "x", "Y"), "must be lowercase");
	fails_with(bench_tag(&b, "x", ""), "invalid reference format");
	fails_with(bench_rmi(&b, "nothing", false), "No such image: nothing:latest");
	/* An id with names in several repositories. */
	fails_with(bench_rmi(&b, id, false), "image is referenced in multiple repositories");
	assert_int_equal(b.err.kind, ERR_CONFLICT);
	/* A short id finds it, a name that looks like one, too. */
	assert_string_equal(image_id(image_find(b.im, "sha256:", &e) ? image_find(b.im, "sha256:", NULL) : image_find(b.im, id + 7, NULL)), id);
	id[7 + 12] = '\0';
	assert_non_null(image_find(b.im, id + 7, NULL));
	assert_non_null(image_find(b.im, id, NULL));
	assert_int_equal(bench_tag(&b, "x", id + 7), 0);
	assert_int_equal(bench_rmi(&b, id + 7, false), 0);
	assert_int_equal(json_array_size(b.result), 1);
	/* In use. */
	images_set_in_use(b.im, in_use, NULL);
	user_id = "0123456789abcdef";
	user_running = false;
	assert_int_equal(bench_rmi(&b, "y:2", false), 0);
	assert_int_equal(bench_rmi(&b, "reg.io:5000/z", false), 0);
	fails_with(bench_rmi(&b, "x", false), "conflict: unable to remove repository reference \"x:latest\" (must force) - container 0123456789ab is using");
	fails_with(bench_rmi(&b, id, false), "(must be forced) - image is being used by stopped container 0123456789ab");
	user_running = true;
	fails_with(bench_rmi(&b, id, true), "(cannot be forced) - image is being used by running container 0123456789ab");
	assert_int_equal(bench_rmi(&b, "x", true), 0);		/* only the name */
	assert_int_equal(json_array_size(b.result), 1);
	assert_int_equal(images_count(b.im), 1);
	user_running = false;
	assert_int_equal(bench_rmi(&b, id, true), 0);
	assert_int_equal(images_count(b.im), 0);
	user_id = NULL;
	assert_true(gone("x"));
	assert_non_null(strstr(b.events.data, "load sha256:"));
	assert_non_null(strstr(b.events.data, "tag y:2\n"));
	assert_non_null(strstr(b.events.data, "untag sha256:"));
	assert_non_null(strstr(b.events.data, "delete sha256:"));
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 0);
	buf_done(&a);
	buf_done(&l);
}

static void listing(void **state)
{
	struct buf l1 = bench_layer("a", "one"), l2 = bench_layer("a", "two");
	struct buf a1 = bench_save(&l1, 1, NAMES("x:1", "x:2"), "\"config\":{\"Labels\":{\"k\":\"v\"}},"), a2 = bench_save(&l2, 1, NAMES("ns/y"), NULL);
	static const struct {
		const char *filters;
		int n;		/* -1: refused */
	} t[] = {
		{ "{}", 2 }, { "{\"label\":[\"k\"]}", 1 }, { "{\"label\":{\"k=v\":true}}", 1 }, { "{\"label\":[\"k=w\"]}", 0 }, { "{\"reference\":[\"x\"]}", 1 },
		{ "{\"reference\":[\"x:2\"]}", 1 }, { "{\"reference\":[\"*/y\"]}", 1 }, { "{\"reference\":[\"z\"]}", 0 }, { "{\"dangling\":[\"true\"]}", 0 },
		{ "{\"dangling\":[\"false\"]}", 2 }, { "{\"dangling\":[\"maybe\"]}", -1 }, { "{\"before\":[\"x:1\"]}", 0 }, { "{\"since\":[\"none\"]}", -1 },
		{ "{\"until\":[\"10m\"]}", 2 }, { "{\"until\":[\"2020-01-01T00:00:00Z\"]}", 0 }, { "{\"colour\":[\"red\"]}", -1 },
	};

	(void)state;
	loads(&a1, 0);
	loads(&a2, 0);
	for (size_t i = 0; i < N(t); i++) {
		json_t *f = json_loads(t[i].filters, 0, NULL), *list;
		struct err e = { 0 };

		list = image_list(b.im, false, f, &e);
		if (t[i].n < 0 ? list || !*e.msg : !list || (int)json_array_size(list) != t[i].n)
			fail_msg("%s gave %zd", t[i].filters, list ? (ssize_t)json_array_size(list) : -1);
		json_decref(list);
		json_decref(f);
	}
	buf_done(&a1);
	buf_done(&a2);
	buf_done(&l1);
	buf_done(&l2);
}

/* Each step fails once: a sentence, and everything as before. */
static void faults(void **state)
{
	static const char *const points[] = { "image.layer", "image.file", "image.sync", "image.publish", "image.sync_names", "image.commit" };
	struct buf layers[2] = { bench_layer("a", "one"), bench_layer("b", "two") };
	struct buf a = bench_save(layers, 2, NAMES("x"), NULL);

	(void)state;
	for (size_t i = 0; i < N(points); i++) {
		for (unsigned nth = 1; nth <= 2; nth++) {
			fault_arm(points[i], nth, ENOSPC);
			if (bench_load(&b, &a, 0) == 0) {
				/* Fewer passes than that. */
				fault_arm(points[i], 0, 0);
				assert_int_equal(bench_rmi(&b, "x", false), 0);
			} else {
				assert_non_null(strstr(b.err.msg, "No space left on device"));
				assert_int_equal(images_count(b.im), 0);
			}
			fault_arm(points[i], 0, 0);
			bench_settle(&b);
			assert_int_equal(bench_count(&b, "layers"), 0);
			assert_int_equal(bench_count(&b, "l"), 0);
			loads(&a, 0);
			assert_int_equal(bench_rmi(&b, "x", false), 0);
			bench_settle(&b);
		}
	}
	/* A removal that cannot be written down did not happen. */
	loads(&a, 0);
	fault_arm("image.commit", 1, EIO);
	assert_int_equal(bench_rmi(&b, "x", false), -1);
	assert_int_equal(images_count(b.im), 1);
	top_holds("x", "b", "two");
	buf_done(&a);
	buf_done(&layers[0]);
	buf_done(&layers[1]);
}

static void never_message(void *user, const json_t *msg)
{
	(void)user;
	(void)msg;
}

static void never_end(void *user, const struct err *e)
{
	(void)user;
	(void)e;
	fail_msg("an aborted load ended");
}

static void no_resume(void *user)
{
	(void)user;
}

static const struct image_load_ops never = { never_message, no_resume, never_end };

/* Given up at many points, and more at once than there are threads. */
static void aborted(void **state)
{
	struct buf l = bench_layer("a", "one"), a = bench_save(&l, 1, NAMES("x"), NULL);

	(void)state;
	for (size_t at = 0; at <= a.len; at += 500) {
		struct image_load *ld[5];

		for (size_t k = 0; k < N(ld); k++) {
			ld[k] = image_load_start(b.im, true, &never, NULL);
			image_load_feed(ld[k], a.data, at);
		}
		loop_turn(b.loop, 0);
		for (size_t k = 0; k < N(ld); k++)
			image_load_abort(ld[k]);
	}
	loads(&a, 0);
	assert_int_equal(bench_rmi(&b, "x", false), 0);
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 0);
	/* The engine stops with a client half-way. */
	struct image_load *ld = image_load_start(b.im, true, &never, NULL);

	image_load_feed(ld, a.data, a.len / 2);
	bench_stop(&b);
	buf_done(&a);
	buf_done(&l);
}

/* A layer that is gone from disk: the image is refused at start, the others are there. */
static void missing_layer(void **state)
{
	struct buf l1 = bench_layer("a", "one"), l2 = bench_layer("a", "two");
	struct buf a1 = bench_save(&l1, 1, NAMES("x"), NULL), a2 = bench_save(&l2, 1, NAMES("y"), NULL);
	struct image *i;
	char **layers, real[512];

	(void)state;
	loads(&a1, 0);
	loads(&a2, 0);
	i = image_find(b.im, "x", NULL);
	layers = image_layers(b.im, i);
	assert_non_null(realpath(layers[0], real));
	bench_stop(&b);
	char *away = mem_printf("%s.away", real);

	assert_int_equal(rename(real, away), 0);
	bench_start(&b);
	assert_true(gone("x"));
	assert_false(gone("y"));
	bench_settle(&b);
	loads(&a1, 0);
	top_holds("x", "a", "one");
	free(away);
	strv_free(layers);
	buf_done(&a1);
	buf_done(&a2);
	buf_done(&l1);
	buf_done(&l2);
}

/* A load of two images at a time while names are taken away: whatever the order, what the index names is whole. */
struct storm {
	bool ended;
	struct err err;
};

static void storm_end(void *user, const struct err *e)
{
	struct storm *s = user;

	s->ended = true;
	s->err = e ? *e : (struct err){ 0 };
}

static const struct image_load_ops storm_ops = { never_message, no_resume, storm_end };

static void storm(void **state)
{
	struct buf l[3] = { bench_layer("a", "one"), bench_layer("b", "two"), bench_layer("c", "three") };
	struct buf a[3] = { bench_save(l, 1, NAMES("x"), NULL), bench_save(l, 2, NAMES("y"), NULL), bench_save(l, 3, NAMES("z"), NULL) };
	static const char *const names[] = { "x", "y", "z" };

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct storm s[4] = { 0 };
		unsigned want = 0;

		for (size_t k = 0; k < N(s); k++) {
			struct image_load *ld = image_load_start(b.im, true, &storm_ops, &s[k]);

			image_load_feed(ld, a[(k + round) % 3].data, a[(k + round) % 3].len);
			image_load_finish(ld);
		}
		for (unsigned turn = 0; turn < 1000 && !(s[0].ended && s[1].ended && s[2].ended && s[3].ended); turn++) {
			(void)bench_rmi(&b, names[rand_below(3)], false);
			loop_turn(b.loop, 1);
		}
		for (size_t k = 0; k < N(s); k++) {
			while (!s[k].ended)
				loop_turn(b.loop, -1);
			if (s[k].err.kind)
				fail_msg("%s", s[k].err.msg);
		}
		bench_settle(&b);
		for (size_t k = 0; k < 3; k++) {
			static const char *const files[] = { "a", "b", "c" }, *const texts[] = { "one", "two", "three" };

			if (gone(names[k]))
				continue;
			top_holds(names[k], files[k], texts[k]);
			want = (unsigned)k + 1;
		}
		assert_int_equal(bench_count(&b, "layers"), want);
		assert_int_equal(bench_count(&b, "l"), want);
	}
	for (size_t k = 0; k < 3; k++) {
		buf_done(&a[k]);
		buf_done(&l[k]);
	}
}

/* A real full disk, a small tmpfs: a sentence, and as before; with room again it works. */
static void disk_full(void **state)
{
	CLEANUP(mem_freep) char *big = mem_zalloc(3 << 20);
	struct buf l = BUF_INIT, a;
	char *root = mem_printf("%s/image", b.dir);

	(void)state;
	memset(big, 'x', (3 << 20) - 1);
	tar_file(&l, "big", big);
	tar_end(&l);
	a = bench_save(&l, 1, NAMES("x"), NULL);
	bench_stop(&b);
	if (mount("none", root, "tmpfs", 0, "size=2m") < 0) {
		print_message("SKIP: cannot mount: %s\n", strerror(errno));
	} else {
		static const char *const sizes[] = { "size=2m", "size=4m", "size=5m" };

		bench_start(&b);
		for (size_t k = 0; k < N(sizes); k++) {
			assert_int_equal(mount("none", root, NULL, MS_REMOUNT, sizes[k]), 0);
			load_fails(&a, "No space left on device");
		}
		assert_int_equal(mount("none", root, NULL, MS_REMOUNT, "size=16m"), 0);
		loads(&a, 0);
		assert_int_equal(bench_rmi(&b, "x", false), 0);
		bench_stop(&b);
		assert_int_equal(umount(root), 0);
	}
	free(root);
	buf_done(&a);
	buf_done(&l);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(docker_save), T(oci), T(name_moves), T(truncated), T(damaged), T(oci_damaged), T(broken_manifests), T(hostile_layer), T(shared_layers),
		T(import), T(tag_and_remove), T(listing), T(faults), T(aborted), T(missing_layer), T(storm), T(disk_full),
	};

	if (geteuid() != 0) {
		puts("SKIP: needs root, to make owners");
		return 77;
	}
	/* Mounts of ours are nobody else's. */
	if (unshare(CLONE_NEWNS) == 0)
		(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
