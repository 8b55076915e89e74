/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json as values. Everything of the runtime spec that asks for a restriction or a namespace is either done or refused with a
 * sentence that names it: a container must never run with less isolation than its document says. What only decorates (annotations,
 * other platforms' sections) is ignored.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

const struct ns_type ns_types[NS_COUNT] = {
	[NS_USER] = { "user", "user", CLONE_NEWUSER },	[NS_PID] = { "pid", "pid", CLONE_NEWPID },
	[NS_NET] = { "network", "net", CLONE_NEWNET },	[NS_IPC] = { "ipc", "ipc", CLONE_NEWIPC },
	[NS_UTS] = { "uts", "uts", CLONE_NEWUTS },	[NS_MNT] = { "mount", "mnt", CLONE_NEWNS },
	[NS_CGROUP] = { "cgroup", "cgroup", CLONE_NEWCGROUP },
};

enum { MOUNTS_MAX = 4096, IDMAPS_MAX = 340, CONFIG_MAX = 16 << 20 };

char **json_vector(const json_t *arr)
{
	size_t n = json_array_size(arr);
	char **v = mem_zalloc((n + 1) * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (char *)json_string_value(json_array_get(arr, i));
	return v;
}

/* A member that must have a given type when it is there. */
static int typed(const json_t *o, const char *where, const char *key, json_type type, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(o, key);

	*ret = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (json_typeof(v) != type)
		return err_set(e, ERR_INVALID, "config.json: %s%s is not %s", where, key,
			       type == JSON_OBJECT ? "an object" : type == JSON_ARRAY ? "an array" : type == JSON_STRING ? "a string" : "a number");
	*ret = v;
	return 0;
}

static int string_of(const json_t *o, const char *where, const char *key, const char **ret, struct err *e)
{
	json_t *v;

	if (typed(o, where, key, JSON_STRING, &v, e) < 0)
		return -1;
	*ret = json_string_value(v);
	return 0;
}

static int strings_only(const json_t *arr, const char *what, struct err *e)
{
	for (size_t i = 0; i < json_array_size(arr); i++) {
		if (!json_is_string(json_array_get(arr, i)))
			return err_set(e, ERR_INVALID, "config.json: %s[%zu] is not a string", what, i);
	}
	return 0;
}

static int namespaces(struct oci_spec *s, struct err *e)
{
	json_t *arr, *o;
	size_t i;

	if (typed(s->linux_, "linux.", "namespaces", JSON_ARRAY, &arr, e) < 0)
		return -1;
	json_array_foreach(arr, i, o) {
		const char *type = json_str(o, "type", "");
		int k;

		for (k = 0; k < NS_COUNT && !str_eq(type, ns_types[k].name); k++)
			;
		if (k == NS_COUNT)
			return err_set(e, ERR_INVALID, "config.json: linux.namespaces[%zu]: namespace '%s' is not supported", i, type);
		if (s->ns[k])
			return err_set(e, ERR_INVALID, "config.json: linux.namespaces: '%s' is there twice", type);
		s->ns[k] = true;
		if (string_of(o, "linux.namespaces[].", "path", &s->ns_path[k], e) < 0)
			return -1;
		if (str_empty(s->ns_path[k]))
			s->ns_path[k] = NULL;
	}
	if (!s->ns[NS_MNT])
		return err_set(e, ERR_INVALID, "config.json: linux.namespaces has no 'mount': a container needs its own mounts");
	if (s->ns_path[NS_MNT])
		return err_set(e, ERR_INVALID, "config.json: linux.namespaces: joining the mount namespace '%s' is not supported", s->ns_path[NS_MNT]);
	if ((!str_empty(s->hostname) || !str_empty(s->domainname)) && !s->ns[NS_UTS])
		return err_set(e, ERR_INVALID, "config.json: hostname '%s' needs a 'uts' namespace", s->hostname ? s->hostname : s->domainname);
	return 0;
}

static int id_maps(const json_t *linux_, const char *key, struct oci_idmap **ret, size_t *n, struct err *e)
{
	json_t *arr, *o;
	size_t i;

	if (typed(linux_, "linux.", key, JSON_ARRAY, &arr, e) < 0)
		return -1;
	if (json_array_size(arr) > IDMAPS_MAX)
		return err_set(e, ERR_INVALID, "config.json: linux.%s has more than %d entries", key, IDMAPS_MAX);
	*ret = mem_zalloc((json_array_size(arr) + 1) * sizeof(**ret));
	json_array_foreach(arr, i, o) {
		int64_t in = json_i64(o, "containerID", -1), out = json_i64(o, "hostID", -1), size = json_i64(o, "size", -1);

		if (in < 0 || out < 0 || size < 1 || in + size > UINT32_MAX || out + size > UINT32_MAX)
			return err_set(e, ERR_INVALID, "config.json: linux.%s[%zu] is not a range of ids", key, i);
		(*ret)[i] = (struct oci_idmap){ (uint32_t)in, (uint32_t)out, (uint32_t)size };
	}
	*n = json_array_size(arr);
	return 0;
}

static int mounts(struct oci_spec *s, struct err *e)
{
	json_t *arr, *o;
	size_t i;

	if (typed(s->doc, "", "mounts", JSON_ARRAY, &arr, e) < 0)
		return -1;
	if (json_array_size(arr) > MOUNTS_MAX)
		return err_set(e, ERR_INVALID, "config.json: more than %d mounts", MOUNTS_MAX);
	s->mounts = mem_zalloc((json_array_size(arr) + 1) * sizeof(*s->mounts));
	json_array_foreach(arr, i, o) {
		s->n_mounts++;
		if (mount_parse(o, &s->mounts[i], e) < 0)
			return -1;
	}
	return 0;
}

/* Members that ask for something we do not do. */
static int refusals(const struct oci_spec *s, struct err *e)
{
	static const char *const linux_no[] = { "intelRdt", "timeOffsets", "mountPolicy", "memoryPolicy", "netDevices" };
	const char *label;

	for (size_t i = 0; i < N(linux_no); i++) {
		json_t *v = json_object_get(s->linux_, linux_no[i]);

		if (v && !json_is_null(v) && !(json_is_object(v) && !json_object_size(v)))
			return err_set(e, ERR_INVALID, "config.json: linux.%s is not supported", linux_no[i]);
	}
	if (string_of(s->linux_, "linux.", "mountLabel", &label, e) < 0)
		return -1;
	if (!str_empty(label))
		return err_set(e, ERR_INVALID, "config.json: linux.mountLabel '%s': SELinux is not supported", label);
	if (json_obj(s->doc, "vm"))
		return err_set(e, ERR_INVALID, "config.json: 'vm' is not supported");
	return 0;
}

static int personality_of(struct oci_spec *s, struct err *e)
{
	json_t *o;
	const char *domain;

	if (typed(s->linux_, "linux.", "personality", JSON_OBJECT, &o, e) < 0 || !o)
		return e && e->kind != ERR_NONE ? -1 : 0;
	domain = json_str(o, "domain", "");
	if (json_array_size(json_arr(o, "flags")))
		return err_set(e, ERR_INVALID, "config.json: linux.personality.flags is not supported");
	if (str_eq(domain, "LINUX"))
		s->personality = 0;
	else if (str_eq(domain, "LINUX32"))
		s->personality = 8;
	else
		return err_set(e, ERR_INVALID, "config.json: linux.personality.domain '%s' is not LINUX or LINUX32", domain);
	s->has_personality = true;
	return 0;
}

static int linux_part(struct oci_spec *s, struct err *e)
{
	const char *prop;

	if (typed(s->doc, "", "linux", JSON_OBJECT, &s->linux_, e) < 0)
		return -1;
	if (!s->linux_)
		return err_set(e, ERR_INVALID, "config.json: there is no 'linux' section");
	if (typed(s->linux_, "linux.", "resources", JSON_OBJECT, &s->resources, e) < 0 ||
	    typed(s->linux_, "linux.", "seccomp", JSON_OBJECT, &s->seccomp, e) < 0 ||
	    typed(s->linux_, "linux.", "devices", JSON_ARRAY, &s->devices, e) < 0 ||
	    typed(s->linux_, "linux.", "maskedPaths", JSON_ARRAY, &s->masked, e) < 0 ||
	    typed(s->linux_, "linux.", "readonlyPaths", JSON_ARRAY, &s->readonly, e) < 0 ||
	    typed(s->linux_, "linux.", "sysctl", JSON_OBJECT, &s->sysctl, e) < 0 ||
	    strings_only(s->masked, "linux.maskedPaths", e) < 0 || strings_only(s->readonly, "linux.readonlyPaths", e) < 0 ||
	    string_of(s->linux_, "linux.", "cgroupsPath", &s->cgroup, e) < 0 ||
	    string_of(s->linux_, "linux.", "rootfsPropagation", &prop, e) < 0 ||
	    id_maps(s->linux_, "uidMappings", &s->uids, &s->n_uids, e) < 0 || id_maps(s->linux_, "gidMappings", &s->gids, &s->n_gids, e) < 0)
		return -1;
	if (!str_empty(prop)) {
		struct oci_mount m = { 0 };

		if (mount_option(&m, prop) != 0 || !m.propagation)
			return err_set(e, ERR_INVALID, "config.json: linux.rootfsPropagation '%s' is not a propagation", prop);
		s->root_propagation = m.propagation;
		s->root_prop_recursive = m.prop_recursive;
	}
	if (namespaces(s, e) < 0 || personality_of(s, e) < 0)
		return -1;
	if (s->ns[NS_USER] && !s->ns_path[NS_USER] && (!s->n_uids || !s->n_gids))
		return err_set(e, ERR_INVALID, "config.json: a new user namespace needs linux.uidMappings and linux.gidMappings");
	if (!s->ns[NS_USER] && (s->n_uids || s->n_gids))
		return err_set(e, ERR_INVALID, "config.json: linux.uidMappings without a 'user' namespace");
	return 0;
}

int spec_parse(json_t *doc, struct oci_spec *ret, struct err *e)
{
	struct oci_spec s = { .root_propagation = MS_PRIVATE, .root_prop_recursive = true };
	const char *version = json_str(doc, "ociVersion", "");
	struct err none = { 0 };
	json_t *root, *process;

	if (!e)
		e = &none;
	err_clear(e);
	s.doc = json_incref(doc);
	if (!str_starts(version, "1.")) {
		err_set(e, ERR_INVALID, "config.json: ociVersion '%s' is not 1.x", version);
		goto fail;
	}
	if (typed(doc, "", "root", JSON_OBJECT, &root, e) < 0 || typed(doc, "", "process", JSON_OBJECT, &process, e) < 0 ||
	    typed(doc, "", "hooks", JSON_OBJECT, &s.hooks, e) < 0 || string_of(doc, "", "hostname", &s.hostname, e) < 0 ||
	    string_of(doc, "", "domainname", &s.domainname, e) < 0)
		goto fail;
	s.root_path = json_str(root, "path", NULL);
	if (str_empty(s.root_path)) {
		err_set(e, ERR_INVALID, "config.json: root.path is missing");
		goto fail;
	}
	s.root_ro = json_flag(root, "readonly", false);
	if (!process) {
		err_set(e, ERR_INVALID, "config.json: there is no 'process' section");
		goto fail;
	}
	if (process_parse(process, &s.process, e) < 0 || mounts(&s, e) < 0 || linux_part(&s, e) < 0 || refusals(&s, e) < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	spec_done(&s);
	return -1;
}

int spec_load(const char *bundle, struct oci_spec *ret, struct err *e)
{
	CLEANUP(fd_closep) int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *doc;
	int r;

	if (dir < 0)
		return err_errno(e, errno, "open bundle '%s'", bundle);
	doc = json_parse_file_at(dir, "config.json", CONFIG_MAX, e);
	if (!doc)
		return err_wrap(e, "bundle '%s'", bundle);
	r = spec_parse(doc, ret, e);
	json_decref(doc);
	return r;
}

void spec_done(struct oci_spec *s)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		mount_done(&s->mounts[i]);
	free(s->mounts);
	free(s->uids);
	free(s->gids);
	process_done(&s->process);
	json_decref(s->doc);
	*s = (struct oci_spec){ 0 };
}
