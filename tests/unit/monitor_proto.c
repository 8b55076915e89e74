/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between engine and monitor: packets, words, descriptors, and what is no message. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "runtime/proto.h"

static int pair[2];

static int open_pair(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int close_pair(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void test_words(void **state)
{
	struct buf b = BUF_INIT;
	size_t at = 0;

	(void)state;
	pm_put(&b, "id", "abc");
	pm_put(&b, "idle", "x=y");
	pm_put(&b, "empty", "");
	pm_put(&b, "none", NULL);
	assert_string_equal(pm_word(b.data, b.len, "id"), "abc");
	assert_string_equal(pm_word(b.data, b.len, "idle"), "x=y");
	assert_string_equal(pm_word(b.data, b.len, "empty"), "");
	assert_null(pm_word(b.data, b.len, "none"));
	assert_null(pm_word(b.data, b.len, "i"));
	assert_string_equal(pm_next(b.data, b.len, &at), "id=abc");
	/* Not terminated: not a word. */
	assert_null(pm_word("id=abc", 6, "id"));
	assert_null(pm_word(NULL, 0, "id"));
	buf_done(&b);
}

static void test_packets(void **state)
{
	struct pm m = { .type = PM_OUTPUT, .flags = PM_F_IN, .tag = 7, .v = { 1, -2, INT64_MAX, INT64_MIN } }, r;
	char room[16];
	int fd;

	(void)state;
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), -EAGAIN);
	assert_int_equal(pm_send(pair[0], &m, "hello", 5, -1), 0);
	assert_int_equal(pm_send(pair[0], &m, NULL, 0, -1), 0);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), 5);
	assert_memory_equal(room, "hello", 5);
	assert_memory_equal(&m, &r, sizeof(m));
	assert_int_equal(fd, -1);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), 0);
	/* Larger than there is room for, and shorter than a head: refused, the next one is fine. */
	assert_int_equal(pm_send(pair[0], &m, "0123456789abcdefX", 17, -1), 0);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), -EBADMSG);
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), -EBADMSG);
	assert_int_equal(pm_send(pair[0], &m, "ok", 2, -1), 0);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), 2);
	shutdown(pair[0], SHUT_RDWR);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), -EPIPE);
	assert_int_equal(pm_send(pair[1], &m, NULL, 0, -1), -EPIPE);
}

static void test_full(void **state)
{
	static char data[PM_DATA];
	struct pm m = { .type = PM_OUTPUT };
	int n = 0, r;

	(void)state;
	while ((r = pm_send(pair[0], &m, data, sizeof(data), -1)) == 0)
		n++;
	assert_int_equal(r, -EAGAIN);
	assert_in_range(n, 2, 1000);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void test_descriptor(void **state)
{
	struct pm m = { .type = PM_ATTACH }, r;
	struct stat a, b;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;
	unsigned before = open_fds();
	char room[4];

	(void)state;
	assert_int_equal(pm_send(pair[0], &m, NULL, 0, null), 0);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fstat(null, &a) + fstat(fd, &b), 0);
	assert_true(a.st_rdev == b.st_rdev);
	close(fd);
	/* With a packet that is refused, or several at once: nothing leaks. */
	assert_int_equal(pm_send(pair[0], &m, "too long", 8, null), 0);
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), -EBADMSG);
	assert_int_equal(fd, -1);
	{
		union { struct cmsghdr h; char room[CMSG_SPACE(3 * sizeof(int))]; } c = { 0 };
		struct iovec iov = { &m, sizeof(m) };
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(3 * sizeof(int));
		for (size_t i = 0; i < 3; i++)
			memcpy(CMSG_DATA(&c.h) + i * sizeof(int), &null, sizeof(int));
		assert_int_equal(sendmsg(pair[0], &h, 0), sizeof(m));
	}
	assert_int_equal(pm_recv(pair[1], &r, room, sizeof(room), &fd), 0);
	close(fd);
	assert_int_equal(open_fds(), before);
	close(null);
}

static void test_errors(void **state)
{
	struct pm m = { .type = PM_CREATED }, r;
	struct err e = { 0 }, back = { 0 };
	char room[1024];
	ssize_t n;
	int fd;

	(void)state;
	err_errno(&e, ENOENT, "open '%s'", "/x");
	assert_int_equal(pm_send_err(pair[0], &m, &e, -1), 0);
	n = pm_recv(pair[1], &r, room, sizeof(room), &fd);
	assert_true(r.flags & PM_F_ERR);
	pm_err(&r, room, (size_t)n, &back);
	assert_string_equal(back.msg, e.msg);
	assert_int_equal(back.kind, e.kind);
	assert_int_equal(back.sys, ENOENT);
	r.v[0] = 12345;		/* a kind we do not know */
	pm_err(&r, room, (size_t)n, &back);
	assert_int_equal(back.kind, ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test_setup_teardown(test_packets, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_full, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_descriptor, open_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_errors, open_pair, close_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
