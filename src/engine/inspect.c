/* SPDX-License-Identifier: Apache-2.0 */
/* ContainerInspect. */
#include <string.h>

#include "engine/endpoints.h"
#include "engine/mounts.h"
#include "engine/published.h"
#include "engine/size.h"

static json_t *network_settings(const struct container *c)
{
	json_t *networks = endpoints_shape(c);
	/* What was there before there were several networks speaks of the default one only. */
	const json_t *n = json_object_get(networks, "bridge");

	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:i, s:n, s:n, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:o}",
			 "Bridge", "", "SandboxID", c->net ? c->id : "", "SandboxKey", json_str(c->net, "NetNS", ""), "Ports", published_settings(c),
			 "HairpinMode", 0, "LinkLocalIPv6Address", "", "LinkLocalIPv6PrefixLen", 0, "SecondaryIPAddresses", "SecondaryIPv6Addresses",
			 "EndpointID", json_str(n, "EndpointID", ""), "Gateway", json_str(n, "Gateway", ""), "GlobalIPv6Address",
			 json_str(n, "GlobalIPv6Address", ""),
			 "GlobalIPv6PrefixLen", (int)json_i64(n, "GlobalIPv6PrefixLen", 0), "IPAddress", json_str(n, "IPAddress", ""), "IPPrefixLen",
			 (int)json_i64(n, "IPPrefixLen", 0), "IPv6Gateway", json_str(n, "IPv6Gateway", ""), "MacAddress", json_str(n, "MacAddress", ""), "Networks", networks);
}

json_t *engine_inspect(struct engine *en, const char *ref, bool size, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	char *dir CLEANUP(mem_freep) = NULL, *run_dir CLEANUP(mem_freep) = NULL, *log CLEANUP(mem_freep) = NULL;
	json_t *out, *config;

	if (!c)
		return NULL;
	dir = container_dir(c);
	run_dir = container_run_dir(c);
	log = doc_log_path(c);
	config = published_config(doc_config(c));
	if (!json_object_get(config, "OnBuild"))
		json_object_set_new(config, "OnBuild", json_null());
	if (!json_object_get(config, "Volumes"))
		json_object_set_new(config, "Volumes", json_null());
	out = json_pack("{s:s, s:O, s:O, s:O, s:O, s:O, s:o, s:o, s:o, s:o, s:O, s:O, s:s, s:s, s:s, s:s, s:s, s:o, s:o}",
			"Id", c->id, "Created", json_object_get(c->doc, "Created"), "Path", json_object_get(c->doc, "Path"),
			"Args", json_object_get(c->doc, "Args"), "State", doc_state(c), "Image", json_object_get(c->doc, "Image"),
			"ResolvConfPath", json_sprintf("%s/files/resolv.conf", run_dir), "HostnamePath", json_sprintf("%s/files/hostname", run_dir),
			"HostsPath", json_sprintf("%s/files/hosts", run_dir),
			"LogPath", json_string(str_eq(doc_log_driver(c), "json-file") ? log : ""), "Name", json_object_get(c->doc, "Name"),
			"RestartCount", json_object_get(c->doc, "RestartCount"), "Driver", "overlay2", "Platform", "linux", "MountLabel", "",
			"ProcessLabel", "", "AppArmorProfile", "", "ExecIDs", exec_ids(c), "HostConfig", published_host(doc_host(c)));
	json_object_set_new(out, "GraphDriver", json_pack("{s:s, s:{s:o, s:o}}", "Name", "overlay2", "Data",
							 "UpperDir", json_sprintf("%s/upper", dir), "WorkDir", json_sprintf("%s/work", dir)));
	json_object_set_new(out, "Mounts", mounts_shape(doc_mounts(c)));
	json_object_set_new(out, "Config", config);
	json_object_set_new(out, "NetworkSettings", network_settings(c));
	if (size)
		size_put(c, out);
	return out;
}

bool engine_container_tty(struct engine *en, const char *ref, bool *tty, struct err *e)
{
	struct container *c = engine_find(en, ref, e);

	if (c)
		*tty = json_flag(doc_config(c), "Tty", false);
	return c != NULL;
}

int engine_resize(struct engine *en, const char *ref, unsigned rows, unsigned cols, struct err *e)
{
	struct container *c = engine_find(en, ref, e);

	if (!c)
		return -1;
	if (!c->rt || c->phase != PHASE_RUNNING)
		return err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
	rt_resize(c->rt, rows, cols);
	return 0;
}
