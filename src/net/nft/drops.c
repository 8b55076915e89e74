/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/nft/nft_priv.h"

/*
 * Dropped packets, one by one, while somebody listens: the rules that drop hand the packet's head to a log group of netfilter's, which is nobody's as long
 * as no socket has bound it. What is over the rules' limit is not told but counted, and what comes faster than it is read leaves a gap in the numbers of
 * what is; both together are what the next one says was suppressed.
 */
enum { SNAP = 96, TURN = 64, ATTRS = 32 };
static const int64_t LOOK_NS = 250000000;		/* at the counter of what is not told, at most so often */

static int keep(const struct nlattr *a, void *user)
{
	const struct nlattr **t = user;

	if (mnl_attr_get_type(a) < ATTRS)
		t[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

/* The packet's head, as far as it goes. False: not IP. */
static bool packet_read(const uint8_t *p, size_t n, struct dp_drop *x)
{
	size_t l4;

	if (n >= 20 && p[0] >> 4 == 4) {
		x->proto = p[9];
		x->len = (uint32_t)(p[2] << 8 | p[3]);
		x->src = addr_of4((uint32_t)p[12] << 24 | (uint32_t)p[13] << 16 | (uint32_t)p[14] << 8 | p[15]);
		x->dst = addr_of4((uint32_t)p[16] << 24 | (uint32_t)p[17] << 16 | (uint32_t)p[18] << 8 | p[19]);
		l4 = (size_t)(p[0] & 15) * 4;
		if ((p[6] & 0x1f) | p[7])
			return true;		/* a later fragment has no ports */
	} else if (n >= 40 && p[0] >> 4 == 6) {
		x->proto = p[6];
		x->len = (uint32_t)(p[4] << 8 | p[5]) + 40;
		memcpy(&x->src, p + 8, 16);
		memcpy(&x->dst, p + 24, 16);
		l4 = 40;
	} else {
		return false;
	}
	if (x->proto == IPPROTO_ICMP || x->proto == IPPROTO_ICMPV6) {
		x->icmp_type = l4 < n ? p[l4] : 0;
		return true;
	}
	if ((x->proto == IPPROTO_TCP || x->proto == IPPROTO_UDP || x->proto == IPPROTO_SCTP) && l4 + 4 <= n) {
		x->sport = (uint16_t)(p[l4] << 8 | p[l4 + 1]);
		x->dport = (uint16_t)(p[l4 + 2] << 8 | p[l4 + 3]);
	}
	if (x->proto == IPPROTO_TCP && l4 + 14 <= n)
		x->tcp_flags = p[l4 + 13];
	if (x->proto == IPPROTO_SCTP && l4 + 13 <= n)
		x->tcp_flags = p[l4 + 12];	/* the first chunk's type */
	return true;
}

/* Dropped since the last one that was told. */
static uint32_t suppressed(struct datapath *d, const struct nlattr *seq_attr)
{
	uint32_t seq = seq_attr && mnl_attr_get_payload_len(seq_attr) == 4 ? ntohl(mnl_attr_get_u32(seq_attr)) : d->log_seq + 1;
	uint32_t lost = seq - d->log_seq - 1;
	int64_t now = clock_now();

	if (now - d->untold_at >= LOOK_NS) {
		json_decref(ruleset_drops(d));
		d->untold_at = now;
	}
	lost += (uint32_t)(d->untold - d->untold_said);
	d->untold_said = d->untold;
	d->log_seq = seq;
	return lost;
}

static int on_packet(const struct nlmsghdr *h, void *user)
{
	const struct nlattr *a[ATTRS] = { NULL };
	struct datapath *d = user;
	struct dp_drop x = { .hook = "forward" };
	char reason[32] = "";

	if (!d->on_drop || h->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET) || mnl_attr_parse(h, sizeof(struct nfgenmsg), keep, a) < 0 ||
	    !a[NFULA_PAYLOAD] || !a[NFULA_PREFIX] || !a[NFULA_PACKET_HDR])
		return MNL_CB_OK;
	if (mnl_attr_get_payload_len(a[NFULA_PACKET_HDR]) >= sizeof(struct nfulnl_msg_packet_hdr)) {
		uint8_t hook = ((const struct nfulnl_msg_packet_hdr *)mnl_attr_get_payload(a[NFULA_PACKET_HDR]))->hook;

		x.hook = hook == NF_INET_PRE_ROUTING ? "prerouting" : hook == NF_INET_LOCAL_IN ? "input" : "forward";
	}
	if (a[NFULA_IFINDEX_INDEV])
		x.ifindex = ntohl(mnl_attr_get_u32(a[NFULA_IFINDEX_INDEV]));
	memcpy(reason, mnl_attr_get_payload(a[NFULA_PREFIX]), mnl_attr_get_payload_len(a[NFULA_PREFIX]) < sizeof(reason) ?
	       mnl_attr_get_payload_len(a[NFULA_PREFIX]) : sizeof(reason) - 1);
	x.reason = reason;
	x.suppressed = suppressed(d, a[NFULA_SEQ]);
	if (packet_read(mnl_attr_get_payload(a[NFULA_PAYLOAD]), mnl_attr_get_payload_len(a[NFULA_PAYLOAD]), &x))
		d->on_drop(d->drop_user, &x);
	return MNL_CB_OK;
}

static void on_log(void *user, unsigned events)
{
	struct datapath *d = user;
	char buf[32 << 10];

	(void)events;
	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(mnl_socket_get_fd(d->log), buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno != ENOBUFS)
			return;
		if (n > 0)
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_packet, d);
	}
}

