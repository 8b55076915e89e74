/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_PRIV_H
#define KEDGE_NET_PRIV_H

#include "base/map.h"
#include "net/addr.h"
#include "net/datapath.h"
#include "net/ipam.h"
#include "net/net.h"
#include "net/proxy/proxy.h"
#include "net/publish.h"
#include "net/rtnl.h"

/* Seen by src/net only. */

enum { NET_MTU = 1500, NET_ADVERTS = 3, NET_ADVERT_MS = 1000 };

struct dns;
struct dns_host;
struct dns_redirect;
struct dns_server;
struct dns_view;
struct watch;
struct reaper;
struct waiting;
struct bridge_going;
struct advert;

struct net {
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	char *netns_dir, *instance, *bridge, *bip, *pin_dir;
	char *forwards6;		/* a file: we turned IPv6 forwarding on */
	bool ip_forward;
	const struct datapath_ops *ops;
	struct datapath *dp;
	struct rtnl *rtnl;		/* loop thread */
	struct watch *watch;
	struct ipam_default *defaults;	/* of the configuration; none: docker's */
	size_t n_defaults;
	struct net_cidr ula;		/* our /48 for IPv6 networks without a subnet of their own */
	struct map *networks;		/* id -> struct network */
	struct map *sandboxes;		/* container id -> struct sandbox */
	struct port_table *ports;
	struct proxy *proxy;
	struct lb_relay *lbs;		/* lb.c */
	unsigned guards;		/* sandboxes with guarded ports */
	bool guard4, guard6;		/* their clients keep their addresses */
	struct datapath *marks;		/* guard.c: see marks.h; NULL: none */
	unsigned sctp_relays;		/* sandboxes with ports that are relayed over SCTP */
	struct net_drops *followers;	/* lab.c */
	unsigned pending;		/* closings and commits under way */
	struct reaper *reaper;		/* sandbox_reap.c */
	struct advert *adverts;		/* advertise.c */
	struct waiting *waiting;	/* for an address that rests */
	struct bridge_going *going;	/* bridges being removed */
	struct dns *dns;		/* NULL: nobody answers names */
	struct dns_redirect *redirect;	/* names.c */
	struct net_dns_query *queries;	/* names_query.c */
	bool stopping;			/* in net_free(): the pool and the callers are gone */
};

enum network_driver { DRIVER_BRIDGE, DRIVER_HOST, DRIVER_NULL, DRIVER_MACVLAN, DRIVER_IPVLAN, DRIVER_COUNT };

/* What the options of a bridge network say about one address family. */
struct network_family {
	bool routed;			/* gateway mode routed: no translation in or out */
	bool open;			/* gateway mode nat-unprotected: whoever routes to its addresses reaches all of them */
	bool isolated;			/* gateway mode isolated: the bridge has no address and nobody a gateway */
	bool inhibited;			/* the bridge has no address: the gateway is another machine on it */
	bool has_via;
	struct in6_addr via;		/* the containers' gateway when it is not the bridge's own address */
	struct in6_addr source;		/* what leaves is masqueraded to this; ::: the uplink's own address */
};

struct network {
	struct net *n;
	char id[65];
	char *name;
	enum network_driver driver;
	bool making, going;		/* not on disk yet; not there any more: nobody finds it, but its name and subnets are taken */
	json_t *doc;			/* the API's shape */
	struct ipam **pool;		/* a subnet each, IPv4 and IPv6 */
	size_t n_pools;
	bool user4, user6;		/* the subnets of the family were asked for */
	bool predefined, internal, attachable, config_only;
	uint32_t mtu;
	int adverts;			/* how often an endpoint announces its addresses; -1: as is fit for the network */
	int advert_ms;		/* the pause between */
	char if_prefix[12];		/* of interfaces inside containers: "eth" */
	struct dns_view *view;		/* names.c */
	/* DRIVER_BRIDGE */
	char bridge[16];
	bool foreign;			/* the bridge was there before us and stays */
	uint32_t ifindex;		/* 0: the bridge could not be made, see the log */
	uint8_t mac[6];
	bool masquerade, icc;
	struct network_family family[2];	/* IPv4, IPv6 */
	char **trusted;			/* uplinks from where published ports are reached at the containers' own addresses; NULL: none */
	char host_ip[ADDR_TEXT];	/* where ports are published that name no address; "" everywhere */
	/* DRIVER_MACVLAN, DRIVER_IPVLAN */
	char parent[16];		/* link of the host */
	bool own_parent;		/* made by us, goes with the last of its networks */
	char heir[65];			/* set when this one goes and another is on its parent: that one's id */
	bool nowhere;			/* the parent is a dummy: nothing leads out */
	uint32_t link_mode;		/* MACVLAN_MODE_*, IPVLAN_MODE_* */
	uint16_t link_flags;		/* IPVLAN_F_* */
	unsigned busy;			/* endpoints on it, and those being made */
	unsigned resting;		/* of these: closed, their veth still to be removed */
};

