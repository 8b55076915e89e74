/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rootview.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/userns.h"

enum { FDS_MAX = 160 };

struct job {
	struct rootview *v;
	struct err *e;
	int fds[FDS_MAX];	/* of layers: named in the options, closed once mounted */
	size_t n_fds;
	int tree, userns;	/* userns: -1 until a mount needs it */
};

static int tree_clone(int at, const char *path, unsigned flags)
{
	return open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

/* "/proc/self/fd/N": whatever characters the path has, the options stay short. */
static int add_dir(struct job *j, struct buf *opt, const char *before, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(j->e, errno, "open '%s' for the root file system", path);
	if (j->n_fds == FDS_MAX) {
		close(fd);
		return err_set(j->e, ERR_INVALID, "the image has more than %d layers", FDS_MAX);
	}
	j->fds[j->n_fds++] = fd;
	buf_printf(opt, "%s/proc/self/fd/%d", before, fd);
	return 0;
}

static int make_dir(struct job *j, const char *name, mode_t mode, char **ret)
{
	int r;

	*ret = mem_printf("%s/%s", j->v->dir, name);
	r = file_mkdir_p(*ret, mode);
	return r < 0 ? err_errno(j->e, -r, "make '%s'", *ret) : 0;
}

/* The same options as the monitor's mount has; a read-only view has upper as its topmost lower layer and never touches work. */
static int mount_overlay(struct job *j, const char *at)
{
	char *upper CLEANUP(mem_freep) = NULL, *work CLEANUP(mem_freep) = NULL;
	struct buf opt CLEANUP(buf_done) = BUF_INIT;
	size_t n = strv_len(j->v->layers);
	unsigned long flags = j->v->write && !j->v->read_only ? 0 : MS_RDONLY;

	if (make_dir(j, "upper", 0755, &upper) < 0 || make_dir(j, "work", 0711, &work) < 0)
		return -1;
	buf_adds(&opt, "lowerdir=");
	if (!j->v->write && add_dir(j, &opt, "", upper) < 0)
		return -1;
	for (size_t i = n; i > 0; i--) {
		if (add_dir(j, &opt, opt.data[opt.len - 1] == '=' ? "" : ":", j->v->layers[i - 1]) < 0)
			return -1;
	}
	if (j->v->write && (add_dir(j, &opt, ",upperdir=", upper) < 0 || add_dir(j, &opt, ",workdir=", work) < 0))
		return -1;
	buf_adds(&opt, ",index=off,redirect_dir=off,metacopy=off");
	if (opt.len >= 4096)
		return err_set(j->e, ERR_INVALID, "%zu image layers do not fit into the overlay's mount options", n);
	if (mount("overlay", at, "overlay", flags, opt.data) == 0)
		return 0;
	*strstr(opt.data, ",index=off") = '\0';	/* Linux before 4.19 does not know all three */
	if (mount("overlay", at, "overlay", flags, opt.data) < 0)
		return err_errno(j->e, errno, "mount the root file system of the container");
	return 0;
}

/*
 * The root file system has the container's own ids on disk, what is mounted into it those of the host: the view shows them all as the container
 * sees them, and what is written through it lands as if the container had.
 */
static int map_ids(struct job *j, int tree, const char *src)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };
	char uids[64], gids[64];

	if (!j->v->map_size)
		return 0;
	if (j->userns < 0) {
		snprintf(uids, sizeof(uids), "%u 0 %u\n", j->v->map_uid, j->v->map_size);
		snprintf(gids, sizeof(gids), "%u 0 %u\n", j->v->map_gid, j->v->map_size);
		j->userns = userns_make(uids, gids);
		if (j->userns < 0)
			return err_errno(j->e, -j->userns, "make a user namespace for the container's mounts");
	}
	a.userns_fd = (uint64_t)j->userns;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof(a)) < 0)
		return err_errno(j->e, errno, "map the ids of the files in %s (userns-remap needs a file system that can)", src);
	return 0;
}

/* A volume or bind where the container would have it. What cannot be there (its place is missing and the view is read-only) is left out. */
static int add_mount(struct job *j, const char *root, const json_t *m)
{
	const char *src = json_str(m, "Source", ""), *dst = json_str(m, "Destination", "");
	int rootfd CLEANUP(fd_closep) = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tree CLEANUP(fd_closep) = -1, at CLEANUP(fd_closep) = -1, on CLEANUP(fd_closep) = -1;
	char self[64];

	if (*src != '/' || *dst != '/' || rootfd < 0)
		return 0;
	tree = tree_clone(AT_FDCWD, src, AT_RECURSIVE);
	if (tree < 0)
		return errno == ENOENT ? 0 : err_errno(j->e, errno, "open '%s', which the container has as %s", src, dst);
	if (map_ids(j, tree, src) < 0)
		return -1;
	at = file_open_in_root(rootfd, dst, O_PATH, 0);
	if (at == -ENOENT && j->v->write && !j->v->read_only)
		at = file_mkdir_in_root(rootfd, dst, 0755, 0, 0);
	if (at < 0)
		return 0;
	if (move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return errno == ENOTDIR || errno == EINVAL ? 0 : err_errno(j->e, errno, "mount '%s' on %s", src, dst);
	if (json_flag(m, "RW", true))
		return 0;
	on = file_open_in_root(rootfd, dst, O_PATH, 0);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", on);
	if (on < 0 || mount(NULL, self, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return err_errno(j->e, on < 0 ? -on : errno, "make %s read-only", dst);
	return 0;
}

static int build(struct job *j)
{
	char *root CLEANUP(mem_freep) = NULL;
	json_t *m;
	size_t i;

	if (make_dir(j, "view", 0711, &root) < 0)
		return -1;
	if (unshare(CLONE_FS | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(j->e, errno, "make a mount namespace for a look into the container");
	if (mount_overlay(j, root) < 0)
		return -1;
	json_array_foreach(j->v->mounts, i, m) {
		if (add_mount(j, root, m) < 0)
			return -1;
	}
	j->tree = tree_clone(AT_FDCWD, root, AT_RECURSIVE);
	return j->tree < 0 ? err_errno(j->e, errno, "take the container's root file system") : 0;
}

static void *thread(void *user)
{
	struct job *j = user;

	(void)build(j);
	for (size_t i = 0; i < j->n_fds; i++)
		close(j->fds[i]);
	fd_closep(&j->userns);
	return NULL;
}

int rootview_open(struct rootview *v, struct err *e)
{
	struct job j = { .v = v, .e = e, .tree = -1, .userns = -1 };
	sigset_t all, old;
	pthread_t t;
	int r;

	if (v->running >= 0)
		return TAKE_FD(v->running);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, NULL, thread, &j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return err_errno(e, r, "start a thread for a look into the container");
	pthread_join(t, NULL);
	return j.tree;
}

void rootview_done(struct rootview *v)
{
	fd_closep(&v->running);
	v->running = -1;
	free(v->dir);
	strv_free(v->layers);
	json_decref(v->mounts);
	*v = (struct rootview){ .running = -1 };
}
