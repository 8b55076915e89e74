/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading json-file logs, rotated ones (path.1 is the youngest) included. Pieces of 64 KiB are read in turns of the loop, so that
 * a log of gigabytes holds nobody up; following waits on inotify. A line without its end is kept until the rest comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "engine/engine_priv.h"

enum { PIECE = 64 << 10, ROTATED_MAX = 1000 };

struct engine_logs {
	struct engine *en;
	char id[ID_LEN + 1];
	char *path;
	struct engine_logs_args a;
	struct engine_logs_ops ops;
	void *user;
	int fd, watch;
	unsigned index;			/* rotated files still to read: path.<index>, 0 is path itself */
	off_t start;			/* where to begin in the first file */
	struct buf part;
	struct loop_io *io;
	bool paused, cancelled, ended, scheduled, last_pass;
	struct engine_logs *next, **link;	/* followers */
};

static void step(void *user);

static void schedule(struct engine_logs *lg)
{
	if (lg->scheduled || lg->paused || lg->cancelled)
		return;
	lg->scheduled = true;
	loop_defer(lg->en->l, step, lg);
}

static void free_logs(struct engine_logs *lg)
{
	if (lg->link) {
		*lg->link = lg->next;
		if (lg->next)
			lg->next->link = lg->link;
	}
	loop_io_free(lg->io);
	if (lg->watch >= 0)
		close(lg->watch);
	if (lg->fd >= 0)
		close(lg->fd);
	buf_done(&lg->part);
	free(lg->path);
	free(lg);
}

static void finish(struct engine_logs *lg, const struct err *e)
{
	lg->ended = true;
	if (!lg->cancelled)
		lg->ops.end(lg->user, e);
	free_logs(lg);
}

static char *file_name(const struct engine_logs *lg, unsigned index)
{
	return index ? mem_printf("%s.%u", lg->path, index) : mem_strdup(lg->path);
}

static void emit(struct engine_logs *lg, const char *line, size_t n)
{
	json_t *doc = json_loadb(line, n, 0, NULL);
	const json_t *log = json_object_get(doc, "log");
	const char *time = json_str(doc, "time", "");
	int stream = str_eq(json_str(doc, "stream", ""), "stderr") ? 2 : 1;
	int64_t ns = 0;

	/* A line that is not ours (a torn write of a crash) is passed over. */
	if (!json_is_string(log) || !(stream == 2 ? lg->a.want_stderr : lg->a.want_stdout))
		goto out;
	if (lg->a.since_ns || lg->a.until_ns) {
		if (str_to_time_ns(time, 0, &ns) < 0)
			goto out;
		if (lg->a.since_ns && ns < lg->a.since_ns)
			goto out;
		if (lg->a.until_ns && ns > lg->a.until_ns) {
			lg->last_pass = true;
			lg->a.follow = false;
			goto out;
		}
	}
	if (lg->a.timestamps) {
		struct buf b = BUF_INIT;

		b.limit = json_string_length(log) + 64;
		/* Go's layout keeps nine digits of the fraction. */
		if (strchr(time, '.') && str_ends(time, "Z"))
			buf_printf(&b, "%.*s%.*sZ ", (int)strlen(time) - 1, time, (int)(strlen(time) < 30 ? 30 - strlen(time) : 0), "000000000");
		else
			buf_printf(&b, "%s ", time);
		buf_add(&b, json_string_value(log), json_string_length(log));
		lg->ops.line(lg->user, stream, b.data, b.len);
		buf_done(&b);
	} else {
		lg->ops.line(lg->user, stream, json_string_value(log), json_string_length(log));
	}
out:
	json_decref(doc);
}

/* Takes whole lines off part. */
static void lines(struct engine_logs *lg)
{
	size_t at = 0;

	while (!lg->cancelled) {
		const char *p = lg->part.data + at, *end = lg->part.len > at ? memchr(p, '\n', lg->part.len - at) : NULL;

		if (!end)
			break;
		emit(lg, p, (size_t)(end - p));
		at += (size_t)(end - p) + 1;
	}
	buf_consume(&lg->part, at);
}

static bool alive(const struct engine_logs *lg)
{
	const struct container *c = map_get(lg->en->by_id, lg->id);

	return c && c->phase != PHASE_IDLE && c->phase != PHASE_REMOVING;
}

/* The file at path is another one than ours: the monitor has rotated. */
static bool rotated(const struct engine_logs *lg)
{
	struct stat a, b;

	return fstat(lg->fd, &a) == 0 && stat(lg->path, &b) == 0 && (a.st_ino != b.st_ino || a.st_dev != b.st_dev);
}

static void on_watch(void *user, unsigned events)
{
	struct engine_logs *lg = user;
	char junk[4096];

	while (read(lg->watch, junk, sizeof(junk)) > 0)
		;
	schedule(lg);
}

