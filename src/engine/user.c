/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "user[:group]" by the image's own /etc/passwd and /etc/group, read before the root file system is mounted: the file is looked
 * for in each layer from the top, by a handle that cannot leave the layer.
 */
#include "engine/engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

static bool read_in(const char *dir, const char *path, struct buf *b)
{
	int root CLEANUP(fd_closep) = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd CLEANUP(fd_closep) = root < 0 ? -1 : file_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	char proc[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return file_read_at(AT_FDCWD, proc, 4 << 20, b) == 0;
}

static void read_top(char *const *layers, const char *upper, const char *path, struct buf *b)
{
	size_t n = strv_len(layers);

	if (upper && read_in(upper, path, b))
		return;
	while (n-- > 0) {
		if (read_in(layers[n], path, b))
			return;
	}
}

/* Fields of a colon-separated line, in place. */
static size_t fields(char *line, char **out, size_t max)
{
	size_t n = 0;

	while (line && n < max) {
		out[n++] = line;
		line = strchr(line, ':');
		if (line)
			*line++ = '\0';
	}
	return n;
}

void user_ids_done(struct user_ids *u)
{
	free(u->groups);
	free(u->home);
	*u = (struct user_ids){ 0 };
}

static void add_group(struct user_ids *r, unsigned gid)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		if (r->groups[i] == gid)
			return;
	}
	r->groups = mem_realloc(r->groups, (r->n_groups + 1) * sizeof(*r->groups));
	r->groups[r->n_groups++] = gid;
}

static bool number(const char *s, unsigned *ret)
{
	uint64_t v;

	if (str_to_u64(s, 0, INT32_MAX, &v) < 0)
		return false;
	*ret = (unsigned)v;
	return true;
}

int user_resolve(char *const *layers, const char *upper, const char *user, const json_t *group_add, struct user_ids *r, struct err *e)
{
	char *name CLEANUP(mem_freep) = mem_strdup(str_empty(user) ? "0" : user), *group = strchr(name, ':'), *login CLEANUP(mem_freep) = NULL;
	struct buf passwd = BUF_INIT, groups = BUF_INIT;
	bool numeric, found = false, group_found = false;
	char *save = NULL, *f[8];
	uint64_t known = 0;		/* of group_add, by position */
	const char *who;
	json_t *v;
	size_t i;
	int ret = 0;

	*r = (struct user_ids){ 0 };
	if (group)
		*group++ = '\0';
	who = *name ? name : "0";
	numeric = number(who, &r->uid);
	read_top(layers, upper, "etc/passwd", &passwd);
	for (char *line = passwd.data ? strtok_r(passwd.data, "\n", &save) : NULL; line && !found; line = strtok_r(NULL, "\n", &save)) {
		unsigned uid, gid;

		if (fields(line, f, 7) < 6 || !number(f[2], &uid) || !number(f[3], &gid) || (strcmp(f[0], who) && !(numeric && uid == r->uid)))
			continue;
		found = true;
		r->uid = uid;
		r->gid = gid;
		r->home = mem_strdup(f[5]);
		login = mem_strdup(f[0]);
	}
	if (!found && !numeric) {
		ret = err_set(e, ERR_INVALID, "unable to find user %s: no matching entries in passwd file", who);
		goto out;
	}
	if (group && *group && number(group, &r->gid))
		group_found = true;
	read_top(layers, upper, "etc/group", &groups);
	save = NULL;
	for (char *line = groups.data ? strtok_r(groups.data, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *member, *inner = NULL;
		unsigned gid;

		f[3] = NULL;
		if (fields(line, f, 4) < 3 || !number(f[2], &gid))
			continue;
		if (group && *group && !group_found && !strcmp(f[0], group)) {
			r->gid = gid;
			group_found = true;
		}
		/* Supplementary groups are the user's only when no group was asked for. */
		for (member = f[3] && login && !(group && *group) ? strtok_r(f[3], ",", &inner) : NULL; member; member = strtok_r(NULL, ",", &inner)) {
			if (!strcmp(member, login))
				add_group(r, gid);
		}
		json_array_foreach(group_add, i, v) {
			if (str_eq(json_string_value(v), f[0])) {
				add_group(r, gid);
				known |= i < 64 ? 1ull << i : 0;
			}
		}
	}
	if (group && *group && !group_found) {
		ret = err_set(e, ERR_INVALID, "unable to find group %s: no matching entries in group file", group);
		goto out;
	}
	json_array_foreach(group_add, i, v) {
		unsigned gid;

		if (number(json_string_value(v), &gid)) {
			add_group(r, gid);
		} else if (i >= 64 || !(known >> i & 1)) {
			ret = err_set(e, ERR_INVALID, "Unable to find group %s: no matching entries in group file", json_string_value(v));
			goto out;
		}
	}
out:
	buf_done(&passwd);
	buf_done(&groups);
	if (ret < 0)
		user_ids_done(r);
	return ret;
}
