/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_POLICY_H
#define KEDGE_NET_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "net/addr.h"

/*
 * Who may use a sandbox's published ports, and which way their packets take.
 *   direct    straight into the container, past the host's firewall
 *   guarded   through the host's own INPUT chain to the engine's listener, so that the host's firewall means what it says, and on to the container from
 *             a socket that bears the client's address (guard.c)
 * A list of sources is held on either way, by the data path and by the proxy. The host itself is always let through.
 */
struct net_policy {
	bool guarded;
	struct net_cidr *sources;	/* mapped form */
	size_t n_sources;		/* 0: everybody */
};

/* policy: "direct", "guarded", "" or NULL (direct); sources: "192.0.2.0/24,2001:db8::/32", "" or NULL. */
int net_policy_parse(const char *policy, const char *sources, struct net_policy *ret, struct err *e);
void net_policy_done(struct net_policy *p);
bool net_policy_allows(const struct net_policy *p, const struct in6_addr *client);

#endif
