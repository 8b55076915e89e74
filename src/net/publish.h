/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_PUBLISH_H
#define KEDGE_NET_PUBLISH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net.h"

/*
 * Host ports: who has which, and the socket that keeps each away from other processes. Thread-safe: workers reserve.
 */
struct port_table;
struct port_table *port_table_new(void);
void port_table_free(struct port_table *t);
size_t port_table_len(struct port_table *t);

/* From now on the middle of long runs of consecutive ports gets no sockets: the data path keeps them. Before the first reservation. */
void port_table_ranges(struct port_table *t);

/* As many consecutive ports, and more, are a run. Fewer are not worth the data path's while: a socket is exact. */
enum { PORT_RUN_MIN = 32 };

struct port_bound {
	uint8_t proto;
	uint16_t port, host_port;
	struct in6_addr host_addr;	/* :: every address of the families below */
	bool v4, v6;			/* what the binding covers */
	uint16_t count;			/* 1; of a run of ports how many, and the fd of its first one is for all of them */
	int fd;				/* listening (TCP, SCTP) or bound, non-blocking; -1 when another process had it at adoption, or the kernel has no such sockets (SCTP) */
	bool relayed;			/* the proxy serves what the data path leaves over: not so SCTP on kernels without its sockets */
};

/* ports.c: puts what is consecutive together, in place; returns how many are left. Changes the order of long lists. */
size_t net_ports_join(struct net_port *p, size_t n);

/*
 * Reserves ports, all or nothing; addr is the container's, for messages. On success *ret (*n_ret of them: runs, or a port each) is the caller's.
 * Sentences without the "driver failed programming external connectivity" in front.
 */
int port_reserve(struct port_table *t, const struct net_port *p, size_t n, const struct in6_addr *addr, struct port_bound **ret, size_t *n_ret,
		 struct err *e);
/*
 * The same for what a record says was ours: a port that a process of the host has taken meanwhile stays ours in the table, without a socket, and lost() is
 * told.
 */
int port_adopt(struct port_table *t, const struct net_port *p, size_t n, void (*lost)(void *user, const struct port_bound *b, int errnum), void *user,
	       struct port_bound **ret, size_t *n_ret, struct err *e);
/* Gives the table's entries back and closes what is still open. */
void port_release(struct port_table *t, struct port_bound *b, size_t n);

#endif
