/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder on virtual time, against servers that follow a script: slow, dead, lying, truncating, old ones, and storms. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dns/forward.h"

#define MS 1000000ll

enum manner { DEAD, GOOD, SLOW, REFUSING, FAILING, TRUNCATING, OLD, WRONG_ID, WRONG_NAME, WRONG_TYPE, GARBAGE, NO_QUESTION, UNREACHABLE, NXDOMAIN };

/* What is on its way to us. */
struct mail {
	struct mail *next;
	int64_t at;
	bool tcp, refused;
	uint64_t token;
	struct dns_slot *slot;
	size_t n;
	uint8_t msg[512];
};

static struct {
	int64_t now, wake;
	uint64_t random;
	struct dns_forward *f;
	struct dns_cache *cache;
	enum manner manner[8];
	struct dns_slot slots[8];
	unsigned asked[8], tcp[8];
	bool tcp_dead;
	struct mail *mail;
} t;

static int64_t now_of(void *user)
{
	(void)user;
	return t.now;
}

static void random_of(void *user, void *p, size_t n)
{
	uint8_t *b = p;

	(void)user;
	while (n--) {
		t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
		*b++ = (uint8_t)(t.random >> 33);
	}
}

static const struct clock_ops clock_of_test = { .now = now_of, .wall = now_of, .random = random_of };

static struct mail *post(int64_t in, struct dns_slot *slot)
{
	struct mail *m = mem_zalloc(sizeof(*m)), **at = &t.mail;

	m->at = t.now + in;
	m->slot = slot;
	while (*at && (*at)->at <= m->at)
		at = &(*at)->next;
	m->next = *at;
	*at = m;
	return m;
}

/* The answer to q; n_records of A. */
static size_t answer(const uint8_t *q_msg, size_t n, unsigned flags, unsigned n_records, bool opt, uint8_t *out)
{
	struct in6_addr a;
	struct dns_query q;
	struct dns_writer w;

	inet_pton(AF_INET6, "::ffff:192.0.2.1", &a);
	assert_int_equal(dns_query_parse(q_msg, n, &q), 0);
	dns_write_reply(&w, out, 512, q_msg, &q, flags);
	for (unsigned i = 0; i < n_records; i++)
		dns_write_address(&w, 1, NULL, &a, 60);
	if (opt)
		dns_write_opt(&w, 1232, 0, q.dnssec_ok, NULL, 0);
	return dns_write_end(&w);
}

static unsigned index_of(const struct dns_upstream *u)
{
	return (unsigned)(u->text[strlen(u->text) - 1] - '0');
}

static int op_send(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, struct dns_slot **slot)
{
	unsigned i = index_of(u);
	struct dns_query q;
	struct mail *m;

	(void)user;
	t.asked[i]++;
	*slot = &t.slots[i];
	assert_int_equal(dns_query_parse(msg, n, &q), 0);
	assert_true(q.flags & DNS_AD);
	switch (t.manner[i]) {
	case DEAD:
		break;
	case GOOD:
	case SLOW:
		m = post(t.manner[i] == GOOD ? 10 * MS : 1000 * MS, *slot);
		m->n = answer(msg, n, DNS_RA, 1, q.edns, m->msg);
		break;
	case NXDOMAIN:
		m = post(10 * MS, *slot);
		m->n = answer(msg, n, DNS_RA | DNS_NXDOMAIN, 0, q.edns, m->msg);
		break;
	case REFUSING:
	case FAILING:
		m = post(10 * MS, *slot);
		m->n = answer(msg, n, t.manner[i] == REFUSING ? DNS_REFUSED : DNS_SERVFAIL, 0, q.edns, m->msg);
		break;
	case TRUNCATING:
		m = post(10 * MS, *slot);
		m->n = answer(msg, n, DNS_RA | DNS_TC, 0, q.edns, m->msg);
		break;
	case OLD:
		m = post(10 * MS, *slot);
		m->n = answer(msg, n, q.edns ? DNS_FORMERR : DNS_RA, q.edns ? 0 : 1, false, m->msg);
		break;
	case WRONG_ID:
	case WRONG_NAME:
	case WRONG_TYPE:
		m = post(10 * MS, *slot);
		m->n = answer(msg, n, DNS_RA, 1, q.edns, m->msg);
		if (t.manner[i] == WRONG_ID)
			m->msg[1] ^= 1;
		else if (t.manner[i] == WRONG_NAME)
			m->msg[DNS_HEADER + 1] ^= 1;
		else
			m->msg[q.end - 3] ^= 3;
		break;
	case GARBAGE:
		m = post(10 * MS, *slot);
		m->n = 40;
		memset(m->msg, 0xff, 40);
		memcpy(m->msg, msg, 2);
		break;
	case NO_QUESTION:
		m = post(10 * MS, *slot);
		m->n = DNS_HEADER;
		memcpy(m->msg, msg, 2);
		m->msg[2] = 0x80;
		m->msg[3] = DNS_SERVFAIL;
		break;
	case UNREACHABLE:
		post(MS, *slot)->refused = true;
		break;
	}
	return 0;
}

