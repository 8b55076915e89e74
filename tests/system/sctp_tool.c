/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usrsctp.h>

/*
 * An SCTP server and client for tests, with an SCTP of their own on raw sockets (libusrsctp), so that kernels without SCTP sockets have a real peer too.
 *
 *   sctp_tool serve PORT              answers each message with its sender's address and the message, over both families
 *   sctp_tool ask HOST PORT [TEXT]    sends one, prints the answer; fails after $ASK_S seconds, 3
 *   sctp_tool hold HOST PORT TEXT     the same, then a line and an answer for each line of standard input up to "end", over one association; for 100 s at
 *                                     most
 *
 * Several of these in one network namespace all see each packet: what is not theirs they leave alone (blackhole).
 */
enum { MESSAGE_MAX = 65536 };

static int fail(const char *what)
{
	(void)fprintf(stderr, "%s: %m\n", what);
	return 1;
}

static void text_of(const struct sockaddr *sa, char *out, size_t size)
{
	(void)getnameinfo(sa, sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6), out, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
}

struct peer {
	struct socket *s;
	char addr[64];
};

static void *answer(void *user)
{
	struct peer *p = user;
	char *in = malloc(MESSAGE_MAX), *out = malloc(MESSAGE_MAX + 80);
	struct sctp_rcvinfo info;
	socklen_t info_len;
	unsigned type;
	ssize_t n;
	int flags;

	for (;;) {
		flags = 0;
		info_len = sizeof(info);
		n = usrsctp_recvv(p->s, in, MESSAGE_MAX - 1, NULL, NULL, &info, &info_len, &type, &flags);
		if (n <= 0)
			break;
		in[n] = '\0';
		n = snprintf(out, MESSAGE_MAX + 80, "%s %s", p->addr, in);
		if (usrsctp_sendv(p->s, out, (size_t)n, NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0) < 0)
			break;
	}
	usrsctp_close(p->s);
	free(in);
	free(out);
	free(p);
	return NULL;
}

/* One socket for both families. */
static int serve(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct socket *l = usrsctp_socket(AF_INET6, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);

	if (!l || usrsctp_bind(l, (struct sockaddr *)&any, sizeof(any)) < 0 || usrsctp_listen(l, 64) < 0)
		return fail("listen");
	(void)printf("ready\n");
	(void)fflush(stdout);
	for (;;) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		struct socket *s = usrsctp_accept(l, (struct sockaddr *)&sa, &len);
		struct peer *p;
		pthread_t t;

		if (!s)
			continue;
		p = calloc(1, sizeof(*p));
		p->s = s;
		text_of((struct sockaddr *)&sa, p->addr, sizeof(p->addr));
		if (pthread_create(&t, NULL, answer, p) == 0)
			(void)pthread_detach(t);
	}
}

/* The address the kernel would take; bound to all of them, the library offers every one to the peer. */
static int source_of(const struct addrinfo *to, struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(to->ai_family, SOCK_DGRAM, 0), rc;

	rc = fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) < 0 || getsockname(fd, (struct sockaddr *)ret, &len) < 0 ? -1 : 0;
	if (fd >= 0)
		(void)close(fd);
	if (ret->ss_family == AF_INET)
		((struct sockaddr_in *)ret)->sin_port = 0;
	else
		((struct sockaddr_in6 *)ret)->sin6_port = 0;
	return rc;
}

static int one(struct socket *s, const char *text)
{
	char *in = malloc(MESSAGE_MAX);
	struct sctp_rcvinfo info;
	socklen_t info_len = sizeof(info);
	unsigned type;
	ssize_t n;
	int flags = 0;

	if (usrsctp_sendv(s, text, strlen(text), NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0) < 0)
		return fail("send");
	n = usrsctp_recvv(s, in, MESSAGE_MAX - 1, NULL, NULL, &info, &info_len, &type, &flags);
	if (n <= 0)
		return fail("receive");
	(void)fwrite(in, 1, (size_t)n, stdout);
	free(in);
	return 0;
}

static int ask(const char *host, const char *port, const char *text, int hold)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *to;
	struct sockaddr_storage from = { 0 };
	struct socket *s;
	char line[256];

	if (getaddrinfo(host, port, &hints, &to) || source_of(to, &from) < 0)
		return fail(host);
	s = usrsctp_socket(to->ai_family, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	if (!s || usrsctp_bind(s, (struct sockaddr *)&from, to->ai_addrlen) < 0)
		return fail("bind");
	if (usrsctp_connect(s, to->ai_addr, to->ai_addrlen) < 0)
		return fail("connect");
	freeaddrinfo(to);
	if (one(s, text))
		return 1;
	while (hold) {
		(void)printf("\n");
		(void)fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "end"))
			break;
		if (one(s, line))
			return 1;
	}
	usrsctp_close(s);
	/* The end is said by the library's own threads. */
	for (int i = 0; i < 100 && usrsctp_finish() != 0; i++)
		(void)usleep(10000);
	return 0;
}

int main(int argc, char **argv)
{
	const char *wait = getenv("ASK_S");
	int hold;

	if (argc < 3)
		return 2;
	usrsctp_init(0, NULL, NULL);
	usrsctp_sysctl_set_sctp_blackhole(2);
	usrsctp_sysctl_set_sctp_no_csum_on_loopback(0);
	usrsctp_sysctl_set_sctp_rto_initial_default(300);
	usrsctp_sysctl_set_sctp_rto_min_default(100);
	usrsctp_sysctl_set_sctp_rto_max_default(1000);
	usrsctp_sysctl_set_sctp_delayed_sack_time_default(20);
	if (!strcmp(argv[1], "serve"))
		return serve((uint16_t)atoi(argv[2]));
	if (argc < 4)
		return 2;
	hold = !strcmp(argv[1], "hold");
	(void)alarm(hold ? 100 : wait ? (unsigned)(atof(wait) + 0.99) : 3);
	return ask(argv[2], argv[3], argc > 4 ? argv[4] : "x", hold);
}
