/* SPDX-License-Identifier: Apache-2.0 */
/* Birth and death of the engine, and how containers are found. */
#include "engine/defaults.h"
#include "engine/logopt.h"
#include "engine/mounts.h"
#include "engine/published.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"

const char *container_name(const struct container *c)
{
	const char *name = json_str(c->doc, "Name", "/");

	return *name == '/' ? name + 1 : name;
}

char *container_dir(const struct container *c)
{
	return mem_printf("%s/containers/%s", c->en->data_root, c->id);
}

char *container_run_dir(const struct container *c)
{
	return mem_printf("%s/containers/%s", c->en->exec_root, c->id);
}

char *container_cgroup(const struct container *c)
{
	const char *parent = json_str(doc_host(c), "CgroupParent", "");

	if (str_empty(parent))
		parent = c->en->cgroup_parent;
	return mem_printf("/%s/%s", *parent == '/' ? parent + 1 : parent, c->id);
}

char *engine_upper(struct engine *en, const char *ref, struct err *e)
{
	struct container *c = engine_find(en, ref, e);

	return c ? mem_printf("%s/containers/%s/upper", en->data_root, c->id) : NULL;
}

struct container *container_new(struct engine *en, const char *id, json_t *doc)
{
	struct container *c = mem_zalloc(sizeof(*c));

	c->en = en;
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->doc = doc;
	published_fold(doc_config(c), doc_host(c));
	c->created_ns = doc_time(doc, "Created");
	map_put(en->by_id, c->id, c);
	map_put(en->by_name, container_name(c), c);
	return c;
}

void container_free(struct container *c)
{
	if (map_get(c->en->by_name, container_name(c)) == c)
		map_del(c->en->by_name, container_name(c));
	map_del(c->en->by_id, c->id);
	container_cancel_restart(c);
	restart_turn_over(c);
	health_gone(c);
	exec_gone(c);
	/* Left only when the engine itself ends. */
	waiters_drop(&c->rest);
	waiters_drop(&c->up);
	waiters_drop(&c->failed);
	waiters_drop(&c->gone);
	waiters_drop(&c->unwritten);
	rt_free(TAKE(c->rt));
	rt_free(TAKE(c->leaving));
	loop_timer_free(TAKE(c->settle));
	json_decref(c->net);
	json_decref(c->doc);
	free(c);
}

struct container *engine_find(struct engine *en, const char *ref, struct err *e)
{
	struct container *c, *hit = NULL;
	const char *name = *ref == '/' ? ref + 1 : ref;
	size_t it = 0, n = strlen(ref);

	if ((c = map_get(en->by_id, ref)) || (c = map_get(en->by_name, name)))
		return c;
	if (id_is_prefix(ref)) {
		while ((c = map_next(en->by_id, &it, NULL))) {
			if (strncmp(c->id, ref, n))
				continue;
			if (hit) {
				err_set(e, ERR_INVALID, "multiple IDs found with provided prefix: %s", ref);
				return NULL;
			}
			hit = c;
		}
	}
	if (!hit)
		err_set(e, ERR_NOT_FOUND, "No such container: %s", ref);
	return hit;
}

void container_save(struct container *c, void (*done)(void *user, const struct err *e), void *user)
{
	struct store_tx *tx = store_tx_new(c->en->store);

	(void)FAULT("engine.save");
	if (c->net)
		json_object_set(c->doc, "Net", c->net);
	else
		json_object_del(c->doc, "Net");
	store_tx_put(tx, "container", c->id, c->doc);
	store_tx_commit_take(tx, done, user);
}

static int load_one(const char *id, json_t *doc, void *user)
{
	if (strlen(id) == ID_LEN && id_is_prefix(id))
		(void)container_new(user, id, json_incref(doc));
	else
		log_warn("engine", "the store holds a container with the impossible id %s: left alone", id);
	return 0;
}

/* Directories of containers the store does not know: creations and removals a crash cut short. */
static void clean_dir(struct engine *en, const char *root)
{
	char *path CLEANUP(mem_freep) = mem_printf("%s/containers", root);
	struct dirent *de;
	DIR *d = opendir(path);

	while (d && (de = readdir(d))) {
		int r;

		if (de->d_name[0] == '.' || map_get(en->by_id, de->d_name))
			continue;
		r = file_rm_rf_at(dirfd(d), de->d_name);
		if (r < 0)
			log_warn("engine", "cannot remove what is left of container %.12s: %s", de->d_name, strerror(-r));
	}
	if (d)
		closedir(d);
}

static const char *image_in_use(void *user, const char *image_id, bool *running)
{
	struct engine *en = user;
	const char *found = NULL;
	struct container *c;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL))) {
		if (!str_eq(json_str(c->doc, "Image", ""), image_id))
			continue;
		found = c->id;
		*running = c->phase != PHASE_IDLE;
		if (*running)
			break;
	}
	return found;
}

