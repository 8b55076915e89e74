/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "rig.h"

/*
 * What a packet of a known flow costs in the programs alone, by BPF_PROG_TEST_RUN with repeat. The kernel gives a repeated run what the one before
 * made of the packet, so each flow has a mirror here that translates it back, and the packet begins with the largest TTL there is, of which
 * every run takes one. One line a measurement: its name and the nanoseconds.
 */
enum { ROUNDS = 3000, REPEAT = 250 };

static struct rig rig;

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void mirror(bool v6, uint8_t proto)
{
	struct kedge_tuple t = { .saddr = rig_addr(CLIENT, v6), .daddr = rig_addr(HOST, v6), .sport = htons(40000), .dport = htons(8080), .proto = proto };
	struct bpf_map *ct = rig.dp->maps.ct;
	struct kedge_ct c;

	if (bpf_map_lookup_elem(bpf_map__fd(rig.dp->maps.young), &t, &c) < 0) {
		(void)fprintf(stderr, "cost: the first packet made no flow\n");
		exit(1);
	}
	c.flags = KEDGE_CT_ORIGIN | KEDGE_CT_REPLIED | KEDGE_CT_CONFIRMED;
	(void)bpf_map_update_elem(bpf_map__fd(ct), &t, &c, BPF_ANY);
	t.daddr = c.addr;
	t.dport = c.port;
	c.addr = rig_addr(HOST, v6);
	c.port = htons(8080);
	(void)bpf_map_update_elem(bpf_map__fd(ct), &t, &c, BPF_ANY);
}

static int measure(const char *name, bool v6, enum kind kind, uint8_t proto)
{
	struct pkt p = { .src = CLIENT, .dst = HOST, .kind = kind, .sport = 40000, .dport = 8080, .flags = 'S' };
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	static int ns[ROUNDS];
	size_t n = pkt_make(&p, v6, rig.up_mac, rig_mac(CLIENT), in), out_n;

	rig_publish(&rig, NOBODY, 8080, proto, WEB, 80, GEN_WEB, v6, NULL);
	(void)rig_run(&rig, UPLINK, in, n, 0, out, &out_n);
	mirror(v6, proto);
	p.flags = 'A';
	p.ttl = 255;
	n = pkt_make(&p, v6, rig.up_mac, rig_mac(CLIENT), in);
	for (int i = 0; i < ROUNDS; i++) {
		ns[i] = rig_time(&rig, UPLINK, in, n, REPEAT);
		if (ns[i] < 0) {
			(void)fprintf(stderr, "cost: %s: the packet was not translated\n", name);
			return 1;
		}
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), compare);
	(void)printf("%s %d\n", name, ns[ROUNDS / 2]);
	return 0;
}

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	rc = measure("dnat-tcp4", false, TCP, IPPROTO_TCP) | measure("dnat-tcp6", true, TCP, IPPROTO_TCP) | measure("dnat-udp4", false, UDP, IPPROTO_UDP);
	rig_free(&rig);
	return rc;
}
