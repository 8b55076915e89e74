/* SPDX-License-Identifier: Apache-2.0 */
#include "build/word.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/*
 * One pass over the bytes. Words are split while the result grows: what comes out of a variable splits at its blanks, what was quoted does
 * not. Bytes from 0x80 on are letters to us, so that UTF-8 passes and names in it work.
 */
struct scan {
	const struct build_vars *v;
	const char *p;
	unsigned depth;
	struct err *e;
};

struct result {
	struct buf text;	/* the word as one */
	struct buf word;	/* the one of words that grows */
	bool in_word;
	char **words;
	size_t n;
};

static int bad(struct scan *s, const char *why)
{
	return err_set(s->e, ERR_INVALID, "%s", why);
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void result_init(struct result *r)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->text, BUILD_WORD_MAX);
	buf_init(&r->word, BUILD_WORD_MAX);
}

static void result_done(struct result *r)
{
	buf_done(&r->text);
	buf_done(&r->word);
	strv_free(r->words);
}

static void word_end(struct result *r)
{
	if (r->word.len)
		r->words = strv_push(r->words, &r->n, r->word.data);
	buf_reset(&r->word);
	r->in_word = false;
}

/* quoted: blanks are part of the word. */
static void put(struct result *r, const char *p, size_t n, bool quoted)
{
	buf_add(&r->text, p, n);
	for (size_t i = 0; i < n; i++) {
		if (!quoted && blank(p[i])) {
			if (r->in_word && r->word.len)
				word_end(r);
			continue;
		}
		buf_addc(&r->word, p[i]);
		r->in_word = true;
	}
	if (!n && quoted)
		r->in_word = true;
}

static int scan_until(struct scan *s, char stop, bool raw_escapes, struct result *r);

/* Pattern matching: '*', '?', a backslash before them or before itself. */

/*
 * All prefixes of s that the pattern matches, in one pass: on[k] says that the first k pieces of the pattern match what was read. shortest
 * and longest are -1 when there is none.
 */
struct piece {
	char kind;	/* 'c' a character, '?' one of any, '*' any number */
	char c;
};

enum { PATTERN_WORK = 16 * 1024 * 1024 };	/* steps: a hostile pattern must not hold up the engine */

static int pattern_pieces(struct scan *s, const char *pattern, struct piece **ret, size_t *n)
{
	struct piece *v = mem_alloc((strlen(pattern) + 1) * sizeof(*v));

	*n = 0;
	for (const char *p = pattern; *p; p++) {
		if (*p == '*' || *p == '?') {
			v[(*n)++] = (struct piece){ *p, 0 };
			continue;
		}
		if (*p == '\\') {
			p++;
			if (!*p || !strchr("*?\\}/", *p)) {
				free(v);
				return err_set(s->e, ERR_INVALID, "invalid pattern (%.100s) in substitution: invalid escape '\\%c'", pattern, *p ? *p : ' ');
			}
		}
		v[(*n)++] = (struct piece){ 'c', *p };
	}
	*ret = v;
	return 0;
}

static void match_prefixes(const struct piece *v, size_t n, const char *s, size_t len, int64_t *shortest, int64_t *longest)
{
	char *on = mem_zalloc(n + 1);

	*shortest = *longest = -1;
	on[0] = 1;
	for (size_t i = 0;; i++) {
		bool any = false;

		/* A star matches nothing, too. */
		for (size_t k = 0; k < n; k++)
			if (on[k] && v[k].kind == '*')
				on[k + 1] = 1;
		if (on[n]) {
			if (*shortest < 0)
				*shortest = (int64_t)i;
			*longest = (int64_t)i;
		}
		if (i == len)
			break;
		for (size_t k = n + 1; k-- > 0;) {
			char now = k < n && on[k] && v[k].kind == '*';

			if (k > 0 && on[k - 1] && (v[k - 1].kind == '?' || (v[k - 1].kind == 'c' && v[k - 1].c == s[i])))
				now = 1;
			on[k] = now;
			any |= now;
		}
		if (!any)
			break;
	}
	free(on);
}

static void reverse_bytes(char *p, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		char c = p[i];

		p[i] = p[n - 1 - i];
		p[n - 1 - i] = c;
	}
}

/* ${x#pattern} and its kin. */
static int trim(struct scan *s, const char *value, const char *pattern, bool suffix, bool greedy, struct buf *out)
{
	CLEANUP(mem_freep) char *text = mem_strdup(value);
	size_t len = strlen(text), n;
	int64_t shortest, longest, cut;
	struct piece *v;

	if (pattern_pieces(s, pattern, &v, &n) < 0)
		return -1;
	if (len * n > PATTERN_WORK) {
		free(v);
		return bad(s, "the pattern and the value of a substitution are too long");
	}
	if (suffix) {
		reverse_bytes(text, len);
		for (size_t i = 0; i < n / 2; i++) {
			struct piece t = v[i];

			v[i] = v[n - 1 - i];
			v[n - 1 - i] = t;
		}
	}
	match_prefixes(v, n, text, len, &shortest, &longest);
	free(v);
	cut = greedy ? longest : shortest;
	if (cut < 0)
		cut = 0;
	if (suffix)
		buf_add(out, value, len - (size_t)cut);
	else
		buf_add(out, value + cut, len - (size_t)cut);
	return 0;
}

