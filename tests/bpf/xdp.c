/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/xdp.skel.h"
#include "rig.h"

/*
 * Refusing early. Each packet is put through the XDP program and then through the uplink's tc program over the same tables: what the first
 * drops the second must drop too, for the same reason; and what is worth it must be dropped by the first. Then packets by the thousand, whole, cut short
 * and damaged, for the first of these two.
 */
static struct rig rig;
static struct xdp_bpf *xdp;
static struct tally tally;
static bool v6;

static void check(const char *what, bool ok)
{
	rig_check(&tally, what, v6, ok);
}

static int run_xdp(const uint8_t *in, size_t n)
{
	struct xdp_md ctx = { .data_end = (uint32_t)n, .ingress_ifindex = rig.ifindex[UPLINK] };
	static uint8_t out[16384];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = (uint32_t)n, .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int r = bpf_prog_test_run_opts(bpf_program__fd(xdp->progs.kedge_xdp), &o);

	if (r < 0)
		return r;
	if (o.data_size_out != n || memcmp(in, out, n) != 0)
		return -EBADMSG;		/* it is to change nothing */
	return (int)o.retval;
}

static uint64_t xdp_drops(uint32_t why)
{
	uint64_t v[1024] = { 0 }, s = 0;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 1 || cpus > 1024 || bpf_map_lookup_elem(bpf_map__fd(xdp->maps.xdp_drops), &why, v) < 0)
		return 0;
	for (int c = 0; c < cpus; c++)
		s += v[c];
	return s;
}

static void counts(uint64_t all[KEDGE_DROP_COUNT], uint64_t own[KEDGE_DROP_COUNT])
{
	for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++) {
		all[i] = rig_drops(&rig, i);
		own[i] = xdp_drops(i);
	}
}

/* The reason of the one drop since, -1: there was none, -2: the counters disagree. own: it counts among XDP's. */
static int reason(const uint64_t all[KEDGE_DROP_COUNT], const uint64_t own[KEDGE_DROP_COUNT], bool by_xdp)
{
	uint64_t all2[KEDGE_DROP_COUNT], own2[KEDGE_DROP_COUNT];
	int why = -1;

	counts(all2, own2);
	for (int i = 0; i < KEDGE_DROP_COUNT; i++) {
		if (own2[i] - own[i] != (by_xdp ? all2[i] - all[i] : 0))
			return -2;
		if (all2[i] != all[i])
			why = i;
	}
	return why;
}

enum { PASSES = -1 };

/* True: XDP drops it for that reason (or lets it PASS), changes nothing, and tc would have said no other. */
static bool frame(const uint8_t *in, size_t n, int want)
{
	uint64_t all[KEDGE_DROP_COUNT], own[KEDGE_DROP_COUNT];
	static uint8_t out[PKT_MAX];
	size_t out_n;
	int verdict, why;

	counts(all, own);
	verdict = run_xdp(in, n);
	why = reason(all, own, true);
	if (verdict != (want == PASSES ? XDP_PASS : XDP_DROP) || why != want) {
		(void)printf("     verdict %d, reason %d, not %d\n", verdict, why, want);
		return false;
	}
	if (want == PASSES)
		return true;
	counts(all, own);
	verdict = rig_run(&rig, UPLINK, in, n, 0, out, &out_n);
	why = reason(all, own, false);
	if (verdict != TC_ACT_SHOT || why != want)
		(void)printf("     at tc: verdict %d, reason %d\n", verdict, why);
	return verdict == TC_ACT_SHOT && why == want;
}

static bool packet(const struct pkt *p, int want)
{
	static uint8_t in[PKT_MAX];

	return frame(in, pkt_make(p, v6, rig.up_mac, rig_mac(CLIENT), in), want);
}

#define SYN(from, to, port) { .src = from, .dst = to, .kind = TCP, .sport = 40000, .dport = port, .flags = 'S' }
#define ON(from, to, port) { .src = from, .dst = to, .kind = TCP, .sport = 40000, .dport = port }
#define DATAGRAM(from, to, port) { .src = from, .dst = to, .kind = UDP, .sport = 5000, .dport = port }

enum { TRUSTED = 83, TRUSTED_LISTED = 84, LISTED = 8080, LISTED_UDP = 5353, OPEN = 8081, SHARED = 8082, RANGE = 20000, GUARDED = 8083, LIST = 7 };

