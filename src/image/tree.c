/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	DEPTH_MAX = 512,	/* as deep as layers are unpacked */
	IO_SIZE = 128 * 1024,
	SPARSE_MIN = 64 * 1024,	/* smaller files are written whole: a map of their holes costs as much */
	XATTR_MAX = 64 * 1024,
};

struct tree {
	struct archive *a;
	unsigned flags;
	int (*write)(void *user, const void *p, size_t n);
	void *user;
	int write_errno;
	dev_t dev;
	struct map *links;	/* "dev:ino" -> path of the first name */
	char *io;
	struct buf path;
	unsigned depth;
};

static la_ssize_t on_write(struct archive *a, void *user, const void *p, size_t n)
{
	struct tree *t = user;
	int rc = t->write_errno ? 0 : t->write(t->user, p, n);

	/* libarchive loses its buffer when a writer fails (3.6): we keep the failure and let it go on into nothing. */
	(void)a;
	if (rc < 0)
		t->write_errno = -rc;
	return (la_ssize_t)n;
}

static int failed(struct tree *t, struct err *e)
{
	if (t->write_errno)
		return err_errno(e, t->write_errno, "write the archive");
	return err_set(e, ERR_INTERNAL, "write the archive at '%.300s': %s", t->path.data ? t->path.data : "",
		       archive_error_string(t->a) ? archive_error_string(t->a) : "out of memory");
}

static int sys_failed(struct tree *t, int errnum, struct err *e)
{
	return err_errno(e, errnum, "read '%.300s'", t->path.data ? t->path.data : "");
}

/* The value of an attribute of dirfd/name, the name not followed; its length or -errno. */
static ssize_t xattr_get(int dirfd, const char *name, const char *key, char *out, size_t size)
{
	char proc[64 + NAME_MAX];
	ssize_t n;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dirfd, name);
	n = lgetxattr(proc, key, out, size);
	return n < 0 ? -errno : n;
}

static bool overlay_flag(int dirfd, const char *name, const char *key)
{
	char v[8];

	return xattr_get(dirfd, name, key, v, sizeof(v)) > 0;
}

static int add_xattrs(struct tree *t, int dirfd, const char *name, struct archive_entry *entry, struct err *e)
{
	CLEANUP(mem_freep) char *value = NULL, *keys = NULL;
	char proc[64 + NAME_MAX];
	ssize_t n;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dirfd, name);
	n = llistxattr(proc, NULL, 0);
	if (n <= 0)
		return n == 0 || errno == EOPNOTSUPP ? 0 : sys_failed(t, errno, e);
	keys = mem_alloc(XATTR_MAX);
	n = llistxattr(proc, keys, XATTR_MAX);
	if (n < 0)
		return sys_failed(t, errno, e);
	for (const char *k = keys; k < keys + n; k += strlen(k) + 1) {
		ssize_t len;

		if ((t->flags & TREE_OVERLAY) && (str_eq(k, "trusted.overlay.redirect") || str_eq(k, "trusted.overlay.metacopy")))
			return err_set(e, ERR_INTERNAL, "'%.300s' refers to another layer by '%s', which no archive can hold", t->path.data, k);
		if (!str_eq(k, "security.capability") && (!str_starts(k, "user.") || str_starts(k, "user.overlay.")))
			continue;
		if (!value)
			value = mem_alloc(XATTR_MAX);
		len = xattr_get(dirfd, name, k, value, XATTR_MAX);
		if (len < 0)
			return sys_failed(t, (int)-len, e);
		archive_entry_xattr_add_entry(entry, k, value, (size_t)len);
	}
	return 0;
}

static int put_header(struct tree *t, struct archive_entry *entry, struct err *e)
{
	int rc = archive_write_header(t->a, entry);

	return (rc == ARCHIVE_OK || rc == ARCHIVE_WARN) && !t->write_errno ? 0 : failed(t, e);
}

/* An empty file that stands for something removed. */
static int put_mark(struct tree *t, const char *folder, const char *name, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s%s%s", folder, *folder ? "/" : "", name);
	struct archive_entry *entry = archive_entry_new();
	int rc;

	archive_entry_copy_pathname(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, 0);
	archive_entry_set_mtime(entry, 0, 0);
	rc = put_header(t, entry, e);
	archive_entry_free(entry);
	return rc;
}

