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
#include "base/mem.h"
#include "base/str.h"
#include "image/split.h"
#include "image/unpack.h"
#include "image_tar.h"

/*
 * Layers into a folder. Next to the folder lies a canary: whatever an archive says, it and everything around stay as they are.
 */
struct box {
	char dir[64];
	int top, fs;
	struct buf tar;
};

static struct box box;

static int box_open(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return -1;
	strcpy(box.dir, "/tmp/kedge-unpack.XXXXXX");
	if (!mkdtemp(box.dir))
		return -1;
	box.top = open(box.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(box.top, "fs", 0700);
	box.fs = openat(box.top, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_replace_at(box.top, "canary", "alive", 5, 0600), 0);
	buf_init(&box.tar, 0);
	return 0;
}

static int box_close(void **state)
{
	struct buf b = BUF_INIT;
	struct stat st;

	(void)state;
	assert_int_equal(file_read_at(box.top, "canary", 100, &b), 0);
	assert_string_equal(b.data, "alive");
	assert_int_equal(fstatat(box.top, "canary", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_nlink, 1);
	buf_done(&b);
	buf_done(&box.tar);
	close(box.fs);
	close(box.top);
	assert_int_equal(file_rm_rf_at(AT_FDCWD, box.dir), 0);
	return 0;
}

struct mem_source {
	const char *p;
	size_t n, at, step;
	int fail;		/* errno at the end */
};

static ssize_t mem_read(void *user, void *p, size_t n)
{
	struct mem_source *s = user;
	size_t left = s->n - s->at;

	if (!left)
		return -s->fail;
	n = n < left ? n : left;
	n = s->step && s->step < n ? s->step : n;
	memcpy(p, s->p + s->at, n);
	s->at += n;
	return (ssize_t)n;
}

static struct unpack_result res;
static struct err err;

/* The archive comes out again as it went in: by its digest. */
static void comes_back(void)
{
	struct split_reader *r = split_open(box.top, "the layer", &err);
	struct digest *d = digest_new();
	char chunk[777], digest[DIGEST_SIZE];
	ssize_t n;

	if (!r)
		fail_msg("%s", err.msg);
	while ((n = split_read(r, chunk, sizeof(chunk))) > 0)
		digest_update(d, chunk, (size_t)n);
	if (n < 0)
		fail_msg("%s", split_error(r)->msg);
	split_reader_free(r);
	digest_end_take(d, digest);
	assert_string_equal(digest, res.diff);
}

static bool lost;	/* what the archive held cannot all be kept */

static int unpack_buf(const struct buf *b, size_t step, int fail)
{
	struct mem_source s = { b->data, b->len, 0, step, fail };
	int rc;

	err = (struct err){ 0 };
	(void)unlinkat(box.top, "tar", 0);
	rc = unpack_layer(box.fs, box.top, &(struct unpack_source){ mem_read, &s }, "the layer", &res, &err);
	if (rc == 0) {
		lost = faccessat(box.top, "tar", F_OK, 0) < 0;
		if (!lost)
			comes_back();
	}
	return rc;
}

static void takes(void)
{
	tar_end(&box.tar);
	if (unpack_buf(&box.tar, 0, 0) < 0)
		fail_msg("%s", err.msg);
}

static void refuses_with(const char *part)
{
	tar_end(&box.tar);
	assert_int_equal(unpack_buf(&box.tar, 0, 0), -1);
	if (!strstr(err.msg, part))
		fail_msg("no '%s' in: %s", part, err.msg);
}

static struct stat stat_of(const char *path)
{
	struct stat st;

	if (fstatat(box.fs, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static bool absent(const char *path)
{
	struct stat st;

	return fstatat(box.fs, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static void content_is(const char *path, const char *text)
{
	struct buf b = BUF_INIT;

	assert_int_equal(file_read_at(box.fs, path, 1 << 20, &b), 0);
	assert_string_equal(b.len ? b.data : "", text);
	buf_done(&b);
}

static bool xattr_is(const char *path, const char *key, const char *value)
{
	char got[256];
	char *full = mem_printf("%s/fs/%s", box.dir, path);
	ssize_t n = lgetxattr(full, key, got, sizeof(got));

	free(full);
	return n == (ssize_t)strlen(value) && !memcmp(got, value, (size_t)n);
}

static void whiteout_at(const char *path)
{
	struct stat st = stat_of(path);

	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, 0);
}

static void plain(void **state)
{
	struct stat st;
	char link[64] = { 0 };

	(void)state;
	tar_put(&box.tar, &(struct tar_entry){ .name = "./", .type = '5', .mode = 0751, .uid = 7, .gid = 8, .mtime = 1000 });
	tar_put(&box.tar, &(struct tar_entry){ .name = "./etc/", .type = '5', .mode = 0755, .mtime = 2000 });
	tar_put(&box.tar, &(struct tar_entry){ .name = "./etc/x", .type = '0', .data = "hello", .n = 5, .mode = 04711, .uid = 100, .gid = 200, .mtime = 3000 });
	tar_put(&box.tar, &(struct tar_entry){ .name = "etc/hard", .type = '1', .link = "./etc/x" });
	tar_put(&box.tar, &(struct tar_entry){ .name = "etc/soft", .type = '2', .link = "/../../canary", .uid = 5, .mtime = 4000 });
	tar_put(&box.tar, &(struct tar_entry){ .name = "dev/null", .type = '3', .mode = 0666, .major = 1, .minor = 3 });
	tar_put(&box.tar, &(struct tar_entry){ .name = "dev/pipe", .type = '6', .mode = 0600 });
	tar_file(&box.tar, "/abs/olute", "inside");
	tar_put(&box.tar, &(struct tar_entry){ .name = "big-owner", .type = '0', .pax = "uid=4294967294\nSCHILY.xattr.user.k=v\nSCHILY.xattr.trusted.overlay.redirect=/etc\n"
											       "SCHILY.xattr.security.selinux=x\nmtime=5.25" });
	tar_file(&box.tar, "\xc3\xa4\xff", "bytes");
	tar_put(&box.tar, &(struct tar_entry){ .name = "p", .type = '0', .pax = "path=d\xc3\xb6" "f/\xe2\x82\xac" });
	takes();

	st = stat_of(".");
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_mtime, 1000);
	assert_int_equal(stat_of("etc").st_mtime, 2000);
	st = stat_of("etc/x");
	assert_int_equal(st.st_mode, S_IFREG | 04711);
	assert_int_equal(st.st_uid, 100);
	assert_int_equal(st.st_gid, 200);
	assert_int_equal(st.st_mtime, 3000);
	assert_int_equal(st.st_nlink, 2);
	content_is("etc/hard", "hello");
	st = stat_of("etc/soft");
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_mtime, 4000);
	assert_int_equal(readlinkat(box.fs, "etc/soft", link, sizeof(link)), strlen("/../../canary"));
	st = stat_of("dev/null");
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_true(S_ISFIFO(stat_of("dev/pipe").st_mode));
	content_is("abs/olute", "inside");
	st = stat_of("big-owner");
	assert_int_equal(st.st_uid, 4294967294u);
	assert_int_equal(st.st_mtim.tv_nsec, 250000000);
	assert_true(xattr_is("big-owner", "user.k", "v"));
	assert_false(xattr_is("big-owner", "trusted.overlay.redirect", "/etc"));
	content_is("\xc3\xa4\xff", "bytes");
	content_is("d\xc3\xb6" "f/\xe2\x82\xac", "");
	assert_int_equal(res.bytes, 5 + 6 + 5);
}

static void whiteouts(void **state)
{
	(void)state;
	tar_file(&box.tar, "a/.wh.gone", "");
	tar_dir(&box.tar, "o");
	tar_file(&box.tar, "o/.wh..wh..opq", "");
	tar_file(&box.tar, "o/kept", "1");
	tar_dir(&box.tar, "lone");
	tar_file(&box.tar, ".wh..wh.plnk/x", "");	/* a folder of aufs: its name says nothing */
	tar_file(&box.tar, ".wh..wh.aufs", "");
	tar_file(&box.tar, "both", "1");		/* brought, then removed below: it stays */
	tar_file(&box.tar, ".wh.both", "");
	tar_file(&box.tar, ".wh.again", "");		/* the other way round */
	tar_file(&box.tar, "again", "2");
	tar_file(&box.tar, ".wh.folder", "");		/* replaced as a whole */
	tar_dir(&box.tar, "folder");
	tar_dir(&box.tar, "folder2");
	tar_file(&box.tar, ".wh.folder2", "");
	takes();
	whiteout_at("a/gone");
	assert_true(xattr_is("o", "trusted.overlay.opaque", "y"));
	assert_true(absent("o/.wh..wh..opq"));
	assert_false(xattr_is("lone", "trusted.overlay.opaque", "y"));
	assert_true(absent(".wh..wh.aufs"));
	content_is("both", "1");
	content_is("again", "2");
	assert_true(S_ISDIR(stat_of("folder").st_mode));
	assert_true(xattr_is("folder", "trusted.overlay.opaque", "y"));
	assert_true(xattr_is("folder2", "trusted.overlay.opaque", "y"));
}

static void replacing(void **state)
{
	(void)state;
	tar_file(&box.tar, "f", "1");
	tar_file(&box.tar, "f", "22");
	tar_file(&box.tar, "d/x", "1");
	tar_file(&box.tar, "d", "file");
	tar_file(&box.tar, "e", "file");
	tar_put(&box.tar, &(struct tar_entry){ .name = "e", .type = '5', .mtime = 9 });
	tar_file(&box.tar, "e/x", "in");
	tar_link_to(&box.tar, '2', "s", "e");
	tar_file(&box.tar, "s", "now a file");
	tar_link_to(&box.tar, '2', "t", "e");
	tar_dir(&box.tar, "t");
	tar_file(&box.tar, "t/y", "not in e");
	tar_link_to(&box.tar, '1', "f", "f");
	takes();
	content_is("f", "22");
	content_is("d", "file");
	content_is("e/x", "in");
	content_is("s", "now a file");
	content_is("t/y", "not in e");
	assert_true(absent("e/y"));
	assert_int_equal(stat_of("e").st_mtime, 9);
}

/* The earlier content of a name stays for the archive's sake; a folder's does not, and the layer works all the same. */
static void comes_back_replaced(void **state)
{
	(void)state;
	tar_file(&box.tar, "a", "one");
	tar_file(&box.tar, "b", "");
	tar_file(&box.tar, "a", "second");
	tar_file(&box.tar, "a", "third one");
	tar_link_to(&box.tar, '1', "c", "a");
	tar_link_to(&box.tar, '2', "a", "elsewhere");
	takes();
	assert_false(lost);
	content_is("c", "third one");
}

static void comes_back_not(void **state)
{
	struct err e = { 0 };

	(void)state;
	tar_dir(&box.tar, "d");
	tar_file(&box.tar, "d/f", "text");
	tar_file(&box.tar, "d", "a file now");
	takes();
	assert_true(lost);
	content_is("d", "a file now");
	assert_null(split_open(box.top, "the layer", &e));
	assert_non_null(strstr(e.msg, "cannot be written out again"));
}

/* Large files, long names, trailing bytes: pieces that cross blocks. */
static void comes_back_large(void **state)
{
	char *big = mem_alloc(300 * 1000), name[300];

	(void)state;
	memset(big, 'x', 300 * 1000);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "path=%0*u\n", i % 2 ? 200 : 20, i);
		tar_put(&box.tar, &(struct tar_entry){ .name = "short", .type = '0', .data = big, .n = i * 1499 % 300000, .mode = 0644, .pax = name });
	}
	free(big);
	tar_end(&box.tar);
	buf_adds(&box.tar, "what stands behind the end");
	if (unpack_buf(&box.tar, 0, 0) < 0)
		fail_msg("%s", err.msg);
	assert_false(lost);
}

static void sparse(void **state)
{
	const char *data = "AAAA";
	struct stat st;
	struct buf map = BUF_INIT;
	int fd;
	char c;

	(void)state;
	/* PAX sparse 1.0: the map stands before the data; ten gigabytes with four bytes at five. */
	buf_adds(&map, "2\n5368709120\n4\n10737418240\n0\n");
	while (map.len % 512)
		buf_addc(&map, '\0');
	buf_adds(&map, data);
	tar_put(&box.tar, &(struct tar_entry){ .name = "GNUSparseFile.0/s", .type = '0', .data = map.data, .n = map.len,
					       .pax = "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=s\nGNU.sparse.realsize=10737418240" });
	buf_done(&map);
	takes();
	st = stat_of("s");
	assert_int_equal(st.st_size, 10737418240);
	assert_true(st.st_blocks < 64);
	fd = openat(box.fs, "s", O_RDONLY);
	assert_int_equal(pread(fd, &c, 1, 5368709121), 1);
	assert_int_equal(c, 'A');
	close(fd);
}

static void dotdot(void **state)
{
	(void)state;
	tar_file(&box.tar, "../canary", "dead");
	refuses_with("holds '..'");
}

static void dotdot_inside(void **state)
{
	(void)state;
	tar_file(&box.tar, "a/b/../../../canary", "dead");
	refuses_with("holds '..'");
}

static void through_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "out", "..");
	tar_file(&box.tar, "out/canary", "dead");
	refuses_with("is a link");
}

