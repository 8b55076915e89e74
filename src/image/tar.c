/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tar.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum {
	TAR_BLOCK = 64 * 1024,
	RATIO_MAX = 250,	/* honest layers shrink to a third; only zeros shrink to a thousandth */
};
/* So much may come out of little: a file system full of holes is no attack. */
#define RATIO_FROM ((uint64_t)1 << 30)
#define TAR_MAX ((uint64_t)1 << 40)	/* 1 TiB: more than any layer, less than for ever */

struct tar {
	struct archive *outer, *inner;
	struct unpack_source src;
	struct digest *digest;
	struct split_writer *split;
	const char *what;
	uint64_t nin, nout;
	const char *bomb;	/* which limit it went past */
	int src_errno;		/* the source failed with this */
	bool outer_failed, outer_end;
	bool lenient, between;	/* between: the last entry's data has been read, a header is next */
	char in[TAR_BLOCK], out[TAR_BLOCK];
};

static la_ssize_t outer_read(struct archive *a, void *user, const void **p)
{
	struct tar *t = user;
	ssize_t n = t->src.read(t->src.user, t->in, sizeof(t->in));

	if (n < 0) {
		t->src_errno = (int)-n;
		archive_set_error(a, (int)-n, "%s", strerror((int)-n));
		return ARCHIVE_FATAL;
	}
	t->nin += (uint64_t)n;
	*p = t->in;
	return n;
}

/* A bomb: NULL while it is none. */
static const char *limit_of(const struct tar *t)
{
	if (t->nout > TAR_MAX)
		return "it expands to more than 1 TiB, the limit for a layer";
	if (t->nout > RATIO_FROM && t->nout / RATIO_MAX > t->nin)
		return "it expands to more than 250 times its size, the limit above 1 GiB";
	return NULL;
}

static la_ssize_t inner_read(struct archive *a, void *user, const void **p)
{
	struct tar *t = user;
	la_ssize_t n;

	if (t->outer_end) {
		/* docker's own client leaves out what fills the last block: that, and nothing else, is made up for. */
		if (!t->lenient || !t->between || t->nout % 512 == 0)
			return 0;
		n = (la_ssize_t)(512 - t->nout % 512);
		memset(t->out, 0, (size_t)n);
		t->nout += (uint64_t)n;
		*p = t->out;
		return n;
	}
	n = archive_read_data(t->outer, t->out, sizeof(t->out));
	if (n < 0) {
		t->outer_failed = true;
		archive_set_error(a, archive_errno(t->outer), "%s", archive_error_string(t->outer) ? archive_error_string(t->outer) : "damaged");
		return ARCHIVE_FATAL;
	}
	if (n == 0) {
		t->outer_end = true;
		if (t->lenient)
			return inner_read(a, user, p);
	}
	t->nout += (uint64_t)n;
	t->bomb = limit_of(t);
	if (t->bomb) {
		archive_set_error(a, EFBIG, "%s", t->bomb);
		return ARCHIVE_FATAL;
	}
	if (t->digest)
		digest_update(t->digest, t->out, (size_t)n);
	if (t->split)
		split_bytes(t->split, t->out, (size_t)n);
	*p = t->out;
	return n;
}

void tar_set_lenient(struct tar *t)
{
	t->lenient = true;
}

void tar_data_done(struct tar *t)
{
	t->between = true;
}

int tar_error(struct tar *t, struct err *e)
{
	struct archive *a = t->outer_failed || !t->inner ? t->outer : t->inner;
	const char *why = archive_error_string(a);

	if (t->src_errno)
		return err_errno(e, t->src_errno, "read %s", t->what);
	if (t->bomb)
		return err_set(e, ERR_INVALID, "%s is refused: %s", t->what, t->bomb);
	return err_set(e, ERR_INVALID, "%s is no intact tar archive: %s", t->what, why ? why : "unknown damage");
}

struct tar *tar_open(const struct unpack_source *src, bool want_digest, struct split_writer *split, const char *what, struct err *e)
{
	struct tar *t = mem_alloc(sizeof(*t));
	struct archive_entry *entry;
	int rc;

	memset(t, 0, offsetof(struct tar, in));
	t->src = *src;
	t->what = what;
	t->split = split;
	t->digest = want_digest ? digest_new() : NULL;
	t->outer = archive_read_new();
	if (!t->outer)
		goto fail;
	/* Only filters that run inside the process: an unknown one would start a program. */
	archive_read_support_filter_gzip(t->outer);
	archive_read_support_filter_zstd(t->outer);
	archive_read_support_filter_xz(t->outer);
	archive_read_support_filter_bzip2(t->outer);
	archive_read_support_format_raw(t->outer);
	archive_read_support_format_empty(t->outer);
	rc = archive_read_open(t->outer, t, NULL, outer_read, NULL);
	if (rc == ARCHIVE_OK)
		rc = archive_read_next_header(t->outer, &entry);
	if (rc == ARCHIVE_EOF)
		t->outer_end = true;
	else if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		goto fail;
	t->inner = archive_read_new();
	if (!t->inner)
		goto fail;
	archive_read_support_format_tar(t->inner);
	archive_read_support_format_empty(t->inner);
	if (archive_read_open(t->inner, t, NULL, inner_read, NULL) != ARCHIVE_OK)
		goto fail;
	return t;
fail:
	if (t->outer)
		tar_error(t, e);
	else
		err_errno(e, ENOMEM, "read %s", what);
	tar_free(t);
	return NULL;
}

struct archive *tar_archive(struct tar *t)
{
	return t->inner;
}

int tar_next(struct tar *t, struct archive_entry **entry, struct err *e)
{
	for (;;) {
		int rc;

		t->between = true;
		rc = archive_read_next_header(t->inner, entry);
		t->between = false;
		if (rc == ARCHIVE_OK || rc == ARCHIVE_WARN)
			return 1;
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc != ARCHIVE_RETRY)
			return tar_error(t, e);
	}
}

int tar_finish(struct tar *t, char *diff, struct err *e)
{
	const void *p;

	while (!t->outer_end)
		if (inner_read(t->inner, t, &p) < 0)
			return tar_error(t, e);
	if (t->digest)
		digest_end_take(TAKE(t->digest), diff);
	return 0;
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	if (t->inner)
		archive_read_free(t->inner);
	if (t->outer)
		archive_read_free(t->outer);
	digest_end_take(t->digest, NULL);
	free(t);
}

/* A name that does not convert to the locale is kept as it stands in the archive; only pax names without a plain form need UTF-8. */
const char *tar_path(struct archive_entry *entry)
{
	const char *p = archive_entry_pathname(entry);

	return p ? p : archive_entry_pathname_utf8(entry);
}

const char *tar_link(struct archive_entry *entry)
{
	const char *p = archive_entry_hardlink(entry);

	if (!p)
		p = archive_entry_hardlink_utf8(entry);
	if (!p)
		p = archive_entry_symlink(entry);
	return p ? p : archive_entry_symlink_utf8(entry);
}
