/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

/*
 * Theory of operation
 *
 * An archive is hostile. Every path is brought to the form "a/b/c" (leading "/" and "." components dropped, ".." refused) and split into
 * its folder and its last name. The folder is opened from the layer's root by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), and the
 * entry is made by that handle and the last name alone, with O_EXCL or a call that never follows a link. So a symbolic link in an archive
 * is data that we write and never a way that we walk, and no order of entries leads out. Hard links name a file of the same layer by the
 * same rules.
 *
 * Whiteouts become what overlayfs reads: ".wh.x" a character device 0:0 named x, ".wh..wh..opq" the attribute trusted.overlay.opaque.
 * They are about lower layers only: what this layer itself brings under the name stays, and a folder that it puts in the place of
 * something removed becomes opaque. Attributes of overlayfs that come in the archive are dropped: redirects would point anywhere.
 *
 * unpack_tree() is for what is no layer: no whiteouts, and with UNPACK_IN_ROOT the folder is opened by RESOLVE_IN_ROOT instead, as a program inside
 * the image would reach it.
 *
 * Order within an entry: owner (clears setuid bits and capabilities), mode, attributes, times. Folders get their times last of all, since
 * making entries in them changes these.
 *
 * Limits, so that nothing in memory grows with what an archive claims: see the enum. Sizes on disk are bounded by the disk; ENOSPC is an
 * error like another and the caller removes everything.
 */
enum {
	ENTRIES_MAX = 4 * 1000 * 1000,		/* the largest images have some hundred thousand */
	DEPTH_MAX = 512,
	XATTR_MAX = 64 * 1024,			/* the kernel's own limit for one value */
	XATTRS_MAX = 256,
	FOLDERS_MAX = 64 * 1024 * 1024,		/* bytes of folder names kept for their times */
};
#define FILE_MAX_BYTES ((int64_t)1 << 44)	/* 16 TiB: ext4's limit; sparse files may well be larger than the disk */

struct folder {
	struct timespec mtime;
	char path[];
};

struct unpack {
	int root;
	const char *what;
	struct tar *tar;
	struct archive *a;
	struct split_writer *split;	/* or NULL */
	const char *below;		/* unpack_tree(): where everything goes; NULL: it is a layer */
	unsigned flags;
	char parent[PATH_MAX];	/* whose handle parent_fd is; valid if that is >= 0 */
	int parent_fd;
	struct folder **folders;
	size_t nfolders, folder_cap, folder_bytes;
	struct unpack_result r;
};

/* Where an entry goes: folder handle (borrowed from the cache) and last name; last "" means the root itself. */
struct place {
	char path[PATH_MAX];
	const char *last;
	int dir;
};

static int refuse(const struct unpack *u, const char *path, const char *why, struct err *e)
{
	return err_set(e, ERR_INVALID, "%s: refusing the entry '%.400s': %s", u->what, path, why);
}

static int failed(const struct unpack *u, const char *path, int errnum, struct err *e)
{
	return err_errno(e, errnum, "%s: unpack '%.400s'", u->what, path);
}

