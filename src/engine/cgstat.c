/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cgstat.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { FILE_MAX = 1 << 20 };

/* The text of <base>/<cgroup>/<file>, or "". The caller frees. */
static char *text_of(const char *base, const char *cgroup, const char *file)
{
	char *path CLEANUP(mem_freep) = mem_printf("%s%s/%s", base, cgroup, file);
	struct buf b = BUF_INIT;

	if (file_read_at(AT_FDCWD, path, FILE_MAX, &b) < 0)
		buf_reset(&b);
	return buf_take(&b);
}

/* One number; "max" and what cannot be read give def. */
static uint64_t number_of(const char *base, const char *cgroup, const char *file, uint64_t def)
{
	char *text CLEANUP(mem_freep) = text_of(base, cgroup, file);
	uint64_t v;

	text[strcspn(text, "\n")] = '\0';
	return str_to_u64(text, 0, UINT64_MAX, &v) < 0 ? def : v;
}

static void set(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v));
}

void cgstat_flat(json_t *into, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n"), word = strcspn(text, " \n");
		unsigned long long v;

		if (word < n && sscanf(text + word, " %llu", &v) == 1) {
			char *key CLEANUP(mem_freep) = mem_strndup(text, word);

			set(into, key, v);
		}
		text += n;
		text += *text == '\n';
	}
}

static json_t *entry(unsigned major, unsigned minor, const char *op, uint64_t v)
{
	return json_pack("{s:I, s:I, s:s, s:I}", "major", (json_int_t)major, "minor", (json_int_t)minor, "op", op, "value", (json_int_t)v);
}

void cgstat_blkio_v1(json_t *list, const char *text)
{
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		unsigned major, minor;
		unsigned long long v;
		char op[16];

		if (sscanf(text, "%u:%u %15s %llu", &major, &minor, op, &v) == 4)
			json_array_append_new(list, entry(major, minor, op, v));
	}
}

/* The number behind " key=" in the line that ends at end. */
static uint64_t keyed(const char *line, const char *end, const char *key)
{
	const char *p = strstr(line, key);
	unsigned long long v;

	return p && p < end && sscanf(p + strlen(key), "%llu", &v) == 1 ? v : 0;
}

void cgstat_io_v2(json_t *bytes, json_t *ios, const char *text)
{
	for (const char *end; *text; text = *end ? end + 1 : end) {
		unsigned major, minor;

		end = text + strcspn(text, "\n");
		if (sscanf(text, "%u:%u ", &major, &minor) != 2)
			continue;
		json_array_append_new(bytes, entry(major, minor, "read", keyed(text, end, " rbytes=")));
		json_array_append_new(bytes, entry(major, minor, "write", keyed(text, end, " wbytes=")));
		json_array_append_new(ios, entry(major, minor, "read", keyed(text, end, " rios=")));
		json_array_append_new(ios, entry(major, minor, "write", keyed(text, end, " wios=")));
	}
}

uint64_t cgstat_system_cpu(const char *text, long hz)
{
	unsigned long long v[7], sum = 0;

	/* user nice system idle iowait irq softirq; steal and guest are left out, as in dockerd */
	if (sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]) != 7)
		return 0;
	for (size_t i = 0; i < N(v); i++)
		sum += v[i];
	return sum * (1000000000ull / (unsigned long long)hz);
}

