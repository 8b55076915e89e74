/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/net.h"
#include "net/publish.h"

/* The API's ports into a list. Pure. */

/* Every port of both protocols, twice: nobody has a use for more, and the list is built before anything is checked against the kernel. */
enum { PORTS_MAX = 4 * 65535 };

struct list {
	struct net_port *p;
	size_t n, cap, ports;
};

struct range {
	uint16_t from, to;
};

static int add(struct list *l, const struct net_port *p, struct err *e)
{
	l->ports += net_port_count(p);
	if (l->ports > PORTS_MAX)
		return err_set(e, ERR_INVALID, "more than %d ports to publish", PORTS_MAX);
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 8;
		l->p = mem_realloc(l->p, l->cap * sizeof(*l->p));
	}
	l->p[l->n++] = *p;
	return 0;
}

static int range_parse(const char *s, uint64_t min, struct range *ret)
{
	const char *dash = strchr(s, '-');
	char first[8];
	uint64_t a, b;

	if (!dash) {
		if (str_to_u64(s, min, 65535, &a) < 0)
			return -1;
		*ret = (struct range){ (uint16_t)a, (uint16_t)a };
		return 0;
	}
	if ((size_t)(dash - s) >= sizeof(first))
		return -1;
	(void)snprintf(first, sizeof(first), "%.*s", (int)(dash - s), s);
	if (str_to_u64(first, 1, 65535, &a) < 0 || str_to_u64(dash + 1, 1, 65535, &b) < 0 || b < a)
		return -1;
	*ret = (struct range){ (uint16_t)a, (uint16_t)b };
	return 0;
}

/* "80", "80/tcp", "8000-8010/udp". */
static int key_parse(const char *key, struct range *ports, uint8_t *proto, struct err *e)
{
	const char *slash = strchr(key, '/'), *word = slash ? slash + 1 : "tcp";
	char digits[16];

	if (!*word)
		word = "tcp";
	if (proto_parse(word, proto) < 0)
		return err_set(e, ERR_INVALID, "invalid proto '%.32s' in port '%.64s': it is neither tcp nor udp nor sctp", word, key);
	if (slash && (size_t)(slash - key) >= sizeof(digits))
		return err_set(e, ERR_INVALID, "invalid port '%.64s': not a number from 1 to 65535", key);
	(void)snprintf(digits, sizeof(digits), "%.*s", slash ? (int)(slash - key) : 15, key);
	if ((!slash && strlen(key) >= sizeof(digits)) || range_parse(digits, 1, ports) < 0)
		return err_set(e, ERR_INVALID, "invalid port '%.64s': not a number from 1 to 65535", key);
	return 0;
}

static int add_binding(struct list *l, const char *key, const struct range *ports, uint8_t proto, const json_t *b, struct err *e)
{
	const char *ip = json_str(b, "HostIp", ""), *port = json_str(b, "HostPort", "");
	struct range host = { 0, 0 };
	struct net_port p = { .proto = proto };
	struct in6_addr a;

	if (!json_is_object(b))
		return err_set(e, ERR_INVALID, "port bindings of '%s' are not objects with HostIp and HostPort", key);
	if (*ip) {
		if (addr_parse(ip, &a) < 0)
			return err_set(e, ERR_INVALID, "invalid host address '%.64s' for port '%s': not an IP address", ip, key);
		(void)addr_text(&a, p.host_ip);
	}
	if (*port && range_parse(port, 0, &host) < 0)
		return err_set(e, ERR_INVALID, "invalid port specification: '%.64s' for port '%s' is not a port from 0 to 65535 nor a range of ports", port, key);
	if (ports->to > ports->from && host.from && host.to - host.from != ports->to - ports->from)
		return err_set(e, ERR_INVALID, "invalid ranges specified for container and host ports: %s and %s", key, port);
	p.port = ports->from;
	p.count = (uint16_t)(ports->to - ports->from + 1);
	p.host_port = host.from;
	p.host_port_end = p.count > 1 ? host.from : host.to;
	return add(l, &p, e);
}

/* Which ports of each protocol have a binding. */
struct bound {
	uint8_t tcp[8192], udp[8192], sctp[8192];
};

