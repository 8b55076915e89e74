/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_IPAM_H
#define KEDGE_NET_IPAM_H

#include <stddef.h>

#include "base/err.h"
#include "net/addr.h"

/* Addresses of one subnet. Pure: no clock, no descriptors; loop thread. */
struct ipam;

struct ipam_spec {
	struct net_cidr subnet;
	const struct net_cidr *range;		/* part of the subnet that is handed out by itself; NULL: all */
	const struct in6_addr *gateway;		/* NULL: the first usable address */
	const struct in6_addr *aux;		/* addresses others use */
	size_t n_aux;
};

struct ipam *ipam_new(const struct ipam_spec *spec, struct err *e);
void ipam_free(struct ipam *m);
const struct net_cidr *ipam_subnet(const struct ipam *m);
const struct in6_addr *ipam_gateway(const struct ipam *m);
/* The next free one after the last handed out (an address rests as long as it can). "no available IPv4 addresses on this network's
 * address pools" when all are taken. */
int ipam_take(struct ipam *m, struct in6_addr *ret, struct err *e);
/* A wanted one: outside the subnet, reserved and taken are errors; outside the range, or past what ipam_take() hands out, is fine. */
int ipam_take_addr(struct ipam *m, const struct in6_addr *a, struct err *e);
void ipam_give(struct ipam *m, const struct in6_addr *a);	/* not taken: nothing happens */
size_t ipam_used(const struct ipam *m);				/* without gateway and reserved ones */

/*
 * The first default pool (172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20) that overlaps none of taken:
 * other networks, the host's routes and addresses.
 */
int ipam_pool_pick(const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e);
/* The same for IPv6: the first free /64 of an own /48 (RFC 4193). */
int ipam_pool_pick6(const struct net_cidr *ula, const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e);
/* A pool of the configuration, "base=10.10.0.0/16,size=24": subnets of that length are cut from the base. */
struct ipam_default {
	struct net_cidr base;
	uint8_t size;			/* mapped form */
};
int ipam_default_parse(const char *text, struct ipam_default *ret, struct err *e);
/* The first free subnet of the pools of one family. 0; 1: none of the pools is of that family; -1: all are taken. */
int ipam_default_pick(const struct ipam_default *d, size_t n_d, bool v6, const struct net_cidr *taken, size_t n, struct net_cidr *ret, struct err *e);

#endif
