/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_PRUNE_H
#define KEDGE_ENGINE_PRUNE_H

#include "engine/engine.h"

/* Removes containers that do not run; filters: label, label!, until. result: ContainersPruneResponse, borrowed. */
void engine_prune(struct engine *en, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user);

#endif
