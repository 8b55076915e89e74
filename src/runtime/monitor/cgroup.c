/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three things the monitor itself wants from the container's cgroup: whether the kernel killed for memory, freeze and thaw, and a
 * last-resort kill. Where the cgroup is comes from /proc/<init>/cgroup, so it is right for every OCI runtime and layout.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor_priv.h"

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
		if (strcspn(p, ",") == n && !strncmp(p, word, n))
			return true;
	}
	return false;
}

/* "hierarchy:controllers:path". */
static void line(char *l)
{
	char *list = strchr(l, ':'), *path = list ? strchr(list + 1, ':') : NULL;

	if (!path)
		return;
	*list++ = 0;
	*path++ = 0;
	if (str_eq(path, "/"))
		return;		/* no cgroup of its own: never freeze or kill the machine */
	if (!*list) {
		const char *base = access("/sys/fs/cgroup/cgroup.controllers", F_OK) ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";

		snprintf(mon.cg.unified, sizeof(mon.cg.unified), "%s%s", base, path);
		if (!mon.cg.freezer[0]) {
			snprintf(mon.cg.freezer, sizeof(mon.cg.freezer), "%s%s", base, path);
			mon.cg.v2 = true;
		}
		if (!mon.cg.memory[0]) {
			snprintf(mon.cg.memory, sizeof(mon.cg.memory), "%s%s", base, path);
			mon.cg.memory_v2 = true;
		}
		return;
	}
	if (has_word(list, "freezer")) {
		snprintf(mon.cg.freezer, sizeof(mon.cg.freezer), "/sys/fs/cgroup/freezer%s", path);
		mon.cg.v2 = false;
	}
	if (has_word(list, "memory")) {
		snprintf(mon.cg.memory, sizeof(mon.cg.memory), "/sys/fs/cgroup/memory%s", path);
		mon.cg.memory_v2 = false;
	}
}

void mon_cgroup_find(pid_t pid)
{
	struct buf b = BUF_INIT;
	char path[64], *save = NULL, own[64];
	struct buf mine = BUF_INIT;

	memset(&mon.cg, 0, sizeof(mon.cg));
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	snprintf(own, sizeof(own), "/proc/self/cgroup");
	if (file_read_at(AT_FDCWD, path, 65536, &b) == 0 && file_read_at(AT_FDCWD, own, 65536, &mine) == 0 && b.len && mine.len) {
		for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
			const char *same = strstr(mine.data, l);

			/* A hierarchy the runtime did not put it into: the monitor's own cgroup, not the container's. */
			if (same && (same == mine.data || same[-1] == '\n') && (same[strlen(l)] == '\n' || !same[strlen(l)]))
				continue;
			line(l);
		}
	}
	buf_done(&b);
	buf_done(&mine);
}

/* Value of "key N" in a flat-keyed file, or -1. */
static long long keyed(const char *dir, const char *file, const char *key)
{
	char path[600];
	struct buf b = BUF_INIT;
	long long v = -1;
	size_t n = strlen(key);

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (file_read_at(AT_FDCWD, path, 65536, &b) == 0 && b.len) {
		for (const char *p = b.data; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
			if (!strncmp(p, key, n) && p[n] == ' ') {
				v = strtoll(p + n, NULL, 10);
				break;
			}
		}
	}
	buf_done(&b);
	return v;
}

bool mon_cgroup_oom(void)
{
	if (!mon.cg.memory[0])
		return false;
	return keyed(mon.cg.memory, mon.cg.memory_v2 ? "memory.events" : "memory.oom_control", "oom_kill") > 0;
}

static bool frozen_is(bool freeze)
{
	char path[600], word[32];

	if (mon.cg.v2)
		return keyed(mon.cg.freezer, "cgroup.events", "frozen") == freeze;
	snprintf(path, sizeof(path), "%s/freezer.state", mon.cg.freezer);
	return file_read_line(path, word, sizeof(word)) >= 0 && str_eq(word, freeze ? "FROZEN" : "THAWED");
}

