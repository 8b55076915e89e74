/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "runtime/client/client_priv.h"

enum {
	IN_ROOM = 128 * 1024,	/* stdin not yet taken by the monitor; a caller that gets less than it offered stops reading its client */
	PACKETS = 8,		/* of output handled in one turn of the loop */
};

struct rt_attach {
	struct loop *loop;
	int fd;
	struct loop_io *io;
	struct rt_attach_ops ops;
	void *user;
	struct buf in;
	bool in_full, eof_wanted, eof_sent, out, paused, ended, busy, freed;
};

static void rearm(struct rt_attach *a)
{
	if (a->io)
		loop_io_set(a->io, (a->paused ? 0 : LOOP_READ) | (a->in.len || (a->eof_wanted && !a->eof_sent) ? LOOP_WRITE : 0));
}

static void free_now(struct rt_attach *a)
{
	loop_io_free(a->io);
	fd_closep(&a->fd);
	buf_done(&a->in);
	free(a);
}

/* Sends what is queued. */
static void push(struct rt_attach *a)
{
	size_t at = 0;

	while (at < a->in.len) {
		struct pm m = { .type = PM_STDIN };
		size_t n = a->in.len - at < PM_DATA ? a->in.len - at : PM_DATA;
		int r = pm_send(a->fd, &m, a->in.data + at, n, -1);

		if (r == -EAGAIN || r == -ENOBUFS)
			break;
		if (r < 0) {		/* the end is seen by reading */
			at = a->in.len;
			a->eof_sent = true;
			break;
		}
		at += n;
	}
	buf_consume(&a->in, at);
	if (a->eof_wanted && !a->eof_sent && !a->in.len) {
		struct pm m = { .type = PM_STDIN_EOF };

		if (pm_send(a->fd, &m, NULL, 0, -1) != -EAGAIN)
			a->eof_sent = true;
	}
}

static void on_io(void *user, unsigned events)
{
	static char room[PM_DATA];
	struct rt_attach *a = user;

	a->busy = true;
	if (events & LOOP_WRITE) {
		push(a);
		if (a->in_full && a->in.len < IN_ROOM / 2) {
			a->in_full = false;
			if (a->ops.writable)
				a->ops.writable(a->user);
		}
	}
	for (int i = 0; i < PACKETS && (events & LOOP_READ) && !a->freed && !a->paused && !a->ended; i++) {
		struct pm m;
		int fd;
		ssize_t n = pm_recv(a->fd, &m, room, sizeof(room), &fd);

		fd_closep(&fd);
		if (n == -EAGAIN)
			break;
		if (n == -ECONNRESET || n == -EBADMSG)
			continue;	/* the monitor closed with stdin unread; what it had sent is still there */
		if (n < 0) {
			a->ended = true;
			loop_io_free(TAKE(a->io));
			if (a->ops.end)
				a->ops.end(a->user);
			break;
		}
		if (m.type == PM_OUTPUT && a->out && a->ops.output)
			a->ops.output(a->user, (int)m.v[0], room, (size_t)n);
	}
	a->busy = false;
	if (a->freed)
		free_now(a);
	else
		rearm(a);
}

struct rt_attach *rt_attach_new(struct loop *l, int fd, bool out, const struct rt_attach_ops *ops, void *user, struct err *e)
{
	struct rt_attach *a = mem_zalloc(sizeof(*a));

	*a = (struct rt_attach){ .loop = l, .fd = fd, .ops = *ops, .user = user, .out = out };
	buf_init(&a->in, IN_ROOM);
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	a->io = loop_io_new(l, fd, LOOP_READ, on_io, a);
	if (!a->io) {
		err_set(e, ERR_UNAVAILABLE, "watch an attachment: the loop refused it");
		free_now(a);
		return NULL;
	}
	return a;
}

size_t rt_attach_write(struct rt_attach *a, const void *p, size_t n)
{
	size_t room = IN_ROOM - a->in.len;

	if (a->ended || a->eof_wanted)
		return n;	/* nobody reads it any more; the caller goes on */
	if (n > room) {
		n = room;
		a->in_full = true;
	}
	if (n)
		(void)buf_add(&a->in, p, n);
	push(a);
	rearm(a);
	return n;
}

void rt_attach_close_stdin(struct rt_attach *a)
{
	if (a->ended)
		return;
	a->eof_wanted = true;
	push(a);
	rearm(a);
}

void rt_attach_pause(struct rt_attach *a, bool paused)
{
	a->paused = paused;
	if (!a->busy)
		rearm(a);
}

void rt_attach_free(struct rt_attach *a)
{
	if (!a)
		return;
	a->freed = true;
	if (!a->busy)
		free_now(a);
}

/* A socket for an attachment; *theirs travels to the monitor in order with everything else, so START cannot overtake it. */
struct rt_attach *rt_attach_pair(struct rt *r, bool out, const struct rt_attach_ops *ops, void *user, int *theirs, struct err *e)
{
	struct rt_attach *a;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		err_errno(e, errno, "make a socket for an attachment");
		return NULL;
	}
	a = rt_attach_new(r->loop, pair[0], out, ops, user, e);
	if (!a)
		(void)close(pair[1]);
	else
		*theirs = pair[1];
	return a;
}
