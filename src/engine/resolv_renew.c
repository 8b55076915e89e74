/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running container has come to a network with names: its resolv.conf, written at its start without our server, names it from now on. The file is
 * bound into the container, so it is changed in place; one that somebody has changed meanwhile is that one's, and stays.
 */
#include "engine/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/resolv.h"

struct renew {
	struct work work;
	char *path, *nameserver;
	json_t *host;
};

static void renew_run(struct work *w)
{
	struct renew *x = CONTAINER_OF(w, struct renew, work);
	struct buf is = BUF_INIT, host = BUF_INIT, was = BUF_INIT, now = BUF_INIT;
	int fd, r;

	(void)file_read_at(AT_FDCWD, "/etc/resolv.conf", 65536, &host);		/* may be missing */
	resolv_text(x->host, host.data ? host.data : "", "", false, &was);
	resolv_text(x->host, host.data ? host.data : "", x->nameserver, false, &now);
	r = file_read_at(AT_FDCWD, x->path, 65536, &is);
	if (r == 0 && (is.len != was.len || memcmp(is.data, was.data, is.len) != 0)) {
		log_info("engine", "%s is not as it was written: it stays, without the name server %s", x->path, x->nameserver);
	} else if (r == 0) {
		fd = open(x->path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
		r = fd < 0 ? -errno : file_write_all(fd, now.data, now.len);
		if (fd >= 0)
			(void)close(fd);
	}
	/* Gone with its container meanwhile: nobody misses it. */
	if (r < 0 && r != -ENOENT)
		log_warn("engine", "cannot change %s: %s", x->path, strerror(-r));
	buf_done(&is);
	buf_done(&host);
	buf_done(&was);
	buf_done(&now);
}

static void renew_done(struct work *w)
{
	struct renew *x = CONTAINER_OF(w, struct renew, work);

	free(x->path);
	free(x->nameserver);
	json_decref(x->host);
	free(x);
}

void resolv_renew(struct container *c)
{
	CLEANUP(mem_freep) char *dir = container_run_dir(c);
	struct renew *x = mem_zalloc(sizeof(*x));

	*x = (struct renew){ .path = mem_printf("%s/files/resolv.conf", dir), .nameserver = mem_strdup(json_str(c->net, "Nameserver", "")),
			     .host = json_deep_copy(doc_host(c)) };
	x->work = (struct work){ .run = renew_run, .done = renew_done };
	work_start(c->en->pool, &x->work);
}
