/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's standard streams over one hijacked connection.
 *
 * Output is written with blocking writes: while our reader is slow nothing is read from the connection, so the engine holds the
 * container back and no memory grows. Input is read only while less than QUEUE_HIGH bytes wait to be sent, for the same reason.
 * A file or /dev/null cannot be watched for readability and is read from the loop's turns instead. End of input closes our half
 * of the connection; the other half lasts until the engine ends it.
 */
#include "cli/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { QUEUE_HIGH = 256 << 10, READ_SIZE = 32 << 10 };

static const struct {
	int number;
	const char *name;
} signals[] = {
	{ SIGHUP, "HUP" }, { SIGINT, "INT" }, { SIGQUIT, "QUIT" }, { SIGUSR1, "USR1" }, { SIGUSR2, "USR2" }, { SIGALRM, "ALRM" },
	{ SIGTERM, "TERM" }, { SIGCONT, "CONT" }, { SIGTSTP, "TSTP" }, { SIGTTIN, "TTIN" }, { SIGTTOU, "TTOU" },
};

struct stream {
	struct cli *c;
	struct http_call *call;
	struct stream_args a;
	char *id;
	struct demux demux;
	struct detach_keys keys;
	struct loop_io *io;
	struct loop_signal *watched[N(signals)], *winch;
	int status;		/* 0: no reply yet */
	struct buf refusal;
	struct err err;
	bool ended, failed, detached, pumping, paused, in_over;
};

void stream_write(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			(void)poll(&pfd, 1, -1);
			continue;
		}
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return;		/* nobody reads it any more; the container goes on */
		p += w;
		n -= (size_t)w;
	}
}

static void stream_out(void *user, int stream, const void *p, size_t n)
{
	(void)user;
	stream_write(stream == 1 ? STDOUT_FILENO : STDERR_FILENO, p, n);
}

/* Terminal */

static struct termios saved;
static bool is_raw;

static void terminal_restore(void)
{
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	is_raw = false;
}

/* Requests whose answer changes nothing; kept to be given up with the stream. */
static struct http_call *forgotten[16];

static void ignore_reply(struct http_call *call, bool ok, const struct err *e, void *user)
{
	(void)ok, (void)e, (void)user;
	for (size_t i = 0; i < N(forgotten); i++) {
		if (forgotten[i] == call)
			forgotten[i] = NULL;
	}
}

static const struct http_call_ops ignore_ops = { .end = ignore_reply };

/* The container may be gone by then. With an engine that answers none of them, more signals are dropped. */
static void post_and_forget(struct stream *s, const char *path)
{
	char *target CLEANUP(mem_freep) = cli_target(path);

	for (size_t i = 0; i < N(forgotten); i++) {
		if (forgotten[i])
			continue;
		forgotten[i] = http_call_start(s->c->http, &(struct http_call_args){ .method = "POST", .target = target }, &ignore_ops, NULL);
		return;
	}
}

static void on_winch(void *user)
{
	struct stream *s = user;
	struct winsize ws;
	char *path CLEANUP(mem_freep) = NULL, after[48];

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || (!ws.ws_row && !ws.ws_col) || s->ended)
		return;
	snprintf(after, sizeof(after), "/resize?h=%u&w=%u", ws.ws_row, ws.ws_col);
	path = cli_path(s->a.exec ? "/exec/" : "/containers/", s->id, after);
	post_and_forget(s, path);
}

/* Before the first key is read: what is typed while the container starts is for it. */
static void make_raw(void)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || is_raw || tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	t = saved;
	cfmakeraw(&t);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &t) < 0)
		return;
	is_raw = true;
	atexit(terminal_restore);
}

void stream_terminal(struct stream *s)
{
	if (isatty(STDOUT_FILENO) && !s->winch) {
		s->winch = loop_signal_new(s->c->loop, SIGWINCH, on_winch, s);
		on_winch(s);
	}
}

/* Signals */

struct proxied {
	struct stream *s;
	const char *name;
};
static struct proxied proxied[N(signals)];

static void on_signal(void *user)
{
	struct proxied *p = user;
	char *path CLEANUP(mem_freep) = NULL, after[32];

	if (p->s->ended)
		return;
	snprintf(after, sizeof(after), "/kill?signal=%s", p->name);
	path = cli_path("/containers/", p->s->id, after);
	post_and_forget(p->s, path);
}

void stream_proxy_signals(struct stream *s)
{
	for (size_t i = 0; i < N(signals); i++) {
		proxied[i] = (struct proxied){ s, signals[i].name };
		s->watched[i] = loop_signal_new(s->c->loop, signals[i].number, on_signal, &proxied[i]);
	}
}

/* Input */

static void pump(void *user);

static void stop_input(struct stream *s)
{
	loop_io_free(s->io);
	s->io = NULL;
	s->in_over = true;
}

static void resume_input(struct stream *s)
{
	if (s->in_over || !s->paused)
		return;
	s->paused = false;
	if (s->io) {
		loop_io_set(s->io, LOOP_READ);
	} else if (!s->pumping) {
		s->pumping = true;
		loop_defer(s->c->loop, pump, s);
	}
}

/* One read; false when there is no more to come. */
static bool read_input(struct stream *s)
{
	unsigned char data[READ_SIZE];
	struct buf held CLEANUP(buf_done) = BUF_INIT;
	const void *p = data;
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));
	size_t len, queued;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		http_call_finish(s->call);
		return false;
	}
	len = (size_t)n;
	if (s->a.tty) {
		if (detach_feed(&s->keys, data, len, &held)) {
			s->detached = true;
			s->ended = true;
			http_call_cancel(s->call);
			s->call = NULL;
			return false;
		}
		p = held.data;
		len = held.len;
	}
	queued = http_call_write(s->call, p, len);
	if (queued > QUEUE_HIGH) {
		s->paused = true;
		if (s->io)
			loop_io_set(s->io, 0);
	}
	return true;
}

