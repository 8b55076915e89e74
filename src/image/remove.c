/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/* tag; and what removes: rmi, prune. */
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

/*
 * Removal, by docker's rules:
 *  - a name goes alone as long as the image has others; with a repository's last tag go its digests;
 *  - the last name takes the image along, unless a container uses it or another image was made from it: then it stays, without a name;
 *  - an id takes all names, when these are one tag of one repository at most, or with force;
 *  - an image that a running container uses, or from which another image was made, never goes;
 *  - what it was made from goes with it, as far as it has no name and nothing else stands on it (no with noprune).
 *
 * A plan collects what goes, over several images for a prune, and each decision sees the earlier ones; one commit takes it all.
 */
struct plan {
	struct images *im;
	char **untag;			/* canonical */
	struct image **delete;
	size_t ndelete;
	char **order;			/* "-<canonical>" untagged, "+<id>" deleted: as the answer tells it */
};

static void plan_done(struct plan *p)
{
	strv_free(p->untag);
	strv_free(p->order);
	free(p->delete);
}

static void plan_untag(struct plan *p, const char *full)
{
	CLEANUP(mem_freep) char *mark = mem_printf("-%s", full);

	p->untag = strv_add(p->untag, full);
	p->order = strv_add(p->order, mark);
}

static void plan_delete(struct plan *p, struct image *i)
{
	CLEANUP(mem_freep) char *mark = mem_printf("+%s", i->id);

	p->delete = mem_realloc(p->delete, (p->ndelete + 1) * sizeof(struct image *));
	p->delete[p->ndelete++] = i;
	p->order = strv_add(p->order, mark);
}

static bool planned(const struct plan *p, const struct image *i)
{
	for (size_t k = 0; k < p->ndelete; k++)
		if (p->delete[k] == i)
			return true;
	return false;
}

/* Names that the image has after the plan so far. */
static char **refs_left(const struct plan *p, const struct image *i)
{
	CLEANUP(strv_freep) char **all = images_refs_of(p->im, i);
	char **left = NULL;

	for (char **r = all; *r; r++)
		if (!strv_has(p->untag, *r))
			left = strv_add(left, *r);
	return left ? left : mem_zalloc(sizeof(*left));
}

static bool has_children(const struct plan *p, const struct image *i)
{
	const struct image *c;
	size_t it = 0;

	while ((c = image_next(p->im, &it)))
		if (str_eq(c->parent, i->id) && !planned(p, c))
			return true;
	return false;
}

static bool same_repository(const char *a, const char *b)
{
	struct image_ref x, y;

	return image_ref_parse(a, &x, NULL) == 0 && image_ref_parse(b, &y, NULL) == 0 && str_eq(x.domain, y.domain) && str_eq(x.path, y.path);
}

