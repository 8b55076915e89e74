/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "net/addr.h"
#include "net/publish.h"
#include "net/rtnl.h"

static json_t *parse(const char *s)
{
	json_t *j = json_loads(s, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

static int from_api(const char *exposed, const char *bindings, bool all, struct net_port **p, size_t *n, struct err *e)
{
	json_t *x = parse(exposed), *b = parse(bindings);
	int rc = net_ports_from_api(x, b, all, p, n, e);

	json_decref(x);
	json_decref(b);
	return rc;
}

static void test_api(void **state)
{
	struct net_port *p;
	struct err e;
	size_t n;

	(void)state;
	assert_int_equal(from_api("{\"80/tcp\":{},\"443/tcp\":{}}",
				  "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"},{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8000-8010\"}],\"53/udp\":[{\"HostPort\":\"\"}]}",
				  true, &p, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_true(p[0].proto == IPPROTO_TCP && p[0].port == 80 && p[0].host_port == 8080 && p[0].host_port_end == 8080 && !*p[0].host_ip);
	assert_true(p[1].host_port == 8000 && p[1].host_port_end == 8010);
	assert_string_equal(p[1].host_ip, "127.0.0.1");
	assert_true(p[2].proto == IPPROTO_UDP && p[2].port == 53 && p[2].host_port == 0);
	assert_true(p[3].port == 443 && p[3].host_port == 0);	/* publish all: what is not bound yet */
	free(p);
	assert_int_equal(from_api("null", "{\"7000-7002\":[{\"HostPort\":\"8000-8002\"}]}", false, &p, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_true(p[0].port == 7000 && p[0].host_port == 8000 && p[0].count == 3);
	free(p);
	/* A port of one protocol says nothing of another's. */
	assert_int_equal(from_api("{\"80/sctp\":{},\"80/tcp\":{},\"80/udp\":{}}", "{\"80/udp\":[{\"HostPort\":\"8080\"}]}", true, &p, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_true(p[0].host_port == 8080 && p[1].proto == IPPROTO_SCTP && p[2].proto == IPPROTO_TCP);
	free(p);
	assert_int_equal(from_api("{\"80/tcp\":{}}", "{}", false, &p, &n, &e), 0);
	assert_int_equal(n, 0);
	free(p);
	assert_int_equal(net_ports_from_api(NULL, NULL, true, &p, &n, &e), 0);
	assert_int_equal(n, 0);
	free(p);
}

static void test_api_bad(void **state)
{
	static const struct {
		const char *exposed, *bindings, *part;
	} bad[] = {
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"65536\"}]}", "65536" },
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"-1\"}]}", "-1" },
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"9-8\"}]}", "9-8" },
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"0-8\"}]}", "0-8" },
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"1-\"}]}", "1-" },
		{ "{}", "{\"80/tcp\":[{\"HostPort\":\"abc\"}]}", "abc" },
		{ "{}", "{\"80/tcp\":[{\"HostIp\":\"1.2.3\"}]}", "1.2.3" },
		{ "{}", "{\"0/tcp\":[{\"HostPort\":\"80\"}]}", "0/tcp" },
		{ "{}", "{\"65536/tcp\":[]}", "65536" },
		{ "{}", "{\"80/icmp\":[]}", "icmp" },
		{ "{}", "{\"/tcp\":[]}", "/tcp" },
		{ "{}", "{\"\":[]}", "''" },
		{ "{}", "{\"80808080808080808080808080808080\":[]}", "8080" },
		{ "{}", "{\"80-82/tcp\":[{\"HostPort\":\"90-91\"}]}", "90-91" },
		{ "{}", "{\"80-82/tcp\":[{\"HostPort\":\"90\"}]}", "90" },
		{ "{}", "{\"80/tcp\":{}}", "80/tcp" },
		{ "{}", "{\"80/tcp\":[7]}", "80/tcp" },
		{ "{}", "[]", "PortBindings" },
		{ "[]", "{}", "ExposedPorts" },
		{ "{\"x/tcp\":{}}", "{}", "x/tcp" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct net_port *p = (void *)8;
		struct err e = { 0 };
		size_t n = 7;

		assert_int_equal(from_api(bad[i].exposed, bad[i].bindings, false, &p, &n, &e), -1);
		if (!strstr(e.msg, bad[i].part))
			fail_msg("'%s' does not name '%s'", e.msg, bad[i].part);
		assert_true(e.kind == ERR_INVALID || e.kind == ERR_NOT_IMPLEMENTED);
		assert_true(p == (void *)8 && n == 7);
	}
}

static struct net_port port(uint8_t proto, const char *ip, uint16_t from, uint16_t to)
{
	struct net_port p = { .proto = proto, .port = 80, .host_port = from, .host_port_end = to };

	(void)strncpy(p.host_ip, ip, sizeof(p.host_ip) - 1);
	return p;
}

static int one(struct port_table *t, struct net_port p, struct port_bound **ret, struct err *e)
{
	struct in6_addr c = addr_of4(0xac110002);
	size_t n;

	return port_reserve(t, &p, 1, &c, ret, &n, e);
}

static void give(struct port_table *t, struct port_bound *b)
{
	port_release(t, b, 1);
	free(b);
}

static int listener(uint16_t p, const char *ip)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(p) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, ip, &sa.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void test_conflicts(void **state)
{
	struct port_table *t = port_table_new();
	struct port_bound *a, *b, *c;
	struct err e;
	int fd;

	(void)state;
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 8080, 8080), &a, &e), 0);
	assert_true(a->fd >= 0 && a->v4);
	/* Another container, on any overlapping address. */
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 8080, 8080), &b, &e), -1);
	assert_string_equal(e.msg, "Bind for 0.0.0.0:8080 failed: port is already allocated");
	assert_int_equal(one(t, port(IPPROTO_TCP, "127.0.0.1", 8080, 8080), &b, &e), -1);
	assert_string_equal(e.msg, "Bind for 127.0.0.1:8080 failed: port is already allocated");
	/* Another protocol is another port. */
	assert_int_equal(one(t, port(IPPROTO_UDP, "", 8080, 8080), &b, &e), 0);
	give(t, b);
	give(t, a);
	assert_int_equal(port_table_len(t), 0);
	/* Two addresses, one port. */
	assert_int_equal(one(t, port(IPPROTO_TCP, "127.0.0.1", 8080, 8080), &a, &e), 0);
	assert_int_equal(one(t, port(IPPROTO_TCP, "127.0.0.2", 8080, 8080), &b, &e), 0);
	assert_int_equal(one(t, port(IPPROTO_TCP, "0.0.0.0", 8080, 8080), &c, &e), -1);
	assert_int_equal(one(t, port(IPPROTO_TCP, "::", 8080, 8080), &c, &e), 0);
	assert_true(c->v6 && !c->v4);
	give(t, a);
	give(t, b);
	give(t, c);
	/* A process of the host. */
	fd = listener(9090, "0.0.0.0");
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 9090, 9090), &a, &e), -1);
	assert_string_equal(e.msg, "failed to bind host port for 0.0.0.0:9090:172.17.0.2:80/tcp: address already in use");
	assert_int_equal(port_table_len(t), 0);
	/* A range goes past it. */
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 9090, 9091), &a, &e), 0);
	assert_int_equal(a->host_port, 9091);
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 9090, 9091), &b, &e), -1);
	assert_non_null(strstr(e.msg, "9090-9091"));
	give(t, a);
	close(fd);
	/* An address nobody has. */
	assert_int_equal(one(t, port(IPPROTO_TCP, "192.0.2.77", 80, 80), &a, &e), -1);
	assert_non_null(strstr(e.msg, "192.0.2.77:80"));
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
}

