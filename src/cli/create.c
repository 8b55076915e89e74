/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags to the body of a create request. Only what was asked for is in it, so that the engine can refuse what it does not do
 * without being bothered by defaults.
 */
#include "cli/create.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/spec.h"

enum { PROFILE_MAX = 1 << 20 };

struct body {
	const struct flags *f;
	json_t *config, *host;
	struct err *e;
	bool failed;
};

static void set(struct body *b, json_t *o, const char *key, json_t *v)
{
	if (!v || json_object_set_new(o, key, v) < 0)
		b->failed = true;
}

static void text(struct body *b, json_t *o, const char *flag, const char *key)
{
	if (flag_given(b->f, flag))
		set(b, o, key, spec_text(flag_str(b->f, flag), b->e));
}

static void number(struct body *b, json_t *o, const char *flag, const char *key)
{
	if (flag_given(b->f, flag))
		set(b, o, key, json_integer(flag_int(b->f, flag)));
}

static void boolean(struct body *b, json_t *o, const char *flag, const char *key)
{
	if (flag_given(b->f, flag))
		set(b, o, key, json_boolean(flag_bool(b->f, flag)));
}

static json_t *strings(struct body *b, char *const *v)
{
	json_t *a = json_array();

	for (; *v; v++) {
		json_t *s = spec_text(*v, b->e);

		if (!s || json_array_append_new(a, s) < 0)
			b->failed = true;
	}
	return a;
}

static void list(struct body *b, json_t *o, const char *flag, const char *key)
{
	if (flag_given(b->f, flag))
		set(b, o, key, strings(b, flag_list(b->f, flag)));
}

/* "k=v" words to an object. */
static void pairs(struct body *b, json_t *o, const char *flag, const char *key)
{
	json_t *v;

	if (!flag_given(b->f, flag))
		return;
	v = json_object();
	for (char *const *w = flag_list(b->f, flag); *w; w++) {
		if (spec_label(*w, v, b->e) < 0)
			b->failed = true;
	}
	set(b, o, key, v);
}

static void each(struct body *b, const char *flag, json_t *out, int (*fn)(const char *, json_t *, struct err *))
{
	for (char *const *w = flag_list(b->f, flag); *w && !b->failed; w++) {
		if (fn(*w, out, b->e) < 0)
			b->failed = true;
	}
}

static void put_unless_empty(struct body *b, json_t *o, const char *key, json_t *v)
{
	bool empty = json_is_object(v) ? !json_object_size(v) : !json_array_size(v);

	if (empty)
		json_decref(v);
	else
		set(b, o, key, v);
}

static void ports(struct body *b)
{
	json_t *exposed = json_object(), *bindings = json_object();

	for (char *const *w = flag_list(b->f, "publish"); *w && !b->failed; w++)
		b->failed = spec_publish(*w, exposed, bindings, b->e) < 0;
	if (!b->failed)
		each(b, "expose", exposed, spec_expose);
	put_unless_empty(b, b->config, "ExposedPorts", exposed);
	put_unless_empty(b, b->host, "PortBindings", bindings);
	boolean(b, b->host, "publish-all", "PublishAllPorts");
}

static void mounts(struct body *b)
{
	json_t *binds = json_array(), *volumes = json_object(), *all = json_array(), *tmpfs = json_object();

	for (char *const *w = flag_list(b->f, "volume"); *w && !b->failed; w++)
		b->failed = spec_volume(*w, binds, volumes, b->e) < 0;
	each(b, "mount", all, spec_mount);
	for (char *const *w = flag_list(b->f, "tmpfs"); *w && !b->failed; w++) {
		char *path CLEANUP(mem_freep) = mem_strdup(*w), *opts = strchr(path, ':');

		if (opts)
			*opts++ = '\0';
		set(b, tmpfs, path, spec_text(opts ? opts : "", b->e));
	}
	put_unless_empty(b, b->host, "Binds", binds);
	put_unless_empty(b, b->config, "Volumes", volumes);
	put_unless_empty(b, b->host, "Mounts", all);
	put_unless_empty(b, b->host, "Tmpfs", tmpfs);
	list(b, b->host, "volumes-from", "VolumesFrom");
	text(b, b->host, "volume-driver", "VolumeDriver");
}

static void environment(struct body *b)
{
	json_t *env = json_array(), *labels = json_object();

	each(b, "env-file", env, spec_env_file);
	each(b, "env", env, spec_env);
	each(b, "label-file", labels, spec_label_file);
	each(b, "label", labels, spec_label);
	put_unless_empty(b, b->config, "Env", env);
	put_unless_empty(b, b->config, "Labels", labels);
}

