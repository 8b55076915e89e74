/* SPDX-License-Identifier: Apache-2.0 */
/* The whole module on loopback: askers with sockets of their own, and a name server that does what the test says. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/dns.h"
#include "dns/hostconf.h"

static struct {
	struct loop *l;
	struct dns *d;
	struct dns_view *v;
	struct dns_server *s;
	uint16_t port;			/* ours */
	int asker;			/* UDP, connected to it */
	/* the other server */
	int up_udp, up_tcp, up_conn;
	struct loop_io *up_io, *up_tcp_io, *up_conn_io;
	char up_text[32];
	unsigned up_asked, up_tcp_asked;
	bool up_dead, up_truncate;
	uint16_t up_records;
	char dir[64], file[96];
} t;

static struct in6_addr addr(const char *text)
{
	struct in6_addr a;

	assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
	return a;
}

static size_t up_answer(const uint8_t *q_msg, size_t n, unsigned records, unsigned flags, uint8_t *out, size_t cap)
{
	struct in6_addr a = addr("::ffff:198.51.100.7");
	struct dns_writer w;
	struct dns_query q;

	assert_int_equal(dns_query_parse(q_msg, n, &q), 0);
	dns_write_reply(&w, out, cap, q_msg, &q, DNS_RA | DNS_AD | flags);
	for (unsigned i = 0; i < records; i++)
		dns_write_address(&w, 1, NULL, &a, 1);
	dns_write_opt(&w, 1232, 0, q.dnssec_ok, NULL, 0);
	return dns_write_end(&w);
}

static void on_up_udp(void *user, unsigned events)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t q[1024], out[65535];
	ssize_t n = recvfrom(t.up_udp, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	(void)user;
	(void)events;
	if (n <= 0)
		return;
	t.up_asked++;
	if (t.up_dead)
		return;
	n = (ssize_t)up_answer(q, (size_t)n, t.up_truncate ? 0 : t.up_records, t.up_truncate ? DNS_TC : 0, out, sizeof(out));
	assert_int_equal(sendto(t.up_udp, out, (size_t)n, 0, (struct sockaddr *)&from, len), n);
}

static void on_up_conn(void *user, unsigned events)
{
	uint8_t q[1024], out[65537];
	ssize_t n = recv(t.up_conn, q, sizeof(q), MSG_DONTWAIT);
	size_t len;

	(void)user;
	(void)events;
	if (n <= 0) {
		loop_io_free(TAKE(t.up_conn_io));
		close(TAKE_FD(t.up_conn));
		return;
	}
	t.up_tcp_asked++;
	len = up_answer(q + 2, (size_t)n - 2, t.up_records, 0, out + 2, sizeof(out) - 2);
	dns_put16(out, (unsigned)len);
	assert_int_equal(send(t.up_conn, out, len + 2, 0), len + 2);
}

