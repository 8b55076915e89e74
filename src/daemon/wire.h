/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DAEMON_WIRE_H
#define KEDGE_DAEMON_WIRE_H

#include "base/err.h"
#include "daemon/options.h"
#include "loop/loop.h"

/* Every module of the running daemon, made in the order of the module table and freed in the other. */
struct wire;

/* Blocking: opens state, takes over what runs, and listens at the end. c is borrowed for the wire's life. */
int wire_new(struct loop *l, const struct config *c, struct wire **ret, struct err *e);
/* Containers, their network and their monitors go on. NULL is fine. */
void wire_free(struct wire *w);

#endif
