/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ignore.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/*
 * A pattern is cut into pieces once; a match is one pass over the path with the set of pieces reached so far, so that no pattern can take
 * more than its length times the path's. "**" with what follows it is docker's: a "**" and its slash are nothing or anything that ends in a slash, at
 * the end it is anything.
 */
enum { PATTERNS_MAX = 10000, PATTERN_MAX = 4096 };

struct piece {
	char kind;		/* 'c' one character, '?' one but '/', '*' any number but '/', 'd' "**" and its slash, 'e' "**" at the end, '[' a class */
	unsigned char c;
	const char *class, *end;	/* '[': between the brackets */
};

struct pattern {
	char *text;
	bool exception;		/* it began with '!' */
	bool wild;
	struct piece *v;
	size_t n;
};

struct ignore {
	struct pattern *v;
	size_t n;
	bool exceptions;
};

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One character of a class; it must be followed by something. */
static bool class_char(const char **p)
{
	if (!**p || **p == '-' || **p == ']' || (**p == '\\' && !*++*p))
		return false;
	return *++*p;
}

/* Go's path.Match inside brackets: -1 when the class is malformed; past is the text behind "]". */
static int class_end(const char *p, const char **past)
{
	p += *p == '^';
	do {
		if (!class_char(&p) || (*p == '-' && (p++, !class_char(&p))))
			return -1;
	} while (*p != ']');
	*past = p + 1;
	return 0;
}

static bool class_has(const struct piece *k, unsigned char c)
{
	const char *p = k->class;
	bool not = *p == '^', in = false;

	p += not;
	while (p < k->end) {
		unsigned char lo, hi;

		if (*p == '\\')
			p++;
		lo = hi = (unsigned char)*p++;
		if (p < k->end && *p == '-') {
			p++;
			if (*p == '\\')
				p++;
			hi = (unsigned char)*p++;
		}
		in |= lo <= c && c <= hi;
	}
	return c != '/' && in != not;
}

static int cut_pieces(struct pattern *t)
{
	const char *past;

	t->v = mem_zalloc((strlen(t->text) + 1) * sizeof(*t->v));
	for (const char *p = t->text; *p; p++) {
		struct piece *k = &t->v[t->n++];

		if (p[0] == '*' && p[1] == '*') {
			p++;
			while (p[1] == '*')
				p++;
			k->kind = 'e';
			if (p[1] == '/')
				p++;
			if (p[1])
				k->kind = 'd';
			t->wild = true;
		} else if (*p == '*' || *p == '?') {
			k->kind = *p;
			t->wild = true;
		} else if (*p == '[') {
			if (class_end(p + 1, &past) < 0)
				return -1;
			*k = (struct piece){ .kind = '[', .class = p + 1, .end = past - 1 };
			p = past - 1;
			t->wild = true;
		} else {
			if (*p == '\\' && !*++p)
				return -1;
			*k = (struct piece){ .kind = 'c', .c = (unsigned char)*p };
		}
	}
	return 0;
}

/* The first n bytes of path. */
static bool matches(const struct pattern *t, const char *path, size_t n)
{
	char *on = mem_zalloc(2 * (t->n + 1)), *inside = on + t->n + 1;
	bool hit = false, any = true;

	on[0] = 1;
	for (size_t i = 0; any; i++) {
		unsigned char c = (unsigned char)path[i];

		for (size_t k = 0; k < t->n; k++)
			if (on[k] && strchr("*de", t->v[k].kind))
				on[k + 1] = 1;
		if (i == n) {
			hit = on[t->n];
			break;
		}
		any = false;
		for (size_t k = t->n + 1; k-- > 0;) {
			char now = 0, within = 0;

			if (k < t->n) {
				char kind = t->v[k].kind;

				if (on[k])
					now = kind == 'e' || (kind == '*' && c != '/');
				if (kind == 'd')
					within = on[k] || inside[k];
			}
			if (k > 0) {
				const struct piece *b = &t->v[k - 1];

				if (on[k - 1] && ((b->kind == 'c' && b->c == c) || (b->kind == '?' && c != '/') || (b->kind == '[' && class_has(b, c))))
					now = 1;
				if (b->kind == 'd' && (on[k - 1] || inside[k - 1]) && c == '/')
					now = 1;
			}
			on[k] = now;
			inside[k] = within;
			any |= now || within;
		}
	}
	free(on);
	return hit;
}

