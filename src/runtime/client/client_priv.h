/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_CLIENT_PRIV_H
#define KEDGE_RUNTIME_CLIENT_PRIV_H

#include "base/buf.h"
#include "runtime/client/client.h"
#include "runtime/proto.h"

enum phase { RT_LAUNCHING, RT_CREATED, RT_STARTING, RT_RUNNING, RT_CLEANING, RT_EXITED, RT_FAILED };

struct queued {
	struct queued *next;
	struct pm m;
	int fd;
	size_t n;
	char bytes[];
};

struct pending {		/* a pause or an update under way */
	struct pending *next;
	uint32_t tag;
	int64_t deadline;
	void (*done)(void *user, const struct err *e);
	void *user;
};

struct rt_exec {
	struct rt_exec *next;
	struct rt *r;		/* NULL: over */
	uint32_t tag;
	unsigned conn;		/* over which connection the request went; 0: the engine's before us */
	bool running;
	struct rt_exec_ops ops;
	void *user;
};

struct rt {
	struct loop *loop;
	struct rt_ops ops;
	void *user;
	enum phase phase;
	bool was_started, hello_sent, gone, freed;
	unsigned busy;		/* callbacks on the stack */
	int sock;
	struct loop_io *io;
	struct loop_timer *timer;
	struct rt_child *child;	/* the monitor, if it is ours, or a cleanup */
	char *program, *run_dir;
	pid_t pid;
	int pidfd;
	uint32_t last_tag;
	unsigned conn;		/* counts connections to the monitor */
	unsigned cleanup_tries, queue_len;
	struct queued *queue, **queue_end;
	struct pending *pending;
	struct rt_exec *execs;
	struct rt_exit exit;
	struct err create_err;	/* to report when the cleanup of a failed create is done */
	struct rt **self;	/* of a deferred call: cleared when we go first */
};

/* client.c: a message to the monitor, in order, never blocking; fd is handed over (closed here). */
void rt_send(struct rt *r, const struct pm *m, const void *p, size_t n, int fd_take);
bool rt_connected(const struct rt *r);
struct loop *rt_loop(struct rt *r);

/* spawn.c: processes of kedge-runtime. */
struct rt_child;
/*
 * A monitor, and *sock, the way to it (the caller closes); stderr goes to <run_dir>/monitor.log. done comes once, unless the child is let go before.
 * The next one is started at once and kept for some seconds, so that containers that are started in a row need not wait for theirs.
 */
struct rt_child *rt_spawn_monitor(struct loop *l, const char *program, const char *run_dir, int *sock,
				  void (*done)(void *user, int status), void *user, struct err *e);
struct rt_child *rt_spawn_cleanup(struct loop *l, const char *program, const char *run_dir, void (*done)(void *user, int status),
				  void *user, struct err *e);
void rt_child_kill(struct rt_child *c);
/* Reaped whenever it ends, nobody is told. NULL is fine. */
void rt_child_let_go(struct rt_child *c);
/* Not watched any longer: it becomes somebody else's child with our end. */
void rt_child_forget(struct rt_child *c);

/* exec.c: what the monitor says about execs; the callers have taken hold of r, in whose callbacks it may be freed. */
void rt_exec_message(struct rt *r, const struct pm *m, const struct err *e);
void rt_exec_settle(struct rt *r, const char *list, size_t n);	/* STATE's, of those under way */
void rt_exec_fail(struct rt *r, const struct err *e);		/* the container or its monitor is gone */

/* attach.c: the local end of an attachment's socket. */
struct rt_attach *rt_attach_pair(struct rt *r, bool out, const struct rt_attach_ops *ops, void *user, int *theirs, struct err *e);
struct rt_attach *rt_attach_new(struct loop *l, int fd_take, bool out, const struct rt_attach_ops *ops, void *user, struct err *e);

#endif