/* Tells libarchive where the data lies; false: everywhere. */
static bool add_holes(struct archive_entry *entry, int fd, off_t size)
{
	off_t at = 0;
	bool holes = false;

	while (at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0) {
			holes = errno == ENXIO;
			break;
		}
		holes |= data > at;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			break;
		archive_entry_sparse_add_entry(entry, data, hole - data);
		holes |= hole < size;
		at = hole;
	}
	if (!holes)
		archive_entry_sparse_clear(entry);
	else if (!archive_entry_sparse_count(entry))
		archive_entry_sparse_add_entry(entry, size, 0);	/* one single hole */
	return holes;
}

static int put_range(struct tree *t, int fd, off_t at, off_t end, struct err *e)
{
	while (at < end) {
		off_t left = end - at;
		ssize_t n = pread(fd, t->io, left < IO_SIZE ? (size_t)left : IO_SIZE, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sys_failed(t, errno, e);
		if (n == 0) {
			/* It became shorter while we read: the size is written already. */
			memset(t->io, 0, IO_SIZE);
			n = left < IO_SIZE ? left : IO_SIZE;
		}
		if (archive_write_data(t->a, t->io, (size_t)n) < 0 || t->write_errno)
			return failed(t, e);
		at += n;
	}
	return 0;
}

static int put_file(struct tree *t, int dirfd, const char *name, const struct stat *st, struct archive_entry *entry, struct err *e)
{
	CLEANUP(fd_closep) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);

	if (fd < 0 && errno == EPERM)
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return sys_failed(t, errno, e);
	if (st->st_size >= SPARSE_MIN && st->st_blocks * 512 < st->st_size)
		(void)add_holes(entry, fd, st->st_size);
	if (put_header(t, entry, e) < 0)
		return -1;
	/* libarchive drops what lies in the holes. */
	return put_range(t, fd, 0, st->st_size, e);
}

static int put_folder(struct tree *t, int fd, struct err *e);

static int put_child(struct tree *t, int dirfd, const char *name, const struct stat *st, struct archive_entry *entry, struct err *e)
{
	CLEANUP(fd_closep) int fd = -1;
	int rc;

	if (put_header(t, entry, e) < 0)
		return -1;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return sys_failed(t, errno, e);
	if ((t->flags & TREE_OVERLAY) && overlay_flag(dirfd, name, "trusted.overlay.opaque") && put_mark(t, t->path.data, ".wh..wh..opq", e) < 0)
		return -1;
	/* Something is mounted there: not ours. */
	if (st->st_dev != t->dev)
		return 0;
	if (++t->depth > DEPTH_MAX)
		return err_set(e, ERR_INVALID, "'%.300s' is more than %d folders deep", t->path.data, DEPTH_MAX);
	rc = put_folder(t, fd, e);
	t->depth--;
	return rc;
}

/* True: the file was written under another name already, entry becomes a link to it. */
static bool link_known(struct tree *t, const struct stat *st, struct archive_entry *entry)
{
	char key[48];
	char *first;

	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return false;
	snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
	first = map_get(t->links, key);
	if (!first) {
		map_put(t->links, key, mem_strdup(t->path.data));
		return false;
	}
	archive_entry_copy_hardlink(entry, first);
	archive_entry_set_size(entry, 0);
	return true;
}

/* Not in the frame of put_entry(): folders in folders stack that up, and workers' stacks are small. */
static __attribute__((noinline)) int set_target(struct tree *t, int dirfd, const char *name, struct archive_entry *entry, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n < 0)
		return sys_failed(t, errno, e);
	target[n] = '\0';
	archive_entry_copy_symlink(entry, target);
	return 0;
}

