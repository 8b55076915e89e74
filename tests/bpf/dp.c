/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/*
 * The data path, packet by packet: what goes in, the verdict, what comes out, why it was dropped, how many entries of flows there are then. A
 * story starts from empty tables of flows; its steps follow each other. Every story is told twice, over IPv4 and over IPv6.
 */
enum verdict { PASS, TO_HOST, TO_CONTAINER, OUT, BACK, DROP };	/* BACK: an error returned to the sender */

struct step {
	const char *story;		/* begins one; NULL goes on */
	enum hook hook;
	struct pkt in;
	enum verdict verdict;
	enum kedge_drop why;		/* of DROP */
	struct pkt out;			/* of the others, but PASS and TO_HOST: what comes out is what went in */
	int flows;			/* entries afterwards; 0: not looked at, NONE: none */
	uint16_t segment;
	unsigned age;			/* seconds that pass before */
	enum { BOTH, ONLY4, ONLY6 } family;
	enum { NOTHING, WEB_GOES, WEB_RETURNS, OPENS, CLOSES, TRUSTS, DISTRUSTS } before;	/* OPENS, CLOSES: the network of WEB */
};
enum { NONE = -1 };

#define REQ { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 8080, .flags = 'S' }
#define REQ_IN { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 40000, .dport = 80, .flags = 'S', .ttl = 63 }
#define UREQ { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353 }
#define UREQ_IN { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 5000, .dport = 53, .ttl = 63 }

