/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ebpf/xdp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "bpf/xdp.skel.h"
#include "net/ebpf/ebpf_priv.h"

enum { WORDS_SIZE = KEDGE_XDP_WORDS * sizeof(uint64_t) };

struct uplink {
	struct dp_uplink u;
	char kind[16];
	bool attached, told;		/* why it is not has been said */
};

struct xdp {
	struct datapath *d;
	enum dp_xdp mode;
	struct xdp_bpf *skel;		/* NULL: not needed so far */
	bool refused;			/* the kernel does not take it */
	uint64_t *ports;		/* what the program sees, too */
	struct uplink *up;
	size_t n;
};

struct xdp *xdp_new(struct datapath *d)
{
	struct xdp *x = mem_zalloc(sizeof(*x));

	x->d = d;
	return x;
}

void xdp_free(struct xdp *x)
{
	if (!x)
		return;
	if (x->ports)
		(void)munmap(x->ports, WORDS_SIZE);
	xdp_bpf__destroy(x->skel);
	free(x->up);
	free(x);
}

static char *pin_of(const struct xdp *x, uint32_t ifindex)
{
	return mem_printf("%s/xdp_%u", x->d->pin_dir, ifindex);
}

/* A device that puts segments together itself must not any more under native XDP, and bulk transfers cost several times as much then. */
static bool merges(const char *name)
{
	struct { struct ethtool_sset_info info; uint32_t n; } count = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	int fd CLEANUP(fd_closep) = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_gstrings *names CLEANUP(mem_freep) = NULL;
	struct ethtool_gfeatures *on CLEANUP(mem_freep) = NULL;
	struct ifreq r = { .ifr_data = (void *)&count };
	uint32_t blocks;

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &r) < 0 || !count.info.sset_mask || count.n > 1024)
		return false;
	blocks = (count.n + 31) / 32;
	names = mem_zalloc(sizeof(*names) + (size_t)count.n * ETH_GSTRING_LEN);
	on = mem_zalloc(sizeof(*on) + blocks * sizeof(on->features[0]));
	*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = count.n };
	*on = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES, .size = blocks };
	r.ifr_data = (void *)names;
	if (ioctl(fd, SIOCETHTOOL, &r) < 0)
		return false;
	r.ifr_data = (void *)on;
	if (ioctl(fd, SIOCETHTOOL, &r) < 0)
		return false;
	for (uint32_t i = 0; i < count.n; i++) {
		const char *s = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;

		if ((!strncmp(s, "rx-lro", ETH_GSTRING_LEN) || !strncmp(s, "rx-gro-hw", ETH_GSTRING_LEN)) && on->features[i / 32].active >> i % 32 & 1)
			return true;
	}
	return false;
}

/* NULL: it is to be tried; else why not. */
static const char *unfit(const struct xdp *x, const struct uplink *up, const char *name)
{
	if (!up->u.ethernet)
		return "it is not an Ethernet device";
	if (str_eq(up->kind, "veth"))
		return "a veth device loses by it";
	if (x->mode == DP_XDP_NATIVE)
		return NULL;
	if (up->kind[0])
		return "it is a virtual device";
	return merges(name) ? "it merges the segments it receives (rx-lro, rx-gro-hw), which XDP would end" : NULL;
}

static int load(struct xdp *x, struct err *e)
{
	int r = -EINVAL;

	/* A packet in several buffers needs a program that says it minds; Linux before 5.18 knows neither. */
	for (uint32_t flags = BPF_F_XDP_HAS_FRAGS;; flags = 0) {
		x->skel = xdp_bpf__open();
		if (!x->skel)
			return err_errno(e, errno, "cannot open the XDP program");
		(void)bpf_map__set_autocreate(x->skel->maps.wakeups, false);
		if (pins_set(x->d, x->skel->obj, e) < 0)
			break;
		(void)bpf_program__set_flags(x->skel->progs.kedge_xdp, flags);
		r = bpf_map__reuse_fd(x->skel->maps.events, bpf_map__fd(x->d->dp->maps.events));
		if (r == 0)
			r = xdp_bpf__load(x->skel);
		if (r == 0 || !flags)
			break;
		xdp_bpf__destroy(x->skel);
		x->skel = NULL;
	}
	if (r < 0)
		return e->kind ? -1 : err_errno(e, -r, "the kernel does not take the XDP program");
	x->ports = mmap(NULL, WORDS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(x->skel->maps.xdp_ports), 0);
	if (x->ports != MAP_FAILED)
		return 0;
	x->ports = NULL;
	return err_errno(e, errno, "map the XDP program's table of ports");
}

