/* SPDX-License-Identifier: Apache-2.0 */
/* container prune, system prune, system df: what takes disk, and what of it may go. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

static bool confirmed(const char *what)
{
	char line[16] = "";

	printf("WARNING! This will remove%s\nAre you sure you want to continue? [y/N] ", what);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (str_eq(line, "y\n") || str_eq(line, "Y\n"));
}

static int cancelled(const struct cli *c)
{
	fprintf(stderr, "%s has been cancelled\n", c->name);
	return 1;
}

/* One kind: asks the engine, lists under the title what went, adds to the sum. */
static int prune(struct cli *c, const char *path, char *const *filters, const char *key, const char *title, struct buf *out, int64_t *sum, struct err *e)
{
	struct buf full CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *v;
	size_t i;

	buf_adds(&full, path);
	if (cli_query_filters(&full, filters, e) < 0 || cli_call(c, "POST", full.data, NULL, &reply, e) < 0)
		return -1;
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", e);
	if (!doc)
		return -1;
	*sum += json_i64(doc, "SpaceReclaimed", 0);
	if (!json_array_size(json_arr(doc, key)))
		return 0;
	buf_printf(out, "%s:\n", title);
	json_array_foreach(json_arr(doc, key), i, v) {
		if (json_is_string(v))
			buf_printf(out, "%s\n", json_string_value(v));
		else if (json_object_get(v, "Untagged"))
			buf_printf(out, "untagged: %s\n", json_str(v, "Untagged", ""));
		else
			buf_printf(out, "deleted: %s\n", json_str(v, "Deleted", ""));
	}
	buf_addc(out, '\n');
	return 0;
}

static void total(struct buf *out, int64_t sum)
{
	buf_adds(out, "Total reclaimed space: ");
	render_size(out, (double)sum);
	buf_addc(out, '\n');
}

static int cmd_container_prune(struct cli *c, struct flags *f)
{
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };
	int64_t sum = 0;

	if (!flag_bool(f, "force") && !confirmed(" all stopped containers."))
		return cancelled(c);
	if (prune(c, "/containers/prune", flag_list(f, "filter"), "ContainersDeleted", "Deleted Containers", &out, &sum, &e) < 0)
		return cli_fail(&e);
	total(&out, sum);
	cli_out(&out);
	return 0;
}

static int cmd_system_prune(struct cli *c, struct flags *f)
{
	bool all = flag_bool(f, "all"), volumes = flag_bool(f, "volumes");
	char *what CLEANUP(mem_freep) = mem_printf(":\n  - all stopped containers\n  - all networks not used by at least one container\n%s  - all %s\n"
						   "  - unused build cache\n", volumes ? "  - all anonymous volumes not used by at least one container\n" : "",
						   all ? "images without at least one container associated to them" : "dangling images");
	char **images CLEANUP(strv_freep) = strv_add(NULL, all ? "dangling=false" : "dangling=true");
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	char *const *filters = flag_list(f, "filter");
	struct err e = { 0 };
	int64_t sum = 0;
	int r;

	for (char *const *w = filters; *w; w++) {
		if (volumes && str_starts(*w, "until=")) {
			fprintf(stderr, "The \"until\" filter is not supported with \"--volumes\"\n");
			return 1;
		}
		images = strv_add(images, *w);
	}
	if (!flag_bool(f, "force") && !confirmed(what))
		return cancelled(c);
	r = prune(c, "/containers/prune", filters, "ContainersDeleted", "Deleted Containers", &out, &sum, &e);
	if (r == 0)
		r = prune(c, "/networks/prune", filters, "NetworksDeleted", "Deleted Networks", &out, &sum, &e);
	if (r == 0 && volumes)
		r = prune(c, "/volumes/prune", filters, "VolumesDeleted", "Deleted Volumes", &out, &sum, &e);
	if (r == 0)
		r = prune(c, "/images/prune", images, "ImagesDeleted", "Deleted Images", &out, &sum, &e);
	if (r == 0)
		r = prune(c, all ? "/build/prune?all=1" : "/build/prune", filters, "CachesDeleted", "Deleted build cache objects", &out, &sum, &e);
	/* What went is told even if something then failed. */
	if (r == 0)
		total(&out, sum);
	cli_out(&out);
	return r < 0 ? cli_fail(&e) : 0;
}

/* df */

static const struct format_column df_columns[] = {
	{ "Type", "TYPE" }, { "TotalCount", "TOTAL" }, { "Active", "ACTIVE" }, { "Size", "SIZE" }, { "Reclaimable", "RECLAIMABLE" }, { NULL, NULL },
};

static void put(json_t *row, const char *key, struct buf *b)
{
	json_object_set_new(row, key, json_bytes(b->data ? b->data : "", b->len));
	buf_reset(b);
}