static const struct step steps[] = {
	{ "published tcp port, there and back", UPLINK, REQ, TO_CONTAINER, 0, REQ_IN, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 80, .dport = 40000 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TCP, .sport = 8080, .dport = 40000, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 8080, .payload = 1000 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 40000, .dport = 80, .ttl = 63, .payload = 1000 }, 2 },
	{ "the same port on one address", UPLINK, { .src = CLIENT, .dst = HOST2, .kind = TCP, .sport = 40000, .dport = 8082, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB2, .kind = TCP, .sport = 40000, .dport = 82, .flags = 'S', .ttl = 63 }, 2 },
	{ "and not on another", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 8082, .flags = 'S' }, PASS, .flows = NONE },
	{ "published udp port, there and back", UPLINK, UREQ, TO_CONTAINER, 0, UREQ_IN, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 53, .dport = 5000 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = 5353, .dport = 5000, .ttl = 63 }, 2 },
	{ "udp without a checksum stays without", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353, .no_checksum = true },
	  TO_CONTAINER, 0, { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 5000, .dport = 53, .ttl = 63, .no_checksum = true }, 2, .family = ONLY4 },
	{ "header options are kept", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353, .options = 8 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 5000, .dport = 53, .ttl = 63, .options = 8 }, 2 },
	{ "a port nobody published", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 40000, .dport = 22, .flags = 'S' }, PASS, .flows = NONE },
	{ "another protocol to the host", UPLINK, { .src = CLIENT, .dst = HOST, .kind = GRE }, PASS, .flows = NONE },
	{ "neighbour discovery is the host's", UPLINK, { .src = CLIENT, .dst = HOST, .kind = SOLICIT }, PASS, .flows = NONE },
	{ "a neighbour that routes to a bridge: tcp", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 1, .dport = 80, .flags = 'S' }, DROP,
	  KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "a neighbour that routes to a bridge: udp", UPLINK, { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 9, .dport = 53 }, DROP,
	  KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "a neighbour that routes to a bridge: ping", UPLINK, { .src = CLIENT, .dst = WEB, .kind = PING, .sport = 9 }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "a neighbour that routes to a bridge: gre", UPLINK, { .src = CLIENT, .dst = WEB, .kind = GRE }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "a neighbour that routes to a bridge: a fragment", UPLINK, { .src = CLIENT, .dst = WEB, .kind = UDP, .part = LATER }, DROP, KEDGE_DROP_FRAGMENT,
	  .flows = NONE },
	{ "a neighbour that routes to a bridge: an error", UPLINK, { .src = CLIENT, .dst = WEB, .kind = REFUSED, .about = { WEB, CLIENT, UDP, 53, 9 } }, DROP,
	  KEDGE_DROP_NO_FLOW, .flows = NONE },
	{ "an address of the bridge without a container", UPLINK, { .src = CLIENT, .dst = VACANT, .kind = TCP, .sport = 1, .dport = 80 }, DROP,
	  KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "crafted: to the loopback address", UPLINK, { .src = CLIENT, .dst = LOOP, .kind = TCP, .sport = 1, .dport = 8081, .flags = 'S' }, DROP,
	  KEDGE_DROP_MARTIAN, .flows = NONE },
	{ "crafted: from the loopback address", UPLINK, { .src = LOOP, .dst = HOST, .kind = TCP, .sport = 1, .dport = 8080, .flags = 'S' }, DROP,
	  KEDGE_DROP_MARTIAN, .flows = NONE },
	{ "crafted: a container's address from outside", UPLINK, { .src = WEB2, .dst = WEB, .kind = UDP, .sport = 1, .dport = 53 }, DROP,
	  KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "link-local is the proxy's", UPLINK, { .src = LINK, .dst = HOST, .kind = TCP, .sport = 1, .dport = 8080, .flags = 'S' }, PASS, .flows = NONE,
	  .family = ONLY6 },
	{ "cut: no transport header", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .dport = 5353, .sport = 1, .cut = 4 }, PASS, .flows = NONE },
	{ "cut, from a container", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .dport = 5353, .sport = 1, .cut = 4 }, DROP, KEDGE_DROP_MALFORMED,
	  .flows = NONE },
	{ "guarded goes through the host", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 1, .dport = 8090, .flags = 'S' }, PASS, .flows = NONE },
	{ "a list of sources lets one in", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 2, .dport = 8091, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 2, .dport = 80, .flags = 'S', .ttl = 63 }, 2 },
	{ "and another not", UPLINK, { .src = CLIENT2, .dst = HOST, .kind = TCP, .sport = 2, .dport = 8091, .flags = 'S' }, DROP, KEDGE_DROP_SOURCE,
	  .flows = NONE },
	{ "a range of ports: the first", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 2, .dport = 20000, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 2, .dport = 30000, .flags = 'S', .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 2, .dport = 20255, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 2, .dport = 30255, .flags = 'S', .ttl = 63 }, 4 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 30255, .dport = 2 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TCP, .sport = 20255, .dport = 2, .ttl = 63 }, 4 },
	{ "and past its end", UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 2, .dport = 20256, .flags = 'S' }, PASS, .flows = NONE },
	{ "ttl runs out on the way in", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353, .ttl = 1 }, BACK, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TIMED_OUT, .ours = true, .about = { CLIENT, HOST, UDP, 5000, 5353, 1 } } },

	/* fragments */
	{ "fragments to a published port", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 5000, .dport = 5353, .part = FIRST, .payload = 800 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = UDP, .sport = 5000, .dport = 53, .ttl = 63, .part = FIRST, .payload = 800 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .part = LATER, .payload = 64 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = UDP, .ttl = 63, .part = LATER, .payload = 64 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 53, .dport = 5000, .part = FIRST, .payload = 800 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = 5353, .dport = 5000, .ttl = 63, .part = FIRST, .payload = 800 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .part = LATER, .payload = 64 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .ttl = 63, .part = LATER, .payload = 64 }, 2 },
	{ "a fragment whose first one nobody saw", UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .part = LATER }, PASS, .flows = NONE },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .part = LATER }, DROP, KEDGE_DROP_FRAGMENT, .flows = NONE },

	/* masquerade */
	{ "masqueraded tcp, there and back", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S' }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 70, .dport = 5001 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 70, .dport = 5001, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 5001, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TCP, .sport = 5001, .dport = 70, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB2, { .src = WEB2, .dst = CLIENT, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S' }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = TCP, .sport = CHOSEN, .dport = 70, .flags = 'S', .ttl = 63 }, 4 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = TCP, .sport = 70, .dport = CHOSEN }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB2, .kind = TCP, .sport = 70, .dport = 5001, .ttl = 63 }, 4 },
	{ "a port of the kernel's own range becomes another", FROM_WEB, { .src = WEB, .dst = FAR_AWAY, .kind = UDP, .sport = 40001, .dport = 53 }, OUT, 0,
	  { .src = HOST, .dst = FAR_AWAY, .kind = UDP, .sport = CHOSEN, .dport = 53, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = FAR_AWAY, .dst = HOST, .kind = UDP, .sport = 53, .dport = CHOSEN }, TO_CONTAINER, 0,
	  { .src = FAR_AWAY, .dst = WEB, .kind = UDP, .sport = 53, .dport = 40001, .ttl = 63 }, 2 },
	{ "a spent flow's port can be had", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 5002, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = 5002, .dport = 70, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB2, { .src = WEB2, .dst = CLIENT, .kind = UDP, .sport = 5002, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = 5002, .dport = 70, .ttl = 63 }, 3, .age = 40 },
	{ "ping out", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = PING, .sport = 77 }, OUT, 0, { .src = HOST, .dst = CLIENT, .kind = PING, .sport = 77, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = PONG, .sport = 77 }, TO_CONTAINER, 0, { .src = CLIENT, .dst = WEB, .kind = PONG, .sport = 77, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB2, { .src = WEB2, .dst = CLIENT, .kind = PING, .sport = 77 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = PING, .sport = CHOSEN, .ttl = 63 }, 4 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = PONG, .sport = CHOSEN }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB2, .kind = PONG, .sport = 77, .ttl = 63 }, 4 },
	{ "an answer nobody asked for", UPLINK, { .src = CLIENT, .dst = HOST, .kind = PONG, .sport = 78 }, PASS, .flows = NONE },
	{ "another protocol out", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = GRE }, DROP, KEDGE_DROP_PROTOCOL, .flows = NONE },
	{ "ttl runs out on the way out", FROM_WEB, { .src = WEB, .dst = FAR_AWAY, .kind = TCP, .sport = 5001, .dport = 70, .ttl = 1 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TIMED_OUT, .ours = true, .about = { WEB, FAR_AWAY, TCP, 5001, 70, 1 } } },
	{ "generation: a flow of the container before", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 5003, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = 5003, .dport = 70, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = UDP, .sport = 70, .dport = 5003 }, PASS, .flows = 1, .before = WEB_GOES },
	{ "generation: a published port of one that has gone", UPLINK, UREQ, TO_CONTAINER, 0, UREQ_IN, 2, .before = WEB_RETURNS },
	{ NULL, UPLINK, UREQ, DROP, KEDGE_DROP_NO_ENDPOINT, .before = WEB_GOES },
	{ NULL, UPLINK, UREQ, TO_CONTAINER, 0, UREQ_IN, 2, .before = WEB_RETURNS },

	/* path MTU */
	{ "too big for the way out", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = UDP, .sport = 5001, .dport = 70, .payload = 1450 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TOO_BIG, .mtu = 1400, .ours = true, .payload = 1450, .about = { WEB, NARROW, UDP, 5001, 70 } }, NONE },
	{ "too big, tcp", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .payload = 1440 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TOO_BIG, .mtu = 1400, .ours = true, .payload = 1440, .about = { WEB, NARROW, TCP, 5001, 70 } }, NONE },
	{ "too big once cut into segments", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .payload = 1000 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TOO_BIG, .mtu = 1400, .ours = true, .payload = 1000, .about = { WEB, NARROW, TCP, 5001, 70 } }, NONE, .segment = 1370 },
	{ "small enough once cut into segments", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .payload = 1900 }, OUT, 0,
	  { .src = NARROW_HOST, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .ttl = 63, .payload = 1900 }, 2, .segment = 1000 },
	{ "it fits", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = UDP, .sport = 5001, .dport = 70, .payload = 1300 }, OUT, 0,
	  { .src = NARROW_HOST, .dst = NARROW, .kind = UDP, .sport = 5001, .dport = 70, .ttl = 63, .payload = 1300 }, 2 },

	/* ICMP errors */
	{ "an error about a masqueraded flow", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 40002, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = UDP, .sport = CHOSEN, .dport = 70, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = REFUSED, .about = { HOST, CLIENT, UDP, CHOSEN, 70 } }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = REFUSED, .ttl = 63, .about = { WEB, CLIENT, UDP, 40002, 70 } }, 2 },
	{ NULL, UPLINK, { .src = FAR_AWAY, .dst = HOST, .kind = TOO_BIG, .mtu = 1300, .about = { HOST, CLIENT, UDP, CHOSEN, 70 } }, TO_CONTAINER, 0,
	  { .src = FAR_AWAY, .dst = WEB, .kind = TOO_BIG, .ttl = 63, .mtu = 1300, .about = { WEB, CLIENT, UDP, 40002, 70 } }, 2 },
	{ "an error about an answer of a published port", UPLINK, REQ, TO_CONTAINER, 0, REQ_IN, 2 },
	{ NULL, UPLINK, { .src = FAR_AWAY, .dst = HOST, .kind = TOO_BIG, .mtu = 1300, .about = { HOST, CLIENT, TCP, 8080, 40000 } }, TO_CONTAINER, 0,
	  { .src = FAR_AWAY, .dst = WEB, .kind = TOO_BIG, .ttl = 63, .mtu = 1300, .about = { WEB, CLIENT, TCP, 80, 40000 } }, 2 },
	{ "a container refuses", UPLINK, UREQ, TO_CONTAINER, 0, UREQ_IN, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = REFUSED, .about = { CLIENT, WEB, UDP, 5000, 53, 63 } }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = REFUSED, .about = { CLIENT, HOST, UDP, 5000, 5353, 63 } }, 2 },
	{ "an error about a ping", FROM_WEB, { .src = WEB, .dst = FAR_AWAY, .kind = PING, .sport = 77 }, OUT, 0,
	  { .src = HOST, .dst = FAR_AWAY, .kind = PING, .sport = 77, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = TIMED_OUT, .about = { HOST, FAR_AWAY, PING, 77, 0 } }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TIMED_OUT, .ttl = 63, .about = { WEB, FAR_AWAY, PING, 77, 0 } }, 2 },
	{ "an error about the host's own traffic", UPLINK, { .src = CLIENT, .dst = HOST, .kind = REFUSED, .about = { HOST, CLIENT, UDP, 1234, 70 } }, PASS, .flows = NONE },
	{ "an error about nothing, from a container", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = REFUSED, .about = { CLIENT, WEB, UDP, 1, 2 } }, DROP,
	  KEDGE_DROP_NO_FLOW, .flows = NONE },

	/* maximum segment size */
	{ "a SYN says what the way out takes", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 1460 }, OUT, 0,
	  { .src = NARROW_HOST, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 1360, .ttl = 63 }, 2, .family = ONLY4 },
	{ "a SYN says what the way out takes", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 1460 }, OUT, 0,
	  { .src = NARROW_HOST, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 1340, .ttl = 63 }, 2, .family = ONLY6 },
	{ "or less", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 536 }, OUT, 0,
	  { .src = NARROW_HOST, .dst = NARROW, .kind = TCP, .sport = 5001, .dport = 70, .flags = 'S', .mss = 536, .ttl = 63 }, 2 },

	/* hairpin */
	{ "another container's published port", FROM_WEB2, { .src = WEB2, .dst = HOST, .kind = TCP, .sport = 5001, .dport = 8080, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = WEB2, .dst = WEB, .kind = TCP, .sport = 5001, .dport = 80, .flags = 'S', .ttl = 63 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = WEB2, .kind = TCP, .sport = 80, .dport = 5001 }, TO_CONTAINER, 0,
	  { .src = HOST, .dst = WEB2, .kind = TCP, .sport = 8080, .dport = 5001, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB2, { .src = WEB2, .dst = HOST, .kind = TCP, .sport = 5001, .dport = 8080 }, TO_CONTAINER, 0,
	  { .src = WEB2, .dst = WEB, .kind = TCP, .sport = 5001, .dport = 80, .ttl = 63 }, 2 },
	{ "from another network, over the gateway's address", FROM_OTHER, { .src = OTHER, .dst = GATEWAY, .kind = UDP, .sport = 5001, .dport = 5353 }, TO_CONTAINER, 0,
	  { .src = OTHER, .dst = WEB, .kind = UDP, .sport = 5001, .dport = 53, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = OTHER, .kind = UDP, .sport = 53, .dport = 5001 }, TO_CONTAINER, 0,
	  { .src = GATEWAY, .dst = OTHER, .kind = UDP, .sport = 5353, .dport = 5001, .ttl = 63 }, 2 },
	{ "its own published port goes by the proxy", FROM_WEB, { .src = WEB, .dst = HOST, .kind = TCP, .sport = 5001, .dport = 8080, .flags = 'S' }, TO_HOST, .flows = NONE },
	{ "the host's own port", FROM_WEB, { .src = WEB, .dst = HOST, .kind = TCP, .sport = 5001, .dport = 22, .flags = 'S' }, TO_HOST, .flows = NONE },
	{ "ping to the host", FROM_WEB, { .src = WEB, .dst = GATEWAY, .kind = PING, .sport = 7 }, TO_HOST, .flows = NONE },

	/* isolation */
	{ "a neighbour", FROM_WEB, { .src = WEB, .dst = WEB2, .kind = TCP, .sport = 5001, .dport = 80, .flags = 'S' }, PASS, .flows = NONE },
	{ "another network", FROM_WEB, { .src = WEB, .dst = OTHER, .kind = TCP, .sport = 5001, .dport = 80, .flags = 'S' }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "another network: ping", FROM_OTHER, { .src = OTHER, .dst = WEB, .kind = PING, .sport = 5001 }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "no talk within the network", FROM_OTHER, { .src = OTHER, .dst = OTHER, .kind = UDP, .sport = 5001, .dport = 1 }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "another container's address as its own", FROM_WEB2, { .src = WEB, .dst = CLIENT, .kind = UDP, .sport = 1, .dport = 1 }, DROP, KEDGE_DROP_SPOOFED, .flows = NONE },
	{ "an address nobody gave it", FROM_WEB, { .src = VACANT, .dst = CLIENT, .kind = UDP, .sport = 1, .dport = 1 }, DROP, KEDGE_DROP_NO_ENDPOINT, .flows = NONE },
	{ "a stranger's address", FROM_WEB, { .src = FAR_AWAY, .dst = CLIENT, .kind = UDP, .sport = 1, .dport = 1 }, DROP, KEDGE_DROP_NO_ENDPOINT, .flows = NONE },
	{ "the loopback address from a container", FROM_WEB, { .src = LOOP, .dst = GATEWAY, .kind = UDP, .sport = 1, .dport = 1 }, DROP, KEDGE_DROP_MARTIAN, .flows = NONE },
	{ "multicast stays on the bridge", FROM_WEB, { .src = WEB, .dst = GROUP, .kind = UDP, .sport = 1, .dport = 1 }, PASS, .flows = NONE },
	{ "internal: not out", FROM_INNER, { .src = INNER, .dst = CLIENT, .kind = UDP, .sport = 1, .dport = 1 }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "internal: not to the host's addresses", FROM_INNER, { .src = INNER, .dst = HOST, .kind = UDP, .sport = 1, .dport = 5353 }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "internal: to its gateway", FROM_INNER, { .src = INNER, .dst = INNER_GATEWAY, .kind = UDP, .sport = 1, .dport = 53 }, TO_HOST, .flows = NONE },

	/* routed */
	{ "routed: out with its own address, and back", FROM_ROUTED, { .src = ROUTED, .dst = CLIENT, .kind = UDP, .sport = 40001, .dport = 9 }, OUT, 0,
	  { .src = ROUTED, .dst = CLIENT, .kind = UDP, .sport = 40001, .dport = 9, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = ROUTED, .kind = UDP, .sport = 9, .dport = 40001 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = ROUTED, .kind = UDP, .sport = 9, .dport = 40001, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT2, .dst = ROUTED, .kind = UDP, .sport = 9, .dport = 40001 }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = 2 },
	{ "routed: a published port", UPLINK, { .src = CLIENT, .dst = ROUTED, .kind = TCP, .sport = 9, .dport = 80, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = ROUTED, .kind = TCP, .sport = 9, .dport = 80, .flags = 'S', .ttl = 63 }, 2 },
	{ "routed: another port", UPLINK, { .src = CLIENT, .dst = ROUTED, .kind = TCP, .sport = 9, .dport = 81, .flags = 'S' }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "routed: ping", UPLINK, { .src = CLIENT, .dst = ROUTED, .kind = PING, .sport = 9 }, TO_CONTAINER, 0, { .src = CLIENT, .dst = ROUTED, .kind = PING, .sport = 9, .ttl = 63 }, 2 },

	/* open to whoever routes to it */
	{ "open: a port nobody published", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 81, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 81, .flags = 'S', .ttl = 63 }, 2, .before = OPENS },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 81, .dport = 9 }, OUT, 0,
	  { .src = WEB, .dst = CLIENT, .kind = TCP, .sport = 81, .dport = 9, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 81, .payload = 100 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 81, .payload = 100, .ttl = 63 }, 2 },
	{ "open: ping", UPLINK, { .src = CLIENT, .dst = WEB, .kind = PING, .sport = 9 }, TO_CONTAINER, 0, { .src = CLIENT, .dst = WEB, .kind = PING, .sport = 9, .ttl = 63 }, 2 },
	{ "open: published ports as before", UPLINK, REQ, TO_CONTAINER, 0, REQ_IN, 2 },
	{ "open: an address without a container", UPLINK, { .src = CLIENT, .dst = VACANT, .kind = TCP, .sport = 1, .dport = 80 }, DROP, KEDGE_DROP_NO_ENDPOINT, .flows = NONE },
	{ "open: a later fragment of nothing known", UPLINK, { .src = CLIENT, .dst = WEB, .kind = UDP, .part = LATER }, DROP, KEDGE_DROP_FRAGMENT, .flows = NONE },
	{ "open no more", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 81, .flags = 'S' }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE,
	  .before = CLOSES },

	/* for trusted uplinks */
	{ "trusted: not by any uplink", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 83, .flags = 'S' }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "trusted: by one that is", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 83, .flags = 'S' }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 83, .flags = 'S', .ttl = 63 }, 2, .before = TRUSTS },
	{ "trusted: nothing else", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 84, .flags = 'S' }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "trusted no more", UPLINK, { .src = CLIENT, .dst = WEB, .kind = TCP, .sport = 9, .dport = 83, .flags = 'S' }, DROP, KEDGE_DROP_UNPUBLISHED, .flows = NONE,
	  .before = DISTRUSTS },
};

