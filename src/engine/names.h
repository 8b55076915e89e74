/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_NAMES_H
#define KEDGE_ENGINE_NAMES_H

#include "engine/engine.h"

/* Looking into the name server. Documents are those of net/net.h. */

/* container and network are references or NULL. done once, never from inside, result borrowed; -1 with e: it does not come. */
int engine_dns_query(struct engine *en, const char *container, const char *network, const char *name, const char *type,
		     void (*done)(void *user, json_t *result, const struct err *e), void *user, struct err *e);
json_t *engine_dns_stats(struct engine *en);
struct engine_dns_log;
/* container NULL: everybody's. */
struct engine_dns_log *engine_dns_log(struct engine *en, const char *container, void (*fn)(void *user, const json_t *line), void *user, struct err *e);
void engine_dns_log_cancel(struct engine_dns_log *l);

#endif
