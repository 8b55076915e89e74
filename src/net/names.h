/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_NAMES_H
#define KEDGE_NET_NAMES_H

#include "net/sandbox.h"

/* What net puts into dns: a view for each network, a host for each endpoint, a server in each namespace that has one. Seen by src/net only. */

/* At start; n->dns may be NULL: nobody is answered then. */
void names_open(struct net *n);
void names_close(struct net *n);
void names_queries_drop(struct net *n);		/* names_query.c; nobody is told */
void names_network_free(struct network *nw);
struct dns_view *names_view(struct network *nw);	/* NULL: one without names */

/* Loop: whether the sandbox, with one endpoint more (or NULL), is to have a name server. Sets s->want_dns; once set it stays. */
void names_decide(struct sandbox *s, const struct endpoint *more);
/* Blocking, pool thread (and the start): opens the sockets in the namespace when they are wanted and not there. */
int names_sockets(struct sandbox *s, int ns, struct err *e);
/* Loop. The server, with the sockets from before; names of all endpoints, in force with the return. Again after any change of them. */
void names_refresh(struct sandbox *s);
void names_endpoint_del(struct endpoint *ep);
/* Its names are gone with the return, its server goes on; and both, when no worker is at its sockets. */
void names_sandbox_out(struct sandbox *s);
void names_sandbox_close(struct sandbox *s);

#endif
