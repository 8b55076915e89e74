/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Template text to a tree. A recursive descent over the text itself: `p` stands outside of "{{ }}" in parse_list() and inside in
 * the parse_* functions below it, which stop before "}}".
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/template_priv.h"

struct parser {
	const char *text, *p;
	unsigned depth, loops;
	char **vars;		/* in scope */
	struct err *e;
};

static size_t line_of(const struct parser *ps, const char *at)
{
	size_t n = 1;

	for (const char *q = ps->text; q < at; q++)
		n += *q == '\n';
	return n;
}

static size_t col_of(const struct parser *ps, const char *at)
{
	const char *q = at;

	while (q > ps->text && q[-1] != '\n')
		q--;
	return (size_t)(at - q);
}

#define FAIL(ps, ...) fail_at(ps, mem_printf(__VA_ARGS__))
static int fail_at(const struct parser *ps, char *msg)
{
	err_set(ps->e, ERR_INVALID, "template: :%zu: %s", line_of(ps, ps->p), msg);
	free(msg);
	return -1;
}

static void pipe_free(struct tpipe *pp)
{
	if (!pp)
		return;
	for (size_t i = 0; i < pp->n; i++) {
		for (size_t k = 0; k < pp->cmds[i].n; k++) {
			struct operand *o = &pp->cmds[i].args[k];

			free(o->name);
			free(o->text);
			strv_free(o->fields);
			json_decref(o->value);
			pipe_free(o->pipe);
		}
		free(pp->cmds[i].args);
	}
	free(pp->cmds);
	free(pp->decl[0]);
	free(pp->decl[1]);
	free(pp);
}

static void nodes_free(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		free(n->text);
		pipe_free(n->pipe);
		nodes_free(n->body);
		nodes_free(n->other);
		free(n);
		n = next;
	}
}

static void skip_space(struct parser *ps)
{
	ps->p += strspn(ps->p, " \t\r\n");
}

/* At "}}" or at the "-}}" that trims what follows. */
static bool at_end(const struct parser *ps)
{
	return !strncmp(ps->p, "}}", 2) || (!strncmp(ps->p, "-}}", 3) && ps->p > ps->text && strchr(" \t\r\n", ps->p[-1]));
}

static bool word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static char *take_word(struct parser *ps)
{
	const char *s = ps->p;

	while (word_char(*ps->p))
		ps->p++;
	return mem_strndup(s, (size_t)(ps->p - s));
}

static int unexpected(struct parser *ps, const char *where)
{
	size_t n = *ps->p ? 1 : 0;

	if (!n || at_end(ps))
		return FAIL(ps, n ? "missing value for %s" : "unclosed action", where);
	return FAIL(ps, "unexpected \"%.*s\" in %s", (int)n, ps->p, where);
}

static int parse_quoted(struct parser *ps, json_t **ret)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	char q = *ps->p++;

	for (; *ps->p != q; ps->p++) {
		char c = *ps->p;

		if (!c || (q == '"' && c == '\n'))
			return FAIL(ps, "unterminated %squoted string", q == '`' ? "raw " : "");
		if (c != '\\' || q == '`') {
			buf_addc(&b, c);
			continue;
		}
		c = *++ps->p;
		switch (c) {
		case 'n': buf_addc(&b, '\n'); break;
		case 't': buf_addc(&b, '\t'); break;
		case 'r': buf_addc(&b, '\r'); break;
		case '\\': case '"': case '\'': buf_addc(&b, c); break;
		default: return FAIL(ps, "invalid syntax: \\%c in a string", c ? c : ' ');
		}
	}
	ps->p++;
	*ret = json_bytes(b.data ? b.data : "", b.len);
	return 0;
}

static int parse_number(struct parser *ps, json_t **ret)
{
	char *end;
	double d;
	int64_t n;
	size_t len = strspn(ps->p, "+-0123456789.eExXabcdefABCDEF_");
	char *text CLEANUP(mem_freep) = mem_strndup(ps->p, len);

	d = strtod(text, &end);
	if (!len || *end)
		return FAIL(ps, "bad number syntax: \"%s\"", text);
	ps->p += len;
	*ret = str_to_i64(text, INT64_MIN, INT64_MAX, &n) == 0 ? json_integer(n) : json_real(d);
	return 0;
}

