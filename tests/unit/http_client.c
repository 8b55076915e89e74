/* SPDX-License-Identifier: Apache-2.0 */
/* The client against the server, over a Unix socket, TCP and TLS; and against servers that misbehave. */
#include "http_peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/client.h"

struct result {
	int status;
	bool upgraded, done, ok;
	struct buf body;
	struct err err;
	unsigned drains;
	size_t to_send;
};

static void on_head(struct http_call *c, int status, bool upgraded, void *user)
{
	struct result *r = user;

	(void)c;
	r->status = status;
	r->upgraded = upgraded;
}

static void on_data(struct http_call *c, const void *p, size_t n, void *user)
{
	struct result *r = user;

	(void)c;
	buf_add(&r->body, p, n);
}

static void on_end(struct http_call *c, bool ok, const struct err *e, void *user)
{
	struct result *r = user;

	(void)c;
	r->done = true;
	r->ok = ok;
	if (!ok)
		r->err = *e;
}

static void on_drain(struct http_call *c, void *user)
{
	static const char piece[65536];
	struct result *r = user;

	r->drains++;
	while (r->to_send) {
		r->to_send--;
		if (http_call_write(c, piece, sizeof(piece)) > 200000)
			return;
	}
	http_call_finish(c);
}

static const struct http_call_ops plain_ops = { .head = on_head, .data = on_data, .end = on_end };
static const struct http_call_ops upload_ops = { .head = on_head, .data = on_data, .end = on_end, .drain = on_drain };

static struct http_client *cl;
static struct result res;

static struct http_client *unix_client(void)
{
	char *url = mem_printf("unix://%s", t_sock);
	struct err e = { 0 };

	cl = http_client_new(tl, url, NULL, &e);
	assert_non_null(cl);
	free(url);
	res = (struct result){ 0 };
	return cl;
}

static void finish(void)
{
	while (!res.done)
		loop_turn(tl, -1);
}

static int done(void **state)
{
	buf_done(&res.body);
	http_client_free(cl);
	cl = NULL;
	return t_teardown(state);
}

static struct http_call *get(const char *target)
{
	return http_call_start(cl, &(struct http_call_args){ .method = "GET", .target = target }, &plain_ops, &res);
}

static void test_do(void **state)
{
	struct buf out = BUF_INIT;
	struct err e = { 0 };

	(void)state;
	unix_client();
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "GET", .target = "/hello" }, &out, &e), 200);
	assert_string_equal(out.data, "hello");
	buf_reset(&out);
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "POST", .target = "/echo", .body = "abc", .len = 3 }, &out, &e), 200);
	assert_string_equal(out.data, "abc");
	buf_reset(&out);
	if (e.kind)
		fail_msg("%s", e.msg);
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "HEAD", .target = "/hello" }, &out, &e), 200);
	assert_int_equal(out.len, 0);
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "DELETE", .target = "/nothing" }, &out, &e), 404);
	buf_reset(&out);
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "GET", .target = "/out?n=100" }, &out, &e), 200);
	assert_int_equal(out.len, 100 * 4096);
	buf_done(&out);
}

static void test_upload(void **state)
{
	struct http_call *c;

	(void)state;
	unix_client();
	res.to_send = 50;
	c = http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/in", .type = "application/x-tar", .stream = true },
			    &upload_ops, &res);
	assert_non_null(c);
	finish();
	assert_true(res.ok);
	assert_int_equal(res.status, 200);
	assert_string_equal(res.body.data, "got 3276800\n");
	assert_true(res.drains > 1);
}

/* The server refuses half-way and closes: the answer counts, not the broken pipe. */
static void test_upload_refused(void **state)
{
	(void)state;
	unix_client();
	res.to_send = 500;
	http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/echo", .stream = true }, &upload_ops, &res);
	finish();
	assert_true(res.ok);
	assert_int_equal(res.status, 413);
}

