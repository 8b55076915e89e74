/* SPDX-License-Identifier: Apache-2.0 */
/* ContainerInspect. */
#include <string.h>

#include "engine/apparmor.h"
#include "engine/endpoints.h"
#include "engine/links.h"
#include "engine/mounts.h"
#include "engine/published.h"
#include "engine/size.h"

static void write_network_settings(struct buf *b, const struct container *c)
{
	/* What was there before there were several networks speaks of the default one only. */
	const json_t *want = json_object_get(json_obj(c->doc, "Networks"), "bridge");
	const json_t *n = want ? endpoint_record(c, json_str(want, "NetworkID", "")) : NULL;
	json_t *ports CLEANUP(json_freep) = published_settings(c);

	(void)buf_addc(b, '{');
	jsonw_key_str(b, "Bridge", "");
	jsonw_key_str(b, "SandboxID", c->net ? c->id : "");
	jsonw_key_str(b, "SandboxKey", json_str(c->net, "NetNS", ""));
	jsonw_key_value(b, "Ports", ports);
	jsonw_key_value(b, "HairpinMode", json_false());
	jsonw_key_str(b, "LinkLocalIPv6Address", "");
	jsonw_key_i64(b, "LinkLocalIPv6PrefixLen", 0);
	jsonw_key_value(b, "SecondaryIPAddresses", NULL);
	jsonw_key_value(b, "SecondaryIPv6Addresses", NULL);
	jsonw_key_str(b, "EndpointID", json_str(n, "EndpointID", ""));
	jsonw_key_str(b, "Gateway", json_str(n, "Gateway", ""));
	jsonw_key_str(b, "GlobalIPv6Address", json_str(n, "GlobalIPv6Address", ""));
	jsonw_key_i64(b, "GlobalIPv6PrefixLen", json_i64(n, "GlobalIPv6PrefixLen", 0));
	jsonw_key_str(b, "IPAddress", json_str(n, "IPAddress", ""));
	jsonw_key_i64(b, "IPPrefixLen", json_i64(n, "IPPrefixLen", 0));
	jsonw_key_str(b, "IPv6Gateway", json_str(n, "IPv6Gateway", ""));
	jsonw_key_str(b, "MacAddress", json_str(n, "MacAddress", json_str(want, "MacAddress", "")));
	jsonw_key(b, "Networks");
	endpoints_write(b, c);
	(void)buf_addc(b, '}');
}

static void key_path(struct buf *b, const char *key, const char *dir, const char *name)
{
	char *path CLEANUP(mem_freep) = mem_printf("%s/%s", dir, name);

	jsonw_key_str(b, key, path);
}

static void key_of_doc(struct buf *b, const struct container *c, const char *key)
{
	jsonw_key_value(b, key, json_object_get(c->doc, key));
}

int engine_inspect(struct engine *en, const char *ref, bool size, struct buf *b, struct err *e)
{
	static const char *const empty[] = { "MountLabel", "ProcessLabel" }, *const nulls[] = { "OnBuild", "Volumes" };
	struct container *c = engine_find(en, ref, e);
	char *dir CLEANUP(mem_freep) = NULL, *run_dir CLEANUP(mem_freep) = NULL, *log CLEANUP(mem_freep) = NULL;
	json_t *execs CLEANUP(json_freep) = NULL, *config CLEANUP(json_freep) = NULL, *host CLEANUP(json_freep) = NULL;

	if (!c)
		return -1;
	dir = container_dir(c);
	run_dir = container_run_dir(c);
	log = doc_log_path(c);
	execs = exec_ids(c);
	config = published_config(doc_config(c));
	host = published_host(doc_host(c));
	if (json_array_size(json_arr(host, "Links")))
		doc_set(host, "Links", links_shown(c));
	(void)buf_addc(b, '{');
	jsonw_key_str(b, "Id", c->id);
	key_of_doc(b, c, "Created");
	key_of_doc(b, c, "Path");
	key_of_doc(b, c, "Args");
	key_of_doc(b, c, "State");
	key_of_doc(b, c, "Image");
	key_path(b, "ResolvConfPath", run_dir, "files/resolv.conf");
	key_path(b, "HostnamePath", run_dir, "files/hostname");
	key_path(b, "HostsPath", run_dir, "files/hosts");
	jsonw_key_str(b, "LogPath", str_eq(doc_log_driver(c), "json-file") ? log : "");
	key_of_doc(b, c, "Name");
	key_of_doc(b, c, "RestartCount");
	jsonw_key_str(b, "Driver", "overlay2");
	jsonw_key_str(b, "Platform", "linux");
	for (size_t i = 0; i < N(empty); i++)
		jsonw_key_str(b, empty[i], "");
	jsonw_key_str(b, "AppArmorProfile", apparmor_of(doc_host(c)));
	jsonw_key_value(b, "ExecIDs", execs);
	jsonw_key_value(b, "HostConfig", host);
	jsonw_key(b, "GraphDriver");
	(void)buf_addc(b, '{');
	jsonw_key_str(b, "Name", "overlay2");
	jsonw_key(b, "Data");
	(void)buf_addc(b, '{');
	key_path(b, "UpperDir", dir, "upper");
	key_path(b, "WorkDir", dir, "work");
	(void)buf_adds(b, "}}");
	jsonw_key(b, "Mounts");
	mounts_write(b, doc_mounts(c));
	for (size_t i = 0; i < N(nulls); i++) {
		if (!json_object_get(config, nulls[i]))
			json_object_set_new(config, nulls[i], json_null());
	}
	jsonw_key_value(b, "Config", config);
	jsonw_key(b, "NetworkSettings");
	write_network_settings(b, c);
	if (size)
		size_write(b, c);
	(void)buf_addc(b, '}');
	return 0;
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
