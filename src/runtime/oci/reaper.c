/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An init for programs that are none (annotation "kedge.init", docker's --init): the container's first process stays what it is and runs the
 * program as its child. It passes on every signal, reaps whatever is orphaned in the container, and ends as the program has ended.
 *
 * Nothing of the host is mounted for it, and it is not dumpable: the container cannot look into it or trace it.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct { char *start; size_t size; } words;	/* of our own command line, which ps(1) shows */

void reaper_keep_words(int argc, char **argv)
{
	words.start = argv[0];
	words.size = argc > 0 ? (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0]) : 0;
}

static void show_as(char *const *argv)
{
	static const char own[] = "kedge-init\0--";
	size_t at = sizeof(own);

	(void)prctl(PR_SET_NAME, "kedge-init", 0, 0, 0);
	if (words.size < sizeof(own))
		return;
	memset(words.start, 0, words.size);
	memcpy(words.start, own, sizeof(own));
	for (; *argv && at + 1 < words.size; argv++) {
		size_t n = strlen(*argv), room = words.size - at - 1;

		memcpy(words.start + at, *argv, n < room ? n : room);
		at += n + 1;
	}
}

/* What its own terminal sends to a background process is not for the program. */
static bool passed_on(const siginfo_t *si)
{
	return !((si->si_signo == SIGTTIN || si->si_signo == SIGTTOU || si->si_signo == SIGTSTP) && si->si_code == SI_KERNEL);
}

static void reap(pid_t program)
{
	int status, code = -1;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == program)
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	if (code >= 0)
		_exit(code);	/* the kernel ends what is left in the namespace */
}

int reaper_start(int conn, char *const *argv, struct err *e)
{
	sigset_t all, before;
	siginfo_t si;
	pid_t program;

	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	program = fork();
	if (program < 0)
		return err_errno(e, errno, "fork the program from the container's init");
	if (!program) {
		/* A process group of its own, in the foreground if there is a terminal: ^C reaches it and not us. */
		(void)setpgid(0, 0);
		if (isatty(0))
			(void)tcsetpgrp(0, getpgrp());
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return 0;
	}
	(void)close(conn);	/* the program's copy tells "start" that it runs, by closing, or why not */
	show_as(argv);
	for (;;) {
		if (sigwaitinfo(&all, &si) < 0)
			continue;
		if (si.si_signo == SIGCHLD)
			reap(program);
		else if (passed_on(&si))
			(void)kill(program, si.si_signo);
	}
}
