/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_EBPF_PRIV_H
#define KEDGE_NET_EBPF_PRIV_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/map.h"
#include "bpf/dp.skel.h"
#include "bpf/local.skel.h"
#include "bpf/ports.skel.h"
#include "kedge/bpf/abi.h"
#include "net/datapath.h"
#include "net/ebpf/xdp.h"

struct host_addr {
	struct kedge_addr addr;
	uint32_t ifindex;
	bool v6, loopback;
	struct host_addr *next;
};

struct listener {
	bool used;
	uint8_t proto;
	uint16_t port;
	struct in6_addr addr;
};

struct datapath {
	struct loop *l;
	char *pin_dir;
	struct dp_bpf *dp;
	struct kedge_control *control;	/* what the programs see, too */
	struct local_bpf *local;	/* NULL: no cgroup v2, the proxy serves the host's own clients */
	struct ports_bpf *ports;	/* NULL: every published port needs a socket of its own */
	struct xdp *xdp;
	struct listener *listeners;	/* KEDGE_LISTENERS_MAX of them, index 0 unused; NULL: none yet */
	uint32_t lb_last;		/* number of a table of backends given last */
	bool taking_over;		/* from an earlier engine, until the gc */
	struct map *seen;		/* "<map>:<key in hex>" named in this run, for gc */
	struct host_addr *addrs;	/* in order of arrival: the first of an interface is its source address */
	/* drops, while somebody listens */
	struct ring_buffer *events;
	struct loop_io *events_io;
	void (*on_drop)(void *user, const struct dp_drop *x);
	void *drop_user;
	int events_left;		/* of this turn */
	/* sweep */
	struct ring_buffer *wakeups;
	struct loop_io *wake_io;
	struct loop_timer *timer;
	struct kedge_tuple cursor;
	bool sweeping, young;		/* of which table the cursor is */
	uint64_t flows, counting;
};

/* ebpf.c: tables; keys put are remembered for the gc */
struct kedge_addr to_addr(const struct in6_addr *a);
int table_put(struct datapath *d, struct bpf_map *m, const void *key, const void *value, struct err *e);
int table_del(struct datapath *d, struct bpf_map *m, const void *key);

json_t *drop_counts(const struct bpf_map *m);	/* {"reason": n} of those that are not 0 */

/* publish.c */
int ebpf_publish_set(struct datapath *d, const struct dp_publish *p, struct err *e);
int ebpf_publish_del(struct datapath *d, const struct dp_publish *p);
int ebpf_guard_set(struct datapath *d, bool on, struct err *e);
bool ebpf_holds_ranges(const struct datapath *d);
void publish_ranges_known(struct datapath *d);
void publish_sources_del(struct datapath *d, uint32_t generation);

/* lb.c */
int ebpf_lb_set(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e);
int ebpf_lb_del(struct datapath *d, const struct dp_lb *lb);

/* inspect.c */
void ebpf_flows(struct datapath *d, void (*fn)(void *user, const struct dp_flow *f), void *user);
int ebpf_drops_listen(struct datapath *d, void (*fn)(void *user, const struct dp_drop *x), void *user, struct err *e);
void drops_close(struct datapath *d);
json_t *ebpf_maps(struct datapath *d);
const char *drop_reason(uint32_t reason);

/* hook.c */
int ebpf_hook_set(const struct dp_hook *h, json_t **ret, char **log, struct err *e);

/* trace.c */
json_t *ebpf_trace(struct datapath *d, const struct dp_trace *t, struct err *e);

/* pin.c */
int pins_prepare(const char *pin_dir, struct err *e);		/* the directory on a bpf file system */
/* Names the pins of an object's maps, but of the rings, which are one process's alone. */
int pins_set(const struct datapath *d, struct bpf_object *o, struct err *e);
/* Opens and loads; maps that have pins of this ABI are taken over, ones that do not fit are replaced. */
int pins_load_dp(struct datapath *d, struct err *e);
/* Once everything is adopted: tables of other ABIs go, which nobody will look into again. */
void pins_gc(const struct datapath *d);
/* Those of local clients and of ranges of ports. 0 too when there is no cgroup v2. */
int pins_load_local(struct datapath *d, struct err *e);

/* sweep.c */
void sweep_open(struct datapath *d);
void sweep_close(struct datapath *d);
/* The key of the entry of a flow's other direction. */
void ct_peer_of(const struct kedge_tuple *t, const struct kedge_ct *c, struct kedge_tuple *o);
/* The entry of t, in whichever table it is; 0 or negative. */
int ct_lookup(const struct datapath *d, const struct kedge_tuple *t, struct kedge_ct *ret);
void ct_delete(const struct datapath *d, const struct kedge_tuple *t);

#endif
