/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 *   WAITS     the container is just starting or ending, or somebody else writes into it at rest
 *   WORKS     a pool thread opens the root (rootview.c), then writes or reads the archive (tarout.c, tarin.c) through a flow
 *   ENDED     the thread is through; what it wrote may still wait for a slow client
 *
 * A container at rest is written to by one at a time, and is not started meanwhile: an overlay must not be mounted twice for writing. Readers
 * hold nobody up. A client that stops in the middle of an upload is ended by the HTTP server's time limit.
 */
#include "engine/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/engine_priv.h"
#include "engine/mounts.h"
#include "engine/rootview.h"
#include "engine/tarin.h"
#include "engine/tarout.h"
#include "loop/flow.h"

enum { QUEUE_MAX = 1 << 20, ARCHIVERS = 32 };

enum kind { KIND_STAT, KIND_GET, KIND_PUT, KIND_EXPORT };

struct engine_archive {
	struct work work;
	struct engine *en;
	enum kind kind;
	char id[ID_LEN + 1];
	char *path, *name, *user_name;
	struct engine_archive_put put;
	struct engine_archive_ops ops;
	void *user;
	struct flow *flow;
	struct rootview view;
	struct engine_idmap map;	/* of what view shows; size 0: none */
	char **layers, *upper;		/* to look up users in */
	json_t *stat;			/* the thread's until stat_ready */
	atomic_bool stat_ready;
	struct err err;
	bool writes;			/* holds c->writer */
	bool waits, works, ended, told_stat, told_end, paused, cancelled, in_callback;
};

static void begin(void *user, const struct err *e);

static void free_archive(struct engine_archive *a)
{
	flow_free(a->flow);
	rootview_done(&a->view);
	strv_free(a->layers);
	free(a->upper);
	free(a->path);
	free(a->name);
	free(a->user_name);
	json_decref(a->stat);
	free(a);
}

/* Callbacks may cancel; the object lives on until they have returned. */
static bool enter(struct engine_archive *a)
{
	if (a->cancelled || a->in_callback)
		return false;
	a->in_callback = true;
	return true;
}

/* False: a is gone. */
static bool leave(struct engine_archive *a)
{
	a->in_callback = false;
	if ((!a->cancelled && !a->told_end) || a->works || a->waits)
		return true;
	free_archive(a);
	return false;
}

static void pump(void *user)
{
	struct engine_archive *a = user;
	const void *p;
	size_t n;

	if (!enter(a))
		return;
	if (a->kind == KIND_PUT && !a->ended && a->ops.resume)
		a->ops.resume(a->user);
	if (!a->cancelled && !a->told_stat && atomic_load(&a->stat_ready)) {
		a->told_stat = true;
		if (a->ops.stat)
			a->ops.stat(a->user, a->stat);
	}
	while (a->kind != KIND_PUT && !a->cancelled && !a->paused && (p = flow_peek(a->flow, &n))) {
		a->ops.data(a->user, p, n);
		flow_drop(a->flow);
	}
	if (!a->cancelled && a->ended && !a->told_end && (a->kind == KIND_PUT || !flow_peek(a->flow, &n))) {
		a->told_end = true;
		a->ops.end(a->user, a->err.kind == ERR_NONE ? NULL : &a->err);
	}
	(void)leave(a);
}

/* The thread's part */

static int64_t go_mode(mode_t m)
{
	int64_t mode = m & 0777;

	switch (m & S_IFMT) {
	case S_IFDIR: mode |= 1ll << 31; break;
	case S_IFLNK: mode |= 1ll << 27; break;
	case S_IFBLK: mode |= 1ll << 26; break;
	case S_IFCHR: mode |= 1ll << 26 | 1ll << 21; break;
	case S_IFIFO: mode |= 1ll << 25; break;
	case S_IFSOCK: mode |= 1ll << 24; break;
	}
	return mode | (m & S_ISUID ? 1ll << 23 : 0) | (m & S_ISGID ? 1ll << 22 : 0) | (m & S_ISVTX ? 1ll << 20 : 0);
}

/* "/a/b/" names what b leads to; "/a/b" names b itself. */
static bool names_folder(const char *path)
{
	return str_ends(path, "/") || str_ends(path, "/.") || str_eq(path, ".");
}

/* Last part as Go's filepath.Base has it; "/" for the root. The caller frees. */
static char *base_of(const char *path)
{
	size_t end = strlen(path), at;

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (at = end; at > 0 && path[at - 1] != '/'; at--)
		;
	return at == end ? mem_strdup("/") : mem_strndup(path + at, end - at);
}

