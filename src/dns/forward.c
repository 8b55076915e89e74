/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A flight is one question to one set of servers. Who asks the same while it is under way joins it. It sends attempts:
 *
 *   0 ms     the first server that is not down; a down one whose time has come gets the same question as a flight of its own, which nobody waits for
 *   300 ms   the next server as well, then the one after it ... (DNS_RACE: below it two healthy servers would both be asked all the time,
 *            above it the first server's death would be felt: 300 ms + an answer stays below 600)
 *   1.2 s    after the last of a pass, all over again: datagrams are lost (DNS_PASS)
 *   1.8 s    askers whose answer is in the cache, too old, get that (RFC 8767)
 *   4.5 s    the end: SERVFAIL. A stub resolver gives up after 5 s and asks again; it should hear something before (DNS_END)
 *
 * Each kind of delay is a constant, so each kind of deadline is a queue in order by itself: no heap, and nothing is searched with 100,000 flights.
 *
 * The first answer that counts ends the flight. What counts: it came on the socket that the question left by (connected, so from the server's
 * address), with the attempt's id, and repeats the question. Everything else is counted and ignored: a liar must not end a wait. SERVFAIL, REFUSED and
 * the like make the next server's turn come at once; when all have said so, the last word is passed on. TC means: the same by TCP. FORMERR or
 * NOTIMP to a question with EDNS means a server of before 1999: it is asked without from then on.
 *
 * Limits: DNS_FLIGHTS_MAX flights of about 350 bytes; DNS_ATTEMPTS_MAX datagrams a flight. Ids are random, 16 bits, unique per socket; ports are
 * the transport's matter.
 */
#include <config.h>

#include "dns/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

struct link {
	struct link *next, *prev;
	int64_t at;
};

struct dns_attempt {
	struct dns_attempt *next_id;		/* in the bucket of (slot, id) */
	struct dns_attempt *next, **prev;	/* in the slot, or among those by TCP */
	struct dns_attempt *next_mine;		/* in the flight */
	struct dns_flight *flight;
	struct dns_slot *slot;			/* NULL: over TCP, or over */
	uint64_t token;				/* TCP; 0: none */
	uint16_t id;
	uint16_t server;
	bool edns, failed;
};

struct dns_flight {
	struct dns_flight *next;		/* in the bucket */
	struct dns_forward *f;
	struct dns_upstreams *set;
	uint64_t hash;
	struct link step, late, end;
	struct dns_ask *asks;
	struct dns_attempt *attempts;
	uint8_t *failure;			/* the last refusal, for when nobody does better */
	size_t failure_len;
	const char *failure_from;
	unsigned n_attempts;
	uint8_t asked;				/* servers asked in this pass, a bit each */
	bool probe;				/* to see whether a server is back: asks that one only, and is not kept */
	struct dns_key key;			/* last: the name's tail is not allocated */
};

enum { QUEUE_RACE, QUEUE_PASS, QUEUE_LATE, QUEUE_END, QUEUE_COUNT };

struct dns_forward {
	struct dns_forward_ops ops;
	struct dns_cache *cache;
	struct dns_upstreams *sets;
	uint32_t next_set;
	struct dns_flight **flights;
	size_t n_buckets, n_flights;
	struct dns_attempt **ids;
	size_t n_id_buckets, n_ids;
	struct dns_attempt *tcp;
	struct link queues[QUEUE_COUNT];
	uint64_t next_token;
	int64_t armed;
	struct dns_forward_stats stats;
};

/* ---- queues ---- */

static void link_del(struct link *l)
{
	if (!l->next)
		return;
	l->next->prev = l->prev;
	l->prev->next = l->next;
	l->next = l->prev = NULL;
}

static void link_add(struct dns_forward *f, unsigned queue, struct link *l, int64_t at)
{
	struct link *head = &f->queues[queue];

	link_del(l);
	l->at = at;
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
	if (at < f->armed) {
		f->armed = at;
		f->ops.wake(f->ops.user, at);
	}
}

/* ---- attempts by (slot, id) ---- */

static struct dns_attempt **id_slot(const struct dns_forward *f, const struct dns_slot *slot, uint16_t id)
{
	uint64_t h = ((uint64_t)slot->number << 16 | id) * 0x9e3779b97f4a7c15ull;

	return &f->ids[h >> 32 & (f->n_id_buckets - 1)];
}

static struct dns_attempt *attempt_find(const struct dns_forward *f, const struct dns_slot *slot, uint16_t id)
{
	struct dns_attempt *a = *id_slot(f, slot, id);

	while (a && (a->slot != slot || a->id != id))
		a = a->next_id;
	return a;
}

static void ids_grow(struct dns_forward *f)
{
	size_t old_n = f->n_id_buckets;
	struct dns_attempt **old = f->ids;

	f->n_id_buckets *= 2;
	f->ids = mem_zalloc(f->n_id_buckets * sizeof(*f->ids));
	for (size_t i = 0; i < old_n; i++)
		for (struct dns_attempt *a = old[i], *next; a; a = next) {
			struct dns_attempt **at = id_slot(f, a->slot, a->id);

			next = a->next_id;
			a->next_id = *at;
			*at = a;
		}
	free(old);
}

static void attempt_in(struct dns_forward *f, struct dns_attempt *a, struct dns_slot *slot)
{
	struct dns_attempt **at = id_slot(f, slot, a->id);

	a->slot = slot;
	a->next_id = *at;
	*at = a;
	a->next = slot->attempts;
	a->prev = &slot->attempts;
	if (a->next)
		a->next->prev = &a->next;
	slot->attempts = a;
	slot->n++;
	if (++f->n_ids > f->n_id_buckets)
		ids_grow(f);
}

static void attempt_out(struct dns_forward *f, struct dns_attempt *a)
{
	struct dns_attempt **at;

	if (!a->slot && !a->token)
		return;
	*a->prev = a->next;
	if (a->next)
		a->next->prev = a->prev;
	a->token = 0;
	if (!a->slot)
		return;
	for (at = id_slot(f, a->slot, a->id); *at != a; at = &(*at)->next_id)
		;
	*at = a->next_id;
	a->slot->n--;
	a->slot = NULL;
	f->n_ids--;
}

/* ---- flights ---- */

static struct dns_flight **flight_slot(const struct dns_forward *f, uint64_t hash, const struct dns_key *k)
{
	struct dns_flight **at = &f->flights[hash & (f->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || !dns_key_eq(&(*at)->key, k)))
		at = &(*at)->next;
	return at;
}

static void flights_grow(struct dns_forward *f)
{
	size_t old_n = f->n_buckets;
	struct dns_flight **old = f->flights;

	f->n_buckets *= 2;
	f->flights = mem_zalloc(f->n_buckets * sizeof(*f->flights));
	for (size_t i = 0; i < old_n; i++)
		for (struct dns_flight *fl = old[i], *next; fl; fl = next) {
			next = fl->next;
			fl->next = f->flights[fl->hash & (f->n_buckets - 1)];
			f->flights[fl->hash & (f->n_buckets - 1)] = fl;
		}
	free(old);
}

static void flight_out(struct dns_flight *fl)
{
	struct dns_forward *f = fl->f;
	struct dns_flight **at = &f->flights[fl->hash & (f->n_buckets - 1)];

	while (*at != fl)
		at = &(*at)->next;
	*at = fl->next;
	f->n_flights--;
	link_del(&fl->step);
	link_del(&fl->late);
	link_del(&fl->end);
	for (struct dns_attempt *a = fl->attempts; a; a = a->next_mine)
		attempt_out(f, a);
}

static void flight_free(struct dns_flight *fl)
{
	for (struct dns_attempt *a = fl->attempts, *next; a; a = next) {
		next = a->next_mine;
		free(a);
	}
	free(fl->failure);
	dns_upstreams_unref(fl->f, fl->set);
	free(fl);
}

static void ask_in(struct dns_ask **list, struct dns_ask *a)
{
	a->next = *list;
	a->prev = list;
	if (a->next)
		a->next->prev = &a->next;
	*list = a;
}

void dns_forward_cancel(struct dns_ask *a)
{
	if (!a->prev)
		return;
	*a->prev = a->next;
	if (a->next)
		a->next->prev = a->prev;
	a->prev = NULL;
}

/* Tells all who wait. What they ask anew meanwhile starts another flight: this one is out of the table. */
static void flight_finish(struct dns_flight *fl, const struct dns_result *r)
{
	struct dns_forward *f = fl->f;
	struct dns_ask *a;

	flight_out(fl);
	if (r->msg)
		f->stats.answered++;
	else
		f->stats.failed++;
	if (r->msg && !fl->probe)
		dns_cache_put(f->cache, &fl->key, r->msg, r->answer, clock_now());
	else if (!fl->probe)
		dns_cache_put_failure(f->cache, &fl->key, clock_now());
	while ((a = fl->asks)) {
		dns_forward_cancel(a);
		a->done(a, r);
	}
	flight_free(fl);
}

static void flight_fail(struct dns_flight *fl)
{
	uint8_t *msg = TAKE(fl->failure);
	struct dns_result r = { .from = fl->failure_from ? fl->failure_from : "" };
	struct dns_answer a;

	if (msg && dns_answer_parse(msg, fl->failure_len, &a) == 0) {
		r.msg = msg;
		r.answer = &a;
	}
	flight_finish(fl, &r);
	free(msg);
}

static bool waits(const struct dns_flight *fl)
{
	for (const struct dns_attempt *a = fl->attempts; a; a = a->next_mine)
		if (!a->failed)
			return true;
	return false;
}

static size_t question(const struct dns_flight *fl, const struct dns_upstream *u, uint16_t id, uint8_t *out, size_t cap)
{
	struct dns_writer w;

	/* AD asks for the bit to be told us (RFC 6840 5.7); who did not ask for it does not get it. */
	dns_write_query(&w, out, cap, id, fl->key.flags | DNS_AD, &fl->key.name, fl->key.type, fl->key.cls);
	if (!u->no_edns)
		dns_write_opt(&w, DNS_EDNS_SIZE, 0, fl->key.dnssec_ok, NULL, 0);
	return dns_write_end(&w);
}

/* One datagram. False: it did not leave. */
static bool send_to(struct dns_flight *fl, unsigned server)
{
	struct dns_forward *f = fl->f;
	struct dns_upstream *u = &fl->set->servers[server];
	uint8_t msg[DNS_HEADER + DNS_NAME_MAX + 16];
	struct dns_slot *slot = NULL;
	struct dns_attempt *a;
	size_t n;

	if (fl->n_attempts >= DNS_ATTEMPTS_MAX)
		return false;
	a = mem_zalloc(sizeof(*a));
	a->flight = fl;
	a->server = (uint16_t)server;
	a->edns = !u->no_edns;
	a->id = (uint16_t)rand_u32();
	n = question(fl, u, a->id, msg, sizeof(msg));
	a->next_mine = fl->attempts;
	fl->attempts = a;
	fl->n_attempts++;
	f->stats.sent++;
	u->sent++;
	if (f->ops.send(f->ops.user, u, msg, n, &slot) < 0) {
		a->failed = true;
		return false;
	}
	/* The same id twice on one socket: rare, and this attempt is given up for it. */
	if (attempt_find(f, slot, a->id)) {
		a->failed = true;
		return true;
	}
	attempt_in(f, a, slot);
	return true;
}

/* Servers in order, those that are down last. */
static unsigned server_at(const struct dns_upstreams *s, unsigned turn)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < s->n; i++)
			if (s->servers[i].down == (pass == 1) && turn-- == 0)
				return i;
	return 0;
}

