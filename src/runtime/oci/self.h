/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_OCI_SELF_H
#define KEDGE_RUNTIME_OCI_SELF_H

#include "base/err.h"

/*
 * A container can name its runtime's binary as /proc/self/exe and wait for a chance to write to it (CVE-2019-5736). So the runtime runs from
 * a read-only view of itself that is mounted nowhere: returns 0 when that is so already, else starts the program again from one (and does
 * not return). The path it was started from is in the environment afterwards: KEDGE_RUNTIME_EXE.
 */
int self_protect(char **argv, struct err *e);

#endif
