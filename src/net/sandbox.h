/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_SANDBOX_H
#define KEDGE_NET_SANDBOX_H

#include "net/net_priv.h"
#include "net/policy.h"

/* Seen by sandbox*.c, endpoint.c and record.c only. */

/* A sandbox's place on a network: interface pair, addresses, names. */
struct endpoint {
	struct net *n;
	struct network *nw;		/* NULL after adoption of a record whose network is gone */
	char id[65];
	char *want_ip, *want_ip6, *want_mac, *want_ifname, *want_sysctls;	/* as asked for, or NULL */
	char **link_local;		/* addresses besides, in words, or NULL */
	char **names, **links;		/* NULL-terminated, or NULL */
	struct dns_host *host;		/* they are in force */
	int gw_priority;
	bool counted;			/* in nw->busy */
	bool decided;			/* has what endpoint_decide() gives */
	struct ipam *pool4, *pool6;	/* what the addresses are from; NULL: no such address, or not ours to give back */
	bool has4, has6;
	struct in6_addr addr4, addr6;
	uint8_t mac[6];
	char veth[16];			/* "": none */
	char ifname[16];		/* inside */
	uint32_t ifindex, generation;
	struct endpoint *next;		/* the reaper's */
};

/* Changes of a sandbox, one at a time. go() is called when it is this one's turn; sandbox_change_done() ends it. */
struct change {
	struct change *next;
	void (*go)(struct change *c);
};

struct sandbox {
	struct net *n;
	char id[65];			/* of the container */
	char *name, *path;		/* path of the namespace, NULL: the host's */
	char **past_names;		/* given up during a change, whose worker may be about to say it still */
	size_t n_past_names;
	bool joined;			/* the namespace is another sandbox's */
	bool closing;
	struct endpoint **ep;
	size_t n_ep;
	struct endpoint *gw4, *gw6;	/* give the default routes and the published ports; NULL: none */
	char *policy_text, *sources_text;	/* of the published ports, as asked for, or NULL */
	struct net_policy policy;
	bool guarding, relaying_sctp;	/* guard_get(), sctp_source_get() were called for it */
	struct port_bound *ports;
	size_t n_ports;
	struct proxy_port **proxies;
	struct proxied {
		size_t port;		/* index of its port */
		int fd;			/* its socket, borrowed: the proxy's */
	} *proxied;			/* one for each of proxies */
	size_t n_proxies;
	struct routed_port {		/* opened at the container's own address: sandbox_routed.c */
		uint8_t proto;
		uint16_t port, count;
		bool family[2];		/* which of its addresses: IPv4, IPv6 */
	} *routed;
	size_t n_routed;
	char **nameservers;		/* those asked for; NULL: the host's */
	bool want_dns, unready;
	int dns_udp, dns_tcp;		/* opened by a worker, until the server has them; -1 */
	struct dns_server *server;
	struct change *now, *later;	/* later: in order */
};

/* sandbox.c */
struct sandbox *sandbox_new(struct net *n, const char *id);
struct endpoint *sandbox_by_addr(const struct sandbox *s, const struct in6_addr *addr);	/* whose address it is, or NULL */
const struct endpoint *sandbox_main(const struct sandbox *s);	/* the one with the default route, else the first; NULL: none */
struct endpoint *sandbox_endpoint(const struct sandbox *s, const struct network *nw);
void sandbox_ep_add(struct sandbox *s, struct endpoint *ep);
void sandbox_ep_remove(struct sandbox *s, const struct endpoint *ep);	/* it lives on */
/* Who gives the default routes, leaving one endpoint aside (NULL: none). */
void sandbox_gateways(const struct sandbox *s, const struct endpoint *without, struct endpoint **gw4, struct endpoint **gw6);
/* Names the interface of an endpoint that is decided: as wanted, or the first free ethN. */
int sandbox_ifname(const struct sandbox *s, struct endpoint *ep, struct err *e);
void sandbox_change(struct sandbox *s, struct change *c);
void sandbox_change_done(struct sandbox *s);