/* Asks the next server of this pass; false: the pass is through. */
static bool next_server(struct dns_flight *fl)
{
	size_t n = fl->set->n;

	for (unsigned i = 0; i < n; i++) {
		unsigned server = server_at(fl->set, i);

		if (fl->asked & 1u << server)
			continue;
		fl->asked |= (uint8_t)(1u << server);
		if (send_to(fl, server)) {
			bool more = fl->asked != (1u << n) - 1;

			link_add(fl->f, more ? QUEUE_RACE : QUEUE_PASS, &fl->step, clock_now() + (more ? DNS_RACE : DNS_PASS));
			return true;
		}
	}
	if (!fl->step.next)
		link_add(fl->f, QUEUE_PASS, &fl->step, clock_now() + DNS_PASS);
	return false;
}

static struct dns_flight *flight_new(struct dns_forward *f, struct dns_upstreams *s, const struct dns_key *k)
{
	struct dns_flight *fl = mem_zalloc(offsetof(struct dns_flight, key.name.w) + k->name.len), **at;

	fl->f = f;
	fl->set = dns_upstreams_ref(s);
	fl->hash = dns_key_hash(k);
	memcpy(&fl->key, k, offsetof(struct dns_key, name.w) + k->name.len);
	if (++f->n_flights > f->n_buckets)
		flights_grow(f);
	at = &f->flights[fl->hash & (f->n_buckets - 1)];
	fl->next = *at;
	*at = fl;
	f->stats.flights++;
	link_add(f, QUEUE_END, &fl->end, clock_now() + DNS_END);
	return fl;
}

