/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run, create, start, attach.
 *
 * A container in the foreground: its streams are attached and a wait is in place (the engine has answered both with a head)
 * before it is started, so neither its first byte nor its exit can be missed. With --rm the wait is for the removal, so that
 * the name is free again when the command ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/registry.h"
#include "cli/stream.h"

static int run_fail(struct cli *c, const struct err *e, int status)
{
	fprintf(stderr, "kedge: %s\n\nRun 'kedge %s --help' for more information\n", e->msg, c->name);
	return status;
}

/* How docker tells the reasons of a failed start apart. */
static int start_status(const struct err *e)
{
	if (strstr(e->msg, "executable file not found") || strstr(e->msg, "no such file or directory"))
		return 127;
	if (strstr(e->msg, "permission denied") || strstr(e->msg, "is a directory"))
		return 126;
	return EXIT_ENGINE;
}

/* Wait */

struct wait {
	struct cli *c;
	struct http_call *call;
	struct buf reply;
	struct err err;
	int status;
	bool done, failed;
};

static void wait_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct wait *w = user;

	(void)call, (void)upgraded;
	w->status = status;
}

static void wait_data(struct http_call *call, const void *p, size_t n, void *user)
{
	struct wait *w = user;

	(void)call;
	buf_add(&w->reply, p, n);
}

static void wait_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct wait *w = user;

	(void)call;
	w->call = NULL;
	w->done = true;
	if (!ok) {
		w->failed = true;
		w->err = *e;
	}
}

static const struct http_call_ops wait_ops = { .head = wait_head, .data = wait_data, .end = wait_end };

static void wait_begin(struct wait *w, struct cli *c, const char *id, const char *condition)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", id, "/wait?condition="), *whole CLEANUP(mem_freep) = mem_printf("%s%s", path, condition);
	char *target CLEANUP(mem_freep) = cli_target(whole);

	*w = (struct wait){ .c = c };
	w->call = http_call_start(c->http, &(struct http_call_args){ .method = "POST", .target = target }, &wait_ops, w);
	while (!w->status && !w->done)
		loop_turn(c->loop, -1);
}

static void wait_done(struct wait *w)
{
	if (w->call)
		http_call_cancel(w->call);
	buf_done(&w->reply);
}

/* Exit status of the container; 125 and a sentence when it is not to be had. */
static int wait_end_status(struct wait *w)
{
	json_t *doc CLEANUP(json_freep) = NULL;
	struct err e = { 0 };
	const char *msg;

	while (!w->done)
		loop_turn(w->c->loop, -1);
	if (w->status >= 400)
		cli_reply_error(w->status, w->reply.data, w->reply.len, &e);
	else if (w->failed)
		e = w->err;
	else
		doc = json_parse(w->reply.data ? w->reply.data : "", w->reply.len, "the engine's reply", &e);
	if (!doc) {
		fprintf(stderr, "Error waiting for container: %s\n", e.msg);
		return EXIT_ENGINE;
	}
	msg = json_str(json_obj(doc, "Error"), "Message", "");
	if (*msg) {
		fprintf(stderr, "Error waiting for container: %s\n", msg);
		return EXIT_ENGINE;
	}
	return (int)json_i64(doc, "StatusCode", EXIT_ENGINE);
}

/* Create */

static int write_cidfile(const char *path, const char *id, struct err *e)
{
	int fd CLEANUP(fd_closep) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_INVALID, "container ID file found, make sure the other container isn't running or delete %s", path);
	if (fd < 0)
		return err_errno(e, errno, "failed to create the container ID file %s", path);
	return file_write_all(fd, id, strlen(id)) < 0 ? err_set(e, ERR_INTERNAL, "failed to write the container ID file %s", path) : 0;
}

static bool says_no_image(const struct err *e)
{
	return e->kind == ERR_NOT_FOUND && (strstr(e->msg, "No such image") || strstr(e->msg, "does not match the specified platform"));
}

