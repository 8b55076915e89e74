/* SPDX-License-Identifier: Apache-2.0 */
/* dns query, stats, log: looking into the name server. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/net.h"
#include "cli/render.h"

/* ---- query ---- */

static const struct format_column query_columns[] = { { "Name", "NAME" }, { "TTL", "TTL" }, { "Type", "TYPE" }, { "Data", "DATA" }, { NULL, NULL } };

static json_t *record_row(const json_t *o)
{
	json_t *row = json_object();

	json_object_set_new(row, "Name", json_string(json_str(o, "Name", "")));
	json_object_set_new(row, "Type", json_string(json_str(o, "Type", "")));
	json_object_set_new(row, "Data", json_string(json_str(o, "Data", "")));
	json_object_set_new(row, "TTL", json_sprintf("%lld", (long long)json_i64(o, "TTL", 0)));
	return row;
}

static int query_print(const json_t *result, const char *text, struct err *e)
{
	struct format fmt = { .columns = query_columns, .type = "*dns.recordContext" };
	bool ok = true;
	json_t *o;
	size_t i;

	if (format_open(&fmt, text, "table {{.Name}}\t{{.TTL}}\t{{.Type}}\t{{.Data}}", e) < 0)
		return -1;
	json_array_foreach(json_arr(result, "Answers"), i, o)
		ok = ok && format_row(&fmt, record_row(o), e) == 0;
	return format_close(&fmt, ok, e) < 0 || !ok ? -1 : 0;
}

static int cmd_query(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, line CLEANUP(buf_done) = BUF_INIT;
	json_t *result CLEANUP(json_freep) = NULL;
	const char *status, *from;
	struct err e = { 0 };

	(void)buf_adds(&path, "/kedge/dns/query");
	cli_query(&path, "name", f->args[0]);
	if (f->argc > 1)
		cli_query(&path, "type", f->args[1]);
	if (flag_given(f, "network"))
		cli_query(&path, "network", flag_str(f, "network"));
	if (flag_given(f, "container"))
		cli_query(&path, "container", flag_str(f, "container"));
	result = cli_get(c, path.data, &e);
	if (!result || query_print(result, flag_str(f, "format"), &e) < 0)
		return cli_fail(&e);
	status = json_str(result, "Status", "");
	from = json_str(result, "Upstream", "");
	if (str_empty(flag_str(f, "format"))) {
		(void)buf_printf(&line, "%s from %s%s%s in %.2f ms\n", status, json_str(result, "Source", ""), *from ? " " : "", from,
				 json_num(result, "Milliseconds", 0));
		cli_out(&line);
	}
	return str_eq(status, "NOERROR") && json_array_size(json_arr(result, "Answers")) ? 0 : 1;
}

/* ---- stats ---- */

static const struct format_column stats_columns[] = { { "Counter", "COUNTER" }, { "Value", "VALUE" }, { NULL, NULL } };

static bool stats_rows(struct format *fmt, const json_t *o, const char *prefix, struct err *e)
{
	bool ok = true;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
		if (json_is_object(v))
			ok = ok && stats_rows(fmt, v, name, e);
		else if (json_is_integer(v))
			ok = ok && format_row(fmt, json_pack("{s:s, s:o}", "Counter", name, "Value", json_sprintf("%lld", (long long)json_integer_value(v))),
					      e) == 0;
	}
	return ok;
}

static int cmd_stats(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = stats_columns, .type = "*dns.statsContext" };
	const char *text = flag_str(f, "format");
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };
	json_t *stats CLEANUP(json_freep) = cli_get(c, "/kedge/dns/stats", &e), *u;
	bool ok = stats;
	size_t i;

	if (!ok)
		return cli_fail(&e);
	if (str_eq(text, "json")) {
		render_json(&out, stats, false);
		(void)buf_addc(&out, '\n');
		cli_out(&out);
		return 0;
	}
	if (format_open(&fmt, text, "table {{.Counter}}\t{{.Value}}", &e) < 0)
		return cli_fail(&e);
	ok = stats_rows(&fmt, stats, "", &e);
	json_array_foreach(json_arr(stats, "Upstreams"), i, u) {
		json_t *row = json_object();

		json_object_set_new(row, "Counter", json_sprintf("Upstream %s", json_str(u, "Address", "")));
		json_object_set_new(row, "Value", json_sprintf("%lld asked, %lld answered%s", (long long)json_i64(u, "Sent", 0),
							       (long long)json_i64(u, "Answered", 0), json_flag(u, "Down", false) ? ", down" : ""));
		ok = ok && format_row(&fmt, row, &e) == 0;
	}
	return format_close(&fmt, ok, &e) < 0 || !ok ? cli_fail(&e) : 0;
}

/* ---- log ---- */

static void log_print(const json_t *o)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	const char *from = json_str(o, "Upstream", "");

	(void)buf_printf(&b, "%s %s %s %s %s %s from %s%s%s %.2f ms\n", json_str(o, "Time", ""), json_str(o, "Container", ""), json_str(o, "Protocol", ""),
			 json_str(o, "Name", ""), json_str(o, "Type", ""), json_str(o, "Status", ""), json_str(o, "Source", ""), *from ? " " : "", from,
			 json_num(o, "Milliseconds", 0));
	cli_out(&b);
}

static int cmd_log(struct cli *c, struct flags *f)
{
	struct err e = { 0 };

	return net_lines(c, f, "/kedge/dns/log", log_print, &e) < 0 ? cli_fail(&e) : 0;
}

static const struct flag_def query_flags[] = {
	FLAG_FORMAT, { "network", 0, FLAG_STRING, "Ask as a member of this network" }, { "container", 0, FLAG_STRING, "Ask as this container" }, { 0 },
};
static const struct flag_def stats_flags[] = { FLAG_FORMAT, { 0 } };
static const struct flag_def log_flags[] = {
	FLAG_FORMAT, { "follow", 'f', FLAG_BOOL, "Go on telling (it always does: queries are not kept)" },
	{ "count", 'n', FLAG_INT, "End after so many queries" }, { 0 },
};

const struct command commands_dns[] = {
	{ "dns query", "[OPTIONS] NAME [TYPE]", "Look a name up as a container or a member of a network would", query_flags, 1, 2, false, cmd_query },
	{ "dns stats", "[OPTIONS]", "Count queries by how they were answered", stats_flags, 0, 0, false, cmd_stats },
	{ "dns log", "[OPTIONS] [CONTAINER]", "Tell each query of a container or of all: who asked what, answered by what, how long it took", log_flags, 0, 1,
	  false, cmd_log },
	{ 0 },
};
