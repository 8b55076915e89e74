/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datapath_ops by nftables, for kernels without BTF and for whoever wants to see rules: one table of our own, netfilter's connection tracking
 * and address translation. What the rules say stands in ruleset.c; here the network's objects become elements of their sets.
 */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/marks.h"
#include "net/nft/nft_priv.h"

static void set_err(struct err *e, int r, const char *what)
{
	(void)err_errno(e, -r, "nftables: %s", what);
}

void elem_put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));	/* host order: interface indices */
}

/* An address in its own width; how many bytes. */
size_t elem_put_addr(uint8_t *p, const struct in6_addr *a)
{
	size_t n = addr_is4(a) ? 4 : 16;

	memcpy(p, a->s6_addr + 16 - n, n);
	return n;
}

void elem_put_port(uint8_t *p, uint16_t port)
{
	p[0] = (uint8_t)(port >> 8);
	p[1] = (uint8_t)port;
}

static struct elem elem_if(enum nft_set s, uint32_t ifindex)
{
	struct elem el = { .set = s };

	elem_put_u32(el.key, ifindex);
	return el;
}

static struct elem elem_pair(uint32_t ifindex)
{
	struct elem el = elem_if(SET_PAIRS, ifindex);

	elem_put_u32(el.key + 4, ifindex);
	return el;
}

static struct elem elem_addr_if(enum nft_set v4, enum nft_set v6, const struct in6_addr *a, uint32_t ifindex)
{
	struct elem el = { .set = addr_is4(a) ? v4 : v6 };

	elem_put_u32(el.key + elem_put_addr(el.key, a), ifindex);
	return el;
}

/* A network's subnet in a set of such. */
static struct elem elem_subnet(const struct dp_net *n, enum nft_set set4, enum nft_set set6)
{
	struct net_cidr c = { n->subnet, n->prefix }, base = cidr_base(&c);
	struct in6_addr last = cidr_last(&c), end = addr_add(&last, 1);
	bool v4 = addr_is4(&n->subnet);
	struct elem el = { .set = v4 ? set4 : set6 };

	(void)elem_put_addr(el.key, &base.addr);
	memcpy(el.end, end.s6_addr + (v4 ? 12 : 0), v4 ? 4 : 16);
	if (set_data_len(el.set))
		(void)elem_put_addr(el.data, &n->source);
	return el;
}

/* Which of the sets of subnets a network is in. */
enum { SUBNET_SETS = 4 };

static bool in_subnet_set(const struct dp_net *n, int i, struct elem *ret)
{
	static const enum nft_set set4[SUBNET_SETS] = { SET_MASQ4, SET_OPEN4, SET_PING4, SET_SNAT4 };
	static const enum nft_set set6[SUBNET_SETS] = { SET_MASQ6, SET_OPEN6, SET_PING6, SET_SNAT6 };
	const bool in[SUBNET_SETS] = { n->masquerade, n->open, n->ping, n->masquerade && !addr_is_any(&n->source) };

	if (!in[i])
		return false;
	*ret = elem_subnet(n, set4[i], set6[i]);
	return true;
}

/* At the endpoint's own address: nothing is to be translated. */
static bool is_own(const struct dp_publish *p)
{
	return addr_eq(&p->host_addr, &p->addr);
}

static struct elem elem_publish(const struct dp_publish *p)
{
	bool v4 = addr_is4(&p->addr), any = addr_is_any(&p->host_addr);
	struct elem el = { .set = any ? (v4 ? SET_ANY4 : SET_ANY6) : (v4 ? SET_PUB4 : SET_PUB6) };
	size_t at = any ? 0 : elem_put_addr(el.key, &p->host_addr);

	if (is_own(p))
		el.set = p->trusted ? (v4 ? SET_DIRECT4 : SET_DIRECT6) : (v4 ? SET_ROUTED4 : SET_ROUTED6);
	el.key[at] = p->proto;
	elem_put_port(el.key + at + 4, p->host_port);
	if (set_data_len(el.set))
		elem_put_port(el.data + elem_put_addr(el.data, &p->addr), p->port);
	return el;
}

