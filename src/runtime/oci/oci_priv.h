/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_OCI_PRIV_H
#define KEDGE_RUNTIME_OCI_PRIV_H

#include <jansson.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "runtime/oci/oci.h"

/* --- spec.c, process.c: config.json as values; strings are borrowed from the document ------------------------------------------- */

enum { NS_USER, NS_PID, NS_NET, NS_IPC, NS_UTS, NS_MNT, NS_CGROUP, NS_COUNT };
extern const struct ns_type {
	const char *name;	/* in config.json */
	const char *proc;	/* in /proc/PID/ns */
	int flag;
} ns_types[NS_COUNT];

enum { CAPSET_BOUNDING, CAPSET_EFFECTIVE, CAPSET_INHERITABLE, CAPSET_PERMITTED, CAPSET_AMBIENT, CAPSET_COUNT };

struct oci_rlimit {
	int what;
	const char *name;
	struct rlimit lim;
};

struct oci_process {
	bool terminal;
	unsigned rows, cols;
	char **argv, **env;	/* NULL-terminated vectors of borrowed strings */
	const char *cwd;
	uid_t uid;
	gid_t gid, *gids;
	size_t n_gids;
	bool has_umask, has_caps, no_new_privs, has_oom;
	mode_t umask;
	uint64_t caps[CAPSET_COUNT];
	struct oci_rlimit rlimits[RLIM_NLIMITS];
	size_t n_rlimits;
	int oom;
	const char *apparmor;
};

struct oci_mount {
	const char *dest, *type, *source;
	const json_t *options;
	bool bind, recursive;
	uint64_t set, clr;	/* MOUNT_ATTR_* */
	uint64_t rset, rclr;	/* the same, for the tree ("rro") */
	uint64_t propagation;	/* MS_* or 0 */
	bool prop_recursive;
	char **data;		/* "key" or "key=value" for the file system */
	int fd;			/* bind: the detached tree, opened by the parent; -1 */
};

struct oci_idmap {
	uint32_t inside, outside, size;
};

struct oci_spec {
	json_t *doc;
	struct oci_process process;
	const char *root_path;	/* as in the document, relative to the bundle perhaps */
	bool root_ro;
	const char *hostname, *domainname;
	struct oci_mount *mounts;
	size_t n_mounts;
	bool ns[NS_COUNT];
	const char *ns_path[NS_COUNT];	/* NULL: a new one */
	struct oci_idmap *uids, *gids;
	size_t n_uids, n_gids;
	uint64_t root_propagation;
	bool root_prop_recursive;
	const char *cgroup;
	json_t *linux_, *resources, *seccomp, *hooks, *devices, *masked, *readonly, *sysctl;	/* borrowed, may be NULL */
	uint32_t personality;
	bool has_personality;
};

/* Reads and checks <bundle>/config.json. */
int spec_load(const char *bundle, struct oci_spec *ret, struct err *e);
/* The same for a document at hand; takes no reference on failure, one on success. */
int spec_parse(json_t *doc, struct oci_spec *ret, struct err *e);
void spec_done(struct oci_spec *s);
int process_parse(const json_t *o, struct oci_process *ret, struct err *e);
void process_done(struct oci_process *p);
/* -1: not known. With or without "CAP_". */
int cap_number(const char *name);
uint64_t cap_all(void);		/* what this kernel has */
const char *cap_word(int n);	/* "CAP_CHOWN"; NULL past the end */
/* One option of a mount into m; 0, or 1 when the word is for the file system. */
int mount_option(struct oci_mount *m, const char *word);
int mount_parse(const json_t *o, struct oci_mount *m, struct err *e);
void mount_done(struct oci_mount *m);
char **json_vector(const json_t *arr);	/* borrowed strings, own vector */
json_t *mount_words(void);		/* for "features" */

/* --- state.c: <root>/<id>/state.json and what can be asked about a container ---------------------------------------------------- */

struct oci_state {
	int dir;		/* <root>/<id>; -1 */
	char *id, *bundle;
	pid_t pid;
	uint64_t start_time;	/* of pid, field 22 of /proc/PID/stat */
	json_t *doc;		/* the whole record */
};

/* A new directory; ERR_CONFLICT when the id is taken. */
int state_make(const char *root, const char *id, struct err *e);
int state_open(const char *root, const char *id, struct oci_state *ret, struct err *e);
void state_done(struct oci_state *s);
int state_write(int dir, const json_t *doc, struct err *e);
int state_remove(const char *root, const char *id, struct err *e);
bool id_ok(const char *id);
uint64_t proc_start_time(pid_t pid);	/* 0: no such process */
/* A pidfd of the container's init; -ESRCH when it has ended (or its number belongs to somebody else). */
int state_pidfd(const struct oci_state *s);
const char *state_status(const struct oci_state *s);

