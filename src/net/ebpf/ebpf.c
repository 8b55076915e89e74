/* SPDX-License-Identifier: Apache-2.0 */
/* datapath_ops by eBPF: tables and attachments. The packet's way is told in bpf/dp.bpf.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/ebpf/attach.h"
#include "net/ebpf/ebpf_priv.h"

/* Our place among an interface's tc filters: early, others may come before. At the host's interfaces, and at those we make. */
static const struct attach_place host_place = { .lasting = true, .handle = 0x6b64, .priority = 20 }, own_place = { .handle = 0x6b64, .priority = 20 };

struct kedge_addr to_addr(const struct in6_addr *a)
{
	struct kedge_addr out;

	memcpy(&out, a, sizeof(out));
	return out;
}

/* Remembers that a key was named in this run. */
static void name_key(struct datapath *d, const struct bpf_map *m, const void *key, bool named)
{
	size_t n = bpf_map__key_size(m), at;
	char text[160];

	at = (size_t)snprintf(text, sizeof(text), "%s:", bpf_map__name(m));
	for (size_t i = 0; i < n && at + 3 < sizeof(text); i++, at += 2)
		snprintf(text + at, 3, "%02x", ((const unsigned char *)key)[i]);
	if (named)
		map_put(d->seen, text, d);
	else
		map_del(d->seen, text);
}

static bool is_named(struct datapath *d, const struct bpf_map *m, const void *key)
{
	size_t n = bpf_map__key_size(m), at;
	char text[160];

	at = (size_t)snprintf(text, sizeof(text), "%s:", bpf_map__name(m));
	for (size_t i = 0; i < n && at + 3 < sizeof(text); i++, at += 2)
		snprintf(text + at, 3, "%02x", ((const unsigned char *)key)[i]);
	return map_get(d->seen, text) != NULL;
}

/* What the programs remember of the tables' answers holds no longer. */
static void changed(struct datapath *d)
{
	__atomic_add_fetch(&d->control->epoch, 1, __ATOMIC_SEQ_CST);
}

int table_put(struct datapath *d, struct bpf_map *m, const void *key, const void *value, struct err *e)
{
	int r = bpf_map_update_elem(bpf_map__fd(m), key, value, BPF_ANY);

	if (r < 0)
		return err_errno(e, -r, "cannot write to the table '%s'", bpf_map__name(m));
	name_key(d, m, key, true);
	changed(d);
	return 0;
}

int table_del(struct datapath *d, struct bpf_map *m, const void *key)
{
	int r = bpf_map_delete_elem(bpf_map__fd(m), key);

	name_key(d, m, key, false);
	changed(d);
	return r == -ENOENT ? 0 : r;
}

static int attach(uint32_t ifindex, bool ingress, const struct bpf_program *prog, const struct attach_place *place, struct err *e)
{
	char name[IF_NAMESIZE] = "?";
	int r = attach_set(ifindex, ingress, bpf_program__fd(prog), place);

	if (r < 0) {
		if_indextoname(ifindex, name);
		return err_errno(e, -r, "cannot attach the data path to interface %s (%u)", name, ifindex);
	}
	return 0;
}

static size_t control_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);	/* of an array that is smaller: what the kernel rounds it up to */
}

static int control_map(struct datapath *d, struct err *e)
{
	void *p = mmap(NULL, control_size(), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(d->dp->maps.control), 0);

	if (p == MAP_FAILED)
		return err_errno(e, errno, "map the data path's control table");
	d->control = p;
	return 0;
}

static void ebpf_close(struct datapath *d)
{
	if (!d)
		return;
	if (d->control)
		(void)ebpf_drops_listen(d, NULL, NULL, NULL);
	xdp_free(d->xdp);
	drops_close(d);
	sweep_close(d);
	local_bpf__destroy(d->local);
	ports_bpf__destroy(d->ports);
	free(d->listeners);
	if (d->control)
		(void)munmap(d->control, control_size());
	dp_bpf__destroy(d->dp);
	while (d->addrs) {
		struct host_addr *a = d->addrs;

		d->addrs = a->next;
		free(a);
	}
	map_free(d->seen);
	free(d->pin_dir);
	free(d);
}

