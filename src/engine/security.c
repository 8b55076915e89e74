/* SPDX-License-Identifier: Apache-2.0 */
/* --security-opt */
#include "engine/security.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/apparmor.h"
#include "runtime/oci/seccomp.h"

static json_t *builtin(const json_t *caps)
{
	const char **words = mem_zalloc((json_array_size(caps) + 1) * sizeof(*words));
	json_t *out;

	for (size_t i = 0; i < json_array_size(caps); i++)
		words[i] = json_at(caps, i);
	out = oci_seccomp_default(words);
	free(words);
	return out;
}

static int flag_of(const char *opt, const char *value, bool *ret, struct err *e)
{
	if (!*value || str_eq(value, "true") || str_eq(value, "1"))
		*ret = true;
	else if (str_eq(value, "false") || str_eq(value, "0"))
		*ret = false;
	else
		return err_set(e, ERR_INVALID, "invalid --security-opt 2: \"%s\"", opt);
	return 0;
}

int security_read(const json_t *host, const json_t *caps, struct security *s, struct err *e)
{
	bool confined = !json_flag(host, "Privileged", false);
	const char *profile = NULL;
	const json_t *v;
	size_t i;

	*s = (struct security){ 0 };
	json_array_foreach(json_arr(host, "SecurityOpt"), i, v) {
		const char *opt = json_string_value(v), *value = opt + strcspn(opt, "=:");
		char *key CLEANUP(mem_freep) = mem_strndup(opt, (size_t)(value - opt));

		value += *value != '\0';
		if (str_eq(key, "no-new-privileges")) {
			if (flag_of(opt, value, &s->no_new_privs, e) < 0)
				return -1;
		} else if (str_eq(key, "writable-cgroups")) {
			if (flag_of(opt, value, &s->writable_cgroups, e) < 0)
				return -1;
		} else if (str_eq(key, "seccomp")) {
			confined = !str_eq(value, "unconfined");
			profile = confined && !str_eq(value, "builtin") ? value : NULL;
		} else if (str_eq(key, "apparmor")) {
			if (!str_eq(value, "unconfined") && !apparmor_on())
				return err_set(e, ERR_INVALID, "security option \"%s\": AppArmor is not enabled on this machine", opt);
			s->apparmor = value;
		} else if (str_eq(key, "label")) {
			if (!str_eq(value, "disable"))
				return err_set(e, ERR_INVALID, "security option \"%s\": SELinux labels are not supported", opt);
		} else {
			return err_set(e, ERR_INVALID, "invalid --security-opt 2: \"%s\"", opt);
		}
	}
	if (confined)
		s->seccomp = profile ? seccomp_profile(profile, caps, e) : builtin(caps);
	return confined && !s->seccomp ? -1 : 0;
}

void security_done(struct security *s)
{
	json_decref(s->seccomp);
	*s = (struct security){ 0 };
}
