/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/http_priv.h"

struct http_client {
	struct loop *l;
	struct sockaddr_storage sa;
	socklen_t sa_len;
	char *host, *url;
	SSL_CTX *tls;
};

struct header {
	char *name, *value;
	struct header *next;
};

struct http_call {
	struct http_client *c;
	const struct http_call_ops *ops;
	void *user;
	struct bufferevent *bev;
	http_parser parser;
	struct header *headers;
	struct buf name, value;		/* of the header being read */
	bool in_value, chunked_out, finished_out, shut, deaf, no_body, wants_raw, raw, head_done, over, dead;
	int connect_err;
};

struct http_client *http_client_new(struct loop *l, const char *url, const struct http_tls *tls, struct err *e)
{
	struct http_client *c = mem_zalloc(sizeof(*c));

	c->l = l;
	c->url = mem_strdup(url);
	if (str_starts(url, "unix://")) {
		struct sockaddr_un *un = (struct sockaddr_un *)&c->sa;
		const char *path = url + 7;

		un->sun_family = AF_UNIX;
		if (strlen(path) >= sizeof(un->sun_path) || !*path) {
			err_set(e, ERR_INVALID, "invalid host %s: the socket path is empty or too long", url);
			goto fail;
		}
		memcpy(un->sun_path, path, strlen(path) + 1);
		c->sa_len = sizeof(*un);
		c->host = mem_strdup("kedge");
		return c;
	}
	if (str_starts(url, "tcp://")) {
		char *host CLEANUP(mem_freep) = mem_strdup(url + 6), *port = strrchr(host, ':'), *name = host;
		struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai = NULL;
		int r;

		if (port && strchr(port, ']'))
			port = NULL;
		if (port)
			*port++ = '\0';
		if (*name == '[' && str_ends(name, "]")) {
			name[strlen(name) - 1] = '\0';
			name++;
		}
		r = getaddrinfo(name, port && *port ? port : tls ? "2376" : "2375", &hints, &ai);
		if (r) {
			err_set(e, ERR_INVALID, "cannot resolve %s: %s", url, gai_strerror(r));
			goto fail;
		}
		memcpy(&c->sa, ai->ai_addr, ai->ai_addrlen);
		c->sa_len = ai->ai_addrlen;
		freeaddrinfo(ai);
		c->host = mem_strdup(name);
		if (tls && !(c->tls = http_tls_client(tls, e)))
			goto fail;
		return c;
	}
	err_set(e, ERR_INVALID, "invalid host %s: it must begin with unix:// or tcp://", url);
fail:
	http_client_free(c);
	return NULL;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->tls);
	free(c->host);
	free(c->url);
	free(c);
}

static void drop_headers(struct http_call *c)
{
	while (c->headers) {
		struct header *h = c->headers;

		c->headers = h->next;
		free(h->name);
		free(h->value);
		free(h);
	}
}

static void free_call(void *user)
{
	struct http_call *c = user;

	drop_headers(c);
	buf_done(&c->name);
	buf_done(&c->value);
	free(c);
}

void http_call_cancel(struct http_call *c)
{
	if (c->dead)
		return;
	c->dead = true;
	if (c->bev) {
		if (c->c->tls) {
			SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
			ERR_clear_error();	/* the handshake may not have been over */
		}
		bufferevent_free(c->bev);
	}
	c->bev = NULL;
	loop_defer(c->c->l, free_call, c);
}

static void end_call(struct http_call *c, const struct err *e)
{
	if (c->dead || c->over)
		return;
	c->over = true;
	if (c->ops->end)
		c->ops->end(c, !e, e, c->user);
	http_call_cancel(c);
}

static void store_header(struct http_call *c)
{
	struct header *h;

	if (!c->name.len)
		return;
	h = mem_zalloc(sizeof(*h));
	h->name = mem_strdup(c->name.data);
	h->value = mem_strdup(c->value.data ? c->value.data : "");
	h->next = c->headers;
	c->headers = h;
	buf_reset(&c->name);
	buf_reset(&c->value);
	c->in_value = false;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
	struct http_call *c = p->data;

	if (c->in_value)
		store_header(c);
	return buf_add(&c->name, at, n) < 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
	struct http_call *c = p->data;

	c->in_value = true;
	return buf_add(&c->value, at, n) < 0;
}

