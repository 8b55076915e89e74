/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/changes.h"
#include "engine/tarin.h"
#include "engine/tarout.h"

/*
 * One input as an archive that is put into a container's root, in which links lead to the folder around it, absolutely and by "..". Around the
 * root nothing may change. What came out is then archived again and compared, as get, export and diff do.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct bytes {
	const uint8_t *p;
	size_t n;
};

static ssize_t bytes_read(void *user, void *to, size_t n)
{
	struct bytes *b = user;

	n = n < b->n ? n : b->n;
	memcpy(to, b->p, n);
	b->p += n;
	b->n -= n;
	return (ssize_t)n;
}

static int count(void *user, const void *p, size_t n)
{
	(void)p;
	*(size_t *)user += n;
	return *(size_t *)user > 1 << 20 ? -EFBIG : 0;		/* a file of holes may claim terabytes */
}

static char dir[64], in[80];
static int top = -1;

static void cleanup(void)
{
	(void)file_rm_rf_at(AT_FDCWD, dir);
}

static void start(void)
{
	/* In memory, where there is room: thousands of small trees come and go. */
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/kedge-fuzz.XXXXXX" : "/tmp/kedge-fuzz.XXXXXX");
	if (!mkdtemp(dir) || (top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	atexit(cleanup);
	snprintf(in, sizeof(in), "%s/in", dir);
	if (file_replace_at(top, "canary", "alive", 5, 0600) < 0)
		abort();
}

static void plant(void)
{
	if (mkdirat(top, "in", 0755) < 0 || mkdirat(top, "in/dest", 0755) < 0 || symlinkat(dir, top, "in/dest/host") < 0 ||
	    symlinkat("../../../../../../../../tmp", top, "in/dest/up") < 0)
		abort();
}

static void look(void)
{
	struct stat st;

	if (fstatat(top, "canary", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mode != (S_IFREG | 0600) || st.st_nlink != 1 || st.st_size != 5 ||
	    faccessat(top, "evil", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		abort();
}

static void again(int root)
{
	static const struct tarout_args plain = { 0 }, layer = { .layer = true, .no_top = true, .one_mount = true };
	char *none[] = { NULL };
	struct err e = { 0 };
	size_t bytes = 0;

	for (int i = 0; i < 2; i++) {
		struct tarout *t = tarout_new(count, &bytes, &e);

		if (!t || ((tarout_add(t, root, ".", i ? "" : "dest", i ? &layer : &plain, &e) < 0 || tarout_end(t, &e) < 0) && !*e.msg))
			abort();
		tarout_free(t);
	}
	json_decref(changes_find(in, none, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct tarin_args a = { .no_overwrite = n & 1 };
	struct bytes b = { p, n };
	struct err e = { 0 };
	int root;

	if (top < 0)
		start();
	plant();
	root = openat(top, "in", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || (tarin_extract(root, "/dest", &(struct unpack_source){ bytes_read, &b }, &a, &e) < 0 && !*e.msg))
		abort();
	look();
	again(root);
	close(root);
	if (file_rm_rf_at(top, "in") < 0)
		abort();
	return 0;
}
