/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_HOOK_H
#define KEDGE_NET_HOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * A user's own BPF program at the container's interface that has its default route: a tc classifier at ingress or egress, or an XDP program at ingress, inside the container's namespace.
 * One a direction and kind; another takes its place. It goes with the container's interface. Loop thread; done once, from the loop.
 */
struct net;

struct net_hook {
	const char *sandbox;
	bool ingress;
	const char *program;		/* its name in the object; NULL: the first one */
	const void *object;		/* ELF, copied; NULL: detach what is there */
	size_t len;
};

/* result: {"Program", "Type": "tc" | "xdp", "Id"}, borrowed; log: the verifier's words on a refusal, or "". */
void net_hook_set(struct net *n, const struct net_hook *h, void (*done)(void *user, const json_t *result, const char *log, const struct err *e), void *user);

#endif
