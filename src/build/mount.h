/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_MOUNT_H
#define KEDGE_BUILD_MOUNT_H

#include "base/err.h"

/*
 * The root file system of an image as a directory handle: an overlay that no mount table shows, gone with its last descriptor, however this
 * process ends. layers bottom first, NULL-terminated. upper, work: directories that take what is changed; NULL both: read-only. Blocking;
 * any thread. The descriptor, or -1 with e.
 */
int build_mount(char *const *layers, const char *upper, const char *work, struct err *e);

#endif
