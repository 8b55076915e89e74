/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_RTNL_PRIV_H
#define KEDGE_NET_RTNL_PRIV_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/rtnl.h"

/* rtnl.c (requests) and rtnl_read.c (dumps and news) only. */
enum { RTNL_REQS = 16 };

struct rtnl_req {
	char what[96];
	int ignore;
};

struct rtnl {
	struct mnl_socket *sock;
	char *buf, *recv;
	size_t len, recv_size;
	unsigned n, seq;
	bool overflow;
	struct rtnl_req req[RTNL_REQS];
};

#define TAKE_FLAG(f) ({ bool val_ = (f); (f) = false; val_; })

int rtnl_ack(const struct nlmsghdr *nh, const char **msg);

#endif
