/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/registry.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	TRANSFERS_MAX = 16,	/* pulls and pushes at the same time; more wait, their clients with them */
	DOWNLOADS = 3, UPLOADS = 5, ATTEMPTS = 5,	/* dockerd's defaults */
	BAR = 50,
};

static void config_done(struct registry_config *c)
{
	strv_free(c->insecure);
	strv_free(c->mirrors);
	strv_free(c->certs);
	c->insecure = c->mirrors = c->certs = NULL;
}

static char **copy(char *const *v)
{
	char **out = NULL;

	for (; v && *v; v++)
		out = strv_add(out, *v);
	return out;
}

void images_set_registries(struct images *im, const struct image_registries *r)
{
	struct registry_config *c = &registry_of(im)->cfg;

	config_done(c);
	*c = (struct registry_config){ copy(r->insecure), copy(r->mirrors), copy(r->certs), r->downloads ? r->downloads : DOWNLOADS, r->uploads ? r->uploads : UPLOADS,
				       r->attempts ? r->attempts : ATTEMPTS };
}

struct registry *registry_of(struct images *im)
{
	struct registry *r = im->registry;

	if (r)
		return r;
	r = im->registry = mem_zalloc(sizeof(*r));
	r->loop = im->loop;
	r->cfg = (struct registry_config){ .downloads = DOWNLOADS, .uploads = UPLOADS, .attempts = ATTEMPTS };
	return r;
}

/* Threads and curl come with the first transfer: most engines hardly ever have one. */
static struct registry *registry_ready(struct images *im)
{
	struct registry *r = registry_of(im);

	if (r->transport)
		return r;
	r->transport = transport_new(r->loop);
	r->pool = work_pool_new(r->loop, TRANSFERS_MAX);
	r->down = work_pool_new(r->loop, r->cfg.downloads);
	r->up = work_pool_new(r->loop, r->cfg.uploads);
	return r;
}

void registry_stop(struct images *im)
{
	struct registry *r = im->registry;

	if (!r || !r->transport)
		return;
	for (struct image_transfer *t = r->transfers; t; t = t->next)
		image_transfer_cancel(t);
	/* Transfers first: they wait for their layers, which go on as long as their pools are there. */
	work_pool_free(TAKE(r->pool));
	work_pool_free(TAKE(r->down));
	work_pool_free(TAKE(r->up));
}

void registry_free(struct images *im)
{
	struct registry *r = im->registry;

	if (!r)
		return;
	transport_free(r->transport);
	config_done(&r->cfg);
	free(r);
	im->registry = NULL;
}

/* Messages. */

static void transfer_deliver(void *user)
{
	struct image_transfer *t = user;
	json_t *said, *msg;
	size_t i;

	pthread_mutex_lock(&t->lock);
	said = TAKE(t->said);
	t->posted = false;
	pthread_mutex_unlock(&t->lock);
	json_array_foreach(said, i, msg)
		if (!t->gone)
			t->ops.message(t->user, msg);
	json_decref(said);
}

void transfer_say_take(struct image_transfer *t, json_t *msg)
{
	pthread_mutex_lock(&t->lock);
	if (!t->said)
		t->said = json_array();
	json_array_append_new(t->said, msg);
	if (!t->posted) {
		t->posted = true;
		loop_post(t->im->loop, transfer_deliver, t);
	}
	pthread_mutex_unlock(&t->lock);
}

void transfer_status(struct image_transfer *t, const char *id, const char *status)
{
	transfer_say_take(t, id ? json_pack("{s:s, s:{}, s:s}", "status", status, "progressDetail", "id", id) : json_pack("{s:s}", "status", status));
}

void transfer_progress(struct image_transfer *t, const char *id, const char *status, uint64_t current, uint64_t total)
{
	char bar[BAR + 1], now[24], all[24];
	unsigned full = total ? (unsigned)(current * BAR / total) : 0;

	for (unsigned i = 0; i < BAR; i++)
		bar[i] = i < full ? '=' : i == full ? '>' : ' ';
	bar[BAR] = '\0';
	str_human_size(current, now, sizeof(now));
	str_human_size(total, all, sizeof(all));
	transfer_say_take(t, json_pack("{s:s, s:{s:I, s:I}, s:o, s:s}", "status", status, "progressDetail", "current", (json_int_t)current, "total",
				       (json_int_t)total, "progress", json_sprintf("[%s]  %s/%s", bar, now, all), "id", id));
}

