/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Execs as seen from the engine. The monitor tells over the control connection that one runs and how it ended; what was said while no
 * engine listened is in the run directory, and the list of those under way comes with every new connection (runtime/proto.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/client/client_priv.h"

/* What the monitor has written down about an exec that has ended, and the file with it; -1: nothing. */
static int take_exec_exit(struct rt *r, uint32_t tag)
{
	char *path = mem_printf("%s/exec-%u.exit", r->run_dir, tag), word[16];
	int64_t n = -1;

	if (file_read_line(path, word, sizeof(word)) < 0 || str_to_i64(word, 0, 255, &n) < 0)
		n = -1;
	(void)unlink(path);	/* may not be there */
	free(path);
	return (int)n;
}

/* It is over: off the list, and its user is told. */
static void end_exec(struct rt *r, uint32_t tag, int status)
{
	for (struct rt_exec **at = &r->execs; !r->freed && *at; at = &(*at)->next) {
		struct rt_exec *x = *at;

		if (x->tag != tag)
			continue;
		if (!x->running) {	/* STARTED was lost on the way; the callback may free x */
			x->running = true;
			if (x->ops.started)
				x->ops.started(x->user, 0, NULL);
			end_exec(r, tag, status);
			return;
		}
		*at = x->next;
		x->r = NULL;
		if (x->ops.exited)
			x->ops.exited(x->user, status);
		return;
	}
}

/* Is x in the monitor's list? Then its pid is known, too. */
static bool listed(struct rt_exec *x, const char *list, size_t n)
{
	struct pm_exec one;

	for (size_t i = 0; i + sizeof(one) <= n; i += sizeof(one)) {
		memcpy(&one, list + i, sizeof(one));
		if (one.tag != x->tag)
			continue;
		if (!x->running && one.pid > 0) {
			x->running = true;
			if (x->ops.started)
				x->ops.started(x->user, one.pid, NULL);
		}
		return true;
	}
	return false;
}

/* The monitor has told which execs are under way: those of earlier connections that are not among them have ended meanwhile. */
void rt_exec_settle(struct rt *r, const char *list, size_t n)
{
	struct rt_exec *x = r->execs;

	while (!r->freed && x) {
		uint32_t tag = x->tag;
		int status;

		if (x->conn == r->conn) {
			x = x->next;
			continue;
		}
		x->conn = r->conn;	/* looked at */
		if (!listed(x, list, n)) {
			status = take_exec_exit(r, tag);
			end_exec(r, tag, status < 0 ? 137 : status);
		}
		x = r->execs;		/* a callback may have changed the list */
	}
}

void rt_exec_fail(struct rt *r, const struct err *e)
{
	struct rt_exec *x;
	int status;

	while (!r->freed && (x = r->execs)) {
		status = take_exec_exit(r, x->tag);
		if (x->running || !x->conn || status >= 0) {
			end_exec(r, x->tag, status < 0 ? 137 : status);
			continue;
		}
		r->execs = x->next;
		x->r = NULL;
		if (x->ops.started)
			x->ops.started(x->user, 0, e);
	}
}

void rt_exec_message(struct rt *r, const struct pm *m, const struct err *e)
{
	for (struct rt_exec **at = &r->execs; *at; at = &(*at)->next) {
		struct rt_exec *x = *at;

		if (x->tag != m->tag)
			continue;
		if (m->type == PM_EXEC_EXITED || e) {
			*at = x->next;
			x->r = NULL;
		}
		if (m->type == PM_EXEC_EXITED) {
			(void)take_exec_exit(r, m->tag);
			if (x->ops.exited)
				x->ops.exited(x->user, (int)m->v[0]);
		} else {
			x->running = true;
			if (x->ops.started)
				x->ops.started(x->user, e ? 0 : (pid_t)m->v[0], e);
		}
		return;
	}
}

struct rt_exec *rt_exec(struct rt *r, const struct rt_exec_args *a, const struct rt_exec_ops *ops, void *user,
			const struct rt_attach_ops *attach_ops, void *attach_user, struct rt_attach **attach, struct err *e)
{
	struct pm m = { .type = PM_EXEC, .flags = (uint16_t)((a->in ? PM_F_IN : 0) | (a->out ? PM_F_OUT : 0) | (a->tty ? PM_F_TTY : 0) |
							     (a->stdin_open ? PM_F_STDIN : 0)) };
	size_t n = strlen(a->process);
	struct rt_exec *x;
	int theirs = -1;

	if (r->sock < 0 || r->phase != RT_RUNNING) {
		err_set(e, ERR_CONFLICT, "the container is not running");
		return NULL;
	}
	if (n > PM_LAUNCH_MAX) {
		err_set(e, ERR_INVALID, "the program's description of %zu bytes is longer than %d", n, PM_LAUNCH_MAX);
		return NULL;
	}
	if (a->in || a->out) {
		*attach = rt_attach_pair(r, a->out, attach_ops, attach_user, &theirs, e);
		if (!*attach)
			return NULL;
	}
	m.tag = a->tag ? a->tag : rt_exec_tag();
	x = mem_zalloc(sizeof(*x));
	*x = (struct rt_exec){ .next = r->execs, .r = r, .tag = m.tag, .conn = r->conn, .ops = *ops, .user = user };
	r->execs = x;
	rt_send(r, &m, a->process, n, theirs);
	return x;
}

uint32_t rt_exec_tag(void)
{
	uint32_t tag;

	do		/* random: execs of the engine before us may still run */
		tag = rand_u32() & INT32_MAX;
	while (!tag);
	return tag;
}

struct rt_exec *rt_exec_adopt(struct rt *r, uint32_t tag, const struct rt_exec_ops *ops, void *user)
{
	struct rt_exec *x = mem_zalloc(sizeof(*x));

	*x = (struct rt_exec){ .next = r->execs, .r = r, .tag = tag, .ops = *ops, .user = user };
	r->execs = x;
	return x;
}

void rt_exec_kill(struct rt_exec *x, int signo)
{
	struct pm m = { .type = PM_SIGNAL, .tag = x->tag, .v = { signo } };

	if (x->r)
		rt_send(x->r, &m, NULL, 0, -1);
}

void rt_exec_resize(struct rt_exec *x, unsigned rows, unsigned cols)
{
	struct pm m = { .type = PM_RESIZE, .tag = x->tag, .v = { rows, cols } };

	if (x->r)
		rt_send(x->r, &m, NULL, 0, -1);
}

void rt_exec_free(struct rt_exec *x)
{
	if (!x)
		return;
	for (struct rt_exec **at = x->r ? &x->r->execs : NULL; at && *at; at = &(*at)->next) {
		if (*at == x) {
			*at = x->next;
			break;
		}
	}
	free(x);
}