static int parse_pipe(struct parser *ps, struct tpipe **ret);

static int parse_fields(struct parser *ps, struct operand *o)
{
	while (*ps->p == '.') {
		char *w CLEANUP(mem_freep) = NULL;

		ps->p++;
		w = take_word(ps);
		if (!*w)
			return FAIL(ps, "unexpected <.> in operand");
		o->fields = strv_add(o->fields, w);
	}
	return 0;
}

static int parse_operand(struct parser *ps, struct operand *o)
{
	const char *start = ps->p;
	char c = *start;

	o->line = line_of(ps, start);
	o->col = col_of(ps, start);
	if (c == '.' && !word_char(ps->p[1])) {
		o->kind = OPERAND_DOT;
		ps->p++;
	} else if (c == '.') {
		o->kind = OPERAND_FIELD;
		if (parse_fields(ps, o) < 0)
			return -1;
	} else if (c == '$') {
		ps->p++;
		o->kind = OPERAND_VAR;
		o->name = take_word(ps);
		if (*o->name && !strv_has(ps->vars, o->name))
			return FAIL(ps, "undefined variable \"$%s\"", o->name);
		if (parse_fields(ps, o) < 0)
			return -1;
	} else if (c == '"' || c == '`') {
		o->kind = OPERAND_CONST;
		if (parse_quoted(ps, &o->value) < 0)
			return -1;
	} else if (c == '(') {
		o->kind = OPERAND_PIPE;
		if (++ps->depth > TEMPLATE_DEPTH)
			return FAIL(ps, "more than %d levels", TEMPLATE_DEPTH);
		ps->p++;
		if (parse_pipe(ps, &o->pipe) < 0)
			return -1;
		ps->depth--;
		if (*ps->p != ')')
			return FAIL(ps, "unclosed left paren");
		ps->p++;
		if (parse_fields(ps, o) < 0)
			return -1;
	} else if ((c >= '0' && c <= '9') || ((c == '-' || c == '+') && ps->p[1] >= '0' && ps->p[1] <= '9')) {
		o->kind = OPERAND_CONST;
		if (parse_number(ps, &o->value) < 0)
			return -1;
	} else if (word_char(c)) {
		o->name = take_word(ps);
		o->kind = OPERAND_CONST;
		if (str_eq(o->name, "true") || str_eq(o->name, "false"))
			o->value = json_boolean(*o->name == 't');
		else if (str_eq(o->name, "nil"))
			o->value = json_null();
		else if (template_fn_known(o->name))
			o->kind = OPERAND_FUNC;
		else
			return FAIL(ps, "function \"%s\" not defined", o->name);
	} else {
		return unexpected(ps, "operand");
	}
	o->text = mem_strndup(start, (size_t)(ps->p - start));
	return 0;
}

static int parse_command(struct parser *ps, struct tcommand *cmd)
{
	for (;;) {
		struct operand *o;

		skip_space(ps);
		if (!*ps->p || at_end(ps) || *ps->p == '|' || *ps->p == ')')
			break;
		cmd->args = mem_realloc(cmd->args, (cmd->n + 1) * sizeof(*cmd->args));
		o = &cmd->args[cmd->n++];
		*o = (struct operand){ 0 };
		if (parse_operand(ps, o) < 0)
			return -1;
		if (*ps->p && !at_end(ps) && !strchr(" \t\r\n|)", *ps->p))
			return unexpected(ps, "operand");
	}
	if (!cmd->n)
		return *ps->p == '|' || at_end(ps) ? FAIL(ps, "missing value for command") : unexpected(ps, "command");
	return 0;
}

