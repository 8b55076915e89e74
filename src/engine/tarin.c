/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Beside us work the container's processes, as root of that tree perhaps: any name may change its meaning between two system calls. So no
 * name is judged and used later. The folder of an entry is opened by openat2(RESOLVE_IN_ROOT) from the tree's root; the entry is made in
 * it by O_EXCL | O_NOFOLLOW or a call that follows nothing, and owner, mode, attributes and times are set on the handle of what was
 * made. A container that swaps folders for links meanwhile gets its file somewhere else in its own tree, never outside of it.
 *
 * Kernel file systems (proc, sysfs, cgroup) are no place to put files: writing there as the host's root would do what the container may not.
 *
 * Folders get their times last, since making entries in them changes these.
 */
#include "engine/tarin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

enum { XATTR_MAX = 64 * 1024, XATTRS_MAX = 256, FOLDERS_MAX = 64 * 1024 * 1024 };
static const char what[] = "the archive";

struct folder {
	struct timespec mtime;
	char path[];
};

struct tarin {
	int root;
	const char *base;	/* where all goes, a path in root */
	const struct tarin_args *a;
	struct tar *tar;
	struct folder **folders;
	size_t n_folders, cap, bytes;
};

static int refuse(const char *name, const char *why, struct err *e)
{
	return err_set(e, ERR_INVALID, "the archive: refusing the entry '%.400s': %s", name, why);
}

static int failed(const char *name, int errnum, struct err *e)
{
	if (errnum == EROFS)
		return err_set(e, ERR_FORBIDDEN, "cannot write '%.400s': the file system is marked read-only", name);
	return err_errno(e, errnum, "write '%.400s'", name);
}

