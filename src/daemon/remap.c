/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/remap.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

/* What "default" means; the name docker made known. */
#define REMAP_DEFAULT "dockremap"

/* "name:start:count"; the first line of the name or its number. */
static int remap_range(const char *file, const char *name, const char *number, unsigned *start, unsigned *count, struct err *e)
{
	struct buf b = BUF_INIT;
	char *save = NULL;
	int ret = -1;

	if (file_read_at(AT_FDCWD, file, 1 << 20, &b) == 0 && b.data) {
		for (char *l = strtok_r(b.data, "\n", &save); l && ret < 0; l = strtok_r(NULL, "\n", &save)) {
			char **w CLEANUP(strv_freep) = str_split(l, ':');
			uint64_t from, n;

			if (strv_len(w) != 3 || (!str_eq(w[0], name) && !str_eq(w[0], number)) || str_to_u64(w[1], 1, UINT32_MAX - 1, &from) < 0 ||
			    str_to_u64(w[2], 1, UINT32_MAX - from, &n) < 0)
				continue;
			*start = (unsigned)from;
			*count = (unsigned)n;
			ret = 0;
		}
	}
	buf_done(&b);
	return ret < 0 ? err_set(e, ERR_INVALID, "userns-remap: '%s' has no range of ids in %s", name, file) : 0;
}

int remap_read(const char *text, struct engine_idmap *ret, struct err *e)
{
	char *user CLEANUP(mem_freep) = mem_strdup(str_eq(text, "default") ? REMAP_DEFAULT : text), *group = strchr(user, ':'), uid[16] = "", gid[16] = "";
	const struct passwd *pw;
	const struct group *gr;
	unsigned uids, gids;
	uint64_t n;

	if (group)
		*group++ = '\0';
	pw = str_to_u64(user, 0, UINT32_MAX - 1, &n) == 0 ? getpwuid((uid_t)n) : getpwnam(user);
	if (!pw)
		return err_set(e, ERR_INVALID, "userns-remap: there is no user '%s'", user);
	snprintf(uid, sizeof(uid), "%u", (unsigned)pw->pw_uid);
	if (remap_range("/etc/subuid", pw->pw_name, uid, &ret->uid, &uids, e) < 0)
		return -1;
	if (!group) {
		group = user;
		gr = getgrgid(pw->pw_gid);
	} else {
		gr = str_to_u64(group, 0, UINT32_MAX - 1, &n) == 0 ? getgrgid((gid_t)n) : getgrnam(group);
	}
	if (!gr)
		return err_set(e, ERR_INVALID, "userns-remap: there is no group '%s'", group);
	snprintf(gid, sizeof(gid), "%u", (unsigned)gr->gr_gid);
	if (remap_range("/etc/subgid", gr->gr_name, gid, &ret->gid, &gids, e) < 0)
		return -1;
	ret->size = uids < gids ? uids : gids;
	return 0;
}
