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
/* What can be told without the summary: most containers drop out here. */
bool select_early(const struct select *s, const struct container *c);
/* The rest, on the API's ContainerSummary. */
bool select_summary(const struct select *s, const json_t *doc);

#endif