static int ebpf_open(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e)
{
	struct datapath *d;

	if (pins_prepare(pin_dir, e) < 0)
		return -1;
	d = mem_zalloc(sizeof(*d));
	d->l = l;
	d->pin_dir = mem_strdup(pin_dir);
	d->seen = map_new();
	d->xdp = xdp_new(d);
	d->taking_over = true;
	if (pins_load_dp(d, e) < 0 || control_map(d, e) < 0) {
		ebpf_close(d);
		return -1;
	}
	sweep_open(d);
	log_info("ebpf", "classifiers at the host's interfaces are attached by %s", attach_has_tcx() ? "TCX" : "filters of clsact");
	if (pins_load_local(d, e) < 0) {
		log_warn("ebpf", "%s: clients on this host go through the proxy", e ? e->msg : "");
		err_clear(e);
	}
	*ret = d;
	return 0;
}

static struct kedge_net_key net_key(const struct dp_net *nw)
{
	return (struct kedge_net_key){ .prefix = nw->prefix, .addr = to_addr(&nw->subnet) };
}

static int ebpf_net_set(struct datapath *d, const struct dp_net *nw, struct err *e)
{
	struct kedge_net_key k = net_key(nw);
	struct kedge_net v = {
		.gateway = to_addr(&nw->gateway), .source = to_addr(&nw->source), .bridge_ifindex = nw->bridge_ifindex,
		.flags = (nw->masquerade ? KEDGE_NET_MASQUERADE : 0u) | (nw->routed ? KEDGE_NET_ROUTED : 0u) | (nw->internal ? KEDGE_NET_INTERNAL : 0u) |
			 (nw->icc ? 0u : KEDGE_NET_NO_ICC) | (nw->open ? KEDGE_NET_OPEN : 0u) | (nw->ping ? KEDGE_NET_PING : 0u) |
			 (nw->gateway_elsewhere ? KEDGE_NET_ELSEWHERE : 0u) | (addr_is_any(&nw->source) ? 0u : KEDGE_NET_SOURCE),
	};

	if (table_put(d, d->dp->maps.nets, &k, &v, e) < 0)
		return -1;
	return attach(nw->bridge_ifindex, false, d->dp->progs.kedge_bridge, &own_place, e);
}

static int ebpf_trust_set(struct datapath *d, uint32_t bridge_ifindex, uint32_t ifindex, bool on, struct err *e)
{
	struct kedge_trust k = { .bridge_ifindex = bridge_ifindex, .ifindex = ifindex };

	return on ? table_put(d, d->dp->maps.trusted, &k, &(uint32_t){ 1 }, e) : table_del(d, d->dp->maps.trusted, &k);
}

static void trust_forget(struct datapath *d, uint32_t bridge_ifindex)
{
	int fd = bpf_map__fd(d->dp->maps.trusted);
	struct kedge_trust k, next, *at = NULL;

	while (bpf_map_get_next_key(fd, at, &next) == 0) {
		if (next.bridge_ifindex == bridge_ifindex)
			(void)table_del(d, d->dp->maps.trusted, &next);
		else
			k = next;
		at = next.bridge_ifindex == bridge_ifindex ? at : &k;
	}
}

static int ebpf_net_del(struct datapath *d, uint32_t bridge_ifindex, struct err *e)
{
	int fd = bpf_map__fd(d->dp->maps.nets);
	struct kedge_net_key k, next, *at = NULL;
	struct kedge_net v;

	(void)e;
	trust_forget(d, bridge_ifindex);
	/* One entry a family. */
	while (bpf_map_get_next_key(fd, at, &next) == 0) {
		if (bpf_map_lookup_elem(fd, &next, &v) == 0 && v.bridge_ifindex == bridge_ifindex) {
			(void)table_del(d, d->dp->maps.nets, &next);
			at = NULL;	/* from the front: the trie has changed */
			continue;
		}
		k = next;
		at = &k;
	}
	return 0;
}

static void ebpf_bridge_left(uint32_t bridge_ifindex)
{
	attach_del(bridge_ifindex, false, &own_place);
}

static void ebpf_xdp(struct datapath *d, enum dp_xdp mode)
{
	xdp_mode(d->xdp, mode);
}

static int ebpf_uplink_set(struct datapath *d, const struct dp_uplink *u, struct err *e)
{
	if (u->ethernet && table_put(d, d->dp->maps.ethers, &u->ifindex, &(uint32_t){ 1 }, e) < 0)
		return -1;
	if (attach(u->ifindex, true, u->ethernet ? d->dp->progs.kedge_uplink : d->dp->progs.kedge_uplink_l3, &host_place, e) < 0)
		return -1;
	if (d->taking_over)
		attach_del_old(u->ifindex, true, &host_place);
	xdp_uplink(d->xdp, u);
	return 0;
}

