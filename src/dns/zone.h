/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_ZONE_H
#define KEDGE_DNS_ZONE_H

#include "dns/wire.h"

/*
 * Names we answer for ourselves. A view is what a network's members see: hosts, each with addresses and names. Several hosts may have one name
 * (its addresses take turns), and a name of a host may be a service's, an alias, anything. Pure: no clock, no descriptors; loop thread. IPv4
 * addresses come mapped (::ffff:a.b.c.d).
 */
struct dns_view;
struct dns_host;

/* In seconds; the same for every record, so that nobody can tell and no resolver keeps a name for long that has moved. */
enum { DNS_LOCAL_TTL = 5 };

/* name: the network's; "web.<name>" means "web", PTR answers end in it. NULL with -EINVAL in *rc when it cannot be a DNS name. */
struct dns_view *dns_view_new(const char *name, int *rc);
/* Its hosts go with it; no server may refer to it any longer. NULL is fine. */
void dns_view_free(struct dns_view *v);
/* We are the authority for PTR in this prefix (its length in mapped form): an address nobody has gets NXDOMAIN instead of a question to upstream. */
void dns_view_subnet(struct dns_view *v, const struct in6_addr *base, unsigned prefix);

/* addrs may be empty: the host's names exist then without data. */
struct dns_host *dns_host_new(struct dns_view *v, const struct in6_addr *addrs, size_t n);
/* The first name becomes the answer to PTR. A name it has already is fine. -EINVAL: it cannot be a DNS name. */
int dns_host_name(struct dns_host *h, const char *name);
/* SRV (RFC 2782) under name, e.g. "_http._tcp.web", to target, a name this view knows. -EINVAL. */
int dns_host_service(struct dns_host *h, const char *name, const char *target, uint16_t port, uint16_t prio, uint16_t weight);
/* A host that is not ready does not answer for a name while another that has it is. Ready at the start. */
void dns_host_ready(struct dns_host *h, bool ready);
/* Its names are gone with the return. NULL is fine. */
void dns_host_free(struct dns_host *h);

enum dns_found {
	DNS_FOUND_NOT,		/* we know nothing of the name */
	DNS_FOUND_NODATA,	/* the name exists, without this type */
	DNS_FOUND_NONE,		/* we know that nobody has it: NXDOMAIN */
	DNS_FOUND		/* records were written */
};
/* Looks name up in the n views in order: the first with records wins. w may be full afterwards. */
enum dns_found dns_zone_answer(struct dns_view *const *views, size_t n, const struct dns_name *name, uint16_t type, struct dns_writer *w);

#endif
