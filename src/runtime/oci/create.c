/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of making a container, and what is done with it later. */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

struct making {
	const struct oci_create_opts *o;
	struct oci_spec spec;
	struct cgroups cg;
	struct seccomp_prog filter;
	char *bundle, *root_path;
	int dir, root_tree, listener, sync[2], proc, null;
	int ns_fd[NS_COUNT];
	json_t *state, *record;
	pid_t pid;
	bool born_in_v2, have_dir;
	bool early_map;	/* it asked for its id maps before its pid was known */
};

static void making_done(struct making *m)
{
	int *fds[] = { &m->dir, &m->root_tree, &m->listener, &m->sync[0], &m->sync[1], &m->proc, &m->null };

	for (size_t i = 0; i < N(fds); i++)
		fd_drop(fds[i]);
	for (int k = 0; k < NS_COUNT; k++)
		fd_drop(&m->ns_fd[k]);
	spec_done(&m->spec);
	cgroup_done(&m->cg);
	seccomp_done(&m->filter);
	free(m->bundle);
	free(m->root_path);
	json_decref(m->state);
	json_decref(m->record);
}

int proc_open(struct err *e)
{
	struct statfs fs;
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open '/proc'");
	if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
		(void)close(fd);
		return err_set(e, ERR_INTERNAL, "'/proc' of this machine is not a proc file system");
	}
	return fd;
}

/* The runtime-spec's "state", as hooks get it. */
static json_t *state_doc(const struct making *m, const char *status)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "ociVersion", "1.2.0", "id", m->o->id, "status", status, "bundle", m->bundle);
	const json_t *notes = json_obj(m->spec.doc, "annotations");

	if (m->pid > 0)
		json_object_set_new(o, "pid", json_integer(m->pid));
	if (notes)
		json_object_set(o, "annotations", (json_t *)notes);
	return o;
}

/* What later calls have to know. Written before anything is made that outlives us, so that "delete" finds it after a kill -9. */
static int record(struct making *m, struct err *e)
{
	if (!m->record) {
		m->record = json_pack("{s:s,s:s,s:s}", "id", m->o->id, "bundle", m->bundle, "rootfs", m->root_path);
		json_object_set(m->record, "process", json_obj(m->spec.doc, "process"));
		if (m->spec.hooks)
			json_object_set(m->record, "hooks", m->spec.hooks);
		if (json_obj(m->spec.doc, "annotations"))
			json_object_set(m->record, "annotations", json_obj(m->spec.doc, "annotations"));
	}
	json_object_set_new(m->record, "cgroups", cgroup_to_json(&m->cg));
	json_object_set_new(m->record, "pid", json_integer(m->pid));
	json_object_set_new(m->record, "startTime", json_integer(m->pid ? (json_int_t)proc_start_time(m->pid) : 0));
	return state_write(m->dir, m->record, e);
}

