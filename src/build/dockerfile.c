/* SPDX-License-Identifier: Apache-2.0 */
#include "build/dockerfile.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/word.h"

/*
 * From the top of the file: parser directives ("# escape=`"), until anything else comes. Then logical lines: a line that ends in the escape
 * character goes on in the next one; comments and empty lines between are left out. A logical line whose words hold "<<NAME" takes the
 * lines up to NAME as a heredoc, for the instructions that know them.
 */
enum { HEREDOCS_MAX = 64, DIRECTIVES_SEEN = 8, LINES_MAX = 10000 };	/* instructions: docker's layers end at 125 */

struct reader {
	const char *p, *end;
	unsigned line;		/* of the line read last */
	char escape;
	bool directives;	/* they may still come */
	char *seen[DIRECTIVES_SEEN];
	size_t nseen;
	char *syntax;
};

static int bad_at(struct err *e, unsigned line)
{
	return err_wrap(e, "dockerfile parse error on line %u", line);
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A copy without blanks at the ends. */
static char *trimmed(const char *s, size_t n)
{
	while (n && blank(*s))
		s++, n--;
	while (n && blank(s[n - 1]))
		n--;
	return mem_strndup(s, n);
}

/* The next physical line with its newline; false at the end. */
static bool next_line(struct reader *r, const char **line, size_t *n)
{
	const char *nl;

	if (r->p == r->end)
		return false;
	nl = memchr(r->p, '\n', (size_t)(r->end - r->p));
	*line = r->p;
	*n = nl ? (size_t)(nl + 1 - r->p) : (size_t)(r->end - r->p);
	r->p += *n;
	r->line++;
	return true;
}

static void cut_newline(const char *line, size_t *n)
{
	while (*n && (line[*n - 1] == '\n' || line[*n - 1] == '\r'))
		(*n)--;
}

static bool is_comment(const char *line, size_t n)
{
	size_t i = 0;

	while (i < n && blank(line[i]))
		i++;
	return i < n && line[i] == '#';
}

/* "# name=value". 1: it was one, 0: none, and none will follow; -1: a wrong one. */
static int directive(struct reader *r, const char *line, size_t n, struct err *e)
{
	CLEANUP(mem_freep) char *name = NULL, *value = NULL;
	const char *p = line, *end = line + n, *from;

	while (p < end && blank(*p))
		p++;
	if (p == end || *p != '#')
		return 0;
	for (p++; p < end && blank(*p); p++)
		;
	for (from = p; p < end && isalpha((unsigned char)*p); p++)
		;
	name = mem_strndup(from, (size_t)(p - from));
	while (p < end && blank(*p))
		p++;
	if (!*name || p == end || *p != '=')
		return 0;
	value = trimmed(p + 1, (size_t)(end - p - 1));
	if (!*value)
		return 0;
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!str_eq(name, "escape") && !str_eq(name, "syntax") && !str_eq(name, "check"))
		return 0;
	for (size_t i = 0; i < r->nseen; i++)
		if (str_eq(r->seen[i], name))
			return err_set(e, ERR_INVALID, "only one %s parser directive can be used", name);
	if (r->nseen < DIRECTIVES_SEEN)
		r->seen[r->nseen++] = mem_strdup(name);
	if (str_eq(name, "escape")) {
		if (strlen(value) != 1 || !strchr("\\`", *value))
			return err_set(e, ERR_INVALID, "invalid escape token '%.100s' does not match ` or \\", value);
		r->escape = *value;
	} else if (str_eq(name, "syntax")) {
		free(r->syntax);
		r->syntax = TAKE(value);
	}
	return 1;
}

/* Does the line go on? Then n is without the escape character and the blanks after it. */
static bool cut_continuation(const char *line, size_t *n, char escape)
{
	size_t k = *n;

	while (k && (line[k - 1] == ' ' || line[k - 1] == '\t'))
		k--;
	/* Twice is the character itself. */
	if (!k || line[k - 1] != escape || (k > 1 && line[k - 2] == escape))
		return false;
	*n = k - 1;
	return true;
}