/* SCTP, in a file of its own. */
#include "dp_sctp.h"

static struct rig rig;
static unsigned passed, failed;

static void complain(const char *story, unsigned step, bool v6, const char *what)
{
	(void)printf("FAIL %s, step %u, %s: %s\n", story, step, v6 ? "IPv6" : "IPv4", what);
	failed++;
}

static void hex(const char *name, const uint8_t *p, size_t n)
{
	(void)printf("  %s %zu:", name, n);
	for (size_t i = 0; i < n && i < 120; i++)
		(void)printf("%s%02x", i % 4 ? "" : " ", p[i]);
	(void)printf("\n");
}

static void publish_all(bool v6)
{
	struct kedge_source_key src = { .prefix = 32 + 128, .list = 7, .addr = rig_addr(CLIENT, v6) };
	struct kedge_range_key range = { .prefix = 128 + 16 + 8, .addr = rig_addr(NOBODY, v6), .proto = IPPROTO_TCP };
	struct kedge_publish v = { .addr = rig_addr(WEB, v6), .generation = GEN_WEB, .first = htons(20000), .port = htons(30000) };
	struct kedge_control control = { .armed = 1, .ranges = 1 };
	uint32_t one = 1, zero = 0;

	rig_publish(&rig, NOBODY, 8080, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 5353, IPPROTO_UDP, WEB, 53, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 132, IPPROTO_SCTP, WEB, 132, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 3868, IPPROTO_SCTP, WEB, 13868, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 3869, IPPROTO_SCTP, WEB, 13868, GEN_WEB, v6, &(struct kedge_publish){ .sources = 7 });
	rig_publish(&rig, HOST2, 8082, IPPROTO_TCP, WEB2, 82, GEN_WEB2, v6, NULL);
	rig_publish(&rig, LOOP, 8081, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, NULL);
	rig_publish(&rig, NOBODY, 8090, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &(struct kedge_publish){ .flags = KEDGE_PUBLISH_GUARDED });
	rig_publish(&rig, NOBODY, 8091, IPPROTO_TCP, WEB, 80, GEN_WEB, v6, &(struct kedge_publish){ .sources = 7 });
	rig_publish(&rig, WEB, 83, IPPROTO_TCP, WEB, 83, GEN_WEB, v6, &(struct kedge_publish){ .flags = KEDGE_PUBLISH_TRUSTED });
	rig_publish(&rig, ROUTED, 80, IPPROTO_TCP, ROUTED, 80, GEN_ROUTED, v6, NULL);
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.source_lists), &src, &one, BPF_ANY);
	/* 20000 to 20255: 20000 is 256 * 78 + 32, so two blocks and more of them. */
	for (unsigned from = 20000, bits; from < 20256; from += 1u << bits) {
		for (bits = 0; !(from & ((2u << bits) - 1)) && from + (2u << bits) <= 20256;)
			bits++;
		range.port = htons((uint16_t)from);
		range.prefix = 160 - bits;
		(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.ranges), &range, &v, BPF_ANY);
	}
	(void)bpf_map_update_elem(bpf_map__fd(rig.dp->maps.control), &zero, &control, BPF_ANY);
}

