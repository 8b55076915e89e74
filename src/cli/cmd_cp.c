/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp: between the local file system and a container, by docker's rules, which are cp's with these cases:
 *
 *   SRC is a file   DST is no path: made; ends in "/" and is no folder: an error; is a file: replaced; is a folder: into it
 *   SRC is a folder DST is no path: made, SRC's content goes there; is a file: an error; is a folder: SRC goes into it, or with
 *                   "SRC/.": SRC's content does
 *
 * The engine gives and takes archives whose entries begin with the last part of SRC; a copy under another name renames them here.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/localtar.h"
#include "cli/render.h"
#include "cli/spec.h"

enum { PIECE = 128 << 10, HIGH = 1 << 20 };

#define GO_DIR (1ll << 31)
#define GO_SYMLINK (1ll << 27)
#define GO_OTHER (1ll << 26 | 1ll << 25 | 1ll << 24)	/* devices, pipes, sockets */

/* A place to copy from or to. */
struct place {
	char *path;
	bool exists, dir;
	int64_t mode;		/* in a container: Go's */
	char *link;		/* ... where it leads to, if it is a link */
};

static void place_done(struct place *p)
{
	free(p->path);
	free(p->link);
}

/* Paths, as Go's filepath has them */

/* Without "." and "..", double and trailing slashes. The caller frees. */
static char *path_clean(const char *path)
{
	char **part = str_split(path, '/'), **keep = NULL;
	bool abs = *path == '/';
	struct buf b = BUF_INIT;
	size_t n = 0;

	keep = mem_zalloc((strv_len(part) + 1) * sizeof(*keep));
	for (size_t i = 0; part[i]; i++) {
		if (!*part[i] || str_eq(part[i], "."))
			continue;
		if (!str_eq(part[i], ".."))
			keep[n++] = part[i];
		else if (n && !str_eq(keep[n - 1], ".."))
			n--;
		else if (!abs)
			keep[n++] = part[i];
	}
	if (abs)
		buf_addc(&b, '/');
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i ? "/" : "", keep[i]);
	if (!b.len)
		buf_addc(&b, '.');
	free(keep);
	strv_free(part);
	return buf_take(&b);
}

static bool says_current(const char *path)
{
	return str_eq(path, ".") || str_ends(path, "/.");
}

static bool says_dir(const char *path)
{
	return str_ends(path, "/") || says_current(path);
}

/* Clean, but what a "/" or "/." at the end said is kept. */
static char *path_keep_end(const char *path)
{
	char *clean = path_clean(path), *out;

	if (says_current(path) && !str_eq(clean, "."))
		out = mem_printf("%s/.", str_eq(clean, "/") ? "" : clean);
	else if (str_ends(path, "/") && !str_ends(clean, "/"))
		out = mem_printf("%s/", clean);
	else
		return clean;
	free(clean);
	return out;
}

/* docker's SplitPathDirEntry: folder and last part, which is "." for "a/.". */
static void path_split(const char *path, char **dir, char **base)
{
	char *clean CLEANUP(mem_freep) = path_clean(path), *slash;

	if (says_current(path)) {
		*dir = mem_strdup(clean);
		*base = mem_strdup(".");
		return;
	}
	slash = strrchr(clean, '/');
	*base = mem_strdup(slash && slash[1] ? slash + 1 : clean);
	*dir = !slash ? mem_strdup(".") : slash == clean ? mem_strdup("/") : mem_strndup(clean, (size_t)(slash - clean));
}

/* Where the copy goes, and what its entries are renamed from and to. Sentences are docker's. */
struct plan {
	char *dir, *from, *to;
};

static void plan_done(struct plan *p)
{
	free(p->dir);
	free(p->from);
	free(p->to);
}

static int plan_make(struct plan *p, const struct place *src, const char *rebase, const struct place *dst, struct err *e)
{
	char *src_dir CLEANUP(mem_freep) = NULL, *base CLEANUP(mem_freep) = NULL;

	path_split(src->path, &src_dir, &p->from);
	if (rebase) {
		free(p->from);
		p->from = mem_strdup(rebase);
	}
	if (dst->exists && dst->dir) {
		p->dir = mem_strdup(dst->path);
		p->to = mem_strdup(p->from);
		return 0;
	}
	if (dst->exists && src->dir)
		return err_set(e, ERR_INVALID, "cannot copy directory");
	if (!dst->exists && !src->dir && says_dir(dst->path))
		return err_set(e, ERR_INVALID, "no such directory");
	path_split(dst->path, &p->dir, &base);
	p->to = TAKE(base);
	return 0;
}

