/* SPDX-License-Identifier: Apache-2.0 */
/* The OCI runtime configuration (runtime-spec 1.2, config.md) of a container. Pure: no file is touched, all comes in. */
#include "engine/engine_priv.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/mounts.h"
#include "engine/security.h"

#define INIT_INSIDE "/sbin/docker-init"	/* where docker has it */

static const char default_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

int spec_signal(const char *word, struct err *e)
{
	static const struct { const char *name; int no; } table[] = {
		{ "HUP", 1 }, { "INT", 2 }, { "QUIT", 3 }, { "ILL", 4 }, { "TRAP", 5 }, { "ABRT", 6 }, { "IOT", 6 }, { "BUS", 7 }, { "FPE", 8 },
		{ "KILL", 9 }, { "USR1", 10 }, { "SEGV", 11 }, { "USR2", 12 }, { "PIPE", 13 }, { "ALRM", 14 }, { "TERM", 15 }, { "STKFLT", 16 },
		{ "CHLD", 17 }, { "CLD", 17 }, { "CONT", 18 }, { "STOP", 19 }, { "TSTP", 20 }, { "TTIN", 21 }, { "TTOU", 22 }, { "URG", 23 },
		{ "XCPU", 24 }, { "XFSZ", 25 }, { "VTALRM", 26 }, { "PROF", 27 }, { "WINCH", 28 }, { "IO", 29 }, { "POLL", 29 }, { "PWR", 30 },
		{ "SYS", 31 }, { "RTMIN", 34 }, { "RTMAX", 64 },
	};
	const char *name = word;
	uint64_t n;

	if (str_to_u64(word, 1, 64, &n) == 0)
		return (int)n;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	for (size_t i = 0; i < N(table); i++) {
		if (!strcasecmp(table[i].name, name))
			return table[i].no;
	}
	if (!strncasecmp(name, "RTMIN+", 6) && str_to_u64(name + 6, 0, 15, &n) == 0)
		return 34 + (int)n;
	if (!strncasecmp(name, "RTMAX-", 6) && str_to_u64(name + 6, 0, 14, &n) == 0)
		return 64 - (int)n;
	return err_set(e, ERR_INVALID, "invalid signal: %s", word);
}

static void add(json_t *list, json_t *item) { json_array_append_new(list, item); }

static json_t *strings(const char *const *v)
{
	json_t *list = json_array();

	for (; *v; v++)
		add(list, json_string(*v));
	return list;
}

static bool env_has(const json_t *env, const char *name)
{
	size_t i, n = strlen(name);
	json_t *v;

	json_array_foreach(env, i, v) {
		if (!strncmp(json_string_value(v), name, n) && json_string_value(v)[n] == '=')
			return true;
	}
	return false;
}

static json_t *make_env(const struct spec_in *in)
{
	const json_t *own = json_arr(in->config, "Env");
	char *host CLEANUP(mem_freep) = mem_printf("HOSTNAME=%s", in->hostname ? in->hostname : "");
	char *home CLEANUP(mem_freep) = mem_printf("HOME=%s", in->home ? in->home : "/");
	json_t *env = json_array(), *v;
	size_t i;

	if (!env_has(own, "PATH"))
		add(env, json_string(default_path));
	if (!env_has(own, "HOSTNAME"))
		add(env, json_string(host));
	if (json_flag(in->config, "Tty", false) && !env_has(own, "TERM"))
		add(env, json_string("TERM=xterm"));
	json_array_foreach(in->links, i, v) {
		CLEANUP(mem_freep) char *name = mem_strndup(json_string_value(v), strcspn(json_string_value(v), "="));

		if (!env_has(own, name))
			json_array_append(env, v);
	}
	json_array_extend(env, (json_t *)own);
	if (!env_has(own, "HOME"))
		add(env, json_string(home));
	return env;
}

