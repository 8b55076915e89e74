/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_BPF_PACKET_H
#define KEDGE_TESTS_BPF_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Packets told in words: the same description makes an IPv4 and an IPv6 packet, with every checksum right. What a program made of a packet is
 * compared byte by byte with the packet a second description makes, so that its checksums are compared too.
 */
enum who {				/* addresses; each has one of either family (packet.c) */
	NOBODY, CLIENT, CLIENT2, HOST, HOST2, GATEWAY, WEB, WEB2, VACANT, OTHER, INNER, INNER_GATEWAY, ROUTED, ROUTED_GATEWAY, NARROW, NARROW_HOST,
	FAR_AWAY, LOOP, GROUP, LINK, WHO_COUNT
};

enum kind { TCP, UDP, SCTP, PING, PONG, REFUSED, TOO_BIG, TIMED_OUT, SOLICIT, GRE };
enum part { WHOLE, FIRST, LATER };

enum { CHOSEN = 1 };			/* a port: whatever the program chose; then the same again */

struct quoted {
	enum who src, dst;
	enum kind kind;
	uint16_t sport, dport;		/* PING: the identifier in sport */
	uint8_t ttl;			/* 0: 64 */
};

struct pkt {
	enum who src, dst;
	enum kind kind;
	uint16_t sport, dport;
	char flags;			/* TCP: S (SYN), A (ACK), F (FIN), R (RST); 0 is A. SCTP: - no chunk */
	uint16_t chunk;			/* SCTP: its type, 0 DATA; times 256, that of one before it */
	uint8_t ttl;			/* 0: 64 */
	enum part part;
	uint16_t mss, mtu, payload;	/* payload 0: 12 bytes */
	struct quoted about;		/* of an error */
	uint8_t options;		/* bytes of IPv4 options or of an IPv6 destination options header; a multiple of 8 */
	uint16_t cut;			/* not 0: only so many bytes behind the IP header arrive */
	bool no_checksum;		/* UDP over IPv4 may have none, SCTP's may be left to a device: 0 */
	bool ours;			/* the error was made by the program: its form, not that of a host */
};

enum { PKT_MAX = 2048 };

/* For the choice of CHOSEN: host byte order. */
extern uint16_t pkt_chosen;

const uint8_t *who_addr(enum who w, bool v6);		/* 16 bytes, IPv4 mapped */
const char *who_text(enum who w, bool v6);
/* Writes the packet with this Ethernet header; its length. */
size_t pkt_make(const struct pkt *p, bool v6, const uint8_t dst_mac[6], const uint8_t src_mac[6], uint8_t *out);
/* Reads the source (or destination) port, host byte order. */
uint16_t pkt_port(const uint8_t *p, bool v6, bool dst);

#endif
