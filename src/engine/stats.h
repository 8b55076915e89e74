/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_STATS_H
#define KEDGE_ENGINE_STATS_H

#include "engine/engine.h"

/*
 * A container's resource use, once or every second until cancelled or the container is removed. frame is the API's ContainerStatsResponse,
 * borrowed. A container that does not run gives frames with its name and id only, as dockerd does.
 *   stream: a frame a second, precpu being the frame's before
 *   !stream, !one_shot: one frame, after a second, so that CPU percentages can be told from it
 *   !stream, one_shot: one frame at once, precpu empty
 */
struct engine_stats;
struct engine_stats_args {
	bool stream, one_shot;
};
struct engine_stats *engine_stats(struct engine *en, const char *ref, const struct engine_stats_args *a, void (*frame)(void *user, const json_t *doc),
				  void (*end)(void *user), void *user, struct err *e);
void engine_stats_cancel(struct engine_stats *s);	/* no callback any more */

#endif
