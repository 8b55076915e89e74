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

struct port_bound {
	uint8_t proto;
	uint16_t port, host_port;
	struct in6_addr host_addr;	/* :: every address of the families below */
	bool v4, v6;			/* what the binding covers */
	uint16_t count;			/* 1; of a run of ports: how many, on its first one, whose fd is for all of them, and 0 on the others */
	int fd;				/* listening (TCP) or bound (UDP), non-blocking; -1 when another process had it at adoption */
};

/*
 * Reserves n ports for owner, all or nothing; addr is the container's, for messages. On success *ret (n of them) is the caller's.
 * Sentences without the "driver failed programming external connectivity" in front.
 */
int port_reserve(struct port_table *t, const char *owner, const struct net_port *p, size_t n, const struct in6_addr *addr, struct port_bound **ret,
		 struct err *e);
/* Sets the count of each of n. Before port_adopt(), which keeps it. */
void port_runs(const struct port_table *t, const struct net_port *p, size_t n, struct port_bound *b);
/* The same for what a record says was ours: a port that a process of the host has taken meanwhile stays ours in the table, without a socket. */
int port_adopt(struct port_table *t, const char *owner, const struct net_port *p, struct port_bound *ret, struct err *e);
/* Gives the table's entries back and closes what is still open. */
void port_release(struct port_table *t, struct port_bound *b, size_t n);

#endif
