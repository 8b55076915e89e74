/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "image_bench.h"

/*
 * kill -9 at every step of a load and of a removal: a process does the work and is killed at the nth pass of a step, then another one
 * starts on what is left and looks: an image is there with all its layers or not at all, nothing lies around, the work can be done again.
 * Everything happens in children: threads do not survive a fork.
 */
static const char *const points[] = { "image.layer", "image.file", "image.sync", "image.publish", "image.linked", "image.sync_names", "image.commit",
				      "image.committed", "image.drop", "image.dropped", "store.commit", "store.committed" };

static struct bench b;
static struct buf layers[3], archive;

static int in_child(int (*fn)(const char *point, unsigned nth), const char *point, unsigned nth)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(point, nth));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int work(const char *point, unsigned nth)
{
	bench_start(&b);
	fault_arm(point, nth, FAULT_KILL);
	if (bench_load(&b, &archive, 0) < 0)
		return 1;
	if (bench_rmi(&b, "x", false) < 0)
		return 2;
	fault_arm(point, 0, 0);
	bench_stop(&b);
	return 0;
}

/* Everything that the index names is there to its last byte. */
static bool whole(struct image *i)
{
	static const char *const files[] = { "a", "b", "c" };
	char **dirs = image_layers(b.im, i);
	bool ok = strv_len(dirs) == 3;

	for (size_t k = 0; ok && k < 3; k++) {
		char *path = mem_printf("%s/%s", dirs[k], files[k]);
		struct stat st;

		ok = stat(path, &st) == 0 && st.st_size == 5;
		free(path);
	}
	strv_free(dirs);
	return ok;
}

static int look(const char *point, unsigned nth)
{
	struct image *i;
	int rc = 0;

	(void)point;
	(void)nth;
	bench_start(&b);
	bench_settle(&b);
	i = image_find(b.im, "x", NULL);
	if (i && !whole(i))
		rc = 1;
	else if (bench_count(&b, "layers") != (i ? 3 : 0) || bench_count(&b, "l") != (i ? 3 : 0))
		rc = 2;
	else if (images_count(b.im) != (i ? 1 : 0))
		rc = 3;
	else if (bench_load(&b, &archive, 0) < 0 || !(i = image_find(b.im, "x", NULL)) || !whole(i))
		rc = 4;
	else if (bench_rmi(&b, "x", false) < 0)
		rc = 5;
	bench_settle(&b);
	if (!rc && (bench_count(&b, "layers") || bench_count(&b, "l")))
		rc = 6;
	bench_stop(&b);
	return rc;
}

static void killed(void **state)
{
	unsigned deaths = 0;

	(void)state;
	for (size_t p = 0; p < N(points); p++) {
		for (unsigned nth = 1;; nth++) {
			int rc = in_child(work, points[p], nth), seen;

			if (rc > 0)
				fail_msg("%s %u: the work itself failed with %d", points[p], nth, rc);
			seen = in_child(look, NULL, 0);
			if (seen)
				fail_msg("killed at %s, pass %u: a later start fails check %d", points[p], nth, seen);
			if (rc == 0)
				break;
			assert_int_equal(rc, -SIGKILL);
			deaths++;
		}
	}
	print_message("killed %u times\n", deaths);
	assert_true(deaths >= 20);
}

int main(void)
{
	static const char *const names[] = { "x", NULL };
	const struct CMUnitTest tests[] = { cmocka_unit_test(killed) };
	int rc;

	if (geteuid() != 0) {
		puts("SKIP: needs root, to make owners");
		return 77;
	}
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
	bench_make(&b);
	layers[0] = bench_layer("a", "first");
	layers[1] = bench_layer("b", "secon");
	layers[2] = bench_layer("c", "third");
	archive = bench_save(layers, 3, names, NULL);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < 3; i++)
		buf_done(&layers[i]);
	buf_done(&archive);
	bench_remove(&b);
	return rc;
}