static int replace(struct scan *s, const char *value, const char *pattern, const char *with, bool all, struct buf *out)
{
	size_t len = strlen(value), n, i = 0;
	struct piece *v;

	if (pattern_pieces(s, pattern, &v, &n) < 0)
		return -1;
	if (len && n && (len > PATTERN_WORK / len || len * len > PATTERN_WORK / n)) {
		free(v);
		return bad(s, "the pattern and the value of a substitution are too long");
	}
	while (i <= len) {
		int64_t shortest, longest;

		match_prefixes(v, n, value + i, len - i, &shortest, &longest);
		if (longest < 0) {
			if (i < len)
				buf_addc(out, value[i]);
			i++;
			continue;
		}
		buf_adds(out, with);
		if (longest == 0 && i < len)
			buf_addc(out, value[i]);
		i += longest ? (size_t)longest : 1;
		if (!all) {
			if (i < len)
				buf_adds(out, value + i);
			break;
		}
		/* A match that reached the end is the last one. */
		if (longest && i == len)
			break;
	}
	free(v);
	return 0;
}

/* Variables. */

static bool name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* A name, a number or one of the shell's special characters; "" when none is there. The caller frees. */
static char *read_name(struct scan *s)
{
	const char *from = s->p;

	if (isdigit((unsigned char)*s->p)) {
		while (isdigit((unsigned char)*s->p))
			s->p++;
	} else if (*s->p && strchr("@*#?-$!", *s->p)) {
		s->p++;
	} else {
		while (*s->p && name_char(*s->p))
			s->p++;
	}
	return mem_strndup(from, (size_t)(s->p - from));
}

static const char *lookup(struct scan *s, const char *name)
{
	return s->v->get ? s->v->get(s->v->user, name) : NULL;
}

static char *taken(struct result *r)
{
	char *text = buf_take(&r->text);

	result_done(r);
	return text;
}

/* The text up to stop, variables replaced; NULL with the error. The caller frees. */
static char *inner(struct scan *s, char stop, bool raw_escapes, const char *missing)
{
	struct result r;

	if (s->depth >= BUILD_NEST_MAX) {
		bad(s, "substitutions are nested too deeply");
		return NULL;
	}
	result_init(&r);
	s->depth++;
	if (scan_until(s, stop, raw_escapes, &r) < 0) {
		s->depth--;
		if (!*s->p)
			bad(s, missing);
		result_done(&r);
		return NULL;
	}
	s->depth--;
	return taken(&r);
}

static int modify(struct scan *s, const char *name, const char *value, char op, bool null_is_unset, const char *word, struct buf *out)
{
	bool missing = !value || (null_is_unset && !*value);

	switch (op) {
	case '-':
		buf_adds(out, missing ? word : value);
		return 0;
	case '+':
		buf_adds(out, missing ? "" : word);
		return 0;
	case '?':
		if (missing)
			return err_set(s->e, ERR_INVALID, "%.100s: %.300s", name, *word ? word :
				       value ? "is not allowed to be empty" : "is not allowed to be unset");
		buf_adds(out, value);
		return 0;
	default:
		return trim(s, value ? value : "", *word == op ? word + 1 : word, op == '%', *word == op, out);
	}
}

/* After "${": everything up to its "}". */
static int braces(struct scan *s, struct buf *out)
{
	CLEANUP(mem_freep) char *name = NULL, *word = NULL, *with = NULL;
	bool null_is_unset = false, all;
	const char *value;
	char op;

	if (!*s->p)
		return bad(s, "syntax error: missing '}'");
	if (strchr("{}:", *s->p))
		return bad(s, "syntax error: bad substitution");
	name = read_name(s);
	value = lookup(s, name);
	op = *s->p;
	if (!op)
		return bad(s, "syntax error: missing '}'");
	s->p++;
	if (op == '}') {
		if (!value && s->v->keep_unset)
			buf_printf(out, "${%s}", name);
		else
			buf_adds(out, value ? value : "");
		return 0;
	}
	if (op == '/') {
		all = *s->p == '/';
		s->p += all;
		word = inner(s, '/', true, "syntax error: missing '/' in ${}");
		with = word ? inner(s, '}', true, "syntax error: missing '}'") : NULL;
		if (!with)
			return -1;
		if (!value && s->v->keep_unset) {
			buf_printf(out, "${%s/%s/%s}", name, word, with);
			return 0;
		}
		return replace(s, value ? value : "", word, with, all, out);
	}
	if (op == ':') {
		null_is_unset = true;
		op = *s->p;
		if (!op)
			return bad(s, "syntax error: missing '}'");
		s->p++;
	}
	if (!strchr("+-?#%", op) || (null_is_unset && (op == '#' || op == '%')))
		return err_set(s->e, ERR_INVALID, "unsupported modifier (%s%c) in substitution", null_is_unset ? ":" : "", op);
	word = inner(s, '}', op == '#' || op == '%', "syntax error: missing '}'");
	if (!word)
		return -1;
	if (!value && s->v->keep_unset) {
		buf_printf(out, "${%s%s%c%s}", name, null_is_unset ? ":" : "", op, word);
		return 0;
	}
	return modify(s, name, value, op, null_is_unset, word, out);
}

