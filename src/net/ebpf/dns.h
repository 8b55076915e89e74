/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_EBPF_DNS_H
#define KEDGE_NET_EBPF_DNS_H

#include "base/err.h"

/* The program that leads 127.0.0.11:53 to our port inside a namespace. One for all of them; it stays where it was attached when we end. */
struct dns_redirect;
struct dns_redirect *dns_redirect_new(struct err *e);
void dns_redirect_free(struct dns_redirect *r);
/* Attaches it to the loopback of the namespace this thread is in; once more is fine. Thread-safe. */
int dns_redirect_attach(struct dns_redirect *r, struct err *e);

#endif
