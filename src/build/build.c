/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"
#include "image/ref.h"

/*
 * Theory of operation
 *
 *   build_start ─► context.c: tar to <root>/<id>/context, Dockerfile ─► plan ─► stages (stage.c), side by side ─► names ─► end
 *
 * What a build leaves on disk and as containers carries its id, and the id is in the store (kind "build") before there is anything: an engine that
 * was killed removes at its next start what its builds had under way. Images of finished steps stay: they are the cache, listed only
 * with all=1, and held while the build stands on them.
 *
 * Every callback that is to come counts in `pending`. A build that failed, or whose client went away, starts nothing more, ends its containers,
 * and is freed when the last callback has come.
 */
enum { WORKERS = 4, STAGES_MAX = 1000, STAGES_BUSY = 8 };	/* busy: at the same time in one build, each with a container at most */

/* Builds that the end of the engine cut short: their callbacks may never come. */
static struct builds *cut_short;

void builds_unref(struct builds *bs)
{
	if (--bs->holds)
		return;
	cache_close(bs);
	free(bs->root);
	if (cut_short == bs)
		cut_short = NULL;
	free(bs);
}

static void build_free(struct build *b)
{
	struct build **at = &b->bs->list;

	while (*at && *at != b)
		at = &(*at)->next;
	if (*at)
		*at = b->next;
	if (b->ctx_fd >= 0)
		(void)close(b->ctx_fd);
	for (size_t i = 0; i < b->nstages; i++)
		stage_free(&b->stages[i]);
	free(b->stages);
	if (b->planned)
		build_plan_done(&b->plan);
	json_decref(b->meta);
	json_decref(b->given);
	json_decref(b->labels);
	json_decref(b->host);
	json_decref(b->used_args);
	json_decref(b->registries);
	strv_free(b->tags);
	strv_free(b->cache_from);
	free(b->dockerfile);
	free(b->target);
	free(b->platform);
	free(b->dir);
	builds_unref(b->bs);
	free(b);
}

/* The folder goes, then the mark. */

static void clean_run(struct work *w)
{
	struct build *b = CONTAINER_OF(w, struct build, work);
	int rc = file_rm_rf_at(AT_FDCWD, b->dir);

	if (rc < 0)
		log_warn("build", "removing %s: %s, it is tried again at the next start", b->dir, strerror(-rc));
}

static void clean_done(struct work *w)
{
	struct build *b = CONTAINER_OF(w, struct build, work);
	struct store_tx *tx = store_tx_new(b->bs->store);

	store_tx_del(tx, "build", b->id);
	store_tx_commit_take(tx, NULL, NULL);
	build_free(b);
}

static void show_all(struct build *b)
{
	for (size_t i = 0; i < b->nstages; i++)
		stage_show(&b->stages[i]);
}

static void say_end(struct build *b, const struct err *e)
{
	if (b->ended)
		return;
	b->ended = true;
	if (e)
		show_all(b);
	if (!b->gone)
		b->ops.end(b->user, e, b->code);
	b->gone = true;
}

void build_hold(struct build *b)
{
	b->pending++;
}

void build_drop(struct build *b)
{
	if (--b->pending || b->cleaning)
		return;
	if (b->bs->closing)
		return;		/* builds_free() looks */
	if (b->failed)
		say_end(b, &b->err);
	if (!b->ended && !b->gone)
		return;		/* waits for its client */
	b->cleaning = true;
	b->work = (struct work){ .run = clean_run, .done = clean_done };
	work_start(b->bs->pool, &b->work);
}

static void stop_all(struct build *b)
{
	atomic_store(&b->stop, true);
	build_hold(b);
	for (size_t i = 0; i < b->nstages; i++) {
		pull_stop(&b->stages[i]);
		run_stop(&b->stages[i]);
	}
	build_drop(b);
}

void build_fail(struct build *b, const struct err *e, int code)
{
	if (b->failed)
		return;
	b->failed = true;
	b->err = *e;
	if (b->err.kind == ERR_NONE)
		b->err.kind = ERR_INTERNAL;
	b->code = code;
	stop_all(b);
}

/* The end: names, one after the other. */

static void tag_next(struct build *b);

