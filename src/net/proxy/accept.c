/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/proxy/proxy_priv.h"

/*
 * What is accepted at a published port, and the way on to the container: the half that TCP's connections and SCTP's associations have in common.
 * Each has two sockets, the client's and the container's; what goes on between them is tcp.c's and sctp.c's.
 */
enum { ACCEPTS = 64 };			/* a turn */

struct in6_addr proxy_addr_from(const union proxy_addr *a)
{
	return a->sa.sa_family == AF_INET ? addr_of4(ntohl(a->v4.sin_addr.s_addr)) : a->v6.sin6_addr;
}

/* An end that does not look like success: a reset, an ABORT. */
static void refuse(int fd)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
}

/* Does anything here depend on the address the client wrote to? */
static bool asks_local(const struct proxy_port *p)
{
	const struct proxy_target *to = &p->to;

	return to->first || !IN6_IS_ADDR_UNSPECIFIED(&to->addr6) || p->t->n_barred || (to->policy && to->policy->n_sources) || to->keep4 || to->keep6;
}

static bool visit_read(const struct proxy_port *p, const union proxy_addr *peer, struct proxy_visit *v)
{
	union proxy_addr own = { 0 };
	socklen_t n = sizeof(own);

	v->client = proxy_addr_from(peer);
	v->client_port = ntohs(peer->sa.sa_family == AF_INET ? peer->v4.sin_port : peer->v6.sin6_port);
	if (!asks_local(p))
		return true;
	if (getsockname(v->fd, &own.sa, &n) < 0)
		return false;
	v->local = proxy_addr_from(&own);
	v->port = ntohs(own.sa.sa_family == AF_INET ? own.v4.sin_port : own.v6.sin6_port);
	if (p->service->local)
		p->service->local(v);
	return proxy_allows(p, &v->client, &v->local);
}

static struct proxy_target target_of(const struct proxy_port *p, const struct proxy_visit *v)
{
	struct proxy_target to = p->to;

	if (to.first)
		to.port = (uint16_t)(to.port + v->port - to.first);
	if (!IN6_IS_ADDR_UNSPECIFIED(&to.addr6) && !addr_is4(&v->client))
		to.addr = to.addr6;
	return to;
}

int proxy_dial(const struct proxy_port *p, const struct proxy_visit *v, bool *connecting)
{
	struct proxy_target to = target_of(p, v);
	CLEANUP(fd_closep) int fd = -1;
	union proxy_addr sa;
	socklen_t len;
	int rc;

	if (!proxy_pick(&to, &v->client, v->client_port))
		return -ECONNREFUSED;
	len = proxy_target_addr(&to, &sa);
	fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, to.proto);
	if (fd < 0)
		return -errno;
	p->service->setup(fd);
	rc = proxy_bear(&to, fd, &v->client, &v->local);
	if (rc == 0 && p->service->prepare)
		rc = p->service->prepare(fd, v, &to);
	if (rc < 0)
		return rc;
	rc = connect(fd, &sa.sa, len) < 0 ? -errno : 0;
	if (rc == -EINPROGRESS && !v->spoke)
		rc = connect(fd, &sa.sa, len) < 0 ? -errno : 0;
	if (rc < 0 && rc != -EINPROGRESS && rc != -EALREADY && rc != -EISCONN)
		return rc;
	*connecting = rc == -EINPROGRESS || rc == -EALREADY;
	rc = TAKE_FD(fd);
	return rc;
}

/* Takes the accepted fd; false when there is no room for the connection. */
static bool visit_serve(struct proxy_port *p, struct proxy_visit *v)
{
	bool connecting;
	int rc;

	if (p->service->greet && !p->service->greet(p, v)) {
		(void)close(v->fd);
		return true;
	}
	rc = proxy_dial(p, v, &connecting);
	if (rc >= 0) {
		p->service->add(p, v, rc, connecting);
		return true;
	}
	(*p->service->failed(p->t->stat))++;
	refuse(v->fd);
	/* No address left to connect from, no memory: as with descriptors, it passes. */
	return !(rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -EADDRNOTAVAIL);
}

static void on_accept(void *user, unsigned events)
{
	struct proxy_port *p = user;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		union proxy_addr peer = { 0 };
		socklen_t n = sizeof(peer);
		struct proxy_visit v = { 0 };

		if (p->t->conns >= p->t->conns_max) {
			proxy_starved(p->t);
			return;
		}
		v.fd = accept4(p->fd, &peer.sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (v.fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				proxy_starved(p->t);
			else if (errno != EAGAIN)
				continue;	/* the connection's own trouble (accept(2)) */
			return;
		}
		if (!visit_read(p, &peer, &v)) {
			p->t->stat->refused++;
			refuse(v.fd);
		} else if (!visit_serve(p, &v)) {
			proxy_starved(p->t);
			return;
		}
	}
}

void proxy_accept(struct proxy_port *p, const struct proxy_service *s)
{
	p->service = s;
	/* Accepted sockets inherit these. */
	s->setup(p->fd);
	p->io = loop_io_new(p->t->l, p->fd, LOOP_READ, on_accept, p);
}

/* The container's side has become writable: is it connected? */
static bool is_made(struct proxy_conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(c->side[1].fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err) {
		(*c->port->service->failed(c->port->t->stat))++;
		return false;
	}
	c->connecting = false;
	return true;
}

static void on_side(void *user, unsigned events)
{
	struct proxy_side *s = user;
	struct proxy_conn *c = s->c;
	const struct proxy_service *by = c->port->service;
	int i = s == &c->side[1], rc = 0;

	if (c->connecting) {
		/* The request is often here already. */
		rc = is_made(c) ? by->pump(c, 0) : -ECONNREFUSED;
	} else {
		if (events & LOOP_EOF)
			s->fin = true;
		if (events & LOOP_WRITE)
			rc = by->pump(c, !i);
		if (rc == 0 && events & (LOOP_READ | LOOP_EOF))
			rc = by->pump(c, i);
	}
	by->settle(c, rc);
}

void proxy_conn_add(struct proxy_conn *c, struct proxy_port *p, int client, int container, bool connecting)
{
	c->port = p;
	for (int i = 0; i < 2; i++) {
		c->side[i] = (struct proxy_side){ .c = c, .fd = i ? container : client };
		c->side[i].io = loop_io_new(p->t->l, c->side[i].fd, 0, on_side, &c->side[i]);
	}
	c->connecting = connecting;
	c->at = &p->conns;
	c->next = p->conns;
	if (c->next)
		c->next->at = &c->next;
	p->conns = c;
	p->t->conns++;
}

static void side_close(struct proxy_side *s, bool reset)
{
	loop_io_free(s->io);
	if (reset)
		refuse(s->fd);
	else
		(void)close(s->fd);
}

void proxy_conn_swap(struct proxy_conn *c, int container)
{
	struct proxy_side *s = &c->side[1];

	side_close(s, true);
	s->fd = container;
	s->io = loop_io_new(c->port->t->l, container, 0, on_side, s);
}

void proxy_conn_close(struct proxy_conn *c, bool reset)
{
	for (int i = 0; i < 2; i++)
		side_close(&c->side[i], reset);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	c->port->t->conns--;
}
