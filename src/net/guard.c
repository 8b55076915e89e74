/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/log.h"
#include "kedge/bpf/abi.h"
#include "net/net_priv.h"

/*
 * Theory of operation. A client of a guarded port comes through the host's INPUT chain to the proxy's listener, and the proxy goes on to the container from
 * a socket that bears the client's address (IP_TRANSPARENT). The container answers that address. Such an answer must not be routed to the client: it
 * belongs to that socket. So the data path marks what a container sends to a socket of ours of this kind, and one rule sends the mark to a table in which
 * every address is the host's own, where the kernel finds the socket. Both are there while a port is guarded; nothing without the mark sees them.
 *
 * The rule stands before those of VPNs and of other tables; the table's number is nobody's.
 */
enum { PRIORITY = 97, TABLE = 27495 };

static int routes(struct net *n, bool v6, bool on, struct err *e)
{
	if (on)
		rtnl_route_all_local(n->rtnl, v6, true, TABLE);
	rtnl_rule(n->rtnl, on, &(struct rtnl_rule){ .v6 = v6, .priority = PRIORITY, .mark = KEDGE_GUARD_MARK, .mask = KEDGE_GUARD_MASK, .table = TABLE });
	if (!on)
		rtnl_route_all_local(n->rtnl, v6, false, TABLE);
	return rtnl_run(n->rtnl, e);
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
}

static void off(struct net *n)
{
	n->guard4 = n->guard6 = false;
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

void guard_gc(struct net *n)
{
	if (!n->guards)
		off(n);
}
