/* SPDX-License-Identifier: Apache-2.0 */
/* ContainerInspect and networks with their containers. */
#include <string.h>

#include "engine/mounts.h"
#include "engine/size.h"

static json_t *endpoint(const struct container *c)
{
	const json_t *n = c->net;

	return json_pack("{s:n, s:n, s:n, s:s, s:n, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:n}", "IPAMConfig", "Links", "Aliases",
			 "MacAddress", json_str(n, "MacAddress", ""), "DriverOpts", "NetworkID", json_str(n, "NetworkID", ""),
			 "EndpointID", json_str(n, "EndpointID", ""), "Gateway", json_str(n, "Gateway", ""),
			 "IPAddress", json_str(n, "IPAddress", ""), "IPPrefixLen", (int)json_i64(n, "IPPrefixLen", 0),
			 "IPv6Gateway", "", "GlobalIPv6Address", "", "GlobalIPv6PrefixLen", 0, "DNSNames");
}

static json_t *ports_of(const struct container *c)
{
	json_t *ports = c->net && json_obj(c->net, "Ports") ? json_deep_copy(json_obj(c->net, "Ports")) : json_object();
	const char *key;
	json_t *v;

	if (c->phase != PHASE_RUNNING)
		return ports;
	json_object_foreach(json_obj(doc_config(c), "ExposedPorts"), key, v) {
		if (!json_object_get(ports, key))
			json_object_set_new(ports, key, json_null());
	}
	return ports;
}

static json_t *network_settings(const struct container *c)
{
	bool bridge = str_eq(doc_network(c), "bridge");
	const json_t *n = bridge ? c->net : NULL;
	json_t *networks = json_object();
	char key[16];

	json_object_set_new(networks, doc_network(c), endpoint(c));
	snprintf(key, sizeof(key), "%.12s", c->id);
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:i, s:n, s:n, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:o}",
			 "Bridge", "", "SandboxID", c->net ? c->id : "", "SandboxKey", json_str(c->net, "NetNS", ""), "Ports", ports_of(c),
			 "HairpinMode", 0, "LinkLocalIPv6Address", "", "LinkLocalIPv6PrefixLen", 0, "SecondaryIPAddresses", "SecondaryIPv6Addresses",
			 "EndpointID", json_str(n, "EndpointID", ""), "Gateway", json_str(n, "Gateway", ""), "GlobalIPv6Address", "",
			 "GlobalIPv6PrefixLen", 0, "IPAddress", json_str(n, "IPAddress", ""), "IPPrefixLen", (int)json_i64(n, "IPPrefixLen", 0),
			 "IPv6Gateway", "", "MacAddress", json_str(n, "MacAddress", ""), "Networks", networks);
}

json_t *engine_inspect(struct engine *en, const char *ref, bool size, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	char *dir CLEANUP(mem_freep) = NULL, *log CLEANUP(mem_freep) = NULL;
	json_t *out, *config;

	if (!c)
		return NULL;
	dir = container_dir(c);
	log = doc_log_path(c);
	config = json_copy(doc_config(c));
	if (!json_object_get(config, "OnBuild"))
		json_object_set_new(config, "OnBuild", json_null());
	if (!json_object_get(config, "Volumes"))
		json_object_set_new(config, "Volumes", json_null());
	out = json_pack("{s:s, s:O, s:O, s:O, s:O, s:O, s:o, s:o, s:o, s:o, s:O, s:O, s:s, s:s, s:s, s:s, s:s, s:o, s:O}",
			"Id", c->id, "Created", json_object_get(c->doc, "Created"), "Path", json_object_get(c->doc, "Path"),
			"Args", json_object_get(c->doc, "Args"), "State", doc_state(c), "Image", json_object_get(c->doc, "Image"),
			"ResolvConfPath", json_sprintf("%s/files/resolv.conf", dir), "HostnamePath", json_sprintf("%s/files/hostname", dir),
			"HostsPath", json_sprintf("%s/files/hosts", dir),
			"LogPath", json_string(str_eq(doc_log_driver(c), "none") ? "" : log), "Name", json_object_get(c->doc, "Name"),
			"RestartCount", json_object_get(c->doc, "RestartCount"), "Driver", "overlay2", "Platform", "linux", "MountLabel", "",
			"ProcessLabel", "", "AppArmorProfile", "", "ExecIDs", exec_ids(c), "HostConfig", doc_host(c));
	json_object_set_new(out, "GraphDriver", json_pack("{s:s, s:{s:o, s:o}}", "Name", "overlay2", "Data",
							 "UpperDir", json_sprintf("%s/upper", dir), "WorkDir", json_sprintf("%s/work", dir)));
	json_object_set_new(out, "Mounts", mounts_shape(doc_mounts(c)));
	json_object_set_new(out, "Config", config);
	json_object_set_new(out, "NetworkSettings", network_settings(c));
	if (size)
		size_put(c, out);
	return out;
}

