/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"

/*
 * One stage: FROM, the base image's triggers, then an instruction after the other. stage_run() goes on until something has to be waited for: a
 * stage that is not done (COPY --from, FROM), a worker, a container, a commit. Whoever waited calls it again.
 *
 *   instruction ─► words replaced, made_by ─► cache? ─hit─► image
 *                                               └─miss─► content (run.c, place.c) ─► stage_made(): image_create ─► cache_put ─► image
 */
static bool going(const struct stage *s)
{
	return !s->b->failed && !s->b->gone && !s->b->bs->closing;
}

void stage_to(struct stage *s, const char *image)
{
	struct images *im = s->b->bs->images;
	char was[DIGEST_SIZE];

	memcpy(was, s->image, sizeof(was));
	*s->image = '\0';
	/* Found in this turn: it cannot be gone. */
	if (*image && image_hold(im, image, NULL) == 0)
		snprintf(s->image, sizeof(s->image), "%s", image);
	if (*was)
		image_release(im, was);
}

static bool last_step(const struct stage *s)
{
	return s->index == s->b->target_stage && s->at == s->plan->n && s->trigger_at == s->ntriggers;
}

static void step_end(struct stage *s)
{
	if (s->step && s->trigger_at == s->ntriggers && s->begun)
		stage_say(s, " ---> %.12s\n", build_short(s->image));
	s->step = NULL;
	free(TAKE(s->made_by));
}

void stage_go_on(struct stage *s)
{
	if (!going(s))
		return;
	step_end(s);
	s->phase = STAGE_WAITING;
	stage_run(s);
}

bool stage_cached(struct stage *s)
{
	struct build *b = s->b;
	const char *hit;

	cache_key(s->image, s->made_by, s->state.author, s->state.config, s->key);
	hit = b->no_cache ? NULL : cache_get(b->bs, s->key);
	if (!hit)
		return false;
	stage_say(s, " ---> Using cache\n");
	stage_to(s, hit);
	return true;
}

bool stage_lent(struct stage *s)
{
	int diff;

	if (s->b->no_cache || !cache_lent(s, &diff))
		return false;
	stage_say(s, " ---> Using cache\n");
	stage_made(s, diff);
	return true;
}

static void created(void *user, const char *id, const struct err *e)
{
	struct stage *s = user;
	struct build *b = s->b;

	if (e) {
		build_fail(b, e, 0);
	} else if (!b->bs->closing) {
		if (!b->gone)
			stage_to(s, id);
		cache_put(b->bs, s->key, id, s->made_by);
		if (*s->container)
			run_stop(s);
		if (!*s->container)
			stage_go_on(s);
	}
	build_drop(b);
}

void stage_made(struct stage *s, int diff)
{
	struct build *b = s->b;
	json_t *config = json_pack("{s:O}", "config", s->state.config);
	struct image_create_args a = { .parent = *s->image ? s->image : NULL, .diff_take = diff, .tar_take = -1, .config = config, .created_by = s->made_by,
				       .author = s->state.author, .step = !last_step(s) };

	s->phase = STAGE_BUSY;
	build_hold(b);
	image_create(b->bs->images, &a, created, s);
	json_decref(config);
}

/* Triggers: instructions that the base image left for us. */

static int parse_triggers(struct stage *s, struct err *e)
{
	json_t *list = json_arr(s->state.config, "OnBuild"), *v;
	size_t n = json_array_size(list), i;

	if (!n)
		return 0;
	s->trigger_lines = mem_zalloc(n * sizeof(*s->trigger_lines));
	s->triggers = mem_zalloc(n * sizeof(*s->triggers));
	json_array_foreach(list, i, v) {
		const char *text = json_string_value(v);

		if (build_line_parse(text ? text : "", '\\', &s->trigger_lines[i], e) < 0 ||
		    build_step_parse(&s->trigger_lines[i], &s->triggers[i], e) < 0)
			return err_wrap(e, "trigger '%.200s' of the base image", text ? text : "");
		s->ntriggers++;
	}
	json_object_del(s->state.config, "OnBuild");
	stage_say(s, "# Executing %zu build trigger%s\n", n, n > 1 ? "s" : "");
	return 0;
}

static void again(struct stage *s)
{
	s->phase = STAGE_WAITING;
	stage_run(s);
}

/* The base image: 1: there, 0: it is being pulled, -1 with e. */
static int base_image(struct stage *s, const json_t **config, struct err *e)
{
	struct build *b = s->b;
	const struct image *i = image_find(b->bs->images, s->base, e);
	bool ask = !s->pulled && (i ? b->pull : e->kind == ERR_NOT_FOUND) && !str_starts(s->base, "sha256:");

	if (ask) {
		err_clear(e);
		s->pulled = true;
		s->phase = STAGE_BUSY;
		return pull_start(s, s->base, again, e);
	}
	if (!i)
		return -1;
	*config = json_object_get(image_config(i), "config");
	stage_to(s, image_id(i));
	return 1;
}