static void health(struct body *b)
{
	static const char *const others[] = { "health-cmd", "health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval" };
	const struct flags *f = b->f;
	json_t *h = json_object();
	bool any = false;

	for (size_t i = 0; i < N(others); i++)
		any |= flag_given(f, others[i]);
	if (flag_bool(f, "no-healthcheck")) {
		if (any)
			b->failed = err_set(b->e, ERR_INVALID, "--no-healthcheck conflicts with --health-* options") < 0;
		set(b, h, "Test", json_pack("[s]", "NONE"));
	}
	if (*flag_str(f, "health-cmd")) {
		json_t *cmd = spec_text(flag_str(f, "health-cmd"), b->e);

		if (cmd)
			set(b, h, "Test", json_pack("[s, o]", "CMD-SHELL", cmd));
		else
			b->failed = true;
	}
	number(b, h, "health-interval", "Interval");
	number(b, h, "health-timeout", "Timeout");
	number(b, h, "health-start-period", "StartPeriod");
	number(b, h, "health-start-interval", "StartInterval");
	number(b, h, "health-retries", "Retries");
	put_unless_empty(b, b->config, "Healthcheck", h);
}

/* seccomp=FILE: the profile itself goes to the engine, which may be elsewhere. */
static void security(struct body *b)
{
	json_t *opts = json_array();

	for (char *const *w = flag_list(b->f, "security-opt"); *w && !b->failed; w++) {
		size_t head = strcspn(*w, "=:");
		const char *value = (*w)[head] ? *w + head + 1 : "";
		struct buf file CLEANUP(buf_done) = BUF_INIT;
		char *word CLEANUP(mem_freep) = NULL, *compact CLEANUP(mem_freep) = NULL;
		json_t *doc CLEANUP(json_freep) = NULL;
		int r;

		if (!(*w)[head] && !str_eq(*w, "no-new-privileges")) {
			b->failed = err_set(b->e, ERR_INVALID, "Invalid --security-opt: \"%.100s\"", *w) < 0;
			break;
		}
		if (str_eq(*w, "systempaths=unconfined") || str_eq(*w, "systempaths:unconfined")) {
			set(b, b->host, "MaskedPaths", json_array());
			set(b, b->host, "ReadonlyPaths", json_array());
			continue;
		}
		if (head == 7 && !memcmp(*w, "seccomp", 7) && !str_eq(value, "unconfined") && !str_eq(value, "builtin")) {
			r = file_read_at(AT_FDCWD, value, PROFILE_MAX, &file);
			if (r < 0) {
				b->failed = err_set(b->e, ERR_INVALID, "opening seccomp profile (%s) failed: open %s: %s", value, value, spec_errno(-r)) < 0;
				break;
			}
			doc = json_parse(file.data ? file.data : "", file.len, value, b->e);
			if (!doc) {
				b->failed = err_wrap(b->e, "compacting json for seccomp profile (%s) failed", value) < 0;
				break;
			}
			compact = json_text(doc);
			word = mem_printf("seccomp=%s", compact);
		}
		if (json_array_append_new(opts, spec_text(word ? word : *w, b->e)) < 0)
			b->failed = true;
	}
	put_unless_empty(b, b->host, "SecurityOpt", opts);
}

