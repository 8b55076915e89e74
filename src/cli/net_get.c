/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of the engine that go on: taken in pieces, or line by line. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/net.h"

static void get_head(struct http_call *call, int status, bool upgraded, void *user)
{
	struct net_get *g = user;

	(void)call, (void)upgraded;
	g->status = status;
}

static void get_data(struct http_call *call, const void *p, size_t n, void *user)
{
	struct net_get *g = user;

	(void)call;
	if (g->status >= 400)
		(void)buf_add(&g->refusal, p, n);
	else if (!g->failed && g->data(g, p, n) < 0)
		g->failed = true;
}

static void get_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct net_get *g = user;

	(void)call;
	g->call = NULL;
	if (g->status >= 400) {
		g->failed = true;
		cli_reply_error(g->status, g->refusal.data, g->refusal.len, &g->err);
	} else if (!ok) {
		g->failed = true;
		g->err = *e;
	}
}

static const struct http_call_ops get_ops = { .head = get_head, .data = get_data, .end = get_end };

int net_get(struct net_get *g, struct cli *c, const char *path, struct err *e)
{
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct http_call_args a = { .method = "GET", .target = target };

	if (cli_connect(c, e) < 0)
		return -1;
	g->call = http_call_start(c->http, &a, &get_ops, g);
	while (g->call && !g->failed && !(g->stop && g->stop(g)))
		(void)loop_turn(c->loop, -1);
	if (g->call)
		http_call_cancel(g->call);
	buf_done(&g->refusal);
	if (g->failed)
		*e = g->err;
	return g->failed ? -1 : 0;
}

/* ---- JSON, a line a document ---- */

struct lines {
	struct net_get get;
	struct buf line;
	void (*print)(const json_t *o);
	bool json;			/* as they are */
	int64_t left;			/* -1: any number */
};

static int lines_data(struct net_get *g, const void *p, size_t n)
{
	struct lines *l = (struct lines *)g;
	char *nl;

	(void)buf_add(&l->line, p, n);
	while (l->left && l->line.len && (nl = memchr(l->line.data, '\n', l->line.len))) {
		size_t len = (size_t)(nl - l->line.data);
		struct buf out CLEANUP(buf_done) = BUF_INIT;
		json_t *o CLEANUP(json_freep) = json_parse(l->line.data, len, "the engine's reply", &g->err);

		if (!o)
			return -1;
		if (l->json) {
			(void)buf_add(&out, l->line.data, len + 1);
			cli_out(&out);
		} else {
			l->print(o);
		}
		buf_consume(&l->line, len + 1);
		if (l->left > 0)
			l->left--;
	}
	return 0;
}

static bool lines_enough(const struct net_get *g)
{
	return ((const struct lines *)g)->left == 0;
}

int net_lines(struct cli *c, struct flags *f, const char *path, void (*print)(const json_t *o), struct err *e)
{
	struct lines l = { .get = { .data = lines_data, .stop = lines_enough }, .print = print, .json = str_eq(flag_str(f, "format"), "json"),
			   .left = flag_given(f, "count") ? flag_int(f, "count") : -1 };
	struct buf target CLEANUP(buf_done) = BUF_INIT;
	int r;

	(void)buf_adds(&target, path);
	if (f->argc)
		cli_query(&target, "container", f->args[0]);
	r = net_get(&l.get, c, target.data, e);
	buf_done(&l.line);
	return r;
}
