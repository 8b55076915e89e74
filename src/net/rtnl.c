/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/rtnl_priv.h"

/*
 * Theory of operation. The kernel takes any number of messages in one datagram and carries them out in order, in the sender's context:
 * a container's interfaces are two datagrams (one in the host's namespace, one in the container's), and a kill between two messages of
 * one datagram cannot happen, so a veth without its alias is never left behind. Each message asks for an acknowledgement; answers are
 * matched by sequence number. NETLINK_EXT_ACK brings the kernel's own words for a refusal, which we pass on.
 *
 * A batch is 8 KiB: our largest (a veth with everything) is under 1 KiB and RTNL_REQS of them never come together.
 */
#define GROUP(n) (1u << ((n) - 1))		/* for those without an RTMGRP_ name */
enum { RTNL_BUF = 8192, RTNL_RECV = 32768, RTNL_MSG_MAX = 1024 };

static int sock_open(struct mnl_socket **ret, unsigned groups, int flags, struct err *e)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	int one = 1;

	if (!s)
		return err_errno(e, errno, "open an rtnetlink socket");
	if (mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(e, errno, "bind an rtnetlink socket");
		mnl_socket_close(s);
		return -1;
	}
	/* Old kernels know neither; their refusals are bare errnos then. */
	(void)mnl_socket_setsockopt(s, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(s, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = s;
	return 0;
}

int rtnl_open(struct rtnl **ret, struct err *e)
{
	struct rtnl *r = mem_zalloc(sizeof(*r));

	if (sock_open(&r->sock, 0, 0, e) < 0) {
		free(r);
		return -1;
	}
	r->buf = mem_alloc(RTNL_BUF);
	r->recv = mem_alloc(RTNL_RECV);
	r->recv_size = RTNL_RECV;
	*ret = r;
	return 0;
}

int rtnl_news_open(struct rtnl **ret, struct err *e)
{
	struct rtnl *r = mem_zalloc(sizeof(*r));
	int big = 1 << 20;

	if (sock_open(&r->sock, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | GROUP(RTNLGRP_IPV4_NETCONF) | GROUP(RTNLGRP_IPV6_NETCONF) |
		      GROUP(RTNLGRP_IPV4_RULE) | GROUP(RTNLGRP_IPV6_RULE), SOCK_NONBLOCK, e) < 0) {
		free(r);
		return -1;
	}
	/* A burst of container starts must not lose news; when it does, everything is read again. */
	(void)setsockopt(mnl_socket_get_fd(r->sock), SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	r->recv = mem_alloc(RTNL_RECV);
	r->recv_size = RTNL_RECV;
	*ret = r;
	return 0;
}

void rtnl_close(struct rtnl *r)
{
	if (!r)
		return;
	if (r->sock)
		mnl_socket_close(r->sock);
	free(r->buf);
	free(r->recv);
	free(r);
}

int rtnl_fd(const struct rtnl *r)
{
	return mnl_socket_get_fd(r->sock);
}

/* The next message of the batch; NULL (and the batch marked too long, which rtnl_run() tells) when there is no room. */
static struct nlmsghdr *begin(struct rtnl *r, uint16_t type, uint16_t flags, int ignore, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static struct nlmsghdr *begin(struct rtnl *r, uint16_t type, uint16_t flags, int ignore, const char *fmt, ...)
{
	struct rtnl_req *q;
	struct nlmsghdr *nh;
	va_list ap;

	if (r->n == RTNL_REQS || r->len + RTNL_MSG_MAX > RTNL_BUF) {
		r->overflow = true;
		return NULL;
	}
	q = &r->req[r->n++];
	q->ignore = ignore;
	va_start(ap, fmt);
	(void)vsnprintf(q->what, sizeof(q->what), fmt, ap);
	va_end(ap);
	nh = mnl_nlmsg_put_header(r->buf + r->len);
	nh->nlmsg_type = type;
	nh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	nh->nlmsg_seq = ++r->seq;
	return nh;
}

static void end(struct rtnl *r, const struct nlmsghdr *nh)
{
	r->len += MNL_ALIGN(nh->nlmsg_len);
}

static struct ifinfomsg *put_ifi(struct nlmsghdr *nh, unsigned flags)
{
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));

	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_flags = flags;
	ifi->ifi_change = flags;
	return ifi;
}

/* A request about the link called name. doing: what is done to it, up to its name. */
static struct nlmsghdr *link_begin(struct rtnl *r, uint16_t type, uint16_t flags, int ignore, unsigned ifi_flags, const char *doing, const char *name)
{
	struct nlmsghdr *nh = begin(r, type, flags, ignore, "%s %s", doing, name);

	if (!nh)
		return NULL;
	put_ifi(nh, ifi_flags);
	mnl_attr_put_strz(nh, IFLA_IFNAME, name);
	return nh;
}

/* The same for a new one; its kind is given last, with link_kind(). */
static struct nlmsghdr *link_new(struct rtnl *r, const char *doing, const char *name)
{
	return link_begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0, doing, name);
}

