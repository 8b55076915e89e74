/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/adding.h"

/*
 * Theory of operation
 *
 *   loop: feed ──queue──► worker: members to tmp/load-x/m<n>, manifest, layers (a few threads) to tmp/load-x/l<n>/fs ──► syncfs ──► publish
 *   loop: ◄── messages, resume (eventfd) ──┘                                        done: commit index ──► end
 *
 * The worker blocks on the queue when the client is slow, the client (through feed's false and resume) when the worker is. All of a load
 * becomes visible by one commit; before it, layers are only claimed (see layers.c). A load that fails or is given up leaves nothing.
 *
 * Everything between the two threads is under struct image_load.lock; the worker touches the index never, layers by layer_*() only.
 */
enum { LOAD_THREADS_MAX = 4, QUEUE_MAX = 4 * 1024 * 1024 };	/* bytes; several of the client's reads, so that both sides keep going */

struct chunk {
	struct chunk *next;
	size_t n, at;
	char data[];
};

struct message {
	struct message *next;
	json_t *msg;
};

struct image_load {
	struct image_op op;
	struct work work;
	struct images *im;
	struct image_load *next;
	struct image_load_ops ops;
	void *user;
	bool quiet, gone;	/* loop thread only; gone: no more callbacks */
	/* import */
	bool import;
	char *ref;		/* canonical or NULL */
	json_t *config;		/* of the image to be */
	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct chunk *first, **last;
	size_t queued;
	bool eof, abort, full, resume, deaf;	/* deaf: the worker reads no more */
	struct message *mfirst, **mlast;
	/* the worker's, the loop's after it */
	struct adding add;
	struct err err;
};

static void load_say(struct image_load *ld, json_t *msg_take)
{
	struct message *m = mem_zalloc(sizeof(*m));

	m->msg = msg_take;
	pthread_mutex_lock(&ld->lock);
	*ld->mlast = m;
	ld->mlast = &m->next;
	pthread_mutex_unlock(&ld->lock);
	images_wake(ld->im);
}

/* Worker: bytes from the queue. */
static ssize_t load_read(void *user, void *p, size_t n)
{
	struct image_load *ld = user;
	struct chunk *c;
	ssize_t got = 0;
	bool wake = false;

	pthread_mutex_lock(&ld->lock);
	while (!ld->first && !ld->eof && !ld->abort)
		pthread_cond_wait(&ld->cond, &ld->lock);
	c = ld->first;
	if (ld->abort) {
		got = -ECANCELED;
	} else if (c) {
		got = (ssize_t)(c->n - c->at < n ? c->n - c->at : n);
		memcpy(p, c->data + c->at, (size_t)got);
		c->at += (size_t)got;
		ld->queued -= (size_t)got;
		if (c->at == c->n) {
			ld->first = c->next;
			if (!ld->first)
				ld->last = &ld->first;
			free(c);
		}
		if (ld->full && ld->queued < QUEUE_MAX / 2) {
			ld->full = false;
			ld->resume = wake = true;
		}
	}
	pthread_mutex_unlock(&ld->lock);
	if (wake)
		images_wake(ld->im);
	return got;
}

/* Worker: the rest is dropped, a waiting client goes on and gets to see the answer. */
static void load_deafen(struct image_load *ld)
{
	struct chunk *c;

	pthread_mutex_lock(&ld->lock);
	ld->deaf = true;
	while ((c = ld->first)) {
		ld->first = c->next;
		free(c);
	}
	ld->last = &ld->first;
	ld->queued = 0;
	ld->resume = ld->full;
	ld->full = false;
	pthread_mutex_unlock(&ld->lock);
	images_wake(ld->im);
}

static bool load_aborted(void *user)
{
	struct image_load *ld = user;
	bool is;

	pthread_mutex_lock(&ld->lock);
	is = ld->abort;
	pthread_mutex_unlock(&ld->lock);
	return is;
}

