/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every BPF program, shown to this kernel's verifier: it must take each, and not at the end of its patience. The kernel looks at a million
 * instructions at most; older ones prune worse, so half of that is what a program may cost on any.
 */
#include <config.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "bpf/dns.skel.h"
#include "bpf/dp.skel.h"
#include "bpf/local.skel.h"
#include "bpf/ports.skel.h"
#include "bpf/xdp.skel.h"

enum { VERIFIED_MAX = 500000 };

static unsigned failed, programs;

static void object(const char *name, struct bpf_object *o, int loaded)
{
	struct bpf_program *p;

	if (loaded < 0) {
		(void)printf("FAIL: %s: the kernel does not take it: %s\n", name, strerror(-loaded));
		failed++;
		return;
	}
	bpf_object__for_each_program(p, o) {
		struct bpf_prog_info info = { 0 };
		__u32 n = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &n) < 0) {
			(void)printf("FAIL: %s: %s: %s\n", name, bpf_program__name(p), strerror(errno));
			failed++;
			continue;
		}
		programs++;
		(void)printf("%-6s %-20s %6u insns, %7u verified, %6u bytes %s\n", name, bpf_program__name(p), info.xlated_prog_len / 8,
			     info.verified_insns, info.jited_prog_len, info.jited_prog_len ? "compiled" : "interpreted");
		if (info.verified_insns > VERIFIED_MAX) {
			(void)printf("FAIL: more than %d\n", VERIFIED_MAX);
			failed++;
		}
	}
}

/* LOAD(name): opened, loaded, looked at, let go. */
#define LOAD(name) do { \
	struct name##_bpf *s = name##_bpf__open(); \
	int r = s ? name##_bpf__load(s) : -errno; \
\
	if (r == -EPERM) { \
		(void)printf("SKIP: loading BPF programs is not permitted\n"); \
		return 77; \
	} \
	object(#name, s ? s->obj : NULL, r); \
	name##_bpf__destroy(s); \
} while (0)

int main(void)
{
	struct utsname u;

	(void)uname(&u);
	LOAD(dp);
	LOAD(local);
	LOAD(ports);
	LOAD(dns);
	LOAD(xdp);
	(void)printf("Linux %s: %u programs, %u complaints\n", u.release, programs, failed);
	return failed != 0;
}
