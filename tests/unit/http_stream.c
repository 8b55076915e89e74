/* SPDX-License-Identifier: Apache-2.0 */
/* Raw streams, timeouts, many connections, listeners. */
#include "http_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define GET(path, more) "GET " path " HTTP/1.1\r\nHost: x\r\n" more "\r\n"
#define UPGRADE "Connection: Upgrade\r\nUpgrade: tcp\r\n"
#define MS 1000000ll

static void test_upgrade(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	/* what comes right behind the head is the stream's already */
	peer_send(p, "POST /hijack HTTP/1.1\r\nHost: x\r\n" UPGRADE "\r\nearly ");
	peer_until(p, "early ");
	assert_true(str_starts(p->in.data, "HTTP/1.1 101 UPGRADED\r\n"));
	assert_non_null(strstr(p->in.data, "Upgrade: tcp\r\n"));
	assert_non_null(strstr(p->in.data, "\r\n\r\nearly "));
	assert_int_equal(seen.closed, 1);	/* the request is over, the stream lives */
	peer_send(p, "GET / HTTP/1.1\r\n\r\n");
	peer_until(p, "GET / HTTP/1.1\r\n\r\n");
	peer_shut(p);
	peer_eof(p);
	assert_true(str_ends(p->in.data, "<eof>"));
	assert_int_equal(seen.stream_eofs, 1);
	assert_int_equal(seen.stream_closed, 1);
	assert_int_equal(seen.requests, 1);
	peer_free(p);
}