/* Opens IFLA_LINKINFO for a link of this kind; mnl_attr_nest_end() closes it. */
static struct nlattr *link_kind(struct nlmsghdr *nh, const char *kind)
{
	struct nlattr *info = mnl_attr_nest_start(nh, IFLA_LINKINFO);

	mnl_attr_put_strz(nh, IFLA_INFO_KIND, kind);
	return info;
}

void rtnl_veth(struct rtnl *r, const char *name, const char *peer, int peer_ns_fd, const uint8_t peer_mac[6], uint32_t mtu, uint32_t master)
{
	struct nlmsghdr *nh = begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, "create the veth pair %s - %s", name, peer);
	struct nlattr *info, *data, *pn;

	if (!nh)
		return;
	put_ifi(nh, 0);
	mnl_attr_put_strz(nh, IFLA_IFNAME, name);
	if (mtu)
		mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	if (master)
		mnl_attr_put_u32(nh, IFLA_MASTER, master);
	info = link_kind(nh, "veth");
	data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	pn = mnl_attr_nest_start(nh, VETH_INFO_PEER);
	put_ifi(nh, 0);
	mnl_attr_put_strz(nh, IFLA_IFNAME, peer);
	if (mtu)
		mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	if (peer_mac)
		mnl_attr_put(nh, IFLA_ADDRESS, 6, peer_mac);
	if (peer_ns_fd >= 0)
		mnl_attr_put_u32(nh, IFLA_NET_NS_FD, (uint32_t)peer_ns_fd);
	mnl_attr_nest_end(nh, pn);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_port_isolate(struct rtnl *r, const char *name)
{
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, 0, 0, 0, "keep apart from other ports", name);
	struct nlattr *info, *data;

	if (!nh)
		return;
	info = mnl_attr_nest_start(nh, IFLA_LINKINFO);
	mnl_attr_put_strz(nh, IFLA_INFO_SLAVE_KIND, "bridge");
	data = mnl_attr_nest_start(nh, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(nh, IFLA_BRPORT_ISOLATED, 1);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_port_up(struct rtnl *r, const char *name, const char *alias)
{
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, 0, 0, IFF_UP, "set up", name);
	struct nlattr *af, *v6;

	if (!nh)
		return;
	mnl_attr_put_strz(nh, IFLA_IFALIAS, alias);
	/* A bridge port needs no link-local address, and none of the traffic one causes. */
	af = mnl_attr_nest_start(nh, IFLA_AF_SPEC);
	v6 = mnl_attr_nest_start(nh, AF_INET6);
	mnl_attr_put_u8(nh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nh, v6);
	mnl_attr_nest_end(nh, af);
	end(r, nh);
}

void rtnl_bridge(struct rtnl *r, const char *name, const uint8_t mac[6], uint32_t mtu)
{
	struct nlmsghdr *nh = link_new(r, "create the bridge", name);
	struct nlattr *info;

	if (!nh)
		return;
	/* Given by us, or the bridge would change it with each port that comes and goes. */
	mnl_attr_put(nh, IFLA_ADDRESS, 6, mac);
	if (mtu)
		mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	info = link_kind(nh, "bridge");
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_macvlan(struct rtnl *r, const char *name, uint32_t parent, uint32_t mode, int ns_fd, const uint8_t mac[6], uint32_t mtu)
{
	struct nlmsghdr *nh = link_new(r, "create the macvlan", name);
	struct nlattr *info, *data;

	if (!nh)
		return;
	mnl_attr_put_u32(nh, IFLA_LINK, parent);
	mnl_attr_put(nh, IFLA_ADDRESS, 6, mac);
	if (mtu)
		mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nh, IFLA_NET_NS_FD, (uint32_t)ns_fd);
	info = link_kind(nh, "macvlan");
	data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	mnl_attr_put_u32(nh, IFLA_MACVLAN_MODE, mode);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_ipvlan(struct rtnl *r, const char *name, uint32_t parent, uint32_t mode, uint16_t flags, int ns_fd, uint32_t mtu)
{
	struct nlmsghdr *nh = link_new(r, "create the ipvlan", name);
	struct nlattr *info, *data;

	if (!nh)
		return;
	mnl_attr_put_u32(nh, IFLA_LINK, parent);
	if (mtu)
		mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nh, IFLA_NET_NS_FD, (uint32_t)ns_fd);
	info = link_kind(nh, "ipvlan");
	data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	mnl_attr_put_u16(nh, IFLA_IPVLAN_MODE, (uint16_t)mode);
	mnl_attr_put_u16(nh, IFLA_IPVLAN_FLAGS, flags);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

bool rtnl_has_ipvlan(struct rtnl *r)
{
	/* Without a parent it is refused by whoever knows the kind (EINVAL), and by the kernel at large (EOPNOTSUPP) when nobody does. */
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, EINVAL, 0, "ask for", "ipvlan");

	if (!nh)
		return false;
	mnl_attr_nest_end(nh, link_kind(nh, "ipvlan"));
	end(r, nh);
	return rtnl_run(r, NULL) == 0;
}

