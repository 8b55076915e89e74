/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, version 1, version 2 and both at once ("hybrid": v1 controllers, and a v2 tree without any).
 *
 * The container gets one directory under cgroupsPath in every hierarchy that is mounted. Speed has a shape here: moving a process by
 * its pid makes the kernel wait for a grace period in each v1 hierarchy, a single-threaded process that moves itself ("0" into tasks)
 * does not, and a process born in a v2 group (CLONE_INTO_CGROUP) moves nowhere at all. So limits are set before the clone, the child is
 * born in its v2 group and puts itself into the others.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dirent.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

/* Super block options of a v1 mount that are no controllers. */
static bool is_flag(const char *w)
{
	static const char *const flags[] = { "rw", "ro", "noprefix", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods", "seclabel" };

	for (size_t i = 0; i < N(flags); i++) {
		if (str_eq(w, flags[i]))
			return true;
	}
	return str_starts(w, "release_agent=");
}

/* mountinfo writes spaces and the like as \ooo. */
static char *unescape(const char *s)
{
	char *out = mem_strdup(s), *o = out;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*o++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*o++ = *s;
		}
	}
	*o = 0;
	return out;
}

static void add_mount(struct cgroups *c, char *line)
{
	char *word[12], *save = NULL, *tail = strstr(line, " - "), *type, *super = NULL, *w;
	char names[256] = "";
	bool v2;
	size_t n = 0;

	if (!tail)
		return;
	*tail = 0;
	tail += 3;
	type = strtok_r(tail, " ", &save);
	if (!type || !(str_eq(type, "cgroup") || str_eq(type, "cgroup2")))
		return;
	v2 = str_eq(type, "cgroup2");
	strtok_r(NULL, " ", &save);
	super = strtok_r(NULL, " ", &save);
	for (w = strtok_r(line, " ", &save); w && n < N(word); w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	if (n < 5)
		return;
	if (!v2) {
		for (w = strtok_r(super, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
			if (is_flag(w) || strlen(names) + strlen(w) + 2 > sizeof(names))
				continue;
			if (*names)
				strcat(names, ",");
			strcat(names, w);
		}
	}
	for (size_t i = 0; i < c->n; i++) {
		if (c->h[i].v2 == v2 && str_eq(c->h[i].names, names))
			return;	/* mounted twice: the first one is as good */
	}
	if (c->n < CG_MAX)
		c->h[c->n++] = (struct cgroup_hier){ .v2 = v2, .names = mem_strdup(names), .root = unescape(word[3]), .mount = unescape(word[4]),
						     .fd = -1 };
}

static void own_group(struct cgroups *c, char *line)
{
	char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

	if (!path)
		return;
	*path++ = 0;
	names++;
	for (size_t i = 0; i < c->n; i++) {
		struct cgroup_hier *h = &c->h[i];

		if (!h->own && str_eq(h->names, names))
			h->own = mem_strdup(str_starts(path, h->root) && !str_eq(h->root, "/") ? path + strlen(h->root) : path);
	}
}

static int each_line(const char *file, void (*fn)(struct cgroups *, char *), struct cgroups *c, struct err *e)
{
	struct buf b = BUF_INIT;
	char *save = NULL;
	int r = file_read_at(AT_FDCWD, file, 4 << 20, &b);

	if (r < 0) {
		buf_done(&b);
		return err_errno(e, -r, "read '%s'", file);
	}
	for (char *l = b.len ? strtok_r(b.data, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save))
		fn(c, l);
	buf_done(&b);
	return 0;
}

static void which_has_limits(struct cgroups *c, size_t v2)
{
	c->unified = c->n && v2 == c->n;
	for (size_t i = 0; i < c->n; i++)
		c->h[i].limits = !c->h[i].v2 || c->unified;
}

int cgroup_find(struct cgroups *c, struct err *e)
{
	size_t v2 = 0;

	*c = (struct cgroups){ 0 };
	if (each_line("/proc/self/mountinfo", add_mount, c, e) < 0 || each_line("/proc/self/cgroup", own_group, c, e) < 0)
		return -1;
	for (size_t i = 0; i < c->n; i++) {
		v2 += c->h[i].v2;
		if (!c->h[i].own)
			c->h[i].own = mem_strdup("/");
	}
	which_has_limits(c, v2);
	if (!c->n)
		return err_set(e, ERR_UNAVAILABLE, "no cgroup hierarchy is mounted");
	return 0;
}

void cgroup_done(struct cgroups *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct cgroup_hier *h = &c->h[i];

		free(h->names);
		free(h->mount);
		free(h->root);
		free(h->own);
		free(h->dir);
		fd_drop(&h->fd);
	}
	*c = (struct cgroups){ 0 };
}

int cgroup_v2_fd(const struct cgroups *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->h[i].v2)
			return c->h[i].fd;
	}
	return -1;
}

