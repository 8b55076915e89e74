/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "net/rtnl.h"

/* The whole module in a mount and network namespace of its own, on the proxy data path: what the kernel holds is looked at with rtnetlink. */
static char dir[] = "/tmp/kedge-net.XXXXXX";
static struct loop *l;
static struct work_pool *pool;
static struct store *store;
static struct net *n;
static struct rtnl *r;

static void up(void)
{
	struct net_config cfg = { .exec_root = dir, .instance = "t1", .bridge = "kt0", .datapath = "proxy" };
	struct err e = { 0 };

	l = loop_new(&e);
	pool = work_pool_new(l, 4);
	store = store_open(l, dir, &e);
	assert_non_null(store);
	n = net_new(l, pool, store, &cfg, &e);
	if (!n)
		fail_msg("%s", e.msg);
}

static void down(void)
{
	work_pool_free(pool);
	net_free(n);
	store_close(store);
	loop_free(l);
}

struct result {
	int done;
	json_t *record;
	struct err err;
};

static void on_open(void *user, json_t *record, const struct err *e)
{
	struct result *x = user;

	x->done++;
	x->record = json_incref(record);
	if (e)
		x->err = *e;
}

static void on_close(void *user)
{
	((struct result *)user)->done++;
}

static struct result open_start_wait(const struct net_sandbox_spec *s)
{
	struct result x = { 0 };

	net_sandbox_open(n, s, on_open, &x);
	assert_int_equal(x.done, 0);
	while (!x.done)
		(void)loop_turn(l, -1);
	assert_int_equal(x.done, 1);
	return x;
}

static void close_wait(const char *id, const json_t *record)
{
	struct result x = { 0 };

	net_sandbox_close(n, id, record, on_close, &x);
	assert_int_equal(x.done, 0);
	while (!x.done)
		(void)loop_turn(l, -1);
}

/* One endpoint on a network; good until the next call. */
static struct net_endpoint_spec *on(const char *network)
{
	static struct net_endpoint_spec ep;

	ep = (struct net_endpoint_spec){ .network = network };
	return &ep;
}

static json_t *ep_of(const json_t *record)
{
	return json_array_get(json_object_get(record, "Endpoints"), 0);
}

static struct net_port port(uint8_t proto, uint16_t c, uint16_t h)
{
	return (struct net_port){ .proto = proto, .port = c, .host_port = h, .host_port_end = h };
}

static char *id_of(int i)
{
	static char ids[256][65];

	(void)snprintf(ids[i], sizeof(ids[i]), "%02x%062d", 0xa0 + i % 16, i);
	return ids[i];
}

static void count_ours(void *user, const struct rtnl_link *k)
{
	if (strncmp(k->name, "kv", 2) == 0)
		++*(int *)user;
}

static int veths(void)
{
	int c = 0;

	assert_int_equal(rtnl_link_each(r, count_ours, &c, NULL), 0);
	return c;
}

/* Veths of closed sandboxes go a moment later. */
static void wait_veths(int want)
{
	for (int i = 0; i < 2000 && veths() != want; i++)
		(void)loop_turn(l, 10);
	assert_int_equal(veths(), want);
}

static int link_there(const char *name)
{
	struct rtnl_link k;

	return rtnl_link_get(r, name, &k, NULL);
}

/* A server inside the container: a child in its namespace that answers each connection with `word` and its peer's half-close with the end. */
static pid_t serve(const char *netns, uint16_t p, const char *word)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(p) };
		int ns = open(netns, O_RDONLY), s;

		if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
			_exit(1);
		s = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(s, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(s, 10) < 0)
			_exit(2);
		(void)!write(ready[1], "x", 1);
		for (;;) {
			int k = accept(s, NULL, NULL);
			char b[64];

			while (recv(k, b, sizeof(b), 0) > 0)
				;
			(void)!send(k, word, strlen(word), MSG_NOSIGNAL);
			close(k);
		}
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void fetch(const char *ip, uint16_t p, const char *want)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(p) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	char b[64];
	ssize_t k;

	(void)inet_pton(AF_INET, ip, &sa.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	shutdown(fd, SHUT_WR);
	assert_int_equal(poll(&pf, 1, 10000), 1);
	k = recv(fd, b, sizeof(b), MSG_WAITALL);
	assert_int_equal(k, strlen(want));
	assert_memory_equal(b, want, k);
	close(fd);
}

