/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a create request and an image's configuration to the stored document. Every key is looked up in a table: what works is
 * checked, what does not work yet is refused by name unless it holds its default, what is unknown is ignored as dockerd does.
 */
#include "engine/defaults.h"
#include "engine/endpoints.h"
#include "engine/logopt.h"
#include "engine/mounts.h"
#include "engine/published.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum rule { TEXT, FLAG, NUMBER, LIST, OBJECT, ANY, REFUSE };

struct key {
	const char *name;
	enum rule rule;
	const char *why;	/* REFUSE: the reason, when it is not just that nobody has built it */
};

static const struct key config_keys[] = {
	{ "Hostname", TEXT }, { "Domainname", TEXT }, { "User", TEXT }, { "AttachStdin", FLAG }, { "AttachStdout", FLAG },
	{ "AttachStderr", FLAG }, { "ExposedPorts", OBJECT }, { "Tty", FLAG }, { "OpenStdin", FLAG }, { "StdinOnce", FLAG },
	{ "Env", LIST }, { "Cmd", ANY }, { "Entrypoint", ANY }, { "Image", TEXT }, { "Volumes", OBJECT }, { "WorkingDir", TEXT },
	{ "NetworkDisabled", FLAG }, { "MacAddress", TEXT }, { "Labels", OBJECT }, { "StopSignal", TEXT }, { "StopTimeout", NUMBER },
	{ "Shell", LIST }, { "Healthcheck", OBJECT },
};

static const struct key host_keys[] = {
	{ "Binds", LIST }, { "ContainerIDFile", TEXT }, { "LogConfig", OBJECT }, { "NetworkMode", TEXT }, { "PortBindings", OBJECT },
	{ "RestartPolicy", OBJECT }, { "AutoRemove", FLAG }, { "VolumeDriver", TEXT }, { "VolumesFrom", LIST }, { "CapAdd", LIST },
	{ "CapDrop", LIST }, { "CgroupnsMode", TEXT }, { "Dns", LIST }, { "DnsOptions", LIST }, { "DnsSearch", LIST },
	{ "ExtraHosts", LIST }, { "GroupAdd", LIST }, { "IpcMode", TEXT }, { "Cgroup", REFUSE, "cgroups of other containers are not joined" }, { "Links", LIST },
	{ "OomScoreAdj", NUMBER }, { "PidMode", TEXT }, { "Privileged", FLAG }, { "PublishAllPorts", FLAG }, { "ReadonlyRootfs", FLAG },
	{ "SecurityOpt", LIST }, { "UTSMode", TEXT }, { "UsernsMode", TEXT }, { "ShmSize", NUMBER }, { "Isolation", TEXT },
	{ "CpuShares", NUMBER }, { "Memory", NUMBER }, { "NanoCpus", NUMBER }, { "CgroupParent", TEXT }, { "BlkioWeight", NUMBER },
	{ "BlkioWeightDevice", LIST }, { "BlkioDeviceReadBps", LIST }, { "BlkioDeviceWriteBps", LIST },
	{ "BlkioDeviceReadIOps", LIST }, { "BlkioDeviceWriteIOps", LIST }, { "CpuPeriod", NUMBER }, { "CpuQuota", NUMBER },
	{ "CpuRealtimePeriod", NUMBER }, { "CpuRealtimeRuntime", NUMBER }, { "CpusetCpus", TEXT }, { "CpusetMems", TEXT },
	{ "Devices", LIST }, { "DeviceCgroupRules", LIST }, { "DeviceRequests", REFUSE, "no device driver can be selected, name the nodes with Devices" }, { "MemoryReservation", NUMBER },
	{ "MemorySwap", NUMBER }, { "MemorySwappiness", NUMBER }, { "OomKillDisable", FLAG }, { "PidsLimit", NUMBER },
	{ "Ulimits", LIST }, { "CpuCount", REFUSE, "Windows only" }, { "CpuPercent", REFUSE, "Windows only" }, { "IOMaximumIOps", REFUSE, "Windows only" },
	{ "IOMaximumBandwidth", REFUSE, "Windows only" }, { "Mounts", LIST }, { "Tmpfs", OBJECT }, { "Sysctls", OBJECT }, { "Init", FLAG },
	{ "StorageOpt", REFUSE, "the file system of containers has no quotas" }, { "MaskedPaths", LIST }, { "ReadonlyPaths", LIST }, { "Runtime", TEXT }, { "Annotations", OBJECT },
	{ "KernelMemoryTCP", NUMBER }, { "KernelMemory", REFUSE, "the kernel has no such limit any more, Memory counts its memory too" },
};

