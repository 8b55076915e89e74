/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/prepare.h"
#include "engine/apparmor.h"

#include "engine/defaults.h"
#include "engine/endpoints.h"
#include "engine/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "engine/mounts.h"
#include "engine/resolv.h"

/* Itself, or the one whose network and with it whose names it shares. */
static struct container *names_owner(struct container *c, struct err *e)
{
	while (c && str_starts(doc_network(c), "container:"))
		c = engine_find(c->en, doc_network(c) + strlen("container:"), e);
	return c;
}

static int names_of(struct prepare *p, struct container *c, struct err *e)
{
	struct container *t = names_owner(c, e);
	CLEANUP(mem_freep) char *dir = t ? container_run_dir(t) : NULL;
	const char *hostname = t ? json_str(doc_config(t), "Hostname", "") : "";

	if (!t)
		return -1;
	p->shared = t != c;
	p->files = mem_printf("%s/files", dir);
	p->host_net = str_eq(doc_network(t), "host");
	p->hostname = mem_strdup(*hostname ? hostname : c->en->hostname);
	return 0;
}

int prepare_names(struct prepare *p, struct err *e)
{
	struct buf hosts = BUF_INIT;
	json_t *nw, *v;
	size_t i;
	int rc;

	json_array_foreach(json_arr(p->host, "ExtraHosts"), i, v) {
		if (p->gateway || !str_ends(json_string_value(v), ":host-gateway"))
			continue;
		nw = net_inspect(p->c->en->net, "bridge", NULL);
		p->gateway = mem_strdup(json_str(json_array_get(json_path(nw, "IPAM.Config"), 0), "Gateway", ""));
		json_decref(nw);
	}
	p->nameserver = mem_strdup(json_str(p->c->net, "Nameserver", ""));
	rc = hosts_of(p->c, &hosts, e);
	p->hosts = hosts.data;
	return rc;
}

struct prepare *prepare_new(struct container *c, bool late_net, struct err *e)
{
	struct image *im = image_find(c->en->images, json_str(c->doc, "Image", ""), e);
	pid_t ipc, pid;
	struct prepare *p;

	if (!im || join_target(c, "IpcMode", &ipc, e) < 0 || join_target(c, "PidMode", &pid, e) < 0)
		return NULL;
	p = mem_zalloc(sizeof(*p));
	p->c = c;
	if (remap_applies(c->en, doc_host(c)))
		p->idmap = c->en->idmap;
	p->ipc_pid = ipc;
	p->pid_pid = pid;
	memcpy(p->id, c->id, sizeof(p->id));
	p->dir = container_dir(c);
	p->run_dir = container_run_dir(c);
	p->layers = container_layers(c->en, im);
	p->config = json_incref(doc_config(c));
	p->host = json_incref(doc_host(c));
	p->args = json_incref(json_object_get(c->doc, "Args"));
	p->mounts = json_incref(doc_mounts(c));
	p->links = links_env(c);
	p->path = json_str(c->doc, "Path", "");
	p->late_net = late_net;
	p->netns = late_net ? net_sandbox_path(c->en->net, c->id) : mem_strdup(json_str(c->net, "NetNS", ""));
	p->cgroup = container_cgroup(c);
	if (names_of(p, c, e) < 0 || (!late_net && prepare_names(p, e) < 0)) {
		prepare_free(p);
		return NULL;
	}
	{
		struct log_subject s = { .id = c->id, .name = container_name(c), .image = json_str(doc_config(c), "Image", ""),
					 .image_id = json_str(c->doc, "Image", ""), .host = c->en->hostname, .config = doc_config(c) };

		if (logopt_plan(json_obj(doc_host(c), "LogConfig"), &s, &p->log, e) < 0) {
			prepare_free(p);
			return NULL;
		}
	}
	return p;
}

void prepare_free(struct prepare *p)
{
	if (!p)
		return;
	free(p->dir);
	free(p->run_dir);
	free(p->netns);
	free(p->nameserver);
	free(p->hostname);
	free(p->files);
	free(p->hosts);
	free(p->gateway);
	json_decref(p->links);
	free(p->cgroup);
	log_plan_done(&p->log);
	strv_free(p->layers);
	json_decref(p->config);
	json_decref(p->host);
	json_decref(p->args);
	json_decref(p->mounts);
	free(p);
}

