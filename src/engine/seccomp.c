/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp profiles in docker's format into the runtime spec's: what depends on the architecture, on capabilities or on the kernel is
 * decided here. Anything that would be a weaker filter than the profile says is refused.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/security.h"

/* uname -m, docker's word, libseccomp's */
static const char *const arches[][3] = {
	{ "x86_64", "amd64", "SCMP_ARCH_X86_64" }, { "aarch64", "arm64", "SCMP_ARCH_AARCH64" }, { "armv7l", "arm", "SCMP_ARCH_ARM" },
	{ "ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE" }, { "s390x", "s390x", "SCMP_ARCH_S390X" }, { "riscv64", "riscv64", "SCMP_ARCH_RISCV64" },
	{ "i686", "386", "SCMP_ARCH_X86" },
};

struct machine {
	const char *docker, *scmp;
	unsigned kernel, major;
};

static void look(struct machine *m)
{
	struct utsname un;

	*m = (struct machine){ "", "", 0, 0 };
	if (uname(&un) < 0)
		return;
	(void)sscanf(un.release, "%u.%u", &m->kernel, &m->major);
	for (size_t i = 0; i < N(arches); i++) {
		if (str_eq(arches[i][0], un.machine)) {
			m->docker = arches[i][1];
			m->scmp = arches[i][2];
		}
	}
}

static bool listed(const json_t *list, const char *word)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (str_eq(json_at(list, i), word))
			return true;
	}
	return false;
}

/* "4.8": does this kernel reach it? -1 when it is no version. */
static int reaches(const struct machine *m, const json_t *cond)
{
	const char *want = json_str(cond, "minKernel", "");
	unsigned kernel, major;

	if (!*want)
		return 1;
	if (sscanf(want, "%u.%u", &kernel, &major) != 2)
		return -1;
	return m->kernel > kernel || (m->kernel == kernel && m->major >= major);
}

static int applies(const json_t *call, const struct machine *m, const json_t *caps, bool *ret, struct err *e)
{
	const json_t *in = json_obj(call, "includes"), *ex = json_obj(call, "excludes"), *v;
	int in_kernel = reaches(m, in), ex_kernel = reaches(m, ex);
	size_t i;

	*ret = false;
	if (in_kernel < 0 || ex_kernel < 0)
		return err_set(e, ERR_INVALID, "seccomp profile: minKernel \"%s\" is not a version", json_str(in_kernel < 0 ? in : ex, "minKernel", ""));
	if (listed(json_arr(ex, "arches"), m->docker) || (*json_str(ex, "minKernel", "") && ex_kernel))
		return 0;
	json_array_foreach(json_arr(ex, "caps"), i, v) {
		if (listed(caps, json_string_value(v)))
			return 0;
	}
	if ((json_array_size(json_arr(in, "arches")) && !listed(json_arr(in, "arches"), m->docker)) || !in_kernel)
		return 0;
	json_array_foreach(json_arr(in, "caps"), i, v) {
		if (!listed(caps, json_string_value(v)))
			return 0;
	}
	*ret = true;
	return 0;
}

static int check_action(const char *action, struct err *e)
{
	static const char *const known[] = { "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
					     "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG" };

	for (size_t i = 0; i < N(known); i++) {
		if (str_eq(known[i], action))
			return 0;
	}
	return err_set(e, ERR_INVALID, "seccomp profile: action \"%s\" is not supported", action);
}

static int check_args(const json_t *args, struct err *e)
{
	static const char *const ops[] = { "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ" };
	const json_t *a;
	size_t i, k;

	if (args && !json_is_null(args) && !json_is_array(args))
		return err_set(e, ERR_INVALID, "seccomp profile: args is not a list");
	json_array_foreach(args, i, a) {
		const char *op = json_str(a, "op", "");

		for (k = 0; k < N(ops) && strcmp(ops[k], op); k++)
			;
		if (k == N(ops))
			return err_set(e, ERR_INVALID, "seccomp profile: comparison \"%s\" is not supported", op);
		if (!json_is_integer(json_object_get(a, "index")) || json_i64(a, "index", -1) < 0 || json_i64(a, "index", -1) > 5)
			return err_set(e, ERR_INVALID, "seccomp profile: the index of an argument is not from 0 to 5");
		if (!json_is_integer(json_object_get(a, "value")) || (json_object_get(a, "valueTwo") && !json_is_integer(json_object_get(a, "valueTwo"))))
			return err_set(e, ERR_INVALID, "seccomp profile: the value of an argument is not an integer");
	}
	return 0;
}

