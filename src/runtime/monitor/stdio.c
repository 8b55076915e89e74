/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one program's output and input
 *
 * Each output stream has one buffer. A read lands behind the unfinished line of the read before; whole lines become log records at
 * once; then the new bytes go to every attachment that wants output. As long as one of them has not taken all of it the stream is
 * not read again: the pipe fills and the program waits, which is what a pipe does. The log never waits for an attachment, it has the bytes
 * already. There is no time limit on a reader that stands still: `docker run ... | less` must not lose its lower half; a
 * dead client is noticed by its socket, a hung one by the engine's HTTP side, which drops the attachment.
 *
 * When the program has ended, what is left in the pipes (at most their capacity) is read to the end whatever the attachments do,
 * so that the log is complete and the exit can be reported; a copy is kept for the attachments that are behind.
 *
 * Input is held by at most one packet per attachment: while it is not written, the attachment's socket is not read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "runtime/monitor/monitor_priv.h"

/*
 * A pipe that is found half full becomes a large one: the program goes on writing while what it wrote is encoded. Not from the start: the
 * kernel counts the size of pipes, used or not, against a quota where there is one.
 */
enum { PIPE_ROOM = 256 * 1024, PIPE_LARGE = 1024 * 1024, BURST = PIPE_ROOM / 2, WORTH_TRIM = 32 * 1024 };
#define TRIM_NS 1000000000ll	/* after the last large read */

static void close_fd(int *fd)
{
	fd_closep(fd);
	*fd = -1;
}

static char *room_new(struct err *e)
{
	char *p = mmap(NULL, STREAM_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		return p;
	err_errno(e, errno, "reserve a buffer of %d bytes for output", STREAM_ROOM);
	return NULL;
}

static void room_free(char *p)
{
	if (p)
		(void)munmap(p, STREAM_ROOM);
}

/* Bytes from used on are not needed any more: whole pages of them go. */
static void room_trim(char *p, size_t used, size_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)p + used + page - 1) & ~(page - 1), to = ((uintptr_t)p + size) & ~(page - 1);

	if (p && from < to)
		(void)madvise((void *)from, to - from, MADV_DONTNEED);
}

/* A read of so many bytes: is this a program that writes as fast as it can? */
static void note_burst(const struct proc *p, struct stream *s, size_t n)
{
	if (n < WORTH_TRIM)
		return;
	mon.trim_at = clock_now() + TRIM_NS;
	if (n >= BURST && !s->large && !p->tty)
		s->large = fcntl(s->fd, F_SETPIPE_SZ, PIPE_LARGE) >= 0;	/* the user's pipe quota may refuse */
}

void proc_trim(struct proc *p)
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &p->out[i];

		if (s->large && fcntl(s->fd, F_SETPIPE_SZ, PIPE_ROOM) >= 0)
			s->large = false;
		if (!s->tail)
			room_trim(s->room, s->waiting ? s->to : s->have, STREAM_ROOM);
	}
	if (p->log)
		room_trim(p->log->room, p->log->fill, LOGFILE_ROOM);
}

int proc_stdio(struct proc *p, bool tty, bool stdin_open, struct err *e)
{
	int fds[2];

	p->tty = tty;
	p->in = p->slave = p->in_child = -1;
	p->out[0] = (struct stream){ .fd = -1, .no = 1 };
	p->out[1] = (struct stream){ .fd = -1, .no = 2 };
	p->out_child[0] = p->out_child[1] = -1;
	p->out[0].room = room_new(e);
	if (p->out[0].room && !tty)
		p->out[1].room = room_new(e);
	if (!p->out[!tty].room)
		return -1;
	if (tty)
		return 0;
	if (stdin_open) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_errno(e, errno, "make a pipe for stdin");
		p->in_child = fds[0];
		p->in = fds[1];
		(void)fcntl(p->in, F_SETFL, O_NONBLOCK);
	} else {
		p->in_child = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (p->in_child < 0)
			return err_errno(e, errno, "open /dev/null");
	}
	for (int i = 0; i < 2; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_errno(e, errno, "make a pipe for %s", i ? "stderr" : "stdout");
		p->out[i].fd = fds[0];
		p->out_child[i] = fds[1];
		(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
		(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_ROOM);	/* the user's pipe quota may refuse */
	}
	return 0;
}

