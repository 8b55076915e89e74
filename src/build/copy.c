/* SPDX-License-Identifier: Apache-2.0 */
#include "build/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <linux/fs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/unpack.h"

/*
 * The second half of COPY and ADD. The destination's directory is made and opened by RESOLVE_IN_ROOT; from there on each level is a handle and a
 * last name. What is there gives way, as docker's classic builder does it; but a directory that comes upon a link to a directory goes into that,
 * so that "COPY rootfs/ /" leaves an image's /lib -> usr/lib alone.
 */
enum { IO_SIZE = 1024 * 1024, XATTR_MAX = 64 * 1024 };

struct copier {
	const struct build_copy *c;
	int root;		/* the image's */
	uid_t uid;
	gid_t gid;
	mode_t mode;		/* --chmod */
	bool has_mode;
	struct map *links;	/* "dev:ino" of a source with several names -> path in the image of the first copy */
	char *io;
	struct err *e;
};

static int failed(const struct copier *k, int errnum, const char *what, const char *path)
{
	return err_errno(k->e, errnum, "%s failed: %s %.300s", build_copy_word(k->c), what, path);
}

static int stopped(const struct copier *k)
{
	return k->c->stop && atomic_load(k->c->stop) ? err_set(k->e, ERR_UNAVAILABLE, "the build was cancelled") : 0;
}

/* Capabilities and user.*; a file system that has none is no error. */
static void copy_xattrs(int from, int to)
{
	CLEANUP(mem_freep) char *names = mem_alloc(XATTR_MAX), *value = mem_alloc(XATTR_MAX);
	ssize_t n = flistxattr(from, names, XATTR_MAX);

	for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
		ssize_t size;

		if (!str_eq(p, "security.capability") && (!str_starts(p, "user.") || str_starts(p, "user.overlay.")))
			continue;
		size = fgetxattr(from, p, value, XATTR_MAX);
		if (size >= 0)
			(void)fsetxattr(to, p, value, (size_t)size, 0);
	}
}

static mode_t mode_of(const struct copier *k, const struct stat *st)
{
	return k->has_mode ? k->mode : st->st_mode & 07777;
}

/* Owner, then mode, then attributes, then times: each takes away something of what comes after it. */
static int dress_fd(struct copier *k, int from, int to, const struct stat *st, const char *path)
{
	struct timespec t[2] = { st->st_mtim, st->st_mtim };

	if (fchown(to, k->uid, k->gid) < 0)
		return failed(k, errno, "set the owner of", path);
	if (fchmod(to, mode_of(k, st)) < 0)
		return failed(k, errno, "set the mode of", path);
	copy_xattrs(from, to);
	return futimens(to, t) < 0 ? failed(k, errno, "set the time of", path) : 0;
}

