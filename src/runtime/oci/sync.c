/* SPDX-License-Identifier: Apache-2.0 */
/* What parent and child tell each other while a container is made, and the kernel calls around a child in new namespaces. */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/file.h"

int sync_send(int fd, enum sync_type t, int64_t v, const struct err *e)
{
	struct sync_msg m = { .type = (int)t, .v = v };
	size_t n = offsetof(struct sync_msg, text) + 1;
	ssize_t r;

	if (e) {
		m.kind = e->kind;
		m.sys = e->sys;
		memcpy(m.text, e->msg, sizeof(m.text));
		m.text[sizeof(m.text) - 1] = 0;
		n += strlen(m.text);
	}
	do
		r = send(fd, &m, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

enum sync_type sync_recv(int fd, int64_t *v, struct err *e)
{
	struct sync_msg m = { 0 };
	ssize_t r;

	do
		r = recv(fd, &m, sizeof(m), 0);
	while (r < 0 && errno == EINTR);
	if (r < (ssize_t)offsetof(struct sync_msg, text))
		return SYNC_EOF;
	m.text[sizeof(m.text) - 1] = 0;
	if (v)
		*v = m.v;
	if (m.type == SYNC_ERROR) {
		(void)err_set(e, m.kind > ERR_NONE && m.kind < ERR_KIND_COUNT ? (enum err_kind)m.kind : ERR_INTERNAL, "%s", m.text);
		if (e)
			e->sys = m.sys;
	}
	return (enum sync_type)m.type;
}

/* fork() with flags, born in a v2 cgroup (Linux 5.7). -1: errno is set. */
int raw_clone_into(uint64_t flags, int cgroup_fd)
{
	struct clone_args a = { .flags = flags | CLONE_INTO_CGROUP, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, .cgroup = (uint64_t)cgroup_fd };

	return (int)syscall(SYS_clone3, &a, sizeof(a));
}

/* fork() with flags. -1: errno is set. A cgroup_fd that the kernel does not take is left out and *cgroup_fd becomes -1. */
int raw_clone(uint64_t flags, int *cgroup_fd)
{
	struct clone_args a = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };
	int pid;

	if (*cgroup_fd >= 0) {
		pid = raw_clone_into(flags, *cgroup_fd);
		if (pid >= 0 || (errno != EINVAL && errno != EOPNOTSUPP && errno != E2BIG && errno != EBUSY && errno != EACCES))
			return pid;
		*cgroup_fd = -1;
	}
	return (int)syscall(SYS_clone3, &a, sizeof(a));
}

int loopback_up(struct err *e)
{
	CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return err_errno(e, errno, "look at the loopback interface");
	r.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? err_errno(e, errno, "bring the loopback interface up") : 0;
}

static int write_map(pid_t pid, const char *file, const struct oci_idmap *m, size_t n, struct err *e)
{
	struct buf b = BUF_INIT;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%u %u %u\n", m[i].inside, m[i].outside, m[i].size);
	r = file_put_at(AT_FDCWD, path, b.data);
	buf_done(&b);
	return r < 0 ? err_errno(e, -r, "write the %s of the container's user namespace", file) : 0;
}

int write_id_maps(pid_t pid, const struct oci_spec *s, struct err *e)
{
	return write_map(pid, "uid_map", s->uids, s->n_uids, e) < 0 ? -1 : write_map(pid, "gid_map", s->gids, s->n_gids, e);
}