/* --- cgroup.c, cgroup_limits.c, devices.c --------------------------------------------------------------------------------------- */

enum { CG_MAX = 20 };
struct cgroup_hier {
	bool v2;
	bool limits;		/* v2: controllers live here; v1: always */
	char *names;		/* v1: "cpu,cpuacct", "name=systemd"; v2: "" */
	char *mount;		/* where the hierarchy is mounted */
	char *root;		/* which directory of it the mount shows */
	char *own;		/* this process's own cgroup */
	char *dir;		/* the container's directory below mount */
	int fd;			/* of it; -1 */
};
struct cgroups {
	struct cgroup_hier h[CG_MAX];
	size_t n;
	bool unified;		/* nothing but v2 */
};
/* What there is on this machine. */
int cgroup_find(struct cgroups *c, struct err *e);
void cgroup_done(struct cgroups *c);
/* Decides on the directories for path (absolute: from the hierarchy's root). */
int cgroup_plan(struct cgroups *c, const char *path, struct err *e);
/* Makes them and sets the limits. On failure nothing is left. */
int cgroup_make(struct cgroups *c, const json_t *resources, struct err *e);
/* Moves a single-threaded process into it. pid 0: the caller itself, which spares the kernel a grace period in every v1 hierarchy.
 * skip_v2: it was born there (CLONE_INTO_CGROUP). */
int cgroup_enter(const struct cgroups *c, pid_t pid, bool skip_v2, struct err *e);
int cgroup_v2_fd(const struct cgroups *c);	/* -1: there is none */
/* The v2 group pid is in when that is one below the container's own, which the container has made; else -1. The caller closes it. */
int cgroup_v2_of(const struct cgroups *c, pid_t pid);
json_t *cgroup_to_json(const struct cgroups *c);
int cgroup_from_json(struct cgroups *c, const json_t *arr, struct err *e);
/* Sends signo to everything in it, again until nothing is left if it is SIGKILL. */
int cgroup_kill(struct cgroups *c, int signo, struct err *e);
bool cgroup_empty(const struct cgroups *c);
void cgroup_pids(const struct cgroups *c, json_t *arr);
int cgroup_remove(struct cgroups *c, struct err *e);
bool cgroup_remove_quick(const struct cgroups *c);	/* one try for each; true: none is left */
int cgroup_freeze(struct cgroups *c, bool frozen, struct err *e);
bool cgroup_frozen(const struct cgroups *c);
/* Pure parts. */
int cgroup_limits(const struct cgroup_hier *h, const json_t *resources, struct err *e);
/* The parts of it that can change while processes are inside: memory, cpu, pids, blockIO. */
int cgroup_update_limits(const struct cgroup_hier *h, const json_t *resources, struct err *e);
/* A limit that is asked for and that no hierarchy here can set. */
int cgroup_missing(const struct cgroups *c, const json_t *resources, struct err *e);
struct bpf_insn;
enum { DEV_M = 1, DEV_R = 2, DEV_W = 4, DEV_RULES_MAX = 256 };	/* the bits as the kernel has them */
struct device_rule {
	char type;		/* 'b', 'c' */
	int64_t major, minor;	/* -1: any */
	unsigned access;
};
/* A policy and its exceptions: what a v1 devices cgroup holds, and what the v2 program is made from. */
struct device_policy {
	bool allow;		/* everything but the exceptions; else nothing but them */
	size_t n;
	struct device_rule except[DEV_RULES_MAX];
};
int device_policy_of(const json_t *resources, struct device_policy *p, struct err *e);
/* An eBPF program of BPF_PROG_TYPE_CGROUP_DEVICE; the number of instructions, 0 when max is too small. */
size_t device_program(const struct device_policy *p, struct bpf_insn *out, size_t max);
int device_attach(int cgroup_fd, const struct device_policy *p, struct err *e);

/* --- seccomp.c ------------------------------------------------------------------------------------------------------------------ */

struct seccomp_prog {
	struct sock_filter *insns;
	unsigned short len;
	unsigned flags;		/* SECCOMP_FILTER_FLAG_* */
};
int seccomp_compile(const json_t *seccomp, struct seccomp_prog *ret, struct err *e);
/* seccomp_cache.c: the same, by way of a directory of compiled profiles (made when missing; NULL: none). */
int seccomp_cached(const json_t *seccomp, const char *cache, struct seccomp_prog *ret, struct err *e);
void seccomp_done(struct seccomp_prog *p);
int seccomp_apply(const struct seccomp_prog *p, struct err *e);
/* The program lets the system call through whatever its arguments are. False when it takes more than a look to tell. */
bool seccomp_allows(const struct seccomp_prog *p, int nr);