/* 1: something was read, 0: nothing more now. */
static int read_piece(struct engine_logs *lg)
{
	char *name CLEANUP(mem_freep) = NULL;
	char piece[PIECE];
	ssize_t n;

	if (lg->fd < 0) {
		name = file_name(lg, lg->index);
		lg->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (lg->fd < 0) {
			if (lg->index > 0) {
				lg->index--;
				return 1;
			}
			return 0;
		}
		if (lg->start > 0)
			(void)lseek(lg->fd, lg->start, SEEK_SET);
		lg->start = 0;
	}
	n = read(lg->fd, piece, sizeof(piece));
	if (n > 0) {
		if (buf_add(&lg->part, piece, (size_t)n) < 0)
			buf_reset(&lg->part);	/* a line of 16 MiB is none of ours */
		lines(lg);
		return 1;
	}
	if (lg->index > 0 || rotated(lg)) {
		close(TAKE_FD(lg->fd));
		lg->index -= lg->index > 0;
		return 1;
	}
	return 0;
}

static void step(void *user)
{
	struct engine_logs *lg = user;
	bool was_alive, more;

	lg->scheduled = false;
	if (lg->cancelled) {
		free_logs(lg);
		return;
	}
	if (lg->paused)
		return;
	was_alive = alive(lg);
	more = read_piece(lg) > 0;
	if (lg->cancelled) {
		free_logs(lg);
		return;
	}
	if (lg->last_pass && !lg->a.follow)
		finish(lg, NULL);
	else if (more)
		schedule(lg);
	else if (!lg->a.follow || !was_alive)
		finish(lg, NULL);	/* was_alive was asked before the read: nothing can have been missed */
}

void logs_notify(struct container *c)
{
	for (struct engine_logs *lg = c->en->followers; lg; lg = lg->next) {
		if (!strcmp(lg->id, c->id))
			schedule(lg);
	}
}

/* Where the last `tail` lines begin: file index and offset. */
static void seek_tail(struct engine_logs *lg, unsigned oldest)
{
	int64_t need = lg->a.tail;
	char piece[PIECE];

	for (unsigned index = 0; index <= oldest; index++) {
		char *name CLEANUP(mem_freep) = file_name(lg, index);
		int fd CLEANUP(fd_closep) = open(name, O_RDONLY | O_CLOEXEC);
		off_t at = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
		bool last_byte = true;

		while (at > 0) {
			size_t n = at > PIECE ? PIECE : (size_t)at;
			ssize_t got = pread(fd, piece, n, at - (off_t)n);

			if (got != (ssize_t)n)
				break;
			for (size_t i = n; i-- > 0;) {
				if (piece[i] != '\n') {
					last_byte = false;
					continue;
				}
				if (last_byte) {
					last_byte = false;
					continue;	/* the end of the last line, not the beginning of another */
				}
				if (--need == 0) {
					lg->index = index;
					lg->start = at - (off_t)n + (off_t)i + 1;
					return;
				}
			}
			at -= (off_t)n;
		}
		if (fd >= 0 && lseek(fd, 0, SEEK_END) > 0 && --need == 0) {
			lg->index = index;
			lg->start = 0;
			return;
		}
	}
	lg->index = oldest;
}

struct engine_logs *engine_logs(struct engine *en, const char *ref, const struct engine_logs_args *a, const struct engine_logs_ops *ops, void *user, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct engine_logs *lg;
	unsigned oldest = 0;

	if (!c)
		return NULL;
	if (str_eq(doc_log_driver(c), "none")) {
		err_set(e, ERR_NOT_IMPLEMENTED, "configured logging driver does not support reading");
		return NULL;
	}
	lg = mem_zalloc(sizeof(*lg));
	lg->en = en;
	memcpy(lg->id, c->id, sizeof(lg->id));
	lg->path = doc_log_path(c);
	lg->a = *a;
	lg->ops = *ops;
	lg->user = user;
	lg->fd = lg->watch = -1;
	buf_init(&lg->part, 16 << 20);
	while (oldest < ROTATED_MAX) {
		char *name CLEANUP(mem_freep) = file_name(lg, oldest + 1);

		if (access(name, F_OK) < 0)
			break;
		oldest++;
	}
	if (a->follow) {
		char *dir CLEANUP(mem_freep) = container_dir(c);

		/* The directory: it sees the file's writes, its first creation and its rotation. */
		lg->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		(void)file_mkdir_p(dir, 0711);
		if (lg->watch < 0 || inotify_add_watch(lg->watch, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ATTRIB) < 0) {
			err_errno(e, errno, "cannot follow the log of container %.12s", c->id);
			free_logs(lg);
			return NULL;
		}
		lg->io = loop_io_new(en->l, lg->watch, LOOP_READ, on_watch, lg);
		lg->next = en->followers;
		lg->link = &en->followers;
		if (lg->next)
			lg->next->link = &lg->next;
		en->followers = lg;
	}
	if (a->tail < 0) {
		lg->index = oldest;
	} else if (a->tail == 0) {
		struct stat st;

		lg->start = stat(lg->path, &st) == 0 ? st.st_size : 0;
	} else {
		seek_tail(lg, oldest);
	}
	schedule(lg);
	return lg;
}

void engine_logs_pause(struct engine_logs *lg, bool paused)
{
	lg->paused = paused;
	if (!paused)
		schedule(lg);
}

void engine_logs_cancel(struct engine_logs *lg)
{
	if (lg->ended)
		return;
	lg->cancelled = true;
	if (!lg->scheduled) {
		lg->scheduled = true;	/* step() frees it: not from here, the call may come from line() */
		loop_defer(lg->en->l, step, lg);
	}
}
