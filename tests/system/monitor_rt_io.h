/* SPDX-License-Identifier: Apache-2.0 */
/* The stdio half of monitor_rt.c, which includes it: attachments, terminals, volume, slow readers, a full disk. */

struct sum { uint64_t h; };	/* FNV-1a: order and content of a stream */
static struct sum got;

static void sum_add(struct sum *s, const void *p, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		s->h = (s->h ^ c[i]) * 0x100000001b3ull;
}

static void on_sum(struct box *b, const void *p, size_t n)
{
	(void)b;
	sum_add(&got, p, n);
}

static void create_for_io(struct box *b, const char *const *args, bool tty, bool in, uint64_t max, unsigned files)
{
	struct rt_launch a;

	box_init(b, loop, "io", args, tty);
	a = box_launch(b, box_lowers);
	a.tty = tty;
	a.stdin_open = a.stdin_once = in;
	a.log.max_size = max;
	a.log.max_files = files;
	box_create(b, &a);
	if (b->create_err.kind != ERR_NONE)
		fail_msg("%s", b->create_err.msg);
}

static void test_attach_before_start(void **state)
{
	struct box b;

	(void)state;
	create_for_io(&b, SH("echo first; echo bad >&2; cat; echo last"), false, true, 0, 1);
	box_attach(&b, true);
	assert_int_equal(rt_attach_write(b.attach, "in\n", 3), 3);
	rt_attach_close_stdin(b.attach);
	box_start(&b);
	box_wait(&b, &b.exited);
	box_wait(&b, &b.ended);
	assert_string_equal(b.out.data, "first\nin\nlast\n");
	assert_string_equal(b.errs.data, "bad\n");
	assert_int_equal(b.exit.status, 0);
	box_done(&b);
}

static void test_no_stdin(void **state)
{
	struct box b;

	(void)state;
	create_for_io(&b, SH("cat; echo eof"), false, false, 0, 1);
	box_attach(&b, true);
	(void)rt_attach_write(b.attach, "nobody reads this\n", 18);
	box_start(&b);
	box_wait(&b, &b.ended);
	assert_string_equal(b.out.data, "eof\n");
	box_wait(&b, &b.exited);
	box_done(&b);
}


/* Much more than all buffers, through cat and back, while reading and writing at once. */
static void test_stdin_volume(void **state)
{
	static char block[100000];
	const size_t total = 30u << 20;
	struct box b;
	struct sum want = { 0 };
	size_t sent = 0;

	(void)state;
	create_for_io(&b, (const char *const[]){ "cat", NULL }, false, true, 1 << 20, 2);
	box_attach(&b, true);
	b.discard = true;
	b.on_output = on_sum;
	got.h = 0;
	box_start(&b);
	rand_bytes(block, sizeof(block));
	while (sent < total) {
		size_t at = sent % sizeof(block), n = sizeof(block) - at;

		n = rt_attach_write(b.attach, block + at, n < total - sent ? n : total - sent);
		sum_add(&want, block + at, n);
		sent += n;
		if (!n)
			loop_turn(loop, 1000);
	}
	rt_attach_close_stdin(b.attach);
	box_wait(&b, &b.ended);
	assert_int_equal(b.n_out, total);
	assert_true(got.h == want.h);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 0);
	box_done(&b);
}

static void test_output_volume(void **state)
{
	struct sum want = { 0 };
	struct box b;
	struct stat st;
	size_t total = 0;
	int64_t t;

	(void)state;
	create_for_io(&b, SH("yes 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234567890abcdefghijklmno | head -c 200000000"),
		      false, false, 10 << 20, 3);
	box_attach(&b, false);
	b.discard = true;
	b.on_output = on_sum;
	got.h = 0;
	t = clock_now();
	box_start(&b);
	box_wait(&b, &b.ended);
	t = clock_now() - t;
	while (total < 200000000) {
		static const char line[] = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234567890abcdefghijklmno\n";
		size_t n = sizeof(line) - 1 < 200000000 - total ? sizeof(line) - 1 : 200000000 - total;

		sum_add(&want, line, n);
		total += n;
	}
	assert_int_equal(b.n_out, total);
	assert_true(got.h == want.h);
	box_wait(&b, &b.exited);
	assert_int_equal(stat(b.log, &st), 0);
	assert_true(st.st_size <= 11 << 20);
	print_message("200 MB through the log and an attachment: %lld ms\n", (long long)t / 1000000);
	box_done(&b);
}

