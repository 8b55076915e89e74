/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of templates: Go's own and docker's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/render.h"
#include "cli/template_priv.h"

enum { PAD_MAX = 4096 };

bool template_truth(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_STRING:
		return json_string_length(v) > 0;
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_REAL:
		return json_real_value(v) != 0;
	case JSON_TRUE:
		return true;
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return false;
}

void template_print(struct buf *out, const json_t *v)
{
	if (json_is_null(v))
		buf_adds(out, "<no value>");
	else
		render_value(out, v);
}

static json_t *text_of(struct buf *b)
{
	json_t *v = json_bytes(b->data ? b->data : "", b->len);

	buf_done(b);
	return v;
}

#define FN(name) static json_t *fn_##name(const struct template_args *a, json_t *const *args, size_t n, struct err *e)
#define BAD(...) (err_set(e, ERR_INVALID, __VA_ARGS__), (json_t *)NULL)

FN(json)
{
	struct buf b = BUF_INIT;

	if (a->header)
		return json_incref(args[0]);
	render_json(&b, args[0], a->html && args[0] == a->dot);
	return text_of(&b);
}

FN(print)
{
	struct buf b = BUF_INIT;

	/* fmt.Sprint puts a space between two operands when neither is a string. */
	for (size_t i = 0; i < n; i++) {
		if (i && !json_is_string(args[i]) && !json_is_string(args[i - 1]))
			buf_addc(&b, ' ');
		render_value(&b, args[i]);
	}
	return text_of(&b);
}

FN(println)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(&b, ' ');
		render_value(&b, args[i]);
	}
	buf_addc(&b, '\n');
	return text_of(&b);
}

static void format_one(struct buf *b, const char *flags, char verb, const json_t *v)
{
	struct buf t = BUF_INIT;
	char spec[48];

	switch (verb) {
	case 'd': case 'x': case 'X': case 'o': case 'c':
		if (json_is_integer(v)) {
			snprintf(spec, sizeof(spec), "%%%s%s%c", flags, verb == 'c' ? "" : "ll", verb);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			if (verb == 'c')
				buf_printf(b, spec, (int)json_integer_value(v));
			else
				buf_printf(b, spec, (long long)json_integer_value(v));
			return;
		}
		break;
	case 'f': case 'e': case 'g':
		if (json_is_real(v)) {
			snprintf(spec, sizeof(spec), "%%%s%c", flags, verb);
			buf_printf(b, spec, json_real_value(v));
			return;
		}
		break;
	case 't':
		if (json_is_boolean(v)) {
			render_value(b, v);
			return;
		}
		break;
	case 's': case 'v': case 'q':
		if (verb == 'q' && !json_is_string(v))
			break;
		if (verb == 'q')
			render_quote(&t, json_string_value(v));
		else
			render_value(&t, v);
		snprintf(spec, sizeof(spec), "%%%ss", flags);
		buf_printf(b, spec, t.data ? t.data : "");
#pragma GCC diagnostic pop
		buf_done(&t);
		return;
	}
	render_value(&t, v);
	buf_printf(b, "%%!%c(%s=%s)", verb, json_is_string(v) ? "string" : json_is_integer(v) ? "int" : json_is_real(v) ? "float64" :
		   json_is_boolean(v) ? "bool" : "interface {}", t.data ? t.data : "");
	buf_done(&t);
}

FN(printf)
{
	struct buf b = BUF_INIT;
	size_t next = 1;

	if (!n || !json_is_string(args[0]))
		return BAD("error calling printf: the format is not a string");
	for (const char *p = json_string_value(args[0]); *p; p++) {
		char flags[24] = "";
		size_t len;

		if (*p != '%') {
			buf_addc(&b, *p);
			continue;
		}
		p++;
		len = strspn(p, "-+ #0123456789.");
		if (len >= sizeof(flags) || atoi(p + strspn(p, "-+ #0")) > PAD_MAX)
			return buf_done(&b), BAD("error calling printf: '%.30s' is too wide", p);
		memcpy(flags, p, len);
		p += len;
		if (!*p) {
			buf_adds(&b, "%!(NOVERB)");
			break;
		}
		if (*p == '%')
			buf_addc(&b, '%');
		else if (next >= n)
			buf_printf(&b, "%%!%c(MISSING)", *p);
		else
			format_one(&b, flags, *p, args[next++]);
	}
	for (size_t i = next; i < n; i++) {
		buf_adds(&b, i == next ? "%!(EXTRA " : ", ");
		render_value(&b, args[i]);
	}
	if (next < n)
		buf_addc(&b, ')');
	return text_of(&b);
}

FN(len)
{
	if (json_is_string(args[0]))
		return json_integer((json_int_t)json_string_length(args[0]));
	if (json_is_array(args[0]))
		return json_integer((json_int_t)json_array_size(args[0]));
	if (json_is_object(args[0]))
		return json_integer((json_int_t)json_object_size(args[0]));
	return json_is_null(args[0]) ? BAD("error calling len: len of nil pointer") : BAD("error calling len: len of a value that has none");
}

