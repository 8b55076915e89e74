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
 * The context's tar goes from the loop to a worker that unpacks it. A flow that is cancelled is a client that went away.
 */
enum { QUEUE_MAX = 4 * 1024 * 1024, IGNORE_MAX = 1024 * 1024 };

static void on_ready(void *user)
{
	struct build *b = user;

	if (!b->ctx_full)
		return;
	b->ctx_full = false;
	if (!b->gone)
		b->ops.resume(b->user);
}

void context_open(struct build *b)
{
	b->ctx = flow_new(b->bs->loop, QUEUE_MAX, on_ready, b);
}

bool context_feed(struct build *b, const void *p, size_t n)
{
	/* After the worker's end: it has an answer already, the rest is dropped. */
	if (b->ctx && !flow_feed(b->ctx, p, n))
		b->ctx_full = true;
	return !b->ctx_full;
}

void context_finish(struct build *b)
{
	if (b->ctx)
		flow_finish(b->ctx);
}

void context_cancel(struct build *b)
{
	if (b->ctx)
		flow_cancel(b->ctx);
}

void context_end(struct build *b)
{
	flow_free(TAKE(b->ctx));
	on_ready(b);
}

/* The worker's side. */

static ssize_t read_flow(void *user, void *p, size_t n)
{
	return flow_read(user, p, n);
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
	rc = unpack_tree(b->ctx_fd, "", UNPACK_NO_DEVICES, &(struct unpack_source){ read_flow, b->ctx }, "the build's context", &res, e);
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
