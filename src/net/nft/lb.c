/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/maglev.h"
#include "net/nft/nft_priv.h"

/*
 * Several backends behind one port. A client has a slot by its address and port, or its address alone; the port and a slot name a backend, as many slots
 * each as its weight gives it. A new set takes the old one's place in one transaction. Flows under way are connection tracking's: they keep
 * their backend as long as it is there. Those of before there was one are forgotten, but for TCP, where a client begins anew by itself: they would stay
 * with the engine's relay for as long as the client keeps talking.
 */
struct nft_lb {
	struct nft_lb *next;
	struct dp_lb lb;
	struct elem *els;
	size_t n;
	bool serves;			/* one of them at least takes new flows */
};

static bool same(const struct dp_lb *a, const struct dp_lb *b)
{
	return a->proto == b->proto && a->port == b->port && addr_eq(&a->addr, &b->addr);
}

static struct nft_lb **find(struct datapath *d, const struct dp_lb *lb)
{
	struct nft_lb **at = &d->lbs;

	while (*at && !same(&(*at)->lb, lb))
		at = &(*at)->next;
	return at;
}

/* What a packet to the port is looked up by; how long that is. */
static size_t put_port(struct elem *el, const struct dp_lb *lb)
{
	size_t at = addr_is_any(&lb->addr) ? 0 : elem_put_addr(el->key, &lb->addr);

	el->key[at] = lb->proto;
	elem_put_port(el->key + at + 4, lb->port);
	return at + 8;
}

static struct elem elem_slot(const struct dp_lb *lb, uint32_t slot, const struct dp_backend *b)
{
	static const enum nft_set maps[2][2][2] = {
		{ { SET_LB6, SET_LB4 }, { SET_LBANY6, SET_LBANY4 } },
		{ { SET_STICKY6, SET_STICKY4 }, { SET_STICKYANY6, SET_STICKYANY4 } },
	};
	struct elem el = { .set = maps[lb->affinity][addr_is_any(&lb->addr)][addr_is4(&b->addr)] };

	elem_put_u32(el.key + put_port(&el, lb), slot);
	elem_put_port(el.data + elem_put_addr(el.data, &b->addr), b->port);
	return el;
}

/* From the network of a backend itself the engine relays: answers would take the short way, past the translation. */
static struct elem elem_near(const struct dp_lb *lb, bool v4, uint32_t bridge)
{
	bool any = addr_is_any(&lb->addr);
	struct elem el = { .set = any ? (v4 ? SET_NEAR4 : SET_NEAR6) : (v4 ? SET_NEARPUB4 : SET_NEARPUB6) };

	elem_put_u32(el.key + put_port(&el, lb), bridge);
	return el;
}

static void add_near(struct nft_lb *to, const struct elem *el)
{
	for (size_t i = 0; i < to->n; i++)
		if (!memcmp(&to->els[i], el, sizeof(*el)))
			return;
	to->els[to->n++] = *el;
}

static struct nft_lb *build(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n)
{
	CLEANUP(mem_freep) struct maglev *m = mem_zalloc((n ? n : 1) * sizeof(*m));
	struct nft_lb *new = mem_zalloc(sizeof(*new));
	uint16_t slot[NFT_LB_SLOTS];

	new->lb = *lb;
	new->els = mem_zalloc((n + NFT_LB_SLOTS) * sizeof(*new->els));
	for (size_t i = 0; i < n; i++) {
		struct { struct in6_addr addr; uint16_t port; } name = { b[i].addr, b[i].port };
		struct elem near = elem_near(lb, addr_is4(&b[i].addr), nft_bridge_of(d, &b[i].addr));

		m[i] = (struct maglev){ .key = maglev_key(&name, sizeof(name)), .weight = b[i].weight };
		add_near(new, &near);
	}
	maglev_fill(m, n, slot, NFT_LB_SLOTS);
	for (uint32_t i = 0; i < NFT_LB_SLOTS; i++)
		if (slot[i] != MAGLEV_NONE) {
			new->els[new->n++] = elem_slot(lb, i, &b[slot[i]]);
			new->serves = true;
		}
	return new;
}

static void lb_free(struct nft_lb *lb)
{
	if (lb)
		free(lb->els);
	free(lb);
}

int nft_lb_set(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e)
{
	struct nft_lb **at = find(d, lb), *old = *at, *new;
	int r;

	if (!(d->can & CAN_BALANCE))
		return err_set(e, ERR_NOT_IMPLEMENTED, "several backends behind one port need nftables' hash expression, which this kernel does not have");
	new = build(d, lb, b, n);
	r = elems_change(d, old ? old->els : NULL, old ? old->n : 0, new->els, new->n);
	if (r < 0) {
		lb_free(new);
		return err_errno(e, -r, "nftables: cannot write a set of backends");
	}
	if (lb->proto != IPPROTO_TCP && new->serves && (!old || !old->serves))
		conntrack_forget_port(d, addr_is4(&lb->addr), lb->proto, &lb->addr, lb->port, true);
	if (old) {
		new->next = old->next;
		lb_free(old);
	}
	*at = new;
	return 0;
}

int nft_lb_del(struct datapath *d, const struct dp_lb *lb)
{
	struct nft_lb **at = find(d, lb), *old = *at;
	int r;

	if (!old)
		return 0;
	*at = old->next;
	r = elems_change(d, old->els, old->n, NULL, 0);
	if (lb->proto != IPPROTO_TCP)
		conntrack_forget_port(d, addr_is4(&lb->addr), lb->proto, &lb->addr, lb->port, false);
	lb_free(old);
	return r;
}

void lbs_free(struct datapath *d)
{
	while (d->lbs) {
		struct nft_lb *next = d->lbs->next;

		lb_free(d->lbs);
		d->lbs = next;
	}
}
