/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each object is opened O_PATH | O_NOFOLLOW by its name in its folder's handle, and everything about it comes from that handle: its kind,
 * its link text, its attributes. A regular file is opened for reading by /proc/self/fd of the handle, so what is read is what was looked
 * at; a pipe or a device is never opened. The walk holds one handle a level on a stack of its own (the container decides how deep its
 * tree is; our thread's stack must not depend on that), at most DEPTH_MAX.
 *
 * Kernel file systems (proc, sysfs, cgroup) have no content to archive: they show as empty folders, as they do with docker.
 */
#include "engine/tarout.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { DEPTH_MAX = 1000, BLOCK = 64 * 1024, XATTR_NAMES = 64 * 1024, XATTR_MAX = 64 * 1024 };

struct level {
	DIR *d;
	size_t path_len;	/* of the folder's archive name */
	dev_t dev;
};

struct tarout {
	struct archive *a;
	int (*write)(void *user, const void *p, size_t n);
	void *user;
	int write_err;
	struct map *links;	/* "dev:ino" -> archive name of the first */
	const struct tarout_args *args;
	bool slash;		/* the top is "/" */
	bool dropped;
	struct level *levels;
	size_t depth, cap;
	char path[PATH_MAX * 2];	/* archive name of what is being added */
	char block[BLOCK], names[XATTR_NAMES], value[XATTR_MAX];
};

static la_ssize_t on_write(struct archive *a, void *user, const void *p, size_t n)
{
	struct tarout *t = user;
	int r = t->dropped ? -ECANCELED : t->write(t->user, p, n);

	if (r < 0) {
		t->write_err = -r;
		archive_set_error(a, -r, "%s", strerror(-r));
		return -1;
	}
	return (la_ssize_t)n;
}

static int archive_failed(struct tarout *t, struct err *e)
{
	if (t->write_err)
		return err_errno(e, t->write_err, "write the archive");
	return err_set(e, ERR_INTERNAL, "write the archive: '%.300s': %s", t->path, archive_error_string(t->a) ? archive_error_string(t->a) : "unknown");
}

struct tarout *tarout_new(int (*write)(void *user, const void *p, size_t n), void *user, struct err *e)
{
	struct tarout *t = mem_alloc(sizeof(*t));

	memset(t, 0, offsetof(struct tarout, path));
	t->write = write;
	t->user = user;
	t->path[0] = '\0';
	t->links = map_new();
	t->a = archive_write_new();
	if (!t->a || archive_write_set_format_pax_restricted(t->a) != ARCHIVE_OK || archive_write_add_filter_none(t->a) != ARCHIVE_OK ||
	    archive_write_set_options(t->a, "xattrheader=SCHILY") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(t->a, BLOCK) != ARCHIVE_OK || archive_write_set_bytes_in_last_block(t->a, 1) != ARCHIVE_OK ||
	    archive_write_open(t->a, t, NULL, on_write, NULL) != ARCHIVE_OK) {
		(void)archive_failed(t, e);
		tarout_free(t);
		return NULL;
	}
	return t;
}

void tarout_free(struct tarout *t)
{
	size_t it = 0;
	char *name;

	if (!t)
		return;
	while (t->depth)
		closedir(t->levels[--t->depth].d);
	free(t->levels);
	while ((name = map_next(t->links, &it, NULL)))
		free(name);
	map_free(t->links);
	/* Unless it has ended: what freeing flushes must not make it look whole, and a file that was cut off is not to be filled up to its size. */
	t->dropped = true;
	if (t->a)
		archive_write_free(t->a);
	free(t);
}

/* A kernel file system, which is not to be read as if it were files. */
static bool is_kernel_fs(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) < 0)
		return false;
	switch ((unsigned long)s.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case BPF_FS_MAGIC:
		return true;
	}
	return false;
}

