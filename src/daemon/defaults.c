/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/defaults.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum default_kind { DEFAULT_TEXT, DEFAULT_LIST, DEFAULT_FLAG, DEFAULT_SIZE, DEFAULT_ULIMITS, DEFAULT_RUNTIMES, DEFAULT_FEATURES, DEFAULT_ONLY };

static const struct default_def {
	const char *key;
	enum default_kind kind;
	const char *only, *why;		/* DEFAULT_ONLY: the one value, and what is to be said about others */
} default_defs[] = {
	{ "runtimes", DEFAULT_RUNTIMES }, { "default-runtime", DEFAULT_TEXT }, { "init", DEFAULT_FLAG }, { "init-path", DEFAULT_TEXT },
	{ "seccomp-profile", DEFAULT_TEXT }, { "no-new-privileges", DEFAULT_FLAG }, { "dns", DEFAULT_LIST }, { "dns-opts", DEFAULT_LIST },
	{ "dns-search", DEFAULT_LIST }, { "default-ulimits", DEFAULT_ULIMITS }, { "default-shm-size", DEFAULT_SIZE }, { "default-ipc-mode", DEFAULT_TEXT },
	{ "default-cgroupns-mode", DEFAULT_TEXT }, { "labels", DEFAULT_LIST }, { "features", DEFAULT_FEATURES },
	{ "live-restore", DEFAULT_ONLY, "true", "containers always outlive the engine" },
	{ "experimental", DEFAULT_ONLY, "false", "there are no experimental features" },
	{ "selinux-enabled", DEFAULT_ONLY, "false", "SELinux labels are not supported" },
	{ "storage-driver", DEFAULT_ONLY, "overlay2", "overlay is the only one" },
	{ "exec-opts", DEFAULT_ONLY, "native.cgroupdriver=cgroupfs", "the engine makes the cgroups itself" },
	{ "shutdown-timeout", DEFAULT_ONLY, NULL, "no container is stopped when the engine stops, they go on" },
};

static const struct default_def *default_find(const char *key)
{
	size_t i = 0;

	while (i < N(default_defs) && !str_eq(default_defs[i].key, key))
		i++;
	return i < N(default_defs) ? &default_defs[i] : NULL;
}

bool defaults_is_flag(const char *key)
{
	const struct default_def *d = default_find(key);

	return d && (d->kind == DEFAULT_FLAG || (d->kind == DEFAULT_ONLY && d->only && (str_eq(d->only, "true") || str_eq(d->only, "false"))));
}

static int default_wrong(const char *key, const char *what, struct err *e)
{
	return err_set(e, ERR_INVALID, "'%s' is not %s", key, what);
}

static int default_only(const struct default_def *d, const char *text, struct err *e)
{
	if (d->only && str_eq(d->only, text))
		return 0;
	return err_set(e, ERR_INVALID, "'%s': '%.100s' is not supported: %s", d->key, text, d->why);
}

static int default_words(json_t *defaults, const char *key, const json_t *value, struct err *e)
{
	json_t *v;
	size_t i;

	if (!json_is_array(value))
		return default_wrong(key, "a list of strings", e);
	json_array_foreach((json_t *)value, i, v) {
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
			return default_wrong(key, "a list of strings", e);
	}
	json_object_set(defaults, key, (json_t *)value);
	return 0;
}

static int default_ulimits(json_t *defaults, const char *key, const json_t *value, struct err *e)
{
	const char *name;
	json_t *v;

	if (!json_is_object(value))
		return default_wrong(key, "an object of limits", e);
	json_object_foreach((json_t *)value, name, v) {
		if (!json_is_integer(json_object_get(v, "Hard")) || !json_is_integer(json_object_get(v, "Soft")) || !str_eq(json_str(v, "Name", name), name))
			return err_set(e, ERR_INVALID, "'%s': '%.60s' needs its Name, a Soft and a Hard limit", key, name);
	}
	json_object_set(defaults, key, (json_t *)value);
	return 0;
}

static int default_runtimes(json_t *defaults, const char *key, const json_t *value, struct err *e)
{
	const char *name, *other;
	json_t *v, *w;

	if (!json_is_object(value))
		return default_wrong(key, "an object of runtimes", e);
	json_object_foreach((json_t *)value, name, v) {
		if (!json_is_object(v) || !*json_str(v, "path", ""))
			return err_set(e, ERR_INVALID, "'%s': '%.60s' has no path", key, name);
		json_object_foreach(v, other, w) {
			if (str_eq(other, "path") || (str_eq(other, "runtimeArgs") && !json_array_size(w)))
				continue;
			return err_set(e, ERR_INVALID, "'%s': '%.60s' of '%.60s' is not supported: name a program that takes an OCI runtime's command line", key, other, name);
		}
	}
	json_object_set(defaults, key, (json_t *)value);
	return 0;
}

/* What dockerd can switch on, and is off here. */
static int default_features(const char *key, const json_t *value, struct err *e)
{
	const char *name;
	json_t *v;

	if (!json_is_object(value))
		return default_wrong(key, "an object of true and false", e);
	json_object_foreach((json_t *)value, name, v) {
		if (!json_is_boolean(v))
			return err_set(e, ERR_INVALID, "'%s': '%.60s' is neither true nor false", key, name);
		if (json_is_true(v) || (!str_eq(name, "buildkit") && !str_eq(name, "containerd-snapshotter")))
			return err_set(e, ERR_INVALID, "'%s': there is no feature '%.60s'", key, name);
	}
	return 0;
}