/* A server that is down gets one question now and then. */
static void probe(struct dns_forward *f, struct dns_upstreams *s, const struct dns_key *k, int64_t now)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct dns_upstream *u = &s->servers[i];
		struct dns_key other = { .scope = k->scope ^ 0x80000000u, .type = k->type, .cls = k->cls, .flags = k->flags, .dnssec_ok = k->dnssec_ok };
		struct dns_flight *fl;

		if (!u->down || now < u->probe_at)
			continue;
		u->probe_at = now + DNS_PROBE;
		other.name.len = k->name.len;
		memcpy(other.name.w, k->name.w, k->name.len);
		fl = flight_new(f, s, &other);
		fl->probe = true;
		(void)send_to(fl, i);
		return;
	}
}

static void missed(struct dns_upstream *u)
{
	if (++u->missed < DNS_DOWN_AFTER || u->down)
		return;
	u->down = true;
	u->probe_at = clock_now() + DNS_PROBE;
	log_info("dns", "the server %s does not answer: others come first", u->text);
}

int dns_forward_ask(struct dns_forward *f, struct dns_upstreams *s, const struct dns_key *k, struct dns_ask *a)
{
	uint64_t hash = dns_key_hash(k);
	struct dns_flight *fl = *flight_slot(f, hash, k);

	if (!fl) {
		if (!s->n)
			return -ENETUNREACH;
		if (f->n_flights >= DNS_FLIGHTS_MAX) {
			f->stats.full++;
			return -EAGAIN;
		}
		fl = flight_new(f, s, k);
		if (a->late)
			link_add(f, QUEUE_LATE, &fl->late, clock_now() + DNS_LATE);
		(void)next_server(fl);
		probe(f, s, k, clock_now());
	} else {
		f->stats.joined++;
	}
	ask_in(&fl->asks, a);
	return 0;
}

