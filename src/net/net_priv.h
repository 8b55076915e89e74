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

enum { NET_MTU = 1500 };

struct watch;
struct reaper;
struct opening;

struct net {
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	char *netns_dir, *instance, *bridge, *bip, *pin_dir;
	bool ip_forward;
	const struct datapath_ops *ops;
	struct datapath *dp;
	struct rtnl *rtnl;		/* loop thread */
	struct watch *watch;
	struct map *networks;		/* id -> struct network */
	struct map *sandboxes;		/* container id -> struct sandbox */
	struct port_table *ports;
	struct proxy *proxy;
	struct net_drops *followers;	/* lab.c */
	unsigned pending;		/* closings under way */
	struct reaper *reaper;		/* sandbox_reap.c */
	struct opening *waiting;	/* for an address that rests */
	bool stopping;			/* in net_free(): the pool and the callers are gone */
};

enum network_driver { DRIVER_BRIDGE, DRIVER_HOST, DRIVER_NULL, DRIVER_COUNT };

struct network {
	char id[65];
	char *name;
	enum network_driver driver;
	json_t *doc;			/* the API's shape */
	/* DRIVER_BRIDGE */
	char bridge[16];
	uint32_t ifindex, mtu;
	uint8_t mac[6];
	struct ipam *ipam;
	bool masquerade, internal;
	unsigned busy;			/* sandboxes on it, and those being made */
	unsigned resting;		/* of these: closed, their veth still to be removed */
};

/* network.c */
int network_load(struct net *n, struct err *e);		/* defaults and stored ones, their bridges in the kernel */
struct network *network_find(const struct net *n, const char *ref, struct err *e);
struct network *network_by_id(const struct net *n, const char *id);
void network_free(struct network *nw);
/* "kedge:<instance>:<id>" */
void net_alias(const struct net *n, const char *id, char *out, size_t size);

/* watch.c: tells the data path of uplinks and addresses, now and later. */
struct watch *watch_new(struct net *n, struct err *e);
void watch_free(struct watch *w);
/* Gives a bridge the forwarding the data path wants of it, both families; watch.c keeps it so. */
void forwarding_ensure(const struct net *n, const char *bridge);
bool net_veth_name(const char *name);			/* of the form we give our veths */

/* netns.c; blocking, pool threads (and the start). */
/* A namespace bound at path, loopback up, its sysctls set; inner is an rtnetlink socket inside, fd a handle on it. */
int netns_new(const char *path, struct rtnl **inner, int *fd, struct err *e);
void netns_remove(const char *path);			/* missing is fine */
bool netns_is_bound(const char *path);

/* sandbox.c */
struct sandbox;
void sandbox_free(struct sandbox *s);			/* memory only */
void openings_drop(struct net *n);			/* waiting ones, without telling anybody */
/* sandbox_reap.c */
void reaper_free(struct reaper *r);			/* once the pool is gone */

#endif
