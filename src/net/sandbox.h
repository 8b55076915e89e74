/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_SANDBOX_H
#define KEDGE_NET_SANDBOX_H

#include "net/net_priv.h"

/* Seen by sandbox*.c and record.c only. */
struct sandbox {
	struct net *n;
	char id[65], eid[65];		/* container, endpoint */
	char *name, *path;		/* path of the namespace, NULL: the host's */
	struct network *nw;		/* NULL after adoption of a record whose network is gone */
	bool counted;			/* in nw->busy */
	bool has_addr, closing;
	struct sandbox *next;		/* the reaper's */
	struct in6_addr addr;
	uint8_t mac[6];
	char veth[16];			/* "": none */
	uint32_t ifindex, generation;
	struct port_bound *ports;
	size_t n_ports;
	struct proxy_port **proxies;
	size_t n_proxies;
};

/* sandbox_kernel.c: blocking, on a pool thread. */
int sandbox_kernel_open(struct sandbox *s, const struct net_port *wanted, size_t n_wanted, struct err *e);	/* everything or nothing */
void sandbox_kernel_close(struct sandbox *s);	/* the namespace only */
/* sandbox_reap.c: takes a closed sandbox whose veth is to go; frees it when that is done, then calls openings_retry(). */
void sandbox_reap_take(struct sandbox *s);
/* sandbox.c */
bool sandbox_has(const struct sandbox *s, const struct in6_addr *addr);	/* an address of its own */
void openings_retry(struct net *n);
/* record.c */
json_t *record_of(const struct sandbox *s);
int record_read(const json_t *record, struct sandbox *s, struct err *e);
/* The published ports of a record, for adoption. */
int record_ports(const json_t *record, struct net_port **ret, size_t *n, struct err *e);

#endif
