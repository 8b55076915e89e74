/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/hosts of a container: written at its start by prepare.c, edited here while it runs. The file is bound into the container, so it is changed in
 * place, line by line: what the container's own programs wrote there stays.
 */
#include "engine/endpoints.h"
#include "engine/links.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { HOSTS_MAX = 1 << 20 };

static void hosts_line(struct buf *b, const char *addr, const char *hostname, const char *domain)
{
	if (str_empty(addr))
		return;
	if (str_empty(domain))
		buf_printf(b, "%s\t%s\n", addr, hostname);
	else
		buf_printf(b, "%s\t%s.%s %s\n", addr, hostname, domain, hostname);
}

static void link_line(const struct link *l, struct buf *b)
{
	const char *name = container_name(l->target);

	buf_printf(b, "%s\t%s %s%s%s\n", l->ip, l->alias, json_str(doc_config(l->target), "Hostname", ""), str_eq(l->alias, name) ? "" : " ",
		   str_eq(l->alias, name) ? "" : name);
}

int hosts_of(const struct container *c, struct buf *b, struct err *e)
{
	const char *hostname = json_str(doc_config(c), "Hostname", ""), *domain = json_str(doc_config(c), "Domainname", "");
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(c->net, "Endpoints"), i, v) {
		hosts_line(b, json_str(v, "IPAddress", ""), hostname, domain);
		hosts_line(b, json_str(v, "GlobalIPv6Address", ""), hostname, domain);
	}
	if (!str_eq(doc_network(c), "bridge"))
		return 0;
	json_array_foreach(json_arr(doc_host(c), "Links"), i, v) {
		struct link l = link_of(c, json_string_value(v));

		if (link_check(c, &l, e) < 0)
			return -1;
		link_line(&l, b);
	}
	return 0;
}

/* ---- edits ---- */

struct edit {
	struct work work;
	char *path, *add;
	char **del;			/* first words (addresses) or first names of lines that go */
};

static pthread_mutex_t editing = PTHREAD_MUTEX_INITIALIZER;	/* one file may be edited by two workers at once */

static bool goes(char *const *del, const char *line, size_t n)
{
	size_t addr = strcspn(line, " \t"), gap, name;

	if (addr >= n || !del)
		return false;
	gap = addr + strspn(line + addr, " \t");
	name = strcspn(line + gap, " \t\n");
	for (; *del; del++)
		if ((strlen(*del) == addr && !strncmp(*del, line, addr)) || (strlen(*del) == name && !strncmp(*del, line + gap, name)))
			return true;
	return false;
}

static void edit_run(struct work *w)
{
	struct edit *x = CONTAINER_OF(w, struct edit, work);
	struct buf old = BUF_INIT, text = BUF_INIT;
	int fd, r;

	pthread_mutex_lock(&editing);
	r = file_read_at(AT_FDCWD, x->path, HOSTS_MAX, &old);
	for (const char *p = r < 0 ? NULL : old.data; p && *p;) {
		size_t n = strcspn(p, "\n");

		n += p[n] == '\n';
		if (!goes(x->del, p, n))
			buf_add(&text, p, n);
		p += n;
	}
	if (text.len && text.data[text.len - 1] != '\n')
		buf_addc(&text, '\n');
	if (x->add)
		buf_adds(&text, x->add);
	if (r >= 0) {
		fd = open(x->path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
		r = fd < 0 ? -errno : file_write_all(fd, text.data ? text.data : "", text.len);
		if (fd >= 0)
			(void)close(fd);
	}
	pthread_mutex_unlock(&editing);
	/* Gone with its container meanwhile: nobody misses it. */
	if (r < 0 && r != -ENOENT)
		log_warn("engine", "cannot change %s: %s", x->path, strerror(-r));
	buf_done(&old);
	buf_done(&text);
}

static void edit_done(struct work *w)
{
	struct edit *x = CONTAINER_OF(w, struct edit, work);

	free(x->path);
	free(x->add);
	strv_free(x->del);
	free(x);
}

static void edit(struct container *c, char *add_take, char **del_take)
{
	CLEANUP(mem_freep) char *dir = container_run_dir(c);
	struct edit *x = mem_zalloc(sizeof(*x));

	*x = (struct edit){ .path = mem_printf("%s/files/hosts", dir), .add = add_take, .del = del_take };
	x->work = (struct work){ .run = edit_run, .done = edit_done };
	work_start(c->en->pool, &x->work);
}

static char **with_addresses(char **v, const json_t *record)
{
	const char *a4 = json_str(record, "IPAddress", ""), *a6 = json_str(record, "GlobalIPv6Address", "");

	if (*a4)
		v = strv_add(v, a4);
	return *a6 ? strv_add(v, a6) : v;
}

void hosts_change(struct container *c, const json_t *add, const json_t *del)
{
	const char *hostname = json_str(doc_config(c), "Hostname", ""), *domain = json_str(doc_config(c), "Domainname", "");
	struct buf b = BUF_INIT;
	char **gone = with_addresses(NULL, del);

	hosts_line(&b, json_str(add, "IPAddress", ""), hostname, domain);
	hosts_line(&b, json_str(add, "GlobalIPv6Address", ""), hostname, domain);
	if (b.len || gone)
		edit(c, b.data, gone);
	else
		buf_done(&b);
}

/* A container others have links to has started, with another address perhaps. */
void hosts_relink(struct container *t)
{
	struct container *c;
	size_t it = 0, i;
	json_t *v;

	while ((c = map_next(t->en->by_id, &it, NULL))) {
		if (c == t || c->phase != PHASE_RUNNING || !str_eq(doc_network(c), "bridge"))
			continue;
		json_array_foreach(json_arr(doc_host(c), "Links"), i, v) {
			struct link l = link_of(c, json_string_value(v));
			struct buf b = BUF_INIT;

			if (l.target != t || !*l.ip)
				continue;
			link_line(&l, &b);
			edit(c, b.data, strv_add(NULL, l.alias));
		}
	}
}