static void on_input(void *user, unsigned events)
{
	struct stream *s = user;

	(void)events;
	if (!s->call || !read_input(s))
		stop_input(s);
}

static void pump(void *user)
{
	struct stream *s = user;

	s->pumping = false;
	if (s->in_over || !s->call)
		return;
	if (!read_input(s)) {
		stop_input(s);
	} else if (!s->paused) {
		s->pumping = true;
		loop_defer(s->c->loop, pump, s);
	}
}

static void start_input(struct stream *s)
{
	struct stat st;

	if (!s->a.in) {
		s->in_over = true;
		return;
	}
	if (s->a.tty)
		make_raw();
	if (fstat(STDIN_FILENO, &st) < 0) {
		s->in_over = true;
		http_call_finish(s->call);
		return;
	}
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(STDIN_FILENO))) {
		s->paused = true;
		resume_input(s);
	} else {
		s->io = loop_io_new(s->c->loop, STDIN_FILENO, LOOP_READ, on_input, s);
	}
}

/* Connection */

static void on_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct stream *s = user;
	const char *type = http_call_header(call, "Content-Type");

	(void)upgraded;
	s->status = status;
	if (type && strstr(type, "vnd.docker.raw-stream"))
		s->a.tty = true;
	else if (type && strstr(type, "vnd.docker.multiplexed-stream"))
		s->a.tty = false;
}

static void on_data(struct http_call *call, const void *p, size_t n, void *user)
{
	struct stream *s = user;

	(void)call;
	if (s->status >= 400)
		buf_add(&s->refusal, p, n);
	else if (s->a.tty)
		stream_write(STDOUT_FILENO, p, n);
	else if (!s->failed && demux_feed(&s->demux, p, n, stream_out, s, &s->err) < 0)
		s->failed = true;
}

static void on_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct stream *s = user;

	(void)call;
	s->call = NULL;
	s->ended = true;
	stop_input(s);
	if (!ok) {
		s->failed = true;
		s->err = *e;
	}
}

static void on_drain(struct http_call *call, void *user)
{
	(void)call;
	resume_input(user);
}

static const struct http_call_ops stream_ops = { .head = on_head, .data = on_data, .end = on_end, .drain = on_drain };

static void attach_query(struct buf *path, const struct stream_args *a)
{
	if (a->in)
		cli_query(path, "stdin", "1");
	if (a->out)
		cli_query(path, "stdout", "1");
	if (a->err)
		cli_query(path, "stderr", "1");
	if (a->logs)
		cli_query(path, "logs", "1");
	if (!str_empty(a->detach_keys))
		cli_query(path, "detachKeys", a->detach_keys);
}

struct stream *stream_open(struct cli *c, const struct stream_args *a, struct err *e)
{
	struct stream *s = mem_zalloc(sizeof(*s));
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	char *head CLEANUP(mem_freep) = a->exec ? cli_path("/exec/", a->id, "/start") : cli_path("/containers/", a->id, "/attach?stream=1");
	const char *body = !a->exec ? NULL : a->tty ? "{\"Detach\":false,\"Tty\":true}" : "{\"Detach\":false,\"Tty\":false}";
	char *target CLEANUP(mem_freep) = NULL;

	s->c = c;
	s->a = *a;
	s->id = mem_strdup(a->id);
	if (cli_connect(c, e) < 0 || detach_parse(&s->keys, a->detach_keys, e) < 0)
		goto fail;
	buf_adds(&path, head);
	if (!a->exec)
		attach_query(&path, a);
	target = cli_target(path.data);
	s->call = http_call_start(c->http, &(struct http_call_args){ .method = "POST", .target = target, .upgrade = true, .body = body,
				  .len = body ? strlen(body) : 0 }, &stream_ops, s);
	while (!s->ended && (!s->status || s->status >= 400))
		loop_turn(c->loop, -1);
	if (s->status >= 400) {
		cli_reply_error(s->status, s->refusal.data, s->refusal.len, e);
		goto fail;
	}
	if (!s->status) {
		*e = s->err;
		goto fail;
	}
	if (!s->ended)
		start_input(s);
	return s;
fail:
	stream_free(s);
	return NULL;
}

bool stream_ended(const struct stream *s)
{
	return s->ended && !s->pumping;
}

bool stream_detached(const struct stream *s)
{
	return s->detached;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	if (s->call)
		http_call_cancel(s->call);
	loop_io_free(s->io);
	for (size_t i = 0; i < N(signals); i++) {
		if (s->watched[i])
			loop_signal_free(s->watched[i]);
	}
	if (s->winch)
		loop_signal_free(s->winch);
	for (size_t i = 0; i < N(forgotten); i++) {
		if (forgotten[i])
			http_call_cancel(forgotten[i]);
		forgotten[i] = NULL;
	}
	terminal_restore();
	buf_done(&s->refusal);
	free(s->id);
	free(s);
}

int stream_logs(struct cli *c, const char *path, struct err *e)
{
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct stream s = { .c = c };
	int r = 0;

	if (cli_connect(c, e) < 0)
		return -1;
	s.call = http_call_start(c->http, &(struct http_call_args){ .method = "GET", .target = target }, &stream_ops, &s);
	while (!s.ended && !s.failed)
		loop_turn(c->loop, -1);
	if (s.status >= 400) {
		r = cli_reply_error(s.status, s.refusal.data, s.refusal.len, e);
	} else if (s.failed) {
		*e = s.err;
		r = -1;
	}
	if (s.call)
		http_call_cancel(s.call);
	buf_done(&s.refusal);
	return r;
}