static void on_up_accept(void *user, unsigned events)
{
	(void)user;
	(void)events;
	if (t.up_conn_io)
		loop_io_free(t.up_conn_io);
	fd_closep(&t.up_conn);
	t.up_conn = accept4(t.up_tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	t.up_conn_io = loop_io_new(t.l, t.up_conn, LOOP_READ, on_up_conn, NULL);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static int connected(int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(t.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), size = 1 << 20;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void write_resolv(const char *server)
{
	CLEANUP(mem_freep) char *text = mem_printf("# made by a test\nnameserver %s\n", server);

	assert_int_equal(file_replace_at(AT_FDCWD, t.file, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	const struct in_addr lo = { htonl(INADDR_LOOPBACK) };
	struct dns_config cfg = { .resolv_conf = t.file };
	struct in6_addr a = addr("::ffff:172.18.0.2"), b = addr("::ffff:172.18.0.3");
	struct err e = { 0 };
	int udp, tcp, rc;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.asker = t.up_conn = -1;
	t.up_records = 1;
	(void)snprintf(t.dir, sizeof(t.dir), "/tmp/kedge-dns.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	(void)snprintf(t.file, sizeof(t.file), "%s/resolv.conf", t.dir);
	t.l = loop_new(&e);
	assert_int_equal(dns_server_sockets(&lo, 0, &t.up_udp, &t.up_tcp), 0);
	(void)snprintf(t.up_text, sizeof(t.up_text), "127.0.0.1:%u", port_of(t.up_udp));
	t.up_io = loop_io_new(t.l, t.up_udp, LOOP_READ, on_up_udp, NULL);
	t.up_tcp_io = loop_io_new(t.l, t.up_tcp, LOOP_READ, on_up_accept, NULL);
	write_resolv(t.up_text);
	t.d = dns_new(t.l, &cfg, &e);
	assert_non_null(t.d);
	t.v = dns_view_new("app", &rc);
	assert_int_equal(dns_host_name(dns_host_new(t.v, &a, 1), "web"), 0);
	assert_int_equal(dns_host_name(dns_host_new(t.v, &b, 1), "db"), 0);
	t.s = dns_server_new(t.d, "test");
	dns_server_view_add(t.s, t.v, &a, 1);
	dns_server_forwarding(t.s, true);
	assert_int_equal(dns_server_sockets(&lo, 0, &udp, &tcp), 0);
	t.port = port_of(udp);
	dns_server_listen_take(t.s, udp, tcp);
	t.asker = connected(SOCK_DGRAM);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dns_server_free(t.s);
	dns_view_free(t.v);
	dns_free(t.d);
	loop_io_free(t.up_io);
	loop_io_free(t.up_tcp_io);
	loop_io_free(t.up_conn_io);
	fd_closep(&t.up_conn);
	close(t.up_udp);
	close(t.up_tcp);
	fd_closep(&t.asker);
	loop_free(t.l);
	(void)file_rm_rf_at(AT_FDCWD, t.dir);
	return 0;
}

static size_t question(const char *name, uint16_t type, uint16_t id, uint16_t edns, uint8_t *out)
{
	struct dns_name n;
	struct dns_writer w;

	assert_int_equal(dns_name_parse(name, &n), 0);
	dns_write_query(&w, out, 512, id, DNS_RD, &n, type, DNS_IN);
	if (edns)
		dns_write_opt(&w, edns, 0, false, NULL, 0);
	return dns_write_end(&w);
}

/* Waits for a datagram while the loop turns. */
static ssize_t get(uint8_t *out, size_t cap, int ms)
{
	int64_t end = clock_now() + ms * 1000000ll;

	for (;;) {
		ssize_t n = recv(t.asker, out, cap, MSG_DONTWAIT);

		if (n >= 0 || clock_now() > end)
			return n;
		loop_turn(t.l, 5);
	}
}

static struct dns_answer ask(const char *name, uint16_t type, uint16_t edns)
{
	static uint8_t out[65535];
	struct dns_answer a;
	uint8_t q[512];
	ssize_t n;

	n = (ssize_t)question(name, type, 77, edns, q);
	assert_int_equal(send(t.asker, q, (size_t)n, 0), n);
	n = get(out, sizeof(out), 6000);
	assert_true(n > 0);
	assert_int_equal(dns_answer_parse(out, (size_t)n, &a), 0);
	assert_int_equal(a.id, 77);
	assert_int_equal(a.opt != 0, edns != 0);
	assert_true(n <= (edns ? edns : 512));
	return a;
}

static int64_t stat_of(const char *path)
{
	json_t *o = dns_stats(t.d);
	int64_t v = json_integer_value(json_path(o, path));

	json_decref(o);
	return v;
}

static void test_udp(void **state)
{
	struct dns_answer a;

	(void)state;
	a = ask("web", DNS_A, 0);
	assert_int_equal(a.counts[0], 1);
	assert_true(a.flags & DNS_AA && a.flags & DNS_RA);
	a = ask("web", DNS_AAAA, 1232);
	assert_true(a.rcode == DNS_NOERROR && a.counts[0] == 0);
	assert_int_equal(t.up_asked, 0);	/* never sent on */
	a = ask("www.example", DNS_A, 1232);
	assert_int_equal(a.counts[0], 1);
	assert_false(a.flags & DNS_AA);
	assert_false(a.flags & DNS_AD);		/* not asked for */
	assert_int_equal(t.up_asked, 1);
	a = ask("WWW.example", DNS_A, 0);
	assert_int_equal(t.up_asked, 1);	/* cached, for one without EDNS too */
	a = ask("example", DNS_AXFR, 0);
	assert_int_equal(a.rcode, DNS_NOTIMP);
	dns_server_forwarding(t.s, false);
	a = ask("other.example", DNS_A, 0);
	assert_int_equal(a.rcode, DNS_SERVFAIL);
	a = ask("db", DNS_A, 0);
	assert_int_equal(a.counts[0], 1);
	assert_int_equal(t.up_asked, 1);
	assert_int_equal(stat_of("Local"), 3);
	assert_int_equal(stat_of("Cached"), 1);
}

static void test_aliases_and_owners(void **state)
{
	struct dns_answer a;
	const char *self = "172.18.0.2";

	(void)state;
	assert_int_equal(dns_server_alias(t.s, "mysql", "db"), 0);
	assert_int_equal(dns_server_alias(t.s, "a..b", "db"), -EINVAL);
	a = ask("MySQL", DNS_A, 0);
	assert_int_equal(a.counts[0], 1);
	/* A server that is the asker itself: said at once, not asked in a circle. */
	assert_int_equal(dns_server_upstreams(t.s, &self, 1, NULL), 0);
	a = ask("x.example", DNS_A, 0);
	assert_int_equal(a.rcode, DNS_SERVFAIL);
	assert_int_equal(stat_of("Forwarder.Sent"), 0);
}

static void test_truncated(void **state)
{
	struct dns_answer a;

	(void)state;
	t.up_records = 200;
	t.up_truncate = true;
	a = ask("big.example", DNS_A, 4096);
	assert_int_equal(t.up_tcp_asked, 1);
	assert_int_equal(a.counts[0], 200);
	a = ask("big.example", DNS_A, 1232);
	assert_true(a.flags & DNS_TC);
	assert_int_equal(a.counts[0], 0);
	assert_int_equal(t.up_tcp_asked, 1);
}

static bool read_tcp(int fd, uint8_t *out, size_t *have, size_t want)
{
	int64_t end = clock_now() + 5000000000ll;

	while (*have < want) {
		ssize_t n = recv(fd, out + *have, want - *have, MSG_DONTWAIT);

		if (n > 0)
			*have += (size_t)n;
		else if (n == 0 || clock_now() > end)
			return false;
		else
			loop_turn(t.l, 5);
	}
	return true;
}

static void test_tcp(void **state)
{
	enum { MANY = 300 };
	static uint8_t in[MANY * 64], out[65537];
	bool seen[MANY] = { 0 };
	int fd = connected(SOCK_STREAM);
	size_t len = 0;

	(void)state;
	/* All at once, in pieces that end anywhere; every third has to be asked elsewhere. */
	for (unsigned i = 0; i < MANY; i++) {
		char name[32];
		size_t n;

		(void)snprintf(name, sizeof(name), i % 3 ? "web" : "n%u.example", i);
		n = question(name, DNS_A, (uint16_t)i, 0, in + len + 2);
		dns_put16(in + len, (unsigned)n);
		len += 2 + n;
	}
	for (size_t off = 0; off < len; off += 97) {
		size_t n = len - off < 97 ? len - off : 97;

		assert_int_equal(send(fd, in + off, n, 0), n);
		loop_turn(t.l, 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		struct dns_answer a;
		size_t have = 0;

		assert_true(read_tcp(fd, out, &have, 2));
		assert_true(read_tcp(fd, out, &have, 2u + dns_get16(out)));
		assert_int_equal(dns_answer_parse(out + 2, have - 2, &a), 0);
		assert_int_equal(a.counts[0], 1);
		assert_true(a.id < MANY && !seen[a.id]);
		seen[a.id] = true;
	}
	assert_int_equal(stat_of("TCP"), MANY);
	/* The end of asking is not the end of answering. */
	len = question("last.example", DNS_A, 9, 0, in + 2);
	dns_put16(in, (unsigned)len);
	assert_int_equal(send(fd, in, len + 2, 0), len + 2);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	{
		size_t have = 0;

		assert_true(read_tcp(fd, out, &have, 2));
		assert_true(read_tcp(fd, out, &have, 2u + dns_get16(out)));
		assert_false(read_tcp(fd, out, &have, have + 1));
	}
	close(fd);
	/* Nonsense by TCP ends nothing but itself. */
	fd = connected(SOCK_STREAM);
	assert_int_equal(send(fd, "\0\3abc\0\0", 7, 0), 7);
	len = question("web", DNS_A, 9, 0, in + 2);
	dns_put16(in, (unsigned)len);
	assert_int_equal(send(fd, in, len + 2, 0), len + 2);
	{
		size_t have = 0;

		assert_true(read_tcp(fd, out, &have, 2));
	}
	close(fd);
}

static void test_many_owners(void **state)
{
	struct dns_answer a;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		char text[40];
		struct in6_addr x;

		(void)snprintf(text, sizeof(text), "::ffff:172.18.1.%u", i + 1);
		x = addr(text);
		assert_int_equal(dns_host_name(dns_host_new(t.v, &x, 1), "all"), 0);
	}
	a = ask("all", DNS_A, 0);
	/* Old resolvers take what fitted, all others come by TCP. */
	assert_true(a.flags & DNS_TC && a.counts[0] > 20);
	a = ask("all", DNS_A, 4096);
	assert_int_equal(a.counts[0], 100);
}

struct waiting {
	unsigned n;
	struct dns_answer a;
};

static void on_lookup(void *user, const uint8_t *msg, size_t n)
{
	struct waiting *w = user;

	w->n++;
	if (msg)
		assert_int_equal(dns_answer_parse(msg, n, &w->a), 0);
}

static void on_event(void *user, const struct dns_event *ev)
{
	char name[DNS_TEXT_MAX];
	size_t len = strlen(user);

	(void)snprintf((char *)user + len, 512 - len, "%s %s %s %d %s;", ev->label, ev->proto, dns_name_text(ev->name, name), ev->rcode,
		       dns_source_text(ev->source));
}

static void test_lookup_and_log(void **state)
{
	struct dns_server *s = dns_server_new(t.d, "tool");
	struct waiting w = { 0 }, gone = { 0 };
	char log[512] = "";
	struct dns_watch *watch = dns_watch(t.d, on_event, log);
	struct dns_lookup *cancelled;
	uint8_t q[512];
	size_t n;

	(void)state;
	dns_server_view_add(s, t.v, NULL, 0);
	dns_server_forwarding(s, true);
	n = question("web", DNS_A, 1, 1232, q);
	dns_lookup(s, q, n, on_lookup, &w);
	assert_int_equal(w.n, 0);
	while (!w.n)
		loop_turn(t.l, 100);
	n = question("www.example", DNS_A, 1, 0, q);
	dns_lookup(s, q, n, on_lookup, &w);
	cancelled = dns_lookup(s, q, n, on_lookup, &gone);
	dns_lookup_cancel(cancelled);
	while (w.n < 2)
		loop_turn(t.l, 100);
	assert_string_equal(log, "tool api web 0 local;tool api www.example 0 upstream;");
	n = question("other.example", DNS_A, 1, 0, q);
	t.up_dead = true;
	dns_lookup(s, q, n, on_lookup, &gone);
	dns_server_free(s);
	assert_int_equal(gone.n, 1);
	dns_watch_free(watch);
}

static void test_host_file(void **state)
{
	char **v = hostconf_parse("nameserver 1.1.1.1\n  nameserver\t::1 # x\nnameservers 3\n#nameserver 4\nsearch a b\nnameserver\nnameserver 5;\r\n");
	struct dns_answer a;
	uint8_t q[512];
	size_t n;

	(void)state;
	assert_int_equal(strv_len(v), 3);
	assert_string_equal(v[1], "::1");
	assert_string_equal(v[2], "5");
	strv_free(v);
	assert_string_equal(dns_host_servers(t.d)[0], t.up_text);
	/* To a server that does not exist, and back: noticed by itself. */
	write_resolv("127.0.0.1:9");
	while (!str_eq(dns_host_servers(t.d)[0], "127.0.0.1:9"))
		loop_turn(t.l, 1000);
	n = question("one.example", DNS_A, 3, 0, q);
	assert_int_equal(send(t.asker, q, n, 0), n);
	loop_turn(t.l, 100);
	assert_int_equal(t.up_asked, 0);
	write_resolv(t.up_text);
	while (!str_eq(dns_host_servers(t.d)[0], t.up_text))
		loop_turn(t.l, 1000);
	n = question("two.example", DNS_A, 77, 0, q);
	assert_int_equal(send(t.asker, q, n, 0), n);
	do {
		static uint8_t out[512];
		ssize_t r = get(out, sizeof(out), 5000);

		assert_true(r > 0);
		assert_int_equal(dns_answer_parse(out, (size_t)r, &a), 0);
	} while (a.id != 77);
	assert_int_equal(a.counts[0], 1);
}

static void test_stale(void **state)
{
	struct dns_answer a;
	int64_t start;

	(void)state;
	a = ask("www.example", DNS_A, 0);
	assert_int_equal(a.ttl, 1);
	t.up_dead = true;
	start = clock_now();
	while (clock_now() - start < 1100000000ll)
		loop_turn(t.l, 50);
	start = clock_now();
	a = ask("www.example", DNS_A, 1232);
	assert_true(clock_now() - start < 3000000000ll);
	assert_int_equal(a.counts[0], 1);
	assert_int_equal(a.ttl, 30);
	assert_int_equal(stat_of("Stale"), 1);
}

/* A flood of questions nobody answers: what we know is told at once all the same, and memory has its limit. */
static void test_flood(void **state)
{
	enum { MANY = 60000 };
	char name[40];
	uint8_t q[512];
	int64_t start, worst = 0, waiting, most = 0;
	struct dns_answer a;

	(void)state;
	t.up_dead = true;
	for (unsigned i = 0; i < MANY; i++) {
		size_t n;

		(void)snprintf(name, sizeof(name), "n%u.flood.example", i);
		n = question(name, DNS_A, (uint16_t)i, 0, q);
		while (send(t.asker, q, n, MSG_DONTWAIT) < 0)
			loop_turn(t.l, 0);
		if (i % 16 == 0)
			loop_turn(t.l, 0);
		/* On a slow machine the first are given up before the last have come. */
		waiting = i % 1024 ? 0 : stat_of("Waiting");
		most = waiting > most ? waiting : most;
	}
	assert_true(most > 5000);
	{
		/* Another asker, so that its answers are not behind the flood's. */
		int old = t.asker;

		t.asker = connected(SOCK_DGRAM);
		for (unsigned i = 0; i < 20; i++) {
			start = clock_now();
			a = ask("web", DNS_A, 0);
			assert_int_equal(a.counts[0], 1);
			if (clock_now() - start > worst)
				worst = clock_now() - start;
		}
		close(old);
	}
	assert_true(stat_of("Waiting") <= 131072);
	/* Generous: sanitizers, and others on this machine. */
	assert_true(worst < 1000000000ll);
	/* All are let go when the server ends. */
	dns_server_free(TAKE(t.s));
	assert_int_equal(stat_of("Waiting"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_udp, setup, teardown),	   cmocka_unit_test_setup_teardown(test_aliases_and_owners, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),  cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_owners, setup, teardown), cmocka_unit_test_setup_teardown(test_lookup_and_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_file, setup, teardown),  cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
