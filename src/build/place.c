/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build_priv.h"
#include "image/view.h"

/* COPY, ADD and WORKDIR: work in an image's root on a worker, then what changed is the next layer. */

static struct stage *of(struct work *w)
{
	return CONTAINER_OF(w, struct stage, work);
}

static void start(struct stage *s, void (*run)(struct work *w), void (*done)(struct work *w))
{
	err_clear(&s->err);
	s->work = (struct work){ .run = run, .done = done };
	build_hold(s->b);
	work_start(s->b->bs->pool, &s->work);
}

/* The image's root, writable; its changes go to <step_dir>/upper, which s->diff gets at the end. */
static int open_root(struct stage *s, struct err *e)
{
	CLEANUP(mem_freep) char *upper = mem_printf("%s/upper", s->step_dir), *work = mem_printf("%s/work", s->step_dir);
	int root;

	if (mkdir(s->step_dir, 0700) < 0 || mkdir(upper, 0755) < 0 || mkdir(work, 0700) < 0 || chmod(upper, 0755) < 0)
		return err_errno(e, errno, "create %s", s->step_dir);
	s->diff = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->diff < 0)
		return err_errno(e, errno, "open %s", upper);
	if (image_view_change(s->layers, upper, work, &root, e) < 0)
		return -1;
	return root;
}

/* Layers of the image as it stands, and a folder for the step. */
static int prepare(struct stage *s, struct err *e)
{
	struct build *b = s->b;
	const struct image *i = *s->image ? image_find(b->bs->images, s->image, e) : NULL;

	if (*s->image && !i)
		return -1;
	strv_free(s->layers);
	free(s->step_dir);
	s->layers = i ? image_layers(b->bs->images, i) : mem_zalloc(sizeof(*s->layers));
	s->step_dir = mem_printf("%s/step-%u", b->dir, ++b->containers);
	return 0;
}

static void placed(struct work *w)
{
	struct stage *s = of(w);
	struct build *b = s->b;

	build_copy_done(&s->copy);
	if (s->err.kind)
		build_fail(b, &s->err, 0);
	else if (!b->failed && !b->gone)
		stage_made(s, TAKE_FD(s->diff));
	build_drop(b);
}

/* WORKDIR. */

static void workdir_run(struct work *w)
{
	struct stage *s = of(w);
	CLEANUP(fd_closep) int root = open_root(s, &s->err);
	int fd = root < 0 ? root : file_mkdir_in_root(root, s->dir_path, 0755, 0, 0);

	if (root < 0)
		return;
	if (fd >= 0)
		(void)close(fd);
	else if (fd == -ENOTDIR)
		err_set(&s->err, ERR_INVALID, "Cannot mkdir: %.300s is not a directory", s->dir_path);
	else
		err_errno(&s->err, -fd, "WORKDIR: create %.300s", s->dir_path);
}

int workdir_start(struct stage *s, struct err *e)
{
	if (prepare(s, e) < 0)
		return -1;
	free(s->dir_path);
	s->dir_path = mem_strdup(json_str(s->state.config, "WorkingDir", "/"));
	start(s, workdir_run, placed);
	return 0;
}

/* COPY and ADD. */

static void copy_free(struct stage *s)
{
	struct build_copy *c = &s->copy;

	build_copy_done(c);
	if (c->source >= 0)
		(void)close(c->source);
	strv_free(c->patterns);
	for (size_t i = 0; i < c->ndocs; i++) {
		free(c->docs[i].name);
		free(c->docs[i].text);
	}
	free(c->docs);
	free(c->dest);
	free((char *)c->chown);
	free((char *)c->chmod);
	*c = (struct build_copy){ .source = -1 };
	ignore_free(TAKE(s->exclude));
	strv_free(TAKE(s->source_layers));
	if (*s->source_image)
		image_release(s->b->bs->images, s->source_image);
	*s->source_image = '\0';
}

static void copy_run(struct work *w)
{
	struct stage *s = of(w);
	CLEANUP(fd_closep) int root = open_root(s, &s->err);

	if (root >= 0)
		(void)build_copy_run(&s->copy, root, &s->err);
}

static void copy_placed(struct work *w)
{
	struct stage *s = of(w);

	copy_free(s);
	placed(w);
}

static void find_run(struct work *w)
{
	struct stage *s = of(w);

	if (s->source_layers) {
		if (!*s->source_layers) {
			err_set(&s->err, ERR_INVALID, "COPY --from=%.200s: the image has no files", s->step->from);
			return;
		}
		if (image_view_open(s->source_layers, &s->copy.source, &s->err) < 0)
			return;
	}
	(void)build_copy_find(&s->copy, &s->err);
}

/* docker's words: "COPY file:<sum> in /dest ". */
static char *copy_made_by(struct stage *s)
{
	const struct build_copy *c = &s->copy;
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	buf_printf(&b, "%s ", build_copy_word(c));
	if (!str_empty(c->chown))
		buf_printf(&b, "--chown=%s ", c->chown);
	if (!str_empty(c->chmod))
		buf_printf(&b, "--chmod=%s ", c->chmod);
	if (c->no_unpack)
		buf_adds(&b, "--unpack=false ");
	for (char **x = s->step->exclude; x && *x; x++)
		buf_printf(&b, "--exclude=%s ", *x);
	buf_printf(&b, "%s in %s%s ", c->sum, c->dest, c->dest_slash && !str_eq(c->dest, "/") ? "/" : "");
	return build_state_created_by(&s->state, b.data, false);
}

