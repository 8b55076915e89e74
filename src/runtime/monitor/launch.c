/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and unmaking a container: what the monitor prepares itself (run directory, log, pipes, mount namespace), and what its helper
 * processes do (overlay, OCI create, start, delete).
 *
 * The overlay is mounted in the monitor's own mount namespace, and nowhere else: when the monitor and the container's processes are gone,
 * however they went, the kernel takes the mount away with the namespace, and the host never had it. The namespace is a slave of the
 * host's: volumes mounted on the host later can still appear in rslave binds, and what the host unmounts does not stay busy here.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/monitor_priv.h"
#include "runtime/oci/oci.h"

int launch_parse(struct launch *a, const char *p, size_t n, struct err *e)
{
	const char *w, *v;
	size_t at = 0;
	uint64_t num;

	*a = (struct launch){ .id = pm_word(p, n, "id"), .bundle = pm_word(p, n, "bundle"), .run_dir = pm_word(p, n, "run_dir"),
		.upper = pm_word(p, n, "upper"), .work = pm_word(p, n, "work"), .runtime = pm_word(p, n, "runtime"),
		.cgroup = pm_word(p, n, "cgroup"), .cache = pm_word(p, n, "cache"),
		.log_driver = pm_word(p, n, "log.driver"), .log_path = pm_word(p, n, "log.path") };
	if (!a->id || !a->bundle || !a->run_dir)
		return err_set(e, ERR_INVALID, "launch of a container without id, bundle or run_dir");
	while ((w = pm_next(p, n, &at))) {
		if (!str_starts(w, "lower="))
			continue;
		if (a->n_lowers == N(a->lowers))
			return err_set(e, ERR_INVALID, "container %.12s has more than %zu image layers", a->id, N(a->lowers));
		a->lowers[a->n_lowers++] = w + 6;
	}
	a->tty = pm_word(p, n, "tty") != NULL;
	a->stdin_open = pm_word(p, n, "stdin_open") != NULL;
	a->stdin_once = pm_word(p, n, "stdin_once") != NULL;
	a->late_net = pm_word(p, n, "late_net") != NULL;
	v = pm_word(p, n, "log.max_size");
	if (v && str_to_u64(v, 0, UINT64_MAX, &a->log_max) < 0)
		return err_set(e, ERR_INVALID, "log size '%s' is not a number of bytes", v);
	v = pm_word(p, n, "log.max_files");
	if (v && str_to_u64(v, 0, 1000, &num) < 0)
		return err_set(e, ERR_INVALID, "number of log files '%s' is not from 0 to 1000", v);
	a->log_files = v ? (unsigned)num : 1;
	a->log_compress = pm_word(p, n, "log.compress") != NULL;
	a->log_attrs = pm_word(p, n, "log.attrs");
	if (a->log_attrs && strlen(a->log_attrs) > LOGFILE_ATTRS)
		return err_set(e, ERR_INVALID, "the labels and variables for the log take more than %d bytes", LOGFILE_ATTRS);
	v = pm_word(p, n, "log.facility");
	if (v && str_to_u64(v, 0, 23, &num) < 0)
		return err_set(e, ERR_INVALID, "syslog facility '%s' is not from 0 to 23", v);
	a->ship = (struct ship_args){ .kind = pm_word(p, n, "log.ship"), .address = pm_word(p, n, "log.address"), .format = pm_word(p, n, "log.format"),
		.host = pm_word(p, n, "log.host"), .tag = pm_word(p, n, "log.tag"), .facility = v ? (int)num : 3, .fields = a->ship_fields };
	at = 0;
	for (size_t k = 0; (w = pm_next(p, n, &at)) && k + 1 < N(a->ship_fields);) {
		if (str_starts(w, "log.field="))
			a->ship_fields[k++] = w + 10;
	}
	if (str_eq(a->log_driver, "json-file") ? !a->log_path : !str_eq(a->log_driver, "none"))
		return err_set(e, ERR_INVALID, "log driver '%s' is not known to the monitor, or its path is missing",
			       a->log_driver ? a->log_driver : "");
	return 0;
}

