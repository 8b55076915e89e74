/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/registry.h"

/*
 * The index: images by id, references to them, operations on both. In the store: kind "image" (id -> document, see image.c) and kind
 * "image_ref" (canonical reference -> {"Image": id}).
 */
enum { LOAD_THREADS = 3 };	/* loads at the same time; more wait, their clients with them */

static int open_image(const char *id, json_t *doc, void *user)
{
	struct images *im = user;
	struct err e = { 0 };
	struct image *i = image_from_doc(id, doc, &e);

	if (!i || layers_adopt(im, i, &e) < 0) {
		/* The rest of the engine is worth more than a stop; the name stays in the store for whoever repairs it. */
		log_error("image", "image %s cannot be used: %s", id, e.msg);
		image_free(i);
		return 0;
	}
	map_put(im->by_id, i->id, i);
	return 0;
}

static int open_ref(const char *full, json_t *doc, void *user)
{
	struct images *im = user;
	struct image *i = map_get(im->by_id, json_str(doc, "Image", ""));

	if (i)
		map_put(im->refs, full, i);
	else
		log_warn("image", "the name '%s' belongs to an image that is not there, ignoring it", full);
	return 0;
}

void images_on_event(struct images *im, void (*cb)(void *user, const char *action, const char *id, const char *name), void *user)
{
	im->on_event = cb;
	im->event_user = user;
}

void images_set_in_use(struct images *im, const char *(*cb)(void *user, const char *image_id, bool *running), void *user)
{
	im->in_use = cb;
	im->in_use_user = user;
}

void images_event(struct images *im, const char *action, const char *id, const char *name)
{
	if (im->on_event)
		im->on_event(im->event_user, action, id, name);
}

size_t images_count(const struct images *im)
{
	return map_len(im->by_id);
}

/* Operations, one after the other. */

/* The owner holds one, an operation under way another. */
static void images_unref(struct images *im)
{
	struct image *i;
	const char *key;
	size_t it = 0;

	if (--im->holds)
		return;
	while ((i = map_next(im->by_id, &it, &key)))
		image_free(i);
	map_free(im->by_id);
	map_free(im->refs);
	registry_free(im);
	layers_close(im);
	pthread_mutex_destroy(&im->lock);
	free(im->root);
	free(im);
}

/* The next operation, if none is under way; from the loop's turn only, so that no caller hears back within its own call. */
static void op_next(struct images *im)
{
	struct image_op *op = im->op_first;

	if (im->op_busy || im->closing || !op)
		return;
	im->op_first = op->next;
	if (!im->op_first)
		im->op_last = &im->op_first;
	im->op_busy = true;
	im->holds++;
	op->run(op);
}

void images_wake(struct images *im)
{
	uint64_t one = 1;

	(void)!write(im->wake_fd, &one, sizeof(one));	/* full means awake already */
}

static void images_woken(void *user, unsigned events)
{
	struct images *im = user;
	uint64_t n;

	(void)events;
	(void)!read(im->wake_fd, &n, sizeof(n));
	image_loads_deliver(im);
	op_next(im);
}

void image_op_start(struct images *im, struct image_op *op)
{
	op->im = im;
	op->next = NULL;
	*im->op_last = op;
	im->op_last = &op->next;
	images_wake(im);
}

static void op_committed(void *user, const struct err *e)
{
	struct image_op *op = user;

	(void)FAULT("image.committed");
	op->committed(op, e);
}

void image_op_commit_take(struct image_op *op, struct store_tx *tx)
{
	int rc = FAULT("image.commit");
	struct err e = { 0 };

	if (rc < 0) {
		store_tx_free(tx);
		err_errno(&e, -rc, "write the image index");
		op->committed(op, &e);
		return;
	}
	store_tx_commit_take(tx, op_committed, op);
}

void image_op_end(struct image_op *op)
{
	struct images *im = op->im;

	free(op);
	im->op_busy = false;
	if (!im->closing)
		images_wake(im);
	images_unref(im);
}

/* Looking up. */

struct image *images_find_id(struct images *im, const char *id)
{
	return map_get(im->by_id, id);
}

static struct image *find_full(struct images *im, const char *full)
{
	struct image *i = map_get(im->refs, full);

	return i && !i->leaving ? i : NULL;
}

/* By a prefix of the id; *many: more than one has it. */
static struct image *find_prefix(struct images *im, const char *hex, bool *many)
{
	struct image *i, *found = NULL;
	const char *key;
	size_t it = 0;

	while ((i = map_next(im->by_id, &it, &key))) {
		if (i->leaving || !str_starts(key + strlen("sha256:"), hex))
			continue;
		if (found)
			*many = true;
		found = i;
	}
	return found;
}

struct image *images_lookup(struct images *im, const char *ref, bool *by_ref, char *full, struct err *e)
{
	const char *hex = str_starts(ref, "sha256:") ? ref + strlen("sha256:") : ref;
	bool named = false, many = false;
	struct image *i = NULL;
	struct image_ref r;
	struct err why = { 0 };
	char familiar[800];

