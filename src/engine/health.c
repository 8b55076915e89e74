/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks.
 *
 *   WAITING --interval--> PROBING (worker, exec, at most the timeout) --result--> WAITING
 *
 * There is one timer per container that has a check, armed for the next thing that is due; a paused container has none. A result changes
 * State.Health; a change of the status is an event and durable, the results between are in a file of the run directory, with the tag of the probe
 * under way: the next engine goes on from there, and ends that probe, whose time limit nobody watches any more.
 */
#include "engine/engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define SECOND 1000000000ll
#define FILE_NAME "health.json"
enum { LOG_MAX = 5, OUTPUT_MAX = 4096, RETRIES = 3 };

struct health {
	struct container *c;		/* NULL: gone; only while a worker has us in hand */
	struct loop_timer *timer;
	bool probing, busy;		/* busy: a worker makes the process */
	bool reported, exited, drained;
	int status;
	int64_t began;			/* wall clock */
	uint32_t tag;
	char id[ID_LEN + 1];
	json_t *exec;
	struct rt_exec *rx, *stale;	/* stale: a probe of the engine before us */
	struct rt_attach *at;
	char out[OUTPUT_MAX];
	size_t out_len;
	bool out_cut;
};

static const json_t *check_of(const struct container *c)
{
	return json_obj(doc_config(c), "Healthcheck");
}

static bool has_check(const struct container *c)
{
	const char *kind = json_at(json_arr(check_of(c), "Test"), 0);

	return kind && (str_eq(kind, "CMD") || str_eq(kind, "CMD-SHELL"));
}

static int64_t span(const struct container *c, const char *key, int64_t def)
{
	int64_t n = json_i64(check_of(c), key, 0);

	return n > 0 ? n : def;
}

static json_t *state(const struct container *c)
{
	return json_obj(doc_state(c), "Health");
}

/* docker's text of a duration: "1m30s", "1.5s", "500ms". */
static void duration_text(int64_t ns, char *out, size_t size)
{
	int64_t s = ns / SECOND, h = s / 3600, m = s / 60 % 60;
	double left = (double)(ns - (h * 3600 + m * 60) * SECOND) / 1e9;

	if (ns < SECOND)
		snprintf(out, size, "%gms", (double)ns / 1e6);
	else if (h)
		snprintf(out, size, "%lldh%lldm%gs", (long long)h, (long long)m, left);
	else if (m)
		snprintf(out, size, "%lldm%gs", (long long)m, left);
	else
		snprintf(out, size, "%gs", left);
}

