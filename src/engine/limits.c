/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits as asked for, held against docker's rules and against this machine: what it could not do anyway is refused when the container is
 * created, and not when it starts.
 */
#include "engine/engine_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <linux/capability.h>
#include <unistd.h>

#include "base/file.h"

bool cgroup_unified(void)
{
	return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
}

static int check_memory(const json_t *h, struct err *e)
{
	int64_t mem = json_i64(h, "Memory", 0), swap = json_i64(h, "MemorySwap", 0), reserve = json_i64(h, "MemoryReservation", 0);
	int64_t swappiness = json_i64(h, "MemorySwappiness", -1);

	if (mem && (mem < 6 << 20))
		return err_set(e, ERR_INVALID, "Minimum memory limit allowed is 6MB");
	if (mem && swap > 0 && swap < mem)
		return err_set(e, ERR_INVALID, "Minimum memoryswap limit should be larger than memory limit, see usage");
	if (!mem && swap > 0)
		return err_set(e, ERR_INVALID, "You should always set the Memory limit when using Memoryswap limit, see usage");
	if (reserve < 0 || (mem && reserve > mem))
		return err_set(e, ERR_INVALID, "Minimum memory limit can not be less than memory reservation limit, see usage");
	if (reserve && reserve < 6 << 20)
		return err_set(e, ERR_INVALID, "Minimum memory reservation allowed is 6MB");
	if (swappiness < -1 || swappiness > 100)
		return err_set(e, ERR_INVALID, "Invalid value: %lld, valid memory swappiness range is 0-100", (long long)swappiness);
	if (!cgroup_unified())
		return 0;
	if (swappiness >= 0)
		return err_set(e, ERR_INVALID, "HostConfig.MemorySwappiness does not exist with cgroup version 2");
	if (json_flag(h, "OomKillDisable", false))
		return err_set(e, ERR_INVALID, "HostConfig.OomKillDisable does not exist with cgroup version 2");
	if (json_i64(h, "KernelMemoryTCP", 0) > 0)
		return err_set(e, ERR_INVALID, "HostConfig.KernelMemoryTCP does not exist with cgroup version 2");
	return 0;
}

/* "0-3,5" against what the kernel has online. */
static int check_set(const char *want, const char *what, const char *there_path, struct err *e)
{
	char there[4096] = "";
	unsigned char have[8192 / 8] = { 0 };

	if (!*want)
		return 0;
	(void)file_read_line(there_path, there, sizeof(there));
	for (int pass = 0; pass < 2; pass++) {
		char **part = str_split(pass ? want : there, ',');

		for (size_t i = 0; part && part[i]; i++) {
			char *dash = strchr(part[i], '-');
			uint64_t from, to;

			if (dash)
				*dash++ = '\0';
			if (str_to_u64(part[i], 0, 8191, &from) < 0 || (dash ? str_to_u64(dash, from, 8191, &to) < 0 : (to = from, false))) {
				strv_free(part);
				return pass ? err_set(e, ERR_INVALID, "Invalid value %s for cpuset %s", want, what) : 0;
			}
			for (; from <= to; from++) {
				if (!pass) {
					have[from / 8] |= (unsigned char)(1 << from % 8);
				} else if (!(have[from / 8] >> from % 8 & 1)) {
					strv_free(part);
					return err_set(e, ERR_INVALID, "Requested %s are not available - requested %s, available: %s",
						       str_eq(what, "cpus") ? "CPUs" : "memory nodes", want, there);
				}
			}
		}
		strv_free(part);
	}
	return 0;
}