void proc_child_ends_close(struct proc *p)
{
	close_fd(&p->in_child);
	close_fd(&p->out_child[0]);
	close_fd(&p->out_child[1]);
}

void proc_set_master(struct proc *p, int master)
{
	(void)fcntl(master, F_SETFL, O_NONBLOCK);
	(void)fcntl(master, F_SETFD, FD_CLOEXEC);
	/* Without a slave of our own the master would report EIO for ever while a program runs that has closed its terminal. */
	p->slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	p->in = fcntl(master, F_DUPFD_CLOEXEC, 3);
	p->out[0].fd = master;
	if (p->rows || p->cols)
		proc_resize(p, p->rows, p->cols);
}

void proc_resize(struct proc *p, unsigned rows, unsigned cols)
{
	struct winsize w = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

	p->rows = rows;
	p->cols = cols;
	if (p->tty && p->in >= 0)
		(void)ioctl(p->in, TIOCSWINSZ, &w);
}

/* Lines of [0, to) into the log; s->rest: where the unfinished one begins. */
static void log_lines(struct proc *p, struct stream *s, const char *b, size_t to, bool last)
{
	size_t at = 0, scan = s->have;
	int64_t now = clock_wall();
	bool ship = mon.a.ship.kind;

	s->rest = to;
	if (!p->log || (p->log->fd < 0 && !ship))
		return;
	logfile_begin(p->log, s->no, now);
	while (at < to) {
		const char *nl = scan < to ? memchr(b + scan, '\n', to - scan) : NULL;
		size_t end = nl ? (size_t)(nl - b) + 1 : to;

		/* As docker: a line longer than 16 KiB becomes records of 16 KiB without and a last one with the newline. */
		while (end - at > LOGENC_LINE) {
			size_t cut = logenc_cut(b + at, LOGENC_LINE);

			logfile_add(p->log, b + at, cut);
			if (ship)
				ship_line(s->no, b + at, cut, now);
			at += cut;
		}
		if (!nl && !last)
			break;
		if (end > at) {
			logfile_add(p->log, b + at, end - at);
			if (ship)
				ship_line(s->no, b + at, end - at, now);
		}
		at = scan = end;
	}
	s->rest = at;
	logfile_flush(p->log);
}

/* True when a has taken all of [off, to). */
static bool deliver_one(struct attach *a, int i, const char *b, size_t to)
{
	while (a->off[i] < to) {
		size_t n = to - a->off[i];
		struct pm m = { .type = PM_OUTPUT, .v = { i + 1 } };
		int r;

		if (n > PM_DATA)
			n = PM_DATA;
		r = pm_send(a->fd, &m, b + a->off[i], n, -1);
		if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM)
			return false;
		if (r < 0) {
			a->out = false;		/* it is gone; its stdin, if any, is still read to the end */
			return true;
		}
		a->off[i] += n;
	}
	return true;
}

static bool any_pending(const struct proc *p, int i)
{
	for (int k = 0; k < MAX_ATTACH; k++) {
		if (mon.attach[k].fd >= 0 && mon.attach[k].p == p && mon.attach[k].pend[i])
			return true;
	}
	return false;
}

/* Everything delivered: the unfinished line moves to the front, reading goes on. */
static void settle(struct stream *s)
{
	s->waiting = false;
	if (s->tail) {
		free(TAKE(s->tail));
		s->have = 0;
	} else {
		s->have = s->to - s->rest;
		if (s->have && s->rest)
			memmove(s->room, s->room + s->rest, s->have);
	}
	s->from = s->to = s->rest = 0;
}