static int on_headers(http_parser *p)
{
	struct http_call *c = p->data;

	store_header(c);
	if (p->status_code >= 100 && p->status_code < 200 && p->status_code != 101) {
		drop_headers(c);
		return 1;	/* not the answer yet */
	}
	c->head_done = true;
	c->raw = p->status_code == 101 || (c->wants_raw && p->status_code == 200 && !http_call_header(c, "Content-Length") &&
					    !http_call_header(c, "Transfer-Encoding"));
	if (c->ops->head)
		c->ops->head(c, p->status_code, c->raw, c->user);
	if (c->dead)
		return -1;
	return c->raw ? 2 : c->no_body;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
	struct http_call *c = p->data;

	if (c->ops->data)
		c->ops->data(c, at, n, c->user);
	return c->dead;
}

static int on_message(http_parser *p)
{
	struct http_call *c = p->data;

	if (!c->raw && c->head_done)
		end_call(c, NULL);
	return c->dead;
}

static const http_parser_settings settings = {
	.on_header_field = on_field, .on_header_value = on_value, .on_headers_complete = on_headers,
	.on_body = on_body, .on_message_complete = on_message,
};

static void on_read(struct bufferevent *bev, void *user)
{
	struct http_call *c = user;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_iovec v;

	while (!c->dead && evbuffer_peek(in, -1, NULL, &v, 1) >= 1 && v.iov_len) {
		size_t used = v.iov_len;

		if (c->raw) {
			if (c->ops->data)
				c->ops->data(c, v.iov_base, v.iov_len, c->user);
		} else {
			used = http_parser_execute(&c->parser, &settings, v.iov_base, v.iov_len);
			if (!c->dead && !c->raw && HTTP_PARSER_ERRNO(&c->parser) != HPE_OK) {
				struct err e;

				err_set(&e, ERR_INTERNAL, "%s sent a malformed reply: %s", c->c->url,
					http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
				end_call(c, &e);
			}
		}
		if (!c->dead)
			evbuffer_drain(in, used);
	}
}

static void shut_out(struct http_call *c)
{
	if (c->c->tls)
		SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
	else
		shutdown(bufferevent_getfd(c->bev), SHUT_WR);
}

static void on_written(struct bufferevent *bev, void *user)
{
	struct http_call *c = user;

	/* The call was put off: more may have been written since, then it comes again. */
	if (c->dead || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	if (c->shut)
		shut_out(c);
	else if (c->ops->drain)
		c->ops->drain(c, c->user);
}

static void on_event(struct bufferevent *bev, short what, void *user)
{
	struct http_call *c = user;
	int code = EVUTIL_SOCKET_ERROR();
	struct err e;

	if (c->dead || what & BEV_EVENT_CONNECTED)
		return;
	if (what & BEV_EVENT_WRITING && what & BEV_EVENT_ERROR && !c->c->tls) {
		/* The server takes no more, as when it has refused a body half-way: its answer is there to be read. */
		struct evbuffer *out = bufferevent_get_output(bev);

		c->finished_out = c->deaf = true;
		evbuffer_drain(out, evbuffer_get_length(out));
		bufferevent_enable(bev, EV_READ);
		if (c->ops->drain)
			c->ops->drain(c, c->user);
		return;
	}
	if (what & BEV_EVENT_EOF) {
		on_read(bev, c);
		if (c->dead)
			return;
		if (c->raw) {
			end_call(c, NULL);
			return;
		}
		/* A body that lasts until the end of the connection is complete now. */
		http_parser_execute(&c->parser, &settings, NULL, 0);
		if (c->dead)
			return;
		err_set(&e, ERR_UNAVAILABLE, c->head_done ? "the reply of %s ended early" : "%s closed the connection without a reply", c->c->url);
	} else if (c->c->tls && bufferevent_get_openssl_error(bev)) {
		err_set(&e, ERR_UNAVAILABLE, "cannot speak TLS with %s", c->c->url);
	} else {
		err_errno(&e, code ? code : EIO, "lost the connection to %s", c->c->url);
	}
	end_call(c, &e);
}

static void connect_failed(void *user)
{
	struct http_call *c = user;
	struct err e;

	if (c->dead)
		return;
	err_set(&e, ERR_UNAVAILABLE, "Cannot connect to the kedge daemon at %s: %s. Is the kedge daemon running?", c->c->url,
		strerror(c->connect_err));
	end_call(c, &e);
}

static void send_head(struct http_call *c, const struct http_call_args *a)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kedge/" PACKAGE_VERSION "\r\n", a->method, a->target, c->c->host);
	for (size_t i = 0; a->headers && a->headers[i]; i++)
		evbuffer_add_printf(out, "%s\r\n", a->headers[i]);
	if (a->upgrade)
		evbuffer_add_printf(out, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
	else
		evbuffer_add_printf(out, "Connection: close\r\n");
	if (a->stream)
		evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
	else if (a->body || strcmp(a->method, "GET"))
		evbuffer_add_printf(out, "Content-Length: %zu\r\n", a->body ? a->len : 0);
	if (a->body || a->stream)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", a->type ? a->type : "application/json");
	evbuffer_add(out, "\r\n", 2);
	if (a->body && !a->stream)
		evbuffer_add(out, a->body, a->len);
}

struct http_call *http_call_start(struct http_client *cl, const struct http_call_args *a, const struct http_call_ops *ops, void *user)
{
	struct http_call *c = mem_zalloc(sizeof(*c));
	int fd, one = 1;

	c->c = cl;
	c->ops = ops;
	c->user = user;
	c->chunked_out = a->stream;
	c->finished_out = !a->stream;
	c->wants_raw = a->upgrade;
	c->no_body = str_eq(a->method, "HEAD");
	buf_init(&c->name, 4096);
	buf_init(&c->value, 65536);
	http_parser_init(&c->parser, HTTP_RESPONSE);
	c->parser.data = c;
	fd = socket(cl->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Connecting blocks: a Unix socket answers at once, and a CLI has nothing else to do. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&cl->sa, cl->sa_len) < 0) {
		c->connect_err = errno;
		if (fd >= 0)
			close(fd);
		loop_defer(cl->l, connect_failed, c);
		return c;
	}
	evutil_make_socket_nonblocking(fd);
	if (cl->sa.ss_family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (cl->tls) {
		SSL *ssl = SSL_new(cl->tls);

		if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), cl->host)) {
			SSL_set1_host(ssl, cl->host);
			SSL_set_tlsext_host_name(ssl, cl->host);
		}
		c->bev = bufferevent_openssl_socket_new(loop_base(cl->l), fd, ssl, BUFFEREVENT_SSL_CONNECTING,
							BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	} else {
		c->bev = bufferevent_socket_new(loop_base(cl->l), fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	}
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	send_head(c, a);
	return c;
}

size_t http_call_write(struct http_call *c, const void *p, size_t n)
{
	struct evbuffer *out;

	if (!c->bev)
		return 0;
	out = bufferevent_get_output(c->bev);
	if (n && !c->shut && !c->deaf && (c->raw || !c->finished_out)) {
		if (!c->raw && c->chunked_out)
			evbuffer_add_printf(out, "%zx\r\n", n);
		evbuffer_add(out, p, n);
		if (!c->raw && c->chunked_out)
			evbuffer_add(out, "\r\n", 2);
	}
	return evbuffer_get_length(out);
}

void http_call_finish(struct http_call *c)
{
	struct evbuffer *out;

	if (!c->bev)
		return;
	out = bufferevent_get_output(c->bev);
	if (c->raw) {
		if (c->shut || c->deaf)
			return;
		c->shut = true;
		if (evbuffer_get_length(out) == 0)
			shut_out(c);
	} else if (!c->finished_out) {
		c->finished_out = true;
		evbuffer_add(out, "0\r\n\r\n", 5);
	}
}

const char *http_call_header(const struct http_call *c, const char *name)
{
	for (const struct header *h = c->headers; h; h = h->next) {
		if (!strcasecmp(h->name, name))
			return h->value;
	}
	return NULL;
}

void http_encode(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c))
			buf_addc(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

struct whole {
	struct buf *out;
	struct err *e;
	int status;
	bool done, failed;
};

static void whole_head(struct http_call *c, int status, bool upgraded, void *user)
{
	struct whole *w = user;

	(void)c;
	(void)upgraded;
	w->status = status;
}

static void whole_data(struct http_call *c, const void *p, size_t n, void *user)
{
	struct whole *w = user;

	(void)c;
	if (w->out && buf_add(w->out, p, n) < 0)
		w->failed = true;
}

static void whole_end(struct http_call *c, bool ok, const struct err *e, void *user)
{
	struct whole *w = user;

	(void)c;
	w->done = true;
	if (!ok) {
		w->failed = true;
		if (w->e)
			*w->e = *e;
	}
}

int http_client_do(struct http_client *cl, const struct http_call_args *a, struct buf *out, struct err *e)
{
	static const struct http_call_ops ops = { .head = whole_head, .data = whole_data, .end = whole_end };
	struct whole w = { .out = out, .e = e };

	err_set(e, ERR_TOO_LARGE, "the reply is too large");
	http_call_start(cl, a, &ops, &w);
	while (!w.done)
		loop_turn(cl->l, -1);
	if (w.failed)
		return -1;
	err_clear(e);
	return w.status;
}