static void tagged(void *user, const struct err *e)
{
	struct build *b = user;
	struct image_ref r;
	char familiar[800];

	if (e) {
		build_fail(b, e, 0);
	} else {
		if (image_ref_parse(b->tags[b->next_tag], &r, NULL) == 0) {
			if (!*r.tag)
				strcpy(r.tag, "latest");
			build_say(b, json_pack("{s:o}", "stream", json_sprintf("Successfully tagged %s\n", image_ref_familiar(&r, familiar, sizeof(familiar)))));
		}
		b->next_tag++;
		tag_next(b);
	}
	build_drop(b);
}

static void tag_next(struct build *b)
{
	const char *id = b->stages[b->target_stage].image;

	build_hold(b);
	if (b->tags && b->tags[b->next_tag]) {
		image_tag(b->bs->images, id, b->tags[b->next_tag], tagged, b);
		return;
	}
	if (b->quiet && !b->gone) {
		json_t *msg = json_pack("{s:o}", "stream", json_sprintf("%s\n", id));

		b->ops.message(b->user, msg);
		json_decref(msg);
	}
	cache_flush(b->bs);
	log_info("build", "built %.19s", id);
	say_end(b, NULL);
	build_drop(b);
}

static void warn_unused(struct build *b)
{
	CLEANUP(buf_done) struct buf names = BUF_INIT;
	const char *name;
	json_t *v;

	json_object_foreach(b->given, name, v) {
		size_t n = strlen(name);

		if (!json_object_get(b->used_args, name) && !(n > 6 && !strcasecmp(name + n - 6, "_PROXY")))
			buf_printf(&names, "%s%s", names.len ? " " : "", name);
	}
	if (names.len)
		build_say(b, json_pack("{s:o}", "stream", json_sprintf("[Warning] One or more build-args [%s] were not consumed\n", names.data)));
}

static void all_done(struct build *b)
{
	const char *id = b->stages[b->target_stage].image;
	struct err e = { 0 };

	if (!*id) {
		err_set(&e, ERR_INVALID, "No image was generated. Is your Dockerfile empty?");
		build_fail(b, &e, 0);
		return;
	}
	warn_unused(b);
	build_say(b, json_pack("{s:o}", "stream", json_sprintf("Successfully built %.12s\n", build_short(id))));
	tag_next(b);
}

/* Lets stages go on, the first ones first. One that finds itself waiting for another kicks again: its place is free. */
static void run_stages(struct build *b)
{
	for (size_t i = 0; i < b->nstages && !b->failed && !b->gone; i++) {
		size_t busy = 0;

		for (size_t k = 0; k < b->nstages; k++)
			busy += b->stages[k].phase == STAGE_BUSY;
		if (busy >= STAGES_BUSY)
			return;
		if (b->stages[i].needed && b->stages[i].phase == STAGE_WAITING)
			stage_run(&b->stages[i]);
	}
}

static void kick(void *user)
{
	struct build *b = user;

	b->kicked = false;
	if (!b->bs->closing)
		run_stages(b);
	build_drop(b);
}

void build_kick(struct build *b)
{
	if (b->kicked)
		return;
	b->kicked = true;
	build_hold(b);
	loop_defer(b->bs->loop, kick, b);
}

/* Whoever speaks next; then whoever waited for the stage. */
void build_stage_done(struct stage *s)
{
	struct build *b = s->b;

	while (b->front < b->nstages && (!b->stages[b->front].needed || b->stages[b->front].phase == STAGE_DONE)) {
		b->front++;
		while (b->front < b->nstages && !b->stages[b->front].needed)
			b->front++;
		if (b->front < b->nstages && !b->quiet) {
			stage_show(&b->stages[b->front]);
			run_pause(&b->stages[b->front]);
		}
	}
	if (b->front == b->nstages) {
		all_done(b);
		return;
	}
	run_stages(b);
}

/* The plan. */

static const char *machine(void)
{
	return IMAGE_ARCH;
}

static int check_platform(const char *platform, struct err *e)
{
	CLEANUP(strv_freep) char **part = str_split(platform, '/');
	bool os_ok = str_eq(part[0], "linux"), alone = !part[1];
	const char *arch = part[1] ? part[1] : part[0];

	if (str_eq(arch, "x86_64"))
		arch = "amd64";
	if (str_eq(arch, "aarch64"))
		arch = "arm64";
	if ((os_ok && alone) || ((os_ok || alone) && str_eq(arch, machine())))
		return 0;
	return err_set(e, ERR_INVALID, "the platform '%.100s' cannot be built here: this machine is linux/%s", platform, machine());
}

static const char *meta_get(void *user, const char *name)
{
	const struct build *b = user;

	return build_arg_value(b->meta, NULL, b->given, name);
}

