/* SPDX-License-Identifier: Apache-2.0 */
/* stats: a row for each container, told by a request of its own that stays open. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

#define REDRAW_NS 1000000000ll

struct stats;

struct stat_row {
	struct stats *all;
	char *ref;			/* as asked for, or the id */
	struct http_call *call;
	struct buf line;
	int status;
	bool told, listed;
	json_t *doc;			/* the last frame */
	struct err err;			/* why there will be no more */
	struct stat_row *next;
};

struct stats {
	struct cli *c;
	struct stat_row *first;
	bool once, due;
	struct loop_timer *timer;
};

static void row_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct stat_row *r = user;

	(void)call, (void)upgraded;
	r->status = status;
}

static void row_data(struct http_call *call, const void *data, size_t n, void *user)
{
	struct stat_row *r = user;
	char *nl;

	(void)call;
	buf_add(&r->line, data, n);
	while (r->status < 400 && r->line.len && (nl = memchr(r->line.data, '\n', r->line.len))) {
		size_t len = (size_t)(nl - r->line.data);
		json_t *doc = json_parse(r->line.data, len, "the engine's reply", NULL);

		if (doc) {
			json_decref(r->doc);
			r->doc = doc;
			r->told = true;
		}
		buf_consume(&r->line, len + 1);
	}
}

static void row_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct stat_row *r = user;

	(void)call;
	r->call = NULL;
	if (r->status >= 400)
		cli_reply_error(r->status, r->line.data, r->line.len, &r->err);
	else if (!ok)
		r->err = *e;
	r->told = true;
}

static const struct http_call_ops row_ops = { .head = row_head, .data = row_data, .end = row_end };

static struct stat_row *row_add(struct stats *s, const char *ref)
{
	struct stat_row *r = mem_zalloc(sizeof(*r)), **at = &s->first;
	char *path CLEANUP(mem_freep) = cli_path("/containers/", ref, s->once ? "/stats?stream=0" : "/stats?stream=1");
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct http_call_args a = { .method = "GET", .target = target };

	while (*at)
		at = &(*at)->next;
	*at = r;
	r->all = s;
	r->ref = mem_strdup(ref);
	r->listed = true;
	r->call = http_call_start(s->c->http, &a, &row_ops, r);
	return r;
}

static void row_free(struct stat_row *r)
{
	if (r->call)
		http_call_cancel(r->call);
	buf_done(&r->line);
	json_decref(r->doc);
	free(r->ref);
	free(r);
}

static double cpu_percent(const json_t *doc)
{
	const json_t *now = json_obj(doc, "cpu_stats"), *pre = json_obj(doc, "precpu_stats");
	double cpu = (double)(json_i64(json_obj(now, "cpu_usage"), "total_usage", 0) - json_i64(json_obj(pre, "cpu_usage"), "total_usage", 0));
	double system = (double)(json_i64(now, "system_cpu_usage", 0) - json_i64(pre, "system_cpu_usage", 0));
	double online = (double)json_i64(now, "online_cpus", 0);

	if (online == 0)
		online = (double)json_array_size(json_arr(json_obj(now, "cpu_usage"), "percpu_usage"));
	return system > 0 && cpu > 0 ? cpu / system * online * 100 : 0;
}

/* What the page cache holds and could give back is not counted. */
static double memory_used(const json_t *m)
{
	const json_t *st = json_obj(m, "stats");
	int64_t usage = json_i64(m, "usage", 0), cache = json_i64(st, "total_inactive_file", -1);

	if (cache >= 0 && cache < usage)
		return (double)(usage - cache);
	cache = json_i64(st, "inactive_file", 0);
	return (double)(cache < usage ? usage - cache : usage);
}

static void put(json_t *row, const char *key, struct buf *b)
{
	json_object_set_new(row, key, json_bytes(b->data ? b->data : "", b->len));
	buf_reset(b);
}

static void pair(struct buf *b, void (*render)(struct buf *, double), double x, double y)
{
	render(b, x);
	buf_adds(b, " / ");
	render(b, y);
}

static json_t *row_values(const struct stat_row *r, bool no_trunc)
{
	const json_t *m = json_obj(r->doc, "memory_stats"), *list = json_arr(json_obj(r->doc, "blkio_stats"), "io_service_bytes_recursive");
	const char *id = json_str(r->doc, "id", ""), *name = json_str(r->doc, "name", "");
	double used = memory_used(m), limit = (double)json_i64(m, "limit", 0), rx = 0, tx = 0, in = 0, out = 0;
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	json_t *row = json_object(), *v;
	const char *key;
	size_t i;

	json_object_foreach(json_obj(r->doc, "networks"), key, v) {
		rx += (double)json_i64(v, "rx_bytes", 0);
		tx += (double)json_i64(v, "tx_bytes", 0);
	}
	json_array_foreach(list, i, v) {
		switch (*json_str(v, "op", "") | 0x20) {
		case 'r': in += (double)json_i64(v, "value", 0); break;
		case 'w': out += (double)json_i64(v, "value", 0); break;
		}
	}
	json_object_set_new(row, "Container", json_string(r->ref));
	buf_printf(&b, "%.*s", no_trunc ? 64 : 12, id);
	put(row, "ID", &b);
	json_object_set_new(row, "Name", json_string(*name == '/' ? name + 1 : name));
	buf_printf(&b, "%.2f%%", cpu_percent(r->doc));
	put(row, "CPUPerc", &b);
	pair(&b, render_size_binary, used, limit);
	put(row, "MemUsage", &b);
	buf_printf(&b, "%.2f%%", limit > 0 ? used / limit * 100 : 0);
	put(row, "MemPerc", &b);
	pair(&b, render_size, rx, tx);
	put(row, "NetIO", &b);
	pair(&b, render_size, in, out);
	put(row, "BlockIO", &b);
	buf_printf(&b, "%lld", (long long)json_i64(json_obj(r->doc, "pids_stats"), "current", 0));
	put(row, "PIDs", &b);
	return row;
}

