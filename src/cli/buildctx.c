/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/buildctx.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { BLOCK = 64 * 1024, DEPTH_MAX = 512, IGNORE_MAX = 1024 * 1024 };

struct pack {
	struct buildctx *x;
	struct archive *a;
	bool broken;		/* nothing is written any more */
	char block[BLOCK];
};

static la_ssize_t on_write(struct archive *a, void *user, const void *p, size_t n)
{
	struct pack *k = user;
	int rc = k->broken ? 0 : file_write_all(k->x->fd, p, n);

	/* libarchive loses its buffer when a writer fails (3.6): we keep the failure and let it go on into nothing. */
	(void)a;
	if (rc < 0) {
		k->broken = true;
		err_errno(&k->x->err, -rc, "send the context");
	}
	atomic_fetch_add(&k->x->bytes, n);
	if (k->x->progress)
		k->x->progress(k->x->user);
	return (la_ssize_t)n;
}

static int failed(struct pack *k, const char *path)
{
	const char *why = archive_error_string(k->a);

	if (k->broken)
		return -1;
	return err_set(&k->x->err, ERR_INVALID, "send '%.300s': %s", path, why ? why : "failed");
}

static int sys_failed(struct pack *k, int errnum, const char *path)
{
	if (errnum == EACCES || errnum == EPERM)
		return err_set(&k->x->err, ERR_INVALID, "error checking context: no permission to read from '%s/%s'", k->x->dir, path);
	return err_errno(&k->x->err, errnum, "read '%s/%s'", k->x->dir, path);
}

