/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_PLAN_H
#define KEDGE_BUILD_PLAN_H

#include <jansson.h>

#include "build/dockerfile.h"

/* Pure: what the lines of a Dockerfile mean. Every instruction is checked in form before anything is built. */
enum build_op {
	BUILD_ADD, BUILD_ARG, BUILD_CMD, BUILD_COPY, BUILD_ENTRYPOINT, BUILD_ENV, BUILD_EXPOSE, BUILD_FROM, BUILD_HEALTHCHECK, BUILD_LABEL,
	BUILD_MAINTAINER, BUILD_ONBUILD, BUILD_RUN, BUILD_SHELL, BUILD_STOPSIGNAL, BUILD_USER, BUILD_VOLUME, BUILD_WORKDIR, BUILD_OP_COUNT
};

struct build_step {
	enum build_op op;
	const struct build_line *line;	/* borrowed from the file, or own */
	char *from, *chown, *chmod, *platform;	/* flags; NULL: not given */
	char **exclude;			/* COPY, ADD: --exclude; NULL-terminated or NULL */
	bool no_unpack;			/* ADD --unpack=false */
	bool literal;			/* LABEL from the request: no variables in it */
	json_t *health;			/* HEALTHCHECK, as the image config holds it */
	char *trigger;			/* ONBUILD: the instruction */
};

struct build_stage {
	struct build_step from;		/* its line is the FROM's */
	char *base, *name;		/* as written; name in lower case, "" without one */
	struct build_step *steps;
	size_t n;
};

struct build_plan {
	struct build_dockerfile file;
	struct build_step *meta;	/* ARGs before the first FROM */
	size_t nmeta;
	struct build_stage *stages;
	size_t n;
};

/* Errors begin with "dockerfile parse error on line N: ". */
int build_plan_parse(const char *text, size_t n, struct build_plan *ret, struct err *e);
void build_plan_done(struct build_plan *p);
/* Adds a LABEL of the request to a stage. */
void build_plan_add_label(struct build_plan *p, size_t stage, const char *key, const char *value);
/* A trigger of a base image. line must outlive the step. */
int build_step_parse(const struct build_line *line, struct build_step *ret, struct err *e);
void build_step_done(struct build_step *s);
/* Upper case, as docker's words. */
const char *build_op_name(enum build_op op);

/* A stage's index by name (any case) or, with numbers true, by its number; -1: none. Only the first `before` stages count. */
int build_plan_stage(const struct build_plan *p, const char *name, bool numbers, size_t before);

#endif
