/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "kedge/bpf/abi.h"
#include "net/nft/nft_priv.h"

/*
 * The rules. They never change; what changes are the elements of the sets they look into. In nft's own words, the IPv4 half:
 *
 *   chain mark        filter prerouting last   iif @guards, socket transparent 1                               mark the engine's own
 *   chain raw         filter prerouting -300   iif != lo, ip daddr 127.0.0.0/8                                 count loopback, drop
 *   chain prerouting  nat prerouting -100      iif @internal                                                   return
 *                                              ip daddr 127.0.0.0/8                                            return
 *                                              ip daddr . l4proto . th dport . iif @nearpub4                   return
 *                                              dnat to ip daddr . l4proto . th dport map @pub4
 *                                              fib daddr type local, l4proto . th dport . iif @near4           return
 *                                              fib daddr type local, dnat to l4proto . th dport map @any4
 *                                              dnat to ip daddr . l4proto . th dport . (jhash ip saddr . th sport mod 251) map @lb4
 *                                              the same for @sticky4 without the client's port, for @lbany4 and @stickyany4 without the address
 *   chain output      nat output -100          the same with oif for iif, from the third on: clients on the host
 *   chain input       filter input 0           iif @internal, fib daddr type local, ip daddr . iif != @gw4     count internal, drop
 *   chain forward     filter forward 0         ct state established,related                                    accept
 *                                              iif . oif @pairs                                                accept
 *                                              iif @bridges, fib saddr . iif oif missing                       count spoofed, drop
 *                                              iif @internal / oif @internal                                   count internal, drop
 *                                              ct status dnat, ip daddr @limited4,
 *                                                  ip daddr . ip saddr != @sources4                            count source-not-allowed, drop
 *                                              oif @bridges, ct status dnat                                    accept
 *                                              iif != @bridges, ip daddr @open4                                accept
 *                                              iif != @bridges, ip daddr @ping4, l4proto icmp                  accept
 *                                              ip daddr . l4proto . th dport @routed4, ip daddr @limited4,
 *                                                  ip daddr . ip saddr != @sources4                            count source-not-allowed, drop
 *                                              ip daddr . l4proto . th dport @routed4, iif != @bridges         accept
 *                                              the same two for @direct4, with iif . oif @trusted
 *                                              iif @bridges, oif @bridges                                      count isolated, drop
 *                                              oif @bridges                                                    count unpublished, drop
 *                                              ct status dnat                                                  accept
 *                                              iif @lent4                                                      count isolated, drop
 *   chain postrouting nat postrouting 100      oif != @bridges, snat to ip saddr map @snat4
 *                                              ip saddr @masq4, oif != @bridges                                masquerade
 *                                              l4proto sctp, iif . oif @pairs, ct status dnat                  masquerade
 *
 * "count X, drop" is a chain of its own, drop-X: what drops also logs to a group of netfilter's, for whoever listens (drops.c), as long as the limit all
 * of these chains share lets it; what is not told is counted.
 *
 *   chain drop-X                               counter X, limit told, log prefix X group 27495, drop
 *                                              counter untold, drop
 *
 * A container that talks to a port published from its own network is left to the proxy: the answer would go from container to container over
 * the bridge, past the translation, and with bridge-netfilter on, a container's way to itself would end at its own bridge port.
 *
 * The same goes for clients of SCTP on the host itself (nft.c). Where the kernel has no SCTP sockets, nothing relays that: there the answer is made to come
 * back by the bridge's own address as the sender, which is what the proxy would show.
 *
 * Marks are set behind every other rule of the host's, some of which give packets their connection's mark, whatever they had.
 *
 * 127.0.0.1 is left to the proxy: packets from it cannot leave by another interface without a switch (route_localnet) that opens it to neighbours.
 */

const char *const nft_drop_names[DROP_COUNT] = { "unpublished", "isolated", "internal", "loopback", "source-not-allowed", "spoofed" };

#define LIMIT_TOLD "told"
#define COUNTER_UNTOLD "untold"

/* Of Linux 6.9 (linux/netfilter/nf_tables.h): the table outlives its owner's socket, and may be owned again. */
enum { TABLE_F_PERSIST = 4 };

/* nft's numbers for types of keys, so that "nft list" can print them. */
enum { T_IP4 = 7, T_IP6 = 8, T_PROTO = 12, T_PORT = 13, T_MARK = 19, T_IF = 20 };
#define T2(a, b) ((a) << 6 | (b))
#define T3(a, b, c) ((a) << 12 | (b) << 6 | (c))
#define T4(a, b, c, d) (T3(a, b, c) << 6 | (d))