/* --- mounts.c, rootfs.c: run in the container's process --------------------------------------------------------------------------- */

struct rootfs {
	int fd;			/* its top directory, O_PATH, once attached */
	int proc;		/* the host's /proc, verified */
	bool userns;
	const struct cgroups *cg;
};
/* Parent: detached trees for bind mounts and the root. */
int mounts_open(struct oci_spec *s, const char *bundle, int *root_tree, struct err *e);
int rootfs_mounts(struct rootfs *r, const struct oci_spec *s, struct err *e);
int mount_attr(int fd, bool recursive, uint64_t set, uint64_t clr, uint64_t propagation);
int mount_new(const char *type, const char *source, char *const *data, uint64_t attr, struct err *e);
int mount_clone(int dir, const char *path, bool recursive);
int mount_onto(int tree, int target);
int rootfs_attach(struct rootfs *r, const char *where, int tree, struct err *e);
int rootfs_devices(struct rootfs *r, const struct oci_spec *s, struct err *e);
int rootfs_console(struct rootfs *r, const struct oci_process *p, int console_socket, int *slave, struct err *e);
/* A terminal is also /dev/console. */
int rootfs_bind_console(struct rootfs *r, int slave, struct err *e);
int rootfs_enter(struct rootfs *r, const struct oci_spec *s, struct err *e);
/* Before entering: masked and read-only paths, read-only root. */
int rootfs_protect(struct rootfs *r, const struct oci_spec *s, struct err *e);
/* joined_net: only those of a network namespace the container joins from a user namespace of its own; else all others. r->proc is used. */
int rootfs_sysctl(struct rootfs *r, const struct oci_spec *s, bool joined_net, struct err *e);

/* --- process.c's other half, init.c ------------------------------------------------------------------------------------------------ */

/* One packet a message; the text of an error is a sentence. */
enum sync_type { SYNC_READY = 1, SYNC_ERROR, SYNC_MAP, SYNC_HOOKS, SYNC_GO, SYNC_PID, SYNC_EOF };
struct sync_msg {
	int type, kind, sys;
	int64_t v;
	char text[1024];
};
int sync_send(int fd, enum sync_type t, int64_t v, const struct err *e);
/* SYNC_EOF when the other end is gone; SYNC_ERROR fills e. */
enum sync_type sync_recv(int fd, int64_t *v, struct err *e);

/* Identity, limits, capabilities: everything up to the wait for "start". keep_admin: seccomp without no_new_privs is still to come. */
int process_become(const struct oci_process *p, bool keep_admin, struct err *e);
int process_chdir(const struct oci_process *p, bool make, struct err *e);
/* The program's path as runc finds it, worded as runc; the caller frees. */
char *process_find(const struct oci_process *p, struct err *e);
/* Returns only on failure. */
int process_exec(const struct oci_process *p, const char *path, struct err *e);
int process_limits(pid_t pid, const struct oci_process *p, struct err *e);
int process_oom(pid_t pid, const struct oci_process *p, struct err *e);

struct init_args {
	const struct oci_spec *spec;
	const struct cgroups *cg;
	const struct seccomp_prog *filter;
	const char *root_path;		/* absolute */
	int root_tree;
	int sync;			/* to the parent */
	int listener;			/* where "start" connects; -1: start at once (exec) */
	int console_socket;
	int stdio[3];
	int preserve_fds;
	int ns_fd[NS_COUNT];		/* to join; -1 */
	int proc, null;			/* the host's /proc and /dev/null */
	bool born_in_v2;
	json_t *state;			/* for hooks */
};
__attribute__((noreturn)) void init_main(struct init_args *a);

int stdio_install(const int fds[3], bool terminal, int null, struct err *e);
void stdio_own(uid_t uid);
int apparmor(int proc, const char *profile, struct err *e);

/* reaper.c: returns 0 in a child that is to become the program; the caller goes on as its init. -1 with e when there is no child. */
int reaper_start(int conn, char *const *argv, struct err *e);

/* create.c */
static inline void fd_drop(int *fd)
{
	fd_closep(fd);
	*fd = -1;
}
int proc_open(struct err *e);
int write_pid(const char *path, pid_t pid, struct err *e);

/* hooks.c */
int hooks_run(const json_t *hooks, const char *kind, const json_t *state, struct err *e);

/* sync.c */
int raw_clone_into(uint64_t flags, int cgroup_fd);
int raw_clone(uint64_t flags, int *cgroup_fd);
int loopback_up(struct err *e);
int write_id_maps(pid_t pid, const struct oci_spec *s, struct err *e);

#endif
