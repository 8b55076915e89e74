/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A log is a chain of files: path is being written, path.1 was before it, path.2 before that, some of them compressed (path.2.gz). A pool
 * thread opens the chain, newest first: while it does, the monitor may rotate, which moves files towards it, so that one can be
 * met twice, which its inode tells, but none be missed. From then on the open descriptors are the chain, whatever the names become. When the
 * newest is read to its end and path names another file, what is newer than it is opened and joins the chain.
 *
 * Pieces of 64 KiB are read in turns of the loop, so that a log of gigabytes holds nobody up; compressed files are unpacked into a nameless
 * file by the pool first; where the last n lines begin is looked for by the pool as well. Following waits on inotify. A line without its end
 * is kept until the rest comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "engine/engine_priv.h"
#include "engine/logopt.h"

enum { PIECE = 64 << 10, ROTATED_MAX = 1000 };

struct source {
	int fd;
	bool gz;
	dev_t dev;
	ino_t ino;
};

struct chain {
	struct source *v;	/* oldest first */
	size_t n;
};

struct engine_logs {
	struct engine *en;
	char id[ID_LEN + 1];
	char *path, *dir;
	struct engine_logs_args a;
	struct engine_logs_ops ops;
	void *user;
	int watch;
	struct chain chain;
	size_t at;			/* the one being read */
	/* a thread's while working */
	struct work work;
	bool working;
	struct chain found;
	struct source newest;		/* in: known already; its fd borrowed, -1: none */
	size_t begin;			/* out: where the tail begins: which, at which offset */
	off_t offset;
	int unpacked;			/* out: instead of a compressed one */
	struct buf part;
	struct loop_io *io;
	bool opened, paused, cancelled, ended, scheduled, last_pass;
	struct engine_logs *next, **link;	/* followers */
};

static void step(void *user);

static void schedule(struct engine_logs *lg)
{
	if (lg->scheduled || lg->paused || lg->cancelled || lg->working)
		return;
	lg->scheduled = true;
	loop_defer(lg->en->l, step, lg);
}

static void chain_done(struct chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->v[i].fd >= 0)
			close(c->v[i].fd);
	}
	free(c->v);
	*c = (struct chain){ 0 };
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
	chain_done(&lg->chain);
	chain_done(&lg->found);
	buf_done(&lg->part);
	free(lg->path);
	free(lg->dir);
	free(lg);
}

static void finish(struct engine_logs *lg, const struct err *e)
{
	lg->ended = true;
	if (!lg->cancelled)
		lg->ops.end(lg->user, e);
	free_logs(lg);
}

/* Go's url.QueryEscape */
static void escape(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c))
			buf_addc(b, *s);
		else if (c == ' ')
			buf_addc(b, '+');
		else
			buf_printf(b, "%%%02X", c);
	}
}