static const struct {
	const char *what;
	struct pkt in;
	int want;
	enum { BOTH, ONLY4, ONLY6 } family;
} cases[] = {
	{ "a sender on the list", SYN(CLIENT2, HOST, LISTED), PASSES },
	{ "a sender who is not", SYN(CLIENT, HOST, LISTED), KEDGE_DROP_SOURCE },
	{ "without a SYN", ON(CLIENT, HOST, LISTED), KEDGE_DROP_SOURCE },
	{ "to another address of the host", SYN(CLIENT, HOST2, LISTED), KEDGE_DROP_SOURCE },
	{ "with options in the header", { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = LISTED, .flags = 'S', .options = 8 }, KEDGE_DROP_SOURCE, ONLY4 },
	{ "behind an extension header: left to tc", { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = LISTED, .flags = 'S', .options = 8 }, PASSES,
	  ONLY6 },
	{ "a datagram", DATAGRAM(CLIENT, HOST, LISTED_UDP), KEDGE_DROP_SOURCE },
	{ "a permitted datagram", DATAGRAM(CLIENT2, HOST, LISTED_UDP), PASSES },
	{ "the port's number over another protocol", DATAGRAM(CLIENT, HOST, LISTED), PASSES },
	{ "a fragment: left to tc", { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = LISTED_UDP, .part = FIRST }, PASSES },
	{ "its rest", { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = LISTED_UDP, .part = LATER }, PASSES },
	{ "sctp: left to tc", { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 5000, .dport = LISTED, .chunk = 1 }, PASSES },
	{ "a port without a list", SYN(CLIENT, HOST, OPEN), PASSES },
	{ "a port behind several backends", SYN(CLIENT, HOST, SHARED), PASSES },
	{ "a guarded port's list counts", SYN(CLIENT, HOST, GUARDED), KEDGE_DROP_SOURCE },
	{ "and who is on it goes to the host", SYN(CLIENT2, HOST, GUARDED), PASSES },
	{ "a range's first port", SYN(CLIENT, HOST, RANGE), KEDGE_DROP_SOURCE },
	{ "another of it", SYN(CLIENT, HOST, RANGE + 5), KEDGE_DROP_SOURCE },
	{ "what may be an answer to the host: left to tc", ON(CLIENT, HOST, RANGE + 5), PASSES },
	{ "past the range", SYN(CLIENT, HOST, RANGE + 8), PASSES },
	{ "a port nobody published", SYN(CLIENT, HOST, 22), PASSES },
	{ "ping", { .src = CLIENT, .dst = HOST, .kind = PING, .sport = 9 }, PASSES },
	{ "another protocol", { .src = CLIENT, .dst = HOST, .kind = GRE }, PASSES },
	{ "a container's own address", SYN(CLIENT, WEB, 80), KEDGE_DROP_UNPUBLISHED },
	{ "a datagram there", DATAGRAM(CLIENT, WEB, 53), KEDGE_DROP_UNPUBLISHED },
	{ "nobody's address of its network", DATAGRAM(CLIENT, VACANT, 53), KEDGE_DROP_UNPUBLISHED },
	{ "with the number of a listed port", SYN(CLIENT, WEB, LISTED), KEDGE_DROP_UNPUBLISHED },
	{ "an internal network", SYN(CLIENT, INNER, 80), KEDGE_DROP_UNPUBLISHED },
	{ "a bridge's own address", SYN(CLIENT, GATEWAY, 22), PASSES },
	{ "published at a routed network's own address", SYN(CLIENT, ROUTED, 80), PASSES },
	{ "not published there", SYN(CLIENT, ROUTED, 81), KEDGE_DROP_UNPUBLISHED },
	{ "for trusted uplinks: left to tc, which knows a VLAN's", SYN(CLIENT, WEB, TRUSTED), PASSES },
	{ "the same for one on the list", SYN(CLIENT2, WEB, TRUSTED_LISTED), PASSES },
	{ "somebody else's address", SYN(CLIENT, FAR_AWAY, LISTED), PASSES },
	{ "to loopback", SYN(CLIENT, LOOP, LISTED), KEDGE_DROP_MARTIAN },
	{ "from loopback", DATAGRAM(LOOP, HOST, 53), KEDGE_DROP_MARTIAN },
	{ "from a link-local sender", DATAGRAM(LINK, WEB, 53), PASSES, ONLY6 },
};

static void ports(const uint16_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t at = p[i] / 64u;
		uint64_t w = 0;

		(void)bpf_map_lookup_elem(bpf_map__fd(xdp->maps.xdp_ports), &at, &w);
		w |= 1ull << p[i] % 64;
		(void)bpf_map_update_elem(bpf_map__fd(xdp->maps.xdp_ports), &at, &w, BPF_ANY);
	}
}