static int listen_start(struct making *m, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/start.sock", m->dir);
	m->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (m->listener < 0 || bind(m->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(m->listener, 2) < 0)
		return err_errno(e, errno, "make the socket that starts container '%s'", m->o->id);
	return 0;
}

/* Above what the program shall inherit. */
static int lift(int *fd, int preserve, struct err *e)
{
	int high;

	if (*fd >= 3 + preserve)
		return 0;
	high = fcntl(*fd, F_DUPFD_CLOEXEC, 3 + preserve);
	if (high < 0)
		return err_errno(e, errno, "move a descriptor past the %d preserved ones", preserve);
	(void)close(*fd);
	*fd = high;
	return 0;
}

static int save_filter(const struct making *m, struct err *e)
{
	int fd, r;

	if (!m->filter.len)
		return 0;
	fd = openat(m->dir, "seccomp.bpf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "save the seccomp filter");
	r = file_write_all(fd, &m->filter.flags, sizeof(m->filter.flags));
	if (r == 0)
		r = file_write_all(fd, m->filter.insns, m->filter.len * sizeof(*m->filter.insns));
	(void)close(fd);
	return r < 0 ? err_errno(e, -r, "save the seccomp filter") : 0;
}

/* In a user namespace the container's root owns nothing of ours: what it shall open again by /dev/stdout is given to it. */
static void give_stdio(const struct making *m)
{
	const struct oci_spec *s = &m->spec;

	for (size_t i = 0; i < s->n_uids && s->ns[NS_USER]; i++) {
		if (s->process.uid < s->uids[i].inside || s->process.uid - s->uids[i].inside >= s->uids[i].size)
			continue;
		for (int k = 0; k < 3; k++) {
			struct stat st;

			if (m->o->stdio[k] < 0 || fstat(m->o->stdio[k], &st) < 0 || S_ISCHR(st.st_mode))
				continue;
			if (fchown(m->o->stdio[k], s->uids[i].outside + (s->process.uid - s->uids[i].inside), (gid_t)-1) < 0)
				continue;	/* as stdio_own() */
		}
	}
}

/* The namespaces that are there already. */
static int join_open(struct making *m, struct err *e)
{
	for (int k = 0; k < NS_COUNT; k++) {
		if (!m->spec.ns_path[k])
			continue;
		if (k == NS_NET && m->o->netns) {
			m->ns_fd[k] = m->o->netns(e);
			if (m->ns_fd[k] < 0)
				return -1;
			continue;
		}
		m->ns_fd[k] = open(m->spec.ns_path[k], O_RDONLY | O_CLOEXEC);
		if (m->ns_fd[k] < 0)
			return err_errno(e, errno, "open %s namespace '%s'", ns_types[k].name, m->spec.ns_path[k]);
	}
	return 0;
}

static int prepare(struct making *m, struct err *e)
{
	const struct oci_create_opts *o = m->o;
	CLEANUP(mem_freep) char *path = NULL;

	if (o->systemd_cgroup)
		return err_set(e, ERR_INVALID, "systemd cgroups are not supported");
	m->bundle = realpath(o->bundle, NULL);
	if (!m->bundle)
		return err_errno(e, errno, "bundle '%s'", o->bundle);
	if ((o->config ? spec_parse(o->config, &m->spec, e) : spec_load(m->bundle, &m->spec, e)) < 0 || seccomp_cached(m->spec.seccomp, o->cache, &m->filter, e) < 0)
		return -1;
	path = m->spec.root_path[0] == '/' ? mem_strdup(m->spec.root_path) : mem_printf("%s/%s", m->bundle, m->spec.root_path);
	m->root_path = realpath(path, NULL);
	if (!m->root_path)
		return err_errno(e, errno, "root file system '%s'", path);
	if (m->spec.process.terminal && o->console_socket < 0)
		return err_set(e, ERR_INVALID, "process.terminal is set, but there is no console socket");
	if (!m->spec.process.terminal && o->console_socket >= 0)
		return err_set(e, ERR_INVALID, "there is a console socket, but process.terminal is not set");
	m->proc = proc_open(e);
	m->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (m->proc < 0 || m->null < 0)
		return m->proc < 0 ? -1 : err_errno(e, errno, "open '/dev/null'");
	if (cgroup_find(&m->cg, e) < 0)
		return -1;
	m->dir = state_make(o->root, o->id, e);
	if (m->dir < 0)
		return -1;
	m->have_dir = true;
	if (cgroup_plan(&m->cg, str_empty(m->spec.cgroup) ? o->id : m->spec.cgroup, e) < 0 || record(m, e) < 0 || save_filter(m, e) < 0 || listen_start(m, e) < 0)
		return -1;
	if (cgroup_make(&m->cg, m->spec.resources, e) < 0)
		return -1;
	if (join_open(m, e) < 0 || mounts_open(&m->spec, m->bundle, &m->root_tree, e) < 0)
		return -1;
	give_stdio(m);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, m->sync) < 0)
		return err_errno(e, errno, "make a socket to the container's process");
	return lift(&m->sync[1], o->preserve_fds, e) < 0 || lift(&m->listener, o->preserve_fds, e) < 0 ? -1 : 0;
}

