/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/nft/nft_priv.h"

/*
 * The kernel's flows outlive what made them: an address translation is looked up when a flow is new and never again. So a flow is taken out
 * when its container goes (the next owner of the address must not get its packets), and a UDP flow when the port it came for is published
 * (it would go to the old place for as long as the client keeps talking).
 */
struct doomed {
	struct doomed *next;
	uint8_t family;
	uint16_t len;
	char tuple[128];	/* the attribute CTA_TUPLE_ORIG as it came */
};

struct wanted {
	bool v4;
	const struct in6_addr *addr;	/* of a container, or of the host */
	uint16_t port;			/* of the host; 0: any flow with addr counts */
	uint8_t proto;
	bool untranslated;		/* of those of a port: only where nothing was translated */
	const struct datapath *bare;	/* instead of all these: a flow of an endpoint's that should have been translated */
	struct doomed *list;
};

static int keep_attr(const struct nlattr *a, void *user)
{
	const struct nlattr **t = user;

	if (mnl_attr_get_type(a) < 16)
		t[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

bool conntrack_tuple(const struct nlattr *a, bool v4, struct ct_tuple *t)
{
	const struct nlattr *top[16] = { NULL }, *ip[16] = { NULL }, *proto[16] = { NULL }, *s, *d;
	size_t len = v4 ? 4 : 16;

	memset(t, 0, sizeof(*t));
	if (!a || mnl_attr_parse_nested(a, keep_attr, top) < 0 || !top[CTA_TUPLE_IP] || !top[CTA_TUPLE_PROTO] ||
	    mnl_attr_parse_nested(top[CTA_TUPLE_IP], keep_attr, ip) < 0 || mnl_attr_parse_nested(top[CTA_TUPLE_PROTO], keep_attr, proto) < 0)
		return false;
	s = ip[v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC];
	d = ip[v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST];
	if (!s || !d || mnl_attr_get_payload_len(s) != len || mnl_attr_get_payload_len(d) != len)
		return false;
	if (v4) {
		t->src = addr_of4(ntohl(mnl_attr_get_u32(s)));
		t->dst = addr_of4(ntohl(mnl_attr_get_u32(d)));
	} else {
		memcpy(&t->src, mnl_attr_get_payload(s), 16);
		memcpy(&t->dst, mnl_attr_get_payload(d), 16);
	}
	if (proto[CTA_PROTO_NUM])
		t->proto = mnl_attr_get_u8(proto[CTA_PROTO_NUM]);
	if (proto[CTA_PROTO_SRC_PORT])
		t->sport = ntohs(mnl_attr_get_u16(proto[CTA_PROTO_SRC_PORT]));
	/* Echoes have an identifier instead. */
	if (proto[v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID])
		t->sport = t->dport = ntohs(mnl_attr_get_u16(proto[v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID]));
	if (proto[CTA_PROTO_DST_PORT])
		t->dport = ntohs(mnl_attr_get_u16(proto[CTA_PROTO_DST_PORT]));
	return true;
}

/* Of a container to somewhere beyond its network, under its own address. */
static bool is_bare(const struct datapath *d, const struct ct_tuple *orig, const struct ct_tuple *reply)
{
	bool v4 = addr_is4(&orig->src);

	if (!addr_eq(&orig->src, &reply->dst) || !addr_eq(&orig->dst, &reply->src))
		return false;
	for (size_t i = 0; i < d->n_nets; i++) {
		const struct dp_net *n = &d->nets[i];
		struct net_cidr subnet = { n->subnet, n->prefix };

		if (addr_is4(&n->subnet) == v4 && n->masquerade && cidr_has(&subnet, &orig->src))
			return !cidr_has(&subnet, &orig->dst);
	}
	return false;
}

static int see_top(const struct nlattr *a, void *user)
{
	const struct nlattr **t = user;

	if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
		t[0] = a;
	if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY)
		t[1] = a;
	return MNL_CB_OK;
}

static int on_flow(const struct nlmsghdr *h, void *user)
{
	struct wanted *w = user;
	const struct nlattr *top[2] = { NULL, NULL };
	struct ct_tuple orig, reply;
	struct doomed *x;
	bool hit;

	if (mnl_attr_parse(h, sizeof(struct nfgenmsg), see_top, top) < 0 || !conntrack_tuple(top[0], w->v4, &orig) ||
	    !conntrack_tuple(top[1], w->v4, &reply) || top[0]->nla_len > sizeof(x->tuple))
		return MNL_CB_OK;
	if (w->bare)
		hit = is_bare(w->bare, &orig, &reply);
	else if (w->port)
		hit = orig.proto == w->proto && orig.dport == w->port && (addr_is_any(w->addr) || addr_eq(&orig.dst, w->addr)) &&
		      (!w->untranslated || addr_eq(&orig.dst, &reply.src));
	else
		hit = addr_eq(&orig.src, w->addr) || addr_eq(&orig.dst, w->addr) || addr_eq(&reply.src, w->addr);
	if (!hit)
		return MNL_CB_OK;
	x = mem_zalloc(sizeof(*x));
	x->next = w->list;
	x->family = w->v4 ? AF_INET : AF_INET6;
	x->len = top[0]->nla_len;
	memcpy(x->tuple, top[0], x->len);
	w->list = x;
	return MNL_CB_OK;
}

struct nlmsghdr *conntrack_request(char *buf, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	return h;
}

static int ignore(const struct nlmsghdr *h, void *user)
{
	(void)h;
	(void)user;
	return MNL_CB_OK;
}

static void forget(struct datapath *d, struct wanted *w)
{
	char buf[512];

	(void)nfnl_dump(d, conntrack_request(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, w->v4 ? AF_INET : AF_INET6), on_flow, w);
	while (w->list) {
		CLEANUP(mem_freep) struct doomed *x = w->list;
		struct nlmsghdr *h = conntrack_request(buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, x->family);

		w->list = x->next;
		memcpy(mnl_nlmsg_get_payload_tail(h), x->tuple, x->len);
		h->nlmsg_len += (uint32_t)MNL_ALIGN(x->len);
		(void)nfnl_dump(d, h, ignore, NULL);	/* it may have ended meanwhile */
	}
}

void conntrack_forget_addr(struct datapath *d, const struct in6_addr *addr)
{
	struct wanted w = { .v4 = addr_is4(addr), .addr = addr };

	forget(d, &w);
}

void conntrack_forget_port(struct datapath *d, bool v4, uint8_t proto, const struct in6_addr *host_addr, uint16_t port, bool untranslated)
{
	struct wanted w = { .v4 = v4, .addr = host_addr, .port = port, .proto = proto, .untranslated = untranslated };

	forget(d, &w);
}

void conntrack_forget_bare(struct datapath *d)
{
	for (int v4 = 1; v4 >= 0 && d->n_nets; v4--) {
		struct wanted w = { .v4 = v4, .bare = d };

		forget(d, &w);
	}
}