/* The log alone, unrotated, compared byte by byte; lines longer than a record's limit too. */
static void test_log_volume(void **state)
{
	struct box b;
	size_t n;
	char *text;
	size_t len;

	(void)state;
	create_for_io(&b, SH("yes abcdefgh | head -c 2000000; yes x | tr -d '\\n' | head -c 1000000; echo; echo end"), false, false, 0, 1);
	box_start(&b);
	box_wait(&b, &b.exited);
	text = log_text(&b, "stdout", &n);
	len = strlen(text);
	assert_int_equal(len, 2000000 + 1000000 + 1 + 4);
	for (size_t i = 0; i < 2000000; i++)
		assert_true(text[i] == "abcdefgh\n"[i % 9]);
	for (size_t i = 2000000 + 3; i < 3000000; i++)
		assert_true(text[i] == 'x');
	assert_string_equal(text + 3000000, "\nend\n");
	free(text);
	box_done(&b);
}

static void test_terminal(void **state)
{
	struct box b;

	(void)state;
	create_for_io(&b, SH("test -t 0 && test -t 1 && test -t 2 && stty size; read x; echo \"<$x>\""), true, true, 0, 1);
	box_attach(&b, true);
	rt_resize(b.rt, 33, 101);
	assert_int_equal(rt_attach_write(b.attach, "typed\r", 6), 6);
	box_start(&b);
	box_wait(&b, &b.ended);
	if (!strstr(b.out.data, "33 101\r\n") || !strstr(b.out.data, "<typed>\r\n"))
		fail_msg("%s", b.out.data);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 0);
	box_done(&b);
}

static void test_terminal_volume(void **state)
{
	struct box b;

	(void)state;
	create_for_io(&b, SH("stty -opost; yes | head -c 3000000; printf END"), true, false, 1 << 20, 2);
	box_attach(&b, false);
	box_start(&b);
	box_wait(&b, &b.exited);
	box_wait(&b, &b.ended);
	assert_int_equal(b.out.len, 3000003);
	assert_string_equal(b.out.data + 3000000, "END");
	box_done(&b);
}

/* A reader that stands still makes the program wait; its end is still reported, and what was written is still delivered. */
static void test_slow_reader(void **state)
{
	struct box b;
	struct rt_attach *fast;
	uint64_t at_kill;

	(void)state;
	create_for_io(&b, SH("yes slow | head -c 50000000"), false, false, 1 << 20, 2);
	box_attach(&b, false);
	fast = TAKE(b.attach);
	box_attach(&b, false);
	rt_attach_free(fast);
	rt_attach_pause(b.attach, true);
	box_start(&b);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 10);
	assert_false(b.exited);
	assert_int_equal(b.n_out, 0);
	assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
	box_wait(&b, &b.exited);	/* although nothing was read */
	assert_int_equal(b.exit.status, 137);
	at_kill = b.n_out;
	assert_int_equal(at_kill, 0);
	rt_attach_pause(b.attach, false);
	box_wait(&b, &b.ended);
	assert_in_range(b.n_out, 200000, 2000000);
	for (size_t i = 0; i < b.out.len; i++)
		assert_true(b.out.data[i] == "slow\n"[i % 5]);
	box_done(&b);
}

static void test_reader_killed(void **state)
{
	struct box b;

	(void)state;
	create_for_io(&b, SH("yes | head -c 5000000; echo done"), false, false, 1 << 20, 2);
	box_attach(&b, false);
	rt_attach_pause(b.attach, true);
	box_start(&b);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 10);
	rt_attach_free(TAKE(b.attach));	/* the program goes on at once */
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 0);
	box_done(&b);
}

static void test_full_disk(void **state)
{
	struct box b;
	struct rt_launch a;
	char small[200];

	(void)state;
	box_init(&b, loop, "full", SH("yes 0123456789 | head -c 3000000; echo still here >&2; exit 5"), false);
	snprintf(small, sizeof(small), "%s/small", b.dir);
	assert_int_equal(mkdir(small, 0755), 0);
	assert_int_equal(mount("small", small, "tmpfs", 0, "size=64k"), 0);
	snprintf(b.log, sizeof(b.log), "%s/small/json.log", b.dir);
	a = box_launch(&b, box_lowers);
	box_create(&b, &a);
	box_attach(&b, false);
	box_start(&b);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 5);
	box_wait(&b, &b.ended);
	assert_string_equal(b.errs.data, "still here\n");
	assert_int_equal(b.out.len, 3000000);
	assert_int_equal(umount2(small, MNT_DETACH), 0);
	box_done(&b);
}

static void test_oom(void **state)
{
	struct box b;

	(void)state;
	/* 64 MiB are allowed; a shell variable of 200 MB is more. */
	simple(&b, SH("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"));
	box_wait(&b, &b.exited);
	assert_int_not_equal(b.exit.status, 0);
	assert_true(b.exit.oom);
	box_done(&b);
}