unsigned engine_image_users(struct engine *en, const char *image_id)
{
	struct container *c;
	unsigned n = 0;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL)))
		n += str_eq(json_str(c->doc, "Image", ""), image_id);
	return n;
}

char **engine_named(struct engine *en, const char *prefix)
{
	struct container *c;
	char **v = NULL;
	size_t it = 0;

	while ((c = map_next(en->by_id, &it, NULL))) {
		if (str_starts(container_name(c), prefix))
			v = strv_add(v, c->id);
	}
	return v;
}

static void read_os(struct engine *en)
{
	struct buf b = BUF_INIT;
	struct utsname un;
	char *p;

	if (uname(&un) == 0) {
		snprintf(en->kernel, sizeof(en->kernel), "%s", un.release);
		snprintf(en->machine, sizeof(en->machine), "%.39s", un.machine);
	}
	(void)file_read_line("/proc/sys/kernel/random/boot_id", en->boot, sizeof(en->boot));
	snprintf(en->os, sizeof(en->os), "Linux");
	if (file_read_at(AT_FDCWD, "/etc/os-release", 65536, &b) == 0 && (p = strstr(b.data, "PRETTY_NAME="))) {
		p += strlen("PRETTY_NAME=");
		p[strcspn(p, "\n")] = '\0';
		if (*p == '"') {
			p++;
			p[strcspn(p, "\"")] = '\0';
		}
		snprintf(en->os, sizeof(en->os), "%s", p);
	}
	buf_done(&b);
}

struct engine *engine_new(struct loop *l, struct work_pool *p, struct store *st, struct images *im, struct volumes *vs, struct net *n,
			  const struct engine_config *cfg, struct err *e)
{
	char *dir CLEANUP(mem_freep) = mem_printf("%s/containers", cfg->data_root);
	char *run CLEANUP(mem_freep) = mem_printf("%s/containers", cfg->exec_root);
	struct engine *en = mem_zalloc(sizeof(*en));
	struct container *c;
	size_t it = 0;
	int r;

	en->l = l;
	en->pool = p;
	en->store = st;
	en->images = im;
	en->volumes = vs;
	en->net = n;
	en->by_id = map_new();
	en->by_name = map_new();
	en->execs = map_new();
	en->history = event_log_new();
	en->data_root = mem_strdup(cfg->data_root);
	en->exec_root = mem_strdup(cfg->exec_root);
	en->runtime_path = mem_strdup(cfg->runtime_path);
	en->idmap = cfg->idmap;
	en->cgroup_parent = mem_strdup(cfg->cgroup_parent);
	en->publish_policy = mem_strdup(cfg->publish_policy);
	en->hostname = mem_strdup(cfg->hostname);
	en->version = mem_strdup(cfg->version);
	read_os(en);
	en->defaults = json_incref(cfg->defaults);
	if (defaults_check(en->defaults, e) < 0)
		goto fail;
	en->log_config = logopt_default(cfg->log_driver, cfg->log_opts, e);
	if (!en->log_config)
		goto fail;
	if ((r = file_mkdir_p(dir, 0711)) < 0 || (r = file_mkdir_p(run, 0711)) < 0) {
		err_errno(e, -r, "cannot make the directories for containers below %s and %s", cfg->data_root, cfg->exec_root);
		goto fail;
	}
	if (points_make(cfg->data_root, e) < 0)
		goto fail;
	if (store_each(st, "container", load_one, en, e) < 0)
		goto fail;
	images_set_in_use(im, image_in_use, en);
	volumes_set_users(vs, mounts_users, en);
	while ((c = map_next(en->by_id, &it, NULL))) {
		container_adopt(c);
		exec_adopt(c);
		health_adopt(c);
	}
	clean_dir(en, en->data_root);
	clean_dir(en, en->exec_root);
	volumes_settle(vs);
	net_gc(n);
	return en;
fail:
	engine_free(en);
	return NULL;
}

void engine_free(struct engine *en)
{
	struct container *c;
	size_t it = 0;

	if (!en)
		return;
	en->closing = true;
	rt_spare_drop();
	work_pool_free(TAKE(en->archivers));
	while ((c = map_next(en->by_id, &it, NULL)))
		container_free(c);
	while (en->waits)
		engine_wait_cancel(en->waits);
	while (en->subs)
		engine_events_cancel(en->subs);
	exec_done(en);
	map_free(en->by_id);
	map_free(en->by_name);
	event_log_free(en->history);
	json_decref(en->log_config);
	free(en->data_root);
	free(en->exec_root);
	free(en->runtime_path);
	runtimes_set(NULL);
	json_decref(en->defaults);
	free(en->cgroup_parent);
	free(en->publish_policy);
	free(en->hostname);
	free(en->version);
	free(en);
}
