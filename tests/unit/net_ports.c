/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
	assert_int_equal(n, 3);
	assert_true(p[2].port == 7002 && p[2].host_port == 8002 && p[2].host_port_end == 8002);
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
		{ "{}", "{\"80/sctp\":[]}", "SCTP" },
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

static int one(struct port_table *t, const char *owner, struct net_port p, struct port_bound **ret, struct err *e)
{
	struct in6_addr c = addr_of4(0xac110002);

	return port_reserve(t, owner, &p, 1, &c, ret, e);
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
	assert_int_equal(one(t, "a", port(IPPROTO_TCP, "", 8080, 8080), &a, &e), 0);
	assert_true(a->fd >= 0 && a->v4);
	/* Another container, on any overlapping address. */
	assert_int_equal(one(t, "b", port(IPPROTO_TCP, "", 8080, 8080), &b, &e), -1);
	assert_string_equal(e.msg, "Bind for 0.0.0.0:8080 failed: port is already allocated");
	assert_int_equal(one(t, "b", port(IPPROTO_TCP, "127.0.0.1", 8080, 8080), &b, &e), -1);
	assert_string_equal(e.msg, "Bind for 127.0.0.1:8080 failed: port is already allocated");
	/* Another protocol is another port. */
	assert_int_equal(one(t, "b", port(IPPROTO_UDP, "", 8080, 8080), &b, &e), 0);
	give(t, b);
	give(t, a);
	assert_int_equal(port_table_len(t), 0);
	/* Two addresses, one port. */
	assert_int_equal(one(t, "a", port(IPPROTO_TCP, "127.0.0.1", 8080, 8080), &a, &e), 0);
	assert_int_equal(one(t, "b", port(IPPROTO_TCP, "127.0.0.2", 8080, 8080), &b, &e), 0);
	assert_int_equal(one(t, "c", port(IPPROTO_TCP, "0.0.0.0", 8080, 8080), &c, &e), -1);
	assert_int_equal(one(t, "c", port(IPPROTO_TCP, "::", 8080, 8080), &c, &e), 0);
	assert_true(c->v6 && !c->v4);
	give(t, a);
	give(t, b);
	give(t, c);
	/* A process of the host. */
	fd = listener(9090, "0.0.0.0");
	assert_int_equal(one(t, "a", port(IPPROTO_TCP, "", 9090, 9090), &a, &e), -1);
	assert_string_equal(e.msg, "failed to bind host port for 0.0.0.0:9090:172.17.0.2:80/tcp: address already in use");
	assert_int_equal(port_table_len(t), 0);
	/* A range goes past it. */
	assert_int_equal(one(t, "a", port(IPPROTO_TCP, "", 9090, 9091), &a, &e), 0);
	assert_int_equal(a->host_port, 9091);
	assert_int_equal(one(t, "b", port(IPPROTO_TCP, "", 9090, 9091), &b, &e), -1);
	assert_non_null(strstr(e.msg, "9090-9091"));
	give(t, a);
	close(fd);
	/* An address nobody has. */
	assert_int_equal(one(t, "a", port(IPPROTO_TCP, "192.0.2.77", 80, 80), &a, &e), -1);
	assert_non_null(strstr(e.msg, "192.0.2.77:80"));
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

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		p[i] = port(IPPROTO_TCP, "127.0.0.1", (uint16_t)(i == COUNT - 1 ? 20000 : 20000 + i), 0);
	/* The last is the first again: nothing of it stays. */
	assert_int_equal(port_reserve(t, "a", p, COUNT, &c, &b, &e), -1);
	assert_int_equal(port_table_len(t), 0);
	assert_int_equal(port_reserve(t, "a", p, COUNT - 1, &c, &b, &e), 0);
	assert_int_equal(port_table_len(t), COUNT - 1);
	port_release(t, b, COUNT - 1);
	free(b);
	/* Ephemeral ones differ. */
	for (unsigned i = 0; i < COUNT; i++)
		p[i] = port(IPPROTO_UDP, "", 0, 0);
	assert_int_equal(port_reserve(t, "a", p, COUNT, &c, &b, &e), 0);
	assert_int_equal(port_reserve(t, "b", p, COUNT, &c, &b2, &e), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(b[i].host_port && b2[i].host_port);
	assert_int_equal(port_table_len(t), 2 * COUNT);
	port_release(t, b, COUNT);
	port_release(t, b2, COUNT);
	free(b);
	free(b2);
	port_table_free(t);
}

static void test_adopt(void **state)
{
	struct port_table *t = port_table_new();
	struct net_port p = port(IPPROTO_TCP, "", 9191, 9191);
	struct port_bound b, b2;
	struct err e;
	int fd = listener(9191, "127.0.0.1");

	(void)state;
	/* Taken by a process while we were away: still ours in the table, without a socket. */
	port_runs(t, &p, 1, &b);
	port_runs(t, &p, 1, &b2);
	assert_true(port_adopt(t, "a", &p, &b, &e) > 0);
	assert_int_equal(b.fd, -1);
	assert_int_equal(port_adopt(t, "b", &p, &b2, &e), -1);
	port_release(t, &b, 1);
	close(fd);
	assert_int_equal(port_adopt(t, "a", &p, &b, &e), 0);
	assert_true(b.fd >= 0);
	port_release(t, &b, 1);
	assert_int_equal(port_table_len(t), 0);
	port_table_free(t);
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
		cmocka_unit_test(test_api), cmocka_unit_test(test_api_bad), cmocka_unit_test(test_conflicts), cmocka_unit_test(test_many),
		cmocka_unit_test(test_adopt),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
