/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_APPARMOR_H
#define KEDGE_ENGINE_APPARMOR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define APPARMOR_DEFAULT "kedge-default"

/* Whether the kernel enforces AppArmor here at all. */
bool apparmor_on(void);
/* On, and its parser is there to load a profile: containers get the default one. */
bool apparmor_usable(void);
/*
 * The profile of containers that name none and are not privileged, loaded into the kernel when it is not there: by apparmor_parser(8), which may
 * take a tenth of a second, so workers call this and the loop does not. *ret: NULL where AppArmor is not usable. 0 or -1.
 */
int apparmor_default(const char **ret, struct err *e);
/* The name of the profile a container with this HostConfig is started under, "unconfined", or "" where AppArmor is not usable. Borrowed. */
const char *apparmor_of(const json_t *host);

#endif
