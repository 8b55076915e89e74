/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_sctp.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/nft/nft_priv.h"

/*
 * The flows of containers as connection tracking has them. It counts and keeps times where that is switched on, which nft_flows_count() does; how long a flow
 * has been idle is what its timeout has lost.
 */
enum { ATTRS = 32 };

struct listing {
	struct datapath *d;
	void (*fn)(void *user, const struct dp_flow *f);
	void *user;
	bool v4;
	int64_t tcp_s, udp_s, udp_stream_s, sctp_s, now;
};

static int keep(const struct nlattr *a, void *user)
{
	const struct nlattr **t = user;

	if (mnl_attr_get_type(a) < ATTRS)
		t[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static uint64_t be64(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) == 8 ? be64toh(mnl_attr_get_u64(a)) : 0;
}

static uint32_t be32(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) == 4 ? ntohl(mnl_attr_get_u32(a)) : 0;
}

static void counters(const struct nlattr *nest, uint64_t *packets, uint64_t *bytes)
{
	const struct nlattr *a[ATTRS] = { NULL };

	if (!nest || mnl_attr_parse_nested(nest, keep, a) < 0)
		return;
	*packets = be64(a[CTA_COUNTERS_PACKETS]);
	*bytes = be64(a[CTA_COUNTERS_BYTES]);
}

/* How a connection or an association stands; 0: not told. */
static uint8_t state_of(const struct nlattr *info, uint16_t proto, uint16_t state)
{
	const struct nlattr *a[ATTRS] = { NULL }, *t[ATTRS] = { NULL };

	if (!info || mnl_attr_parse_nested(info, keep, a) < 0 || !a[proto] || mnl_attr_parse_nested(a[proto], keep, t) < 0 || !t[state])
		return 0;
	return mnl_attr_get_u8(t[state]);
}

static void stands(struct dp_flow *f, const struct nlattr *info)
{
	uint8_t s;

	if (f->proto == IPPROTO_SCTP) {
		s = state_of(info, CTA_PROTOINFO_SCTP, CTA_PROTOINFO_SCTP_STATE);
		f->confirmed = s >= SCTP_CONNTRACK_ESTABLISHED && s <= SCTP_CONNTRACK_SHUTDOWN_ACK_SENT;
		f->closing = s == SCTP_CONNTRACK_CLOSED || (f->confirmed && s != SCTP_CONNTRACK_ESTABLISHED);
		return;
	}
	s = state_of(info, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE);
	f->confirmed = s >= TCP_CONNTRACK_ESTABLISHED && s != TCP_CONNTRACK_SYN_SENT2;
	f->closing = f->confirmed && s != TCP_CONNTRACK_ESTABLISHED;
}

static int64_t idle_ns(const struct listing *l, const struct dp_flow *f, uint32_t status, uint32_t left)
{
	int64_t whole = 0;

	if (f->proto == IPPROTO_TCP)
		whole = f->confirmed && !f->closing ? l->tcp_s : 0;
	else if (f->proto == IPPROTO_UDP)
		whole = status & IPS_ASSURED ? l->udp_stream_s : l->udp_s;
	else if (f->proto == IPPROTO_SCTP)
		whole = f->confirmed && !f->closing ? l->sctp_s : 0;
	return whole > (int64_t)left ? (whole - (int64_t)left) * 1000000000 : 0;
}

static int on_flow(const struct nlmsghdr *h, void *user)
{
	const struct nlattr *a[ATTRS] = { NULL }, *times[ATTRS] = { NULL };
	struct listing *l = user;
	struct dp_flow f = { 0 };
	struct ct_tuple o, r;
	uint64_t packets[2] = { 0 }, bytes[2] = { 0 }, start;
	uint32_t status;

	if (mnl_attr_parse(h, sizeof(struct nfgenmsg), keep, a) < 0 || !conntrack_tuple(a[CTA_TUPLE_ORIG], l->v4, &o) ||
	    !conntrack_tuple(a[CTA_TUPLE_REPLY], l->v4, &r))
		return MNL_CB_OK;
	f.proto = o.proto;
	f.published = nft_bridge_of(l->d, &r.src) != 0;
	/* Neither to nor from a container; or straight to one's own address, without a translation. */
	if (f.published ? addr_eq(&o.dst, &r.src) && o.dport == r.sport : nft_bridge_of(l->d, &o.src) == 0)
		return MNL_CB_OK;
	status = be32(a[CTA_STATUS]);
	f.replied = status & IPS_SEEN_REPLY;
	stands(&f, a[CTA_PROTOINFO]);
	f.peer = f.published ? o.src : o.dst;
	f.peer_port = f.published ? o.sport : o.dport;
	f.host = f.published ? o.dst : r.dst;
	f.host_port = f.published ? o.dport : r.dport;
	f.container = f.published ? r.src : o.src;
	f.container_port = f.published ? r.sport : o.sport;
	counters(a[CTA_COUNTERS_ORIG], &packets[0], &bytes[0]);
	counters(a[CTA_COUNTERS_REPLY], &packets[1], &bytes[1]);
	f.in_packets = packets[!f.published];
	f.in_bytes = bytes[!f.published];
	f.out_packets = packets[f.published];
	f.out_bytes = bytes[f.published];
	if (a[CTA_TIMESTAMP] && mnl_attr_parse_nested(a[CTA_TIMESTAMP], keep, times) >= 0) {
		start = be64(times[CTA_TIMESTAMP_START]);
		f.age_ns = start && (int64_t)start < l->now ? l->now - (int64_t)start : 0;
	}
	f.idle_ns = idle_ns(l, &f, status, be32(a[CTA_TIMEOUT]));
	l->fn(l->user, &f);
	return MNL_CB_OK;
}

static int64_t setting(const char *name)
{
	char path[96], line[32] = "";
	uint64_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
	if (file_read_line(path, line, sizeof(line)) == 0)
		(void)str_to_u64(line, 0, INT32_MAX, &n);
	return (int64_t)n;
}

void nft_flows(struct datapath *d, void (*fn)(void *user, const struct dp_flow *f), void *user)
{
	struct listing l = { .d = d, .fn = fn, .user = user, .now = clock_wall(), .tcp_s = setting("nf_conntrack_tcp_timeout_established"),
			     .udp_s = setting("nf_conntrack_udp_timeout"), .udp_stream_s = setting("nf_conntrack_udp_timeout_stream"),
			     .sctp_s = setting("nf_conntrack_sctp_timeout_established") };
	char buf[512];

	for (int v4 = 1; v4 >= 0; v4--) {
		l.v4 = v4;
		(void)nfnl_dump(d, conntrack_request(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, v4 ? AF_INET : AF_INET6), on_flow, &l);
	}
}

void nft_flows_count(void)
{
	static const char *const switches[] = { "/proc/sys/net/netfilter/nf_conntrack_acct", "/proc/sys/net/netfilter/nf_conntrack_timestamp" };

	/* Without them flows are shown without bytes or age. */
	for (size_t i = 0; i < N(switches); i++)
		(void)file_put_at(-1, switches[i], "1");
}
