/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "runtime/oci/oci_priv.h"
#include "runtime/oci/seccomp.h"

/* What a compiled profile lets through: asked of the program, and of the kernel with the program loaded. */
static struct seccomp_prog compile(const char *text)
{
	json_t *profile = json_loads(text, 0, NULL);
	struct seccomp_prog p;
	struct err e = { 0 };

	assert_non_null(profile);
	if (seccomp_compile(profile, &p, &e) < 0)
		fail_msg("%s", e.msg);
	json_decref(profile);
	return p;
}

/* In a child, with arguments no call does anything with. */
static bool kernel_allows(const struct seccomp_prog *p, int nr)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (!pid) {
		struct err e;

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || seccomp_apply(p, &e) < 0)
			_exit(2);
		status = syscall(nr, -1, -1, -1, -1, -1, -1) < 0 && errno == ENOTBLK ? 1 : 0;
		for (;;)
			(void)syscall(SYS_exit_group, status);	/* a sanitizer's _exit() makes calls of its own */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return !WEXITSTATUS(status);
}

static void test_default(void **state)
{
	static const char *const caps[] = { "CAP_CHOWN", NULL };
	static const int calls[] = { SYS_accept4, SYS_close, SYS_kexec_load, SYS_mount, SYS_getpid, SYS_personality };
	static const bool allowed[] = { true, true, false, false, true, false };	/* personality: depends on the argument */
	json_t *profile = oci_seccomp_default(caps);
	struct seccomp_prog p;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(seccomp_compile(profile, &p, &e), 0);
	for (size_t i = 0; i < N(calls); i++)
		assert_int_equal(seccomp_allows(&p, calls[i]), allowed[i]);
	seccomp_done(&p);
	json_decref(profile);
}

static void test_as_the_kernel(void **state)
{
	static const char *const actions[] = {
		"{\"names\": [\"accept4\", \"dup\", \"flock\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 15}",
		"{\"names\": [\"listen\"], \"action\": \"SCMP_ACT_ALLOW\"}",
	};
	static const int calls[] = { SYS_accept4, SYS_dup, SYS_flock, SYS_close, SYS_listen, SYS_fchdir, SYS_fsync };
	char text[512];

	(void)state;
	for (size_t a = 0; a < N(actions); a++) {
		struct seccomp_prog p;

		/* 15 is ENOTBLK, which none of them has of its own. */
		if (a == 0)
			(void)snprintf(text, sizeof(text), "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [%s]}", actions[a]);
		else
			(void)snprintf(text, sizeof(text), "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 15, \"syscalls\": [%s, "
				       "{\"names\": [\"exit_group\", \"exit\", \"rt_sigreturn\"], \"action\": \"SCMP_ACT_ALLOW\"}]}", actions[a]);
		p = compile(text);
		for (size_t i = 0; i < N(calls); i++)
			assert_int_equal(seccomp_allows(&p, calls[i]), kernel_allows(&p, calls[i]));
		seccomp_done(&p);
	}
}

static void test_arguments(void **state)
{
	struct seccomp_prog p = compile("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{\"names\": [\"accept4\"], \"action\": \"SCMP_ACT_ALLOW\", "
					"\"args\": [{\"index\": 3, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}]}, {\"names\": [\"close\"], \"action\": \"SCMP_ACT_ALLOW\"}]}");
	struct seccomp_prog none = { 0 };

	(void)state;
	assert_false(seccomp_allows(&p, SYS_accept4));
	assert_true(seccomp_allows(&p, SYS_close));
	assert_true(seccomp_allows(&none, SYS_accept4));
	seccomp_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_default), cmocka_unit_test(test_as_the_kernel), cmocka_unit_test(test_arguments) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
