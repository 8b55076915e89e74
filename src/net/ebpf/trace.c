/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet's way: a packet that we make is put through the very programs that are attached, over the very tables (BPF_PROG_TEST_RUN), and what became of
 * it is told. It is not sent. Its flow is forgotten again; the counters keep it, as any packet.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/ebpf/ebpf_priv.h"

enum { ROOM = 2048, TTL = 64 };

struct probe {
	uint8_t proto, ttl;
	struct in6_addr src, dst;
	uint16_t sport, dport;
};

static bool is6(const struct probe *p)
{
	return !IN6_IS_ADDR_V4MAPPED(&p->dst);
}

static uint32_t sum(uint32_t s, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

/* CRC32c, RFC 9260, appendix A. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t c = ~0u;

	for (size_t i = 0; i < n; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (0x82f63b78u & -(c & 1));
	}
	return ~c;
}

/* INIT and INIT ACK have the same beginning: tag, window, streams out and in, first number. The answer's cookie is left out: nobody keeps it. */
static size_t sctp(const struct probe *p, bool reply, uint8_t *out)
{
	const uint16_t head[] = { htons(p->sport), htons(p->dport), 0, htons(reply) };
	const uint8_t chunk[] = { reply ? 2 : 1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1 };
	size_t n = 12 + sizeof(chunk);
	uint32_t crc;

	memset(out, 0, n);
	memcpy(out, head, sizeof(head));
	memcpy(out + 12, chunk, sizeof(chunk));
	crc = htole32(crc32c(out, n));
	memcpy(out + 8, &crc, sizeof(crc));
	return n;
}

/* A SYN (reply: SYN-ACK), an INIT (INIT ACK), or a datagram without payload. */
static size_t make(const struct probe *p, bool reply, const uint8_t dst_mac[6], uint8_t *out)
{
	bool v6 = is6(p);
	struct ether_header eth = { .ether_type = htons(v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP) };
	size_t hl = v6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr), l4 = sizeof(eth) + hl, from = v6 ? 0 : 12;
	size_t n = p->proto == IPPROTO_TCP ? sizeof(struct tcphdr) : p->proto == IPPROTO_SCTP ? 32 : sizeof(struct udphdr), csum;
	uint32_t s;

	memset(out, 0, l4 + n);
	memcpy(eth.ether_dhost, dst_mac, 6);
	memcpy(out, &eth, sizeof(eth));
	if (v6) {
		struct ip6_hdr ip = { .ip6_src = p->src, .ip6_dst = p->dst };

		ip.ip6_flow = htonl(6u << 28);
		ip.ip6_plen = htons((uint16_t)n);
		ip.ip6_nxt = p->proto;
		ip.ip6_hlim = TTL;
		memcpy(out + sizeof(eth), &ip, sizeof(ip));
	} else {
		struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = htons((uint16_t)(hl + n)), .frag_off = htons(0x4000), .ttl = TTL, .protocol = p->proto };

		memcpy(&ip.saddr, p->src.s6_addr + 12, 4);
		memcpy(&ip.daddr, p->dst.s6_addr + 12, 4);
		ip.check = fold(sum(0, &ip, sizeof(ip)));
		memcpy(out + sizeof(eth), &ip, sizeof(ip));
	}
	if (p->proto == IPPROTO_SCTP)
		return l4 + sctp(p, reply, out + l4);
	if (p->proto == IPPROTO_TCP) {
		struct tcphdr th = { .source = htons(p->sport), .dest = htons(p->dport), .doff = 5, .syn = 1, .ack = reply, .window = htons(64240) };

		memcpy(out + l4, &th, sizeof(th));
		csum = l4 + offsetof(struct tcphdr, check);
	} else {
		struct udphdr uh = { .source = htons(p->sport), .dest = htons(p->dport), .len = htons((uint16_t)n) };

		memcpy(out + l4, &uh, sizeof(uh));
		csum = l4 + offsetof(struct udphdr, check);
	}
	s = sum(sum(0, p->src.s6_addr + from, 16 - from), p->dst.s6_addr + from, 16 - from) + p->proto + (uint32_t)n;
	s = fold(sum(s, out + l4, n));
	memcpy(out + csum, &(uint16_t){ (uint16_t)s }, 2);
	return l4 + n;
}

static void read_back(const uint8_t *in, bool v6, struct probe *p)
{
	const uint8_t *ip = in + sizeof(struct ether_header), *l4 = ip + (v6 ? 40 : 20);

	if (v6) {
		p->proto = ip[6];
		p->ttl = ip[7];
		memcpy(&p->src, ip + 8, 16);
		memcpy(&p->dst, ip + 24, 16);
	} else {
		uint32_t a, b;

		memcpy(&a, ip + 12, 4);
		memcpy(&b, ip + 16, 4);
		p->proto = ip[9];
		p->ttl = ip[8];
		p->src = addr_of4(ntohl(a));
		p->dst = addr_of4(ntohl(b));
	}
	p->sport = (uint16_t)(l4[0] << 8 | l4[1]);
	p->dport = (uint16_t)(l4[2] << 8 | l4[3]);
}

