/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further programs in running containers.
 *
 *   CREATED --start--> STARTING (a worker makes the process, rt_exec) --started--> RUNNING --exited--> OVER
 *                          +--------------- failed -------------------------------------------------^
 *
 * A record of each is kept as a file in the container's run directory, written before the monitor hears of the program: an engine that
 * comes after a crash finds it there, with the tag by which the monitor knows the program. It is not fsynced: no exec outlives a power cut.
 * What is over can be asked about for KEEP_NS, and no more than KEEP_MAX of them: a script that execs in a loop costs no memory.
 */
#include "engine/engine_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/detach.h"
#include "base/file.h"

#define KEEP_NS (600 * 1000000000ll)
enum { KEEP_MAX = 1024, WAITING_MAX = 1024, RECORD_MAX = 256 << 10 };
#define RECORD "execution-"

enum exec_state { EXEC_CREATED, EXEC_STARTING, EXEC_RUNNING, EXEC_OVER };

struct exec {
	struct engine *en;
	struct container *c;		/* NULL: removed; only while a worker has us in hand */
	char id[ID_LEN + 1];
	json_t *config;			/* ExecConfig as it was created */
	enum exec_state state;
	uint32_t tag;
	pid_t pid;
	int code;
	bool busy;			/* a worker is at it */
	unsigned rows, cols;		/* asked for while starting */
	int64_t over_at;
	struct rt_exec *rx;
	struct engine_attach *attach;	/* the client's side, while there is one */
	engine_done *done;		/* of a start without a client */
	void *user;
	struct exec *next;		/* of the container */
	struct exec *old_next;		/* of those over, oldest first */
};

/* What is over. */
struct exec_old {
	struct exec *first, **end;
	unsigned n;
};

static struct exec_old *old_of(struct engine *en)
{
	if (!en->execs_over) {
		en->execs_over = mem_zalloc(sizeof(*en->execs_over));
		en->execs_over->end = &en->execs_over->first;
	}
	return en->execs_over;
}

static void record_name(const struct exec *x, char *out, size_t size)
{
	snprintf(out, size, RECORD "%s.json", x->id);
}

static int run_dir_of(const struct container *c)
{
	char *dir CLEANUP(mem_freep) = container_run_dir(c);

	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* On the loop: exec-root is a file system in memory, and nothing waits for a disk. */
static int record_write(const struct exec *x)
{
	json_t *doc = json_pack("{s:i, s:i, s:i, s:O}", "State", x->state, "Tag", (int)x->tag, "ExitCode", x->code, "Config", x->config);
	char *text CLEANUP(mem_freep) = json_text(doc), name[ID_LEN + 32], tmp[ID_LEN + 40];
	int dir CLEANUP(fd_closep) = run_dir_of(x->c), fd, r;

	json_decref(doc);
	record_name(x, name, sizeof(name));
	snprintf(tmp, sizeof(tmp), ".%s", name);
	fd = dir < 0 ? -1 : openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, text, strlen(text));
	(void)close(fd);
	if (r == 0 && renameat(dir, tmp, dir, name) < 0)
		r = -errno;
	return r;
}

static void record_remove(const struct exec *x)
{
	int dir CLEANUP(fd_closep) = run_dir_of(x->c);
	char name[ID_LEN + 32];

	record_name(x, name, sizeof(name));
	if (dir >= 0)
		(void)unlinkat(dir, name, 0);	/* the directory may be new: the container was started again */
}

static void unlink_exec(struct exec *x)
{
	struct exec_old *old = old_of(x->en);

	for (struct exec **at = &x->c->execs; *at; at = &(*at)->next) {
		if (*at == x) {
			*at = x->next;
			break;
		}
	}
	for (struct exec **at = &old->first; *at; at = &(*at)->old_next) {
		if (*at != x)
			continue;
		*at = x->old_next;
		old->n--;
		if (!*at)
			old->end = at;
		break;
	}
	map_del(x->en->execs, x->id);
}

static void free_exec(struct exec *x)
{
	rt_exec_free(x->rx);
	json_decref(x->config);
	free(x);
}

static void forget(struct exec *x)
{
	unlink_exec(x);
	free_exec(x);
}