/* Programs open their output again by name; that must work when they are not root. */
static void test_user_reopens_output(void **state)
{
	struct box b;
	size_t n;
	char *text;

	(void)state;
	box_uid = 1000;
	create_for_io(&b, SH("echo one >/dev/stdout && echo two >/proc/self/fd/2"), false, false, 0, 1);
	box_uid = 0;
	box_start(&b);
	box_wait(&b, &b.exited);
	text = log_text(&b, "stdout", &n);
	assert_string_equal(text, "one\n");
	free(text);
	text = log_text(&b, "stderr", &n);
	assert_string_equal(text, "two\n");
	free(text);
	assert_int_equal(b.exit.status, 0);
	box_done(&b);
}

/* Grandchildren that lose their parents become the monitor's or the container's init's; nothing is left in either case. */
static void test_orphans(void **state)
{
	struct box b;

	(void)state;
	simple(&b, SH("for i in 1 2 3 4 5 6 7 8; do (sleep 100 &) ; done; (sleep 0; echo orphan) & exit 4"));
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 4);
	box_done(&b);
}

static void on_exec_started(void *user, pid_t pid, const struct err *e)
{
	struct box *x = user;

	x->started = true;
	x->pid = pid;
	if (e)
		x->start_err = *e;
}

static void on_exec_exited(void *user, int status)
{
	struct box *x = user;

	x->exited = true;
	x->exit.status = status;
}

static void on_exec_output(void *user, int stream, const void *p, size_t n)
{
	struct box *x = user;

	buf_add(stream == 2 ? &x->errs : &x->out, p, n);
}

static void on_exec_end(void *user)
{
	((struct box *)user)->ended = true;
}

static void exec_one(struct box *b, const char *script, bool tty, const char *in, struct box *x)
{
	static const struct rt_exec_ops ops = { on_exec_started, on_exec_exited };
	static const struct rt_attach_ops attach_ops = { .output = on_exec_output, .end = on_exec_end };
	json_t *o = json_pack("{s:b, s:[s,s,s], s:s, s:[s], s:{s:i,s:i}}", "terminal", (int)tty, "args", "/bin/sh", "-c", script, "cwd", "/", "env",
			      "PATH=/bin", "user", "uid", 0, "gid", 0);
	char *text = json_text(o);
	struct rt_exec_args a = { .process = text, .tty = tty, .stdin_open = in != NULL, .in = in != NULL, .out = true };
	struct rt_attach *attach = NULL;
	struct rt_exec *e;
	struct err err = { 0 };

	memset(x, 0, sizeof(*x));
	x->loop = loop;
	e = rt_exec(b->rt, &a, &ops, x, &attach_ops, x, &attach, &err);
	if (!e)
		fail_msg("%s", err.msg);
	if (in) {
		assert_int_equal(rt_attach_write(attach, in, strlen(in)), strlen(in));
		rt_attach_close_stdin(attach);
	}
	box_wait(x, &x->started);
	if (x->start_err.kind == ERR_NONE) {
		box_wait(x, &x->exited);
		box_wait(x, &x->ended);
	}
	rt_attach_free(attach);
	rt_exec_free(e);
	free(text);
	json_decref(o);
}

static void exec_done(struct box *x)
{
	buf_done(&x->out);
	buf_done(&x->errs);
}

static void test_exec(void **state)
{
	struct box b, x;

	(void)state;
	simple(&b, SH("exec sleep 1000"));
	exec_one(&b, "echo hello; echo bad >&2; cat; exit 6", false, "input", &x);
	if (x.start_err.kind != ERR_NONE)
		fail_msg("%s", x.start_err.msg);
	assert_int_equal(x.exit.status, 6);
	assert_string_equal(x.out.data, "hello\ninput");
	assert_string_equal(x.errs.data, "bad\n");
	exec_done(&x);
	exec_one(&b, "test -t 1 && echo terminal", true, NULL, &x);
	assert_int_equal(x.exit.status, 0);
	assert_string_equal(x.out.data, "terminal\r\n");
	exec_done(&x);
	exec_one(&b, "kill -9 $$", false, NULL, &x);
	assert_int_equal(x.exit.status, 137);
	exec_done(&x);
	assert_false(b.exited);
	assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
	box_wait(&b, &b.exited);
	box_done(&b);
}

#define IO_TESTS \
	cmocka_unit_test(test_attach_before_start), \
	cmocka_unit_test(test_no_stdin), \
	cmocka_unit_test(test_stdin_volume), \
	cmocka_unit_test(test_output_volume), \
	cmocka_unit_test(test_log_volume), \
	cmocka_unit_test(test_terminal), \
	cmocka_unit_test(test_terminal_volume), \
	cmocka_unit_test(test_slow_reader), \
	cmocka_unit_test(test_reader_killed), \
	cmocka_unit_test(test_full_disk), \
	cmocka_unit_test(test_oom), \
	cmocka_unit_test(test_orphans), \
	cmocka_unit_test(test_user_reopens_output), \
	cmocka_unit_test(test_exec),
