/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_NET_H
#define KEDGE_CLI_NET_H

#include "base/buf.h"
#include "cli/cli.h"

/* Shared by the commands under "net". */

/* A reply that comes in pieces: data() for each, until it ends, data() fails (with err set) or stop() says so. */
struct net_get {
	int (*data)(struct net_get *g, const void *p, size_t n);
	bool (*stop)(const struct net_get *g);		/* may be NULL */
	struct err err;
	/* net_get()'s own */
	struct http_call *call;
	struct buf refusal;
	int status;
	bool failed;
};
int net_get(struct net_get *g, struct cli *c, const char *path, struct err *e);

/* "192.0.2.1:80", "[2001:db8::1]:80" */
void net_address(struct buf *b, const char *addr, int64_t port);

#endif