static void forget_old(void *user)
{
	struct engine *en = user;
	struct exec_old *old = old_of(en);
	struct exec *x;

	while ((x = old->first) && (old->n > KEEP_MAX || clock_now() - x->over_at >= KEEP_NS)) {
		record_remove(x);
		forget(x);
	}
	if (!old->first)
		return;
	if (!en->exec_timer)
		en->exec_timer = loop_timer_new(en->l, forget_old, en);
	loop_timer_set(en->exec_timer, old->first->over_at + KEEP_NS - clock_now());
}

static void keep_for_a_while(struct exec *x)
{
	struct exec_old *old = old_of(x->en);

	x->state = EXEC_OVER;
	x->pid = 0;
	x->over_at = clock_now();
	*old->end = x;
	old->end = &x->old_next;
	if (++old->n == 1 || old->n > KEEP_MAX)
		forget_old(x->en);
}

static void post(const struct exec *x, const char *action, bool command, json_t *extra)
{
	char *text CLEANUP(mem_freep) = command ? exec_command(x->config) : NULL;
	char *verb CLEANUP(mem_freep) = command ? mem_printf("%s: %s", action, text) : mem_strdup(action);

	if (!extra)
		extra = json_object();
	doc_set(extra, "execID", json_string(x->id));
	event_container(x->c, verb, extra);
}

static struct exec *find(struct engine *en, const char *id, struct err *e)
{
	struct exec *x = map_get(en->execs, id), *hit = NULL;
	size_t it = 0, n = strlen(id);

	if (!x && id_is_prefix(id)) {
		while ((x = map_next(en->execs, &it, NULL))) {
			if (strncmp(x->id, id, n))
				continue;
			if (hit) {
				err_set(e, ERR_INVALID, "multiple IDs found with provided prefix: %s", id);
				return NULL;
			}
			hit = x;
		}
		x = hit;
	}
	if (!x)
		err_set(e, ERR_NOT_FOUND, "No such exec instance: %s", id);
	return x;
}

static int container_ready(const struct container *c, struct err *e)
{
	if (c->phase == PHASE_RESTART_WAIT)
		return err_set(e, ERR_CONFLICT, "container %s is restarting, wait until the container is running", c->id);
	if (c->phase != PHASE_RUNNING || !c->rt)
		return err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
	if (json_flag(doc_state(c), "Paused", false))
		return err_set(e, ERR_CONFLICT, "container %s is paused, unpause the container before exec", c->id);
	return 0;
}

/* Creation */

static int check_config(const json_t *body, struct err *e)
{
	static const char *const texts[] = { "User", "WorkingDir", "DetachKeys" }, *const flags[] = { "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
		"Privileged" }, *const lists[] = { "Cmd", "Env" };
	const char *cwd = json_str(body, "WorkingDir", "");
	struct detach_keys keys;
	json_t *v, *size = json_object_get(body, "ConsoleSize");
	size_t i, k;

	for (i = 0; i < N(texts); i++) {
		v = json_object_get(body, texts[i]);
		if (v && !json_is_null(v) && (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)))
			return err_set(e, ERR_INVALID, "%s: wrong type", texts[i]);
	}
	for (i = 0; i < N(flags); i++) {
		v = json_object_get(body, flags[i]);
		if (v && !json_is_null(v) && !json_is_boolean(v))
			return err_set(e, ERR_INVALID, "%s: wrong type", flags[i]);
	}
	for (i = 0; i < N(lists); i++) {
		v = json_object_get(body, lists[i]);
		if (v && !json_is_null(v) && !json_is_array(v))
			return err_set(e, ERR_INVALID, "%s: wrong type", lists[i]);
		for (k = 0; k < json_array_size(v); k++) {
			const char *s = json_at(v, k);

			if (!s || strlen(s) != json_string_length(json_array_get(v, k)))
				return err_set(e, ERR_INVALID, "%s: element %zu is not a string", lists[i], k);
			if (i == 1 && (*s == '=' || !*s))
				return err_set(e, ERR_INVALID, "invalid environment variable: %s", s);
		}
	}
	if (size && !json_is_null(size) && (!json_is_array(size) || (json_array_size(size) && json_array_size(size) != 2)))
		return err_set(e, ERR_INVALID, "ConsoleSize: not two numbers, height and width");
	json_array_foreach(size, i, v) {
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 65535)
			return err_set(e, ERR_INVALID, "ConsoleSize: not two numbers, height and width");
	}
	if (!json_array_size(json_arr(body, "Cmd")))
		return err_set(e, ERR_INVALID, "No exec command specified");
	if (*cwd && *cwd != '/')
		return err_set(e, ERR_INVALID, "the working directory '%s' is invalid, it needs to be an absolute path", cwd);
	if (detach_parse(&keys, json_str(body, "DetachKeys", ""), e) < 0)
		return err_wrap(e, "Invalid escape keys (%s) provided", json_str(body, "DetachKeys", ""));
	return 0;
}

