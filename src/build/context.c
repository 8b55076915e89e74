/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ignore.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"
#include "image/unpack.h"

/*
 * The context's tar goes through a pipe from the loop to a worker that unpacks it. What does not fit into the pipe waits in `rest`, and the client
 * waits for that. A pipe that ends before the client has said so is a client that went away.
 */
enum { PIPE_SIZE = 1024 * 1024, IGNORE_MAX = 1024 * 1024 };

static void flush_rest(struct build *b)
{
	struct context *c = &b->ctx;

	while (c->rest.len && c->out >= 0) {
		ssize_t n = write(c->out, c->rest.data, c->rest.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {		/* the worker reads no more: it has an answer already */
			c->deaf = true;
			buf_reset(&c->rest);
			break;
		}
		buf_consume(&c->rest, (size_t)n);
	}
	if (c->io)
		loop_io_set(c->io, c->rest.len ? LOOP_WRITE : 0);
	if (!c->rest.len && c->full) {
		c->full = false;
		if (!b->gone)
			b->ops.resume(b->user);
	}
	if (!c->rest.len && c->finished)
		context_close(b);
}

static void on_room(void *user, unsigned events)
{
	(void)events;
	flush_rest(user);
}

int context_open(struct build *b, struct err *e)
{
	struct context *c = &b->ctx;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, errno, "make a pipe for the build's context");
	c->in = fds[0];
	c->out = fds[1];
	(void)fcntl(c->out, F_SETPIPE_SZ, PIPE_SIZE);	/* more room is welcome, not needed */
	if (fcntl(c->out, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(e, errno, "make a pipe for the build's context");
	buf_init(&c->rest, 0);
	c->io = loop_io_new(b->bs->loop, c->out, 0, on_room, b);
	return 0;
}

bool context_feed(struct build *b, const void *p, size_t n)
{
	struct context *c = &b->ctx;

	if (c->deaf || c->out < 0)
		return true;
	buf_add(&c->rest, p, n);
	flush_rest(b);
	if (c->rest.len)
		c->full = true;
	return !c->full;
}

void context_finish(struct build *b)
{
	b->ctx.finished = true;
	atomic_store(&b->ctx.whole, true);
	flush_rest(b);
}

void context_close(struct build *b)
{
	struct context *c = &b->ctx;

	loop_io_free(c->io);
	c->io = NULL;
	if (c->out >= 0)
		(void)close(TAKE_FD(c->out));
	buf_done(&c->rest);
}

/* The worker's side. */

static ssize_t pipe_read(void *user, void *p, size_t n)
{
	struct build *b = user;
	ssize_t got;

	do
		got = read(b->ctx.in, p, n);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return got > 0 || atomic_load(&b->ctx.whole) ? got : -ECANCELED;
}

/* What the patterns leave out of the Dockerfile and their own file only the engine can: clients have to send both. */
static void drop_ignored(struct build *b, const char *dockerfile)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	CLEANUP(fd_closep) int fd = file_open_beneath(b->ctx_fd, ".dockerignore", O_RDONLY | O_NONBLOCK, 0);
	struct ignore *ig;
	char proc[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (file_read_at(AT_FDCWD, proc, IGNORE_MAX, &text) < 0)
		return;
	ig = ignore_parse(text.data ? text.data : "", text.len, NULL);
	if (ignore_match(ig, ".dockerignore"))
		(void)unlinkat(b->ctx_fd, ".dockerignore", 0);
	if (!strchr(dockerfile, '/') && ignore_match(ig, dockerfile))
		(void)unlinkat(b->ctx_fd, dockerfile, 0);
	ignore_free(ig);
}

static int read_dockerfile(struct build *b, const char *path, struct buf *text, struct err *e)
{
	CLEANUP(fd_closep) int fd = file_open_in_root(b->ctx_fd, path, O_RDONLY | O_NONBLOCK, 0);
	char proc[64];
	struct stat st;
	int rc;

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return err_set(e, ERR_NOT_FOUND, "Cannot locate specified Dockerfile: %.300s", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, fd < 0 ? -fd : errno, "open the Dockerfile %.300s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "the Dockerfile %.300s is no file", path);
	if (st.st_size == 0)
		return err_set(e, ERR_INVALID, "the Dockerfile (%.300s) cannot be empty", path);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	rc = file_read_at(AT_FDCWD, proc, DOCKERFILE_MAX, text);
	if (rc == -EFBIG)
		return err_set(e, ERR_INVALID, "the Dockerfile %.300s is larger than %d MiB", path, DOCKERFILE_MAX >> 20);
	return rc < 0 ? err_errno(e, -rc, "read the Dockerfile %.300s", path) : 0;
}

int context_read(struct build *b, struct err *e)
{
	CLEANUP(mem_freep) char *ctx = mem_printf("%s/context", b->dir);
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	const char *path = str_empty(b->dockerfile) ? "Dockerfile" : b->dockerfile;
	struct unpack_result res;
	int rc;

	buf_init(&text, DOCKERFILE_MAX + 1);
	if (mkdir(b->dir, 0700) < 0 || mkdir(ctx, 0700) < 0)
		return err_errno(e, errno, "create %s", ctx);
	b->ctx_fd = open(ctx, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->ctx_fd < 0)
		return err_errno(e, errno, "open %s", ctx);
	rc = unpack_tree(b->ctx_fd, "", UNPACK_NO_DEVICES, &(struct unpack_source){ pipe_read, b }, "the build's context", &res, e);
	if (rc < 0)
		return -1;
	rc = read_dockerfile(b, path, &text, e);
	if (rc < 0 && e->kind == ERR_NOT_FOUND && str_eq(path, "Dockerfile") && read_dockerfile(b, "dockerfile", &text, NULL) == 0) {
		err_clear(e);
		path = "dockerfile";
		rc = 0;
	}
	if (rc < 0)
		return -1;
	drop_ignored(b, path);
	if (build_plan_parse(text.data, text.len, &b->plan, e) < 0)
		return -1;
	b->planned = true;
	return 0;
}