/* At most one tag, and all references in one repository. */
static bool single_reference(char **refs)
{
	unsigned tagged = 0;

	for (char **p = refs; *p; p++) {
		if (!same_repository(*p, refs[0]))
			return false;
		tagged += !strchr(*p, '@');
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
static int may_delete(const struct plan *p, const struct image *i, bool soft_refs, bool soft_use, struct err *e)
{
	CLEANUP(strv_freep) char **refs = refs_left(p, i);
	char why[128];
	bool running;
	const char *user = used_by(p->im, i, &running);

	if (has_children(p, i))
		return conflict(i, true, e, "image has dependent child images");
	if (i->holds)
		return conflict(i, true, e, "image is being used by a build");
	if (user && running) {
		snprintf(why, sizeof(why), "image is being used by running container %.12s", user);
		return conflict(i, true, e, why);
	}
	if (soft_refs && *refs)
		return conflict(i, false, e, "image is referenced in multiple repositories");
	if (user && soft_use) {
		snprintf(why, sizeof(why), "image is being used by stopped container %.12s", user);
		return conflict(i, false, e, why);
	}
	return 0;
}

/* The image, with what is left of its names, and what it was made from. quiet: a conflict leaves it there, which is no error. */
static int delete_image(struct plan *p, struct image *i, bool force, bool prune, bool quiet, struct err *e)
{
	CLEANUP(strv_freep) char **refs = NULL;
	struct image *parent;

	if (may_delete(p, i, !force, !force, quiet ? NULL : e) < 0)
		return quiet ? 0 : -1;
	refs = refs_left(p, i);
	for (char **r = refs; *r; r++)
		plan_untag(p, *r);
	plan_delete(p, i);
	parent = prune && *i->parent ? images_find_id(p->im, i->parent) : NULL;
	return parent && !parent->leaving ? delete_image(p, parent, false, prune, true, e) : 0;
}

/* A name: it goes, with the last tag of a repository its digests, with the last name the image. */
static int delete_name(struct plan *p, struct image *i, const char *full, bool force, bool prune, struct err *e)
{
	CLEANUP(strv_freep) char **refs = refs_left(p, i), **left = NULL;
	char familiar[800];
	bool running, tagged = false;
	const char *user = used_by(p->im, i, &running);

	if (!force && single_reference(refs) && user)
		return err_set(e, ERR_CONFLICT,
			       "conflict: unable to remove repository reference \"%s\" (must force) - container %.12s is using its referenced image %.12s",
			       images_familiar(full, familiar, sizeof(familiar)), user, i->id + strlen("sha256:"));
	plan_untag(p, full);
	for (char **r = refs; *r; r++)
		tagged |= !str_eq(*r, full) && !strchr(*r, '@') && same_repository(*r, full);
	for (char **r = refs; !tagged && !strchr(full, '@') && *r; r++)
		if (strchr(*r, '@') && same_repository(*r, full))
			plan_untag(p, *r);
	left = refs_left(p, i);
	return *left ? 0 : delete_image(p, i, force, prune, true, e);
}

static int delete_id(struct plan *p, struct image *i, bool force, bool prune, struct err *e)
{
	CLEANUP(strv_freep) char **refs = refs_left(p, i);

	if (single_reference(refs)) {
		if (may_delete(p, i, false, !force, e) < 0)
			return -1;
		for (char **r = refs; *r; r++)
			plan_untag(p, *r);
	}
	return delete_image(p, i, force, prune, false, e);
}

static void plan_tx(struct plan *p, struct store_tx *tx)
{
	for (char **u = p->untag; u && *u; u++)
		store_tx_del(tx, "image_ref", *u);
	for (size_t k = 0; k < p->ndelete; k++) {
		store_tx_del(tx, "image", p->delete[k]->id);
		p->delete[k]->leaving = true;
	}
}

static void plan_undo(struct plan *p)
{
	for (size_t k = 0; k < p->ndelete; k++)
		p->delete[k]->leaving = false;
}

/* The commit has happened. The answer, new reference; *freed: bytes of layers. */
static json_t *plan_apply(struct plan *p, uint64_t *freed)
{
	struct images *im = p->im;
	json_t *result = json_array();
	char familiar[800];

	*freed = 0;
	for (char **o = p->order; o && *o; o++) {
		const char *what = *o + 1;
		struct image *i = **o == '-' ? map_get(im->refs, what) : images_find_id(im, what);
		char **dropped = NULL;

		if (!i)
			continue;
		if (**o == '-') {
			images_apply_ref(im, what, NULL);
			json_array_append_new(result, json_pack("{s:s}", "Untagged", images_familiar(what, familiar, sizeof(familiar))));
			images_event(im, "untag", i->id, i->id);
			continue;
		}
		map_del(im->by_id, i->id);
		images_event(im, "delete", i->id, i->id);
		json_array_append_new(result, json_pack("{s:s}", "Deleted", i->id));
		layers_unref(im, i, &dropped);
		for (char **d = dropped; d && *d; d++) {
			json_array_append_new(result, json_pack("{s:s}", "Deleted", *d));
			for (size_t k = 0; k < i->nlayers; k++)
				*freed += str_eq(i->chains[k], *d) ? i->bytes[k] : 0;
		}
		strv_free(dropped);
		image_free(i);
	}
	return result;
}

struct remove_op {
	struct image_op op;
	struct plan plan;
	char ref[800];
	bool force, prune;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
};

static void remove_committed(struct image_op *op, const struct err *e)
{
	struct remove_op *r = CONTAINER_OF(op, struct remove_op, op);
	CLEANUP(json_freep) json_t *result = NULL;
	uint64_t freed;

	if (e)
		plan_undo(&r->plan);
	else
		result = plan_apply(&r->plan, &freed);
	r->done(r->user, result, e);
	plan_done(&r->plan);
	image_op_end(op);
}

static void remove_run(struct image_op *op)
{
	struct remove_op *r = CONTAINER_OF(op, struct remove_op, op);
	struct err e = { 0 };
	struct store_tx *tx;
	char full[800];
	bool by_ref;
	struct image *i = images_lookup(op->im, r->ref, &by_ref, full, &e);
	int rc = -1;

	r->plan.im = op->im;
	if (i)
		rc = by_ref ? delete_name(&r->plan, i, full, r->force, r->prune, &e) : delete_id(&r->plan, i, r->force, r->prune, &e);
	if (rc < 0) {
		remove_committed(op, &e);
		return;
	}
	tx = store_tx_new(op->im->store);
	plan_tx(&r->plan, tx);
	image_op_commit_take(op, tx);
}

void image_remove(struct images *im, const char *ref, bool force, bool noprune,
		  void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct remove_op *r = mem_zalloc(sizeof(*r));

	snprintf(r->ref, sizeof(r->ref), "%s", ref);
	r->force = force;
	r->prune = !noprune;
	r->op.run = remove_run;
	r->op.committed = remove_committed;
	r->done = done;
	r->user = user;
	image_op_start(im, &r->op);
}

struct prune_op {
	struct image_op op;
	struct plan plan;
	json_t *filters;
	void (*done)(void *user, const json_t *result, const struct err *e);
	void *user;
};

static void prune_committed(struct image_op *op, const struct err *e)
{
	struct prune_op *r = CONTAINER_OF(op, struct prune_op, op);
	CLEANUP(json_freep) json_t *result = NULL;
	uint64_t freed;

	if (e) {
		plan_undo(&r->plan);
	} else {
		json_t *list = plan_apply(&r->plan, &freed);

		result = json_pack("{s:o, s:I}", "ImagesDeleted", list, "SpaceReclaimed", (json_int_t)freed);
		images_event(op->im, "prune", "", NULL);
	}
	r->done(r->user, result, e);
	plan_done(&r->plan);
	json_decref(r->filters);
	image_op_end(op);
}

/* What no container uses: without a tag, or with dangling=false whatever it is called. A conflict leaves an image out. */
static void prune_image(struct plan *p, struct image *i, bool dangling)
{
	CLEANUP(strv_freep) char **refs = refs_left(p, i);
	bool tagged = false;

	for (char **r = refs; *r; r++)
		tagged |= !strchr(*r, '@');
	if (planned(p, i) || (dangling && (tagged || has_children(p, i))))
		return;
	if (!*refs) {
		(void)delete_id(p, i, false, true, NULL);
		return;
	}
	for (char **r = refs; *r; r++)
		if (!strv_has(p->untag, *r))
			(void)delete_name(p, i, *r, false, true, NULL);
}

static void prune_run(struct image_op *op)
{
	struct prune_op *r = CONTAINER_OF(op, struct prune_op, op);
	struct images *im = op->im;
	struct err e = { 0 };
	struct store_tx *tx;
	bool dangling = true;
	struct image **all = image_matches(im, r->filters, &dangling, &e);

	r->plan.im = im;
	if (!all) {
		prune_committed(op, &e);
		return;
	}
	for (struct image **i = all; *i; i++)
		prune_image(&r->plan, *i, dangling);
	free(all);
	tx = store_tx_new(im->store);
	plan_tx(&r->plan, tx);
	image_op_commit_take(op, tx);
}

void images_prune(struct images *im, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user)
{
	struct prune_op *r = mem_zalloc(sizeof(*r));

	r->filters = filters ? json_deep_copy(filters) : NULL;
	r->op.run = prune_run;
	r->op.committed = prune_committed;
	r->done = done;
	r->user = user;
	image_op_start(im, &r->op);
}
