/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_PRIV_H
#define KEDGE_RUNTIME_MONITOR_PRIV_H

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "runtime/monitor/logfile.h"
#include "runtime/monitor/ship.h"
#include "runtime/proto.h"

enum {
	STREAM_ROOM = 256 * 1024,
	MAX_ATTACH = 32,	/* per monitor: terminals and log followers of one container */
	MAX_CONTROL = 4,	/* the engine, and one that was just replaced by it */
	MAX_EXEC = 64,		/* running at once in one container */
	MAX_HELPER = MAX_EXEC + 4,
};

/* One output of a program. */
struct stream {
	int fd;			/* -1: none or ended */
	int no;			/* 1, 2 */
	char *room;		/* STREAM_ROOM bytes, pages of it while they are used; [0, have): an unfinished line, already delivered */
	size_t have;
	size_t from, to;	/* being delivered to attachments */
	size_t rest;		/* where the unfinished line begins within [0, to) */
	bool waiting;		/* some attachment has not taken all of [from, to) */
	bool large;		/* its pipe, while the program writes as fast as it can */
	char *tail;		/* after the program's end: what is still to deliver, in place of room */
};

/* A program with its stdio: the container's init, or an exec. */
struct proc {
	uint32_t tag;		/* 0: the container */
	bool used;
	pid_t pid;		/* 0: not there (yet, or any more) */
	bool tty, stdin_once, exited;
	int status;		/* once exited */
	int in;			/* write end of stdin or the PTY master; -1 */
	int in_child, out_child[2];	/* the program's ends, until it is made */
	int slave;		/* keeps the PTY from hanging up while no process has it open; -1 */
	struct stream out[2];
	struct logfile *log;	/* or NULL */
	unsigned rows, cols;	/* asked for before there was a PTY */
};

struct attach {
	int fd;			/* -1: free */
	struct proc *p;
	bool in, out;
	size_t off[2];		/* next byte of out[i] to deliver, while out[i].waiting */
	bool pend[2];
	char *in_room;		/* PM_DATA bytes of stdin that the program does not take now, or NULL */
	size_t in_len, in_at;
};

enum helper_kind { HELPER_CREATE, HELPER_START, HELPER_DELETE, HELPER_PAUSE, HELPER_EXEC, HELPER_UPDATE, HELPER_UMOUNT };

/* What a helper process tells when it is done. */
struct report {
	int pid;
	struct err err;		/* kind NONE: success */
	char text[1024];	/* CREATE: where the overlay is mounted */
};

struct helper {
	enum helper_kind kind;
	pid_t pid;		/* 0: free */
	int fd;			/* a socket: its reports come over it, and the word that it may go on */
	int64_t deadline;
	uint32_t tag;
	bool reported;
	bool waiting;		/* for helper_go() */
	struct report report;
};

enum state {
	ST_IDLE,		/* waits for LAUNCH */
	ST_CREATING,
	ST_CREATED,
	ST_STARTING,
	ST_RUNNING,
	ST_DELETING,		/* the program has ended, or must */
	ST_GONE,		/* all recorded; waits for attachments to take the last bytes */
};

struct launch {
	const char *id, *bundle, *run_dir, *upper, *work, *runtime, *cgroup, *cache;
	const char *lowers[129];		/* an image has 127 layers at most */
	size_t n_lowers;
	uid_t map_uid;		/* who the container's root is, once idmap_layers() has found it in a user namespace; 0 */
	gid_t map_gid;
	bool tty, stdin_open, stdin_once;
	bool late_net;		/* CREATE waits for NET */
	const char *log_driver, *log_path;
	uint64_t log_max;
	unsigned log_files;
	bool log_compress;
	const char *log_attrs;
	struct ship_args ship;
	const char *ship_fields[32];
};

struct monitor {
	enum state state;
	bool cleaning;		/* not a monitor, but what tidies up after one */
	bool doomed;		/* no engine wants it: end as soon as the current helper is done, tell nobody */
	bool init_seen;		/* pid reaped */
	bool paused, oom;
	char *dir_word;		/* on our command line, where ps(1) shows it; NULL */
	char *words;		/* the LAUNCH message; a's strings point into it */
	size_t words_len;
	struct launch a;
	int host_ns;		/* the mount namespace we were started in, until the container is made; -1 */
	int run_fd;		/* of run_dir */
	int lock;		/* <run_dir>/lock: we live */
	int listener, signal_fd;
	int control[MAX_CONTROL];
	bool control_first;	/* the socket we were started with still counts: its end before START dooms the container */
	int console, console_child;	/* the builder sends the PTY master through it; -1 */
	char root[1024];	/* state directory of the OCI runtime: <run_dir>/oci */
	char rootfs[1024];	/* where the overlay is mounted, for the umount; empty: none */
	int pidfd;
	int64_t started_ns, finished_ns;
	int64_t trim_at;		/* when what a burst of output has filled is given back (clock_now()); 0: nothing is */
	struct logfile log;
	struct proc main;
	struct proc *exec[MAX_EXEC], *making;	/* making: the exec a helper is being forked for */
	int making_console, oom_score_adj;
	struct attach attach[MAX_ATTACH];
	struct helper helper[MAX_HELPER];
	struct { char freezer[512]; bool v2; char memory[512]; bool memory_v2; char unified[512]; } cg;
};

