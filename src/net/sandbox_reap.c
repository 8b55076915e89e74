/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stddef.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/sandbox.h"

/*
 * Theory of operation. Removing a veth pair makes the kernel wait for all its readers (RCU): 20 to 40 ms, most of what stopping a container would
 * cost. So a closed sandbox is handed to the reaper and its owner goes on at once; only its address rests until the pair is gone, for the old
 * namespace would still answer ARP for it. The wait is one a removal, however many links it takes: what has come together meanwhile is
 * put into a link group and goes as one. An address that is wanted at once (a fixed one, a full subnet) waits for the reaper in sandbox.c.
 */
struct reaper {
	struct work w;
	struct net *n;
	struct sandbox *next;		/* comes together on the loop */
	struct sandbox *now;		/* the worker's */
	bool running;
};

/* A few at a time: a batch of requests has room for no more. */
enum { REAP_STEP = 8 };

static void reap_run(struct work *w)
{
	struct reaper *rp = CONTAINER_OF(w, struct reaper, w);
	/* Others' groups are small numbers by custom; ours is drawn each time. */
	uint32_t group = UINT32_C(0x6b000000) | (rand_u32() & 0xffffff);
	struct err e = { 0 };
	struct rtnl *r;
	unsigned i = 0;

	if (rtnl_open(&r, &e) < 0) {
		log_warn("net", "%s, leaving interfaces of ended containers to the next start", e.msg);
		return;
	}
	for (struct sandbox *s = rp->now; s; s = s->next) {
		rtnl_link_group(r, s->veth, group);
		if (++i % REAP_STEP == 0 && rtnl_run(r, &e) < 0)
			log_warn("net", "%s", e.msg);
	}
	rtnl_group_del(r, group);
	if (rtnl_run(r, &e) < 0)
		log_warn("net", "%s", e.msg);
	rtnl_close(r);
}

static void start(struct reaper *rp);

static void reap_done(struct work *w)
{
	struct reaper *rp = CONTAINER_OF(w, struct reaper, w);
	struct net *n = rp->n;
	struct sandbox *s;

	while ((s = rp->now)) {
		rp->now = s->next;
		if (s->nw)
			s->nw->resting--;
		sandbox_free(s);
	}
	rp->running = false;
	if (rp->next)
		start(rp);
	openings_retry(n);
}

static void start(struct reaper *rp)
{
	rp->now = TAKE(rp->next);
	rp->running = true;
	rp->w = (struct work){ .run = reap_run, .done = reap_done };
	if (!rp->n->stopping) {
		work_start(rp->n->pool, &rp->w);
		return;
	}
	reap_run(&rp->w);
	reap_done(&rp->w);
}

void sandbox_reap_take(struct sandbox *s)
{
	struct net *n = s->n;

	if (!n->reaper) {
		n->reaper = mem_zalloc(sizeof(*n->reaper));
		n->reaper->n = n;
	}
	if (s->nw)
		s->nw->resting++;
	s->next = n->reaper->next;
	n->reaper->next = s;
	if (!n->reaper->running)
		start(n->reaper);
}

void reaper_free(struct reaper *r)
{
	free(r);
}
