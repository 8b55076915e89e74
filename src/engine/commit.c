/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   freeze (if it runs and is to) -> a pool thread writes the upper directory as a layer's tar into a pipe, the image module reads it ->
 *   the image is committed -> thaw -> told
 */
#include "engine/commit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/changes.h"
#include "engine/engine_priv.h"
#include "engine/published.h"
#include "engine/tarout.h"

struct commit {
	struct work work;
	struct engine *en;
	char id[ID_LEN + 1];
	char *name, *comment, *author, *parent, *created_by, *upper, *image;
	json_t *config;			/* OCI image config */
	bool froze;
	int out;			/* the pipe's end the layer is written to */
	unsigned parts;			/* writer and image module: still at work */
	struct err err, write_err;
	void (*done)(void *user, const char *id, const struct err *e);
	void *user;
};

static void free_commit(struct commit *m)
{
	free(m->name);
	free(m->comment);
	free(m->author);
	free(m->parent);
	free(m->created_by);
	free(m->upper);
	free(m->image);
	json_decref(m->config);
	free(m);
}

static void tell(void *user, const struct err *e)
{
	struct commit *m = user;
	struct container *c = map_get(m->en->by_id, m->id);

	if (e && m->err.kind == ERR_NONE && m->froze)
		log_warn("engine", "container %.12s: goes on standing still after a commit: %s", m->id, e->msg);
	if (m->err.kind == ERR_NONE && c)
		event_container(c, "commit", json_pack("{s:s, s:s, s:s}", "comment", m->comment ? m->comment : "", "imageID", m->image, "imageRef",
						       m->name ? m->name : ""));
	m->done(m->user, m->image, m->err.kind == ERR_NONE ? NULL : &m->err);
	free_commit(m);
}

static void thaw(struct commit *m)
{
	struct container *c = map_get(m->en->by_id, m->id);

	if (m->froze && c && c->rt && c->phase == PHASE_RUNNING)
		rt_pause(c->rt, false, tell, m);
	else
		tell(m, NULL);
}

static void part_done(struct commit *m)
{
	if (--m->parts)
		return;
	/* The writer knows why the reader got half a layer. */
	if (m->write_err.kind != ERR_NONE && m->write_err.sys != EPIPE)
		m->err = m->write_err;
	thaw(m);
}

static int write_pipe(void *user, const void *p, size_t n)
{
	const struct commit *m = user;

	return file_write_all(m->out, p, n);
}

static void write_run(struct work *w)
{
	struct commit *m = CONTAINER_OF(w, struct commit, work);
	static const struct tarout_args args = { .layer = true, .no_top = true, .skip = changes_engine_made };
	int upper CLEANUP(fd_closep) = open(m->upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct tarout *t = tarout_new(write_pipe, m, &m->write_err);

	/* Without upper the container was never started: an empty archive, no change. */
	if (t && (upper < 0 || tarout_add(t, upper, ".", "", &args, &m->write_err) == 0))
		(void)tarout_end(t, &m->write_err);
	tarout_free(t);
	if (m->write_err.kind != ERR_NONE) {
		char no_header[512];

		/* A failed archive must not look whole: a tar that just stops between two entries would. */
		memset(no_header, 0xff, sizeof(no_header));
		(void)file_write_all(m->out, no_header, sizeof(no_header));
	}
	close(TAKE_FD(m->out));
}

static void write_done(struct work *w)
{
	part_done(CONTAINER_OF(w, struct commit, work));
}

static void image_made(void *user, const char *id, const struct err *e)
{
	struct commit *m = user;

	if (e)
		m->err = *e;
	else
		m->image = mem_strdup(id);
	part_done(m);
}

static void work_on(struct commit *m)
{
	struct image_create_args a = { .parent = m->parent, .diff_take = -1, .tar_take = -1, .config = m->config, .created_by = m->created_by,
				       .comment = m->comment, .author = m->author, .name = m->name };
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_errno(&m->err, errno, "make a pipe for the image's layer");
		thaw(m);
		return;
	}
	m->out = fds[1];
	a.tar_take = fds[0];
	m->parts = 2;
	m->work = (struct work){ .run = write_run, .done = write_done };
	image_create(m->en->images, &a, image_made, m);
	work_start(m->en->pool, &m->work);
}

static void frozen(void *user, const struct err *e)
{
	struct commit *m = user;

	if (e) {
		m->err = *e;
		tell(m, NULL);
		return;
	}
	m->froze = true;
	work_on(m);
}

/* What of a container's Config belongs into an image's. */
static json_t *image_part(const json_t *config, const json_t *over)
{
	static const char *const keys[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
					    "Healthcheck", "OnBuild", "Shell" };
	json_t *out = json_object(), *plain = published_config(config);

	for (size_t i = 0; i < N(keys); i++) {
		json_t *v = json_object_get(over, keys[i]);

		if (!v || json_is_null(v) || (json_is_string(v) && !json_string_length(v)))
			v = json_object_get(plain, keys[i]);
		if (v && !json_is_null(v))
			json_object_set_new(out, keys[i], json_deep_copy(v));
	}
	json_decref(plain);
	return out;
}

static char *command_line(const struct container *c)
{
	struct buf b = BUF_INIT;
	const char *w;

	for (size_t i = 0; (w = json_at(json_arr(doc_config(c), "Cmd"), i)); i++)
		buf_printf(&b, "%s%s", i ? " " : "", w);
	return buf_take(&b);
}

void engine_commit(struct engine *en, const char *ref, const struct engine_commit_args *a, void (*done)(void *user, const char *id, const struct err *e),
		   void *user)
{
	struct commit *m = mem_zalloc(sizeof(*m));
	struct container *c = engine_find(en, ref, &m->err);
	char *dir CLEANUP(mem_freep) = NULL;
	json_t *config;

	m->en = en;
	m->done = done;
	m->user = user;
	m->out = -1;
	if (c && (c->phase == PHASE_REMOVING || c->phase == PHASE_STARTING))
		err_set(&m->err, ERR_CONFLICT, "You cannot commit container %s which is %s", c->id, c->phase == PHASE_REMOVING ? "Removing" : "Starting");
	if (m->err.kind != ERR_NONE)
		goto fail;
	memcpy(m->id, c->id, sizeof(m->id));
	config = image_part(doc_config(c), a->config);
	m->config = json_pack("{s:o}", "config", config);
	if (a->author)
		json_object_set_new(m->config, "author", json_string(a->author));
	for (char *const *w = a->changes; w && *w; w++) {
		if (image_change(config, *w, &m->err) < 0)
			goto fail;
	}
	dir = container_dir(c);
	m->upper = mem_printf("%s/upper", dir);
	m->name = mem_strdup(a->name);
	m->comment = mem_strdup(a->comment);
	m->author = mem_strdup(a->author);
	m->parent = mem_strdup(json_str(c->doc, "Image", ""));
	m->created_by = command_line(c);
	if (a->pause && c->phase == PHASE_RUNNING && !json_flag(doc_state(c), "Paused", false))
		rt_pause(c->rt, true, frozen, m);
	else
		work_on(m);
	return;
fail:
	waiter_later(en, tell, m, NULL);
}
