/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A program's output becomes JSON here, on the way of every byte, so the common case is one pass: sixteen bytes (eight without SSE2, and
 * at a line's end) are loaded, stored to the output as they are, and tested together for the few values that need an escape; only when
 * the test hits is the byte looked at. The store runs ahead of what is known to be plain, the write position does not: whatever was
 * stored too much is overwritten.
 *
 * The escapes are those of dockerd's jsonlog (Go's encoding/json with HTML escaping): \" \\ \n \r, \u00XX for other control bytes and
 * for < > &, \u2028 and \u2029, and \ufffd for each byte that is not part of valid UTF-8.
 */
#include "runtime/monitor/logenc.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char hex[] = "0123456789abcdef";

#define REP(b) (0x0101010101010101ull * (b))

/* High bit set in bytes of x that are 0; exact in the lowest such byte, which is the one that is used. */
static inline uint64_t zero_bytes(uint64_t x)
{
	return (x - REP(1)) & ~x & REP(0x80);
}

/* High bit set (lowest one exact) in bytes that are not copied as they are: < 0x20, '"' '&' (0x22, 0x26), '<' '>' (0x3c, 0x3e), '\', >= 0x80. */
static inline uint64_t special_bytes(uint64_t x)
{
	return ((x - REP(0x20)) & ~x & REP(0x80)) | (x & REP(0x80)) | zero_bytes((x | REP(4)) ^ REP(0x26)) |
	       zero_bytes((x | REP(2)) ^ REP(0x3e)) | zero_bytes(x ^ REP('\\'));
}

/* Length of the valid UTF-8 sequence at p (n > 0 bytes, first >= 0x80), or 0. Surrogates, overlong forms and > U+10FFFF are invalid. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		if (p[0] == 0xe0)
			lo = 0xa0;
		if (p[0] == 0xed)
			hi = 0x9f;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		if (p[0] == 0xf0)
			lo = 0x90;
		if (p[0] == 0xf4)
			hi = 0x8f;
	} else {
		return 0;
	}
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

/* One character that is not plain: *p moves behind it. */
static char *put_special(char *o, const unsigned char **pp, const unsigned char *end)
{
	const unsigned char *p = *pp;
	size_t len;

	if (*p < 0x80) {
		*pp = p + 1;
		*o++ = '\\';
		switch (*p) {
		case '"':
		case '\\':
			*o++ = (char)*p;
			return o;
		case '\n':
			*o++ = 'n';
			return o;
		case '\r':
			*o++ = 'r';
			return o;
		}
		memcpy(o, "u00", 3);
		o[3] = hex[*p >> 4];
		o[4] = hex[*p & 15];
		return o + 5;
	}
	len = utf8_len(p, (size_t)(end - p));
	if (!len) {
		*pp = p + 1;
		memcpy(o, "\\ufffd", 6);
		return o + 6;
	}
	*pp = p + len;
	if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
		memcpy(o, "\\u2028", 6);
		o[5] = hex[p[2] & 15];
		return o + 6;
	}
	memcpy(o, p, len);
	return o + len;
}

static inline int is_special(unsigned char c)
{
	return c < 0x20 || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&';
}

static char *put_text(char *o, const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n;

#ifdef __SSE2__
	while (end - p >= 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p), bad;
		unsigned mask;

		_mm_storeu_si128((__m128i *)(void *)o, x);
		bad = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));	/* signed: 0x80 to 0xff, too */
		bad = _mm_or_si128(bad, _mm_cmpeq_epi8(_mm_or_si128(x, _mm_set1_epi8(4)), _mm_set1_epi8(0x26)));	/* '"' '&' */
		bad = _mm_or_si128(bad, _mm_cmpeq_epi8(_mm_or_si128(x, _mm_set1_epi8(2)), _mm_set1_epi8(0x3e)));	/* '<' '>' */
		bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
		mask = (unsigned)_mm_movemask_epi8(bad);
		if (!mask) {
			p += 16;
			o += 16;
			continue;
		}
		p += __builtin_ctz(mask);
		o += __builtin_ctz(mask);
		o = put_special(o, &p, end);
	}
#endif
	while (p < end) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		while (end - p >= 8) {
			uint64_t x, bad;
			unsigned plain;

			memcpy(&x, p, 8);
			memcpy(o, &x, 8);
			bad = special_bytes(x);
			plain = bad ? (unsigned)__builtin_ctzll(bad) / 8 : 8;
			p += plain;
			o += plain;
			if (bad)
				o = put_special(o, &p, end);
		}
#endif
		if (p == end)
			break;
		if (is_special(*p))
			o = put_special(o, &p, end);
		else
			*o++ = (char)*p++;
	}
	return o;
}

size_t logenc_tail(char *out, int stream, const char *attrs, const char *stamp)
{
	char *o = stpcpy(out, stream == 2 ? "\",\"stream\":\"stderr\"," : "\",\"stream\":\"stdout\",");

	if (attrs)
		o = stpcpy(o, attrs);
	o = stpcpy(stpcpy(stpcpy(o, "\"time\":\""), stamp), "\"}\n");
	return (size_t)(o - out);
}

size_t logenc_record(char *out, const char *p, size_t n, const char *tail, size_t tail_len)
{
	bool nl = n && p[n - 1] == '\n';	/* almost always: not worth a search */
	char *o = out;

	memcpy(o, "{\"log\":\"", 8);
	o = put_text(o + 8, (const unsigned char *)p, n - nl);
	memcpy(o, "\\n", 2);
	o += nl ? 2 : 0;
	memcpy(o, tail, tail_len);
	return (size_t)(o + tail_len - out);
}

size_t logenc_stamp(struct logenc_clock *c, int64_t ns, char *out)
{
	int64_t second = ns / 1000000000, rest = ns % 1000000000;
	size_t len;

	if (rest < 0) {
		second--;
		rest += 1000000000;
	}
	if (!c->text[0] || c->second != second) {
		time_t t = (time_t)second;
		struct tm tm;

		if (!gmtime_r(&t, &tm) || !strftime(c->text, sizeof(c->text), "%Y-%m-%dT%H:%M:%S", &tm))
			memcpy(c->text, "1970-01-01T00:00:00", 20);
		c->second = second;
	}
	len = strlen(c->text);
	memcpy(out, c->text, len);
	if (rest) {
		out[len] = '.';
		for (int i = 9; i > 0; i--, rest /= 10)
			out[len + (size_t)i] = (char)('0' + rest % 10);
		len += 10;
		while (out[len - 1] == '0')
			len--;
	}
	out[len++] = 'Z';
	out[len] = 0;
	return len;
}

size_t logenc_cut(const char *p, size_t max)
{
	const unsigned char *u = (const unsigned char *)p;

	for (size_t back = 1; back <= 3 && back < max; back++) {
		unsigned char c = u[max - back];

		if (c < 0x80)
			break;
		if (c >= 0xc0) {
			size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

			return want > back ? max - back : max;
		}
	}
	return max;
}
