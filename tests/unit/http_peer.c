/* SPDX-License-Identifier: Apache-2.0 */
#include "http_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

struct loop *tl;
struct http_server *ts;
char t_dir[64], t_sock[80];
struct seen seen;

static void on_close(struct http_req *r, void *user)
{
	(void)user;
	seen.closed++;
	if (seen.held == r)
		seen.held = NULL;
}

static void on_all(struct http_req *r, const char *body, size_t len, void *user)
{
	(void)user;
	assert_int_equal(body[len], '\0');
	http_reply(r, 200, "text/plain", body, len);
}

static void on_in(struct http_req *r, const void *p, size_t n, void *user)
{
	(void)p;
	(void)user;
	seen.body += n;
	if (seen.pause_body)
		http_req_read_pause(r, true);
}

static void on_in_end(struct http_req *r, bool ok, void *user)
{
	char text[32];

	(void)user;
	if (!ok) {
		seen.ends_failed++;
		return;
	}
	seen.ends_ok++;
	snprintf(text, sizeof(text), "got %zu\n", seen.body);
	http_reply(r, 200, "text/plain", text, strlen(text));
}

/* /out?n=N: N pieces of 4 KiB, never more than 64 KiB queued. */
static void on_out(struct http_req *r, void *user)
{
	static const char piece[4096] = "0123456789abcdef";
	uint64_t n = (uintptr_t)http_req_user(r);

	(void)user;
	seen.drains++;
	while (n > 0) {
		n--;
		if (http_reply_write(r, piece, sizeof(piece)) > 65536)
			break;
	}
	http_req_set_user(r, (void *)(uintptr_t)n);
	if (n == 0) {
		http_reply_on_drain(r, NULL, NULL);
		http_reply_end(r);
	}
}

static void stream_data(struct http_stream *s, const void *p, size_t n, void *user)
{
	(void)user;
	seen.body += n;
	http_stream_write(s, p, n);
}

static void stream_eof(struct http_stream *s, void *user)
{
	seen.stream_eofs++;
	if (user)	/* output goes on after the end of input */
		return;
	http_stream_write(s, "<eof>", 5);
	http_stream_close(s);
}

static void stream_close(struct http_stream *s, void *user)
{
	(void)user;
	assert_ptr_equal(s, seen.stream);
	seen.stream = NULL;
	seen.stream_closed++;
}

static const struct http_stream_ops stream_ops = { .data = stream_data, .eof = stream_eof, .close = stream_close };

static void hijack_after_body(struct http_req *r, const char *body, size_t len, void *user)
{
	(void)user;
	seen.stream = http_hijack(r, "application/vnd.docker.raw-stream", &stream_ops, NULL);
	http_stream_write(seen.stream, body, len);
}

static void handle(struct http_req *r, void *user)
{
	const char *path = http_req_path(r), *v;

	(void)user;
	seen.requests++;
	http_req_on_close(r, on_close, NULL);
	if (str_eq(path, "/hello")) {
		http_reply_header(r, "X-Test", "a\r\nInjected: b");
		http_reply(r, 200, "text/plain", "hello", 5);
	} else if (str_eq(path, "/echo")) {
		http_req_read_all(r, 100000, on_all, NULL);
	} else if (str_eq(path, "/in")) {
		seen.held = r;
		http_req_read_stream(r, on_in, on_in_end, NULL);
	} else if (str_eq(path, "/out")) {
		uint64_t n = 0;

		str_to_u64(http_req_query(r, "n"), 0, 1000000, &n);
		http_req_set_user(r, (void *)(uintptr_t)n);
		http_reply_start(r, 200, "text/plain");
		http_reply_on_drain(r, on_out, NULL);
		on_out(r, NULL);
	} else if (str_eq(path, "/hold")) {
		seen.held = r;
	} else if (str_eq(path, "/hijack") || str_eq(path, "/hijack-open")) {
		seen.stream = http_hijack(r, "application/vnd.docker.raw-stream", &stream_ops, str_eq(path, "/hijack") ? NULL : &seen);
	} else if (str_eq(path, "/hijack-body")) {
		http_req_read_all(r, 1000, hijack_after_body, NULL);
	} else if (str_eq(path, "/query")) {
		char text[256];

		v = http_req_query(r, "a");
		snprintf(text, sizeof(text), "[%s][%s][%s]%d%d", v ? v : "-", http_req_query_n(r, "a", 1) ? http_req_query_n(r, "a", 1) : "-",
			 http_req_header(r, "x-y") ? http_req_header(r, "x-y") : "-", http_req_query_flag(r, "f", false),
			 http_req_query_flag(r, "g", true));
		http_reply(r, 200, "text/plain", text, strlen(text));
	} else if (str_eq(path, "/stop")) {
		loop_stop(tl);
	} else if (str_eq(path, "/peer")) {
		struct http_peer who = { 0 };

		http_reply(r, http_req_peer(r, &who) && who.pid == getpid() && who.uid == getuid() ? 200 : 500, NULL, NULL, 0);
	} else {
		struct err e;

		err_set(&e, ERR_NOT_FOUND, "there is no page '%s'", path);
		http_reply_err(r, &e);
	}
}