/* network_bridge.c: the bridge's own address in the subnet of a pool; NULL: it has none. */
const struct in6_addr *network_bridge_addr(const struct network *nw, const struct ipam *pool);
/* network_parent.c: the container's interface is a child of a link of the host, and nothing of ours is between. */
static inline bool network_on_parent(const struct network *nw)
{
	return nw->driver == DRIVER_MACVLAN || nw->driver == DRIVER_IPVLAN;
}
/* Layer 3: whoever is on it has no neighbours to ask, so that the interface itself is the way out. */
bool network_is_l3(const struct network *nw);

/* network.c */
int network_load(struct net *n, struct err *e);		/* defaults and stored ones, their bridges in the kernel */
struct network *network_find(const struct net *n, const char *ref, struct err *e);
struct network *network_by_id(const struct net *n, const char *id);
void network_free(struct network *nw);
void network_mac_new(uint8_t mac[6]);
/* "kedge:<instance>:<id>" */
void net_alias(const struct net *n, const char *id, char *out, size_t size);

/* watch.c: tells the data path of uplinks and addresses, now and later. */
struct watch *watch_new(struct net *n, struct err *e);
void watch_free(struct watch *w);
/* An uplink and an address of the family on it; want: the one with this address, NULL the first. False: there is none. */
bool watch_uplink(const struct watch *w, bool v6, const struct in6_addr *want, uint32_t *ifindex, struct in6_addr *addr);
/* A network is there: its trusted interfaces are told to the data path. Those that come later, by themselves. */
void watch_trust(struct watch *w, const struct network *nw);
/* The first IPv4 address of the host that is of no private range. False: there is none. */
bool watch_public4(const struct watch *w, struct in6_addr *ret);
/* forwarding.c: gives a bridge the forwarding the data path wants of it, both families; watch.c keeps it so. */
void forwarding_ensure(const struct net *n, const char *bridge);
/* For a data path that routes: IPv6 has one switch for all interfaces. */
void forwarding_ipv6(const struct net *n);
/* The same, an uplink: it forwards, for containers alone where the host is no router. Once more is fine. */
void forwarding_uplink(const struct net *n, uint32_t ifindex, const char *name);
void forwarding_switched(const struct net *n, int family, bool on);	/* all interfaces, by us or somebody */
bool net_veth_name(const char *name);			/* of the form we give our veths */

/* netns.c; blocking, pool threads (and the start). */
/* A namespace bound at path, loopback up, its sysctls set; inner is an rtnetlink socket inside, fd a handle on it. */
int netns_new(const char *path, struct rtnl **inner, int *fd, struct err *e);
/* The same handles on one that is there. */
int netns_open(const char *path, struct rtnl **inner, int *fd, struct err *e);
/* Runs fn(arg) inside the namespace, on this thread. */
int netns_do(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e);
/* Whether interfaces that come into the namespace from now on have IPv6. */
int netns_set_ipv6(int fd, bool on, struct err *e);
void netns_remove(const char *path);			/* missing is fine */
bool netns_is_bound(const char *path);
/* Runs fn inside; what it opens stays there. */
int netns_visit(const char *path, int (*fn)(void *user, struct err *e), void *user, struct err *e);

/* isolate.c: a rule of ours is gone (NULL: any may be): those of networks that are there come back. */
void isolation_lost(const struct net *n, const struct rtnl_rule *rule);
void isolation_gc(const struct net *n);			/* once the networks are loaded: what an earlier run, on any data path, has left */

uint32_t instance_hash(const struct net *n);		/* 24 bits, the lower 8 are zero; the whole is not */

/* guard.c: a sandbox has guarded ports, or no longer. */
void guard_get(struct net *n);
void guard_put(struct net *n);
void guard_network(const struct network *nw, bool on);	/* a network has its bridge, or is about to lose it */
void guard_lost(struct net *n, const struct rtnl_rule *rule);	/* as isolation_lost() */
void guard_gc(struct net *n);				/* after adoption: what an earlier run has left */

/* sctp_source.c: a sandbox has ports that are relayed over SCTP, or no longer. */
void sctp_source_get(struct net *n);
void sctp_source_put(struct net *n);
void sctp_source_refresh(struct net *n);		/* there is another network, or address of the host */
void sctp_source_gc(struct net *n);			/* after adoption */

/* sandbox.c */
struct sandbox;
struct endpoint;
void sandbox_free(struct sandbox *s);			/* memory only */
/* endpoint.c */
/* Something that waits for an address to be free again; retry() is called once, from the loop. drop(): net ends. */
struct waiting {
	struct waiting *next;
	void (*retry)(struct waiting *w);
	void (*drop)(struct waiting *w);
};
void waiting_add(struct net *n, struct waiting *w);
void waiting_retry(struct net *n);
void waiting_drop(struct net *n);
/* advertise.c */
void adverts_free(struct net *n);			/* once the pool is gone */
/* sandbox_reap.c */
void reaper_free(struct reaper *r);			/* once the pool is gone */
void reaper_forget(struct net *n, struct network *nw);	/* the network goes before what rests */

#endif