/* The same port as seen from the endpoint's own network. */
static struct elem elem_near(const struct dp_publish *p, uint32_t bridge)
{
	struct elem el = elem_publish(p);
	size_t at = set_key_len(el.set);

	el.set = el.set == SET_ANY4 ? SET_NEAR4 : el.set == SET_ANY6 ? SET_NEAR6 : el.set == SET_PUB4 ? SET_NEARPUB4 : SET_NEARPUB6;
	memset(el.data, 0, sizeof(el.data));
	elem_put_u32(el.key + at, bridge);
	return el;
}

/* --- networks --- */

static struct dp_net *net_of(struct datapath *d, uint32_t ifindex, bool v4)
{
	for (size_t i = 0; i < d->n_nets; i++)
		if (d->nets[i].bridge_ifindex == ifindex && addr_is4(&d->nets[i].subnet) == v4)
			return &d->nets[i];
	return NULL;
}

static int net_elem(struct datapath *d, struct elem el, bool on)
{
	return on ? elem_put(d, &el) : elem_del(d, &el);
}

static int nft_net_set(struct datapath *d, const struct dp_net *n, struct err *e)
{
	struct dp_net *old = net_of(d, n->bridge_ifindex, addr_is4(&n->subnet));
	struct elem el;
	int r;

	for (int i = 0; old && i < SUBNET_SETS; i++)
		if (in_subnet_set(old, i, &el) && !in_subnet_set(n, i, &el))
			(void)net_elem(d, el, false);
	r = net_elem(d, elem_if(SET_BRIDGES, n->bridge_ifindex), true);
	if (r == 0)
		r = net_elem(d, elem_pair(n->bridge_ifindex), n->icc);
	if (r == 0)
		r = net_elem(d, elem_if(SET_INTERNAL, n->bridge_ifindex), n->internal);
	if (r == 0)
		r = net_elem(d, elem_addr_if(SET_GW4, SET_GW6, &n->gateway, n->bridge_ifindex), n->internal);
	for (int i = 0; r == 0 && i < SUBNET_SETS; i++)
		if (in_subnet_set(n, i, &el))
			r = net_elem(d, el, true);
	if (r == 0 && d->guard)
		r = net_elem(d, elem_if(SET_GUARDS, n->bridge_ifindex), true);
	if (r < 0) {
		set_err(e, r, "cannot take a network's bridge into the table");
		return -1;
	}
	if (!old) {
		d->nets = mem_realloc(d->nets, (d->n_nets + 1) * sizeof(*d->nets));
		old = &d->nets[d->n_nets++];
	}
	*old = *n;
	return 0;
}

static struct elem elem_trust(uint32_t bridge, uint32_t uplink)
{
	struct elem el = elem_if(SET_TRUSTED, uplink);

	elem_put_u32(el.key + 4, bridge);
	return el;
}

static int nft_trust_set(struct datapath *d, uint32_t bridge_ifindex, uint32_t ifindex, bool on, struct err *e)
{
	int r = net_elem(d, elem_trust(bridge_ifindex, ifindex), on);

	if (r < 0)
		set_err(e, r, "cannot take a trusted interface into the table");
	return r < 0 ? -1 : 0;
}

/* What stays on one link is let by: with bridge-netfilter on, what another's bridge carries from port to port is seen as that. */
static int nft_lent_set(struct datapath *d, uint32_t ifindex, bool v6, bool on, struct err *e)
{
	int r = net_elem(d, elem_pair(ifindex), true);

	if (r == 0)
		r = net_elem(d, elem_if(v6 ? SET_LENT6 : SET_LENT4, ifindex), on);
	if (r < 0)
		set_err(e, r, "cannot take an uplink into the table");
	return r < 0 ? -1 : 0;
}