/*
 * A new v1 cpuset group is empty, and nothing can live in it: it takes after its parent. A group that balances load makes the kernel build its
 * scheduling domains anew when it gets its processors and when it goes; below one that balances already it need not.
 */
static void cpuset_inherit(int parent, int fd, bool last)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char balance[8];
	int above;

	if (last && (above = openat(parent, "cpuset.sched_load_balance", O_RDONLY | O_CLOEXEC)) >= 0) {
		if (read(above, balance, sizeof(balance)) > 0 && balance[0] == '1')
			(void)file_put_at(fd, "cpuset.sched_load_balance", "0");
		(void)close(above);
	}

	for (size_t i = 0; i < N(files); i++) {
		struct buf b = BUF_INIT;

		if (file_read_at(fd, files[i], 65536, &b) == 0 && (!b.len || b.data[0] == '\n')) {
			buf_reset(&b);
			if (file_read_at(parent, files[i], 65536, &b) == 0 && b.len)
				(void)file_put_at(fd, files[i], b.data);	/* the process that enters will tell */
		}
		buf_done(&b);
	}
}

static bool has_word(const char *list, const char *w)
{
	size_t n = strlen(w);

	for (const char *at = list; at && (at = strstr(at, w)); at += n) {
		if ((at == list || at[-1] == ' ') && (!at[n] || strchr(" \n", at[n])))
			return true;
	}
	return false;
}

/*
 * Every controller there is, for the children of fd. Which of them are missed shows when a limit is set. Asking for one that is there already
 * would make the kernel stop and look at the whole tree all the same.
 */
