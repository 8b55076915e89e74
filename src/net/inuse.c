/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/inuse.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"

/* The kernel's states of sockets; linux/tcp_states.h is not for us. */
enum { STATE_CLOSE = 7, STATE_LISTEN = 10 };

struct asking {
	void (*fn)(void *user, const struct inuse_sock *s);
	void *user;
};

static int on_sock(const struct nlmsghdr *nh, void *data)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nh);
	const struct asking *a = data;
	struct inuse_sock s = { 0 };
	const struct nlattr *at;
	bool only = false;

	if (nh->nlmsg_type != SOCK_DIAG_BY_FAMILY || mnl_nlmsg_get_payload_len(nh) < sizeof(*m))
		return MNL_CB_OK;
	s.port = ntohs(m->id.idiag_sport);
	if (m->idiag_family == AF_INET) {
		s.v4 = true;
		if (m->id.idiag_src[0])
			s.addr = addr_of4(ntohl(m->id.idiag_src[0]));
	} else {
		memcpy(&s.addr, m->id.idiag_src, sizeof(s.addr));
		mnl_attr_for_each(at, nh, sizeof(*m))
			if (mnl_attr_get_type(at) == INET_DIAG_SKV6ONLY && mnl_attr_validate(at, MNL_TYPE_U8) >= 0)
				only = mnl_attr_get_u8(at);
		s.v6 = !addr_is4(&s.addr);
		s.v4 = !s.v6 || (!only && addr_is_any(&s.addr));
		if (!s.v6 && addr_is_any(&s.addr))
			s.addr = in6addr_any;
	}
	a->fn(a->user, &s);
	return MNL_CB_OK;
}

static int ask(struct mnl_socket *nl, uint8_t family, uint8_t proto, struct asking *a)
{
	char buf[16384];		/* MNL_SOCKET_BUFFER_SIZE is not a constant */
	struct nlmsghdr *nh = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *r;
	ssize_t n;
	int rc;

	nh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	r = mnl_nlmsg_put_extra_header(nh, sizeof(*r));
	r->sdiag_family = family;
	r->sdiag_protocol = proto;
	r->idiag_states = 1u << (proto == IPPROTO_TCP ? STATE_LISTEN : STATE_CLOSE);
	if (mnl_socket_sendto(nl, nh, nh->nlmsg_len) < 0)
		return -errno;
	while ((n = mnl_socket_recvfrom(nl, buf, sizeof(buf))) > 0) {
		rc = mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl), on_sock, a);
		if (rc < 0)
			return -errno;
		if (rc == MNL_CB_STOP)
			return 0;
	}
	return n < 0 ? -errno : -EIO;
}

int inuse_each(uint8_t proto, void (*fn)(void *user, const struct inuse_sock *s), void *user)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct asking a = { fn, user };
	int rc;

	if (!nl)
		return -errno;
	rc = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (rc == 0)
		rc = ask(nl, AF_INET, proto, &a);
	if (rc == 0)
		rc = ask(nl, AF_INET6, proto, &a);
	if (rc == -EAFNOSUPPORT)	/* no IPv6 */
		rc = 0;
	(void)mnl_socket_close(nl);
	return rc;
}
