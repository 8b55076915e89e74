/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the tables, for people: flows, drops as they happen, everything decoded. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/ebpf/ebpf_priv.h"

static const char *const reasons[] = {
#define X(name, text) text,
	KEDGE_DROP_REASONS(X)
#undef X
};
_Static_assert(N(reasons) == KEDGE_DROP_COUNT, "a word for every reason");

const char *drop_reason(uint32_t reason)
{
	return reason < N(reasons) ? reasons[reason] : "?";
}

static struct in6_addr from_addr(const struct kedge_addr *a)
{
	struct in6_addr out;

	memcpy(&out, a, sizeof(out));
	return out;
}

static int64_t since(uint64_t now, uint64_t then)
{
	return now > then ? (int64_t)(now - then) : 0;
}

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* ---- flows ---- */

static void flow_of(struct datapath *d, const struct kedge_tuple *t, const struct kedge_ct *c, uint64_t now, struct dp_flow *f)
{
	bool published = c->xlate == KEDGE_XLATE_DST;
	struct kedge_ct o = { 0 };
	struct kedge_tuple peer;

	ct_peer_of(t, c, &peer);
	(void)ct_lookup(d, &peer, &o);
	*f = (struct dp_flow){
		.proto = t->proto, .published = published,
		.replied = (c->flags | o.flags) & KEDGE_CT_REPLIED,
		.closing = ((c->flags | o.flags) & KEDGE_CT_RST) || (c->flags & o.flags & KEDGE_CT_FIN),
		.confirmed = c->flags & KEDGE_CT_CONFIRMED,
		.peer = from_addr(published ? &t->saddr : &t->daddr), .peer_port = ntohs(published ? t->sport : t->dport),
		.host = from_addr(published ? &t->daddr : &c->addr), .host_port = ntohs(published ? t->dport : c->port),
		.container = from_addr(published ? &c->addr : &t->saddr), .container_port = ntohs(published ? c->port : t->sport),
		.in_packets = published ? c->packets : o.packets, .in_bytes = published ? c->bytes : o.bytes,
		.out_packets = published ? o.packets : c->packets, .out_bytes = published ? o.bytes : c->bytes,
		.age_ns = since(now, c->created), .idle_ns = since(now, c->seen > o.seen ? c->seen : o.seen),
	};
}

void ebpf_flows(struct datapath *d, void (*fn)(void *user, const struct dp_flow *f), void *user)
{
	const struct bpf_map *const tables[] = { d->dp->maps.ct, d->dp->maps.young };
	uint64_t now = boot_ns();
	struct kedge_ct c;
	struct dp_flow f;

	for (size_t t = 0; t < N(tables); t++) {
		int fd = bpf_map__fd(tables[t]);
		struct kedge_tuple key, *at = NULL;

		/* A key that goes while we stand on it would begin the table anew: no more steps than the table has places. */
		for (unsigned i = 0; i < bpf_map__max_entries(tables[t]) && bpf_map_get_next_key(fd, at, &key) == 0; i++) {
			at = &key;
			if (bpf_map_lookup_elem(fd, &key, &c) < 0 || !(c.flags & KEDGE_CT_ORIGIN))
				continue;
			flow_of(d, &key, &c, now, &f);
			fn(user, &f);
		}
	}
}

/* ---- drops ---- */

enum { EVENTS_A_TURN = 64 };

static int on_event(void *user, void *p, size_t n)
{
	static const char *const hooks[] = { [KEDGE_HOOK_UPLINK] = "uplink", [KEDGE_HOOK_CONTAINER] = "container", [KEDGE_HOOK_XDP] = "xdp" };
	const struct kedge_event *ev = p;
	struct datapath *d = user;
	struct dp_drop x;

	if (n < sizeof(*ev) || ev->reason >= N(reasons) || ev->hook >= N(hooks) || !d->on_drop)
		return 0;
	x = (struct dp_drop){
		.ago_ns = since(boot_ns(), ev->at), .hook = hooks[ev->hook], .reason = reasons[ev->reason], .ifindex = ev->ifindex, .len = ev->len,
		.proto = ev->t.proto, .tcp_flags = ev->tcp_flags, .icmp_type = ev->icmp_type, .src = from_addr(&ev->t.saddr), .dst = from_addr(&ev->t.daddr),
		.sport = ntohs(ev->t.sport), .dport = ntohs(ev->t.dport), .suppressed = ev->suppressed,
	};
	d->on_drop(d->drop_user, &x);
	return --d->events_left > 0 ? 0 : -EAGAIN;
}