static int add_rlimits(json_t *process, const json_t *host, struct err *e)
{
	static const char *const known[] = { "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
					     "rtprio", "rttime", "sigpending", "stack" };
	json_t *list = json_array(), *v;
	size_t i, k;

	doc_set(process, "rlimits", list);
	json_array_foreach(json_arr(host, "Ulimits"), i, v) {
		const char *name = json_str(v, "Name", "");
		int64_t soft = json_i64(v, "Soft", 0), hard = json_i64(v, "Hard", 0);
		char type[32] = "RLIMIT_";

		for (k = 0; k < N(known) && strcmp(known[k], name); k++)
			;
		if (k == N(known))
			return err_set(e, ERR_INVALID, "invalid ulimit type: %s", name);
		if (hard != -1 && (soft > hard || soft == -1))
			return err_set(e, ERR_INVALID, "ulimit %s: soft limit must be less than or equal to hard limit: %lld > %lld", name, (long long)soft,
				       (long long)hard);
		for (k = 0; name[k]; k++)
			type[7 + k] = (char)(name[k] - 'a' + 'A');
		/* -1 is "unlimited": RLIM_INFINITY does not fit a signed JSON integer everywhere; the runtime takes -1 as well. */
		add(list, json_pack("{s:s, s:I, s:I}", "type", type, "soft", (json_int_t)soft, "hard", (json_int_t)hard));
	}
	return 0;
}

int spec_check_rlimits(const json_t *host, struct err *e)
{
	json_t *process = json_object();
	int rc = add_rlimits(process, host, e);

	json_decref(process);
	return rc;
}

static json_t *make_process(const struct spec_in *in, const json_t *caps, const struct security *sec, struct err *e)
{
	json_t *p = json_object(), *args = json_array(), *user = json_object(), *groups;
	const char *cwd = json_str(in->config, "WorkingDir", "");
	size_t i;

	if (in->init) {
		add(args, json_string(INIT_INSIDE));
		add(args, json_string("--"));
	}
	add(args, json_string(in->path));
	json_array_extend(args, (json_t *)in->args);
	doc_set(p, "terminal", json_boolean(json_flag(in->config, "Tty", false)));
	if (json_array_size(json_arr(in->host, "ConsoleSize")) == 2 && json_flag(in->config, "Tty", false)) {
		json_t *size = json_arr(in->host, "ConsoleSize");

		doc_set(p, "consoleSize", json_pack("{s:O, s:O}", "height", json_array_get(size, 0), "width", json_array_get(size, 1)));
	}
	doc_set(user, "uid", json_integer(in->uid));
	doc_set(user, "gid", json_integer(in->gid));
	groups = json_array();
	for (i = 0; i < in->n_groups; i++)
		add(groups, json_integer(in->groups[i]));
	doc_set(user, "additionalGids", groups);
	doc_set(p, "user", user);
	doc_set(p, "args", args);
	doc_set(p, "env", make_env(in));
	doc_set(p, "cwd", json_string(*cwd ? cwd : "/"));
	doc_set(p, "noNewPrivileges", json_boolean(sec->no_new_privs));
	if (sec->apparmor || (in->apparmor && !json_flag(in->host, "Privileged", false)))
		doc_set(p, "apparmorProfile", json_string(sec->apparmor ? sec->apparmor : in->apparmor));
	if (add_rlimits(p, in->host, e) < 0) {
		json_decref(p);
		return NULL;
	}
	/* The inheritable set stays empty (CVE-2022-24769); a program of another user gets none by itself. */
	doc_set(p, "capabilities", json_pack("{s:O, s:O, s:O}", "bounding", caps, "effective", caps, "permitted", caps));
	if (json_i64(in->host, "OomScoreAdj", 0))
		doc_set(p, "oomScoreAdj", json_integer(json_i64(in->host, "OomScoreAdj", 0)));
	return p;
}

