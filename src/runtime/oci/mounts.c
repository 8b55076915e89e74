/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts, by handles only. The parent opens what is bound in (sources are the host's paths) as detached trees; the container's process
 * makes new file systems as detached trees too, and each tree is then moved onto a handle of its target, found with
 * openat2(RESOLVE_IN_ROOT) below the root's handle. No path is ever walked twice, so a link that changes in a shared volume while we work
 * changes nothing (CVE-2021-30465). procfs and sysfs refuse links on their way altogether: masked paths must mean the real ones.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "base/str.h"

int mount_attr(int fd, bool recursive, uint64_t set, uint64_t clr, uint64_t propagation)
{
	struct mount_attr a = { .attr_set = set, .attr_clr = clr, .propagation = propagation };

	if (!set && !clr && !propagation)
		return 0;
	return mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof(a)) < 0 ? -errno : 0;
}

int mount_clone(int dir, const char *path, bool recursive)
{
	int fd = open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) | (recursive ? AT_RECURSIVE : 0));

	return fd < 0 ? -errno : fd;
}

int mount_onto(int tree, int target)
{
	return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 ? -errno : 0;
}

/* What the file system itself has to say about a refused option. */
static int fs_error(int fs, int errnum, const char *type, const char *what, struct err *e)
{
	char words[256];
	ssize_t n = read(fs, words, sizeof(words) - 1);

	if (n > 2) {
		words[n] = 0;
		return err_errno(e, errnum, "mount %s: %s (%s)", type, what, words + 2);
	}
	return err_errno(e, errnum, "mount %s: %s", type, what);
}

int mount_new(const char *type, const char *source, char *const *data, uint64_t attr, struct err *e)
{
	CLEANUP(fd_closep) int fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return err_errno(e, errno, "file system type '%s'", type);
	if (!str_empty(source) && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(fs, errno, type, source, e);
	for (; data && *data; data++) {
		CLEANUP(mem_freep) char *key = mem_strdup(*data);
		char *value = strchr(key, '=');

		if (value)
			*value++ = 0;
		if (fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) < 0)
			return fs_error(fs, errno, type, *data, e);
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fs, errno, type, "make it", e);
	fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
	if (fd < 0)
		return err_errno(e, errno, "mount %s", type);
	return fd;
}

static bool has_data(const struct oci_mount *m, const char *prefix)
{
	for (char **d = m->data; *d; d++) {
		if (str_starts(*d, prefix))
			return true;
	}
	return false;
}

int mounts_open(struct oci_spec *s, const char *bundle, int *root_tree, struct err *e)
{
	CLEANUP(mem_freep) char *root = s->root_path[0] == '/' ? mem_strdup(s->root_path) : mem_printf("%s/%s", bundle, s->root_path);
	int r;

	*root_tree = mount_clone(AT_FDCWD, root, true);
	if (*root_tree < 0)
		return err_errno(e, -*root_tree, "open root file system '%s'", root);
	r = mount_attr(*root_tree, true, 0, 0, MS_PRIVATE);
	if (r < 0)
		return err_errno(e, -r, "make root file system '%s' private", root);
	for (size_t i = 0; i < s->n_mounts; i++) {
		struct oci_mount *m = &s->mounts[i];
		CLEANUP(mem_freep) char *source = NULL;

		if (!m->bind)
			continue;
		source = m->source[0] == '/' ? mem_strdup(m->source) : mem_printf("%s/%s", bundle, m->source);
		m->fd = mount_clone(AT_FDCWD, source, m->recursive);
		if (m->fd < 0) {
			r = m->fd;
			m->fd = -1;
			return err_errno(e, -r, "bind source path '%s' for '%s'", source, m->dest);
		}
		r = mount_attr(m->fd, false, m->set, m->clr, 0);
		if (r == 0)
			r = mount_attr(m->fd, true, m->rset, m->rclr, 0);
		/* Without a word about it, what is mounted inside stays inside, and the other way round: the spec's default. */
		if (r == 0)
			r = mount_attr(m->fd, m->propagation ? m->prop_recursive : true, 0, 0, m->propagation ? m->propagation : MS_PRIVATE);
		if (r < 0)
			return err_errno(e, -r, "set the options of bind mount '%s'", m->dest);
	}
	return 0;
}