void rtnl_vlan(struct rtnl *r, const char *name, uint32_t parent, uint16_t id)
{
	struct nlmsghdr *nh = link_new(r, "create the VLAN interface", name);
	struct nlattr *info, *data;

	if (!nh)
		return;
	mnl_attr_put_u32(nh, IFLA_LINK, parent);
	info = link_kind(nh, "vlan");
	data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	mnl_attr_put_u16(nh, IFLA_VLAN_ID, id);
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_dummy(struct rtnl *r, const char *name)
{
	struct nlmsghdr *nh = link_new(r, "create the interface", name);
	struct nlattr *info;

	if (!nh)
		return;
	info = link_kind(nh, "dummy");
	mnl_attr_nest_end(nh, info);
	end(r, nh);
}

void rtnl_link_alias(struct rtnl *r, const char *name, const char *alias)
{
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, 0, 0, 0, "mark as ours", name);

	if (!nh)
		return;
	mnl_attr_put_strz(nh, IFLA_IFALIAS, alias);
	end(r, nh);
}

void rtnl_link_up(struct rtnl *r, const char *name)
{
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, 0, 0, IFF_UP, "set up", name);

	if (!nh)
		return;
	end(r, nh);
}

void rtnl_link_del(struct rtnl *r, const char *name)
{
	struct nlmsghdr *nh = link_begin(r, RTM_DELLINK, 0, ENODEV, 0, "remove", name);

	if (!nh)
		return;
	end(r, nh);
}

void rtnl_link_group(struct rtnl *r, const char *name, uint32_t group)
{
	struct nlmsghdr *nh = link_begin(r, RTM_NEWLINK, 0, ENODEV, 0, "mark for removal", name);

	if (!nh)
		return;
	mnl_attr_put_u32(nh, IFLA_GROUP, group);
	end(r, nh);
}

void rtnl_group_del(struct rtnl *r, uint32_t group)
{
	struct nlmsghdr *nh = begin(r, RTM_DELLINK, 0, ENODEV, "remove the links of group %u", group);

	if (!nh)
		return;
	put_ifi(nh, 0);
	mnl_attr_put_u32(nh, IFLA_GROUP, group);
	end(r, nh);
}

static void put_addr(struct nlmsghdr *nh, uint16_t type, const struct in6_addr *a)
{
	if (addr_is4(a))
		mnl_attr_put(nh, type, 4, &a->s6_addr[12]);
	else
		mnl_attr_put(nh, type, 16, a);
}

static void addr_change(struct rtnl *r, bool add, uint32_t ifindex, const struct net_cidr *a)
{
	char t[CIDR_TEXT];
	struct nlmsghdr *nh = begin(r, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, add ? EEXIST : EADDRNOTAVAIL,
				    "%s the address %s", add ? "add" : "remove", cidr_text(a, t));
	struct ifaddrmsg *ifa;

	if (!nh)
		return;
	ifa = mnl_nlmsg_put_extra_header(nh, sizeof(*ifa));
	ifa->ifa_family = addr_is4(&a->addr) ? AF_INET : AF_INET6;
	ifa->ifa_prefixlen = (uint8_t)cidr_len(a);
	ifa->ifa_index = ifindex;
	ifa->ifa_scope = RT_SCOPE_UNIVERSE;
	/* Ours come out of our own pools: nobody else has them, and waiting for duplicates would cost a second. */
	ifa->ifa_flags = addr_is4(&a->addr) ? 0 : IFA_F_NODAD;
	put_addr(nh, IFA_LOCAL, &a->addr);
	put_addr(nh, IFA_ADDRESS, &a->addr);
	if (add && addr_is4(&a->addr) && a->prefix < 127) {
		struct in6_addr last = cidr_last(a);

		put_addr(nh, IFA_BROADCAST, &last);
	}
	end(r, nh);
}

