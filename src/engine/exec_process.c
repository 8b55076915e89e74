/* SPDX-License-Identifier: Apache-2.0 */
/* From an ExecConfig to the runtime's "process". The user is looked up in the image's files: a worker does that. */
#include "engine/apparmor.h"
#include "engine/engine_priv.h"
#include "engine/links.h"

#include <string.h>

struct making {
	struct work work;
	char *dir, *hostname;
	char **layers;
	json_t *links;			/* links_env() */
	json_t *config, *host;		/* of the container; their content does not change after creation */
	json_t *exec;
	char *text;
	struct err e;
	void (*done)(void *user, const char *text, const struct err *e);
	void *user;
};

char *exec_command(const json_t *exec)
{
	struct buf b = BUF_INIT;
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(exec, "Cmd"), i, v)
		buf_printf(&b, "%s%s", i ? " " : "", json_string_value(v));
	return b.len ? buf_take(&b) : mem_strdup("");
}

static void make(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, work);
	char *upper CLEANUP(mem_freep) = mem_printf("%s/upper", m->dir);
	const char *user = json_str(m->exec, "User", "");
	struct spec_in in = { .config = m->config, .host = m->host, .links = m->links, .hostname = m->hostname };
	struct user_ids ids = { 0 };
	json_t *p;

	if (m->e.kind != ERR_NONE || apparmor_default(&in.apparmor, &m->e) < 0)
		return;
	if (!*user)
		user = json_str(m->config, "User", "");
	if (user_resolve(m->layers, upper, user, json_arr(m->host, "GroupAdd"), &ids, &m->e) < 0)
		return;
	in.uid = ids.uid;
	in.gid = ids.gid;
	in.groups = ids.groups;
	in.n_groups = ids.n_groups;
	in.home = ids.home;
	p = spec_exec(&in, m->exec, &m->e);
	m->text = p ? json_text(p) : NULL;
	json_decref(p);
	user_ids_done(&ids);
}

static void made(struct work *w)
{
	struct making *m = CONTAINER_OF(w, struct making, work);

	m->done(m->user, m->text, m->text ? NULL : &m->e);
	free(m->text);
	free(m->dir);
	free(m->hostname);
	strv_free(m->layers);
	json_decref(m->links);
	json_decref(m->config);
	json_decref(m->host);
	json_decref(m->exec);
	free(m);
}

void exec_process(struct container *c, const json_t *exec, void (*done)(void *user, const char *text, const struct err *e), void *user)
{
	struct making *m = mem_zalloc(sizeof(*m));
	const char *hostname = json_str(doc_config(c), "Hostname", "");
	struct image *im = image_find(c->en->images, json_str(c->doc, "Image", ""), &m->e);

	m->dir = container_dir(c);
	m->hostname = mem_strdup(*hostname ? hostname : c->en->hostname);
	m->layers = im ? image_layers(c->en->images, im) : NULL;
	m->links = links_env(c);
	m->config = json_incref(doc_config(c));
	m->host = json_incref(doc_host(c));
	m->exec = json_deep_copy(exec);
	m->done = done;
	m->user = user;
	m->work.run = make;
	m->work.done = made;
	work_start(c->en->pool, &m->work);
}
