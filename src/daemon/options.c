/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration. One table names every option with its flag and its daemon.json key, as dockerd spells them where it has one. A
 * value given both by flag and in the file is an error, as it is for dockerd: nobody could say which was meant. Lists add up
 * within one place only.
 */
#include <config.h>

#include "daemon/options.h"

#include <fcntl.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/defaults.h"

enum option_type { OPTION_STRING, OPTION_LIST, OPTION_BOOL, OPTION_TLS, OPTION_COUNT, OPTION_PAIRS, OPTION_POOLS, OPTION_DEFAULT };

struct option_def {
	const char *flag, *key;		/* key NULL: flag only */
	char letter;
	enum option_type type;
	size_t off;
	const char *help;
};

#define OFF(field) offsetof(struct config, field)
static const struct option_def option_defs[] = {
	{ "host", "hosts", 'H', OPTION_LIST, OFF(hosts), "Socket to listen on (unix://, tcp://, fd://); repeatable" },
	{ "config-file", NULL, 0, OPTION_STRING, OFF(config_file), "Configuration file (default /etc/kedge/daemon.json)" },
	{ "data-root", "data-root", 0, OPTION_STRING, OFF(data_root), "Durable state (default /var/lib/kedge)" },
	{ "exec-root", "exec-root", 0, OPTION_STRING, OFF(exec_root), "Run-time state (default /run/kedge)" },
	{ "pidfile", "pidfile", 'p', OPTION_STRING, OFF(pidfile), "File for the daemon's pid (default EXEC-ROOT/kedged.pid)" },
	{ "group", "group", 'G', OPTION_STRING, OFF(group), "Group that may use the Unix sockets" },
	{ "log-level", "log-level", 'l', OPTION_STRING, OFF(log_level), "debug, info, warn or error (default info)" },
	{ "debug-for", "debug-for", 0, OPTION_STRING, OFF(debug_for), "Subsystems whose debug messages are logged at any level, e.g. api,http" },
	{ "instance", "instance", 0, OPTION_STRING, OFF(instance), "Name that sets this engine apart from others on the machine (default 'default')" },
	{ "bridge", "bridge", 'b', OPTION_STRING, OFF(bridge), "Name of the default network's bridge (default kedge0)" },
	{ "bip", "bip", 0, OPTION_STRING, OFF(bip), "Address of that bridge with its prefix, e.g. 172.17.0.1/16" },
	{ "default-address-pool", "default-address-pools", 0, OPTION_POOLS, OFF(address_pools), "Where networks get their subnets from: base=10.10.0.0/16,size=24; repeatable" },
	{ "datapath", "datapath", 0, OPTION_STRING, OFF(datapath), "auto, ebpf, nft or proxy (default auto)" },
	{ "xdp", "xdp", 0, OPTION_STRING, OFF(xdp), "auto, off or native: refuse packets in an uplink's driver (default auto)" },
	{ "publish-policy", "publish-policy", 0, OPTION_STRING, OFF(publish_policy), "direct or guarded: published ports of containers without a label (default direct)" },
	{ "metrics-addr", "metrics-addr", 0, OPTION_STRING, OFF(metrics_addr), "Address and port to serve Prometheus metrics on, e.g. 127.0.0.1:9323" },
	{ "ip-forward", "ip-forward", 0, OPTION_BOOL, OFF(ip_forward), "Turn IP forwarding on where a path needs it (default true)" },
	{ "cgroup-parent", "cgroup-parent", 0, OPTION_STRING, OFF(cgroup_parent), "Parent cgroup of the containers (default kedge)" },
	{ "userns-remap", "userns-remap", 0, OPTION_STRING, OFF(userns_remap), "Run containers in user namespaces: default, USER[:GROUP] or UID[:GID] of /etc/subuid" },
	{ "runtime-path", "runtime-path", 0, OPTION_STRING, OFF(runtime_path), "The kedge-runtime program (default: beside kedged)" },
	{ "insecure-registry", "insecure-registries", 0, OPTION_LIST, OFF(insecure_registries), "Registry (host[:port] or CIDR) that may be without TLS; repeatable" },
	{ "registry-mirror", "registry-mirrors", 0, OPTION_LIST, OFF(registry_mirrors), "URL that is asked before docker.io; repeatable" },
	{ "max-concurrent-downloads", "max-concurrent-downloads", 0, OPTION_COUNT, OFF(max_downloads), "Layers pulled at the same time (default 3)" },
	{ "max-concurrent-uploads", "max-concurrent-uploads", 0, OPTION_COUNT, OFF(max_uploads), "Layers pushed at the same time (default 5)" },
	{ "max-download-attempts", "max-download-attempts", 0, OPTION_COUNT, OFF(max_attempts), "Attempts for each request to a registry (default 5)" },
	{ "log-driver", "log-driver", 0, OPTION_STRING, OFF(log_driver), "Log driver of containers that name none (default json-file)" },
	{ "log-opt", "log-opts", 0, OPTION_PAIRS, OFF(log_opts), "Option for it, key=value; repeatable" },
	{ "add-runtime", "runtimes", 0, OPTION_DEFAULT, OFF(defaults), "Another OCI runtime, name=path; repeatable" },
	{ "default-runtime", "default-runtime", 0, OPTION_DEFAULT, OFF(defaults), "Runtime of containers that name none (default kedge)" },
	{ "init", "init", 0, OPTION_DEFAULT, OFF(defaults), "Run an init in containers that do not say whether they want one" },
	{ "init-path", "init-path", 0, OPTION_DEFAULT, OFF(defaults), "The init of containers whose runtime is not kedge's own" },
	{ "seccomp-profile", "seccomp-profile", 0, OPTION_DEFAULT, OFF(defaults), "Default seccomp profile: a file, builtin or unconfined (default builtin)" },
	{ "no-new-privileges", "no-new-privileges", 0, OPTION_DEFAULT, OFF(defaults), "Set no-new-privileges for containers that do not say" },
	{ "dns", "dns", 0, OPTION_DEFAULT, OFF(defaults), "DNS server of containers that name none; repeatable" },
	{ "dns-opt", "dns-opts", 0, OPTION_DEFAULT, OFF(defaults), "DNS option of theirs; repeatable" },
	{ "dns-search", "dns-search", 0, OPTION_DEFAULT, OFF(defaults), "DNS search domain of theirs; repeatable" },
	{ "default-ulimit", "default-ulimits", 0, OPTION_DEFAULT, OFF(defaults), "Limit of containers that name none, name=soft[:hard]; repeatable" },
	{ "default-shm-size", "default-shm-size", 0, OPTION_DEFAULT, OFF(defaults), "Size of /dev/shm (default 64M)" },
	{ "default-ipc-mode", "default-ipc-mode", 0, OPTION_DEFAULT, OFF(defaults), "private or shareable (default private)" },
	{ "default-cgroupns-mode", "default-cgroupns-mode", 0, OPTION_DEFAULT, OFF(defaults), "host or private (default private with cgroup version 2)" },
	{ "label", "labels", 0, OPTION_DEFAULT, OFF(defaults), "Label of this engine, key=value; repeatable" },
	{ "feature", "features", 0, OPTION_DEFAULT, OFF(defaults), "There are none; in the file what is false may stand" },
	{ "live-restore", "live-restore", 0, OPTION_DEFAULT, OFF(defaults), "true: containers always outlive the engine" },
	{ "experimental", "experimental", 0, OPTION_DEFAULT, OFF(defaults), "false" },
	{ "selinux-enabled", "selinux-enabled", 0, OPTION_DEFAULT, OFF(defaults), "false" },
	{ "storage-driver", "storage-driver", 's', OPTION_DEFAULT, OFF(defaults), "overlay2" },
	{ "exec-opt", "exec-opts", 0, OPTION_DEFAULT, OFF(defaults), "native.cgroupdriver=cgroupfs" },
	{ "shutdown-timeout", "shutdown-timeout", 0, OPTION_DEFAULT, OFF(defaults), "Refused: no container is stopped when the engine stops" },
	{ "tls", "tls", 0, OPTION_TLS, OFF(tls), "Use mutual TLS on tcp://; --tls=false allows plain TCP" },
	{ "tlsverify", "tlsverify", 0, OPTION_TLS, OFF(tls), "The same: clients are always verified" },
	{ "tlscacert", "tlscacert", 0, OPTION_STRING, OFF(tlscacert), "CA that signs the clients' certificates" },
	{ "tlscert", "tlscert", 0, OPTION_STRING, OFF(tlscert), "The server's certificate" },
	{ "tlskey", "tlskey", 0, OPTION_STRING, OFF(tlskey), "The server's key" },
};