static int listen_at(struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	/* By handle: the path itself may well be longer than the 107 bytes a socket address has. */
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/monitor.sock", mon.run_fd);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "make the monitor's socket");
	(void)unlinkat(mon.run_fd, "monitor.sock", 0);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fchmodat(mon.run_fd, "monitor.sock", 0600, 0) < 0 || listen(fd, 8) < 0) {
		int saved = errno;

		(void)close(fd);
		return err_errno(e, saved, "listen on '%s/monitor.sock'", mon.a.run_dir);
	}
	mon.listener = fd;
	return 0;
}

/* <run_dir>/launch: from now on there may be something to clean up, should this process be killed. */
static int write_launch(struct err *e)
{
	struct buf b = BUF_INIT;
	const char *path = getenv("KEDGE_RUNTIME_EXE");	/* runtime/oci/self.h: what runs is a view of it that has no path */
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	buf_add(&b, mon.words, mon.words_len);
	exe[n > 0 ? n : 0] = 0;
	pm_put(&b, "exe", path ? path : exe);
	r = mon_put_file("launch", b.data, b.len);
	buf_done(&b);
	return r < 0 ? err_errno(e, -r, "write '%s/launch'", mon.a.run_dir) : 0;
}

/* Started before it was known for which container. */
static void become_its(void)
{
	int log = openat(mon.run_fd, "monitor.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (log >= 0) {
		(void)dup2(log, STDERR_FILENO);
		(void)close(log);
	}
	if (mon.dir_word && mon.dir_word[0] == ' ')
		memcpy(mon.dir_word, mon.a.run_dir, strnlen(mon.a.run_dir, strlen(mon.dir_word)));
}

int launch_prepare(struct err *e)
{
	static char room[LOGFILE_ROOM];
	char lock[1100];
	int pair[2];

	mon.run_fd = open(mon.a.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mon.run_fd < 0)
		return err_errno(e, errno, "open run directory '%s'", mon.a.run_dir);
	become_its();
	if ((size_t)snprintf(mon.root, sizeof(mon.root), "%s/oci", mon.a.run_dir) >= sizeof(mon.root))
		return err_set(e, ERR_INVALID, "run directory '%s' is longer than %zu bytes", mon.a.run_dir, sizeof(mon.root) - 5);
	snprintf(lock, sizeof(lock), "%s/lock", mon.a.run_dir);
	mon.lock = file_lock(lock);
	if (mon.lock < 0)
		return err_set(e, ERR_CONFLICT, "run directory '%s' has a monitor already, or its lock failed: %s", mon.a.run_dir,
			       strerror(-mon.lock));
	(void)unlinkat(mon.run_fd, "exit", 0);		/* of the run before, should the directory have been kept */
	(void)unlinkat(mon.run_fd, "state", 0);
	if (write_launch(e) < 0)
		return -1;
	if (str_eq(mon.a.log_driver, "json-file")) {
		if (logfile_open(&mon.log, mon.a.log_path, mon.a.log_max, mon.a.log_files, room, e) < 0)
			return -1;
		mon.log.compress = mon.a.log_compress;
		mon.log.attrs = mon.a.log_attrs;
		mon.main.log = &mon.log;
	}
	if (mon.a.ship.kind) {
		mon.a.ship.fields = mon.a.ship_fields;	/* mon.a was copied into its place */
		mon.main.log = &mon.log;
		ship_open(&mon.a.ship);
	}
	mon.host_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (mon.host_ns < 0)
		return err_errno(e, errno, "open the host's mount namespace");
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(e, errno, "make a mount namespace for container %.12s", mon.a.id);
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(e, errno, "make the monitor's mounts slaves of the host's");
	if (proc_stdio(&mon.main, mon.a.tty, mon.a.stdin_open, e) < 0)
		return -1;
	mon.main.stdin_once = mon.a.stdin_once;
	if (mon.a.tty) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return err_errno(e, errno, "make a socket for the terminal");
		mon.console = pair[0];
		mon.console_child = pair[1];
	}
	return listen_at(e);
}

