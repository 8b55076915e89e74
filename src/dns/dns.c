/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the module, what is told of it: counters, the log of queries. */
#include <config.h>

#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/dns_priv.h"

enum { CACHE_BYTES = 8 << 20 };

struct dns_watch {
	struct dns_watch *next, **prev;
	void (*fn)(void *user, const struct dns_event *ev);
	void *user;
};

static char *const no_servers[] = { NULL };

char *const *dns_host_servers(const struct dns *d)
{
	return d->hostconf ? hostconf_servers(d->hostconf) : no_servers;
}

/* A line we cannot make sense of costs that server, not all of them. */
static struct dns_upstreams *host_set(struct dns *d)
{
	char *const *all = dns_host_servers(d);
	const char *good[8];
	size_t n = 0;

	for (; *all && n < N(good); all++) {
		struct err e = { 0 };
		struct dns_upstreams *one = dns_upstreams_get(d->forward, (const char *const *)all, 1, &e);

		if (one)
			good[n++] = *all;
		else
			log_warn("dns", "%s, ignoring it", e.msg);
		dns_upstreams_unref(d->forward, one);
	}
	return dns_upstreams_get(d->forward, good, n, NULL);
}

static void on_host_change(void *user)
{
	struct dns *d = user;
	struct dns_upstreams *set = host_set(d);

	dns_upstreams_unref(d->forward, d->host);
	d->host = set;
	for (struct dns_server *s = d->servers; s; s = s->next)
		server_usable_reset(s);
	if (d->host_changed)
		d->host_changed(d->host_changed_user);
}

void dns_on_host_change(struct dns *d, void (*fn)(void *user), void *user)
{
	d->host_changed = fn;
	d->host_changed_user = user;
}

struct dns *dns_new(struct loop *l, const struct dns_config *cfg, struct err *e)
{
	struct dns *d = mem_zalloc(sizeof(*d));

	d->l = l;
	d->cache_bytes = cfg->cache_bytes ? cfg->cache_bytes : CACHE_BYTES;
	d->cache = dns_cache_new(d->cache_bytes);
	d->transport = dns_transport_new(l, d->cache, e);
	if (!d->transport) {
		dns_cache_free(d->cache);
		free(d);
		return NULL;
	}
	d->forward = dns_transport_forward(d->transport);
	d->conns = conns_new(d);
	if (cfg->resolv_conf)
		d->hostconf = hostconf_new(l, cfg->resolv_conf, on_host_change, d);
	d->host = host_set(d);
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	while (d->watches)
		dns_watch_free(d->watches);
	hostconf_free(d->hostconf);
	conns_free(d->conns);
	dns_upstreams_unref(d->forward, d->host);
	dns_transport_free(d->transport);
	dns_cache_free(d->cache);
	udp_buffers_free(d);
	free(d);
}

void dns_cache_clear(struct dns *d)
{
	dns_cache_flush(d->cache);
}

const char *dns_source_text(enum dns_source s)
{
	static const char *const names[] = { "local", "cache", "stale", "upstream", "none" };

	static_assert(N(names) == DNS_SOURCE_COUNT, "a word for each");
	return names[s];
}

struct dns_watch *dns_watch(struct dns *d, void (*fn)(void *user, const struct dns_event *ev), void *user)
{
	struct dns_watch *w = mem_alloc(sizeof(*w));

	*w = (struct dns_watch){ .next = d->watches, .prev = &d->watches, .fn = fn, .user = user };
	if (w->next)
		w->next->prev = &w->next;
	d->watches = w;
	return w;
}

void dns_watch_free(struct dns_watch *w)
{
	if (!w)
		return;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	free(w);
}

void watch_tell(struct dns *d, const struct dns_event *ev)
{
	for (struct dns_watch *w = d->watches, *next; w; w = next) {
		next = w->next;
		w->fn(w->user, ev);
	}
}

static json_t *upstreams_json(const struct dns *d)
{
	json_t *list = json_array();

	for (const struct dns_upstreams *s = dns_forward_sets(d->forward); s; s = s->next)
		for (size_t i = 0; i < s->n; i++) {
			const struct dns_upstream *u = &s->servers[i];

			json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:b}", "Address", u->text, "Sent", (json_int_t)u->sent, "Answered",
							      (json_int_t)u->answered, "Down", u->down));
		}
	return list;
}

json_t *dns_stats(const struct dns *d)
{
	const struct counters *c = &d->stats;
	struct dns_forward_stats f;
	json_int_t servers = 0;

	for (const struct dns_server *s = d->servers; s; s = s->next)
		servers += s->udp_fd >= 0;
	dns_forward_stats(d->forward, &f);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I},"
			 " s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o}",
			 "Servers", servers, "Queries", (json_int_t)c->queries, "Local", (json_int_t)c->local, "Cached", (json_int_t)c->cached, "Stale",
			 (json_int_t)c->stale, "Forwarded", (json_int_t)c->forwarded, "Failed", (json_int_t)c->failed, "Malformed", (json_int_t)c->malformed,
			 "Dropped", (json_int_t)c->dropped, "Truncated", (json_int_t)c->truncated, "TCP", (json_int_t)c->tcp, "Waiting",
			 (json_int_t)d->n_pending, "Cache", "Entries", (json_int_t)dns_cache_len(d->cache), "Bytes", (json_int_t)dns_cache_bytes(d->cache),
			 "MaxBytes", (json_int_t)d->cache_bytes, "Forwarder", "InFlight", (json_int_t)f.in_flight, "Flights", (json_int_t)f.flights, "Joined",
			 (json_int_t)f.joined, "Sent", (json_int_t)f.sent, "TCP", (json_int_t)f.tcp, "Answered", (json_int_t)f.answered, "Failed",
			 (json_int_t)f.failed, "Raced", (json_int_t)f.raced, "Unmatched", (json_int_t)f.unmatched, "Mismatched", (json_int_t)f.mismatched,
			 "Malformed", (json_int_t)f.malformed, "Full", (json_int_t)f.full, "Upstreams", upstreams_json(d));
}