static uint8_t *bound_of(struct bound *b, uint8_t proto)
{
	return proto == IPPROTO_TCP ? b->tcp : proto == IPPROTO_UDP ? b->udp : b->sctp;
}

static int add_exposed(struct list *l, struct bound *b, const json_t *exposed, bool publish_all, struct err *e)
{
	const char *key;
	struct range r;
	uint8_t proto;
	json_t *v;

	for (size_t i = 0; i < l->n; i++)
		for (unsigned k = 0, port = l->p[i].port; k < net_port_count(&l->p[i]); k++, port++)
			bound_of(b, l->p[i].proto)[port / 8] |= (uint8_t)(1 << port % 8);
	json_object_foreach((json_t *)exposed, key, v) {
		if (key_parse(key, &r, &proto, e) < 0)
			return -1;
		for (unsigned p = r.from; publish_all && p <= r.to; p++)
			if (!(bound_of(b, proto)[p / 8] & 1 << p % 8) && add(l, &(struct net_port){ .proto = proto, .port = (uint16_t)p, .count = 1 }, e) < 0)
				return -1;
	}
	return 0;
}

static int parse(struct list *l, const json_t *exposed, const json_t *bindings, bool publish_all, struct err *e)
{
	const char *key;
	CLEANUP(mem_freep) struct bound *bound = NULL;
	json_t *v, *b;
	struct range r;
	uint8_t proto;
	size_t i;

	if (bindings && !json_is_null(bindings) && !json_is_object(bindings))
		return err_set(e, ERR_INVALID, "PortBindings is not an object");
	if (exposed && !json_is_null(exposed) && !json_is_object(exposed))
		return err_set(e, ERR_INVALID, "ExposedPorts is not an object");
	json_object_foreach((json_t *)bindings, key, v) {
		if (key_parse(key, &r, &proto, e) < 0)
			return -1;
		if (!json_is_null(v) && !json_is_array(v))
			return err_set(e, ERR_INVALID, "port bindings of '%s' are not a list", key);
		json_array_foreach(v, i, b)
			if (add_binding(l, key, &r, proto, b, e) < 0)
				return -1;
	}
	bound = mem_zalloc(sizeof(*bound));
	return add_exposed(l, bound, exposed, publish_all, e);
}

int net_ports_from_api(const json_t *exposed, const json_t *bindings, bool publish_all, struct net_port **ret, size_t *n, struct err *e)
{
	struct list l = { 0 };

	if (parse(&l, exposed, bindings, publish_all, e) < 0) {
		free(l.p);
		return -1;
	}
	*ret = l.p;
	*n = l.n;
	return 0;
}

static int order(const void *x, const void *y)
{
	const struct net_port *a = x, *b = y;
	int c = (int)!a->host_port - (int)!b->host_port;	/* what is to be picked comes after what must be had */

	c = c ? c : a->proto - b->proto;
	c = c ? c : strcmp(a->host_ip, b->host_ip);
	c = c ? c : a->host_port - b->host_port;
	return c ? c : a->port - b->port;
}

static bool follows(const struct net_port *a, const struct net_port *b)
{
	unsigned n = net_port_count(a);

	return a->proto == b->proto && a->port + n == b->port && str_eq(a->host_ip, b->host_ip) && n + net_port_count(b) <= UINT16_MAX &&
	       (a->host_port ? a->host_port + n == b->host_port : !b->host_port) &&
	       a->host_port_end <= a->host_port && b->host_port_end <= b->host_port;
}

size_t net_ports_join(struct net_port *p, size_t n)
{
	size_t kept = 0;

	/* Clients send them in the order of their names ("10000" before "9999"). A short list has no run worth finding, and keeps its order. */
	if (n < PORT_RUN_MIN)
		return n;
	qsort(p, n, sizeof(*p), order);
	for (size_t i = 0; i < n; i++) {
		if (kept && follows(&p[kept - 1], &p[i]))
			p[kept - 1].count = (uint16_t)(net_port_count(&p[kept - 1]) + net_port_count(&p[i]));
		else
			p[kept++] = p[i];
	}
	return kept;
}
