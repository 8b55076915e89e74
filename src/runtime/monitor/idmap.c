/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of a container in a user namespace. On disk they have the ids of the image; the container's root is some high id of the
 * host's. Instead of a copy with shifted owners, the overlay is made of id-mapped views (mount_setattr(2), MOUNT_ATTR_IDMAP; overlayfs
 * takes them since Linux 5.19), its upper directory included: what the container writes lies on disk with the container's own ids.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/userns.h"
#include "runtime/monitor/monitor_priv.h"

static void put_map(struct buf *b, const json_t *map)
{
	json_t *o;
	size_t i;

	json_array_foreach(map, i, o)
		buf_printf(b, "%lld %lld %lld\n", (long long)json_i64(o, "containerID", 0), (long long)json_i64(o, "hostID", 0), (long long)json_i64(o, "size", 0));
}

static int userns_of(const json_t *uids, const json_t *gids, struct err *e)
{
	struct buf u CLEANUP(buf_done) = BUF_INIT, g CLEANUP(buf_done) = BUF_INIT;
	int fd;

	put_map(&u, uids);
	put_map(&g, gids);
	fd = userns_make(u.data ? u.data : "", g.data ? g.data : "");
	return fd < 0 ? err_errno(e, -fd, "make a user namespace for the container's files") : fd;
}

static int view(const char *dir, int userns, const char *at, struct err *e)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
	int tree CLEANUP(fd_closep) = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return err_errno(e, errno, "open %s", dir);
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0)
		return err_errno(e, errno, "map the ids of the files in %s (userns-remap needs a file system that can)", dir);
	if (mkdir(at, 0711) < 0 && errno != EEXIST)
		return err_errno(e, errno, "make %s", at);
	if (move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "mount %s", at);
	return 0;
}

/* "<top>/<a>/<b>" */
static char *top_of(const char *path, int levels)
{
	char *top = mem_strdup(path);

	while (levels-- > 0 && strrchr(top, '/') && strrchr(top, '/') != top)
		*strrchr(top, '/') = '\0';
	return top;
}

int idmap_layers(struct launch *a, const json_t *config, struct err *e)
{
	const json_t *l = json_obj(config, "linux"), *uids = json_arr(l, "uidMappings"), *gids = json_arr(l, "gidMappings");
	int userns CLEANUP(fd_closep) = -1;
	char *top CLEANUP(mem_freep) = NULL, *at CLEANUP(mem_freep) = NULL;
	unsigned views = 0;

	if (!json_array_size(uids) || !a->upper)
		return 0;
	a->map_uid = (uid_t)json_i64(json_array_get(uids, 0), "hostID", 0);
	a->map_gid = (gid_t)json_i64(json_array_get(gids, 0), "hostID", 0);
	userns = userns_of(uids, gids, e);
	if (userns < 0)
		return -1;
	for (size_t i = 0; i < a->n_lowers; i++) {
		char *real CLEANUP(mem_freep) = realpath(a->lowers[i], NULL), *own CLEANUP(mem_freep) = NULL;

		if (!real)
			return err_errno(e, errno, "open '%s' for the root file system", a->lowers[i]);
		own = top_of(real, 2);
		if (!str_eq(own, top)) {	/* in practice all layers are below one directory */
			free(top);
			free(at);
			top = mem_strdup(own);
			at = mem_printf("%s/idmap-%u", a->bundle, views++);
			if (view(top, userns, at, e) < 0)
				return -1;
		}
		a->lowers[i] = mem_printf("%s%s", at, real + strlen(top));	/* the helper ends soon */
	}
	free(top);
	free(at);
	top = top_of(a->upper, 1);
	at = mem_printf("%s/idmap-top", a->bundle);
	if (!a->work || !str_starts(a->work, top) || view(top, userns, at, e) < 0)
		return a->work ? -1 : err_set(e, ERR_INVALID, "container %.12s has no work directory", a->id);
	a->upper = mem_printf("%s%s", at, a->upper + strlen(top));
	a->work = mem_printf("%s%s", at, a->work + strlen(top));
	return 0;
}

/*
 * The overlay works in its directories as whoever mounted it, and makes files there as that user: one that the views can map, which the
 * host's root is not. Changing the file system id takes file capabilities out of the effective set; they are put back.
 */
int idmap_mount(const struct launch *a, const char *at, const char *options)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	int r;

	if (!a->map_uid)
		return mount("overlay", at, "overlay", 0, options) < 0 ? -errno : 0;
	if (syscall(SYS_capget, &h, caps) < 0)
		return -errno;
	(void)setfsgid(a->map_gid);
	(void)setfsuid(a->map_uid);
	r = syscall(SYS_capset, &h, caps) < 0 || mount("overlay", at, "overlay", 0, options) < 0 ? -errno : 0;
	(void)setfsuid(0);
	(void)setfsgid(0);
	return r;
}
