/* SPDX-License-Identifier: Apache-2.0 */
/* Part of monitor_rt.c: SIGKILL for the engine, and for the monitor, at every stage of a launch; in the end nothing is left. */

enum { KILL_STEPS = 25, KILL_STEP_US = 1500 };	/* a launch takes about 20 ms here, with sanitizers 60 */

static void wait_gone(struct box *b, const char *name)
{
	char *path = mem_printf("%s/%s", b->run_dir, name);
	int64_t until = clock_now() + 60 * 1000000000ll;

	while (access(path, F_OK) == 0) {
		assert_true(clock_now() < until);
		loop_turn(loop, 5);
	}
	free(path);
}

static void pause_us(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	(void)nanosleep(&t, NULL);	/* not waiting for anything: the moment of the kill is the parameter of the test */
}

static void test_engine_killed_any_time(void **state)
{
	unsigned adopted = 0;

	(void)state;
	for (int i = 0; i < KILL_STEPS; i++) {
		struct box b;
		struct rt_state st;
		struct err e = { 0 };
		int status;
		pid_t pid;

		box_init(&b, loop, "any", SH("exec sleep 1000"), false);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			loop = b.loop = loop_new(NULL);
			create_and_start(&b);
			for (;;)
				loop_turn(loop, -1);
		}
		pause_us((long)i * i * KILL_STEP_US / 4);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		b.rt = rt_adopt(loop, b.run_dir, &box_adopt_ops, &b, &st, &e);
		if (b.rt) {
			adopted++;
			if (st.running)
				assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
			box_wait(&b, &b.exited);
			assert_int_equal(b.exit.status, 137);
		} else {
			assert_int_equal(e.kind, ERR_NOT_FOUND);
			wait_gone(&b, "launch");
		}
		box_done(&b);
	}
	print_message("%u of %d were running when the engine died\n", adopted, KILL_STEPS);
}

static char *child_list(void)
{
	struct buf b = BUF_INIT;
	char *path = mem_printf("/proc/self/task/%d/children", (int)getpid());

	(void)file_read_at(AT_FDCWD, path, 65536, &b);
	free(path);
	return buf_take(&b);
}

/* The first child that is not in a list from before: orphans of other containers may be there too. */
static pid_t new_child(const char *before)
{
	char *now = child_list(), *save = NULL, word[32], *all = mem_printf(" %s", before);
	pid_t pid = 0;

	for (char *w = strtok_r(now, " \n", &save); w && !pid; w = strtok_r(NULL, " \n", &save)) {
		snprintf(word, sizeof(word), " %s ", w);
		if (!strstr(all, word))
			pid = atoi(w);
	}
	free(now);
	free(all);
	return pid;
}

static void test_monitor_killed_any_time(void **state)
{
	unsigned created = 0, started = 0;

	(void)state;
	for (int i = 0; i < KILL_STEPS; i++) {
		struct box b;
		struct rt_launch a;
		int64_t until;
		pid_t monitor;
		char *before;

		rt_spare_drop();	/* else its monitor would be one that is there already */
		before = child_list();
		box_init(&b, loop, "anym", SH("exec sleep 1000"), false);
		a = box_launch(&b, box_lowers);
		b.rt = rt_launch(loop, box_program, &a, &box_adopt_ops, &b, NULL);
		assert_non_null(b.rt);
		monitor = new_child(before);
		free(before);
		assert_true(monitor > 0);
		until = clock_now() + (int64_t)i * i * KILL_STEP_US * 1000 / 4;
		while (clock_now() < until) {
			loop_turn(loop, 1);
			if (b.created && !b.started && b.create_err.kind == ERR_NONE)
				rt_start(b.rt);
		}
		assert_int_equal(kill(monitor, SIGKILL), 0);
		box_wait(&b, &b.created);
		if (b.create_err.kind == ERR_NONE) {
			created++;
			rt_start(b.rt);
			box_wait(&b, &b.exited);
			assert_int_equal(b.exit.status, 137);
			started += b.started && b.start_err.kind == ERR_NONE;
			box_wait_pid_gone(b.pid);
		}
		wait_gone(&b, "launch");
		box_done(&b);
	}
	print_message("%u of %d were created and %u started when the monitor died\n", created, KILL_STEPS, started);
}

