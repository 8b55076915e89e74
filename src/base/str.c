/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool str_starts(const char *s, const char *prefix)
{
	return s && !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = s ? strlen(s) : 0, k = strlen(suffix);

	return s && n >= k && !strcmp(s + n - k, suffix);
}

bool str_empty(const char *s)
{
	return !s || !*s;
}

int str_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s || !*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	bool neg = s && *s == '-';
	uint64_t mag;
	int64_t v;
	int r = str_to_u64(neg ? s + 1 : s, 0, neg ? (uint64_t)INT64_MAX + 1 : INT64_MAX, &mag);

	if (r < 0)
		return r;
	v = neg ? (mag == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)mag) : (int64_t)mag;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

/* Digits with an optional fraction: *whole and *nano (billionths). Returns the rest or NULL. */
static const char *decimal(const char *s, uint64_t *whole, uint64_t *nano)
{
	uint64_t scale = 100000000;
	bool any = false;

	*whole = *nano = 0;
	for (; *s >= '0' && *s <= '9'; s++, any = true) {
		if (__builtin_mul_overflow(*whole, 10u, whole) ||
		    __builtin_add_overflow(*whole, (uint64_t)(*s - '0'), whole))
			return NULL;
	}
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10, any = true)
			*nano += (uint64_t)(*s - '0') * scale;
	}
	return any ? s : NULL;
}

int str_to_size(const char *s, uint64_t *ret)
{
	static const char units[] = "bkmgtp";
	uint64_t whole, nano, unit = 1;
	const char *rest;
	__uint128_t v;

	if (!s || !(rest = decimal(s, &whole, &nano)))
		return -EINVAL;
	if (*rest == ' ')
		rest++;
	if (*rest) {
		const char *u = strchr(units, tolower((unsigned char)*rest));

		if (!u)
			return -EINVAL;
		unit = 1ull << (10 * (u - units));
		rest++;
		if (u != units && tolower((unsigned char)*rest) == 'i')
			rest++;
		if (u != units && tolower((unsigned char)*rest) == 'b')
			rest++;
		if (*rest)
			return -EINVAL;
	}
	v = (__uint128_t)whole * unit + (__uint128_t)nano * unit / 1000000000u;
	if (v > INT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)v;
	return 0;
}

