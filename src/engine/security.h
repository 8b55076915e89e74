/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_SECURITY_H
#define KEDGE_ENGINE_SECURITY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* HostConfig.SecurityOpt, understood. */
struct security {
	bool no_new_privs, writable_cgroups;
	json_t *seccomp;		/* runtime-spec linux.seccomp; NULL: unconfined */
	const char *apparmor;		/* borrowed; NULL: none */
};
/* caps: names the container gets. Words that this kernel has no part for are refused by name. */
int security_read(const json_t *host, const json_t *caps, struct security *ret, struct err *e);
void security_done(struct security *s);

/*
 * A seccomp profile in docker's JSON format (archMap; includes and excludes by capabilities, architectures and kernel version) for a
 * container with these capabilities: runtime-spec linux.seccomp, new reference; NULL with e.
 */
json_t *seccomp_profile(const char *text, const json_t *caps, struct err *e);

#endif