static void subtree_enable(int fd)
{
	struct buf b = BUF_INIT, have = BUF_INIT;
	char *save = NULL, word[64];

	if (file_read_at(fd, "cgroup.controllers", 4096, &b) == 0 && b.len) {
		(void)file_read_at(fd, "cgroup.subtree_control", 4096, &have);
		for (char *w = strtok_r(b.data, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
			if (has_word(have.data, w))
				continue;
			snprintf(word, sizeof(word), "+%s", w);
			(void)file_put_at(fd, "cgroup.subtree_control", word);
		}
	}
	buf_done(&b);
	buf_done(&have);
}

static int path_ok(const char *path, struct err *e)
{
	CLEANUP(mem_freep) char *copy = mem_strdup(path);
	char *save = NULL;

	if (strlen(path) > 2048)
		return err_set(e, ERR_INVALID, "cgroup path of %zu bytes is too long", strlen(path));
	for (char *w = strtok_r(copy, "/", &save); w; w = strtok_r(NULL, "/", &save)) {
		if (str_eq(w, "..") || str_eq(w, ".") || strlen(w) > NAME_MAX || strchr(w, '\n'))
			return err_set(e, ERR_INVALID, "cgroup path '%s' has the component '%s'", path, w);
	}
	if (path[strspn(path, "/")] == 0)
		return err_set(e, ERR_INVALID, "cgroup path '%s' names no group", path);
	return 0;
}

static int make_dir(struct cgroup_hier *h, struct err *e)
{
	CLEANUP(fd_closep) int fd = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(mem_freep) char *copy = mem_strdup(h->dir);
	bool cpuset = str_eq(h->names, "cpuset") || strstr(h->names, "cpuset,") || strstr(h->names, ",cpuset");
	char *save = NULL;

	if (fd < 0)
		return err_errno(e, errno, "open cgroup hierarchy '%s'", h->mount);
	for (char *w = strtok_r(copy, "/", &save); w; w = strtok_r(NULL, "/", &save)) {
		int next, made;

		if (h->v2)
			subtree_enable(fd);
		made = mkdirat(fd, w, 0755);
		if (made < 0 && errno != EEXIST)
			return err_errno(e, errno, "make cgroup '%s%s'", h->mount, h->dir);
		next = openat(fd, w, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_errno(e, errno, "open cgroup '%s%s'", h->mount, h->dir);
		if (cpuset)
			cpuset_inherit(fd, next, made == 0 && !save[strspn(save, "/")]);
		(void)close(fd);
		fd = next;
	}
	h->fd = TAKE_FD(fd);
	return 0;
}

int cgroup_plan(struct cgroups *c, const char *path, struct err *e)
{
	if (path_ok(path, e) < 0)
		return -1;
	for (size_t i = 0; i < c->n; i++) {
		struct cgroup_hier *h = &c->h[i];

		h->dir = path[0] == '/' ? mem_strdup(path) : mem_printf("%s%s%s", h->own, str_ends(h->own, "/") ? "" : "/", path);
	}
	return 0;
}

int cgroup_make(struct cgroups *c, const json_t *resources, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n; i++) {
		if (make_dir(&c->h[i], e) < 0)
			goto fail;
	}
	for (i = 0; i < c->n; i++) {
		if (cgroup_limits(&c->h[i], resources, e) < 0)
			goto fail;
	}
	if (cgroup_missing(c, resources, e) == 0)
		return 0;
fail:
	(void)cgroup_remove(c, NULL);
	return -1;
}

int cgroup_enter(const struct cgroups *c, pid_t pid, bool skip_v2, struct err *e)
{
	char word[24];
	int r;

	snprintf(word, sizeof(word), "%d", (int)pid);
	for (size_t i = 0; i < c->n; i++) {
		const struct cgroup_hier *h = &c->h[i];

		if (h->v2 && skip_v2)
			continue;
		r = file_put_at(h->fd, h->v2 || pid ? "cgroup.procs" : "tasks", word);
		if (r < 0)
			return err_errno(e, -r, "enter cgroup '%s%s'", h->mount, h->dir);
	}
	return 0;
}

int cgroup_v2_of(const struct cgroups *c, pid_t pid)
{
	const struct cgroup_hier *h = NULL;
	struct buf b = BUF_INIT;
	char path[64], *line = NULL, *below;
	int fd = -1;

	for (size_t i = 0; i < c->n && !h; i++)
		h = c->h[i].v2 && c->h[i].fd >= 0 ? &c->h[i] : NULL;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (h && file_read_at(AT_FDCWD, path, 65536, &b) == 0 && b.len)
		line = str_starts(b.data, "0::") ? b.data : strstr(b.data, "\n0::");
	if (line) {
		line += strspn(line, "\n");
		line[strcspn(line, "\n")] = 0;
		below = strstr(line, h->dir);
		below = below && below[strlen(h->dir)] == '/' ? below + strlen(h->dir) + 1 : NULL;
		if (below && *below && !strstr(below, ".."))
			fd = openat(h->fd, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	buf_done(&b);
	return fd;
}

json_t *cgroup_to_json(const struct cgroups *c)
{
	json_t *arr = json_array();

	for (size_t i = 0; i < c->n; i++)
		json_array_append_new(arr, json_pack("{s:b,s:s,s:s,s:s}", "v2", c->h[i].v2, "names", c->h[i].names, "mount", c->h[i].mount,
						     "dir", c->h[i].dir));
	return arr;
}

/* Directories that are gone are left out: fd stays -1. */
int cgroup_from_json(struct cgroups *c, const json_t *arr, struct err *e)
{
	size_t i, v2 = 0;
	json_t *o;

	*c = (struct cgroups){ 0 };
	json_array_foreach(arr, i, o) {
		struct cgroup_hier *h = &c->h[c->n];
		CLEANUP(mem_freep) char *path = NULL;

		if (c->n == CG_MAX)
			return err_set(e, ERR_INTERNAL, "state: more than %d cgroup hierarchies", CG_MAX);
		c->n++;
		*h = (struct cgroup_hier){ .v2 = json_flag(o, "v2", false), .names = mem_strdup(json_str(o, "names", "")),
			.mount = mem_strdup(json_str(o, "mount", "")), .dir = mem_strdup(json_str(o, "dir", "")), .fd = -1 };
		if (path_ok(h->dir, e) < 0)
			return err_wrap(e, "state");
		path = mem_printf("%s%s", h->mount, h->dir);
		h->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		v2 += h->v2;
	}
	which_has_limits(c, v2);
	return 0;
}
