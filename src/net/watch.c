/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net_priv.h"

/*
 * Theory of operation. The data path has to sit on every way out of the host and has to know the host's own addresses. Both are read once at
 * start and then followed by news from the kernel; when news were lost, everything is read again and what was not seen is taken out. We
 * remember what the data path was told, so that it hears of differences only.
 *
 * An uplink is an interface of ours that is not loopback, not one of our bridges, not a container's veth, and not a port of something else:
 * packets of a bond's or bridge's ports come by again at the bond or bridge itself.
 */
struct known_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
	bool seen;
};

struct known_addr {
	struct in6_addr addr;
	uint32_t ifindex;
	bool seen;
};

struct watch {
	struct net *n;
	struct rtnl *news;
	struct loop_io *io;
	struct known_link *link;
	size_t n_links;
	struct known_addr *addr;
	size_t n_addrs;
};

bool net_veth_name(const char *name)
{
	if (!str_starts(name, "kv") || strlen(name) != 12)
		return false;
	for (const char *s = name + 2; *s; s++)
		if (!isxdigit((unsigned char)*s))
			return false;
	return true;
}

static bool is_uplink(const struct net *n, const struct rtnl_link *l)
{
	struct network *nw;
	size_t it = 0;

	if (l->flags & IFF_LOOPBACK || l->master || net_veth_name(l->name) || str_starts(l->alias, "kedge:"))
		return false;
	while ((nw = map_next(n->networks, &it, NULL)))
		if ((nw->ifindex == l->ifindex && nw->driver == DRIVER_BRIDGE) || (nw->bridge[0] && str_eq(nw->bridge, l->name)))
			return false;
	return true;
}

static void trust(const struct net *n, const struct network *nw, const struct known_link *k, bool on)
{
	struct err e = { 0 };

	if (n->ops->trust_set && nw->trusted && nw->ifindex && !nw->going && strv_has(nw->trusted, k->name) &&
	    n->ops->trust_set(n->dp, nw->ifindex, k->ifindex, on, &e) < 0)
		log_warn("net", "network %s: the interface %s is not trusted: %s", nw->name, k->name, e.msg);
}

void watch_trust(struct watch *w, const struct network *nw)
{
	for (size_t i = 0; w && i < w->n_links; i++)
		trust(w->n, nw, &w->link[i], true);
}

static void trust_all(const struct net *n, const struct known_link *k, bool on)
{
	struct network *nw;
	size_t it = 0;

	while ((nw = map_next(n->networks, &it, NULL)))
		trust(n, nw, k, on);
}

/* Of an uplink that is known: whom networks trust goes by its name. */
static void link_again(struct watch *w, struct known_link *k, const char *name)
{
	k->seen = true;
	if (str_eq(k->name, name))
		return;
	trust_all(w->n, k, false);
	memcpy(k->name, name, sizeof(k->name));
	trust_all(w->n, k, true);
}

static void link_set(struct watch *w, const struct rtnl_link *l)
{
	struct dp_uplink u = { .ifindex = l->ifindex, .ethernet = l->type == ARPHRD_ETHER, .kind = l->kind };
	struct known_link *k = NULL;
	struct err e = { 0 };

	memcpy(u.mac, l->mac, sizeof(u.mac));
	for (size_t i = 0; i < w->n_links && !k; i++)
		if (w->link[i].ifindex == l->ifindex)
			k = &w->link[i];
	if (k)
		link_again(w, k, l->name);
	if (k && !memcmp(k->mac, l->mac, sizeof(k->mac)))
		return;
	if (w->n->ops->uplink_set(w->n->dp, &u, &e) < 0) {
		log_warn("net", "the data path does not serve the interface %s: %s", l->name, e.msg);
		return;
	}
	if (k) {
		memcpy(k->mac, l->mac, sizeof(k->mac));
		return;
	}
	if (w->n->ops->uplink_forwarding && w->n->ip_forward)
		forwarding_uplink(w->n, l->ifindex, l->name);
	log_debug("net", "uplink %s", l->name);
	w->link = mem_realloc(w->link, (w->n_links + 1) * sizeof(*w->link));
	w->link[w->n_links] = (struct known_link){ .ifindex = l->ifindex, .seen = true };
	memcpy(w->link[w->n_links].name, l->name, sizeof(w->link->name));
	memcpy(w->link[w->n_links].mac, l->mac, sizeof(l->mac));
	trust_all(w->n, &w->link[w->n_links++], true);
}

