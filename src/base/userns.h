/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_USERNS_H
#define KEDGE_BASE_USERNS_H

/*
 * A descriptor of a user namespace that is nothing but its maps, in the form of user_namespaces(7) ("0 100000 65536\n"), for
 * mount_setattr(2). A process is made for it and gone when this returns. -errno.
 */
int userns_make(const char *uid_map, const char *gid_map);

#endif
