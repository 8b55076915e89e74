/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"

/*
 * RUN: a container of the image as it stands, its program the step's command; when that has ended well, what it changed (the upper directory of its
 * root) becomes the next layer. The container's name begins with the build's id, by which an engine that comes back after a crash finds and
 * removes it.
 *
 *   create ─► attach, wait ─► start ─► output ─► exit ─► scrub the upper directory ─► image ─► remove
 */
enum { HELD_MAX = 4 * 1024 * 1024 };	/* output kept of a stage whose turn to speak has not come */

static void removed(void *user, const struct err *e)
{
	struct stage *s = user;
	struct build *b = s->b;

	if (e && e->kind != ERR_NOT_FOUND)
		log_warn("build", "removing the container %.12s: %s", s->container, e->msg);
	else if (!b->failed)
		stage_say(s, " ---> Removed intermediate container %.12s\n", s->container);
	*s->container = '\0';
	stage_go_on(s);
	build_drop(b);
}

void run_stop(struct stage *s)
{
	struct build *b = s->b;
	bool ended = s->wait_done;

	if (!*s->container || s->killed)
		return;
	/* Kept for a look when it has ended, as docker does: after a failure without --force-rm, after success without --rm. */
	if (!b->gone && ended && !(b->failed ? b->force_rm : b->rm || b->force_rm)) {
		*s->container = '\0';
		return;
	}
	s->killed = true;
	build_hold(b);
	run_detach(s);
	engine_remove(b->bs->engine, s->container, true, true, removed, s);
}

void run_detach(struct stage *s)
{
	if (s->attach && !s->attach_done)
		engine_attach_cancel(s->attach);
	if (s->wait && !s->wait_done)
		engine_wait_cancel(s->wait);
	/* Each stood for a callback that does not come now. */
	if (s->attach && !s->attach_done)
		build_drop(s->b);
	if (s->wait && !s->wait_done)
		build_drop(s->b);
	s->attach = NULL;
	s->wait = NULL;
	s->attach_done = s->wait_done = true;
}

/* The upper directory. */

static const char *const mounted_files[] = { "etc/resolv.conf", "etc/hosts", "etc/hostname" };
static const char *const mounted_dirs[] = { "proc", "sys", "dev" };

static void unlink_beneath(int root, const char *path, bool dir)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(mem_freep) char *parent = mem_strndup(path, slash ? (size_t)(slash - path) : 0);
	CLEANUP(fd_closep) int fd = file_open_beneath(root, *parent ? parent : ".", O_PATH | O_DIRECTORY, 0);
	const char *name = slash ? slash + 1 : path;
	struct stat st;

	if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode) && st.st_size == 0)
		(void)unlinkat(fd, name, dir ? AT_REMOVEDIR : 0);	/* not empty: it is the command's own */
}