/* Containers */

static int base64_value(int c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

static json_t *stat_decode(const char *text)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	unsigned v = 0, bits = 0;

	for (; text && *text; text++) {
		int d = base64_value((unsigned char)*text);

		if (d < 0)
			break;
		v = v << 6 | (unsigned)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_addc(&b, (char)(v >> bits & 0xff));
		}
	}
	return json_parse(b.data ? b.data : "", b.len, "the engine's reply", NULL);
}

/* One request about an archive; what it carries goes through a pipe to or from a thread, or straight to a descriptor. */
struct transfer {
	struct cli *c;
	struct http_call *call;
	int status;
	json_t *stat;
	int out;			/* data of the reply goes there; -1: nowhere */
	int in;				/* body comes from there; -1: none */
	struct loop_io *io;
	bool ended, failed, over;
	struct err err;
	struct buf reply;		/* of a refusal */
	unsigned long long bytes;
	void (*on_stat)(struct transfer *t);
	void *user;
};

static void transfer_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct transfer *t = user;

	(void)upgraded;
	t->status = status;
	if (status >= 400)
		return;
	t->stat = stat_decode(http_call_header(call, "X-Docker-Container-Path-Stat"));
	if (t->on_stat)
		t->on_stat(t);
}

static void transfer_fail(struct transfer *t)
{
	t->failed = true;
	if (t->call)
		http_call_cancel(TAKE(t->call));
	t->ended = true;
}

static void transfer_data(struct http_call *call, const void *p, size_t n, void *user)
{
	struct transfer *t = user;
	int r;

	(void)call;
	if (t->status >= 400) {
		buf_add(&t->reply, p, n);
		return;
	}
	t->bytes += n;
	r = t->out < 0 ? 0 : file_write_all(t->out, p, n);
	if (r < 0) {
		if (r != -EPIPE)	/* else the thread at the other end knows why */
			err_errno(&t->err, -r, "write the archive");
		transfer_fail(t);
	}
}

static void body_over(struct transfer *t)
{
	loop_io_free(TAKE(t->io));
	t->over = true;
}

static void transfer_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct transfer *t = user;

	(void)call;
	t->call = NULL;
	t->ended = true;
	body_over(t);
	if (t->status >= 400) {
		t->failed = true;
		cli_reply_error(t->status, t->reply.data, t->reply.len, &t->err);
	} else if (!ok) {
		t->failed = true;
		t->err = *e;
	}
}

static void body_readable(void *user, unsigned events)
{
	struct transfer *t = user;
	char *data CLEANUP(mem_freep) = mem_alloc(PIECE);
	ssize_t n = read(t->in, data, PIECE);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		err_errno(&t->err, errno, "read the archive");
		body_over(t);
		transfer_fail(t);
	} else if (n == 0) {
		http_call_finish(t->call);
		body_over(t);
	} else if (http_call_write(t->call, data, (size_t)n) > HIGH) {
		loop_io_set(t->io, 0);
	}
}

static void transfer_drain(struct http_call *call, void *user)
{
	struct transfer *t = user;

	(void)call;
	if (t->io)
		loop_io_set(t->io, LOOP_READ);
}

static const struct http_call_ops transfer_ops = { .head = transfer_head, .data = transfer_data, .end = transfer_end, .drain = transfer_drain };

static int transfer_run(struct transfer *t, const char *method, const char *path)
{
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct http_call_args a = { .method = method, .target = target, .type = "application/x-tar", .stream = t->in >= 0 };

	if (cli_connect(t->c, &t->err) < 0)
		return -1;
	t->call = http_call_start(t->c->http, &a, &transfer_ops, t);
	if (t->in >= 0)
		t->io = loop_io_new(t->c->loop, t->in, LOOP_READ, body_readable, t);
	while (!t->ended)
		loop_turn(t->c->loop, -1);
	body_over(t);
	buf_done(&t->reply);
	return t->failed ? -1 : 0;
}

