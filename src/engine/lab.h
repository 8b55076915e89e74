/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_LAB_H
#define KEDGE_ENGINE_LAB_H

#include "engine/engine.h"

/*
 * The data path (net/lab.h) with the names of containers in it: every document with a "Sandbox" has a "Name" too. ref NULL or "": all of them. New
 * references.
 */
json_t *engine_net_flows(struct engine *en, const char *ref, struct err *e);
json_t *engine_net_maps(struct engine *en, struct err *e);
/*
 * net_trace(): from and to are containers or addresses; from "": somebody far away. to is "web:80", "192.0.2.1:8080", "[2001:db8::1]:80".
 */
json_t *engine_net_trace(struct engine *en, const char *from, const char *to, const char *proto, bool v6, struct err *e);
/* net_info() */
json_t *engine_net_info(struct engine *en);

struct engine_drops;
struct engine_drops *engine_net_drops(struct engine *en, const char *ref, void (*drop)(void *user, const json_t *doc), void *user, struct err *e);
void engine_net_drops_cancel(struct engine_drops *d);	/* no callback any more */

/* net_hook_set(); object NULL: detach. program may be NULL. done may find result NULL. */
void engine_net_hook(struct engine *en, const char *ref, bool ingress, const char *program, const void *object, size_t len,
		     void (*done)(void *user, const json_t *result, const char *log, const struct err *e), void *user);
/* net/capture.h, by a container's name; to be cancelled by net_capture_cancel(). */
struct net_capture;
struct net_capture_ops;
struct net_capture *engine_net_capture(struct engine *en, const char *ref, uint32_t snaplen, uint64_t count, const struct net_capture_ops *ops, void *user,
				       struct err *e);

#endif