/* own with the entries of more in place of those of the same name. */
static json_t *env_merged(const json_t *own, const json_t *more)
{
	json_t *out = json_array(), *v;
	size_t i;

	json_array_foreach(own, i, v) {
		char *name CLEANUP(mem_freep) = mem_strndup(json_string_value(v), strcspn(json_string_value(v), "="));
		bool unset = false;
		json_t *m;
		size_t k;

		json_array_foreach(more, k, m)
			unset = unset || str_eq(json_string_value(m), name);
		if (!unset && !env_has(more, name))
			json_array_append(out, v);
	}
	json_array_foreach(more, i, v) {
		if (strchr(json_string_value(v), '='))	/* "NAME" alone takes it away */
			json_array_append(out, v);
	}
	return out;
}

json_t *spec_exec(const struct spec_in *in, const json_t *exec, struct err *e)
{
	json_t *config = json_copy((json_t *)in->config), *host = json_copy((json_t *)in->host), *args = json_copy(json_arr(exec, "Cmd")), *p;
	const char *cwd = json_str(exec, "WorkingDir", ""), *path = json_at(json_arr(exec, "Cmd"), 0);
	struct spec_in with = *in;
	struct security sec = { 0 };
	json_t *caps;

	doc_set(config, "Tty", json_boolean(json_flag(exec, "Tty", false)));
	doc_set(config, "Env", env_merged(json_arr(in->config, "Env"), json_arr(exec, "Env")));
	if (*cwd)
		doc_set(config, "WorkingDir", json_string(cwd));
	if (json_flag(exec, "Privileged", false))
		doc_set(host, "Privileged", json_true());
	doc_set(host, "ConsoleSize", json_arr(exec, "ConsoleSize") ? json_copy(json_arr(exec, "ConsoleSize")) : json_array());
	json_array_remove(args, 0);
	with.config = config;
	with.host = host;
	with.path = path;
	with.args = args;
	with.init = NULL;
	caps = spec_caps(host, e);
	p = caps && security_read(host, caps, &sec, e) == 0 ? make_process(&with, caps, &sec, e) : NULL;
	security_done(&sec);
	json_decref(caps);
	json_decref(config);
	json_decref(host);
	json_decref(args);
	return p;
}

static json_t *mount_of(const char *dst, const char *type, const char *src, const char *const *options)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", dst, "type", type, "source", src, "options", strings(options));
}

static void put_mount(json_t *list, json_t *m)
{
	const char *dst = json_str(m, "destination", "");
	json_t *v;
	size_t i;

	/* The user's mount replaces ours at the same place (/dev/shm, /etc/hosts), and ours below a /dev of the user's own. */
	json_array_foreach(list, i, v) {
		if (str_eq(json_str(v, "destination", ""), dst)) {
			json_array_remove(list, i);
			break;
		}
	}
	add(list, m);
}

/* Another container's /dev/shm: a mount of its namespace, which the monitor fetches (runtime/monitor/sources.c). */
static json_t *shared_shm(const struct spec_in *in)
{
	char *source CLEANUP(mem_freep) = mem_printf("%s/source-shm", in->bundle ? in->bundle : "");
	json_t *m = mount_of("/dev/shm", "bind", source, (const char *[]){ "rbind", "rprivate", NULL });

	doc_set(m, "kedge.source", json_pack("{s:s, s:i}", "base", "/dev/shm", "pid", (int)in->ipc_pid));
	return m;
}

static size_t components(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/' && path[1];
	return n ? n : 1;
}

