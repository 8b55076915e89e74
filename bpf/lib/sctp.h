/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_SCTP_H
#define KEDGE_BPF_SCTP_H

/*
 * SCTP (RFC 9260): what a packet's chunks say of its association, and its checksum. All of it are functions of their own, which the verifier looks at
 * once, each by itself: no other protocol pays for them.
 */

enum { SCTP_HEADER = 12, SCTP_CHECKSUM = 8, SCTP_CHUNKS_MAX = 4 };

enum {					/* chunk types, section 3.2 */
	SCTP_INIT = 1, SCTP_INIT_ACK = 2, SCTP_ABORT = 6, SCTP_SHUTDOWN = 7, SCTP_SHUTDOWN_ACK = 8, SCTP_SHUTDOWN_COMPLETE = 14,
};

/*
 * What a chunk does to the flags of its direction, those of TCP. An association that begins anew (a restart with other tags, or the next one with the
 * same ports) has nothing of the old one's end. What goes on has not ended, whatever somebody without the right tag said. Bits to clear, times
 * 256, and bits to set.
 */
#define SCTP_ENDS (KEDGE_CT_FIN | KEDGE_CT_RST)
#define SCTP_BEGINS ((SCTP_ENDS | KEDGE_CT_CONFIRMED) << 8)
#define SCTP_GOES_ON (SCTP_ENDS << 8 | KEDGE_CT_CONFIRMED)
#define SCTP_CRC_POLYNOMIAL 0x82f63b78u	/* bit 31 is x^0, as the CRC has it */

static const struct {			/* one object: the linker's small sections are no maps */
	__u16 meaning[16];		/* of chunk types */
	__u32 zeros[4][16];		/* [k][n]: x^(8 * n * 16^k), so many bytes behind */
} sctp_tables = {
	.meaning = {
		SCTP_GOES_ON, SCTP_BEGINS, SCTP_BEGINS, SCTP_GOES_ON, SCTP_GOES_ON, SCTP_GOES_ON, KEDGE_CT_RST, KEDGE_CT_FIN, KEDGE_CT_FIN,
		SCTP_GOES_ON, SCTP_GOES_ON, SCTP_GOES_ON, SCTP_GOES_ON, SCTP_GOES_ON, KEDGE_CT_RST, SCTP_GOES_ON,
	},
	.zeros = {
		{ 0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743, 0x52a0c93f,
		  0x6ea2d55c, 0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24, 0xe75d06aa, 0xc94ec098 },
		{ 0x80000000, 0x18b8ea18, 0x510ac59a, 0xb2dea967, 0xb82be955, 0x36c41f1c, 0x19b29a35, 0xc9e90b9e,
		  0xb8fdb1e7, 0xe55ef1f3, 0x1fe0b5c3, 0xe0553f1e, 0x18e4a304, 0x2b830011, 0x56993a31, 0x0246e2e6 },
		{ 0x80000000, 0x88e56f72, 0x74c360a4, 0x631bb273, 0xe4172b16, 0x71892b1b, 0x835305c9, 0x196b1eae,
		  0x0d65762a, 0xafc81338, 0xb5a50ab7, 0xf373c3ac, 0x5f60970f, 0xd46d3063, 0x3a5275ea, 0x02331c01 },
		{ 0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9, 0x65059450, 0x4e6f41a4,
		  0xe2ea32dc, 0xf5b95b32, 0x695a4c87, 0xf204502c, 0x9a4f01b6, 0x941a0916, 0x4303cb97, 0x4c3d3d65 },
	},
};

/*
 * The chunks of the packet whose SCTP header is at l4: the first one's type, times 65536, and what all of them do to the flags, as above. Negative:
 * there is none, which is malformed. What says how an association stands comes first or behind a few others (SACK, then SHUTDOWN), hence the limit.
 */
__attribute__((noinline)) int kedge_sctp_chunks(struct __sk_buff *skb, __u32 l4)
{
	__u32 at = l4 + SCTP_HEADER, clear = 0, set = 0;
	int first = -1;

	for (int i = 0; i < SCTP_CHUNKS_MAX; i++) {
		struct { __u8 type, flags; __u16 len; } c = {};
		__u32 does;

		if (bpf_skb_load_bytes(skb, at, &c, sizeof(c)) < 0 || bpf_ntohs(c.len) < sizeof(c))
			break;
		does = c.type < 16 ? sctp_tables.meaning[c.type & 15] : SCTP_GOES_ON;
		clear |= does >> 8;
		set = (set & ~(does >> 8)) | (does & 0xff);
		if (first < 0)
			first = c.type;
		at += (bpf_ntohs(c.len) + 3u) & ~3u;
	}
	return first < 0 ? -1 : (int)((__u32)first << 16 | clear << 8 | set);
}

/*
 * The checksum is a CRC32c over header and chunks, with zeros in its own place and no pseudo header: addresses change without it, ports do not. A CRC
 * is linear: that of a packet with some bits turned over is the old one, with the remainder of these bits alone turned over in it. That remainder is the
 * polynomial of the turned bits times x^8 for each byte behind them, modulo the generator; the power is the product of one for each hexadecimal
 * digit of their number.
 */

/* a if bit, which is 0 or 1, is set. A multiplication and nothing the compiler knows better: the verifier would follow both of two ways. */
INLINE __u32 sctp_when(__u32 bit, __u32 a)
{
	barrier_var(bit);
	return bit * a;
}

/* What 16 bits turned over (network byte order) with so many bytes behind them, below 64 Ki, turn over in the checksum; as that lies in the packet. */
INLINE __u32 sctp_crc_change(__u16 turned, __u32 behind)
{
	__u32 n = bpf_ntohs(turned), v = n >> 8 | (n & 0xff) << 8, r;

	for (int i = 0; i < 16; i++)
		v = v >> 1 ^ sctp_when(v & 1, SCTP_CRC_POLYNOMIAL);
	for (int k = 0; k < 4; k++) {
		__u32 power = sctp_tables.zeros[k][behind >> 4 * k & 15];

		r = 0;
		for (int i = 31; i >= 0; i--) {
			r ^= sctp_when(v >> i & 1, power);
			power = power >> 1 ^ sctp_when(power & 1, SCTP_CRC_POLYNOMIAL);
		}
		v = r;
	}
	return __builtin_bswap32(bpf_htonl(v));		/* least significant byte first, appendix A */
}

/*
 * A port (at 0 or 2 behind l4) of a packet of len bytes from there on becomes another; ports is the old one times 65536 and the new one, both in network byte
 * order. 0 or negative. A checksum of 0 is one that the sender has left to a device (or one in 2^32), and stays.
 */
__attribute__((noinline)) int kedge_sctp_port(struct __sk_buff *skb, __u32 l4, __u32 at, __u32 len, __u32 ports)
{
	__u16 new = (__u16)ports;
	__u32 crc;

	if (len < SCTP_HEADER || len > 0xffff || bpf_skb_load_bytes(skb, l4 + SCTP_CHECKSUM, &crc, 4) < 0)
		return -1;
	if (crc) {
		crc ^= sctp_crc_change((__u16)(ports >> 16 ^ ports), len - at - 2);
		if (bpf_skb_store_bytes(skb, l4 + SCTP_CHECKSUM, &crc, 4, BPF_F_RECOMPUTE_CSUM) < 0)
			return -1;
	}
	return bpf_skb_store_bytes(skb, l4 + at, &new, 2, BPF_F_RECOMPUTE_CSUM) < 0 ? -1 : 0;
}

#endif