static json_t *df_row(const char *type, size_t count, size_t active, int64_t size, int64_t reclaim, bool percent)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	json_t *row = json_object();

	json_object_set_new(row, "Type", json_string(type));
	buf_printf(&b, "%zu", count);
	put(row, "TotalCount", &b);
	buf_printf(&b, "%zu", active);
	put(row, "Active", &b);
	render_size(&b, (double)size);
	put(row, "Size", &b);
	render_size(&b, (double)reclaim);
	if (percent && size > 0)
		buf_printf(&b, " (%lld%%)", (long long)(reclaim * 100 / size));
	put(row, "Reclaimable", &b);
	return row;
}

/* Sums over one list; what a kind's object takes and whether it is in use is the kind's own. */
static int df_rows(struct format *fmt, const json_t *doc, struct err *e)
{
	int64_t size = json_i64(doc, "LayersSize", 0), used = 0, idle = 0;
	size_t i, active = 0;
	json_t *o;

	json_array_foreach(json_arr(doc, "Images"), i, o) {
		int64_t shared = json_i64(o, "SharedSize", -1);

		if (json_i64(o, "Containers", 0) <= 0)
			continue;
		active++;
		used += json_i64(o, "Size", 0) - (shared > 0 ? shared : 0);
	}
	if (format_row(fmt, df_row("Images", json_array_size(json_arr(doc, "Images")), active, size, size > used ? size - used : 0, true), e) < 0)
		return -1;
	size = idle = 0;
	active = 0;
	json_array_foreach(json_arr(doc, "Containers"), i, o) {
		const char *state = json_str(o, "State", "");
		bool up = str_eq(state, "running") || str_eq(state, "paused") || str_eq(state, "restarting");

		size += json_i64(o, "SizeRw", 0);
		active += up;
		idle += up ? 0 : json_i64(o, "SizeRw", 0);
	}
	if (format_row(fmt, df_row("Containers", json_array_size(json_arr(doc, "Containers")), active, size, idle, true), e) < 0)
		return -1;
	size = idle = 0;
	active = 0;
	json_array_foreach(json_arr(doc, "Volumes"), i, o) {
		const json_t *u = json_obj(o, "UsageData");
		int64_t bytes = json_i64(u, "Size", 0);

		size += bytes > 0 ? bytes : 0;
		active += json_i64(u, "RefCount", 0) > 0;
		idle += json_i64(u, "RefCount", 0) > 0 || bytes < 0 ? 0 : bytes;
	}
	if (format_row(fmt, df_row("Local Volumes", json_array_size(json_arr(doc, "Volumes")), active, size, idle, true), e) < 0)
		return -1;
	size = idle = 0;
	active = 0;
	json_array_foreach(json_arr(doc, "BuildCache"), i, o) {
		bool busy = json_flag(o, "InUse", false), shared = json_flag(o, "Shared", false);

		size += shared ? 0 : json_i64(o, "Size", 0);
		active += busy;
		idle += busy || shared ? 0 : json_i64(o, "Size", 0);
	}
	return format_row(fmt, df_row("Build Cache", json_array_size(json_arr(doc, "BuildCache")), active, size, idle, false), e);
}

static void table(struct buf *out, const char *title, struct buf *text)
{
	buf_printf(out, "%s\n\n", title);
	render_table(out, text->data ? text->data : "", text->len);
	buf_addc(out, '\n');
	buf_reset(text);
}

static void short_id(struct buf *b, const char *id)
{
	buf_printf(b, "%.12s", str_starts(id, "sha256:") ? id + 7 : id);
}

