/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_OCI_H
#define KEDGE_RUNTIME_OCI_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* The OCI runtime (runtime-spec 1.2), blocking, used by kedge-runtime's command line and by the monitor's builder child. */
/* netns: asked for once all is made that needs no network; a handle on the namespace that the spec names by its path, taken over; -1 with e. NULL: the path. */
/* config: the bundle's config.json, if it was read already (borrowed). */
struct oci_create_opts {
	json_t *config;
	int (*netns)(struct err *e);
	const char *id, *bundle;
	const char *root;		/* state directory, e.g. /run/kedge/runtime */
	int stdio[3];			/* for a non-terminal process: passed as 0,1,2 (borrowed) */
	int console_socket;		/* connected AF_UNIX socket that gets the PTY master by SCM_RIGHTS; -1: none */
	int preserve_fds;
	const char *pid_file;		/* or NULL */
	const char *cache;		/* directory for compiled seccomp profiles, made when missing; or NULL */
	bool systemd_cgroup;		/* refused */
};
/* Makes namespaces, cgroup, mounts; the process waits. The container's init becomes a child of the caller's nearest subreaper or,
 * when the caller itself calls waitpid, of the caller. *pid is in the caller's PID namespace. */
int oci_create(const struct oci_create_opts *o, pid_t *pid, struct err *e);
/* Lets it exec. Returns when exec has happened or failed; e then worded as runc's:
 * 'exec: "foo": executable file not found in $PATH', 'exec: "/etc/passwd": permission denied'. */
int oci_start(const char *root, const char *id, struct err *e);
int oci_kill(const char *root, const char *id, int signo, bool all, struct err *e);
int oci_delete(const char *root, const char *id, bool force, struct err *e);
/* As oci_delete(), if that takes no waiting and runs nothing: its init is reaped, its cgroups are empty, it has no poststop hooks. False: perhaps begun. */
bool oci_delete_quick(const char *root, const char *id);
/* Early in main(): where the words of the command line are, which a container's init (annotation "kedge.init": "true") overwrites with its own. */
void reaper_keep_words(int argc, char **argv);
json_t *oci_state(const char *root, const char *id, struct err *e);	/* runtime-spec "state"; new reference */
json_t *oci_features(void);						/* runtime-spec "features"; new reference */

#endif
