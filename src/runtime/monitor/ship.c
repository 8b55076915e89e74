/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/monitor/ship.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define RETRY_NS 1000000000ll

static struct {
	struct ship_args a;
	int fd;
	bool stream;
	int64_t tried;
	uint64_t lost;
	char *wait;		/* a stream's bytes that did not go out yet */
	size_t n_wait;
} sh = { .fd = -1 };

/* "1.2.3.4:514", "[::1]:514" */
static socklen_t parse_inet(const char *s, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;
	char host[64];
	const char *colon = strrchr(s, ':');
	uint64_t port;

	if (!colon || str_to_u64(colon + 1, 1, 65535, &port) < 0 || (size_t)(colon - s) >= sizeof(host))
		return 0;
	memset(out, 0, sizeof(*out));
	if (*s == '[' && colon > s + 1) {
		snprintf(host, sizeof(host), "%.*s", (int)(colon - s - 2), s + 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(colon - s), s);
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? sizeof(*v4) : 0;
}

static int connect_to(int type, const struct sockaddr *sa, socklen_t len, int wait_ms)
{
	int fd = socket(sa->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(err);

	if (fd < 0)
		return -1;
	if (connect(fd, sa, len) == 0)
		return fd;
	if (errno == EINPROGRESS && poll(&p, 1, wait_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0 && err == 0)
		return fd;
	close(fd);
	return -1;
}

static void reconnect(int wait_ms)
{
	const char *at = sh.a.address;
	struct sockaddr_storage ss;
	struct sockaddr_un *un = (void *)&ss;
	socklen_t len;

	sh.tried = clock_now();
	sh.stream = false;
	if (str_starts(at, "unix")) {
		const char *path = strchr(at, '/') + 2;

		memset(&ss, 0, sizeof(ss));
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
		sh.fd = connect_to(SOCK_DGRAM, (struct sockaddr *)&ss, sizeof(*un), wait_ms);
		if (sh.fd < 0 && str_starts(at, "unix:")) {
			sh.fd = connect_to(SOCK_STREAM, (struct sockaddr *)&ss, sizeof(*un), wait_ms);
			sh.stream = true;
		}
		return;
	}
	len = parse_inet(at + 6, &ss);
	sh.stream = str_starts(at, "tcp://");
	if (len)
		sh.fd = connect_to(sh.stream ? SOCK_STREAM : SOCK_DGRAM, (struct sockaddr *)&ss, len, wait_ms);
}

void ship_open(const struct ship_args *a)
{
	sh.a = *a;
	if (!sh.a.kind)
		return;
	if (!sh.a.address)
		sh.a.address = str_eq(a->kind, "journald") ? "unixgram:///run/systemd/journal/socket" : "unix:///dev/log";
	reconnect(1000);
}

uint64_t ship_lost(void)
{
	return sh.lost;
}

size_t ship_syslog(const struct ship_args *a, int stream, const char *p, size_t n, int64_t now_ns, int pid, char *out, size_t size)
{
	int priority = a->facility * 8 + (stream == 2 ? 3 : 6), used;
	bool local = str_starts(a->address, "unix"), rfc5424 = a->format && str_starts(a->format, "rfc5424");
	time_t now = (time_t)(now_ns / 1000000000);
	char when[64];
	struct tm tm;

	if (rfc5424) {
		gmtime_r(&now, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
		if (str_eq(a->format, "rfc5424micro"))
			snprintf(when + strlen(when), 16, ".%06lld", (long long)(now_ns % 1000000000 / 1000));
		used = snprintf(out, size, "<%d>1 %sZ %s %s %d %s - %.*s", priority, when, a->host, a->tag, pid, a->tag, (int)n, p);
	} else {
		localtime_r(&now, &tm);
		strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
		/* A local daemon knows its host. */
		used = local && str_empty(a->format) ? snprintf(out, size, "<%d>%s %s[%d]: %.*s", priority, when, a->tag, pid, (int)n, p) :
						       snprintf(out, size, "<%d>%s %s %s[%d]: %.*s", priority, when, a->host, a->tag, pid, (int)n, p);
	}
	return used < 0 ? 0 : (size_t)used < size ? (size_t)used : size - 1;
}

static size_t journal(int stream, const char *p, size_t n, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n", stream == 2 ? 3 : 6, sh.a.tag);

	for (const char *const *f = sh.a.fields; f && *f; f++) {
		size_t len = strlen(*f);

		if (used + len + n + 32 < size && !memchr(*f, '\n', len))
			used += (size_t)snprintf(out + used, size - used, "%s\n", *f);
	}
	if (used + n + 10 > size)
		n = size - used - 10;
	memcpy(out + used, "MESSAGE=", 8);
	memcpy(out + used + 8, p, n);
	used += 8 + n;
	out[used++] = '\n';
	return used;
}

/* A stream's bytes: in order, or not at all. */
static void flush_wait(void)
{
	while (sh.n_wait && sh.fd >= 0) {
		ssize_t r = send(sh.fd, sh.wait, sh.n_wait, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return;
		if (r <= 0) {
			close(sh.fd);
			sh.fd = -1;
			sh.n_wait = 0;
			sh.lost++;
			return;
		}
		sh.n_wait -= (size_t)r;
		memmove(sh.wait, sh.wait + r, sh.n_wait);
	}
}

static void put(const char *p, size_t n)
{
	ssize_t r;

	if (sh.fd < 0 && clock_now() - sh.tried > RETRY_NS)
		reconnect(50);
	if (sh.fd < 0) {
		sh.lost++;
		return;
	}
	if (!sh.stream) {
		do
			r = send(sh.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (r < 0 && errno == EINTR);
		if (r < 0) {
			sh.lost++;
			if (errno != EAGAIN && errno != EMSGSIZE && errno != ENOBUFS) {	/* the server has gone; it may come back */
				close(sh.fd);
				sh.fd = -1;
			}
		}
		return;
	}
	if (!sh.wait)
		sh.wait = mem_alloc(SHIP_ROOM);
	if (sh.n_wait + n + 1 > SHIP_ROOM) {
		flush_wait();
		if (sh.n_wait + n + 1 > SHIP_ROOM) {
			sh.lost++;
			return;
		}
	}
	memcpy(sh.wait + sh.n_wait, p, n);
	sh.n_wait += n;
	sh.wait[sh.n_wait++] = '\n';	/* RFC 6587 section 3.4.2: non-transparent framing, as docker frames */
	flush_wait();
}

void ship_line(int stream, const char *p, size_t n, int64_t now_ns)
{
	static char out[SHIP_LINE];

	if (!sh.a.kind)
		return;
	while (n && (p[n - 1] == '\n' || p[n - 1] == '\r'))
		n--;
	if (!n)
		return;
	if (str_eq(sh.a.kind, "journald"))
		n = journal(stream, p, n, out, sizeof(out));
	else
		n = ship_syslog(&sh.a, stream, p, n, now_ns, (int)getpid(), out, sizeof(out));
	put(out, n);
}

void ship_done(void)
{
	struct pollfd p = { .fd = sh.fd, .events = POLLOUT };
	int64_t end = clock_now() + RETRY_NS;

	while (sh.n_wait && sh.fd >= 0 && clock_now() < end && poll(&p, 1, 100) >= 0)
		flush_wait();
	fd_closep(&sh.fd);
	sh.fd = -1;
	free(TAKE(sh.wait));
	sh.n_wait = 0;
}
