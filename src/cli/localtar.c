/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/localtar.h"

enum { BLOCK = 64 * 1024 };

/* `name` with its leading `from` replaced. The caller frees; NULL: it does not begin with it. */
static char *renamed(const struct localtar *t, const char *name)
{
	size_t n = strlen(t->from);

	if (str_eq(t->from, t->to))
		return mem_strdup(name);
	if (strncmp(name, t->from, n) || (n && name[n] && name[n] != '/'))
		return NULL;
	return mem_printf("%s%s", t->to, name + n);
}

static int failed(struct archive *a, struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "%s: %s", what, archive_error_string(a) ? archive_error_string(a) : "failed");
}

static int pack_data(struct localtar *t, struct archive *out, const char *path, int64_t size)
{
	int fd CLEANUP(fd_closep) = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char *block CLEANUP(mem_freep) = mem_alloc(BLOCK);

	if (fd < 0)
		return err_errno(&t->err, errno, "open %s", path);
	t->bytes += (unsigned long long)size;
	while (size > 0) {
		ssize_t n = read(fd, block, size > BLOCK ? BLOCK : (size_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? err_errno(&t->err, errno, "read %s", path) : err_set(&t->err, ERR_INVALID, "%s became shorter while it was read", path);
		if (archive_write_data(out, block, (size_t)n) < 0)
			return failed(out, &t->err, "send the archive");
		size -= n;
	}
	return 0;
}

/* One object of the walk. */
static int pack_one(struct localtar *t, struct archive *out, struct archive_entry_linkresolver *links, struct archive_entry *entry, size_t skip)
{
	const char *path = archive_entry_sourcepath(entry);
	char *file CLEANUP(mem_freep) = mem_strdup(path), *name CLEANUP(mem_freep) = NULL;
	struct archive_entry *spare = NULL;
	int r = 0;

	/* What lies behind the walk's beginning goes behind the name asked for. */
	name = mem_printf("%s%s", t->to, path + skip);
	archive_entry_set_pathname(entry, name);
	if (archive_entry_filetype(entry) == AE_IFSOCK)
		return 0;
	archive_entry_linkify(links, &entry, &spare);
	if (archive_write_header(out, entry) < ARCHIVE_WARN)
		return failed(out, &t->err, "send the archive");
	if (archive_entry_filetype(entry) == AE_IFREG && archive_entry_size(entry) > 0)
		r = pack_data(t, out, file, archive_entry_size(entry));
	return r;
}

int localtar_pack(struct localtar *t, bool follow)
{
	char *start CLEANUP(mem_freep) = mem_printf("%s/%s", t->dir, t->from);
	struct archive *in = archive_read_disk_new(), *out = archive_write_new();
	struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	int r, rc = -1;

	archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR_USTAR);
	archive_write_set_format_pax_restricted(out);
	archive_write_set_options(out, "xattrheader=SCHILY");
	archive_write_set_bytes_per_block(out, BLOCK);
	archive_write_set_bytes_in_last_block(out, 1);
	if (follow)
		archive_read_disk_set_symlink_hybrid(in);
	else
		archive_read_disk_set_symlink_physical(in);
	if (archive_write_open_fd(out, t->fd) != ARCHIVE_OK || archive_read_disk_open(in, start) != ARCHIVE_OK) {
		failed(in, &t->err, start);
		goto out;
	}
	for (;;) {
		struct archive_entry *entry = archive_entry_new();

		r = archive_read_next_header2(in, entry);
		if (r == ARCHIVE_OK || r == ARCHIVE_WARN) {
			archive_read_disk_descend(in);
			r = pack_one(t, out, links, entry, strlen(start));
		} else if (r == ARCHIVE_EOF) {
			rc = 0;
			r = -1;
		} else {
			r = failed(in, &t->err, start);
		}
		archive_entry_free(entry);
		if (r < 0)
			break;
	}
	if (rc == 0 && archive_write_close(out) != ARCHIVE_OK)
		rc = failed(out, &t->err, "send the archive");
out:
	archive_entry_linkresolver_free(links);
	archive_read_free(in);
	archive_write_free(out);
	close(TAKE_FD(t->fd));
	return rc;
}

/* docker's noOverwriteDirNonDir. */
static int check_place(struct localtar *t, const char *name, bool dir)
{
	struct stat st;

	if (lstat(name, &st) < 0 || S_ISDIR(st.st_mode) == dir)
		return 0;
	return dir ? err_set(&t->err, ERR_CONFLICT, "cannot overwrite non-directory \"%s/%s\" with directory \"%s\"", t->dir, name, t->dir) :
		     err_set(&t->err, ERR_CONFLICT, "cannot overwrite directory \"%s/%s\" with non-directory \"%s\"", t->dir, name, t->dir);
}

static int unpack_one(struct localtar *t, struct archive *in, struct archive *out, struct archive_entry *entry)
{
	const char *was = archive_entry_pathname(entry), *link = archive_entry_hardlink(entry), *name;
	char *path CLEANUP(mem_freep) = was ? renamed(t, was) : NULL, *target CLEANUP(mem_freep) = link ? renamed(t, link) : NULL;
	const void *p;
	la_int64_t at;
	size_t n;
	int r;

	if (!path || (link && !target))
		return 0;
	for (name = path; *name == '/'; name++)
		;
	if (!*name || str_eq(name, ".") || str_eq(name, "./"))
		return 0;
	archive_entry_set_pathname(entry, name);
	if (link) {
		for (link = target; *link == '/'; link++)
			;
		archive_entry_set_hardlink(entry, link);
	}
	if (check_place(t, name, archive_entry_filetype(entry) == AE_IFDIR) < 0)
		return -1;
	if (archive_write_header(out, entry) < ARCHIVE_WARN)
		return failed(out, &t->err, name);
	while ((r = archive_read_data_block(in, &p, &n, &at)) == ARCHIVE_OK) {
		t->bytes += n;
		if (archive_write_data_block(out, p, n, at) < ARCHIVE_WARN)
			return failed(out, &t->err, name);
	}
	if (r != ARCHIVE_EOF)
		return failed(in, &t->err, "the engine's archive");
	return archive_write_finish_entry(out) < ARCHIVE_WARN ? failed(out, &t->err, name) : 0;
}

int localtar_unpack(struct localtar *t)
{
	struct archive *in = archive_read_new(), *out = archive_write_disk_new();
	struct archive_entry *entry;
	int r, rc = -1;

	archive_read_support_format_tar(in);
	archive_read_support_format_empty(in);
	archive_write_disk_set_options(out, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_UNLINK | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
				       ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
	if (chdir(t->dir) < 0) {
		err_errno(&t->err, errno, "%s", t->dir);
		goto out;
	}
	if (archive_read_open_fd(in, t->fd, BLOCK) != ARCHIVE_OK) {
		failed(in, &t->err, "the engine's archive");
		goto out;
	}
	while ((r = archive_read_next_header(in, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (unpack_one(t, in, out, entry) < 0)
			goto out;
	}
	rc = r == ARCHIVE_EOF ? 0 : failed(in, &t->err, "the engine's archive");
	if (rc == 0 && archive_write_close(out) != ARCHIVE_OK)
		rc = failed(out, &t->err, "write the last folders");
out:
	archive_read_free(in);
	archive_write_free(out);
	if (rc < 0 && t->err.kind == ERR_NONE)
		err_set(&t->err, ERR_INTERNAL, "the archive could not be unpacked");
	close(TAKE_FD(t->fd));
	return rc;
}
