/* SPDX-License-Identifier: Apache-2.0 */
/* ps, images: the lists with a row for each object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

enum { SHORT_ID = 12, COMMAND_WIDTH = 20, MOUNT_WIDTH = 15 };

static void put(json_t *row, const char *key, struct buf *b)
{
	json_object_set_new(row, key, json_bytes(b->data ? b->data : "", b->len));
	buf_reset(b);
}

static void put_str(json_t *row, const char *key, const char *s)
{
	json_object_set_new(row, key, json_bytes(s, strlen(s)));
}

/* ps */

/* The names without the slash; the aliases of links ("/a/b") go unless all is to be seen. */
static void names(struct buf *b, const json_t *list, bool all)
{
	const char *name;

	for (size_t i = 0; (name = json_at(list, i)); i++) {
		name += *name == '/';
		if (!all && strchr(name, '/'))
			continue;
		buf_printf(b, "%s%s", b->len ? "," : "", name);
	}
}

static void image_name(struct buf *b, const json_t *o, bool no_trunc)
{
	const char *image = json_str(o, "Image", ""), *id = json_str(o, "ImageID", "");

	if (!*image)
		buf_adds(b, "<no image>");
	else if (!no_trunc && str_eq(image, id))
		buf_printf(b, "%.*s", SHORT_ID, str_starts(id, "sha256:") ? id + 7 : id);
	else
		buf_adds(b, image);
}

static int text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "a=1,b=2" by name. */
static void labels(struct buf *b, json_t *map)
{
	const char **keys = mem_zalloc((json_object_size(map) + 1) * sizeof(*keys)), *key;
	json_t *v;
	size_t n = 0;

	json_object_foreach(map, key, v)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), text_order);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s%s=%s", i ? "," : "", keys[i], json_str(map, keys[i], ""));
	free(keys);
}

static void mounts(struct buf *b, const json_t *list, bool no_trunc)
{
	json_t *m;
	size_t i;

	json_array_foreach(list, i, m) {
		const char *name = json_str(m, "Name", "");

		if (!*name)
			name = json_str(m, "Source", "");
		if (i)
			buf_addc(b, ',');
		render_ellipsis(b, name, no_trunc ? SIZE_MAX : MOUNT_WIDTH);
	}
}

static json_t *ps_row(const json_t *o, bool no_trunc)
{
	json_t *row = json_object(), *nets = json_obj(json_obj(o, "NetworkSettings"), "Networks"), *net, *m;
	int64_t created = json_i64(o, "Created", 0);
	struct buf b CLEANUP(buf_done) = BUF_INIT, cmd CLEANUP(buf_done) = BUF_INIT;
	const char *id = json_str(o, "Id", ""), *key;
	size_t i, volumes = 0;

	buf_printf(&b, "%.*s", no_trunc ? 64 : SHORT_ID, id);
	put(row, "ID", &b);
	names(&b, json_arr(o, "Names"), no_trunc);
	put(row, "Names", &b);
	image_name(&b, o, no_trunc);
	put(row, "Image", &b);
	render_ellipsis(&cmd, json_str(o, "Command", ""), no_trunc ? SIZE_MAX : COMMAND_WIDTH);
	render_quote(&b, cmd.data ? cmd.data : "");
	put(row, "Command", &b);
	render_time(&b, created);
	put(row, "CreatedAt", &b);
	render_ago(&b, created, clock_wall() / 1000000000);
	put(row, "RunningFor", &b);
	render_ports(&b, json_arr(o, "Ports"));
	put(row, "Ports", &b);
	put_str(row, "State", json_str(o, "State", ""));
	put_str(row, "Status", json_str(o, "Status", ""));
	render_size(&b, (double)json_i64(o, "SizeRw", 0));
	if (json_i64(o, "SizeRootFs", 0) > 0) {
		buf_adds(&b, " (virtual ");
		render_size(&b, (double)json_i64(o, "SizeRootFs", 0));
		buf_addc(&b, ')');
	}
	put(row, "Size", &b);
	labels(&b, json_obj(o, "Labels"));
	put(row, "Labels", &b);
	mounts(&b, json_arr(o, "Mounts"), no_trunc);
	put(row, "Mounts", &b);
	json_array_foreach(json_arr(o, "Mounts"), i, m)
		volumes += str_eq(json_str(m, "Driver", ""), "local");
	buf_printf(&b, "%zu", volumes);
	put(row, "LocalVolumes", &b);
	json_object_foreach(nets, key, net)
		buf_printf(&b, "%s%s", b.len ? "," : "", key);
	put(row, "Networks", &b);
	json_object_set_new(row, "Platform", json_null());
	return row;
}