static void test_networks(void **state)
{
	json_t *a, *o, *first;
	struct err e;

	(void)state;
	up();
	a = net_list(n);
	assert_int_equal(json_array_size(a), 3);
	json_decref(a);
	o = net_inspect(n, "bridge", &e);
	assert_string_equal(json_str(o, "Driver", ""), "bridge");
	assert_string_equal(json_str(json_array_get(json_path(o, "IPAM.Config"), 0), "Subnet", ""), "172.17.0.0/16");
	assert_null(json_object_get(o, "Kedge"));
	first = o;
	assert_null(net_inspect(n, "nothing", &e));
	assert_string_equal(e.msg, "network nothing not found");
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_int_equal(link_there("kt0"), 1);
	down();
	/* The same again after a restart. */
	up();
	o = net_inspect(n, json_str(first, "Id", ""), &e);
	assert_non_null(o);
	assert_true(json_equal(o, first));
	json_decref(o);
	json_decref(first);
	down();
}

static void test_open_close(void **state)
{
	struct net_port p[] = { port(IPPROTO_TCP, 80, 8080), port(IPPROTO_UDP, 53, 0) };
	struct net_sandbox_spec s = { .id = id_of(1), .name = "web", .endpoints = on("bridge"), .n_endpoints = 1, .ports = p, .n_ports = 2 };
	struct result x, y;
	const char *ip;
	json_t *all, *ports, *st;
	pid_t server;

	(void)state;
	up();
	x = open_start_wait(&s);
	if (!x.record)
		fail_msg("%s", x.err.msg);
	ip = json_str(ep_of(x.record), "IPAddress", "");
	assert_string_equal(ip, "172.17.0.2");
	assert_string_equal(json_str(ep_of(x.record), "Gateway", ""), "172.17.0.1");
	assert_string_equal(json_str(ep_of(x.record), "MacAddress", ""), "02:42:ac:11:00:02");
	assert_int_equal(json_i64(ep_of(x.record), "IPPrefixLen", 0), 16);
	all = net_record_ports(x.record);
	ports = json_object_get(all, "80/tcp");
	assert_string_equal(json_str(json_array_get(ports, 0), "HostIp", ""), "0.0.0.0");
	assert_string_equal(json_str(json_array_get(ports, 0), "HostPort", ""), "8080");
	json_decref(all);
	assert_int_equal(link_there(json_str(ep_of(x.record), "HostVeth", "")), 1);
	server = serve(json_str(x.record, "NetNS", ""), 80, "from the container");
	fetch(ip, 80, "from the container");
	fetch("127.0.0.1", 8080, "from the container");
	fetch("172.17.0.1", 8080, "from the container");
	st = net_sandbox_stats(n, s.id);
	assert_true(json_i64(json_object_get(st, "eth0"), "rx_packets", 0) > 0);
	json_decref(st);
	/* A second container on the port. */
	s.id = id_of(2);
	s.name = "other";
	y = open_start_wait(&s);
	assert_null(y.record);
	assert_non_null(strstr(y.err.msg, "driver failed programming external connectivity on endpoint other ("));
	assert_non_null(strstr(y.err.msg, "): Bind for 0.0.0.0:8080 failed: port is already allocated"));
	assert_int_equal(veths(), 1);
	end(server);
	close_wait(id_of(1), x.record);
	wait_veths(0);
	assert_true(access(json_str(x.record, "NetNS", ""), F_OK) < 0);
	/* The port is free again, the address rests. */
	y = open_start_wait(&s);
	assert_non_null(y.record);
	assert_string_not_equal(json_str(ep_of(y.record), "IPAddress", ""), ip);
	close_wait(s.id, y.record);
	close_wait(s.id, y.record);
	json_decref(x.record);
	json_decref(y.record);
	down();
}

