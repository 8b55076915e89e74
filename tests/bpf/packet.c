/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "packet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

uint16_t pkt_chosen;

static const struct {
	const char *v4, *v6;
} names[] = {
	[NOBODY] = { "0.0.0.0", "::" },
	[CLIENT] = { "192.0.2.2", "2001:db8:2::2" },
	[CLIENT2] = { "192.0.2.3", "2001:db8:2::3" },
	[HOST] = { "192.0.2.1", "2001:db8:2::1" },
	[HOST2] = { "192.0.2.9", "2001:db8:2::9" },
	[GATEWAY] = { "172.17.0.1", "fd00:17::1" },
	[WEB] = { "172.17.0.2", "fd00:17::2" },
	[WEB2] = { "172.17.0.3", "fd00:17::3" },
	[VACANT] = { "172.17.0.77", "fd00:17::77" },
	[OTHER] = { "172.18.0.2", "fd00:18::2" },
	[INNER] = { "172.19.0.2", "fd00:19::2" },
	[INNER_GATEWAY] = { "172.19.0.1", "fd00:19::1" },
	[ROUTED] = { "172.20.0.2", "2001:db8:20::2" },
	[ROUTED_GATEWAY] = { "172.20.0.1", "2001:db8:20::1" },
	[NARROW] = { "198.51.100.2", "2001:db8:3::2" },
	[NARROW_HOST] = { "198.51.100.1", "2001:db8:3::1" },
	[FAR_AWAY] = { "203.0.113.5", "2001:db8:bad::5" },
	[LOOP] = { "127.0.0.1", "::1" },
	[GROUP] = { "224.0.0.251", "ff02::fb" },
	[LINK] = { "169.254.1.1", "fe80::1" },
};
_Static_assert(sizeof(names) / sizeof(names[0]) == WHO_COUNT, "an address for everybody");

const char *who_text(enum who w, bool v6)
{
	return v6 ? names[w].v6 : names[w].v4;
}

const uint8_t *who_addr(enum who w, bool v6)
{
	static uint8_t a[2][WHO_COUNT][16];

	if (v6) {
		(void)inet_pton(AF_INET6, names[w].v6, a[1][w]);
	} else {
		a[0][w][10] = a[0][w][11] = 0xff;
		(void)inet_pton(AF_INET, names[w].v4, a[0][w] + 12);
	}
	return a[v6][w];
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* CRC32c (RFC 9260, appendix A), bit by bit. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t c = ~0u;

	for (size_t i = 0; i < n; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78 : c >> 1;
	}
	return ~c;
}

static uint8_t proto_of(enum kind k, bool v6)
{
	return k == TCP ? IPPROTO_TCP : k == UDP ? IPPROTO_UDP : k == SCTP ? IPPROTO_SCTP : k == GRE ? IPPROTO_GRE : v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
}

static uint16_t port(uint16_t p)
{
	return p == CHOSEN ? pkt_chosen : p;
}

static uint32_t pseudo(enum who src, enum who dst, uint8_t proto, size_t n, bool v6)
{
	size_t from = v6 ? 0 : 12;

	return sum(sum(0, who_addr(src, v6) + from, 16 - from), who_addr(dst, v6) + from, 16 - from) + proto + (uint32_t)n;
}

static size_t ip_header(uint8_t *o, enum who src, enum who dst, uint8_t proto, uint8_t ttl, size_t body, bool v6, enum part part, uint8_t options, bool ours,
			bool df)
{
	memset(o, 0, 128);
	if (!v6) {
		size_t hl = 20u + options;

		o[0] = (uint8_t)(0x40 | hl / 4);
		put16(o + 2, (uint16_t)(hl + body));
		put16(o + 4, ours ? 0 : 0x1234);
		put16(o + 6, part == FIRST ? 0x2000 : part == LATER ? 0x0010 : df ? 0x4000 : 0);
		o[8] = ttl ? ttl : 64;
		o[9] = proto;
		memcpy(o + 12, who_addr(src, v6) + 12, 4);
		memcpy(o + 16, who_addr(dst, v6) + 12, 4);
		memset(o + 20, 1, options);		/* no-operations */
		put16(o + 10, fold(sum(0, o, hl)));
		return hl;
	}
	o[0] = 0x60;
	put16(o + 4, (uint16_t)(body + options + (part != WHOLE ? 8 : 0)));
	o[6] = proto;
	o[7] = ttl ? ttl : 64;
	memcpy(o + 8, who_addr(src, v6), 16);
	memcpy(o + 24, who_addr(dst, v6), 16);
	size_t n = 40;
	uint8_t *next = o + 6;

	if (options) {
		*next = IPPROTO_DSTOPTS;
		next = o + n;
		o[n] = proto;
		o[n + 1] = (uint8_t)(options / 8 - 1);
		o[n + 2] = 1;			/* PadN over the rest */
		o[n + 3] = (uint8_t)(options - 4);
		n += options;
	}
	if (part != WHOLE) {
		*next = IPPROTO_FRAGMENT;
		o[n] = proto;
		put16(o + n + 2, part == FIRST ? 1 : 0x10 << 3);
		put16(o + n + 6, 0x1234);
		n += 8;
	}
	return n;
}

