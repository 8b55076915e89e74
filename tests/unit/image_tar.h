/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_IMAGE_TAR_H
#define KEDGE_TESTS_IMAGE_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* Archives written byte by byte, so that they can be as wrong as a test needs. */
struct tar_entry {
	const char *name;
	char type;		/* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' folder, '6' fifo, 'x' pax */
	const char *link;
	const void *data;
	size_t n;
	int64_t declared;	/* size in the header; 0: n */
	unsigned mode, uid, gid, major, minor;
	int64_t mtime;
	const char *pax;	/* records "key=value\n" without their lengths, or NULL */
};

void tar_put(struct buf *b, const struct tar_entry *t);
void tar_file(struct buf *b, const char *name, const char *text);
void tar_dir(struct buf *b, const char *name);
void tar_link_to(struct buf *b, char type, const char *name, const char *target);
void tar_end(struct buf *b);
/* gzip or zstd of src, by libarchive's writer. */
void tar_compress(const struct buf *src, const char *filter, struct buf *out);

#endif