bool transfer_retry_sleep(struct image_transfer *t, const char *id, int64_t ns)
{
	struct transport *tr = registry_of(t->im)->transport;
	char text[48];

	for (; ns > 0; ns -= 1000000000) {
		int64_t s = (ns + 999999999) / 1000000000;

		snprintf(text, sizeof(text), "Retrying in %lld second%s", (long long)s, s == 1 ? "" : "s");
		transfer_status(t, id, text);
		if (!transport_sleep(tr, &t->stop, ns < 1000000000 ? ns : 1000000000))
			return false;
	}
	return !transport_stopped(tr, &t->stop);
}

/* Layers. */

void transfer_job_begin(struct image_transfer *t)
{
	pthread_mutex_lock(&t->lock);
	t->jobs++;
	pthread_mutex_unlock(&t->lock);
}

void transfer_job_end(struct image_transfer *t, const struct err *e)
{
	bool first = false;

	pthread_mutex_lock(&t->lock);
	if (e && !t->job_err.kind) {
		t->job_err = *e;
		first = true;
	}
	pthread_mutex_unlock(&t->lock);
	if (first)
		transport_stop(registry_of(t->im)->transport, &t->stop);
	pthread_mutex_lock(&t->lock);
	if (!--t->jobs)
		pthread_cond_broadcast(&t->jobs_done);
	pthread_mutex_unlock(&t->lock);
}

int transfer_jobs_wait(struct image_transfer *t, struct err *e)
{
	struct err failed;

	pthread_mutex_lock(&t->lock);
	while (t->jobs)
		pthread_cond_wait(&t->jobs_done, &t->lock);
	failed = t->job_err;
	t->job_err = (struct err){ 0 };
	pthread_mutex_unlock(&t->lock);
	if (!failed.kind)
		return 0;
	/* The next endpoint begins anew, unless the client has gone. */
	if (!transfer_cancelled(t))
		transport_restart(registry_of(t->im)->transport, &t->stop, &t->cancelled);
	*e = failed;
	return -1;
}

bool transfer_cancelled(struct image_transfer *t)
{
	return transport_stopped(registry_of(t->im)->transport, &t->cancelled);
}

/* Beginning and end; loop thread. */

struct image_transfer *transfer_new(struct images *im, const struct image_transfer_ops *ops, void *user)
{
	struct registry *r = registry_ready(im);
	struct image_transfer *t = mem_zalloc(sizeof(*t));

	t->im = im;
	t->ops = *ops;
	t->user = user;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->jobs_done, NULL);
	adding_init(&t->add, im);
	t->next = r->transfers;
	r->transfers = t;
	return t;
}

void transfer_free(struct image_transfer *t)
{
	struct image_transfer **at = &registry_of(t->im)->transfers;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	loop_forget(t->im->loop, transfer_deliver, t);
	adding_done(&t->add);
	registry_creds_done(&t->creds);
	map_free(t->have);
	json_decref(t->said);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->jobs_done);
}

static void transfer_committed(struct image_op *op, const struct err *e)
{
	struct image_transfer *t = CONTAINER_OF(op, struct image_transfer, op);

	transfer_deliver(t);
	t->end(t, e);
	transfer_deliver(t);
	if (!t->gone)
		t->ops.end(t->user, e);
	transfer_free(t);
	image_op_end(op);
}

static void transfer_commit(struct image_op *op)
{
	struct image_transfer *t = CONTAINER_OF(op, struct image_transfer, op);
	struct store_tx *tx;

	/* Failed, or given up while it waited for its turn: but what was pushed is pushed. */
	if (t->err.kind || (t->gone && !t->npushed)) {
		if (!t->err.kind)
			err_set(&t->err, ERR_UNAVAILABLE, "context canceled");
		transfer_committed(op, &t->err);
		return;
	}
	if (!t->add.nbuilt && !t->tx) {
		transfer_committed(op, NULL);
		return;
	}
	tx = store_tx_new(op->im->store);
	adding_tx(&t->add, tx);
	if (t->tx)
		t->tx(t, tx);
	image_op_commit_take(op, tx);
}

static void transfer_run(struct work *w)
{
	struct image_transfer *t = CONTAINER_OF(w, struct image_transfer, work);

	t->run(t);
}

static void transfer_ran(struct work *w)
{
	struct image_transfer *t = CONTAINER_OF(w, struct image_transfer, work);

	t->op.run = transfer_commit;
	t->op.committed = transfer_committed;
	image_op_start(t->im, &t->op);
}

void transfer_start(struct image_transfer *t, void (*run)(struct image_transfer *t))
{
	t->run = run;
	t->work.run = transfer_run;
	t->work.done = transfer_ran;
	work_start(registry_of(t->im)->pool, &t->work);
}

void image_transfer_cancel(struct image_transfer *t)
{
	struct transport *tr;

	if (!t)
		return;
	tr = registry_of(t->im)->transport;
	t->gone = true;
	transport_stop(tr, &t->cancelled);
	transport_stop(tr, &t->stop);
}
