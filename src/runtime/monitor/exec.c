/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further programs in a running container. How one ended is a file first (proto.h), so that an engine that comes back later knows it. An exec has the same stdio path as the container's own program, but no log; it is made by the OCI
 * runtime (the library, or the configured one's command line), and reaped here because the runtime detaches from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "runtime/monitor/monitor_priv.h"
#include "runtime/oci/exec.h"

#define EXEC_LIMIT (60 * 1000000000ll)

struct console { int here, child; };
static struct console console[MAX_EXEC];

static int find(uint32_t tag)
{
	for (int i = 0; i < MAX_EXEC; i++) {
		if (mon.exec[i] && mon.exec[i]->tag == tag)
			return i;
	}
	return -1;
}

struct proc *exec_find(uint32_t tag)
{
	int i = find(tag);

	return i < 0 ? NULL : mon.exec[i];
}

static void drop(int i)
{
	struct proc *p = TAKE(mon.exec[i]);

	proc_done(p);
	free(p);
	if (console[i].here >= 0)
		(void)close(console[i].here);
	if (console[i].child >= 0)
		(void)close(console[i].child);
	console[i] = (struct console){ -1, -1 };
}

/* The "process" of the exec that is being made: the helper has a copy of it. */
static struct { const char *text; size_t n; } process;

/* Another runtime takes it from a file. */
static void helper_exec_extern(struct report *r)
{
	char path[1200], name[64];
	int n;

	snprintf(name, sizeof(name), "exec-%u.json", mon.making->tag);
	snprintf(path, sizeof(path), "%s/%s", mon.a.run_dir, name);
	n = mon_put_file(name, process.text, process.n);
	if (n < 0)
		err_errno(&r->err, -n, "write '%s'", path);
	else
		(void)extern_exec(r, mon.making, path, mon.making_console);
	(void)unlinkat(mon.run_fd, name, 0);
}

static void helper_exec(struct report *r)
{
	struct proc *making = mon.making;
	struct oci_exec_opts o = { .root = mon.root, .id = mon.a.id, .console_socket = mon.making_console,
		.stdio = { making->in_child, making->out_child[0], making->out_child[1] } };
	json_t *doc = json_parse(process.text, process.n, "process", &r->err);
	pid_t pid;

	o.process = doc;
	if (doc && oci_exec(&o, &pid, &r->err) == 0)
		r->pid = (int)pid;
	json_decref(doc);
}

static void refuse(uint32_t tag, const struct err *e)
{
	struct pm m = { .type = PM_EXEC_STARTED, .tag = tag };

	mon_send_err(&m, e, -1);
}

void exec_request(const struct pm *m, const char *p, size_t n, int fd)
{
	struct err e = { 0 };
	struct proc *x;
	int i, r, pair[2];

	for (i = 0; i < MAX_EXEC && mon.exec[i]; i++)
		;
	if (mon.state != ST_RUNNING)
		err_set(&e, ERR_CONFLICT, "container %.12s is not running", mon.a.id ? mon.a.id : "");
	else if (mon.paused)
		err_set(&e, ERR_CONFLICT, "container %.12s is paused, unpause the container before exec", mon.a.id);
	else if (i == MAX_EXEC)
		err_set(&e, ERR_UNAVAILABLE, "container %.12s has %d execs running already", mon.a.id, MAX_EXEC);
	else if (!m->tag || exec_find(m->tag))
		err_set(&e, ERR_INTERNAL, "exec number %u is in use", m->tag);
	if (e.kind != ERR_NONE) {
		refuse(m->tag, &e);
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	x = mem_zalloc(sizeof(*x));
	x->tag = m->tag;
	x->stdin_once = true;
	mon.exec[i] = x;
	console[i] = (struct console){ -1, -1 };
	r = proc_stdio(x, m->flags & PM_F_TTY, m->flags & PM_F_STDIN, &e);
	if (fd >= 0)
		(void)attach_add(x, fd, m->flags & PM_F_IN, m->flags & PM_F_OUT);
	if (r == 0 && x->tty) {
		r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
		if (r < 0)
			err_errno(&e, errno, "make a socket for the terminal");
		else
			console[i] = (struct console){ pair[0], pair[1] };
	}
	mon.making = x;
	mon.making_console = console[i].child;
	process.text = p;
	process.n = n;
	if (r < 0 || !helper_run(HELPER_EXEC, m->tag, EXEC_LIMIT, mon.a.runtime ? helper_exec_extern : helper_exec, &e)) {
		refuse(m->tag, &e);
		drop(i);
	}
	mon.making = NULL;
	process.text = NULL;
}

static void ended(struct proc *x, int status)
{
	struct pm m = { .type = PM_EXEC_EXITED, .tag = x->tag };
	char name[64], text[16];
	int n;

	x->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	x->exited = true;
	proc_drain(x);
	m.v[0] = x->status;
	snprintf(name, sizeof(name), "exec-%u.exit", x->tag);
	n = mon_put_file(name, text, (size_t)snprintf(text, sizeof(text), "%d\n", x->status));
	if (n < 0)
		log_warn("monitor", "%s: write '%s': %s, going on", mon.a.id, name, strerror(-n));
	mon_send(&m, NULL, 0, -1);
}

void exec_built(struct helper *h)
{
	struct pm m = { .type = PM_EXEC_STARTED, .tag = h->tag, .v = { h->report.pid } };
	int i = find(h->tag), status, master;
	struct proc *x;

	if (i < 0)
		return;
	x = mon.exec[i];
	proc_child_ends_close(x);
	if (h->report.err.kind == ERR_NONE && x->tty) {
		master = mon_take_fd(console[i].here);
		if (master >= 0)
			proc_set_master(x, master);
		else
			err_set(&h->report.err, ERR_INTERNAL, "container %.12s: the runtime sent no terminal", mon.a.id);
	}
	mon_send_err(&m, &h->report.err, -1);
	if (h->report.err.kind != ERR_NONE) {
		drop(i);
		return;
	}
	x->pid = h->report.pid;
	if (mon_stranger(x->pid, &status))
		ended(x, status);
}

bool exec_reaped(pid_t pid, int status)
{
	for (int i = 0; i < MAX_EXEC; i++) {
		struct proc *x = mon.exec[i];

		if (x && x->pid == pid && !x->exited) {
			ended(x, status);
			return true;
		}
	}
	return false;
}

void exec_sweep(bool *busy)
{
	for (int i = 0; i < MAX_EXEC; i++) {
		struct proc *x = mon.exec[i];

		if (x && x->exited && proc_delivered(x))
			drop(i);
		else if (x)
			*busy = true;
	}
}

size_t exec_list(struct pm_exec list[MAX_EXEC])
{
	size_t n = 0;

	for (int i = 0; i < MAX_EXEC; i++) {
		if (mon.exec[i] && !mon.exec[i]->exited)
			list[n++] = (struct pm_exec){ mon.exec[i]->tag, (int32_t)mon.exec[i]->pid };
	}
	return n;
}

void exec_done(void)
{
	for (int i = 0; i < MAX_EXEC; i++) {
		if (mon.exec[i])
			drop(i);
	}
}
