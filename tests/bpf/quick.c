/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/*
 * The quick way of known flows (bpf/lib/quick.h): that it is taken, that it makes the same packets as the long one, and that whatever it must not
 * decide by itself is left to the long one. It is known by what it does not look at: an endpoint that is removed without the word that tables
 * have changed is still served; and by the Ethernet header, which the long way leaves to the kernel.
 */
static struct rig rig;
static struct tally tally;
static bool v6;
static uint8_t neighbour[6] = { 2, 0, 0, 0, 0, 0x99 }, small[6] = { 2, 0, 0, 0, 0, 0x11 };

static void check(const char *what, bool ok)
{
	rig_check(&tally, what, v6, ok);
}

/* True: the verdict is this, and unless want is NULL the packet that came out is want with this Ethernet header. */
static bool gives(enum hook h, const struct pkt *in, const uint8_t *dst, int verdict, const struct pkt *want, const uint8_t *want_dst, const uint8_t *want_src)
{
	static uint8_t a[PKT_MAX], out[PKT_MAX], b[PKT_MAX];
	size_t out_n = 0, n = pkt_make(in, v6, dst, rig_mac(WEB), a);
	int rc = rig_run(&rig, h, a, n, 0, out, &out_n);

	if (rc != verdict)
		(void)printf("  verdict %d, not %d\n", rc, verdict);
	if (rc != verdict || !want)
		return rc == verdict;
	n = pkt_make(want, v6, want_dst, want_src, b);
	return n == out_n && !memcmp(out, b, n);
}

static void endpoint_vanishes(enum who w)
{
	struct kedge_addr k = rig_addr(w, v6);

	(void)bpf_map_delete_elem(bpf_map__fd(rig.dp->maps.endpoints), &k);
}

static struct kedge_ct flow(const struct pkt *p, uint8_t proto, bool *there)
{
	struct kedge_tuple t = { .saddr = rig_addr(p->src, v6), .daddr = rig_addr(p->dst, v6), .sport = htons(p->sport), .dport = htons(p->dport), .proto = proto };
	struct kedge_ct c = { 0 };

	*there = bpf_map_lookup_elem(bpf_map__fd(rig.dp->maps.ct), &t, &c) == 0;
	return c;
}

static void routes_age(const struct pkt *p, uint8_t proto)
{
	struct kedge_tuple t = { .saddr = rig_addr(p->src, v6), .daddr = rig_addr(p->dst, v6), .sport = htons(p->sport), .dport = htons(p->dport), .proto = proto };
	bool there;
	struct kedge_ct c = flow(p, proto, &there);

	c.way.until = 1;
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.ct), &t, &c, BPF_ANY);
}

static void published(enum kind kind, uint8_t proto, uint16_t port)
{
	struct pkt in = { .src = NARROW, .dst = HOST, .kind = kind, .sport = 40000, .dport = 8080, .flags = 'S', .payload = 100 };
	struct pkt in2 = { .src = NARROW, .dst = WEB, .kind = kind, .sport = 40000, .dport = port, .flags = 'S', .ttl = 63, .payload = 100 };
	struct pkt out = { .src = WEB, .dst = NARROW, .kind = kind, .sport = port, .dport = 40000, .payload = 700 };
	struct pkt out2 = { .src = HOST, .dst = NARROW, .kind = kind, .sport = 8080, .dport = 40000, .ttl = 63, .payload = 700 };
	struct kedge_ct c;
	bool there;

	rig_forget(&rig);
	rig_publish(&rig, NOBODY, 8080, proto, WEB, port, GEN_WEB, v6, NULL);
	check("the first packet", gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, &in2, rig_mac(WEB), rig.gw_mac));
	in.flags = in2.flags = 'A';
	check("its answer", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, rig.gw_mac, rig_mac(WEB)));
	check("the next, with which it is no young flow any more", gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, &in2, rig_mac(WEB), rig.gw_mac) &&
	      rig_grown(&rig) == 2);
	endpoint_vanishes(WEB);
	check("one more, quick, the same", gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, &in2, rig_mac(WEB), rig.gw_mac));
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, true);
	check("an answer, by the routes", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, rig.gw_mac, rig_mac(WEB)));
	check("the next, quick, with the header", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, neighbour, small));
	check("from another container", gives(FROM_WEB2, &out, rig.gw_mac, TC_ACT_SHOT, NULL, NULL, NULL));
	check("from an uplink", gives(UPLINK, &out, rig.up_mac, TC_ACT_UNSPEC, NULL, NULL, NULL));
	if (kind == UDP && !v6) {
		out.no_checksum = out2.no_checksum = true;
		check("no checksum stays none", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, neighbour, small));
		out.no_checksum = out2.no_checksum = false;
	}
	routes_age(&out, proto);
	check("routes are asked again", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, rig.gw_mac, rig_mac(WEB)));
	check("and remembered again", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, neighbour, small));
	c = flow(&out, proto, &there);
	check("its packets are counted", there && c.packets == (kind == UDP && !v6 ? 6 : 5) && c.bytes > 5 * 700u && c.flags & KEDGE_CT_REPLIED);
	out.payload = 1390;
	check("too long for the way out: an error", gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, NULL, NULL, NULL) &&
	      !gives(FROM_WEB, &out, rig.gw_mac, TC_ACT_REDIRECT, &out2, neighbour, small));
	if (kind == TCP) {
		in.flags = 'F';
		check("a FIN", gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, NULL, NULL, NULL));
		c = flow(&in, proto, &there);
		check("is remembered", there && c.flags & KEDGE_CT_FIN);
		in.flags = 'A';
	}
	in.ttl = 1;
	check("a TTL that runs out: an error", gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, NULL, NULL, NULL) &&
	      !gives(UPLINK, &in, rig.up_mac, TC_ACT_REDIRECT, &in2, rig_mac(WEB), rig.gw_mac));
	in.ttl = 64;
	endpoint_vanishes(WEB);
	rig_changed(&rig);
	check("a container that is gone", gives(UPLINK, &in, rig.up_mac, TC_ACT_SHOT, NULL, NULL, NULL));
	(void)flow(&in, proto, &there);
	check("and its flow with it", !there);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, true);
}

