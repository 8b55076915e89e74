/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_CLIENT_H
#define KEDGE_RUNTIME_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "loop/loop.h"

/*
 * The engine's side of the per-container monitor (kedge-runtime monitor). The monitor mounts the root file system in a mount namespace
 * of its own, makes the container by the OCI runtime, holds stdio, writes the log, reaps, records the exit; it outlives the engine.
 * Files: <run_dir>/monitor.sock, <run_dir>/exit (JSON, written atomically), <run_dir>/pid.
 */
struct rt_log {
	const char *driver;		/* "json-file" or "none" */
	const char *path;		/* json-file */
	uint64_t max_size;		/* bytes, 0: no rotation */
	unsigned max_files;
	bool compress;			/* rotated ones */
	const char *attrs;		/* "\"attrs\":{..}," for each record, or NULL */
	/* Sent as well: "syslog", "journald"; NULL: not. See monitor/ship.h. */
	const char *ship, *address, *format, *host, *tag;
	int facility;
	char *const *fields;
};

struct rt_launch {
	const char *id;
	const char *bundle;		/* directory with config.json, written by the engine; config's root.path is the mount point */
	const char *run_dir;		/* exists, empty */
	char *const *lowers;		/* overlay layers bottom first, NULL-terminated; NULL: root.path is used as it is */
	const char *upper, *work;
	const char *runtime;		/* NULL: built in; else path of an OCI runtime (crun, runc) */
	const char *cgroup;		/* cgroupsPath of the spec */
	const char *cache;		/* directory that all containers' monitors share for compiled seccomp profiles; NULL: none */
	bool tty, stdin_open;		/* stdin_open: attach feeds it; else /dev/null */
	bool stdin_once;		/* close stdin when the first attached client closes it */
	bool late_net;			/* rt_net() will tell when its network is made; not with runtime. Until then files to be mounted may be missing too. */
	struct rt_log log;
};

struct rt_exit {
	int status;			/* 0-255; 128 + signal when killed by one */
	bool oom;
	int64_t finished_ns;		/* wall clock */
};

struct rt;			/* one container's monitor, as seen from here */
struct rt_ops {
	/* created: namespaces, mounts, cgroup are made, the program waits for rt_start (e NULL); or it failed and everything is undone. */
	void (*created)(void *user, pid_t pid, const struct err *e);
	/* the program runs (exec succeeded); or e: "... executable file not found in $PATH", "... permission denied", worded as runc's. */
	void (*started)(void *user, const struct err *e);
	/* once, after created succeeded (or after adoption): container and cgroup are gone, log complete. */
	void (*exited)(void *user, const struct rt_exit *x);
	/* once, after exited: its root file system is unmounted too (which may mean much writing to a disk); may be NULL */
	void (*gone)(void *user);
};

/* runtime_path: of the kedge-runtime binary. */
struct rt *rt_launch(struct loop *l, const char *runtime_path, const struct rt_launch *a, const struct rt_ops *ops, void *user, struct err *e);
/* After rt_launch() with late_net: the network namespace is made (fd, taken over), or could not be (-1): then created() tells of a failure. */
void rt_net(struct rt *r, int fd_take);
void rt_start(struct rt *r);		/* after created; started() follows */
/* After an engine restart. Finds the monitor by run_dir; state is filled. When the container has exited meanwhile, exited() comes from the loop;
 * when there is neither monitor nor exit record: NULL, ERR_NOT_FOUND. left: e says the same, and what there is of a start that did not come to its end is
 * being removed; exited() comes when that is over and its place is free for the next. */
struct rt_state { pid_t pid; bool running; bool paused; bool left; int64_t started_ns; };
struct rt *rt_adopt(struct loop *l, const char *run_dir, const struct rt_ops *ops, void *user, struct rt_state *ret, struct err *e);
/* An O_PATH handle on the root directory of the container's init, seen with its mount namespace; the caller closes. -1 with e. */
int rt_root(struct rt *r, struct err *e);
int rt_kill(struct rt *r, int signo, struct err *e);	/* to the container's init, by pidfd-safe means; NOT_FOUND when it is gone */
void rt_resize(struct rt *r, unsigned rows, unsigned cols);
/* Freezes or thaws; done once, from the loop (ERR_UNAVAILABLE when the monitor is lost meanwhile). */
void rt_pause(struct rt *r, bool pause, void (*done)(void *user, const struct err *e), void *user);
/* New limits: JSON of the spec's linux.resources, of which memory, cpu, pids and blockIO are looked at. done as with rt_pause(). */
void rt_update(struct rt *r, const char *resources, void (*done)(void *user, const struct err *e), void *user);
/*
 * Any time, also from within a callback; no callback follows. A started container and its monitor go on (the engine's end); one that was not
 * started is destroyed. After exited the monitor ends by itself as soon as every attachment has its last byte.
 */
void rt_free(struct rt *r);
/* At the engine's end: a monitor that is kept ready for the next launch goes. */
void rt_spare_drop(void);
void rt_destroy(struct rt *r);		/* created but not started: ends both; frees r */

/* Attach: output from now on, and stdin. Several may exist; output is copied to each. A stuck reader makes the program wait, not lose. */
struct rt_attach;
struct rt_attach_ops {
	void (*output)(void *user, int stream, const void *p, size_t n);	/* 1 stdout, 2 stderr (tty: 1) */
	void (*end)(void *user);		/* all output delivered, the container is gone or the monitor is; once */
	void (*writable)(void *user);		/* may be NULL: rt_attach_write() took less than offered, and would take more now */
};
struct rt_attach *rt_attach(struct rt *r, bool in, bool out, const struct rt_attach_ops *ops, void *user, struct err *e);
size_t rt_attach_write(struct rt_attach *a, const void *p, size_t n);	/* to stdin; bytes queued; fewer than n: wait for writable() */
void rt_attach_close_stdin(struct rt_attach *a);
void rt_attach_pause(struct rt_attach *a, bool paused);
void rt_attach_free(struct rt_attach *a);

/* A further program in the running container. */
struct rt_exec;
struct rt_exec_args {
	uint32_t tag;			/* rt_exec_tag(), or 0: chosen here; what rt_exec_adopt() asks for after an engine's restart */
	const char *process;		/* JSON of runtime-spec's "process" object, terminal included */
	bool tty, stdin_open;
	bool in, out;			/* attach: *attach is set; both false: nobody listens */
};
struct rt_exec_ops {
	void (*started)(void *user, pid_t pid, const struct err *e);	/* e: words as for rt_ops.started; nothing follows then */
	void (*exited)(void *user, int status);		/* once after a good start; 137 when the monitor was lost */
};
/* The attachment belongs to the caller, as from rt_attach(); its output may come before started(). */
struct rt_exec *rt_exec(struct rt *r, const struct rt_exec_args *a, const struct rt_exec_ops *ops, void *user,
			const struct rt_attach_ops *attach_ops, void *attach_user, struct rt_attach **attach, struct err *e);
uint32_t rt_exec_tag(void);
/*
 * After rt_adopt(), from within the same turn: takes over an exec of the engine before us. started() tells its pid while it runs (0 when it has
 * ended); exited() its status, 137 when that is not known (it never came to run, or the monitor was lost).
 */
struct rt_exec *rt_exec_adopt(struct rt *r, uint32_t tag, const struct rt_exec_ops *ops, void *user);
void rt_exec_kill(struct rt_exec *x, int signo);
void rt_exec_resize(struct rt_exec *x, unsigned rows, unsigned cols);
void rt_exec_free(struct rt_exec *x);	/* no callback follows; the program goes on */

#endif
