/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/oci/self.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* Costs no memory: the pages are the file's. It cannot be made writable again, since no mount namespace has it once fd is closed. */
static int readonly_view(void)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };
	int fd = open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int sealed_copy(int self)
{
	struct stat st;
	off_t at = 0;
	int fd;

	if (fstat(self, &st) < 0)
		return -1;
	fd = memfd_create("kedge-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	while (fd >= 0 && at < st.st_size) {
		ssize_t n = sendfile(fd, self, &at, (size_t)(st.st_size - at));

		if (n <= 0) {
			(void)close(fd);
			return -1;
		}
	}
	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

int self_protect(char **argv, struct err *e)
{
	CLEANUP(fd_closep) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char path[PATH_MAX];
	struct statvfs fs;
	ssize_t n;
	int fd, seals;

	if (self < 0 || fstatvfs(self, &fs) < 0)
		return err_errno(e, errno, "open '/proc/self/exe'");
	seals = fcntl(self, F_GET_SEALS);
	if (fs.f_flag & ST_RDONLY || (seals >= 0 && (seals & SEALS) == SEALS)) {
		(void)prctl(PR_SET_NAME, "kedge-runtime", 0, 0, 0);
		return 0;
	}
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n > 0) {
		path[n] = 0;
		(void)setenv("KEDGE_RUNTIME_EXE", path, 1);
	}
	fd = readonly_view();
	if (fd < 0)
		fd = sealed_copy(self);
	if (fd < 0)
		return err_errno(e, errno, "make a read-only view of the runtime's own program");
	(void)execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	n = errno;
	(void)close(fd);
	return err_errno(e, (int)n, "start the runtime's own program from a read-only view");
}