static void trust_forget(struct datapath *d, uint32_t bridge_ifindex)
{
	struct elem like = elem_trust(bridge_ifindex, 0);
	const struct elem *x;
	size_t it = 0;

	while ((x = map_next(d->elems, &it, NULL)))
		if (x->set == SET_TRUSTED && !memcmp(x->key + 4, like.key + 4, 4)) {
			like = *x;
			(void)elem_del(d, &like);
			it = 0;		/* from the front: the table has changed */
		}
}

static int nft_net_del(struct datapath *d, uint32_t ifindex, struct err *e)
{
	struct elem el;
	int r = 0, k;

	trust_forget(d, ifindex);
	for (size_t i = 0; i < d->n_nets;) {
		struct dp_net *n = &d->nets[i];

		if (n->bridge_ifindex != ifindex) {
			i++;
			continue;
		}
		for (int s = 0; s < SUBNET_SETS; s++)
			if (in_subnet_set(n, s, &el) && (k = net_elem(d, el, false)) < 0)
				r = k;
		if (n->internal && (k = net_elem(d, elem_addr_if(SET_GW4, SET_GW6, &n->gateway, ifindex), false)) < 0)
			r = k;
		d->nets[i] = d->nets[--d->n_nets];
	}
	(void)net_elem(d, elem_pair(ifindex), false);
	(void)net_elem(d, elem_if(SET_INTERNAL, ifindex), false);
	if (d->guard)
		(void)net_elem(d, elem_if(SET_GUARDS, ifindex), false);
	if ((k = net_elem(d, elem_if(SET_BRIDGES, ifindex), false)) < 0)
		r = k;
	if (r < 0)
		set_err(e, r, "cannot take a network's bridge out of the table");
	return r < 0 ? -1 : 0;
}

/* Routing does what uplinks and addresses are for. */
static int nft_uplink_set(struct datapath *d, const struct dp_uplink *u, struct err *e)
{
	(void)d;
	(void)u;
	(void)e;
	return 0;
}

static int nft_uplink_del(struct datapath *d, uint32_t ifindex)
{
	(void)net_elem(d, elem_pair(ifindex), false);
	(void)net_elem(d, elem_if(SET_LENT4, ifindex), false);
	(void)net_elem(d, elem_if(SET_LENT6, ifindex), false);
	return 0;
}

static int nft_addr_set(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex, struct err *e)
{
	(void)d;
	(void)addr;
	(void)ifindex;
	(void)e;
	return 0;
}

static int nft_addr_del(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex)
{
	(void)d;
	(void)addr;
	(void)ifindex;
	return 0;
}

/* --- endpoints, ports --- */

static int nft_endpoint_set(struct datapath *d, const struct dp_endpoint *ep, struct err *e)
{
	char text[ADDR_TEXT];

	(void)e;
	map_put(d->endpoints, addr_text(&ep->addr, text), (void *)(uintptr_t)ep->bridge_ifindex);
	return 0;
}

static int nft_endpoint_del(struct datapath *d, const struct dp_endpoint *ep)
{
	char text[ADDR_TEXT];

	map_del(d->endpoints, addr_text(&ep->addr, text));
	sources_del(d, &ep->addr);
	conntrack_forget_addr(d, &ep->addr);
	return 0;
}

uint32_t nft_bridge_of(const struct datapath *d, const struct in6_addr *endpoint)
{
	char text[ADDR_TEXT];

	return (uint32_t)(uintptr_t)map_get(d->endpoints, addr_text(endpoint, text));
}

/*
 * Left to the proxy, or to nobody: a guarded port, an address of the other family, loopback, and a container on an internal network, which has no way in.
 */
static bool is_ours(struct datapath *d, const struct dp_publish *p)
{
	bool v4 = addr_is4(&p->addr), any = addr_is_any(&p->host_addr);
	const struct dp_net *n = net_of(d, nft_bridge_of(d, &p->addr), v4);

	if (!any && (addr_is4(&p->host_addr) != v4 || addr_is_loopback(&p->host_addr)))
		return false;
	return !p->guarded && (!n || !n->internal);
}

