/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_NET_H
#define KEDGE_CLI_NET_H

#include "base/buf.h"
#include "cli/cli.h"

/* Shared by the commands under "net" and "dns". */

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
/*
 * A reply of JSON documents, a line each, of the container given as the first argument or of all: print()ed, or as they are with --format json; --count of
 * them, or until the reply ends.
 */
int net_lines(struct cli *c, struct flags *f, const char *path, void (*print)(const json_t *o), struct err *e);

/* "192.0.2.1:80", "[2001:db8::1]:80" */
void net_address(struct buf *b, const char *addr, int64_t port);

#endif
