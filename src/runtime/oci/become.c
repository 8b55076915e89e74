/* SPDX-License-Identifier: Apache-2.0 */
/* Turning this process into the container's: limits, user, capabilities, directory, program. */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/str.h"

#ifndef CAP_SYS_ADMIN
#define CAP_SYS_ADMIN 21
#endif

int process_limits(pid_t pid, const struct oci_process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct oci_rlimit *l = &p->rlimits[i];
		struct rlimit now;

		if (prlimit(pid, l->what, &l->lim, NULL) == 0)
			continue;
		if (errno == EPERM && prlimit(pid, l->what, NULL, &now) == 0)
			return err_set(e, ERR_INVALID, "%s: hard limit %llu is above this machine's %llu, and the engine may not raise it "
				       "(it has no CAP_SYS_RESOURCE)", l->name, (unsigned long long)l->lim.rlim_max, (unsigned long long)now.rlim_max);
		return err_errno(e, errno, "set %s to %llu:%llu", l->name, (unsigned long long)l->lim.rlim_cur, (unsigned long long)l->lim.rlim_max);
	}
	return 0;
}

int process_oom(pid_t pid, const struct oci_process *p, struct err *e)
{
	char path[64], word[16], now[16] = "";
	int r;

	if (!p->has_oom)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	snprintf(word, sizeof(word), "%d", p->oom);
	if (file_read_line(path, now, sizeof(now)) == 0 && str_eq(word, now))
		return 0;
	r = file_put_at(AT_FDCWD, path, word);
	if (r == -EACCES || r == -EPERM)
		return err_set(e, ERR_FORBIDDEN, "oom_score_adj %d is below the engine's own (%s), and it may not lower it "
			       "(it has no CAP_SYS_RESOURCE)", p->oom, now);
	return r < 0 ? err_errno(e, -r, "set oom_score_adj to %d", p->oom) : 0;
}

static int cap_get(struct __user_cap_data_struct d[2])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return (int)syscall(SYS_capget, &h, d);
}

static int cap_put(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};

	return (int)syscall(SYS_capset, &h, d);
}

static int bounding(uint64_t keep, struct err *e)
{
	uint64_t all = cap_all();

	for (int n = 0; n < 64 && all >> n; n++) {
		if (!(keep >> n & 1) && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) < 0 && errno != EINVAL)
			return err_errno(e, errno, "drop capability %s from the bounding set", cap_word(n) ? cap_word(n) : "?");
	}
	return 0;
}

static int identity(const struct oci_process *p, struct err *e)
{
	if (setgroups(p->n_gids, p->gids) < 0 && !(errno == EPERM && !p->n_gids))	/* refused in a user namespace with setgroups denied */
		return err_errno(e, errno, "set %zu additional groups", p->n_gids);
	if (setresgid(p->gid, p->gid, p->gid) < 0)
		return err_errno(e, errno, "become group %u", (unsigned)p->gid);
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		return err_errno(e, errno, "become user %u", (unsigned)p->uid);
	return 0;
}

/*
 * Capabilities that this process does not have itself are left out: "all" means all there are. keep_admin holds CAP_SYS_ADMIN until exec,
 * for a filter that is loaded without no_new_privs; exec computes the program's sets from the bounding, inheritable and ambient ones, so
 * nothing of it is left afterwards.
 */
int process_become(const struct oci_process *p, bool keep_admin, struct err *e)
{
	struct __user_cap_data_struct d[2];
	uint64_t have, permitted, effective, inheritable, ambient;

	if (p->has_caps && bounding(p->caps[CAPSET_BOUNDING], e) < 0)
		return -1;
	if (p->has_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "keep capabilities over the change of user");
	if (identity(p, e) < 0)
		return -1;
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (p->has_caps) {
		if (cap_get(d) < 0)
			return err_errno(e, errno, "get the capabilities");
		have = d[0].permitted | (uint64_t)d[1].permitted << 32;
		permitted = p->caps[CAPSET_PERMITTED] & have;
		effective = p->caps[CAPSET_EFFECTIVE] & permitted;
		inheritable = p->caps[CAPSET_INHERITABLE] & have & p->caps[CAPSET_BOUNDING];
		ambient = p->caps[CAPSET_AMBIENT] & permitted & inheritable;
		if (keep_admin && (have >> CAP_SYS_ADMIN & 1)) {
			permitted |= 1ull << CAP_SYS_ADMIN;
			effective |= 1ull << CAP_SYS_ADMIN;
		}
		if (cap_put(effective, permitted, inheritable) < 0)
			return err_errno(e, errno, "set the capabilities");
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
		for (int n = 0; n < 64; n++) {
			if ((ambient >> n & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0) < 0)
				return err_errno(e, errno, "raise ambient capability %s", cap_word(n) ? cap_word(n) : "?");
		}
	}
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "set no_new_privs");
	if (p->has_umask)
		umask(p->umask);
	return 0;
}

