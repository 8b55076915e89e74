/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_PRIV_H
#define KEDGE_BUILD_PRIV_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/map.h"
#include "build/build.h"
#include "build/copy.h"
#include "build/plan.h"
#include "build/state.h"
#include "image/digest.h"
#include "loop/flow.h"
#include "loop/work.h"

struct builds {
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	struct images *images;
	struct engine *engine;
	char *root;
	struct map *cache;		/* key -> struct build_entry */
	struct build *list;
	unsigned holds;			/* the owner's and one for each build or prune */
	bool closing;
};

void builds_unref(struct builds *bs);

/* cache.c: key -> image, in the store as kind "build_cache" */
struct build_entry {
	char key[DIGEST_SIZE], image[DIGEST_SIZE];
	char *step;			/* what made it, for people */
	int64_t created, used_at;	/* ns since 1970 */
	int64_t uses;
	bool dirty;			/* used since it was written */
};
int cache_open(struct builds *bs, struct err *e);
void cache_close(struct builds *bs);
/* made_by: the history's words; config: the container config as the step leaves it. key of DIGEST_SIZE. */
void cache_key(const char *parent, const char *made_by, const char *author, const json_t *config, char *key);
const char *cache_get(struct builds *bs, const char *key);	/* the image's id or NULL */
void cache_put(struct builds *bs, const char *key, const char *image, const char *step);
/* Has one of the build's --cache-from images made this step of the same parent by the same words? *diff: its layer's tree, -1: it changed nothing. */
struct stage;
bool cache_lent(struct stage *s, int *diff);
void cache_flush(struct builds *bs);				/* what was used, written behind the caller's back */

/* context.c */
void context_open(struct build *b);
bool context_feed(struct build *b, const void *p, size_t n);
void context_finish(struct build *b);
void context_cancel(struct build *b);
void context_end(struct build *b);				/* the worker is through */
int context_read(struct build *b, struct err *e);		/* worker: unpacks, finds and parses the Dockerfile */

enum stage_phase { STAGE_WAITING, STAGE_BUSY, STAGE_DONE };

/* One stage being built. */
struct stage {
	struct build *b;
	size_t index;
	const struct build_stage *plan;
	bool needed;
	unsigned first;			/* number of its FROM */
	int base_stage;			/* or -1 */
	char *base;			/* expanded; "scratch" or an image */
	enum stage_phase phase;
	bool begun;			/* FROM is through */
	bool kicked;			/* it has told that its place is free while it waits */
	bool announced, pulled;		/* FROM is told; its image was asked for at a registry */
	struct image_transfer *pull;
	void (*after_pull)(struct stage *s);
	size_t at;			/* next of plan->steps */
	char image[DIGEST_SIZE];	/* where it stands; "" for nothing yet; held */
	struct build_state state;
	/* triggers of the base image, done before anything else */
	struct build_line *trigger_lines;
	struct build_step *triggers;
	size_t ntriggers, trigger_at;
	/* the step that is under way */
	const struct build_step *step;
	char key[DIGEST_SIZE];
	char *made_by;
	struct work work;
	struct err err;
	struct build_copy copy;
	struct ignore *exclude;
	char **layers, **source_layers;	/* of the image; of COPY --from */
	char *step_dir, *dir_path;	/* below the build's folder; WORKDIR's path */
	char source_image[DIGEST_SIZE];	/* held for COPY --from, or "" */
	int diff;
	/* its container */
	char container[ID_LEN + 1];
	struct engine_attach *attach;
	struct engine_wait *wait;
	bool attach_done, wait_done, killed, paused;
	int status;
	char *upper;
	char carry[2][4];		/* an incomplete character at the end of a stream's piece */
	size_t ncarry[2];
	/* what it said while an earlier stage was not done */
	json_t *held;
	size_t held_bytes;
};

struct build {
	struct builds *bs;
	struct build *next;
	struct build_ops ops;
	void *user;
	bool gone;			/* no callbacks */
	bool ended, failed, paused, cleaning;
	unsigned pending;		/* callbacks that are to come */
	atomic_bool stop;
	struct err err;
	int code;
	char id[17], *dir;
	/* arguments */
	char **tags, **cache_from, *dockerfile, *target, *platform;
	json_t *given, *labels, *host, *used_args, *registries;
	bool no_cache, quiet, rm, force_rm, pull;
	/* context */
	struct flow *ctx;		/* NULL: nobody reads any more */
	bool ctx_full;
	struct work work;
	int ctx_fd;
	struct build_plan plan;
	bool planned;
	json_t *meta;
	struct stage *stages;
	size_t nstages, target_stage, front, next_tag;
	unsigned total, containers;
	bool kicked;			/* build_kick() is on its way */
};

/* build.c */
void build_hold(struct build *b);		/* a callback is to come */
void build_drop(struct build *b);		/* it came; the last one ends the build if nothing goes on */
void build_fail(struct build *b, const struct err *e, int code);
void build_stage_done(struct stage *s);		/* looks for what can go on */
void build_kick(struct build *b);		/* the same, from the loop's next turn: a stage has to wait for another one */
/* out.c */
void build_say(struct build *b, json_t *msg_take);
void stage_say(struct stage *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void stage_say_bytes(struct stage *s, int stream, const char *p, size_t n);
void stage_say_json(struct stage *s, json_t *msg_take);
void stage_show(struct stage *s);		/* what was held back */
const char *build_short(const char *id);	/* after "sha256:", for %.12s */
/* stage.c */
void stage_run(struct stage *s);		/* as far as it goes without waiting */
void stage_free(struct stage *s);
void stage_made(struct stage *s, int diff_take);	/* the step's content is there: image, cache, next */
void stage_go_on(struct stage *s);		/* the step is done: the next one */
bool stage_cached(struct stage *s);		/* made_by is set: a hit moves the stage on */
bool stage_lent(struct stage *s);		/* as well, from an image of --cache-from: under way then */
void stage_to(struct stage *s, const char *image);	/* holds it, releases what was before */
/* pull.c: an image from a registry; after runs when it is there, the build fails when it is not. -1 with e: not started */
int pull_start(struct stage *s, const char *ref, void (*after)(struct stage *s), struct err *e);
void pull_stop(struct stage *s);
/* run.c: 0: under way, -1 with e */
int run_start(struct stage *s, struct err *e);
void run_stop(struct stage *s);			/* ends its container; a callback is to come for that */
void run_pause(struct stage *s);
void run_detach(struct stage *s);		/* at the end of the engine */
int copy_start(struct stage *s, struct err *e);
int workdir_start(struct stage *s, struct err *e);

#endif
