/* SPDX-License-Identifier: Apache-2.0 */
/* The stories of SCTP (RFC 9260), for dp.c alone. Every checksum that comes out is compared with a CRC32c that packet.c makes of the whole packet. */

enum { DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 14 };

#define TO_HOST(...) { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 3868, __VA_ARGS__ }
#define TO_WEB(...) { .src = CLIENT, .dst = WEB, .kind = SCTP, .sport = 6000, .dport = 13868, .ttl = 63, __VA_ARGS__ }
#define WEB_SAYS(...) { .src = WEB, .dst = CLIENT, .kind = SCTP, .sport = 13868, .dport = 6000, __VA_ARGS__ }
#define HOST_SAYS(...) { .src = HOST, .dst = CLIENT, .kind = SCTP, .sport = 3868, .dport = 6000, .ttl = 63, __VA_ARGS__ }
/* Out, from two containers with the same port. */
#define OUT_WEB(...) { .src = WEB, .dst = CLIENT, .kind = SCTP, .sport = 5001, .dport = 9, __VA_ARGS__ }
#define OUT_WEB2(...) { .src = WEB2, .dst = CLIENT, .kind = SCTP, .sport = 5001, .dport = 9, __VA_ARGS__ }
#define OUT_HOST(...) { .src = HOST, .dst = CLIENT, .kind = SCTP, .sport = 5001, .dport = 9, .ttl = 63, __VA_ARGS__ }
#define OUT_CHOSEN(...) { .src = HOST, .dst = CLIENT, .kind = SCTP, .sport = CHOSEN, .dport = 9, .ttl = 63, __VA_ARGS__ }
#define BACK_HOST(...) { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 9, .dport = 5001, __VA_ARGS__ }
#define BACK_WEB(...) { .src = CLIENT, .dst = WEB, .kind = SCTP, .sport = 9, .dport = 5001, .ttl = 63, __VA_ARGS__ }