static void on_events(void *user, unsigned events)
{
	struct datapath *d = user;

	(void)events;
	/* A few: others want their turn, and what is left makes the loop come back. */
	d->events_left = EVENTS_A_TURN;
	(void)ring_buffer__consume(d->events);
}

static void listeners_set(struct datapath *d, uint32_t n)
{
	__atomic_store_n(&d->control->listeners, n, __ATOMIC_SEQ_CST);
}

void drops_close(struct datapath *d)
{
	loop_io_free(d->events_io);
	d->events_io = NULL;
	ring_buffer__free(d->events);
	d->events = NULL;
}

int ebpf_drops_listen(struct datapath *d, void (*fn)(void *user, const struct dp_drop *x), void *user, struct err *e)
{
	d->on_drop = fn;
	d->drop_user = user;
	if (!fn) {
		listeners_set(d, 0);
		/* Maybe from inside on_event(): the ring stays. */
		return 0;
	}
	if (!d->events) {
		d->events = ring_buffer__new(bpf_map__fd(d->dp->maps.events), on_event, d, NULL);
		if (!d->events)
			return err_errno(e, errno, "listen to dropped packets");
		d->events_io = loop_io_new(d->l, ring_buffer__epoll_fd(d->events), LOOP_READ, on_events, d);
	}
	listeners_set(d, 1);
	return 0;
}

/* ---- tables ---- */

static json_t *jaddr(const struct kedge_addr *a)
{
	struct in6_addr x = from_addr(a);
	char t[ADDR_TEXT];

	return json_string(addr_text(&x, t));
}

static json_t *jprefix(const struct kedge_addr *a, uint32_t bits)
{
	struct net_cidr c = { .addr = from_addr(a), .prefix = (uint8_t)bits };
	char t[CIDR_TEXT];

	return json_string(cidr_text(&c, t));
}

static json_t *jif(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name) ? json_string(name) : json_integer(ifindex);
}

static json_t *jpublish(json_t *o, const struct kedge_publish *v)
{
	if (v->lb) {
		json_object_set_new(o, "Backends", json_integer(v->lb));
	} else {
		json_object_set_new(o, "Container", jaddr(&v->addr));
		json_object_set_new(o, "ContainerPort", json_integer(ntohs(v->port)));
		json_object_set_new(o, "Generation", json_integer(v->generation));
	}
	if (v->flags & KEDGE_PUBLISH_GUARDED)
		json_object_set_new(o, "Guarded", json_true());
	if (v->flags & KEDGE_PUBLISH_TRUSTED)
		json_object_set_new(o, "Trusted", json_true());
	if (v->flags & KEDGE_PUBLISH_AFFINITY)
		json_object_set_new(o, "Affinity", json_true());
	if (v->sources)
		json_object_set_new(o, "Sources", json_integer(v->sources));
	if (v->listener)
		json_object_set_new(o, "Listener", json_integer(v->listener));
	return o;
}

static json_t *one_net(const void *key, const void *value)
{
	const struct kedge_net_key *k = key;
	const struct kedge_net *v = value;

	json_t *o = json_pack("{s:o, s:o, s:o, s:b, s:b, s:b, s:b}", "Subnet", jprefix(&k->addr, k->prefix), "Gateway", jaddr(&v->gateway), "Bridge",
			      jif(v->bridge_ifindex), "Masquerade", (v->flags & KEDGE_NET_MASQUERADE) != 0, "Internal",
			      (v->flags & KEDGE_NET_INTERNAL) != 0, "ICC", !(v->flags & KEDGE_NET_NO_ICC), "Routed", (v->flags & KEDGE_NET_ROUTED) != 0);

	if (v->flags & KEDGE_NET_OPEN)
		json_object_set_new(o, "Open", json_true());
	if (v->flags & KEDGE_NET_ELSEWHERE)
		json_object_set_new(o, "GatewayElsewhere", json_true());
	if (v->flags & KEDGE_NET_SOURCE)
		json_object_set_new(o, "Source", jaddr(&v->source));
	return o;
}