static const struct {
	const char *name;
	uint8_t key_len, data_len;
	bool interval;
	uint32_t key_type, data_type;
} sets[] = {
	[SET_BRIDGES] = { "bridges", 4, 0, false, T_IF, 0 },
	[SET_PAIRS] = { "pairs", 8, 0, false, T2(T_IF, T_IF), 0 },
	[SET_INTERNAL] = { "internal", 4, 0, false, T_IF, 0 },
	[SET_OPEN4] = { "open4", 4, 0, true, T_IP4, 0 },
	[SET_OPEN6] = { "open6", 16, 0, true, T_IP6, 0 },
	[SET_PING4] = { "ping4", 4, 0, true, T_IP4, 0 },
	[SET_PING6] = { "ping6", 16, 0, true, T_IP6, 0 },
	[SET_ROUTED4] = { "routed4", 12, 0, false, T3(T_IP4, T_PROTO, T_PORT), 0 },
	[SET_ROUTED6] = { "routed6", 24, 0, false, T3(T_IP6, T_PROTO, T_PORT), 0 },
	[SET_DIRECT4] = { "direct4", 12, 0, false, T3(T_IP4, T_PROTO, T_PORT), 0 },
	[SET_DIRECT6] = { "direct6", 24, 0, false, T3(T_IP6, T_PROTO, T_PORT), 0 },
	[SET_TRUSTED] = { "trusted", 8, 0, false, T2(T_IF, T_IF), 0 },
	[SET_LENT4] = { "lent4", 4, 0, false, T_IF, 0 },
	[SET_LENT6] = { "lent6", 4, 0, false, T_IF, 0 },
	[SET_SNAT4] = { "snat4", 4, 4, true, T_IP4, T_IP4 },
	[SET_SNAT6] = { "snat6", 16, 16, true, T_IP6, T_IP6 },
	[SET_MASQ4] = { "masq4", 4, 0, true, T_IP4, 0 },
	[SET_MASQ6] = { "masq6", 16, 0, true, T_IP6, 0 },
	[SET_GW4] = { "gw4", 8, 0, false, T2(T_IP4, T_IF), 0 },
	[SET_GW6] = { "gw6", 20, 0, false, T2(T_IP6, T_IF), 0 },
	[SET_PUB4] = { "pub4", 12, 8, false, T3(T_IP4, T_PROTO, T_PORT), T2(T_IP4, T_PORT) },
	[SET_PUB6] = { "pub6", 24, 20, false, T3(T_IP6, T_PROTO, T_PORT), T2(T_IP6, T_PORT) },
	[SET_ANY4] = { "any4", 8, 8, false, T2(T_PROTO, T_PORT), T2(T_IP4, T_PORT) },
	[SET_ANY6] = { "any6", 8, 20, false, T2(T_PROTO, T_PORT), T2(T_IP6, T_PORT) },
	[SET_NEARPUB4] = { "nearpub4", 16, 0, false, T2(T3(T_IP4, T_PROTO, T_PORT), T_IF), 0 },
	[SET_NEARPUB6] = { "nearpub6", 28, 0, false, T2(T3(T_IP6, T_PROTO, T_PORT), T_IF), 0 },
	[SET_NEAR4] = { "near4", 12, 0, false, T3(T_PROTO, T_PORT, T_IF), 0 },
	[SET_NEAR6] = { "near6", 12, 0, false, T3(T_PROTO, T_PORT, T_IF), 0 },
	[SET_LIMITED4] = { "limited4", 4, 0, false, T_IP4, 0 },
	[SET_LIMITED6] = { "limited6", 16, 0, false, T_IP6, 0 },
	[SET_SOURCES4] = { "sources4", 8, 0, true, T2(T_IP4, T_IP4), 0 },
	[SET_SOURCES6] = { "sources6", 32, 0, true, T2(T_IP6, T_IP6), 0 },
	[SET_GUARDS] = { "guards", 4, 0, false, T_IF, 0 },
	[SET_LB4] = { "lb4", 16, 8, false, T4(T_IP4, T_PROTO, T_PORT, T_MARK), T2(T_IP4, T_PORT) },
	[SET_LB6] = { "lb6", 28, 20, false, T4(T_IP6, T_PROTO, T_PORT, T_MARK), T2(T_IP6, T_PORT) },
	[SET_LBANY4] = { "lbany4", 12, 8, false, T3(T_PROTO, T_PORT, T_MARK), T2(T_IP4, T_PORT) },
	[SET_LBANY6] = { "lbany6", 12, 20, false, T3(T_PROTO, T_PORT, T_MARK), T2(T_IP6, T_PORT) },
	[SET_STICKY4] = { "sticky4", 16, 8, false, T4(T_IP4, T_PROTO, T_PORT, T_MARK), T2(T_IP4, T_PORT) },
	[SET_STICKY6] = { "sticky6", 28, 20, false, T4(T_IP6, T_PROTO, T_PORT, T_MARK), T2(T_IP6, T_PORT) },
	[SET_STICKYANY4] = { "stickyany4", 12, 8, false, T3(T_PROTO, T_PORT, T_MARK), T2(T_IP4, T_PORT) },
	[SET_STICKYANY6] = { "stickyany6", 12, 20, false, T3(T_PROTO, T_PORT, T_MARK), T2(T_IP6, T_PORT) },
};
_Static_assert(N(sets) == SET_COUNT, "a set without a definition");

