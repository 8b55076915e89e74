/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's root: attaching it, its /dev, its masked and read-only paths, and going in.
 *
 * Everything is done by handles below the root's handle before pivot_root, while the host's tree is still there to take device nodes and
 * /dev/null from: what a container finds under its masks is the host's null device or an empty read-only tmpfs, never something the image
 * brought along under that name (CVE-2025-31133, CVE-2025-52565). Kernel parameters go through the host's procfs, whose identity was
 * checked, and never through the container's /proc (CVE-2025-52881).
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

static const struct node { const char *name; unsigned major, minor; } nodes[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};
static const struct { const char *name, *to; } links[] = {
	{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "core", "/proc/kcore" },
};

int rootfs_attach(struct rootfs *r, const char *where, int tree, struct err *e)
{
	CLEANUP(fd_closep) int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), at = -1;
	int ret;

	/* What the host mounts may still arrive here until we leave its tree; what we mount must not arrive there. */
	ret = top < 0 ? -errno : mount_attr(top, true, 0, 0, MS_SLAVE);
	if (ret < 0)
		return err_errno(e, -ret, "make the host's mounts slaves in the container's namespace");
	at = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_errno(e, errno, "open root file system '%s'", where);
	ret = mount_onto(tree, at);
	if (ret < 0)
		return err_errno(e, -ret, "mount root file system '%s'", where);
	r->fd = tree;
	return 0;
}

/* A device node of the host, bound: a process in a user namespace cannot make one. */
static int bind_node(int dev, const char *name, const char *source, struct err *e)
{
	CLEANUP(fd_closep) int tree = -1, at = -1;
	int fd = mount_clone(AT_FDCWD, source, false);

	if (fd < 0)
		return err_errno(e, -fd, "bind device '%s'", source);
	tree = fd;
	at = openat(dev, name, O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_RDONLY | O_NONBLOCK, 0644);
	if (at < 0)
		return err_errno(e, errno, "make '/dev/%s'", name);
	fd = mount_onto(tree, at);
	return fd < 0 ? err_errno(e, -fd, "bind device '%s'", source) : 0;
}

static int make_node(const struct rootfs *r, int dir, const char *name, mode_t type, dev_t dev, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	struct stat st;

	if (r->userns && type != S_IFIFO) {
		CLEANUP(mem_freep) char *source = mem_printf("/dev/%s", name);

		return bind_node(dir, name, source, e);
	}
	if (mknodat(dir, name, type | (mode & 07777), dev) < 0) {
		if (errno != EEXIST)
			return err_errno(e, errno, "make device '%s'", name);
		/* A node of the image is fine when it is the same one. */
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & S_IFMT) != type || st.st_rdev != dev)
			return err_set(e, ERR_INVALID, "device '%s' exists in the root file system as something else", name);
		return 0;
	}
	if (fchmodat(dir, name, mode & 07777, 0) < 0)	/* past the umask */
		return err_errno(e, errno, "set the mode of device '%s'", name);
	if ((uid || gid) && fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "set the owner of device '%s'", name);
	return 0;
}