/* Where a link ends within the root; "" when it ends nowhere. */
static json_t *link_target(int root, const char *path)
{
	int fd CLEANUP(fd_closep) = file_open_in_root(root, path, O_PATH, 0);
	char self[64], target[4096];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = fd < 0 ? -1 : readlink(self, target, sizeof(target) - 1);
	return n > 0 ? json_bytes(target, (size_t)n) : json_string("");
}

static int open_failed(const struct engine_archive *a, int errnum, struct err *e)
{
	if (errnum == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "Could not find the file %s in container %s", a->path, a->name);
	if (errnum == ENOTDIR || errnum == ELOOP || errnum == ENAMETOOLONG)
		return err_set(e, ERR_INVALID, "the path %s in container %s: %s", a->path, a->name, strerror(errnum));
	return err_errno(e, errnum, "open %s in container %s", a->path, a->name);
}

/* Looks at the path; its handle, or -1. */
static int look(struct engine_archive *a, int root, struct stat *st, struct err *e)
{
	int fd = file_open_in_root(root, a->path, O_PATH | (names_folder(a->path) ? 0 : O_NOFOLLOW), 0);
	char *name CLEANUP(mem_freep) = NULL, when[40];

	if (fd < 0)
		return open_failed(a, -fd, e);
	if (fstat(fd, st) < 0) {
		close(fd);
		return open_failed(a, errno, e);
	}
	name = base_of(a->path);
	a->stat = json_pack("{s:o, s:I, s:I, s:s, s:o}", "name", json_bytes(name, strlen(name)), "size", (json_int_t)st->st_size,
			    "mode", (json_int_t)go_mode(st->st_mode), "mtime",
			    str_time_ns(st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec, when, sizeof(when)),
			    "linkTarget", S_ISLNK(st->st_mode) ? link_target(root, a->path) : json_string(""));
	atomic_store(&a->stat_ready, true);
	flow_wake(a->flow);
	return fd;
}

static int write_flow(void *user, const void *p, size_t n)
{
	return flow_write(user, p, n);
}

static ssize_t read_flow(void *user, void *p, size_t n)
{
	return flow_read(user, p, n);
}

/*
 * The files of a running container in a user namespace show the ids that they have outside, and one that is made needs an owner from in there from
 * its first moment on. File system ids are a thread's own; leaving 0 takes the thread's rights over files, which it takes back.
 */
static int enter_ids(const struct engine_archive *a, struct err *e)
{
	static const cap_value_t rights[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD };
	cap_t caps;
	int r = -1;

	if (!a->map.size)
		return 0;
	(void)setfsgid(a->map.gid);
	(void)setfsuid(a->map.uid);
	caps = cap_get_proc();
	if (caps && cap_set_flag(caps, CAP_EFFECTIVE, N(rights), rights, CAP_SET) == 0)
		r = cap_set_proc(caps);
	if (r < 0)
		err_errno(e, errno, "work with the ids of the container's user namespace");
	if (caps)
		cap_free(caps);
	return r;
}

static void leave_ids(const struct engine_archive *a)
{
	if (!a->map.size)
		return;
	(void)setfsuid(0);
	(void)setfsgid(0);
}

static int send_tree(struct engine_archive *a, int dirfd, const char *last, const char *as, const struct tarout_args *like, struct err *e)
{
	struct tarout_args own = *like, *args = &own;
	struct tarout *t = tarout_new(write_flow, a->flow, e);
	int r = -1;

	own.map_uid = a->map.uid;
	own.map_gid = a->map.gid;
	own.map_size = a->map.size;
	if (t && tarout_add(t, dirfd, last, as, args, e) == 0)
		r = tarout_end(t, e);
	tarout_free(t);
	return r;
}