static struct exec *exec_new(struct container *c, const char *id, json_t *config_take)
{
	struct exec *x = mem_zalloc(sizeof(*x));

	x->en = c->en;
	x->c = c;
	snprintf(x->id, sizeof(x->id), "%s", id);
	x->config = config_take;
	x->next = c->execs;
	c->execs = x;
	map_put(c->en->execs, x->id, x);
	return x;
}

int engine_exec_create(struct engine *en, const char *ref, const json_t *body, json_t **ret, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	unsigned waiting = 0;
	char id[ID_LEN + 1];
	struct exec *x;
	int r;

	if (!c || container_ready(c, e) < 0 || check_config(body, e) < 0)
		return -1;
	for (x = c->execs; x; x = x->next)
		waiting += x->state == EXEC_CREATED;
	if (waiting >= WAITING_MAX)
		return err_set(e, ERR_CONFLICT, "container %s has %d execs that were created and not started", c->id, WAITING_MAX);
	id_new(id);
	x = exec_new(c, id, json_deep_copy(body));
	r = record_write(x);
	if (r < 0) {
		forget(x);
		return err_errno(e, -r, "cannot keep a record of the exec");
	}
	(void)FAULT("engine.exec_create");
	post(x, "exec_create", true, NULL);
	*ret = json_pack("{s:s}", "Id", x->id);
	return 0;
}

/* Start */

static void over(struct exec *x, int code)
{
	struct engine_attach *a = x->attach;
	int r;

	x->code = code;
	keep_for_a_while(x);
	r = record_write(x);
	if (r < 0 && r != -ENOENT)
		log_warn("engine", "exec %.12s: its end is not recorded: %s", x->id, strerror(-r));
	if (a)
		attach_release(a);
}

/* code: what a shell would say. */
static void failed(struct exec *x, const struct err *e)
{
	engine_done *done = x->done;
	struct err said = *e;
	char *text;

	x->done = NULL;
	x->code = exec_error_code(e);
	if (x->code != 128) {
		said.kind = ERR_INVALID;
		err_wrap(&said, "OCI runtime exec failed: exec failed: unable to start container process");
		snprintf(said.msg + strlen(said.msg), sizeof(said.msg) - strlen(said.msg), ": unknown");
	}
	if (x->attach) {
		text = mem_printf("%s\r\n", said.msg);
		attach_say(x->attach, text);
		free(text);
	}
	if (x->c)
		over(x, x->code);
	if (done)
		done(x->user, &said);
}

static void on_started(void *user, pid_t pid, const struct err *e)
{
	struct exec *x = user;
	engine_done *done = x->done;

	if (e) {
		rt_exec_free(TAKE(x->rx));
		failed(x, e);
		return;
	}
	x->pid = pid;
	if (x->state == EXEC_RUNNING)
		return;		/* adopted: told by the engine before us */
	x->state = EXEC_RUNNING;
	x->done = NULL;
	(void)FAULT("engine.exec_started");
	post(x, "exec_start", true, NULL);
	if (done)
		done(x->user, NULL);
}

static void on_exited(void *user, int status)
{
	struct exec *x = user;

	rt_exec_free(TAKE(x->rx));
	(void)FAULT("engine.exec_exit");
	post(x, "exec_die", false, json_pack("{s:o}", "exitCode", json_sprintf("%d", status)));
	over(x, status);
}

