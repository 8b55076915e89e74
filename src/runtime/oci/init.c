/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's first process, from clone to exec.
 *
 *	born (new namespaces, v2 cgroup) -> [MAP: waits for its id maps] -> own v1 cgroups, cgroup namespace, joined namespaces
 *	-> mounts below the root's handle -> [HOOKS] -> pivot_root -> stdio, directory, user, capabilities -> READY
 *	-> accept() on start.sock -> seccomp -> exec; the connection closes by itself (success) or carries the error's text
 *
 * Loading a filter takes 0.3 ms: where it lets through what is left to do before it, it is loaded behind READY already, while the word of that goes round.
 *
 * An error anywhere before READY goes to the parent as text; if the parent is gone, so are we.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

static int ask(struct init_args *a, enum sync_type t, struct err *e)
{
	if (sync_send(a->sync, t, 0, NULL) < 0 || sync_recv(a->sync, NULL, e) != SYNC_GO)
		return err_set(e, ERR_INTERNAL, "the runtime that made this container ended");
	return 0;
}

static int user_namespace(struct init_args *a, struct err *e)
{
	const struct oci_spec *s = a->spec;

	if (!s->ns[NS_USER])
		return 0;
	if (!s->ns_path[NS_USER] && ask(a, SYNC_MAP, e) < 0)
		return -1;
	(void)setgroups(0, NULL);	/* may be denied there */
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_errno(e, errno, "become root of the container's user namespace");
	return 0;
}

