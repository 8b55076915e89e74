/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/copy.h"

/*
 * The first half of COPY and ADD: patterns to items, items to one checksum. The sum is over what a copy can see: names, types, modes,
 * contents, targets of links; not owners and times, which a copy sets itself or which say nothing.
 */
enum { ITEMS_MAX = 1000 * 1000, READ_SIZE = 256 * 1024 };

const char *build_copy_word(const struct build_copy *c)
{
	return c->add ? "ADD" : "COPY";
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int build_names(int dirfd, char ***ret)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	char **names = mem_zalloc(sizeof(*names));
	size_t n = 0;
	int rc;

	if (!d) {
		rc = -errno;
		fd_closep(&fd);
		strv_free(names);
		return rc;
	}
	while (errno = 0, (de = readdir(d)))
		if (!str_eq(de->d_name, ".") && !str_eq(de->d_name, ".."))
			names = strv_push(names, &n, de->d_name);
	rc = -errno;
	closedir(d);
	if (rc < 0) {
		strv_free(names);
		return rc;
	}
	qsort(names, n, sizeof(*names), by_text);
	*ret = names;
	return 0;
}

bool build_excluded(const struct build_copy *c, const char *below)
{
	return c->exclude && ignore_match(c->exclude, below);
}

static int stopped(const struct build_copy *c, struct err *e)
{
	return c->stop && atomic_load(c->stop) ? err_set(e, ERR_UNAVAILABLE, "the build was cancelled") : 0;
}

/* "./a/../b/" to "b"; what leads out of the context is refused. */
static char *clean_source(const struct build_copy *c, const char *path, struct err *e)
{
	char *out = mem_alloc(strlen(path) + 2);
	size_t n = 0;

	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.') {
			if (!n && *path != '/') {
				err_set(e, ERR_INVALID, "%s failed: forbidden path outside the build context: %.300s ()", build_copy_word(c), path);
				free(out);
				return NULL;
			}
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && *p == '.')) {
			if (n)
				out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
		p += strspn(p, "/");
	}
	out[n] = '\0';
	return out;
}

static int not_found(const struct build_copy *c, const char *path, struct err *e)
{
	return err_set(e, ERR_INVALID, "%s failed: %sstat %.300s: file does not exist", build_copy_word(c),
		       c->context ? "file not found in build context or excluded by .dockerignore: " : "", *path ? path : "/");
}

static int add_item(struct build_copy *c, const char *path, struct err *e)
{
	CLEANUP(fd_closep) int fd = file_open_in_root(c->source, *path ? path : ".", O_PATH, 0);
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (c->nitems == ITEMS_MAX)
		return err_set(e, ERR_INVALID, "%s failed: more than %d sources", build_copy_word(c), ITEMS_MAX);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return not_found(c, path, e);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, fd < 0 ? -fd : errno, "%s failed: stat %.300s", build_copy_word(c), path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, "%s failed: %.300s is neither a file nor a directory", build_copy_word(c), path);
	if ((c->nitems & (c->nitems - 1)) == 0)
		c->items = mem_realloc(c->items, (c->nitems ? c->nitems * 2 : 1) * sizeof(*c->items));
	c->items[c->nitems++] = (struct build_item){ .path = mem_strdup(path), .name = mem_strdup(slash ? slash + 1 : path), .type = st.st_mode & S_IFMT };
	return 0;
}

static bool has_wildcard(const char *s)
{
	return strpbrk(s, "*?[\\");
}

/* The rest of a pattern below a directory whose path is `at`. Links are not entered: a walk does not follow them. */
static int glob(struct build_copy *c, int dir, const char *at, const char *pattern, unsigned depth, struct err *e)
{
	size_t n = strcspn(pattern, "/");
	CLEANUP(mem_freep) char *part = mem_strndup(pattern, n);
	const char *rest = pattern + n + strspn(pattern + n, "/");
	CLEANUP(strv_freep) char **names = NULL;
	int rc;

	if (depth > BUILD_DEPTH_MAX)
		return err_set(e, ERR_INVALID, "%s failed: the pattern is too deep", build_copy_word(c));
	if (stopped(c, e) < 0)
		return -1;
	rc = build_names(dir, &names);
	if (rc < 0)
		return err_errno(e, -rc, "%s failed: read %.300s", build_copy_word(c), at);
	for (char **name = names; *name; name++) {
		CLEANUP(mem_freep) char *path = NULL;
		CLEANUP(fd_closep) int sub = -1;

		if (!str_glob(part, *name))
			continue;
		path = *at ? mem_printf("%s/%s", at, *name) : mem_strdup(*name);
		if (!*rest) {
			if (build_excluded(c, *name))
				continue;
			if (add_item(c, path, e) < 0)
				return -1;
			continue;
		}
		sub = openat(dir, *name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0 && glob(c, sub, path, rest, depth + 1, e) < 0)
			return -1;
	}
	return 0;
}

static int find_pattern(struct build_copy *c, const char *pattern, struct err *e)
{
	CLEANUP(mem_freep) char *path = clean_source(c, pattern, e);

	if (!path)
		return -1;
	if (c->add && (str_starts(pattern, "http://") || str_starts(pattern, "https://") || str_starts(pattern, "git@") || str_starts(pattern, "git://")))
		return err_set(e, ERR_NOT_IMPLEMENTED, "ADD failed: '%.300s' is an address: this engine fetches nothing for ADD, use RUN with curl or wget, or "
						       "bring the file in the context", pattern);
	if (!has_wildcard(path))
		return add_item(c, path, e);
	return glob(c, c->source, "", path, 0, e);
}

/* Sums. */

