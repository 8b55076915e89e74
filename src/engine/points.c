/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/*
 * The lowest layer of every container's root file system: the places something is mounted on at each start. Images of little more than a program
 * lack them, and the runtime made them in the container's own upper directory; there they cost five inodes a container (with the copy of etc), made
 * at its first start and freed with it. An inode is the dearest thing a start makes: ext4 without a journal looks past all that were freed in the last
 * minute. At the bottom, an image that has them wins, and one that has removed them still has.
 *
 * What is in it can not be changed while containers run on it: another set takes another number.
 */
#define POINTS "mountpoints/1"

static char *points_path(const char *data_root)
{
	return mem_printf("%s/" POINTS "/root", data_root);
}

int points_make(const char *data_root, struct err *e)
{
	static const char *const dirs[] = { "dev", "etc", "proc", "sys" }, *const files[] = { "etc/hosts", "etc/hostname", "etc/resolv.conf" };
	char *root CLEANUP(mem_freep) = points_path(data_root);
	int r = file_mkdir_p(root, 0755), dir CLEANUP(fd_closep) = -1;

	if (r < 0)
		return err_errno(e, -r, "cannot make %s", root);
	dir = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fchmod(dir, 0755) < 0)
		return err_errno(e, errno, "cannot open %s", root);
	for (size_t i = 0; i < N(dirs); i++) {
		if ((mkdirat(dir, dirs[i], 0755) < 0 && errno != EEXIST) || fchmodat(dir, dirs[i], 0755, 0) < 0)
			return err_errno(e, errno, "cannot make %s/%s", root, dirs[i]);
	}
	for (size_t i = 0; i < N(files); i++) {
		int fd CLEANUP(fd_closep) = openat(dir, files[i], O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

		if (fd < 0 || fchmod(fd, 0644) < 0)
			return err_errno(e, errno, "cannot make %s/%s", root, files[i]);
	}
	return 0;
}

char **container_layers(struct engine *en, const struct image *im)
{
	char **all = strv_add(NULL, ""), **v = image_layers(en->images, im);

	free(all[0]);
	all[0] = points_path(en->data_root);
	for (size_t i = 0; v[i]; i++)
		all = strv_add(all, v[i]);
	strv_free(v);
	return all;
}