/* ---- what comes back ---- */

static bool refuses(const struct dns_answer *a)
{
	return a->rcode != DNS_NOERROR && a->rcode != DNS_NXDOMAIN;
}

static void attempt_failed(struct dns_attempt *a)
{
	struct dns_flight *fl = a->flight;

	attempt_out(fl->f, a);
	a->failed = true;
	if (fl->probe) {
		flight_fail(fl);
		return;
	}
	if (next_server(fl) || waits(fl))
		return;
	/* All have said no. Without a word from anybody there is another pass, while datagrams are left. */
	if (fl->failure || fl->n_attempts >= DNS_ATTEMPTS_MAX || fl->n_attempts >= 2 * fl->set->n)
		flight_fail(fl);
}

static void keep_failure(struct dns_flight *fl, const uint8_t *msg, size_t n, const struct dns_upstream *u)
{
	free(fl->failure);
	fl->failure = mem_alloc(n);
	memcpy(fl->failure, msg, n);
	fl->failure_len = n;
	fl->failure_from = u->text;
}

static void again_without_edns(struct dns_attempt *a)
{
	struct dns_flight *fl = a->flight;
	struct dns_upstream *u = &fl->set->servers[a->server];

	u->no_edns = true;
	log_debug("dns", "the server %s does not know EDNS, going on without", u->text);
	attempt_out(fl->f, a);
	a->failed = true;
	if (!send_to(fl, a->server))
		attempt_failed(a);
}

