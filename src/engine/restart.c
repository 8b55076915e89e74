/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restart policies.
 *
 *   at rest --policy wants--> RESTART_WAIT: pause (timer), then a turn (queue) --> STARTING, turn given back when it runs or has failed
 *
 * The pause is docker's: 100 ms, doubled each time up to a minute, back to the start after a run of 10 s; a random part of up to a fifth is added,
 * so that what failed together does not come back together. Restarts share TURNS turns: starts use a processor each for most of their
 * time, and two hundred containers that crash in a loop must leave the engine and the machine room for others.
 * After a start of the engine everything that has to come back goes the same way, spread over START_SPREAD_NS.
 */
#include "engine/engine_priv.h"

#include <string.h>

#define PAUSE_MIN_NS 100000000ll
#define PAUSE_MAX_NS 60000000000ll
#define PAUSE_RESET_NS 10000000000ll
#define START_SPREAD_NS 500000000
enum { TURNS = 4 };

static void next_turn(struct engine *en)
{
	struct container *c;

	while (en->turns < TURNS && (c = en->restart_queue)) {
		en->restart_queue = c->restart_next;
		if (!en->restart_queue)
			en->restart_end = NULL;
		c->restart_next = NULL;
		c->restart_queued = false;
		en->turns++;
		c->has_turn = true;
		container_start(c);
	}
}

static void pause_over(void *user)
{
	struct container *c = user;
	struct engine *en = c->en;

	c->restart_queued = true;
	if (en->restart_end)
		en->restart_end->restart_next = c;
	else
		en->restart_queue = c;
	en->restart_end = c;
	next_turn(en);
}

static void wait_for(struct container *c, int64_t pause)
{
	doc_set(doc_state(c), "Status", json_string("restarting"));
	doc_set(doc_state(c), "Restarting", json_true());
	doc_set(doc_state(c), "Running", json_true());
	c->phase = PHASE_RESTART_WAIT;
	c->restart_timer = loop_timer_new(c->en->l, pause_over, c);
	loop_timer_set(c->restart_timer, pause);
}

void restart_turn_over(struct container *c)
{
	if (!c->has_turn)
		return;
	c->has_turn = false;
	c->en->turns--;
	if (!c->en->closing)
		next_turn(c->en);
}

void container_cancel_restart(struct container *c)
{
	struct container **at = &c->en->restart_queue, *last = NULL;

	loop_timer_free(TAKE(c->restart_timer));
	if (!c->restart_queued)
		return;
	for (; *at != c; at = &(*at)->restart_next)
		last = *at;
	*at = c->restart_next;
	if (c->en->restart_end == c)
		c->en->restart_end = last;
	c->restart_next = NULL;
	c->restart_queued = false;
}

static bool on_failure(const struct container *c)
{
	int64_t max = json_i64(json_obj(doc_host(c), "RestartPolicy"), "MaximumRetryCount", 0);

	return json_i64(doc_state(c), "ExitCode", 0) != 0 && (max == 0 || json_i64(c->doc, "RestartCount", 0) < max);
}

bool restart_wanted(const struct container *c)
{
	const char *name = json_str(json_obj(doc_host(c), "RestartPolicy"), "Name", "");

	if (c->manual_stop || !c->started_ok)
		return false;
	return str_eq(name, "always") || str_eq(name, "unless-stopped") || (str_eq(name, "on-failure") && on_failure(c));
}

void restart_later(struct container *c)
{
	int64_t pause = c->restart_pause_ns;

	if (!pause || clock_now() - c->up_since >= PAUSE_RESET_NS)
		pause = PAUSE_MIN_NS;
	c->restart_pause_ns = pause * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS : pause * 2;
	doc_set(c->doc, "RestartCount", json_integer(json_i64(c->doc, "RestartCount", 0) + 1));
	wait_for(c, pause + (int64_t)rand_below((uint64_t)pause / 5 + 1));
}

/* "always" means that too: what its user stopped comes back with the engine, "unless-stopped" does not. */
bool restart_at_start(struct container *c)
{
	const char *name = json_str(json_obj(doc_host(c), "RestartPolicy"), "Name", "");

	if (!doc_time(doc_state(c), "StartedAt"))
		return false;
	if (!str_eq(name, "always") && !(str_eq(name, "unless-stopped") && !c->manual_stop) &&
	    !(str_eq(name, "on-failure") && !c->manual_stop && on_failure(c)))
		return false;
	wait_for(c, (int64_t)rand_below(START_SPREAD_NS));
	return true;
}
