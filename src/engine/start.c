/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "start" to "at rest":
 *
 *   STARTING  volumes acquired -> worker makes directories and config.json -> rt_launch, up to the namespaces --+-> created -+-> rt_start
 *             net_sandbox_open -+-> rt_net ---------------------------------------------------------------------/            |
 *                               +-> worker writes hosts, resolv.conf into files that are there ------------------------------+
 *                               \-> the document, with the sandbox record and the mark "Starting", is committed -------------/
 *   RUNNING   until exited(); the document is committed without the mark when the container has run for a moment
 *   CLEANING  net_sandbox_close -> volumes released -> the document is committed -> container_at_rest()
 *
 * Whatever fails on the way goes to CLEANING too. The commit before rt_start is what makes a killed engine find the
 * container again; before it, a monitor whose control socket dies undoes everything by itself. What the engine finds marked was started if
 * a monitor or an exit record says so, or if the machine has gone down since: then it may have been, and is taken for lost.
 *
 * The two lines join: whichever fails, the other one is waited for before anything is undone. A container that shares the host's or another
 * one's network, or is made by another runtime, has its network (or the lack of one) first and the rest after it.
 */
#include "engine/defaults.h"
#include "engine/mounts.h"
#include "engine/prepare.h"

#include "engine/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static void cleaned(void *user);

#define SETTLE_NS 100000000

/* The mark remembers what is to be shown if nothing comes of it. */
static void mark_starting(struct container *c)
{
	json_t *s = doc_state(c);

	doc_set(c->doc, "Starting", json_pack("{s:O, s:s}", "StartedAt", json_object_get(s, "StartedAt"), "Boot", c->en->boot));
	doc_set_time(s, "StartedAt", clock_wall());
}

static void unmark(struct container *c)
{
	json_t *at = json_object_get(json_obj(c->doc, "Starting"), "StartedAt");

	if (at && !c->started_ok)
		json_object_set(doc_state(c), "StartedAt", at);
	json_object_del(c->doc, "Starting");
}

static void settled(void *user)
{
	struct container *c = user;

	loop_timer_free(TAKE(c->settle));
	container_save(c, NULL, NULL);
}

static void set_state(struct container *c, const char *status, pid_t pid)
{
	json_t *s = doc_state(c);

	doc_set(s, "Status", json_string(status));
	doc_set(s, "Running", json_boolean(str_eq(status, "running") || str_eq(status, "restarting")));
	doc_set(s, "Restarting", json_boolean(str_eq(status, "restarting")));
	doc_set(s, "Paused", json_false());
	doc_set(s, "Pid", json_integer(pid));
}

/* The sandbox goes, then the document is written, then everybody hears of it. */
static void clean(struct container *c)
{
	c->phase = PHASE_CLEANING;
	c->created = false;
	if (!c->started_ok)
		c->failed = TAKE(c->up);
	health_end(c);
	rt_free(TAKE(c->rt));
	loop_timer_free(TAKE(c->settle));
	prepare_free(TAKE(c->prep));
	if (c->net_open) {
		c->net_open = false;
		net_sandbox_close(c->en->net, c->id, c->net, cleaned, c);
	} else {
		cleaned(c);
	}
}

static void fail(struct container *c, const struct err *e)
{
	if (!c->side_failed || !c->start_err.msg[0])	/* what failed first is why */
		c->start_err = *e;
	if (c->start_err.kind == ERR_NONE)
		c->start_err.kind = ERR_INTERNAL;
	c->start_failed = c->net_pending || c->names_pending;
	if (!c->start_failed)
		clean(c);
}

/* On the network's line: true if that ended it, and what was waited for with it. */
static bool side_over(struct container *c, const struct err *e)
{
	struct err copy = c->start_err;

	if (c->start_failed) {
		c->start_failed = false;
		fail(c, &copy);
		return true;
	}
	if (!e)
		return false;
	c->start_err = *e;
	c->side_failed = true;
	if (c->rt)
		rt_net(c->rt, -1);	/* created() comes, with an error */
	return true;
}

static void saved_at_rest(void *user, const struct err *e)
{
	struct container *c = user;

	if (e)
		log_error("engine", "container %.12s: its end is not on disk: %s", c->id, e->msg);
	(void)FAULT("engine.rest");
	container_at_rest(c);
}

