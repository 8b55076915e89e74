/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtimes: the engine's own, those of daemon.json, and crun and runc where the machine has them. */
#include "engine/defaults.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const runtime_known[] = { "crun", "runc" };
static const char *const runtime_dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/usr/libexec" };
static const json_t *runtime_defaults;

void runtimes_set(const json_t *d)
{
	runtime_defaults = d;
}

/* Where a program of that name is; NULL. */
static char *find(const char *name)
{
	for (size_t i = 0; i < N(runtime_dirs); i++) {
		char *path = mem_printf("%s/%s", runtime_dirs[i], name);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

int runtime_path(const char *name, char **ret, struct err *e)
{
	const char *given = json_str(json_obj(json_obj(runtime_defaults, "runtimes"), name), "path", "");

	*ret = NULL;
	if (!*name || str_eq(name, "kedge"))
		return 0;
	if (*given) {
		*ret = strchr(given, '/') ? mem_strdup(given) : find(given);
		if (*ret && access(*ret, X_OK) == 0)
			return 0;
		free(*ret);
		*ret = NULL;
		return err_set(e, ERR_INVALID, "runtime %s: there is no program '%s'", name, given);
	}
	for (size_t i = 0; i < N(runtime_known); i++) {
		if (str_eq(name, runtime_known[i]) && (*ret = find(name)))
			return 0;
	}
	return err_set(e, ERR_INVALID, "unknown or invalid runtime name: %s", name);
}

/* Of Debian's packages tini and catatonit, and docker's own name for the first. All three are linked statically. */
char *runtime_init(struct err *e)
{
	static const char *const names[] = { "docker-init", "tini-static", "catatonit" };
	const char *given = json_str(runtime_defaults, "init-path", "");
	char *path = NULL;

	if (*given)
		return mem_strdup(given);
	for (size_t i = 0; i < N(names) && !path; i++)
		path = find(names[i]);
	if (!path)
		err_set(e, ERR_INVALID, "HostConfig.Init: an OCI runtime that is not kedge's own needs a static init of the host's (docker-init, tini-static or "
					"catatonit, or init-path in daemon.json), and there is none");
	return path;
}

json_t *runtimes_show(const char *own)
{
	json_t *out = json_pack("{s:{s:s}}", "kedge", "path", own), *v;
	const char *name;

	for (size_t i = 0; i < N(runtime_known); i++) {
		char *path CLEANUP(mem_freep) = find(runtime_known[i]);

		if (path)
			json_object_set_new(out, runtime_known[i], json_pack("{s:s}", "path", path));
	}
	json_object_foreach(json_obj(runtime_defaults, "runtimes"), name, v)
		json_object_set_new(out, name, json_pack("{s:s}", "path", json_str(v, "path", "")));
	return out;
}