static void child(struct making *m, int cgroup_fd)
{
	struct init_args a = { .spec = &m->spec, .cg = &m->cg, .filter = &m->filter, .root_path = m->root_path, .root_tree = m->root_tree,
		.sync = m->sync[1], .listener = m->listener, .console_socket = m->o->console_socket, .preserve_fds = m->o->preserve_fds,
		.proc = m->proc, .null = m->null, .born_in_v2 = cgroup_fd >= 0, .state = state_doc(m, "created") };

	memcpy(a.stdio, m->o->stdio, sizeof(a.stdio));
	memcpy(a.ns_fd, m->ns_fd, sizeof(a.ns_fd));
	fd_drop(&m->sync[0]);
	init_main(&a);
}

/*
 * A process between us and the container, which joins what only its children can be in (a PID namespace) and what must be joined before
 * the rights for it are given up (everything else, when there is a user namespace). CLONE_PARENT makes the container's process our child.
 */
static void stage(struct making *m, uint64_t flags, int cgroup_fd)
{
	static const int order[] = { NS_PID, NS_NET, NS_IPC, NS_UTS, NS_CGROUP, NS_USER };
	struct err e = { 0 };
	int pid;

	for (size_t i = 0; i < N(order); i++) {
		int k = order[i];

		if (m->ns_fd[k] < 0)
			continue;
		if (setns(m->ns_fd[k], ns_types[k].flag) < 0) {
			err_errno(&e, errno, "join the %s namespace '%s'", ns_types[k].name, m->spec.ns_path[k]);
			(void)sync_send(m->sync[1], SYNC_ERROR, 0, &e);
			_exit(1);
		}
		(void)close(m->ns_fd[k]);
		m->ns_fd[k] = -1;
	}
	if (rootfs_sysctl(&(struct rootfs){ .fd = -1, .proc = m->proc }, &m->spec, true, &e) < 0) {
		(void)sync_send(m->sync[1], SYNC_ERROR, 0, &e);
		_exit(1);
	}
	pid = raw_clone(flags | CLONE_PARENT, &cgroup_fd);
	if (pid == 0)
		child(m, cgroup_fd);
	if (pid < 0) {
		err_errno(&e, errno, "make the container's process");
		(void)sync_send(m->sync[1], SYNC_ERROR, 0, &e);
	} else {
		(void)sync_send(m->sync[1], SYNC_PID, pid, NULL);
	}
	_exit(0);
}

static bool needs_stage(const struct making *m)
{
	bool path = false;

	for (int k = 0; k < NS_COUNT; k++)
		path = path || m->ns_fd[k] >= 0;
	return m->ns_fd[NS_PID] >= 0 || (path && m->spec.ns[NS_USER]);
}

static int spawn(struct making *m, struct err *e)
{
	int cgroup_fd = cgroup_v2_fd(&m->cg), status;
	uint64_t flags = 0;
	int64_t pid;
	pid_t between;

	for (int k = 0; k < NS_COUNT; k++) {
		if (m->spec.ns[k] && !m->spec.ns_path[k] && k != NS_CGROUP)
			flags |= (uint64_t)ns_types[k].flag;
	}
	if (!needs_stage(m)) {
		m->pid = raw_clone(flags, &cgroup_fd);
		if (m->pid == 0)
			child(m, cgroup_fd);
		if (m->pid < 0)
			return err_errno(e, errno, "make the container's process");
		m->born_in_v2 = cgroup_fd >= 0;
		return 0;
	}
	between = fork();
	if (between == 0) {
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		stage(m, flags, cgroup_fd);
	}
	if (between < 0)
		return err_errno(e, errno, "fork");
	m->born_in_v2 = false;	/* not known here; entering twice harms nothing */
	for (;;) {
		enum sync_type t = sync_recv(m->sync[0], &pid, e);

		if (t == SYNC_PID) {
			m->pid = (pid_t)pid;
			break;
		}
		if (t == SYNC_MAP) {	/* it was quicker than the stage: answered when its number is known */
			m->early_map = true;
			continue;
		}
		if (t != SYNC_ERROR)
			err_set(e, ERR_INTERNAL, "the process that joins the container's namespaces ended without a word");
		break;
	}
	fd_drop(&m->sync[1]);
	while (waitpid(between, &status, 0) < 0 && errno == EINTR)
		;
	return m->pid > 0 ? 0 : -1;
}

