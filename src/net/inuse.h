/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_INUSE_H
#define KEDGE_NET_INUSE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Which ports the processes of our network namespace listen on (TCP) or have bound without a peer (UDP), asked of the kernel at once (sock_diag): for
 * thousands of ports a hundredth of what binding each would cost.
 */
struct inuse_sock {
	uint16_t port;
	struct in6_addr addr;		/* :: any address of the families below */
	bool v4, v6;
};

/* fn for each socket. 0 or -errno (-ENOENT, -EOPNOTSUPP: this kernel cannot tell). */
int inuse_each(uint8_t proto, void (*fn)(void *user, const struct inuse_sock *s), void *user);

#endif
