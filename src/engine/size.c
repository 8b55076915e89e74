/* SPDX-License-Identifier: Apache-2.0 */
/* How much disk containers take: walking their upper directories is a pool thread's work, and documents are made after it. */
#include "engine/size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { DEPTH_MAX = 1000 };

struct measured {
	char id[ID_LEN + 1];
	char *upper;
	int64_t bytes;
};

struct measure {
	struct work work;
	struct engine *en;
	struct measured *list;
	size_t n;
	engine_done *done;
	void *user;
};

static int open_folder(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Sum of the files' sizes, one with several names counted once. */
static int64_t tree_size(const char *path)
{
	DIR **stack = mem_alloc(DEPTH_MAX * sizeof(*stack));
	struct map *seen = map_new();
	int fd = open_folder(AT_FDCWD, path);
	int64_t sum = 0;
	size_t depth = 0;

	if (fd >= 0 && (stack[0] = fdopendir(fd)))
		depth = 1;
	while (depth) {
		struct dirent *de = readdir(stack[depth - 1]);
		struct stat st;

		if (!de) {
			closedir(stack[--depth]);
			continue;
		}
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, "..") ||
		    fstatat(dirfd(stack[depth - 1]), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
			char key[32];

			snprintf(key, sizeof(key), "%llx", (unsigned long long)st.st_ino);
			if (!map_put(seen, key, seen))
				sum += st.st_size;
		} else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) {
			sum += st.st_size;
		} else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			fd = open_folder(dirfd(stack[depth - 1]), de->d_name);
			if (fd >= 0 && !(stack[depth] = fdopendir(fd)))
				close(fd);
			else
				depth += fd >= 0;
		}
	}
	map_free(seen);
	free(stack);
	return sum;
}

static void measure_run(struct work *w)
{
	struct measure *m = CONTAINER_OF(w, struct measure, work);

	for (size_t i = 0; i < m->n; i++)
		m->list[i].bytes = tree_size(m->list[i].upper);
}

static void measure_done(struct work *w)
{
	struct measure *m = CONTAINER_OF(w, struct measure, work);

	for (size_t i = 0; i < m->n; i++) {
		struct container *c = map_get(m->en->by_id, m->list[i].id);

		if (c)
			c->size_rw = m->list[i].bytes;
		free(m->list[i].upper);
	}
	m->done(m->user, NULL);
	free(m->list);
	free(m);
}

static void add(struct measure *m, const struct container *c)
{
	char *dir CLEANUP(mem_freep) = container_dir(c);
	struct measured *x = &m->list[m->n++];

	memcpy(x->id, c->id, sizeof(x->id));
	x->upper = mem_printf("%s/upper", dir);
	x->bytes = 0;
}

void engine_measure(struct engine *en, const char *ref, engine_done *done, void *user)
{
	struct measure *m = mem_zalloc(sizeof(*m));
	struct container *c;
	size_t it = 0;

	m->en = en;
	m->done = done;
	m->user = user;
	m->list = mem_alloc((map_len(en->by_id) + 1) * sizeof(*m->list));
	if (ref) {
		c = engine_find(en, ref, NULL);
		if (c)
			add(m, c);
	} else {
		while ((c = map_next(en->by_id, &it, NULL)))
			add(m, c);
	}
	m->work = (struct work){ .run = measure_run, .done = measure_done };
	work_start(en->pool, &m->work);
}

void size_write(struct buf *b, const struct container *c)
{
	struct image *im = image_find(c->en->images, json_str(c->doc, "Image", ""), NULL);

	jsonw_key_i64(b, "SizeRw", c->size_rw);
	jsonw_key_i64(b, "SizeRootFs", c->size_rw + (im ? (int64_t)image_bytes(im) : 0));
}
