/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ContainerSummary. A list is written straight into the reply's text: scripts and monitoring ask for it every second, of hosts with hundreds of
 * containers, and a tree of values for each would be built only to be written and thrown away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/endpoints.h"
#include "engine/mounts.h"
#include "engine/published.h"
#include "engine/select.h"
#include "engine/size.h"

static void write_port(void *user, const char *ip, unsigned port, unsigned host_port, const char *proto)
{
	struct buf *b = user;

	jsonw_item(b);
	(void)buf_addc(b, '{');
	if (ip)
		jsonw_key_str(b, "IP", ip);
	jsonw_key_i64(b, "PrivatePort", port);
	if (host_port)
		jsonw_key_i64(b, "PublicPort", host_port);
	jsonw_key_str(b, "Type", proto);
	(void)buf_addc(b, '}');
}

static void status_text(const struct container *c, int64_t now, char *out, size_t size)
{
	const json_t *s = doc_state(c);
	const char *status = json_str(s, "Status", ""), *health = json_str(json_obj(s, "Health"), "Status", "");
	char span[64];

	if (str_eq(status, "created")) {
		(void)snprintf(out, size, "Created");
	} else if (str_eq(status, "running") || str_eq(status, "paused")) {
		str_human_duration((now - doc_time(s, "StartedAt")) / 1000000000, span, sizeof(span));
		if (str_eq(status, "paused"))
			(void)snprintf(out, size, "Up %s (Paused)", span);
		else
			(void)snprintf(out, size, "Up %s%s%s%s", span, *health ? str_eq(health, "starting") ? " (health: " : " (" : "", health, *health ? ")" : "");
	} else {
		str_human_duration((now - doc_time(s, "FinishedAt")) / 1000000000, span, sizeof(span));
		(void)snprintf(out, size, "%s (%lld) %s ago", str_eq(status, "restarting") ? "Restarting" : "Exited", (long long)json_i64(s, "ExitCode", 0), span);
	}
}

/* docker's COMMAND column is the path and arguments, joined. */
static void write_command(struct buf *to, const struct container *c)
{
	struct buf b = BUF_INIT;
	json_t *v;
	size_t i;

	buf_adds(&b, json_str(c->doc, "Path", ""));
	json_array_foreach(json_object_get(c->doc, "Args"), i, v) {
		const char *s = json_string_value(v);
		bool quote = !*s || strpbrk(s, " \t\n'\"");

		buf_addc(&b, ' ');
		if (quote && strchr(s, '\'') == NULL) {
			buf_printf(&b, "'%s'", s);
		} else if (quote) {
			buf_addc(&b, '\'');
			for (; *s; s++) {
				if (*s == '\'')
					buf_adds(&b, "\\'");
				else
					buf_addc(&b, *s);
			}
			buf_addc(&b, '\'');
		} else {
			buf_adds(&b, s);
		}
	}
	jsonw_bytes(to, b.data ? b.data : "", b.len);
	buf_done(&b);
}

/* The name it was made with, or the image's id when that name means another image by now. Most have the image of the one before. */
struct named { const char *name, *id; bool same; };

static const char *image_name(const struct container *c, struct named *last)
{
	const char *name = json_str(c->doc, "ImageName", ""), *id = json_str(c->doc, "Image", "");

	if (!str_eq(last->name, name) || !str_eq(last->id, id)) {
		struct image *im = image_find(c->en->images, name, NULL);

		*last = (struct named){ name, id, im && str_eq(image_id(im), id) };
	}
	return last->same ? name : id;
}

static void write_summary(struct buf *b, const struct container *c, int64_t now, bool size, struct named *last)
{
	char status[160];

	status_text(c, now, status, sizeof(status));
	(void)buf_addc(b, '{');
	jsonw_key_str(b, "Id", c->id);
	jsonw_key(b, "Names");
	(void)buf_addc(b, '[');
	jsonw_value(b, json_object_get(c->doc, "Name"));
	(void)buf_addc(b, ']');
	jsonw_key_str(b, "Image", image_name(c, last));
	jsonw_key_str(b, "ImageID", json_str(c->doc, "Image", ""));
	jsonw_key(b, "Command");
	write_command(b, c);
	jsonw_key_i64(b, "Created", c->created_ns / 1000000000);
	jsonw_key(b, "Ports");
	(void)buf_addc(b, '[');
	published_each(c, write_port, b);
	(void)buf_addc(b, ']');
	jsonw_key_value(b, "Labels", json_object_get(doc_config(c), "Labels"));
	jsonw_key_str(b, "State", json_str(doc_state(c), "Status", ""));
	jsonw_key_str(b, "Status", status);
	jsonw_key(b, "HostConfig");
	(void)buf_addc(b, '{');
	jsonw_key_str(b, "NetworkMode", doc_network(c));
	(void)buf_addc(b, '}');
	jsonw_key(b, "NetworkSettings");
	(void)buf_addc(b, '{');
	jsonw_key(b, "Networks");
	endpoints_write(b, c);
	(void)buf_addc(b, '}');
	jsonw_key(b, "Mounts");
	mounts_write(b, doc_mounts(c));
	if (size)
		size_write(b, c);
	(void)buf_addc(b, '}');
}

/* ---- the filters "publish" and "expose" ---- */

struct port_match { const struct select *sel; bool publish, expose; };

static void match_port(void *user, const char *ip, unsigned port, unsigned host_port, const char *proto)
{
	struct port_match *m = user;

	(void)ip;
	m->publish = m->publish || select_port(m->sel, "publish", host_port, proto);
	m->expose = m->expose || select_port(m->sel, "expose", port, proto);
}

static bool ports_ok(const struct select *sel, const struct container *c)
{
	struct port_match m = { sel, !select_has(sel, "publish"), !select_has(sel, "expose") };

	if (!m.publish || !m.expose)
		published_each(c, match_port, &m);
	return m.publish && m.expose;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;

	return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

int engine_list(struct engine *en, bool all, int limit, bool size, const json_t *filters, struct buf *b, struct err *e)
{
	CLEANUP(mem_freep) struct container **v = mem_alloc((map_len(en->by_id) + 1) * sizeof(*v));
	struct named last = { 0 };
	int64_t now = clock_wall();
	struct container *c;
	size_t it = 0, n = 0;
	struct select sel;

	if (select_init(&sel, en, filters, all || limit > 0, e) < 0)
		return -1;
	while ((c = map_next(en->by_id, &it, NULL))) {
		if (select_container(&sel, c) && ports_ok(&sel, c))
			v[n++] = c;
	}
	qsort(v, n, sizeof(*v), newest_first);
	if (limit > 0 && n > (size_t)limit)
		n = (size_t)limit;
	(void)buf_addc(b, '[');
	for (size_t i = 0; i < n; i++) {
		jsonw_item(b);
		write_summary(b, v[i], now, size, &last);
	}
	(void)buf_addc(b, ']');
	return 0;
}