/* "a=b,c=d ": the record's attributes, which the monitor has written in order. */
static void add_details(struct buf *b, const json_t *attrs)
{
	const char *key;
	bool first = true;
	json_t *v;

	json_object_foreach((json_t *)attrs, key, v) {
		if (!first)
			buf_addc(b, ',');
		first = false;
		escape(b, key);
		buf_addc(b, '=');
		escape(b, json_is_string(v) ? json_string_value(v) : "");
	}
	buf_addc(b, ' ');
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
	if (lg->a.timestamps || lg->a.details) {
		struct buf b = BUF_INIT;

		b.limit = json_string_length(log) + 16384;
		/* Go's layout keeps nine digits of the fraction. */
		if (lg->a.timestamps && strchr(time, '.') && str_ends(time, "Z"))
			buf_printf(&b, "%.*s%.*sZ ", (int)strlen(time) - 1, time, (int)(strlen(time) < 30 ? 30 - strlen(time) : 0), "000000000");
		else if (lg->a.timestamps)
			buf_printf(&b, "%s ", time);
		if (lg->a.details)
			add_details(&b, json_obj(doc, "attrs"));
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

/* The file at path is another one than the newest we have: the monitor has rotated, or has begun. */
static bool rotated(const struct engine_logs *lg)
{
	const struct source *last = lg->chain.n ? &lg->chain.v[lg->chain.n - 1] : NULL;
	struct stat st;

	return stat(lg->path, &st) == 0 && (!last || st.st_ino != last->ino || st.st_dev != last->dev);
}

/* The pool's part */

/* path.<index>, plain or compressed. False: there is none. */
static bool open_one(const struct engine_logs *lg, unsigned index, struct source *ret)
{
	char *name CLEANUP(mem_freep) = index ? mem_printf("%s.%u", lg->path, index) : mem_strdup(lg->path);
	char *gz CLEANUP(mem_freep) = mem_printf("%s.gz", name);
	struct stat st;

	*ret = (struct source){ .fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW) };
	if (ret->fd < 0 && index) {
		ret->gz = true;
		ret->fd = open(gz, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	}
	if (ret->fd < 0)
		return false;
	if (fstat(ret->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(ret->fd);
		return false;
	}
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return true;
}

/* Is it the newest one we have, or older? A compressed one has the time of what it was made from. */
static bool known(const struct engine_logs *lg, const struct source *s)
{
	struct stat a, b;

	if (lg->newest.fd < 0)
		return false;
	if (s->dev == lg->newest.dev && s->ino == lg->newest.ino)
		return true;
	return s->gz && fstat(s->fd, &a) == 0 && fstat(lg->newest.fd, &b) == 0 &&
	       (a.st_mtim.tv_sec < b.st_mtim.tv_sec || (a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec <= b.st_mtim.tv_nsec));
}

static void find_chain(struct engine_logs *lg)
{
	struct chain c = { 0 };
	unsigned missing = 0;

	for (unsigned i = 0; i <= ROTATED_MAX && missing < 2; i++) {
		struct source s;

		if (!open_one(lg, i, &s)) {
			missing++;	/* one may be between two names just now */
			continue;
		}
		missing = 0;
		if (known(lg, &s)) {
			close(s.fd);
			break;
		}
		if (c.n && c.v[c.n - 1].ino == s.ino && c.v[c.n - 1].dev == s.dev) {
			close(s.fd);
			continue;
		}
		c.v = mem_realloc(c.v, (c.n + 1) * sizeof(*c.v));
		c.v[c.n++] = s;
	}
	for (size_t i = 0; i < c.n / 2; i++) {
		struct source t = c.v[i];

		c.v[i] = c.v[c.n - 1 - i];
		c.v[c.n - 1 - i] = t;
	}
	lg->found = c;
}

/* A compressed file's content in a nameless one; -1: it cannot be read. */
static int unpack(const struct engine_logs *lg, int from)
{
	int out = open(lg->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), in = fcntl(from, F_DUPFD_CLOEXEC, 3), n;
	char *piece CLEANUP(mem_freep) = mem_alloc(PIECE);
	gzFile gz;

	if (out < 0)
		out = memfd_create("log", MFD_CLOEXEC);
	gz = in < 0 ? NULL : gzdopen(in, "rb");
	if (!gz && in >= 0)
		close(in);
	if (gz)
		(void)gzrewind(gz);
	while (gz && out >= 0 && (n = gzread(gz, piece, PIECE)) > 0) {
		if (file_write_all(out, piece, (size_t)n) < 0)
			break;		/* what there is no room for is not shown */
	}
	if (gz)
		gzclose_r(gz);
	if (out >= 0)
		(void)lseek(out, 0, SEEK_SET);
	return out;
}

/* Where the last *need lines begin in fd; -1: they begin before it, and *need is what is missing. */
static off_t seek_lines(int fd, int64_t *need)
{
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	char *piece CLEANUP(mem_freep) = mem_alloc(PIECE);

	while (at > 0) {
		size_t n = at > PIECE ? PIECE : (size_t)at;

		if (pread(fd, piece, n, at - (off_t)n) != (ssize_t)n)
			break;
		for (size_t i = n; i-- > 0;) {
			off_t here = at - (off_t)n + (off_t)i;

			/* The newline at the very end is that of the last line, not the beginning of another. */
			if (piece[i] == '\n' && here != end - 1 && --*need == 0)
				return here + 1;
		}
		at -= (off_t)n;
	}
	if (end > 0 && --*need == 0)
		return 0;
	return -1;
}

static void find_tail(struct engine_logs *lg)
{
	int64_t need = lg->a.tail;

	lg->begin = 0;
	lg->offset = 0;
	if (need < 0 || !lg->found.n)
		return;
	if (need == 0) {
		lg->begin = lg->found.n - 1;
		lg->offset = lseek(lg->found.v[lg->begin].fd, 0, SEEK_END);
		return;
	}
	for (size_t i = lg->found.n; i-- > 0;) {
		struct source *s = &lg->found.v[i];
		off_t at;

		if (s->gz) {
			int fd = unpack(lg, s->fd);

			if (fd < 0)
				continue;
			close(s->fd);
			s->fd = fd;	/* dev and ino stay those of the compressed file */
			s->gz = false;
		}
		at = seek_lines(s->fd, &need);
		if (at >= 0) {
			lg->begin = i;
			lg->offset = at;
			return;
		}
	}
}

static void open_run(struct work *w)
{
	struct engine_logs *lg = CONTAINER_OF(w, struct engine_logs, work);

	find_chain(lg);
	if (!lg->opened)
		find_tail(lg);
}

static void unpack_run(struct work *w)
{
	struct engine_logs *lg = CONTAINER_OF(w, struct engine_logs, work);

	lg->unpacked = unpack(lg, lg->newest.fd);
}

/* ... and back */

static bool came_back(struct engine_logs *lg)
{
	lg->working = false;
	if (!lg->cancelled)
		return true;
	free_logs(lg);
	return false;
}

static void open_done(struct work *w)
{
	struct engine_logs *lg = CONTAINER_OF(w, struct engine_logs, work);

	if (!came_back(lg))
		return;
	lg->chain.v = mem_realloc(lg->chain.v, (lg->chain.n + lg->found.n + 1) * sizeof(*lg->chain.v));
	if (lg->found.n)
		memcpy(lg->chain.v + lg->chain.n, lg->found.v, lg->found.n * sizeof(*lg->found.v));
	if (!lg->opened && lg->found.n) {
		lg->at = lg->begin;
		(void)lseek(lg->found.v[lg->begin].fd, lg->offset, SEEK_SET);
		for (size_t i = lg->begin + 1; i < lg->found.n; i++)
			(void)lseek(lg->found.v[i].fd, 0, SEEK_SET);
	} else if (lg->opened && lg->found.n && lg->at < lg->chain.n) {
		if (lg->chain.v[lg->at].fd >= 0)
			close(TAKE_FD(lg->chain.v[lg->at].fd));
		lg->at++;
	}
	lg->chain.n += lg->found.n;
	free(TAKE(lg->found.v));
	lg->found.n = 0;
	lg->opened = true;
	schedule(lg);
}

static void unpack_done(struct work *w)
{
	struct engine_logs *lg = CONTAINER_OF(w, struct engine_logs, work);
	struct source *s = &lg->chain.v[lg->at];

	if (!came_back(lg)) {
		return;
	}
	close(s->fd);
	s->fd = lg->unpacked;
	s->gz = false;
	schedule(lg);
}

static void work_on(struct engine_logs *lg, void (*run)(struct work *w), void (*done)(struct work *w))
{
	lg->working = true;
	lg->work = (struct work){ .run = run, .done = done };
	work_start(lg->en->pool, &lg->work);
}

static void on_watch(void *user, unsigned events)
{
	struct engine_logs *lg = user;
	char junk[4096];

	while (read(lg->watch, junk, sizeof(junk)) > 0)
		;
	schedule(lg);
}

/* 1: something was read or will be, 0: nothing more now. */
static int read_piece(struct engine_logs *lg)
{
	struct source *s = lg->at < lg->chain.n ? &lg->chain.v[lg->at] : NULL;
	bool last = lg->at + 1 >= lg->chain.n;
	char piece[PIECE];
	ssize_t n = 0;

	if (!lg->opened || (last && !s && rotated(lg))) {
		lg->newest = (struct source){ .fd = -1 };
		work_on(lg, open_run, open_done);
		return 1;
	}
	if (!s)
		return 0;
	if (s->gz) {
		lg->newest = *s;
		work_on(lg, unpack_run, unpack_done);
		return 1;
	}
	if (s->fd >= 0)
		n = read(s->fd, piece, sizeof(piece));
	if (n > 0) {
		if (buf_add(&lg->part, piece, (size_t)n) < 0)
			buf_reset(&lg->part);	/* a line of 16 MiB is none of ours */
		lines(lg);
		return 1;
	}
	if (!last) {
		if (s->fd >= 0)
			close(TAKE_FD(s->fd));
		lg->at++;
		return 1;
	}
	if (rotated(lg)) {
		lg->newest = *s;
		work_on(lg, open_run, open_done);
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

struct engine_logs *engine_logs(struct engine *en, const char *ref, const struct engine_logs_args *a, const struct engine_logs_ops *ops, void *user, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct engine_logs *lg;

	if (!c)
		return NULL;
	if (!logopt_readable(json_obj(doc_host(c), "LogConfig"))) {
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
	lg->dir = container_dir(c);
	lg->watch = -1;
	buf_init(&lg->part, 16 << 20);
	if (a->follow) {
		/* The directory: it sees the file's writes, its first creation and its rotation. */
		lg->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		(void)file_mkdir_p(lg->dir, 0711);
		if (lg->watch < 0 || inotify_add_watch(lg->watch, lg->dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ATTRIB) < 0) {
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
	if (!lg->scheduled && !lg->working) {	/* open_done() and unpack_done() free it, too */
		lg->scheduled = true;	/* step() frees it: not from here, the call may come from line() */
		loop_defer(lg->en->l, step, lg);
	}
}