static int op_tcp(void *user, struct dns_upstream *u, const uint8_t *msg, size_t n, uint64_t token)
{
	struct mail *m = post(20 * MS, NULL);

	(void)user;
	t.tcp[index_of(u)]++;
	m->tcp = true;
	m->token = token;
	m->n = t.tcp_dead ? 0 : answer(msg, n, DNS_RA, 20, true, m->msg);
	return 0;
}

static void op_wake(void *user, int64_t at)
{
	(void)user;
	t.wake = at;
}

static void op_gone(void *user, struct dns_upstream *u)
{
	(void)user;
	(void)u;
}

/* Virtual time until nothing happens any more or it is `until`. */
static void run(int64_t until)
{
	for (;;) {
		int64_t next = t.mail && t.mail->at < t.wake ? t.mail->at : t.wake;
		struct mail *m = t.mail;

		if (next == INT64_MAX || next > until)
			break;
		if (next > t.now)
			t.now = next;
		if (m && m->at <= t.now && m->at <= t.wake) {
			t.mail = m->next;
			if (m->tcp)
				dns_forward_tcp_done(t.f, m->token, m->n ? m->msg : NULL, m->n);
			else if (m->refused)
				dns_forward_refused(t.f, m->slot);
			else
				dns_forward_receive(t.f, m->slot, m->msg, m->n);
			free(m);
		} else {
			dns_forward_run(t.f);
		}
	}
	if (until != INT64_MAX && t.now < until)
		t.now = until;
}

struct asked {
	struct dns_ask ask;
	unsigned done, late;
	int64_t at, late_at;
	int rcode;		/* -1: nobody answered */
	unsigned records;
	char from[64];
};

static void on_done(struct dns_ask *a, const struct dns_result *r)
{
	struct asked *x = CONTAINER_OF(a, struct asked, ask);

	x->done++;
	x->at = t.now;
	x->rcode = r->msg ? r->answer->rcode : -1;
	x->records = r->msg ? r->answer->counts[0] : 0;
	(void)snprintf(x->from, sizeof(x->from), "%s", r->from);
}

static void on_late(struct dns_ask *a)
{
	struct asked *x = CONTAINER_OF(a, struct asked, ask);

	x->late++;
	x->late_at = t.now;
}

static struct dns_key key_for(const struct dns_upstreams *s, const char *name)
{
	struct dns_key k = { .scope = s->id, .type = DNS_A, .cls = DNS_IN, .flags = DNS_RD };

	assert_int_equal(dns_name_parse(name, &k.name), 0);
	return k;
}

static int ask(struct asked *x, struct dns_upstreams *s, const char *name)
{
	struct dns_key k = key_for(s, name);

	memset(x, 0, sizeof(*x));
	x->ask.done = on_done;
	x->ask.late = on_late;
	return dns_forward_ask(t.f, s, &k, &x->ask);
}

static const char *const all[] = { "192.0.2.0", "192.0.2.1", "192.0.2.2" };

static int setup(void **state)
{
	const struct dns_forward_ops ops = { .send = op_send, .tcp = op_tcp, .wake = op_wake, .gone = op_gone };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.now = 1000000 * MS;
	t.wake = INT64_MAX;
	t.random = 42;
	clock_replace(&clock_of_test);
	for (unsigned i = 0; i < N(t.slots); i++)
		t.slots[i].number = i + 1;
	t.cache = dns_cache_new(1 << 20);
	t.f = dns_forward_new(&ops, t.cache);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dns_forward_free(t.f);
	dns_cache_free(t.cache);
	while (t.mail) {
		struct mail *m = t.mail;

		t.mail = m->next;
		free(m);
	}
	clock_replace(NULL);
	return 0;
}

