/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored document of a container:
 *   Id, Name ("/web"), Created, Image ("sha256:.."), ImageName, Path, Args, RestartCount, ManualStop,
 *   Config and HostConfig in the Engine API's shapes with all defaults filled in,
 *   State {Status, Running, Paused, Restarting, OOMKilled, Dead, Pid, ExitCode, Error, StartedAt, FinishedAt},
 *   Net: the sandbox record of net while there is one.
 */
#include "engine/engine_priv.h"

#include <string.h>

json_t *doc_state(const struct container *c) { return json_object_get(c->doc, "State"); }
json_t *doc_config(const struct container *c) { return json_object_get(c->doc, "Config"); }
json_t *doc_host(const struct container *c) { return json_object_get(c->doc, "HostConfig"); }

void doc_set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

void doc_set_time(json_t *o, const char *key, int64_t ns)
{
	char text[40];

	doc_set(o, key, json_string(ns ? str_time_ns(ns, text, sizeof(text)) : "0001-01-01T00:00:00Z"));
}

int64_t doc_time(const json_t *o, const char *key)
{
	const char *s = json_str(o, key, "");
	int64_t ns;

	return str_starts(s, "0001-") || str_to_time_ns(s, 0, &ns) < 0 ? 0 : ns;
}

const char *doc_network(const struct container *c)
{
	const char *mode = json_str(doc_host(c), "NetworkMode", "bridge");

	return str_empty(mode) || str_eq(mode, "default") ? "bridge" : mode;
}

const char *doc_log_driver(const struct container *c)
{
	const char *type = json_str(json_obj(doc_host(c), "LogConfig"), "Type", "json-file");

	return str_empty(type) ? "json-file" : type;
}

char *doc_log_path(const struct container *c)
{
	char *dir CLEANUP(mem_freep) = container_dir(c);

	return mem_printf("%s/%s-json.log", dir, c->id);
}
