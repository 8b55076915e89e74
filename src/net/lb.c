/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/lb.h"

#include "base/mem.h"
#include "net/maglev.h"
#include "net/sandbox.h"

/* Backends as others name them, by address, into what the data path needs: their endpoints' generations. */

static const struct endpoint *owner_of(const struct net *n, const struct in6_addr *a)
{
	struct sandbox *s;
	size_t it = 0;

	while ((s = map_next(n->sandboxes, &it, NULL))) {
		const struct endpoint *ep = sandbox_by_addr(s, a);

		if (ep)
			return ep;
	}
	return NULL;
}

static struct dp_lb dp_of(const struct net_lb *lb)
{
	return (struct dp_lb){ .proto = lb->proto, .addr = lb->addr, .port = lb->port, .affinity = lb->affinity };
}

int net_lb_set(struct net *n, const struct net_lb *lb, const struct net_lb_backend *b, size_t len, struct err *e)
{
	CLEANUP(mem_freep) struct dp_backend *to = mem_zalloc((len ? len : 1) * sizeof(*to));
	struct dp_lb d = dp_of(lb);
	char t[ADDR_TEXT];

	if (len > MAGLEV_MAX)
		return err_set(e, ERR_INVALID, "%zu backends behind %s port %u are more than %d", len, addr_text(&lb->addr, t), lb->port, MAGLEV_MAX);
	for (size_t i = 0; i < len; i++) {
		const struct endpoint *ep = owner_of(n, &b[i].addr);

		if (addr_is4(&b[i].addr) != addr_is4(&lb->addr))
			return err_set(e, ERR_INVALID, "the backend %s is of another address family than what it is to serve", addr_text(&b[i].addr, t));
		if (!ep)
			return err_set(e, ERR_NOT_FOUND, "the backend %s is no container's address", addr_text(&b[i].addr, t));
		to[i] = (struct dp_backend){ .addr = b[i].addr, .port = b[i].port, .generation = ep->generation, .weight = b[i].weight };
	}
	return n->ops->lb_set(n->dp, &d, to, len, e);
}

int net_lb_del(struct net *n, const struct net_lb *lb)
{
	struct dp_lb d = dp_of(lb);

	return n->ops->lb_del(n->dp, &d);
}
