/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_FLAGS_H
#define KEDGE_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Command line flags by pflag's rules, which docker users' fingers know: "--name=value", "--name value", "-n value", "-nvalue",
 * "-n=value", "-abc" for booleans, "--flag=false"; "--" ends them. Error sentences are pflag's too.
 */
enum flag_type { FLAG_BOOL, FLAG_STRING, FLAG_LIST, FLAG_INT, FLAG_BYTES, FLAG_DURATION, FLAG_DECIMAL, FLAG_TYPE_COUNT };

struct flag_def {
	const char *name;	/* NULL ends a table */
	char letter;		/* 0: none */
	enum flag_type type;
	const char *help;
	const char *def;	/* value when not given; NULL: empty, 0 or false */
	const char *word;	/* of the value in help; NULL: the type's */
	bool hidden;
	/* Judges each value; the reason goes to why. Such errors are shown with the command's usage. May be NULL. */
	int (*check)(const char *text, struct err *why);
};

struct flag_value {
	bool given;
	char *text;		/* the last one given */
	char **list;		/* FLAG_LIST: all of them */
	int64_t number;		/* FLAG_BOOL, INT, BYTES, DURATION (ns) */
	double decimal;
};

struct flags {
	const struct flag_def *defs;
	struct flag_value *values;
	char **args;		/* what is no flag; pointers into argv, NULL-terminated */
	int argc;
	bool help;		/* --help was met: parsing stopped there */
};

/* argv[0] is the first word to look at. interspersed: flags may follow arguments; otherwise the first argument ends them. */
int flags_parse(struct flags *f, const struct flag_def *defs, char **argv, bool interspersed, struct err *e);
void flags_done(struct flags *f);

/* A name that is not in the table is our bug and aborts. */
bool flag_given(const struct flags *f, const char *name);
bool flag_bool(const struct flags *f, const char *name);
const char *flag_str(const struct flags *f, const char *name);	/* never NULL */
char *const *flag_list(const struct flags *f, const char *name);	/* never NULL, NULL-terminated */
int64_t flag_int(const struct flags *f, const char *name);
double flag_decimal(const struct flags *f, const char *name);

/* The lines below "Options:". columns: of the terminal. */
void flags_help(struct buf *out, const struct flag_def *defs, size_t columns);

#endif
