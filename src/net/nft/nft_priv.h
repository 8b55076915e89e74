/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_NFT_PRIV_H
#define KEDGE_NET_NFT_PRIV_H

/* Shared by the files of src/net/nft; nobody else includes this. */

#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "net/datapath.h"

/* The table's sets and maps. The numbers are their ids inside a batch; the names, keys and values stand in ruleset.c. */
enum nft_set {
	SET_BRIDGES,		/* interface index of every bridge of ours */
	SET_PAIRS,		/* (in, out): bridges whose endpoints may talk to each other */
	SET_INTERNAL,		/* bridges without a way out or in */
	SET_OPEN4, SET_OPEN6,	/* subnets whose addresses may be reached from outside; intervals */
	SET_PING4, SET_PING6,	/* the same for ICMP alone */
	SET_ROUTED4, SET_ROUTED6,	/* (endpoint's address, protocol, port): may be reached at that, untranslated */
	SET_DIRECT4, SET_DIRECT6,	/* the same, from the interfaces of the next set */
	SET_TRUSTED,		/* (uplink, bridge) */
	SET_LENT4, SET_LENT6,	/* uplinks of a host that is no router */
	SET_SNAT4, SET_SNAT6,	/* subnets -> the address their packets get on their way out; intervals */
	SET_MASQ4, SET_MASQ6,	/* subnets whose packets get an address of the host's on their way out; intervals */
	SET_GW4, SET_GW6,	/* (bridge's own address, the bridge) of internal networks */
	SET_PUB4, SET_PUB6,	/* (host's address, protocol, port) -> (endpoint's address, port) */
	SET_ANY4, SET_ANY6,	/* (protocol, port) -> (endpoint's address, port) */
	SET_NEARPUB4, SET_NEARPUB6,	/* the keys of the maps above with the bridge of the endpoint behind them: from there it is not translated */
	SET_NEAR4, SET_NEAR6,
	SET_LIMITED4, SET_LIMITED6,	/* endpoints whose published ports are for some only */
	SET_SOURCES4, SET_SOURCES6,	/* (endpoint's address, who may); intervals */
	SET_GUARDS,			/* bridges where sockets of ours bear clients' addresses */
	SET_LB4, SET_LB6,		/* several backends: the keys of the maps of ports with a slot behind them -> (endpoint's address, port) */
	SET_LBANY4, SET_LBANY6,
	SET_STICKY4, SET_STICKY6,	/* the same, where the slot is a client's by its address alone */
	SET_STICKYANY4, SET_STICKYANY6,
	SET_COUNT
};

enum { NFT_LO = 1 };			/* the loopback interface's index in every network namespace */
enum { NFT_LB_SLOTS = 251 };		/* prime; a weight is good to four in a thousand */

/* What not every kernel's nftables has. */
enum { CAN_SOURCES = 1, CAN_GUARD = 2, CAN_BALANCE = 4, CAN_LOG = 8, CAN_OWN = 16, CAN_REVERSE = 32, CAN_ALL = 63 };

enum { DROP_GROUP = 27495 };		/* netfilter's log group that dropped packets go to */
enum { TOLD_BURST = 200, TOLD_RATE = 800 };	/* of them: together 1,000 in a second at most, what the other data path tells */

/* Why a packet was dropped: named counters, with a chain each. */
enum nft_drop { DROP_UNPUBLISHED, DROP_ISOLATED, DROP_INTERNAL, DROP_LOOPBACK, DROP_SOURCE, DROP_SPOOFED, DROP_COUNT };
extern const char *const nft_drop_names[DROP_COUNT];

/* One transaction: messages one after the other, all of them or none take effect. */
struct batch {
	char *data;
	size_t len, cap;
	uint32_t seq;
	unsigned messages;
};

enum { ELEM_KEY_MAX = 32, ELEM_DATA_MAX = 20 };

struct elem {
	enum nft_set set;
	/* end: of an interval, the first address behind it; all zero: up to the last one. Of one in a key of several parts: the last key. */
	uint8_t key[ELEM_KEY_MAX], end[ELEM_KEY_MAX];
	uint8_t data[ELEM_DATA_MAX];
};

struct nft_pub;

struct datapath {
	struct mnl_socket *sock;
	char table[80];
	uint32_t seq;
	struct map *elems;		/* what the kernel shall have: text of set and key -> struct elem */
	struct dp_net *nets;
	size_t n_nets;
	struct map *endpoints;		/* address as text -> index of its bridge + 1, as a pointer */
	unsigned can;			/* CAN_* */
	bool marks_only;		/* the table has the set guards and the chain mark, and that is all (marks.h) */
	bool guard;
	uint64_t counted[DROP_COUNT];	/* as last read: what a table that is put back goes on from */
	struct nft_lb *lbs;		/* lb.c */
	struct nft_keeper *keeper;	/* keep.c */
	/* drops.c, while somebody listens */
	struct loop *l;
	struct mnl_socket *log;
	struct loop_io *log_io;
	void (*on_drop)(void *user, const struct dp_drop *x);
	void *drop_user;
	uint64_t untold, untold_said;	/* dropped packets over the limit: as last read, and what listeners have heard of */
	int64_t untold_at;		/* last looked at for them */
	uint32_t log_seq;		/* of the last one told */
};