/* endpoint.c */
struct endpoint *endpoint_new(struct net *n, const struct net_endpoint_spec *spec);
void endpoint_free(struct endpoint *ep);		/* gives its addresses back */
/* Network, addresses, MAC. 0, -1, or 1: a wanted address rests, ask again after waiting_add(). */
int endpoint_decide(struct endpoint *ep, const char *network, struct err *e);
bool endpoint_has_link(const struct endpoint *ep);	/* an interface of its own inside: not on host and none */
int endpoint_dp_set(const struct endpoint *ep, struct err *e);
void endpoint_dp_del(const struct endpoint *ep);
/* The subnet of an address, for its prefix and gateway. */
const struct net_cidr *endpoint_subnet(const struct endpoint *ep, bool v6);
const struct in6_addr *endpoint_gateway(const struct endpoint *ep, bool v6);	/* NULL: none */
bool endpoint_link_local(const struct endpoint *ep, bool v6);	/* has such addresses besides */
bool endpoint_leads_out(const struct endpoint *ep, bool v6);	/* a default route may go by it, with a gateway or without */

/* advertise.c: the kernel does not announce its address by itself, where we do or nobody shall. Blocking; before it is up. */
int endpoint_quiet(const struct endpoint *ep, int ns, struct err *e);
/* Tells its neighbours whose its addresses are now. It is in the kernel and part of the sandbox. */
void endpoint_advertise(const struct sandbox *s, const struct endpoint *ep);

/* sandbox_ports.c: published ports in the data path and the proxy, by the endpoints that give the default routes. */
int sandbox_ports_set(struct sandbox *s, struct err *e);
void sandbox_ports_del(struct sandbox *s);
void sandbox_relays_end(struct sandbox *s);
void sandbox_proxies_open(struct sandbox *s);
/* The endpoints have changed: ports go to the new ones. */
int sandbox_ports_move(struct sandbox *s, struct endpoint *gw4, struct endpoint *gw6, struct err *e);

/* sandbox_routed.c: ports on networks that are routed instead of translated. */
/* Takes from wanted what is routed; returns how many are left. */
size_t sandbox_routed_split(struct sandbox *s, struct net_port *wanted, size_t n);
int sandbox_routed_set(const struct sandbox *s, struct err *e);
void sandbox_routed_del(const struct sandbox *s);
json_t *sandbox_routed_record(const struct sandbox *s);
void sandbox_routed_read(struct sandbox *s, const json_t *record);

/* sysctls.c: blocking; those of an endpoint, inside its namespace. */
int endpoint_sysctls(const struct endpoint *ep, int ns, struct err *e);

/* sandbox_kernel.c: blocking, on a pool thread. */
int sandbox_kernel_open(struct sandbox *s, const struct net_port *wanted, size_t n_wanted, struct err *e);	/* everything or nothing */
void sandbox_kernel_close(struct sandbox *s);		/* the namespace only */
/* One endpoint more in an open sandbox; gw4 and gw6 are who gives the default routes then. Everything or nothing. */
int sandbox_kernel_connect(struct sandbox *s, struct endpoint *ep, struct endpoint *gw4, struct endpoint *gw6, struct err *e);
int sandbox_kernel_disconnect(struct sandbox *s, struct endpoint *ep, struct endpoint *gw4, struct endpoint *gw6, struct err *e);

/* sandbox_reap.c: takes an endpoint whose veth is to go; frees it when that is done, then calls waiting_retry(). */
void endpoint_reap_take(struct endpoint *ep);

/* record.c */
json_t *record_of(const struct sandbox *s);
int record_read(const json_t *record, struct sandbox *s, struct err *e);
/* The published ports of a record, for adoption. */
int record_ports(const json_t *record, struct net_port **ret, size_t *n, struct err *e);

#endif