static struct build_vars meta_vars(struct build *b)
{
	return (struct build_vars){ .get = meta_get, .user = b, .escape = b->plan.file.escape };
}

/* What BuildKit gives every Dockerfile, for "FROM --platform=$BUILDPLATFORM". */
static void meta_platforms(struct build *b)
{
	static const char *const prefixes[] = { "BUILD", "TARGET" };

	for (size_t i = 0; i < N(prefixes); i++) {
		CLEANUP(mem_freep) char *platform = mem_printf("%sPLATFORM", prefixes[i]), *os = mem_printf("%sOS", prefixes[i]);
		CLEANUP(mem_freep) char *arch = mem_printf("%sARCH", prefixes[i]), *variant = mem_printf("%sVARIANT", prefixes[i]);

		json_object_set_new(b->meta, platform, json_sprintf("linux/%s", machine()));
		json_object_set_new(b->meta, os, json_string("linux"));
		json_object_set_new(b->meta, arch, json_string(machine()));
		json_object_set_new(b->meta, variant, json_string(""));
	}
}

static int plan_meta(struct build *b, struct err *e)
{
	const struct build_vars v = meta_vars(b);
	const char *name;
	json_t *value;

	b->meta = json_object();
	meta_platforms(b);
	for (size_t i = 0; i < b->plan.nmeta; i++) {
		CLEANUP(json_freep) json_t *fresh = json_object();

		if (build_arg_add(fresh, &b->plan.meta[i], &v, e) < 0)
			return err_wrap(e, "dockerfile parse error on line %u", b->plan.meta[i].line->line);
		json_object_foreach(fresh, name, value) {
			json_object_set(b->meta, name, value);
			json_object_set_new(b->used_args, name, json_true());
		}
	}
	return 0;
}

/* An ARG before the first FROM that --build-arg sets: what stages inherit is that value. */
static void settle_meta(struct build *b)
{
	const char *name;
	json_t *v;
	void *tmp;

	json_object_foreach_safe(b->meta, tmp, name, v) {
		const json_t *given = json_object_get(b->given, name);

		if (json_is_string(given))
			json_object_set(b->meta, name, (json_t *)given);
	}
}

static int plan_stage(struct build *b, size_t i, struct err *e)
{
	const struct build_vars v = meta_vars(b);
	struct stage *s = &b->stages[i];

	s->b = b;
	s->index = i;
	s->plan = &b->plan.stages[i];
	s->base_stage = s->diff = s->copy.source = -1;
	s->base = build_word(&v, s->plan->base, e);
	if (!s->base)
		return -1;
	if (!*s->base)
		return err_set(e, ERR_INVALID, "base name (%.200s) should not be blank", s->plan->base);
	s->base_stage = build_plan_stage(&b->plan, s->base, false, i);
	if (s->plan->from.platform) {
		CLEANUP(mem_freep) char *platform = build_word(&v, s->plan->from.platform, e);

		if (!platform || (*platform && check_platform(platform, e) < 0))
			return -1;
	}
	for (size_t k = 0; k < s->plan->n; k++) {
		const char *from = s->plan->steps[k].from;
		uint64_t n;

		if (from && str_to_u64(from, 0, UINT32_MAX, &n) == 0 && n >= i && build_plan_stage(&b->plan, from, false, i) < 0) {
			err_set(e, ERR_INVALID, "invalid from flag value %s: %s", from, n == i ? "refers to current build stage" : "the stage index is out of bounds");
			return err_wrap(e, "dockerfile parse error on line %u", s->plan->steps[k].line->line);
		}
	}
	return 0;
}

/* The stage and whatever it builds on. Earlier stages only: it ends. */
static void need(struct build *b, int i)
{
	struct stage *s = &b->stages[i];

	if (s->needed)
		return;
	s->needed = true;
	if (s->base_stage >= 0)
		need(b, s->base_stage);
	for (size_t k = 0; k < s->plan->n; k++) {
		const char *from = s->plan->steps[k].from;
		int on = from ? build_plan_stage(&b->plan, from, true, s->index) : -1;

		if (on >= 0)
			need(b, on);
	}
}