static bool usable(struct xdp *x)
{
	struct err e = { 0 };

	if (x->mode == DP_XDP_OFF || x->refused)
		return false;
	if (x->skel)
		return true;
	if (load(x, &e) == 0)
		return true;
	log_warn("ebpf", "%s: tc serves alone", e.msg);
	xdp_bpf__destroy(x->skel);
	x->skel = NULL;
	x->refused = true;
	return false;
}

/* The pinned link gets our program. False: there is none, or it is of a device that has gone. */
static bool take_over(int prog, const char *path, uint32_t ifindex)
{
	int fd CLEANUP(fd_closep) = bpf_obj_get(path);
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == ifindex &&
	       bpf_link_update(fd, prog, NULL) == 0;
}

/* 0 or a negative errno. A link, so that whoever comes later with another program is told that the place is taken. */
static int attach(int prog, const char *path, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int fd CLEANUP(fd_closep) = -1;

	if (take_over(prog, path, ifindex))
		return 0;
	(void)unlink(path);
	fd = bpf_link_create(prog, (int)ifindex, BPF_XDP, &opts);
	return fd < 0 ? fd : bpf_obj_pin(fd, path);
}

static void detach(struct xdp *x, struct uplink *up)
{
	CLEANUP(mem_freep) char *path = pin_of(x, up->u.ifindex);

	(void)unlink(path);
	if (x->skel)
		(void)bpf_map_delete_elem(bpf_map__fd(x->skel->maps.xdp_devices), &up->u.ifindex);
	up->attached = false;
}

static void try(struct xdp *x, struct uplink *up)
{
	CLEANUP(mem_freep) char *path = pin_of(x, up->u.ifindex);
	struct kedge_xdp_device dev = { 0 };
	char name[IF_NAMESIZE] = "";
	const char *why;
	int r;

	if (!if_indextoname(up->u.ifindex, name))
		return;
	why = unfit(x, up, name);
	memcpy(dev.mac, up->u.mac, sizeof(dev.mac));
	if (!why && usable(x)) {
		r = bpf_map_update_elem(bpf_map__fd(x->skel->maps.xdp_devices), &up->u.ifindex, &dev, BPF_ANY);
		if (r == 0 && !up->attached)
			r = attach(bpf_program__fd(x->skel->progs.kedge_xdp), path, up->u.ifindex);
		if (r == 0) {
			if (!up->attached)
				log_info("ebpf", "XDP at %s refuses early", name);
			up->attached = true;
			return;
		}
		why = r == -EBUSY || r == -EEXIST ? "another program is there" : r == -EOPNOTSUPP ? "its driver has no XDP" : strerrordesc_np(-r);
	}
	detach(x, up);
	if (why && !up->told) {
		up->told = true;
		if (x->mode == DP_XDP_NATIVE)
			log_info("ebpf", "no XDP at %s: %s", name, why);
		else
			log_debug("ebpf", "no XDP at %s: %s", name, why);
	}
}

static bool any_listed(const struct xdp *x)
{
	bool any = false;

	for (size_t i = 0; x->ports && i < KEDGE_XDP_WORDS && !any; i++)
		any = x->ports[i] != 0;
	return any;
}

/* Has the program anything to do? */
static bool needed(const struct xdp *x)
{
	return x->mode == DP_XDP_NATIVE || (x->mode == DP_XDP_AUTO && any_listed(x));
}

void xdp_mode(struct xdp *x, enum dp_xdp mode)
{
	x->mode = mode;
}

void xdp_uplink(struct xdp *x, const struct dp_uplink *u)
{
	struct uplink *up = NULL;

	for (size_t i = 0; i < x->n && !up; i++)
		if (x->up[i].u.ifindex == u->ifindex)
			up = &x->up[i];
	if (!up) {
		x->up = mem_realloc(x->up, (x->n + 1) * sizeof(*x->up));
		up = &x->up[x->n++];
		*up = (struct uplink){ 0 };
	}
	up->u = *u;
	(void)snprintf(up->kind, sizeof(up->kind), "%s", u->kind);
	up->u.kind = NULL;
	if (needed(x))
		try(x, up);
}

void xdp_uplink_gone(struct xdp *x, uint32_t ifindex)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->up[i].u.ifindex == ifindex) {
			detach(x, &x->up[i]);
			x->up[i] = x->up[--x->n];
			return;
		}
}

static void ports_add(uint64_t *w, uint32_t first, uint32_t count)
{
	for (uint32_t p = first; p < first + (count ? count : 1) && p < 65536; p++)
		w[p / 64] |= 1ull << p % 64;
}

