/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char setup[] =
	"set -e; ip link set lo up\n"
	"ip link add up0 address 02:00:00:00:00:01 type veth peer name far0; ip link set far0 up; ip link set up0 up\n"
	"ip link add small0 address 02:00:00:00:00:11 mtu 1400 type veth peer name small1; ip link set small1 up; ip link set small0 up\n"
	"ip link add br0 address 02:42:00:00:00:01 type bridge; ip link set br0 up; ip link add b0 master br0 type veth peer name b1; ip link set b0 up; ip link set b1 up\n"
	"for i in 1 2 3 4 5; do ip link add v$i type veth peer name w$i; ip link set v$i up; done\n"
	"ip addr add 192.0.2.1/24 dev up0; ip addr add 198.51.100.1/24 dev small0; ip addr add 172.17.0.1/16 dev br0\n"
	"ip -6 addr add 2001:db8:2::1/64 dev up0 nodad; ip -6 addr add 2001:db8:3::1/64 dev small0 nodad; ip -6 addr add fd00:17::1/64 dev br0 nodad\n"
	"for n in 198.51.100.2 2001:db8:3::2; do ip neigh add $n lladdr 02:00:00:00:00:99 dev small0; done\n"
	"ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8:2::2\n"
	"for f in 4 6; do echo 1 >/proc/sys/net/ipv$f/conf/br0/forwarding; done\n";

const uint8_t *rig_mac(enum who w)
{
	static uint8_t mac[WHO_COUNT][6];

	mac[w][0] = 2;
	mac[w][4] = 0xee;
	mac[w][5] = (uint8_t)w;
	return mac[w];
}

struct kedge_addr rig_addr(enum who w, bool v6)
{
	struct kedge_addr a;

	memcpy(&a, who_addr(w, v6), sizeof(a));
	return a;
}

static void set(struct bpf_map *m, const void *k, const void *v)
{
	if (bpf_map_update_elem(bpf_map__fd(m), k, v, BPF_ANY) < 0) {
		(void)printf("cannot write to the table %s: %s\n", bpf_map__name(m), strerror(errno));
		exit(1);
	}
}

void rig_endpoint(struct rig *r, enum who w, enum hook at, uint32_t generation, bool v6, bool there)
{
	struct kedge_endpoint v = { .host_ifindex = r->ifindex[at], .bridge_ifindex = r->bridge, .generation = generation };
	struct kedge_addr k = rig_addr(w, v6);

	memcpy(v.mac, rig_mac(w), 6);
	memcpy(v.gw_mac, r->gw_mac, 6);
	if (there)
		set(r->dp->maps.endpoints, &k, &v);
	else
		(void)bpf_map_delete_elem(bpf_map__fd(r->dp->maps.endpoints), &k);
	rig_changed(r);
}

void rig_changed(struct rig *r)
{
	struct kedge_control c = { 0 };
	uint32_t zero = 0;

	(void)bpf_map_lookup_elem(bpf_map__fd(r->dp->maps.control), &zero, &c);
	c.epoch++;
	set(r->dp->maps.control, &zero, &c);
}

void rig_publish(struct rig *r, enum who host, uint16_t host_port, uint8_t proto, enum who to, uint16_t port, uint32_t generation, bool v6,
		 const struct kedge_publish *more)
{
	struct kedge_publish_key k = { .addr = rig_addr(host, v6), .port = htons(host_port), .proto = proto };
	struct kedge_publish v = more ? *more : (struct kedge_publish){ 0 };

	v.addr = rig_addr(to, v6);
	v.generation = generation;
	v.first = k.port;
	v.port = htons(port);
	set(r->dp->maps.published, &k, &v);
}

static void net(struct rig *r, const char *v4, const char *v6, enum who gateway, uint32_t bridge, uint32_t flags)
{
	for (int six = 0; six < 2; six++) {
		struct kedge_net_key k = { .prefix = six ? 64 : 96 + 16 };
		struct kedge_net v = { .gateway = rig_addr(gateway, six), .bridge_ifindex = bridge, .flags = flags };

		if (six) {
			(void)inet_pton(AF_INET6, v6, &k.addr);
		} else {
			k.addr.w[2] = htonl(0xffff);
			(void)inet_pton(AF_INET, v4, &k.addr.w[3]);
		}
		set(r->dp->maps.nets, &k, &v);
	}
}