static int plan_all(struct build *b, struct err *e)
{
	const char *key;
	json_t *v;
	int target;

	if (b->plan.n > STAGES_MAX)
		return err_set(e, ERR_INVALID, "more than %d stages", STAGES_MAX);
	target = str_empty(b->target) ? (int)b->plan.n - 1 : build_plan_stage(&b->plan, b->target, true, b->plan.n);
	if (target < 0)
		return err_set(e, ERR_INVALID, "target stage \"%.200s\" could not be found", b->target);
	/* Labels go to what is built. */
	json_object_foreach(b->labels, key, v)
		build_plan_add_label(&b->plan, (size_t)target, key, json_string_value(v));
	if (plan_meta(b, e) < 0)
		return -1;
	settle_meta(b);
	if (!str_empty(b->platform) && check_platform(b->platform, e) < 0)
		return -1;
	b->nstages = b->plan.n;
	b->stages = mem_zalloc(b->nstages * sizeof(*b->stages));
	for (size_t i = 0; i < b->nstages; i++)
		b->stages[i].base_stage = b->stages[i].diff = b->stages[i].copy.source = -1, b->stages[i].b = b;
	for (size_t i = 0; i < b->nstages; i++)
		if (plan_stage(b, i, e) < 0)
			return -1;
	b->target_stage = (size_t)target;
	need(b, target);
	b->total = (unsigned)b->plan.nmeta;
	for (size_t i = 0; i < b->nstages; i++) {
		if (!b->stages[i].needed)
			continue;
		b->stages[i].first = b->total + 1;
		b->total += 1 + (unsigned)b->stages[i].plan->n;
	}
	return 0;
}

static void plan_run(struct build *b)
{
	struct err e = { 0 };

	if (plan_all(b, &e) < 0) {
		build_fail(b, &e, 0);
		return;
	}
	for (size_t i = 0; i < b->plan.nmeta; i++) {
		build_say(b, json_pack("{s:o}", "stream", json_sprintf("Step %zu/%u : %s", i + 1, b->total, b->plan.meta[i].line->code)));
		build_say(b, json_pack("{s:s}", "stream", "\n"));
	}
	while (!b->stages[b->front].needed)
		b->front++;
	run_stages(b);
}

static void context_run(struct work *w)
{
	struct build *b = CONTAINER_OF(w, struct build, work);
	int rc = context_read(b, &b->err);

	if (rc < 0 && !b->err.kind)
		err_set(&b->err, ERR_INTERNAL, "the build's context could not be read");
}

static void context_done(struct work *w)
{
	struct build *b = CONTAINER_OF(w, struct build, work);
	struct err e = b->err;

	context_end(b);
	if (e.kind)
		build_fail(b, &e, 0);
	else if (!b->gone && !b->bs->closing)
		plan_run(b);
	build_drop(b);
}

/* The door. */

static char **copy_tags(char *const *tags, struct err *e)
{
	char **out = mem_zalloc(sizeof(*out));

	for (; tags && *tags; tags++) {
		struct image_ref r;

		if (!**tags)
			continue;
		if (image_ref_parse(*tags, &r, e) < 0) {
			strv_free(out);
			return NULL;
		}
		if (*r.digest) {
			err_set(e, ERR_INVALID, "build tag cannot contain a digest");
			strv_free(out);
			return NULL;
		}
		if (!strv_has(out, *tags))
			out = strv_add(out, *tags);
	}
	return out;
}

static json_t *copy_or_empty(const json_t *o)
{
	return json_is_object(o) ? json_deep_copy(o) : json_object();
}

struct build *build_start(struct builds *bs, const struct build_args *a, const struct build_ops *ops, void *user, struct err *e)
{
	char **tags = copy_tags(a->tags, e);
	struct store_tx *tx;
	struct build *b;
	json_t *doc;

	if (!tags)
		return NULL;
	b = mem_zalloc(sizeof(*b));
	*b = (struct build){ .bs = bs, .ops = *ops, .user = user, .tags = tags, .ctx_fd = -1, .no_cache = a->no_cache, .quiet = a->quiet, .rm = a->rm,
			     .force_rm = a->force_rm, .dockerfile = mem_strdup(a->dockerfile), .target = mem_strdup(a->target),
			     .platform = mem_strdup(a->platform), .given = copy_or_empty(a->build_args), .labels = copy_or_empty(a->labels),
			     .host = copy_or_empty(a->host), .used_args = json_object(), .registries = copy_or_empty(a->registries), .pull = a->pull };
	bs->holds++;
	snprintf(b->id, sizeof(b->id), "%08x%08x", rand_u32(), rand_u32());
	b->dir = mem_printf("%s/%s", bs->root, b->id);
	for (char *const *c = a->cache_from; c && *c; c++)
		b->cache_from = strv_add(b->cache_from, *c);
	b->next = bs->list;
	bs->list = b;
	context_open(b);
	/* Before anything that it stands for: commits keep their order. */
	tx = store_tx_new(bs->store);
	doc = json_pack("{s:I}", "Started", (json_int_t)clock_wall());
	store_tx_put(tx, "build", b->id, doc);
	json_decref(doc);
	store_tx_commit_take(tx, NULL, NULL);
	b->work = (struct work){ .run = context_run, .done = context_done };
	build_hold(b);
	work_start(bs->pool, &b->work);
	return b;
}

