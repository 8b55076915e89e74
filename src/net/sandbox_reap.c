/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stddef.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/sandbox.h"

/*
 * Theory of operation. Removing a veth pair makes the kernel wait for all its readers (RCU): 20 to 40 ms, most of what stopping a container would
 * cost. So the endpoints of a closed sandbox are handed to the reaper and its owner goes on at once; only their addresses rest until the pair is gone, for the old
 * namespace would still answer ARP for it. The wait is one a removal, however many links it takes: what has come together meanwhile is
 * put into a link group and goes as one. An address that is wanted at once (a fixed one, a full subnet) waits for the reaper (waiting_add()).
 */
struct reaper {
	struct work w;
	struct net *n;
	struct endpoint *next;		/* comes together on the loop */
	struct endpoint *now;		/* the worker's */
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
	for (struct endpoint *ep = rp->now; ep; ep = ep->next) {
		rtnl_link_group(r, ep->veth, group);
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
	struct endpoint *ep;

	while ((ep = rp->now)) {
		rp->now = ep->next;
		if (ep->nw)
			ep->nw->resting--;
		endpoint_free(ep);
	}
	rp->running = false;
	if (rp->next)
		start(rp);
	waiting_retry(n);
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

void endpoint_reap_take(struct endpoint *ep)
{
	struct net *n = ep->n;

	if (!n->reaper) {
		n->reaper = mem_zalloc(sizeof(*n->reaper));
		n->reaper->n = n;
	}
	if (ep->nw)
		ep->nw->resting++;
	ep->next = n->reaper->next;
	n->reaper->next = ep;
	if (!n->reaper->running)
		start(n->reaper);
}

/* The worker reads nothing but names of interfaces. */
void reaper_forget(struct net *n, struct network *nw)
{
	struct endpoint *lists[2] = { n->reaper ? n->reaper->now : NULL, n->reaper ? n->reaper->next : NULL };

	for (int i = 0; i < 2; i++)
		for (struct endpoint *ep = lists[i]; ep; ep = ep->next)
			if (ep->nw == nw) {
				ep->nw = NULL;
				ep->pool4 = ep->pool6 = NULL;
				nw->busy--;
				nw->resting--;
			}
}

void reaper_free(struct reaper *r)
{
	free(r);
}