static void link_del(struct watch *w, uint32_t ifindex)
{
	for (size_t i = 0; i < w->n_links; i++)
		if (w->link[i].ifindex == ifindex) {
			trust_all(w->n, &w->link[i], false);
			(void)w->n->ops->uplink_del(w->n->dp, ifindex);
			w->link[i] = w->link[--w->n_links];
			return;
		}
}

static void on_link(void *user, const struct rtnl_link *l, bool gone)
{
	struct watch *w = user;

	if (gone || !is_uplink(w->n, l))
		link_del(w, l->ifindex);
	else
		link_set(w, l);
}

static void on_addr(void *user, const struct rtnl_addr *a, bool gone)
{
	struct watch *w = user;
	struct err e = { 0 };
	char t[ADDR_TEXT];

	for (size_t i = 0; i < w->n_addrs; i++) {
		struct known_addr *k = &w->addr[i];

		if (k->ifindex != a->ifindex || !addr_eq(&k->addr, &a->addr.addr))
			continue;
		k->seen = true;
		if (gone) {
			(void)w->n->ops->addr_del(w->n->dp, &k->addr, k->ifindex);
			*k = w->addr[--w->n_addrs];
			sctp_source_refresh(w->n);
		}
		return;
	}
	if (gone)
		return;
	if (w->n->ops->addr_set(w->n->dp, &a->addr.addr, a->ifindex, &e) < 0) {
		log_warn("net", "the data path does not take the host's address %s: %s", addr_text(&a->addr.addr, t), e.msg);
		return;
	}
	w->addr = mem_realloc(w->addr, (w->n_addrs + 1) * sizeof(*w->addr));
	w->addr[w->n_addrs++] = (struct known_addr){ .addr = a->addr.addr, .ifindex = a->ifindex, .seen = true };
	sctp_source_refresh(w->n);
}

static void uplinks_forward(const struct watch *w)
{
	for (size_t i = 0; i < w->n_links && w->n->ops->uplink_forwarding && w->n->ip_forward; i++)
		forwarding_uplink(w->n, w->link[i].ifindex, w->link[i].name);
}

/* "net.ipv4.ip_forward" and its kin set every interface. Bridges are ours; uplinks are looked after where the data path routes. */
static void on_forwarding(void *user, int family, uint32_t ifindex, bool on)
{
	struct watch *w = user;
	struct network *nw;
	size_t it = 0;

	if (!ifindex) {
		forwarding_switched(w->n, family, on);
		uplinks_forward(w);
		return;
	}
	if (on == w->n->ops->forwarding)
		return;
	for (size_t i = 0; i < w->n_links && w->n->ops->uplink_forwarding && w->n->ip_forward; i++) {
		char name[IF_NAMESIZE];

		if (w->link[i].ifindex == ifindex && if_indextoname(ifindex, name)) {
			log_info("net", "forwarding on %s was switched off by somebody, switching it back: containers are reached through it", name);
			forwarding_ensure(w->n, name);
		}
	}
	while ((nw = map_next(w->n->networks, &it, NULL)))
		if (nw->ifindex == ifindex && nw->driver == DRIVER_BRIDGE) {
			log_info("net", "forwarding on %s was switched %s by somebody, switching it back", nw->bridge, on ? "on" : "off");
			forwarding_ensure(w->n, nw->bridge);
		}
}

static void on_rule_gone(void *user, const struct rtnl_rule *rule)
{
	struct watch *w = user;

	isolation_lost(w->n, rule);
	guard_lost(w->n, rule);
}

static bool is_known(const struct watch *w, uint32_t ifindex)
{
	for (size_t i = 0; i < w->n_links; i++)
		if (w->link[i].ifindex == ifindex)
			return true;
	return false;
}

