/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "dns/forward.h"

/*
 * What a hostile server sends to a question in flight: whatever it is, nothing breaks, the question ends, and what ends it with success is an answer to it. The
 * first two bytes become the id that is waited for, and the question that of the input, so that most of it is looked at.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct dns_slot slot = { .number = 1 };
static uint8_t sent[512];
static uint64_t token;
static unsigned done_calls;
static struct dns_key key;

static int op_send(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, struct dns_slot **ret)
{
	(void)user;
	(void)u;
	memcpy(sent, msg, n);
	*ret = &slot;
	return 0;
}

static int op_tcp(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, uint64_t t)
{
	(void)user;
	(void)u;
	memcpy(sent, msg, n);
	token = t;
	return 0;
}

static void op_wake(void *user, int64_t at)
{
	(void)user;
	(void)at;
}

static void op_gone(void *user, struct dns_upstream *u)
{
	(void)user;
	(void)u;
}

static void on_done(struct dns_ask *a, const struct dns_result *r)
{
	(void)a;
	done_calls++;
	if (r->msg && (!dns_name_eq(&r->answer->name, &key.name) || r->answer->type != key.type))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct dns_forward_ops ops = { .send = op_send, .tcp = op_tcp, .wake = op_wake, .gone = op_gone };
	static const char *const servers[] = { "192.0.2.53", "192.0.2.54" };
	struct dns_cache *cache = dns_cache_new(1 << 16);
	struct dns_forward *f = dns_forward_new(&ops, cache);
	struct dns_upstreams *set = dns_upstreams_get(f, servers, 2, NULL);
	struct dns_ask ask = { .done = on_done };
	uint8_t *msg = malloc(n ? n : 1);
	size_t next;

	done_calls = 0;
	token = 0;
	key = (struct dns_key){ .scope = set->id, .type = DNS_A, .cls = DNS_IN, .flags = DNS_RD };
	if (n < DNS_HEADER + 5 || dns_name_read(p, n, DNS_HEADER, &key.name, &next) < 0 || next + 4 > n)
		(void)dns_name_parse("www.example", &key.name);
	else
		key.type = dns_get16(p + next);
	if (n)
		memcpy(msg, p, n);
	if (dns_forward_ask(f, set, &key, &ask) < 0)
		abort();
	for (unsigned i = 0; i < 4 && !done_calls; i++) {
		if (n >= 2)
			memcpy(msg, sent, 2);
		if (token)
			dns_forward_tcp_done(f, token, msg, n);
		else
			dns_forward_receive(f, &slot, msg, n);
	}
	if (!done_calls)
		dns_forward_cancel(&ask);
	dns_upstreams_unref(f, set);
	dns_forward_free(f);
	dns_cache_free(cache);
	free(msg);
	return done_calls > 1 ? abort(), 0 : 0;
}
