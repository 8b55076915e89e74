/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const op_names[] = {
	[BUILD_ADD] = "ADD", [BUILD_ARG] = "ARG", [BUILD_CMD] = "CMD", [BUILD_COPY] = "COPY", [BUILD_ENTRYPOINT] = "ENTRYPOINT",
	[BUILD_ENV] = "ENV", [BUILD_EXPOSE] = "EXPOSE", [BUILD_FROM] = "FROM", [BUILD_HEALTHCHECK] = "HEALTHCHECK", [BUILD_LABEL] = "LABEL",
	[BUILD_MAINTAINER] = "MAINTAINER", [BUILD_ONBUILD] = "ONBUILD", [BUILD_RUN] = "RUN", [BUILD_SHELL] = "SHELL",
	[BUILD_STOPSIGNAL] = "STOPSIGNAL", [BUILD_USER] = "USER", [BUILD_VOLUME] = "VOLUME", [BUILD_WORKDIR] = "WORKDIR",
};
static_assert(N(op_names) == BUILD_OP_COUNT, "a name for every instruction");

const char *build_op_name(enum build_op op)
{
	return op_names[op];
}

/* Flags. */

struct flag {
	const char *name;
	char **value;		/* of one value */
	char ***list;		/* or of several */
	bool *flag;		/* or of none */
	bool given;
};

static int parse_bool(const char *name, const char *value, bool *ret, struct err *e)
{
	if (value && !*value)
		return err_set(e, ERR_INVALID, "missing a value on flag: --%s", name);
	if (!value || !strcasecmp(value, "true"))
		*ret = true;
	else if (!strcasecmp(value, "false"))
		*ret = false;
	else
		return err_set(e, ERR_INVALID, "expecting boolean value for flag --%s, not: %.200s", name, value);
	return 0;
}

/* The line's flags into what the table says; the table ends with a NULL name. */
static int parse_flags(const struct build_line *l, struct flag *known, struct err *e)
{
	for (char **w = l->flags; *w; w++) {
		const char *equal = strchr(*w, '='), *value = equal ? equal + 1 : NULL;
		size_t n = equal ? (size_t)(equal - *w) : strlen(*w);
		struct flag *f = known;

		while (f->name && (strlen(f->name) + 2 != n || strncmp(*w + 2, f->name, n - 2)))
			f++;
		if (!f->name)
			return err_set(e, ERR_INVALID, "unknown flag: %.*s", (int)(n > 200 ? 200 : n), *w);
		if (f->given && !f->list)
			return err_set(e, ERR_INVALID, "duplicate flag specified: --%s", f->name);
		f->given = true;
		if (f->flag) {
			if (parse_bool(f->name, value, f->flag, e) < 0)
				return -1;
			continue;
		}
		if (!value)
			return err_set(e, ERR_INVALID, "missing a value on flag: --%s", f->name);
		if (f->list)
			*f->list = strv_add(*f->list, value);
		else
			*f->value = mem_strdup(value);
	}
	return 0;
}

static int no_flags(const struct build_line *l, struct err *e)
{
	struct flag none[] = { { 0 } };

	return parse_flags(l, none, e);
}

/* Instructions. */

static int at_least_one(const struct build_line *l, const char *name, struct err *e)
{
	return *l->args ? 0 : err_set(e, ERR_INVALID, "%s requires at least one argument", name);
}

static int exactly_one(const struct build_line *l, const char *name, struct err *e)
{
	return strv_len(l->args) == 1 ? 0 : err_set(e, ERR_INVALID, "%s requires exactly one argument", name);
}

static int check_pairs(const struct build_line *l, const char *name, struct err *e)
{
	if (at_least_one(l, name, e) < 0)
		return -1;
	for (char **a = l->args; a[0]; a += 2)
		if (!*a[0])
			return err_set(e, ERR_INVALID, "%s names can not be blank", name);
	return 0;
}

static int check_arg(const struct build_line *l, struct err *e)
{
	if (at_least_one(l, "ARG", e) < 0)
		return -1;
	for (char **a = l->args; *a; a++)
		if (**a == '=')
			return err_set(e, ERR_INVALID, "ARG names can not be blank");
	return 0;
}

static int check_sources(const struct build_line *l, const char *name, struct err *e)
{
	size_t n = strv_len(l->args);

	if (n < 2)
		return err_set(e, ERR_INVALID, "%s requires at least two arguments, but only one was provided. Destination could not be determined", name);
	if (l->ndocs && build_heredoc_word(l->args[n - 1], NULL, NULL, NULL))
		return err_set(e, ERR_INVALID, "%s cannot accept a heredoc as a destination", name);
	return 0;
}

/* What is BuildKit's or a registry's, by name. */
static int refuse_flag(const char *what, const struct flag *f, const char *why, struct err *e)
{
	return f->given ? err_set(e, ERR_INVALID, "%s --%s is not supported: %s", what, f->name, why) : 0;
}

