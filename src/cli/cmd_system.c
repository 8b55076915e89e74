/* SPDX-License-Identifier: Apache-2.0 */
/* version, info */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/template.h"

#define API_VERSION "1.50"

static const char *machine(void)
{
	static struct utsname u;

	if (uname(&u) < 0)
		return "";
	return str_eq(u.machine, "x86_64") ? "amd64" : str_eq(u.machine, "aarch64") ? "arm64" : u.machine;
}

static json_t *client_version(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Version", PACKAGE_VERSION, "ApiVersion", API_VERSION, "DefaultAPIVersion", API_VERSION,
			 "Os", "linux", "Arch", machine(), "Context", "default");
}

/* Runs text over doc, with a line end. */
static int print_format(const char *text, json_t *doc, struct err *e)
{
	char *plain CLEANUP(mem_freep) = str_eq(text, "json") ? mem_strdup("{{json .}}") : format_unescape(text);
	struct template *t = template_parse(plain, e);
	struct template_args a = { .dot = doc };
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	int r = -1;

	if (t)
		r = template_run(t, &a, &out, e);
	template_free(t);
	if (r < 0)
		return -1;
	buf_addc(&out, '\n');
	cli_out(&out);
	return 0;
}

static void line(struct buf *b, int indent, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void line(struct buf *b, int indent, const char *name, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_printf(b, "%*s%-*s %s\n", indent, "", 19 - indent, name, text);
}

static void version_server(struct buf *b, const json_t *s)
{
	const json_t *parts = json_arr(s, "Components"), *part;
	size_t i;

	buf_printf(b, "\nServer: %s\n Engine:\n", json_str(json_obj(s, "Platform"), "Name", ""));
	line(b, 2, "Version:", "%s", json_str(s, "Version", ""));
	line(b, 2, "API version:", "%s (minimum version %s)", json_str(s, "ApiVersion", ""), json_str(s, "MinAPIVersion", ""));
	line(b, 2, "OS/Arch:", "%s/%s", json_str(s, "Os", ""), json_str(s, "Arch", ""));
	line(b, 2, "Kernel:", "%s", json_str(s, "KernelVersion", ""));
	json_array_foreach(parts, i, part) {
		if (str_eq(json_str(part, "Name", ""), "Engine"))
			continue;
		buf_printf(b, " %s:\n", json_str(part, "Name", ""));
		line(b, 2, "Version:", "%s", json_str(part, "Version", ""));
	}
}

static int cmd_version(struct cli *c, struct flags *f)
{
	const char *format = flag_str(f, "format");
	json_t *client = client_version(), *all CLEANUP(json_freep) = json_pack("{s:o, s:n}", "Client", client, "Server"), *server = NULL;
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	bool offline = strstr(format, ".Client") && !strstr(format, "Server");
	struct err e = { 0 }, te = { 0 };

	if (!offline)
		server = cli_get(c, "/version", &e);
	if (server) {
		json_t *part;
		size_t i;

		json_array_foreach(json_arr(server, "Components"), i, part)
			json_object_set_new(part, "Details", format_sorted(json_incref(json_object_get(part, "Details"))));
		json_object_set_new(all, "Server", server);
	}
	if (*format) {
		if (print_format(format, all, &te) < 0) {
			fprintf(stderr, "%s\n", server || offline ? te.msg : e.msg);
			return server || offline ? 64 : 1;
		}
	} else {
		buf_adds(&b, "Client:\n");
		line(&b, 1, "Version:", "%s", PACKAGE_VERSION);
		line(&b, 1, "API version:", API_VERSION);
		line(&b, 1, "OS/Arch:", "linux/%s", machine());
		if (server)
			version_server(&b, server);
		cli_out(&b);
	}
	return server || offline ? 0 : cli_fail(&e);
}

/* info */

static void words(struct buf *b, const json_t *list)
{
	const char *w;

	for (size_t i = 0; (w = json_at(list, i)); i++)
		buf_printf(b, " %s", w);
}

static void info_plugins(struct buf *b, const json_t *info)
{
	const json_t *p = json_obj(info, "Plugins");

	buf_adds(b, " Plugins:\n  Volume:");
	words(b, json_arr(p, "Volume"));
	buf_adds(b, "\n  Network:");
	words(b, json_arr(p, "Network"));
	buf_adds(b, "\n  Log:");
	words(b, json_arr(p, "Log"));
	buf_addc(b, '\n');
}

static void info_security(struct buf *b, const json_t *info)
{
	const char *opt;

	buf_adds(b, " Security Options:\n");
	for (size_t i = 0; (opt = json_at(json_arr(info, "SecurityOptions"), i)); i++) {
		char **kv CLEANUP(strv_freep) = str_split(opt, ',');

		for (size_t k = 0; kv[k]; k++) {
			const char *eq = strchr(kv[k], '=');

			if (str_starts(kv[k], "name="))
				buf_printf(b, "  %s\n", kv[k] + 5);
			else if (eq)
				buf_printf(b, "   %c%.*s: %s\n", kv[k][0] >= 'a' && kv[k][0] <= 'z' ? kv[k][0] - 'a' + 'A' : kv[k][0],
					   (int)(eq - kv[k]) - 1, kv[k] + 1, eq + 1);
		}
	}
}

static void info_engine(struct buf *b, json_t *info)
{
	json_t *pair, *runtimes = json_obj(info, "Runtimes"), *v;
	const char *key;
	size_t i;

	buf_printf(b, " Containers: %lld\n", (long long)json_i64(info, "Containers", 0));
	buf_printf(b, "  Running: %lld\n", (long long)json_i64(info, "ContainersRunning", 0));
	buf_printf(b, "  Paused: %lld\n", (long long)json_i64(info, "ContainersPaused", 0));
	buf_printf(b, "  Stopped: %lld\n", (long long)json_i64(info, "ContainersStopped", 0));
	buf_printf(b, " Images: %lld\n", (long long)json_i64(info, "Images", 0));
	buf_printf(b, " Server Version: %s\n", json_str(info, "ServerVersion", ""));
	buf_printf(b, " Storage Driver: %s\n", json_str(info, "Driver", ""));
	json_array_foreach(json_arr(info, "DriverStatus"), i, pair)
		buf_printf(b, "  %s: %s\n", json_at(pair, 0) ? json_at(pair, 0) : "", json_at(pair, 1) ? json_at(pair, 1) : "");
	buf_printf(b, " Logging Driver: %s\n", json_str(info, "LoggingDriver", ""));
	buf_printf(b, " Cgroup Driver: %s\n", json_str(info, "CgroupDriver", ""));
	buf_printf(b, " Cgroup Version: %s\n", json_str(info, "CgroupVersion", ""));
	info_plugins(b, info);
	buf_printf(b, " Swarm: %s\n Runtimes:", json_str(json_obj(info, "Swarm"), "LocalNodeState", "inactive"));
	json_object_foreach(runtimes, key, v)
		buf_printf(b, " %s", key);
	buf_printf(b, "\n Default Runtime: %s\n", json_str(info, "DefaultRuntime", ""));
	info_security(b, info);
	buf_printf(b, " Kernel Version: %s\n", json_str(info, "KernelVersion", ""));
	buf_printf(b, " Operating System: %s\n", json_str(info, "OperatingSystem", ""));
	buf_printf(b, " OSType: %s\n", json_str(info, "OSType", ""));
	buf_printf(b, " Architecture: %s\n", json_str(info, "Architecture", ""));
	buf_printf(b, " CPUs: %lld\n Total Memory: ", (long long)json_i64(info, "NCPU", 0));
	render_size_binary(b, (double)json_i64(info, "MemTotal", 0));
	buf_printf(b, "\n Name: %s\n", json_str(info, "Name", ""));
	buf_printf(b, " ID: %s\n", json_str(info, "ID", ""));
	buf_printf(b, " Root Dir: %s\n", json_str(info, "DockerRootDir", ""));
	buf_printf(b, " Debug Mode: %s\n", json_flag(info, "Debug", false) ? "true" : "false");
	buf_printf(b, " Live Restore Enabled: %s\n", json_flag(info, "LiveRestoreEnabled", false) ? "true" : "false");
}

static int cmd_info(struct cli *c, struct flags *f)
{
	struct err e = { 0 };
	json_t *info CLEANUP(json_freep) = cli_get(c, "/info", &e);
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	const char *format = flag_str(f, "format"), *w;

	if (*format) {
		if (!info)
			return cli_fail(&e);
		json_object_set_new(info, "ClientInfo", client_version());
		if (print_format(format, info, &e) < 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
		return 0;
	}
	buf_printf(&b, "Client:\n Version:    %s\n Debug Mode: false\n\nServer:\n", PACKAGE_VERSION);
	if (info)
		info_engine(&b, info);
	cli_out(&b);
	if (!info)
		return cli_fail(&e);
	for (size_t i = 0; (w = json_at(json_arr(info, "Warnings"), i)); i++)
		fprintf(stderr, "%s\n", w);
	return 0;
}

static const struct flag_def format_flags[] = {
	{ "format", 'f', FLAG_STRING, "Format output using a custom template: 'json': in JSON, 'TEMPLATE': the given Go template" }, { 0 },
};

const struct command commands_system[] = {
	{ "version", "[OPTIONS]", "Show the version information", format_flags, 0, 0, false, cmd_version },
	{ "system info,info", "[OPTIONS]", "Display system-wide information", format_flags, 0, 0, false, cmd_info },
	{ 0 },
};