char *prepare_bundle(const struct prepare *p)
{
	return mem_printf("%s/bundle", p->run_dir);
}

static void hosts_text(const struct prepare *p, struct buf *b)
{
	json_t *v;
	size_t i;

	if (p->host_net && file_read_at(AT_FDCWD, "/etc/hosts", 1 << 20, b) == 0) {
		if (b->len && b->data[b->len - 1] != '\n')
			buf_addc(b, '\n');
	} else {
		buf_adds(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
			    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	}
	json_array_foreach(json_arr(p->host, "ExtraHosts"), i, v) {
		const char *s = json_string_value(v), *colon = strchr(s, ':');
		const char *ip = colon ? colon + 1 : "";

		if (colon)
			buf_printf(b, "%s\t%.*s\n", str_eq(ip, "host-gateway") ? p->gateway : ip, (int)(colon - s), s);
	}
	if (p->hosts)
		buf_adds(b, p->hosts);
}

static void resolv_make(const struct prepare *p, struct buf *b)
{
	struct buf host = BUF_INIT;

	(void)file_read_at(AT_FDCWD, "/etc/resolv.conf", 65536, &host);		/* may be missing */
	resolv_text(p->host, host.data ? host.data : "", p->nameserver, p->host_net, b);
	buf_done(&host);
}

static int put_file(const char *dir, const char *name, const char *text, size_t n, mode_t mode, struct err *e)
{
	char *path CLEANUP(mem_freep) = mem_printf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode), r;

	/* Written anew at each start: no fsync needed. */
	if (fd < 0)
		return err_errno(e, errno, "cannot write %s", path);
	r = file_write_all(fd, text, n);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	close(fd);
	return r < 0 ? err_errno(e, -r, "cannot write %s", path) : 0;
}

/* To the container's root, which may write them. */
static int give_files(struct prepare *p, const char *dir)
{
	static const char *const names[] = { "hosts", "resolv.conf", "hostname" };

	for (size_t i = 0; i < N(names); i++) {
		char *path CLEANUP(mem_freep) = mem_printf("%s/%s", dir, names[i]);

		if (lchown(path, p->idmap.uid, p->idmap.gid) < 0)
			return err_errno(&p->e, errno, "give %s to the container", path);
	}
	return 0;
}

static int make_dirs(const struct prepare *p, struct err *e)
{
	static const char *const subs[] = { "", "/upper", "/work" };
	char *rootfs CLEANUP(mem_freep) = mem_printf("%s/bundle/rootfs", p->run_dir), *files CLEANUP(mem_freep) = mem_printf("%s/files", p->run_dir);
	int r;

	for (size_t i = 0; i < N(subs); i++) {
		char *path CLEANUP(mem_freep) = mem_printf("%s%s", p->dir, subs[i]);

		if (mkdir(path, i == 1 ? 0755 : 0711) < 0 && errno != EEXIST)
			return err_errno(e, errno, "cannot make %s", path);
	}
	/* What an earlier run left there (its exit record) must not be taken for this one's. */
	r = file_rm_rf_at(AT_FDCWD, p->run_dir);
	if (r < 0)
		return err_errno(e, -r, "cannot clear %s", p->run_dir);
	r = file_mkdir_p(rootfs, 0711);
	if (r == 0)
		r = file_mkdir_p(files, 0711);
	return r < 0 ? err_errno(e, -r, "cannot make the directories in %s", p->run_dir) : 0;
}

static int write_names(struct prepare *p)
{
	struct buf hosts = BUF_INIT, resolv = BUF_INIT, name = BUF_INIT;
	int r;

	hosts_text(p, &hosts);
	resolv_make(p, &resolv);
	buf_printf(&name, "%s\n", p->hostname);
	r = put_file(p->files, "hosts", hosts.data ? hosts.data : "", hosts.len, 0644, &p->e) < 0 ||
	    put_file(p->files, "resolv.conf", resolv.data ? resolv.data : "", resolv.len, 0644, &p->e) < 0 ||
	    put_file(p->files, "hostname", name.data, name.len, 0644, &p->e) < 0 ? -1 : 0;
	buf_done(&hosts);
	buf_done(&resolv);
	buf_done(&name);
	return r;
}