static int spec_device(struct rootfs *r, const json_t *o, struct err *e)
{
	const char *path = json_str(o, "path", ""), *type = json_str(o, "type", ""), *name;
	CLEANUP(mem_freep) char *parent = NULL;
	CLEANUP(fd_closep) int dir = -1;
	int64_t major_ = json_i64(o, "major", 0), minor_ = json_i64(o, "minor", 0), mode = json_i64(o, "fileMode", 0666);
	mode_t kind;
	int fd;

	if (path[0] != '/' || strstr(path, "/../") || str_ends(path, "/..") || str_ends(path, "/"))
		return err_set(e, ERR_INVALID, "config.json: linux.devices: '%s' is not the absolute path of a device", path);
	if (str_eq(type, "c") || str_eq(type, "u"))
		kind = S_IFCHR;
	else if (str_eq(type, "b"))
		kind = S_IFBLK;
	else if (str_eq(type, "p"))
		kind = S_IFIFO;
	else
		return err_set(e, ERR_INVALID, "config.json: linux.devices: '%s' has the unknown type '%s'", path, type);
	if (major_ < 0 || major_ > 0xfff || minor_ < 0 || minor_ > 0xfffff)
		return err_set(e, ERR_INVALID, "config.json: linux.devices: '%s' has no valid numbers: %lld:%lld", path, (long long)major_,
			       (long long)minor_);
	parent = mem_strdup(path);
	*strrchr(parent, '/') = 0;
	name = strrchr(path, '/') + 1;
	fd = file_mkdir_in_root(r->fd, *parent ? parent : "/", 0755, 0, 0);
	if (fd < 0)
		return err_errno(e, -fd, "make the directory of device '%s'", path);
	dir = fd;
	if (r->userns && kind != S_IFIFO)
		return bind_node(dir, name, path, e);
	return make_node(r, dir, name, kind, kind == S_IFIFO ? 0 : makedev((unsigned)major_, (unsigned)minor_), (mode_t)mode,
			 (uid_t)json_i64(o, "uid", 0), (gid_t)json_i64(o, "gid", 0), e);
}

/* The host's /dev is bound in as a whole: nothing of it is ours to change. */
static bool dev_is_bound(const struct oci_spec *s)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		if (s->mounts[i].bind && (str_eq(s->mounts[i].dest, "/dev") || str_eq(s->mounts[i].dest, "/dev/")))
			return true;
	}
	return false;
}

