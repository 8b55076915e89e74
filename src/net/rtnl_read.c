/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/rtnl_priv.h"

/* Reading: one link, dumps, and news. Attributes are checked for their length before use, the kernel's too. */

static void text(const struct nlattr *a, char *out, size_t size)
{
	if (mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		(void)snprintf(out, size, "%s", mnl_attr_get_str(a));
}

static int on_linkinfo(const struct nlattr *a, void *user)
{
	struct rtnl_link *l = user;

	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		text(a, l->kind, sizeof(l->kind));
	return MNL_CB_OK;
}

static int on_link_attr(const struct nlattr *a, void *user)
{
	struct rtnl_link *l = user;
	struct rtnl_link_stats64 st = { 0 };
	size_t len = mnl_attr_get_payload_len(a);

	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		text(a, l->name, sizeof(l->name));
		break;
	case IFLA_IFALIAS:
		text(a, l->alias, sizeof(l->alias));
		break;
	case IFLA_ADDRESS:
		if (len == sizeof(l->mac))
			memcpy(l->mac, mnl_attr_get_payload(a), len);
		break;
	case IFLA_MASTER:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->master = mnl_attr_get_u32(a);
		break;
	case IFLA_MTU:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_LINKINFO:
		if (mnl_attr_validate(a, MNL_TYPE_NESTED) >= 0)
			(void)mnl_attr_parse_nested(a, on_linkinfo, l);
		break;
	case IFLA_STATS64:
		memcpy(&st, mnl_attr_get_payload(a), len < sizeof(st) ? len : sizeof(st));
		l->rx_bytes = st.rx_bytes;
		l->rx_packets = st.rx_packets;
		l->rx_errors = st.rx_errors;
		l->rx_dropped = st.rx_dropped;
		l->tx_bytes = st.tx_bytes;
		l->tx_packets = st.tx_packets;
		l->tx_errors = st.tx_errors;
		l->tx_dropped = st.tx_dropped;
		break;
	}
	return MNL_CB_OK;
}

static bool link_of(const struct nlmsghdr *nh, struct rtnl_link *l)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nh);

	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*ifi) || ifi->ifi_family != AF_UNSPEC)
		return false;		/* AF_BRIDGE: news about a port, not about a link */
	*l = (struct rtnl_link){ .ifindex = (uint32_t)ifi->ifi_index, .type = ifi->ifi_type, .flags = ifi->ifi_flags };
	(void)mnl_attr_parse(nh, sizeof(*ifi), on_link_attr, l);
	return true;
}

static int addr_attr(const struct nlattr *a, uint8_t family, struct in6_addr *ret)
{
	size_t len = mnl_attr_get_payload_len(a);
	uint32_t be;

	if (family == AF_INET && len == 4) {
		memcpy(&be, mnl_attr_get_payload(a), 4);
		*ret = addr_of4(ntohl(be));
		return 0;
	}
	if (family == AF_INET6 && len == 16) {
		memcpy(ret, mnl_attr_get_payload(a), 16);
		return 0;
	}
	return -EINVAL;
}

