/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_ENGINE_H
#define KEDGE_ENGINE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/image.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "net/net.h"
#include "store/store.h"
#include "volume/volume.h"

/*
 * Containers. Documents go in and out in the Engine API's shapes (v1.50); api checks the transport, the engine checks the meaning.
 * Every asynchronous call runs its done exactly once from the loop, never from inside the call. e is NULL on success, borrowed.
 * ref is an id, an unambiguous id prefix or a name ("No such container: x").
 */
struct engine;

/* userns-remap: id 0 of containers is uid:gid outside, and so on for size ids; size 0: none. */
struct engine_idmap {
	unsigned uid, gid, size;
};

struct engine_config {
	struct engine_idmap idmap;
	const char *data_root;		/* containers/<id>/{upper,work,bundle,<id>-json.log,hostname,hosts,resolv.conf} */
						/* mountpoints/1/root: the layer below all images' */
	const char *exec_root;		/* containers/<id>/ run directories */
	const char *runtime_path;	/* kedge-runtime */
	const char *publish_policy;	/* of containers that say nothing; NULL: direct */
	const char *cgroup_parent;	/* "kedge" */
	const char *hostname;		/* for /info */
	const char *version;
	const char *log_driver;		/* of containers that name none; NULL: json-file */
	char *const *log_opts;		/* "key=value", NULL-terminated, or NULL */
	json_t *defaults;		/* of containers: defaults.h; "labels": the engine's own. A reference is taken; NULL: none */
};

/* Loads containers, adopts running ones, cleans what a crash left, calls net_gc. Blocking; at start. */
struct engine *engine_new(struct loop *l, struct work_pool *p, struct store *st, struct images *im, struct volumes *vs, struct net *n,
			  const struct engine_config *cfg, struct err *e);
void engine_free(struct engine *en);	/* containers go on */

typedef void engine_done(void *user, const struct err *e);

/* body: ContainerCreateRequest (borrowed). result: {"Id", "Warnings"} borrowed. */
void engine_create(struct engine *en, const char *name, const json_t *body, void (*done)(void *user, const json_t *result, const struct err *e), void *user);
void engine_start(struct engine *en, const char *ref, engine_done *done, void *user);		/* NOT_MODIFIED when running */
/* timeout in seconds, -1: wait forever, -2: the container's own or 10. signal NULL: the container's own. */
void engine_stop(struct engine *en, const char *ref, const char *signal, int timeout, engine_done *done, void *user);
void engine_restart(struct engine *en, const char *ref, const char *signal, int timeout, engine_done *done, void *user);
void engine_kill(struct engine *en, const char *ref, const char *signal, engine_done *done, void *user);
void engine_remove(struct engine *en, const char *ref, bool force, bool volumes, engine_done *done, void *user);
void engine_rename(struct engine *en, const char *ref, const char *name, engine_done *done, void *user);

void engine_pause(struct engine *en, const char *ref, bool pause, engine_done *done, void *user);	/* false: unpause */
/* body: the limits and RestartPolicy of ContainerUpdate; zero means "as it is". result: {"Warnings"}, borrowed. */
void engine_update(struct engine *en, const char *ref, const json_t *body, void (*done)(void *user, const json_t *result, const struct err *e), void *user);

/* condition: "not-running", "next-exit", "removed". Returns NULL with e for a bad ref/condition. cancel: no callback any more. */
struct engine_wait;
struct engine_wait *engine_wait(struct engine *en, const char *ref, const char *condition, void (*done)(void *user, int status, const char *error), void *user, struct err *e);
void engine_wait_cancel(struct engine_wait *w);

/* Measures what a container (NULL: each) takes on disk. "size" in the documents below tells what was measured last. */
void engine_measure(struct engine *en, const char *ref, engine_done *done, void *user);

/* Appended as JSON text: ContainerSummary[], ContainerInspectResponse. 0, or -1 with e and b as it was. */
int engine_list(struct engine *en, bool all, int limit, bool size, const json_t *filters, struct buf *b, struct err *e);
int engine_inspect(struct engine *en, const char *ref, bool size, struct buf *b, struct err *e);
/* How many containers were made of an image. */
unsigned engine_image_users(struct engine *en, const char *image_id);
/* The ids of the containers whose names begin with prefix; NULL-terminated, the caller frees with strv_free. NULL: none. */
char **engine_named(struct engine *en, const char *prefix);

/* New references. */
json_t *engine_top(struct engine *en, const char *ref, const char *ps_args, struct err *e);			/* {"Titles", "Processes"} */
json_t *engine_info(struct engine *en);			/* SystemInfo */
json_t *engine_version(struct engine *en);		/* SystemVersion */
/* NetworkInspect with Containers filled in. filters as in filter.h. */
json_t *engine_network_list(struct engine *en, const json_t *filters, struct err *e);
json_t *engine_network_inspect(struct engine *en, const char *ref, struct err *e);
/* Bodies are the API's, borrowed. */
void engine_network_create(struct engine *en, const json_t *body, void (*done)(void *user, const char *id, const char *warning, const struct err *e),
			   void *user);