/* A member's bytes for unpacking, checked and told about on the way. */
struct layer_input {
	struct image_load *ld;
	int fd;
	struct digest *digest;
	uint64_t done, total;
	unsigned told;
	char id[16];
};

static void layer_progress(struct layer_input *in, bool end)
{
	unsigned step = in->total ? (unsigned)(in->done * 20 / in->total) : 20;

	if (in->ld->quiet || (!end && step <= in->told))
		return;
	in->told = step;
	load_say(in->ld, json_pack("{s:s, s:{s:I, s:I}, s:s}", "status", "Loading layer", "progressDetail", "current", (json_int_t)in->done, "total",
				   (json_int_t)in->total, "id", in->id));
}

static ssize_t layer_read(void *user, void *p, size_t n)
{
	struct layer_input *in = user;
	ssize_t got;

	if (load_aborted(in->ld))
		return -ECANCELED;
	do
		got = read(in->fd, p, n);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (in->digest)
		digest_update(in->digest, p, (size_t)got);
	in->done += (uint64_t)got;
	layer_progress(in, false);
	return got;
}

static int load_layer(struct image_load *ld, const struct bundle *b, const struct bundle_layer *bl, const char *chain, uint64_t *bytes, struct err *e)
{
	CLEANUP(fd_closep) int member = -1, keep = -1, fs = -1;
	struct layer_input in = { .ld = ld, .total = bl->size };
	struct unpack_result res;
	char what[128], sub[64], blob[DIGEST_SIZE];
	int rc;

	if (adding_has_layer(&ld->add, chain, bytes))
		return 0;
	member = in.fd = bundle_open(b, bl->member, e);
	if (member < 0)
		return -1;
	if (adding_layer_dir(&ld->add, sub, sizeof(sub), &keep, &fs, e) < 0)
		return -1;
	snprintf(what, sizeof(what), "the layer %.19s", bl->diff);
	snprintf(in.id, sizeof(in.id), "%.12s", bl->diff + strlen("sha256:"));
	in.digest = *bl->blob ? digest_new() : NULL;
	rc = unpack_layer(fs, keep, &(struct unpack_source){ layer_read, &in }, what, &res, e);
	*blob = '\0';
	if (in.digest)
		digest_end_take(in.digest, blob);
	if (rc < 0)
		return -1;
	if (!str_eq(res.diff, bl->diff))
		return err_set(e, ERR_INVALID, "%s is damaged or not the one its config names: its digest is %s, not %s", what, res.diff, bl->diff);
	if (*blob && in.done == bl->size && !str_eq(blob, bl->blob))
		return err_set(e, ERR_INVALID, "%s is damaged: its blob has the digest %s, not %s", what, blob, bl->blob);
	layer_progress(&in, true);
	*bytes = res.bytes;
	adding_fresh(&ld->add, chain, res.bytes, sub);
	return 0;
}

/* An image's layers, each by whichever thread is free. Hashing and decompressing is what a load waits for, and it needs a processor each. */
struct layers {
	struct image_load *ld;
	const struct bundle *b;
	const struct bundle_image *bi;
	struct image *i;
	pthread_mutex_t lock;
	size_t next;		/* under the lock, as what follows */
	int rc;
	struct err err;		/* the first thread's that failed */
};

static void *layers_run(void *user)
{
	struct layers *s = user;
	struct err e = { 0 };
	size_t k;
	int rc;

	for (;;) {
		pthread_mutex_lock(&s->lock);
		k = s->rc < 0 ? s->bi->nlayers : s->next;
		s->next = k + 1;
		pthread_mutex_unlock(&s->lock);
		if (k >= s->bi->nlayers)
			return NULL;
		rc = load_layer(s->ld, s->b, &s->bi->layers[k], s->i->chains[k], &s->i->bytes[k], &e);
		if (rc == 0)
			continue;
		pthread_mutex_lock(&s->lock);
		if (s->rc == 0)
			s->err = e;
		s->rc = rc;
		pthread_mutex_unlock(&s->lock);
		return NULL;
	}
}

