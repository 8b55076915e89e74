/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_NET_H
#define KEDGE_NET_NET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "store/store.h"

struct dns;

/*
 * Networks, sandboxes (one network namespace each), endpoints, published ports. net knows names and addresses only.
 */
struct net;

struct net_config {
	const char *exec_root;		/* namespaces are bound below <exec_root>/netns/ */
	const char *instance;		/* names pins: /sys/fs/bpf/kedge/<instance>/ */
	const char *bridge;		/* "kedge0" */
	const char *bip;		/* CIDR of the default bridge, NULL: first free pool from 172.17.0.0/16 on */
	char *const *pools;		/* default pools, "base=10.10.0.0/16,size=24"; NULL or none: docker's */
	const char *datapath;		/* "auto", "ebpf", "proxy" */
	const char *xdp;		/* "auto", "off", "native"; NULL: auto */
	struct dns *dns;		/* answers names; borrowed. NULL: nobody does */
	bool ip_forward;		/* may the engine set net.ipv4.ip_forward when a path needs it */
};

/* Brings up the default networks (bridge, host, none), opens the data path, adopting pins of an earlier run. Blocking; at start. */
struct net *net_new(struct loop *l, struct work_pool *p, struct store *st, const struct net_config *cfg, struct err *e);
/* Leaves everything in the kernel as it is: containers go on. */
void net_free(struct net *n);
const char *net_datapath_name(const struct net *n);	/* "ebpf", "proxy" */

/*
 * Networks in the API's shape (NetworkInspect without Containers; the engine adds them). New references. References are names, ids or
 * unambiguous prefixes of ids; "network x not found".
 */
json_t *net_list(const struct net *n);
json_t *net_inspect(const struct net *n, const char *name_or_id, struct err *e);
/*
 * body: NetworkCreateRequest, borrowed. done once the network is in the kernel and on disk (warning may be NULL), or nothing is. A name that is in
 * use: ERR_CONFLICT "network with name x already exists"; subnets that overlap another network's: ERR_FORBIDDEN.
 */
void net_network_create(struct net *n, const json_t *body, void (*done)(void *user, const char *id, const char *warning, const struct err *e), void *user);
/* done once its removal is on disk; its bridge goes a moment later. Predefined ones and ones with endpoints: ERR_FORBIDDEN. */
void net_network_remove(struct net *n, const char *ref, void (*done)(void *user, const struct err *e), void *user);

/* A port to publish. */
struct net_port {
	uint8_t proto;			/* IPPROTO_TCP, _UDP, _SCTP */
	uint16_t port;			/* in the container, host byte order */
	char host_ip[46];		/* "" = every address */
	uint16_t host_port, host_port_end;	/* range to pick from; 0: the kernel picks */
	uint16_t count;			/* 0 and 1: one port; more: as many from port on, to as many from host_port on, which is no range to pick from then */
};
static inline unsigned net_port_count(const struct net_port *p)
{
	return p->count ? p->count : 1;
}
/*
 * Pure: docker's ExposedPorts/PortBindings ("80/tcp" -> [{"HostIp","HostPort": "8080" | "8000-8010" | ""}]) into a list the caller frees.
 * publish_all adds every exposed port without a binding, on an ephemeral port. Errors name the bad value.
 */
int net_ports_from_api(const json_t *exposed, const json_t *bindings, bool publish_all, struct net_port **ret, size_t *n, struct err *e);

/* A container's place on a network. */
struct net_endpoint_spec {
	const char *network;		/* name or id; "host", "none" too */
	const char *ip, *ip6, *mac;	/* wanted, or NULL */
	const char *const *link_local;	/* addresses of 169.254.0.0/16 and fe80::/10 its interface has besides; see net_link_local_check() */
	size_t n_link_local;
	const char *ifname;		/* of the interface inside, NULL: the first free ethN */
	const char *sysctls;		/* "net.ipv4.conf.IFNAME.log_martians=1,...", IFNAME standing for the interface; checked by net_sysctls_check(); or NULL */
	int gw_priority;		/* the highest one gives the default routes; equals: the name that sorts first */
	const char *const *names;	/* under which the others on the network find it: the container's name first, its short id, aliases */
	size_t n_names;
	const char *const *links;	/* "container:alias": other names this one knows others by */
	size_t n_links;
};

int net_link_local_check(const char *text, struct err *e);	/* pure */
/* Pure: settings of one interface only, conf and neigh of both families. */
int net_sysctls_check(const char *text, struct err *e);

struct net_sandbox_spec {
	const char *id;			/* container id */
	const char *name;		/* for messages: container name */
	const char *join;		/* path of the namespace of another sandbox to share, NULL: an own one. Then there are no endpoints and no ports. */
	const struct net_endpoint_spec *endpoints;	/* the one whose interface comes first, first */
	size_t n_endpoints;
	const char *const *nameservers;	/* asked for what the networks' names are not; none: the host's */
	size_t n_nameservers;
	const struct net_port *ports;
	size_t n_ports;
	const char *publish_policy, *publish_sources;	/* as policy.h has them; NULL: direct, everybody */
};

