/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever may block or fail in many ways (mounts, the OCI runtime, cgroup writes) runs in a short-lived child, so that the monitor
 * itself never stops moving bytes and never carries the memory such work needs. The child tells its result as one struct report
 * on a socket; its processes that outlive it (the container's init) become the monitor's children, because the monitor is their subreaper.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

static int report_fd = -1;	/* in the child */

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
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		err_errno(e, errno, "make a socket to a helper process");
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
		report_fd = fds[1];
		fn(&r);
		(void)send(report_fd, &r, sizeof(r), MSG_NOSIGNAL);
		_exit(0);
	}
	(void)setpgid(h->pid, h->pid);
	(void)close(fds[1]);
	return h;
}

void helper_tell(const struct helper *h, int fd)
{
	struct pm m = { .type = PM_NET };

	(void)pm_send(h->fd, &m, NULL, 0, fd);
}

int helper_hear(void)
{
	struct pollfd f = { .fd = report_fd, .events = POLLIN };
	struct pm m;
	ssize_t n;
	int fd = -1;

	do {
		(void)poll(&f, 1, -1);
		n = pm_recv(report_fd, &m, NULL, 0, &fd);
	} while (n == -EAGAIN || n == -EINTR);
	return n < 0 ? -1 : fd;
}

bool helper_turn(struct report *r)
{
	int keep[] = { report_fd, mon.run_fd };
	char go;

	if (send(report_fd, r, sizeof(*r), MSG_NOSIGNAL) < 0)
		return false;
	/* What it was given for the first task would keep the container's output open. */
	file_close_from(3, keep, N(keep));
	memset(r, 0, sizeof(*r));
	return recv(report_fd, &go, 1, 0) == 1;
}

void helper_keep(struct helper *h, enum helper_kind next)
{
	h->kind = next;
	h->reported = false;
	h->waiting = true;
	h->deadline = INT64_MAX;
}

bool helper_go(struct helper *h, int64_t limit_ns)
{
	if (send(h->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
		return false;
	h->waiting = false;
	h->deadline = clock_now() + limit_ns;
	return true;
}


bool helper_read(struct helper *h)
{
	ssize_t r;

	if (h->reported)
		return true;
	do
		r = recv(h->fd, &h->report, sizeof(h->report), MSG_DONTWAIT);
	while (r < 0 && (errno == EINTR || errno == ECONNRESET));	/* it ended without reading what we told it; its report is there still */
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