int str_to_duration_ns(const char *s, int64_t *ret)
{
	static const struct { const char *name; uint64_t ns; } units[] = {
		{ "ns", 1 }, { "us", 1000 }, { "\xc2\xb5s", 1000 }, { "\xce\xbcs", 1000 }, { "ms", 1000000 },
		{ "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
	};
	bool neg = false;
	__uint128_t sum = 0;

	if (!s || !*s)
		return -EINVAL;
	if (*s == '-' || *s == '+')
		neg = *s++ == '-';
	if (!strcmp(s, "0")) {
		*ret = 0;
		return 0;
	}
	if (!*s)
		return -EINVAL;
	while (*s) {
		uint64_t whole, nano;
		size_t len, i;

		if (!(s = decimal(s, &whole, &nano)))
			return -EINVAL;
		len = strcspn(s, "0123456789.");
		for (i = 0; i < N(units); i++) {
			if (strlen(units[i].name) == len && !strncmp(units[i].name, s, len))
				break;
		}
		if (i == N(units))
			return -EINVAL;
		sum += (__uint128_t)whole * units[i].ns + (__uint128_t)nano * units[i].ns / 1000000000u;
		if (sum > INT64_MAX)
			return -ERANGE;
		s += len;
	}
	*ret = neg ? -(int64_t)sum : (int64_t)sum;
	return 0;
}

/* "2024-01-02", "...T03:04", "...T03:04:05[.frac]", each with optional Z or +hh:mm; UTC without a zone. */
static int rfc3339(const char *s, int64_t *ret)
{
	struct tm tm = { 0 };
	uint64_t whole, nano = 0;
	int used = 0, zone = 0;
	int64_t secs;

	if (sscanf(s, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 || used != 10)
		return -EINVAL;
	s += used;
	if (*s == 'T' || *s == 't' || *s == ' ') {
		used = 0;
		if (sscanf(s + 1, "%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &used) != 2 || used != 5)
			return -EINVAL;
		s += 1 + used;
		if (*s == ':') {
			if (!isdigit((unsigned char)s[1]) || !(s = decimal(s + 1, &whole, &nano)) || whole > 60)
				return -EINVAL;
			tm.tm_sec = (int)whole;
		}
	}
	if (*s == 'Z' || *s == 'z') {
		s++;
	} else if (*s == '+' || *s == '-') {
		int hh, mm, sign = *s == '-' ? -1 : 1;

		used = 0;
		if (sscanf(s + 1, "%2d:%2d%n", &hh, &mm, &used) != 2 || used != 5)
			return -EINVAL;
		zone = sign * (hh * 3600 + mm * 60);
		s += 1 + used;
	}
	if (*s || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
	    tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_year < 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	secs = (int64_t)timegm(&tm) - zone;
	if (__builtin_mul_overflow(secs, (int64_t)1000000000, &secs))
		return -ERANGE;
	*ret = secs + (int64_t)nano;
	return 0;
}

int str_to_time_ns(const char *s, int64_t now_ns, int64_t *ret)
{
	uint64_t whole, nano;
	const char *rest;
	int64_t d;

	if (!s || !*s)
		return -EINVAL;
	rest = decimal(s, &whole, &nano);
	if (rest && !*rest) {
		if (whole > INT64_MAX / 1000000000)
			return -ERANGE;
		*ret = (int64_t)(whole * 1000000000 + nano);
		return 0;
	}
	if (str_to_duration_ns(s, &d) == 0)
		return __builtin_sub_overflow(now_ns, d, ret) ? -ERANGE : 0;
	return rfc3339(s, ret);
}

char **str_split(const char *s, char sep)
{
	char **v = NULL;

	for (;;) {
		const char *end = strchr(s, sep);
		char *part = mem_strndup(s, end ? (size_t)(end - s) : strlen(s));

		v = strv_add(v, part);
		free(part);
		if (!end)
			return v;
		s = end + 1;
	}
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

void strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

void strv_freep(char ***v)
{
	strv_free(*v);
	*v = NULL;
}

char **strv_push(char **v, size_t *n, const char *s)
{
	/* Room doubles at powers of two, so that adding stays linear in allocations' number. */
	if ((*n & (*n + 1)) == 0)
		v = mem_realloc(v, (2 * *n + 2) * sizeof(*v));
	v[*n] = mem_strdup(s);
	v[++*n] = NULL;
	return v;
}

char **strv_add(char **v, const char *s)
{
	size_t n = strv_len(v);

	return strv_push(v, &n, s);
}

bool strv_has(char *const *v, const char *s)
{
	for (size_t i = 0; v && v[i]; i++) {
		if (!strcmp(v[i], s))
			return true;
	}
	return false;
}

/* One bracket expression at p (behind '['): its end, or NULL when malformed; *hit says whether c is in it. */
static const char *bracket(const char *p, unsigned char c, bool *hit)
{
	bool neg = *p == '^', in = false, any = false;

	if (neg)
		p++;
	while (*p && *p != ']') {
		unsigned char lo, hi;

		if (*p == '\\' && p[1])
			p++;
		lo = hi = (unsigned char)*p++;
		if (*p == '-' && p[1] && p[1] != ']') {
			p++;
			if (*p == '\\' && p[1])
				p++;
			hi = (unsigned char)*p++;
		}
		in = in || (c >= lo && c <= hi);
		any = true;
	}
	if (*p != ']' || !any)	/* an empty class is malformed, as in Go */
		return NULL;
	*hit = in != neg;
	return p + 1;
}

/* Linear in pattern times text: only the last '*' is ever retried. '*' and '?' do not match '/'. */
bool str_glob(const char *pattern, const char *s)
{
	const char *star = NULL, *mark = NULL, *p = pattern;

	for (;;) {
		const char *next = NULL;

		if (*p == '*') {
			star = ++p;
			mark = s;
			continue;
		}
		if (!*s && !*p)
			return true;
		if (*s) {
			bool hit = false;

			if (*p == '[') {
				next = bracket(p + 1, (unsigned char)*s, &hit);
			} else if (*p == '\\' && p[1]) {
				next = p + 2;
				hit = p[1] == *s;
			} else if (*p) {
				next = p + 1;
				hit = *p == '?' ? *s != '/' : *p == *s;
			}
			if (next && hit) {
				p = next;
				s++;
				continue;
			}
		}
		if (!star || !*mark || *mark == '/')
			return false;
		s = ++mark;
		p = star;
	}
}

char *str_time_ns(int64_t ns, char *out, size_t size)
{
	time_t secs = (time_t)(ns / 1000000000);
	int64_t frac = ns % 1000000000;
	struct tm tm;
	size_t n;

	if (frac < 0) {
		frac += 1000000000;
		secs--;
	}
	gmtime_r(&secs, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	if (frac == 0) {
		snprintf(out + n, size - n, "Z");
	} else {
		char digits[16];
		size_t k = (size_t)snprintf(digits, sizeof(digits), "%09lld", (long long)frac);

		while (digits[k - 1] == '0')
			digits[--k] = '\0';
		snprintf(out + n, size - n, ".%sZ", digits);
	}
	return out;
}

char *str_human_size(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1000 && i + 1 < N(units); i++)
		v /= 1000;
	snprintf(out, size, "%.4g%s", v, units[i]);
	return out;
}

char *str_human_duration(int64_t s, char *out, size_t size)
{
	long long m = s / 60, h = (s + 1800) / 3600;

	if (s < 1)
		snprintf(out, size, "Less than a second");
	else if (s == 1)
		snprintf(out, size, "1 second");
	else if (s < 60)
		snprintf(out, size, "%lld seconds", (long long)s);
	else if (m == 1)
		snprintf(out, size, "About a minute");
	else if (m < 60)
		snprintf(out, size, "%lld minutes", m);
	else if (h == 1)
		snprintf(out, size, "About an hour");
	else if (h < 48)
		snprintf(out, size, "%lld hours", h);
	else if (h < 24 * 7 * 2)
		snprintf(out, size, "%lld days", h / 24);
	else if (h < 24 * 30 * 2)
		snprintf(out, size, "%lld weeks", h / 24 / 7);
	else if (h < 24 * 365 * 2)
		snprintf(out, size, "%lld months", h / 24 / 30);
	else
		snprintf(out, size, "%lld years", (long long)s / 3600 / 24 / 365);
	return out;
}

bool str_utf8_valid(const char *str, size_t n)
{
	const unsigned char *s = (const unsigned char *)str;

	for (size_t i = 0; i < n;) {
		unsigned char c = s[i];
		size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

		if (!len || i + len > n)
			return false;
		for (size_t k = 1; k < len; k++) {
			if ((s[i + k] & 0xc0) != 0x80)
				return false;
		}
		/* Overlong forms, surrogates, beyond U+10FFFF. */
		if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] >= 0xa0) ||
		    (c == 0xf0 && s[i + 1] < 0x90) || (c == 0xf4 && s[i + 1] >= 0x90))
			return false;
		i += len;
	}
	return true;
}
