/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_OCI_EXEC_H
#define KEDGE_RUNTIME_OCI_EXEC_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* A further program in a running container. */
struct oci_exec_opts {
	const char *root, *id;
	const json_t *process;		/* runtime-spec "process" */
	int stdio[3];
	int console_socket;		/* as in oci_create_opts */
	int preserve_fds;
	const char *pid_file;
};
/* Returns when the program runs (then *pid is a child of the caller), or has failed, in runc's words. */
int oci_exec(const struct oci_exec_opts *o, pid_t *pid, struct err *e);

int oci_pause(const char *root, const char *id, bool paused, struct err *e);
/* New limits for a container that exists: the memory, cpu, pids and blockIO parts of the spec's linux.resources; what is not named stays. */
int oci_update(const char *root, const char *id, const json_t *resources, struct err *e);
json_t *oci_ps(const char *root, const char *id, struct err *e);	/* array of PIDs; new reference */
/* The "process" a container was created with; new reference. */
json_t *oci_process_of(const char *root, const char *id, struct err *e);
json_t *oci_list(const char *root, struct err *e);			/* array of states; new reference */

#endif