/* Whether the kernel has SCTP sockets or not. */
static void test_sctp(void **state)
{
	struct port_table *t = port_table_new();
	struct port_bound *a, *b;
	struct net_port *p;
	struct err e;
	size_t n;

	(void)state;
	assert_int_equal(from_api("{\"9/SCTP\":{}}", "{\"3868/sctp\":[{\"HostPort\":\"3868\"}]}", true, &p, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_true(p[0].proto == IPPROTO_SCTP && p[0].host_port == 3868 && p[1].proto == IPPROTO_SCTP && p[1].port == 9);
	free(p);
	assert_int_equal(one(t, port(IPPROTO_SCTP, "", 3868, 3868), &a, &e), 0);
	assert_int_equal(one(t, port(IPPROTO_SCTP, "192.0.2.1", 3868, 3868), &b, &e), -1);
	assert_string_equal(e.msg, "Bind for 192.0.2.1:3868 failed: port is already allocated");
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 3868, 3868), &b, &e), 0);
	give(t, b);
	assert_int_equal(one(t, port(IPPROTO_SCTP, "", 3868, 3869), &b, &e), 0);
	assert_int_equal(b->host_port, 3869);
	give(t, b);
	assert_int_equal(one(t, port(IPPROTO_SCTP, "", 0, 0), &b, &e), 0);
	assert_true(b->host_port >= 1024);
	give(t, b);
	give(t, a);
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
}