bool set_exists(const struct datapath *d, enum nft_set s)
{
	if (d->marks_only && s != SET_GUARDS)
		return false;
	if (s == SET_SOURCES4 || s == SET_SOURCES6 || s == SET_LIMITED4 || s == SET_LIMITED6)
		return d->can & CAN_SOURCES;
	return s == SET_GUARDS ? d->can & CAN_GUARD : s < SET_LB4 || d->can & CAN_BALANCE;
}

size_t set_key_len(enum nft_set s)
{
	return sets[s].key_len;
}

size_t set_data_len(enum nft_set s)
{
	return sets[s].data_len;
}

bool set_is_interval(enum nft_set s)
{
	return sets[s].interval;
}

bool set_is_concat(enum nft_set s)
{
	return s == SET_SOURCES4 || s == SET_SOURCES6;
}

const char *set_name(enum nft_set s)
{
	return sets[s].name;
}

/* One rule in the making. Registers are the 32-bit ones: values are made from DATA on, keys from KEY on. */
enum { DATA = NFT_REG32_00, KEY = NFT_REG32_08 };

struct rule {
	struct datapath *d;
	struct batch *b;
	struct nftnl_rule *r;
};

static struct rule rule_in(struct datapath *d, struct batch *b, const char *chain)
{
	struct rule ru = { d, b, nftnl_rule_alloc() };

	nftnl_rule_set_str(ru.r, NFTNL_RULE_TABLE, d->table);
	nftnl_rule_set_str(ru.r, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(ru.r, NFTNL_RULE_FAMILY, NFPROTO_INET);
	return ru;
}

static void rule_put(struct rule *ru)
{
	struct nlmsghdr *h = batch_message(ru->b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	nftnl_rule_nlmsg_build_payload(h, ru->r);
	batch_put(ru->b, h);
	nftnl_rule_free(ru->r);
}

static void x_meta(struct rule *ru, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *x = nftnl_expr_alloc("meta");

	nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, reg);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_payload(struct rule *ru, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct nftnl_expr *x = nftnl_expr_alloc("payload");

	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, reg);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_cmp(struct rule *ru, uint32_t reg, uint32_t op, const void *p, uint32_t n)
{
	struct nftnl_expr *x = nftnl_expr_alloc("cmp");

	nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(x, NFTNL_EXPR_CMP_DATA, p, n);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_bitwise(struct rule *ru, uint32_t reg, const void *mask, const void *xor, uint32_t n)
{
	struct nftnl_expr *x = nftnl_expr_alloc("bitwise");

	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, n);
	nftnl_expr_set(x, NFTNL_EXPR_BITWISE_MASK, mask, n);
	nftnl_expr_set(x, NFTNL_EXPR_BITWISE_XOR, xor, n);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_and(struct rule *ru, uint32_t reg, const void *mask, uint32_t n)
{
	static const uint8_t zero[16];

	x_bitwise(ru, reg, mask, zero, n);
}

static void x_lookup(struct rule *ru, enum nft_set s, bool invert)
{
	struct nftnl_expr *x = nftnl_expr_alloc("lookup");

	nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, KEY);
	nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, sets[s].name);
	nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SET_ID, (uint32_t)s + 1);
	if (sets[s].data_len)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, DATA);
	if (invert)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_ct(struct rule *ru, uint32_t key, uint32_t bits)
{
	struct nftnl_expr *x = nftnl_expr_alloc("ct");
	uint32_t zero = 0;

	nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, KEY);
	nftnl_rule_add_expr(ru->r, x);
	x_and(ru, KEY, &bits, sizeof(bits));
	x_cmp(ru, KEY, NFT_CMP_NEQ, &zero, sizeof(zero));
}

static void x_fib(struct rule *ru, uint32_t result, uint32_t flags, uint32_t is)
{
	struct nftnl_expr *x = nftnl_expr_alloc("fib");

	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_DREG, KEY);
	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_RESULT, result);
	nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_FLAGS, flags);
	nftnl_rule_add_expr(ru->r, x);
	x_cmp(ru, KEY, NFT_CMP_EQ, &is, sizeof(is));
}

static void x_local(struct rule *ru)
{
	x_fib(ru, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR, RTN_LOCAL);
}

/* The way back to its source is not where it comes from. */
static void x_elsewhere(struct rule *ru)
{
	x_fib(ru, NFT_FIB_RESULT_OIF, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF, 0);
}

static void x_verdict(struct rule *ru, int verdict)
{
	struct nftnl_expr *x = nftnl_expr_alloc("immediate");

	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	nftnl_rule_add_expr(ru->r, x);
}

static const char *drop_chain(enum nft_drop why, char name[static 40])
{
	(void)snprintf(name, 40, "drop-%s", nft_drop_names[why]);
	return name;
}

static void x_drop(struct rule *ru, enum nft_drop why)
{
	struct nftnl_expr *x = nftnl_expr_alloc("immediate");
	char chain[40];

	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, (uint32_t)NFT_GOTO);
	nftnl_expr_set_str(x, NFTNL_EXPR_IMM_CHAIN, drop_chain(why, chain));
	nftnl_rule_add_expr(ru->r, x);
}

