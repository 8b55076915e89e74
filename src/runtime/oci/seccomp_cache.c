/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Compiling docker's default profile takes libseccomp about ten milliseconds, more than all else that starts a
 * container. Nearly every container of a host has the same profile, so the compiled program is kept in a file:
 *
 *   <cache>/<hash of the profile>.bpf    head, the profile's JSON text, the instructions
 *
 * The hash only finds the file; what decides is the whole text, which must be the same, and the versions of library and kernel. A file is
 * written under a name of its own and renamed, so a reader sees all of it or none; it is not synced, and the checksum tells what a power
 * cut left. The directory belongs to root alone. The cache is a convenience: whatever is wrong with it, the profile is compiled.
 */
#include "runtime/oci/oci_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

enum { CACHE_FILES_MAX = 64, CACHE_FILE_MAX = 1 << 20 };

struct cache_head {
	char magic[8];
	char made_by[96];	/* libseccomp's version and the kernel's release */
	uint64_t sum;		/* FNV-1a of everything behind the head */
	uint32_t text_len, flags;
	uint32_t insns, pad;
};

static uint64_t sum_of(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 1099511628211ull;
	return h;
}

static const uint64_t SUM_START = 14695981039346656037ull;

static void head_of(struct cache_head *h)
{
	const struct scmp_version *v = seccomp_version();
	struct utsname u;

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, "kedgesc1", 8);
	(void)uname(&u);
	snprintf(h->made_by, sizeof(h->made_by), "%u.%u.%u %.70s", v ? v->major : 0, v ? v->minor : 0, v ? v->micro : 0, u.release);
}

/* The cache's directory; -1 when it cannot be trusted or made. */
static int cache_dir(const char *path, bool make)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && make && errno == ENOENT && mkdir(path, 0700) == 0)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022)))
		fd_drop(&fd);
	return fd;
}

static bool cache_read(int dir, const char *name, const char *text, size_t len, struct seccomp_prog *ret)
{
	struct buf b = BUF_INIT;
	struct cache_head want;
	const struct cache_head *h;
	bool ok = false;

	head_of(&want);
	if (file_read_at(dir, name, CACHE_FILE_MAX, &b) < 0 || b.len < sizeof(*h))
		goto out;
	h = (const struct cache_head *)(const void *)b.data;
	if (memcmp(h->magic, want.magic, sizeof(h->magic)) || memcmp(h->made_by, want.made_by, sizeof(h->made_by)) || h->text_len != len ||
	    !h->insns || h->insns > BPF_MAXINSNS || b.len != sizeof(*h) + len + h->insns * sizeof(struct sock_filter) ||
	    h->sum != sum_of(SUM_START, b.data + sizeof(*h), b.len - sizeof(*h)) || memcmp(b.data + sizeof(*h), text, len))
		goto out;
	ret->insns = mem_alloc(h->insns * sizeof(struct sock_filter));
	memcpy(ret->insns, b.data + sizeof(*h) + len, h->insns * sizeof(struct sock_filter));
	ret->len = (unsigned short)h->insns;
	ret->flags = h->flags;
	ok = true;
out:
	buf_done(&b);
	return ok;
}

/* Profiles come and go with their users; rather than to know which are in use, a full cache starts anew. */
static void cache_trim(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *e;
	size_t n = 0;

	if (!d) {
		fd_closep(&copy);
		return;
	}
	while ((e = readdir(d)))
		n += *e->d_name != '.';
	if (n >= CACHE_FILES_MAX) {
		rewinddir(d);
		while ((e = readdir(d))) {
			if (*e->d_name != '.')
				(void)unlinkat(dir, e->d_name, 0);	/* another may have done it */
		}
	}
	closedir(d);
}

static void cache_write(int dir, const char *name, const char *text, size_t len, const struct seccomp_prog *p)
{
	struct cache_head h;
	char tmp[64];
	size_t size = p->len * sizeof(struct sock_filter);
	int fd;

	cache_trim(dir);
	head_of(&h);
	h.text_len = (uint32_t)len;
	h.flags = p->flags;
	h.insns = p->len;
	h.sum = sum_of(sum_of(SUM_START, text, len), p->insns, size);
	snprintf(tmp, sizeof(tmp), ".%d.%08x", (int)getpid(), rand_u32());
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (file_write_all(fd, &h, sizeof(h)) < 0 || file_write_all(fd, text, len) < 0 || file_write_all(fd, p->insns, size) < 0 ||
	    renameat(dir, tmp, dir, name) < 0)
		(void)unlinkat(dir, tmp, 0);
	(void)close(fd);
}

int seccomp_cached(const json_t *seccomp, const char *cache, struct seccomp_prog *ret, struct err *e)
{
	CLEANUP(fd_closep) int dir = -1;
	CLEANUP(mem_freep) char *text = NULL;
	char name[32];
	size_t len;

	*ret = (struct seccomp_prog){ 0 };
	if (!seccomp || !cache)
		return seccomp_compile(seccomp, ret, e);
	text = json_text(seccomp);
	len = strlen(text);
	snprintf(name, sizeof(name), "%016llx.bpf", (unsigned long long)sum_of(SUM_START, text, len));
	dir = cache_dir(cache, true);
	if (dir >= 0 && len < CACHE_FILE_MAX / 2 && cache_read(dir, name, text, len, ret))
		return 0;
	if (seccomp_compile(seccomp, ret, e) < 0)
		return -1;
	if (dir >= 0 && ret->len && len < CACHE_FILE_MAX / 2)
		cache_write(dir, name, text, len, ret);
	return 0;
}
