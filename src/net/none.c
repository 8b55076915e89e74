/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/datapath.h"

/*
 * The data path that is not there: nothing is put into the kernel, the proxy carries what is published. Containers reach each other over their
 * bridge and the host; nothing of theirs is forwarded or masqueraded, so they do not reach beyond it.
 */
static int none_open(struct loop *l, const char *pin_dir, struct datapath **ret, struct err *e)
{
	(void)l;
	(void)pin_dir;
	(void)e;
	*ret = NULL;
	return 0;
}

static void none_close(struct datapath *d)
{
	(void)d;
}

static int none_net_set(struct datapath *d, const struct dp_net *nw, struct err *e)
{
	(void)d;
	(void)nw;
	(void)e;
	return 0;
}

static int none_net_del(struct datapath *d, uint32_t bridge_ifindex, struct err *e)
{
	(void)d;
	(void)bridge_ifindex;
	(void)e;
	return 0;
}

static int none_uplink_set(struct datapath *d, const struct dp_uplink *u, struct err *e)
{
	(void)d;
	(void)u;
	(void)e;
	return 0;
}

static int none_uplink_del(struct datapath *d, uint32_t ifindex)
{
	(void)d;
	(void)ifindex;
	return 0;
}

static int none_addr_set(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex, struct err *e)
{
	(void)d;
	(void)addr;
	(void)ifindex;
	(void)e;
	return 0;
}

static int none_addr_del(struct datapath *d, const struct in6_addr *addr, uint32_t ifindex)
{
	(void)d;
	(void)addr;
	(void)ifindex;
	return 0;
}

static int none_endpoint_set(struct datapath *d, const struct dp_endpoint *ep, struct err *e)
{
	(void)d;
	(void)ep;
	(void)e;
	return 0;
}

static int none_endpoint_del(struct datapath *d, const struct dp_endpoint *ep)
{
	(void)d;
	(void)ep;
	return 0;
}

static int none_publish_set(struct datapath *d, const struct dp_publish *p, struct err *e)
{
	(void)d;
	(void)p;
	(void)e;
	return 0;
}

static int none_publish_del(struct datapath *d, const struct dp_publish *p)
{
	(void)d;
	(void)p;
	return 0;
}

static void none_gc(struct datapath *d)
{
	(void)d;
}

/* The proxy's. */
static int none_lb_set(struct datapath *d, const struct dp_lb *lb, const struct dp_backend *b, size_t n, struct err *e)
{
	(void)d;
	(void)lb;
	(void)b;
	(void)n;
	(void)e;
	return 0;
}

static int none_lb_del(struct datapath *d, const struct dp_lb *lb)
{
	(void)d;
	(void)lb;
	return 0;
}

static bool none_holds_ranges(const struct datapath *d)
{
	(void)d;
	return false;
}

static json_t *none_info(struct datapath *d)
{
	(void)d;
	return json_pack("{s:i, s:{}}", "Flows", 0, "Drops");
}

const struct datapath_ops dp_none = {
	.name = "proxy",
	.open = none_open, .close = none_close,
	.net_set = none_net_set, .net_del = none_net_del,
	.uplink_set = none_uplink_set, .uplink_del = none_uplink_del,
	.addr_set = none_addr_set, .addr_del = none_addr_del,
	.endpoint_set = none_endpoint_set, .endpoint_del = none_endpoint_del,
	.publish_set = none_publish_set, .publish_del = none_publish_del,
	.lb_set = none_lb_set, .lb_del = none_lb_del,
	.gc = none_gc, .holds_ranges = none_holds_ranges, .info = none_info,
};