static bool is_mount_root(int fd)
{
	struct statx sx;

	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx) == 0 && (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
	       (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static bool xattr_wanted(const char *name)
{
	return str_starts(name, "user.") || str_eq(name, "security.capability") ||
	       (str_starts(name, "trusted.") && !str_starts(name, "trusted.overlay."));
}

static void add_xattrs(struct tarout *t, const char *self, struct archive_entry *entry)
{
	ssize_t n = listxattr(self, t->names, sizeof(t->names));

	for (const char *p = t->names; n > 0 && p < t->names + n; p += strlen(p) + 1) {
		ssize_t len = xattr_wanted(p) ? getxattr(self, p, t->value, sizeof(t->value)) : -1;

		if (len >= 0)
			archive_entry_xattr_add_entry(entry, p, t->value, (size_t)len);
	}
}

static int put_data(struct tarout *t, int fd, int64_t size, struct err *e)
{
	while (size > 0) {
		size_t want = size > BLOCK ? BLOCK : (size_t)size;
		ssize_t n;

		do
			n = fd < 0 ? 0 : read(fd, t->block, want);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return err_errno(e, errno, "read '%.400s'", t->path);
		if (n == 0) {	/* it shrank: the header has promised more */
			memset(t->block, 0, want);
			n = (ssize_t)want;
			fd = -1;
		}
		if (archive_write_data(t->a, t->block, (size_t)n) < 0)
			return archive_failed(t, e);
		size -= n;
	}
	return 0;
}

static int put_entry(struct tarout *t, struct archive_entry *entry, int fd, int64_t size, struct err *e)
{
	int r = archive_write_header(t->a, entry);

	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return archive_failed(t, e);
	return put_data(t, fd, size, e);
}

/* A hard link to what the archive has already: its name, else NULL and it is remembered. */
static const char *seen_as(struct tarout *t, const struct stat *st)
{
	char key[48];
	char *first;

	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return NULL;
	snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
	first = map_get(t->links, key);
	if (!first)
		map_put(t->links, key, mem_strdup(t->path));
	return first;
}

/* An empty regular file under t->path with suffix, as whiteouts are. */
static int put_marker(struct tarout *t, const char *folder, size_t folder_len, const char *before, const char *name, struct err *e)
{
	struct archive_entry *entry = archive_entry_new();
	char *as CLEANUP(mem_freep) = mem_printf("%.*s%s%s%s", (int)folder_len, folder, folder_len ? "/" : "", before, name);
	int r;

	archive_entry_set_pathname(entry, as);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, 0);
	r = put_entry(t, entry, -1, 0, e);
	archive_entry_free(entry);
	return r;
}

static bool is_opaque(const char *self)
{
	char v[4];

	return getxattr(self, "trusted.overlay.opaque", v, sizeof(v)) == 1 && v[0] == 'y';
}

static int push(struct tarout *t, int fd_take, const struct stat *st, size_t path_len, struct err *e)
{
	char self[64];
	int fd;
	DIR *d;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd_take);
	fd = open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(fd_take);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "open '%.400s'", t->path);
	if (t->depth == DEPTH_MAX) {
		close(fd);
		return err_set(e, ERR_INVALID, "'%.200s...' lies more than %d folders deep", t->path, DEPTH_MAX);
	}
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_errno(e, errno, "read folder '%.400s'", t->path);
	}
	if (t->depth == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->levels = mem_realloc(t->levels, t->cap * sizeof(*t->levels));
	}
	t->levels[t->depth++] = (struct level){ .d = d, .path_len = path_len, .dev = st->st_dev };
	return 0;
}

static unsigned inside(unsigned id, unsigned from, unsigned size)
{
	return id - from < size ? id - from : id;
}

