/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_SIZE_H
#define KEDGE_ENGINE_SIZE_H

#include "engine/engine_priv.h"

/* "SizeRw" and "SizeRootFs" of the last engine_measure() as members of the API's document; a container that was never measured has 0. */
void size_write(struct buf *b, const struct container *c);

#endif