static void resources(struct body *b)
{
	static const struct { const char *flag, *key; int (*parse)(const char *, json_t *, struct err *); } rates[] = {
		{ "blkio-weight-device", "BlkioWeightDevice", spec_weight }, { "device-read-bps", "BlkioDeviceReadBps", spec_throttle_bytes },
		{ "device-write-bps", "BlkioDeviceWriteBps", spec_throttle_bytes }, { "device-read-iops", "BlkioDeviceReadIOps", spec_throttle_number },
		{ "device-write-iops", "BlkioDeviceWriteIOps", spec_throttle_number },
	};
	json_t *h = b->host, *ulimits = json_array(), *devices = json_array();

	number(b, h, "memory", "Memory");
	number(b, h, "memory-reservation", "MemoryReservation");
	number(b, h, "memory-swap", "MemorySwap");
	number(b, h, "memory-swappiness", "MemorySwappiness");
	number(b, h, "cpu-period", "CpuPeriod");
	number(b, h, "cpu-quota", "CpuQuota");
	number(b, h, "cpu-shares", "CpuShares");
	number(b, h, "cpu-rt-period", "CpuRealtimePeriod");
	number(b, h, "cpu-rt-runtime", "CpuRealtimeRuntime");
	number(b, h, "kernel-memory", "KernelMemory");
	number(b, h, "cpu-count", "CpuCount");
	number(b, h, "cpu-percent", "CpuPercent");
	number(b, h, "io-maxiops", "IOMaximumIOps");
	number(b, h, "io-maxbandwidth", "IOMaximumBandwidth");
	if (flag_given(b->f, "cpus"))
		set(b, h, "NanoCpus", json_integer((json_int_t)(flag_decimal(b->f, "cpus") * 1e9 + 0.5)));
	text(b, h, "cpuset-cpus", "CpusetCpus");
	text(b, h, "cpuset-mems", "CpusetMems");
	number(b, h, "blkio-weight", "BlkioWeight");
	for (size_t i = 0; i < N(rates); i++) {
		json_t *devs = json_array();

		each(b, rates[i].flag, devs, rates[i].parse);
		put_unless_empty(b, h, rates[i].key, devs);
	}
	number(b, h, "pids-limit", "PidsLimit");
	boolean(b, h, "oom-kill-disable", "OomKillDisable");
	number(b, h, "oom-score-adj", "OomScoreAdj");
	number(b, h, "shm-size", "ShmSize");
	each(b, "ulimit", ulimits, spec_ulimit);
	each(b, "device", devices, spec_device);
	put_unless_empty(b, h, "Ulimits", ulimits);
	put_unless_empty(b, h, "Devices", devices);
	list(b, h, "device-cgroup-rule", "DeviceCgroupRules");
	text(b, h, "cgroup-parent", "CgroupParent");
}

/* "net_admin" is what users write and CAP_NET_ADMIN what it is called. */
static void capabilities(struct body *b, const char *flag, const char *key)
{
	json_t *caps = json_array();

	for (char *const *w = flag_list(b->f, flag); *w && !b->failed; w++) {
		char *name CLEANUP(mem_freep) = mem_printf("%s%s", !strncasecmp(*w, "CAP_", 4) || !strcasecmp(*w, "ALL") ? "" : "CAP_", *w);

		for (char *p = name; *p; p++)
			*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
		b->failed = json_array_append_new(caps, spec_text(name, b->e)) < 0;
	}
	put_unless_empty(b, b->host, key, caps);
}

static void mode(struct body *b, const char *flag, const char *what, const char *other)
{
	const char *v = flag_str(b->f, flag);

	if (*v && !str_eq(v, "host") && !(other && (str_eq(v, other) || (str_starts(other, "container:") && str_starts(v, other)))))
		b->failed = err_set(b->e, ERR_INVALID, "--%s: invalid %s mode", flag, what) < 0;
}

static void isolation(struct body *b)
{
	json_t *h = b->host;

	mode(b, "pid", "PID", "container:");
	mode(b, "uts", "UTS", NULL);
	mode(b, "userns", "USER", NULL);
	mode(b, "cgroupns", "CGROUP", "private");
	if (b->failed)
		return;
	capabilities(b, "cap-add", "CapAdd");
	capabilities(b, "cap-drop", "CapDrop");
	boolean(b, h, "privileged", "Privileged");
	boolean(b, h, "read-only", "ReadonlyRootfs");
	boolean(b, h, "init", "Init");
	text(b, h, "ipc", "IpcMode");
	text(b, h, "pid", "PidMode");
	text(b, h, "uts", "UTSMode");
	text(b, h, "userns", "UsernsMode");
	text(b, h, "cgroupns", "CgroupnsMode");
	list(b, h, "group-add", "GroupAdd");
	text(b, h, "runtime", "Runtime");
	text(b, h, "isolation", "Isolation");
	pairs(b, h, "storage-opt", "StorageOpt");
	if (*flag_str(b->f, "gpus"))	/* whatever is asked of it: the engine says what it thinks of device drivers */
		set(b, h, "DeviceRequests", json_pack("[{s:i, s:[[s]]}]", "Count", -1, "Capabilities", "gpu"));
	if (!flag_bool(b->f, "disable-content-trust"))
		b->failed = err_set(b->e, ERR_INVALID, "--disable-content-trust=false: images are verified by their digests, not by Notary's signatures") < 0;
	else if (flag_bool(b->f, "use-api-socket"))
		b->failed = err_set(b->e, ERR_INVALID, "--use-api-socket is not supported: mount the engine's socket with -v if the container may be root here") < 0;
	pairs(b, h, "sysctl", "Sysctls");
	pairs(b, h, "annotation", "Annotations");
	security(b);
}

