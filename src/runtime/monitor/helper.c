/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever may block or fail in many ways (mounts, the OCI runtime, cgroup writes) runs in a short-lived child, so that the monitor
 * itself never stops moving bytes and never carries the memory such work needs. The child tells its result as one struct report
 * on a pipe; its processes that outlive it (the container's init) become the monitor's children, because the monitor is their subreaper.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "runtime/monitor/monitor_priv.h"

/*
 * In the child. What it forks in turn (the waiting init) must hold nothing of ours: a copy of the control socket or the lock would make a killed
 * monitor look alive.
 */
static void close_others(int report)
{
	const struct proc *p = mon.making ? mon.making : &mon.main;
	int keep[] = { report, mon.run_fd, p->in_child, p->out_child[0], p->out_child[1], mon.making ? mon.making_console : mon.console_child,
		       mon.making ? -1 : mon.host_ns };
	int have[N(keep)];
	size_t n = 0;

	for (size_t i = 0; i < N(keep); i++) {
		if (keep[i] >= 0)
			have[n++] = keep[i];
	}
	file_close_from(3, have, n);
}

static void as_found(void)
{
	sigset_t none;
	char text[16];

	/* The container's program inherits what we ignore and block; the engine has started us with everything at its default. */
	for (size_t i = 0; mon_ignored[i]; i++)
		(void)signal(mon_ignored[i], SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(text, sizeof(text), "%d", mon.oom_score_adj);
	(void)file_put_at(AT_FDCWD, "/proc/self/oom_score_adj", text);
}

struct helper *helper_run(enum helper_kind kind, uint32_t tag, int64_t limit_ns, void (*fn)(struct report *r), struct err *e)
{
	struct helper *h = NULL;
	int fds[2];

	for (int i = 0; i < MAX_HELPER && !h; i++) {
		if (!mon.helper[i].pid)
			h = &mon.helper[i];
	}
	if (!h) {
		err_set(e, ERR_UNAVAILABLE, "container %.12s: %d operations are under way already", mon.a.id, MAX_HELPER);
		return NULL;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_errno(e, errno, "make a pipe to a helper process");
		return NULL;
	}
	*h = (struct helper){ .kind = kind, .fd = fds[0], .tag = tag, .deadline = clock_now() + limit_ns };
	h->pid = fork();
	if (h->pid < 0) {
		err_errno(e, errno, "fork a helper process");
		(void)close(fds[0]);
		(void)close(fds[1]);
		h->pid = 0;
		return NULL;
	}
	if (!h->pid) {
		static struct report r;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);	/* cleanup of a killed monitor must not race with its helpers */
		as_found();
		close_others(fds[1]);
		(void)setpgid(0, 0);	/* so that one signal ends a hung helper and what it has started */
		fn(&r);
		(void)file_write_all(fds[1], &r, sizeof(r));
		_exit(0);
	}
	(void)setpgid(h->pid, h->pid);
	(void)close(fds[1]);
	(void)fcntl(h->fd, F_SETFL, O_NONBLOCK);
	return h;
}

/* The report is smaller than PIPE_BUF: it comes whole or not at all. */
_Static_assert(sizeof(struct report) <= 4096, "a report is written in one piece");

bool helper_read(struct helper *h)
{
	ssize_t r;

	if (h->reported)
		return true;
	do
		r = read(h->fd, &h->report, sizeof(h->report));
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		return false;
	if (r != (ssize_t)sizeof(h->report)) {
		memset(&h->report, 0, sizeof(h->report));
		err_set(&h->report.err, ERR_INTERNAL, "container %.12s: a helper of the monitor ended without a word", mon.a.id);
	}
	h->reported = true;
	return true;
}

struct helper *helper_find(enum helper_kind kind)
{
	for (int i = 0; i < MAX_HELPER; i++) {
		if (mon.helper[i].pid && mon.helper[i].kind == kind)
			return &mon.helper[i];
	}
	return NULL;
}

void helper_free(struct helper *h)
{
	if (h->pid)
		(void)close(h->fd);
	*h = (struct helper){ .fd = -1 };
}
