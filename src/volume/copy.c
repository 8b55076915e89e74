/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying a tree of files with everything that belongs to them: owner, mode, times, extended attributes (ACLs and capabilities are
 * some), hard links, holes, device nodes. By handles only: a link in the tree is copied as a link, whatever it points to, and a
 * directory that becomes a link under way is an error and not a way out.
 */
#include "volume/volume_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/clock.h"

enum {
	DEPTH_MAX = 512,		/* descriptors: two a level */
	FSYNC_MAX = 64,			/* up to so many files are synced one by one; more: the file system as a whole */
	XATTR_NAMES_SIZE = 65536, XATTR_VALUE_SIZE = 65536,	/* the kernel's own limits */
};

struct copy {
	struct map *links;		/* "dev:ino" of files with several names -> path below the top */
	int top;			/* destination */
	unsigned files, uid_shift, gid_shift;
	struct err *e;
};

static int copy_xattrs(const char *from, const char *to, const char *name, struct err *e)
{
	char *list CLEANUP(mem_freep) = mem_try(XATTR_NAMES_SIZE, XATTR_NAMES_SIZE), *value CLEANUP(mem_freep) = mem_try(XATTR_VALUE_SIZE, XATTR_VALUE_SIZE);
	ssize_t n;

	if (!list || !value)
		return err_set(e, ERR_INTERNAL, "no memory to copy the attributes of '%s'", name);
	n = llistxattr(from, list, XATTR_NAMES_SIZE);
	if (n < 0)
		return errno == ENOTSUP ? 0 : err_errno(e, errno, "list the attributes of '%s'", name);
	for (char *key = list; key < list + n; key += strlen(key) + 1) {
		ssize_t len;

		if (str_starts(key, "trusted.overlay."))
			continue;
		len = lgetxattr(from, key, value, XATTR_VALUE_SIZE);
		if (len < 0)
			return err_errno(e, errno, "read attribute '%s' of '%s'", key, name);
		if (lsetxattr(to, key, value, (size_t)len, 0) < 0 && errno != ENOTSUP)
			return err_errno(e, errno, "set attribute '%s' of '%s'", key, name);
	}
	return 0;
}

/* By "/proc/self/fd/<dir>/<name>": l*xattr calls do not follow the last component, and a name has no slash. */
static int copy_attributes(const struct copy *c, int from, int to, const char *name, const struct stat *st, struct err *e)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct timespec times[2] = { st->st_atim, st->st_mtim };

	snprintf(a, sizeof(a), "/proc/self/fd/%d/%s", from, name);
	snprintf(b, sizeof(b), "/proc/self/fd/%d/%s", to, name);
	if (fchownat(to, name, st->st_uid + c->uid_shift, st->st_gid + c->gid_shift, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "set the owner of '%s'", name);
	/* After the owner: changing that takes set-id bits and capabilities away. */
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return err_errno(e, errno, "set the mode of '%s'", name);
	if (copy_xattrs(a, b, name, e) < 0)
		return -1;
	if (utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "set the times of '%s'", name);
	return 0;
}

static int copy_range(int in, int out, off_t at, off_t end)
{
	while (at < end) {
		loff_t a = at, b = at;
		ssize_t n = copy_file_range(in, &a, out, &b, (size_t)(end - at), 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
			if (lseek(out, at, SEEK_SET) < 0)
				return -errno;
			a = at;
			n = sendfile(out, in, &a, (size_t)(end - at));
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;	/* it got shorter */
		at += n;
	}
	return 0;
}

static int copy_data(int in, int out, off_t size)
{
	off_t at = 0;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	if (ftruncate(out, size) < 0)
		return -errno;
	while (at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;
		int r;

		if (data < 0)
			return errno == ENXIO ? 0 : copy_range(in, out, at, size);
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			hole = size;
		r = copy_range(in, out, data, hole);
		if (r < 0)
			return r;
		at = hole;
	}
	return 0;
}

static int copy_file(struct copy *c, int from, int to, const char *name, const struct stat *st)
{
	int in CLEANUP(fd_closep) = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), out CLEANUP(fd_closep) = -1, r;

	if (in < 0)
		return err_errno(c->e, errno, "open '%s'", name);
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_errno(c->e, errno, "make '%s'", name);
	r = FAULT("volume.copy");
	r = r ? -r : copy_data(in, out, st->st_size);
	if (r < 0)
		return err_errno(c->e, -r, "copy '%s'", name);
	if (++c->files <= FSYNC_MAX && fsync(out) < 0)
		return err_errno(c->e, errno, "write '%s'", name);
	return 0;
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth);