static char *archive_path(const char *container, const char *path)
{
	char *head CLEANUP(mem_freep) = cli_path("/containers/", container, "/archive");
	struct buf b = BUF_INIT;

	buf_adds(&b, head);
	cli_query(&b, "path", path);
	return buf_take(&b);
}

static void place_of_stat(struct place *p, const json_t *stat)
{
	p->exists = true;
	p->mode = json_i64(stat, "mode", 0);
	p->dir = p->mode & GO_DIR;
	free(p->link);
	p->link = p->mode & GO_SYMLINK ? mem_strdup(json_str(stat, "linkTarget", "")) : NULL;
}

/* HEAD. False: it is not there, or the engine refused (then *e). */
static bool look(struct cli *c, const char *container, struct place *p, struct err *e)
{
	char *path CLEANUP(mem_freep) = archive_path(container, p->path);
	struct transfer t = { .c = c, .out = -1, .in = -1 };
	bool ok = transfer_run(&t, "HEAD", path) == 0;

	if (ok)
		place_of_stat(p, t.stat);
	else if (t.status == 404 && !t.err.msg[0])
		err_set(e, ERR_NOT_FOUND, "Could not find the file %s in container %s", p->path, container);
	else
		*e = t.err;
	json_decref(t.stat);
	return ok;
}

/* Threads */

struct packer {
	struct localtar tar;
	bool follow;
};

static void *pack_thread(void *user)
{
	struct packer *p = user;

	(void)localtar_pack(&p->tar, p->follow);
	return NULL;
}

static void *unpack_thread(void *user)
{
	(void)localtar_unpack(user);
	return NULL;
}

static char *local_path(const char *text)
{
	char cwd[PATH_MAX];
	char *full CLEANUP(mem_freep) = NULL;

	full = *text == '/' || !getcwd(cwd, sizeof(cwd)) ? mem_strdup(text) : mem_printf("%s/%s", cwd, text);
	return path_keep_end(full);
}

static void copied(const struct flags *f, unsigned long long bytes, const char *to)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;

	if (flag_bool(f, "quiet") || !isatty(STDOUT_FILENO))
		return;
	render_size(&b, (double)bytes);
	fprintf(stderr, "Successfully copied %s to %s\n", b.data, to);
}

/* From a container */

struct fetch {
	const char *container;
	struct place src, dst;
	const char *rebase;		/* a followed link's own name */
	struct plan plan;
	struct localtar tar;
	pthread_t thread;
	bool runs;
};

/* The head of the reply tells what SRC is; with that it is clear where to put it. */
static void fetch_stat(struct transfer *t)
{
	struct fetch *x = t->user;
	int fds[2];

	place_of_stat(&x->src, t->stat);
	if (plan_make(&x->plan, &x->src, NULL, &x->dst, &t->err) < 0) {
		transfer_fail(t);
		return;
	}
	if (x->rebase && str_eq(x->plan.from, x->plan.to)) {
		free(x->plan.to);
		x->plan.to = mem_strdup(x->rebase);
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_errno(&t->err, errno, "make a pipe");
		transfer_fail(t);
		return;
	}
	x->tar = (struct localtar){ .fd = fds[0], .dir = x->plan.dir, .from = x->plan.from, .to = x->plan.to };
	t->out = fds[1];
	if (pthread_create(&x->thread, NULL, unpack_thread, &x->tar)) {
		err_set(&t->err, ERR_INTERNAL, "cannot start a thread");
		close(fds[0]);
		transfer_fail(t);
		return;
	}
	x->runs = true;
}

static int local_destination(struct place *p, struct err *e)
{
	char *dir CLEANUP(mem_freep) = NULL, *base CLEANUP(mem_freep) = NULL;
	struct stat st;

	path_split(p->path, &dir, &base);
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, "invalid output path: directory \"%s\" does not exist", dir);
	if (stat(p->path, &st) == 0) {
		if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
			return err_set(e, ERR_INVALID, "invalid output path: \"%s\" must be a directory or a regular file", p->path);
		p->exists = true;
		p->dir = S_ISDIR(st.st_mode);
		if (lstat(p->path, &st) == 0 && S_ISLNK(st.st_mode)) {	/* what it leads to is what is replaced */
			char *real = realpath(p->path, NULL);

			if (real) {
				free(p->path);
				p->path = real;
			}
		}
	}
	return 0;
}

