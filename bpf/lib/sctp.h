/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_SCTP_H
#define KEDGE_BPF_SCTP_H

/*
 * SCTP (RFC 9260): what the connection tracking wants to know of a packet's chunks, and its checksum. Both are functions of their own, verified by
 * themselves: no other protocol pays for them.
 */

enum { SCTP_HEADER = 12, SCTP_CHECKSUM = 8, SCTP_CHUNKS_MAX = 4 };

enum {					/* chunk types, section 3.2 */
	SCTP_INIT = 1, SCTP_INIT_ACK = 2, SCTP_ABORT = 6, SCTP_SHUTDOWN = 7, SCTP_SHUTDOWN_ACK = 8, SCTP_SHUTDOWN_COMPLETE = 14,
};

enum {					/* what a packet says of its association */
	SCTP_BEGINS = 1,		/* INIT or INIT ACK: it is a new one, or begins anew with other tags */
	SCTP_GOES_ON = 2,
	SCTP_CLOSES = 4,		/* SHUTDOWN or SHUTDOWN ACK, one a direction */
	SCTP_OVER = 8,			/* ABORT or SHUTDOWN COMPLETE */
};

/*
 * The chunks of the packet whose SCTP header is at l4: SCTP_*, and the first one's type times 256. Negative: there is none, which is malformed.
 * What says how an association stands comes first or behind a few others (SACK, then SHUTDOWN), hence the limit.
 */
__attribute__((noinline)) int kedge_sctp_chunks(struct __sk_buff *skb, __u32 l4)
{
	const __u32 begins = 1 << SCTP_INIT | 1 << SCTP_INIT_ACK, closes = 1 << SCTP_SHUTDOWN | 1 << SCTP_SHUTDOWN_ACK;
	const __u32 over = 1 << SCTP_ABORT | 1 << SCTP_SHUTDOWN_COMPLETE;
	__u32 at = l4 + SCTP_HEADER, bit, first = 0;
	int seen = 0;

	for (int i = 0; i < SCTP_CHUNKS_MAX; i++) {
		struct { __u8 type, flags; __u16 len; } c = {};

		if (bpf_skb_load_bytes(skb, at, &c, sizeof(c)) < 0 || bpf_ntohs(c.len) < sizeof(c))
			break;
		bit = c.type < 32 ? 1u << c.type : 0;
		seen |= bit & begins ? SCTP_BEGINS : bit & closes ? SCTP_CLOSES : bit & over ? SCTP_OVER : SCTP_GOES_ON;
		if (i == 0)
			first = c.type;
		at += (bpf_ntohs(c.len) + 3u) & ~3u;
	}
	return seen ? (int)(first << 8) | seen : -1;
}

/*
 * The checksum is a CRC32c over header and chunks, with zeros in its own place and no pseudo header: addresses change without it, ports do not. A CRC
 * is linear: that of a packet with some bits turned over is the old one, with the remainder of these bits alone turned over in it. That remainder is the
 * polynomial of the turned bits times x^8 for each byte behind them, modulo the generator; the power is put together of x^(8 * 2^k).
 */
#define SCTP_CRC_POLYNOMIAL 0x82f63b78u	/* bit 31 is x^0, as the CRC has it */

static const __u32 sctp_zeros[16] = {	/* x^(8 * 2^k): 2^k bytes behind */
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* a if bit, which is 0 or 1, is set. A multiplication and nothing the compiler knows better: the verifier would follow both of two ways. */
INLINE __u32 sctp_when(__u32 bit, __u32 a)
{
	barrier_var(bit);
	return bit * a;
}

/* What 16 bits turned over (network byte order) with so many bytes behind them, below 64 Ki, turn over in the checksum; as that lies in the packet. */
__attribute__((noinline)) __u32 kedge_sctp_crc_change(__u32 turned, __u32 behind)
{
	__u32 n = bpf_ntohs((__u16)turned), v = n >> 8 | (n & 0xff) << 8, r;

	for (int i = 0; i < 16; i++)
		v = v >> 1 ^ sctp_when(v & 1, SCTP_CRC_POLYNOMIAL);
	for (int k = 0; k < 16; k++) {
		__u32 power = sctp_zeros[k];

		if (!(behind >> k & 1))
			continue;
		r = 0;
		for (int i = 31; i >= 0; i--) {
			r ^= sctp_when(v >> i & 1, power);
			power = power >> 1 ^ sctp_when(power & 1, SCTP_CRC_POLYNOMIAL);
		}
		v = r;
	}
	return __builtin_bswap32(bpf_htonl(v));		/* least significant byte first, appendix A */
}

#endif
