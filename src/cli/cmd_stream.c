/* SPDX-License-Identifier: Apache-2.0 */
/* logs, events, load, import: replies that come in pieces, bodies that go out in pieces. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/registry.h"
#include "cli/render.h"
#include "cli/spec.h"
#include "cli/stream.h"
#include "cli/template.h"

enum { UPLOAD_PIECE = 128 << 10, UPLOAD_HIGH = 1 << 20 };

/* --since and --until: what the engine understands goes as it is, a span before now as the point in time it means. */
static int query_time(struct buf *path, const char *key, const char *text, const char *where, struct err *e)
{
	char out[40];
	int64_t ns;

	if (str_empty(text))
		return 0;
	if (str_to_time_ns(text, clock_wall(), &ns) < 0)
		return err_set(e, ERR_INVALID, "%sfailed to parse value as time or duration: \"%.100s\"", where, text);
	snprintf(out, sizeof(out), "%lld.%09lld", (long long)(ns / 1000000000), (long long)(ns % 1000000000));
	cli_query(path, key, out);
	return 0;
}

static int cmd_logs(struct cli *c, struct flags *f)
{
	char *head CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/logs?stdout=1&stderr=1");
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };

	buf_adds(&path, head);
	if (flag_bool(f, "follow"))
		cli_query(&path, "follow", "1");
	if (flag_bool(f, "timestamps"))
		cli_query(&path, "timestamps", "1");
	if (flag_bool(f, "details"))
		cli_query(&path, "details", "1");
	cli_query(&path, "tail", flag_str(f, "tail"));
	if (query_time(&path, "since", flag_str(f, "since"), "invalid value for \"since\": ", &e) < 0 || query_time(&path, "until", flag_str(f, "until"), "invalid value for \"until\": ", &e) < 0 ||
	    stream_logs(c, path.data, &e) < 0)
		return cli_fail(&e);
	return 0;
}

/* Replies of JSON values, one a line */

struct lines {
	struct cli *c;
	struct http_call *call;
	struct buf line;
	int status;
	bool ended, failed;
	struct err err;
	void (*each)(struct lines *l, json_t *msg);
	void *user;
	/* upload */
	int fd;
	struct loop_io *io;
	bool paused, over, deferred;
};

static void lines_take(struct lines *l)
{
	json_t *msg = NULL;
	struct err e = { 0 };

	if (l->line.len)
		msg = json_parse(l->line.data, l->line.len, "the engine's reply", &e);
	if (!msg && l->line.len && !l->failed) {
		l->failed = true;
		l->err = e;
	}
	if (msg)
		l->each(l, msg);
	json_decref(msg);
	buf_reset(&l->line);
}

static void lines_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct lines *l = user;

	(void)call, (void)upgraded;
	l->status = status;
}

static void lines_data(struct http_call *call, const void *data, size_t n, void *user)
{
	struct lines *l = user;
	const char *p = data;

	(void)call;
	if (l->status >= 400) {
		buf_add(&l->line, p, n);
		return;
	}
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl ? (size_t)(nl - p) : n;

		buf_add(&l->line, p, len);
		if (nl) {
			while (l->line.len && l->line.data[l->line.len - 1] == '\r')
				l->line.data[--l->line.len] = '\0';
			lines_take(l);
			len++;
		}
		p += len;
		n -= len;
	}
}

static void upload_stop(struct lines *l)
{
	loop_io_free(l->io);
	l->io = NULL;
	l->over = true;
}

static void lines_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct lines *l = user;

	(void)call;
	l->call = NULL;
	l->ended = true;
	upload_stop(l);
	if (l->status >= 400) {
		l->failed = true;
		cli_reply_error(l->status, l->line.data, l->line.len, &l->err);
	} else if (!ok) {
		l->failed = true;
		l->err = *e;
	} else if (l->line.len) {
		lines_take(l);
	}
}