	*by_ref = false;
	if (digest_valid(ref) && (i = map_get(im->by_id, ref))) {
		if (!i->leaving)
			return i;
		i = NULL;
	}
	/* As docker: a name that looks like an id is the name first, unless it is a whole id. */
	if (hex == ref && !(strlen(ref) == ID_LEN && id_is_prefix(ref)) && image_ref_parse(ref, &r, &why) == 0) {
		named = true;
		if (!*r.tag && !*r.digest)
			strcpy(r.tag, "latest");
		image_ref_canonical(&r, full, 800);
		i = find_full(im, full);
		if (!i && *r.tag && *r.digest) {
			/* "name:tag@digest": the digest decides. */
			*r.tag = '\0';
			image_ref_canonical(&r, full, 800);
			i = find_full(im, full);
		}
		if (i) {
			*by_ref = true;
			return i;
		}
	}
	if (id_is_prefix(hex))
		i = find_prefix(im, hex, &many);
	if (many) {
		err_set(e, ERR_INVALID, "the id '%s' is ambiguous: more than one image begins with it", ref);
		return NULL;
	}
	if (i)
		return i;
	if (named)
		err_set(e, ERR_NOT_FOUND, "No such image: %s", image_ref_familiar(&r, familiar, sizeof(familiar)));
	else if (id_is_prefix(hex))
		err_set(e, ERR_NOT_FOUND, "No such image: %s", ref);
	else if (e)
		*e = why.kind ? why : (struct err){ 0 };
	if (e && e->kind == ERR_NONE)
		err_set(e, ERR_INVALID, "invalid reference format: '%.300s'", ref);
	return NULL;
}

struct image *image_find(struct images *im, const char *ref, struct err *e)
{
	char full[800];
	bool by_ref;

	return images_lookup(im, ref ? ref : "", &by_ref, full, e);
}

struct image *image_next(struct images *im, size_t *it)
{
	struct image *i;

	do
		i = map_next(im->by_id, it, NULL);
	while (i && i->leaving);
	return i;
}

int image_hold(struct images *im, const char *id, struct err *e)
{
	struct image *i = images_find_id(im, id);

	if (!i || i->leaving)
		return err_set(e, ERR_NOT_FOUND, "No such image: %s", id);
	i->holds++;
	return 0;
}

void image_release(struct images *im, const char *id)
{
	struct image *i = images_find_id(im, id);

	if (i && i->holds)
		i->holds--;
}

bool image_is_step(const struct images *im, const struct image *i)
{
	const struct image *at;
	size_t it = 0;

	if (!i->step)
		return false;
	while ((at = map_next(im->refs, &it, NULL)))
		if (at == i)
			return false;
	return true;
}

char **images_refs_of(struct images *im, const struct image *i)
{
	struct image *at;
	const char *key;
	char **v = NULL;
	size_t it = 0;

	while ((at = map_next(im->refs, &it, &key)))
		if (at == i)
			v = strv_add(v, key);
	return v ? v : mem_zalloc(sizeof(*v));
}

char *images_familiar(const char *canonical, char *out, size_t size)
{
	struct image_ref r;

	if (image_ref_parse(canonical, &r, NULL) < 0)
		snprintf(out, size, "%s", canonical);
	else
		image_ref_familiar(&r, out, size);
	return out;
}

void images_tx_ref(struct store_tx *tx, const char *full, const char *id)
{
	json_t *doc = json_pack("{s:s}", "Image", id);

	store_tx_put(tx, "image_ref", full, doc);
	json_decref(doc);
}

void images_apply_ref(struct images *im, const char *full, struct image *i)
{
	if (i)
		map_put(im->refs, full, i);
	else
		map_del(im->refs, full);
}

struct images *images_new(struct loop *l, struct work_pool *p, struct store *st, const char *root, struct err *e)
{
	struct images *im = mem_zalloc(sizeof(*im));

	im->holds = 1;
	im->loop = l;
	im->pool = p;
	im->store = st;
	im->root = mem_strdup(root);
	im->root_fd = im->layers_fd = im->links_fd = im->tmp_fd = im->wake_fd = -1;
	im->by_id = map_new();
	im->refs = map_new();
	im->layers = map_new();
	im->op_last = &im->op_first;
	pthread_mutex_init(&im->lock, NULL);
	if (layers_open(im, e) < 0 || store_each(st, "image", open_image, im, e) < 0 || store_each(st, "image_ref", open_ref, im, e) < 0)
		goto fail;
	layers_sweep(im);
	im->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (im->wake_fd < 0) {
		err_errno(e, errno, "create an eventfd for images");
		goto fail;
	}
	im->wake_io = loop_io_new(l, im->wake_fd, LOOP_READ, images_woken, im);
	im->load_pool = work_pool_new(l, LOAD_THREADS);
	return im;
fail:
	images_free(im);
	return NULL;
}

void images_free(struct images *im)
{
	struct image_op *op;

	if (!im)
		return;
	im->closing = true;
	if (im->load_pool) {
		image_loads_stop(im);
		image_saves_stop(im);
		work_pool_free(im->load_pool);
		image_saves_free(im);
	}
	registry_stop(im);
	loop_io_free(im->wake_io);
	fd_closep(&im->wake_fd);
	im->on_event = NULL;
	im->in_use = NULL;
	/* Not begun: never acknowledged. One whose commit is under way ends, and frees us, when the store closes. */
	while ((op = im->op_first)) {
		const struct err e = { .kind = ERR_UNAVAILABLE, .msg = "the engine is stopping" };

		im->op_first = op->next;
		im->holds++;
		op->committed(op, &e);
	}
	images_unref(im);
}
