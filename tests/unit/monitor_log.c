/* SPDX-License-Identifier: Apache-2.0 */
/* The json-file log: every byte sequence becomes a record that parses back, rotation and a full disk leave whole records. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/monitor/logenc.h"
#include "runtime/monitor/logfile.h"

static const char stamp[] = "2024-01-02T03:04:05.5Z";

static char *encode(const char *p, size_t n, int stream, size_t *len)
{
	char tail[LOGENC_OVER], *out = malloc(LOGENC_MAX(n) + 1);	/* exact: a sanitizer sees a byte too many */

	*len = logenc_record(out, p, n, tail, logenc_tail(tail, stream, NULL, stamp));
	assert_true(*len <= LOGENC_MAX(n));
	out[*len] = 0;
	return out;
}

static void expect(const char *in, size_t n, const char *log)
{
	size_t len;
	char *got = encode(in, n, 1, &len), *want = mem_printf("{\"log\":\"%s\",\"stream\":\"stdout\",\"time\":\"%s\"}\n", log, stamp);

	assert_string_equal(got, want);
	free(got);
	free(want);
}

static void test_escapes(void **state)
{
	(void)state;
	expect("hello\n", 6, "hello\\n");
	expect("", 0, "");
	expect("a\"b\\c\r\n", 7, "a\\\"b\\\\c\\r\\n");
	expect("\t\x1b[0m\x7f", 6, "\\u0009\\u001b[0m\x7f");
	expect("\0x", 2, "\\u0000x");
	expect("<a href='x'>&", 13, "\\u003ca href='x'\\u003e\\u0026");
	expect("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xb3", 15, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xb3");
	expect("\xe2\x80\xa8\xe2\x80\xa9", 6, "\\u2028\\u2029");
	expect("\xff\xfe", 2, "\\ufffd\\ufffd");
	expect("\xc0\xaf", 2, "\\ufffd\\ufffd");			/* overlong */
	expect("\xed\xa0\x80", 3, "\\ufffd\\ufffd\\ufffd");		/* a surrogate */
	expect("\xf4\x90\x80\x80", 4, "\\ufffd\\ufffd\\ufffd\\ufffd");	/* past U+10FFFF */
	expect("abc\xe2\x82", 5, "abc\\ufffd\\ufffd");			/* cut off */
	expect("12345678\"12345678", 17, "12345678\\\"12345678");
}

static void check_back(const char *in, size_t n)
{
	size_t len, want_len = 0;
	char *got = encode(in, n, 2, &len), *want = malloc(3 * n + 1);
	json_t *o = json_loadb(got, len, JSON_ALLOW_NUL, NULL), *log;

	/* Invalid bytes become U+FFFD one by one, as in Go. */
	for (size_t i = 0; i < n;) {
		size_t k = (unsigned char)in[i] < 0x80 ? 1 : 0;

		for (size_t l = 2; !k && l <= 4 && i + l <= n; l++) {
			if (str_utf8_valid(in + i, l))
				k = l;
		}
		if (k)
			memcpy(want + want_len, in + i, k);
		else
			memcpy(want + want_len, "\xef\xbf\xbd", 3);
		want_len += k ? k : 3;
		i += k ? k : 1;
	}
	assert_non_null(o);
	log = json_object_get(o, "log");
	assert_int_equal(json_string_length(log), want_len);
	assert_memory_equal(json_string_value(log), want, want_len);
	assert_string_equal(json_string_value(json_object_get(o, "stream")), "stderr");
	assert_string_equal(json_string_value(json_object_get(o, "time")), stamp);
	assert_int_equal(got[len - 1], '\n');
	assert_ptr_equal(memchr(got, '\n', len), got + len - 1);
	json_decref(o);
	free(got);
	free(want);
}

/* Each kind of character at each place within and across the steps of the scanner, in lines of each length. */
static void test_borders(void **state)
{
	static const char *const odd[] = { "\"", "&", "<", ">", "\\", "\n", "\x1f", "\x7f", "\x80", "\xff", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x90\xb3", "\xe2\x80\xa8" };
	char in[60];

	(void)state;
	for (size_t k = 0; k < sizeof(odd) / sizeof(*odd); k++) {
		for (size_t n = 1; n <= 36; n++) {
			for (size_t at = 0; at < n; at++) {
				memset(in, 'x', sizeof(in));
				memcpy(in + at, odd[k], strlen(odd[k]));
				check_back(in, n);	/* the sequence may be cut off by the end */
				in[n - 1] = '\n';
				check_back(in, n);
			}
		}
	}
}

static void test_random_bytes(void **state)
{
	static char in[LOGENC_LINE];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t n = rand_below(round % 100 ? 200 : sizeof(in));
		unsigned mode = (unsigned)round % 4;

		rand_bytes(in, n);
		for (size_t i = 0; i < n && mode; i++) {
			if (mode == 1)		/* mostly text, some specials */
				in[i] = "abcdefghijklmnop\"\\<>&\n\r\t\xe2\x80\xa8\xff"[(unsigned char)in[i] % 28];
			else if (mode == 2)	/* lead and continuation bytes */
				in[i] = (char)(0x80 | in[i]);
			else
				in[i] = (char)(in[i] & 0x7f);
		}
		check_back(in, n);
	}
}

static void test_stamp(void **state)
{
	struct logenc_clock c = { 0 };
	char out[LOGENC_STAMP];

	(void)state;
	assert_int_equal(logenc_stamp(&c, 1704164645123456789ll, out), 30);
	assert_string_equal(out, "2024-01-02T03:04:05.123456789Z");
	logenc_stamp(&c, 1704164645120000000ll, out);
	assert_string_equal(out, "2024-01-02T03:04:05.12Z");
	logenc_stamp(&c, 1704164645000000000ll, out);
	assert_string_equal(out, "2024-01-02T03:04:05Z");
	logenc_stamp(&c, 1704164646000000001ll, out);
	assert_string_equal(out, "2024-01-02T03:04:06.000000001Z");
	logenc_stamp(&c, 0, out);
	assert_string_equal(out, "1970-01-01T00:00:00Z");
}

static void test_cut(void **state)
{
	(void)state;
	assert_int_equal(logenc_cut("abcdefgh", 4), 4);
	assert_int_equal(logenc_cut("abc\xe2\x82\xac", 4), 3);
	assert_int_equal(logenc_cut("abc\xe2\x82\xac", 5), 3);
	assert_int_equal(logenc_cut("abc\xe2\x82\xac", 6), 6);
	assert_int_equal(logenc_cut("\x80\x80\x80\x80\x80", 4), 4);	/* not UTF-8: cut anywhere */
	assert_int_equal(logenc_cut("ab\xf0\x9f\x90\xb3", 5), 2);
}

static char dir[] = "/tmp/kedge-log-XXXXXX";
static char room[LOGFILE_ROOM];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	(void)state;
	(void)umount2(dir, MNT_DETACH);
	return file_rm_rf_at(AT_FDCWD, dir);
}