static const struct rt_exec_ops rt_callbacks = { .started = on_started, .exited = on_exited };

static void process_made(void *user, const char *text, const struct err *e)
{
	struct exec *x = user;
	struct rt_exec_args a = { .process = text, .tag = x->tag, .tty = json_flag(x->config, "Tty", false) };
	struct rt_attach *at = NULL;
	struct err e2 = { 0 };
	int r;

	x->busy = false;
	if (!x->c) {		/* removed meanwhile */
		err_set(&e2, ERR_CONFLICT, "the container of exec %s is gone", x->id);
		failed(x, &e2);
		if (x->attach)
			attach_release(x->attach);
		free_exec(x);
		return;
	}
	if (!e && container_ready(x->c, &e2) < 0)
		e = &e2;
	if (!e && (r = record_write(x)) < 0) {
		err_errno(&e2, -r, "cannot keep a record of the exec");
		e = &e2;
	}
	if (e) {
		failed(x, e);
		return;
	}
	(void)FAULT("engine.exec_start");
	a.stdin_open = json_flag(x->config, "AttachStdin", false);
	if (x->attach) {
		a.in = a.stdin_open;
		a.out = json_flag(x->config, "AttachStdout", false) || json_flag(x->config, "AttachStderr", false);
	}
	x->rx = rt_exec(x->c->rt, &a, &rt_callbacks, x, &attach_rt_ops, x->attach, &at, &e2);
	if (!x->rx) {
		failed(x, &e2);
		return;
	}
	if (at)
		attach_tied(x->attach, at);
	if (x->rows || x->cols)
		rt_exec_resize(x->rx, x->rows, x->cols);
}

static int check_start(const struct exec *x, struct err *e)
{
	switch (x->state) {
	case EXEC_CREATED:
		return container_ready(x->c, e);
	case EXEC_STARTING:
	case EXEC_RUNNING:
		return err_set(e, ERR_CONFLICT, "exec command %s is already running", x->id);
	case EXEC_OVER:
		return err_set(e, ERR_CONFLICT, "exec command %s has already run", x->id);
	}
	return -1;
}

static void start(struct exec *x, const struct engine_exec_args *a)
{
	x->state = EXEC_STARTING;
	x->tag = rt_exec_tag();
	x->rows = a->rows;
	x->cols = a->cols;
	x->busy = true;
	exec_process(x->c, x->config, process_made, x);
}

int engine_exec_check(struct engine *en, const char *id, struct err *e)
{
	struct exec *x = find(en, id, e);

	return x ? check_start(x, e) : -1;
}

void engine_exec_start(struct engine *en, const char *id, const struct engine_exec_args *a, engine_done *done, void *user)
{
	struct err e = { 0 };
	struct exec *x = find(en, id, &e);

	if (!x || check_start(x, &e) < 0) {
		waiter_later(en, done, user, &e);
		return;
	}
	x->done = done;
	x->user = user;
	start(x, a);
}

struct engine_attach *engine_exec_attach(struct engine *en, const char *id, const struct engine_exec_args *a, const struct engine_attach_ops *ops,
					 void *user, struct err *e)
{
	struct exec *x = find(en, id, e);
	struct engine_attach_args args = { 0 };
	struct engine_attach *at;

	if (!x || check_start(x, e) < 0)
		return NULL;
	args.in = json_flag(x->config, "AttachStdin", false);
	args.out = json_flag(x->config, "AttachStdout", false);
	args.err = json_flag(x->config, "AttachStderr", false);
	args.detach_keys = json_str(x->config, "DetachKeys", "");
	at = attach_new(en, &args, json_flag(x->config, "Tty", false), ops, user, e);
	if (!at)
		return NULL;
	attach_hold(at, &x->attach, x->c->id, x->id);
	start(x, a);
	return at;
}

/* Looks */

