/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A server is two sockets in somebody's namespace and a list of views. Sockets stay in the namespace they were opened in, so one loop serves all. UDP is
 * read and written in batches of UDP_BATCH with one system call each; what can be answered at once is answered from the same buffers, nothing is
 * allocated. What has to wait becomes a struct pending (resolve.c). A batch a turn: with many servers busy the loop goes around among them and
 * everything else that it serves.
 *
 * An idle server costs its two sockets, two watches and this struct: less than 1 kB here and what the kernel takes for the sockets.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dns/dns_priv.h"

struct udp_buffers {
	struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
	struct iovec in_iov[UDP_BATCH], out_iov[UDP_BATCH];
	struct sockaddr_in from[UDP_BATCH];
	uint8_t query[UDP_BATCH][UDP_QUERY_MAX], answer[UDP_BATCH][UDP_ANSWER_MAX];
};

struct dns_lookup {
	struct dns_lookup *next;
	struct dns_server *server;
	struct pending *pending;
	uint8_t *msg;			/* an answer that came at once */
	size_t n;
	void (*done)(void *user, const uint8_t *msg, size_t n);
	void *user;
};

static struct udp_buffers *buffers(struct dns *d)
{
	if (d->buffers)
		return d->buffers;
	d->buffers = mem_zalloc(sizeof(*d->buffers));
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		d->buffers->in_iov[i] = (struct iovec){ d->buffers->query[i], UDP_QUERY_MAX };
		d->buffers->in[i].msg_hdr.msg_iov = &d->buffers->in_iov[i];
		d->buffers->in[i].msg_hdr.msg_iovlen = 1;
		d->buffers->out[i].msg_hdr.msg_iov = &d->buffers->out_iov[i];
		d->buffers->out[i].msg_hdr.msg_iovlen = 1;
	}
	return d->buffers;
}

void udp_buffers_free(struct dns *d)
{
	free(TAKE(d->buffers));
}

static void send_batch(struct dns_server *s, struct udp_buffers *b, unsigned n)
{
	unsigned done = 0;

	while (done < n) {
		int r = sendmmsg(s->udp_fd, b->out + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r > 0) {
			done += (unsigned)r;
			continue;
		}
		if (r < 0 && errno == EINTR)
			continue;
		/* This one cannot be sent (its asker is gone, or does not read): the others can. */
		s->dns->stats.dropped++;
		done++;
	}
}

