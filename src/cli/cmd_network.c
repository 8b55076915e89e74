/* SPDX-License-Identifier: Apache-2.0 */
/* network ls */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

static const struct format_column columns[] = {
	{ "ID", "NETWORK ID" }, { "Name", "NAME" }, { "Driver", "DRIVER" }, { "Scope", "SCOPE" }, { "IPv4", "IPV4" }, { "IPv6", "IPV6" },
	{ "Internal", "INTERNAL" }, { "Labels", "LABELS" }, { "CreatedAt", "CREATED AT" }, { NULL, NULL },
};

static void put(json_t *row, const char *key, const char *s)
{
	json_object_set_new(row, key, json_bytes(s, strlen(s)));
}

static json_t *network_row(const json_t *o, bool no_trunc)
{
	json_t *row = json_object(), *labels = json_obj(o, "Labels"), *v;
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	const char *key;
	int64_t ns;

	buf_printf(&b, "%.*s", no_trunc ? 64 : 12, json_str(o, "Id", ""));
	put(row, "ID", b.data);
	put(row, "Name", json_str(o, "Name", ""));
	put(row, "Driver", json_str(o, "Driver", ""));
	put(row, "Scope", json_str(o, "Scope", ""));
	put(row, "IPv4", json_flag(o, "EnableIPv4", true) ? "true" : "false");
	put(row, "IPv6", json_flag(o, "EnableIPv6", false) ? "true" : "false");
	put(row, "Internal", json_flag(o, "Internal", false) ? "true" : "false");
	buf_reset(&b);
	json_object_foreach(labels, key, v)
		buf_printf(&b, "%s%s=%s", b.len ? "," : "", key, json_str(labels, key, ""));
	put(row, "Labels", b.data ? b.data : "");
	buf_reset(&b);
	/* Go prints the time it read, in its own zone: the engine's are all UTC. */
	if (str_to_time_ns(json_str(o, "Created", ""), 0, &ns) == 0) {
		char text[40], *dot;

		str_time_ns(ns, text, sizeof(text));
		text[10] = ' ';
		text[strlen(text) - 1] = '\0';
		dot = text + strlen(text);
		while (strchr(text, '.') && (dot[-1] == '0' || dot[-1] == '.'))
			*--dot = '\0';
		buf_printf(&b, "%s +0000 UTC", text);
	}
	put(row, "CreatedAt", b.data ? b.data : "");
	return row;
}

static json_t *label_method(void *user, const char *name, json_t *const *args, size_t n)
{
	const char *key = n == 1 ? json_string_value(args[0]) : NULL;

	if (!str_eq(name, "Label") || !key)
		return NULL;
	return json_string(user ? json_str(user, key, "") : key);
}

static int name_order(const void *a, const void *b)
{
	return strcmp(json_str(*(json_t *const *)a, "Name", ""), json_str(*(json_t *const *)b, "Name", ""));
}

static int cmd_network_ls(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = columns, .type = "*network.networkContext", .method = label_method };
	const char *text = flag_str(f, "format");
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	json_t *list CLEANUP(json_freep) = NULL, **sorted CLEANUP(mem_freep) = NULL, *o;
	struct err e = { 0 };
	bool ok;
	size_t i;

	if (flag_bool(f, "quiet") && !*text)
		text = "{{.ID}}";
	buf_adds(&path, "/networks");
	if (cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 ||
	    format_open(&fmt, text, "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", &e) < 0)
		return cli_fail(&e);
	list = cli_get(c, path.data, &e);
	ok = list;
	sorted = mem_zalloc((json_array_size(list) + 1) * sizeof(*sorted));
	json_array_foreach(list, i, o)
		sorted[i] = o;
	qsort(sorted, json_array_size(list), sizeof(*sorted), name_order);
	for (i = 0; ok && (o = sorted[i]); i++) {
		fmt.labels = json_obj(o, "Labels");
		ok = format_row(&fmt, network_row(o, flag_bool(f, "no-trunc")), &e) == 0;
	}
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

static const struct flag_def ls_flags[] = {
	FLAG_FILTER, FLAG_FORMAT, FLAG_NO_TRUNC, { "quiet", 'q', FLAG_BOOL, "Only display network IDs" }, { 0 },
};

const struct command commands_network[] = {
	{ "network ls,network list", "[OPTIONS]", "List networks", ls_flags, 0, 0, false, cmd_network_ls },
	{ 0 },
};
