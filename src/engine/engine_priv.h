/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_PRIV_H
#define KEDGE_ENGINE_PRIV_H

/* Shared by the files of src/engine; nobody else includes this. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "runtime/client/client.h"

/* What a container is doing. The document's State follows it; only RUNNING and STARTING have an rt. */
enum phase {
	PHASE_IDLE,		/* created or exited */
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_CLEANING,		/* exited, its network and record being put away */
	PHASE_RESTART_WAIT,	/* the restart policy's pause */
	PHASE_REMOVING,
};

/* Somebody waiting for a container to come to rest (stop, kill for removal) or to have started. */
struct waiter {
	engine_done *done;
	void *user;
	struct loop_timer *timer;	/* stop: when patience ends */
	struct container *c;
	struct waiter *next;
};

struct container {
	struct engine *en;
	char id[ID_LEN + 1];
	json_t *doc;			/* as stored; see doc.c */
	int64_t created_ns;		/* of doc, for sorting */
	enum phase phase;
	struct rt *rt;
	json_t *net;			/* sandbox record while there is a sandbox */
	bool net_open;
	/* On the way up: what goes on beside the monitor's making of the container (start.c). */
	bool late_net;			/* ... the network is made meanwhile */
	bool net_pending, names_pending;
	bool side_failed;		/* the network or the names, with start_err; the monitor's end of it is awaited */
	bool start_failed;		/* the monitor's part, with start_err; the network's is awaited */
	struct prepare *prep;		/* waits for the network, to write the names */
	bool created;			/* rt has said so */
	enum { COMMIT_WAITS, COMMIT_DONE, COMMIT_FAILED } commit;	/* of what is known before it starts */
	struct loop_timer *settle;	/* until its running state is committed */
	bool started_ok;		/* the program ran in this round */
	bool kill_after_start;		/* somebody asked for an end while starting */
	bool manual_stop;		/* the restart policy keeps quiet */
	bool remove_after;		/* rm -f */
	bool remove_volumes;		/* rm -v, --rm: the anonymous ones */
	size_t volumes_held;		/* mount points before this one have their volumes acquired */
	bool restart_after;		/* restart: start again when at rest */
	struct err start_err;
	struct rt_exit exit;
	struct waiter *rest;		/* called when at rest */
	struct waiter *up;		/* called when started or failed */
	struct waiter *failed;		/* of a start that has failed, until the container is at rest; up are those of the next one then */
	struct waiter *gone;		/* called when removed */
	bool writer;			/* somebody writes into it at rest: it is not started meanwhile */
	struct rt *leaving;		/* of the run that has ended, until its root file system is unmounted */
	struct waiter *unwritten;	/* called when either is over */
	int64_t size_rw;		/* bytes in upper, as last measured */
	struct engine_attach *attaches;
	struct exec *execs;		/* newest first, until they are forgotten */
	struct health *health;		/* NULL: it has no check, or does not run */
	bool pausing;			/* the monitor is freezing or thawing it */
	bool updating;			/* new limits are on their way */
	bool lost;			/* it was running when the machine went down */
	struct loop_timer *restart_timer;
	int64_t restart_pause_ns;
	struct container *restart_next;
	bool restart_queued, has_turn;	/* waits for a turn to start, has one */
	int64_t up_since;		/* clock_now() of the last start */
};

struct engine {
	struct loop *l;
	struct work_pool *pool, *archivers;	/* archivers wait for clients: made at the first need */
	struct store *store;
	struct images *images;
	struct volumes *volumes;
	struct net *net;
	struct map *by_id, *by_name;	/* names without the leading slash */
	struct map *execs;		/* by id */
	struct loop_timer *exec_timer;	/* forgets the finished ones */
	struct exec_old *execs_over;
	struct container *restart_queue, *restart_end;
	unsigned turns;			/* restarts under way */
	struct engine_idmap idmap;
	char *data_root, *exec_root, *runtime_path, *cgroup_parent, *publish_policy, *hostname, *version;
	struct engine_wait *waits;
	struct engine_events *subs;
	struct engine_logs *followers;
	struct event_log *history;
	json_t *defaults;		/* defaults.h; may be NULL */
	json_t *log_config;		/* LogConfig of containers that name no driver */
	bool closing, pruning;
	char kernel[80], os[120], machine[40], boot[40];	/* boot: the kernel's boot_id */
};