/* One piece of the body; false at its end. */
static bool upload_piece(struct lines *l)
{
	char *data CLEANUP(mem_freep) = mem_alloc(UPLOAD_PIECE);
	ssize_t n = read(l->fd, data, UPLOAD_PIECE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < 0) {
		err_errno(&l->err, errno, "read the archive");
		l->failed = true;
		http_call_cancel(l->call);
		l->call = NULL;
		l->ended = true;
		return false;
	}
	if (n == 0) {
		http_call_finish(l->call);
		return false;
	}
	if (http_call_write(l->call, data, (size_t)n) > UPLOAD_HIGH) {
		l->paused = true;
		if (l->io)
			loop_io_set(l->io, 0);
	}
	return true;
}

static void upload_turn(void *user)
{
	struct lines *l = user;

	l->deferred = false;
	while (!l->over && !l->paused) {
		if (!upload_piece(l))
			upload_stop(l);
	}
}

static void upload_readable(void *user, unsigned events)
{
	struct lines *l = user;

	(void)events;
	if (!l->call || !upload_piece(l))
		upload_stop(l);
}

static void lines_drain(struct http_call *call, void *user)
{
	struct lines *l = user;

	(void)call;
	if (l->over || !l->paused)
		return;
	l->paused = false;
	if (l->io)
		loop_io_set(l->io, LOOP_READ);
	else
		upload_turn(l);
}

static const struct http_call_ops lines_ops = { .head = lines_head, .data = lines_data, .end = lines_end, .drain = lines_drain };

/* fd -1: no body. 0, or -1 with e. */
static int lines_run(struct lines *l, struct cli *c, const char *method, const char *path, const char *const *headers, int fd, struct err *e)
{
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct http_call_args a = { .method = method, .target = target, .type = "application/x-tar", .stream = fd >= 0,
				     .headers = headers };
	struct stat st;

	if (cli_connect(c, e) < 0)
		return -1;
	l->c = c;
	l->fd = fd;
	l->over = fd < 0;
	l->call = http_call_start(c->http, &a, &lines_ops, l);
	if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)))) {
		l->deferred = true;
		loop_defer(c->loop, upload_turn, l);
	} else if (fd >= 0) {
		l->io = loop_io_new(c->loop, fd, LOOP_READ, upload_readable, l);
	}
	while (!l->ended || l->deferred)
		loop_turn(c->loop, -1);
	buf_done(&l->line);
	if (l->failed)
		*e = l->err;
	return l->failed ? -1 : 0;
}

struct lines_user {
	struct lines l;
	void (*each)(void *user, json_t *msg);
	void *user;
};

static void lines_each(struct lines *l, json_t *msg)
{
	struct lines_user *u = CONTAINER_OF(l, struct lines_user, l);

	u->each(u->user, msg);
}

int cli_lines(struct cli *c, const char *method, const char *path, const char *const *headers, int fd, void (*each)(void *user, json_t *msg), void *user,
	      struct err *e)
{
	struct lines_user u = { .l = { .each = lines_each }, .each = each, .user = user };

	return lines_run(&u.l, c, method, path, headers, fd, e);
}

/* load, import */

static bool show_progress, in_progress;

static void load_message(struct lines *l, json_t *msg)
{
	const char *text = json_str(msg, "stream", NULL), *error = json_str(msg, "error", NULL);
	json_t *detail = json_obj(msg, "progressDetail");
	struct buf b CLEANUP(buf_done) = BUF_INIT;

	if (!error)
		error = json_str(json_obj(msg, "errorDetail"), "message", NULL);
	if (error && !l->failed) {
		l->failed = true;
		err_set(&l->err, ERR_INVALID, "%s", error);
		return;
	}
	if (detail && show_progress && json_i64(detail, "current", 0) > 0) {
		render_size(&b, (double)json_i64(detail, "current", 0));
		if (json_i64(detail, "total", 0) > 0) {
			buf_addc(&b, '/');
			render_size(&b, (double)json_i64(detail, "total", 0));
		}
		fprintf(stderr, "\r\033[K%s: %s %s", json_str(msg, "id", ""), json_str(msg, "status", ""), b.data);
		in_progress = true;
		return;
	}
	if (!text && !detail)
		text = json_str(msg, "status", NULL);
	if (!text || !*text)
		return;
	if (in_progress)
		fprintf(stderr, "\r\033[K");
	in_progress = false;
	printf("%s%s", text, str_ends(text, "\n") ? "" : "\n");
	fflush(stdout);
}