FN(index)
{
	json_t *v = args[0];

	for (size_t i = 1; i < n; i++) {
		if (json_is_object(v)) {
			if (!json_is_string(args[i]))
				return BAD("error calling index: value has type int; should be string");
			v = json_object_get(v, json_string_value(args[i]));
			if (!v)		/* Go gives the zero value of the map's type */
				return i + 1 < n ? BAD("error calling index: index of nil pointer") : json_string("");
		} else if (json_is_array(v)) {
			json_int_t k = json_integer_value(args[i]);

			if (!json_is_integer(args[i]))
				return BAD("error calling index: cannot index slice/array with type string");
			if (k < 0 || (size_t)k >= json_array_size(v))
				return BAD("error calling index: index out of range: %lld", (long long)k);
			v = json_array_get(v, (size_t)k);
		} else if (json_is_string(v) && json_is_integer(args[i])) {
			json_int_t k = json_integer_value(args[i]);

			if (k < 0 || (size_t)k >= json_string_length(v))
				return BAD("error calling index: index out of range: %lld", (long long)k);
			return json_integer((unsigned char)json_string_value(v)[k]);
		} else {
			return json_is_null(v) ? BAD("error calling index: index of untyped nil") : BAD("error calling index: can't index item");
		}
	}
	return json_incref(v);
}

FN(slice)
{
	json_int_t size = json_is_string(args[0]) ? (json_int_t)json_string_length(args[0]) : (json_int_t)json_array_size(args[0]);
	json_int_t from = n > 1 ? json_integer_value(args[1]) : 0, to = n > 2 ? json_integer_value(args[2]) : size;
	json_t *out;

	if (!json_is_string(args[0]) && !json_is_array(args[0]))
		return BAD("error calling slice: can't slice item");
	if (from < 0 || to > size || from > to)
		return BAD("error calling slice: index out of range: %lld", (long long)(to > size ? to : from));
	if (json_is_string(args[0]))
		return json_bytes(json_string_value(args[0]) + from, (size_t)(to - from));
	out = json_array();
	for (json_int_t i = from; i < to; i++)
		json_array_append(out, json_array_get(args[0], (size_t)i));
	return out;
}

static bool equal(const json_t *x, const json_t *y)
{
	if (json_is_number(x) && json_is_number(y))
		return json_number_value(x) == json_number_value(y);
	return json_equal(x, y);
}

FN(not)
{
	return json_boolean(!template_truth(args[0]));
}

static bool comparable(const json_t *x, const json_t *y)
{
	return json_typeof(x) == json_typeof(y) || (json_is_number(x) && json_is_number(y)) || (json_is_boolean(x) && json_is_boolean(y)) ||
	       json_is_null(x) || json_is_null(y);
}

FN(eq)
{
	for (size_t i = 1; i < n; i++) {
		if (!comparable(args[0], args[i]))
			return BAD("error calling eq: incompatible types for comparison");
		if (equal(args[0], args[i]))
			return json_true();
	}
	return json_false();
}

FN(ne)
{
	if (!comparable(args[0], args[1]))
		return BAD("error calling ne: incompatible types for comparison");
	return json_boolean(!equal(args[0], args[1]));
}

static int order(json_t *const *args, const char *name, int *ret, struct err *e)
{
	if (json_is_string(args[0]) && json_is_string(args[1]))
		*ret = strcmp(json_string_value(args[0]), json_string_value(args[1]));
	else if (json_is_number(args[0]) && json_is_number(args[1]))
		*ret = json_number_value(args[0]) < json_number_value(args[1]) ? -1 : json_number_value(args[0]) > json_number_value(args[1]);
	else
		return err_set(e, ERR_INVALID, "error calling %s: incompatible types for comparison", name);
	return 0;
}