static void config_usage(FILE *out)
{
	fputs("Usage: kedged [OPTIONS]\n\nThe kedge container engine.\n\nOptions:\n", out);
	for (size_t i = 0; i < N(option_defs); i++) {
		const struct option_def *d = &option_defs[i];

		fprintf(out, "  %c%c%c --%-26s %s\n", d->letter ? '-' : ' ', d->letter ? d->letter : ' ', d->letter ? ',' : ' ', d->flag, d->help);
	}
	fputs("  -D, --debug                      The same as --log-level debug\n"
	      "  -v, --version                    Print the version and quit\n"
	      "      --help                       Print this and quit\n", out);
}

static void config_put(struct config *c, const struct option_def *d, const char *text, bool flag)
{
	char *at = (char *)c + d->off;

	switch (d->type) {
	case OPTION_STRING:
		free(*(char **)at);
		*(char **)at = mem_strdup(text);
		break;
	case OPTION_LIST:
	case OPTION_PAIRS:
	case OPTION_POOLS:
		*(char ***)at = strv_add(*(char ***)at, text);
		break;
	case OPTION_TLS:
		c->tls_off = !flag;
		*(bool *)at = flag;
		break;
	case OPTION_BOOL:
		*(bool *)at = flag;
		break;
	case OPTION_COUNT:
		*(int64_t *)at = strtoll(text, NULL, 10);
		break;
	case OPTION_DEFAULT:	/* defaults_put() */
		break;
	}
}

