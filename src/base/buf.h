/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_BUF_H
#define KEDGE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte buffer with a limit. data is always NUL-terminated (not counted in len). */
struct buf {
	char *data;
	size_t len, cap;
	size_t limit;		/* 0: 64 MiB */
	bool failed;		/* an append went past limit; sticky, content is what fitted before */
};

#define BUF_INIT { 0 }

void buf_init(struct buf *b, size_t limit);
void buf_done(struct buf *b);
void buf_reset(struct buf *b);				/* empties, keeps the memory */
int buf_add(struct buf *b, const void *p, size_t n);	/* 0 or -ENOSPC */
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n);		/* drops n bytes at the front */
char *buf_take(struct buf *b);				/* the caller frees; never NULL */

#endif
