/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a question:
 *
 *   malformed?          FORMERR, NOTIMP, BADVERS; what is not even a question is dropped
 *   a name of ours?     its records; NODATA when the type is missing: never sent on, never NXDOMAIN
 *   cached?             with what is left of its time
 *   no way out?         SERVFAIL ("prohibited", RFC 8914): a network without one stays without one
 *   otherwise           to the forwarder; what is stale answers after DNS_LATE, or when nobody does
 *
 * The question section of every answer is the asker's own, case kept. OPT is between two neighbours only (RFC 6891 6.1.1): ours says our size and
 * hands on the options of the answer, such as the extended errors of RFC 8914; AD is for those who asked for it (RFC 6840 5.8).
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dns/dns_priv.h"

/* RFC 8914 */
enum { EDE_STALE = 3, EDE_PROHIBITED = 18, EDE_NO_REACHABLE = 22, EDE_NOT_SUPPORTED = 21 };

struct pending {
	struct dns_ask ask;
	struct pending *next, **prev;
	struct asker who;
	int64_t since;
	uint16_t n, udp_size;
	bool edns, dnssec_ok;
	uint8_t msg[];			/* header and question as they came */
};

static size_t ede(uint8_t *out, unsigned code)
{
	dns_put16(out, 15);
	dns_put16(out + 2, 2);
	dns_put16(out + 4, code);
	return 6;
}

static size_t limit_of(const struct asker *who, const struct dns_query *q, size_t cap)
{
	size_t limit = who->proto == PROTO_UDP ? q->udp_size : DNS_MSG_MAX;

	return limit < cap ? limit : cap;
}

/* Room for OPT is kept from the start. */
static void begin(struct dns_writer *w, const struct dns_query *q, const uint8_t *msg, uint8_t *out, size_t limit, unsigned flags, size_t n_options)
{
	dns_write_reply(w, out, limit - (q->edns ? dns_opt_size(n_options) : 0), msg, q, flags);
}

static size_t end(const struct asker *who, struct dns_writer *w, const struct dns_query *q, size_t limit, bool keep, unsigned rcode, const uint8_t *options,
		  size_t n_options)
{
	if (w->full)
		who->server->dns->stats.truncated++;
	dns_write_settle(w, q->end, keep, limit);
	if (q->edns)
		dns_write_opt(w, UDP_ANSWER_MAX, rcode, q->dnssec_ok, options, n_options);
	return dns_write_end(w);
}

static size_t say(const struct asker *who, const struct dns_query *q, const uint8_t *msg, uint8_t *out, size_t cap, unsigned rcode, unsigned why)
{
	size_t limit = limit_of(who, q, cap), n = 0;
	uint8_t options[6];
	struct dns_writer w;

	if (why)
		n = ede(options, why);
	begin(&w, q, msg, out, limit, DNS_RA | (rcode & DNS_RCODE), n);
	return end(who, &w, q, limit, false, rcode, options, n);
}

/* Header bits of somebody else's answer that are for this asker. */
static unsigned passed_on(const struct dns_query *q, uint16_t flags, uint16_t rcode)
{
	return DNS_RA | (rcode & DNS_RCODE) | (flags & (q->flags & DNS_AD || q->dnssec_ok ? DNS_AD : 0));
}

static size_t say_cached(const struct asker *who, const struct dns_query *q, const uint8_t *msg, uint8_t *out, size_t cap, const struct dns_cached *c)
{
	size_t limit = limit_of(who, q, cap), n = c->n_options;
	const uint8_t *options = c->options;
	struct dns_writer w;
	uint8_t stale[6];

	if (c->stale || c->failure) {
		n = ede(stale, c->stale ? EDE_STALE : EDE_NO_REACHABLE);
		options = stale;
	}
	begin(&w, q, msg, out, limit, passed_on(q, c->flags, c->rcode), n);
	dns_cached_write(c, &w);
	return end(who, &w, q, limit, false, c->rcode, options, n);
}

static size_t say_upstream(const struct asker *who, const struct dns_query *q, const uint8_t *msg, uint8_t *out, size_t cap, const struct dns_result *r)
{
	const struct dns_answer *a = r->answer;
	size_t limit = limit_of(who, q, cap);
	struct dns_writer w;

	/* TC is left: the server's own TCP did not work. */
	begin(&w, q, msg, out, limit, passed_on(q, a->flags, a->rcode) | (a->flags & DNS_TC), a->opt_len);
	dns_write_records(&w, r->msg + a->body, a->end - a->body, a->counts);
	return end(who, &w, q, limit, false, a->rcode, r->msg + a->opt, a->opt_len);
}