/* 1: begun, 0: its base is not there yet. */
static int begin(struct stage *s, struct err *e)
{
	struct build *b = s->b;
	const json_t *config = NULL;
	int rc;

	if (s->base_stage >= 0 && b->stages[s->base_stage].phase != STAGE_DONE)
		return 0;
	if (!s->announced) {
		s->announced = true;
		stage_say(s, "Step %u/%u : %s", s->first, b->total, s->plan->from.line->code);
		stage_say(s, "\n");
	}
	if (s->base_stage >= 0) {
		stage_to(s, b->stages[s->base_stage].image);
		config = b->stages[s->base_stage].state.config;
	} else if (!str_eq(s->base, "scratch")) {
		rc = base_image(s, &config, e);
		if (rc <= 0)
			return rc;
	}
	build_state_init(&s->state, config, b->meta, b->given, b->plan.file.escape);
	json_object_del(s->state.config, "Image");
	if (parse_triggers(s, e) < 0)
		return -1;
	if (!s->ntriggers)
		stage_say(s, " ---> %.12s\n", build_short(s->image));
	s->begun = true;
	s->pulled = false;
	return 1;
}

static const struct build_step *next_step(struct stage *s)
{
	struct build *b = s->b;

	if (s->trigger_at < s->ntriggers)
		return &s->triggers[s->trigger_at++];
	if (s->at == s->plan->n)
		return NULL;
	stage_say(s, "Step %u/%u : %s", s->first + (unsigned)s->at + 1, b->total, s->plan->steps[s->at].line->code);
	stage_say(s, "\n");
	return &s->plan->steps[s->at++];
}

/* Does the step wait for another stage? */
static bool must_wait(const struct stage *s)
{
	const struct build_step *step = s->trigger_at < s->ntriggers ? &s->triggers[s->trigger_at] : s->at < s->plan->n ? &s->plan->steps[s->at] : NULL;
	int k = step && step->from ? build_plan_stage(&s->b->plan, step->from, true, s->index) : -1;

	return k >= 0 && s->b->stages[k].needed && s->b->stages[k].phase != STAGE_DONE;
}

static void note_args(struct stage *s)
{
	const char *name;
	json_t *v;

	json_object_foreach(s->state.args, name, v)
		json_object_set_new(s->b->used_args, name, json_true());
}

/* What changes words alone, and WORKDIR. 0: done, 1: under way, -1 with e. */
static int do_words(struct stage *s, struct err *e)
{
	CLEANUP(mem_freep) char *comment = NULL, *note = NULL;

	if (build_state_apply(&s->state, s->step, &comment, &note, e) < 0)
		return -1;
	if (note)
		stage_say(s, "%s", note);
	if (s->step->op == BUILD_ARG)
		note_args(s);
	s->made_by = build_state_created_by(&s->state, comment, s->step->op != BUILD_WORKDIR);
	if (stage_cached(s))
		return 0;
	if (s->step->op == BUILD_WORKDIR && stage_lent(s))
		return 1;
	if (s->step->op == BUILD_WORKDIR)
		return workdir_start(s, e) < 0 ? -1 : 1;
	stage_made(s, -1);
	return 1;
}

static int do_step(struct stage *s, struct err *e)
{
	switch (s->step->op) {
	case BUILD_RUN:
		return run_start(s, e);
	case BUILD_COPY:
	case BUILD_ADD:
		return copy_start(s, e) < 0 ? -1 : 1;
	default:
		return do_words(s, e);
	}
}

static void stage_end(struct stage *s)
{
	if (*s->image)
		stage_say_json(s, json_pack("{s:{s:s}}", "aux", "ID", s->image));
	s->phase = STAGE_DONE;
	build_stage_done(s);
}

void stage_run(struct stage *s)
{
	struct err e = { 0 };
	int rc = 1;

	while (going(s) && s->phase == STAGE_WAITING) {
		if (!s->begun) {
			rc = begin(s, &e);
			if (rc == 0)
				return;
			if (rc < 0)
				break;
			continue;
		}
		if (must_wait(s)) {
			if (!s->kicked)
				build_kick(s->b);
			s->kicked = true;
			return;
		}
		s->kicked = false;
		s->step = next_step(s);
		if (!s->step) {
			stage_end(s);
			return;
		}
		s->phase = STAGE_BUSY;
		rc = do_step(s, &e);
		if (rc != 0)
			break;
		s->phase = STAGE_WAITING;
		step_end(s);
	}
	if (rc < 0)
		build_fail(s->b, &e, 0);
}

void stage_free(struct stage *s)
{
	stage_to(s, "");
	if (*s->source_image)
		image_release(s->b->bs->images, s->source_image);
	build_state_done(&s->state);
	for (size_t i = 0; i < s->ntriggers; i++)
		build_step_done(&s->triggers[i]);
	for (size_t i = 0; s->trigger_lines && i < s->ntriggers; i++)
		build_line_done(&s->trigger_lines[i]);
	free(s->triggers);
	free(s->trigger_lines);
	free(s->base);
	free(s->made_by);
	free(s->upper);
	free(s->step_dir);
	free(s->dir_path);
	strv_free(s->layers);
	strv_free(s->source_layers);
	ignore_free(s->exclude);
	json_decref(s->held);
	if (s->diff >= 0)
		(void)close(s->diff);
}
