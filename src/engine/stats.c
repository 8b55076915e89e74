/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each subscription has its own pace: a timer of a second, then a worker reads the control group, then the frame is told from the loop.
 * There is no sampling without somebody who listens.
 */
#include "engine/stats.h"

#include <string.h>
#include <sys/sysinfo.h>

#include "engine/cgstat.h"
#include "engine/engine_priv.h"

#define PERIOD_NS 1000000000ll

struct engine_stats {
	struct work work;
	struct engine *en;
	char id[ID_LEN + 1];
	char *cgroup;
	struct engine_stats_args a;
	void (*frame)(void *user, const json_t *doc);
	void (*end)(void *user);
	void *user;
	struct loop_timer *timer;
	bool busy, cancelled;		/* busy: the worker has it */
	unsigned told;			/* samples so far */
	struct cgstat now;
	json_t *cpu_before;
	int64_t at, before;		/* wall clock */
};

static void free_stats(struct engine_stats *s)
{
	loop_timer_free(s->timer);
	cgstat_done(&s->now);
	json_decref(s->cpu_before);
	free(s->cgroup);
	free(s);
}

static void finish(struct engine_stats *s)
{
	if (!s->cancelled)
		s->end(s->user);
	free_stats(s);
}

static json_t *no_cpu(void)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}}", "cpu_usage", "total_usage", 0, "usage_in_kernelmode", 0, "usage_in_usermode", 0,
			 "throttling_data", "periods", 0, "throttled_periods", 0, "throttled_time", 0);
}

static json_t *no_blkio(void)
{
	return json_pack("{s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n}", "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive",
			 "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive");
}

/* A frame; live: with the sample just taken. */
static json_t *document(struct engine_stats *s, const struct container *c, bool live)
{
	json_t *doc = json_object(), *nets;

	doc_set(doc, "id", json_string(c->id));
	doc_set(doc, "name", json_incref(json_object_get(c->doc, "Name")));
	doc_set(doc, "os_type", json_string("linux"));
	doc_set_time(doc, "read", live ? s->at : 0);
	doc_set_time(doc, "preread", live && s->cpu_before ? s->before : 0);
	doc_set(doc, "pids_stats", live ? json_incref(s->now.pids) : json_object());
	doc_set(doc, "blkio_stats", live ? json_incref(s->now.blkio) : no_blkio());
	doc_set(doc, "num_procs", json_integer(0));
	doc_set(doc, "storage_stats", json_object());
	doc_set(doc, "cpu_stats", live ? json_incref(s->now.cpu) : no_cpu());
	doc_set(doc, "precpu_stats", live && s->cpu_before ? json_incref(s->cpu_before) : no_cpu());
	doc_set(doc, "memory_stats", live ? json_incref(s->now.memory) : json_object());
	nets = live ? net_sandbox_stats(s->en->net, c->id) : NULL;
	if (nets)
		doc_set(doc, "networks", nets);
	return doc;
}

static void tell(struct engine_stats *s, const struct container *c, bool live)
{
	bool first = s->told++ == 0, last = !s->a.stream && (!live || !first || s->a.one_shot);

	if (s->a.stream || last) {
		json_t *doc = document(s, c, live);

		s->busy = true;		/* a cancel from within frame() must not free it under us */
		s->frame(s->user, doc);
		s->busy = false;
		json_decref(doc);
	}
	if (s->cancelled || last) {
		finish(s);
		return;
	}
	json_decref(s->cpu_before);
	s->cpu_before = live ? json_incref(s->now.cpu) : NULL;
	s->before = s->at;
	loop_timer_set(s->timer, PERIOD_NS);
}

static void sample_run(struct work *w)
{
	struct engine_stats *s = CONTAINER_OF(w, struct engine_stats, work);
	struct sysinfo si = { 0 };

	sysinfo(&si);
	cgstat_done(&s->now);
	cgstat_read(s->cgroup, (uint64_t)si.totalram * si.mem_unit, &s->now);
	s->at = clock_wall();
}

static void sample_done(struct work *w)
{
	struct engine_stats *s = CONTAINER_OF(w, struct engine_stats, work);
	struct container *c = s->cancelled ? NULL : map_get(s->en->by_id, s->id);

	s->busy = false;
	if (!c)
		finish(s);
	else
		tell(s, c, c->phase == PHASE_RUNNING);
}

static void tick(void *user)
{
	struct engine_stats *s = user;
	struct container *c = map_get(s->en->by_id, s->id);

	if (!c) {
		finish(s);
	} else if (c->phase != PHASE_RUNNING) {
		tell(s, c, false);
	} else {
		s->busy = true;
		s->work = (struct work){ .run = sample_run, .done = sample_done };
		work_start(s->en->pool, &s->work);
	}
}

struct engine_stats *engine_stats(struct engine *en, const char *ref, const struct engine_stats_args *a, void (*frame)(void *user, const json_t *doc),
				  void (*end)(void *user), void *user, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct engine_stats *s;

	if (!c)
		return NULL;
	s = mem_zalloc(sizeof(*s));
	*s = (struct engine_stats){ .en = en, .a = *a, .frame = frame, .end = end, .user = user, .cgroup = container_cgroup(c) };
	memcpy(s->id, c->id, sizeof(s->id));
	s->timer = loop_timer_new(en->l, tick, s);
	loop_timer_set(s->timer, 0);
	return s;
}

void engine_stats_cancel(struct engine_stats *s)
{
	s->cancelled = true;
	if (!s->busy)
		free_stats(s);
}
