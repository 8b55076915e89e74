/* SPDX-License-Identifier: Apache-2.0 */
/* --device: a node of the host into the OCI configuration's devices and the cgroup's rules. */
#include "engine/engine_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int spec_device(const json_t *dev, json_t *devices, json_t *rules, struct err *e)
{
	const char *from = json_str(dev, "PathOnHost", ""), *to = json_str(dev, "PathInContainer", ""), *access = json_str(dev, "CgroupPermissions", "");
	struct stat st;
	char type[2] = "c";

	if (str_empty(to))
		to = from;
	if (str_empty(access))
		access = "rwm";
	if (*from != '/' || *to != '/')
		return err_set(e, ERR_INVALID, "device paths must be absolute: \"%s\" to \"%s\"", from, to);
	if (access[strspn(access, "rwm")])
		return err_set(e, ERR_INVALID, "device %s: invalid permissions \"%s\"", from, access);
	if (stat(from, &st) < 0)
		return err_set(e, ERR_INVALID, "error gathering device information while adding custom device \"%s\": %s", from, strerror(errno));
	if (S_ISBLK(st.st_mode))
		type[0] = 'b';
	else if (!S_ISCHR(st.st_mode))
		return err_set(e, ERR_INVALID, "error gathering device information while adding custom device \"%s\": not a device node", from);
	json_array_append_new(devices, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", to, "type", type, "major", (int)major(st.st_rdev),
						 "minor", (int)minor(st.st_rdev), "fileMode", (int)(st.st_mode & 0777),
						 "uid", (int)st.st_uid, "gid", (int)st.st_gid));
	json_array_append_new(rules, json_pack("{s:b, s:s, s:i, s:i, s:s}", "allow", 1, "type", type, "major", (int)major(st.st_rdev),
					       "minor", (int)minor(st.st_rdev), "access", access));
	return 0;
}
