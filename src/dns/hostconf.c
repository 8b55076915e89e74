/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is usually replaced (resolvconf, NetworkManager, systemd), often a link into /run: watched are the folder of its name and the folder of
 * what the name leads to. Any news there make it be read again a moment later, when whoever writes is through; it is small and on the host's own disk.
 */
#include <config.h>

#include "dns/hostconf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define SETTLE 20000000ll

struct hostconf {
	struct loop *l;
	char *path;
	char **servers;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	void (*changed)(void *user);
	void *user;
};

char **hostconf_parse(const char *text)
{
	char **lines = str_split(text, '\n'), **ret = mem_zalloc(sizeof(*ret));

	for (char **line = lines; *line; line++) {
		char *at = *line, *end;

		at += strspn(at, " \t");
		if (!str_starts(at, "nameserver") || (at[10] != ' ' && at[10] != '\t'))
			continue;
		at += 10;
		at += strspn(at, " \t");
		end = at + strcspn(at, " \t\r#;");
		*end = '\0';
		if (*at)
			ret = strv_add(ret, at);
	}
	strv_free(lines);
	return ret;
}

static void watch_folder(struct hostconf *h, const char *path)
{
	CLEANUP(mem_freep) char *folder = mem_strdup(path);
	char *slash = strrchr(folder, '/');

	if (!slash)
		return;
	slash[slash == folder] = '\0';
	(void)inotify_add_watch(h->fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE);	/* may not exist */
}

static char **read_servers(struct hostconf *h)
{
	struct buf b = BUF_INIT;
	char **ret = NULL, target[PATH_MAX];

	watch_folder(h, h->path);
	if (realpath(h->path, target) && !str_eq(target, h->path))
		watch_folder(h, target);
	if (file_read_at(AT_FDCWD, h->path, 65536, &b) == 0)
		ret = hostconf_parse(b.data ? b.data : "");
	buf_done(&b);
	return ret;
}

static bool same(char *const *a, char *const *b)
{
	for (; *a && *b; a++, b++)
		if (!str_eq(*a, *b))
			return false;
	return !*a && !*b;
}

static void look(void *user)
{
	struct hostconf *h = user;
	char **servers = read_servers(h);

	/* Gone for the moment of its replacement: what it said last stands. */
	if (!servers || same(servers, h->servers)) {
		strv_free(servers);
		return;
	}
	strv_free(h->servers);
	h->servers = servers;
	log_info("dns", "%s has other name servers now: %s%s", h->path, *servers ? *servers : "none", *servers && servers[1] ? ", ..." : "");
	h->changed(h->user);
}

static void on_news(void *user, unsigned events)
{
	struct hostconf *h = user;
	char b[4096] __attribute__((aligned(8)));

	(void)events;
	while (read(h->fd, b, sizeof(b)) > 0)
		;
	loop_timer_set(h->timer, SETTLE);
}

struct hostconf *hostconf_new(struct loop *l, const char *path, void (*changed)(void *user), void *user)
{
	struct hostconf *h = mem_zalloc(sizeof(*h));

	h->l = l;
	h->path = mem_strdup(path);
	h->changed = changed;
	h->user = user;
	h->timer = loop_timer_new(l, look, h);
	h->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (h->fd >= 0)
		h->io = loop_io_new(l, h->fd, LOOP_READ, on_news, h);
	else
		log_warn("dns", "changes of %s will not be noticed: %s", path, strerrordesc_np(errno));
	h->servers = read_servers(h);
	if (!h->servers)
		h->servers = mem_zalloc(sizeof(*h->servers));
	return h;
}

void hostconf_free(struct hostconf *h)
{
	if (!h)
		return;
	loop_io_free(h->io);
	loop_timer_free(h->timer);
	if (h->fd >= 0)
		(void)close(h->fd);
	strv_free(h->servers);
	free(h->path);
	free(h);
}

char *const *hostconf_servers(const struct hostconf *h)
{
	return h->servers;
}
