/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_PROTO_H
#define KEDGE_RUNTIME_PROTO_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * What the engine and a container's monitor say to each other. Transport: SOCK_SEQPACKET Unix sockets, so one packet is one message:
 * a head, then bytes, then perhaps one descriptor. Both ends are on one machine but not of one build: the engine may have been
 * upgraded since the monitor started. New fields go behind the old ones' meaning, unknown types are ignored, PM_VERSION tells.
 *
 *   control (the socket the monitor is started with, or a later connection to <run_dir>/monitor.sock)
 *     engine → LAUNCH                       monitor → CREATED (pid, pidfd | error)
 *     engine → NET + namespace (or error)   (only if LAUNCH said "late_net": CREATED waits for it)
 *     engine → START                        monitor → STARTED (time | error)
 *     engine → HELLO                        monitor → STATE (pid, pidfd), again after each reconnect
 *     engine → ATTACH + socket              (no answer; handled in order with START, so nothing is missed)
 *     engine → PAUSE, UPDATE, EXEC + socket monitor → DONE, EXEC_STARTED, EXEC_EXITED with the request's tag
 *     engine → SIGNAL, RESIZE, DESTROY
 *                                           monitor → EXITED, then end of file
 *   attachment (the other end of the socket that came with ATTACH or EXEC)
 *     engine → STDIN, STDIN_EOF             monitor → OUTPUT, then end of file
 *
 * An exec's status is also in <run_dir>/exec-<tag>.exit before EXEC_EXITED is sent, until the engine removes it: it may have ended while
 * no engine listened. From version 2 on STATE carries the execs that are under way (struct pm_exec each).
 */
enum { PM_VERSION = 2 };

enum pm_type {
	PM_LAUNCH = 1, PM_START, PM_DESTROY, PM_HELLO, PM_ATTACH, PM_STDIN, PM_STDIN_EOF,
	PM_RESIZE, PM_SIGNAL, PM_PAUSE, PM_EXEC, PM_UPDATE, PM_NET,
	PM_CREATED = 64, PM_STARTED, PM_STATE, PM_EXITED, PM_OUTPUT, PM_DONE, PM_EXEC_STARTED, PM_EXEC_EXITED,
};

enum {
	PM_F_ERR = 1,		/* v[0] kind, v[1] errno, bytes: the sentence */
	PM_F_IN = 2, PM_F_OUT = 4,	/* ATTACH, EXEC */
	PM_F_RUNNING = 8, PM_F_PAUSED = 16, PM_F_CREATED = 32,	/* STATE */
	PM_F_TTY = 64, PM_F_STDIN = 128,	/* EXEC */
};

struct pm {
	uint16_t type, flags;
	uint32_t tag;		/* PAUSE/UPDATE/EXEC: which request; ATTACH/RESIZE/SIGNAL: which exec, 0: the container */
	int64_t v[4];
};

struct pm_exec {
	uint32_t tag;
	int32_t pid;		/* 0: still being made */
};

enum {
	PM_DATA = 32 * 1024,			/* bytes of OUTPUT and STDIN: a page-allocator-friendly packet */
	PM_LAUNCH_MAX = 96 * 1024,		/* 128 layers of 512-byte paths and change; under the default socket buffer */
};

/* Words of LAUNCH and EXEC are "key=value" NUL NUL-free strings one after the other, each with its NUL. */
static inline void pm_put(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_adds(b, key);
	buf_addc(b, '=');
	buf_add(b, value, strlen(value) + 1);
}

/* Next word at *at, or NULL at the end or when the last one is not terminated. */
static inline const char *pm_next(const char *p, size_t n, size_t *at)
{
	const char *w = p + *at, *end;

	if (*at >= n)
		return NULL;
	end = memchr(w, 0, n - *at);
	if (!end)
		return NULL;
	*at += (size_t)(end - w) + 1;
	return w;
}

static inline const char *pm_word(const char *p, size_t n, const char *key)
{
	size_t at = 0, len = strlen(key);
	const char *w;

	while ((w = pm_next(p, n, &at))) {
		if (!strncmp(w, key, len) && w[len] == '=')
			return w + len + 1;
	}
	return NULL;
}

/* One packet, with at most one descriptor (fd -1: none). 0 or -errno; -EAGAIN when the peer does not read. */
static inline int pm_send(int sock, const struct pm *m, const void *p, size_t n, int fd)
{
	struct iovec iov[2] = { { (void *)m, sizeof(*m) }, { (void *)p, n } };
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c;
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = n ? 2 : 1 };
	ssize_t r;

	if (fd >= 0) {
		memset(&c, 0, sizeof(c));
		h.msg_control = &c;
		h.msg_controllen = sizeof(c);
		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&c.h), &fd, sizeof(int));
	}
	do
		r = sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/*
 * One packet into *m and p (size bytes). The bytes after the head, or -errno; -EPIPE at end of file, -EBADMSG for a packet that is
 * no message or did not fit. *fd: the descriptor that came with it or -1; further ones are closed.
 */
static inline ssize_t pm_recv(int sock, struct pm *m, void *p, size_t size, int *fd)
{
	struct iovec iov[2] = { { m, sizeof(*m) }, { p, size } };
	union { struct cmsghdr h; char room[CMSG_SPACE(4 * sizeof(int))]; } c;
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = &c, .msg_controllen = sizeof(c) };
	ssize_t r;

	*fd = -1;
	do
		r = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *k = CMSG_FIRSTHDR(&h); k; k = CMSG_NXTHDR(&h, k)) {
		if (k->cmsg_level != SOL_SOCKET || k->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (k->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int got;

			memcpy(&got, CMSG_DATA(k) + i * sizeof(int), sizeof(int));
			if (*fd < 0)
				*fd = got;
			else
				(void)close(got);
		}
	}
	if (r >= (ssize_t)sizeof(*m) && !(h.msg_flags & MSG_TRUNC))
		return r - (ssize_t)sizeof(*m);
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	return r ? -EBADMSG : -EPIPE;
}

/* A message that carries an error, or none when e is NULL. */
static inline int pm_send_err(int sock, struct pm *m, const struct err *e, int fd)
{
	if (!e)
		return pm_send(sock, m, NULL, 0, fd);
	m->flags |= PM_F_ERR;
	m->v[0] = e->kind;
	m->v[1] = e->sys;
	return pm_send(sock, m, e->msg, strlen(e->msg), fd);
}

static inline void pm_err(const struct pm *m, const char *p, size_t n, struct err *e)
{
	enum err_kind k = m->v[0] > ERR_NONE && m->v[0] < ERR_KIND_COUNT ? (enum err_kind)m->v[0] : ERR_INTERNAL;

	err_set(e, k, "%.*s", (int)n, p);
	e->sys = (int)m->v[1];
}

#endif
