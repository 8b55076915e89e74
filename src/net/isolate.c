/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/network_priv.h"

/*
 * Theory of operation. On a data path that filters nothing, networks are kept apart by not routing: a packet that comes in somewhere is not sent to a
 * bridge's subnet, and one that comes in by a bridge is not sent anywhere. For IPv4 a switch of the bridge does the second (forwarding_ensure()), for
 * IPv6 there is one switch for the whole host, which is the host's own business. So each subnet has three routing rules (ip-rule(8)):
 *
 *	98: iif lo, to the subnet: by the main table		what the host itself sends, the engine's relaying too
 *	99: to the subnet: prohibit				whatever else
 *	99: iif of the bridge: prohibit
 *
 * The host's own addresses stand before them (rule 0, the table "local"), so that containers reach the host, its multicast groups and the ports
 * published there, and looks for the way back to a source (rp_filter) are made as if from lo. Frames between containers of one network are not routed.
 *
 * What makes a rule ours is a mark with a mask of zero: the kernel keeps and shows it, and packets of any mark match.
 */
enum { PRIORITY_HOST = 98, PRIORITY_PROHIBIT = 99, RULES = 3 };
static const uint32_t INSTANCE_MASK = 0xffffff00;

uint32_t instance_hash(const struct net *n)
{
	uint32_t h = 2166136261u;		/* FNV-1a */

	for (const char *s = n->instance; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return (h | 0x80000000u) & INSTANCE_MASK;
}

/* Of the network the lower 8 bits, so that the next owner of a subnet has rules of its own. */
static uint32_t tag_of(const struct network *nw)
{
	uint32_t byte = 0;

	for (int i = 0; i < 2; i++)
		byte = byte * 16 + ((uint32_t)nw->id[i] & 0xf) + (nw->id[i] >= 'a' ? 9 : 0);
	return instance_hash(nw->n) | (byte & 0xff);
}

static void rules_of(const struct network *nw, const struct net_cidr *subnet, struct rtnl_rule out[RULES])
{
	struct rtnl_rule common = { .v6 = !addr_is4(&subnet->addr), .mark = tag_of(nw) };

	for (int i = 0; i < RULES; i++)
		out[i] = common;
	out[0].priority = PRIORITY_HOST;
	(void)snprintf(out[0].iif, sizeof(out[0].iif), "lo");
	out[0].to = *subnet;
	out[1].priority = PRIORITY_PROHIBIT;
	out[1].prohibit = true;
	out[1].to = *subnet;
	out[2].priority = PRIORITY_PROHIBIT;
	out[2].prohibit = true;
	(void)snprintf(out[2].iif, sizeof(out[2].iif), "%s", nw->bridge);
	if (nw->foreign)		/* who else is on the user's bridge is the user's business */
		out[2].from = *subnet;
}

static bool wanted(const struct net *n)
{
	return !n->ops->forwarding;
}

static int change(const struct network *nw, bool on, struct rtnl *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < nw->n_pools; i++) {
		struct rtnl_rule rule[RULES];

		rules_of(nw, ipam_subnet(nw->pool[i]), rule);
		for (int k = 0; k < RULES; k++)
			rtnl_rule(r, on, &rule[k]);
		if (rtnl_run(r, rc < 0 ? NULL : e) < 0)
			rc = -1;
	}
	return rc;
}

void network_isolate(const struct network *nw, struct rtnl *r)
{
	struct err e = { 0 };

	if (wanted(nw->n) && change(nw, true, r, &e) < 0)
		log_warn("net", "network %s: %s; on a host that forwards, neighbours may reach containers there", nw->name, e.msg);
}

void network_isolate_end(const struct network *nw, struct rtnl *r)
{
	struct err e = { 0 };

	if (wanted(nw->n) && change(nw, false, r, &e) < 0)
		log_warn("net", "network %s: %s", nw->name, e.msg);
}

static bool same(const struct rtnl_rule *a, const struct rtnl_rule *b)
{
	return a->v6 == b->v6 && a->priority == b->priority && a->mark == b->mark && a->mask == b->mask && a->prohibit == b->prohibit && str_eq(a->iif, b->iif) &&
	       a->to.prefix == b->to.prefix && addr_eq(&a->to.addr, &b->to.addr) && a->from.prefix == b->from.prefix &&
	       addr_eq(&a->from.addr, &b->from.addr);
}

/* The network one of whose rules this is. One that could not be brought up has them, too: its containers may run. */
static const struct network *owner(const struct net *n, const struct rtnl_rule *rule)
{
	struct network *nw;
	size_t it = 0;

	while (wanted(n) && (nw = map_next(n->networks, &it, NULL)))
		for (size_t i = 0; nw->driver == DRIVER_BRIDGE && !nw->going && i < nw->n_pools; i++) {
			struct rtnl_rule own[RULES];

			rules_of(nw, ipam_subnet(nw->pool[i]), own);
			for (int k = 0; k < RULES; k++)
				if (same(rule, &own[k]))
					return nw;
		}
	return NULL;
}

void isolation_lost(const struct net *n, const struct rtnl_rule *rule)
{
	const struct network *nw = rule ? owner(n, rule) : NULL;
	size_t it = 0;

	if (nw && !nw->making) {
		log_info("net", "a routing rule of network %s was removed by somebody, putting it back", nw->name);
		network_isolate(nw, n->rtnl);
	}
	while (!rule && (nw = map_next(n->networks, &it, NULL)))
		if (nw->driver == DRIVER_BRIDGE && !nw->making && !nw->going)
			network_isolate(nw, n->rtnl);
}

/* ---- what an earlier run has left ---- */

struct left {
	const struct net *n;
	uint32_t instance;
	struct rtnl_rule *rule;
	size_t len;
};

static void on_rule(void *user, const struct rtnl_rule *rule)
{
	struct left *l = user;

	if (rule->mask || (rule->mark & INSTANCE_MASK) != l->instance || (rule->priority != PRIORITY_HOST && rule->priority != PRIORITY_PROHIBIT) ||
	    owner(l->n, rule))
		return;
	l->rule = mem_realloc(l->rule, (l->len + 1) * sizeof(*l->rule));
	l->rule[l->len++] = *rule;
}

void isolation_gc(const struct net *n)
{
	struct left l = { .n = n, .instance = instance_hash(n) };
	struct err e = { 0 };
	int rc = rtnl_rule_each(n->rtnl, on_rule, &l, &e);

	if (rc < 0)		/* a kernel without routing rules has none that are left */
		log_debug("net", "%s", e.msg);
	rtnl_rules_del(n->rtnl, l.rule, l.len);
	free(l.rule);
}
