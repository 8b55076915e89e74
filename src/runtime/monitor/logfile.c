/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Records gather in one buffer and go out in one write(2) a batch of input: the file is O_APPEND, so a reader sees whole batches, and a
 * log truncated by an operator simply goes on at its new end. What a failed write has left of a record is cut off again; the last
 * byte of the file is always a record's newline. Nothing is fsynced: the promise is that the engine's or the monitor's death loses nothing, not
 * that a power cut does not.
 *
 * Rotation is docker's: when the file has reached max bytes, path.N-1 becomes path.N, ..., path becomes path.1 and a new file begins; with one
 * file only it is truncated. If a step fails (no space for the new inode) the old file goes on, and the next batch tries again.
 */
#include "runtime/monitor/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static int open_log(const char *path, int flags)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | flags, 0640);
}

int logfile_open(struct logfile *f, const char *path, uint64_t max, unsigned files, char *room, struct err *e)
{
	struct stat st;

	*f = (struct logfile){ .fd = open_log(path, 0), .path = path, .max = max, .files = files ? files : 1, .room = room };
	if (f->fd < 0)
		return err_errno(e, errno, "open log file '%s'", path);
	if (!fstat(f->fd, &st)) {
		char last;

		f->size = (uint64_t)st.st_size;
		/* A power cut may have left half a record: begin a line of our own, readers skip the torn one. */
		if (st.st_size > 0) {
			int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);

			if (fd >= 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n' && write(f->fd, "\n", 1) == 1)
				f->size++;
			fd_closep(&fd);
		}
	}
	return 0;
}

static void rotate(struct logfile *f)
{
	struct stat st;
	int fd, lock = -1;

	if (fstat(f->fd, &st) == 0 && (uint64_t)st.st_size < f->max) {
		f->size = (uint64_t)st.st_size;	/* somebody else has truncated it */
		return;
	}
	if (f->files == 1) {
		if (ftruncate(f->fd, 0) == 0)
			f->size = 0;
		return;
	}
	if (f->compress) {
		lock = logfile_lock(f->path, false);
		if (lock < 0)
			return;		/* the next batch tries again */
	}
	for (unsigned i = f->files - 1; i > 0; i--) {
		char from[4200], to[4200];

		/* Plain or compressed: each takes its number on, and what had it before goes. A gap in the sequence is fine. */
		snprintf(to, sizeof(to), "%s.%u.gz", f->path, i);
		snprintf(from, sizeof(from), "%s.%u.gz", f->path, i - 1);
		if (i == 1 || rename(from, to) < 0)
			(void)unlink(to);
		snprintf(to, sizeof(to), "%s.%u", f->path, i);
		snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", f->path, i - 1);
		if (rename(from, to) < 0 && i > 1)
			(void)unlink(to);
	}
	fd_closep(&lock);
	fd = open_log(f->path, 0);
	if (fd < 0)
		return;
	(void)close(f->fd);
	f->fd = fd;
	f->size = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	if (f->compress)
		logfile_compress(f->path, f->files);
}

static uint64_t count_records(const char *p, size_t n)
{
	uint64_t k = 0;

	for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		k++;
	return k;
}

/* Bytes of whole records that are in the file afterwards; *err: why not all of them. */
static size_t put(struct logfile *f, const char *p, size_t n, int *err)
{
	size_t done = 0, keep;
	struct stat st;

	*err = 0;
	if (f->torn && write(f->fd, "\n", 1) == 1)
		f->torn = false;
	while (done < n) {
		ssize_t r = write(f->fd, p + done, n - done);

		if (r > 0) {
			done += (size_t)r;
		} else if (r == 0 || errno != EINTR) {
			*err = r ? errno : ENOSPC;
			break;
		}
	}
	if (!*err)
		return n;
	for (keep = done; keep > 0 && p[keep - 1] != '\n'; keep--)
		;
	if (keep < done && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size >= done - keep &&
	    ftruncate(f->fd, st.st_size - (off_t)(done - keep)) < 0)
		f->torn = true;		/* end it with a newline before anything else follows */
	return keep;
}

static void lose(struct logfile *f, const char *p, size_t n, int err)
{
	uint64_t k = count_records(p, n);

	f->lost += k;
	f->lost_total += k;
	f->lost_err = err;
}

/* Writing works again, or is tried: first say what is missing. False: it still does not work. */
static bool put_notice(struct logfile *f)
{
	char text[160], rec[LOGENC_MAX(sizeof(text))], stamp[LOGENC_STAMP], tail[LOGENC_OVER];
	size_t n;
	int err;

	snprintf(text, sizeof(text), "kedge: %llu lines of output are missing here, the log could not be written: %s\n",
		 (unsigned long long)f->lost, strerror(f->lost_err));
	(void)logenc_stamp(&f->clock, clock_wall(), stamp);
	n = logenc_record(rec, text, strlen(text), tail, logenc_tail(tail, 2, NULL, stamp));
	if (put(f, rec, n, &err) < n)
		return false;
	f->size += n;
	f->lost = 0;
	return true;
}

void logfile_flush(struct logfile *f)
{
	size_t n = f->fill, done;
	int err;

	f->fill = 0;
	if (!n || f->fd < 0)
		return;
	if (f->max && f->size >= f->max)
		rotate(f);
	if (f->lost && !put_notice(f)) {
		lose(f, f->room, n, f->lost_err);
		return;
	}
	done = put(f, f->room, n, &err);
	f->size += done;
	if (done < n)
		lose(f, f->room + done, n - done, err);
}

void logfile_begin(struct logfile *f, int stream, int64_t now_ns)
{
	char stamp[LOGENC_STAMP];

	(void)logenc_stamp(&f->clock, now_ns, stamp);
	f->tail_len = logenc_tail(f->tail, stream, f->attrs, stamp);
}

void logfile_add(struct logfile *f, const char *p, size_t n)
{
	if (f->fd < 0)
		return;
	if (f->fill + LOGENC_MAX(n) + LOGFILE_ATTRS > LOGFILE_ROOM || (f->max && f->size + f->fill >= f->max))
		logfile_flush(f);
	f->fill += logenc_record(f->room + f->fill, p, n, f->tail, f->tail_len);
}

void logfile_done(struct logfile *f)
{
	if (f->fd < 0)
		return;
	logfile_flush(f);
	if (f->lost)
		(void)put_notice(f);
	(void)close(f->fd);
	f->fd = -1;
}