/* Appends "/proc/self/fd/N" for a directory: whatever characters its path has, and however many layers, the options stay short. */
static int add_dir(struct buf *opt, const char *before, const char *path, struct err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open '%s' for the root file system", path);
	buf_printf(opt, "%s/proc/self/fd/%d", before, fd);	/* the helper ends soon: no close */
	return 0;
}

static int mount_rootfs(const char *at, struct err *e)
{
	const struct launch *a = &mon.a;
	struct buf opt = BUF_INIT;
	int r = -1;

	if (a->n_lowers == 1 && !a->upper) {
		if (mount(a->lowers[0], at, NULL, MS_BIND, NULL) < 0)
			return err_errno(e, errno, "mount '%s' on '%s'", a->lowers[0], at);
		return 0;
	}
	for (size_t i = a->n_lowers; i > 0; i--) {
		if (add_dir(&opt, i == a->n_lowers ? "lowerdir=" : ":", a->lowers[i - 1], e) < 0)
			goto out;
	}
	if (a->upper && (add_dir(&opt, ",upperdir=", a->upper, e) < 0 || add_dir(&opt, ",workdir=", a->work ? a->work : "", e) < 0))
		goto out;
	/* A diff of upper must be a diff: no redirects, no metadata-only copies, whatever the kernel's default is. */
	buf_adds(&opt, ",index=off,redirect_dir=off,metacopy=off");
	if (opt.len >= 4096) {
		err_set(e, ERR_INVALID, "%zu image layers do not fit into the overlay's mount options", a->n_lowers);
		goto out;
	}
	r = idmap_mount(a, at, opt.data);
	if (r < 0) {
		int first = -r;

		r = -1;
		*strstr(opt.data, ",index=off") = 0;	/* Linux before 4.19 does not know all three */
		if (idmap_mount(a, at, opt.data) < 0) {
			err_errno(e, first, "mount overlay on '%s'", at);
			goto out;
		}
	}
	r = 0;
out:
	buf_done(&opt);
	return r;
}