static int make_mounts(const struct spec_in *in, const struct security *sec, json_t *list, struct err *e)
{
	bool privileged = json_flag(in->host, "Privileged", false), host_ipc = str_eq(json_str(in->host, "IpcMode", ""), "host");
	bool cgroup_rw = privileged || sec->writable_cgroups;
	char *shm CLEANUP(mem_freep) = mem_printf("size=%lld", (long long)json_i64(in->host, "ShmSize", 64 << 20));
	static const char *const files[][2] = { { "resolv.conf", "/etc/resolv.conf" }, { "hostname", "/etc/hostname" }, { "hosts", "/etc/hosts" } };
	const char *key;
	json_t *v, *m;
	size_t i;

	add(list, mount_of("/proc", "proc", "proc", (const char *[]){ "nosuid", "noexec", "nodev", NULL }));
	add(list, mount_of("/dev", "tmpfs", "tmpfs", (const char *[]){ "nosuid", "strictatime", "mode=755", "size=65536k", NULL }));
	add(list, mount_of("/dev/pts", "devpts", "devpts", (const char *[]){ "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", NULL }));
	add(list, mount_of("/sys", "sysfs", "sysfs", (const char *[]){ "nosuid", "noexec", "nodev", privileged ? "rw" : "ro", NULL }));
	add(list, mount_of("/sys/fs/cgroup", "cgroup", "cgroup", (const char *[]){ cgroup_rw ? "rw" : "ro", "nosuid", "noexec", "nodev", NULL }));
	add(list, mount_of("/dev/mqueue", "mqueue", "mqueue", (const char *[]){ "nosuid", "noexec", "nodev", NULL }));
	if (host_ipc)
		add(list, mount_of("/dev/shm", "bind", "/dev/shm", (const char *[]){ "rbind", "rprivate", "rw", NULL }));
	else if (in->ipc_pid)
		add(list, shared_shm(in));
	else if (!str_eq(json_str(in->host, "IpcMode", ""), "none"))
		add(list, mount_of("/dev/shm", "tmpfs", "shm", (const char *[]){ "nosuid", "noexec", "nodev", "mode=1777", shm, NULL }));
	for (i = 0; in->files && i < N(files); i++) {
		char *src CLEANUP(mem_freep) = mem_printf("%s/%s", in->files, files[i][0]);

		add(list, mount_of(files[i][1], "bind", src, (const char *[]){ "rbind", "rprivate", "rw", NULL }));
	}
	if (in->init)
		add(list, mount_of(INIT_INSIDE, "bind", in->init, (const char *[]){ "bind", "rprivate", "ro", NULL }));
	/* A mount below another one comes after it, whatever the order they were given in. */
	for (size_t depth = 1, left = json_array_size(in->mounts); left; depth++) {
		json_array_foreach(in->mounts, i, v) {
			if (components(json_str(v, "Destination", "")) != depth)
				continue;
			put_mount(list, mounts_oci(v, i, in->bundle));
			left--;
		}
	}
	json_object_foreach(json_obj(in->host, "Tmpfs"), key, v) {
		m = spec_tmpfs(key, json_string_value(v), e);
		if (!m)
			return -1;
		put_mount(list, m);
	}
	return 0;
}