/* A monitor that was started in advance is used; one that was killed meanwhile is not missed. */
static void test_spare(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct box b;
		struct rt_launch a;
		pid_t spare;
		char *before;

		(void)state;
		rt_spare_drop();
		box_init(&b, loop, "first", SH("exit 3"), false);
		a = box_launch(&b, box_lowers);
		b.rt = rt_launch(loop, box_program, &a, &box_adopt_ops, &b, NULL);
		assert_non_null(b.rt);
		before = child_list();
		for (spare = 0; !spare; spare = new_child(before))
			loop_turn(loop, 1);
		free(before);
		if (!i)
			assert_int_equal(kill(spare, SIGKILL), 0);
		box_wait(&b, &b.created);
		rt_start(b.rt);
		box_wait(&b, &b.exited);
		if (!i)
			box_wait_pid_gone(spare);
		box_done(&b);
		box_init(&b, loop, "second", SH("exec sleep 1000"), false);
		a = box_launch(&b, box_lowers);
		b.rt = rt_launch(loop, box_program, &a, &box_adopt_ops, &b, NULL);
		assert_non_null(b.rt);
		box_wait(&b, &b.created);
		assert_int_equal(b.create_err.kind, ERR_NONE);
		if (i)
			assert_int_equal(box_monitor_pid(&b), spare);
		else
			assert_int_not_equal(box_monitor_pid(&b), spare);
		rt_start(b.rt);
		box_wait(&b, &b.started);
		assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
		box_wait(&b, &b.exited);
		box_done(&b);
	}
}

/* A monitor that hangs: the container can be killed, and when the monitor goes on it tells. */
static void test_monitor_stopped(void **state)
{
	struct box b;
	struct rt_state st;
	pid_t monitor;

	(void)state;
	box_init(&b, loop, "stopped", SH("exec sleep 1000"), false);
	killed_after(&b, create_and_start);
	monitor = box_monitor_pid(&b);
	assert_int_equal(kill(monitor, SIGSTOP), 0);
	box_adopt(&b, &st);
	assert_true(st.running);
	assert_int_equal(rt_kill(b.rt, SIGKILL, NULL), 0);
	box_wait_pid_gone(st.pid);
	assert_false(b.exited);
	assert_int_equal(kill(monitor, SIGCONT), 0);
	box_wait(&b, &b.exited);
	assert_int_equal(b.exit.status, 137);
	box_done(&b);
}

/* Packets that no engine sends: ignored or refused, never fatal to the monitor. */
static void test_nonsense_messages(void **state)
{
	char fd_text[16], junk[600];
	struct pm m;
	int pair[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		(void)fcntl(pair[1], F_SETFD, 0);
		snprintf(fd_text, sizeof(fd_text), "%d", pair[1]);
		execl(box_program, "kedge-runtime", "monitor", "--fd", fd_text, NULL);
		_exit(99);
	}
	close(pair[1]);
	for (int i = 0; i < 20000; i++) {
		size_t n = rand_below(sizeof(junk));

		rand_bytes(&m, sizeof(m));
		rand_bytes(junk, sizeof(junk));
		m.type = (uint16_t)(i % 3 ? PM_START + rand_below(PM_EXEC - PM_START + 1) : rand_below(200) + 2);
		if (send(pair[0], i % 50 ? (void *)junk : (void *)&m, i % 50 ? 1 + rand_below(39) : sizeof(m), MSG_NOSIGNAL) < 0)
			break;
		while (pm_send(pair[0], &m, junk, n, i % 7 ? -1 : STDERR_FILENO) == -EAGAIN)
			(void)poll(&(struct pollfd){ .fd = pair[0], .events = POLLOUT }, 1, 1000);
		while (recv(pair[0], junk, sizeof(junk), MSG_DONTWAIT) > 0)
			;
	}
	if (waitpid(pid, &status, WNOHANG) != 0)	/* it lives */
		fail_msg("the monitor ended with status %#x", status);
	memset(&m, 0, sizeof(m));
	m.type = PM_LAUNCH;
	assert_int_equal(pm_send(pair[0], &m, "id=x\0bundle=/nonexistent\0run_dir=/nonexistent/run\0log.driver=none", 66, -1), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(pair[0]);
}

#define KILL_TESTS \
	cmocka_unit_test(test_monitor_stopped), \
	cmocka_unit_test(test_nonsense_messages), \
	cmocka_unit_test(test_spare), \
	cmocka_unit_test(test_monitor_killed_any_time), \
	cmocka_unit_test(test_engine_killed_any_time),
