/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_SYSTEM_MONITOR_BOX_H
#define KEDGE_TESTS_SYSTEM_MONITOR_BOX_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "runtime/client/client.h"

/* A container with a static busybox for the monitor's tests: bundle, overlay, run directory, and what was heard of it. */
struct box {
	char id[40], dir[128], log[160], run_dir[160], cgroup[80];
	struct loop *loop;
	struct rt *rt;
	struct rt_attach *attach;
	bool created, started, exited, ended;
	pid_t pid;
	struct err create_err, start_err;
	struct rt_exit exit;
	struct buf out;		/* what the attachment got; stream 2 goes to errs */
	struct buf errs;
	bool discard;		/* count only */
	uint64_t n_out;
	void (*on_output)(struct box *b, const void *p, size_t n);
};

extern const char *box_program;		/* of the monitor */
extern const char *box_runtime;		/* NULL: built in */
extern const char *box_base;		/* directory for everything, on a file system that overlayfs takes */

/* args: NULL-terminated. */
void box_init(struct box *b, struct loop *l, const char *name, const char *const *args, bool tty);
struct rt_launch box_launch(const struct box *b, char *const *lowers);
void box_create(struct box *b, struct rt_launch *a);	/* and waits for created() */
void box_start(struct box *b);				/* and waits for started() */
void box_attach(struct box *b, bool in);
void box_wait(struct box *b, bool *what);		/* turns the loop until *what; fails after 30 s */
void box_adopt(struct box *b, struct rt_state *st);
void box_done(struct box *b);				/* checks that nothing is left */
pid_t box_monitor_pid(const struct box *b);
void box_wait_pid_gone(pid_t pid);
bool box_cgroup_exists(const struct box *b);
void box_cgroup_parents_remove(void);
extern char *box_lowers[];
extern int box_uid;			/* of the program; 0 unless a test sets it */
extern const struct rt_ops box_adopt_ops;

#endif