static void text_of(const struct probe *p, char *out, size_t size)
{
	char s[ADDR_TEXT], d[ADDR_TEXT];
	const char *o = is6(p) ? "[" : "", *c = is6(p) ? "]" : "";

	(void)snprintf(out, size, "%s%s%s:%u > %s%s%s:%u %s", o, addr_text(&p->src, s), c, p->sport, o, addr_text(&p->dst, d), c, p->dport,
		       proto_text(p->proto));
}

/* ---- the story ---- */

struct story {
	struct datapath *d;
	json_t *steps;
	char reason[32];		/* of the drop */
	struct probe now;
};

static void tell(struct story *s, const char *hook, const char *interface, const struct probe *p, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void tell(struct story *s, const char *hook, const char *interface, const struct probe *p, const char *fmt, ...)
{
	char text[256], packet[160] = "";
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p)
		text_of(p, packet, sizeof(packet));
	json_array_append_new(s->steps, json_pack("{s:s, s:s, s:s, s:s}", "Hook", hook, "Interface", interface, "Packet", packet, "Text", text));
}

static uint64_t drops_of(struct datapath *d, uint32_t reason)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *v = mem_zalloc((size_t)(cpus > 0 ? cpus : 1) * sizeof(*v)), n = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.drops), &reason, v) == 0)
		for (int i = 0; i < cpus; i++)
			n += v[i];
	free(v);
	return n;
}

static void forget(struct datapath *d, const struct probe *p)
{
	struct kedge_tuple t = { .saddr = to_addr(&p->src), .daddr = to_addr(&p->dst), .sport = htons(p->sport), .dport = htons(p->dport), .proto = p->proto };
	struct kedge_tuple peer;
	struct kedge_ct c;

	if (ct_lookup(d, &t, &c) < 0)
		return;
	ct_peer_of(&t, &c, &peer);
	ct_delete(d, &t);
	ct_delete(d, &peer);
}

static int mac_of(const char *name, uint8_t mac[6])
{
	int fd CLEANUP(fd_closep) = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &r) < 0)
		return -errno;
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	return 0;
}

/* The verdict; a drop's reason is in s->reason then. */
static int put(struct story *s, int prog, struct bpf_test_run_opts *o, uint32_t drop, const char *name, struct err *e)
{
	uint64_t before[KEDGE_DROP_COUNT];
	int r;

	for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++)
		before[i] = drops_of(s->d, i);
	r = bpf_prog_test_run_opts(prog, o);
	if (r < 0)
		return err_errno(e, -r, "put a packet through the program at %s", name);
	if (o->retval == drop)
		/* Somebody else's drop in the same moment may be taken for ours; the packet was dropped in any case. */
		for (uint32_t i = 0; i < KEDGE_DROP_COUNT; i++)
			if (drops_of(s->d, i) != before[i])
				(void)snprintf(s->reason, sizeof(s->reason), "%s", drop_reason(i));
	return (int)o->retval;
}

/* The verdict; what came out is in s->now then. */
static int run(struct story *s, const struct bpf_program *prog, uint32_t ifindex, const char *name, bool reply, struct err *e)
{
	static uint8_t in[ROOM], out[ROOM];
	struct __sk_buff ctx = { .ifindex = ifindex, .ingress_ifindex = ifindex };
	uint8_t mac[6] = { 0 };
	bool v6 = is6(&s->now);
	int r;

	(void)mac_of(name, mac);
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = (uint32_t)make(&s->now, reply, mac, in), .data_out = out, .data_size_out = sizeof(out),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	r = put(s, bpf_program__fd(prog), &o, TC_ACT_SHOT, name, e);
	if (r >= 0 || r == TC_ACT_UNSPEC)
		read_back(out, v6, &s->now);
	return r;
}

/* Before the kernel has made anything of it. 1 dropped, 0 not, -1 with e. */
static int refused(struct story *s, int prog, uint32_t ifindex, const char *name, struct err *e)
{
	static uint8_t in[ROOM], out[ROOM];
	struct xdp_md ctx = { .ingress_ifindex = ifindex };
	uint8_t mac[6] = { 0 };
	int r;

	(void)mac_of(name, mac);
	ctx.data_end = (uint32_t)make(&s->now, false, mac, in);
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = ctx.data_end, .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	r = put(s, prog, &o, XDP_DROP, name, e);
	return r < 0 ? -1 : r == XDP_DROP;
}

static bool out_of(struct datapath *d, const struct in6_addr *container, struct kedge_endpoint *ep, char name[IF_NAMESIZE])
{
	struct kedge_addr k = to_addr(container);

	if (bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.endpoints), &k, ep) < 0)
		return false;
	if (!if_indextoname(ep->host_ifindex, name))
		(void)snprintf(name, IF_NAMESIZE, "%u", ep->host_ifindex);
	return true;
}

static bool is_local(struct datapath *d, const struct in6_addr *addr)
{
	struct kedge_addr k = to_addr(addr);
	uint32_t ifindex;

	return bpf_map_lookup_elem(bpf_map__fd(d->dp->maps.locals), &k, &ifindex) == 0;
}

