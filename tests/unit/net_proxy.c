/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/addr.h"
#include "net/proxy/proxy.h"
#include "net/rtnl.h"

/*
 * The proxy between a client and a server that are both this test, on loopback of a namespace of its own. Each test closes its port and
 * waits for it, so that the sanitizers see whether anything stays.
 */
static struct loop *main_loop;
static struct proxy *proxy;

static int sock_on(int type, uint16_t *port, const char *ip)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(*port) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	(void)inet_pton(AF_INET, ip, &sa.sin_addr);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4096), 0);
	(void)getsockname(fd, (struct sockaddr *)&sa, &len);
	*port = ntohs(sa.sin_port);
	return fd;
}

static int dial(int type, uint16_t port, const char *ip)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, ip, &sa.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static struct proxy_port *publish(uint8_t proto, uint16_t to, uint16_t *port)
{
	struct proxy_target t = { .proto = proto, .addr = addr_of4(INADDR_LOOPBACK), .port = to };
	int fd, one = 1;

	*port = 0;
	fd = sock_on((proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, port, "0.0.0.0");
	if (proto == IPPROTO_TCP)
		assert_int_equal(listen(fd, 4096), 0);
	else
		(void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	return proxy_port_open_take(proxy, fd, &t);
}

static void on_flag(void *user)
{
	*(int *)user = 1;
}

static void unpublish(struct proxy_port *p)
{
	int done = 0;

	proxy_ports_close(proxy, &p, 1, on_flag, &done);
	while (!done)
		(void)loop_turn(main_loop, -1);
}

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 20000), 1);
}

static int accept_on(int fd)
{
	int c;

	wait_for(fd);
	c = accept(fd, NULL, NULL);
	assert_true(c >= 0);
	return c;
}

static void expect(int fd, const char *text)
{
	char buf[256];
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t r;

		wait_for(fd);
		r = recv(fd, buf + n, strlen(text) - n, 0);
		assert_true(r > 0);
		n += (size_t)r;
	}
	assert_memory_equal(buf, text, n);
}

static void expect_end(int fd)
{
	char c;

	wait_for(fd);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void test_half_close(void **state)
{
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_STREAM, &sp, "127.0.0.1"), c, s;
	struct proxy_port *p = publish(IPPROTO_TCP, sp, &pp);

	(void)state;
	/* The client ends first, the answer still comes. */
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	s = accept_on(server);
	say(c, "question");
	shutdown(c, SHUT_WR);
	expect(s, "question");
	expect_end(s);
	say(s, "answer");
	expect(c, "answer");
	say(s, " and more");
	expect(c, " and more");
	close(s);
	expect_end(c);
	close(c);
	/* The server speaks first and ends first. */
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	s = accept_on(server);
	say(s, "220 hello");
	shutdown(s, SHUT_WR);
	expect(c, "220 hello");
	expect_end(c);
	say(c, "late words");
	expect(s, "late words");
	close(c);
	expect_end(s);
	close(s);
	unpublish(p);
	close(server);
}

