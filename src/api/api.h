/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_API_API_H
#define KEDGE_API_API_H

#include "build/build.h"
#include "engine/engine.h"
#include "http/server.h"
#include "image/image.h"
#include "volume/volume.h"

/*
 * The Engine API, v1.24 to v1.50: parses requests, calls the engine, prints replies. One file a resource.
 */
struct api;

/* Everything is borrowed and must outlive the api. */
struct api *api_new(struct loop *l, struct engine *en, struct images *im, struct volumes *vs, struct builds *bs);
/* After the server is freed: no request is open then. */
void api_free(struct api *a);
/* The handler for http_server_new(); user is the struct api. */
void api_handle(struct http_req *r, void *user);

#endif