static void tell(const struct asker *who, const struct dns_query *q, unsigned rcode, enum dns_source source, const char *from, int64_t since)
{
	static const char *const protos[] = { "udp", "tcp", "api" };
	struct dns *d = who->server->dns;

	if (!d->watches)
		return;
	watch_tell(d, &(struct dns_event){ .label = who->server->label, .proto = protos[who->proto], .name = &q->name, .type = q->type, .rcode = (uint16_t)rcode,
					   .source = source, .from = from, .took_ns = clock_now() - since });
}

/* ---- names of ours ---- */

static const struct dns_name *real_name(const struct dns_server *s, const struct dns_name *n)
{
	for (size_t i = 0; i < s->n_aliases; i++)
		if (dns_name_eq(&s->aliases[i].name, n))
			return &s->aliases[i].target;
	return n;
}

static size_t local(const struct asker *who, const struct dns_query *q, const uint8_t *msg, uint8_t *out, size_t cap, unsigned *rcode)
{
	size_t limit = limit_of(who, q, cap);
	const struct dns_server *s = who->server;
	struct dns_writer w;
	enum dns_found found;

	if (q->cls != DNS_IN || !s->n_views)
		return 0;
	begin(&w, q, msg, out, limit, DNS_AA | DNS_RA, 0);
	found = dns_zone_answer(s->views, s->n_views, real_name(s, &q->name), q->type, &w);
	if (found == DNS_FOUND_NOT)
		return 0;
	*rcode = DNS_NOERROR;
	if (found == DNS_FOUND_NONE) {
		*rcode = DNS_NXDOMAIN;
		out[3] |= DNS_NXDOMAIN;
	}
	return end(who, &w, q, limit, true, *rcode, NULL, 0);
}

/* ---- names of others ---- */

void server_usable_reset(struct dns_server *s)
{
	dns_upstreams_unref(s->dns->forward, TAKE(s->usable));
}

/* A name server that is the asker itself, as a resolver in a container that has itself in its resolv.conf, would be asked in a circle. */
static struct dns_upstreams *usable(struct dns_server *s)
{
	struct dns_upstreams *all = s->upstreams ? s->upstreams : s->dns->host;

	if (!s->usable)
		s->usable = dns_upstreams_has(all, s->own, s->n_own) ? dns_upstreams_without(s->dns->forward, all, s->own, s->n_own) :
								       dns_upstreams_ref(all);
	return s->usable;
}

static void key_of(const struct dns_query *q, const struct dns_upstreams *set, struct dns_key *k)
{
	k->scope = set->id;
	k->type = q->type;
	k->cls = q->cls;
	k->flags = q->flags & (DNS_RD | DNS_CD);
	k->dnssec_ok = q->dnssec_ok;
	k->name.len = q->name.len;
	memcpy(k->name.w, q->name.w, q->name.len);
}

static void pending_free(struct pending *p)
{
	dns_forward_cancel(&p->ask);
	*p->prev = p->next;
	if (p->next)
		p->next->prev = p->prev;
	p->who.server->n_pending--;
	p->who.server->dns->n_pending--;
	free(p);
}

void pending_drop(struct pending **list)
{
	while (*list)
		pending_free(*list);
}

static void reply(const struct asker *who, const uint8_t *msg, size_t n)
{
	switch (who->proto) {
	case PROTO_UDP:
		udp_reply(who->server, &who->from, msg, n);
		break;
	case PROTO_TCP:
		conn_reply(who->conn, msg, n);
		break;
	case PROTO_API:
		lookup_reply(who->lookup, msg, n);
		break;
	}
}

static void query_of(const struct pending *p, struct dns_query *q)
{
	(void)dns_query_parse(p->msg, p->n, q);		/* it was parsed before */
	q->edns = p->edns;
	q->dnssec_ok = p->dnssec_ok;
	q->udp_size = p->udp_size;
}

static uint8_t later[DNS_MSG_MAX];	/* answers that did not come at once; loop thread */

/* Gives what is cached and too old. False: there is none. */
static bool give_stale(struct pending *p, const struct dns_query *q)
{
	struct dns_server *s = p->who.server;
	struct asker who = p->who;
	int64_t since = p->since;
	struct dns_cached c;
	struct dns_key k;
	size_t n;

	key_of(q, usable(s), &k);
	if (!dns_cache_get(s->dns->cache, &k, clock_now(), true, &c) || c.failure)
		return false;
	s->dns->stats.stale++;
	n = say_cached(&who, q, p->msg, later, sizeof(later), &c);
	pending_free(p);
	tell(&who, q, c.rcode, DNS_FROM_STALE, "", since);
	reply(&who, later, n);
	return true;
}

