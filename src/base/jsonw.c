/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonw.h"

#include <stdio.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/mem.h"
#include "base/str.h"

static inline bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#ifdef __SSE2__
/* 16 bytes at once; a signed comparison finds what is below 0x20 and above 0x7f together. */
enum { STEP = 16 };
static inline unsigned first_special(const char *p)
{
	__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i odd = _mm_or_si128(_mm_cmplt_epi8(x, _mm_set1_epi8(0x20)),
				   _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))));
	unsigned mask = (unsigned)_mm_movemask_epi8(odd);

	return mask ? (unsigned)__builtin_ctz(mask) : STEP;
}
#else
enum { STEP = 8 };
#define REP(c) (0x0101010101010101ull * (c))
/* High bit set in each byte of x that is 0; behind the lowest such byte others may be marked wrongly. */
static inline uint64_t zeros(uint64_t x)
{
	return (x - REP(1)) & ~x & REP(0x80);
}

static inline unsigned first_special(const char *p)
{
	uint64_t x, odd;

	memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	odd = ((x - REP(0x20)) & ~x & REP(0x80)) | (x & REP(0x80)) | zeros(x ^ REP('"')) | zeros(x ^ REP('\\'));
	return odd ? (unsigned)__builtin_ctzll(odd) / 8 : STEP;
}
#endif

size_t jsonw_plain(const char *p, size_t n)
{
	size_t i = 0;

	for (; n - i >= STEP; i += STEP) {
		unsigned k = first_special(p + i);

		if (k < STEP)
			return i + k;
	}
	while (i < n && is_plain((unsigned char)p[i]))
		i++;
	return i;
}

/* The one character at p that is not plain. Returns its length. */
static size_t put_special(struct buf *b, const char *p, size_t n)
{
	static const char short_of[0x20] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	unsigned char c = (unsigned char)*p;
	char text[8] = { '\\', (char)c };

	if (c < 0x20 && !short_of[c]) {
		(void)buf_add(b, text, (size_t)snprintf(text, sizeof(text), "\\u%04X", c));
	} else if (c < 0x80) {
		if (c < 0x20)
			text[1] = short_of[c];
		(void)buf_add(b, text, 2);
	} else {
		for (size_t k = 2; k <= 4 && k <= n; k++) {
			if (str_utf8_valid(p, k)) {
				(void)buf_add(b, p, k);
				return k;
			}
		}
		(void)buf_add(b, "\xef\xbf\xbd", 3);
	}
	return 1;
}

void jsonw_bytes(struct buf *b, const char *p, size_t n)
{
	(void)buf_addc(b, '"');
	for (size_t i = 0; i < n;) {
		size_t k = jsonw_plain(p + i, n - i);

		(void)buf_add(b, p + i, k);
		i += k;
		if (i < n)
			i += put_special(b, p + i, n - i);
	}
	(void)buf_addc(b, '"');
}

void jsonw_str(struct buf *b, const char *s)
{
	jsonw_bytes(b, s, strlen(s));
}

void jsonw_i64(struct buf *b, int64_t n)
{
	char text[24], *at = text + sizeof(text);
	uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--at = '-';
	(void)buf_add(b, at, (size_t)(text + sizeof(text) - at));
}

void jsonw_item(struct buf *b)
{
	if (b->len && b->data[b->len - 1] != '[')
		(void)buf_addc(b, ',');
}

static void comma(struct buf *b)
{
	if (b->len && b->data[b->len - 1] != '{')
		(void)buf_addc(b, ',');
}

static void put_real(struct buf *b, const json_t *v)
{
	char *text CLEANUP(mem_freep) = json_dumps(v, JSON_ENCODE_ANY);

	(void)buf_adds(b, text ? text : "null");
}

static void put_object(struct buf *b, json_t *o)
{
	const char *key;
	json_t *v;

	(void)buf_addc(b, '{');
	json_object_foreach(o, key, v) {
		jsonw_key_value(b, key, v);
	}
	(void)buf_addc(b, '}');
}

static void put_array(struct buf *b, const json_t *a)
{
	json_t *v;
	size_t i;

	(void)buf_addc(b, '[');
	json_array_foreach(a, i, v) {
		jsonw_item(b);
		jsonw_value(b, v);
	}
	(void)buf_addc(b, ']');
}

void jsonw_value(struct buf *b, const json_t *v)
{
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		put_object(b, (json_t *)v);
		break;
	case JSON_ARRAY:
		put_array(b, v);
		break;
	case JSON_STRING:
		jsonw_bytes(b, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		jsonw_i64(b, json_integer_value(v));
		break;
	case JSON_REAL:
		put_real(b, v);
		break;
	case JSON_TRUE:
		(void)buf_adds(b, "true");
		break;
	case JSON_FALSE:
		(void)buf_adds(b, "false");
		break;
	case JSON_NULL:
		(void)buf_adds(b, "null");
		break;
	}
}

void jsonw_key(struct buf *b, const char *key)
{
	comma(b);
	jsonw_str(b, key);
	(void)buf_addc(b, ':');
}

void jsonw_key_str(struct buf *b, const char *key, const char *s)
{
	jsonw_key(b, key);
	jsonw_str(b, s);
}

void jsonw_key_i64(struct buf *b, const char *key, int64_t n)
{
	jsonw_key(b, key);
	jsonw_i64(b, n);
}

void jsonw_key_value(struct buf *b, const char *key, const json_t *v)
{
	jsonw_key(b, key);
	jsonw_value(b, v);
}