/* "$x :=", "$i, $x :=", "$x =" in front of a pipeline. */
static int parse_decls(struct parser *ps, struct tpipe *pp)
{
	const char *start = ps->p;
	char *a CLEANUP(mem_freep) = NULL, *b CLEANUP(mem_freep) = NULL;

	if (*ps->p != '$')
		return 0;
	ps->p++;
	a = take_word(ps);
	skip_space(ps);
	if (*ps->p == ',') {
		ps->p++;
		skip_space(ps);
		if (*ps->p++ != '$')
			return FAIL(ps, "missing variable after the comma");
		b = take_word(ps);
		skip_space(ps);
	}
	if (strncmp(ps->p, ":=", 2) && (*ps->p != '=' || b)) {
		ps->p = start;
		return 0;
	}
	pp->assign = *ps->p == '=';
	ps->p += pp->assign ? 1 : 2;
	if (pp->assign && !strv_has(ps->vars, a))
		return FAIL(ps, "undefined variable \"$%s\"", a);
	pp->decl[pp->decls++] = TAKE(a);
	if (b)
		pp->decl[pp->decls++] = TAKE(b);
	return 0;
}

static int parse_pipe(struct parser *ps, struct tpipe **ret)
{
	struct tpipe *pp = *ret = mem_zalloc(sizeof(*pp));

	skip_space(ps);
	if (parse_decls(ps, pp) < 0)
		return -1;
	for (;;) {
		struct tcommand *cmd;

		pp->cmds = mem_realloc(pp->cmds, (pp->n + 1) * sizeof(*pp->cmds));
		cmd = &pp->cmds[pp->n++];
		*cmd = (struct tcommand){ 0 };
		if (parse_command(ps, cmd) < 0)
			return -1;
		if (pp->n > 1 && cmd->args[0].kind == OPERAND_CONST)
			return FAIL(ps, "non executable command in pipeline stage %zu", pp->n);
		if (*ps->p != '|')
			break;
		ps->p++;
	}
	for (size_t i = 0; !pp->assign && i < pp->decls; i++)
		ps->vars = strv_add(ps->vars, pp->decl[i]);
	return 0;
}

/* Past "}}", and past white space when the action ends in "-}}". */
static int parse_close(struct parser *ps)
{
	skip_space(ps);
	if (!at_end(ps))
		return unexpected(ps, "command");
	if (*ps->p == '-') {
		ps->p += 3;
		skip_space(ps);
	} else {
		ps->p += 2;
	}
	return 0;
}

static struct node *add_node(struct node ***tail, enum node_kind kind)
{
	struct node *n = mem_zalloc(sizeof(*n));

	n->kind = kind;
	**tail = n;
	*tail = &n->next;
	return n;
}

enum stop { STOP_EOF, STOP_END, STOP_ELSE, STOP_ELSE_BRANCH };

static int parse_list(struct parser *ps, struct node **head, enum stop *stop, char **branch);

static void forget_vars(struct parser *ps, size_t keep)
{
	for (size_t i = strv_len(ps->vars); i > keep; i--) {
		free(ps->vars[i - 1]);
		ps->vars[i - 1] = NULL;
	}
}

/* After the keyword of if, with or range. */
static int parse_block(struct parser *ps, struct node *n)
{
	size_t keep = strv_len(ps->vars);
	char *branch CLEANUP(mem_freep) = NULL;
	enum stop stop;

	if (++ps->depth > TEMPLATE_DEPTH)
		return FAIL(ps, "more than %d levels", TEMPLATE_DEPTH);
	if (parse_pipe(ps, &n->pipe) < 0 || parse_close(ps) < 0)
		return -1;
	ps->loops += n->kind == NODE_RANGE;
	if (parse_list(ps, &n->body, &stop, &branch) < 0)
		return -1;
	ps->loops -= n->kind == NODE_RANGE;
	if (stop == STOP_ELSE) {
		free(TAKE(branch));
		if (parse_list(ps, &n->other, &stop, &branch) < 0)
			return -1;
		if (stop == STOP_ELSE || stop == STOP_ELSE_BRANCH)
			return FAIL(ps, "expected end; found {{else}}");
	} else if (stop == STOP_ELSE_BRANCH) {
		/* "else if x" is "else" with an if inside that shares the end. */
		n->other = mem_zalloc(sizeof(*n->other));
		n->other->kind = str_eq(branch, "if") ? NODE_IF : NODE_WITH;
		if (n->kind == NODE_RANGE || (n->kind == NODE_WITH) != (n->other->kind == NODE_WITH))
			return FAIL(ps, "unexpected {{else %s}}", branch);
		if (parse_block(ps, n->other) < 0)
			return -1;
		stop = STOP_END;
	}
	if (stop == STOP_EOF)
		return FAIL(ps, "unexpected EOF");
	forget_vars(ps, keep);
	ps->depth--;
	return 0;
}

