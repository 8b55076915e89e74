/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ebpf/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

/* Linux 6.6, enum bpf_attach_type; Debian 12's headers are older. */
static const enum bpf_attach_type tcx_ingress = (enum bpf_attach_type)46, tcx_egress = (enum bpf_attach_type)47;

static enum bpf_attach_type type_of(bool ingress)
{
	return ingress ? tcx_ingress : tcx_egress;
}

enum { LOOPBACK = 1, PROGRAMS_MAX = 64, CLASSIFIERS_MAX = 4 };

bool attach_has_tcx(void)
{
	static atomic_int known;	/* 0: not asked yet, 1: no, 2: yes */
	int k = atomic_load(&known);
	uint32_t n = 0;

	if (!k) {
		k = FAULT("net.tcx") || bpf_prog_query(LOOPBACK, tcx_ingress, 0, NULL, NULL, &n) < 0 ? 1 : 2;
		atomic_store(&known, k);
	}
	return k == 2;
}

/* Those of our programs that are attached, each with a descriptor the caller closes. Negative: the kernel's error. */
static int ours(uint32_t ifindex, enum bpf_attach_type type, int fds[CLASSIFIERS_MAX])
{
	uint32_t ids[PROGRAMS_MAX], n = PROGRAMS_MAX;
	int r = bpf_prog_query((int)ifindex, type, 0, NULL, ids, &n), count = 0;

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n && count < CLASSIFIERS_MAX; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(ids[i]);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && str_starts(info.name, "kedge_"))
			fds[count++] = fd;
		else
			fd_closep(&fd);
	}
	return count;
}

static int by_tcx(uint32_t ifindex, enum bpf_attach_type type, int prog)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, opts);
	int fds[CLASSIFIERS_MAX], n = ours(ifindex, type, fds), r;

	if (n < 0)
		return n;
	if (n) {
		opts.flags = BPF_F_REPLACE;
		opts.replace_prog_fd = fds[0];
	}
	r = bpf_prog_attach_opts(prog, (int)ifindex, type, &opts);
	if (r == -EEXIST)
		r = 0;		/* this very program is there */
	for (int i = 0; i < n; i++) {
		if (i && r == 0)
			(void)bpf_prog_detach2(fds[i], (int)ifindex, type);
		fd_closep(&fds[i]);
	}
	return r;
}

static int off_tcx(uint32_t ifindex, enum bpf_attach_type type)
{
	int fds[CLASSIFIERS_MAX], n = ours(ifindex, type, fds);

	for (int i = 0; i < n; i++) {
		(void)bpf_prog_detach2(fds[i], (int)ifindex, type);
		fd_closep(&fds[i]);
	}
	return n < 0 ? n : 0;
}

static int by_clsact(uint32_t ifindex, bool ingress, int prog, const struct attach_place *at)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog, .handle = at->handle, .priority = at->priority, .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	return r == 0 || r == -EEXIST ? bpf_tc_attach(&hook, &opts) : r;
}

static void off_clsact(uint32_t ifindex, bool ingress, const struct attach_place *at)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = at->handle, .priority = at->priority);

	(void)bpf_tc_detach(&hook, &opts);
}

int attach_set(uint32_t ifindex, bool ingress, int prog, const struct attach_place *at)
{
	return at->lasting && attach_has_tcx() ? by_tcx(ifindex, type_of(ingress), prog) : by_clsact(ifindex, ingress, prog, at);
}

void attach_del_old(uint32_t ifindex, bool ingress, const struct attach_place *at)
{
	if (at->lasting && attach_has_tcx())
		off_clsact(ifindex, ingress, at);
}

void attach_del(uint32_t ifindex, bool ingress, const struct attach_place *at)
{
	if (at->lasting && attach_has_tcx())
		(void)off_tcx(ifindex, type_of(ingress));
	else
		off_clsact(ifindex, ingress, at);
}
