/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics in Prometheus' text form (exposition format 0.0.4), on a listener of its own: no client of it may do anything else. Names beginning with
 * engine_daemon_ are dockerd's.
 */
#include "api/metrics.h"

#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/lab.h"
#include "engine/names.h"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	(void)buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void value(struct buf *b, const char *name, const char *label, const char *word, int64_t v)
{
	if (label)
		(void)buf_printf(b, "%s{%s=\"%s\"} %lld\n", name, label, word, (long long)v);
	else
		(void)buf_printf(b, "%s %lld\n", name, (long long)v);
}

static void single(struct buf *b, const char *name, const char *type, const char *help, int64_t v)
{
	head(b, name, type, help);
	value(b, name, NULL, NULL, v);
}

static void containers(struct buf *b, const json_t *info)
{
	static const struct { const char *state, *key; } states[] = {
		{ "paused", "ContainersPaused" }, { "running", "ContainersRunning" }, { "stopped", "ContainersStopped" },
	};

	head(b, "engine_daemon_container_states_containers", "gauge", "The count of containers in various states");
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		value(b, "engine_daemon_container_states_containers", "state", states[i].state, json_i64(info, states[i].key, 0));
	single(b, "engine_daemon_engine_memory_bytes", "gauge", "The number of bytes of memory that the host system of the engine has",
	       json_i64(info, "MemTotal", 0));
	single(b, "engine_daemon_engine_cpus_cpus", "gauge", "The number of cpus that the host system of the engine has", json_i64(info, "NCPU", 0));
}

static void proxy(struct buf *b, const json_t *p)
{
	single(b, "kedge_proxy_connections", "gauge", "TCP connections relayed by the engine now", json_i64(p, "Connections", 0));
	single(b, "kedge_proxy_connections_total", "counter", "TCP connections relayed by the engine", json_i64(p, "ConnectionsTotal", 0));
	single(b, "kedge_proxy_connections_failed_total", "counter", "TCP connections the container did not take", json_i64(p, "ConnectionsFailed", 0));
	single(b, "kedge_proxy_bytes_total", "counter", "Bytes of relayed TCP connections", json_i64(p, "Bytes", 0));
	single(b, "kedge_proxy_datagrams_total", "counter", "UDP datagrams relayed by the engine", json_i64(p, "Datagrams", 0));
	single(b, "kedge_proxy_datagrams_dropped_total", "counter", "UDP datagrams that could not be relayed", json_i64(p, "DatagramsDropped", 0));
	single(b, "kedge_proxy_associations", "gauge", "SCTP associations relayed by the engine now", json_i64(p, "Associations", 0));
	single(b, "kedge_proxy_associations_total", "counter", "SCTP associations relayed by the engine", json_i64(p, "AssociationsTotal", 0));
	single(b, "kedge_proxy_associations_failed_total", "counter", "SCTP associations the container did not take", json_i64(p, "AssociationsFailed", 0));
	single(b, "kedge_proxy_messages_total", "counter", "Messages of relayed SCTP associations", json_i64(p, "Messages", 0));
}

static void net(struct buf *b, const json_t *info)
{
	const char *key;
	json_t *v;

	single(b, "kedge_net_flows", "gauge", "Entries in the data path's table of flows at its last sweep, two a flow", json_i64(info, "Flows", 0));
	single(b, "kedge_net_published_ports", "gauge", "Published ports", json_i64(info, "Ports", 0));
	head(b, "kedge_net_drops_total", "counter", "Packets the data path dropped, by reason");
	json_object_foreach(json_obj(info, "Drops"), key, v)
		value(b, "kedge_net_drops_total", "reason", key, json_integer_value(v));
	head(b, "kedge_net_xdp_drops_total", "counter", "Of these, packets dropped by XDP, before the kernel made anything of them");
	json_object_foreach(json_obj(json_obj(info, "XDP"), "Drops"), key, v)
		value(b, "kedge_net_xdp_drops_total", "reason", key, json_integer_value(v));
	head(b, "kedge_net_events_total", "counter", "What the data path did, by kind");
	json_object_foreach(json_obj(info, "Counters"), key, v)
		value(b, "kedge_net_events_total", "kind", key, json_integer_value(v));
	proxy(b, json_obj(info, "Proxy"));
}

static void dns(struct buf *b, const json_t *stats)
{
	static const struct {
		const char *key, *name, *type, *help;
	} t[] = {
		{ "Servers", "kedge_dns_servers", "gauge", "Containers with a name server of ours" },
		{ "Waiting", "kedge_dns_waiting", "gauge", "Questions that wait for a server elsewhere" },
		{ "Queries", "kedge_dns_queries_total", "counter", "Questions of containers" },
		{ "Local", "kedge_dns_local_total", "counter", "Questions answered from names of containers" },
		{ "Cached", "kedge_dns_cached_total", "counter", "Questions answered from the cache" },
		{ "Stale", "kedge_dns_stale_total", "counter", "Questions answered with what was known before the servers fell silent" },
		{ "Forwarded", "kedge_dns_forwarded_total", "counter", "Questions asked elsewhere" },
		{ "Failed", "kedge_dns_failed_total", "counter", "Questions nobody answered" },
		{ "Malformed", "kedge_dns_malformed_total", "counter", "Packets that were no questions" },
		{ "Dropped", "kedge_dns_dropped_total", "counter", "Questions left unanswered because too many waited" },
	};
	const json_t *cache = json_obj(stats, "Cache");

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		single(b, t[i].name, t[i].type, t[i].help, json_i64(stats, t[i].key, 0));
	single(b, "kedge_dns_cache_entries", "gauge", "Answers in the cache", json_i64(cache, "Entries", 0));
	single(b, "kedge_dns_cache_bytes", "gauge", "Memory they take", json_i64(cache, "Bytes", 0));
}

void api_metrics_handle(struct http_req *r, void *user)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	struct engine *en = user;
	json_t *doc;

	if (!str_eq(http_req_path(r), "/metrics")) {
		http_reply(r, 404, "text/plain; charset=utf-8", "404 page not found\n", 19);
		return;
	}
	if (!str_eq(http_req_method(r), "GET") && !str_eq(http_req_method(r), "HEAD")) {
		http_reply(r, 405, "text/plain; charset=utf-8", "405 method not allowed\n", 23);
		return;
	}
	doc = engine_info(en);
	containers(&b, doc);
	json_decref(doc);
	doc = engine_net_info(en);
	net(&b, doc);
	json_decref(doc);
	doc = engine_dns_stats(en);
	dns(&b, doc);
	json_decref(doc);
	http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
}