/* Words. */

/* Flags at the front of an instruction: quotes and escapes are undone. Returns where the rest begins. */
static const char *take_flags(const char *p, char escape, char ***flags)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	size_t n = 0;

	for (;;) {
		bool some = false;
		char quote = 0;

		while (blank(*p))
			p++;
		if (p[0] != '-' || p[1] != '-')
			return p;
		buf_reset(&b);
		for (; *p && (quote || !blank(*p)); p++) {
			if (quote ? *p == quote : *p == '\'' || *p == '"') {
				quote = quote ? 0 : *p;
				some = true;
			} else if (*p == escape) {
				if (p[1])
					buf_addc(&b, *++p);
			} else {
				buf_addc(&b, *p);
			}
		}
		if (b.data && str_eq(b.data, "--"))
			return p;
		if (b.len || some)
			*flags = strv_push(*flags, &n, b.data ? b.data : "");
	}
}

/* Words by blanks; quotes hold them together and stay, as do escapes. */
static char **split_words(const char *p, char escape)
{
	char **words = mem_zalloc(sizeof(*words));
	size_t n = 0;

	while (*p) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;
		bool some = false;
		char quote = 0;

		while (blank(*p))
			p++;
		for (; *p && (quote || !blank(*p)); p++) {
			if (*p == escape && quote != '\'') {
				if (!p[1])
					continue;
				buf_addc(&b, *p++);
			} else if (quote ? *p == quote : *p == '\'' || *p == '"') {
				quote = quote ? 0 : *p;
				some = true;
			}
			buf_addc(&b, *p);
		}
		if (b.len || some)
			words = strv_push(words, &n, b.data ? b.data : "");
	}
	return words;
}

static char **split_blanks(const char *p)
{
	char **words = mem_zalloc(sizeof(*words));
	size_t n = 0;

	while (*(p += strspn(p, " \t\v\f\r"))) {
		size_t len = strcspn(p, " \t\v\f\r");
		CLEANUP(mem_freep) char *w = mem_strndup(p, len);

		words = strv_push(words, &n, w);
		p += len;
	}
	return words;
}

/* 1: a JSON array of strings, in *ret; 0: none; -1: one of other things. */
static int split_json(const char *p, char ***ret, struct err *e)
{
	CLEANUP(json_freep) json_t *a = NULL;
	json_t *v;
	size_t i, n = 0;

	while (blank(*p))
		p++;
	if (*p != '[')
		return 0;
	a = json_parse(p, strlen(p), "array", NULL);
	if (!json_is_array(a))
		return 0;
	json_array_foreach(a, i, v)
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
			return err_set(e, ERR_INVALID, "when using JSON array syntax, arrays must be comprised of strings only");
	*ret = mem_zalloc(sizeof(**ret));
	json_array_foreach(a, i, v)
		*ret = strv_push(*ret, &n, json_string_value(v));
	return 1;
}

/* "name=value name=value" or the old "name the rest". */
static int split_pairs(const char *rest, const char *word, char escape, char ***ret, struct err *e)
{
	CLEANUP(strv_freep) char **words = split_words(rest, escape), **pairs = mem_zalloc(sizeof(*pairs));
	size_t n_pairs = 0;

	if (*words && !strchr(*words, '=')) {
		size_t n = strcspn(rest, " \t\v\f\r");
		CLEANUP(mem_freep) char *name = mem_strndup(rest, n);

		if (!rest[n])
			return err_set(e, ERR_INVALID, "%s must have two arguments", word);
		pairs = strv_push(pairs, &n_pairs, name);
		pairs = strv_push(pairs, &n_pairs, rest + n + strspn(rest + n, " \t\v\f\r"));
		*ret = TAKE(pairs);
		return 0;
	}
	for (char **w = words; *w; w++) {
		char *equal = strchr(*w, '=');

		if (!equal)
			return err_set(e, ERR_INVALID, "Syntax error - can't find = in \"%.200s\". Must be of the form: name=value", *w);
		*equal = '\0';
		pairs = strv_push(pairs, &n_pairs, *w);
		pairs = strv_push(pairs, &n_pairs, equal + 1);
	}
	*ret = TAKE(pairs);
	return 0;
}