int t_setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	alarm(120);	/* a test that waits for what never comes ends loudly */
	signal(SIGPIPE, SIG_IGN);
	seen = (struct seen){ 0 };
	strcpy(t_dir, "/tmp/kedge-http-XXXXXX");
	if (!mkdtemp(t_dir))
		return -1;
	snprintf(t_sock, sizeof(t_sock), "%s/sock", t_dir);
	tl = loop_new(&e);
	ts = http_server_new(tl, handle, NULL);
	if (http_server_listen_unix(ts, t_sock, 0600, (gid_t)-1, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return -1;
	}
	return 0;
}

int t_teardown(void **state)
{
	(void)state;
	http_server_free(ts);
	if (tl)
		loop_turn(tl, 0);
	loop_free(tl);
	return file_rm_rf_at(AT_FDCWD, t_dir);
}

static void watch(struct peer *p)
{
	loop_io_set(p->io, (p->reading ? LOOP_READ : 0) | (p->sent < p->out.len ? LOOP_WRITE : 0));
}

static void on_peer(void *user, unsigned events)
{
	struct peer *p = user;
	char chunk[16384];
	ssize_t n;

	if (events & LOOP_WRITE) {
		n = send(p->fd, p->out.data + p->sent, p->out.len - p->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			p->sent += (size_t)n;
		else if (n < 0 && errno != EAGAIN)
			p->sent = p->out.len;	/* the server is gone; reading tells */
		if (p->sent == p->out.len && p->shut)
			shutdown(p->fd, SHUT_WR);
	}
	if (events & LOOP_READ) {
		n = recv(p->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0) {
			assert_int_equal(buf_add(&p->in, chunk, (size_t)n), 0);
		} else if (n == 0 || errno != EAGAIN) {
			p->eof = true;
			p->reading = false;
		}
	}
	watch(p);
}

struct peer *peer_of(int fd)
{
	struct peer *p = mem_zalloc(sizeof(*p));

	p->fd = fd;
	p->reading = true;
	p->io = loop_io_new(tl, fd, LOOP_READ, on_peer, p);
	return p;
}

struct peer *peer_new(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, t_sock);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return peer_of(fd);
}

void peer_free(struct peer *p)
{
	loop_io_free(p->io);
	close(p->fd);
	buf_done(&p->in);
	buf_done(&p->out);
	free(p);
}

void peer_send_n(struct peer *p, const void *data, size_t n)
{
	assert_int_equal(buf_add(&p->out, data, n), 0);
	watch(p);
}

void peer_send(struct peer *p, const char *text)
{
	peer_send_n(p, text, strlen(text));
}

void peer_flush(struct peer *p)
{
	while (p->sent < p->out.len)
		loop_turn(tl, -1);
}

void peer_shut(struct peer *p)
{
	p->shut = true;
	if (p->sent == p->out.len)
		shutdown(p->fd, SHUT_WR);
}

void peer_until(struct peer *p, const char *text)
{
	while (!p->in.data || !memmem(p->in.data, p->in.len, text, strlen(text))) {
		if (p->eof)
			fail_msg("the connection ended before '%s': %s", text, p->in.data ? p->in.data : "");
		loop_turn(tl, -1);
	}
}

void peer_eof(struct peer *p)
{
	while (!p->eof)
		loop_turn(tl, -1);
}

unsigned peer_count(const struct peer *p, const char *text)
{
	unsigned n = 0;

	for (const char *s = p->in.data; s && (s = strstr(s, text)); s++)
		n++;
	return n;
}

const char *talk_n(const void *data, size_t n)
{
	static char all[65536];
	struct peer *p = peer_new();

	peer_send_n(p, data, n);
	peer_eof(p);
	snprintf(all, sizeof(all), "%s", p->in.data ? p->in.data : "");
	peer_free(p);
	return all;
}

const char *talk(const char *text)
{
	return talk_n(text, strlen(text));
}