static void through_absolute_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "out", box.dir);
	tar_dir(&box.tar, "out/fresh");
	refuses_with("is a link");
}

static void whiteout_through_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "out", "..");
	tar_file(&box.tar, "out/.wh.canary", "");
	refuses_with("is a link");
}

static void opaque_through_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "out", "..");
	tar_file(&box.tar, "out/.wh..wh..opq", "");
	refuses_with("is a link");
}

static void overwrite_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "c", "../canary");
	tar_put(&box.tar, &(struct tar_entry){ .name = "c", .type = '0', .data = "dead", .n = 4, .mode = 0777 });
	takes();
	content_is("c", "dead");
}

static void hardlink_out(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '1', "c", "../canary");
	refuses_with("holds '..'");
}

static void hardlink_absolute(void **state)
{
	char *target = mem_printf("%s/canary", box.dir);

	(void)state;
	tar_link_to(&box.tar, '1', "c", target);
	free(target);
	refuses_with("does not hold before it");
}

static void hardlink_through_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "out", "..");
	tar_link_to(&box.tar, '1', "c", "out/canary");
	refuses_with("does not hold before it");
}

/* The link itself gets a second name; writing to that name replaces it. */
static void hardlink_to_symlink(void **state)
{
	(void)state;
	tar_link_to(&box.tar, '2', "s", "../canary");
	tar_link_to(&box.tar, '1', "h", "s");
	tar_file(&box.tar, "h", "dead");
	takes();
	assert_true(S_ISREG(stat_of("h").st_mode));
}