/* null, false, 0, "", [] and {} are what clients send for "not given"; -1 is docker's "default" for the swappiness. */
static bool is_default(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_NULL:
	case JSON_FALSE:
		return true;
	case JSON_INTEGER:
		return json_integer_value(v) == 0 || json_integer_value(v) == -1;
	case JSON_REAL:
		return json_real_value(v) == 0;
	case JSON_STRING:
		return json_string_length(v) == 0;
	case JSON_ARRAY:
		return json_array_size(v) == 0;
	case JSON_OBJECT:
		return json_object_size(v) == 0;
	default:
		return false;
	}
}

static int check_keys(const json_t *o, const char *where, const struct key *keys, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(o, keys[i].name);
		bool ok = true;

		if (!v || json_is_null(v))
			continue;
		switch (keys[i].rule) {
		case TEXT: ok = json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v); break;
		case FLAG: ok = json_is_boolean(v); break;
		case NUMBER: ok = json_is_integer(v); break;
		case LIST: ok = json_is_array(v); break;
		case OBJECT: ok = json_is_object(v); break;
		case ANY: break;
		case REFUSE:
			if (!is_default(v))
				return err_set(e, ERR_INVALID, "%s%s is not supported%s%s", where, keys[i].name, keys[i].why ? ": " : "", keys[i].why ? keys[i].why : "");
		}
		if (!ok)
			return err_set(e, ERR_INVALID, "%s%s: wrong type", where, keys[i].name);
	}
	return 0;
}

/* A list of strings without NUL. */
static int check_strings(const json_t *o, const char *key, const char *where, struct err *e)
{
	const json_t *list = json_object_get(o, key), *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
			return err_set(e, ERR_INVALID, "%s%s: element %zu is not a string", where, key, i);
	}
	return 0;
}

/* A word of a list; "container:..." where other is true. */
static int check_word(const json_t *host, const char *key, const char *what, const char *const *words, bool other, struct err *e)
{
	const char *v = json_str(host, key, "");

	if (other && str_starts(v, "container:") && v[10])
		return 0;
	for (; *words; words++) {
		if (!strcmp(v, *words))
			return 0;
	}
	return err_set(e, ERR_INVALID, "invalid %s mode: %s", what, v);
}

static int check_annotations(const json_t *host, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(json_obj(host, "Annotations"), key, v) {
		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "HostConfig.Annotations: the value of \"%s\" is not a string", key);
		if (!*key || str_starts(key, "kedge."))
			return err_set(e, ERR_INVALID, "HostConfig.Annotations: \"%s\": names that begin with \"kedge.\" are the engine's own", key);
	}
	return 0;
}

/* "Cmd": "sh -c x" is what old clients send for a list of one. */
static json_t *command(const json_t *v)
{
	json_t *list;

	if (!json_is_string(v))
		return json_is_array(v) ? json_copy((json_t *)v) : NULL;
	list = json_array();
	json_array_append(list, (json_t *)v);
	return list;
}

static const char *env_key(const char *s, size_t *n)
{
	*n = strcspn(s, "=");
	return s;
}

static bool env_has(const json_t *env, const char *entry)
{
	const json_t *v;
	size_t i, n, k;

	env_key(entry, &n);
	json_array_foreach(env, i, v) {
		const char *s = json_string_value(v);

		env_key(s, &k);
		if (k == n && !strncmp(s, entry, n))
			return true;
	}
	return false;
}

static void merge_env(json_t *config, const json_t *image)
{
	json_t *env = json_array(), *v;
	const json_t *own = json_object_get(config, "Env");
	size_t i;

	json_array_foreach(json_object_get(image, "Env"), i, v) {
		if (json_is_string(v) && !env_has(own, json_string_value(v)))
			json_array_append(env, v);
	}
	json_array_foreach(own, i, v) {
		/* "NAME" without "=": the client had no value for it, it stays unset */
		if (strchr(json_string_value(v), '='))
			json_array_append(env, v);
	}
	doc_set(config, "Env", env);
}