/* What to do with one object. In t->path is its archive name of path_len bytes; "" for the top that has none. */
static int add_one(struct tarout *t, int folder, const char *last, size_t path_len, bool top, struct err *e)
{
	int fd CLEANUP(fd_closep) = openat(folder, last, O_PATH | O_NOFOLLOW | O_CLOEXEC), data CLEANUP(fd_closep) = -1;
	struct archive_entry *entry;
	char self[64], link[PATH_MAX];
	const char *first = NULL;
	bool hidden, opaque = false;
	struct stat st;
	int64_t size = 0;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT && !top ? 0 : err_errno(e, errno, "look at '%.400s'", t->path);
	if (S_ISSOCK(st.st_mode))
		return 0;	/* tar has none, and docker leaves them out */
	for (const char *const *s = t->args->skip; s && *s; s++) {
		if (str_eq(*s, t->path))
			return 0;
	}
	if (t->args->layer && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
		const char *slash = strrchr(t->path, '/');

		return put_marker(t, t->path, slash ? (size_t)(slash - t->path) : 0, ".wh.", slash ? slash + 1 : t->path, e);
	}
	hidden = !top && t->args->one_mount && is_mount_root(fd);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (S_ISREG(st.st_mode) && !hidden) {
		first = seen_as(t, &st);
		if (!first) {
			data = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
			if (data < 0)
				return err_errno(e, errno, "open '%.400s'", t->path);
			size = st.st_size;
		}
	}
	entry = archive_entry_new();
	if (S_ISDIR(st.st_mode)) {
		char *as CLEANUP(mem_freep) = mem_printf("%s/", path_len || t->slash ? t->path : ".");

		archive_entry_set_pathname(entry, as);
		opaque = t->args->layer && is_opaque(self);
	} else {
		archive_entry_set_pathname(entry, t->path);
	}
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, "", link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		archive_entry_set_symlink(entry, link);
	}
	archive_entry_set_mode(entry, S_ISDIR(st.st_mode) || S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ||
			       S_ISBLK(st.st_mode) ? st.st_mode : S_IFREG);
	if (hidden && !S_ISDIR(st.st_mode))
		archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_size(entry, size);
	archive_entry_set_uid(entry, inside(st.st_uid, t->args->map_uid, t->args->map_size));
	archive_entry_set_gid(entry, inside(st.st_gid, t->args->map_gid, t->args->map_size));
	archive_entry_set_mtime(entry, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	archive_entry_set_rdev(entry, st.st_rdev);
	if (first)
		archive_entry_set_hardlink(entry, first);
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		add_xattrs(t, self, entry);
	r = top && t->args->no_top ? 0 : put_entry(t, entry, data, size, e);
	archive_entry_free(entry);
	if (r == 0 && opaque)
		r = put_marker(t, t->path, path_len, ".wh..wh..opq", "", e);
	if (r < 0 || !S_ISDIR(st.st_mode) || hidden)
		return r;
	if ((!t->depth || t->levels[t->depth - 1].dev != st.st_dev) && is_kernel_fs(fd))
		return 0;
	return push(t, TAKE_FD(fd), &st, path_len, e);
}

int tarout_add(struct tarout *t, int folder, const char *last, const char *as, const struct tarout_args *a, struct err *e)
{
	size_t n = (size_t)snprintf(t->path, sizeof(t->path), "%s", str_eq(as, "/") ? "" : as);

	t->args = a;
	t->slash = str_eq(as, "/");
	if (n >= PATH_MAX)
		return err_set(e, ERR_INVALID, "the name '%.100s...' is longer than 4095 bytes", as);
	if (add_one(t, folder, last, n, true, e) < 0)
		return -1;
	while (t->depth) {
		struct level *l = &t->levels[t->depth - 1];
		struct dirent *de = readdir(l->d);
		size_t len;

		t->path[l->path_len] = '\0';
		if (!de) {
			closedir(l->d);
			t->depth--;
			continue;
		}
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, ".."))
			continue;
		len = l->path_len + (l->path_len > 0 || t->slash) + strlen(de->d_name);
		if (len >= sizeof(t->path))
			return err_set(e, ERR_INVALID, "the path '%.100s...' is too long for an archive", t->path);
		snprintf(t->path + l->path_len, sizeof(t->path) - l->path_len, "%s%s", l->path_len || t->slash ? "/" : "", de->d_name);
		if (add_one(t, dirfd(l->d), de->d_name, len, false, e) < 0)
			return -1;
	}
	return 0;
}

int tarout_end(struct tarout *t, struct err *e)
{
	return archive_write_close(t->a) == ARCHIVE_OK ? 0 : archive_failed(t, e);
}
