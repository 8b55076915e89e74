/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_DNS_H
#define KEDGE_DNS_DNS_H

#include <jansson.h>

#include "base/err.h"
#include "dns/zone.h"
#include "loop/loop.h"

/*
 * The name server: names we know (dns/zone.h), and everything else from other servers with a cache. dns knows names, addresses, views, servers. All calls from the
 * loop's thread; none blocks. IPv4 addresses come mapped.
 */
struct dns;

struct dns_config {
	const char *resolv_conf;	/* the host's, watched; NULL: the host has no name servers */
	size_t cache_bytes;		/* 0: 8 MiB */
};
struct dns *dns_new(struct loop *l, const struct dns_config *cfg, struct err *e);
/* Servers must be gone. NULL is fine. */
void dns_free(struct dns *d);

/* What the host's file says, or said last when it cannot be read. Borrowed, NULL-terminated. */
char *const *dns_host_servers(const struct dns *d);
/* Called when it says something else. Takes the place of an earlier one; NULL: nobody. */
void dns_on_host_change(struct dns *d, void (*fn)(void *user), void *user);

/* One place where questions come from: a namespace, with what it may see. */
struct dns_server;
/* label: for the log of queries. Without forwarding and without views at first. */
struct dns_server *dns_server_new(struct dns *d, const char *label);
/* Nothing is answered any more; sockets are closed. NULL is fine. */
void dns_server_free(struct dns_server *s);
/*
 * Sockets as dns_server_sockets() makes them, in the namespace of the askers. Blocking calls; any thread that is there.
 * Port in host byte order; 0 leaves the choice to the kernel, both have the same. -errno.
 */
int dns_server_sockets(const struct in_addr *addr, uint16_t port, int *udp_fd, int *tcp_fd);
/* Serves them from now on, and owns them. In the place of earlier ones. */
void dns_server_listen_take(struct dns_server *s, int udp_fd, int tcp_fd);
/* Views are asked in the order in which they came. own: the addresses the askers have there: a name server at one of these would ask us again. */
void dns_server_view_add(struct dns_server *s, struct dns_view *v, const struct in6_addr *own, size_t n);
void dns_server_views_clear(struct dns_server *s);
/* A name only these askers know, for one the views know (links). -EINVAL. */
int dns_server_alias(struct dns_server *s, const char *alias, const char *name);
void dns_server_aliases_clear(struct dns_server *s);
/* Servers for what we do not know; n 0: the host's. */
int dns_server_upstreams(struct dns_server *s, const char *const *servers, size_t n, struct err *e);
/* false: what we do not know is SERVFAIL, and nothing leaves (a network without a way out). */
void dns_server_forwarding(struct dns_server *s, bool on);

/* A question from inside. done comes once, never from inside the call; msg NULL: the server went away. q as dns_write_query() makes it. */
struct dns_lookup;
struct dns_lookup *dns_lookup(struct dns_server *s, const uint8_t *q, size_t n, void (*done)(void *user, const uint8_t *msg, size_t n), void *user);
void dns_lookup_cancel(struct dns_lookup *l);

/* Who asked what, and how it was answered. */
enum dns_source { DNS_FROM_LOCAL, DNS_FROM_CACHE, DNS_FROM_STALE, DNS_FROM_UPSTREAM, DNS_FROM_NOBODY, DNS_SOURCE_COUNT };
const char *dns_source_text(enum dns_source s);		/* "local", "cache", "stale", "upstream", "none" */
struct dns_event {
	const char *label;
	const char *proto;		/* "udp", "tcp", "api" */
	const struct dns_name *name;
	uint16_t type, rcode;
	enum dns_source source;
	const char *from;		/* the server's address, "" */
	int64_t took_ns;
};
struct dns_watch;
struct dns_watch *dns_watch(struct dns *d, void (*fn)(void *user, const struct dns_event *ev), void *user);
void dns_watch_free(struct dns_watch *w);
/*
 * {"Queries", "Local", "Cached", "Stale", "Forwarded", "Failed", "Malformed", "Dropped", "Truncated", "TCP", "Cache": {"Entries", "Bytes", "MaxBytes"},
 *  "Forwarder": {...}, "Upstreams": [{"Address", "Sent", "Answered", "Down"}], "Servers": n}: new reference.
 */
json_t *dns_stats(const struct dns *d);
void dns_cache_clear(struct dns *d);

#endif