static void by_tcp(struct dns_attempt *a, const uint8_t *msg, size_t n)
{
	struct dns_flight *fl = a->flight;
	struct dns_forward *f = fl->f;
	struct dns_upstream *u = &fl->set->servers[a->server];
	uint8_t q[DNS_HEADER + DNS_NAME_MAX + 16];

	keep_failure(fl, msg, n, u);
	attempt_out(f, a);
	a->token = ++f->next_token;
	a->next = f->tcp;
	a->prev = &f->tcp;
	if (a->next)
		a->next->prev = &a->next;
	f->tcp = a;
	f->stats.tcp++;
	/* No race on the way: the others would say the same. */
	link_add(f, QUEUE_PASS, &fl->step, clock_now() + DNS_PASS);
	if (f->ops.tcp(f->ops.user, u, q, question(fl, u, a->id, q, sizeof(q)), a->token) < 0)
		attempt_failed(a);
}

static bool is_mine(const struct dns_flight *fl, const struct dns_answer *a)
{
	return a->type == fl->key.type && a->cls == fl->key.cls && a->name.len == fl->key.name.len &&
	       memcmp(a->name.w, fl->key.name.w, a->name.len) == 0;
}

static void take(struct dns_attempt *a, const uint8_t *msg, size_t n, const struct dns_answer *ans, bool tcp)
{
	struct dns_flight *fl = a->flight;
	struct dns_upstream *u = &fl->set->servers[a->server];
	struct dns_result r = { .msg = msg, .answer = ans, .from = u->text };

	u->missed = 0;
	u->answered++;
	if (u->down)
		log_info("dns", "the server %s answers again", u->text);
	u->down = false;
	if ((ans->rcode == DNS_FORMERR || ans->rcode == DNS_NOTIMP) && a->edns && !ans->opt && !tcp) {
		again_without_edns(a);
	} else if (refuses(ans)) {
		keep_failure(fl, msg, n, u);
		attempt_failed(a);
	} else if (ans->flags & DNS_TC && !tcp && !fl->probe) {
		by_tcp(a, msg, n);
	} else {
		if (a != fl->attempts || a->next_mine)
			fl->f->stats.raced++;
		flight_finish(fl, &r);
	}
}

/* Header only: what some servers send when they do not like the question. It ends nothing, it only lets others have their turn. */
static bool bare_refusal(const uint8_t *msg, size_t n)
{
	return n >= DNS_HEADER && dns_get16(msg + 2) & DNS_QR && dns_get16(msg + 4) == 0 && dns_get16(msg + 2) & DNS_RCODE &&
	       (dns_get16(msg + 2) & DNS_RCODE) != DNS_NXDOMAIN;
}

void dns_forward_receive(struct dns_forward *f, struct dns_slot *slot, const uint8_t *msg, size_t n)
{
	struct dns_attempt *a = n >= 2 ? attempt_find(f, slot, dns_get16(msg)) : NULL;
	struct dns_answer ans;

	if (!a) {
		f->stats.unmatched++;
		return;
	}
	if (bare_refusal(msg, n)) {
		unsigned rcode = dns_get16(msg + 2) & DNS_RCODE;

		if ((rcode == DNS_FORMERR || rcode == DNS_NOTIMP) && a->edns)
			again_without_edns(a);
		else
			attempt_failed(a);
		return;
	}
	if (dns_answer_parse(msg, n, &ans) < 0) {
		f->stats.malformed++;
		return;
	}
	if (!is_mine(a->flight, &ans)) {
		f->stats.mismatched++;
		return;
	}
	take(a, msg, n, &ans, false);
}

void dns_forward_refused(struct dns_forward *f, struct dns_slot *slot)
{
	/* What is asked anew goes to the slot's list, not to this one. */
	struct dns_attempt *list = TAKE(slot->attempts);

	(void)f;
	if (list)
		list->prev = &list;
	while (list) {
		missed(&list->flight->set->servers[list->server]);
		attempt_failed(list);
	}
}

void dns_forward_slot_gone(struct dns_forward *f, struct dns_slot *slot)
{
	while (slot->attempts) {
		struct dns_attempt *a = slot->attempts;

		attempt_out(f, a);
		a->failed = true;
	}
}

