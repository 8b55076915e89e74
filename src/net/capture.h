/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_CAPTURE_H
#define KEDGE_NET_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * What a container sends and receives, as it sees it itself: taken inside its namespace, at the interface that has its default route, behind every translation, so that the data path's
 * shortcuts are in it too. The output is a pcapng file with directions. Loop thread.
 */
struct net;
struct net_capture;

struct net_capture_ops {
	/* A piece of the file, borrowed. Returns the bytes that wait with the reader: past a limit packets are left out and counted. */
	size_t (*data)(void *user, const void *p, size_t n);
	/* Once, unless cancelled: the capture cannot begin, or its namespace is gone. e NULL: after count packets. */
	void (*end)(void *user, const struct err *e);
};

/* snaplen: bytes kept of each packet, 0: all. count: ends after so many, 0: never. NULL with e for a sandbox without an interface of its own. */
struct net_capture *net_capture_start(struct net *n, const char *sandbox, uint32_t snaplen, uint64_t count, const struct net_capture_ops *ops, void *user,
				      struct err *e);
/* No callback any more; what was captured so far is complete. */
void net_capture_cancel(struct net_capture *c);

#endif
