/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/template_priv.h"

struct var {
	const char *name;
	json_t *value;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

struct run {
	const struct template_args *a;
	struct buf *out;
	struct err *e;
	struct var *vars;
	size_t n_vars;
};

static json_t *fail_at(struct run *r, const struct operand *o, const char *why)
{
	size_t len = strlen(o->text), col = o->col;

	/* Go gives the place of a chain's second link. */
	if (o->kind == OPERAND_FIELD && o->fields[1])
		col += 1 + strlen(o->fields[0]);
	err_set(r->e, ERR_INVALID, "template: :%zu:%zu: executing \"\" at <%.*s%s>: %s", o->line, col, (int)(len > 20 ? 20 : len), o->text,
		len > 20 ? "..." : "", why);
	return NULL;
}

static json_t *fail(struct run *r, const struct operand *o, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static json_t *fail(struct run *r, const struct operand *o, const char *fmt, ...)
{
	struct err why = { 0 };
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	err_set(&why, ERR_INVALID, "%s", text ? text : fmt);
	free(text);
	return fail_at(r, o, why.msg);
}

static void push_var(struct run *r, const char *name, json_t *value)
{
	r->vars = mem_realloc(r->vars, (r->n_vars + 1) * sizeof(*r->vars));
	r->vars[r->n_vars++] = (struct var){ name, json_incref(value) };
}

static void pop_vars(struct run *r, size_t keep)
{
	while (r->n_vars > keep)
		json_decref(r->vars[--r->n_vars].value);
}

static void assign_var(struct run *r, const char *name, json_t *value)
{
	for (size_t i = r->n_vars; i-- > 0;) {
		if (!str_eq(r->vars[i].name, name))
			continue;
		json_decref(r->vars[i].value);
		r->vars[i].value = json_incref(value);
		return;
	}
}

static const struct template_nil *nil_of(const struct run *r, const char *name)
{
	const struct template_nil *n = r->a->nils;

	while (n && n->name && !str_eq(n->name, name))
		n++;
	return n;
}

static void print(struct run *r, const struct node *n, const json_t *v)
{
	const struct operand *o = &n->pipe->cmds[0].args[0];
	const struct template_nil *nil = NULL;

	if (json_is_null(v) && n->pipe->n == 1 && n->pipe->cmds[0].n == 1 && o->fields && o->fields[0])
		nil = nil_of(r, o->fields[strv_len(o->fields) - 1]);
	if (nil)
		buf_adds(r->out, nil->text);
	else
		template_print(r->out, v);
}

/* One step of a chain. v is consumed. */
static json_t *take_field(struct run *r, const struct operand *o, json_t *v, const char *name)
{
	json_t *next;
	bool row = v == r->a->dot;

	if (json_is_null(v)) {
		json_decref(v);
		return fail(r, o, "nil pointer evaluating interface {}.%.200s", name);
	}
	if (!json_is_object(v)) {
		const char *type = json_is_array(v) ? "[]interface {}" : json_is_string(v) ? "string" : json_is_boolean(v) ? "bool" :
				   json_is_integer(v) ? "int" : "float64";

		json_decref(v);
		return fail(r, o, "can't evaluate field %.200s in type %s", name, type);
	}
	next = json_incref(json_object_get(v, name));
	json_decref(v);
	if (next)
		return next;
	if (r->a->nils && nil_of(r, name)->omitted)
		return json_null();
	if (row && r->a->type)
		return fail(r, o, "can't evaluate field %.200s in type %s", name, r->a->type);
	if (row && r->a->header)
		return json_null();
	if (!row && r->a->text_maps)
		return json_string("");
	return fail(r, o, "map has no entry for key \"%.200s\"", name);
}

static json_t *take_fields(struct run *r, const struct operand *o, json_t *v, size_t from)
{
	for (size_t i = from; v && o->fields && o->fields[i]; i++)
		v = take_field(r, o, v, o->fields[i]);
	return v;
}

static json_t *eval_pipe(struct run *r, const struct tpipe *pp, json_t *dot);

static json_t *eval_operand(struct run *r, const struct operand *o, json_t *dot)
{
	json_t *v;

	switch (o->kind) {
	case OPERAND_DOT:
		return json_incref(dot);
	case OPERAND_FIELD:
		return take_fields(r, o, json_incref(dot), 0);
	case OPERAND_VAR:
		if (!*o->name)
			return take_fields(r, o, json_incref(r->a->dot), 0);
		for (size_t i = r->n_vars; i-- > 0;) {
			if (str_eq(r->vars[i].name, o->name))
				return take_fields(r, o, json_incref(r->vars[i].value), 0);
		}
		return fail(r, o, "undefined variable: $%s", o->name);
	case OPERAND_CONST:
		return json_incref(o->value);
	case OPERAND_PIPE:
		v = eval_pipe(r, o->pipe, dot);
		return v ? take_fields(r, o, v, 0) : NULL;
	case OPERAND_FUNC:
		break;
	}
	return NULL;
}

/* and, or stop at the first argument that decides; args[0] is the function. */
static json_t *eval_logic(struct run *r, const struct tcommand *cmd, json_t *dot, json_t *final)
{
	bool is_or = str_eq(cmd->args[0].name, "or");
	json_t *v = NULL;

	for (size_t i = 1; i < cmd->n; i++) {
		json_decref(v);
		v = cmd->args[i].kind == OPERAND_FUNC ? fail(r, &cmd->args[i], "wrong number of args") : eval_operand(r, &cmd->args[i], dot);
		if (!v || template_truth(v) == is_or)
			return v;
	}
	if (final) {
		json_decref(v);
		return json_incref(final);
	}
	return v ? v : fail(r, &cmd->args[0], "wrong number of args for %s: want at least 1 got 0", cmd->args[0].name);
}

static json_t *eval_args(struct run *r, const struct tcommand *cmd, json_t *dot, json_t *final)
{
	const struct operand *head = &cmd->args[0];
	json_t **args = mem_zalloc((cmd->n + 1) * sizeof(*args)), *v = NULL;
	size_t n = 0;
	struct err why = { 0 };

	for (size_t i = 1; i < cmd->n; i++) {
		const struct operand *o = &cmd->args[i];

		args[n] = o->kind == OPERAND_FUNC ? template_fn_call(r->a, o->name, NULL, 0, &why) : eval_operand(r, o, dot);
		if (!args[n]) {
			if (o->kind == OPERAND_FUNC)
				fail_at(r, o, why.msg);
			goto out;
		}
		n++;
	}
	if (final)
		args[n++] = json_incref(final);
	if (head->kind == OPERAND_FUNC) {
		v = template_fn_call(r->a, head->name, args, n, &why);
		if (!v)
			fail_at(r, head, why.msg);
	} else {
		v = r->a->method ? r->a->method(r->a->user, head->fields[0], args, n) : NULL;
		if (!v)
			fail(r, head, "%.200s is not a method but has arguments", head->fields[0]);
	}
out:
	while (n)
		json_decref(args[--n]);
	free(args);
	return v;
}

static json_t *eval_command(struct run *r, const struct tcommand *cmd, json_t *dot, json_t *final)
{
	const struct operand *o = &cmd->args[0];

	if (o->kind == OPERAND_FUNC && (str_eq(o->name, "and") || str_eq(o->name, "or")))
		return eval_logic(r, cmd, dot, final);
	if (o->kind == OPERAND_FUNC)
		return eval_args(r, cmd, dot, final);
	if (cmd->n == 1 && !final)
		return eval_operand(r, o, dot);
	if (o->kind == OPERAND_FIELD && !o->fields[1] && dot == r->a->dot)
		return eval_args(r, cmd, dot, final);
	return fail(r, o, "can't give argument to non-function %s", o->text);
}

static json_t *eval_pipe(struct run *r, const struct tpipe *pp, json_t *dot)
{
	json_t *v = NULL;

	for (size_t i = 0; i < pp->n; i++) {
		json_t *next = eval_command(r, &pp->cmds[i], dot, v);

		json_decref(v);
		v = next;
		if (!v)
			return NULL;
	}
	return v;
}

/* A pipeline in front of "}}": sets its variables too, but for range, which does that once a turn. */
static json_t *eval_decl(struct run *r, const struct tpipe *pp, json_t *dot)
{
	json_t *v = eval_pipe(r, pp, dot);

	if (v && pp->decls && pp->assign)
		assign_var(r, pp->decl[0], v);
	else if (v && pp->decls)
		push_var(r, pp->decl[pp->decls - 1], v);
	return v;
}

static enum flow run_list(struct run *r, const struct node *n, json_t *dot);

static int key_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum flow run_turn(struct run *r, const struct node *n, json_t *key, json_t *item)
{
	size_t keep = r->n_vars;
	enum flow f;

	if (n->pipe->decls && n->pipe->assign)
		assign_var(r, n->pipe->decl[0], item);
	else if (n->pipe->decls == 2)
		push_var(r, n->pipe->decl[0], key);
	if (n->pipe->decls && !n->pipe->assign)
		push_var(r, n->pipe->decl[n->pipe->decls - 1], item);
	f = run_list(r, n->body, item);
	pop_vars(r, keep);
	return f == FLOW_CONTINUE ? FLOW_ON : f;
}

static enum flow run_range(struct run *r, const struct node *n, json_t *dot)
{
	json_t *v = eval_pipe(r, n->pipe, dot), *item;
	enum flow f = FLOW_ON;
	size_t i, count = 0;

	if (!v)
		return FLOW_FAIL;
	if (json_is_object(v)) {
		const char **keys = mem_zalloc((json_object_size(v) + 1) * sizeof(*keys)), *key;

		json_object_foreach(v, key, item)
			keys[count++] = key;
		qsort(keys, count, sizeof(*keys), key_order);
		for (i = 0; i < count && f == FLOW_ON; i++) {
			json_t *k = json_string(keys[i]);

			f = run_turn(r, n, k, json_object_get(v, keys[i]));
			json_decref(k);
		}
		free(keys);
	} else if (json_is_array(v)) {
		count = json_array_size(v);
		for (i = 0; i < count && f == FLOW_ON; i++) {
			json_t *k = json_integer((json_int_t)i);

			f = run_turn(r, n, k, json_array_get(v, i));
			json_decref(k);
		}
	} else if (!json_is_null(v)) {
		struct buf b = BUF_INIT;

		template_print(&b, v);
		fail(r, &n->pipe->cmds[0].args[0], "range can't iterate over %.200s", b.data ? b.data : "");
		buf_done(&b);
		f = FLOW_FAIL;
	}
	json_decref(v);
	if (!count && f == FLOW_ON)
		return run_list(r, n->other, dot);
	return f == FLOW_BREAK ? FLOW_ON : f;
}

static enum flow run_node(struct run *r, const struct node *n, json_t *dot)
{
	size_t keep = r->n_vars;
	enum flow f = FLOW_ON;
	json_t *v;

	switch (n->kind) {
	case NODE_TEXT:
		buf_add(r->out, n->text, n->len);
		break;
	case NODE_ACTION:
		v = eval_decl(r, n->pipe, dot);
		if (!v)
			return FLOW_FAIL;
		if (!n->pipe->decls)
			print(r, n, v);
		json_decref(v);
		break;
	case NODE_IF:
	case NODE_WITH:
		v = eval_decl(r, n->pipe, dot);
		if (!v)
			return FLOW_FAIL;
		if (template_truth(v))
			f = run_list(r, n->body, n->kind == NODE_WITH ? v : dot);
		else
			f = run_list(r, n->other, dot);
		pop_vars(r, keep);
		json_decref(v);
		break;
	case NODE_RANGE:
		return run_range(r, n, dot);
	case NODE_BREAK:
		return FLOW_BREAK;
	case NODE_CONTINUE:
		return FLOW_CONTINUE;
	}
	return f;
}

static enum flow run_list(struct run *r, const struct node *n, json_t *dot)
{
	enum flow f = FLOW_ON;

	for (; n && f == FLOW_ON; n = n->next)
		f = run_node(r, n, dot);
	return f;
}

int template_run(const struct template *t, const struct template_args *a, struct buf *out, struct err *e)
{
	struct run r = { .a = a, .out = out, .e = e };
	enum flow f = run_list(&r, t->first, a->dot);

	pop_vars(&r, 0);
	free(r.vars);
	return f == FLOW_FAIL ? -1 : 0;
}