void dns_forward_tcp_done(struct dns_forward *f, uint64_t token, const uint8_t *msg, size_t n)
{
	struct dns_attempt *a = f->tcp;
	struct dns_answer ans;

	while (a && a->token != token)
		a = a->next;
	if (!a)
		return;		/* its flight is over */
	if (msg && dns_answer_parse(msg, n, &ans) == 0 && is_mine(a->flight, &ans) && ans.id == a->id) {
		take(a, msg, n, &ans, true);
		return;
	}
	if (msg)
		f->stats.malformed++;
	attempt_failed(a);
}

/* ---- time ---- */

static void on_step(struct dns_flight *fl)
{
	struct dns_attempt *last = fl->attempts;

	link_del(&fl->step);
	if (last && !last->failed && !last->token)
		missed(&fl->set->servers[last->server]);
	if (fl->asked == (1u << fl->set->n) - 1)
		fl->asked = 0;
	if (fl->n_attempts < DNS_ATTEMPTS_MAX)
		(void)next_server(fl);
}

static void on_late(struct dns_flight *fl)
{
	link_del(&fl->late);
	for (struct dns_ask *a = fl->asks, *next; a; a = next) {
		next = a->next;
		if (a->late)
			a->late(a);
	}
}

void dns_forward_run(struct dns_forward *f)
{
	int64_t now = clock_now(), next = INT64_MAX;
	unsigned budget = 512;		/* then the loop's others have their turn */

	f->armed = INT64_MIN;		/* no wake calls on the way */
	for (unsigned q = 0; q < QUEUE_COUNT; q++) {
		struct link *head = &f->queues[q];

		while (head->next != head && head->next->at <= now && budget) {
			struct link *l = head->next;

			budget--;
			if (q == QUEUE_END)
				flight_fail(CONTAINER_OF(l, struct dns_flight, end));
			else if (q == QUEUE_LATE)
				on_late(CONTAINER_OF(l, struct dns_flight, late));
			else
				on_step(CONTAINER_OF(l, struct dns_flight, step));
		}
		if (head->next != head && head->next->at < next)
			next = head->next->at;
	}
	/* A later queue's work may have put something into an earlier one. */
	for (unsigned q = 0; q < QUEUE_COUNT; q++)
		if (f->queues[q].next != &f->queues[q] && f->queues[q].next->at < next)
			next = f->queues[q].next->at;
	f->armed = next;
	f->ops.wake(f->ops.user, next);
}

/* ---- life ---- */

struct dns_forward *dns_forward_new(const struct dns_forward_ops *ops, struct dns_cache *cache)
{
	struct dns_forward *f = mem_zalloc(sizeof(*f));

	f->ops = *ops;
	f->cache = cache;
	f->n_buckets = f->n_id_buckets = 64;
	f->flights = mem_zalloc(f->n_buckets * sizeof(*f->flights));
	f->ids = mem_zalloc(f->n_id_buckets * sizeof(*f->ids));
	f->armed = INT64_MAX;
	for (unsigned q = 0; q < QUEUE_COUNT; q++)
		f->queues[q].next = f->queues[q].prev = &f->queues[q];
	return f;
}

void dns_forward_free(struct dns_forward *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_buckets; i++)
		while (f->flights[i]) {
			struct dns_flight *fl = f->flights[i];

			while (fl->asks)
				dns_forward_cancel(fl->asks);
			flight_out(fl);
			flight_free(fl);
		}
	free(f->flights);
	free(f->ids);
	free(f);
}

void dns_forward_stats(const struct dns_forward *f, struct dns_forward_stats *ret)
{
	*ret = f->stats;
	ret->in_flight = f->n_flights;
}

const struct dns_upstreams *dns_forward_sets(const struct dns_forward *f)
{
	return f->sets;
}

/* ---- sets ---- */

