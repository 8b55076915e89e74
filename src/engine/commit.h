/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_COMMIT_H
#define KEDGE_ENGINE_COMMIT_H

#include "engine/engine.h"

/* An image from a container: its image's layers, what it has changed, its configuration. Strings are borrowed for the call. */
struct engine_commit_args {
	const char *name;		/* reference the image gets; NULL: none */
	const char *comment, *author;	/* may be NULL */
	bool pause;			/* a running container stands still meanwhile */
	char *const *changes;		/* Dockerfile instructions, NULL-terminated or NULL */
	const json_t *config;		/* ContainerConfig whose fields win over the container's; may be NULL */
};
/* id: "sha256:..", borrowed. */
void engine_commit(struct engine *en, const char *ref, const struct engine_commit_args *a, void (*done)(void *user, const char *id, const struct err *e),
		   void *user);

#endif
