/* SPDX-License-Identifier: Apache-2.0 */
/* SystemInfo and SystemVersion. */
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/apparmor.h"
#include "engine/defaults.h"
#include "engine/engine_priv.h"
#include "engine/logopt.h"

static const char *arch(const struct engine *en)
{
	return str_eq(en->machine, "x86_64") ? "amd64" : str_eq(en->machine, "aarch64") ? "arm64" : en->machine;
}

/* Version 1 has a directory for each, version 2 tells them in a file: "cpuset cpu io ...". */
static bool controller(const char *name)
{
	char path[128], there[512] = "", *save = NULL;

	if (!cgroup_unified()) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", name);
		return access(path, F_OK) == 0;
	}
	(void)file_read_line("/sys/fs/cgroup/cgroup.controllers", there, sizeof(there));
	for (char *w = strtok_r(there, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (str_eq(w, name))
			return true;
	}
	return false;
}

/* Version 2 has the file in every group but the root. */
static bool swap_limit(const struct engine *en)
{
	char path[600], own[400] = "";

	if (!cgroup_unified())
		return access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
	if (!controller("memory"))
		return false;
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/memory.swap.max", en->cgroup_parent + strspn(en->cgroup_parent, "/"));
	if (access(path, F_OK) == 0)
		return true;
	if (file_read_line("/proc/self/cgroup", own, sizeof(own)) < 0 || !str_starts(own, "0::/") || !own[4])
		return access("/proc/swaps", F_OK) == 0;
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.swap.max", own + 3);
	return access(path, F_OK) == 0;
}

