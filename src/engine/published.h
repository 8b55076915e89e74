/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_PUBLISHED_H
#define KEDGE_ENGINE_PUBLISHED_H

#include "engine/engine_priv.h"

/* Folds ExposedPorts of config and PortBindings of host, which may be NULL, in place. */
void published_fold(json_t *config, json_t *host);
/* Copies (the rest is shared) with a key for each port again. New references. */
json_t *published_config(const json_t *config);
json_t *published_host(const json_t *host);
/* NetworkSettings.Ports of an inspection, and Ports of a list's entry. New references. */
json_t *published_settings(const struct container *c);
json_t *published_list(const struct container *c);

#endif
