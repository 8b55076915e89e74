/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_PUBLISHED_H
#define KEDGE_ENGINE_PUBLISHED_H

#include "engine/engine_priv.h"

/* Folds ExposedPorts of config and PortBindings of host, which may be NULL, in place. */
void published_fold(json_t *config, json_t *host);
/* Copies (the rest is shared) with a key for each port again. New references. */
json_t *published_config(const json_t *config);
json_t *published_host(const json_t *host);
json_t *published_settings(const struct container *c);	/* NetworkSettings.Ports of an inspection; new reference */
/* Each port of a running container as a list shows them: published ones (host_port 0: routed), then those only exposed (host_ip NULL). */
typedef void published_fn(void *user, const char *host_ip, unsigned port, unsigned host_port, const char *proto);
void published_each(const struct container *c, published_fn *fn, void *user);

#endif