/* The same for what is not opened: links, pipes, devices; "." is the handle itself. */
static int dress(struct copier *k, int dir, const char *name, const struct stat *st, const char *path)
{
	struct timespec t[2] = { st->st_mtim, st->st_mtim };

	if (fchownat(dir, name, k->uid, k->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(k, errno, "set the owner of", path);
	if (!S_ISLNK(st->st_mode) && fchmodat(dir, name, mode_of(k, st), 0) < 0)
		return failed(k, errno, "set the mode of", path);
	return utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? failed(k, errno, "set the time of", path) : 0;
}

static int copy_data(struct copier *k, int from, int to, const char *path)
{
	ssize_t n;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	for (;;) {
		if (stopped(k) < 0)
			return -1;
		n = copy_file_range(from, NULL, to, NULL, IO_SIZE, 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
			n = read(from, k->io, IO_SIZE);
			if (n > 0) {
				int rc = file_write_all(to, k->io, (size_t)n);

				if (rc < 0)
					return failed(k, -rc, "write", path);
			}
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(k, errno, "copy", path);
		if (n == 0)
			return 0;
	}
}

/* What has the name in the image goes, unless it is a directory and one comes. */
static int make_room(struct copier *k, int dir, const char *name, const char *path)
{
	int rc = file_rm_rf_at(dir, name);

	return rc < 0 ? failed(k, -rc, "replace", path) : 0;
}

static int copy_file(struct copier *k, int from, const struct stat *st, int dir, const char *name, const char *path)
{
	CLEANUP(fd_closep) int to = -1;

	if (make_room(k, dir, name, path) < 0)
		return -1;
	to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return failed(k, errno, "create", path);
	return copy_data(k, from, to, path) < 0 ? -1 : dress_fd(k, from, to, st, path);
}

/* The first copy of a source with several names. */
struct first {
	ino_t ino;	/* in the image: another name of the same copy may have replaced it since */
	char path[];
};

static void link_key(const struct stat *st, char *out, size_t size)
{
	snprintf(out, size, "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
}

static void remember(struct copier *k, const struct stat *st, int dir, const char *name, const char *path)
{
	struct first *f;
	struct stat now;
	char key[64];

	if (fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	f = mem_alloc(sizeof(*f) + strlen(path) + 1);
	f->ino = now.st_ino;
	strcpy(f->path, path);
	link_key(st, key, sizeof(key));
	free(map_put(k->links, key, f));
}

/* Another name of a file that is copied already? 1: linked. */
static int copy_link(struct copier *k, const struct stat *st, int dir, const char *name, const char *path)
{
	CLEANUP(fd_closep) int at = -1;
	CLEANUP(mem_freep) char *parent = NULL;
	const struct first *f;
	const char *last;
	struct stat now;
	char key[64];

	link_key(st, key, sizeof(key));
	f = map_get(k->links, key);
	if (!f)
		return 0;
	last = strrchr(f->path, '/') + 1;
	parent = mem_strndup(f->path, (size_t)(last - f->path));
	at = file_open_in_root(k->root, parent, O_PATH | O_DIRECTORY, 0);
	if (at < 0 || fstatat(at, last, &now, AT_SYMLINK_NOFOLLOW) < 0 || now.st_ino != f->ino || str_eq(f->path, path))
		return 0;
	if (make_room(k, dir, name, path) < 0)
		return -1;
	return linkat(at, last, dir, name, 0) == 0;
}

static int copy_dir(struct copier *k, int from, int to, const char *below, const char *path, unsigned depth);

/* The directory in the image that takes one of the sources; *made: it is new. */
static int enter_dir(struct copier *k, int dir, const char *name, const char *path, bool *made)
{
	struct stat st;
	int fd;

	*made = false;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISLNK(st.st_mode)) {
			fd = file_open_in_root(k->root, path, O_RDONLY | O_DIRECTORY, 0);
			if (fd >= 0)
				return fd;
		}
		if (!S_ISDIR(st.st_mode) && make_room(k, dir, name, path) < 0)
			return -1;
	}
	if (mkdirat(dir, name, 0700) == 0)
		*made = true;
	else if (errno != EEXIST)
		return failed(k, errno, "create", path);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? failed(k, errno, "open", path) : fd;
}

/* In a layer's archive such a name removes another one: it cannot be had as a file. */
static int check_name(struct copier *k, const char *name)
{
	return str_starts(name, ".wh.") ? err_set(k->e, ERR_INVALID, "%s failed: '%.200s': names that begin with .wh. stand for removals in an image's layers",
						  build_copy_word(k->c), name) : 0;
}

static int copy_entry(struct copier *k, int dir, const char *name, int into, const char *below, const char *path, unsigned depth)
{
	CLEANUP(fd_closep) int fd = -1, to = -1;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;
	bool made;
	int rc;

	if (check_name(k, name) < 0)
		return -1;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(k, errno, "stat", below);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		if (st.st_nlink > 1) {
			rc = copy_link(k, &st, into, name, path);
			if (rc)
				return rc < 0 ? -1 : 0;
		}
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return failed(k, errno, "open", below);
		if (copy_file(k, fd, &st, into, name, path) < 0)
			return -1;
		if (st.st_nlink > 1)
			remember(k, &st, into, name, path);
		return 0;
	case S_IFDIR:
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return failed(k, errno, "open", below);
		to = enter_dir(k, into, name, path, &made);
		if (to < 0 || copy_dir(k, fd, to, below, path, depth + 1) < 0)
			return -1;
		return dress(k, to, ".", &st, path);
	case S_IFLNK:
		n = readlinkat(dir, name, target, sizeof(target) - 1);
		if (n < 0)
			return failed(k, errno, "read the link", below);
		target[n] = '\0';
		if (make_room(k, into, name, path) < 0)
			return -1;
		return symlinkat(target, into, name) < 0 ? failed(k, errno, "create", path) : dress(k, into, name, &st, path);
	case S_IFSOCK:
		return 0;
	default:
		if (make_room(k, into, name, path) < 0)
			return -1;
		return mknodat(into, name, (st.st_mode & S_IFMT) | 0600, st.st_rdev) < 0 ? failed(k, errno, "create", path)
										       : dress(k, into, name, &st, path);
	}
}

static int copy_dir(struct copier *k, int from, int to, const char *below, const char *path, unsigned depth)
{
	CLEANUP(strv_freep) char **names = NULL;
	int rc = build_names(from, &names);

	if (rc < 0)
		return failed(k, -rc, "read", below);
	if (depth > BUILD_DEPTH_MAX)
		return err_set(k->e, ERR_INVALID, "%s failed: %.300s is too deep", build_copy_word(k->c), below);
	for (char **n = names; *n; n++) {
		CLEANUP(mem_freep) char *b = *below ? mem_printf("%s/%s", below, *n) : mem_strdup(*n), *p = mem_printf("%s/%s", path, *n);

		if (stopped(k) < 0)
			return -1;
		if (!build_excluded(k->c, b) && copy_entry(k, from, *n, to, b, p, depth) < 0)
			return -1;
	}
	return 0;
}

/* Places. */

static int make_dir(struct copier *k, const char *path)
{
	int fd = file_mkdir_in_root(k->root, path, 0755, k->uid, k->gid);

	if (fd == -ENOTDIR)
		return err_set(k->e, ERR_INVALID, "%s failed: a part of the destination %.300s is not a directory", build_copy_word(k->c), path);
	return fd < 0 ? failed(k, -fd, "create the directory", path) : fd;
}

static bool is_dir(const struct copier *k, const char *path)
{
	CLEANUP(fd_closep) int fd = file_open_in_root(k->root, path, O_PATH | O_DIRECTORY, 0);

	return fd >= 0;
}

/* A file to exactly this path; a link there is followed, as docker resolves the destination. */
static int put_file(struct copier *k, int from, const struct stat *st, const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(mem_freep) char *parent = mem_strndup(path, (size_t)(slash - path));
	CLEANUP(fd_closep) int dir = -1, to = -1;
	struct stat old;

	if (check_name(k, slash + 1) < 0)
		return -1;
	dir = make_dir(k, *parent ? parent : "/");
	if (dir < 0)
		return -1;
	if (fstatat(dir, slash + 1, &old, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(old.st_mode))
		return copy_file(k, from, st, dir, slash + 1, path);
	to = file_open_in_root(k->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0600);
	if (to < 0)
		return failed(k, -to, "write through the link", path);
	if (fstat(to, &old) < 0 || !S_ISREG(old.st_mode))
		return err_set(k->e, ERR_INVALID, "%s failed: %.300s is a link to something else than a file", build_copy_word(k->c), path);
	return copy_data(k, from, to, path) < 0 ? -1 : dress_fd(k, from, to, st, path);
}

static char *place_of(const struct copier *k, const struct build_item *it)
{
	const char *dest = k->c->dest;

	if (!k->c->dest_slash && !is_dir(k, dest))
		return mem_strdup(dest);
	return mem_printf("%s/%s", str_eq(dest, "/") ? "" : dest, it->name);
}

static int put_doc(struct copier *k, const struct build_item *it)
{
	CLEANUP(mem_freep) char *path = place_of(k, it);
	CLEANUP(fd_closep) int fd = memfd_create("heredoc", MFD_CLOEXEC);
	struct stat st = { .st_mode = S_IFREG | 0644 };
	int rc;

	/* A descriptor makes it a file like others. */
	if (fd < 0)
		return failed(k, errno, "keep the heredoc", it->name);
	rc = file_write_all(fd, it->doc->text, strlen(it->doc->text));
	if (rc < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return failed(k, rc < 0 ? -rc : errno, "keep the heredoc", it->name);
	st.st_mtim.tv_sec = clock_wall() / 1000000000;
	return put_file(k, fd, &st, path);
}

struct archive_in {
	struct copier *k;
	int fd;
};

static ssize_t archive_read_fd(void *user, void *p, size_t n)
{
	struct archive_in *in = user;
	ssize_t got;

	if (stopped(in->k) < 0)
		return -ECANCELED;
	do
		got = read(in->fd, p, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static int put_archive(struct copier *k, int fd, const struct build_item *it)
{
	struct archive_in in = { k, fd };
	struct unpack_result res;
	char what[320];
	int dir = make_dir(k, k->c->dest);

	if (dir < 0)
		return -1;
	(void)close(dir);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return failed(k, errno, "read", it->path);
	snprintf(what, sizeof(what), "ADD failed: the archive %.280s", it->path);
	return unpack_tree(k->root, k->c->dest + 1, UNPACK_IN_ROOT, &(struct unpack_source){ archive_read_fd, &in }, what, &res, k->e);
}

static int put_item(struct copier *k, const struct build_item *it)
{
	CLEANUP(fd_closep) int fd = -1, to = -1;
	CLEANUP(mem_freep) char *path = NULL;
	struct stat st;
	bool there;

	if (it->doc)
		return put_doc(k, it);
	fd = file_open_in_root(k->c->source, *it->path ? it->path : ".", O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(k, fd < 0 ? -fd : errno, "open", it->path);
	if (S_ISDIR(st.st_mode)) {
		/* Its content, into the destination itself. */
		there = is_dir(k, k->c->dest);
		to = make_dir(k, k->c->dest);
		if (to < 0)
			return -1;
		if (copy_dir(k, fd, to, "", str_eq(k->c->dest, "/") ? "" : k->c->dest, 0) < 0)
			return -1;
		if (there)
			return 0;
		fd_closep(&to);
		to = file_open_in_root(k->root, k->c->dest, O_RDONLY | O_DIRECTORY, 0);
		return to < 0 ? failed(k, -to, "open", k->c->dest) : dress(k, to, ".", &st, k->c->dest);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(k->e, ERR_INVALID, "%s failed: %.300s is neither a file nor a directory", build_copy_word(k->c), it->path);
	if (k->c->add && !k->c->no_unpack) {
		if (unpack_is_archive(fd))
			return put_archive(k, fd, it);
		if (lseek(fd, 0, SEEK_SET) < 0)
			return failed(k, errno, "read", it->path);
	}
	path = place_of(k, it);
	return put_file(k, fd, &st, path);
}

/* Owners. */

/* The third field of "name:x:id:..." in a file of the image; 0, or -1: no such name. */
static int look_up(int root, const char *file, const char *name, uint32_t *ret)
{
	CLEANUP(fd_closep) int fd = file_open_in_root(root, file, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	size_t n = strlen(name);
	char proc[64], *save = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (file_read_at(AT_FDCWD, proc, 4 << 20, &b) < 0 || !b.data)
		return -1;
	for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *id = strncmp(line, name, n) || line[n] != ':' ? NULL : strchr(line + n + 1, ':'), *end;
		uint64_t v;

		if (!id)
			continue;
		id++;
		end = strchr(id, ':');
		if (end)
			*end = '\0';
		if (str_to_u64(id, 0, UINT32_MAX - 1, &v) < 0)
			continue;
		*ret = (uint32_t)v;
		return 0;
	}
	return -1;
}

static int owner_of(int root, const char *file, const char *what, const char *name, uint32_t *ret, struct err *e)
{
	uint64_t v;

	if (str_to_u64(name, 0, UINT32_MAX - 1, &v) == 0) {
		*ret = (uint32_t)v;
		return 0;
	}
	if (look_up(root, file, name, ret) < 0)
		return err_set(e, ERR_INVALID, "unable to convert uid/gid chown string to host mapping: can't find %s for %s %.100s: no such %s: %.100s",
			       what[0] == 'u' ? "uid" : "gid", what, name, what, name);
	return 0;
}

int build_owner(int root, const char *chown, uid_t *uid, gid_t *gid, struct err *e)
{
	const char *colon = strchr(chown, ':');
	CLEANUP(mem_freep) char *user = colon ? mem_strndup(chown, (size_t)(colon - chown)) : mem_strdup(chown);
	const char *group = colon && colon[1] ? colon + 1 : user;
	uint32_t u, g;

	if (!*user)
		return err_set(e, ERR_INVALID, "invalid chown string: '%.200s' names no user", chown);
	if (owner_of(root, "etc/passwd", "user", user, &u, e) < 0 || owner_of(root, "etc/group", "group", group, &g, e) < 0)
		return -1;
	*uid = u;
	*gid = g;
	return 0;
}

static int parse_mode(const char *text, mode_t *ret, struct err *e)
{
	char *end;
	unsigned long v = strtoul(text, &end, 8);

	if (!*text || *end || v > 07777 || !strchr("01234567", *text))
		return err_set(e, ERR_INVALID, "invalid chmod parameter: '%.100s'. it should be octal string and between 0 and 07777", text);
	*ret = (mode_t)v;
	return 0;
}

int build_copy_run(struct build_copy *c, int root, struct err *e)
{
	struct copier k = { .c = c, .root = root, .links = map_new(), .io = mem_alloc(IO_SIZE), .e = e };
	const char *key;
	size_t it = 0;
	struct first *f;
	int rc = 0;

	if (!str_empty(c->chown))
		rc = build_owner(root, c->chown, &k.uid, &k.gid, e);
	if (rc == 0 && !str_empty(c->chmod)) {
		k.has_mode = true;
		rc = parse_mode(c->chmod, &k.mode, e);
	}
	for (size_t i = 0; rc == 0 && i < c->nitems; i++)
		rc = stopped(&k) < 0 ? -1 : put_item(&k, &c->items[i]);
	while ((f = map_next(k.links, &it, &key)))
		free(f);
	map_free(k.links);
	free(k.io);
	return rc;
}