json_t *spec_resources(const json_t *h, struct err *e)
{
	json_t *r = json_object(), *mem = json_object(), *cpu = json_object();
	int64_t memory = json_i64(h, "Memory", 0), swap = json_i64(h, "MemorySwap", 0), nano = json_i64(h, "NanoCpus", 0), pids = json_i64(h, "PidsLimit", 0);
	int64_t period = json_i64(h, "CpuPeriod", 0), quota = json_i64(h, "CpuQuota", 0);

	if (memory)
		doc_set(mem, "limit", json_integer(memory));
	if (memory && swap == 0)
		swap = 2 * memory;	/* docker's default: as much swap as memory */
	if (swap)
		doc_set(mem, "swap", json_integer(swap));
	if (json_i64(h, "MemoryReservation", 0))
		doc_set(mem, "reservation", json_integer(json_i64(h, "MemoryReservation", 0)));
	if (nano) {
		period = 100000;
		quota = nano / 10000;
	}
	if (period)
		doc_set(cpu, "period", json_integer(period));
	if (quota)
		doc_set(cpu, "quota", json_integer(quota));
	if (json_i64(h, "CpuShares", 0))
		doc_set(cpu, "shares", json_integer(json_i64(h, "CpuShares", 0)));
	if (*json_str(h, "CpusetCpus", ""))
		doc_set(cpu, "cpus", json_string(json_str(h, "CpusetCpus", "")));
	if (*json_str(h, "CpusetMems", ""))
		doc_set(cpu, "mems", json_string(json_str(h, "CpusetMems", "")));
	if (json_i64(h, "MemorySwappiness", -1) >= 0 && json_is_integer(json_object_get(h, "MemorySwappiness")))
		doc_set(mem, "swappiness", json_integer(json_i64(h, "MemorySwappiness", 0)));
	if (json_flag(h, "OomKillDisable", false))
		doc_set(mem, "disableOOMKiller", json_true());
	if (json_i64(h, "KernelMemoryTCP", 0) > 0)
		doc_set(mem, "kernelTCP", json_integer(json_i64(h, "KernelMemoryTCP", 0)));
	if (json_i64(h, "CpuRealtimePeriod", 0))
		doc_set(cpu, "realtimePeriod", json_integer(json_i64(h, "CpuRealtimePeriod", 0)));
	if (json_i64(h, "CpuRealtimeRuntime", 0))
		doc_set(cpu, "realtimeRuntime", json_integer(json_i64(h, "CpuRealtimeRuntime", 0)));
	if (json_object_size(mem))
		doc_set(r, "memory", mem);
	else
		json_decref(mem);
	if (json_object_size(cpu))
		doc_set(r, "cpu", cpu);
	else
		json_decref(cpu);
	if (pids > 0)
		doc_set(r, "pids", json_pack("{s:I}", "limit", (json_int_t)pids));
	if (spec_blkio(h, r, e) < 0) {
		json_decref(r);
		return NULL;
	}
	return r;
}

static void name_space(json_t *list, const char *type, const char *mode, pid_t pid, const char *proc)
{
	if (pid)
		add(list, json_pack("{s:s, s:o}", "type", type, "path", json_sprintf("/proc/%d/ns/%s", (int)pid, proc)));
	else if (!str_eq(mode, "host"))
		add(list, json_pack("{s:s}", "type", type));
}

static json_t *make_namespaces(const struct spec_in *in)
{
	json_t *list = json_array();

	add(list, json_pack("{s:s}", "type", "mount"));
	name_space(list, "uts", json_str(in->host, "UTSMode", ""), 0, "");
	name_space(list, "pid", json_str(in->host, "PidMode", ""), in->pid_pid, "pid");
	name_space(list, "ipc", json_str(in->host, "IpcMode", ""), in->ipc_pid, "ipc");
	name_space(list, "cgroup", json_str(in->host, "CgroupnsMode", ""), 0, "");
	if (!in->netns)
		add(list, json_pack("{s:s}", "type", "network"));
	else if (*in->netns)
		add(list, json_pack("{s:s, s:s}", "type", "network", "path", in->netns));
	return list;
}

static int make_sysctls(const struct spec_in *in, json_t *linux_, struct err *e)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
					   "kernel.shmmni", "kernel.shm_rmid_forced" };
	bool host_net = in->netns && !*in->netns, host_ipc = str_eq(json_str(in->host, "IpcMode", ""), "host");
	json_t *out = json_object(), *v;
	const char *key;

	doc_set(linux_, "sysctl", out);
	/* As docker does: ping and low ports without privilege, because the namespace is the container's own. */
	if (!host_net && !json_flag(in->host, "Privileged", false)) {
		doc_set(out, "net.ipv4.ping_group_range", json_string("0 2147483647"));
		doc_set(out, "net.ipv4.ip_unprivileged_port_start", json_string("0"));
	}
	json_object_foreach(json_obj(in->host, "Sysctls"), key, v) {
		bool ok = (str_starts(key, "net.") && !host_net) || (str_starts(key, "fs.mqueue.") && !host_ipc);

		for (size_t i = 0; i < N(ipc) && !host_ipc; i++)
			ok = ok || str_eq(key, ipc[i]);
		if (!ok || !json_is_string(v) || strstr(key, ".."))
			return err_set(e, ERR_INVALID, "sysctl '%s' is not allowed: it does not belong to a namespace of the container", key);
		doc_set(out, key, json_string(json_string_value(v)));
	}
	return 0;
}