static int copy_from(struct cli *c, struct flags *f, const char *container, const char *src, const char *dst)
{
	struct fetch x = { .container = container, .src = { .path = path_keep_end(src) }, .tar = { .fd = -1 } };
	struct transfer t = { .c = c, .out = -1, .in = -1, .user = &x };
	char *path CLEANUP(mem_freep) = NULL, *dir CLEANUP(mem_freep) = NULL, *name CLEANUP(mem_freep) = NULL;
	bool to_stdout = str_eq(dst, "-");
	struct err e = { 0 };
	int r = -1;

	if (!to_stdout) {
		x.dst.path = local_path(dst);
		if (local_destination(&x.dst, &e) < 0)
			goto out;
	}
	if (flag_bool(f, "follow-link")) {
		if (!look(c, container, &x.src, &e))
			goto out;
		if (x.src.link) {
			path_split(x.src.path, &dir, &name);
			free(x.src.path);
			x.src.path = mem_strdup(x.src.link);
			x.rebase = name;
		}
	}
	path = archive_path(container, x.src.path);
	if (to_stdout)
		t.out = STDOUT_FILENO;
	else
		t.on_stat = fetch_stat;
	r = transfer_run(&t, "GET", path);
	if (!to_stdout)
		fd_closep(&t.out);
	if (x.runs) {
		pthread_join(x.thread, NULL);
		if (x.tar.err.kind != ERR_NONE && (r == 0 || !t.err.msg[0])) {
			t.err = x.tar.err;
			r = -1;
		}
	}
	e = t.err;
	if (r == 0 && !to_stdout)
		copied(f, t.bytes, x.dst.path);
out:
	json_decref(t.stat);
	plan_done(&x.plan);
	place_done(&x.src);
	place_done(&x.dst);
	return r < 0 ? cli_fail(&e) : 0;
}

/* To a container */

static int send_body(struct cli *c, struct flags *f, const char *container, const char *dir, int fd, unsigned long long *bytes, struct err *e)
{
	char *head CLEANUP(mem_freep) = archive_path(container, dir);
	struct transfer t = { .c = c, .out = -1, .in = fd };
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	int r;

	buf_adds(&path, head);
	cli_query(&path, "noOverwriteDirNonDir", "true");
	if (flag_bool(f, "archive"))
		cli_query(&path, "copyUIDGID", "true");
	r = transfer_run(&t, "PUT", path.data);
	json_decref(t.stat);
	(void)bytes;
	*e = t.err;
	return r;
}

/* What DST is; a link counts as what it leads to. */
static int container_destination(struct cli *c, const char *container, struct place *dst, struct err *e)
{
	struct err none = { 0 };

	if (!look(c, container, dst, &none)) {
		/* Not there: its folder may be. Anything else the upload will tell of as well. */
		return none.kind == ERR_NOT_FOUND ? 0 : (*e = none, -1);
	}
	if (dst->link) {
		char *dir CLEANUP(mem_freep) = NULL, *base CLEANUP(mem_freep) = NULL, *target;

		path_split(dst->path, &dir, &base);
		target = *dst->link == '/' ? mem_strdup(dst->link) : mem_printf("%s/%s", dir, dst->link);
		free(dst->path);
		dst->path = target;
		dst->exists = dst->dir = false;
		(void)look(c, container, dst, &none);
	}
	if (dst->exists && (dst->mode & GO_OTHER))
		return err_set(e, ERR_INVALID, "destination \"%s:%s\" must be a directory or a regular file", container, dst->path);
	return 0;
}

