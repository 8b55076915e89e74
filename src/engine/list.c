/* SPDX-License-Identifier: Apache-2.0 */
/* ContainerSummary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/endpoints.h"
#include "engine/mounts.h"
#include "engine/published.h"
#include "engine/select.h"
#include "engine/size.h"

static char *status_text(const struct container *c)
{
	const json_t *s = doc_state(c);
	const char *status = json_str(s, "Status", ""), *health = json_str(json_obj(s, "Health"), "Status", "");
	int64_t now = clock_wall();
	char span[64];

	if (str_eq(status, "running")) {
		str_human_duration((now - doc_time(s, "StartedAt")) / 1000000000, span, sizeof(span));
		return mem_printf("Up %s%s%s%s", span, *health ? str_eq(health, "starting") ? " (health: " : " (" : "", health, *health ? ")" : "");
	}
	if (str_eq(status, "paused")) {
		str_human_duration((now - doc_time(s, "StartedAt")) / 1000000000, span, sizeof(span));
		return mem_printf("Up %s (Paused)", span);
	}
	if (str_eq(status, "created"))
		return mem_strdup("Created");
	str_human_duration((now - doc_time(s, "FinishedAt")) / 1000000000, span, sizeof(span));
	return mem_printf("%s (%lld) %s ago", str_eq(status, "restarting") ? "Restarting" : "Exited", (long long)json_i64(s, "ExitCode", 0), span);
}

/* docker's COMMAND column is the path and arguments, joined. */
static json_t *command_text(const struct container *c)
{
	struct buf b = BUF_INIT;
	json_t *v, *out;
	size_t i;

	buf_adds(&b, json_str(c->doc, "Path", ""));
	json_array_foreach(json_object_get(c->doc, "Args"), i, v) {
		const char *s = json_string_value(v);
		bool quote = !*s || strpbrk(s, " \t\n'\"");

		buf_addc(&b, ' ');
		if (quote && strchr(s, '\'') == NULL) {
			buf_printf(&b, "'%s'", s);
		} else if (quote) {
			buf_addc(&b, '\'');
			for (; *s; s++) {
				if (*s == '\'')
					buf_adds(&b, "\\'");
				else
					buf_addc(&b, *s);
			}
			buf_addc(&b, '\'');
		} else {
			buf_adds(&b, s);
		}
	}
	out = json_bytes(b.data, b.len);
	buf_done(&b);
	return out;
}

/* The name it was made with, or the image's id when that name means another image by now. */
static const char *image_name(const struct container *c)
{
	const char *name = json_str(c->doc, "ImageName", ""), *id = json_str(c->doc, "Image", "");
	struct image *im = image_find(c->en->images, name, NULL);

	return im && str_eq(image_id(im), id) ? name : id;
}

static json_t *summary(const struct container *c, bool size)
{
	char *status CLEANUP(mem_freep) = status_text(c);
	json_t *doc = json_pack("{s:s, s:[O], s:s, s:s, s:o, s:I, s:o, s:o, s:O, s:s, s:{s:s}, s:{s:o}, s:o}", "Id", c->id,
			"Names", json_object_get(c->doc, "Name"), "Image", image_name(c), "ImageID", json_str(c->doc, "Image", ""),
			"Command", command_text(c), "Created", (json_int_t)(c->created_ns / 1000000000), "Ports", published_list(c),
			"State", json_string(json_str(doc_state(c), "Status", "")), "Labels", json_object_get(doc_config(c), "Labels"),
			"Status", status, "HostConfig", "NetworkMode", doc_network(c), "NetworkSettings", "Networks", endpoints_shape(c), "Mounts",
				mounts_shape(doc_mounts(c)));
	if (size)
		size_put(c, doc);
	return doc;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;

	return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

json_t *engine_list(struct engine *en, bool all, int limit, bool size, const json_t *filters, struct err *e)
{
	struct container **v = mem_alloc((map_len(en->by_id) + 1) * sizeof(*v)), *c;
	json_t *out = NULL;
	size_t it = 0, n = 0;
	struct select sel;

	if (select_init(&sel, en, filters, all || limit > 0, e) < 0)
		goto out;
	while ((c = map_next(en->by_id, &it, NULL))) {
		if (select_early(&sel, c))
			v[n++] = c;
	}
	qsort(v, n, sizeof(*v), newest_first);
	out = json_array();
	for (size_t i = 0; i < n && (limit <= 0 || (int)json_array_size(out) < limit); i++) {
		json_t *doc = summary(v[i], size);

		if (select_summary(&sel, doc))
			json_array_append_new(out, doc);
		else
			json_decref(doc);
	}
out:
	free(v);
	return out;
}