static int put_header(struct pack *k, const char *path, const struct stat *st, const char *link)
{
	struct archive_entry *e = archive_entry_new();
	int rc;

	archive_entry_copy_pathname(e, path);
	archive_entry_set_filetype(e, st->st_mode & S_IFMT);
	archive_entry_set_perm(e, st->st_mode & 07777);
	archive_entry_set_mtime(e, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	archive_entry_set_size(e, S_ISREG(st->st_mode) ? st->st_size : 0);
	if (link)
		archive_entry_copy_symlink(e, link);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		archive_entry_set_rdev(e, st->st_rdev);
	rc = archive_write_header(k->a, e);
	archive_entry_free(e);
	return rc < ARCHIVE_WARN || k->broken ? failed(k, path) : 0;
}

static int put_file(struct pack *k, int dir, const char *name, const char *path)
{
	CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int64_t left;

	if (fd < 0 || fstat(fd, &st) < 0)
		return sys_failed(k, errno, path);
	if (!S_ISREG(st.st_mode))
		return err_set(&k->x->err, ERR_INVALID, "'%s/%s' changed while it was read", k->x->dir, path);
	if (put_header(k, path, &st, NULL) < 0)
		return -1;
	for (left = st.st_size; left > 0;) {
		ssize_t n = read(fd, k->block, left > BLOCK ? BLOCK : (size_t)left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sys_failed(k, errno, path);
		if (n == 0)
			return err_set(&k->x->err, ERR_INVALID, "'%s/%s' became shorter while it was read", k->x->dir, path);
		if (archive_write_data(k->a, k->block, (size_t)n) < 0 || k->broken)
			return failed(k, path);
		left -= n;
	}
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool wanted(const struct pack *k, const char *path)
{
	return !ignore_match(k->x->ignore, path) || str_eq(path, k->x->dockerfile) || str_eq(path, ".dockerignore");
}

/* Is the folder on the way to the Dockerfile? */
static bool leads_to_dockerfile(const struct pack *k, const char *path)
{
	size_t n = strlen(path);

	return k->x->dockerfile && !strncmp(k->x->dockerfile, path, n) && k->x->dockerfile[n] == '/';
}

static int put_dir(struct pack *k, int dir, const char *below, unsigned depth);

static int put_entry(struct pack *k, int dir, const char *name, const char *path, unsigned depth)
{
	CLEANUP(fd_closep) int sub = -1;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return sys_failed(k, errno, path);
	if (S_ISDIR(st.st_mode)) {
		bool want = wanted(k, path);

		if (!want && !ignore_may_want_below(k->x->ignore, path) && !leads_to_dockerfile(k, path))
			return 0;
		sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			return sys_failed(k, errno, path);
		return want && put_header(k, path, &st, NULL) < 0 ? -1 : put_dir(k, sub, path, depth + 1);
	}
	if (!wanted(k, path) || S_ISSOCK(st.st_mode))
		return 0;
	if (S_ISREG(st.st_mode))
		return put_file(k, dir, name, path);
	if (!S_ISLNK(st.st_mode))
		return put_header(k, path, &st, NULL);
	n = readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return sys_failed(k, errno, path);
	target[n] = '\0';
	return put_header(k, path, &st, target);
}

static int put_dir(struct pack *k, int dir, const char *below, unsigned depth)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	CLEANUP(strv_freep) char **names = mem_zalloc(sizeof(*names));
	struct dirent *de;
	size_t n = 0;

	if (!d) {
		fd_closep(&again);
		return sys_failed(k, errno, below);
	}
	while ((de = readdir(d)))
		if (!str_eq(de->d_name, ".") && !str_eq(de->d_name, ".."))
			names = strv_push(names, &n, de->d_name);
	closedir(d);
	if (depth > DEPTH_MAX)
		return err_set(&k->x->err, ERR_INVALID, "'%.300s' is more than %d folders deep", below, DEPTH_MAX);
	qsort(names, n, sizeof(*names), by_text);
	for (char **name = names; *name && rc == 0; name++) {
		CLEANUP(mem_freep) char *path = *below ? mem_printf("%s/%s", below, *name) : mem_strdup(*name);

		rc = put_entry(k, dir, *name, path, depth);
	}
	return rc;
}

static int put_extra(struct pack *k)
{
	struct stat st = { .st_mode = S_IFREG | 0644, .st_size = (off_t)k->x->extra_len };

	st.st_mtim.tv_sec = time(NULL);
	if (put_header(k, k->x->extra_name, &st, NULL) < 0)
		return -1;
	return archive_write_data(k->a, k->x->extra, k->x->extra_len) < 0 ? failed(k, k->x->extra_name) : 0;
}

static int pack_all(struct pack *k)
{
	CLEANUP(fd_closep) int dir = -1;

	if (k->x->dir) {
		dir = open(k->x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return err_errno(&k->x->err, errno, "unable to prepare context: %s", k->x->dir);
		if (put_dir(k, dir, "", 0) < 0)
			return -1;
	}
	if (k->x->extra_name && put_extra(k) < 0)
		return -1;
	return archive_write_close(k->a) != ARCHIVE_OK || k->broken ? failed(k, "the archive") : 0;
}

int buildctx_pack(struct buildctx *x)
{
	struct pack *k = mem_zalloc(sizeof(*k));
	int rc;

	k->x = x;
	k->a = archive_write_new();
	archive_write_set_format_pax_restricted(k->a);
	archive_write_set_bytes_per_block(k->a, BLOCK);
	archive_write_set_bytes_in_last_block(k->a, 1);
	rc = archive_write_open(k->a, k, NULL, on_write, NULL);
	rc = rc != ARCHIVE_OK ? failed(k, "the archive") : pack_all(k);
	if (rc < 0) {
		k->broken = true;
		memset(k->block, 'x', sizeof(k->block));
		(void)file_write_all(x->fd, k->block, sizeof(k->block));	/* whoever reads may be gone */
	}
	archive_write_free(k->a);
	free(k);
	(void)close(x->fd);
	x->fd = -1;
	return rc;
}

struct ignore *buildctx_ignore(const char *dir, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/.dockerignore", dir);
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	struct ignore *ig;
	int rc = file_read_at(AT_FDCWD, path, IGNORE_MAX, &text);

	err_clear(e);
	if (rc == -ENOENT)
		return NULL;
	if (rc < 0) {
		err_errno(e, -rc, "read %s", path);
		return NULL;
	}
	ig = ignore_parse(text.data ? text.data : "", text.len, e);
	if (!ig)
		err_wrap(e, "error reading %s", path);
	return ig;
}
