/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_ADDR_H
#define KEDGE_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Addresses, prefixes, protocols. One width for both families: IPv4 is mapped (RFC 4291 2.5.5.2), its prefix lengths count from 96. */
struct net_cidr {
	struct in6_addr addr;		/* as written, host bits included */
	uint8_t prefix;			/* mapped form */
};

enum { ADDR_TEXT = 46, CIDR_TEXT = 50 };

struct in6_addr addr_of4(uint32_t host_order);
bool addr_is4(const struct in6_addr *a);
uint32_t addr_to4(const struct in6_addr *a);			/* host order; of a mapped address only */
bool addr_eq(const struct in6_addr *a, const struct in6_addr *b);
int addr_cmp(const struct in6_addr *a, const struct in6_addr *b);
bool addr_is_any(const struct in6_addr *a);			/* :: or 0.0.0.0 */
bool addr_is_loopback(const struct in6_addr *a);		/* ::1 or 127.0.0.0/8 */
/* "192.0.2.1" or "2001:db8::1"; -EINVAL. */
int addr_parse(const char *s, struct in6_addr *ret);
/* Mapped ones as dotted quads; out has ADDR_TEXT bytes. Returns out. */
char *addr_text(const struct in6_addr *a, char *out);
/* addr/len; -EINVAL, -ERANGE for the length. */
int cidr_parse(const char *s, struct net_cidr *ret);
char *cidr_text(const struct net_cidr *c, char *out);		/* CIDR_TEXT bytes */
struct net_cidr cidr_base(const struct net_cidr *c);		/* host bits cleared */
struct in6_addr cidr_last(const struct net_cidr *c);
bool cidr_has(const struct net_cidr *c, const struct in6_addr *a);
bool cidr_overlap(const struct net_cidr *a, const struct net_cidr *b);
/* addr + n; the caller knows that it does not wrap. */
struct in6_addr addr_add(const struct in6_addr *a, uint64_t n);
/* Prefix length as people write it: 24, not 120. */
unsigned cidr_len(const struct net_cidr *c);
/* docker's MAC for an IPv4 address: 02:42:<address>. */
void addr_mac(const struct in6_addr *a, uint8_t mac[6]);
int mac_parse(const char *s, uint8_t mac[6]);			/* unicast, not all zero; -EINVAL */
char *mac_text(const uint8_t mac[6], char *out);		/* 18 bytes */
/* Protocols that have ports: "tcp", "udp", "sctp"; "?" any other. In any case; -EINVAL. */
const char *proto_text(uint8_t proto);
int proto_parse(const char *s, uint8_t *ret);

#endif
