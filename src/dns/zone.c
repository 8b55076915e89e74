/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A view is one hash table of names; a name has members, each a host in one role: by address, by SRV record, or as the target of the PTR
 * record of an address of its own. Reverse names are names like all others, so the three kinds of question are one lookup. "web.app"
 * in the view "app" is looked up as it stands first (a container may be called so) and then as "web".
 *
 * Turns: each answer with several records begins one member later than the one before. The counter belongs to the name, not to the asker,
 * as with every server that rotates; members keep the order in which they came. A and AAAA count for themselves: resolvers ask both each time, and with
 * one counter two members would never change places.
 */
#include <config.h>

#include "dns/zone.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dns/hash.h"

enum role { ROLE_ADDRESS, ROLE_SERVICE, ROLE_PTR };

struct service {
	struct dns_name target;
	uint16_t port, prio, weight;
};

struct member {
	struct dns_host *host;
	enum role role;
	struct service *service;	/* ROLE_SERVICE; the member's */
};

struct name_set {
	struct name_set *next;		/* in the bucket */
	uint64_t hash;
	struct member *members;
	uint32_t n, turn[3];		/* of A, AAAA, all others */
	uint8_t len;
	uint8_t w[];
};

struct subnet {
	struct in6_addr base;
	unsigned prefix;
	struct subnet *next;
};

struct dns_view {
	struct dns_name name;
	struct dns_hash_key key;
	struct name_set **buckets;
	size_t n_buckets, n_names;
	struct subnet *subnets;
	struct dns_host *hosts;
};

struct dns_host {
	struct dns_view *view;
	struct dns_host *next, **prev;
	struct dns_name primary;	/* len 0: no name yet */
	bool ready;
	struct name_set **names;	/* those it is a member of, once each */
	size_t n_names;
	size_t n_addrs;
	struct in6_addr addrs[];
};

struct dns_view *dns_view_new(const char *name, int *rc)
{
	struct dns_view *v = mem_zalloc(sizeof(*v));

	*rc = dns_name_parse(name, &v->name);
	if (*rc < 0 || v->name.len <= 1) {
		*rc = -EINVAL;
		free(v);
		return NULL;
	}
	rand_bytes(&v->key, sizeof(v->key));
	v->n_buckets = 16;
	v->buckets = mem_zalloc(v->n_buckets * sizeof(*v->buckets));
	return v;
}

