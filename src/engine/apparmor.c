/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AppArmor profile of containers. It is the third wall behind capabilities and masked paths: whoever finds a way past a read-only mount of
 * /proc or /sys, or is given CAP_SYS_ADMIN, still mounts nothing and writes no parameter of the kernel.
 */
#include "engine/apparmor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char parser[] = "/sbin/apparmor_parser";

/*
 * Includes nothing, so it is what it is on every distribution. What is not named under "deny" is left to the other walls. Of /proc/sys only
 * kernel/shm* stays writable (it belongs to the IPC namespace), of /sys only the container's own cgroup.
 */
static const char text[] =
	"profile " APPARMOR_DEFAULT " flags=(attach_disconnected,mediate_deleted) {\n"
	"  capability,\n"
	"  network,\n"
	"  unix,\n"
	"  dbus,\n"
	"  file,\n"
	"  umount,\n"
	"  signal (receive) peer=unconfined,\n"
	"  signal (send,receive) peer=" APPARMOR_DEFAULT ",\n"
	"  ptrace (trace,read,tracedby,readby) peer=" APPARMOR_DEFAULT ",\n"
	"  deny mount,\n"
	"  deny /proc/* w,\n"
	"  deny /proc/[^1-9s]*/** wkl,\n"
	"  deny /proc/s[^y]*/** wkl,\n"
	"  deny /proc/sy[^s]*/** wkl,\n"
	"  deny /proc/sys?*/** wkl,\n"
	"  deny /proc/sys/[^k]** wkl,\n"
	"  deny /proc/sys/kernel/[^s]** wkl,\n"
	"  deny /proc/sys/kernel/s[^h]** wkl,\n"
	"  deny /proc/sys/kernel/sh[^m]** wkl,\n"
	"  deny /proc/sysrq-trigger rwklx,\n"
	"  deny /proc/kcore rwklx,\n"
	"  deny /sys/[^f]** wkl,\n"
	"  deny /sys/f[^s]** wkl,\n"
	"  deny /sys/fs/[^c]** wkl,\n"
	"  deny /sys/fs/c[^g]** wkl,\n"
	"  deny /sys/fs/cg[^r]** wkl,\n"
	"  deny /sys/firmware/** rwklx,\n"
	"  deny /sys/devices/virtual/powercap/** rwklx,\n"
	"  deny /sys/kernel/security/** rwklx,\n"
	"}\n";

bool apparmor_on(void)
{
	char on[8] = "";

	return file_read_line("/sys/module/apparmor/parameters/enabled", on, sizeof(on)) == 0 && on[0] == 'Y';
}

bool apparmor_usable(void)
{
	return apparmor_on() && access("/sys/kernel/security/apparmor", F_OK) == 0 && access(parser, X_OK) == 0;
}

/* The text goes in by a descriptor of its own, what the parser says comes out by another. */
static int load(struct err *e)
{
	int in CLEANUP(fd_closep) = memfd_create("profile", MFD_CLOEXEC), out CLEANUP(fd_closep) = memfd_create("said", MFD_CLOEXEC);
	char *const argv[] = { (char *)parser, (char *)"-Kr", NULL }, *const env[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	posix_spawn_file_actions_t fa;
	char said[400];
	int r, status = 0;
	ssize_t n;
	pid_t pid;

	if (in < 0 || out < 0 || write(in, text, strlen(text)) != (ssize_t)strlen(text) || lseek(in, 0, SEEK_SET) < 0)
		return err_errno(e, errno, "prepare the AppArmor profile '%s'", APPARMOR_DEFAULT);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_adddup2(&fa, out, 2);
	r = posix_spawn(&pid, parser, &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return err_errno(e, r, "start '%s'", parser);
	while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (r == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	n = pread(out, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return err_set(e, ERR_UNAVAILABLE, "AppArmor is enabled on this machine, but the profile '%s' cannot be loaded: %s", APPARMOR_DEFAULT, said);
}

static bool loaded(void)
{
	struct buf b = BUF_INIT;
	bool found;

	found = file_read_at(AT_FDCWD, "/sys/kernel/security/apparmor/profiles", 8 << 20, &b) == 0 && b.len &&
		(str_starts(b.data, APPARMOR_DEFAULT " ") || strstr(b.data, "\n" APPARMOR_DEFAULT " "));
	buf_done(&b);
	return found;
}

int apparmor_default(const char **ret, struct err *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool there;
	int r = 0;

	*ret = NULL;
	if (!apparmor_usable())
		return 0;
	(void)pthread_mutex_lock(&lock);
	if (!there)
		r = loaded() ? 0 : load(e);
	there = there || r == 0;
	(void)pthread_mutex_unlock(&lock);
	if (r == 0)
		*ret = APPARMOR_DEFAULT;
	return r;
}

const char *apparmor_of(const json_t *host)
{
	const char *last = NULL;
	const json_t *v;
	size_t i;

	if (!apparmor_usable())
		return "";
	json_array_foreach(json_arr(host, "SecurityOpt"), i, v) {
		const char *opt = json_string_value(v);

		if (opt && (str_starts(opt, "apparmor=") || str_starts(opt, "apparmor:")))
			last = opt + strlen("apparmor=");
	}
	return last ? last : json_flag(host, "Privileged", false) ? "unconfined" : APPARMOR_DEFAULT;
}