static bool addr_of(const struct nlmsghdr *nh, struct rtnl_addr *r)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nh);
	const struct nlattr *a;
	bool local = false, any = false;
	unsigned flags;

	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*ifa) || (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return false;
	*r = (struct rtnl_addr){ .ifindex = ifa->ifa_index };
	flags = ifa->ifa_flags;
	mnl_attr_for_each(a, nh, sizeof(*ifa)) {
		/* On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours. */
		if (mnl_attr_get_type(a) == IFA_LOCAL && addr_attr(a, ifa->ifa_family, &r->addr.addr) == 0)
			local = true;
		else if (mnl_attr_get_type(a) == IFA_ADDRESS && !local && addr_attr(a, ifa->ifa_family, &r->addr.addr) == 0)
			any = true;
		else if (mnl_attr_get_type(a) == IFA_FLAGS && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			flags = mnl_attr_get_u32(a);
	}
	r->addr.prefix = (uint8_t)(ifa->ifa_prefixlen + (ifa->ifa_family == AF_INET ? 96 : 0));
	r->secondary = flags & IFA_F_SECONDARY;
	return local || any;
}

/* False: not one with a mark. */
static bool rule_of(const struct nlmsghdr *nh, struct rtnl_rule *r)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nh);
	const struct nlattr *a;
	uint8_t mapped;

	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*h) || (h->family != AF_INET && h->family != AF_INET6))
		return false;
	mapped = h->family == AF_INET ? 96 : 0;
	*r = (struct rtnl_rule){ .v6 = h->family == AF_INET6, .prohibit = h->action == FR_ACT_PROHIBIT, .mask = UINT32_MAX, .table = h->table };
	mnl_attr_for_each(a, nh, sizeof(*h)) {
		uint16_t type = mnl_attr_get_type(a);

		if (type == FRA_PRIORITY && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			r->priority = mnl_attr_get_u32(a);
		else if (type == FRA_FWMARK && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			r->mark = mnl_attr_get_u32(a);
		else if (type == FRA_FWMASK && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			r->mask = mnl_attr_get_u32(a);
		else if (type == FRA_TABLE && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			r->table = mnl_attr_get_u32(a);
		else if (type == FRA_IIFNAME)
			text(a, r->iif, sizeof(r->iif));
		else if (type == FRA_DST && addr_attr(a, h->family, &r->to.addr) == 0)
			r->to.prefix = (uint8_t)(h->dst_len + mapped);
		else if (type == FRA_SRC && addr_attr(a, h->family, &r->from.addr) == 0)
			r->from.prefix = (uint8_t)(h->src_len + mapped);
	}
	if (r->prohibit || r->table == RT_TABLE_MAIN)
		r->table = 0;
	return r->mark;
}

/* One request, all its answers to fn. 0, or -errno put into e. */
static int ask(struct rtnl *r, struct nlmsghdr *nh, const char *what, void (*fn)(const struct nlmsghdr *nh, void *user), void *user, int *err,
	       struct err *e)
{
	unsigned seq = ++r->seq;

	nh->nlmsg_seq = seq;
	*err = 0;
	if (mnl_socket_sendto(r->sock, nh, nh->nlmsg_len) < 0)
		return err_errno(e, errno, "ask for %s", what);
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(r->sock, r->recv, r->recv_size);
		int left = (int)got;

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(e, errno, "read %s", what);
		}
		for (const struct nlmsghdr *m = (void *)r->recv; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
			const char *msg;

			if (m->nlmsg_seq != seq)
				continue;
			if (m->nlmsg_type == NLMSG_DONE)
				return 0;
			if (m->nlmsg_type == NLMSG_ERROR) {
				*err = rtnl_ack(m, &msg);
				return 0;
			}
			fn(m, user);
			/* An answer to a single question comes alone, then its acknowledgement. */
		}
	}
}

struct each {
	void (*link)(void *user, const struct rtnl_link *l);
	void (*addr)(void *user, const struct rtnl_addr *a);
	void (*route)(void *user, const struct net_cidr *dst, uint32_t ifindex);
	void (*rule)(void *user, const struct rtnl_rule *rule);
	void *user;
	struct rtnl_link *one;
};

static void on_one(const struct nlmsghdr *nh, void *user)
{
	struct each *x = user;

	if (nh->nlmsg_type == RTM_NEWLINK)
		(void)link_of(nh, x->one);
}

int rtnl_link_get(struct rtnl *r, const char *name, struct rtnl_link *ret, struct err *e)
{
	struct nlmsghdr *nh = mnl_nlmsg_put_header(r->buf);
	struct each x = { .one = ret };
	struct ifinfomsg *ifi;
	int err;

	*ret = (struct rtnl_link){ 0 };
	nh->nlmsg_type = RTM_GETLINK;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(nh, IFLA_IFNAME, name);
	if (ask(r, nh, name, on_one, &x, &err, e) < 0)
		return -1;
	if (err == ENODEV)
		return 0;
	if (err)
		return err_errno(e, err, "look at the link %s", name);
	return ret->ifindex ? 1 : 0;
}

static void on_link(const struct nlmsghdr *nh, void *user)
{
	struct each *x = user;
	struct rtnl_link l;

	if (nh->nlmsg_type == RTM_NEWLINK && link_of(nh, &l))
		x->link(x->user, &l);
}

static void on_addr(const struct nlmsghdr *nh, void *user)
{
	struct each *x = user;
	struct rtnl_addr a;

	if (nh->nlmsg_type == RTM_NEWADDR && addr_of(nh, &a))
		x->addr(x->user, &a);
}

static void on_route(const struct nlmsghdr *nh, void *user)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nh);
	struct each *x = user;
	struct net_cidr dst = { 0 };
	uint32_t table, oif = 0;
	const struct nlattr *a;
	bool have = false;

	if (nh->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(nh) < sizeof(*rt) || rt->rtm_flags & RTM_F_CLONED)
		return;
	table = rt->rtm_table;
	mnl_attr_for_each(a, nh, sizeof(*rt)) {
		if (mnl_attr_get_type(a) == RTA_DST)
			have = addr_attr(a, rt->rtm_family, &dst.addr) == 0;
		else if (mnl_attr_get_type(a) == RTA_TABLE && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			table = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_OIF && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			oif = mnl_attr_get_u32(a);
	}
	if (!have || table != RT_TABLE_MAIN)
		return;
	dst.prefix = (uint8_t)(rt->rtm_dst_len + (rt->rtm_family == AF_INET ? 96 : 0));
	x->route(x->user, &dst, oif);
}

