/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_CHANGES_H
#define KEDGE_ENGINE_CHANGES_H

#include "engine/engine.h"

/* What a container has changed against its image: [{"Path": "/etc/x", "Kind": 0 changed | 1 added | 2 deleted}] in order of paths, borrowed. */
void engine_changes(struct engine *en, const char *ref, void (*done)(void *user, const json_t *list, const struct err *e), void *user);

/* Names, relative to the root, that the engine itself puts into every container's upper directory to mount on; NULL-terminated. */
extern const char *const changes_engine_made[];

/* The blocking part, for a pool thread: upper's path, the layers bottom first. New reference or NULL with e. */
json_t *changes_find(const char *upper, char *const *layers, struct err *e);

#endif
