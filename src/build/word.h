/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_WORD_H
#define KEDGE_BUILD_WORD_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Pure: variables and quotes in a word of a Dockerfile, by docker's rules: $x ${x} ${x:-word} ${x-word} ${x:+word} ${x+word} ${x:?word}
 * ${x?word} ${x#pattern} ${x##pattern} ${x%pattern} ${x%%pattern} ${x/pattern/text} ${x//pattern/text}; 'literal', "with $x", escapes.
 */
struct build_vars {
	/* The value of a variable, or NULL: unset. */
	const char *(*get)(void *user, const char *name);
	void *user;
	char escape;		/* '\\' or '`' */
	bool keep_quotes;	/* quotes stay in the result */
	bool keep_escapes;
	bool keep_unset;	/* $x of an unset variable stays as it was written */
	bool no_quotes;		/* quotes are characters like others (heredoc texts) */
};

enum {
	BUILD_WORD_MAX = 1024 * 1024,	/* bytes of a result: ENV A=$A$A in a chain must end somewhere */
	BUILD_NEST_MAX = 64,		/* ${a:-${b:-...}} */
};

/* The word as one string, the caller frees. On failure NULL: 'failed to process "...": ...' (ERR_INVALID). */
char *build_word(const struct build_vars *v, const char *word, struct err *e);
/* The same, split at blanks outside quotes, after the replacement. NULL-terminated. */
char **build_words(const struct build_vars *v, const char *word, struct err *e);

#endif