static void test_upgrade(void **state)
{
	struct http_call *c;

	(void)state;
	unix_client();
	c = http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/hijack-body", .body = "hi ", .len = 3, .upgrade = true },
			    &plain_ops, &res);
	while (!res.status)
		loop_turn(tl, -1);
	assert_int_equal(res.status, 101);
	assert_true(res.upgraded);
	http_call_write(c, "there ", 6);
	while (res.body.len < 9)
		loop_turn(tl, -1);
	http_call_finish(c);
	finish();
	assert_true(res.ok);
	assert_string_equal(res.body.data, "hi there <eof>");
}

static void test_upgrade_denied(void **state)
{
	(void)state;
	unix_client();
	http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/nothing", .upgrade = true }, &plain_ops, &res);
	finish();
	assert_int_equal(res.status, 404);
	assert_false(res.upgraded);
	assert_non_null(strstr(res.body.data, "message"));
}

static void test_cancel(void **state)
{
	struct http_call *c;

	(void)state;
	unix_client();
	c = get("/hold");
	while (!seen.held)
		loop_turn(tl, -1);
	http_call_cancel(c);
	while (!seen.closed)
		loop_turn(tl, -1);
	assert_false(res.done);
}

static void test_nobody_there(void **state)
{
	struct err e = { 0 };

	(void)state;
	unix_client();
	http_server_stop_accepting(ts);
	get("/hello");
	assert_false(res.done);
	finish();
	assert_false(res.ok);
	assert_int_equal(res.err.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(res.err.msg, t_sock));
	assert_int_equal(http_client_do(cl, &(struct http_call_args){ .method = "GET", .target = "/" }, NULL, &e), -1);
	assert_null(http_client_new(tl, "ftp://x", NULL, &e));
	assert_non_null(strstr(e.msg, "ftp://x"));
	assert_null(http_client_new(tl, "unix://", NULL, &e));
}

/* A server that is a listening socket and a text. */
struct liar {
	const char *text;
	struct loop_io *io, *conn_io;
	int fd, conn;
};

static void on_lied_to(void *user, unsigned events)
{
	struct liar *li = user;
	char chunk[4096];

	(void)events;
	(void)!read(li->conn, chunk, sizeof(chunk));
	(void)!write(li->conn, li->text, strlen(li->text));
	loop_io_free(TAKE(li->conn_io));
	close(li->conn);
}

static void on_liar(void *user, unsigned events)
{
	struct liar *li = user;

	(void)events;
	li->conn = accept(li->fd, NULL, NULL);
	li->conn_io = loop_io_new(tl, li->conn, LOOP_READ, on_lied_to, li);
}

static void test_bad_servers(void **state)
{
	static const struct { const char *text; bool ok; const char *part; } cases[] = {
		{ "", false, "without a reply" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false, "ended early" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", false, "ended early" },
		{ "HTTP/1.1 200 OK\r\nDate", false, "without a reply" },
		{ "SSH-2.0-x\r\n", false, "malformed" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "malformed" },
		{ "HTTP/1.1 200 OK\r\nDate: x\r\n\r\nuntil the end", true, "until the end" },
		{ "HTTP/1.1 100 Continue\r\nDate: y\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok", true, "ok" },
		{ "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", true, "" },
	};
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct liar li = { 0 };

	(void)state;
	http_server_stop_accepting(ts);
	li.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(sa.sun_path, t_sock);
	assert_int_equal(bind(li.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(li.fd, 5), 0);
	li.io = loop_io_new(tl, li.fd, LOOP_READ, on_liar, &li);
	unix_client();
	for (size_t i = 0; i < N(cases); i++) {
		buf_done(&res.body);
		res = (struct result){ 0 };
		li.text = cases[i].text;
		get("/");
		finish();
		if (res.ok != cases[i].ok || !strstr(res.ok ? res.body.data ? res.body.data : "" : res.err.msg, cases[i].part))
			fail_msg("case %zu: %s, %s", i, res.ok ? "ok" : res.err.msg, res.body.data);
	}
	loop_io_free(li.io);
	close(li.fd);
}

/* Certificates */

static char ca_path[100], cert_path[100], key_path[100], other_ca[100], other_cert[100], other_key[100];

static X509 *make_cert(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *x = X509_new();
	X509_NAME *n = X509_get_subject_name(x);
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), issuer ? 2 : 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : n);
	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, issuer ? NID_subject_alt_name : NID_basic_constraints,
				  issuer ? "IP:127.0.0.1" : "critical,CA:TRUE");
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	X509_sign(x, issuer_key ? issuer_key : key, EVP_sha256());
	return x;
}

