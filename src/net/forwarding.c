/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net_priv.h"

/*
 * Forwarding, which a data path that routes needs of bridges and uplinks. That is not to make a router of the host: what comes in by an uplink and is for no
 * container goes nowhere, unless the host itself is one. It says so with net.ipv4.ip_forward, which is left alone: interfaces are switched one by one. IPv6
 * has one switch for all; that it was us who turned it on is kept in a file until the next boot, or until somebody turns it off.
 */

/* A host that forwards takes no more router advertisements, unless it says twice that it wants them. */
static void keep_router_advertisements(const char *name)
{
	CLEANUP(mem_freep) char *path = mem_printf("/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	char now[8] = "";

	if (file_read_line(path, now, sizeof(now)) == 0 && str_eq(now, "1"))
		(void)file_put_at(-1, path, "2");
}

void forwarding_ensure(const struct net *n, const char *bridge)
{
	static const char *const family[] = { "ipv4", "ipv6" };
	if (n->ops->forwarding)
		keep_router_advertisements(bridge);
	for (size_t i = 0; i < N(family); i++) {
		CLEANUP(mem_freep) char *path = mem_printf("/proc/sys/net/%s/conf/%s/forwarding", family[i], bridge);
		int rc = file_put_at(-1, path, n->ops->forwarding ? "1" : "0");

		if (rc < 0 && rc != -ENOENT)		/* no IPv6 in this kernel */
			log_warn("net", "cannot write to %s: %s; %s", path, strerrordesc_np(-rc),
				 n->ops->forwarding ? "containers there may not reach beyond the host" : "neighbours may reach containers there");
	}
}

void forwarding_ipv6(const struct net *n)
{
	static const char all[] = "/proc/sys/net/ipv6/conf/all/forwarding";
	struct if_nameindex *list;
	char now[8] = "";
	int rc;

	if (!n->ops->uplink_forwarding || !n->ip_forward || file_read_line(all, now, sizeof(now)) < 0 || str_eq(now, "1"))
		return;
	rc = file_put_at(-1, n->forwards6, "");
	if (rc < 0)
		log_warn("net", "cannot write to %s: %s", n->forwards6, strerrordesc_np(-rc));
	list = if_nameindex();
	for (const struct if_nameindex *i = list; i && i->if_index; i++)
		keep_router_advertisements(i->if_name);
	if_freenameindex(list);
	rc = file_put_at(-1, all, "1");
	if (rc < 0)
		log_warn("net", "cannot write to %s: %s; containers do not reach beyond the host over IPv6", all, strerrordesc_np(-rc));
	else
		log_info("net", "turned IPv6 forwarding on: the data path %s routes", n->ops->name);
}

static bool host_routes(const struct net *n, bool v6)
{
	char now[8] = "";

	return file_read_line(v6 ? "/proc/sys/net/ipv6/conf/all/forwarding" : "/proc/sys/net/ipv4/conf/all/forwarding", now, sizeof(now)) == 0 && str_eq(now, "1") &&
	       !(v6 && access(n->forwards6, F_OK) == 0);
}

void forwarding_uplink(const struct net *n, uint32_t ifindex, const char *name)
{
	struct err e = { 0 };

	/* First what it is not for, then the switch. */
	for (int v6 = 0; v6 < 2; v6++)
		if (n->ops->lent_set(n->dp, ifindex, v6, !host_routes(n, v6), &e) < 0) {
			log_warn("net", "the host may forward what comes in by %s to other networks than containers': %s", name, e.msg);
			err_clear(&e);
		}
	forwarding_ensure(n, name);
}

void forwarding_switched(const struct net *n, int family, bool on)
{
	if (family == AF_INET6 && !on)
		(void)unlink(n->forwards6);
}