static void x_object(struct rule *ru, uint32_t type, const char *name)
{
	struct nftnl_expr *x = nftnl_expr_alloc("objref");

	nftnl_expr_set_u32(x, NFTNL_EXPR_OBJREF_IMM_TYPE, type);
	nftnl_expr_set_str(x, NFTNL_EXPR_OBJREF_IMM_NAME, name);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_log(struct rule *ru, const char *prefix)
{
	struct nftnl_expr *x = nftnl_expr_alloc("log");

	nftnl_expr_set_u16(x, NFTNL_EXPR_LOG_GROUP, DROP_GROUP);
	nftnl_expr_set_str(x, NFTNL_EXPR_LOG_PREFIX, prefix);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_masquerade(struct rule *ru)
{
	nftnl_rule_add_expr(ru->r, nftnl_expr_alloc("masq"));
}

static void x_snat(struct rule *ru, bool v4)
{
	struct nftnl_expr *x = nftnl_expr_alloc("nat");

	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_SNAT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, DATA);
	nftnl_rule_add_expr(ru->r, x);
}

static void x_dnat(struct rule *ru, bool v4)
{
	struct nftnl_expr *x = nftnl_expr_alloc("nat");

	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, DATA);
	nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, DATA + (v4 ? 1 : 4));
	nftnl_rule_add_expr(ru->r, x);
}

/* Conditions put together of these. */
static void on_family(struct rule *ru, bool v4)
{
	uint8_t family = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;

	x_meta(ru, NFT_META_NFPROTO, KEY);
	x_cmp(ru, KEY, NFT_CMP_EQ, &family, 1);
}

static void x_addr(struct rule *ru, bool v4, bool dst, uint32_t reg)
{
	x_payload(ru, NFT_PAYLOAD_NETWORK_HEADER, v4 ? (dst ? 16 : 12) : (dst ? 24 : 8), v4 ? 4 : 16, reg);
}

static void on_loopback(struct rule *ru, bool v4)
{
	static const uint8_t mask[4] = { 255 }, net[4] = { 127 };
	static const struct in6_addr one = IN6ADDR_LOOPBACK_INIT;

	on_family(ru, v4);
	x_addr(ru, v4, true, KEY);
	if (v4)
		x_and(ru, KEY, mask, sizeof(mask));
	x_cmp(ru, KEY, NFT_CMP_EQ, v4 ? (const void *)net : &one, v4 ? 4 : 16);
}

static void on_interface(struct rule *ru, uint32_t key, enum nft_set s, bool invert)
{
	x_meta(ru, key, KEY);
	x_lookup(ru, s, invert);
}

static void x_port(struct rule *ru, uint32_t reg)
{
	x_meta(ru, NFT_META_L4PROTO, reg);
	x_payload(ru, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + 1);
}

static void x_socket_transparent(struct rule *ru)
{
	struct nftnl_expr *x = nftnl_expr_alloc("socket");
	uint8_t yes = 1;

	nftnl_expr_set_u32(x, NFTNL_EXPR_SOCKET_KEY, NFT_SOCKET_TRANSPARENT);
	nftnl_expr_set_u32(x, NFTNL_EXPR_SOCKET_DREG, KEY);
	nftnl_rule_add_expr(ru->r, x);
	x_cmp(ru, KEY, NFT_CMP_EQ, &yes, sizeof(yes));
}

/* The mask's bits of the packet's mark. */
static void x_mark(struct rule *ru, uint32_t mark, uint32_t mask)
{
	struct nftnl_expr *x = nftnl_expr_alloc("meta");
	uint32_t others = ~mask;

	x_meta(ru, NFT_META_MARK, KEY);
	x_bitwise(ru, KEY, &others, &mark, sizeof(mark));
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(x, NFTNL_EXPR_META_SREG, KEY);
	nftnl_rule_add_expr(ru->r, x);
}

/* A slot by the client's address, and port, into reg. */
static void x_slot(struct rule *ru, bool v4, bool sticky, uint32_t reg)
{
	struct nftnl_expr *x = nftnl_expr_alloc("hash");
	uint32_t len = v4 ? 4 : 16;

	x_addr(ru, v4, false, DATA);
	if (!sticky) {
		x_payload(ru, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, DATA + len / 4);
		len += 4;
	}
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SREG, DATA);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_DREG, reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_LEN, len);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_MODULUS, NFT_LB_SLOTS);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SEED, 0x6b656467);	/* one for all runs */
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
	nftnl_rule_add_expr(ru->r, x);
}

/* What a packet for a published port is looked up by, from KEY on; the next free register. */
static uint32_t x_target(struct rule *ru, bool v4, bool any)
{
	uint32_t at = KEY;

	on_family(ru, v4);
	if (any) {
		x_local(ru);
	} else {
		x_addr(ru, v4, true, KEY);
		at += v4 ? 1 : 4;
	}
	x_port(ru, at);
	return at + 2;
}