static bool take_keyword(struct parser *ps, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(ps->p, word, n) || word_char(ps->p[n]))
		return false;
	ps->p += n;
	return true;
}

static int parse_action(struct parser *ps, struct node ***tail, enum stop *stop, char **branch)
{
	static const char *const refused[] = { "define", "template", "block" };

	if (!strncmp(ps->p, "/*", 2)) {
		const char *end = strstr(ps->p, "*/");

		if (!end)
			return FAIL(ps, "unclosed comment");
		ps->p = end + 2;
		return parse_close(ps);
	}
	skip_space(ps);
	for (size_t i = 0; i < N(refused); i++) {
		if (take_keyword(ps, refused[i]))
			return FAIL(ps, "{{%s}} is not supported", refused[i]);
	}
	if (take_keyword(ps, "if"))
		return parse_block(ps, add_node(tail, NODE_IF));
	if (take_keyword(ps, "with"))
		return parse_block(ps, add_node(tail, NODE_WITH));
	if (take_keyword(ps, "range"))
		return parse_block(ps, add_node(tail, NODE_RANGE));
	if (take_keyword(ps, "end")) {
		*stop = STOP_END;
		return parse_close(ps);
	}
	if (take_keyword(ps, "else")) {
		skip_space(ps);
		*stop = STOP_ELSE;
		if (take_keyword(ps, "if") || take_keyword(ps, "with")) {
			*branch = mem_strdup(ps->p[-1] == 'f' ? "if" : "with");
			*stop = STOP_ELSE_BRANCH;
			return 0;
		}
		return parse_close(ps);
	}
	for (int i = 0; i < 2; i++) {
		if (!take_keyword(ps, i ? "continue" : "break"))
			continue;
		if (!ps->loops)
			return FAIL(ps, "{{%s}} outside {{range}}", i ? "continue" : "break");
		add_node(tail, i ? NODE_CONTINUE : NODE_BREAK);
		return parse_close(ps);
	}
	if (parse_pipe(ps, &add_node(tail, NODE_ACTION)->pipe) < 0)
		return -1;
	return parse_close(ps);
}

/* Text and actions up to the end of the text, {{end}} or {{else}}. */
static int parse_list(struct parser *ps, struct node **head, enum stop *stop, char **branch)
{
	struct node **tail = head;

	*stop = STOP_EOF;
	while (*ps->p && *stop == STOP_EOF) {
		const char *open = strstr(ps->p, "{{");
		size_t n = open ? (size_t)(open - ps->p) : strlen(ps->p);
		const char *text = ps->p;

		ps->p = open ? open + 2 : ps->p + n;
		if (open && *ps->p == '-' && ps->p[1] && strchr(" \t\r\n", ps->p[1])) {
			ps->p += 2;
			while (n && strchr(" \t\r\n", text[n - 1]))
				n--;
		}
		if (n) {
			struct node *t = add_node(&tail, NODE_TEXT);

			t->text = mem_strndup(text, n);
			t->len = n;
		}
		if (open && parse_action(ps, &tail, stop, branch) < 0)
			return -1;
	}
	return 0;
}

struct template *template_parse(const char *text, struct err *e)
{
	struct parser ps = { .text = text, .p = text, .e = e };
	struct template *t = mem_zalloc(sizeof(*t));
	char *branch CLEANUP(mem_freep) = NULL;
	enum stop stop;
	int r = parse_list(&ps, &t->first, &stop, &branch);

	if (r == 0 && stop != STOP_EOF)
		r = FAIL(&ps, "unexpected {{%s}}", stop == STOP_END ? "end" : "else");
	strv_free(ps.vars);
	if (r == 0)
		return t;
	template_free(t);
	return NULL;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	nodes_free(t->first);
	free(t);
}