static int server_parse(const char *text, struct dns_upstream *u)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&u->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&u->addr;
	char host[64];
	const char *colon, *port = NULL;
	uint64_t number = 53;

	memset(u, 0, sizeof(*u));
	if (strlen(text) >= sizeof(host))
		return -EINVAL;
	(void)snprintf(u->text, sizeof(u->text), "%s", text);
	if (*text == '[') {
		const char *end = strchr(text, ']');

		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		(void)snprintf(host, sizeof(host), "%.*s", (int)(end - text - 1), text + 1);
		port = end[1] ? end + 2 : NULL;
	} else {
		colon = strchr(text, ':');
		if (colon && !strchr(colon + 1, ':')) {
			(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
			port = colon + 1;
		} else {
			(void)snprintf(host, sizeof(host), "%s", text);
		}
	}
	if (port && str_to_u64(port, 1, 65535, &number) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)number);
		u->addr_len = sizeof(*v4);
	} else {
		char *scope = strchr(host, '%');

		/* Link-local servers, as resolv.conf writes them: fe80::1%eth0. Only a number can be kept without asking the system for names. */
		if (scope) {
			uint64_t index;

			*scope++ = '\0';
			if (str_to_u64(scope, 1, UINT32_MAX, &index) < 0)
				return -EINVAL;
			v6->sin6_scope_id = (uint32_t)index;
		}
		if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
			return -EINVAL;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)number);
		u->addr_len = sizeof(*v6);
	}
	return 0;
}

static struct dns_upstreams *set_add(struct dns_forward *f, const struct dns_upstream *servers, size_t n)
{
	struct dns_upstreams *s;

	for (s = f->sets; s; s = s->next) {
		size_t i = 0;

		while (s->n == n && i < n && s->servers[i].addr_len == servers[i].addr_len &&
		       memcmp(&s->servers[i].addr, &servers[i].addr, servers[i].addr_len) == 0)
			i++;
		if (s->n == n && i == n)
			return dns_upstreams_ref(s);
	}
	s = mem_zalloc(sizeof(*s) + n * sizeof(*servers));
	s->id = ++f->next_set;
	s->refs = 1;
	s->n = n;
	for (size_t i = 0; i < n; i++) {
		s->servers[i].addr = servers[i].addr;
		s->servers[i].addr_len = servers[i].addr_len;
		memcpy(s->servers[i].text, servers[i].text, sizeof(s->servers[i].text));
	}
	s->next = f->sets;
	f->sets = s;
	return s;
}

enum { SERVERS_MAX = 8 };	/* glibc takes three; what is beyond eight would never be asked within DNS_END */

struct dns_upstreams *dns_upstreams_get(struct dns_forward *f, const char *const *servers, size_t n, struct err *e)
{
	struct dns_upstream list[SERVERS_MAX];

	if (n > SERVERS_MAX) {
		log_warn("dns", "%zu name servers, using the first %d", n, SERVERS_MAX);
		n = SERVERS_MAX;
	}
	for (size_t i = 0; i < n; i++)
		if (server_parse(servers[i], &list[i]) < 0) {
			err_set(e, ERR_INVALID, "'%s' is not the address of a name server", servers[i]);
			return NULL;
		}
	return set_add(f, list, n);
}

static bool same_address(const struct dns_upstream *u, const struct in6_addr *addrs, size_t n)
{
	struct in6_addr a;

	if (u->addr.ss_family == AF_INET) {
		memset(&a, 0, sizeof(a));
		a.s6_addr[10] = a.s6_addr[11] = 0xff;
		memcpy(a.s6_addr + 12, &((const struct sockaddr_in *)&u->addr)->sin_addr, 4);
	} else {
		a = ((const struct sockaddr_in6 *)&u->addr)->sin6_addr;
	}
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a, &addrs[i], sizeof(a)) == 0)
			return true;
	return false;
}

bool dns_upstreams_has(const struct dns_upstreams *s, const struct in6_addr *addrs, size_t n)
{
	for (size_t i = 0; i < s->n; i++)
		if (same_address(&s->servers[i], addrs, n))
			return true;
	return false;
}

struct dns_upstreams *dns_upstreams_without(struct dns_forward *f, struct dns_upstreams *s, const struct in6_addr *addrs, size_t n)
{
	struct dns_upstream list[SERVERS_MAX];
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!same_address(&s->servers[i], addrs, n))
			list[kept++] = s->servers[i];
	return set_add(f, list, kept);
}

struct dns_upstreams *dns_upstreams_ref(struct dns_upstreams *s)
{
	s->refs++;
	return s;
}

void dns_upstreams_unref(struct dns_forward *f, struct dns_upstreams *s)
{
	struct dns_upstreams **at = &f->sets;

	if (!s || --s->refs)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	for (size_t i = 0; i < s->n; i++)
		f->ops.gone(f->ops.user, &s->servers[i]);
	free(s);
}
