/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_STATE_H
#define KEDGE_BUILD_STATE_H

#include <jansson.h>

#include "build/plan.h"
#include "build/word.h"

/*
 * Pure: what a stage has come to, as far as it is words: the image's container config, its author, its build arguments. An instruction that
 * only changes these is wholly done here.
 */
struct build_state {
	json_t *config;		/* the "config" object of the image to be */
	char *author;
	bool cmd_set;		/* by this stage: ENTRYPOINT leaves such a CMD alone */
	char escape;
	json_t *args;		/* ARGs of this stage: name -> string or null */
	const json_t *meta;	/* ARGs before the first FROM; borrowed */
	const json_t *given;	/* --build-arg: name -> string or null; borrowed */
};

void build_state_init(struct build_state *s, const json_t *config, const json_t *meta, const json_t *given, char escape);
void build_state_done(struct build_state *s);

/* The value of an ARG by docker's order: --build-arg, its own default, the one before the first FROM. NULL: none. */
const char *build_arg_value(const json_t *own, const json_t *meta, const json_t *given, const char *name);
/* One ARG line into args, its words expanded by v. */
int build_arg_add(json_t *args, const struct build_step *step, const struct build_vars *v, struct err *e);

/* Variables as an instruction of this stage sees them: ENV before ARG. v is borrowed with s. */
struct build_vars build_state_vars(const struct build_state *s);
/* "NAME=value" of the ARGs that a RUN gets in its environment; keyed true: only those that are part of the cache's key, in order of names. */
json_t *build_state_run_args(const struct build_state *s, bool keyed);
/* The words a shell form is put behind. New reference. */
json_t *build_state_shell(const struct build_state *s);
/* Words of a shell or JSON form. New reference. */
json_t *build_state_command(const struct build_state *s, const struct build_line *l);
/* The path by which a relative one is meant; the caller frees. */
char *build_state_path(const struct build_state *s, const char *path);

/*
 * Every instruction but FROM, RUN, COPY, ADD. comment gets docker's text for the history ("ENV A=b"), which the caller frees; note gets a
 * line for the user or NULL.
 */
int build_state_apply(struct build_state *s, const struct build_step *step, char **comment, char **note, struct err *e);
/* "/bin/sh -c #(nop)  ENV A=b": the history's created_by. gap: docker's two blanks. The caller frees. */
char *build_state_created_by(const struct build_state *s, const char *comment, bool gap);
/* Words with blanks between them, the caller frees. */
char *build_join(const json_t *words);

#endif