static void hardlink_to_folder(void **state)
{
	(void)state;
	tar_dir(&box.tar, "d");
	tar_link_to(&box.tar, '1', "h", "d");
	refuses_with("hard link to a folder");
}

static void bad_whiteout(void **state)
{
	(void)state;
	tar_file(&box.tar, "a/.wh...", "");
	refuses_with("removes no name");
}

static void bare_whiteout(void **state)
{
	(void)state;
	tar_file(&box.tar, "a/.wh.", "");
	refuses_with("removes no name");
}

static void root_as_file(void **state)
{
	(void)state;
	tar_file(&box.tar, "./", "x");
	tar_link_to(&box.tar, '2', ".", "/etc");
	refuses_with("names the root");
}

static void too_long(void **state)
{
	char *p = mem_zalloc(5000);

	(void)state;
	for (size_t i = 0; i < 4200; i++)
		p[i] = i % 10 == 9 ? '/' : 'a';
	tar_file(&box.tar, p, "x");
	free(p);
	refuses_with("longer than 4095");
}

static void too_long_part(void **state)
{
	char *p = mem_zalloc(400);

	(void)state;
	memset(p, 'a', 300);
	tar_file(&box.tar, p, "x");
	free(p);
	refuses_with("longer than 255");
}

static void deep(void **state)
{
	char *p = mem_zalloc(2 * 600 + 1);

	(void)state;
	for (size_t i = 0; i < 600; i++)
		memcpy(p + 2 * i, "d/", 2);
	tar_dir(&box.tar, p);
	free(p);
	refuses_with("512 folders deep");
}