/* engine.c */
struct container *engine_find(struct engine *en, const char *ref, struct err *e);
struct container *container_new(struct engine *en, const char *id, json_t *doc_take);
void container_free(struct container *c);		/* out of all maps */
const char *container_name(const struct container *c);	/* without the slash */
char *container_dir(const struct container *c);		/* <data_root>/containers/<id>; the caller frees */
char *container_run_dir(const struct container *c);
char *container_cgroup(const struct container *c);	/* cgroupsPath; the caller frees */
void container_save(struct container *c, void (*done)(void *user, const struct err *e), void *user);

/* points.c: what is mounted on in every container, as the lowest layer of all. Made when missing. */
int points_make(const char *data_root, struct err *e);
/* Of a container's root file system, bottom first, NULL-terminated; strv_free() by the caller. */
char **container_layers(struct engine *en, const struct image *im);

/* doc.c: the stored document's parts; borrowed */
json_t *doc_state(const struct container *c);
json_t *doc_config(const struct container *c);
json_t *doc_host(const struct container *c);
void doc_set(json_t *o, const char *key, json_t *value_take);
void doc_set_time(json_t *o, const char *key, int64_t ns);
int64_t doc_time(const json_t *o, const char *key);	/* 0: never */
const char *doc_network(const struct container *c);	/* "default" resolved to "bridge" */
char *doc_log_path(const struct container *c);		/* the caller frees */
const char *doc_log_driver(const struct container *c);

/* create.c: pure; body and image config in, stored document out. NULL with e. warnings is appended to. */
struct mounts_in;	/* mounts.h; NULL: no other container is known */
json_t *create_document(const char *id, const char *name, const json_t *body, const char *image_id, const json_t *image_config,
			struct mounts_in *mounts, json_t *warnings, struct err *e);

/* The same checks for a changed HostConfig. */
int create_check_host(json_t *host, struct err *e);

/* spec.c: pure; the OCI configuration. */
struct spec_in {
	const char *id;
	const json_t *config, *host;	/* API shapes */
	const char *path;		/* argv[0] */
	const json_t *args;
	const char *rootfs;		/* where the root file system will be */
	const char *netns;		/* NULL: a new one, "": the host's */
	const char *hostname;
	const char *files;		/* directory with hosts, hostname, resolv.conf; NULL: none */
	const char *cgroups_path;
	bool cgroup_v2;
	unsigned uid, gid;
	const unsigned *groups;
	size_t n_groups;
	const char *home;		/* HOME when the environment has none */
	const json_t *links;		/* variables of links, which the container's own win over; NULL: none */
	const json_t *mounts;		/* mount points (mounts.h) */
	const char *bundle;		/* where sources are prepared; NULL: nowhere yet */
	pid_t ipc_pid, pid_pid;		/* whose namespace is joined; 0 */
	const char *init;		/* of the host, put before the program; NULL: the runtime has its own */
	const struct engine_idmap *idmap;	/* a user namespace with these ids; NULL: none */
	const char *apparmor;		/* the profile of who names none and is not privileged; NULL: none */
};
json_t *spec_make(const struct spec_in *in, struct err *e);
/* "process" alone, for a further program (an ExecConfig of the API) in the container that in describes; path and args of in are not used. */
json_t *spec_exec(const struct spec_in *in, const json_t *exec, struct err *e);
int spec_check_rlimits(const json_t *host, struct err *e);	/* HostConfig.Ulimits */
/* An element of Tmpfs. Returns an OCI mount object, or NULL with e. */
json_t *spec_tmpfs(const char *target, const char *options, struct err *e);
int spec_signal(const char *word, struct err *e);	/* "SIGTERM", "TERM", "15" */
/* caps.c: the capability names a container gets; new reference, NULL with e */
json_t *spec_caps(const json_t *host, struct err *e);
/* blkio.c: HostConfig.Blkio* into resources.blockIO */
int spec_blkio(const json_t *host, json_t *resources, struct err *e);
json_t *spec_resources(const json_t *host, struct err *e);	/* linux.resources without devices; new reference */
/* device.c: Devices, DeviceCgroupRules, Privileged into OCI devices and rules. live: the host's devices are listed for a privileged one. */
int device_make(const json_t *host, bool live, json_t *devices, json_t *rules, struct err *e);
json_t *spec_paths(bool masked);		/* docker's lists: masked or read-only; new reference */
/* limits.c: what the machine says to limits; pure but for /proc and /sys. */
int limits_check(const json_t *host, struct err *e);
bool cgroup_unified(void);		/* nothing but cgroup version 2 */
/* remap.c */
bool remap_applies(const struct engine *en, const json_t *host);
int remap_check(const struct engine *en, const json_t *host, struct err *e);	/* what a container in a user namespace cannot have */
void remap_spec(const struct engine_idmap *m, json_t *linux_);
/* join.c: the process whose namespace "container:x" of HostConfig[key] ("IpcMode", "PidMode") means; 0 for other modes. */
int join_target(const struct container *c, const char *key, pid_t *ret, struct err *e);

