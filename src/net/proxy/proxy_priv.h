/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_PROXY_PRIV_H
#define KEDGE_NET_PROXY_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "net/proxy/proxy.h"

/* Seen by src/net/proxy only. Everything but the counters belongs to the proxy's thread. */

enum {
	PROXY_BUF = 65536,		/* the largest datagram; what a small TCP read can bring */
	PROXY_PIPES_KEPT = 32,		/* idle pipes kept for the next bulk transfer */
};

struct proxy_pipe {
	int r, w;
};

struct tcp_conn;
struct udp_flows;
struct udp_flow;
struct udp_batch;

struct proxy_thread {
	struct loop *l;
	char *buf;			/* PROXY_BUF bytes, used within one callback only */
	struct proxy_pipe pipes[PROXY_PIPES_KEPT];
	unsigned n_pipes;
	struct proxy_port *ports;
	unsigned conns, conns_max;	/* TCP; a share of the descriptor limit */
	unsigned flows, flows_max;	/* UDP */
	struct loop_timer *retry;	/* accepting again after descriptors were short */
	bool starved;
	struct proxy_stat *stat;
	struct net_cidr *barred;	/* clients that are served by no port */
	size_t n_barred;
	struct udp_batch *batch;
	struct udp_flow *oldest, *newest;	/* by last use */
	struct loop_timer *expiry;
};

struct proxy_stat {
	_Atomic uint64_t tcp_opened, tcp_failed, tcp_refused, tcp_bytes, udp_flows, udp_packets, udp_dropped;
	_Atomic uint32_t tcp_now, udp_now;
};

struct proxy_port {
	struct proxy_thread *t;
	struct proxy_port *next, **at;
	struct proxy_target to;
	int fd;
	struct loop_io *io;
	bool v6;			/* the socket's family */
	struct tcp_conn *conns;
	struct udp_flows *flows;
};

union proxy_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
socklen_t proxy_target_addr(const struct proxy_target *to, union proxy_addr *ret);

/* The client's address, and the one of ours it came to (:: when not known). The host itself may always. */
bool proxy_allows(const struct proxy_port *p, const struct in6_addr *client, const struct in6_addr *local);
/* Whose a new flow is, where there are several backends; port in host order. False: nobody's. */
bool proxy_pick(struct proxy_target *to, const struct in6_addr *client, uint16_t port);
/*
 * Before a connect: fd shall speak to the target with the client's address, where that is wanted and can be. 0 or -errno; local as above.
 */
int proxy_bear(const struct proxy_target *to, int fd, const struct in6_addr *client, const struct in6_addr *local);
void proxy_starved(struct proxy_thread *t);		/* stops accepting for a while */

void tcp_port_open(struct proxy_port *p);
void tcp_port_close(struct proxy_port *p);
void udp_thread_init(struct proxy_thread *t);
void udp_thread_done(struct proxy_thread *t);
void udp_port_open(struct proxy_port *p);
void udp_port_close(struct proxy_port *p);
void udp_port_trim(struct proxy_port *p);		/* ends flows to none of its backends */

#endif