bool watch_uplink(const struct watch *w, bool v6, const struct in6_addr *want, uint32_t *ifindex, struct in6_addr *addr)
{
	for (size_t i = 0; i < w->n_addrs; i++) {
		const struct known_addr *k = &w->addr[i];

		if (addr_is4(&k->addr) == v6 || IN6_IS_ADDR_LINKLOCAL(&k->addr) || (want && !addr_eq(want, &k->addr)) || !is_known(w, k->ifindex))
			continue;
		*ifindex = k->ifindex;
		*addr = k->addr;
		return true;
	}
	return false;
}

/* As SCTP has it: loopback and link addresses and the ranges of RFC 1918 and RFC 2544 are not public. */
bool watch_public4(const struct watch *w, struct in6_addr *ret)
{
	static const struct { uint32_t base; unsigned len; } others[] = {
		{ 0x0a000000, 8 }, { 0x7f000000, 8 }, { 0xa9fe0000, 16 }, { 0xac100000, 12 }, { 0xc0a80000, 16 }, { 0xc6120000, 15 },
	};

	for (size_t i = 0; i < w->n_addrs; i++) {
		uint32_t a = addr_is4(&w->addr[i].addr) ? addr_to4(&w->addr[i].addr) : 0;
		bool other = !a;

		for (size_t k = 0; k < N(others); k++)
			other |= (a ^ others[k].base) >> (32 - others[k].len) == 0;
		if (!other) {
			*ret = w->addr[i].addr;
			return true;
		}
	}
	return false;
}

static void see_link(void *user, const struct rtnl_link *l)
{
	on_link(user, l, false);
}

static void see_addr(void *user, const struct rtnl_addr *a)
{
	on_addr(user, a, false);
}

static int look(struct watch *w, struct err *e)
{
	for (size_t i = 0; i < w->n_links; i++)
		w->link[i].seen = false;
	for (size_t i = 0; i < w->n_addrs; i++)
		w->addr[i].seen = false;
	if (rtnl_link_each(w->n->rtnl, see_link, w, e) < 0 || rtnl_addr_each(w->n->rtnl, see_addr, w, e) < 0)
		return -1;
	for (size_t i = 0; i < w->n_links;)
		if (w->link[i].seen)
			i++;
		else
			link_del(w, w->link[i].ifindex);
	for (size_t i = 0; i < w->n_addrs;) {
		struct known_addr k = w->addr[i];

		if (k.seen) {
			i++;
			continue;
		}
		(void)w->n->ops->addr_del(w->n->dp, &k.addr, k.ifindex);
		w->addr[i] = w->addr[--w->n_addrs];
	}
	return 0;
}

static void on_lost(void *user)
{
	struct watch *w = user;
	struct err e = { 0 };
	struct network *nw;
	size_t it = 0;

	log_debug("net", "news of links were lost, looking at all of them");
	while ((nw = map_next(w->n->networks, &it, NULL)))
		if (nw->ifindex && nw->driver == DRIVER_BRIDGE)
			forwarding_ensure(w->n, nw->bridge);
	uplinks_forward(w);
	isolation_lost(w->n, NULL);
	guard_lost(w->n, NULL);
	if (look(w, &e) < 0)
		log_warn("net", "cannot look at the host's links: %s", e.msg);
}

static void on_news(void *user, unsigned events)
{
	static const struct rtnl_news_ops ops = { .link = on_link, .addr = on_addr, .forwarding = on_forwarding, .rule_gone = on_rule_gone,
						  .lost = on_lost };
	struct watch *w = user;

	(void)events;
	rtnl_news_read(w->news, &ops, w);
}

struct watch *watch_new(struct net *n, struct err *e)
{
	struct watch *w = mem_zalloc(sizeof(*w));

	w->n = n;
	/* Listening first, then looking: nothing falls between. */
	if (rtnl_news_open(&w->news, e) < 0 || look(w, e) < 0) {
		watch_free(w);
		return NULL;
	}
	w->io = loop_io_new(n->loop, rtnl_fd(w->news), LOOP_READ, on_news, w);
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	loop_io_free(w->io);
	rtnl_close(w->news);
	free(w->link);
	free(w->addr);
	free(w);
}