static void on_udp(void *user, unsigned events)
{
	struct dns_server *s = user;
	struct udp_buffers *b = buffers(s->dns);
	unsigned n_out = 0;
	int64_t now;
	int n;

	(void)events;
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		b->in[i].msg_hdr.msg_name = &b->from[i];
		b->in[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
	}
	n = recvmmsg(s->udp_fd, b->in, UDP_BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return;
	now = clock_now();
	for (int i = 0; i < n; i++) {
		struct asker who = { .proto = PROTO_UDP, .server = s, .from = b->from[i] };
		size_t len = resolve(&who, &s->pending, b->query[i], b->in[i].msg_len, b->answer[n_out], UDP_ANSWER_MAX, now);

		if (!len)
			continue;
		b->out_iov[n_out] = (struct iovec){ b->answer[n_out], len };
		b->out[n_out].msg_hdr.msg_name = &b->from[i];
		b->out[n_out].msg_hdr.msg_namelen = sizeof(b->from[i]);
		n_out++;
	}
	send_batch(s, b, n_out);
}

void udp_reply(struct dns_server *s, const struct sockaddr_in *to, const uint8_t *msg, size_t n)
{
	if (s->udp_fd < 0 || sendto(s->udp_fd, msg, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof(*to)) < 0)
		s->dns->stats.dropped++;
}

static void on_tcp(void *user, unsigned events)
{
	(void)events;
	conn_accept(user);
}

int dns_server_sockets(const struct in_addr *addr, uint16_t port, int *udp_fd, int *tcp_fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = *addr, .sin_port = htons(port) };
	int udp = -1, tcp = -1, rc = 0, one = 1, size = 1 << 20;
	socklen_t len = sizeof(a);

	/* Another one may have the port the kernel chose for UDP. */
	for (unsigned i = 0; i < (port ? 1 : 16); i++) {
		a.sin_port = htons(port);
		udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (udp >= 0 && tcp >= 0) {
			(void)setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
			(void)setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
			(void)setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			if (bind(udp, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(udp, (struct sockaddr *)&a, &len) == 0 &&
			    bind(tcp, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(tcp, 128) == 0) {
				*udp_fd = udp;
				*tcp_fd = tcp;
				return 0;
			}
		}
		rc = -errno;
		fd_closep(&udp);
		fd_closep(&tcp);
		if (rc != -EADDRINUSE)
			break;
	}
	return rc;
}

static void stop_listening(struct dns_server *s)
{
	loop_io_free(TAKE(s->udp_io));
	loop_io_free(TAKE(s->tcp_io));
	fd_closep(&s->udp_fd);
	fd_closep(&s->tcp_fd);
	s->udp_fd = s->tcp_fd = -1;
}

void dns_server_listen_take(struct dns_server *s, int udp_fd, int tcp_fd)
{
	stop_listening(s);
	s->udp_fd = udp_fd;
	s->tcp_fd = tcp_fd;
	s->udp_io = loop_io_new(s->dns->l, udp_fd, LOOP_READ, on_udp, s);
	s->tcp_io = loop_io_new(s->dns->l, tcp_fd, LOOP_READ, on_tcp, s);
}

struct dns_server *dns_server_new(struct dns *d, const char *label)
{
	struct dns_server *s = mem_zalloc(sizeof(*s));

	s->dns = d;
	s->label = mem_strdup(label);
	s->udp_fd = s->tcp_fd = -1;
	s->next = d->servers;
	s->prev = &d->servers;
	if (s->next)
		s->next->prev = &s->next;
	d->servers = s;
	return s;
}

void dns_server_free(struct dns_server *s)
{
	if (!s)
		return;
	stop_listening(s);
	pending_drop(&s->pending);
	conns_drop(s);
	while (s->lookups) {
		struct dns_lookup *l = s->lookups;

		l->done(l->user, NULL, 0);
		dns_lookup_cancel(l);
	}
	server_usable_reset(s);
	dns_upstreams_unref(s->dns->forward, s->upstreams);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s->label);
	free(s->views);
	free(s->own);
	free(s->aliases);
	free(s);
}

void dns_server_view_add(struct dns_server *s, struct dns_view *v, const struct in6_addr *own, size_t n)
{
	s->views = mem_realloc(s->views, (s->n_views + 1) * sizeof(*s->views));
	s->views[s->n_views++] = v;
	if (n)
		s->own = mem_realloc(s->own, (s->n_own + n) * sizeof(*s->own));
	for (size_t i = 0; i < n; i++)
		s->own[s->n_own++] = own[i];
	server_usable_reset(s);
}

void dns_server_views_clear(struct dns_server *s)
{
	s->n_views = s->n_own = 0;
	server_usable_reset(s);
}

int dns_server_alias(struct dns_server *s, const char *alias, const char *name)
{
	struct alias a;

	if (dns_name_parse(alias, &a.name) < 0 || a.name.len <= 1 || dns_name_parse(name, &a.target) < 0 || a.target.len <= 1)
		return -EINVAL;
	s->aliases = mem_realloc(s->aliases, (s->n_aliases + 1) * sizeof(*s->aliases));
	s->aliases[s->n_aliases++] = a;
	return 0;
}

void dns_server_aliases_clear(struct dns_server *s)
{
	s->n_aliases = 0;
}

int dns_server_upstreams(struct dns_server *s, const char *const *servers, size_t n, struct err *e)
{
	struct dns_upstreams *set = NULL;

	if (n) {
		set = dns_upstreams_get(s->dns->forward, servers, n, e);
		if (!set)
			return -1;
	}
	dns_upstreams_unref(s->dns->forward, s->upstreams);
	s->upstreams = set;
	server_usable_reset(s);
	return 0;
}

void dns_server_forwarding(struct dns_server *s, bool on)
{
	s->forwarding = on;
}

/* ---- questions from inside ---- */

static void lookup_at_once(void *user)
{
	struct dns_lookup *l = user;

	l->done(l->user, l->n ? l->msg : NULL, l->n);
	dns_lookup_cancel(l);
}

void lookup_reply(struct dns_lookup *l, const uint8_t *msg, size_t n)
{
	l->done(l->user, msg, n);
	dns_lookup_cancel(l);
}

struct dns_lookup *dns_lookup(struct dns_server *s, const uint8_t *q, size_t n, void (*done)(void *user, const uint8_t *msg, size_t n), void *user)
{
	struct dns_lookup *l = mem_zalloc(sizeof(*l));
	struct asker who = { .proto = PROTO_API, .server = s, .lookup = l };

	l->server = s;
	l->done = done;
	l->user = user;
	l->next = s->lookups;
	s->lookups = l;
	l->msg = mem_alloc(DNS_MSG_MAX);
	l->n = resolve(&who, &l->pending, q, n, l->msg, DNS_MSG_MAX, clock_now());
	if (l->n || !l->pending)
		loop_defer(s->dns->l, lookup_at_once, l);
	return l;
}

void dns_lookup_cancel(struct dns_lookup *l)
{
	struct dns_lookup **at = &l->server->lookups;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	pending_drop(&l->pending);
	loop_forget(l->server->dns->l, lookup_at_once, l);
	free(l->msg);
	free(l);
}