int defaults_put(json_t *defaults, const char *key, const json_t *value, struct err *e)
{
	const struct default_def *d = default_find(key);
	char *text;
	uint64_t n;
	int rc;

	if (!d)
		return err_set(e, ERR_INVALID, "unknown key '%s'", key);
	switch (d->kind) {
	case DEFAULT_TEXT:
		if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
			return default_wrong(key, "a string", e);
		if (json_string_length(value))
			json_object_set(defaults, key, (json_t *)value);
		return 0;
	case DEFAULT_LIST:
		return default_words(defaults, key, value, e);
	case DEFAULT_FLAG:
		if (!json_is_boolean(value))
			return default_wrong(key, "true or false", e);
		json_object_set(defaults, key, (json_t *)value);
		return 0;
	case DEFAULT_SIZE:
		if (json_is_integer(value) && json_integer_value(value) > 0)
			n = (uint64_t)json_integer_value(value);
		else if (!json_is_string(value) || str_to_size(json_string_value(value), &n) < 0 || n == 0 || n > INT64_MAX)
			return default_wrong(key, "a size", e);
		json_object_set_new(defaults, key, json_integer((json_int_t)n));
		return 0;
	case DEFAULT_ULIMITS:
		return default_ulimits(defaults, key, value, e);
	case DEFAULT_RUNTIMES:
		return default_runtimes(defaults, key, value, e);
	case DEFAULT_FEATURES:
		return default_features(key, value, e);
	case DEFAULT_ONLY:
		if (json_is_string(value))
			return default_only(d, json_string_value(value), e);
		if (json_array_size(value) == 1 && json_is_string(json_array_get(value, 0)))
			return default_only(d, json_string_value(json_array_get(value, 0)), e);
		text = json_text(value);
		rc = default_only(d, text, e);
		free(text);
		return rc;
	}
	return 0;
}

static json_t *default_sub(json_t *defaults, const char *key, json_t *fresh)
{
	json_t *at = json_object_get(defaults, key);

	if (at) {
		json_decref(fresh);
		return at;
	}
	json_object_set_new(defaults, key, fresh);
	return fresh;
}

/* "nofile=1024:2048" */
static int default_ulimit_text(json_t *defaults, const char *key, const char *text, struct err *e)
{
	char *name CLEANUP(mem_freep) = mem_strdup(text), *value = strchr(name, '='), *hard = value ? strchr(value, ':') : NULL;
	int64_t soft_n, hard_n;

	if (value)
		*value++ = '\0';
	if (hard)
		*hard++ = '\0';
	if (!value || !*name || str_to_i64(value, -1, INT64_MAX, &soft_n) < 0 || str_to_i64(hard ? hard : value, -1, INT64_MAX, &hard_n) < 0)
		return err_set(e, ERR_INVALID, "'%s': '%.60s' is not NAME=SOFT[:HARD]", key, text);
	json_object_set_new(default_sub(defaults, key, json_object()), name,
			    json_pack("{s:s, s:I, s:I}", "Name", name, "Hard", (json_int_t)hard_n, "Soft", (json_int_t)soft_n));
	return 0;
}

int defaults_put_text(json_t *defaults, const char *key, const char *text, struct err *e)
{
	const struct default_def *d = default_find(key);
	const char *eq = text ? strchr(text, '=') : NULL;
	char *name CLEANUP(mem_freep) = NULL;
	json_t *v = NULL;
	int rc;

	if (!d)
		return err_set(e, ERR_INVALID, "unknown key '%s'", key);
	switch (d->kind) {
	case DEFAULT_LIST:
		v = json_string(text);
		if (!v)
			return default_wrong(key, "UTF-8", e);
		json_array_append_new(default_sub(defaults, key, json_array()), v);
		return 0;
	case DEFAULT_ULIMITS:
		return default_ulimit_text(defaults, key, text, e);
	case DEFAULT_RUNTIMES:
		if (!eq || eq == text || !eq[1])
			return err_set(e, ERR_INVALID, "'%s': '%.60s' is not NAME=PATH", key, text);
		name = mem_strndup(text, (size_t)(eq - text));
		json_object_set_new(default_sub(defaults, key, json_object()), name, json_pack("{s:s}", "path", eq + 1));
		return 0;
	case DEFAULT_FEATURES:
		return err_set(e, ERR_INVALID, "there is no feature '%.60s'", text);
	case DEFAULT_FLAG:
		if (text && !str_eq(text, "true") && !str_eq(text, "false"))
			return default_wrong(key, "true or false", e);
		v = json_boolean(!str_eq(text ? text : "true", "false"));
		break;
	case DEFAULT_ONLY:
		return default_only(d, text ? text : "true", e);
	case DEFAULT_TEXT:
	case DEFAULT_SIZE:
		v = json_string(text);
		if (!v)
			return default_wrong(key, "UTF-8", e);
		break;
	}
	rc = defaults_put(defaults, key, v, e);
	json_decref(v);
	return rc;
}
