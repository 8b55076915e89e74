/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_LOOP_WORK_H
#define KEDGE_LOOP_WORK_H

#include "loop/loop.h"

/*
 * Worker pool: blocking work runs on a pool thread and comes back as an event. The caller embeds
 * struct work in its own job, alive until done() has run. done() runs exactly once, from the loop.
 */
struct work {
	void (*run)(struct work *w);	/* pool thread; touches the job only */
	void (*done)(struct work *w);	/* loop thread */
	struct work *next;		/* the pool's */
	struct work_pool *pool;		/* the pool's */
};

struct work_pool;
/* At most `threads`, started on demand, ended after 10 s without work. */
struct work_pool *work_pool_new(struct loop *l, unsigned threads);
/* Waits for running work, runs what is queued, delivers done() of all. */
void work_pool_free(struct work_pool *p);
void work_start(struct work_pool *p, struct work *w);

#endif