void rig_open(struct rig *r, bool on)
{
	net(r, "172.17.0.0", "fd00:17::", GATEWAY, r->bridge, KEDGE_NET_MASQUERADE | (on ? KEDGE_NET_OPEN : 0));
}

void rig_trust(struct rig *r, enum hook uplink, bool on)
{
	struct kedge_trust k = { .bridge_ifindex = r->bridge, .ifindex = r->ifindex[uplink] };

	if (on)
		set(r->dp->maps.trusted, &k, &(uint32_t){ 1 });
	else
		(void)bpf_map_delete_elem(bpf_map__fd(r->dp->maps.trusted), &k);
}

static void tables(struct rig *r)
{
	static const struct { enum who who; const char *dev; } local[] = {
		{ HOST, "up0" }, { HOST2, "up0" }, { NARROW_HOST, "small0" }, { GATEWAY, "br0" }, { INNER_GATEWAY, "br0" }, { ROUTED_GATEWAY, "br0" }, { LOOP, "lo" },
	};

	net(r, "172.17.0.0", "fd00:17::", GATEWAY, r->bridge, KEDGE_NET_MASQUERADE);
	net(r, "172.18.0.0", "fd00:18::", GATEWAY, 9001, KEDGE_NET_MASQUERADE | KEDGE_NET_NO_ICC);
	net(r, "172.19.0.0", "fd00:19::", INNER_GATEWAY, 9002, KEDGE_NET_MASQUERADE | KEDGE_NET_INTERNAL);
	net(r, "172.20.0.0", "2001:db8:20::", ROUTED_GATEWAY, r->bridge, KEDGE_NET_ROUTED | KEDGE_NET_PING);
	for (int six = 0; six < 2; six++) {
		uint32_t up = if_nametoindex("up0");

		for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
			struct kedge_addr k = rig_addr(local[i].who, six);
			uint32_t v = if_nametoindex(local[i].dev);

			set(r->dp->maps.locals, &k, &v);
		}
		set(r->dp->maps.sources, &(struct kedge_source_addr_key){ up, (uint32_t)six }, &(struct kedge_addr[]){ rig_addr(HOST, six) });
		set(r->dp->maps.sources, &(struct kedge_source_addr_key){ r->narrow, (uint32_t)six }, &(struct kedge_addr[]){ rig_addr(NARROW_HOST, six) });
		rig_endpoint(r, WEB, FROM_WEB, GEN_WEB, six, true);
		rig_endpoint(r, WEB2, FROM_WEB2, GEN_WEB2, six, true);
		rig_endpoint(r, OTHER, FROM_OTHER, GEN_OTHER, six, true);
		rig_endpoint(r, INNER, FROM_INNER, GEN_INNER, six, true);
		rig_endpoint(r, ROUTED, FROM_ROUTED, GEN_ROUTED, six, true);
	}
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vprintf(fmt, ap) : 0;
}

void rig_check(struct tally *t, const char *what, bool v6, bool ok)
{
	t->passed += ok;
	t->failed += !ok;
	if (!ok)
		(void)printf("FAIL %s, %s\n", what, v6 ? "IPv6" : "IPv4");
}

int rig_new(struct rig *r)
{
	uint32_t up;

	memset(r, 0, sizeof(*r));
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		(void)printf("SKIP: needs root and CAP_SYS_ADMIN for a network namespace\n");
		return 77;
	}
	if (system(setup) != 0) {
		(void)printf("the test's interfaces cannot be made\n");
		return 1;
	}
	libbpf_set_print(quiet);
	r->dp = dp_bpf__open_and_load();
	if (!r->dp) {
		(void)printf("%s: the kernel does not take the programs: %s\n", errno == EPERM ? "SKIP" : "FAIL", strerror(errno));
		return errno == EPERM ? 77 : 1;
	}
	up = if_nametoindex("up0");
	r->ifindex[UPLINK] = r->ifindex[UPLINK_L3] = up;
	r->ifindex[BRIDGE] = if_nametoindex("br0");
	for (int i = FROM_WEB; i < HOOK_COUNT; i++) {
		char name[IF_NAMESIZE];

		(void)snprintf(name, sizeof(name), "v%d", i - FROM_WEB + 1);
		r->ifindex[i] = if_nametoindex(name);
	}
	r->narrow = if_nametoindex("small0");
	r->bridge = if_nametoindex("br0");
	memcpy(r->up_mac, "\2\0\0\0\0\1", 6);
	memcpy(r->gw_mac, "\2\x42\0\0\0\1", 6);
	tables(r);
	return 0;
}