static const char *ending(struct story *s, int verdict, const char *hook, const char *name)
{
	switch (verdict) {
	case TC_ACT_SHOT:
		tell(s, hook, name, NULL, "dropped: %s", s->reason);
		return "dropped";
	case TC_ACT_UNSPEC:
		tell(s, hook, name, NULL, "left to the host's own stack: no flow and no published port of a container is meant");
		return "host";
	}
	tell(s, hook, name, NULL, "verdict %d, which this engine does not know", verdict);
	return "unknown";
}

static const char *inward(struct story *s, const struct dp_trace *t, struct err *e)
{
	struct probe first = s->now;
	struct kedge_endpoint ep;
	char name[IF_NAMESIZE], veth[IF_NAMESIZE];
	const char *result = "delivered";
	int prog = xdp_prog(s->d->xdp, t->ifindex), v;

	if (!if_indextoname(t->ifindex, name))
		(void)snprintf(name, sizeof(name), "%u", t->ifindex);
	if (prog >= 0) {
		tell(s, "xdp", name, &s->now, "arrives at %s, XDP", name);
		v = refused(s, prog, t->ifindex, name, e);
		if (v < 0)
			return NULL;
		if (v) {
			tell(s, "xdp", name, NULL, "dropped: %s", s->reason);
			return "dropped";
		}
	}
	tell(s, "uplink", name, &s->now, prog >= 0 ? "passes XDP, tc ingress of %s" : "arrives at %s, tc ingress", name);
	v = run(s, s->d->dp->progs.kedge_uplink, t->ifindex, name, false, e);
	if (v < 0 && v != TC_ACT_UNSPEC)
		return NULL;
	if (v != TC_ACT_REDIRECT)
		return ending(s, v, "uplink", name);
	if (!out_of(s->d, &s->now.dst, &ep, veth)) {
		tell(s, "uplink", name, &s->now, "answered by the data path itself");
		return "answered";
	}
	tell(s, "uplink", name, &s->now, "published port found, destination translated, TTL %u", s->now.ttl);
	tell(s, "container", veth, NULL, "handed to the container's end of %s, past the host's stack and the bridge", veth);
	/* And back. */
	s->now = (struct probe){ .proto = s->now.proto, .src = s->now.dst, .dst = s->now.src, .sport = s->now.dport, .dport = s->now.sport };
	tell(s, "container", veth, &s->now, "the answer leaves the container, tc ingress of %s", veth);
	v = run(s, s->d->dp->progs.kedge_container, ep.host_ifindex, veth, true, e);
	if (v == TC_ACT_REDIRECT) {
		tell(s, "container", veth, &s->now, "source translated back");
		tell(s, "uplink", "", NULL, "sent to the next hop the host's routes name");
	} else if (v >= 0 || v == TC_ACT_UNSPEC) {
		result = ending(s, v, "container", veth);
	}
	forget(s->d, &first);
	return v < 0 && v != TC_ACT_UNSPEC ? NULL : result;
}

static const char *outward(struct story *s, const struct dp_trace *t, struct err *e)
{
	struct probe first = s->now;
	struct kedge_endpoint ep, peer;
	char veth[IF_NAMESIZE], to[IF_NAMESIZE];
	int v;

	(void)t;
	if (!out_of(s->d, &s->now.src, &ep, veth)) {
		err_set(e, ERR_NOT_FOUND, "the data path knows no such container");
		return NULL;
	}
	tell(s, "container", veth, &s->now, "leaves the container, tc ingress of %s", veth);
	v = run(s, s->d->dp->progs.kedge_container, ep.host_ifindex, veth, false, e);
	if (v < 0 && v != TC_ACT_UNSPEC)
		return NULL;
	if (v == TC_ACT_UNSPEC) {
		tell(s, "container", veth, NULL, "goes on over the bridge, to a neighbour");
		return "bridge";
	}
	if (v != TC_ACT_REDIRECT)
		return ending(s, v, "container", veth);
	if (is_local(s->d, &s->now.dst)) {
		tell(s, "container", veth, NULL, "given to the host itself, past the bridge");
		return "host";
	}
	if (out_of(s->d, &s->now.dst, &peer, to)) {
		tell(s, "container", veth, &s->now, "another container's published port: handed to the container's end of %s", to);
	} else {
		tell(s, "container", veth, &s->now, "masqueraded, TTL %u", s->now.ttl);
		tell(s, "uplink", "", NULL, "sent to the next hop the host's routes name");
	}
	forget(s->d, &first);
	return "sent";
}

json_t *ebpf_trace(struct datapath *d, const struct dp_trace *t, struct err *e)
{
	struct story s = { .d = d, .steps = json_array(), .now = { .proto = t->proto, .src = t->src, .dst = t->dst, .sport = t->sport, .dport = t->dport } };
	const char *result = t->from_container ? outward(&s, t, e) : inward(&s, t, e);

	if (!result) {
		json_decref(s.steps);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:o}", "Result", result, "Reason", s.reason, "Steps", s.steps);
}
