/* SPDX-License-Identifier: Apache-2.0 */
/* volume create, ls, rm, prune, update; inspect is with the others (cmd_inspect.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/spec.h"

static const struct format_column columns[] = {
	{ "Name", "VOLUME NAME" }, { "Driver", "DRIVER" }, { "Scope", "SCOPE" }, { "Mountpoint", "MOUNTPOINT" }, { "Labels", "LABELS" },
	{ "Links", "LINKS" }, { "Size", "SIZE" }, { "Availability", "AVAILABILITY" }, { "Group", "GROUP" }, { "Status", "STATUS" }, { NULL, NULL },
};

static void put(json_t *row, const char *key, const char *s)
{
	json_object_set_new(row, key, json_bytes(s, strlen(s)));
}

static json_t *volume_row(const json_t *o)
{
	static const char *const keys[] = { "Name", "Driver", "Scope", "Mountpoint" }, *const none[] = { "Links", "Size", "Availability", "Group", "Status" };
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	json_t *row = json_object(), *labels, *v;
	const char *key;

	for (size_t i = 0; i < N(keys); i++)
		put(row, keys[i], json_str(o, keys[i], ""));
	for (size_t i = 0; i < N(none); i++)
		put(row, none[i], "N/A");
	labels = format_sorted(json_obj(o, "Labels") ? json_copy(json_obj(o, "Labels")) : json_object());
	json_object_foreach(labels, key, v)
		buf_printf(&b, "%s%s=%s", b.len ? "," : "", key, json_str(labels, key, ""));
	json_decref(labels);
	put(row, "Labels", b.data ? b.data : "");
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

static int cmd_volume_ls(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = columns, .type = "*formatter.volumeContext", .method = label_method };
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, **sorted CLEANUP(mem_freep) = NULL, *o;
	const char *text = flag_str(f, "format");
	struct err e = { 0 };
	json_t *list;
	bool ok;
	size_t i;

	if (flag_bool(f, "quiet") && !*text)
		text = "{{.Name}}";
	buf_adds(&path, "/volumes");
	if (cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 || format_open(&fmt, text, "table {{.Driver}}\t{{.Name}}", &e) < 0)
		return cli_fail(&e);
	doc = cli_get(c, path.data, &e);
	ok = doc;
	list = json_arr(doc, "Volumes");
	sorted = mem_zalloc((json_array_size(list) + 1) * sizeof(json_t *));
	json_array_foreach(list, i, o)
		sorted[i] = o;
	qsort(sorted, json_array_size(list), sizeof(json_t *), name_order);
	for (i = 0; ok && (o = sorted[i]); i++) {
		fmt.labels = json_obj(o, "Labels");
		ok = format_row(&fmt, volume_row(o), &e) == 0;
	}
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

static int pairs(char *const *words, json_t *out, struct err *e)
{
	for (; *words; words++) {
		if (spec_label(*words, out, e) < 0)
			return -1;
	}
	return 0;
}

static int cmd_volume_create(struct cli *c, struct flags *f)
{
	json_t *opts = json_object(), *labels = json_object();
	json_t *body CLEANUP(json_freep) = json_pack("{s:s, s:s, s:o, s:o}", "Name", f->argc ? f->args[0] : flag_str(f, "name"), "Driver", flag_str(f, "driver"),
						     "DriverOpts", opts, "Labels", labels);
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;
	struct err e = { 0 };

	if (f->argc && flag_given(f, "name")) {
		fprintf(stderr, "conflicting options: cannot specify a volume-name through both --name and as a positional arg\n");
		return 1;
	}
	if (!body)
		err_set(&e, ERR_INVALID, "an argument is not valid UTF-8");
	if (!body || pairs(flag_list(f, "opt"), opts, &e) < 0 || pairs(flag_list(f, "label"), labels, &e) < 0 ||
	    cli_call(c, "POST", "/volumes/create", body, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	printf("%s\n", json_str(doc, "Name", ""));
	return 0;
}

static int rm_one(struct cli *c, struct flags *f, const char *arg, struct err *e)
{
	char *path CLEANUP(mem_freep) = cli_path("/volumes/", arg, flag_bool(f, "force") ? "?force=1" : "");

	return cli_call(c, "DELETE", path, NULL, NULL, e) < 0 ? -1 : 0;
}

static int cmd_volume_rm(struct cli *c, struct flags *f)
{
	return cli_each(c, f, rm_one, true);
}

static bool confirmed(bool all)
{
	char line[16] = "";

	printf("WARNING! This will remove %s local volumes not used by at least one container.\nAre you sure you want to continue? [y/N] ",
	       all ? "all" : "anonymous");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (str_eq(line, "y\n") || str_eq(line, "Y\n"));
}

static int cmd_volume_prune(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT, out CLEANUP(buf_done) = BUF_INIT;
	char **filters CLEANUP(strv_freep) = NULL;
	json_t *doc CLEANUP(json_freep) = NULL, *v;
	struct err e = { 0 };
	char size[32];
	size_t i;

	if (!flag_bool(f, "force") && !confirmed(flag_bool(f, "all"))) {
		fprintf(stderr, "volume prune has been cancelled\n");
		return 1;
	}
	for (char *const *w = flag_list(f, "filter"); *w; w++)
		filters = strv_add(filters, *w);
	if (flag_bool(f, "all"))
		filters = strv_add(filters, "all=true");
	buf_adds(&path, "/volumes/prune");
	if (cli_query_filters(&path, filters ? filters : (char *[]){ NULL }, &e) < 0 || cli_call(c, "POST", path.data, NULL, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (json_array_size(json_arr(doc, "VolumesDeleted"))) {
		buf_adds(&out, "Deleted Volumes:\n");
		json_array_foreach(json_arr(doc, "VolumesDeleted"), i, v)
			buf_printf(&out, "%s\n", json_string_value(v));
		buf_addc(&out, '\n');
	}
	buf_printf(&out, "Total reclaimed space: %s\n", str_human_size((uint64_t)json_i64(doc, "SpaceReclaimed", 0), size, sizeof(size)));
	cli_out(&out);
	return 0;
}

static int cmd_volume_update(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/volumes/", f->args[0], "");
	json_t *body CLEANUP(json_freep) = json_object();
	struct err e = { 0 };

	return cli_call(c, "PUT", path, body, NULL, &e) < 0 ? cli_fail(&e) : 0;
}

static const struct flag_def ls_flags[] = { FLAG_FILTER, FLAG_FORMAT, { "quiet", 'q', FLAG_BOOL, "Only display volume names" }, { 0 } };
static const struct flag_def create_flags[] = {
	{ "driver", 'd', FLAG_STRING, "Specify volume driver name", .def = "local" }, { "label", 0, FLAG_LIST, "Set metadata for a volume" },
	{ "name", 0, FLAG_STRING, "Specify volume name", .hidden = true }, { "opt", 'o', FLAG_LIST, "Set driver specific options", .word = "map" }, { 0 },
};
static const struct flag_def rm_flags[] = { { "force", 'f', FLAG_BOOL, "Force the removal of one or more volumes" }, { 0 } };
static const struct flag_def prune_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Remove all unused volumes, not just anonymous ones" },
	{ "filter", 0, FLAG_LIST, "Provide filter values (e.g. \"label=<label>\")", .word = "filter", .check = cli_check_filter },
	{ "force", 'f', FLAG_BOOL, "Do not prompt for confirmation" }, { 0 },
};

const struct command commands_volume[] = {
	{ "volume ls,volume list", "[OPTIONS]", "List volumes", ls_flags, 0, 0, false, cmd_volume_ls },
	{ "volume create", "[OPTIONS] [VOLUME]", "Create a volume", create_flags, 0, 1, false, cmd_volume_create },
	{ "volume rm,volume remove", "[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
	  rm_flags, 1, -1, false, cmd_volume_rm },
	{ "volume prune", "[OPTIONS]", "Remove unused local volumes", prune_flags, 0, 0, false, cmd_volume_prune },
	{ "volume update", "[VOLUME]", "Update a volume (cluster volumes only)", flags_none, 1, 1, false, cmd_volume_update },
	{ 0 },
};
