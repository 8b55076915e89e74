/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/* Floods: flows that nobody confirms do not drive out those that somebody has, nor fill the ring of events. */
static struct rig rig;
static unsigned passed, failed;

static void check(const char *what, bool ok)
{
	if (ok) {
		passed++;
		return;
	}
	(void)printf("FAIL %s\n", what);
	failed++;
}

static int run(enum hook h, const struct pkt *p, bool v6)
{
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	bool up = h == UPLINK;
	size_t n = pkt_make(p, v6, up ? rig.up_mac : rig.gw_mac, up ? rig_mac(CLIENT) : rig_mac(WEB), in), out_n;

	return rig_run(&rig, h, in, n, 0, out, &out_n);
}

/* As many packets as flows, from as many senders: the source address is counted up in the packet that was made. */
static void flood(const struct pkt *p, bool v6, unsigned count)
{
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	size_t n = pkt_make(p, v6, rig.up_mac, rig_mac(CLIENT), in), out_n;

	for (uint32_t i = 0; i < count; i++) {
		memcpy(in + 14 + (v6 ? 8 + 8 : 12), &(uint32_t){ htonl(0x0b000000 + i) }, 4);
		(void)rig_run(&rig, UPLINK, in, n, 0, out, &out_n);
	}
}

static const struct pkt syn = { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 8080, .flags = 'S' },
	on = { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 8080 },
	back = { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 80, .dport = 40000 },
	ask = { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353 },
	tell = { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 53, .dport = 5000 },
	out = { .src = WEB, .dst = CLIENT2, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S' },
	out_on = { .src = WEB, .dst = CLIENT2, .kind = TCP, .sport = 5001, .dport = 70 },
	in_on = { .src = CLIENT2, .dst = HOST, .kind = TCP, .sport = 70, .dport = 5001 };

static void floods(bool v6)
{
	rig_publish(&rig, NOBODY, 8080, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 5353, IPPROTO_UDP, WEB, 53, GEN_WEB, v6, NULL);
	/* A connection in, one out, and datagrams that go to and fro. */
	check("a SYN", run(UPLINK, &syn, v6) == TC_ACT_REDIRECT);
	check("makes a young flow", rig_grown(&rig) == 0 && rig_flows(&rig) == 2);
	check("its answer", run(FROM_WEB, &back, v6) == TC_ACT_REDIRECT);
	check("leaves it young", rig_grown(&rig) == 0);
	check("what goes on", run(UPLINK, &on, v6) == TC_ACT_REDIRECT);
	check("makes it a grown one", rig_grown(&rig) == 2 && rig_flows(&rig) == 2);
	check("a datagram", run(UPLINK, &ask, v6) == TC_ACT_REDIRECT);
	check("its answer", run(FROM_WEB, &tell, v6) == TC_ACT_REDIRECT);
	check("leaves it young", rig_grown(&rig) == 2 && rig_flows(&rig) == 4);
	check("the next one", run(UPLINK, &ask, v6) == TC_ACT_REDIRECT);
	check("makes it a grown one", rig_grown(&rig) == 4 && rig_flows(&rig) == 4);
	check("a connection out", run(FROM_WEB, &out, v6) == TC_ACT_REDIRECT && run(UPLINK, &in_on, v6) == TC_ACT_REDIRECT && run(FROM_WEB, &out_on, v6) == TC_ACT_REDIRECT);
	check("is a grown one", rig_grown(&rig) == 6 && rig_flows(&rig) == 6);
	flood(&syn, v6, KEDGE_CT_MAX);
	flood(&ask, v6, KEDGE_CT_MAX);
	check("no room is taken but that of young ones", rig_grown(&rig) == 6 && rig_flows(&rig) <= 6 + KEDGE_YOUNG_MAX);
	/* What is no SYN, and from a container, finds its flow or is another one from another port. */
	check("the connection in is alive", run(FROM_WEB, &back, v6) == TC_ACT_REDIRECT && run(UPLINK, &on, v6) == TC_ACT_REDIRECT);
	check("the datagrams go on", run(FROM_WEB, &tell, v6) == TC_ACT_REDIRECT);
	check("the connection out is alive", run(FROM_WEB, &out_on, v6) == TC_ACT_REDIRECT && run(UPLINK, &in_on, v6) == TC_ACT_REDIRECT);
	check("all of them are the flows they were", rig_grown(&rig) == 6);
	rig_forget(&rig);
	/* A sender that never speaks again and is told much. */
	check("a stream: asked for", run(UPLINK, &ask, v6) == TC_ACT_REDIRECT);
	for (int i = 0; i < 5; i++)
		check("a stream: comes", run(FROM_WEB, &tell, v6) == TC_ACT_REDIRECT);
	check("a stream is a grown flow", rig_grown(&rig) == 2 && rig_flows(&rig) == 2);
	rig_forget(&rig);
	/* An entry of an earlier owner of the address does not hide the new one. */
	(void)run(UPLINK, &syn, v6);
	(void)run(FROM_WEB, &back, v6);
	(void)run(UPLINK, &on, v6);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB + 50, v6, true);
	rig_publish(&rig, NOBODY, 8080, IPPROTO_TCP, WEB, 80, GEN_WEB + 50, v6, NULL);
	check("a new owner: a SYN", run(UPLINK, &syn, v6) == TC_ACT_REDIRECT);
	check("a new owner: nothing of the old one's is left", rig_grown(&rig) == 0 && rig_flows(&rig) == 2);
	check("a new owner: its answer", run(FROM_WEB, &back, v6) == TC_ACT_REDIRECT && run(UPLINK, &on, v6) == TC_ACT_REDIRECT);
	check("a new owner: a grown flow", rig_grown(&rig) == 2 && rig_flows(&rig) == 2);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, true);
	rig_forget(&rig);
}

struct seen {
	unsigned events;
	uint64_t suppressed;
};

static int on_event(void *user, void *p, size_t n)
{
	struct seen *s = user;

	(void)n;
	s->events++;
	s->suppressed += ((const struct kedge_event *)p)->suppressed;
	return 0;
}

/* Events are as many as a second has room for; the next second's first one says how many there were more. */
static void events(void)
{
	const struct pkt bad = { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 9, .dport = 53 };
	struct seen s = { 0 };
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(rig.dp->maps.events), on_event, &s, NULL);
	struct kedge_control control = { .armed = 1, .listeners = 1 };
	uint64_t before = rig_drops(&rig, KEDGE_DROP_UNPUBLISHED);
	struct kedge_budget b;
	uint32_t zero = 0;

	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.control), &zero, &control, BPF_ANY);
	for (unsigned i = 0; i < 5000; i++) {
		(void)run(UPLINK, &bad, false);
		(void)ring_buffer__consume(ring);
	}
	check("all drops are counted", rig_drops(&rig, KEDGE_DROP_UNPUBLISHED) - before == 5000);
	/* On a slow machine in more seconds than one. */
	check("not all are told", s.events >= KEDGE_EVENTS_MAX && s.events < 5000);
	(void)bpf_map_lookup_elem(bpf_map__fd(rig.dp->maps.budget), &zero, &b);
	b.second -= UINT64_C(2) * 1000000000;
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.budget), &zero, &b, BPF_ANY);
	(void)run(UPLINK, &bad, false);
	(void)ring_buffer__consume(ring);
	check("the next one says how many were not", s.events + s.suppressed == 5001);
	ring_buffer__free(ring);
}

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	for (int six = 0; six < 2; six++)
		floods(six);
	events();
	rig_free(&rig);
	(void)printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