/* The request itself; an image that is missing, or of which the newest is wanted, is pulled. */
static int create_call(struct cli *c, const struct flags *f, const char *path, const json_t *body, struct buf *reply, struct err *e)
{
	const char *pull = flag_str(f, "pull"), *image = f->args[0], *slash = strrchr(image, '/'), *platform = *flag_str(f, "platform") ? flag_str(f, "platform") : NULL;
	FILE *out = flag_bool(f, "quiet") ? NULL : stderr;

	if (str_eq(pull, "always") && registry_pull(c, image, platform, out, e) < 0)
		return -1;
	if (cli_call(c, "POST", path, body, reply, e) >= 0)
		return 0;
	if (!says_no_image(e) || !str_eq(pull, "missing"))
		return -1;
	fprintf(stderr, "Unable to find image '%s%s' locally\n", image, strchr(slash ? slash : image, ':') || strchr(image, '@') ? "" : ":latest");
	err_clear(e);
	if (registry_pull(c, image, platform, out, e) < 0)
		return -1;
	return cli_call(c, "POST", path, body, reply, e) < 0 ? -1 : 0;
}

/* The new id (the caller frees), or NULL with e. */
static char *create(struct cli *c, const struct flags *f, const json_t *body, struct err *e)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *warnings;
	const char *cidfile = flag_str(f, "cidfile"), *id;
	json_t *w;
	size_t i;

	if (*cidfile && access(cidfile, F_OK) == 0) {
		err_set(e, ERR_INVALID, "container ID file found, make sure the other container isn't running or delete %s", cidfile);
		return NULL;
	}
	buf_adds(&path, "/containers/create");
	if (*flag_str(f, "name"))
		cli_query(&path, "name", flag_str(f, "name"));
	if (*flag_str(f, "platform"))
		cli_query(&path, "platform", flag_str(f, "platform"));
	if (create_call(c, f, path.data, body, &reply, e) < 0)
		return NULL;
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", e);
	id = json_str(doc, "Id", NULL);
	if (!id) {
		err_set(e, ERR_INTERNAL, "the engine's reply has no id of the container");
		return NULL;
	}
	warnings = json_arr(doc, "Warnings");
	json_array_foreach(warnings, i, w)
		fprintf(stderr, "WARNING: %s\n", json_string_value(w));
	if (*cidfile && write_cidfile(cidfile, id, e) < 0)
		return NULL;
	return mem_strdup(id);
}

static int cmd_create(struct cli *c, struct flags *f)
{
	struct err e = { 0 };
	json_t *body CLEANUP(json_freep) = create_body(f, false, &e);
	char *id CLEANUP(mem_freep) = body ? create(c, f, body, &e) : NULL;

	if (!id && body) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	if (!id)
		return run_fail(c, &e, EXIT_ENGINE);
	printf("%s\n", id);
	return 0;
}

/* Run */

static int start(struct cli *c, const char *id, struct err *e)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", id, "/start");

	return cli_call(c, "POST", path, NULL, NULL, e) < 0 ? -1 : 0;
}

/* An automatically removed container that did not start is not left behind. */
static void remove_unstarted(struct cli *c, const char *id)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", id, "?force=1&v=1");
	struct err e;

	(void)cli_call(c, "DELETE", path, NULL, NULL, &e);	/* the engine may have done it already */
}

struct foreground {
	const char *id;
	bool in, out, err, tty, rm, proxy;
	const char *detach_keys;
	bool detached;		/* set: the user left */
	bool started;		/* set */
};

/* Attaches, starts, streams, waits. The exit status; -1 with e before the start. */
static int run_foreground(struct cli *c, struct foreground *fg, struct err *e)
{
	struct stream_args a = { .id = fg->id, .in = fg->in, .out = fg->out, .err = fg->err, .tty = fg->tty, .detach_keys = fg->detach_keys };
	struct stream *s = NULL;
	struct wait w = { 0 };
	int status = -1;

	if (fg->in || fg->out || fg->err) {
		s = stream_open(c, &a, e);
		if (!s)
			return -1;
	}
	wait_begin(&w, c, fg->id, fg->rm ? "removed" : "next-exit");
	if (w.done && (w.failed || w.status >= 400)) {
		if (w.failed)
			*e = w.err;
		else
			cli_reply_error(w.status, w.reply.data, w.reply.len, e);
		goto out;
	}
	if (s && fg->proxy)
		stream_proxy_signals(s);
	if (start(c, fg->id, e) < 0)
		goto out;
	fg->started = true;
	if (s && fg->tty)
		stream_terminal(s);
	while (s && !stream_ended(s))
		loop_turn(c->loop, -1);
	fg->detached = s && stream_detached(s);
	status = fg->detached ? 0 : wait_end_status(&w);
out:
	stream_free(s);
	wait_done(&w);
	return status;
}

