/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_DEFAULTS_H
#define KEDGE_ENGINE_DEFAULTS_H

#include <jansson.h>

#include "base/err.h"

/*
 * What the engine gives to containers that say nothing themselves, under the names of daemon.json: "runtimes", "default-runtime", "init",
 * "init-path", "seccomp-profile", "dns", "dns-opts", "dns-search", "default-ulimits", "default-shm-size", "default-ipc-mode",
 * "default-cgroupns-mode", "no-new-privileges". A container keeps what it was made with: it is written into its HostConfig.
 */

/* At the start of the engine: everything named is there and can be meant. The profile is read into d ("seccomp"). Blocking. */
int defaults_check(json_t *d, struct err *e);
/* A create request with what it leaves open filled in; new reference. What is of the wrong type is left to who checks it. */
json_t *defaults_fill(const json_t *body, const json_t *d);

/* runtimes.c. d is borrowed until the next call; NULL: none. */
void runtimes_set(const json_t *d);
/* The path of the OCI runtime called name; NULL for the own one. The caller frees. */
int runtime_path(const char *name, char **ret, struct err *e);
/* An init that needs nothing of the container, for runtimes that have none; NULL with e. The caller frees. */
char *runtime_init(struct err *e);
/* SystemInfo's Runtimes; new reference. */
json_t *runtimes_show(const char *own);

#endif