static int send_local(struct cli *c, struct flags *f, const char *container, struct place *src, const struct place *dst, struct err *e)
{
	bool follow = flag_bool(f, "follow-link");
	char *real CLEANUP(mem_freep) = NULL, *dir CLEANUP(mem_freep) = NULL, *base CLEANUP(mem_freep) = NULL, *own CLEANUP(mem_freep) = NULL;
	char *own_dir CLEANUP(mem_freep) = NULL;
	struct packer p = { .follow = says_dir(src->path) };
	struct plan plan = { 0 };
	unsigned long long bytes = 0;
	pthread_t thread;
	struct stat st;
	int fds[2], r;

	if ((follow || says_dir(src->path) ? stat : lstat)(src->path, &st) < 0)
		return err_set(e, ERR_NOT_FOUND, "lstat %s: %s", src->path, spec_errno(errno));
	src->exists = true;
	src->dir = S_ISDIR(st.st_mode);
	path_split(src->path, &own_dir, &own);
	if (follow && lstat(src->path, &st) == 0 && S_ISLNK(st.st_mode)) {
		real = realpath(src->path, NULL);
		if (!real)
			return err_set(e, ERR_NOT_FOUND, "lstat %s: %s", src->path, spec_errno(errno));
	}
	path_split(real ? real : src->path, &dir, &base);
	if (plan_make(&plan, src, own, dst, e) < 0) {
		plan_done(&plan);
		return -1;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		plan_done(&plan);
		return err_errno(e, errno, "make a pipe");
	}
	p.tar = (struct localtar){ .fd = fds[1], .dir = dir, .from = base, .to = plan.to };
	if (pthread_create(&thread, NULL, pack_thread, &p)) {
		close(fds[0]);
		close(fds[1]);
		plan_done(&plan);
		return err_set(e, ERR_INTERNAL, "cannot start a thread");
	}
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	r = send_body(c, f, container, plan.dir, fds[0], &bytes, e);
	close(fds[0]);
	pthread_join(thread, NULL);
	if (r == 0 && p.tar.err.kind != ERR_NONE) {
		*e = p.tar.err;
		r = -1;
	}
	if (r == 0) {
		char *to CLEANUP(mem_freep) = mem_printf("%s:%s", container, dst->path);

		copied(f, p.tar.bytes, to);
	}
	plan_done(&plan);
	return r;
}

static int copy_to(struct cli *c, struct flags *f, const char *src, const char *container, const char *dst)
{
	struct place from = { 0 }, to = { .path = path_keep_end(dst) };
	struct err e = { 0 };
	unsigned long long bytes;
	int r;

	if (*to.path != '/') {	/* relative to the container's root */
		char *abs = mem_printf("/%s", to.path);

		free(to.path);
		to.path = abs;
	}
	r = container_destination(c, container, &to, &e);
	if (r == 0 && str_eq(src, "-")) {
		if (!to.dir)
			r = err_set(&e, ERR_INVALID, "destination \"%s:%s\" must be a directory", container, to.path);
		else
			r = send_body(c, f, container, to.path, STDIN_FILENO, &bytes, &e);
	} else if (r == 0) {
		from.path = local_path(src);
		r = send_local(c, f, container, &from, &to, &e);
	}
	place_done(&from);
	place_done(&to);
	return r < 0 ? cli_fail(&e) : 0;
}

/* "name:path"; a path that begins with "/" or "." is local. container NULL: local. */
static void split_arg(const char *arg, char **container, const char **path)
{
	const char *colon = strchr(arg, ':');

	*container = NULL;
	*path = arg;
	if (*arg == '/' || *arg == '.' || !colon)
		return;
	*container = mem_strndup(arg, (size_t)(colon - arg));
	*path = colon + 1;
}

static int cmd_cp(struct cli *c, struct flags *f)
{
	char *from CLEANUP(mem_freep) = NULL, *to CLEANUP(mem_freep) = NULL;
	const char *src, *dst;

	if (!*f->args[0] || !*f->args[1]) {
		fprintf(stderr, "%s can not be empty\n", *f->args[0] ? "destination" : "source");
		return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN);		/* of our own pipes; stdout tells by its error */
	split_arg(f->args[0], &from, &src);
	split_arg(f->args[1], &to, &dst);
	if (from && to) {
		fprintf(stderr, "copying between containers is not supported\n");
		return 1;
	}
	if (from)
		return copy_from(c, f, from, src, dst);
	if (to)
		return copy_to(c, f, src, to, dst);
	fprintf(stderr, "must specify at least one container source\n");
	return 1;
}