json_t *engine_info(struct engine *en)
{
	int64_t running = 0, paused = 0, stopped = 0;
	bool v2 = cgroup_unified();
	struct sysinfo si = { 0 };
	struct container *c;
	json_t *info, *status, *v;
	char now[40];
	size_t it = 0, i;

	while ((c = map_next(en->by_id, &it, NULL))) {
		if (json_flag(doc_state(c), "Paused", false))
			paused++;
		else if (json_flag(doc_state(c), "Running", false))
			running++;
		else
			stopped++;
	}
	sysinfo(&si);
	status = net_info(en->net);
	info = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:[[s, s]], s:{s:[s], s:[s, s, s, s, s], s:n, s:[s, s]}}",
			 "ID", en->hostname, "Containers", (json_int_t)(running + paused + stopped), "ContainersRunning", (json_int_t)running,
			 "ContainersPaused", (json_int_t)paused, "ContainersStopped", (json_int_t)stopped, "Images", (json_int_t)images_count(en->images),
			 "Driver", "overlay2", "DriverStatus", "Backing Filesystem", "overlayfs",
			 "Plugins", "Volume", "local", "Network", "bridge", "host", "ipvlan", "macvlan", "null", "Authorization", "Log", "json-file", "none");
	{
		json_t *drivers = json_array();

		for (const char *const *d = logopt_drivers; *d; d++) {
			if (logopt_available(*d))
				json_array_append_new(drivers, json_string(*d));
		}
		doc_set(json_object_get(info, "Plugins"), "Log", drivers);
	}
	doc_set(info, "MemoryLimit", json_boolean(controller("memory")));
	doc_set(info, "SwapLimit", json_boolean(swap_limit(en)));
	doc_set(info, "CpuCfsPeriod", json_boolean(controller("cpu")));
	doc_set(info, "CpuCfsQuota", json_boolean(controller("cpu")));
	doc_set(info, "CPUShares", json_boolean(controller("cpu")));
	doc_set(info, "CPUSet", json_boolean(controller("cpuset")));
	doc_set(info, "PidsLimit", json_boolean(controller("pids")));
	doc_set(info, "OomKillDisable", json_boolean(!v2 && controller("memory")));
	doc_set(info, "IPv4Forwarding", json_true());
	doc_set(info, "Debug", json_false());
	doc_set(info, "NFd", json_integer(0));
	doc_set(info, "NGoroutines", json_integer(0));
	doc_set(info, "SystemTime", json_string(str_time_ns(clock_wall(), now, sizeof(now))));
	doc_set(info, "LoggingDriver", json_string(json_str(en->log_config, "Type", "")));
	doc_set(info, "CgroupDriver", json_string("cgroupfs"));
	doc_set(info, "CgroupVersion", json_string(v2 ? "2" : "1"));
	doc_set(info, "NEventsListener", json_integer((json_int_t)engine_events_listeners(en)));
	doc_set(info, "KernelVersion", json_string(en->kernel));
	doc_set(info, "OperatingSystem", json_string(en->os));
	doc_set(info, "OSVersion", json_string(""));
	doc_set(info, "OSType", json_string("linux"));
	doc_set(info, "Architecture", json_string(en->machine));
	doc_set(info, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	doc_set(info, "MemTotal", json_integer((json_int_t)si.totalram * si.mem_unit));
	doc_set(info, "IndexServerAddress", json_string(""));
	doc_set(info, "RegistryConfig", json_pack("{s:[], s:{}, s:[]}", "InsecureRegistryCIDRs", "IndexConfigs", "Mirrors"));
	doc_set(info, "DockerRootDir", json_string(en->data_root));
	doc_set(info, "HttpProxy", json_string(""));
	doc_set(info, "HttpsProxy", json_string(""));
	doc_set(info, "NoProxy", json_string(""));
	doc_set(info, "Name", json_string(en->hostname));
	doc_set(info, "Labels", json_arr(en->defaults, "labels") ? json_copy(json_arr(en->defaults, "labels")) : json_array());
	doc_set(info, "ExperimentalBuild", json_false());
	doc_set(info, "ServerVersion", json_string(en->version));
	doc_set(info, "Runtimes", runtimes_show(en->runtime_path));
	doc_set(info, "DefaultRuntime", json_string(json_str(en->defaults, "default-runtime", "kedge")));
	doc_set(info, "Swarm", json_pack("{s:s, s:s, s:s, s:b, s:s, s:n}", "NodeID", "", "NodeAddr", "", "LocalNodeState", "inactive",
					 "ControlAvailable", 0, "Error", "", "RemoteManagers"));
	doc_set(info, "LiveRestoreEnabled", json_true());
	doc_set(info, "Isolation", json_string(""));
	doc_set(info, "InitBinary", json_string(""));
	doc_set(info, "ContainerdCommit", json_pack("{s:s}", "ID", ""));
	doc_set(info, "RuncCommit", json_pack("{s:s}", "ID", ""));
	doc_set(info, "InitCommit", json_pack("{s:s}", "ID", ""));
	doc_set(info, "SecurityOptions", json_pack("[o, s]", json_sprintf("name=seccomp,profile=%s", json_str(en->defaults, "seccomp-profile", "builtin")), "name=cgroupns"));
	if (apparmor_usable())
		json_array_insert_new(json_object_get(info, "SecurityOptions"), 0, json_string("name=apparmor"));
	if (en->idmap.size)
		json_array_append_new(json_object_get(info, "SecurityOptions"), json_string("name=userns"));
	doc_set(info, "Warnings", net_warnings(en->net));
	json_array_append_new(json_object_get(info, "DriverStatus"), json_pack("[s, s]", "Datapath", json_str(status, "Datapath", "")));
	if (json_str(status, "Hooks", NULL))
		json_array_append_new(json_object_get(info, "DriverStatus"), json_pack("[s, s]", "Hooks", json_str(status, "Hooks", "")));
	json_array_foreach(json_arr(json_obj(status, "XDP"), "Interfaces"), i, v)
		json_array_append_new(json_object_get(info, "DriverStatus"), json_pack("[s, O]", "XDP", v));
	json_decref(status);
	return info;
}

json_t *engine_version(struct engine *en)
{
	return json_pack("{s:{s:s}, s:[{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}}], s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
			 "Platform", "Name", "kedge", "Components", "Name", "Engine", "Version", en->version, "Details",
			 "ApiVersion", "1.50", "Arch", arch(en), "KernelVersion", en->kernel, "MinAPIVersion", "1.24", "Os", "linux", "GitCommit", "",
			 "Version", en->version, "ApiVersion", "1.50", "MinAPIVersion", "1.24", "GitCommit", "", "GoVersion", "", "Os", "linux",
			 "Arch", arch(en), "KernelVersion", en->kernel);
}