static json_t *one_trust(const void *key, const void *value)
{
	const struct kedge_trust *k = key;

	(void)value;
	return json_pack("{s:o, s:o}", "Bridge", jif(k->bridge_ifindex), "Interface", jif(k->ifindex));
}

static json_t *one_endpoint(const void *key, const void *value)
{
	const struct kedge_endpoint *v = value;
	char mac[18];

	return json_pack("{s:o, s:o, s:o, s:s, s:I}", "Address", jaddr(key), "Interface", jif(v->host_ifindex), "Bridge", jif(v->bridge_ifindex), "MacAddress",
			 mac_text(v->mac, mac), "Generation", (json_int_t)v->generation);
}

static json_t *one_published(const void *key, const void *value)
{
	const struct kedge_publish_key *k = key;

	return jpublish(json_pack("{s:o, s:i, s:s}", "Address", jaddr(&k->addr), "Port", (int)ntohs(k->port), "Proto", proto_text(k->proto)), value);
}

static json_t *one_range(const void *key, const void *value)
{
	const struct kedge_range_key *k = key;
	const struct kedge_publish *v = value;
	int from = ntohs(k->port), n = 1 << (160 - k->prefix);
	json_t *o = jpublish(json_pack("{s:o, s:i, s:i, s:s}", "Address", jaddr(&k->addr), "Port", from, "PortEnd", from + n - 1, "Proto", proto_text(k->proto)), value);

	json_object_set_new(o, "ContainerPort", json_integer(ntohs(v->port) + from - ntohs(v->first)));
	return o;
}

static json_t *one_local(const void *key, const void *value)
{
	return json_pack("{s:o, s:o}", "Address", jaddr(key), "Interface", jif(*(const uint32_t *)value));
}

static json_t *one_source(const void *key, const void *value)
{
	return json_pack("{s:o, s:o}", "Interface", jif(((const struct kedge_source_addr_key *)key)->ifindex), "Address", jaddr(value));
}

static json_t *one_slot(const void *key, const void *value)
{
	const struct kedge_lb_key *k = key;
	const struct kedge_backend *v = value;

	return json_pack("{s:I, s:I, s:o, s:i}", "Backends", (json_int_t)k->lb, "Slot", (json_int_t)k->slot, "Container", jaddr(&v->addr), "ContainerPort",
			 (int)ntohs(v->port));
}

static json_t *one_list(const void *key, const void *value)
{
	const struct kedge_source_key *k = key;

	(void)value;
	return json_pack("{s:I, s:o}", "Sources", (json_int_t)k->list, "Prefix", jprefix(&k->addr, k->prefix - 32));
}

static json_t *one_peer(const void *key, const void *value)
{
	const struct kedge_local_key *k = key;
	const struct kedge_local *v = value;

	return json_pack("{s:I, s:o, s:i, s:o, s:i}", "Socket", (json_int_t)k->cookie, "Container", jaddr(&k->addr), "ContainerPort", (int)ntohs(k->port), "Address",
			 jaddr(&v->addr), "Port", (int)ntohs(v->port));
}

static json_t *table(const struct bpf_map *m, json_t *(*one)(const void *key, const void *value))
{
	unsigned char key[64], value[128], *at = NULL;
	json_t *a = json_array();

	for (uint32_t i = 0; i < bpf_map__max_entries(m) && bpf_map_get_next_key(bpf_map__fd(m), at, key) == 0; i++) {
		at = key;
		if (bpf_map_lookup_elem(bpf_map__fd(m), key, value) == 0)
			json_array_append_new(a, one(key, value));
	}
	return json_pack("{s:o, s:I}", "Entries", a, "Max", (json_int_t)bpf_map__max_entries(m));
}

json_t *ebpf_maps(struct datapath *d)
{
	json_t *all = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "nets", table(d->dp->maps.nets, one_net), "trusted",
			 table(d->dp->maps.trusted, one_trust), "endpoints",
			 table(d->dp->maps.endpoints, one_endpoint), "published", table(d->dp->maps.published, one_published), "ranges",
			 table(d->dp->maps.ranges, one_range), "locals", table(d->dp->maps.locals, one_local), "sources", table(d->dp->maps.sources, one_source),
			 "lb_slots", table(d->dp->maps.lb_slots, one_slot), "source_lists", table(d->dp->maps.source_lists, one_list), "local_peers",
			 table(d->dp->maps.local_peers, one_peer));

	xdp_maps(d->xdp, all);
	return all;
}