static void merge_object(json_t *config, const json_t *image, const char *key)
{
	json_t *out = json_object();

	json_object_update(out, json_obj(image, key));
	json_object_update(out, json_obj(config, key));
	doc_set(config, key, out);
}

static void merge_text(json_t *config, const json_t *image, const char *key)
{
	if (str_empty(json_str(config, key, "")))
		doc_set(config, key, json_string(json_str(image, key, "")));
}

static int merge_command(json_t *config, const json_t *image, struct err *e)
{
	json_t *cmd = command(json_object_get(config, "Cmd")), *entry = command(json_object_get(config, "Entrypoint"));

	if (json_array_size(entry) == 0) {
		if (json_array_size(cmd) == 0) {
			json_decref(cmd);
			cmd = command(json_object_get(image, "Cmd"));
		}
		if (!entry)
			entry = command(json_object_get(image, "Entrypoint"));
	} else if (json_array_size(entry) == 1 && str_empty(json_at(entry, 0))) {
		json_array_clear(entry);	/* --entrypoint "": none */
	}
	doc_set(config, "Cmd", cmd ? cmd : json_null());
	doc_set(config, "Entrypoint", entry ? entry : json_null());
	if (check_strings(config, "Cmd", "", e) < 0 || check_strings(config, "Entrypoint", "", e) < 0)
		return -1;
	if (json_array_size(cmd) + json_array_size(entry) == 0)
		return err_set(e, ERR_INVALID, "no command specified");
	return 0;
}

static int check_restart(const json_t *h, struct err *e)
{
	const json_t *p = json_obj(h, "RestartPolicy");
	const char *name = json_str(p, "Name", "");
	int64_t max = json_i64(p, "MaximumRetryCount", 0);

	if (*name && strcmp(name, "no") && strcmp(name, "always") && strcmp(name, "on-failure") && strcmp(name, "unless-stopped"))
		return err_set(e, ERR_INVALID, "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", name);
	if (max < 0 || (max && strcmp(name, "on-failure")))
		return err_set(e, ERR_INVALID, "invalid restart policy: maximum retry count %s",
			       max < 0 ? "cannot be negative" : "can only be used with 'on-failure'");
	if (json_flag(h, "AutoRemove", false) && *name && strcmp(name, "no"))
		return err_set(e, ERR_INVALID, "can't create 'AutoRemove' container with restart policy");
	return 0;
}

int create_check_host(json_t *h, struct err *e)
{
	static const char *const lists[] = { "Binds", "VolumesFrom", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd",
					     "SecurityOpt", "DeviceCgroupRules", "MaskedPaths", "ReadonlyPaths" };
	static const char *const ipc[] = { "", "private", "host", "none", "shareable", NULL }, *const hostly[] = { "", "host", NULL };
	static const char *const cgroupns[] = { "", "private", "host", NULL }, *const isolation[] = { "", "default", NULL };
	struct net_port *ports = NULL;
	struct in6_addr address;
	char *path = NULL;
	size_t n = 0, k;
	json_t *v;

	if (check_keys(h, "HostConfig.", host_keys, N(host_keys), e) < 0)
		return -1;
	for (size_t i = 0; i < N(lists); i++) {
		if (check_strings(h, lists[i], "HostConfig.", e) < 0)
			return -1;
	}
	if (check_word(h, "IpcMode", "IPC", ipc, true, e) < 0 || check_word(h, "PidMode", "PID", hostly, true, e) < 0 ||
	    check_word(h, "UTSMode", "UTS", hostly, false, e) < 0 || check_word(h, "UsernsMode", "USER", hostly, false, e) < 0 ||
	    check_word(h, "CgroupnsMode", "cgroup namespace", cgroupns, false, e) < 0 ||
	    check_word(h, "Isolation", "Isolation", isolation, false, e) < 0 || check_annotations(h, e) < 0)
		return -1;
	if (runtime_path(json_str(h, "Runtime", ""), &path, e) < 0)
		return -1;
	if (path && json_flag(h, "Init", false)) {
		free(path);
		path = runtime_init(e);
		if (!path)
			return -1;
	}
	free(path);
	json_array_foreach(json_arr(h, "Dns"), k, v) {
		if (inet_pton(AF_INET, json_string_value(v), &address) != 1 && inet_pton(AF_INET6, json_string_value(v), &address) != 1)
			return err_set(e, ERR_INVALID, "invalid argument \"%s\" for HostConfig.Dns: IP address is not correctly formatted", json_string_value(v));
	}
	if (limits_check(h, e) < 0 || check_restart(h, e) < 0 || logopt_check(json_obj(h, "LogConfig"), e) < 0)
		return -1;
	if (net_ports_from_api(NULL, json_object_get(h, "PortBindings"), false, &ports, &n, e) < 0)
		return -1;
	free(ports);
	v = spec_caps(h, e);
	if (!v)
		return -1;
	json_decref(v);
	return 0;
}