static const struct format_column ps_columns[] = {
	{ "ID", "CONTAINER ID" }, { "Names", "NAMES" }, { "Image", "IMAGE" }, { "Command", "COMMAND" }, { "CreatedAt", "CREATED AT" },
	{ "RunningFor", "CREATED" }, { "Ports", "PORTS" }, { "State", "STATE" }, { "Status", "STATUS" }, { "Size", "SIZE" },
	{ "Labels", "LABELS" }, { "Mounts", "MOUNTS" }, { "LocalVolumes", "LOCAL VOLUMES" }, { "Networks", "NETWORKS" }, { NULL, NULL },
};

/* {{.Label "key"}}; in the header line its last word. */
static json_t *label_method(void *user, const char *name, json_t *const *args, size_t n)
{
	const char *key = n == 1 ? json_string_value(args[0]) : NULL, *last;
	json_t *v;
	struct buf b CLEANUP(buf_done) = BUF_INIT;

	if (!str_eq(name, "Label") || !key)
		return NULL;
	if (user) {
		v = json_object_get(user, key);
		return json_is_string(v) ? json_incref(v) : json_string("");
	}
	last = strrchr(key, '.');
	for (last = last ? last + 1 : key; *last; last++)
		buf_addc(&b, *last == '-' || *last == '_' ? ' ' : *last);
	return json_bytes(b.data ? b.data : "", b.len);
}