static void find_done(struct work *w)
{
	struct stage *s = of(w);
	struct build *b = s->b;
	struct err e = { 0 };

	if (s->err.kind || b->failed || b->gone || b->bs->closing) {
		copy_free(s);
		if (s->err.kind)
			build_fail(b, &s->err, 0);
		build_drop(b);
		return;
	}
	s->made_by = copy_made_by(s);
	if (stage_cached(s)) {
		copy_free(s);
		stage_go_on(s);
	} else if (stage_lent(s)) {
		copy_free(s);
	} else if (prepare(s, &e) < 0) {
		copy_free(s);
		build_fail(b, &e, 0);
	} else {
		start(s, copy_run, copy_placed);
	}
	build_drop(b);
}

static void copy_pulled(struct stage *s)
{
	struct err e = { 0 };

	if (copy_start(s, &e) < 0)
		build_fail(s->b, &e, 0);
}

/* Where the sources are: the context, an earlier stage, or any image. 1: that is being pulled. */
static int copy_source(struct stage *s, struct err *e)
{
	struct build *b = s->b;
	struct build_copy *c = &s->copy;
	const struct image *i;
	const char *ref = s->step->from;
	int k;

	if (!ref) {
		c->context = true;
		c->source = fcntl(b->ctx_fd, F_DUPFD_CLOEXEC, 3);
		return c->source < 0 ? err_errno(e, errno, "open the build's context") : 0;
	}
	k = build_plan_stage(&b->plan, ref, true, s->index);
	if (k >= 0) {
		ref = b->stages[k].needed ? b->stages[k].image : "";
		if (!*ref)
			return err_set(e, ERR_INVALID, "COPY --from=%.200s: the stage is empty", s->step->from);
	}
	i = image_find(b->bs->images, ref, e);
	if (!i && k < 0 && !s->pulled && e->kind == ERR_NOT_FOUND && !str_starts(ref, "sha256:")) {
		err_clear(e);
		s->pulled = true;
		return pull_start(s, ref, copy_pulled, e) < 0 ? -1 : 1;
	}
	s->pulled = false;
	if (!i)
		return err_wrap(e, "invalid from flag value %.200s", s->step->from);
	if (image_hold(b->bs->images, image_id(i), e) < 0)
		return -1;
	snprintf(s->source_image, sizeof(s->source_image), "%s", image_id(i));
	s->source_layers = image_layers(b->bs->images, i);
	return 0;
}

static int expand_docs(struct stage *s, const struct build_vars *v, struct err *e)
{
	const struct build_line *l = s->step->line;
	struct build_copy *c = &s->copy;
	struct build_vars text_vars = *v;

	text_vars.no_quotes = true;
	c->docs = l->ndocs ? mem_zalloc(l->ndocs * sizeof(*c->docs)) : NULL;
	for (size_t i = 0; i < l->ndocs; i++) {
		struct build_doc *d = &c->docs[c->ndocs++];
		char *text = build_heredoc_text(&l->docs[i]);

		d->name = mem_strdup(l->docs[i].name);
		d->text = l->docs[i].expand ? build_word(&text_vars, text, e) : mem_strdup(text);
		free(text);
		if (!d->text)
			return -1;
		if (!*d->name || strchr(d->name, '/') || str_eq(d->name, ".") || str_eq(d->name, ".."))
			return err_set(e, ERR_INVALID, "the heredoc's name '%.100s' is no file name", d->name);
	}
	return 0;
}

static int copy_words(struct stage *s, struct err *e)
{
	const struct build_vars v = build_state_vars(&s->state);
	const struct build_step *step = s->step;
	struct build_copy *c = &s->copy;
	size_t n = strv_len(step->line->args), at = 0;
	char *dest;

	if (step->chown && !(c->chown = build_word(&v, step->chown, e)))
		return -1;
	if (step->chmod && !(c->chmod = build_word(&v, step->chmod, e)))
		return -1;
	c->patterns = mem_zalloc(sizeof(*c->patterns));
	for (size_t i = 0; i + 1 < n; i++) {
		CLEANUP(mem_freep) char *w = NULL;

		if (step->line->ndocs && build_heredoc_word(step->line->args[i], NULL, NULL, NULL))
			continue;
		w = build_word(&v, step->line->args[i], e);
		if (!w)
			return -1;
		c->patterns = strv_push(c->patterns, &at, w);
	}
	dest = build_word(&v, step->line->args[n - 1], e);
	if (!dest)
		return -1;
	c->dest_slash = str_ends(dest, "/") || str_eq(dest, ".") || str_ends(dest, "/.") || !*dest;
	c->dest = build_state_path(&s->state, dest);
	free(dest);
	if (step->exclude) {
		s->exclude = ignore_of(step->exclude, e);
		if (!s->exclude)
			return -1;
		c->exclude = s->exclude;
	}
	return expand_docs(s, &v, e);
}

int copy_start(struct stage *s, struct err *e)
{
	int rc;

	s->copy = (struct build_copy){ .add = s->step->op == BUILD_ADD, .no_unpack = s->step->no_unpack, .source = -1, .stop = &s->b->stop };
	rc = copy_words(s, e) < 0 ? -1 : copy_source(s, e);
	if (rc != 0) {
		copy_free(s);
		return rc < 0 ? -1 : 0;
	}
	start(s, find_run, find_done);
	return 0;
}