static void on_late(struct dns_ask *a)
{
	struct pending *p = CONTAINER_OF(a, struct pending, ask);
	struct dns_query q;

	query_of(p, &q);
	(void)give_stale(p, &q);
}

static void on_done(struct dns_ask *a, const struct dns_result *r)
{
	struct pending *p = CONTAINER_OF(a, struct pending, ask);
	bool refused = !r->msg || (r->answer->rcode != DNS_NOERROR && r->answer->rcode != DNS_NXDOMAIN);
	struct dns *d = p->who.server->dns;
	struct asker who = p->who;
	int64_t since = p->since;
	struct dns_query q;
	size_t n;

	query_of(p, &q);
	if (refused && give_stale(p, &q))
		return;
	if (refused)
		d->stats.failed++;
	n = r->msg ? say_upstream(&who, &q, p->msg, later, sizeof(later), r) :
		     say(&who, &q, p->msg, later, sizeof(later), DNS_SERVFAIL, EDE_NO_REACHABLE);
	pending_free(p);
	tell(&who, &q, r->msg ? r->answer->rcode : DNS_SERVFAIL, r->msg ? DNS_FROM_UPSTREAM : DNS_FROM_NOBODY, r->from, since);
	reply(&who, later, n);
}

/* 0: it waits. */
static unsigned forward(const struct asker *who, struct pending **list, const struct dns_query *q, const uint8_t *msg, struct dns_upstreams *set,
			const struct dns_key *k, int64_t now)
{
	struct dns_server *s = who->server;
	struct pending *p;

	if (s->n_pending >= PENDING_SERVER_MAX || s->dns->n_pending >= PENDING_MAX)
		return EDE_NO_REACHABLE;
	p = mem_zalloc(sizeof(*p) + q->end);
	p->ask.done = on_done;
	p->ask.late = on_late;
	p->who = *who;
	p->since = now;
	p->n = q->end;
	p->edns = q->edns;
	p->dnssec_ok = q->dnssec_ok;
	p->udp_size = q->udp_size;
	memcpy(p->msg, msg, q->end);
	memset(p->msg + 6, 0, 6);
	if (dns_forward_ask(s->dns->forward, set, k, &p->ask) < 0) {
		free(p);
		return EDE_NO_REACHABLE;
	}
	p->next = *list;
	p->prev = list;
	if (p->next)
		p->next->prev = &p->next;
	*list = p;
	s->n_pending++;
	s->dns->n_pending++;
	return 0;
}

size_t resolve(const struct asker *who, struct pending **pending, const uint8_t *msg, size_t n, uint8_t *out, size_t cap, int64_t now)
{
	struct dns_server *s = who->server;
	struct counters *stats = &s->dns->stats;
	struct dns_upstreams *set;
	struct dns_cached cached;
	unsigned rcode, why;
	struct dns_query q;
	struct dns_key k;
	int rc = dns_query_parse(msg, n, &q);
	size_t len;

	stats->queries++;
	if (rc) {
		stats->malformed++;
		return rc < 0 ? 0 : say(who, &q, msg, out, cap, (unsigned)rc, 0);
	}
	len = local(who, &q, msg, out, cap, &rcode);
	if (len) {
		stats->local++;
		tell(who, &q, rcode, DNS_FROM_LOCAL, "", now);
		return len;
	}
	/* A zone transfer is a matter between servers of that zone. */
	if (q.type == DNS_AXFR || q.type == DNS_IXFR)
		return say(who, &q, msg, out, cap, DNS_NOTIMP, EDE_NOT_SUPPORTED);
	if (!s->forwarding) {
		stats->failed++;
		tell(who, &q, DNS_SERVFAIL, DNS_FROM_NOBODY, "", now);
		return say(who, &q, msg, out, cap, DNS_SERVFAIL, EDE_PROHIBITED);
	}
	set = usable(s);
	key_of(&q, set, &k);
	if (dns_cache_get(s->dns->cache, &k, now, false, &cached)) {
		if (cached.stale)
			stats->stale++;
		else
			stats->cached++;
		tell(who, &q, cached.rcode, cached.stale ? DNS_FROM_STALE : DNS_FROM_CACHE, "", now);
		return say_cached(who, &q, msg, out, cap, &cached);
	}
	why = forward(who, pending, &q, msg, set, &k, now);
	if (!why) {
		stats->forwarded++;
		return 0;
	}
	stats->failed++;
	tell(who, &q, DNS_SERVFAIL, DNS_FROM_NOBODY, "", now);
	return say(who, &q, msg, out, cap, DNS_SERVFAIL, why);
}