/* Clients read these without looking whether they are there. */
static void host_defaults(json_t *h)
{
	if (!json_obj(h, "RestartPolicy"))
		doc_set(h, "RestartPolicy", json_pack("{s:s, s:i}", "Name", "no", "MaximumRetryCount", 0));
	if (str_empty(json_str(json_obj(h, "LogConfig"), "Type", ""))) {
		json_t *config = json_obj(json_obj(h, "LogConfig"), "Config");

		doc_set(h, "LogConfig", json_pack("{s:s, s:o}", "Type", "json-file", "Config", config ? json_incref(config) : json_object()));
	}
	if (str_empty(json_str(h, "NetworkMode", "")) || str_eq(json_str(h, "NetworkMode", ""), "default"))
		doc_set(h, "NetworkMode", json_string("bridge"));
	if (!json_obj(h, "PortBindings"))
		doc_set(h, "PortBindings", json_object());
	if (json_i64(h, "ShmSize", 0) == 0)
		doc_set(h, "ShmSize", json_integer(64 << 20));
	if (str_empty(json_str(h, "IpcMode", "")))
		doc_set(h, "IpcMode", json_string("private"));
	if (str_empty(json_str(h, "CgroupnsMode", "")))
		doc_set(h, "CgroupnsMode", json_string(cgroup_unified() ? "private" : "host"));
	if (!json_flag(h, "Privileged", false)) {
		if (!json_arr(h, "MaskedPaths"))
			doc_set(h, "MaskedPaths", spec_paths(true));
		if (!json_arr(h, "ReadonlyPaths"))
			doc_set(h, "ReadonlyPaths", spec_paths(false));
	}
	if (str_empty(json_str(h, "Runtime", "")))
		doc_set(h, "Runtime", json_string("kedge"));
}

json_t *create_document(const char *id, const char *name, const json_t *body, const char *image_id, const json_t *image_config,
			struct mounts_in *mounts, json_t *warnings, struct err *e)
{
	json_t *config = json_deep_copy(body), *host, *argv, *doc = NULL, *points = NULL, *check, *v;
	struct mounts_in alone = { 0 };
	const json_t *image = json_obj(image_config, "config");
	const char *image_name = json_str(body, "Image", "");
	char now[40], *slash_name CLEANUP(mem_freep) = mem_printf("/%s", name);
	size_t i;

