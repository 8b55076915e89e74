/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_LOGENC_H
#define KEDGE_RUNTIME_MONITOR_LOGENC_H

#include <stddef.h>
#include <stdint.h>

/* docker's json-file record, byte for byte as dockerd writes it. Pure: bytes in, bytes out. */
enum {
	LOGENC_LINE = 16 * 1024,	/* longer lines become several records, all but the last without "\n" */
	LOGENC_STAMP = 32,
	LOGENC_OVER = 128,		/* of one record beside its text, with slack for stores of 16 bytes */
};
/* The most that n bytes of text can become: each byte a \u00XX. */
#define LOGENC_MAX(n) (6 * (n) + LOGENC_OVER)

/* "2024-01-02T03:04:05.12Z": RFC3339Nano as Go prints it, without trailing zeros. Returns the length; remembers the second. */
struct logenc_clock { int64_t second; char text[24]; };
size_t logenc_stamp(struct logenc_clock *c, int64_t ns, char *out);

/*
 * What records of one batch have in common: ","stream":"stdout",<attrs>"time":"<stamp>"}\n. stream: 1 or 2; attrs: members with a comma behind each, or NULL. out
 * has LOGENC_OVER bytes and room for attrs. Returns the length.
 */
size_t logenc_tail(char *out, int stream, const char *attrs, const char *stamp);
/* {"log":"..., then the tail. out has LOGENC_MAX(n) bytes and room for attrs. Returns the length. */
size_t logenc_record(char *out, const char *p, size_t n, const char *tail, size_t tail_len);

/* Where to cut a line of more than max bytes: at max, or up to 3 bytes before so that no UTF-8 sequence is torn. */
size_t logenc_cut(const char *p, size_t max);

#endif