static void test_many(void **state)
{
	enum { COUNT = 300 };
	struct port_table *t = port_table_new();
	struct net_port p[COUNT];
	struct in6_addr c = addr_of4(0xac110002);
	struct port_bound *b, *b2;
	struct err e;
	size_t n;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		p[i] = port(IPPROTO_TCP, "127.0.0.1", (uint16_t)(i == COUNT - 1 ? 20000 : 20000 + i), 0);
	/* The last is the first again: nothing of it stays. */
	assert_int_equal(port_reserve(t, p, COUNT, &c, &b, &n, &e), -1);
	assert_int_equal(port_table_len(t), 0);
	assert_int_equal(port_reserve(t, p, COUNT - 1, &c, &b, &n, &e), 0);
	assert_int_equal(port_table_len(t), COUNT - 1);
	port_release(t, b, COUNT - 1);
	free(b);
	/* Ephemeral ones differ. */
	for (unsigned i = 0; i < COUNT; i++)
		p[i] = port(IPPROTO_UDP, "", 0, 0);
	assert_int_equal(port_reserve(t, p, COUNT, &c, &b, &n, &e), 0);
	assert_int_equal(port_reserve(t, p, COUNT, &c, &b2, &n, &e), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(b[i].host_port && b2[i].host_port);
	assert_int_equal(port_table_len(t), 2 * COUNT);
	port_release(t, b, COUNT);
	port_release(t, b2, COUNT);
	free(b);
	free(b2);
	port_table_free(t);
}

static void on_lost(void *user, const struct port_bound *b, int errnum)
{
	(void)b;
	assert_int_equal(errnum, EADDRINUSE);
	(*(int *)user)++;
}

static void test_adopt(void **state)
{
	struct port_table *t = port_table_new();
	struct net_port p = port(IPPROTO_TCP, "", 9191, 9191);
	struct port_bound *b, *b2;
	int fd = listener(9191, "127.0.0.1"), lost = 0;
	struct err e;
	size_t n;

	(void)state;
	/* Taken by a process while we were away: still ours in the table, without a socket. */
	assert_int_equal(port_adopt(t, &p, 1, on_lost, &lost, &b, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(lost, 1);
	assert_int_equal(b->fd, -1);
	assert_int_equal(port_adopt(t, &p, 1, on_lost, &lost, &b2, &n, &e), -1);
	give(t, b);
	close(fd);
	assert_int_equal(port_adopt(t, &p, 1, on_lost, &lost, &b, &n, &e), 0);
	assert_true(b->fd >= 0);
	assert_int_equal(lost, 1);
	give(t, b);
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
}

/* Runs are one claim and one socket where the data path keeps the rest, and a port each elsewhere. */
static void test_runs(void **state)
{
	enum { COUNT = 10000 };
	struct port_table *t = port_table_new();
	struct net_port *p = calloc(COUNT, sizeof(*p));
	struct in6_addr c = addr_of4(0xac110002);
	struct port_bound *b, *b2;
	struct err e;
	size_t n;
	int fd;

	(void)state;
	port_table_ranges(t);
	/* In the order of their names, as clients send them. */
	for (unsigned i = 0; i < COUNT; i++) {
		unsigned k = (i * 7919) % COUNT;

		p[i] = port(IPPROTO_TCP, "", (uint16_t)(20000 + k), (uint16_t)(20000 + k));
		p[i].port = (uint16_t)(30000 + k);
	}
	assert_int_equal(net_ports_join(p, COUNT), 1);
	assert_int_equal(p[0].count, COUNT);
	fd = listener(29999, "127.0.0.1");
	assert_int_equal(port_reserve(t, p, 1, &c, &b, &n, &e), -1);
	assert_string_equal(e.msg, "failed to bind host port for 0.0.0.0:29999:172.17.0.2:39999/tcp: address already in use");
	close(fd);
	assert_int_equal(port_table_len(t), 0);
	assert_int_equal(port_reserve(t, p, 1, &c, &b, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_true(b->fd >= 0 && b->count == COUNT);
	assert_int_equal(port_table_len(t), COUNT);
	/* Others: in the middle, over an edge, next to it. */
	assert_int_equal(one(t, port(IPPROTO_TCP, "127.0.0.1", 25000, 25000), &b2, &e), -1);
	assert_string_equal(e.msg, "Bind for 127.0.0.1:25000 failed: port is already allocated");
	p[1] = p[0];
	p[1].host_port = p[1].host_port_end = 19990;
	p[1].count = 40;
	assert_int_equal(port_reserve(t, &p[1], 1, &c, &b2, &n, &e), -1);
	assert_string_equal(e.msg, "Bind for 0.0.0.0:20000 failed: port is already allocated");
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 30000, 30000), &b2, &e), 0);
	give(t, b2);
	give(t, b);
	assert_int_equal(one(t, port(IPPROTO_TCP, "", 20005, 20005), &b2, &e), 0);
	assert_int_equal(port_reserve(t, p, 1, &c, &b, &n, &e), -1);
	assert_string_equal(e.msg, "Bind for 0.0.0.0:20005 failed: port is already allocated");
	give(t, b2);
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
	t = port_table_new();
	p[0].count = 200;
	assert_int_equal(port_reserve(t, p, 1, &c, &b, &n, &e), 0);
	assert_int_equal(n, 200);
	assert_true(b[199].fd >= 0 && b[199].host_port == 20199 && b[199].port == 30199);
	port_release(t, b, n);
	free(b);
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
	/* The kernel picks for each of a run. */
	p[0] = port(IPPROTO_UDP, "", 0, 0);
	p[0].count = 100;
	t = port_table_new();
	port_table_ranges(t);
	assert_int_equal(port_reserve(t, p, 1, &c, &b, &n, &e), 0);
	assert_int_equal(n, 100);
	assert_true(b[99].host_port && b[99].port == 179 && b[99].host_port != b[98].host_port);
	port_release(t, b, n);
	free(b);
	port_table_free(t);
	free(p);
}

/* What is folded comes back, whatever it was. */
static void test_fold(void **state)
{
	static const char *const tails[] = { "/tcp", "/udp", "" };
	json_t *ports = json_object(), *exposed = json_object(), *folded, *back;
	struct net_port *p, *q;
	size_t n, m, total = 0;
	struct err e;
	char key[32], text[32];

	(void)state;
	for (unsigned t = 0; t < 3; t++)
		for (unsigned i = 0; i < 1500; i++) {
			json_t *list = json_array();

			snprintf(key, sizeof(key), "%u%s", 9000 + i + 3000 * t, tails[t]);
			snprintf(text, sizeof(text), "%u", 20000 + i + 1500 * t);
			json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", i < 700 ? "" : "127.0.0.1", "HostPort", text));
			if (i > 1200)
				json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", "127.0.0.2", "HostPort", ""));
			json_object_set_new(ports, key, list);
			json_object_set_new(exposed, key, json_object());
		}
	json_object_set_new(ports, "7/tcp", json_pack("[{s:s}]", "HostPort", "8000-8010"));
	json_object_set_new(ports, "007/tcp", json_pack("[{s:s}]", "HostPort", "1"));
	json_object_set_new(ports, "no port", json_null());
	folded = net_ports_fold(ports);
	assert_int_equal(json_object_size(folded), 3 * 3 + 3);
	back = net_ports_unfold(folded);
	assert_true(json_equal(back, ports));
	json_decref(back);
	assert_null(net_ports_fold(folded));
	/* Both forms publish the same. */
	json_object_del(ports, "no port");
	json_object_del(folded, "no port");
	assert_int_equal(net_ports_from_api(exposed, ports, false, &p, &n, &e), 0);
	assert_int_equal(net_ports_from_api(exposed, folded, false, &q, &m, &e), 0);
	n = net_ports_join(p, n);
	m = net_ports_join(q, m);
	assert_true(n < 32 && m < 32);
	for (size_t i = 0; i < n; i++)
		total += net_port_count(&p[i]);
	for (size_t i = 0; i < m; i++)
		total -= net_port_count(&q[i]);
	assert_int_equal(total, 0);
	free(p);
	free(q);
	json_decref(folded);
	folded = net_ports_fold(exposed);
	assert_int_equal(json_object_size(folded), 3);
	back = net_ports_unfold(folded);
	assert_true(json_equal(back, exposed));
	json_decref(back);
	json_decref(folded);
	json_decref(ports);
	json_decref(exposed);
	/* A value that is not like the others stays by itself. */
	ports = json_object();
	for (unsigned i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%u/tcp", 100 + i);
		json_object_set_new(ports, key, i == 50 ? json_pack("[{s:s, s:i}]", "HostPort", "150", "More", 1) : i == 60 ? json_null() : json_object());
	}
	folded = net_ports_fold(ports);
	assert_int_equal(json_object_size(folded), 2 + 2 + 9);
	back = net_ports_unfold(folded);
	assert_true(json_equal(back, ports));
	json_decref(back);
	json_decref(folded);
	json_decref(ports);
	assert_null(net_ports_fold(NULL));
}

static int own_network(void **state)
{
	struct rtnl *r;
	struct err e;

	(void)state;
	/* Ports of the machine are none of our business. */
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	assert_int_equal(rtnl_open(&r, &e), 0);
	rtnl_link_up(r, "lo");
	assert_int_equal(rtnl_run(r, &e), 0);
	rtnl_close(r);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api), cmocka_unit_test(test_api_bad), cmocka_unit_test(test_conflicts), cmocka_unit_test(test_sctp), cmocka_unit_test(test_many),
		cmocka_unit_test(test_adopt), cmocka_unit_test(test_runs), cmocka_unit_test(test_fold),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