/*
 * What is left to the proxy: what comes from the endpoint's own network; of SCTP also what the host itself sends, by way of lo. An association of the kernel's
 * has all addresses of the host, and the translation would follow one. Where there is no listener, both are translated; a container's own address is nothing
 * the proxy is asked for at. 0 or -errno.
 */
static int near_set(struct datapath *d, const struct dp_publish *p, bool on)
{
	struct elem near = elem_near(p, nft_bridge_of(d, &p->addr)), own = elem_near(p, NFT_LO);
	bool relayed = p->relayed && !is_own(p);
	int r = relayed ? net_elem(d, near, on) : 0, own_r = relayed && p->proto == IPPROTO_SCTP ? net_elem(d, own, on) : 0;

	return r < 0 ? r : own_r;
}

static int nft_publish_set(struct datapath *d, const struct dp_publish *p, struct err *e)
{
	struct elem el = elem_publish(p);
	int r;

	if (!is_ours(d, p))
		return 0;
	if (p->n_sources && sources_put(d, p, e) < 0)
		return -1;
	r = near_set(d, p, true);
	if (r == 0)
		r = elem_put(d, &el);
	if (r < 0) {
		set_err(e, r, "cannot publish a port");
		return -1;
	}
	if (p->proto != IPPROTO_TCP)
		conntrack_forget_port(d, addr_is4(&p->addr), p->proto, &p->host_addr, p->host_port, false);
	return 0;
}

static int nft_publish_del(struct datapath *d, const struct dp_publish *p)
{
	struct elem el = elem_publish(p);
	int r = is_ours(d, p) ? elem_del(d, &el) : 0;

	if (is_ours(d, p))
		(void)near_set(d, p, false);
	if (p->proto != IPPROTO_TCP)
		conntrack_forget_port(d, addr_is4(&p->addr), p->proto, &p->host_addr, p->host_port, false);
	return r;
}

/* Every bridge of ours, while a port is guarded. */
static int nft_guard_set(struct datapath *d, bool on, struct err *e)
{
	int r = 0;

	if (!(d->can & CAN_GUARD))
		return err_set(e, ERR_NOT_IMPLEMENTED, "nftables of this kernel cannot tell the engine's sockets");
	for (size_t i = 0; i < d->n_nets && r >= 0; i++)
		r = net_elem(d, elem_if(SET_GUARDS, d->nets[i].bridge_ifindex), on);
	d->guard = on && r >= 0;
	if (r < 0)
		set_err(e, r, "cannot let answers of guarded ports in");
	return r < 0 ? -1 : 0;
}

static bool nft_holds_ranges(const struct datapath *d)
{
	(void)d;
	return false;
}

static void nft_gc(struct datapath *d)
{
	int r = elems_rewrite(d);

	if (r < 0)
		log_warn("net", "nftables: cannot clear what an earlier run has left in the table: %s", strerror(-r));
}

static json_t *nft_info(struct datapath *d)
{
	char line[32] = "";
	uint64_t flows = 0;

	if (file_read_line("/proc/sys/net/netfilter/nf_conntrack_count", line, sizeof(line)) == 0)
		(void)str_to_u64(line, 0, UINT64_MAX, &flows);
	return json_pack("{s:I, s:o}", "Flows", (json_int_t)flows, "Drops", ruleset_drops(d));
}

/* --- start and end --- */

static void nft_close(struct datapath *d)
{
	struct elem *el;
	size_t it = 0;

	if (!d)
		return;
	while ((el = map_next(d->elems, &it, NULL)))
		free(el);
	map_free(d->elems);
	map_free(d->endpoints);
	lbs_free(d);
	nft_drops_close(d);
	nft_keeper_close(d);
	if (d->sock)
		(void)mnl_socket_close(d->sock);
	free(d->nets);
	free(d);
}

static struct datapath *connect_to(const char *pin_dir, struct err *e)
{
	const char *slash = strrchr(pin_dir, '/'), *instance = slash ? slash + 1 : pin_dir;
	struct datapath *d = mem_zalloc(sizeof(*d));