static int check_copy(struct build_step *s, bool add, struct err *e)
{
	bool link = false, parents = false, keep_git = false, unpack = true;
	char *checksum = NULL;
	struct flag known[] = {
		{ "chown", .value = &s->chown }, { "chmod", .value = &s->chmod }, { "link", .flag = &link }, { "exclude", .list = &s->exclude },
		add ? (struct flag){ "checksum", .value = &checksum } : (struct flag){ "from", .value = &s->from },
		add ? (struct flag){ "keep-git-dir", .flag = &keep_git } : (struct flag){ "parents", .flag = &parents },
		add ? (struct flag){ "unpack", .flag = &unpack } : (struct flag){ 0 }, { 0 },
	};
	const char *name = add ? "ADD" : "COPY";
	int rc = check_sources(s->line, name, e);

	if (rc == 0)
		rc = parse_flags(s->line, known, e);
	/* --link changes how a cache stores a layer, not what is in it: taken as it is. */
	if (rc == 0 && add)
		rc = refuse_flag(name, &known[4], "it is about files from the network, and ADD takes none here", e);
	if (rc == 0 && add && keep_git)
		rc = refuse_flag(name, &known[5], "it is about git repositories, and ADD takes none here", e);
	if (rc == 0 && parents)
		rc = refuse_flag(name, &known[5], "name the directories in the destination", e);
	s->no_unpack = !unpack;
	free(checksum);
	return rc;
}

/* RUN's flags are all BuildKit's. */
static int check_run(const struct build_step *s, struct err *e)
{
	static const char *const known[] = { "mount", "network", "security", "device" };

	for (char **w = s->line->flags; *w; w++) {
		size_t n = strcspn(*w + 2, "=");

		for (size_t i = 0; i < N(known); i++)
			if (strlen(known[i]) == n && !strncmp(*w + 2, known[i], n))
				return err_set(e, ERR_INVALID, "the --%s option requires BuildKit, which this engine does not have: it builds as docker's classic "
					       "builder does. Take the option out of RUN", known[i]);
	}
	if (no_flags(s->line, e) < 0)
		return -1;
	return s->line->ndocs && !*s->line->args ? err_set(e, ERR_INVALID, "parsing produced an invalid run command") : at_least_one(s->line, "RUN", e);
}

static int interval(const char *flag, const char *text, json_t *health, const char *key, struct err *e)
{
	int64_t ns;

	if (!text)
		return 0;
	if (str_to_duration_ns(text, &ns) < 0)
		return err_set(e, ERR_INVALID, "time: invalid duration \"%.100s\"", text);
	if (ns != 0 && ns < 1000000)
		return err_set(e, ERR_INVALID, "Interval \"%s\" cannot be less than 1ms", flag);
	if (ns)
		json_object_set_new(health, key, json_integer(ns));
	return 0;
}

