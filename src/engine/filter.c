/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/filter.h"

#include <regex.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

size_t filter_count(const json_t *filters, const char *key)
{
	return json_array_size(json_object_get(filters, key));
}

const char *filter_value(const json_t *filters, const char *key, size_t i)
{
	return json_at(json_object_get(filters, key), i);
}

bool filter_exact(const json_t *filters, const char *key, const char *value)
{
	const char *want;
	size_t i;

	for (i = 0; (want = filter_value(filters, key, i)); i++) {
		if (str_eq(want, value))
			return true;
	}
	return i == 0;
}

bool filter_prefix(const json_t *filters, const char *key, const char *value)
{
	const char *want;
	size_t i;

	for (i = 0; (want = filter_value(filters, key, i)); i++) {
		if (*want && str_starts(value, want))
			return true;
	}
	return i == 0;
}

bool filter_regex(const json_t *filters, const char *key, const char *value)
{
	const char *want;
	size_t i;

	for (i = 0; (want = filter_value(filters, key, i)); i++) {
		regex_t re;
		bool hit;

		/* What a pattern can cost grows with its length and, nested, with its counts. */
		if (strlen(want) > 256 || (strchr(want, '{') && strchr(strchr(want, '{') + 1, '{')) || regcomp(&re, want, REG_EXTENDED | REG_NOSUB) != 0) {
			if (str_eq(want, value))
				return true;
			continue;
		}
		hit = regexec(&re, value, 0, NULL, 0) == 0;
		regfree(&re);
		if (hit)
			return true;
	}
	return i == 0;
}

bool filter_labels(const json_t *filters, const char *key, const json_t *labels)
{
	const char *want;

	for (size_t i = 0; (want = filter_value(filters, key, i)); i++) {
		const char *eq = strchr(want, '='), *have;
		char *name CLEANUP(mem_freep) = eq ? mem_strndup(want, (size_t)(eq - want)) : mem_strdup(want);

		have = json_str(labels, name, NULL);
		if (!have || (eq && !str_eq(have, eq + 1)))
			return false;
	}
	return true;
}

int filter_check(const json_t *filters, const char *const *known, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)filters, key, v) {
		const char *const *k = known;

		while (*k && !str_eq(*k, key))
			k++;
		if (!*k)
			return err_set(e, ERR_INVALID, "invalid filter '%s'", key);
	}
	return 0;
}

int filter_until(const json_t *filters, int64_t now_ns, int64_t *ret, struct err *e)
{
	const char *text = filter_value(filters, "until", 0);

	*ret = 0;
	if (filter_count(filters, "until") > 1)
		return err_set(e, ERR_INVALID, "more than one until filter specified");
	if (text && str_to_time_ns(text, now_ns, ret) < 0)
		return err_set(e, ERR_INVALID, "invalid filter 'until=%s'", text);
	return 0;
}
