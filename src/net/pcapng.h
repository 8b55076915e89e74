/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_PCAPNG_H
#define KEDGE_NET_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* pcapng (draft-ietf-opsawg-pcapng) in the machine's byte order, one interface, times in nanoseconds. Pure; everything appends. */
void pcapng_head(struct buf *b, const char *program, const char *interface, uint32_t snaplen);
/* len: of the packet on the wire; n: what of it is in p. inbound: towards the interface's owner. */
void pcapng_packet(struct buf *b, int64_t at_ns, bool inbound, const void *p, uint32_t n, uint32_t len);
/* How many came and how many of them were not written. */
void pcapng_statistics(struct buf *b, int64_t at_ns, uint64_t received, uint64_t dropped);

#endif
