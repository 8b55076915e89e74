/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_TEMPLATE_H
#define KEDGE_CLI_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Go's text/template over JSON values, as far as docker users write it in --format: fields, variables, pipelines, if, with, range,
 * comments, trimming, the built-in functions, and docker's json, split, join, title, lower, upper, pad, truncate. define, template,
 * block and call are refused by name.
 */
struct template;

struct template_nil {
	const char *name, *text;
	bool omitted;		/* the API may leave the field out: it reads as null then */
};

struct template_args {
	json_t *dot;
	/* Name of the dot's Go type: an unknown field is then told of by it; NULL: "map has no entry". */
	const char *type;
	/* How null looks under these names; the entry without a name, which ends the table, is for all others. May be NULL. */
	const struct template_nil *nils;
	/* The functions that shape a value give it back as it is: how docker makes a table's header line. */
	bool header;
	/* Maps below the dot are of strings: a key that is not there reads as "". */
	bool text_maps;
	/* {{json .}} of the dot itself writes '<' as \u003c, as docker's rows do. */
	bool html;
	/* A method of the dot with arguments, e.g. {{.Label "a"}}. New reference, or NULL: there is none. May be NULL. */
	json_t *(*method)(void *user, const char *name, json_t *const *args, size_t n);
	void *user;
};

struct template *template_parse(const char *text, struct err *e);
void template_free(struct template *t);
/* Appends to out; on an error what was written so far stays there. */
int template_run(const struct template *t, const struct template_args *a, struct buf *out, struct err *e);

#endif
