/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/adding.h"
#include "image/tree.h"

/*
 * A new image on top of another one: what commit and the steps of a build make. The parent's layers are claimed in the call itself, so
 * that nothing may take them away meanwhile; the rest is a worker's, and one commit of the index at the end.
 */
struct create {
	struct image_op op;
	struct work work;
	struct images *im;
	struct adding add;
	int diff, tar;
	json_t *config;		/* ours alone: a worker reads it */
	json_t *step;		/* entry of the history */
	char parent[DIGEST_SIZE], top[DIGEST_SIZE];	/* top: the parent's chain, or "" */
	uint64_t *bytes;	/* per layer of the parent */
	size_t nbytes;
	char *name;		/* canonical or NULL */
	bool on_the_way;	/* a build's step */
	struct err err;
	void (*done)(void *user, const char *id, const struct err *e);
	void *user;
};

static ssize_t fd_read(void *user, void *p, size_t n)
{
	ssize_t got;

	do
		got = read(*(int *)user, p, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* The directory's archive comes through a pipe, written by a thread for the time it takes. */
struct tree_pipe {
	int dir, out;
	struct err err;
	int rc;
};

static int pipe_write(void *user, const void *p, size_t n)
{
	return file_write_all(*(int *)user, p, n);
}

static void *pipe_run(void *user)
{
	struct tree_pipe *t = user;

	t->rc = image_tree_tar(t->dir, TREE_OVERLAY, pipe_write, &t->out, &t->err);
	(void)close(t->out);
	return NULL;
}

static int unpack_diff(struct create *c, int fs, int keep, struct unpack_result *res, struct err *e)
{
	struct tree_pipe t = { .dir = c->diff };
	CLEANUP(fd_closep) int in = -1;
	pthread_t thread;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, errno, "make a pipe");
	in = fds[0];
	t.out = fds[1];
	rc = pthread_create(&thread, NULL, pipe_run, &t);
	if (rc) {
		(void)close(t.out);
		return err_errno(e, rc, "start a thread");
	}
	rc = unpack_layer(fs, keep, &(struct unpack_source){ fd_read, &in }, "the new layer", res, e);
	/* Stopped early: the writer sees a closed pipe (SIGPIPE is blocked in workers' threads and ignored by the daemon). */
	fd_closep(&in);
	in = -1;
	pthread_join(thread, NULL);
	if (t.rc < 0 && t.err.sys != EPIPE) {
		*e = t.err;
		return -1;
	}
	return rc;
}

/* The layer, if there is one to be: its diff ID and bytes. */
static int create_layer(struct create *c, char *diff, uint64_t *bytes, struct err *e)
{
	CLEANUP(fd_closep) int keep = -1, fs = -1;
	struct unpack_result res;
	char sub[64], chain[DIGEST_SIZE];
	int rc;

	*diff = '\0';
	*bytes = 0;
	if (c->diff < 0 && c->tar < 0)
		return 0;
	if (adding_layer_dir(&c->add, sub, sizeof(sub), &keep, &fs, e) < 0)
		return -1;
	rc = c->tar >= 0 ? unpack_layer(fs, keep, &(struct unpack_source){ fd_read, &c->tar }, "the new layer", &res, e)
			 : unpack_diff(c, fs, keep, &res, e);
	if (rc < 0)
		return -1;
	/* No change, no layer: docker's rule. */
	if (!res.entries)
		return 0;
	digest_chain(*c->top ? c->top : NULL, res.diff, chain);
	if (!adding_has_layer(&c->add, chain, bytes)) {
		adding_fresh(&c->add, chain, res.bytes, sub);
		*bytes = res.bytes;
	}
	memcpy(diff, res.diff, DIGEST_SIZE);
	return 0;
}

static int create_image(struct create *c, struct err *e)
{
	json_t *diffs = json_path(c->config, "rootfs.diff_ids");
	char diff[DIGEST_SIZE], id[DIGEST_SIZE], *text;
	struct image *i;
	uint64_t bytes;

	if (create_layer(c, diff, &bytes, e) < 0)
		return -1;
	if (*diff)
		json_array_append_new(diffs, json_string(diff));
	else
		json_object_set_new(c->step, "empty_layer", json_true());
	json_array_append(json_arr(c->config, "history"), c->step);
	if (bundle_config_check(c->config, "the new image's config", e) < 0)
		return -1;
	text = json_text(c->config);
	digest_of(text, strlen(text), id);
	i = image_new_take(text, json_incref(c->config), id);
	memcpy(i->parent, c->parent, sizeof(i->parent));
	i->step = c->on_the_way;
	for (size_t k = 0; k < i->nlayers; k++)
		i->bytes[k] = k < c->nbytes ? c->bytes[k] : bytes;
	adding_image_take(&c->add, i, c->name ? strv_add(NULL, c->name) : NULL);
	return adding_keep(&c->add, NULL, NULL, e);
}

static void create_run(struct work *w)
{
	struct create *c = CONTAINER_OF(w, struct create, work);

	if (adding_begin(&c->add, &c->err) == 0)
		(void)create_image(c, &c->err);
	adding_end(&c->add);
}

static void create_named(void *user, const char *full, const struct image *old, const struct image *now)
{
	struct create *c = user;
	char familiar[800];

	(void)old;
	images_event(c->im, "tag", now->id, images_familiar(full, familiar, sizeof(familiar)));
}

static void create_committed(struct image_op *op, const struct err *e)
{
	struct create *c = CONTAINER_OF(op, struct create, op);
	const char *id = NULL;

	if (!e)
		id = adding_apply(&c->add, 0, create_named, c)->id;
	c->done(c->user, id, e);
	adding_done(&c->add);
	fd_closep(&c->diff);
	fd_closep(&c->tar);
	json_decref(c->config);
	json_decref(c->step);
	free(c->bytes);
	free(c->name);
	image_op_end(op);
}

static void create_commit(struct image_op *op)
{
	struct create *c = CONTAINER_OF(op, struct create, op);
	struct store_tx *tx;

	if (c->err.kind) {
		create_committed(op, &c->err);
		return;
	}
	tx = store_tx_new(c->im->store);
	adding_tx(&c->add, tx);
	image_op_commit_take(op, tx);
}

static void create_done(struct work *w)
{
	struct create *c = CONTAINER_OF(w, struct create, work);

	c->op.run = create_commit;
	c->op.committed = create_committed;
	image_op_start(c->im, &c->op);
}

static void inherit(json_t *config, const json_t *from, const char *key)
{
	if (!json_object_get(config, key) && json_object_get(from, key))
		json_object_set_new(config, key, json_deep_copy(json_object_get(from, key)));
}

/* The parent's part: its layers are claimed, its history goes on. */
static int create_on(struct create *c, const struct image *p, struct err *e)
{
	uint64_t bytes;

	memcpy(c->parent, p->id, sizeof(c->parent));
	c->bytes = mem_zalloc((p->nlayers + 1) * sizeof(*c->bytes));
	c->nbytes = p->nlayers;
	memcpy(c->bytes, p->bytes, p->nlayers * sizeof(*p->bytes));
	for (size_t k = 0; k < p->nlayers; k++)
		if (!adding_has_layer(&c->add, p->chains[k], &bytes))
			return err_set(e, ERR_NOT_FOUND, "No such image: %s", p->id);
	if (p->nlayers)
		memcpy(c->top, p->chains[p->nlayers - 1], sizeof(c->top));
	inherit(c->config, p->config, "architecture");
	inherit(c->config, p->config, "variant");
	inherit(c->config, p->config, "os");
	json_object_set_new(c->config, "rootfs", json_deep_copy(json_obj(p->config, "rootfs")));
	if (json_arr(p->config, "history"))
		json_object_set_new(c->config, "history", json_deep_copy(json_arr(p->config, "history")));
	return 0;
}

static int create_fill(struct create *c, const struct image_create_args *a, struct err *e)
{
	struct image_ref r;
	char now[48], full[800];

	json_object_del(c->config, "history");
	json_object_set_new(c->config, "rootfs", json_pack("{s:s, s:[]}", "type", "layers", "diff_ids"));
	if (!str_empty(a->parent)) {
		const struct image *p = image_find(c->im, a->parent, e);

		if (!p || create_on(c, p, e) < 0)
			return -1;
	}
	str_time_ns(clock_wall(), now, sizeof(now));
	if (!json_object_get(c->config, "created"))
		json_object_set_new(c->config, "created", json_string(now));
	if (!json_object_get(c->config, "architecture"))
		json_object_set_new(c->config, "architecture", json_string(IMAGE_ARCH));
	if (!json_object_get(c->config, "os"))
		json_object_set_new(c->config, "os", json_string("linux"));
	if (!json_arr(c->config, "history"))
		json_object_set_new(c->config, "history", json_array());
	c->step = json_pack("{s:O}", "created", json_object_get(c->config, "created"));
	if (!str_empty(a->created_by))
		json_object_set_new(c->step, "created_by", json_bytes(a->created_by, strlen(a->created_by)));
	if (!str_empty(a->author)) {
		json_object_set_new(c->step, "author", json_bytes(a->author, strlen(a->author)));
		json_object_set_new(c->config, "author", json_bytes(a->author, strlen(a->author)));
	}
	if (!str_empty(a->comment)) {
		json_object_set_new(c->step, "comment", json_bytes(a->comment, strlen(a->comment)));
		json_object_set_new(c->config, "comment", json_bytes(a->comment, strlen(a->comment)));
	}
	if (str_empty(a->name))
		return 0;
	if (image_ref_parse(a->name, &r, e) < 0)
		return -1;
	if (*r.digest)
		return err_set(e, ERR_INVALID, "refusing to create a tag with a digest reference: '%.300s'", a->name);
	if (!*r.tag)
		strcpy(r.tag, "latest");
	c->name = mem_strdup(image_ref_canonical(&r, full, sizeof(full)));
	return 0;
}

void image_create(struct images *im, const struct image_create_args *a, void (*done)(void *user, const char *id, const struct err *e), void *user)
{
	struct create *c = mem_zalloc(sizeof(*c));

	c->im = im;
	c->diff = a->diff_take;
	c->tar = a->tar_take;
	c->on_the_way = a->step;
	c->done = done;
	c->user = user;
	adding_init(&c->add, im);
	c->config = json_is_object(a->config) ? json_deep_copy(a->config) : json_object();
	c->work.run = create_run;
	c->work.done = create_done;
	/* The error comes from the loop's own turn, as every answer. */
	if (create_fill(c, a, &c->err) < 0)
		create_done(&c->work);
	else
		work_start(im->load_pool, &c->work);
}
