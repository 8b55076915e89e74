/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_BPF_RIG_H
#define KEDGE_TESTS_BPF_RIG_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "bpf/dp.skel.h"
#include "kedge/bpf/abi.h"
#include "packet.h"

/*
 * The programs of the data path, loaded without pins over tables of the test's own, in a network namespace of the test's own: a host with an uplink,
 * another one with a small MTU, a bridge, and interfaces that stand for veths. Programs run by BPF_PROG_TEST_RUN.
 */
enum hook { UPLINK, UPLINK_L3, BRIDGE, FROM_WEB, FROM_WEB2, FROM_OTHER, FROM_INNER, FROM_ROUTED, HOOK_COUNT };

struct rig {
	struct dp_bpf *dp;
	uint32_t ifindex[HOOK_COUNT];
	uint32_t narrow, bridge;
	uint8_t up_mac[6], gw_mac[6];
};

struct tally {
	unsigned passed, failed;
};

enum { GEN_WEB = 101, GEN_WEB2, GEN_OTHER, GEN_INNER, GEN_ROUTED };

void rig_check(struct tally *t, const char *what, bool v6, bool ok);	/* counts; says what has failed */
int rig_new(struct rig *r);			/* 0, 77 with a sentence when the kernel or the rights are missing, 1 */
void rig_free(struct rig *r);
void rig_clear(struct rig *r, struct bpf_map *m);
void rig_endpoint(struct rig *r, enum who w, enum hook at, uint32_t generation, bool v6, bool there);
void rig_open(struct rig *r, bool on);			/* WEB's network to whoever routes to it */
void rig_trust(struct rig *r, enum hook uplink, bool on);	/* by WEB's network */
void rig_changed(struct rig *r);			/* as the engine says after a change of a table */
void rig_publish(struct rig *r, enum who host, uint16_t host_port, uint8_t proto, enum who to, uint16_t port, uint32_t generation, bool v6,
		 const struct kedge_publish *more);
uint64_t rig_drops(struct rig *r, enum kedge_drop why);
uint64_t rig_counter(struct rig *r, enum kedge_counter what);
void rig_forget(struct rig *r);			/* all flows */
unsigned rig_flows(struct rig *r);		/* entries */
unsigned rig_grown(struct rig *r);		/* of these, of flows that are not young */
void rig_age(struct rig *r, uint64_t seconds);	/* all flows were last seen so much earlier */
/* Runs; the verdict, or negative. out has PKT_MAX bytes. segment: not 0, the packet is to be cut into segments of that payload. */
int rig_run(struct rig *r, enum hook h, const uint8_t *in, size_t n, uint16_t segment, uint8_t *out, size_t *out_n);
/* The same packet again and again, n times with what the program made of it before; nanoseconds a time, or negative. */
int rig_time(struct rig *r, enum hook h, const uint8_t *in, size_t len, uint32_t n);
const uint8_t *rig_mac(enum who w);
struct kedge_addr rig_addr(enum who w, bool v6);

#endif
