/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives the engine: maps and cgroup links by pins below the instance's directory, tc filters by themselves. A new engine
 * loads its own programs over the pinned maps and swaps them in, so that a packet always meets an old or a new one, never none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/ebpf/ebpf_priv.h"

#define BPF_ROOT "/sys/fs/bpf"

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];

	if (!log_enabled(LOG_LEVEL_DEBUG, "ebpf"))
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	log_debug("ebpf", "libbpf: %s", line);
	(void)level;
	return 0;
}

void dp_ebpf_quiet(void)
{
	libbpf_set_print(quiet);
}

int pins_prepare(const char *pin_dir, struct err *e)
{
	struct rlimit lim = { RLIM_INFINITY, RLIM_INFINITY };
	struct statfs fs;
	int r;

	(void)setrlimit(RLIMIT_MEMLOCK, &lim);	/* kernels before 5.11 charge maps to it; newer ones do not mind */
	if (statfs(BPF_ROOT, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		if (mount("bpf", BPF_ROOT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700") < 0)
			return err_errno(e, errno, "there is no bpf file system at %s and none can be mounted", BPF_ROOT);
	}
	r = file_mkdir_p(pin_dir, 0700);
	return r < 0 ? err_errno(e, -r, "cannot make %s", pin_dir) : 0;
}

int pins_set(const struct datapath *d, struct bpf_object *o, struct err *e)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, o) {
		char *path CLEANUP(mem_freep) = NULL;

		/* The constants' section and the working memory belong to a program, the rings to a process. */
		if (bpf_map__is_internal(m) || str_eq(bpf_map__name(m), "wakeups") || str_eq(bpf_map__name(m), "events") || str_eq(bpf_map__name(m), "scratch"))
			continue;
		path = mem_printf("%s/v%d_%s", d->pin_dir, KEDGE_ABI, bpf_map__name(m));
		if (bpf_map__set_pin_path(m, path) < 0)
			return err_set(e, ERR_INTERNAL, "cannot pin the map %s", bpf_map__name(m));
	}
	return 0;
}

static void drop_pins(struct bpf_object *o)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, o) {
		const char *path = bpf_map__pin_path(m);

		if (path)
			(void)unlink(path);
	}
}

int pins_load_dp(struct datapath *d, struct err *e)
{
	for (int pass = 0; pass < 2; pass++) {
		int r;

		d->dp = dp_bpf__open();
		if (!d->dp)
			return err_errno(e, errno, "cannot open the BPF programs");
		if (pins_set(d, d->dp->obj, e) < 0)
			return -1;
		r = dp_bpf__load(d->dp);
		if (r == 0)
			return 0;
		if (pass == 0 && r == -EINVAL) {
			/* Pins of another build with the same number: flows are lost, the engine starts. */
			log_warn("ebpf", "the pinned maps below %s do not fit: starting with fresh ones", d->pin_dir);
			drop_pins(d->dp->obj);
		} else {
			err_errno(e, -r, "the kernel does not take the BPF programs");
			dp_bpf__destroy(d->dp);
			d->dp = NULL;
			return -1;
		}
		dp_bpf__destroy(d->dp);
		d->dp = NULL;
	}
	return err_set(e, ERR_INTERNAL, "the BPF programs do not load");
}

void pins_gc(const struct datapath *d)
{
	DIR *dir = opendir(d->pin_dir);
	const struct dirent *de;
	int abi, n;

	while (dir && (de = readdir(dir))) {
		n = 0;
		if (sscanf(de->d_name, "v%d_%n", &abi, &n) == 1 && n && abi != KEDGE_ABI && unlinkat(dirfd(dir), de->d_name, 0) == 0)
			log_debug("ebpf", "removed the table %s of another version", de->d_name);
	}
	if (dir)
		(void)closedir(dir);
}

/* Mount point of cgroup v2, whose root every process of the machine is below. */
static bool cgroup2_root(char *out, size_t size)
{
	struct buf b = BUF_INIT;
	char *save = NULL;
	bool found = false;

	if (file_read_at(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, &b) == 0 && b.data) {
		for (char *line = strtok_r(b.data, "\n", &save); line && !found; line = strtok_r(NULL, "\n", &save)) {
			char root[256], at[256];
			const char *type = strstr(line, " - ");

			if (type && str_starts(type, " - cgroup2 ") && sscanf(line, "%*d %*d %*s %255s %255s", root, at) == 2 && str_eq(root, "/")) {
				snprintf(out, size, "%s", at);
				found = true;
			}
		}
	}
	buf_done(&b);
	return found;
}