struct sum {
	struct build_copy *c;
	struct digest *d;
	char *io;
	struct err *e;
};

static int sum_head(struct sum *s, char kind, const char *name, mode_t mode, uint64_t size)
{
	char head[64];
	int n = snprintf(head, sizeof(head), "%c %o %llu ", kind, (unsigned)(mode & 07777), (unsigned long long)size);

	digest_update(s->d, head, (size_t)n);
	digest_update(s->d, name, strlen(name) + 1);
	return 0;
}

static int sum_file(struct sum *s, int fd, const char *name, const struct stat *st)
{
	ssize_t n;

	sum_head(s, 'f', name, st->st_mode, (uint64_t)st->st_size);
	while ((n = read(fd, s->io, READ_SIZE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(s->e, errno, "%s failed: read %.300s", build_copy_word(s->c), name);
		if (stopped(s->c, s->e) < 0)
			return -1;
		digest_update(s->d, s->io, (size_t)n);
	}
	return 0;
}

static int sum_dir(struct sum *s, int dir, const char *below, unsigned depth);

static int sum_entry(struct sum *s, int dir, const char *name, const char *below, unsigned depth)
{
	CLEANUP(fd_closep) int fd = -1;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(s->e, errno, "%s failed: stat %.300s", build_copy_word(s->c), below);
	/* Decided at one moment: what is a pipe or a device is never opened. */
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return err_errno(s->e, errno, "%s failed: open %.300s", build_copy_word(s->c), below);
		return sum_file(s, fd, below, &st);
	case S_IFDIR:
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_errno(s->e, errno, "%s failed: open %.300s", build_copy_word(s->c), below);
		sum_head(s, 'd', below, st.st_mode, 0);
		return sum_dir(s, fd, below, depth + 1);
	case S_IFLNK:
		n = readlinkat(dir, name, target, sizeof(target));
		if (n < 0)
			return err_errno(s->e, errno, "%s failed: read the link %.300s", build_copy_word(s->c), below);
		sum_head(s, 'l', below, 0, (uint64_t)n);
		digest_update(s->d, target, (size_t)n);
		return 0;
	default:
		sum_head(s, 'o', below, st.st_mode, st.st_rdev);
		return 0;
	}
}

static int sum_dir(struct sum *s, int dir, const char *below, unsigned depth)
{
	CLEANUP(strv_freep) char **names = NULL;
	int rc = build_names(dir, &names);

	if (rc < 0)
		return err_errno(s->e, -rc, "%s failed: read %.300s", build_copy_word(s->c), below);
	if (depth > BUILD_DEPTH_MAX)
		return err_set(s->e, ERR_INVALID, "%s failed: %.300s is more than %d folders deep", build_copy_word(s->c), below, BUILD_DEPTH_MAX);
	for (char **n = names; *n; n++) {
		CLEANUP(mem_freep) char *path = *below ? mem_printf("%s/%s", below, *n) : mem_strdup(*n);

		if (stopped(s->c, s->e) < 0)
			return -1;
		if (!build_excluded(s->c, path) && sum_entry(s, dir, *n, path, depth) < 0)
			return -1;
	}
	return 0;
}

static int sum_item(struct sum *s, const struct build_item *it)
{
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;

	if (it->doc) {
		sum_head(s, 'f', it->name, 0644, strlen(it->doc->text));
		digest_update(s->d, it->doc->text, strlen(it->doc->text));
		return 0;
	}
	fd = file_open_in_root(s->c->source, *it->path ? it->path : ".", O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(s->e, fd < 0 ? -fd : errno, "%s failed: open %.300s", build_copy_word(s->c), it->path);
	if (it->type == S_IFREG)
		return sum_file(s, fd, it->path, &st);
	sum_head(s, 'd', "", st.st_mode, 0);
	return sum_dir(s, fd, "", 0);
}

static int sum_all(struct build_copy *c, struct err *e)
{
	struct sum s = { .c = c, .d = digest_new(), .io = mem_alloc(READ_SIZE), .e = e };
	const char *kind = c->nitems > 1 ? "multi" : c->items[0].type == S_IFDIR ? "dir" : "file";
	char hex[DIGEST_SIZE];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->nitems; i++)
		rc = sum_item(&s, &c->items[i]);
	digest_end_take(s.d, hex);
	free(s.io);
	snprintf(c->sum, sizeof(c->sum), "%s:%s", kind, hex + strlen("sha256:"));
	return rc;
}

int build_copy_find(struct build_copy *c, struct err *e)
{
	for (char **p = c->patterns; p && *p; p++)
		if (find_pattern(c, *p, e) < 0)
			return -1;
	for (size_t i = 0; i < c->ndocs; i++) {
		if ((c->nitems & (c->nitems - 1)) == 0)
			c->items = mem_realloc(c->items, (c->nitems ? c->nitems * 2 : 1) * sizeof(*c->items));
		c->items[c->nitems++] = (struct build_item){ .name = mem_strdup(c->docs[i].name), .doc = &c->docs[i], .type = S_IFREG };
	}
	if (!c->nitems)
		return err_set(e, ERR_INVALID, "%s failed: no source files were specified", build_copy_word(c));
	if (c->nitems > 1 && !c->dest_slash)
		return err_set(e, ERR_INVALID, "When using %s with more than one source file, the destination must be a directory and end with a /",
			       build_copy_word(c));
	return sum_all(c, e);
}

void build_copy_done(struct build_copy *c)
{
	for (size_t i = 0; i < c->nitems; i++) {
		free(c->items[i].path);
		free(c->items[i].name);
	}
	free(c->items);
	c->items = NULL;
	c->nitems = 0;
}
