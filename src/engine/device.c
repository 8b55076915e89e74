/* SPDX-License-Identifier: Apache-2.0 */
/* --device, --device-cgroup-rule, --privileged: nodes of the host into the OCI configuration's devices and the cgroup's rules. */
#include "engine/engine_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, NODES_MAX = 4096 };

static void rule(json_t *rules, const char *type, int major, int minor, const char *access)
{
	json_t *r = json_pack("{s:b, s:s, s:s}", "allow", 1, "type", type, "access", access);

	if (major >= 0)
		doc_set(r, "major", json_integer(major));
	if (minor >= 0)
		doc_set(r, "minor", json_integer(minor));
	json_array_append_new(rules, r);
}

static void node(const struct stat *st, const char *to, const char *access, json_t *devices, json_t *rules)
{
	const char *type = S_ISBLK(st->st_mode) ? "b" : "c";

	json_array_append_new(devices, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", to, "type", type, "major", (int)major(st->st_rdev),
						 "minor", (int)minor(st->st_rdev), "fileMode", (int)(st->st_mode & 0777),
						 "uid", (int)st->st_uid, "gid", (int)st->st_gid));
	if (rules)
		rule(rules, type, (int)major(st->st_rdev), (int)minor(st->st_rdev), access);
}

/* The container's own, whatever the host has there. */
static bool is_own(const char *path)
{
	static const char *const own[] = { "/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx", "/dev/tty", "/dev/null", "/dev/zero",
					   "/dev/full", "/dev/random", "/dev/urandom", "/dev/.lxc", "/dev/.lxd-mounts", "/dev/.udev" };

	for (size_t i = 0; i < N(own); i++) {
		if (str_eq(own[i], path))
			return true;
	}
	return false;
}

/* Nodes below a directory; links are not followed. */
static void walk(int dir, const char *from, const char *to, const char *access, bool whole_dev, unsigned depth, json_t *devices, json_t *rules)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		fd_closep(&fd);
		return;
	}
	while ((de = readdir(d)) && json_array_size(devices) < NODES_MAX) {
		char *a CLEANUP(mem_freep) = mem_printf("%s/%s", from, de->d_name), *b CLEANUP(mem_freep) = mem_printf("%s/%s", to, de->d_name);
		struct stat st;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") || (whole_dev && is_own(a)) ||
		    fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			int sub CLEANUP(fd_closep) = openat(dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				walk(sub, a, b, access, whole_dev, depth + 1, devices, rules);
		} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			node(&st, b, access, devices, rules);
		}
	}
	closedir(d);
}

static int one(const json_t *dev, bool privileged, json_t *devices, json_t *rules, struct err *e)
{
	const char *from = json_str(dev, "PathOnHost", ""), *to = json_str(dev, "PathInContainer", ""), *access = json_str(dev, "CgroupPermissions", "");
	size_t before = json_array_size(devices);
	struct stat st;

	if (str_empty(to))
		to = from;
	if (str_empty(access))
		access = "rwm";
	if (*from != '/' || *to != '/')
		return err_set(e, ERR_INVALID, "device paths must be absolute: \"%s\" to \"%s\"", from, to);
	if (access[strspn(access, "rwm")])
		return err_set(e, ERR_INVALID, "device %s: invalid permissions \"%s\"", from, access);
	if (stat(from, &st) < 0)
		return err_set(e, ERR_INVALID, "error gathering device information while adding custom device \"%s\": %s", from,
			       errno == ENOENT ? "no such file or directory" : strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		int dir CLEANUP(fd_closep) = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir >= 0)
			walk(dir, from, to, access, false, 0, devices, privileged ? NULL : rules);
		if (json_array_size(devices) > before)
			return 0;
	} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		node(&st, to, access, devices, privileged ? NULL : rules);
		return 0;
	}
	return err_set(e, ERR_INVALID, "error gathering device information while adding custom device \"%s\": not a device node", from);
}

/* "c 1:3 rwm", "b *:* r" */
static int add_rule(const char *text, json_t *rules, struct err *e)
{
	char **w = str_split(text, ' '), **n = strv_len(w) == 3 ? str_split(w[1], ':') : NULL;
	uint64_t num[2] = { 0, 0 };
	bool any[2] = { false, false }, ok = n && strv_len(n) == 2 && strlen(w[0]) == 1 && strchr("abc", *w[0]) && *w[2] && strlen(w[2]) <= 3 && !w[2][strspn(w[2], "rwm")];

	for (size_t i = 0; ok && i < 2; i++) {
		any[i] = str_eq(n[i], "*");
		ok = any[i] || str_to_u64(n[i], 0, 0xfffff, &num[i]) == 0;
	}
	if (ok && *w[0] == 'a' && any[0] && any[1]) {	/* to the kernel "a" is every device whatever its number */
		rule(rules, "b", -1, -1, w[2]);
		rule(rules, "c", -1, -1, w[2]);
	} else if (ok && *w[0] != 'a') {
		rule(rules, w[0], any[0] ? -1 : (int)num[0], any[1] ? -1 : (int)num[1], w[2]);
	} else {
		ok = false;
	}
	strv_free(w);
	strv_free(n);
	return ok ? 0 : err_set(e, ERR_INVALID, "invalid device cgroup rule format: '%s'", text);
}

int device_make(const json_t *host, bool live, json_t *devices, json_t *rules, struct err *e)
{
	static const struct { const char *type; int major, minor; const char *access; } defaults[] = {
		{ "c", -1, -1, "m" }, { "b", -1, -1, "m" },	/* nodes may be made, not used */
		{ "c", 1, 3, "rwm" }, { "c", 1, 5, "rwm" }, { "c", 1, 7, "rwm" }, { "c", 1, 8, "rwm" }, { "c", 1, 9, "rwm" },	/* null zero full random urandom */
		{ "c", 5, 0, "rwm" }, { "c", 5, 1, "rwm" }, { "c", 5, 2, "rwm" }, { "c", 136, -1, "rwm" },	/* tty console ptmx pts */
	};
	bool privileged = json_flag(host, "Privileged", false);
	const json_t *v;
	size_t i;

	json_array_append_new(rules, json_pack("{s:b, s:s}", "allow", privileged, "access", "rwm"));
	for (i = 0; i < N(defaults) && !privileged; i++)
		rule(rules, defaults[i].type, defaults[i].major, defaults[i].minor, defaults[i].access);
	if (privileged && live) {
		int dir CLEANUP(fd_closep) = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir >= 0)
			walk(dir, "/dev", "/dev", "rwm", true, 0, devices, NULL);
	}
	json_array_foreach(json_arr(host, "Devices"), i, v) {
		if (one(v, privileged, devices, rules, e) < 0)
			return -1;
	}
	json_array_foreach(json_arr(host, "DeviceCgroupRules"), i, v) {
		if (add_rule(json_string_value(v), rules, e) < 0)
			return -1;
	}
	return 0;
}