	d->elems = map_new();
	d->endpoints = map_new();
	snprintf(d->table, sizeof(d->table), str_eq(instance, "default") ? "kedge" : "kedge-%.60s", instance);
	d->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);	/* the table's owner */
	if (!d->sock || mnl_socket_bind(d->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(e, errno, "nftables: open a netlink socket");
		nft_close(d);
		return NULL;
	}
	return d;
}

/* As much as the kernel has. */
static int rules_put(struct datapath *d)
{
	int r;

	for (int fresh = 0; fresh < 2; fresh++) {
		/* A table of another version, perhaps: its sets may have other keys. Flows go on, conntrack has them. */
		if (fresh)
			(void)ruleset_delete(d);
		d->can = CAN_ALL;
		if (ruleset_put(d) == 0)
			return 0;
		/* A table that is there without an owner stays without. */
		d->can = CAN_ALL & ~CAN_OWN;
		if (ruleset_put(d) == 0)
			return 0;
	}
	d->can = 0;
	r = ruleset_put(d);
	for (unsigned bit = 1; r == 0 && bit < CAN_ALL; bit <<= 1) {
		d->can |= bit;
		if (ruleset_put(d) < 0)
			d->can &= ~bit;
	}
	return r;
}

static int open_table(struct loop *l, const char *pin_dir, bool marks_only, struct datapath **ret, struct err *e)
{
	struct datapath *d = connect_to(pin_dir, e);
	int r;

	if (!d)
		return -1;
	d->l = l;
	d->marks_only = marks_only;
	r = rules_put(d);
	if (r < 0) {
		(void)(r == -EPERM ? err_set(e, ERR_CONFLICT, "nftables: the table %s is another process's: another engine of this instance?", d->table) :
		       err_errno(e, -r, "nftables: cannot make the table %s", d->table));
		nft_close(d);
		return -1;
	}
	nft_keeper_open(d);
	*ret = d;
	return 0;
}

static int nft_open(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e)
{
	nft_flows_count();
	return open_table(l, pin_dir, false, ret, e);
}

int marks_open(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e)
{
	if (open_table(l, pin_dir, true, ret, e) < 0)
		return -1;
	if ((*ret)->can & CAN_GUARD)
		return 0;
	marks_close(TAKE(*ret));
	return err_set(e, ERR_NOT_IMPLEMENTED, "nftables of this kernel cannot tell the engine's sockets");
}

int marks_bridge(struct datapath *m, uint32_t ifindex, bool on)
{
	return net_elem(m, elem_if(SET_GUARDS, ifindex), on);
}

void marks_close(struct datapath *m)
{
	if (m)
		(void)ruleset_delete(m);
	nft_close(m);
}

static void nft_purge(const char *pin_dir)
{
	struct err e = { 0 };
	struct datapath *d = connect_to(pin_dir, &e);

	if (d)
		(void)ruleset_delete(d);
	nft_close(d);
}

const struct datapath_ops dp_nft = {
	.name = "nft", .routes = true, .sctp = true, .past_input = true, .forwarding = true, .uplink_forwarding = true, .open = nft_open, .close = nft_close, .purge = nft_purge,
	.net_set = nft_net_set, .net_del = nft_net_del, .trust_set = nft_trust_set, .lent_set = nft_lent_set, .uplink_set = nft_uplink_set, .uplink_del = nft_uplink_del,
	.addr_set = nft_addr_set, .addr_del = nft_addr_del, .endpoint_set = nft_endpoint_set, .endpoint_del = nft_endpoint_del,
	.publish_set = nft_publish_set, .publish_del = nft_publish_del, .guard_set = nft_guard_set, .lb_set = nft_lb_set, .lb_del = nft_lb_del,
	.holds_ranges = nft_holds_ranges, .gc = nft_gc, .flows = nft_flows, .drops_listen = nft_drops_listen, .info = nft_info,
};
