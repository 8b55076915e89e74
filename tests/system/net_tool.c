/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/lb.h"
#include "net/net.h"

/*
 * src/net without an engine, for tests/system/net_*.sh: commands on standard input, an answer line for each ("ok ..." or "error ...") on
 * standard output, in order. Records are kept as DIR/<id>.record, as the engine would keep them in the store.
 *
 *   open ID NAME NETWORK [PROTO:HOSTIP:HOSTPORT[-END|+COUNT]:PORT ...]     adopt ID     close ID     gc     info     stats ID     quit
 *   lb PROTO[-affinity] ADDRESS PORT [ADDRESS PORT WEIGHT ...]     no backends: the end of it
 */
static struct {
	struct loop *l;
	struct net *n;
	const char *dir;
	struct buf in;
	bool busy, eof;
} t;

static void next(void *user);

static void answer(const char *word, const char *text)
{
	(void)printf("%s %s\n", word, text);
	(void)fflush(stdout);
	t.busy = false;
	loop_defer(t.l, next, NULL);
}

static char *record_path(const char *id)
{
	return mem_printf("%s/%s.record", t.dir, id);
}

struct op {
	char id[65];
};

static void on_open(void *user, json_t *record, const struct err *e)
{
	CLEANUP(mem_freep) struct op *o = user;
	CLEANUP(mem_freep) char *path = record_path(o->id), *text = NULL;

	if (e) {
		answer("error", e->msg);
		return;
	}
	text = json_text(record);
	(void)file_replace_at(-1, path, text, strlen(text), 0600);
	answer("ok", text);
}

static void on_close(void *user)
{
	CLEANUP(mem_freep) struct op *o = user;
	CLEANUP(mem_freep) char *path = record_path(o->id);

	(void)unlink(path);
	answer("ok", o->id);
}

/* How many ports from *p on; negative: not understood. "-": one of them is to be picked. */
static int port_parse(const char *s, struct net_port *p)
{
	bool more;

	char proto[8], ip[46] = "", range[16];
	unsigned port;
	uint64_t a, b;
	char *dash;

	memset(p, 0, sizeof(*p));
	if (sscanf(s, "%7[^:]:%45[^:]:%15[^:]:%u", proto, ip, range, &port) != 4)
		return -1;
	p->proto = str_eq(proto, "udp") ? IPPROTO_UDP : IPPROTO_TCP;
	(void)snprintf(p->host_ip, sizeof(p->host_ip), "%s", str_eq(ip, "*") ? "" : str_eq(ip, "six") ? "::" : ip);
	dash = strpbrk(range, "-+");
	more = dash && *dash == '+';
	if (dash)
		*dash = '\0';
	if (str_to_u64(range, 0, 65535, &a) < 0 || str_to_u64(dash ? dash + 1 : range, 0, 65535, &b) < 0)
		return -1;
	p->host_port = (uint16_t)a;
	p->host_port_end = (uint16_t)(more ? a : b);
	p->port = (uint16_t)port;
	return more ? (int)b : 1;
}

static void do_open(char **w, size_t len, struct op *o)
{
	struct net_port *p = mem_zalloc(65536 * sizeof(*p)), one;
	struct net_endpoint_spec ep = { .network = w[3] };
	struct net_sandbox_spec s = { .id = o->id, .name = w[2], .endpoints = &ep, .n_endpoints = 1, .ports = p };

	for (size_t i = 4; i < len; i++) {
		int n;

		/* policy=guarded, sources=192.0.2.0/24 */
		if (str_starts(w[i], "policy=") || str_starts(w[i], "sources=")) {
			*(w[i][0] == 'p' ? &s.publish_policy : &s.publish_sources) = strchr(w[i], '=') + 1;
			continue;
		}
		n = port_parse(w[i], &one);
		if (n < 0 || s.n_ports + (size_t)n > 65536) {
			free(p);
			free(o);
			answer("error", w[i]);
			return;
		}
		for (; n; n--, one.host_port++, one.host_port_end++, one.port++)
			p[s.n_ports++] = one;
	}
	net_sandbox_open(t.n, &s, on_open, o);
	free(p);
}