static char **one_string(const char *rest)
{
	char **v = mem_zalloc(sizeof(*v));

	return *rest ? strv_add(v, rest) : v;
}

static bool is_word(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcasecmp(word, *list))
			return true;
	return false;
}

/* The words after the flags, each instruction by its own form. */
static int split_args(struct build_line *l, const char *rest, char escape, struct err *e)
{
	static const char *const commands[] = { "CMD", "ENTRYPOINT", "RUN", "SHELL", NULL }, *const lists[] = { "ADD", "COPY", "VOLUME", NULL };
	static const char *const blanks[] = { "EXPOSE", "FROM", NULL };
	int rc;

	if (!strcasecmp(l->word, "ENV") || !strcasecmp(l->word, "LABEL"))
		return split_pairs(rest, !strcasecmp(l->word, "ENV") ? "ENV" : "LABEL", escape, &l->args, e);
	if (!strcasecmp(l->word, "ARG")) {
		l->args = split_words(rest, escape);
		return 0;
	}
	if (is_word(l->word, blanks)) {
		l->args = split_blanks(rest);
		return 0;
	}
	if (!strcasecmp(l->word, "HEALTHCHECK")) {
		size_t n = strcspn(rest, " \t\v\f\r\n"), n_args = n > 0;
		CLEANUP(mem_freep) char *type = mem_strndup(rest, n);
		CLEANUP(strv_freep) char **more = NULL;

		l->args = one_string(type);
		rest += n;
		while (blank(*rest))
			rest++;
		rc = split_json(rest, &more, e);
		if (rc < 0)
			return -1;
		l->json = rc > 0;
		if (!rc)
			more = one_string(rest);
		for (char **m = more; *m; m++)
			l->args = strv_push(l->args, &n_args, *m);
		return 0;
	}
	if (is_word(l->word, commands) || is_word(l->word, lists)) {
		rc = split_json(rest, &l->args, e);
		if (rc < 0)
			return -1;
		l->json = rc > 0;
		if (!rc)
			l->args = is_word(l->word, lists) ? split_blanks(rest) : one_string(rest);
		return 0;
	}
	l->args = one_string(rest);
	return 0;
}

static int split_line(struct build_line *l, const char *text, char escape, struct err *e)
{
	CLEANUP(mem_freep) char *rest = NULL;
	const char *p;
	size_t n;

	l->code = trimmed(text, strlen(text));
	n = strcspn(l->code, " \t\v\f\r");
	l->word = mem_strndup(l->code, n);
	l->flags = mem_zalloc(sizeof(*l->flags));
	p = take_flags(l->code + n, escape, &l->flags);
	rest = trimmed(p, strlen(p));
	return split_args(l, rest, escape, e);
}

/* Heredocs. */

bool build_heredoc_word(const char *word, char **name, bool *chomp, bool *expand)
{
	const struct build_vars bare = { .escape = '\\', .keep_unset = true }, quoted = { .escape = '\\', .keep_unset = true, .keep_quotes = true };
	CLEANUP(strv_freep) char **words = NULL, **raw = NULL;
	const char *p = word + strspn(word, "0123456789");
	bool tabs;

	if (p[0] != '<' || p[1] != '<')
		return false;
	p += 2;
	tabs = *p == '-';
	p += tabs;
	p += strspn(p, " \t\r\n\v\f");
	if (!*p || strchr(p, '<'))
		return false;
	words = build_words(&bare, p, NULL);
	raw = build_words(&quoted, p, NULL);
	if (!words || !raw || strv_len(words) != 1 || strv_len(raw) != 1)
		return false;
	if (name)
		*name = mem_strdup(words[0]);
	if (chomp)
		*chomp = tabs;
	if (expand)
		*expand = str_eq(words[0], raw[0]);
	return true;
}

