/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net_priv.h"

/*
 * Theory of operation. A thread changes into a new namespace, binds it to a file so that it lives without a process, opens its rtnetlink
 * socket and sets its sysctls there, and changes back. Sockets stay in the namespace they were opened in, so nothing else has to happen
 * inside. A thread that cannot change back must not go on as a pool thread, or the next container's "host side" would be made in this
 * one: the process ends then, and its next start finds everything (it takes a kernel without memory, or loss of CAP_SYS_ADMIN).
 */

static const struct {
	const char *path, *value;
} netns_sysctls[] = {
	/* docker's: a namespace of one's own has no privileged ports, and ping needs no capability. */
	{ "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0" },
	{ "/proc/sys/net/ipv4/ping_group_range", "0 2147483647" },
	/* Interfaces to come have no IPv6 address unless their network gives one; loopback keeps ::1. */
	{ "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1" },
	/* Routes come from us, not from whoever else is on the network. */
	{ "/proc/sys/net/ipv6/conf/default/accept_ra", "0" },
	/* A new owner of an address says so: neighbours may still know another MAC. */
	{ "/proc/sys/net/ipv4/conf/default/arp_notify", "1" },
};

static int inside(const char *path, struct rtnl **inner, int *fd, struct err *e)
{
	CLEANUP(fd_closep) int ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (ns < 0)
		return err_errno(e, errno, "open the new network namespace");
	for (size_t i = 0; i < N(netns_sysctls); i++) {
		int rc = file_put_at(AT_FDCWD, netns_sysctls[i].path, netns_sysctls[i].value);

		if (rc < 0 && rc != -ENOENT)	/* a kernel without IPv6 */
			log_warn("net", "cannot set %s to %s in the namespace %s: %s, going on without", netns_sysctls[i].path + strlen("/proc/sys/"),
				 netns_sysctls[i].value, path, strerrordesc_np(-rc));
	}
	if (rtnl_open(inner, e) < 0)
		return -1;
	if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0) {
		err_errno(e, errno, "bind the network namespace to %s", path);
		rtnl_close(TAKE(*inner));
		return -1;
	}
	*fd = TAKE_FD(ns);
	return 0;
}

int netns_new(const char *path, struct rtnl **inner, int *fd, struct err *e)
{
	CLEANUP(fd_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	CLEANUP(fd_closep) int file = -1;
	int rc;

	if (home < 0)
		return err_errno(e, errno, "open our own network namespace");
	file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0)
		return err_errno(e, errno, "create %s", path);
	if (unshare(CLONE_NEWNET) < 0) {
		err_errno(e, errno, "create a network namespace");
		(void)unlink(path);
		return -1;
	}
	rc = inside(path, inner, fd, e);
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("net", "a thread cannot return to the host's network namespace: %s; ending before it does harm", strerrordesc_np(errno));
		abort();
	}
	if (rc == 0) {
		rtnl_link_up(*inner, "lo");
		rc = rtnl_run(*inner, e);
		if (rc < 0) {
			rtnl_close(TAKE(*inner));
			(void)close(TAKE_FD(*fd));
		}
	}
	if (rc < 0)
		netns_remove(path);
	return rc;
}

int netns_do(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	CLEANUP(fd_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int rc;

	if (home < 0)
		return err_errno(e, errno, "open our own network namespace");
	if (setns(ns, CLONE_NEWNET) < 0)
		return err_errno(e, errno, "enter a container's network namespace");
	rc = fn(arg, e);
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("net", "a thread cannot return to the host's network namespace: %s; ending before it does harm", strerrordesc_np(errno));
		abort();
	}
	return rc;
}

int netns_visit(const char *path, int (*fn)(void *user, struct err *e), void *user, struct err *e)
{
	CLEANUP(fd_closep) int ns = open(path, O_RDONLY | O_CLOEXEC);

	return ns < 0 ? err_errno(e, errno, "open %s", path) : netns_do(ns, fn, user, e);
}

static int open_rtnl(void *arg, struct err *e)
{
	return rtnl_open(arg, e);
}

int netns_open(const char *path, struct rtnl **inner, int *fd, struct err *e)
{
	CLEANUP(fd_closep) int ns = open(path, O_RDONLY | O_CLOEXEC);

	if (ns < 0)
		return err_errno(e, errno, "open the network namespace %s", path);
	if (netns_do(ns, open_rtnl, inner, e) < 0)
		return -1;
	*fd = TAKE_FD(ns);
	return 0;
}

static int write_ipv6(void *arg, struct err *e)
{
	int rc = file_put_at(AT_FDCWD, "/proc/sys/net/ipv6/conf/default/disable_ipv6", *(const bool *)arg ? "0" : "1");

	/* A kernel without IPv6 is asked for an address next, and has its own word for that. */
	return rc < 0 && rc != -ENOENT ? err_errno(e, -rc, "switch IPv6 for a container's interface") : 0;
}

int netns_set_ipv6(int fd, bool on, struct err *e)
{
	return netns_do(fd, write_ipv6, &on, e);
}

void netns_remove(const char *path)
{
	/* Bound twice after a kill in a bad moment: until nothing is there. */
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn("net", "cannot remove %s: %s", path, strerrordesc_np(errno));
}

bool netns_is_bound(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}
