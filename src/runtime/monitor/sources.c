/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources of bind mounts that no OCI runtime can be trusted with by path, made ready in the monitor's mount namespace under
 * <bundle>/source-N, where config.json says they are. Three kinds:
 *
 *   a path inside a volume    found by a handle that cannot leave the volume, whatever links its users have put there
 *   a shared mount            cloned from the host's own namespace, so that it stays the peer of the host's mount: in ours,
 *                             everything is a slave, and what the container mounts would stay in the container
 *
 *   a mount of another container (its /dev/shm), cloned from its namespace
 *
 * They go with the namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor_priv.h"

/* Does the mount that fd lies in pass its mounts on? *at gets its mount point. */
static bool is_shared(int fd, char *at, size_t size)
{
	struct statx sx;
	struct buf b = BUF_INIT;
	char *save = NULL;
	bool shared = false;

	snprintf(at, size, "/");
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0 || file_read_at(AT_FDCWD, "/proc/self/mountinfo", 64 << 20, &b) < 0 || !b.data)
		return false;
	for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		unsigned long long id;
		char *tail = strstr(l, " - ");

		if (sscanf(l, "%llu ", &id) != 1 || id != sx.stx_mnt_id || !tail)
			continue;
		*tail = '\0';
		shared = strstr(l, " shared:");
		(void)sscanf(l, "%*u %*u %*s %*s %511s", at);
		break;
	}
	buf_done(&b);
	return shared;
}

static int open_source(const char *base, const char *subpath, bool foreign, bool shared, bool recursive, struct err *e)
{
	/* The last component is never followed: another container's /dev/shm is its own to replace. */
	int top CLEANUP(fd_closep) = open(base, O_PATH | O_CLOEXEC | (foreign ? O_NOFOLLOW | O_DIRECTORY : 0)), at CLEANUP(fd_closep) = -1, tree;
	char where[512];

	if (top < 0)
		return err_errno(e, errno, "bind source path '%s'", base);
	at = *subpath ? file_open_in_root(top, subpath, O_PATH | O_CLOEXEC, 0) : TAKE_FD(top);
	if (at < 0)
		return err_set(e, ERR_INVALID, "cannot access path %s/%s: %s", base, subpath, strerror(-at));
	if (shared && !is_shared(at, where, sizeof(where)))
		return err_set(e, ERR_INVALID, "path %s is mounted on %s but it is not a shared mount", base, where);
	tree = open_tree(at, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
	return tree < 0 ? err_errno(e, errno, "bind source path '%s'", base) : tree;
}

static int prepare_one(const json_t *mount, int own_ns, struct err *e)
{
	const json_t *src = json_obj(mount, "kedge.source"), *v;
	const char *base = json_str(src, "base", ""), *at = json_str(mount, "source", "");
	bool shared = json_flag(src, "shared", false), recursive = false;
	int tree CLEANUP(fd_closep) = -1, target CLEANUP(fd_closep) = -1, ns CLEANUP(fd_closep) = -1;
	int64_t pid = json_i64(src, "pid", 0);
	struct stat st;
	size_t i;

	json_array_foreach(json_arr(mount, "options"), i, v)
		recursive = recursive || str_eq(json_string_value(v), "rbind");
	if (pid) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%lld/ns/mnt", (long long)pid);
		ns = open(path, O_RDONLY | O_CLOEXEC);
		if (ns < 0)
			return err_errno(e, errno, "open the mounts of process %lld", (long long)pid);
	}
	if ((shared || pid) && setns(pid ? ns : mon.host_ns, CLONE_NEWNS) < 0)
		return err_errno(e, errno, "look at %s mounts", pid ? "another container's" : "the host's");
	tree = open_source(base, json_str(src, "subpath", ""), pid != 0, shared, recursive, e);
	if ((shared || pid) && setns(own_ns, CLONE_NEWNS) < 0)
		return err_errno(e, errno, "come back from other mounts");
	if (tree < 0)
		return -1;
	if (fstat(tree, &st) < 0)
		return err_errno(e, errno, "look at bind source '%s'", base);
	if (S_ISDIR(st.st_mode) ? mkdir(at, 0700) < 0 && errno != EEXIST : (target = open(at, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
		return err_errno(e, errno, "make '%s'", at);
	if (move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "bind source path '%s' to '%s'", base, at);
	return 0;
}

int sources_prepare(const json_t *config, struct err *e)
{
	int own CLEANUP(fd_closep) = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	const json_t *m;
	size_t i;

	if (own < 0)
		return err_errno(e, errno, "open the monitor's mount namespace");
	json_array_foreach(json_arr(config, "mounts"), i, m) {
		if (json_obj(m, "kedge.source") && prepare_one(m, own, e) < 0)
			return -1;
	}
	return 0;
}