	(void)warnings;
	if (!mounts)
		mounts = &alone;
	host = json_incref(json_object_get(config, "HostConfig"));
	if (json_is_null(host) || !host) {
		json_decref(host);
		host = json_object();
	}
	json_object_del(config, "HostConfig");
	json_object_del(config, "NetworkingConfig");
	if (!json_is_object(host)) {
		err_set(e, ERR_INVALID, "HostConfig: wrong type");
		goto out;
	}
	if (check_keys(config, "", config_keys, N(config_keys), e) < 0 || check_strings(config, "Env", "", e) < 0 || create_check_host(host, e) < 0)
		goto out;
	json_array_foreach(json_object_get(config, "Env"), i, v) {
		if (*json_string_value(v) == '=' || !*json_string_value(v)) {
			err_set(e, ERR_INVALID, "invalid environment variable: %s", json_string_value(v));
			goto out;
		}
	}
	if (str_eq(json_str(host, "UTSMode", ""), "host") && !str_empty(json_str(config, "Hostname", ""))) {
		err_set(e, ERR_INVALID, "conflicting options: hostname and the UTS mode");
		goto out;
	}
	if (!str_empty(json_str(config, "WorkingDir", "")) && *json_str(config, "WorkingDir", "") != '/') {
		err_set(e, ERR_INVALID, "the working directory '%s' is invalid, it needs to be an absolute path", json_str(config, "WorkingDir", ""));
		goto out;
	}
	if (!str_empty(json_str(config, "StopSignal", "")) && spec_signal(json_str(config, "StopSignal", ""), e) < 0)
		goto out;
	json_object_foreach(json_obj(config, "Labels"), name, v) {
		if (!json_is_string(v)) {
			err_set(e, ERR_INVALID, "Labels: the value of \"%s\" is not a string", name);
			goto out;
		}
	}
	merge_env(config, image);
	merge_object(config, image, "Labels");
	merge_object(config, image, "ExposedPorts");
	merge_object(config, image, "Volumes");
	mounts->config = config;
	mounts->host = host;
	points = mounts_parse(mounts, e);
	if (!points)
		goto out;
	if (!json_object_size(json_object_get(config, "Volumes")))
		doc_set(config, "Volumes", json_null());
	merge_text(config, image, "WorkingDir");
	merge_text(config, image, "User");
	merge_text(config, image, "StopSignal");
	check = health_merge(json_object_get(config, "Healthcheck"), json_object_get(image, "Healthcheck"));
	if (check)
		doc_set(config, "Healthcheck", check);
	if (health_check_config(check, e) < 0)
		goto out;
	if (merge_command(config, image, e) < 0)
		goto out;
	if (json_flag(config, "NetworkDisabled", false))
		doc_set(host, "NetworkMode", json_string("none"));
	host_defaults(host);
	if (str_empty(json_str(config, "Hostname", "")) && !str_eq(json_str(host, "UTSMode", ""), "host") &&
	    !str_eq(json_str(host, "NetworkMode", ""), "host")) {
		char short_id[ID_SHORT + 1];

		snprintf(short_id, sizeof(short_id), "%.12s", id);
		doc_set(config, "Hostname", json_string(short_id));
	}
	/* A document the spec cannot be made from is refused now, not at start. */
	{
		struct spec_in in = { .id = id, .config = config, .host = host, .path = "x", .rootfs = "/", .cgroups_path = "/x",
				      .mounts = points };

		v = spec_make(&in, e);
		if (!v)
			goto out;
		json_decref(v);
	}
	argv = json_array();
	json_array_extend(argv, json_arr(config, "Entrypoint"));
	json_array_extend(argv, json_arr(config, "Cmd"));
	str_time_ns(clock_wall(), now, sizeof(now));
	doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:O, s:O}", "Id", id, "Name", slash_name, "Created", now, "Image", image_id,
			"ImageName", image_name, "Path", json_at(argv, 0), "RestartCount", 0, "ManualStop", 0,
			"Config", config, "HostConfig", host);
	json_array_remove(argv, 0);
	doc_set(doc, "Args", argv);
	doc_set(doc, "MountPoints", json_incref(points));
	doc_set(doc, "State", json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:i, s:s, s:s, s:s}", "Status", "created", "Running", 0, "Paused", 0,
					"Restarting", 0, "OOMKilled", 0, "Dead", 0, "Pid", 0, "ExitCode", 0, "Error", "",
					"StartedAt", "0001-01-01T00:00:00Z", "FinishedAt", "0001-01-01T00:00:00Z"));
out:
	json_decref(points);
	json_decref(config);
	json_decref(host);
	return doc;
}

/* The request itself */

struct creation {
	struct container *c;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
	json_t *warnings;
	struct err e;
	struct engine *en;
};