static void tables(void)
{
	static const uint16_t listed[] = { TRUSTED_LISTED, LISTED, LISTED_UDP, GUARDED, RANGE, RANGE + 1, RANGE + 2, RANGE + 3, RANGE + 4, RANGE + 5, RANGE + 6, RANGE + 7 };
	const struct kedge_publish trusted = { .flags = KEDGE_PUBLISH_TRUSTED }, trusted_list = { .sources = LIST, .flags = KEDGE_PUBLISH_TRUSTED };
	const struct kedge_publish list = { .sources = LIST }, guarded = { .sources = LIST, .flags = KEDGE_PUBLISH_GUARDED }, lb = { .lb = 5 };
	struct kedge_source_key who = { .prefix = 160, .list = LIST, .addr = rig_addr(CLIENT2, v6) };
	struct kedge_range_key range = { .prefix = 160 - 3, .addr = rig_addr(NOBODY, v6), .proto = IPPROTO_TCP, .port = htons(RANGE) };
	struct kedge_publish many = { .addr = rig_addr(WEB, v6), .generation = GEN_WEB, .sources = LIST, .flags = KEDGE_PUBLISH_RANGE, .first = htons(RANGE), .port = htons(1) };
	struct kedge_control c = { .ranges = 1, .listeners = 1 };
	struct kedge_xdp_device dev = { 0 };

	rig_publish(&rig, NOBODY, LISTED, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &list);
	rig_publish(&rig, NOBODY, LISTED, IPPROTO_SCTP, WEB, 80, GEN_WEB, v6, &list);
	rig_publish(&rig, NOBODY, LISTED_UDP, IPPROTO_UDP, WEB, 53, GEN_WEB, v6, &list);
	rig_publish(&rig, NOBODY, GUARDED, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &guarded);
	rig_publish(&rig, NOBODY, OPEN, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, SHARED, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &lb);
	rig_publish(&rig, WEB, TRUSTED, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &trusted);
	rig_publish(&rig, WEB, TRUSTED_LISTED, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &trusted_list);
	rig_publish(&rig, ROUTED, 80, IPPROTO_TCP, ROUTED, 80, GEN_ROUTED, v6, NULL);
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.source_lists), &who, &(uint32_t){ 1 }, BPF_ANY);
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.ranges), &range, &many, BPF_ANY);
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.control), &(uint32_t){ 0 }, &c, BPF_ANY);
	memcpy(dev.mac, rig.up_mac, sizeof(dev.mac));
	(void)bpf_map_update_elem(bpf_map__fd(xdp->maps.xdp_devices), &rig.ifindex[UPLINK], &dev, BPF_ANY);
	ports(listed, sizeof(listed) / sizeof(listed[0]));
	rig_changed(&rig);
}

static void stories(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (cases[i].family == BOTH || (cases[i].family == ONLY6) == v6)
			check(cases[i].what, packet(&cases[i].in, cases[i].want));
}

/* Networks that let more in. */
static void networks(void)
{
	static const struct pkt other = SYN(CLIENT, WEB, 81), trusted = SYN(CLIENT, WEB, TRUSTED), listed = SYN(CLIENT, WEB, TRUSTED_LISTED);

	rig_trust(&rig, UPLINK, true);
	rig_changed(&rig);
	check("trusted", packet(&trusted, PASSES));
	check("trusted, but not on the list", packet(&listed, KEDGE_DROP_SOURCE));
	rig_trust(&rig, UPLINK, false);
	rig_open(&rig, true);
	rig_changed(&rig);
	check("an open network", packet(&other, PASSES));
	rig_open(&rig, false);
	rig_changed(&rig);
	check("open no more", packet(&other, KEDGE_DROP_UNPUBLISHED));
}

/* A list that has become narrower: what has begun goes on, here as at tc. */
static void flows(void)
{
	struct pkt syn = SYN(CLIENT2, HOST, LISTED), on = ON(CLIENT2, HOST, LISTED), back = { .src = WEB, .dst = CLIENT2, .kind = TCP, .sport = 80, .dport = 40000, .flags = 'S' };
	struct kedge_source_key who = { .prefix = 160, .list = LIST, .addr = rig_addr(CLIENT2, v6) };
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	size_t n = pkt_make(&syn, v6, rig.up_mac, rig_mac(CLIENT2), in), out_n;

	rig_forget(&rig);
	check("a flow begins", rig_run(&rig, UPLINK, in, n, 0, out, &out_n) == TC_ACT_REDIRECT);
	(void)bpf_map_delete_elem(bpf_map__fd(rig.dp->maps.source_lists), &who);
	check("young, it goes on", packet(&on, PASSES));
	n = pkt_make(&back, v6, rig.gw_mac, rig_mac(WEB), in);
	(void)rig_run(&rig, FROM_WEB, in, n, 0, out, &out_n);
	n = pkt_make(&on, v6, rig.up_mac, rig_mac(CLIENT2), in);
	(void)rig_run(&rig, UPLINK, in, n, 0, out, &out_n);
	check("it is established", rig_grown(&rig) == 2);
	check("established, it goes on", packet(&on, PASSES));
	on.sport++;
	check("another does not begin", packet(&on, KEDGE_DROP_SOURCE));
	rig_forget(&rig);
	on.sport--;
	check("nor does it, once it is over", packet(&on, KEDGE_DROP_SOURCE));
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.source_lists), &who, &(uint32_t){ 1 }, BPF_ANY);
}

