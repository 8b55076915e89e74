/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A further program in a running container.
 *
 * A process between us and the program ("stage") goes into the container's cgroups and, by a pidfd of its init, into all its namespaces,
 * then clones with CLONE_PARENT: the program's process is ours, is in the PID namespace, and was in the cgroup before its first
 * instruction. Before the namespaces are joined everything that is not needed any more is closed, and the stage is not dumpable: what
 * runs in the container can neither trace it nor look at its descriptors.
 */
#include "runtime/oci/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/oci/oci_priv.h"

struct joining {
	const struct oci_exec_opts *o;
	struct oci_state s;
	struct oci_process p;
	struct cgroups cg;
	struct seccomp_prog filter;
	int pidfd, sync[2], proc, null;
	int inner;		/* the v2 group of the container's init, when that is not the container's own; -1 */
	int flags;		/* CLONE_NEW* of the namespaces that are not ours already */
	pid_t pid;
};

static int load_filter(struct joining *j, struct err *e)
{
	struct buf b = BUF_INIT;
	size_t n;
	int r = file_read_at(j->s.dir, "seccomp.bpf", 1 << 20, &b);

	if (r == -ENOENT) {
		buf_done(&b);
		return 0;
	}
	n = b.len < sizeof(unsigned) ? 0 : (b.len - sizeof(unsigned)) / sizeof(struct sock_filter);
	if (r < 0 || !n || n > BPF_MAXINSNS) {
		buf_done(&b);
		return err_set(e, ERR_INTERNAL, "container '%s': its seccomp filter cannot be read", j->s.id);
	}
	memcpy(&j->filter.flags, b.data, sizeof(unsigned));
	j->filter.insns = mem_alloc(n * sizeof(struct sock_filter));
	memcpy(j->filter.insns, b.data + sizeof(unsigned), n * sizeof(struct sock_filter));
	j->filter.len = (unsigned short)n;
	buf_done(&b);
	return 0;
}

static int namespaces_of(struct joining *j, struct err *e)
{
	for (int k = 0; k < NS_COUNT; k++) {
		char theirs[64], ours[64];
		struct stat a, b;

		snprintf(theirs, sizeof(theirs), "/proc/%d/ns/%s", (int)j->s.pid, ns_types[k].proc);
		snprintf(ours, sizeof(ours), "/proc/self/ns/%s", ns_types[k].proc);
		if (stat(theirs, &a) < 0 || stat(ours, &b) < 0)
			return err_errno(e, errno, "look at the %s namespace of container '%s'", ns_types[k].name, j->s.id);
		if (a.st_ino != b.st_ino || a.st_dev != b.st_dev)
			j->flags |= ns_types[k].flag;
	}
	return 0;
}

static int prepare(struct joining *j, struct err *e)
{
	/* What state_status() tells, but the cgroups are opened once. */
	if (state_open(j->o->root, j->o->id, &j->s, e) < 0)
		return -1;
	if (!j->s.doc || j->s.pid <= 0)
		return err_set(e, ERR_CONFLICT, "cannot exec in a creating container (container '%s')", j->o->id);
	j->pidfd = state_pidfd(&j->s);
	if (j->pidfd < 0)
		return err_set(e, ERR_CONFLICT, "cannot exec in a stopped container (container '%s')", j->o->id);
	if (process_parse(j->o->process, &j->p, e) < 0 || load_filter(j, e) < 0 || namespaces_of(j, e) < 0 ||
	    cgroup_from_json(&j->cg, json_arr(j->s.doc, "cgroups"), e) < 0)
		return -1;
	j->inner = cgroup_v2_of(&j->cg, j->s.pid);
	if (cgroup_frozen(&j->cg))
		return err_set(e, ERR_CONFLICT, "cannot exec in a paused container (container '%s')", j->o->id);
	if (j->p.terminal != (j->o->console_socket >= 0))
		return err_set(e, ERR_INVALID, j->p.terminal ? "a terminal is asked for, but there is no console socket"
							      : "there is a console socket, but no terminal is asked for");
	j->proc = proc_open(e);
	if (j->proc < 0)
		return -1;
	j->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (j->null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, j->sync) < 0)
		return err_errno(e, errno, "prepare an exec in container '%s'", j->o->id);
	if (j->sync[1] < 3 + j->o->preserve_fds) {
		int high = fcntl(j->sync[1], F_DUPFD_CLOEXEC, 3 + j->o->preserve_fds);

		if (high < 0)
			return err_errno(e, errno, "keep %d descriptors for the program", j->o->preserve_fds);
		(void)close(j->sync[1]);
		j->sync[1] = high;
	}
	return 0;
}

