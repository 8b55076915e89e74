/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_BUILD_H
#define KEDGE_BUILD_BUILD_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "engine/engine.h"
#include "image/image.h"
#include "loop/loop.h"
#include "store/store.h"

/*
 * Images out of Dockerfiles, as docker's classic builder makes them: a context that streams in, a step an instruction, a cache by parent and
 * instruction that outlives the engine, messages in the classic builder's words. Stages that do not need each other are built side by side.
 */
struct builds;

/* root: a folder of ours on the file system of the images; what an engine that died has left there, and its containers, go. Blocking. */
struct builds *builds_new(struct loop *l, struct store *st, struct images *im, struct engine *en, const char *root, struct err *e);
void builds_free(struct builds *bs);	/* before the engine and the images; builds under way end unseen */

struct build_args {			/* all borrowed for the call */
	char *const *tags;		/* NULL-terminated or NULL */
	const char *dockerfile;		/* path in the context; NULL or "": Dockerfile */
	char *const *cache_from;	/* images whose layers may stand for steps, beside what was built here; or NULL */
	const json_t *build_args;	/* name -> string or null; or NULL */
	const json_t *labels;		/* name -> string; or NULL */
	const json_t *host;		/* HostConfig of the containers of RUN; or NULL */
	const char *target, *platform;	/* NULL or "": none */
	const json_t *registries;	/* server -> AuthConfig, for images that are pulled; or NULL */
	bool no_cache, quiet;
	bool pull;			/* base images are asked for even if they are there */
	bool rm, force_rm;		/* containers of RUN: removed after success; removed in any case */
};

struct build_ops {
	void (*message)(void *user, const json_t *msg);		/* {"stream": ..}, {"aux": {"ID": ..}} */
	void (*resume)(void *user);				/* there is room for more of the context */
	/* Once. e NULL: built, named, durable. code: the exit status of a command that failed, or 0. Messages may have come before. */
	void (*end)(void *user, const struct err *e, int code);
};

struct build;
/* NULL with e: the arguments are wrong. The context follows by build_feed(): a tar, plain or compressed. */
struct build *build_start(struct builds *bs, const struct build_args *a, const struct build_ops *ops, void *user, struct err *e);
bool build_feed(struct build *b, const void *p, size_t n);	/* copies; false: wait for resume() */
void build_finish(struct build *b);				/* the context is complete */
void build_abort(struct build *b);				/* the client is gone: no callback any more, nothing stays behind but cached steps */
void build_pause(struct build *b, bool paused);			/* the client does not read: commands wait */

/* The cache: array of the API's BuildCache. New reference. */
json_t *builds_usage(struct builds *bs);
/* Forgets what no build uses; steps that no image stands on go from disk. result: {"CachesDeleted", "SpaceReclaimed"}, borrowed. all false:
 * steps that an image with a name stands on are kept. */
void builds_prune(struct builds *bs, bool all, void (*done)(void *user, const json_t *result, const struct err *e), void *user);

#endif