/*
 * Creates the namespace, the endpoints and the published ports; everything or nothing. done(record, NULL): record is a document
 * the engine keeps (borrowed in the call) and hands back to adopt/close after a restart:
 *   {"NetNS": path ("" for host), "Endpoints": [{"NetworkID", "Network": name, "EndpointID", "HostVeth", "IfName", "MacAddress", "IPAddress",
 *    "IPPrefixLen", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway", "GwPriority", "DNSNames", "Links"}],
 *    "Binds": published ports, for net_record_ports(),
 *    "Nameserver": "127.0.0.11" when there is one inside, else ""}
 * Conflicts: "... Bind for 0.0.0.0:8080 failed: port is already allocated" (another sandbox) or "... address already in use" (a host process),
 * worded as docker's "driver failed programming external connectivity on endpoint NAME (ID): ...".
 * spec is copied.
 */
typedef void net_record_done(void *user, json_t *record, const struct err *e);
/* The published ports of a record, in runs of count ports from port and host_port on; one that is on every address comes once a family. Ports of
 * routed networks are there too, with host_port 0. Pure. */
struct net_published {
	const char *proto;		/* "tcp" */
	const char *host_ip;
	uint16_t port, host_port;
	unsigned count;
};
void net_record_ports_each(const json_t *record, void (*fn)(void *user, const struct net_published *p), void *user);
/* As the API shows them: {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}, new reference. */
json_t *net_record_ports(const json_t *record);
/*
 * Thousands of ports make documents of megabytes. Fold: long runs of keys in ExposedPorts ({"80/tcp": {}}) and PortBindings become one key each, in the API's
 * own words for ranges ("8000-8999/tcp", "HostPort": "9000-9999"), which net_ports_from_api() takes. NULL: it is not worth it. Unfold: a key for
 * each port again. Both give new references; what is not understood stays as it is. Pure.
 */
json_t *net_ports_fold(const json_t *ports);
json_t *net_ports_unfold(const json_t *ports);
/* Where the namespace of a container will be; the caller frees. */
char *net_sandbox_path(const struct net *n, const char *id);
void net_sandbox_open(struct net *n, const struct net_sandbox_spec *spec, net_record_done *done, void *user);
/*
 * Puts an open sandbox on one more network, or takes it off one, without touching its other endpoints; default routes and published ports move when
 * another endpoint is to give them. Changes of one sandbox happen one after the other. done gets the new record; after an error nothing has changed.
 */
void net_sandbox_connect(struct net *n, const char *id, const struct net_endpoint_spec *spec, net_record_done *done, void *user);
void net_sandbox_disconnect(struct net *n, const char *id, const char *network, net_record_done *done, void *user);
/* Other names for its endpoint on the network from now on; the new record (a new reference), NULL when there is no such endpoint. */
json_t *net_sandbox_rename(struct net *n, const char *id, const char *name, const char *network, const char *const *names, size_t n_names);
/* A sandbox that is not ready does not answer for names that another one has too. */
void net_sandbox_ready(struct net *n, const char *id, bool ready);
/* Removes ports, flows, veth, namespace, address. Missing parts are fine. record is copied. */
void net_sandbox_close(struct net *n, const char *id, const json_t *record, void (*done)(void *user), void *user);
/* After a restart: takes over what is in the kernel (address, reserved listeners, data path entries); blocking, at start. */
int net_sandbox_adopt(struct net *n, const char *id, const json_t *record, struct err *e);
/* After all adoptions: removes namespaces, veths and data path entries below our roots nobody adopted. */
void net_gc(struct net *n);
/* Counters of a sandbox as the API's stats "networks" value ({"eth0": {...}}); new reference, NULL without a veth. */
json_t *net_sandbox_stats(struct net *n, const char *id);

/*
 * A question to the name server, as the container with that id or else a member of the network would ask it (NULL, NULL: nobody's names, the host's servers).
 * done comes once, never from inside, with {"Status": "NOERROR", "Answers": [{"Name", "Type", "TTL", "Data"}], "Source": "local" | "cache" | "stale" |
 * "upstream" | "none", "Upstream": address, "Milliseconds"}, borrowed. -1 with e: it does not come.
 */
int net_dns_query(struct net *n, const char *sandbox, const char *network, const char *name, const char *type,
		  void (*done)(void *user, json_t *result, const struct err *e), void *user, struct err *e);
json_t *net_dns_stats(const struct net *n);	/* dns_stats(); new reference */
/* Every question of every container from now on: {"Time", "Container", "Protocol", "Name", "Type", "Status", "Source", "Upstream", "Milliseconds"}. NULL: no names here. */
struct net_dns_log;
struct net_dns_log *net_dns_log(struct net *n, void (*fn)(void *user, const json_t *line), void *user);
void net_dns_log_free(struct net_dns_log *l);
/* Sentences for /info about this host: published ports past a firewall that lets in only what it names. New reference. */
json_t *net_warnings(const struct net *n);
json_t *net_info(const struct net *n);	/* {"Datapath": .., "Flows": n, "Drops": {...}} for /info and tools */

#endif