static bool config_alone(const struct option_def *d)
{
	return d->type == OPTION_BOOL || d->type == OPTION_TLS || (d->type == OPTION_DEFAULT && defaults_is_flag(d->key));
}

/* A count from 1 to 64, as text of it. */
static int config_check_count(const char *name, const char *text, struct err *e)
{
	uint64_t n;

	return str_to_u64(text, 1, 64, &n) < 0 ? err_set(e, ERR_INVALID, "%s: '%s' is not a number from 1 to 64", name, text) : 0;
}

static int config_parse_bool(const char *name, const char *text, bool *ret, struct err *e)
{
	if (!text || str_eq(text, "true") || str_eq(text, "1"))
		*ret = true;
	else if (str_eq(text, "false") || str_eq(text, "0"))
		*ret = false;
	else
		return err_set(e, ERR_INVALID, "--%s: '%s' is neither true nor false", name, text);
	return 0;
}

/* Returns what config_load does; given[] says which options the command line set. */
static int config_flags(struct config *c, int argc, char **argv, bool *given, struct err *e)
{
	struct option longs[N(option_defs) + 4] = { 0 };
	char shorts[2 * N(option_defs) + 8] = ":Dv";
	size_t n = 0, s = strlen(shorts);
	int opt;

	for (; n < N(option_defs); n++) {
		const struct option_def *d = &option_defs[n];
		longs[n] = (struct option){ d->flag, config_alone(d) ? optional_argument : required_argument, NULL, 256 + (int)n };
		if (d->letter) {
			shorts[s++] = d->letter;
			shorts[s++] = ':';
		}
	}
	longs[n++] = (struct option){ "debug", no_argument, NULL, 'D' };
	longs[n++] = (struct option){ "version", no_argument, NULL, 'v' };
	longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
	opterr = 0;
	while ((opt = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		size_t i = 0;
		bool flag = false;

		if (opt == 'h') {
			config_usage(stdout);
			return 1;
		}
		if (opt == 'v') {
			puts("kedged version " PACKAGE_VERSION);
			return 1;
		}
		if (opt == '?')
			return err_set(e, ERR_INVALID, "unknown flag: %s", argv[optind - 1]);
		if (opt == ':')
			return err_set(e, ERR_INVALID, "flag needs an argument: %s", argv[optind - 1]);
		if (opt == 'D') {
			free(c->log_level);
			c->log_level = mem_strdup("debug");
			continue;
		}
		for (i = 0; i < N(option_defs); i++)
			if (opt == 256 + (int)i || (option_defs[i].letter && opt == option_defs[i].letter))
				break;
		if ((option_defs[i].type == OPTION_BOOL || option_defs[i].type == OPTION_TLS) &&
		    config_parse_bool(option_defs[i].flag, optarg, &flag, e) < 0)
			return -1;
		if (option_defs[i].type == OPTION_COUNT && config_check_count(option_defs[i].flag, optarg, e) < 0)
			return -1;
		if (option_defs[i].type == OPTION_DEFAULT && defaults_put_text(c->defaults, option_defs[i].key, optarg, e) < 0)
			return -1;
		config_put(c, &option_defs[i], optarg, flag);
		given[i] = true;
	}
	if (optind < argc)
		return err_set(e, ERR_INVALID, "kedged takes no arguments, got '%s'", argv[optind]);
	return 0;
}

/* An object of strings, as dockerd has it in the file. */
static int config_file_pairs(struct config *c, const struct option_def *d, const json_t *value, struct err *e)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value))
		return err_set(e, ERR_INVALID, "'%s' is not an object of strings", d->key);
	json_object_foreach((json_t *)value, key, item) {
		char *pair;

		if (!json_is_string(item))
			return err_set(e, ERR_INVALID, "'%s': the value of '%s' is not a string", d->key, key);
		pair = mem_printf("%s=%s", key, json_string_value(item));
		config_put(c, d, pair, false);
		free(pair);
	}
	return 0;
}

