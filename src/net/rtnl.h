/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_RTNL_H
#define KEDGE_NET_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

/*
 * rtnetlink in batches: requests are appended, rtnl_run() sends them in one system call and reads the answers. A socket belongs to the
 * network namespace its thread was in at rtnl_open(). One thread at a time.
 */
struct rtnl;
int rtnl_open(struct rtnl **ret, struct err *e);
void rtnl_close(struct rtnl *r);

/* Appends; what names the request in errors ("create veth kv12"), copied. ignore: an errno that counts as success, 0: none. */
void rtnl_veth(struct rtnl *r, const char *name, const char *peer, int peer_ns_fd, const uint8_t peer_mac[6], uint32_t mtu, uint32_t master);
/* Makes ours visible and usable: alias, no IPv6 of its own, up. */
void rtnl_port_up(struct rtnl *r, const char *name, const char *alias);
/* A bridge port that exchanges frames with the bridge itself but with no other port of this kind (kernel 4.18). */
void rtnl_port_isolate(struct rtnl *r, const char *name);
/* A macvlan on the link parent (index), made inside the namespace; mode is one of MACVLAN_MODE_*. */
void rtnl_macvlan(struct rtnl *r, const char *name, uint32_t parent, uint32_t mode, int ns_fd, const uint8_t mac[6], uint32_t mtu);
/* An ipvlan likewise; mode is one of IPVLAN_MODE_*, flags of IPVLAN_F_*. It has its parent's MAC address. */
void rtnl_ipvlan(struct rtnl *r, const char *name, uint32_t parent, uint32_t mode, uint16_t flags, int ns_fd, uint32_t mtu);
bool rtnl_has_ipvlan(struct rtnl *r);		/* at once: does this kernel have them? */
void rtnl_vlan(struct rtnl *r, const char *name, uint32_t parent, uint16_t id);
void rtnl_dummy(struct rtnl *r, const char *name);
void rtnl_bridge(struct rtnl *r, const char *name, const uint8_t mac[6], uint32_t mtu);
void rtnl_link_alias(struct rtnl *r, const char *name, const char *alias);
void rtnl_link_up(struct rtnl *r, const char *name);
void rtnl_link_del(struct rtnl *r, const char *name);		/* missing is fine */
/* Links of one group go in one step, which costs the kernel what a single one does. */
void rtnl_link_group(struct rtnl *r, const char *name, uint32_t group);		/* missing is fine */
void rtnl_group_del(struct rtnl *r, uint32_t group);		/* an empty one is fine */
void rtnl_addr_add(struct rtnl *r, uint32_t ifindex, const struct net_cidr *a);		/* present is fine */
void rtnl_addr_del(struct rtnl *r, uint32_t ifindex, const struct net_cidr *a);		/* missing is fine */
void rtnl_route_default(struct rtnl *r, uint32_t ifindex, bool v6, const struct in6_addr *gateway);	/* NULL: the link itself */
/* In that table everything is the host's own. add: present is fine; else missing is. */
void rtnl_route_all_local(struct rtnl *r, bool v6, bool add, uint32_t table);
/* To the subnet over the link, with that source address, in that table. add: what is there is replaced; else missing is fine. */
void rtnl_route_source(struct rtnl *r, bool add, const struct net_cidr *subnet, uint32_t ifindex, const struct in6_addr *source, uint32_t table);
/* A rule by where packets come in, go to and come from, and by their mark. A mark without a mask all packets have: its maker knows the rule by it. */
struct rtnl_rule {
	bool v6;
	bool prohibit;			/* else by the table */
	uint8_t proto;			/* of the packets; 0: any */
	uint32_t priority, mark, mask;
	uint32_t table;			/* 0: the main one */
	char iif[16];			/* "lo": what the host itself sends; "": any */
	struct net_cidr to, from;	/* of the family; prefix 0: any */
};
void rtnl_rule(struct rtnl *r, bool add, const struct rtnl_rule *rule);		/* add: present is fine; else missing is */
void rtnl_neigh_set(struct rtnl *r, uint32_t ifindex, const struct in6_addr *a, const uint8_t mac[6]);

/* Runs: what an earlier run has left goes, and the log hears of what stays. */
void rtnl_rules_del(struct rtnl *r, const struct rtnl_rule *rule, size_t n);

/* 0 when all were done. The first failure is told with the kernel's own sentence where it has one (extended ACK); requests after a
 * failed one were still carried out. */
int rtnl_run(struct rtnl *r, struct err *e);

struct rtnl_link {
	uint32_t ifindex, master;
	uint16_t type;			/* ARPHRD_* */
	unsigned flags;			/* IFF_* */
	uint32_t mtu;
	uint8_t mac[6];
	char name[16], kind[16], alias[128];
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped;
};
struct rtnl_addr {
	uint32_t ifindex;
	struct net_cidr addr;
	bool secondary;
};
/* One link by name: 1 found, 0 no such link, -1 error. */
int rtnl_link_get(struct rtnl *r, const char *name, struct rtnl_link *ret, struct err *e);
int rtnl_link_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_link *l), void *user, struct err *e);
int rtnl_addr_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_addr *a), void *user, struct err *e);
/* Those that rtnl_rule() may have made: with a mark. */
int rtnl_rule_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_rule *rule), void *user, struct err *e);
/* Destinations of the main table, IPv4 and IPv6, without the default routes. */
int rtnl_route_each(struct rtnl *r, void (*fn)(void *user, const struct net_cidr *dst, uint32_t ifindex), void *user, struct err *e);

/* News: a non-blocking socket (to be watched) that hears of links, addresses, forwarding and rules. */
struct rtnl_news_ops {
	void (*link)(void *user, const struct rtnl_link *l, bool gone);
	void (*addr)(void *user, const struct rtnl_addr *a, bool gone);
	/* Forwarding of one interface was switched, or of all (0); family is AF_INET or AF_INET6. */
	void (*forwarding)(void *user, int family, uint32_t ifindex, bool on);
	void (*rule_gone)(void *user, const struct rtnl_rule *rule);	/* of those with a mark */
	void (*lost)(void *user);		/* news were lost: look at everything again */
};
int rtnl_news_open(struct rtnl **ret, struct err *e);
int rtnl_fd(const struct rtnl *r);
void rtnl_news_read(struct rtnl *r, const struct rtnl_news_ops *ops, void *user);

#endif
