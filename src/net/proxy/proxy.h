/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_PROXY_PROXY_H
#define KEDGE_NET_PROXY_PROXY_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "net/policy.h"

/*
 * The userland proxy: what arrives at a published port's own socket goes to the container. One data-plane thread with a loop of its own
 * for all ports; calls are for the main loop's thread.
 */
struct proxy;
struct proxy *proxy_new(struct loop *main_loop, struct err *e);
/* Ends the thread; connections through it end too. */
void proxy_free(struct proxy *p);

/* Several backends: a client has a slot by its address and port, or its address alone. */
enum { PROXY_SLOTS = 251, PROXY_NOBODY = 0xffff };

struct proxy_balance {
	bool affinity;
	uint16_t slot[PROXY_SLOTS];	/* index into to, or PROXY_NOBODY */
	size_t n;
	struct proxy_backend {
		struct in6_addr addr;
		uint16_t port;
	} to[];
};

struct proxy_port;
struct proxy_target {
	uint8_t proto;
	struct in6_addr addr;		/* the container; unspecified: nobody */
	struct in6_addr addr6;		/* the same for clients that come over IPv6; ::: there is no other */
	uint16_t port;
	struct proxy_balance *balance;	/* instead of these; the port's, which frees it; or NULL */
	const struct net_policy *policy;	/* whom it is for; borrowed until the port is closed; NULL: everybody */
	/*
	 * The container sees its clients' own addresses, of this family, by sockets that bear them (IP_TRANSPARENT): its answers find their way back here. Not
	 * so those of its own networks (near4, near6; prefix 0: none), whom it answers directly. SCTP has no such sockets.
	 */
	bool keep4, keep6;
	struct net_cidr near4, near6;
	uint16_t first;			/* not 0: connections and datagrams come on many ports; one to port h goes to port + (h - first) */
};
/* fd is a listening TCP or SCTP or a bound UDP socket, non-blocking; taken. The thread starts with the first port. */
struct proxy_port *proxy_port_open_take(struct proxy *p, int fd, const struct proxy_target *to);
/*
 * New connections and datagrams go there from now on; to an unspecified address: nowhere, they are refused. Its UDP flows start anew, but for those to
 * one of several backends that is still among them.
 */
void proxy_port_retarget(struct proxy *p, struct proxy_port *port, const struct proxy_target *to);
/* Ends n ports with their connections and flows; done(user) on the main loop once their sockets are closed. ports is copied. */
void proxy_ports_close(struct proxy *p, struct proxy_port *const *ports, size_t n, void (*done)(void *user), void *user);

/* Clients of these subnets (internal networks) are served by no port. c is copied. */
void proxy_bar(struct proxy *p, const struct net_cidr *c, size_t n);

struct proxy_counts {
	uint64_t tcp_opened, tcp_failed, tcp_bytes, udp_flows, udp_packets, udp_dropped, sctp_opened, sctp_failed, sctp_messages;
	uint32_t tcp_now, udp_now, sctp_now;
};
void proxy_counts(const struct proxy *p, struct proxy_counts *ret);

#endif