void rtnl_addr_add(struct rtnl *r, uint32_t ifindex, const struct net_cidr *a)
{
	addr_change(r, true, ifindex, a);
}

void rtnl_addr_del(struct rtnl *r, uint32_t ifindex, const struct net_cidr *a)
{
	addr_change(r, false, ifindex, a);
}

void rtnl_route_default(struct rtnl *r, uint32_t ifindex, bool v6, const struct in6_addr *gateway)
{
	char t[ADDR_TEXT];
	struct nlmsghdr *nh = begin(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 0, "route everything over %s",
				    gateway ? addr_text(gateway, t) : "the interface");
	struct rtmsg *rt;

	if (!nh)
		return;
	rt = mnl_nlmsg_put_extra_header(nh, sizeof(*rt));
	rt->rtm_family = v6 ? AF_INET6 : AF_INET;
	rt->rtm_table = RT_TABLE_MAIN;
	rt->rtm_protocol = RTPROT_BOOT;
	rt->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	rt->rtm_type = RTN_UNICAST;
	if (gateway)
		put_addr(nh, RTA_GATEWAY, gateway);
	mnl_attr_put_u32(nh, RTA_OIF, ifindex);
	end(r, nh);
}

void rtnl_rule(struct rtnl *r, bool add, const struct rtnl_rule *rule)
{
	char t[CIDR_TEXT];
	struct nlmsghdr *nh = begin(r, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, add ? EEXIST : ENOENT,
				    "%s the %s routing rule %u for %s%s%s", add ? "add" : "remove", rule->v6 ? "IPv6" : "IPv4", rule->priority,
				    rule->iif[0] ? rule->iif : "packets", rule->to.prefix ? " to " : "", rule->to.prefix ? cidr_text(&rule->to, t) : "");
	struct fib_rule_hdr *h;

	if (!nh)
		return;
	h = mnl_nlmsg_put_extra_header(nh, sizeof(*h));
	h->family = rule->v6 ? AF_INET6 : AF_INET;
	h->action = rule->prohibit ? FR_ACT_PROHIBIT : FR_ACT_TO_TBL;
	h->table = rule->prohibit || rule->table ? RT_TABLE_UNSPEC : RT_TABLE_MAIN;
	mnl_attr_put_u32(nh, FRA_PRIORITY, rule->priority);
	mnl_attr_put_u32(nh, FRA_FWMARK, rule->mark);
	mnl_attr_put_u32(nh, FRA_FWMASK, rule->mask);
	if (rule->table)
		mnl_attr_put_u32(nh, FRA_TABLE, rule->table);
	if (rule->proto)
		mnl_attr_put_u8(nh, FRA_IP_PROTO, rule->proto);
	if (rule->iif[0])
		mnl_attr_put_strz(nh, FRA_IIFNAME, rule->iif);
	if (rule->to.prefix) {
		h->dst_len = (uint8_t)cidr_len(&rule->to);
		put_addr(nh, FRA_DST, &rule->to.addr);
	}
	if (rule->from.prefix) {
		h->src_len = (uint8_t)cidr_len(&rule->from);
		put_addr(nh, FRA_SRC, &rule->from.addr);
	}
	end(r, nh);
}

void rtnl_rules_del(struct rtnl *r, const struct rtnl_rule *rule, size_t n)
{
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++) {
		rtnl_rule(r, false, &rule[i]);
		if (rtnl_run(r, &e) < 0)
			log_warn("net", "a routing rule of an earlier run stays: %s", e.msg);
	}
}

void rtnl_route_all_local(struct rtnl *r, bool v6, bool add, uint32_t table)
{
	struct nlmsghdr *nh = begin(r, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, add ? EEXIST : ESRCH,
				    "%s the %s route of table %u", add ? "add" : "remove", v6 ? "IPv6" : "IPv4", table);
	struct rtmsg *rt;

	if (!nh)
		return;
	rt = mnl_nlmsg_put_extra_header(nh, sizeof(*rt));
	rt->rtm_family = v6 ? AF_INET6 : AF_INET;
	rt->rtm_protocol = RTPROT_BOOT;
	rt->rtm_scope = v6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST;
	rt->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(nh, RTA_TABLE, table);
	mnl_attr_put_u32(nh, RTA_OIF, 1);		/* loopback's index in every network namespace */
	end(r, nh);
}