extern struct monitor mon;
extern const int mon_ignored[];	/* signals; 0 ends it */

/* monitor.c */
void mon_send(const struct pm *m, const void *p, size_t n, int fd);	/* to every control connection */
void mon_send_err(struct pm *m, const struct err *e, int fd);
int mon_put_file(const char *name, const char *p, size_t n);	/* into run_dir; 0 or -errno */
bool mon_stranger(pid_t pid, int *status);	/* was reaped before its helper had told of it */
int mon_take_fd(int sock);			/* a descriptor sent over a stream socket, or -1 */

/* launch.c: what happens in helper processes, and what they need */
int launch_parse(struct launch *a, const char *p, size_t n, struct err *e);
int launch_prepare(struct err *e);		/* monitor: run_dir, log, namespace, stdio */
void helper_create(struct report *r);		/* in the helper: overlay, OCI create; then it waits, and is helper_start() */
void helper_start(struct report *r);
void helper_delete(struct report *r);
bool launch_delete_quick(void);		/* in the monitor: false: something would block or be run, a helper must */
void helper_umount(struct report *r);

/* idmap.c: in the create helper; layers as the container's user namespace, if it has one, is to see them: a's paths change */
int idmap_layers(struct launch *a, const json_t *config, struct err *e);
int idmap_mount(const struct launch *a, const char *at, const char *options);	/* overlay; 0 or -errno */

/* sources.c: in the create helper; config.json's bind sources that need a handle or the host's namespace */
int sources_prepare(const json_t *config, struct err *e);

/* extern.c: another OCI runtime's program */
int extern_create(struct report *r, int console);
int extern_start(struct err *e);
int extern_delete(struct err *e);
int extern_exec(struct report *r, struct proc *p, const char *process_file, int console);
int extern_update(const char *resources_file, struct err *e);

/* stdio.c */
int proc_stdio(struct proc *p, bool tty, bool stdin_open, struct err *e);
void proc_child_ends_close(struct proc *p);
void proc_set_master(struct proc *p, int master_take);
void proc_resize(struct proc *p, unsigned rows, unsigned cols);
void proc_drain(struct proc *p);		/* after its end: everything into the log and to the attachments' queues */
bool proc_delivered(const struct proc *p);
void proc_trim(struct proc *p);			/* gives the memory back that a burst of output took */
void proc_done(struct proc *p);
bool stream_read(struct proc *p, struct stream *s);	/* true: there may be more */
bool attach_add(struct proc *p, int fd_take, bool in, bool out);
void attach_free(struct attach *a);
void attach_event(struct attach *a, short events);
void stdin_event(struct proc *p);
short stdin_wanted(const struct proc *p);	/* POLLOUT when somebody waits for it */
short attach_wanted(const struct attach *a);

/* cgroup.c */
void mon_cgroup_find(pid_t pid);
int mon_cgroup_freeze(bool freeze, struct err *e);	/* blocking: in a helper */
bool mon_cgroup_oom(void);
void mon_cgroup_kill_all(void);			/* last resort: every process in it */
void mon_cgroup_remove(const char *path);		/* ... and when even where it is is only known from cgroupsPath: kills, removes; blocking */

/* exec.c */
void exec_request(const struct pm *m, const char *p, size_t n, int fd_take);
void exec_built(struct helper *h);
bool exec_reaped(pid_t pid, int status);
struct proc *exec_find(uint32_t tag);
void exec_sweep(bool *busy);
size_t exec_list(struct pm_exec list[MAX_EXEC]);	/* those under way */
void exec_done(void);

/* update.c: new limits, as the JSON of the spec's linux.resources. -1 with e when no helper can be started; else DONE follows. */
int update_request(uint32_t tag, const char *p, size_t n, struct err *e);

/* helper.c */
struct helper *helper_run(enum helper_kind kind, uint32_t tag, int64_t limit_ns, void (*fn)(struct report *r), struct err *e);
bool helper_read(struct helper *h);		/* true: the report is complete, or will never be */
struct helper *helper_find(enum helper_kind kind);
void helper_free(struct helper *h);
/*
 * A helper can go on with a next task instead of another being forked for it. In it: helper_turn() tells the first report and waits; true: r is
 * empty and the next task is wanted. In the monitor, once it has reported: helper_keep(), and helper_go() when the time has come (false: it is gone).
 */
bool helper_turn(struct report *r);
void helper_keep(struct helper *h, enum helper_kind next);
bool helper_go(struct helper *h, int64_t limit_ns);
/* In the monitor: to the helper, a descriptor (borrowed) or, with -1, that there will be none; and in the helper, which waits: the descriptor or -1. */
void helper_tell(const struct helper *h, int fd);
int helper_hear(void);

#endif