static int send_archive(struct cli *c, const char *path, int fd)
{
	struct lines l = { .each = load_message };
	struct err e = { 0 };
	int r;

	show_progress = isatty(STDERR_FILENO);
	r = lines_run(&l, c, "POST", path, NULL, fd, &e);
	if (in_progress)
		fprintf(stderr, "\r\033[K");
	return r < 0 ? cli_fail(&e) : 0;
}

static int cmd_load(struct cli *c, struct flags *f)
{
	const char *input = flag_str(f, "input");
	int fd CLEANUP(fd_closep) = -1;

	if (*input) {
		fd = open(input, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			fprintf(stderr, "open %s: %s\n", input, spec_errno(errno));
			return 1;
		}
	} else if (isatty(STDIN_FILENO)) {
		fprintf(stderr, "requested load from stdin, but stdin is empty\n");
		return 1;
	}
	return send_archive(c, flag_bool(f, "quiet") ? "/images/load?quiet=1" : "/images/load?quiet=0", fd < 0 ? STDIN_FILENO : fd);
}

static int cmd_import(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *src = f->args[0], *colon;
	int fd CLEANUP(fd_closep) = -1;

	if (strstr(src, "://")) {
		fprintf(stderr, "kedge: import takes a file or '-', not the address '%s'\n", src);
		return 1;
	}
	buf_adds(&path, "/images/create?fromSrc=-");
	if (f->argc > 1) {
		/* A colon after the last slash parts name and tag; one before it is a port. */
		const char *slash = strrchr(f->args[1], '/');
		char *repo CLEANUP(mem_freep) = NULL;

		colon = strrchr(slash ? slash : f->args[1], ':');
		repo = mem_strndup(f->args[1], colon ? (size_t)(colon - f->args[1]) : strlen(f->args[1]));
		cli_query(&path, "repo", repo);
		if (colon)
			cli_query(&path, "tag", colon + 1);
	}
	if (*flag_str(f, "message"))
		cli_query(&path, "message", flag_str(f, "message"));
	for (char *const *w = flag_list(f, "change"); *w; w++)
		cli_query(&path, "changes", *w);
	if (!str_eq(src, "-")) {
		fd = open(src, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			fprintf(stderr, "open %s: %s\n", src, spec_errno(errno));
			return 1;
		}
	}
	return send_archive(c, path.data, fd < 0 ? STDIN_FILENO : fd);
}

/* events */

static int text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "2024-01-02T03:04:05.000000000Z container start 4f1c... (image=web, name=web)" */
static void event_line(struct buf *b, const json_t *ev)
{
	json_t *actor = json_obj(ev, "Actor"), *attrs = json_obj(actor, "Attributes"), *v;
	int64_t ns = json_i64(ev, "timeNano", 0);
	const char **keys, *key;
	size_t n = 0;

	if (ns == 0)
		ns = json_i64(ev, "time", 0) * 1000000000;
	render_time_nano(b, ns);
	buf_printf(b, " %s %s %s", json_str(ev, "Type", ""), json_str(ev, "Action", ""), json_str(actor, "ID", ""));
	if (json_object_size(attrs)) {
		keys = mem_zalloc(json_object_size(attrs) * sizeof(*keys));
		json_object_foreach(attrs, key, v)
			keys[n++] = key;
		qsort(keys, n, sizeof(*keys), text_order);
		for (size_t i = 0; i < n; i++)
			buf_printf(b, "%s%s=%s", i ? ", " : " (", keys[i], json_str(attrs, keys[i], ""));
		buf_addc(b, ')');
		free(keys);
	}
	buf_addc(b, '\n');
}

