/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_TEMPLATE_PRIV_H
#define KEDGE_CLI_TEMPLATE_PRIV_H

#include "cli/template.h"

enum operand_kind { OPERAND_DOT, OPERAND_FIELD, OPERAND_VAR, OPERAND_CONST, OPERAND_FUNC, OPERAND_PIPE };

struct tpipe;

struct operand {
	enum operand_kind kind;
	char *name;		/* VAR, FUNC */
	char **fields;		/* chain after it; for FIELD the chain itself */
	json_t *value;		/* CONST */
	struct tpipe *pipe;	/* PIPE */
	char *text;		/* as written, for error sentences */
	size_t line, col;
};

struct tcommand {
	struct operand *args;
	size_t n;
};

struct tpipe {
	char *decl[2];		/* "$x :=", "$i, $x :=" */
	size_t decls;
	bool assign;		/* "=" instead of ":=" */
	struct tcommand *cmds;
	size_t n;
};

enum node_kind { NODE_TEXT, NODE_ACTION, NODE_IF, NODE_WITH, NODE_RANGE, NODE_BREAK, NODE_CONTINUE };

struct node {
	enum node_kind kind;
	char *text;
	size_t len;
	struct tpipe *pipe;
	struct node *body, *other;	/* other: the else branch */
	struct node *next;
};

struct template {
	struct node *first;
};

/* template_fn.c. args are borrowed; a new reference, or NULL with a reason in e. */
bool template_fn_known(const char *name);
json_t *template_fn_call(const struct template_args *a, const char *name, json_t *const *args, size_t n, struct err *e);
bool template_truth(const json_t *v);
/* As {{v}} prints it. */
void template_print(struct buf *out, const json_t *v);

enum { TEMPLATE_DEPTH = 64 };	/* nesting of blocks and parentheses: recursion is bounded */

#endif