/* /etc that came up only because something was mounted in it: empty now, and just as it is below. */
static void drop_etc(int root, char *const *layers)
{
	struct stat up, low;

	if (fstatat(root, "etc", &up, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(up.st_mode))
		return;
	for (size_t i = strv_len(layers); i-- > 0;) {
		CLEANUP(fd_closep) int fd = open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || fstatat(fd, "etc", &low, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (low.st_mode != up.st_mode || low.st_uid != up.st_uid || low.st_gid != up.st_gid)
			return;
		break;
	}
	(void)unlinkat(root, "etc", AT_REMOVEDIR);
}

/* What stands in upper because the container's own files and file systems were mounted there is none of the command's doing. */
static void scrub_run(struct work *w)
{
	struct stage *s = CONTAINER_OF(w, struct stage, work);

	s->diff = open(s->upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->diff < 0) {
		err_errno(&s->err, errno, "open what the command has changed");
		return;
	}
	for (size_t i = 0; i < N(mounted_files); i++)
		unlink_beneath(s->diff, mounted_files[i], false);
	for (size_t i = 0; i < N(mounted_dirs); i++)
		unlink_beneath(s->diff, mounted_dirs[i], true);
	drop_etc(s->diff, s->layers);
}

static void scrub_done(struct work *w)
{
	struct stage *s = CONTAINER_OF(w, struct stage, work);
	struct build *b = s->b;

	if (s->err.kind)
		build_fail(b, &s->err, 0);
	else if (!b->failed && !b->gone)
		stage_made(s, TAKE_FD(s->diff));
	build_drop(b);
}

/* Its end. */

static void command_text(struct stage *s, struct buf *out)
{
	CLEANUP(json_freep) json_t *cmd = build_state_command(&s->state, s->step->line);
	CLEANUP(mem_freep) char *text = build_join(cmd);

	buf_adds(out, text);
}

static void ended(struct stage *s)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	struct build *b = s->b;
	const struct image *i;
	struct err e = { 0 };

	if (!s->attach_done || !s->wait_done || b->failed || b->gone || b->bs->closing)
		return;
	stage_say_bytes(s, 1, NULL, 0);
	stage_say_bytes(s, 2, NULL, 0);
	if (s->status) {
		buf_init(&text, 700);
		command_text(s, &text);
		err_set(&e, ERR_INVALID, "The command '%s' returned a non-zero code: %d", text.data ? text.data : "", s->status);
		build_fail(b, &e, s->status);
		return;
	}
	i = image_find(b->bs->images, s->image, &e);
	free(s->upper);
	s->upper = i ? engine_upper(b->bs->engine, s->container, &e) : NULL;
	if (!s->upper) {
		build_fail(b, &e, 0);
		return;
	}
	strv_free(s->layers);
	s->layers = image_layers(b->bs->images, i);
	err_clear(&s->err);
	s->work = (struct work){ .run = scrub_run, .done = scrub_done };
	build_hold(b);
	work_start(b->bs->pool, &s->work);
}

static void on_output(void *user, int stream, const void *p, size_t n)
{
	struct stage *s = user;

	stage_say_bytes(s, stream, p, n);
	run_pause(s);
}

static void on_end(void *user)
{
	struct stage *s = user;
	struct build *b = s->b;

	s->attach = NULL;
	s->attach_done = true;
	ended(s);
	build_drop(b);
}

static void on_exit_(void *user, int status, const char *error)
{
	struct stage *s = user;
	struct build *b = s->b;

	(void)error;
	s->wait = NULL;
	s->wait_done = true;
	s->status = status;
	ended(s);
	build_drop(b);
}

void run_pause(struct stage *s)
{
	struct build *b = s->b;
	bool pause = b->paused || (s->index != b->front && s->held_bytes > HELD_MAX);

	if (!s->attach || s->attach_done || pause == s->paused)
		return;
	s->paused = pause;
	engine_attach_pause(s->attach, pause);
}

/* Its start. */

static void started(void *user, const struct err *e)
{
	struct stage *s = user;
	struct build *b = s->b;

	/* The wait ends as well; what is told is why. */
	if (e && !s->killed)
		build_fail(b, e, 0);
	build_drop(b);
}

static void on_created(void *user, const json_t *result, const struct err *e)
{
	static const struct engine_attach_ops ops = { .output = on_output, .end = on_end };
	struct stage *s = user;
	struct build *b = s->b;
	struct err err = { 0 };

	if (e) {
		build_fail(b, e, 0);
		build_drop(b);
		return;
	}
	snprintf(s->container, sizeof(s->container), "%s", json_str(result, "Id", ""));
	s->attach_done = s->wait_done = s->killed = s->paused = false;
	if (b->failed || b->gone || b->bs->closing) {
		if (!b->bs->closing)
			run_stop(s);
		build_drop(b);
		return;
	}
	stage_say(s, " ---> Running in %.12s\n", s->container);
	s->attach = engine_attach(b->bs->engine, s->container, &(struct engine_attach_args){ .out = true, .err = true, .stream = true }, &ops, s, &err);
	if (s->attach)
		build_hold(b);
	s->wait = s->attach ? engine_wait(b->bs->engine, s->container, "next-exit", on_exit_, s, &err) : NULL;
	if (s->wait)
		build_hold(b);
	if (!s->wait) {
		build_fail(b, &err, 0);
		build_drop(b);
		return;
	}
	build_hold(b);
	engine_start(b->bs->engine, s->container, started, s);
	build_drop(b);
}

/* "#!" in a heredoc makes it a program of its own: a file that is mounted where BuildKit has it. */
static int script_dir(struct stage *s, const struct build_heredoc *d, char **dir, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/script-%u", s->b->dir, s->b->containers), *text = build_heredoc_text(d);
	CLEANUP(fd_closep) int at = -1, fd = -1;
	int rc;

	if (!*d->name || strchr(d->name, '/') || str_eq(d->name, ".") || str_eq(d->name, ".."))
		return err_set(e, ERR_INVALID, "the heredoc's name '%.100s' is no file name", d->name);
	if (mkdir(path, 0755) < 0)
		return err_errno(e, errno, "create %s", path);
	at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = at < 0 ? -1 : openat(at, d->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	rc = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	if (rc == 0 && fchmod(fd, 0755) < 0)
		rc = -errno;
	if (rc < 0)
		return err_errno(e, -rc, "write the heredoc %s", d->name);
	*dir = TAKE(path);
	return 0;
}

/* The command, with heredocs as BuildKit reads them: one alone is the script; in a longer line they are the shell's. */
static int command_of(struct stage *s, json_t **cmd, char **scripts, struct err *e)
{
	const struct build_line *l = s->step->line;
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	json_t *words;

	if (!l->ndocs) {
		*cmd = build_state_command(&s->state, l);
		return json_array_size(*cmd) ? 0 : err_set(e, ERR_INVALID, "RUN requires at least one argument");
	}
	buf_init(&b, 2 * DOCKERFILE_MAX);
	if (build_heredoc_word(l->args[0], NULL, NULL, NULL)) {
		CLEANUP(mem_freep) char *text = build_heredoc_text(&l->docs[0]);

		if (str_starts(text, "#!")) {
			if (script_dir(s, &l->docs[0], scripts, e) < 0)
				return -1;
			buf_printf(&b, "/dev/pipes/%s", l->docs[0].name);
		} else {
			buf_adds(&b, text);
		}
	} else {
		buf_adds(&b, l->args[0]);
		for (size_t i = 0; i < l->ndocs; i++)
			buf_printf(&b, "\n%s%s", l->docs[i].text, l->docs[i].name);
	}
	words = build_state_shell(&s->state);
	json_array_append_new(words, json_string(b.data ? b.data : ""));
	*cmd = words;
	return 0;
}

/* The words that the cache and the history know: "|1 A=b /bin/sh -c x"; the text of a script is part of them. */
static char *run_made_by(struct stage *s, const json_t *cmd)
{
	CLEANUP(json_freep) json_t *args = build_state_run_args(&s->state, true), *all = json_array();
	const struct build_line *l = s->step->line;

	if (json_array_size(args)) {
		json_array_append_new(all, json_sprintf("|%zu", json_array_size(args)));
		json_array_extend(all, args);
	}
	json_array_extend(all, (json_t *)cmd);
	if (l->ndocs && str_starts(l->docs[0].text, "#!"))
		json_array_append_new(all, json_sprintf("# %s", l->docs[0].text));
	return build_join(all);
}

static json_t *container_body(struct stage *s, const json_t *cmd, const char *scripts)
{
	json_t *host = s->b->host ? json_deep_copy(s->b->host) : json_object(), *env = json_array(), *args = build_state_run_args(&s->state, false);

	json_array_extend(env, json_arr(s->state.config, "Env"));
	json_array_extend(env, args);
	json_decref(args);
	json_object_set_new(host, "LogConfig", json_pack("{s:s}", "Type", "none"));
	if (scripts)
		json_object_set_new(host, "Mounts", json_pack("[{s:s, s:s, s:s, s:b}]", "Type", "bind", "Source", scripts, "Target", "/dev/pipes",
							      "ReadOnly", 1));
	return json_pack("{s:s, s:O, s:[s], s:o, s:s, s:s, s:b, s:b, s:{}, s:{s:[s]}, s:o}", "Image", s->image, "Cmd", cmd, "Entrypoint", "", "Env", env, "User",
			 json_str(s->state.config, "User", ""), "WorkingDir", json_str(s->state.config, "WorkingDir", ""), "AttachStdout", 1,
			 "AttachStderr", 1, "Labels", "Healthcheck", "Test", "NONE", "HostConfig", host);
}

int run_start(struct stage *s, struct err *e)
{
	struct build *b = s->b;
	CLEANUP(json_freep) json_t *cmd = NULL, *body = NULL;
	CLEANUP(mem_freep) char *scripts = NULL, *name = NULL;

	if (!*s->image)
		return err_set(e, ERR_INVALID, "RUN has nothing to run in: the stage is still empty (FROM scratch)");
	b->containers++;
	if (command_of(s, &cmd, &scripts, e) < 0)
		return -1;
	s->made_by = run_made_by(s, cmd);
	if (stage_cached(s))
		return 0;
	if (stage_lent(s))
		return 1;
	body = container_body(s, cmd, scripts);
	if (!body)
		return err_set(e, ERR_INVALID, "RUN cannot be put into a container's configuration");
	name = mem_printf("build_%s_%u", b->id, b->containers);
	build_hold(b);
	engine_create(b->bs->engine, name, body, on_created, s);
	return 1;
}