static int cmd_run(struct cli *c, struct flags *f)
{
	bool detach = flag_bool(f, "detach"), rm = flag_bool(f, "rm");
	struct err e = { 0 };
	json_t *body CLEANUP(json_freep) = create_body(f, detach, &e);
	char *id CLEANUP(mem_freep) = NULL;
	struct foreground fg = { .rm = rm, .proxy = flag_bool(f, "sig-proxy"), .tty = flag_bool(f, "tty"), .detach_keys = flag_str(f, "detach-keys") };
	struct detach_keys keys;
	int status;

	if (body && detach && flag_given(f, "attach")) {
		fprintf(stderr, "conflicting options: cannot specify both --attach and --detach\n");
		return 1;
	}
	if (!body || detach_parse(&keys, fg.detach_keys, &e) < 0)
		return run_fail(c, &e, EXIT_ENGINE);
	fg.in = json_flag(body, "AttachStdin", false);
	fg.out = json_flag(body, "AttachStdout", false);
	fg.err = json_flag(body, "AttachStderr", false);
	if (fg.in && fg.tty && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "the input device is not a TTY\n");
		return 1;
	}
	id = create(c, f, body, &e);
	if (!id) {
		return run_fail(c, &e, start_status(&e) == EXIT_ENGINE || says_no_image(&e) ? EXIT_ENGINE : start_status(&e));
	}
	fg.id = id;
	if (detach || !(fg.in || fg.out || fg.err)) {
		status = start(c, id, &e) < 0 ? -1 : 0;
		if (status == 0)
			printf("%s\n", id);
	} else {
		status = run_foreground(c, &fg, &e);
	}
	if (status < 0) {
		if (rm && !fg.started)
			remove_unstarted(c, id);
		return run_fail(c, &e, start_status(&e));
	}
	return status;
}

/* Start, attach */

static int start_all(struct cli *c, struct flags *f)
{
	struct buf failed CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };

	for (int i = 0; i < f->argc; i++) {
		if (start(c, f->args[i], &e) < 0) {
			fprintf(stderr, "%s\n", e.msg);
			buf_printf(&failed, "%s%s", failed.len ? ", " : "", f->args[i]);
			continue;
		}
		printf("%s\n", f->args[i]);
		fflush(stdout);
	}
	if (failed.len)
		fprintf(stderr, "Error: failed to start containers: %s\n", failed.data);
	return failed.len ? 1 : 0;
}

static int cmd_start(struct cli *c, struct flags *f)
{
	bool attach = flag_bool(f, "attach"), in = flag_bool(f, "interactive");
	struct err e = { 0 };
	char *path CLEANUP(mem_freep) = NULL;
	json_t *doc CLEANUP(json_freep) = NULL;
	struct foreground fg = { 0 };
	int status;

	if (flag_given(f, "checkpoint") || flag_given(f, "checkpoint-dir")) {
		fprintf(stderr, "--checkpoint is not supported: the engine keeps no checkpoints\n");
		return 1;
	}
	if (!attach && !in)
		return start_all(c, f);
	if (f->argc > 1) {
		fprintf(stderr, "you cannot start and attach multiple containers at once\n");
		return 1;
	}
	path = cli_path("/containers/", f->args[0], "/json");
	doc = cli_get(c, path, &e);
	if (!doc)
		return cli_fail(&e);
	fg.id = json_str(doc, "Id", f->args[0]);
	fg.tty = json_flag(json_obj(doc, "Config"), "Tty", false);
	fg.in = in && json_flag(json_obj(doc, "Config"), "OpenStdin", false);
	fg.out = fg.err = true;
	fg.rm = json_flag(json_obj(doc, "HostConfig"), "AutoRemove", false);
	fg.proxy = flag_bool(f, "sig-proxy") && !fg.tty;
	fg.detach_keys = flag_str(f, "detach-keys");
	if (fg.in && fg.tty && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "the input device is not a TTY\n");
		return 1;
	}
	if (json_flag(json_obj(doc, "State"), "Running", false)) {
		fprintf(stderr, "You cannot attach to a running container with start: use 'kedge attach %s'\n", f->args[0]);
		return 1;
	}
	status = run_foreground(c, &fg, &e);
	return status < 0 ? cli_fail(&e) : status;
}