void xdp_listed(struct xdp *x, uint16_t first, uint16_t count)
{
	bool begins;

	if (!usable(x))
		return;
	begins = !any_listed(x);
	ports_add(x->ports, first, count);
	/* What was refused once is asked for again with the first list, not with each of ten thousand ports. */
	for (size_t i = 0; i < x->n; i++)
		if (!x->up[i].attached && (begins || !x->up[i].told))
			try(x, &x->up[i]);
}

static void each_listed(const struct bpf_map *m, bool range, uint64_t *w)
{
	union { struct kedge_publish_key one; struct kedge_range_key range; } k, *at = NULL;
	struct kedge_publish v;

	for (uint32_t i = 0; i < bpf_map__max_entries(m) && bpf_map_get_next_key(bpf_map__fd(m), at, &k) == 0; i++) {
		at = &k;
		if (bpf_map_lookup_elem(bpf_map__fd(m), &k, &v) == 0 && v.sources)
			ports_add(w, ntohs(range ? k.range.port : k.one.port), range ? 1u << (160 - k.range.prefix) : 1);
	}
}

/* A bit that is set in vain costs a look; one that is missing leaves the packet to tc. */
void xdp_relist(struct xdp *x)
{
	CLEANUP(mem_freep) uint64_t *w = NULL;

	if (!x->ports)
		return;
	w = mem_zalloc(WORDS_SIZE);
	each_listed(x->d->dp->maps.published, false, w);
	each_listed(x->d->dp->maps.ranges, true, w);
	for (size_t i = 0; i < KEDGE_XDP_WORDS; i++)
		__atomic_store_n(&x->ports[i], w[i], __ATOMIC_RELAXED);
}

void xdp_gc(struct xdp *x)
{
	DIR *dir = opendir(x->d->pin_dir);
	struct dirent *f;
	unsigned ifindex;

	xdp_relist(x);
	while (dir && (f = readdir(dir))) {
		CLEANUP(mem_freep) char *path = mem_printf("%s/%s", x->d->pin_dir, f->d_name);
		bool ours = false;
		char end;

		if (sscanf(f->d_name, "xdp_%u%c", &ifindex, &end) != 1)
			continue;
		for (size_t i = 0; i < x->n && !ours; i++)
			ours = x->up[i].u.ifindex == ifindex && x->up[i].attached && needed(x);
		if (!ours)
			(void)unlink(path);	/* the last pin: it is detached */
	}
	if (dir)
		(void)closedir(dir);
	for (size_t i = 0; i < x->n && !needed(x); i++)
		detach(x, &x->up[i]);
}

int xdp_prog(const struct xdp *x, uint32_t ifindex)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->up[i].u.ifindex == ifindex && x->up[i].attached)
			return bpf_program__fd(x->skel->progs.kedge_xdp);
	return -1;
}

static json_t *jname(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return json_string(if_indextoname(ifindex, name) ? name : "?");
}

json_t *xdp_info(const struct xdp *x)
{
	static const char *const modes[] = { [DP_XDP_AUTO] = "auto", [DP_XDP_OFF] = "off", [DP_XDP_NATIVE] = "native" };
	json_t *at = json_array();

	for (size_t i = 0; i < x->n; i++)
		if (x->up[i].attached)
			json_array_append_new(at, jname(x->up[i].u.ifindex));
	return json_pack("{s:s, s:o, s:o}", "Mode", modes[x->mode], "Interfaces", at, "Drops", x->skel ? drop_counts(x->skel->maps.xdp_drops) : json_object());
}

void xdp_maps(const struct xdp *x, json_t *all)
{
	json_t *ports = json_array(), *devices = json_array();

	for (uint32_t p = 0; x->ports && p < 65536; p++)
		if (x->ports[p / 64] >> p % 64 & 1)
			json_array_append_new(ports, json_pack("{s:i}", "Port", (int)p));
	for (size_t i = 0; i < x->n; i++) {
		char mac[18];

		if (x->up[i].attached)
			json_array_append_new(devices, json_pack("{s:o, s:s}", "Interface", jname(x->up[i].u.ifindex), "MacAddress", mac_text(x->up[i].u.mac, mac)));
	}
	json_object_set_new(all, "xdp_ports", json_pack("{s:o, s:i}", "Entries", ports, "Max", 65536));
	json_object_set_new(all, "xdp_devices", json_pack("{s:o, s:i}", "Entries", devices, "Max", 1024));
}