int exec_error_code(const struct err *e)
{
	if (strstr(e->msg, "executable file not found") || strstr(e->msg, "no such file or directory"))
		return 127;
	return strstr(e->msg, "permission denied") || strstr(e->msg, "is a directory") ? 126 : 128;
}

static void cleaned(void *user)
{
	struct container *c = user;
	json_t *s = doc_state(c);

	mounts_release(c);
	unmark(c);
	if (c->started_ok) {
		set_state(c, "exited", 0);
		doc_set(s, "ExitCode", json_integer(c->exit.status));
		doc_set(s, "OOMKilled", json_boolean(c->exit.oom));
		doc_set_time(s, "FinishedAt", c->exit.finished_ns ? c->exit.finished_ns : clock_wall());
		if (c->exit.oom)
			event_container(c, "oom", NULL);
		event_container(c, "die", json_pack("{s:o, s:o}", "exitCode", json_sprintf("%d", c->exit.status), "execDuration",
						    json_sprintf("%lld", (long long)((clock_now() - c->up_since) / 1000000000))));
	} else {
		set_state(c, str_starts(json_str(s, "StartedAt", "0001-"), "0001-") ? "created" : "exited", 0);
		doc_set(s, "ExitCode", json_integer(exec_error_code(&c->start_err)));
		doc_set(s, "Error", json_string(c->start_err.msg));
		doc_set_time(s, "FinishedAt", doc_time(s, "StartedAt") ? clock_wall() : 0);
	}
	endpoints_events(c, "disconnect");
	json_decref(c->net);
	c->net = NULL;
	(void)FAULT("engine.exit");
	container_save(c, saved_at_rest, c);
}

/* Monitor events */

static void close_lost(void *user);

static void on_exited(void *user, const struct rt_exit *x)
{
	struct container *c = user;

	c->leaving = TAKE(c->rt);
	if (c->lost && c->phase == PHASE_CLEANING) {
		close_lost(c);
		return;
	}
	c->exit = *x;
	if (c->phase == PHASE_STARTING || c->phase == PHASE_RUNNING)
		clean(c);
}

static void on_gone(void *user)
{
	struct container *c = user;

	rt_free(TAKE(c->leaving));
	waiters_call(&c->unwritten, NULL);
}

static void on_started(void *user, const struct err *e)
{
	struct container *c = user;

	if (e) {
		/* exited() follows and cleans; its waiters get this. */
		c->start_err = *e;
		if (exec_error_code(e) != 128) {
			c->start_err.kind = ERR_INVALID;
			err_wrap(&c->start_err, "failed to create task for container: OCI runtime start failed: unable to start container process");
			snprintf(c->start_err.msg + strlen(c->start_err.msg), sizeof(c->start_err.msg) - strlen(c->start_err.msg), ": unknown");
		}
		return;
	}
	c->started_ok = true;
	c->phase = PHASE_RUNNING;
	c->up_since = clock_now();
	unmark(c);
	c->settle = loop_timer_new(c->en->l, settled, c);
	loop_timer_set(c->settle, SETTLE_NS);	/* most that end at once have done so by then, and need no commit of their own */
	(void)FAULT("engine.started");
	event_container(c, "start", NULL);
	health_begin(c);
	restart_turn_over(c);
	waiters_call(&c->up, NULL);
	if (c->kill_after_start && c->rt)
		(void)rt_kill(c->rt, 9, NULL);
}

/* It is made, but must not run. */
static void undo(struct container *c, const struct err *e)
{
	struct err why = *e;

	rt_destroy(TAKE(c->rt));
	fail(c, &why);
}

/* Made, named and committed, whichever was last. */
static void go(struct container *c)
{
	if (c->phase != PHASE_STARTING || !c->rt || !c->created || c->names_pending || c->commit == COMMIT_WAITS)
		return;
	if (c->side_failed || c->commit == COMMIT_FAILED) {
		undo(c, &c->start_err);
		return;
	}
	(void)FAULT("engine.start");
	rt_start(c->rt);
}

static void saved_before_start(void *user, const struct err *e)
{
	struct container *c = user;

	c->commit = e ? COMMIT_FAILED : COMMIT_DONE;
	if (e && !c->side_failed)
		c->start_err = *e;
	go(c);
}

