/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/sandbox.h"

/*
 * Theory of operation. An address that had another MAC address before is known by that one to the machines of its segment, for minutes. So a new endpoint
 * says whose it is now, unasked: an ARP announcement (RFC 5227 2.3) and a neighbour advertisement (RFC 4861 7.2.6), as often as its network's option says, a
 * pause apart. Where nothing is said that is three times, a second apart, on networks that reach further than this host: macvlan, ipvlan on layer 2,
 * bridges of the user's own. On a bridge of ours the kernel's own word is enough, once and over IPv4 (arp_notify, netns.c): a MAC address follows from its
 * IPv4 address there, and the host is told what it needs. Where ours are on the kernel's is off.
 *
 * Each message is a worker's job, with a socket opened and closed in the namespace: closing one of these waits for the kernel's readers, and nobody waits for
 * it here. A namespace, interface or MAC address that is gone ends the series. Nothing of it outlives the engine: at its next start everybody has heard.
 */
struct advert {
	struct work w;
	struct net *n;
	struct loop_timer *timer;
	char *path;			/* of the namespace */
	char ifname[IF_NAMESIZE];
	bool any_mac;			/* the interface has its parent's */
	uint8_t mac[6];
	bool has4, has6;
	struct in6_addr addr4, addr6;
	unsigned left;
	uint32_t pause_ms;
	int rc;
	struct advert *next;
};

static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, all_nodes_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
static const struct in6_addr all_nodes = { .s6_addr = { 0xff, 2, [15] = 1 } };

struct arp_frame {
	struct ether_header eth;
	struct ether_arp arp;
} __attribute__((packed));

struct na_frame {
	struct ether_header eth;
	struct ip6_hdr ip;
	struct nd_neighbor_advert na;
	struct nd_opt_hdr opt;
	uint8_t mac[6];
} __attribute__((packed));

static void ether(struct ether_header *h, const uint8_t to[6], const uint8_t from[6], uint16_t type)
{
	memcpy(h->ether_dhost, to, 6);
	memcpy(h->ether_shost, from, 6);
	h->ether_type = htons(type);
}

static void make_arp(const struct advert *a, struct arp_frame *f)
{
	*f = (struct arp_frame){ .arp.ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP), .ar_hln = 6, .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST) } };
	ether(&f->eth, everybody, a->mac, ETHERTYPE_ARP);
	memcpy(f->arp.arp_sha, a->mac, 6);
	memcpy(f->arp.arp_spa, &a->addr4.s6_addr[12], 4);
	memcpy(f->arp.arp_tpa, &a->addr4.s6_addr[12], 4);
}

static uint32_t sum16(uint32_t sum, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)((const uint8_t *)p)[i] << 8 | ((const uint8_t *)p)[i + 1];
	return sum;
}

static void make_na(const struct advert *a, struct na_frame *f)
{
	const uint16_t len = sizeof(*f) - offsetof(struct na_frame, na);
	uint32_t sum;

	*f = (struct na_frame){ .opt = { .nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1 } };
	ether(&f->eth, all_nodes_mac, a->mac, ETHERTYPE_IPV6);
	f->ip.ip6_vfc = 6 << 4;
	f->ip.ip6_plen = htons(len);
	f->ip.ip6_nxt = IPPROTO_ICMPV6;
	f->ip.ip6_hlim = 255;		/* RFC 4861 7.1.2: else it is not from this link */
	f->ip.ip6_src = a->addr6;
	f->ip.ip6_dst = all_nodes;
	f->na.nd_na_type = ND_NEIGHBOR_ADVERT;
	f->na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	f->na.nd_na_target = a->addr6;
	memcpy(f->mac, a->mac, 6);
	sum = sum16(sum16(sum16((uint32_t)IPPROTO_ICMPV6 + len, &a->addr6, 16), &all_nodes, 16), &f->na, len);
	sum = (sum & 0xffff) + (sum >> 16);
	f->na.nd_na_cksum = htons((uint16_t)~(sum + (sum >> 16)));
}

