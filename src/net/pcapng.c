/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/pcapng.h"

#include <string.h>

enum { BLOCK_INTERFACE = 1, BLOCK_STATISTICS = 5, BLOCK_PACKET = 6, LINKTYPE_ETHERNET = 1 };
enum { OPT_END = 0, OPT_IF_NAME = 2, OPT_SHB_USERAPPL = 4, OPT_IF_TSRESOL = 9, OPT_EPB_FLAGS = 2, OPT_ISB_IFRECV = 4, OPT_ISB_IFDROP = 5 };
#define BLOCK_SECTION 0x0a0d0d0au

static void put16(struct buf *b, uint16_t v)
{
	(void)buf_add(b, &v, sizeof(v));
}

static void put32(struct buf *b, uint32_t v)
{
	(void)buf_add(b, &v, sizeof(v));
}

static void put64(struct buf *b, uint64_t v)
{
	(void)buf_add(b, &v, sizeof(v));
}

static void put_time(struct buf *b, int64_t ns)
{
	put32(b, (uint32_t)((uint64_t)ns >> 32));
	put32(b, (uint32_t)ns);
}

/* Blocks and options are made of 32-bit words. */
static void put_bytes(struct buf *b, const void *p, size_t n)
{
	static const char zero[4];

	(void)buf_add(b, p, n);
	(void)buf_add(b, zero, -n & 3);
}

static void option(struct buf *b, uint16_t code, const void *p, uint16_t n)
{
	put16(b, code);
	put16(b, n);
	put_bytes(b, p, n);
}

static size_t block(struct buf *b, uint32_t type)
{
	size_t at = b->len;

	put32(b, type);
	put32(b, 0);
	return at;
}

/* Its length stands at both ends. */
static void block_end(struct buf *b, size_t at)
{
	uint32_t len = (uint32_t)(b->len - at) + 4;

	put32(b, len);
	if (!b->failed)
		memcpy(b->data + at + 4, &len, sizeof(len));
}

void pcapng_head(struct buf *b, const char *program, const char *interface, uint32_t snaplen)
{
	size_t at = block(b, BLOCK_SECTION);
	uint8_t nanoseconds = 9;

	put32(b, 0x1a2b3c4d);
	put16(b, 1);
	put16(b, 0);
	put64(b, UINT64_MAX);		/* a section of unknown length */
	option(b, OPT_SHB_USERAPPL, program, (uint16_t)strlen(program));
	option(b, OPT_END, NULL, 0);
	block_end(b, at);
	at = block(b, BLOCK_INTERFACE);
	put16(b, LINKTYPE_ETHERNET);
	put16(b, 0);
	put32(b, snaplen);
	option(b, OPT_IF_NAME, interface, (uint16_t)strlen(interface));
	option(b, OPT_IF_TSRESOL, &nanoseconds, 1);
	option(b, OPT_END, NULL, 0);
	block_end(b, at);
}

void pcapng_packet(struct buf *b, int64_t at_ns, bool inbound, const void *p, uint32_t n, uint32_t len)
{
	uint32_t flags = inbound ? 1 : 2;
	size_t at = block(b, BLOCK_PACKET);

	put32(b, 0);
	put_time(b, at_ns);
	put32(b, n);
	put32(b, len);
	put_bytes(b, p, n);
	option(b, OPT_EPB_FLAGS, &flags, sizeof(flags));
	option(b, OPT_END, NULL, 0);
	block_end(b, at);
}

void pcapng_statistics(struct buf *b, int64_t at_ns, uint64_t received, uint64_t dropped)
{
	size_t at = block(b, BLOCK_STATISTICS);

	put32(b, 0);
	put_time(b, at_ns);
	option(b, OPT_ISB_IFRECV, &received, sizeof(received));
	option(b, OPT_ISB_IFDROP, &dropped, sizeof(dropped));
	option(b, OPT_END, NULL, 0);
	block_end(b, at);
}
