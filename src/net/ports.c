/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/net.h"

/* The API's ports into a list. Pure. */

/* Every port of both protocols, twice: nobody has a use for more, and the list is built before anything is checked against the kernel. */
enum { PORTS_MAX = 4 * 65535 };

struct list {
	struct net_port *p;
	size_t n, cap;
};

struct range {
	uint16_t from, to;
};

static int add(struct list *l, const struct net_port *p, struct err *e)
{
	if (l->n == PORTS_MAX)
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
	if (strcasecmp(word, "tcp") == 0)
		*proto = IPPROTO_TCP;
	else if (strcasecmp(word, "udp") == 0)
		*proto = IPPROTO_UDP;
	else if (strcasecmp(word, "sctp") == 0)
		return err_set(e, ERR_NOT_IMPLEMENTED, "port '%s': SCTP cannot be published, only tcp and udp", key);
	else
		return err_set(e, ERR_INVALID, "invalid proto '%.32s' in port '%.64s': it is neither tcp nor udp", word, key);
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
	for (unsigned i = 0; i <= (unsigned)(ports->to - ports->from); i++) {
		p.port = (uint16_t)(ports->from + i);
		if (ports->to > ports->from) {
			p.host_port = p.host_port_end = (uint16_t)(host.from ? host.from + i : 0);
		} else {
			p.host_port = host.from;
			p.host_port_end = host.to;
		}
		if (add(l, &p, e) < 0)
			return -1;
	}
	return 0;
}

static bool has(const struct list *l, size_t n, uint8_t proto, unsigned port)
{
	for (size_t i = 0; i < n; i++)
		if (l->p[i].proto == proto && l->p[i].port == port)
			return true;
	return false;
}

static int parse(struct list *l, const json_t *exposed, const json_t *bindings, bool publish_all, struct err *e)
{
	const char *key;
	json_t *v, *b;
	struct range r;
	uint8_t proto;
	size_t i, bound;

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
	bound = l->n;
	json_object_foreach((json_t *)exposed, key, v) {
		if (key_parse(key, &r, &proto, e) < 0)
			return -1;
		if (!publish_all)
			continue;
		for (unsigned p = r.from; p <= r.to; p++)
			if (!has(l, bound, proto, p) && add(l, &(struct net_port){ .proto = proto, .port = (uint16_t)p }, e) < 0)
				return -1;
	}
	return 0;
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