static void frame(enum hook h, bool out, const struct step *s, const uint8_t **dst, const uint8_t **src)
{
	bool up = h == UPLINK || h == UPLINK_L3;

	if (!out) {
		*dst = up ? rig.up_mac : rig.gw_mac;
		*src = up ? rig_mac(CLIENT) : rig_mac(WEB);
	} else if (s->verdict == BACK) {
		frame(h, false, s, src, dst);
	} else if (s->verdict == TO_CONTAINER) {
		*dst = rig_mac(s->out.dst);
		*src = rig.gw_mac;
	} else {
		frame(h, false, s, dst, src);	/* the way out makes its own */
	}
}

/* Where the program may choose a port, ours to learn from what it made. */
static void learn(const struct step *s, const uint8_t *out, bool v6)
{
	if (s->out.sport != CHOSEN)
		return;
	pkt_chosen = pkt_port(out, v6, false);
	if (s->out.kind == PING)
		pkt_chosen = (uint16_t)(out[14 + (v6 ? 40 : 20) + 4] << 8 | out[14 + (v6 ? 40 : 20) + 5]);
	else if (pkt_chosen < 1024 || (pkt_chosen >= 32768 && pkt_chosen < 61000))
		complain("a chosen port", 0, v6, "is of the kernel's own range, or a low one");
}

