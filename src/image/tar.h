/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_TAR_H
#define KEDGE_IMAGE_TAR_H

#include <stdbool.h>

#include <archive.h>
#include <archive_entry.h>

#include "image/split.h"
#include "image/unpack.h"

/*
 * A tar reader over a source: first a filter stage (gzip, zstd, xz, bzip2 or nothing), then the tar itself, so that the digest of the
 * uncompressed bytes comes out of the same pass. Nothing but tar is recognised: libarchive's other formats stay out of reach.
 */
struct tar;

/* split (may be NULL) sees the uncompressed bytes. */
struct tar *tar_open(const struct unpack_source *src, bool want_digest, struct split_writer *split, const char *what, struct err *e);
/* The bytes that fill the last block may be missing. The caller says tar_data_done() when it has all of an entry's data. */
void tar_set_lenient(struct tar *t);
void tar_data_done(struct tar *t);
/* The tar's own reader, for archive_read_next_header() and friends. */
struct archive *tar_archive(struct tar *t);
/* Reads what follows the tar's end up to the source's end, then the digest, if it was wanted. 0 or -1. */
int tar_finish(struct tar *t, char *diff, struct err *e);
void tar_free(struct tar *t);
/* The sentence for a failed read: the source's own errno if it was that. */
int tar_error(struct tar *t, struct err *e);

/* One step: 1 an entry, 0 the end, -1 an error. */
int tar_next(struct tar *t, struct archive_entry **entry, struct err *e);
/* The names as bytes, whatever the locale; NULL when absent. */
const char *tar_path(struct archive_entry *entry);
const char *tar_link(struct archive_entry *entry);

#endif