/* {{json .}} of an event: the fields as docker's own type has them. */
static json_t *event_in_order(json_t *ev)
{
	static const char *const fields[] = { "status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano" };
	json_t *out = json_object(), *actor = json_obj(ev, "Actor"), *attrs = json_obj(actor, "Attributes");

	if (attrs)
		json_object_set_new(actor, "Attributes", format_sorted(json_incref(attrs)));
	for (size_t i = 0; i < N(fields); i++) {
		if (json_object_get(ev, fields[i]))
			json_object_set(out, fields[i], json_object_get(ev, fields[i]));
	}
	return out;
}

static void event_message(struct lines *l, json_t *ev)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	json_t *message CLEANUP(json_freep) = l->user ? event_in_order(ev) : NULL;
	struct template_args a = { .dot = message, .text_maps = true };

	if (!l->user) {
		event_line(&b, ev);
	} else if (template_run(l->user, &a, &b, &l->err) < 0) {
		l->failed = true;
		http_call_cancel(l->call);
		l->call = NULL;
		l->ended = true;
		return;
	} else {
		buf_addc(&b, '\n');
	}
	cli_out(&b);
}

static int cmd_events(struct cli *c, struct flags *f)
{
	struct lines l = { .each = event_message };
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *format = flag_str(f, "format");
	struct err e = { 0 };
	char *plain CLEANUP(mem_freep) = format_unescape(str_eq(format, "json") ? "{{json .}}" : format);
	int r = 0;

	if (*plain) {
		l.user = template_parse(plain, &e);
		if (!l.user) {
			fprintf(stderr, "Error parsing format: %s\n", e.msg);
			return 64;
		}
	}
	buf_adds(&path, "/events");
	if (query_time(&path, "since", flag_str(f, "since"), "", &e) < 0 || query_time(&path, "until", flag_str(f, "until"), "", &e) < 0 ||
	    cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 || lines_run(&l, c, "GET", path.data, NULL, -1, &e) < 0)
		r = cli_fail(&e);
	template_free(l.user);
	return r;
}

static const struct flag_def logs_flags[] = {
	{ "details", 0, FLAG_BOOL, "Show extra details provided to logs" }, { "follow", 'f', FLAG_BOOL, "Follow log output" },
	{ "since", 0, FLAG_STRING, "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)" },
	{ "tail", 'n', FLAG_STRING, "Number of lines to show from the end of the logs", .def = "all" },
	{ "timestamps", 't', FLAG_BOOL, "Show timestamps" },
	{ "until", 0, FLAG_STRING, "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)" }, { 0 },
};

static const struct flag_def events_flags[] = {
	FLAG_FILTER, FLAG_FORMAT, { "since", 0, FLAG_STRING, "Show all events created since timestamp" },
	{ "until", 0, FLAG_STRING, "Stream events until this timestamp" }, { 0 },
};

static const struct flag_def load_flags[] = {
	{ "input", 'i', FLAG_STRING, "Read from tar archive file, instead of STDIN" }, { "quiet", 'q', FLAG_BOOL, "Suppress the load output" }, { 0 },
};

static const struct flag_def import_flags[] = {
	{ "change", 'c', FLAG_LIST, "Apply Dockerfile instruction to the created image" },
	{ "message", 'm', FLAG_STRING, "Set commit message for imported image" }, { 0 },
};

const struct command commands_stream[] = {
	{ "container logs,logs", "[OPTIONS] CONTAINER", "Fetch the logs of a container", logs_flags, 1, 1, false, cmd_logs },
	{ "system events,events", "[OPTIONS]", "Get real time events from the server", events_flags, 0, 0, false, cmd_events },
	{ "image load,load", "[OPTIONS]", "Load an image from a tar archive or STDIN", load_flags, 0, 0, false, cmd_load },
	{ "image import,import", "[OPTIONS] file|- [REPOSITORY[:TAG]]", "Import the contents from a tarball to create a filesystem image",
	  import_flags, 1, 2, false, cmd_import },
	{ 0 },
};