/* How often a processor was too hot tells what others compute on it. Where one has the directory, all have. */
static void hide_heat(json_t *list)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	char path[80];

	for (long i = 0; i < cpus; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/thermal_throttle", i);
		if (access(path, F_OK) == 0)
			add(list, json_string(path));
		else if (i == 0)
			return;
	}
}

json_t *spec_paths(bool masked)
{
	static const char *const hidden[] = { "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
					      "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
					      "/sys/devices/virtual/powercap", NULL };
	static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL };

	json_t *list = strings(masked ? hidden : readonly);

	if (masked)
		hide_heat(list);
	return list;
}

static json_t *paths(const json_t *host, bool masked)
{
	json_t *own = json_arr(host, masked ? "MaskedPaths" : "ReadonlyPaths");

	return json_flag(host, "Privileged", false) ? json_array() : own ? json_copy(own) : spec_paths(masked);
}

static json_t *make_linux(const struct spec_in *in, const struct security *sec, struct err *e)
{
	json_t *l = json_object(), *devices = json_array(), *rules = json_array(), *resources;

	doc_set(l, "cgroupsPath", json_string(in->cgroups_path));
	doc_set(l, "namespaces", make_namespaces(in));
	doc_set(l, "devices", devices);
	doc_set(l, "maskedPaths", paths(in->host, true));
	doc_set(l, "readonlyPaths", paths(in->host, false));
	resources = device_make(in->host, in->bundle, devices, rules, e) < 0 ? NULL : spec_resources(in->host, e);
	if (!resources) {
		json_decref(rules);
		goto fail;
	}
	doc_set(resources, "devices", rules);
	doc_set(l, "resources", resources);
	if (make_sysctls(in, l, e) < 0)
		goto fail;
	if (in->idmap)
		remap_spec(in->idmap, l);
	if (sec->seccomp)
		doc_set(l, "seccomp", json_incref(sec->seccomp));
	return l;
fail:
	json_decref(l);
	return NULL;
}

json_t *spec_make(const struct spec_in *in, struct err *e)
{
	json_t *spec = NULL, *process = NULL, *mounts = json_array(), *linux_ = NULL, *caps = spec_caps(in->host, e), *notes;
	struct security sec = { 0 };

	if (!caps || security_read(in->host, caps, &sec, e) < 0)
		goto fail;
	process = make_process(in, caps, &sec, e);
	linux_ = !process || make_mounts(in, &sec, mounts, e) < 0 ? NULL : make_linux(in, &sec, e);
	if (!linux_)
		goto fail;
	spec = json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o}", "ociVersion", "1.0.2", "process", process,	/* nothing younger is used */
			 "root", "path", in->rootfs, "readonly", json_flag(in->host, "ReadonlyRootfs", false), "mounts", mounts, "linux", linux_);
	if (in->hostname && !str_eq(json_str(in->host, "UTSMode", ""), "host"))
		doc_set(spec, "hostname", json_string(in->hostname));
	/* Read by kedge's own runtime, which stays as the first process and runs the program as its child. */
	notes = json_obj(in->host, "Annotations") ? json_copy(json_obj(in->host, "Annotations")) : json_object();
	if (json_flag(in->host, "Init", false) && !in->init)
		doc_set(notes, "kedge.init", json_string("true"));
	if (json_object_size(notes))
		doc_set(spec, "annotations", json_incref(notes));
	json_decref(notes);
	if (*json_str(in->config, "Domainname", ""))
		doc_set(spec, "domainname", json_string(json_str(in->config, "Domainname", "")));
	json_decref(caps);
	security_done(&sec);
	return spec;
fail:
	json_decref(caps);
	json_decref(process);
	json_decref(mounts);
	security_done(&sec);
	return NULL;
}
