/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "net/maglev.h"
#include "rig.h"

/* Several backends behind one published port: shares, flows that stay, backends that go, affinity. Each over IPv4 and IPv6. */
static struct rig rig;
static unsigned passed, failed;

static void check(int good, const char *what, bool v6)
{
	if (good) {
		passed++;
	} else {
		failed++;
		(void)printf("FAIL %s, %s\n", what, v6 ? "IPv6" : "IPv4");
	}
}

/* The table number 5 with these weights of WEB and WEB2. */
static void table(uint32_t web, uint32_t web2, bool v6)
{
	const struct kedge_backend to[] = {
		{ .addr = rig_addr(WEB, v6), .generation = GEN_WEB, .port = htons(80) },
		{ .addr = rig_addr(WEB2, v6), .generation = GEN_WEB2, .port = htons(81) },
	};
	struct maglev m[] = { { maglev_key("web", 3), web }, { maglev_key("web2", 4), web2 } };
	uint16_t slot[KEDGE_LB_SLOTS];

	maglev_fill(m, 2, slot, KEDGE_LB_SLOTS);
	for (uint32_t i = 0; i < KEDGE_LB_SLOTS; i++) {
		struct kedge_backend none = { 0 };

		(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.lb_slots), &(struct kedge_lb_key){ 5, i }, slot[i] == MAGLEV_NONE ? &none : &to[slot[i]], BPF_ANY);
	}
}

/* Who gets it: WEB, WEB2, or NOBODY when it was dropped. */
static enum who ask(enum who client, uint16_t port, uint16_t to, bool v6)
{
	struct pkt p = { .src = client, .dst = HOST, .kind = TCP, .sport = port, .dport = to, .flags = 'S' };
	static uint8_t in[PKT_MAX], out[PKT_MAX];
	size_t n = pkt_make(&p, v6, rig.up_mac, rig_mac(client), in), out_n;

	if (rig_run(&rig, UPLINK, in, n, 0, out, &out_n) != TC_ACT_REDIRECT)
		return NOBODY;
	for (enum who w = WEB; w <= WEB2; w++) {
		struct pkt want = { .src = client, .dst = w, .kind = TCP, .sport = port, .dport = w == WEB ? 80 : 81, .flags = 'S', .ttl = 63 };
		static uint8_t expect[PKT_MAX];

		if (pkt_make(&want, v6, rig_mac(w), rig.gw_mac, expect) == out_n && !memcmp(expect, out, out_n))
			return w;
	}
	return WHO_COUNT;
}

enum { FLOWS = 1000 };

static unsigned spread(uint16_t to, bool v6)
{
	unsigned web = 0;

	rig_forget(&rig);
	for (uint16_t i = 0; i < FLOWS; i++) {
		enum who w = ask(CLIENT, (uint16_t)(20000 + i), to, v6);

		web += w == WEB;
		if (w != WEB && w != WEB2)
			check(0, "a backend gets each new flow", v6);
	}
	return web;
}

static void story(bool v6)
{
	static enum who first[FLOWS];
	unsigned same = 0, web;

	rig_publish(&rig, NOBODY, 9000, IPPROTO_TCP, NOBODY, 0, 0, v6, &(struct kedge_publish){ .lb = 5 });
	rig_publish(&rig, NOBODY, 9001, IPPROTO_TCP, NOBODY, 0, 0, v6, &(struct kedge_publish){ .lb = 5, .flags = KEDGE_PUBLISH_AFFINITY });
	table(1, 1, v6);
	web = spread(9000, v6);
	check(web > 420 && web < 580, "equal weights, equal shares", v6);
	table(1, 3, v6);
	web = spread(9000, v6);
	check(web > 180 && web < 320, "a quarter and three", v6);
	/* Draining: flows stay where they are, new ones go to the other. */
	for (uint16_t i = 0; i < FLOWS; i++)
		first[i] = ask(CLIENT, (uint16_t)(20000 + i), 9000, v6);
	table(0, 1, v6);
	for (uint16_t i = 0; i < FLOWS; i++)
		same += ask(CLIENT, (uint16_t)(20000 + i), 9000, v6) == first[i];
	check(same == FLOWS, "flows of a draining backend stay", v6);
	check(ask(CLIENT2, 7, 9000, v6) == WEB2 && ask(CLIENT2, 8, 9000, v6) == WEB2 && ask(CLIENT2, 9, 9000, v6) == WEB2, "it gets no new ones", v6);
	check(spread(9000, v6) == 0, "none at all", v6);
	/* A backend that has gone before the table says so. */
	table(1, 1, v6);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, false);
	check(spread(9000, v6) == 0, "one that is gone is passed over", v6);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB + 50, v6, true);
	check(spread(9000, v6) == 0, "so is another container with its address", v6);
	rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, true);
	/* Affinity. */
	web = spread(9001, v6);
	check(web == 0 || web == FLOWS, "one client, one backend", v6);
	/* Nobody left. */
	table(0, 0, v6);
	rig_forget(&rig);
	web = (unsigned)rig_drops(&rig, KEDGE_DROP_NO_BACKEND);
	check(ask(CLIENT, 1, 9000, v6) == NOBODY && rig_drops(&rig, KEDGE_DROP_NO_BACKEND) == web + 1, "nobody there", v6);
}

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	story(false);
	story(true);
	rig_free(&rig);
	(void)printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
