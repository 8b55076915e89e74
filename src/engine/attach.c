/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching: a client's side is tied to the monitor's at once when the container runs, and just before its program starts when the
 * client came earlier, so that no byte is missed. With logs=1 the output comes from the log, old and new, and only stdin is attached.
 */
#include "base/buf.h"
#include "engine/engine_priv.h"

#include <string.h>

struct engine_attach {
	struct engine *en;
	struct container *c;		/* while on its list: not tied yet */
	struct rt_attach *at;
	struct engine_logs *logs;
	struct engine_attach_ops ops;
	void *user;
	bool in, out, err, paused, close_in, ended, cancelled;
	struct buf pending;		/* stdin the monitor has no room for yet */
	struct engine_attach *next, **link;
};

static void unlist(struct engine_attach *a)
{
	if (!a->link)
		return;
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	a->link = NULL;
	a->c = NULL;
}

static void free_attach(void *user)
{
	struct engine_attach *a = user;

	unlist(a);
	rt_attach_free(a->at);
	if (a->logs)
		engine_logs_cancel(a->logs);
	buf_done(&a->pending);
	free(a);
}

static void end(struct engine_attach *a)
{
	if (a->ended)
		return;
	a->ended = true;
	unlist(a);
	if (!a->cancelled)
		a->ops.end(a->user);
	a->cancelled = true;
	loop_defer(a->en->l, free_attach, a);
}

static void on_output(void *user, int stream, const void *p, size_t n)
{
	struct engine_attach *a = user;

	if (!a->cancelled && (stream == 2 ? a->err : a->out))
		a->ops.output(a->user, stream, p, n);
}

static void on_end(void *user)
{
	struct engine_attach *a = user;

	if (a->logs)
		return;		/* the log's end is the end */
	end(a);
}

static void flush(struct engine_attach *a)
{
	if (!a->at)
		return;
	if (a->pending.len) {
		size_t n = rt_attach_write(a->at, a->pending.data, a->pending.len);

		buf_consume(&a->pending, n < a->pending.len ? n : a->pending.len);
		if (a->pending.len)
			return;
		if (!a->cancelled && a->ops.writable)
			a->ops.writable(a->user);
	}
	if (a->close_in && !a->pending.len)
		rt_attach_close_stdin(a->at);
}

static void on_writable(void *user)
{
	flush(user);
}

static const struct rt_attach_ops rt_ops = { .output = on_output, .end = on_end, .writable = on_writable };

static int tie(struct engine_attach *a, struct container *c, struct err *e)
{
	a->at = rt_attach(c->rt, a->in, !a->logs && (a->out || a->err), &rt_ops, a, e);
	if (!a->at)
		return -1;
	if (a->paused)
		rt_attach_pause(a->at, true);
	flush(a);
	return 0;
}

static void log_line(void *user, int stream, const void *p, size_t n)
{
	on_output(user, stream, p, n);
}

static void log_end(void *user, const struct err *e)
{
	struct engine_attach *a = user;

	a->logs = NULL;
	end(a);
}

struct engine_attach *engine_attach(struct engine *en, const char *ref, bool in, bool out, bool err_, bool stream, bool logs,
				    const struct engine_attach_ops *ops, void *user, struct err *e)
{
	static const struct engine_logs_ops log_ops = { .line = log_line, .end = log_end };
	struct container *c = engine_find(en, ref, e);
	struct engine_attach *a;

	if (!c)
		return NULL;
	if (json_flag(doc_state(c), "Paused", false)) {
		err_set(e, ERR_CONFLICT, "container %s is paused, unpause the container before attach", ref);
		return NULL;
	}
	if (c->phase == PHASE_RESTART_WAIT) {
		err_set(e, ERR_CONFLICT, "container %s is restarting, wait until the container is running", ref);
		return NULL;
	}
	a = mem_zalloc(sizeof(*a));
	a->en = en;
	a->ops = *ops;
	a->user = user;
	a->in = in && json_flag(doc_config(c), "OpenStdin", false) && stream;
	a->out = out;
	a->err = err_;
	buf_init(&a->pending, 16 << 20);
	if (logs) {
		struct engine_logs_args la = { .follow = stream, .want_stdout = out, .want_stderr = err_, .tail = -1 };

		a->logs = engine_logs(en, ref, &la, &log_ops, a, e);
		if (!a->logs) {
			free_attach(a);
			return NULL;
		}
		if (!stream || !a->in)
			return a;
	}
	if (c->rt && c->created) {
		if (tie(a, c, e) < 0) {
			free_attach(a);
			return NULL;
		}
		return a;
	}
	a->c = c;
	a->next = c->attaches;
	a->link = &c->attaches;
	if (a->next)
		a->next->link = &a->next;
	c->attaches = a;
	return a;
}

size_t engine_attach_write(struct engine_attach *a, const void *p, size_t n)
{
	size_t put = 0;

	if (!a->in || a->ended || a->close_in)
		return 0;
	if (a->at && !a->pending.len)
		put = rt_attach_write(a->at, p, n);
	if (put < n)
		buf_add(&a->pending, (const char *)p + put, n - put);
	return a->pending.len;
}

void engine_attach_close_stdin(struct engine_attach *a)
{
	a->close_in = true;
	if (a->at && !a->pending.len)
		rt_attach_close_stdin(a->at);
}

void engine_attach_pause(struct engine_attach *a, bool paused)
{
	a->paused = paused;
	if (a->logs)
		engine_logs_pause(a->logs, paused);
	else if (a->at)
		rt_attach_pause(a->at, paused);
}

void engine_attach_cancel(struct engine_attach *a)
{
	a->cancelled = true;
	if (a->ended)
		return;
	a->ended = true;
	unlist(a);
	loop_defer(a->en->l, free_attach, a);
}

void attach_created(struct container *c)
{
	while (c->attaches) {
		struct engine_attach *a = c->attaches;
		struct err e = { 0 };

		unlist(a);
		if (tie(a, c, &e) < 0) {
			log_error("engine", "container %.12s: cannot attach: %s", c->id, e.msg);
			end(a);
		}
	}
}

void attach_gone(struct container *c)
{
	while (c->attaches)
		end(c->attaches);
}