static int cmd_ps(struct cli *c, struct flags *f)
{
	const char *text = flag_str(f, "format");
	bool latest = flag_bool(f, "latest"), size = flag_bool(f, "size") || strstr(text, ".Size");
	struct format fmt = { .columns = ps_columns, .type = "*formatter.ContainerContext", .method = label_method };
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	json_t *list CLEANUP(json_freep) = NULL, *o;
	int64_t last = latest ? 1 : flag_int(f, "last");
	struct err e = { 0 };
	char number[32];
	bool ok = true;
	size_t i;

	if (flag_bool(f, "quiet") && !*text)
		text = "{{.ID}}";
	buf_adds(&path, "/containers/json");
	if (flag_bool(f, "all") || last > 0)
		cli_query(&path, "all", "1");
	if (last > 0) {
		snprintf(number, sizeof(number), "%lld", (long long)last);
		cli_query(&path, "limit", number);
	}
	if (size)
		cli_query(&path, "size", "1");
	if (cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 ||
	    format_open(&fmt, text, flag_bool(f, "size") ? "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
					    : "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}", &e) < 0)
		return cli_fail(&e);
	list = cli_get(c, path.data, &e);
	ok = list;
	for (i = 0; ok && (o = json_array_get(list, i)); i++) {
		fmt.labels = json_obj(o, "Labels");
		ok = format_row(&fmt, ps_row(o, flag_bool(f, "no-trunc")), &e) == 0;
	}
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

/* images */

static const struct format_column image_columns[] = {
	{ "ID", "IMAGE ID" }, { "Repository", "REPOSITORY" }, { "Tag", "TAG" }, { "Digest", "DIGEST" }, { "CreatedSince", "CREATED" },
	{ "CreatedAt", "CREATED AT" }, { "Size", "SIZE" }, { "Containers", "CONTAINERS" }, { "VirtualSize", "SIZE" },
	{ "SharedSize", "SHARED SIZE" }, { "UniqueSize", "UNIQUE SIZE" }, { NULL, NULL },
};

static json_t *image_row(const json_t *o, const char *repo, const char *tag, const char *digest, bool no_trunc)
{
	json_t *row = json_object();
	int64_t created = json_i64(o, "Created", 0), n = json_i64(o, "Containers", -1);
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	const char *id = json_str(o, "Id", "");
	char size[32];

	if (!no_trunc && str_starts(id, "sha256:"))
		id += 7;
	buf_printf(&b, "%.*s", no_trunc ? 80 : SHORT_ID, id);
	put(row, "ID", &b);
	put_str(row, "Repository", repo);
	put_str(row, "Tag", tag);
	put_str(row, "Digest", digest);
	render_ago(&b, created, clock_wall() / 1000000000);
	put(row, "CreatedSince", &b);
	render_time(&b, created);
	put(row, "CreatedAt", &b);
	render_size(&b, (double)json_i64(o, "Size", 0));
	put(row, "Size", &b);
	buf_adds(&b, str_human_size((uint64_t)json_i64(o, "Size", 0), size, sizeof(size)));
	put(row, "VirtualSize", &b);
	if (n < 0)
		buf_adds(&b, "N/A");
	else
		buf_printf(&b, "%lld", (long long)n);
	put(row, "Containers", &b);
	put_str(row, "SharedSize", "N/A");
	put_str(row, "UniqueSize", "N/A");
	return row;
}

/* The digest of repo among RepoDigests ("repo@sha256:..."), or "<none>". */
static const char *digest_of(const json_t *o, const char *repo)
{
	size_t n = strlen(repo);
	const char *d;

	for (size_t i = 0; (d = json_at(json_arr(o, "RepoDigests"), i)); i++) {
		if (!strncmp(d, repo, n) && d[n] == '@')
			return d + n + 1;
	}
	return "<none>";
}

static int image_rows(struct format *fmt, const json_t *o, bool no_trunc, struct err *e)
{
	const json_t *tags = json_arr(o, "RepoTags"), *digests = json_arr(o, "RepoDigests");
	const char *name = json_at(tags, 0);

	if (!name || str_eq(name, "<none>:<none>")) {
		const char *at = json_at(digests, 0), *mark = at ? strchr(at, '@') : NULL;
		char *repo CLEANUP(mem_freep) = mark ? mem_strndup(at, (size_t)(mark - at)) : mem_strdup("<none>");

		return format_row(fmt, image_row(o, repo, "<none>", mark ? mark + 1 : "<none>", no_trunc), e);
	}
	for (size_t i = 0; (name = json_at(tags, i)); i++) {
		const char *colon = strrchr(name, ':');
		char *repo CLEANUP(mem_freep) = mem_strndup(name, colon ? (size_t)(colon - name) : strlen(name));

		if (format_row(fmt, image_row(o, repo, colon ? colon + 1 : "<none>", digest_of(o, repo), no_trunc), e) < 0)
			return -1;
	}
	return 0;
}

static int cmd_images(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = image_columns, .type = "*formatter.imageContext" };
	struct buf path CLEANUP(buf_done) = BUF_INIT, ref CLEANUP(buf_done) = BUF_INIT;
	char **filters CLEANUP(strv_freep) = NULL;
	json_t *list CLEANUP(json_freep) = NULL, *o;
	bool quiet = flag_bool(f, "quiet"), no_trunc = flag_bool(f, "no-trunc"), ok;
	const char *text = flag_str(f, "format");
	struct err e = { 0 };
	size_t i;

	for (char *const *w = flag_list(f, "filter"); *w; w++)
		filters = strv_add(filters, *w);
	if (f->argc) {
		buf_printf(&ref, "reference=%s", f->args[0]);
		filters = strv_add(filters, ref.data);
	}
	if (quiet && !*text)
		text = "{{.ID}}";
	buf_adds(&path, "/images/json");
	if (flag_bool(f, "all"))
		cli_query(&path, "all", "1");
	if ((filters && cli_query_filters(&path, filters, &e) < 0) ||
	    format_open(&fmt, text, flag_bool(f, "digests") ? "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
					    : "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", &e) < 0)
		return cli_fail(&e);
	list = cli_get(c, path.data, &e);
	ok = list;
	for (i = 0; ok && (o = json_array_get(list, i)); i++)
		ok = image_rows(&fmt, o, no_trunc, &e) == 0;
	if (format_close(&fmt, ok, &e) < 0 || !ok)
		return cli_fail(&e);
	return 0;
}

static const struct flag_def ps_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Show all containers (default shows just running)" }, FLAG_FILTER, FLAG_FORMAT,
	{ "last", 'n', FLAG_INT, "Show n last created containers (includes all states)", .def = "-1" },
	{ "latest", 'l', FLAG_BOOL, "Show the latest created container (includes all states)" }, FLAG_NO_TRUNC,
	{ "quiet", 'q', FLAG_BOOL, "Only display container IDs" }, { "size", 's', FLAG_BOOL, "Display total file sizes" }, { 0 },
};

static const struct flag_def images_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Show all images (default hides intermediate images)" }, { "digests", 0, FLAG_BOOL, "Show digests" },
	FLAG_FILTER, FLAG_FORMAT, FLAG_NO_TRUNC, { "quiet", 'q', FLAG_BOOL, "Only show image IDs" }, { 0 },
};

const struct command commands_list[] = {
	{ "container ls,container list,container ps,ps", "[OPTIONS]", "List containers", ps_flags, 0, 0, false, cmd_ps },
	{ "image ls,image list,images", "[OPTIONS] [REPOSITORY[:TAG]]", "List images", images_flags, 0, 1, false, cmd_images },
	{ 0 },
};
