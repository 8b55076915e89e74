/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_LOGFILE_H
#define KEDGE_RUNTIME_MONITOR_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "runtime/monitor/logenc.h"

/*
 * ROOM holds what a full buffer of input (monitor_priv.h, STREAM_ROOM) becomes in lines of a hundred bytes: the kernel takes a byte for a third less when it
 * gets half a megabyte at once instead of a tenth. Under less load less of it is used.
 */
enum { LOGFILE_ATTRS = 8 * 1024, LOGFILE_ROOM = 512 * 1024 };

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
	char tail[LOGFILE_ATTRS + LOGENC_OVER];	/* of the records now */
	size_t tail_len;
	size_t fill;
	char *room;		/* LOGFILE_ROOM bytes, borrowed */
};

int logfile_open(struct logfile *f, const char *path, uint64_t max, unsigned files, char *room, struct err *e);
/* The records that follow come from this stream (1 or 2) and were read at now_ns. */
void logfile_begin(struct logfile *f, int stream, int64_t now_ns);
/* Text of one record; "\n" at its end included if it had one. */
void logfile_add(struct logfile *f, const char *p, size_t n);
void logfile_flush(struct logfile *f);
/* Flushes and closes. */
void logfile_done(struct logfile *f);

/* compress.c: <path>.1, in a child process. */
/* The folder's lock, for changing names while compression may; the caller closes. -1: another has it. */
int logfile_lock(const char *path, bool wait);
void logfile_compress(const char *path, unsigned files);

#endif