static int load_image(struct image_load *ld, const struct bundle *b, struct bundle_image *bi, struct err *e)
{
	struct layers s = { .ld = ld, .b = b, .bi = bi, .i = image_new_take(mem_strdup(bi->text), json_incref(bi->config), bi->id) };
	pthread_t other[LOAD_THREADS_MAX - 1];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0;

	adding_image_take(&ld->add, s.i, TAKE(bi->names));
	pthread_mutex_init(&s.lock, NULL);
	while (n < N(other) && (long)n + 1 < cpus && n + 1 < bi->nlayers && pthread_create(&other[n], NULL, layers_run, &s) == 0)
		n++;
	layers_run(&s);
	while (n)
		pthread_join(other[--n], NULL);
	pthread_mutex_destroy(&s.lock);
	if (s.rc < 0) {
		*e = s.err;
		return err_wrap(e, "image %.19s", bi->id);
	}
	return 0;
}

static int load_bundle(struct image_load *ld, struct err *e)
{
	CLEANUP(fd_closep) int dir = openat(ld->im->tmp_fd, ld->add.dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct bundle b;
	int rc;

	if (dir < 0)
		return err_errno(e, errno, "open %s/tmp/%s", ld->im->root, ld->add.dir);
	rc = bundle_read(&b, dir, &(struct unpack_source){ load_read, ld }, e);
	load_deafen(ld);
	for (size_t k = 0; rc == 0 && k < b.nimages; k++)
		rc = load_image(ld, &b, &b.images[k], e);
	bundle_drop(&b);	/* not worth the disk's time in the sync to come */
	bundle_done(&b);
	return rc;
}

static char *stamp(char *out, size_t size)
{
	return str_time_ns(clock_wall(), out, size);
}

/* The worker's whole import: one layer straight from the request, then a config around it. */
static int load_import(struct image_load *ld, struct err *e)
{
	CLEANUP(fd_closep) int keep = -1, fs = -1;
	struct unpack_result res;
	char sub[64], now[48], id[DIGEST_SIZE], *text;
	struct image *i;
	uint64_t bytes;

	if (adding_layer_dir(&ld->add, sub, sizeof(sub), &keep, &fs, e) < 0 ||
	    unpack_layer(fs, keep, &(struct unpack_source){ load_read, ld }, "the archive", &res, e) < 0)
		return -1;
	load_deafen(ld);
	if (!res.entries)
		return err_set(e, ERR_INVALID, "the archive holds no files: there is nothing to import");
	if (!adding_has_layer(&ld->add, res.diff, &bytes))
		adding_fresh(&ld->add, res.diff, res.bytes, sub);
	stamp(now, sizeof(now));
	json_object_set_new(ld->config, "created", json_string(now));
	json_object_set_new(ld->config, "history", json_pack("[{s:s, s:O}]", "created", now, "comment", json_object_get(ld->config, "comment")));
	json_object_set_new(ld->config, "rootfs", json_pack("{s:s, s:[s]}", "type", "layers", "diff_ids", res.diff));
	text = json_text(ld->config);
	digest_of(text, strlen(text), id);
	i = image_new_take(text, json_incref(ld->config), id);
	i->bytes[0] = res.bytes;
	adding_image_take(&ld->add, i, ld->ref ? strv_add(NULL, ld->ref) : NULL);
	return 0;
}

static void load_run(struct work *w)
{
	struct image_load *ld = CONTAINER_OF(w, struct image_load, work);
	struct err *e = &ld->err;
	int rc = -1;

	rc = adding_begin(&ld->add, e);
	if (rc == 0)
		rc = ld->import ? load_import(ld, e) : load_bundle(ld, e);
	if (rc == 0)
		rc = adding_keep(&ld->add, load_aborted, ld, e);
	if (rc < 0 && !e->kind)
		err_set(e, ERR_INTERNAL, "the load failed without a reason");
	load_deafen(ld);
	adding_end(&ld->add);
}

/* Loop. */

static void load_free(struct image_load *ld)
{
	struct image_load **at = &ld->im->loads;
	struct message *m;
	struct chunk *c;

	while (*at && *at != ld)
		at = &(*at)->next;
	if (*at)
		*at = ld->next;
	adding_done(&ld->add);
	while ((m = ld->mfirst)) {
		ld->mfirst = m->next;
		json_decref(m->msg);
		free(m);
	}
	while ((c = ld->first)) {
		ld->first = c->next;
		free(c);
	}
	free(ld->ref);
	json_decref(ld->config);
	pthread_mutex_destroy(&ld->lock);
	pthread_cond_destroy(&ld->cond);
}

/* Messages and room, as far as there are some. */
static void load_deliver(struct image_load *ld)
{
	struct message *m;
	bool resume;

	pthread_mutex_lock(&ld->lock);
	m = ld->mfirst;
	ld->mfirst = NULL;
	ld->mlast = &ld->mfirst;
	resume = ld->resume;
	ld->resume = false;
	pthread_mutex_unlock(&ld->lock);
	while (m) {
		struct message *next = m->next;

		if (!ld->gone)
			ld->ops.message(ld->user, m->msg);
		json_decref(m->msg);
		free(m);
		m = next;
	}
	if (resume && !ld->gone)
		ld->ops.resume(ld->user);
}

void image_loads_deliver(struct images *im)
{
	/* A load is freed by its work's or its commit's end only, never under us. */
	for (struct image_load *ld = im->loads; ld; ld = ld->next)
		load_deliver(ld);
}

static void load_tell(struct image_load *ld, json_t *msg_take)
{
	if (!ld->gone)
		ld->ops.message(ld->user, msg_take);
	json_decref(msg_take);
}

static void load_named(void *user, const char *full, const struct image *old, const struct image *now)
{
	struct image_load *ld = user;
	char familiar[800];

	(void)now;
	images_familiar(full, familiar, sizeof(familiar));
	if (ld->import)
		return;
	if (old)
		load_tell(ld, json_pack("{s:o}", "stream",
					json_sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", familiar, old->id)));
	load_tell(ld, json_pack("{s:o}", "stream", json_sprintf("Loaded image: %s\n", familiar)));
}

/* Puts one image of the load into the index; the commit has happened. */
static void load_apply(struct image_load *ld, size_t k)
{
	char **names = ld->add.built[k].names;
	struct image *i = adding_apply(&ld->add, k, load_named, ld);

	if (ld->import)
		load_tell(ld, json_pack("{s:s}", "status", i->id));
	else if (!names || !*names)
		load_tell(ld, json_pack("{s:o}", "stream", json_sprintf("Loaded image ID: %s\n", i->id)));
	images_event(ld->im, ld->import ? "import" : "load", i->id, i->id);
}

static void load_committed(struct image_op *op, const struct err *e)
{
	struct image_load *ld = CONTAINER_OF(op, struct image_load, op);

	load_deliver(ld);
	for (size_t k = 0; !e && k < ld->add.nbuilt; k++)
		load_apply(ld, k);
	if (!ld->gone)
		ld->ops.end(ld->user, e);
	load_free(ld);
	image_op_end(op);
}

static void load_commit(struct image_op *op)
{
	struct image_load *ld = CONTAINER_OF(op, struct image_load, op);
	struct store_tx *tx;

	/* Failed, or given up while it waited for its turn. */
	if (ld->err.kind || ld->gone) {
		load_committed(op, &ld->err);
		return;
	}
	tx = store_tx_new(op->im->store);
	adding_tx(&ld->add, tx);
	image_op_commit_take(op, tx);
}

static void load_done(struct work *w)
{
	struct image_load *ld = CONTAINER_OF(w, struct image_load, work);

	/* Also for a failure: what it said before comes out first, and the end comes from the loop's own turn. */
	ld->op.run = load_commit;
	ld->op.committed = load_committed;
	image_op_start(ld->im, &ld->op);
}

static struct image_load *load_new(struct images *im, const struct image_load_ops *ops, void *user)
{
	struct image_load *ld = mem_zalloc(sizeof(*ld));

	ld->im = im;
	adding_init(&ld->add, im);
	ld->ops = *ops;
	ld->user = user;
	ld->last = &ld->first;
	ld->mlast = &ld->mfirst;
	ld->work.run = load_run;
	ld->work.done = load_done;
	pthread_mutex_init(&ld->lock, NULL);
	pthread_cond_init(&ld->cond, NULL);
	ld->next = im->loads;
	im->loads = ld;
	return ld;
}

struct image_load *image_load_start(struct images *im, bool quiet, const struct image_load_ops *ops, void *user)
{
	struct image_load *ld = load_new(im, ops, user);

	ld->quiet = quiet;
	work_start(im->load_pool, &ld->work);
	return ld;
}

struct image_load *image_import_start(struct images *im, const char *ref, const char *message, char *const *changes,
				      const struct image_load_ops *ops, void *user, struct err *e)
{
	CLEANUP(json_freep) json_t *config = NULL;
	json_t *inner = json_object();
	struct image_load *ld;
	struct image_ref r;
	char full[800];

	config = json_pack("{s:s, s:s, s:s, s:o}", "architecture", IMAGE_ARCH, "os", "linux", "comment", str_empty(message) ? "Imported from -" : message,
			   "config", inner);
	if (!config) {
		err_set(e, ERR_INVALID, "the message for the import is no valid UTF-8");
		return NULL;
	}
	if (!str_empty(ref)) {
		if (image_ref_parse(ref, &r, e) < 0)
			return NULL;
		if (*r.digest) {
			err_set(e, ERR_INVALID, "cannot import digest reference '%.300s'", ref);
			return NULL;
		}
		if (!*r.tag)
			strcpy(r.tag, "latest");
		image_ref_canonical(&r, full, sizeof(full));
	}
	for (char *const *c = changes; c && *c; c++)
		if (image_change(inner, *c, e) < 0)
			return NULL;
	ld = load_new(im, ops, user);
	ld->import = true;
	ld->ref = str_empty(ref) ? NULL : mem_strdup(full);
	ld->config = TAKE(config);
	work_start(im->load_pool, &ld->work);
	return ld;
}

bool image_load_feed(struct image_load *ld, const void *p, size_t n)
{
	struct chunk *c;
	bool room;

	pthread_mutex_lock(&ld->lock);
	if (n && !ld->deaf && !ld->abort && !ld->eof) {
		c = mem_alloc(sizeof(*c) + n);
		c->next = NULL;
		c->n = n;
		c->at = 0;
		memcpy(c->data, p, n);
		*ld->last = c;
		ld->last = &c->next;
		ld->queued += n;
		ld->full = ld->queued >= QUEUE_MAX;
		pthread_cond_signal(&ld->cond);
	}
	room = !ld->full;
	pthread_mutex_unlock(&ld->lock);
	return room;
}

void image_load_finish(struct image_load *ld)
{
	pthread_mutex_lock(&ld->lock);
	ld->eof = true;
	pthread_cond_signal(&ld->cond);
	pthread_mutex_unlock(&ld->lock);
}

/* Past the start of its commit a load takes place; its client is gone all the same. */
void image_load_abort(struct image_load *ld)
{
	if (!ld)
		return;
	ld->gone = true;
	pthread_mutex_lock(&ld->lock);
	ld->abort = true;
	pthread_cond_signal(&ld->cond);
	pthread_mutex_unlock(&ld->lock);
}

void image_loads_stop(struct images *im)
{
	for (struct image_load *ld = im->loads; ld; ld = ld->next)
		image_load_abort(ld);
}