void dns_view_free(struct dns_view *v)
{
	if (!v)
		return;
	while (v->hosts)
		dns_host_free(v->hosts);
	for (struct subnet *s = v->subnets, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	free(v->buckets);
	free(v);
}

void dns_view_subnet(struct dns_view *v, const struct in6_addr *base, unsigned prefix)
{
	struct subnet *s = mem_alloc(sizeof(*s));

	*s = (struct subnet){ .base = *base, .prefix = prefix, .next = v->subnets };
	v->subnets = s;
}

static bool in_subnet(const struct subnet *s, const struct in6_addr *a)
{
	unsigned bytes = s->prefix / 8, bits = s->prefix % 8;

	if (memcmp(s->base.s6_addr, a->s6_addr, bytes) != 0)
		return false;
	return !bits || (s->base.s6_addr[bytes] ^ a->s6_addr[bytes]) >> (8 - bits) == 0;
}

static struct name_set **slot(const struct dns_view *v, uint64_t hash, const struct dns_name *n)
{
	struct name_set **at = &v->buckets[hash & (v->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || (*at)->len != n->len || memcmp((*at)->w, n->w, n->len) != 0))
		at = &(*at)->next;
	return at;
}

static struct name_set *find(const struct dns_view *v, const struct dns_name *n)
{
	return *slot(v, dns_hash(&v->key, n->w, n->len), n);
}

static void grow(struct dns_view *v)
{
	size_t n = v->n_buckets * 2;
	struct name_set **b = mem_zalloc(n * sizeof(*b));

	for (size_t i = 0; i < v->n_buckets; i++)
		for (struct name_set *s = v->buckets[i], *next; s; s = next) {
			next = s->next;
			s->next = b[s->hash & (n - 1)];
			b[s->hash & (n - 1)] = s;
		}
	free(v->buckets);
	v->buckets = b;
	v->n_buckets = n;
}

static struct name_set *obtain(struct dns_view *v, const struct dns_name *n)
{
	uint64_t hash = dns_hash(&v->key, n->w, n->len);
	struct name_set **at = slot(v, hash, n), *s = *at;

	if (s)
		return s;
	s = mem_zalloc(sizeof(*s) + n->len);
	s->hash = hash;
	s->len = n->len;
	memcpy(s->w, n->w, n->len);
	*at = s;
	if (++v->n_names > v->n_buckets)
		grow(v);
	return s;
}

static void member_add(struct dns_host *h, const struct dns_name *name, enum role role, struct service *service_take)
{
	struct name_set *s = obtain(h->view, name);

	s->members = mem_realloc(s->members, (s->n + 1) * sizeof(*s->members));
	s->members[s->n++] = (struct member){ .host = h, .role = role, .service = service_take };
	for (size_t i = 0; i < h->n_names; i++)
		if (h->names[i] == s)
			return;
	h->names = mem_realloc(h->names, (h->n_names + 1) * sizeof(*h->names));
	h->names[h->n_names++] = s;
}

static bool has_member(const struct name_set *s, const struct dns_host *h, enum role role)
{
	for (uint32_t i = 0; s && i < s->n; i++)
		if (s->members[i].host == h && s->members[i].role == role)
			return true;
	return false;
}

/* Takes h out; the name goes with its last member. */
static void member_del(struct dns_view *v, struct name_set *s, const struct dns_host *h)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		if (s->members[i].host == h)
			free(s->members[i].service);
		else
			s->members[kept++] = s->members[i];
	}
	s->n = kept;
	if (!kept) {
		struct dns_name n = { .len = s->len };

		memcpy(n.w, s->w, s->len);
		*slot(v, s->hash, &n) = s->next;
		v->n_names--;
		free(s->members);
		free(s);
	}
}

struct dns_host *dns_host_new(struct dns_view *v, const struct in6_addr *addrs, size_t n)
{
	struct dns_host *h = mem_zalloc(sizeof(*h) + n * sizeof(*addrs));

	h->view = v;
	h->ready = true;
	h->n_addrs = n;
	if (n)
		memcpy(h->addrs, addrs, n * sizeof(*addrs));
	h->next = v->hosts;
	h->prev = &v->hosts;
	if (h->next)
		h->next->prev = &h->next;
	v->hosts = h;
	return h;
}

void dns_host_free(struct dns_host *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_names; i++)
		member_del(h->view, h->names[i], h);
	*h->prev = h->next;
	if (h->next)
		h->next->prev = h->prev;
	free(h->names);
	free(h);
}

void dns_host_ready(struct dns_host *h, bool ready)
{
	h->ready = ready;
}

int dns_host_name(struct dns_host *h, const char *name)
{
	struct dns_name n, reverse;

	if (dns_name_parse(name, &n) < 0 || n.len <= 1)
		return -EINVAL;
	if (has_member(find(h->view, &n), h, ROLE_ADDRESS))
		return 0;
	member_add(h, &n, ROLE_ADDRESS, NULL);
	if (h->primary.len)
		return 0;
	/* "web.app", or "web" alone where that would be too long. */
	h->primary = n;
	if (n.len - 1 + h->view->name.len <= DNS_NAME_MAX) {
		memcpy(h->primary.w + n.len - 1, h->view->name.w, h->view->name.len);
		h->primary.len = (uint8_t)(n.len - 1 + h->view->name.len);
	}
	for (size_t i = 0; i < h->n_addrs; i++) {
		dns_name_reverse(&h->addrs[i], &reverse);
		member_add(h, &reverse, ROLE_PTR, NULL);
	}
	return 0;
}

int dns_host_service(struct dns_host *h, const char *name, const char *target, uint16_t port, uint16_t prio, uint16_t weight)
{
	struct service s = { .port = port, .prio = prio, .weight = weight }, *copy;
	struct dns_name n;

	if (dns_name_parse(name, &n) < 0 || n.len <= 1 || dns_name_parse(target, &s.target) < 0)
		return -EINVAL;
	copy = mem_alloc(sizeof(*copy));
	*copy = s;
	member_add(h, &n, ROLE_SERVICE, copy);
	return 0;
}

