/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request: request line and headers. Taken strictly (RFC 9112 2.2, 5.1, 5.2): lines end in CRLF, no NUL or
 * other control characters, no white space before a colon, no folded lines. What two programs could read differently is refused.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/http_priv.h"

int http_head_find(const char *p, size_t n, size_t *scanned)
{
	size_t i = *scanned;

	for (; i < n; i++) {
		if (p[i] == '\0')
			return -400;
		if (p[i] != '\n')
			continue;
		if (i == 0 || p[i - 1] != '\r')
			return -400;
		if (i >= 3 && p[i - 2] == '\n' && p[i - 3] == '\r')
			return i + 1 > HTTP_HEAD_MAX ? -431 : (int)i + 1;
	}
	*scanned = i;
	if (n > HTTP_LINE_MAX && !memchr(p, '\n', HTTP_LINE_MAX))
		return -414;
	return n > HTTP_HEAD_MAX ? -431 : 0;
}

static bool is_token(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes in place; false on a broken escape or a NUL. */
static bool decode(char *s, bool plus)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '%') {
			int hi = hex(s[1]), lo = hi < 0 ? -1 : hex(s[2]);

			if (lo < 0 || (hi == 0 && lo == 0))
				return false;
			*out++ = (char)(hi << 4 | lo);
			s += 2;
		} else {
			*out++ = plus && *s == '+' ? ' ' : *s;
		}
	}
	*out = '\0';
	return true;
}

static bool parse_query(struct http_head *h, char *q)
{
	size_t n = 1;

	for (const char *p = q; *p; p++)
		n += *p == '&';
	h->query = mem_zalloc(n * sizeof(*h->query));
	while (q && *q) {
		char *next = strchr(q, '&'), *eq;

		if (next)
			*next++ = '\0';
		eq = strchr(q, '=');
		if (eq)
			*eq++ = '\0';
		if (*q) {
			if (!decode(q, true) || (eq && !decode(eq, true)))
				return false;
			h->query[h->n_query++] = (struct http_field){ q, eq ? eq : "" };
		}
		q = next;
	}
	return true;
}

static bool parse_field(struct http_field *f, char *line)
{
	char *colon = line, *end;

	while (is_token((unsigned char)*colon))
		colon++;
	if (colon == line || *colon != ':')
		return false;
	*colon++ = '\0';
	colon += strspn(colon, " \t");
	end = colon + strlen(colon);
	while (end > colon && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	for (const char *p = colon; *p; p++) {
		if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
			return false;
	}
	*f = (struct http_field){ line, colon };
	return true;
}

int http_head_parse(struct http_head *h, char *text, size_t n, const char **why)
{
	char *line = text, *end, *target, *q;
	size_t lines = 0;

	*h = (struct http_head){ .text = text };
	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	h->fields = mem_zalloc(lines * sizeof(*h->fields));

	end = strstr(line, "\r\n");
	*why = "the request line is too long";
	if ((size_t)(end - line) > HTTP_LINE_MAX)
		return 414;
	*end = '\0';
	*why = "the request line is malformed";
	target = strchr(line, ' ');
	q = target ? strchr(target + 1, ' ') : NULL;
	if (!q || target == line || q == target + 1 || strncmp(q, " HTTP/1.", 8))
		return 400;
	*target++ = '\0';
	*q = '\0';
	for (const char *p = target; *p; p++) {
		if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '#')
			return 400;
	}
	/* absolute-form (RFC 9112 3.2.2): what clients that take us for a proxy send */
	if (!strncasecmp(target, "http://", 7)) {
		target += 7 + strcspn(target + 7, "/?");
		if (*target != '/')
			return 400;
	}
	*why = "the request target is not a path";
	if (*target != '/')
		return 400;
	h->target = target;
	h->path = target;
	q = strchr(target, '?');
	if (q)
		*q++ = '\0';
	*why = "the request target has a broken escape";
	if (!decode(h->path, false) || (q && !parse_query(h, q)))
		return 400;

	*why = "a header line is malformed";
	for (line = end + 2; line[0] != '\r'; line = end + 2) {
		end = strstr(line, "\r\n");
		*end = '\0';
		if (!parse_field(&h->fields[h->n_fields], line))
			return 400;
		h->n_fields++;
	}
	return 0;
}

void http_head_done(struct http_head *h)
{
	free(h->text);
	free(h->fields);
	free(h->query);
	*h = (struct http_head){ 0 };
}

const char *http_field_get(const struct http_field *f, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcasecmp(f[i].name, name))
			return f[i].value;
	}
	return NULL;
}
