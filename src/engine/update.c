/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New limits and restart policies. The new HostConfig is made and checked as a whole, as at creation; a running container's cgroup gets it
 * first, then the document is committed: what was acknowledged is in both.
 */
#include "engine/engine_priv.h"

#include <string.h>

struct updating {
	struct container *c;
	json_t *host;			/* the new one */
	bool begun;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
	struct err e;
};

static const char *const numbers[] = { "BlkioWeight", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpuShares", "CpuPeriod", "CpuQuota", "Memory",
				       "MemoryReservation", "MemorySwap", "NanoCpus", "PidsLimit" };
static const char *const texts[] = { "CpusetCpus", "CpusetMems" };
static const char *const lists[] = { "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps" };
/* What a running container, or the engine, cannot change. */
static const char *const refused[] = { "KernelMemory", "KernelMemoryTCP", "MemorySwappiness", "OomKillDisable", "Init", "Ulimits", "Devices",
				       "DeviceCgroupRules", "DeviceRequests", "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth",
				       "CgroupParent" };

static void finish(struct updating *u, const struct err *e)
{
	json_t *result = e ? NULL : json_pack("{s:[]}", "Warnings");

	if (u->begun)
		u->c->updating = false;
	u->done(u->user, result, e);
	json_decref(result);
	json_decref(u->host);
	free(u);
}

static void saved(void *user, const struct err *e)
{
	struct updating *u = user;

	if (!e)
		event_container(u->c, "update", NULL);
	finish(u, e);
}

static void keep(struct updating *u)
{
	/* A new object: a worker may be reading the old one. */
	doc_set(u->c->doc, "HostConfig", json_incref(u->host));
	(void)FAULT("engine.update");
	container_save(u->c, saved, u);
}

static void applied(void *user, const struct err *e)
{
	struct updating *u = user;
	struct err wrapped;

	if (e && u->c->phase == PHASE_RUNNING) {
		wrapped = *e;
		err_wrap(&wrapped, "Cannot update container %s", u->c->id);
		finish(u, &wrapped);
		return;
	}
	keep(u);	/* also when it has ended meanwhile: then it has these limits next time */
}

static bool given(const json_t *v)
{
	return v && !json_is_null(v) && !json_is_false(v) && !(json_is_integer(v) && !json_integer_value(v)) &&
	       !(json_is_string(v) && !json_string_length(v)) && !(json_is_array(v) && !json_array_size(v)) &&
	       !(json_is_object(v) && !json_object_size(v));
}

static int merge(json_t *host, const json_t *old, const json_t *body, struct err *e)
{
	const json_t *policy = json_object_get(body, "RestartPolicy");

	for (size_t i = 0; i < N(refused); i++) {
		const json_t *v = json_object_get(body, refused[i]);

		if (given(v) && !(json_is_integer(v) && json_integer_value(v) == -1))
			return err_set(e, ERR_INVALID, "%s cannot be updated", refused[i]);
	}
	if (json_i64(body, "NanoCpus", 0) && json_i64(old, "CpuQuota", 0))
		return err_set(e, ERR_INVALID, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
	if (json_i64(body, "NanoCpus", 0) && json_i64(old, "CpuPeriod", 0))
		return err_set(e, ERR_INVALID, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set");
	if (json_i64(body, "CpuQuota", 0) && json_i64(old, "NanoCpus", 0))
		return err_set(e, ERR_INVALID, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
	if (json_i64(body, "CpuPeriod", 0) && json_i64(old, "NanoCpus", 0))
		return err_set(e, ERR_INVALID, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
	if (json_i64(body, "Memory", 0) > json_i64(old, "MemorySwap", 0) && json_i64(old, "MemorySwap", 0) > 0 && !json_i64(body, "MemorySwap", 0))
		return err_set(e, ERR_INVALID, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
	for (size_t i = 0; i < N(numbers) + N(texts) + N(lists); i++) {
		const char *key = i < N(numbers) ? numbers[i] : i < N(numbers) + N(texts) ? texts[i - N(numbers)] : lists[i - N(numbers) - N(texts)];
		json_t *v = json_object_get(body, key);

		if (given(v))
			json_object_set(host, key, v);
	}
	if (policy && !json_is_null(policy)) {
		if (!json_is_object(policy))
			return err_set(e, ERR_INVALID, "RestartPolicy: wrong type");
		if (*json_str(policy, "Name", "")) {
			if (json_flag(old, "AutoRemove", false) && !str_eq(json_str(policy, "Name", ""), "no"))
				return err_set(e, ERR_INVALID, "Restart policy cannot be updated because AutoRemove is enabled for the container");
			doc_set(host, "RestartPolicy", json_pack("{s:s, s:I}", "Name", json_str(policy, "Name", ""), "MaximumRetryCount",
								(json_int_t)json_i64(policy, "MaximumRetryCount", 0)));
		}
	}
	return create_check_host(host, e);
}

static void later(void *user, const struct err *e)
{
	finish(user, e);
}

void engine_update(struct engine *en, const char *ref, const json_t *body, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct updating *u = mem_zalloc(sizeof(*u));
	json_t *resources = NULL;
	char *text;

	u->done = done;
	u->user = user;
	u->c = engine_find(en, ref, &u->e);
	if (u->c && u->c->phase == PHASE_REMOVING) {
		err_set(&u->e, ERR_CONFLICT, "Container is marked for removal and cannot be \"update\".");
	} else if (u->c && u->c->phase == PHASE_STARTING) {
		err_set(&u->e, ERR_CONFLICT, "container %s is just starting: try again", u->c->id);
	} else if (u->c && u->c->updating) {
		err_set(&u->e, ERR_CONFLICT, "container %s is just being updated: try again", u->c->id);
	} else if (u->c) {
		u->host = json_copy(doc_host(u->c));
		if (merge(u->host, doc_host(u->c), body, &u->e) == 0)
			resources = spec_resources(u->host, &u->e);
	}
	if (!resources) {
		waiter_later(en, later, u, &u->e);
		return;
	}
	u->begun = u->c->updating = true;
	if (u->c->phase == PHASE_RUNNING && u->c->rt) {
		/* "No limit" has to be said to a group that may have one. */
		if (json_i64(u->host, "PidsLimit", 0) <= 0 && json_i64(doc_host(u->c), "PidsLimit", 0) > 0)
			doc_set(resources, "pids", json_pack("{s:i}", "limit", -1));
		text = json_text(resources);
		rt_update(u->c->rt, text, applied, u);
		free(text);
	} else {
		keep(u);
	}
	json_decref(resources);
}
