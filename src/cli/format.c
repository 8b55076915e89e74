/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists by docker's formatter rules: each row goes through the template as it comes; a "table" template is run once more over the
 * columns' names for the header, and all of it is then laid out in columns.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/template.h"

char *format_unescape(const char *text)
{
	struct buf b = BUF_INIT;

	for (; *text; text++) {
		if (text[0] == '\\' && (text[1] == 't' || text[1] == 'n'))
			buf_addc(&b, *++text == 't' ? '\t' : '\n');
		else
			buf_addc(&b, *text);
	}
	return buf_take(&b);
}

/*
 * A field that does not exist is told of before anything is asked from the engine; so the text is run once over an empty row,
 * with the word "table" in it, because the places in docker's sentences count from there. Other errors may come from the row's
 * emptiness and mean nothing.
 */
static int check_fields(const struct format *f, const char *text, struct err *e)
{
	struct template *t = template_parse(text, e);
	json_t *row CLEANUP(json_freep) = json_object(), *none CLEANUP(json_freep) = json_object();
	struct template_args a = { .dot = row, .type = f->type, .method = f->method, .user = none };
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	int r;

	if (!t)
		return err_wrap(e, "failed to parse template");
	for (const struct format_column *c = f->columns; c->field; c++)
		json_object_set_new(row, c->field, json_string(""));
	r = template_run(t, &a, &out, e);
	template_free(t);
	return r < 0 && strstr(e->msg, "can't evaluate field") ? err_wrap(e, "failed to execute template") : 0;
}

int format_open(struct format *f, const char *text, const char *table, struct err *e)
{
	char *plain CLEANUP(mem_freep) = NULL, *start, *end;

	if (str_empty(text) || str_eq(text, "table"))
		text = table;
	if (str_eq(text, "json"))
		text = "{{json .}}";
	f->table = str_starts(text, "table");
	plain = format_unescape(text);
	if (text != table && check_fields(f, plain, e) < 0)
		return -1;
	start = plain + (f->table ? 5 : 0);
	start += strspn(start, " ");
	end = start + strlen(start);
	while (end > start && end[-1] == ' ')
		*--end = '\0';
	f->t = template_parse(start, e);
	if (!f->t)
		return err_wrap(e, "failed to parse template");
	return 0;
}

static int key_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *format_sorted(json_t *row)
{
	const char *keys[64], *key;
	json_t *item, *out = json_object();
	size_t n = 0;

	json_object_foreach(row, key, item) {
		if (n < N(keys))
			keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), key_order);
	for (size_t i = 0; i < n; i++)
		json_object_set(out, keys[i], json_object_get(row, keys[i]));
	json_decref(row);
	return out;
}

/* docker makes {{json .}} of a row from a Go map, so its keys come sorted. */
int format_row(struct format *f, json_t *row, struct err *e)
{
	static const struct template_nil nil = { NULL, "<nil>", false };
	json_t *none CLEANUP(json_freep) = json_object();
	struct template_args a = { .dot = format_sorted(row), .type = f->type, .html = true, .nils = &nil, .method = f->method, .user = f->labels ? f->labels : none };
	int r;

	r = template_run(f->t, &a, &f->out, e);
	buf_addc(&f->out, '\n');
	json_decref(a.dot);
	return r < 0 ? err_wrap(e, "failed to execute template") : 0;
}

int format_close(struct format *f, bool print, struct err *e)
{
	struct buf text CLEANUP(buf_done) = BUF_INIT, laid CLEANUP(buf_done) = BUF_INIT;
	json_t *header CLEANUP(json_freep) = json_object();
	struct template_args a = { .dot = header, .header = true, .method = f->method };
	int r = 0;

	for (const struct format_column *c = f->columns; c->field; c++)
		json_object_set_new(header, c->field, json_string(c->header));
	if (print && f->table) {
		r = template_run(f->t, &a, &text, e);
		buf_addc(&text, '\n');
		buf_add(&text, f->out.data, f->out.len);
		render_table(&laid, text.data, text.len);
		if (r == 0)
			cli_out(&laid);
	} else if (print) {
		cli_out(&f->out);
	}
	template_free(f->t);
	f->t = NULL;
	buf_done(&f->out);
	return r;
}
