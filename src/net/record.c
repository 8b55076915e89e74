/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/sandbox.h"

/*
 * A sandbox's record: the document the engine keeps. "Binds" are the published ports, in runs: [protocol, container port, host port, host address as it
 * was asked for, how many (may be missing: 1)]. "Routed" are those opened at the container's own addresses: [protocol, port, how many, families wanted,
 * families in which they are (1 IPv4, 2 IPv6)]. "Generation" goes back to the data path at adoption, so that flows of before the restart stay valid.
 */
static const char *asked_for(const struct port_bound *b, char *out)
{
	if (!addr_is_any(&b->host_addr))
		return addr_text(&b->host_addr, out);
	return b->v4 && b->v6 ? "" : b->v4 ? "0.0.0.0" : "::";
}

static json_t *list_of(char *const *v)
{
	json_t *list = json_array();

	for (; v && *v; v++)
		json_array_append_new(list, json_string(*v));
	return list;
}

static json_t *endpoint_record(const struct endpoint *ep)
{
	char addr[2][ADDR_TEXT] = { "", "" }, gw[2][ADDR_TEXT] = { "", "" }, mac[18] = "";
	int len[2] = { 0, 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		const struct in6_addr *g = endpoint_gateway(ep, v6);

		if (v6 ? !ep->has6 : !ep->has4)
			continue;
		(void)addr_text(v6 ? &ep->addr6 : &ep->addr4, addr[v6]);
		len[v6] = (int)cidr_len(endpoint_subnet(ep, v6));
		if (g)
			(void)addr_text(g, gw[v6]);
	}
	if (endpoint_has_link(ep) && ep->nw->driver != DRIVER_IPVLAN)	/* its parent's */
		(void)mac_text(ep->mac, mac);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:i, s:o, s:o, s:o, s:I}", "NetworkID", ep->nw->id, "Network", ep->nw->name,
			 "EndpointID", ep->id, "HostVeth", ep->veth, "IfName", ep->ifname, "MacAddress", mac, "IPAddress", addr[0], "IPPrefixLen", len[0],
			 "Gateway", gw[0], "GlobalIPv6Address", addr[1], "GlobalIPv6PrefixLen", len[1], "IPv6Gateway", gw[1], "GwPriority", ep->gw_priority,
			 "LinkLocalIPs", list_of(ep->link_local), "DNSNames", list_of(ep->names), "Links", list_of(ep->links), "Generation", (json_int_t)ep->generation);
}

static bool follows(const struct port_bound *a, unsigned n, const struct port_bound *b)
{
	return a->proto == b->proto && a->v4 == b->v4 && a->v6 == b->v6 && a->port + n == b->port && a->host_port + n == b->host_port &&
	       addr_eq(&a->host_addr, &b->host_addr);
}

/* What has a socket each is put together again. */
static json_t *binds_of(const struct sandbox *s)
{
	json_t *binds = json_array();
	char it[ADDR_TEXT];

	for (size_t i = 0, k; i < s->n_ports; i = k) {
		const struct port_bound *b = &s->ports[i];
		unsigned n = b->count;

		for (k = i + 1; k < s->n_ports && follows(b, n, &s->ports[k]); k++)
			n += s->ports[k].count;
		json_array_append_new(binds, json_pack("[i, i, i, s, i]", b->proto, b->port, b->host_port, asked_for(b, it), (int)n));
	}
	return binds;
}