static int ebpf_uplink_del(struct datapath *d, uint32_t ifindex)
{
	(void)table_del(d, d->dp->maps.ethers, &ifindex);
	xdp_uplink_gone(d->xdp, ifindex);
	attach_del(ifindex, true, &host_place);
	return 0;
}

/* The first address of a family an interface got is what its packets carry. */
static void set_source(struct datapath *d, uint32_t ifindex, bool v6)
{
	struct kedge_source_addr_key k = { .ifindex = ifindex, .v6 = v6 };

	for (const struct host_addr *a = d->addrs; a; a = a->next) {
		if (a->ifindex == ifindex && a->v6 == v6 && !a->loopback) {
			(void)table_put(d, d->dp->maps.sources, &k, &a->addr, NULL);
			return;
		}
	}
	(void)table_del(d, d->dp->maps.sources, &k);
}

static int ebpf_addr_set(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex, struct err *e)
{
	struct kedge_addr k = to_addr(addr);
	struct host_addr **at;

	if (IN6_IS_ADDR_LINKLOCAL(addr))	/* the host's own business */
		return 0;
	for (at = &d->addrs; *at; at = &(*at)->next) {
		if ((*at)->ifindex == ifindex && !memcmp(&(*at)->addr, &k, sizeof(k)))
			break;
	}
	if (!*at) {
		*at = mem_zalloc(sizeof(**at));
		(*at)->addr = k;
		(*at)->ifindex = ifindex;
		(*at)->v6 = !IN6_IS_ADDR_V4MAPPED(addr);
		(*at)->loopback = (*at)->v6 ? IN6_IS_ADDR_LOOPBACK(addr) : addr->s6_addr[12] == 127;
	}
	if (table_put(d, d->dp->maps.locals, &k, &ifindex, e) < 0)
		return -1;
	set_source(d, ifindex, (*at)->v6);
	return 0;
}

static int ebpf_addr_del(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex)
{
	struct kedge_addr k = to_addr(addr);
	bool elsewhere = false;

	if (IN6_IS_ADDR_LINKLOCAL(addr))
		return 0;
	for (struct host_addr **at = &d->addrs; *at;) {
		struct host_addr *a = *at;

		if (memcmp(&a->addr, &k, sizeof(k))) {
			at = &a->next;
		} else if (a->ifindex == ifindex) {
			*at = a->next;
			free(a);
		} else {
			elsewhere = true;
			at = &a->next;
		}
	}
	if (!elsewhere)
		(void)table_del(d, d->dp->maps.locals, &k);
	set_source(d, ifindex, !IN6_IS_ADDR_V4MAPPED(addr));
	return 0;
}

static int ebpf_veth_made(struct datapath *d, uint32_t host_ifindex, struct err *e)
{
	return attach(host_ifindex, true, d->dp->progs.kedge_container, &own_place, e);
}

static int ebpf_endpoint_set(struct datapath *d, const struct dp_endpoint *ep, struct err *e)
{
	struct kedge_addr k = to_addr(&ep->addr);
	struct kedge_endpoint v = { .host_ifindex = ep->host_ifindex, .bridge_ifindex = ep->bridge_ifindex, .generation = ep->generation };

	memcpy(v.mac, ep->mac, 6);
	memcpy(v.gw_mac, ep->gw_mac, 6);
	if (table_put(d, d->dp->maps.endpoints, &k, &v, e) < 0 ||
	    (ep->link_local && table_put(d, d->dp->maps.link_locals, &ep->host_ifindex, &v, e) < 0))
		return -1;
	/* An earlier engine's program is replaced; that of a new one is there since veth_made(). */
	if (d->taking_over && ebpf_veth_made(d, ep->host_ifindex, e) < 0) {
		(void)table_del(d, d->dp->maps.endpoints, &k);
		return -1;
	}
	return 0;
}

/* Its flows carry its generation: no packet finds them any more, the sweep removes them. */
static int ebpf_endpoint_del(struct datapath *d, const struct dp_endpoint *ep)
{
	struct kedge_addr k = to_addr(&ep->addr);

	publish_sources_del(d, ep->generation);
	if (ep->link_local)
		(void)table_del(d, d->dp->maps.link_locals, &ep->host_ifindex);
	return table_del(d, d->dp->maps.endpoints, &k);
}

static void gc_map(struct datapath *d, struct bpf_map *m)
{
	unsigned char key[64], next[64], *at = NULL;

	while (bpf_map_get_next_key(bpf_map__fd(m), at, next) == 0) {
		if (is_named(d, m, next)) {
			memcpy(key, next, bpf_map__key_size(m));
			at = key;
			continue;
		}
		if (bpf_map_delete_elem(bpf_map__fd(m), next) < 0)
			return;
	}
}

