/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_EBPF_XDP_H
#define KEDGE_NET_EBPF_XDP_H

#include <stdbool.h>
#include <stdint.h>

#include "net/datapath.h"

/*
 * The program that refuses early (bpf/xdp.bpf.c), at uplinks whose driver runs it before the kernel makes anything of a packet. It is a help and no more:
 * what it would refuse tc refuses too. So nothing here is an error for the caller, and it is loaded and attached only when it can have something to
 * do: when a published port has a list of sources (auto), or from the start (native). It is attached by a link that is pinned as
 * <pin_dir>/xdp_<ifindex>, so it outlives the engine; the next one swaps its own program in. Attaching it for the first time makes some drivers
 * restart their queues, so it stays until an engine starts that does not need it. Another program at the device is left alone. Loop thread.
 */
struct xdp;
struct xdp *xdp_new(struct datapath *d);
void xdp_free(struct xdp *x);			/* what is attached stays; NULL is fine */
void xdp_mode(struct xdp *x, enum dp_xdp mode);
void xdp_uplink(struct xdp *x, const struct dp_uplink *u);
void xdp_uplink_gone(struct xdp *x, uint32_t ifindex);
/* Host ports from first on are published with a list of sources, in the tables already. */
void xdp_listed(struct xdp *x, uint16_t first, uint16_t count);
/* The tables have changed: which ports they list is looked up anew. */
void xdp_relist(struct xdp *x);
/* After all adoption: what nobody needs goes. */
void xdp_gc(struct xdp *x);
/* Descriptor of the program at that uplink, or -1: there is none. */
int xdp_prog(const struct xdp *x, uint32_t ifindex);
/* {"Mode": "auto", "Interfaces": ["eth0"], "Drops": {"reason": n}}, new reference. */
json_t *xdp_info(const struct xdp *x);
/* Ports and devices, to the tables of ebpf_maps(). */
void xdp_maps(const struct xdp *x, json_t *all);

#endif
