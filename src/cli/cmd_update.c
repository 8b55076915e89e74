/* SPDX-License-Identifier: Apache-2.0 */
/* update: new limits and restart policies for containers that exist. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/spec.h"

static const struct {
	const char *flag, *key;
} numbers[] = {
	{ "blkio-weight", "BlkioWeight" }, { "cpu-period", "CpuPeriod" }, { "cpu-quota", "CpuQuota" }, { "cpu-rt-period", "CpuRealtimePeriod" },
	{ "cpu-rt-runtime", "CpuRealtimeRuntime" }, { "cpu-shares", "CpuShares" }, { "memory", "Memory" },
	{ "memory-reservation", "MemoryReservation" }, { "memory-swap", "MemorySwap" }, { "pids-limit", "PidsLimit" },
}, texts[] = { { "cpuset-cpus", "CpusetCpus" }, { "cpuset-mems", "CpusetMems" } };

static json_t *update_body(const struct flags *f, struct err *e)
{
	json_t *body = json_object(), *v;

	for (size_t i = 0; i < N(numbers); i++) {
		if (flag_given(f, numbers[i].flag))
			json_object_set_new(body, numbers[i].key, json_integer(flag_int(f, numbers[i].flag)));
	}
	for (size_t i = 0; i < N(texts); i++) {
		if (flag_given(f, texts[i].flag))
			json_object_set_new(body, texts[i].key, json_string(flag_str(f, texts[i].flag)));
	}
	if (flag_given(f, "cpus"))
		json_object_set_new(body, "NanoCpus", json_integer((json_int_t)(flag_decimal(f, "cpus") * 1e9 + 0.5)));
	if (flag_given(f, "restart") && *flag_str(f, "restart")) {
		if (spec_restart(flag_str(f, "restart"), &v, e) < 0) {
			json_decref(body);
			return NULL;
		}
		json_object_set_new(body, "RestartPolicy", v);
	}
	return body;
}

static int update_one(struct cli *c, const json_t *body, const char *id, json_t **warnings, struct err *e)
{
	char *path CLEANUP(mem_freep) = cli_path("/containers/", id, "/update");
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc;

	if (cli_call(c, "POST", path, body, &reply, e) < 0)
		return -1;
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", e);
	if (!doc)
		return -1;
	*warnings = json_incref(json_arr(doc, "Warnings"));
	json_decref(doc);
	return 0;
}

static int cmd_update(struct cli *c, struct flags *f)
{
	char **errors CLEANUP(strv_freep) = NULL;
	json_t *body CLEANUP(json_freep) = NULL;
	struct err e = { 0 };
	bool any = false;

	for (size_t i = 0; f->defs[i].name; i++)
		any = any || f->values[i].given;
	if (!any) {
		fprintf(stderr, "you must provide one or more flags when using this command\n");
		return 1;
	}
	body = update_body(f, &e);
	if (!body)
		return cli_fail(&e);
	for (int i = 0; i < f->argc; i++) {
		json_t *warnings CLEANUP(json_freep) = NULL, *w;
		size_t k;

		err_clear(&e);
		if (update_one(c, body, f->args[i], &warnings, &e) < 0) {
			errors = strv_add(errors, e.msg);
			continue;
		}
		printf("%s\n", f->args[i]);
		fflush(stdout);
		json_array_foreach(warnings, k, w)
			fprintf(stderr, "%s\n", json_string_value(w));
	}
	for (size_t i = 0; errors && errors[i]; i++)
		fprintf(stderr, "%s\n", errors[i]);
	return errors ? 1 : 0;
}

static const struct flag_def update_flags[] = {
	{ "blkio-weight", 0, FLAG_INT, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)", .word = "uint16" },
	{ "cpu-period", 0, FLAG_INT, "Limit CPU CFS (Completely Fair Scheduler) period" },
	{ "cpu-quota", 0, FLAG_INT, "Limit CPU CFS (Completely Fair Scheduler) quota" },
	{ "cpu-rt-period", 0, FLAG_INT, "Limit the CPU real-time period in microseconds" },
	{ "cpu-rt-runtime", 0, FLAG_INT, "Limit the CPU real-time runtime in microseconds" },
	{ "cpu-shares", 'c', FLAG_INT, "CPU shares (relative weight)" },
	{ "cpus", 0, FLAG_DECIMAL, "Number of CPUs" },
	{ "cpuset-cpus", 0, FLAG_STRING, "CPUs in which to allow execution (0-3, 0,1)" },
	{ "cpuset-mems", 0, FLAG_STRING, "MEMs in which to allow execution (0-3, 0,1)" },
	{ "memory", 'm', FLAG_BYTES, "Memory limit" },
	{ "memory-reservation", 0, FLAG_BYTES, "Memory soft limit" },
	{ "memory-swap", 0, FLAG_BYTES, "Swap limit equal to memory plus swap: -1 to enable unlimited swap" },
	{ "pids-limit", 0, FLAG_INT, "Tune container pids limit (set -1 for unlimited)" },
	{ "restart", 0, FLAG_STRING, "Restart policy to apply when a container exits" }, { 0 },
};

const struct command commands_update[] = {
	{ "container update,update", "[OPTIONS] CONTAINER [CONTAINER...]", "Update configuration of one or more containers", update_flags, 1, -1, false, cmd_update },
	{ 0 },
};