static void test_refused(void **state)
{
	struct net_port p = port(IPPROTO_TCP, 80, 9090);
	struct net_endpoint_spec ep = { .network = "no-such" };
	struct net_sandbox_spec s = { .id = id_of(3), .name = "c3", .endpoints = &ep, .n_endpoints = 1 };
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(9090) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct result x;

	(void)state;
	up();
	x = open_start_wait(&s);
	assert_string_equal(x.err.msg, "network no-such not found");
	ep.network = "bridge";
	ep.ip = "10.1.1.1";
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "10.1.1.1"));
	ep.ip = "x";
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "'x'"));
	ep.ip = NULL;
	ep.mac = "ff:ff:ff:ff:ff:ff";
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "ff:ff"));
	ep.mac = NULL;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	s.ports = &p;
	s.n_ports = 1;
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "failed to bind host port for 0.0.0.0:9090:172.17."));
	assert_non_null(strstr(x.err.msg, "address already in use"));
	close(fd);
	/* A step in the middle fails: nothing is left, and the next one works. */
	fault_arm("net.veth", 1, EIO);
	x = open_start_wait(&s);
	fault_armed = 0;
	assert_null(x.record);
	assert_int_equal(veths(), 0);
	x = open_start_wait(&s);
	if (!x.record)
		fail_msg("%s", x.err.msg);
	close_wait(s.id, x.record);
	json_decref(x.record);
	/* Without a network, and with the host's. */
	ep.network = "none";
	x = open_start_wait(&s);
	assert_non_null(x.record);
	assert_string_equal(json_str(ep_of(x.record), "IPAddress", "-"), "");
	assert_int_equal(access(json_str(x.record, "NetNS", ""), F_OK), 0);
	close_wait(s.id, x.record);
	json_decref(x.record);
	ep.network = "host";
	x = open_start_wait(&s);
	assert_string_equal(json_str(x.record, "NetNS", "-"), "");
	close_wait(s.id, x.record);
	json_decref(x.record);
	down();
}

/* A fixed address across a restart, which is wanted again before the old interface is gone. */
static void test_restart(void **state)
{
	struct net_port p = port(IPPROTO_TCP, 80, 8282);
	struct net_endpoint_spec ep = { .network = "bridge", .ip = "172.17.9.9" };
	struct net_sandbox_spec s = { .id = id_of(5), .name = "fixed", .endpoints = &ep, .n_endpoints = 1, .ports = &p, .n_ports = 1 };
	struct result x;

	(void)state;
	up();
	for (int i = 0; i < 5; i++) {
		x = open_start_wait(&s);
		if (!x.record)
			fail_msg("%s", x.err.msg);
		assert_string_equal(json_str(ep_of(x.record), "IPAddress", ""), "172.17.9.9");
		close_wait(s.id, x.record);
		json_decref(x.record);
	}
	/* The end comes while one waits: nobody is told, nothing is lost. */
	x = (struct result){ 0 };
	net_sandbox_open(n, &s, on_open, &x);
	assert_int_equal(x.done, 0);
	down();
	up();
	net_gc(n);
	wait_veths(0);
	json_decref(x.record);
	down();
}

/* Many at once; afterwards nothing is left of them. */
static void test_parallel(void **state)
{
	enum { COUNT = 24 };
	struct result x[COUNT] = { 0 };
	struct net_port p[COUNT];

	(void)state;
	up();
	for (int i = 0; i < COUNT; i++) {
		struct net_sandbox_spec s = { .id = id_of(10 + i), .name = "c", .endpoints = on("bridge"), .n_endpoints = 1, .ports = &p[i], .n_ports = 1 };

		p[i] = port(IPPROTO_TCP, 80, (uint16_t)(7000 + i / 2));
		net_sandbox_open(n, &s, on_open, &x[i]);
	}
	for (int i = 0; i < COUNT; i++)
		while (!x[i].done)
			(void)loop_turn(l, -1);
	/* Two wanted each port: one of them got it. */
	for (int i = 0; i < COUNT; i += 2)
		assert_true(!x[i].record != !x[i + 1].record);
	assert_int_equal(veths(), COUNT / 2);
	for (int i = 0; i < COUNT; i++) {
		x[i].done = 0;
		if (x[i].record)
			net_sandbox_close(n, id_of(10 + i), x[i].record, on_close, &x[i]);
	}
	for (int i = 0; i < COUNT; i++) {
		while (x[i].record && !x[i].done)
			(void)loop_turn(l, -1);
		json_decref(x[i].record);
	}
	wait_veths(0);
	down();
}

