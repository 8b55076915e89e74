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