/* "./a//b/" to "a/b"; 0, or -1 with the reason. */
static int path_clean(const struct unpack *u, const char *in, char *out, struct err *e)
{
	size_t n = 0, depth = 0;

	if (strlen(in) >= PATH_MAX)
		return refuse(u, in, "the path is longer than 4095 bytes", e);
	for (const char *p = in; *p;) {
		size_t len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.')
			return refuse(u, in, "the path holds '..'", e);
		if (len > NAME_MAX)
			return refuse(u, in, "a part of the path is longer than 255 bytes", e);
		if (len && !(len == 1 && *p == '.')) {
			if (++depth > DEPTH_MAX)
				return refuse(u, in, "the path is more than 512 folders deep", e);
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

static int folder_open(struct unpack *u, const char *path)
{
	if (u->flags & UNPACK_IN_ROOT)
		return file_open_in_root(u->root, *path ? path : ".", O_PATH | O_DIRECTORY, 0);
	return file_open_beneath(u->root, *path ? path : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* Makes the folders of path that are missing, as docker does: 0755, root's. */
static int folder_make(struct unpack *u, const char *path)
{
	char part[PATH_MAX];

	if (u->flags & UNPACK_IN_ROOT) {
		int fd = file_mkdir_in_root(u->root, path, 0755, 0, 0);

		if (fd >= 0)
			(void)close(fd);
		return fd < 0 ? fd : 0;
	}
	for (const char *p = path; *p; p += strspn(p, "/")) {
		size_t n;
		const char *slash;
		int up, rc = 0;

		p += strcspn(p, "/");
		n = (size_t)(p - path);
		memcpy(part, path, n);
		part[n] = '\0';
		slash = strrchr(part, '/');
		if (slash)
			part[slash - part] = '\0';
		up = folder_open(u, slash ? part : "");
		if (up < 0)
			return up;
		if (mkdirat(up, slash ? slash + 1 : part, 0755) < 0 && errno != EEXIST)
			rc = -errno;
		(void)close(up);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The handle of the folder, from the cache when the last entry had the same. */
static int folder_enter(struct unpack *u, const char *path, bool make, const char *entry, struct err *e)
{
	int fd;

	if (u->parent_fd >= 0 && str_eq(u->parent, path))
		return 0;
	fd = folder_open(u, path);
	if (fd == -ENOENT && make) {
		int rc = folder_make(u, path);

		if (rc < 0 && rc != -ELOOP && rc != -ENOTDIR)
			return failed(u, entry, -rc, e);
		fd = rc < 0 ? rc : folder_open(u, path);
	}
	if (fd == -ELOOP || fd == -ENOTDIR)
		return refuse(u, entry, "a part of its path is a link or a file of the same archive, not a folder", e);
	if (fd < 0)
		return failed(u, entry, -fd, e);
	if (u->parent_fd >= 0)
		(void)close(u->parent_fd);
	u->parent_fd = fd;
	snprintf(u->parent, sizeof(u->parent), "%s", path);
	return 0;
}

/* The entry's path below the root. */
static int path_place(const struct unpack *u, const char *name, char *out, struct err *e)
{
	char path[PATH_MAX];

	if (path_clean(u, name, path, e) < 0)
		return -1;
	if (snprintf(out, PATH_MAX, "%s%s%s", u->below ? u->below : "", u->below && *u->below && *path ? "/" : "", path) >= PATH_MAX)
		return refuse(u, name, "the path is longer than 4095 bytes", e);
	return 0;
}

static int place_of(struct unpack *u, const char *name, bool make, struct place *pl, struct err *e)
{
	char folder[PATH_MAX];
	char *slash;

	if (path_place(u, name, pl->path, e) < 0)
		return -1;
	slash = strrchr(pl->path, '/');
	pl->last = slash ? slash + 1 : pl->path;
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - pl->path) : 0, pl->path);
	if (folder_enter(u, folder, make, name, e) < 0)
		return -1;
	pl->dir = u->parent_fd;
	return 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int set_opaque(struct unpack *u, int dirfd, const char *name, const char *entry, struct err *e)
{
	char proc[64 + NAME_MAX];

	/* setxattrat(2) came with 6.13; a path below the handle's magic link does the same for a name that is not followed. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dirfd, name);
	if (lsetxattr(proc, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return failed(u, entry, errno, e);
	return 0;
}

static int whiteout(struct unpack *u, const struct place *pl, const char *entry, struct err *e)
{
	const char *name = pl->last + strlen(".wh.");
	struct stat st;

	if (str_eq(pl->last, ".wh..wh..opq"))
		return set_opaque(u, pl->dir, ".", entry, e);
	if (str_starts(name, ".wh."))
		return 0;	/* aufs's own bookkeeping */
	if (!*name || str_eq(name, ".") || str_eq(name, ".."))
		return refuse(u, entry, "it removes no name", e);
	if (fstatat(pl->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode) ? set_opaque(u, pl->dir, name, entry, e) : 0;
	if (mknodat(pl->dir, name, S_IFCHR, makedev(0, 0)) < 0)
		return failed(u, entry, errno, e);
	return 0;
}

/* What the same layer has put there gives way, except a folder to a folder. *was_whiteout: see above. */
static int make_room(struct unpack *u, const struct place *pl, bool for_dir, bool *was_whiteout, bool *exists, const char *entry, struct err *e)
{
	struct stat st;
	int rc;

	*was_whiteout = *exists = false;
	if (fstatat(pl->dir, pl->last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : failed(u, entry, errno, e);
	if (S_ISDIR(st.st_mode) && for_dir) {
		*exists = true;
		return 0;
	}
	*was_whiteout = is_whiteout(&st);
	if (u->split && S_ISDIR(st.st_mode))
		split_lose(u->split);
	if (u->split && S_ISREG(st.st_mode) && st.st_size) {
		rc = split_displace(u->split, pl->dir, pl->last, pl->path);
		return rc < 0 ? failed(u, entry, -rc, e) : 0;
	}
	rc = file_rm_rf_at(pl->dir, pl->last);
	return rc < 0 ? failed(u, entry, -rc, e) : 0;
}

static bool xattr_wanted(const char *name)
{
	return str_starts(name, "user.") ? !str_starts(name, "user.overlay.") :
	       str_starts(name, "trusted.") ? !str_starts(name, "trusted.overlay.") : str_eq(name, "security.capability");
}

static int set_xattrs(struct unpack *u, const struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	char proc[64 + NAME_MAX];
	const char *key;
	const void *value;
	size_t size;
	int n = archive_entry_xattr_reset(entry);

	if (n > XATTRS_MAX)
		return refuse(u, name, "it has more than 256 extended attributes", e);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", pl->dir, *pl->last ? pl->last : ".");
	while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
		if (!key || !xattr_wanted(key))
			continue;
		if (size > XATTR_MAX)
			return refuse(u, name, "an extended attribute is larger than 64 KiB", e);
		/* user.* exists on files and folders only, and a disk may know none at all: docker goes on there, too. */
		if (lsetxattr(proc, key, value, size, 0) < 0 && errno != EOPNOTSUPP && errno != EPERM)
			return err_errno(e, errno, "%s: set '%.100s' of '%.300s'", u->what, key, name);
	}
	return 0;
}

static struct timespec entry_mtime(struct archive_entry *entry)
{
	struct timespec t = { archive_entry_mtime(entry), archive_entry_mtime_nsec(entry) };

	if (!archive_entry_mtime_is_set(entry) || t.tv_nsec < 0 || t.tv_nsec > 999999999)
		t = (struct timespec){ 0 };
	return t;
}

/* Everything but times, for a name that exists. */
static int set_owner_mode(struct unpack *u, const struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	const char *last = *pl->last ? pl->last : ".";

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return refuse(u, name, "its owner is not a number from 0 to 4294967294", e);
	if (fchownat(pl->dir, last, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, name, errno, e);
	/* The name is ours and no link: nobody else works in this tree, so that following is no question. */
	if (archive_entry_filetype(entry) != AE_IFLNK && fchmodat(pl->dir, last, archive_entry_perm(entry) & 07777, 0) < 0)
		return failed(u, name, errno, e);
	return set_xattrs(u, pl, entry, name, e);
}

static int set_times(struct unpack *u, const struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	struct timespec t[2] = { entry_mtime(entry), entry_mtime(entry) };

	if (utimensat(pl->dir, pl->last, t, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, name, errno, e);
	return 0;
}

static int remember_folder(struct unpack *u, const struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	size_t n = sizeof(struct folder) + strlen(pl->path) + 1;
	struct folder *f;

	if (u->folder_bytes + n > FOLDERS_MAX)
		return refuse(u, name, "the archive holds too many folders", e);
	if (u->nfolders == u->folder_cap) {
		u->folder_cap = u->folder_cap ? u->folder_cap * 2 : 64;
		u->folders = mem_realloc(u->folders, u->folder_cap * sizeof(*u->folders));
	}
	f = mem_alloc(n);
	f->mtime = entry_mtime(entry);
	strcpy(f->path, pl->path);
	u->folders[u->nfolders++] = f;
	u->folder_bytes += n;
	return 0;
}

static int write_at(int fd, const char *p, size_t n, int64_t at)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= (size_t)w;
		at += w;
	}
	return 0;
}

static int unpack_file(struct unpack *u, const struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	CLEANUP(fd_closep) int fd = -1;
	int64_t size = archive_entry_size(entry), end = 0, at_header = archive_read_header_position(u->a);
	bool sparse = archive_entry_sparse_count(entry) > 0;
	const void *p;
	size_t n;
	la_int64_t at;
	int rc = FAULT("image.file");

	if (size < 0 || size > FILE_MAX_BYTES)
		return refuse(u, name, "it is larger than 16 TiB", e);
	fd = rc < 0 ? -1 : openat(pl->dir, pl->last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(u, name, rc < 0 ? -rc : errno, e);
	while ((rc = archive_read_data_block(u->a, &p, &n, &at)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (at < end || (int64_t)n > size - at)
			return refuse(u, name, "its blocks do not fit its size", e);
		rc = write_at(fd, p, n, at);
		if (rc < 0)
			return failed(u, name, -rc, e);
		end = at + (int64_t)n;
		if (end == size)
			tar_data_done(u->tar);
	}
	if (rc != ARCHIVE_EOF)
		return tar_error(u->tar, e);
	if (end != size && ftruncate(fd, size) < 0)	/* a hole at the end */
		return failed(u, name, errno, e);
	u->r.bytes += (uint64_t)size;
	if (u->split && size && !sparse)
		split_file(u->split, at_header, (uint64_t)size, pl->path);
	return 0;
}

static int unpack_hardlink(struct unpack *u, const struct place *pl, const char *target, const char *name, struct err *e)
{
	CLEANUP(fd_closep) int dir = -1;
	char path[PATH_MAX];
	const char *last = path;
	struct stat st;
	char *slash;

	if (path_place(u, target, path, e) < 0)
		return -1;
	slash = strrchr(path, '/');
	if (slash) {
		*slash = '\0';
		last = slash + 1;
	}
	dir = folder_open(u, slash ? path : "");
	if (dir < 0 || !*last || fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_INVALID, "%s: refusing the entry '%.400s': it is a hard link to '%.400s', which the layer does not hold before it",
			       u->what, name, target);
	if (S_ISDIR(st.st_mode) || is_whiteout(&st))
		return refuse(u, name, "it is a hard link to a folder or to something removed", e);
	if (linkat(dir, last, pl->dir, pl->last, 0) < 0)
		return failed(u, name, errno, e);
	return 0;
}

static int unpack_dir(struct unpack *u, const struct place *pl, struct archive_entry *entry, bool exists, bool opaque, const char *name, struct err *e)
{
	if (!exists && mkdirat(pl->dir, pl->last, 0755) < 0)
		return failed(u, name, errno, e);
	if (set_owner_mode(u, pl, entry, name, e) < 0 || remember_folder(u, pl, entry, name, e) < 0)
		return -1;
	return opaque ? set_opaque(u, pl->dir, pl->last, name, e) : 0;
}

static int unpack_root(struct unpack *u, struct place *pl, struct archive_entry *entry, const char *name, struct err *e)
{
	if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry))
		return refuse(u, name, "it names the root, but is no folder", e);
	return set_owner_mode(u, pl, entry, name, e) < 0 ? -1 : remember_folder(u, pl, entry, name, e);
}

static int unpack_entry(struct unpack *u, struct archive_entry *entry, struct err *e)
{
	const char *name = tar_path(entry), *link = tar_link(entry);
	bool hard = archive_entry_hardlink(entry) || archive_entry_hardlink_utf8(entry), removed, exists;
	mode_t type = archive_entry_filetype(entry);
	struct place pl;
	int rc;

	if (!name)
		return err_set(e, ERR_INVALID, "%s: entry %llu has no name", u->what, (unsigned long long)u->r.entries);
	if (place_of(u, name, true, &pl, e) < 0)
		return -1;
	if (!*pl.path)
		return unpack_root(u, &pl, entry, name, e);
	if (!u->below && str_starts(pl.last, ".wh."))
		return whiteout(u, &pl, name, e);
	/* A link to itself: GNU tar writes that for a file that it met twice. */
	if (hard && link) {
		char target[PATH_MAX];

		if (path_place(u, link, target, e) < 0)
			return -1;
		if (str_eq(target, pl.path))
			return 0;
	}
	if (make_room(u, &pl, !hard && type == AE_IFDIR, &removed, &exists, name, e) < 0)
		return -1;
	if (hard)
		return unpack_hardlink(u, &pl, link ? link : "", name, e);
	switch (type) {
	case AE_IFDIR:
		return unpack_dir(u, &pl, entry, exists, removed, name, e);
	case AE_IFREG:
		rc = unpack_file(u, &pl, entry, name, e);
		break;
	case AE_IFLNK:
		if (!link || !*link || strlen(link) >= PATH_MAX)
			return refuse(u, name, "it is a symbolic link to nothing or to more than 4095 bytes", e);
		rc = symlinkat(link, pl.dir, pl.last) < 0 ? failed(u, name, errno, e) : 0;
		break;
	case AE_IFCHR:
	case AE_IFBLK:
		if (u->flags & UNPACK_NO_DEVICES)
			return refuse(u, name, "it is a device", e);
		/* fall through */
	case AE_IFIFO:
		rc = mknodat(pl.dir, pl.last, type | 0600, type == AE_IFIFO ? 0 : archive_entry_rdev(entry)) < 0 ? failed(u, name, errno, e) : 0;
		break;
	default:
		return refuse(u, name, "it is neither a file, a folder, a link, a device nor a pipe", e);
	}
	if (rc == 0)
		rc = set_owner_mode(u, &pl, entry, name, e);
	return rc == 0 ? set_times(u, &pl, entry, name, e) : rc;
}

/* Last in, first out: a folder's time after those of the folders in it. One that was replaced since is skipped. */
static int folder_times(struct unpack *u, struct err *e)
{
	for (size_t i = u->nfolders; i-- > 0;) {
		const struct folder *f = u->folders[i];
		struct timespec t[2] = { f->mtime, f->mtime };
		int fd = u->flags & UNPACK_IN_ROOT ? file_open_in_root(u->root, *f->path ? f->path : ".", O_RDONLY | O_DIRECTORY, 0)
						   : file_open_beneath(u->root, *f->path ? f->path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		if (fd < 0)
			continue;
		if (futimens(fd, t) < 0) {
			(void)close(fd);
			return failed(u, f->path, errno, e);
		}
		(void)close(fd);
	}
	return 0;
}

static int unpack_all(struct unpack *u, struct err *e)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = tar_next(u->tar, &entry, e)) > 0) {
		if (++u->r.entries > ENTRIES_MAX)
			return err_set(e, ERR_INVALID, "%s holds more than %d entries", u->what, ENTRIES_MAX);
		if (unpack_entry(u, entry, e) < 0)
			return -1;
	}
	if (rc < 0 || folder_times(u, e) < 0)
		return -1;
	return tar_finish(u->tar, u->r.diff, e);
}

static int unpack_run(struct unpack *u, const struct unpack_source *src, const char *what, struct unpack_result *ret, struct err *e)
{
	int rc = -1;

	u->what = what;
	u->parent_fd = -1;
	u->tar = tar_open(src, !u->below, u->split, what, e);
	if (u->tar) {
		u->a = tar_archive(u->tar);
		if (u->below)
			tar_set_lenient(u->tar);
		rc = unpack_all(u, e);
	}
	if (rc == 0 && u->split)
		rc = split_end(u->split, e);
	if (rc == 0)
		*ret = u->r;
	tar_free(u->tar);
	split_writer_free(u->split);
	if (u->parent_fd >= 0)
		(void)close(u->parent_fd);
	for (size_t i = 0; i < u->nfolders; i++)
		free(u->folders[i]);
	free(u->folders);
	free(u);
	return rc;
}

int unpack_layer(int dirfd, int keep, const struct unpack_source *src, const char *what, struct unpack_result *ret, struct err *e)
{
	struct unpack *u = mem_zalloc(sizeof(*u));

	u->root = dirfd;
	if (keep >= 0) {
		u->split = split_writer_new(keep, e);
		if (!u->split) {
			free(u);
			return -1;
		}
	}
	return unpack_run(u, src, what, ret, e);
}

int unpack_tree(int dirfd, const char *below, unsigned flags, const struct unpack_source *src, const char *what, struct unpack_result *ret,
		struct err *e)
{
	struct unpack *u = mem_zalloc(sizeof(*u));

	u->root = dirfd;
	u->below = below;
	u->flags = flags;
	return unpack_run(u, src, what, ret, e);
}

static ssize_t probe_read(void *user, void *p, size_t n)
{
	ssize_t got;

	do
		got = read(*(int *)user, p, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

bool unpack_is_archive(int fd)
{
	struct tar *t = tar_open(&(struct unpack_source){ probe_read, &fd }, false, NULL, "a file", NULL);
	struct archive_entry *entry;
	bool is = t && tar_next(t, &entry, NULL) == 1;

	tar_free(t);
	return is;
}
