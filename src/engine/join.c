/* SPDX-License-Identifier: Apache-2.0 */
/* --ipc and --pid of another container: it has to run, and to have said that it shares. */
#include "engine/engine_priv.h"

#include <string.h>

int join_target(const struct container *c, const char *key, pid_t *ret, struct err *e)
{
	const char *mode = json_str(doc_host(c), key, ""), *what = str_eq(key, "IpcMode") ? "IPC" : "PID", *theirs;
	struct container *donor;

	*ret = 0;
	if (!str_starts(mode, "container:"))
		return 0;
	donor = engine_find(c->en, mode + 10, e);
	if (!donor)
		return -1;
	if (donor == c)
		return err_set(e, ERR_INVALID, "a container cannot join its own %s namespace", what);
	if (donor->phase != PHASE_RUNNING)
		return err_set(e, ERR_CONFLICT, "cannot join %s namespace of a non running container: %s", what, donor->id);
	theirs = json_str(doc_host(donor), key, "");
	if (str_eq(key, "IpcMode") && (str_eq(theirs, "private") || str_eq(theirs, "none")))
		return err_set(e, ERR_CONFLICT, "cannot join IPC namespace of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", donor->id);
	*ret = (pid_t)json_i64(doc_state(donor), "Pid", 0);
	return *ret > 0 ? 0 : err_set(e, ERR_CONFLICT, "cannot join %s namespace of container %s: it is just ending", what, donor->id);
}