static void on_created(void *user, pid_t pid, const struct err *e)
{
	struct container *c = user;
	json_t *s = doc_state(c);

	if (e) {
		struct err copy = *e;

		if (c->side_failed)
			copy = c->start_err;
		else
			err_wrap(&copy, "failed to create task for container: OCI runtime create failed");
		attach_gone(c);
		fail(c, &copy);
		return;
	}
	if (c->kill_after_start) {
		err_set(&c->start_err, ERR_CONFLICT, "container %s was stopped while it started", container_name(c));
		rt_destroy(TAKE(c->rt));
		clean(c);
		return;
	}
	c->created = true;
	attach_created(c);
	set_state(c, "running", pid);
	doc_set(s, "ExitCode", json_integer(0));
	doc_set(s, "Error", json_string(""));
	doc_set(s, "OOMKilled", json_false());
	doc_set_time(s, "StartedAt", clock_wall());
	health_reset(c);
	(void)FAULT("engine.created");
	go(c);
}

static void names_written(struct work *w)
{
	struct prepare *p = CONTAINER_OF(w, struct prepare, names_work);
	struct container *c = p->c;
	struct err e = p->e;

	c->names_pending = false;
	c->prep = NULL;
	prepare_free(p);
	if (!side_over(c, e.kind == ERR_NONE ? NULL : &e) || c->created)
		go(c);
}

