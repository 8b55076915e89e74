/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_ENDPOINTS_H
#define KEDGE_ENGINE_ENDPOINTS_H

#include "engine/engine_priv.h"

/* endpoints.c: a container's networks. */

/* Neither host, none nor another container's. */
bool network_mode_is_own(const char *mode);
/* Pure: the API's EndpointSettings, checked against the network's document, to an entry of doc "Networks". */
int endpoint_settings(const json_t *nw, const json_t *in, json_t **ret, struct err *e);
/* Sets doc "Networks" from HostConfig.NetworkMode and NetworkingConfig.EndpointsConfig of the create request. */
int endpoints_create(struct engine *en, json_t *doc, const json_t *body, struct err *e);
/* The running container whose network it shares (mode container:ID). */
struct container *endpoints_joined(const struct container *c, struct err *e);

struct endpoint_want {			/* what spec points into */
	char **names, **links, **link_local;
	struct net_endpoint_spec spec;
};
void endpoint_spec(const struct container *c, const char *network, const json_t *ep, struct endpoint_want *w);
void endpoint_want_done(struct endpoint_want *w);
/* The container has a new name: its endpoints too. */
void endpoints_renamed(struct container *c);
/* A network event ("connect", "disconnect") for each of its endpoints. */
void endpoints_events(struct container *c, const char *action);
/* Its part of c->net, borrowed; NULL: none. */
const json_t *endpoint_record(const struct container *c, const char *network_id);
void endpoints_write(struct buf *b, const struct container *c);	/* NetworkSettings.Networks, as text */

/* networks.c */
void event_network(struct engine *en, const char *action, const char *id, const char *name, const char *container);	/* container: may be NULL */

/* hosts.c: /etc/hosts of containers. */
/* The lines of its networks and links. e when a link leads nowhere. */
int hosts_of(const struct container *c, struct buf *b, struct err *e);
/* Adds the lines of one endpoint record and takes out those with the addresses of another; each may be NULL. By a worker, best effort. */
void hosts_change(struct container *c, const json_t *add, const json_t *del);
/* resolv_renew.c: the container has a name server now that it had not when its resolv.conf was written. By a worker, best effort. */
void resolv_renew(struct container *c);
/* Containers with links to this one hear of its address. */
void hosts_relink(struct container *t);

#endif
