/* SPDX-License-Identifier: Apache-2.0 */
/* A user's own program at an interface of the namespace we are in. It has nothing to do with our tables and programs. */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/ebpf/ebpf_priv.h"

/* Behind whatever the container itself has put there. */
enum { HOOK_HANDLE = 1, HOOK_PRIORITY = 50, LOG_SIZE = 256 << 10 };

/* Generic XDP: what the data path hands over does not pass the veth driver's own hook. */
static const uint32_t xdp_flags = XDP_FLAGS_SKB_MODE;

static struct bpf_program *pick(struct bpf_object *o, const char *name, struct err *e)
{
	struct bpf_program *p = str_empty(name) ? bpf_object__next_program(o, NULL) : bpf_object__find_program_by_name(o, name);

	if (!p)
		err_set(e, ERR_INVALID, str_empty(name) ? "there is no program in the object" : "there is no program '%s' in the object", name);
	return p;
}

/* The section says what it is; one that says nothing is taken for a classifier. */
static int kind(struct bpf_program *p, bool ingress, struct err *e)
{
	if (bpf_program__type(p) == BPF_PROG_TYPE_UNSPEC)
		(void)bpf_program__set_type(p, BPF_PROG_TYPE_SCHED_CLS);
	if (bpf_program__type(p) == BPF_PROG_TYPE_SCHED_CLS)
		return 0;
	if (bpf_program__type(p) != BPF_PROG_TYPE_XDP)
		return err_set(e, ERR_INVALID, "the program '%s' (section '%s') is neither a tc classifier nor an XDP program", bpf_program__name(p),
			       bpf_program__section_name(p));
	return ingress ? 0 : err_set(e, ERR_INVALID, "the XDP program '%s' can be attached at ingress only", bpf_program__name(p));
}

static int attach(const struct dp_hook *h, int ifindex, const struct bpf_program *p, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = h->ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(p), .handle = HOOK_HANDLE, .priority = HOOK_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int r;

	if (bpf_program__type(p) == BPF_PROG_TYPE_XDP) {
		r = bpf_xdp_attach(ifindex, bpf_program__fd(p), xdp_flags, NULL);
	} else {
		r = bpf_tc_hook_create(&hook);
		if (r == 0 || r == -EEXIST)
			r = bpf_tc_attach(&hook, &opts);
	}
	return r < 0 ? err_errno(e, -r, "attach '%s' to %s", bpf_program__name(p), h->interface) : 0;
}

static int detach(const struct dp_hook *h, int ifindex, struct err *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = h->ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HOOK_HANDLE, .priority = HOOK_PRIORITY);
	uint32_t xdp = 0;
	bool any = false;
	int r = bpf_tc_detach(&hook, &opts);

	any = r == 0;
	if (r < 0 && r != -ENOENT && r != -EINVAL)	/* EINVAL: there is no hook at all */
		return err_errno(e, -r, "detach from %s", h->interface);
	if (h->ingress && bpf_xdp_query_id(ifindex, (int)xdp_flags, &xdp) == 0 && xdp) {
		r = bpf_xdp_detach(ifindex, xdp_flags, NULL);
		if (r < 0)
			return err_errno(e, -r, "detach the XDP program from %s", h->interface);
		any = true;
	}
	return any ? 0 : err_set(e, ERR_NOT_FOUND, "nothing is attached to %s at %s", h->interface, h->ingress ? "ingress" : "egress");
}

int ebpf_hook_set(const struct dp_hook *h, json_t **ret, char **log, struct err *e)
{
	int ifindex = (int)if_nametoindex(h->interface), r = -1;
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	struct bpf_program *p, *other;
	struct bpf_object *o;

	if (!ifindex)
		return err_set(e, ERR_NOT_FOUND, "there is no interface %s", h->interface);
	if (!h->object)
		return detach(h, ifindex, e);
	*log = mem_zalloc(LOG_SIZE);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "lab", .kernel_log_buf = *log, .kernel_log_size = LOG_SIZE, .kernel_log_level = 1);
	o = bpf_object__open_mem(h->object, h->len, &opts);
	if (libbpf_get_error(o))
		return err_set(e, ERR_INVALID, "this is not an object file with BPF programs: %s", strerrordesc_np((int)-libbpf_get_error(o)));
	p = pick(o, h->program, e);
	if (p && kind(p, h->ingress, e) == 0) {
		bpf_object__for_each_program(other, o) {
			(void)bpf_program__set_autoload(other, other == p);
		}
		r = bpf_object__load(o);
		if (r < 0)
			r = err_set(e, ERR_INVALID, "the kernel does not take the program '%s': %s", bpf_program__name(p), strerrordesc_np(-r));
		else
			r = attach(h, ifindex, p, e);
	}
	if (r == 0) {
		(void)bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len);
		*ret = json_pack("{s:s, s:s, s:I}", "Program", bpf_program__name(p), "Type", bpf_program__type(p) == BPF_PROG_TYPE_XDP ? "xdp" : "tc", "Id",
				 (json_int_t)info.id);
	}
	bpf_object__close(o);
	return r;
}