/* Records in a file; each must parse. */
static size_t records(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0, n = 0;
	ssize_t len;

	if (!f)
		return 0;
	while ((len = getline(&line, &size, f)) > 0) {
		json_t *o = json_loadb(line, (size_t)len, 0, NULL);

		assert_non_null(o);
		json_decref(o);
		n++;
	}
	free(line);
	fclose(f);
	return n;
}

static void add(struct logfile *f, const char *text)
{
	logfile_begin(f, 1, 1704164645500000000ll);
	logfile_add(f, text, strlen(text));
}

static void test_rotation(void **state)
{
	char *path = mem_printf("%s/log", dir), *one = mem_printf("%s.1", path), *two = mem_printf("%s.2", path),
	     *three = mem_printf("%s.3", path);
	struct logfile f;
	struct stat st;

	(void)state;
	assert_int_equal(logfile_open(&f, path, 1000, 3, room, NULL), 0);
	for (int i = 0; i < 100; i++) {
		add(&f, "0123456789012345678901234567890123456789\n");
		if (i % 7 == 0)
			logfile_flush(&f);
	}
	logfile_done(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 1200);
	assert_int_equal(stat(one, &st), 0);
	assert_in_range(st.st_size, 1000, 1200);
	assert_int_equal(records(one), records(two));
	assert_true(records(path) > 0);
	assert_int_equal(access(three, F_OK), -1);
	/* One file: it begins anew. */
	assert_int_equal(logfile_open(&f, path, 1000, 1, room, NULL), 0);
	for (int i = 0; i < 100; i++)
		add(&f, "0123456789012345678901234567890123456789\n");
	logfile_done(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 1200);
	assert_true(records(path) > 0);
	free(path);
	free(one);
	free(two);
	free(three);
}

static void test_torn_end(void **state)
{
	char *path = mem_printf("%s/log", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct logfile f;
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(write(fd, "{\"log\":\"hal", 11), 11);
	close(fd);
	assert_int_equal(logfile_open(&f, path, 0, 1, room, NULL), 0);
	add(&f, "whole\n");
	logfile_done(&f);
	assert_int_equal(file_read_at(AT_FDCWD, path, 4096, &b), 0);
	assert_non_null(strstr(b.data, "hal\n{\"log\":\"whole\\n\""));
	buf_done(&b);
	free(path);
}

static void test_full_disk(void **state)
{
	char *path = mem_printf("%s/log", dir), *ballast = mem_printf("%s/ballast", dir);
	struct logfile f;
	struct buf b = BUF_INIT;
	size_t before;
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 || mount("none", dir, "tmpfs", 0, "size=256k") < 0)
		skip();
	fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(posix_fallocate(fd, 0, 128 * 1024), 0);
	close(fd);
	assert_int_equal(logfile_open(&f, path, 0, 1, room, NULL), 0);
	for (int i = 0; i < 5000; i++) {
		add(&f, "a line of a program that does not know how full the disk is\n");
		if (i % 10 == 0)
			logfile_flush(&f);
	}
	logfile_flush(&f);
	assert_true(f.lost > 0);
	before = records(path);
	assert_int_equal(before + f.lost, 5000);	/* every line is in the file or counted */
	assert_int_equal(unlink(ballast), 0);
	add(&f, "space again\n");
	logfile_done(&f);
	assert_int_equal(f.lost, 0);
	assert_int_equal(records(path), before + 2);
	assert_int_equal(file_read_at(AT_FDCWD, path, 1 << 20, &b), 0);
	assert_non_null(strstr(b.data, "lines of output are missing here"));
	buf_done(&b);
	free(path);
	free(ballast);
}

static void test_bad_path(void **state)
{
	struct logfile f;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(logfile_open(&f, "/nonexistent/dir/log", 0, 1, room, &e), -1);
	assert_non_null(strstr(e.msg, "/nonexistent/dir/log"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_stamp),
		cmocka_unit_test(test_cut),
		cmocka_unit_test_setup_teardown(test_rotation, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_torn_end, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_full_disk, make_dir, drop_dir),
		cmocka_unit_test(test_bad_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
