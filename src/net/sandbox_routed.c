/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/sandbox.h"

/*
 * Ports on networks whose gateway mode is routed: containers there are reached by their own addresses, and publishing a port opens it at that address
 * instead of translating one of the host's. So nothing is reserved on the host, and the data path's entry is the endpoint's own address and port. The
 * mode is each family's own: a binding of both families may be routed in one and translated in the other.
 */
static void add(struct sandbox *s, const struct net_port *p, bool v4, bool v6)
{
	struct routed_port *r = s->routed, *end = r + s->n_routed;

	while (r < end && (r->proto != p->proto || r->port != p->port || r->count != net_port_count(p)))
		r++;
	if (r == end) {
		s->routed = mem_realloc(s->routed, (s->n_routed + 1) * sizeof(*s->routed));
		r = &s->routed[s->n_routed++];
		*r = (struct routed_port){ .proto = p->proto, .port = p->port, .count = (uint16_t)net_port_count(p) };
	}
	r->family[0] |= v4;
	r->family[1] |= v6;
}

static bool is_routed(const struct endpoint *gw, bool v6)
{
	return gw && gw->nw->family[v6].routed;
}

size_t sandbox_routed_split(struct sandbox *s, struct net_port *wanted, size_t n)
{
	bool r4 = is_routed(s->gw4, false), r6 = is_routed(s->gw6, true);
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct net_port p = wanted[i];
		bool six = strchr(p.host_ip, ':') != NULL, any = !p.host_ip[0];

		if ((r4 && (any || !six)) || (r6 && (any || six)))
			add(s, &p, any || !six, any || six);
		if (any && r4 && s->gw6 && !r6)
			(void)snprintf(p.host_ip, sizeof(p.host_ip), "::");
		else if (any && r6 && s->gw4 && !r4)
			(void)snprintf(p.host_ip, sizeof(p.host_ip), "0.0.0.0");
		else if (any ? r4 || r6 : six ? r6 : r4)
			continue;
		wanted[kept++] = p;
	}
	return kept;
}

/* Calls fn for each entry; stops at the first failure. */
static int each(const struct sandbox *s, int (*fn)(const struct sandbox *s, const struct dp_publish *p, struct err *e), struct err *e)
{
	bool ranges = s->n->ops->holds_ranges && s->n->ops->holds_ranges(s->n->dp);

	for (size_t i = 0; i < 2 * s->n_routed; i++) {
		const struct endpoint *gw = i % 2 ? s->gw6 : s->gw4;
		const struct routed_port *r = &s->routed[i / 2];
		uint16_t step = ranges ? r->count : 1;

		for (unsigned k = 0; r->family[i % 2] && is_routed(gw, i % 2) && k < r->count; k += step) {
			const struct in6_addr *a = i % 2 ? &gw->addr6 : &gw->addr4;
			uint16_t port = (uint16_t)(r->port + k);
			struct dp_publish p = { .proto = r->proto, .host_addr = *a, .host_port = port, .addr = *a, .port = port, .generation = gw->generation,
						.count = step, .listener = -1, .sources = s->policy.sources, .n_sources = s->policy.n_sources };

			if (fn(s, &p, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int set(const struct sandbox *s, const struct dp_publish *p, struct err *e)
{
	return s->n->ops->publish_set(s->n->dp, p, e);
}

static int del(const struct sandbox *s, const struct dp_publish *p, struct err *e)
{
	(void)e;
	(void)s->n->ops->publish_del(s->n->dp, p);
	return 0;
}

int sandbox_routed_set(const struct sandbox *s, struct err *e)
{
	return each(s, set, e);
}

void sandbox_routed_del(const struct sandbox *s)
{
	(void)each(s, del, NULL);
}

json_t *sandbox_routed_record(const struct sandbox *s)
{
	json_t *list = json_array();
	int now = (is_routed(s->gw4, false) ? 1 : 0) | (is_routed(s->gw6, true) ? 2 : 0);

	for (size_t i = 0; i < s->n_routed; i++) {
		const struct routed_port *r = &s->routed[i];
		int wanted = (r->family[0] ? 1 : 0) | (r->family[1] ? 2 : 0);

		json_array_append_new(list, json_pack("[i, i, i, i, i]", r->proto, r->port, r->count, wanted, wanted & now));
	}
	return list;
}

void sandbox_routed_read(struct sandbox *s, const json_t *record)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(record, "Routed"), i, v) {
		json_int_t proto = json_integer_value(json_array_get(v, 0)), port = json_integer_value(json_array_get(v, 1));
		json_int_t count = json_integer_value(json_array_get(v, 2)), wanted = json_array_get(v, 3) ? json_integer_value(json_array_get(v, 3)) : 3;

		if (proto > 0 && proto < 256 && port > 0 && count >= 0 && port + count <= 65536 && port < 65536)
			add(s, &(struct net_port){ .proto = (uint8_t)proto, .port = (uint16_t)port, .count = (uint16_t)count }, wanted & 1, wanted & 2);
	}
}
