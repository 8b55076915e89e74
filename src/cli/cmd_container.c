/* SPDX-License-Identifier: Apache-2.0 */
/* stop, restart, kill, pause, unpause, rm, wait, rename, top, port */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"

static int post(struct cli *c, const char *id, const char *what, const char *key, const char *value, const char *key2, const char *value2, struct err *e)
{
	char *head CLEANUP(mem_freep) = cli_path("/containers/", id, what);
	struct buf path CLEANUP(buf_done) = BUF_INIT;

	buf_adds(&path, head);
	if (!str_empty(value))
		cli_query(&path, key, value);
	if (!str_empty(value2))
		cli_query(&path, key2, value2);
	return cli_call(c, "POST", path.data, NULL, NULL, e) < 0 ? -1 : 0;
}

static int timed(struct cli *c, struct flags *f, const char *id, const char *what, struct err *e)
{
	char number[32] = "";

	if (flag_given(f, "timeout") || flag_given(f, "time"))
		snprintf(number, sizeof(number), "%lld", (long long)flag_int(f, flag_given(f, "timeout") ? "timeout" : "time"));
	return post(c, id, what, "t", number, "signal", flag_str(f, "signal"), e);
}

static int stop_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	return timed(c, f, id, "/stop", e);
}

static int restart_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	return timed(c, f, id, "/restart", e);
}

static int kill_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	return post(c, id, "/kill", "signal", flag_str(f, "signal"), NULL, NULL, e);
}

static int pause_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	(void)f;
	return post(c, id, "/pause", NULL, NULL, NULL, NULL, e);
}

static int unpause_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	(void)f;
	return post(c, id, "/unpause", NULL, NULL, NULL, NULL, e);
}

static int rm_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	char *head CLEANUP(mem_freep) = NULL;
	struct buf path CLEANUP(buf_done) = BUF_INIT;

	while (*id == '/')
		id++;
	if (!*id)
		return err_set(e, ERR_INVALID, "container name cannot be empty");
	head = cli_path("/containers/", id, "");
	buf_adds(&path, head);
	if (flag_bool(f, "force"))
		cli_query(&path, "force", "1");
	if (flag_bool(f, "volumes"))
		cli_query(&path, "v", "1");
	if (flag_bool(f, "link"))
		cli_query(&path, "link", "1");
	return cli_call(c, "DELETE", path.data, NULL, NULL, e) < 0 ? -1 : 0;
}

static int cmd_stop(struct cli *c, struct flags *f)
{
	return cli_each(c, f, stop_one, true);
}

static int cmd_restart(struct cli *c, struct flags *f)
{
	return cli_each(c, f, restart_one, true);
}

static int cmd_kill(struct cli *c, struct flags *f)
{
	return cli_each(c, f, kill_one, true);
}

static int cmd_pause(struct cli *c, struct flags *f)
{
	return cli_each(c, f, pause_one, true);
}

static int cmd_unpause(struct cli *c, struct flags *f)
{
	return cli_each(c, f, unpause_one, true);
}

/* rm -f of what is not there has reached its goal: the sentence is printed, the status is 0. */
static int cmd_rm(struct cli *c, struct flags *f)
{
	int failed = 0;

	for (int i = 0; i < f->argc; i++) {
		struct err e = { 0 };

		if (rm_one(c, f, f->args[i], &e) == 0) {
			printf("%s\n", f->args[i]);
			fflush(stdout);
		} else {
			failed |= !(flag_bool(f, "force") && e.kind == ERR_NOT_FOUND);
			fprintf(stderr, "%s\n", e.msg);
		}
	}
	return failed;
}

static int wait_one(struct cli *c, struct flags *f, const char *id, struct err *e)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", id, "/wait");
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;

	(void)f;
	if (cli_call(c, "POST", path, NULL, &reply, e) < 0)
		return -1;
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", e);
	if (!doc)
		return -1;
	printf("%lld\n", (long long)json_i64(doc, "StatusCode", -1));
	return 0;
}

static int cmd_wait(struct cli *c, struct flags *f)
{
	return cli_each(c, f, wait_one, false);
}

static int cmd_rename(struct cli *c, struct flags *f)
{
	const char *from = f->args[0], *to = f->args[1];
	struct err e = { 0 };

	if (!*from || !*to) {
		fprintf(stderr, "Error: Neither old nor new names may be empty\n");
		return 1;
	}
	if (post(c, from, "/rename", "name", to, NULL, NULL, &e) < 0) {
		fprintf(stderr, "%s\nError: failed to rename container named %s\n", e.msg, from);
		return 1;
	}
	return 0;
}

static int cmd_top(struct cli *c, struct flags *f)
{
	char *head CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/top");
	struct buf path CLEANUP(buf_done) = BUF_INIT, args CLEANUP(buf_done) = BUF_INIT, text CLEANUP(buf_done) = BUF_INIT, laid CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *row;
	struct err e = { 0 };
	const char *cell;
	size_t i;

	for (int k = 1; k < f->argc; k++)
		buf_printf(&args, "%s%s", k > 1 ? " " : "", f->args[k]);
	buf_adds(&path, head);
	if (args.len)
		cli_query(&path, "ps_args", args.data);
	doc = cli_get(c, path.data, &e);
	if (!doc)
		return cli_fail(&e);
	for (i = 0; (cell = json_at(json_arr(doc, "Titles"), i)); i++)
		buf_printf(&text, "%s%s", i ? "\t" : "", cell);
	buf_addc(&text, '\n');
	json_array_foreach(json_arr(doc, "Processes"), i, row) {
		for (size_t k = 0; (cell = json_at(row, k)); k++)
			buf_printf(&text, "%s%s", k ? "\t" : "", cell);
		buf_addc(&text, '\n');
	}
	render_table_wide(&laid, text.data, text.len);
	cli_out(&laid);
	return 0;
}

