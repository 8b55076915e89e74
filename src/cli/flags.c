/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static const char *const type_words[] = {
	[FLAG_BOOL] = "", [FLAG_STRING] = "string", [FLAG_LIST] = "list", [FLAG_INT] = "int",
	[FLAG_BYTES] = "bytes", [FLAG_DURATION] = "duration", [FLAG_DECIMAL] = "decimal",
};
_Static_assert(N(type_words) == FLAG_TYPE_COUNT, "a word for each type");

static size_t defs_len(const struct flag_def *defs)
{
	size_t n = 0;

	while (defs[n].name)
		n++;
	return n;
}

static const struct flag_def *find_long(const struct flag_def *defs, const char *name, size_t len)
{
	for (; defs->name; defs++) {
		if (strlen(defs->name) == len && !memcmp(defs->name, name, len))
			return defs;
	}
	return NULL;
}

static const struct flag_def *find_letter(const struct flag_def *defs, char letter)
{
	for (; defs->name; defs++) {
		if (defs->letter == letter)
			return defs;
	}
	return NULL;
}

static int parse_bool(const char *text, int64_t *ret)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" }, *const no[] = { "0", "f", "F", "FALSE", "false", "False" };

	for (size_t i = 0; i < N(yes); i++) {
		if (str_eq(text, yes[i]) || str_eq(text, no[i])) {
			*ret = str_eq(text, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static int set_value(const struct flag_def *d, struct flag_value *v, const char *text, struct err *e)
{
	char why[1024] = "", full[80], *end;
	struct err verdict = { 0 };
	uint64_t size;

	if (d->check && d->check(text, &verdict) < 0)
		snprintf(why, sizeof(why), "%s", verdict.msg);
	switch (d->type) {
	case FLAG_BOOL:
		if (parse_bool(text, &v->number) < 0)
			snprintf(why, sizeof(why), "strconv.ParseBool: parsing \"%.200s\": invalid syntax", text);
		break;
	case FLAG_INT:
		if (str_to_i64(text, INT64_MIN, INT64_MAX, &v->number) < 0)
			snprintf(why, sizeof(why), "strconv.ParseInt: parsing \"%.200s\": invalid syntax", text);
		break;
	case FLAG_BYTES:
		if (str_eq(text, "-1"))
			v->number = -1;
		else if (str_to_size(text, &size) < 0 || size > INT64_MAX)
			snprintf(why, sizeof(why), "invalid size: '%.200s'", text);
		else
			v->number = (int64_t)size;
		break;
	case FLAG_DURATION:
		if (str_to_duration_ns(text, &v->number) < 0)
			snprintf(why, sizeof(why), "time: invalid duration \"%.200s\"", text);
		break;
	case FLAG_DECIMAL:
		v->decimal = strtod(text, &end);
		if (!*text || *end || !(v->decimal >= 0) || v->decimal > 1e9)
			snprintf(why, sizeof(why), "failed to parse %.200s as a rational number", text);
		break;
	case FLAG_STRING:
	case FLAG_LIST:
	case FLAG_TYPE_COUNT:
		break;
	}
	if (*why) {
		snprintf(full, sizeof(full), "%s%.1s%s--%s", d->letter ? "-" : "", d->letter ? &d->letter : "", d->letter ? ", " : "", d->name);
		return err_set(e, ERR_INVALID, "invalid argument \"%.200s\" for \"%s\" flag: %s", text, full, why);
	}
	v->given = true;
	free(v->text);
	v->text = mem_strdup(text);
	if (d->type == FLAG_LIST)
		v->list = strv_add(v->list, text);
	return 0;
}

/* Looks at argv[*at], which begins with "--"; moves *at past a value taken from the next word. */
static int parse_long(struct flags *f, char **argv, int *at, struct err *e)
{
	const char *name = argv[*at] + 2, *value = strchr(name, '=');
	size_t len = value ? (size_t)(value - name) : strlen(name);
	const struct flag_def *d;

	if (!len || *name == '-')
		return err_set(e, ERR_INVALID, "bad flag syntax: %s", argv[*at]);
	d = find_long(f->defs, name, len);
	if (!d && len == 4 && !memcmp(name, "help", 4)) {
		f->help = true;
		return 0;
	}
	if (!d)
		return err_set(e, ERR_INVALID, "unknown flag: --%.*s", (int)(len > 200 ? 200 : len), name);
	if (value)
		value++;
	else if (d->type == FLAG_BOOL)
		value = "true";
	else if (argv[*at + 1])
		value = argv[++*at];
	else
		return err_set(e, ERR_INVALID, "flag needs an argument: --%s", d->name);
	return set_value(d, &f->values[d - f->defs], value, e);
}

static int parse_letters(struct flags *f, char **argv, int *at, struct err *e)
{
	const char *word = argv[*at] + 1;

	for (const char *p = word; *p; p++) {
		const struct flag_def *d = find_letter(f->defs, *p);
		const char *value;

		if (!d && *p == 'h') {
			f->help = true;
			return 0;
		}
		if (!d)
			return err_set(e, ERR_INVALID, "unknown shorthand flag: '%c' in -%.200s", *p, p);
		if (d->type == FLAG_BOOL && p[1] != '=') {
			if (set_value(d, &f->values[d - f->defs], "true", e) < 0)
				return -1;
			continue;
		}
		if (p[1])
			value = p[1] == '=' ? p + 2 : p + 1;
		else if (argv[*at + 1])
			value = argv[++*at];
		else
			return err_set(e, ERR_INVALID, "flag needs an argument: '%c' in -%.200s", *p, word);
		return set_value(d, &f->values[d - f->defs], value, e);
	}
	return 0;
}

int flags_parse(struct flags *f, const struct flag_def *defs, char **argv, bool interspersed, struct err *e)
{
	int argc = 0, r;

	while (argv[argc])
		argc++;
	*f = (struct flags){ .defs = defs };
	f->values = mem_zalloc((defs_len(defs) + 1) * sizeof(*f->values));
	f->args = mem_zalloc(((size_t)argc + 1) * sizeof(*f->args));
	for (int i = 0; i < argc; i++) {
		if (str_eq(argv[i], "--")) {
			while (++i < argc)
				f->args[f->argc++] = argv[i];
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			f->args[f->argc++] = argv[i];
			if (interspersed)
				continue;
			while (++i < argc)
				f->args[f->argc++] = argv[i];
			break;
		}
		r = argv[i][1] == '-' ? parse_long(f, argv, &i, e) : parse_letters(f, argv, &i, e);
		if (r < 0 || f->help)
			return r;
	}
	return 0;
}

void flags_done(struct flags *f)
{
	for (size_t i = 0, n = f->defs ? defs_len(f->defs) : 0; f->values && i < n; i++) {
		free(f->values[i].text);
		strv_free(f->values[i].list);
	}
	free(f->values);
	free(f->args);
	*f = (struct flags){ 0 };
}

static const struct flag_value *value_of(const struct flags *f, const char *name, const struct flag_def **d)
{
	*d = find_long(f->defs, name, strlen(name));
	if (!*d) {
		fprintf(stderr, "kedge: no flag is called '%s'\n", name);
		abort();
	}
	return &f->values[*d - f->defs];
}

bool flag_given(const struct flags *f, const char *name)
{
	const struct flag_def *d;

	return value_of(f, name, &d)->given;
}

bool flag_bool(const struct flags *f, const char *name)
{
	const struct flag_def *d;
	const struct flag_value *v = value_of(f, name, &d);

	return v->given ? v->number : str_eq(d->def, "true");
}

const char *flag_str(const struct flags *f, const char *name)
{
	const struct flag_def *d;
	const struct flag_value *v = value_of(f, name, &d);

	return v->given ? v->text : d->def ? d->def : "";
}

char *const *flag_list(const struct flags *f, const char *name)
{
	static char *const none[] = { NULL };
	const struct flag_def *d;
	const struct flag_value *v = value_of(f, name, &d);

	return v->list ? v->list : none;
}

int64_t flag_int(const struct flags *f, const char *name)
{
	const struct flag_def *d;
	const struct flag_value *v = value_of(f, name, &d);
	int64_t def = 0;

	if (v->given)
		return v->number;
	if (d->def)
		(void)str_to_i64(d->def, INT64_MIN, INT64_MAX, &def);	/* the table's own text */
	return def;
}

double flag_decimal(const struct flags *f, const char *name)
{
	const struct flag_def *d;

	return value_of(f, name, &d)->decimal;
}

void flags_help(struct buf *out, const struct flag_def *defs, size_t columns)
{
	size_t left = 0, room;

	for (const struct flag_def *d = defs; d->name; d++) {
		const char *word = d->word ? d->word : type_words[d->type];
		size_t w = strlen("  -x, --") + strlen(d->name) + (*word ? 1 + strlen(word) : 0) + 3;

		if (!d->hidden && w > left)
			left = w;
	}
	room = columns > left + 24 ? columns - left : 24;
	for (const struct flag_def *d = defs; d->name; d++) {
		const char *word = d->word ? d->word : type_words[d->type];
		char *text CLEANUP(mem_freep) = NULL;
		size_t start = out->len, used = 0;

		if (d->hidden)
			continue;
		if (d->letter)
			buf_printf(out, "  -%c, --%s", d->letter, d->name);
		else
			buf_printf(out, "      --%s", d->name);
		if (*word)
			buf_printf(out, " %s", word);
		while (out->len - start < left)
			buf_addc(out, ' ');
		text = d->def && d->type != FLAG_BOOL ? mem_printf(d->type == FLAG_STRING ? "%s (default \"%s\")" : "%s (default %s)", d->help, d->def) :
		       str_eq(d->def, "true") ? mem_printf("%s (default true)", d->help) : mem_strdup(d->help);
		for (const char *p = text; *p;) {
			size_t n = strcspn(p, " ");

			if (used && used + 1 + n > room) {
				buf_printf(out, "\n%*s", (int)left, "");
				used = 0;
			} else if (used) {
				buf_addc(out, ' ');
				used++;
			}
			buf_add(out, p, n);
			used += n;
			p += n + (p[n] == ' ');
		}
		buf_addc(out, '\n');
	}
}
