/* SPDX-License-Identifier: Apache-2.0 */
/* "linux.resources" into the files of one cgroup hierarchy. Limits set before a process is inside never have to push memory out. */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

static bool has_controller(const struct cgroup_hier *h, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = h->names; *p; p += strcspn(p, ","), p += *p == ',') {
		if (!strncmp(p, name, n) && (!p[n] || p[n] == ','))
			return true;
	}
	return false;
}

/* Why a v2 group has no such file. */
static int absent(const struct cgroup_hier *h, const char *file, struct err *e)
{
	struct buf there = BUF_INIT, held = BUF_INIT;
	int n = (int)strcspn(file, "."), r;
	char *save = NULL;
	bool given = false;

	if (file_read_at(h->fd, "../cgroup.controllers", 4096, &there) == 0 && there.len) {
		for (char *w = strtok_r(there.data, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
			given = given || (strlen(w) == (size_t)n && !strncmp(w, file, (size_t)n));
	}
	if (!given)
		r = err_set(e, ERR_INVALID, "'%s' cannot be set: this machine has no '%.*s' cgroup controller, or none for the parent of '%s'", file, n, file, h->dir);
	else if (file_read_at(h->fd, "../cgroup.procs", 1 << 20, &held) == 0 && held.len)
		r = err_set(e, ERR_INVALID, "'%s' of cgroup '%s' cannot be set: its parent holds processes itself, so with cgroup version 2 it can give "
			    "its children no controllers", file, h->dir);
	else
		r = err_set(e, ERR_INVALID, "'%s' of cgroup '%s' cannot be set: this kernel has no such file", file, h->dir);
	buf_done(&there);
	buf_done(&held);
	return r;
}

static int put(const struct cgroup_hier *h, const char *file, const char *value, struct err *e)
{
	int r = file_put_at(h->fd, file, value);

	if (r == -ENOENT && h->v2)
		return absent(h, file, e);
	return r < 0 ? err_errno(e, -r, "set '%s' of cgroup '%s' to '%s'", file, h->dir, value) : 0;
}

static int put_n(const struct cgroup_hier *h, const char *file, int64_t n, struct err *e)
{
	char word[32];

	snprintf(word, sizeof(word), "%" PRId64, n);
	return put(h, file, word, e);
}

/* -1 is "no limit": "max" in v2. */
static int put_max(const struct cgroup_hier *h, const char *file, int64_t n, struct err *e)
{
	return n < 0 && h->v2 ? put(h, file, "max", e) : put_n(h, file, n, e);
}

static int memory_v1(const struct cgroup_hier *h, const json_t *m, struct err *e)
{
	int64_t limit = json_i64(m, "limit", 0), swap = json_i64(m, "swap", 0), low = json_i64(m, "reservation", 0);

	/* The limit may never pass that of memory and swap together: when it is raised past the old one, that one goes first. */
	if (limit && put_n(h, "memory.limit_in_bytes", limit, e) < 0 &&
	    (!swap || put_n(h, "memory.memsw.limit_in_bytes", swap, NULL) < 0 || put_n(h, "memory.limit_in_bytes", limit, e) < 0))
		return -1;
	if (low && put_n(h, "memory.soft_limit_in_bytes", low, e) < 0)
		return -1;
	/* A kernel without swap accounting has no such file; then "no limit" and "as much as memory" need none either. */
	if (swap && faccessat(h->fd, "memory.memsw.limit_in_bytes", F_OK, 0) < 0) {
		if (swap > 0 && swap != limit)
			return err_set(e, ERR_INVALID, "memory swap limit %" PRId64 ": this kernel does not account for swap", swap);
	} else if (swap && put_n(h, "memory.memsw.limit_in_bytes", swap, e) < 0) {
		return -1;
	}
	if (json_is_integer(json_object_get(m, "swappiness")) && put_n(h, "memory.swappiness", json_i64(m, "swappiness", 0), e) < 0)
		return -1;
	if (json_flag(m, "disableOOMKiller", false) && put(h, "memory.oom_control", "1", e) < 0)
		return -1;
	if (json_i64(m, "kernelTCP", 0) && put_n(h, "memory.kmem.tcp.limit_in_bytes", json_i64(m, "kernelTCP", 0), e) < 0)
		return -1;
	return 0;
}

static int memory_v2(const struct cgroup_hier *h, const json_t *m, struct err *e)
{
	int64_t limit = json_i64(m, "limit", 0), swap = json_i64(m, "swap", 0), low = json_i64(m, "reservation", 0);

	if (limit && put_max(h, "memory.max", limit, e) < 0)
		return -1;
	if (low && put_max(h, "memory.low", low, e) < 0)
		return -1;
	/* The spec counts memory and swap together, v2 swap alone. */
	if (swap > 0 && limit > 0) {
		if (swap < limit)
			return err_set(e, ERR_INVALID, "memory swap limit %" PRId64 " is below the memory limit %" PRId64, swap, limit);
		if (faccessat(h->fd, "memory.swap.max", F_OK, 0) == 0 && put_n(h, "memory.swap.max", swap - limit, e) < 0)
			return -1;
	} else if (swap < 0 && faccessat(h->fd, "memory.swap.max", F_OK, 0) == 0 && put(h, "memory.swap.max", "max", e) < 0) {
		return -1;
	}
	if (json_flag(m, "disableOOMKiller", false))
		return err_set(e, ERR_INVALID, "linux.resources.memory.disableOOMKiller does not exist with cgroup version 2");
	return 0;
}

static int memory(const struct cgroup_hier *h, const json_t *m, struct err *e)
{
	if (json_i64(m, "kernelTCP", 0) > 0 && h->v2)
		return err_set(e, ERR_INVALID, "linux.resources.memory.kernelTCP does not exist with cgroup version 2");
	return h->v2 ? memory_v2(h, m, e) : memory_v1(h, m, e);
}

/* A group can give what its parent has been given, and that is nothing until somebody writes it there. */
static int realtime(const struct cgroup_hier *h, int64_t period, int64_t runtime, struct err *e)
{
	if (period && put_n(h, "cpu.rt_period_us", period, e) < 0)
		return -1;
	if (runtime && put_n(h, "cpu.rt_runtime_us", runtime, e) < 0)
		return err_wrap(e, "CPU real-time runtime %" PRId64 ": the parent cgroup's own cpu.rt_runtime_us must allow it", runtime);
	return 0;
}

static int cpu_time(const struct cgroup_hier *h, const json_t *c, struct err *e)
{
	int64_t shares = json_i64(c, "shares", 0), quota = json_i64(c, "quota", 0), period = json_i64(c, "period", 0);
	int64_t burst = json_i64(c, "burst", 0), rt = json_i64(c, "realtimeRuntime", 0), rtp = json_i64(c, "realtimePeriod", 0);
	char word[64];

	if (shares) {
		int64_t s = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;

		if (h->v2 ? put_n(h, "cpu.weight", 1 + (s - 2) * 9999 / 262142, e) < 0 : put_n(h, "cpu.shares", shares, e) < 0)
			return -1;
	}
	if (h->v2 && (quota || period)) {
		if (quota > 0)
			snprintf(word, sizeof(word), "%" PRId64 " %" PRId64, quota, period ? period : 100000);
		else
			snprintf(word, sizeof(word), "max %" PRId64, period ? period : 100000);
		if (put(h, "cpu.max", word, e) < 0)
			return -1;
	}
	if (!h->v2 && ((period && put_n(h, "cpu.cfs_period_us", period, e) < 0) || (quota && put_n(h, "cpu.cfs_quota_us", quota, e) < 0)))
		return -1;
	if (burst && put_n(h, h->v2 ? "cpu.max.burst" : "cpu.cfs_burst_us", burst, e) < 0)
		return -1;
	if (json_object_get(c, "idle") && json_is_integer(json_object_get(c, "idle")) && put_n(h, "cpu.idle", json_i64(c, "idle", 0), e) < 0)
		return -1;
	if (h->v2 && (rt || rtp))
		return err_set(e, ERR_INVALID, "linux.resources.cpu.realtimeRuntime does not exist with cgroup version 2");
	return realtime(h, rtp, rt, e);
}

static int cpu_set(const struct cgroup_hier *h, const json_t *c, struct err *e)
{
	const char *cpus = json_str(c, "cpus", ""), *mems = json_str(c, "mems", "");

	if (*cpus && put(h, "cpuset.cpus", cpus, e) < 0)
		return -1;
	return *mems ? put(h, "cpuset.mems", mems, e) : 0;
}

static int throttle(const struct cgroup_hier *h, const json_t *b, const char *key, const char *v1, const char *v2, struct err *e)
{
	const json_t *o;
	char word[128];
	size_t i;

	json_array_foreach(json_arr(b, key), i, o) {
		int64_t major = json_i64(o, "major", -1), minor = json_i64(o, "minor", -1), rate = json_i64(o, "rate", -1);

		if (major < 0 || minor < 0 || rate < 0)
			return err_set(e, ERR_INVALID, "linux.resources.blockIO.%s[%zu] is not a device and a rate", key, i);
		if (h->v2)
			snprintf(word, sizeof(word), "%" PRId64 ":%" PRId64 " %s=%" PRId64, major, minor, v2, rate);
		else
			snprintf(word, sizeof(word), "%" PRId64 ":%" PRId64 " %" PRId64, major, minor, rate);
		if (put(h, h->v2 ? "io.max" : v1, word, e) < 0)
			return -1;
	}
	return 0;
}

/*
 * The weight's file depends on which I/O schedulers the kernel has. Weights are 10 to 1000 in the spec and for BFQ; io.weight, which is the
 * cost model's, has 1 to 10000. device: "MAJ:MIN ", or "".
 */
static int put_weight(const struct cgroup_hier *h, const char *device, int64_t weight, struct err *e)
{
	const char *bfq = h->v2 ? "io.bfq.weight" : *device ? "blkio.bfq.weight_device" : "blkio.bfq.weight";
	const char *other = h->v2 ? "io.weight" : *device ? "blkio.weight_device" : "blkio.weight";
	bool is_bfq = faccessat(h->fd, bfq, F_OK, 0) == 0;
	char word[96];

	if (h->v2 && !is_bfq)
		weight = 1 + (weight - 10) * 9999 / 990;
	snprintf(word, sizeof(word), "%s%" PRId64, device, weight);
	return put(h, is_bfq ? bfq : other, word, e);
}

static int block_io(const struct cgroup_hier *h, const json_t *b, struct err *e)
{
	int64_t weight = json_i64(b, "weight", 0);
	const json_t *o;
	char device[64];
	size_t i;

	if (json_i64(b, "leafWeight", 0) > 0)
		return err_set(e, ERR_INVALID, "linux.resources.blockIO.leafWeight is not supported");
	if (weight && put_weight(h, "", weight, e) < 0)
		return -1;
	json_array_foreach(json_arr(b, "weightDevice"), i, o) {
		snprintf(device, sizeof(device), "%" PRId64 ":%" PRId64 " ", json_i64(o, "major", 0), json_i64(o, "minor", 0));
		if (put_weight(h, device, json_i64(o, "weight", 0), e) < 0)
			return -1;
	}
	if (throttle(h, b, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", e) < 0 ||
	    throttle(h, b, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", e) < 0 ||
	    throttle(h, b, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", e) < 0)
		return -1;
	return throttle(h, b, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", e);
}

static int huge_pages(const struct cgroup_hier *h, const json_t *arr, struct err *e)
{
	const json_t *o;
	char file[96];
	size_t i;

	json_array_foreach(arr, i, o) {
		const char *size = json_str(o, "pageSize", "");

		if (!*size || strlen(size) > 16 || strpbrk(size, "/."))
			return err_set(e, ERR_INVALID, "linux.resources.hugepageLimits[%zu]: '%s' is not a page size", i, size);
		snprintf(file, sizeof(file), h->v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size);
		if (put_n(h, file, json_i64(o, "limit", 0), e) < 0)
			return -1;
	}
	return 0;
}

static int net_priorities(const struct cgroup_hier *h, const json_t *arr, struct err *e)
{
	const json_t *o;
	char word[128];
	size_t i;

	json_array_foreach(arr, i, o) {
		snprintf(word, sizeof(word), "%.64s %" PRId64, json_str(o, "name", ""), json_i64(o, "priority", 0));
		if (put(h, "net_prio.ifpriomap", word, e) < 0)
			return -1;
	}
	return 0;
}

static int raw_files(const struct cgroup_hier *h, const json_t *unified, struct err *e)
{
	const char *file;
	json_t *v;

	json_object_foreach((json_t *)unified, file, v) {
		if (!json_is_string(v) || strchr(file, '/') || !strchr(file, '.') || str_starts(file, "cgroup.procs"))
			return err_set(e, ERR_INVALID, "linux.resources.unified: '%s' is not a file of a cgroup with a text", file);
		if (put(h, file, json_string_value(v), e) < 0)
			return -1;
	}
	return 0;
}

static int devices_v1(const struct cgroup_hier *h, const json_t *resources, struct err *e)
{
	CLEANUP(mem_freep) struct device_policy *p = mem_zalloc(sizeof(*p));
	char major[24], minor[24], word[96];

	if (device_policy_of(resources, p, e) < 0 || put(h, p->allow ? "devices.allow" : "devices.deny", "a", e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++) {
		const struct device_rule *r = &p->except[i];

		snprintf(major, sizeof(major), r->major < 0 ? "*" : "%" PRId64, r->major);
		snprintf(minor, sizeof(minor), r->minor < 0 ? "*" : "%" PRId64, r->minor);
		snprintf(word, sizeof(word), "%c %s:%s %s%s%s", r->type, major, minor, r->access & DEV_R ? "r" : "", r->access & DEV_W ? "w" : "",
			 r->access & DEV_M ? "m" : "");
		if (put(h, p->allow ? "devices.deny" : "devices.allow", word, e) < 0)
			return -1;
	}
	return 0;
}

static int devices_v2(const struct cgroup_hier *h, const json_t *resources, struct err *e)
{
	CLEANUP(mem_freep) struct device_policy *p = mem_zalloc(sizeof(*p));

	if (device_policy_of(resources, p, e) < 0)
		return -1;
	if (p->allow && !p->n)
		return 0;
	return device_attach(h->fd, p, e);
}

/* Which controller each part of "resources" needs, and who sets it. */
static int devices(const struct cgroup_hier *h, const json_t *resources, struct err *e)
{
	return h->v2 ? devices_v2(h, resources, e) : devices_v1(h, resources, e);
}

int cgroup_update_limits(const struct cgroup_hier *h, const json_t *res, struct err *e)
{
	const json_t *cpu = json_obj(res, "cpu"), *pids = json_obj(res, "pids");
	bool all = h->v2 && h->limits;

	if (json_obj(res, "memory") && (all || has_controller(h, "memory")) && memory(h, json_obj(res, "memory"), e) < 0)
		return -1;
	if (cpu && (all || has_controller(h, "cpu")) && cpu_time(h, cpu, e) < 0)
		return -1;
	if (cpu && (all || has_controller(h, "cpuset")) && cpu_set(h, cpu, e) < 0)
		return -1;
	if (json_i64(pids, "limit", 0) && (all || has_controller(h, "pids"))) {
		int64_t n = json_i64(pids, "limit", 0);

		if (n > 0 ? put_n(h, "pids.max", n, e) < 0 : put(h, "pids.max", "max", e) < 0)
			return -1;
	}
	if (json_obj(res, "blockIO") && (all || has_controller(h, "blkio")) && block_io(h, json_obj(res, "blockIO"), e) < 0)
		return -1;
	return 0;
}

int cgroup_limits(const struct cgroup_hier *h, const json_t *res, struct err *e)
{
	const json_t *net = json_obj(res, "network");
	bool all = h->v2 && h->limits;

	if (cgroup_update_limits(h, res, e) < 0)
		return -1;
	if (json_arr(res, "hugepageLimits") && (all || has_controller(h, "hugetlb")) && huge_pages(h, json_arr(res, "hugepageLimits"), e) < 0)
		return -1;
	if (json_i64(net, "classID", 0) && has_controller(h, "net_cls") && put_n(h, "net_cls.classid", json_i64(net, "classID", 0), e) < 0)
		return -1;
	if (has_controller(h, "net_prio") && net_priorities(h, json_arr(net, "priorities"), e) < 0)
		return -1;
	if (all && json_obj(res, "unified") && raw_files(h, json_obj(res, "unified"), e) < 0)
		return -1;
	return all || has_controller(h, "devices") ? devices(h, res, e) : 0;
}

static bool wants(const json_t *o, const char *const *keys)
{
	for (; *keys; keys++) {
		const json_t *v = json_object_get(o, *keys);

		if ((json_is_integer(v) && json_integer_value(v) > 0) || (json_is_string(v) && *json_string_value(v)) || json_array_size(v) ||
		    json_is_true(v))
			return true;
	}
	return false;
}

/* A limit that is not what it should be would be taken for one that is not there. */
static int check_types(const json_t *res, const char *part, const char *const *keys, struct err *e)
{
	const json_t *o = json_object_get(res, part);

	if (o && !json_is_null(o) && !json_is_object(o))
		return err_set(e, ERR_INVALID, "linux.resources.%s is not an object", part);
	for (; o && *keys; keys++) {
		const json_t *v = json_object_get(o, *keys);
		bool list = strstr(*keys, "Device") || str_eq(*keys, "priorities"), text = str_eq(*keys, "cpus") || str_eq(*keys, "mems");

		if (!v || json_is_null(v))
			continue;
		if (list ? !json_is_array(v) : text ? !json_is_string(v) : str_eq(*keys, "disableOOMKiller") ? !json_is_boolean(v) : !json_is_integer(v))
			return err_set(e, ERR_INVALID, "linux.resources.%s.%s is not a %s", part, *keys, list ? "list" : text ? "string" : "number");
	}
	return 0;
}

int cgroup_missing(const struct cgroups *c, const json_t *res, struct err *e)
{
	static const struct { const char *part, *controller, *keys[10]; bool v1_only; } needs[] = {
		{ "memory", "memory", { "limit", "swap", "reservation", "disableOOMKiller" }, false },
		{ "cpu", "cpu", { "shares", "quota", "period", "burst", "realtimeRuntime", "realtimePeriod" }, false },
		{ "cpu", "cpuset", { "cpus", "mems" }, false },
		{ "pids", "pids", { "limit" }, false },
		{ "blockIO", "blkio", { "weight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
		  "throttleWriteIOPSDevice" }, false },
		{ "network", "net_cls", { "classID" }, true },
		{ "network", "net_prio", { "priorities" }, true },
	};

	if (json_object_size(json_obj(res, "unified")) && !c->unified)
		return err_set(e, ERR_INVALID, "linux.resources.unified: this machine's controllers are not cgroup version 2");
	if (json_object_size(json_obj(res, "rdma")))
		return err_set(e, ERR_INVALID, "linux.resources.rdma is not supported");
	for (size_t i = 0; i < N(needs); i++) {
		bool there = c->unified && !needs[i].v1_only;

		if (check_types(res, needs[i].part, needs[i].keys, e) < 0)
			return -1;
		for (size_t k = 0; k < c->n; k++)
			there = there || has_controller(&c->h[k], needs[i].controller);
		if (!there && wants(json_obj(res, needs[i].part), needs[i].keys))
			return err_set(e, ERR_INVALID, "linux.resources.%s: this machine has no '%s' cgroup controller", needs[i].part, needs[i].controller);
	}
	return 0;
}
