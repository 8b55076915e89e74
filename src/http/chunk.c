/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked coding of request bodies (RFC 9112 7.1), strictly. http_parser's is lenient where a proxy in front of us might
 * not be (a CR followed by anything ends a line), and two readings of one stream are what request smuggling lives on.
 * Extensions and trailers are skipped, within limits: nobody sends them, so only an attacker would send many.
 */
#include "http/http_priv.h"

enum { EXTENSION_MAX = 256, TRAILERS_MAX = 8192 };

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, LINE, TRAILER, TRAILER_LF, LAST_LF, DONE };

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool printable(char c)
{
	return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

/* One byte of framing; false when it does not belong there. */
static bool step(struct http_chunked *k, char c)
{
	int d;

	switch (k->state) {
	case SIZE:
		d = digit(c);
		if (d >= 0) {
			k->left = k->left << 4 | (unsigned)d;
			return ++k->count <= 15;
		}
		if (!k->count || (c != ';' && c != '\r'))
			return false;
		k->state = c == ';' ? EXTENSION : SIZE_LF;
		k->count = 0;
		return true;
	case EXTENSION:
		if (c == '\r')
			k->state = SIZE_LF;
		return c == '\r' || (printable(c) && ++k->count <= EXTENSION_MAX);
	case SIZE_LF:
		k->count = 0;
		k->state = k->left ? DATA : LINE;
		return c == '\n';
	case DATA_CR:
		k->state = DATA_LF;
		return c == '\r';
	case DATA_LF:
		k->state = SIZE;
		return c == '\n';
	case LINE:
		k->state = c == '\r' ? LAST_LF : TRAILER;
		/* a folded line would begin with white space */
		return c == '\r' || (printable(c) && c != ' ' && c != '\t' && ++k->count <= TRAILERS_MAX);
	case TRAILER:
		if (c == '\r')
			k->state = TRAILER_LF;
		return c == '\r' || (printable(c) && ++k->count <= TRAILERS_MAX);
	case TRAILER_LF:
		k->state = LINE;
		return c == '\n';
	case LAST_LF:
		k->state = DONE;
		return c == '\n';
	}
	return false;
}

int http_chunked_next(struct http_chunked *k, const char *p, size_t n, size_t *used, const char **data, size_t *len)
{
	size_t i = 0;

	*data = NULL;
	*len = 0;
	while (i < n && k->state != DONE) {
		if (k->state == DATA) {
			*data = p + i;
			*len = k->left < n - i ? (size_t)k->left : n - i;
			k->left -= *len;
			if (!k->left)
				k->state = DATA_CR;
			*used = i + *len;
			return 0;
		}
		if (!step(k, p[i++])) {
			*used = i;
			return -1;
		}
	}
	*used = i;
	return k->state == DONE;
}
