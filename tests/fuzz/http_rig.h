/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_TESTS_FUZZ_HTTP_RIG_H
#define KEDGE_TESTS_FUZZ_HTTP_RIG_H

/* A server on an abstract socket, and one exchange with it: all bytes sent, the sending side closed, all bytes of the answer read. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "http/server.h"

static struct loop *rig_loop;
static struct sockaddr_un rig_addr = { .sun_family = AF_UNIX };
static socklen_t rig_len;

static void rig_start(http_handler *handler)
{
	struct err e = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (rig_loop)
		return;
	rig_loop = loop_new(&e);
	rig_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)snprintf(rig_addr.sun_path + 1, 64, "kedge-fuzz-%d", (int)getpid()));
	if (!rig_loop || fd < 0 || bind(fd, (struct sockaddr *)&rig_addr, rig_len) < 0 || listen(fd, 16) < 0 ||
	    http_server_listen_fd(http_server_new(rig_loop, handler, NULL), fd, &e) < 0)
		abort();
}

/* The loop waits for nothing: the client is in this process and has said all it will. */
static void rig_exchange(const void *p, size_t n, struct buf *answer)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t sent = 0, idle = 0;
	char piece[4096];
	ssize_t got = -1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&rig_addr, rig_len) < 0)
		abort();
	while (got != 0 && idle < 1000) {
		if (sent < n) {
			ssize_t k = send(fd, (const char *)p + sent, n - sent, MSG_NOSIGNAL);

			sent = k > 0 ? sent + (size_t)k : errno == EAGAIN ? sent : n;
			if (sent == n)
				(void)shutdown(fd, SHUT_WR);
		}
		(void)loop_turn(rig_loop, 0);
		got = recv(fd, piece, sizeof(piece), 0);
		if (got > 0)
			buf_add(answer, piece, (size_t)got);
		if (got < 0 && errno != EAGAIN)
			break;
		idle = got > 0 || sent < n ? 0 : idle + 1;
	}
	if (idle == 1000)
		abort();	/* everything was said and no end came of it */
	(void)close(fd);
	for (int i = 0; i < 4; i++)
		(void)loop_turn(rig_loop, 0);
}

#endif
