/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done with a container that was created. */
#include "runtime/oci/oci_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/oci/exec.h"

static json_t *state_of(const struct oci_state *s)
{
	const char *status = state_status(s);
	json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "ociVersion", "1.2.0", "id", s->id, "status", status, "bundle", s->bundle ? s->bundle : "");

	if (!str_eq(status, "stopped") && s->pid > 0)
		json_object_set_new(o, "pid", json_integer(s->pid));
	else if (str_eq(status, "stopped"))
		json_object_set_new(o, "pid", json_integer(0));
	if (json_obj(s->doc, "annotations"))
		json_object_set(o, "annotations", json_obj(s->doc, "annotations"));
	return o;
}

json_t *oci_state(const char *root, const char *id, struct err *e)
{
	struct oci_state s;
	json_t *o;

	if (state_open(root, id, &s, e) < 0)
		return NULL;
	o = state_of(&s);
	state_done(&s);
	return o;
}

static int connect_start(const struct oci_state *s, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, r;

	/* Whoever renames it is the one that starts. */
	if (renameat(s->dir, "start.sock", s->dir, "starting.sock") < 0)
		return err_set(e, ERR_CONFLICT, "cannot start a container in the %s state", state_status(s));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/starting.sock", s->dir);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	r = fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	(void)unlinkat(s->dir, "starting.sock", 0);
	if (r < 0) {
		fd_drop(&fd);
		if (r == -ECONNREFUSED)
			return err_set(e, ERR_CONFLICT, "container '%s' has ended before it was started", s->id);
		return err_errno(e, -r, "start container '%s'", s->id);
	}
	return fd;
}

int oci_start(const char *root, const char *id, struct err *e)
{
	CLEANUP(fd_closep) int fd = -1;
	struct oci_state s;
	json_t *o;
	int r = -1;

	if (state_open(root, id, &s, e) < 0)
		return -1;
	if (!str_eq(state_status(&s), "created")) {
		err_set(e, ERR_CONFLICT, "cannot start a container in the %s state", state_status(&s));
		goto out;
	}
	fd = connect_start(&s, e);
	if (fd < 0)
		goto out;
	/* exec closes the other end; an error comes as a message before. */
	if (sync_recv(fd, NULL, e) == SYNC_ERROR)
		goto out;
	r = 0;
	if (json_arr(json_obj(s.doc, "hooks"), "poststart")) {
		o = state_of(&s);
		(void)hooks_run(json_obj(s.doc, "hooks"), "poststart", o, e);	/* the spec: a warning, the container goes on */
		json_decref(o);
	}
out:
	state_done(&s);
	return r;
}