static json_t *networking(struct body *b)
{
	json_t *hosts = json_array(), *endpoints = json_object();

	each(b, "add-host", hosts, spec_host);
	put_unless_empty(b, b->host, "ExtraHosts", hosts);
	list(b, b->host, "dns", "Dns");
	list(b, b->host, flag_given(b->f, "dns-opt") ? "dns-opt" : "dns-option", "DnsOptions");
	list(b, b->host, "dns-search", "DnsSearch");
	list(b, b->host, "link", "Links");
	if (create_networks(b->f, b->host, endpoints, b->e) < 0)
		b->failed = true;
	if (!json_object_size(endpoints)) {
		json_decref(endpoints);
		return NULL;
	}
	return json_pack("{s:o}", "EndpointsConfig", endpoints);
}

static void attach(struct body *b, bool detach)
{
	char *const *w = flag_list(b->f, "attach");
	bool in = flag_bool(b->f, "interactive"), streams[3] = { false };
	struct winsize ws;

	for (; *w; w++)
		streams[!strcasecmp(*w, "stdin") ? 0 : !strcasecmp(*w, "stdout") ? 1 : 2] = true;
	if (!flag_given(b->f, "attach") && !detach) {
		streams[0] = in;
		streams[1] = streams[2] = true;
	}
	set(b, b->config, "AttachStdin", json_boolean(streams[0]));
	set(b, b->config, "AttachStdout", json_boolean(streams[1]));
	set(b, b->config, "AttachStderr", json_boolean(streams[2]));
	set(b, b->config, "OpenStdin", json_boolean(in));
	set(b, b->config, "StdinOnce", json_boolean(in && streams[0]));
	set(b, b->config, "Tty", json_boolean(flag_bool(b->f, "tty")));
	if (flag_bool(b->f, "tty") && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0)
		set(b, b->host, "ConsoleSize", json_pack("[i, i]", ws.ws_row, ws.ws_col));
}

static void policies(struct body *b)
{
	json_t *policy, *log = json_object();

	if (flag_given(b->f, "restart") && *flag_str(b->f, "restart")) {
		if (spec_restart(flag_str(b->f, "restart"), &policy, b->e) < 0) {
			b->failed = true;
		} else {
			bool none = str_eq(json_str(policy, "Name", ""), "no");

			set(b, b->host, "RestartPolicy", policy);
			if (!none && flag_bool(b->f, "rm"))
				b->failed = err_set(b->e, ERR_INVALID, "conflicting options: cannot specify both --restart and --rm") < 0;
		}
	}
	text(b, log, "log-driver", "Type");
	pairs(b, log, "log-opt", "Config");
	put_unless_empty(b, b->host, "LogConfig", log);
	boolean(b, b->host, "rm", "AutoRemove");
	text(b, b->config, "stop-signal", "StopSignal");
	number(b, b->config, "stop-timeout", "StopTimeout");
}

json_t *create_body(const struct flags *f, bool detach, struct err *e)
{
	struct body b = { f, json_object(), json_object(), e, false };
	const char *pull = flag_str(f, "pull");
	json_t *net;

	if (!str_eq(pull, "missing") && !str_eq(pull, "never") && !str_eq(pull, "always"))
		b.failed = err_set(e, ERR_INVALID, "invalid pull option: '%.60s': must be one of \"always\", \"missing\" or \"never\"", pull) < 0;
	set(&b, b.config, "Image", spec_text(f->args[0], e));
	if (f->args[1])
		set(&b, b.config, "Cmd", strings(&b, f->args + 1));
	text(&b, b.config, "hostname", "Hostname");
	text(&b, b.config, "domainname", "Domainname");
	text(&b, b.config, "user", "User");
	text(&b, b.config, "workdir", "WorkingDir");
	if (flag_given(f, "entrypoint"))
		set(&b, b.config, "Entrypoint", json_pack("[o]", spec_text(flag_str(f, "entrypoint"), e)));
	/* The first thing that is wrong is the one that is told: no step runs after a failure. */
	void (*const steps[])(struct body *) = { ports, mounts, environment, health, resources, isolation, policies };
	for (size_t i = 0; i < N(steps) && !b.failed; i++)
		steps[i](&b);
	if (!b.failed)
		attach(&b, detach);
	net = b.failed ? NULL : networking(&b);
	set(&b, b.config, "HostConfig", b.host);
	if (net)
		set(&b, b.config, "NetworkingConfig", net);
	if (!b.failed)
		return b.config;
	json_decref(b.config);
	return NULL;
}