bool build_feed(struct build *b, const void *p, size_t n)
{
	return context_feed(b, p, n);
}

void build_finish(struct build *b)
{
	context_finish(b);
}

void build_abort(struct build *b)
{
	if (b->gone)
		return;
	log_info("build", "build %s was given up by its client", b->id);
	b->gone = true;
	context_cancel(b);
	stop_all(b);
}

void build_pause(struct build *b, bool paused)
{
	b->paused = paused;
	for (size_t i = 0; i < b->nstages; i++)
		run_pause(&b->stages[i]);
}

/* Start and end of the engine. */

struct sweep {
	struct builds *bs;
	char *id;
	unsigned left;
	bool failed;
};

static void sweep_end(struct sweep *sw)
{
	struct store_tx *tx;

	if (sw->left)
		return;
	if (!sw->failed && !sw->bs->closing) {
		tx = store_tx_new(sw->bs->store);
		store_tx_del(tx, "build", sw->id);
		store_tx_commit_take(tx, NULL, NULL);
	}
	builds_unref(sw->bs);
	free(sw->id);
	free(sw);
}

static void swept(void *user, const struct err *e)
{
	struct sweep *sw = user;

	if (e && e->kind != ERR_NOT_FOUND) {
		log_warn("build", "removing what the build %s has left: %s", sw->id, e->msg);
		sw->failed = true;
	}
	sw->left--;
	sweep_end(sw);
}

/* Containers of a build that an engine before us had under way. */
static int sweep_one(const char *id, json_t *doc, void *user)
{
	struct builds *bs = user;
	CLEANUP(mem_freep) char *prefix = mem_printf("build_%s_", id);
	CLEANUP(strv_freep) char **list = engine_named(bs->engine, prefix);
	struct sweep *sw = mem_zalloc(sizeof(*sw));

	(void)doc;
	*sw = (struct sweep){ .bs = bs, .id = mem_strdup(id), .left = 1 };
	bs->holds++;
	log_info("build", "removing what the build %s has left", id);
	for (char **c = list; c && *c; c++) {
		sw->left++;
		engine_remove(bs->engine, *c, true, true, swept, sw);
	}
	sw->left--;
	sweep_end(sw);
	return 0;
}

struct builds *builds_new(struct loop *l, struct store *st, struct images *im, struct engine *en, const char *root, struct err *e)
{
	struct builds *bs = mem_zalloc(sizeof(*bs));
	int rc = file_rm_rf_at(AT_FDCWD, root);

	*bs = (struct builds){ .loop = l, .store = st, .images = im, .engine = en, .root = mem_strdup(root), .holds = 1 };
	if (rc == 0)
		rc = file_mkdir_p(root, 0700);
	if (rc < 0) {
		err_errno(e, -rc, "clear the folder of builds %s", root);
		builds_unref(bs);
		return NULL;
	}
	bs->pool = work_pool_new(l, WORKERS);
	if (cache_open(bs, e) < 0 || store_each(st, "build", sweep_one, bs, e) < 0) {
		builds_free(bs);
		return NULL;
	}
	return bs;
}

void builds_free(struct builds *bs)
{
	struct build *b, *next;

	if (!bs)
		return;
	bs->closing = true;
	for (b = bs->list; b; b = b->next) {
		b->gone = true;
		atomic_store(&b->stop, true);
		context_cancel(b);
		build_hold(b);
		for (size_t i = 0; i < b->nstages; i++) {
			pull_stop(&b->stages[i]);
			run_detach(&b->stages[i]);
		}
		build_drop(b);
	}
	work_pool_free(bs->pool);
	bs->pool = NULL;
	for (b = bs->list; b; b = next) {
		next = b->next;
		if (!b->pending)
			build_free(b);
	}
	if (bs->holds > 1)
		cut_short = bs;
	builds_unref(bs);
}
