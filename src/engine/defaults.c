/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/defaults.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine_priv.h"
#include "engine/security.h"

enum { PROFILE_MAX = 1 << 20 };

static int check_profile(json_t *d, struct err *e)
{
	const char *path = json_str(d, "seccomp-profile", "");
	struct buf text CLEANUP(buf_done) = BUF_INIT;
	json_t *caps, *profile;
	int r;

	if (!*path || str_eq(path, "unconfined") || str_eq(path, "builtin"))
		return 0;
	r = file_read_at(AT_FDCWD, path, PROFILE_MAX, &text);
	if (r < 0)
		return err_errno(e, -r, "seccomp-profile: read %s", path);
	caps = json_array();
	profile = seccomp_profile(text.data ? text.data : "", caps, e);
	json_decref(caps);
	if (!profile)
		return err_wrap(e, "seccomp-profile %s", path);
	json_decref(profile);
	json_object_set_new(d, "seccomp", json_string(text.data));
	return 0;
}

/* What a container with nothing but the defaults would be refused for. */
static int check_host(const json_t *d, struct err *e)
{
	json_t *body = json_object(), *filled = defaults_fill(body, d), *host = json_obj(filled, "HostConfig");
	int rc = !host ? 0 : create_check_host(host, e) < 0 ? -1 : spec_check_rlimits(host, e);

	json_decref(filled);
	json_decref(body);
	return rc < 0 ? err_wrap(e, "the defaults of containers") : 0;
}

int defaults_check(json_t *d, struct err *e)
{
	const char *name, *init = json_str(d, "init-path", "");
	char *path;
	json_t *v;

	runtimes_set(d);
	json_object_foreach(json_obj(d, "runtimes"), name, v) {
		if (runtime_path(name, &path, e) < 0)
			return err_wrap(e, "runtimes");
		if (!path)
			return err_set(e, ERR_INVALID, "runtimes: '%s' is the name of the engine's own", name);
		free(path);
	}
	if (*init && (*init != '/' || access(init, X_OK) < 0))
		return err_set(e, ERR_INVALID, "init-path: '%s' is not the path of a program", init);
	if (check_profile(d, e) < 0)
		return -1;
	return check_host(d, e);
}

static void fill(json_t *host, const char *key, const json_t *d, const char *name)
{
	const json_t *v = json_object_get(host, key), *def = json_object_get(d, name);

	if (def && (!v || json_is_null(v) || (json_is_string(v) && !json_string_length(v)) || (json_is_integer(v) && !json_integer_value(v)) ||
		    (json_is_array(v) && !json_array_size(v))))
		json_object_set_new(host, key, json_deep_copy(def));
}

/* Those that the container has not named itself. */
static void fill_ulimits(json_t *host, const json_t *d)
{
	json_t *list = json_arr(host, "Ulimits") ? json_copy(json_arr(host, "Ulimits")) : json_array(), *v, *own;
	const char *name;
	size_t i;

	json_object_foreach(json_obj(d, "default-ulimits"), name, v) {
		bool named = false;

		json_array_foreach(list, i, own)
			named = named || str_eq(json_str(own, "Name", ""), name);
		if (!named)
			json_array_append_new(list, json_pack("{s:s, s:O, s:O}", "Name", name, "Hard", json_object_get(v, "Hard"), "Soft", json_object_get(v, "Soft")));
	}
	json_object_set_new(host, "Ulimits", list);
}

static void fill_security(json_t *host, const json_t *d)
{
	json_t *list = json_arr(host, "SecurityOpt") ? json_copy(json_arr(host, "SecurityOpt")) : json_array(), *v;
	const char *profile = json_str(d, "seccomp", json_str(d, "seccomp-profile", ""));
	bool seccomp = json_flag(host, "Privileged", false) || !*profile || str_eq(profile, "builtin"), nnp = !json_flag(d, "no-new-privileges", false);
	size_t i;

	json_array_foreach(list, i, v) {
		seccomp = seccomp || (json_is_string(v) && str_starts(json_string_value(v), "seccomp"));
		nnp = nnp || (json_is_string(v) && str_starts(json_string_value(v), "no-new-privileges"));
	}
	if (!seccomp)
		json_array_append_new(list, json_sprintf("seccomp=%s", profile));
	if (!nnp)
		json_array_append_new(list, json_string("no-new-privileges"));
	json_object_set_new(host, "SecurityOpt", list);
}

json_t *defaults_fill(const json_t *body, const json_t *d)
{
	static const struct { const char *key, *name; } plain[] = {
		{ "Runtime", "default-runtime" }, { "ShmSize", "default-shm-size" }, { "IpcMode", "default-ipc-mode" }, { "CgroupnsMode", "default-cgroupns-mode" },
		{ "Init", "init" },
	}, dns[] = { { "Dns", "dns" }, { "DnsOptions", "dns-opts" }, { "DnsSearch", "dns-search" } };
	const json_t *given = json_object_get(body, "HostConfig");
	json_t *out = json_copy((json_t *)body), *host;

	if (!json_object_size(d) || (given && !json_is_null(given) && !json_is_object(given)))
		return out;
	host = json_is_object(given) ? json_copy((json_t *)given) : json_object();
	for (size_t i = 0; i < N(plain); i++)
		fill(host, plain[i].key, d, plain[i].name);
	for (size_t i = 0; i < N(dns) && !str_starts(json_str(host, "NetworkMode", ""), "container:"); i++)
		fill(host, dns[i].key, d, dns[i].name);
	if (json_obj(d, "default-ulimits") && (!json_object_get(host, "Ulimits") || json_is_null(json_object_get(host, "Ulimits")) || json_arr(host, "Ulimits")))
		fill_ulimits(host, d);
	if (!json_object_get(host, "SecurityOpt") || json_is_null(json_object_get(host, "SecurityOpt")) || json_arr(host, "SecurityOpt"))
		fill_security(host, d);
	json_object_set_new(out, "HostConfig", host);
	return out;
}
