/* SPDX-License-Identifier: Apache-2.0 */
#include "http_peer.h"

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
#define CLOSE "Connection: close\r\n"

static bool has(const char *all, const char *part)
{
	if (strstr(all, part))
		return true;
	fprintf(stderr, "no '%s' in:\n%s\n", part, all);
	return false;
}

static void test_whole_reply(void **state)
{
	const char *got = talk(GET("/hello", CLOSE));

	(void)state;
	assert_true(str_starts(got, "HTTP/1.1 200 OK\r\n"));
	assert_true(has(got, "Content-Length: 5\r\n"));
	assert_true(has(got, "Connection: close\r\n"));
	assert_true(has(got, "\r\n\r\nhello"));
	assert_null(strstr(got, "\nInjected"));
	assert_int_equal(seen.closed, 1);
}

static void test_head_has_length_only(void **state)
{
	const char *got = talk("HEAD /hello HTTP/1.1\r\nHost: x\r\n" CLOSE "\r\n");

	(void)state;
	assert_true(has(got, "Content-Length: 5\r\n"));
	assert_true(str_ends(got, "\r\n\r\n"));
	got = talk("HEAD /out?n=3 HTTP/1.1\r\nHost: x\r\n" CLOSE "\r\n");
	assert_true(str_ends(got, "\r\n\r\n"));
}

static void test_errors_are_json(void **state)
{
	const char *got = talk(GET("/no%22where", CLOSE));

	(void)state;
	assert_true(str_starts(got, "HTTP/1.1 404 "));
	assert_true(has(got, "Content-Type: application/json\r\n"));
	assert_true(has(got, "{\"message\":\"there is no page '/no\\\"where'\"}"));
}

static void test_query_and_headers(void **state)
{
	const char *got = talk(GET("/query?a=%7b%22x%22%7D+&a=2&f=True&g=0&&=x", "X-Y:  v w \t\r\n" CLOSE));

	(void)state;
	assert_true(has(got, "[{\"x\"} ][2][v w]10"));
	got = talk(GET("/query?f", CLOSE));
	assert_true(has(got, "[-][-][-]01"));
	got = talk("GET http://host:1/query?a=1 HTTP/1.1\r\nHost: x\r\n" CLOSE "\r\n");
	assert_true(has(got, "[1]"));
}

static void test_peer(void **state)
{
	(void)state;
	assert_true(str_starts(talk(GET("/peer", CLOSE)), "HTTP/1.1 200"));
}