/* [{"base": "10.10.0.0/16", "size": 24}] */
static int config_file_pools(struct config *c, const struct option_def *d, const json_t *value, struct err *e)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(value))
		return err_set(e, ERR_INVALID, "'%s' is not a list of objects with base and size", d->key);
	json_array_foreach(value, i, item) {
		const json_t *base = json_object_get(item, "base"), *size = json_object_get(item, "size");
		char *text;

		if (!json_is_string(base) || !json_is_integer(size))
			return err_set(e, ERR_INVALID, "'%s' is not a list of objects with base and size", d->key);
		text = mem_printf("base=%s,size=%lld", json_string_value(base), (long long)json_integer_value(size));
		config_put(c, d, text, false);
		free(text);
	}
	return 0;
}

static int config_file_value(struct config *c, const struct option_def *d, const json_t *value, struct err *e)
{
	const json_t *item;
	char text[32];
	size_t i;

	switch (d->type) {
	case OPTION_COUNT:
		if (!json_is_integer(value))
			return err_set(e, ERR_INVALID, "'%s' is not a number", d->key);
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		if (config_check_count(d->key, text, e) < 0)
			return -1;
		config_put(c, d, text, false);
		return 0;
	case OPTION_STRING:
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, "'%s' is not a string", d->key);
		config_put(c, d, json_string_value(value), false);
		return 0;
	case OPTION_LIST:
		if (!json_is_array(value))
			return err_set(e, ERR_INVALID, "'%s' is not a list of strings", d->key);
		json_array_foreach(value, i, item) {
			if (!json_is_string(item))
				return err_set(e, ERR_INVALID, "'%s' is not a list of strings", d->key);
			config_put(c, d, json_string_value(item), false);
		}
		return 0;
	case OPTION_PAIRS:
		return config_file_pairs(c, d, value, e);
	case OPTION_POOLS:
		return config_file_pools(c, d, value, e);
	case OPTION_DEFAULT:
		return defaults_put(c->defaults, d->key, value, e);
	case OPTION_BOOL:
	case OPTION_TLS:
		if (!json_is_boolean(value))
			return err_set(e, ERR_INVALID, "'%s' is neither true nor false", d->key);
		config_put(c, d, NULL, json_is_true(value));
		return 0;
	}
	return 0;
}

