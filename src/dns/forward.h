/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_FORWARD_H
#define KEDGE_DNS_FORWARD_H

#include <sys/socket.h>

#include "base/err.h"
#include "dns/cache.h"
#include "dns/wire.h"

/*
 * Questions to other servers: one flight a question, however many ask it. Decides what is sent when and which answer counts; sockets and timers are
 * the transport's (dns/transport.h; a script in tests). Monotonic nanoseconds from clock_now().
 */
struct dns_forward;
struct dns_flight;

/* One server. */
struct dns_upstream {
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char text[64];			/* "192.0.2.1" or "192.0.2.1:5353" */
	/* the forwarder's */
	unsigned missed;		/* steps without an answer since the last one */
	int64_t probe_at;		/* down: when to look again */
	bool down, no_edns;
	uint64_t sent, answered;
	void *transport;		/* the transport's */
};

/* Servers asked in this order. Those who want the same share one, and with it the cached answers (id is the cache's scope). */
struct dns_upstreams {
	uint32_t id;
	unsigned refs;
	struct dns_upstreams *next;
	size_t n;
	struct dns_upstream servers[];
};

/* A socket's questions in flight. The transport embeds it, starts it zeroed with a number of its own, and calls dns_forward_slot_gone() before it ends. */
struct dns_slot {
	uint32_t number;
	struct dns_attempt *attempts;
	unsigned n;
};

struct dns_forward_ops {
	/* Over UDP from a port nobody can guess. 0 with *slot, or -errno. */
	int (*send)(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, struct dns_slot **slot);
	/* Over TCP; dns_forward_tcp_done(f, token, ...) follows, never from inside. -errno: it does not. */
	int (*tcp)(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, uint64_t token);
	/* dns_forward_run() is wanted at that time; INT64_MAX: not at all. */
	void (*wake)(void *user, int64_t at);
	/* u ends: its sockets go. */
	void (*gone)(void *user, struct dns_upstream *u);
	void *user;
};

struct dns_result {
	const uint8_t *msg;		/* NULL: nobody answered */
	const struct dns_answer *answer;
	const char *from;		/* the server's text, or "" */
};

/* Somebody who waits; embedded in what the caller keeps of the question. */
struct dns_ask {
	struct dns_ask *next, **prev;	/* prev NULL: not waiting */
	/* Once. The ask belongs to the caller again before the call. */
	void (*done)(struct dns_ask *a, const struct dns_result *r);
	/* It takes long (DNS_LATE): a caller that has something else for the asker cancels this ask. NULL: it waits. */
	void (*late)(struct dns_ask *a);
};

/* The reasons are told in forward.c. */
#define DNS_RACE 300000000ll		/* the next server is asked as well */
#define DNS_PASS 1200000000ll		/* all have been asked: once more */
#define DNS_LATE 1800000000ll		/* RFC 8767 5: an asker is given what is stale */
#define DNS_END 4500000000ll		/* SERVFAIL */
#define DNS_PROBE 5000000000ll		/* a server that does not answer is looked at again */
enum { DNS_FLIGHTS_MAX = 131072, DNS_ATTEMPTS_MAX = 8, DNS_DOWN_AFTER = 3, DNS_EDNS_SIZE = 1232 };

struct dns_forward *dns_forward_new(const struct dns_forward_ops *ops, struct dns_cache *cache);
/* Flights end without a call. */
void dns_forward_free(struct dns_forward *f);

/* The set of these servers ("192.0.2.1", "2001:db8::1", with ":port" or "[...]:port"): a reference. NULL with e; n 0 is a set that answers nothing. */
struct dns_upstreams *dns_upstreams_get(struct dns_forward *f, const char *const *servers, size_t n, struct err *e);
/* The same without the servers that have one of these addresses. */
struct dns_upstreams *dns_upstreams_without(struct dns_forward *f, struct dns_upstreams *s, const struct in6_addr *addrs, size_t n);
bool dns_upstreams_has(const struct dns_upstreams *s, const struct in6_addr *addrs, size_t n);
struct dns_upstreams *dns_upstreams_ref(struct dns_upstreams *s);
void dns_upstreams_unref(struct dns_forward *f, struct dns_upstreams *s);

/* Joins the flight of k (k->scope is s->id), or starts one. a->done comes later, never from inside. -EAGAIN: too much is in flight; -ENETUNREACH: no servers. */
int dns_forward_ask(struct dns_forward *f, struct dns_upstreams *s, const struct dns_key *k, struct dns_ask *a);
/* No call any more. The flight goes on for the cache's sake. */
void dns_forward_cancel(struct dns_ask *a);

/* From the transport: a datagram, an ICMP error, the end of a TCP exchange (msg NULL: failed), time. */
void dns_forward_receive(struct dns_forward *f, struct dns_slot *slot, const uint8_t *msg, size_t n);
void dns_forward_refused(struct dns_forward *f, struct dns_slot *slot);
void dns_forward_slot_gone(struct dns_forward *f, struct dns_slot *slot);
void dns_forward_tcp_done(struct dns_forward *f, uint64_t token, const uint8_t *msg, size_t n);
void dns_forward_run(struct dns_forward *f);

struct dns_forward_stats {
	uint64_t flights, joined, sent, tcp, answered, failed, raced, unmatched, mismatched, malformed, full;
	uint64_t in_flight;
};
void dns_forward_stats(const struct dns_forward *f, struct dns_forward_stats *ret);
const struct dns_upstreams *dns_forward_sets(const struct dns_forward *f);	/* a list by ->next */

#endif