static void fail(const struct joining *j, const struct err *e)
{
	(void)sync_send(j->sync[1], SYNC_ERROR, 0, e);
	_exit(1);
}

/* In all the namespaces now. */
static void program(struct joining *j)
{
	const struct oci_process *p = &j->p;
	struct rootfs r = { .fd = -1 };
	struct err e = { 0 };
	int slave = -1, tty[3];
	char *path;

	if (setsid() < 0)
		err_errno(&e, errno, "make a session");
	if (j->flags & CLONE_NEWUSER && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		err_errno(&e, errno, "become root of the container's user namespace");
	if (e.kind != ERR_NONE)
		fail(j, &e);
	if (p->terminal) {
		r.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (r.fd < 0)
			err_errno(&e, errno, "open the container's root");
		if (r.fd < 0 || rootfs_console(&r, p, j->o->console_socket, &slave, &e) < 0)
			fail(j, &e);
		(void)close(r.fd);
	}
	for (int i = 0; i < 3; i++)
		tty[i] = slave;
	if (stdio_install(p->terminal ? tty : j->o->stdio, p->terminal, j->null, &e) < 0)
		fail(j, &e);
	file_close_from(3 + j->o->preserve_fds, &j->sync[1], 1);
	for (int i = 3; i < 3 + j->o->preserve_fds; i++)
		(void)fcntl(i, F_SETFD, 0);
	/* Limits are the parent's to set, it has the rights. */
	if (sync_recv(j->sync[1], NULL, &e) != SYNC_GO)
		_exit(1);
	if (p->uid)
		stdio_own(p->uid);
	umask(022);
	if (process_chdir(p, true, &e) < 0 || process_become(p, j->filter.len && !p->no_new_privs, &e) < 0 ||
	    (p->uid && process_chdir(p, false, &e) < 0))
		fail(j, &e);
	path = process_find(p, &e);
	if (!path || seccomp_apply(&j->filter, &e) < 0)
		fail(j, &e);
	(void)process_exec(p, path, &e);
	fail(j, &e);
}

/*
 * Born in the container's group, or, when the container has given controllers to groups below and none can be in its own any more, in that of
 * its init. Never outside: limits and the device filter are on that group.
 */
static int born_inside(struct joining *j)
{
	int own = cgroup_v2_fd(&j->cg), pid, r;

	if (own < 0)
		return raw_clone(CLONE_PARENT, &own);
	pid = raw_clone_into(CLONE_PARENT, own);
	if (pid < 0 && j->inner >= 0)
		pid = raw_clone_into(CLONE_PARENT, j->inner);
	if (pid >= 0 || (errno != EINVAL && errno != E2BIG))
		return pid;
	r = file_put_at(own, "cgroup.procs", "0");	/* before Linux 5.7 */
	own = -1;
	errno = -r;
	return r < 0 ? -1 : raw_clone(CLONE_PARENT, &own);
}

static void stage(struct joining *j)
{
	int pid;
	struct err e = { 0 };

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	fd_drop(&j->sync[0]);
	if (cgroup_enter(&j->cg, 0, true, &e) < 0 || apparmor(j->proc, j->p.apparmor, &e) < 0)
		fail(j, &e);
	fd_drop(&j->proc);
	fd_drop(&j->s.dir);
	for (size_t i = 0; i < j->cg.n; i++) {
		if (!j->cg.h[i].v2)
			fd_drop(&j->cg.h[i].fd);
	}
	/* The user namespace last: what the others need, only we may do. */
	if ((j->flags & ~CLONE_NEWUSER && setns(j->pidfd, j->flags & ~CLONE_NEWUSER) < 0) ||
	    (j->flags & CLONE_NEWUSER && setns(j->pidfd, CLONE_NEWUSER) < 0)) {
		err_errno(&e, errno, "join the namespaces of container '%s'", j->o->id);
		fail(j, &e);
	}
	fd_drop(&j->pidfd);
	pid = born_inside(j);
	if (pid == 0)
		program(j);
	if (pid < 0) {
		err_errno(&e, errno, "make a process in container '%s'", j->o->id);
		fail(j, &e);
	}
	(void)sync_send(j->sync[1], SYNC_PID, pid, NULL);
	_exit(0);
}

/* The stage tells the number, then the program's end closes or speaks. Both may be quicker than the other. */
static int follow(struct joining *j, struct err *e)
{
	int64_t n;

	for (;;) {
		switch (sync_recv(j->sync[0], &n, e)) {
		case SYNC_PID:
			j->pid = (pid_t)n;
			if (process_limits(j->pid, &j->p, e) < 0 || process_oom(j->pid, &j->p, e) < 0)
				return -1;
			if (sync_send(j->sync[0], SYNC_GO, 0, NULL) < 0)
				return err_set(e, ERR_INTERNAL, "the process in container '%s' ended early", j->o->id);
			break;
		case SYNC_EOF:
			if (j->pid > 0)
				return 0;
			return err_set(e, ERR_INTERNAL, "the process that joins container '%s' ended without a word", j->o->id);
		case SYNC_ERROR:
			return -1;
		case SYNC_READY:
		case SYNC_MAP:
		case SYNC_HOOKS:
		case SYNC_GO:
			return err_set(e, ERR_INTERNAL, "the process in container '%s' spoke out of turn", j->o->id);
		}
	}
}

int oci_exec(const struct oci_exec_opts *o, pid_t *pid, struct err *e)
{
	struct joining j = { .o = o, .s = { .dir = -1 }, .pidfd = -1, .sync = { -1, -1 }, .proc = -1, .null = -1, .inner = -1 };
	int r, status, *fds[] = { &j.pidfd, &j.sync[0], &j.sync[1], &j.proc, &j.null, &j.inner };
	pid_t between = -1;

	r = prepare(&j, e);
	if (r == 0) {
		between = fork();
		if (between == 0)
			stage(&j);
		if (between < 0)
			r = err_errno(e, errno, "fork");
	}
	fd_drop(&j.sync[1]);
	if (r == 0)
		r = follow(&j, e);
	while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0 && j.pid <= 0 && between > 0) {
		int64_t n;

		/* An error may overtake the number of the process it is about. */
		for (enum sync_type t = sync_recv(j.sync[0], &n, NULL); t != SYNC_EOF; t = sync_recv(j.sync[0], &n, NULL)) {
			if (t == SYNC_PID) {
				j.pid = (pid_t)n;
				break;
			}
		}
	}
	if (r == 0)
		r = write_pid(o->pid_file, j.pid, e);
	if (r < 0 && j.pid > 0) {
		(void)kill(j.pid, SIGKILL);	/* ours, not reaped */
		while (waitpid(j.pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (r == 0)
		*pid = j.pid;
	for (size_t i = 0; i < N(fds); i++)
		fd_drop(fds[i]);
	state_done(&j.s);
	process_done(&j.p);
	cgroup_done(&j.cg);
	seccomp_done(&j.filter);
	return r;
}
