/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: accepting, its limits, what happens when descriptors run out. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/http_priv.h"

#define BACK_OFF_NS 100000000ll

struct http_listener {
	struct http_server *s;
	struct http_listener *next;
	struct loop_io *io;
	struct loop_timer *back_off;
	SSL_CTX *tls;
	char *path;		/* of our own unix socket, removed at the end */
	dev_t dev;
	ino_t ino;
	int fd;
	bool tcp;
};

struct http_server *http_server_new(struct loop *l, http_handler *handler, void *user)
{
	struct http_server *s = mem_zalloc(sizeof(*s));

	s->l = l;
	s->handler = handler;
	s->user = user;
	s->head_ns = 30000000000ll;
	s->body_ns = 60000000000ll;
	s->idle_ns = 600000000000ll;
	return s;
}

void http_server_set_timeouts(struct http_server *s, int64_t head_ns, int64_t body_ns, int64_t idle_ns)
{
	s->head_ns = head_ns;
	s->body_ns = body_ns;
	s->idle_ns = idle_ns;
}

static void accepting(struct http_server *s, bool on)
{
	for (struct http_listener *li = s->listeners; li; li = li->next) {
		if (li->io)
			loop_io_set(li->io, on ? LOOP_READ : 0);
	}
}

void http_server_stop_accepting(struct http_server *s)
{
	struct stat st;

	for (struct http_listener *li = s->listeners; li; li = li->next) {
		loop_io_free(TAKE(li->io));
		loop_timer_free(TAKE(li->back_off));
		if (li->fd >= 0)
			close(TAKE_FD(li->fd));
		/* Not when another one has been put in its place. */
		if (li->path && lstat(li->path, &st) == 0 && st.st_dev == li->dev && st.st_ino == li->ino)
			(void)unlink(li->path);
		mem_freep(&li->path);
		li->path = NULL;
	}
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	s->freeing = true;
	http_server_stop_accepting(s);
	while (s->conns)
		http_conn_close(s->conns);
	while (s->listeners) {
		struct http_listener *li = s->listeners;

		s->listeners = li->next;
		SSL_CTX_free(li->tls);
		free(li);
	}
	/* Connections' memory goes in a deferred call that looks at s no more. */
	free(s);
}

void http_server_freed_place(struct http_server *s)
{
	if (!s->freeing && s->n_conns == HTTP_CONNS_MAX - 1)
		accepting(s, true);
}

static void back_off_over(void *user)
{
	struct http_listener *li = user;

	if (li->io && li->s->n_conns < HTTP_CONNS_MAX)
		loop_io_set(li->io, LOOP_READ);
}

/* A peer that is gone without a word is found after about three minutes; one that only does not read is kept. */
static void tune(int fd)
{
	int one = 1, idle = 60, every = 30, count = 4;
	unsigned ms = 180000;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static void on_accept(void *user, unsigned events)
{
	static struct log_limit limit;
	struct http_listener *li = user;
	struct http_server *s = li->s;

	(void)events;
	/* A few a turn: a flood of connections must not starve the rest of the loop. */
	for (int i = 0; i < 16; i++) {
		struct http_conn *idle = s->n_conns >= HTTP_CONNS_MAX ? http_conn_idle(s) : NULL;
		int fd;

		if (s->n_conns >= HTTP_CONNS_MAX && !idle) {
			if (log_limit_ok(&limit, 1, 60))
				log_warn("http", "%d connections are open: others wait", HTTP_CONNS_MAX);
			accepting(s, false);
			return;
		}
		fd = accept4(li->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN)
				return;
			if (log_limit_ok(&limit, 1, 60))
				log_error("http", "cannot accept a connection: %s", strerror(errno));
			/* Level-triggered: without a pause a full descriptor table would spin the loop. */
			loop_io_set(li->io, 0);
			loop_timer_set(li->back_off, BACK_OFF_NS);
			return;
		}
		if (idle)
			http_conn_close(idle);
		if (li->tcp)
			tune(fd);
		if (!http_conn_new(s, fd, li->tls))
			log_error("http", "cannot take a connection: out of memory");
	}
}

static struct http_listener *add(struct http_server *s, int fd, SSL_CTX *tls, bool tcp)
{
	struct http_listener *li = mem_zalloc(sizeof(*li));

	li->s = s;
	li->fd = fd;
	li->tls = tls;
	li->tcp = tcp;
	li->next = s->listeners;
	s->listeners = li;
	li->back_off = loop_timer_new(s->l, back_off_over, li);
	li->io = loop_io_new(s->l, fd, LOOP_READ, on_accept, li);
	return li;
}

int http_server_listen_fd(struct http_server *s, int fd, struct err *e)
{
	int type = 0, listening = 0, flags = fcntl(fd, F_GETFL);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(type);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
		close(fd);
		return err_set(e, ERR_INVALID, "descriptor %d is not a listening stream socket", fd);
	}
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 || sa.ss_family != AF_UNIX) {
		close(fd);
		return err_set(e, ERR_INVALID, "descriptor %d: only Unix sockets are taken over from the service manager", fd);
	}
	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	add(s, fd, NULL, false);
	return 0;
}

int http_server_listen_unix(struct http_server *s, const char *path, mode_t mode, gid_t gid, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct http_listener *li;
	struct stat st = { 0 };
	int fd, probe;
	mode_t mask;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, ERR_INVALID, "socket path %s is longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0) {
		int r = connect(probe, (struct sockaddr *)&sa, sizeof(sa));
		int code = errno;

		close(probe);
		if (r == 0)
			return err_set(e, ERR_CONFLICT, "another program answers on %s", path);
		if (code == ECONNREFUSED) {
			if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
				return err_set(e, ERR_CONFLICT, "%s is there and is not a socket", path);
			(void)unlink(path);
		}
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot make a socket");
	mask = umask(0777);	/* nobody gets in before mode and group are set */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err_errno(e, errno, "cannot bind %s", path);
		umask(mask);
		close(fd);
		return -1;
	}
	umask(mask);
	if ((gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0) || chmod(path, mode) < 0 || listen(fd, 512) < 0) {
		err_errno(e, errno, "cannot listen on %s", path);
		(void)unlink(path);
		close(fd);
		return -1;
	}
	li = add(s, fd, NULL, false);
	li->path = mem_strdup(path);
	if (lstat(path, &st) == 0)
		li->dev = st.st_dev, li->ino = st.st_ino;
	return 0;
}

int http_server_listen_tcp(struct http_server *s, const char *host, uint16_t port, const struct http_tls *tls, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *ai = NULL;
	CLEANUP(mem_freep) char *name = NULL;
	SSL_CTX *ctx = NULL;
	char service[8];
	size_t n = host ? strlen(host) : 0;
	int r, fd, one = 1;

	snprintf(service, sizeof(service), "%u", port);
	if (n > 2 && host[0] == '[' && host[n - 1] == ']')
		name = mem_strndup(host + 1, n - 2);
	else if (n)
		name = mem_strdup(host);
	r = getaddrinfo(name, service, &hints, &ai);
	if (r)
		return err_set(e, ERR_INVALID, "'%s' is not an address to listen on: %s", name ? name : "", gai_strerror(r));
	if (tls && !(ctx = http_tls_server(tls, e))) {
		freeaddrinfo(ai);
		return -1;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 512) < 0) {
		err_errno(e, errno, "cannot listen on tcp://%s:%u", host ? host : "", port);
		if (fd >= 0)
			close(fd);
		SSL_CTX_free(ctx);
		freeaddrinfo(ai);
		return -1;
	}
	freeaddrinfo(ai);
	add(s, fd, ctx, true);
	return 0;
}
