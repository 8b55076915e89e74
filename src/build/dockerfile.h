/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BUILD_DOCKERFILE_H
#define KEDGE_BUILD_DOCKERFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Pure: a Dockerfile's text into logical lines, and those into words. Comments, continuation lines, parser directives and heredocs are
 * dealt with here; what an instruction may say is plan.h's business.
 */
enum {
	DOCKERFILE_MAX = 4 * 1024 * 1024,
	DOCKERFILE_LINE_MAX = 65535,	/* bytes of one line in the file, docker's limit */
};

struct build_heredoc {
	char *name, *text;	/* text: with the newline of each line; leading tabs still there */
	bool expand;		/* the word had no quotes: variables in the text are replaced */
	bool chomp;		/* "<<-": leading tabs go */
};

struct build_line {
	char *word;		/* the instruction as it was written */
	char *code;		/* the whole logical line, without blanks at its ends */
	unsigned line;		/* where it begins, from 1 */
	char **flags;		/* "--name=value", unquoted; NULL-terminated */
	char **args;		/* by the instruction's own form; ENV and LABEL: name, value, name, value ... */
	bool json;		/* args come from a JSON array */
	struct build_heredoc *docs;
	size_t ndocs;
};

struct build_dockerfile {
	struct build_line *lines;
	size_t n;
	char escape;		/* '\\' or '`' */
	char *syntax;		/* "# syntax=": NULL without one; nothing is fetched for it */
};

/* text need not be terminated. Errors (ERR_INVALID) begin with "dockerfile parse error on line N: ". */
int build_dockerfile_parse(const char *text, size_t n, struct build_dockerfile *ret, struct err *e);
void build_dockerfile_done(struct build_dockerfile *f);
/* One instruction alone, as ONBUILD holds it; heredocs may follow in text. */
int build_line_parse(const char *text, char escape, struct build_line *ret, struct err *e);
void build_line_done(struct build_line *l);

/* Is the word a heredoc ("<<EOF", "3<<-'EOF'")? name is then the caller's to free; may be NULL. */
bool build_heredoc_word(const char *word, char **name, bool *chomp, bool *expand);
/* The text of a heredoc as it is meant: without leading tabs when it says so. The caller frees. */
char *build_heredoc_text(const struct build_heredoc *d);

#endif
