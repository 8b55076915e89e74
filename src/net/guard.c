/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "kedge/bpf/abi.h"
#include "net/marks.h"
#include "net/net_priv.h"

/*
 * Theory of operation. A client of a guarded port comes through the host's INPUT chain to the proxy's listener, and the proxy goes on to the container from
 * a socket that bears the client's address (IP_TRANSPARENT). The container answers that address. Such an answer must not be routed to the client: it
 * belongs to that socket. So the data path marks what a container sends to a socket of ours of this kind, and one rule for each bridge sends the mark to
 * a table in which every address is the host's own, where the kernel finds the socket. All are there while a port is guarded; nothing without the mark
 * sees them. Rules of the host's that restore marks of connections must not take ours away: see marks.h.
 *
 * The rules stand before those of VPNs and of other tables. They ask for the bridge, so that a look for the way back to the source is not caught by them
 * where the host makes that with the mark, too (net.ipv4.conf.*.src_valid_mark, which wg-quick(8) sets): its packets come from lo. The table's number is the
 * instance's, so that engines beside each other do not take each other's routes away, and a rule of an earlier run is known by it.
 */
enum { PRIORITY = 97, TABLES = 0x6b000000 };

static uint32_t table_of(const struct net *n)
{
	return TABLES | instance_hash(n) >> 8;
}

static struct rtnl_rule rule_for(const struct network *nw, bool v6)
{
	struct rtnl_rule rule = { .v6 = v6, .priority = PRIORITY, .mark = KEDGE_GUARD_MARK, .mask = KEDGE_GUARD_MASK, .table = table_of(nw->n) };

	(void)snprintf(rule.iif, sizeof(rule.iif), "%s", nw->bridge);
	return rule;
}

static bool has_bridge(const struct network *nw)
{
	return nw->driver == DRIVER_BRIDGE && nw->ifindex && !nw->going;
}

/* The first failure is told. */
static int routes(struct net *n, bool v6, bool on, struct err *e)
{
	struct network *nw;
	size_t it = 0;
	int rc = 0;

	if (on) {
		rtnl_route_all_local(n->rtnl, v6, true, table_of(n));
		rc = rtnl_run(n->rtnl, e);
	}
	while ((nw = map_next(n->networks, &it, NULL)))
		if (has_bridge(nw)) {
			struct rtnl_rule rule = rule_for(nw, v6);

			rtnl_rule(n->rtnl, on, &rule);
			rc = rtnl_run(n->rtnl, rc < 0 ? NULL : e) < 0 ? -1 : rc;
		}
	if (!on) {
		rtnl_route_all_local(n->rtnl, v6, false, table_of(n));
		rc = rtnl_run(n->rtnl, rc < 0 ? NULL : e) < 0 ? -1 : rc;
	}
	return rc;
}

static void mark(const struct network *nw, bool on)
{
	int rc = nw->n->marks ? marks_bridge(nw->n->marks, nw->ifindex, on) : 0;

	if (rc < 0)
		log_warn("net", "network %s: nftables: %s; guarded ports of containers there do not answer if a rule of the host's clears marks", nw->name,
			 strerrordesc_np(-rc));
}

static void marks_on(struct net *n)
{
	struct err e = { 0 };
	struct network *nw;
	size_t it = 0;

	if (!n->ops->marks_early || n->marks)
		return;
	if (marks_open(n->loop, n->pin_dir, &n->marks, &e) < 0) {
		log_info("net", "%s: guarded ports do not answer beside rules of the host's that clear marks", e.msg);
		return;
	}
	while ((nw = map_next(n->networks, &it, NULL)))
		if (has_bridge(nw))
			mark(nw, true);
}

void guard_get(struct net *n)
{
	struct err e = { 0 };

	if (n->guards++ || !n->ops->guard_set)
		return;
	if (routes(n, false, true, &e) < 0 || n->ops->guard_set(n->dp, true, &e) < 0) {
		log_warn("net", "%s: clients of guarded ports are shown with the engine's address", e.msg);
		return;
	}
	n->guard4 = true;
	n->guard6 = routes(n, true, true, NULL) == 0;	/* a kernel without IPv6 has no such clients */
	marks_on(n);
}

static void off(struct net *n)
{
	n->guard4 = n->guard6 = false;
	marks_close(TAKE(n->marks));
	if (n->ops->guard_set)
		(void)n->ops->guard_set(n->dp, false, NULL);
	(void)routes(n, false, false, NULL);
	(void)routes(n, true, false, NULL);
}

void guard_put(struct net *n)
{
	if (--n->guards == 0)
		off(n);
}

void guard_network(const struct network *nw, bool on)
{
	struct net *n = nw->n;
	struct err e = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		struct rtnl_rule rule = rule_for(nw, v6);

		if (v6 ? n->guard6 : n->guard4)
			rtnl_rule(n->rtnl, on, &rule);
	}
	mark(nw, on);
	if (rtnl_run(n->rtnl, &e) < 0)
		log_warn("net", "network %s: %s; guarded ports of containers there do not answer", nw->name, e.msg);
}

/* The network whose rule this is. */
static const struct network *owner(const struct net *n, const struct rtnl_rule *rule)
{
	struct network *nw;
	size_t it = 0;

	while ((rule->v6 ? n->guard6 : n->guard4) && (nw = map_next(n->networks, &it, NULL)))
		if (has_bridge(nw) && str_eq(nw->bridge, rule->iif))
			return nw;
	return NULL;
}

static bool is_ours(const struct net *n, const struct rtnl_rule *rule)
{
	return rule->priority == PRIORITY && rule->mask == KEDGE_GUARD_MASK && rule->table == table_of(n);
}

void guard_lost(struct net *n, const struct rtnl_rule *rule)
{
	const struct network *nw = rule && is_ours(n, rule) ? owner(n, rule) : NULL;

	if (nw) {
		log_info("net", "the routing rule of guarded ports on network %s was removed by somebody, putting it back", nw->name);
		guard_network(nw, true);
	}
	if (!rule && n->guard4)
		(void)routes(n, false, true, NULL);
	if (!rule && n->guard6)
		(void)routes(n, true, true, NULL);
}

/* ---- what an earlier run has left ---- */

struct left {
	const struct net *n;
	struct rtnl_rule *rule;
	size_t len;
};

static void on_rule(void *user, const struct rtnl_rule *rule)
{
	struct left *l = user;

	if (!is_ours(l->n, rule) || owner(l->n, rule))
		return;
	l->rule = mem_realloc(l->rule, (l->len + 1) * sizeof(*l->rule));
	l->rule[l->len++] = *rule;
}

void guard_gc(struct net *n)
{
	struct left l = { .n = n };

	if (!n->guards)
		off(n);
	(void)rtnl_rule_each(n->rtnl, on_rule, &l, NULL);
	rtnl_rules_del(n->rtnl, l.rule, l.len);
	free(l.rule);
}