static void ebpf_gc(struct datapath *d)
{
	gc_map(d, d->dp->maps.published);
	gc_map(d, d->dp->maps.ranges);
	publish_ranges_known(d);
	gc_map(d, d->dp->maps.lb_slots);
	gc_map(d, d->dp->maps.source_lists);
	gc_map(d, d->dp->maps.endpoints);
	gc_map(d, d->dp->maps.link_locals);
	gc_map(d, d->dp->maps.nets);
	gc_map(d, d->dp->maps.trusted);
	gc_map(d, d->dp->maps.locals);
	gc_map(d, d->dp->maps.sources);
	gc_map(d, d->dp->maps.ethers);
	d->taking_over = false;
	changed(d);
	xdp_gc(d->xdp);
	pins_gc(d);
}

static json_t *sums(const struct bpf_map *m, const char *const *names, uint32_t n)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *counts = mem_zalloc((size_t)(cpus > 0 ? cpus : 1) * sizeof(*counts));
	json_t *o = json_object();

	for (uint32_t i = 0; i < n && cpus > 0; i++) {
		uint64_t sum = 0;

		if (bpf_map_lookup_elem(bpf_map__fd(m), &i, counts) < 0)
			continue;
		for (int c = 0; c < cpus; c++)
			sum += counts[c];
		if (sum)
			json_object_set_new(o, names[i], json_integer((json_int_t)sum));
	}
	free(counts);
	return o;
}

json_t *drop_counts(const struct bpf_map *m)
{
#define X(name, text) text,
	static const char *const names[] = { KEDGE_DROP_REASONS(X) };
#undef X

	return sums(m, names, N(names));
}

static json_t *ebpf_info(struct datapath *d)
{
#define X(name, text) text,
	static const char *const counter_names[] = { KEDGE_COUNTERS(X) };
#undef X

	return json_pack("{s:s, s:I, s:o, s:o, s:o}", "Hooks", attach_has_tcx() ? "tcx" : "clsact", "Flows", (json_int_t)d->flows, "Drops",
			 drop_counts(d->dp->maps.drops), "XDP", xdp_info(d->xdp), "Counters", sums(d->dp->maps.counters, counter_names, N(counter_names)));
}

static void ebpf_purge(const char *pin_dir)
{
	struct if_nameindex *all, *i;

	if (access(pin_dir, F_OK) < 0)
		return;
	all = if_nameindex();
	for (i = all; i && i->if_index; i++) {
		for (int ingress = 0; ingress < 2; ingress++) {
			attach_del(i->if_index, ingress, &host_place);
			attach_del(i->if_index, ingress, &own_place);
		}
	}
	if_freenameindex(all);
	(void)file_rm_rf_at(AT_FDCWD, pin_dir);	/* with its last pin a link is detached, a map gone */
}

const struct datapath_ops dp_ebpf = {
	.name = "ebpf",
	.routes = true,
	.sctp = true,
	/*
	 * bpf_fib_lookup() answers only for interfaces that may forward. Nothing is forwarded because of it: what comes from a container and is not
	 * for the host is taken or dropped by our program before it gets that far.
	 */
	.forwarding = true,
	.past_input = true,
	.marks_early = true,
	.open = ebpf_open,
	.close = ebpf_close,
	.purge = ebpf_purge,
	.net_set = ebpf_net_set,
	.net_del = ebpf_net_del,
	.bridge_left = ebpf_bridge_left,
	.trust_set = ebpf_trust_set,
	.xdp = ebpf_xdp,
	.uplink_set = ebpf_uplink_set,
	.uplink_del = ebpf_uplink_del,
	.addr_set = ebpf_addr_set,
	.addr_del = ebpf_addr_del,
	.veth_made = ebpf_veth_made,
	.endpoint_set = ebpf_endpoint_set,
	.endpoint_del = ebpf_endpoint_del,
	.holds_ranges = ebpf_holds_ranges,
	.publish_set = ebpf_publish_set,
	.publish_del = ebpf_publish_del,
	.guard_set = ebpf_guard_set,
	.lb_set = ebpf_lb_set,
	.lb_del = ebpf_lb_del,
	.gc = ebpf_gc,
	.flows = ebpf_flows,
	.drops_listen = ebpf_drops_listen,
	.trace = ebpf_trace,
	.hook_set = ebpf_hook_set,
	.maps = ebpf_maps,
	.info = ebpf_info,
};