static int check_cpu(const json_t *h, struct err *e)
{
	int64_t nano = json_i64(h, "NanoCpus", 0), quota = json_i64(h, "CpuQuota", 0), period = json_i64(h, "CpuPeriod", 0);
	int64_t rt = json_i64(h, "CpuRealtimeRuntime", 0), rt_period = json_i64(h, "CpuRealtimePeriod", 0);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (nano < 0 || json_i64(h, "CpuShares", 0) < 0)
		return err_set(e, ERR_INVALID, "CPU limits cannot be negative");
	if (nano && (quota || period))
		return err_set(e, ERR_INVALID, "Conflicting options: Nano CPUs and CPU period or quota cannot both be set");
	if (nano > (int64_t)cpus * 1000000000)
		return err_set(e, ERR_INVALID, "range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus, cpus);
	if (nano && nano < 10000000)
		return err_set(e, ERR_INVALID, "range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus, cpus);
	if (period && (period < 1000 || period > 1000000))
		return err_set(e, ERR_INVALID, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
	if (quota > 0 && quota < 1000)
		return err_set(e, ERR_INVALID, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
	if (rt || rt_period) {
		if (access("/sys/fs/cgroup/cpu/cpu.rt_runtime_us", F_OK) < 0)
			return err_set(e, ERR_INVALID, "HostConfig.CpuRealtime%s: this kernel does not support CPU real-time scheduling of cgroups", rt ? "Runtime" : "Period");
		if (rt && rt_period && rt > rt_period)
			return err_set(e, ERR_INVALID, "cpu real-time runtime cannot be higher than cpu real-time period");
	}
	if (check_set(json_str(h, "CpusetCpus", ""), "cpus", "/sys/devices/system/cpu/online", e) < 0)
		return -1;
	return check_set(json_str(h, "CpusetMems", ""), "mems", "/sys/devices/system/node/online", e);
}

static bool may_raise(void)
{
	return prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1;
}

static int check_ulimits(const json_t *h, struct err *e)
{
	static const struct { const char *name; int what; } known[] = {
		{ "as", RLIMIT_AS }, { "core", RLIMIT_CORE }, { "cpu", RLIMIT_CPU }, { "data", RLIMIT_DATA }, { "fsize", RLIMIT_FSIZE },
		{ "locks", RLIMIT_LOCKS }, { "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
		{ "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC }, { "rss", RLIMIT_RSS }, { "rtprio", RLIMIT_RTPRIO },
		{ "rttime", RLIMIT_RTTIME }, { "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK },
	};
	const json_t *v;
	size_t i, k;

	if (may_raise())
		return 0;
	json_array_foreach(json_arr(h, "Ulimits"), i, v) {
		int64_t hard = json_i64(v, "Hard", 0);
		struct rlimit now;

		for (k = 0; k < N(known) && strcmp(known[k].name, json_str(v, "Name", "")); k++)
			;
		if (k == N(known) || getrlimit(known[k].what, &now) < 0 || now.rlim_max == RLIM_INFINITY || (hard >= 0 && (rlim_t)hard <= now.rlim_max))
			continue;
		return err_set(e, ERR_INVALID, "ulimit %s: hard limit %lld is above this machine's %llu, and the engine may not raise it (it has no CAP_SYS_RESOURCE)",
			       known[k].name, (long long)hard, (unsigned long long)now.rlim_max);
	}
	return 0;
}

static int check_oom(const json_t *h, struct err *e)
{
	int64_t adj = json_i64(h, "OomScoreAdj", 0), own = 0;
	char now[16] = "";

	if (adj < -1000 || adj > 1000)
		return err_set(e, ERR_INVALID, "Invalid value %lld, range for oom score adj is [-1000, 1000]", (long long)adj);
	if (may_raise() || file_read_line("/proc/self/oom_score_adj", now, sizeof(now)) < 0 || str_to_i64(now, -1000, 1000, &own) < 0 || adj >= own || adj == 0)
		return 0;
	return err_set(e, ERR_INVALID, "oom_score_adj %lld is below the engine's own (%lld), and it may not lower it (it has no CAP_SYS_RESOURCE)", (long long)adj, (long long)own);
}

int limits_check(const json_t *h, struct err *e)
{
	if (json_i64(h, "ShmSize", 0) < 0)
		return err_set(e, ERR_INVALID, "SHM size can not be less than 0");
	if (json_i64(h, "PidsLimit", 0) < -1)
		return err_set(e, ERR_INVALID, "Invalid value %lld for the limit of processes", (long long)json_i64(h, "PidsLimit", 0));
	return check_memory(h, e) < 0 || check_cpu(h, e) < 0 || check_ulimits(h, e) < 0 ? -1 : check_oom(h, e);
}
