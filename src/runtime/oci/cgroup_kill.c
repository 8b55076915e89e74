/* SPDX-License-Identifier: Apache-2.0 */
/* Ending, freezing and removing what is in a container's cgroup. */
#include "runtime/oci/oci_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

enum { DEPTH_MAX = 32 };
/* How long killed processes may take to go: they can hang in a file system that does not answer. */
#define GONE_LIMIT (10 * 1000000000ll)

/* The hierarchy that is asked about processes: every one has them all. v2 if there is one, it can kill by itself. */
static const struct cgroup_hier *asked(const struct cgroups *c)
{
	const struct cgroup_hier *h = NULL;

	for (size_t i = 0; i < c->n; i++) {
		if (c->h[i].fd >= 0 && (!h || c->h[i].v2))
			h = &c->h[i];
	}
	return h;
}

/* Calls fn for each pid in the tree at dirfd; the number of pids. */
static size_t walk(int dirfd, int depth, void (*fn)(pid_t pid, void *user), void *user)
{
	struct buf b = BUF_INIT;
	size_t count = 0;
	char *save = NULL;
	struct dirent *d;
	uint64_t n;
	int copy;
	DIR *dir;

	if (file_read_at(dirfd, "cgroup.procs", 16 << 20, &b) == 0 && b.len) {
		for (char *w = strtok_r(b.data, "\n", &save); w; w = strtok_r(NULL, "\n", &save)) {
			if (str_to_u64(w, 0, INT32_MAX, &n) == 0) {
				count++;
				if (n && fn)
					fn((pid_t)n, user);
			}
		}
	}
	buf_done(&b);
	copy = depth < DEPTH_MAX ? openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		fd_drop(&copy);
		return count;
	}
	while ((d = readdir(dir))) {
		int sub;

		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		sub = openat(copy, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue;
		count += walk(sub, depth + 1, fn, user);
		(void)close(sub);
	}
	closedir(dir);
	return count;
}

static void kill_one(pid_t pid, void *user)
{
	(void)kill(pid, *(int *)user);
}

static void append(pid_t pid, void *user)
{
	json_array_append_new(user, json_integer(pid));
}

void cgroup_pids(const struct cgroups *c, json_t *arr)
{
	const struct cgroup_hier *h = asked(c);

	if (h)
		(void)walk(h->fd, 0, append, arr);
}

bool cgroup_empty(const struct cgroups *c)
{
	const struct cgroup_hier *h = asked(c);

	return !h || !walk(h->fd, 0, NULL, NULL);
}

static const struct cgroup_hier *freezer(const struct cgroups *c)
{
	const struct cgroup_hier *v2 = NULL;

	for (size_t i = 0; i < c->n; i++) {
		if (!c->h[i].v2 && str_eq(c->h[i].names, "freezer"))
			return c->h[i].fd >= 0 ? &c->h[i] : NULL;
		if (c->h[i].v2 && c->h[i].fd >= 0)
			v2 = &c->h[i];
	}
	return v2;
}

int cgroup_freeze(struct cgroups *c, bool frozen, struct err *e)
{
	const struct cgroup_hier *h = freezer(c);
	int r;

	if (!h)
		return err_set(e, ERR_UNAVAILABLE, "there is no cgroup freezer");
	r = h->v2 ? file_put_at(h->fd, "cgroup.freeze", frozen ? "1" : "0") : file_put_at(h->fd, "freezer.state", frozen ? "FROZEN" : "THAWED");
	return r < 0 ? err_errno(e, -r, "%s cgroup '%s'", frozen ? "freeze" : "thaw", h->dir) : 0;
}

bool cgroup_frozen(const struct cgroups *c)
{
	const struct cgroup_hier *h = freezer(c);
	struct buf b = BUF_INIT;
	bool ret = false;

	if (h && file_read_at(h->fd, h->v2 ? "cgroup.freeze" : "freezer.state", 64, &b) == 0 && b.len)
		ret = b.data[0] == '1' || b.data[0] == 'F';
	buf_done(&b);
	return ret;
}

int cgroup_kill(struct cgroups *c, int signo, struct err *e)
{
	const struct cgroup_hier *h = asked(c);
	int64_t end = clock_now() + GONE_LIMIT;
	int wait_ms = 1;

	if (!h)
		return 0;
	if (signo != SIGKILL) {
		(void)walk(h->fd, 0, kill_one, &signo);
		return 0;
	}
	if (!h->v2 || file_put_at(h->fd, "cgroup.kill", "1") < 0)
		(void)walk(h->fd, 0, kill_one, &signo);
	if (cgroup_frozen(c))
		(void)cgroup_freeze(c, false, NULL);	/* a frozen v1 process dies when it thaws */
	/* A fork may have been quicker than one round. */
	while (walk(h->fd, 0, kill_one, &signo)) {
		if (clock_now() > end)
			return err_set(e, ERR_UNAVAILABLE, "processes in cgroup '%s' do not end", h->dir);
		(void)poll(NULL, 0, wait_ms);
		wait_ms = wait_ms < 50 ? wait_ms * 2 : 50;
	}
	return 0;
}

/* Removes the groups below dirfd, deepest first. */
static int remove_below(int dirfd, int depth)
{
	int copy = depth < DEPTH_MAX ? openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, ret = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *d;

	if (!dir) {
		fd_drop(&copy);
		return -EINVAL;
	}
	while ((d = readdir(dir))) {
		int sub;

		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		sub = openat(copy, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0) {
			(void)remove_below(sub, depth + 1);
			(void)close(sub);
		}
		if (unlinkat(copy, d->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			ret = -errno;
	}
	closedir(dir);
	return ret;
}

/* A group whose last process was just reaped can be busy for a moment still. */
static int remove_one(const struct cgroup_hier *h, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s%s", h->mount, h->dir);
	int64_t end = clock_now() + GONE_LIMIT / 10;

	for (int wait_ms = 1;; wait_ms = wait_ms < 50 ? wait_ms * 2 : 50) {
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY && errno != ENOTEMPTY)
			return err_errno(e, errno, "remove cgroup '%s'", path);
		if (h->fd >= 0)
			(void)remove_below(h->fd, 0);
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (clock_now() > end)
			return err_errno(e, errno, "remove cgroup '%s'", path);
		(void)poll(NULL, 0, wait_ms);
	}
}

bool cgroup_remove_quick(const struct cgroups *c)
{
	bool ok = true;

	for (size_t i = 0; i < c->n; i++) {
		CLEANUP(mem_freep) char *path = mem_printf("%s%s", c->h[i].mount, c->h[i].dir);

		if (c->h[i].dir && rmdir(path) < 0 && errno != ENOENT)
			ok = false;
	}
	return ok;
}

int cgroup_remove(struct cgroups *c, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (c->h[i].dir && remove_one(&c->h[i], e) < 0)
			ret = -1;
	}
	return ret;
}