/* One question to servers of these manners. Returns the milliseconds it took. */
static int64_t one(struct asked *x, unsigned n, enum manner a, enum manner b, enum manner c)
{
	struct dns_upstreams *s = dns_upstreams_get(t.f, all, n, NULL);
	int64_t start = t.now;
	struct dns_forward_stats st;

	t.manner[0] = a;
	t.manner[1] = b;
	t.manner[2] = c;
	assert_int_equal(ask(x, s, "www.example"), 0);
	run(INT64_MAX);
	assert_int_equal(x->done, 1);
	dns_forward_stats(t.f, &st);
	assert_int_equal(st.in_flight, 0);
	dns_upstreams_unref(t.f, s);
	return (x->at - start) / MS;
}

static void test_good(void **state)
{
	struct dns_cached c;
	struct asked x;

	(void)state;
	assert_int_equal(one(&x, 3, GOOD, GOOD, GOOD), 10);
	assert_int_equal(x.rcode, 0);
	assert_int_equal(x.records, 1);
	assert_string_equal(x.from, "192.0.2.0");
	assert_int_equal(t.asked[1], 0);
	{
		struct dns_upstreams *s = dns_upstreams_get(t.f, all, 3, NULL);
		struct dns_key k = key_for(s, "www.example");

		/* A set of its own: the one before had no more users. */
		k.scope = s->id - 1;
		assert_true(dns_cache_get(t.cache, &k, t.now, false, &c));
		dns_upstreams_unref(t.f, s);
	}
}

static void test_first_dead(void **state)
{
	struct dns_upstreams *s = dns_upstreams_get(t.f, all, 2, NULL);
	struct asked x;
	char name[32];

	(void)state;
	t.manner[0] = DEAD;
	t.manner[1] = GOOD;
	for (unsigned i = 0; i < 10; i++) {
		int64_t start = t.now;

		(void)snprintf(name, sizeof(name), "n%u.example", i);
		assert_int_equal(ask(&x, s, name), 0);
		run(t.now + 350 * MS);
		assert_int_equal(x.done, 1);
		/* The race costs 300 ms until the dead one is known to be dead. */
		assert_int_equal((x.at - start) / MS, i < DNS_DOWN_AFTER ? 310 : 10);
	}
	/* It comes back, is looked at within DNS_PROBE, and is the first again. */
	t.manner[0] = GOOD;
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "m%u.example", i);
		assert_int_equal(ask(&x, s, name), 0);
		run(t.now + 350 * MS);
	}
	assert_string_equal(x.from, "192.0.2.0");
	dns_upstreams_unref(t.f, s);
}

static void test_manners(void **state)
{
	static const struct {
		enum manner m[3];
		unsigned n;
		int64_t ms;
		int rcode;
	} cases[] = {
		{ { SLOW, GOOD }, 2, 310, 0 },			/* raced */
		{ { SLOW }, 1, 1000, 0 },
		{ { NXDOMAIN, GOOD }, 2, 10, DNS_NXDOMAIN },	/* an answer is an answer */
		{ { REFUSING, GOOD }, 2, 20, 0 },
		{ { FAILING, REFUSING, GOOD }, 3, 30, 0 },
		{ { FAILING, FAILING }, 2, 20, DNS_SERVFAIL },	/* the last word is passed on */
		{ { REFUSING }, 1, 10, DNS_REFUSED },
		{ { NO_QUESTION, GOOD }, 2, 20, 0 },
		{ { UNREACHABLE, GOOD }, 2, 11, 0 },
		{ { OLD }, 1, 20, 0 },				/* again without EDNS */
		{ { TRUNCATING }, 1, 30, 0 },			/* again by TCP */
		{ { WRONG_ID, GOOD }, 2, 310, 0 },		/* lies end nothing */
		{ { WRONG_NAME, GOOD }, 2, 310, 0 },
		{ { WRONG_TYPE, GOOD }, 2, 310, 0 },
		{ { GARBAGE, GOOD }, 2, 310, 0 },
		{ { DEAD, DEAD, GOOD }, 3, 610, 0 },
		{ { DEAD }, 1, DNS_END / MS, -1 },
		{ { DEAD, WRONG_NAME, GARBAGE }, 3, DNS_END / MS, -1 },
		{ { DEAD, FAILING }, 2, DNS_END / MS, DNS_SERVFAIL },
	};

	for (unsigned i = 0; i < N(cases); i++) {
		struct asked x;
		int64_t ms;

		if (i) {
			teardown(state);
			setup(state);
		}
		ms = one(&x, cases[i].n, cases[i].m[0], cases[i].m[1], cases[i].m[2]);
		if (ms != cases[i].ms || x.rcode != cases[i].rcode)
			print_error("case %u: %lld ms, rcode %d\n", i, (long long)ms, x.rcode);
		assert_int_equal(ms, cases[i].ms);
		assert_int_equal(x.rcode, cases[i].rcode);
		assert_true(t.asked[0] + t.asked[1] + t.asked[2] <= DNS_ATTEMPTS_MAX);
	}
}