static void test_hijack_without_upgrade(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hijack", ""));
	peer_until(p, "\r\n\r\n");
	assert_true(str_starts(p->in.data, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"));
	assert_null(strstr(p->in.data, "chunked"));
	assert_null(strstr(p->in.data, "Content-Length"));
	peer_send(p, "raw");
	peer_until(p, "\r\n\r\nraw");
	peer_free(p);
	while (!seen.stream_closed)
		loop_turn(tl, -1);
}

/* exec start: a body first, then the stream. */
static void test_hijack_behind_a_body(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, "POST /hijack-body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" UPGRADE "\r\nbodystream");
	peer_until(p, "bodystream");
	assert_true(str_starts(p->in.data, "HTTP/1.1 101 "));
	peer_shut(p);
	peer_eof(p);
	assert_true(str_ends(p->in.data, "bodystream<eof>"));
	peer_free(p);

	p = peer_new();
	peer_send(p, "POST /hijack-body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" UPGRADE "\r\n4\r\nbody\r\n0\r\n\r\nstream");
	peer_until(p, "bodystream");
	peer_free(p);
}

/* Input ends, output goes on for long after. */
static void test_half_close(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hijack-open", UPGRADE));
	peer_until(p, "\r\n\r\n");
	peer_shut(p);
	while (!seen.stream_eofs)
		loop_turn(tl, -1);
	for (int i = 0; i < 10; i++)
		loop_turn(tl, 0);
	assert_int_equal(seen.stream_closed, 0);
	http_stream_write(seen.stream, "still here", 10);
	peer_until(p, "still here");
	http_stream_shutdown(seen.stream);
	peer_eof(p);
	http_stream_close(seen.stream);
	while (!seen.stream_closed)
		loop_turn(tl, -1);
	peer_free(p);
}

/* The other way round: our output ends, input goes on. */
static void test_shutdown_of_ours(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hijack-open", UPGRADE));
	peer_until(p, "\r\n\r\n");
	http_stream_write(seen.stream, "last", 4);
	http_stream_shutdown(seen.stream);
	peer_eof(p);
	assert_true(str_ends(p->in.data, "last"));
	peer_send(p, "input");
	while (seen.body < 5)
		loop_turn(tl, -1);
	assert_int_equal(seen.stream_closed, 0);
	peer_free(p);
	while (!seen.stream_closed)
		loop_turn(tl, -1);
	assert_int_equal(seen.stream_eofs, 1);
}

/* Everything queued arrives although close() was called at once, and input nobody reads does not reset it. */
static void test_close_after_flush(void **state)
{
	enum { LOTS = 4 << 20 };
	struct peer *p = peer_new();
	char *lots = mem_zalloc(LOTS);
	size_t head;

	(void)state;
	memset(lots, 'x', LOTS);
	peer_send(p, GET("/hijack-open", UPGRADE));
	peer_until(p, "\r\n\r\n");
	head = p->in.len;
	http_stream_pause(seen.stream, true);
	peer_send_n(p, lots, 1 << 20);
	assert_true(http_stream_write(seen.stream, lots, LOTS) >= LOTS);
	http_stream_close(seen.stream);
	peer_eof(p);
	assert_int_equal(p->in.len, head + LOTS);
	assert_int_equal(seen.stream_closed, 1);
	peer_free(p);
	free(lots);
}

static void test_paused_input_survives_the_client(void **state)
{
	struct peer *p = peer_new();
	char text[5000];

	(void)state;
	memset(text, 'y', sizeof(text));
	peer_send(p, GET("/hijack-open", UPGRADE));
	peer_until(p, "\r\n\r\n");
	http_stream_pause(seen.stream, true);
	peer_send_n(p, text, sizeof(text));
	peer_flush(p);
	peer_free(p);
	for (int i = 0; i < 20; i++)
		loop_turn(tl, 0);
	assert_int_equal(seen.body, 0);
	assert_int_equal(seen.stream_closed, 0);
	http_stream_pause(seen.stream, false);
	while (!seen.stream_closed)
		loop_turn(tl, -1);
	assert_int_equal(seen.body, sizeof(text));
	assert_int_equal(seen.stream_eofs, 1);
}

static void test_stream_back_pressure(void **state)
{
	struct peer *p = peer_new();
	char *lots = mem_zalloc(2 << 20);

	(void)state;
	peer_send(p, GET("/hijack-open", UPGRADE));
	peer_until(p, "\r\n\r\n");
	http_stream_pause(seen.stream, true);
	peer_send_n(p, lots, 2 << 20);
	while (p->sent < 300000)
		loop_turn(tl, -1);
	for (int i = 0; i < 200; i++)
		loop_turn(tl, 0);
	assert_int_equal(seen.body, 0);
	assert_true(p->sent < 1 << 20);
	http_stream_pause(seen.stream, false);
	while (seen.body < 2 << 20)
		loop_turn(tl, -1);
	peer_free(p);
	free(lots);
}

static void test_slow_head(void **state)
{
	struct peer *p = peer_new(), *silent = peer_new();
	int64_t sent = 0;

	(void)state;
	http_server_set_timeouts(ts, 50 * MS, 50 * MS, 5000 * MS);
	peer_send(p, "GET /hello HTTP/1.1\r\n");
	/* A byte now and then does not put the end off. */
	while (!p->eof) {
		if (sent++ < 100000)
			peer_send(p, "X");
		loop_turn(tl, 1);
	}
	assert_true(str_starts(p->in.data, "HTTP/1.1 408 "));
	peer_free(p);
	http_server_set_timeouts(ts, 20 * MS, 50 * MS, 5000 * MS);
	peer_free(silent);
	silent = peer_new();	/* says nothing at all: closed without a word */
	peer_eof(silent);
	assert_int_equal(silent->in.len, 0);
	peer_free(silent);
	assert_int_equal(seen.requests, 0);
}

static void test_slow_body(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	http_server_set_timeouts(ts, 5000 * MS, 30 * MS, 5000 * MS);
	peer_send(p, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc");
	peer_eof(p);
	assert_true(str_starts(p->in.data, "HTTP/1.1 408 "));
	peer_free(p);
	p = peer_new();
	peer_send(p, "POST /in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc");
	peer_eof(p);
	assert_int_equal(seen.ends_failed, 1);
	assert_true(str_starts(p->in.data, "HTTP/1.1 408 "));
	peer_free(p);
}

static void unpause(void *user)
{
	(void)user;
	seen.pause_body = false;
	http_req_read_pause(seen.held, false);
}

/* A pause of ours is not the client's fault. */
static void test_pause_is_not_slow(void **state)
{
	struct loop_timer *t = loop_timer_new(tl, unpause, NULL);
	struct peer *p = peer_new();

	(void)state;
	http_server_set_timeouts(ts, 20 * MS, 20 * MS, 20 * MS);
	seen.pause_body = true;
	peer_send(p, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
	while (!seen.body)
		loop_turn(tl, -1);
	peer_send(p, "def");
	loop_timer_set(t, 80 * MS);
	peer_until(p, "got 6");
	loop_timer_free(t);
	peer_free(p);
}

static void test_idle(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	http_server_set_timeouts(ts, 5000 * MS, 5000 * MS, 20 * MS);
	peer_send(p, GET("/hello", ""));
	peer_until(p, "hello");
	peer_eof(p);
	peer_free(p);
	/* a request being answered is not idle */
	p = peer_new();
	peer_send(p, GET("/hold", ""));
	while (!seen.held)
		loop_turn(tl, -1);
	for (int i = 0; i < 40; i++)
		loop_turn(tl, 1);
	assert_false(p->eof);
	http_reply(seen.held, 200, NULL, NULL, 0);
	peer_until(p, "200 OK");
	peer_free(p);
}

static void raise_limit(rlim_t n)
{
	struct rlimit rl;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = n < rl.rlim_max ? n : rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
}

static void test_thousand_connections(void **state)
{
	enum { MANY = 1000 };
	static struct peer *p[MANY];
	struct rlimit rl;

	(void)state;
	raise_limit(4096);
	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < 2200)
		skip();
	for (int i = 0; i < MANY; i++) {
		p[i] = peer_new();
		peer_send(p[i], i % 2 ? GET("/hello", "") : GET("/hold", ""));
		if (i % 100 == 0)
			loop_turn(tl, 0);
	}
	while (seen.requests < MANY)
		loop_turn(tl, -1);
	for (int i = 1; i < MANY; i += 2)
		peer_until(p[i], "hello");
	for (int i = 1; i < MANY; i += 2) {
		peer_send(p[i], GET("/query?a=again", ""));
		peer_until(p[i], "again");
	}
	for (int i = 0; i < MANY; i++)
		peer_free(p[i]);
	while (seen.closed < MANY + MANY / 2)
		loop_turn(tl, -1);
}

static void test_idle_makes_room(void **state)
{
	enum { MORE = 1100 };
	static struct peer *p[MORE];
	struct rlimit rl;
	unsigned gone = 0;

	(void)state;
	raise_limit(4096);
	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < 2400)
		skip();
	for (int i = 0; i < MORE; i++) {
		p[i] = peer_new();
		peer_send(p[i], GET("/hello", ""));
		peer_until(p[i], "hello");
	}
	for (int i = 0; i < 50; i++)
		loop_turn(tl, 0);
	for (int i = 0; i < MORE; i++) {
		gone += p[i]->eof;
		if (i > 200)
			assert_false(p[i]->eof);	/* the longest idle ones went */
		peer_free(p[i]);
	}
	assert_int_equal(gone, MORE - 1024);
}

/* No descriptor left: accepting pauses, nothing spins, and it goes on by itself. */
static void test_no_descriptors_left(void **state)
{
	struct rlimit rl, small;
	struct peer *p;
	int full[256], n = 0, fd;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &rl);
	p = peer_new();
	peer_send(p, GET("/hello", ""));
	small = rl;
	small.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &small);
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0 && n < 256)
		full[n++] = fd;
	for (int i = 0; i < 20; i++)
		loop_turn(tl, 1);
	assert_int_equal(seen.requests, 0);
	while (n > 0)
		close(full[--n]);
	peer_until(p, "hello");
	setrlimit(RLIMIT_NOFILE, &rl);
	peer_free(p);
}