static int send_frame(int fd, unsigned ifindex, const void *p, size_t n)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex, .sll_halen = 6 };

	return sendto(fd, p, n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int say(void *arg, struct err *e)
{
	struct advert *a = arg;
	CLEANUP(fd_closep) int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);	/* protocol 0: it hears nothing */
	struct ifreq ifr = { 0 };
	struct arp_frame arp;
	struct na_frame na;
	unsigned ifindex;

	if (fd < 0)
		return err_errno(e, errno, "open a packet socket");
	ifindex = if_nametoindex(a->ifname);
	memcpy(ifr.ifr_name, a->ifname, IF_NAMESIZE);
	if (!ifindex || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return err_errno(e, errno, "find the interface %s", a->ifname);
	if (a->any_mac)
		memcpy(a->mac, ifr.ifr_hwaddr.sa_data, 6);
	else if (memcmp(a->mac, ifr.ifr_hwaddr.sa_data, 6))
		return err_set(e, ERR_NOT_FOUND, "%s has another MAC address now", a->ifname);
	if (a->has4) {
		make_arp(a, &arp);
		a->rc = send_frame(fd, ifindex, &arp, sizeof(arp));
	}
	if (a->has6) {
		make_na(a, &na);
		a->rc = send_frame(fd, ifindex, &na, sizeof(na));
	}
	return a->rc < 0 ? err_errno(e, -a->rc, "send to %s", a->ifname) : 0;
}

static void advert_run(struct work *w)
{
	struct advert *a = CONTAINER_OF(w, struct advert, w);
	struct err e = { 0 };

	a->rc = netns_visit(a->path, say, a, &e);
	if (a->rc < 0)
		log_debug("net", "%s: no more announcements of its address: %s", a->path, e.msg);
}

static void advert_free(struct advert *a)
{
	for (struct advert **at = &a->n->adverts; *at; at = &(*at)->next)
		if (*at == a) {
			*at = a->next;
			break;
		}
	loop_timer_free(a->timer);
	free(a->path);
	free(a);
}

static void advert_done(struct work *w)
{
	struct advert *a = CONTAINER_OF(w, struct advert, w);

	if (a->rc < 0 || --a->left == 0 || a->n->stopping)
		advert_free(a);
	else
		loop_timer_set(a->timer, (int64_t)a->pause_ms * 1000000);
}

static void advert_next(void *user)
{
	struct advert *a = user;

	a->w = (struct work){ .run = advert_run, .done = advert_done };
	work_start(a->n->pool, &a->w);
}

static unsigned times(const struct network *nw)
{
	if (nw->adverts >= 0)
		return (unsigned)nw->adverts;
	return network_on_parent(nw) || nw->foreign ? NET_ADVERTS : 0;
}

static int write_quiet(void *arg, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("/proc/sys/net/ipv4/conf/%s/arp_notify", (const char *)arg);
	int rc = file_put_at(AT_FDCWD, path, "0");

	return rc < 0 ? err_errno(e, -rc, "write to %s", path) : 0;
}

int endpoint_quiet(const struct endpoint *ep, int ns, struct err *e)
{
	return ep->nw->adverts < 0 && !times(ep->nw) ? 0 : netns_do(ns, write_quiet, (void *)ep->ifname, e);
}

void endpoint_advertise(const struct sandbox *s, const struct endpoint *ep)
{
	struct advert *a;

	if (!endpoint_has_link(ep) || !s->path || network_is_l3(ep->nw) || !times(ep->nw) || (!ep->has4 && !ep->has6))
		return;
	a = mem_zalloc(sizeof(*a));
	*a = (struct advert){ .n = ep->n, .path = mem_strdup(s->path), .any_mac = ep->nw->driver == DRIVER_IPVLAN, .has4 = ep->has4, .has6 = ep->has6, .addr4 = ep->addr4,
			      .addr6 = ep->addr6, .left = times(ep->nw), .pause_ms = ep->nw->advert_ms, .next = ep->n->adverts };
	memcpy(a->ifname, ep->ifname, sizeof(a->ifname));
	memcpy(a->mac, ep->mac, 6);
	a->timer = loop_timer_new(a->n->loop, advert_next, a);
	a->n->adverts = a;
	advert_next(a);
}

void adverts_free(struct net *n)
{
	while (n->adverts)
		advert_free(n->adverts);
}
