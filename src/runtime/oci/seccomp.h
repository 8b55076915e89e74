/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_OCI_SECCOMP_H
#define KEDGE_RUNTIME_OCI_SECCOMP_H

#include <jansson.h>

/* runtime-spec "linux.seccomp": what a container may call that has these capabilities ("CAP_SYS_ADMIN", ..., NULL). New reference. */
json_t *oci_seccomp_default(const char *const *caps);

#endif