int rootfs_devices(struct rootfs *r, const struct oci_spec *s, struct err *e)
{
	CLEANUP(fd_closep) int dev = -1;
	mode_t mask;
	json_t *o;
	size_t i;
	int fd, ret = 0;

	if (dev_is_bound(s))
		return 0;
	fd = file_mkdir_in_root(r->fd, "/dev", 0755, 0, 0);
	if (fd < 0)
		return err_errno(e, -fd, "open '/dev' of the container");
	dev = fd;
	mask = umask(0);
	json_array_foreach(s->devices, i, o) {
		ret = spec_device(r, o, e);
		if (ret < 0)
			goto out;
	}
	for (i = 0; i < N(nodes) && ret == 0; i++) {
		struct stat st;
		bool own = fstatat(dev, nodes[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode);

		if (!own)
			ret = make_node(r, dev, nodes[i].name, S_IFCHR, makedev(nodes[i].major, nodes[i].minor), 0666, 0, 0, e);
	}
	for (i = 0; i < N(links) && ret == 0; i++) {
		if (symlinkat(links[i].to, dev, links[i].name) < 0 && errno != EEXIST)
			ret = err_errno(e, errno, "make '/dev/%s'", links[i].name);
	}
	/* The container's own terminals, not those of a node the image brought along. */
	if (ret == 0) {
		(void)unlinkat(dev, "ptmx", 0);	/* may not be there */
		if (symlinkat("pts/ptmx", dev, "ptmx") < 0 && errno != EEXIST)
			ret = err_errno(e, errno, "make '/dev/ptmx'");
	}
out:
	umask(mask);
	return ret;
}

static int send_master(int sock, int master, struct err *e)
{
	static char name[] = "/dev/ptmx";
	struct iovec iov = { name, sizeof(name) - 1 };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c = { 0 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.h), &master, sizeof(int));
	while (sendmsg(sock, &h, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return err_errno(e, errno, "send the terminal over the console socket");
	}
	return 0;
}

/* Opens a terminal in the container's devpts, sends its master, keeps its slave for stdio. r->fd: the container's root. */
int rootfs_console(struct rootfs *r, const struct oci_process *p, int console_socket, int *slave, struct err *e)
{
	CLEANUP(fd_closep) int master = -1;
	struct winsize ws = { .ws_row = (unsigned short)p->rows, .ws_col = (unsigned short)p->cols };
	int zero = 0, fd;

	if (console_socket < 0)
		return err_set(e, ERR_INVALID, "process.terminal is set, but there is no console socket");
	fd = file_open_in_root(r->fd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, -fd, "open '/dev/pts/ptmx' of the container for a terminal");
	master = fd;
	if (ioctl(master, TIOCSPTLCK, &zero) < 0)
		return err_errno(e, errno, "unlock the container's terminal");
	/* By the master itself: no path of the container takes part. */
	*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		return err_errno(e, errno, "open the container's terminal");
	if ((p->rows || p->cols) && ioctl(master, TIOCSWINSZ, &ws) < 0)
		return err_errno(e, errno, "set the size of the terminal to %ux%u", p->cols, p->rows);
	if (p->uid && fchown(*slave, p->uid, (gid_t)-1) < 0 && errno != EINVAL)
		return err_errno(e, errno, "give the terminal to user %u", (unsigned)p->uid);
	return send_master(console_socket, master, e);
}

int rootfs_bind_console(struct rootfs *r, int slave, struct err *e)
{
	CLEANUP(fd_closep) int dev = -1, at = -1, tree = -1;
	int ret;

	dev = file_open_in_root(r->fd, "/dev", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (dev < 0)
		return err_errno(e, -dev, "open '/dev' of the container");
	at = openat(dev, "console", O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_RDONLY | O_NONBLOCK | O_NOCTTY, 0666);
	if (at < 0 && errno == ENXIO)
		at = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		return err_errno(e, errno, "make '/dev/console'");
	/* The slave's own handle is cloned: what /dev/pts/N is called in there by now does not matter. */
	tree = mount_clone(slave, "", false);
	ret = tree < 0 ? tree : mount_onto(tree, at);
	return ret < 0 ? err_errno(e, -ret, "bind the terminal to '/dev/console'") : 0;
}

/* One empty read-only file system serves all masked directories. */
static int empty_tree(int *cached, struct err *e)
{
	static char *const data[] = { (char *)"nr_inodes=2", (char *)"mode=755", NULL };
	int fd;

	if (*cached >= 0) {
		fd = mount_clone(*cached, "", false);
		return fd < 0 ? err_errno(e, -fd, "clone an empty file system") : fd;
	}
	return mount_new("tmpfs", "tmpfs", data, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, e);
}

static int null_tree(struct err *e)
{
	struct stat st;
	int fd = mount_clone(AT_FDCWD, "/dev/null", false);

	if (fd < 0)
		return err_errno(e, -fd, "open '/dev/null'");
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
		(void)close(fd);
		return err_set(e, ERR_INTERNAL, "the host's '/dev/null' is not the null device");
	}
	return fd;
}

static int mask_one(struct rootfs *r, const char *path, int *empty, struct err *e)
{
	CLEANUP(fd_closep) int at = -1, tree = -1;
	struct stat st;
	int ret;

	at = file_open_in_root(r->fd, path, O_PATH | O_CLOEXEC, 0);
	if (at == -ENOENT || at == -ENOTDIR)
		return 0;
	if (at < 0 || fstat(at, &st) < 0)
		return err_errno(e, at < 0 ? -at : errno, "masked path '%s'", path);
	tree = S_ISDIR(st.st_mode) ? empty_tree(empty, e) : null_tree(e);
	if (tree < 0)
		return err_wrap(e, "mask '%s'", path);
	ret = mount_onto(tree, at);
	if (ret < 0)
		return err_errno(e, -ret, "mask '%s'", path);
	if (S_ISDIR(st.st_mode) && *empty < 0)
		*empty = TAKE_FD(tree);
	return 0;
}

static int readonly_one(struct rootfs *r, const char *path, struct err *e)
{
	CLEANUP(fd_closep) int at = -1, tree = -1;
	int ret;

	at = file_open_in_root(r->fd, path, O_PATH | O_CLOEXEC, 0);
	if (at == -ENOENT || at == -ENOTDIR)
		return 0;
	if (at < 0)
		return err_errno(e, -at, "read-only path '%s'", path);
	tree = mount_clone(at, "", true);
	ret = tree < 0 ? tree : mount_attr(tree, true, MOUNT_ATTR_RDONLY, 0, 0);
	if (ret == 0)
		ret = mount_onto(tree, at);
	return ret < 0 ? err_errno(e, -ret, "make '%s' read-only", path) : 0;
}

int rootfs_protect(struct rootfs *r, const struct oci_spec *s, struct err *e)
{
	CLEANUP(fd_closep) int empty = -1;
	int ret;

	for (size_t i = 0; i < json_array_size(s->readonly); i++) {
		if (readonly_one(r, json_at(s->readonly, i), e) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_array_size(s->masked); i++) {
		if (mask_one(r, json_at(s->masked, i), &empty, e) < 0)
			return -1;
	}
	ret = s->root_ro ? mount_attr(r->fd, false, MOUNT_ATTR_RDONLY, 0, 0) : 0;
	return ret < 0 ? err_errno(e, -ret, "make the root file system read-only") : 0;
}

/* "net.ipv4.ip_forward" or "net/ipv4/...": which namespace keeps it apart from the host's. */
static int sysctl_owner(const char *key)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
		"kernel.shmmni", "kernel.shm_rmid_forced" };

	for (size_t i = 0; i < N(ipc); i++) {
		if (str_eq(key, ipc[i]))
			return NS_IPC;
	}
	if (str_starts(key, "fs.mqueue."))
		return NS_IPC;
	if (str_starts(key, "net."))
		return NS_NET;
	if (str_eq(key, "kernel.domainname") || str_eq(key, "kernel.hostname"))
		return NS_UTS;
	return str_starts(key, "user.") ? NS_USER : -1;
}

