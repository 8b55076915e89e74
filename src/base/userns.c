/* SPDX-License-Identifier: Apache-2.0 */
#include "base/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static int put_map(pid_t pid, const char *file, const char *map)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return file_put_at(AT_FDCWD, path, map);
}

int userns_make(const char *uid_map, const char *gid_map)
{
	int ready[2], go[2], fd = -EIO;
	char c = 0, path[64];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(go, O_CLOEXEC) < 0) {
		fd = -errno;
		(void)close(ready[0]);
		(void)close(ready[1]);
		return fd;
	}
	pid = fork();
	if (pid == 0) {
		(void)close(go[1]);
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], &c, 1) != 1)
			_exit(1);
		(void)!read(go[0], &c, 1);	/* until we have what we want of it */
		_exit(0);
	}
	(void)close(ready[1]);
	(void)close(go[0]);
	if (pid > 0 && read(ready[0], &c, 1) == 1) {
		fd = put_map(pid, "uid_map", uid_map);
		if (fd == 0)
			fd = put_map(pid, "gid_map", gid_map);
		if (fd == 0) {
			snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
			fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				fd = -errno;
		}
	}
	(void)close(ready[0]);
	(void)close(go[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
