/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

static char dir[64];
static int dfd;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kedge-file-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dfd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(dfd);
	return file_rm_rf_at(AT_FDCWD, dir);
}

static const char *at(const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void make(const char *name, const char *text)
{
	assert_int_equal(file_replace_at(dfd, name, text, strlen(text), 0600), 0);
}

static void test_read(void **state)
{
	struct buf b = BUF_INIT;
	char line[8];
	struct err e;
	json_t *o;

	(void)state;
	make("a", "hello\nworld\n");
	assert_int_equal(file_read_at(dfd, "a", 100, &b), 0);
	assert_string_equal(b.data, "hello\nworld\n");
	buf_reset(&b);
	assert_int_equal(file_read_at(dfd, "a", 12, &b), 0);
	buf_reset(&b);
	assert_int_equal(file_read_at(dfd, "a", 11, &b), -EFBIG);
	assert_int_equal(file_read_at(dfd, "none", 10, &b), -ENOENT);
	assert_int_equal(file_read_at(dfd, ".", 10, &b), -EISDIR);
	buf_done(&b);
	assert_int_equal(file_read_line(at("a"), line, sizeof(line)), 0);
	assert_string_equal(line, "hello");
	assert_int_equal(file_read_line(at("a"), line, 4), 0);
	assert_string_equal(line, "hel");
	assert_int_equal(file_read_line(at("none"), line, sizeof(line)), -ENOENT);
	assert_string_equal(line, "");
	make("j", "{\"a\":1}");
	o = json_parse_file_at(dfd, "j", 100, &e);
	assert_int_equal(json_i64(o, "a", 0), 1);
	json_freep(&o);
	assert_null(json_parse_file_at(dfd, "none", 100, &e));
	assert_non_null(strstr(e.msg, "none"));
	assert_null(json_parse_file_at(dfd, "a", 100, &e));
}

static void test_replace(void **state)
{
	struct stat st;
	struct buf b = BUF_INIT;
	mode_t mask = umask(077);

	(void)state;
	assert_int_equal(file_replace_at(dfd, "x", "one", 3, 0644), 0);
	umask(mask);
	assert_int_equal(fstatat(dfd, "x", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(file_replace_at(AT_FDCWD, at("x"), "twofold", 7, 0600), 0);
	assert_int_equal(file_read_at(dfd, "x", 100, &b), 0);
	assert_string_equal(b.data, "twofold");
	buf_done(&b);
	assert_int_equal(file_replace_at(dfd, "none/x", "a", 1, 0600), -ENOENT);
	/* a directory cannot be replaced, and nothing is left behind */
	assert_int_equal(mkdirat(dfd, "d", 0700), 0);
	assert_int_equal(file_replace_at(dfd, "d", "a", 1, 0600), -EISDIR);
	assert_int_equal(unlinkat(dfd, "x", 0), 0);
	assert_int_equal(unlinkat(dfd, "d", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_put(void **state)
{
	int p[2];

	(void)state;
	make("x", "12345");
	assert_int_equal(file_put_at(dfd, "x", "ab"), 0);
	assert_int_equal(file_put_at(dfd, "none", "ab"), -ENOENT);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(file_write_all(p[1], "abc", 3), 0);
	assert_int_equal(file_write_all(-1, "abc", 3), -EBADF);
	assert_int_equal(file_write_all(-1, "", 0), 0);
	close(p[0]);
	close(p[1]);
}

static void test_mkdir(void **state)
{
	(void)state;
	assert_int_equal(file_mkdir_p(at("a/b/c"), 0755), 0);
	assert_int_equal(file_mkdir_p(at("a/b/c"), 0755), 0);
	assert_int_equal(file_mkdir_p(at("a//b/d/"), 0755), 0);
	assert_int_equal(access(at("a/b/d"), F_OK), 0);
	make("f", "x");
	assert_int_equal(file_mkdir_p(at("f"), 0755), -ENOTDIR);
	assert_int_equal(file_mkdir_p(at("f/g"), 0755), -ENOTDIR);
	assert_int_equal(file_mkdir_p("/", 0755), 0);
}

static void test_rm_rf(void **state)
{
	char path[64];

	(void)state;
	assert_int_equal(file_rm_rf_at(dfd, "none"), 0);
	make("f", "x");
	assert_int_equal(file_rm_rf_at(dfd, "f"), 0);
	assert_int_equal(file_mkdir_p(at("keep/inner"), 0755), 0);
	assert_int_equal(file_mkdir_p(at("t/a/b"), 0755), 0);
	make("t/a/file", "x");
	assert_int_equal(symlinkat("../../keep", dfd, "t/a/link"), 0);
	assert_int_equal(symlinkat("t", dfd, "link"), 0);
	assert_int_equal(file_rm_rf_at(dfd, "link"), 0);	/* the link, not what it names */
	assert_int_equal(access(at("t/a/file"), F_OK), 0);
	assert_int_equal(fchmodat(dfd, "t/a/b", 0, 0), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "t/a/n%d", i);
		make(path, "");
	}
	assert_int_equal(file_rm_rf_at(dfd, "t"), 0);
	assert_int_equal(access(at("t"), F_OK), -1);
	assert_int_equal(access(at("keep/inner"), F_OK), 0);
}

/* Deeper than any stack or table of descriptors. */
static void test_rm_deep(void **state)
{
	int fd = openat(dfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), next;

	(void)state;
	assert_int_equal(mkdirat(fd, "deep", 0755), 0);
	for (int i = 0; i < 1500; i++) {
		next = openat(fd, i ? "d" : "deep", O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
	}
	close(fd);
	assert_int_equal(file_rm_rf_at(dfd, "deep"), 0);
	assert_int_equal(access(at("deep"), F_OK), -1);
}

static void test_in_root(void **state)
{
	int root, fd;
	struct stat a, b;

	(void)state;
	assert_int_equal(file_mkdir_p(at("root/etc"), 0755), 0);
	make("secret", "outside");
	make("root/etc/passwd", "inside");
	assert_int_equal(symlinkat("/etc/passwd", dfd, "root/abs"), 0);
	assert_int_equal(symlinkat("../../secret", dfd, "root/up"), 0);
	assert_int_equal(symlinkat("/", dfd, "root/slash"), 0);
	assert_int_equal(symlinkat("/proc/self/root", dfd, "root/magic"), 0);
	assert_int_equal(symlinkat("loop", dfd, "root/loop"), 0);
	root = openat(dfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fstatat(dfd, "root/etc/passwd", &a, 0);

	fd = file_open_in_root(root, "abs", O_RDONLY, 0);
	assert_true(fd >= 0);
	fstat(fd, &b);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fd);
	fd = file_open_in_root(root, "slash/slash/etc/../../../etc/passwd", O_RDONLY, 0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(file_open_in_root(root, "up", O_RDONLY, 0), -ENOENT);
	assert_int_equal(file_open_in_root(root, "../secret", O_RDONLY, 0), -ENOENT);
	assert_int_equal(file_open_in_root(root, "magic", O_RDONLY, 0), -ENOENT);
	assert_int_equal(file_open_in_root(root, "loop", O_RDONLY, 0), -ELOOP);
	fd = file_open_in_root(root, "new", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);

	assert_int_equal(file_open_beneath(root, "abs", O_RDONLY, 0), -ELOOP);
	assert_int_equal(file_open_beneath(root, "../secret", O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_open_beneath(root, "/etc/passwd", O_RDONLY, 0), -EXDEV);
	fd = file_open_beneath(root, "etc/passwd", O_RDONLY, 0);
	assert_true(fd >= 0);
	close(fd);

	/* made where the link leads inside the root, not outside */
	assert_int_equal(symlinkat("/made/here", dfd, "root/to"), 0);
	assert_int_equal(file_mkdir_p(at("root/made/here"), 0755), 0);
	fd = file_mkdir_in_root(root, "/to/../there/x", 0750, 0, 0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(access(at("root/made/there/x"), F_OK), 0);
	fd = file_mkdir_in_root(root, "../../../escape", 0755, 0, 0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(access(at("root/escape"), F_OK), 0);
	assert_int_equal(access(at("escape"), F_OK), -1);
	assert_true(file_mkdir_in_root(root, "etc/passwd/x", 0755, 0, 0) < 0);
	fd = file_mkdir_in_root(root, "/", 0755, 0, 0);
	assert_true(fd >= 0);
	close(fd);
	close(root);
}

static void test_lock(void **state)
{
	int fd = file_lock(at("lock")), status;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(file_lock(at("lock")), -EAGAIN);
	pid = fork();
	if (pid == 0)
		_exit(file_lock(at("lock")) == -EAGAIN ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
	fd = file_lock(at("lock"));
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(file_lock(at("none/lock")), -ENOENT);
}

static void test_close_from(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		int keep[2] = { 55, 60 };

		for (int fd = 50; fd < 70; fd++)
			dup2(0, fd);
		keep[0] = 60;
		keep[1] = 55;
		file_close_from(50, keep, 2);
		for (int fd = 50; fd < 70; fd++) {
			if ((fcntl(fd, F_GETFD) >= 0) != (fd == 55 || fd == 60))
				_exit(1);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mkdir, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rm_rf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rm_deep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_from, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