static void cpu_v1(const char *cgroup, json_t *usage, json_t *throttle, long hz)
{
	char *per CLEANUP(mem_freep) = text_of("/sys/fs/cgroup/cpuacct", cgroup, "cpuacct.usage_percpu");
	char *stat CLEANUP(mem_freep) = text_of("/sys/fs/cgroup/cpuacct", cgroup, "cpuacct.stat");
	char *cfs CLEANUP(mem_freep) = text_of("/sys/fs/cgroup/cpu", cgroup, "cpu.stat");
	json_t *flat CLEANUP(json_freep) = json_object(), *list = json_array();
	uint64_t tick = 1000000000ull / (uint64_t)hz;
	char *save = NULL;

	cgstat_flat(flat, stat);
	cgstat_flat(flat, cfs);
	set(usage, "total_usage", number_of("/sys/fs/cgroup/cpuacct", cgroup, "cpuacct.usage", 0));
	for (char *w = strtok_r(per, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		uint64_t v;

		if (str_to_u64(w, 0, UINT64_MAX, &v) == 0)
			json_array_append_new(list, json_integer((json_int_t)v));
	}
	json_object_set_new(usage, "percpu_usage", list);
	set(usage, "usage_in_kernelmode", (uint64_t)json_i64(flat, "system", 0) * tick);
	set(usage, "usage_in_usermode", (uint64_t)json_i64(flat, "user", 0) * tick);
	set(throttle, "periods", (uint64_t)json_i64(flat, "nr_periods", 0));
	set(throttle, "throttled_periods", (uint64_t)json_i64(flat, "nr_throttled", 0));
	set(throttle, "throttled_time", (uint64_t)json_i64(flat, "throttled_time", 0));
}

static void cpu_v2(const char *cgroup, json_t *usage, json_t *throttle)
{
	char *stat CLEANUP(mem_freep) = text_of("/sys/fs/cgroup", cgroup, "cpu.stat");
	json_t *flat CLEANUP(json_freep) = json_object();

	cgstat_flat(flat, stat);
	set(usage, "total_usage", (uint64_t)json_i64(flat, "usage_usec", 0) * 1000);
	set(usage, "usage_in_kernelmode", (uint64_t)json_i64(flat, "system_usec", 0) * 1000);
	set(usage, "usage_in_usermode", (uint64_t)json_i64(flat, "user_usec", 0) * 1000);
	set(throttle, "periods", (uint64_t)json_i64(flat, "nr_periods", 0));
	set(throttle, "throttled_periods", (uint64_t)json_i64(flat, "nr_throttled", 0));
	set(throttle, "throttled_time", (uint64_t)json_i64(flat, "throttled_usec", 0) * 1000);
}

static json_t *read_cpu(const char *cgroup, bool v2)
{
	json_t *usage = json_object(), *throttle = json_object();
	char *proc CLEANUP(mem_freep) = text_of("/proc", "", "stat");
	long hz = sysconf(_SC_CLK_TCK);

	if (v2)
		cpu_v2(cgroup, usage, throttle);
	else
		cpu_v1(cgroup, usage, throttle, hz);
	return json_pack("{s:o, s:I, s:I, s:o}", "cpu_usage", usage, "system_cpu_usage", (json_int_t)cgstat_system_cpu(proc, hz), "online_cpus",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "throttling_data", throttle);
}

static json_t *read_memory(const char *cgroup, bool v2, uint64_t total)
{
	const char *base = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
	char *stat CLEANUP(mem_freep) = text_of(base, cgroup, "memory.stat");
	json_t *m = json_object(), *flat = json_object();
	uint64_t limit;

	set(m, "usage", number_of(base, cgroup, v2 ? "memory.current" : "memory.usage_in_bytes", 0));
	if (!v2)
		set(m, "max_usage", number_of(base, cgroup, "memory.max_usage_in_bytes", 0));
	cgstat_flat(flat, stat);
	json_object_set_new(m, "stats", flat);
	if (v2) {
		char *events CLEANUP(mem_freep) = text_of(base, cgroup, "memory.events");
		json_t *ev CLEANUP(json_freep) = json_object();

		cgstat_flat(ev, events);
		set(m, "failcnt", (uint64_t)json_i64(ev, "oom", 0));
	} else {
		set(m, "failcnt", number_of(base, cgroup, "memory.failcnt", 0));
	}
	limit = number_of(base, cgroup, v2 ? "memory.max" : "memory.limit_in_bytes", UINT64_MAX);
	set(m, "limit", limit > total ? total : limit);
	return m;
}

static json_t *read_blkio(const char *cgroup, bool v2)
{
	static const char *const empty[] = { "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
					     "io_time_recursive", "sectors_recursive" };
	json_t *b = json_object(), *bytes = json_array(), *ios = json_array();

	if (v2) {
		char *text CLEANUP(mem_freep) = text_of("/sys/fs/cgroup", cgroup, "io.stat");

		cgstat_io_v2(bytes, ios, text);
	} else {
		char *t1 CLEANUP(mem_freep) = text_of("/sys/fs/cgroup/blkio", cgroup, "blkio.throttle.io_service_bytes_recursive");
		char *t2 CLEANUP(mem_freep) = text_of("/sys/fs/cgroup/blkio", cgroup, "blkio.throttle.io_serviced_recursive");

		cgstat_blkio_v1(bytes, t1);
		cgstat_blkio_v1(ios, t2);
	}
	json_object_set_new(b, "io_service_bytes_recursive", bytes);
	json_object_set_new(b, "io_serviced_recursive", ios);
	for (size_t i = 0; i < N(empty); i++)
		json_object_set_new(b, empty[i], v2 ? json_null() : json_array());
	return b;
}

static json_t *read_pids(const char *cgroup, bool v2)
{
	const char *base = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";
	uint64_t max = number_of(base, cgroup, "pids.max", 0);
	json_t *p = json_object();

	set(p, "current", number_of(base, cgroup, "pids.current", 0));
	if (max)
		set(p, "limit", max);
	return p;
}

void cgstat_read(const char *cgroup, uint64_t mem_total, struct cgstat *ret)
{
	bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;

	*ret = (struct cgstat){ .cpu = read_cpu(cgroup, v2), .memory = read_memory(cgroup, v2, mem_total), .blkio = read_blkio(cgroup, v2),
				.pids = read_pids(cgroup, v2) };
}

void cgstat_done(struct cgstat *s)
{
	json_decref(s->cpu);
	json_decref(s->memory);
	json_decref(s->blkio);
	json_decref(s->pids);
	*s = (struct cgstat){ 0 };
}
