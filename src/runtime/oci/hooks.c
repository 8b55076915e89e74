/* SPDX-License-Identifier: Apache-2.0 */
/* The spec's hooks: programs that get the container's state on their standard input. */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"

static int state_input(const json_t *state, struct err *e)
{
	CLEANUP(mem_freep) char *text = json_text(state);
	int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0 || !text || file_write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
		fd_drop(&fd);
		return err_errno(e, errno, "write the state for a hook");
	}
	return fd;
}

static int run(const json_t *hook, const json_t *state, struct err *e)
{
	const char *path = json_str(hook, "path", "");
	int64_t timeout = json_i64(hook, "timeout", -1);
	CLEANUP(mem_freep) char **argv = json_vector(json_arr(hook, "args")), **env = json_vector(json_arr(hook, "env"));
	CLEANUP(fd_closep) int in = -1, pidfd = -1;
	char *own[] = { (char *)path, NULL };
	struct pollfd p;
	int status, r;
	pid_t pid;

	if (path[0] != '/')
		return err_set(e, ERR_INVALID, "hook '%s' is not an absolute path", path);
	in = state_input(state, e);
	if (in < 0)
		return -1;
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork for hook '%s'", path);
	if (!pid) {
		if (dup2(in, 0) < 0)
			_exit(126);
		file_close_from(3, NULL, 0);
		execve(path, argv[0] ? argv : own, env);
		_exit(127);
	}
	if (timeout > 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
		do
			r = poll(&p, 1, (int)(timeout > 86400 ? 86400 : timeout) * 1000);
		while (r < 0 && errno == EINTR);
		if (r == 0) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return err_set(e, ERR_INTERNAL, "hook '%s' took longer than %lld s", path, (long long)timeout);
		}
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_errno(e, errno, "wait for hook '%s'", path);
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFEXITED(status))
		return err_set(e, ERR_INTERNAL, "hook '%s' ended with status %d", path, WEXITSTATUS(status));
	return err_set(e, ERR_INTERNAL, "hook '%s' was ended by signal %d", path, WTERMSIG(status));
}

int hooks_run(const json_t *hooks, const char *kind, const json_t *state, struct err *e)
{
	const json_t *hook;
	size_t i;

	json_array_foreach(json_arr(hooks, kind), i, hook) {
		if (run(hook, state, e) < 0)
			return err_wrap(e, "%s hook %zu", kind, i);
	}
	return 0;
}
