/* SPDX-License-Identifier: Apache-2.0 */
/* inspect: the engine's own text, laid out, or a template over it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/template.h"

/* docker runs templates over Go types, where null is a pointer, a map or a list, and prints as such. */
static const struct template_nil nils[] = {
	{ "Health", "<nil>", true }, { "Healthcheck", "<nil>", true }, { "Init", "<nil>", true }, { "StopTimeout", "<nil>", true },
	{ "SizeRw", "<nil>", true }, { "SizeRootFs", "<nil>", true }, { "MemorySwappiness", "<nil>", false }, { "OomKillDisable", "<nil>", false },
	{ "PidsLimit", "<nil>", false }, { "IPAMConfig", "<nil>", false }, { "ImageManifestDescriptor", "<nil>", true },
	{ "Labels", "map[]", false }, { "ExposedPorts", "map[]", true }, { "Volumes", "map[]", false }, { "PortBindings", "map[]", false },
	{ "Ports", "map[]", false }, { "Networks", "map[]", false }, { "Tmpfs", "map[]", true }, { "Sysctls", "map[]", true },
	{ "StorageOpt", "map[]", true }, { "Annotations", "map[]", true }, { "Options", "map[]", false }, { "DriverOpts", "map[]", false },
	{ "Mounts", "[]", true }, { "Shell", "[]", true }, { NULL, "[]", false },
};

struct kind {
	const char *type, *before, *after, *missing;
	bool sized;
};

static const struct kind kinds[] = {
	{ "container", "/containers/", "/json", "No such container", true },
	{ "image", "/images/", "/json", "No such image", false },
	{ "network", "/networks/", "", "No such network", false },
	{ "volume", "/volumes/", "", "no such volume", false },
};

/* Reply's text into out. 0, 1 when there is no such object, -1 with e. */
static int fetch(struct cli *c, const struct kind *k, const char *name, bool size, struct buf *out, struct err *e)
{
	char *path CLEANUP(mem_freep) = cli_path(k->before, name, size && k->sized ? "/json?size=1" : k->after);

	if (cli_call(c, "GET", path, NULL, out, e) >= 0)
		return 0;
	return e->kind == ERR_NOT_FOUND ? 1 : -1;
}

static int fetch_any(struct cli *c, const char *type, const char *name, bool size, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < N(kinds); i++) {
		int r;

		if (!str_empty(type) && !str_eq(type, kinds[i].type))
			continue;
		r = fetch(c, &kinds[i], name, size, out, e);
		if (r < 0)
			return r;
		if (r == 0)
			return 0;
	}
	if (str_empty(type))
		err_set(e, ERR_NOT_FOUND, "Error: No such object: %s", name);
	return -1;
}

static int run_template(const struct template *t, const struct buf *text, struct buf *out, struct err *e)
{
	json_t *doc CLEANUP(json_freep) = json_parse(text->data ? text->data : "", text->len, "the engine's reply", e);
	struct template_args a = { .dot = doc, .nils = nils };

	if (!doc)
		return -1;
	if (template_run(t, &a, out, e) < 0)
		return err_wrap(e, "template parsing error");
	buf_addc(out, '\n');
	return 0;
}

static int inspect(struct cli *c, struct flags *f, const char *type, bool size)
{
	const char *format = flag_str(f, "format");
	struct buf all CLEANUP(buf_done) = BUF_INIT, out CLEANUP(buf_done) = BUF_INIT;
	struct template *t = NULL;
	struct err e = { 0 };
	char **errors CLEANUP(strv_freep) = NULL;
	int status = 0;

	if (*format) {
		char *plain CLEANUP(mem_freep) = str_eq(format, "json") ? mem_strdup("{{json .}}") : format_unescape(format);

		t = template_parse(plain, &e);
		if (!t) {
			fprintf(stderr, "template parsing error: %s\n", e.msg);
			return 64;
		}
	}
	buf_addc(&all, '[');
	for (int i = 0; i < f->argc; i++) {
		struct buf text CLEANUP(buf_done) = BUF_INIT;

		if (fetch_any(c, type, f->args[i], size, &text, &e) < 0 || (t && run_template(t, &text, &out, &e) < 0)) {
			errors = strv_add(errors, e.msg);
			continue;
		}
		if (all.len > 1)
			buf_addc(&all, ',');
		buf_add(&all, text.data, text.len);
	}
	buf_addc(&all, ']');
	if (!t) {
		render_indent(&out, all.data, all.len, "    ");
		buf_addc(&out, '\n');
	} else if (errors && !out.len) {
		buf_addc(&out, '\n');	/* docker ends its output with a line end in any case */
	}
	cli_out(&out);
	for (size_t i = 0; errors && errors[i]; i++) {
		fprintf(stderr, "%s\n", errors[i]);
		status = 1;
	}
	template_free(t);
	return status;
}

static int cmd_inspect(struct cli *c, struct flags *f)
{
	const char *type = flag_str(f, "type");

	if (*type) {
		size_t i = 0;

		while (i < N(kinds) && !str_eq(kinds[i].type, type))
			i++;
		if (i == N(kinds)) {
			fprintf(stderr, "unknown type: \"%s\": must be one of \"container\", \"image\", \"network\", \"volume\"\n", type);
			return 1;
		}
	}
	return inspect(c, f, type, flag_bool(f, "size"));
}

static int cmd_container_inspect(struct cli *c, struct flags *f)
{
	return inspect(c, f, "container", flag_bool(f, "size"));
}

static int cmd_image_inspect(struct cli *c, struct flags *f)
{
	return inspect(c, f, "image", false);
}

static int cmd_network_inspect(struct cli *c, struct flags *f)
{
	return inspect(c, f, "network", false);
}

static int cmd_volume_inspect(struct cli *c, struct flags *f)
{
	return inspect(c, f, "volume", false);
}

#define FORMAT { "format", 'f', FLAG_STRING, "Format output using a custom template: 'json': in JSON, 'TEMPLATE': the given Go template" }
#define SIZE { "size", 's', FLAG_BOOL, "Display total file sizes if the type is container" }
static const struct flag_def inspect_flags[] = { FORMAT, SIZE, { "type", 0, FLAG_STRING, "Only inspect objects of the given type" }, { 0 } };
static const struct flag_def container_flags[] = { FORMAT, SIZE, { 0 } };
static const struct flag_def object_flags[] = { FORMAT, { 0 } };
static const struct flag_def network_flags[] = { FORMAT, { "verbose", 'v', FLAG_BOOL, "Verbose output for diagnostics" }, { 0 } };

const struct command commands_inspect[] = {
	{ "inspect", "[OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on kedge's objects", inspect_flags, 1, -1, false, cmd_inspect },
	{ "container inspect", "[OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on one or more containers", container_flags, 1, -1, false, cmd_container_inspect },
	{ "image inspect", "[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", object_flags, 1, -1, false, cmd_image_inspect },
	{ "network inspect", "[OPTIONS] NETWORK [NETWORK...]", "Display detailed information on one or more networks", network_flags, 1, -1, false, cmd_network_inspect },
	{ "volume inspect", "[OPTIONS] VOLUME [VOLUME...]", "Display detailed information on one or more volumes", object_flags, 1, -1, false, cmd_volume_inspect },
	{ 0 },
};