static void test_unreachable_all(void **state)
{
	struct asked x;

	(void)state;
	/* Nobody listens: said after a second try, not after the whole wait. */
	assert_true(one(&x, 2, UNREACHABLE, UNREACHABLE, DEAD) < 2000);
	assert_int_equal(x.rcode, -1);
	assert_int_equal(t.asked[0], 2);
}

static void test_tcp(void **state)
{
	struct asked x;

	(void)state;
	assert_int_equal(one(&x, 1, TRUNCATING, DEAD, DEAD), 30);
	assert_int_equal(x.records, 20);
	assert_int_equal(t.tcp[0], 1);
	teardown(state);
	setup(state);
	/* No TCP there: the other server is asked; without one, the truncated answer is better than none. */
	t.tcp_dead = true;
	assert_int_equal(one(&x, 2, TRUNCATING, GOOD, DEAD), 40);
	assert_int_equal(x.records, 1);
	teardown(state);
	setup(state);
	t.tcp_dead = true;
	assert_int_equal(one(&x, 1, TRUNCATING, DEAD, DEAD), 30);
	assert_int_equal(x.rcode, 0);
	assert_int_equal(x.records, 0);
}

static void test_joined(void **state)
{
	struct dns_upstreams *s = dns_upstreams_get(t.f, all, 1, NULL);
	struct dns_forward_stats st;
	struct asked x[100];

	(void)state;
	t.manner[0] = GOOD;
	for (unsigned i = 0; i < N(x); i++)
		assert_int_equal(ask(&x[i], s, i % 2 ? "WWW.example" : "www.EXAMPLE"), 0);
	dns_forward_cancel(&x[7].ask);
	dns_forward_cancel(&x[99].ask);
	dns_forward_cancel(&x[0].ask);
	run(INT64_MAX);
	for (unsigned i = 0; i < N(x); i++)
		assert_int_equal(x[i].done, i != 7 && i != 99 && i != 0);
	assert_int_equal(t.asked[0], 1);
	dns_forward_stats(t.f, &st);
	assert_int_equal(st.joined, N(x) - 1);
	/* An ended ask may be cancelled again. */
	dns_forward_cancel(&x[1].ask);
	dns_upstreams_unref(t.f, s);
}

static void test_late(void **state)
{
	struct asked x;
	int64_t start = t.now;

	(void)state;
	one(&x, 1, DEAD, DEAD, DEAD);
	assert_int_equal(x.late, 1);
	assert_int_equal(x.late_at - start, DNS_LATE);
}