char *build_heredoc_text(const struct build_heredoc *d)
{
	struct buf b = BUF_INIT;
	bool start = true;

	if (!d->chomp)
		return mem_strdup(d->text);
	buf_init(&b, DOCKERFILE_MAX);
	for (const char *p = d->text; *p; p++) {
		if (start && *p == '\t')
			continue;
		start = *p == '\n';
		buf_addc(&b, *p);
	}
	return buf_take(&b);
}

static bool may_have_docs(const char *word, bool json, const char *code)
{
	static const char *const with[] = { "ADD", "COPY", "RUN", NULL };

	if (!strcasecmp(word, "ONBUILD")) {
		CLEANUP(strv_freep) char **words = split_blanks(code);

		return words[0] && words[1] && is_word(words[1], with);
	}
	return !json && is_word(word, with);
}

/* The text of one heredoc from the lines that follow. */
static int read_doc(struct reader *r, struct build_heredoc *d, struct err *e)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const char *line;
	size_t n;

	buf_init(&b, DOCKERFILE_MAX);
	while (next_line(r, &line, &n)) {
		size_t len = n, at = 0;

		cut_newline(line, &len);
		while (d->chomp && at < len && line[at] == '\t')
			at++;
		if (len - at == strlen(d->name) && !memcmp(line + at, d->name, len - at)) {
			d->text = buf_take(&b);
			return 0;
		}
		buf_add(&b, line, n);
	}
	return err_set(e, ERR_INVALID, "unterminated heredoc");
}

static int read_docs(struct reader *r, struct build_line *l, struct err *e)
{
	const struct build_vars v = { .escape = '\\', .keep_quotes = true, .keep_escapes = true, .keep_unset = true };
	CLEANUP(strv_freep) char **words = NULL;

	if (!strstr(l->code, "<<") || !may_have_docs(l->word, l->json, l->code))
		return 0;
	/* A line that the shell alone can read (an open quote) has no heredoc of ours. */
	words = build_words(&v, l->code, NULL);
	for (char **w = words; w && *w; w++) {
		struct build_heredoc d = { 0 };

		if (!build_heredoc_word(*w, &d.name, &d.chomp, &d.expand))
			continue;
		if (l->ndocs == HEREDOCS_MAX || read_doc(r, &d, e) < 0) {
			free(d.name);
			return l->ndocs == HEREDOCS_MAX ? err_set(e, ERR_INVALID, "more than %d heredocs on one line", HEREDOCS_MAX) : -1;
		}
		l->docs = mem_realloc(l->docs, (l->ndocs + 1) * sizeof(*l->docs));
		l->docs[l->ndocs++] = d;
	}
	return 0;
}

/* One logical line into b. 1: there is one, 0: the end. */
static int read_logical(struct reader *r, struct buf *b, unsigned *first, struct err *e)
{
	const char *line;
	bool more = false;
	size_t n;

	buf_reset(b);
	while (next_line(r, &line, &n)) {
		if (n > DOCKERFILE_LINE_MAX)
			return err_set(e, ERR_INVALID, "dockerfile line greater than max allowed size of %d", DOCKERFILE_LINE_MAX);
		cut_newline(line, &n);
		if (!more) {
			while (n && blank(*line))
				line++, n--;
			if (r->directives) {
				int rc = directive(r, line, n, e);

				if (rc < 0)
					return -1;
				r->directives = rc;
			}
		}
		if (is_comment(line, n))
			continue;
		if (!more) {
			*first = r->line;
			if (!n)
				continue;
		} else {
			size_t i = 0;

			while (i < n && blank(line[i]))
				i++;
			if (i == n)	/* an empty line inside: left out, as docker does with a warning */
				continue;
		}
		more = cut_continuation(line, &n, r->escape);
		buf_add(b, line, n);
		if (!more)
			break;
	}
	return b->len > 0;
}

