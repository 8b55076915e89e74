/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_CLIENT_PRIV_H
#define KEDGE_RUNTIME_CLIENT_PRIV_H

#include "base/buf.h"
#include "runtime/client/client.h"
#include "runtime/proto.h"

/* client.c: a message to the monitor, in order, never blocking; fd is handed over (closed here). */
void rt_send(struct rt *r, const struct pm *m, const void *p, size_t n, int fd_take);
bool rt_connected(const struct rt *r);
struct loop *rt_loop(struct rt *r);

/* spawn.c: processes of kedge-runtime. */
struct rt_child;
/* monitor on sock (its end, borrowed): stderr goes to <run_dir>/monitor.log. done comes once, unless the child is let go before. */
struct rt_child *rt_spawn_monitor(struct loop *l, const char *program, const char *run_dir, int sock,
				  void (*done)(void *user, int status), void *user, struct err *e);
struct rt_child *rt_spawn_cleanup(struct loop *l, const char *program, const char *run_dir, void (*done)(void *user, int status),
				  void *user, struct err *e);
void rt_child_kill(struct rt_child *c);
/* Reaped whenever it ends, nobody is told. NULL is fine. */
void rt_child_let_go(struct rt_child *c);
/* Not watched any longer: it becomes somebody else's child with our end. */
void rt_child_forget(struct rt_child *c);

/* attach.c: the local end of an attachment's socket. */
struct rt_attach *rt_attach_new(struct loop *l, int fd_take, bool out, const struct rt_attach_ops *ops, void *user, struct err *e);

#endif
