/* SPDX-License-Identifier: Apache-2.0 */
/* userns-remap: containers of the whole engine in user namespaces, and what such a container cannot have. */
#include "engine/engine_priv.h"

bool remap_applies(const struct engine *en, const json_t *host)
{
	return en->idmap.size && !str_eq(json_str(host, "UsernsMode", ""), "host");
}

int remap_check(const struct engine *en, const json_t *host, struct err *e)
{
	if (!remap_applies(en, host))
		return 0;
	if (json_flag(host, "Privileged", false))
		return err_set(e, ERR_INVALID, "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode");
	if (str_eq(json_str(host, "NetworkMode", ""), "host"))
		return err_set(e, ERR_INVALID, "cannot share the host's network namespace when user namespaces are enabled");
	if (str_eq(json_str(host, "PidMode", ""), "host"))
		return err_set(e, ERR_INVALID, "cannot share the host PID namespace when user namespaces are enabled");
	if (*json_str(host, "Runtime", "") && !str_eq(json_str(host, "Runtime", ""), "kedge"))
		return err_set(e, ERR_INVALID, "user namespaces are not supported with the runtime %s", json_str(host, "Runtime", ""));
	return 0;
}

static json_t *map_of(unsigned from, unsigned size)
{
	return json_pack("[{s:i, s:I, s:I}]", "containerID", 0, "hostID", (json_int_t)from, "size", (json_int_t)size);
}

void remap_spec(const struct engine_idmap *m, json_t *linux_)
{
	json_array_append_new(json_arr(linux_, "namespaces"), json_pack("{s:s}", "type", "user"));
	doc_set(linux_, "uidMappings", map_of(m->uid, m->size));
	doc_set(linux_, "gidMappings", map_of(m->gid, m->size));
}