/*
 * The working directory, by a handle found below the root: /proc/self/fd/N or another way out of it leads nowhere, and what getcwd says
 * afterwards must be a path (CVE-2024-21626).
 */
int process_chdir(const struct oci_process *p, bool make, struct err *e)
{
	char where[4096];
	int fd, ret = 0;

	fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open the container's root");
	ret = file_open_in_root(fd, p->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (ret == -ENOENT && make)
		ret = file_mkdir_in_root(fd, p->cwd, 0755, 0, 0);
	(void)close(fd);
	if (ret < 0)
		return err_set(e, ERR_INVALID, "chdir to cwd (\"%s\") set in config.json failed: %s", p->cwd, strerror(-ret));
	fd = ret;
	ret = fchdir(fd) < 0 ? -errno : 0;
	(void)close(fd);
	if (ret < 0)
		return err_set(e, ERR_INVALID, "chdir to cwd (\"%s\") set in config.json failed: %s", p->cwd, strerror(-ret));
	if (!getcwd(where, sizeof(where)) || where[0] != '/')
		return err_set(e, ERR_INVALID, "current working directory '%s' is outside of the container's root", p->cwd);
	return 0;
}

static const char *env_of(const struct oci_process *p, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (char **v = p->env; *v; v++) {
		if (!strncmp(*v, name, n) && (*v)[n] == '=')
			found = *v + n + 1;
	}
	return found;
}

/* 0 when it can be executed by its looks; else the errno Go's LookPath would give. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (!(st.st_mode & 0111))
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

static const char *go_error(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return "no such file or directory";
	case EACCES:
	case EPERM:
		return "permission denied";
	case EISDIR:
		return "is a directory";
	case ENOTDIR:
		return "not a directory";
	case ENOEXEC:
		return "exec format error";
	case ELOOP:
		return "too many levels of symbolic links";
	case ENAMETOOLONG:
		return "file name too long";
	case ETXTBSY:
		return "text file busy";
	case E2BIG:
		return "argument list too long";
	case ENOMEM:
		return "cannot allocate memory";
	default:
		return strerror(errnum);
	}
}

char *process_find(const struct oci_process *p, struct err *e)
{
	const char *name = p->argv[0], *path = env_of(p, "PATH");
	CLEANUP(mem_freep) char *dirs = NULL;
	char *at, *dir;
	int denied = 0, r;

	if (strchr(name, '/')) {
		r = executable(name);
		if (r) {
			err_set(e, ERR_INVALID, r == ENOENT ? "exec: \"%s\": stat %s: %s" : "exec: \"%s\"%.0s: %s", name, name, go_error(r));
			return NULL;
		}
		return mem_strdup(name);
	}
	dirs = mem_strdup(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	at = dirs;
	while (*name && (dir = strsep(&at, ":"))) {
		char *full = mem_printf("%s/%s", *dir ? dir : ".", name);

		r = executable(full);
		if (!r)
			return full;
		free(full);
		if (r == EACCES)
			denied = r;
	}
	if (denied)
		err_set(e, ERR_INVALID, "exec: \"%s\": permission denied", name);
	else
		err_set(e, ERR_INVALID, "exec: \"%s\": executable file not found in $PATH", name);
	return NULL;
}

int process_exec(const struct oci_process *p, const char *path, struct err *e)
{
	execve(path, p->argv, p->env);
	return err_set(e, ERR_INVALID, "exec %s: %s", path, go_error(errno));
}
