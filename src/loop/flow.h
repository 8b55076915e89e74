/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_LOOP_FLOW_H
#define KEDGE_LOOP_FLOW_H

#include <stdbool.h>

#include "loop/loop.h"

/*
 * Bytes between a pool thread and the loop, in one direction, bounded: the thread blocks, the loop never does. ready runs from the loop
 * after the other side has made it worth looking again: there is something to take, or room to feed (below half of the limit).
 */
struct flow;
struct flow *flow_new(struct loop *l, size_t limit, void (*ready)(void *user), void *user);
/* When the thread is through with it; NULL is fine. ready does not run any more. */
void flow_free(struct flow *f);

/* Thread */
ssize_t flow_read(struct flow *f, void *p, size_t n);		/* > 0, 0 at the end, -ECANCELED */
int flow_write(struct flow *f, const void *p, size_t n);	/* 0 or -ECANCELED */
bool flow_cancelled(struct flow *f);
void flow_wake(struct flow *f);					/* ready is to run */

/* Loop */
bool flow_feed(struct flow *f, const void *p, size_t n);	/* takes all; false: full, wait for ready */
void flow_finish(struct flow *f);				/* end of what is fed */
const void *flow_peek(struct flow *f, size_t *n);		/* the next piece; NULL: none now */
void flow_drop(struct flow *f);					/* ... is done with */
void flow_cancel(struct flow *f);				/* the thread's calls fail from now on; what is queued goes */

#endif