static void on_rule(const struct nlmsghdr *nh, void *user)
{
	struct each *x = user;
	struct rtnl_rule rule;

	if (nh->nlmsg_type == RTM_NEWRULE && rule_of(nh, &rule))
		x->rule(x->user, &rule);
}

static int dump(struct rtnl *r, uint16_t type, size_t header, uint8_t family, const char *what, void (*fn)(const struct nlmsghdr *, void *),
		struct each *x, struct err *e)
{
	struct nlmsghdr *nh = mnl_nlmsg_put_header(r->buf);
	uint8_t *body;
	int err;

	nh->nlmsg_type = type;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	/* The family is the first byte of each of the headers. */
	body = mnl_nlmsg_put_extra_header(nh, header);
	body[0] = family;
	if (ask(r, nh, what, fn, x, &err, e) < 0)
		return -1;
	return err ? err_errno(e, err, "list %s", what) : 0;
}

int rtnl_link_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_link *l), void *user, struct err *e)
{
	struct each x = { .link = fn, .user = user };

	return dump(r, RTM_GETLINK, sizeof(struct ifinfomsg), AF_UNSPEC, "links", on_link, &x, e);
}

int rtnl_addr_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_addr *a), void *user, struct err *e)
{
	struct each x = { .addr = fn, .user = user };

	return dump(r, RTM_GETADDR, sizeof(struct ifaddrmsg), AF_UNSPEC, "addresses", on_addr, &x, e);
}

int rtnl_route_each(struct rtnl *r, void (*fn)(void *user, const struct net_cidr *dst, uint32_t ifindex), void *user, struct err *e)
{
	struct each x = { .route = fn, .user = user };

	return dump(r, RTM_GETROUTE, sizeof(struct rtmsg), AF_UNSPEC, "routes", on_route, &x, e);
}

int rtnl_rule_each(struct rtnl *r, void (*fn)(void *user, const struct rtnl_rule *rule), void *user, struct err *e)
{
	struct each x = { .rule = fn, .user = user };

	return dump(r, RTM_GETRULE, sizeof(struct fib_rule_hdr), AF_UNSPEC, "routing rules", on_rule, &x, e);
}

static void conf_news(const struct nlmsghdr *nh, const struct rtnl_news_ops *ops, void *user)
{
	const struct netconfmsg *nc = mnl_nlmsg_get_payload(nh);
	const struct nlattr *a;
	int ifindex = 0, on = -1;

	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*nc))
		return;
	mnl_attr_for_each(a, nh, sizeof(*nc)) {
		if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
			continue;
		if (mnl_attr_get_type(a) == NETCONFA_IFINDEX)
			ifindex = (int)mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == NETCONFA_FORWARDING)
			on = (int)mnl_attr_get_u32(a);
	}
	/* "default" is none of ours; those it changes follow one by one. */
	if (ifindex == NETCONFA_IFINDEX_ALL)
		ifindex = 0;
	if (ifindex >= 0 && on >= 0)
		ops->forwarding(user, nc->ncm_family, (uint32_t)ifindex, on);
}

void rtnl_news_read(struct rtnl *r, const struct rtnl_news_ops *ops, void *user)
{
	/* A turn is short: what is left makes the descriptor readable again. */
	for (int i = 0; i < 16; i++) {
		ssize_t got = mnl_socket_recvfrom(r->sock, r->recv, r->recv_size);
		int left = (int)got;

		if (got < 0) {
			if (errno == EINTR)
				continue;
			if (errno == ENOBUFS)
				ops->lost(user);
			else if (errno != EAGAIN)
				log_warn("net", "cannot read news of links: %s", strerrordesc_np(errno));
			return;
		}
		for (const struct nlmsghdr *nh = (void *)r->recv; mnl_nlmsg_ok(nh, left); nh = mnl_nlmsg_next(nh, &left)) {
			struct rtnl_link l;
			struct rtnl_addr a;
			struct rtnl_rule rule;

			if ((nh->nlmsg_type == RTM_NEWLINK || nh->nlmsg_type == RTM_DELLINK) && link_of(nh, &l))
				ops->link(user, &l, nh->nlmsg_type == RTM_DELLINK);
			else if ((nh->nlmsg_type == RTM_NEWADDR || nh->nlmsg_type == RTM_DELADDR) && addr_of(nh, &a))
				ops->addr(user, &a, nh->nlmsg_type == RTM_DELADDR);
			else if (nh->nlmsg_type == RTM_NEWNETCONF)
				conf_news(nh, ops, user);
			else if (nh->nlmsg_type == RTM_DELRULE && rule_of(nh, &rule))
				ops->rule_gone(user, &rule);
		}
	}
}
