/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "image/bundle.h"
#include "image/unpack.h"

/*
 * One input as an archive of images and as a layer. Around the layer's folder nothing may change: a file beside it is looked at after
 * each input.
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

static char dir[64];
static int top = -1;

static void cleanup(void)
{
	(void)file_rm_rf_at(AT_FDCWD, dir);
}

static void start(void)
{
	strcpy(dir, "/tmp/kedge-fuzz.XXXXXX");
	if (!mkdtemp(dir) || (top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	atexit(cleanup);
	if (mkdirat(top, "in", 0700) < 0 || file_replace_at(top, "canary", "alive", 5, 0600) < 0)
		abort();
}

static void look(void)
{
	struct stat st;

	if (fstatat(top, "canary", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mode != (S_IFREG | 0600) || st.st_nlink != 1 || st.st_size != 5)
		abort();
}

static void members(const uint8_t *p, size_t n, int at)
{
	struct bytes in = { p, n };
	struct bundle b;
	struct err e = { 0 };

	if (bundle_read(&b, at, &(struct unpack_source){ bytes_read, &in }, &e) < 0 && !*e.msg)
		abort();
	for (size_t i = 0; i < b.nimages; i++)
		for (size_t k = 0; k < b.images[i].nlayers; k++) {
			int fd = bundle_open(&b, b.images[i].layers[k].member, &e);

			if (fd >= 0)
				close(fd);
		}
	bundle_drop(&b);
	bundle_done(&b);
}

/* Headers carry a checksum, which hardly any change would survive: made right, the change reaches what lies behind it. */
static uint8_t *mended(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	memcpy(copy, p, n);
	for (size_t at = 0; n - at >= 512; at += 512) {
		uint8_t *h = copy + at;
		char text[8];
		unsigned sum = 0;

		if (memcmp(h + 257, "ustar", 5))
			continue;
		memset(h + 148, ' ', 8);
		for (unsigned i = 0; i < 512; i++)
			sum += h[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(h + 148, text, 7);
	}
	return copy;
}

static void one(const uint8_t *p, size_t n)
{
	struct bytes in = { p, n };
	struct unpack_result res;
	struct err e = { 0 };
	int at;

	if (top < 0)
		start();
	at = openat(top, "in", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		abort();
	members(p, n, at);
	if (unpack_layer(at, -1, &(struct unpack_source){ bytes_read, &in }, "the layer", &res, &e) < 0 && !*e.msg)
		abort();
	close(at);
	look();
	if (file_rm_rf_at(top, "in") < 0 || mkdirat(top, "in", 0700) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t *copy = mended(p, n);

	one(copy, n);
	free(copy);
	return 0;
}