static int answer_map(struct making *m, struct err *e)
{
	if (write_id_maps(m->pid, &m->spec, e) < 0 || cgroup_enter(&m->cg, m->pid, m->born_in_v2, e) < 0)
		return -1;
	return sync_send(m->sync[0], SYNC_GO, 0, NULL) < 0 ? err_set(e, ERR_INTERNAL, "the container's process ended early") : 0;
}

static int runtime_hooks(struct making *m, struct err *e)
{
	json_t *state = state_doc(m, "creating");
	int r = hooks_run(m->spec.hooks, "prestart", state, e) < 0 || hooks_run(m->spec.hooks, "createRuntime", state, e) < 0;

	json_decref(state);
	if (r)
		return -1;
	return sync_send(m->sync[0], SYNC_GO, 0, NULL) < 0 ? err_set(e, ERR_INTERNAL, "the container's process ended early") : 0;
}

static int died(struct making *m, struct err *e)
{
	int status;

	while (waitpid(m->pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_set(e, ERR_INTERNAL, "the container's process ended while it was being set up");
	}
	m->pid = -1;
	if (WIFSIGNALED(status))
		return err_set(e, ERR_INTERNAL, "the container's process was ended by signal %d while it was being set up%s", WTERMSIG(status),
			       WTERMSIG(status) == SIGKILL ? " (its memory limit may be too low)" : "");
	return err_set(e, ERR_INTERNAL, "the container's process ended with status %d while it was being set up", WEXITSTATUS(status));
}

static int accompany(struct making *m, struct err *e)
{
	fd_drop(&m->sync[1]);
	if (m->spec.ns[NS_USER] && m->spec.ns_path[NS_USER] && cgroup_enter(&m->cg, m->pid, false, e) < 0)
		return -1;
	if (process_oom(m->pid, &m->spec.process, e) < 0 || record(m, e) < 0 || (m->early_map && answer_map(m, e) < 0))
		return -1;
	for (;;) {
		switch (sync_recv(m->sync[0], NULL, e)) {
		case SYNC_MAP:
			if (answer_map(m, e) < 0)
				return -1;
			break;
		case SYNC_HOOKS:
			if (runtime_hooks(m, e) < 0)
				return -1;
			break;
		case SYNC_READY:
			return process_limits(m->pid, &m->spec.process, e);
		case SYNC_ERROR:
			return -1;
		case SYNC_EOF:
			return died(m, e);
		case SYNC_GO:
		case SYNC_PID:
			return err_set(e, ERR_INTERNAL, "the container's process spoke out of turn");
		}
	}
}

int write_pid(const char *path, pid_t pid, struct err *e)
{
	CLEANUP(mem_freep) char *tmp = NULL;
	char word[16];
	int fd, r;

	if (!path)
		return 0;
	tmp = mem_printf("%s.new", path);
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(e, errno, "write '%s'", path);
	snprintf(word, sizeof(word), "%d", (int)pid);
	r = file_write_all(fd, word, strlen(word));
	(void)close(fd);
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(tmp);
	return r < 0 ? err_errno(e, -r, "write '%s'", path) : 0;
}

static void undo(struct making *m)
{
	int status;

	if (m->pid > 0) {
		(void)kill(m->pid, SIGKILL);	/* our own child, not reaped yet */
		while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	(void)cgroup_kill(&m->cg, SIGKILL, NULL);
	(void)cgroup_remove(&m->cg, NULL);
	if (m->have_dir)
		(void)state_remove(m->o->root, m->o->id, NULL);
}

int oci_create(const struct oci_create_opts *o, pid_t *pid, struct err *e)
{
	struct making m = { .o = o, .dir = -1, .root_tree = -1, .listener = -1, .sync = { -1, -1 }, .proc = -1, .null = -1 };
	int r;

	for (int k = 0; k < NS_COUNT; k++)
		m.ns_fd[k] = -1;
	r = prepare(&m, e) < 0 || spawn(&m, e) < 0 || accompany(&m, e) < 0 || write_pid(o->pid_file, m.pid, e) < 0 ? -1 : 0;
	if (r < 0)
		undo(&m);
	else
		*pid = m.pid;
	making_done(&m);
	return r;
}