/* "/a/./b/" to "a/b"; a ".." is refused. */
static int clean(const char *name, char *out, size_t size, struct err *e)
{
	size_t n = 0;

	for (const char *p = name + strspn(name, "/"); *p;) {
		size_t len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.')
			return refuse(name, "the path holds '..'", e);
		if (len > NAME_MAX || n + len + 2 > size)
			return refuse(name, "the path is too long", e);
		if (!(len == 1 && *p == '.')) {
			if (n)
				out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
		p += strspn(p, "/");
	}
	out[n] = '\0';
	return 0;
}

/* A handle of the folder; of a kernel's file system there is none. */
static int folder_open(struct tarin *t, const char *path, bool make, const char *name, struct err *e)
{
	char *full CLEANUP(mem_freep) = mem_printf("%s/%s", t->base, path);
	int fd = file_open_in_root(t->root, full, O_PATH | O_DIRECTORY, 0);
	struct statfs s;

	if (fd == -ENOENT && make)
		fd = file_mkdir_in_root(t->root, full, 0755, (t->a->map_size ? t->a->map_uid : 0) + (t->a->chown ? t->a->uid : 0),
					(t->a->map_size ? t->a->map_gid : 0) + (t->a->chown ? t->a->gid : 0));
	if (fd < 0)
		return failed(name, -fd, e);
	if (fstatfs(fd, &s) == 0) {
		switch ((unsigned long)s.f_type) {
		case PROC_SUPER_MAGIC:
		case SYSFS_MAGIC:
		case CGROUP_SUPER_MAGIC:
		case CGROUP2_SUPER_MAGIC:
		case DEBUGFS_MAGIC:
		case TRACEFS_MAGIC:
		case SECURITYFS_MAGIC:
		case BPF_FS_MAGIC:
			close(fd);
			return err_set(e, ERR_FORBIDDEN, "cannot write '%.400s': it lies in a file system of the kernel's", name);
		}
	}
	return fd;
}

/* What is in the way goes, but a folder stays for a folder. *exists: that. */
static int make_room(struct tarin *t, int dir, const char *last, bool for_dir, bool *exists, const char *name, struct err *e)
{
	struct stat st;
	int r;

	*exists = false;
	if (fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : failed(name, errno, e);
	if (t->a->no_overwrite && S_ISDIR(st.st_mode) && !for_dir)
		return err_set(e, ERR_INVALID, "cannot overwrite directory \"%.400s\" with non-directory \"%.400s\"", name, t->base);
	if (t->a->no_overwrite && !S_ISDIR(st.st_mode) && for_dir)
		return err_set(e, ERR_INVALID, "cannot overwrite non-directory \"%.400s\" with directory \"%.400s\"", name, t->base);
	if (S_ISDIR(st.st_mode) && for_dir) {
		*exists = true;
		return 0;
	}
	r = file_rm_rf_at(dir, last);
	return r < 0 ? failed(name, -r, e) : 0;
}

static struct timespec entry_mtime(struct archive_entry *entry)
{
	struct timespec t = { archive_entry_mtime(entry), archive_entry_mtime_nsec(entry) };

	if (!archive_entry_mtime_is_set(entry) || t.tv_nsec < 0 || t.tv_nsec > 999999999)
		t = (struct timespec){ 0 };
	return t;
}

static void put_xattrs(const char *self, struct archive_entry *entry)
{
	const char *key;
	const void *value;
	size_t size;

	if (archive_entry_xattr_reset(entry) > XATTRS_MAX)
		return;
	while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
		/* A disk may know none; docker goes on there, too. */
		if (key && size <= XATTR_MAX && (str_starts(key, "user.") || str_eq(key, "security.capability")))
			(void)setxattr(self, key, value, size, 0);
	}
}

/* Owner, mode, attributes, times of the object behind the handle (O_PATH will do). */
static int finish_object(struct tarin *t, int fd, struct archive_entry *entry, const char *name, struct err *e)
{
	int64_t uid = t->a->chown ? t->a->uid : archive_entry_uid(entry), gid = t->a->chown ? t->a->gid : archive_entry_gid(entry);
	struct timespec times[2] = { entry_mtime(entry), entry_mtime(entry) };
	bool link = archive_entry_filetype(entry) == AE_IFLNK;
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return refuse(name, "its owner is not a number from 0 to 4294967294", e);
	if (t->a->map_size && ((unsigned)uid >= t->a->map_size || (unsigned)gid >= t->a->map_size))
		return refuse(name, "its owner has no number in the container's user namespace", e);
	uid += t->a->map_size ? t->a->map_uid : 0;
	gid += t->a->map_size ? t->a->map_gid : 0;
	if (fchownat(fd, "", (uid_t)uid, (gid_t)gid, AT_EMPTY_PATH) < 0)
		return failed(name, errno, e);
	if (!link && chmod(self, archive_entry_perm(entry) & 07777) < 0)
		return failed(name, errno, e);
	if (!link)
		put_xattrs(self, entry);
	if (!link && archive_entry_filetype(entry) != AE_IFDIR && utimensat(AT_FDCWD, self, times, 0) < 0)
		return failed(name, errno, e);
	return 0;
}

static int remember_folder(struct tarin *t, const char *path, struct archive_entry *entry, struct err *e)
{
	size_t n = sizeof(struct folder) + strlen(path) + 1;
	struct folder *f;

	if (t->bytes + n > FOLDERS_MAX)
		return refuse(path, "the archive holds too many folders", e);
	if (t->n_folders == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->folders = mem_realloc(t->folders, t->cap * sizeof(*t->folders));
	}
	f = mem_alloc(n);
	f->mtime = entry_mtime(entry);
	strcpy(f->path, path);
	t->folders[t->n_folders++] = f;
	t->bytes += n;
	return 0;
}

static int put_file(struct tarin *t, int dir, const char *last, struct archive_entry *entry, const char *name, struct err *e)
{
	int fd CLEANUP(fd_closep) = openat(dir, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
	struct archive *a = tar_archive(t->tar);
	int64_t size = archive_entry_size(entry), end = 0;
	const void *p;
	la_int64_t at;
	size_t n;
	int rc;

	if (fd < 0)
		return failed(name, errno, e);
	while ((rc = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		const char *c = p;

		if (at < end || (int64_t)n > size - at)
			return refuse(name, "its blocks do not fit its size", e);
		end = at + (int64_t)n;
		while (n) {
			ssize_t w = pwrite(fd, c, n, at);

			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return failed(name, errno, e);
			c += w;
			at += w;
			n -= (size_t)w;
		}
	}
	if (rc != ARCHIVE_EOF)
		return tar_error(t->tar, e);
	if (end != size && ftruncate(fd, size) < 0)	/* a hole at the end */
		return failed(name, errno, e);
	return finish_object(t, fd, entry, name, e);
}

static int put_hardlink(struct tarin *t, int dir, const char *last, const char *link, const char *name, struct err *e)
{
	int from CLEANUP(fd_closep) = -1;
	char path[PATH_MAX], *slash;
	struct stat st;

	if (clean(link, path, sizeof(path), e) < 0)
		return -1;
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	from = folder_open(t, slash ? path : "", false, name, e);
	if (from < 0)
		return -1;
	if (fstatat(from, slash ? slash + 1 : path, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return refuse(name, "it is a hard link to nothing, or to a folder", e);
	if (linkat(from, slash ? slash + 1 : path, dir, last, 0) < 0)
		return failed(name, errno, e);
	return 0;
}

static int put_dir(struct tarin *t, int dir, const char *last, const char *path, bool exists, struct archive_entry *entry, const char *name, struct err *e)
{
	int fd CLEANUP(fd_closep) = -1;

	if (!exists && mkdirat(dir, last, 0700) < 0)
		return failed(name, errno, e);
	fd = openat(dir, last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(name, errno, e);
	return finish_object(t, fd, entry, name, e) < 0 ? -1 : remember_folder(t, path, entry, e);
}

static int put_special(struct tarin *t, int dir, const char *last, struct archive_entry *entry, const char *link, const char *name, struct err *e)
{
	mode_t type = archive_entry_filetype(entry);
	int fd CLEANUP(fd_closep) = -1;

	if (type == AE_IFLNK) {
		if (str_empty(link) || strlen(link) >= PATH_MAX)
			return refuse(name, "it is a symbolic link to nothing or to more than 4095 bytes", e);
		if (symlinkat(link, dir, last) < 0)
			return failed(name, errno, e);
	} else if (mknodat(dir, last, type | 0600, type == AE_IFIFO ? 0 : archive_entry_rdev(entry)) < 0) {
		return failed(name, errno, e);
	}
	fd = openat(dir, last, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(name, errno, e);
	return finish_object(t, fd, entry, name, e);
}

static int put_entry(struct tarin *t, struct archive_entry *entry, struct err *e)
{
	const char *name = tar_path(entry), *link = tar_link(entry), *last;
	bool hard = archive_entry_hardlink(entry) || archive_entry_hardlink_utf8(entry), exists;
	mode_t type = archive_entry_filetype(entry);
	int dir CLEANUP(fd_closep) = -1;
	char path[PATH_MAX], folder[PATH_MAX], *slash;

	if (!name)
		return err_set(e, ERR_INVALID, "the archive: an entry has no name");
	if (clean(name, path, sizeof(path), e) < 0)
		return -1;
	if (!*path)
		return 0;	/* "./": the folder that is there already keeps what it is, as with docker */
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	last = slash ? path + (slash - folder) + 1 : path;
	folder[slash ? slash - folder : 0] = '\0';
	dir = folder_open(t, folder, true, name, e);
	if (dir < 0 || make_room(t, dir, last, !hard && type == AE_IFDIR, &exists, name, e) < 0)
		return -1;
	if (hard)
		return put_hardlink(t, dir, last, link ? link : "", name, e);
	switch (type) {
	case AE_IFDIR:
		return put_dir(t, dir, last, path, exists, entry, name, e);
	case AE_IFREG:
		return put_file(t, dir, last, entry, name, e);
	case AE_IFLNK:
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		return put_special(t, dir, last, entry, link, name, e);
	}
	return refuse(name, "it is neither a file, a folder, a link, a device nor a pipe", e);
}

static void folder_times(struct tarin *t)
{
	for (size_t i = t->n_folders; i-- > 0;) {
		const struct folder *f = t->folders[i];
		struct timespec times[2] = { f->mtime, f->mtime };
		char *full CLEANUP(mem_freep) = mem_printf("%s/%s", t->base, f->path);
		int fd CLEANUP(fd_closep) = file_open_in_root(t->root, full, O_RDONLY | O_DIRECTORY, 0);

		if (fd >= 0)	/* else the container has removed it */
			(void)futimens(fd, times);
	}
}

/* The folder that all goes into is there, is one, and can be written. */
static int check_base(struct tarin *t, struct err *e)
{
	int fd CLEANUP(fd_closep) = file_open_in_root(t->root, t->base, O_PATH, 0);
	struct statvfs vfs;
	struct stat st;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return err_set(e, ERR_NOT_FOUND, "no such directory");
	if (fd < 0)
		return err_errno(e, -fd, "open '%.400s'", t->base);
	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, "extraction point is not a directory");
	if (fstatvfs(fd, &vfs) == 0 && (vfs.f_flag & ST_RDONLY)) {
		struct statx sx, top;
		bool in_root = statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) == 0 && statx(t->root, "", AT_EMPTY_PATH, STATX_MNT_ID, &top) == 0 &&
			       sx.stx_mnt_id == top.stx_mnt_id;

		return err_set(e, ERR_FORBIDDEN, in_root ? "container rootfs is marked read-only" : "mounted volume is marked read-only");
	}
	return 0;
}

int tarin_extract(int root, const char *path, const struct unpack_source *src, const struct tarin_args *a, struct err *e)
{
	struct tarin t = { .root = root, .base = path, .a = a };
	struct archive_entry *entry;
	int rc = -1;

	if (check_base(&t, e) < 0)
		return -1;
	t.tar = tar_open(src, false, NULL, what, e);
	if (!t.tar)
		return -1;
	while ((rc = tar_next(t.tar, &entry, e)) > 0) {
		rc = put_entry(&t, entry, e);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = tar_finish(t.tar, NULL, e);
	folder_times(&t);
	tar_free(t.tar);
	for (size_t i = 0; i < t.n_folders; i++)
		free(t.folders[i]);
	free(t.folders);
	return rc;
}