int mon_cgroup_freeze(bool freeze, struct err *e)
{
	const char *word = mon.cg.v2 ? (freeze ? "1" : "0") : (freeze ? "FROZEN" : "THAWED");
	int64_t until = clock_now() + 10 * 1000000000ll;
	char path[600];
	int r;

	if (!mon.cg.freezer[0])
		return err_set(e, ERR_INTERNAL, "container %.12s has no freezer cgroup, it cannot be %s", mon.a.id, freeze ? "paused" : "unpaused");
	snprintf(path, sizeof(path), "%s/%s", mon.cg.freezer, mon.cg.v2 ? "cgroup.freeze" : "freezer.state");
	r = file_put_at(AT_FDCWD, path, word);
	if (r < 0)
		return err_errno(e, -r, "write '%s' to '%s'", word, path);
	/* A task in an uninterruptible sleep freezes late; v1 wants to be asked again then. There is no event to wait for in v1. */
	for (int ms = 1; !frozen_is(freeze); ms = ms < 64 ? ms * 2 : ms) {
		if (clock_now() > until) {
			(void)file_put_at(AT_FDCWD, path, mon.cg.v2 ? "0" : "THAWED");
			return err_set(e, ERR_UNAVAILABLE, "container %.12s did not freeze within 10 seconds", mon.a.id);
		}
		(void)poll(NULL, 0, ms);
		if (!mon.cg.v2)
			(void)file_put_at(AT_FDCWD, path, word);
	}
	return 0;
}

static void kill_listed(const char *dir)
{
	char path[600], *save = NULL;
	struct buf b = BUF_INIT;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	if (file_read_at(AT_FDCWD, path, 1 << 20, &b) == 0 && b.len) {
		for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
			long pid = strtol(l, NULL, 10);

			if (pid > 1 && pid != getpid())
				(void)kill((pid_t)pid, SIGKILL);
		}
	}
	buf_done(&b);
}

void mon_cgroup_kill_all(void)
{
	char path[600];

	if (mon.cg.unified[0]) {
		snprintf(path, sizeof(path), "%s/cgroup.kill", mon.cg.unified);
		if (file_put_at(AT_FDCWD, path, "1") < 0)	/* Linux 5.14 */
			kill_listed(mon.cg.unified);
	}
	if (mon.cg.freezer[0] && !mon.cg.v2) {
		kill_listed(mon.cg.freezer);
		snprintf(path, sizeof(path), "%s/freezer.state", mon.cg.freezer);
		(void)file_put_at(AT_FDCWD, path, "THAWED");	/* a frozen process dies when it thaws */
	}
}

static int kill_dir(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)f;
	if (type == FTW_D)
		kill_listed(path);
	return 0;
}

static int remove_dir(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)f;
	if (type == FTW_DP)
		(void)rmdir(path);
	return 0;
}

/*
 * A runtime that was killed in the middle of "create" may have made cgroups, and a process in them, that its own "delete" does not know of.
 * The path names one container's cgroup and nobody else's, by the engine's choice of cgroupsPath.
 */
void mon_cgroup_remove(const char *path)
{
	char pattern[700];
	glob_t g;

	path += strspn(path, "/");
	if (!*path || strstr(path, "..") || strpbrk(path, "*?[{:"))
		return;
	snprintf(pattern, sizeof(pattern), "/sys/fs/cgroup{,/*}/%s", path);
	for (int ms = 1, tries = 0; tries < 12 && glob(pattern, GLOB_BRACE | GLOB_NOSORT, NULL, &g) == 0; tries++, ms *= 2) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			if (tries == 0 && strstr(g.gl_pathv[i], "/freezer/")) {
				char state[700];

				(void)nftw(g.gl_pathv[i], kill_dir, 8, FTW_PHYS);
				snprintf(state, sizeof(state), "%s/freezer.state", g.gl_pathv[i]);
				(void)file_put_at(AT_FDCWD, state, "THAWED");
			}
			(void)nftw(g.gl_pathv[i], kill_dir, 8, FTW_PHYS);
			(void)nftw(g.gl_pathv[i], remove_dir, 8, FTW_PHYS | FTW_DEPTH);
		}
		globfree(&g);
		if (tries)	/* a killed process leaves its cgroup when it gets to run */
			(void)poll(NULL, 0, ms);
	}
}
