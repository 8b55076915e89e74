/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tree.h"
#include "image_bench.h"

/* Images made out of an overlay's upper directory, as commit and builds do. */
static struct bench b;

struct answer {
	bool done;
	char id[80];
	struct err err;
};

static void on_done(void *user, const char *id, const struct err *e)
{
	struct answer *a = user;

	snprintf(a->id, sizeof(a->id), "%s", id ? id : "");
	a->err = e ? *e : (struct err){ 0 };
	a->done = true;
}

static bool as_step;	/* the images that create() makes are a build's on the way */

static struct answer create(const char *parent, int diff, int tar, const char *name)
{
	json_t *config = json_pack("{s:{s:[s]}}", "config", "Cmd", "/x");
	struct image_create_args args = { .parent = parent, .diff_take = diff, .tar_take = tar, .config = config, .created_by = "RUN x", .comment = "said",
					  .name = name, .step = as_step };
	struct answer a = { 0 };

	image_create(b.im, &args, on_done, &a);
	json_decref(config);
	assert_false(a.done);
	while (!a.done)
		loop_turn(b.loop, -1);
	return a;
}

static int upper_open(void)
{
	char *path = mem_printf("%s/upper", b.dir);
	int fd;

	assert_int_equal(mkdir(path, 0755), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(path);
	return fd;
}

static int upper_close(void **state)
{
	(void)state;
	bench_stop(&b);
	bench_remove(&b);
	return 0;
}

static int start(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct buf layer = bench_layer("lower", "below"), archive;

	(void)state;
	bench_make(&b);
	bench_start(&b);
	archive = bench_save(&layer, 1, names, "\"history\":[{\"created_by\":\"first\"}],");
	assert_int_equal(bench_load(&b, &archive, 0), 0);
	buf_done(&archive);
	buf_done(&layer);
	return 0;
}

static char *layer_dir(const struct answer *a, size_t n, size_t of)
{
	struct err e = { 0 };
	struct image *i = image_find(b.im, a->id, &e);
	char **dirs, *dir;

	if (!i)
		fail_msg("%s", e.msg);
	dirs = image_layers(b.im, i);
	assert_int_equal(strv_len(dirs), of);
	dir = mem_strdup(dirs[n]);
	strv_free(dirs);
	return dir;
}

static void whole_upper(void **state)
{
	struct answer a;
	struct image *i;
	struct stat st, st2;
	json_t *doc;
	char v[8], *dir;
	int up = upper_open(), fd;

	(void)state;
	assert_int_equal(file_replace_at(up, "file", "text", 4, 0644), 0);
	assert_int_equal(linkat(up, "file", up, "link", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", up, "sym"), 0);
	assert_int_equal(mknodat(up, "gone", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(mkdirat(up, "dir", 0700), 0);
	assert_int_equal(file_replace_at(up, "dir/suid", "#!", 2, 04755), 0);
	assert_int_equal(fchownat(up, "dir/suid", 1234, 5678, 0), 0);
	assert_int_equal(fchmodat(up, "dir/suid", 04755, 0), 0);
	fd = openat(up, "dir", O_RDONLY | O_DIRECTORY);
	assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
	close(fd);
	fd = openat(up, "holes", O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	assert_int_equal(pwrite(fd, "mid", 3, 32 << 20), 3);
	close(fd);
	fd = openat(up, "empty-holes", O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);

	a = create("base", up, -1, "made:v1");
	if (a.err.kind)
		fail_msg("%s", a.err.msg);
	i = image_find(b.im, "made:v1", NULL);
	assert_non_null(i);
	assert_string_equal(image_id(i), a.id);
	assert_string_equal(image_parent(i), image_id(image_find(b.im, "base", NULL)));
	dir = layer_dir(&a, 1, 2);
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	free(dir);
	assert_true(fd >= 0);
	assert_int_equal(fstatat(fd, "file", &st, 0), 0);
	assert_int_equal(fstatat(fd, "link", &st2, 0), 0);
	assert_int_equal(st.st_ino, st2.st_ino);
	assert_int_equal(fstatat(fd, "gone", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
	assert_int_equal(fstatat(fd, "sym", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(fstatat(fd, "dir/suid", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 5678);
	assert_int_equal(fstatat(fd, "holes", &st, 0), 0);
	assert_int_equal(st.st_size, 64 << 20);
	assert_true(st.st_blocks < 2048);
	assert_int_equal(fstatat(fd, "empty-holes", &st, 0), 0);
	assert_int_equal(st.st_size, 1 << 20);
	up = openat(fd, "holes", O_RDONLY);
	assert_int_equal(pread(up, v, 3, 32 << 20), 3);
	assert_memory_equal(v, "mid", 3);
	close(up);
	up = openat(fd, "dir", O_RDONLY | O_DIRECTORY);
	assert_int_equal(fgetxattr(up, "trusted.overlay.opaque", v, sizeof(v)), 1);
	close(up);
	close(fd);
	doc = image_history(b.im, i);
	assert_int_equal(json_array_size(doc), 2);
	assert_string_equal(json_str(json_array_get(doc, 0), "CreatedBy", ""), "RUN x");
	assert_string_equal(json_str(json_array_get(doc, 0), "Comment", ""), "said");
	json_decref(doc);
	/* Its parent's layer is shared, and goes with the last image. */
	assert_int_equal(bench_count(&b, "layers"), 2);
	assert_int_equal(bench_rmi(&b, "base", false), 0);
	assert_int_equal(bench_count(&b, "layers"), 2);
	assert_int_equal(bench_rmi(&b, "made:v1", false), 0);
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 0);
}

static void nothing_changed(void **state)
{
	struct answer a = create("base", upper_open(), -1, NULL), c;
	const json_t *h;

	(void)state;
	assert_int_equal(a.err.kind, ERR_NONE);
	free(layer_dir(&a, 0, 1));
	h = json_arr(image_config(image_find(b.im, a.id, NULL)), "history");
	assert_true(json_flag(json_array_get(h, 1), "empty_layer", false));
	c = create(a.id, -1, -1, NULL);
	assert_int_equal(c.err.kind, ERR_NONE);
	free(layer_dir(&c, 0, 1));
	assert_string_equal(image_parent(image_find(b.im, c.id, NULL)), a.id);
}

static void from_scratch(void **state)
{
	struct buf layer = bench_layer("only", "text");
	char *path = mem_printf("%s/layer.tar", b.dir);
	struct answer a;

	(void)state;
	assert_int_equal(file_replace_at(AT_FDCWD, path, layer.data, layer.len, 0600), 0);
	a = create(NULL, -1, open(path, O_RDONLY | O_CLOEXEC), "scratch");
	assert_int_equal(a.err.kind, ERR_NONE);
	free(layer_dir(&a, 0, 1));
	free(path);
	buf_done(&layer);
}

static void wrong(void **state)
{
	struct answer a = create("nowhere", -1, -1, NULL);
	char *path = mem_printf("%s/noise", b.dir);

	(void)state;
	assert_string_equal(a.err.msg, "No such image: nowhere:latest");
	a = create("base", -1, -1, "Bad//name");
	assert_int_equal(a.err.kind, ERR_INVALID);
	assert_int_equal(file_replace_at(AT_FDCWD, path, "this is no tar at all", 21, 0600), 0);
	a = create("base", -1, open(path, O_RDONLY | O_CLOEXEC), "made");
	assert_int_equal(a.err.kind, ERR_INVALID);
	assert_null(image_find(b.im, "made", NULL));
	bench_settle(&b);
	assert_int_equal(bench_count(&b, "layers"), 1);
	free(path);
}

static size_t listed(bool all)
{
	json_t *list = image_list(b.im, all, NULL, NULL);
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

/* Steps of a build: not listed, held while they are needed, named in the history; a restart knows all of it but the holds. */
static void steps(void **state)
{
	struct answer one, two;
	json_t *history;

	(void)state;
	as_step = true;
	one = create("base", -1, -1, NULL);
	as_step = false;
	two = create(one.id, -1, -1, "made");
	assert_string_equal(two.err.msg, "");
	assert_true(image_is_step(b.im, image_find(b.im, one.id, NULL)));
	assert_false(image_is_step(b.im, image_find(b.im, two.id, NULL)));
	assert_int_equal(listed(false), 2);
	assert_int_equal(listed(true), 3);
	history = image_history(b.im, image_find(b.im, "made", NULL));
	assert_string_equal(json_str(json_array_get(history, 0), "Id", ""), two.id);
	assert_string_equal(json_str(json_array_get(history, 1), "Id", ""), one.id);
	json_decref(history);
	assert_int_equal(image_hold(b.im, two.id, NULL), 0);
	assert_int_equal(bench_rmi(&b, two.id, true), -1);
	assert_non_null(strstr(b.err.msg, "image is being used by a build"));
	image_release(b.im, two.id);
	bench_stop(&b);
	bench_start(&b);
	assert_true(image_is_step(b.im, image_find(b.im, one.id, NULL)));
	/* A name makes it an image like others. */
	assert_int_equal(bench_tag(&b, one.id, "step"), 0);
	assert_int_equal(listed(false), 3);
	assert_int_equal(bench_rmi(&b, "step", false), 0);
	assert_int_equal(listed(false), 2);
	assert_int_equal(bench_rmi(&b, "made", false), 0);
	assert_int_equal(listed(true), 1);
	assert_int_equal(image_hold(b.im, two.id, &b.err), -1);
	assert_int_equal(b.err.kind, ERR_NOT_FOUND);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, upper_close)
	const struct CMUnitTest tests[] = { T(whole_upper), T(nothing_changed), T(from_scratch), T(steps), T(wrong) };

	if (geteuid() != 0) {
		puts("SKIP: needs root, to make owners");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
