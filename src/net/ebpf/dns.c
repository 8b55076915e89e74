/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ebpf/dns.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bpf/dns.skel.h"

enum { LOOPBACK = 1, REDIRECT_HANDLE = 1, REDIRECT_PRIORITY = 1 };

struct dns_redirect {
	struct dns_bpf *bpf;
};

struct dns_redirect *dns_redirect_new(struct err *e)
{
	struct dns_redirect *r = mem_zalloc(sizeof(*r));

	r->bpf = FAULT("net.dns_redirect") ? NULL : dns_bpf__open_and_load();
	if (!r->bpf) {
		err_errno(e, errno ? errno : ENOSYS, "cannot load the program for the name servers of containers");
		free(r);
		return NULL;
	}
	return r;
}

void dns_redirect_free(struct dns_redirect *r)
{
	if (!r)
		return;
	dns_bpf__destroy(r->bpf);
	free(r);
}

int dns_redirect_attach(struct dns_redirect *r, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(r->bpf->progs.kedge_dns), .handle = REDIRECT_HANDLE, .priority = REDIRECT_PRIORITY,
		    .flags = BPF_TC_F_REPLACE);
	int rc = bpf_tc_hook_create(&hook);

	if (rc == 0 || rc == -EEXIST)
		rc = bpf_tc_attach(&hook, &opts);
	return rc < 0 ? err_errno(e, -rc, "cannot attach the name server's program to a container's loopback") : 0;
}