static int check_health(struct build_step *s, struct err *e)
{
	static const char *const keys[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
	char *values[5] = { NULL };
	struct flag known[] = {
		{ "interval", .value = &values[0] }, { "timeout", .value = &values[1] }, { "start-period", .value = &values[2] },
		{ "start-interval", .value = &values[3] }, { "retries", .value = &values[4] }, { 0 },
	};
	const struct build_line *l = s->line;
	json_t *test = json_array();
	int64_t n;
	int rc;

	s->health = json_pack("{s:o}", "Test", test);
	rc = at_least_one(l, "HEALTHCHECK", e);
	if (rc == 0 && !strcasecmp(l->args[0], "NONE")) {
		if (l->args[1])
			return err_set(e, ERR_INVALID, "HEALTHCHECK NONE takes no arguments");
		json_array_append_new(test, json_string("NONE"));
		return no_flags(l, e);
	}
	if (rc == 0)
		rc = parse_flags(l, known, e);
	if (rc == 0 && strcasecmp(l->args[0], "CMD"))
		rc = err_set(e, ERR_INVALID, "Unknown type \"%.100s\" in HEALTHCHECK (try CMD)", l->args[0]);
	if (rc == 0 && !l->args[1])
		rc = err_set(e, ERR_INVALID, "Missing command after HEALTHCHECK CMD");
	if (rc == 0) {
		json_array_append_new(test, json_string(l->json ? "CMD" : "CMD-SHELL"));
		for (char **a = l->args + 1; *a; a++)
			json_array_append_new(test, json_string(*a));
	}
	for (size_t i = 0; rc == 0 && i < N(keys); i++)
		rc = interval(known[i].name, values[i], s->health, keys[i], e);
	if (rc == 0 && values[4]) {
		if (str_to_i64(values[4], INT32_MIN, INT32_MAX, &n) < 0)
			rc = err_set(e, ERR_INVALID, "--retries: '%.100s' is not a number", values[4]);
		else if (n < 0)
			rc = err_set(e, ERR_INVALID, "--retries cannot be negative (%lld)", (long long)n);
		else
			json_object_set_new(s->health, "Retries", json_integer(n));
	}
	for (size_t i = 0; i < N(values); i++)
		free(values[i]);
	return rc;
}

static int check_onbuild(struct build_step *s, struct err *e)
{
	static const char *const never[] = { "MAINTAINER", "FROM" };
	const struct build_line *l = s->line;
	struct buf b = BUF_INIT;
	const char *p;
	size_t n;

	if (at_least_one(l, "ONBUILD", e) < 0 || no_flags(l, e) < 0)
		return -1;
	n = strcspn(l->args[0], " \t\r\n");
	if (n == 7 && !strncasecmp(l->args[0], "ONBUILD", n))
		return err_set(e, ERR_INVALID, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	for (size_t i = 0; i < N(never); i++)
		if (n == strlen(never[i]) && !strncasecmp(l->args[0], never[i], n))
			return err_set(e, ERR_INVALID, "%s isn't allowed as an ONBUILD trigger", never[i]);
	buf_init(&b, DOCKERFILE_MAX);
	for (p = l->code + strlen(l->word); *p == ' ' || (*p >= '\t' && *p <= '\r'); p++)
		;
	buf_adds(&b, p);
	for (size_t i = 0; i < l->ndocs; i++)
		buf_printf(&b, "\n%s%s", l->docs[i].text, l->docs[i].name);
	s->trigger = buf_take(&b);
	return 0;
}

/* The trigger itself has to be one, as docker finds out only in the build that inherits it. */
static int check_trigger(const char *text, char escape, struct err *e)
{
	struct build_line line;
	struct build_step step;
	int rc;

	if (build_line_parse(text, escape, &line, e) < 0)
		return -1;
	rc = build_step_parse(&line, &step, e);
	if (rc == 0)
		build_step_done(&step);
	build_line_done(&line);
	return rc;
}

static int check_volume(const struct build_line *l, struct err *e)
{
	if (at_least_one(l, "VOLUME", e) < 0 || no_flags(l, e) < 0)
		return -1;
	for (char **a = l->args; *a; a++)
		if (!(*a)[strspn(*a, " \t\r\n")])
			return err_set(e, ERR_INVALID, "VOLUME specified can not be an empty string");
	return 0;
}

static int check_from(struct build_step *s, struct err *e)
{
	struct flag known[] = { { "platform", .value = &s->platform }, { 0 } };
	size_t n = strv_len(s->line->args);

	if (n != 1 && !(n == 3 && !strcasecmp(s->line->args[1], "AS")))
		return err_set(e, ERR_INVALID, "FROM requires either one or three arguments");
	if (n == 3) {
		const char *p = s->line->args[2];

		for (const char *c = p; *c; c++)
			if (!(isalpha((unsigned char)*c) || (c > p && (isdigit((unsigned char)*c) || strchr("-_.", *c)))))
				return err_set(e, ERR_INVALID, "invalid name for build stage: \"%.200s\", name can't start with a number or contain symbols", p);
	}
	return parse_flags(s->line, known, e);
}

static int check_step(struct build_step *s, struct err *e)
{
	const struct build_line *l = s->line;
	const char *name = op_names[s->op];

	switch (s->op) {
	case BUILD_ADD:
	case BUILD_COPY:
		return check_copy(s, s->op == BUILD_ADD, e);
	case BUILD_ARG:
		return check_arg(l, e) < 0 ? -1 : no_flags(l, e);
	case BUILD_ENV:
	case BUILD_LABEL:
		return no_flags(l, e) < 0 ? -1 : check_pairs(l, name, e);
	case BUILD_FROM:
		return check_from(s, e);
	case BUILD_HEALTHCHECK:
		return check_health(s, e);
	case BUILD_ONBUILD:
		return check_onbuild(s, e);
	case BUILD_RUN:
		return check_run(s, e);
	case BUILD_SHELL:
		if (no_flags(l, e) < 0 || at_least_one(l, "SHELL", e) < 0)
			return -1;
		return l->json ? 0 : err_set(e, ERR_INVALID, "SHELL requires the arguments to be in JSON form");
	case BUILD_VOLUME:
		return check_volume(l, e);
	case BUILD_EXPOSE:
		return at_least_one(l, name, e) < 0 ? -1 : no_flags(l, e);
	case BUILD_MAINTAINER:
	case BUILD_STOPSIGNAL:
	case BUILD_USER:
	case BUILD_WORKDIR:
		return exactly_one(l, name, e) < 0 ? -1 : no_flags(l, e);
	case BUILD_CMD:
	case BUILD_ENTRYPOINT:
		return no_flags(l, e);
	case BUILD_OP_COUNT:
		break;
	}
	return -1;
}

int build_step_parse(const struct build_line *line, struct build_step *ret, struct err *e)
{
	size_t i = 0;

	memset(ret, 0, sizeof(*ret));
	ret->line = line;
	while (i < N(op_names) && strcasecmp(line->word, op_names[i]))
		i++;
	if (i == N(op_names))
		return err_set(e, ERR_INVALID, "unknown instruction: %.200s", line->word);
	ret->op = (enum build_op)i;
	if (check_step(ret, e) < 0) {
		build_step_done(ret);
		return -1;
	}
	return 0;
}

void build_step_done(struct build_step *s)
{
	free(s->from);
	free(s->chown);
	free(s->chmod);
	free(s->platform);
	free(s->trigger);
	strv_free(s->exclude);
	json_decref(s->health);
	memset(s, 0, sizeof(*s));
}

/* Stages. */

static struct build_step *add_step(struct build_step **v, size_t *n, const struct build_step *s)
{
	if ((*n & (*n - 1)) == 0)
		*v = mem_realloc(*v, (*n ? *n * 2 : 1) * sizeof(**v));
	(*v)[*n] = *s;
	return &(*v)[(*n)++];
}

static void add_stage(struct build_plan *p, struct build_step *from)
{
	struct build_stage *st;
	char **args = from->line->args;

	p->stages = mem_realloc(p->stages, (p->n + 1) * sizeof(*p->stages));
	st = &p->stages[p->n++];
	*st = (struct build_stage){ .from = *from, .base = mem_strdup(args[0]), .name = mem_strdup(args[1] ? args[2] : "") };
	for (char *c = st->name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

static int add_line(struct build_plan *p, const struct build_line *line, struct err *e)
{
	struct build_step s;

	if (build_step_parse(line, &s, e) < 0)
		return -1;
	if (s.op == BUILD_FROM) {
		add_stage(p, &s);
	} else if (p->n) {
		struct build_stage *st = &p->stages[p->n - 1];

		add_step(&st->steps, &st->n, &s);
		if (s.op == BUILD_ONBUILD)
			return check_trigger(s.trigger, p->file.escape, e);
	} else if (s.op == BUILD_ARG) {
		add_step(&p->meta, &p->nmeta, &s);
	} else {
		build_step_done(&s);
		return err_set(e, ERR_INVALID, "no build stage in current context");
	}
	return 0;
}

int build_plan_parse(const char *text, size_t n, struct build_plan *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	if (build_dockerfile_parse(text, n, &ret->file, e) < 0)
		return -1;
	for (size_t i = 0; i < ret->file.n; i++) {
		if (add_line(ret, &ret->file.lines[i], e) < 0) {
			err_wrap(e, "dockerfile parse error on line %u", ret->file.lines[i].line);
			build_plan_done(ret);
			return -1;
		}
	}
	if (!ret->n) {
		build_plan_done(ret);
		return err_set(e, ERR_INVALID, "no build stage in current context");
	}
	return 0;
}

void build_plan_done(struct build_plan *p)
{
	for (size_t i = 0; i < p->nmeta; i++)
		build_step_done(&p->meta[i]);
	for (size_t k = 0; k < p->n; k++) {
		struct build_stage *st = &p->stages[k];

		build_step_done(&st->from);
		for (size_t i = 0; i < st->n; i++) {
			if (st->steps[i].literal) {
				build_line_done((struct build_line *)st->steps[i].line);
				free((struct build_line *)st->steps[i].line);
			}
			build_step_done(&st->steps[i]);
		}
		free(st->steps);
		free(st->base);
		free(st->name);
	}
	free(p->meta);
	free(p->stages);
	build_dockerfile_done(&p->file);
	memset(p, 0, sizeof(*p));
}

void build_plan_add_label(struct build_plan *p, size_t stage, const char *key, const char *value)
{
	struct build_stage *st = &p->stages[stage];
	struct build_line *l = mem_zalloc(sizeof(*l));

	l->word = mem_strdup("LABEL");
	l->code = mem_printf("LABEL %s=%s", key, value);
	l->flags = mem_zalloc(sizeof(*l->flags));
	l->args = strv_add(strv_add(NULL, key), value);
	add_step(&st->steps, &st->n, &(struct build_step){ .op = BUILD_LABEL, .line = l, .literal = true });
}

int build_plan_stage(const struct build_plan *p, const char *name, bool numbers, size_t before)
{
	uint64_t k;

	for (size_t i = before; i-- > 0;)
		if (*p->stages[i].name && !strcasecmp(p->stages[i].name, name))
			return (int)i;
	if (numbers && before && str_to_u64(name, 0, before - 1, &k) == 0)
		return (int)k;
	return -1;
}
