/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_SELECT_H
#define KEDGE_ENGINE_SELECT_H

#include "engine/engine_priv.h"

/* Which containers a list shows: docker's filters of `ps`, checked once, asked for each container. */
struct select {
	const json_t *filters;	/* borrowed */
	bool all;		/* those that do not run, too */
	int64_t before, since;	/* creation times, 0: none */
};
int select_init(struct select *s, struct engine *en, const json_t *filters, bool all, struct err *e);
/* All filters but "publish" and "expose", which are about what a list shows of ports. */
bool select_container(const struct select *s, const struct container *c);
bool select_has(const struct select *s, const char *key);	/* the filter is given */
/* Is the port within one of the ranges of key's values? */
bool select_port(const struct select *s, const char *key, unsigned port, const char *proto);

#endif
