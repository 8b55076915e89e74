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

struct proxy_conn;
struct proxy_service;
struct udp_flows;
struct udp_flow;
struct udp_batch;

struct proxy_thread {
	struct loop *l;
	char *buf;			/* PROXY_BUF bytes, used within one callback only */
	struct proxy_pipe pipes[PROXY_PIPES_KEPT];
	unsigned n_pipes;
	struct proxy_port *ports;
	unsigned conns, conns_max;	/* TCP and SCTP; a share of the descriptor limit */
	unsigned flows, flows_max;	/* UDP */
	struct loop_timer *retry;	/* accepting again after descriptors were short */
	bool starved;
	struct proxy_stat *stat;
	struct net_cidr *barred;	/* clients that are served by no port */
	size_t n_barred;
	struct udp_batch *batch;
	struct udp_flow *oldest, *newest;	/* by last use */
	struct loop_timer *expiry;
	size_t held;			/* bytes of messages (SCTP) that wait for more of them or for room */
};

struct proxy_stat {
	_Atomic uint64_t tcp_opened, tcp_failed, tcp_bytes, udp_flows, udp_packets, udp_dropped, sctp_opened, sctp_failed, sctp_messages, refused;
	_Atomic uint32_t tcp_now, udp_now, sctp_now;
};

struct proxy_port {
	struct proxy_thread *t;
	struct proxy_port *next, **at;
	struct proxy_target to;
	int fd;
	struct loop_io *io;
	bool v6;			/* the socket's family */
	const struct proxy_service *service;	/* TCP, SCTP */
	struct proxy_conn *conns;
	struct udp_flows *flows;
};

union proxy_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
socklen_t proxy_target_addr(const struct proxy_target *to, union proxy_addr *ret);
struct in6_addr proxy_addr_from(const union proxy_addr *a);	/* mapped */

struct proxy_visit {			/* what has been accepted */
	int fd;
	struct in6_addr client, local;	/* local: zero unless somebody has to know */
	uint16_t port, client_port;
	size_t spoke;			/* bytes of it are in the thread's buffer (TCP) */
};

struct proxy_service {			/* what TCP and SCTP do each in its way */
	void (*setup)(int fd);		/* of each socket, before it listens or connects */
	void (*local)(struct proxy_visit *v);	/* NULL, or where getsockname() does not tell the address the client wrote to */
	bool (*greet)(struct proxy_port *p, struct proxy_visit *v);	/* NULL, or before the container is called; false: the client is gone */
	int (*prepare)(int fd, const struct proxy_visit *v, const struct proxy_target *to);	/* NULL, or before a connect to the container; 0 or -errno */
	void (*add)(struct proxy_port *p, const struct proxy_visit *v, int container, bool connecting);	/* takes both descriptors */
	int (*pump)(struct proxy_conn *c, int i);	/* moves what can be moved from side i to the other; 0, or -errno for "reset both" */
	void (*settle)(struct proxy_conn *c, int rc);	/* after what was done for c: says what to wait for; or c ends, and is gone */
	_Atomic uint64_t *(*failed)(struct proxy_stat *s);
};
void proxy_accept(struct proxy_port *p, const struct proxy_service *s);		/* from now on */
/* A socket connected to the container, or on its way there, or -errno. */
int proxy_dial(const struct proxy_port *p, const struct proxy_visit *v, bool *connecting);

struct proxy_side {
	struct proxy_conn *c;
	int fd;
	struct loop_io *io;
	bool fin;			/* its FIN has come, behind what is there to read (TCP) */
};

struct proxy_conn {			/* the beginning of a tcp_conn, an sctp_conn */
	struct proxy_port *port;
	struct proxy_conn *next, **at;
	struct proxy_side side[2];	/* 0: the client, 1: the container */
	bool connecting;
};
/* Neither side is watched yet. */
void proxy_conn_add(struct proxy_conn *c, struct proxy_port *p, int client, int container, bool connecting);
void proxy_conn_close(struct proxy_conn *c, bool reset);	/* both sides; c is the caller's to free */
void proxy_conn_swap(struct proxy_conn *c, int container);	/* another socket to the container, in the place of one that is reset */

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
void sctp_port_open(struct proxy_port *p);
void sctp_port_close(struct proxy_port *p);
void udp_thread_init(struct proxy_thread *t);
void udp_thread_done(struct proxy_thread *t);
void udp_port_open(struct proxy_port *p);
void udp_port_close(struct proxy_port *p);
void udp_port_trim(struct proxy_port *p);		/* ends flows to none of its backends */

#endif