static bool do_lb(char **w, size_t len, struct err *e)
{
	struct net_lb lb = { .proto = str_starts(w[1], "udp") ? IPPROTO_UDP : IPPROTO_TCP, .port = (uint16_t)atoi(w[3]), .affinity = strstr(w[1], "-affinity") };
	struct net_lb_backend b[16];
	size_t n = 0;

	if (addr_parse(w[2], &lb.addr) < 0)
		return err_set(e, ERR_INVALID, "%s", w[2]) == 0;
	for (size_t i = 4; i + 2 < len && n < N(b); i += 3, n++) {
		b[n] = (struct net_lb_backend){ .port = (uint16_t)atoi(w[i + 1]), .weight = (uint32_t)atoi(w[i + 2]) };
		if (addr_parse(w[i], &b[n].addr) < 0)
			return err_set(e, ERR_INVALID, "%s", w[i]) == 0;
	}
	return (n ? net_lb_set(t.n, &lb, b, n, e) : net_lb_del(t.n, &lb)) == 0;
}

static void command(char **w)
{
	size_t len = strv_len(w);
	struct op *o = mem_zalloc(sizeof(*o));
	CLEANUP(mem_freep) char *path = NULL, *text = NULL;
	CLEANUP(json_freep) json_t *j = NULL;
	struct err e = { 0 };

	t.busy = true;
	if (len > 1)
		(void)snprintf(o->id, sizeof(o->id), "%s", w[1]);
	path = record_path(o->id);
	if (str_eq(w[0], "open") && len >= 4) {
		do_open(w, len, o);
		return;
	}
	if (str_eq(w[0], "close") && len == 2) {
		j = json_parse_file_at(-1, path, 1 << 24, &e);
		net_sandbox_close(t.n, o->id, j, on_close, o);
		return;
	}
	free(o);
	if (str_eq(w[0], "adopt") && len == 2) {
		j = json_parse_file_at(-1, path, 1 << 24, &e);
		if (!j || net_sandbox_adopt(t.n, w[1], j, &e) < 0)
			answer("error", e.msg);
		else
			answer("ok", w[1]);
	} else if (str_eq(w[0], "lb") && len >= 4) {
		if (do_lb(w, len, &e))
			answer("ok", "");
		else
			answer("error", e.msg);
	} else if (str_eq(w[0], "gc")) {
		net_gc(t.n);
		answer("ok", "");
	} else if (str_eq(w[0], "info") || str_eq(w[0], "stats")) {
		j = str_eq(w[0], "info") ? net_info(t.n) : net_sandbox_stats(t.n, w[1]);
		text = j ? json_text(j) : mem_strdup("null");
		answer("ok", text);
	} else if (str_eq(w[0], "quit")) {
		t.eof = true;
		answer("ok", "");
	} else {
		answer("error", "unknown command");
	}
}

static void next(void *user)
{
	char *nl;

	(void)user;
	if (t.busy)
		return;
	nl = t.in.len ? memchr(t.in.data, '\n', t.in.len) : NULL;
	if (nl) {
		char **w;

		*nl = '\0';
		w = str_split(t.in.data, ' ');
		buf_consume(&t.in, (size_t)(nl - t.in.data) + 1);
		command(w);
		strv_free(w);
	} else if (t.eof) {
		loop_stop(t.l);
	}
}

static void on_stdin(void *user, unsigned events)
{
	char b[4096];
	ssize_t r = read(0, b, sizeof(b));

	(void)events;
	if (r <= 0) {
		t.eof = true;
		loop_io_set(*(struct loop_io **)user, 0);
	} else {
		(void)buf_add(&t.in, b, (size_t)r);
	}
	next(NULL);
}

int main(int argc, char **argv)
{
	struct net_config cfg = { .bridge = "kedge0", .ip_forward = true };
	struct work_pool *pool;
	struct store *st;
	struct err e = { 0 };
	struct rlimit rl;
	struct loop_io *io;

	if (argc != 4) {
		(void)fprintf(stderr, "usage: net_tool DIR INSTANCE DATAPATH\n");
		return 2;
	}
	log_init(2, LOG_LEVEL_INFO);
	fault_init();
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	t.dir = cfg.exec_root = argv[1];
	cfg.instance = argv[2];
	cfg.datapath = argv[3];
	t.l = loop_new(&e);
	pool = work_pool_new(t.l, 4);
	st = store_open(t.l, t.dir, &e);
	t.n = st ? net_new(t.l, pool, st, &cfg, &e) : NULL;
	if (!t.n) {
		(void)printf("error %s\n", e.msg);
		return 1;
	}
	(void)printf("ready %s\n", net_datapath_name(t.n));
	(void)fflush(stdout);
	io = loop_io_new(t.l, 0, LOOP_READ, on_stdin, &io);
	(void)loop_run(t.l);
	loop_io_free(io);
	work_pool_free(pool);
	net_free(t.n);
	store_close(st);
	loop_free(t.l);
	buf_done(&t.in);
	return 0;
}