static void to_the_host(void)
{
	struct pkt p = { .src = WEB, .dst = HOST, .kind = TCP, .sport = 80, .dport = 50000 };

	rig_forget(&rig);
	check("to the host", gives(FROM_WEB, &p, rig.gw_mac, TC_ACT_REDIRECT, &p, rig.gw_mac, rig_mac(WEB)));
	endpoint_vanishes(WEB);
	check("again, quick", gives(FROM_WEB, &p, rig.gw_mac, TC_ACT_REDIRECT, &p, rig.gw_mac, rig_mac(WEB)));
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, true);
	check("asked again", gives(FROM_WEB, &p, rig.gw_mac, TC_ACT_REDIRECT, &p, rig.gw_mac, rig_mac(WEB)));
	check("under another's address", gives(FROM_WEB2, &p, rig.gw_mac, TC_ACT_SHOT, NULL, NULL, NULL));
	check("no flow", rig_flows(&rig) == 0);
	rig_publish(&rig, NOBODY, 50000, IPPROTO_TCP, WEB2, 80, GEN_WEB2, v6, NULL);
	rig_changed(&rig);
	check("published since", gives(FROM_WEB, &p, rig.gw_mac, TC_ACT_REDIRECT, NULL, NULL, NULL) && rig_flows(&rig) == 2);
	rig_clear(&rig, rig.dp->maps.published);
	rig_changed(&rig);
}

static void from_the_host(void)
{
	struct pkt p = { .src = GATEWAY, .dst = WEB, .kind = TCP, .sport = 50000, .dport = 80 };

	check("from the host", gives(BRIDGE, &p, rig_mac(WEB), TC_ACT_REDIRECT, &p, rig_mac(WEB), rig_mac(WEB)));
	check("to another's Ethernet address", gives(BRIDGE, &p, rig_mac(WEB2), TC_ACT_UNSPEC, NULL, NULL, NULL));
	p.dst = VACANT;
	check("to nobody we know", gives(BRIDGE, &p, rig_mac(WEB), TC_ACT_UNSPEC, NULL, NULL, NULL));
	p.dst = GROUP;
	check("to a group", gives(BRIDGE, &p, rig_mac(WEB), TC_ACT_UNSPEC, NULL, NULL, NULL));
}

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.ethers), &rig.narrow, &(uint32_t){ 1 }, BPF_ANY);
	for (int six = 0; six < 2; six++) {
		v6 = six;
		published(TCP, IPPROTO_TCP, 80);
		published(TCP, IPPROTO_TCP, 8080);
		published(UDP, IPPROTO_UDP, 53);
		to_the_host();
		from_the_host();
	}
	rig_free(&rig);
	(void)printf("%u passed, %u failed\n", tally.passed, tally.failed);
	return tally.failed != 0;
}