static int signal_init(const struct oci_state *s, int signo)
{
	int fd = state_pidfd(s), r;

	if (fd < 0)
		return fd;
	r = syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

int oci_kill(const char *root, const char *id, int signo, bool all, struct err *e)
{
	struct oci_state s;
	struct cgroups c;
	int r;

	if (state_open(root, id, &s, e) < 0)
		return -1;
	if (all) {
		r = cgroup_from_json(&c, json_arr(s.doc, "cgroups"), e);
		if (r == 0)
			r = cgroup_kill(&c, signo, e);
		cgroup_done(&c);
	} else {
		r = signal_init(&s, signo);
		if (r == -ESRCH)
			r = err_set(e, ERR_NOT_FOUND, "container '%s' is not running", id);
		else if (r < 0)
			r = err_errno(e, -r, "send signal %d to container '%s'", signo, id);
	}
	state_done(&s);
	return r;
}

/* Its init may be our own child (a zombie that only we can reap) or not; it is gone when its pidfd says so. */
static int wait_gone(const struct oci_state *s, struct err *e)
{
	CLEANUP(fd_closep) int fd = state_pidfd(s);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	if (fd < 0)
		return 0;
	do
		r = poll(&p, 1, 10000);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : err_set(e, ERR_UNAVAILABLE, "the process %d of container '%s' does not end", (int)s->pid, s->id);
}

int oci_delete(const char *root, const char *id, bool force, struct err *e)
{
	struct oci_state s;
	struct cgroups c;
	const char *status;
	json_t *o;
	int r;

	if (state_open(root, id, &s, e) < 0)
		return -1;
	status = state_status(&s);
	if (!force && !str_eq(status, "stopped") && !str_eq(status, "created")) {
		r = err_set(e, ERR_CONFLICT, "cannot delete container '%s' that is not stopped: %s", id, status);
		goto out;
	}
	if (!str_eq(status, "stopped"))
		(void)signal_init(&s, SIGKILL);
	r = cgroup_from_json(&c, json_arr(s.doc, "cgroups"), e);
	if (r == 0)
		r = cgroup_kill(&c, SIGKILL, e);
	if (r == 0)
		r = wait_gone(&s, e);
	if (r == 0)
		r = cgroup_remove(&c, e);
	cgroup_done(&c);
	if (r < 0)
		goto out;
	r = state_remove(root, id, e);
	if (json_arr(json_obj(s.doc, "hooks"), "poststop")) {
		o = state_of(&s);
		(void)hooks_run(json_obj(s.doc, "hooks"), "poststop", o, NULL);	/* the container is gone either way */
		json_decref(o);
	}
out:
	state_done(&s);
	return r;
}

bool oci_delete_quick(const char *root, const char *id)
{
	struct oci_state s;
	struct cgroups c;
	bool ok;

	if (state_open(root, id, &s, NULL) < 0)
		return false;
	ok = !json_arr(json_obj(s.doc, "hooks"), "poststop") && str_eq(state_status(&s), "stopped");
	if (cgroup_from_json(&c, json_arr(s.doc, "cgroups"), NULL) < 0)
		ok = false;
	ok = ok && cgroup_empty(&c) && cgroup_remove_quick(&c) && state_remove(root, id, NULL) == 0;
	cgroup_done(&c);
	state_done(&s);
	return ok;
}

int oci_pause(const char *root, const char *id, bool paused, struct err *e)
{
	struct oci_state s;
	struct cgroups c;
	int r;

	if (state_open(root, id, &s, e) < 0)
		return -1;
	r = cgroup_from_json(&c, json_arr(s.doc, "cgroups"), e);
	if (r == 0)
		r = cgroup_freeze(&c, paused, e);
	cgroup_done(&c);
	state_done(&s);
	return r;
}

int oci_update(const char *root, const char *id, const json_t *resources, struct err *e)
{
	struct oci_state s;
	struct cgroups c;
	int r;

	if (state_open(root, id, &s, e) < 0)
		return -1;
	r = cgroup_from_json(&c, json_arr(s.doc, "cgroups"), e);
	if (r == 0)
		r = cgroup_missing(&c, resources, e);
	for (size_t i = 0; r == 0 && i < c.n; i++) {
		if (c.h[i].fd >= 0)
			r = cgroup_update_limits(&c.h[i], resources, e);
	}
	cgroup_done(&c);
	state_done(&s);
	return r;
}

json_t *oci_ps(const char *root, const char *id, struct err *e)
{
	struct oci_state s;
	struct cgroups c;
	json_t *arr;

	if (state_open(root, id, &s, e) < 0)
		return NULL;
	arr = json_array();
	if (cgroup_from_json(&c, json_arr(s.doc, "cgroups"), e) == 0)
		cgroup_pids(&c, arr);
	cgroup_done(&c);
	state_done(&s);
	return arr;
}

json_t *oci_list(const char *root, struct err *e)
{
	DIR *dir = opendir(root);
	json_t *arr = json_array();
	struct dirent *d;

	if (!dir && errno != ENOENT) {
		json_decref(arr);
		err_errno(e, errno, "open state directory '%s'", root);
		return NULL;
	}
	while (dir && (d = readdir(dir))) {
		json_t *o = id_ok(d->d_name) ? oci_state(root, d->d_name, NULL) : NULL;

		if (o)
			json_array_append_new(arr, o);
	}
	if (dir)
		closedir(dir);
	return arr;
}

json_t *oci_features(void)
{
	static const char *const hooks[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop" };
	static const char *const actions[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
		"SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP" };
	static const char *const ops[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE" };
	static const char *const archs[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64" };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC" };
	json_t *h = json_array(), *ns = json_array(), *caps = json_array(), *act = json_array(), *op = json_array(), *arch = json_array(),
	       *flag = json_array();
	uint64_t all = cap_all();

	for (size_t i = 0; i < N(hooks); i++)
		json_array_append_new(h, json_string(hooks[i]));
	for (int k = 0; k < NS_COUNT; k++)
		json_array_append_new(ns, json_string(ns_types[k].name));
	for (int n = 0; n < 64 && cap_word(n); n++) {
		if (all >> n & 1)
			json_array_append_new(caps, json_string(cap_word(n)));
	}
	for (size_t i = 0; i < N(actions); i++)
		json_array_append_new(act, json_string(actions[i]));
	for (size_t i = 0; i < N(ops); i++)
		json_array_append_new(op, json_string(ops[i]));
	for (size_t i = 0; i < N(archs); i++)
		json_array_append_new(arch, json_string(archs[i]));
	for (size_t i = 0; i < N(flags); i++)
		json_array_append_new(flag, json_string(flags[i]));
	return json_pack("{s:s,s:s,s:o,s:o,s:{s:o,s:o,s:{s:b,s:b,s:b,s:b},s:{s:b,s:o,s:o,s:o,s:o},s:{s:b},s:{s:b},s:{s:b}}}",
			 "ociVersionMin", "1.0.0", "ociVersionMax", "1.2.0", "hooks", h, "mountOptions", mount_words(), "linux", "namespaces", ns,
			 "capabilities", caps, "cgroup", "v1", 1, "v2", 1, "systemd", 0, "systemdUser", 0, "seccomp", "enabled", 1, "actions", act,
			 "operators", op, "archs", arch, "supportedFlags", flag, "apparmor", "enabled", 1, "selinux", "enabled", 0, "intelRdt",
			 "enabled", 0);
}

json_t *oci_process_of(const char *root, const char *id, struct err *e)
{
	struct oci_state s;
	json_t *p;

	if (state_open(root, id, &s, e) < 0)
		return NULL;
	p = json_deep_copy(json_obj(s.doc, "process"));
	state_done(&s);
	if (!p)
		err_set(e, ERR_CONFLICT, "container '%s' is still being created", id);
	return p;
}