/* Several backends: the port and the client's slot name one. */
static void balance(struct datapath *d, struct batch *b, const char *chain, bool v4, bool any, bool sticky)
{
	static const enum nft_set maps[2][2][2] = {
		{ { SET_LB6, SET_LB4 }, { SET_STICKY6, SET_STICKY4 } },
		{ { SET_LBANY6, SET_LBANY4 }, { SET_STICKYANY6, SET_STICKYANY4 } },
	};
	struct rule ru = rule_in(d, b, chain);

	x_slot(&ru, v4, sticky, x_target(&ru, v4, any));
	x_lookup(&ru, maps[any][sticky][v4], false);
	x_dnat(&ru, v4);
	rule_put(&ru);
}

static void translate(struct datapath *d, struct batch *b, const char *chain, bool from_outside)
{
	for (int v4 = 1; v4 >= 0; v4--) {
		struct rule ru = rule_in(d, b, chain);

		on_loopback(&ru, v4);
		x_verdict(&ru, NFT_RETURN);
		rule_put(&ru);
		for (int any = 0; any < 2; any++) {
			ru = rule_in(d, b, chain);
			x_meta(&ru, from_outside ? NFT_META_IIF : NFT_META_OIF, x_target(&ru, v4, any));
			x_lookup(&ru, any ? (v4 ? SET_NEAR4 : SET_NEAR6) : (v4 ? SET_NEARPUB4 : SET_NEARPUB6), false);
			x_verdict(&ru, NFT_RETURN);
			rule_put(&ru);
			ru = rule_in(d, b, chain);
			(void)x_target(&ru, v4, any);
			x_lookup(&ru, any ? (v4 ? SET_ANY4 : SET_ANY6) : (v4 ? SET_PUB4 : SET_PUB6), false);
			x_dnat(&ru, v4);
			rule_put(&ru);
			for (int sticky = 0; d->can & CAN_BALANCE && sticky < 2; sticky++)
				balance(d, b, chain, v4, any, sticky);
		}
	}
}

static void mark_rule(struct datapath *d, struct batch *b)
{
	struct rule ru = rule_in(d, b, "mark");

	on_interface(&ru, NFT_META_IIF, SET_GUARDS, false);
	x_socket_transparent(&ru);
	x_mark(&ru, KEDGE_GUARD_MARK, KEDGE_GUARD_MASK);
	rule_put(&ru);
}

static void drop_rules(struct datapath *d, struct batch *b)
{
	for (int k = 0; k < DROP_COUNT; k++) {
		char chain[40];
		struct rule ru = rule_in(d, b, drop_chain((enum nft_drop)k, chain));

		x_object(&ru, NFT_OBJECT_COUNTER, nft_drop_names[k]);
		if (d->can & CAN_LOG) {
			x_object(&ru, NFT_OBJECT_LIMIT, LIMIT_TOLD);
			x_log(&ru, nft_drop_names[k]);
			x_verdict(&ru, NF_DROP);
			rule_put(&ru);
			ru = rule_in(d, b, chain);
			x_object(&ru, NFT_OBJECT_COUNTER, COUNTER_UNTOLD);
		}
		x_verdict(&ru, NF_DROP);
		rule_put(&ru);
	}
}

/* Packets for an endpoint's own address and port, from outside. */
static void at_own_address(struct datapath *d, struct batch *b, bool v4, bool trusted)
{
	enum nft_set ports = trusted ? (v4 ? SET_DIRECT4 : SET_DIRECT6) : (v4 ? SET_ROUTED4 : SET_ROUTED6);

	for (int limited = d->can & CAN_SOURCES ? 1 : 0; limited >= 0; limited--) {
		struct rule ru = rule_in(d, b, "forward");

		(void)x_target(&ru, v4, false);
		x_lookup(&ru, ports, false);
		if (limited) {
			x_lookup(&ru, v4 ? SET_LIMITED4 : SET_LIMITED6, false);
			x_addr(&ru, v4, false, KEY + (v4 ? 1 : 4));
			x_lookup(&ru, v4 ? SET_SOURCES4 : SET_SOURCES6, true);
			x_drop(&ru, DROP_SOURCE);
		} else if (trusted) {
			x_meta(&ru, NFT_META_IIF, KEY);
			x_meta(&ru, NFT_META_OIF, KEY + 1);
			x_lookup(&ru, SET_TRUSTED, false);
			x_verdict(&ru, NF_ACCEPT);
		} else {
			on_interface(&ru, NFT_META_IIF, SET_BRIDGES, true);
			x_verdict(&ru, NF_ACCEPT);
		}
		rule_put(&ru);
	}
}

/* What of a network may be reached by its own addresses. */
static void from_outside(struct datapath *d, struct batch *b, bool v4)
{
	const uint8_t icmp = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	for (int ping = 0; ping < 2; ping++) {
		struct rule ru = rule_in(d, b, "forward");

		on_interface(&ru, NFT_META_IIF, SET_BRIDGES, true);
		on_family(&ru, v4);
		if (ping) {
			x_meta(&ru, NFT_META_L4PROTO, KEY);
			x_cmp(&ru, KEY, NFT_CMP_EQ, &icmp, 1);
		}
		x_addr(&ru, v4, true, KEY);
		x_lookup(&ru, ping ? (v4 ? SET_PING4 : SET_PING6) : (v4 ? SET_OPEN4 : SET_OPEN6), false);
		x_verdict(&ru, NF_ACCEPT);
		rule_put(&ru);
	}
	for (int trusted = 0; trusted < 2; trusted++)
		at_own_address(d, b, v4, trusted);
}