static int add_call(json_t *out, const json_t *call, struct err *e)
{
	json_t *names = json_array(), *rule, *v;
	size_t i;

	if (*json_str(call, "name", "") && json_array_size(json_arr(call, "names"))) {
		json_decref(names);
		return err_set(e, ERR_INVALID, "'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
	}
	if (*json_str(call, "name", ""))
		json_array_append(names, json_object_get(call, "name"));
	json_array_foreach(json_arr(call, "names"), i, v)
		json_array_append(names, v);
	json_array_foreach(names, i, v) {
		if (!json_string_length(v) || strlen(json_string_value(v)) != json_string_length(v)) {
			json_decref(names);
			return err_set(e, ERR_INVALID, "seccomp profile: a name of a system call is not a word");
		}
	}
	if (!json_array_size(names)) {	/* it would apply to nothing, which nobody can have meant */
		json_decref(names);
		return err_set(e, ERR_INVALID, "seccomp profile: a rule names no system call");
	}
	rule = json_pack("{s:o, s:s}", "names", names, "action", json_str(call, "action", ""));
	if (json_is_integer(json_object_get(call, "errnoRet")))
		json_object_set(rule, "errnoRet", json_object_get(call, "errnoRet"));
	if (json_array_size(json_arr(call, "args")))
		json_object_set(rule, "args", json_arr(call, "args"));
	json_array_append_new(out, rule);
	return check_action(json_str(call, "action", ""), e) < 0 ? -1 : check_args(json_object_get(call, "args"), e);
}

static int add_arches(json_t *out, const json_t *profile, const struct machine *m, struct err *e)
{
	const json_t *map = json_arr(profile, "archMap"), *plain = json_arr(profile, "architectures"), *o, *v;
	json_t *list;
	size_t i, k;

	if (json_array_size(map) && json_array_size(plain))
		return err_set(e, ERR_INVALID, "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'");
	list = plain ? json_copy((json_t *)plain) : json_array();
	json_array_foreach(map, i, o) {
		if (!str_eq(json_str(o, "architecture", ""), m->scmp))
			continue;
		json_array_append(list, json_object_get(o, "architecture"));
		json_array_foreach(json_arr(o, "subArchitectures"), k, v)
			json_array_append(list, (json_t *)v);
	}
	json_object_set_new(out, "architectures", list);
	return 0;
}

static json_t *convert(const json_t *profile, const json_t *caps, struct err *e)
{
	static const char *const refused[] = { "listenerPath", "listenerMetadata" };
	json_t *out = json_object(), *calls = json_array(), *call;
	struct machine m;
	size_t i;

	look(&m);
	json_object_set_new(out, "syscalls", calls);
	json_object_set_new(out, "defaultAction", json_string(json_str(profile, "defaultAction", "")));
	for (i = 0; i < N(refused); i++) {
		if (*json_str(profile, refused[i], "")) {
			err_set(e, ERR_INVALID, "seccomp profile: %s is not supported", refused[i]);
			goto fail;
		}
	}
	if (check_action(json_str(profile, "defaultAction", ""), e) < 0 || add_arches(out, profile, &m, e) < 0)
		goto fail;
	if (json_is_integer(json_object_get(profile, "defaultErrnoRet")))
		json_object_set(out, "defaultErrnoRet", json_object_get(profile, "defaultErrnoRet"));
	if (json_arr(profile, "flags"))
		json_object_set(out, "flags", json_arr(profile, "flags"));
	json_array_foreach(json_arr(profile, "syscalls"), i, call) {
		bool use;

		if (applies(call, &m, caps, &use, e) < 0 || (use && add_call(calls, call, e) < 0))
			goto fail;
	}
	return out;
fail:
	json_decref(out);
	return NULL;
}

json_t *seccomp_profile(const char *text, const json_t *caps, struct err *e)
{
	json_t *doc = json_parse(text, strlen(text), "Decoding seccomp profile failed", e), *out;

	if (!doc)
		return NULL;
	if (!json_is_object(doc)) {
		json_decref(doc);
		err_set(e, ERR_INVALID, "Decoding seccomp profile failed: it is not an object");
		return NULL;
	}
	out = convert(doc, caps, e);
	json_decref(doc);
	return out;
}