static int put_entry(struct tree *t, int dirfd, const char *name, const struct stat *st, struct archive_entry *entry, struct err *e)
{
	archive_entry_copy_pathname(entry, t->path.data);
	archive_entry_copy_stat(entry, st);
	archive_entry_set_mtime(entry, st->st_mtim.tv_sec, 0);
	archive_entry_unset_atime(entry);
	archive_entry_unset_ctime(entry);
	archive_entry_unset_birthtime(entry);
	if (!S_ISREG(st->st_mode))
		archive_entry_set_size(entry, 0);
	if (link_known(t, st, entry))
		return put_header(t, entry, e);
	if (add_xattrs(t, dirfd, name, entry, e) < 0)
		return -1;
	if (S_ISDIR(st->st_mode))
		return put_child(t, dirfd, name, st, entry, e);
	if (S_ISREG(st->st_mode))
		return put_file(t, dirfd, name, st, entry, e);
	if (S_ISLNK(st->st_mode) && set_target(t, dirfd, name, entry, e) < 0)
		return -1;
	return put_header(t, entry, e);
}

static int put_name(struct tree *t, int dirfd, const char *name, struct err *e)
{
	size_t was = t->path.len;
	struct stat st;
	int rc;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sys_failed(t, errno, e);
	if (t->flags & TREE_OVERLAY) {
		bool white = S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);

		if (!white && S_ISREG(st.st_mode) && !st.st_size)
			white = overlay_flag(dirfd, name, "trusted.overlay.whiteout");
		if (white) {
			CLEANUP(mem_freep) char *mark = mem_printf(".wh.%s", name);

			return put_mark(t, t->path.data ? t->path.data : "", mark, e);
		}
	}
	if (S_ISSOCK(st.st_mode))
		return 0;
	buf_printf(&t->path, "%s%s", was ? "/" : "", name);
	if (t->path.failed || t->path.len >= PATH_MAX) {
		rc = err_set(e, ERR_INVALID, "a path is longer than 4095 bytes: '%.200s...'", t->path.data);
	} else {
		struct archive_entry *entry = archive_entry_new();

		rc = entry ? put_entry(t, dirfd, name, &st, entry, e) : err_errno(e, ENOMEM, "write the archive");
		archive_entry_free(entry);
	}
	t->path.len = was;
	if (t->path.data)
		t->path.data[was] = '\0';
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int put_folder(struct tree *t, int fd, struct err *e)
{
	CLEANUP(strv_freep) char **names = NULL;
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	size_t n = 0, cap = 0;
	struct dirent *de;

	if (!d) {
		rc = sys_failed(t, errno, e);
		fd_closep(&copy);
		return rc;
	}
	while ((de = readdir(d))) {
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, ".."))
			continue;
		if (n + 2 > cap) {
			cap = cap ? cap * 2 : 16;
			names = mem_realloc(names, cap * sizeof(*names));
		}
		names[n++] = mem_strdup(de->d_name);
		names[n] = NULL;
	}
	closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = put_name(t, fd, names[i], e);
	return rc;
}

int image_tree_tar(int dirfd, unsigned flags, int (*write)(void *user, const void *p, size_t n), void *user, struct err *e)
{
	CLEANUP(fd_closep) int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct tree t = { .flags = flags, .write = write, .user = user };
	const char *key;
	struct stat st;
	size_t it = 0;
	char *first;
	int rc = -1;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, errno, "read a directory for an archive");
	t.dev = st.st_dev;
	t.links = map_new();
	t.io = mem_alloc(IO_SIZE);
	buf_init(&t.path, 2 * PATH_MAX);
	t.a = archive_write_new();
	if (!t.a || archive_write_set_format_pax_restricted(t.a) != ARCHIVE_OK ||
	    archive_write_set_format_option(t.a, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(t.a, IO_SIZE) != ARCHIVE_OK || archive_write_set_bytes_in_last_block(t.a, 1) != ARCHIVE_OK ||
	    archive_write_open(t.a, &t, NULL, on_write, NULL) != ARCHIVE_OK)
		rc = t.a ? failed(&t, e) : err_errno(e, ENOMEM, "write an archive");
	else
		rc = put_folder(&t, fd, e);
	if (rc == 0 && (archive_write_close(t.a) != ARCHIVE_OK || t.write_errno))
		rc = failed(&t, e);
	if (t.a) {
		if (rc < 0)
			t.write_errno = ECANCELED;	/* what the closing still writes is for nobody */
		archive_write_free(t.a);
	}
	while ((first = map_next(t.links, &it, &key)))
		free(first);
	map_free(t.links);
	free(t.io);
	buf_done(&t.path);
	return rc;
}
