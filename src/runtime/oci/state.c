/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <root>/<id>/ while a container exists:
 *   state.json    who and where, written before "create" returns
 *   start.sock    the waiting process listens on it; "start" connects, and removes it when the program runs
 * A pid alone is never believed: the process must also have started when the record says, and signals go through a pidfd that was checked
 * after it was opened.
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

enum { ID_MAX = 1024, STATE_MAX = 16 << 20 };

bool id_ok(const char *id)
{
	size_t n = strlen(id);

	return n && n <= 255 && n <= ID_MAX && !str_eq(id, ".") && !str_eq(id, "..") &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") == n;
}

static int check_id(const char *id, struct err *e)
{
	if (!id || !id_ok(id))
		return err_set(e, ERR_INVALID, "'%s' is not a container id: letters, digits, '_', '+', '-' and '.' only", id ? id : "");
	return 0;
}

int state_make(const char *root, const char *id, struct err *e)
{
	CLEANUP(mem_freep) char *path = NULL;
	int r, fd;

	if (check_id(id, e) < 0)
		return -1;
	path = mem_printf("%s/%s", root, id);
	r = mkdir(path, 0700) < 0 ? -errno : 0;
	if (r == -ENOENT) {
		r = file_mkdir_p(root, 0700);
		if (r == 0 && mkdir(path, 0700) < 0)
			r = -errno;
	}
	if (r == -EEXIST)
		return err_set(e, ERR_CONFLICT, "container with id '%s' exists already", id);
	if (r < 0)
		return err_errno(e, -r, "make state directory '%s'", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "make state directory '%s'", path) : fd;
}

uint64_t proc_start_time(pid_t pid)
{
	char path[48], text[2048], *p, *save = NULL, *w;
	uint64_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_line(path, text, sizeof(text)) < 0)
		return 0;
	p = strrchr(text, ')');	/* the name before it may hold anything */
	if (!p)
		return 0;
	w = strtok_r(p + 1, " ", &save);
	if (!w || *w == 'Z' || *w == 'X')
		return 0;
	for (int i = 3; w && i < 22; i++)
		w = strtok_r(NULL, " ", &save);
	return w && str_to_u64(w, 0, UINT64_MAX, &n) == 0 ? n : 0;
}

int state_write(int dir, const json_t *doc, struct err *e)
{
	CLEANUP(mem_freep) char *text = json_text(doc);
	CLEANUP(fd_closep) int fd = -1;
	int r;

	if (!text)
		return err_set(e, ERR_INTERNAL, "write the container's state: it is no JSON");
	/* Whole or not at all, but without fsync: a record of processes means nothing after the machine went down. */
	fd = openat(dir, ".state.json", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	if (r == 0 && renameat(dir, ".state.json", dir, "state.json") < 0)
		r = -errno;
	return r < 0 ? err_errno(e, -r, "write the container's state") : 0;
}

int state_open(const char *root, const char *id, struct oci_state *ret, struct err *e)
{
	struct oci_state s = { .dir = -1 };
	CLEANUP(mem_freep) char *path = NULL;

	if (check_id(id, e) < 0)
		return -1;
	path = mem_printf("%s/%s", root, id);
	s.dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s.dir < 0) {
		if (errno == ENOENT)
			return err_set(e, ERR_NOT_FOUND, "container '%s' does not exist", id);
		return err_errno(e, errno, "open state directory '%s'", path);
	}
	s.id = mem_strdup(id);
	if (faccessat(s.dir, "state.json", F_OK, 0) < 0 && errno == ENOENT) {
		*ret = s;	/* a create that was killed half-way, or is still at it */
		return 0;
	}
	s.doc = json_parse_file_at(s.dir, "state.json", STATE_MAX, e);
	if (!s.doc) {
		state_done(&s);
		return err_wrap(e, "container '%s'", id);
	}
	s.bundle = mem_strdup(json_str(s.doc, "bundle", ""));
	s.pid = (pid_t)json_i64(s.doc, "pid", 0);
	s.start_time = (uint64_t)json_i64(s.doc, "startTime", 0);
	*ret = s;
	return 0;
}

void state_done(struct oci_state *s)
{
	fd_closep(&s->dir);
	free(s->id);
	free(s->bundle);
	json_decref(s->doc);
	*s = (struct oci_state){ .dir = -1 };
}

int state_remove(const char *root, const char *id, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/%s", root, id);
	int r = file_rm_rf_at(AT_FDCWD, path);

	return r < 0 ? err_errno(e, -r, "remove state directory '%s'", path) : 0;
}

int state_pidfd(const struct oci_state *s)
{
	int fd;

	if (s->pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	if (proc_start_time(s->pid) != s->start_time) {
		(void)close(fd);
		return -ESRCH;
	}
	return fd;
}

const char *state_status(const struct oci_state *s)
{
	struct cgroups c;
	bool frozen;

	if (!s->doc || !s->pid)
		return "creating";
	if (s->pid <= 0 || proc_start_time(s->pid) != s->start_time)
		return "stopped";
	if (faccessat(s->dir, "start.sock", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return "created";
	if (cgroup_from_json(&c, json_arr(s->doc, "cgroups"), NULL) < 0)
		return "running";
	frozen = cgroup_frozen(&c);
	cgroup_done(&c);
	return frozen ? "paused" : "running";
}
