/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

void render_size(struct buf *out, double v)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" };
	size_t i = 0;

	for (; v >= 1000 && i + 1 < N(units); i++)
		v /= 1000;
	buf_printf(out, "%.3g%s", v, units[i]);
}

void render_size_binary(struct buf *out, double v)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB" };
	size_t i = 0;

	for (; v >= 1024 && i + 1 < N(units); i++)
		v /= 1024;
	buf_printf(out, "%.4g%s", v, units[i]);
}

void render_ago(struct buf *out, int64_t then, int64_t now)
{
	char text[48];

	buf_printf(out, "%s ago", str_human_duration(now - then, text, sizeof(text)));
}

void render_time(struct buf *out, int64_t seconds)
{
	char text[64];
	time_t t = (time_t)seconds;
	struct tm tm;

	if (localtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z %Z", &tm))
		buf_adds(out, text);
}

void render_time_nano(struct buf *out, int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	char text[40], zone[8];
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) || !strftime(zone, sizeof(zone), "%z", &tm))
		return;
	buf_printf(out, "%s.%09lld", text, (long long)(ns % 1000000000));
	if (tm.tm_gmtoff == 0)
		buf_addc(out, 'Z');
	else
		buf_printf(out, "%.3s:%s", zone, zone + 3);
}

size_t render_width(const char *s, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++)
		w += ((unsigned char)s[i] & 0xc0) != 0x80;
	return w;
}

void render_ellipsis(struct buf *out, const char *s, size_t max)
{
	size_t len = strlen(s), i = 0;

	if (render_width(s, len) <= max) {
		buf_adds(out, s);
		return;
	}
	/* max - 1 code points and the mark. */
	for (size_t w = 0; i < len && w + 1 < max; w++) {
		do
			i++;
		while (((unsigned char)s[i] & 0xc0) == 0x80);
	}
	buf_add(out, s, i);
	buf_adds(out, "\xe2\x80\xa6");
}

void render_quote(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c == '\n')
			buf_adds(out, "\\n");
		else if (c == '\t')
			buf_adds(out, "\\t");
		else if (c == '\r')
			buf_adds(out, "\\r");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_addc(out, (char)c);
	}
	buf_addc(out, '"');
}

static void render_json_string(struct buf *out, const char *s, size_t n, bool html)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
			buf_printf(out, "\\%c", c == '\b' ? 'b' : c == '\f' ? 'f' : c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
		else if (c < 0x20 || (html && (c == '<' || c == '>' || c == '&')))
			buf_printf(out, "\\u%04x", c);
		else if (c == 0xe2 && i + 2 < n && (unsigned char)s[i + 1] == 0x80 && ((unsigned char)s[i + 2] & 0xfe) == 0xa8)
			/* U+2028 and U+2029 break JavaScript; Go escapes them always. */
			buf_printf(out, "\\u%04x", 0x2028 + ((unsigned char)s[i + 2] & 1)), i += 2;
		else
			buf_addc(out, (char)c);
	}
	buf_addc(out, '"');
}

static void render_real(struct buf *out, double d)
{
	char text[64];

	if (d == floor(d) && fabs(d) < 1e21) {
		buf_printf(out, "%.0f", d);
		return;
	}
	/* The shortest text that reads back as the same number. */
	for (int prec = 1; prec <= 17; prec++) {
		snprintf(text, sizeof(text), "%.*g", prec, d);
		if (strtod(text, NULL) == d)
			break;
	}
	buf_adds(out, text);
}

void render_json(struct buf *out, const json_t *v, bool html)
{
	const char *key;
	json_t *item;
	size_t i, n = 0;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		buf_addc(out, '{');
		json_object_foreach((json_t *)v, key, item) {
			if (n++)
				buf_addc(out, ',');
			render_json_string(out, key, strlen(key), html);
			buf_addc(out, ':');
			render_json(out, item, html);
		}
		buf_addc(out, '}');
		break;
	case JSON_ARRAY:
		buf_addc(out, '[');
		json_array_foreach(v, i, item) {
			if (i)
				buf_addc(out, ',');
			render_json(out, item, html);
		}
		buf_addc(out, ']');
		break;
	case JSON_STRING:
		render_json_string(out, json_string_value(v), json_string_length(v), html);
		break;
	case JSON_INTEGER:
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		render_real(out, json_real_value(v));
		break;
	case JSON_TRUE:
		buf_adds(out, "true");
		break;
	case JSON_FALSE:
		buf_adds(out, "false");
		break;
	case JSON_NULL:
		buf_adds(out, "null");
		break;
	}
}

static int key_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void render_value(struct buf *out, const json_t *v)
{
	const char **keys, *key;
	json_t *item;
	size_t i, n = 0;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		keys = mem_zalloc((json_object_size(v) + 1) * sizeof(*keys));
		json_object_foreach((json_t *)v, key, item)
			keys[n++] = key;
		qsort(keys, n, sizeof(*keys), key_order);
		buf_adds(out, "map[");
		for (i = 0; i < n; i++) {
			buf_printf(out, "%s%s:", i ? " " : "", keys[i]);
			render_value(out, json_object_get(v, keys[i]));
		}
		buf_addc(out, ']');
		free(keys);
		break;
	case JSON_ARRAY:
		buf_addc(out, '[');
		json_array_foreach(v, i, item) {
			if (i)
				buf_addc(out, ' ');
			render_value(out, item);
		}
		buf_addc(out, ']');
		break;
	case JSON_STRING:
		buf_add(out, json_string_value(v), json_string_length(v));
		break;
	case JSON_NULL:
		buf_adds(out, "<nil>");
		break;
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_FALSE:
		render_json(out, v, false);
		break;
	}
}

static void indent_line(struct buf *out, const char *indent, size_t depth)
{
	buf_addc(out, '\n');
	while (depth--)
		buf_adds(out, indent);
}

void render_indent(struct buf *out, const char *s, size_t n, const char *indent)
{
	bool quoted = false, fresh = false;
	size_t depth = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (quoted) {
			buf_addc(out, c);
			if (c == '\\' && i + 1 < n)
				buf_addc(out, s[++i]);
			else if (c == '"')
				quoted = false;
			continue;
		}
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		/* "{}" and "[]" stay together, so the line break waits for the first member. */
		if (fresh && c != '}' && c != ']') {
			fresh = false;
			indent_line(out, indent, ++depth);
		}
		switch (c) {
		case '"':
			quoted = true;
			buf_addc(out, c);
			break;
		case '{':
		case '[':
			fresh = true;
			buf_addc(out, c);
			break;
		case ',':
			buf_addc(out, c);
			indent_line(out, indent, depth);
			break;
		case ':':
			buf_adds(out, ": ");
			break;
		case '}':
		case ']':
			if (fresh)
				fresh = false;
			else if (depth)
				indent_line(out, indent, --depth);
			buf_addc(out, c);
			break;
		default:
			buf_addc(out, c);
		}
	}
}
