/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rotated log is compressed by a child of its own, at the lowest priority: it may take as long as it takes, and the monitor keeps the memory it
 * has. Meanwhile the file may be rotated on; at the end it is found by what it is, not by its name, under a lock on the folder that rotating
 * takes as well, and if it is gone the work was for nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "runtime/monitor/logfile.h"

static bool deflate_file(int in, int out)
{
	static char piece[64 * 1024];
	gzFile gz = gzdopen(out, "wb6");
	ssize_t n;

	if (!gz) {
		close(out);
		return false;
	}
	while ((n = read(in, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && gzwrite(gz, piece, (unsigned)n) != n) {
			gzclose(gz);
			return false;
		}
	}
	return gzclose(gz) == Z_OK && n == 0;
}

int logfile_lock(const char *path, bool wait)
{
	char *slash, dir[4300];
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

/* The compressed one takes the place of the file it was made from, wherever rotations have moved that. False: it is gone. */
static bool replace(const char *path, unsigned files, const char *tmp, const struct stat *st)
{
	char name[4300], to[4310];
	struct stat other;

	for (unsigned i = 1; i < files; i++) {
		snprintf(name, sizeof(name), "%s.%u", path, i);
		snprintf(to, sizeof(to), "%s.gz", name);
		if (stat(name, &other) == 0 && other.st_ino == st->st_ino && other.st_dev == st->st_dev && rename(tmp, to) == 0) {
			(void)unlink(name);
			return true;
		}
	}
	return false;
}

static void compress_now(int in, const char *path, unsigned files)
{
	struct timespec times[2];
	char tmp[4300];
	struct stat st;
	int out;

	snprintf(tmp, sizeof(tmp), "%s.tmp%d", path, (int)getpid());
	out = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (out < 0 || fstat(in, &st) < 0)
		return;
	if (deflate_file(in, out)) {
		/* A reader tells by its time whether it has had this one already. */
		times[0] = times[1] = st.st_mtim;
		(void)utimensat(AT_FDCWD, tmp, times, 0);
		(void)setpriority(PRIO_PROCESS, 0, 0);	/* who holds the lock must get to run */
		if (logfile_lock(path, true) >= 0 && replace(path, files, tmp, &st))
			return;
	}
	(void)unlink(tmp);
}

void logfile_compress(const char *path, unsigned files)
{
	char name[4300];
	pid_t pid;
	int in;

	snprintf(name, sizeof(name), "%s.1", path);
	in = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);	/* now: its name may soon be another's */
	pid = in < 0 ? -1 : fork();
	if (pid) {
		if (in >= 0)
			(void)close(in);
		return;		/* failed: it stays as it is. The monitor reaps whatever child it has. */
	}
	/* A copy of the monitor's sockets or its lock would make a dead monitor look alive. */
	file_close_from(3, &in, 1);
	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	(void)setpriority(PRIO_PROCESS, 0, 19);
	compress_now(in, path, files);
	_exit(0);
}
