/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/*
 * tag and rmi. The rules of removal are docker's:
 *  - a name goes alone as long as the image has others;
 *  - the last name takes the image with it, and that needs force when a container uses the image;
 *  - an id takes all names, when these are one tag of one repository at most, or with force;
 *  - an image that a running container uses never goes.
 */
struct tag_op {
	struct image_op op;
	char ref[800], target[800];
	char id[DIGEST_SIZE];
	void (*done)(void *user, const struct err *e);
	void *user;
};

static void tag_committed(struct image_op *op, const struct err *e)
{
	struct tag_op *t = CONTAINER_OF(op, struct tag_op, op);
	struct image *i = e ? NULL : images_find_id(op->im, t->id);
	char familiar[800];

	if (i) {
		i->tagged = clock_wall();
		images_apply_ref(op->im, t->target, i);
		images_event(op->im, "tag", i->id, images_familiar(t->target, familiar, sizeof(familiar)));
	}
	t->done(t->user, e);
	image_op_end(op);
}

static void tag_run(struct image_op *op)
{
	struct tag_op *t = CONTAINER_OF(op, struct tag_op, op);
	struct store_tx *tx;
	struct err e = { 0 };
	struct image_ref r;
	struct image *i;
	json_t *doc;

	if (image_ref_parse(t->target, &r, &e) == 0 && *r.digest)
		err_set(&e, ERR_INVALID, "refusing to create a tag with a digest reference: '%.300s'", t->target);
	i = e.kind ? NULL : image_find(op->im, t->ref, &e);
	if (!i) {
		tag_committed(op, &e);
		return;
	}
	if (!*r.tag)
		strcpy(r.tag, "latest");
	image_ref_canonical(&r, t->target, sizeof(t->target));
	snprintf(t->id, sizeof(t->id), "%s", i->id);
	tx = store_tx_new(op->im->store);
	images_tx_ref(tx, t->target, i->id);
	doc = image_doc(i);
	json_object_set_new(doc, "Tagged", json_integer(clock_wall()));
	store_tx_put(tx, "image", i->id, doc);
	json_decref(doc);
	image_op_commit_take(op, tx);
}

void image_tag(struct images *im, const char *ref, const char *target, void (*done)(void *user, const struct err *e), void *user)
{
	struct tag_op *t = mem_zalloc(sizeof(*t));

	/* Longer ones are no references: cut, they stay none. */
	snprintf(t->ref, sizeof(t->ref), "%s", ref);
	snprintf(t->target, sizeof(t->target), "%s", target);
	t->op.run = tag_run;
	t->op.committed = tag_committed;
	t->done = done;
	t->user = user;
	image_op_start(im, &t->op);
}

struct remove_op {
	struct image_op op;
	char ref[800];
	bool force;
	char id[DIGEST_SIZE];
	char **untag;		/* canonical */
	bool delete;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
};

static void remove_end(struct remove_op *r, const json_t *result, const struct err *e)
{
	r->done(r->user, result, e);
	strv_free(r->untag);
	image_op_end(&r->op);
}

static void remove_committed(struct image_op *op, const struct err *e)
{
	struct remove_op *r = CONTAINER_OF(op, struct remove_op, op);
	struct images *im = op->im;
	struct image *i = e ? NULL : images_find_id(im, r->id);
	CLEANUP(json_freep) json_t *result = json_array();
	char **dropped = NULL, familiar[800];

	if (!i) {
		i = images_find_id(im, r->id);
		if (i)
			i->leaving = false;
		remove_end(r, NULL, e);
		return;
	}
	for (char **u = r->untag; u && *u; u++) {
		images_apply_ref(im, *u, NULL);
		json_array_append_new(result, json_pack("{s:s}", "Untagged", images_familiar(*u, familiar, sizeof(familiar))));
		images_event(im, "untag", i->id, i->id);
	}
	if (r->delete) {
		map_del(im->by_id, i->id);
		images_event(im, "delete", i->id, i->id);
		json_array_append_new(result, json_pack("{s:s}", "Deleted", i->id));
		layers_unref(im, i, &dropped);
		for (char **d = dropped; d && *d; d++)
			json_array_append_new(result, json_pack("{s:s}", "Deleted", *d));
		strv_free(dropped);
		image_free(i);
	}
	remove_end(r, result, NULL);
}

