/* SPDX-License-Identifier: Apache-2.0 */
#include "http_rig.h"

/*
 * Frames of a hostile client, behind a handshake that is right. What comes back is made of whole frames as a server may send them; the data in them
 * is what the client has sent and no more; and the connection comes to its end.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void echo(struct http_stream *s, const void *p, size_t n, void *user)
{
	(void)user;
	(void)http_stream_write(s, p, n);
}

static void at_eof(struct http_stream *s, void *user)
{
	(void)user;
	http_stream_close(s);
}

static void at_close(struct http_stream *s, void *user)
{
	(void)s, (void)user;
}

static void handle(struct http_req *r, void *user)
{
	static const struct http_stream_ops ops = { .data = echo, .eof = at_eof, .close = at_close };
	struct err e = { 0 };

	(void)user;
	if (!http_hijack_websocket(r, &ops, NULL, &e))
		http_reply_err(r, &e);
}

static void judge(const char *answer, size_t n, size_t sent)
{
	const char *body = memmem(answer, n, "\r\n\r\n", 4);
	const uint8_t *p = (const uint8_t *)body + 4, *end = (const uint8_t *)answer + n;
	size_t data = 0;

	if (!body || strncmp(answer, "HTTP/1.1 101 ", 13) != 0)
		abort();
	while (p < end) {
		unsigned op = p[0] & 0x0f;
		uint64_t len = end - p < 2 ? 0 : p[1];
		size_t head = len == 126 ? 4 : len == 127 ? 10 : 2;

		if ((size_t)(end - p) < head || (p[0] & 0xf0) != 0x80 || (op != 2 && op != 8 && op != 10) || len > 127)
			abort();
		if (head > 2)
			len = 0;
		for (size_t i = 2; i < head; i++)
			len = len << 8 | p[i];
		if (len > (size_t)(end - p) - head || (op != 2 && len > 125))
			abort();
		data += op == 2 ? (size_t)len : 0;
		p += head + len;
	}
	if (data > sent)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char hand[] = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
				   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	struct buf all = BUF_INIT, answer = BUF_INIT;

	if (n > 1 << 17)
		return 0;
	rig_start(handle);
	buf_add(&all, hand, sizeof(hand) - 1);
	buf_add(&all, p, n);
	rig_exchange(all.data, all.len, &answer);
	judge(answer.data ? answer.data : "", answer.len, n);
	buf_done(&all);
	buf_done(&answer);
	return 0;
}
