/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/stream.h"

int demux_feed(struct demux *d, const void *data, size_t n, void (*out)(void *user, int stream, const void *p, size_t n), void *user, struct err *e)
{
	const unsigned char *p = data;

	while (n) {
		size_t take;

		if (d->have < sizeof(d->head)) {
			take = sizeof(d->head) - d->have < n ? sizeof(d->head) - d->have : n;
			memcpy(d->head + d->have, p, take);
			d->have += take;
			p += take;
			n -= take;
			if (d->have < sizeof(d->head))
				break;
			if (d->head[0] > 3)
				return err_set(e, ERR_INVALID, "Unrecognized input header: %d", d->head[0]);
			d->left = (uint32_t)d->head[4] << 24 | d->head[5] << 16 | d->head[6] << 8 | d->head[7];
		}
		take = d->left < n ? d->left : n;
		if (take)
			out(user, d->head[0] ? d->head[0] : 1, p, take);
		d->left -= take;
		p += take;
		n -= take;
		if (!d->left)
			d->have = 0;
	}
	return 0;
}

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