static void df_verbose(const json_t *doc, struct buf *out)
{
	struct buf t CLEANUP(buf_done) = BUF_INIT;
	int64_t now = clock_wall() / 1000000000, cache = 0;
	json_t *o;
	size_t i;

	buf_adds(&t, "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS\n");
	json_array_foreach(json_arr(doc, "Images"), i, o) {
		const char *name = json_at(json_arr(o, "RepoTags"), 0), *colon = name ? strrchr(name, ':') : NULL;
		int64_t size = json_i64(o, "Size", 0), shared = json_i64(o, "SharedSize", 0);

		buf_printf(&t, "%.*s\t%s\t", colon ? (int)(colon - name) : 6, colon ? name : "<none>", colon ? colon + 1 : "<none>");
		short_id(&t, json_str(o, "Id", ""));
		buf_addc(&t, '\t');
		render_ago(&t, json_i64(o, "Created", 0), now);
		buf_addc(&t, '\t');
		render_size(&t, (double)size);
		buf_addc(&t, '\t');
		render_size(&t, (double)shared);
		buf_addc(&t, '\t');
		render_size(&t, (double)(size - shared));
		buf_printf(&t, "\t%lld\n", (long long)json_i64(o, "Containers", 0));
	}
	table(out, "Images space usage:", &t);
	buf_adds(&t, "CONTAINER ID\tIMAGE\tCOMMAND\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES\n");
	json_array_foreach(json_arr(doc, "Containers"), i, o) {
		struct buf cmd CLEANUP(buf_done) = BUF_INIT;
		const char *name = json_at(json_arr(o, "Names"), 0);
		size_t k, volumes = 0;
		json_t *m;

		short_id(&t, json_str(o, "Id", ""));
		buf_printf(&t, "\t%s\t", json_str(o, "Image", ""));
		render_ellipsis(&cmd, json_str(o, "Command", ""), 20);
		render_quote(&t, cmd.data ? cmd.data : "");
		json_array_foreach(json_arr(o, "Mounts"), k, m)
			volumes += str_eq(json_str(m, "Driver", ""), "local");
		buf_printf(&t, "\t%zu\t", volumes);
		render_size(&t, (double)json_i64(o, "SizeRw", 0));
		buf_addc(&t, '\t');
		render_ago(&t, json_i64(o, "Created", 0), now);
		buf_printf(&t, "\t%s\t%s\n", json_str(o, "Status", ""), name ? name + (*name == '/') : "");
	}
	table(out, "Containers space usage:", &t);
	buf_adds(&t, "VOLUME NAME\tLINKS\tSIZE\n");
	json_array_foreach(json_arr(doc, "Volumes"), i, o) {
		const json_t *u = json_obj(o, "UsageData");

		buf_printf(&t, "%s\t%lld\t", json_str(o, "Name", ""), (long long)json_i64(u, "RefCount", 0));
		render_size(&t, (double)(json_i64(u, "Size", 0) > 0 ? json_i64(u, "Size", 0) : 0));
		buf_addc(&t, '\n');
	}
	table(out, "Local Volumes space usage:", &t);
	json_array_foreach(json_arr(doc, "BuildCache"), i, o)
		cache += json_flag(o, "Shared", false) ? 0 : json_i64(o, "Size", 0);
	buf_adds(out, "Build cache usage: ");
	render_size(out, (double)cache);
	buf_adds(out, "\n\n");
	buf_adds(&t, "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED\n");
	json_array_foreach(json_arr(doc, "BuildCache"), i, o) {
		short_id(&t, json_str(o, "ID", ""));
		buf_printf(&t, "\t%s\t", json_str(o, "Type", ""));
		render_size(&t, (double)json_i64(o, "Size", 0));
		buf_printf(&t, "\t%s\t%s\t%lld\t%s\n", json_str(o, "CreatedAt", ""), json_str(o, "LastUsedAt", ""), (long long)json_i64(o, "UsageCount", 0),
			   json_flag(o, "Shared", false) ? "true" : "false");
	}
	render_table(out, t.data, t.len);
}

static int cmd_df(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = df_columns, .type = "*formatter.diskUsageContext" };
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;
	struct err e = { 0 };
	bool ok;

	if (flag_bool(f, "verbose") && *flag_str(f, "format")) {
		fprintf(stderr, "the verbose and the format options conflict\n");
		return 1;
	}
	if (!flag_bool(f, "verbose") &&
	    format_open(&fmt, flag_str(f, "format"), "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}", &e) < 0)
		return cli_fail(&e);
	doc = cli_get(c, "/system/df", &e);
	ok = doc;
	if (flag_bool(f, "verbose")) {
		if (!ok)
			return cli_fail(&e);
		df_verbose(doc, &out);
		cli_out(&out);
		return 0;
	}
	ok = ok && df_rows(&fmt, doc, &e) == 0;
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

#define FLAG_PRUNE_FILTER(text) { "filter", 0, FLAG_LIST, text, .word = "filter", .check = cli_check_filter }
#define FLAG_FORCE { "force", 'f', FLAG_BOOL, "Do not prompt for confirmation" }
static const struct flag_def container_prune_flags[] = {
	FLAG_PRUNE_FILTER("Provide filter values (e.g. \"until=<timestamp>\")"), FLAG_FORCE, { 0 },
};
static const struct flag_def system_prune_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Remove all unused images not just dangling ones" }, FLAG_PRUNE_FILTER("Provide filter values (e.g. \"label=<key>=<value>\")"),
	FLAG_FORCE, { "volumes", 0, FLAG_BOOL, "Prune anonymous volumes" }, { 0 },
};
static const struct flag_def df_flags[] = {
	FLAG_FORMAT, { "verbose", 'v', FLAG_BOOL, "Show detailed information on space usage" }, { 0 },
};

const struct command commands_prune[] = {
	{ "container prune", "[OPTIONS]", "Remove all stopped containers", container_prune_flags, 0, 0, false, cmd_container_prune },
	{ "system prune", "[OPTIONS]", "Remove unused data", system_prune_flags, 0, 0, false, cmd_system_prune },
	{ "system df", "[OPTIONS]", "Show disk usage", df_flags, 0, 0, false, cmd_df },
	{ 0 },
};
