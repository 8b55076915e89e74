/* SPDX-License-Identifier: Apache-2.0 */
#include "build/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/*
 * A thread of its own leaves the process's mount namespace, mounts there, opens the root and ends: the namespace ends with it, and the
 * mount lives on as what the descriptor holds. (fsopen(2) would do without the thread, but takes no option longer than 255 bytes before
 * Linux 6.5, which is twelve layers.) Layers are named by /proc/self/fd so that 125 of them fit into the one page of options.
 */
struct job {
	char *const *layers;
	const char *upper, *work;
	int fd;
	struct err *e;
};

static int open_dir(const char *path, int *fds, size_t *n, struct err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open '%s' for a build", path);
	fds[(*n)++] = fd;
	return fd;
}

static int options(const struct job *j, struct buf *opt, int *fds, size_t *n)
{
	int fd;

	for (size_t i = strv_len(j->layers); i-- > 0;) {
		fd = open_dir(j->layers[i], fds, n, j->e);
		if (fd < 0)
			return -1;
		buf_printf(opt, "%s/proc/thread-self/fd/%d", opt->len ? ":" : "lowerdir=", fd);
	}
	if (j->upper) {
		fd = open_dir(j->upper, fds, n, j->e);
		if (fd < 0)
			return -1;
		buf_printf(opt, ",upperdir=/proc/thread-self/fd/%d", fd);
		fd = open_dir(j->work, fds, n, j->e);
		if (fd < 0)
			return -1;
		buf_printf(opt, ",workdir=/proc/thread-self/fd/%d", fd);
	}
	/* What is in upper must be all that changed: see the monitor's mount of a container's root. */
	buf_adds(opt, ",index=off,redirect_dir=off,metacopy=off");
	if (opt->len >= 4096)
		return err_set(j->e, ERR_INVALID, "%zu image layers do not fit into the overlay's mount options", strv_len(j->layers));
	return 0;
}

static int mount_it(struct job *j, char *opt)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(j->e, errno, "leave the mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(j->e, errno, "make the mounts of a namespace private");
	/* Any directory does: nobody else sees what is put on it. */
	if (mount("overlay", "/proc", "overlay", j->upper ? 0 : MS_RDONLY, opt) < 0)
		return err_errno(j->e, errno, "mount an image's layers for a build");
	j->fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return j->fd < 0 ? err_errno(j->e, errno, "open an image's root file system") : 0;
}

static void *mount_run(void *user)
{
	struct job *j = user;
	size_t n = 0, layers = strv_len(j->layers);
	int *fds = mem_alloc((layers + 2) * sizeof(*fds));
	struct buf opt = BUF_INIT;

	if (options(j, &opt, fds, &n) == 0)
		(void)mount_it(j, opt.data);
	while (n-- > 0)
		(void)close(fds[n]);
	free(fds);
	buf_done(&opt);
	return NULL;
}

int build_mount(char *const *layers, const char *upper, const char *work, struct err *e)
{
	struct err own = { 0 };
	struct job j = { .layers = layers, .upper = upper, .work = work, .fd = -1, .e = e ? e : &own };
	pthread_t thread;
	int rc;

	/* Nothing to lay over each other. */
	if (!upper && strv_len(layers) == 1) {
		j.fd = open(layers[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return j.fd < 0 ? err_errno(e, errno, "open an image's root file system") : j.fd;
	}
	if (!*layers && !upper)
		return err_set(e, ERR_INVALID, "the image has no files");
	if (!*layers) {
		j.fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return j.fd < 0 ? err_errno(e, errno, "open '%s' for a build", upper) : j.fd;
	}
	rc = pthread_create(&thread, NULL, mount_run, &j);
	if (rc)
		return err_errno(e, rc, "start a thread");
	pthread_join(thread, NULL);
	return j.fd;
}
