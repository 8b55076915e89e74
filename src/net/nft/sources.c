/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/nft/nft_priv.h"

/*
 * Who may use an endpoint's published ports. The list is the endpoint's, one for all its ports: it goes with its address. Prefixes that are part of
 * another one of the list are left out, for the kernel takes no intervals that overlap.
 */

static struct elem limited(const struct in6_addr *endpoint)
{
	struct elem el = { .set = addr_is4(endpoint) ? SET_LIMITED4 : SET_LIMITED6 };

	(void)elem_put_addr(el.key, endpoint);
	return el;
}

static struct elem source(const struct in6_addr *endpoint, const struct net_cidr *c)
{
	struct elem el = { .set = addr_is4(endpoint) ? SET_SOURCES4 : SET_SOURCES6 };
	struct in6_addr last = cidr_last(c);
	size_t at = elem_put_addr(el.key, endpoint);

	(void)elem_put_addr(el.end, endpoint);
	(void)elem_put_addr(el.key + at, &c->addr);
	(void)elem_put_addr(el.end + at, &last);
	return el;
}

static bool is_part(const struct dp_publish *p, size_t i)
{
	for (size_t k = 0; k < p->n_sources; k++)
		if (k != i && cidr_has(&p->sources[k], &p->sources[i].addr) &&
		    (p->sources[k].prefix < p->sources[i].prefix || (p->sources[k].prefix == p->sources[i].prefix && k < i)))
			return true;
	return false;
}

int sources_put(struct datapath *d, const struct dp_publish *p, struct err *e)
{
	struct elem el = limited(&p->addr);
	int r = 0;

	if (!(d->can & CAN_SOURCES))
		return err_set(e, ERR_NOT_IMPLEMENTED, "lists of sources for published ports need a kernel from 5.6 on with the data path nft");
	for (size_t i = 0; i < p->n_sources && r == 0; i++) {
		struct elem one;

		if (addr_is4(&p->sources[i].addr) != addr_is4(&p->addr) || is_part(p, i))
			continue;
		one = source(&p->addr, &p->sources[i]);
		r = elem_put(d, &one);
	}
	/* Last: until then nobody of the list is turned away, and nothing is published yet. */
	if (r == 0)
		r = elem_put(d, &el);
	return r < 0 ? err_errno(e, -r, "nftables: cannot take a list of sources into the table") : 0;
}

void sources_del(struct datapath *d, const struct in6_addr *endpoint)
{
	struct elem el = limited(endpoint), *all = NULL;
	enum nft_set set = addr_is4(endpoint) ? SET_SOURCES4 : SET_SOURCES6;
	size_t len = addr_is4(endpoint) ? 4 : 16, n = 0, it = 0;
	const struct elem *x;

	if (!(d->can & CAN_SOURCES))
		return;
	while ((x = map_next(d->elems, &it, NULL))) {
		if ((x->set != set || memcmp(x->key, el.key, len) != 0) && (x->set != el.set || memcmp(x->key, el.key, len) != 0))
			continue;
		all = mem_realloc(all, (n + 1) * sizeof(*all));
		all[n++] = *x;
	}
	if (n)
		(void)elems_change(d, all, n, NULL, 0);
	free(all);
}