/* ---- answers ---- */

static bool any_ready(const struct name_set *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->members[i].host->ready)
			return true;
	return false;
}

static bool write_member(struct dns_writer *w, const struct dns_view *v, const struct member *m, uint16_t type)
{
	bool wrote = false;

	switch (m->role) {
	case ROLE_ADDRESS:
		for (size_t i = 0; i < m->host->n_addrs; i++) {
			bool v4 = IN6_IS_ADDR_V4MAPPED(&m->host->addrs[i]);

			if (type != (v4 ? DNS_A : DNS_AAAA) && type != DNS_ANY)
				continue;
			dns_write_address(w, 1, NULL, &m->host->addrs[i], DNS_LOCAL_TTL);
			wrote = true;
		}
		break;
	case ROLE_SERVICE:
		if (type != DNS_SRV && type != DNS_ANY)
			break;
		dns_write_srv(w, m->service->prio, m->service->weight, m->service->port, &m->service->target, DNS_LOCAL_TTL);
		wrote = true;
		break;
	case ROLE_PTR:
		if (type != DNS_PTR && type != DNS_ANY)
			break;
		dns_write_ptr(w, 1, &m->host->primary, DNS_LOCAL_TTL);
		wrote = true;
		break;
	}
	(void)v;
	return wrote;
}

/* The addresses of SRV targets, so that the asker need not ask again (RFC 2782). */
static void write_targets(struct dns_writer *w, const struct dns_view *v, const struct name_set *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const struct name_set *t;

		if (s->members[i].role != ROLE_SERVICE)
			continue;
		t = find(v, &s->members[i].service->target);
		for (uint32_t k = 0; t && k < t->n; k++)
			for (size_t a = 0; t->members[k].role == ROLE_ADDRESS && a < t->members[k].host->n_addrs; a++) {
				struct dns_writer before = *w;

				dns_write_address(w, 3, &s->members[i].service->target, &t->members[k].host->addrs[a], DNS_LOCAL_TTL);
				if (w->full) {
					/* Additional ones are no reason for a truncated answer. */
					*w = before;
					return;
				}
			}
	}
}

static enum dns_found answer(const struct dns_view *v, struct name_set *s, uint16_t type, struct dns_writer *w)
{
	bool ready = any_ready(s), wrote = false;
	uint32_t *turn = &s->turn[type == DNS_A ? 0 : type == DNS_AAAA ? 1 : 2], first = s->n > 1 ? (*turn)++ % s->n : 0;

	for (uint32_t i = 0; i < s->n; i++) {
		const struct member *m = &s->members[first + i < s->n ? first + i : first + i - s->n];

		if (ready && !m->host->ready)
			continue;
		wrote |= write_member(w, v, m, type);
	}
	if (!wrote)
		return DNS_FOUND_NODATA;
	if (type == DNS_SRV && !w->full)
		write_targets(w, v, s);
	return DNS_FOUND;
}

static enum dns_found answer_in(const struct dns_view *v, const struct dns_name *name, uint16_t type, struct dns_writer *w)
{
	struct name_set *s = find(v, name);
	struct in6_addr addr;
	struct dns_name head;

	if (!s && dns_name_below(name, &v->name, &head))
		s = find(v, &head);
	if (s)
		return answer(v, s, type, w);
	if (v->subnets && dns_name_address(name, &addr))
		for (const struct subnet *n = v->subnets; n; n = n->next)
			if (in_subnet(n, &addr))
				return DNS_FOUND_NONE;
	return DNS_FOUND_NOT;
}

enum dns_found dns_zone_answer(struct dns_view *const *views, size_t n, const struct dns_name *name, uint16_t type, struct dns_writer *w)
{
	enum dns_found best = DNS_FOUND_NOT;

	for (size_t i = 0; i < n; i++) {
		enum dns_found f = answer_in(views[i], name, type, w);

		if (f == DNS_FOUND)
			return f;
		/* An existing name outweighs a missing one: another network may have it. */
		if (f == DNS_FOUND_NODATA || best == DNS_FOUND_NOT)
			best = f;
	}
	return best;
}
