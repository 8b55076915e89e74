/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_REGISTRY_REGISTRY_H
#define KEDGE_IMAGE_REGISTRY_REGISTRY_H

#include "image/adding.h"
#include "image/registry/session.h"

/* What pulls, pushes and logins have in common. */
struct registry {
	struct loop *loop;
	struct transport *transport;
	struct registry_config cfg;
	struct work_pool *pool;		/* one thread a pull, push or login: they wait much and work little */
	struct work_pool *down, *up;	/* layers under way */
	struct image_transfer *transfers;
};

/* Messages to a client from worker threads, in their order. */
struct image_transfer {
	struct image_op op;
	struct work work;
	struct images *im;
	struct image_transfer *next;
	struct image_transfer_ops ops;
	void *user;
	bool gone;			/* loop thread: no more callbacks */
	bool stop;			/* under the transport's lock: no more waiting; see cancelled */
	bool cancelled;			/* the same: for good */
	struct registry_creds creds;
	struct platform platform;
	struct image_ref ref;		/* without a tag and digest: all tags */
	struct adding add;
	struct err err;
	void (*run)(struct image_transfer *t);				/* worker */
	void (*tx)(struct image_transfer *t, struct store_tx *tx);	/* more for the commit; may be NULL */
	void (*end)(struct image_transfer *t, const struct err *e);	/* after the commit: last messages, frees what is its own */
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t jobs_done;
	unsigned jobs;			/* layers under way */
	struct err job_err;		/* the first one */
	json_t *said;			/* messages on their way to the loop */
	bool posted;
	/* pull */
	struct map *have;		/* ids of images that were there at the start */
	struct pulled *pulled;
	size_t npulled;
	bool layers_new;
	/* push */
	struct pushed *pushed;
	size_t npushed;
};

struct registry *registry_of(struct images *im);	/* made at the first use */
void registry_stop(struct images *im);			/* all transfers; waits for their threads */
void registry_free(struct images *im);

struct image_transfer *transfer_new(struct images *im, const struct image_transfer_ops *ops, void *user);
void transfer_free(struct image_transfer *t);		/* one that was not started; t itself is the caller's */
/* Runs run() on a thread of the pool, then commits the adding, then end(). */
void transfer_start(struct image_transfer *t, void (*run)(struct image_transfer *t));

/* Worker threads. */
void transfer_say_take(struct image_transfer *t, json_t *msg);
void transfer_status(struct image_transfer *t, const char *id, const char *status);	/* with "progressDetail": {} when there is an id */
/* {"status", "progressDetail": {"current", "total"}, "progress": "[=>  ] 1MB/3MB", "id"} */
void transfer_progress(struct image_transfer *t, const char *id, const char *status, uint64_t current, uint64_t total);
/* "Retrying in 2 seconds", second for second, while it sleeps. False: stopped. */
bool transfer_retry_sleep(struct image_transfer *t, const char *id, int64_t ns);
/* A layer's job: begins and ends; a failure stops the others. */
void transfer_job_begin(struct image_transfer *t);
void transfer_job_end(struct image_transfer *t, const struct err *e);
/* Waits for all; -1 with the first failure. */
int transfer_jobs_wait(struct image_transfer *t, struct err *e);
/* Keeps the user's error when he has gone: "context canceled". */
bool transfer_cancelled(struct image_transfer *t);

#endif