void build_line_done(struct build_line *l)
{
	free(l->word);
	free(l->code);
	strv_free(l->flags);
	strv_free(l->args);
	for (size_t i = 0; i < l->ndocs; i++) {
		free(l->docs[i].name);
		free(l->docs[i].text);
	}
	free(l->docs);
	memset(l, 0, sizeof(*l));
}

void build_dockerfile_done(struct build_dockerfile *f)
{
	for (size_t i = 0; i < f->n; i++)
		build_line_done(&f->lines[i]);
	free(f->lines);
	free(f->syntax);
	memset(f, 0, sizeof(*f));
}

static int check_text(const char *p, size_t n, struct err *e)
{
	unsigned line = 1;

	if (n > DOCKERFILE_MAX)
		return err_set(e, ERR_INVALID, "the Dockerfile is larger than %d MiB", DOCKERFILE_MAX >> 20);
	for (const char *end = p + n, *nl; p < end; p = nl + 1, line++) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl)
			nl = end;
		if (memchr(p, '\0', (size_t)(nl - p)) || !str_utf8_valid(p, (size_t)(nl - p))) {
			err_set(e, ERR_INVALID, "the line is not valid UTF-8 text");
			return bad_at(e, line);
		}
	}
	return 0;
}

static int read_all(struct reader *r, struct build_dockerfile *f, struct err *e)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	unsigned first = 1;
	int rc;

	buf_init(&b, DOCKERFILE_MAX);
	while ((rc = read_logical(r, &b, &first, e)) > 0) {
		struct build_line *l;

		if (f->n == LINES_MAX) {
			err_set(e, ERR_INVALID, "more than %d instructions", LINES_MAX);
			return bad_at(e, first);
		}
		if ((f->n & (f->n - 1)) == 0)
			f->lines = mem_realloc(f->lines, (f->n ? f->n * 2 : 1) * sizeof(*f->lines));
		l = &f->lines[f->n++];
		memset(l, 0, sizeof(*l));
		l->line = first;
		if (split_line(l, b.data, r->escape, e) < 0 || read_docs(r, l, e) < 0)
			return bad_at(e, first);
	}
	if (rc < 0)
		return bad_at(e, r->line);
	return f->n ? 0 : err_set(e, ERR_INVALID, "dockerfile parse error: file with no instructions");
}

int build_dockerfile_parse(const char *text, size_t n, struct build_dockerfile *ret, struct err *e)
{
	struct reader r = { .escape = '\\', .directives = true };
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3, n -= 3;
	if (check_text(text, n, e) < 0)
		return -1;
	r.p = text;
	r.end = text + n;
	rc = read_all(&r, ret, e);
	ret->escape = r.escape;
	ret->syntax = r.syntax;
	for (size_t i = 0; i < r.nseen; i++)
		free(r.seen[i]);
	if (rc < 0)
		build_dockerfile_done(ret);
	return rc;
}

int build_line_parse(const char *text, char escape, struct build_line *ret, struct err *e)
{
	struct reader r = { .p = text, .end = text + strlen(text), .escape = escape };
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	unsigned first;
	int rc;

	memset(ret, 0, sizeof(*ret));
	buf_init(&b, DOCKERFILE_MAX);
	rc = read_logical(&r, &b, &first, e);
	if (rc == 0)
		rc = err_set(e, ERR_INVALID, "an instruction is missing");
	if (rc > 0)
		rc = split_line(ret, b.data, escape, e) < 0 ? -1 : read_docs(&r, ret, e);
	if (rc < 0)
		build_line_done(ret);
	return rc;
}