static void declared_huge(void **state)
{
	(void)state;
	tar_put(&box.tar, &(struct tar_entry){ .name = "huge", .type = '0', .data = "x", .n = 1, .declared = (int64_t)1 << 50 });
	refuses_with("16 TiB");
}

static void declared_ten_gigabytes(void **state)
{
	(void)state;
	tar_put(&box.tar, &(struct tar_entry){ .name = "big", .type = '0', .data = "x", .n = 1, .declared = 10737418240 });
	refuses_with("no intact tar");
	assert_true(stat_of("big").st_blocks < 64);
}

static void bad_owner(void **state)
{
	(void)state;
	tar_put(&box.tar, &(struct tar_entry){ .name = "o", .type = '0', .pax = "uid=4294967295" });
	refuses_with("owner");
}

static void unknown_type(void **state)
{
	struct tar_entry t = { .name = "sock", .type = 'V' };

	(void)state;
	tar_put(&box.tar, &t);
	tar_file(&box.tar, "after", "x");
	tar_end(&box.tar);
	/* A volume label is nothing; whatever comes of it, no crash. */
	(void)unpack_buf(&box.tar, 0, 0);
}

/* Same result in any form and piece size. */
static void compressed(void **state)
{
	static const char *const filters[] = { "gzip", "zstd", "xz", "bzip2" };
	char plain_diff[DIGEST_SIZE];

	(void)state;
	for (int i = 0; i < 500; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d%d/f%d", i % 7, i);
		tar_file(&box.tar, name, "some text that repeats, repeats, repeats");
	}
	takes();
	strcpy(plain_diff, res.diff);
	for (size_t f = 0; f < N(filters); f++) {
		struct buf z = BUF_INIT;

		tar_compress(&box.tar, filters[f], &z);
		assert_true(z.len > 0 && z.len < box.tar.len);
		for (size_t step = 1; step < 70000; step *= 41) {
			if (unpack_buf(&z, step, 0) < 0)
				fail_msg("%s: %s", filters[f], err.msg);
			assert_string_equal(res.diff, plain_diff);
			assert_int_equal(res.entries, 500);
		}
		/* Cut: never taken for whole. */
		for (size_t cut = 1; cut < z.len; cut += z.len / 23 + 1) {
			struct buf part = { .data = z.data, .len = cut };

			if (unpack_buf(&part, 0, 0) == 0)
				assert_string_not_equal(res.diff, plain_diff);
			else
				assert_true(*err.msg);
		}
		buf_done(&z);
	}
}