/* To the cgroup, or to our network namespace where the program is of that kind. */
static int attach_link(struct datapath *d, struct bpf_program *prog, int cgroup, struct err *e)
{
	char *path CLEANUP(mem_freep) = mem_printf("%s/link_%s", d->pin_dir, bpf_program__name(prog));
	struct bpf_link *link = access(path, F_OK) == 0 ? bpf_link__open(path) : NULL;
	int r;

	if (link && !libbpf_get_error(link)) {
		r = bpf_link__update_program(link, prog);
		if (r == 0) {
			bpf_link__disconnect(link);
			bpf_link__destroy(link);
			return 0;
		}
		/* Of a cgroup that is no more. */
		bpf_link__destroy(link);
		(void)unlink(path);
	}
	if (bpf_program__type(prog) == BPF_PROG_TYPE_SK_LOOKUP) {
		int ns CLEANUP(fd_closep) = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

		link = bpf_program__attach_netns(prog, ns);
	} else {
		link = bpf_program__attach_cgroup(prog, cgroup);
	}
	r = (int)libbpf_get_error(link);
	if (r)
		return err_errno(e, -r, "cannot attach %s", bpf_program__name(prog));
	r = bpf_link__pin(link, path);
	if (r < 0)
		err_errno(e, -r, "cannot pin %s", path);
	bpf_link__disconnect(link);
	bpf_link__destroy(link);
	return r < 0 ? -1 : 0;
}

/* An object that shares the data path's tables. The rings are that one's alone. */
static int share_tables(struct datapath *d, struct bpf_object *o, struct bpf_map *wakeups, struct bpf_map *events, struct err *e)
{
	(void)bpf_map__set_autocreate(wakeups, false);
	(void)bpf_map__set_autocreate(events, false);
	return pins_set(d, o, e);
}

static int attach_all(struct datapath *d, struct bpf_object *o, int cgroup, struct err *e)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, o) {
		if (attach_link(d, prog, cgroup, e) < 0)
			return -1;
	}
	return 0;
}

static int load_local(struct datapath *d, int cgroup, uint64_t cookie, struct err *e)
{
	int r;

	d->local = local_bpf__open();
	if (!d->local)
		return err_errno(e, errno, "cannot open the BPF programs for local clients");
	d->local->rodata->netns_cookie = cookie;
	if (share_tables(d, d->local->obj, d->local->maps.wakeups, d->local->maps.events, e) < 0)
		return -1;
	r = local_bpf__load(d->local);
	if (r < 0)
		return err_errno(e, -r, "the kernel does not take the BPF programs for local clients");
	return attach_all(d, d->local->obj, cgroup, e);
}

static int load_ports(struct datapath *d, int cgroup, uint64_t cookie, struct err *e)
{
	int r;

	d->ports = ports_bpf__open();
	if (!d->ports)
		return err_errno(e, errno, "cannot open the BPF programs for ranges of ports");
	d->ports->rodata->netns_cookie = cookie;
	if (share_tables(d, d->ports->obj, d->ports->maps.wakeups, d->ports->maps.events, e) < 0)
		return -1;
	r = ports_bpf__load(d->ports);
	if (r < 0)
		return err_errno(e, -r, "the kernel does not take the BPF programs for ranges of ports");	/* bpf_set_retval(): Linux 5.18 */
	return attach_all(d, d->ports->obj, cgroup, e);
}

/*
 * A process that calls on 127.0.0.1 may use the port of a connection it has closed again after a second, because the kernel sees the loopback address
 * (tcp_tw_reuse 2, its default). Pointed at a container it would have to wait for a minute: after 28,000 calls there is no port left, and each
 * further connect() searches all of them. 1 means every address, where both ends have timestamps. Other choices are the administrator's.
 */
static void ports_again(void)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_tw_reuse";
	struct buf b = BUF_INIT;
	int r;

	if (file_read_at(AT_FDCWD, path, 64, &b) == 0 && b.data && b.data[0] == '2') {
		r = file_put_at(AT_FDCWD, path, "1");
		if (r < 0)
			log_warn("ebpf", "cannot set tcp_tw_reuse: %s; clients on this host that close many connections may run out of ports", strerrordesc_np(-r));
	}
	buf_done(&b);
}

int pins_load_local(struct datapath *d, struct err *e)
{
	char root[256];
	int cgroup CLEANUP(fd_closep) = -1, sock CLEANUP(fd_closep) = -1;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (!cgroup2_root(root, sizeof(root))) {
		log_info("ebpf", "no cgroup v2 is mounted: clients on this host go through the proxy");
		return 0;
	}
	cgroup = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (cgroup < 0 || sock < 0 || getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)	/* Linux 5.14 */
		return err_errno(e, errno, "cannot serve local clients at %s", root);
	if (load_ports(d, cgroup, cookie, e) < 0) {
		log_info("ebpf", "%s: each port of a range gets a socket", e ? e->msg : "");
		err_clear(e);
		ports_bpf__destroy(d->ports);
		d->ports = NULL;
	}
	if (load_local(d, cgroup, cookie, e) == 0) {
		ports_again();
		return 0;
	}
	local_bpf__destroy(d->local);
	d->local = NULL;
	return -1;
}
