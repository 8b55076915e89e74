/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_EBPF_ATTACH_H
#define KEDGE_NET_EBPF_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A classifier of ours at an interface of the namespace this thread is in. It stays when we end, until the interface goes; what others have attached
 * there stays beside it. By TCX (Linux 6.6): one call, replaced in one step, out of reach of whoever flushes qdiscs and filters, and before
 * those. Else as a filter of the clsact qdisc. A name that begins with kedge_ says a program is ours. Thread-safe.
 */
struct attach_place {		/* among the filters of the qdisc, where there is no TCX */
	uint32_t handle, priority;
};

bool attach_by_tcx(void);
/* In place of a program of ours that is there. 0 or a negative errno. prog stays the caller's. */
int attach_set(uint32_t ifindex, bool ingress, int prog, const struct attach_place *at);
void attach_del(uint32_t ifindex, bool ingress, const struct attach_place *at);
/* Where TCX is used: the filter an earlier engine without it has left there. */
void attach_del_old(uint32_t ifindex, bool ingress, const struct attach_place *at);

#endif