static void test_sets(void **state)
{
	static const char *const mixed[] = { "192.0.2.1", "[2001:db8::1]:5353", "2001:db8::2", "192.0.2.2:54" };
	static const char *const bad[] = { "ns.example", "1.2.3", "1.2.3.4:0", "1.2.3.4:x", "[::1", "[::1]x", "" };
	struct dns_upstreams *s, *same, *less, *none;
	struct in6_addr own[2];
	struct err e = { 0 };
	struct asked x;

	(void)state;
	s = dns_upstreams_get(t.f, mixed, 4, &e);
	same = dns_upstreams_get(t.f, mixed, 4, &e);
	assert_ptr_equal(s, same);
	assert_int_equal(ntohs(((struct sockaddr_in6 *)&s->servers[1].addr)->sin6_port), 5353);
	for (unsigned i = 0; i < N(bad); i++) {
		assert_null(dns_upstreams_get(t.f, &bad[i], 1, &e));
		assert_non_null(strstr(e.msg, bad[i]));
	}
	/* A server that is the asker itself is left out. */
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &own[0]);
	inet_pton(AF_INET6, "2001:db8::2", &own[1]);
	assert_true(dns_upstreams_has(s, own, 2));
	less = dns_upstreams_without(t.f, s, own, 2);
	assert_int_equal(less->n, 2);
	assert_false(dns_upstreams_has(less, own, 2));
	none = dns_upstreams_get(t.f, NULL, 0, NULL);
	assert_int_equal(ask(&x, none, "www.example"), -ENETUNREACH);
	dns_upstreams_unref(t.f, none);
	dns_upstreams_unref(t.f, less);
	dns_upstreams_unref(t.f, same);
	dns_upstreams_unref(t.f, s);
	assert_null(dns_forward_sets(t.f));
}

/* 50,000 questions at once and nobody there: all end in time, then nothing is left. And the limit. */
static void test_storm(void **state)
{
	enum { MANY = 50000 };
	struct dns_upstreams *s = dns_upstreams_get(t.f, all, 1, NULL);
	struct asked *x = mem_zalloc(MANY * sizeof(*x));
	struct dns_forward_stats st;
	int64_t start = t.now;
	char name[40];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "n%u.storm.example", i);
		assert_int_equal(ask(&x[i], s, name), 0);
	}
	dns_forward_stats(t.f, &st);
	assert_int_equal(st.in_flight, MANY);
	run(INT64_MAX);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(x[i].done, 1);
		assert_int_equal(x[i].at - start, DNS_END);
	}
	assert_true(t.asked[0] <= MANY * DNS_ATTEMPTS_MAX);
	dns_forward_stats(t.f, &st);
	assert_int_equal(st.in_flight, 0);
	/* It answers, and the storm comes again: each question is answered once, by the answer to it. */
	t.manner[0] = GOOD;
	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(name, sizeof(name), "m%u.storm.example", i);
		assert_int_equal(ask(&x[i], s, name), 0);
	}
	run(INT64_MAX);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(x[i].done == 1 && x[i].rcode == 0, 1);
	free(x);
	dns_upstreams_unref(t.f, s);
}

/* Whatever order things happen in, each ask ends once. Invariants after every step; the seed is printed when one fails. */
static void test_random(void **state)
{
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct dns_upstreams *s;
		struct asked x[200];
		unsigned done = 0;
		char name[32];

		teardown(state);
		setup(state);
		t.random = seed;
		s = dns_upstreams_get(t.f, all, 3, NULL);
		for (unsigned i = 0; i < N(x); i++) {
			for (unsigned k = 0; k < 3; k++)
				if (rand_below(10) == 0)
					t.manner[k] = (enum manner)rand_below(NXDOMAIN + 1);
			t.tcp_dead = rand_below(2);
			(void)snprintf(name, sizeof(name), "r%llu.example", (unsigned long long)rand_below(60));
			assert_int_equal(ask(&x[i], s, name), 0);
			run(t.now + (int64_t)rand_below(400) * MS);
			if (rand_below(8) == 0)
				dns_forward_cancel(&x[rand_below(i + 1)].ask);
			for (unsigned k = 0; k <= i; k++)
				if (x[k].done > 1)
					fail_msg("seed %u: ask %u ended %u times", seed, k, x[k].done);
		}
		run(INT64_MAX);
		for (unsigned i = 0; i < N(x); i++) {
			done += x[i].done;
			if (x[i].ask.prev)
				fail_msg("seed %u: ask %u waits for ever", seed, i);
		}
		assert_true(done > N(x) / 2);
		dns_upstreams_unref(t.f, s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),	     cmocka_unit_test_setup_teardown(test_first_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_manners, setup, teardown),	     cmocka_unit_test_setup_teardown(test_unreachable_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),	     cmocka_unit_test_setup_teardown(test_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),	     cmocka_unit_test_setup_teardown(test_sets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_storm, setup, teardown),	     cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
