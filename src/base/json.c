/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/str.h"

const char *json_str(const json_t *o, const char *key, const char *def)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : def;
}

int64_t json_i64(const json_t *o, const char *key, int64_t def)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_real(v)) {
		double d = json_real_value(v);

		return d > -9.2e18 && d < 9.2e18 ? (int64_t)d : def;
	}
	return json_is_integer(v) ? (int64_t)json_integer_value(v) : def;
}

double json_num(const json_t *o, const char *key, double def)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : def;
}

bool json_flag(const json_t *o, const char *key, bool def)
{
	const json_t *v = json_object_get(o, key);

	return json_is_boolean(v) ? json_is_true(v) : def;
}

json_t *json_obj(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_object(v) ? v : NULL;
}

json_t *json_arr(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_array(v) ? v : NULL;
}

const char *json_at(const json_t *arr, size_t i)
{
	return json_string_value(json_array_get(arr, i));
}

char **json_words(const json_t *o, const char *key)
{
	char **v = NULL;
	json_t *s;
	size_t i;

	json_array_foreach(json_arr(o, key), i, s)
		if (json_is_string(s))
			v = strv_add(v, json_string_value(s));
	return v;
}

json_t *json_path(const json_t *o, const char *dotted)
{
	char part[128];

	while (o && *dotted) {
		size_t n = strcspn(dotted, ".");

		if (n >= sizeof(part))
			return NULL;
		memcpy(part, dotted, n);
		part[n] = '\0';
		o = json_object_get(o, part);
		dotted += n + (dotted[n] == '.');
	}
	return (json_t *)o;
}

/* jansson allows 2048 levels; nobody's request needs that, and our own walks recurse. */
static bool too_deep(const char *p, size_t n)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < n; i++) {
		if (in_string) {
			if (p[i] == '\\')
				i++;
			else if (p[i] == '"')
				in_string = false;
		} else if (p[i] == '"') {
			in_string = true;
		} else if (p[i] == '{' || p[i] == '[') {
			if (++depth > 128)
				return true;
		} else if (p[i] == '}' || p[i] == ']') {
			depth--;
		}
	}
	return false;
}

json_t *json_parse(const char *p, size_t n, const char *what, struct err *e)
{
	json_error_t je;
	json_t *v;

	if (too_deep(p, n)) {
		err_set(e, ERR_INVALID, "%s: nested deeper than 128 levels", what);
		return NULL;
	}
	v = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
	if (!v)
		err_set(e, ERR_INVALID, "%s: line %d column %d: %s", what, je.line, je.column, je.text);
	return v;
}

json_t *json_parse_file_at(int dirfd, const char *path, size_t limit, struct err *e)
{
	struct buf b = BUF_INIT;
	json_t *v = NULL;
	int r = file_read_at(dirfd, path, limit, &b);

	if (r < 0)
		err_errno(e, -r, "cannot read %s", path);
	else
		v = json_parse(b.data ? b.data : "", b.len, path, e);
	buf_done(&b);
	return v;
}

char *json_text(const json_t *o)
{
	struct buf b = { .limit = SIZE_MAX / 2 };

	jsonw_value(&b, o);
	return buf_take(&b);
}

json_t *json_bytes(const char *p, size_t n)
{
	json_t *v = json_stringn(p, n);
	struct buf b = BUF_INIT;

	if (v)
		return v;
	/* Not UTF-8: keep what is, one U+FFFD for each byte that is not. */
	b.limit = 3 * n + 1;
	for (size_t i = 0; i < n;) {
		size_t len = 0;

		for (size_t k = 1; k <= 4 && i + k <= n && !len; k++)
			len = str_utf8_valid(p + i, k) ? k : 0;
		if (len)
			buf_add(&b, p + i, len);
		else
			buf_adds(&b, "\xef\xbf\xbd");
		i += len ? len : 1;
	}
	v = json_stringn(b.data ? b.data : "", b.len);
	buf_done(&b);
	return v ? v : json_string("");
}

void json_freep(json_t **o)
{
	json_decref(*o);
	*o = NULL;
}
