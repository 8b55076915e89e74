/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/render.h"

enum { CELL_MIN = 10, CELL_MIN_WIDE = 20, CELL_PAD = 3, COLUMNS_MAX = 64 };

struct cell {
	const char *text;
	size_t len, width;
};

struct line {
	struct cell *cells;
	size_t n;
};

struct table {
	struct line *lines;
	size_t n;
	size_t widths[COLUMNS_MAX], columns, cell_min;
	struct buf *out;
};

static void table_emit(struct table *t, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		struct line *l = &t->lines[i];

		for (size_t k = 0; k < l->n; k++) {
			buf_add(t->out, l->cells[k].text, l->cells[k].len);
			for (size_t w = l->cells[k].width; k < t->columns && w < t->widths[k]; w++)
				buf_addc(t->out, ' ');
		}
		if (i + 1 < t->n)
			buf_addc(t->out, '\n');
	}
}

/* Lays out [from, to), whose columns left of t->columns have their widths already. */
static void table_format(struct table *t, size_t from, size_t to)
{
	size_t col = t->columns;

	for (size_t i = from; i < to; i++) {
		size_t end = i, width = t->cell_min;

		if (col >= COLUMNS_MAX || col + 1 >= t->lines[i].n)
			continue;
		table_emit(t, from, i);
		for (; end < to && col + 1 < t->lines[end].n; end++) {
			size_t w = t->lines[end].cells[col].width + CELL_PAD;

			if (w > width)
				width = w;
		}
		t->widths[t->columns++] = width;
		table_format(t, i, end);
		t->columns--;
		from = end;
		i = end - 1;
	}
	table_emit(t, from, to);
}

static void table(struct buf *out, const char *text, size_t n, size_t cell_min)
{
	struct table t = { .out = out, .n = 1, .cell_min = cell_min };
	size_t cells = 1, used = 0;
	struct cell *all;
	const char *p = text, *end = text + n;

	for (size_t i = 0; i < n; i++) {
		t.n += text[i] == '\n';
		cells += text[i] == '\n' || text[i] == '\t';
	}
	all = mem_zalloc(cells * sizeof(*all));
	t.lines = mem_zalloc(t.n * sizeof(*t.lines));
	for (size_t i = 0; i < t.n; i++) {
		t.lines[i].cells = all + used;
		for (;;) {
			const char *q = p;

			while (q < end && *q != '\t' && *q != '\n')
				q++;
			all[used++] = (struct cell){ p, (size_t)(q - p), render_width(p, (size_t)(q - p)) };
			t.lines[i].n++;
			p = q < end ? q + 1 : q;
			if (q == end || *q == '\n')
				break;
		}
	}
	table_format(&t, 0, t.n);
	free(t.lines);
	free(all);
}

void render_table(struct buf *out, const char *text, size_t n)
{
	table(out, text, n, CELL_MIN);
}

void render_table_wide(struct buf *out, const char *text, size_t n)
{
	table(out, text, n, CELL_MIN_WIDE);
}

/* A container's ports */

struct port {
	const char *ip, *proto;
	int64_t inner, outer;
};

struct port_group {
	const char *ip, *proto;
	int64_t first, last;
};

static int port_order(const void *va, const void *vb)
{
	const struct port *a = va, *b = vb;
	int c;

	if (a->inner != b->inner)
		return a->inner < b->inner ? -1 : 1;
	if ((c = strcmp(a->ip, b->ip)))
		return c;
	if (a->outer != b->outer)
		return a->outer < b->outer ? -1 : 1;
	return strcmp(a->proto, b->proto);
}

static void port_host(struct buf *out, const char *ip)
{
	buf_printf(out, strchr(ip, ':') ? "[%s]:" : "%s:", ip);
}

static void port_group_add(struct buf *out, const struct port_group *g)
{
	char range[48];

	snprintf(range, sizeof(range), g->first == g->last ? "%lld" : "%lld-%lld", (long long)g->first, (long long)g->last);
	if (out->len)
		buf_adds(out, ", ");
	if (*g->ip) {
		port_host(out, g->ip);
		buf_printf(out, "%s->", range);
	}
	buf_printf(out, "%s/%s", range, g->proto);
}

/*
 * Neighbouring ports that keep their number on the host make one range per address and protocol; the others follow one
 * by one.
 */
void render_ports(struct buf *out, const json_t *ports)
{
	size_t n = json_array_size(ports), groups = 0;
	struct port *v = mem_zalloc((n + 1) * sizeof(*v));
	struct port_group *g = mem_zalloc((n + 1) * sizeof(*g));
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(ports, i);

		v[i] = (struct port){ json_str(o, "IP", ""), json_str(o, "Type", ""), json_i64(o, "PrivatePort", 0), json_i64(o, "PublicPort", 0) };
	}
	qsort(v, n, sizeof(*v), port_order);
	for (size_t i = 0; i < n; i++) {
		size_t k;

		if (*v[i].ip && v[i].outer != v[i].inner)
			continue;
		for (k = 0; k < groups; k++) {
			if (str_eq(g[k].ip, v[i].ip) && str_eq(g[k].proto, v[i].proto))
				break;
		}
		if (k < groups && v[i].inner != g[k].last + 1)
			port_group_add(&text, &g[k]);
		else if (k < groups) {
			g[k].last = v[i].inner;
			continue;
		}
		g[k] = (struct port_group){ v[i].ip, v[i].proto, v[i].inner, v[i].inner };
		groups += k == groups;
	}
	for (size_t k = 0; k < groups; k++)
		port_group_add(&text, &g[k]);
	for (size_t i = 0; i < n; i++) {
		if (!*v[i].ip || v[i].outer == v[i].inner)
			continue;
		if (text.len)
			buf_adds(&text, ", ");
		port_host(&text, v[i].ip);
		buf_printf(&text, "%lld->%lld/%s", (long long)v[i].outer, (long long)v[i].inner, v[i].proto);
	}
	if (text.len)
		buf_add(out, text.data, text.len);
	buf_done(&text);
	free(g);
	free(v);
}