/* At most one tag, and all references in one repository. */
static bool single_reference(char **refs)
{
	struct image_ref first, r;
	unsigned tagged = 0;

	if (strv_len(refs) <= 1)
		return true;
	if (image_ref_parse(refs[0], &first, NULL) < 0)
		return false;
	for (char **p = refs; *p; p++) {
		if (image_ref_parse(*p, &r, NULL) < 0 || !str_eq(r.domain, first.domain) || !str_eq(r.path, first.path))
			return false;
		tagged += !*r.digest;
	}
	return tagged <= 1;
}

static const char *used_by(struct images *im, const struct image *i, bool *running)
{
	*running = false;
	return im->in_use ? im->in_use(im->in_use_user, i->id, running) : NULL;
}

static int conflict(const struct image *i, bool hard, struct err *e, const char *why)
{
	return err_set(e, ERR_CONFLICT, "conflict: unable to delete %.12s (%s) - %s", i->id + strlen("sha256:"), hard ? "cannot be forced" : "must be forced",
		       why);
}

/* May the image itself go? soft_refs: further names speak against it, soft_use: stopped containers do. */
static int may_delete(struct images *im, const struct image *i, bool soft_refs, bool soft_use, size_t nrefs, struct err *e)
{
	char why[128];
	bool running;
	const char *user = used_by(im, i, &running);

	if (i->holds)
		return conflict(i, true, e, "image is being used by a build");
	if (user && running) {
		snprintf(why, sizeof(why), "image is being used by running container %.12s", user);
		return conflict(i, true, e, why);
	}
	if (soft_refs && nrefs > 0)
		return conflict(i, false, e, "image is referenced in multiple repositories");
	if (user && soft_use) {
		snprintf(why, sizeof(why), "image is being used by stopped container %.12s", user);
		return conflict(i, false, e, why);
	}
	return 0;
}

/* Fills untag and delete; -1 with the conflict. */
static int remove_decide(struct remove_op *r, struct image *i, bool by_ref, const char *full, struct err *e)
{
	struct images *im = r->op.im;
	CLEANUP(strv_freep) char **refs = images_refs_of(im, i);
	size_t n = strv_len(refs);
	bool running;

	if (by_ref) {
		const char *user = used_by(im, i, &running);
		char familiar[800];

		if (!r->force && single_reference(refs) && user)
			return err_set(e, ERR_CONFLICT,
				       "conflict: unable to remove repository reference \"%s\" (must force) - container %.12s is using its referenced image %.12s",
				       images_familiar(full, familiar, sizeof(familiar)), user, i->id + strlen("sha256:"));
		r->untag = strv_add(NULL, full);
		/* The name goes in any case; the image only if nothing holds it. */
		r->delete = n == 1 && !user && !i->holds;
		return 0;
	}
	if (single_reference(refs)) {
		if (may_delete(im, i, false, !r->force, n, e) < 0)
			return -1;
	} else if (may_delete(im, i, !r->force, !r->force, n, e) < 0) {
		return -1;
	}
	r->untag = TAKE(refs);
	r->delete = true;
	return 0;
}

static void remove_run(struct image_op *op)
{
	struct remove_op *r = CONTAINER_OF(op, struct remove_op, op);
	struct err e = { 0 };
	struct store_tx *tx;
	char full[800];
	bool by_ref;
	struct image *i = images_lookup(op->im, r->ref, &by_ref, full, &e);

	if (!i || remove_decide(r, i, by_ref, full, &e) < 0) {
		remove_end(r, NULL, &e);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", i->id);
	tx = store_tx_new(op->im->store);
	for (char **u = r->untag; u && *u; u++)
		store_tx_del(tx, "image_ref", *u);
	if (r->delete)
		store_tx_del(tx, "image", i->id);
	i->leaving = r->delete;
	image_op_commit_take(op, tx);
}

void image_remove(struct images *im, const char *ref, bool force, bool noprune,
		  void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct remove_op *r = mem_zalloc(sizeof(*r));

	(void)noprune;	/* images here have no parents that a removal could take along */
	snprintf(r->ref, sizeof(r->ref), "%s", ref);
	r->force = force;
	r->op.run = remove_run;
	r->op.committed = remove_committed;
	r->done = done;
	r->user = user;
	image_op_start(im, &r->op);
}
