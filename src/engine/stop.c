/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, kill, restart, remove, rename as asked for by clients; the end of a container. */
#include "engine/endpoints.h"
#include "engine/mounts.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "loop/work.h"

static struct container *find_or_later(struct engine *en, const char *ref, engine_done *done, void *user)
{
	struct err e = { 0 };
	struct container *c = engine_find(en, ref, &e);

	if (c && c->phase == PHASE_REMOVING) {
		err_set(&e, ERR_CONFLICT, "removal of container %s is already in progress", ref);
		c = NULL;
	}
	if (!c)
		waiter_later(en, done, user, &e);
	return c;
}

static void refuse(struct container *c, engine_done *done, void *user, enum err_kind kind, const char *fmt, const char *arg)
{
	struct err e = { 0 };

	/* fmt takes the name and then arg */
	char *text CLEANUP(mem_freep) = mem_printf("%s%s%s", fmt, container_name(c), arg);

	err_set(&e, kind, "%s", text);
	waiter_later(c->en, done, user, &e);
}

void container_at_rest(struct container *c)
{
	bool ok = c->started_ok, again = c->restart_after && !c->remove_after;
	struct err gone = { 0 };

	c->phase = PHASE_IDLE;
	restart_turn_over(c);
	attach_gone(c);
	logs_notify(c);
	if (!ok)
		waiters_call(&c->failed, &c->start_err);
	/* Who asked for a restart while it was ending waits for that, unless somebody wants it removed. */
	if (!again) {
		err_set(&gone, ERR_CONFLICT, "container %s is being removed", container_name(c));
		waiters_call(&c->up, ok ? &gone : &c->start_err);
	}
	if (again) {
		wait_notify(c, false, NULL);
		waiters_call(&c->rest, NULL);
		container_start(c);
		return;
	}
	if (c->remove_after || json_flag(doc_host(c), "AutoRemove", false)) {
		/* wait's "not-running" and "next-exit" first: the exit code is still there to be told */
		wait_notify(c, false, ok ? NULL : c->start_err.msg);
		waiters_call(&c->rest, NULL);
		c->remove_volumes = c->remove_volumes || json_flag(doc_host(c), "AutoRemove", false);
		container_remove_now(c);
		return;
	}
	wait_notify(c, false, ok ? NULL : c->start_err.msg);
	waiters_call(&c->rest, NULL);
	if (c->lost ? restart_at_start(c) : restart_wanted(c)) {
		if (!c->lost)
			restart_later(c);
		c->lost = false;
	}
}

/* Removal: first the document, then the files; a crash in between leaves files nobody knows, cleaned at the next start. */

struct trash {
	struct work work;
	char *dir, *run_dir;
};

static void trash_run(struct work *w)
{
	struct trash *t = CONTAINER_OF(w, struct trash, work);
	int a = file_rm_rf_at(AT_FDCWD, t->dir), b = file_rm_rf_at(AT_FDCWD, t->run_dir);

	if (a < 0 || b < 0)
		log_warn("engine", "cannot remove %s: %s", a < 0 ? t->dir : t->run_dir, strerror(-(a < 0 ? a : b)));
}

static void trash_done(struct work *w)
{
	struct trash *t = CONTAINER_OF(w, struct trash, work);

	free(t->dir);
	free(t->run_dir);
	free(t);
}

struct farewell {
	struct waiter *gone;
};

static void volumes_gone(void *user, const struct err *e)
{
	struct farewell *f = user;

	(void)e;	/* each that stays is somebody's */
	waiters_call(&f->gone, NULL);
	free(f);
}

static void removed(void *user, const struct err *e)
{
	struct container *c = user;
	struct waiter *gone = TAKE(c->gone);
	struct farewell *f;
	struct engine *en;
	json_t *names;
	struct trash *t;

	(void)FAULT("engine.removed");
	if (e) {
		c->phase = PHASE_IDLE;
		c->remove_after = false;
		mounts_keep(c, NULL);
		waiters_call(&gone, e);
		return;
	}
	t = mem_zalloc(sizeof(*t));
	t->dir = container_dir(c);
	t->run_dir = container_run_dir(c);
	t->work.run = trash_run;
	t->work.done = trash_done;
	work_start(c->en->pool, &t->work);
	wait_notify(c, true, NULL);
	event_container(c, "destroy", NULL);
	f = mem_zalloc(sizeof(*f));
	f->gone = gone;
	names = c->remove_volumes ? mounts_anonymous(c) : json_array();
	en = c->en;
	container_free(c);
	if (json_array_size(names))
		mounts_drop(en, names, volumes_gone, f);
	else
		volumes_gone(f, NULL);
	json_decref(names);
}

void container_remove_now(struct container *c)
{
	struct store_tx *tx = store_tx_new(c->en->store);

	container_cancel_restart(c);
	attach_gone(c);
	logs_notify(c);
	c->phase = PHASE_REMOVING;
	(void)FAULT("engine.remove");
	store_tx_del(tx, "container", c->id);
	if (c->remove_volumes)
		mounts_give_up(c, tx);
	store_tx_commit_take(tx, removed, c);
}

