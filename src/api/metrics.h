/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_API_METRICS_H
#define KEDGE_API_METRICS_H

#include "engine/engine.h"
#include "http/server.h"

/* The handler for an http_server that serves metrics and nothing else; user is the struct engine. */
void api_metrics_handle(struct http_req *r, void *user);

#endif