static const struct format_column columns[] = {
	{ "Container", "CONTAINER" }, { "ID", "CONTAINER ID" }, { "Name", "NAME" }, { "CPUPerc", "CPU %" }, { "MemUsage", "MEM USAGE / LIMIT" },
	{ "MemPerc", "MEM %" }, { "NetIO", "NET I/O" }, { "BlockIO", "BLOCK I/O" }, { "PIDs", "PIDS" }, { NULL, NULL },
};

static int draw(struct stats *s, struct flags *f, struct err *e)
{
	struct format fmt = { .columns = columns, .type = "*formatter.statsContext" };
	int r = format_open(&fmt, flag_str(f, "format"),
			    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}", e);

	if (r < 0)
		return -1;
	for (struct stat_row *row = s->first; row && r == 0; row = row->next) {
		if (row->doc)
			r = format_row(&fmt, row_values(row, flag_bool(f, "no-trunc")), e);
	}
	if (r == 0 && !s->once && isatty(STDOUT_FILENO))
		printf("\033[H\033[J");
	return format_close(&fmt, r == 0, e) < 0 ? -1 : r;
}

/* Without names: rows follow what is there. */
static int list_rows(struct stats *s, bool all, struct err *e)
{
	json_t *list CLEANUP(json_freep) = cli_get(s->c, all ? "/containers/json?all=1" : "/containers/json", e), *o;
	struct stat_row **at, *r;
	size_t i;

	if (!list)
		return -1;
	for (r = s->first; r; r = r->next)
		r->listed = false;
	json_array_foreach(list, i, o) {
		const char *id = json_str(o, "Id", "");

		for (r = s->first; r && !str_eq(r->ref, id); r = r->next)
			;
		if (r)
			r->listed = true;
		else
			row_add(s, id);
	}
	for (at = &s->first; (r = *at);) {
		if (r->listed) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		row_free(r);
	}
	return 0;
}

static void redraw_due(void *user)
{
	struct stats *s = user;

	s->due = true;
}

static bool all_told(const struct stats *s)
{
	for (const struct stat_row *r = s->first; r; r = r->next) {
		if (!r->told)
			return false;
	}
	return true;
}

static int run_once(struct stats *s, struct flags *f, struct err *e)
{
	while (!all_told(s))
		loop_turn(s->c->loop, -1);
	for (struct stat_row *r = s->first; r && f->argc; r = r->next) {
		if (r->err.kind != ERR_NONE) {
			*e = r->err;
			return -1;
		}
	}
	return draw(s, f, e);
}

static int run_stream(struct stats *s, struct flags *f, struct err *e)
{
	int r;

	s->timer = loop_timer_new(s->c->loop, redraw_due, s);
	for (;;) {
		bool any = false;

		r = draw(s, f, e);
		s->due = false;
		loop_timer_set(s->timer, REDRAW_NS);
		while (r == 0 && !s->due)
			loop_turn(s->c->loop, -1);
		if (r == 0 && !f->argc)
			r = list_rows(s, flag_bool(f, "all"), e);
		for (struct stat_row *row = s->first; row; row = row->next)
			any = any || row->call;
		if (r < 0 || (f->argc && !any))
			break;
	}
	loop_timer_free(s->timer);
	return r;
}

static int cmd_stats(struct cli *c, struct flags *f)
{
	struct stats s = { .c = c, .once = flag_bool(f, "no-stream") };
	struct err e = { 0 };
	int r = 0;

	if (cli_connect(c, &e) < 0)
		return cli_fail(&e);
	for (int i = 0; i < f->argc; i++)
		row_add(&s, f->args[i]);
	if (!f->argc)
		r = list_rows(&s, flag_bool(f, "all"), &e);
	if (r == 0)
		r = s.once ? run_once(&s, f, &e) : run_stream(&s, f, &e);
	for (struct stat_row *row = s.first, *next; row; row = next) {
		next = row->next;
		if (row->err.kind != ERR_NONE && r == 0 && f->argc) {
			e = row->err;
			r = -1;
		}
		row_free(row);
	}
	return r < 0 ? cli_fail(&e) : 0;
}

static const struct flag_def stats_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Show all containers (default shows just running)" }, FLAG_FORMAT,
	{ "no-stream", 0, FLAG_BOOL, "Disable streaming stats and only pull the first result" }, { "no-trunc", 0, FLAG_BOOL, "Do not truncate output" }, { 0 },
};

const struct command commands_stats[] = {
	{ "container stats,stats", "[OPTIONS] [CONTAINER...]", "Display a live stream of container(s) resource usage statistics", stats_flags, 0, -1, false, cmd_stats },
	{ 0 },
};