void engine_remove(struct engine *en, const char *ref, bool force, bool volumes, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user);

	if (!c)
		return;
	if (c->phase != PHASE_IDLE && !force && c->phase != PHASE_CLEANING) {
		refuse(c, done, user, ERR_CONFLICT, "cannot remove container \"/",
		       c->phase == PHASE_RESTART_WAIT ? "\": container is restarting: stop the container before removing or force remove" :
		       "\": container is running: stop the container before removing or force remove");
		return;
	}
	waiter_add(&c->gone, c, done, user);
	c->remove_volumes = c->remove_volumes || volumes;
	switch (c->phase) {
	case PHASE_RESTART_WAIT:
		wait_notify(c, false, NULL);
		/* fall through */
	case PHASE_IDLE:
		container_remove_now(c);
		break;
	case PHASE_RUNNING:
		event_container(c, "kill", json_pack("{s:s}", "signal", "9"));
		(void)container_signal(c, SIGKILL, true, NULL);
		/* fall through */
	default:
		c->remove_after = c->manual_stop = c->kill_after_start = true;
	}
}

void engine_start(struct engine *en, const char *ref, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user);
	struct err e = { 0 };

	if (!c)
		return;
	switch (c->phase) {
	case PHASE_RUNNING:
		err_set(&e, ERR_NOT_MODIFIED, "container %s is already running", container_name(c));
		waiter_later(en, done, user, &e);
		return;
	case PHASE_CLEANING:
		if (c->remove_after || json_flag(doc_host(c), "AutoRemove", false)) {
			refuse(c, done, user, ERR_CONFLICT, "container ", " is marked for removal and cannot be started");
			return;
		}
		c->restart_after = true;	/* once it has ended */
		c->restart_pause_ns = 0;
		doc_set(c->doc, "RestartCount", json_integer(0));
		waiter_add(&c->up, c, done, user);
		return;
	case PHASE_STARTING:
		waiter_add(&c->up, c, done, user);
		return;
	default:
		c->restart_pause_ns = 0;
		doc_set(c->doc, "RestartCount", json_integer(0));
		waiter_add(&c->up, c, done, user);
		container_start(c);
	}
}

static void out_of_patience(void *user)
{
	struct waiter *w = user;
	struct container *c = w->c;

	if (c->phase == PHASE_RUNNING && c->rt) {
		event_container(c, "kill", json_pack("{s:s}", "signal", "9"));
		(void)container_signal(c, SIGKILL, true, NULL);
	}
}

static void stopped_event(struct container *c, const char *signal)
{
	event_container(c, "kill", json_pack("{s:s}", "signal", signal));
}

struct stop {
	engine_done *done;
	void *user;
	struct container *c;
};

static void stop_done(void *user, const struct err *e)
{
	struct stop *s = user;

	if (!e)
		event_container(s->c, "stop", NULL);
	s->done(s->user, e);
	free(s);
}

static int stop_signal(const struct container *c, const char *signal, struct err *e)
{
	if (str_empty(signal))
		signal = json_str(doc_config(c), "StopSignal", "");
	return str_empty(signal) ? SIGTERM : spec_signal(signal, e);
}

static void stop_running(struct container *c, int signo, int timeout, engine_done *done, void *user)
{
	struct waiter *w;
	char text[16];

	if (timeout == -2)
		timeout = (int)json_i64(doc_config(c), "StopTimeout", 10);
	w = waiter_add(&c->rest, c, done, user);
	snprintf(text, sizeof(text), "%d", signo);
	if (c->phase == PHASE_RUNNING) {
		stopped_event(c, text);
		(void)container_signal(c, timeout == 0 ? SIGKILL : signo, true, NULL);
		if (timeout > 0) {
			w->timer = loop_timer_new(c->en->l, out_of_patience, w);
			loop_timer_set(w->timer, (int64_t)timeout * 1000000000);
		}
	} else {
		c->kill_after_start = true;
	}
}

static int manual_stop(struct container *c)
{
	c->manual_stop = true;
	doc_set(c->doc, "ManualStop", json_true());
	return 0;
}

void engine_stop(struct engine *en, const char *ref, const char *signal, int timeout, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user);
	struct err e = { 0 };
	struct stop *s;
	int signo;

	if (!c)
		return;
	signo = stop_signal(c, signal, &e);
	if (signo < 0) {
		waiter_later(en, done, user, &e);
		return;
	}
	manual_stop(c);
	switch (c->phase) {
	case PHASE_IDLE:
		err_set(&e, ERR_NOT_MODIFIED, "container %s is not running", container_name(c));
		waiter_later(en, done, user, &e);
		return;
	case PHASE_RESTART_WAIT:
		container_cancel_restart(c);
		c->phase = PHASE_IDLE;
		doc_set(doc_state(c), "Status", json_string("exited"));
		doc_set(doc_state(c), "Restarting", json_false());
		doc_set(doc_state(c), "Running", json_false());
		wait_notify(c, false, NULL);
		container_save(c, done, user);
		return;
	default:
		s = mem_zalloc(sizeof(*s));
		*s = (struct stop){ .done = done, .user = user, .c = c };
		/* On disk at once: an engine that dies now must not restart by policy what was told to stop. */
		container_save(c, NULL, NULL);
		stop_running(c, signo, timeout, stop_done, s);
	}
}

