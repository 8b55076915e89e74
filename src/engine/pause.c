/* SPDX-License-Identifier: Apache-2.0 */
/* Freezing and thawing, and signals to what is frozen. */
#include "engine/engine_priv.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct pausing {
	struct container *c;
	bool pause;
	engine_done *done;
	void *user;
};

static void finish(struct pausing *p, const struct err *e)
{
	if (!e)
		event_container(p->c, p->pause ? "pause" : "unpause", NULL);
	p->c->pausing = false;
	if (p->done)
		p->done(p->user, e);
	free(p);
}

static void saved(void *user, const struct err *e)
{
	(void)FAULT("engine.paused");
	finish(user, e);
}

void container_show_paused(struct container *c, bool paused)
{
	doc_set(doc_state(c), "Paused", json_boolean(paused));
	doc_set(doc_state(c), "Status", json_string(paused ? "paused" : "running"));
}

static void done(void *user, const struct err *e)
{
	struct pausing *p = user;

	if (e) {
		finish(p, e);
		return;
	}
	if (p->c->phase != PHASE_RUNNING) {	/* it ended with the thaw; what it is now is written by whoever saw that */
		finish(p, NULL);
		return;
	}
	container_show_paused(p->c, p->pause);
	health_paused(p->c, p->pause);
	container_save(p->c, saved, p);
}

static void begin(struct container *c, bool pause, engine_done *fn, void *user)
{
	struct pausing *p = mem_zalloc(sizeof(*p));

	*p = (struct pausing){ .c = c, .pause = pause, .done = fn, .user = user };
	c->pausing = true;
	rt_pause(c->rt, pause, done, p);
}

void engine_pause(struct engine *en, const char *ref, bool pause, engine_done *fn, void *user)
{
	struct err e = { 0 };
	struct container *c = engine_find(en, ref, &e);
	bool paused = c && json_flag(doc_state(c), "Paused", false);

	if (!c)
		;
	else if (c->phase == PHASE_RESTART_WAIT)
		err_set(&e, ERR_CONFLICT, "Container %s is restarting, wait until the container is running", c->id);
	else if (c->phase != PHASE_RUNNING || !c->rt)
		err_set(&e, ERR_CONFLICT, "Container %s is not running", c->id);
	else if (c->pausing)
		err_set(&e, ERR_CONFLICT, "Container %s is just being paused or unpaused", c->id);
	else if (pause && paused)
		err_set(&e, ERR_CONFLICT, "Container %s is already paused", c->id);
	else if (!pause && !paused)
		err_set(&e, ERR_CONFLICT, "Container %s is not paused", c->id);
	if (e.kind != ERR_NONE) {
		waiter_later(en, fn, user, &e);
		return;
	}
	begin(c, pause, fn, user);
}

int container_signal(struct container *c, int signo, bool to_end, struct err *e)
{
	int r = rt_kill(c->rt, signo, e);

	/* What is frozen dies when it thaws (cgroup version 1), and handles nothing before. */
	if (r == 0 && to_end && (c->pausing || json_flag(doc_state(c), "Paused", false)))
		begin(c, false, NULL, NULL);
	return r;
}