void rig_free(struct rig *r)
{
	dp_bpf__destroy(r->dp);
}

void rig_clear(struct rig *r, struct bpf_map *m)
{
	uint8_t key[64];

	(void)r;
	while (bpf_map_get_next_key(bpf_map__fd(m), NULL, key) == 0)
		if (bpf_map_delete_elem(bpf_map__fd(m), key) < 0)
			return;
}

static uint64_t total(struct bpf_map *m, uint32_t i)
{
	uint64_t v[1024] = { 0 }, s = 0;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 1 || cpus > 1024 || bpf_map_lookup_elem(bpf_map__fd(m), &i, v) < 0)
		return 0;
	for (int c = 0; c < cpus; c++)
		s += v[c];
	return s;
}

uint64_t rig_drops(struct rig *r, enum kedge_drop why)
{
	return total(r->dp->maps.drops, why);
}

uint64_t rig_counter(struct rig *r, enum kedge_counter what)
{
	return total(r->dp->maps.counters, what);
}

void rig_forget(struct rig *r)
{
	rig_clear(r, r->dp->maps.ct);
	rig_clear(r, r->dp->maps.young);
}

static unsigned entries(const struct bpf_map *m)
{
	struct kedge_tuple k, *at = NULL;
	unsigned n = 0;

	while (bpf_map_get_next_key(bpf_map__fd(m), at, &k) == 0) {
		at = &k;
		n++;
	}
	return n;
}

unsigned rig_flows(struct rig *r)
{
	return entries(r->dp->maps.ct) + entries(r->dp->maps.young);
}

unsigned rig_grown(struct rig *r)
{
	return entries(r->dp->maps.ct);
}

static void age(struct bpf_map *m, uint64_t seconds)
{
	struct kedge_tuple k, *at = NULL;
	struct kedge_ct c;

	while (bpf_map_get_next_key(bpf_map__fd(m), at, &k) == 0) {
		at = &k;
		if (bpf_map_lookup_elem(bpf_map__fd(m), &k, &c) < 0)
			continue;
		c.seen -= seconds * 1000000000;
		set(m, &k, &c);
	}
}

void rig_age(struct rig *r, uint64_t seconds)
{
	age(r->dp->maps.ct, seconds);
	age(r->dp->maps.young, seconds);
}

static int run(struct rig *r, enum hook h, const uint8_t *in, size_t n, uint16_t segment, uint32_t repeat, struct bpf_test_run_opts *o)
{
	struct __sk_buff ctx = { .ifindex = r->ifindex[h], .ingress_ifindex = r->ifindex[h], .gso_size = segment, .gso_segs = segment ? 2 : 0 };
	const struct bpf_program *progs[HOOK_COUNT] = { [UPLINK] = r->dp->progs.kedge_uplink, [UPLINK_L3] = r->dp->progs.kedge_uplink_l3,
							[BRIDGE] = r->dp->progs.kedge_bridge };

	o->data_in = in;
	o->data_size_in = (uint32_t)n;
	o->ctx_in = &ctx;
	o->ctx_size_in = sizeof(ctx);
	o->repeat = (int)repeat;
	return bpf_prog_test_run_opts(bpf_program__fd(progs[h] ? progs[h] : r->dp->progs.kedge_container), o);
}

int rig_run(struct rig *r, enum hook h, const uint8_t *in, size_t n, uint16_t segment, uint8_t *out, size_t *out_n)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_out = out, .data_size_out = PKT_MAX);
	int rc = run(r, h, in, n, segment, 1, &o);

	if (rc < 0)
		return rc;
	*out_n = o.data_size_out;
	return (int)o.retval;
}

int rig_time(struct rig *r, enum hook h, const uint8_t *in, size_t len, uint32_t n)
{
	LIBBPF_OPTS(bpf_test_run_opts, o);
	int rc = run(r, h, in, len, 0, n, &o);

	return rc < 0 ? rc : o.retval == TC_ACT_REDIRECT ? (int)o.duration : -EINVAL;
}
