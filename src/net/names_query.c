/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/dns.h"
#include "net/names.h"

/* Looking into the name servers: a question as a network or a container would ask it, counters, the log of queries. Documents are the API's. */

struct net_dns_query {
	struct net_dns_query *next, **prev;	/* n->queries */
	struct dns_server *own;		/* made for a network's view; NULL: a container's */
	struct dns_lookup *lookup;
	struct dns_watch *watch;
	struct net *n;
	char *label;			/* whose query in the watch is this one */
	char source[16], from[64];
	int64_t since;
	void (*done)(void *user, json_t *result, const struct err *e);
	void *user;
};

static void query_free(void *user)
{
	struct net_dns_query *q = user;

	if (q->prev) {
		*q->prev = q->next;
		if (q->next)
			q->next->prev = q->prev;
	}
	if (q->lookup)
		dns_lookup_cancel(q->lookup);
	loop_forget(q->n->loop, query_free, q);
	dns_watch_free(q->watch);
	dns_server_free(q->own);
	free(q->label);
	free(q);
}

/* How it was answered is told to whoever watches, just before. */
static void on_event(void *user, const struct dns_event *ev)
{
	struct net_dns_query *q = user;

	if (!str_eq(ev->proto, "api") || !str_eq(ev->label, q->label))
		return;
	(void)snprintf(q->source, sizeof(q->source), "%s", dns_source_text(ev->source));
	(void)snprintf(q->from, sizeof(q->from), "%s", ev->from);
}

static json_t *records_json(const uint8_t *msg, size_t n, const struct dns_answer *a)
{
	json_t *list = json_array();
	char name[DNS_TEXT_MAX], type[12], *data = mem_alloc(DNS_MSG_MAX);
	struct dns_record r;
	size_t off = a->body;

	for (unsigned i = 0; i < a->counts[0] && dns_record_read(msg, n, &off, &r) == 0; i++) {
		dns_rdata_text(msg, n, &r, data, DNS_MSG_MAX);
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "Name", dns_name_text(&r.owner, name), "Type", dns_type_text(r.type, type),
						      "TTL", (json_int_t)r.ttl, "Data", data));
	}
	free(data);
	return list;
}

static void on_answer(void *user, const uint8_t *msg, size_t n)
{
	struct net_dns_query *q = user;
	struct dns_answer a;
	struct err e = { 0 };
	json_t *result = NULL;
	char rcode[12];

	q->lookup = NULL;
	if (!msg || dns_answer_parse(msg, n, &a) < 0)
		err_set(&e, ERR_UNAVAILABLE, "the name server went away before it answered");
	else
		result = json_pack("{s:s, s:o, s:s, s:s, s:f}", "Status", dns_rcode_text(a.rcode, rcode), "Answers", records_json(msg, n, &a), "Source",
				   q->source, "Upstream", q->from, "Milliseconds", (double)(clock_now() - q->since) / 1e6);
	q->done(q->user, result, result ? NULL : &e);
	json_decref(result);
	/* The server is at work on the stack below. */
	loop_defer(q->n->loop, query_free, q);
}

void names_queries_drop(struct net *n)
{
	while (n->queries)
		query_free(n->queries);
}

static struct dns_server *server_of(struct net *n, const char *sandbox, const char *network, struct net_dns_query *q, struct err *e)
{
	struct network *nw;
	struct sandbox *s;

	if (!n->dns) {
		err_set(e, ERR_UNAVAILABLE, "this engine answers no names");
		return NULL;
	}
	if (!str_empty(sandbox)) {
		s = map_get(n->sandboxes, sandbox);
		if (!s || !s->server) {
			err_set(e, ERR_CONFLICT, "container %.12s has no name server of ours: it is not running, or on no network that has names", sandbox);
			return NULL;
		}
		q->label = mem_strdup(s->name);
		return s->server;
	}
	q->label = mem_printf("(query %p)", (void *)q);
	q->own = dns_server_new(n->dns, q->label);
	if (str_empty(network)) {
		dns_server_forwarding(q->own, true);
		return q->own;
	}
	nw = network_find(n, network, e);
	if (!nw)
		return NULL;
	if (names_view(nw))
		dns_server_view_add(q->own, names_view(nw), NULL, 0);
	dns_server_forwarding(q->own, !nw->internal);
	return q->own;
}

int net_dns_query(struct net *n, const char *sandbox, const char *network, const char *name, const char *type,
		  void (*done)(void *user, json_t *result, const struct err *e), void *user, struct err *e)
{
	struct net_dns_query *q;
	uint8_t msg[DNS_HEADER + DNS_NAME_MAX + 32];
	struct dns_server *s;
	struct dns_writer w;
	struct dns_name asked;
	uint16_t number;

	if (dns_name_parse(name, &asked) < 0)
		return err_set(e, ERR_INVALID, "'%.256s' is not a DNS name", name);
	if (dns_type_parse(type, &number) < 0)
		return err_set(e, ERR_INVALID, "'%.32s' is not a record type, like A, AAAA, TXT or TYPE65", type);
	q = mem_zalloc(sizeof(*q));
	q->n = n;
	q->done = done;
	q->user = user;
	q->since = clock_now();
	s = server_of(n, sandbox, network, q, e);
	if (!s) {
		query_free(q);
		return -1;
	}
	q->next = n->queries;
	q->prev = &n->queries;
	if (q->next)
		q->next->prev = &q->next;
	n->queries = q;
	q->watch = dns_watch(n->dns, on_event, q);
	dns_write_query(&w, msg, sizeof(msg), (uint16_t)rand_u32(), DNS_RD, &asked, number, DNS_IN);
	dns_write_opt(&w, DNS_MSG_MAX, 0, false, NULL, 0);
	q->lookup = dns_lookup(s, msg, dns_write_end(&w), on_answer, q);
	return 0;
}

json_t *net_dns_stats(const struct net *n)
{
	return n->dns ? dns_stats(n->dns) : json_object();
}

struct net_dns_log {
	struct dns_watch *watch;
	void (*fn)(void *user, const json_t *line);
	void *user;
};

static void on_line(void *user, const struct dns_event *ev)
{
	struct net_dns_log *l = user;
	char name[DNS_TEXT_MAX], type[12], rcode[12], time[40];
	json_t *line;

	/* Queries of our own tool are not the containers'. */
	if (str_starts(ev->label, "(query "))
		return;
	line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f}", "Time", str_time_ns(clock_wall(), time, sizeof(time)), "Container", ev->label,
			 "Protocol", ev->proto, "Name", dns_name_text(ev->name, name), "Type", dns_type_text(ev->type, type), "Status",
			 dns_rcode_text(ev->rcode, rcode), "Source", dns_source_text(ev->source), "Upstream", ev->from, "Milliseconds",
			 (double)ev->took_ns / 1e6);
	l->fn(l->user, line);
	json_decref(line);
}

struct net_dns_log *net_dns_log(struct net *n, void (*fn)(void *user, const json_t *line), void *user)
{
	struct net_dns_log *l;

	if (!n->dns)
		return NULL;
	l = mem_alloc(sizeof(*l));
	*l = (struct net_dns_log){ .fn = fn, .user = user };
	l->watch = dns_watch(n->dns, on_line, l);
	return l;
}

void net_dns_log_free(struct net_dns_log *l)
{
	if (!l)
		return;
	dns_watch_free(l->watch);
	free(l);
}