/* At "$". */
static int dollar(struct scan *s, struct buf *out)
{
	CLEANUP(mem_freep) char *name = NULL;
	const char *value;

	s->p++;
	if (*s->p == '{') {
		s->p++;
		return braces(s, out);
	}
	name = read_name(s);
	if (!*name) {
		buf_addc(out, '$');
		return 0;
	}
	value = lookup(s, name);
	if (!value && s->v->keep_unset)
		buf_printf(out, "$%s", name);
	else
		buf_adds(out, value ? value : "");
	return 0;
}

static int single_quoted(struct scan *s, struct buf *out)
{
	const char *end = strchr(s->p + 1, '\'');

	if (!end) {
		s->p += strlen(s->p);
		return bad(s, "unexpected end of statement while looking for matching single-quote");
	}
	if (s->v->keep_quotes)
		buf_addc(out, '\'');
	buf_add(out, s->p + 1, (size_t)(end - s->p - 1));
	if (s->v->keep_quotes)
		buf_addc(out, '\'');
	s->p = end + 1;
	return 0;
}

static int double_quoted(struct scan *s, bool raw_escapes, struct buf *out)
{
	s->p++;
	if (s->v->keep_quotes)
		buf_addc(out, '"');
	while (*s->p && *s->p != '"') {
		if (*s->p == '$') {
			if (dollar(s, out) < 0)
				return -1;
			continue;
		}
		if (*s->p == s->v->escape) {
			if (raw_escapes)
				buf_addc(out, *s->p);
			if (!s->p[1]) {		/* an escape at the very end is nothing */
				s->p++;
				continue;
			}
			if (s->p[1] == '"' || s->p[1] == '$' || s->p[1] == s->v->escape)
				s->p++;
		}
		buf_addc(out, *s->p++);
	}
	if (!*s->p)
		return bad(s, "unexpected end of statement while looking for matching double-quote");
	s->p++;
	if (s->v->keep_quotes)
		buf_addc(out, '"');
	return 0;
}

/* stop '\0': to the end. */
static int scan_until(struct scan *s, char stop, bool raw_escapes, struct result *r)
{
	CLEANUP(buf_done) struct buf tmp = BUF_INIT;

	buf_init(&tmp, BUILD_WORD_MAX);
	while (*s->p) {
		char c = *s->p;
		int rc = 0;

		if (stop && c == stop) {
			s->p++;
			word_end(r);
			goto full;
		}
		buf_reset(&tmp);
		if (c == '$') {
			rc = dollar(s, &tmp);
			put(r, tmp.data ? tmp.data : "", tmp.len, false);
		} else if (!s->v->no_quotes && (c == '\'' || c == '"')) {
			rc = c == '\'' ? single_quoted(s, &tmp) : double_quoted(s, raw_escapes, &tmp);
			put(r, tmp.data ? tmp.data : "", tmp.len, true);
		} else if (c == '<' && s->p[1] == '<') {
			/* A heredoc's word may follow after blanks. */
			size_t n = 2 + strspn(s->p + 2, " \t\r");

			put(r, s->p, n, true);
			s->p += n;
		} else if (c == s->v->escape) {
			if (raw_escapes)
				put(r, &c, 1, true);
			s->p++;
			if (*s->p)
				put(r, s->p++, 1, true);
		} else {
			put(r, &c, 1, false);
			s->p++;
		}
		if (rc < 0)
			return -1;
		if (r->text.failed || tmp.failed)
			return bad(s, "the result is longer than 1 MiB");
	}
	if (stop)
		return err_set(s->e, ERR_INVALID, "unexpected end of statement while looking for matching %c", stop);
	word_end(r);
full:
	return r->text.failed ? bad(s, "the result is longer than 1 MiB") : 0;
}

static int process(const struct build_vars *v, const char *word, struct result *r, struct err *e)
{
	struct err own = { 0 };
	struct scan s = { .v = v, .p = word, .e = e ? e : &own };

	result_init(r);
	if (scan_until(&s, '\0', v->keep_escapes, r) == 0) {
		/* A pattern may have cut a character in two. */
		if (str_utf8_valid(r->text.data ? r->text.data : "", r->text.len))
			return 0;
		bad(&s, "the result is not valid UTF-8");
	}
	result_done(r);
	return err_wrap(s.e, "failed to process \"%.300s\"", word);
}

char *build_word(const struct build_vars *v, const char *word, struct err *e)
{
	struct result r;

	return process(v, word, &r, e) < 0 ? NULL : taken(&r);
}

char **build_words(const struct build_vars *v, const char *word, struct err *e)
{
	char **words;
	struct result r;

	if (process(v, word, &r, e) < 0)
		return NULL;
	words = r.words ? TAKE(r.words) : mem_zalloc(sizeof(*words));
	result_done(&r);
	return words;
}