static void empty(void **state)
{
	struct buf nothing = BUF_INIT;

	(void)state;
	assert_int_equal(unpack_buf(&nothing, 0, 0), 0);
	assert_int_equal(res.entries, 0);
	assert_string_equal(res.diff, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	takes();
	assert_int_equal(res.entries, 0);
}

static void not_a_tar(void **state)
{
	char junk[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)(i * 2654435761u >> 13);
	buf_add(&box.tar, junk, sizeof(junk));
	assert_int_equal(unpack_buf(&box.tar, 0, 0), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_non_null(strstr(err.msg, "no intact tar"));
}

static void source_fails(void **state)
{
	(void)state;
	tar_file(&box.tar, "x", "1");
	assert_int_equal(unpack_buf(&box.tar, 100, EIO), -1);
	assert_int_equal(err.sys, EIO);
	assert_non_null(strstr(err.msg, "read the layer: Input/output error"));
}

/* Every bit of a header flipped once: refused or taken, never out of the folder (box_close looks) and never a crash. */
static void flipped(void **state)
{
	(void)state;
	tar_file(&box.tar, "a/b", "text");
	tar_link_to(&box.tar, '1', "c", "a/b");
	tar_end(&box.tar);
	for (size_t bit = 0; bit < box.tar.len * 8; bit += 3) {
		box.tar.data[bit / 8] ^= (char)(1 << bit % 8);
		(void)unpack_buf(&box.tar, 0, 0);
		box.tar.data[bit / 8] ^= (char)(1 << bit % 8);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, box_open, box_close)
	const struct CMUnitTest tests[] = {
		T(plain), T(whiteouts), T(replacing), T(comes_back_replaced), T(comes_back_not), T(comes_back_large), T(sparse), T(dotdot), T(dotdot_inside), T(through_symlink), T(through_absolute_symlink),
		T(whiteout_through_symlink), T(opaque_through_symlink), T(overwrite_symlink), T(hardlink_out), T(hardlink_absolute),
		T(hardlink_through_symlink), T(hardlink_to_symlink), T(hardlink_to_folder), T(bad_whiteout), T(bare_whiteout), T(root_as_file),
		T(too_long), T(too_long_part), T(deep), T(declared_huge), T(declared_ten_gigabytes), T(bad_owner), T(unknown_type), T(compressed),
		T(empty), T(not_a_tar), T(source_fails), T(flipped),
	};

	if (geteuid() != 0) {
		puts("SKIP: needs root, to make devices and owners");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
