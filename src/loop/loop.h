/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_LOOP_LOOP_H
#define KEDGE_LOOP_LOOP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The event loop (libevent inside, seen by src/loop and src/http only). One thread owns a loop; every
 * function is for that thread, except loop_post().
 */
struct loop;
struct event_base;

struct loop *loop_new(struct err *e);
/* For a thread that carries data: a turn costs a system call less, timers are some milliseconds coarser. */
struct loop *loop_new_coarse(struct err *e);
void loop_free(struct loop *l);
int loop_run(struct loop *l);			/* until loop_stop(); 0 */
/* One turn: waits at most timeout_ms (-1: until something happens). For tests and clients. */
int loop_turn(struct loop *l, int timeout_ms);
void loop_stop(struct loop *l);
struct event_base *loop_base(struct loop *l);	/* for src/http and src/dns only */

/* Runs fn(user) from the loop's next turn, in order of calls. */
void loop_defer(struct loop *l, void (*fn)(void *user), void *user);
/* The same from any thread. */
void loop_post(struct loop *l, void (*fn)(void *user), void *user);

/* Takes back every call of fn(user) that has not been made yet, deferred or posted. */
void loop_forget(struct loop *l, void (*fn)(void *user), void *user);

/* LOOP_EOF: told beside LOOP_READ when nothing comes any more behind what is there to read; asked for with LOOP_READ only. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_EOF = 4 };

/* Watches fd (borrowed) level-triggered. Free before closing fd; may be freed inside its own callback. */
struct loop_io;
struct loop_io *loop_io_new(struct loop *l, int fd, unsigned events, void (*cb)(void *user, unsigned events), void *user);
void loop_io_set(struct loop_io *io, unsigned events);	/* 0 pauses */
void loop_io_free(struct loop_io *io);			/* NULL is fine */

/* One-shot timer; re-arming replaces the deadline. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*cb)(void *user), void *user);
void loop_timer_set(struct loop_timer *t, int64_t in_ns);
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* signalfd-like: cb runs on the loop. */
struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int signo, void (*cb)(void *user), void *user);
void loop_signal_free(struct loop_signal *s);

/* Watches a child by pidfd: cb once with waitid's status; then the watch is gone by itself. pid must be ours. */
struct loop_child;
struct loop_child *loop_child_new(struct loop *l, pid_t pid, void (*cb)(void *user, int status), void *user, struct err *e);
void loop_child_free(struct loop_child *c);	/* stops watching; does not kill */

#endif
