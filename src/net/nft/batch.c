/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/nft/nft_priv.h"

/*
 * Theory of operation. nfnetlink takes a whole transaction in one sendmsg() and has carried it out, or not, when that returns: its complaints
 * are in the socket's queue then, one for each message at fault, and nothing waits.
 */
enum { MESSAGE_MAX = 16 << 10 };

static void grow(struct batch *b)
{
	if (b->cap - b->len >= MESSAGE_MAX)
		return;
	b->cap = b->cap ? 2 * b->cap : 4 * MESSAGE_MAX;
	b->data = mem_realloc(b->data, b->cap);
	memset(b->data + b->len, 0, b->cap - b->len);
}

void batch_begin(struct datapath *d, struct batch *b)
{
	*b = (struct batch){ .seq = ++d->seq };
	grow(b);
	b->len += MNL_ALIGN(nftnl_batch_begin(b->data, b->seq)->nlmsg_len);
}

struct nlmsghdr *batch_message(struct batch *b, uint16_t type, uint16_t flags)
{
	grow(b);
	return nftnl_nlmsg_build_hdr(b->data + b->len, type, NFPROTO_INET, flags, b->seq);
}

void batch_put(struct batch *b, const struct nlmsghdr *h)
{
	b->len += MNL_ALIGN(h->nlmsg_len);
	b->messages++;
}

static int answers(struct datapath *d, uint32_t seq)
{
	char buf[MNL_SOCKET_BUFFER_SIZE > 16384 ? MNL_SOCKET_BUFFER_SIZE : 16384];
	int bad = 0;

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(d->sock), buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? bad : bad ? bad : -errno;
		for (const struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_seq == seq && e->error && !bad)
				bad = e->error;
		}
	}
}

int batch_commit(struct datapath *d, struct batch *b)
{
	int r = 0, size = (int)(2 * b->len) + (64 << 10);

	grow(b);
	b->len += MNL_ALIGN(nftnl_batch_end(b->data + b->len, b->seq)->nlmsg_len);
	if (b->len > 64 << 10)
		(void)setsockopt(mnl_socket_get_fd(d->sock), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (mnl_socket_sendto(d->sock, b->data, b->len) < 0)
		r = -errno;
	if (r == 0)
		r = answers(d, b->seq);
	free(b->data);
	*b = (struct batch){ 0 };
	return r;
}

int nfnl_dump(struct datapath *d, struct nlmsghdr *h, mnl_cb_t cb, void *user)
{
	char buf[32 << 10];
	int r;

	h->nlmsg_seq = ++d->seq;
	if (mnl_socket_sendto(d->sock, h, h->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(d->sock, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, mnl_socket_get_portid(d->sock), cb, user);
	} while (r > 0);
	return r < 0 ? -errno : 0;
}