/* Reads config.json, *ret: where the root file system goes; prepares the sources it names. */
static int rootfs_of(char *out, size_t size, json_t **ret, struct err *e)
{
	json_t *config;
	const char *path;
	int dir = open(mon.a.bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

	if (dir < 0)
		return err_errno(e, errno, "open bundle '%s'", mon.a.bundle);
	*ret = config = json_parse_file_at(dir, "config.json", 16 << 20, e);
	(void)close(dir);
	if (!config)
		return err_wrap(e, "bundle '%s'", mon.a.bundle);
	path = json_str(json_obj(config, "root"), "path", "rootfs");
	n = path[0] == '/' ? snprintf(out, size, "%s", path) : snprintf(out, size, "%s/%s", mon.a.bundle, path);
	if (n < 0 || (size_t)n >= size)
		return err_set(e, ERR_INVALID, "bundle '%s': root.path is longer than %zu bytes", mon.a.bundle, size - 1);
	return sources_prepare(config, e) < 0 || idmap_layers(&mon.a, config, e) < 0 ? -1 : 0;
}

/*
 * Our copy of the host's mounts holds every network namespace that the engine keeps by a bind mount, other containers' included: such a
 * namespace, with its devices, would live until this monitor ends wherever the host's mounts are not shared. The container has its own by now.
 */
static void drop_namespaces(void)
{
	struct buf b = BUF_INIT;
	char *save = NULL;

	if (file_read_at(AT_FDCWD, "/proc/self/mountinfo", 64 << 20, &b) < 0 || !b.len)
		return;
	for (char *l = strtok_r(b.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *at = l, *o;

		if (!strstr(l, " - nsfs "))
			continue;
		for (int field = 0; at && field < 4; field++) {
			at = strchr(at, ' ');
			at = at ? at + 1 : NULL;
		}
		if (!at)
			continue;
		at[strcspn(at, " ")] = 0;
		o = at;
		for (const char *i = at; *i; i++) {	/* \040 and the like */
			if (i[0] == '\\' && i[1] >= '0' && i[1] <= '3' && i[2] && i[3]) {
				*o++ = (char)((i[1] - '0') << 6 | (i[2] - '0') << 3 | (i[3] - '0'));
				i += 3;
			} else {
				*o++ = *i;
			}
		}
		*o = 0;
		(void)umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	buf_done(&b);
}

static int late_netns(struct err *e)
{
	int fd = helper_hear();

	return fd < 0 ? err_set(e, ERR_UNAVAILABLE, "its network could not be made") : fd;
}

static void create(struct report *r)
{
	struct oci_create_opts o = { .id = mon.a.id, .bundle = mon.a.bundle, .root = mon.root, .cache = mon.a.cache, .console_socket = mon.console_child,
		.stdio = { mon.main.in_child, mon.main.out_child[0], mon.main.out_child[1] } };
	char pid_file[1100];
	int made;
	pid_t pid;

	made = file_mkdir_p(mon.root, 0700);
	if (made < 0) {
		err_errno(&r->err, -made, "make '%s'", mon.root);
		return;
	}
	if (mon.a.n_lowers) {
		if (rootfs_of(r->text, sizeof(r->text), &o.config, &r->err) < 0)	/* the helper ends soon: it is not given back */
			return;
		made = file_mkdir_p(r->text, 0755);
		if (made < 0) {
			err_errno(&r->err, -made, "make '%s'", r->text);
			return;
		}
		if (mount_rootfs(r->text, &r->err) < 0)
			return;
	}
	if (mon.a.runtime) {
		if (extern_create(r, mon.console_child) == 0)
			drop_namespaces();
		return;
	}
	if (mon.a.late_net)
		o.netns = late_netns;
	if (mon.a.tty)
		o.stdio[0] = o.stdio[1] = o.stdio[2] = -1;
	snprintf(pid_file, sizeof(pid_file), "%s/pid", mon.a.run_dir);
	o.pid_file = pid_file;
	if (oci_create(&o, &pid, &r->err) < 0)
		return;
	r->pid = (int)pid;
	drop_namespaces();
}

void helper_create(struct report *r)
{
	create(r);
	if (r->err.kind == ERR_NONE) {
		if (!helper_turn(r))
			_exit(0);
		helper_start(r);
	}
}

void helper_start(struct report *r)
{
	if (mon.a.runtime)
		(void)extern_start(&r->err);
	else
		(void)oci_start(mon.root, mon.a.id, &r->err);
}

/* The last unmount of an overlay makes the kernel write everything to the disk that its upper directory is on. */
void helper_umount(struct report *r)
{
	if (mon.rootfs[0] && umount2(mon.rootfs, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
	    umount2(mon.rootfs, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		err_errno(&r->err, errno, "unmount '%s'", mon.rootfs);
}

bool launch_delete_quick(void)
{
	if (mon.paused || mon.a.runtime || !oci_delete_quick(mon.root, mon.a.id))
		return false;
	(void)file_rm_rf_at(AT_FDCWD, mon.root);
	return true;
}

void helper_delete(struct report *r)
{
	int failed;

	if (mon.paused)
		(void)mon_cgroup_freeze(false, NULL);
	failed = mon.a.runtime ? extern_delete(&r->err) : oci_delete(mon.root, mon.a.id, true, &r->err);
	if (failed < 0 && r->err.kind == ERR_NOT_FOUND) {
		err_clear(&r->err);	/* create never got that far */
		failed = 0;
	}
	if (failed < 0)
		mon_cgroup_kill_all();
	if (mon.a.cgroup && (failed < 0 || mon.cleaning))
		mon_cgroup_remove(mon.a.cgroup);
	(void)file_rm_rf_at(AT_FDCWD, mon.root);
}
