/* SPDX-License-Identifier: Apache-2.0 */
#include "base/detach.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int detach_parse(struct detach_keys *k, const char *spec, struct err *e)
{
	char **words CLEANUP(strv_freep) = str_split(str_empty(spec) ? "ctrl-p,ctrl-q" : spec, ',');

	*k = (struct detach_keys){ 0 };
	for (size_t i = 0; words[i]; i++) {
		const char *w = words[i];
		int key = -1;

		if (strlen(w) == 1) {
			key = (unsigned char)*w;
		} else if (str_starts(w, "ctrl-") && strlen(w) == 6) {
			if (w[5] >= 'a' && w[5] <= 'z')
				key = w[5] - 'a' + 1;
			else if (w[5] == '@')
				key = 0;
			else if (strchr("[\\]^_", w[5]))
				key = w[5] - '[' + 27;
		}
		if (key < 0)
			return err_set(e, ERR_INVALID, "invalid detach keys (%s): Unknown character: '%s'", spec, w);
		if (k->n == N(k->keys))
			return err_set(e, ERR_INVALID, "invalid detach keys (%.100s): more than %zu keys", spec, N(k->keys));
		k->keys[k->n++] = (unsigned char)key;
	}
	return 0;
}

bool detach_feed(struct detach_keys *k, const unsigned char *p, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != k->keys[k->seen]) {
			/* The held keys were meant for the program after all. */
			buf_add(out, k->keys, k->seen);
			k->seen = 0;
		}
		if (p[i] != k->keys[k->seen])
			buf_addc(out, (char)p[i]);
		else if (++k->seen == k->n)
			return true;
	}
	return false;
}