int rootfs_sysctl(struct rootfs *r, const struct oci_spec *s, bool joined_net, struct err *e)
{
	const char *name;
	json_t *v;

	json_object_foreach(s->sysctl, name, v) {
		const char *value = json_string_value(v), *sep = strpbrk(name, "./");
		CLEANUP(mem_freep) char *key = mem_strdup(name), *path = NULL;
		CLEANUP(fd_closep) int fd = -1;
		bool slashes = sep && *sep == '/';
		int ns;

		if (!value)
			return err_set(e, ERR_INVALID, "config.json: linux.sysctl.%s is not a string", name);
		/* As sysctl(8): the first separator says which of the two is one; the other is part of a name (eth0.100). */
		for (char *c = key; *c; c++)
			*c = slashes && (*c == '/' || *c == '.') ? (*c == '/' ? '.' : '/') : *c;
		path = mem_printf("sys/%s", key);
		for (char *c = path + 4; *c; c++)
			*c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
		ns = sysctl_owner(key);
		if (ns < 0)
			return err_set(e, ERR_INVALID, "sysctl \"%s\" is not in a separate kernel namespace", name);
		if (!s->ns[ns])
			return err_set(e, ERR_INVALID, "sysctl \"%s\" is not allowed: the container shares the host's %s namespace", name,
				       ns_types[ns].name);
		/* A network namespace that was there before belongs to the host's root: in a user namespace nobody could write there. */
		if ((ns == NS_NET && s->ns[NS_USER] && s->ns_path[NS_NET]) != joined_net)
			continue;
		fd = file_open_beneath(r->proc, path, O_WRONLY | O_CLOEXEC, 0);
		if (fd < 0)
			return err_errno(e, -fd, "sysctl '%s'", name);
		if (write(fd, value, strlen(value)) < 0)
			return err_errno(e, errno, "set sysctl '%s' to '%s'", name, value);
	}
	return 0;
}

int rootfs_enter(struct rootfs *r, const struct oci_spec *s, struct err *e)
{
	int ret;

	if (fchdir(r->fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(e, errno, "pivot_root into the root file system");
	/* The old root now lies over the new one at "."; with it goes every way back. */
	if (umount2(".", MNT_DETACH) < 0)
		return err_errno(e, errno, "detach the host's root");
	if (chdir("/") < 0)
		return err_errno(e, errno, "go to the container's root");
	if (s->root_propagation != MS_PRIVATE) {
		ret = mount_attr(r->fd, s->root_prop_recursive, 0, 0, s->root_propagation);
		if (ret < 0)
			return err_errno(e, -ret, "set the propagation of the root file system");
	}
	return 0;
}
