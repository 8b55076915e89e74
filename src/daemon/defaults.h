/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DAEMON_DEFAULTS_H
#define KEDGE_DAEMON_DEFAULTS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * Options whose value is passed on to the engine as it stands in daemon.json (engine/defaults.h says what becomes of it), and dockerd's options
 * that can have one value only here. key is the name in the file. Both put the value into defaults.
 */
int defaults_put(json_t *defaults, const char *key, const json_t *value, struct err *e);
/* As a flag gives it: "name=soft:hard", "name=path", "64m". text NULL: the flag alone. */
int defaults_put_text(json_t *defaults, const char *key, const char *text, struct err *e);
/* Does the flag stand without a value? */
bool defaults_is_flag(const char *key);

#endif