void engine_network_remove(struct engine *en, const char *ref, engine_done *done, void *user);
/* {"Container", "EndpointConfig"}; running or not. Other connections of the container stay as they are. */
void engine_network_connect(struct engine *en, const char *network, const json_t *body, engine_done *done, void *user);
void engine_network_disconnect(struct engine *en, const char *network, const json_t *body, engine_done *done, void *user);	/* {"Container", "Force"} */
void engine_network_prune(struct engine *en, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user);
bool engine_container_tty(struct engine *en, const char *ref, bool *tty, struct err *e);	/* false: no such container */
/* The directory that takes what a container changes in its root file system, in overlayfs's form. The caller frees; NULL with e. */
char *engine_upper(struct engine *en, const char *ref, struct err *e);
int engine_resize(struct engine *en, const char *ref, unsigned rows, unsigned cols, struct err *e);

/* Logs, with docker's options. data: message payload; stream 1/2. */
struct engine_logs;
struct engine_logs_args {
	bool follow, want_stdout, want_stderr, timestamps, details;
	int64_t since_ns, until_ns;	/* 0: none */
	int64_t tail;			/* -1: all */
};
struct engine_logs_ops {
	void (*line)(void *user, int stream, const void *p, size_t n);
	void (*end)(void *user, const struct err *e);	/* once */
};
struct engine_logs *engine_logs(struct engine *en, const char *ref, const struct engine_logs_args *a, const struct engine_logs_ops *ops, void *user, struct err *e);
void engine_logs_pause(struct engine_logs *lg, bool paused);
void engine_logs_cancel(struct engine_logs *lg);

/* Attach to a running container, or to one not yet started (output from its first byte on). */
struct engine_attach;
struct engine_attach_ops {
	void (*output)(void *user, int stream, const void *p, size_t n);
	void (*end)(void *user);
	void (*writable)(void *user);	/* may be NULL: all stdin bytes handed over are with the container */
};
struct engine_attach_args {
	bool in, out, err;
	bool stream;			/* go on with live output; else the log alone */
	bool logs;			/* begin with the log */
	const char *detach_keys;	/* NULL or "": ctrl-p,ctrl-q; looked for in stdin with a terminal, end() follows */
};
struct engine_attach *engine_attach(struct engine *en, const char *ref, const struct engine_attach_args *a,
				    const struct engine_attach_ops *ops, void *user, struct err *e);
/* Takes all; returns the bytes that still wait for the container: when not 0, stop until writable(). */
size_t engine_attach_write(struct engine_attach *a, const void *p, size_t n);
void engine_attach_close_stdin(struct engine_attach *a);
void engine_attach_pause(struct engine_attach *a, bool paused);
void engine_attach_cancel(struct engine_attach *a);

/*
 * Execs. id is the whole id or an unambiguous prefix of it ("No such exec instance: x"). A finished one can be inspected for ten minutes, over
 * restarts of the engine too.
 */
int engine_exec_create(struct engine *en, const char *ref, const json_t *body, json_t **ret, struct err *e);	/* {"Id"} */
struct engine_exec_args {
	unsigned rows, cols;		/* of the terminal; 0: not told */
};
/* NULL when it may be started; e is what a start would say. */
int engine_exec_check(struct engine *en, const char *id, struct err *e);
/* Nobody listens; done when it runs. */
void engine_exec_start(struct engine *en, const char *id, const struct engine_exec_args *a, engine_done *done, void *user);
/*
 * The streams are those asked for at creation. A start that fails is told in the output; end() comes when the program has ended and all its output
 * was delivered, its exit code is known then. Cancelled or detached from, it goes on.
 */
struct engine_attach *engine_exec_attach(struct engine *en, const char *id, const struct engine_exec_args *a, const struct engine_attach_ops *ops,
					 void *user, struct err *e);
json_t *engine_exec_inspect(struct engine *en, const char *id, struct err *e);
int engine_exec_resize(struct engine *en, const char *id, unsigned rows, unsigned cols, struct err *e);

/*
 * Events: history first (since/until in ns, 0: none), then live ones until cancelled or until. ev is the API's EventMessage, text the same as a
 * line of JSON, written once for all who listen; both borrowed.
 */
struct engine_events;
struct engine_events *engine_events(struct engine *en, int64_t since_ns, int64_t until_ns, const json_t *filters,
				    void (*event)(void *user, const json_t *ev, const char *text, size_t n), void (*end)(void *user), void *user,
				    struct err *e);
void engine_events_cancel(struct engine_events *s);
size_t engine_events_listeners(const struct engine *en);
/* For news of other modules: type "image", "network", ... */
void engine_event_post(struct engine *en, const char *type, const char *action, const char *id, json_t *attributes_take);

#endif
