/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_PRIV_H
#define KEDGE_DNS_PRIV_H

#include "dns/cache.h"
#include "dns/dns.h"
#include "dns/forward.h"
#include "dns/hostconf.h"
#include "dns/transport.h"

/* Seen by src/dns only. */

enum {
	UDP_BATCH = 32,			/* datagrams a turn: the loop's others wait for as long as these take, some 50 us */
	UDP_QUERY_MAX = 4096,
	UDP_ANSWER_MAX = 4096,		/* whatever the asker says it takes; loopback carries it in one piece */
	PENDING_MAX = 131072,		/* questions that wait for other servers, all askers together */
	PENDING_SERVER_MAX = 65536	/* those of one namespace: one that floods leaves room for the others */
};

struct pending;
struct conn;
struct conns;

struct dns_server {
	struct dns *dns;
	struct dns_server *next, **prev;
	char *label;
	int udp_fd, tcp_fd;
	struct loop_io *udp_io, *tcp_io;
	struct dns_view **views;
	size_t n_views;
	struct in6_addr *own;		/* addresses of the askers */
	size_t n_own;
	struct alias {
		struct dns_name name, target;
	} *aliases;
	size_t n_aliases;
	bool forwarding;
	struct dns_upstreams *upstreams;	/* own ones; NULL: the host's */
	struct dns_upstreams *usable;		/* what is asked: without servers that are the askers themselves; NULL: to be made out */
	struct pending *pending;	/* of UDP */
	unsigned n_pending;
	struct conn *conns;
	struct dns_lookup *lookups;
};

struct counters {
	uint64_t queries, local, cached, stale, forwarded, failed, malformed, dropped, truncated, tcp;
};

struct dns {
	struct loop *l;
	struct dns_cache *cache;
	size_t cache_bytes;
	struct dns_transport *transport;
	struct dns_forward *forward;
	struct hostconf *hostconf;
	struct dns_upstreams *host;
	struct dns_server *servers;
	struct conns *conns;
	struct dns_watch *watches;
	struct counters stats;
	unsigned n_pending;
	void (*host_changed)(void *user);
	void *host_changed_user;
	struct udp_buffers *buffers;	/* server.c; made with the first server */
};

/* ---- resolve.c ---- */

enum proto { PROTO_UDP, PROTO_TCP, PROTO_API };

/* Where an answer goes. */
struct asker {
	enum proto proto;
	struct dns_server *server;
	union {
		struct sockaddr_in from;
		struct conn *conn;
		struct dns_lookup *lookup;
	};
};

/* The length of the answer in out (of cap bytes, UDP_ANSWER_MAX at least), or 0: it comes later by *_reply(), or never. pending: the asker's list. */
size_t resolve(const struct asker *who, struct pending **pending, const uint8_t *msg, size_t n, uint8_t *out, size_t cap, int64_t now);
/* The asker is gone: forgets its questions. */
void pending_drop(struct pending **list);
/* What a server asks changed. */
void server_usable_reset(struct dns_server *s);

/* ---- server.c, conn.c ---- */
void udp_reply(struct dns_server *s, const struct sockaddr_in *to, const uint8_t *msg, size_t n);
void udp_buffers_free(struct dns *d);
struct conns *conns_new(struct dns *d);
void conns_free(struct conns *c);
void conn_accept(struct dns_server *s);
void conn_reply(struct conn *c, const uint8_t *msg, size_t n);
void conns_drop(struct dns_server *s);
void lookup_reply(struct dns_lookup *l, const uint8_t *msg, size_t n);

/* ---- dns.c ---- */
void watch_tell(struct dns *d, const struct dns_event *ev);

#endif
