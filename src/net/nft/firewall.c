/* SPDX-License-Identifier: Apache-2.0 */
#include "net/firewall.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/str.h"

/* Reads the rules of others; never writes. */

struct input {				/* a chain at the hook with the policy accept: its last rule is to be looked at */
	uint32_t family;
	char *table, *chain;
};

struct look {
	struct mnl_socket *sock;
	uint32_t seq, hook;
	struct input *chains;
	size_t n;
	bool denies, last;		/* last: the rule looked at last lets nothing by */
	char *out;
	size_t size;
};

static const char *family_name(uint32_t family)
{
	return family == NFPROTO_INET ? "inet" : family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : NULL;
}

static void found(struct look *l, uint32_t family, const char *table, const char *chain)
{
	(void)snprintf(l->out, l->size, "%s %.64s %.64s", family_name(family), table, chain);
	l->denies = true;
}

static int on_chain(const struct nlmsghdr *h, void *user)
{
	struct nftnl_chain *c = nftnl_chain_alloc();
	struct look *l = user;
	uint32_t family;

	if (nftnl_chain_nlmsg_parse(h, c) < 0 || !nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM) || nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) != l->hook)
		goto out;
	family = nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY);
	if (!family_name(family) || l->denies)
		goto out;
	if (nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_DROP) {
		found(l, family, nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE), nftnl_chain_get_str(c, NFTNL_CHAIN_NAME));
		goto out;
	}
	l->chains = mem_realloc(l->chains, (l->n + 1) * sizeof(*l->chains));
	l->chains[l->n++] = (struct input){ family, mem_strdup(nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE)), mem_strdup(nftnl_chain_get_str(c, NFTNL_CHAIN_NAME)) };
out:
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

/* Does the expression end everything, or is it of no matter to whether the rule fits? */
static bool ends(struct nftnl_expr *x, bool *idle)
{
	const char *name = nftnl_expr_get_str(x, NFTNL_EXPR_NAME);

	*idle = str_eq(name, "counter") || str_eq(name, "log");
	if (str_eq(name, "immediate"))
		return nftnl_expr_is_set(x, NFTNL_EXPR_IMM_VERDICT) && nftnl_expr_get_u32(x, NFTNL_EXPR_IMM_VERDICT) == NF_DROP;
	if (str_eq(name, "target"))
		return str_eq(nftnl_expr_get_str(x, NFTNL_EXPR_TG_NAME), "REJECT");
	return str_eq(name, "reject");
}

static int on_rule(const struct nlmsghdr *h, void *user)
{
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct nftnl_expr_iter *it;
	struct look *l = user;
	struct nftnl_expr *x;
	bool idle = true;

	l->last = false;
	if (nftnl_rule_nlmsg_parse(h, r) == 0) {
		it = nftnl_expr_iter_create(r);
		while (idle && !l->last && (x = nftnl_expr_iter_next(it)))
			l->last = ends(x, &idle);
		nftnl_expr_iter_destroy(it);
	}
	nftnl_rule_free(r);
	return MNL_CB_OK;
}

static void dump(struct look *l, struct nlmsghdr *h, mnl_cb_t cb)
{
	char buf[32 << 10];
	int r;

	h->nlmsg_seq = ++l->seq;
	if (mnl_socket_sendto(l->sock, h, h->nlmsg_len) < 0)
		return;
	do {
		ssize_t n = mnl_socket_recvfrom(l->sock, buf, sizeof(buf));

		r = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, l->seq, mnl_socket_get_portid(l->sock), cb, l);
	} while (r > 0);
}

static void last_rule(struct look *l, const struct input *c)
{
	struct nftnl_rule *only = nftnl_rule_alloc();
	char buf[512];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETRULE, (uint16_t)c->family, NLM_F_DUMP, 0);

	nftnl_rule_set_str(only, NFTNL_RULE_TABLE, c->table);
	nftnl_rule_set_str(only, NFTNL_RULE_CHAIN, c->chain);
	nftnl_rule_nlmsg_build_payload(h, only);
	nftnl_rule_free(only);
	l->last = false;
	dump(l, h, on_rule);
	if (l->last)
		found(l, c->family, c->table, c->chain);
}

bool firewall_denies(enum firewall_way way, char *out, size_t size)
{
	struct look l = { .sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC), .hook = way == FIREWALL_INPUT ? NF_INET_LOCAL_IN : NF_INET_FORWARD,
			  .out = out, .size = size };
	char buf[512];

	if (!l.sock)
		return false;
	if (mnl_socket_bind(l.sock, 0, MNL_SOCKET_AUTOPID) == 0) {
		dump(&l, nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, 0), on_chain);
		for (size_t i = 0; i < l.n && !l.denies; i++)
			last_rule(&l, &l.chains[i]);
	}
	for (size_t i = 0; i < l.n; i++) {
		free(l.chains[i].table);
		free(l.chains[i].chain);
	}
	free(l.chains);
	(void)mnl_socket_close(l.sock);
	return l.denies;
}