static void rules(struct datapath *d, struct batch *b)
{
	static const uint8_t link_mask[16] = { 0xff, 0xc0 }, link_net[16] = { 0xfe, 0x80 };
	const uint8_t sctp = IPPROTO_SCTP;
	const uint32_t lo = NFT_LO;
	struct rule ru;

	for (int v4 = 1; v4 >= 0; v4--) {
		ru = rule_in(d, b, "raw");
		x_meta(&ru, NFT_META_IIF, KEY);
		x_cmp(&ru, KEY, NFT_CMP_NEQ, &lo, sizeof(lo));
		on_loopback(&ru, v4);
		x_drop(&ru, DROP_LOOPBACK);
		rule_put(&ru);
	}
	ru = rule_in(d, b, "prerouting");
	on_interface(&ru, NFT_META_IIF, SET_INTERNAL, false);
	x_verdict(&ru, NFT_RETURN);
	rule_put(&ru);
	translate(d, b, "prerouting", true);
	translate(d, b, "output", false);

	ru = rule_in(d, b, "input");
	on_family(&ru, false);
	x_addr(&ru, false, true, KEY);
	x_and(&ru, KEY, link_mask, sizeof(link_mask));
	x_cmp(&ru, KEY, NFT_CMP_EQ, link_net, sizeof(link_net));
	x_verdict(&ru, NF_ACCEPT);	/* neighbour discovery */
	rule_put(&ru);
	for (int v4 = 1; v4 >= 0; v4--) {
		ru = rule_in(d, b, "input");
		on_family(&ru, v4);
		on_interface(&ru, NFT_META_IIF, SET_INTERNAL, false);
		x_local(&ru);
		x_addr(&ru, v4, true, KEY);
		x_meta(&ru, NFT_META_IIF, KEY + (v4 ? 1 : 4));
		x_lookup(&ru, v4 ? SET_GW4 : SET_GW6, true);
		x_drop(&ru, DROP_INTERNAL);
		rule_put(&ru);
	}

	ru = rule_in(d, b, "forward");
	x_ct(&ru, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	x_verdict(&ru, NF_ACCEPT);
	rule_put(&ru);
	ru = rule_in(d, b, "forward");
	x_meta(&ru, NFT_META_IIF, KEY);
	x_meta(&ru, NFT_META_OIF, KEY + 1);
	x_lookup(&ru, SET_PAIRS, false);
	x_verdict(&ru, NF_ACCEPT);
	rule_put(&ru);
	/* Not of what is only bridged, and here because of bridge-netfilter: a bridge may have no address, or routers on it. */
	if (d->can & CAN_REVERSE) {
		ru = rule_in(d, b, "forward");
		on_interface(&ru, NFT_META_IIF, SET_BRIDGES, false);
		x_elsewhere(&ru);
		x_drop(&ru, DROP_SPOOFED);
		rule_put(&ru);
	}
	ru = rule_in(d, b, "forward");
	on_interface(&ru, NFT_META_IIF, SET_INTERNAL, false);
	x_drop(&ru, DROP_INTERNAL);
	rule_put(&ru);
	ru = rule_in(d, b, "forward");
	on_interface(&ru, NFT_META_OIF, SET_INTERNAL, false);
	x_drop(&ru, DROP_INTERNAL);
	rule_put(&ru);
	for (int v4 = 1; d->can & CAN_SOURCES && v4 >= 0; v4--) {
		ru = rule_in(d, b, "forward");
		on_family(&ru, v4);
		x_ct(&ru, NFT_CT_STATUS, IPS_DST_NAT);
		x_addr(&ru, v4, true, KEY);
		x_lookup(&ru, v4 ? SET_LIMITED4 : SET_LIMITED6, false);
		x_addr(&ru, v4, false, KEY + (v4 ? 1 : 4));
		x_lookup(&ru, v4 ? SET_SOURCES4 : SET_SOURCES6, true);
		x_drop(&ru, DROP_SOURCE);
		rule_put(&ru);
	}
	ru = rule_in(d, b, "forward");
	on_interface(&ru, NFT_META_OIF, SET_BRIDGES, false);
	x_ct(&ru, NFT_CT_STATUS, IPS_DST_NAT);
	x_verdict(&ru, NF_ACCEPT);
	rule_put(&ru);
	for (int v4 = 1; v4 >= 0; v4--)
		from_outside(d, b, v4);
	ru = rule_in(d, b, "forward");
	on_interface(&ru, NFT_META_IIF, SET_BRIDGES, false);
	on_interface(&ru, NFT_META_OIF, SET_BRIDGES, false);
	x_drop(&ru, DROP_ISOLATED);
	rule_put(&ru);
	ru = rule_in(d, b, "forward");
	on_interface(&ru, NFT_META_OIF, SET_BRIDGES, false);
	x_drop(&ru, DROP_UNPUBLISHED);
	rule_put(&ru);
	ru = rule_in(d, b, "forward");
	x_ct(&ru, NFT_CT_STATUS, IPS_DST_NAT);	/* somebody on this host wants it */
	x_verdict(&ru, NF_ACCEPT);
	rule_put(&ru);
	for (int v4 = 1; v4 >= 0; v4--) {
		ru = rule_in(d, b, "forward");
		on_family(&ru, v4);
		on_interface(&ru, NFT_META_IIF, v4 ? SET_LENT4 : SET_LENT6, false);
		x_drop(&ru, DROP_ISOLATED);
		rule_put(&ru);
	}

	for (int v4 = 1; v4 >= 0; v4--) {
		ru = rule_in(d, b, "postrouting");
		on_interface(&ru, NFT_META_OIF, SET_BRIDGES, true);
		on_family(&ru, v4);
		x_addr(&ru, v4, false, KEY);
		x_lookup(&ru, v4 ? SET_SNAT4 : SET_SNAT6, false);
		x_snat(&ru, v4);
		rule_put(&ru);
		ru = rule_in(d, b, "postrouting");
		on_family(&ru, v4);
		x_addr(&ru, v4, false, KEY);
		x_lookup(&ru, v4 ? SET_MASQ4 : SET_MASQ6, false);
		on_interface(&ru, NFT_META_OIF, SET_BRIDGES, true);
		x_masquerade(&ru);
		rule_put(&ru);
	}
	ru = rule_in(d, b, "postrouting");
	x_meta(&ru, NFT_META_L4PROTO, KEY);
	x_cmp(&ru, KEY, NFT_CMP_EQ, &sctp, 1);
	x_meta(&ru, NFT_META_IIF, KEY);
	x_meta(&ru, NFT_META_OIF, KEY + 1);
	x_lookup(&ru, SET_PAIRS, false);
	x_ct(&ru, NFT_CT_STATUS, IPS_DST_NAT);
	x_masquerade(&ru);
	rule_put(&ru);
}

static void put_table(struct datapath *d, struct batch *b, uint16_t type)
{
	struct nftnl_table *t = nftnl_table_alloc();
	struct nlmsghdr *h = batch_message(b, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);

	nftnl_table_set_str(t, NFTNL_TABLE_NAME, d->table);
	if (type == NFT_MSG_NEWTABLE && d->can & CAN_OWN)
		nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER | TABLE_F_PERSIST);
	nftnl_table_set_u32(t, NFTNL_TABLE_FAMILY, NFPROTO_INET);
	nftnl_table_nlmsg_build_payload(h, t);
	batch_put(b, h);
	nftnl_table_free(t);
}