/* A handle of where m goes, made when it is missing. */
static int target_of(struct rootfs *r, const struct oci_mount *m, bool dir, bool *made, struct err *e)
{
	CLEANUP(mem_freep) char *parent = NULL;
	CLEANUP(fd_closep) int up = -1;
	char *name;
	int fd, up_fd;

	*made = false;
	if (str_eq(m->type, "proc") || str_eq(m->type, "sysfs")) {
		const char *rel = m->dest;

		rel += strspn(rel, "/");
		fd = *rel ? file_open_beneath(r->fd, rel, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : -EINVAL;
		if (fd == -ELOOP || fd == -ENOTDIR || fd == -EXDEV)
			return err_set(e, ERR_INVALID, "mount %s: '%s' in the root file system is not a real directory", m->type, m->dest);
	} else {
		fd = file_open_in_root(r->fd, m->dest, O_PATH | O_CLOEXEC, 0);
	}
	if (fd >= 0)
		return fd;
	if (fd != -ENOENT)
		return err_errno(e, -fd, "mount point '%s'", m->dest);
	*made = true;
	if (dir) {
		fd = file_mkdir_in_root(r->fd, m->dest, 0755, 0, 0);
		return fd < 0 ? err_errno(e, -fd, "make mount point '%s'", m->dest) : fd;
	}
	parent = mem_strdup(m->dest);
	name = strrchr(parent, '/');
	*name++ = 0;
	up_fd = file_mkdir_in_root(r->fd, *parent ? parent : "/", 0755, 0, 0);
	if (up_fd < 0)
		return err_errno(e, -up_fd, "make mount point '%s'", m->dest);
	up = up_fd;
	fd = openat(up, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_RDONLY, 0644);
	if (fd < 0)
		return err_errno(e, errno, "make mount point '%s'", m->dest);
	return fd;
}

static int cgroup_mount(struct rootfs *r, const struct oci_mount *m, const struct oci_spec *s, int target, struct err *e)
{
	static char *const tmpfs_data[] = { (char *)"mode=755", NULL };
	CLEANUP(fd_closep) int top = -1;
	int ret;

	if (r->cg->unified) {
		CLEANUP(fd_closep) int fd = mount_new("cgroup2", "cgroup", NULL, m->set, e);

		if (fd < 0)
			return -1;
		ret = mount_onto(fd, target);
		return ret < 0 ? err_errno(e, -ret, "mount cgroup at '%s'", m->dest) : 0;
	}
	top = mount_new("tmpfs", "cgroup", tmpfs_data, m->set & ~(uint64_t)MOUNT_ATTR_RDONLY, e);
	if (top < 0)
		return -1;
	ret = mount_onto(top, target);
	if (ret < 0)
		return err_errno(e, -ret, "mount cgroup at '%s'", m->dest);
	for (size_t i = 0; i < r->cg->n; i++) {
		const struct cgroup_hier *h = &r->cg->h[i];
		const char *name = strrchr(h->mount, '/') + 1;
		CLEANUP(mem_freep) char *path = mem_printf("%s/%s", h->mount, h->dir);
		CLEANUP(fd_closep) int fd = -1, at = -1;

		if (s->ns[NS_CGROUP]) {
			CLEANUP(mem_freep) char *names = mem_strdup(h->names);
			char *data[16], *save = NULL;
			size_t n = 0;

			for (char *w = strtok_r(names, ",", &save); w && n < N(data) - 1; w = strtok_r(NULL, ",", &save))
				data[n++] = w;
			data[n] = NULL;
			fd = h->v2 ? mount_new("cgroup2", "cgroup", NULL, m->set, e) : mount_new("cgroup", "cgroup", data, m->set, e);
			if (fd < 0)
				return -1;
		} else {
			ret = mount_clone(AT_FDCWD, path, false);
			if (ret < 0)
				return err_errno(e, -ret, "open cgroup '%s'", path);
			fd = ret;
			ret = mount_attr(fd, false, m->set, m->clr, MS_PRIVATE);
			if (ret < 0)
				return err_errno(e, -ret, "set the options of cgroup mount '%s'", name);
		}
		if (mkdirat(top, name, 0755) < 0)
			return err_errno(e, errno, "make '%s/%s'", m->dest, name);
		at = openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		ret = at < 0 ? -errno : mount_onto(fd, at);
		if (ret < 0)
			return err_errno(e, -ret, "mount cgroup '%s' at '%s'", name, m->dest);
		/* "cpu,cpuacct" is also found as "cpu" and as "cpuacct". */
		if (!h->v2 && strchr(name, ',')) {
			CLEANUP(mem_freep) char *names = mem_strdup(name);
			char *save = NULL;

			for (char *w = strtok_r(names, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
				if (symlinkat(name, top, w) < 0)
					continue;		/* a convenience */
			}
		}
	}
	ret = mount_attr(top, false, m->set & MOUNT_ATTR_RDONLY, 0, 0);
	return ret < 0 ? err_errno(e, -ret, "make '%s' read-only", m->dest) : 0;
}

static int new_fs(const struct oci_mount *m, int target, bool made, struct err *e)
{
	char mode[32];
	struct stat st;
	int fd;

	/* A tmpfs looks like the directory it covers unless told otherwise. */
	if (str_eq(m->type, "tmpfs") && !has_data(m, "mode=") && !made && fstat(target, &st) == 0) {
		char *words[64];
		size_t n = 0;

		while (m->data[n] && n < N(words) - 2) {
			words[n] = m->data[n];
			n++;
		}
		snprintf(mode, sizeof(mode), "mode=%o", (unsigned)st.st_mode & 07777);
		words[n++] = mode;
		words[n] = NULL;
		return mount_new(m->type, m->source, words, m->set | m->rset, e);
	}
	fd = mount_new(m->type, m->source, m->data, m->set | m->rset, e);
	if (fd >= 0 || !str_eq(m->type, "sysfs") || (e && e->sys != EPERM))
		return fd;
	/* sysfs shows a network namespace; who does not own it may not mount it, but may see the host's. */
	fd = mount_clone(AT_FDCWD, "/sys", true);
	if (fd < 0)
		return err_errno(e, -fd, "bind '/sys'");
	if (mount_attr(fd, true, m->set, m->clr, MS_PRIVATE) < 0)
		return err_errno(e, errno, "set the options of '%s'", m->dest);
	err_clear(e);
	return fd;
}

static bool on_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/*
 * procfs is what masks, kernel parameters and labels are written through: nothing takes its place, whichever way its path is written
 * (CVE-2019-16884, CVE-2025-52881). Below it only files that tell about the machine may be covered, as lxcfs does.
 */
static int check_proc(const struct oci_mount *m, int target, struct err *e)
{
	static const char *const allowed[] = { "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
					       "/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled" };
	CLEANUP(mem_freep) char *dest = mem_strdup(m->dest);
	char *o = dest;

	if (str_eq(m->type, "proc") || (m->bind && m->fd >= 0 && on_procfs(m->fd) && !on_procfs(target)))
		return 0;
	for (const char *i = m->dest; *i; i++) {	/* "//proc/./" is "/proc" */
		if (*i == '/' && (i[1] == '/' || !i[1] || (i[1] == '.' && (i[2] == '/' || !i[2])))) {
			i += i[1] == '.';
			continue;
		}
		*o++ = *i;
	}
	*o = '\0';
	for (size_t i = 0; i < N(allowed); i++) {
		if (m->bind && str_eq(dest, allowed[i]))
			return 0;
	}
	if (str_eq(dest, "/proc"))
		return err_set(e, ERR_INVALID, "\"/proc\" cannot be mounted because it is not of type proc");
	return on_procfs(target) ? err_set(e, ERR_INVALID, "\"%s\" cannot be mounted because it is inside /proc", m->dest) : 0;
}

static int one(struct rootfs *r, const struct oci_spec *s, const struct oci_mount *m, struct err *e)
{
	CLEANUP(fd_closep) int target = -1, fd = -1;
	bool made, dir = true;
	struct stat st;
	int ret;

	if (m->bind) {
		if (fstat(m->fd, &st) < 0)
			return err_errno(e, errno, "look at bind source '%s'", m->source);
		dir = S_ISDIR(st.st_mode);
	}
	target = target_of(r, m, dir, &made, e);
	if (target < 0)
		return -1;
	if (fstat(target, &st) < 0)
		return err_errno(e, errno, "look at mount point '%s'", m->dest);
	if (check_proc(m, target, e) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) != dir)
		return err_set(e, ERR_INVALID, "mount '%s': not a directory: are you trying to mount a directory onto a file (or vice-versa)? "
			       "Check if the specified host path exists and is the expected type", m->dest);
	if (str_eq(m->type, "cgroup") || str_eq(m->type, "cgroup2"))
		return cgroup_mount(r, m, s, target, e);
	if (!m->bind) {
		fd = new_fs(m, target, made, e);
		if (fd < 0)
			return err_wrap(e, "mount point '%s'", m->dest);
	}
	ret = mount_onto(m->bind ? m->fd : fd, target);
	if (ret < 0)
		return err_errno(e, -ret, "mount at '%s'", m->dest);
	if (!m->bind && m->propagation) {
		ret = mount_attr(fd, m->prop_recursive, 0, 0, m->propagation);
		if (ret < 0)
			return err_errno(e, -ret, "set the propagation of '%s'", m->dest);
	}
	return 0;
}

int rootfs_mounts(struct rootfs *r, const struct oci_spec *s, struct err *e)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		if (one(r, s, &s->mounts[i], e) < 0)
			return -1;
	}
	return 0;
}