static void deliver(struct proc *p, struct stream *s)
{
	int i = s->no - 1;
	const char *b = s->tail ? s->tail : s->room;

	for (int k = 0; k < MAX_ATTACH; k++) {
		struct attach *a = &mon.attach[k];

		if (a->fd < 0 || a->p != p || !a->out)
			continue;
		a->off[i] = s->from;
		a->pend[i] = !deliver_one(a, i, b, s->to);
	}
	s->waiting = any_pending(p, i);
	if (!s->waiting)
		settle(s);
}

static ssize_t read_some(int fd, char *b, size_t n)
{
	ssize_t r;

	do
		r = read(fd, b, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

bool stream_read(struct proc *p, struct stream *s)
{
	ssize_t r;

	if (s->fd < 0 || s->waiting)
		return false;
	r = read_some(s->fd, s->room + s->have, STREAM_ROOM - s->have);
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {		/* all writers gone; for a PTY: EIO */
		log_lines(p, s, s->room, s->have, true);
		s->have = 0;
		close_fd(&s->fd);
		return false;
	}
	note_burst(p, s, (size_t)r);
	s->from = s->have;
	s->to = s->have + (size_t)r;
	log_lines(p, s, s->room, s->to, false);
	deliver(p, s);
	return true;
}

/* The program has ended: read on to the end, keeping for slow attachments what they have not taken. */
static void drain_stream(struct proc *p, struct stream *s)
{
	size_t cap = 0;

	while (stream_read(p, s))
		;
	if (s->fd < 0 || !s->waiting) {
		if (s->have)
			log_lines(p, s, s->room, s->have, true);
		s->have = 0;
		close_fd(&s->fd);
		return;
	}
	/* Somebody is behind: collect the rest behind what is being delivered. [0, rest) is logged, offsets stay as they are. */
	while (s->fd >= 0) {
		ssize_t r;
		char *b;

		if (cap - s->to < STREAM_ROOM / 4 || !s->tail) {
			cap = s->to + STREAM_ROOM;
			b = realloc(s->tail, cap);
			if (!b) {	/* the log has it; the slow reader loses the rest */
				close_fd(&s->fd);
				break;
			}
			if (!s->tail)
				memcpy(b, s->room, s->to);
			s->tail = b;
		}
		r = read_some(s->fd, s->tail + s->to, cap - s->to);
		if (r <= 0) {
			close_fd(&s->fd);
			break;
		}
		/* log_lines() scans from have, counted from the place given: the unfinished line's start. */
		s->have = s->to - s->rest;
		s->to += (size_t)r;
		{
			size_t base = s->rest;

			log_lines(p, s, s->tail + base, s->to - base, false);
			s->rest += base;
		}
	}
	if (s->rest < s->to) {
		size_t base = s->rest;

		s->have = 0;
		log_lines(p, s, (s->tail ? s->tail : s->room) + base, s->to - base, true);
	}
	s->rest = s->to;
	s->have = 0;
}

void proc_drain(struct proc *p)
{
	for (int i = 0; i < 2; i++)
		drain_stream(p, &p->out[i]);
	close_fd(&p->slave);
	close_fd(&p->in);
}

bool proc_delivered(const struct proc *p)
{
	return !p->out[0].waiting && !p->out[1].waiting;
}

void proc_done(struct proc *p)
{
	for (int k = 0; k < MAX_ATTACH; k++) {
		if (mon.attach[k].fd >= 0 && mon.attach[k].p == p)
			attach_free(&mon.attach[k]);
	}
	proc_child_ends_close(p);
	close_fd(&p->in);
	close_fd(&p->slave);
	for (int i = 0; i < 2; i++) {
		close_fd(&p->out[i].fd);
		room_free(TAKE(p->out[i].room));
		free(TAKE(p->out[i].tail));
	}
}

bool attach_add(struct proc *p, int fd, bool in, bool out)
{
	for (int k = 0; k < MAX_ATTACH; k++) {
		struct attach *a = &mon.attach[k];

		if (a->fd >= 0)
			continue;
		*a = (struct attach){ .fd = fd, .p = p, .in = in, .out = out };
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		return true;
	}
	(void)close(fd);
	return false;
}

static void stdin_end(struct attach *a)
{
	struct proc *p = a->p;

	if (!a->in)
		return;
	a->in = false;
	if (p->stdin_once && !p->tty)
		close_fd(&p->in);
}

void attach_free(struct attach *a)
{
	struct proc *p = a->p;

	if (a->fd < 0)
		return;
	close_fd(&a->fd);
	stdin_end(a);
	free(TAKE(a->in_room));
	for (int i = 0; i < 2; i++) {
		a->pend[i] = false;
		if (p->out[i].waiting && !any_pending(p, i))
			settle(&p->out[i]);
	}
}

/* Writes what is held. True when nothing is left. */
static bool stdin_put(struct attach *a)
{
	struct proc *p = a->p;

	while (a->in_at < a->in_len) {
		ssize_t r;

		if (p->in < 0) {
			if (!p->exited && !p->pid && p->tty)
				return false;	/* the PTY comes with the container */
			a->in_at = a->in_len;	/* nobody reads it any more */
			break;
		}
		r = write(p->in, a->in_room + a->in_at, a->in_len - a->in_at);
		if (r > 0) {
			a->in_at += (size_t)r;
		} else if (r < 0 && errno == EAGAIN) {
			return false;
		} else if (r < 0 && errno != EINTR) {
			if (!p->tty)
				close_fd(&p->in);
			a->in_at = a->in_len;
		}
	}
	a->in_len = a->in_at = 0;
	return true;
}

static bool attach_read(struct attach *a)
{
	struct pm m;
	ssize_t n;
	int fd;

	if (!a->in_room) {
		a->in_room = mem_try(PM_DATA, PM_DATA);
		if (!a->in_room)
			return false;
	}
	n = pm_recv(a->fd, &m, a->in_room, PM_DATA, &fd);
	if (fd >= 0)
		(void)close(fd);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		attach_free(a);
		return false;
	}
	if (m.type == PM_STDIN_EOF) {
		stdin_end(a);
	} else if (m.type == PM_STDIN && a->in) {
		a->in_len = (size_t)n;
		a->in_at = 0;
		return stdin_put(a);
	}
	return true;
}

void attach_event(struct attach *a, short events)
{
	struct proc *p = a->p;

	if (events & (POLLOUT | POLLERR | POLLHUP)) {
		for (int i = 0; i < 2; i++) {
			struct stream *s = &p->out[i];

			if (!a->pend[i])
				continue;
			a->pend[i] = !deliver_one(a, i, s->tail ? s->tail : s->room, s->to);
			if (!any_pending(p, i))
				settle(s);
		}
	}
	if (a->in_len && !stdin_put(a))
		return;
	/* A few packets a turn: others want their turn too. */
	for (int i = 0; i < 4 && a->fd >= 0 && (events & (POLLIN | POLLHUP | POLLERR)) && attach_read(a); i++)
		;
}

void stdin_event(struct proc *p)
{
	for (int k = 0; k < MAX_ATTACH; k++) {
		struct attach *a = &mon.attach[k];

		if (a->fd >= 0 && a->p == p && a->in_len && !stdin_put(a))
			break;
	}
}

short stdin_wanted(const struct proc *p)
{
	if (p->in < 0)
		return 0;
	for (int k = 0; k < MAX_ATTACH; k++) {
		if (mon.attach[k].fd >= 0 && mon.attach[k].p == p && mon.attach[k].in_len)
			return POLLOUT;
	}
	return 0;
}

short attach_wanted(const struct attach *a)
{
	return (short)((a->in_len ? 0 : POLLIN) | (a->pend[0] || a->pend[1] ? POLLOUT : 0));
}