static void put_set(struct datapath *d, struct batch *b, enum nft_set k)
{
	struct nftnl_set *s = nftnl_set_alloc();
	struct nlmsghdr *h = batch_message(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	uint32_t flags = (sets[k].data_len ? NFT_SET_MAP : 0) | (sets[k].interval ? NFT_SET_INTERVAL : 0) | (set_is_concat(k) ? NFT_SET_CONCAT : 0);

	nftnl_set_set_str(s, NFTNL_SET_TABLE, d->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, sets[k].name);
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(s, NFTNL_SET_ID, (uint32_t)k + 1);
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, flags);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, sets[k].key_type);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, sets[k].key_len);
	if (sets[k].data_len) {
		nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, sets[k].data_type);
		nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, sets[k].data_len);
	}
	if (set_is_concat(k)) {
		uint8_t fields[2] = { (uint8_t)(sets[k].key_len / 2), (uint8_t)(sets[k].key_len / 2) };

		nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, fields, sizeof(fields));
	}
	nftnl_set_nlmsg_build_payload(h, s);
	batch_put(b, h);
	nftnl_set_free(s);
}

/* type NULL: one that others jump to. */
static void put_chain(struct datapath *d, struct batch *b, const char *name, const char *type, uint32_t hook, int priority)
{
	struct nftnl_chain *c = nftnl_chain_alloc();
	struct nftnl_rule *none = nftnl_rule_alloc();
	struct nlmsghdr *h = batch_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, d->table);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
	nftnl_chain_set_u32(c, NFTNL_CHAIN_FAMILY, NFPROTO_INET);
	if (type) {
		nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, type);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	nftnl_chain_nlmsg_build_payload(h, c);
	batch_put(b, h);
	nftnl_chain_free(c);
	/* An earlier run's rules go, in the same transaction. */
	nftnl_rule_set_str(none, NFTNL_RULE_TABLE, d->table);
	nftnl_rule_set_str(none, NFTNL_RULE_CHAIN, name);
	h = batch_message(b, NFT_MSG_DELRULE, 0);
	nftnl_rule_nlmsg_build_payload(h, none);
	batch_put(b, h);
	nftnl_rule_free(none);
}

static void put_object(struct datapath *d, struct batch *b, struct nftnl_obj *o, const char *name, uint32_t type)
{
	struct nlmsghdr *h = batch_message(b, NFT_MSG_NEWOBJ, NLM_F_CREATE);

	nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, d->table);
	nftnl_obj_set_str(o, NFTNL_OBJ_NAME, name);
	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, type);
	nftnl_obj_nlmsg_build_payload(h, o);
	batch_put(b, h);
	nftnl_obj_free(o);
}