static int cmd_attach(struct cli *c, struct flags *f)
{
	struct err e = { 0 };
	char *path CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/json");
	json_t *doc CLEANUP(json_freep) = cli_get(c, path, &e), *state = json_obj(doc, "State"), *config = json_obj(doc, "Config");
	struct stream_args a = { .out = true, .err = true, .detach_keys = flag_str(f, "detach-keys") };
	struct stream *s;
	struct wait w;
	int status;

	if (!doc)
		return cli_fail(&e);
	if (!json_flag(state, "Running", false)) {
		fprintf(stderr, "You cannot attach to a stopped container, start it first\n");
		return 1;
	}
	if (json_flag(state, "Paused", false) || json_flag(state, "Restarting", false)) {
		fprintf(stderr, "You cannot attach to a %s container, %s\n", json_flag(state, "Paused", false) ? "paused" : "restarting",
			json_flag(state, "Paused", false) ? "unpause it first" : "wait until it is running");
		return 1;
	}
	a.id = json_str(doc, "Id", f->args[0]);
	a.tty = json_flag(config, "Tty", false);
	a.in = !flag_bool(f, "no-stdin") && json_flag(config, "OpenStdin", false);
	if (a.in && a.tty && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "the input device is not a TTY\n");
		return 1;
	}
	if (cli_connect(c, &e) < 0)
		return cli_fail(&e);
	wait_begin(&w, c, a.id, "not-running");
	s = stream_open(c, &a, &e);
	if (!s) {
		wait_done(&w);
		return cli_fail(&e);
	}
	if (flag_bool(f, "sig-proxy") && !a.tty)
		stream_proxy_signals(s);
	if (a.tty)
		stream_terminal(s);
	while (!stream_ended(s))
		loop_turn(c->loop, -1);
	if (stream_detached(s)) {
		stream_free(s);
		fprintf(stderr, "read escape sequence\n");
		status = 1;
	} else {
		/* The stream can end with the container or when the engine goes down: only the wait knows. */
		stream_free(s);
		status = wait_end_status(&w);
	}
	wait_done(&w);
	return status;
}

#define DETACH_KEYS { "detach-keys", 0, FLAG_STRING, "Override the key sequence for detaching a container (default \"ctrl-p,ctrl-q\")" }
#define SIG_PROXY { "sig-proxy", 0, FLAG_BOOL, "Proxy received signals to the process", .def = "true" }

static const struct flag_def run_flags[] = {
	{ "detach", 'd', FLAG_BOOL, "Run container in background and print container ID" }, DETACH_KEYS, SIG_PROXY, CREATE_FLAGS, { 0 },
};

static const struct flag_def create_flags[] = { CREATE_FLAGS, { 0 } };

static const struct flag_def start_flags[] = {
	{ "attach", 'a', FLAG_BOOL, "Attach STDOUT/STDERR and forward signals" }, { "checkpoint", 0, FLAG_STRING, "Restore from this checkpoint" },
	{ "checkpoint-dir", 0, FLAG_STRING, "Use a custom checkpoint storage directory" }, DETACH_KEYS,
	{ "interactive", 'i', FLAG_BOOL, "Attach container's STDIN" }, { "sig-proxy", 0, FLAG_BOOL, "Forward signals", .def = "true", .hidden = true }, { 0 },
};

static const struct flag_def attach_flags[] = { DETACH_KEYS, { "no-stdin", 0, FLAG_BOOL, "Do not attach STDIN" }, SIG_PROXY, { 0 } };

const struct command commands_run[] = {
	{ "container run,run", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image", run_flags, 1, -1, true, cmd_run },
	{ "container create,create", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", create_flags, 1, -1, true, cmd_create },
	{ "container start,start", "[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers", start_flags, 1, -1, false, cmd_start },
	{ "container attach,attach", "[OPTIONS] CONTAINER", "Attach local standard input, output, and error streams to a running container",
	  attach_flags, 1, 1, false, cmd_attach },
	{ 0 },
};