#define FN_ORDER(name, op) \
	FN(name) \
	{ \
		int c; \
\
		return order(args, #name, &c, e) < 0 ? NULL : json_boolean(c op 0); \
	}
FN_ORDER(lt, <)
FN_ORDER(le, <=)
FN_ORDER(gt, >)
FN_ORDER(ge, >=)

FN(split)
{
	const char *s = json_string_value(args[0]), *sep = json_string_value(args[1]), *next;
	json_t *out;

	if (a->header)
		return json_incref(args[0]);
	if (!s || !sep)
		return BAD("wrong type for value; expected string");
	out = json_array();
	for (size_t len = strlen(sep); (next = len ? strstr(s, sep) : *s && s[1] ? s + 1 : NULL); s = next + len)
		json_array_append_new(out, json_bytes(s, (size_t)(next - s)));
	json_array_append_new(out, json_string(s));
	return out;
}

FN(join)
{
	const char *sep = json_string_value(args[1]);
	struct buf b = BUF_INIT;
	json_t *item;
	size_t i;

	if (a->header)
		return json_incref(args[0]);
	if (!sep || (!json_is_array(args[0]) && !json_is_null(args[0])))
		return BAD("wrong type for value; expected []string");
	json_array_foreach(args[0], i, item) {
		if (i)
			buf_adds(&b, sep);
		render_value(&b, item);
	}
	return text_of(&b);
}

static json_t *map_case(const struct template_args *a, json_t *v, int mode, struct err *e)
{
	struct buf b = BUF_INIT;
	bool start = true;

	if (a->header)
		return json_incref(v);
	if (!json_is_string(v))
		return BAD("wrong type for value; expected string");
	for (const char *p = json_string_value(v); *p; p++) {
		char c = *p;

		if (c >= 'a' && c <= 'z' && (mode > 0 || (mode == 0 && start)))
			c = (char)(c - 'a' + 'A');
		else if (c >= 'A' && c <= 'Z' && mode < 0)
			c = (char)(c - 'A' + 'a');
		start = c == ' ' || c == '\t' || c == '\n';
		buf_addc(&b, c);
	}
	return text_of(&b);
}

FN(title) { return map_case(a, args[0], 0, e); }
FN(upper) { return map_case(a, args[0], 1, e); }
FN(lower) { return map_case(a, args[0], -1, e); }

FN(pad)
{
	json_int_t before = json_integer_value(args[1]), after = json_integer_value(args[2]);
	struct buf b = BUF_INIT;

	if (a->header)
		return json_incref(args[0]);
	if (!json_is_string(args[0]) || before < 0 || after < 0 || before > PAD_MAX || after > PAD_MAX)
		return BAD("error calling pad: give a string and two numbers from 0 to %d", PAD_MAX);
	if (json_string_length(args[0])) {
		buf_printf(&b, "%*s", (int)before, "");
		buf_adds(&b, json_string_value(args[0]));
		buf_printf(&b, "%*s", (int)after, "");
	}
	return text_of(&b);
}

FN(truncate)
{
	json_int_t max = json_integer_value(args[1]);
	const char *s = json_string_value(args[0]);

	if (a->header)
		return json_incref(args[0]);
	if (!s || max < 0)
		return BAD("error calling truncate: give a string and a number");
	return json_bytes(s, (size_t)max < strlen(s) ? (size_t)max : strlen(s));
}

FN(html)
{
	json_t *v = fn_print(a, args, n, e);
	struct buf b = BUF_INIT;

	for (const char *p = json_string_value(v); *p; p++) {
		if (strchr("&<>'\"", *p))
			buf_adds(&b, *p == '&' ? "&amp;" : *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : *p == '"' ? "&#34;" : "&#39;");
		else
			buf_addc(&b, *p);
	}
	json_decref(v);
	return text_of(&b);
}

static const struct fn {
	const char *name;
	size_t min, max;	/* arguments */
	json_t *(*call)(const struct template_args *a, json_t *const *args, size_t n, struct err *e);
} fns[] = {
	{ "and", 1, 99, NULL }, { "or", 1, 99, NULL },	/* these stop early: template_run.c */
	{ "json", 1, 1, fn_json }, { "print", 0, 99, fn_print }, { "println", 0, 99, fn_println }, { "printf", 1, 99, fn_printf },
	{ "len", 1, 1, fn_len }, { "index", 1, 99, fn_index }, { "slice", 1, 3, fn_slice }, { "not", 1, 1, fn_not },
	{ "eq", 2, 99, fn_eq }, { "ne", 2, 2, fn_ne }, { "lt", 2, 2, fn_lt }, { "le", 2, 2, fn_le }, { "gt", 2, 2, fn_gt },
	{ "ge", 2, 2, fn_ge }, { "split", 2, 2, fn_split }, { "join", 2, 2, fn_join }, { "title", 1, 1, fn_title },
	{ "upper", 1, 1, fn_upper }, { "lower", 1, 1, fn_lower }, { "pad", 3, 3, fn_pad }, { "truncate", 2, 2, fn_truncate },
	{ "html", 0, 99, fn_html },
};

bool template_fn_known(const char *name)
{
	for (size_t i = 0; i < N(fns); i++) {
		if (str_eq(fns[i].name, name))
			return true;
	}
	return false;
}

json_t *template_fn_call(const struct template_args *a, const char *name, json_t *const *args, size_t n, struct err *e)
{
	const struct fn *f = fns;

	while (!str_eq(f->name, name))	/* the parser let known names through only */
		f++;
	if (n < f->min || n > f->max || !f->call)
		return BAD("wrong number of args for %s: want %s%zu got %zu", name, f->max == f->min ? "" : "at least ", f->min, n);
	return f->call(a, args, n, e);
}