/* An engine that is killed: its next run takes over one container and clears away the other. */
static void test_adopt(void **state)
{
	char record_path[64], path[128];
	struct net_port p = port(IPPROTO_TCP, 80, 8181);
	struct net_sandbox_spec s = { .id = id_of(40), .name = "kept", .endpoints = on("bridge"), .n_endpoints = 1, .ports = &p, .n_ports = 1 };
	struct result x;
	struct err e = { 0 };
	json_t *record, *info;
	pid_t engine, server;
	int status;

	(void)state;
	(void)snprintf(record_path, sizeof(record_path), "%s/record", dir);
	engine = fork();
	if (engine == 0) {
		up();
		x = open_start_wait(&s);
		if (!x.record || json_dump_file(x.record, record_path, 0) < 0)
			_exit(1);
		s.id = id_of(41);
		s.n_ports = 0;
		x = open_start_wait(&s);
		if (!x.record)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(engine, &status, 0), engine);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(veths(), 2);
	record = json_load_file(record_path, 0, NULL);
	assert_non_null(record);
	server = serve(json_str(record, "NetNS", ""), 80, "still there");
	up();
	if (net_sandbox_adopt(n, id_of(40), record, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(net_sandbox_adopt(n, id_of(40), record, &e), -1);
	net_gc(n);
	assert_int_equal(veths(), 1);
	(void)snprintf(path, sizeof(path), "%s/netns/%s", dir, id_of(41));
	assert_true(access(path, F_OK) < 0);
	assert_int_equal(link_there("kt0"), 1);
	fetch("127.0.0.1", 8181, "still there");
	info = net_info(n);
	assert_int_equal(json_i64(info, "Ports", 0), 1);
	assert_int_equal(json_i64(json_object_get(info, "Proxy"), "ConnectionsTotal", 0), 1);
	json_decref(info);
	/* Its port and its address are taken. */
	s = (struct net_sandbox_spec){ .id = id_of(42), .name = "new", .endpoints = on("bridge"), .n_endpoints = 1, .ports = &p, .n_ports = 1 };
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "port is already allocated"));
	s.n_ports = 0;
	((struct net_endpoint_spec *)s.endpoints)->ip = json_str(ep_of(record), "IPAddress", NULL);
	x = open_start_wait(&s);
	assert_non_null(strstr(x.err.msg, "Address already in use"));
	end(server);
	close_wait(id_of(40), record);
	wait_veths(0);
	/* What is gone cannot be taken over. */
	assert_int_equal(net_sandbox_adopt(n, id_of(40), record, &e), -1);
	assert_non_null(strstr(e.msg, "is gone"));
	json_decref(record);
	down();
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	log_init(2, LOG_LEVEL_ERROR);
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		(void)fprintf(stderr, "SKIP: needs root with CAP_SYS_ADMIN\n");
		exit(77);
	}
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(rtnl_open(&r, &e), 0);
	rtnl_link_up(r, "lo");
	return rtnl_run(r, &e);
}

static int teardown(void **state)
{
	(void)state;
	rtnl_close(r);
	return file_rm_rf_at(AT_FDCWD, dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks), cmocka_unit_test(test_open_close), cmocka_unit_test(test_refused), cmocka_unit_test(test_restart), cmocka_unit_test(test_parallel),
		cmocka_unit_test(test_adopt),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