/* "80/tcp" sorts by number, then protocol, then address: what a reader looks for. */
static int line_order(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	long m = strtol(x, NULL, 10), n = strtol(y, NULL, 10);

	return m != n ? (m < n ? -1 : 1) : strcmp(x, y);
}

static void host_port(struct buf *b, const json_t *binding)
{
	const char *ip = json_str(binding, "HostIp", ""), *port = json_str(binding, "HostPort", "");

	buf_printf(b, strchr(ip, ':') ? "[%s]:%s\n" : "%s:%s\n", ip, port);
}

static int cmd_port(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/json");
	struct err e = { 0 };
	json_t *doc CLEANUP(json_freep) = cli_get(c, path, &e), *ports = json_obj(json_obj(doc, "NetworkSettings"), "Ports"), *list, *bind;
	struct buf out CLEANUP(buf_done) = BUF_INIT, line CLEANUP(buf_done) = BUF_INIT;
	char **lines CLEANUP(strv_freep) = NULL, *want CLEANUP(mem_freep) = NULL;
	const char *key;
	size_t i, n = 0;

	if (!doc)
		return cli_fail(&e);
	if (f->argc == 2) {
		uint64_t number;
		char *slash;

		want = mem_printf(strchr(f->args[1], '/') ? "%s" : "%s/tcp", f->args[1]);
		slash = strchr(want, '/');
		*slash = '\0';
		if (str_to_u64(want, 0, 65535, &number) < 0) {
			fprintf(stderr, "Error: invalid port (%s)\n", f->args[1]);
			return 1;
		}
		*slash = '/';
		list = json_object_get(ports, want);
		if (!json_array_size(list)) {
			fprintf(stderr, "Error: No public port '%s' published for %s\n", f->args[1], f->args[0]);
			return 1;
		}
		json_array_foreach(list, i, bind)
			host_port(&out, bind);
		cli_out(&out);
		return 0;
	}
	json_object_foreach(ports, key, list)
		n += json_array_size(list);
	lines = mem_zalloc((n + 1) * sizeof(*lines));	/* with its end: there may be thousands */
	n = 0;
	json_object_foreach(ports, key, list) {
		json_array_foreach(list, i, bind) {
			buf_reset(&line);
			buf_printf(&line, "%s -> ", key);
			host_port(&line, bind);
			lines[n++] = mem_strdup(line.data);
		}
	}
	qsort(lines, n, sizeof(*lines), line_order);
	for (i = 0; lines[i]; i++)
		buf_adds(&out, lines[i]);
	cli_out(&out);
	return 0;
}

#define SIGNAL(text) { "signal", 's', FLAG_STRING, text }
#define TIMEOUT { "timeout", 't', FLAG_INT, "Seconds to wait before killing the container" }, { "time", 0, FLAG_INT, "Seconds to wait", .hidden = true }
static const struct flag_def stop_flags[] = { SIGNAL("Signal to send to the container"), TIMEOUT, { 0 } };
static const struct flag_def kill_flags[] = { SIGNAL("Signal to send to the container"), { 0 } };
static const struct flag_def rm_flags[] = {
	{ "force", 'f', FLAG_BOOL, "Force the removal of a running container (uses SIGKILL)" }, { "link", 'l', FLAG_BOOL, "Remove the specified link" },
	{ "volumes", 'v', FLAG_BOOL, "Remove anonymous volumes associated with the container" }, { 0 },
};

const struct command commands_container[] = {
	{ "container stop,stop", "[OPTIONS] CONTAINER [CONTAINER...]", "Stop one or more running containers", stop_flags, 1, -1, false, cmd_stop },
	{ "container restart,restart", "[OPTIONS] CONTAINER [CONTAINER...]", "Restart one or more containers", stop_flags, 1, -1, false, cmd_restart },
	{ "container kill,kill", "[OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers", kill_flags, 1, -1, false, cmd_kill },
	{ "container pause,pause", "CONTAINER [CONTAINER...]", "Pause all processes within one or more containers", flags_none, 1, -1, false, cmd_pause },
	{ "container unpause,unpause", "CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers", flags_none, 1, -1, false, cmd_unpause },
	{ "container rm,container remove,rm", "[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers", rm_flags, 1, -1, false, cmd_rm },
	{ "container wait,wait", "CONTAINER [CONTAINER...]", "Block until one or more containers stop, then print their exit codes", flags_none, 1, -1, false, cmd_wait },
	{ "container rename,rename", "CONTAINER NEW_NAME", "Rename a container", flags_none, 2, 2, false, cmd_rename },
	{ "container top,top", "CONTAINER [ps OPTIONS]", "Display the running processes of a container", flags_none, 1, -1, true, cmd_top },
	{ "container port,port", "CONTAINER [PRIVATE_PORT[/PROTO]]", "List port mappings or a specific mapping for the container", flags_none, 1, 2, false, cmd_port },
	{ 0 },
};
