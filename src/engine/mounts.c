/* SPDX-License-Identifier: Apache-2.0 */
/* What users say about mounts (-v, --mount, --tmpfs) into OCI mounts. */
#include "engine/engine_priv.h"

#include <string.h>

static json_t *bind_object(const char *src, const char *dst, json_t *options_take)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", dst, "type", "bind", "source", src, "options", options_take);
}

static bool path_ok(const char *p)
{
	return *p == '/' && !strstr(p, "/../") && !str_ends(p, "/..");
}

json_t *spec_bind(const char *bind, struct err *e)
{
	char **part = str_split(bind, ':'), **opt = NULL;
	size_t n = strv_len(part);
	json_t *options = NULL, *ret = NULL;
	const char *propagation = "rprivate", *mode = "rw";

	if (n < 2 || n > 3 || str_empty(part[0]) || str_empty(part[1])) {
		err_set(e, ERR_INVALID, "invalid volume specification: '%s'", bind);
		goto out;
	}
	if (*part[0] != '/') {
		err_set(e, ERR_INVALID, "invalid volume specification: '%s': \"%s\" is not an absolute path, and named volumes are not supported", bind, part[0]);
		goto out;
	}
	if (!path_ok(part[1]) || str_eq(part[1], "/")) {
		err_set(e, ERR_INVALID, "invalid volume specification: '%s': the mount path \"%s\" must be absolute and not '/'", bind, part[1]);
		goto out;
	}
	options = json_array();
	opt = n == 3 ? str_split(part[2], ',') : NULL;
	for (size_t i = 0; opt && opt[i]; i++) {
		if (str_eq(opt[i], "ro") || str_eq(opt[i], "rw")) {
			mode = opt[i];
		} else if (str_eq(opt[i], "rprivate") || str_eq(opt[i], "private") || str_eq(opt[i], "rslave") || str_eq(opt[i], "slave") ||
			   str_eq(opt[i], "rshared") || str_eq(opt[i], "shared")) {
			propagation = opt[i];
		} else if (strcmp(opt[i], "z") && strcmp(opt[i], "Z") && strcmp(opt[i], "nocopy") && strcmp(opt[i], "consistent") &&
			   strcmp(opt[i], "cached") && strcmp(opt[i], "delegated")) {
			err_set(e, ERR_INVALID, "invalid volume specification: '%s': invalid mode: %s", bind, part[2]);
			goto out;
		}
	}
	json_array_append_new(options, json_string("rbind"));
	json_array_append_new(options, json_string(propagation));
	json_array_append_new(options, json_string(mode));
	ret = bind_object(part[0], part[1], TAKE(options));
out:
	json_decref(options);
	strv_free(part);
	strv_free(opt);
	return ret;
}

json_t *spec_tmpfs(const char *target, const char *options, struct err *e)
{
	static const char *const known[] = { "rw", "ro", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "noatime", "relatime", "nodiratime", "sync" };
	char **opt = str_empty(options) ? NULL : str_split(options, ',');
	json_t *list = json_array();

	if (!path_ok(target) || str_eq(target, "/")) {
		err_set(e, ERR_INVALID, "invalid tmpfs path \"%s\": it must be absolute and not '/'", target);
		goto fail;
	}
	json_array_append_new(list, json_string("noexec"));
	json_array_append_new(list, json_string("nosuid"));
	json_array_append_new(list, json_string("nodev"));
	for (size_t i = 0; opt && opt[i]; i++) {
		bool ok = str_starts(opt[i], "size=") || str_starts(opt[i], "mode=") || str_starts(opt[i], "uid=") || str_starts(opt[i], "gid=") ||
			  str_starts(opt[i], "nr_inodes=") || str_starts(opt[i], "nr_blocks=");

		for (size_t k = 0; k < N(known); k++)
			ok = ok || str_eq(opt[i], known[k]);
		if (!ok) {
			err_set(e, ERR_INVALID, "invalid tmpfs option \"%s\" for %s", opt[i], target);
			goto fail;
		}
		json_array_append_new(list, json_string(opt[i]));
	}
	strv_free(opt);
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", "tmpfs", "source", "tmpfs", "options", list);
fail:
	strv_free(opt);
	json_decref(list);
	return NULL;
}

json_t *spec_mount(const json_t *m, struct err *e)
{
	const char *type = json_str(m, "Type", ""), *src = json_str(m, "Source", ""), *dst = json_str(m, "Target", "");
	const json_t *bo = json_obj(m, "BindOptions"), *to = json_obj(m, "TmpfsOptions");
	const char *propagation = json_str(bo, "Propagation", "");
	bool ro = json_flag(m, "ReadOnly", false);

	if (!json_is_object(m) || !path_ok(dst) || str_eq(dst, "/")) {
		err_set(e, ERR_INVALID, "invalid mount config: the target \"%s\" must be an absolute path and not '/'", dst);
		return NULL;
	}
	if (str_eq(type, "tmpfs")) {
		char text[96] = "";
		int64_t size = json_i64(to, "SizeBytes", 0), mode = json_i64(to, "Mode", 0);

		if (*src) {
			err_set(e, ERR_INVALID, "invalid mount config for type \"tmpfs\": field Source must not be specified");
			return NULL;
		}
		snprintf(text, sizeof(text), "%s", ro ? "ro" : "rw");
		if (size > 0)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), ",size=%lld", (long long)size);
		if (mode > 0)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), ",mode=%llo", (unsigned long long)mode & 07777);
		return spec_tmpfs(dst, text, e);
	}
	if (!str_eq(type, "bind")) {
		err_set(e, ERR_INVALID, "mount type \"%s\" is not supported", type);
		return NULL;
	}
	if (*src != '/') {
		err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute", src);
		return NULL;
	}
	if (*propagation && !strv_has((char *const[]){ "private", "rprivate", "shared", "rshared", "slave", "rslave", NULL }, propagation)) {
		err_set(e, ERR_INVALID, "invalid mount config: invalid propagation \"%s\"", propagation);
		return NULL;
	}
	return bind_object(src, dst, json_pack("[s, s, s]", json_flag(bo, "NonRecursive", false) ? "bind" : "rbind",
					       *propagation ? propagation : "rprivate", ro ? "ro" : "rw"));
}
