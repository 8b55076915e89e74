/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/nft/nft_priv.h"

/*
 * Theory of operation. "nft flush ruleset", which is how firewalls reload, means every table of the host. From Linux 6.9 on our table is owned by the
 * engine's socket (and outlives it): the flush passes it by, and nobody else can alter it. Before, we listen to what is said of changes, and when
 * somebody else's concerns our table, the whole of it is put back in one transaction: some milliseconds after it went. Flows go on where they are in
 * connection tracking, but for TCP clients that send within that time: the host's own stack refuses them.
 *
 * Our own changes never get as far as the socket's queue: a filter on it drops messages with our other socket's number as their maker. So putting the
 * table back does not call for putting it back. When the queue has overflowed, the table is rewritten unseen. Against somebody who removes it again and
 * again there is a limit: RESTORES_MAX times at once, then once a second.
 */
enum { RESTORES_MAX = 10, TURN = 256, QUEUE = 1 << 20 };
static const int64_t SECOND = 1000000000;

struct nft_keeper {
	struct datapath *d;
	struct mnl_socket *sock;
	struct loop_io *io;
	struct loop_timer *timer;
	bool changed, waiting;
	unsigned left;			/* restores at once */
	int64_t since;			/* when left was last added to */
};

static bool may_restore(struct nft_keeper *k)
{
	int64_t now = clock_now(), more = (now - k->since) / SECOND;

	if (more > 0) {
		k->left = more + k->left > RESTORES_MAX ? RESTORES_MAX : k->left + (unsigned)more;
		k->since = now;
	}
	if (!k->left)
		return false;
	k->left--;
	return true;
}

static void restore(struct nft_keeper *k)
{
	static struct log_limit limit;
	int r;

	if (!may_restore(k)) {
		if (!k->waiting)
			log_warn("net", "nftables: the table %s is removed or altered again and again by somebody; putting it back once a second", k->d->table);
		k->waiting = true;
		loop_timer_set(k->timer, SECOND);
		return;
	}
	r = ruleset_restore(k->d);
	if (r < 0) {
		log_error("net", "nftables: the table %s was removed or altered by somebody, and cannot be put back: %s; trying again", k->d->table, strerrordesc_np(-r));
		k->waiting = true;
		loop_timer_set(k->timer, SECOND);
		return;
	}
	k->changed = k->waiting = false;
	if (log_limit_ok(&limit, 5, 60))
		log_warn("net", "nftables: the table %s was removed or altered by somebody; put it back", k->d->table);
	conntrack_forget_bare(k->d);
}

static void on_timer(void *user)
{
	struct nft_keeper *k = user;

	k->waiting = false;
	if (k->changed)
		restore(k);
}

static int find_table(const struct nlattr *a, void *user)
{
	const char **name = user;

	_Static_assert((int)NFTA_TABLE_NAME == (int)NFTA_CHAIN_TABLE && (int)NFTA_TABLE_NAME == (int)NFTA_RULE_TABLE && (int)NFTA_TABLE_NAME == (int)NFTA_SET_TABLE &&
		       (int)NFTA_TABLE_NAME == (int)NFTA_SET_ELEM_LIST_TABLE && (int)NFTA_TABLE_NAME == (int)NFTA_OBJ_TABLE, "one number in all messages");
	if (mnl_attr_get_type(a) == NFTA_TABLE_NAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		*name = mnl_attr_get_str(a);
	return MNL_CB_OK;
}

static int on_change(const struct nlmsghdr *h, void *user)
{
	struct nft_keeper *k = user;
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const char *table = NULL;

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*g) || h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || (h->nlmsg_type & 0xff) == NFT_MSG_NEWGEN ||
	    g->nfgen_family != NFPROTO_INET || mnl_attr_parse(h, sizeof(*g), find_table, &table) < 0 || !table)
		return MNL_CB_OK;
	if (str_eq(table, k->d->table))
		k->changed = true;
	return MNL_CB_OK;
}

static void on_news(void *user, unsigned events)
{
	struct nft_keeper *k = user;
	char buf[32 << 10];

	(void)events;
	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(mnl_socket_get_fd(k->sock), buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS)
			k->changed = true;	/* who knows */
		else if (n <= 0)
			break;
		else
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_change, k);
	}
	if (k->changed && !k->waiting)
		restore(k);
}

int nft_keeper_now(struct datapath *d)
{
	if (!d->keeper)
		return -ENOENT;
	if (!d->keeper->waiting)
		restore(d->keeper);
	return d->keeper->waiting ? 1 : 0;
}

/* Lets by what others have made. All messages of a transaction come in one piece, with one maker. */
static int filter(struct mnl_socket *s, uint32_t own)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog prog = { .len = N(code), .filter = code };

	return setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

void nft_keeper_open(struct datapath *d)
{
	struct nft_keeper *k;
	int size = QUEUE;

	if (d->can & CAN_OWN)
		return;
	k = mem_zalloc(sizeof(*k));
	k->d = d;
	k->left = RESTORES_MAX;
	k->since = clock_now();
	k->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	d->keeper = k;
	if (!k->sock || filter(k->sock, mnl_socket_get_portid(d->sock)) < 0 ||
	    mnl_socket_bind(k->sock, 1u << (NFNLGRP_NFTABLES - 1), MNL_SOCKET_AUTOPID) < 0) {
		log_warn("net", "nftables: cannot listen to changes of the rules: %s; a flush of all of them is not noticed", strerrordesc_np(errno));
		nft_keeper_close(d);
		return;
	}
	(void)setsockopt(mnl_socket_get_fd(k->sock), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	k->timer = loop_timer_new(d->l, on_timer, k);
	k->io = loop_io_new(d->l, mnl_socket_get_fd(k->sock), LOOP_READ, on_news, k);
}

void nft_keeper_close(struct datapath *d)
{
	struct nft_keeper *k = d->keeper;

	if (!k)
		return;
	loop_io_free(k->io);
	if (k->timer)
		loop_timer_free(k->timer);
	if (k->sock)
		(void)mnl_socket_close(k->sock);
	free(k);
	d->keeper = NULL;
}