/* Not fsynced: after a power cut the container begins anew. */
static void keep(const struct health *h)
{
	char *path CLEANUP(mem_freep) = container_run_dir(h->c), *text CLEANUP(mem_freep) = NULL;
	int dir CLEANUP(fd_closep) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	json_t *doc = json_pack("{s:O, s:I}", "Health", state(h->c), "Tag", (json_int_t)(h->probing ? h->tag : 0));

	text = json_text(doc);
	json_decref(doc);
	fd = dir < 0 ? -1 : openat(dir, "." FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;		/* the next one may be luckier; the document has the status */
	if (file_write_all(fd, text, strlen(text)) == 0)
		(void)renameat(dir, "." FILE_NAME, dir, FILE_NAME);
	(void)close(fd);
}

static void arm(struct health *h)
{
	struct container *c = h->c;
	int64_t interval = span(c, "Interval", 30 * SECOND), age = clock_wall() - doc_time(doc_state(c), "StartedAt");

	if (age < span(c, "StartPeriod", 0) && str_eq(json_str(state(c), "Status", ""), "starting"))
		interval = span(c, "StartInterval", 5 * SECOND);
	loop_timer_set(h->timer, interval);
}

static void result(struct health *h, int code, const char *text, size_t n)
{
	struct container *c = h->c;
	json_t *s = state(c), *log = json_arr(s, "Log"), *entry;
	char *old CLEANUP(mem_freep) = mem_strdup(json_str(s, "Status", "starting"));
	const char *now = old;
	int64_t streak = json_i64(s, "FailingStreak", 0), retries = json_i64(check_of(c), "Retries", 0);

	h->reported = true;
	entry = json_pack("{s:i}", "ExitCode", code);
	doc_set_time(entry, "Start", h->began);
	doc_set_time(entry, "End", clock_wall());
	doc_set(entry, "Output", json_bytes(text, n));
	while (json_array_size(log) >= LOG_MAX)
		json_array_remove(log, 0);
	json_array_append_new(log, entry);
	if (code == 0) {
		streak = 0;
		now = "healthy";
	} else if (!(str_eq(old, "starting") && h->began - doc_time(doc_state(c), "StartedAt") < span(c, "StartPeriod", 0))) {
		streak++;
		if (streak >= (retries > 0 ? retries : RETRIES))
			now = "unhealthy";
	}
	doc_set(s, "FailingStreak", json_integer(streak));
	if (!str_eq(old, now)) {
		char *event CLEANUP(mem_freep) = mem_printf("health_status: %s", now);

		doc_set(s, "Status", json_string(now));
		net_sandbox_ready(c->en->net, c->id, !str_eq(now, "unhealthy"));
		container_save(c, NULL, NULL);
		(void)FAULT("engine.health");
		event_container(c, event, NULL);
	}
}

static void post(const struct health *h, const char *action, json_t *extra)
{
	char *text CLEANUP(mem_freep) = extra ? NULL : exec_command(h->exec);
	char *verb CLEANUP(mem_freep) = extra ? mem_strdup(action) : mem_printf("%s: %s", action, text);

	if (!extra)
		extra = json_object();
	doc_set(extra, "execID", json_string(h->id));
	event_container(h->c, verb, extra);
}

static void probe_over(struct health *h)
{
	rt_exec_free(TAKE(h->rx));
	rt_attach_free(TAKE(h->at));
	json_decref(TAKE(h->exec));
	h->probing = false;
	if (h->c->phase != PHASE_RUNNING || h->c->health != h)
		return;
	keep(h);
	if (!json_flag(doc_state(h->c), "Paused", false))
		arm(h);
}

static void maybe_over(struct health *h)
{
	if (!h->exited || !h->drained)
		return;
	if (!h->reported) {
		char text[OUTPUT_MAX + 4];

		memcpy(text, h->out, h->out_len);
		memcpy(text + h->out_len, "...", 3);
		result(h, h->status, text, h->out_len + (h->out_cut ? 3 : 0));
	}
	probe_over(h);
}

static void on_output(void *user, int stream, const void *p, size_t n)
{
	struct health *h = user;
	size_t room = sizeof(h->out) - h->out_len;

	(void)stream;
	if (n > room) {
		h->out_cut = true;
		n = room;
	}
	memcpy(h->out + h->out_len, p, n);
	h->out_len += n;
}

static void on_end(void *user)
{
	struct health *h = user;

	h->drained = true;
	maybe_over(h);
}

static void probe_failed(struct health *h, const struct err *e)
{
	char *text CLEANUP(mem_freep) = mem_printf("%s%s", exec_error_code(e) == 128 ? "" : "OCI runtime exec failed: exec failed: unable to start "
						   "container process: ", e->msg);

	loop_timer_stop(h->timer);
	if (!h->reported)
		result(h, -1, text, strlen(text));
	probe_over(h);
}

static void on_started(void *user, pid_t pid, const struct err *e)
{
	struct health *h = user;

	(void)pid;
	if (e)
		probe_failed(h, e);
	else
		post(h, "exec_start", NULL);
}

static void on_exited(void *user, int status)
{
	struct health *h = user;

	h->exited = true;
	h->status = status;
	loop_timer_stop(h->timer);
	post(h, "exec_die", json_pack("{s:o}", "exitCode", json_sprintf("%d", status)));
	maybe_over(h);
}

static void process_made(void *user, const char *text, const struct err *e)
{
	static const struct rt_exec_ops ops = { .started = on_started, .exited = on_exited };
	static const struct rt_attach_ops attach_ops = { .output = on_output, .end = on_end };
	struct health *h = user;
	struct rt_exec_args a = { .process = text, .tag = h->tag, .out = true };
	struct err e2 = { 0 };

	h->busy = false;
	if (!h->c) {
		json_decref(h->exec);
		free(h);
		return;
	}
	if (!h->c->rt || h->c->phase != PHASE_RUNNING) {
		probe_over(h);
		return;
	}
	if (e) {
		probe_failed(h, e);
		return;
	}
	keep(h);
	h->rx = rt_exec(h->c->rt, &a, &ops, h, &attach_ops, h, &h->at, &e2);
	if (!h->rx)
		probe_failed(h, &e2);
	else
		loop_timer_set(h->timer, span(h->c, "Timeout", 30 * SECOND));
}

static json_t *probe_command(const struct container *c)
{
	json_t *test = json_arr(check_of(c), "Test"), *shell = json_arr(doc_config(c), "Shell"), *cmd;

	if (!str_eq(json_at(test, 0), "CMD-SHELL"))
		cmd = json_array();
	else
		cmd = json_array_size(shell) ? json_copy(shell) : json_pack("[s, s]", "/bin/sh", "-c");
	for (size_t i = 1; i < json_array_size(test); i++)
		json_array_append(cmd, json_array_get(test, i));
	return cmd;
}

static void probe(struct health *h)
{
	h->probing = h->busy = true;
	h->reported = h->exited = h->drained = h->out_cut = false;
	h->out_len = 0;
	h->tag = rt_exec_tag();
	h->began = clock_wall();
	id_new(h->id);
	h->exec = json_pack("{s:o, s:b, s:b}", "Cmd", probe_command(h->c), "AttachStdout", 1, "AttachStderr", 1);
	post(h, "exec_create", NULL);
	exec_process(h->c, h->exec, process_made, h);
}

static void timed_out(struct health *h)
{
	char limit[40], *text CLEANUP(mem_freep) = NULL;

	duration_text(span(h->c, "Timeout", 30 * SECOND), limit, sizeof(limit));
	text = mem_printf("Health check exceeded timeout (%s)%s%.*s", limit, h->out_len ? ": " : "", (int)h->out_len, h->out);
	result(h, -1, text, strlen(text));
	rt_exec_kill(h->rx, SIGKILL);	/* its end leads on */
}

static void on_timer(void *user)
{
	struct health *h = user;

	if (!h->probing)
		probe(h);
	else if (h->rx && !h->reported)
		timed_out(h);
}

static struct health *health_new(struct container *c)
{
	struct health *h = mem_zalloc(sizeof(*h));

	h->c = c;
	h->timer = loop_timer_new(c->en->l, on_timer, h);
	c->health = h;
	return h;
}

/* What is under way is left to itself; the container's end ends it. */
static void drop(struct container *c)
{
	struct health *h = TAKE(c->health);

	if (!h)
		return;
	loop_timer_free(TAKE(h->timer));
	rt_exec_free(TAKE(h->rx));
	rt_exec_free(TAKE(h->stale));
	rt_attach_free(TAKE(h->at));
	if (h->busy) {
		h->c = NULL;	/* process_made() frees it */
		return;
	}
	json_decref(h->exec);
	free(h);
}

void health_reset(struct container *c)
{
	if (has_check(c))
		doc_set(doc_state(c), "Health", json_pack("{s:s, s:i, s:[]}", "Status", "starting", "FailingStreak", 0, "Log"));
	else
		json_object_del(doc_state(c), "Health");
}

void health_begin(struct container *c)
{
	if (has_check(c))
		arm(health_new(c));
}

void health_paused(struct container *c, bool paused)
{
	if (!c->health || c->health->probing)
		return;		/* a probe that is frozen too runs into its time limit, as docker's does */
	if (paused)
		loop_timer_stop(c->health->timer);
	else
		arm(c->health);
}

void health_end(struct container *c)
{
	drop(c);
	if (state(c))
		doc_set(state(c), "Status", json_string("unhealthy"));	/* docker's word for a container that does not run */
}

void health_gone(struct container *c)
{
	drop(c);
}

static void stale_exited(void *user, int status)
{
	struct health *h = user;

	(void)status;
	rt_exec_free(TAKE(h->stale));
}

void health_adopt(struct container *c)
{
	static const struct rt_exec_ops ops = { .exited = stale_exited };
	char *path CLEANUP(mem_freep) = container_run_dir(c);
	int dir CLEANUP(fd_closep) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *doc = dir < 0 ? NULL : json_parse_file_at(dir, FILE_NAME, 1 << 20, NULL), *kept = json_obj(doc, "Health");
	int64_t tag = json_i64(doc, "Tag", 0);
	struct health *h;

	if (!has_check(c) || !c->rt) {
		json_decref(doc);
		return;
	}
	if (kept && json_arr(kept, "Log") && *json_str(kept, "Status", ""))
		doc_set(doc_state(c), "Health", json_incref(kept));
	if (!state(c))
		health_reset(c);
	h = health_new(c);
	if (tag > 0 && tag <= UINT32_MAX) {
		h->stale = rt_exec_adopt(c->rt, (uint32_t)tag, &ops, h);
		rt_exec_kill(h->stale, SIGKILL);
	}
	if (!json_flag(doc_state(c), "Paused", false))
		arm(h);
	json_decref(doc);
}

/* create.c's part */

int health_check_config(const json_t *check, struct err *e)
{
	static const char *const spans[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
	const json_t *test = json_object_get(check, "Test"), *v;
	const char *kind;
	size_t i;

	if (!check || json_is_null(check))
		return 0;
	if (!json_is_object(check) || (test && !json_is_null(test) && !json_is_array(test)))
		return err_set(e, ERR_INVALID, "Healthcheck: wrong type");
	json_array_foreach(test, i, v) {
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
			return err_set(e, ERR_INVALID, "Healthcheck.Test: element %zu is not a string", i);
	}
	kind = json_at(test, 0);
	if (kind && !str_eq(kind, "NONE") && !str_eq(kind, "CMD") && !str_eq(kind, "CMD-SHELL"))
		return err_set(e, ERR_INVALID, "Healthcheck.Test: unknown type \"%s\", it must be NONE, CMD or CMD-SHELL", kind);
	if (kind && !str_eq(kind, "NONE") && json_array_size(test) < 2)
		return err_set(e, ERR_INVALID, "Healthcheck.Test: %s needs a command", kind);
	for (i = 0; i < N(spans); i++) {
		v = json_object_get(check, spans[i]);
		if (v && !json_is_null(v) && !json_is_integer(v))
			return err_set(e, ERR_INVALID, "Healthcheck.%s: wrong type", spans[i]);
		if (json_integer_value(v) && json_integer_value(v) < 1000000)
			return err_set(e, ERR_INVALID, "%s in Healthcheck cannot be less than 1ms", spans[i]);
	}
	v = json_object_get(check, "Retries");
	if (v && !json_is_null(v) && !json_is_integer(v))
		return err_set(e, ERR_INVALID, "Healthcheck.Retries: wrong type");
	if (json_integer_value(v) < 0)
		return err_set(e, ERR_INVALID, "Retries in Healthcheck cannot be negative");
	return 0;
}

json_t *health_merge(const json_t *own, const json_t *image)
{
	static const char *const numbers[] = { "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
	json_t *out;

	if (!own || json_is_null(own))
		return image && json_is_object(image) ? json_copy((json_t *)image) : NULL;
	out = json_copy((json_t *)own);
	if (!json_is_object(image))
		return out;
	if (!json_array_size(json_arr(own, "Test")) && json_arr(image, "Test"))
		doc_set(out, "Test", json_copy(json_arr(image, "Test")));
	for (size_t i = 0; i < N(numbers); i++) {
		if (!json_i64(own, numbers[i], 0) && json_i64(image, numbers[i], 0))
			doc_set(out, numbers[i], json_integer(json_i64(image, numbers[i], 0)));
	}
	return out;
}
