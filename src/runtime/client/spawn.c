/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "runtime/client/client_priv.h"

#define SPARE_KEPT (5 * 1000000000ll)

/*
 * A monitor outlives what watches it: after "exited" it may still hand its last bytes to a slow attachment, and the engine has freed the
 * container by then. Such children stay on this list until they end.
 */
struct rt_child {
	struct rt_child *next;
	struct loop_child *watch;
	pid_t pid;
	void (*done)(void *user, int status);
	void *user;
};
static struct rt_child *children;

static void unlink_child(struct rt_child *c)
{
	for (struct rt_child **p = &children; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	free(c);
}

static void on_end(void *user, int status)
{
	struct rt_child *c = user;
	void (*done)(void *, int) = c->done;
	void *to = c->user;

	c->watch = NULL;	/* gone by itself */
	unlink_child(c);
	if (done)
		done(to, status);
}

/*
 * A monitor runs from a read-only view of its program, so that nothing in a container can write to it (CVE-2019-5736). Handed one, it need
 * not make its own and start itself again, which would be a good part of a millisecond a container. The view is of the file that was there
 * when it was made: it is made anew when an upgrade has put another in its place. -1: this kernel cannot (before 5.12); the monitor helps itself.
 */
static unsigned view_made;	/* times */

static int program_view(const char *program)
{
	static struct { int fd; struct stat st; } view = { .fd = -1 };
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };
	struct stat st;

	if (stat(program, &st) < 0)
		return -1;
	if (view.fd >= 0 && st.st_dev == view.st.st_dev && st.st_ino == view.st.st_ino && st.st_size == view.st.st_size &&
	    st.st_mtim.tv_sec == view.st.st_mtim.tv_sec && st.st_mtim.tv_nsec == view.st.st_mtim.tv_nsec)
		return view.fd;
	fd_closep(&view.fd);
	view_made++;
	view.fd = open_tree(AT_FDCWD, program, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (view.fd >= 0 && mount_setattr(view.fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0) {
		(void)close(view.fd);
		view.fd = -1;
	}
	view.st = st;
	return view.fd;
}

extern char **environ;

/* PATH for the runtimes it may start, what sanitizers and fault injection look for; the engine's other settings are not its business. */
static char **environment(const char *program)
{
	CLEANUP(mem_freep) char *exe = mem_printf("KEDGE_RUNTIME_EXE=%s", program);
	char **env = strv_add(NULL, exe);
	bool path = false;

	for (char **v = environ; v && *v; v++) {
		if (str_starts(*v, "PATH=") || str_starts(*v, "ASAN_OPTIONS=") || str_starts(*v, "UBSAN_OPTIONS=") ||
		    str_starts(*v, "LSAN_OPTIONS=") || str_starts(*v, "KEDGE_FAULT="))
			env = strv_add(env, *v);
		path = path || str_starts(*v, "PATH=");
	}
	return path ? env : strv_add(env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
}

/* For who reads ps(1): a spare writes there whose monitor it has become. */
static const char *room_for_dir(void)
{
	static char room[256];

	memset(room, ' ', sizeof(room) - 1);
	return room;
}

/* run_dir NULL: a spare; what it says before it has one goes where our own words go. */
static struct rt_child *spawn(struct loop *l, const char *program, const char *run_dir, int sock, void (*done)(void *user, int status),
			      void *user, struct err *e)
{
	const char *const argv[] = { "kedge-runtime", "monitor", sock >= 0 ? "--fd" : "--cleanup", sock >= 0 ? "3" : run_dir,
				     "--run-dir", run_dir ? run_dir : room_for_dir(), NULL };
	char **env = environment(program), view_path[32], *log = run_dir ? mem_printf("%s/monitor.log", run_dir) : NULL;
	struct rt_child *c = NULL;
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	pid_t pid;
	int r, high = -1, view = program_view(program);

	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_RDWR, 0);
	if (log)
		posix_spawn_file_actions_addopen(&fa, 2, log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
	if (sock >= 0) {
		high = fcntl(sock, F_DUPFD_CLOEXEC, 10);	/* dup2 onto itself would keep close-on-exec in older C libraries */
		posix_spawn_file_actions_adddup2(&fa, high, 3);
	}
	snprintf(view_path, sizeof(view_path), "/proc/self/fd/%d", view);
	r = posix_spawn(&pid, view >= 0 ? view_path : program, &fa, &at, (char *const *)argv, env);
	if (r) {
		err_errno(e, r, "start '%s monitor'", program);
	} else {
		c = mem_zalloc(sizeof(*c));
		*c = (struct rt_child){ .next = children, .pid = pid, .done = done, .user = user };
		c->watch = loop_child_new(l, pid, on_end, c, e);
		if (c->watch) {
			children = c;
		} else {
			(void)kill(pid, SIGKILL);
			free(TAKE(c));
		}
	}
	fd_closep(&high);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	strv_free(env);
	free(log);
	return c;
}

static struct rt_child *spawn_with_socket(struct loop *l, const char *program, const char *run_dir, int *sock,
					  void (*done)(void *user, int status), void *user, struct err *e)
{
	struct rt_child *c;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		err_errno(e, errno, "make a socket to the container's monitor");
		return NULL;
	}
	c = spawn(l, program, run_dir, pair[1], done, user, e);
	(void)close(pair[1]);
	if (c)
		*sock = pair[0];
	else
		(void)close(pair[0]);
	return c;
}

/* The monitor of the next container. The end of its socket, whatever the reason, ends it. */
static struct {
	struct loop *l;
	struct loop_timer *until;
	struct rt_child *child;		/* NULL: none */
	char *program;
	int sock;
	unsigned view;			/* view_made of its program */
} spare = { .sock = -1 };

static void spare_end(void)
{
	if (spare.child) {
		rt_child_let_go(TAKE(spare.child));
		fd_closep(&spare.sock);
	}
	if (spare.until)
		loop_timer_stop(spare.until);
}

void rt_spare_drop(void)
{
	spare_end();
	loop_timer_free(TAKE(spare.until));
	free(TAKE(spare.program));
	spare.l = NULL;
}

static void spare_died(void *user, int status)
{
	(void)user;
	(void)status;
	spare.child = NULL;
	fd_closep(&spare.sock);
}

static void spare_too_old(void *user)
{
	(void)user;
	spare_end();
}

static void spare_make(void *user)
{
	(void)user;
	if (!spare.l || spare.child)
		return;
	spare.child = spawn_with_socket(spare.l, spare.program, NULL, &spare.sock, spare_died, NULL, NULL);
	spare.view = view_made;
	if (spare.child)
		loop_timer_set(spare.until, SPARE_KEPT);
}

static void spare_wanted(struct loop *l, const char *program)
{
	if (spare.l != l || !str_eq(spare.program, program)) {
		rt_spare_drop();
		spare.program = mem_strdup(program);
		spare.until = loop_timer_new(l, spare_too_old, NULL);
		spare.l = l;
	}
	loop_defer(l, spare_make, NULL);
}

struct rt_child *rt_spawn_monitor(struct loop *l, const char *program, const char *run_dir, int *sock,
				  void (*done)(void *user, int status), void *user, struct err *e)
{
	struct rt_child *c = NULL;

	(void)program_view(program);
	if (spare.child && (spare.l != l || !str_eq(spare.program, program) || view_made != spare.view))
		spare_end();	/* an upgrade has put another program in its place */
	if (spare.child) {
		c = TAKE(spare.child);
		*sock = TAKE_FD(spare.sock);
		c->done = done;
		c->user = user;
		loop_timer_stop(spare.until);
	} else {
		c = spawn_with_socket(l, program, run_dir, sock, done, user, e);
	}
	if (c)
		spare_wanted(l, program);
	return c;
}

struct rt_child *rt_spawn_cleanup(struct loop *l, const char *program, const char *run_dir, void (*done)(void *user, int status),
				  void *user, struct err *e)
{
	return spawn(l, program, run_dir, -1, done, user, e);
}

void rt_child_kill(struct rt_child *c)
{
	if (c)
		(void)kill(c->pid, SIGKILL);	/* ours and not reaped while it is on the list */
}

void rt_child_let_go(struct rt_child *c)
{
	if (c)
		c->done = NULL;
}

void rt_child_forget(struct rt_child *c)
{
	if (!c)
		return;
	loop_child_free(c->watch);
	unlink_child(c);
}
