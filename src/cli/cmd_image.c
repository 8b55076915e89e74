/* SPDX-License-Identifier: Apache-2.0 */
/* rmi, tag, history */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

enum { CREATED_BY_WIDTH = 45, SHORT_ID = 12 };

static int cmd_rmi(struct cli *c, struct flags *f)
{
	char **errors CLEANUP(strv_freep) = NULL;
	bool fatal = false;

	for (int i = 0; i < f->argc; i++) {
		char *head CLEANUP(mem_freep) = cli_path("/images/", f->args[i], "");
		struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
		json_t *doc CLEANUP(json_freep) = NULL, *o;
		struct err e = { 0 };
		size_t k;

		buf_adds(&path, head);
		if (flag_bool(f, "force"))
			cli_query(&path, "force", "1");
		if (flag_bool(f, "no-prune"))
			cli_query(&path, "noprune", "1");
		if (cli_call(c, "DELETE", path.data, NULL, &reply, &e) < 0) {
			fatal |= e.kind != ERR_NOT_FOUND;
			errors = strv_add(errors, e.msg);
			continue;
		}
		doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
		json_array_foreach(doc, k, o) {
			if (*json_str(o, "Deleted", ""))
				printf("Deleted: %s\n", json_str(o, "Deleted", ""));
			else
				printf("Untagged: %s\n", json_str(o, "Untagged", ""));
		}
		fflush(stdout);
	}
	for (size_t i = 0; errors && errors[i]; i++)
		fprintf(stderr, "%s\n", errors[i]);
	return errors && (!flag_bool(f, "force") || fatal);
}

static int cmd_tag(struct cli *c, struct flags *f)
{
	char *head CLEANUP(mem_freep) = cli_path("/images/", f->args[0], "/tag"), *repo CLEANUP(mem_freep) = NULL;
	const char *slash = strrchr(f->args[1], '/'), *colon = strrchr(slash ? slash : f->args[1], ':');
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };

	repo = mem_strndup(f->args[1], colon ? (size_t)(colon - f->args[1]) : strlen(f->args[1]));
	buf_adds(&path, head);
	cli_query(&path, "repo", repo);
	cli_query(&path, "tag", colon ? colon + 1 : "latest");
	return cli_call(c, "POST", path.data, NULL, NULL, &e) < 0 ? cli_fail(&e) : 0;
}

static void put(json_t *row, const char *key, struct buf *b)
{
	json_object_set_new(row, key, json_bytes(b->data ? b->data : "", b->len));
	buf_reset(b);
}

static json_t *history_row(const json_t *o, bool no_trunc, bool human)
{
	json_t *row = json_object();
	struct buf b CLEANUP(buf_done) = BUF_INIT, by CLEANUP(buf_done) = BUF_INIT;
	const char *id = json_str(o, "Id", "");
	int64_t created = json_i64(o, "Created", 0);
	char day[40];

	if (!no_trunc && str_starts(id, "sha256:"))
		id += 7;
	buf_printf(&b, "%.*s", no_trunc ? 80 : SHORT_ID, id);
	put(row, "ID", &b);
	str_time_ns(created * 1000000000, day, sizeof(day));
	buf_printf(&b, "%.19sZ", day);
	put(row, "CreatedAt", &b);
	render_ago(&b, created, clock_wall() / 1000000000);
	put(row, "CreatedSince", &b);
	for (const char *p = json_str(o, "CreatedBy", ""); *p; p++)
		buf_addc(&by, *p == '\t' ? ' ' : *p);
	render_ellipsis(&b, by.data ? by.data : "", no_trunc ? SIZE_MAX : CREATED_BY_WIDTH);
	put(row, "CreatedBy", &b);
	if (human)
		render_size(&b, (double)json_i64(o, "Size", 0));
	else
		buf_printf(&b, "%lld", (long long)json_i64(o, "Size", 0));
	put(row, "Size", &b);
	buf_adds(&b, json_str(o, "Comment", ""));
	put(row, "Comment", &b);
	return row;
}

static const struct format_column history_columns[] = {
	{ "ID", "IMAGE" }, { "CreatedSince", "CREATED" }, { "CreatedAt", "CREATED AT" }, { "CreatedBy", "CREATED BY" }, { "Size", "SIZE" },
	{ "Comment", "COMMENT" }, { NULL, NULL },
};

static int cmd_history(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/images/", f->args[0], "/history");
	struct format fmt = { .columns = history_columns, .type = "*formatter.historyContext" };
	bool human = flag_bool(f, "human"), ok;
	const char *text = flag_str(f, "format");
	json_t *list CLEANUP(json_freep) = NULL, *o;
	struct err e = { 0 };
	size_t i;

	if (flag_bool(f, "quiet") && !*text)
		text = "{{.ID}}";
	if (format_open(&fmt, text, human ? "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
				      : "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", &e) < 0)
		return cli_fail(&e);
	list = cli_get(c, path, &e);
	ok = list;
	for (i = 0; ok && (o = json_array_get(list, i)); i++)
		ok = format_row(&fmt, history_row(o, flag_bool(f, "no-trunc"), human), &e) == 0;
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

static const struct flag_def rmi_flags[] = {
	{ "force", 'f', FLAG_BOOL, "Force removal of the image" }, { "no-prune", 0, FLAG_BOOL, "Do not delete untagged parents" }, { 0 },
};
static const struct flag_def history_flags[] = {
	FLAG_FORMAT, { "human", 'H', FLAG_BOOL, "Print sizes and dates in human readable format", .def = "true" }, FLAG_NO_TRUNC,
	{ "quiet", 'q', FLAG_BOOL, "Only show image IDs" }, { 0 },
};

const struct command commands_image[] = {
	{ "image rm,image remove,rmi", "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", rmi_flags, 1, -1, false, cmd_rmi },
	{ "image tag,tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", flags_none, 2, 2, false, cmd_tag },
	{ "image history,history", "[OPTIONS] IMAGE", "Show the history of an image", history_flags, 1, 1, false, cmd_history },
	{ 0 },
};