static int run_get(struct engine_archive *a, int root, struct err *e)
{
	int fd CLEANUP(fd_closep) = -1, parent CLEANUP(fd_closep) = -1;
	char *name CLEANUP(mem_freep) = base_of(a->path), *folder CLEANUP(mem_freep) = NULL;
	struct stat st;

	fd = look(a, root, &st, e);
	if (fd < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return send_tree(a, fd, ".", name, &(struct tarout_args){ 0 }, e);
	folder = mem_strndup(a->path, strlen(a->path) - strlen(name));
	parent = file_open_in_root(root, *folder ? folder : "/", O_PATH | O_DIRECTORY, 0);
	if (parent < 0)
		return open_failed(a, -parent, e);
	return send_tree(a, parent, name, name, &(struct tarout_args){ 0 }, e);
}

static int run_put(struct engine_archive *a, int root, struct err *e)
{
	struct tarin_args args = { .no_overwrite = a->put.no_overwrite, .map_uid = a->map.uid, .map_gid = a->map.gid, .map_size = a->map.size };
	struct user_ids ids = { 0 };
	int r;

	if (a->put.copy_ids && !str_empty(a->user_name)) {
		if (user_resolve(a->layers, a->upper, a->user_name, NULL, &ids, e) < 0)
			return -1;
		args.chown = true;
		args.uid = ids.uid;
		args.gid = ids.gid;
		user_ids_done(&ids);
	}
	if (enter_ids(a, e) < 0) {
		leave_ids(a);
		return -1;
	}
	r = tarin_extract(root, a->path, &(struct unpack_source){ read_flow, a->flow }, &args, e);
	leave_ids(a);
	if (r == 0)
		return 0;
	return e->kind == ERR_NOT_FOUND ? open_failed(a, ENOENT, e) : -1;
}

static void archive_run(struct work *w)
{
	struct engine_archive *a = CONTAINER_OF(w, struct engine_archive, work);
	struct err *e = &a->err;
	int root CLEANUP(fd_closep) = -1, fd CLEANUP(fd_closep) = -1;
	struct stat st;
	int r = -1;

	root = rootview_open(&a->view, e);
	if (root < 0)
		goto out;
	switch (a->kind) {
	case KIND_STAT:
		fd = look(a, root, &st, e);
		r = fd < 0 ? -1 : 0;
		break;
	case KIND_GET:
		r = run_get(a, root, e);
		break;
	case KIND_PUT:
		r = run_put(a, root, e);
		break;
	case KIND_EXPORT:
		r = send_tree(a, root, ".", "", &(struct tarout_args){ .one_mount = true, .no_top = true }, e);
		break;
	}
out:
	if (r < 0 && e->kind == ERR_NONE)
		err_set(e, ERR_INTERNAL, "the archive failed without a reason");
}

/* The loop's part */

static void release(struct engine_archive *a)
{
	struct container *c = map_get(a->en->by_id, a->id);

	if (!a->writes)
		return;
	a->writes = false;
	if (c) {
		c->writer = false;
		waiters_call(&c->unwritten, NULL);
	}
}

static void archive_done(struct work *w)
{
	struct engine_archive *a = CONTAINER_OF(w, struct engine_archive, work);

	static const char *const actions[] = { [KIND_GET] = "archive-path", [KIND_PUT] = "extract-to-dir", [KIND_EXPORT] = "export" };
	struct container *c = map_get(a->en->by_id, a->id);

	a->works = false;
	a->ended = true;
	if (a->err.kind == ERR_NONE && c && actions[a->kind])
		event_container(c, actions[a->kind], NULL);
	release(a);
	if (a->cancelled)
		free_archive(a);
	else
		pump(a);
}

static void fail_later(void *user)
{
	struct engine_archive *a = user;

	a->waits = false;
	if (a->cancelled)
		free_archive(a);
	else
		pump(a);
}

/* Ends without having worked: the reason is in a->err. */
static void fail(struct engine_archive *a)
{
	a->ended = a->waits = true;
	loop_defer(a->en->l, fail_later, a);
}

static int prepare_view(struct engine_archive *a, struct container *c, struct err *e)
{
	struct image *im = image_find(a->en->images, json_str(c->doc, "Image", ""), e);
	static const char *const files[] = { "hosts", "hostname", "resolv.conf" };
	bool rest = c->phase == PHASE_IDLE || c->phase == PHASE_RESTART_WAIT;

	if (!im)
		return -1;
	a->view.dir = container_dir(c);
	a->upper = mem_printf("%s/upper", a->view.dir);
	a->layers = image_layers(a->en->images, im);
	a->name = mem_strdup(container_name(c));
	a->user_name = mem_strdup(json_str(doc_config(c), "User", ""));
	if (!rest) {
		if (remap_applies(a->en, doc_host(c)))
			a->map = a->en->idmap;
		a->view.running = rt_root(c->rt, e);
		return a->view.running < 0 ? -1 : 0;
	}
	a->view.layers = container_layers(a->en, im);
	if (remap_applies(a->en, doc_host(c))) {
		a->view.map_uid = a->en->idmap.uid;
		a->view.map_gid = a->en->idmap.gid;
		a->view.map_size = a->en->idmap.size;
	}
	a->view.write = a->kind == KIND_PUT;
	a->view.read_only = json_flag(doc_host(c), "ReadonlyRootfs", false);
	if (a->kind != KIND_EXPORT) {
		char *run_dir CLEANUP(mem_freep) = container_run_dir(c);

		a->view.mounts = doc_mounts(c) ? json_deep_copy(doc_mounts(c)) : json_array();
		for (size_t i = 0; i < N(files); i++)
			json_array_append_new(a->view.mounts, json_pack("{s:o, s:o}", "Source", json_sprintf("%s/files/%s", run_dir, files[i]),
									"Destination", json_sprintf("/etc/%s", files[i])));
	}
	if (a->view.write)
		a->writes = c->writer = true;
	return 0;
}

/* Also called again when what it waited for has come. */
static void begin(void *user, const struct err *e)
{
	struct engine_archive *a = user;
	struct container *c = map_get(a->en->by_id, a->id);

	(void)e;
	a->waits = false;
	if (a->cancelled) {
		free_archive(a);
		return;
	}
	if (!c || c->phase == PHASE_REMOVING) {
		err_set(&a->err, ERR_NOT_FOUND, "No such container: %s", a->id);
		fail(a);
		return;
	}
	if (c->phase == PHASE_STARTING || c->phase == PHASE_CLEANING) {
		a->waits = true;
		waiter_add(c->phase == PHASE_STARTING ? &c->up : &c->rest, c, begin, a);
		return;
	}
	if (a->kind == KIND_PUT && c->phase != PHASE_RUNNING && (c->writer || c->leaving)) {
		a->waits = true;
		waiter_add(&c->unwritten, c, begin, a);
		return;
	}
	if (prepare_view(a, c, &a->err) < 0) {
		fail(a);
		return;
	}
	a->works = true;
	a->work = (struct work){ .run = archive_run, .done = archive_done };
	work_start(a->en->archivers, &a->work);
}

static void begin_later(void *user)
{
	begin(user, NULL);
}

static struct engine_archive *start(struct engine *en, enum kind kind, const char *ref, const char *path, const struct engine_archive_ops *ops, void *user,
				    struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct engine_archive *a;

	if (!c)
		return NULL;
	if (!en->archivers)
		en->archivers = work_pool_new(en->l, ARCHIVERS);
	a = mem_zalloc(sizeof(*a));
	a->en = en;
	a->kind = kind;
	memcpy(a->id, c->id, sizeof(a->id));
	a->path = mem_strdup(path);
	a->ops = *ops;
	a->user = user;
	a->view.running = -1;
	a->flow = flow_new(en->l, QUEUE_MAX, pump, a);
	a->waits = true;
	loop_defer(en->l, begin_later, a);
	return a;
}

static char *absolute(const char *path)
{
	return mem_printf("%s%s", *path == '/' ? "" : "/", path);
}

struct engine_archive *engine_archive_stat(struct engine *en, const char *ref, const char *path, const struct engine_archive_ops *ops, void *user,
					   struct err *e)
{
	char *p CLEANUP(mem_freep) = absolute(path);

	return start(en, KIND_STAT, ref, p, ops, user, e);
}

struct engine_archive *engine_archive_get(struct engine *en, const char *ref, const char *path, const struct engine_archive_ops *ops, void *user,
					  struct err *e)
{
	char *p CLEANUP(mem_freep) = absolute(path);

	return start(en, KIND_GET, ref, p, ops, user, e);
}

struct engine_archive *engine_archive_put(struct engine *en, const char *ref, const char *path, const struct engine_archive_put *put,
					  const struct engine_archive_ops *ops, void *user, struct err *e)
{
	char *p CLEANUP(mem_freep) = absolute(path);
	struct engine_archive *a = start(en, KIND_PUT, ref, p, ops, user, e);

	if (a)
		a->put = *put;
	return a;
}

struct engine_archive *engine_export(struct engine *en, const char *ref, const struct engine_archive_ops *ops, void *user, struct err *e)
{
	return start(en, KIND_EXPORT, ref, "/", ops, user, e);
}

bool engine_archive_feed(struct engine_archive *a, const void *p, size_t n)
{
	return flow_feed(a->flow, p, n);
}

void engine_archive_finish(struct engine_archive *a)
{
	flow_finish(a->flow);
}

void engine_archive_pause(struct engine_archive *a, bool paused)
{
	a->paused = paused;
	if (!paused && !a->in_callback)
		pump(a);
}

void engine_archive_cancel(struct engine_archive *a)
{
	a->cancelled = true;
	if (a->works)
		flow_cancel(a->flow);
	else if (!a->waits && !a->in_callback)
		free_archive(a);
}