static struct nlmsghdr *config(char *buf)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(DROP_GROUP);
	return h;
}

static int ask(struct mnl_socket *s, const struct nlmsghdr *h)
{
	char buf[1024];
	ssize_t n = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? -1 : mnl_socket_recvfrom(s, buf, sizeof(buf));

	return n < 0 ? -errno : mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(s), NULL, NULL) < 0 ? -errno : 0;
}

static int group_open(struct mnl_socket **ret)
{
	struct nfulnl_msg_config_cmd cmd = { .command = NFULNL_CFG_CMD_BIND };
	struct nfulnl_msg_config_mode mode = { .copy_range = htonl(SNAP), .copy_mode = NFULNL_COPY_PACKET };
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	char buf[512];
	struct nlmsghdr *h;
	int r;

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		goto fail;
	}
	h = config(buf);
	mnl_attr_put(h, NFULA_CFG_CMD, sizeof(cmd), &cmd);
	r = ask(s, h);
	if (r < 0)
		goto fail;
	h = config(buf);
	mnl_attr_put(h, NFULA_CFG_MODE, sizeof(mode), &mode);
	mnl_attr_put_u32(h, NFULA_CFG_QTHRESH, htonl(1));	/* each at once */
	mnl_attr_put_u16(h, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
	r = ask(s, h);
	if (r < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	if (s)
		(void)mnl_socket_close(s);
	return r;
}

static void group_close(struct datapath *d)
{
	loop_io_free(d->log_io);
	if (d->log)
		(void)mnl_socket_close(d->log);
	d->log_io = NULL;
	d->log = NULL;
}

static void close_unheard(void *user)
{
	struct datapath *d = user;

	if (!d->on_drop)
		group_close(d);
}

void nft_drops_close(struct datapath *d)
{
	if (d->l)
		loop_forget(d->l, close_unheard, d);
	group_close(d);
}

int nft_drops_listen(struct datapath *d, void (*fn)(void *user, const struct dp_drop *x), void *user, struct err *e)
{
	int r;

	if (fn && !(d->can & CAN_LOG))
		return err_set(e, ERR_NOT_IMPLEMENTED, "nftables of this kernel cannot tell dropped packets one by one: it has no nfnetlink_log or no limits");
	d->on_drop = fn;
	d->drop_user = user;
	if (!fn)
		loop_defer(d->l, close_unheard, d);	/* this may be inside on_packet() */
	if (!fn || d->log)
		return 0;
	r = group_open(&d->log);
	if (r < 0)
		return err_errno(e, -r, "listen to dropped packets");
	json_decref(ruleset_drops(d));
	d->untold_said = d->untold;
	d->untold_at = clock_now();
	d->log_seq = UINT32_MAX;		/* they count from 0 */
	d->log_io = loop_io_new(d->l, mnl_socket_get_fd(d->log), LOOP_READ, on_log, d);
	return 0;
}
