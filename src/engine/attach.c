/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching: a client's side is tied to the monitor's at once when the container runs, and just before its program starts when the
 * client came earlier, so that no byte is missed. With logs=1 the output comes from the log, old and new, and only stdin is attached.
 */
#include "base/buf.h"
#include "base/detach.h"
#include "engine/engine_priv.h"

#include <stdio.h>
#include <string.h>

struct engine_attach {
	struct engine *en;
	struct container *c;		/* while on its list: not tied yet */
	struct rt_attach *at;
	struct engine_logs *logs;
	struct engine_attach_ops ops;
	void *user;
	bool in, out, err, tty, paused, close_in, ended, cancelled;
	bool held, over;		/* held: the streams' end (over) is not the end yet */
	struct detach_keys keys;
	struct engine_attach **owner;	/* cleared when we go */
	struct buf pending;		/* stdin the monitor has no room for yet */
	char id[ID_LEN + 1], exec_id[ID_LEN + 1];	/* for news about it; exec_id empty: the container's own streams */
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

static void disown(struct engine_attach *a)
{
	if (a->owner)
		*a->owner = NULL;
	a->owner = NULL;
}

static void free_attach(void *user)
{
	struct engine_attach *a = user;

	disown(a);
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
	disown(a);
	unlist(a);
	if (!a->cancelled)
		a->ops.end(a->user);
	a->cancelled = true;
	loop_defer(a->en->l, free_attach, a);
}

static void end_later(void *user)
{
	struct engine_attach *a = user;

	a->ended = false;
	end(a);
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

	a->over = true;
	if (a->logs || a->held)
		return;		/* the log's end is the end; the exec's exit is */
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

const struct rt_attach_ops attach_rt_ops = { .output = on_output, .end = on_end, .writable = on_writable };

void attach_tied(struct engine_attach *a, struct rt_attach *at)
{
	a->at = at;
	if (a->paused)
		rt_attach_pause(a->at, true);
	flush(a);
}

static int tie(struct engine_attach *a, struct container *c, struct err *e)
{
	struct rt_attach *at = rt_attach(c->rt, a->in, !a->logs && (a->out || a->err), &attach_rt_ops, a, e);

	if (!at)
		return -1;
	attach_tied(a, at);
	return 0;
}

struct engine_attach *attach_new(struct engine *en, const struct engine_attach_args *args, bool tty, const struct engine_attach_ops *ops, void *user,
				 struct err *e)
{
	struct detach_keys keys;
	struct engine_attach *a;

	if (detach_parse(&keys, args->detach_keys, e) < 0) {
		err_wrap(e, "Invalid escape keys provided");
		return NULL;
	}
	a = mem_zalloc(sizeof(*a));
	a->en = en;
	a->ops = *ops;
	a->user = user;
	a->in = args->in;
	a->out = args->out;
	a->err = args->err;
	a->tty = tty;
	a->keys = keys;
	buf_init(&a->pending, 16 << 20);
	return a;
}

void attach_hold(struct engine_attach *a, struct engine_attach **owner, const char *container_id, const char *exec_id)
{
	snprintf(a->id, sizeof(a->id), "%s", container_id);
	snprintf(a->exec_id, sizeof(a->exec_id), "%s", exec_id);
	a->held = true;
	a->owner = owner;
	*owner = a;
}

void attach_release(struct engine_attach *a)
{
	a->held = false;
	if (a->over || !a->at)
		end(a);
}

void attach_say(struct engine_attach *a, const char *text)
{
	if (!a->cancelled)
		a->ops.output(a->user, 1, text, strlen(text));
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

struct engine_attach *engine_attach(struct engine *en, const char *ref, const struct engine_attach_args *args,
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
	a = attach_new(en, args, json_flag(doc_config(c), "Tty", false), ops, user, e);
	if (!a)
		return NULL;
	a->in = args->in && json_flag(doc_config(c), "OpenStdin", false) && args->stream;
	if (args->logs) {
		struct engine_logs_args la = { .follow = args->stream, .want_stdout = a->out, .want_stderr = a->err, .tail = -1 };

		a->logs = engine_logs(en, ref, &la, &log_ops, a, e);
		if (!a->logs) {
			free_attach(a);
			return NULL;
		}
	}
	if (c->rt && c->created && (!a->logs || a->in)) {
		if (tie(a, c, e) < 0) {
			free_attach(a);
			return NULL;
		}
	} else if (!a->logs || a->in) {
		a->c = c;
		a->next = c->attaches;
		a->link = &c->attaches;
		if (a->next)
			a->next->link = &a->next;
		c->attaches = a;
	}
	memcpy(a->id, c->id, sizeof(a->id));
	event_container(c, "attach", NULL);
	return a;
}

/* The user left by the keys: what was typed before them still goes in. From the next turn on, as the caller is in the middle of its client. */
static void detached(struct engine_attach *a)
{
	struct container *c = map_get(a->en->by_id, a->id);

	a->ended = true;
	if (c && *a->exec_id)
		event_container(c, "exec_detach", json_pack("{s:s}", "execID", a->exec_id));
	else if (c)
		event_container(c, "detach", NULL);
	loop_defer(a->en->l, end_later, a);
}

static void put(struct engine_attach *a, const void *p, size_t n)
{
	size_t done = 0;

	if (a->at && !a->pending.len)
		done = rt_attach_write(a->at, p, n);
	if (done < n)
		buf_add(&a->pending, (const char *)p + done, n - done);
}

size_t engine_attach_write(struct engine_attach *a, const void *p, size_t n)
{
	struct buf typed CLEANUP(buf_done) = BUF_INIT;
	bool left;

	if (!a->in || a->ended || a->close_in)
		return 0;
	if (!a->tty) {
		put(a, p, n);
		return a->pending.len;
	}
	left = detach_feed(&a->keys, p, n, &typed);
	if (typed.len)
		put(a, typed.data, typed.len);
	if (left)
		detached(a);
	return left ? 0 : a->pending.len;
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
		return;		/* it is being freed, or end_later() is about to */
	a->ended = true;
	disown(a);
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
