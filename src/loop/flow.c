/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/flow.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct piece {
	struct piece *next;
	size_t n, at;
	char data[];
};

struct flow {
	struct loop *l;
	void (*ready)(void *user);
	void *user;
	size_t limit;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct piece *first, **last;
	size_t queued;
	bool eof, cancelled, full, posted;
};

struct flow *flow_new(struct loop *l, size_t limit, void (*ready)(void *user), void *user)
{
	struct flow *f = mem_zalloc(sizeof(*f));

	*f = (struct flow){ .l = l, .ready = ready, .user = user, .limit = limit };
	f->last = &f->first;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	return f;
}

static void on_posted(void *user)
{
	struct flow *f = user;

	pthread_mutex_lock(&f->lock);
	f->posted = false;
	pthread_mutex_unlock(&f->lock);
	f->ready(f->user);
}

/* With the lock. */
static void post(struct flow *f)
{
	if (f->posted)
		return;
	f->posted = true;
	loop_post(f->l, on_posted, f);
}

static void add(struct flow *f, const void *p, size_t n)
{
	struct piece *c = mem_alloc(sizeof(*c) + n);

	*c = (struct piece){ .n = n };
	memcpy(c->data, p, n);
	*f->last = c;
	f->last = &c->next;
	f->queued += n;
}

static void drop_first(struct flow *f)
{
	struct piece *c = f->first;

	f->first = c->next;
	if (!f->first)
		f->last = &f->first;
	f->queued -= c->n - c->at;
	free(c);
}

void flow_free(struct flow *f)
{
	if (!f)
		return;
	loop_forget(f->l, on_posted, f);
	while (f->first)
		drop_first(f);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->cond);
	free(f);
}

ssize_t flow_read(struct flow *f, void *p, size_t n)
{
	struct piece *c;
	ssize_t got = 0;

	pthread_mutex_lock(&f->lock);
	while (!f->first && !f->eof && !f->cancelled)
		pthread_cond_wait(&f->cond, &f->lock);
	c = f->first;
	if (f->cancelled) {
		got = -ECANCELED;
	} else if (c) {
		got = (ssize_t)(c->n - c->at < n ? c->n - c->at : n);
		memcpy(p, c->data + c->at, (size_t)got);
		c->at += (size_t)got;
		f->queued -= (size_t)got;
		if (c->at == c->n)
			drop_first(f);
		if (f->full && f->queued < f->limit / 2) {
			f->full = false;
			post(f);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return got;
}

int flow_write(struct flow *f, const void *p, size_t n)
{
	int r = 0;

	pthread_mutex_lock(&f->lock);
	while (f->queued >= f->limit && !f->cancelled)
		pthread_cond_wait(&f->cond, &f->lock);
	if (f->cancelled) {
		r = -ECANCELED;
	} else if (n) {
		add(f, p, n);
		post(f);
	}
	pthread_mutex_unlock(&f->lock);
	return r;
}

bool flow_cancelled(struct flow *f)
{
	bool is;

	pthread_mutex_lock(&f->lock);
	is = f->cancelled;
	pthread_mutex_unlock(&f->lock);
	return is;
}

void flow_wake(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	post(f);
	pthread_mutex_unlock(&f->lock);
}

bool flow_feed(struct flow *f, const void *p, size_t n)
{
	bool room;

	pthread_mutex_lock(&f->lock);
	if (n && !f->eof && !f->cancelled) {
		add(f, p, n);
		f->full = f->queued >= f->limit;
		pthread_cond_signal(&f->cond);
	}
	room = !f->full;
	pthread_mutex_unlock(&f->lock);
	return room;
}

void flow_finish(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	f->eof = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

/* The first piece stays where it is until flow_drop(): only the loop takes pieces out of what a thread writes. */
const void *flow_peek(struct flow *f, size_t *n)
{
	struct piece *c;

	pthread_mutex_lock(&f->lock);
	c = f->first;
	pthread_mutex_unlock(&f->lock);
	*n = c ? c->n : 0;
	return c ? c->data : NULL;
}

void flow_drop(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	if (f->first)
		drop_first(f);
	if (f->queued < f->limit / 2)
		pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

void flow_cancel(struct flow *f)
{
	pthread_mutex_lock(&f->lock);
	f->cancelled = true;
	while (f->first)
		drop_first(f);
	f->full = false;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}
