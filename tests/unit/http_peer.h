/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_HTTP_PEER_H
#define KEDGE_TESTS_HTTP_PEER_H

/*
 * A server with one handler for each kind of behaviour, and a raw client on the same loop: what a test sends is bytes, and it
 * waits for bytes or for the end of the connection, never for time.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "http/server.h"

struct peer {
	int fd;
	struct loop_io *io;
	struct buf in, out;
	size_t sent;
	bool eof, shut, reading;
};

extern struct loop *tl;
extern struct http_server *ts;
extern char t_dir[64], t_sock[80];
/* What the handlers saw. */
extern struct seen {
	unsigned requests, closed, ends_ok, ends_failed, drains, stream_closed, stream_eofs;
	size_t body;
	bool pause_body;
	struct http_req *held;		/* /hold and /in: answered by the test */
	struct http_stream *stream;
} seen;

int t_setup(void **state);
int t_teardown(void **state);

struct peer *peer_new(void);
struct peer *peer_of(int fd_take);
void peer_free(struct peer *p);
void peer_send(struct peer *p, const char *text);
void peer_send_n(struct peer *p, const void *data, size_t n);
void peer_flush(struct peer *p);		/* until all is with the kernel */
void peer_shut(struct peer *p);			/* half-close, when all is sent */
void peer_until(struct peer *p, const char *text);	/* fails when the connection ends first */
void peer_eof(struct peer *p);
unsigned peer_count(const struct peer *p, const char *text);
/* One connection: sends text, returns everything until the server closes. */
const char *talk(const char *text);
const char *talk_n(const void *data, size_t n);

#endif
