/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_STREAM_H
#define KEDGE_CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/detach.h"
#include "cli/cli.h"

/* A container's output in frames: eight bytes of head (stream, 0, 0, 0, big-endian length), then that many bytes. Pure. */
struct demux {
	unsigned char head[8];
	size_t have, left;
};
/* Calls out(stream, ...) for each piece; stream is 1, 2 or, for a message of the engine, 3. -1 with e on what is no frame. */
int demux_feed(struct demux *d, const void *p, size_t n, void (*out)(void *user, int stream, const void *p, size_t n), void *user, struct err *e);

/*
 * One attached container or exec: its output to stdout and stderr, our stdin to it. A terminal (tty) is raw from stream_open() on and
 * is put back at the end of the program however that comes about by exit().
 */
struct stream_args {
	const char *id;
	bool exec;			/* id is that of an exec, which begins to run */
	bool in, out, err, tty, logs;
	const char *detach_keys;	/* NULL or "": ctrl-p,ctrl-q */
};
struct stream;
/* Returns when the engine has accepted the stream. NULL with e. */
struct stream *stream_open(struct cli *c, const struct stream_args *a, struct err *e);
/* The terminal's size and later changes of it to the container. After the start. */
void stream_terminal(struct stream *s);
/* Sends the signals this process gets to the container, from now on. */
void stream_proxy_signals(struct stream *s);
bool stream_ended(const struct stream *s);
bool stream_detached(const struct stream *s);
void stream_free(struct stream *s);

/* GET of logs: raw or framed by the reply's Content-Type, until it ends. */
int stream_logs(struct cli *c, const char *path, struct err *e);

/* write(2) to stdout or stderr until done; waits where the descriptor does not block. */
void stream_write(int fd, const void *p, size_t n);

#endif
