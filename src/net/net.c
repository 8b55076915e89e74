/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/net.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/lb.h"
#include "net/names.h"
#include "net/net_priv.h"

/* Start and end of the module: which data path, in which order. */

static int datapath_open(struct net *n, const char *want, struct err *e)
{
	static const struct datapath_ops *const order[] = { &dp_ebpf, &dp_nft, &dp_none };
	bool any = str_empty(want) || str_eq(want, "auto");

	for (size_t i = 0; i < N(order) && !n->ops; i++) {
		if (!any && !str_eq(want, order[i]->name))
			continue;
		if (order[i]->open(n->loop, n->pin_dir, &n->dp, e) == 0) {
			n->ops = order[i];
			break;
		}
		(void)err_wrap(e, "datapath %s", order[i]->name);
		if (!any)
			return -1;
		log_warn("net", "%s; trying another", e->msg);
		err_clear(e);
	}
	if (!n->ops)
		return err_set(e, ERR_INVALID, "datapath '%s' is none of auto, ebpf, nft, proxy", want);
	if (n->ops == &dp_none)
		log_info("net", "datapath proxy: published ports go through the engine, and containers reach the host but not beyond it");
	for (size_t i = 0; i < N(order); i++)
		if (order[i] != n->ops && order[i]->purge)
			order[i]->purge(n->pin_dir);
	return 0;
}

static int xdp_choose(struct net *n, const char *want, struct err *e)
{
	static const char *const words[] = { [DP_XDP_AUTO] = "auto", [DP_XDP_OFF] = "off", [DP_XDP_NATIVE] = "native" };
	size_t mode = DP_XDP_AUTO;

	while (!str_empty(want) && mode < N(words) && !str_eq(words[mode], want))
		mode++;
	if (mode == N(words))
		return err_set(e, ERR_INVALID, "xdp '%s' is none of auto, off, native", want);
	if (n->ops->xdp)
		n->ops->xdp(n->dp, (enum dp_xdp)mode);
	else if (mode == DP_XDP_NATIVE)
		return err_set(e, ERR_INVALID, "xdp 'native' needs the data path ebpf, and this is %s", n->ops->name);
	return 0;
}

static int pools_read(struct net *n, char *const *texts, struct err *e)
{
	for (; texts && *texts; texts++) {
		n->defaults = mem_realloc(n->defaults, (n->n_defaults + 1) * sizeof(*n->defaults));
		if (ipam_default_parse(*texts, &n->defaults[n->n_defaults], e) < 0)
			return -1;
		n->n_defaults++;
	}
	return 0;
}

struct net *net_new(struct loop *l, struct work_pool *p, struct store *st, const struct net_config *cfg, struct err *e)
{
	struct net *n = mem_zalloc(sizeof(*n));
	int rc;

	dp_ebpf_quiet();
	n->loop = l;
	n->pool = p;
	n->store = st;
	n->instance = mem_strdup(str_empty(cfg->instance) ? "default" : cfg->instance);
	n->bridge = mem_strdup(str_empty(cfg->bridge) ? "kedge0" : cfg->bridge);
	n->bip = str_empty(cfg->bip) ? NULL : mem_strdup(cfg->bip);
	n->ip_forward = cfg->ip_forward;
	n->dns = cfg->dns;
	n->netns_dir = mem_printf("%s/netns", cfg->exec_root);
	n->forwards6 = mem_printf("%s/forwards-ipv6", cfg->exec_root);
	n->pin_dir = mem_printf("/sys/fs/bpf/kedge/%s", n->instance);
	n->networks = map_new();
	n->sandboxes = map_new();
	n->ports = port_table_new();
	if (pools_read(n, cfg->pools, e) < 0)
		goto fail;
	if (strlen(n->bridge) > 15 || strchr(n->bridge, '/')) {
		err_set(e, ERR_INVALID, "bridge '%s' is not a name for an interface: at most 15 characters, none of them a slash", n->bridge);
		goto fail;
	}
	rc = file_mkdir_p(n->netns_dir, 0711);
	if (rc < 0) {
		err_errno(e, -rc, "create %s", n->netns_dir);
		goto fail;
	}
	if (rtnl_open(&n->rtnl, e) < 0 || datapath_open(n, cfg->datapath, e) < 0 || xdp_choose(n, cfg->xdp, e) < 0)
		goto fail;
	names_open(n);
	if (n->ops->holds_ranges(n->dp))
		port_table_ranges(n->ports);
	n->proxy = proxy_new(l, e);
	if (!n->proxy || network_load(n, e) < 0)
		goto fail;
	n->watch = watch_new(n, e);
	if (!n->watch)
		goto fail;
	return n;
fail:
	net_free(n);
	return NULL;
}

void net_free(struct net *n)
{
	struct network *nw;
	struct sandbox *s;
	size_t it = 0;

	if (!n)
		return;
	n->stopping = true;
	names_queries_drop(n);
	watch_free(n->watch);
	proxy_free(n->proxy);
	/* The proxy's answers to closings are in the loop's queue. */
	while (n->pending)
		(void)loop_turn(n->loop, 0);
	waiting_drop(n);
	adverts_free(n);
	reaper_free(n->reaper);
	while ((s = map_next(n->sandboxes, &it, NULL)))
		sandbox_free(s);
	map_free(n->sandboxes);
	lb_free_all(n);
	it = 0;
	while ((nw = map_next(n->networks, &it, NULL)))
		network_free(nw);
	map_free(n->networks);
	names_close(n);
	if (n->ops)
		n->ops->close(n->dp);
	rtnl_close(n->rtnl);
	port_table_free(n->ports);
	free(n->netns_dir);
	free(n->instance);
	free(n->bridge);
	free(n->bip);
	free(n->pin_dir);
	free(n->forwards6);
	free(n->defaults);
	free(n);
}

const char *net_datapath_name(const struct net *n)
{
	return n->ops->name;
}

json_t *net_info(const struct net *n)
{
	json_t *o = json_pack("{s:s}", "Datapath", n->ops->name), *more = n->ops->info(n->dp);
	struct proxy_counts c;

	if (more) {
		json_object_update(o, more);
		json_decref(more);
	}
	proxy_counts(n->proxy, &c);
	json_object_set_new(o, "Ports", json_integer((json_int_t)port_table_len(n->ports)));
	json_object_set_new(o, "Proxy",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "Connections", (json_int_t)c.tcp_now, "ConnectionsTotal",
				      (json_int_t)c.tcp_opened, "ConnectionsFailed", (json_int_t)c.tcp_failed, "Bytes", (json_int_t)c.tcp_bytes, "Flows",
				      (json_int_t)c.udp_now, "FlowsTotal", (json_int_t)c.udp_flows, "Datagrams", (json_int_t)c.udp_packets,
				      "DatagramsDropped", (json_int_t)c.udp_dropped, "Associations", (json_int_t)c.sctp_now, "AssociationsTotal",
				      (json_int_t)c.sctp_opened, "AssociationsFailed", (json_int_t)c.sctp_failed, "Messages", (json_int_t)c.sctp_messages));
	return o;
}
