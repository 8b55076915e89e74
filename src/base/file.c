/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

int file_read_at(int dirfd, const char *path, size_t limit, struct buf *b)
{
	int fd CLEANUP(fd_closep) = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char chunk[16384];
	size_t total = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t got = read(fd, chunk, sizeof(chunk));

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (got == 0)
			return buf_add(b, "", 0) < 0 ? -EFBIG : 0;	/* an empty file is "", not NULL */
		total += (size_t)got;
		if (total > limit || buf_add(b, chunk, (size_t)got) < 0)
			return -EFBIG;
	}
}

int file_read_line(const char *path, char *out, size_t size)
{
	int fd CLEANUP(fd_closep) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t got;

	out[0] = '\0';
	if (fd < 0)
		return -errno;
	do
		got = read(fd, out, size - 1);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		got = -errno;
		out[0] = '\0';
		return (int)got;
	}
	out[got] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

int file_write_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t put = write(fd, at, n);

		if (put < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

int file_put_at(int dirfd, const char *path, const char *text)
{
	int fd CLEANUP(fd_closep) = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t n = strlen(text);
	ssize_t put;

	if (fd < 0)
		return -errno;
	do
		put = write(fd, text, n);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return -errno;
	return (size_t)put == n ? 0 : -EIO;
}

int file_replace_at(int dirfd, const char *path, const void *p, size_t n, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	size_t dirlen = slash ? (size_t)(slash - path) : 0;
	char *tmp CLEANUP(mem_freep) = NULL, *dir CLEANUP(mem_freep) = NULL;
	int fd, dfd CLEANUP(fd_closep) = -1, r;

	dir = slash ? mem_strndup(path, dirlen ? dirlen : 1) : mem_strdup(".");
	dfd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dfd < 0)
		return -errno;
	path = slash ? slash + 1 : path;
	tmp = mem_printf(".%s.%08x.tmp", path, rand_u32());
	fd = openat(dfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, p, n);
	if (r == 0 && fchmod(fd, mode) < 0)	/* the umask must not decide */
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(dfd, tmp, dfd, path) < 0)
		r = -errno;
	if (r == 0)
		return fsync(dfd) < 0 ? -errno : 0;
	(void)unlinkat(dfd, tmp, 0);
	return r;
}

int file_mkdir_p(const char *path, mode_t mode)
{
	char *copy CLEANUP(mem_freep) = mem_strdup(path);
	struct stat st;

	for (char *p = copy + 1; *copy; p++) {
		char was = *p;

		if (was && was != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = was;
		if (!was)
			break;
	}
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/*
 * Depth-first without recursion on the C stack being bounded by the tree: each level holds one
 * descriptor, so a tree deeper than the limit is handled by moving the deep part up.
 */
static int rm_children(int dfd, dev_t dev, int topfd, unsigned depth)
{
	int again = dup(dfd), ret = 0;
	struct dirent *de;
	DIR *d;

	if (again < 0)
		return -errno;
	if (fcntl(again, F_SETFD, FD_CLOEXEC) < 0 || !(d = fdopendir(again))) {
		ret = -errno;
		close(again);
		return ret;
	}
	rewinddir(d);
	while (errno = 0, (de = readdir(d))) {
		struct stat st;
		int sub;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (de->d_type != DT_DIR && de->d_type != DT_UNKNOWN) {
			if (unlinkat(dfd, de->d_name, 0) < 0 && errno != ENOENT)
				ret = -errno;
			continue;
		}
		if (unlinkat(dfd, de->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (unlinkat(dfd, de->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (depth >= 200) {
			char up[64];

			/* Too deep for our stack and descriptors: hang it into the top, visited again later. */
			snprintf(up, sizeof(up), ".kedge-rm-%016llx", (unsigned long long)rand_below(UINT64_MAX));
			if (renameat(dfd, de->d_name, topfd, up) < 0)
				ret = -errno;
			continue;
		}
		sub = openat(dfd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0) {
			ret = -errno;
			continue;
		}
		if (fstat(sub, &st) < 0)
			ret = -errno;
		else if (st.st_dev != dev)
			ret = -EXDEV;
		else {
			int r = rm_children(sub, dev, topfd, depth + 1);

			if (r < 0)
				ret = r;
			else if (unlinkat(dfd, de->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
				ret = -errno;
		}
		close(sub);
	}
	if (errno)
		ret = -errno;
	closedir(d);
	return ret;
}

int file_rm_rf_at(int dirfd, const char *path)
{
	int fd CLEANUP(fd_closep) = -1;
	struct stat st;

	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	for (int pass = 0; pass < 1000; pass++) {
		int r = rm_children(fd, st.st_dev, fd, 0);

		if (r < 0 && r != -ENOTEMPTY)
			return r;
		if (unlinkat(dirfd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -errno;
	}
	return -ENOTEMPTY;
}

static int open2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = resolve,
	};

	/* RESOLVE_IN_ROOT gives EAGAIN when a rename raced with a "..": a few tries, then an error. */
	for (int tries = 0; tries < 64; tries++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

int file_open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
	return open2(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	return open2(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int file_mkdir_in_root(int rootfd, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	char *prefix CLEANUP(mem_freep) = mem_strdup(path);
	int fd = open2(rootfd, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
	char *p = prefix;

	/* The whole prefix is resolved each time: "a/link/b" means what it means in the container. */
	while (fd >= 0 && *p) {
		char *start, was;
		int next;

		p += strspn(p, "/");
		if (!*p)
			break;
		start = p;
		p += strcspn(p, "/");
		was = *p;
		*p = '\0';
		next = file_open_in_root(rootfd, prefix, O_PATH | O_DIRECTORY, 0);
		if (next == -ENOENT) {
			if (mkdirat(fd, start, mode) == 0) {
				if ((uid || gid) && fchownat(fd, start, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
					next = -errno;
			} else if (errno != EEXIST) {
				next = -errno;
			}
			if (next == -ENOENT)
				next = file_open_in_root(rootfd, prefix, O_PATH | O_DIRECTORY, 0);
		}
		*p = was;
		close(fd);
		fd = next;
	}
	return fd;
}

int file_lock(const char *path)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), r;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return fd;
	r = errno == EACCES ? -EAGAIN : -errno;
	close(fd);
	return r;
}

static int by_number(const void *a, const void *b)
{
	return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

void file_close_from(int from, const int *keep, size_t n)
{
	int sorted[64];
	size_t k = 0;

	for (size_t i = 0; i < n && k < N(sorted); i++) {
		if (keep[i] >= from)
			sorted[k++] = keep[i];
	}
	qsort(sorted, k, sizeof(sorted[0]), by_number);
	for (size_t i = 0; i < k; i++) {
		if (sorted[i] > from)
			syscall(SYS_close_range, (unsigned)from, (unsigned)sorted[i] - 1, 0);
		from = sorted[i] + 1;
	}
	syscall(SYS_close_range, (unsigned)from, ~0u, 0);
}