static int copy_entry(struct copy *c, int from, int to, const char *name, const char *path, unsigned depth)
{
	char *whole CLEANUP(mem_freep) = mem_printf("%s%s%s", path, *path ? "/" : "", name), key[48], target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(c->e, errno, "look at '%s'", whole);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		const char *first;

		snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
		first = map_get(c->links, key);
		if (first)
			return linkat(c->top, first, to, name, 0) < 0 ? err_errno(c->e, errno, "link '%s'", whole) : 0;
		free(map_put(c->links, key, mem_strdup(whole)));
	}
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR: {
		int a CLEANUP(fd_closep) = -1, b CLEANUP(fd_closep) = -1;

		if (mkdirat(to, name, 0700) < 0)
			return err_errno(c->e, errno, "make '%s'", whole);
		a = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (a < 0 || b < 0)
			return err_errno(c->e, errno, "open '%s'", whole);
		if (copy_dir(c, a, b, whole, depth + 1) < 0)
			return -1;
		break;
	}
	case S_IFREG:
		if (copy_file(c, from, to, name, &st) < 0)
			return -1;
		break;
	case S_IFLNK:
		n = readlinkat(from, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_errno(c->e, errno, "read link '%s'", whole);
		target[n] = '\0';
		if (symlinkat(target, to, name) < 0)
			return err_errno(c->e, errno, "make link '%s'", whole);
		break;
	case S_IFSOCK:
		return 0;		/* means nothing without its process */
	default:
		if (mknodat(to, name, (st.st_mode & S_IFMT) | 0600, st.st_rdev) < 0)
			return err_errno(c->e, errno, "make node '%s'", whole);
	}
	return copy_attributes(c, from, to, name, &st, c->e);
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	struct dirent *de;
	DIR *d;

	if (depth > DEPTH_MAX) {
		fd_closep(&fd);
		return err_set(c->e, ERR_INVALID, "directories are more than %d deep", DEPTH_MAX);
	}
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		ret = err_errno(c->e, errno, "read directory '%s'", path);
		fd_closep(&fd);
		return ret;
	}
	while (ret == 0 && (errno = 0, de = readdir(d))) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			ret = copy_entry(c, from, to, de->d_name, path, depth);
	}
	if (ret == 0 && errno)
		ret = err_errno(c->e, errno, "read directory '%s'", path);
	closedir(d);
	if (ret == 0 && c->files <= FSYNC_MAX && fsync(to) < 0)
		ret = err_errno(c->e, errno, "write directory '%s'", path);
	return ret;
}

int copy_tree(int from, int to, unsigned uid_shift, unsigned gid_shift, struct err *e)
{
	struct copy c = { .links = map_new(), .top = to, .uid_shift = uid_shift, .gid_shift = gid_shift, .e = e };
	struct stat st;
	size_t it = 0;
	char *v;
	int ret;

	ret = copy_dir(&c, from, to, "", 0);
	if (ret == 0 && fstat(from, &st) < 0)
		ret = err_errno(e, errno, "look at the directory");
	if (ret == 0)
		ret = copy_attributes(&c, from, to, ".", &st, e);
	if (ret == 0 && (c.files > FSYNC_MAX ? syncfs(to) : fsync(to)) < 0)
		ret = err_errno(e, errno, "write the directory");
	while ((v = map_next(c.links, &it, NULL)))
		free(v);
	map_free(c.links);
	return ret;
}

int copy_is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int ret = 1;

	if (!d) {
		ret = -errno;
		fd_closep(&fd);
		return ret;
	}
	while (ret == 1 && (de = readdir(d))) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, "..") && strcmp(de->d_name, "lost+found"))
			ret = 0;
	}
	closedir(d);
	return ret;
}

static void usage_of(int dir, dev_t dev, unsigned depth, uint64_t *bytes)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		fd_closep(&fd);
		return;
	}
	while ((de = readdir(d))) {
		struct stat st;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub CLEANUP(fd_closep) = openat(dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0 && depth < DEPTH_MAX)
				usage_of(sub, dev, depth + 1, bytes);
		} else {
			*bytes += (uint64_t)st.st_size / (st.st_nlink ? st.st_nlink : 1);	/* a share for each name */
		}
	}
	closedir(d);
}

void copy_usage(int dir, uint64_t *bytes)
{
	struct stat st;

	if (fstat(dir, &st) == 0)
		usage_of(dir, st.st_dev, 0, bytes);
}