/* Once the network is made and there is a place to write the names to. */
static void net_ready(struct container *c)
{
	struct err e = { 0 };
	int fd;

	if (!c->prep || c->net_pending || c->side_failed || c->start_failed)
		return;
	fd = open(c->prep->netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err_errno(&e, errno, "open the network namespace '%s'", c->prep->netns);
	if (fd < 0 || prepare_names(c->prep, &e) < 0) {
		fd_closep(&fd);
		(void)side_over(c, &e);
		return;
	}
	rt_net(c->rt, fd);
	c->names_pending = true;
	c->prep->names_work.run = prepare_names_run;
	c->prep->names_work.done = names_written;
	work_start(c->en->pool, &c->prep->names_work);
}

static const struct rt_ops rt_callbacks = { .created = on_created, .started = on_started, .exited = on_exited, .gone = on_gone };

static void prepared(struct work *w)
{
	struct prepare *p = CONTAINER_OF(w, struct prepare, work);
	struct container *c = p->c;
	char *bundle CLEANUP(mem_freep) = prepare_bundle(p), *upper CLEANUP(mem_freep) = mem_printf("%s/upper", p->dir);
	char *work CLEANUP(mem_freep) = mem_printf("%s/work", p->dir), *path CLEANUP(mem_freep) = doc_log_path(c), *runtime CLEANUP(mem_freep) = NULL;
	char *cache CLEANUP(mem_freep) = mem_printf("%s/seccomp", c->en->exec_root);
	struct err e = { 0 };

	if (p->e.kind != ERR_NONE || c->side_failed) {
		fail(c, &p->e);
		prepare_free(p);
		return;
	}
	if (runtime_path(json_str(doc_host(c), "Runtime", ""), &runtime, &e) < 0) {
		fail(c, &e);
		prepare_free(p);
		return;
	}
	{
		struct rt_launch a = {
			.id = c->id, .bundle = bundle, .run_dir = p->run_dir, .lowers = p->layers, .upper = upper, .work = work,
			.cgroup = p->cgroup, .cache = cache, .runtime = runtime, .tty = json_flag(doc_config(c), "Tty", false), .stdin_open = json_flag(doc_config(c), "OpenStdin", false),
			.stdin_once = json_flag(doc_config(c), "StdinOnce", false), .late_net = c->late_net,
			.log = { .driver = p->log.file ? "json-file" : "none", .path = path, .max_size = p->log.max_size, .max_files = p->log.max_files,
				 .compress = p->log.compress, .attrs = p->log.attrs, .ship = p->log.ship, .address = p->log.address,
				 .format = p->log.format, .host = p->log.host, .tag = p->log.tag, .facility = p->log.facility, .fields = p->log.fields },
		};

		(void)FAULT("engine.launch");
		c->rt = rt_launch(c->en->l, c->en->runtime_path, &a, &rt_callbacks, c, &e);
	}
	if (c->rt && c->late_net) {
		c->prep = p;
		net_ready(c);
		return;
	}
	prepare_free(p);
	if (!c->rt)
		fail(c, &e);
}

static void volumes_ready(void *user, const struct err *e)
{
	struct container *c = user;
	struct err e2 = { 0 };
	struct prepare *p;

	if (e || c->side_failed) {
		fail(c, e ? e : &e2);
		return;
	}
	if (c->kill_after_start) {
		err_set(&e2, ERR_CONFLICT, "container %s was stopped while it started", container_name(c));
		fail(c, &e2);
		return;
	}
	p = prepare_new(c, c->late_net, &e2);
	if (!p) {
		fail(c, &e2);
		return;
	}
	p->work.run = prepare_run;
	p->work.done = prepared;
	work_start(c->en->pool, &p->work);
}

static void net_opened(void *user, json_t *record, const struct err *e)
{
	struct container *c = user;
	struct err why;

	c->net_pending = false;
	if (e) {
		why = *e;
		(void)err_wrap(&why, "failed to set up container networking");
		if (c->late_net)
			(void)side_over(c, &why);
		else
			fail(c, &why);
		return;
	}
	c->net = json_incref(record);
	c->net_open = true;
	if (c->late_net && side_over(c, NULL))
		return;
	mark_starting(c);
	c->commit = COMMIT_WAITS;
	container_save(c, saved_before_start, c);
	endpoints_events(c, "connect");
	hosts_relink(c);
	if (c->late_net)
		net_ready(c);
	else
		mounts_acquire(c, volumes_ready, c);
}

/* The endpoints of doc "Networks", then the sandbox. */
static void open_sandbox(struct container *c, const struct net_port *ports, size_t n_ports)
{
	json_t *networks = json_obj(c->doc, "Networks"), *ep;
	size_t n = json_object_size(networks), i = 0;
	struct endpoint_want *w = mem_zalloc((n + 1) * sizeof(*w));
	struct net_endpoint_spec *specs = mem_zalloc((n + 1) * sizeof(*specs));
	struct net_sandbox_spec spec = { .id = c->id, .name = container_name(c), .endpoints = specs, .n_endpoints = n, .ports = ports, .n_ports = n_ports };
	char **nameservers = NULL;
	const json_t *labels = json_obj(doc_config(c), "Labels");
	const char *network;

	spec.publish_policy = json_str(labels, "kedge.publish.policy", c->en->publish_policy);
	spec.publish_sources = json_str(labels, "kedge.publish.sources", NULL);
	json_array_foreach(json_arr(doc_host(c), "Dns"), i, ep)
		nameservers = strv_add(nameservers, json_string_value(ep));
	spec.nameservers = (const char *const *)nameservers;
	spec.n_nameservers = nameservers ? strv_len(nameservers) : 0;
	i = 0;
	json_object_foreach(networks, network, ep) {
		endpoint_spec(c, network, ep, &w[i]);
		specs[i] = w[i].spec;
		i++;
	}
	net_sandbox_open(c->en->net, &spec, net_opened, c);
	for (i = 0; i < n; i++)
		endpoint_want_done(&w[i]);
	strv_free(nameservers);
	free(w);
	free(specs);
}

static void join_sandbox(struct container *c)
{
	struct err e = { 0 };
	struct container *t = endpoints_joined(c, &e);
	struct net_sandbox_spec spec = { .id = c->id, .name = container_name(c), .join = t ? json_str(t->net, "NetNS", "") : NULL };

	if (t)
		net_sandbox_open(c->en->net, &spec, net_opened, c);
	else
		fail(c, &e);
}

static void open_net(void *user);

static void unwritten(void *user, const struct err *e)
{
	(void)e;
	open_net(user);
}

/* It has a namespace of its own, and the runtime is ours. */
static bool net_can_be_late(const struct container *c)
{
	json_t *networks = json_obj(c->doc, "Networks"), *ep;
	const char *name;
	char *runtime CLEANUP(mem_freep) = NULL;

	json_object_foreach(networks, name, ep) {
		if (str_eq(name, "host") || str_eq(name, "none"))
			return false;
	}
	return json_object_size(networks) && runtime_path(json_str(doc_host(c), "Runtime", ""), &runtime, NULL) == 0 && !runtime;
}

static void open_net(void *user)
{
	struct container *c = user;
	struct net_port *ports = NULL;
	struct err e = { 0 };
	size_t n = 0;

	if (c->writer || c->leaving) {	/* its overlay is still mounted: by archive.c, by the monitor of the run before */
		waiter_add(&c->unwritten, c, unwritten, c);
		return;
	}
	if (str_starts(doc_network(c), "container:")) {
		join_sandbox(c);
		return;
	}
	if (net_ports_from_api(json_object_get(doc_config(c), "ExposedPorts"), json_object_get(doc_host(c), "PortBindings"),
			       json_flag(doc_host(c), "PublishAllPorts", false), &ports, &n, &e) < 0) {
		fail(c, &e);
		return;
	}
	c->late_net = net_can_be_late(c);
	c->net_pending = c->late_net;
	open_sandbox(c, ports, n);
	free(ports);
	if (c->late_net)
		mounts_acquire(c, volumes_ready, c);
}

void container_start(struct container *c)
{
	container_cancel_restart(c);
	c->phase = PHASE_STARTING;
	c->started_ok = c->kill_after_start = c->manual_stop = c->restart_after = c->lost = false;
	c->late_net = c->side_failed = c->start_failed = false;
	err_clear(&c->start_err);
	memset(&c->exit, 0, sizeof(c->exit));
	doc_set(c->doc, "ManualStop", json_false());
	loop_defer(c->en->l, open_net, c);
}

/* After a restart of the engine */

static void close_lost(void *user)
{
	struct container *c = user;

	if (c->net_open) {
		c->net_open = false;
		net_sandbox_close(c->en->net, c->id, c->net, cleaned, c);
	} else {
		cleaned(c);
	}
}

static void remove_left(void *user)
{
	container_remove_now(user);
}

void container_adopt(struct container *c)
{
	char *run_dir CLEANUP(mem_freep) = container_run_dir(c);
	json_t *mark = json_obj(c->doc, "Starting");
	bool was_running = mark || (json_flag(doc_state(c), "Running", false) && !json_flag(doc_state(c), "Restarting", false));
	struct rt_state st = { 0 };
	struct err e = { 0 };

	c->manual_stop = json_flag(c->doc, "ManualStop", false);
	c->net = json_incref(json_obj(c->doc, "Net"));
	if (was_running)
		c->rt = rt_adopt(c->en->l, run_dir, &rt_callbacks, c, &st, &e);
	if (c->rt && !st.left) {
		c->phase = PHASE_RUNNING;
		c->created = c->started_ok = true;
		mounts_adopt(c);
		if (mark) {
			set_state(c, "running", st.pid);
			if (st.started_ns)
				doc_set_time(doc_state(c), "StartedAt", st.started_ns);
			unmark(c);
			health_reset(c);
		}
		c->up_since = clock_now() - (clock_wall() - doc_time(doc_state(c), "StartedAt"));
		doc_set(doc_state(c), "Pid", json_integer(st.pid));
		container_show_paused(c, st.paused);
		if (c->net) {
			c->net_open = true;
			if (net_sandbox_adopt(c->en->net, c->id, c->net, &e) < 0)
				log_error("engine", "container %.12s runs, but its network could not be taken over: %s", c->id, e.msg);
			net_sandbox_ready(c->en->net, c->id, !str_eq(json_str(json_obj(doc_state(c), "Health"), "Status", ""), "unhealthy"));
		}
		if (st.running)
			log_info("engine", "container %.12s (%s) goes on running, pid %d", c->id, container_name(c), (int)st.pid);
		else
			log_info("engine", "container %.12s (%s) has ended without us", c->id, container_name(c));
		return;
	}
	if (was_running || c->net) {
		/* Gone without a record, as after a reboot. Its network goes after the start is through. */
		log_info("engine", "container %.12s (%s) is gone: %s", c->id, container_name(c), e.msg);
		c->phase = PHASE_CLEANING;
		c->started_ok = !mark || !str_eq(json_str(mark, "Boot", ""), c->en->boot);
		if (!c->started_ok)
			err_set(&c->start_err, ERR_UNAVAILABLE, "the engine ended while the container was being started");
		c->exit = (struct rt_exit){ .status = 255, .finished_ns = clock_wall() };
		c->net_open = c->net != NULL;
		c->lost = true;
		/* What is left of it goes first (on_exited): the next start has the same control group and run directory. */
		if (!c->rt)
			loop_defer(c->en->l, close_lost, c);
	} else if (json_flag(doc_host(c), "AutoRemove", false) && (doc_time(doc_state(c), "StartedAt") || *json_str(doc_state(c), "Error", ""))) {
		c->phase = PHASE_CLEANING;
		loop_defer(c->en->l, remove_left, c);	/* it had ended, and the engine with it before the removal */
	} else {
		(void)restart_at_start(c);
	}
}