/* batch.c */
void batch_begin(struct datapath *d, struct batch *b);
/* Room for one message of this type; the caller builds its payload and calls batch_put(). */
struct nlmsghdr *batch_message(struct batch *b, uint16_t type, uint16_t flags);
void batch_put(struct batch *b, const struct nlmsghdr *h);
/* Ends, sends, frees. 0 or -errno: the first message's that failed. */
int batch_commit(struct datapath *d, struct batch *b);
/* A dump: cb for each message. 0 or -errno. */
int nfnl_dump(struct datapath *d, struct nlmsghdr *h, mnl_cb_t cb, void *user);

/* ruleset.c: the table with everything but its elements, as one transaction that leaves elements and counters of an earlier run as they are. */
int ruleset_put(struct datapath *d);
/* The table anew with all its elements in one transaction, whatever became of it; counters go on from what they were when last read. */
int ruleset_restore(struct datapath *d);
int ruleset_delete(struct datapath *d);		/* the whole table; missing is fine */
bool set_exists(const struct datapath *d, enum nft_set s);	/* on this kernel */
size_t set_key_len(enum nft_set s);
size_t set_data_len(enum nft_set s);		/* 0: not a map */
bool set_is_interval(enum nft_set s);
bool set_is_concat(enum nft_set s);		/* an interval whose key has several parts */
const char *set_name(enum nft_set s);
/* {"unpublished": packets, ...}; new reference. Reads d->counted and d->untold. */
json_t *ruleset_drops(struct datapath *d);

/* elems.c */
int elem_put(struct datapath *d, const struct elem *el);
int elem_del(struct datapath *d, const struct elem *el);
/* All of it or nothing, in one transaction. */
int elems_change(struct datapath *d, const struct elem *del, size_t n_del, const struct elem *add, size_t n_add);
int elems_rewrite(struct datapath *d);		/* the kernel gets exactly d->elems, in one transaction */
void elems_append(struct datapath *d, struct batch *b);		/* all of d->elems, into sets that are empty then */

/* nft.c */
uint32_t nft_bridge_of(const struct datapath *d, const struct in6_addr *endpoint);
size_t elem_put_addr(uint8_t *p, const struct in6_addr *a);	/* in its own width; how many bytes */
void elem_put_port(uint8_t *p, uint16_t port);
void elem_put_u32(uint8_t *p, uint32_t v);	/* as registers have it */

/* keep.c: puts the table back when somebody else has removed or altered something of it. */
void nft_keeper_open(struct datapath *d);
void nft_keeper_close(struct datapath *d);
/* A request found something of the table missing: 0, it is there now; 1, it will be, with all elements, when others let it; or -errno. */
int nft_keeper_now(struct datapath *d);

/* sources.c: lists of who may use an endpoint's published ports. */
int sources_put(struct datapath *d, const struct dp_publish *p, struct err *e);
void sources_del(struct datapath *d, const struct in6_addr *endpoint);

/* lb.c */
int nft_lb_set(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e);
int nft_lb_del(struct datapath *d, const struct dp_lb *lb);
void lbs_free(struct datapath *d);

/* drops.c, flows.c: for people who look. */
int nft_drops_listen(struct datapath *d, void (*fn)(void *user, const struct dp_drop *x), void *user, struct err *e);
void nft_drops_close(struct datapath *d);
void nft_flows(struct datapath *d, void (*fn)(void *user, const struct dp_flow *f), void *user);
void nft_flows_count(void);			/* connection tracking counts and keeps times from now on */

struct ct_tuple {
	struct in6_addr src, dst;
	uint16_t sport, dport;
	uint8_t proto;
};
/* Of an attribute CTA_TUPLE_*. */
bool conntrack_tuple(const struct nlattr *a, bool v4, struct ct_tuple *t);
struct nlmsghdr *conntrack_request(char *buf, uint16_t type, uint16_t flags, uint8_t family);

/* conntrack.c: forgets flows. Quiet: a flow more or less is not worth an error. */
void conntrack_forget_addr(struct datapath *d, const struct in6_addr *addr);
/* Flows that containers have begun towards others without the translation their network wants: of a time without the table. */
void conntrack_forget_bare(struct datapath *d);
/* Those that came for a port of the host, before it was published (untranslated: but not those that reach a container). host_addr ::: any. */
void conntrack_forget_port(struct datapath *d, bool v4, uint8_t proto, const struct in6_addr *host_addr, uint16_t port, bool untranslated);

#endif
