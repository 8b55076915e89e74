/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_SPLIT_H
#define KEDGE_IMAGE_SPLIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * What a layer's tar holds beside the contents of its files, kept beside the unpacked tree, so that the tar can be written out again
 * byte for byte: its digest is in the config of every image that stands on the layer.
 */
struct split_writer;

/* keep: folder of the layer (borrowed), the record becomes "tar" in it. NULL with e. */
struct split_writer *split_writer_new(int keep, struct err *e);
/* The uncompressed tar, as it passes by. */
void split_bytes(struct split_writer *w, const void *p, size_t n);
/* The file of the entry whose first header lies at this offset is unpacked: its whole content lies under path. */
void split_file(struct split_writer *w, int64_t header_at, uint64_t size, const char *path);
/* dirfd/name gives way to a later entry of the same path: the content is moved aside. 0 or -errno. */
int split_displace(struct split_writer *w, int dirfd, const char *name, const char *path);
/* Content is gone for which there is no place: the tar cannot be had again, which is no error for the layer's use. */
void split_lose(struct split_writer *w);
/* Everything is written, or there is no record. 0 or -1 with e. */
int split_end(struct split_writer *w, struct err *e);
void split_writer_free(struct split_writer *w);

struct split_reader;
/* layer: folder with "tar" and "fs" (borrowed). NULL with e. */
struct split_reader *split_open(int layer, const char *what, struct err *e);
/* An unpack_source's read: the tar's bytes; -errno, the sentence is in split_error(). */
ssize_t split_read(void *reader, void *p, size_t n);
uint64_t split_size(const struct split_reader *r);	/* of the whole tar */
const struct err *split_error(const struct split_reader *r);
void split_reader_free(struct split_reader *r);

#endif