static int namespaces(struct init_args *a, struct err *e)
{
	const struct oci_spec *s = a->spec;

	for (int k = 0; k < NS_COUNT; k++) {
		if (a->ns_fd[k] >= 0 && setns(a->ns_fd[k], ns_types[k].flag) < 0)
			return err_errno(e, errno, "join the %s namespace '%s'", ns_types[k].name, s->ns_path[k]);
	}
	if (s->ns[NS_CGROUP] && !s->ns_path[NS_CGROUP] && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "make a cgroup namespace");
	if (s->ns[NS_NET] && !s->ns_path[NS_NET] && loopback_up(e) < 0)
		return -1;
	if (!str_empty(s->hostname) && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_errno(e, errno, "set the host name '%s'", s->hostname);
	if (!str_empty(s->domainname) && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_errno(e, errno, "set the domain name '%s'", s->domainname);
	return 0;
}

/* Pipes and files the program may want to open again through /dev/stdout: they have to be its own. */
void stdio_own(uid_t uid)
{
	struct stat st;

	for (int i = 0; i < 3; i++) {
		if (fstat(i, &st) < 0 || st.st_uid == uid || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(i, uid, (gid_t)-1) < 0)
			continue;	/* a read-only file system, a stranger's file: nothing is lost but the convenience */
	}
}

/* fds: what becomes 0, 1 and 2. -1: null. */
int stdio_install(const int fds[3], bool terminal, int null, struct err *e)
{
	int high[3];

	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(fds[i] < 0 ? null : fds[i], F_DUPFD_CLOEXEC, 3);
		if (high[i] < 0)
			return err_errno(e, errno, "keep descriptor %d for the container", fds[i]);
	}
	for (int i = 0; i < 3; i++) {
		if (dup2(high[i], i) < 0)
			return err_errno(e, errno, "install descriptor %d", i);
		(void)close(high[i]);
	}
	if (terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		return err_errno(e, errno, "make the terminal the controlling one");
	return 0;
}

int apparmor(int proc, const char *profile, struct err *e)
{
	CLEANUP(mem_freep) char *word = NULL;
	char on[4];
	int r;

	if (str_empty(profile) || str_eq(profile, "unconfined"))
		return 0;
	if (file_read_line("/sys/module/apparmor/parameters/enabled", on, sizeof(on)) < 0 || on[0] != 'Y')
		return err_set(e, ERR_INVALID, "process.apparmorProfile '%s': this kernel has no AppArmor", profile);
	word = mem_printf("exec %s", profile);
	r = file_put_at(proc, "self/attr/apparmor/exec", word);
	return r < 0 ? err_errno(e, -r, "change to AppArmor profile '%s'", profile) : 0;
}

static int file_system(struct init_args *a, int *slave, struct err *e)
{
	const struct oci_spec *s = a->spec;
	struct rootfs r = { .fd = -1, .proc = a->proc, .userns = s->ns[NS_USER], .cg = a->cg };

	if (rootfs_attach(&r, a->root_path, a->root_tree, e) < 0 || rootfs_mounts(&r, s, e) < 0 || rootfs_devices(&r, s, e) < 0 ||
	    rootfs_sysctl(&r, s, false, e) < 0)
		return -1;
	if (s->process.terminal && rootfs_console(&r, &s->process, a->console_socket, slave, e) < 0)
		return -1;
	if (s->process.terminal && rootfs_bind_console(&r, *slave, e) < 0)
		return -1;
	/* AppArmor's word is written through the host's procfs as well, while /sys can still be asked. */
	if (apparmor(a->proc, s->process.apparmor, e) < 0)
		return -1;
	if ((json_arr(s->hooks, "prestart") || json_arr(s->hooks, "createRuntime")) && ask(a, SYNC_HOOKS, e) < 0)
		return -1;
	if (hooks_run(s->hooks, "createContainer", a->state, e) < 0 || rootfs_protect(&r, s, e) < 0)
		return -1;
	return rootfs_enter(&r, s, e);
}

/* The last steps before READY, in the container's own tree. */
static char *prepare(struct init_args *a, int slave, struct err *e)
{
	const struct oci_spec *s = a->spec;
	const struct oci_process *p = &s->process;
	int keep[2] = { a->sync, a->listener }, tty[3] = { slave, slave, slave };

	if (stdio_install(p->terminal ? tty : a->stdio, p->terminal, a->null, e) < 0)
		return NULL;
	/* Nothing of ours or of whoever started us goes any further: 0 to 2, what was asked for, and the two that close on exec. */
	file_close_from(3 + a->preserve_fds, keep, N(keep));
	for (int i = 3; i < 3 + a->preserve_fds; i++)
		(void)fcntl(i, F_SETFD, 0);	/* one that is not open stays so */
	if (p->uid)
		stdio_own(p->uid);
	if (process_chdir(p, true, e) < 0)
		return NULL;
	if (s->has_personality && personality(s->personality) < 0) {
		err_errno(e, errno, "set the personality");
		return NULL;
	}
	umask(022);
	if (process_become(p, a->filter->len && !p->no_new_privs, e) < 0)
		return NULL;
	/* The working directory must be reachable for the user, not only for root. */
	if (p->uid && process_chdir(p, false, e) < 0)
		return NULL;
	return process_find(p, e);
}

static void fail(int fd, const struct err *e)
{
	(void)sync_send(fd, SYNC_ERROR, 0, e);
	_exit(1);
}

void init_main(struct init_args *a)
{
	struct err e = { 0 };
	int slave = -1, conn;
	bool early;
	char *path;

	umask(0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setsid() < 0 && errno != EPERM)
		err_errno(&e, errno, "make a session");
	if (e.kind != ERR_NONE || user_namespace(a, &e) < 0)
		fail(a->sync, &e);
	if (!a->spec->ns[NS_USER] && cgroup_enter(a->cg, 0, a->born_in_v2, &e) < 0)
		fail(a->sync, &e);
	if (namespaces(a, &e) < 0 || file_system(a, &slave, &e) < 0)
		fail(a->sync, &e);
	path = prepare(a, slave, &e);
	if (!path)
		fail(a->sync, &e);
	if (sync_send(a->sync, SYNC_READY, 0, NULL) < 0)
		_exit(1);
	(void)close(a->sync);
	early = !json_array_size(json_arr(a->spec->hooks, "startContainer")) && seccomp_allows(a->filter, SYS_accept4) && seccomp_allows(a->filter, SYS_close);
	if (early)
		(void)seccomp_apply(a->filter, &e);	/* told when somebody listens */
	do
		conn = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
	while (conn < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (conn < 0)
		_exit(1);
	(void)close(a->listener);
	if (e.kind != ERR_NONE || hooks_run(a->spec->hooks, "startContainer", a->state, &e) < 0 || (!early && seccomp_apply(a->filter, &e) < 0))
		fail(conn, &e);
	if (str_eq(json_str(json_obj(a->spec->doc, "annotations"), "kedge.init", ""), "true") && reaper_start(conn, a->spec->process.argv, &e) < 0)
		fail(conn, &e);
	(void)process_exec(&a->spec->process, path, &e);
	fail(conn, &e);
	__builtin_unreachable();
}
