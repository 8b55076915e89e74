/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_MAGLEV_H
#define KEDGE_NET_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4). Pure. A table of a prime
 * number of slots is filled so that each candidate has a share in proportion to its weight, and a table for a slightly different set of candidates
 * differs in little more than what it has to: flows that are not remembered mostly find their old candidate again.
 */
struct maglev {
	uint64_t key;			/* names the candidate the same way on every node and in every run */
	uint32_t weight;		/* 0: takes no slot */
};

enum { MAGLEV_NONE = 0xffff, MAGLEV_MAX = 1024 };

uint64_t maglev_key(const void *p, size_t n);
/*
 * slot[0..slots) become indices into m, or MAGLEV_NONE everywhere when nobody has a weight. slots is prime; n at most MAGLEV_MAX. The order of m does
 * not matter to who gets which slot.
 */
void maglev_fill(const struct maglev *m, size_t n, uint16_t *slot, uint32_t slots);

#endif
