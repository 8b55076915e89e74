/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DAEMON_REMAP_H
#define KEDGE_DAEMON_REMAP_H

#include "base/err.h"
#include "engine/engine.h"

/* "default", "user", "user:group", "uid", "uid:gid" by /etc/subuid and /etc/subgid (subuid(5)): the ids containers get. */
int remap_read(const char *text, struct engine_idmap *ret, struct err *e);

#endif
