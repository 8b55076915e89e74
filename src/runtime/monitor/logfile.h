/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_LOGFILE_H
#define KEDGE_RUNTIME_MONITOR_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "runtime/monitor/logenc.h"

enum { LOGFILE_ATTRS = 8 * 1024, LOGFILE_ROOM = 160 * 1024 };	/* holds the largest record (LOGENC_MAX(LOGENC_LINE)) behind a good batch of small ones */

/*
 * One json-file log. A full or failing disk never stops the program: the records are dropped, counted, and once writing works again
 * a record on stderr says how many were lost. The file never holds half a record.
 */
struct logfile {
	int fd;			/* -1: no log */
	const char *path;	/* borrowed */
	uint64_t size, max;	/* max 0: no rotation */
	unsigned files;		/* of them all, the current one included; at least 1 */
	bool compress;		/* rotated ones become path.N.gz, in time */
	const char *attrs;	/* NULL, or what each record says beside its text: "\"attrs\":{..}," ; borrowed, at most LOGFILE_ATTRS bytes */
	uint64_t lost;		/* records, since the last notice */
	uint64_t lost_total;
	int lost_err;
	bool torn;
	struct logenc_clock clock;
	size_t fill;
	char *room;		/* LOGFILE_ROOM bytes, borrowed */
};

int logfile_open(struct logfile *f, const char *path, uint64_t max, unsigned files, char *room, struct err *e);
/* Text of one record; "\n" at its end included if it had one. */
void logfile_add(struct logfile *f, int stream, const char *p, size_t n, const char *stamp, size_t stamp_len);
void logfile_flush(struct logfile *f);
/* Flushes and closes. */
void logfile_done(struct logfile *f);

/* compress.c: <path>.1, in a child process. */
/* The folder's lock, for changing names while compression may; the caller closes. -1: another has it. */
int logfile_lock(const char *path, bool wait);
void logfile_compress(const char *path, unsigned files);

#endif