/* Go's filepath.Clean of a relative or absolute path, then without the leading slash. The caller frees. */
static char *clean(const char *p)
{
	char *out = mem_alloc(strlen(p) + 2);
	size_t n = 0, floor = 0;
	bool rooted = *p == '/';

	while (*p) {
		size_t len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.') {
			if (n > floor) {
				while (n > floor && out[n - 1] != '/')
					n--;
				if (n > floor)
					n--;
			} else if (!rooted) {
				if (n)
					out[n++] = '/';
				memcpy(out + n, "..", 2);
				n += 2;
				floor = n;
			}
		} else if (len && !(len == 1 && *p == '.')) {
			if (n)
				out[n++] = '/';
			memmove(out + n, p, len);
			n += len;
		}
		p += len;
		p += strspn(p, "/");
	}
	if (!n && !rooted)
		out[n++] = '.';
	out[n] = '\0';
	return out;
}

static int add(struct ignore *ig, const char *text, bool exception, struct err *e)
{
	struct pattern *t;

	if (strlen(text) > PATTERN_MAX || ig->n == PATTERNS_MAX)
		return err_set(e, ERR_INVALID, "more than %d patterns, or one longer than %d bytes", PATTERNS_MAX, PATTERN_MAX);
	if ((ig->n & (ig->n - 1)) == 0)
		ig->v = mem_realloc(ig->v, (ig->n ? ig->n * 2 : 1) * sizeof(*ig->v));
	t = &ig->v[ig->n++];
	*t = (struct pattern){ .text = clean(text), .exception = exception };
	ig->exceptions |= exception;
	if (cut_pieces(t) < 0)
		return err_set(e, ERR_INVALID, "syntax error in pattern: '%.200s'", text);
	return 0;
}

static int add_line(struct ignore *ig, const char *p, size_t n, struct err *e)
{
	CLEANUP(mem_freep) char *text = NULL;
	bool exception;

	while (n && blank(*p))
		p++, n--;
	while (n && blank(p[n - 1]))
		n--;
	if (!n)
		return 0;
	exception = *p == '!';
	if (exception) {
		for (p++, n--; n && blank(*p); p++, n--)
			;
		if (!n)
			return err_set(e, ERR_INVALID, "illegal exclusion pattern: \"!\"");
	}
	if (memchr(p, '\0', n))
		return err_set(e, ERR_INVALID, "a pattern holds a NUL byte");
	text = mem_strndup(p, n);
	return add(ig, text, exception, e);
}

struct ignore *ignore_parse(const char *text, size_t n, struct err *e)
{
	struct ignore *ig = mem_zalloc(sizeof(*ig));
	const char *p = text, *end = text + n, *nl;

	if (n >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	for (; p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl)
			nl = end;
		if (p < nl && *p != '#' && add_line(ig, p, (size_t)(nl - p), e) < 0) {
			ignore_free(ig);
			return NULL;
		}
	}
	return ig;
}

struct ignore *ignore_of(char *const *patterns, struct err *e)
{
	struct ignore *ig = mem_zalloc(sizeof(*ig));

	for (; patterns && *patterns; patterns++) {
		if (add_line(ig, *patterns, strlen(*patterns), e) < 0) {
			ignore_free(ig);
			return NULL;
		}
	}
	return ig;
}

void ignore_free(struct ignore *ig)
{
	if (!ig)
		return;
	for (size_t i = 0; i < ig->n; i++) {
		free(ig->v[i].text);
		free(ig->v[i].v);
	}
	free(ig->v);
	free(ig);
}

bool ignore_match(const struct ignore *ig, const char *path)
{
	bool ignored = false;

	for (size_t i = 0; ig && i < ig->n; i++) {
		const struct pattern *t = &ig->v[i];

		if (t->exception != ignored)
			continue;
		/* The path itself or a folder above it. */
		for (size_t n = strlen(path); n; n--) {
			if ((path[n] == '\0' || path[n] == '/') && matches(t, path, n)) {
				ignored = !t->exception;
				break;
			}
		}
	}
	return ignored;
}

bool ignore_may_want_below(const struct ignore *ig, const char *folder)
{
	size_t n = strlen(folder);

	for (size_t i = 0; ig && ig->exceptions && i < ig->n; i++) {
		const struct pattern *t = &ig->v[i];

		if (t->exception && (t->wild || (!strncmp(t->text, folder, n) && (!t->text[n] || t->text[n] == '/'))))
			return true;
	}
	return false;
}
