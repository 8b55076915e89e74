/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/firewall.h"
#include "net/sandbox.h"

/* What an operator may not know of his host: that ports are open to everybody although its firewall lets in only what it names, or closed because of it. */

enum { NAMES_MAX = 8 };

static bool is_loopback(const struct in6_addr *a)
{
	return addr_is4(a) ? addr_to4(a) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(a);
}

/* A port of it that everybody reaches past the INPUT chain, or NULL. */
static const struct port_bound *open_port(const struct sandbox *s)
{
	if (s->policy.guarded || s->policy.n_sources || (!s->gw4 && !s->gw6))
		return NULL;
	for (size_t i = 0; i < s->n_ports; i++)
		if (!is_loopback(&s->ports[i].host_addr))
			return &s->ports[i];
	return NULL;
}

/* A verdict of ours to accept is ours alone: another table's chain may drop the packet all the same. */
static void warn_forward(const struct net *n, json_t *all)
{
	const struct sandbox *s;
	char firewall[160];
	size_t it = 0;

	while ((s = map_next(n->sandboxes, &it, NULL)))
		if (s->gw4 || s->gw6)
			break;
	if (s && n->ops->uplink_forwarding && firewall_denies(FIREWALL_FORWARD, firewall, sizeof(firewall)))
		json_array_append_new(all, json_sprintf("WARNING: the host's firewall (%s) drops what it forwards and does not know, and the data path %s forwards: clients of other hosts do "
							"not reach containers, nor containers other hosts, unless it accepts what comes from and goes to their bridges. "
							"Ports published with the policy guarded, and the data path ebpf, do without", firewall, n->ops->name));
}

json_t *net_warnings(const struct net *n)
{
	CLEANUP(buf_done) struct buf names = BUF_INIT;
	json_t *all = json_array();
	const struct sandbox *s;
	char firewall[160];
	size_t it = 0, len = 0;

	warn_forward(n, all);
	if (!n->ops->past_input)
		return all;
	while ((s = map_next(n->sandboxes, &it, NULL)))
		if (open_port(s) && ++len <= NAMES_MAX)
			buf_printf(&names, "%s%s (port %u)", names.len ? ", " : "", s->name, open_port(s)->host_port);
	if (len && firewall_denies(FIREWALL_INPUT, firewall, sizeof(firewall)))
		json_array_append_new(all, json_sprintf("WARNING: the host's firewall (%s) drops what it does not know, but these published ports pass by it: container %s%s. "
							"Publish with the policy guarded, or to a list of sources", firewall, names.data, len > NAMES_MAX ? ", ..." : ""));
	return all;
}