json_t *record_of(const struct sandbox *s)
{
	json_t *endpoints = json_array();

	for (size_t i = 0; i < s->n_ep; i++)
		json_array_append_new(endpoints, endpoint_record(s->ep[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o}", "PublishPolicy", s->policy_text ? s->policy_text : "", "PublishSources",
			 s->sources_text ? s->sources_text : "", "Name", s->name ? s->name : s->id, "NetNS", s->path ? s->path : "", "Joined", s->joined,
			 "Nameserver", s->want_dns ? "127.0.0.11" : "", "Nameservers", list_of(s->nameservers), "Endpoints", endpoints, "Binds", binds_of(s),
			 "Routed", sandbox_routed_record(s));
}

static int address_read(const json_t *o, const char *key, struct in6_addr *ret, bool *has, const struct sandbox *s, struct err *e)
{
	const char *text = json_str(o, key, "");

	if (!*text)
		return 0;
	if (addr_parse(text, ret) < 0)
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the address '%s'", s->id, text);
	*has = true;
	return 0;
}

static int endpoint_read(const json_t *o, struct sandbox *s, struct err *e)
{
	struct endpoint *ep = endpoint_new(s->n, NULL);
	const char *mac = json_str(o, "MacAddress", ""), *veth = json_str(o, "HostVeth", "");

	sandbox_ep_add(s, ep);
	(void)snprintf(ep->id, sizeof(ep->id), "%s", json_str(o, "EndpointID", ""));
	(void)snprintf(ep->ifname, sizeof(ep->ifname), "%s", json_str(o, "IfName", ""));
	ep->generation = (uint32_t)json_i64(o, "Generation", 0);
	ep->gw_priority = (int)json_i64(o, "GwPriority", 0);
	ep->nw = network_by_id(s->n, json_str(o, "NetworkID", ""));
	ep->link_local = json_words(o, "LinkLocalIPs");
	ep->names = json_words(o, "DNSNames");
	ep->links = json_words(o, "Links");
	if (*veth && !net_veth_name(veth))
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the interface '%.32s'", s->id, veth);
	(void)snprintf(ep->veth, sizeof(ep->veth), "%s", veth);
	if (address_read(o, "IPAddress", &ep->addr4, &ep->has4, s, e) < 0 || address_read(o, "GlobalIPv6Address", &ep->addr6, &ep->has6, s, e) < 0)
		return -1;
	if (*mac && mac_parse(mac, ep->mac) < 0)
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the MAC address '%s'", s->id, mac);
	return 0;
}

int record_read(const json_t *record, struct sandbox *s, struct err *e)
{
	const char *path = json_str(record, "NetNS", "");
	json_t *v;
	size_t i;

	if (!json_is_object(record))
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s is not an object", s->id);
	if (*path)
		s->path = mem_strdup(path);
	s->joined = json_flag(record, "Joined", false);
	s->policy_text = mem_strdup(json_str(record, "PublishPolicy", ""));
	s->sources_text = mem_strdup(json_str(record, "PublishSources", ""));
	sandbox_routed_read(s, record);
	s->want_dns = *json_str(record, "Nameserver", "");
	s->nameservers = json_words(record, "Nameservers");
	json_array_foreach(json_arr(record, "Endpoints"), i, v)
		if (endpoint_read(v, s, e) < 0)
			return -1;
	return 0;
}

static int bind_read(const json_t *b, struct net_port *p)
{
	json_int_t proto = json_integer_value(json_array_get(b, 0)), port = json_integer_value(json_array_get(b, 1));
	json_int_t host = json_integer_value(json_array_get(b, 2)), count = json_integer_value(json_array_get(b, 4));
	const char *ip = json_at(b, 3);

	count = json_array_get(b, 4) ? count : 1;
	if ((proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_SCTP) || port < 1 || port > 65535 || host < 1 || host > 65535 || count < 1 ||
	    count > 65536 - port || count > 65536 - host)
		return -EINVAL;
	*p = (struct net_port){ .proto = (uint8_t)proto, .port = (uint16_t)port, .host_port = (uint16_t)host, .host_port_end = (uint16_t)host,
				.count = (uint16_t)count };
	(void)snprintf(p->host_ip, sizeof(p->host_ip), "%s", ip ? ip : "");
	return 0;
}

int record_ports(const json_t *record, struct net_port **ret, size_t *n, struct err *e)
{
	json_t *binds = json_arr(record, "Binds"), *b;
	size_t len = json_array_size(binds), i;
	struct net_port *p = mem_zalloc((len ? len : 1) * sizeof(*p));

	json_array_foreach(binds, i, b)
		if (bind_read(b, &p[i]) < 0) {
			free(p);
			return err_set(e, ERR_INTERNAL, "the network record has a port binding %zu that makes no sense", i);
		}
	*ret = p;
	*n = net_ports_join(p, len);
	return 0;
}

static void routed_each(const json_t *record, void (*fn)(void *user, const struct net_published *p), void *user)
{
	json_t *b;
	size_t i;

	json_array_foreach(json_arr(record, "Routed"), i, b)
		for (int family = 1; family <= 2; family++) {
			struct net_published x = { .proto = proto_text((uint8_t)json_integer_value(json_array_get(b, 0))), .host_ip = family == 1 ? "0.0.0.0" : "::",
						   .port = (uint16_t)json_integer_value(json_array_get(b, 1)),
						   .count = (unsigned)json_integer_value(json_array_get(b, 2)) };

			if (json_integer_value(json_array_get(b, 4)) & family)
				fn(user, &x);
		}
}

void net_record_ports_each(const json_t *record, void (*fn)(void *user, const struct net_published *p), void *user)
{
	struct net_port p;
	json_t *b;
	size_t i;


	json_array_foreach(json_arr(record, "Binds"), i, b) {
		struct net_published x;

		if (bind_read(b, &p) < 0)
			continue;
		x = (struct net_published){ .proto = proto_text(p.proto), .host_ip = *p.host_ip ? p.host_ip : "0.0.0.0", .port = p.port,
					    .host_port = p.host_port, .count = net_port_count(&p) };
		fn(user, &x);
		if (*p.host_ip)
			continue;
		x.host_ip = "::";
		fn(user, &x);
	}
	routed_each(record, fn, user);
}

static void on_port(void *user, const struct net_published *p)
{
	json_t *ports = user, *ip = json_string(p->host_ip);

	for (unsigned i = 0; i < p->count; i++) {
		char key[16], text[8];
		json_t *list, *one = json_object();

		(void)snprintf(key, sizeof(key), "%u/%s", p->port + i, p->proto);
		text[0] = '\0';
		if (p->host_port)
			(void)snprintf(text, sizeof(text), "%u", p->host_port + i);
		list = json_object_get(ports, key);
		if (!list) {
			list = json_array();
			json_object_set_new_nocheck(ports, key, list);
		}
		json_object_set_nocheck(one, "HostIp", ip);
		json_object_set_new_nocheck(one, "HostPort", json_string_nocheck(text));
		json_array_append_new(list, one);
	}
	json_decref(ip);
}

json_t *net_record_ports(const json_t *record)
{
	json_t *ports = json_object();

	net_record_ports_each(record, on_port, ports);
	return ports;
}
