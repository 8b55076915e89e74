/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_MARKS_H
#define KEDGE_NET_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

/*
 * For a data path that marks packets before the host's rules see them: rules of the host's that give every packet its connection's mark (wg-quick, mwan3,
 * "ct mark" and CONNMARK in general) take the mark away again. This is one rule of nftables behind all of them that sets it once more, in the table that
 * is the nft data path's otherwise. Loop thread.
 */
struct datapath;
int marks_open(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e);	/* fails where the kernel has no nftables */
int marks_bridge(struct datapath *m, uint32_t ifindex, bool on);		/* 0 or -errno */
void marks_close(struct datapath *m);						/* and the table goes; NULL is fine */

#endif