static int config_file(struct config *c, const char *path, bool must_exist, const bool *given, struct err *e)
{
	json_t *doc, *value;
	const char *key;
	size_t i;
	int rc = 0;

	if (!must_exist && access(path, F_OK) < 0)
		return 0;
	doc = json_parse_file_at(AT_FDCWD, path, 1 << 20, e);
	if (!doc)
		return -1;
	if (!json_is_object(doc)) {
		json_decref(doc);
		return err_set(e, ERR_INVALID, "%s: the file is not a JSON object", path);
	}
	json_object_foreach(doc, key, value) {
		if (str_eq(key, "debug") && json_is_boolean(value)) {
			if (json_is_true(value) && !c->log_level)
				c->log_level = mem_strdup("debug");
			continue;
		}
		for (i = 0; i < N(option_defs); i++)
			if (str_eq(option_defs[i].key, key))
				break;
		if (i == N(option_defs))
			rc = err_set(e, ERR_INVALID, "unknown key '%s'", key);
		else if (given[i])
			rc = err_set(e, ERR_INVALID, "'%s' is given both here and as the flag --%s", key, option_defs[i].flag);
		else
			rc = config_file_value(c, &option_defs[i], value, e);
		if (rc < 0) {
			(void)err_wrap(e, "%s", path);
			break;
		}
	}
	json_decref(doc);
	return rc;
}

static void config_default(char **field, const char *value)
{
	if (!*field)
		*field = mem_strdup(value);
}

/* kedge-runtime lies beside kedged, in the build folder as after an installation. */
static char *config_runtime_path(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return mem_strdup("kedge-runtime");
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = '\0';
	return mem_printf("%skedge-runtime", self);
}

int config_load(struct config *c, int argc, char **argv, struct err *e)
{
	bool given[N(option_defs)] = { 0 };
	int rc;

	*c = (struct config){ .ip_forward = true, .defaults = json_object() };
	rc = config_flags(c, argc, argv, given, e);
	if (rc)
		return rc;
	if (config_file(c, c->config_file ? c->config_file : "/etc/kedge/daemon.json", c->config_file, given, e) < 0)
		return -1;
	config_default(&c->data_root, "/var/lib/kedge");
	config_default(&c->exec_root, "/run/kedge");
	config_default(&c->log_level, "info");
	config_default(&c->instance, "default");
	config_default(&c->bridge, "kedge0");
	config_default(&c->datapath, "auto");
	config_default(&c->cgroup_parent, "kedge");
	if (!c->pidfile)
		c->pidfile = mem_printf("%s/kedged.pid", c->exec_root);
	if (!c->runtime_path)
		c->runtime_path = config_runtime_path();
	if (!c->hosts) {
		CLEANUP(mem_freep) char *host = mem_printf("unix://%s/kedge.sock", c->exec_root);

		c->hosts = strv_add(NULL, host);
	}
	for (const char *const *p = (const char *const[]){ c->data_root, c->exec_root, NULL }; *p; p++)
		if (**p != '/')
			return err_set(e, ERR_INVALID, "'%s' is not an absolute path", *p);
	return 0;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < N(option_defs); i++) {
		char *at = (char *)c + option_defs[i].off;

		if (option_defs[i].type == OPTION_STRING)
			free(*(char **)at);
		else if (option_defs[i].type == OPTION_LIST || option_defs[i].type == OPTION_PAIRS || option_defs[i].type == OPTION_POOLS)
			strv_free(*(char ***)at);
	}
	json_decref(c->defaults);
	*c = (struct config){ 0 };
}
