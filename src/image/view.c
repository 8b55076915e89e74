/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlayfs takes more than one layer only by mount(2), at a place. A thread of its own goes into a mount namespace of its own for
 * that; when it ends the namespace goes, and the mount stays as long as a descriptor is open in it.
 */
#include "image/view.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

struct view {
	char *const *layers;
	size_t n;
	const char *upper, *work;	/* NULL: read-only */
	int fd;
	struct err *e;
};

static int view_mount(struct view *v, int *handles)
{
	struct buf opt = BUF_INIT;
	int ret = -1;

	for (size_t i = 0; v->upper && i < 2; i++) {
		handles[v->n + i] = open(i ? v->work : v->upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (handles[v->n + i] < 0) {
			err_errno(v->e, errno, "open %s", i ? v->work : v->upper);
			goto out;
		}
	}
	for (size_t i = v->n; i > 0; i--) {
		handles[i - 1] = open(v->layers[i - 1], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (handles[i - 1] < 0) {
			err_errno(v->e, errno, "open image layer %s", v->layers[i - 1]);
			goto out;
		}
		buf_printf(&opt, "%s/proc/self/fd/%d", i == v->n ? "lowerdir=" : ":", handles[i - 1]);
	}
	/* What is in upper must be all that changed: see the monitor's mount of a container's root. */
	if (v->upper)
		buf_printf(&opt, ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,index=off,redirect_dir=off,metacopy=off", handles[v->n], handles[v->n + 1]);
	if (opt.len >= 4096) {
		err_set(v->e, ERR_INVALID, "%zu image layers do not fit into the overlay's mount options", v->n);
		goto out;
	}
	if (mount("overlay", v->layers[0], "overlay", v->upper ? 0 : MS_RDONLY, opt.data) < 0) {
		err_errno(v->e, errno, "mount the layers of an image");
		goto out;
	}
	v->fd = open(v->layers[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	ret = v->fd < 0 ? err_errno(v->e, errno, "open the layers of an image") : 0;
out:
	buf_done(&opt);
	return ret;
}

static void *view_main(void *user)
{
	struct view *v = user;
	int *handles = mem_zalloc((v->n + 2) * sizeof(*handles));

	for (size_t i = 0; i < v->n + 2; i++)
		handles[i] = -1;
	if (unshare(CLONE_NEWNS) < 0)
		err_errno(v->e, errno, "make a mount namespace");
	else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		err_errno(v->e, errno, "make the mounts of a namespace private");
	else
		(void)view_mount(v, handles);
	for (size_t i = 0; i < v->n + 2; i++)
		fd_closep(&handles[i]);
	free(handles);
	return NULL;
}

static int view_open(struct view *v, int *ret)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, view_main, v);

	if (r)
		return err_errno(v->e, r, "start a thread");
	(void)pthread_join(thread, NULL);
	if (v->fd < 0)
		return -1;
	*ret = v->fd;
	return 0;
}

static int view_single(const char *dir, int *ret, struct err *e)
{
	*ret = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_errno(e, errno, "open image layer %s", dir) : 0;
}

int image_view_open(char *const *layers, int *ret, struct err *e)
{
	struct view v = { .layers = layers, .n = strv_len(layers), .fd = -1, .e = e };

	if (v.n == 0)
		return err_set(e, ERR_INVALID, "the image has no layers");
	return v.n == 1 ? view_single(layers[0], ret, e) : view_open(&v, ret);
}

int image_view_change(char *const *layers, const char *upper, const char *work, int *ret, struct err *e)
{
	struct view v = { .layers = layers, .n = strv_len(layers), .upper = upper, .work = work, .fd = -1, .e = e };

	return v.n == 0 ? view_single(upper, ret, e) : view_open(&v, ret);
}