static const struct step sctp_steps[] = {
	{ "published sctp port, an association's life", UPLINK, TO_HOST(.chunk = INIT, .payload = 16), TO_CONTAINER, 0, TO_WEB(.chunk = INIT, .payload = 16), 2 },
	{ NULL, FROM_WEB, WEB_SAYS(.chunk = INIT_ACK, .payload = 300), OUT, 0, HOST_SAYS(.chunk = INIT_ACK, .payload = 300), 2 },
	{ NULL, UPLINK, TO_HOST(.chunk = COOKIE_ECHO, .payload = 276), TO_CONTAINER, 0, TO_WEB(.chunk = COOKIE_ECHO, .payload = 276), 2 },
	{ NULL, FROM_WEB, WEB_SAYS(.chunk = COOKIE_ACK, .payload = 4), OUT, 0, HOST_SAYS(.chunk = COOKIE_ACK, .payload = 4), 2 },
	{ NULL, UPLINK, TO_HOST(.payload = 1440), TO_CONTAINER, 0, TO_WEB(.payload = 1440), 2 },
	{ NULL, FROM_WEB, WEB_SAYS(.chunk = SACK << 8 | DATA, .payload = 1400), OUT, 0, HOST_SAYS(.chunk = SACK << 8 | DATA, .payload = 1400), 2 },
	{ NULL, UPLINK, TO_HOST(.payload = 1), TO_CONTAINER, 0, TO_WEB(.payload = 1), 2 },
	{ "its port as it is", UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 132 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = SCTP, .sport = 6000, .dport = 132, .ttl = 63 }, 2 },
	{ "a checksum left to a device is left to it", UPLINK, TO_HOST(.no_checksum = true), TO_CONTAINER, 0, TO_WEB(.no_checksum = true), 2 },
	{ NULL, FROM_WEB, WEB_SAYS(.no_checksum = true), OUT, 0, HOST_SAYS(.no_checksum = true), 2 },
	{ "header options are not part of the checksum", UPLINK, TO_HOST(.options = 8), TO_CONTAINER, 0, TO_WEB(.options = 8), 2 },
	{ "no chunk", UPLINK, TO_HOST(.flags = '-', .payload = 2), PASS, .flows = NONE },
	{ "no chunk, from a container", FROM_WEB, OUT_WEB(.flags = '-', .payload = 2), DROP, KEDGE_DROP_MALFORMED, .flows = NONE },
	{ "cut: half a header", UPLINK, TO_HOST(.cut = 10), PASS, .flows = NONE },
	{ "a port nobody published", UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 3867, .chunk = INIT }, PASS, .flows = NONE },
	{ "the same number over sctp and tcp are two ports", UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 8080, .chunk = INIT }, PASS,
	  .flows = NONE },
	{ "a list of sources", UPLINK, { .src = CLIENT2, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 3869, .chunk = INIT }, DROP, KEDGE_DROP_SOURCE, .flows = NONE },
	{ "a neighbour that routes to a bridge", UPLINK, { .src = CLIENT, .dst = WEB, .kind = SCTP, .sport = 6000, .dport = 13868, .chunk = INIT }, DROP,
	  KEDGE_DROP_UNPUBLISHED, .flows = NONE },
	{ "another network", FROM_WEB, { .src = WEB, .dst = OTHER, .kind = SCTP, .sport = 5001, .dport = 80, .chunk = INIT }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "no talk within the network", FROM_OTHER, { .src = OTHER, .dst = OTHER, .kind = SCTP, .sport = 5001, .dport = 1, .chunk = INIT }, DROP, KEDGE_DROP_ISOLATED,
	  .flows = NONE },
	{ "a neighbour on the same bridge", FROM_WEB, { .src = WEB, .dst = WEB2, .kind = SCTP, .sport = 5001, .dport = 80, .chunk = INIT }, PASS, .flows = NONE },
	{ "internal: not out", FROM_INNER, { .src = INNER, .dst = CLIENT, .kind = SCTP, .sport = 5001, .dport = 80, .chunk = INIT }, DROP, KEDGE_DROP_ISOLATED, .flows = NONE },
	{ "another container's published port", FROM_WEB2, { .src = WEB2, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 3868, .chunk = INIT }, TO_CONTAINER, 0,
	  { .src = WEB2, .dst = WEB, .kind = SCTP, .sport = 6000, .dport = 13868, .chunk = INIT, .ttl = 63 }, 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = WEB2, .kind = SCTP, .sport = 13868, .dport = 6000, .chunk = INIT_ACK }, TO_CONTAINER, 0,
	  { .src = HOST, .dst = WEB2, .kind = SCTP, .sport = 3868, .dport = 6000, .chunk = INIT_ACK, .ttl = 63 }, 2 },
	{ "ttl runs out", FROM_WEB, { .src = WEB, .dst = FAR_AWAY, .kind = SCTP, .sport = 5001, .dport = 70, .ttl = 1 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TIMED_OUT, .ours = true, .about = { WEB, FAR_AWAY, SCTP, 5001, 70, 1 } } },
	{ "generation", UPLINK, TO_HOST(.chunk = INIT), TO_CONTAINER, 0, TO_WEB(.chunk = INIT), 2, .before = WEB_RETURNS },
	{ NULL, UPLINK, TO_HOST(0), DROP, KEDGE_DROP_NO_ENDPOINT, .before = WEB_GOES },
	{ NULL, UPLINK, TO_HOST(.chunk = INIT), TO_CONTAINER, 0, TO_WEB(.chunk = INIT), 2, .before = WEB_RETURNS },

	/* fragments: the checksum covers them all, so ports stay what they are */
	{ "fragments to a port that keeps its number", UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 6000, .dport = 132, .part = FIRST, .payload = 800 },
	  TO_CONTAINER, 0, { .src = CLIENT, .dst = WEB, .kind = SCTP, .sport = 6000, .dport = 132, .ttl = 63, .part = FIRST, .payload = 800 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .part = LATER, .payload = 64 }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = SCTP, .ttl = 63, .part = LATER, .payload = 64 }, 2 },
	{ "and to one that does not", UPLINK, TO_HOST(.part = FIRST, .payload = 800), DROP, KEDGE_DROP_REWRITE },

	/* masquerade */
	{ "masqueraded, two with the same port", FROM_WEB, OUT_WEB(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_CHOSEN(.chunk = INIT), 4 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = SCTP, .sport = 9, .dport = CHOSEN, .chunk = INIT_ACK }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB2, .kind = SCTP, .sport = 9, .dport = 5001, .chunk = INIT_ACK, .ttl = 63 }, 4 },
	{ NULL, UPLINK, BACK_HOST(.chunk = INIT_ACK), TO_CONTAINER, 0, BACK_WEB(.chunk = INIT_ACK), 4 },
	{ "a port of the kernel's own range becomes another", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = SCTP, .sport = 40000, .dport = 9, .payload = 1000 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = SCTP, .sport = CHOSEN, .dport = 9, .payload = 1000, .ttl = 63 }, 2 },
	{ "routed: out with its own address", FROM_ROUTED, { .src = ROUTED, .dst = CLIENT, .kind = SCTP, .sport = 40001, .dport = 9 }, OUT, 0,
	  { .src = ROUTED, .dst = CLIENT, .kind = SCTP, .sport = 40001, .dport = 9, .ttl = 63 }, 2 },

	/* how long a flow is kept: its port is free for another one when it is over */
	{ "established: kept", FROM_WEB, OUT_WEB(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = INIT_ACK), TO_CONTAINER, 0, BACK_WEB(.chunk = INIT_ACK), 2 },
	{ NULL, FROM_WEB, OUT_WEB(.chunk = COOKIE_ECHO), OUT, 0, OUT_HOST(.chunk = COOKIE_ECHO), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_CHOSEN(.chunk = INIT), 4, .age = 3600 },
	{ "aborted: over in ten seconds", FROM_WEB, OUT_WEB(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = ABORT), TO_CONTAINER, 0, BACK_WEB(.chunk = ABORT), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 3, .age = 11 },
	{ "aborted, and begun anew with other tags", FROM_WEB, OUT_WEB(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = ABORT), TO_CONTAINER, 0, BACK_WEB(.chunk = ABORT), 2 },
	{ NULL, FROM_WEB, OUT_WEB(.chunk = INIT), OUT, 0, OUT_HOST(.chunk = INIT), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = INIT_ACK), TO_CONTAINER, 0, BACK_WEB(.chunk = INIT_ACK), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_CHOSEN(.chunk = INIT), 4, .age = 60 },
	{ "an abort nobody believed", FROM_WEB, OUT_WEB(0), OUT, 0, OUT_HOST(0), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = ABORT), TO_CONTAINER, 0, BACK_WEB(.chunk = ABORT), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = SACK << 8 | DATA), TO_CONTAINER, 0, BACK_WEB(.chunk = SACK << 8 | DATA), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_CHOSEN(.chunk = INIT), 4, .age = 60 },
	{ "shut down: over in a minute, in ten seconds once complete", FROM_WEB, OUT_WEB(0), OUT, 0, OUT_HOST(0), 2 },
	{ NULL, UPLINK, BACK_HOST(.chunk = SACK << 8 | SHUTDOWN), TO_CONTAINER, 0, BACK_WEB(.chunk = SACK << 8 | SHUTDOWN), 2 },
	{ NULL, FROM_WEB, OUT_WEB(.chunk = SHUTDOWN_ACK), OUT, 0, OUT_HOST(.chunk = SHUTDOWN_ACK), 2 },
	{ NULL, FROM_WEB2, OUT_WEB2(.chunk = INIT), OUT, 0, OUT_CHOSEN(.chunk = INIT), 4, .age = 50 },
	{ NULL, UPLINK, BACK_HOST(.chunk = SHUTDOWN_COMPLETE), TO_CONTAINER, 0, BACK_WEB(.chunk = SHUTDOWN_COMPLETE), 4 },
	{ NULL, FROM_OTHER, { .src = OTHER, .dst = CLIENT, .kind = SCTP, .sport = 5001, .dport = 9, .chunk = INIT }, OUT, 0, OUT_HOST(.chunk = INIT), 5, .age = 11 },

	/* ICMP errors */
	{ "an error about a masqueraded flow", FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = SCTP, .sport = 40002, .dport = 70 }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = SCTP, .sport = CHOSEN, .dport = 70, .ttl = 63 }, 2 },
	{ NULL, UPLINK, { .src = CLIENT, .dst = HOST, .kind = REFUSED, .about = { HOST, CLIENT, SCTP, CHOSEN, 70 } }, TO_CONTAINER, 0,
	  { .src = CLIENT, .dst = WEB, .kind = REFUSED, .ttl = 63, .about = { WEB, CLIENT, SCTP, 40002, 70 } }, 2 },
	{ NULL, UPLINK, { .src = FAR_AWAY, .dst = HOST, .kind = TOO_BIG, .mtu = 1300, .about = { HOST, CLIENT, SCTP, CHOSEN, 70 } }, TO_CONTAINER, 0,
	  { .src = FAR_AWAY, .dst = WEB, .kind = TOO_BIG, .ttl = 63, .mtu = 1300, .about = { WEB, CLIENT, SCTP, 40002, 70 } }, 2 },
	{ "a container refuses", UPLINK, TO_HOST(.chunk = INIT), TO_CONTAINER, 0, TO_WEB(.chunk = INIT), 2 },
	{ NULL, FROM_WEB, { .src = WEB, .dst = CLIENT, .kind = REFUSED, .about = { CLIENT, WEB, SCTP, 6000, 13868, 63 } }, OUT, 0,
	  { .src = HOST, .dst = CLIENT, .kind = REFUSED, .about = { CLIENT, HOST, SCTP, 6000, 3868, 63 } }, 2 },
	{ "too big for the way out", FROM_WEB, { .src = WEB, .dst = NARROW, .kind = SCTP, .sport = 5001, .dport = 70, .payload = 1444 }, BACK, 0,
	  { .src = GATEWAY, .dst = WEB, .kind = TOO_BIG, .mtu = 1400, .ours = true, .payload = 1444, .about = { WEB, NARROW, SCTP, 5001, 70 } }, NONE },
};