/* user.c: resolves "user[:group]" in the image's layers, by handles. layers bottom first. */
struct user_ids { unsigned uid, gid; unsigned *groups; size_t n_groups; char *home; };
int user_resolve(char *const *layers, const char *upper, const char *user, const json_t *group_add, struct user_ids *ret, struct err *e);
void user_ids_done(struct user_ids *u);

/*
 * exec_process.c: the runtime's "process" for a further program in c, by a worker. exec: an ExecConfig, borrowed; done once, from the loop,
 * with the JSON text or e.
 */
void exec_process(struct container *c, const json_t *exec, void (*done)(void *user, const char *text, const struct err *e), void *user);
char *exec_command(const json_t *exec);			/* "sh -c true", as events show it; the caller frees */

/* exec.c */
json_t *exec_ids(const struct container *c);		/* of those not finished, null when there is none; new reference */
void exec_adopt(struct container *c);			/* after container_adopt() */
void exec_gone(struct container *c);			/* the container is removed */
void exec_done(struct engine *en);

/* start.c */
int exec_error_code(const struct err *e);		/* 127: no such program, 126: it cannot be executed, 128: anything else */
void container_start(struct container *c);		/* PHASE_IDLE or PHASE_RESTART_WAIT -> STARTING; result through c->up */
void container_adopt(struct container *c);		/* at start of the engine */
/* stop.c */
void container_at_rest(struct container *c);		/* exited, cleaned and stored: restart policy, removal, waiters */
void container_remove_now(struct container *c);
/* restart.c */
bool restart_wanted(const struct container *c);		/* it has just ended */
void restart_later(struct container *c);		/* PHASE_IDLE -> PHASE_RESTART_WAIT */
bool restart_at_start(struct container *c);		/* of the engine: the same if its policy says so */
void restart_turn_over(struct container *c);		/* it runs, or has failed to */
void container_cancel_restart(struct container *c);
/* pause.c */
void container_show_paused(struct container *c, bool paused);
/* rt_kill(); to_end: the signal is meant to end it, a paused one is thawed for it. */
int container_signal(struct container *c, int signo, bool to_end, struct err *e);
/* health.c */
void health_reset(struct container *c);			/* State.Health for a start */
void health_begin(struct container *c);			/* it runs */
void health_paused(struct container *c, bool paused);
void health_end(struct container *c);			/* it does not run any more */
void health_gone(struct container *c);
void health_adopt(struct container *c);			/* after container_adopt() */
int health_check_config(const json_t *check, struct err *e);
json_t *health_merge(const json_t *own, const json_t *image);	/* NULL: none; new reference */
struct waiter *waiter_add(struct waiter **list, struct container *c, engine_done *done, void *user);
void waiters_call(struct waiter **list, const struct err *e);
void waiters_drop(struct waiter **list);		/* nobody is called: the engine ends */
void waiter_later(struct engine *en, engine_done *done, void *user, const struct err *e);	/* from the next turn */

/* wait.c, attach.c, events.c */
void wait_notify(struct container *c, bool removed, const char *error);
void attach_created(struct container *c);		/* hooks what waits into the new monitor */
void attach_gone(struct container *c);
/* A client's side that is not tied to a program yet; one of an exec is tied by attach_tied() with what rt_exec() made from attach_rt_ops. */
struct engine_attach *attach_new(struct engine *en, const struct engine_attach_args *args, bool tty, const struct engine_attach_ops *ops, void *user,
				 struct err *e);
extern const struct rt_attach_ops attach_rt_ops;	/* user: the struct engine_attach */
void attach_tied(struct engine_attach *a, struct rt_attach *at_take);
/* end() waits for attach_release(). *owner is set, and cleared when the client goes. */
void attach_hold(struct engine_attach *a, struct engine_attach **owner, const char *container_id, const char *exec_id);
void attach_release(struct engine_attach *a);
void attach_say(struct engine_attach *a, const char *text);	/* to its stdout */
void logs_notify(struct container *c);			/* at rest or gone: followers look once more and end */
struct event_log *event_log_new(void);
void event_log_free(struct event_log *log);
void event_container(struct container *c, const char *action, json_t *extra_take);

#endif