static void created(void *user, const struct err *e)
{
	struct creation *cr = user;
	json_t *result = NULL;
	struct err told;

	(void)FAULT("engine.create");
	/* Clients take "not found" for the image's and go and pull it; a network, a link or a driver that is not there is a bad request. */
	if (e && e->kind == ERR_NOT_FOUND && !strstr(e->msg, "No such image")) {
		told = *e;
		told.kind = ERR_INVALID;
		e = &told;
	}
	if (e && cr->c) {
		cr->c->phase = PHASE_REMOVING;
		container_free(cr->c);
	} else if (cr->c) {
		result = json_pack("{s:s, s:O}", "Id", cr->c->id, "Warnings", cr->warnings);
		cr->c->phase = PHASE_IDLE;
		event_container(cr->c, "create", NULL);
	}
	cr->done(cr->user, result, e);
	json_decref(result);
	json_decref(cr->warnings);
	free(cr);
}

/* The container's record and the word that its volumes stay, at once. */
static void provided(void *user, const struct err *e)
{
	struct creation *cr = user;
	struct store_tx *tx;

	if (e) {
		created(cr, e);
		return;
	}
	(void)FAULT("engine.save");
	tx = store_tx_new(cr->en->store);
	store_tx_put(tx, "container", cr->c->id, cr->c->doc);
	mounts_keep(cr->c, tx);
	store_tx_commit_take(tx, created, cr);
}

static const json_t *mounts_of(void *user, const char *ref, struct err *e)
{
	struct container *c = engine_find(user, ref, e);

	return c ? doc_mounts(c) : NULL;
}

static int pick_name(struct engine *en, const char *name, char *out, size_t size, struct err *e)
{
	struct container *other;

	if (str_empty(name)) {
		for (unsigned i = 0; i < 64; i++) {
			id_random_name(out, size, i);
			if (!map_get(en->by_name, out))
				return 0;
		}
		return err_set(e, ERR_INTERNAL, "cannot find a free name: give one with --name");
	}
	if (*name == '/')
		name++;
	if (!id_name_valid(name))
		return err_set(e, ERR_INVALID, "Invalid container name (%.300s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
	other = map_get(en->by_name, name);
	if (other)
		return err_set(e, ERR_CONFLICT, "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) "
			       "that container to be able to reuse that name.", name, other->id);
	snprintf(out, size, "%s", name);
	return 0;
}

/* Before it is copied: thousands of ports are many megabytes. */
static json_t *create_fold(const json_t *body)
{
	json_t *copy = json_copy((json_t *)body), *host = json_copy(json_obj(body, "HostConfig"));

	if (host)
		doc_set(copy, "HostConfig", host);
	published_fold(copy, host);
	return copy;
}

void engine_create(struct engine *en, const char *name, const json_t *body, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct creation *cr = mem_zalloc(sizeof(*cr));
	char id[ID_LEN + 1], picked[256];
	struct mounts_in mounts = { .from = mounts_of, .user = en };
	struct image *im;
	json_t *doc, *given, *filled, *folded;

	cr->en = en;
	cr->done = done;
	cr->user = user;
	cr->warnings = json_array();
	if (!json_is_object(body)) {
		err_set(&cr->e, ERR_INVALID, "the request body is not an object");
		goto fail;
	}
	if (pick_name(en, name, picked, sizeof(picked), &cr->e) < 0)
		goto fail;
	if (!json_is_string(json_object_get(body, "Image")) || str_empty(json_str(body, "Image", ""))) {
		err_set(&cr->e, ERR_INVALID, "no image specified");
		goto fail;
	}
	im = image_find(en->images, json_str(body, "Image", ""), &cr->e);
	if (!im)
		goto fail;
	id_new(id);
	folded = create_fold(body);
	given = defaults_fill(folded, en->defaults);
	filled = logopt_fill(given, en->log_config);
	json_decref(given);
	json_decref(folded);
	doc = create_document(id, picked, filled, image_id(im), image_config(im), &mounts, cr->warnings, &cr->e);
	json_decref(filled);
	if (!doc)
		goto fail;
	if (remap_check(en, json_object_get(doc, "HostConfig"), &cr->e) < 0) {
		json_decref(doc);
		goto fail;
	}
	if (endpoints_create(en, doc, body, &cr->e) < 0) {
		json_decref(doc);
		goto fail;
	}
	cr->c = container_new(en, id, doc);
	cr->c->phase = PHASE_CLEANING;	/* nobody may use it before it is on disk */
	mounts_provide(cr->c, provided, cr);
	return;
fail:
	waiter_later(en, created, cr, &cr->e);
}