/* Transport header and payload; its length. whole: how long the datagram would be if it were not a fragment. */
static size_t transport(uint8_t *o, const struct pkt *p, bool v6)
{
	size_t payload = p->payload ? p->payload : 12, n = 0, csum = 0;
	uint8_t proto = proto_of(p->kind, v6);
	uint32_t s;

	memset(o, 0, 64);
	if (p->part == LATER) {
		for (size_t i = 0; i < payload; i++)
			o[i] = (uint8_t)(0x80 + i);
		return payload;
	}
	put16(o, port(p->sport));
	put16(o + 2, port(p->dport));
	switch (p->kind) {
	case TCP:
		n = p->mss ? 24 : 20;
		put16(o + 4, 0x0102);
		o[12] = (uint8_t)(n / 4 << 4);
		o[13] = p->flags == 'S' ? 2 : p->flags == 'R' ? 4 : p->flags == 'F' ? 17 : 16;
		put16(o + 14, 1000);
		if (p->mss) {
			o[20] = 2;
			o[21] = 4;
			put16(o + 22, p->mss);
		}
		csum = 16;
		break;
	case UDP:
		n = 8;
		put16(o + 4, (uint16_t)(n + payload));
		csum = p->no_checksum ? 0 : 6;
		break;
	case SCTP:
		n = 12;
		put16(o + 4, 0x7a65);		/* verification tag */
		if (p->flags == '-')
			break;
		/* One chunk with the payload in it, behind a SACK where it is told. */
		if (p->chunk >> 8) {
			o[n] = (uint8_t)(p->chunk >> 8);
			put16(o + n + 2, 16);
			n += 16;
		}
		o[n] = (uint8_t)p->chunk;
		put16(o + n + 2, (uint16_t)(4 + payload));
		n += 4;
		break;
	case PING:
	case PONG:
		n = 8;
		put16(o, 0);
		o[0] = p->kind == PING ? (v6 ? 128 : 8) : v6 ? 129 : 0;
		put16(o + 2, 0);
		put16(o + 4, port(p->sport));
		put16(o + 6, 7);
		csum = 2;
		break;
	case SOLICIT:
		n = 24;
		memset(o, 0, 24);
		o[0] = v6 ? 135 : 9;
		csum = 2;
		break;
	case GRE:
		n = 4;
		break;
	case REFUSED:
	case TOO_BIG:
	case TIMED_OUT: {
		struct pkt q = { .src = p->about.src, .dst = p->about.dst, .kind = p->about.kind, .sport = p->about.sport, .dport = p->about.dport, .ttl = p->about.ttl,
				 .payload = p->payload };
		uint8_t in[PKT_MAX];
		size_t body = transport(in + 128, &q, v6), hl = ip_header(in, q.src, q.dst, proto_of(q.kind, v6), q.ttl, body, v6, WHOLE, 0, false, true);

		memset(o, 0, 8);
		o[0] = p->kind == REFUSED ? (v6 ? 1 : 3) : p->kind == TOO_BIG ? (v6 ? 2 : 3) : v6 ? 3 : 11;
		o[1] = p->kind == REFUSED ? (v6 ? 4 : 3) : p->kind == TOO_BIG && !v6 ? 4 : 0;
		put16(o + 6, p->mtu);
		memcpy(o + 8, in, hl);
		/* A quoted checksum is not kept by translation, so it is not compared: all quote none. */
		if (!p->ours)
			memset(in + 128 + (q.kind == TCP ? 16 : q.kind == UDP ? 6 : q.kind == SCTP ? 8 : 2), 0, 2);
		n = !p->ours ? 8 : q.kind == TCP ? 20 : q.kind == SCTP ? 12 : 8;
		memcpy(o + 8 + hl, in + 128, n);
		n += 8 + hl;
		payload = 0;
		csum = 2;
		break;
	}
	}
	for (size_t i = 0; i < payload; i++)
		o[n + i] = (uint8_t)i;
	n += payload;
	if (p->kind == SCTP && !p->no_checksum) {
		/* Of the whole packet, were this the first of its fragments: whatever lies behind it here. */
		s = crc32c(o, n);
		for (int i = 0; i < 4; i++)
			o[8 + i] = (uint8_t)(s >> 8 * i);
	}
	if (!csum)
		return n;
	s = proto == IPPROTO_ICMP ? 0 : pseudo(p->src, p->dst, proto, n, v6);
	put16(o + csum, 0);
	put16(o + csum, fold(sum(s, o, n)));
	return n;
}

size_t pkt_make(const struct pkt *p, bool v6, const uint8_t dst_mac[6], const uint8_t src_mac[6], uint8_t *out)
{
	uint8_t body[PKT_MAX];
	size_t n = transport(body, p, v6), at = ETH_HLEN;

	memset(out, 0, PKT_MAX);
	memcpy(out, dst_mac, 6);
	memcpy(out + 6, src_mac, 6);
	put16(out + 12, v6 ? ETH_P_IPV6 : ETH_P_IP);
	at += ip_header(out + at, p->src, p->dst, proto_of(p->kind, v6), p->ttl, n, v6, p->part, p->options, p->ours, true);
	memcpy(out + at, body, n);
	return at + (p->cut ? p->cut : n);
}

uint16_t pkt_port(const uint8_t *p, bool v6, bool dst)
{
	const uint8_t *l4 = p + ETH_HLEN + (v6 ? 40 : 20) + (dst ? 2 : 0);

	return (uint16_t)(l4[0] << 8 | l4[1]);
}