static void test_reset(void **state)
{
	struct linger now = { .l_onoff = 1 };
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_STREAM, &sp, "127.0.0.1"), c, s;
	struct proxy_port *p = publish(IPPROTO_TCP, sp, &pp);
	char x;

	(void)state;
	/* A reset comes through as one. */
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	s = accept_on(server);
	say(c, "x");
	expect(s, "x");
	(void)setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s);
	wait_for(c);
	assert_int_equal(recv(c, &x, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(c);
	/* So does a server that is not there. */
	close(server);
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	wait_for(c);
	assert_int_equal(recv(c, &x, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(c);
	unpublish(p);
}

static uint64_t pattern(uint64_t i)
{
	return (i * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
}

/* A client that says everything at once and ends, before anybody has looked: at a server that is there, and at one that takes its time. */
static void test_first_words(void **state)
{
	enum { CLIENTS = 50 };
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_STREAM, &sp, "127.0.0.1"), c[CLIENTS], s, n = 0;
	struct proxy_port *p = publish(IPPROTO_TCP, sp, &pp);
	static char words[20000], got[20000];

	(void)state;
	for (size_t i = 0; i < sizeof(words); i++)
		words[i] = (char)pattern(i);
	for (int i = 0; i < CLIENTS; i++) {
		c[i] = dial(SOCK_STREAM, pp, "127.0.0.1");
		assert_int_equal(send(c[i], words, sizeof(words), MSG_NOSIGNAL), sizeof(words));
		shutdown(c[i], SHUT_WR);
	}
	for (int i = 0; i < CLIENTS; i++) {
		s = accept_on(server);
		assert_int_equal(recv(s, got, sizeof(got), MSG_WAITALL), sizeof(got));
		assert_memory_equal(got, words, sizeof(got));
		expect_end(s);
		say(s, "heard");
		close(s);
	}
	for (int i = 0; i < CLIENTS; i++) {
		expect(c[i], "heard");
		expect_end(c[i]);
		close(c[i]);
	}
	/* A queue that is full: connect() is not answered before somebody accepts, and the kernel asks again after a second. */
	assert_int_equal(listen(server, 0), 0);
	for (int i = 0; i < 4; i++) {
		c[i] = dial(SOCK_STREAM, pp, "127.0.0.1");
		say(c[i], "hello");
	}
	while (n < 4) {
		s = accept_on(server);
		expect(s, "hello");
		say(s, "welcome");
		close(s);
		n++;
	}
	for (int i = 0; i < 4; i++) {
		expect(c[i], "welcome");
		expect_end(c[i]);
		close(c[i]);
	}
	unpublish(p);
	close(server);
}

struct transfer {
	int fd;
	uint64_t bytes, sum;
};

static void *sender(void *user)
{
	struct transfer *t = user;
	static __thread unsigned char buf[40000];

	for (uint64_t at = 0; at < t->bytes;) {
		size_t n = t->bytes - at < sizeof(buf) ? (size_t)(t->bytes - at) : sizeof(buf);

		for (size_t i = 0; i < n; i++)
			buf[i] = (unsigned char)pattern(at + i);
		for (size_t off = 0; off < n;) {
			ssize_t r = send(t->fd, buf + off, n - off, MSG_NOSIGNAL);

			if (r <= 0)
				return NULL;
			off += (size_t)r;
		}
		at += n;
	}
	shutdown(t->fd, SHUT_WR);
	return NULL;
}

static uint64_t receive(int fd, uint64_t *wrong)
{
	static __thread unsigned char buf[100000];
	uint64_t at = 0;

	for (;;) {
		ssize_t r = recv(fd, buf, sizeof(buf), 0);

		if (r <= 0)
			return at;
		for (ssize_t i = 0; i < r; i++)
			*wrong += buf[i] != (unsigned char)pattern(at + (uint64_t)i);
		at += (uint64_t)r;
	}
}

static void *receiver(void *user)
{
	struct transfer *t = user;

	t->bytes = receive(t->fd, &t->sum);
	return NULL;
}

/* Both directions at once, more than any buffer holds; nothing lost, nothing out of order. */
static void test_bulk(void **state)
{
	enum { BYTES = 24 << 20 };
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_STREAM, &sp, "127.0.0.1"), c, s;
	struct proxy_port *p = publish(IPPROTO_TCP, sp, &pp);
	struct transfer t[4];
	pthread_t th[4];
	struct proxy_counts n;

	(void)state;
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	s = accept_on(server);
	t[0] = (struct transfer){ .fd = c, .bytes = BYTES };
	t[1] = (struct transfer){ .fd = s, .bytes = BYTES + 12345 };
	t[2] = (struct transfer){ .fd = c };
	t[3] = (struct transfer){ .fd = s };
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&th[i], NULL, i < 2 ? sender : receiver, &t[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(t[3].bytes, BYTES);
	assert_int_equal(t[2].bytes, BYTES + 12345);
	assert_int_equal(t[2].sum + t[3].sum, 0);
	proxy_counts(proxy, &n);
	assert_true(n.tcp_bytes >= 2 * (uint64_t)BYTES);
	close(c);
	close(s);
	unpublish(p);
	close(server);
}

/* A reader that does not read costs a bounded amount of memory, and gets everything when it does. */
static void test_stuck_reader(void **state)
{
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_STREAM, &sp, "127.0.0.1"), c, s;
	struct proxy_port *p = publish(IPPROTO_TCP, sp, &pp);
	struct pollfd pf;
	static char junk[65536];
	uint64_t sent = 0, got = 0;

	(void)state;
	c = dial(SOCK_STREAM, pp, "127.0.0.1");
	s = accept_on(server);
	pf = (struct pollfd){ .fd = c, .events = POLLOUT };
	/* Until nothing goes for a while: everybody's buffers are full. */
	while (poll(&pf, 1, 300) == 1) {
		ssize_t r = send(c, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r > 0)
			sent += (uint64_t)r;
		assert_true(sent < UINT64_C(256) << 20);
	}
	shutdown(c, SHUT_WR);
	for (;;) {
		ssize_t r = recv(s, junk, sizeof(junk), 0);

		if (r <= 0)
			break;
		got += (uint64_t)r;
	}
	assert_int_equal(got, sent);
	close(c);
	close(s);
	unpublish(p);
	close(server);
}

static void test_many(void **state)
{
	enum { CONNS = 1000 };
	static int c[CONNS], s[CONNS];
	struct rlimit rl = { 16384, 16384 };
	struct proxy_counts n;
	uint16_t sp = 0, pp;
	int server, got = 0;
	struct proxy_port *p;

	(void)state;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0 && (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur < 8192))
		skip();
	server = sock_on(SOCK_STREAM, &sp, "127.0.0.1");
	p = publish(IPPROTO_TCP, sp, &pp);
	for (int i = 0; i < CONNS; i++)
		c[i] = dial(SOCK_STREAM, pp, "127.0.0.1");
	for (int i = 0; i < CONNS; i++)
		s[i] = accept_on(server);
	for (int i = 0; i < CONNS; i++)
		say(c[i], "ping");
	for (int i = 0; i < CONNS; i++) {
		expect(s[i], "ping");
		say(s[i], "pong");
	}
	for (int i = 0; i < CONNS; i++) {
		expect(c[i], "pong");
		got++;
	}
	assert_int_equal(got, CONNS);
	proxy_counts(proxy, &n);
	assert_int_equal(n.tcp_now, CONNS);
	for (int i = 0; i < CONNS / 2; i++)
		close(c[i]);
	/* The rest is open when the port goes: they hear of it. */
	unpublish(p);
	proxy_counts(proxy, &n);
	assert_int_equal(n.tcp_now, 0);
	for (int i = CONNS / 2; i < CONNS; i++) {
		char x;

		wait_for(c[i]);
		assert_true(recv(c[i], &x, 1, 0) <= 0);
		close(c[i]);
	}
	for (int i = 0; i < CONNS; i++)
		close(s[i]);
	close(server);
}

static void test_udp(void **state)
{
	uint16_t sp = 0, pp;
	int server = sock_on(SOCK_DGRAM, &sp, "127.0.0.1"), c[3];
	struct proxy_port *p = publish(IPPROTO_UDP, sp, &pp);
	struct sockaddr_in from[3];
	struct proxy_counts n;
	static char big[60000], back[65536];

	(void)state;
	c[0] = dial(SOCK_DGRAM, pp, "127.0.0.1");
	c[1] = dial(SOCK_DGRAM, pp, "127.0.0.1");
	/* A connected socket hears answers from the address it wrote to only. */
	c[2] = dial(SOCK_DGRAM, pp, "127.0.0.7");
	for (int i = 0; i < 3; i++) {
		socklen_t len = sizeof(from[i]);
		char x;

		say(c[i], i == 0 ? "a" : i == 1 ? "b" : "c");
		wait_for(server);
		assert_int_equal(recvfrom(server, &x, 1, 0, (struct sockaddr *)&from[i], &len), 1);
		assert_int_equal(x, "abc"[i]);
	}
	assert_true(from[0].sin_port != from[1].sin_port && from[1].sin_port != from[2].sin_port);
	for (int i = 2; i >= 0; i--)
		assert_int_equal(sendto(server, "xyz" + i, 1, 0, (struct sockaddr *)&from[i], sizeof(from[i])), 1);
	for (int i = 0; i < 3; i++)
		expect(c[i], i == 0 ? "x" : i == 1 ? "y" : "z");
	/* The same flow again, and a datagram of nothing, and one of nearly everything. */
	say(c[0], "again");
	wait_for(server);
	assert_int_equal(recv(server, back, sizeof(back), 0), 5);
	assert_int_equal(send(c[0], "", 0, 0), 0);
	wait_for(server);
	assert_int_equal(recv(server, back, sizeof(back), 0), 0);
	memset(big, 'B', sizeof(big));
	assert_int_equal(send(c[0], big, sizeof(big), 0), sizeof(big));
	wait_for(server);
	assert_int_equal(recv(server, back, sizeof(back), 0), sizeof(big));
	proxy_counts(proxy, &n);
	assert_int_equal(n.udp_now, 3);
	unpublish(p);
	proxy_counts(proxy, &n);
	assert_int_equal(n.udp_now, 0);
	for (int i = 0; i < 3; i++)
		close(c[i]);
	close(server);
}

static void test_closed_early(void **state)
{
	/* Ports of a proxy that goes at once; whether its thread has seen them or not. */
	for (int i = 0; i < 20; i++) {
		struct err e;
		struct proxy *mine = proxy, *p = proxy_new(main_loop, &e);
		uint16_t port;

		assert_non_null(p);
		proxy = p;
		for (int k = 0; k < i; k++)
			(void)publish(k % 2 ? IPPROTO_TCP : IPPROTO_UDP, 9, &port);
		proxy = mine;
		proxy_free(p);
	}
	(void)state;
}

static int setup(void **state)
{
	struct rtnl *r;
	struct err e;

	(void)state;
	if (unshare(CLONE_NEWNET) == 0) {
		assert_int_equal(rtnl_open(&r, &e), 0);
		rtnl_link_up(r, "lo");
		assert_int_equal(rtnl_run(r, &e), 0);
		rtnl_close(r);
	}
	main_loop = loop_new(&e);
	proxy = proxy_new(main_loop, &e);
	return main_loop && proxy ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	proxy_free(proxy);
	loop_free(main_loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close), cmocka_unit_test(test_reset), cmocka_unit_test(test_first_words), cmocka_unit_test(test_bulk), cmocka_unit_test(test_stuck_reader),
		cmocka_unit_test(test_many), cmocka_unit_test(test_udp), cmocka_unit_test(test_closed_early),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
