/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_VIEW_H
#define KEDGE_IMAGE_VIEW_H

#include "base/err.h"

/*
 * The root file system that these layer directories (bottom first, NULL-terminated) make together, read-only: an O_PATH descriptor of
 * its top. It is mounted nowhere and goes with the last descriptor into it. Blocking.
 */
int image_view_open(char *const *layers, int *ret, struct err *e);
/* The same to be written to: what changes goes to upper, in overlayfs's form. work: an empty directory beside it. Without layers, upper itself. */
int image_view_change(char *const *layers, const char *upper, const char *work, int *ret, struct err *e);

#endif
