/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_LINKS_H
#define KEDGE_ENGINE_LINKS_H

#include "engine/engine_priv.h"

/*
 * links.c: HostConfig.Links ("other:alias"), which mean something to containers on the default bridge, where no names are answered: lines in hosts
 * (hosts.c) and variables in the environment.
 */
struct link {
	const struct container *target;	/* NULL: there is no such container */
	char name[256];			/* as the link calls it, without a slash */
	const char *alias;		/* as long as the text */
	const char *ip;			/* the target's on the default bridge, "" when it is not running there; as long as its record */
};

struct link link_of(const struct container *c, const char *text);
/* Is there somebody behind it now? */
int link_check(const struct container *c, const struct link *l, struct err *e);
/* "ALIAS_PORT_80_TCP=tcp://172.17.0.2:80", ...: an array of strings, new reference; links that lead nowhere are left out. */
json_t *links_env(const struct container *c);
/* As inspect shows them, "/other:/this/alias"; new reference. */
json_t *links_shown(const struct container *c);

#endif
