/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455), the server's side, as a raw stream: what comes in data frames of any kind and division is data, what goes out is one
 * binary frame a write. Payloads are handed on as they come, nothing is collected, so a frame's length is of no concern; control frames have at
 * most 125 bytes. There is no half-close: a close frame is the end.
 */
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/http_priv.h"

enum { OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10, FIN = 0x80, MASKED = 0x80 };
enum { CONTROL_MAX = 125, PROTOCOL_ERROR = 1002 };

struct http_ws {
	unsigned char head[14], control[CONTROL_MAX], mask[4];
	size_t have;			/* of head */
	uint64_t left;			/* of the payload */
	size_t at;			/* in the payload, for the mask and for control */
	unsigned op;
	bool in_payload, fragmented, close_sent;
};

void http_ws_free(struct http_ws *w)
{
	free(w);
}

/* One frame's head; FIN is always set. */
static void put_head(struct evbuffer *out, unsigned op, size_t n)
{
	unsigned char h[10] = { (unsigned char)(FIN | op) };
	size_t len = 2;

	if (n <= CONTROL_MAX) {
		h[1] = (unsigned char)n;
	} else if (n <= 0xffff) {
		h[1] = 126;
		h[2] = (unsigned char)(n >> 8);
		h[3] = (unsigned char)n;
		len = 4;
	} else {
		h[1] = 127;
		for (int i = 0; i < 8; i++)
			h[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
		len = 10;
	}
	evbuffer_add(out, h, len);
}

void http_ws_write(struct http_ws *w, struct evbuffer *out, const void *p, size_t n)
{
	if (w->close_sent || !n)
		return;
	put_head(out, OP_BINARY, n);
	evbuffer_add(out, p, n);
}

void http_ws_close(struct http_ws *w, struct evbuffer *out, unsigned code)
{
	unsigned char c[2] = { (unsigned char)(code >> 8), (unsigned char)code };

	if (w->close_sent)
		return;
	w->close_sent = true;
	put_head(out, OP_CLOSE, sizeof(c));
	evbuffer_add(out, c, sizeof(c));
}

/* The bytes of a frame's head, from what is there of it: 2 until its second byte is known. */
static size_t head_size(const struct http_ws *w)
{
	unsigned n;

	if (w->have < 2)
		return 2;
	n = w->head[1] & 0x7f;
	return 2 + 4 + (n == 126 ? 2 : n == 127 ? 8 : 0);
}

/* A whole head: 0, or -1 for what no client may send. */
static int take_head(struct http_ws *w)
{
	unsigned op = w->head[0] & 0x0f, n = w->head[1] & 0x7f;
	bool fin = w->head[0] & FIN, control = op & 8;
	uint64_t len = 0;

	if (w->head[0] & 0x70 || !(w->head[1] & MASKED))
		return -1;
	if (control ? !fin || n > CONTROL_MAX || op > OP_PONG : op > OP_BINARY || (op == OP_MORE) != w->fragmented)
		return -1;
	for (unsigned i = 0; i < (n == 126 ? 2u : n == 127 ? 8u : 0u); i++)
		len = len << 8 | w->head[2 + i];
	if (n < 126)
		len = n;
	if (len >> 63)
		return -1;
	memcpy(w->mask, w->head + head_size(w) - 4, 4);
	if (!control)
		w->fragmented = !fin;
	w->op = op;
	w->left = len;
	w->at = 0;
	w->in_payload = true;
	return 0;
}

static void control(struct http_stream *s)
{
	struct http_ws *w = s->ws;
	struct evbuffer *out = bufferevent_get_output(s->c->bev);

	if (w->op == OP_PING && !w->close_sent) {
		put_head(out, OP_PONG, w->at);
		evbuffer_add(out, w->control, w->at);
	}
	if (w->op == OP_CLOSE) {
		http_ws_close(w, out, w->at >= 2 ? (unsigned)(w->control[0] << 8 | w->control[1]) : 1000);
		http_stream_close(s);
	}
}

/* A piece of payload of at most n bytes; the bytes used. */
static size_t payload(struct http_stream *s, const unsigned char *p, size_t n)
{
	struct http_ws *w = s->ws;
	unsigned char clear[4096], *to = w->op & 8 ? w->control + w->at : clear;

	if (n > w->left)
		n = (size_t)w->left;
	if (n > sizeof(clear))
		n = sizeof(clear);
	for (size_t i = 0; i < n; i++)
		to[i] = p[i] ^ w->mask[(w->at + i) & 3];
	w->at += n;
	w->left -= n;
	if (!(w->op & 8) && n && !s->closing)
		s->ops->data(s, clear, n, s->user);
	return n;
}

void http_ws_input(struct http_stream *s, const void *data, size_t n)
{
	struct http_ws *w = s->ws;
	const unsigned char *p = data;
	struct http_conn *c = s->c;

	while (!c->dead && !w->close_sent && (n || (w->in_payload && !w->left))) {
		size_t used;

		if (w->in_payload && w->left) {
			used = payload(s, p, n);
			p += used;
			n -= used;
			if (w->left)
				continue;
		}
		if (w->in_payload) {
			w->in_payload = false;
			if (!c->dead && w->op & 8)
				control(s);
			continue;
		}
		used = head_size(w) - w->have < n ? head_size(w) - w->have : n;
		memcpy(w->head + w->have, p, used);
		w->have += used;
		p += used;
		n -= used;
		if (w->have < 2 || (w->head[1] & MASKED && w->have < head_size(w)))
			continue;
		if (take_head(w) < 0) {
			http_ws_close(w, bufferevent_get_output(c->bev), PROTOCOL_ERROR);
			http_stream_close(s);
			return;
		}
		w->have = 0;
	}
}

static bool has_token(const char *list, const char *token)
{
	size_t n = strlen(token);

	for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
		p += strspn(p, " \t");
		if (!strncasecmp(p, token, n) && strchr(", \t", p[n]))
			return true;
	}
	return false;
}

struct http_stream *http_hijack_websocket(struct http_req *r, const struct http_stream_ops *ops, void *user, struct err *e)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *key = http_req_header(r, "Sec-WebSocket-Key"), *version = http_req_header(r, "Sec-WebSocket-Version");
	char *text CLEANUP(mem_freep) = NULL;
	unsigned char sum[EVP_MAX_MD_SIZE], accept[64];
	struct http_stream *s;
	unsigned n = 0;

	if (!str_eq(r->method, "GET") || !has_token(http_req_header(r, "Upgrade"), "websocket") || !has_token(http_req_header(r, "Connection"), "upgrade")) {
		err_set(e, ERR_INVALID, "this is no websocket handshake: 'Upgrade: websocket' is missing");
		return NULL;
	}
	if (!str_eq(version, "13") || !key || strlen(key) != 24) {
		err_set(e, ERR_INVALID, "websocket handshake: version 13 and a Sec-WebSocket-Key of 24 characters are needed");
		return NULL;
	}
	text = mem_printf("%s%s", key, guid);
	if (!EVP_Digest(text, strlen(text), sum, &n, EVP_sha1(), NULL)) {
		err_set(e, ERR_INTERNAL, "websocket handshake: no SHA-1");
		return NULL;
	}
	(void)EVP_EncodeBlock(accept, sum, (int)n);
	s = http_hijack_as(r, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ", (char *)accept, ops, user);
	s->ws = mem_zalloc(sizeof(*s->ws));
	return s;
}