/* The init to put before the program: NULL when none is wanted, or the runtime brings its own. */
static int pick_init(const struct prepare *p, char **ret, struct err *e)
{
	char *runtime CLEANUP(mem_freep) = NULL;

	*ret = NULL;
	if (!json_flag(p->host, "Init", false))
		return 0;
	if (runtime_path(json_str(p->host, "Runtime", ""), &runtime, e) < 0)
		return -1;
	if (runtime)
		*ret = runtime_init(e);
	return runtime && !*ret ? -1 : 0;
}

/* The files, to be mounted before it is known what they say. */
static int place_names(struct prepare *p)
{
	return !p->shared && (put_file(p->files, "hosts", "", 0, 0644, &p->e) < 0 || put_file(p->files, "resolv.conf", "", 0, 0644, &p->e) < 0 ||
			      put_file(p->files, "hostname", "", 0, 0644, &p->e) < 0) ? -1 : 0;
}

static int put_names(struct prepare *p)
{
	return !p->shared && (write_names(p) < 0 || (p->idmap.size && give_files(p, p->files) < 0)) ? -1 : 0;
}

static int prepare_all(struct prepare *p)
{
	char *init CLEANUP(mem_freep) = NULL;
	char *upper CLEANUP(mem_freep) = mem_printf("%s/upper", p->dir), *bundle CLEANUP(mem_freep) = prepare_bundle(p);
	char *rootfs CLEANUP(mem_freep) = mem_printf("%s/rootfs", bundle);
	struct user_ids ids = { 0 };
	struct spec_in in = { .id = p->id, .config = p->config, .host = p->host, .path = p->path, .args = p->args, .links = p->links, .rootfs = rootfs,
			      .netns = p->netns, .hostname = p->hostname, .files = p->files, .cgroups_path = p->cgroup, .mounts = p->mounts, .bundle = bundle,
			      .ipc_pid = p->ipc_pid, .pid_pid = p->pid_pid, .idmap = p->idmap.size ? &p->idmap : NULL };
	json_t *spec = NULL;
	char *text = NULL;
	int ret = -1;

	if (log_plan_resolve(&p->log, &p->e) < 0 || make_dirs(p, &p->e) < 0 || mounts_check_binds(p->mounts, true, p->idmap.uid, p->idmap.gid, &p->e) < 0)
		goto out;
	if (user_resolve(p->layers, upper, json_str(p->config, "User", ""), json_arr(p->host, "GroupAdd"), &ids, &p->e) < 0)
		goto out;
	in.uid = ids.uid;
	in.gid = ids.gid;
	in.groups = ids.groups;
	in.n_groups = ids.n_groups;
	in.home = ids.home;
	if (p->late_net ? place_names(p) < 0 : put_names(p) < 0)
		goto out;
	if (pick_init(p, &init, &p->e) < 0)
		goto out;
	in.init = init;
	if (apparmor_default(&in.apparmor, &p->e) < 0)
		goto out;
	spec = spec_make(&in, &p->e);
	if (!spec)
		goto out;
	text = json_text(spec);
	ret = put_file(bundle, "config.json", text, strlen(text), 0600, &p->e);
out:
	free(text);
	json_decref(spec);
	user_ids_done(&ids);
	return ret;
}

void prepare_names_run(struct work *w)
{
	struct prepare *p = CONTAINER_OF(w, struct prepare, names_work);

	if (put_names(p) < 0 && p->e.kind == ERR_NONE)
		err_set(&p->e, ERR_INTERNAL, "the container's files could not be made");
}

void prepare_run(struct work *w)
{
	struct prepare *p = CONTAINER_OF(w, struct prepare, work);

	if (prepare_all(p) < 0 && p->e.kind == ERR_NONE)
		err_set(&p->e, ERR_INTERNAL, "the container's files could not be made");
}