static void test_keep_alive_and_pipelining(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hello", ""));
	peer_until(p, "hello");
	peer_send(p, GET("/hello", "") "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET("/query?a=9", "") GET("/hello", CLOSE));
	peer_eof(p);
	assert_int_equal(peer_count(p, "HTTP/1.1 200"), 5);
	assert_true(has(p->in.data, "\r\n\r\nabcHTTP/1.1 200"));
	assert_true(str_ends(p->in.data, "hello"));
	assert_int_equal(seen.requests, 5);
	assert_int_equal(seen.closed, 5);
	peer_free(p);
}

static void test_http10(void **state)
{
	const char *got = talk("GET /hello HTTP/1.0\r\n\r\n");
	struct peer *p;

	(void)state;
	assert_true(has(got, "hello"));
	got = talk("GET /out?n=2 HTTP/1.0\r\n\r\n");
	assert_null(strstr(got, "chunked"));
	assert_true(has(got, "\r\n\r\n0123"));
	p = peer_new();
	peer_send(p, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	peer_until(p, "hello");
	assert_true(has(p->in.data, "Connection: keep-alive"));
	peer_send(p, "GET /hello HTTP/1.0\r\n\r\n");
	peer_eof(p);
	assert_int_equal(peer_count(p, "hello"), 2);
	peer_free(p);
}

/* Each byte its own packet: every state of the parser meets the end of the input. */
static void test_byte_by_byte(void **state)
{
	static const char all[] = "POST /echo?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
				  "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\n" GET("/hello", CLOSE);
	struct peer *p = peer_new();

	(void)state;
	for (const char *s = all; *s; s++) {
		peer_send_n(p, s, 1);
		peer_flush(p);
		loop_turn(tl, 0);
	}
	peer_eof(p);
	assert_true(has(p->in.data, "\r\n\r\nabcdefgh"));
	assert_true(has(p->in.data, "hello"));
	peer_free(p);
}

struct bad {
	const char *text;
	int status;
	const char *why;
};

#define POST_(more, body) "POST /echo HTTP/1.1\r\nHost: x\r\n" more "\r\n" body

static void test_refusals(void **state)
{
	static const struct bad bad[] = {
		{ POST_("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), 400, NULL },
		{ POST_("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: 3, 3\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: +3\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: -1\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: 0x3\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length:\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length: 99999999999999999999\r\n", "abc"), 400, NULL },
		{ POST_("Content-Length : 3\r\n", "abc"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: identity\r\n", ""), 400, NULL },
		{ POST_("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400, NULL },
		{ POST_("X: a\r\n b\r\n", ""), 400, NULL },
		{ POST_("X: a\r\n\tb\r\n", ""), 400, NULL },
		{ POST_("X: a\rb\r\n", ""), 400, NULL },
		{ POST_("X: a\x01\x62\r\n", ""), 400, NULL },
		{ POST_("X\x7f: a\r\n", ""), 400, NULL },
		{ POST_(": a\r\n", ""), 400, NULL },
		{ POST_("no colon\r\n", ""), 400, NULL },
		{ POST_("Host: y\r\n", ""), 400, NULL },
		{ POST_("Expect: the-unexpected\r\n", ""), 417, NULL },
		{ "GET /hello HTTP/1.1\r\n\r\n", 400, "Host" },
		{ "GET /hello HTTP/1.1\nHost: x\n\n", 400, NULL },
		{ "GET /hello HTTP/1.1\r\nHost: x\n\r\n", 400, NULL },
		{ "GET  /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /hello HTTP/1.1 \r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /he llo HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET hello HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /hello\r\n\r\n", 400, NULL },
		{ "BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, NULL },
		{ "\r\n\r\n", 400, NULL },
		{ GET("/he%00llo", ""), 400, "escape" },
		{ GET("/he%2", ""), 400, "escape" },
		{ GET("/hello?a=%zz", ""), 400, "escape" },
		{ GET("/hello#x", ""), 400, NULL },
		{ GET("http://host", ""), 400, NULL },
		{ POST_("Content-Length: 100001\r\n", ""), 413, "100000" },
		{ POST_("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "-1\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3\r\nabcX\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3\rXabc\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3\r\nabc\n\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3 \r\nabc\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "\r\nabc\r\n0\r\n\r\n"), 400, NULL },
		{ POST_("Transfer-Encoding: chunked\r\n", "3;a\nb\r\nabc\r\n0\r\n\r\n"), 400, NULL },
	};
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		char want[32];
		const char *got = talk(bad[i].text);

		snprintf(want, sizeof(want), "HTTP/1.1 %d ", bad[i].status);
		if (!str_starts(got, want) || !strstr(got, "{\"message\":\"") || (bad[i].why && !strstr(got, bad[i].why)) ||
		    strstr(got + 1, "HTTP/1.1")) {
			fprintf(stderr, "%zu: %s\n-> %s\n", i, bad[i].text, got);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
	assert_true(str_starts(talk_n("GET /hel\0lo HTTP/1.1\r\nHost: x\r\n\r\n", 34), "HTTP/1.1 400 "));
}

static void test_limits(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_adds(&b, "GET /hello?");
	while (b.len < 9000)
		buf_addc(&b, 'a');
	assert_true(str_starts(talk_n(b.data, b.len), "HTTP/1.1 414 "));
	buf_adds(&b, " HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(str_starts(talk_n(b.data, b.len), "HTTP/1.1 414 "));

	buf_reset(&b);
	buf_adds(&b, "GET /hello HTTP/1.1\r\nHost: x\r\n" CLOSE "X: ");
	while (b.len < 60000)
		buf_addc(&b, 'a');
	buf_adds(&b, "\r\n\r\n");
	assert_true(str_starts(talk_n(b.data, b.len), "HTTP/1.1 200 "));
	b.len -= 4;
	while (b.len < 70000)
		buf_adds(&b, "\r\nX: aaaaaaaaaaaaaaaaaa");
	buf_adds(&b, "\r\n\r\n");
	assert_true(str_starts(talk_n(b.data, b.len), "HTTP/1.1 431 "));
	/* and without its end ever coming */
	assert_true(str_starts(talk_n(b.data, 66000), "HTTP/1.1 431 "));
	buf_done(&b);
}

static void test_body_over_limit_while_streaming(void **state)
{
	struct peer *p = peer_new();
	char chunk[1024 + 8];

	(void)state;
	memset(chunk, 'x', sizeof(chunk));
	memcpy(chunk, "400\r\n", 5);
	memcpy(chunk + 5 + 1024, "\r\n", 2);
	peer_send(p, POST_("Transfer-Encoding: chunked\r\n", ""));
	for (int i = 0; i < 200; i++)
		peer_send_n(p, chunk, 5 + 1024 + 2);
	peer_send(p, "0\r\n\r\n");
	peer_until(p, "larger than 100000 bytes");
	assert_true(str_starts(p->in.data, "HTTP/1.1 413 "));
	peer_eof(p);
	peer_free(p);
}

static void test_expect_continue(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, POST_("Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
	peer_until(p, "100 Continue\r\n\r\n");
	peer_send(p, "abc" POST_("Content-Length: 1000000\r\nExpect: 100-continue\r\n", ""));
	peer_until(p, "413");
	assert_int_equal(peer_count(p, "100 Continue"), 1);	/* refused before it was sent */
	peer_eof(p);
	peer_free(p);
}

static void test_body_nobody_reads(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	peer_until(p, "hello");
	peer_send(p, GET("/query?a=second", ""));	/* small and there: the connection goes on */
	peer_until(p, "second");
	peer_send(p, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc");
	peer_eof(p);
	assert_true(has(p->in.data, "Connection: close"));
	peer_free(p);
}

static void test_streamed_body_with_back_pressure(void **state)
{
	enum { BODY = 3 << 20 };
	struct peer *p = peer_new();
	char *body = mem_zalloc(BODY);
	size_t before;

	(void)state;
	seen.pause_body = true;
	peer_send(p, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n");
	peer_send_n(p, body, BODY);
	while (!seen.body)
		loop_turn(tl, -1);
	before = seen.body;
	while (loop_turn(tl, 0), p->sent < 200000)
		;
	for (int i = 0; i < 100; i++)
		loop_turn(tl, 0);
	assert_int_equal(seen.body, before);	/* paused is paused */
	assert_true(p->sent < 2 << 20);		/* and the client is held up */
	seen.pause_body = false;
	http_req_read_pause(seen.held, false);
	peer_until(p, "got 3145728");
	assert_int_equal(seen.ends_ok, 1);
	peer_free(p);
	free(body);
}

static void test_streamed_reply_with_back_pressure(void **state)
{
	struct peer *p = peer_new();
	unsigned before;

	(void)state;
	p->reading = false;
	peer_send(p, GET("/out?n=2000", CLOSE));
	while (loop_turn(tl, 0), !seen.drains)
		;
	for (int i = 0; i < 100; i++)
		loop_turn(tl, 0);
	before = seen.drains;
	for (int i = 0; i < 100; i++)
		loop_turn(tl, 0);
	assert_int_equal(seen.drains, before);	/* nobody reads: nothing is made */
	p->reading = true;
	loop_io_set(p->io, LOOP_READ);
	peer_eof(p);
	assert_true(has(p->in.data, "Transfer-Encoding: chunked"));
	assert_true(p->in.len > 2000 * 4096);
	assert_memory_equal(p->in.data + p->in.len - 7, "\r\n0\r\n\r\n", 7);
	assert_true(seen.drains > before);
	peer_free(p);
}

static void test_client_gone(void **state)
{
	struct peer *p = peer_new();

	(void)state;
	peer_send(p, GET("/hold", ""));
	while (!seen.held)
		loop_turn(tl, -1);
	peer_free(p);
	while (!seen.closed)
		loop_turn(tl, -1);
	assert_null(seen.held);

	p = peer_new();
	peer_send(p, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	while (!seen.body)
		loop_turn(tl, -1);
	peer_free(p);
	while (seen.closed < 2)
		loop_turn(tl, -1);
	assert_int_equal(seen.ends_failed, 1);
	assert_int_equal(seen.ends_ok, 0);

	p = peer_new();
	p->reading = false;
	peer_send(p, GET("/out?n=100000", ""));
	while (!seen.drains)
		loop_turn(tl, -1);
	peer_free(p);
	while (seen.closed < 3)
		loop_turn(tl, -1);
}

static void test_server_freed_with_requests(void **state)
{
	struct peer *a = peer_new(), *b = peer_new(), *c = peer_new();

	peer_send(a, GET("/hold", ""));
	peer_send(b, GET("/hijack", ""));
	peer_send(c, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	while (seen.requests < 3 || !seen.body)
		loop_turn(tl, -1);
	http_server_free(ts);
	ts = NULL;
	assert_int_equal(seen.closed, 3);
	assert_int_equal(seen.stream_closed, 1);
	assert_int_equal(seen.ends_failed, 1);
	peer_eof(a);
	peer_eof(b);
	peer_eof(c);
	peer_free(a);
	peer_free(b);
	peer_free(c);
	assert_int_equal(access(t_sock, F_OK), -1);
	(void)state;
}

/* The loop ends while another connection's turn is still to come: as at a signal. The sanitizer tells whether anything is left. */
static void test_loop_ends_within_a_turn(void **state)
{
	static const char stop[] = GET("/stop", "");
	struct peer *p[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		p[i] = peer_new();
		peer_send(p[i], GET("/hello", ""));
		peer_until(p[i], "hello");
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(p[i]->fd, stop, sizeof(stop) - 1, 0), sizeof(stop) - 1);
	while (seen.requests == 3)
		loop_turn(tl, -1);
	assert_int_equal(seen.requests, 4);
	http_server_free(ts);
	ts = NULL;
	for (int i = 0; i < 3; i++)
		peer_free(p[i]);
	loop_free(tl);
	tl = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole_reply, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_head_has_length_only, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_errors_are_json, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_query_and_headers, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_peer, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_keep_alive_and_pipelining, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_http10, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_byte_by_byte, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_refusals, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_limits, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_body_over_limit_while_streaming, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_expect_continue, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_body_nobody_reads, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_streamed_body_with_back_pressure, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_streamed_reply_with_back_pressure, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_client_gone, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_server_freed_with_requests, t_setup, t_teardown),
		cmocka_unit_test_setup_teardown(test_loop_ends_within_a_turn, t_setup, t_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