static const struct flag_def cp_flags[] = {
	{ "archive", 'a', FLAG_BOOL, "Archive mode (copy all uid/gid information)" },
	{ "follow-link", 'L', FLAG_BOOL, "Always follow symbol link in SRC_PATH" },
	{ "quiet", 'q', FLAG_BOOL, "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached" }, { 0 },
};

/* export */

static int cmd_export(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/export");
	const char *output = flag_str(f, "output");
	char *part CLEANUP(mem_freep) = NULL;
	struct transfer t = { .c = c, .out = STDOUT_FILENO, .in = -1 };
	int r;

	if (!*output && isatty(STDOUT_FILENO)) {
		fprintf(stderr, "cowardly refusing to save to a terminal. Use the -o flag or redirect\n");
		return 1;
	}
	if (*output) {
		part = mem_printf("%s.part-%d", output, (int)getpid());	/* a file of that name is whole or what it was before */
		t.out = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (t.out < 0) {
			fprintf(stderr, "failed to export container: %s: %s\n", output, spec_errno(errno));
			return 1;
		}
	}
	r = transfer_run(&t, "GET", path);
	json_decref(t.stat);
	if (*output) {
		close(t.out);
		if (r == 0 && rename(part, output) < 0)
			r = err_errno(&t.err, errno, "failed to export container: %s", output);
		if (r < 0)
			(void)unlink(part);
	}
	return r < 0 ? cli_fail(&t.err) : 0;
}

static const struct flag_def export_flags[] = { { "output", 'o', FLAG_STRING, "Write to a file, instead of STDOUT" }, { 0 } };

/* diff, commit */

static int cmd_diff(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/changes");
	struct err e = { 0 };
	json_t *list CLEANUP(json_freep) = cli_get(c, path, &e), *v;
	size_t i;

	if (!list)
		return cli_fail(&e);
	json_array_foreach(list, i, v) {
		int64_t kind = json_i64(v, "Kind", 0);

		printf("%c %s\n", kind == 0 ? 'C' : kind == 1 ? 'A' : 'D', json_str(v, "Path", ""));
	}
	return 0;
}

static int cmd_commit(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *none CLEANUP(json_freep) = json_object();
	struct err e = { 0 };

	buf_adds(&path, "/commit");
	cli_query(&path, "container", f->args[0]);
	if (f->argc > 1) {
		const char *slash = strrchr(f->args[1], '/'), *colon = strrchr(slash ? slash : f->args[1], ':');
		char *repo CLEANUP(mem_freep) = mem_strndup(f->args[1], colon ? (size_t)(colon - f->args[1]) : strlen(f->args[1]));

		cli_query(&path, "repo", repo);
		cli_query(&path, "tag", colon ? colon + 1 : "");
	}
	cli_query(&path, "comment", flag_str(f, "message"));
	cli_query(&path, "author", flag_str(f, "author"));
	cli_query(&path, "pause", flag_bool(f, "pause") ? "1" : "0");
	for (char *const *w = flag_list(f, "change"); *w; w++)
		cli_query(&path, "changes", *w);
	if (cli_call(c, "POST", path.data, none, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	printf("%s\n", json_str(doc, "Id", ""));
	return 0;
}

static const struct flag_def commit_flags[] = {
	{ "author", 'a', FLAG_STRING, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")" },
	{ "change", 'c', FLAG_LIST, "Apply Dockerfile instruction to the created image" }, { "message", 'm', FLAG_STRING, "Commit message" },
	{ "pause", 'p', FLAG_BOOL, "Pause container during commit", .def = "true" }, { 0 },
};

const struct command commands_cp[] = {
	{ "container cp,cp", "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tkedge cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
	  "Copy files/folders between a container and the local filesystem", cp_flags, 2, 2, false, cmd_cp },
	{ "container export,export", "[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive", export_flags, 1, 1, false, cmd_export },
	{ "container diff,diff", "CONTAINER", "Inspect changes to files or directories on a container's filesystem", flags_none, 1, 1, false, cmd_diff },
	{ "container commit,commit", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Create a new image from a container's changes", commit_flags, 1, 2, false, cmd_commit },
	{ 0 },
};