static void save(const char *path, X509 *x, EVP_PKEY *key)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	if (x)
		PEM_write_X509(f, x);
	else
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void make_pki(const char *tag, char *ca, char *cert, char *key)
{
	EVP_PKEY *k1 = EVP_EC_gen("P-256"), *k2 = EVP_EC_gen("P-256");
	X509 *a = make_cert(k1, tag, NULL, NULL), *b = make_cert(k2, "leaf", a, k1);

	snprintf(ca, 100, "%s/%s-ca.pem", t_dir, tag);
	snprintf(cert, 100, "%s/%s-cert.pem", t_dir, tag);
	snprintf(key, 100, "%s/%s-key.pem", t_dir, tag);
	save(ca, a, NULL);
	save(cert, b, NULL);
	save(key, NULL, k2);
	X509_free(a);
	X509_free(b);
	EVP_PKEY_free(k1);
	EVP_PKEY_free(k2);
}

static uint16_t free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t n = sizeof(sa);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	getsockname(fd, (struct sockaddr *)&sa, &n);
	close(fd);
	return ntohs(sa.sin_port);
}

static struct http_client *tcp_client(uint16_t port, const struct http_tls *tls)
{
	char *url = mem_printf("tcp://127.0.0.1:%u", port);
	struct err e = { 0 };

	http_client_free(cl);
	cl = http_client_new(tl, url, tls, &e);
	if (!cl)
		fail_msg("%s", e.msg);
	free(url);
	buf_done(&res.body);
	res = (struct result){ 0 };
	return cl;
}

static void test_tcp(void **state)
{
	uint16_t port = free_port();
	struct err e = { 0 };

	(void)state;
	assert_int_equal(http_server_listen_tcp(ts, "127.0.0.1", port, NULL, &e), 0);
	tcp_client(port, NULL);
	get("/hello");
	finish();
	assert_true(res.ok);
	assert_string_equal(res.body.data, "hello");
	tcp_client(port, NULL);
	get("/peer");	/* nobody's uid is known there */
	finish();
	assert_int_equal(res.status, 500);
}

static uint16_t tls_server(void)
{
	struct http_tls tls = { ca_path, cert_path, key_path };
	uint16_t port = free_port();
	struct err e = { 0 };

	make_pki("ours", ca_path, cert_path, key_path);
	make_pki("other", other_ca, other_cert, other_key);
	assert_int_equal(http_server_listen_tcp(ts, "127.0.0.1", port, &tls, &e), 0);
	return port;
}

static void test_tls(void **state)
{
	uint16_t port = tls_server();
	struct http_tls good = { ca_path, cert_path, key_path };

	(void)state;
	tcp_client(port, &good);
	get("/hello");
	finish();
	if (!res.ok)
		fail_msg("%s", res.err.msg);
	assert_string_equal(res.body.data, "hello");
	tcp_client(port, &good);
	get("/out?n=1000");
	finish();
	assert_int_equal(res.body.len, 1000 * 4096);
	tcp_client(port, &good);
	res.to_send = 100;
	http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/in", .stream = true }, &upload_ops, &res);
	finish();
	assert_string_equal(res.body.data, "got 6553600\n");
}

