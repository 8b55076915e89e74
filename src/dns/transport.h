/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_TRANSPORT_H
#define KEDGE_DNS_TRANSPORT_H

#include "dns/forward.h"
#include "loop/loop.h"

/* Sockets and timers of the forwarder. */
struct dns_transport;
struct dns_transport *dns_transport_new(struct loop *l, struct dns_cache *cache, struct err *e);
/* Ends the forwarder too; every set must have been given back before. */
void dns_transport_free(struct dns_transport *t);
struct dns_forward *dns_transport_forward(struct dns_transport *t);

#endif
