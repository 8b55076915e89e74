/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_EBPF_ATTACH_H
#define KEDGE_NET_EBPF_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A classifier of ours at an interface of the namespace this thread is in. It stays when we end, until the interface goes; what others have attached
 * there stays beside it. By TCX (Linux 6.6): one call, replaced in one step, out of reach of whoever flushes qdiscs and filters, and before
 * those. Else as a filter of the clsact qdisc. A name that begins with kedge_ says a program is ours. Thread-safe.
 *
 * TCX is for the host's own interfaces, which others manage too: to attach and to detach, the end of the interface included, the kernel waits for an
 * RCU grace period while it holds the lock of all interfaces. That is 4 ms and more, where a filter takes 0.1 ms; interfaces we make come and go with
 * containers and networks.
 */
struct attach_place {
	bool lasting;			/* by TCX where there is that */
	uint32_t handle, priority;	/* among the filters of the qdisc */
};

bool attach_has_tcx(void);
/* In place of a program of ours that is there. 0 or a negative errno. prog stays the caller's. */
int attach_set(uint32_t ifindex, bool ingress, int prog, const struct attach_place *at);
void attach_del(uint32_t ifindex, bool ingress, const struct attach_place *at);
/* The filter an engine without TCX has left where TCX is used. */
void attach_del_old(uint32_t ifindex, bool ingress, const struct attach_place *at);

#endif