/* Frames that are not the device's own business, and such as no buffer holds alone. */
static void frames(void)
{
	static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	struct pkt p = SYN(CLIENT, HOST, LISTED);
	static uint8_t in[PKT_MAX], big[9000];
	size_t n = pkt_make(&p, v6, rig.up_mac, rig_mac(CLIENT), in);
	int r;

	check("as it is", frame(in, n, KEDGE_DROP_SOURCE));
	in[5] ^= 1;
	check("for another's Ethernet address", frame(in, n, PASSES));
	memcpy(in, group, 6);
	check("for a group's", frame(in, n, PASSES));
	memcpy(in, rig.up_mac, 6);
	memmove(in + 16, in + 12, n - 12);
	memcpy(in + 12, "\x81\0\0\x64", 4);
	check("on a VLAN", frame(in, n + 4, PASSES));
	(void)bpf_map_delete_elem(bpf_map__fd(xdp->maps.xdp_devices), &rig.ifindex[UPLINK]);
	check("at a device nobody named", packet(&p, PASSES));
	tables();
	memset(big, 0, sizeof(big));
	n = pkt_make(&p, v6, rig.up_mac, rig_mac(CLIENT), big);
	if (v6)
		memcpy(big + 14 + 4, &(uint16_t){ htons(sizeof(big) - 14 - 40) }, 2);
	else
		memcpy(big + 14 + 2, &(uint16_t){ htons(sizeof(big) - 14) }, 2);
	r = run_xdp(big, sizeof(big));
	check("in several buffers", r == XDP_DROP);
	memcpy(big + 14 + (v6 ? 8 : 12), who_addr(CLIENT2, v6) + (v6 ? 0 : 12), v6 ? 16 : 4);
	check("in several buffers, permitted", run_xdp(big, sizeof(big)) == XDP_PASS);
}

enum { RANDOM = 4000 };

/* No more than tc: whatever is done to a packet, XDP drops none that tc would not, and for no other reason. */
static void no_more(void)
{
	uint64_t all[KEDGE_DROP_COUNT], own[KEDGE_DROP_COUNT];
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	unsigned more = 0, dropped = 0, odd = 0;
	size_t out_n;

	srandom(v6 ? 6 : 4);
	for (unsigned i = 0; i < RANDOM; i++) {
		size_t n = pkt_make(&cases[(size_t)random() % (sizeof(cases) / sizeof(cases[0]))].in, v6, rig.up_mac, rig_mac(CLIENT), in);
		int r, why;

		for (long k = random() % 4; k > 0; k--)
			in[12 + (size_t)random() % (n - 12)] = (uint8_t)random();
		if (random() % 4 == 0)
			n = 14 + (size_t)random() % (n - 13);
		rig_forget(&rig);
		counts(all, own);
		r = run_xdp(in, n);
		why = reason(all, own, true);
		odd += r != XDP_PASS && r != XDP_DROP;
		odd += (r == XDP_DROP) != (why >= 0);
		if (r != XDP_DROP)
			continue;
		dropped++;
		counts(all, own);
		if (rig_run(&rig, UPLINK, in, n, 0, out, &out_n) == TC_ACT_SHOT && reason(all, own, false) == why)
			continue;
		if (!more++)
			(void)printf("     packet %u, reason %d at XDP, %d at tc\n", i, why, reason(all, own, false));
	}
	check("none is dropped that tc would not drop", more == 0);
	check("no other verdict, every drop is counted", odd == 0);
	check("some were dropped", dropped > RANDOM / 10);
	rig_forget(&rig);
}

static int load(void)
{
	struct bpf_map *m, *shared;

	xdp = xdp_bpf__open();
	if (!xdp)
		return -errno;
	bpf_object__for_each_map(m, xdp->obj) {
		shared = bpf_object__find_map_by_name(rig.dp->obj, bpf_map__name(m));
		if (shared && !bpf_map__is_internal(m) && bpf_map__reuse_fd(m, bpf_map__fd(shared)) < 0)
			return -errno;
	}
	(void)bpf_program__set_flags(xdp->progs.kedge_xdp, BPF_F_XDP_HAS_FRAGS);
	return xdp_bpf__load(xdp);
}

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	rc = load();
	if (rc < 0) {
		(void)printf("the kernel does not take the XDP program: %s\n", strerror(-rc));
		return 1;
	}
	for (int six = 0; six < 2; six++) {
		v6 = six;
		tables();
		stories();
		networks();
		flows();
		frames();
		no_more();
	}
	xdp_bpf__destroy(xdp);
	rig_free(&rig);
	(void)printf("%u passed, %u failed\n", tally.passed, tally.failed);
	return tally.failed != 0;
}