/* close_notify ends one direction only. */
static void test_tls_half_close(void **state)
{
	uint16_t port = tls_server();
	struct http_tls good = { ca_path, cert_path, key_path };
	struct http_call *c;

	(void)state;
	tcp_client(port, &good);
	c = http_call_start(cl, &(struct http_call_args){ .method = "POST", .target = "/hijack-open", .upgrade = true }, &plain_ops, &res);
	while (!res.status)
		loop_turn(tl, -1);
	http_call_write(c, "in ", 3);
	http_call_finish(c);
	while (!seen.stream_eofs)
		loop_turn(tl, -1);
	http_stream_write(seen.stream, "out", 3);
	while (res.body.len < 6)
		loop_turn(tl, -1);
	http_stream_close(seen.stream);
	finish();
	assert_true(res.ok);
	assert_string_equal(res.body.data, "in out");
}

static void expect_tls_failure(uint16_t port, const struct http_tls *tls)
{
	tcp_client(port, tls);
	get("/hello");
	finish();
	assert_false(res.ok);
	assert_int_equal(seen.requests, 0);
}

static void test_tls_strangers(void **state)
{
	uint16_t port = tls_server();
	struct http_tls other = { other_ca, other_cert, other_key }, no_cert = { ca_path, NULL, NULL }, other_client = { ca_path, other_cert, other_key };

	(void)state;
	expect_tls_failure(port, &other);		/* does not trust us */
	expect_tls_failure(port, &other_client);	/* we do not trust it */
	expect_tls_failure(port, &no_cert);		/* has nothing to show */
	expect_tls_failure(port, NULL);			/* speaks plain HTTP */
}

static void test_tls_bad_files(void **state)
{
	struct http_tls tls;
	struct err e = { 0 };

	(void)state;
	make_pki("ours", ca_path, cert_path, key_path);
	make_pki("other", other_ca, other_cert, other_key);
	tls = (struct http_tls){ "/nonexistent/ca.pem", cert_path, key_path };
	assert_int_equal(http_server_listen_tcp(ts, "127.0.0.1", free_port(), &tls, &e), -1);
	assert_non_null(strstr(e.msg, "/nonexistent/ca.pem"));
	tls = (struct http_tls){ ca_path, cert_path, other_key };
	assert_int_equal(http_server_listen_tcp(ts, "127.0.0.1", free_port(), &tls, &e), -1);
	assert_non_null(strstr(e.msg, other_key));
	tls = (struct http_tls){ ca_path, cert_path, NULL };
	assert_int_equal(http_server_listen_tcp(ts, "127.0.0.1", free_port(), &tls, &e), -1);
}

static void test_encode(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	http_encode(&b, "a b/c?{\"x\"}&\xc3\xa9~");
	assert_string_equal(b.data, "a%20b%2Fc%3F%7B%22x%22%7D%26%C3%A9~");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_do, t_setup, done),
		cmocka_unit_test_setup_teardown(test_upload, t_setup, done),
		cmocka_unit_test_setup_teardown(test_upload_refused, t_setup, done),
		cmocka_unit_test_setup_teardown(test_upgrade, t_setup, done),
		cmocka_unit_test_setup_teardown(test_upgrade_denied, t_setup, done),
		cmocka_unit_test_setup_teardown(test_cancel, t_setup, done),
		cmocka_unit_test_setup_teardown(test_nobody_there, t_setup, done),
		cmocka_unit_test_setup_teardown(test_bad_servers, t_setup, done),
		cmocka_unit_test_setup_teardown(test_tcp, t_setup, done),
		cmocka_unit_test_setup_teardown(test_tls, t_setup, done),
		cmocka_unit_test_setup_teardown(test_tls_half_close, t_setup, done),
		cmocka_unit_test_setup_teardown(test_tls_strangers, t_setup, done),
		cmocka_unit_test_setup_teardown(test_tls_bad_files, t_setup, done),
		cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