static void test_listen_unix(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct http_server *other = http_server_new(tl, NULL, NULL);
	char path[200];
	struct stat st;
	struct err e;
	int fd;

	(void)state;
	assert_int_equal(stat(t_sock, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* live */
	assert_int_equal(http_server_listen_unix(other, t_sock, 0600, (gid_t)-1, &e), -1);
	assert_int_equal(e.kind, ERR_CONFLICT);
	/* stale */
	snprintf(path, sizeof(path), "%s/stale", t_dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sa.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(http_server_listen_unix(other, path, 0660, (gid_t)-1, &e), 0);
	/* not a socket: somebody's file */
	snprintf(path, sizeof(path), "%s/file", t_dir);
	assert_int_equal(file_replace_at(AT_FDCWD, path, "x", 1, 0600), 0);
	assert_int_equal(http_server_listen_unix(other, path, 0660, (gid_t)-1, &e), -1);
	assert_non_null(strstr(e.msg, path));
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(http_server_listen_unix(other, "/nonexistent/x", 0660, (gid_t)-1, &e), -1);
	assert_non_null(strstr(e.msg, "/nonexistent/x"));
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(http_server_listen_unix(other, path, 0660, (gid_t)-1, &e), -1);
	http_server_free(other);
	snprintf(path, sizeof(path), "%s/stale", t_dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_listen_others(void **state)
{
	struct http_server *other = http_server_new(tl, NULL, NULL);
	int p[2];
	struct err e;

	(void)state;
	assert_int_equal(http_server_listen_tcp(other, "not an address", 1, NULL, &e), -1);
	assert_non_null(strstr(e.msg, "not an address"));
	assert_int_equal(http_server_listen_tcp(other, "127.0.0.1", 0, NULL, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	assert_int_equal(http_server_listen_fd(other, p[0], &e), -1);
	close(p[1]);
	p[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(http_server_listen_fd(other, p[0], &e), -1);
	http_server_free(other);
}

static void test_stop_accepting(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hold", ""));
	while (!seen.held)
		loop_turn(tl, -1);
	http_server_stop_accepting(ts);
	assert_int_equal(access(t_sock, F_OK), -1);
	http_reply(seen.held, 200, NULL, "done", 4);
	peer_until(p, "done");
	peer_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_upgrade, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_hijack_without_upgrade, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_hijack_behind_a_body, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_half_close, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_shutdown_of_ours, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_close_after_flush, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_paused_input_survives_the_client, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_stream_back_pressure, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_slow_head, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_slow_body, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_pause_is_not_slow, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_idle, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_thousand_connections, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_idle_makes_room, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors_left, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_listen_unix, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_listen_others, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_stop_accepting, t_setup, t_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