static void fill_network(struct engine *en, json_t *nw)
{
	const char *id = json_str(nw, "Id", "");
	json_t *list = json_object();
	struct container *c;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL))) {
		if (!c->net || !str_eq(json_str(c->net, "NetworkID", ""), id))
			continue;
		json_object_set_new(list, c->id, json_pack("{s:s, s:s, s:s, s:o, s:s}", "Name", container_name(c), "EndpointID",
							  json_str(c->net, "EndpointID", ""), "MacAddress", json_str(c->net, "MacAddress", ""),
							  "IPv4Address", *json_str(c->net, "IPAddress", "") ?
							  json_sprintf("%s/%d", json_str(c->net, "IPAddress", ""), (int)json_i64(c->net, "IPPrefixLen", 0)) :
							  json_string(""), "IPv6Address", ""));
	}
	json_object_set_new(nw, "Containers", list);
}

json_t *engine_network_inspect(struct engine *en, const char *ref, struct err *e)
{
	json_t *nw = net_inspect(en->net, ref, e);

	if (nw)
		fill_network(en, nw);
	return nw;
}

static bool any_key(const json_t *want, const char *value, bool prefix)
{
	const char *key;
	json_t *v;

	if (!want || json_object_size(want) == 0)
		return true;
	json_object_foreach((json_t *)want, key, v) {
		if (!strcmp(key, value) || (prefix && str_starts(value, key)) || (!prefix && strstr(value, key)))
			return true;
	}
	return false;
}

json_t *engine_network_list(struct engine *en, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "driver", "id", "name", "scope", "type", "label", "dangling" };
	json_t *all = net_list(en->net), *out = json_array(), *nw, *v;
	const char *key;
	size_t i;

	json_object_foreach((json_t *)filters, key, v) {
		for (i = 0; i < N(known) && strcmp(known[i], key); i++)
			;
		if (i == N(known)) {
			err_set(e, ERR_INVALID, "invalid filter '%s'", key);
			json_decref(all);
			json_decref(out);
			return NULL;
		}
	}
	json_array_foreach(all, i, nw) {
		const char *name = json_str(nw, "Name", "");
		bool builtin = str_eq(name, "bridge") || str_eq(name, "host") || str_eq(name, "none");

		if (!any_key(json_object_get(filters, "name"), name, false) || !any_key(json_object_get(filters, "id"), json_str(nw, "Id", ""), true) ||
		    !any_key(json_object_get(filters, "driver"), json_str(nw, "Driver", ""), true) ||
		    !any_key(json_object_get(filters, "scope"), json_str(nw, "Scope", ""), true) ||
		    !any_key(json_object_get(filters, "type"), builtin ? "builtin" : "custom", true))
			continue;
		/* As docker's list: who is on it comes with inspect only. */
		json_object_set_new(nw, "Containers", json_object());
		json_array_append(out, nw);
	}
	json_decref(all);
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