void rtnl_route_source(struct rtnl *r, bool add, const struct net_cidr *subnet, uint32_t ifindex, const struct in6_addr *source, uint32_t table)
{
	char t[CIDR_TEXT];
	struct nlmsghdr *nh = begin(r, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, add ? 0 : ESRCH, "%s the route of table %u to %s",
				    add ? "add" : "remove", table, cidr_text(subnet, t));
	struct net_cidr base = cidr_base(subnet);
	struct rtmsg *rt;

	if (!nh)
		return;
	rt = mnl_nlmsg_put_extra_header(nh, sizeof(*rt));
	rt->rtm_family = addr_is4(&base.addr) ? AF_INET : AF_INET6;
	rt->rtm_dst_len = (uint8_t)cidr_len(&base);
	rt->rtm_protocol = RTPROT_BOOT;
	rt->rtm_scope = RT_SCOPE_LINK;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nh, RTA_TABLE, table);
	put_addr(nh, RTA_DST, &base.addr);
	mnl_attr_put_u32(nh, RTA_OIF, ifindex);
	if (add)
		put_addr(nh, RTA_PREFSRC, source);
	end(r, nh);
}

void rtnl_neigh_set(struct rtnl *r, uint32_t ifindex, const struct in6_addr *a, const uint8_t mac[6])
{
	char t[ADDR_TEXT];
	struct nlmsghdr *nh = begin(r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0, "tell the neighbour %s", addr_text(a, t));
	struct ndmsg *nd;

	if (!nh)
		return;
	nd = mnl_nlmsg_put_extra_header(nh, sizeof(*nd));
	nd->ndm_family = addr_is4(a) ? AF_INET : AF_INET6;
	nd->ndm_ifindex = (int)ifindex;
	nd->ndm_state = NUD_REACHABLE;
	put_addr(nh, NDA_DST, a);
	mnl_attr_put(nh, NDA_LLADDR, 6, mac);
	end(r, nh);
}

static int on_ext_ack(const struct nlattr *a, void *user)
{
	const char **msg = user;

	if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		*msg = mnl_attr_get_str(a);
	return MNL_CB_OK;
}

/* The errno of an acknowledgement, and the kernel's sentence when it sent one. */
int rtnl_ack(const struct nlmsghdr *nh, const char **msg)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nh);
	size_t skip = sizeof(*err);

	*msg = NULL;
	if (mnl_nlmsg_get_payload_len(nh) < sizeof(*err))
		return EBADMSG;
	if (nh->nlmsg_flags & NLM_F_ACK_TLVS) {
		if (!(nh->nlmsg_flags & NLM_F_CAPPED)) {
			if (err->msg.nlmsg_len < sizeof(struct nlmsghdr) || err->msg.nlmsg_len > mnl_nlmsg_get_payload_len(nh))
				return -err->error;
			skip += err->msg.nlmsg_len - sizeof(struct nlmsghdr);
		}
		if (skip <= mnl_nlmsg_get_payload_len(nh))
			(void)mnl_attr_parse(nh, (unsigned)skip, on_ext_ack, msg);
	}
	return -err->error;
}

int rtnl_run(struct rtnl *r, struct err *e)
{
	unsigned first = r->seq - r->n + 1, n = r->n, answered = 0;
	int rc = 0;
	size_t len = r->len;

	r->n = 0;
	r->len = 0;
	if (TAKE_FLAG(r->overflow))
		return err_set(e, ERR_INTERNAL, "too many rtnetlink requests in one batch");
	if (!n)
		return 0;
	if (mnl_socket_sendto(r->sock, r->buf, len) < 0)
		return err_errno(e, errno, "send %u rtnetlink requests", n);
	while (answered < n) {
		ssize_t got = mnl_socket_recvfrom(r->sock, r->recv, r->recv_size);
		int left = (int)got;

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(e, errno, "read rtnetlink's answers");
		}
		for (const struct nlmsghdr *nh = (void *)r->recv; mnl_nlmsg_ok(nh, left); nh = mnl_nlmsg_next(nh, &left)) {
			const char *msg;
			struct rtnl_req *q;
			int err;

			if (nh->nlmsg_type != NLMSG_ERROR || nh->nlmsg_seq - first >= n)
				continue;
			answered++;
			q = &r->req[nh->nlmsg_seq - first];
			err = rtnl_ack(nh, &msg);
			if (!err || err == q->ignore || rc < 0)
				continue;
			rc = msg ? err_errno(e, err, "%s: %s", q->what, msg) : err_errno(e, err, "%s", q->what);
		}
	}
	return rc;
}
