/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/pcapng.h"
#include "net/sandbox.h"

/*
 * Theory of operation. A worker opens a packet socket inside the namespace (sockets stay where they were opened), the loop reads it. A turn reads a
 * bounded number of packets; what the reader does not take is left out and counted, so a slow reader costs the socket's buffer and the reader's limit
 * and nothing else. A cancelled capture whose worker is still at it is freed by the worker's return.
 */
enum { TURN = 64, SNAP_MAX = 65536, WAITING_MAX = 4 << 20, SOCKET_BUF = 4 << 20 };

struct net_capture {
	struct work w;
	struct net *n;
	char *path, ifname[16];
	uint32_t snaplen;
	uint64_t left, received, dropped;
	bool counted, opening, cancelled;
	int fd;
	struct loop_io *io;
	struct err err;
	const struct net_capture_ops *ops;
	void *user;
	char *packet;			/* SNAP_MAX */
	struct buf out;
};

static void capture_free(struct net_capture *c)
{
	loop_io_free(c->io);
	if (c->fd >= 0)
		(void)close(c->fd);
	buf_done(&c->out);
	free(c->packet);
	free(c->path);
	free(c);
}

/* Inside the namespace. */
static int open_socket(void *user, struct err *e)
{
	struct net_capture *c = user;
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(c->ifname) };
	int one = 1, size = SOCKET_BUF;

	if (!at.sll_ifindex)
		return err_set(e, ERR_NOT_FOUND, "there is no interface %s", c->ifname);
	c->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return err_errno(e, errno, "open a packet socket");
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0 || bind(c->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_errno(e, errno, "listen to %s", c->ifname);
	return 0;
}

static void capture_run(struct work *w)
{
	struct net_capture *c = CONTAINER_OF(w, struct net_capture, w);

	if (netns_visit(c->path, open_socket, c, &c->err) < 0)
		(void)err_wrap(&c->err, "capture");
}

static void statistics(struct net_capture *c)
{
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);

	/* What found the socket's buffer full. */
	if (getsockopt(c->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) == 0) {
		c->dropped += st.tp_drops;
		c->received += st.tp_drops;
	}
	buf_reset(&c->out);
	pcapng_statistics(&c->out, clock_wall(), c->received, c->dropped);
	(void)c->ops->data(c->user, c->out.data, c->out.len);
}

static void finish(struct net_capture *c, const struct err *e)
{
	const struct net_capture_ops *ops = c->ops;
	void *user = c->user;
	struct err copy = e ? *e : (struct err){ 0 };

	if (c->fd >= 0)
		statistics(c);
	capture_free(c);
	ops->end(user, e ? &copy : NULL);
}

/* One packet; false when there is none. */
static bool take(struct net_capture *c, bool room)
{
	char ctrl[CMSG_SPACE(sizeof(struct timespec))] __attribute__((aligned(8)));
	struct sockaddr_ll from = { 0 };
	struct iovec iov = { c->packet, c->snaplen };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctrl, .msg_controllen = sizeof(ctrl) };
	ssize_t n = recvmsg(c->fd, &m, MSG_TRUNC);
	int64_t at = clock_wall();

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) {
			err_errno(&c->err, errno, "the capture has ended");
			c->counted = true;
			c->left = 0;
		}
		return false;
	}
	c->received++;
	if (!room) {
		c->dropped++;
		return true;
	}
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		struct timespec ts;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SO_TIMESTAMPNS)
			continue;
		memcpy(&ts, CMSG_DATA(h), sizeof(ts));
		at = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	}
	pcapng_packet(&c->out, at, from.sll_pkttype != PACKET_OUTGOING, c->packet, (uint32_t)((size_t)n < c->snaplen ? (size_t)n : c->snaplen), (uint32_t)n);
	if (c->counted)
		c->left--;
	return true;
}

static void on_packets(void *user, unsigned events)
{
	struct net_capture *c = user;
	bool room = c->ops->data(c->user, NULL, 0) < WAITING_MAX;

	(void)events;
	buf_reset(&c->out);
	for (int i = 0; i < TURN && !(c->counted && !c->left); i++)
		if (!take(c, room))
			break;
	if (c->out.len)
		(void)c->ops->data(c->user, c->out.data, c->out.len);
	if (c->counted && !c->left)
		finish(c, c->err.kind != ERR_NONE ? &c->err : NULL);
}

static void capture_done(struct work *w)
{
	struct net_capture *c = CONTAINER_OF(w, struct net_capture, w);

	c->opening = false;
	if (c->cancelled || c->n->stopping) {
		capture_free(c);
		return;
	}
	if (c->err.kind != ERR_NONE) {
		finish(c, &c->err);
		return;
	}
	pcapng_head(&c->out, "kedge " PACKAGE_VERSION, c->ifname, c->snaplen);
	(void)c->ops->data(c->user, c->out.data, c->out.len);
	c->io = loop_io_new(c->n->loop, c->fd, LOOP_READ, on_packets, c);
}

struct net_capture *net_capture_start(struct net *n, const char *sandbox, uint32_t snaplen, uint64_t count, const struct net_capture_ops *ops, void *user,
				      struct err *e)
{
	struct sandbox *s = map_get(n->sandboxes, sandbox);
	const struct endpoint *ep = s ? sandbox_main(s) : NULL;
	struct net_capture *c;

	if (!ep || !*ep->ifname || !s->path) {
		err_set(e, ERR_CONFLICT, "it has no interface of its own: it does not run, or shares the network of another");
		return NULL;
	}
	c = mem_zalloc(sizeof(*c));
	*c = (struct net_capture){ .n = n, .fd = -1, .opening = true, .ops = ops, .user = user, .left = count, .counted = count != 0,
				   .snaplen = snaplen && snaplen < SNAP_MAX ? snaplen : SNAP_MAX };
	c->path = mem_strdup(s->path);
	memcpy(c->ifname, ep->ifname, sizeof(c->ifname));
	c->packet = mem_alloc(SNAP_MAX);
	c->w = (struct work){ .run = capture_run, .done = capture_done };
	work_start(n->pool, &c->w);
	return c;
}

void net_capture_cancel(struct net_capture *c)
{
	if (!c)
		return;
	if (c->opening)
		c->cancelled = true;
	else
		capture_free(c);
}
