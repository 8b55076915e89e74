/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A queue of work under a mutex, threads that take from it, a list of finished work that goes back to the loop. One post is
 * on its way to the loop at most: whoever finishes while it is adds to the list only, so a burst of small jobs costs one
 * wake-up.
 *
 * Threads start when there is more queued than idle threads could take, and end after 10 s without work: a container
 * start is a burst, and an idle daemon should hold no stacks. Their signals are all blocked; those are the loop's. The stack
 * is 1 MiB, enough for libarchive with its filters.
 *
 * What can fail: pthread_create (limits of the cgroup). Work then waits for the threads there are; when there is none at
 * all, it runs in the caller. The loop stalls then, but nothing is lost.
 */
#include "loop/work.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/mem.h"

enum { LINGER_S = 10 };

struct work_pool {
	struct loop *l;
	pthread_mutex_t lock;
	pthread_cond_t more, fewer;
	struct work *first, **end;
	struct work *finished, **finished_end;	/* done() is due */
	unsigned threads, idle, queued, max;
	bool closing, posted;
};

static void deliver(struct work_pool *p)
{
	for (;;) {
		struct work *w;

		pthread_mutex_lock(&p->lock);
		w = p->finished;
		if (w) {
			p->finished = w->next;
			if (!p->finished)
				p->finished_end = &p->finished;
		}
		pthread_mutex_unlock(&p->lock);
		if (!w)
			return;
		w->done(w);
	}
}

static void on_posted(void *user)
{
	struct work_pool *p = user;

	pthread_mutex_lock(&p->lock);
	p->posted = false;
	pthread_mutex_unlock(&p->lock);
	deliver(p);
}

/* Runs what is queued. Called with the lock, which is let go during each run(). */
static void run_queue(struct work_pool *p)
{
	struct work *w;

	while ((w = p->first)) {
		p->first = w->next;
		if (!p->first)
			p->end = &p->first;
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		pthread_mutex_lock(&p->lock);
		w->next = NULL;
		*p->finished_end = w;
		p->finished_end = &w->next;
		if (!p->posted && !p->closing) {
			p->posted = true;
			loop_post(p->l, on_posted, p);
		}
	}
}

static void *worker(void *user)
{
	struct work_pool *p = user;
	struct timespec until;
	sigset_t all;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		run_queue(p);
		if (p->closing)
			break;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LINGER_S;
		p->idle++;
		r = pthread_cond_timedwait(&p->more, &p->lock, &until);
		p->idle--;
		if (r == ETIMEDOUT && !p->first)
			break;
	}
	p->threads--;
	pthread_cond_broadcast(&p->fewer);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct work_pool *work_pool_new(struct loop *l, unsigned threads)
{
	struct work_pool *p = mem_zalloc(sizeof(*p));
	pthread_condattr_t ca;

	p->l = l;
	p->max = threads ? threads : 1;
	p->end = &p->first;
	p->finished_end = &p->finished;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&p->more, &ca);
	pthread_cond_init(&p->fewer, NULL);
	pthread_condattr_destroy(&ca);
	return p;
}

static int spawn(struct work_pool *p)
{
	pthread_attr_t a;
	pthread_t t;
	int r;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&a, 1 << 20);
	r = pthread_create(&t, &a, worker, p);
	pthread_attr_destroy(&a);
	return r;
}

void work_start(struct work_pool *p, struct work *w)
{
	w->next = NULL;
	w->pool = p;
	pthread_mutex_lock(&p->lock);
	*p->end = w;
	p->end = &w->next;
	if (++p->queued <= p->idle) {
		pthread_cond_signal(&p->more);
	} else if (p->threads < p->max) {
		p->threads++;
		if (spawn(p)) {
			p->threads--;
			if (!p->threads)
				run_queue(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

void work_pool_free(struct work_pool *p)
{
	bool again;

	if (!p)
		return;
	do {
		pthread_mutex_lock(&p->lock);
		p->closing = true;
		pthread_cond_broadcast(&p->more);
		while (p->threads)
			pthread_cond_wait(&p->fewer, &p->lock);
		p->closing = false;
		again = p->finished;
		pthread_mutex_unlock(&p->lock);
		/* done() may start more work, which runs on new threads: round again. */
		deliver(p);
	} while (again);
	loop_forget(p->l, on_posted, p);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->more);
	pthread_cond_destroy(&p->fewer);
	free(p);
}