json_t *engine_exec_inspect(struct engine *en, const char *id, struct err *e)
{
	struct exec *x = find(en, id, e);
	json_t *process, *args;

	if (!x)
		return NULL;
	args = json_copy(json_arr(x->config, "Cmd"));
	json_array_remove(args, 0);
	process = json_pack("{s:b, s:s, s:o, s:b}", "tty", json_flag(x->config, "Tty", false), "entrypoint", json_at(json_arr(x->config, "Cmd"), 0),
			    "arguments", args, "privileged", json_flag(x->config, "Privileged", false));
	if (*json_str(x->config, "User", ""))
		doc_set(process, "user", json_string(json_str(x->config, "User", "")));
	return json_pack("{s:s, s:b, s:o, s:o, s:b, s:b, s:b, s:b, s:s, s:s, s:i}", "ID", x->id, "Running", x->state == EXEC_RUNNING,
			 "ExitCode", x->state == EXEC_OVER ? json_integer(x->code) : json_null(), "ProcessConfig", process,
			 "OpenStdin", json_flag(x->config, "AttachStdin", false), "OpenStderr", json_flag(x->config, "AttachStderr", false),
			 "OpenStdout", json_flag(x->config, "AttachStdout", false), "CanRemove", 0, "ContainerID", x->c->id, "DetachKeys", "",
			 "Pid", (int)x->pid);
}

int engine_exec_resize(struct engine *en, const char *id, unsigned rows, unsigned cols, struct err *e)
{
	struct exec *x = find(en, id, e);

	if (!x)
		return -1;
	switch (x->state) {
	case EXEC_CREATED:
		return err_set(e, ERR_CONFLICT, "exec process is not started");
	case EXEC_OVER:
		return err_set(e, ERR_CONFLICT, "exec %s has ended", x->id);
	case EXEC_STARTING:
	case EXEC_RUNNING:
		break;
	}
	x->rows = rows;
	x->cols = cols;
	if (x->rx)
		rt_exec_resize(x->rx, rows, cols);
	return 0;
}

json_t *exec_ids(const struct container *c)
{
	json_t *ids = json_array();

	for (const struct exec *x = c->execs; x; x = x->next) {
		if (x->state != EXEC_OVER)
			json_array_append_new(ids, json_string(x->id));
	}
	if (json_array_size(ids))
		return ids;
	json_decref(ids);
	return json_null();
}

/* After a restart of the engine */

static void adopt_one(struct container *c, int dir, const char *name)
{
	char id[ID_LEN + 1] = "";
	json_t *doc, *config;
	struct exec *x;

	memcpy(id, name + strlen(RECORD), ID_LEN);
	doc = json_parse_file_at(dir, name, RECORD_MAX, NULL);
	config = json_obj(doc, "Config");
	if (!config || !id_is_prefix(id) || map_get(c->en->execs, id) || check_config(config, NULL) < 0) {
		json_decref(doc);
		return;
	}
	x = exec_new(c, id, json_incref(config));
	x->tag = (uint32_t)json_i64(doc, "Tag", 0);
	x->code = (int)json_i64(doc, "ExitCode", 0);
	switch ((enum exec_state)json_i64(doc, "State", EXEC_OVER)) {
	case EXEC_CREATED:
		break;
	case EXEC_STARTING:
	case EXEC_RUNNING:
		if (c->rt) {
			x->state = EXEC_RUNNING;
			x->rx = rt_exec_adopt(c->rt, x->tag, &rt_callbacks, x);
		} else {
			x->code = 137;
			keep_for_a_while(x);
		}
		break;
	case EXEC_OVER:
	default:
		keep_for_a_while(x);
		break;
	}
	json_decref(doc);
}

void exec_adopt(struct container *c)
{
	char *path CLEANUP(mem_freep) = container_run_dir(c);
	DIR *d = opendir(path);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (str_starts(de->d_name, RECORD) && str_ends(de->d_name, ".json") && strlen(de->d_name) == strlen(RECORD) + ID_LEN + 5)
			adopt_one(c, dirfd(d), de->d_name);
	}
	if (d)
		closedir(d);
}

void exec_gone(struct container *c)
{
	struct exec *x;

	while ((x = c->execs)) {
		unlink_exec(x);
		x->c = NULL;
		if (x->busy)
			continue;	/* process_made() frees it */
		if (x->attach)
			attach_release(x->attach);
		free_exec(x);
	}
}

void exec_done(struct engine *en)
{
	loop_timer_free(TAKE(en->exec_timer));
	map_free(en->execs);
	free(en->execs_over);
}
