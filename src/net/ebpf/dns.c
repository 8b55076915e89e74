/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/ebpf/dns.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bpf/dns.skel.h"
#include "net/ebpf/attach.h"

enum { LOOPBACK = 1 };

static const struct attach_place place = { .handle = 1, .priority = 1 };

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
	int rc = attach_set(LOOPBACK, false, bpf_program__fd(r->bpf->progs.kedge_dns), &place);

	return rc < 0 ? err_errno(e, -rc, "cannot attach the name server's program to a container's loopback") : 0;
}