static void put_counter(struct datapath *d, struct batch *b, const char *name, uint64_t packets)
{
	struct nftnl_obj *o = nftnl_obj_alloc();

	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nftnl_obj_set_u64(o, NFTNL_OBJ_CTR_PKTS, packets);
	put_object(d, b, o, name, NFT_OBJECT_COUNTER);
}

static void put_limit(struct datapath *d, struct batch *b)
{
	struct nftnl_obj *o = nftnl_obj_alloc();

	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_LIMIT);
	nftnl_obj_set_u64(o, NFTNL_OBJ_LIMIT_RATE, TOLD_RATE);
	nftnl_obj_set_u64(o, NFTNL_OBJ_LIMIT_UNIT, 1);		/* seconds */
	nftnl_obj_set_u32(o, NFTNL_OBJ_LIMIT_BURST, TOLD_BURST);
	nftnl_obj_set_u32(o, NFTNL_OBJ_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_obj_set_u32(o, NFTNL_OBJ_LIMIT_FLAGS, 0);
	put_object(d, b, o, LIMIT_TOLD, NFT_OBJECT_LIMIT);
}

static void append_marks(struct datapath *d, struct batch *b)
{
	if (!(d->can & CAN_GUARD))
		return;
	put_set(d, b, SET_GUARDS);
	put_chain(d, b, "mark", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_LAST);
	mark_rule(d, b);
}

static void append_all(struct datapath *d, struct batch *b)
{
	char chain[40];

	for (int k = 0; k < DROP_COUNT; k++)
		put_counter(d, b, nft_drop_names[k], d->counted[k]);
	if (d->can & CAN_LOG) {
		put_counter(d, b, COUNTER_UNTOLD, d->untold);
		put_limit(d, b);
	}
	for (int k = 0; k < SET_COUNT; k++)
		if (k != SET_GUARDS && set_exists(d, (enum nft_set)k))
			put_set(d, b, (enum nft_set)k);
	for (int k = 0; k < DROP_COUNT; k++)
		put_chain(d, b, drop_chain((enum nft_drop)k, chain), NULL, 0, 0);
	put_chain(d, b, "raw", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW);
	put_chain(d, b, "prerouting", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST);
	put_chain(d, b, "output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST);
	put_chain(d, b, "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER);
	put_chain(d, b, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER);
	put_chain(d, b, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
	drop_rules(d, b);
	rules(d, b);
}

/* Everything but the elements. */
static void append(struct datapath *d, struct batch *b)
{
	put_table(d, b, NFT_MSG_NEWTABLE);
	append_marks(d, b);
	if (!d->marks_only)
		append_all(d, b);
}

int ruleset_put(struct datapath *d)
{
	struct batch b;

	batch_begin(d, &b);
	append(d, &b);
	return batch_commit(d, &b);
}

int ruleset_restore(struct datapath *d)
{
	struct batch b;

	json_decref(ruleset_drops(d));		/* reads the counters, if they are still there */
	batch_begin(d, &b);
	put_table(d, &b, NFT_MSG_NEWTABLE);	/* so that there is one to be removed */
	put_table(d, &b, NFT_MSG_DELTABLE);
	append(d, &b);
	elems_append(d, &b);
	return batch_commit(d, &b);
}

int ruleset_delete(struct datapath *d)
{
	struct batch b;
	int r;

	batch_begin(d, &b);
	put_table(d, &b, NFT_MSG_DELTABLE);
	r = batch_commit(d, &b);
	return r == -ENOENT ? 0 : r;
}

struct counters {
	struct datapath *d;
	json_t *drops;
};

static int on_counter(const struct nlmsghdr *h, void *user)
{
	struct nftnl_obj *o = nftnl_obj_alloc();
	struct counters *c = user;
	uint64_t packets;
	const char *name;

	if (nftnl_obj_nlmsg_parse(h, o) == 0 && nftnl_obj_get_u32(o, NFTNL_OBJ_TYPE) == NFT_OBJECT_COUNTER) {
		name = nftnl_obj_get_str(o, NFTNL_OBJ_NAME);
		packets = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_PKTS);
		if (str_eq(name, COUNTER_UNTOLD))
			c->d->untold = packets;
		for (int k = 0; k < DROP_COUNT; k++)
			if (str_eq(name, nft_drop_names[k])) {
				c->d->counted[k] = packets;
				json_object_set_new(c->drops, name, json_integer((json_int_t)packets));
			}
	}
	nftnl_obj_free(o);
	return MNL_CB_OK;
}

json_t *ruleset_drops(struct datapath *d)
{
	struct counters c = { d, json_object() };
	struct nftnl_obj *o = nftnl_obj_alloc();
	char buf[512];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETOBJ, NFPROTO_INET, NLM_F_DUMP, 0);

	nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, d->table);
	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nftnl_obj_nlmsg_build_payload(h, o);
	nftnl_obj_free(o);
	(void)nfnl_dump(d, h, on_counter, &c);
	return c.drops;
}