static void restarted_up(void *user, const struct err *e)
{
	struct container *c = user;

	if (!e)
		event_container(c, "restart", NULL);
}

static void restart_stopped(void *user, const struct err *e)
{
	if (!e)
		event_container(user, "stop", NULL);
}

void engine_restart(struct engine *en, const char *ref, const char *signal, int timeout, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user);
	struct err e = { 0 };
	int signo;

	if (!c)
		return;
	signo = stop_signal(c, signal, &e);
	if (signo < 0) {
		waiter_later(en, done, user, &e);
		return;
	}
	c->restart_pause_ns = 0;
	doc_set(c->doc, "RestartCount", json_integer(0));
	waiter_add(&c->up, c, restarted_up, c);
	waiter_add(&c->up, c, done, user);
	switch (c->phase) {
	case PHASE_RUNNING:
		c->restart_after = true;
		stop_running(c, signo, timeout, restart_stopped, c);
		break;
	case PHASE_CLEANING:
		c->restart_after = true;
		break;
	case PHASE_STARTING:
		break;
	case PHASE_IDLE:
	case PHASE_RESTART_WAIT:
	case PHASE_REMOVING:
		container_start(c);
		break;
	}
}

void engine_kill(struct engine *en, const char *ref, const char *signal, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user);
	struct err e = { 0 };
	char text[16];
	int signo;

	if (!c)
		return;
	signo = str_empty(signal) ? SIGKILL : spec_signal(signal, &e);
	if (signo < 0) {
		waiter_later(en, done, user, &e);
		return;
	}
	if (c->phase == PHASE_RESTART_WAIT) {	/* as dockerd: nothing is there to be sent to, but it comes back no more */
		if (signo == SIGKILL || signo == stop_signal(c, NULL, NULL))
			engine_stop(en, ref, NULL, 0, done, user);
		else
			waiter_later(en, done, user, NULL);
		return;
	}
	if (c->phase != PHASE_RUNNING) {
		err_set(&e, ERR_CONFLICT, "cannot kill container: %s: container %s is not running", ref, c->id);
		waiter_later(en, done, user, &e);
		return;
	}
	snprintf(text, sizeof(text), "%d", signo);
	if (signo == SIGKILL || signo == stop_signal(c, NULL, NULL))
		manual_stop(c);
	if (container_signal(c, signo, signo == SIGKILL || signo == stop_signal(c, NULL, NULL), &e) < 0 && e.kind != ERR_NOT_FOUND) {
		waiter_later(en, done, user, &e);
		return;
	}
	stopped_event(c, text);
	if (signo == SIGKILL)
		waiter_add(&c->rest, c, done, user);	/* as dockerd: kill returns when it is dead */
	else
		waiter_later(en, done, user, NULL);
}

struct renaming {
	struct container *c;
	char *old;
	engine_done *done;
	void *user;
};

static void renamed(void *user, const struct err *e)
{
	struct renaming *r = user;

	if (!e)
		event_container(r->c, "rename", json_pack("{s:s}", "oldName", r->old));
	r->done(r->user, e);
	free(r->old);
	free(r);
}

void engine_rename(struct engine *en, const char *ref, const char *name, engine_done *done, void *user)
{
	struct container *c = find_or_later(en, ref, done, user), *other;
	struct err e = { 0 };
	struct renaming *r;

	if (!c)
		return;
	if (name && *name == '/')
		name++;
	if (str_empty(name)) {
		err_set(&e, ERR_INVALID, "Neither old nor new names may be empty");
	} else if (!id_name_valid(name)) {
		err_set(&e, ERR_INVALID, "Invalid container name (%.300s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
	} else if (str_eq(name, container_name(c))) {
		err_set(&e, ERR_INVALID, "Renaming a container with the same name as its current name");
	} else if ((other = map_get(en->by_name, name))) {
		err_set(&e, ERR_CONFLICT, "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) "
			"that container to be able to reuse that name.", name, other->id);
	}
	if (e.kind != ERR_NONE) {
		waiter_later(en, done, user, &e);
		return;
	}
	r = mem_zalloc(sizeof(*r));
	*r = (struct renaming){ .c = c, .old = mem_strdup(json_str(c->doc, "Name", "")), .done = done, .user = user };
	map_del(en->by_name, container_name(c));
	doc_set(c->doc, "Name", json_sprintf("/%s", name));
	map_put(en->by_name, name, c);
	endpoints_renamed(c);
	container_save(c, renamed, r);
}