static void step_run(const char *story, unsigned n, const struct step *s, bool v6)
{
	uint64_t drops[KEDGE_DROP_COUNT];
	static uint8_t in[PKT_MAX], out[PKT_MAX], want[PKT_MAX];
	const uint8_t *dst, *src;
	size_t in_n, out_n = 0, want_n;
	static const int codes[] = { [PASS] = TC_ACT_UNSPEC, [TO_HOST] = TC_ACT_REDIRECT, [TO_CONTAINER] = TC_ACT_REDIRECT, [OUT] = TC_ACT_REDIRECT, [BACK] = TC_ACT_REDIRECT,
				     [DROP] = TC_ACT_SHOT };
	unsigned before = failed;
	char text[96];
	int rc, flows;

	if (s->before == WEB_GOES || s->before == WEB_RETURNS)
		rig_endpoint(&rig, WEB, FROM_WEB, GEN_WEB, v6, s->before == WEB_RETURNS);
	if (s->before == OPENS || s->before == CLOSES)
		rig_open(&rig, s->before == OPENS);
	if (s->before == TRUSTS || s->before == DISTRUSTS)
		rig_trust(&rig, UPLINK, s->before == TRUSTS);
	if (s->age)
		rig_age(&rig, s->age);
	for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++)
		drops[i] = rig_drops(&rig, i);
	frame(s->hook, false, s, &dst, &src);
	in_n = pkt_make(&s->in, v6, dst, src, in);
	rc = rig_run(&rig, s->hook, in, in_n, s->segment, out, &out_n);
	if (rc != codes[s->verdict]) {
		(void)snprintf(text, sizeof(text), "verdict %d, not %d", rc, codes[s->verdict]);
		complain(story, n, v6, text);
		for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++)
			if (rig_drops(&rig, i) != drops[i])
				(void)printf("  dropped for reason %u\n", i);
		return;
	}
	if (s->verdict != DROP) {
		learn(s, out, v6);
		frame(s->hook, s->verdict > TO_HOST, s, &dst, &src);
		want_n = pkt_make(s->verdict <= TO_HOST ? &s->in : &s->out, v6, dst, src, want);
		if (want_n != out_n || memcmp(want, out, out_n)) {
			complain(story, n, v6, "the packet that came out is another one");
			hex("got ", out, out_n);
			hex("want", want, want_n);
		}
	}
	for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++)
		if (rig_drops(&rig, i) - drops[i] != (s->verdict == DROP && s->why == i ? 1u : 0u)) {
			(void)snprintf(text, sizeof(text), "the counter of reason %u moved by %d", i, (int)(rig_drops(&rig, i) - drops[i]));
			complain(story, n, v6, text);
		}
	flows = (int)rig_flows(&rig);
	if (s->flows && flows != (s->flows == NONE ? 0 : s->flows)) {
		(void)snprintf(text, sizeof(text), "%d entries of flows, not %d", flows, s->flows == NONE ? 0 : s->flows);
		complain(story, n, v6, text);
	}
	if (failed == before)
		passed++;
}

enum { N_STEPS = sizeof(steps) / sizeof(steps[0]), N_SCTP = sizeof(sctp_steps) / sizeof(sctp_steps[0]) };

int main(void)
{
	int rc = rig_new(&rig);

	if (rc)
		return rc;
	for (int six = 0; six < 2; six++) {
		const char *story = NULL;
		unsigned n = 0;

		publish_all(six);
		for (size_t i = 0; i < N_STEPS + N_SCTP; i++) {
			const struct step *s = i < N_STEPS ? &steps[i] : &sctp_steps[i - N_STEPS];

			if (s->family != BOTH && (s->family == ONLY6) != six)
				continue;
			if (s->story) {
				story = s->story;
				n = 0;
				rig_forget(&rig);
				rig_clear(&rig, rig.dp->maps.frags);
			}
			step_run(story, ++n, s, six);
		}
	}
	rig_free(&rig);
	(void)printf("%u steps passed, %u complaints\n", passed, failed);
	return failed != 0;
}
